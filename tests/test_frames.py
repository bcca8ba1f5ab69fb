"""pandas, polars and Arrow-backed frames, as scikit-learn takes them, arrays of other libraries, and missing values."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context, get_config
from sklearn.datasets import load_iris

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV

IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
LABELS = np.array(["setosa", "versicolor", "virginica"])[SPECIES]


def in_pandas(X, y):
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(X, columns=NAMES), pd.Series(y)


def in_arrow_backed_pandas(X, y):
    pa = pytest.importorskip("pyarrow")
    frame, y = in_pandas(X, y)
    pd = pytest.importorskip("pandas")
    return frame.astype(pd.ArrowDtype(pa.from_numpy_dtype(X.dtype))), y.astype(pd.ArrowDtype(pa.string()))


def in_polars(X, y):
    pl = pytest.importorskip("polars")
    return pl.DataFrame(X, schema=NAMES), pl.Series(y)


FRAMES = {"pandas": in_pandas, "Arrow": in_arrow_backed_pandas, "polars": in_polars}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
@pytest.mark.parametrize("frames", FRAMES)
def test_frames_give_the_fit_of_their_values(frames, dtype):
    X = (IRIS * 10).round().astype(dtype)
    frame, y = FRAMES[frames](X, LABELS)
    clf = SoftmaxRegressionClassifier(C=0.01, tol=1e-9).fit(frame, y)
    expected = SoftmaxRegressionClassifier(C=0.01, tol=1e-9).fit(X.astype(np.float64), LABELS)
    assert_array_equal(clf.feature_names_in_, NAMES)
    assert_array_equal(clf.classes_, np.unique(LABELS))
    assert_allclose(clf.coef_, expected.coef_, rtol=0, atol=1e-3 * np.abs(expected.coef_).max())
    assert_allclose(clf.predict_proba(frame), expected.predict_proba(X.astype(np.float64)), rtol=0, atol=1e-3)
    assert_array_equal(clf.predict(frame), expected.predict(X.astype(np.float64)))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int16])
def test_columns_of_one_narrow_dtype_stay_narrow(dtype):
    frame, y = in_pandas(IRIS.astype(dtype), LABELS)
    assert SoftmaxRegressionClassifier().fit(frame, y).coef_.dtype == np.float32


def test_targets_and_offsets_in_frames():
    pd = pytest.importorskip("pandas")
    frame, _ = in_pandas(IRIS, LABELS)
    target = np.eye(3)[SPECIES] * 0.9 + 0.1 / 3
    offset = np.random.default_rng(0).standard_normal((150, 3))
    clf = SoftmaxRegressionClassifier().fit(frame, pd.DataFrame(target), offset=pd.DataFrame(offset))
    expected = SoftmaxRegressionClassifier().fit(IRIS, target, offset=offset)
    assert_allclose(clf.coef_, expected.coef_, rtol=1e-12)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32, np.float64])
def test_frames_of_sparse_columns(dtype):
    """As get_dummies makes them: what is judged is what they are converted to."""
    pd = pytest.importorskip("pandas")
    letters = pd.DataFrame(IRIS.round().astype(int).astype(str), columns=NAMES)
    frame = pd.get_dummies(letters, sparse=True, dtype=dtype)
    dense = frame.sparse.to_dense().to_numpy().astype(np.float64)
    clf = SoftmaxRegressionClassifier(tol=1e-9).fit(frame, LABELS)
    expected = SoftmaxRegressionClassifier(tol=1e-9).fit(dense, LABELS)
    assert_array_equal(clf.feature_names_in_, frame.columns)
    assert_allclose(clf.coef_, expected.coef_, atol=1e-6)
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        assert_allclose(getattr(clf, method)(frame), getattr(expected, method)(dense), atol=1e-6)
    assert clf.score(frame, LABELS) == expected.score(dense, LABELS)
    streams = [SoftmaxRegressionClassifier().partial_fit(X, LABELS, np.unique(LABELS)) for X in (frame, dense)]
    assert_allclose(streams[0].coef_, streams[1].coef_, atol=1e-6)
    stopped = [
        SoftmaxRegressionClassifier(early_stopping=True).fit(X, LABELS, X_val=X, y_val=LABELS) for X in (frame, dense)
    ]
    assert_allclose(stopped[0].coef_, stopped[1].coef_, atol=1e-6)
    chosen = [SoftmaxRegressionClassifierCV(3, cv=2).fit(X, LABELS) for X in (frame, dense)]
    assert chosen[0].C_ == chosen[1].C_
    assert_allclose(chosen[0].predict_proba(frame), chosen[1].predict_proba(dense), atol=1e-6)


def test_target_probabilities_in_frames_of_sparse_columns():
    pd = pytest.importorskip("pandas")
    target = pd.get_dummies(pd.Series(LABELS), sparse=True, dtype=float)
    assert_array_equal(
        SoftmaxRegressionClassifier().fit(IRIS, target).coef_,
        SoftmaxRegressionClassifier().fit(IRIS, np.eye(3)[SPECIES]).coef_,
    )


def missing_labels():
    pd = pytest.importorskip("pandas")
    dates = np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "M8[D]")[SPECIES]
    text = LABELS.astype(object)
    spoiled = {
        "NaT": np.where(SPECIES == 2, np.datetime64("NaT"), dates),
        "NaT of nanoseconds": pd.Series(np.where(SPECIES == 2, np.datetime64("NaT"), dates)),
        "NaT of times": np.where(SPECIES == 2, np.timedelta64("NaT"), SPECIES.astype("m8[s]")),
        "NaT among objects": np.where(SPECIES == 2, pd.NaT, dates.astype(object)),
        "None": np.where(SPECIES == 2, None, text),
        "None in a list": np.where(SPECIES == 2, None, text).tolist(),
        "None among integers": np.where(SPECIES == 2, None, SPECIES.astype(object)),
        "NaN": np.where(SPECIES == 2, np.nan, SPECIES),
        "NaN among objects": np.where(SPECIES == 2, np.nan, SPECIES.astype(object)),
        "NA": pd.array(np.where(SPECIES == 2, None, text), dtype="string"),
        "NaN of integers": pd.Series(np.where(SPECIES == 2, None, SPECIES), dtype="Int64"),
        "NaN of categories": pd.Categorical(np.where(SPECIES == 2, None, text)),
    }
    return spoiled | {"masked": np.ma.masked_equal(SPECIES, 2)}


@pytest.mark.parametrize("assume_finite", [False, True])
@pytest.mark.parametrize("mark", missing_labels())
def test_labels_that_are_missing(mark, assume_finite):
    """Whatever marks them: the message names it and the row, and no such thing becomes a class."""
    y = missing_labels()[mark]
    match = "y is masked in row 100" if mark == "masked" else f"y contains {mark.split()[0]}.* in row 100"
    clf = SoftmaxRegressionClassifier().fit(IRIS, LABELS)
    with config_context(assume_finite=assume_finite):
        for call in (
            lambda: SoftmaxRegressionClassifier().fit(IRIS, y),
            lambda: SoftmaxRegressionClassifier().partial_fit(IRIS, y, np.unique(LABELS)),
            lambda: SoftmaxRegressionClassifierCV(2, cv=2).fit(IRIS, y),
            lambda: SoftmaxRegressionClassifier(early_stopping=True).fit(IRIS, LABELS, X_val=IRIS, y_val=y),
            lambda: clf.sample_loss(IRIS, y),
        ):
            with pytest.raises(ValueError, match=match):
                call()


def test_values_that_are_masked():
    X, weight = np.ma.masked_greater(IRIS, 7.5), np.ma.masked_equal(np.arange(150.0), 3)
    clf = SoftmaxRegressionClassifier().fit(np.ma.masked_greater(IRIS, 100), LABELS)
    assert_array_equal(clf.coef_, SoftmaxRegressionClassifier().fit(IRIS, LABELS).coef_)
    for call in (
        lambda: SoftmaxRegressionClassifier().fit(X, LABELS),
        lambda: SoftmaxRegressionClassifier().partial_fit(X, LABELS, np.unique(LABELS)),
        lambda: SoftmaxRegressionClassifierCV(2, cv=2).fit(X, LABELS),
        lambda: clf.predict(X),
    ):
        with pytest.raises(ValueError, match="X is masked in row 105"):
            call()
    with pytest.raises(ValueError, match="sample_weight is masked in row 3"):
        SoftmaxRegressionClassifier().fit(IRIS, LABELS, weight)
    with pytest.raises(ValueError, match="offset is masked in row 2"):
        SoftmaxRegressionClassifier().fit(IRIS, LABELS, offset=np.ma.masked_equal(np.arange(450).reshape(150, 3), 7))


class Tensor:
    """An array of another library: dtypes of its own, the protocols that such libraries share, and a device.

    Its namespace makes arrays and no more: what NumPy can read is not left to scikit-learn's dispatch.
    """

    def __init__(self, values, device=1, refuses=None):
        self.values, self.device, self.refuses = np.asarray(values), device, refuses
        self.shape, self.ndim, self.dtype = self.values.shape, self.values.ndim, f"tensor.{self.values.dtype}"

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        if self.refuses is not None:
            raise self.refuses
        return self.values

    def __array_namespace__(self, **options):
        return SimpleNamespace(__name__="tensors", asarray=type(self))

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)


class OnlyDLPack(Tensor):
    __array__ = None

    def __getattribute__(self, name):
        if name == "__array__":
            raise AttributeError(name)
        return super().__getattribute__(name)


@pytest.fixture(params=[False, True], ids=["default", "dispatch"])
def dispatch(request, monkeypatch):
    """With and without scikit-learn's dispatch to namespaces of arrays."""
    if request.param:
        pytest.importorskip("scipy", minversion="1.14")  # or scikit-learn does not dispatch
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with config_context(array_api_dispatch=request.param):
        yield


