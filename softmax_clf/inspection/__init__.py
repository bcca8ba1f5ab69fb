"""Seeing what a linear classifier has learned: numbers as functions, pictures as displays.

They take any fitted linear classifier with ``coef_``, ``intercept_`` and ``classes_``, alone, as the last step of a
:class:`~sklearn.pipeline.Pipeline`, or inside a fitted search such as :class:`~sklearn.model_selection.GridSearchCV`.
For two classes there is one row of coefficients, and what is made of it speaks for ``classes_[1]`` against
``classes_[0]``.

Displays work as in scikit-learn: ``from_estimator(...)`` computes and draws, ``plot(ax=None)`` draws once more, and
both leave ``ax_`` and ``figure_`` behind. Only drawing needs matplotlib.
"""

from ..decisions import expected_cost
from .convergence import ConvergenceDisplay
from .evidence import ContributionDisplay, contributions
from .hyperplanes import HyperplaneDisplay, boundary_distances, signed_distances
from .regularization_path import RegularizationPathDisplay
from .reliability import ReliabilityDisplay, expected_calibration_error
from .removal import LeaveOneOut, influence, leave_one_out, leverage
from .reports import Report, report
from .score_maps import ScoreMapDisplay, score_map
from .templates import TemplateDisplay, input_coefficients

__all__ = [
    "ContributionDisplay",
    "ConvergenceDisplay",
    "HyperplaneDisplay",
    "LeaveOneOut",
    "RegularizationPathDisplay",
    "ReliabilityDisplay",
    "Report",
    "ScoreMapDisplay",
    "TemplateDisplay",
    "boundary_distances",
    "contributions",
    "expected_calibration_error",
    "expected_cost",
    "influence",
    "input_coefficients",
    "leave_one_out",
    "leverage",
    "report",
    "score_map",
    "signed_distances",
]
