"""A proximal quasi-Newton method, for an L1 penalty and for bounds."""

import numpy as np

from .line_search import MAX_BACKTRACKS, accepts, shortened
from .refresh import Refresh
from .stopping import ROUNDING, Solution, suboptimality

# By measurement on digits, raw, and on embeddings (5,000 x 512), L1 penalties with C from 0.01 to 100.
_ACCURACY = 3e-3  # a round of coordinate descent that gains less than this share of all that was gained is the last
_DAMPING = 1e-4  # least rise of the model's diagonal, as a share: flat directions must not lead out of all bounds
_LAST_ACCURACY, _LAST_DAMPING = 1e-4, 1e-8  # before a fit ends: neither may hide what is to be gained
_MAX_ROUNDS, _MAX_SWEEPS = 20, 200  # over all coefficients, and in each of them over those that are not zero
_EXTRAPOLATE = 5  # sweeps to extrapolate from, as in Bertrand and Massias


class QuadraticMetric:
    """An approximate Hessian by its products, block by block, on all columns or on some.

    The blocks are in the columns (x - center, 1), where the intercept hardly depends on the coefficients.

    Parameters
    ----------
    blocks : list of objects with ``outputs``, ``hessp``, ``square`` and ``sweep``
    slack : float
        How many times too small the decrease of the model may be as an estimate of F - F*.
    n_features : int
        Columns of a point without that of the intercept.
    center : array that goes with (n_outputs, n_features), or None
        None where a point has no column for an intercept.
    columns : array of intp, or None
        Features that it knows, increasing; None for all. Coefficients of others stay as they are.
    flat : bool
        Whether the blocks act on all rows of a step, one after the other, as on one.
    l2_reg_strength : float
        Of the penalty, for what is said of other columns.
    """

    def __init__(self, blocks, slack, n_features, center, columns=None, flat=False, l2_reg_strength=0.0):
        self.blocks, self.slack, self.flat, self.l2_reg_strength = blocks, slack, flat, l2_reg_strength
        self.n_features, self.center, self.columns = n_features, center, columns

    def gathered(self, array):
        """The columns that it knows, and the intercept's, of an array (n_outputs, n_columns); a copy."""
        if self.columns is None:
            return array.copy()
        return np.hstack([array[:, self.columns], array[:, self.n_features :]])

    def laid_out(self, array):
        """Such columns as the blocks take them."""
        return np.ascontiguousarray(array.reshape(1, -1) if self.flat else array)

    def of_grad(self, grad):
        """A gradient (n_outputs, n_columns) in the columns of the blocks."""
        inner = self.gathered(grad)
        if self.center is not None:
            inner[:, :-1] -= inner[:, -1:] * self.center
        return self.laid_out(inner)

    def of_step(self, step):
        """A step (n_outputs, n_columns) in the columns of the blocks."""
        inner = self.gathered(step)
        if self.center is not None:
            inner[:, -1] += (inner[:, :-1] * self.center).sum(axis=1)
        return self.laid_out(inner)

    def of_point(self, point):
        """Coefficients of a point, and zero for the intercept, as :meth:`moved` takes them."""
        inner = self.gathered(point)
        if self.center is not None:
            inner[:, -1] = 0.0
        return self.laid_out(inner)

    def moved(self, point, inner):
        """The point with the coefficients ``inner``, in whose last column there are steps of the intercept."""
        inner, result = inner.reshape(len(point), -1), point.copy()
        if self.center is not None:
            coef = inner[:, :-1]
            step = coef - self.gathered(point)[:, :-1]
            result[:, -1] += inner[:, -1] - (step * self.center).sum(axis=1)
        else:
            coef = inner
        result[:, np.arange(self.n_features) if self.columns is None else self.columns] = coef
        return result

    def hessp(self, inner):
        """The product with a step in the columns of the blocks."""
        return np.concatenate([block.hessp(inner[block.outputs]) for block in self.blocks])

    def unknown(self, violation, point, norm):
        """What there is to gain at most in columns that it does not know, the L1 norm of the minimum being ``norm``.

        F being convex, no more than the violations times the way to the minimum: its coefficients there less those of
        the point, which are not zero in all of these columns where more are in use than it can know. Without an L1
        penalty, by the curvature of the L2 penalty.
        """
        if self.columns is None:
            return 0.0
        violation, coef = (np.delete(a[:, : self.n_features], self.columns, axis=1) for a in (violation, point))
        if not norm and self.l2_reg_strength:
            return float(np.square(violation).sum()) / (2 * self.l2_reg_strength)
        most = float(violation.max(initial=0.0))
        return most * (norm + float(np.abs(coef).sum())) if most else 0.0  # the norm may be infinite


