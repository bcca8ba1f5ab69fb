"""Rows of every dtype and memory order, targets, offsets and standardised features, against the oracle."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from ways import ways

import problems
import reference
from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.kernels import convert
from softmax_clf.kernels.jit import jit
from softmax_clf.metrics import curvature
from softmax_clf.metrics.plan import BLOCKS, EXACT, HEAD, KRONECKER, MetricPlan
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.sources.arrays import DTYPES, ArraySource
from softmax_clf.sources.sparse import CsrSource

IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
DIGITS, DIGIT = load_digits(return_X_y=True)

ORDERS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "every-other-row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "rows-of-F": lambda X: np.asfortranarray(np.concatenate([X, X[:3]]))[: len(X)],
    "columns-of-C": lambda X: np.concatenate([X[:, :1], X, X[:, :1]], axis=1)[:, 1:-1],
    "every-other-column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": lambda X: np.ascontiguousarray(X[::-1])[::-1],
}


def values(rng, shape, dtype):
    """Random values that make use of the dtype."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 3, shape)).astype(dtype)
    bounds = np.iinfo(dtype)
    return rng.integers(bounds.min, bounds.max, shape, endpoint=True).astype(dtype)


def read_only(X):
    X = X.view()
    X.flags.writeable = False
    return X


def tight(**params):
    return SoftmaxRegressionClassifier(tol=1e-13, **params)


# --- conversion -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_are_converted_exactly(dtype, order):
    X = ORDERS[order](values(np.random.default_rng(0), (53, 37), dtype))
    array, locate = convert.readable(X)
    rows = np.full((40, 37), np.nan, dtype if np.dtype(dtype).itemsize == 8 else np.float32)
    convert_block = jit(lambda X, row, n_rows, rows: locate(X, row, n_rows, rows)[1])
    for row, n_rows in ((0, 40), (13, 40), (50, 3)):
        convert_block(array, row, n_rows, rows)
        assert_array_equal(rows[:n_rows], X[row : row + n_rows].astype(rows.dtype))


def two_levels(rng):
    return np.where(rng.random((300, 3)) < 0.1, 9.9, -0.1)


@pytest.mark.parametrize(
    ("make", "suits"),
    [
        (lambda rng: rng.standard_normal((300, 3)), True),
        (lambda rng: rng.standard_cauchy((300, 3)), True),
        (two_levels, True),
        (lambda rng: np.full((300, 3), 0.1), True),
        (lambda rng: rng.standard_normal((300, 3)) + [0, 0, 10], True),
        (lambda rng: rng.standard_normal((300, 3)) + [0, 0, 1e4], False),
        (lambda rng: np.where(np.arange(300)[:, None] == 7, 1e9, 1e4 + rng.standard_normal((300, 3))), False),
        (lambda rng: rng.standard_normal((300, 3)) * [1, 1, 1e30], False),
        (lambda rng: rng.standard_normal((300, 3)) * [1, 1, 1e-30], False),
        (lambda rng: rng.standard_normal((300, 3)).astype(np.float32), False),
    ],
)
def test_copies_in_float32_tell_rows_apart(make, suits):
    source = ArraySource(make(np.random.default_rng(0)))
    copy = source.in_float32(None)
    assert (copy is not None) == suits
    if suits:
        assert copy.dtype == np.float32
        assert_array_equal(copy.X, source.X.astype(np.float32))


def test_copies_in_float32_are_for_rows_that_weigh_something():
    X = np.random.default_rng(0).standard_normal((300, 3))
    X[::2] += 1e4
    assert ArraySource(X).in_float32(np.arange(300) % 2.0) is not None
    assert ArraySource(X).in_float32(1 - np.arange(300) % 2.0) is None
    X[0, 0] = 1e30
    assert ArraySource(X).in_float32(np.arange(300) % 2.0) is None


@pytest.mark.parametrize("order", ["C", "F", "every-other-column"])
def test_every_float16_is_converted_exactly(order):
    bits = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    X = ORDERS[order](bits[np.isfinite(bits)].reshape(62, -1))
    array, locate = convert.readable(X)
    rows = np.empty(X.shape, np.float32)
    jit(lambda X, rows: locate(X, 0, rows.shape[0], rows)[1])(array, rows)
    assert_array_equal(rows.view(np.int32), X.astype(np.float32).view(np.int32))


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1)])
def test_single_rows_and_columns(shape):
    X = values(np.random.default_rng(0), shape, np.int16)
    for made in (X, np.asfortranarray(X), X[::-1], X[:, ::-1]):
        array, locate = convert.readable(made)
        rows = np.empty(shape, np.float32)
        jit(lambda X, rows: locate(X, 0, rows.shape[0], rows)[1])(array, rows)  # noqa: B023
        assert_array_equal(rows, made)


