"""What a solver reports: a record for each iteration, and how it ended."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Solution:
    """How a solver ended.

    Attributes
    ----------
    point : array (n_outputs, n_columns) float64
        Coefficients, the intercept as last column where there is one.
    objective : float
        F at the point.
    suboptimality : float
        What F(point) - F* is at most, by the solver's estimate.
    converged : bool
    n_iter : int
    reason : str
        Why it stopped, to be read after "it stopped because".
    loss_curve : list of float
        F before the first iteration and after each.
    suboptimality_curve : list of float
        The estimate at each of them.
    """

    point: np.ndarray
    objective: float = np.inf
    suboptimality: float = np.inf
    converged: bool = False
    n_iter: int = 0
    reason: str = ""
    loss_curve: list = field(default_factory=list)
    suboptimality_curve: list = field(default_factory=list)


def allowed_suboptimality(tol, null_objective, penalty, noise):
    """What F - F* may be where a fit ends: ``tol * null_objective``, or less for the sake of the coefficients.

    A small tol asks for digits of the coefficients, also of those on which F hardly depends: by the penalty's curvature
    they are within 1e6 tol, relative to their norm, if rounding allows.

    Parameters
    ----------
    tol, null_objective : float
    penalty : float
        The second part of F at the point.
    noise : float
        Relative rounding error of the objective.
    """
    bound = tol * null_objective
    if penalty == 0:
        return bound
    return min(bound, max((1e6 * tol) ** 2 * penalty, 10 * noise * null_objective))
