"""Choosing C: every cell of the table is a fit of its own, however much of the work is shared."""

import gc
import os
import re
import threading
import tracemalloc
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import accuracy_score, f1_score, log_loss, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import problems
import reference
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.callbacks import Task
from softmax_clf.metrics.scheduled import ScheduledMetric
from softmax_clf.model_selection import choice, grid_fits, memory
from softmax_clf.model_selection.fold_metrics import FoldMetrics
from softmax_clf.model_selection.grid_fits import GridFits
from softmax_clf.model_selection.lockstep import Lockstep
from softmax_clf.model_selection.settings import FitSettings
from softmax_clf.penalty import ElasticNet
from softmax_clf.solvers.stopping import Solution
from softmax_clf.sources.sparse import CsrSource
from softmax_clf.training_data import TrainingData
from stored import in_h5py, in_zarr

CS = np.logspace(-3, 2, 6)
LOG_LOSS = make_scorer(log_loss, response_method="predict_proba", greater_is_better=False)


@parametrize_with_checks(
    [SoftmaxRegressionClassifierCV((0.1, 1.0), cv=2), SoftmaxRegressionClassifierCV([1.0], cv="holdout")]
)
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def split(point, fit_intercept=True):
    return (point[:, :-1], point[:, -1]) if fit_intercept else (point, np.zeros(len(point)))


def gap(point, objective, fit_intercept=True):
    """What the objective is above its minimum, in units of the null model's."""
    *_, best = reference.minimise(objective)
    return (objective.loss(*split(point, fit_intercept)) - best) / objective.null_loss()


@pytest.mark.parametrize(("dtype", "fit_intercept"), [(np.float64, False), (np.float64, True), (np.float32, True)])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "badly_scaled", "wide"])
def test_cells_are_fits_of_their_own(name, dtype, fit_intercept):
    problem = problems.load(name)
    cv = StratifiedKFold(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # float32 may not resolve the last digit
        clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, fit_intercept=fit_intercept).fit(
            problem.X.astype(dtype), problem.y
        )
    assert clf.coefs_paths_.dtype == dtype
    for f, (train, _) in enumerate(cv.split(problem.X, problem.y)):
        for c, C in enumerate(CS):
            if name == "wide" and c % 2 != f % 2:  # the oracle takes a tenth of a second for each of these
                continue
            target = reference.one_hot(problem.y[train])
            objective = reference.Objective(problem.X[train], target, C, fit_intercept=fit_intercept)
            assert gap(clf.coefs_paths_[f, 0, c], objective, fit_intercept) <= (1e-6 if dtype == np.float64 else 4e-6)


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.5}])
@pytest.mark.parametrize("weighted", [False, True])
def test_cells_with_weights(weighted, class_weight):
    """'balanced' weights are those of the training rows."""
    problem = problems.load("wine")
    sample_weight = problem.sample_weight if weighted else None
    cv = KFold(4, shuffle=True, random_state=0)
    clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, class_weight=class_weight).fit(
        problem.X, problem.y, sample_weight
    )
    for f, (train, _) in enumerate(cv.split(problem.X)):
        weight = reference.row_weights(
            problem.y[train], sample_weight[train] if weighted else None, class_weight=class_weight
        )
        for c in (0, 3, 5):
            objective = reference.Objective(problem.X[train], reference.one_hot(problem.y[train]), CS[c], weight)
            assert gap(clf.coefs_paths_[f, 0, c], objective) <= 1e-6


def test_cells_with_standardisation():
    problem = problems.load("badly_scaled")
    X = np.hstack([problem.X, np.ones((len(problem.X), 1))])
    X[:100, -1] += 1  # constant in the training rows of the first fold, which is no shuffled one
    cv = KFold(4)
    clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, standardize=True).fit(X, problem.y)
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier())
    search = GridSearchCV(
        pipeline, {"softmaxregressionclassifier__C": CS}, scoring="neg_log_loss", cv=cv
    ).fit(X, problem.y)  # fmt: skip
    np.testing.assert_allclose(clf.scores_[:, 0].mean(axis=0), search.cv_results_["mean_test_score"], rtol=2e-3)
    assert clf.C_ == search.best_params_["softmaxregressionclassifier__C"]


