"""L-BFGS in a refreshed metric."""

import itertools

import numpy as np
from scipy.linalg.lapack import dtrtrs

from .line_search import MAX_BACKTRACKS, accepts, shortened
from .questions import Arrived, AtScores, Naturals, Scores
from .stopping import ROUNDING, Solution, staleness, suboptimality
from .subspace import subspace

_WINDOW = 4  # iterations that the rate of convergence is taken from
_RATE = 1.0  # that of a metric just made: by so much the logarithm of what is left shrinks in an iteration
# A fit that starts near its minimum ends where its first metric was made: that one serves so many times as long.
_ALIKE, _LONGER = 1.01, 4  # by the ratio of the objectives
# A fit is hard that has had so many steps shortened, or that after so many iterations, in which easy ones end, has so
# many before it.
_MANY_SHORTENED, _EASY, _MANY_LEFT = 3, 30, 30
_STANDING = 200  # iterations in all of which rounding hides what the objective has decreased: there is no more to gain
_TINY = np.finfo(np.float64).tiny
_TOGETHER_BYTES = 1 << 22  # of gradients that are solved for at once


def _is_curvature(product, terms):
    """Whether a step and a change of gradient have a product that rounding has left: ``terms`` of it add up to that."""
    return product > max(1e-14 * terms, 1e-280) and np.isfinite(product)


def _too_stiff(curvature, y_natural):
    """How many times too stiff a metric is along y, by s'y and y' times its step; None if rounding hides that."""
    return curvature / y_natural if y_natural > 1e-30 * curvature else None


def _last(items, most):
    """The last items, ``most`` of them or none."""
    return items[max(len(items) - most, 0) :]


