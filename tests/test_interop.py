"""What leaves the package predicts what the classifier predicts, and what comes in predicts what it did outside."""

import importlib
import pickle
import subprocess
import sys
import warnings
from functools import lru_cache
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.inspection import score_map
from softmax_clf.interop import SKOPS_TRUSTED, from_linear, register_onnx_converter, to_sklearn, to_torch

IRIS, SPECIES = load_iris(return_X_y=True)
LABELS = {
    "integers": np.array([7, -2, 5])[SPECIES],
    "text": load_iris().target_names[SPECIES],
    "objects": load_iris().target_names.astype(object)[SPECIES],
    "two": (SPECIES == 1).astype(np.uint8),
    "two texts": np.array(["other", "versicolor"])[(SPECIES == 1).astype(int)],
    "bool": SPECIES == 1,
    "whole": 2.0 * SPECIES,
}
CLASSIFIERS = {
    "plain": SoftmaxRegressionClassifier(),
    "no intercept": SoftmaxRegressionClassifier(fit_intercept=False),
    "l1": SoftmaxRegressionClassifier(l1_ratio=0.7, class_weight="balanced"),
    "cv": SoftmaxRegressionClassifierCV(3, cv=2, scoring="accuracy"),
    "pipeline": make_pipeline(StandardScaler(), PCA(3), SoftmaxRegressionClassifier(standardize=True)),
    "search": GridSearchCV(SoftmaxRegressionClassifier(), {"C": [0.1, 1.0]}, cv=2),
}
DTYPES = (np.float64, np.float32)


@lru_cache
def fitted(classifier, labels, dtype):
    """Shared: not to be changed."""
    return clone(CLASSIFIERS[classifier]).fit(IRIS.astype(dtype), LABELS[labels])


def absent(n_classes=3, dtype=np.float64):
    """A class that no training row had."""
    y = SPECIES % n_classes
    clf = SoftmaxRegressionClassifier().fit(IRIS.astype(dtype), y)
    clf.intercept_[-1] = -np.inf
    return clf


def assert_same_predictions(exported, clf, X):
    tolerance = 1e-6 if X.dtype == np.float64 else 1e-5
    assert_array_equal(exported.predict(X), clf.predict(X))
    assert_allclose(exported.predict_proba(X), clf.predict_proba(X), rtol=0, atol=tolerance)
    scores = clf.decision_function(X)
    assert_allclose(exported.decision_function(X), scores, rtol=0, atol=tolerance * max(np.abs(scores).max(), 1))


every_kind = pytest.mark.parametrize(
    ("classifier", "labels"),
    [*((name, "integers") for name in CLASSIFIERS), *(("plain", labels) for labels in LABELS), ("cv", "two texts")],
)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)

# -------------------------------------------------------------------------------------------------------- scikit-learn


@every_kind
@every_dtype
def test_sklearn_predicts_the_same(classifier, labels, dtype):
    clf = fitted(classifier, labels, dtype)
    exported = to_sklearn(clf)
    assert_same_predictions(exported, clf, IRIS.astype(dtype))
    assert exported.predict_proba(IRIS.astype(dtype)).dtype == dtype
    assert exported.n_features_in_ == 4


@pytest.mark.parametrize("n_classes", [2, 3])
@every_dtype
def test_sklearn_with_a_class_that_no_row_had(n_classes, dtype):
    clf = absent(n_classes, dtype)
    exported, X = to_sklearn(clf), IRIS.astype(dtype)
    assert_array_equal(exported.predict(X), clf.predict(X))
    assert_allclose(exported.predict_proba(X), clf.predict_proba(X), rtol=0, atol=1e-6)
    assert not exported.predict_proba(X)[:, -1].any()


def test_sklearn_says_what_was_fitted():
    frame = load_iris(as_frame=True).data
    clf = SoftmaxRegressionClassifier(C=3.0, l1_ratio=1.0, class_weight={0: 2.0}).fit(frame, SPECIES)
    exported = to_sklearn(clf)
    assert type(exported) is LogisticRegression
    assert (exported.C, exported.l1_ratio, exported.class_weight) == (3.0, 1.0, {0: 2.0})
    assert_array_equal(exported.feature_names_in_, frame.columns)
    assert_array_equal(exported.n_iter_, [clf.n_iter_])
    with pytest.raises(ValueError, match="feature names"):
        exported.predict(frame[frame.columns[::-1]])
    chosen = fitted("cv", "integers", np.float64)
    assert to_sklearn(chosen).C == chosen.C_
    exported.coef_[:] = 0  # a copy
    assert clf.coef_.any()
    sparse = to_sklearn(clf.sparsify())
    assert_allclose(sparse.predict_proba(frame), clf.predict_proba(frame), rtol=0, atol=1e-6)
    assert sparse.coef_.nnz < 12