@pytest.mark.parametrize(
    "scoring", ["neg_log_loss", "accuracy", "roc_auc_ovr", "f1_macro", make_scorer(accuracy_score)]
)
@pytest.mark.parametrize("name", ["iris", "breast_cancer", "many_classes"])
def test_scores_are_those_of_grid_search(name, scoring):
    problem = problems.load(name)
    cv = StratifiedKFold(2)
    clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, scoring=scoring, tol=1e-9).fit(problem.X, problem.y)
    search = GridSearchCV(SoftmaxRegressionClassifier(tol=1e-9), {"C": CS}, cv=cv, scoring=scoring)
    search.fit(problem.X, problem.y)
    results = search.cv_results_
    expected = np.stack([results[f"split{f}_test_score"] for f in range(2)])
    assert clf.scores_.shape == (2, 1, len(CS))
    # a row whose two best classes are as good to all digits of a fit may count for either
    np.testing.assert_allclose(clf.scores_[:, 0], expected, rtol=2e-3)
    assert clf.C_ == search.best_params_["C"]
    np.testing.assert_allclose(clf.coef_, search.best_estimator_.coef_, rtol=1e-2, atol=1e-3)
    assert clf.score(problem.X, problem.y) == pytest.approx(search.score(problem.X, problem.y), rel=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_rows_that_are_certain_and_wrong(n_classes, dtype):
    """How much they cost depends on the precision of the probabilities, in scikit-learn's log loss."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % n_classes
    X = y[:, None] + 0.5 * rng.standard_normal((300, 1))
    X[:3] = 1e3 * (1 - y[:3, None])  # far beyond the others, on the wrong side
    X = X.astype(dtype)
    cv = [(np.arange(3, 300), np.arange(60)), (np.arange(3, 300), np.arange(2, 300, 5))]
    clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, tol=1e-9).fit(X, y)
    search = GridSearchCV(SoftmaxRegressionClassifier(tol=1e-9), {"C": CS}, cv=cv, scoring="neg_log_loss").fit(X, y)
    expected = [search.cv_results_[f"split{f}_test_score"] for f in range(2)]
    assert np.min(expected) < -0.5
    np.testing.assert_allclose(clf.scores_[:, 0], expected, rtol=1e-4 if dtype == np.float32 else 1e-5)
    assert clf.score(X[:60], y[:60]) == pytest.approx(-log_loss(y[:60], clf.predict_proba(X[:60])), rel=1e-5)


def test_scores_of_rows_that_are_certain_and_right():
    """None is better than the last digit of its precision, so that such scores are equal."""
    X, y = np.repeat([[-1.0], [1.0]], 6, axis=0).astype(np.float32), np.repeat([0, 1], 6)
    clf = SoftmaxRegressionClassifierCV([1.0], cv=2).fit(X, y)
    clf.coef_ *= 1e3
    assert clf.score(X, y) == pytest.approx(-log_loss(y, clf.predict_proba(X)), rel=1e-5)
    assert clf.score(X, y) == pytest.approx(-np.finfo(np.float32).eps, rel=1e-5)


@pytest.mark.parametrize("scoring", [None, "neg_log_loss", LOG_LOSS, "f1_macro"])
@pytest.mark.parametrize("weighted", [False, True])
def test_score_of_rows_that_lack_a_class(scoring, weighted):
    names = np.array(["setosa", "versicolor", "virginica"])
    problem = problems.load("iris")
    y = names[problem.y]
    rows = slice(40, 80)
    weight = problem.sample_weight[rows] if weighted else None
    clf = SoftmaxRegressionClassifierCV([0.1], cv=2, scoring=scoring).fit(problem.X, y)
    if scoring == "f1_macro":
        predicted = clf.predict(problem.X[rows])
        expected = f1_score(y[rows], predicted, labels=names, average="macro", sample_weight=weight, zero_division=0.0)
    else:
        proba = clf.predict_proba(problem.X[rows])
        expected = -log_loss(y[rows], proba, labels=names, sample_weight=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        found = clf.score(problem.X[rows], list(y[rows]), sample_weight=weight)
        assert np.isfinite(clf.score(problem.X[:10], y[:10]))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("y", "weight", "match"),
    [
        (["a"] * 10, None, r"classes.*'a'.*Remedy"),
        ([0] * 9, None, r"10 rows, got 9.*Remedy"),
        ([0] * 10, np.zeros(10), r"positive total weight.*Remedy"),
        ([0] * 10, np.arange(-1.0, 9), r"(?i)negative"),
    ],
)
def test_score_says_what_is_wrong(y, weight, match):
    problem = problems.load("iris")
    labels = np.array(["x", "y", "z"])[problem.y] if isinstance(y[0], str) else problem.y
    clf = SoftmaxRegressionClassifierCV([0.1], cv=2).fit(problem.X, labels)
    with pytest.raises(ValueError, match=match):
        clf.score(problem.X[:10], y, sample_weight=weight)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_as_logistic_regression_cv(name, weighted, refit):
    problem = problems.load(name)
    sample_weight = problem.sample_weight if weighted else None
    kwargs = {"Cs": 4, "cv": 3, "scoring": "neg_log_loss", "refit": refit}
    clf = SoftmaxRegressionClassifierCV(**kwargs, score_tol=0, tol=1e-10).fit(problem.X, problem.y, sample_weight)
    peer = LogisticRegressionCV(
        **kwargs, solver="newton-cholesky", tol=1e-12, max_iter=1000, l1_ratios=(0,), use_legacy_attributes=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.fit(problem.X, problem.y, sample_weight)
    np.testing.assert_array_equal(clf.Cs_, peer.Cs_)
    np.testing.assert_allclose(clf.scores_, peer.scores_, rtol=1e-3)
    assert clf.C_ == pytest.approx(peer.C_)
    assert clf.coefs_paths_.shape == peer.coefs_paths_.shape
    np.testing.assert_allclose(clf.coef_, peer.coef_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(clf.intercept_, peer.intercept_, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_a_class_that_a_fold_lacks(fit_intercept):
    """It has columns, a probability of zero with an intercept, and a loss that is finite."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 4))
    y = np.array(list("abcd"))[np.argmax(X + rng.gumbel(size=X.shape), axis=1)]
    test_fold = rng.integers(3, size=120)
    test_fold[y == "c"] = 1
    cv = PredefinedSplit(test_fold)
    clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, fit_intercept=fit_intercept).fit(X, y)
    assert clf.coefs_paths_.shape == (3, 1, len(CS), 4, 4 + fit_intercept)
    assert np.isfinite(clf.scores_).all()
    train, test = test_fold != 1, test_fold == 1
    present, known = (np.array([0, 1, 3]), list("abd")) if fit_intercept else (np.arange(4), list("abcd"))
    for c, C in enumerate(CS):
        objective = reference.Objective(X[train], reference.one_hot(y[train], known), C, fit_intercept=fit_intercept)
        point = clf.coefs_paths_[1, 0, c]
        *_, best = reference.minimise(objective)
        assert objective.loss(*split(point[present], fit_intercept)) - best <= 1e-6 * np.log(4)
        coef, intercept = split(point[present], fit_intercept)
        proba = np.zeros((test.sum(), 4))
        proba[:, present] = objective.__class__(X[test], np.eye(len(known)), C, fit_intercept=fit_intercept).proba(
            coef, intercept
        )
        assert clf.scores_[1, 0, c] == pytest.approx(-log_loss(y[test], proba, labels=list("abcd")), rel=1e-6)
    if fit_intercept:
        assert (clf.coefs_paths_[1, 0, :, 2, :-1] == 0).all()
        assert (clf.coefs_paths_[1, 0, :, 2, -1] == -np.inf).all()
    assert np.isfinite(clf.coef_).all()
    accuracy = SoftmaxRegressionClassifierCV(
        CS, score_tol=0, cv=cv, fit_intercept=fit_intercept, scoring="accuracy"
    ).fit(X, y)
    assert np.isfinite(accuracy.scores_).all()
    mean = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, fit_intercept=fit_intercept, refit=False).fit(X, y)
    assert np.isfinite(mean.coef_).all()
    assert np.isfinite(mean.intercept_).all()


