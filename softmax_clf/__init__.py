"""Multinomial logistic regression on fused, parallel Numba kernels."""

from .estimator import SoftmaxRegressionClassifier
from .path import SoftmaxRegressionClassifierCV, softmax_regression_path
from .strengths import C_max

__all__ = ["C_max", "SoftmaxRegressionClassifier", "SoftmaxRegressionClassifierCV", "softmax_regression_path"]
__version__ = "0.1.0"
