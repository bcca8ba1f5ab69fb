"""Offsets, target probabilities and rows of one's own to choose by, where C is chosen: held to single fits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit, StratifiedKFold

import problems
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.objective import StackedObjectives
from softmax_clf.rows import cross_entropy
from softmax_clf.sources.arrays import ArraySource

CS = [0.03, 1.0, 30.0]
EXACT = {"tol": 1e-11, "score_tol": 0}


def iris(n_classes=3):
    problem = problems.load("iris")
    n = 50 * n_classes
    order = np.random.default_rng(0).permutation(n)
    return problem.X[:n][order], problem.y[:n][order]


def offset_of(y, n_classes):
    """What says something of the label, but not all."""
    return np.eye(n_classes)[y] + np.random.default_rng(1).standard_normal((len(y), n_classes))


def probable(y, n_classes, share=0.7):
    """Target probabilities that are a mixture of the label and of something else."""
    other = np.random.default_rng(2).dirichlet(np.ones(n_classes), len(y))
    return share * np.eye(n_classes)[y] + (1 - share) * other


@pytest.mark.parametrize("container", [np.asarray, np.float32, csr_array])
@pytest.mark.parametrize(("n_classes", "l1_ratio"), [(2, 0.0), (3, 0.0), (3, 0.5)])
def test_offsets_are_those_of_single_fits(n_classes, l1_ratio, container):
    X, y = iris(n_classes)
    X, offset, folds = container(X), offset_of(y, n_classes), list(StratifiedKFold(3).split(y, y))
    tol, close = (1e-6, 1e-2) if container is np.float32 else (1e-11, 1e-4)
    params = {"cv": folds, "l1_ratios": [l1_ratio], "store_oof_proba": True, "score_tol": 0, "tol": tol}
    clf = SoftmaxRegressionClassifierCV(CS, **params).fit(X, y, offset=offset)
    for f, (train, test) in enumerate(folds):
        for c, C in enumerate(CS):
            one = SoftmaxRegressionClassifier(C, l1_ratio=l1_ratio, tol=tol)
            one.fit(X[train], y[train], offset=offset[train])
            proba = one.predict_proba(X[test], offset[test])
            assert clf.scores_[f, 0, c] == pytest.approx(-log_loss(y[test], proba), rel=close, abs=close / 10)
            if clf.C_ == C:
                assert_allclose(clf.oof_proba_[test], proba, atol=close)
    whole = SoftmaxRegressionClassifier(clf.C_, l1_ratio=l1_ratio, tol=tol).fit(X, y, offset=offset)
    assert clf.objective_ == pytest.approx(whole.objective_, rel=1e-5)
    assert clf.score(X, y, offset=offset) == pytest.approx(
        -log_loss(y, whole.predict_proba(X, offset)), rel=close, abs=close / 10
    )
    without = SoftmaxRegressionClassifierCV(CS, **params).fit(X, y)
    assert np.abs(without.scores_ - clf.scores_).max() > 0.01


def test_any_score_knows_offsets():
    X, y = iris()
    offset, folds = offset_of(y, 3), list(StratifiedKFold(3).split(y, y))
    clf = SoftmaxRegressionClassifierCV(CS, cv=folds, scoring="accuracy", **EXACT).fit(X, y, offset=offset)
    for f, (train, test) in enumerate(folds):
        one = SoftmaxRegressionClassifier(CS[1], tol=1e-11).fit(X[train], y[train], offset=offset[train])
        assert clf.scores_[f, 0, 1] == accuracy_score(y[test], one.predict(X[test], offset[test]))
    assert clf.score(X, y, offset=offset) == accuracy_score(y, clf.predict(X, offset))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("given", ["offset", "targets"])
def test_rows_left_out_one_at_a_time(given, n_classes):
    X, y = iris(n_classes)
    X, y = X[:45], y[:45]
    target = y if given == "offset" else probable(y, n_classes)
    offset = offset_of(y, n_classes) if given == "offset" else np.zeros((45, n_classes))
    clf = SoftmaxRegressionClassifierCV([0.5], cv="loo", tol=1e-11).fit(X, target, offset=offset)
    losses = []
    for i in range(45):
        rest = np.arange(45) != i
        one = SoftmaxRegressionClassifier(0.5, tol=1e-9).fit(X[rest], target[rest], offset=offset[rest])
        losses.append(one.sample_loss(X[i : i + 1], target[i : i + 1], offset[i : i + 1])[0])
    assert clf.scores_[0, 0, 0] == pytest.approx(-np.mean(losses), rel=2e-2)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_targets_of_zero_and_one_are_labels(n_classes, l1_ratio):
    """Folds are by the most probable class."""
    X, y = iris(n_classes)
    params = {"cv": 3, "l1_ratios": [l1_ratio], "store_oof_proba": True, **EXACT}
    labels = SoftmaxRegressionClassifierCV(CS, **params).fit(X, y)
    targets = SoftmaxRegressionClassifierCV(CS, **params).fit(X, np.eye(n_classes)[y])
    assert_allclose(targets.scores_, labels.scores_, rtol=1e-5)
    assert_allclose(targets.oof_proba_, labels.oof_proba_, atol=1e-5)
    assert targets.C_ == labels.C_


def likelihood(clf, X, y, sample_weight):
    return np.average((clf.predict_proba(X) * y).sum(axis=1), weights=sample_weight)


@pytest.mark.parametrize("scoring", [None, "accuracy", likelihood])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_target_probabilities_are_those_of_single_fits(n_classes, scoring):
    X, y = iris(n_classes)
    target, folds = probable(y, n_classes), list(KFold(3).split(X))
    weight = np.linspace(0.5, 2.0, len(y))
    clf = SoftmaxRegressionClassifierCV(CS, cv=folds, scoring=scoring, **EXACT).fit(X, target, weight)
    for f, (train, test) in enumerate(folds):
        one = SoftmaxRegressionClassifier(CS[1], tol=1e-11).fit(X[train], target[train], weight[train])
        log_proba = one.predict_log_proba(X[test])
        expected = {
            None: -cross_entropy(log_proba, target[test]),
            "accuracy": target[test][np.arange(len(test)), log_proba.argmax(axis=1)],
            likelihood: (np.exp(log_proba) * target[test]).sum(axis=1),
        }[scoring]
        assert clf.scores_[f, 0, 1] == pytest.approx(np.average(expected, weights=weight[test]), rel=1e-6)
    whole = SoftmaxRegressionClassifier(clf.C_, tol=1e-11).fit(X, target, weight)
    assert_allclose(clf.coef_, whole.coef_, atol=1e-4 * np.abs(whole.coef_).max())
    assert np.isfinite(clf.score(X, target, sample_weight=weight))


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_a_class_that_is_no_target_in_a_fold(l1_ratio):
    X, y = iris()
    X, y = np.hstack([X, np.zeros((150, 200))]) if l1_ratio else X, np.sort(y)
    target = probable(np.minimum(y, 1), 3)
    target[y < 2, 2] = 0.0
    target /= target.sum(axis=1, keepdims=True)
    folds = [(np.flatnonzero(y < 2), np.flatnonzero(y == 2)), (np.arange(150), np.arange(50))]
    clf = SoftmaxRegressionClassifierCV(CS, cv=folds, l1_ratios=[l1_ratio]).fit(X, target)
    assert (clf.coefs_paths_[0, :, :, 2, -1] == -np.inf).all()
    assert np.isfinite(clf.scores_).all()
    assert np.isfinite(clf.coef_).all()


def test_early_ends_are_off_by_little():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 20))
    y = np.argmax(2 * X[:, :3] + rng.gumbel(size=(600, 3)), axis=1)
    offset, target = offset_of(y, 3), probable(y, 3)
    exact = SoftmaxRegressionClassifierCV(cv=3, score_tol=0).fit(X, target, offset=offset)
    clf = SoftmaxRegressionClassifierCV(cv=3).fit(X, target, offset=offset)
    assert (clf.score_errors_ > 0).any()
    assert clf.C_ == exact.C_
    assert_allclose(clf.scores_, exact.scores_, atol=0.01)


class Slices:
    """Rows with a shape, a dtype and slices, and no more."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        return self.X[rows]