def test_sklearn_needs_no_softmax_clf():
    exported = to_sklearn(fitted("pipeline", "text", np.float64))
    program = """
        import pickle, sys
        sys.modules["softmax_clf"] = None  # an import of it fails
        model, X = pickle.load(sys.stdin.buffer)
        sys.stdout.buffer.write(pickle.dumps(model.predict_proba(X)))
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in program.splitlines())],
        input=pickle.dumps((exported, IRIS)),
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert_array_equal(pickle.loads(done.stdout), exported.predict_proba(IRIS))


def test_a_pipeline_is_copied():
    pipeline = fitted("pipeline", "integers", np.float64)
    last = pipeline[-1]
    assert type(to_sklearn(pipeline)[-1]) is LogisticRegression
    assert pipeline[-1] is last


@pytest.mark.parametrize("export", [to_sklearn, to_torch])
def test_what_cannot_be_exported(export):
    if export is to_torch:
        pytest.importorskip("torch")
    with pytest.raises(TypeError, match="Expected a SoftmaxRegressionClassifier.*got a LogisticRegression"):
        export(LogisticRegression().fit(IRIS / 10, SPECIES))
    with pytest.raises(Exception, match="not fitted"):
        export(SoftmaxRegressionClassifier())
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    clf.coef_ = clf.coef_[:, :3]
    with pytest.raises(ValueError, match="Expected coef_ of shape"):
        export(clf)


# ------------------------------------------------------------------------------------------------------------- PyTorch


@every_kind
@every_dtype
def test_torch_has_the_scores(classifier, labels, dtype):
    torch = pytest.importorskip("torch")
    clf = fitted(classifier, labels, dtype)
    layer = to_torch(clf, dtype=torch.float64 if dtype == np.float64 else None)
    with torch.no_grad():
        out = layer(torch.from_numpy(IRIS.astype(dtype)))
    assert out.shape == (150, len(clf.classes_))
    scores, tolerance = clf.decision_function(IRIS.astype(dtype)), 1e-6 if dtype == np.float64 else 1e-5
    assert_allclose(out[:, 1] if scores.ndim == 1 else out, scores, rtol=tolerance, atol=tolerance)
    proba = clf.predict_proba(IRIS.astype(dtype))
    assert_allclose(torch.softmax(out, 1), proba, rtol=0, atol=tolerance)
    assert layer.weight.requires_grad


def test_torch_is_float32_and_a_convolution():
    torch = pytest.importorskip("torch")
    clf = fitted("plain", "integers", np.float64)
    layer = to_torch(clf)
    assert layer.weight.dtype == torch.float32
    maps = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype(np.float32)
    at_each = torch.nn.functional.conv2d(
        torch.from_numpy(maps.transpose(0, 3, 1, 2).copy()), layer.weight[:, :, None, None], layer.bias
    )
    assert_allclose(at_each.detach().numpy().transpose(0, 2, 3, 1), score_map(clf, maps), rtol=0, atol=1e-5)


def test_torch_refuses():
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"finite intercept for every class.*minus infinity for \[2\].*-1e4"):
        to_torch(absent())
    with pytest.raises(ValueError, match=r"minus infinity for \[1\]"):
        to_torch(absent(2))
    clf = make_pipeline(PolynomialFeatures(), SoftmaxRegressionClassifier()).fit(IRIS, SPECIES)
    with pytest.raises(ValueError, match="affine"):
        to_torch(clf)


def test_an_absent_package_is_named(monkeypatch):
    for name, call in (
        ("torch", lambda: to_torch(fitted("plain", "two", np.float64))),
        ("skl2onnx", register_onnx_converter),
    ):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=f"Expected {name} to be installed.*pip install"):
            call()


@pytest.mark.parametrize("labels", ["integers", "two texts"])
def test_from_torch_and_back(labels):
    pytest.importorskip("torch")
    clf = fitted("plain", labels, np.float32)
    back = from_linear(to_torch(clf), clf.classes_)
    assert_array_equal(back.coef_, clf.coef_)
    assert_array_equal(back.intercept_, clf.intercept_)
    assert_array_equal(back.predict(IRIS), clf.predict(IRIS))


def test_from_what_torch_has():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(4, 3, 1, bias=False).to(torch.bfloat16)
    clf = from_linear(convolution)
    assert clf.coef_.dtype == np.float32
    assert_array_equal(clf.coef_, convolution.weight.detach().float()[:, :, 0, 0])
    assert_array_equal(clf.intercept_, np.zeros(3))


# -------------------------------------------------------------------------------------------------------- from a layer


@every_dtype
def test_from_weights(dtype):
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=3).astype(dtype)
    scores = IRIS @ weight.T + bias
    named = np.array(["cat", "dog", "bird"])
    for layer in ((weight, bias), SimpleNamespace(weight=weight[:, :, None, None], bias=bias)):
        clf = from_linear(layer, classes=named)
        assert_array_equal(clf.classes_, ["bird", "cat", "dog"])
        assert_array_equal(clf.predict(IRIS), named[scores.argmax(axis=1)])
        assert clf.coef_.dtype == dtype
        assert_allclose(clf.decision_function(IRIS), scores[:, [2, 0, 1]], rtol=1e-5)


def test_from_weights_of_two_classes():
    weight, bias = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([0.25, -1.0])
    X = np.random.default_rng(0).normal(size=(20, 2))
    scores = X @ weight.T + bias
    proba = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert_allclose(from_linear((weight, bias)).predict_proba(X), proba, rtol=1e-12)
    swapped = from_linear((weight, bias), ["yes", "no"])
    assert_allclose(swapped.predict_proba(X), proba[:, ::-1], rtol=1e-12)
    assert_array_equal(swapped.predict(X), np.array(["yes", "no"])[scores.argmax(axis=1)])
    logit = from_linear((weight[1:], None), ["no", "yes"])  # one output, as of a network for two classes
    assert_array_equal(logit.decision_function(X), X @ weight[1])
    assert_array_equal(from_linear((weight[1:], None), ["yes", "no"]).coef_, -weight[1:])


def test_a_fit_starts_from_a_layer():
    optimum = SoftmaxRegressionClassifier().fit(IRIS, LABELS["text"])
    start = from_linear((optimum.coef_[[2, 0, 1]], optimum.intercept_[[2, 0, 1]]), optimum.classes_[[2, 0, 1]])
    start.fit(IRIS, LABELS["text"])
    assert start.n_iter_ <= 1 < optimum.n_iter_
    assert_allclose(start.coef_, optimum.coef_, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "classes", "message"),
    [
        ("fc", None, "Expected a layer with weight and bias"),
        ((np.ones((4, 3)), np.ones(3)), None, r"bias of shape \(4,\).*transposed weight"),
        ((np.ones((3, 4, 2, 2)), None), None, r"weight of shape \(n_classes, n_features\), got \(3, 4, 2, 2\)"),
        ((np.ones((3, 4)), None), ["a", "b"], "name 3 classes, one a row of weight, .* got 2"),
        ((np.ones((1, 4)), None), ["a", "b", "c"], "name 2 classes"),
        ((np.ones((2, 4)), None), np.array([1, "a"], object), "classes that can be sorted"),
        ((np.ones((3, 4)), None), ["a", "b", "a"], "'a' more than once.*mean of the embeddings"),
        ((np.ones((3, 4)), None), [1.0, np.nan, 2.0], "classes contains NaN in row 1"),
        ((np.full((3, 4), np.nan), None), None, "finite values in coef_"),
        ((np.array([["a", "b"]]), None), None, "weight to hold real numbers"),
    ],
)
def test_what_is_no_layer(layer, classes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        from_linear(layer, classes)


# ---------------------------------------------------------------------------------------------------------------- ONNX


def onnx(clf, X, **options):
    """Labels and probabilities by onnxruntime."""
    skl2onnx, onnxruntime = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    register_onnx_converter()
    model = skl2onnx.to_onnx(clf, X[:1], options=options or None)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})


@every_kind
@every_dtype
def test_onnx_predicts_the_same(classifier, labels, dtype):
    clf, X = fitted(classifier, labels, dtype), IRIS.astype(dtype)
    tolerance = 1e-6 if dtype == np.float64 else 1e-5
    label, proba = onnx(clf, X, zipmap=False)
    assert_array_equal(label, clf.predict(X))
    assert_allclose(proba, clf.predict_proba(X), rtol=0, atol=tolerance)
    assert proba.dtype == dtype
    if classifier == "search" and dtype == np.float64:
        return  # skl2onnx's own converter of searches makes dictionaries of float32 only
    label, dictionaries = onnx(clf, X)
    assert_array_equal(label, clf.predict(X))
    assert_array_equal(list(dictionaries[0]), clf.classes_)
    assert_allclose([list(row.values()) for row in dictionaries], clf.predict_proba(X), rtol=0, atol=tolerance)


@every_dtype
@pytest.mark.parametrize("n_classes", [2, 3])
def test_onnx_with_a_class_that_no_row_had(n_classes, dtype):
    clf, X = absent(n_classes, dtype), IRIS.astype(dtype)
    label, proba = onnx(clf, X, zipmap=False)
    assert_array_equal(label, clf.predict(X))
    assert_allclose(proba, clf.predict_proba(X), rtol=0, atol=1e-6)


def test_onnx_options_and_integers():
    clf = SoftmaxRegressionClassifier().fit(np.round(10 * IRIS).astype(np.int64), LABELS["text"])
    X = np.round(10 * IRIS).astype(np.int64)
    label, *columns = onnx(clf, X, zipmap="columns")
    assert_array_equal(label, clf.predict(X))
    assert_allclose(np.column_stack(columns), clf.predict_proba(X), rtol=0, atol=1e-6)
    label, _, names = onnx(clf, X, zipmap=False, output_class_labels=True)
    assert_array_equal(names, clf.classes_)
    label, _ = onnx(clf, X, zipmap=False, nocl=True)
    assert_array_equal(clf.classes_[label], clf.predict(X))


def test_onnx_refuses():
    clf = from_linear((np.ones((3, 4)), None), [0.0, 0.5, 1.0])
    with pytest.raises(ValueError, match=r"classes_ to be integers or text.*0\.5.*nocl"):
        onnx(clf, IRIS)
    clf = from_linear((np.ones((3, 4)), None), np.array([1, 2, 3], object))
    with pytest.raises(ValueError, match=r"classes_ to be integers or text.*object"):
        onnx(clf, IRIS)
    with pytest.raises(ValueError, match="Expected an input of 4 features"):
        onnx(fitted("plain", "integers", np.float64), IRIS[:, :3])


# ------------------------------------------------------------------------------------------------------------- to disk


def stream():
    clf = SoftmaxRegressionClassifier()
    for rows in np.array_split(np.arange(100), 4):
        clf.partial_fit(IRIS[rows], SPECIES[rows], np.arange(3))
    return clf


def wide_stream():
    """Of more features than a square memory is kept of."""
    X = np.random.default_rng(0).normal(size=(30, 4100))
    return SoftmaxRegressionClassifier().partial_fit(X, np.arange(30) % 3, np.arange(3))


SAVED = {
    "plain": lambda: fitted("plain", "text", np.float32),
    "sparse": lambda: SoftmaxRegressionClassifier(l1_ratio=1.0, C=0.1).fit(IRIS, SPECIES).sparsify(),
    "weighted": lambda: SoftmaxRegressionClassifier(class_weight={7: 2.0}).fit(IRIS, LABELS["integers"]),
    "frame": lambda: SoftmaxRegressionClassifier().fit(pd.DataFrame(IRIS, columns=[*"abcd"]), LABELS["objects"]),
    "stopped": lambda: SoftmaxRegressionClassifier(early_stopping=True, random_state=0).fit(IRIS, SPECIES),
    "cv": lambda: fitted("cv", "integers", np.float64),
    "pipeline": lambda: fitted("pipeline", "integers", np.float64),
    "stream": stream,
}


def by_skops(model, path):
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(model)
    assert set(skops.get_untrusted_types(data=data)) <= set(SKOPS_TRUSTED)
    return skops.loads(data, trusted=SKOPS_TRUSTED)


def by_cloudpickle(model, path):
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(model))


def by_joblib(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib")


def by_memory_map(model, path):
    """Arrays stay on disk: worker processes have them in common, and nobody can write to them."""
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib", mmap_mode="r")


def by_mlflow(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parts of it are imported when they are needed, and warn of each other
        mlflow = pytest.importorskip("mlflow.sklearn")
        options = {"serialization_format": "skops", "skops_trusted_types": SKOPS_TRUSTED}
        mlflow.save_model(model, path / "model", pip_requirements=["scikit-learn"], **options)
        return mlflow.load_model(path / "model")


@pytest.mark.parametrize("way", [by_skops, by_cloudpickle, by_joblib, by_memory_map, by_mlflow])
@pytest.mark.parametrize("model", SAVED)
def test_saved_and_loaded(model, way, tmp_path):
    saved = SAVED[model]()
    loaded = way(saved, tmp_path)
    X = pd.DataFrame(IRIS, columns=[*"abcd"]) if model == "frame" else IRIS
    assert_array_equal(loaded.predict_proba(X), saved.predict_proba(X))
    assert_array_equal(loaded.predict(X), saved.predict(X))
    if model == "stream":
        rest = IRIS[100:], SPECIES[100:]
        assert_array_equal(loaded.partial_fit(*rest).coef_, saved.partial_fit(*rest).coef_)
    else:
        again = clone(loaded).fit(X, saved.predict(X))
        assert again.score(X, saved.predict(X)) is not None


def test_a_memory_map_is_one(tmp_path):
    loaded = by_memory_map(SAVED["plain"](), tmp_path)
    assert isinstance(loaded.coef_, np.memmap)
    assert not loaded.coef_.flags.writeable


def test_every_type_that_is_trusted_is_there():
    for name in SKOPS_TRUSTED:
        module, _, cls = name.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), cls), type)
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(wide_stream())
    assert set(skops.get_untrusted_types(data=data)) <= set(SKOPS_TRUSTED)
