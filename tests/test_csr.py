"""Sparse rows: the same results as dense ones, from kernels of their own."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from ways import ways

import reference
from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.kernels import csr
from softmax_clf.kernels.csr import CsrPass
from softmax_clf.kernels.softmax import BLOCK_LOSS, RAW, predictions
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.penalty import ElasticNet
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource

DIGITS, DIGIT = load_digits(return_X_y=True)
METHODS = ["decision_function", "predict_proba", "predict_log_proba"]


def sparse(rng, shape, density, dtype=np.float64, index=np.int32):
    X = rng.standard_normal(shape) * (rng.uniform(size=shape) < density)
    X = sp.csr_array(X.astype(dtype))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


def words(n_samples=400, n_features=6000, n_classes=4, seed=0):
    """Rows of a few words each, frequent words in many of them, topics in some."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, n_features + 1)
    X = sp.random_array((n_samples, n_features), density=0.0, format="lil", rng=rng)
    y = rng.integers(n_classes, size=n_samples)
    for i in range(n_samples):
        shifted = np.roll(frequency, 7 * y[i])
        picked = rng.choice(n_features, 30, p=(frequency + shifted) / (frequency + shifted).sum())
        for j in picked:
            X[i, j] += 1
    X = sp.csr_array(X)
    return X, y


