"""Probabilities of rows by the folds that hold them out."""

import numpy as np


def out_of_fold_proba(proba_by_fold, tests, n_samples, n_classes):
    """Probabilities of each row, by the classifiers of the folds that hold it out.

    Parameters
    ----------
    proba_by_fold : callable (fold, rows) -> array (n_rows, n_classes)
        The probabilities of some rows, increasing indices, by the classifier of a fold.
    tests : list of array of int
        Rows that each holds out; one that is named twice counts once.
    n_samples, n_classes : int

    Returns
    -------
    array (n_samples, n_classes)
        Means where several folds hold a row out, NaN where none does.
    """
    sums, counts, dtype = np.zeros((n_samples, n_classes)), np.zeros((n_samples, 1)), np.float32
    for f, test in enumerate(tests):
        rows = np.unique(test)
        proba = proba_by_fold(f, rows)
        dtype = proba.dtype
        sums[rows] += proba  # from zero, so that those of one fold stay as they are
        counts[rows] += 1
    with np.errstate(invalid="ignore"):
        return (sums / counts).astype(dtype)
