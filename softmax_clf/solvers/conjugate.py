"""Newton's step by conjugate gradients on exact Hessian products.

A product takes as long as a pass. A metric that is one matrix for all classes takes as long as a few, and with it some
ten to thirty products tell what blocks for each class do, which take many times as long as one matrix.
"""

from dataclasses import dataclass

import numpy as np

from .questions import Product

# What is above the minimum is at most so many times what Newton's step promises, and what the residual leaves so many
# times half its square in the metric; where the step before has brought more or less than it promised, so many times
# that share more. After a step it is so many times what the residual or the gradient there leaves, and such a share of
# the promise. Found on the families for development of benchmarks/hard_problems.py, tried on those held out.
_PROMISE, _RESIDUAL, _SURPRISE = 4.0, 30.0, 20.0
_LEFT, _REST = 2.0, 0.05
_SOLVED = 0.5  # a step is done where what the residual leaves is at most such a share of what is promised


@dataclass
class NewtonStep:
    """Newton's step, as far as it is known.

    Attributes
    ----------
    step : array (n_outputs, n_columns)
    residual : array
        The gradient and the Hessian times the step.
    promised : float
        What the quadratic model loses along it.
    square : float
        Half the squared residual in the metric.
    n_products : int
    """

    step: np.ndarray
    residual: np.ndarray
    promised: float = 0.0
    square: float = np.inf
    n_products: int = 0

    @property
    def is_solved(self):
        return _RESIDUAL * self.square <= _SOLVED * self.promised

    def above(self, surprise):
        """What F is above its minimum where the step begins, by the share that the last step was a surprise."""
        return (1 + _SURPRISE * surprise) * (_PROMISE * self.promised + _RESIDUAL * self.square)

    def surprise(self, gained):
        """The share of its promise by which the step has brought more or less."""
        return abs(gained / self.promised - 1) if self.promised > 0 else 0.0

    def above_after(self, gained, square, surprise):
        """What F is above its minimum where the step has led, and has made it smaller by so much.

        ``square`` is half the squared gradient there, which is the residual where F is a quadratic.
        """
        left = _LEFT * _RESIDUAL * max(self.square, square) + _REST * self.promised
        return (1 + _SURPRISE * surprise) ** 2 * left + _SURPRISE * self.surprise(gained) * self.promised


def newton_step(grad, inverse, most_products, is_enough=lambda found: found.is_solved):
    """Newton's step where Hessian products are known.

    A generator that yields :class:`~.questions.Product`.

    Parameters
    ----------
    grad : array (n_outputs, n_columns)
    inverse : callable array -> array
        A vector times about the inverse Hessian, symmetric and positive definite: the better, the fewer products.
    most_products : int
    is_enough : callable NewtonStep -> bool

    Returns
    -------
    NewtonStep
    """
    found = NewtonStep(np.zeros_like(grad), grad.copy())
    natural = inverse(found.residual)
    direction, square = -natural, float(np.vdot(found.residual, natural))
    while found.n_products < most_products and square > 0:
        image = yield Product(direction)
        found.n_products += 1
        curvature = float(np.vdot(direction, image))
        if not (curvature > 0 and np.isfinite(curvature)):
            break
        length = square / curvature
        found.step += length * direction
        found.residual += length * image
        found.promised += length * square / 2
        natural = inverse(found.residual)
        before, square = square, float(np.vdot(found.residual, natural))
        found.square = max(square, 0.0) / 2
        if is_enough(found):
            break
        direction = square / before * direction - natural
    return found
