"""Small problems, in float64 whatever X is of: the whole Hessian, and how far F is above its minimum at the most."""

import numpy as np
from scipy.special import xlogy

from .grams import LEAST_SHARE
from .kinds import NO_CLAIM, ExactMetric

HELD = 1e100  # curvature of what is to stay where it is
LEAST_MASS = 1e-100  # of the curvature of all rows, to make a metric of
_BLOCK_BYTES = 1 << 19  # of weighted rows, which then stay in the cache
_FAR = 1e9  # scores that a step moves by so much say nothing of where it is to end
_EPS = np.finfo(np.float64).eps
_TINY = np.finfo(np.float64).tiny


def log_softmax(scores):
    """Logarithms of the probabilities (n, n_classes) of scores (n, n_outputs); one output is that of a second class."""
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    scores = np.asfortranarray(scores)  # sums over few classes are quick by column, and all that follows is so too
    log_proba = scores - scores.max(axis=1, keepdims=True)
    log_proba -= np.log(np.exp(log_proba).sum(axis=1, keepdims=True))
    return log_proba


def divergence(alpha, log_proba):
    """Kullback-Leibler divergence of each row of alpha from the probabilities."""
    return np.maximum((xlogy(alpha, alpha) - alpha * log_proba).sum(axis=1), 0.0)