def n_pairs(size, n_bytes):
    """How many pairs of vectors of some size a :class:`Memory` may keep in so many bytes: 5 to 20."""
    return min(max(n_bytes // (24 * size), 5), 20)


class Memory:
    """The last steps s and gradient changes y, and the product of the inverse Hessian that they imply with a gradient.

    The compact form of the two-loop recursion (R. H. Byrd, J. Nocedal and R. B. Schnabel, Representations of
    quasi-Newton matrices, Mathematical Programming 63, 1994, theorem 2.2), from a metric's inverse. Steps and the
    changes as steps of the metric, their naturals, are kept side by side: in an iteration they are read twice, once for
    their products with the gradient and its change, and once to be added up.

    Parameters
    ----------
    capacity : int
        Pairs kept.
    pieces : Pieces
        Of the size of a vector.
    """

    def __init__(self, capacity, pieces):
        size = pieces.slices[-1].stop
        self.pieces, self.capacity = pieces, capacity
        n_slots = capacity + 1  # one to spare, for a pair that may be refused
        self.vectors = np.empty((2 * n_slots, size))  # of each slot the step and the change's natural
        self.changes = np.empty((n_slots, size))
        # [a, b] = step a @ change b, where b is no older; change a @ natural of change b, metrics being symmetric
        self.curvatures, self.squares = np.zeros((2, n_slots, n_slots))
        self.order = []  # slots in use, oldest first
        # where the solver is, and the products of the gradient there with the vectors, once they are asked for
        self.grad = self.natural = self.along = None

    def clear(self):
        """Forget all pairs."""
        self.order = []

    def begin(self, grad, natural):
        """Be where the gradient is ``grad``, and ``natural`` that as a step of the metric."""
        self.grad, self.natural, self.along = grad.ravel(), natural.ravel(), None

    def add(self, direction, step, grad, natural):
        """Go on by ``step * direction``; keep the pair, unless rounding hides the curvature between s and y.

        Returns
        -------
        scale : float or None
            By how much the metric is too stiff along y; None if that is not known, or the pair not kept.
        """
        slot = min(set(range(len(self.order) + 1)) - set(self.order))
        used = 2 * max([slot, *self.order]) + 2
        grad, natural, direction = grad.ravel(), natural.ravel(), direction.ravel()
        before, natural_before = self.grad, self.natural

        def fill(piece):
            s, y, y_natural = (
                self.vectors[2 * slot, piece],
                self.changes[slot, piece],
                self.vectors[2 * slot + 1, piece],
            )
            np.multiply(direction[piece], step, out=s)
            np.subtract(grad[piece], before[piece], out=y)
            np.subtract(natural[piece], natural_before[piece], out=y_natural)
            with np.errstate(over="ignore", invalid="ignore"):  # such a pair is not kept
                own = s @ y, np.abs(s) @ np.abs(y), y @ y_natural
                # y's by themselves: as differences of the gradients' they would have the digits of these
                vectors = self.vectors[:used, piece]
                return np.concatenate([vectors @ grad[piece], vectors @ y, own])  # in half the time of one product

        sums = self.pieces.sum(fill)
        self.grad, self.natural, self.along = grad, natural, sums[:used]
        curvature, terms, y_natural = sums[2 * used :]
        if not _is_curvature(curvature, terms):
            # no use is made of them, but they may not be finite
            self.vectors[2 * slot : 2 * slot + 2] = self.changes[slot] = 0.0
            return None
        with_steps, with_naturals = sums[used : 2 * used : 2], sums[used + 1 : 2 * used : 2]
        self.curvatures[: used // 2, slot], self.curvatures[slot, slot] = with_steps, curvature
        self.squares[: used // 2, slot] = self.squares[slot, : used // 2] = with_naturals
        self.squares[slot, slot] = y_natural
        self.order = _last([*self.order, slot], self.capacity)
        return _too_stiff(curvature, y_natural)

    def renew(self, metric, *grads):
        """Start from another metric; a generator, as :func:`lbfgs`.

        Parameters
        ----------
        metric : Metric
        *grads : array
            Gradients to be solved for besides.

        Returns
        -------
        scale : float
            By how much the metric is too stiff along the last change; one where that is not known.
        naturals : list of array
            Of ``grads``.
        """
        asked = [*grads, *(self.changes[slot].reshape(grads[0].shape) for slot in self.order)]
        size = max(_TOGETHER_BYTES // grads[0].nbytes, len(grads))
        naturals = []
        for start in range(0, len(asked), size):
            answers = yield Naturals(metric, asked[start : start + size])
            for place, answer in enumerate(answers, start):
                if place < len(grads):
                    naturals.append(np.array(answer))  # no view, which would keep the others
                else:
                    self.vectors[2 * self.order[place - len(grads)] + 1] = answer.ravel()
        scale = None
        if self.order:
            used, last = max(self.order) + 1, self.order[-1]
            self.squares[:used, :used] = self.pieces.sum(
                lambda q: self.changes[:used, q] @ self.vectors[1 : 2 * used : 2, q].T
            )
            scale = _too_stiff(self.curvatures[last, last], self.squares[last, last])
        return scale or 1.0, naturals

    def hand_on(self, most, amount, shape, n_penalised):
        """Keep the last pairs for another function: with ``amount / 2`` times the square of some coordinates added.

        Parameters
        ----------
        most : int
            Pairs to keep at most.
        amount : float
            Not so negative that the function were not convex.
        shape : tuple
            Of a point.
        n_penalised : int
            Of its last axis, the first so many are these coordinates.
        """
        self.grad = self.natural = self.along = None
        self.order = _last(self.order, most)
        steps = self.vectors[::2]
        for slot in self.order:
            step, change = (rows[slot].reshape(shape)[..., :n_penalised] for rows in (steps, self.changes))
            change += amount * step
        self.curvatures[np.ix_(self.order, self.order)] = steps[self.order] @ self.changes[self.order].T
        self.order = [
            slot
            for slot in self.order
            if _is_curvature(self.curvatures[slot, slot], np.abs(steps[slot]) @ np.abs(self.changes[slot]))
        ]

    def direction(self, scale):
        """Minus the gradient times the inverse Hessian that starts from ``scale`` times the metric's, (size,)."""
        if not self.order:
            return -self.natural
        order, used = np.array(self.order), 2 * max(self.order) + 2
        if self.along is None:
            self.along = self.pieces.sum(lambda q: self.vectors[:used, q] @ self.grad[q])
        places, pairs = 2 * order, (order[:, None], order)
        curvatures, squares = self.curvatures[pairs], self.squares[pairs]
        alpha = dtrtrs(curvatures, self.along[places])[0]
        rest = curvatures.diagonal() * alpha - scale * (self.along[places + 1] - squares @ alpha)
        coefficients = np.zeros(used)
        coefficients[places] = -dtrtrs(curvatures, rest, trans=1)[0]
        coefficients[places + 1] = scale * alpha
        result = np.empty_like(self.natural)

        def combine(piece):
            np.multiply(self.natural[piece], -scale, out=result[piece])
            result[piece] += coefficients @ self.vectors[:used, piece]

        self.pieces.each(combine)
        return result


def run(solver, evaluate, objective=None):
    """Let a solver name points and tell it the objective there, until it has ended.

    Parameters
    ----------
    solver : generator
        As :func:`lbfgs` is.
    evaluate : callable point -> (objective, gradient)
    objective : object with ``raw_scores``, ``evaluate_at`` and ``arrived``
        Where the solver knows of rows.

    Returns
    -------
    Solution
    """
    answer = None
    while True:
        try:
            asked = solver.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(asked, Naturals):
            answer = asked.answer()
        elif isinstance(asked, Arrived):
            answer = objective.arrived()
        elif isinstance(asked, Scores):
            answer = objective.raw_scores(asked.point, asked.out, asked.is_direction)
        elif isinstance(asked, AtScores):
            answer = objective.evaluate_at(asked.point, asked.scores)
        else:
            answer = evaluate(asked)


def _iterations_left(excess):
    """How many there are left at the rate of the last ones."""
    if len(excess) <= _WINDOW:
        return np.inf
    gained = excess[-1 - _WINDOW] - excess[-1]
    return _WINDOW * excess[-1] / gained if gained > 0 else np.inf


def _is_hard(iteration, left, n_shortened, rows):
    """Whether a fit had better go on by :func:`~.subspace.subspace`, which takes a dear metric and then few passes."""
    if n_shortened >= _MANY_SHORTENED:
        return True
    return iteration >= _EASY and _MANY_LEFT + rows.metric_passes() / 2 < left < np.inf


def lbfgs(point, make_metric, *, target, max_iter, noise, report, memory, before=None, rows=None):
    """Minimise a smooth convex function.

    A generator that yields points, to be sent (objective, gradient) there, and :class:`Naturals`, to be sent steps.

    1. Step: the L-BFGS direction, its initial matrix being the metric scaled to the last step.
    2. Line search from step one: accepted on sufficient decrease, or, where rounding hides that, on a slope that has
       shrunk while the objective stands (W. W. Hager and H. Zhang, SIAM Journal on Optimization 16, 2005, section 2).
    3. Every so often the metric is made anew at the current point, unless what is left takes less time; steps and
       gradient changes, being facts about the function, are kept. A metric that was handed on with the memory, from
       another function, is made anew as soon as that pays; a first one that was made near the minimum, much later.
    4. Stop when the estimate of F - F* is at most ``target(point)``.

    Parameters
    ----------
    point : array float64
        Of any shape.
    make_metric : callable point -> Metric
    target : callable point -> float
        What F - F* must be at most.
    max_iter : int
    noise : float
        Relative rounding error of the objective.
    report : callable Solution -> bool
        Told of the start and of each iteration; whether to stop there.
    memory : Memory
        Its pairs are believed, and it is left with the last ones.
    before : tuple of array, or None
        Another point whose gradient is known, and that: one more pair.
    rows : Rows, or None
        Of the objective: where progress is slow, :func:`~.subspace.subspace` goes on.

    Returns
    -------
    Solution
    """
    shape, pieces, made_at = point.shape, memory.pieces, 0
    objective, grad = yield point
    metric = make_metric(point)
    objective_there = max(objective, metric.objective_there)  # where the metric was made
    gap = next_refresh = metric.patience
    solution, at_origin = Solution(point), False
    excess = []  # of the estimates over the target, in logarithms, since the metric was made
    handed_on, n_shortened = metric.is_handed_on, 0
    if before is None:
        scale, (natural,) = yield from memory.renew(metric, grad)
        memory.begin(grad, natural)
    else:
        point_before, grad_before = before
        scale, (natural, natural_before) = yield from memory.renew(metric, grad, grad_before)
        memory.begin(grad_before, natural_before)
        scale = memory.add(point - point_before, 1.0, grad, natural) or scale
        del natural_before

    def moved(point, step, direction):
        result, point, direction = np.empty(shape), point.ravel(), direction.ravel()
        flat = result.ravel()
        pieces.each(lambda q: np.add(point[q], step * direction[q], out=flat[q]))
        return result

    def dot(a, b):
        a, b = a.ravel(), b.ravel()
        return float(pieces.sum(lambda q: a[q] @ b[q]))

    for iteration in itertools.count():
        direction = memory.direction(scale).reshape(shape)
        slope = dot(grad, direction)
        rounding, square = noise * abs(objective), dot(grad, natural)
        descends = slope < 0 or not grad.any()
        if descends:
            decrement = metric.slack * max(square, -slope) / 2
        else:  # either rounding errors are all that is left, or they have made the metric indefinite
            decrement = rounding if max(abs(slope), abs(square)) <= rounding else np.inf
        decrement *= staleness(objective_there, objective)
        estimate = suboptimality(decrement, solution.loss_curve[made_at:], objective)
        allowed = target(point)
        if solution.is_final(point, objective, grad, estimate, False, allowed, max_iter, report):
            return solution
        if iteration >= _STANDING and solution.loss_curve[-1 - _STANDING] - objective <= rounding:
            solution.reason = ROUNDING
            return solution
        excess.append(np.log(estimate) - np.log(max(allowed, _TINY)))
        left = _iterations_left(excess)
        is_hard = rows is not None and _is_hard(iteration, left, n_shortened, rows)

        # line search
        step = 1.0
        for _ in range(MAX_BACKTRACKS if descends and not is_hard else 0):
            new_objective, new_grad = yield (trial := moved(point, step, direction))
            new_slope = dot(new_grad, direction)  # not finite, if any of the gradient is not
            if accepts(step, objective, slope, new_objective, new_slope, rounding):
                break
            step = shortened(step, objective, slope, new_objective, new_slope)
            n_shortened += 1
        else:
            if rows is not None:
                memory.clear()
                metric = None  # its memory is the next one's
                common = {"rows": rows, "target": target, "max_iter": max_iter, "noise": noise, "report": report}
                return (yield from subspace(point, objective, grad, solution, **common))
            if at_origin or max(abs(slope), abs(square)) <= 10 * rounding:
                solution.reason = ROUNDING
                return solution
            # Far out the Hessian all but vanishes, and its steps lead nowhere or up. At the origin it is largest.
            metric, made_at, at_origin = make_metric(np.zeros_like(point)), iteration, True
            objective_there = max(solution.loss_curve[0], objective)
            memory.clear()
            excess, handed_on = [], False
            scale, (natural,) = yield from memory.renew(metric, grad)
            memory.begin(grad, natural)
            next_refresh = iteration + 1 + metric.patience
            continue

        at_origin = False
        previous_grad, point, objective, grad = grad, trial, new_objective, new_grad
        if iteration + 1 == next_refresh == gap and not handed_on and objective_there <= _ALIKE * objective:
            next_refresh *= _LONGER
        renewed = iteration + 1 >= next_refresh and left > metric.passes
        if handed_on and len(excess) > _WINDOW:
            renewed = renewed or left > metric.passes + excess[-1] / _RATE
        if renewed:
            metric = None  # the old one's memory is the new one's
            metric = make_metric(point)
            objective_there = max(objective, metric.objective_there)
            _, (natural, previous_natural) = yield from memory.renew(metric, grad, previous_grad)
            memory.begin(previous_grad, previous_natural)
            made_at, excess, handed_on = iteration + 1, [], False
            gap = max(gap * 3 // 2, metric.patience)
            next_refresh = iteration + 1 + gap
        else:
            (natural,) = yield Naturals(metric, [grad])
        scale = memory.add(direction, step, grad, natural) or scale