@pytest.mark.parametrize("class_weight", [{"c": 3.0}, {"a": 2.0, "c": 3.0}, "balanced"])
@pytest.mark.parametrize("by", ["rows", "weight"])
def test_weights_of_a_class_that_a_fold_lacks(by, class_weight):
    """Because it has no rows there, or none that weigh something."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 3))
    y = np.array(list("abc"))[np.argmax(X + rng.gumbel(size=X.shape), axis=1)]
    test_fold = rng.integers(3, size=90)
    test_fold[y == "c"] = 1
    sample_weight = None
    if by == "weight":
        test_fold[np.flatnonzero(y == "c")[:3]] = 0  # in the training rows of fold 1, with a weight of zero
        sample_weight = np.ones(90)
        sample_weight[(y == "c") & (test_fold == 0)] = 0.0
    cv = PredefinedSplit(test_fold)
    clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, class_weight=class_weight).fit(X, y, sample_weight)
    train = (test_fold != 1) & (y != "c")
    weight = reference.row_weights(y[train], class_weight="balanced" if class_weight == "balanced" else None)
    if class_weight != "balanced":
        weight = np.array([class_weight.get(label, 1.0) for label in y[train]])
    for c, C in enumerate(CS):
        coef, intercept = (part[1:] - part[:1] for part in split(clf.coefs_paths_[1, 0, c][:2]))
        # two classes have a vector each here, whose penalty is half that of their difference
        objective = reference.Objective(X[train], reference.one_hot(y[train], list("ab")), 2 * C, weight)
        *_, best = reference.minimise(objective)
        assert objective.loss(coef, intercept) - best <= 1e-6
    assert (clf.coefs_paths_[1, 0, :, 2, -1] == -np.inf).all()


@pytest.mark.parametrize("refit", [False, True])
def test_a_class_that_every_fold_lacks(refit):
    """Without a refit nothing is known of it, and its probability is zero; a refit knows it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    y = np.argmax(X + rng.gumbel(size=X.shape), axis=1)
    y[:2] = 3
    folds = [(np.arange(20, 60), np.arange(20)), (np.arange(2, 40), np.arange(40, 60))]
    clf = SoftmaxRegressionClassifierCV([0.1, 1.0], cv=folds, refit=refit).fit(X, y)
    assert clf.coef_.shape == (4, 3)
    if refit:
        assert np.isfinite(clf.intercept_).all()
        return
    assert clf.intercept_[3] == -np.inf
    assert (clf.coef_[3] == 0).all()
    assert (clf.predict_proba(X)[:, 3] == 0).all()
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1)
    assert (clf.decision_function(X)[:, 3] == -np.inf).all()
    assert 3 not in clf.predict(X)
    assert clf.score(X, y) == pytest.approx(-log_loss(y, clf.predict_proba(X)))


def test_a_fold_of_one_class_is_refused():
    X, y = np.arange(8.0)[:, None], np.repeat([0, 1], 4)
    with pytest.raises(ValueError, match=r"at least 2 classes .* fold 0 has .*Remedy"):
        SoftmaxRegressionClassifierCV(cv=KFold(2)).fit(X, y)


def test_constant_features_and_duplicated_rows():
    problem = problems.load("iris")
    X = np.hstack([np.tile(problem.X, (2, 1)), np.ones((300, 1)), np.zeros((300, 1))])
    y = np.tile(problem.y, 2)
    cv = StratifiedKFold(3)
    clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv).fit(X, y)
    for f, (train, _) in enumerate(cv.split(X, y)):
        for c in (0, 5):
            assert (
                gap(clf.coefs_paths_[f, 0, c], reference.Objective(X[train], reference.one_hot(y[train]), CS[c]))
                <= 1e-6
            )


@pytest.mark.parametrize(
    "container", [np.asarray, np.asfortranarray, csr_array, lambda X: _Slices(X)], ids=["C", "F", "CSR", "slices"]
)
@pytest.mark.parametrize("standardize", [False, True])
def test_each_cell_is_a_cold_fit(standardize, container):
    """Of that C, on those rows, with weights, a constant feature and rows twice, to 1e-5 in the objective."""
    problem = problems.load("badly_scaled")
    X = np.hstack([np.tile(problem.X, (2, 1)), np.full((800, 1), 3.0)])
    y, weight = np.tile(problem.y, 2), np.concatenate([problem.sample_weight, np.ones(400)])
    cv = KFold(3, shuffle=True, random_state=0)
    clf = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv, standardize=standardize, class_weight="balanced")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The best C")  # is the largest of the few
        clf.fit(container(X), y, weight)
    for f, (train, _) in enumerate(cv.split(X)):
        rows = reference.row_weights(y[train], weight[train], class_weight="balanced")
        mean = np.average(X[train], axis=0, weights=rows)
        scale = np.sqrt(np.average((X[train] - mean) ** 2, axis=0, weights=rows))
        scale[-1] = 1.0
        unit = scale if standardize else np.ones(X.shape[1])
        if standardize:
            assert (clf.coefs_paths_[f, 0, :, :, -2] == 0).all()
        for c, C in enumerate(CS):
            cold = SoftmaxRegressionClassifier(C, standardize=standardize, class_weight="balanced")
            cold.fit(X[train], y[train], weight[train])
            objective = reference.Objective(X[train] / unit, reference.one_hot(y[train]), C, rows)
            coef, intercept = split(clf.coefs_paths_[f, 0, c])
            found = objective.loss(coef * unit, intercept)
            assert abs(found - cold.objective_) <= 1e-5 * objective.null_loss()


