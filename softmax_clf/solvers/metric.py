"""Metrics: approximate Hessians of the objective that L-BFGS starts from, and which of them to take.

With p_i the probabilities of row i, the Hessian of F is

    H = sum_i s_i/S (diag(p_i) - p_i p_i') (x) x_i x_i'  +  l2_reg_strength I

(the intercept is one more column of x, unpenalised). Each metric keeps part of it:

exact       all of it, an array of (n_outputs * n_columns)^2
blocks      the blocks on the diagonal, one a class: H_k = sum_i s_i/S p_ik (1 - p_ik) x_i x_i' = L_k L_k', and those
            beside it as R_kl L_k L_l': R being halfway between the identity and the correlations of B, below. All of
            the correlations would be right if all H_k were alike; as they are not, directions in which the classes all
            but cancel come out too soft. Half of them saved 12 % of the passes over embeddings (50,000 x 512), a third
            at C >= 1000, against none; from 0.4 to 0.6 nothing changed by more than 2 %
kronecker   one block for all, B (x) A: A = sum_i s_i/S t_i x_i x_i' with t_i = 1 - ||p_i||^2, and B the mean of
            (diag(p_i) - p_i p_i') of trace one. At W = 0 it is exact (D. Bohning, Multinomial logistic regression
            algorithm, Annals of the Institute of Statistical Mathematics 44, 1992), later what survives averaging
head        of sparse data with many features: a Kronecker block for those that many rows have, for the others, which
            seldom meet, the diagonal of the blocks

Multinomial scores can be shifted by the same vector for all classes without changing F's first part, so the
steps of every metric are centred over the classes.

Half the squared gradient in a metric estimates F - F*, from below where the metric is stiffer than the Hessian in the
directions that are left. ``slack`` is how many times too small that may be: what was measured on pixels, patch
features, embeddings and unbalanced classes, rounded up.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

EXACT, BLOCKS, KRONECKER, HEAD = "exact", "blocks", "kronecker", "head"
MAX_FLOAT64 = 1024  # features up to which Gram matrices are of float64, whatever X is of
# A Hessian that is positive definite but for rounding needs less than this added to its diagonal, as a share. One that
# needs more has lost what the data say of some direction: its steps may lead down, but how far it is to the minimum it
# does not know. That slack says so, and is finite, since a gradient of zero is a minimum all the same.
MOST_RAISED, NO_CLAIM = 1e-10, 1e200


def _centred(step):
    return step - step.mean(axis=-2, keepdims=True) if step.shape[-2] > 1 else step


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
    """A symmetric positive definite matrix in the place of the Hessian.

    Attributes
    ----------
    slack : float
        How many times too small half the squared gradient in it may be as an estimate of F - F*.
    patience : int
        Iterations before it is made anew.
    passes : float
        What making it takes, in passes over all rows for each of the fits that it serves.
    objective_there : float
        The largest of the fits' objectives where it was made for several.
    is_handed_on : bool
        Whether it was made for another function.
    """

    slack: float
    patience: int
    passes: float
    objective_there = -np.inf
    is_handed_on = False

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

    slack = 20

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

    slack = 10
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
    """

    slack = 20  # as for the Kronecker metric: many features share a direction

    def __init__(self, diagonal, pieces):
        self.diagonal, self.pieces = diagonal, pieces

    def solve(self, grad):
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

    slack = 20

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
    """

    slack = 3

    def __init__(self, hess, center=None):
        self.center = None if center is None else np.append(center, 0.0)
        diagonal, rise = hess.diagonal().copy(), 0.0
        while True:
            self.factor, failed = dpotrf(hess, lower=True)
            if not failed:
                break
            if rise > 1 or not np.isfinite(diagonal).all():
                raise FloatingPointError("squares of the data overflow float64")
            # singular to rounding: raise the diagonal, in proportion, so that units do not matter
            rise = max(10 * rise, 1e-15)
            hess[np.diag_indices_from(hess)] = diagonal * (1 + rise) + np.finfo(float).tiny
        if rise > MOST_RAISED:
            self.slack = NO_CLAIM

    def solve(self, grad):
        inner = grad if self.center is None else grad - grad[:, -1:] * self.center
        step = dpotrs(self.factor, inner.ravel(), lower=True)[0].reshape(grad.shape)
        if self.center is not None:
            step[:, -1] -= step @ self.center
        return _centred(step)


def patience(passes, n_problems=1):
    """Iterations before a metric is made anew: twice its cost in passes, fewer where a bad one is dearer.

    Those of several problems are so many times cheaper for each; their passes take half as long, as X is read once.
    """
    passes *= (1 if n_problems == 1 else 2) / n_problems
    return max(4, round(min(2 * passes, 8 + passes / 2)))


def blocks_bytes(p, n_blocks, itemsize):
    """The most that the blocks of a metric take while they are factored, each (p, p)."""
    gram = itemsize if p > MAX_FLOAT64 else 8
    # all matrices, what is added to one of them, and a copy where one is applied in another precision
    return (n_blocks * gram + gram + (itemsize if gram != itemsize else 0)) * p**2


@dataclass(frozen=True)
class MetricPlan:
    """Which metric serves a shape best, from how many rows, and what it costs.

    Attributes
    ----------
    kind : 'exact', 'blocks', 'kronecker' or 'head'
    n_rows : int
        Rows sampled. A Kronecker metric of fewer rows than columns is of low rank.
    passes : float
        Cost of making one, in passes over all rows.
    exact_passes : float
        What the whole Hessian takes, in passes; infinite where it is out of the question.
    """

    kind: str
    n_rows: int
    passes: float
    exact_passes: float = np.inf


def plan_metric(
    n_samples,
    n_columns,
    n_outputs,
    itemsize,
    pass_values,
    X_bytes,
    n_passes=0,
    effective_dim=None,
    evenness=1.0,
    n_problems=1,
    of_all_rows=False,
):
    """Choose the metric by what a whole fit costs with it.

    The better the metric, the fewer the passes. Their counts are typical of pixels, patch features and embeddings.
    They grow

    - as the sample shrinks: by 1 + 1.5 g + g^2, g being the directions in which the data outweigh the penalty over
      the rows
      that carry curvature (fitted to patch features, 25,000 x 1600, samples from 800 to all rows);
    - with the passes already done: a fit that has taken many is a hard one, for which a dearer metric pays, the more so
      where the classes' blocks differ much.

    Parameters
    ----------
    n_samples, n_columns, n_outputs : int
    itemsize : 4 or 8
        Bytes of a value in the arithmetic.
    pass_values : int
        Values that a pass takes as long over as over a dense X of so many.
    X_bytes : int
        Of X as it is stored, narrow or sparse. A metric takes at most a quarter of it, or 100 MB.
    n_passes : int
        Passes done so far.
    effective_dim : float or None
        Directions in which the data outweigh the penalty, as an earlier metric found them; None assumes all.
    evenness : float
        Rows that carry curvature, as a share of the rows of an earlier sample.
    n_problems : int
        Fits that share the metric.
    of_all_rows : bool
        Whether to leave out no row: a block a class, or one for all where these would take too much memory. With rows
        of high leverage, as rare features have them, no sample stands for the rest.
    """
    n, p, K, size = n_samples, n_columns, n_outputs, n_columns * n_outputs
    d = p if effective_dim is None else min(max(effective_dim, 1.0), p)
    difficulty = max(1.0, n_passes / 8)
    slower = itemsize / 4
    # In multiply-adds of a float32 pass, some 40 to the nanosecond and thread. What numpy does element by element, and
    # what an iteration costs in Python, weighs on small data. Measured on one thread, from 150 x 4 to 50,000 x 1600.
    one_pass = 3e6 + 2.4 * pass_values * K * slower

    def sampled(n_rows, n_blocks):
        elementwise = 4e6 + 60.0 * n_rows * p * (1 + n_blocks)
        if n_rows < p:
            return elementwise + (1.6 * n_rows**2 * p + 2 * n_rows**3) * slower
        return elementwise + n_blocks * (2e6 + (0.5 * n_rows * p**2 + 1.1 * p**3) * slower)

    options = []  # (kind, rows, passes, metrics made, cost of one)
    # those of several fits serve the next C too
    n_metrics = (2 if n_passes > 1 else 3) / (1 if n_problems == 1 else 2)
    # its rows take an eighth of X, or 16 MB
    most_low_rank = max(X_bytes // (8 * p * itemsize), int(1.6e7 / (p * itemsize)), 1)
    dense = 2.5 * p**2 * itemsize <= max(X_bytes / 4, 1e8)  # a matrix and its factor take a quarter of X, or 100 MB
    counts = [max(multiple * d / evenness, 1000) for multiple in (0.25, 0.5, 1, 2, 5, 10, 20, np.inf)]
    most = min(n, most_low_rank) if dense else min(n, most_low_rank, p - 1)  # so that there is an option for any shape
    for n_rows in {int(min(n, count)) for count in counts} | {most}:
        if n_rows > most_low_rank if n_rows < p else not dense:
            continue
        g = d / (n_rows * evenness) if n_rows < n else 0.0
        options.append((KRONECKER, n_rows, 16 * (1 + 1.5 * g + g**2) * difficulty, n_metrics, sampled(n_rows, 1)))
        if K > 1 and n_rows >= p and blocks_bytes(p, K, itemsize) <= max(X_bytes / 4, 1e8):
            g *= K / 2  # the classes share the curvature
            options.append((BLOCKS, n_rows, 8 * (1 + 1.5 * g + g**2) * difficulty**0.6, n_metrics, sampled(n_rows, K)))
    # its rows in float64, and up to three arrays of them times the classes
    exact = np.inf
    if size <= 1000 and 8 * n * p * (2 if K == 1 else 1 + 3 * K) <= max(X_bytes / 4, 1e8):
        exact = 2e6 + 100.0 * n * size + 2.5 * n * size**2 + size**3
        options.append((EXACT, n, 8, 8, exact))
    if of_all_rows:
        options = [option for option in options if option[0] != EXACT]
        options = [option for option in options if option[1] == n] or options
        options = [option for option in options if option[0] == BLOCKS] or options
    kind, n_rows, _, _, made = min(options, key=lambda o: o[2] * one_pass * n_problems + o[3] * o[4])
    return MetricPlan(kind, n_rows, made / one_pass, 0.5 * exact / one_pass)
