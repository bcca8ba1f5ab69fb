"""Fits to rows that are elsewhere and known by their sums: the data, the objective and its metrics."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .kernels.threads import Pieces
from .labels import check_labels_present, weights_by_label
from .metrics.curvature import Curvature
from .metrics.grams import GramSums
from .metrics.kinds import BlocksMetric, KroneckerMetric, laplacian
from .metrics.plan import BLOCKS, EXACT, KRONECKER, plan_metric
from .metrics.small import LEAST_MASS, SmallObjective
from .objective import SoftmaxObjective
from .rows import LabelledRows, null_loss
from .sources.arrays import CANCELLED, ArraySource, is_lazy, mean_and_variance
from .sums import RowsBySums, Shard, combine
from .training_data import validation_data
from .validation import as_source, check_features, check_validation, set_features, targets_among

_CLIENT_BYTES = 1 << 29  # of X, a quarter of which a metric may take, here and for each chunk
_MOST_FEATURES = 1 << 13  # whose Gram matrix is made at all


def is_elsewhere(X):
    """Whether rows are known by sums over them: those of a Dask collection, or of :func:`.sums.fit_sums`."""
    return isinstance(X, RowsBySums) or is_lazy(X)


def pooled_data(estimator, X, y, sample_weight, offset, early_stopping, X_val, y_val):
    """The data of a fit whose rows are elsewhere, as :class:`PooledData`.

    Parameters
    ----------
    early_stopping : bool
        With rows of the user's own to watch: none are held out.
    """
    check_validation(early_stopping, X_val, y_val, offset)
    others: dict = {"l1_ratio": estimator.l1_ratio or None, "coef_bounds": estimator.coef_bounds}
    if isinstance(X, RowsBySums):
        others |= {"offset": offset, "early_stopping": early_stopping or None}
    given = [name for name, value in others.items() if value is not None]
    if given:
        raise ValueError(
            f"Expected no {given[0]} where rows are those of a Dask collection or known by their sums, got it. Remedy: "
            "leave it out, or fit to rows in memory, such as X.compute()."
        )
    if early_stopping and X_val is None:
        raise ValueError(
            "Expected X_val and y_val with early_stopping=True where X is a Dask collection, none of whose rows is "
            "held out, got neither. Remedy: pass them, or set early_stopping=False."
        )
    if isinstance(X, RowsBySums):
        source = PooledSource(X.total, None, len(X.classes))
        set_features(estimator, np.empty((0, source.n_features)))
        return PooledData.of(source, X.classes, estimator.class_weight, gives_rows=False)
    total, classes, empty = sums_of_collection(X, y, sample_weight, estimator.n_jobs, offset)
    source = PooledSource(total, X, len(classes))
    set_features(estimator, empty)
    data = PooledData.of(source, classes, estimator.class_weight, gives_rows=True)
    if X_val is None:
        return data
    factors = _class_factors(estimator.class_weight, classes, source.weight_by_class)
    return replace(data, validation=_validation(estimator, X_val, y_val, classes, factors))


def _validation(estimator, X, y, classes, by_class):
    """Rows that are watched, of a Dask collection or in memory, with weights by class."""
    if not is_lazy(X):
        source = as_source(estimator, X, reset=False)
        target = targets_among(classes, y, source.n_samples)
        return validation_data(source, target, None, None, by_class)
    total, _, empty = sums_of_collection(X, y, None, estimator.n_jobs, classes=classes)
    check_features(estimator, empty)
    source = PooledSource(total, X, len(classes))
    if not by_class @ source.weight_by_class > 0:
        raise ValueError(
            "Expected validation rows with a positive total weight, but class_weight is zero for all of them. "
            "Remedy: give rows of other classes."
        )
    return PooledLoss(source, by_class)


class PooledLoss:
    """Mean cross-entropy of rows that are elsewhere and not fitted, as :class:`.rows.MeanCrossEntropy` has it.

    Parameters
    ----------
    source : PooledSource
    by_class : array (n_classes,)
        Weights of the classes.
    """

    def __init__(self, source, by_class):
        self.source, self.by_class = source, by_class

    def mean_loss(self, n_outputs, n_threads):
        """Itself: what evaluates the loss of these rows."""
        return self

    def evaluate(self, coef, intercept):
        """The mean at coefficients (n_outputs, n_features) and intercepts (n_outputs,)."""
        loss, weight = self.source.total("loss", self.by_class, coef, intercept)
        return float(loss[0] / weight[0])


def sums_of_collection(X, y, sample_weight, n_jobs, offset=None, classes=None):
    """Sums over the chunks of a Dask collection, the classes, and an empty piece of it.

    Classes that are not given are those of the labels.
    """
    from .sources import dask

    if y is None:
        raise ValueError("Expected y with the labels of the rows, got None. Remedy: pass it.")
    there = dask.workers()
    chunks, shapes = dask.chunks(there, X)
    lengths = [shape[0] for shape in shapes]
    numbers = list(enumerate(np.cumsum([0, *lengths[:-1]]).tolist()))
    labels = dask.cut(there, y, lengths, "y")
    weights = dask.cut(there, sample_weight, lengths, "sample_weight")
    offsets = dask.cut(there, offset, lengths, "offset")
    if classes is None:
        classes = _classes(there.gather(dask.of_each(there, _labels, numbers, labels)))
    options = {"classes": classes, "dtype": _dtype(X, dask), "n_jobs": n_jobs}
    shards = dask.of_each(there, _shard, numbers, chunks, labels, weights, offsets, **options)
    empty = dask.meta(X) if dask.is_frame(X) else np.empty((0, shapes[0][1]))
    return dask.Sums(there, shards, combine), classes, empty


def _dtype(X, dask):
    """The dtype that chunks are to have, or None for that which they have."""
    dtypes = [np.dtype(X.dtype)] if not dask.is_frame(X) else list(X.dtypes)
    if all(dtype == np.float32 for dtype in dtypes):
        return np.dtype(np.float32)
    return np.dtype(np.float64) if dask.is_frame(X) or dtypes[0] == np.float64 else None


def _labels(y):
    """The different labels of a chunk."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"Expected y with a label for each row, got shape {y.shape}. Remedy: pass labels, one a row; target "
            "probabilities are for rows in memory."
        )
    check_labels_present(y)
    return np.unique(y)


