"""Inverses of weighted Gram matrices, applied to gradients: metrics are made of them."""

from typing import Any

import numpy as np

from ..kernels.dense import DensePass
from ..kernels.gram import inverse_factor, times, times_transpose
from ..kernels.threads import run_tasks
from ..kernels.tiles import TILE_CLASSES, VECTOR_BYTES, aligned_empty, aligned_zeros

_OUTPUTS = TILE_CLASSES[0]
_CALL_ROWS = 4096  # features that are multiplied at a time
_BAND_ROWS = 64  # of a triangular matrix: what is beyond the diagonal block is not made


class _Factor:
    """The inverse of a weighted Gram matrix plus a ridge, applied to gradients: rows of (n_columns,).

    Parameters
    ----------
    center : array (n_features,) or None
        The weighted mean of the rows, where the gradients have a last column for an intercept.
    mass : float
        Sum of the row weights, the curvature of the intercept.
    """

    def __init__(self, center, mass):
        self.center, self.mass = center, mass

    def _solve(self, grad):
        """Rows (n_rows, n_features) of steps, for the coefficients alone."""
        raise NotImplementedError

    def solve(self, grad):
        """Rows (n_outputs, n_columns) with ``grad`` as image: block diagonal in the columns (x - center, 1)."""
        if self.center is None:
            return self._solve(grad)
        step = np.empty_like(grad)
        step[:, :-1] = self._solve(grad[:, :-1] - grad[:, -1:] * self.center)
        step[:, -1] = grad[:, -1] / self.mass - step[:, :-1] @ self.center
        return step


def _is_large(n_features):
    """Whether a factor of so many features is worth threads, and other precision, where it is applied."""
    return n_features > 256


def _inverse_factor(gram, ridge, floor, dtype):
    """The factor of the inverse of ``gram + ridge + floor``, tr(G (G + ridge I)^-1), and whether it was raised."""
    factor, is_raised = inverse_factor(gram, ridge + floor)
    if np.ndim(ridge):
        inverse = sum(np.square(factor[k : k + 256], dtype=np.float64).sum(axis=0) for k in range(0, len(factor), 256))
        effective_dim = len(gram) - float(ridge @ inverse)
    else:
        effective_dim = len(gram) - ridge * float(np.vdot(factor, factor))
    return factor.astype(dtype, copy=False) if _is_large(len(gram)) else factor, effective_dim, is_raised


