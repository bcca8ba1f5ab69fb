"""partial_fit: a stream of batches and the memory of those before."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import reference
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.online import _LEAST_CAUTION, _SHARE, DiagonalMemory, _caution
from softmax_clf.sources.arrays import ArraySource

IRIS, SPECIES = load_iris(return_X_y=True)
IRIS, SPECIES = (a[np.random.default_rng(0).permutation(150)] for a in (IRIS, SPECIES))
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
CANCER = CANCER / CANCER.std(axis=0)
DIGITS, NUMBERS = load_digits(return_X_y=True)
DIGITS, DIGITS_TEST, NUMBERS, NUMBERS_TEST = train_test_split(DIGITS, NUMBERS, test_size=0.4, random_state=0)


def tight(**params):
    return SoftmaxRegressionClassifier(tol=1e-12, **params)


def streamed(clf, X, y, n_batches, classes=None, sample_weight=None):
    """The classifier after one pass over the rows."""
    classes = np.unique(y) if classes is None else classes
    for rows in np.array_split(np.arange(len(y)), n_batches):
        weight = None if sample_weight is None else sample_weight[rows]
        clf.partial_fit(X[rows], y[rows], classes=classes, sample_weight=weight)
    return clf


def assert_same(clf, other, **tolerance):
    tolerance = tolerance or {"rtol": 1e-5, "atol": 1e-7}
    assert_allclose(clf.coef_, other.coef_, **tolerance)
    assert_allclose(clf.intercept_, other.intercept_, **tolerance)


# --- what is calculated -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"C": 0.01}, {"fit_intercept": False}, {"class_weight": {0: 2.0}}], ids=str)
@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER, BENIGN)], ids=["iris", "cancer"])
def test_one_batch_of_everything_is_a_fit(X, y, params):
    assert_same(
        tight(**params).partial_fit(X, y, classes=np.unique(y)), tight(**params).fit(X, y), rtol=1e-4, atol=1e-6
    )


def even_curvature(K):
    return np.array([[0.25]]) if K == 1 else (np.eye(K) - 1 / K) / K


def expected_stream(batches, C, fit_intercept, n_classes):
    """The recursion of the module's docstring in plain NumPy: H an array, minima by Newton's method."""
    before = totals = hess = None
    n_samples = 0
    for X, y in batches:
        batch = reference.Objective(X, reference.one_hot(y, range(n_classes)), np.inf, fit_intercept=fit_intercept)
        K, p = batch.n_vectors, X.shape[1] + fit_intercept
        penalty = np.kron(np.eye(K), np.diag(batch.penalised / C))
        count = np.bincount(y, minlength=n_classes)
        if before is None:
            before, totals, between, gram = np.zeros((K, p)), np.zeros(n_classes), np.zeros((K, K)), np.zeros((p, p))
            if fit_intercept and (count == 0).any():
                row = np.append(X.mean(axis=0), 1)
                between, gram = even_curvature(K), np.trace(even_curvature(K)) * np.outer(row, row)
        hess = penalty + np.kron(between / max(np.trace(between), 1e-300), gram)
        point = before
        for _ in range(100):
            grad = len(y) * batch.grad(*batch.unpack(point)).ravel() + hess @ (point - before).ravel()
            total = hess + len(y) * batch.hess(*batch.unpack(point))
            step = np.linalg.lstsq(total, grad, rcond=1e-14)[0].reshape(point.shape)
            point = point - step / max(1, np.abs(batch.design @ step.T).max() / 2)
        n_samples += len(y)
        trust = n_samples / (n_samples + X.shape[1])
        caution = max(_caution(totals, count, len(y)), _LEAST_CAUTION * trust)
        proba = batch.proba(*batch.unpack(point))[:, n_classes - K :]
        for row, p_i in zip(batch.design, proba, strict=True):
            S = np.diag(p_i) - np.outer(p_i, p_i)
            S = (1 - caution) * _SHARE * trust * S + caution * even_curvature(K)
            between, gram = between + S, gram + np.trace(S) * np.outer(row, row)
        before, totals = point, totals + count
    return point


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("order", ["mixed", "sorted"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_recursion(n_classes, order, fit_intercept):
    rows = np.flatnonzero(n_classes > SPECIES)
    if order == "sorted":
        rows = rows[np.argsort(SPECIES[rows], kind="stable")]
    batches = [(IRIS[r], SPECIES[r]) for r in np.array_split(rows, 5)]
    clf = tight(C=0.1, fit_intercept=fit_intercept)
    for X, y in batches:
        clf.partial_fit(X, y, classes=np.arange(n_classes))
    expected = expected_stream(batches, 0.1, fit_intercept, n_classes)
    found = np.column_stack([clf.coef_, clf.intercept_])[:, : expected.shape[1]]
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_rows_of_any_number_make_the_same_memory(monkeypatch):
    """A batch that is worked on in pieces is the batch."""
    whole = tight().partial_fit(IRIS, SPECIES, classes=[0, 1, 2])
    monkeypatch.setattr("softmax_clf.online._PANEL_BYTES", 7 * 8 * 4)
    pieces = tight().partial_fit(IRIS, SPECIES, classes=[0, 1, 2])
    step = np.random.default_rng(0).standard_normal((3, 5))
    assert_allclose(pieces._stream_.memory.hessp(step), whole._stream_.memory.hessp(step), rtol=1e-9)


@pytest.mark.parametrize("order", ["mixed", "sorted"])
@pytest.mark.parametrize("n_batches", [10, 50])
def test_accuracy_comes_close_to_a_fit(order, n_batches):
    """Without memory the sorted stream ends with one class for all."""
    rows = np.argsort(NUMBERS, kind="stable") if order == "sorted" else np.arange(len(NUMBERS))
    clf = streamed(SoftmaxRegressionClassifier(C=0.01), DIGITS[rows], NUMBERS[rows], n_batches)
    full = SoftmaxRegressionClassifier(C=0.01).fit(DIGITS, NUMBERS)
    assert clf.score(DIGITS_TEST, NUMBERS_TEST) > full.score(DIGITS_TEST, NUMBERS_TEST) - (
        0.02 if order == "mixed" else 0.04
    )


def test_the_order_of_two_batches():
    halves = [slice(0, 75), slice(75, 150)]
    proba = []
    for order in (halves, halves[::-1]):
        clf = tight(C=0.1)
        for rows in order:
            clf.partial_fit(IRIS[rows], SPECIES[rows], classes=[0, 1, 2])
        proba.append(clf.predict_proba(IRIS))
    full = tight(C=0.1).fit(IRIS, SPECIES).predict_proba(IRIS)
    assert np.abs(proba[0] - proba[1]).max() < 0.1
    assert max(np.abs(p - full).max() for p in proba) < 0.1


def test_caution():
    even = np.full(4, 100.0)
    assert _caution(even, even / 4, 100) == 0
    assert _caution(np.zeros(4), np.array([50.0, 0, 0, 0]), 50) == 0.75
    assert _caution(even, np.array([50.0, 0, 0, 0]), 50) == 0.75
    assert _caution(even, np.array([1.0, 0, 0, 0]), 1) == 0  # one row is always of one class


# --- what comes in ----------------------------------------------------------------------------------------------


def test_batches_that_miss_classes():
    names = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
    clf = SoftmaxRegressionClassifier()
    for rows in (names == "virginica", names == "setosa", names == "versicolor"):
        clf.partial_fit(IRIS[rows], names[rows], classes=["virginica", "setosa", "versicolor"])
        assert np.isfinite(clf.intercept_).all()
        assert clf.score(IRIS[rows], names[rows]) > 0.4
    assert_array_equal(clf.classes_, ["setosa", "versicolor", "virginica"])
    assert clf.score(IRIS, names) > 0.7


def test_a_class_that_never_comes():
    clf = streamed(SoftmaxRegressionClassifier(), IRIS, SPECIES, 5, classes=[0, 1, 2, 7])
    assert clf.predict_proba(IRIS).shape == (150, 4)
    assert clf.predict_proba(IRIS)[:, 3].max() < 0.05
    assert clf.score(IRIS, SPECIES) > 0.9


def test_classes_may_be_left_out_after_the_first_call():
    clf = streamed(tight(), IRIS, SPECIES, 3)
    again = tight().partial_fit(IRIS[:50], SPECIES[:50], [0, 1, 2])
    assert_same(again.partial_fit(IRIS[50:100], SPECIES[50:100]).partial_fit(IRIS[100:], SPECIES[100:]), clf, rtol=0)


@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER, BENIGN)], ids=["iris", "cancer"])
def test_single_rows(X, y):
    clf = streamed(SoftmaxRegressionClassifier(), X[:100], y[:100], 100, classes=np.unique(y))
    assert clf.n_samples_seen_ == 100
    assert clf.score(X, y) > 0.9


def test_weight_is_repetition():
    counts = np.random.default_rng(0).integers(1, 4, size=150)
    weighted, repeated = tight(), tight()
    for rows in np.array_split(np.arange(150), 3):
        weighted.partial_fit(IRIS[rows], SPECIES[rows], [0, 1, 2], sample_weight=counts[rows])
        rows = np.repeat(rows, counts[rows])
        repeated.partial_fit(IRIS[rows], SPECIES[rows], [0, 1, 2])
    # but for the trust in the past, which counts rows
    assert_same(weighted, repeated, rtol=0.02, atol=0.02)


def test_unit_of_weights_makes_no_difference():
    """The objective of weights c s and the strength C / c is c times that of s and C."""
    plain = streamed(tight(), IRIS, SPECIES, 3)
    for unit in (1e-3, 1e3):
        assert_same(plain, streamed(tight(C=1 / unit), IRIS, SPECIES, 3, sample_weight=np.full(150, unit)))


@pytest.mark.filterwarnings("error")
def test_failed_calls_leave_the_stream_as_it_was():
    halves = np.array_split(np.arange(150), 2)
    clf = tight().partial_fit(IRIS[halves[0]], SPECIES[halves[0]], [0, 1, 2])
    expected = pickle.loads(pickle.dumps(clf)).partial_fit(IRIS[halves[1]], SPECIES[halves[1]])
    with pytest.raises(ConvergenceWarning):  # after the work is done
        clf.set_params(max_iter=1).partial_fit(IRIS[halves[1]], SPECIES[halves[1]])
    with pytest.raises(ConvergenceWarning):
        clf.fit(IRIS, SPECIES)
    clf.set_params(max_iter=1000).partial_fit(IRIS[halves[1]], SPECIES[halves[1]])
    assert clf.n_samples_seen_ == 150
    assert_same(clf, expected, rtol=0)


def test_rows_without_weight_are_absent():
    weight = np.arange(150) % 2.0
    weighted = streamed(tight(), IRIS, SPECIES, 1, sample_weight=weight)
    assert_same(weighted, streamed(tight(), IRIS[1::2], SPECIES[1::2], 1))


def test_class_weight():
    weighted = streamed(tight(class_weight={0: 3.0, 2: 0.5}), IRIS, SPECIES, 3)
    assert_same(weighted, streamed(tight(), IRIS, SPECIES, 3, sample_weight=np.array([3.0, 1.0, 0.5])[SPECIES]), rtol=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_labels_are_certain_target_probabilities(dtype):
    clf = streamed(tight(), IRIS, SPECIES, 3)
    soft = tight()
    for rows in np.array_split(np.arange(150), 3):
        soft.partial_fit(IRIS[rows], np.eye(3, dtype=dtype)[SPECIES[rows]])
    assert_array_equal(soft.classes_, [0, 1, 2])
    assert_same(soft, clf)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
@pytest.mark.parametrize("container", [np.asfortranarray, np.ascontiguousarray, csr_array])
def test_containers(container, dtype):
    if container is csr_array and dtype == np.uint8:
        pytest.skip("sparse X is of floats")
    expected = streamed(SoftmaxRegressionClassifier(C=0.01, tol=1e-8), DIGITS, NUMBERS, 4)
    clf = SoftmaxRegressionClassifier(C=0.01, tol=1e-6 if dtype != np.float64 else 1e-8)
    for rows in np.array_split(np.arange(len(NUMBERS)), 4):
        X = container(DIGITS[rows].astype(dtype))
        if isinstance(X, np.ndarray):
            X.flags.writeable = False
        clf.partial_fit(X, NUMBERS[rows], np.arange(10))
    assert clf.coef_.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert_allclose(clf.coef_, expected.coef_, atol=2e-3 * np.abs(expected.coef_).max())


@pytest.mark.parametrize("n_features", [64, 2000])
def test_the_number_of_threads_makes_no_difference(n_features):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, n_features)).astype(np.float32), rng.integers(3, size=300)
    clfs = [streamed(SoftmaxRegressionClassifier(n_jobs=n, C=0.01), X, y, 3) for n in (1, 2)]
    assert_array_equal(clfs[0].coef_, clfs[1].coef_)


@pytest.mark.parametrize("sparse", [True, False])
def test_wide_rows_leave_a_diagonal(sparse):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=600)
    X = (rng.uniform(size=(600, 5000)) < 0.002 + 0.02 * (np.arange(5000) % 100 == y[:, None])).astype(float)
    clf = streamed(SoftmaxRegressionClassifier(), csr_array(X[:400]) if sparse else X[:400], y[:400], 8)
    assert isinstance(clf._stream_.memory, DiagonalMemory)
    full = SoftmaxRegressionClassifier().fit(X[:400], y[:400])
    assert clf.score(X[400:], y[400:]) > full.score(X[400:], y[400:]) - 0.05


def test_weights_of_wide_rows_lie_side_by_side(monkeypatch):
    """Those that are strided are of another type to a kernel, which is compiled once more for them."""
    layouts = []

    class Source(ArraySource):
        def moments(self, weight, n_threads):
            layouts.append(weight.flags.c_contiguous)
            return super().moments(weight, n_threads)

    monkeypatch.setattr("softmax_clf.validation.ArraySource", Source)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 5000)), np.arange(20) % 3
    SoftmaxRegressionClassifier().partial_fit(X, y, [0, 1, 2])
    assert layouts
    assert all(layouts)


# --- the estimator ----------------------------------------------------------------------------------------------


def test_fitted_attributes():
    clf = streamed(SoftmaxRegressionClassifier(), IRIS, SPECIES, 3)
    assert clf.coef_.shape == (3, 4)
    assert clf.intercept_.shape == (3,)
    assert (clf.n_features_in_, clf.n_samples_seen_, clf.converged_) == (4, 150, True)
    assert clf.n_iter_ > 0
    assert not hasattr(clf, "objective_")


def test_pickle_goes_on_and_clone_does_not():
    clf = streamed(tight(), IRIS[:100], SPECIES[:100], 2)
    copy = pickle.loads(pickle.dumps(clf))
    assert_same(*(c.partial_fit(IRIS[100:], SPECIES[100:]) for c in (copy, clf)), rtol=0)
    assert clone(clf).partial_fit(IRIS, SPECIES).n_samples_seen_ == 150


def test_fit_forgets_the_stream_and_a_stream_the_fit():
    clf = streamed(tight(), IRIS, SPECIES, 3).fit(IRIS, SPECIES)
    assert_array_equal(clf.coef_, tight().fit(IRIS, SPECIES).coef_)
    assert not {"n_samples_seen_", "_stream_"} & set(vars(clf))
    clf.partial_fit(IRIS[:75], SPECIES[:75])
    assert clf.n_samples_seen_ == 75
    assert not {"objective_", "suboptimality_", "loss_curve_"} & set(vars(clf))
    assert_array_equal(clf.coef_, tight().partial_fit(IRIS[:75], SPECIES[:75], [0, 1, 2]).coef_)


def bad(value):
    X = IRIS[100:].copy()
    X[7, 2] = value
    return X


@pytest.mark.parametrize(
    ("X", "y", "options", "match"),
    [
        (bad(np.nan), SPECIES[100:], {}, "NaN"),
        (IRIS[100:, :3], SPECIES[100:], {}, "3 features"),
        (IRIS[100:], SPECIES[100:] + 1, {}, "Expected labels of the classes"),
        (IRIS[100:], SPECIES[90:], {}, "inconsistent numbers of samples"),
        (IRIS[100:], SPECIES[100:], {"classes": [0, 1, 3]}, "Expected classes as in the first call"),
        (IRIS[100:], np.full((50, 4), 0.25), {}, "a column for each of the classes"),
        (IRIS[100:], SPECIES[100:], {"sample_weight": np.zeros(50)}, "non-zero|positive sum"),
        (bad(1e300), SPECIES[100:], {}, "squared|overflow"),
    ],
    ids=["nan", "features", "labels", "rows", "classes", "columns", "weights", "overflow"],
)
def test_a_call_that_fails_leaves_the_estimator_as_it_was(X, y, options, match):
    clf = streamed(SoftmaxRegressionClassifier(), IRIS[:100], SPECIES[:100], 2)
    before = dict(vars(clf))
    with pytest.raises(ValueError, match=match):
        clf.partial_fit(X, y, **options)
    assert all(vars(clf)[name] is value for name, value in before.items())
    assert vars(clf).keys() == before.keys()
    unfitted = SoftmaxRegressionClassifier()
    with pytest.raises(ValueError, match="NaN"):
        unfitted.partial_fit(bad(np.nan), SPECIES[100:], classes=[0, 1, 2])
    assert not [name for name in vars(unfitted) if name.endswith("_")]


@pytest.mark.parametrize(
    ("params", "classes", "match"),
    [
        ({"C": 5e-324}, [0, 1, 2], "Expected C times the sum"),
        ({}, [0, 1, None], "classes contains None in row 2"),
        ({}, [0], "at least 2 classes"),
    ],
)
def test_errors(params, classes, match):
    with pytest.raises(ValueError, match=match):
        SoftmaxRegressionClassifier(**params).partial_fit(IRIS, SPECIES, classes=classes)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"standardize": True}, "StandardScaler"),
        ({"class_weight": "balanced"}, "compute_class_weight"),
        ({"l1_ratio": 0.5}, "l1_ratio=0"),
    ],
)
def test_where_it_could_only_raise_there_is_none(params, match):
    clf = SoftmaxRegressionClassifier(**params)
    assert not hasattr(clf, "partial_fit")
    with pytest.raises(AttributeError) as caught:
        clf.partial_fit(IRIS, SPECIES, classes=[0, 1, 2])
    assert match in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_nan_that_scikit_learn_is_told_not_to_look_for(container):
    with config_context(assume_finite=True), pytest.raises(ValueError, match="NaN in row 7"):
        SoftmaxRegressionClassifier().partial_fit(container(bad(np.nan)), SPECIES[100:], [0, 1, 2])


def test_a_stream_begins_with_attributes_set_by_hand():
    """As clients of federated learning do; a stream begins at its own start, of the same classes and features."""
    clf = SoftmaxRegressionClassifier()
    clf.classes_, clf.coef_, clf.intercept_ = np.arange(3), np.zeros((3, 4)), np.zeros(3)
    assert_same(clf.partial_fit(IRIS, SPECIES), SoftmaxRegressionClassifier().partial_fit(IRIS, SPECIES, [0, 1, 2]))
    assert clf.n_features_in_ == 4


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coef_", lambda coef: coef[:, :2]),
        ("coef_", lambda coef: coef[:2]),
        ("coef_", lambda coef: np.full_like(coef, np.nan)),
        ("intercept_", lambda intercept: intercept[:2]),
        ("classes_", lambda classes: np.arange(4)),
    ],
)
def test_attributes_that_do_not_fit_together(name, change):
    clf = streamed(SoftmaxRegressionClassifier(), IRIS[:100], SPECIES[:100], 1)
    setattr(clf, name, change(getattr(clf, name)))
    with pytest.raises(ValueError, match="coef_|intercept_"):
        clf.partial_fit(IRIS[100:], SPECIES[100:])


def test_a_memory_of_other_classes_than_the_attributes():
    clf = streamed(SoftmaxRegressionClassifier(), IRIS[:100], SPECIES[:100], 1)
    clf.classes_, clf.coef_, clf.intercept_ = np.arange(4), np.zeros((4, 4)), np.zeros(4)
    with pytest.raises(ValueError, match="of the stream that partial_fit has begun"):
        clf.partial_fit(IRIS[100:], SPECIES[100:])


def test_a_batch_whose_scores_overflow():
    clf = streamed(SoftmaxRegressionClassifier(), IRIS[:100], SPECIES[:100], 1)
    with pytest.raises(ValueError, match="scores X @ coef.T, but they overflow|squared"):
        clf.partial_fit(bad(1e308), SPECIES[100:])


@pytest.mark.parametrize("params", [{"C": 2.0}, {"fit_intercept": False}], ids=str)
def test_the_objective_stays(params):
    clf = streamed(SoftmaxRegressionClassifier(), IRIS, SPECIES, 2).set_params(**params)
    with pytest.raises(ValueError, match="as in the first call"):
        clf.partial_fit(IRIS, SPECIES)


def test_convergence_warning():
    with pytest.warns(ConvergenceWarning, match="max_iter=1 "):
        SoftmaxRegressionClassifier(max_iter=1).partial_fit(IRIS, SPECIES, classes=[0, 1, 2])


def test_cross_validation_has_no_stream():
    assert not hasattr(SoftmaxRegressionClassifierCV(), "partial_fit")


# --- streams that gain classes, forget and merge ------------------------------------------------------------------


def test_classes_are_added_as_they_come():
    """Two of them late: near a fit on all rows."""
    few = np.isin(NUMBERS, [3, 7])
    order = np.concatenate([np.flatnonzero(~few), np.random.default_rng(0).permutation(len(NUMBERS))])
    X, y = DIGITS[order], NUMBERS[order]
    clf = SoftmaxRegressionClassifier(C=0.01)
    for rows in np.array_split(np.arange(len(y)), 12):
        clf.partial_fit(X[rows], y[rows])
    np.testing.assert_array_equal(clf.classes_, np.arange(10))
    assert clf._stream_.class_totals.sum() == len(y)
    batch = SoftmaxRegressionClassifier(C=0.01).fit(X, y).score(DIGITS_TEST, NUMBERS_TEST)
    assert clf.score(DIGITS_TEST, NUMBERS_TEST) > batch - 0.04


@pytest.mark.parametrize("params", [{}, {"fit_intercept": False}])
def test_third_class_after_two(params):
    """From one vector for two classes to one for each: no worse than where all were named, by much."""
    first, rest = np.flatnonzero(SPECIES < 2), np.random.default_rng(0).permutation(150)
    clf = SoftmaxRegressionClassifier(**params).partial_fit(IRIS[first], SPECIES[first])
    named = SoftmaxRegressionClassifier(**params).partial_fit(IRIS[first], SPECIES[first], classes=[0, 1, 2])
    assert clf.coef_.shape == (1, 4)
    for rows in np.array_split(rest, 3):
        clf.partial_fit(IRIS[rows], SPECIES[rows])
        named.partial_fit(IRIS[rows], SPECIES[rows])
    assert clf.coef_.shape == (3, 4)
    assert clf.score(IRIS, SPECIES) > named.score(IRIS, SPECIES) - 0.1


def test_wide_streams_gain_classes_too():
    X = np.random.default_rng(0).normal(size=(60, 5000))
    y = np.repeat([0, 1, 2], 20)
    X[np.arange(60), y] += 8
    clf = SoftmaxRegressionClassifier().partial_fit(X[:40], y[:40])
    clf.partial_fit(X[20:], y[20:])
    assert clf.coef_.shape == (3, 5000)
    assert clf.score(X, y) > 0.9


def test_streams_without_penalty_and_intercept_gain_classes():
    rng = np.random.default_rng(0)
    rows, labels = rng.standard_normal((40, 3)), np.arange(40) % 2
    clf = SoftmaxRegressionClassifier(np.inf, fit_intercept=False).partial_fit(rows, labels)
    clf.partial_fit(rows, labels + 1)
    assert clf.classes_.tolist() == [0, 1, 2]
    assert np.isfinite(clf.coef_).all()


def test_streams_that_name_classes_take_no_others():
    two = SPECIES < 2
    clf = SoftmaxRegressionClassifier().partial_fit(IRIS[two], SPECIES[two], classes=[0, 1])
    with pytest.raises(ValueError, match="got also"):
        clf.partial_fit(IRIS, SPECIES)


def test_first_batch_of_one_class_is_refused():
    with pytest.raises(ValueError, match="first batch of a stream that names none"):
        SoftmaxRegressionClassifier().partial_fit(IRIS[SPECIES == 1], SPECIES[SPECIES == 1])


def test_what_is_forgotten_weighs_less():
    """As if the batches before had had so many times the weight: exactly, but for the curvature that is remembered."""
    half = np.arange(150) % 2 == 0
    clf = tight(C=1e3).partial_fit(IRIS[half], SPECIES[half], classes=[0, 1, 2])
    before = clf._stream_
    clf.partial_fit(IRIS[~half], SPECIES[~half], forget=0.75)
    assert clf._stream_.class_totals.sum() == 75 * 0.25 + 75
    np.testing.assert_allclose(clf._stream_.n_effective, before.n_effective * 0.25 + 75)
    labels = np.where(half, SPECIES, (SPECIES + 1) % 3)  # another world
    remembers = tight().partial_fit(IRIS[half], labels[half], classes=[0, 1, 2]).partial_fit(IRIS[~half], labels[~half])
    forgets = tight().partial_fit(IRIS[half], labels[half], classes=[0, 1, 2])
    forgets.partial_fit(IRIS[~half], labels[~half], forget=0.999)
    batch = tight().fit(IRIS[~half], labels[~half])
    assert forgets.score(IRIS[~half], labels[~half]) >= batch.score(IRIS[~half], labels[~half]) - 0.03
    assert remembers.score(IRIS[~half], labels[~half]) < forgets.score(IRIS[~half], labels[~half])


def test_forgetting_all_but_nothing_is_a_fit():
    """The penalty is not forgotten, and pulls from where the past and it were balanced."""
    half = np.arange(150) % 2 == 0
    clf = tight(C=0.1).partial_fit(IRIS[half], SPECIES[half], classes=[0, 1, 2])
    clf.partial_fit(IRIS[~half], SPECIES[~half], forget=1 - 1e-12)
    assert_same(clf, tight(C=0.1).fit(IRIS[~half], SPECIES[~half]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("forget", [-0.1, 1.0, np.nan])
def test_shares_that_cannot_be_forgotten(forget):
    with pytest.raises(ValueError, match="forget from 0 to less than 1"):
        SoftmaxRegressionClassifier().partial_fit(IRIS, SPECIES, classes=[0, 1, 2], forget=forget)


def test_merged_streams_come_close_to_a_fit():
    halves = np.array_split(np.random.default_rng(0).permutation(len(NUMBERS)), 2)
    one, two = (streamed(SoftmaxRegressionClassifier(C=0.01), DIGITS[h], NUMBERS[h], 3, range(10)) for h in halves)
    batch = SoftmaxRegressionClassifier(C=0.01).fit(DIGITS, NUMBERS)
    apart = max(clf.score(DIGITS_TEST, NUMBERS_TEST) for clf in (one, two))
    clf = one.merge_stream(two)
    assert clf.n_samples_seen_ == len(NUMBERS)
    assert clf.score(DIGITS_TEST, NUMBERS_TEST) >= max(apart - 0.01, batch.score(DIGITS_TEST, NUMBERS_TEST) - 0.02)
    clf.partial_fit(DIGITS[:50], NUMBERS[:50])


def test_merging_is_recursive_least_squares():
    """Of the same memory twice the minimum is that of both, with the penalty counted once."""
    clf, other = (tight(C=0.1).partial_fit(IRIS, SPECIES, classes=[0, 1, 2]) for _ in range(2))
    stream, penalty = clf._stream_, clf._stream_.memory.penalty
    point = clf.merge_stream(other)._stream_.point
    hessp = stream.memory.hessp
    residual = 2 * hessp(point - stream.point) - penalty * point
    assert np.abs(residual - residual.mean(axis=0)).max() < 1e-5 * np.abs(hessp(stream.point)).max()
    np.testing.assert_allclose(clf._stream_.memory.hessp(point), 2 * hessp(point) - penalty * point)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda clf: clf, "one without"),
        (lambda clf: clf.set_params(C=2.0).partial_fit(IRIS, SPECIES), "same C and fit_intercept"),
        (lambda clf: clf.partial_fit(IRIS[SPECIES < 2], SPECIES[SPECIES < 2]), "same classes"),
        (lambda clf: clf.partial_fit(IRIS[:, :3], SPECIES), "same features"),
    ],
    ids=["no stream", "C", "classes", "features"],
)
def test_streams_that_cannot_be_merged(make, match):
    other = make(SoftmaxRegressionClassifier())
    clf = SoftmaxRegressionClassifier().partial_fit(IRIS, SPECIES)
    before = clf.coef_.copy()
    with pytest.raises(ValueError, match=match):
        clf.merge_stream(other)
    np.testing.assert_array_equal(clf.coef_, before)