class _Pairs:
    """The last steps s and gradient changes y, and what they make of a metric M.

    The compact form of BFGS: B = M - [M S, Y] [[S'M S, L], [L', -D]]^-1 [M S, Y]', L being the part of S'Y below its
    diagonal D (R. H. Byrd, J. Nocedal and R. B. Schnabel, Representations of quasi-Newton matrices, Mathematical
    Programming 63, 1994, theorem 2.3).
    """

    def __init__(self, capacity):
        self.capacity, self.pairs = capacity, []
        self.metric, self.inner = None, []  # the pairs, and products with the steps, in its columns

    def add(self, step, change):
        """Keep a pair, unless rounding hides the curvature between them."""
        curvature = float(np.vdot(step, change))
        if curvature > max(1e-14 * np.linalg.norm(step) * np.linalg.norm(change), 1e-280):
            unit = 1 / np.sqrt(curvature)
            self.pairs = [*self.pairs, (unit * step, unit * change)][-self.capacity :] if self.capacity else []

    def on(self, metric):
        """``low`` (.., .., n_low) and Q, such that B is the metric plus low Q low'."""
        known = {} if metric is not self.metric else {id(pair): inner for pair, inner in self.inner}
        self.metric, self.inner = metric, []
        for pair in self.pairs:
            inner = known.get(id(pair))
            if inner is None:
                step = metric.of_step(pair[0])
                inner = step, metric.of_grad(pair[1]), metric.hessp(step)
            self.inner.append((pair, inner))
        # Pairs are scaled to s'y = 1 over all columns. Over fewer it may be small or negative: such pairs are left out.
        used = [inner for _, inner in self.inner if np.vdot(inner[0], inner[1]) > 0.5]
        if not used:
            shape = metric.of_step(np.zeros_like(self.pairs[0][0])).shape if self.pairs else None
            return None if shape is None else np.zeros((*shape, 0)), np.zeros((0, 0))
        steps, changes, images = (np.stack(parts) for parts in zip(*used, strict=True))
        flat = steps.reshape(len(used), -1)
        products, squares = (flat @ other.reshape(len(used), -1).T for other in (changes, images))
        lower = np.tril(products, -1)
        middle = np.block([[(squares + squares.T) / 2, lower], [lower.T, -np.diag(products.diagonal())]])
        low = np.moveaxis(np.concatenate([images, changes]), 0, -1)
        # singular where the metric knows nothing along a step
        return np.ascontiguousarray(low), -np.linalg.pinv(middle, hermitian=True)


