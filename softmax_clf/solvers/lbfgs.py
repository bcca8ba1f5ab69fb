"""L-BFGS in a refreshed metric."""

import numpy as np
from scipy.linalg.lapack import dtrtrs

from .conjugate import newton_step
from .line_search import MAX_BACKTRACKS, accepts, shortened
from .pace import Budget, Pace
from .questions import Arrived, AtScores, Curve, Naturals, Product, Scores
from .refresh import Refresh
from .stopping import ROUNDING, Solution, suboptimality
from .subspace import subspace
from .ways import CHECK, DIAGONAL, METRIC, Ways

# By how much what a diagonal's steps promise, and its pace, may be too small as an estimate of F - F*; half the squared
# gradient in a metric is the largest of so many where a diagonal came before, or it may just happen to be small; of its
# slack, the first metric that all is checked by needs this share. Metrics are new for so many iterations.
_STEP_SLACK, _PACE_SLACK, _RECENT, _CHECK_SLACK, _SETTLED = 20, 3, 3, 0.4, 4
_PROVABLE = 3  # times what is allowed: a bound of the intercepts as they are may be lower than of the best ones
_STANDING = 200  # iterations in all of which rounding hides what the objective has decreased: there is no more to gain
_TINY = float(np.finfo(np.float64).tiny)
_TOGETHER_BYTES = 1 << 22  # of gradients that are solved for at once


def _is_curvature(product, terms):
    """Whether the product of a step and a change of the gradient is positive beyond its rounding errors.

    ``terms`` is the sum of the sizes of the terms that add up to the product.
    """
    return product > max(1e-14 * terms, 1e-280) and np.isfinite(product)


def _too_stiff(curvature, y_natural):
    """How many times too stiff a metric is along a change y of the gradient; None if rounding hides that.

    ``curvature`` is s'y, and ``y_natural`` the product of y with y as a step of the metric.
    """
    return curvature / y_natural if y_natural > 1e-30 * curvature else None


def _last(items, most):
    """The last items, ``most`` of them or none."""
    return items[max(len(items) - most, 0) :]