def dual_rows(log_proba, moved, weight, target, fit_intercept):
    """Rows of a point of the dual (n, n_classes): where the probabilities are to be after a step, to first order.

    Parameters
    ----------
    log_proba : array (n, n_classes)
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
    proba = np.exp(log_proba)
    alpha = 1 + moved - (proba * moved).sum(axis=1, keepdims=True)
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
    strength : float
        Of the L2 penalty; it may be set anew.
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
        X, self.offset = o.take(rows)
        self.design = X.astype(np.float64, copy=False)
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
            if self.offset is not None and np.ndim(self.offset):
                self.offset = self.offset[:, self.present]
        self.first = 1 if n_classes == 2 else 0  # class that has an output
        n_present = self.target.shape[1]
        self.pairs = np.triu_indices(n_present, 1)
        self.pair_of = np.zeros((n_present, n_present), np.intp)
        self.pair_of[self.pairs] = np.arange(len(self.pairs[0]))
        with np.errstate(over="ignore", invalid="ignore"):  # that is told of later
            mean = self.weight @ self.design if o.fit_intercept else 0.0
            self.variance = self.weight @ np.square(self.design - mean)
            self.size = self.weight @ np.abs(self.design)  # of the features, for rounding
        self.constant = self._constant_columns() if o.fit_intercept else None

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
        return log_softmax(self.scores(self._among(point)) + self.offset)

    def scores(self, among):
        """X times a point of outputs that are present, without offsets."""
        p = self.design.shape[1]
        scores = self.design @ among[:, :p].T
        return scores + among[:, p] if self.labelled.fit_intercept else scores

    def by_class(self, scores):
        """Scores (n, n_classes) of scores (n, n_outputs)."""
        return np.asfortranarray(np.hstack([np.zeros_like(scores), scores]) if self.first else scores)

    def pull(self, errors, among):
        """The gradient of rows' errors (n, n_classes), each times its weight, and of the penalty."""
        p, errors = self.design.shape[1], errors[:, self.first :] * self.weight[:, None]
        grad = np.empty_like(among)
        np.matmul(errors.T, self.design, out=grad[:, :p])
        grad[:, :p] += self.strength * among[:, :p]
        if self.labelled.fit_intercept:
            grad[:, p] = errors.sum(axis=0)
        return grad

    def mean_loss(self, log_proba):
        """The first part of F."""
        return -float(self.weight @ (self.target * log_proba).sum(axis=1))

    def cost_of_rounding(self, point):
        """What F rises by where coefficients are kept in the dtype of X."""
        o = self.labelled
        if o.source.dtype == np.float64:
            return 0.0
        coef, intercept = (part.astype(o.source.dtype).astype(np.float64) for part in o.split(point))
        kept = point.copy()
        scale = 1.0 if o.unscale is None else np.where(o.unscale > 0, o.unscale, np.inf)
        kept[:, : coef.shape[1]] = coef / scale
        if o.fit_intercept:
            kept[:, -1] = intercept
        before, after = (
            self.mean_loss(self.log_proba(at)) + self.strength / 2 * float(np.square(at[:, : coef.shape[1]]).sum())
            for at in (point, kept)
        )
        return max(after - before, 0.0)

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
        o, x, center = self.labelled, self.design, None
        n, p = x.shape
        K, columns = log_proba.shape[1] - self.first, p + int(o.fit_intercept)
        one, other = self.pairs
        # Of each pair of classes w p_k p_l: on the diagonal stand their sums, no differences, of which there would be
        # nothing left where rows are sure.
        curvature = np.exp(log_proba[:, one] + log_proba[:, other])
        curvature *= self.weight[:, None]
        if theta:
            self._add_to_wrong(curvature, log_proba, theta)
        by_row = 2 * curvature.sum(axis=1)
        mass = by_row.sum()
        if not mass > LEAST_MASS:
            return None
        if o.fit_intercept:
            center = by_row @ x / mass
            x = np.empty((n, columns))
            np.subtract(self.design, center, out=x[:, :p])
            x[:, p] = 1.0
            x[:, self.constant] = 0.0
        if K == 1:
            scaled = x * np.sqrt(curvature)
            hess = scaled.T @ scaled
        else:
            hess = np.zeros((K * columns, K * columns))
            blocks, transposed = hess.reshape(K, columns, K, columns), np.ascontiguousarray(x.T)
            size = max(_BLOCK_BYTES // transposed.nbytes, 1)
            for start in range(0, len(one), size):
                some = slice(start, start + size)
                products = np.matmul(transposed * curvature.T[some, None, :], x)
                blocks[one[some], :, other[some], :] = blocks[other[some], :, one[some], :] = -products
            own = np.arange(K)
            blocks[own, :, own, :] = diagonal = -blocks.sum(axis=2)
            if definite:
                blocks += np.diag(diagonal.sum(axis=0).diagonal() / K**2)[None, :, None, :]
        penalised = np.arange(K * columns).reshape(K, columns)[:, :p].ravel()
        hess[penalised, penalised] += self.strength + LEAST_SHARE * mass * np.tile(self.variance, K)
        if self.strength == 0 and definite and o.fit_intercept:
            held = (columns * np.arange(K)[:, None] + self.constant).ravel()
            hess[held, held] = HELD
        return hess, center

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
        constant = np.ones(self.design.shape[1], bool)
        for start in range(0, len(self.design), 256):  # in bands, to make no other matrix of this size
            constant &= (self.design[start : start + 256] == self.design[0]).all(axis=0)
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
        self.penalty = small.strength / 2 * self._squares(self.point, self.point)
        self.objective = small.mean_loss(self.log_proba) + self.penalty
        self.grad = small.pull(np.exp(self.log_proba) - small.target, self.point)
        self.metric = self._metric(theta)
        self.inner = -self.metric.solve(self.grad)
        self.step = small.whole(self.inner)
        self.moved = small.by_class(small.scores(self.inner))
        self.slope = float(np.vdot(self.grad, self.inner))
        self.reach = float(np.ptp(self.moved, axis=1).max())
        self.dual = None

    def _metric(self, theta):
        """The Hessian, where no row is unsure of its class with more for those that are wrong, or of even ones."""
        with np.errstate(over="raise", invalid="raise"):
            for log_proba, more in ((self.log_proba, theta), (self.log_proba, 1.0), (self.small.log_proba(None), 0.0)):
                hess = self.small.hess(log_proba, more)
                if hess is not None:
                    return ExactMetric(*hess)
        raise AssertionError("unreachable")

    def _squares(self, a, b):
        p = self.small.design.shape[1]
        return float(np.vdot(a[:, :p], b[:, :p]))

    def along(self, length):
        """F and its derivative so far along the step: no pass over the rows."""
        small, strength = self.small, self.small.strength
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is looked for
            log_proba = log_softmax(self.log_proba + length * self.moved)
        cross, square = self._squares(self.point, self.inner), self._squares(self.inner, self.inner)
        value = small.mean_loss(log_proba) + self.penalty + strength * length * (cross + length / 2 * square)
        slope = float(small.weight @ ((np.exp(log_proba) - small.target) * self.moved).sum(axis=1))
        return value, slope + strength * (cross + length * square)

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
        holds : bool
            Whether that is proven. Otherwise, where there is no penalty, or so weak a one that rounding errors alone,
            over its strength, are more than what is allowed, it is what the same quantities let one expect, three times
            and more where the Hessian may change on the way.
        """
        small, strength = self.small, self.small.strength
        if not self.reach < _FAR:
            return np.inf, False
        if self.dual is None:
            args = small.weight, small.target, small.labelled.fit_intercept
            self.dual = dual_rows(self.log_proba, self.moved, *args)
            self.rest = small.pull(self.dual[0] - small.target, self.point + self.inner)
        alpha, imbalance = self.dual
        apart = float(small.weight @ divergence(alpha, log_softmax(self.log_proba + length * self.moved)))
        # What rounding has left of the intercepts' part counts as if their minimum were as far as this step, and more.
        apart += float(np.abs(imbalance).sum()) * (1 + self.reach)
        p = small.design.shape[1]
        if strength > 0:
            rest = self.rest[:, :p] - (1 - length) * strength * self.inner[:, :p]
            with np.errstate(over="ignore"):
                value = apart + float(np.vdot(rest, rest)) / (2 * strength)
                lost = len(rest) * float(np.square(_EPS * small.size).sum()) / (2 * strength)
            if value <= allowed or not lost > allowed / 10:
                return value, True
        if self.metric.slack >= NO_CLAIM or not np.isfinite(apart):
            return np.inf, False
        expected = apart + float(np.vdot(self.rest, self.metric.solve(self.rest))) / 2
        expected += strength / 2 * (1 - length) ** 2 * self._squares(self.inner, self.inner)
        # by no more than the exponential of its reach can the Hessian change on a step of this length (F. Bach,
        # Self-concordant analysis for logistic regression, Electronic Journal of Statistics 4, 2010)
        return 3 * np.exp(2 * min(max(length, 1.0) * self.reach, 100.0)) * expected, False
