"""Coefficients within bounds: the optimum by the conditions of Karush, Kuhn and Tucker, and by SciPy's L-BFGS-B."""

import itertools

import numpy as np
import pytest
import scipy.optimize
from scipy.sparse import csr_array
from sklearn.model_selection import PredefinedSplit
from test_penalty import CONTAINERS, SHAPES, compared_to_fits, data, fit

import reference
from softmax_clf import C_max, SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path


def residual(objective, coef, intercept, low, high):
    """How far each coefficient is from its condition, (n_outputs, n_columns)."""
    grad, unknowns = objective.grad(coef, intercept), objective.pack(coef, intercept)
    strength = objective.l1_reg_strength * objective.penalised
    low, high = (
        objective.pack(np.broadcast_to(a, coef.shape), np.full(len(coef), b))
        for a, b in ((low, -np.inf), (high, np.inf))
    )
    up = -(grad + np.where(unknowns >= 0, strength, -strength))
    down = grad - np.where(unknowns <= 0, strength, -strength)
    return np.maximum(np.where(unknowns < high, up, 0.0), np.where(unknowns > low, down, 0.0)).max(initial=0.0)


BOUNDS = [(0.0, None), (-0.1, 0.2), (0.05, 0.3), (None, np.linspace(0.0, 0.3, 150))]
CASES = [
    (container, shape, n_classes, l1_ratio, BOUNDS[q % 4])
    for q, (shape, n_classes, l1_ratio) in enumerate(itertools.product(SHAPES, [2, 4], [0.0, 0.5, 1.0]))
    for container in (sorted(CONTAINERS)[q % 4], "CSR")[: 1 + (shape == SHAPES[2])]
]


@pytest.mark.parametrize(("container", "shape", "n_classes", "l1_ratio", "bounds"), CASES)
def test_conditions_of_the_optimum(container, shape, n_classes, l1_ratio, bounds):
    X, y = data(*shape, n_classes)
    bounds = tuple(side[: shape[1]] if np.ndim(side) else side for side in bounds)
    low, high = (d if side is None else side for side, d in zip(bounds, (-np.inf, np.inf), strict=True))
    for C, dtype in ((0.1, np.float64), (10.0, np.float64), (3.0, np.float32)):
        tol = 1e-13 if dtype == np.float64 else 1e-7
        rows = CONTAINERS[container](X.astype(dtype))
        clf = fit(rows, y, C, l1_ratio=l1_ratio, coef_bounds=bounds, tol=tol)
        assert (clf.coef_ >= np.asarray(low, dtype)).all()
        assert (clf.coef_ <= np.asarray(high, dtype)).all()
        objective = reference.Objective(X, reference.one_hot(y), C, l1_ratio=l1_ratio)
        sides = (np.asarray(side, dtype) for side in (low, high))
        assert residual(objective, clf.coef_, clf.intercept_, *sides) <= (1e-6 if dtype == np.float64 else 1e-3)
        assert clf.objective_ == pytest.approx(objective.loss(clf.coef_, clf.intercept_), abs=1e-6)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_beyond_all_numbers(dtype, standardize):
    """Of float32, or in the units of standardised features."""
    X, y = data(60, 5, 3)
    X = (1e10 * X).astype(dtype) if standardize else X.astype(dtype)
    for l1_ratio in (0.0, 0.5):
        params = {"l1_ratio": l1_ratio, "standardize": standardize, "tol": 1e-9}
        free, clf = fit(X, y, **params), fit(X, y, coef_bounds=(-1e300, 1e300), **params)
        np.testing.assert_allclose(clf.coef_, free.coef_, atol=1e-3 * np.abs(free.coef_).max())


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [1.0, np.inf])
def test_against_scipy(n_classes, C):
    """With bounds of each coefficient, some of which bind and some do not."""
    X, y = data(120, 5, n_classes)
    objective = reference.Objective(X, reference.one_hot(y), C)
    shape = objective.n_vectors, 5
    rng = np.random.default_rng(0)
    low, high = -rng.uniform(0, 0.4, shape), rng.uniform(0, 0.4, shape)
    clf = fit(X, y, C, coef_bounds=(low, high), tol=1e-13)
    start = np.zeros((shape[0], 6))
    sides = [objective.pack(low, np.full(shape[0], -np.inf)), objective.pack(high, np.full(shape[0], np.inf))]
    found = scipy.optimize.minimize(
        lambda v: objective.loss(*objective.unpack(v.reshape(start.shape))),
        start.ravel(),
        jac=lambda v: objective.grad(*objective.unpack(v.reshape(start.shape))).ravel(),
        bounds=scipy.optimize.Bounds(*(side.ravel() for side in sides)),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000},
    )
    coef, intercept = objective.unpack(found.x.reshape(start.shape))
    assert clf.objective_ <= found.fun + 1e-10
    np.testing.assert_allclose(clf.predict_proba(X), objective.proba(coef, intercept), atol=1e-5)
    n_bound = np.count_nonzero((clf.coef_ == low) | (clf.coef_ == high))
    assert 0 < n_bound < clf.coef_.size


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_bounds_are_the_same_bits(shape, l1_ratio):
    X, y = data(*shape)
    free = fit(X, y, l1_ratio=l1_ratio)
    for bounds in ((None, None), (-np.inf, np.full((3, shape[1]), np.inf))):
        clf = fit(X, y, l1_ratio=l1_ratio, coef_bounds=bounds)
        np.testing.assert_array_equal(clf.coef_, free.coef_)
        np.testing.assert_array_equal(clf.intercept_, free.intercept_)


