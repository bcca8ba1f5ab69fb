"""Newton's method, for problems so small that the whole Hessian is affordable."""

import itertools
from dataclasses import replace

import numpy as np

from .lbfgs import lbfgs
from .pace import Budget
from .questions import Arrived
from .stopping import ROUNDING, Solution

_GOOD = 0.6  # share of what the quadratic promises, from which on it is believed more
_BELIEVED, _DOUBTED = 0.25, 4.0  # what theta is multiplied by then, and where a step had to be shortened
_LEAST = 1e-2  # theta below which there is none
_LONGEST, _TRIALS = 1e6, 60  # a step, and lengths tried of it
_SUFFICIENT = 1e-4  # share of what the slope promises that a step must gain
_MOST_LEFT = 0.4  # of the slope
_EPS = np.finfo(np.float64).eps
# L-BFGS, and the searches that it hands over to, may take as many passes as so many Hessians, and so many at least.
_FIRST, _HESSIANS = 20, 3
_CHECKED, _SURELY_CHECKED = 0.2, 0.4  # share of its time that a Hessian at its end may take, if that is short or long
_STANDING = 3  # iterations in a row that rounding lets gain nothing


def relay(start, curvature, make_metric, *, max_iter, memory, before=None, rows=None, plain=None, bound=None, **common):
    """L-BFGS, and then Newton's method where it has not converged in the time that some Hessians take.

    Easy problems are done by then, and of others there is no telling how long L-BFGS would take, nor is its estimate to
    be relied on: where one Hessian is cheap beside the passes, it is what decides.

    Parameters
    ----------
    start : array float64
    curvature : object with ``plan``, and ``small`` as :func:`newton` takes it
    make_metric, max_iter, memory, before, rows, plain, bound
        As in :func:`~.lbfgs.lbfgs`.
    **common : dict
        For both.

    Returns
    -------
    Solution
    """
    exact_passes = curvature.plan.exact_passes
    budget = Budget(max(_FIRST, _HESSIANS * exact_passes))
    ways = {"memory": memory, "before": before, "rows": rows, "plain": plain, "bound": bound}
    solution = yield from lbfgs(start, make_metric, max_iter=max_iter, budget=budget, **ways, **common)
    share = _CHECKED if solution.n_iter < _FIRST else _SURELY_CHECKED
    taken = solution.n_iter * curvature.plan.iteration_passes
    left_alone = solution.converged and (solution.is_bound or curvature.plan.exact_passes > share * taken)
    if left_alone or solution.stopped or solution.n_iter == max_iter or np.isinf(curvature.plan.exact_passes):
        return solution
    return (yield from newton(solution.point, curvature.small, max_iter=max_iter, solution=solution, **common))


