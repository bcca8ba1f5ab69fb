"""What the parts of the package give each other."""

from typing import Protocol

import numpy as np


class Metric(Protocol):
    """A symmetric positive definite matrix in the place of the Hessian, of which solvers need the inverse.

    Steps and gradients have the shape of a point, (n_outputs, n_columns) as a rule. The steps of one metric are a
    linear function of the gradients, the same for as long as it lives.

    Attributes
    ----------
    slack : float
        How many times too small half the squared gradient in it may be as an estimate of F - F*.
    """

    slack: float

    def solve(self, grad: np.ndarray) -> np.ndarray:
        """Step whose image under the metric is ``grad``."""

    def solve_all(self, grads: np.ndarray) -> np.ndarray:
        """Steps for several gradients (n, n_outputs, n_columns)."""