class _Model:
    """The smooth part's quadratic model around a point, and the part that has no derivative.

    It is minimised by coordinate descent, which goes over the coefficients that are not zero until that gains little,
    and then over all (J. Friedman, T. Hastie and R. Tibshirani, Regularization paths for generalized linear models via
    coordinate descent, Journal of Statistical Software 33, 2010), and is extrapolated (Q. Bertrand and M. Massias,
    Anderson acceleration of coordinate descent, AISTATS 2021).
    """

    def __init__(self, metric, pairs, point, grad, nonsmooth, damping):
        self.metric, self.damping = metric, damping
        self.start, self.grad = metric.of_point(point), metric.of_grad(grad)
        self.nonsmooth = nonsmooth.on(metric)
        low, self.middle = pairs.on(metric)
        self.low = np.zeros((*self.start.shape, 0)) if low is None else low
        self.low_image = self.low @ self.middle
        #: the coefficients, the products of their step with the Gram matrices, and with ``low``
        self.state = self.start.copy(), np.zeros_like(self.start), np.zeros(len(self.middle))

    def minimise(self, accuracy):
        """Go down from the point, until a round gains less than a share of ``accuracy`` of all that was gained.

        Returns
        -------
        goal : array (n_outputs, n_columns)
            In the columns of the blocks.
        decrease : float
        """
        decrease = 0.0
        for _ in range(_MAX_ROUNDS):
            gained = self._sweep(everywhere=True)
            decrease += gained
            if not gained > accuracy * decrease:
                break
            decrease += self._among_nonzero(accuracy, decrease)
        return self.state[0], decrease

    def _sweep(self, everywhere):
        inputs = self.grad, self.start, self.low, self.low_image
        return self.nonsmooth.sweep(self.metric.blocks, self.damping, *inputs, *self.state, everywhere)

    def _among_nonzero(self, accuracy, before):
        decrease, trail = 0.0, [[part.copy() for part in self.state]]
        for _ in range(_MAX_SWEEPS):
            gained = self._sweep(everywhere=False)
            trail.append([part.copy() for part in self.state])
            if len(trail) > _EXTRAPOLATE:
                gained += self._extrapolate(trail)
                trail = [[part.copy() for part in self.state]]
            decrease += gained
            if not gained > accuracy * (before + decrease):
                break
        return decrease

    def _extrapolate(self, trail):
        """Go to where the last sweeps seem to lead, if that is further down; by how much."""
        points = np.stack([point.ravel() for point, _, _ in trail])
        changes = np.diff(points[:, points.any(axis=0)], axis=0)
        largest = np.abs(changes).max(initial=0.0)
        if not largest > 0:
            return 0.0
        changes /= largest
        gram = changes @ changes.T
        weight = np.linalg.solve(gram + 1e-12 * np.trace(gram) * np.eye(len(gram)), np.ones(len(gram)))
        weight /= weight.sum()
        # zeros stay zeros, and what is linear in the step comes along
        found = [sum(w * part for w, part in zip(weight, parts, strict=True)) for parts in zip(*trail[1:], strict=True)]
        if not self.nonsmooth.put_within(found[0]):
            return 0.0
        gained = self._value(*self.state) - self._value(*found)
        if not gained > 0:
            return 0.0
        for part, better in zip(self.state, found, strict=True):
            part[:] = better
        return gained

    def _value(self, point, image, low):
        step = point - self.start
        square = sum(block.square(step, image, self.damping) for block in self.metric.blocks) + low @ self.middle @ low
        return float(np.vdot(self.grad, step)) + square / 2 + self.nonsmooth.value(point)


def shift_of_least_penalty(values, l1, l2):
    """For each column, the c where ``l1 * sum(|values - c|) + l2 / 2 * sum((values - c)**2)`` is least.

    It is zero where it may be: values that are zero stay so.

    Parameters
    ----------
    values : array (n_values, n_columns)
    l1, l2 : float or array (n_columns,), >= 0

    Returns
    -------
    array (n_columns,)
    """
    n, columns = len(values), np.arange(values.shape[1])
    ordered, total = np.sort(values, axis=0), values.sum(axis=0)
    below = np.arange(n)[:, None]
    pull = l2 * (n * ordered - total)
    # the first of the values on whose right the slope is not negative; it may have changed its sign before
    first = (l1 * (2 * (below + 1) - n) + pull >= 0).argmax(axis=0)
    shift = ordered[first, columns]
    if np.any(l2):
        before = l1 * (2 * first - n)
        between = before + pull[first, columns] > 0  # where there is an L2 penalty, or first were before
        shift = np.where(between, (total - before / np.where(between, l2, 1.0)) / n, shift)
    zeros = np.count_nonzero(values == 0, axis=0)
    stays = np.abs(l1 * np.sign(values).sum(axis=0) + l2 * total) <= l1 * zeros
    return np.where(stays, 0.0, shift)


