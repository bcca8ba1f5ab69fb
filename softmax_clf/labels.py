"""Labels of any kind: those that are missing, where each is among the classes, and what classes weigh."""

from contextlib import contextmanager
from datetime import datetime
from numbers import Number

import numpy as np


def check_labels_present(y, name="y"):
    """Raise ValueError, naming the row, where a label is missing: NaN, NaT, None, or NA of pandas.

    Parameters
    ----------
    y : array (n_samples,)
    name : str
        What it is called.
    """
    if y.dtype.kind == "O":
        is_missing = np.fromiter(map(is_missing_label, y.tolist()), bool, len(y))
    elif y.dtype.kind in "fcmM":
        is_missing = y != y  # NaN and NaT are the values that do not equal themselves
    else:
        return
    if is_missing.any():
        row = int(is_missing.argmax())
        raise ValueError(
            f"Expected a label for every row, but {name} contains {_name_of(y[row])} in row {row}, which marks one "
            "that is missing. Remedy: leave out such rows, or give them a label of their own."
        )


@contextmanager
def naming_missing(y):
    """Where labels turn out not to be usable, say so if some are missing."""
    try:
        yield
    except (TypeError, ValueError):
        check_labels_present(y)
        raise


def is_missing_label(label):
    """Whether it is NaN, NaT, None, or NA of pandas."""
    if type(label) is str:
        return False
    if label is None or type(label).__name__ == "NAType":
        return True
    return isinstance(label, Number | np.generic | datetime) and bool(label != label)


def _name_of(label):
    if isinstance(label, np.datetime64 | np.timedelta64 | datetime):
        return "NaT"
    return "NaN" if isinstance(label, Number) else str(label).strip("<>")


def places(labels, classes):
    """Labels as indices of the classes, -1 for those that are none of them.

    Labels that do not compare, such as text and numbers, are different ones; integers are compared as such, of
    whatever sign and size.

    Parameters
    ----------
    labels : array (n_samples,)
    classes : array (n_classes,)
        In any order, each once.
    """
    labels, classes = np.asarray(labels), np.asarray(classes)
    if labels.dtype.kind == classes.dtype.kind in "biufSUmM" and (classes[:-1] < classes[1:]).all():
        place = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        return np.where(classes[place] == labels, place, -1)
    table = {label: k for k, label in enumerate(_scalars(classes))}
    if labels.dtype.kind == "O":
        return np.fromiter((table.get(label, -1) for label in _scalars(labels)), np.intp, len(labels))
    unique, inverse = np.unique(labels, return_inverse=True)
    return np.array([table.get(label, -1) for label in _scalars(unique)], np.intp)[inverse.reshape(-1)]


def _scalars(labels):
    """Labels as objects that are equal, and have the same hash, where they mean the same."""
    # those of dates would be integers, of nanoseconds
    return list(labels) if labels.dtype.kind in "mM" else labels.tolist()


def weights_by_label(class_weight, classes):
    """Weights (n_classes,) of classes by a dict that names them, or some of them: the others weigh one."""
    weights, unnamed = np.ones(len(classes)), []
    for k, label in enumerate(_scalars(classes)):
        if label in class_weight:
            weights[k] = class_weight[label]
        else:
            unnamed.append(label)
    if unnamed and len(classes) - len(unnamed) != len(class_weight):
        known = set(_scalars(classes))
        unknown = [label for label in class_weight if label not in known]
        raise ValueError(
            f"Expected class_weight to name classes of y, but it names {unknown}, and these are not in class_weight: "
            f"{unnamed}. Remedy: name them as they are in y, text as text and numbers as numbers."
        )
    return weights
