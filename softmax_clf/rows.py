"""Rows with their labels and weights, and their probabilities at a point."""

from functools import cached_property

import numpy as np
from scipy.special import expit, log_expit

from .kernels.softmax import LOG_PROBA, PROBA, RAW
from .kernels.threads import Pieces, on_one_blas_thread

#: The intercept of a class that no row has, in the place of minus infinity, whose product with zero is not a number.
ABSENT = -1e30


class LabelledRows:
    """The rows of one problem: labels, weights, offsets, and features in the columns of a point.

    A point is an array (n_outputs, n_columns): coefficients W D with D = diag(scale), the identity unless features are
    standardised, and intercepts as last column where ``fit_intercept``. For two classes there is one output, the score
    of the second. Metrics are made from these rows; :class:`~.objective.SoftmaxObjective` is the loss of them.

    Parameters
    ----------
    source : Source of n_samples rows
    y : array (n_samples,) intp, or (n_samples, n_classes)
        Labels in range(n_classes); or target probabilities, each row with sum one.
    n_classes : int
    sample_weight : array (n_samples,) float64, or None
        s, non-negative, not all zero.
    fit_intercept : bool
    n_threads : int
    offset : array (n_samples, n_outputs), or None
        Added to the scores.
    scale : array (n_features,), or None
        Standard deviations of the features; inf for one whose coefficients are to be zero.
    passes : Pass over one problem, or None
        That of other rows of the same source, to be shared: its workspaces are used by one at a time.

    Attributes
    ----------
    weight : array (n_samples,) float64, or None
        s, of mean one: as accurate in float32 as any other, and no power of ten under- or overflows.
    frequency : array (n_classes,)
        Shares of the classes, by weight.
    null_objective : float
        Mean loss of the null model: no coefficients, the best intercepts where there are any.
    unscale : array (n_features,), or None
        The inverse of ``scale``.
    pieces : Pieces
        Of the columns.
    """

    def __init__(
        self, source, y, n_classes, *, sample_weight, fit_intercept, n_threads, offset=None, scale=None, passes=None
    ):
        self.source, self.n_threads = source, n_threads
        self.y = y if y.ndim == 1 else np.ascontiguousarray(y[:, n_classes == 2 :], source.dtype)
        self.offset = None if offset is None else np.ascontiguousarray(offset, source.dtype)
        self.unscale = None if scale is None else 1 / scale
        self.fit_intercept = fit_intercept
        self.n_classes, self.n_outputs = n_classes, 1 if n_classes == 2 else n_classes
        self.n_columns = source.n_features + int(fit_intercept)
        self.pieces = Pieces(self.n_columns, n_threads, self.n_outputs)
        n = source.n_samples
        if sample_weight is None:
            self.weight = None
            self.frequency = (
                np.bincount(y, minlength=n_classes) / n if y.ndim == 1 else y.mean(axis=0, dtype=np.float64)
            )
        else:
            self.weight = sample_weight * (n / sample_weight.sum())
            self.frequency = weight_by_class(y, self.weight, n_classes) / n
        self.null_objective = null_loss(self.frequency, fit_intercept)
        self.passes = source.passes(1, self.n_outputs, n_threads) if passes is None else passes

    def split(self, point):
        """Coefficients (n_outputs, n_features) and intercepts (n_outputs,) of a point."""
        n_features = self.source.n_features
        coef = point[:, :n_features] if self.unscale is None else point[:, :n_features] * self.unscale
        return coef, point[:, n_features] if self.fit_intercept else np.zeros(self.n_outputs)

    def moments(self):
        """Means and variances of the features in the columns of a point: a pass, the first time."""
        mean, variance = self._moments
        return (mean, variance) if self.unscale is None else (mean * self.unscale, variance * self.unscale**2)

    @cached_property
    def _moments(self):
        return self.source.moments(self.weight, self.n_threads)

    def take(self, rows):
        """Some rows in the columns of a point, without that of the intercept, and their offsets or zero."""
        X = self.source.take(rows)
        if self.unscale is not None:
            X = X * self.unscale.astype(X.dtype)
        return X, 0.0 if self.offset is None else self.offset[rows]

    def take_sparse(self, rows):
        """The same as sparse rows, where the source has them."""
        X = self.source.take_sparse(rows)
        if self.unscale is not None:
            X = X.scaled(self.unscale)
        return X, 0.0 if self.offset is None else self.offset[rows]

    def proba(self, point):
        """Probabilities (n_samples, n_outputs) at a point; even ones where it is None."""
        proba = np.full((self.source.n_samples, self.n_outputs), 1 / self.n_classes, self.source.dtype)
        if point is not None:
            kind = PROBA if self.n_outputs > 1 else RAW
            self.passes.predict(self.source.parts(), *self.split(point), kind, proba, self.offset)
        return expit(proba) if point is not None and self.n_outputs == 1 else proba

    def rarity(self):
        """For each row, the mean of 1 / sqrt(frequency) of its class."""
        rarity = 1 / np.sqrt(np.maximum(self.frequency, np.finfo(np.float64).tiny))
        if self.y.ndim == 1:
            return rarity[self.y]
        return self.y @ rarity if self.n_outputs > 1 else rarity[0] + self.y[:, 0] * (rarity[1] - rarity[0])