@pytest.mark.parametrize(
    ("dtype", "index", "n_classes", "weighted", "soft", "shifted"),
    ways(
        dtype=[np.float32, np.float64],
        index=[np.int32, np.int64],
        n_classes=[2, 3, 10, 150],
        weighted=[False, True],
        soft=[False, True],
        shifted=[False, True],
    ),
)
@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_samples=st.integers(2, 150),
    n_features=st.integers(1, 60),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_loss_and_gradient(seed, n_samples, n_features, n_classes, density, dtype, index, weighted, soft, shifted):
    rng = np.random.default_rng(seed)
    X = sparse(rng, (n_samples, n_features), density, dtype, index)
    n_outputs = 1 if n_classes == 2 else n_classes
    y = rng.dirichlet(np.ones(n_classes), n_samples) if soft else rng.integers(n_classes, size=n_samples)
    params = {
        "sample_weight": rng.exponential(size=n_samples) if weighted else None,
        "offset": rng.standard_normal((n_samples, n_outputs)) if shifted else None,
        "l2_reg_strength": 0.1,
        "fit_intercept": True,
    }
    point = rng.standard_normal((n_outputs, n_features + 1))
    loss, grad = SoftmaxObjective(CsrSource(X), y, n_classes, n_threads=2, **params).evaluate(point)
    oracle = ArraySource(X.toarray().astype(np.float64))
    expected_loss, expected = SoftmaxObjective(oracle, y, n_classes, n_threads=1, **params).evaluate(point)
    tolerance = 2e-5 if dtype == np.float32 else 1e-11
    assert_allclose(loss, expected_loss, rtol=tolerance)
    assert_allclose(grad, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernels_are_the_same_whatever_the_intercepts_are(dtype):
    """One number for all, an array of the dtype, another, and one that cannot be written: nothing is compiled anew."""
    rng = np.random.default_rng(0)
    source, y = CsrSource(sparse(rng, (50, 9), 0.3, dtype)), rng.integers(3, size=50)
    coef, out = rng.standard_normal((3, 9)), np.empty((50, 3), dtype)
    passes = CsrPass(dtype, 50, 9, 1, 3, 1)
    kernels = csr._loss_kernel(*passes.tile, BLOCK_LOSS[False, 1]), csr._predict_kernel(*passes.tile, predictions)
    fixed = np.ones(3, dtype)
    fixed.flags.writeable = False
    parts, no_weight, n_compiled = [(source, slice(0, 50))], np.empty((0, 0), dtype), []
    for intercept in (0.0, fixed.copy(), np.ones(3, np.float16), fixed):
        passes.loss_gradient(parts, coef, intercept, y, no_weight, np.zeros(1, np.intp))
        passes.predict(parts, coef, intercept, RAW, out)
        n_compiled.append([len(kernel.signatures) for kernel in kernels])
    assert n_compiled[0] != [0, 0]
    assert n_compiled == n_compiled[:1] * 4


def test_stacked_problems():
    from softmax_clf.objective import StackedObjectives

    rng = np.random.default_rng(0)
    X, y = sparse(rng, (120, 30), 0.2), rng.integers(3, size=120)
    weight = rng.integers(0, 2, (4, 120)).astype(float)
    points = list(rng.standard_normal((4, 3, 31)))
    results = []
    for source in (CsrSource(X), ArraySource(X.toarray())):
        stack = StackedObjectives(source, y, 3, sample_weight=weight, fit_intercept=True, n_threads=1)
        stack.elastic_nets = [ElasticNet(strength) for strength in (0.1, 0.2, 0.3, 0.4)]
        results.append(stack.evaluate([0, 1, 2, 3], points))
    for (loss, grad), (expected_loss, expected) in zip(*results, strict=True):
        assert_allclose(loss, expected_loss, rtol=1e-12)
        assert_allclose(grad, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_rows_are_predicted_as_among_many(n_classes):
    """Of few rows, only the coefficients that they need are looked up; an empty row needs none."""
    X, y = words(n_classes=n_classes)
    clf = SoftmaxRegressionClassifier(max_iter=3, tol=0.5).fit(X, y)
    X = sp.csr_array(sp.vstack([X[:2], sp.csr_array((1, X.shape[1])), X]))
    for method in METHODS:
        whole = getattr(clf, method)(X)
        assert X[:3].nnz < X.shape[1] // 4 < X.nnz
        for few in (X[:3], X[:1], X[2:3]):
            start = 2 if few.nnz == 0 else 0
            assert_array_equal(getattr(clf, method)(few), whole[start : start + few.shape[0]])


def test_long_rows_and_columns():
    """More stored values in a column than are summed in float32."""
    rng = np.random.default_rng(0)
    X = sparse(rng, (20_000, 3), 0.9, np.float32)
    y = (X.toarray()[:, 0] + rng.standard_normal(20_000) > 0).astype(int)
    clf = SoftmaxRegressionClassifier().fit(X, y)
    expected = SoftmaxRegressionClassifier(tol=1e-12).fit(X.toarray().astype(np.float64), y)
    assert_allclose(clf.coef_, expected.coef_, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_array, sp.lil_array])
def test_any_sparse_format_gives_the_dense_fit(make, dtype):
    X = DIGITS.astype(dtype)
    clf = SoftmaxRegressionClassifier(C=1e-2, tol=1e-8).fit(make(X), DIGIT)
    expected = SoftmaxRegressionClassifier(C=1e-2, tol=1e-12).fit(DIGITS, DIGIT)
    assert clf.coef_.dtype == dtype
    assert_allclose(clf.coef_, expected.coef_, rtol=0, atol=1e-3 * np.abs(expected.coef_).max())
    for method in METHODS:
        found = getattr(clf, method)(make(X))
        assert found.dtype == dtype
        assert_allclose(found, getattr(clf, method)(X), rtol=1e-3, atol=1e-4)
    assert_array_equal(clf.predict(make(X)), clf.predict(X))


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_wide_rows_reach_the_optimum(n_classes, index):
    """So many features that the metric is a diagonal."""
    X, y = words(n_classes=n_classes)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    clf = SoftmaxRegressionClassifier(tol=1e-9).fit(X, y)
    used = np.flatnonzero(np.bincount(X.indices, minlength=X.shape[1]))
    assert clf.converged_
    assert (np.delete(clf.coef_, used, axis=1) == 0).all()
    expected = SoftmaxRegressionClassifier(tol=1e-10).fit(X.toarray()[:, used], y)
    assert_allclose(clf.objective_, expected.objective_, rtol=1e-7)
    assert_allclose(clf.coef_[:, used], expected.coef_, rtol=0, atol=1e-3 * np.abs(expected.coef_).max())


@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", "none"])
def test_wide_rows_standardized(fit_intercept):
    X, y = words(n_features=5000)
    X = X[:, np.bincount(X.indices, minlength=5000) > 1]
    X = sp.csr_array(sp.hstack([X, sp.csr_array((X.shape[0], 5000 - X.shape[1]))]))
    weight = np.random.default_rng(0).integers(1, 3, len(y)).astype(float)
    params = {"C": 0.01, "fit_intercept": fit_intercept, "tol": 1e-10}
    clf = SoftmaxRegressionClassifier(standardize=True, **params).fit(X, y, weight)
    scaler = StandardScaler(with_mean=False).fit(X, sample_weight=weight)
    expected = SoftmaxRegressionClassifier(**params).fit(scaler.transform(X), y, weight)
    assert_allclose(clf.objective_, expected.objective_, rtol=1e-8)
    assert_allclose(clf.coef_ * scaler.scale_, expected.coef_, rtol=0, atol=1e-4 * np.abs(expected.coef_).max())


def test_standardized_digits():
    X = sp.csr_array(DIGITS)
    params = {"C": 0.01, "tol": 1e-11}  # coefficients within 1e-5 of their norm
    clf = SoftmaxRegressionClassifier(standardize=True, **params).fit(X, DIGIT)
    expected = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier(**params)).fit(DIGITS, DIGIT)
    assert_allclose(clf.predict_proba(X), expected.predict_proba(DIGITS), rtol=0, atol=1e-5)


