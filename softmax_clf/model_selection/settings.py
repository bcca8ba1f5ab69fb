"""What fits of all cells have in common."""

from dataclasses import dataclass
from typing import Any

from ..kernels.threads import effective_n_threads


@dataclass(frozen=True)
class FitSettings:
    """How each cell is fitted, whatever its fold, C and l1_ratio; as in the classifier, but ``n_threads``."""

    penalty_factor: Any
    coef_bounds: Any
    l1_group: Any
    fit_intercept: bool
    standardize: bool
    tol: float
    max_iter: int
    n_threads: int
    verbose: int

    @classmethod
    def from_estimator(cls, estimator):
        """Those of an estimator's parameters."""
        return cls(
            estimator.penalty_factor,
            estimator.coef_bounds,
            estimator.l1_group,
            estimator.fit_intercept,
            estimator.standardize,
            float(estimator.tol),
            estimator.max_iter,
            effective_n_threads(estimator.n_jobs),
            estimator.verbose,
        )
