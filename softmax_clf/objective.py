"""The objective over any source of rows: its value, its gradient, and metrics for the solver."""

import numpy as np

from .kernels.dense import DensePass
from .kernels.gram import add_weighted_gram
from .solvers.metric import BLOCKS, EXACT, Block, BlocksMetric, ExactMetric, KroneckerMetric, plan_metric

_PANEL_BYTES = 1 << 24  # of sampled rows that a metric works on at a time


class SoftmaxObjective:
    """Penalised mean cross-entropy of a softmax of linear scores.

        F(W, b) = 1/S sum_i s_i CE(y_i, softmax(W x_i + b)) + l2_reg_strength/2 ||W||_F^2,    S = sum_i s_i

    A point is an array (n_outputs, n_columns): W, with b as last column where ``fit_intercept``. For two classes there is
    one output, the score z of the second, and the softmax is that of (0, z).

    Parameters
    ----------
    source : row source of n_samples rows
    y : array (n_samples,) intp
        Labels in range(n_classes).
    n_classes : int
    sample_weight : array (n_samples,) float64, or None
        s, non-negative, not all zero.
    l2_reg_strength : float
        1 / (C S).
    fit_intercept : bool
    n_threads : int
    """

    def __init__(self, source, y, n_classes, *, sample_weight, l2_reg_strength, fit_intercept, n_threads):
        self.source, self.y, self.n_threads = source, y, n_threads
        self.l2_reg_strength, self.fit_intercept = l2_reg_strength, fit_intercept
        self.n_classes, self.n_outputs = n_classes, 1 if n_classes == 2 else n_classes
        self.n_columns = source.n_features + int(fit_intercept)
        n = source.n_samples
        if sample_weight is None:
            self.weight = None
            self.pass_weight = np.empty((0, 0), source.dtype)
            frequency = np.bincount(y, minlength=n_classes) / n
        else:
            # of mean one: as accurate in float32 as any other, and no power of ten under- or overflows
            self.weight = sample_weight * (n / sample_weight.sum())
            self.pass_weight = self.weight.astype(source.dtype)[None]
            frequency = np.bincount(y, self.weight, n_classes) / n
        self.weighting = np.zeros(1, np.intp)
        present = frequency[frequency > 0]
        #: F of the null model: no coefficients, the best intercepts where there are any
        self.null_objective = float(-(present @ np.log(present))) if fit_intercept else float(np.log(n_classes))
        self.passes = DensePass(source.dtype, source.part_rows, source.n_features, 1, self.n_outputs, n_threads)
        self.plan = plan_metric(n, self.n_columns, self.n_outputs)
        self.origin = None
        self.n_passes = 0

    def split(self, point):
        """Coefficients (n_outputs, n_features) and intercepts (n_outputs,) of a point."""
        n_features = self.source.n_features
        return point[:, :n_features], point[:, n_features] if self.fit_intercept else np.zeros(self.n_outputs)

    def evaluate(self, point):
        """F and its gradient at a point: one pass over the rows.

        Returns
        -------
        objective : float
        grad : array (n_outputs, n_columns) float64
        """
        self.n_passes += 1
        coef, intercept = self.split(point)

        def part(X, rows):
            return self.passes.loss_gradient(
                X, coef, intercept, self.y[rows], self.pass_weight[:, rows], self.weighting
            )

        loss, grad_coef, grad_intercept = self.source.sum(part)
        n = self.source.n_samples
        grad = np.empty_like(point)
        np.multiply(grad_coef, 1 / n, out=grad[:, : coef.shape[1]])
        grad[:, : coef.shape[1]] += self.l2_reg_strength * coef
        if self.fit_intercept:
            grad[:, -1] = grad_intercept / n
        return loss[0] / n + self.l2_reg_strength / 2 * np.vdot(coef, coef), grad

    def metric(self, point):
        """The metric that :func:`plan_metric` chose, at a point, from a sample of rows."""
        rows, row_weight = self._sample(self.plan.n_rows)
        if self.plan.kind == EXACT:
            return ExactMetric(self._hess(point, rows, row_weight))
        n_blocks = self.n_outputs if self.plan.kind == BLOCKS else 1
        p = self.source.n_features
        in_float32 = self.source.dtype == np.float32 and p > 1024
        grams = [np.zeros((p, p), np.float32 if in_float32 else np.float64) for _ in range(n_blocks)]
        sums, masses = np.zeros((n_blocks, p)), np.zeros(n_blocks)
        between = np.zeros((self.n_outputs, self.n_outputs))
        for X, weight in self._panels(rows, row_weight):
            proba = self._proba(X, point)
            if self.fit_intercept:
                # close enough to every weighted mean that what is left is subtracted without cancellation
                if self.origin is None:
                    self.origin = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
                X -= self.origin
            weighted = proba * weight[:, None]
            between += np.diag(weighted.sum(axis=0)) - weighted.T @ proba
            if self.plan.kind == BLOCKS:
                curvature = weighted * (1 - proba)
            else:
                curvature = (weighted * (1 - proba)).sum(axis=1, keepdims=True)
            for k in range(n_blocks):
                add_weighted_gram(X, curvature[:, k], grams[k], self.n_threads)
            if self.fit_intercept:
                sums += curvature.T.astype(X.dtype) @ X
            masses += curvature.sum(axis=0)
        masses = np.maximum(masses, np.finfo(np.float64).tiny)
        blocks = [self._block(*block) for block in zip(grams, sums, masses, strict=True)]
        if self.plan.kind == BLOCKS:
            return BlocksMetric(blocks, self.l2_reg_strength)
        return KroneckerMetric(blocks[0], between / masses[0], self.l2_reg_strength)

    def _block(self, gram, total, mass):
        if not self.fit_intercept:
            return Block(gram, None, mass)
        offset = total / mass
        gram -= np.outer(mass * offset, offset)
        return Block(gram, self.origin + offset, mass)

    def _hess(self, point, rows, row_weight):
        """The Hessian, with the shift of all classes made definite."""
        K, columns = self.n_outputs, self.n_columns
        hess = np.zeros((K * columns, K * columns))
        diagonal = np.zeros((K, columns, columns))
        for X, weight in self._panels(rows, row_weight):
            proba = self._proba(X, point)
            x = np.concatenate([X, np.ones((len(X), 1))], axis=1) if self.fit_intercept else X.astype(np.float64)
            if K == 1:
                diagonal[0] += (x * (weight * proba[:, 0] * (1 - proba[:, 0]))[:, None]).T @ x
                continue
            weighted = proba * np.sqrt(weight)[:, None]
            outer = (weighted[:, :, None] * x[:, None, :]).reshape(len(x), -1)
            hess -= outer.T @ outer
            diagonal += np.matmul((proba * weight[:, None]).T[:, None, :] * x.T, x)
        blocks = hess.reshape(K, columns, K, columns)
        for k in range(K):
            blocks[k, :, k, :] += diagonal[k]
        penalty = np.full(columns, self.l2_reg_strength)
        penalty[self.source.n_features :] = 0
        if K > 1:
            shift = np.diag(diagonal.sum(axis=0).diagonal() / K)
            blocks += shift[None, :, None, :] / K
        hess[np.diag_indices_from(hess)] += np.tile(penalty, K)
        return hess

    def _sample(self, n_rows):
        """Rows that stand for all, and the weights that make their sums means over all rows."""
        n = self.source.n_samples
        # a fixed seed: the sample affects the way to the optimum, not the optimum
        rng = np.random.default_rng(0)
        if self.weight is None:
            if n_rows >= n:
                return np.arange(n), np.full(n, 1 / n)
            return np.sort(rng.choice(n, n_rows, replace=False)), np.full(n_rows, 1 / n_rows)
        present = np.flatnonzero(self.weight)
        if n_rows >= len(present):
            return present, self.weight[present] / n
        # systematic sampling in proportion to the weights (W. G. Cochran, Sampling Techniques, 1977, section 9A.10)
        places = (np.arange(n_rows) + rng.random()) * (n / n_rows)
        rows, counts = np.unique(np.searchsorted(np.cumsum(self.weight), places), return_counts=True)
        return np.minimum(rows, n - 1), counts / n_rows

    def _panels(self, rows, row_weight):
        size = max(_PANEL_BYTES // (self.source.n_features * self.source.dtype.itemsize), 256)
        for start in range(0, len(rows), size):
            panel = slice(start, start + size)
            X = self.source.take(rows[panel])
            yield (X.copy() if X.base is not None or len(rows) == len(X) else X), row_weight[panel]

    def _proba(self, X, point):
        """Probabilities (n_rows, n_outputs), for small pieces of data and in float64."""
        coef, intercept = self.split(point)
        scores = (X @ coef.T.astype(X.dtype)).astype(np.float64) + intercept
        if self.n_outputs == 1:
            return 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
        scores -= scores.max(axis=1, keepdims=True)
        proba = np.exp(scores)
        return proba / proba.sum(axis=1, keepdims=True)
