"""Fits to rows that are elsewhere and known by their sums: the source, the objective and its metrics.

To a fit, such rows are a few: of all rows of one kind, that is of one class, it sees one, which weighs as much as they
do together. Whatever depends on labels and weights alone is calculated with these as with any rows; what depends on
features goes out as a question, whose answer is a sum.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from .labels import check_labels_present
from .metrics.curvature import Curvature
from .metrics.grams import GramSums
from .metrics.kinds import BlocksMetric, KroneckerMetric, laplacian
from .metrics.plan import BLOCKS, EXACT, KRONECKER, plan_metric
from .metrics.quadratic import QuadraticCurvature
from .metrics.small import LEAST_MASS, SmallObjective
from .objective import SoftmaxObjective
from .rows import LabelledRows
from .sources.arrays import CANCELLED, ArraySource, is_lazy, mean_and_variance
from .sums import RowsBySums, Shard, combine
from .training_data import TrainingData, validation_data
from .validation import as_source, check_features, check_validation, row_weights, set_features, targets_among

_CLIENT_BYTES = 1 << 29  # of X, a quarter of which a metric may take, here and for each chunk
_MOST_FEATURES = 1 << 13  # whose Gram matrix is made at all
_ALIKE = 1e-12  # factors of weights that differ by less are the same, but for rounding


def is_elsewhere(X):
    """Whether rows are known by sums over them: those of a Dask collection, or of :func:`.sums.fit_sums`."""
    return isinstance(X, RowsBySums) or is_lazy(X)


def pooled_data(estimator, X, y, sample_weight, offset, early_stopping, X_val, y_val):
    """The data of a fit whose rows are elsewhere.

    Parameters
    ----------
    early_stopping : bool
        With rows of the user's own to watch: none are held out.

    Returns
    -------
    TrainingData
        Of a :class:`PooledSource`, its rows being kinds of rows.
    """
    check_validation(early_stopping, X_val, y_val, offset)
    if isinstance(X, RowsBySums):
        return _data_by_sums(estimator, X, sample_weight=sample_weight, offset=offset, early_stopping=early_stopping)
    if early_stopping and X_val is None:
        raise ValueError(
            "Expected X_val and y_val with early_stopping=True where X is a Dask collection, none of whose rows is "
            "held out, got neither. Remedy: pass them, or set early_stopping=False."
        )
    chunks = Chunks(X)
    labels = chunks.cut(y, "y")
    classes = chunks.classes(labels)
    total = chunks.sums(labels, classes, estimator.n_jobs, sample_weight, offset)
    set_features(estimator, chunks.empty)
    data, by_class = data_of(PooledSource(total, X, gives_rows=True), classes, estimator.class_weight)
    if X_val is None:
        return data
    return replace(data, validation=_validation(estimator, X_val, y_val, classes, by_class))


def _data_by_sums(estimator, X, **others):
    given = [name for name, value in others.items() if value is not None and value is not False]
    if given:
        raise ValueError(
            f"Expected no {given[0]} where rows are known by their sums, got it. Remedy: let the shards have weights "
            "and offsets, and set early_stopping=False."
        )
    source = PooledSource(X.total, X, gives_rows=X.gives_rows)
    set_features(estimator, np.empty((0, source.n_features)))
    return data_of(source, X.classes, estimator.class_weight)[0]


def data_of(source, classes, class_weight):
    """The data of rows that are elsewhere, and the weights of the classes (n_classes,).

    Parameters
    ----------
    source : PooledSource
    classes : array (n_classes,)
    class_weight : dict, 'balanced' or None

    Returns
    -------
    TrainingData, array
    """
    y = np.arange(source.n_samples) % len(classes)
    weight, by_class = row_weights(class_weight, classes, y, source.weight_by_kind)
    data = TrainingData(source, classes, y, source.weight_by_kind, class_weight, weight)
    return data, np.ones(len(classes)) if by_class is None else by_class


def _validation(estimator, X, y, classes, by_class):
    """Rows that are watched, of a Dask collection or in memory, with weights by class."""
    if not is_lazy(X):
        source = as_source(estimator, X, reset=False)
        target = targets_among(classes, y, source.n_samples)
        return validation_data(source, target, None, None, by_class)
    chunks = Chunks(X)
    check_features(estimator, chunks.empty)
    source = PooledSource(chunks.sums(chunks.cut(y, "y_val"), classes, estimator.n_jobs), X)
    if not by_class @ source.weight_by_kind > 0:
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


class Chunks:
    """The chunks of a Dask collection where they lie, and what belongs to their rows.

    Parameters
    ----------
    X : dask.array.Array or dask.dataframe.DataFrame

    Attributes
    ----------
    lengths : list of int
        Rows of each chunk.
    empty : array or frame
        An empty piece of X.
    """

    def __init__(self, X):
        from .sources import dask

        self.dask, self.there, self.dtype = dask, dask.workers(), _dtype(X, dask)
        self.chunks, shapes = dask.chunks(self.there, X)
        self.lengths = [shape[0] for shape in shapes]
        self.numbers = list(enumerate(np.cumsum([0, *self.lengths[:-1]]).tolist()))
        self.empty = dask.meta(X) if dask.is_frame(X) else np.empty((0, shapes[0][1]))

    def cut(self, values, name):
        """Values of rows in pieces that go with the chunks, where they are; of None for None."""
        if values is None and name.startswith("y"):
            raise ValueError(f"Expected {name} with the labels of the rows, got None. Remedy: pass it.")
        return self.dask.cut(self.there, values, self.lengths, name)

    def classes(self, labels):
        """All the classes of labels in pieces."""
        return _classes(self.there.gather(self.dask.of_each(self.there, _labels, self.numbers, labels)))

    def gathered(self, labels):
        """Labels in pieces as one array (n_rows,), here."""
        return np.concatenate(self.there.gather(self.dask.of_each(self.there, _checked_labels, self.numbers, labels)))

    def sums(self, labels, classes, n_jobs, sample_weight=None, offset=None, group=None, n_groups=1):
        """What adds up answers of the shards that are made of the chunks, as :func:`.sums.fit_sums` takes it.

        Parameters
        ----------
        labels : list of array, where they are
        classes : array (n_classes,)
        n_jobs, sample_weight, offset, group, n_groups
            As :class:`.sums.Shard` takes them, of all rows.
        """
        of_rows = [labels]
        for values, name in ((sample_weight, "sample_weight"), (offset, "offset"), (group, "group")):
            of_rows.append(self.cut(values, name))
        options = {"classes": classes, "dtype": self.dtype, "n_jobs": n_jobs, "n_groups": n_groups}
        shards = self.dask.of_each(self.there, _shard, self.numbers, self.chunks, *of_rows, **options)
        return self.dask.Sums(self.there, shards, combine)


def _dtype(X, dask):
    """The dtype that chunks are to have, or None for that which they have."""
    dtypes = [np.dtype(X.dtype)] if not dask.is_frame(X) else list(X.dtypes)
    if all(dtype == np.float32 for dtype in dtypes):
        return np.dtype(np.float32)
    return np.dtype(np.float64) if dask.is_frame(X) or dtypes[0] == np.float64 else None


def _labels(y):
    """The different labels of a chunk."""
    return np.unique(_checked_labels(y))


def _checked_labels(y):
    """The labels of a chunk, (n_rows,)."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"Expected y with a label for each row, got shape {y.shape}. Remedy: pass labels, one a row; target "
            "probabilities are for rows in memory."
        )
    check_labels_present(y)
    return y


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


