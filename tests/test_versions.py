"""Classifiers that earlier versions of the package have saved are loaded, and predict what they did.

``python tests/test_versions.py`` saves those of this version; a release adds them to ``tests/models/``.
"""

import json
import pickle
import sys
import warnings
from pathlib import Path
from zipfile import ZIP_DEFLATED

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_iris
from sklearn.exceptions import InconsistentVersionWarning

import softmax_clf
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.interop import SKOPS_TRUSTED

MODELS = Path(__file__).with_name("models")
SUFFIXES = [".pickle", ".joblib", ".skops"]
X, y = load_iris(return_X_y=True)
SPECIES = np.array(["setosa", "versicolor", "virginica"])


def fitted():
    """A classifier of each kind that has attributes of its own."""
    return {
        "plain": SoftmaxRegressionClassifier().fit(X, SPECIES[y]),
        "two classes": SoftmaxRegressionClassifier(l1_ratio=0.5, standardize=True).fit(X, y == 1),
        "sparse": SoftmaxRegressionClassifier(C=0.1, l1_ratio=1.0).fit(X, y).sparsify(),
        "stopped": SoftmaxRegressionClassifier(early_stopping=True, random_state=0).fit(X, y),
        "stream": SoftmaxRegressionClassifier().partial_fit(X[::2], y[::2], range(3)).partial_fit(X[1::2], y[1::2]),
        "choice": SoftmaxRegressionClassifierCV(Cs=3, cv=3).fit(X, y),
    }


def save(folder, version):
    """Write them, by pickle, joblib and skops, and what they predict."""
    classifiers = fitted()
    (folder / f"{version}.pickle").write_bytes(pickle.dumps(classifiers, protocol=4))
    joblib.dump(classifiers, folder / f"{version}.joblib", compress=3)
    skops.io.dump(classifiers, folder / f"{version}.skops", compression=ZIP_DEFLATED)
    predicted = {name: clf.predict_proba(X[::15]).tolist() for name, clf in classifiers.items()}
    (folder / f"{version}.json").write_text(json.dumps(predicted))


def load(path):
    if path.suffix == ".pickle":
        return pickle.loads(path.read_bytes())
    return joblib.load(path) if path.suffix == ".joblib" else skops.io.load(path, trusted=SKOPS_TRUSTED)


def check(folder, version, suffix):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)  # scikit-learn's own
        classifiers = load(folder / f"{version}{suffix}")
    predicted = json.loads((folder / f"{version}.json").read_text())
    assert classifiers.keys() == predicted.keys()
    for name, clf in classifiers.items():
        np.testing.assert_allclose(clf.predict_proba(X[::15]), predicted[name], rtol=1e-12, atol=1e-15)
        target = SPECIES[y] if name == "plain" else y == 1 if name == "two classes" else y
        assert np.mean(clf.predict(X) == target) > 0.6
    classifiers["stream"].partial_fit(X, y)  # its memory is there
    classifiers["plain"].set_params(warm_start=True).fit(X, SPECIES[y])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("version", sorted(path.stem for path in MODELS.glob("*.json")))
def test_models_of_released_versions(version, suffix):
    check(MODELS, version, suffix)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_models_of_this_version(tmp_path, suffix):
    """What would be kept if it were released."""
    save(tmp_path, softmax_clf.__version__)
    check(tmp_path, softmax_clf.__version__, suffix)


if __name__ == "__main__":
    MODELS.mkdir(exist_ok=True)
    save(MODELS, softmax_clf.__version__)
    print(*sorted(path.name for path in MODELS.iterdir()), file=sys.stderr)
