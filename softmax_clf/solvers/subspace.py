"""Exact searches in the subspace of a preconditioned gradient and the last steps.

For data on which L-BFGS creeps: where rows of high leverage become sure of the wrong class, the objective has next to
no curvature left, a step by any quadratic model overshoots there, and a line search then shortens it for all rows. Here
no step is a model's. The scores of the rows are known along the metric's direction, after half a pass, along the last
steps, and along the point itself, which rows that are ever better fitted ask to be longer; in the subspace of these
directions the objective is a function of a few numbers, whose minimum costs no pass. On a quadratic this is the method
of conjugate gradients, for which one last step is enough; on other functions the further ones make up for what that
forgets.

G. Narkiss and M. Zibulevsky, Sequential subspace optimization method for large-scale unconstrained problems, 2005;
A. R. Conn, N. Gould, A. Sartenaer and P. L. Toint, On iterated-subspace minimization methods, 1996.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .pace import Budget
from .questions import AtScores, Naturals, Scores
from .stopping import ROUNDING, Solution, staleness, suboptimality

_LEAST_SLOTS, _MOST_SLOTS = 4, 10  # directions of a subspace
_MAX_NEWTON = 8  # steps of a search
_MAX_SHORTENED = 12
_LEAST_SLOPE = 1e-4  # share of what the slope promises, that a step of a search must bring
_ENOUGH = 1e-2  # a search ends where a further step promises less than so much of what it has brought
_REFRESH = 30  # iterations after which scores, which add up rounding errors, are made anew
_NOTHING = 1e-2  # of the rounding errors of the objective: searches know its differences better
# Of the slack of L-BFGS's metrics, which goes by the larger of two decrements: here there is one.
_SLACK = 6
_LARGE = 1e15  # elements of a direction
_MAX_IDLE = 3  # iterations that bring nothing
# The share of a metric's decrement that an iteration brings is taken from so many; what a new metric makes it, on the
# average of the families for development of benchmarks/hard_problems.py.
_WINDOW, _NEW_SHARE = 8, 0.35
_GAIN = 2  # a metric that has gone bad is made anew where that takes so many times less
_SETTLED = 10  # iterations after which those with an earlier metric say nothing of the rate


@dataclass
class Rows:
    """What :func:`subspace` knows of an objective.

    Attributes
    ----------
    search : callable n_slots -> RowSearch
    n_slots : int
        Directions that there is memory for.
    penalty_product : callable (point, point) -> float
        The bilinear form of the penalty.
    make_metric : callable point -> Metric
        One of all rows.
    metric_passes : callable () -> float
        What making it takes, in passes over all rows.
    iteration_passes : float
        What an iteration takes.
    """

    search: Callable
    n_slots: int
    penalty_product: Callable
    make_metric: Callable
    metric_passes: Callable
    iteration_passes: float


def n_slots(n_bytes, row_bytes, point_bytes):
    """How many directions there is room for in so many bytes, with their scores; None where they are too few."""
    n = int(n_bytes // (row_bytes + point_bytes)) - 1  # the scores of the point
    return None if n < _LEAST_SLOTS else min(n, _MOST_SLOTS)


class Subspace:
    """Directions whose scores are known, and the objective in the subspace of them, around a point.

    Parameters
    ----------
    rows : Rows
    """

    def __init__(self, rows):
        self.search = rows.search(rows.n_slots)
        self.penalty_product, n = rows.penalty_product, rows.n_slots
        self.directions = [None] * n
        self.products = np.zeros((n, n))  # of directions, by the penalty
        self.order = []  # slots in use but for the last, which is the point's; the newest first

    def scores_at(self, point):
        """Ask for the scores at a point, and along it; a generator, as :func:`subspace`."""
        yield Scores(point, self.search.scores, False)
        yield Scores(point, self.search.steps[-1], True)

    @property
    def scores(self):
        return self.search.scores

    def place(self, direction):
        """Take in a direction; where its scores are to be written."""
        n = len(self.directions) - 1
        self.order = self.order[: n - 1]
        slot = min(set(range(n)) - set(self.order))
        self.order = [slot, *self.order]
        self._keep(slot, direction)
        return self.search.steps[slot]

    def _keep(self, slot, direction):
        self.directions[slot] = direction
        for other in {slot, *self.order}:
            product = self.penalty_product(direction, self.directions[other])
            self.products[slot, other] = self.products[other, slot] = product

    def minimise(self, point, rounding):
        """Go to the minimum in the subspace around a point, whose scores go along.

        Returns
        -------
        point : array
            Where the objective is the least; the step to it takes the place of the newest direction.
        gained : float
            How much less it is.
        """
        own = len(self.directions) - 1
        self._keep(own, point)
        slots = np.array([*self.order, own], np.intp)
        t, gained = _newton(_Along(self, slots), rounding)
        step = sum(a * self.directions[slot] for a, slot in zip(t, slots, strict=True))
        self.search.combine(slots, t, self.order[0])
        self._keep(self.order[0], step)
        return point + step, gained


class _Along:
    """The objective, less a constant, its gradient and its Hessian as functions of the place in the subspace."""

    def __init__(self, subspace, slots):
        self.search, self.slots = subspace.search, slots
        self.products = subspace.products[np.ix_(slots, slots)]
        self.pull = self.products[-1]  # of the point, which is the last of them

    def __call__(self, t):
        loss, grad, hess = self.search.along(self.slots, t)
        pulled = self.products @ t
        return loss + self.pull @ t + t @ pulled / 2, grad + self.pull + pulled, hess + self.products


def _newton(along, rounding):
    """Minimise by Newton's method from zero; where to, and how much less the function is there."""
    t = np.zeros(len(along.slots))
    first, grad, hess = along(t)
    value = first
    for iteration in range(_MAX_NEWTON):
        direction = _newton_direction(grad, hess)
        slope = float(grad @ direction)
        if not slope < -max(_ENOUGH * (first - value) if iteration else 0.0, _NOTHING * rounding):
            break
        step = 1.0
        for _ in range(_MAX_SHORTENED):
            new_value, new_grad, new_hess = along(t + step * direction)
            if new_value <= value + _LEAST_SLOPE * step * slope:
                break
            step *= 0.3
        else:
            break
        t = t + step * direction
        value, grad, hess = new_value, new_grad, new_hess
    return t, first - value


