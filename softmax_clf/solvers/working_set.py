"""Sparse coefficients, of which few matter: Newton steps on working sets, and a bound by a point of the dual."""

from dataclasses import dataclass

import numpy as np

from .proximal import shift_of_least_penalty
from .stopping import ROUNDING, Solution

_ACCURACY, _LAST_ACCURACY = 1e-2, 1e-6  # of a model's minimum, relative to what is gained in it
_GROUPED = 1e-2  # share of that where steps are along the gradient, of which many gain little each
_MAX_STEPS = 30  # on one working set
_LEAST_SET = 50  # coordinates that a set may grow by, or as many as there are in it
_SHARE = 0.5  # of what is allowed, that a working set may leave to be gained
_UNBALANCED = 1e-5  # of what is allowed, what intercepts may be off by
_BACKTRACKS = 30
_STANDING = 3  # steps in a row that gain nothing, for rounding
_LARGE = 1e150  # the squares of larger derivatives may overflow
_EPS, _TINY = np.finfo(np.float64).eps, np.finfo(np.float64).tiny


def working_set(point, columns, *, threshold, ridge, target, max_iter, report, bounds=None, with_grad=True, **ignored):
    """Minimise a mean loss of rows with an L1 penalty, perhaps an L2 penalty, and perhaps within bounds.

    1. Working set: coordinates, a class and a feature each, that are not zero or whose derivative exceeds the
       threshold; on a path those that the sequential strong rule keeps (R. Tibshirani et al., Strong rules for
       discarding predictors in lasso-type problems, JRSS B 74, 2012). It grows by those that violate the conditions of
       the optimum most (M. Massias, A. Gramfort and J. Salmon, Celer: a fast solver for the lasso with dual
       extrapolation, ICML 2018).
    2. Step on the set: to the minimum of the quadratic model, roughly, by coordinate descent (J. Friedman, T. Hastie
       and R. Tibshirani, Regularization paths for generalized linear models via coordinate descent, Journal of
       Statistical Software 33, 2010), with the whole Hessian: between classes too. It is extrapolated (Q. Bertrand et
       al., Beyond L1: faster and better sparse models with skglm, NeurIPS 2022).
    3. Once the set has little left to gain, intercepts are balanced and the gradient by all coefficients is taken.
    4. Stop when the duality gap is at most ``target(point)``; or, with neither convergence nor a reason, where it has
       become so dear that another solver had better go on.

    The gap: probabilities p of the rows, moved a share of the way to the targets y until no derivative exceeds its
    threshold, are a point of the dual. With u the derivatives of the loss by the coefficients w there,

        F - F* <= sum(weight KL(alpha || p))
                  + sum(threshold |w| + ridge/2 w^2 + w u + max(|u| - threshold, 0)^2 / (2 ridge))

    where the last term is left out, and u feasible, without an L2 penalty; towards a bound r the last term is what the
    penalties of a step of at most r may gain. Where the L1 penalty is of the norms of features' coefficients, sizes are
    such norms. As y - p sums to zero over the rows once the
    intercepts are best, so does y - alpha, as the dual asks for where intercepts are not penalised. Derivatives by
    other coefficients that no penalty counts only come near zero: with them this is an estimate, and no bound.

    Parameters
    ----------
    point : array (n_outputs, n_columns) float64
    columns : Columns
    threshold, ridge : array (n_features,)
        Strengths of the penalties by feature.
    bounds : tuple of array (n_present, n_features), or None
        Least and largest coefficients, zero among them.
    target : callable (point, penalty) -> float
    max_iter, report
        As in :func:`~.lbfgs.lbfgs`.
    with_grad : bool
        Whether the solution is to have a gradient, which is as long as all coefficients.

    Returns
    -------
    Solution
    """
    if columns.last is None:
        yield point  # so that it is seen whether scores are finite there; nothing else is asked for
    return _Fit(point, columns, threshold, ridge, bounds, target, max_iter, report, with_grad).run()


def sparse_relay(point, go_on, **options):
    """Working sets, and then :func:`~.proximal.proximal_newton` where that is cheaper.

    How many coefficients are in use at the end nobody knows before: few make columns the cheaper way by far.

    Parameters
    ----------
    point : array
    go_on : callable (point, Solution) -> generator
        That solver, from where another has ended.
    **options : dict
        As of :func:`working_set`.

    Returns
    -------
    Solution
    """
    solution = yield from working_set(point, **options)
    if solution.converged or solution.reason:
        return solution
    return (yield from go_on(solution.point, solution))