# --- one pass ---------------------------------------------------------------------------------------------------


# Each dtype and each order; of all pairs of them it is known that they are converted exactly, see above.
INPUTS = [*zip(DTYPES, ORDERS, strict=False), (np.float64, "backwards"), (np.float32, "F")]
CHOICES = {"n_classes": [2, 3, 6], "weighted": [False, True], "soft": [False, True], "shifted": [False, True]}
WAYS = [(dtype, "C", *way) for dtype, *way in ways(dtype=[np.float32, np.float64], **CHOICES)]


@pytest.mark.parametrize(
    ("dtype", "order", "n_classes", "weighted", "soft", "shifted"),
    [*WAYS, *((dtype, order, 3, False, False, False) for dtype, order in INPUTS)],
)
@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_samples=st.integers(2, 90),
    n_features=st.integers(1, 70),
    scaled=st.booleans(),
    fit_intercept=st.booleans(),
)
def test_loss_and_gradient(
    seed, n_samples, n_features, n_classes, dtype, order, weighted, soft, shifted, scaled, fit_intercept
):
    rng = np.random.default_rng(seed)
    X = values(rng, (n_samples, n_features), dtype)
    spread = np.abs(X.astype(np.float64)).max() + 1e-6
    y = rng.integers(n_classes, size=n_samples)
    target = rng.dirichlet(np.ones(n_classes), n_samples) if soft else reference.one_hot(y, np.arange(n_classes))
    weight = rng.exponential(size=n_samples) if weighted else None
    offset = rng.standard_normal((n_samples, n_classes)) if shifted else None
    n_vectors = 1 if n_classes == 2 else n_classes
    point = rng.standard_normal((n_vectors, n_features + fit_intercept)) / np.sqrt(n_features)
    scale = rng.exponential(size=n_features) + 0.1 if scaled else np.ones(n_features)
    point[:, :n_features] *= scale / spread

    source = ArraySource(read_only(ORDERS[order](X)))
    objective = SoftmaxObjective(
        source,
        target if soft else y,
        n_classes,
        sample_weight=weight,
        l2_reg_strength=0.0,
        fit_intercept=fit_intercept,
        n_threads=1,
        offset=offset if offset is None or n_classes > 2 else offset[:, 1:] - offset[:, :1],
        scale=scale if scaled else None,
    )
    loss, grad = objective.evaluate(point)
    oracle = reference.Objective(
        X.astype(np.float64), target, C=np.inf, sample_weight=weight, fit_intercept=fit_intercept, offset=offset
    )
    coef, intercept = objective.split(point)
    expected = oracle.grad(coef, intercept)
    expected[:, :n_features] /= scale
    tolerance = 2e-5 if source.dtype == np.float32 else 1e-12
    assert_allclose(loss, oracle.loss(coef, intercept), rtol=tolerance)
    size = np.full(expected.shape[1], 1.0)
    size[:n_features] = spread / scale
    assert_allclose(grad / size, expected / size, rtol=0, atol=tolerance)


# --- whole fits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "order"),
    [
        pytest.param(dtype, order, marks=() if (dtype, order) in INPUTS else pytest.mark.slow)
        for dtype in DTYPES
        for order in ORDERS
    ],
)
def test_dtypes_and_orders_give_the_same_fit(dtype, order):
    X = np.round(DIGITS[:300] * 4).astype(dtype)
    expected = tight(C=1e-3).fit(X.astype(np.float64), DIGIT[:300])
    given = read_only(ORDERS[order](X))
    exact = dtype == np.float64
    clf = SoftmaxRegressionClassifier(C=1e-3, tol=1e-13 if exact else 1e-9).fit(given, DIGIT[:300])
    assert clf.coef_.dtype == (np.float64 if exact else np.float32)
    scale = np.abs(expected.coef_).max()
    assert_allclose(clf.coef_, expected.coef_, rtol=0, atol=(1e-5 if exact else 2e-4) * scale)
    proba = clf.predict_proba(given)
    assert proba.dtype == clf.coef_.dtype
    assert_allclose(proba, expected.predict_proba(X.astype(np.float64)), rtol=0, atol=1e-5 if exact else 2e-4)
    assert_array_equal(clf.predict(given), expected.predict(X.astype(np.float64)))


