"""The penalty of an objective: its strengths, its value, and where among alike points it is least."""

from dataclasses import dataclass

import numpy as np

from .solvers.proximal import shift_of_least_penalty


@dataclass(frozen=True)
class ElasticNet:
    """l2_reg_strength/2 ||W||_F^2 + l1_reg_strength ||W||_1 of the coefficients W of a point, not of its intercepts.

    Parameters
    ----------
    l2_reg_strength, l1_reg_strength : float
        (1 - l1_ratio) / (C S) and l1_ratio / (C S), S being the sum of the rows' weights.
    """

    l2_reg_strength: float = 0.0
    l1_reg_strength: float = 0.0

    @classmethod
    def of(cls, C, l1_ratio, weight_sum, unit=1.0):
        """The penalty of coefficients that are for features in some ``unit``.

        Raises
        ------
        ValueError
            Where it is not a number.
        """
        strength = penalty_strength(C, weight_sum, unit)
        return cls((1 - l1_ratio) * strength / unit**2, l1_ratio * strength / unit)

    def value(self, coef, squares=None):
        """The penalty of coefficients (n_outputs, n_features), the sum of whose squares may be known."""
        squares = float(np.vdot(coef, coef)) if squares is None else squares
        l2 = self.l2_reg_strength / 2 * squares
        return l2 + self.l1_reg_strength * float(np.abs(coef).sum()) if self.l1_reg_strength else l2

    def threshold(self, shape, n_features):
        """The strength of the L1 penalty for each element of a point of some shape."""
        threshold = np.full(shape, self.l1_reg_strength)
        threshold[:, n_features:] = 0.0
        return threshold

    def settled(self, point, n_features, present=None):
        """The point with the same probabilities and the least penalty, its intercepts of mean zero.

        Parameters
        ----------
        point : array (n_outputs, n_columns)
        n_features : int
        present : array (n_outputs,) bool, or None
            Rows that may move; None for all of them.
        """
        if len(point) == 1:
            return point
        rows = point.copy() if present is None else point[present]
        coef = rows[:, :n_features]
        coef -= shift_of_least_penalty(coef, self.l1_reg_strength, self.l2_reg_strength)
        rows[:, n_features:] -= rows[:, n_features:].mean(axis=0)
        if present is None:
            return rows
        point = point.copy()
        point[present] = rows
        return point

    def gradient_bound(self, grad, n_features):
        """What F at a point of a gradient is above its minimum at the most, by the penalty's curvature alone.

        Infinite unless there is an L2 penalty and no L1 penalty, and the gradient by the intercepts is zero.
        """
        strength = self.l2_reg_strength
        if not strength or self.l1_reg_strength or grad[:, n_features:].any():
            return np.inf
        by_coef = grad[:, :n_features]
        with np.errstate(over="ignore"):
            return float(np.vdot(by_coef, by_coef)) / (2 * strength)


def penalty_strength(C, weight_sum, unit=1.0):
    """1/(C S), zero without a penalty, where the penalty of coefficients in some unit is a number."""
    if np.isinf(C):
        return 0.0
    product = C * weight_sum
    if not product * unit**2 > np.finfo(np.float64).tiny:
        raise ValueError(
            f"Expected C times the sum of the weights to be large enough to divide by, got C={C:g} and a sum of "
            f"{weight_sum:g}. Remedy: raise C."
        )
    return 1.0 / product
