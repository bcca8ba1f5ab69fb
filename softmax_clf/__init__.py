"""Multinomial logistic regression on fused, parallel Numba kernels."""

from .estimator import SoftmaxRegressionClassifier

__all__ = ["SoftmaxRegressionClassifier"]
__version__ = "0.1.0"