@pytest.mark.parametrize("dtype", [np.float16, np.uint8])
def test_two_classes_of_narrow_data(dtype):
    X = (CANCER[:, :10] / CANCER[:, :10].max(axis=0) * 200).astype(dtype)
    clf = SoftmaxRegressionClassifier(C=1e-2).fit(X, BENIGN)
    expected = tight(C=1e-2).fit(X.astype(np.float64), BENIGN)
    assert clf.coef_.shape == (1, 10)
    assert_allclose(clf.coef_, expected.coef_, rtol=0, atol=2e-3 * np.abs(expected.coef_).max())
    assert_allclose(clf.decision_function(X), clf.decision_function(X.astype(np.float32)), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float16_that_is_not_finite(bad):
    X = IRIS.astype(np.float16)
    clf = SoftmaxRegressionClassifier().fit(X, SPECIES)
    before = clf.coef_
    X[77, 2] = bad
    with pytest.raises(ValueError, match="NaN in row 77" if np.isnan(bad) else "infinity in row 77"):
        clf.fit(X, SPECIES)
    assert clf.coef_ is before
    with pytest.raises(ValueError, match="row 77"):
        clf.predict(X)


def test_float16_sums_that_overflow_are_finite():
    X = np.full((50, 4), 6e4, np.float16) * np.sign(np.random.default_rng(0).standard_normal((50, 4))).astype(
        np.float16
    )
    assert SoftmaxRegressionClassifier().fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0) == 1


# --- target probabilities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER[:, :8] / 50, BENIGN)], ids=["three", "two"])
def test_one_hot_rows_equal_labels(X, y, dtype):
    X = X.astype(dtype)
    labels = SoftmaxRegressionClassifier().fit(X, y)
    rows = SoftmaxRegressionClassifier().fit(X, reference.one_hot(y))
    assert_array_equal(rows.classes_, np.arange(len(labels.classes_)))
    atol = 1e-3 if dtype == np.float32 else 1e-6
    assert_allclose(rows.coef_, labels.coef_, rtol=0, atol=atol * np.abs(labels.coef_).max())
    assert_allclose(rows.sample_loss(X, reference.one_hot(y)), rows.sample_loss(X, y), rtol=1e-5)


@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER[:, :8] / 50, BENIGN)], ids=["three", "two"])
def test_probabilities_equal_weighted_repetition(X, y):
    rng = np.random.default_rng(0)
    K = y.max() + 1
    target = 0.5 * reference.one_hot(y) + 0.5 * rng.dirichlet(np.ones(K), len(y))
    weight = rng.exponential(size=len(y))
    clf = tight(C=0.5).fit(X, target, weight)
    repeated = tight(C=0.5).fit(
        np.repeat(X, K, axis=0), np.tile(np.arange(K), len(X)), (weight[:, None] * target).ravel()
    )
    assert_allclose(clf.coef_, repeated.coef_, rtol=0, atol=1e-5 * np.abs(repeated.coef_).max())
    assert_allclose(clf.objective_, repeated.objective_, rtol=1e-10)


def test_smoothed_labels_match_the_oracle():
    target = 0.9 * reference.one_hot(DIGIT) + 0.01
    clf = tight(C=1e-2).fit(DIGITS, target)
    coef, intercept, loss = reference.minimise(reference.Objective(DIGITS, target, C=1e-2))
    assert_allclose(clf.coef_, coef, rtol=0, atol=1e-5 * np.abs(coef).max())
    assert_allclose(clf.objective_, loss, rtol=1e-11)


@pytest.mark.parametrize(
    "spoil",
    [lambda t: t * 2, lambda t: t - 0.4 * np.eye(3)[SPECIES] + 0.4, lambda t: -t, lambda t: t * np.nan],
    ids=["sums-of-two", "too-much", "negative", "nan"],
)
def test_targets_that_are_no_probabilities(spoil):
    with pytest.raises(ValueError, match=r"row 0 is|NaN"):
        SoftmaxRegressionClassifier().fit(IRIS, spoil(reference.one_hot(SPECIES)))


def test_target_probabilities_have_no_class_weight():
    with pytest.raises(ValueError, match="class_weight=None"):
        SoftmaxRegressionClassifier(class_weight="balanced").fit(IRIS, reference.one_hot(SPECIES))


