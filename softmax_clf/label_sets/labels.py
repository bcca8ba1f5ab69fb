"""Labels of many targets, as small integers."""

from dataclasses import dataclass
from numbers import Number

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from ..kernels.label_sets import MISSING
from ..kernels.threads import run_tasks
from ..labels import is_missing_label, places

_BAND_ROWS = 1024  # rows that are turned into columns at a time


@dataclass(frozen=True)
class LabelSets:
    """Labels of many targets.

    Attributes
    ----------
    classes : list of array
        Of each target, sorted.
    labels : array (n_targets, n_samples) of int8, int16 or int32
        Places among the classes, MISSING where there is none.
    """

    classes: list
    labels: np.ndarray

    @property
    def n_outputs(self):
        """Outputs (n_targets,) of each target: one for two classes."""
        sizes = np.array([len(classes) for classes in self.classes], np.intp)
        return np.where(sizes == 2, 1, sizes)

    @classmethod
    def of(cls, y, n_samples, n_threads):
        """Read labels (n_samples, n_targets): an array, a data frame, or lists.

        Raises
        ------
        ValueError
            Naming the target, where it has one class, no label, or what is no label.
        """
        columns = as_columns(y, n_samples)
        n_targets = columns.shape[1]
        read: dict = {}
        classes: list = [None] * n_targets
        together = np.empty((n_targets, n_samples), np.int8)
        if isinstance(columns, np.ndarray) and columns.dtype.kind in "biuf":
            classes = _two_classes(columns, together, n_threads)
        for t in np.flatnonzero([known is None for known in classes]).tolist():
            classes[t], labels = _of_column(column_of(columns, t), t)
            if _dtype(len(classes[t])) == np.int8:
                together[t] = labels
            else:
                read[t] = labels
        together = together.astype(_dtype(max(map(len, classes))), copy=False)
        for t, labels in read.items():
            together[t] = labels
        return cls(classes, together)


def as_columns(y, n_samples):
    """Labels as an array (n_samples, n_targets), or a frame of that shape."""
    if y is None:
        raise ValueError(
            "requires y to be passed, but the target y is None. Remedy: pass labels, (n_samples, n_targets)."
        )
    if hasattr(y, "nnz"):
        y = y.toarray()
    if not hasattr(y, "iloc"):
        if not isinstance(y, np.ndarray):
            y = _of_lists(y)
        if isinstance(y, np.ma.MaskedArray):
            y = _with_none(y)
    if y.ndim == 1:
        check_classification_targets(y)
    if y.ndim != 2 or y.shape[1] < 1:
        raise ValueError(
            "y must have at least two dimensions for multi-output classification, (n_samples, n_targets), but got "
            f"shape {y.shape}. Remedy: for one target pass y.reshape(-1, 1), or take SoftmaxRegressionClassifier."
        )
    if len(y) != n_samples:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: expected a row of y for each of {n_samples} "
            f"rows of X, got {len(y)}. Remedy: pass labels (n_samples, n_targets)."
        )
    return y


def _with_none(masked):
    """A masked array as one of objects, None where it is masked."""
    found = masked.data.astype(object)
    found[np.ma.getmaskarray(masked)] = None
    return found


def _of_lists(y):
    """Lists as an array: of objects where they are of several kinds, which an array would make text."""
    try:
        array = np.asarray(y)
    except ValueError as error:
        raise ValueError(
            f"Expected y of labels (n_samples, n_targets), got rows of different lengths. Remedy: mark labels that are "
            f"missing by None or NaN. ({error})"
        ) from error
    if array.dtype.kind in "US":
        as_objects = np.array(y, dtype=object)
        if any(type(label) not in (str, bytes) for label in as_objects.ravel()):
            return as_objects
    return array


def _dtype(n_classes):
    """The smallest dtype that holds HELD_OUT - k of all classes."""
    return np.int8 if n_classes < 126 else np.int16 if n_classes < 32766 else np.int32


def _two_classes(y, labels_out, n_threads):
    """The classes of each target that has two of them, whose labels are written: without a sort. None for others."""
    # as a rule the first rows have both; if they lack one, all rows are looked at before
    classes = _least_and_most(y[:_BAND_ROWS], slice(None), 1)
    are_two = _turn(y, slice(None), classes, labels_out, n_threads)
    rest = np.flatnonzero(~are_two)
    if len(rest):
        classes[rest] = _least_and_most(y, rest, n_threads)
        are_two[rest] = _turn(y, rest, classes[rest], labels_out, n_threads)
    return [pair if is_all else None for pair, is_all in zip(classes, are_two, strict=True)]


