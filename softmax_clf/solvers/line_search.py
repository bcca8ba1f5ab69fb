"""What line searches share: when a step is accepted, and the one to try after one that is not.

Nocedal and Wright, Numerical Optimization, 2006, sections 3.1 and 3.5.
"""

import numpy as np

_SUFFICIENT_DECREASE = 1e-4  # share of what the slope promises
_CURVATURE = 0.9  # most that may be left of the slope
MAX_BACKTRACKS = 25


def accepts(step, objective, slope, new_objective, new_slope, rounding):
    """Whether a step is good enough, by the objective and its slope before and after; not where these are not finite.

    ``rounding`` is the error of the objective: where it hides the decrease, the slope must have shrunk instead.
    """
    if not (np.isfinite(new_objective) and np.isfinite(new_slope)):
        return False
    if new_objective <= objective + _SUFFICIENT_DECREASE * step * slope:
        return True
    return new_objective <= objective + rounding and abs(new_slope) <= _CURVATURE * abs(slope)


def shortened(step, objective, slope, new_objective, new_slope):
    """The step to try after one that is not accepted."""
    if not (np.isfinite(new_objective) and np.isfinite(new_slope) and step * slope < 0):  # or it underflows
        return 0.1 * step
    with np.errstate(over="ignore", invalid="ignore"):  # it may rise by more than a square can hold
        share = _cubic_minimiser(step * slope, new_objective - objective, step * new_slope)
    return step * (min(max(share, 0.1), 0.5) if np.isfinite(share) else 0.1)


def _cubic_minimiser(slope, increase, new_slope):
    """Where between 0 and 1 a cubic is least that rises by ``increase`` between them, with these slopes at its ends.

    Nocedal and Wright, equation 3.59, in units of the first slope, which is negative.
    """
    rise, new_slope = increase / -slope, new_slope / -slope
    d = new_slope - 1 - 3 * rise
    root = np.sqrt(max(d * d + new_slope, 0.0))
    return 1 - (new_slope + root - d) / (new_slope + 1 + 2 * root)