def _shard(X, y, weight, offset, group, classes, dtype, n_jobs, n_groups):
    """The rows of a chunk as they stay in a worker."""
    if hasattr(X, "iloc") or (dtype is not None and X.dtype != dtype):
        X = X.astype(dtype) if not hasattr(X, "iloc") else np.asarray(X, dtype=dtype)
    return Shard(X, y.reshape(-1), classes, weight, n_jobs, offset, group, n_groups)


class PooledSource:
    """A :class:`~.contracts.Source` of kinds of rows, in the place of the rows of which sums are known.

    A row of it stands for all rows of a kind, see :class:`.sums.Shard`, and weighs what they weigh together. Whatever
    weight it is given instead, each of them is given in proportion.

    Parameters
    ----------
    total : callable (name, *args) -> tuple of array
        As :func:`.sums.fit_sums` takes it.
    X : object
        The rows as they were given.
    gives_rows : bool
        Whether few rows may be had here, for Newton's method.

    Attributes
    ----------
    n_samples : int
        Of kinds.
    n_rows : int
        Of rows.
    weight_by_kind, rows_by_kind : array (n_samples,)
        Of rows that weigh something.
    """

    is_wide_and_sparse = False
    gram_products = None

    def __init__(self, total, X, gives_rows=False):
        self.total, self.X, self.gives_rows = total, X, gives_rows
        sizes, self.weight_by_kind, self.rows_by_kind = total("counts")
        n_shards, n_features, self.n_rows, n_double, self.pass_values, self.nbytes = map(int, sizes)
        if not self.n_rows:
            raise ValueError("Expected X with at least one row, got none. Remedy: see what has emptied it.")
        self.n_samples, self.n_features = len(self.weight_by_kind), n_features // n_shards
        if n_double not in (0, self.n_rows):
            raise ValueError(
                f"Expected X of one dtype, but {n_double} of {self.n_rows} rows are float64. Remedy: X.astype one "
                "dtype everywhere."
            )
        self.dtype = np.dtype(np.float64 if n_double else np.float32)
        self.known_moments: Any = {}  # by weights

    def factors(self, weight):
        """What the weights of rows are multiplied by where kinds weigh ``weight`` (n_samples,), and a scale of that.

        Factors are one where they are alike, so that nothing is multiplied.
        """
        if weight is None:
            return np.ones(self.n_samples), 1.0
        factors = np.divide(weight, self.weight_by_kind, where=self.weight_by_kind > 0, out=np.ones(self.n_samples))
        scale = float(factors[self.weight_by_kind > 0].max())
        factors = np.where(self.weight_by_kind > 0, factors / scale, 1.0)
        return np.where(np.abs(factors - 1) < _ALIKE, 1.0, factors), scale

    def n_effective(self, weight):
        """Rows that would be as many, did all weigh the same, for kinds of some weights."""
        squares = np.divide(weight**2, self.rows_by_kind, where=self.rows_by_kind > 0, out=np.zeros(self.n_samples))
        return float(weight.sum() ** 2 / squares.sum())

    def passes(self, n_problems, n_scores, n_threads):
        """What takes sums for so many problems."""
        return SumPasses(self, n_problems)

    def parts(self):
        """Nothing: who holds the rows goes through them."""
        return ()

    def moments(self, weight, n_threads):
        """As :meth:`.contracts.Source.moments`."""
        factors, _ = self.factors(weight)
        if (key := factors.astype(np.float32).tobytes()) not in self.known_moments:
            self.known_moments[key] = mean_and_variance(
                lambda shift: self.total("moments", factors, shift),
                np.zeros(self.n_features),
                float(factors @ self.weight_by_kind),
            )
        return self.known_moments[key]

    def peak(self, weight, enough):
        """As :meth:`.contracts.Source.peak`."""
        mean, variance = self.moments(weight, 1)
        rms = float(np.sqrt(np.max(mean**2 + variance, initial=0.0)))
        return rms if rms >= enough else float(np.max(self.total("extremes", self.factors(weight)[0])))

    def constants(self, weight):
        """As :meth:`.contracts.Source.constants`."""
        mean, variance = self.moments(weight, 1)
        if not ((variance <= CANCELLED * mean**2) & (mean != 0)).any():
            return np.empty(0, np.intp)
        largest, minus_least = self.total("extremes", self.factors(weight)[0])
        return np.flatnonzero((largest == -minus_least) & (largest != 0))

    def check_finite(self, n_threads):
        """Nothing: who holds the rows has looked."""


