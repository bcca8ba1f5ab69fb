"""The data of a fit, checked and put together once, before there is any objective."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .contracts import Source
from .messages import or_as_float64
from .refusals import check_shapes
from .rows import MeanCrossEntropy, weight_by_class
from .sources.deviations import with_deviations
from .sources.joined import joined
from .validation import (
    as_source,
    check_sum,
    check_validation,
    checked_offset,
    checked_weight,
    holdout,
    row_weights,
    targets,
    targets_among,
    weights_of_classes,
)

_FEW_HELD_OUT = 10  # rows from which on early stopping does not warn
_TINY = 2.0**-30  # float32 values whose squares, weighted, begin to underflow


@dataclass(frozen=True)
class ValidationData:
    """Rows that are watched, not fitted.

    Attributes
    ----------
    source, y
        As in :class:`TrainingData`.
    weight : array (n_samples,) float64, or None
        Of the rows, times that of their classes.
    offset : array (n_samples, n_outputs), or None
    """

    source: Source
    y: np.ndarray
    weight: np.ndarray | None
    offset: np.ndarray | None

    def mean_loss(self, n_outputs, n_threads):
        """What evaluates the loss of these rows."""
        options = {"n_outputs": n_outputs, "n_threads": n_threads}
        return MeanCrossEntropy(self.source, self.y, self.weight, self.offset, **options)


@dataclass(frozen=True)
class TrainingData:
    """The rows of a fit, their labels and what they weigh.

    Attributes
    ----------
    source : Source of n_samples rows
    classes : array (n_classes,)
    y : array (n_samples,) intp, or (n_samples, n_classes)
        Labels as indices of the classes; or target probabilities.
    sample_weight : array (n_samples,) float64, or None
        Of the rows, as they were given.
    class_weight : dict, 'balanced' or None
        As it was given.
    weight : array (n_samples,) float64, or None
        s: of the rows, times that of their classes, and zero for those that are held out. None where all are one.
    offset : array (n_samples, n_outputs), or None
        Added to the scores.
    validation : ValidationData, or None
    """

    source: Source
    classes: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None
    class_weight: Any
    weight: np.ndarray | None
    offset: np.ndarray | None = None
    validation: ValidationData | None = None

    @classmethod
    def from_arguments(cls, estimator, X, y, sample_weight, offset=None, early_stopping=None, X_val=None, y_val=None):
        """The data that a fit of an estimator is given.

        Parameters
        ----------
        early_stopping : tuple (validation_fraction, random_state), or None
            Which rows to hold out where ``X_val`` is None; None for none.
        """
        check_validation(early_stopping is not None, X_val, y_val, offset)
        check_shapes(X, y)
        source = as_source(estimator, X, reset=True)
        classes, y_index = targets(y, source.n_samples, name=type(estimator).__name__)
        offset = checked_offset(offset, source.n_samples, len(classes))
        sample_weight = checked_weight(sample_weight, y_index)
        held_out = None
        if early_stopping is not None and X_val is None:
            held_out = rows_held_out(y_index, sample_weight, *early_stopping)
        weight, by_class = row_weights(estimator.class_weight, classes, y_index, sample_weight, held_out)
        validation = None
        if held_out is not None:
            weight_val, offset_val = (None if a is None else a[held_out] for a in (sample_weight, offset))
            validation = validation_data(source.select(held_out), y_index[held_out], weight_val, offset_val, by_class)
        elif X_val is not None:
            source_val = as_source(estimator, X_val, reset=False)
            target = targets_among(classes, y_val, source_val.n_samples)
            validation = validation_data(source_val, target, None, None, by_class)
        source = with_deviations(source, estimator.n_jobs)
        return cls(source, classes, y_index, sample_weight, estimator.class_weight, weight, offset, validation)

    def with_rows(self, estimator, X, y):
        """These rows and others after them, of the same features and classes, which weigh one each, as these do."""
        others = as_source(estimator, X, reset=False)
        target = targets_among(self.classes, y, others.n_samples)
        if target.ndim != self.y.ndim:
            raise ValueError(
                "Expected y and y_val to hold labels both, or target probabilities both, got one of each. Remedy: make "
                "labels rows of zeros and a one."
            )
        target = np.concatenate([self.y, target])
        weight, _ = row_weights(self.class_weight, self.classes, target, None)
        source = with_deviations(joined(self.source, others), estimator.n_jobs)
        return replace(self, source=source, y=target, weight=weight)

    @property
    def labels(self):
        """y as it is passed on: labels, or target probabilities."""
        return self.classes[self.y] if self.y.ndim == 1 else self.y

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def n_outputs(self) -> int:
        """Scores of a row: for two classes there is that of the second."""
        return 1 if self.n_classes == 2 else self.n_classes

    @property
    def weight_sum(self) -> float:
        """S, the sum of s."""
        return float(self.source.n_samples if self.weight is None else self.weight.sum())

    def fold_weight(self, train, fold):
        """s of a fold: for its training rows, as often as each is among them, and zero for others."""
        weight = np.bincount(train, minlength=len(self.y)).astype(np.float64)
        if self.sample_weight is not None:
            weight *= self.sample_weight
        if self.class_weight is not None:
            weight *= weights_of_classes(self.class_weight, self.classes, self.y, weight)[self.y]
        present = np.flatnonzero(weight_by_class(self.y, weight, self.n_classes))
        if len(present) < 2:
            raise ValueError(
                f"Expected at least 2 classes of positive weight in the training rows of every fold, but fold {fold} "
                f"has {self.classes[present].tolist()}. Remedy: take a cv that stratifies, or fewer folds."
            )
        check_sum(weight, "sample_weight times class_weight")
        return weight


def validation_data(source, target, weight, offset, by_class):
    """Rows to watch, as :class:`ValidationData`: their weights, or None, are multiplied by those of their classes."""
    if by_class is not None:
        by_row = by_class[target] if target.ndim == 1 else target @ by_class
        weight = by_row if weight is None else weight * by_row
    if weight is not None and not weight.sum() > 0:
        raise ValueError(
            "Expected validation rows with a positive total weight, but class_weight is zero for all of them. "
            "Remedy: give rows of other classes."
        )
    return ValidationData(source, target, weight, offset)


def rows_held_out(y_index, row_weight, validation_fraction, random_state):
    """Rows held out for early stopping, increasing; none without weight, nor all of a class."""
    rows = np.arange(len(y_index)) if row_weight is None else np.flatnonzero(row_weight)
    y = y_index[rows]
    train, held_out = next(holdout(y, validation_fraction, random_state).split(y, y))
    if y.ndim == 1:
        held_out = held_out[np.isin(y[held_out], y[train])]
    if not len(held_out):
        raise ValueError(
            f"Expected rows to hold out for early_stopping, but of {len(rows)} rows none can be spared. Remedy: "
            "give X_val and y_val, or a larger validation_fraction."
        )
    if len(held_out) < max(_FEW_HELD_OUT, len(np.unique(y)) if y.ndim == 1 else y.shape[1]):
        warnings.warn(
            f"early_stopping watches {len(held_out)} rows only, whose loss says little. Remedy: raise "
            "validation_fraction, give X_val and y_val, or set early_stopping=False.",
            UserWarning,
            stacklevel=7,
        )
    return np.sort(rows[held_out])


# ---------------------------------------------------------------------------------------------------------------------
# The features' scales


def feature_scale(source, weight, *, standardize, unit, fit_intercept, n_threads, factor=None):
    """What the features are divided by, (n_features,), or None for nothing; inf for one that is left out.

    Parameters
    ----------
    source : Source
    weight : array (n_samples,) float64, or None
    standardize : bool
        Whether to divide them by their standard deviations.
    unit : float or None
        As :func:`unit_of` has it; not used where they are standardised.
    fit_intercept : bool
    n_threads : int
    factor : array (n_features,), or None
        Of the penalty.
    """
    if standardize:
        scale = standard_deviations(source, weight, fit_intercept, n_threads)
    else:
        scale = None if unit is None else np.full(source.n_features, unit)
        scale = without_constants(source, weight, fit_intercept, scale)
    return with_factors(scale, factor)


def with_factors(scale, factor):
    """The scale (.., n_features) that makes coefficients of it such that an L2 penalty with factors counts them alike.

    As they are where the factor is zero: the penalty counts those not at all, see :class:`~.penalty.ElasticNet`.
    """
    if factor is None:
        return scale
    root = np.where(factor > 0, np.sqrt(factor), 1.0)
    return root if scale is None else scale * root


def bounds_of_point(bounds, scale):
    """Bounds of coefficients, a pair of arrays, as those of a point; none where the scale (n_features,) is infinite."""
    if bounds is None or scale is None:
        return bounds
    left_out = np.isinf(scale)
    with np.errstate(over="ignore"):  # one that is beyond all numbers is none
        low, high = (side * np.where(left_out, 1.0, scale) for side in bounds)
    return np.where(left_out, -np.inf, low), np.where(left_out, np.inf, high)


def put_within(coef, bounds):
    """Coefficients (.., n_outputs, n_features) within bounds, or the nearest to them that their dtype has."""
    with np.errstate(over="ignore"):  # beyond what float32 holds is no bound
        return np.clip(coef, *(side.astype(coef.dtype) for side in bounds))


def unit_of(source, weight):
    """A power of two as large as the largest value, where they are so small in float32 that metrics would underflow.

    Rows that weigh nothing do not count.
    """
    if source.dtype != np.float32:
        return None
    peak = source.peak(weight, _TINY)
    # one whose inverse is finite, too
    return max(2.0 ** np.floor(np.log2(peak)), 2.0**-126) if 0 < peak < _TINY else None


def standard_deviations(source, weight, fit_intercept, n_threads):
    """Standard deviations of the features; of those that do not vary, inf if there is an intercept, else 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, variance = source.moments(weight, n_threads)
    if not np.isfinite(variance).all():
        source.check_finite(n_threads)
        raise ValueError("Expected X of a size that can be squared, but its variances overflow. Remedy: scale X down.")
    # Squares are those of differences from the mean, of which rounding leaves little, however many rows there are.
    deviation = np.sqrt(variance)
    constant = deviation <= 4 * np.finfo(np.float64).eps * np.abs(mean)
    least = deviation.min(where=~constant, initial=np.inf)
    if least < 1 / np.finfo(source.dtype).max:
        raise ValueError(
            f"Expected X of a size whose inverse {source.dtype} can hold, got a standard deviation of {least:.0e}. "
            f"Remedy: scale X up{or_as_float64(source.dtype)}."
        )
    return np.where(constant, np.inf if fit_intercept else 1.0, deviation)


def without_constants(source, weight, fit_intercept, scale):
    """The scale (n_features,), or None for ones, but inf for features that do not vary beside an intercept.

    It does all that they can, without a penalty; rounding would have them share.
    """
    constants = source.constants(weight) if fit_intercept else ()
    if not len(constants):
        return scale
    scale = np.ones(source.n_features) if scale is None else scale.copy()
    scale[constants] = np.inf
    return scale