def _classes(labels):
    labels = [found for found in labels if len(found)]
    classes = np.unique(np.concatenate(labels)) if labels else np.empty(0)
    if len(classes) < 2:
        raise ValueError(
            f"Expected y to hold at least 2 classes, got {classes.tolist()}. Remedy: fit on rows of all the classes "
            "that are to be told apart."
        )
    if classes.dtype.kind == "f" and (classes != np.floor(classes)).any():
        raise ValueError(
            "Unknown label type: expected labels of classes, got real numbers, such as "
            f"{classes[classes != np.floor(classes)][0]}. Remedy: fit a regressor, or make classes of them."
        )
    return classes


def _shard(X, y, weight, offset, classes, dtype, n_jobs):
    """The rows of a chunk as they stay in a worker."""
    if hasattr(X, "iloc") or (dtype is not None and X.dtype != dtype):
        X = X.astype(dtype) if not hasattr(X, "iloc") else np.asarray(X, dtype=dtype)
    return Shard(X, y.reshape(-1), classes, weight, n_jobs, offset)


class PooledSource:
    """What a fit asks of a source of rows, from their sums.

    Parameters
    ----------
    total : callable (name, *args) -> tuple of array
        As :func:`.sums.fit_sums` takes it.
    X : object
        The rows as they were given, or None.
    n_classes : int

    Attributes
    ----------
    weight_by_class, rows_by_class : array (n_classes,)
        Of rows that weigh something; the weights as they were given.
    by_class : array (n_classes,)
        What the rows' weights are multiplied by; to be set before sums are asked for.
    """

    is_wide_and_sparse = False

    def __init__(self, total, X, n_classes):
        self.total, self.X = total, X
        sizes, self.weight_by_class, self.rows_by_class = total("counts")
        n_shards, n_features, self.n_samples, n_double, self.pass_values, self.nbytes = map(int, sizes)
        if not self.n_samples:
            raise ValueError("Expected X with at least one row, got none. Remedy: see what has emptied it.")
        self.n_features = n_features // n_shards
        if n_double not in (0, self.n_samples):
            raise ValueError(
                f"Expected X of one dtype, but {n_double} of {self.n_samples} rows are float64. Remedy: X.astype one "
                "dtype everywhere."
            )
        self.dtype = np.dtype(np.float64 if n_double else np.float32)
        self.by_class: Any = np.ones(n_classes)
        self.known_moments: Any = None

    def moments(self, weight, n_threads):
        """As :meth:`.contracts.Source.moments`; ``weight`` is not looked at, the rows know theirs."""
        if self.known_moments is None:
            total = float(self.by_class @ self.weight_by_class)
            self.known_moments = mean_and_variance(
                lambda shift: self.total("moments", self.by_class, shift), np.zeros(self.n_features), total
            )
        return self.known_moments

    def peak(self, weight, enough):
        """As :meth:`.contracts.Source.peak`."""
        mean, variance = self.moments(None, 1)
        rms = float(np.sqrt(np.max(mean**2 + variance, initial=0.0)))
        return rms if rms >= enough else float(np.max(self.total("extremes", self.by_class)))

    def constants(self, weight):
        """As :meth:`.contracts.Source.constants`."""
        mean, variance = self.moments(None, 1)
        if not ((variance <= CANCELLED * mean**2) & (mean != 0)).any():
            return np.empty(0, np.intp)
        largest, minus_least = self.total("extremes", self.by_class)
        return np.flatnonzero((largest == -minus_least) & (largest != 0))

    def check_finite(self, n_threads):
        """Nothing: who holds the rows has looked."""