def null_loss(frequency, fit_intercept):
    """Mean loss of the null model for classes of some frequencies (n_classes,)."""
    present = frequency[frequency > 0]
    return float(-(present @ np.log(present))) if fit_intercept else float(np.log(len(frequency)))


@on_one_blas_thread  # or the bits of the product depend on how many there are
def weight_by_class(y, weight, n_classes):
    """The weight of the rows of each class, (n_classes,); of target probabilities, their share of it."""
    return np.bincount(y, weight, n_classes) if y.ndim == 1 else weight @ y


class MeanCrossEntropy:
    """Mean cross-entropy over any rows, as predictions have it: for rows that are not fitted.

    Parameters
    ----------
    source : row source of n_samples rows
    y : array (n_samples,) intp, or (n_samples, n_classes)
        Labels in range(n_classes); or target probabilities.
    sample_weight : array (n_samples,) float64, or None
    offset : array (n_samples, n_outputs), or None
        Added to the scores.
    n_outputs : int
        One for two classes, else their number.
    n_threads : int
    """

    def __init__(self, source, y, sample_weight, offset, *, n_outputs, n_threads):
        self.source, self.y, self.n_outputs = source, y, n_outputs
        self.weight = np.ones(source.n_samples) if sample_weight is None else sample_weight
        self.offset = None if offset is None else np.ascontiguousarray(offset, source.dtype)
        self.passes = source.passes(1, n_outputs, n_threads)

    def evaluate(self, coef, intercept):
        """The mean at coefficients (n_outputs, n_features) and intercepts (n_outputs,)."""
        coef, intercept = coef.astype(self.source.dtype), intercept.astype(self.source.dtype)
        out = np.empty((self.source.n_samples, self.n_outputs), self.source.dtype)
        kind = RAW if self.n_outputs == 1 else LOG_PROBA
        self.passes.predict(self.source.parts(), coef, intercept, kind, out, self.offset)
        log_proba = log_proba_of_two(out) if self.n_outputs == 1 else out
        return float(self.weight @ cross_entropy(log_proba, self.y)) / float(self.weight.sum())


def log_proba_of_two(raw_prediction):
    """Logarithms of the probabilities (n_samples, 2) of two classes, from scores (n_samples, 1) of the second."""
    return np.concatenate([log_expit(-raw_prediction), log_expit(raw_prediction)], axis=1)


def cross_entropy(log_proba, y):
    """Cross-entropy of each row, of labels (n_samples,) or of target probabilities (n_samples, n_classes)."""
    if y.ndim == 1:
        return -log_proba[np.arange(len(y)), y]
    y = y.astype(log_proba.dtype)
    # a class that is no target costs nothing, not even where its probability is zero and its logarithm infinite
    return -np.multiply(y, log_proba, where=y > 0, out=np.zeros_like(log_proba)).sum(axis=1)


def share_of_target(predicted, y):
    """Whether each row's class is predicted, as 0 or 1; of target probabilities, that of the predicted class."""
    return (predicted == y).astype(np.float64) if y.ndim == 1 else y[np.arange(len(y)), predicted]
