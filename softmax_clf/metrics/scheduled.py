"""A metric together with the time at which it is to be made anew, as a solver gets it."""

from dataclasses import dataclass, replace

import numpy as np

from ..contracts import Metric


@dataclass(frozen=True)
class ScheduledMetric:
    """A metric, what making it took, and when the next is due. Whoever makes a metric says all of this at once.

    Attributes
    ----------
    matrix : Metric
    patience : int
        Iterations before it is made anew.
    passes : float
        What making it takes, in passes over all rows for each of the fits that it serves.
    objective_there : float
        The largest of the fits' objectives where it was made for several.
    is_handed_on : bool
        Whether it was made for another function.
    """

    matrix: Metric
    patience: int
    passes: float
    objective_there: float = -np.inf
    is_handed_on: bool = False

    @property
    def slack(self):
        return self.matrix.slack

    def solve(self, grad):
        return self.matrix.solve(grad)

    def solve_all(self, grads):
        return self.matrix.solve_all(grads)

    def with_matrix(self, matrix):
        """Another matrix that is made of this one, due at the same time."""
        return replace(self, matrix=matrix)


def patience(passes, n_problems=1):
    """Iterations before a metric is made anew: twice its cost in passes, or 8 and half its cost where that is less.

    A metric that several problems share costs each of them a share; but a pass for several problems takes half as long
    for each as one of its own, as X is read once, so that in passes the metric costs twice as much.
    """
    passes *= (1 if n_problems == 1 else 2) / n_problems
    return max(4, round(min(2 * passes, 8 + passes / 2)))