def test_a_weight_is_a_repetition():
    """Of rows, and of a row's number in a fold."""
    problem = problems.load("wine")
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 4, size=len(problem.y))
    folds = list(StratifiedKFold(3).split(problem.X, problem.y))
    weighted = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=folds, tol=1e-9).fit(problem.X, problem.y, counts)
    repeated = SoftmaxRegressionClassifierCV(
        CS, score_tol=0, cv=[tuple(np.repeat(part, counts[part]) for part in fold) for fold in folds], tol=1e-9
    ).fit(problem.X, problem.y)
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, rtol=1e-4)
    np.testing.assert_allclose(weighted.coefs_paths_, repeated.coefs_paths_, rtol=1e-2, atol=1e-3)


def test_boolean_masks_are_folds():
    problem = problems.load("iris")
    folds = list(StratifiedKFold(3).split(problem.X, problem.y))
    masks = [tuple(np.isin(np.arange(150), part) for part in fold) for fold in folds]
    clf = SoftmaxRegressionClassifierCV(3, cv=folds).fit(problem.X, problem.y)
    masked = SoftmaxRegressionClassifierCV(3, cv=masks).fit(problem.X, problem.y)
    np.testing.assert_array_equal(masked.scores_, clf.scores_)


def test_too_many_folds_are_taken_in_turns(monkeypatch):
    problem = problems.load("wine")
    cv = RepeatedStratifiedKFold(n_splits=2, n_repeats=3, random_state=0)
    together = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv).fit(problem.X, problem.y)
    turns = []
    monkeypatch.setattr(memory, "_STACK_BYTES", 1 << 16)
    actual = memory.turns_of_folds
    monkeypatch.setattr(
        grid_fits,
        "turns_of_folds",
        lambda *args, **options: turns.extend(actual(*args, **options)) or turns,
    )
    in_turns = SoftmaxRegressionClassifierCV(CS, score_tol=0, cv=cv).fit(problem.X, problem.y)
    assert len(turns) > 1
    assert [i for turn in turns for i in range(turn.start, turn.stop)] == list(range(6))
    np.testing.assert_allclose(in_turns.scores_, together.scores_, rtol=2e-2)
    for f, (train, _) in enumerate(cv.split(problem.X, problem.y)):
        objective = reference.Objective(problem.X[train], reference.one_hot(problem.y[train]), CS[4])
        assert gap(in_turns.coefs_paths_[f, 0, 4], objective) <= 1e-6


@pytest.mark.parametrize("n_folds", [1, 7, 1000])
def test_turns_cover_all_folds_within_bounds(n_folds):
    turns = memory.turns_of_folds(n_folds, 10, 513, 50_000, 4)
    assert [i for turn in turns for i in range(turn.start, turn.stop)] == list(range(n_folds))
    one = 121 * 10 * 513 * 8 + 50_000 * 28
    assert max(turn.stop - turn.start for turn in turns) * one <= memory._STACK_BYTES


@pytest.mark.parametrize(
    ("dtype", "container"), [(np.float32, np.asarray), (np.float64, csr_array), (np.float32, "wide")]
)
def test_a_fold_takes_what_is_counted(dtype, container):
    """Weights of all rows were held in four copies, more than a bound that is made of them."""
    rng = np.random.default_rng(0)
    n = 20_000
    X = rng.standard_normal((n, 3)).astype(dtype) * (rng.uniform(size=(n, 3)) < 0.5)
    y = np.argmax(X + rng.gumbel(size=X.shape), axis=1)
    if container == "wide":
        X = csr_array(X)
        X.resize(n, 5000)
    else:
        X = container(X)

    def fit(n_folds):
        clf = SoftmaxRegressionClassifierCV([0.1, 10.0], cv=[], n_jobs=1)
        data = TrainingData.from_arguments(clf, X, y, None)
        trains = [train for train, _ in KFold(n_folds).split(X)]
        GridFits(data, trains, np.zeros(1), np.array([0.1, 10.0]), FitSettings.from_estimator(clf)).fit(Task(clf))

    for n_folds in (4, 14):  # kernels are compiled, which takes some times as long while memory is traced
        fit(n_folds)
    peaks = []
    for n_folds in (4, 14):
        tracemalloc.start()
        fit(n_folds)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    sizes = 3, X.shape[1] + 1, n, X.dtype.itemsize
    assert (peaks[1] - peaks[0]) / 10 <= memory.fold_bytes(*sizes, sparse=container is not np.asarray)


def test_holdout():
    problem = problems.load("wine")
    kwargs = {"cv": "holdout", "validation_fraction": 0.2, "random_state": 3}
    clf = SoftmaxRegressionClassifierCV(CS, **kwargs).fit(problem.X, problem.y)
    cv = StratifiedShuffleSplit(1, test_size=0.2, random_state=3)
    by_splitter = SoftmaxRegressionClassifierCV(CS, cv=cv).fit(problem.X, problem.y)
    assert clf.scores_.shape == (1, 1, len(CS))
    np.testing.assert_array_equal(clf.scores_, by_splitter.scores_)


def test_holdout_with_a_class_of_one_row():
    problem = problems.load("iris")
    y = problem.y.copy()
    y[0] = 3
    for seed in range(12):  # in some of them the row is held out
        clf = SoftmaxRegressionClassifierCV(3, cv="holdout", random_state=seed).fit(problem.X, y)
        assert np.isfinite(clf.scores_).all()
        assert clf.coef_.shape == (4, 4)


def test_order_of_Cs():
    problem = problems.load("iris")
    order = np.random.default_rng(0).permutation(len(CS))
    clf = SoftmaxRegressionClassifierCV(CS).fit(problem.X, problem.y)
    shuffled = SoftmaxRegressionClassifierCV(CS[order]).fit(problem.X, problem.y)
    np.testing.assert_array_equal(shuffled.Cs_, CS[order])
    np.testing.assert_array_equal(shuffled.scores_, clf.scores_[:, :, order])
    assert shuffled.C_ == clf.C_