@dataclass
class Ended:
    """Where a fit has ended: its point, the strength of its L1 penalty, coefficients not zero, and the gradient."""

    point: np.ndarray
    strength: float
    numbers: np.ndarray
    coef: np.ndarray
    grad: object


class _Fit:
    """What is known of a fit on its way. Parameters as of :func:`working_set`.

    Coordinates have numbers, ``class * n_features + feature``: nothing here is as long as all of them but gradients.
    """

    def __init__(self, point, columns, threshold, ridge, bounds, target, max_iter, report, with_grad):
        self.columns, self.threshold, self.ridge, self.bounds = columns, threshold, ridge, bounds
        self.target, self.max_iter, self.report, self.with_grad = target, max_iter, report, with_grad
        p, present, self.shape = columns.n_features, columns.present, point.shape
        self.numbers, self.at = self._nonzero(point)
        self.intercept = point[present, p] if columns.fit_intercept else np.zeros(len(present))
        self.solution, self.lower, self.allowed, self.damping = Solution(point), 0.0, None, 0.0
        self.is_bound = bool((threshold + ridge).all())
        self.grad, self.standing, self.gives_up, self.follows, self.n_steps = None, 0, False, False, 0

    def _nonzero(self, point):
        """Numbers of the coefficients of a point that are not zero, and these."""
        last, p, present = self.columns.last, self.columns.n_features, self.columns.present
        if last is not None and point is last.point:  # as long as all of them together
            return last.numbers, last.coef
        classes, features = np.nonzero(point[:, :p])
        kept = np.isin(classes, present)
        classes, features = classes[kept], features[kept]
        return np.searchsorted(present, classes) * p + features, point[classes, features]

    def run(self):
        ended = self._begin()
        while not ended and not self.gives_up:
            ended = self._on_set() or self._grow()
        self.columns.has_given_up = self.gives_up
        if self.gives_up:
            return self.solution
        c, used = self.columns, self.at != 0
        if self.follows:
            c.learn(len(self.numbers), self.n_steps)
        grad = c.gradient() if self.grad is None else self.grad
        solution = self.solution
        c.before, c.last = c.last, Ended(solution.point, c.strength, self.numbers[used], self.at[used], grad)
        solution.penalty, solution.nonzero = self.penalty, (c.present[self.classes[used]], self.features[used])
        if self.with_grad:
            solution.grad = self._whole_grad(grad.values)
        return solution

    def _begin(self):
        """Choose the first set, and go ahead on a path; whether it has ended."""
        c, last = self.columns, self.columns.last
        c.work = 0.0
        follows = last is not None and np.array_equal(last.numbers, self.numbers) and np.array_equal(last.coef, self.at)
        if follows:
            self.at = self._ahead()
        c.begin(*np.divmod(self.numbers, c.n_features), self.at, self.intercept)
        if follows:
            self.grad = last.grad
            bound = np.maximum(2 - last.strength / max(c.strength, _TINY), 0.5) * self.threshold
        else:
            self.intercept = self.intercept + c.balance()
            self.grad, bound = c.gradient(), self.threshold
        numbers = np.union1d(self.numbers, self._steepest(self.grad, bound))
        overflows = self.grad.steepest.max(initial=0.0) > _LARGE  # models tell of that
        self.gives_up = c.is_dear(len(numbers), is_new=True) or (c.has_another_way and overflows)
        if self.gives_up:
            return False
        self._choose(numbers)
        self.follows = follows
        return self._record() if follows else self._check(self.grad)

    def _on_set(self):
        """Go to where the set has little left to gain, and take the gradient there; whether it has ended."""
        self.standing, least = 0, np.inf
        for _ in range(_MAX_STEPS - 1):
            moved = self._step(_LAST_ACCURACY if self.standing else _ACCURACY)
            # the fit before on the path ended after so many steps: to look at all is to look at the set, too
            if self.follows and self.n_steps == self.columns.n_steps and self._look():
                return True
            self.model.update()
            left = self._gap(self.model.grad, *self._terms_of_set())
            self.standing = 0 if moved or left < 0.9 * least else self.standing + 1
            least = min(left, least)
            if self.standing == _STANDING or left <= _SHARE * self.allowed:
                break
            if self.grad is None and self._record():
                return True
            self.gives_up = self.columns.is_dear(len(self.numbers))
            if self.gives_up:
                return False
        return self.grad is None and self._look()

    def _look(self):
        """Balance the intercepts and take the gradient by all coefficients; whether it has ended."""
        self.intercept += self.columns.balance(_UNBALANCED * self.allowed)
        self.grad = self.columns.gradient()
        return self._check(self.grad)

    def _grow(self):
        """Take into the set what violates the conditions of the optimum; whether rounding hides all that is left."""
        if self.gives_up:
            return False
        numbers = np.union1d(self.numbers, self._steepest(self.grad, self.threshold))
        if self.standing == _STANDING and len(numbers) == len(self.numbers):
            self.solution.reason = ROUNDING
            return True
        self.gives_up = self.columns.is_dear(len(numbers), is_new=True)
        if not self.gives_up:
            self._choose(numbers)
        return False

    def _ahead(self):
        """On in a line through the last two solutions, but for what is zero or would change its sign."""
        before, last, now = self.columns.before, self.columns.last, self.columns.strength
        if before is None or not before.strength > last.strength:
            return self.at
        share = min((last.strength - now) / (before.strength - last.strength), 1.0)
        there = np.zeros_like(self.at)
        if len(before.numbers):
            places = np.searchsorted(before.numbers, self.numbers).clip(max=len(before.numbers) - 1)
            there = np.where(before.numbers[places] == self.numbers, before.coef[places], 0.0)
        ahead = self.at + share * (self.at - there)
        ahead = np.where(ahead * self.at > 0, ahead, self.at)
        if self.bounds is None:
            return ahead
        classes, features = np.divmod(self.numbers, self.columns.n_features)
        return np.clip(ahead, *(side[classes, features] for side in self.bounds))

    # ----------------------------------------------------------------------------------------------- working sets

    def _exceeding(self, grad, bound):
        """Numbers of coordinates whose derivatives exceed a bound by feature (n_features,), and their sizes.

        Of groups, the numbers of the features.
        """
        features = np.flatnonzero(grad.steepest > bound)
        if self.columns.is_grouped:
            return features, grad.steepest[features]
        values = grad.values[:, features]
        size = np.abs(values)
        if self.bounds is not None:
            low, high = self.bounds
            size = np.where(np.where(values < 0, high[:, features] > 0, low[:, features] < 0), size, 0.0)
        classes, places = np.nonzero(size > bound[features])
        return classes * self.columns.n_features + features[places], size[classes, places]

    def _steepest(self, grad, bound):
        """Of coordinates that exceed it those that do most for their thresholds, as many as a set may grow by."""
        numbers, size = self._exceeding(grad, bound)
        n_most = max(2 * len(self.numbers), _LEAST_SET)
        if self.columns.is_grouped:
            n_most = -(-n_most // len(self.columns.present))
        if len(numbers) > n_most:
            # to the largest, as thresholds may be next to none
            ratio = size / size.max() / np.maximum(self.threshold[numbers % self.columns.n_features], 1e-300)
            numbers = numbers[np.argpartition(-ratio, n_most)[:n_most]]
        return self._of_all_classes(numbers) if self.columns.is_grouped else numbers

    def _of_all_classes(self, features):
        p, n_outputs = self.columns.n_features, len(self.columns.present)
        return (np.arange(n_outputs)[:, None] * p + np.unique(features)).ravel()

    def _choose(self, numbers):
        """Work on a set from now on, of which what has been worked on is a part."""
        if self.columns.is_grouped:
            numbers = self._of_all_classes(numbers % self.columns.n_features)
        at = np.zeros(len(numbers))
        at[np.searchsorted(numbers, self.numbers)] = self.at
        self.at, self.numbers = at, numbers
        self.classes, self.features = np.divmod(numbers, self.columns.n_features)
        self.model = self.columns.model(self.classes, self.features)
        self.model.update()
        self.thresholds, self.ridges = self.threshold[self.features], self.ridge[self.features]
        infinite = np.full(len(numbers), np.inf)
        sides = (-infinite, infinite) if self.bounds is None else (s[self.classes, self.features] for s in self.bounds)
        self.low, self.high = sides
        self.penalty = self._penalty(self.at)

    def _norms(self, values):
        """Of the coefficients of each feature of a set, or of their derivatives."""
        return np.linalg.norm(values.reshape(len(self.columns.present), -1), axis=0)

    @np.errstate(invalid="ignore")  # a step too far, to infinity: what is no number is not taken
    def _penalty(self, at):
        squares = np.vdot(self.ridges * at, at) / 2  # of large ones too, whose squares alone are no numbers
        if self.columns.is_grouped:
            norms = self._norms(at)
            return float(self.thresholds[: len(norms)] @ norms + squares)
        return float(self.thresholds @ np.abs(at) + squares)

    # --------------------------------------------------------------------------------------------------- the dual

    def _terms_of_set(self):
        """What :meth:`_gap` takes of the coordinates of the set, or of its groups."""
        if self.columns.is_grouped:
            size = self._norms(self.model.grad)
            return size, self.thresholds[: len(size)], self.ridges[: len(size)]
        size = np.abs(self.model.grad)
        if self.bounds is None:
            return size, self.thresholds, self.ridges
        return size, self.thresholds, self.ridges, np.where(self.model.grad < 0, self.high, -self.low)

    @np.errstate(over="ignore")  # beside a penalty that is next to none: infinite is a bound, too
    def _gap(self, grad_here, size, threshold, ridge, reach=None):
        """What F is above its minimum among some coefficients, at most, with intercepts at their best.

        Parameters
        ----------
        grad_here : array (n_coordinates,)
            Derivatives of the loss by the coordinates of the set, outside of which all coefficients are zero.
        size, threshold, ridge
            The sizes of the derivatives by all these coefficients, and the strengths of their penalties.
        reach : array, or None
            How far bounds let these coefficients be from zero, where their derivatives lead them.
        """
        cross, loose = float(self.at @ grad_here), 0.0
        if not self.is_bound:
            free = np.flatnonzero(self.thresholds + self.ridges == 0)
            steep = np.abs(grad_here[free])
            loose = float(steep @ (np.abs(self.at[free]) + steep / np.maximum(self.model.curvature[free], _TINY)))
            counted = threshold + ridge > 0
            size, threshold, ridge = size[counted], threshold[counted], ridge[counted]
            reach = None if reach is None else reach[counted]
        over = size > threshold
        size, threshold, ridge = size[over], threshold[over], ridge[over]
        if reach is not None:
            return self._gap_within(cross, size, threshold, ridge, reach[over]) + loose
        shares = [1 - float((threshold / size).min())] if len(size) else [0.0]
        if len(size) and ridge.all():
            shares.append(0.0)
        gaps = []
        for share in shares:
            gap = self.columns.divergence(share) + self.penalty + (1 - share) * cross
            excess = (1 - share) * size - threshold
            excess = excess[excess > 0]
            if share == 0.0 and len(excess):
                gap += float((np.square(excess) / (2 * ridge)).sum())
            gaps.append(gap)
        return max(min(gaps), 0.0) + loose

    def _gap_within(self, cross, size, threshold, ridge, reach):
        """The same where there are bounds, of coordinates whose derivatives exceed their thresholds."""
        endless = np.isinf(reach) & (ridge == 0)  # whose derivatives have to be feasible
        shares = [1 - 1 / float((size[endless] / threshold[endless]).max())] if endless.any() else [0.0]
        gaps = []
        for share in shares:
            excess = np.maximum((1 - share) * size - threshold, 0.0)
            excess[endless] = 0.0
            way = np.minimum(np.divide(excess, ridge, where=ridge > 0, out=np.full(len(ridge), np.inf)), reach)
            way[endless] = 0.0
            gain = float((way * (excess - np.minimum(ridge * way, excess) / 2)).sum())
            gaps.append(self.columns.divergence(share) + self.penalty + (1 - share) * cross + gain)
        return max(min(gaps), 0.0)

    def _check(self, grad):
        """Take in where it is, with the duality gap; whether it is the last."""
        numbers, size = self._exceeding(grad, self.threshold)
        classes, features = np.divmod(numbers, self.columns.n_features)
        args = size, self.threshold[features], self.ridge[features]
        if self.bounds is not None:
            low, high = (side[classes, features] for side in self.bounds)
            args = *args, np.where(grad.values[classes, features] < 0, high, -low)
        gap = self._gap(grad.values[self.classes, self.features], *args)
        gap += self.columns.unbalanced() if self.columns.fit_intercept else 0.0
        gap += 4 * _EPS * self._objective()
        self.lower = max(self.lower, self._objective() - gap)
        return self._record(checked=True)

    def _objective(self):
        return self.columns.value + self.penalty

    def _record(self, checked=False):
        objective = self._objective()
        above = objective - self.lower
        # the point with its zeros, of which only those pages are touched that others share
        point, p, c = np.zeros(self.shape), self.columns.n_features, self.columns
        point[c.present[self.classes], self.features] = self.at
        if c.fit_intercept:
            point[c.present, p] = self.intercept
            if len(c.present) > 1:
                point[c.present, p] -= self.intercept.mean()
        if not self.allowed or (checked and above <= self.allowed):
            self.allowed = self.target(point, self.penalty)
        args = self.allowed, self.max_iter, self.report
        return self.solution.is_final(point, objective, None, above, self.is_bound, *args)

    def _whole_grad(self, grad):
        """Of F without the L1 penalty, of all outputs."""
        c = self.columns
        whole = np.zeros(self.shape)
        whole[c.present, : c.n_features] = grad
        whole[c.present[self.classes], self.features] += self.ridges * self.at
        return whole

    # -------------------------------------------------------------------------------------------------- the steps

    def _step(self, accuracy):
        """A step on the set; whether it has gained more than rounding errors."""
        c, model, before = self.columns, self.model, self._objective()
        self.grad, self.n_steps = None, self.n_steps + 1
        accuracy *= _GROUPED if c.is_grouped else 1.0
        args = self.thresholds, self.ridges, self.damping, self.low, self.high, accuracy, 0.0
        goal, gained = model.descend(self.at, *args)
        at, scores, penalty, length = self.at, c.scores, self.penalty, 1.0
        for _ in range(_BACKTRACKS):
            trial = goal if length == 1.0 else at + length * (goal - at)
            loss = c.move_to(scores + length * model.moved)
            self.penalty = self._penalty(trial)
            if loss + self.penalty <= before - 1e-4 * length * gained + 4 * _EPS * before:
                break
            length *= 0.3
        else:
            c.move_to(scores)
            self.penalty = penalty
            self.damping = max(10 * self.damping, 1e-3)
            return False
        self.damping = max(10 * self.damping, 1e-3) if length < 0.5 else self.damping / 10
        self.damping = self.damping if self.damping > 1e-6 else 0.0
        self.at = trial
        self.intercept = self.intercept + length * model.shift
        if not c.sparse:
            change = (trial - at) * c.center[self.features]
            self.intercept -= np.bincount(self.classes, change, len(self.intercept))
        self._settle()
        return before - self._objective() > 4 * _EPS * before

    def _settle(self):
        """Along shifts of all classes' coefficients of a feature, to where the penalties are least."""
        n = len(self.columns.present)
        if n == 1:
            return
        features = np.sort(self.features[self.at != 0])  # each of them n times at most
        last = features[n - 1 :]
        full = last[last == features[: len(last)]]
        if not len(full):
            return
        numbers = np.arange(n)[:, None] * self.columns.n_features + full
        places = np.searchsorted(self.numbers, numbers.ravel())
        coef = self.at[places].reshape(n, -1)
        if self.columns.is_grouped:
            coef -= coef.mean(axis=0)
        else:
            shift = shift_of_least_penalty(coef, self.threshold[full], self.ridge[full])
            if self.bounds is not None:  # which let it go so far
                low, high = (side[:, full] for side in self.bounds)
                shift = np.clip(shift, (coef - high).max(axis=0), (coef - low).min(axis=0))
            coef -= shift
            if self.bounds is not None:
                np.clip(coef, low, high, out=coef)
        if not self.is_bound and self.bounds is None:
            free = self.threshold[full] + self.ridge[full] == 0
            coef[:, free] -= coef[:, free].mean(axis=0)
        self.at[places] = coef.ravel()
        self.penalty = self._penalty(self.at)
