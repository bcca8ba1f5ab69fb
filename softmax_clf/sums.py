"""A fit by sums: what the holders of the rows add up, wherever they are, so that the rows can stay there.

A fit needs of its rows a handful of sums, each a function of a point: above all the loss and its gradient, and now and
then the Gram matrices that a metric is made of. A :class:`Shard` is some of the rows, with a method for each sum;
:func:`combine` adds what shards have answered. With these, whatever can call a method in several places and bring back
the answers runs a fit (:func:`fit_sums`), which is that of all the rows together:

    def total(name, *args):
        return combine(name, [getattr(shard, name)(*args) for shard in shards])

    fit_sums(SoftmaxRegressionClassifier(), total, classes)

Nothing that shards answer is as large as their rows are many. Answers are added in the order in which they are given:
in the same order the result is the same, to the bit, wherever the shards are.
"""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax

from .kernels.threads import effective_n_threads, on_one_blas_thread
from .labels import check_labels_present, places
from .metrics.grams import GramSums
from .metrics.sample import RowSample
from .rows import MeanCrossEntropy, cross_entropy, log_proba_of_two
from .sources.arrays import DTYPES, ArraySource
from .sources.sparse import CsrSource

__all__ = ["Shard", "combine", "fit_sums"]

_TAKEN = 1 << 12  # rows that are copied at a time


def combine(name, answers):
    """Add up what shards answer.

    Parameters
    ----------
    name : str
        Of the method of :class:`Shard`.
    answers : list of tuple of array
        In the order of the shards. Combined ones may be combined again.

    Returns
    -------
    tuple of array
    """
    if name == "rows":
        return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))
    total, put_together = answers[0], np.maximum if name == "extremes" else np.add
    for answer in answers[1:]:
        total = tuple(put_together(a, b) for a, b in zip(total, answer, strict=True))
    return total


@dataclass(frozen=True)
class RowsBySums:
    """Rows that are known by their sums, in the place of X in a fit: see :func:`fit_sums`.

    Attributes
    ----------
    total, classes
        As there.
    gives_rows : bool
        Whether ``total`` may be asked for the rows themselves, where they are few.
    """

    total: Any
    classes: Any
    gives_rows: bool = False


def fit_sums(clf, total, classes):
    """Fit a classifier to rows that are known by their sums only.

    Parameters
    ----------
    clf : SoftmaxRegressionClassifier
        Without ``early_stopping``, which would have to know rows.
    total : callable ``(name, *args)`` -> tuple of array
        Calls the method of that name of every :class:`Shard`, and gives what :func:`combine` makes of the answers. The
        methods are ``counts, moments, extremes, loss_gradient, grams``; arguments are arrays, numbers and None.
    classes : array (n_classes,)
        All classes, sorted, as the shards have them.

    Returns
    -------
    clf
    """
    return clf.fit(RowsBySums(total, np.asarray(classes)), None)


