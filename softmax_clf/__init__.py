"""Multinomial logistic regression on fused, parallel Numba kernels."""

from .estimator import SoftmaxRegressionClassifier
from .path import SoftmaxRegressionClassifierCV, softmax_regression_path

__all__ = ["SoftmaxRegressionClassifier", "SoftmaxRegressionClassifierCV", "softmax_regression_path"]
__version__ = "0.1.0"
