"""A bound on what F is above its minimum, for problems of any size with an L2 penalty, from Hessian products.

What it rests on is proven in :class:`~softmax_clf.metrics.small.SmallObjective`. It needs a Newton step, whose own
residual it bounds: conjugate gradients on exact products, with a metric for the inverse, give one in a few products.
"""

import numpy as np
from scipy.special import xlog1py

from softmax_clf.kernels.softmax import RAW
from softmax_clf.solvers.conjugate import newton_step

SHARE = 0.2  # of the target that the residual may cost


def certified(objective, point, grad, metric, target, max_products=10):
    """Bound F - F* at a point of an objective.

    Parameters
    ----------
    objective : SoftmaxObjective
    point, grad : array (n_outputs, n_columns)
    metric : Metric
        The better it is, the fewer products.
    target : float
        What the bound is to be at most.
    max_products : int
        At most so many, and one more where there are intercepts.

    Returns
    -------
    value : float
    holds : bool
        Whether F - F* is at most the value. Otherwise it is an estimate of that.
    """
    p, strength = objective.source.n_features, objective.l2_reg_strength

    def cost(found):
        """What the residual costs at most, where the penalty is all the curvature that is known."""
        return float(np.square(found.residual[:, :p]).sum()) / (2 * strength) if strength > 0 else np.inf

    def is_enough(found):
        return found.is_solved if not strength > 0 else cost(found) <= SHARE * target or found.promised > target

    objective.curve(point)
    found = answered(newton_step(grad, metric.solve, max_products, is_enough), objective)
    step, residual, decrement = found.step, found.residual, found.promised
    expected = 3 * decrement
    if not strength > 0 or decrement > target or decrement + cost(found) > 2 * target:
        return expected, False
    if p < point.shape[1]:
        more = np.zeros_like(step)
        more[:, p:] = objective.intercept_step(residual[:, p:])
        residual += objective.hessian_product(more)
        step += more
    value, holds = fenchel_young(objective, step, residual)
    return (value, True) if holds else (expected, False)


def answered(generator, objective):
    """What a generator returns whose questions an objective answers."""
    answer = None
    while True:
        try:
            answer = generator.send(answer).answer(objective)
        except StopIteration as end:
            return end.value


def fenchel_young(objective, step, residual):
    """Bound F at the point of the objective's ``curve`` above its minimum.

    Parameters
    ----------
    objective : SoftmaxObjective
    step : array (n_outputs, n_columns)
        Newton's, roughly.
    residual : array (n_outputs, n_columns)
        The gradient and the Hessian times the step; for the intercepts zero, but for rounding.

    Returns
    -------
    value : float
    holds : bool
        Not where the step moves scores so far that probabilities would be negative, to first order.
    """
    source, p, strength = objective.source, objective.source.n_features, objective.l2_reg_strength
    coef, intercept = (part.astype(source.dtype) for part in objective.split(step))
    moved = np.empty((source.n_samples, objective.n_outputs), source.dtype)
    objective.passes.predict(source.parts(), coef, intercept, RAW, moved, None)
    divergence, reach = 0.0, 0.0
    for rows, proba, weight in objective.proba_blocks():
        scores = moved[rows].T.astype(np.float64)
        scores = np.concatenate([np.zeros_like(scores), scores]) if objective.n_outputs == 1 else scores
        relative = scores - (proba * scores).sum(axis=0)
        if relative.min() < -1:
            return np.inf, False
        # KL(alpha || p) of alpha = p (1 + r): sum_k p_k ((1 + r_k) log(1 + r_k) - r_k)
        divergence += float(np.sum(weight * (proba * (xlog1py(1 + relative, relative) - relative)).sum(axis=0)))
        reach = max(reach, float(np.ptp(scores, axis=0).max()))
    rest = residual[:, :p] - strength * step[:, :p]
    # what rounding has left of the intercepts' part counts as if their minimum were as far as the step, and more
    left = float(np.abs(residual[:, p:]).sum()) * (1 + reach)
    return max(divergence, 0.0) + left + float(np.vdot(rest, rest)) / (2 * strength), True
