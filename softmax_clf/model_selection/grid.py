"""The values of C and of l1_ratio that are tried."""

from numbers import Integral

import numpy as np

from ..pooled import PooledSource
from ..strengths import largest_C

# As in glmnet a path ends where the deviance explained is this, or grows by no more than this share, after so many C.
_EXPLAINED, _GROWTH, _LEAST_CS = 0.999, 1e-5, 5
_WIDE_RANGE, _RANGE = 1e2, 1e3  # of an integer Cs beside an L1 penalty, where features outnumber rows or not


def checked_Cs(Cs):
    """The values of C, as an array."""
    if isinstance(Cs, Integral):
        return np.logspace(-4, 4, int(Cs))  # which :func:`from_largest_C` replaces beside an L1 penalty
    values = np.asarray(Cs, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not (values > 0).all():
        raise ValueError(
            f"Expected Cs to be an integer or a 1-d array of positive numbers, got {Cs!r}. Remedy: give an array, "
            "such as np.logspace(-4, 4, 10)."
        )
    return values


def checked_l1_ratios(l1_ratios):
    """The values of l1_ratio, as an array; None stands for no L1 penalty."""
    values = np.array([0.0] if l1_ratios is None else [r or 0.0 for r in l1_ratios], dtype=np.float64)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"Expected l1_ratios to be a 1-d array of numbers from 0 to 1, got {l1_ratios!r}. Remedy: give an array, "
            "such as [0, 0.5, 1]."
        )
    return values


def from_largest_C(estimator, data, l1_ratios, Cs):
    """The values of C; for an integer and L1 penalties as many from where all coefficients are zero."""
    if not isinstance(estimator.Cs, Integral) or not l1_ratios.all():
        return Cs
    largest = largest_C(estimator, data)
    if not np.isfinite(largest):
        return Cs
    n_rows = data.source.n_rows if isinstance(data.source, PooledSource) else data.source.n_samples
    span = _WIDE_RANGE if data.source.n_features > n_rows else _RANGE
    return np.geomspace(l1_ratios.min() * largest, span * l1_ratios.max() * largest, len(Cs))


def may_end_early(estimator, l1_ratios):
    """Whether the path may end where hardly more is explained: the values of C are ours, and the penalty is L1."""
    return isinstance(estimator.Cs, Integral) and len(l1_ratios) == 1 and l1_ratios[0] > 0


def explains_no_more(dev_ratio):
    """Whether a path of fits (n_folds, n_Cs) is at its end, in every fold."""
    if dev_ratio.shape[1] < _LEAST_CS:
        return False
    before, last = dev_ratio[:, -2], dev_ratio[:, -1]
    return bool(((last > _EXPLAINED) | (last - before < _GROWTH * last)).all())