@pytest.mark.parametrize("kind", [Tensor, OnlyDLPack])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8])
def test_arrays_of_other_libraries_stay_what_they_are(dtype, kind, dispatch):
    X, weight = (10 * IRIS).astype(dtype), np.arange(1.0, 151.0)
    offset = np.zeros((150, 3)) if dtype == np.float64 else None
    given = None if offset is None else kind(offset)
    clf = SoftmaxRegressionClassifier(max_iter=5000).fit(kind(X), kind(SPECIES), kind(weight), offset=given)
    expected = SoftmaxRegressionClassifier(max_iter=5000).fit(X, SPECIES, weight, offset=offset)
    assert clf.coef_.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert_array_equal(clf.coef_, expected.coef_)
    for found, numbers in (
        (clf.predict_proba(kind(X)), expected.predict_proba(X)),
        (clf.sample_loss(kind(X), kind(SPECIES)), expected.sample_loss(X, SPECIES)),
    ):
        assert type(found) is (kind if get_config()["array_api_dispatch"] else np.ndarray)
        assert_array_equal(getattr(found, "values", found), numbers)
    assert clf.score(kind(X), kind(SPECIES), kind(weight)) == expected.score(X, SPECIES, weight)
    stream = SoftmaxRegressionClassifier().partial_fit(kind(X), kind(SPECIES), kind(np.arange(3)))
    assert_array_equal(stream.coef_, SoftmaxRegressionClassifier().partial_fit(X, SPECIES, [0, 1, 2]).coef_)
    chosen = SoftmaxRegressionClassifierCV([0.01, 0.1], cv=3).fit(kind(X), kind(SPECIES), kind(weight))
    assert_array_equal(chosen.coef_, SoftmaxRegressionClassifierCV([0.01, 0.1], cv=3).fit(X, SPECIES, weight).coef_)
    assert chosen.score(kind(X), kind(SPECIES)) == chosen.score(X, SPECIES)


