"""What line searches share: when a step is accepted, and the one to try after one that is not.

Nocedal and Wright, Numerical Optimization, 2006, sections 3.1 and 3.5.
"""

import numpy as np

SUFFICIENT_DECREASE = 1e-4  # share of what the slope promises
CURVATURE = 0.9  # most that may be left of the slope
MAX_BACKTRACKS = 25


def cubic_minimiser(slope, increase, new_slope):
    """Where between 0 and 1 a cubic is least that rises by ``increase`` between them, with these slopes at its ends.

    Nocedal and Wright, equation 3.59, in units of the first slope, which is negative.
    """
    rise, new_slope = increase / -slope, new_slope / -slope
    d = new_slope - 1 - 3 * rise
    root = np.sqrt(max(d * d + new_slope, 0.0))
    return 1 - (new_slope + root - d) / (new_slope + 1 + 2 * root)
