"""`python -m softmax_clf`, what a bug report begins with."""

import subprocess
import sys

import numpy as np
import pytest

import softmax_clf
from softmax_clf import __main__ as report


def test_it_runs():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "softmax_clf"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for text in (
        f"softmax_clf {softmax_clf.__version__}",
        f"numpy {np.__version__}",
        "vectors of",
        "threads:",
        "kernel cache before the fits:",
        "0 loaded, 0 compiled",
        "float32 to 1797 digits: right",
        "float64 to 1797 digits: right",
        "all is well",
    ):
        assert text in done.stdout, text


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("attribute", "change", "wrong"),
    [
        ("intercept_", 0.01, "WRONG in objective"),  # predictions are of the same coefficients
        ("coef_", 0.1, "squared gradient"),
        ("objective_", 1e-3, "WRONG in objective"),
        ("converged_", -1, "WRONG in not having converged"),
    ],
)
def test_a_wrong_fit_is_found(attribute, change, wrong, dtype, monkeypatch):
    fit = softmax_clf.SoftmaxRegressionClassifier.fit

    def wrong_fit(self, X, y):
        fit(self, X, y)
        value = getattr(self, attribute)
        setattr(
            self,
            attribute,
            value + change * np.arange(value.size).reshape(value.shape) if np.ndim(value) else value + change,
        )
        return self

    monkeypatch.setattr(softmax_clf.SoftmaxRegressionClassifier, "fit", wrong_fit)
    line, is_right = report.checked_fit(dtype)
    assert not is_right
    assert wrong in line


def test_wrong_predictions_are_found(monkeypatch, capsys):
    predict_proba = softmax_clf.SoftmaxRegressionClassifier.predict_proba
    monkeypatch.setattr(
        softmax_clf.SoftmaxRegressionClassifier, "predict_proba", lambda self, X: predict_proba(self, -X)
    )
    assert report.main() == 1
    assert "please report" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written(monkeypatch):
    state = {"files": 0, "bytes": 0, "folder": "/somewhere", "loads": 0, "misses": 0, "faults": 1}
    monkeypatch.setattr(report, "cache_state", lambda: state | {"writable": False, "last_fault": "no space left"})
    lines = "\n".join(report.kernel_cache("now"))
    assert "NOT writable: every process compiles anew. Set NUMBA_CACHE_DIR" in lines
    assert "no space left" in lines