@pytest.mark.parametrize("container", [np.asarray, np.float32, csr_array, Slices, "frame"])
def test_rows_of_ones_own_to_choose_by(container):
    X, y = iris()
    labels = np.array(["a", "b", "c"])[y]
    if container == "frame":
        pandas = pytest.importorskip("pandas")
        container = lambda rows: pandas.DataFrame(rows, columns=list("abcd"))  # noqa: E731
    tol = 1e-6 if container is np.float32 else 1e-10
    clf = SoftmaxRegressionClassifierCV(CS, tol=tol, score_tol=0)
    clf.fit(container(X[:100]), labels[:100], X_val=container(X[100:]), y_val=labels[100:])
    split = PredefinedSplit(np.repeat([-1, 0], [100, 50]))
    search = GridSearchCV(SoftmaxRegressionClassifier(tol=1e-10), {"C": CS}, cv=split, scoring="neg_log_loss")
    search.fit(X, labels)
    assert clf.scores_.shape == (1, 1, 3)
    assert_allclose(clf.scores_[0, 0], search.cv_results_["mean_test_score"], rtol=5e-3)
    assert clf.C_ == search.best_params_["C"]
    best = search.best_estimator_
    assert_allclose(clf.coef_, best.coef_, atol=(1e-2 if container is np.float32 else 1e-4) * np.abs(best.coef_).max())
    assert clf.score(container(X), labels) == pytest.approx(search.score(X, labels), rel=5e-3)