class Shard:
    """Some of the rows of a fit, with their labels and weights: it answers with sums over them.

    Rows of a class are of one kind, or with groups those of a class and a group: of class k in group g, kind
    ``g n_classes + k``. In every method but :meth:`counts`, ``by_kind`` (n_kinds,) are factors of the rows' weights, so
    that one shard answers for all of its rows, and for those of some groups.

    Parameters
    ----------
    X : array (n_rows, n_features), or sparse array
        Finite, of any number of rows, none included. The dtype must be the same for all shards.
    y : array (n_rows,)
        Labels, each of them in ``classes``.
    classes : array (n_classes,)
        Sorted, the same for all shards.
    sample_weight : array (n_rows,), default=None
        Non-negative.
    n_jobs : int, default=None
        Threads, as in :class:`~.estimator.SoftmaxRegressionClassifier`.
    offset : array (n_rows, n_classes), default=None
        Added to the scores of the rows; all shards have one, or none has.
    group : array (n_rows,) of int, default=None
        Of what group each row is; None for one group of all of them.
    n_groups : int, default=1
    """

    def __init__(self, X, y, classes, sample_weight=None, n_jobs=None, offset=None, group=None, n_groups=1):
        if hasattr(X, "nnz"):
            X = X.tocsr()
            X = X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)
        else:
            X = np.asarray(X)
            X = X if X.dtype in DTYPES else X.astype(np.float64)
        self.n_jobs, self.n_classes, self.n_features = n_jobs, len(classes), X.shape[1]
        self.n_outputs = 1 if self.n_classes == 2 else self.n_classes
        self.n_rows = X.shape[0]
        self.source: Any = None
        if self.n_rows:
            self.source = CsrSource(X) if hasattr(X, "nnz") else ArraySource(X)
            self.source.check_finite(1)
        self.dtype: Any = np.dtype(np.float64 if X.dtype == np.float64 else np.float32)
        y = np.asarray(y)
        check_labels_present(y)
        self.y = places(y, classes).astype(np.intp)
        if self.n_rows and self.y.min() < 0:
            raise ValueError(
                f"Expected labels of the classes {np.asarray(classes).tolist()}, got also "
                f"{y[self.y.argmin()]!r}. Remedy: give all shards the classes of all."
            )
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        if self.sample_weight is not None:
            bad = np.flatnonzero(~((self.sample_weight >= 0) & np.isfinite(self.sample_weight)))
            if len(bad):
                raise ValueError(
                    f"Expected finite and non-negative sample_weight, got {self.sample_weight[bad[0]]} in row "
                    f"{bad[0]}. Remedy: leave out such rows."
                )
        self.n_kinds = n_groups * self.n_classes
        self.kind = self.y if group is None else self.y + self.n_classes * np.asarray(group, np.intp)
        for values, name in ((self.y, "y"), (self.sample_weight, "sample_weight")):
            if values is not None and len(values) != self.n_rows:
                raise ValueError(
                    f"Expected {name} with a value for each of {self.n_rows} rows, got {len(values)}. Remedy: pass one "
                    "a row."
                )
        self.offset = None if offset is None else self._checked_offset(np.asarray(offset, self.dtype))
        self._begin()

    def _checked_offset(self, offset):
        """What is added to the scores, (n_rows, n_outputs)."""
        if offset.shape != (self.n_rows, self.n_classes) or not np.isfinite(offset).all():
            raise ValueError(
                f"Expected offset of shape {(self.n_rows, self.n_classes)}, a finite number for each row and class, "
                f"got shape {offset.shape}{'' if np.isfinite(offset).all() else ' and NaN or infinity'}. Remedy: give "
                "a column for every class, in the order of the sorted classes."
            )
        return np.ascontiguousarray(offset[:, 1:] - offset[:, :1] if self.n_classes == 2 else offset)

    def _begin(self):
        self.lock, self.passes, self.weights = threading.Lock(), {}, {}

    def __getstate__(self):
        """Without workspaces, and what can be had again."""
        state = self.__dict__.copy()
        for name in ("lock", "passes", "weights"):
            del state[name]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._begin()

    def __sizeof__(self):
        """What a scheduler is to know it to hold."""
        return object.__sizeof__(self) + (self.source.nbytes if self.n_rows else 0) + 2 * self.y.nbytes

    def _weight(self, by_kind):
        """Weights of the rows, float64, or None for ones."""
        if self.sample_weight is None:
            return None if (by_kind == 1).all() else by_kind[self.kind]
        return self.sample_weight * by_kind[self.kind]

    def _pass(self, n_outputs, n_problems=1):
        key = n_problems, n_outputs, effective_n_threads(self.n_jobs)
        if key not in self.passes:
            if len(self.passes) > 1:  # fewer problems are left than before: no more workspaces than are needed
                self.passes.clear()
            self.passes[key] = self.source.passes(*key)
        return self.passes[key]

    def counts(self):
        """What the shard is: sizes, and of each kind (n_kinds,) the weight and the rows that weigh something.

        Sizes are one, for the shard, its features, rows, rows of float64, values of a dense array that a pass takes as
        long over, and bytes of X.
        """
        weights = np.ones(self.n_rows) if self.sample_weight is None else self.sample_weight
        n, of_source = self.n_rows, (self.source.pass_values, self.source.nbytes) if self.n_rows else (0, 0)
        sizes = np.array([1, self.n_features, n, n * (self.dtype == np.float64), *of_source], np.int64)
        by_kind = np.bincount(self.kind, weights, self.n_kinds)
        return sizes, by_kind, np.bincount(self.kind[weights > 0], minlength=self.n_kinds)

    def moments(self, by_kind, shift):
        """Weighted sums (n_features,) of ``x - shift`` and of its square."""
        if not self.n_rows:
            return np.zeros(self.n_features), np.zeros(self.n_features)
        weight = self._weight(by_kind)
        if isinstance(self.source, CsrSource):
            total = self.n_rows if weight is None else weight.sum()
            if not total > 0:
                return np.zeros(self.n_features), np.zeros(self.n_features)
            mean, variance = self.source.moments(weight, 1)
            return total * (mean - shift), total * (variance + np.square(mean - shift))
        with self.lock:
            first, second = self._pass(1).moments(self.source.parts(), shift, weight)
            return first.copy(), second.copy()

    def extremes(self, by_kind):
        """Largest values (n_features,) of rows that weigh something, and those of minus the values."""
        weight = self._weight(by_kind)
        rows = np.arange(self.n_rows) if weight is None else np.flatnonzero(weight)
        largest = np.full((2, self.n_features), -np.inf)
        for start in range(0, len(rows), _TAKEN):
            X = self.source.take(rows[start : start + _TAKEN])
            largest = np.maximum(largest, [X.max(axis=0), -X.min(axis=0)])
        return largest[0], largest[1]

    def loss_gradient(self, by_kind, weighting, coef, intercept):
        """Weighted sums of the cross-entropies of rows, and their gradients by the coefficients and the intercepts.

        Of several problems, which differ in weights and point, in one reading of the rows.

        Parameters
        ----------
        by_kind : array (n_weightings, n_kinds)
        weighting : array (n_problems,) of intp
            Which of them each problem has.
        coef : array (n_problems * n_outputs, n_features)
            n_outputs is the number of classes, or one for two classes: the score of the second.
        intercept : array (n_problems * n_outputs,)

        Returns
        -------
        loss (n_problems,), grad (n_problems * n_outputs, n_features), grad_intercept (n_problems * n_outputs,) : array
            Of float64.
        """
        if not self.n_rows:
            return np.zeros(len(weighting)), np.zeros(coef.shape), np.zeros(len(coef))
        key = by_kind.tobytes()
        with self.lock, np.errstate(under="ignore"):
            if key not in self.weights:
                self.weights = {key: self._weights(by_kind)}
            answer = self._pass(self.n_outputs, len(weighting)).loss_gradient(
                self.source.parts(), coef, intercept, self.y, self.weights[key], weighting, self.offset
            )
            return tuple(np.array(part) for part in answer)

    def _weights(self, by_kind):
        """Weights of the rows (n_weightings, n_rows), as passes take them."""
        if len(by_kind) == 1 and self._weight(by_kind[0]) is None:
            return np.empty((0, 0), self.dtype)
        weights = np.empty((len(by_kind), self.n_rows), self.dtype)
        for m, factors in enumerate(by_kind):
            weight = self._weight(factors)
            weights[m] = 1.0 if weight is None else weight
        return weights

    def loss(self, by_kind, coef, intercept):
        """Weighted sum (1,) of the cross-entropies of rows, and of the weights (1,)."""
        if not self.n_rows:
            return np.zeros(1), np.zeros(1)
        options = {"n_outputs": self.n_outputs, "n_threads": effective_n_threads(self.n_jobs)}
        mean = MeanCrossEntropy(self.source, self.y, self._weight(by_kind), self.offset, **options)
        total = float(mean.weight.sum())
        return np.array([mean.evaluate(coef, intercept) * total if total else 0.0]), np.array([total])

    def scores(self, by_kind, coef, intercept):
        """Weighted sums of what rows score by several models, each of which has weights of its own.

        Parameters
        ----------
        by_kind : array (n_models, n_kinds)
            Rows of a factor of zero are not looked at.
        coef : array (n_models, n_outputs, n_features)
        intercept : array (n_models, n_outputs)

        Returns
        -------
        array (n_models, 3)
            Cross-entropies, as :func:`sklearn.metrics.log_loss` has them, rows whose class is predicted, and weights.
        """
        sums = np.zeros((len(coef), 3))
        for m in range(len(coef)):
            weight = self._weight(by_kind[m])
            rows = np.arange(self.n_rows) if weight is None else np.flatnonzero(weight)
            for start in range(0, len(rows), _TAKEN):
                panel = rows[start : start + _TAKEN]
                of_panel = np.ones(len(panel)) if weight is None else weight[panel]
                log_proba = self._log_proba(panel, coef[m], intercept[m])
                sums[m, 0] += of_panel @ cross_entropy(log_proba, self.y[panel]).astype(np.float64)
                sums[m, 1] += of_panel @ (log_proba.argmax(axis=1) == self.y[panel])
                sums[m, 2] += of_panel.sum()
        return (sums,)

    @on_one_blas_thread
    def _log_proba(self, rows, coef, intercept):
        """Logarithms of probabilities of some rows, none of them closer to zero or one than a rounding error."""
        offset = 0.0 if self.offset is None else self.offset[rows]
        scores = self.source.take(rows) @ coef.T.astype(self.dtype) + intercept.astype(self.dtype) + offset
        log_proba = log_proba_of_two(scores) if self.n_outputs == 1 else log_softmax(scores, axis=1)
        eps = np.finfo(self.dtype).eps
        return np.clip(log_proba, np.log(eps), np.log1p(-eps))

    @on_one_blas_thread
    def grams(self, by_kind, rarity, step, point, unscale, center, fit_intercept, n_blocks, columns=None):
        """Sums for a metric at a point, over a sample of the rows.

        Parameters
        ----------
        rarity : array (n_kinds,)
            How much more of the sample is for the rows of each kind.
        step : float
            Weight of rows, times rarity, for which one is drawn; zero for all of them.
        point : array (n_outputs, n_columns), or None
            Of features times ``unscale``, and the intercepts; None for even probabilities.
        unscale : array (n_features,), or None
        center : array (n_features,)
            About which the Gram matrices are; close to the mean of the features times ``unscale``.
        fit_intercept : bool
        n_blocks : int
            One, or n_outputs: Gram matrices of row weights s_i sum_k p_ik (1 - p_ik), or of s_i p_ik (1 - p_ik).
        columns : array of intp, or None
            Features, increasing, that Gram matrices are of, and of which ``center`` is; None for all.

        Returns
        -------
        grams : array (n_blocks, n_columns, n_columns)
            Lower triangles.
        sums : array (n_blocks, n_columns)
            Of the rows about the center, by those weights.
        masses : array (n_blocks,)
            Sums of the weights.
        between : array (n_outputs, n_outputs)
            sum_i s_i p_i p_i'.
        sizes : array (2,)
            Rows, and the sum of the squares of their weights, those of one block.
        """
        p, K = len(center), self.n_outputs
        if not self.n_rows:
            shapes = (n_blocks, p, p), (n_blocks, p), (n_blocks,), (K, K), (2,)
            return tuple(np.zeros(shape) for shape in shapes)
        view = _View(self, unscale, fit_intercept)
        sums = _AboutGrams(view, p, n_blocks, center)
        between, masses, sizes = np.zeros((K, K)), np.zeros(n_blocks), np.zeros(2)
        for X, proba, weight in RowSample(view).panels(point, *self._sample(by_kind, rarity, step)):
            weighted = proba * weight[:, None]
            between += weighted.T @ proba
            curvature = weighted * (1 - proba)
            total = curvature.sum(axis=1, keepdims=True)
            sizes += len(X), float(np.vdot(total, total))
            curvature = curvature if n_blocks > 1 else total
            masses += curvature.sum(axis=0)
            sums.add(X if columns is None else np.take(X, columns, axis=1), curvature)
        firsts = sum((panel[1] for panel in sums.panels), np.zeros((n_blocks, p)))
        return np.stack(sums.grams), firsts, masses, between, sizes

    def _sample(self, by_kind, rarity, step):
        """Rows that stand for all of the shard, and their weights, as :meth:`.metrics.sample.RowSample.draw`."""
        weight = self._weight(by_kind)
        weight = np.ones(self.n_rows) if weight is None else weight
        if not step:
            rows = np.flatnonzero(weight)
            return rows, weight[rows]
        q = weight * rarity[self.kind]
        total = np.cumsum(q)
        if not self.n_rows or not total[-1] > 0:
            return np.arange(0), weight[:0]
        n_strata = int(np.ceil(total[-1] / step))
        drawn = (np.arange(n_strata) + np.random.default_rng(0).random(n_strata)) * step
        drawn = drawn[drawn < total[-1]]  # the last stratum has fewer rows than a whole one
        rows, counts = np.unique(np.searchsorted(total, drawn, "right"), return_counts=True)
        return rows, counts * (weight[rows] / q[rows]) * step

    def rows(self, by_kind):
        """The rows, labels as indices, weights, and offsets or nothing: for who has few and may give them away."""
        weight = self._weight(by_kind)
        X = self.source.take(np.arange(self.n_rows)) if self.n_rows else np.empty((0, self.n_features), self.dtype)
        offset = np.empty((self.n_rows, 0), self.dtype) if self.offset is None else self.offset
        return X, self.y, np.ones(self.n_rows) if weight is None else weight, offset


@dataclass(frozen=True)
class _View:
    """The rows of a shard in the columns of a point, for :class:`~.metrics.sample.RowSample`."""

    shard: Shard
    unscale: Any
    fit_intercept: bool

    def __getattr__(self, name):
        return getattr(self.shard, name)

    @property
    def n_threads(self):
        return effective_n_threads(self.shard.n_jobs)

    def take(self, rows):
        X = self.source.take(rows)
        X = X if self.unscale is None else X * self.unscale.astype(X.dtype)
        return X, 0.0 if self.shard.offset is None else self.shard.offset[rows]


class _AboutGrams(GramSums):
    """Gram matrices about a point that all shards have in common, so that they can be added."""

    def __init__(self, rows, n_features, n_blocks, center):
        super().__init__(rows, n_features, n_blocks)
        self.center = center

    def _origin(self, X, row_weight):
        return self.center
