"""Sparse coefficients, of which few matter: Newton steps on working sets, and a bound by a point of the dual."""

import numpy as np

from .proximal import shift_of_least_penalty
from .stopping import ROUNDING, Solution

_ACCURACY, _LAST_ACCURACY = 1e-2, 1e-6  # of a model's minimum, relative to what is gained in it
_MAX_STEPS = 30  # on one working set
_LEAST_SET = 50  # coordinates that a set may grow by, or as many as there are in it
_SHARE = 0.5  # of what is allowed, that a working set may leave to be gained
_BACKTRACKS = 30
_STANDING = 3  # steps in a row that gain nothing, for rounding
_EPS = np.finfo(np.float64).eps


def working_set(point, columns, *, threshold, ridge, target, max_iter, report, **ignored):
    """Minimise a mean loss of rows with an L1 penalty, and perhaps an L2 penalty.

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
    4. Stop when the duality gap is at most ``target(point)``.

    The gap: probabilities p of the rows, moved a share of the way to the targets y until no derivative exceeds its
    threshold, are a point of the dual. With u the derivatives of the loss by the coefficients w there,

        F - F* <= sum(weight KL(alpha || p))
                  + sum(threshold |w| + ridge/2 w^2 + w u + max(|u| - threshold, 0)^2 / (2 ridge))

    where the last term is left out, and u feasible, without an L2 penalty. As y - p sums to zero over the rows once the
    intercepts are best, so does y - alpha, as the dual asks for where intercepts are not penalised.

    Parameters
    ----------
    point : array (n_outputs, n_columns) float64
    columns : Columns
    threshold, ridge : array (n_features,)
        Strengths of the penalties by feature.
    target : callable (point, penalty) -> float
    max_iter, report
        As in :func:`~.lbfgs.lbfgs`.

    Returns
    -------
    Solution
    """
    if columns.last is None:
        yield point  # so that it is seen whether scores are finite there; nothing else is asked for
    return _Fit(point, columns, threshold, ridge, target, max_iter, report).run()