class GramFactor(_Factor):
    """By a Cholesky factor of the (n_features, n_features) matrix.

    Parameters
    ----------
    gram : array (n_features, n_features)
        sum_i w_i (x_i - center)(x_i - center)', lower triangle; overwritten.
    ridge : float or array (n_features,)
    center, mass
        As in the base class.
    dtype : float32 or float64
        What a large factor is applied in: half the bytes, at each solve, of what may be factored in float64.
    n_outputs : int
        Rows of gradients at a time, or any multiple of them.
    n_threads : int
    floor : float or array (n_features,)
        Added to the ridge, but not counted as one.

    Attributes
    ----------
    effective_dim : float
        tr(G (G + ridge I)^-1), the number of directions in which the rows outweigh the ridge.
    is_raised : bool
        As :func:`inverse_factor` tells.
    """

    def __init__(self, gram, ridge, center, mass, dtype, n_outputs, n_threads, floor=0.0):
        super().__init__(center, mass)
        self.factor, self.effective_dim, self.is_raised = _inverse_factor(gram, ridge, floor, dtype)
        self.n_outputs, self.n_threads, self.product = n_outputs, n_threads, None
        if _is_large(len(gram)):  # below that the two products of BLAS are as fast
            self.product = DensePass(dtype, len(gram), len(gram), 1, n_outputs, n_threads)

    def _solve(self, grad):
        if self.product is None:
            return (grad @ self.factor.T) @ self.factor
        if len(grad) == self.n_outputs:
            return self.product.gram_product(self.factor, grad)
        grad, step, size = grad.astype(self.factor.dtype), np.empty_like(grad), 16

        def task(t, slot):
            rows = slice(t * size, (t + 1) * size)
            step[rows] = (grad[rows] @ self.factor.T) @ self.factor

        run_tasks(task, -(-len(grad) // size), self.n_threads)
        return step


class GramRoots:
    """Inverses of weighted Gram matrices plus a ridge, one a class, in halves: between them all are the identity.

    Parameters
    ----------
    make : callable k -> (gram, center, mass, floor)
        What :class:`GramFactor` takes, for each class.
    n_outputs : int
        Classes.
    ridge : float or array (n_features,)
    dtype : float32 or float64
        What large factors are applied in.
    n_threads : int

    Attributes
    ----------
    effective_dim : float
        The largest of the classes.
    is_raised : bool
        Whether one of them is, as :func:`inverse_factor` tells.
    """

    def __init__(self, make, n_outputs, ridge, dtype, n_threads):
        self.factors: Any = [None] * n_outputs
        self.centers: Any = [None] * n_outputs
        self.masses = np.empty((n_outputs, 1))
        effective_dims, raised = np.empty(n_outputs), np.zeros(n_outputs, bool)

        def task(k, slot):
            gram, self.centers[k], self.masses[k], floor = make(k)
            self.factors[k], effective_dims[k], raised[k] = _inverse_factor(gram, ridge, floor, dtype)

        with np.errstate(over="raise", invalid="raise"):
            run_tasks(task, n_outputs, n_threads)
        self.effective_dim, self.is_raised = float(effective_dims.max()), bool(raised.any())
        self.centers = None if self.centers[0] is None else np.stack(self.centers)[:, None]
        self.n_threads = n_threads if _is_large(len(self.factors[0])) else 1

    def _products(self, rows, transposed):
        """The products of each class's rows (n, n_features) with its factor, or with that transposed."""
        (n_outputs, n, size), dtype = rows.shape, self.factors[0].dtype
        if n == 1 or not _is_large(size):  # no tile would be full, or it is not worth a kernel
            rows, product = rows.astype(dtype, copy=False), np.empty(rows.shape, dtype)

            def task(k, slot):
                np.matmul(rows[k], self.factors[k].T if transposed else self.factors[k], out=product[k])

        else:
            width = VECTOR_BYTES // dtype.itemsize
            padded = -(-n // _OUTPUTS) * _OUTPUTS, -(-size // width) * width
            given, tiles = aligned_zeros((n_outputs, *padded), dtype), np.arange(0, padded[0], _OUTPUTS)
            given[:, :n, :size] = rows
            product = aligned_empty(given.shape, dtype if transposed else np.float64)
            kernel = times_transpose if transposed else times

            def task(k, slot):
                kernel(self.factors[k], given[k], tiles, product[k])

        run_tasks(task, n_outputs, self.n_threads)
        return product[:, :n, :size]

    def whiten(self, grads):
        """Gradients (n, n_outputs, n_columns) in coordinates (n_outputs, n, n_columns) that are white."""
        grads = grads.transpose(1, 0, 2)
        if self.centers is None:
            return self._products(grads, transposed=True).astype(np.float64)
        white, last = np.empty(grads.shape), grads[..., -1:]
        white[..., :-1] = self._products(grads[..., :-1] - last * self.centers, transposed=True)
        white[..., -1:] = last / np.sqrt(self.masses)[..., None]
        return white

    def steps(self, white):
        """Steps (n, n_outputs, n_columns) of white coordinates."""
        if self.centers is None:
            return self._products(white, transposed=False).transpose(1, 0, 2).astype(np.float64)
        steps = np.empty(white.shape)
        steps[..., :-1] = self._products(white[..., :-1], transposed=False)
        along = steps[..., :-1] @ self.centers.transpose(0, 2, 1)
        steps[..., -1:] = white[..., -1:] / np.sqrt(self.masses)[..., None] - along
        return steps.transpose(1, 0, 2)


def _outer_product(rows, band, outer_out):
    """Some rows of ``rows @ rows.T`` up to the diagonal block, in float64: numpy's would be float32's."""
    known = slice(0, band.stop)
    outer_out[band, known] = 0.0
    for start in range(0, rows.shape[1], _CALL_ROWS):
        columns = rows[known, start : start + _CALL_ROWS].astype(np.float64, copy=False)
        outer_out[band, known] += columns[band] @ columns.T


class LowRankFactor(_Factor):
    """By fewer rows than features: inv(R'R + ridge I) = (I - R' inv(R R' + ridge I) R) / ridge (Woodbury).

    Parameters
    ----------
    rows : array (n_rows, n_features)
        R, sqrt(w_i) (x_i - center); overwritten.
    ridge : float
        Positive. What the rows leave out should be in it.
    center, mass, n_outputs, n_threads
        As in :class:`GramFactor`.
    widening : array (n_features,), or None
        What the columns of R have been divided by, the ridge being times its square for each.
    """

    def __init__(self, rows, ridge, center, mass, n_outputs, n_threads, widening=None):
        super().__init__(center, mass)
        self.widening = widening
        n_rows, size = rows.shape
        outer = np.empty((n_rows, n_rows))
        bands = [slice(start, min(start + _BAND_ROWS, n_rows)) for start in range(0, n_rows, _BAND_ROWS)]
        run_tasks(lambda t, slot: _outer_product(rows, bands[t], outer), len(bands), n_threads)
        inverse, self.is_raised = inverse_factor(outer, ridge)
        inverse = inverse.astype(rows.dtype)
        self.effective_dim = n_rows - ridge * float(np.vdot(inverse, inverse))
        self.rows, self.ridge = rows, ridge
        step = 256

        def columns(t, slot):
            band = rows[:, t * step : (t + 1) * step]
            band[:] = inverse @ band

        run_tasks(columns, -(-size // step), n_threads)
        self.product = DensePass(rows.dtype, n_rows, size, 1, n_outputs, n_threads)

    def _solve(self, grad):
        n = self.product.n_outputs
        if len(grad) > n:
            return np.concatenate([self._solve(grad[start : start + n]) for start in range(0, len(grad), n)])
        if self.widening is not None:
            grad = grad / self.widening
        step = (grad - self.product.gram_product(self.rows, grad)) / self.ridge
        return step if self.widening is None else step / self.widening
