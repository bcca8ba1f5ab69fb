"""Metrics of every kind know no more of the data than the objective does: no units, no origin, no order of rows."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

import softmax_clf.metrics.grams
from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.metrics.curvature import Curvature
from softmax_clf.metrics.factors import LowRankFactor
from softmax_clf.metrics.kinds import NO_CLAIM, DiagonalMetric, ExactMetric, HeadMetric
from softmax_clf.metrics.plan import BLOCKS, EXACT, HEAD, KRONECKER, MetricPlan
from softmax_clf.metrics.quadratic import QuadraticCurvature
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.row_space import RowSpaceCurvature, RowSpaceMetric, RowSpaceObjective
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource

K = 3
N_WIDE, N_HEAD = 5000, 5  # of sparse data: all features, and those that all rows have
KINDS = {
    "exact": (EXACT, 0.0),
    "blocks": (BLOCKS, 0.0),
    "kronecker": (KRONECKER, 0.0),
    "low rank": (KRONECKER, 0.0),
    "head": (HEAD, 0.0),
    "row space": (HEAD, 0.0),
    "quadratic exact": (EXACT, 0.1),
    "quadratic blocks": (BLOCKS, 0.1),
    "quadratic kronecker": (KRONECKER, 0.1),
    "quadratic partial": (KRONECKER, 0.1),
}
SPARSE = ("head", "row space")
each_kind = pytest.mark.parametrize("kind", KINDS)


def data(kind, seed=0):
    """Rows, labels, weights and a point. Of sparse data the head comes first; it is what may be moved."""
    rng = np.random.default_rng(seed)
    n, p = 300 if kind in SPARSE else 90, {"low rank": 120, "quadratic partial": 2510}.get(kind, 6)
    X, y = rng.standard_normal((n, p)), rng.integers(K, size=n)
    if kind in SPARSE:
        X = np.hstack([X[:, :N_HEAD], np.zeros((n, N_WIDE - N_HEAD))])
        X[np.arange(n), N_HEAD + np.arange(n)] = 1.0
    point = rng.standard_normal((K, X.shape[1] + 1)) / np.sqrt(p)
    if kind in (*SPARSE, "quadratic partial"):
        point[:, N_HEAD:-1] = 0.0
    return X, y, rng.random(n) + 0.5, point - point.mean(axis=0)


def metric_of(kind, X, y, weight, point, l2_reg_strength=1e-3):
    """The metric of all the rows, and the objective."""
    plan, l1_reg_strength = KINDS[kind]
    source = CsrSource(sp.csr_array(X)) if kind in SPARSE else ArraySource(X)
    common = {
        "sample_weight": weight,
        "l2_reg_strength": l2_reg_strength,
        "fit_intercept": True,
        "n_threads": 1,
    }
    if kind == "row space":
        objective = RowSpaceObjective(source, y, K, **common)
        curvature, point = RowSpaceCurvature(objective), objective.start_point(point)
        curvature.of_head.plan = MetricPlan(KRONECKER, len(y), 1.0)
        curvature.of_head._plan = lambda *_: curvature.of_head.plan
        return curvature.metric(point).matrix, objective
    objective = SoftmaxObjective(source, y, K, l1_reg_strength=l1_reg_strength, **common)
    curvature = (QuadraticCurvature if l1_reg_strength else Curvature).from_objective(objective)
    curvature.plan = MetricPlan(plan, len(y), 1.0)
    curvature._plan = lambda *_: curvature.plan
    if not l1_reg_strength:
        return curvature.metric(point).matrix, objective
    grad = np.zeros_like(point)
    grad[:, :40] = np.arange(40, 0, -1)[: point.shape[1]]  # so that the same features matter
    return curvature.metric(point, grad).matrix, objective


def forms(metric, objective, steps, grads):
    """Squares in the metric, or in its inverse, of steps and gradients (n, K, n_columns)."""
    if isinstance(objective, RowSpaceObjective):
        size = objective.source.n_samples
        head = np.dstack([grads[:, :, :N_HEAD], grads[:, :, -1:]])
        flat = [np.append(g.ravel(), np.zeros(2 * size * K)) for g in head]
        return np.array([np.vdot(g, metric.solve(g)) for g in flat])
    if hasattr(metric, "blocks"):
        inner = [metric.of_step(step) for step in steps]
        return np.array([np.vdot(step, metric.hessp(step)) for step in inner])
    return np.array([np.vdot(grad, metric.solve(grad)) for grad in grads])


def vectors(kind, point):
    rng = np.random.default_rng(1)
    steps, grads = rng.standard_normal((2, 4, *point.shape))
    if kind == "quadratic partial":
        steps[..., 40:-1] = 0.0  # a metric of some features knows nothing of others
    return steps - steps.mean(axis=1, keepdims=True), grads - grads.mean(axis=1, keepdims=True)


def before(kind, **params):
    X, y, weight, point = data(kind)
    steps, grads = vectors(kind, point)
    return X, y, weight, point, steps, grads, forms(*metric_of(kind, X, y, weight, point, **params), steps, grads)


def test_each_kind_is_made():
    """Or tests of it would be of another."""
    made = {kind: metric_of(kind, *data(kind))[0] for kind in KINDS}
    names = {kind: type(metric).__name__ for kind, metric in made.items()}
    assert names == {
        "exact": "ExactMetric",
        "blocks": "BlocksMetric",
        "kronecker": "KroneckerMetric",
        "low rank": "KroneckerMetric",
        "head": "HeadMetric",
        "row space": "RowSpaceMetric",
        **{kind: "QuadraticMetric" for kind in KINDS if kind.startswith("quadratic")},
    }
    assert isinstance(made["low rank"].factor, LowRankFactor)
    assert isinstance(made["head"], HeadMetric)
    assert isinstance(made["head"].diagonal, DiagonalMetric)
    assert isinstance(made["row space"], RowSpaceMetric)
    assert len(made["quadratic partial"].columns) == 250


@each_kind
@pytest.mark.parametrize("ratio", [1e4, 1e8, 1e10])
def test_shift(kind, ratio):
    """In the same direction for the scores, which columns of such means as these take part in."""
    X, y, weight, point, steps, grads, expected = before(kind)
    mean = ratio * np.random.default_rng(2).choice([-1.0, 1.0], X.shape[1])
    if kind in SPARSE:
        mean[N_HEAD:] = 0.0
    moved = X + mean
    mean = (weight @ (moved - X)) / weight.sum()  # what rounding has made of it
    point, steps = point.copy(), steps.copy()
    point[:, -1] -= point[:, :-1] @ mean
    steps[..., -1] -= steps[..., :-1] @ mean
    grads = grads.copy()
    grads[..., :-1] += grads[..., -1:] * mean
    found = forms(*metric_of(kind, moved, y, weight, point), steps, grads)
    # gradients and scores themselves have so many digits less
    np.testing.assert_allclose(found, expected, rtol=1e-14 * ratio * (300 if X.shape[1] > 100 else 30))


@each_kind
def test_scale(kind):
    """Of each feature apart; where a metric has one number for several features, of all of them."""
    X, y, weight, point, steps, grads, expected = before(kind, l2_reg_strength=0.0)
    scale = 2.0 ** np.random.default_rng(2).integers(-20, 20, X.shape[1])
    if kind in ("low rank", "quadratic partial") or kind in SPARSE:
        scale[:] = 2.0**15
    point, steps, grads = (a.copy() for a in (point, steps, grads))
    point[:, :-1] /= scale
    steps[..., :-1] /= scale
    grads[..., :-1] *= scale
    found = forms(*metric_of(kind, X * scale, y, weight, point, 0.0), steps, grads)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@each_kind
def test_order_of_rows(kind):
    X, y, weight, point, steps, grads, expected = before(kind)
    order = np.random.default_rng(2).permutation(len(X))
    found = forms(*metric_of(kind, X[order], y[order], weight[order], point), steps, grads)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@each_kind
def test_rows_twice(kind):
    X, y, weight, point, steps, grads, expected = before(kind)
    twice = np.repeat(np.arange(len(X)), 2)
    found = forms(*metric_of(kind, X[twice], y[twice], weight[twice], point), steps, grads)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@each_kind
@pytest.mark.parametrize("value", [1.0, 1e9])
def test_rows_without_weight(kind, value):
    X, y, weight, point, steps, grads, expected = before(kind)
    none = value * np.abs(X[:40])
    none[:, -2:] = 0.0 if kind in SPARSE else value
    X, y, weight = np.vstack([none, X]), np.append(np.zeros(40, int), y), np.append(np.zeros(40), weight)
    found = forms(*metric_of(kind, X, y, weight, point), steps, grads)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SPARSE])
def test_a_far_row_that_is_sure_of_its_class(kind):
    """It has no curvature: the mean of all rows, that far from all others, is no place to centre at."""
    X, y, weight, point, steps, grads, expected = before(kind, l2_reg_strength=0.0)
    X, y = np.vstack([X[:1] * 1e9, X]), np.append(0, y)
    total, weight = weight.sum(), np.append(1.0, weight)
    found = forms(*metric_of(kind, X, y, weight, point, 0.0), steps, grads)
    share = total / (total + 1)
    np.testing.assert_allclose(found, expected * (share if "quadratic" in kind else 1 / share), rtol=1e-6)


@each_kind
def test_names_of_classes(kind):
    X, y, weight, point, steps, grads, expected = before(kind)
    order = np.array([2, 0, 1])
    found = forms(*metric_of(kind, X, np.argsort(order)[y], weight, point[order]), steps[:, order], grads[:, order])
    np.testing.assert_allclose(found, expected, rtol=1e-7)


# ---------------------------------------------------------------------------------------------------------------------
# Fits


def fitted(X, y, **params):
    """A fit, which may say that it has not converged; whether it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return SoftmaxRegressionClassifier(**params).fit(X, y)