@pytest.mark.parametrize("weight", [2, 2.0, np.float64(2), np.float32(2)])
def test_one_weight_for_all(weight, dispatch):
    """A number, of NumPy's too, is none of those arrays."""
    expected = SoftmaxRegressionClassifier(2.0).fit(IRIS, SPECIES).coef_
    assert_allclose(SoftmaxRegressionClassifier(1.0).fit(IRIS, SPECIES, weight).coef_, expected, rtol=1e-6)


def takers_of_rows():
    """Calls of all that takes rows."""
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    return (
        lambda X: SoftmaxRegressionClassifier().fit(X, SPECIES),
        lambda X: SoftmaxRegressionClassifier().partial_fit(X, SPECIES, [0, 1, 2]),
        lambda X: SoftmaxRegressionClassifierCV(2, cv=2).fit(X, SPECIES),
        clf.predict,
    )


def test_arrays_that_cannot_be_read(dispatch):
    for call in takers_of_rows():
        with pytest.raises(
            ValueError, match=r"X in the memory of the processor, .* Tensor on another device.*\.cpu\(\)"
        ):
            call(Tensor(IRIS, device=2))
        with pytest.raises(ValueError, match="X to be an array that NumPy can read, got a Tensor: it requires grad"):
            call(Tensor(IRIS, refuses=RuntimeError("it requires grad")))
    with pytest.raises(ValueError, match="y in the memory of the processor"):
        SoftmaxRegressionClassifier().fit(IRIS, Tensor(SPECIES, device=2))


class OfUnknownLength:
    """As an array of dask whose chunks have not been counted."""

    shape, dtype, ndim = (np.nan, 4), np.dtype(np.float64), 2

    def __getitem__(self, rows):
        return IRIS[rows]


def test_an_array_of_unknown_length():
    for call in takers_of_rows():
        with pytest.raises(ValueError, match=r"known shape.*\(nan, 4\).*compute_chunk_sizes"):
            call(OfUnknownLength())


@pytest.mark.parametrize("frames", FRAMES)
def test_columns_in_another_order(frames):
    frame, y = FRAMES[frames](IRIS, LABELS)
    clf = SoftmaxRegressionClassifier().fit(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[NAMES[::-1]])