def test_bounds_that_do_not_bind():
    for shape, l1_ratio in itertools.product(SHAPES, (0.0, 1.0)):
        X, y = data(*shape)
        free = fit(X, y, l1_ratio=l1_ratio, tol=1e-13)
        clf = fit(X, y, l1_ratio=l1_ratio, coef_bounds=(-100, 100), tol=1e-13)
        np.testing.assert_allclose(clf.coef_, free.coef_, atol=1e-5)


def test_the_gap_holds():
    X, y = data(60, 150)
    for l1_ratio, bounds in itertools.product((0.0, 0.5, 1.0), ((0, None), (-0.05, 0.1))):
        fits = [fit(X, y, 3.0, l1_ratio=l1_ratio, coef_bounds=bounds, tol=tol) for tol in (1e-1, 1e-2, 1e-4, 1e-10)]
        for clf in fits:
            assert clf.suboptimality_is_bound_
            assert clf.objective_ - fits[-1].objective_ <= clf.suboptimality_ + 1e-12


def test_with_factors_standardisation_and_a_warm_start():
    X, y = data(150, 8)
    scale = np.logspace(-2, 2, 8)
    factor = np.array([0.0, 1.0, 2.0, 0.5, np.inf, 1.0, 1.0, 1.0])
    common = {"penalty_factor": factor, "l1_ratio": 0.3, "tol": 1e-13}
    clf = SoftmaxRegressionClassifier(standardize=True, coef_bounds=(-0.1 / scale, 0.2 / scale), **common)
    clf.fit(X * scale, y)
    spread = X.std(axis=0)
    by_hand = fit((X - X.mean(axis=0)) / spread, y, coef_bounds=(-0.1 * spread, 0.2 * spread), **common)
    np.testing.assert_allclose(clf.coef_ * scale * spread, by_hand.coef_, atol=1e-5)
    before = clf.coef_.copy()
    clf.set_params(warm_start=True).fit(X * scale, y)
    assert clf.n_iter_ <= 1
    np.testing.assert_allclose(clf.coef_, before, rtol=1e-3, atol=1e-6)
    outside = SoftmaxRegressionClassifier(coef_bounds=(0, 0.1)).fit(X, y, coef_init=np.full((3, 8), -7.0))
    np.testing.assert_allclose(outside.coef_, fit(X, y, coef_bounds=(0, 0.1)).coef_, atol=1e-3)


@pytest.mark.parametrize(("shape", "l1_ratio"), [((150, 8), 0.0), ((150, 8), 0.5), ((60, 150), 1.0), ((60, 150), 0.0)])
def test_paths_and_folds_are_their_fits(shape, l1_ratio):
    X, y = data(*shape)
    common = {"coef_bounds": (0, 0.1), "tol": 1e-12, "standardize": True}
    cv = compared_to_fits(X, y, np.arange(len(y)) % 2, 2e-4, l1_ratio, **common)
    assert 0 <= cv.coef_.min() <= cv.coef_.max() <= 0.1


def test_a_fold_without_a_class():
    X, y = data(90, 6)
    fold = np.where(y == 2, 0, np.arange(90) % 2)
    for bounds in ((0, None), (0.01, 0.2)):
        cv = SoftmaxRegressionClassifierCV([0.1, 1.0], cv=PredefinedSplit(fold), coef_bounds=bounds).fit(X, y)
        assert np.isneginf(cv.coefs_paths_[0, 0, :, 2, -1]).all()


@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_where_the_coefficients_leave_zero(make):
    X, y = data(150, 8)
    factor = np.where(np.arange(8) == 3, 0.0, 1.0)
    for bounds, factors in itertools.product(((0, None), (None, 0)), (None, factor)):
        common = {"coef_bounds": bounds, "penalty_factor": factors}
        C = C_max(make(X), y, **common)
        for share, found in ((0.999, False), (1.01, True)):
            clf = fit(make(X), y, share * C, l1_ratio=1.0, tol=1e-13, **common)
            assert clf.coef_[:, factor > 0].any() == found
    with pytest.raises(ValueError, match="zero between them"):
        C_max(X, y, coef_bounds=(0.1, 1.0))
    assert len(softmax_regression_path(X, y, Cs=3, l1_ratio=1.0, coef_bounds=(0.1, 1.0)).Cs) == 3


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((1, 0), "at most the upper"),
        ((np.nan, 0), "at most the upper"),
        ((np.inf, np.inf), "at most the upper"),
        ((np.zeros(3), None), "lower coef_bounds to be a number, or of shape"),
        ((0,), "a pair"),
    ],
)
def test_bounds_that_are_none(bounds, message):
    X, y = data(30, 8)
    with pytest.raises(ValueError, match=message):
        SoftmaxRegressionClassifier(coef_bounds=bounds).fit(X, y)


def test_what_knows_no_bounds_says_so():
    X, y = data(30, 8)
    with pytest.raises(AttributeError) as raised:
        SoftmaxRegressionClassifier(coef_bounds=(0, None)).partial_fit(X, y)
    assert "coef_bounds=None for partial_fit" in str(raised.value.__cause__)
    with pytest.raises(ValueError, match="coef_bounds=None with cv='loo'"):
        SoftmaxRegressionClassifierCV(cv="loo", coef_bounds=(0, None)).fit(X, y)
