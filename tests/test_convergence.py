"""The fit reaches the minimum of the objective, to the tolerance asked for, on every kind of problem."""

import tracemalloc
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import problems
import reference
import softmax_clf.metrics.curvature
from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.metrics.curvature import Curvature
from softmax_clf.metrics.factors import LowRankFactor
from softmax_clf.metrics.kinds import BlocksMetric
from softmax_clf.metrics.plan import BLOCKS, EXACT, KRONECKER, MetricPlan, blocks_bytes, plan_metric
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.solvers.line_search import shortened
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.watch import Watch

GRID = [
    pytest.param(name, C, weighted, fit_intercept, id=f"{name}-C={C:g}{'-weighted' * weighted}{'-b' * fit_intercept}")
    for name in problems.NAMES
    for C in (1e-3, 1.0, 1e3)
    for weighted in (False, True)
    for fit_intercept in (False, True)
    # each of the four with each of the small problems, at one C or at two: they have nothing to do with each other
    if (weighted == fit_intercept) == (C != 1.0 or name in problems.LARGE)
]


def fit(name, C, weighted=False, fit_intercept=True, tol=1e-6, dtype=np.float64, scale=1.0):
    problem = problems.load(name)
    clf = SoftmaxRegressionClassifier(C=C, fit_intercept=fit_intercept, tol=tol)
    sample_weight = problem.sample_weight if weighted else None
    return clf.fit(scale * problem.X.astype(dtype), problem.y, sample_weight=sample_weight)


