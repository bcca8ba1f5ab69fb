"""Arrays of other libraries: in without a copy, out as what went in where scikit-learn's array_api_dispatch says so."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.sources.arrays import as_numpy

IRIS, SPECIES = load_iris(return_X_y=True)
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


@pytest.fixture(params=["array_api_strict", "torch"])
def xp(request, monkeypatch):
    """A library of arrays, with scikit-learn's dispatch on."""
    library = pytest.importorskip(request.param)
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with config_context(array_api_dispatch=True):
        yield library


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_what_goes_in_comes_out(n_classes, dtype, xp):
    X, y = IRIS.astype(dtype), SPECIES % n_classes
    foreign, labels = xp.asarray(X), xp.asarray(y)
    clf, expected = SoftmaxRegressionClassifier().fit(foreign, labels), SoftmaxRegressionClassifier().fit(X, y)
    assert type(clf.coef_) is type(clf.classes_) is np.ndarray  # so it predicts arrays of any library
    assert_array_equal(clf.coef_, expected.coef_)
    for method in METHODS:
        found, numbers = getattr(clf, method)(foreign), getattr(expected, method)(X)
        assert type(found) is type(foreign), method
        assert_array_equal(as_numpy(found, method), numbers)
        assert type(getattr(clf, method)(X)) is np.ndarray
        with config_context(array_api_dispatch=False):
            assert type(getattr(clf, method)(foreign)) is np.ndarray
    assert type(clf.sample_loss(foreign, labels)) is type(foreign)
    assert clf.score(foreign, labels) == expected.score(X, y)
    assert_allclose(accuracy_score(labels, clf.predict(foreign)), expected.score(X, y), rtol=1e-6)


def test_text_stays_with_numpy(xp):
    y = load_iris().target_names[SPECIES]
    clf = SoftmaxRegressionClassifier().fit(xp.asarray(IRIS), y)
    assert_array_equal(clf.predict(xp.asarray(IRIS)), clf.predict(IRIS))
    assert type(clf.predict_proba(xp.asarray(IRIS))) is type(xp.asarray(IRIS))


@pytest.mark.parametrize("scoring", [None, "accuracy", "roc_auc_ovr"])
def test_choosing_C(scoring, xp):
    X, y = xp.asarray(IRIS), xp.asarray(SPECIES)
    chosen = SoftmaxRegressionClassifierCV(3, cv=3, scoring=scoring).fit(X, y)
    expected = SoftmaxRegressionClassifierCV(3, cv=3, scoring=scoring).fit(IRIS, SPECIES)
    assert_array_equal(chosen.scores_, expected.scores_)
    assert_allclose(chosen.score(X, y), expected.score(IRIS, SPECIES))
    assert type(chosen.predict_proba(X)) is type(X)


def test_nothing_is_copied(xp):
    for values in (IRIS, np.asfortranarray(IRIS.astype(np.float32)), np.zeros((3, 4), np.uint8)):
        assert np.shares_memory(as_numpy(xp.asarray(values), "X"), values)


def test_tensors_as_networks_leave_them():
    torch = pytest.importorskip("torch")
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    with pytest.raises(ValueError, match=r"X to be an array that NumPy can read, got a Tensor.*\.detach\(\)\.cpu\(\)"):
        clf.predict(torch.tensor(IRIS, requires_grad=True))
