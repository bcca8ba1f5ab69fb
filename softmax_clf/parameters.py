"""Parameters that both classifiers have, and what they may be."""

from numbers import Integral, Real

from .sklearn_private import Interval, StrOptions

OF_EACH_FIT: dict = {
    "penalty_factor": ["array-like", None],
    "coef_bounds": [tuple, list, None],
    "l1_group": [StrOptions({"class"}), None],
    "fit_intercept": ["boolean"],
    "standardize": ["boolean"],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "tol": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "n_jobs": [None, Integral],
    "verbose": ["verbose"],
}
"""By name, as scikit-learn's ``_parameter_constraints`` have them: what each fit is told, whatever its C and rows."""