@dataclass(frozen=True)
class PooledData:
    """What :class:`.training_data.TrainingData` is, of rows that are elsewhere.

    Attributes
    ----------
    source : PooledSource
    classes : array (n_classes,)
    weight_sum : float
    gives_rows : bool
        Whether few rows may be had here, for Newton's method.
    validation : PooledLoss or ValidationData, or None
        Rows that are watched.
    """

    source: PooledSource
    classes: np.ndarray
    weight_sum: float
    gives_rows: bool
    validation: Any = None
    weight = offset = None

    @classmethod
    def of(cls, source, classes, class_weight, gives_rows):
        """The data of rows, with weights by class as the classifier takes them."""
        factors = _class_factors(class_weight, classes, source.weight_by_class)
        weight_sum = float(factors @ source.weight_by_class)
        if not (np.isfinite(weight_sum) and weight_sum > 0):
            raise ValueError(
                f"Expected weights with a positive and finite sum, got {weight_sum}. Remedy: give some rows a positive "
                "sample_weight and their classes a positive class_weight."
            )
        if (factors * source.weight_by_class == weight_sum).any():
            raise ValueError(
                "Expected at least 2 classes with a positive total weight, got one. Remedy: leave a positive "
                "sample_weight or class_weight to rows of two classes."
            )
        source.by_class = factors * (source.n_samples / weight_sum)
        return cls(source, classes, weight_sum, gives_rows)

    @property
    def n_classes(self):
        return len(self.classes)

    @property
    def n_outputs(self):
        return 1 if self.n_classes == 2 else self.n_classes


def _class_factors(class_weight, classes, weight_by_class):
    if class_weight is None:
        return np.ones(len(classes))
    if not isinstance(class_weight, str):
        return weights_by_label(class_weight, classes)
    present = weight_by_class > 0
    mean = weight_by_class.sum() / present.sum()
    return np.divide(mean, weight_by_class, where=present, out=np.zeros(len(classes)))


class PooledObjective(SoftmaxObjective):
    """:class:`~.objective.SoftmaxObjective` of rows that are elsewhere.

    Parameters
    ----------
    data : PooledData
    elastic_net : ElasticNet
    fit_intercept, n_threads, scale
        As there.
    """

    row_search: Any = None  # the scores of the rows are not to be had

    def __init__(self, data, elastic_net, *, fit_intercept, n_threads, scale):
        self.source, self.data, self.n_threads, self.fit_intercept = data.source, data, n_threads, fit_intercept
        self.elastic_net = elastic_net
        self.scale, self.unscale = scale, None if scale is None else 1 / scale
        self.n_classes, self.n_outputs = data.n_classes, data.n_outputs
        self.n_columns = self.source.n_features + int(fit_intercept)
        self.pieces = Pieces(self.n_columns, n_threads, self.n_outputs)
        self.offset: Any = None
        self.weight: Any = None
        self.frequency = self.source.by_class * self.source.weight_by_class / self.source.n_samples
        self.null_objective = null_loss(self.frequency, fit_intercept)
        self.n_passes: float = 0

    def evaluate(self, point):
        self.n_passes += 1
        dtype = self.source.dtype
        coef, intercept = (np.ascontiguousarray(part, dtype) for part in self.split(point))
        loss, *grad = self.source.total("loss_gradient", self.source.by_class, coef, intercept)
        squares, grad = self._penalised(point, *grad)
        return loss[0] / self.source.n_samples + squares / 2, grad

    def rarity(self):
        """By class, as :meth:`.rows.LabelledRows.rarity` has it by row."""
        return 1 / np.sqrt(np.maximum(self.frequency, np.finfo(np.float64).tiny))

    def here(self):
        """All the rows, brought here: for those that are few."""
        X, y, weight, offset = self.source.total("rows", self.source.by_class)
        options = {"fit_intercept": self.fit_intercept, "n_threads": self.n_threads, "scale": self.scale}
        options["offset"] = offset if offset.shape[1] else None
        return LabelledRows(ArraySource(X), y, self.n_classes, sample_weight=weight, **options)