def _newton_direction(grad, hess):
    """Newton's direction; directions that all but depend on each other, to rounding, are left out."""
    if not np.isfinite(hess).all():  # scores overflow along one of them
        return np.zeros_like(grad)
    curvature = hess.diagonal()
    # Where a direction has none left, its products with others are rounding errors.
    has_some = curvature > max(curvature.max() * np.finfo(np.float64).eps ** 2, np.finfo(np.float64).tiny)
    scale = np.zeros_like(curvature)
    scale[has_some] = 1 / np.sqrt(curvature[has_some])
    values, vectors = np.linalg.eigh(hess * scale * scale[:, None])
    known = values > 1e-12 * values[-1]
    along = np.divide(vectors.T @ (scale * grad), values, where=known, out=np.zeros_like(values))
    return -scale * (vectors @ along)


class _Service:
    """What a metric has brought so far, and whether it is to be made anew.

    Parameters
    ----------
    metric : Metric
    objective : float
        Where it begins.
    wait : int
        Iterations that it serves at least.
    """

    def __init__(self, metric, objective, wait=0):
        self.metric, self.objective, self.wait = metric, max(objective, metric.objective_there), wait
        self.decrements, self.gains = [], []

    def add(self, decrement, gained):
        """Take in an iteration: half the squared gradient in the metric, and what the search has gained."""
        self.decrements.append(decrement)
        self.gains.append(gained)

    @property
    def age(self):
        return len(self.gains)

    def is_bad(self, target):
        """Whether a new metric, and the iterations that are then left, take less than those that this one leaves.

        With what an iteration gains as a share of the decrement, which is about what is left, this falls by that share.
        """
        if self.age < max(_WINDOW, self.wait):
            return False
        decrement, gain = np.mean(self.decrements[-_WINDOW:]), np.mean(self.gains[-_WINDOW:])
        if not 0 < target < decrement:
            return False
        to_go = np.log(decrement / target)
        left = to_go * decrement / gain if gain > 0 else np.inf
        return left > _GAIN * (self.metric.passes + to_go / _NEW_SHARE)

    def successor(self, make_metric, point, objective, target):
        """The service of a new metric, where it is time for one, or this."""
        is_bad = self.is_bad(target)
        if not is_bad and self.age < self.metric.patience:
            return self
        self.metric = None  # its memory is the new one's
        # One that has gone bad soon may do so again: where the objective changes that fast, no metric lasts.
        return _Service(make_metric(point), objective, 2 * self.age if is_bad else 0)


