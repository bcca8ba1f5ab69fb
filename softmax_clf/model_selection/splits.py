"""Which rows each fold is fitted to, and which it holds out."""

import warnings

import numpy as np
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    LeaveOneGroupOut,
    LeavePGroupsOut,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)

from ..validation import holdout


def is_leave_one_out(cv):
    """Whether each row is held out by itself."""
    return isinstance(cv, str) and cv == "loo"


def rows_of_folds(cv, data, split_params, *, validation_fraction, random_state):
    """Training and test rows of each fold, as indices.

    Parameters
    ----------
    cv : as in the classifier
    data : TrainingData
        Rows with target probabilities are of their most probable class.
    split_params : dict
        For the splitter.
    validation_fraction, random_state
        As in the classifier.

    Returns
    -------
    list of (train, test)
    """
    labels = data.classes[data.y if data.y.ndim == 1 else data.y.argmax(axis=1)]
    if is_leave_one_out(cv):
        return [(np.arange(len(labels)), np.arange(len(labels)))]
    if isinstance(cv, str):
        splitter = holdout(data.y, validation_fraction, random_state)
    else:
        splitter = check_cv(cv, labels, classifier=True)
        if isinstance(splitter, StratifiedKFold):
            _check_classes(splitter, data)
    if split_params.get("groups") is None and _needs_groups(splitter):
        raise ValueError(
            f"Expected groups for cv={splitter!r}, which splits by them, got none. Remedy: pass fit(X, y, "
            "groups=...), a label of its group for each row."
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class in y has only")  # it does not name the class
        split = list(splitter.split(data.source.X, labels, **split_params))
    if not split:
        raise ValueError(f"Expected at least one fold, but cv={cv!r} gives none. Remedy: set cv to an integer.")
    return [_checked(fold, f, len(labels)) for f, fold in enumerate(split)]


def _needs_groups(splitter):
    """Whether a splitter cannot do without groups."""
    return isinstance(
        splitter, GroupKFold | GroupShuffleSplit | LeaveOneGroupOut | LeavePGroupsOut | StratifiedGroupKFold
    )


def _checked(fold, f, n_samples):
    """Training and test rows of one fold as indices, which may come as masks, or be counted from the end."""
    train, test = (np.asarray(part) for part in fold)
    train, test = (np.flatnonzero(part) if part.dtype == bool else part for part in (train, test))
    for name, part in (("training", train), ("test", test)):
        if not len(part):
            raise ValueError(f"Expected rows in every fold, but fold {f} has no {name} rows. Remedy: change cv.")
        if not (-n_samples <= part.min() and part.max() < n_samples):
            raise ValueError(
                f"Expected cv to give places of the {n_samples} rows, but fold {f} has {name} rows from "
                f"{part.min()} to {part.max()}. Remedy: make cv for these rows."
            )
    return train % n_samples, test % n_samples


def _check_classes(splitter, data):
    """Name the class that is smaller than a number of stratified folds."""
    if data.y.ndim > 1:
        return
    counts = np.bincount(data.y, minlength=data.n_classes)
    if counts.max() < splitter.n_splits:
        raise ValueError(
            f"Expected a class with a row for each of {splitter.n_splits} folds, but the largest, "
            f"{data.classes[counts.argmax() :][:1].tolist()[0]!r}, has {counts.max()}. Remedy: set cv to at most "
            f"{counts.max()}, or give more rows."
        )
    if counts.min() < splitter.n_splits:
        least = counts.argmin()
        fewer = f"set cv to at most {counts[least]}, or " if counts[least] > 1 else ""
        warnings.warn(
            f"The least populated class in y, {data.classes[least:][:1].tolist()[0]!r}, has only {counts[least]} "
            f"members, which is less than n_splits={splitter.n_splits}: some folds hold out none of it. Remedy: {fewer}"
            "give more rows of it.",
            stacklevel=6,
        )
