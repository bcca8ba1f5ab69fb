"""Weighted Gram matrices and what is made of them, by BLAS and LAPACK in tiles of our own.

A tile is one product on one BLAS thread, run by the pool of :mod:`.threads`: on two threads OpenBLAS gains
less and gives other bits than on one. Callers hold :func:`~.threads.blas_on_one_thread`.
"""

import numpy as np
from scipy.linalg import lapack

from .dense import DensePass
from .threads import run_tasks


def add_weighted_gram(rows, row_weight, gram_out, n_threads):
    """Add ``rows.T @ diag(row_weight) @ rows`` to the lower triangle of ``gram_out``.

    Parameters
    ----------
    rows : (n_rows, n_features) float           # IN
    row_weight : (n_rows,) float, >= 0          # IN
    gram_out : (n_features, n_features) float   # OUT lower triangle, and some of the upper
    """
    scaled = rows * np.sqrt(row_weight).astype(rows.dtype)[:, None]
    size = rows.shape[1]
    step = min(max(-(-size // 4), 128), 512)
    corners = range(0, size, step)
    tiles = [(a, b) for a in corners for b in corners if a >= b]

    def tile(t, slot):
        a, b = (slice(corner, corner + step) for corner in tiles[t])
        with np.errstate(over="ignore", invalid="ignore"):  # `inverse_factor` looks
            gram_out[a, b] += scaled[:, a].T @ scaled[:, b]

    run_tasks(tile, len(tiles), n_threads)


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
    A : (n, n) of gram's dtype, C-contiguous; a row that ``gram`` and ``ridge`` leave empty is zero

    Raises
    ------
    FloatingPointError
        Where the matrix is not finite.
    """
    diagonal = gram.diagonal().astype(np.float64) + ridge
    if not np.isfinite(diagonal).all():
        raise FloatingPointError(f"squares of the data overflow {gram.dtype}")
    tiny = np.finfo(gram.dtype).tiny
    scale = np.where(diagonal > tiny, 1 / np.sqrt(np.maximum(diagonal, tiny)), 0.0).astype(gram.dtype)
    gram *= scale
    gram *= scale[:, None]
    potrf, trtri = lapack.get_lapack_funcs(("potrf", "trtri"), (gram,))
    rise = 4 * np.finfo(gram.dtype).eps * np.sqrt(len(gram))
    while True:
        np.fill_diagonal(gram, 1 + rise)
        # the lower triangle of a C array is the upper one of its transpose, which LAPACK reads as it is
        factor, failed = potrf(gram.T, lower=False, clean=True, overwrite_a=False)
        if not failed:
            break
        if rise > 1:  # of a positive semidefinite matrix with unit diagonal, that cannot be
            if not np.isfinite(np.tril(gram)).all():
                raise FloatingPointError(f"products of the data overflow {gram.dtype}")
            gram[:] = 0.0  # weights so small that their products have lost their digits: the diagonal is what is left
        rise *= 10
    inverse, _ = trtri(factor, lower=False, overwrite_c=True)
    inverse = inverse.T
    inverse *= scale
    return inverse


class _Factor:
    """The inverse of a weighted Gram matrix plus a ridge, applied to gradients.

    Parameters
    ----------
    center : array (n_features,) or None
        The weighted mean of the rows, where the gradients have a last column for an intercept.
    mass : float
        Sum of the row weights, the curvature of the intercept.
    """

    def __init__(self, center, mass):
        self.center, self.mass = center, mass

    def solve(self, grad):
        """Rows (n_outputs, n_columns) with ``grad`` as image: block diagonal in the columns (x - center, 1)."""
        if self.center is None:
            return self._solve(grad)
        step = np.empty_like(grad)
        step[:, :-1] = self._solve(grad[:, :-1] - grad[:, -1:] * self.center)
        step[:, -1] = grad[:, -1] / self.mass - step[:, :-1] @ self.center
        return step


class GramFactor(_Factor):
    """By a Cholesky factor of the (n_features, n_features) matrix.

    Parameters
    ----------
    gram : array (n_features, n_features)
        sum_i w_i (x_i - center)(x_i - center)', lower triangle; overwritten.
    ridge : float
    center, mass
        As in the base class.
    n_outputs : int
        Rows of gradients at a time.
    n_threads : int
    dtype : float32 or float64
        What a large factor is applied in: half the bytes, at each solve, of what may be factored in float64.
    floor : float or array (n_features,)
        Added to the ridge, but not counted as one.

    Attributes
    ----------
    effective_dim : float
        tr(G (G + ridge I)^-1), the number of directions in which the rows outweigh the ridge.
    """

    def __init__(self, gram, ridge, center, mass, n_outputs, n_threads, dtype, floor=0.0):
        super().__init__(center, mass)
        size = len(gram)
        self.factor = inverse_factor(gram, ridge + floor)
        self.effective_dim = size - ridge * float(np.vdot(self.factor, self.factor))
        self.product = None
        if size > 256:  # below that the two products of BLAS are as fast
            self.factor = self.factor.astype(dtype, copy=False)
            self.product = DensePass(dtype, size, size, 1, n_outputs, n_threads)

    def _solve(self, grad):
        if self.product is not None:
            return self.product.gram_product(self.factor, grad)
        return (grad @ self.factor.T) @ self.factor


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
    """

    def __init__(self, rows, ridge, center, mass, n_outputs, n_threads):
        super().__init__(center, mass)
        n_rows, size = rows.shape
        outer = np.empty((n_rows, n_rows))
        bands = [slice(start, start + 256) for start in range(0, n_rows, 256)]
        run_tasks(lambda t, slot: np.matmul(rows[bands[t]], rows.T, out=outer[bands[t]]), len(bands), n_threads)
        inverse = inverse_factor(outer, ridge).astype(rows.dtype)
        self.effective_dim = n_rows - ridge * float(np.vdot(inverse, inverse))
        self.rows, self.ridge = rows, ridge
        step = 256

        def columns(t, slot):
            band = rows[:, t * step : (t + 1) * step]
            band[:] = inverse @ band

        run_tasks(columns, -(-size // step), n_threads)
        self.product = DensePass(rows.dtype, n_rows, size, 1, n_outputs, n_threads)

    def _solve(self, grad):
        return (grad - self.product.gram_product(self.rows, grad)) / self.ridge