def test_Cs_may_repeat_and_be_infinite():
    problem = problems.load("badly_scaled")
    Cs = [1.0, 1.0, np.inf]
    clf = SoftmaxRegressionClassifierCV(Cs, score_tol=0, cv=2).fit(problem.X, problem.y)
    for f, (train, _) in enumerate(StratifiedKFold(2).split(problem.X, problem.y)):
        for c, C in enumerate(Cs):
            objective = reference.Objective(problem.X[train], reference.one_hot(problem.y[train]), C)
            assert gap(clf.coefs_paths_[f, 0, c], objective) <= 1e-6


def test_default_Cs():
    problem = problems.load("iris")
    np.testing.assert_array_equal(SoftmaxRegressionClassifierCV(4).fit(problem.X, problem.y).Cs_, np.logspace(-4, 4, 4))


def test_one_standard_error():
    """The smallest C that is within one standard error of the best, computed here by hand."""
    problem = problems.load("badly_scaled")
    best = SoftmaxRegressionClassifierCV(20, cv=4, score_tol=0).fit(problem.X, problem.y)
    clf = SoftmaxRegressionClassifierCV(20, cv=4, score_tol=0, selection="1se").fit(problem.X, problem.y)
    np.testing.assert_array_equal(clf.scores_, best.scores_)
    scores = clf.scores_[:, 0]
    means, b = scores.mean(axis=0), scores.mean(axis=0).argmax()
    assert best.C_ == best.Cs_[b]
    error = scores[:, b].std(ddof=1) / 2
    assert clf.C_ == min(C for C, mean in zip(clf.Cs_, means, strict=True) if mean >= means[b] - error)
    assert clf.C_ < best.C_


def test_what_is_fitted():
    problem = problems.load("iris")
    names = np.array(["setosa", "versicolor", "virginica"])
    clf = SoftmaxRegressionClassifierCV(CS).fit(problem.X, names[problem.y])
    single = SoftmaxRegressionClassifier(clf.C_).fit(problem.X, names[problem.y])
    assert {name for name in vars(single) if name.endswith("_")} <= set(vars(clf))
    assert clf.l1_ratio_ == 0.0
    np.testing.assert_array_equal(clf.l1_ratios_, [0.0])
    np.testing.assert_array_equal(clf.classes_, names)
    assert clf.converged_
    assert clf.objective_ == pytest.approx(single.objective_, abs=2e-6)
    assert (clf.predict(problem.X) == single.predict(problem.X)).mean() > 0.99


def test_without_a_refit_nothing_is_left_of_one():
    problem = problems.load("iris")
    clf = SoftmaxRegressionClassifierCV(2).fit(problem.X, problem.y)
    clf.set_params(refit=False).fit(problem.X[:, :3], problem.y)
    once = SoftmaxRegressionClassifierCV(2, refit=False).fit(problem.X[:, :3], problem.y)
    assert set(vars(clf)) == set(vars(once))


@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_the_bits_do_not_depend_on_threads(name):
    problem = problems.load(name)
    one, two = (SoftmaxRegressionClassifierCV(CS, n_jobs=n).fit(problem.X, problem.y) for n in (1, 2))
    np.testing.assert_array_equal(one.coefs_paths_, two.coefs_paths_)
    np.testing.assert_array_equal(one.scores_, two.scores_)
    np.testing.assert_array_equal(one.coef_, two.coef_)


def test_memory_order_and_read_only():
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifierCV(2, cv=2).fit(problem.X, problem.y)
    fortran = np.asfortranarray(problem.X)
    fortran.flags.writeable = False
    same = SoftmaxRegressionClassifierCV(2, cv=2).fit(fortran, problem.y)
    np.testing.assert_allclose(same.scores_, clf.scores_, rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int16])
def test_narrow_dtypes(dtype):
    """Digits are small integers: exact in all of them."""
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifierCV(CS[:3], cv=2).fit(problem.X.astype(np.float32), problem.y)
    same = SoftmaxRegressionClassifierCV(CS[:3], cv=2).fit(problem.X.astype(dtype), problem.y)
    np.testing.assert_allclose(same.scores_, clf.scores_, rtol=1e-3)


def test_sparse_rows():
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifierCV(CS[:3], score_tol=0, cv=2, tol=1e-9).fit(problem.X, problem.y)
    same = SoftmaxRegressionClassifierCV(CS[:3], score_tol=0, cv=2, tol=1e-9).fit(csr_array(problem.X), problem.y)
    np.testing.assert_allclose(same.scores_, clf.scores_, rtol=1e-3)
    assert same.C_ == clf.C_


def test_wide_sparse_rows():
    """Cells are fits of their own also where the metric is that of sparse text."""
    rng = np.random.default_rng(0)
    words = np.minimum(rng.zipf(1.3, 6000), 5000) - 1
    X = csr_array((np.ones(6000), (np.repeat(np.arange(300), 20), words)), shape=(300, 5000))
    y = np.arange(300) % 3
    clf = SoftmaxRegressionClassifierCV(CS[:3], score_tol=0, cv=2, refit=False).fit(X, y)
    for f, (train, _) in enumerate(StratifiedKFold(2).split(X, y)):
        for c, C in enumerate(CS[:3]):
            cold = SoftmaxRegressionClassifier(C).fit(X[train], y[train])
            objective = reference.Objective(X[train].toarray(), reference.one_hot(y[train]), C)
            value = objective.loss(*split(clf.coefs_paths_[f, 0, c].astype(np.float64)))
            assert value == pytest.approx(cold.objective_, abs=1e-5)


def test_squares_that_overflow_are_named():
    X = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
    with pytest.raises(ValueError, match="scale X down"):
        SoftmaxRegressionClassifierCV(2, cv=2).fit(X * np.float32(1e20), np.arange(400) % 4)


def test_tiny_features_take_as_many_passes():
    """Their squares would underflow in float32."""
    problem = problems.load("digits")
    X = problem.X.astype(np.float32)
    scores = [
        SoftmaxRegressionClassifierCV(CS[:3] / unit**2, cv=2).fit(X * np.float32(unit), problem.y).scores_
        for unit in (1.0, 2.0**-70)
    ]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-3)