class _Fit:
    """What is known of a fit on its way. Parameters as of :func:`working_set`."""

    def __init__(self, point, columns, threshold, ridge, target, max_iter, report):
        self.columns, self.threshold, self.ridge = columns, threshold, ridge
        self.target, self.max_iter, self.report = target, max_iter, report
        p, present = columns.n_features, columns.present
        self.start, self.coef = point, point[present, :p]
        self.intercept = point[present, p] if columns.fit_intercept else np.zeros(len(present))
        self.solution, self.lower, self.allowed, self.damping = Solution(point), 0.0, None, 0.0

    def run(self):
        c = self.columns
        strength, coef, grad = c.last or (None, None, None)
        follows = coef is not None and np.array_equal(coef, self.coef)
        if follows:
            self.coef = self._ahead()
        c.begin(self.coef, self.intercept)
        if not follows:
            self.intercept = self.intercept + c.balance()
            strength, grad = None, c.gradient()
        self._choose(self._strong(grad, strength))
        ended = self._record() if follows else self._check(grad)
        while not ended:
            grad, standing, least = None, 0, np.inf
            for step in range(_MAX_STEPS):
                moved = self._step(_LAST_ACCURACY if standing else _ACCURACY)
                self.model.update()
                left = self._gap(self.model.grad, np.abs(self.model.grad), self.thresholds, self.ridges)
                standing = 0 if moved or left < 0.9 * least else standing + 1
                least = min(left, least)
                if standing == _STANDING or left <= _SHARE * self.allowed or step == _MAX_STEPS - 1:
                    self.intercept += c.balance()
                    grad = c.gradient()
                    ended = self._check(grad)
                    if standing == _STANDING and not ended and not self._violates(grad).any():
                        self.solution.reason, ended = ROUNDING, True
                    break
                ended = self._record()
                if ended:
                    break
            if not ended:
                self._choose(self.mask | self._most(self._violates(grad), grad))
        if grad is None:
            grad = c.gradient()
        c.before, c.last = c.last, (c.objective.l1_reg_strength, self._whole_coef(), grad)
        self.solution.grad = self._whole_grad(grad)
        return self.solution

    def _ahead(self):
        """On in a line through the last two solutions, but for what is zero or would change its sign."""
        c, coef = self.columns, self.coef
        if c.before is None:
            return coef
        (first, before, _), (last, _, _) = c.before, c.last
        if not first > last:
            return coef
        share = min((last - c.objective.l1_reg_strength) / (first - last), 1.0)
        places = np.nonzero(coef)
        ahead = coef[places] + share * (coef[places] - before[places])
        coef = coef.copy()
        coef[places] = np.where(ahead * coef[places] > 0, ahead, coef[places])
        return coef

    # ----------------------------------------------------------------------------------------------- working sets

    def _strong(self, grad, strength):
        """The first set, at the gradient of a solution for another strength of the penalty, or of none."""
        bound = self.threshold
        if strength:
            now = self.columns.objective.l1_reg_strength
            bound = np.maximum(2 - strength / now, 0.5) * self.threshold
        return (self.coef != 0) | self._most(np.abs(grad) > bound, grad)

    def _violates(self, grad):
        return (np.abs(grad) > self.threshold) & ~self.mask

    def _most(self, candidates, grad):
        """Of candidates those with the largest derivatives for their thresholds, as many as a set may grow by."""
        n_used = np.count_nonzero(self.mask) if hasattr(self, "mask") else np.count_nonzero(self.coef)
        n_most = max(2 * n_used, _LEAST_SET)
        found = np.flatnonzero(candidates)
        if len(found) > n_most:
            ratio = (np.abs(grad) / np.maximum(self.threshold, 1e-300)).ravel()[found]
            candidates = np.zeros_like(candidates)
            candidates.ravel()[found[np.argpartition(-ratio, n_most)[:n_most]]] = True
        return candidates

    def _choose(self, mask):
        """Work on a set from now on."""
        coef = self._whole_coef() if hasattr(self, "mask") else self.coef
        self.coef, self.mask = coef, mask
        self.classes, self.features = np.nonzero(mask)
        self.model = self.columns.model(self.classes, self.features)
        self.model.update()
        self.at = coef[self.classes, self.features]
        self.thresholds, self.ridges = self.threshold[self.features], self.ridge[self.features]
        self.penalty = self._penalty(self.at)

    def _whole_coef(self):
        coef = np.zeros_like(self.coef)
        coef[self.classes, self.features] = self.at
        return coef

    def _penalty(self, at):
        return float(self.thresholds @ np.abs(at) + self.ridges @ np.square(at) / 2)

    # --------------------------------------------------------------------------------------------------- the dual

    def _gap(self, grad_here, size, threshold, ridge):
        """What F is above its minimum among some coefficients, at most, with intercepts at their best.

        Parameters
        ----------
        grad_here : array (n_coordinates,)
            Derivatives of the loss by the coordinates of the set, outside of which all coefficients are zero.
        size, threshold, ridge
            The sizes of the derivatives by all these coefficients, and the strengths of their penalties.
        """
        cross = float(self.at @ grad_here)
        over = size > threshold
        size, threshold, ridge = size[over], threshold[over], ridge[over]
        shares = [1 - 1 / float((size / threshold).max())] if len(size) else [0.0]
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
        return max(min(gaps), 0.0)

    def _check(self, grad):
        """Take in where it is, with the duality gap; whether it is the last."""
        threshold, ridge = (np.broadcast_to(a, grad.shape) for a in (self.threshold, self.ridge))
        gap = self._gap(grad[self.classes, self.features], np.abs(grad), threshold, ridge)
        unbalanced = float(np.abs(self.columns.residual.sum(axis=1)).sum()) if self.columns.fit_intercept else 0.0
        gap += unbalanced * (1 + float(np.abs(self.columns.scores).max())) + 4 * _EPS * self._objective()
        self.lower = max(self.lower, self._objective() - gap)
        return self._record(checked=True)

    def _objective(self):
        return self.columns.value + self.penalty

    def _record(self, checked=False):
        objective = self._objective()
        above = objective - self.lower
        # the point with its zeros, of which only those pages are touched that others share
        point, p, c = np.zeros(self.start.shape), self.columns.n_features, self.columns
        point[c.present[self.classes], self.features] = self.at
        if c.fit_intercept:
            point[c.present, p] = self.intercept
            if len(c.present) > 1:
                point[c.present, p] -= self.intercept.mean()
        if not self.allowed or (checked and above <= self.allowed):
            self.allowed = self.target(point, self.penalty)
        args = self.allowed, self.max_iter, self.report
        return self.solution.is_final(point, objective, None, above, True, *args)

    def _whole_grad(self, grad):
        """Of F without the L1 penalty, of all outputs."""
        c = self.columns
        whole = np.zeros(self.start.shape)
        whole[c.present, : c.n_features] = grad
        whole[c.present[self.classes], self.features] += self.ridges * self.at
        return whole

    # -------------------------------------------------------------------------------------------------- the steps

    def _step(self, accuracy):
        """A step on the set; whether it has gained more than rounding errors."""
        c, model, before = self.columns, self.model, self._objective()
        free = np.full(len(self.at), np.inf)
        args = self.thresholds, self.ridges, self.damping, -free, free, accuracy, 0.0
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
        used = self.at != 0
        if np.count_nonzero(used) < n:
            return
        full = np.flatnonzero(np.bincount(self.features[used]) == n)
        if not len(full):
            return
        places = np.flatnonzero(np.isin(self.features, full))  # class by class, and so of features in order
        coef = self.at[places].reshape(n, -1)
        for same in np.unique(self.threshold[full]):
            some = self.threshold[full] == same
            coef[:, some] -= shift_of_least_penalty(coef[:, some], same, self.ridge[full[0]])
        self.at[places] = coef.ravel()
        self.penalty = self._penalty(self.at)
