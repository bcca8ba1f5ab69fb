"""Multinomial logistic regression on fused, parallel Numba kernels."""

import importlib
from typing import Any

from .estimator import SoftmaxRegressionClassifier
from .model_selection.classifier import SoftmaxRegressionClassifierCV
from .multi_output import MultiOutputSoftmaxClassifier, MultiOutputSoftmaxClassifierCV
from .path import softmax_regression_path
from .strengths import C_max

__all__ = [
    "C_max",
    "MultiOutputSoftmaxClassifier",
    "MultiOutputSoftmaxClassifierCV",
    "SoftmaxRegressionClassifier",
    "SoftmaxRegressionClassifierCV",
    "softmax_regression_path",
]
__version__ = "0.1.0"

_SUBMODULES = ("datasets", "decisions", "features", "inspection", "interop", "sums")


def __getattr__(name: str) -> Any:
    """Submodules, imported when they are first asked for: ``import softmax_clf; softmax_clf.inspection``."""
    if name in _SUBMODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES, "__version__"])
