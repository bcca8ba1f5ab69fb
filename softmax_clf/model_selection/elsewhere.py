"""Folds of rows that are elsewhere: what each is fitted to and scored on, by sums.

Labels come here, for the splitter; the features stay. Rows that the folds use alike are a group of rows: there are as
many groups as folds where each row is held out once. To the fits a row is one of a kind, a class in a group
(:mod:`..pooled`), of which a fold has all rows or none.
"""

from dataclasses import dataclass
from numbers import Integral
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..pooled import Chunks, PooledSource, data_of
from ..rows import ABSENT
from ..sums import RowsBySums
from ..validation import check_features, set_features, targets
from .grid import checked_l1_ratios
from .scoring import is_log_loss, name_of
from .splits import is_leave_one_out

_MOST_GROUPS = 256  # of each of which, in each class, sums know the weight


def check_elsewhere(estimator, X, X_val, offset):
    """Refuse what sums over rows do not give."""
    refused = None
    if isinstance(X, RowsBySums):
        refused = "rows with their labels", "rows that are known by their sums"
    elif X_val is not None:
        refused = "no X_val where X is a Dask collection", "some"
    elif offset is not None and isinstance(estimator.Cs, Integral) and checked_l1_ratios(estimator.l1_ratios).all():
        refused = "values of C beside an L1 penalty and offsets where X is a Dask collection", f"Cs={estimator.Cs}"
    elif is_leave_one_out(estimator.cv):
        refused = "an integer cv or a splitter where X is a Dask collection", "'loo'"
    elif estimator.store_oof_proba:
        refused = "store_oof_proba=False where X is a Dask collection, whose rows are not predicted here", "True"
    elif not (is_log_loss(estimator.scoring) or estimator.scoring == "accuracy"):
        which = "scoring to be None, 'neg_log_loss' or 'accuracy' where X is a Dask collection"
        refused = which, repr(name_of(estimator.scoring))
    if refused is not None:
        raise ValueError(
            f"Expected {refused[0]}, got {refused[1]}. Remedy: choose otherwise, or fit to rows in memory, such as "
            "X.compute()."
        )


@dataclass(frozen=True)
class LabelsHere:
    """A Dask collection whose labels are here: what splitters need of :class:`~..training_data.TrainingData`.

    Attributes
    ----------
    estimator : SoftmaxRegressionClassifierCV
    chunks : Chunks
        Of the rows.
    pieces : list of array
        The labels where the rows are.
    classes, y, sample_weight
        As in :class:`~..training_data.TrainingData`; weights as they were given.
    offset : array-like or None
        As it was given.
    """

    estimator: Any
    chunks: Chunks
    pieces: list
    classes: np.ndarray
    y: np.ndarray
    sample_weight: Any
    offset: Any

    @classmethod
    def of(cls, estimator, X, y, sample_weight, offset):
        """Those of a collection, once its labels have come."""
        chunks = Chunks(X)
        set_features(estimator, chunks.empty)
        pieces = chunks.cut(y, "y")
        classes, y = targets(chunks.gathered(pieces), sum(chunks.lengths), name=type(estimator).__name__)
        return cls(estimator, chunks, pieces, classes, y, sample_weight, offset)

    @property
    def source(self):
        """Rows without features, by which splitters know how many there are."""
        return SimpleNamespace(X=np.empty((len(self.y), 0)), n_samples=len(self.y))

    @property
    def n_classes(self):
        return len(self.classes)

    def by_folds(self, folds):
        """The data of all rows by kinds, and of each fold its training rows and those held out, as such kinds.

        Parameters
        ----------
        folds : list of (train, test)
            Places of rows.

        Returns
        -------
        TrainingData, list of (train, test)
        """
        group, first = _groups(folds, len(self.y))
        total = self.chunks.sums(
            self.pieces, self.classes, self.estimator.n_jobs, self.sample_weight, self.offset, group, len(first)
        )
        source = PooledSource(total, RowsBySums(_Ungrouped(total, len(first)), self.classes, gives_rows=True))
        kinds = np.arange(source.n_samples).reshape(len(first), -1)

        def of_kinds(rows):
            return np.repeat(kinds, np.bincount(rows, minlength=len(self.y))[first], axis=0).ravel()

        data, _ = data_of(source, self.classes, self.estimator.class_weight)
        return data, [(of_kinds(train), of_kinds(test)) for train, test in folds]


def _groups(folds, n_samples):
    """Which rows the folds use alike: of each row its group, and of each group its first row."""
    group, first = np.zeros(n_samples, np.intp), np.zeros(1, np.intp)
    for part in (part for fold in folds for part in fold):
        counts = np.bincount(part, minlength=n_samples)
        _, first, group = np.unique(group * (counts.max() + 1) + counts, return_index=True, return_inverse=True)
        if len(first) > _MOST_GROUPS:
            raise ValueError(
                f"Expected folds that use rows alike but for at most {_MOST_GROUPS} groups of them where X is a Dask "
                "collection, got more. Remedy: take fewer folds, or a cv that holds out every row once."
            )
    return group, first


class _Ungrouped:
    """Sums over all rows, for a fit that knows no groups.

    Parameters
    ----------
    total : callable
        Of shards with groups.
    n_groups : int
    """

    def __init__(self, total, n_groups):
        self.total, self.n_groups = total, n_groups

    def __call__(self, name, *args):
        if name == "counts":
            sizes, *by_kind = self.total(name)
            return sizes, *(values.reshape(self.n_groups, -1).sum(axis=0) for values in by_kind)
        n_by_kind = 2 if name == "grams" else 1
        return self.total(name, *(np.tile(arg, self.n_groups) for arg in args[:n_by_kind]), *args[n_by_kind:])


def score_elsewhere(scores_out, cells, scoring, data, tests, fits):
    """Write the scores of some cells; parameters as of :func:`~.scoring.score_cells`, but for the fits."""
    held_out = np.stack([np.bincount(test, minlength=len(data.y)) for test in tests]).astype(np.float64)
    if not (held_out @ data.source.weight_by_kind > 0).all():
        raise ValueError(
            "Expected rows to score that have a positive total weight, in every fold, but those that are held out "
            "weigh nothing. Remedy: leave out rows of weight zero."
        )
    for r, c in np.argwhere(cells.any(axis=0)):
        folds = np.flatnonzero(cells[:, r, c])
        coef, intercept = (np.stack(parts) for parts in zip(*(fits.coefficients(f, r, c) for f in folds), strict=True))
        intercept = np.maximum(intercept, intercept.dtype.type(ABSENT))
        (sums,) = data.source.total("scores", held_out[folds], coef, intercept)
        scores_out[folds, r, c] = (-sums[:, 0] if is_log_loss(scoring) else sums[:, 1]) / sums[:, 2]


def log_loss_elsewhere(clf, X, y, sample_weight, offset):
    """Minus the mean cross-entropy of the predictions of a fitted classifier for a Dask collection, by sums."""
    chunks = Chunks(X)
    check_features(clf, chunks.empty)
    total = chunks.sums(chunks.cut(y, "y"), clf.classes_, clf.n_jobs, sample_weight, offset)
    intercept = np.maximum(clf.intercept_, ABSENT)
    (sums,) = total("scores", np.ones((1, len(clf.classes_))), clf.coef_[None], intercept[None])
    loss, _, weight = sums[0]
    if not weight > 0:
        raise ValueError(
            "Expected rows to score that have a positive total weight, got none. Remedy: leave out rows of weight zero."
        )
    return float(-loss / weight)