def newton(point, small, *, target, max_iter, noise, report, solution=None):
    """Minimise a smooth convex function by Newton steps.

    A generator that yields its first point, to be sent (objective, grad) there, as :func:`~.lbfgs.lbfgs`, and for each
    of those that follow, where it knows all by itself, :class:`Arrived`.

    1. Step: Newton's, with more curvature than the Hessian has for rows that are sure of a wrong class. How much more,
       theta, is at first none, becomes more where a step had to be shortened, and less as steps succeed.
    2. Line search: the scores of the step being known it takes no pass over the rows, and may go further than one.
    3. Stop when F - F* is bounded by ``target(point)``, here or where the last step has ended, which was known when it
       began: the last Hessian is that of the point before the last. What it costs to keep coefficients in float32 is
       part of it; where that is more than there is to gain, there are no more digits.

    Parameters
    ----------
    point : array float64
        Of any shape.
    small : SmallObjective
        With ``cost_of_rounding(point)``, and ``at(point, theta)``, an object that has ``objective``, ``slope``,
        ``step``, ``whole_grad``, ``along(length)``, ``may_be_done(allowed, after_step)`` and
        ``bound(length, allowed)``; and ``grad(point)``.
    target, max_iter, noise, report
        As in :func:`~.lbfgs.lbfgs`.
    solution : Solution, or None
        Of another solver, that has ended at the point and is gone on from.

    Returns
    -------
    Solution
    """
    theta, standing, here, known, best = 0.0, 0, None, (np.inf, False), None
    if solution is None:
        solution, report_here = Solution(point), report
        objective, grad = yield point
    else:
        objective, grad, report_here = solution.objective, solution.grad, lambda solution: False
        solution.loss_curve.pop()  # the solver before has reported this point
        solution.reason, solution.converged = "", False
    cost, allowed = small.cost_of_rounding(point), target(point)
    for iteration in itertools.count(len(solution.loss_curve)):
        if known[0] > allowed:
            here = small.at(point, theta)
            objective, grad = here.objective, here.whole_grad
            if here.may_be_done(allowed) or iteration == max_iter:
                known = min(known, here.bound(0.0, allowed))
        known = min(known, (objective, True))
        if solution.is_final(point, objective + cost, grad, known[0] + cost, known[1], allowed, max_iter, report_here):
            return _ended(solution, best, small)
        # what float32 cannot hold of large coefficients may cost more than a step gains
        best = replace(solution) if best is None or solution.objective < best.objective else best
        report_here = report
        if here is None:
            here = small.at(point, theta)

        while True:
            length, gained = _line_search(here, 4 * _EPS * abs(objective))
            if length > 0 or theta == 1.0:
                break
            theta = min(max(_DOUBTED * theta, _BELIEVED), 1.0)
            here = small.at(point, theta)
        trial = point + length * here.step
        cost_there = small.cost_of_rounding(trial)
        standing = standing + 1 if gained + cost - cost_there <= 4 * _EPS * abs(objective) else 0
        ends = not length > 0 or standing > _STANDING
        if ends or cost_there > cost + gained:
            known = min(known, here.bound(0.0, allowed))
        if ends or cost_there > max(cost + gained, known[0]):
            solution.suboptimality, solution.is_bound = known[0] + cost, known[1]
            solution.reason = ROUNDING
            return _ended(solution, best, small)
        if length < 1.0:
            theta = min(max(_DOUBTED * theta, _BELIEVED), 1.0)
        elif gained >= _GOOD * -here.slope / 2:
            theta *= _BELIEVED if theta > _LEAST else 0.0
        yield Arrived(trial)
        point, cost, allowed = trial, cost_there, target(trial)
        objective, grad, known = here.objective - gained, None, (np.inf, False)
        if here.may_be_done(allowed, after_step=True):
            known = here.bound(length, allowed)
        here = None


def _ended(solution, best, small):
    """The solution, at the best point unless it has converged, and with its gradient unless its bound says all."""
    if best is not None and not solution.converged and best.objective < solution.objective:
        solution = solution.back_at(best)
    if solution.grad is None and not (solution.converged and solution.is_bound):
        solution.grad = small.grad(solution.point)
    return solution


def _line_search(here, rounding):
    """How far to go along a step, and what that gains: where the slope has all but gone; 0, 0 if nowhere is lower."""
    steep, low, high, length = -here.slope, 0.0, None, 1.0
    if not (steep > 0 and np.isfinite(steep)):
        return 0.0, 0.0
    slope_low, gained_low = -steep, 0.0
    for trial in range(_TRIALS):
        value, slope = here.along(length)
        gained = here.objective - value
        if not np.isfinite(slope) or slope > _MOST_LEFT * steep or gained < _SUFFICIENT * length * steep - rounding:
            high, slope_high = length, slope
        elif slope < -_MOST_LEFT * steep and length < _LONGEST:
            low, slope_low, gained_low = length, slope, gained
        else:
            return length, gained
        if high is None:
            length *= 3.0
        else:
            share = -slope_low / (slope_high - slope_low) if slope_high > 0 and np.isfinite(slope_high) else 0.1
            share = min(max(share, 0.05), 0.95) if trial % 3 < 2 else 0.5  # or a wall would let it creep
            length = low + share * (high - low)
    return low, gained_low
