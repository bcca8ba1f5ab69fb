"""The objective over any source of rows: its value, its gradient, and metrics for the solver."""

import numpy as np
from scipy.special import expit

from .kernels.dense import DensePass
from .kernels.gram import GramFactor, add_weighted_gram
from .solvers.metric import BLOCKS, EXACT, BlocksMetric, ExactMetric, KroneckerMetric, plan_metric

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
        self.frequency = frequency
        present = frequency[frequency > 0]
        #: F of the null model: no coefficients, the best intercepts where there are any
        self.null_objective = float(-(present @ np.log(present))) if fit_intercept else float(np.log(n_classes))
        self.passes = DensePass(source.dtype, source.part_rows, source.n_features, 1, self.n_outputs, n_threads)
        self.plan = plan_metric(n, self.n_columns, self.n_outputs)
        self.origin = None
        self.samples = {}
        self.design = None
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
        if self.plan.kind != EXACT:
            self.plan = plan_metric(self.source.n_samples, self.n_columns, self.n_outputs, self.n_passes)
        if self.plan.kind == EXACT:
            return ExactMetric(self._hess(point))
        rows, row_weight = self._sample(self.plan.n_rows)
        one_a_class = self.plan.kind == BLOCKS
        n_blocks = self.n_outputs if one_a_class else 1
        p = self.source.n_features
        gram_dtype = np.float32 if self.source.dtype == np.float32 and p > 1024 else np.float64
        grams = [np.zeros((p, p), gram_dtype) for _ in range(n_blocks)]
        sums, masses = np.zeros((n_blocks, p)), np.full(n_blocks, np.finfo(np.float64).tiny)
        between = np.zeros((self.n_outputs, self.n_outputs))
        if self.fit_intercept and self.origin is None:
            # close enough to every weighted mean that what is left is subtracted without cancellation
            first = self.source.take(rows[:1000])
            self.origin = first.mean(axis=0, dtype=np.float64).astype(first.dtype)
        for X, weight in self._panels(rows, row_weight):
            proba = self._proba(X, point)
            if self.fit_intercept:
                X = X - self.origin
            weighted = proba * weight[:, None]
            between += np.diag(weighted.sum(axis=0)) - weighted.T @ proba
            curvature = weighted * (1 - proba)
            if not one_a_class:
                curvature = curvature.sum(axis=1, keepdims=True)
            for k in range(n_blocks):
                add_weighted_gram(X, curvature[:, k], grams[k], self.n_threads)
            if self.fit_intercept:
                sums += curvature.T.astype(X.dtype) @ X
            masses += curvature.sum(axis=0)

        def factored(k, ridge):
            gram, center = grams[k], None
            if self.fit_intercept:
                offset = sums[k] / masses[k]
                gram -= np.outer(sums[k], offset)
                center = self.origin + offset
            n_solved = 1 if one_a_class else self.n_outputs
            return GramFactor(gram, ridge, center, masses[k], n_solved, self.n_threads)

        if one_a_class:
            return BlocksMetric([factored(k, self.l2_reg_strength) for k in range(n_blocks)])
        return KroneckerMetric(lambda ridge: factored(0, ridge), between / masses[0], self.l2_reg_strength)

    def _hess(self, point):
        """The Hessian, with the shift of all classes made definite."""
        K, columns = self.n_outputs, self.n_columns
        if self.design is None:  # small where this metric is chosen
            X = self.source.take(np.arange(self.source.n_samples)).astype(np.float64)
            self.design = np.hstack([X, np.ones((len(X), 1))]) if self.fit_intercept else X
        x, n = self.design, self.source.n_samples
        proba = self._proba(x, point, augmented=True)
        weighted = proba / n if self.weight is None else proba * (self.weight / n)[:, None]
        if K == 1:
            hess = (x * (weighted * (1 - proba))).T @ x
        else:
            outer = (weighted[:, :, None] * x[:, None, :]).reshape(n, -1)
            hess = (proba[:, :, None] * x[:, None, :]).reshape(n, -1).T @ -outer
            diagonal = (x.T @ outer).reshape(columns, K, columns).transpose(1, 0, 2)
            blocks = hess.reshape(K, columns, K, columns)
            blocks[range(K), :, range(K), :] += diagonal
            blocks += np.diag(diagonal.sum(axis=0).diagonal() / K**2)[None, :, None, :]
        penalised = np.arange(K * columns).reshape(K, columns)[:, : self.source.n_features].ravel()
        hess[penalised, penalised] += self.l2_reg_strength
        return hess

    def _sample(self, n_rows):
        """Rows that stand for all, and the weights that make their sums means over all rows."""
        if n_rows in self.samples:
            return self.samples[n_rows]
        n = self.source.n_samples
        weight = np.ones(n) if self.weight is None else self.weight
        present = np.flatnonzero(weight)
        if n_rows >= len(present):
            sample = present, weight[present] / n
        else:
            # Systematic sampling in proportion to q (W. G. Cochran, Sampling Techniques, 1977, section 9A.10): q is the
            # weight, and more of it for rare classes, whose few rows carry all of their curvature. A fixed seed: the
            # sample affects the way to the optimum, not the optimum.
            q = weight / np.sqrt(self.frequency[self.y])
            total = np.cumsum(q)
            places = (np.arange(n_rows) + np.random.default_rng(0).random()) * (total[-1] / n_rows)
            rows, counts = np.unique(np.minimum(np.searchsorted(total, places, "right"), n - 1), return_counts=True)
            sample = rows, counts * (weight[rows] / q[rows]) * (total[-1] / (n_rows * n))
        self.samples[n_rows] = sample
        return sample

    def _panels(self, rows, row_weight):
        """Sampled rows, some at a time, and their weights."""
        size = max(_PANEL_BYTES // (self.source.n_features * self.source.dtype.itemsize), 256)
        for start in range(0, len(rows), size):
            panel = slice(start, start + size)
            yield self.source.take(rows[panel]), row_weight[panel]

    def _proba(self, X, point, augmented=False):
        """Probabilities (n_rows, n_outputs), for small pieces of data and in float64; ``augmented`` X ends with ones."""
        if augmented:
            scores = X @ point.T
        else:
            coef, intercept = self.split(point)
            scores = (X @ coef.T.astype(X.dtype)) + intercept
        if self.n_outputs == 1:
            return expit(scores)
        scores -= scores.max(axis=1, keepdims=True)
        proba = np.exp(scores, out=scores)
        proba /= proba.sum(axis=1, keepdims=True)
        return proba
