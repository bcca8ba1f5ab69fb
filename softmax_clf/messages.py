"""What goes wrong in the numbers, said so that it can be put right."""

from contextlib import contextmanager

import numpy as np


def check_start(objective, value, grad):
    """Raise ValueError where the scores at the start overflow, or nobody has looked at what is not finite."""
    if not (np.isfinite(value) and np.isfinite(grad).all()):
        dtype = objective.source.dtype
        objective.source.check_finite(objective.n_threads)
        check_offset_finite(getattr(objective, "offset", None))
        raise ValueError(
            f"Expected finite scores X @ coef.T, but they overflow {dtype} at the start. Remedy: start from smaller "
            f"coefficients, or scale X down{or_as_float64(dtype)}."
        )


def check_offset_finite(offset):
    """What scikit-learn does not look for where it is told to assume finite values."""
    if offset is not None and not np.isfinite(offset).all():
        row = int(np.isfinite(offset).all(axis=1).argmin())
        raise ValueError(
            f"Expected finite values in offset, got {offset[row]} in row {row}. Remedy: give every row and class a "
            "number."
        )


@contextmanager
def naming_overflow(dtype, sample_weight=None):
    """Say what to do where squares of the data overflow, or of what is added up of them with their weights."""
    try:
        yield
    except FloatingPointError as error:
        if sample_weight is not None and sample_weight.max() > np.sqrt(np.finfo(np.float64).max):
            raise ValueError(
                f"Expected sample_weight of a size that can be squared in float64, but {error}. Remedy: scale them "
                "down, and C up."
            ) from error
        raise ValueError(
            f"Expected X of a size that can be squared in {dtype}, but {error}. Remedy: scale X "
            f"down{or_as_float64(dtype)}."
        ) from error


def or_as_float64(dtype, what="it"):
    """The end of a remedy, where X does not have the range and the digits of float64 yet."""
    return "" if dtype == np.float64 else f", or pass {what} as float64"


def not_converged(solution, null_objective, dtype, *, tol, max_iter):
    """What to warn of where a fit has not come to its end."""
    relative = solution.suboptimality / null_objective
    if solution.n_iter == max_iter:
        remedy = "Raise max_iter, or tol if that is close enough."
    else:
        more_digits = "" if dtype == np.float64 else "pass X as float64 for more digits, or "
        remedy = f"{more_digits}set tol={max(2 * relative, np.finfo(dtype).eps):.0e}."
        remedy = remedy[0].upper() + remedy[1:]
    return (
        f"The fit stopped before tol={tol:g} was reached, because {solution.reason}. The objective is above "
        f"its minimum by an estimated {solution.suboptimality:.2e}, which is {relative:.1e} of the null model's. "
        f"{remedy}"
    )
