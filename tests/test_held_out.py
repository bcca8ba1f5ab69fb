"""What scores of cells that are left before `tol` are off by: little beside their standard error, and as stated."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

import problems
import reference
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.model_selection.fold_paths import FoldPaths
from softmax_clf.model_selection.held_out import HeldOut, ScoreWatch
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.training_data import TrainingData

CS = np.logspace(-3, 3, 7)
SCORERS = ("neg_log_loss", "accuracy", "f1_macro", "roc_auc_ovr", "neg_brier_score")


def standardised(X):
    X = X[:, X.std(axis=0) > 0]
    return (X - X.mean(axis=0)) / X.std(axis=0)


def drawn(rng, scores):
    return np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)


def relu(rng):
    """Random ReLU features, some of them active in few rows, and labels that noise has a part in."""
    X = rng.standard_normal((900, 20))
    Z = X @ rng.standard_normal((20, 60)) / 4
    return standardised(np.maximum(Z - rng.uniform(0, 3, 60), 0)), drawn(rng, X @ rng.standard_normal((20, 4)) / 4)


def rare_levels(rng):
    law = np.arange(1, 31) ** -1.3
    X = np.hstack([np.eye(30)[rng.choice(30, 900, p=law / law.sum())] for _ in range(3)])
    return standardised(X), drawn(rng, X @ rng.standard_normal((90, 3)))


def words(rng):
    law = 1 / np.arange(1, 301)
    X = rng.poisson(15 * law / law.sum() * np.ones((700, 1))).astype(np.float64)
    return csr_array(X), drawn(rng, X @ rng.standard_normal((300, 3)))


def binary(rng):
    X = rng.standard_normal((800, 40)) * np.logspace(-1, 1, 40)
    return X, (X[:, 10:] @ rng.standard_normal(30) / 10 + rng.logistic(size=800) > 0).astype(int)


def digits(rng):
    problem = problems.load("digits")
    return problem.X[::2], problem.y[::2]


FAMILIES = {make.__name__: make for make in (relu, rare_levels, words, binary, digits)}


def fitted(X, y, sample_weight=None, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference may meet rounding
        return SoftmaxRegressionClassifierCV(CS, **kwargs).fit(X, y, sample_weight)


def standard_errors(scores):
    return scores.std(axis=0, ddof=1) / np.sqrt(len(scores))


KINDS = [*((name, "plain") for name in FAMILIES), ("rare_levels", "weighted"), ("binary", "l1"), ("words", "l1")]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_scores_are_off_by_little(name, kind):
    """Beside the standard errors of their means over folds, and as it is stated; and the choice is the same.

    Where rare features are, `tol` too leaves scores off by a tenth of that at the largest C.
    """
    X, y = FAMILIES[name](np.random.default_rng(0))
    weight = np.random.default_rng(1).exponential(size=len(y)) if kind == "weighted" else None
    params = {"refit": False, "l1_ratios": (0.5,) if kind == "l1" else (0.0,)}
    found = fitted(X, y, weight, **params)
    exact = fitted(X, y, weight, score_tol=0, tol=1e-8, **params)
    assert found.C_ == exact.C_
    off, errors = np.abs((found.scores_ - exact.scores_).mean(axis=0)), standard_errors(exact.scores_)
    assert (off <= 0.2 * errors).all()
    stated = found.score_errors_.mean(axis=0)
    assert (off <= stated + 0.1 * errors).all()
    assert (stated <= 0.3 * errors).all()


@pytest.mark.parametrize("scoring", SCORERS[1:])
def test_other_scores_are_off_by_little_too(scoring):
    X, y = relu(np.random.default_rng(0))
    found, exact = fitted(X, y, scoring=scoring), fitted(X, y, scoring=scoring, score_tol=0, tol=1e-8)
    off = np.abs((found.scores_ - exact.scores_).mean(axis=0))
    assert (off <= 0.3 * standard_errors(exact.scores_)).all()
    assert found.C_ == exact.C_


def wide_problem(rng):
    X = rng.standard_normal((500, 150)) * np.logspace(-1, 1, 150)
    return X, drawn(rng, X @ rng.standard_normal((150, 8)) / 10)


def rounded(X, y, monkeypatch, **params):
    """A choice of C, and whether sources were asked for a copy in float32, and gave one."""
    answers = []

    def in_float32(source, weight):
        answers.append(of_source(source, weight))
        return answers[-1]

    of_source = ArraySource.in_float32
    with monkeypatch.context() as patch:
        patch.setattr(ArraySource, "in_float32", in_float32)
        model = SoftmaxRegressionClassifierCV(CS, cv=3, **params).fit(X, y)
    return model, [answer is not None for answer in answers]


def test_cells_in_float32_have_the_scores_of_those_in_float64(monkeypatch):
    X, y = wide_problem(np.random.default_rng(0))
    model, answers = rounded(X, y, monkeypatch)
    assert answers == [True]
    exact, answers = rounded(X, y, monkeypatch, score_tol=0)
    assert not answers
    off = np.abs(model.scores_ - exact.scores_).mean(axis=0)
    error = exact.scores_.std(axis=0, ddof=1) / np.sqrt(3)
    assert (off <= 0.1 * error).all()
    assert model.C_ == exact.C_
    assert model.coefs_paths_.dtype == model.coef_.dtype == np.float64
    np.testing.assert_allclose(model.objective_, exact.objective_, rtol=3e-6)


@pytest.mark.parametrize(
    "params", [{"refit": False}, {"tol": 1e-8}, {"l1_ratios": [0.5]}, {"penalty_factor": np.linspace(1, 2, 150)}]
)
def test_cells_that_float32_does_not_serve_stay_in_float64(params, monkeypatch):
    X, y = wide_problem(np.random.default_rng(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not rounded(X, y, monkeypatch, **params)[1]


def test_features_far_from_zero_stay_in_float64(monkeypatch):
    X, y = wide_problem(np.random.default_rng(2))
    assert rounded(X + 1e6, y, monkeypatch)[1] == [False]


def test_cells_without_digits_in_float32_are_solved_in_float64(monkeypatch):
    X, y = wide_problem(np.random.default_rng(3))
    minimise_at = FoldPaths.minimise_at

    def without_digits(paths, C, *args, **kwargs):
        solutions = minimise_at(paths, C, *args, **kwargs)
        if paths.stack.source.dtype == np.float32 and C == CS[-1]:
            solutions[1].converged = solutions[1].stopped = False
        return solutions

    monkeypatch.setattr(FoldPaths, "minimise_at", without_digits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of one that has not converged
        model, answers = rounded(X, y, monkeypatch)
    assert answers == [True]
    assert model.score_errors_[1, 0, -1] == 0


def test_cells_that_cannot_be_chosen_are_left():
    X, y = relu(np.random.default_rng(0))
    found = fitted(X, y)
    c = int(np.flatnonzero(CS == found.C_)[0])
    assert (found.score_errors_[..., max(c - 1, 0) : c + 2] == 0).all()
    assert (found.score_errors_[..., -2:] > 0).any()
    assert (fitted(X, y, score_tol=0).score_errors_ == 0).all()


@pytest.mark.parametrize(("chosen", "refit"), [(0, True), (5, True), (6, False)])
def test_what_is_chosen_is_solved_to_tol(chosen, refit):
    """And its neighbours, wherever the scorer finds the best."""
    X, y = relu(np.random.default_rng(0))
    cv = StratifiedKFold(2)
    exact = fitted(X, y, cv=cv, score_tol=0, tol=1e-9, refit=False)
    found = fitted(X, y, cv=cv, refit=refit, scoring=lambda clf, X, y: -abs(np.log(clf.C / CS[chosen])))
    assert pytest.approx(CS[chosen]) == found.C_
    assert found.converged_
    for f, (train, _) in enumerate(cv.split(X, y)):
        for c in range(max(chosen - 1, 0), min(chosen + 2, 7)):
            objective = reference.Objective(X[train], reference.one_hot(y[train]), CS[c])
            loss, best = (
                objective.loss(point[:, :-1], point[:, -1])
                for point in (found.coefs_paths_[f, 0, c], exact.coefs_paths_[f, 0, c])
            )
            assert loss - best <= 1e-6 * objective.null_loss()
            assert found.score_errors_[f, 0, c] == 0


def test_going_on_counts_iterations():
    X, y = relu(np.random.default_rng(0))
    params = {"cv": 2, "refit": False, "max_iter": 10_000}
    last = fitted(X, y, scoring=lambda clf, X, y: clf.C, **params)
    assert last.n_iter_ > fitted(X, y, scoring=lambda clf, X, y: -clf.C, **params).n_iter_ / 4
    assert last.converged_


def held_out(X, y, test, sample_weight=None, is_known=None, n_bytes=1 << 30):
    n_classes = y.max() + 1
    is_known = np.ones(n_classes, bool) if is_known is None else is_known
    data = TrainingData(ArraySource(X), np.arange(n_classes), y, sample_weight, None, sample_weight)
    return HeldOut(data, np.asarray(test), is_known, n_bytes, data.source.dtype)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_loss_of_rows_held_out(n_classes):
    problem = problems.load("iris")
    X, y = problem.X[: 50 * n_classes], problem.y[: 50 * n_classes]
    clf = SoftmaxRegressionClassifier().fit(X, y)
    test = np.arange(1, len(y), 4)
    rows = held_out(X, y, test, problem.sample_weight[: len(y)])
    loss, accuracy = rows.scores(clf.coef_, clf.intercept_)
    weight = problem.sample_weight[test]
    assert -loss == pytest.approx(log_loss(y[test], clf.predict_proba(X[test]), sample_weight=weight))
    assert accuracy == pytest.approx(clf.score(X[test], y[test], weight))
    assert rows.n_effective == pytest.approx(weight.sum() ** 2 / (weight @ weight))


def test_rows_held_out_twice_count_twice():
    problem = problems.load("iris")
    clf = SoftmaxRegressionClassifier().fit(problem.X, problem.y)
    counts = 1 + np.arange(150) % 3
    twice = held_out(problem.X, problem.y, np.repeat(np.arange(150), counts))
    weighted = held_out(problem.X, problem.y, np.arange(150), counts.astype(float))
    np.testing.assert_allclose(twice.scores(clf.coef_, clf.intercept_), weighted.scores(clf.coef_, clf.intercept_))


def test_rows_of_unknown_classes_are_not_watched():
    problem = problems.load("iris")
    rows = held_out(problem.X, problem.y, np.arange(150), is_known=np.array([True, False, True]))
    assert set(rows.y) == {0, 2}
    none = held_out(problem.X, problem.y, np.arange(150), is_known=np.zeros(3, bool))
    watch = ScoreWatch([none], 1, 0.1)
    assert not watch.look(0, SimpleNamespace(suboptimality=0.0, objective=0.5), 1.0, np.zeros((3, 4)), np.zeros(3))


def test_a_sample_stands_for_many_rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40_000, 5))
    y = drawn(rng, X[:, :3])
    every, some = (held_out(X, y, np.arange(40_000), n_bytes=n) for n in (1 << 30, 1 << 17))
    assert len(some.y) == (1 << 17) // 40
    assert some.share == pytest.approx(len(some.y) / 40_000)
    point = np.eye(3, 5), np.zeros(3)
    assert some.scores(*point)[0] == pytest.approx(every.scores(*point)[0], abs=0.05)


@pytest.mark.parametrize("rate", [0.3, 0.7, 0.9])
def test_a_watch_ends_where_it_says(rate):
    """Along a geometric series, whose limit is known, it is off by no more than it states."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 4))
    y = drawn(rng, 2 * X[:, :3])
    rows, end, way = held_out(X, y, np.arange(500)), np.eye(3, 4), rng.standard_normal((3, 4)) / 3
    watch, limit = ScoreWatch([rows], 5, 0.1), rows.scores(end, np.zeros(3))[0]
    for k in range(200):
        missing = 0.5 * rate ** (2 * k)
        solution = SimpleNamespace(suboptimality=missing, objective=1.0 + missing)
        point = end + rate**k * way, np.zeros(3)
        if watch.look(0, solution, 100.0, *point):
            break
    off = abs(rows.scores(*point)[0] - limit)
    assert off <= watch.errors[0] <= 0.1 * watch.standard_error(0)
    assert off >= 1e-3 * watch.errors[0]
