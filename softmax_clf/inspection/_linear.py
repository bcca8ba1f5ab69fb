"""What the inspections share: a linear classifier, taken out of its pipeline and carried back through it."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..fitted import coefficients
from ..sklearn_private import check_column_names

# Numbers that the steps of a pipeline are probed with at a time: 32 MB of float64.
_PROBE_NUMBERS = 4 * 2**20
# Relative to the largest score; steps that compute in float32 are affine to about 1e-6.
_AFFINE_TOLERANCE = 1e-3


@dataclass
class Linear:
    """Scores ``features @ coef.T + intercept``, where the features are what ``before`` makes of the input."""

    before: Any  # the steps that come before the classifier, None if there are none
    coef: np.ndarray  # (n_outputs, n_features); n_outputs is n_classes, or 1 for two classes
    intercept: np.ndarray  # (n_outputs,)
    classes: np.ndarray  # (n_classes,)
    feature_names: np.ndarray  # (n_features,) of str

    def output_names(self, class_names=None):
        """One name for each row of ``coef``."""
        names = check_class_names(class_names, self.classes)
        return names if len(self.coef) > 1 else [f"{names[1]} against {names[0]}"]


def take_apart(clf, *, carry_back=False):
    """Find the linear classifier in what the user has, with its coefficients for the features or for the inputs.

    Parameters
    ----------
    clf : fitted classifier, Pipeline or search
    carry_back : bool
        Whether to express the coefficients in the pipeline's inputs, which needs the steps before to be affine.

    Returns
    -------
    Linear

    Raises
    ------
    TypeError
        If there are no coefficients.
    ValueError
        If they do not fit together or are not finite. If the steps before are not affine and ``carry_back`` is True.
    """
    clf = getattr(clf, "best_estimator_", clf)
    before = clf[:-1] if isinstance(clf, Pipeline) and len(clf) > 1 else None
    linear = last_step(clf)
    check_is_fitted(linear)
    missing = [name for name in ("coef_", "intercept_", "classes_") if not hasattr(linear, name)]
    if missing:
        raise TypeError(
            f"Expected a linear classifier with coef_, intercept_ and classes_, but {type(linear).__name__} lacks "
            f"{', '.join(missing)}. Remedy: give a SoftmaxRegressionClassifier, another linear classifier, or a "
            "pipeline that ends with one."
        )
    coef, intercept = coefficients(linear, getattr(linear, "n_features_in_", None))
    classes = np.asarray(linear.classes_)
    if not carry_back or before is None:
        return Linear(before, coef, intercept, classes, _feature_names(before, linear, coef.shape[1]))
    coef, offset = _carry_back(before, coef, intercept)
    return Linear(None, coef, offset, classes, _feature_names(None, clf, coef.shape[1]))


def last_step(clf):
    """The classifier itself, out of a search, a pipeline, and a search at its end."""
    clf = getattr(clf, "best_estimator_", clf)
    clf = clf[-1] if isinstance(clf, Pipeline) else clf
    return getattr(clf, "best_estimator_", clf)


def _feature_names(before, estimator, n_features):
    if before is not None:
        try:
            return np.asarray(before.get_feature_names_out(), dtype=str)
        except (AttributeError, ValueError, NotFittedError):  # a step that knows no names
            pass
    names = getattr(estimator, "feature_names_in_", None)
    return np.array([f"x{j}" for j in range(n_features)] if names is None else names, dtype=str)


def _carry_back(before, coef, intercept):
    """Coefficients and intercept of the scores as functions of the inputs of the steps ``before``.

    Steps T are affine, T(x) = T(0) + A x, if A can be read off the unit vectors e_j: A e_j = T(e_j) - T(0). The
    coefficients for the inputs are then coef @ A. No step needs to be known by name, nor to be invertible.
    """
    n_inputs = getattr(before, "n_features_in_", None)
    if n_inputs is None:
        raise ValueError(
            f"Expected a first step with n_features_in_, but {type(before[0]).__name__} has none. Remedy: put a "
            "transformer first that knows its number of inputs, such as StandardScaler."
        )

    def scores(points):
        return _apply(before, points) @ coef.T.astype(np.float64)

    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 3, n_inputs))
    together = first + second
    try:
        at_zero = scores(np.zeros((1, n_inputs)))
        expected, got = scores(first) + scores(second), scores(together) + at_zero
        scale = max(np.abs(part).max() for part in (expected, got, at_zero))
        affine = np.abs(expected - got).max() <= _AFFINE_TOLERANCE * scale  # False for nan too
    except ValueError:  # a step that refuses such numbers, a logarithm of negative ones for example
        affine = False
    if not affine:
        steps = " -> ".join(type(step).__name__ for step in before.named_steps.values())
        raise ValueError(
            f"Expected steps before the classifier that are affine, such as scalers and PCA, but {steps} is not, so "
            "there is no one coefficient for each input. Remedy: inspect the classifier alone, pipeline[-1], whose "
            "features are what the steps before it make; or fit it on the inputs."
        )

    coef_in = np.empty((len(coef), n_inputs))
    n_rows = max(1, _PROBE_NUMBERS // n_inputs)
    for start in range(0, n_inputs, n_rows):
        stop = min(start + n_rows, n_inputs)
        units = np.zeros((stop - start, n_inputs))
        units[np.arange(stop - start), np.arange(start, stop)] = 1.0
        coef_in[:, start:stop] = (scores(units) - at_zero).T
    return coef_in, intercept + at_zero[0]


def _apply(before, points):
    """What the steps make of points, as float64; a data frame goes in where they were fitted on one."""
    sample_shape = getattr(before[0], "sample_shape_", None)  # Flatten takes samples of the shape that it has seen
    X = with_names(before, points) if sample_shape is None else points.reshape(-1, *sample_shape)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features = before.transform(X)
    return features.toarray() if issparse(features) else np.asarray(features, dtype=np.float64)


def with_names(estimator, rows):
    """Rows as a data frame, if that is what the estimator was fitted on."""
    if not hasattr(estimator, "feature_names_in_"):
        return rows
    try:
        import pandas as pd
    except ImportError:  # fitted on another kind of frame; scikit-learn warns
        return rows
    return pd.DataFrame(rows, columns=estimator.feature_names_in_)


def n_columns(X):
    """Columns of an array or a data frame; a clear error where X is not a table."""
    shape = getattr(X, "shape", None) or np.shape(X)
    if len(shape) != 2:
        raise ValueError(
            f"Expected X of shape (n_samples, n_features), got shape {tuple(shape)}. Remedy: for a single sample give "
            "X[[i]], for images X.reshape(len(X), -1)."
        )
    return shape[1]


def check_columns(clf, X):
    """Refuse X with other columns than were fitted."""
    expected = getattr(clf, "n_features_in_", None)
    got = n_columns(X)
    if expected is not None and got != expected:
        raise ValueError(
            f"Expected X with the {expected} features that {type(clf).__name__} was fitted on, got {got}. Remedy: give "
            "the same columns as in fit."
        )
    check_column_names(clf, X, reset=False)


def check_class_names(class_names, classes):
    """Names of the classes as a list of str: those given, or the labels."""
    names = classes if class_names is None else class_names
    if len(names) != len(classes):
        raise ValueError(
            f"Expected class_names with one name for each of {len(classes)} classes, got {len(names)}. Remedy: give "
            "them in the order of classes_."
        )
    return [str(name) for name in names]


def check_feature_names(feature_names, own):
    """Names of the features as an array of str: those given, or their own."""
    names = np.asarray(own if feature_names is None else feature_names, dtype=str)
    if len(names) != len(own):
        raise ValueError(
            f"Expected feature_names with one name for each of {len(own)} features, got {len(names)}. Remedy: name the "
            "features that the classifier sees, in the order of its coef_."
        )
    return names


def choose(names, wanted, what="classes"):
    """Indices of the wanted ones among the names of outputs, or of what else; all of them for None."""
    if wanted is None:
        return list(range(len(names)))
    unknown = [name for name in map(str, wanted) if name not in names]
    if unknown or not len(wanted):
        among = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
        raise ValueError(
            f"Expected {what} among {among}, got {', '.join(unknown) or 'none'}. Remedy: give names as they are "
            "written there."
        )
    return [names.index(str(name)) for name in wanted]
