"""How fast a method gets on, and what is left to do at that pace."""

import numpy as np

_TINY = float(np.finfo(np.float64).tiny)
_SHARE, _LEAST = 3, 3  # a window is the last third of the iterations, and no fewer than so many of them
_FASTEST, _SLOWEST = 1e-3, 0.95  # what a window brings may be of what that before it has brought


class Pace:
    """What F falls by as a geometric series, from the falls over the last iterations of a method and over those before.

    Parameters
    ----------
    loss_curve : list of float
        F where the method began and after each of its iterations.
    goal : float
        What F may be above its minimum at the end; positive.

    Attributes
    ----------
    is_known : bool
        Whether there have been enough iterations.
    above : float
        What F is above its minimum at this pace: less than it is, as a rule, since what is slow comes last.
    left : float
        Iterations to go; zero where the pace is not known yet.
    """

    def __init__(self, loss_curve, goal):
        n, self.goal = len(loss_curve) - 1, goal
        self.window = max(_LEAST, n // _SHARE)
        self.is_known = n >= 2 * self.window
        self.ratio, self.above, self.left = 1.0, 0.0, 0.0
        if not self.is_known:
            return
        last, middle, first = loss_curve[-1], loss_curve[-1 - self.window], loss_curve[-1 - 2 * self.window]
        ratio = (middle - last) / max(first - middle, _TINY)
        self.ratio = min(max(ratio, _FASTEST), _SLOWEST)
        self.above = max(middle - last, 0.0) * self.ratio / (1 - self.ratio)
        if self.above > goal:
            self.left = self.window * (np.log(self.above) - np.log(goal)) / -np.log(self.ratio)

    def fall(self, n_iter):
        """What F will fall by in so many more iterations."""
        return self.above * (1 - self.ratio ** (n_iter / self.window))


class Budget:
    """What a fit may take, in passes.

    Parameters
    ----------
    passes : float
    """

    def __init__(self, passes=np.inf):
        self.passes, self.spent = passes, 0.0

    def spend(self, passes):
        self.spent += passes

    def limit(self, solution, max_iter):
        """Iterations after which to end: those done so far, once all is spent."""
        return max_iter if self.spent < self.passes else min(len(solution.loss_curve), max_iter)
