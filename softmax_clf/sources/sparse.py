"""Rows that lie in memory, in one sparse array."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..kernels.csr import CsrPass
from .arrays import Source, not_finite, of_moderate_size

_PRODUCTS_OF_VALUE = 3  # of two values, that take as long in a Gram matrix as it takes to come to one
_STORED_VALUE = 7  # values of a dense array that take as long in a pass: 6 to 12, measured on one thread
_MAX_DENSE_FEATURES = 4096  # up to as many, rows are made dense for the sake of a metric
_MAX_HEAD = 512  # of more features, those are that rows have most often
_HEAD_SHARE = 0.01  # of the rows


@dataclass(frozen=True)
class SparseRows:
    """Rows as :class:`~..contracts.SparseRows`."""

    added: Any
    origin: np.ndarray

    def __len__(self):
        return self.added.shape[0]

    def scaled(self, factor):
        added = self.added
        data = added.data * factor[added.indices].astype(added.dtype)
        added = type(added)((data, added.indices, added.indptr), shape=added.shape)
        return SparseRows(added, self.origin * factor)

    def scores(self, coef):
        scores = self.added @ coef.T.astype(self.added.dtype)
        return scores + (coef * self.origin).sum(axis=1) if self.origin.any() else scores

    def variance(self, is_centred):
        p, n, data = len(self.origin), max(len(self), 1), self.added.data.astype(np.float64)
        mean, square = (np.bincount(self.added.indices, a, p) / n for a in (data, data**2))
        return np.maximum(square - mean**2, 0.0) if is_centred else square + 2 * mean * self.origin + self.origin**2


class CsrSource(Source):
    """A scipy CSR array or matrix as a source of rows.

    Parameters
    ----------
    X : sparse array (n_samples, n_features) in CSR format
        float32 or float64, with indices of int32 or int64, finite. It is not copied, unless a value is stored in two
        parts or the indices of a row are not in order, but its transpose is kept beside it once gradients are asked
        for.

    Attributes
    ----------
    data, indices, indptr : arrays of the CSR format
    """

    def __init__(self, X):
        X.check_format()  # kernels trust the indices
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        self.X = X
        self.dtype = X.dtype
        self.n_samples, self.n_features = X.shape
        self.slice_rows = self.n_samples
        self.data, self.indices, self.indptr = (_read_only(a) for a in (X.data, X.indices, X.indptr))
        self.nbytes = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
        self.pass_values = _STORED_VALUE * X.nnz
        self.is_wide_and_sparse = self.n_features > _MAX_DENSE_FEATURES

    @cached_property
    def gram_products(self):
        stored = np.diff(self.indptr).astype(np.float64)
        return float(stored @ (stored + 1) / 2 + _PRODUCTS_OF_VALUE * self.X.nnz)

    @cached_property
    def columns(self):
        """The CSC format of X, as an object with ``data, indices, indptr``."""
        columns = self.X.tocsc()
        for name in ("data", "indices", "indptr"):
            getattr(columns, name).flags.writeable = False
        return columns

    def forget_columns(self):
        """Let go of the transpose, which is made again where it is asked for."""
        vars(self).pop("columns", None)

    def passes(self, n_problems, n_scores, n_threads):
        return CsrPass(self.dtype, self.slice_rows, self.n_features, n_problems, n_scores, n_threads)

    def parts(self):
        yield self, slice(0, self.n_samples)

    def rows_of(self, part, place, rows):
        return self.X[rows].toarray()

    def take(self, rows):
        return self.X[rows].toarray(order="C")

    def take_sparse(self, rows):
        return SparseRows(self.X if len(rows) == self.n_samples else self.X[rows], np.zeros(self.n_features))

    def check_finite(self, n_threads):
        bad = np.flatnonzero(~np.isfinite(self.data))
        if len(bad):
            row = int(np.searchsorted(self.indptr, bad[0], "right")) - 1
            raise not_finite(self.data[bad[:1]], row, self.indices[bad[:1]])

    def moments(self, weight, n_threads):
        weight = None if weight is None else of_moderate_size(weight)
        total = self.n_samples if weight is None else weight.sum()
        rows, data = self.columns.indices, self.columns.data.astype(np.float64)
        stored = np.ones(len(rows)) if weight is None else weight[rows]
        column = np.repeat(np.arange(self.n_features), np.diff(self.columns.indptr))

        def by_column(values):
            return np.bincount(column, values, self.n_features)

        mean = by_column(stored * data) / total
        absent = total - by_column(stored)  # the weight of rows that hold a zero
        absent[absent < self.n_samples * np.finfo(np.float64).eps * total] = 0.0  # or a constant would seem to vary
        apart = data - mean[column]
        offset = (by_column(stored * apart) - absent * mean) / total  # what rounding has made of the mean
        variance = by_column(stored * apart**2) + absent * mean**2
        return mean + offset, np.maximum(variance / total - offset**2, 0.0)

    def peak(self, weight, enough):
        data = self.data if weight is None else self.data[np.repeat(weight > 0, np.diff(self.indptr))]
        return max(float(data.max(initial=0.0)), -float(data.min(initial=0.0)))

    def constants(self, weight):
        rows = np.arange(self.n_samples) if weight is None else np.flatnonzero(weight)
        found = np.empty(0, self.indices.dtype)
        for q, row in enumerate(rows):  # few of them, as a rule: what two rows have in common is little
            stored = slice(self.indptr[row], self.indptr[row + 1])
            columns, data = self.indices[stored], self.data[stored]
            if q == 0:
                found, value = columns[data != 0], data[data != 0]
                continue
            if not len(found):
                break
            places = np.minimum(np.searchsorted(columns, found), max(len(columns) - 1, 0))
            alike = np.zeros(len(found), bool)
            if len(columns):
                alike = (columns[places] == found) & (data[places] == value)
            found, value = found[alike], value[alike]
        return found.astype(np.intp)

    @cached_property
    def head(self):
        """The features that many rows have, one to _MAX_HEAD of them, as increasing indices."""
        counts = np.bincount(self.indices, minlength=self.n_features)
        frequent = np.flatnonzero(counts >= max(_HEAD_SHARE * self.n_samples, 1))
        if not len(frequent):
            return counts.argmax(keepdims=True)
        most = np.argsort(-counts[frequent], kind="stable")[:_MAX_HEAD]
        return np.sort(frequent[most])

    @cached_property
    def tail(self):
        """The other features, as increasing indices."""
        is_in_tail = np.ones(self.n_features, bool)
        is_in_tail[self.head] = False
        return np.flatnonzero(is_in_tail)

    def split(self, factor):
        """The head and the tail apart, each feature times its ``factor`` (n_features,), or as it is (None).

        Returns
        -------
        head, tail : CsrSource
            Copies.
        """
        is_head = np.zeros(self.n_features, bool)
        is_head[self.head] = True
        place = np.where(is_head, np.cumsum(is_head), np.cumsum(~is_head)) - 1
        place, of_head = place.astype(self.indices.dtype), is_head[self.indices]
        data = self.data if factor is None else self.data * factor[self.indices].astype(self.dtype)

        def part(stored, features):
            ends = np.append(0, np.cumsum(stored))[self.indptr].astype(self.indptr.dtype)
            arrays = data[stored], place[self.indices[stored]], ends
            return CsrSource(type(self.X)(arrays, shape=(self.n_samples, len(features))))

        return part(of_head, self.head), part(~of_head, self.tail)

    def take_head(self, rows):
        """Some rows of the head, (n_rows, n_head), as :meth:`take`."""
        return self.take_columns(rows, self.head)

    def take_columns(self, rows, columns):
        """Some rows of some features, as :meth:`take`."""
        return self.X[rows][:, columns].toarray(order="C")


def _read_only(array):
    array = array.view()
    array.flags.writeable = False
    return array