class PooledCurvature(Curvature):
    """Makes metrics of a :class:`PooledObjective`: Gram matrices are sums, too."""

    def _plan(self, **options):
        o = self.rows
        n, p = o.source.n_samples, o.n_columns
        shape = n, p, o.n_outputs, o.source.dtype.itemsize
        state = self.passes_so_far(), self.effective_dim, self.evenness, self.n_problems
        pass_values = o.source.pass_values * p // max(o.source.n_features, 1)
        plan = plan_metric(*shape, pass_values, _CLIENT_BYTES, *state, **options)
        if not o.data.gives_rows:
            plan = replace(plan, exact_passes=np.inf)
            if plan.kind == EXACT:
                plan = replace(plan, kind=BLOCKS if o.n_outputs > 1 else KRONECKER, n_rows=n)
        if plan.kind == KRONECKER and plan.n_rows < 2 * p:  # a factor of low rank is no sum
            plan = replace(plan, n_rows=min(2 * p, n))
        return plan

    @cached_property
    def small(self):
        return SmallObjective(self.rows.here(), self.elastic_net.l2_by_feature, self.absent)

    def _make(self, point):
        for at in (point, np.zeros_like(point), None):
            metric = self._exact(at) if self.is_exact else self._from_sums(at)
            if metric is not None:
                return metric
        raise AssertionError("unreachable")

    def _from_sums(self, point):
        """A metric of Gram matrices; None where no row is unsure of its class."""
        o, source = self.rows, self.rows.source
        if source.n_features > _MOST_FEATURES:
            raise ValueError(
                f"Expected at most {_MOST_FEATURES} features for a fit to rows that are elsewhere, got "
                f"{source.n_features}. Remedy: leave out features, or fit to rows in memory."
            )
        as_blocks = self.plan.kind == BLOCKS
        n_blocks = o.n_outputs if as_blocks else 1
        mean, variance = o.moments()
        # as the rows are, or they and the sums would be about two points
        center = (mean if o.fit_intercept else np.zeros_like(mean)).astype(source.dtype)
        rarity = o.rarity()
        everything = float(rarity @ (source.by_class * source.weight_by_class))
        step = everything / self.plan.n_rows if self.plan.n_rows < source.n_samples else 0.0
        grams, firsts, masses, between, (n_rows, square) = source.total(
            *("grams", source.by_class, point, o.unscale, center, o.fit_intercept, rarity, step, n_blocks)
        )
        n = source.n_samples
        masses, between = masses / n, between / n
        if not masses.max() > LEAST_MASS:
            return None
        sums = GramSums(o, source.n_features, n_blocks)
        sums.grams = [gram / n for gram in grams]
        sums.masses += masses
        sums.n_rows, sums.variance = int(n_rows), variance
        sums.panels = [(center.astype(np.float64), firsts / n, masses)]
        if as_blocks:
            roots = sums.roots(self.elastic_net.l2_by_feature)
            self.effective_dim = roots.effective_dim
            return BlocksMetric(roots, laplacian(between))
        mass = float(masses[0])
        self.evenness = max(mass**2 / (n_rows * square / n**2), 1e-3)
        between = laplacian(between) if o.n_outputs > 1 else np.full((1, 1), mass)

        def factored(ridge):
            return sums.factor(self.elastic_net.by_feature(ridge))

        metric = KroneckerMetric(factored, between / mass, self.elastic_net.l2_reg_strength)
        self.effective_dim = metric.factor.effective_dim
        return metric