class SumPasses:
    """The one pass of :class:`~.contracts.Pass` that is a sum.

    Parameters
    ----------
    source : PooledSource
    n_problems : int
    """

    def __init__(self, source, n_problems):
        self.source, self.n_problems = source, n_problems

    def loss_gradient(self, parts, coef, intercept, y, weight, weighting, offset=None):
        """As :meth:`.contracts.Pass.loss_gradient`; ``weight`` is of kinds, parts, y and offset are with the rows."""
        dtype = self.source.dtype
        by_kind, scales = zip(*map(self.source.factors, weight), strict=True)
        args = np.stack(by_kind), weighting, *(np.ascontiguousarray(part, dtype) for part in (coef, intercept))
        loss, grad, grad_intercept = self.source.total("loss_gradient", *args)
        scale = np.array(scales)[weighting]
        by_output = np.repeat(scale, len(grad) // len(scale))
        return loss * scale, grad * by_output[:, None], grad_intercept * by_output


class PooledObjective(SoftmaxObjective):
    """:class:`~.objective.SoftmaxObjective` of rows that are elsewhere; parameters as there."""

    row_search: Any = None  # the scores of the rows are not to be had

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        weight: Any = self.weight
        self.pass_weight = weight[None]  # of kinds, not rounded: a common factor is to be one


class PooledCurvature(Curvature):
    """Makes metrics of rows that are elsewhere: Gram matrices are sums, too.

    Parameters
    ----------
    rows : LabelledRows
        Of a :class:`PooledSource`.
    *args, **kwargs
        As in :class:`~.metrics.curvature.Curvature`.
    """

    def _plan(self, **options):
        o = self.rows
        n, p = o.source.n_rows, o.n_columns
        shape = n, p, o.n_outputs, o.source.dtype.itemsize
        state = self.passes_so_far(), self.effective_dim, self.evenness, self.n_problems
        pass_values = o.source.pass_values * p // max(o.source.n_features, 1)
        plan = plan_metric(*shape, pass_values, _CLIENT_BYTES, *state, **options)
        if not o.source.gives_rows:
            plan = replace(plan, exact_passes=np.inf)
            if plan.kind == EXACT:
                plan = replace(plan, kind=BLOCKS if o.n_outputs > 1 else KRONECKER, n_rows=n)
        if plan.kind == KRONECKER and plan.n_rows < 2 * p:  # a factor of low rank is no sum
            plan = replace(plan, n_rows=min(2 * p, n))
        return plan

    @cached_property
    def small(self):
        return SmallObjective(self._rows_here(), self.elastic_net.l2_by_feature, self.absent)

    def _rows_here(self):
        """All the rows, brought here: for those that are few."""
        o = self.rows
        X, y, weight, offset = o.source.total("rows", o.source.factors(o.weight)[0])
        scale = None if o.unscale is None else 1 / o.unscale
        options = {"fit_intercept": o.fit_intercept, "n_threads": o.n_threads, "scale": scale}
        options["offset"] = offset if offset.shape[1] else None
        return LabelledRows(ArraySource(X), y, o.n_classes, sample_weight=weight, **options)

    def _make(self, point):
        for at in (point, np.zeros_like(point), None):
            metric = self._exact(at) if self.is_exact else self._from_sums(at)
            if metric is not None:
                return metric
        raise AssertionError("unreachable")

    def _from_sums(self, point):
        """A metric of Gram matrices; None where no row is unsure of its class."""
        o, as_blocks = self.rows, self.plan.kind == BLOCKS
        sums, between, n_effective = self._gram_sums(point, o.n_outputs if as_blocks else 1, self.plan.n_rows)
        if not sums.masses.max() > LEAST_MASS:
            return None
        if as_blocks:
            roots = sums.roots(self.elastic_net.l2_by_feature)
            self.effective_dim = roots.effective_dim
            return BlocksMetric(roots, laplacian(between))
        mass = float(sums.masses[0])
        self.evenness = max(n_effective / sums.n_rows, 1e-3)
        between = laplacian(between) if o.n_outputs > 1 else np.full((1, 1), mass)

        def factored(ridge):
            return sums.factor(self.elastic_net.by_feature(ridge))

        metric = KroneckerMetric(factored, between / mass, self.elastic_net.l2_reg_strength)
        self.effective_dim = metric.factor.effective_dim
        return metric

    def _gram_sums(self, point, n_blocks, n_rows, columns=None):
        """Gram matrices of a sample of the rows, as :class:`~.metrics.grams.GramSums` has them.

        Parameters
        ----------
        point : array (n_outputs, n_columns), or None
        n_blocks, n_rows : int
        columns : array of intp, or None
            Features that they are of.

        Returns
        -------
        sums : GramSums
        between : array (n_outputs, n_outputs)
        n_effective : float
            Rows that would have as much curvature, did all have the same.
        """
        o, source = self.rows, self.rows.source
        mean, variance = (part if columns is None else part[columns] for part in o.moments())
        if len(mean) > _MOST_FEATURES:
            raise ValueError(
                f"Expected at most {_MOST_FEATURES} features for a fit to rows that are elsewhere, got "
                f"{source.n_features}. Remedy: leave out features, or fit to rows in memory."
            )
        # as the rows are, or they and the sums would be about two points
        center = (mean if o.fit_intercept else np.zeros_like(mean)).astype(source.dtype)
        factors, scale = source.factors(o.weight)
        rarity, n = o.rarity(), source.n_samples / scale
        everything = float(rarity @ (factors * source.weight_by_kind))
        step = everything / n_rows if n_rows < source.n_rows else 0.0
        grams, firsts, masses, between, (n_drawn, square) = source.total(
            *("grams", factors, rarity, step, point, o.unscale, center, o.fit_intercept, n_blocks, columns)
        )
        sums = GramSums(o, len(center), n_blocks)
        sums.grams = [gram / n for gram in grams]
        sums.masses += masses / n
        sums.n_rows, sums.variance = int(n_drawn), variance
        sums.panels = [(center.astype(np.float64), firsts / n, masses / n)]
        return sums, between / n, float(masses[0]) ** 2 / max(square, np.finfo(np.float64).tiny)


class PooledQuadraticCurvature(PooledCurvature, QuadraticCurvature):
    """The same for an L1 penalty, and for bounds."""

    def _plan(self, **options):
        plan = super()._plan(**options)
        return replace(plan, n_rows=max(plan.n_rows, self._enough_rows(self.rows.n_columns)))

    def _n_rows(self):
        return self.rows.source.n_rows

    def _from_sums(self, point):
        n_rows = self._enough_rows(len(self.columns)) if self.is_partial else self.plan.n_rows
        n_blocks = self.rows.n_outputs if self._is_by_blocks() else 1
        sums, between, _ = self._gram_sums(point, n_blocks, n_rows, self.columns)
        return self._of_grams(sums, between)


def curvature_class(source, is_smooth):
    """The class that makes the metrics of rows of a source, for a penalty that has a derivative or not."""
    if isinstance(source, PooledSource):
        return PooledCurvature if is_smooth else PooledQuadraticCurvature
    return Curvature if is_smooth else QuadraticCurvature