def a_column(n=300):
    rng = np.random.default_rng(0)
    t = rng.standard_normal(n)
    return t, t + 0.3 * rng.standard_normal(n) > 0


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("ratio", [1e4, 1e8, 1e11])
def test_a_column_far_from_zero(ratio, standardize):
    t, y = a_column()
    X = (ratio + t)[:, None]
    expected = fitted(X - ratio, y, C=np.inf, tol=1e-10)
    clf = fitted(X, y, C=np.inf, standardize=standardize)
    assert clf.converged_
    assert clf.n_iter_ <= 12
    assert clf.objective_ == pytest.approx(expected.objective_, abs=1e-16 * ratio + 1e-6)
    assert clf.coef_[0, 0] == pytest.approx(expected.coef_[0, 0], rel=1e-2)


def test_a_column_of_one_value_and_noise_in_its_last_digits():
    t, y = a_column()
    X = (1 + 1e-9 * t)[:, None]
    clf = fitted(X, y, C=np.inf)
    assert clf.converged_
    assert clf.objective_ == pytest.approx(fitted((X - 1) * 1e9, y, C=np.inf).objective_, abs=1e-6)


@pytest.mark.parametrize(("ratio", "standardize"), [(1e13, 0), (1e14, 0), (1e15, 0), (1e16, 0), (1e13, 1), (1e14, 1)])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_data_without_digits_are_not_said_to_be_solved(ratio, standardize, n_classes):
    t, y = a_column()
    y = y.astype(int) + (t > 1) if n_classes == 3 else y
    X = (ratio + t)[:, None]
    clf = fitted(X, y, C=np.inf, standardize=bool(standardize))
    best = fitted(X - ratio, y, C=np.inf, tol=1e-10).objective_
    assert not clf.converged_ or clf.suboptimality_ >= clf.objective_ - best - 1e-7


