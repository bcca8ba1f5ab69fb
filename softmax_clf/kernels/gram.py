"""Weighted Gram matrices and what is made of them.

The matrices are made by the tiles of the passes, their factors by LAPACK, one a task of the pool of :mod:`.threads`: on
two threads OpenBLAS gains less and gives other bits than on one. Callers hold :func:`~.threads.blas_on_one_thread`.
"""

import ctypes

import numpy as np
from numba.extending import get_cython_function_address

from .dense import tile_loops
from .elementary import clear, smaller
from .jit import jit
from .threads import run_tasks
from .tiles import TILE_CLASSES, VECTOR_BYTES, aligned_empty, aligned_zeros, gradient_tile, tile_vectors

_SMALL = 128  # features up to which one product of BLAS is as fast
_OUTPUTS = TILE_CLASSES[0]
_VECTORS = tile_vectors(_OUTPUTS)
_N_BANDS = 4  # of rows of a matrix, of equal areas, for threads to take
_BLOCK_BYTES = 1 << 18  # of rows that are scaled at a time, to stay in a second-level cache
_SCALED_BYTES = 1 << 19  # of rows that are scaled for BLAS, which then stay in the cache
_CALL_ROWS = 4096  # at most these in one kernel call: Ctrl-C waits for it
_BAND_ROWS = 64  # of triangular matrices, of which what is beyond the diagonal block is not read
_MOST_RAISED = 100  # times what rounding needs: a diagonal raised by more is reported
_ABOVE = ~np.tri(_BAND_ROWS, dtype=bool)


def _lapack(name, n_arguments):
    """A routine of scipy's LAPACK, for either precision; it releases the GIL, which scipy.linalg.lapack holds."""
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)
    return {
        np.dtype(dtype): prototype(get_cython_function_address("scipy.linalg.cython_lapack", letter + name))
        for letter, dtype in (("s", np.float32), ("d", np.float64))
    }


_POTRF, _TRTRI = _lapack("potrf", 5), _lapack("trtri", 6)


