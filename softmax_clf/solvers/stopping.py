"""What a solver reports: a record for each iteration, and how it ended."""

from dataclasses import dataclass, field, replace

import numpy as np

ROUNDING = "rounding errors hide any further decrease of the objective"  # why a solver may stop
_TINY = float(np.finfo(np.float64).tiny)
# Times the relative rounding error of the objective: no less is asked for. Bounds count a few more of these errors than
# there are, and would not get below.
_DIGITS = 40


@dataclass
class Solution:
    """How a solver ended.

    Attributes
    ----------
    point : array float64
        As the objective has it.
    objective : float
        F at the point.
    grad : array float64, or None
        Of F, without an L1 penalty, at the point. None where the bound says all.
    suboptimality : float
        What F(point) - F* is at the most, or the solver's estimate of it.
    is_bound : bool
        Whether it is the first of these.
    converged : bool
    stopped : bool
        Whether it was asked to stop before.
    n_iter : int
    reason : str
        Why it stopped, to be read after "it stopped because".
    loss_curve : list of float
        F before the first iteration and after each.
    penalty : float, or None
        The second part of F at the point, where the solver knows it.
    nonzero : tuple of array of intp, or None
        Outputs and features of the coefficients of the point that are not zero, where the solver knows of few.
    """

    point: np.ndarray
    objective: float = np.inf
    grad: np.ndarray | None = None
    suboptimality: float = np.inf
    is_bound: bool = False
    converged: bool = False
    stopped: bool = False
    n_iter: int = 0
    reason: str = ""
    loss_curve: list = field(default_factory=list)
    penalty: float | None = None
    nonzero: tuple | None = None

    def is_final(self, point, objective, grad, suboptimality, is_bound, allowed, max_iter, report):
        """Take in an iteration and tell of it; whether it is the last.

        Parameters
        ----------
        point, objective, grad, suboptimality, is_bound
            As the attributes.
        allowed : float
            What the suboptimality may be where it is converged.
        max_iter, report
            As in :func:`~.lbfgs.lbfgs`.

        Returns
        -------
        bool
        """
        self.point, self.objective, self.grad = point, objective, grad
        self.suboptimality, self.is_bound = suboptimality, bool(is_bound)
        self.n_iter = len(self.loss_curve)
        self.loss_curve.append(objective)
        self.stopped = bool(report(self))
        if suboptimality <= allowed:
            self.converged, self.stopped = True, False
        elif self.stopped:
            self.reason = "it was asked to"
        elif self.n_iter == max_iter:
            self.reason = f"max_iter={max_iter} iterations were done"
        return self.converged or bool(self.reason)

    def prove(self, bound, enough):
        """Put a bound in the place of an estimate, where it is low enough."""
        if bound <= enough:
            self.suboptimality, self.is_bound = bound, True

    def back_at(self, best):
        """How it ended, but at a point on its way."""
        if best.n_iter == self.n_iter:
            return self
        # the minimum is nearer to where the solver ended, and better known from there
        above = best.objective - self.objective + self.suboptimality
        at = {name: getattr(best, name) for name in ("point", "objective", "grad", "penalty", "nonzero")}
        return replace(self, **at, suboptimality=above, converged=False)


class BestIterate:
    """The point with the least loss on rows that are not fitted, among those that a solver has been at.

    Parameters
    ----------
    patience : int
        Iterations without a smaller loss after which it is time to stop.

    Attributes
    ----------
    loss_curve : list of float
        That loss before the first iteration and after each.
    """

    def __init__(self, patience):
        self.patience, self.loss_curve, self.solution = patience, [], None

    def add(self, solution, loss):
        """Take note of where a solver is; whether it is time to stop."""
        if self.solution is None or loss < min(self.loss_curve):
            self.solution = replace(solution)
        self.loss_curve.append(loss)
        return solution.n_iter - self.solution.n_iter >= self.patience

    def in_place_of(self, solution):
        """The end of a solver with the best point in the place of its own."""
        return solution.back_at(self.solution)


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
    return min(bound, max((1e6 * tol) ** 2 * penalty, _DIGITS * noise * null_objective))


def staleness(objective_there, objective):
    """How many times too stiff a metric may be by now, by the objective where it was made and the present one.

    The better rows are fitted, the less they curve the objective.
    """
    # (an objective that has all but vanished is a better bound itself)
    return max(objective_there / objective, 1.0) if objective > 1e-200 * abs(objective_there) else 1.0


def suboptimality(decrement, loss_curve, objective):
    """Estimate what F is above its minimum, rather too much than too little.

    ``decrement`` is half the squared gradient in the metric, times its slack. Where directions rule in which the
    metric is poor, progress is slow and steady: then what is left follows as a geometric series from the decrease over
    the last fifth of the iterations that this metric has seen, ``loss_curve``, and over the fifth before. The estimate
    is the larger of both; and the objective itself, whose minimum is not negative, is a bound.
    """
    estimate = decrement
    window = max(3, len(loss_curve) // 5)
    if len(loss_curve) >= 2 * window:
        recent = loss_curve[-window] - objective
        ratio = recent / max(loss_curve[-2 * window] - loss_curve[-window], _TINY)
        ratio = min(max(ratio, 0.0), 0.95)
        estimate = max(estimate, 3 * recent * ratio / (1 - ratio))
    return min(estimate, objective)