def proximal_newton(
    point, make_metric, *, nonsmooth, settle, target, max_iter, noise, report, memory=20, exact=False, solution=None
):
    """Minimise a smooth convex function f plus a penalty that has no derivative, F(w) = f(w) + h(w).

    A generator that yields points and is sent (f, its gradient), as :func:`~.lbfgs.lbfgs`.

    1. Step: to the minimum of the quadratic model of f with h, roughly (J. D. Lee, Y. Sun and M. A. Saunders, Proximal
       Newton-type methods for minimizing composite functions, SIAM Journal on Optimization 24, 2014). The model's
       matrix is the metric corrected by the last steps as in BFGS (K. Scheinberg and X. Tang, Practical inexact
       proximal quasi-Newton method with global complexity analysis, Mathematical Programming 160, 2016). Its minimum
       has exact zeros, and lies exactly on bounds; a whole step takes them over.
    2. Line search from step one: accepted on sufficient decrease, or where rounding hides that on a slope that has
       shrunk. A step cut short raises the diagonal of the next model, a whole one lowers it again (K. Levenberg, A
       method for the solution of certain non-linear problems in least squares, Quarterly of Applied Mathematics 2,
       1944).
    3. Every so often the metric is made anew at the current point (:class:`~.refresh.Refresh`), and so it is where
       columns that it does not know have more to gain. Where no step is found, it is made at the origin.
    4. Stop when the estimate of F - F* is at most ``target(point)``: the decrease of the model times its slack, which
       rests on a minimum of the model to more digits; and, for columns that the metric does not know, what their
       subgradient admits, F being convex and the norm of its minimum at most F over the penalty's strength.

    Parameters
    ----------
    point : array (n_outputs, n_columns) float64
        Within bounds.
    make_metric : callable (point, grad) -> ScheduledMetric
        Its matrix is a :class:`QuadraticMetric`.
    nonsmooth : SeparableL1 or GroupedL1
        h, of :mod:`~.nonsmooth`.
    settle : callable point -> point
        Along directions in which f but for quadratic penalties is constant, to where the penalties are least: the model
        would get there by many small steps.
    target, max_iter, noise, report
        As in :func:`~.lbfgs.lbfgs`.
    memory : int
        Pairs kept.
    exact : bool
        The metric is the Hessian: it is made anew at each point, and no pairs are kept.
    solution : Solution, or None
        Of another solver, that has ended at the point and is gone on from.

    Returns
    -------
    Solution
    """
    descent = _Descent(point, make_metric, nonsmooth, settle, target, noise, 0 if exact else memory, exact, solution)
    yield from descent.begin()
    while True:
        descent.aim()  # 1.
        if descent.stops(max_iter, report):  # 4.
            return descent.solution
        if (yield from descent.search()):  # 2.
            descent.go_on()  # 3.
        elif not descent.goes_back():
            descent.solution.reason = ROUNDING
            return descent.solution


