"""The penalty of an objective, and bounds: strengths, values, and where among alike points it is least."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .solvers.nonsmooth import GroupedL1, SeparableL1
from .solvers.proximal import shift_of_least_penalty


@dataclass(frozen=True)
class ElasticNet:
    """l2_reg_strength/2 ||W||_F^2 + l1_reg_strength ||W||_1 of the coefficients W of a point, not of its intercepts.

    Features may have factors f: an L2 penalty of f w^2 is one of u^2 for u = sqrt(f) w, and that is what a point has
    (:func:`~.training_data.with_factors`), whatever the L1 penalty, which is sqrt(f) |u| then. Features that no penalty
    counts, of a factor of zero, are left as they are.

    Parameters
    ----------
    l2_reg_strength, l1_reg_strength : float
        (1 - l1_ratio) / (C S) and l1_ratio / (C S), S being the sum of the rows' weights.
    root : array (n_features,), or None
        The roots of the factors. None where they make no difference but to a point.
    bounds : tuple of array (n_outputs, n_features), or None
        Between which the elements of a point are to lie.
    is_grouped : bool
        Whether the L1 penalty is of the norms of the features' coefficients: sums over the features of the root of the
        sum of the squares of all classes' coefficients.
    """

    l2_reg_strength: float = 0.0
    l1_reg_strength: float = 0.0
    root: np.ndarray | None = None
    bounds: tuple | None = None
    is_grouped: bool = False

    @classmethod
    def from_C(cls, C, l1_ratio, weight_sum, unit=1.0, factor=None, bounds=None, is_grouped=False):
        """The penalty of coefficients that are for features in some ``unit``, with factors (n_features,) or without.

        Raises
        ------
        ValueError
            Where it is not a number.
        """
        strength = penalty_strength(C, weight_sum, unit)
        root = None
        if factor is not None and strength and (l1_ratio or not factor.all()):
            root = np.sqrt(np.where(np.isinf(factor), 1.0, factor))  # coefficients of infinite ones are zero
        l2, l1 = (1 - l1_ratio) * strength / unit**2, l1_ratio * strength / unit
        return cls(l2, l1, root, bounds, is_grouped and l1 > 0)

    @property
    def is_smooth(self):
        """Whether it has a derivative everywhere: it is an L2 penalty or none, without bounds."""
        return not self.l1_reg_strength and self.bounds is None

    def put_within(self, point):
        """The point (.., n_outputs, n_columns) within the bounds, in its memory."""
        if self.bounds is not None:
            coef = point[..., : self.bounds[0].shape[-1]]
            np.clip(coef, *self.bounds, out=coef)
        return point

    @cached_property
    def is_free(self):
        """Which features (n_features,) the penalty does not count; None where there are none."""
        return None if self.root is None or self.root.all() else self.root == 0

    @cached_property
    def l2_by_feature(self):
        """The strength of the L2 penalty, by feature (n_features,) where some have none."""
        return self.by_feature(self.l2_reg_strength)

    def by_feature(self, ridge, features=slice(None)):
        """A ridge for the features that are penalised, an array where some of them are not."""
        return ridge if self.is_free is None else np.where(self.is_free[features], 0.0, ridge)

    @cached_property
    def l1_by_feature(self):
        """The strength of the L1 penalty, by feature (n_features,) where it differs."""
        return self.l1_reg_strength if self.root is None else self.l1_reg_strength * self.root

    def value(self, coef, squares=None):
        """The penalty of coefficients (n_outputs, n_features), the sum of whose squares may be known."""
        if self.is_free is not None:
            penalised = coef[:, ~self.is_free]
            squares = float(np.vdot(penalised, penalised))
        elif squares is None:
            squares = float(np.vdot(coef, coef))
        l2 = self.l2_reg_strength / 2 * squares
        if not self.l1_reg_strength:
            return l2
        if self.is_grouped:
            return l2 + float((np.linalg.norm(coef, axis=0) * self.l1_by_feature).sum())
        if self.root is None:
            return l2 + self.l1_reg_strength * float(np.abs(coef).sum())
        return l2 + float(np.abs(coef).sum(axis=0) @ self.l1_by_feature)

    def nonsmooth(self, shape, n_features, held=None):
        """What of it has no derivative, and the bounds, for points of some shape.

        Parameters
        ----------
        shape : tuple
        n_features : int
        held : array (n_outputs,) bool, or None
            Rows of a point that are zero and stay so.
        """
        if self.is_grouped:
            threshold = np.zeros(shape[1])
            threshold[:n_features] = self.l1_by_feature
            return GroupedL1(threshold, np.zeros(shape[0], bool) if held is None else held)
        threshold = np.zeros(shape)
        threshold[:, :n_features] = self.l1_by_feature
        if held is not None:
            threshold[held] = np.inf
        if self.bounds is None:
            return SeparableL1(threshold)
        low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
        low[:, :n_features], high[:, :n_features] = self.bounds
        if held is not None:
            low[held], high[held] = -np.inf, np.inf
        return SeparableL1(threshold, low, high)

    def with_least_penalty(self, point, n_features, present=None):
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
        if self.is_grouped:
            coef -= coef.mean(axis=0)
        else:
            shift = shift_of_least_penalty(coef, self.l1_by_feature, self.l2_by_feature)
            if self.bounds is not None:  # which let it go so far
                low, high = (side if present is None else side[present] for side in self.bounds)
                shift = np.clip(shift, (coef - high).max(axis=0), (coef - low).min(axis=0))
            coef -= shift
            if self.bounds is not None:
                np.clip(coef, low, high, out=coef)
        if self.is_free is not None and self.bounds is None:
            coef[:, self.is_free] -= coef[:, self.is_free].mean(axis=0)
        rows[:, n_features:] -= rows[:, n_features:].mean(axis=0)
        if present is None:
            return rows
        point = point.copy()
        point[present] = rows
        return point


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
