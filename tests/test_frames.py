"""pandas, polars and Arrow-backed frames, as scikit-learn takes them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris

from softmax_clf import SoftmaxRegressionClassifier

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


@pytest.mark.parametrize("frames", FRAMES)
def test_columns_in_another_order(frames):
    frame, y = FRAMES[frames](IRIS, LABELS)
    clf = SoftmaxRegressionClassifier().fit(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[NAMES[::-1]])