class _Slices:
    """Rows that can only be read in slices."""

    def __init__(self, X):
        self.X, self.shape, self.dtype, self.ndim = X, X.shape, X.dtype, 2

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        assert isinstance(rows, slice), rows
        return self.X[rows]


def test_streams(tmp_path):
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifierCV(CS[:3], cv=KFold(2, shuffle=True, random_state=0)).fit(problem.X, problem.y)
    np.save(tmp_path / "X.npy", problem.X)
    for X in (np.load(tmp_path / "X.npy", mmap_mode="r"), _Slices(problem.X)):
        same = clone(clf).fit(X, problem.y)
        np.testing.assert_allclose(same.scores_, clf.scores_, rtol=1e-3)
        assert same.C_ == clf.C_


def bootstrap(n_samples):
    """Rows in any order, some of them twice, in training and in test."""
    rng = np.random.default_rng(0)
    return [(rng.integers(n_samples, size=n_samples), rng.integers(n_samples, size=300)) for _ in range(2)]


@pytest.mark.parametrize("container", [in_h5py, in_zarr, lambda folder, X: _Slices(X)], ids=["h5py", "zarr", "slices"])
@pytest.mark.parametrize(
    "cv",
    [
        "holdout",
        ShuffleSplit(2, random_state=0),
        StratifiedShuffleSplit(2, random_state=0),
        RepeatedStratifiedKFold(n_splits=2, n_repeats=1, random_state=0),
        bootstrap(1797),
    ],
    ids=["holdout", "shuffled", "by class", "repeated", "bootstrap"],
)
def test_rows_in_any_order_of_what_is_read_in_increasing_order(cv, container, tmp_path):
    """h5py refuses indices that do not increase."""
    problem = problems.load("digits")
    weight = np.linspace(0.5, 2, len(problem.y))
    clf = SoftmaxRegressionClassifierCV([1e-3, 1e-2], cv=cv, random_state=0, tol=1e-4)
    expected = clone(clf).fit(problem.X, problem.y, weight)
    found = clf.fit(container(tmp_path, problem.X), problem.y, weight)
    np.testing.assert_allclose(found.scores_, expected.scores_, rtol=1e-6)


def test_groups_without_metadata_routing():
    """As in GridSearchCV: the splitter has them, and without them the error says how to give them."""
    problem = problems.load("wine")
    groups = np.arange(len(problem.y)) % 4
    clf = SoftmaxRegressionClassifierCV(3, cv=GroupKFold(4)).fit(problem.X, problem.y, groups=groups)
    folds = list(GroupKFold(4).split(problem.X, problem.y, groups))
    assert_array_equal(clf.scores_, SoftmaxRegressionClassifierCV(3, cv=folds).fit(problem.X, problem.y).scores_)
    with pytest.raises(ValueError, match=r"groups for cv=GroupKFold.*Remedy: pass fit\(X, y, groups=...\)"):
        SoftmaxRegressionClassifierCV(3, cv=GroupKFold(4)).fit(problem.X, problem.y)
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        SoftmaxRegressionClassifierCV(3).fit(problem.X, problem.y, other=groups)