def test_a_hessian_that_is_indefinite_vouches_for_nothing():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, 8))
    hess = rows.T @ rows
    assert ExactMetric(hess.copy()).slack < 10
    hess[0, 1:] = hess[1:, 0] = 0.5 * np.sqrt(hess[0, 0] * hess.diagonal()[1:])
    assert np.linalg.eigvalsh(hess)[0] < 0
    assert ExactMetric(hess).slack == NO_CLAIM


@pytest.mark.parametrize("kind", ["blocks", "kronecker", "head", "row space"])
def test_a_factor_that_had_to_be_raised_vouches_for_nothing(kind, monkeypatch):
    assert metric_of(kind, *data(kind))[0].slack < 50
    make = softmax_clf.metrics.grams.add_weighted_grams

    def spoilt(rows, row_weight, origin, grams_out, sums_out, n_threads):
        make(rows, row_weight, origin, grams_out, sums_out, n_threads)
        for gram in grams_out:
            gram[1:, 0] = 0.9 * np.sqrt(gram[0, 0] * gram.diagonal()[1:])

    monkeypatch.setattr(softmax_clf.metrics.grams, "add_weighted_grams", spoilt)
    assert metric_of(kind, *data(kind))[0].slack == NO_CLAIM


# ---------------------------------------------------------------------------------------------------------------------
# The sample


@pytest.mark.parametrize("period", [2, 7, 10, 64])
def test_a_sample_of_periodic_labels_has_all_classes(period):
    """With a constant step it had one."""
    n, n_rows = 19_200, 960
    y = np.arange(n) % period
    source = ArraySource(np.zeros((n, 1), np.float32))
    params = {"sample_weight": None, "l2_reg_strength": 1e-3, "fit_intercept": True, "n_threads": 1}
    curvature, again = (Curvature.from_objective(SoftmaxObjective(source, y, period, **params)) for _ in range(2))
    rows, row_weight = curvature.sample.draw(n_rows)
    assert row_weight.sum() == pytest.approx(1.0)
    share = np.bincount(y[rows], row_weight, period) * period
    assert np.abs(share - 1).max() <= 5 / np.sqrt(n_rows / period)
    assert np.array_equal(again.sample.draw(n_rows)[0], rows)
    # one row of each stratum
    assert (np.diff(rows) >= 0).all()
    assert n % period or (np.unique(rows // (n // n_rows), return_counts=True)[1] == 1).all()
