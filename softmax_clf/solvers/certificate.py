"""A bound on what F is above its minimum, for problems of any size with an L2 penalty, from Hessian products.

What it rests on is proven in :class:`~..metrics.small.SmallObjective`. It needs a Newton step d, whose own residual it
bounds: conjugate gradients on exact products, with a metric for the inverse, give one in a few products.
"""

from dataclasses import dataclass

import numpy as np

from .conjugate import newton_step
from .questions import Product

_SHARE = 0.2  # of the target that the residual may cost


@dataclass
class Balance:
    """What a solver asks for: the intercepts' step whose product with the intercepts' Hessian is minus a gradient."""

    grad: np.ndarray

    def answer(self, objective):
        return objective.intercept_step(self.grad)


@dataclass
class Dual:
    """What a solver asks for: the bound by a step and what the Hessian times it lacks of minus the gradient."""

    step: np.ndarray
    residual: np.ndarray

    def answer(self, objective):
        return objective.fenchel_young(self.step, self.residual)


def certify(point, grad, metric, strength, target, max_products, n_features=None):
    """Bound F - F* at a point.

    A generator that yields :class:`Product`, :class:`Balance` and :class:`Dual`, to be sent what their ``answer`` gives
    for an objective whose Hessian products are those at the point (:meth:`~..objective.SoftmaxObjective.curve`).

    Parameters
    ----------
    point, grad : array (n_outputs, n_columns)
    metric : Metric
        The better it is, the fewer products.
    strength : float
        Of the L2 penalty.
    target : float
        What the bound is to be at most.
    max_products : int
        At most so many, and one more where there are intercepts.
    n_features : int, or None
        Columns that the penalty counts; None for all of them.

    Returns
    -------
    value : float
    holds : bool
        Whether F - F* is at most the value. Otherwise it is an estimate of that.
    """
    p = point.shape[-1] if n_features is None else n_features

    def short(found):
        """What the residual costs at most, where the penalty is all the curvature that is known."""
        return float(np.square(found.residual[..., :p]).sum()) / (2 * strength) if strength > 0 else np.inf

    def is_enough(found):
        return found.is_solved if not strength > 0 else short(found) <= _SHARE * target or found.promised > target

    found = yield from newton_step(grad, metric.solve, max_products, is_enough)
    step, residual, decrement = found.step, found.residual, found.promised
    expected = 3 * decrement
    if not strength > 0 or decrement > target or decrement + short(found) > 2 * target:
        return expected, False
    if p < point.shape[-1]:
        more = np.zeros_like(step)
        more[..., p:] = yield Balance(residual[..., p:])
        residual += yield Product(more)
        step += more
    value, holds = yield Dual(step, residual)
    return (value, True) if holds else (expected, False)


def certified(objective, point, grad, metric, target, max_products=10):
    """The bound and whether it holds, at a point of an objective."""
    objective.curve(point)
    n_features = objective.source.n_features
    generator = certify(point, grad, metric, objective.l2_reg_strength, target, max_products, n_features)
    answer = None
    while True:
        try:
            answer = generator.send(answer).answer(objective)
        except StopIteration as end:
            return end.value