@jit
def _weighted_gram(rows, root_weight, origin, first, last, scaled, outputs, lower_out):
    """Rows first:last of the products of all columns, those of ``rows - origin`` and one of ones, up to the diagonal.

    rows : (n_rows, n_features)                                 # IN
    root_weight : (n_rows,)                                     # IN square roots of weights
    origin : (n_features,)                                      # IN
    scaled : (block_rows, length)                               # workspace, zero
    outputs : (block_rows, length)                              # the same from column ``first`` on
    lower_out : (n_padded_outputs, n_padded_columns) float64    # OUT and somewhat beyond the diagonal
    """
    n_rows, n_features, block_rows = rows.shape[0], rows.shape[1], scaled.shape[0]
    width = _VECTORS * (VECTOR_BYTES // scaled.itemsize)
    clear(lower_out)
    for row in range(0, n_rows, block_rows):
        n = smaller(block_rows, n_rows - row)
        for i in range(n):
            x, out, w = rows[row + i], scaled[i], root_weight[row + i]
            for j in range(smaller(last, n_features)):
                out[j] = w * (x[j] - origin[j])
            if last > n_features:
                out[n_features] = w
        for j in range(0, last, width):
            above = j - first if j > first else 0
            for k in range(above // _OUTPUTS * _OUTPUTS, last - first, _OUTPUTS):
                gradient_tile(scaled, 0, n, j, outputs, k, lower_out, scaled, 0, _OUTPUTS, _VECTORS, True, 0, True)


def add_weighted_grams(rows, row_weight, origin, grams_out, sums_out, n_threads):
    """Add products of the columns of ``rows - origin`` and their sums, weighted in one or more ways.

    Parameters
    ----------
    rows : (n_rows, n_features) float           # IN
    row_weight : (n_rows, n_ways) float, >= 0   # IN
    origin : (n_features,) of rows' dtype       # IN
    grams_out : list of (n_features, n_features) float   # OUT lower triangles, and some of the upper
    sums_out : (n_ways, n_features) float       # OUT
    n_threads : int
    """
    size, root_weight = rows.shape[1], np.ascontiguousarray(np.sqrt(row_weight.T), rows.dtype)
    if size <= _SMALL:
        rows = rows - origin
        with np.errstate(over="ignore", invalid="ignore"):  # `inverse_factor` looks
            for way, root in enumerate(root_weight):
                scaled = rows * root[:, None]
                grams_out[way] += scaled.T @ scaled
                sums_out[way] += root @ scaled
        return
    width = _VECTORS * (VECTOR_BYTES // rows.itemsize)
    # whole tiles, and no row a multiple of 4 KiB after another: these share their places in the caches
    length = -(-(size + 1) // width) * width + VECTOR_BYTES // rows.itemsize
    block_rows = max(_BLOCK_BYTES // (length * rows.itemsize), 32)
    ends = [-(-int(size * np.sqrt(b / _N_BANDS)) // _OUTPUTS) * _OUTPUTS for b in range(_N_BANDS)] + [size + 1]
    rows = rows.view()
    rows.flags.writeable = False  # writeable or not, one compiled kernel

    def band(t, slot):
        way, b = divmod(t, _N_BANDS)
        first, last = ends[b : b + 2]
        buffer = aligned_zeros(((block_rows + 1) * length,), rows.dtype)
        scaled, outputs = (buffer[at : at + block_rows * length].reshape(block_rows, length) for at in (0, first))
        lower = aligned_empty((-(-(last - first) // _OUTPUTS) * _OUTPUTS, -(-last // width) * width), np.float64)
        for start in range(0, len(rows), _CALL_ROWS):
            part = slice(start, start + _CALL_ROWS)
            _weighted_gram(rows[part], root_weight[way, part], origin, first, last, scaled, outputs, lower)
            stop = min(last, size)
            with np.errstate(over="ignore", invalid="ignore"):
                grams_out[way][first:stop, :stop] += lower[: stop - first, :stop]
                if last > size:
                    sums_out[way] += lower[size - first, :size]

    run_tasks(band, len(root_weight) * _N_BANDS, n_threads)


@jit
def _weighted_sparse_gram(data, indices, indptr, start, stop, weight, first, last, gram_out, sums_out):
    """Rows first:last of the weighted products of all columns, up to the diagonal, and the columns' weighted sums.

    data, indices, indptr : CSR                         # IN indices of a row increase
    weight : (n_rows,) float64                          # IN
    gram_out : (n_features, n_features) float64         # OUT added to
    sums_out : (n_features,) float64                    # OUT added to
    """
    for i in range(start, stop):
        begin, w = indptr[i], weight[i]
        for q in range(begin, indptr[i + 1]):
            j = indices[q]
            if j >= last:
                break
            if j >= first:
                scaled = w * data[q]
                sums_out[j] += scaled
                out = gram_out[j]
                for r in range(begin, q + 1):
                    out[indices[r]] += scaled * data[r]


def add_weighted_sparse_grams(rows, row_weight, grams_out, sums_out, n_threads):
    """As :func:`add_weighted_grams`, of sparse rows, about zero.

    rows : object with data, indices, indptr of the CSR format # IN
    row_weight : (n_rows, n_ways) float64, >= 0                # IN
    grams_out : list of (n_features, n_features) float64       # OUT lower triangles
    sums_out : (n_ways, n_features) float64                    # OUT
    n_threads : int
    """
    weight = np.ascontiguousarray(row_weight.T, np.float64)
    # bands of as many products each: of all rows alike, whose stored values are in order
    ends = np.unique((sums_out.shape[1] * np.sqrt(np.arange(_N_BANDS + 1) / _N_BANDS)).astype(np.intp))

    def band(t, slot):
        way, b = divmod(t, len(ends) - 1)
        for start in range(0, len(row_weight), _CALL_ROWS):
            stop = min(start + _CALL_ROWS, len(row_weight))
            _weighted_sparse_gram(
                rows.data, rows.indices, rows.indptr, start, stop, weight[way], ends[b], ends[b + 1], grams_out[way],
                sums_out[way],
            )  # fmt: skip

    run_tasks(band, len(weight) * (len(ends) - 1), n_threads)


def weighted_grams(rows, row_weight, n_threads):
    """Products of the columns of rows, weighted in one or more ways.

    Parameters
    ----------
    rows : (n_rows, n_features) float64         # IN C-contiguous
    row_weight : (n_rows, n_ways) float64, >= 0 # IN
    n_threads : int

    Returns
    -------
    (n_ways, n_features, n_features) float64
    """
    n_ways, size = row_weight.shape[1], rows.shape[1]
    if size > _SMALL:
        # filled, as the sums of GramSums are
        lower = np.full((n_ways, size, size), 0.0)
        add_weighted_grams(rows, row_weight, np.zeros(size), list(lower), np.empty((n_ways, size)), n_threads)
        for gram in lower:
            gram[:] = np.tril(gram) + np.tril(gram, -1).T
        return lower
    grams, transposed = np.empty((n_ways, size, size)), np.ascontiguousarray(rows.T)
    step = max(_SCALED_BYTES // transposed.nbytes, 1)
    for start in range(0, n_ways, step):
        some = slice(start, start + step)
        np.matmul(transposed * row_weight.T[some, None, :], rows, out=grams[some])
    return grams


def inverse_factor(gram, ridge):
    """Lower triangular A with ``A.T @ A = inv(gram + diag(ridge))``, up to what rounding needs.

    The matrix is scaled to a unit diagonal first, so that units do not matter, and its diagonal raised by
    as little as makes it positive definite in its precision.

    Parameters
    ----------
    gram : (n, n) float32 or float64            # IN lower triangle, overwritten
    ridge : float or (n,) float64, >= 0         # IN

    Returns
    -------
    A : (n, n) of gram's dtype, in its memory; a row that ``gram`` and ``ridge`` leave empty is zero
    is_raised : bool
        Whether the diagonal had to be raised by more than rounding explains: what the matrix says of some direction is
        lost, and its inverse there is far too small.

    Raises
    ------
    FloatingPointError
        Where the matrix is not finite.
    """
    gram = np.ascontiguousarray(gram)  # LAPACK is told where it is, no more
    diagonal = gram.diagonal().astype(np.float64) + ridge
    if not np.isfinite(diagonal).all():
        raise FloatingPointError(f"squares of the data overflow {gram.dtype}")
    tiny = np.finfo(gram.dtype).tiny
    scale = np.where(diagonal > tiny, 1 / np.sqrt(np.maximum(diagonal, tiny)), 0.0).astype(gram.dtype)
    for band, left in _bands(gram):
        left *= scale[: band.stop]
        left *= scale[band, None]
        gram[: band.start, band] = left[:, : band.start].T  # kept in the upper triangle, should a factoring fail
        inner = gram[band, band]
        np.copyto(inner, inner.T, where=_above_diagonal(inner))
    # the lower triangle of a C array is the upper one of its transpose, as which LAPACK reads it
    # integers of 64 bits, whose first half is what a LAPACK of 32 reads
    upper, no_unit, n, info = b"U", b"N", ctypes.c_int64(len(gram)), ctypes.c_int64()
    matrix, size, status = gram.ctypes.data, ctypes.byref(n), ctypes.byref(info)
    rise = least_rise = 4 * np.finfo(gram.dtype).eps * np.sqrt(len(gram))
    while True:
        np.fill_diagonal(gram, 1 + rise)
        _POTRF[gram.dtype](upper, size, matrix, size, status)
        if info.value & 0xFFFFFFFF == 0:
            break
        for band, left in _bands(gram):
            left[:, : band.start] = gram[: band.start, band].T
            inner = gram[band, band]
            inner[:] = np.triu(inner) + np.triu(inner, 1).T
        if rise > 1:  # of a positive semidefinite matrix with unit diagonal, that cannot be
            np.fill_diagonal(gram, 1.0)
            if not np.isfinite(gram).all():
                raise FloatingPointError(f"products of the data overflow {gram.dtype}")
            gram[:] = 0.0  # weights so small that their products have lost their digits: the diagonal is what is left
        rise *= 10
    _TRTRI[gram.dtype](upper, no_unit, size, matrix, size, status)
    for band, left in _bands(gram):
        left *= scale[: band.stop]
        gram[: band.start, band] = 0.0
        inner = gram[band, band]
        np.copyto(inner, 0.0, where=_above_diagonal(inner))
    return gram, rise > _MOST_RAISED * least_rise


def _bands(matrix):
    """Rows of a square matrix, some at a time: their places, and they themselves up to the diagonal block."""
    for start in range(0, len(matrix), _BAND_ROWS):
        band = slice(start, min(start + _BAND_ROWS, len(matrix)))
        yield band, matrix[band, : band.stop]


def _above_diagonal(inner):
    """Where a square matrix of at most a band's rows has its upper triangle."""
    return _ABOVE[: len(inner), : len(inner)]


_block_scores, _block_gradient = tile_loops(_OUTPUTS, True, 0, 0)


@jit
def times_transpose(factor, rows, tiles, product_out):
    """``rows @ factor.T``, of rows (n_padded, n_padded_features); the factor is lower triangular."""
    size = factor.shape[0]
    for start in range(0, size, _BAND_ROWS):
        stop = smaller(start + _BAND_ROWS, size)
        band = factor[start:stop, :stop]
        _block_scores(band, 0, stop - start, rows, tiles, band, 0, product_out[:, start:])


@jit
def times(factor, rows, tiles, product_out):
    """``rows @ factor``, float64, of rows (n_padded, n_padded_features); the factor is lower triangular."""
    clear(product_out)
    size = factor.shape[0]
    for start in range(0, size, _BAND_ROWS):
        stop = smaller(start + _BAND_ROWS, size)
        band = factor[start:stop, :stop]
        _block_gradient(band, 0, stop - start, rows[:, start:], tiles, band, 0, product_out)