def _bounded(direction):
    """A direction as it is, or shorter, so that its scores are numbers: where no curvature is left, steps are huge."""
    largest = float(np.abs(direction).max(initial=0.0))
    return direction if largest < _LARGE else direction / largest


def search(point, *, target, max_iter, report, **common):
    """As :func:`subspace`, from a point that no other method has been at."""
    objective, grad = yield point
    solution = Solution(point)
    if solution.is_final(point, objective, grad, objective, False, target(point), max_iter, report):
        return solution
    common |= {"target": target, "max_iter": max_iter, "report": report}
    yield from subspace(point, objective, grad, solution, **common)
    return solution


def subspace(point, objective, grad, solution, *, rows, target, max_iter, noise, report, budget=None, gives_up=None):
    """Minimise a smooth convex function of scores of rows, from where another method has got to.

    A generator as :func:`~.lbfgs.lbfgs`, that yields :class:`Scores`, :class:`AtScores` and ``Naturals``.

    1. Direction: the negative gradient as a step of the metric, and its scores.
    2. Search: the minimum in the subspace of it and the last steps.
    3. The gradient there, by the scores that are known there.
    4. Every so often the metric, of all rows, is made anew at the current point; soon, where it has gone bad.
    5. Stop when the estimate of F - F* is at most ``target(point)``.

    Parameters
    ----------
    point : array float64
    objective : float
    grad : array
        There.
    solution : Solution
        Of the method so far, which goes on.
    rows : Rows
    target, max_iter, noise, report, budget
        As in :func:`~.lbfgs.lbfgs`.
    gives_up : callable (n_iter, objective) -> bool, or None
        Whether it is worse than another method by now.

    Returns
    -------
    None or tuple
        Where it was given up, the point, the objective and the gradient there.
    """
    budget = Budget() if budget is None else budget
    space, idle = Subspace(rows), 0
    yield from space.scores_at(point)

    def make_metric(point):
        metric = rows.make_metric(point)
        budget.spend(metric.passes)
        return metric

    service = _Service(make_metric(point), objective)
    began = len(solution.loss_curve) - 1
    is_new = True
    while True:
        metric = service.metric
        (natural,) = yield Naturals(metric, [grad])
        decrement, rounding = max(float(np.vdot(grad, natural)), 0.0) / 2, noise * abs(objective)
        known = solution.loss_curve[-service.age :] if service.age > _SETTLED else solution.loss_curve[began:]
        slack = _SLACK * metric.slack * staleness(service.objective, objective)
        estimate = suboptimality(slack * decrement, known, objective)
        if is_new:  # the point that was handed over has been told of
            is_new = False
        elif solution.is_final(
            point, objective, grad, estimate, False, target(point), budget.limit(solution, max_iter), report
        ):
            return None
        elif gives_up is not None and gives_up(len(solution.loss_curve) - 1 - began, objective):
            return point, objective, grad
        direction = _bounded(-natural)
        yield Scores(direction, space.place(direction), True)
        point, gained = space.minimise(point, rounding)
        if (solution.n_iter + 1) % _REFRESH == 0:
            yield from space.scores_at(point)
        objective, grad = yield AtScores(point, space.scores)
        idle = idle + 1 if gained <= _NOTHING * rounding else 0
        if idle >= _MAX_IDLE:
            solution.is_final(point, objective, grad, estimate, False, target(point), max_iter, report)
            solution.reason = solution.reason or ROUNDING
            return None
        budget.spend(rows.iteration_passes)
        service.add(decrement, gained)
        service = service.successor(make_metric, point, objective, target(point))
