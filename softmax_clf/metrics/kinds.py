"""The kinds of metrics, each made of its parts. What they are is told in :mod:`softmax_clf.metrics`."""

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

# A Hessian that is positive definite but for rounding needs less than this added to its diagonal, as a share. One that
# needs more has lost what the data say of some direction: its steps may lead down, but how far it is to the minimum it
# does not know. That slack says so, and is finite, since a gradient of zero is a minimum all the same.
MOST_RAISED, NO_CLAIM = 1e-10, 1e200


def _centred(step):
    n_outputs = step.shape[-2]
    return step - np.add.reduce(step, axis=-2, keepdims=True) / n_outputs if n_outputs > 1 else step


def laplacian(products):
    """``sum_i w_i (diag(p_i) - p_i p_i')`` of ``products = sum_i w_i p_i p_i'``, each p_i of sum one.

    On the diagonal stand products with the other classes, not differences: where all rows are all but sure of their
    class, these would be of rounding errors.
    """
    between = -products
    np.fill_diagonal(between, 0.0)
    np.fill_diagonal(between, -between.sum(axis=1))
    return between


class Metric:
    """A symmetric positive definite matrix in the place of the Hessian: see :class:`~..contracts.Metric`.

    Attributes
    ----------
    slack : float
        How many times too small half the squared gradient in it may be as an estimate of F - F*.
    """

    slack: float

    # each in terms of the other: a kind of metric has at least one of its own

    def solve(self, grad):
        """Step (n_outputs, n_columns) whose image under the metric is ``grad``."""
        return self.solve_all(grad[None])[0]

    def solve_all(self, grads):
        """Steps for gradients (n, n_outputs, n_columns)."""
        return np.stack([self.solve(grad) for grad in grads])


class KroneckerMetric(Metric):
    """B (x) A + l2_reg_strength I, by one factor of A: B's eigenvalues share their mean in the penalty.

    Parameters
    ----------
    factored : callable ridge -> object with ``solve(grad)``
        The inverse of A + ridge I on the coefficients, A having row weights s_i/S t_i; and ``is_raised``.
    between : array (n_outputs, n_outputs) float64
        B.
    l2_reg_strength : float
    """

    slack: float = 20

    def __init__(self, factored, between, l2_reg_strength):
        values, self.vectors = np.linalg.eigh(between)
        # along the shift of all classes B is zero, and no gradient lies there
        values = np.maximum(values, 1e-9 * values[-1])
        self.values = values[:, None]
        self.factor = factored(l2_reg_strength / values[min(1, len(values) - 1) :].mean())
        if self.factor.is_raised:
            self.slack = NO_CLAIM

    def solve_all(self, grads):
        rows = self.vectors.T @ grads
        steps = self.factor.solve(rows.reshape(-1, rows.shape[-1])).reshape(rows.shape)
        return _centred(self.vectors @ (steps / self.values))


class BlocksMetric(Metric):
    """One block a class, and how they hang together.

    Parameters
    ----------
    roots : object with ``whiten(grads)`` and ``steps(white)``
        The inverses of the classes' blocks, of row weights s_i/S p_ik (1 - p_ik), with the penalty: in halves, between
        which there are coordinates (n_outputs, n, n_columns) in which each block is the identity; and ``is_raised``.
    between : array (n_outputs, n_outputs) float64
        B.
    """

    slack: float = 10
    _believed = 0.5  # of the correlations

    def __init__(self, roots, between):
        self.roots = roots
        scale = 1 / np.sqrt(np.maximum(between.diagonal(), np.finfo(np.float64).tiny))
        correlation = self._believed * between * scale * scale[:, None]
        np.fill_diagonal(correlation, 1.0)
        self.mixing = np.linalg.inv(correlation)
        if roots.is_raised:
            self.slack = NO_CLAIM

    def solve_all(self, grads):
        white = self.roots.whiten(grads)
        mixed = self.mixing @ white.reshape(len(white), -1)
        return _centred(self.roots.steps(mixed.reshape(white.shape)))