def test_threads_give_the_same_bits():
    X, y = words()
    one, four = (SoftmaxRegressionClassifier(n_jobs=n).fit(X, y) for n in (1, 4))
    assert_array_equal(one.coef_, four.coef_)
    assert_array_equal(one.predict_proba(X), four.predict_proba(X))


def test_input_is_left_as_it_is():
    """Values stored in two parts count as their sum; arrays may be read-only."""
    parts = sp.csr_array((np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 2, 3, 4])), shape=(3, 2))
    whole = sp.csr_array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    for name in ("data", "indices", "indptr"):
        getattr(parts, name).flags.writeable = False
    clf = SoftmaxRegressionClassifier().fit(parts, [0, 1, 1])
    assert parts.nnz == 4
    assert_array_equal(clf.coef_, SoftmaxRegressionClassifier().fit(whole, [0, 1, 1]).coef_)
    assert_allclose(clf.predict_proba(parts), clf.predict_proba(whole.toarray()))


def test_bad_sparse_input():
    clf = SoftmaxRegressionClassifier()
    X, y = words(n_samples=40, n_features=50)
    X.data[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        clf.fit(X, y)
    assert not hasattr(clf, "n_features_in_")
    X.data[3] = 1
    X.indices[3] = 77  # a kernel would read beyond the coefficients
    with pytest.raises(ValueError, match="ind"):
        clf.fit(X, y)


def test_sparsify_and_densify():
    X, y = words()
    clf = SoftmaxRegressionClassifier(warm_start=True).fit(X, y)
    proba, coef = clf.predict_proba(X), clf.coef_
    assert sp.issparse(clf.sparsify().coef_)
    assert clf.coef_.nnz == np.count_nonzero(coef)
    assert_array_equal(clf.predict_proba(X), proba)
    assert_array_equal(clf.densify().coef_, coef)
    assert_array_equal(clf.densify().coef_, coef)
    assert clf.sparsify().fit(X, y).n_iter_ <= 1
    assert isinstance(clf.coef_, np.ndarray)


def test_one_hot_targets_and_offsets():
    X, y = words()
    offset = np.random.default_rng(0).standard_normal((len(y), 4))
    labels = SoftmaxRegressionClassifier(tol=1e-9).fit(X, y, offset=offset)
    rows = SoftmaxRegressionClassifier(tol=1e-9).fit(X, reference.one_hot(y), offset=offset)
    assert_allclose(rows.coef_, labels.coef_, rtol=0, atol=1e-4 * np.abs(labels.coef_).max())
    assert_allclose(labels.predict_proba(X, offset), labels.predict_proba(X.toarray(), offset), rtol=1e-10)


def test_few_wide_rows_are_predicted_between_passes():
    """Scores of few rows are taken from a few coefficients; the next pass needs those of all features again."""
    rng = np.random.default_rng(0)
    source = CsrSource(sparse(rng, (12, 6000), 0.002))
    passes, coef = source.passes(1, 3, 1), rng.normal(size=(3, 6000))
    y, unweighted = np.arange(12) % 3, np.zeros((0, 0))

    def loss_gradient():
        parts = passes.loss_gradient(source.parts(), coef, np.zeros(3), y, unweighted, np.zeros(1, np.intp))
        return [np.array(part) for part in parts]

    before, out = loss_gradient(), np.empty((12, 3))
    passes.predict(source.parts(), coef, np.zeros(3), RAW, out)
    assert_allclose(out, source.X @ coef.T, atol=1e-12)
    for part, expected in zip(loss_gradient(), before, strict=True):
        assert_array_equal(part, expected)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("fit_intercept", "C"), [(True, 1.0), (False, 1.0), (True, np.inf)])
def test_features_that_no_hundredth_of_the_rows_has(n_classes, fit_intercept, C):
    """Hashed or one-hot data: no features that a dense block of the metric would be worth having for."""
    rng = np.random.default_rng(0)
    X = sp.csr_array((np.ones(1200), (np.repeat(np.arange(300), 4), rng.permutation(5000)[:1200])), shape=(300, 5000))
    y = rng.integers(n_classes, size=300)
    clf = SoftmaxRegressionClassifier(C=C, fit_intercept=fit_intercept, tol=1e-6).fit(X, y)
    assert clf.converged_
    assert clf.score(X, y) == 1.0
