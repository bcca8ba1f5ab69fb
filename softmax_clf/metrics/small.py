"""Small problems, in float64 whatever X is of: the whole Hessian, and how far F is above its minimum at the most.

See docs/stopping.md for where this is used, and for what other fits say.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import xlogy

from ..kernels.gram import weighted_grams
from .grams import LEAST_SHARE
from .kinds import NO_CLAIM, ExactMetric
from .refined import THIN, refined_step

HELD = 1e100  # curvature of what is to stay where it is
LEAST_MASS = 1e-100  # of the curvature of all rows, to make a metric of
_FAR = 1e9  # scores that a step moves by so much say nothing of where it is to end
_SHARE = 0.1  # of what is allowed, that simplifications of a bound may cost
_LARGE, _ROUNDS = 0.3, 5  # lambda L, from which on classes are left out of rows, if they can be; and how often they are
_ALIKE = 1e-13  # share of its size by which a feature varies where rounding errors do that
_SAFETY = 10  # for what rounding errors make of all this
_UNLIKELY = 1e-3  # probability of a class that a row is sure not to be of
# A bound takes as long as some of a step does, and is not below what is allowed where half the decrement, with what
# self-concordance multiplies it by, or what a step leaves of that, is so many times as much.
_NEAR, _WORTH_A_LOOK = 3.0, 1e3
_LAST_DIGITS = 1e-14  # share of F that the difference of two values of it may be off by
_EPS = np.finfo(np.float64).eps
_TINY = np.finfo(np.float64).tiny


@lru_cache(16)
def _pairs(n_classes):
    """Pairs of classes, the lower and the higher, and the number of each pair (n_classes, n_classes)."""
    pairs, number = np.triu_indices(n_classes, 1), np.zeros((n_classes, n_classes), np.intp)
    number[pairs] = np.arange(len(pairs[0]))
    return pairs, number


def log_softmax(scores):
    """Logarithms of the probabilities (n, n_classes) of scores (n, n_outputs); one output is that of a second class."""
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    scores = np.asfortranarray(scores)  # sums over few classes are quick by column, and all that follows is so too
    log_proba = scores - np.maximum.reduce(scores, axis=1)[:, None]
    log_proba -= np.log(np.add.reduce(np.exp(log_proba), axis=1))[:, None]
    return log_proba


def divergence(alpha, log_proba):
    """Kullback-Leibler divergence of each row of alpha from the probabilities."""
    terms = xlogy(alpha, alpha)
    terms -= alpha * log_proba
    return np.maximum(np.add.reduce(terms, axis=1), 0.0)


def dual_rows(proba, moved, weight, target, fit_intercept):
    """Rows of a point of the dual (n, n_classes): where the probabilities are to be after a step, to first order.

    Parameters
    ----------
    proba : array (n, n_classes)
        Where the step begins.
    moved : array (n, n_classes)
        What it adds to the scores.
    weight : array (n,)
        Of sum one.
    target : array (n, n_classes)
        Target probabilities.
    fit_intercept : bool
        Whether their weighted sum must be that of the targets, or the dual had no value.

    Returns
    -------
    alpha : array (n, n_classes)
        In the simplex.
    imbalance : array (n_classes,)
        Of their weighted sum, as rounding has left it; zero without an intercept.
    """
    alpha = 1 + moved
    alpha -= np.add.reduce(proba * moved, axis=1)[:, None]
    outside = alpha.min() < 0  # of the simplex
    alpha = np.maximum(alpha, 0.0, out=alpha) if outside else alpha
    alpha *= proba
    if outside:
        alpha /= alpha.sum(axis=1, keepdims=True)
    imbalance = np.zeros(alpha.shape[1])
    for _ in range(3 if fit_intercept else 0):
        imbalance = weight @ (alpha - target)
        if np.abs(imbalance).max() <= 4 * _EPS:
            break
        # as a step of the intercepts changes probabilities: alpha_i + (diag(alpha_i) - alpha_i alpha_i') c
        between = np.diag(weight @ alpha) - alpha.T @ (alpha * weight[:, None])
        c = np.linalg.lstsq(between + between.trace() / len(between) ** 2, -imbalance, rcond=1e-14)[0]
        change = 1 + c - (alpha @ c)[:, None]
        if not change.min() >= 0:
            return alpha, np.full(len(c), np.inf)
        alpha *= change
    return alpha, imbalance


class SmallObjective:
    """A :class:`~..objective.SoftmaxObjective` whose rows and whose Hessian are small enough to be held in float64.

    Parameters
    ----------
    labelled : LabelledRows
    strength : float, or array (n_features,)
        Of the L2 penalty; it may be set anew. An array where it does not count some of the features.
    absent : array (n_outputs,) bool, or None
        Outputs that are held at a probability of zero.

    Notes
    -----
    The bound. With phi_i(z) = logsumexp(z) - t_i z the loss of a row, of targets t_i, and w_i = s_i/S,

        F(V) = sum_i w_i phi_i(V x_i) + lambda/2 ||V||^2.

    For any alpha_i in the simplex logsumexp(z) >= alpha_i z - sum_k alpha_ik log alpha_ik, and what the left side is
    larger by is KL(alpha_i || softmax(z)) (M. Blondel, A. F. T. Martins and V. Niculae, Learning with Fenchel-Young
    losses, JMLR 21, 2020). So for any V, with G = sum_i w_i (alpha_i - t_i) x_i',

        F(V) >= L(V) := sum_i w_i (entropy of alpha_i) + <G, V> + lambda/2 ||V||^2,
        F(W) = L(W) + sum_i w_i KL(alpha_i || p_i(W)).

    L is least at -G/lambda, which is lower than L(W) by ||G + lambda W||^2 / (2 lambda): that is the dual (S.
    Shalev-Shwartz and T. Zhang, Stochastic dual coordinate ascent methods for regularized loss minimization, JMLR 14,
    2013). Hence, at any W,

        F(W) - F* <= sum_i w_i KL(alpha_i || p_i(W)) + ||G + lambda W||^2 / (2 lambda),

    with an intercept provided that its part of G is zero. For alpha_i = p_i(W) that is the gradient's square over twice
    the curvature of the penalty. Far better is where a Newton step d from W leads to, alpha_i = p_i + (diag(p_i) - p_i
    p_i') d x_i: then G + lambda (W + d) is the residual of Newton's equations. At W the bound is half the Newton
    decrement but for terms of third order; at W + d it is of fourth order, and large where scores move so far that
    the quadratic says nothing.
    """

    def __init__(self, labelled, strength, absent=None):
        self.labelled, self.strength = labelled, strength
        o = labelled
        self.present = None if absent is None or not absent.any() else np.flatnonzero(~absent)
        n = o.source.n_samples
        # rows without weight may hold anything
        rows = np.arange(n) if o.weight is None else np.flatnonzero(o.weight)
        X, offset = o.take(rows)
        self.offset = offset if np.ndim(offset) else None
        self.n_features = p = X.shape[1]
        # with the intercept's column
        self.design = np.ones((len(X), p + int(o.fit_intercept)))
        self.design[:, :p] = X
        self.weight = np.full(n, 1.0 / n) if o.weight is None else o.weight[rows] / n
        n_classes = o.n_classes
        if o.y.ndim == 1:
            self.target = (o.y[rows][:, None] == np.arange(n_classes)).astype(np.float64)
        else:
            self.target = o.y[rows].astype(np.float64)
            if n_classes == 2:
                self.target = np.hstack([1 - self.target, self.target])
            self.target /= self.target.sum(axis=1, keepdims=True)
        self.target = np.asfortranarray(self.target)
        if self.present is not None:
            self.target = self.target[:, self.present]
            if self.offset is not None:
                self.offset = self.offset[:, self.present]
        self.first = 1 if n_classes == 2 else 0  # class that has an output
        n_present = self.target.shape[1]
        self.weighted_target = self.target * self.weight[:, None]
        self.weight_by_class = np.asfortranarray(np.broadcast_to(self.weight[:, None], self.target.shape))
        self.pairs, self.pair_of = _pairs(n_present)
        with np.errstate(over="ignore", invalid="ignore"):  # that is told of later
            X, mean = self.design[:, :p], self.weight @ self.design[:, :p] if o.fit_intercept else 0.0
            self.variance = self.weight @ np.square(X - mean)
            self.size = self.weight @ np.abs(X)  # of the features, for rounding
        self.constant: Any = self._constant_columns() if o.fit_intercept else None

    def _among(self, point):
        return point if self.present is None else point[self.present]

    def whole(self, among):
        """A point of outputs that are present, zero for the others."""
        if self.present is None:
            return among
        point = np.zeros((self.labelled.n_outputs, among.shape[1]))
        point[self.present] = among
        return point

    def log_proba(self, point):
        """Logarithms of the probabilities (n, n_classes) at a point; even ones where it is None."""
        if point is None:
            return np.full(self.target.shape, -np.log(self.target.shape[1]))
        scores = self.scores(self._among(point))
        return log_softmax(scores if self.offset is None else scores + self.offset)

    def scores(self, among):
        """X times a point of outputs that are present, (n, n_outputs), without offsets."""
        return (among @ self.design.T).T

    def by_class(self, scores):
        """Scores (n, n_classes) of scores (n, n_outputs)."""
        if not self.first:
            return scores
        both = np.zeros((2, len(scores))).T
        both[:, 1:] = scores
        return both

    def pull(self, errors, among):
        """The gradient of rows' errors (n, n_classes), each times its weight, and of the penalty."""
        return self.pull_weighted(errors * self.weight_by_class, among)

    def pull_weighted(self, errors, among):
        """The same of errors that have their weights."""
        grad = errors[:, self.first :].T @ self.design
        grad[:, : self.n_features] += self.strength * among[:, : self.n_features]
        return grad

    def grad(self, point):
        """The gradient of F at a point."""
        among = self._among(point)
        return self.whole(self.pull(np.exp(self.log_proba(point)) - self.target, among))

    def mean_loss(self, log_proba):
        """The first part of F."""
        return -float(np.vdot(self.weighted_target, log_proba))

    def cost_of_rounding(self, point):
        """What F rises by where coefficients are kept in the dtype of X."""
        o = self.labelled
        if o.source.dtype == np.float64:
            return 0.0
        with np.errstate(over="ignore"):
            coef, intercept = (part.astype(o.source.dtype).astype(np.float64) for part in o.split(point))
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            return np.inf
        kept = point.copy()
        scale = 1.0 if o.unscale is None else np.where(o.unscale > 0, o.unscale, np.inf)
        kept[:, : coef.shape[1]] = coef / scale
        if o.fit_intercept:
            kept[:, -1] = intercept
        before, after = (
            self.mean_loss(self.log_proba(at)) + self.common / 2 * self.squares(at, at) for at in (point, kept)
        )
        return max(after - before, 0.0)

    @property
    def is_even(self):
        """Whether the L2 penalty counts all features alike."""
        return np.ndim(self.strength) == 0

    @property
    def common(self):
        """What all of :meth:`squares` is to be multiplied by in the penalty."""
        return self.strength if self.is_even else 1.0

    def squares(self, a, b):
        """The bilinear form of the L2 penalty, but for a common strength."""
        a, b = a[:, : self.n_features], b[:, : self.n_features]
        return float(np.vdot(a, b) if self.is_even else np.vdot(self.strength * a, b))

    def at(self, point, theta):
        """The :class:`Surroundings` of a point."""
        return Surroundings(self, point, theta)

    def metric(self, point, theta=0.0):
        """The Hessian at a point as a metric; None where no row is unsure of its class."""
        hess = self.hess(self.log_proba(point), theta)
        return None if hess is None else ExactMetric(*hess)

    def hess(self, log_proba, theta=0.0, definite=True):
        """The Hessian in the columns (x - center, 1), and the center; None where no row is unsure of its class.

        If it is to be ``definite``, the shift of all classes is made so.

        The center is the mean of the rows by what they curve the objective: with any other, rows that lie close
        together far from it would leave the intercept and a coefficient all but one direction.

        Rows that are sure of a wrong class have lost their curvature: Newton's step takes them ever too far, the others
        with them. To such a row's diag(p) - p p' is added theta beta v v', with v from the class that has most too much
        to that which most lacks, m < 0 the logarithm of the ratio of their probabilities, and beta what their share is
        curved less than the quadratic above their loss is, tanh(|m|/2) / (2 |m|) (T. S. Jaakkola and M. I. Jordan,
        Bayesian parameter estimation via variational methods, Statistics and Computing 10, 2000). A factor on the row's
        matrix would raise the curvature between the other classes too, by orders of magnitude.
        """
        o, center, K = self.labelled, None, log_proba.shape[1] - self.first
        columns, p = self.design.shape[1], self.n_features
        one, other = self.pairs
        curvature = self.curvature(log_proba, theta)
        by_row = np.add.reduce(curvature, axis=1)
        mass = 2 * np.add.reduce(by_row)
        if not mass > LEAST_MASS:
            return None
        x = self.design
        if o.fit_intercept:
            center = 2 / mass * (by_row @ x)
            center[p] = 0.0
            x = x - center
            if len(self.constant):
                x[:, self.constant] = 0.0
        if K == 1:
            scaled = x * np.sqrt(curvature)
            hess = scaled.T @ scaled
        else:
            hess = np.empty((K * columns, K * columns))
            blocks, own = hess.reshape(K, columns, K, columns), np.arange(K)
            blocks[own, :, own, :] = 0.0
            products = weighted_grams(x, curvature, o.n_threads)
            blocks[one, :, other, :] = blocks[other, :, one, :] = np.negative(products, out=products)
            del products  # as large as half of the blocks
            blocks[own, :, own, :] = diagonal = -np.add.reduce(blocks, axis=2)
            if definite:
                blocks += np.diag(np.add.reduce(diagonal, axis=0).diagonal() / K**2)[None, :, None, :]
        own = hess.reshape(-1)[:: len(hess) + 1].reshape(K, columns)  # a view of the diagonal
        own[:, :p] += self.strength + LEAST_SHARE * mass * self.variance
        if definite and o.fit_intercept and not np.all(self.strength):
            free = self.constant if self.is_even else self.constant[self.strength[self.constant] == 0]
            own[:, free] = HELD
        return hess, None if center is None else center[:p]

    def curvature(self, log_proba, theta):
        """Of each pair of classes w p_k p_l, and more of it in rows that are sure of a wrong class; (n, n_pairs).

        On the diagonal of the Hessian stand their sums, no differences, of which there would be nothing left where rows
        are sure.
        """
        one, other = self.pairs
        curvature = log_proba[:, one]
        curvature += log_proba[:, other]
        np.exp(curvature, out=curvature)
        curvature *= self.weight[:, None]
        if theta:
            self._add_to_wrong(curvature, log_proba, theta)
        return curvature

    def _add_to_wrong(self, curvature, log_proba, theta):
        """Add to the curvatures of pairs (n, n_pairs) what rows lack that are sure of a wrong class."""
        lacks = self.target - np.exp(log_proba)
        rows = np.arange(len(lacks))
        to, off = lacks.argmax(axis=1), lacks.argmin(axis=1)
        margin = log_proba[rows, off] - log_proba[rows, to]
        found = np.flatnonzero(margin > 1e-3)
        to, off, margin = to[found], off[found], margin[found]
        share = np.exp(log_proba[found, to]) + np.exp(log_proba[found, off])
        lacking = np.minimum(lacks[found, to] / np.maximum(-np.expm1(log_proba[found, to]), _TINY), 1.0)
        # the curvature of the quadratic, by the difference of two classes' scores, and that of the loss
        ratio = np.exp(-margin)
        beta = np.tanh(margin / 2) / (2 * margin) - ratio / np.square(1 + ratio)
        beta *= share * theta * lacking * self.weight[found]
        pair = self.pair_of[np.minimum(to, off), np.maximum(to, off)]
        curvature[found, pair] += np.maximum(beta, 0.0)

    def _constant_columns(self):
        """Features that do not vary: the intercept does all that they can."""
        X = self.design[:, : self.n_features]
        constant = np.ones(self.n_features, bool)
        for start in range(0, len(X), 256):  # in bands, to make no other matrix of this size
            constant &= (X[start : start + 256] == X[0]).all(axis=0)
            if not constant.any():
                break
        return np.flatnonzero(constant)


class Surroundings:
    """A point of a :class:`SmallObjective`, and Newton's step from there.

    Parameters
    ----------
    small : SmallObjective
    point : array (n_outputs, n_columns)
    theta : float
        As :meth:`SmallObjective.hess` takes it.

    Attributes
    ----------
    objective, slope : float
        F, and its derivative along the step.
    step : array (n_outputs, n_columns)
    reach : float
        The most that it moves a score against another.
    """

    def __init__(self, small, point, theta):
        self.small, self.point, self.theta = small, small._among(point), theta
        self.log_proba = small.log_proba(point)
        self.proba = np.exp(self.log_proba)
        self.penalty = small.common / 2 * small.squares(self.point, self.point)
        self.objective = small.mean_loss(self.log_proba) + self.penalty
        self.grad = small.pull(self.proba - small.target, self.point)
        self.metric = self._metric(theta)
        self.inner = self._inner_step()
        self.step = small.whole(self.inner)
        self.whole_grad = small.whole(self.grad)
        self.moved = small.by_class(small.scores(self.inner))
        self.slope = float(np.vdot(self.grad, self.inner))
        spread = np.maximum.reduce(self.moved, axis=1) - np.minimum.reduce(self.moved, axis=1)
        self.reach = float(spread.max())
        self.products = small.squares(self.point, self.inner), small.squares(self.inner, self.inner)
        self.weighted_moves = self.moved * small.weight_by_class
        self.slope_of_target = float(np.vdot(self.weighted_moves, small.target))
        self.has_dual = small.is_even and small.strength > 0  # which asks for a penalty of all features
        self.there = 0.0, self.objective, self.log_proba  # where on the step it was last asked for
        self.dual: Any = None
        self.rest: Any = None
        self.known: Any = None

    def _metric(self, theta):
        """The Hessian at the point.

        Where all rows are sure of their class it has no curvature: then with the most that wrong rows may be given, and
        where no row is wrong either, that of even probabilities.
        """
        with np.errstate(over="raise", invalid="raise"):
            for log_proba, more in ((self.log_proba, theta), (self.log_proba, 1.0), (self.small.log_proba(None), 0.0)):
                hess = self.small.hess(log_proba, more)
                if hess is not None:
                    self.theta = more if log_proba is self.log_proba else np.nan  # of none that is here
                    return ExactMetric(*hess)
        raise AssertionError("unreachable")

    def _inner_step(self):
        """Newton's step among the classes that are present."""
        if self.metric.thinnest > THIN or np.isnan(self.theta):
            return -self.metric.solve(self.grad)
        curvature = self.small.curvature(self.log_proba, self.theta)
        return refined_step(self.small, curvature, self.metric, self.grad)[0]

    def along(self, length):
        """F and its derivative so far along the step: no pass over the rows."""
        small, strength = self.small, self.small.common
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is looked for
            log_proba = log_softmax(self.log_proba + length * self.moved)
        cross, square = self.products
        value = small.mean_loss(log_proba) + self.penalty + strength * length * (cross + length / 2 * square)
        slope = float(np.vdot(np.exp(log_proba), self.weighted_moves)) - self.slope_of_target
        self.there = length, value, log_proba
        return value, slope + strength * (cross + length * square)

    def may_be_done(self, allowed, after_step=False):
        """Whether a bound here, or after the step, may be as low as is allowed, by what the step promises."""
        promised = -self.slope / 2
        if not self.has_dual:
            return promised * _SAFETY <= _NEAR * allowed
        if after_step:
            return promised * min(self.reach, 1.0) ** 2 <= _WORTH_A_LOOK * allowed
        return promised <= _NEAR * allowed

    def bound(self, length, allowed):
        """What F is above its minimum at the most, after so much of the step.

        Parameters
        ----------
        length : float
        allowed : float
            What it is to be at most.

        Returns
        -------
        value : float
            The least of: F itself; what a point of the dual shows, as :class:`SmallObjective` has it; and what
            self-concordance does, as :meth:`_self_concordant` has it.
        holds : bool
            Whether that is proven, rounding errors included. The dual has no value without a penalty, and is useless
            with one so weak that rounding errors, divided by its strength, exceed what is allowed.
        """
        small = self.small
        strength = small.strength if self.has_dual else 0.0
        if length != self.there[0]:
            self.along(length)
        value = self.there[1]
        best = value, True
        if not np.isfinite(value) or (strength > 0 and not self.reach < _FAR):
            return best
        if strength > 0:
            with np.errstate(over="ignore"):
                lost = self.inner.shape[0] * float(np.square(_EPS * small.size).sum()) / (2 * strength)
                best = min(best, (self._by_dual(length), True))
            if best[0] <= allowed or not lost > allowed / 10:
                return best
        if self.known is None:
            self.known = self._self_concordant(allowed)
        return min(best, (max(self.known + value - self.objective, 0.0) + _LAST_DIGITS * abs(self.objective), False))

    def _by_dual(self, length):
        """The bound by the point of the dual where a Newton step leads to."""
        small, strength, p = self.small, self.small.strength, self.small.n_features
        if self.dual is None:
            args = small.weight, small.target, small.labelled.fit_intercept
            self.dual = dual_rows(self.proba, self.moved, *args)
            self.rest = small.pull(self.dual[0] - small.target, self.point + self.inner)
        alpha, imbalance = self.dual
        value = float(small.weight @ divergence(alpha, self.there[2]))
        # What rounding has left of the intercepts' part counts as if their minimum were as far as this step, and more.
        value += float(np.abs(imbalance).sum()) * (1 + self.reach)
        rest = self.rest[:, :p] - (1 - length) * strength * self.inner[:, :p]
        return value + float(np.vdot(rest, rest)) / (2 * strength)

    def _self_concordant(self, allowed):
        """What F is above its minimum at the point at the most, but for rounding errors; infinite where that is open.

        Along a line on which scores move against each other by ``reach`` at the most, the second derivative of F
        falls no faster than by the exponential of that (F. Bach, Self-concordant analysis for logistic regression,
        Electronic Journal of Statistics 4, 2010). With lambda the Newton decrement, the norm of the gradient in the
        inverse Hessian, and L the most that a step of norm one in the Hessian moves them by, on any line F is at least

            F(W) - lambda t + (exp(-L t) + L t - 1) / L^2,    whose minimum over t is, if a = lambda L < 1,
            F(W) - (a + (1 - a) log(1 - a)) / L^2.

        Classes that a row is sure not to be of are left out of its loss, where scores move much against theirs: the
        loss is at least that of the others, and what it is more is counted whole. Those that rows are sure of for good
        have no other end, and a row far out, on its way there, hides that the others have not converged.
        """
        small, log_proba = self.small, self.log_proba
        may_go, (one, other) = self._absent(_SHARE * allowed), small.pairs
        metric, grad, lost = self.metric, self.grad, 0.0
        if self.theta != 0:
            metric, grad = self._among(log_proba)
        for _ in range(_ROUNDS):
            if metric is None or metric.slack >= NO_CLAIM:
                return np.inf
            curvature = small.curvature(log_proba, 0.0)
            _, square = refined_step(small, curvature, metric, grad, _SHARE * allowed)
            if not np.isfinite(square):
                return np.inf
            norm = np.sqrt(square)
            with np.errstate(invalid="ignore"):
                share = norm * metric.reach(small.design)
            share[np.isinf(log_proba[:, one]) | np.isinf(log_proba[:, other])] = 0.0
            large = np.zeros_like(may_go)
            rows, pairs = np.nonzero(~(share < _LARGE))
            a, b = one[pairs], other[pairs]
            large[rows, np.where(log_proba[rows, a] < log_proba[rows, b], a, b)] = True
            large &= may_go
            if not large.any():
                break
            may_go &= ~large
            log_proba = np.where(large, -np.inf, log_proba)
            remains = np.logaddexp.reduce(log_proba, axis=1)
            lost -= float(small.weight @ remains)
            log_proba = np.asfortranarray(log_proba - remains[:, None])
            metric, grad = self._among(log_proba)
        a = float(share.max())
        if not a < 1:
            return np.inf
        factor = 0.5 + a / 6 if a < 1e-3 else (a + (1 - a) * np.log1p(-a)) / a**2
        return _SAFETY * square * factor + lost

    def _absent(self, allowed):
        """A mask (n, n_classes) of classes that rows are all but certain not to be of.

        As many are marked, those of least loss first, as have at most the allowed loss together.
        """
        loss = self.proba * self.small.weight_by_class
        rows, classes = np.nonzero((self.small.target == 0) & (self.proba < _UNLIKELY))
        order = np.argsort(loss[rows, classes])
        order = order[np.cumsum(loss[rows, classes][order]) <= allowed]
        mask = np.zeros(loss.shape, bool)
        mask[rows[order], classes[order]] = True
        return mask

    def _among(self, log_proba):
        """The Hessian as a metric, or None, and the gradient, of a loss with other probabilities."""
        small = self.small
        grad = small.pull(np.exp(log_proba) - small.target, self.point)
        with np.errstate(over="raise", invalid="raise"):
            hess = small.hess(log_proba)
        if hess is None:
            return None, grad
        if small.labelled.fit_intercept and not np.all(small.strength):
            # what no row is left to vary in but by rounding errors
            own = hess[0].reshape(-1)[:: len(hess[0]) + 1].reshape(len(grad), -1)[:, : small.n_features]
            own[own <= np.square(_ALIKE * np.abs(small.design[:, : small.n_features]).max(axis=0))] = HELD
        return ExactMetric(*hess), grad
