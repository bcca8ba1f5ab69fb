"""Newton's step of a small problem where its factored Hessian has too few digits for it.

Where columns are nearly equal, rounding errors of the Hessian hide the curvature along their difference. Its products
with a step keep it, since scores of the step are formed first, and in these the columns have been subtracted already.
So conjugate gradients on products, with the factor as their preconditioner, find the step; of such differences there
are few, and each takes about a product.
"""

import numpy as np

from ..solvers.conjugate import newton_step

THIN = 1e-9  # share of a column that the others leave, below which a factor has too few digits for a step by itself
_MOST_PRODUCTS, _ACCURATE = 60, 1e-2  # and to what share the square of a gradient is to be known
_LAST = 3  # products, the last ones, that must have added next to nothing
_RESIDUAL = 20  # times the square of the residual in the metric that counts as missing
_RIGHT = 1e-10  # share of a square, below which the residual after a product tells that the factor is right
_NOISE = 1e-14  # of the sum of what a score is made of


class _Search:
    """A Newton step as it is found, and what is known of the square of the gradient in the inverse Hessian.

    Parameters
    ----------
    small : SmallObjective
    curvature : array (n, n_pairs)
        Of each row and pair of classes.
    little : float
        A square that need not be known better.
    """

    def __init__(self, small, curvature, little):
        self.small, self.curvature, self.little = small, curvature, little
        self.squares, self.found_noise = [0.0], False

    def product(self, step):
        """The Hessian times a step; nothing where that would be of rounding errors."""
        small, (one, other) = self.small, self.small.pairs
        moved = small.by_class(small.scores(step))
        between = moved[:, one] - moved[:, other]
        self.found_noise = self._is_noise(step, between)
        if self.found_noise:
            return np.zeros_like(step)
        flow, errors = self.curvature * between, np.zeros_like(moved)
        for pair, (k, m) in enumerate(zip(one, other, strict=True)):
            errors[:, k] += flow[:, pair]
            errors[:, m] -= flow[:, pair]
        return small.pull_weighted(errors, step)

    def _is_noise(self, step, between):
        """Whether rounding errors are all that a step moves scores by, where they count: then columns are collinear."""
        size = np.add.reduce(np.abs(step) @ np.abs(self.small.design).T, axis=0)
        most = np.add.reduce(self.curvature, axis=1) @ np.square(_NOISE * size)
        return np.vdot(self.curvature, np.square(between)) <= most

    def square(self, found):
        """What it is at the most: what the residual leaves counts, and what the last products have added once more."""
        squares, recent = self.squares, np.inf
        if self.found_noise or found.square <= _RIGHT * max(squares[-1], self.little):
            recent = 0.0
        elif len(squares) > _LAST:
            recent = squares[-1] - squares[-1 - _LAST]
        return squares[-1] + _RESIDUAL * found.square + recent

    def is_known(self, found):
        return self.square(found) <= max((1 + _ACCURATE) * self.squares[-1], self.little)

    def is_enough(self, found):
        self.squares.append(2 * found.promised)
        return self.is_known(found)


def refined_step(small, curvature, metric, grad, little=0.0):
    """Newton's step, and the square of a gradient in the inverse Hessian.

    Parameters
    ----------
    small : SmallObjective
    curvature : array (n, n_pairs)
        What the Hessian is made of, as :meth:`SmallObjective.curvature` gives it.
    metric : ExactMetric
        Of that Hessian.
    grad : array (n_outputs, n_columns)
    little : float
        A square that need not be known better.

    Returns
    -------
    step : array (n_outputs, n_columns)
    square : float
        At the most, but for rounding errors. Infinite where it is neither known to some digits nor at most ``little``.
    """
    search = _Search(small, curvature, little)
    steps, answer = newton_step(grad, metric.solve, _MOST_PRODUCTS, search.is_enough), None
    while True:
        try:
            answer = search.product(steps.send(answer).direction)
        except StopIteration as end:
            found = end.value
            break
    if search.found_noise and np.isinf(found.square):  # all of the gradient is
        natural = metric.solve(grad)
        found.step, found.square = -natural, max(float(np.vdot(grad, natural)), 0.0) / 2
    return found.step, search.square(found) if search.is_known(found) else np.inf
