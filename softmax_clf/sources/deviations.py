"""A dense array in which most values are those of all rows: what differs is kept beside it, in a sparse one."""

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from ..kernels.csr import CsrPass
from ..kernels.threads import effective_n_threads, run_tasks
from .arrays import ArraySource
from .sparse import CsrSource

# Bytes of a value of X for one that differs: a pass over these takes two thirds of the time then, or less, whatever the
# number of classes; with their transpose they take two fifths of the memory of X.
_BYTES_A_DEVIATION = 60
_LEAST_VALUES = 1 << 17  # of an array over which a pass takes longer than what surrounds it
_N_LOOKED_AT = 33  # rows, evenly spaced, that tell whether it is worth while to look at all
_BLOCK_VALUES = 1 << 19  # that are compared at a time


def with_deviations(source, n_jobs):
    """A source of the same rows whose passes take the values alone that differ from their column's usual one.

    Where these are few, as of one-hot columns, rare features and counts, standardised or not; else the source itself.

    Parameters
    ----------
    source : Source
    n_jobs : int or None
        Threads, as the classifier has them.
    """
    if type(source) is not ArraySource or source.X.size < _LEAST_VALUES:
        return source
    X, share = source.X, source.X.itemsize / _BYTES_A_DEVIATION
    some = X[np.linspace(0, len(X) - 1, _N_LOOKED_AT).astype(np.intp)]
    usual = np.partition(some, _N_LOOKED_AT // 2, axis=0)[_N_LOOKED_AT // 2]  # if most have one value, the median is it
    if np.mean(some != usual) > 1.5 * share:
        return source
    most = min(int(share * X.size), np.iinfo(np.int32).max)
    try:
        deviations = _deviations(X, usual, source.dtype, most, effective_n_threads(n_jobs))
        if deviations is None:
            return source
        _ = deviations.columns  # made while there is another way
    except MemoryError:
        return source
    return DeviationsSource(X, usual.astype(source.dtype), deviations)


def _deviations(X, usual, dtype, most, n_threads):
    """X - usual, sparse and of dtype; None where more than ``most`` values are not zero, or one is no number."""
    step = max(_BLOCK_VALUES // X.shape[1], 1)
    n_blocks = -(-len(X) // step)
    found, counts, n_found = [None] * n_blocks, np.zeros(len(X) + 1, np.intp), np.zeros(n_blocks)

    def compare(t, slot):
        if n_found[:t].sum() > most:
            return
        rows = X[t * step : (t + 1) * step]
        differs = np.not_equal(rows, usual, order="C")
        row, column = np.divmod(np.flatnonzero(differs), X.shape[1])
        with np.errstate(over="ignore"):
            values = rows[row, column].astype(dtype) - usual[column].astype(dtype)
        found[t], n_found[t] = (values, column.astype(np.int32)), len(values)
        counts[t * step + 1 : t * step + 1 + len(rows)] = np.bincount(row, minlength=len(rows))

    run_tasks(compare, n_blocks, n_threads)
    if n_found.sum() > most:
        return None
    values, columns = (np.concatenate(parts) for parts in zip(*found, strict=True))
    if not np.isfinite(values).all():
        return None
    return CsrSource(csr_array((values, columns, np.cumsum(counts).astype(np.int32)), shape=X.shape))


class DeviationsSource(ArraySource):
    """A dense array as a source of rows, whose passes are over what differs from the usual values of its columns.

    Scores of x = u + z are those of z and, the same for all rows, of u; so are gradients. Whoever takes rows, takes
    those of X.

    Parameters
    ----------
    X : ndarray (n_samples, n_features)
        As :class:`~.arrays.ArraySource` takes it.
    usual : array (n_features,) of the arithmetic's dtype
    deviations : CsrSource
        X - usual.
    """

    def __init__(self, X, usual, deviations):
        super().__init__(X)
        self.usual, self.deviations = usual, deviations
        self.slice_rows, self.pass_values = self.n_samples, deviations.pass_values

    def passes(self, n_problems, n_scores, n_threads):
        sizes = self.slice_rows, self.n_features, n_problems, n_scores, n_threads
        return CsrPass(self.dtype, *sizes, origin=self.usual)

    def parts(self):
        yield self.deviations, slice(0, self.n_samples)

    @property
    def gram_products(self):
        return self.deviations.gram_products

    def take_sparse(self, rows):
        return replace(self.deviations.take_sparse(rows), origin=self.usual.astype(np.float64))

    def rows_of(self, part, place, rows):
        return self.X[rows]

    def select(self, rows):
        return ArraySource(self.X[rows])

    def moments(self, weight, n_threads):
        return ArraySource(self.X).moments(weight, n_threads)

    def peak(self, weight, enough):
        return ArraySource(self.X).peak(weight, enough)

    def constants(self, weight):
        return ArraySource(self.X).constants(weight)

    def in_float32(self, weight):
        narrow = super().in_float32(weight)
        if narrow is None:
            return None
        deviations = CsrSource(self.deviations.X.astype(np.float32))
        return DeviationsSource(narrow.X, self.usual.astype(np.float32), deviations)