class DiagonalMetric(Metric):
    """The diagonal alone.

    Parameters
    ----------
    diagonal : array (n_outputs, n_columns) float64
        Positive.
    pieces : Pieces
        Of the columns, worked on side by side.
    center : array (n_features,), or None
        Where the diagonal is in the columns (x - center, 1).
    """

    slack: float = 20  # as for the Kronecker metric: many features share a direction

    def __init__(self, diagonal, pieces, center=None):
        self.diagonal, self.pieces, self.center = diagonal, pieces, center

    def solve(self, grad):
        if self.center is None:
            return self._divided(grad)
        inner = grad.copy()
        inner[:, :-1] -= grad[:, -1:] * self.center
        step = self._divided(inner)
        step[:, -1] -= step[:, :-1] @ self.center
        return step

    def _divided(self, grad):
        step = np.empty_like(grad)

        def divide(columns):
            piece = np.divide(grad[:, columns], self.diagonal[:, columns], out=step[:, columns])
            if len(piece) > 1:
                piece -= piece.sum(axis=0) / len(piece)

        self.pieces.each(divide)
        return step


class HeadMetric(Metric):
    """For features too many for more: a Kronecker metric on those that many rows have, the diagonal on the others.

    Parameters
    ----------
    diagonal : DiagonalMetric
    head : array of intp
        Columns, increasing.
    kronecker : KroneckerMetric
        On these columns.
    """

    slack: float = 20

    def __init__(self, diagonal, head, kronecker):
        self.diagonal, self.head, self.kronecker = diagonal, head, kronecker
        self.slack = max(self.slack, kronecker.slack)

    def solve(self, grad):
        step = self.diagonal.solve(grad)
        step[:, self.head] = self.kronecker.solve(grad[:, self.head])
        return step


class ExactMetric(Metric):
    """The whole Hessian.

    Parameters
    ----------
    hess : array (n_outputs * n_columns, n_outputs * n_columns) float64
        In the columns (x - center, 1), with the penalty, and with the shift of all classes made definite.
    center : array (n_features,), or None
        None where a point has no column for an intercept.

    Attributes
    ----------
    thinnest : float
        The least share of a diagonal element that the columns before leave: so many digits does a solution lose.
    """

    slack: float = 3

    def __init__(self, hess, center=None):
        self.center = None
        if center is not None:
            self.center = np.zeros(len(center) + 1)
            self.center[:-1] = center
        diagonal, rise = None, 0.0
        while True:
            self.factor, failed = dpotrf(hess.T, lower=True)  # as LAPACK stores matrices, which are symmetric
            if not failed:
                break
            diagonal = hess.diagonal().copy() if diagonal is None else diagonal
            if rise > 1 or not np.isfinite(diagonal).all():
                raise FloatingPointError("squares of the data overflow float64")
            # singular to rounding: raise the diagonal, in proportion, so that units do not matter
            rise = max(10 * rise, 1e-15)
            hess[np.diag_indices_from(hess)] = diagonal * (1 + rise) + np.finfo(float).tiny
        if rise > MOST_RAISED:
            self.slack = NO_CLAIM
        self.thinnest = float((np.square(self.factor.diagonal()) / hess.diagonal()).min())

    def solve(self, grad):
        inner = grad if self.center is None else grad - grad[:, -1:] * self.center
        step = dpotrs(self.factor, inner.ravel(), lower=True)[0].reshape(grad.shape)
        if self.center is not None:
            step[:, -1] -= step @ self.center
        return _centred(step)

    def reach(self, rows):
        """The most that a step of norm one in the metric moves the scores of each row's pairs of classes, (n, n_pairs).

        Parameters
        ----------
        rows : array (n, n_columns)
        """
        inverse, _ = dpotri(self.factor, lower=True)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        q = rows.shape[1]
        blocks = inverse.reshape(len(inverse) // q, q, -1, q)
        rows = rows if self.center is None else rows - self.center
        squares, n_outputs = [], len(blocks)
        for k, m in zip(*np.triu_indices(n_outputs, min(n_outputs - 1, 1)), strict=True):
            between = blocks[k, :, k] if n_outputs == 1 else blocks[k, :, k] + blocks[m, :, m] - 2 * blocks[k, :, m]
            squares.append((rows @ between * rows).sum(axis=1))
        return np.sqrt(np.maximum(np.stack(squares, axis=1), 0.0))


class AmongClasses(Metric):
    """Another metric among the classes that a problem knows: the others stay where they are.

    Parameters
    ----------
    metric : Metric
    present : array (n_outputs,) bool
    """

    def __init__(self, metric, present):
        self.metric, self.present = metric, present
        self.slack = metric.slack

    def solve(self, grad):
        step = self.metric.solve(grad)
        step[~self.present] = 0.0
        step[self.present] -= step[self.present].mean(axis=0)
        return step