def test_a_class_that_no_row_has():
    """Its probability goes to zero, and the others are fitted as if it were not there."""
    target = np.insert(reference.one_hot(SPECIES), 1, 0.0, axis=1)
    clf = SoftmaxRegressionClassifier(tol=1e-8).fit(IRIS, target)
    expected = tight().fit(IRIS, SPECIES)
    assert clf.converged_
    assert_array_equal(clf.classes_, np.arange(4))
    proba = clf.predict_proba(IRIS)
    assert proba[:, 1].max() < 1e-6
    assert np.isfinite(clf.coef_).all()
    assert_allclose(np.delete(proba, 1, axis=1), expected.predict_proba(IRIS), rtol=0, atol=1e-3)


# --- offsets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER[:, :8] / 50, BENIGN)], ids=["three", "two"])
def test_a_constant_offset_is_an_intercept(X, y, dtype):
    X = X.astype(dtype)
    K = y.max() + 1
    constant = np.linspace(-1, 2, K)
    offset = np.tile(constant, (len(X), 1))
    plain, clf = (
        SoftmaxRegressionClassifier(tol=1e-9).fit(X, y),
        SoftmaxRegressionClassifier(tol=1e-9).fit(X, y, offset=offset),
    )
    shift = constant[1:] - constant[:1] if K == 2 else constant - constant.mean()
    atol = 3e-3 if dtype == np.float32 else 1e-4
    assert_allclose(clf.coef_, plain.coef_, rtol=0, atol=atol * np.abs(plain.coef_).max())
    assert_allclose(clf.intercept_ + shift, plain.intercept_, rtol=0, atol=atol * np.abs(plain.intercept_).max())
    close = {"rtol": 0, "atol": atol}
    assert_allclose(clf.predict_proba(X, offset), plain.predict_proba(X), **close)
    assert_allclose(clf.predict_log_proba(X, offset), np.log(clf.predict_proba(X, offset)), rtol=1e-3, atol=1e-4)
    assert_array_equal(clf.predict(X, offset), plain.predict(X))
    assert_allclose(clf.sample_loss(X, y, offset), plain.sample_loss(X, y), rtol=0, atol=10 * atol)
    scores = clf.decision_function(X, offset) - clf.decision_function(X)
    assert_allclose(scores, np.broadcast_to(shift[0] if K == 2 else constant, scores.shape), rtol=1e-4, atol=1e-4)


def test_offsets_match_the_oracle():
    rng = np.random.default_rng(0)
    offset = rng.standard_normal((len(DIGITS), 10))
    clf = tight(C=1e-2).fit(DIGITS, DIGIT, offset=offset)
    objective = reference.Objective(DIGITS, reference.one_hot(DIGIT), C=1e-2, offset=offset)
    coef, intercept, loss = reference.minimise(objective)
    assert_allclose(clf.coef_, coef, rtol=0, atol=1e-5 * np.abs(coef).max())
    assert_allclose(clf.predict_proba(DIGITS, offset), objective.proba(coef, intercept), rtol=0, atol=1e-6)


