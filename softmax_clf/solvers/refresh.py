"""When a metric is made anew, and what is known of it since it was made."""

import numpy as np

from .stopping import staleness

_WINDOW = 4  # iterations that the rate of convergence is taken from
_RATE = 1.0  # that of a metric just made: by so much the logarithm of what is left shrinks in an iteration
# A fit that starts near its minimum ends where its first metric was made: that one serves so many times as long.
_ALIKE, _LONGER = 1.01, 4  # by the ratio of the objectives
_TINY = np.finfo(np.float64).tiny


class Refresh:
    """When to make a metric anew: every so often, each time later, unless what is left takes less time than that.

    A metric that was handed on from another function is made anew as soon as that pays; a first one that was made near
    the minimum, much later. At the origin the Hessian is largest: from far out, where it all but vanishes and its steps
    lead nowhere or up, a metric made there leads back.

    Parameters
    ----------
    metric : ScheduledMetric
        The first.
    objective : float
        Where it was made.
    iteration : int
        After which it was made.

    Attributes
    ----------
    made_at : int
        Iteration at which the metric was made.
    """

    def __init__(self, metric, objective, iteration=0):
        self.gap = metric.patience
        self.due = iteration + self.gap
        self.made_at, self.objective_there = iteration, max(objective, metric.objective_there)
        self.is_handed_on, self.excess = metric.is_handed_on, []

    def note(self, estimate, allowed):
        """Take note of an iteration's estimate of F - F*, and of what it may be."""
        self.excess.append(np.log(estimate) - np.log(max(allowed, _TINY)))

    def staleness(self, objective):
        """How many times too stiff the metric may be by now."""
        return staleness(self.objective_there, objective)

    def iterations_left(self):
        """How many there are left at the rate of the last ones."""
        excess = self.excess
        if len(excess) <= _WINDOW:
            return np.inf
        gained = excess[-1 - _WINDOW] - excess[-1]
        return _WINDOW * excess[-1] / gained if gained > 0 else np.inf

    def is_due(self, iteration, objective, left, passes):
        """Whether to make the metric anew after an iteration.

        Parameters
        ----------
        iteration : int
        objective : float
            After it.
        left : float
            What :meth:`iterations_left` was before it.
        passes : float
            That making a metric takes.
        """
        is_first = iteration + 1 == self.due == self.gap and not self.is_handed_on
        if is_first and self.objective_there <= _ALIKE * objective:
            self.due *= _LONGER
        is_due = iteration + 1 >= self.due and left > passes
        if self.is_handed_on and len(self.excess) > _WINDOW:
            is_due = is_due or left > passes + self.excess[-1] / _RATE
        return is_due

    def made(self, metric, iteration, objective):
        """A metric has been made where an iteration has led."""
        self._made(iteration + 1, max(objective, metric.objective_there))
        self.gap = max(self.gap * 3 // 2, metric.patience)
        self.due = iteration + 1 + self.gap

    def made_at_origin(self, metric, iteration, objective):
        """A metric has been made at the origin, for want of a step in an iteration."""
        self._made(iteration, objective)
        self.due = iteration + 1 + metric.patience

    def _made(self, iteration, objective):
        self.made_at, self.objective_there = iteration, objective
        self.is_handed_on, self.excess = False, []