@pytest.mark.parametrize(
    ("Cs", "told"),
    [
        ([1e-6, 1e-5], r"is the largest of those tried.*np.logspace\(-6, -2, 9\)"),
        ([1e4, 1e6], r"is the smallest of those tried.*np.logspace\(1, 5, 9\)"),
        ([1.0], None),
    ],
)
def test_best_C_at_an_end_of_the_grid(Cs, told):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = np.eye(3)[y] + rng.normal(size=(120, 3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SoftmaxRegressionClassifierCV(Cs, cv=3).fit(X, y)
    assert len(caught) == (told is not None)
    if told:
        assert re.search(told, str(caught[0].message))


def test_best_C_between_the_ends_is_not_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choice.warn_of_edge(np.array([[0.0, 1.0, 0.5]]), np.array([1.0, 0.1, 0.01]))
        choice.warn_of_edge(np.array([[0.0, 1.0, 1.0]]), np.array([0.1, 1.0, np.inf]))
        choice.warn_of_edge(np.array([[0.0, 0.5, 1.0]]), np.array([0.1, 1.0, np.inf]))


def test_results_by_their_names_in_scikit_learn():
    X, y = load_iris(return_X_y=True)
    Cs = [0.01, 1.0, 100.0]
    clf = SoftmaxRegressionClassifierCV(Cs, cv=3, scoring="accuracy", tol=1e-10).fit(X, y)
    search = GridSearchCV(SoftmaxRegressionClassifier(tol=1e-10), {"C": Cs}, cv=3, scoring="accuracy").fit(X, y)
    for name in ("param_C", "split0_test_score", "mean_test_score", "std_test_score", "rank_test_score"):
        assert_allclose(clf.cv_results_[name], np.asarray(search.cv_results_[name], float), err_msg=name)
    assert clf.best_score_ == pytest.approx(search.best_score_)
    assert clf.cv_results_["params"][1] == {"C": 1.0, "l1_ratio": 0.0}


def test_path_by_name():
    path = softmax_regression_path(*load_iris(return_X_y=True), Cs=[0.1, 1.0])
    assert path.coefs.shape == (2, 3, 4)
    assert path.intercepts.shape == (2, 3)
    Cs, _, _, n_iters = path
    assert_array_equal(Cs, path.Cs)
    assert_array_equal(n_iters, path.n_iters)


def test_misspelt_scorer_and_classes_smaller_than_cv():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"got 'acuracy'. Did you mean 'accuracy'"):
        SoftmaxRegressionClassifierCV(scoring="acuracy").fit(X, y)
    with pytest.raises(ValueError, match="for each of 5 folds, but the largest, 0, has 3. Remedy: set cv to at most 3"):
        SoftmaxRegressionClassifierCV().fit(X[48:53], y[48:53] * 0 + [0, 0, 0, 1, 1])


def test_groups_by_metadata_routing():
    problem = problems.load("wine")
    groups = np.arange(len(problem.y)) % 4
    with sklearn.config_context(enable_metadata_routing=True):
        clf = SoftmaxRegressionClassifierCV(3, cv=GroupKFold(4)).fit(problem.X, problem.y, groups=groups)
    folds = list(GroupKFold(4).split(problem.X, problem.y, groups))
    np.testing.assert_array_equal(
        clf.scores_, SoftmaxRegressionClassifierCV(3, cv=folds).fit(problem.X, problem.y).scores_
    )


def test_sample_weight_with_metadata_routing():
    problem = problems.load("wine")
    args = problem.X, problem.y, problem.sample_weight
    clf = SoftmaxRegressionClassifierCV(3, cv=3).fit(*args)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = SoftmaxRegressionClassifierCV(3, cv=3).fit(*args)
    np.testing.assert_array_equal(routed.scores_, clf.scores_)


def test_holdout_with_metadata_routing():
    """'holdout' is a string, to which nothing is routed."""
    problem = problems.load("wine")
    params = {"cv": "holdout", "random_state": 0}
    clf = SoftmaxRegressionClassifierCV(3, **params).fit(problem.X, problem.y, problem.sample_weight)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = SoftmaxRegressionClassifierCV(3, **params).fit(problem.X, problem.y, problem.sample_weight)
    np.testing.assert_array_equal(routed.scores_, clf.scores_)


def test_scores_that_are_not_finite():
    problem = problems.load("iris")

    def scorer(clf, X, y):
        return np.nan if clf.C == 1.0 else clf.C

    with pytest.warns(UserWarning, match="not finite"):
        clf = SoftmaxRegressionClassifierCV([0.1, 1.0], scoring=scorer).fit(problem.X, problem.y)
    assert clf.C_ == 0.1
    with pytest.raises(ValueError, match=r"finite scores.*Remedy"):
        SoftmaxRegressionClassifierCV([1.0], scoring=scorer).fit(problem.X, problem.y)


def test_equal_scores_take_the_smaller_C():
    problem = problems.load("iris")
    clf = SoftmaxRegressionClassifierCV([10.0, 0.1, 1.0], scoring=lambda clf, X, y: 0.5).fit(problem.X, problem.y)
    assert clf.C_ == 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_has_not_converged_is_told(dtype):
    problem = problems.load("digits")
    with pytest.warns(ConvergenceWarning) as caught:
        SoftmaxRegressionClassifierCV([0.01, 1.0], cv=2, max_iter=2).fit(problem.X.astype(dtype), problem.y)
    (message,) = (str(warning.message) for warning in caught if "4 of 4 fits" in str(warning.message))
    assert ("float64" in message) == (dtype == np.float32)  # what is float64 already cannot be passed as that


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"Cs": []}, "Cs"),
        ({"Cs": [1.0, 0.0]}, "Cs"),
        ({"Cs": [1.0, np.nan]}, "Cs"),
        ({"Cs": [[1.0]]}, "Cs"),
        ({"selection": "1se", "cv": "holdout"}, "2 folds"),
        ({"selection": "1se", "refit": False}, "refit"),
        ({"cv": []}, "fold"),
        ({"cv": [([0, 60], [])]}, "test rows"),
    ],
)
def test_errors_say_the_remedy(params, match):
    problem = problems.load("iris")
    with pytest.raises(ValueError, match=rf"(?s){match}.*Remedy"):
        SoftmaxRegressionClassifierCV(**params).fit(problem.X, problem.y)


def test_rows_held_out_that_weigh_nothing():
    problem = problems.load("iris")
    sample_weight = (np.arange(150) % 5 > 0).astype(float)
    cv = PredefinedSplit(np.arange(150) % 5)
    with pytest.raises(ValueError, match=r"positive total weight, in every fold.*Remedy"):
        SoftmaxRegressionClassifierCV(cv=cv).fit(problem.X, problem.y, sample_weight)


def test_a_fit_that_fails_leaves_nothing():
    problem = problems.load("iris")
    clf = SoftmaxRegressionClassifierCV(2)
    with pytest.raises(ValueError, match="Cs"):
        clone(clf).set_params(Cs=[]).fit(problem.X, problem.y)
    clf.fit(problem.X, problem.y)
    before = dict(vars(clf))
    with pytest.raises(ValueError, match="training rows"):
        clf.set_params(cv=[([0, 1], [2])]).fit(problem.X[:, :2], problem.y)
    assert {name: vars(clf)[name] for name in before if name.endswith("_")} == {
        name: value for name, value in before.items() if name.endswith("_")
    }


@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_path(name, fit_intercept):
    problem = problems.load(name)
    Cs, coefs, intercepts, n_iters = softmax_regression_path(
        problem.X, problem.y, Cs=[1.0, 0.01, 10.0], sample_weight=problem.sample_weight, fit_intercept=fit_intercept
    )
    np.testing.assert_array_equal(Cs, [1.0, 0.01, 10.0])
    n_outputs = 3 if name == "iris" else 1
    assert coefs.shape == (3, n_outputs, problem.X.shape[1])
    assert intercepts.shape == (3, n_outputs)
    assert n_iters.shape == (3,)
    for C, coef, intercept in zip(Cs, coefs, intercepts, strict=True):
        objective = problems.objective(name, C, weighted=True, fit_intercept=fit_intercept)
        best = problems.optimum(name, C, weighted=True, fit_intercept=fit_intercept)
        assert objective.loss(coef, intercept) - best.loss <= 1e-6 * best.null_loss


