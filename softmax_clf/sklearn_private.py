"""The names of scikit-learn that are not public and yet relied upon. None else is imported anywhere.

tests/test_private_names.py names them, and what of them is used, so that a version without one is seen there first.

``_fit_context``                    validates parameters before a method, and counts nested fits
``Interval, StrOptions``            what parameters may be, for ``_validate_params``
``_check_sample_weight``            weights as an array, with scikit-learn's messages
``_check_feature_names``, ``_get_feature_names``, ``_check_feature_names_in``   names of columns of frames
``_check_method_params``            metadata of some rows
``_safe_indexing``                  rows of arrays and frames of any kind
``_raise_for_params``, ``_routing_enabled``   whether metadata is routed
``get_namespace``                   the library of an array, where dispatch is on
``_score_func, _kwargs, _response_method, _sign``   what a scorer is made of, see :func:`parts_of_scorer`
"""

from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._array_api import get_namespace
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import _raise_for_params as raise_for_params
from sklearn.utils.metadata_routing import _routing_enabled as routing_enabled
from sklearn.utils.validation import _check_feature_names as check_column_names
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in
from sklearn.utils.validation import _check_method_params as check_method_params
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _get_feature_names as get_feature_names

__all__ = [
    "Interval",
    "StrOptions",
    "check_column_names",
    "check_feature_names_in",
    "check_method_params",
    "check_sample_weight",
    "fit_context",
    "get_feature_names",
    "get_namespace",
    "parts_of_scorer",
    "raise_for_params",
    "routing_enabled",
    "safe_indexing",
]


def parts_of_scorer(scorer):
    """The function of a scorer, its fixed arguments, the method that it calls, and the sign; None for any callable."""
    if not hasattr(scorer, "_score_func"):
        return None
    return scorer._score_func, scorer._kwargs, scorer._response_method, scorer._sign