def relative_norm(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def assert_within_tol(clf, objective, best):
    """The gap is at most tol, and at most what the classifier says; its objective is the objective."""
    loss = objective.loss(clf.coef_, clf.intercept_)
    null_loss = objective.null_loss()
    assert clf.converged_
    assert loss - best <= clf.tol * null_loss
    assert 0 <= clf.suboptimality_ <= clf.tol * null_loss
    # float32 scores resolve F to about 1e-7.
    resolution = 1e-13 if clf.coef_.dtype == np.float64 else 2e-6
    unknown = 1e-12 if resolution == 1e-13 else 1e-7  # of the minimum, and of a gap in float32
    assert loss - best <= clf.suboptimality_ + unknown * null_loss
    assert clf.objective_ == pytest.approx(loss, rel=1e-12 if resolution == 1e-13 else 0, abs=resolution * null_loss)


@pytest.mark.parametrize(("name", "C", "weighted", "fit_intercept"), GRID)
@pytest.mark.parametrize("tol", [1e-4, 1e-6, 1e-10])
def test_gap_is_within_tol(name, C, weighted, fit_intercept, tol):
    clf = fit(name, C, weighted, fit_intercept, tol)
    best = problems.optimum(name, C, weighted, fit_intercept).loss
    assert_within_tol(clf, problems.objective(name, C, weighted, fit_intercept), best)


@pytest.mark.parametrize(("name", "C", "weighted", "fit_intercept"), GRID)
@pytest.mark.parametrize("tol", [1e-4, 1e-6])
def test_gap_is_within_tol_in_float32(name, C, weighted, fit_intercept, tol):
    clf = fit(name, C, weighted, fit_intercept, tol, dtype=np.float32)
    assert clf.coef_.dtype == np.float32
    best = problems.optimum(name, C, weighted, fit_intercept).loss
    assert_within_tol(clf, problems.objective(name, C, weighted, fit_intercept), best)


@pytest.mark.parametrize(("name", "C", "weighted", "fit_intercept"), GRID)
def test_coefficients_are_scikit_learns(name, C, weighted, fit_intercept):
    clf = fit(name, C, weighted, fit_intercept, tol=1e-10)
    peer = problems.sklearn_optimum(name, C, weighted, fit_intercept)
    assert clf.coef_.shape == peer.coef.shape
    assert relative_norm(clf.coef_, peer.coef) <= 1e-4


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", problems.NAMES)
def test_units_do_not_matter(name, C, fit_intercept):
    clf = fit(name, C, fit_intercept=fit_intercept)
    scaled = fit(name, C / 1e6, fit_intercept=fit_intercept, scale=1000.0)
    X = problems.load(name).X
    # Rounding differs: 1000 is no power of two. A hundred iterations make enough of it to end some earlier or later.
    assert abs(scaled.n_iter_ - clf.n_iter_) <= (1 if clf.n_iter_ < 50 else clf.n_iter_ // 5)
    np.testing.assert_array_equal(scaled.predict(1000.0 * X), clf.predict(X))
    null_loss = problems.objective(name, C, fit_intercept=fit_intercept).null_loss()
    assert scaled.objective_ == pytest.approx(clf.objective_, abs=clf.tol * null_loss)


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", problems.NAMES)
def test_units_that_are_a_power_of_two_change_no_bit(name, C):
    """Nothing is compared with a number that has a unit: without rounding, every step is the same."""
    clf = fit(name, C)
    scaled = fit(name, C / 2**20, scale=2.0**10)
    np.testing.assert_array_equal(2.0**10 * scaled.coef_, clf.coef_)
    np.testing.assert_array_equal(scaled.intercept_, clf.intercept_)
    assert list(scaled.loss_curve_) == list(clf.loss_curve_)


def test_metrics_take_a_quarter_of_what_is_stored():
    """Narrow and sparse data were taken for floats: a metric could outgrow them. And some shapes had no metric."""
    for n, p in ((20_000, 8_193), (50_000, 3_073), (26_400, 3_000), (200_000, 6_000)):
        for evenness in (1.0, 0.1, 1e-3):
            for stored in (1, 4):
                plan = plan_metric(n, p, 10, 4, n * p, stored * n * p, 10, None, evenness)
                n_bytes = 4 * p * (plan.n_rows if plan.n_rows < p else 2.5 * p)
                assert n_bytes <= max(stored * n * p / 4, 1e8)
    for n, p in ((3_000_000, 20), (100_000, 20), (10_000, 20)):  # after many passes the exact one seems worth its cost
        kinds = {plan_metric(n, p, 1, 4, n * p, 4 * n * p, n_passes, n_problems=5).kind for n_passes in (0, 200)}
        assert (EXACT in kinds) == (n < 3_000_000)


@pytest.mark.parametrize(("p", "K"), [(200, 12), (600, 6), (1100, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_take_what_is_counted(dtype, p, K, monkeypatch):
    """Matrices of float64 were counted as X's float32, and kept beside their factors."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1500, p)).astype(dtype), rng.integers(K, size=1500)
    monkeypatch.setattr(
        softmax_clf.metrics.curvature, "plan_metric", lambda *args, **kwargs: MetricPlan(BLOCKS, 1500, 1.0)
    )
    monkeypatch.setattr(softmax_clf.metrics.sample, "PANEL_BYTES", 1 << 16)
    params = {"sample_weight": None, "l2_reg_strength": 1e-2, "fit_intercept": True, "n_threads": 1}
    curvature = Curvature.from_objective(SoftmaxObjective(ArraySource(X), y, K, **params))
    curvature.metric(np.zeros((K, p + 1)))  # kernels are compiled
    tracemalloc.start()
    metric = curvature.metric(np.zeros((K, p + 1)))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(metric.matrix, BlocksMetric)
    n_bytes = blocks_bytes(p, K, X.itemsize)
    small = 3 * 256 * p * 8 + 1_000_000  # panels of rows, bands, and workspaces of the factors' products
    assert n_bytes * 0.85 <= peak <= n_bytes + small
    assert kept <= (K + 0.5) * p**2 * (X.itemsize if p > 256 else 8) + small


def test_blocks_are_taken_where_they_fit():
    """By their peak: 100 MB, or a quarter of X. The cost of a fit says the rest."""
    kinds = {}
    for dtype, p in ((4, 500), (4, 785), (4, 1024), (4, 1500), (4, 1600), (8, 785), (8, 1200)):
        plan = plan_metric(400_000, p, 10, dtype, 400_000 * p, 10_000_000, 100)
        kinds[dtype, p] = plan.kind
    assert kinds == {
        (4, 500): BLOCKS,
        (4, 785): BLOCKS,
        (4, 1024): BLOCKS,
        (4, 1500): BLOCKS,
        (4, 1600): KRONECKER,
        (8, 785): BLOCKS,
        (8, 1200): KRONECKER,
    }


def test_a_low_rank_metric_is_one_copy_of_its_rows():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 30_000), np.float32), rng.integers(3, size=300)
    params = {"sample_weight": None, "l2_reg_strength": 1e-2, "fit_intercept": True, "n_threads": 1}
    curvature = Curvature.from_objective(SoftmaxObjective(ArraySource(X), y, 3, **params))
    tracemalloc.start()
    metric = curvature.metric(np.zeros((3, 30_001)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(metric.matrix.factor, LowRankFactor)
    assert peak <= 1.6 * X.nbytes


@pytest.mark.parametrize("shape", [(600, 30), (300, 1500)], ids=["Gram matrix", "low rank"])
@pytest.mark.parametrize("exponent", [-45, -70, -95])
def test_float32_features_whose_squares_underflow(shape, exponent):
    """They were taken to be at their minimum at zero, or took several times the iterations."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape).astype(np.float32)
    y = (X[:, :4] + rng.standard_normal((len(X), 4))).argmax(axis=1)
    clf = SoftmaxRegressionClassifier(C=1e-2).fit(X, y)
    scaled = SoftmaxRegressionClassifier(C=1e-2 * 4.0**-exponent).fit(X * np.float32(2.0**exponent), y)
    assert scaled.n_iter_ == clf.n_iter_
    assert relative_norm(2.0**exponent * scaled.coef_, clf.coef_) <= 1e-5
    assert scaled.objective_ == pytest.approx(clf.objective_, rel=1e-6)


@pytest.mark.parametrize(
    ("slope", "new_objective", "new_slope"),
    [(-5e-324, 2.0, 1.0), (-1e-200, 2.0, 1.0), (-1e-300, 1e300, 1.0), (-1e-300, 1.0, -1e300), (-1.0, np.inf, np.nan)],
)
def test_a_step_is_shortened_whatever_the_numbers_are(slope, new_objective, new_slope):
    """A slope underflowed to zero, and was divided by; a square overflowed."""
    assert 0.1 * 0.3 <= shortened(0.3, 1.0, slope, new_objective, new_slope) <= 0.5 * 0.3


def test_coefficients_that_float32_cannot_hold():
    """Without a penalty to speak of, of features near the least that there are: a fit is of those that it can hold."""
    rng = np.random.default_rng(0)
    X, y = (1e-38 * rng.standard_normal((12, 4))).astype(np.float32), rng.integers(3, size=12)
    clf = SoftmaxRegressionClassifier(1e300, standardize=True, fit_intercept=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf.fit(X, y)
    assert np.isfinite(clf.coef_).all()
    assert clf.objective_ < np.log(3)


@pytest.mark.parametrize(("size", "l1_ratio"), [(1e-40, 0.0), (1e-40, 0.5)])
def test_coefficients_beyond_float32_are_refused(size, l1_ratio):
    """They were infinite, or the message said that squares overflow, and to scale X down."""
    X, y = size * np.random.default_rng(0).standard_normal((40, 3)), np.arange(40) % 3
    X[y == 0] += 2 * size
    clf = SoftmaxRegressionClassifier(1e3, standardize=True, l1_ratio=l1_ratio)
    with pytest.raises(ValueError, match="float32 can hold.*Remedy: scale X up, or pass it as float64"):
        clf.fit(X.astype(np.float32), y)
    assert np.isfinite(clf.fit(X, y).coef_).all()


def test_a_point_beyond_float32_is_refused():
    objective = SimpleNamespace(source=SimpleNamespace(dtype=np.dtype("float32")), split=lambda point: (point, point))
    with pytest.raises(ValueError, match="float32 can hold.*Remedy: scale X up, or pass it as float64"):
        Watch.coefficients(SimpleNamespace(objective=objective), np.array([1e39]))


def test_features_that_are_constant_and_large():
    """The square of a mean overflowed, by which it is told that rounding is all that they vary."""
    X = np.column_stack([np.full(30, 2.0**850), np.random.default_rng(0).standard_normal(30)])
    clf = SoftmaxRegressionClassifier(standardize=True).fit(X, np.arange(30) % 2)
    alone = SoftmaxRegressionClassifier(standardize=True).fit(X[:, 1:], np.arange(30) % 2)
    assert clf.coef_[0, 0] == 0
    assert np.allclose(clf.coef_[0, 1], alone.coef_[0, 0], rtol=1e-6)


def test_weights_of_any_scale():
    """F divides by the total weight and by C: weights and 1 / C may be multiplied by the same number."""
    problem = problems.load("wine")
    clf = SoftmaxRegressionClassifier(C=1.0).fit(problem.X, problem.y, problem.sample_weight)
    scaled = SoftmaxRegressionClassifier(C=1e-6).fit(problem.X, problem.y, 1e6 * problem.sample_weight)
    assert np.array_equal(scaled.n_iter_, clf.n_iter_)
    assert relative_norm(scaled.coef_, clf.coef_) <= 1e-6


@pytest.mark.parametrize("tol", [1e-4, 1e-6, 1e-10])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("name", ["badly_scaled", "many_classes"])
def test_no_penalty(name, fit_intercept, tol):
    clf = fit(name, np.inf, fit_intercept=fit_intercept, tol=tol)
    objective = problems.objective(name, np.inf, fit_intercept=fit_intercept)
    assert_within_tol(clf, objective, problems.reference_optimum(name, np.inf, fit_intercept=fit_intercept).loss)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("C", [1e10, np.inf])
@pytest.mark.parametrize("name", ["separable", "iris", "wide"])
def test_separable(name, C, fit_intercept, dtype):
    """Where the coefficients would grow for ever, the fit ends, is finite, and says so if it is not done."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = fit(name, C, fit_intercept=fit_intercept, dtype=dtype)
    assert {warning.category for warning in caught} == (set() if clf.converged_ else {ConvergenceWarning})
    assert np.isfinite(clf.coef_).all()
    assert np.isfinite(clf.intercept_).all()
    assert np.isfinite(clf.objective_)
    assert np.isfinite(clf.suboptimality_)
    problem = problems.load(name)
    assert np.isfinite(clf.predict_proba(problem.X.astype(dtype))).all()
    assert clf.score(problem.X.astype(dtype), problem.y) >= (0.95 if name == "iris" else 1.0)


def test_separable_float32_without_penalty_or_tolerance_claims_no_optimum():
    """Once probabilities are as small as float32 can hold, the metric is noise: no reason to fail, or to be done."""
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifier(C=np.inf, tol=0.0)
    with pytest.warns(ConvergenceWarning, match="stopped before tol=0 was reached"):
        clf.fit(problem.X.astype(np.float32), problem.y)
    assert not clf.converged_
    # the infimum is zero, which float32 can hold of the objective, but which no point has
    assert 0 <= clf.objective_ < clf.suboptimality_
    assert clf.score(problem.X.astype(np.float32), problem.y) == 1.0


def test_separable_without_penalty_reaches_its_infimum():
    """The infimum is zero, so the objective is the gap."""
    clf = fit("separable", np.inf)
    assert clf.converged_
    assert clf.objective_ <= clf.tol * np.log(3)


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_too_many_features_to_factor(fit_intercept, C):
    """The minimum depends on X X' only, so any square root of it gives the reference a problem of its size."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6000)) / (1 + np.arange(6000))
    y = np.argmax(X[:, :3] + rng.gumbel(size=(60, 3)), axis=1)
    small = np.linalg.qr(X.T, mode="r").T
    objective = reference.Objective(small, reference.one_hot(y), C, fit_intercept=fit_intercept)
    *_, best = reference.minimise(objective)
    clf = SoftmaxRegressionClassifier(C=C, fit_intercept=fit_intercept).fit(X, y)
    objective = reference.Objective(X, reference.one_hot(y), C, fit_intercept=fit_intercept)
    assert_within_tol(clf, objective, best)


def _constant_columns(X):
    return np.hstack([X, np.ones((len(X), 2)), np.zeros((len(X), 2))])


def _duplicate_columns(X):
    return np.hstack([X, X, X])


def _far_from_the_origin(X):
    return X + 1e4


@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("degrade", [_constant_columns, _duplicate_columns, _far_from_the_origin])
def test_degenerate_columns(degrade, fit_intercept, C):
    """Singular and nearly singular X'X, and columns that the intercept explains."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    y = np.argmax(X + rng.gumbel(size=X.shape), axis=1)
    X = degrade(X)
    objective = reference.Objective(X, reference.one_hot(y), C, fit_intercept=fit_intercept)
    *_, best = reference.minimise(objective)
    clf = SoftmaxRegressionClassifier(C=C, fit_intercept=fit_intercept).fit(X, y)
    assert_within_tol(clf, objective, best)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize(
    ("X", "y"),
    [
        pytest.param([[0.0], [1.0]], [0, 1], id="two-rows"),
        pytest.param(np.zeros((6, 2)), [0, 0, 0, 1, 1, 2], id="all-zero"),
        pytest.param(np.eye(40), np.arange(40) // 2, id="a-class-for-two-rows"),
        pytest.param([[1.0], [1.0], [2.0], [2.0], [3.0]], [0, 1, 1, 0, 2], id="contradictory"),
    ],
)
def test_tiny(X, y, fit_intercept):
    X = np.asarray(X)
    objective = reference.Objective(X, reference.one_hot(y), fit_intercept=fit_intercept)
    *_, best = reference.minimise(objective)
    clf = SoftmaxRegressionClassifier(fit_intercept=fit_intercept).fit(X, y)
    assert_within_tol(clf, objective, best)


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "badly_scaled"])
def test_loss_curve(name):
    """One value for each iteration, never rising, from the start to `objective_`."""
    clf = fit(name, 1.0, tol=1e-8)
    curve = np.asarray(clf.loss_curve_)
    assert len(curve) in (np.max(clf.n_iter_), np.max(clf.n_iter_) + 1)
    assert (np.diff(curve) <= 1e-13 * curve[0]).all()
    assert curve[0] <= np.log(len(clf.classes_)) * (1 + 1e-12)
    assert curve[-1] == pytest.approx(clf.objective_, rel=1e-14)


def test_a_smaller_tol_gets_closer():
    gaps = []
    for tol in (1e-2, 1e-5, 1e-8):
        clf = fit("badly_scaled", 1.0, tol=tol)
        gaps.append(clf.objective_ - problems.optimum("badly_scaled", 1.0).loss)
        assert clf.suboptimality_ >= gaps[-1]
    assert gaps[0] > gaps[1] > gaps[2]


def test_a_start_near_the_minimum_needs_one_metric(monkeypatch):
    """The rows curve the objective there as they do at the end, so that a new metric would be no better."""
    made, make = [], Curvature.metric
    monkeypatch.setattr(Curvature, "metric", lambda self, point, **kw: made.append(point) or make(self, point, **kw))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30000, 160)) / np.arange(1, 161)
    y = (3 * X @ rng.standard_normal((160, 10)) + rng.gumbel(size=(30000, 10))).argmax(axis=1)
    cold = SoftmaxRegressionClassifier(10.0).fit(X, y)
    assert len(made) > 1
    made.clear()
    warm = SoftmaxRegressionClassifier(10.0)
    warm.fit(X, y, coef_init=0.97 * cold.coef_, intercept_init=cold.intercept_)
    assert warm.n_iter_ > 5
    assert len(made) == 1


def test_the_first_step_leads_no_further_than_its_promise():
    """Features that are nearly alike make a diagonal promise many times as much as the objective can fall by."""
    rng = np.random.default_rng(0)
    few = rng.normal(size=(300, 6))
    y = (few @ rng.normal(size=(6, 3))).argmax(axis=1)
    X = np.repeat(few, 60, axis=1) + 0.3 * rng.normal(size=(300, 360))
    clf = SoftmaxRegressionClassifier(C=1e4).fit((X - X.mean(axis=0)) / X.std(axis=0), y)
    assert clf.loss_curve_[1] < clf.loss_curve_[0] / 3