def _least_and_most(y, columns, n_threads):
    """The least and the largest label of some columns, (n_columns, 2), but for NaN."""
    least, most = (np.fmin, np.fmax) if y.dtype.kind == "f" else (np.minimum, np.maximum)
    starts = range(0, len(y), _BAND_ROWS)
    ends = np.empty((len(starts), 2, y[:1, columns].shape[1]), y.dtype)

    def look(t, slot):
        band = y[starts[t] : starts[t] + _BAND_ROWS, columns]
        least.reduce(band, axis=0, out=ends[t, 0])
        most.reduce(band, axis=0, out=ends[t, 1])

    run_tasks(look, len(starts), n_threads)
    return np.stack([least.reduce(ends[:, 0], axis=0), most.reduce(ends[:, 1], axis=0)], axis=1)


def _turn(y, columns, classes, labels_out, n_threads):
    """Write the labels of some columns of y, and say of which these two (n_columns, 2) are all the classes."""
    is_float, (least, most) = y.dtype.kind == "f", classes.T
    starts = range(0, len(y), _BAND_ROWS)
    are_known = np.empty((len(starts), len(classes)), bool)

    def turn(t, slot):
        rows = slice(starts[t], starts[t] + _BAND_ROWS)
        band = y[rows, columns]
        second = band == most
        known = second | (band == least)
        labels = second.view(np.int8)
        if is_float:
            absent = band != band
            known |= absent
            labels -= absent.view(np.int8)
        are_known[t] = known.all(axis=0)
        labels_out[columns, rows] = labels.T

    run_tasks(turn, len(starts), n_threads)
    apart = (least < most) & are_known.all(axis=0)
    if is_float:
        apart &= np.isfinite(classes).all(axis=1) & (classes == np.floor(classes)).all(axis=1)
    return apart


def _of_column(values, t):
    """Classes and places of the labels of one target."""
    is_missing = missing(values)
    known = typed(values[~is_missing])
    if known.dtype.kind == "f" and np.isinf(known).any():
        row = int(np.flatnonzero(~is_missing)[np.isinf(known).argmax()])
        raise ValueError(
            f"Input y contains infinity, expected labels: in target {t}, row {row}. Remedy: mark labels that are "
            "missing by None or NaN."
        )
    if is_missing.all():
        raise ValueError(
            f"Expected a label in every target, but all those of target {t} are missing. Remedy: leave out its column."
        )
    try:
        check_classification_targets(known)
        classes = np.unique(known)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} (in target {t} of y)") from error
    if len(classes) < 2:
        raise ValueError(
            f"Expected at least 2 classes in every target, but target {t} holds one class: {classes.tolist()[0]!r}. "
            "Remedy: leave out its column, or give rows of other classes."
        )
    labels = np.full(len(values), MISSING, np.intp)
    labels[~is_missing] = places(known, classes)
    return classes, labels


def column_of(columns, t):
    """Labels of one target as an array of NumPy; those of a frame with NA as objects."""
    if isinstance(columns, np.ndarray):
        return np.ascontiguousarray(columns[:, t])
    column = columns.iloc[:, t]
    return np.asarray(column, dtype=None if isinstance(column.dtype, np.dtype) else object)


def missing(values):
    """Which labels (n_samples,) are missing: NaN, NaT, None, or NA of pandas."""
    if values.dtype.kind == "O":
        return np.fromiter(map(is_missing_label, values.tolist()), bool, len(values))
    if values.dtype.kind in "fcmM":
        return values != values
    return np.zeros(len(values), bool)


def typed(labels):
    """Labels without missing ones; of objects that are all text, or all numbers, as an array of these."""
    if labels.dtype.kind != "O" or not len(labels):
        return labels
    kinds = {type(label) for label in labels.tolist()}
    alike = all(issubclass(kind, str) for kind in kinds) or all(
        issubclass(kind, Number | np.number) and not issubclass(kind, bool) for kind in kinds
    )
    return np.asarray(labels.tolist()) if alike or kinds == {bool} else labels