def test_offsets_of_the_wrong_shape():
    with pytest.raises(ValueError, match="offset of shape"):
        SoftmaxRegressionClassifier().fit(IRIS, SPECIES, offset=np.zeros((150, 2)))
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    with pytest.raises(ValueError, match="offset of shape"):
        clf.predict(IRIS, np.zeros(150))


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("kind", [KRONECKER, BLOCKS, HEAD, EXACT])
@pytest.mark.parametrize("C", [1e-2, np.inf])
def test_offsets_that_leave_no_row_unsure(kind, C, right, monkeypatch):
    """Nowhere is there curvature to make a metric of, at first: the fit goes on, or ends, but does not fail."""
    X, y = (IRIS, SPECIES) if kind == EXACT else (DIGITS, DIGIT)
    K = y.max() + 1
    offset = 1000.0 * np.eye(K)[y if right else (y + 1) % K]
    if kind == HEAD:
        X = csr_array(X)
        X.resize(len(DIGIT), 5000)
    elif kind != EXACT:
        plan = MetricPlan(kind, 1000, 1.0)
        monkeypatch.setattr(curvature, "plan_metric", lambda *args, **kwargs: plan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = SoftmaxRegressionClassifier(C=C).fit(X, y, offset=offset)
    assert np.isfinite(clf.coef_).all()
    assert np.isfinite(clf.intercept_).all()
    if right:
        assert clf.objective_ < 1e-300
    else:
        assert clf.objective_ < 999


def test_frequencies_of_weighted_target_probabilities_do_not_depend_on_the_threads_of_blas():
    """The objective is made before BLAS is put on one thread."""
    rng = np.random.default_rng(0)
    X, y, weight = np.zeros((100_000, 1)), rng.dirichlet(np.ones(50), 100_000), rng.uniform(size=100_000)
    found = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            params = {"sample_weight": weight, "l2_reg_strength": 0.0, "fit_intercept": True, "n_threads": 1}
            found.append(SoftmaxObjective(ArraySource(X), y, 50, **params).frequency)
    assert_array_equal(*found)


# --- standardised features --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", "none"])
@pytest.mark.parametrize("name", ["iris", "breast_cancer", "digits", "badly_scaled", "wide"])
def test_standardize_equals_a_scaler(name, fit_intercept, weighted):
    problem = problems.load(name)
    X, y = problem.X, problem.y
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float) if weighted else None
    params = {"C": 0.05, "fit_intercept": fit_intercept}
    clf = tight(standardize=True, **params).fit(X, y, weight)
    scaler = StandardScaler(with_mean=fit_intercept).fit(X, sample_weight=weight)
    expected = tight(**params).fit(scaler.transform(X), y, weight)
    coef = expected.coef_ / scaler.scale_
    assert_allclose(clf.objective_, expected.objective_, rtol=1e-9)
    assert_allclose(clf.coef_ * scaler.scale_, expected.coef_, rtol=0, atol=2e-5 * np.abs(expected.coef_).max())
    if fit_intercept:
        intercept = expected.intercept_ - coef @ scaler.mean_
        assert_allclose(clf.intercept_, intercept, rtol=0, atol=1e-4 * np.abs(intercept).max())
    assert_allclose(clf.predict_proba(X), expected.predict_proba(scaler.transform(X)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("unit", [2.0**-60, 1e-6, 1e14, 2.0**60])
def test_standardize_with_weights_in_any_unit(unit, fit_intercept, container):
    """A feature was taken for a constant where weights were large, a constant for a feature where they were small."""
    X = container(np.hstack([IRIS, np.full((150, 1), 0.1)]))
    weight = np.random.default_rng(0).uniform(0.5, 1.5, 150)
    weight[::7] = 0.0
    clf, scaled = (
        SoftmaxRegressionClassifier(C=1 / u, standardize=True, fit_intercept=fit_intercept, tol=1e-9).fit(
            X, SPECIES, u * weight
        )
        for u in (1.0, unit)
    )
    assert_allclose(scaled.coef_, clf.coef_, rtol=1e-6)
    assert (np.abs(scaled.coef_[:, :4]).max(axis=0) > 0.1).all()
    if fit_intercept:
        assert (scaled.coef_[:, 4] == 0).all()


@pytest.mark.parametrize("make", [ArraySource, lambda X: CsrSource(csr_array(X))])
@pytest.mark.parametrize("unit", [1e-290, 1e299])
def test_moments_of_small_numbers_with_weights_of_any_size(unit, make):
    """Sums of small numbers by small weights are none: the search for a point near the mean did not end."""
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal((17, 4)), rng.uniform(0.1, 1, 17)
    mean, variance = make((1e-39 * X).astype(np.float64)).moments(unit * weight, 1)
    expected = np.average(X, axis=0, weights=weight)
    assert_allclose(1e39 * mean, expected, rtol=1e-12)
    assert_allclose(1e78 * variance, np.average((X - expected) ** 2, axis=0, weights=weight), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_standardize_narrow_data(dtype):
    X = DIGITS.astype(dtype)
    clf = SoftmaxRegressionClassifier(C=0.01, standardize=True).fit(np.asfortranarray(X), DIGIT)
    expected = make_pipeline(StandardScaler(), tight(C=0.01)).fit(DIGITS, DIGIT)
    assert_allclose(clf.predict_proba(X), expected.predict_proba(DIGITS), rtol=0, atol=2e-3)
    assert (clf.coef_[:, DIGITS.std(axis=0) == 0] == 0).all()


def test_standardize_starts_where_it_is_told():
    clf = SoftmaxRegressionClassifier(standardize=True, warm_start=True).fit(CANCER, BENIGN)
    assert clf.fit(CANCER, BENIGN).n_iter_ <= 1
    again = SoftmaxRegressionClassifier(standardize=True)
    assert again.fit(CANCER, BENIGN, coef_init=clf.coef_, intercept_init=clf.intercept_).n_iter_ <= 1