@pytest.mark.parametrize("kinds", [(csr_array, np.asarray), (np.asarray, csr_array), (np.asarray, Slices)])
def test_rows_to_choose_by_of_another_kind(kinds):
    X, y = iris()
    parts = kinds[0](X[:100]), y[:100], kinds[1](X[100:]), y[100:]
    clf = SoftmaxRegressionClassifierCV(CS).fit(*parts[:2], X_val=parts[2], y_val=parts[3])
    plain = SoftmaxRegressionClassifierCV(CS).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert clf.C_ == plain.C_
    assert_allclose(clf.scores_, plain.scores_, rtol=1e-2)


def test_target_probabilities_and_classes_by_weight_to_choose_by():
    X, y = iris()
    target = probable(y, 3)
    folds = [(np.arange(100), np.arange(100, 150))]
    clf = SoftmaxRegressionClassifierCV(CS, **EXACT).fit(X[:100], target[:100], X_val=X[100:], y_val=target[100:])
    assert_allclose(clf.scores_, SoftmaxRegressionClassifierCV(CS, cv=folds, **EXACT).fit(X, target).scores_, rtol=1e-6)
    balanced = {"class_weight": "balanced", **EXACT}
    clf = SoftmaxRegressionClassifierCV(CS, **balanced).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert_array_equal(clf.coef_, SoftmaxRegressionClassifierCV(CS, cv=folds, **balanced).fit(X, y).coef_)


def test_a_path_with_offsets_and_targets():
    X, y = iris()
    target, offset = probable(y, 3), offset_of(y, 3)
    path = softmax_regression_path(X, target, Cs=CS, offset=offset, tol=1e-11)
    for c, C in enumerate(CS):
        one = SoftmaxRegressionClassifier(C, tol=1e-11).fit(X, target, offset=offset)
        assert_allclose(path.coefs[c], one.coef_, atol=1e-4 * np.abs(one.coef_).max())


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_points_have_offsets_and_those_of_directions_none(n_classes):
    X, y = iris(n_classes)
    n_outputs = 1 if n_classes == 2 else n_classes
    offset = np.random.default_rng(3).standard_normal((len(y), n_outputs))
    stack = StackedObjectives(
        ArraySource(X),
        y,
        n_classes,
        sample_weight=[np.ones(len(y))] * 3,
        fit_intercept=True,
        n_threads=1,
        offset=offset,
    )
    points = [np.random.default_rng(m).standard_normal((n_outputs, X.shape[1] + 1)) for m in range(3)]
    outs = [np.empty((n_outputs, len(y))) for _ in range(3)]
    are_directions = [False, True, False]
    stack.raw_scores([0, 1, 2], points, outs, are_directions)
    assert stack.n_passes == 1.5
    for point, out, is_direction in zip(points, outs, are_directions, strict=True):
        expected = X @ point[:, :-1].T + point[:, -1] + (0.0 if is_direction else offset)
        assert_allclose(out.T, expected)
    (value, grad), *_ = stack.evaluate_at([0], points[:1], outs[:1])
    (expected_value, expected_grad), *_ = stack.evaluate([0], points[:1])
    assert value == pytest.approx(expected_value)
    assert_allclose(grad, expected_grad)


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [
        ({}, {"X_val": np.ones((3, 4))}, "Expected X_val and y_val"),
        ({"cv": 3}, {"X_val": np.ones((3, 4)), "y_val": [0, 1, 2]}, "Expected cv=None"),
        ({}, {"X_val": np.ones((3, 4)), "y_val": [0, 1, 2], "sample_weight": np.ones(150)}, "no sample_weight"),
        ({}, {"X_val": np.ones((3, 4)), "y_val": [0, 1, 2], "offset": np.ones((150, 3))}, "no offset"),
        ({}, {"X_val": np.ones((3, 4)), "y_val": [0, 1, 7]}, "7"),
        ({}, {"X_val": np.ones((3, 5)), "y_val": [0, 1, 2]}, "5 features"),
        ({}, {"X_val": np.ones((3, 4)), "y_val": np.eye(3)}, "labels both"),
        ({}, {"offset": np.ones((150, 2))}, "offset of shape"),
        ({"scoring": "roc_auc_ovr"}, {"y": np.eye(3)[np.arange(150) % 3]}, "which scores labels"),
        ({"class_weight": "balanced"}, {"y": np.eye(3)[np.arange(150) % 3]}, "class_weight=None"),
    ],
)
def test_what_does_not_fit_together_is_refused(params, given, message):
    X, y = iris()
    with pytest.raises(ValueError, match=message):
        SoftmaxRegressionClassifierCV(CS, **params).fit(X, **{"y": y, **given})
