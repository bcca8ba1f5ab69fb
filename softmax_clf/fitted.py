"""Fitted attributes, looked at before they are calculated with: anyone may have set them.

Coefficients are pruned, averaged over clients, taken from other models and read from files. Kernels trust shapes and
dtypes, and would read what lies in memory behind an array that is too small.
"""

import numpy as np
from scipy.sparse import issparse

STACKED = "coef_stack_", "intercept_stack_"  # of a fit to many targets
_FLOATS = np.dtype(np.float64), np.dtype(np.float32)


def coefficients(clf, n_features=None, *, classes=None, values=True):
    """Coefficients and intercepts of a fitted linear classifier, of any package, that fit together.

    Parameters
    ----------
    clf : classifier with ``coef_``, dense or sparse, ``intercept_`` and ``classes_``
        One that has no intercept may lack the second.
    n_features : int, default=None
        What there is to be a column of ``coef_`` for; None for any number.
    classes : array (n_classes,), default=None
        What there is to be a row of ``coef_`` for; None for ``classes_``.
    values : bool
        Whether to look for NaN and infinity, too, as :func:`check_values`.

    Returns
    -------
    coef : array (n_outputs, n_features)
        float32 or float64; n_outputs is n_classes, or 1 for two classes.
    intercept : array (n_outputs,)

    Raises
    ------
    ValueError
        Naming the attribute.
    """
    coef = clf.coef_
    coef = _floats("coef_", coef.toarray() if issparse(coef) else coef)
    n_classes = count(clf.classes_ if classes is None else classes)
    n_outputs = 1 if n_classes == 2 else n_classes
    wanted = n_outputs, coef.shape[-1] if n_features is None and coef.ndim else n_features
    if coef.shape != wanted:
        features = "n_features" if n_features is None else n_features
        raise ValueError(
            f"Expected coef_ of shape ({n_outputs}, {features}), for {n_classes} classes and {features} features, got "
            f"{coef.shape}. Remedy: {_remedy(coef, n_classes)}."
        )
    if not hasattr(clf, "intercept_") and not clf.fit_intercept:
        return coef, np.zeros(n_outputs, coef.dtype)
    intercept = _floats("intercept_", clf.intercept_)
    if not intercept.ndim:  # the number zero, as some classifiers have it that fit none
        intercept = np.full(n_outputs, intercept)
    if intercept.shape != (n_outputs,):
        raise ValueError(
            f"Expected intercept_ of shape ({n_outputs},), for {n_classes} classes, got {intercept.shape}. Remedy: "
            f"{_remedy(coef, n_classes)}."
        )
    if values:
        check_values(coef, intercept)
    return coef, intercept


def count(classes):
    """The number of classes in ``classes_``, at least two."""
    shape = np.shape(classes)
    if len(shape) != 1 or shape[0] < 2:
        raise ValueError(
            f"Expected classes_ to hold at least 2 classes, in a 1-d array, got shape {shape}. Remedy: set classes_ to "
            "the sorted labels."
        )
    return shape[0]


def stacked_coefficients(clf, n_outputs):
    """Coefficients (n_outputs, n_features) and intercepts (n_outputs,) of a fit to many targets, that fit together."""
    coef, intercept = (_floats(name, getattr(clf, name)) for name in STACKED)
    shapes = (n_outputs, clf.n_features_in_), (n_outputs,)
    for name, value, wanted in zip(STACKED, (coef, intercept), shapes, strict=True):
        if value.shape != wanted:
            raise ValueError(
                f"Expected {name} of shape {wanted}, got {value.shape}. Remedy: set one of that shape, or fit anew."
            )
    return coef, intercept


def check_values(coef, intercept, names=("coef_", "intercept_")):
    """Raise ValueError, by the names of these attributes, where there is a NaN or an infinity.

    An intercept may be minus infinity, for a class that no training row had, unless all of several are.
    """
    if not np.isfinite(coef).all():
        k, j = np.argwhere(~np.isfinite(coef))[0].tolist()
        raise ValueError(
            f"Expected finite values in {names[0]}, got {coef[k, j]} in row {k} and column {j}. Remedy: set finite "
            "coefficients, or fit anew."
        )
    if not np.isfinite(intercept).all():
        absent = np.isneginf(intercept)
        if not (np.isfinite(intercept) | absent).all() or (len(absent) > 1 and absent.all()):
            raise ValueError(
                f"Expected finite values in {names[1]}, or minus infinity for a class of probability zero, got "
                f"{intercept}. Remedy: set finite intercepts, or fit anew."
            )


def _floats(name, value):
    """An attribute as an array of float32 or float64, in the byte order of this machine."""
    if type(value) is np.ndarray and value.dtype in _FLOATS:
        return value
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"dtype {array.dtype}")
    except (TypeError, ValueError, RuntimeError) as error:  # also of arrays of other packages that NumPy cannot read
        raise ValueError(
            f"Expected {name} to be an array of real numbers, got a {type(value).__name__}: {error}. Remedy: set it to "
            "an array of float32 or float64."
        ) from error
    native = array.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):  # of more digits than float64: infinity is found
        return np.asarray(array, native if native in _FLOATS else np.float64)


def _remedy(coef, n_classes):
    if n_classes == 2 and coef.ndim == 2 and len(coef) == 2:
        return "for two classes set the difference of the two rows, coef_[1:] - coef_[:1], and that of the intercepts"
    return "set coef_, intercept_, classes_ and n_features_in_ together, as a fit does"