class _Descent:
    """Where :func:`proximal_newton` is. Parameters as there.

    Attributes
    ----------
    goal, direction : array (n_outputs, n_columns)
        Where the model is least, and the way there.
    gained : float
        By how much the model is lower there.
    decrement : float
        What that says of F - F*.
    unknown : float
        What columns that the metric does not know may add to it.
    """

    def __init__(self, point, make_metric, nonsmooth, settle, target, noise, memory, exact, solution):
        self.point, self.make_metric, self.nonsmooth, self.settle = point, make_metric, nonsmooth, settle
        self.target, self.noise, self.memory, self.exact = target, noise, memory, exact
        self.pairs, self.damping = _Pairs(memory), _DAMPING
        self.solution, self.at_origin = Solution(point) if solution is None else solution, False
        self.is_reported = bool(self.solution.loss_curve)  # by the solver before
        if self.is_reported:
            self.solution.loss_curve.pop()
        self.iteration = len(self.solution.loss_curve)

    def begin(self):
        """Take the objective at the start."""
        smooth, self.grad = yield self.point
        self.objective = smooth + self.nonsmooth.value(self.point)
        made = self.make_metric(self.point, self.grad)
        self.metric, self.refresh = made.matrix, Refresh(made, self.objective, self.iteration)

    def aim(self):
        """Minimise the model, to more digits where it seems to be the last; and estimate F - F*."""
        ns, point, grad = self.nonsmooth, self.point, self.grad
        with np.errstate(over="ignore"):  # beside a penalty that is next to none
            self.unknown = self.metric.unknown(ns.violation(point, grad), point, self.objective / ns.strength)
        for damping, accuracy in ((self.damping, _ACCURACY), (_LAST_DAMPING, _LAST_ACCURACY)):
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is looked for
                model = _Model(self.metric, self.pairs, point, grad, ns, damping)
                goal, self.gained = model.minimise(accuracy)
                self.goal = self.settle(self.metric.moved(point, goal))
            self.direction = self.goal - point
            finite = np.isfinite(self.gained) and np.isfinite(self.direction).all()
            stiffness = self.metric.slack * self.gained * self.refresh.staleness(self.objective)
            self.decrement = stiffness if finite else np.inf
            since = self.solution.loss_curve[self.refresh.made_at :]
            estimate = suboptimality(self.decrement, since, self.objective)
            self.estimate = min(estimate + self.unknown, self.objective)
            if self.estimate > self.target(point):
                break

    def stops(self, max_iter, report):
        """Take in the iteration; whether it is the last."""
        args = self.point, self.objective, self.grad, self.estimate, False, self.target(self.point)
        if self.is_reported:
            self.is_reported, report = False, lambda solution: False
        return self.solution.is_final(*args, max_iter, report)

    def search(self):
        """Search along the way to the goal; whether there is a step."""
        ns, point, objective, direction = self.nonsmooth, self.point, self.objective, self.direction
        self.step, rounding = 1.0, self.noise * abs(objective)
        slope = float(np.vdot(self.grad, direction)) + ns.value(self.goal) - ns.value(point)
        slope = min(slope, -self.gained)  # which it is, but for rounding, as the model's curvature is positive
        for _ in range(MAX_BACKTRACKS if slope < 0 and np.isfinite(self.decrement) else 0):
            trial = self.goal if self.step == 1.0 else point + self.step * direction
            smooth, grad = yield trial
            new_objective = smooth + ns.value(trial)
            new_slope = float(np.vdot(grad, direction)) + ns.slope(trial, direction)
            if accepts(self.step, objective, slope, new_objective, new_slope, rounding):
                self.pairs.add(trial - point, grad - self.grad)
                self.point, self.objective, self.grad = trial, new_objective, grad
                return True
            self.step = shortened(self.step, objective, slope, new_objective, new_slope)
        return False

    def go_on(self):
        """From the point that has been found, with a new metric where it is time."""
        self.at_origin = False
        if self.step < 0.5:
            self.damping *= 10
        elif self.step == 1.0:
            self.damping = max(self.damping / 10, _DAMPING)
        is_due = self.iteration + 1 >= self.refresh.due or self.unknown > self.decrement
        if self.exact:
            made = self.make_metric(self.point, self.grad)
            self.metric, self.refresh.objective_there = made.matrix, self.objective
        elif is_due:
            self.metric = None  # its memory is the new one's
            made = self.make_metric(self.point, self.grad)
            self.metric = made.matrix
            self.refresh.made(made, self.iteration, self.objective)
        self.iteration += 1

    def goes_back(self):
        """Make the metric at the origin, where the Hessian is largest, as in `lbfgs`; not twice, nor for rounding."""
        if self.at_origin or self.gained <= 10 * self.noise * abs(self.objective):
            return False
        made, self.at_origin = self.make_metric(np.zeros_like(self.point), self.grad), True
        there = max(self.solution.loss_curve[0], self.objective)
        self.metric, self.pairs = made.matrix, _Pairs(self.memory)
        self.refresh.made_at_origin(made, self.iteration, there)
        self.iteration += 1
        return True
