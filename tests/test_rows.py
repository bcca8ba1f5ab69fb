"""What is said of all rows holds for all of them that weigh something, whichever come first."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource
from softmax_clf.sources.stream import StreamSource
from softmax_clf.training_data import unit_of


class Stream:
    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        return self.X[rows]


SOURCES = {
    "array": ArraySource,
    "Fortran": lambda X: ArraySource(np.asfortranarray(X)),
    "stream": lambda X: StreamSource(Stream(X)),
    "sparse": lambda X: CsrSource(csr_array(X)),
}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


def classes(n=600, dtype=np.float32):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 5)).astype(dtype)
    return X, (X[:, :3] + rng.gumbel(size=(n, 3))).argmax(axis=1)


# --- units ---


@each_source
def test_unit_is_that_of_the_largest_value(source):
    X, _ = classes()
    tiny = X * np.float32(1e-30)
    peak = np.abs(tiny).max()
    assert peak / 2 < unit_of(source(tiny), None) <= peak
    for rows in (slice(None, 100), slice(100, None)):
        mixed = X.copy()
        mixed[rows] *= np.float32(1e-33)
        assert unit_of(source(mixed), None) is None
        zeros = tiny.copy()
        zeros[rows] = 0.0
        assert unit_of(source(zeros), None) == 2.0 ** np.floor(np.log2(np.abs(zeros).max()))
        weight = np.ones(len(X))
        weight[rows] = 0.0
        ordinary = tiny.copy()
        ordinary[rows] = 1.0
        assert unit_of(source(ordinary), weight) == 2.0 ** np.floor(np.log2(np.abs(tiny[weight > 0]).max()))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.float16])
def test_unit_of_narrow_zeros(dtype):
    assert unit_of(ArraySource(np.zeros((300, 4), dtype)), None) is None


def test_tiny_rows_first_or_last():
    """The first had the units of all made of them: squares of the others overflowed."""
    X, y = classes()
    X[:100] = 1e-33
    first = SoftmaxRegressionClassifier().fit(X, y)
    last = SoftmaxRegressionClassifier().fit(X[::-1].copy(), y[::-1])
    assert first.objective_ == pytest.approx(last.objective_, abs=2e-6)
    SoftmaxRegressionClassifierCV(Cs=[1.0]).fit(X, y)


# --- moments ---


@each_source
@pytest.mark.parametrize("n_first", [0, 100, 300])
@pytest.mark.parametrize("first_weight", [0.0, 1e-30])
def test_moments(source, n_first, first_weight):
    """Rows that weigh nothing, or next to nothing, may be as far out as they like."""
    X, _ = classes(dtype=np.float64)
    weight = np.random.default_rng(1).random(len(X)) + 0.5
    weight[:n_first] = first_weight
    mean = np.average(X[n_first:], axis=0, weights=weight[n_first:])
    variance = np.average((X[n_first:] - mean) ** 2, axis=0, weights=weight[n_first:])
    X[:n_first] = 1e9
    found_mean, found_variance = source(X).moments(weight, 2)
    np.testing.assert_allclose(found_mean, mean, atol=1e-12)
    np.testing.assert_allclose(found_variance, variance, rtol=1e-9 if first_weight == 0 else 1e-6)


@each_source
def test_moments_of_columns_that_do_not_vary(source):
    X = np.tile([0.1, 7.3, 0.0, 1e9 / 3], (1000, 1))
    mean, variance = source(X).moments(None, 1)
    np.testing.assert_allclose(mean, X[0], rtol=1e-13)
    assert (variance <= (1e-13 * X[0]) ** 2).all()


@pytest.mark.parametrize("container", [np.asarray, csr_array, Stream], ids=["array", "sparse", "stream"])
def test_standardised_with_far_rows_of_no_weight_first(container):
    X, y = classes(dtype=np.float64)
    weight = np.ones(len(X))
    X[:100], weight[:100] = 1e9, 0.0
    params = {"standardize": True, "tol": 1e-9}
    clf = SoftmaxRegressionClassifier(**params).fit(container(X), y, weight)
    expected = SoftmaxRegressionClassifier(**params).fit(X[100:], y[100:])
    np.testing.assert_allclose(clf.coef_, expected.coef_, rtol=1e-6)


@pytest.mark.parametrize("container", [np.asarray, csr_array], ids=["array", "sparse"])
def test_a_column_far_from_zero_varies_however_many_rows_there_are(container):
    """It was taken for a constant where rows times its mean, over its deviation, were 1e16."""
    n = 100_000
    t = np.random.default_rng(0).standard_normal(n)
    X = np.column_stack([1e11 + t, np.full(n, 1e11 / 3), np.full(n, 0.1)])
    y = (t > 0).astype(int)
    clf = SoftmaxRegressionClassifier(standardize=True).fit(container(X), y)
    assert clf.score(container(X), y) > 0.99
    assert not clf.coef_[:, 1:].any()


# --- features that do not vary ---


@each_source
def test_constants(source):
    X, _ = classes()
    X = np.hstack([X, np.full((len(X), 3), 7.3, np.float32), np.zeros((len(X), 1), np.float32)])
    X[-1, 6], X[50, 7] = 7.4, 0.0
    assert source(X).constants(None).tolist() == [5]
    weight = np.ones(len(X))
    weight[[50, -1]] = 0.0
    assert source(X).constants(weight).tolist() == [5, 6, 7]
    weight[:-1], weight[-1] = 0.0, 1.0
    assert source(X).constants(weight).tolist() == [*range(8)]
    assert source(np.zeros((3, 2))).constants(None).tolist() == []


@pytest.mark.parametrize("params", [{}, {"C": np.inf}, {"l1_ratio": 0.5}, {"standardize": True}], ids=str)
@pytest.mark.parametrize("container", [np.asarray, csr_array, Stream], ids=["array", "sparse", "stream"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_feature_that_does_not_vary_gets_no_coefficient(params, container, dtype):
    """Rounding shared with it what is the intercept's: 7e-4 in float32."""
    X, y = classes(dtype=dtype)
    X = np.hstack([X, np.full((len(X), 1), 1000.3, dtype)])
    expected = SoftmaxRegressionClassifier(**params).fit(X[:, :5], y)
    clf = SoftmaxRegressionClassifier(**params).fit(container(X), y)
    assert not clf.coef_[:, 5].any()
    np.testing.assert_allclose(clf.coef_[:, :5], expected.coef_, rtol=0, atol=2e-3)
    warm = SoftmaxRegressionClassifier(**params).fit(X, y, coef_init=np.ones((3, 6)))
    assert not warm.coef_[:, 5].any()


def test_a_feature_that_does_not_vary_without_an_intercept_is_one():
    X, y = classes()
    X = np.hstack([X, np.ones((len(X), 1), np.float32)])
    assert SoftmaxRegressionClassifier(fit_intercept=False).fit(X, y).coef_[:, 5].all()


def test_a_feature_that_varies_in_some_folds_only():
    X, y = classes()
    X = np.hstack([X, np.full((len(X), 1), 7.3, np.float32)])
    X[:10, 5] = -7.3
    order = np.arange(len(X))
    folds = [(order[10:], order[:10]), (order[:-10], order[-10:])]
    clf = SoftmaxRegressionClassifierCV(Cs=[1.0, 10.0], cv=folds).fit(X, y)
    assert not clf.coefs_paths_[0, ..., 5].any()
    assert clf.coefs_paths_[1, ..., 5].all()
    for c, C in enumerate((1.0, 10.0)):
        cell = SoftmaxRegressionClassifier(C).fit(X[:-10], y[:-10])
        np.testing.assert_allclose(clf.coefs_paths_[1, 0, c, :, :6], cell.coef_, atol=2e-2)