def test_verbose(capsys):
    problem = problems.load("iris")
    SoftmaxRegressionClassifierCV([0.1, 1.0], cv=2).fit(problem.X, problem.y)
    assert capsys.readouterr().out == ""
    SoftmaxRegressionClassifierCV([0.1, 1.0], cv=2, verbose=1).fit(problem.X, problem.y)
    assert len(capsys.readouterr().out.splitlines()) == 1
    SoftmaxRegressionClassifierCV([0.1, 1.0], cv=2, verbose=2).fit(problem.X, problem.y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["C=0.1", "C=1"]
    assert lines[-1].startswith("converged after")


def test_path_checks_its_parameters():
    problem = problems.load("iris")
    with pytest.raises(ValueError, match="tol"):
        softmax_regression_path(problem.X, problem.y, tol=-1)
    for l1_ratio in (2, -0.5, "much", [0.5]):
        with pytest.raises(ValueError, match="Expected l1_ratio to be"):
            softmax_regression_path(problem.X, problem.y, l1_ratio=l1_ratio)
    with pytest.warns(ConvergenceWarning, match="of 1 fits"):
        softmax_regression_path(problem.X, problem.y, Cs=[1.0], max_iter=0)


class _Recorded:
    """A curvature that only takes note of where it is asked for a metric."""

    is_exact = is_partial = False
    effective_dim = 1.0

    def __init__(self, n_columns=3):
        self.rows = SimpleNamespace(null_objective=1.0, n_columns=n_columns)
        self.asked = []

    def foresee(self, elastic_net):
        pass

    set_penalty = foresee

    def metric(self, point):
        self.asked.append(point)
        return ScheduledMetric(SimpleNamespace(), 5, 1.0)


def test_a_shared_metric_is_made_where_folds_are_not_where_they_try():
    """A step that is rejected may be far out, or overflow; what it leaves must not stay."""
    mean, folds = _Recorded(), [_Recorded(), _Recorded()]
    metrics = FoldMetrics(mean, folds, np.zeros((2, 3), bool), 1e6)
    metrics.begin([ElasticNet(1.0)] * 2)
    assert metrics.is_shared

    def solver(m, trials):
        make, start = metrics.maker(m), np.full(3, float(m))
        yield start
        make(start)
        metrics.move_to(m, start, 0.5)
        for trial in trials:
            _ = yield trial
        make(trials[-1])
        metrics.move_to(m, trials[-1], 0.25)
        yield trials[-1]
        return SimpleNamespace(grad=trials[-1])

    far = np.full(3, np.inf)
    solvers = {0: solver(0, [np.full(3, 2.0)]), 1: solver(1, [far, far, np.full(3, 4.0)])}
    losses = {0.0: 0.7, 1.0: 0.8}
    stack = SimpleNamespace(
        source=SimpleNamespace(dtype=np.dtype(float)),
        n_passes=2,
        elastic_nets=[ElasticNet()] * 2,
        evaluate=lambda going, points: [(losses.get(p[0], np.nan), np.zeros(3)) for p in points],
    )
    Lockstep(stack, solvers, metrics.move_to).run()
    # the first at both starts; the second where fold 0 has come to and fold 1 still is
    np.testing.assert_array_equal(mean.asked, [np.full(3, 0.5), np.full(3, 1.5)])
    assert metrics.loss.tolist() == [0.25, 0.25]
    metrics.move_to(0, np.zeros(3), np.nan)
    assert np.isfinite(metrics.loss).all()


def test_one_transpose_of_sparse_rows_at_a_time(monkeypatch):
    X, y = csr_array(np.maximum(np.random.default_rng(0).standard_normal((200, 10)), 0)), np.arange(200) % 3
    fit, kept = SoftmaxRegressionClassifier.fit, []

    def counted(self, *args, **params):
        # isinstance would ask proxies for a class of what may be gone
        sources = [a for a in gc.get_objects() if issubclass(type(a), CsrSource) and a.X.shape == X.shape]
        kept.append([a for a in sources if "columns" in vars(a)])
        return fit(self, *args, **params)

    monkeypatch.setattr(SoftmaxRegressionClassifier, "fit", counted)
    SoftmaxRegressionClassifierCV(Cs=[1.0], cv=2).fit(X, y)
    assert kept == [[]]


def test_a_metric_of_a_hard_fold_serves_the_next_C():
    """Unless it is too stiff there by more than a factor; and it counts as stale by what it is too stiff."""

    class Curved:
        rows, elastic_net, n_made = SimpleNamespace(null_objective=2.0), SimpleNamespace(l2_reg_strength=1.0), 0

        def metric_of_all_rows(self, point):
            self.n_made += 1
            return ScheduledMetric(None, 8, 100.0)

    curved = Curved()
    metrics = FoldMetrics(None, [curved], np.zeros((1, 3), bool), 100.0)
    metrics.loss[0] = 0.25
    first = metrics.maker_of_all_rows(0)(np.zeros((3, 4)))
    assert (first.objective_there, first.is_handed_on, curved.n_made) == (0.5, False, 1)
    curved.elastic_net = SimpleNamespace(l2_reg_strength=0.2)
    make = metrics.maker_of_all_rows(0)
    handed_on = make(np.zeros((3, 4)))
    assert (handed_on.objective_there, handed_on.is_handed_on, curved.n_made) == (2.5, True, 1)
    assert not make(np.zeros((3, 4))).is_handed_on  # where it has turned out bad
    assert curved.n_made == 2
    for strength in (0.01, 0.0):
        curved.elastic_net = SimpleNamespace(l2_reg_strength=strength)
        assert not metrics.maker_of_all_rows(0)(np.zeros((3, 4))).is_handed_on
    assert curved.n_made == 4


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs to know how much memory is in use")
def test_zeros_of_a_path_take_no_memory():
    """64 MB with a number in each MB, as coefficients of many features are; pages of 2 MB would be all of it."""

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, paths = resident(), memory.untouched_zeros((16, 1 << 19), np.float64)
    paths[:, :: 1 << 17] = 1.0
    assert resident() - before < 1 << 23
    assert paths.sum() == 64


def test_solvers_that_ask_nothing_go_on_at_the_same_time():
    together = threading.Barrier(2)

    def solver(m):
        together.wait(timeout=60)  # breaks where one waits for the other to end
        return Solution(np.full(1, m))
        yield

    solutions = Lockstep(None, {m: solver(m) for m in (1, 0)}, None, n_threads=2).run()
    assert [solution.point.item() for solution in solutions] == [0, 1]