def n_pairs(size, n_bytes, most=20):
    """How many pairs of vectors of some size a :class:`Memory` may keep in so many bytes: 5, or up to ``most``."""
    return min(max(n_bytes // (24 * size), 5), most)


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
        if self.along is None:
            self.along = self._along(self.grad)
        return self._times_inverse(self.natural, self.along, scale, sign=-1.0)

    def solve(self, vector, natural):
        """A gradient times the inverse Hessian that starts from the metric's, whose step it is, all of one shape."""
        if not self.order:
            return natural
        along = self._along(vector.ravel())
        return self._times_inverse(natural.ravel(), along, scale=1.0, sign=1.0).reshape(vector.shape)

    def _along(self, vector):
        """Products with steps and naturals, in the order of their slots."""
        used = 2 * max(self.order) + 2
        return self.pieces.sum(lambda q: self.vectors[:used, q] @ vector[q])

    def _times_inverse(self, natural, along, scale, sign):
        """``sign`` times the inverse Hessian times a vector that is ``natural`` as a step of the metric."""
        order = np.array(self.order)
        places, pairs = 2 * order, (order[:, None], order)
        curvatures, squares = self.curvatures[pairs], self.squares[pairs]
        alpha = dtrtrs(curvatures, along[places])[0]
        rest = curvatures.diagonal() * alpha - scale * (along[places + 1] - squares @ alpha)
        coefficients = np.zeros(len(along))
        coefficients[places] = sign * dtrtrs(curvatures, rest, trans=1)[0]
        coefficients[places + 1] = -sign * scale * alpha
        result = np.empty_like(natural)

        def combine(piece):
            np.multiply(natural[piece], sign * scale, out=result[piece])
            result[piece] += coefficients @ self.vectors[: len(along), piece]

        self.pieces.each(combine)
        return result


def run(solver, evaluate, objective=None):
    """Let a solver name points and tell it the objective there, until it has ended.

    Parameters
    ----------
    solver : generator
        As :func:`lbfgs` is.
    evaluate : callable point -> (objective, gradient)
    objective : object with ``raw_scores``, ``evaluate_at``, ``arrived``, ``curve`` and ``hessian_product``
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
        elif isinstance(asked, Curve | Product):
            answer = asked.answer(objective)
        elif isinstance(asked, Scores):
            answer = objective.raw_scores(asked.point, asked.out, asked.is_direction)
        elif isinstance(asked, AtScores):
            answer = objective.evaluate_at(asked.point, asked.scores)
        else:
            answer = evaluate(asked)


def lbfgs(
    point,
    make_metric,
    *,
    target,
    max_iter,
    noise,
    report,
    memory,
    before=None,
    rows=None,
    plain=None,
    budget=None,
    bound=None,
):
    """Minimise a smooth convex function.

    A generator that yields points, to be sent (objective, gradient) there, and :class:`Naturals`, to be sent steps.

    1. Step: the L-BFGS direction, its initial matrix being the metric scaled to the last step.
    2. Line search from step one: accepted on sufficient decrease, or, where rounding hides that, on a slope that has
       shrunk while the objective stands (W. W. Hager and H. Zhang, SIAM Journal on Optimization 16, 2005, section 2).
    3. Every so often the metric is made anew at the current point (:class:`~.refresh.Refresh`); steps and gradient
       changes, being facts about the function, are kept. Where no step is found, it is made at the origin.
    4. Stop when the estimate of F - F*, or a bound, is at most ``target(point)``.

    With ``plain`` it may begin with a diagonal in the place of a metric, or go back to it: see :mod:`~.ways`.

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
    plain : Plain, or None
    budget : Budget, or None
        What all may take.
    bound : DualBound, or None
        Of F - F*.

    Returns
    -------
    Solution
    """
    budget = Budget() if budget is None else budget
    descent = _Descent(point, make_metric, target, max_iter, noise, report, memory, rows, plain, budget, bound)
    yield from descent.begin(before)
    while True:
        yield from descent.aim()  # 1.
        if descent.stops():  # 4.
            return descent.solution
        is_hard = descent.is_hard()
        found = False if is_hard else (yield from descent.search())  # 2.
        if found:
            yield from descent.go_on()  # 3.
        elif descent.ways.is_plain and not is_hard:
            yield from descent.stay_with_metric()
        elif rows is not None:
            if (yield from descent.hand_over()):
                return descent.solution
        elif descent.is_out_of_digits():
            descent.solution.reason = ROUNDING
            return descent.solution
        else:
            yield from descent.return_to_origin()


class _Descent:
    """Where :func:`lbfgs` is, and each of its steps. Parameters as there.

    Attributes
    ----------
    point, objective, grad
        Where it is.
    natural : array
        The gradient as a step of the metric.
    scale : float
        By how much the metric is too stiff along the last step.
    direction : array
    slope, square : float
        The gradient along the direction, and squared in the metric.
    left : float
        Iterations that are left, at the rate of the last ones.
    ways : Ways
        With a diagonal, with a metric, or by searches.
    trial : tuple (step, point, objective, grad)
        What the line search has found.
    newton, came_by : NewtonStep, or None
        From the point, and that which has led to it.
    surprise : float
        The share of its promise by which that has brought more or less.
    above : float, or None
        F - F*, where Hessian products tell it.
    bounded, proven : float
        F - F* at the most, if the intercepts were the best ones; and as it is, where that is not much above what is
        allowed.
    """

    def __init__(self, point, make_metric, target, max_iter, noise, report, memory, rows, plain, budget, bound):
        self.bound, self.bounded, self.proven = bound, np.inf, np.inf
        self.point, self.make_metric, self.memory, self.rows = point, make_metric, memory, rows
        self.target, self.max_iter, self.noise, self.report = target, max_iter, noise, report
        self.plain, self.budget, self.ways = plain, budget, Ways(plain, rows, budget, max_iter)
        self.solution = Solution(point)
        self.at_origin, self.trial, self.squares, self.left = False, None, [], np.inf
        self.newton, self.came_by, self.surprise = None, None, 0.0
        self.is_told = False  # whether the point has been told of

    @property
    def iteration(self):
        """Of the point that was told of last."""
        return len(self.solution.loss_curve) - 1

    def begin(self, before):
        """Evaluate the start and make a metric there."""
        self.objective, self.grad = yield self.point
        if self.bound is not None:
            self.bound.begin(self.point, self.grad)
        self._make_metric()
        self.refresh = Refresh(self.metric, self.objective)
        if before is None:
            yield from self._renew()
            return
        point, grad = before
        self.scale, (self.natural, natural) = yield from self.memory.renew(self.metric, self.grad, grad)
        self.memory.begin(grad, natural)
        self.scale = self.memory.add(self.point - point, 1.0, self.grad, self.natural) or self.scale

    def _make_metric(self):
        """Make the metric here, of the kind that the way has."""
        self.metric, self.squares = None, []  # the old one's memory is the new one's
        makers, plain = {METRIC: self.make_metric}, self.plain
        if plain is not None:
            check = plain.make_common if self.ways.takes_newton_steps else plain.make_check
            makers |= {DIAGONAL: lambda point: plain.make_diagonal(), CHECK: check}
        self.metric = makers[self.ways.way](self.point)
        self.budget.spend(self.metric.passes)

    def _turn_to(self, way, iteration):
        """Take another way from an iteration on, whose point is here; whether a metric was made."""
        makes_metric = self.ways.take(way, iteration)
        if makes_metric:
            self._make_metric()
        self.refresh = Refresh(self.metric, self.objective, iteration)
        return makes_metric

    def _renew(self):
        """Let the memory start from the metric, here."""
        self.scale, (self.natural,) = yield from self.memory.renew(self.metric, self.grad)
        self.memory.begin(self.grad, self.natural)

    def aim(self):
        """Find a direction, and whether it leads down."""
        self.allowed, self.newton, self.above = self.target(self.point), None, None
        self._prove()
        if self.ways.takes_newton_steps and self.proven > self.allowed:
            yield from self._aim_by_products()
        if self.newton is None:
            self.direction = self.memory.direction(self.scale).reshape(self.point.shape)
        self.slope = self._dot(self.grad, self.direction)
        self.rounding, self.square = self.noise * abs(self.objective), self._dot(self.grad, self.natural)
        self.descends = self.slope < 0 or not self.grad.any()

    def _prove(self):
        """Find a bound, where it may end the fit."""
        if self.bound is None:
            return
        self.bounded, self.proven = self.bound.by_coefficients(self.grad), np.inf
        if self.bounded <= _PROVABLE * self.allowed:
            self.proven = self.bound(self.point, self.objective, self.grad, self.allowed)

    def _aim_by_products(self):
        """Find Newton's step, unless that which has led here has left so little that this is the end."""
        if self.came_by is not None:
            gained = self.solution.objective - self.objective
            square = self._dot(self.grad, self.natural) / 2
            self.above = self.came_by.above_after(gained, square, self.surprise)
            self.surprise = self.came_by.surprise(gained)
            self.came_by = None
            if self.above <= self.allowed:
                return
        yield Curve(self.point)
        newton = yield from newton_step(self.grad, self._inverse, self.ways.most_products())
        passes = newton.n_products + 0.5
        self.budget.spend(passes)
        if not newton.is_solved and newton.promised > 0:
            self.ways.lack_products(self.iteration + 1, passes)
            return
        self.newton, self.direction, self.above = newton, newton.step, newton.above(self.surprise)

    def _inverse(self, vector):
        """A vector times the inverse Hessian, by the metric and what steps have shown."""
        return self.memory.solve(vector, self.metric.solve(vector))

    def stops(self):
        """Take note of an iteration and tell of it; whether it is the last."""
        if self.is_told:
            self.is_told = False
            return False
        solution, ways, allowed = self.solution, self.ways, self.allowed
        goal = max(allowed, self.rounding, _TINY)
        self.pace = Pace([*solution.loss_curve[ways.began :], self.objective], goal)
        self.estimate = self._plain_estimate() if ways.is_plain else self._estimate()
        if self.above is not None and self.descends:
            self.estimate = min(self.above, self.objective)
        claim = self.estimate if ways.vouches else max(self.estimate, 2 * allowed)
        if self.newton is not None:  # not taken yet: rows that are sure of a wrong class have hidden 19 times as much
            claim = max(claim, allowed / 2)
        is_bound = self.proven <= max(claim, allowed)
        known = self.point, self.objective, self.grad, self.proven if is_bound else claim, is_bound, allowed
        if solution.is_final(*known, self.budget.limit(solution, self.max_iter), self.report):
            return True
        if ways.way == CHECK and self.iteration == ways.began:
            ways.checked(self.estimate, self.pace.goal)
        curve = solution.loss_curve
        if self.iteration >= _STANDING and curve[-1 - _STANDING] - self.objective <= self.rounding:
            solution.reason = ROUNDING
            return True
        if not ways.is_plain:
            self.refresh.note(self.estimate, allowed)
            self.left = self.refresh.iterations_left()
        return False

    def _estimate(self):
        """Of F - F*."""
        slope, square = self.slope, self.square
        if self.descends:
            self.squares.append(max(square, -slope))
            recent = self.squares[-_RECENT:] if self.ways.began else self.squares[-1:]
            is_first = self.ways.way == CHECK and self.ways.n_checked <= 1
            is_new = is_first and self.iteration + 1 - self.ways.began < _SETTLED
            slack = self.metric.slack * (_CHECK_SLACK if is_new else 1.0)
            decrement = slack * max(recent) / 2
        else:  # either rounding errors are all that is left, or they have made the metric indefinite
            decrement = self.rounding if max(abs(slope), abs(square)) <= self.rounding else np.inf
        decrement *= self.refresh.staleness(self.objective)
        made_at = self.refresh.made_at
        # a metric that has hardly been used has not shown that it is faster than the one before
        since = made_at if self.iteration + 1 - made_at > _SETTLED else self.ways.began
        return suboptimality(decrement, self.solution.loss_curve[since:], self.objective)

    def _plain_estimate(self):
        """Of F - F*, with a diagonal, whose squares tell nothing."""
        return min(max(_STEP_SLACK * -self.slope, _PACE_SLACK * self.pace.above), self.objective)

    def is_hard(self):
        """Whether searches had better go on."""
        return self.ways.is_for_searches(self.iteration, self.pace, self.left)

    def search(self):
        """Search along the direction, from step one; whether a point was found."""
        step = self._first_step()
        for _ in range(MAX_BACKTRACKS if self.descends else 0):
            point = self._moved(step)
            objective, grad = yield point
            slope = self._dot(grad, self.direction)  # not finite, if any of the gradient is not
            if accepts(step, self.objective, self.slope, objective, slope, self.rounding):
                self.trial = step, point, objective, grad
                return True
            step = shortened(step, self.objective, self.slope, objective, slope)
            self.ways.n_shortened += 1
        return False

    def _first_step(self):
        """The step to try first: one, but where no curvature is known yet no further than twice to where F is zero.

        No quadratic that is nowhere below zero has its minimum beyond that. A diagonal promises many times as much
        where features depend on each other; from where such a step leads it takes long to come back.
        """
        if not self.ways.is_plain or self.memory.order or not self.slope < 0:
            return 1.0
        return min(1.0, 2 * self.objective / -self.slope)

    def is_out_of_digits(self):
        """Whether, where no point was found, none will be."""
        return self.at_origin or max(abs(self.slope), abs(self.square)) <= 10 * self.rounding

    def hand_over(self):
        """Let searches in subspaces go on from here; whether they have ended, or were given up."""
        gives_up = self.ways.patience(self.iteration, self.pace, self.objective)
        spent, self.metric = self.budget.spent, None  # its memory is the next one's
        known = self.point, self.objective, self.grad, self.solution
        common = {"target": self.target, "max_iter": self.max_iter, "noise": self.noise, "report": self.report}
        state = yield from subspace(*known, rows=self.rows, budget=self.budget, gives_up=gives_up, **common)
        if state is None:
            self.memory.clear()
            return True
        self.point, self.objective, self.grad = state
        self.ways.given_up(self.budget.spent - spent)
        yield from self._stay_with(DIAGONAL)
        return False

    def stay_with_metric(self):
        """Stay, but with a metric in the place of a diagonal that leads nowhere."""
        yield from self._stay_with(CHECK)

    def _stay_with(self, way):
        self._turn_to(way, self.iteration)
        self.is_told = True
        yield from self._renew()

    def return_to_origin(self):
        """Stay, but with the metric at the origin, and without a memory."""
        self.metric, self.at_origin = self.make_metric(np.zeros_like(self.point)), True
        objective_there = max(self.solution.loss_curve[0], self.objective)
        self.refresh.made_at_origin(self.metric, self.iteration, objective_there)
        self.memory.clear()
        yield from self._renew()

    def go_on(self):
        """Be where the line search has led, and make another metric where that is due."""
        before, direction, self.at_origin = self.grad, self.direction, False
        way = self.ways.next(self.iteration, self.pace, self.slope, self.estimate, self.bounded)
        step, self.point, self.objective, self.grad = self.trial
        self.trial, self.came_by = None, self.newton if step == 1.0 else None
        self.budget.spend(1.0 if self.plain is None else self.plain.iteration_passes)
        if self._makes_metric(way):
            _, (self.natural, natural) = yield from self.memory.renew(self.metric, self.grad, before)
            self.memory.begin(before, natural)
        else:
            (self.natural,) = yield Naturals(self.metric, [self.grad])
        self.scale = self.memory.add(direction, step, self.grad, self.natural) or self.scale

    def _makes_metric(self, way):
        """Make a metric where an iteration has led, for another way, or anew if that is due; whether it was made."""
        if way is not None:
            return self._turn_to(way, self.iteration + 1)
        if self.ways.is_plain or not self.refresh.is_due(self.iteration, self.objective, self.left, self.metric.passes):
            return False
        self._make_metric()
        self.refresh.made(self.metric, self.iteration, self.objective)
        return True

    def _moved(self, step):
        result, point, direction = np.empty(self.point.shape), self.point.ravel(), self.direction.ravel()
        flat = result.ravel()
        self.memory.pieces.each(lambda q: np.add(point[q], step * direction[q], out=flat[q]))
        return result

    def _dot(self, a, b):
        a, b = a.ravel(), b.ravel()
        return float(self.memory.pieces.sum(lambda q: a[q] @ b[q]))
