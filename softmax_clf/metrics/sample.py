"""Rows that stand for all, with their weights and their probabilities at a point."""

import numpy as np
from scipy.special import expit

PANEL_BYTES = 1 << 23  # of sampled rows that are worked on at a time


class RowSample:
    """Draws rows, and gives them panel by panel with what a metric needs to know of them.

    Parameters
    ----------
    rows : LabelledRows
    """

    def __init__(self, rows):
        self.rows, self.drawn = rows, {}

    def draw(self, n_rows):
        """Rows that stand for all, and the weights that make their sums means over all rows."""
        o = self.rows
        if n_rows in self.drawn:
            return self.drawn[n_rows]
        n = o.source.n_samples
        weight = np.ones(n) if o.weight is None else o.weight
        present = np.flatnonzero(weight)
        if n_rows >= len(present):
            sample = present, weight[present] / n
        else:
            # Stratified sampling in proportion to q (W. G. Cochran, Sampling Techniques, 1977, sections 5A.1 and 9A.3):
            # q is the weight, and more of it for rare classes, whose few rows carry all of their curvature. As many
            # strata of rows that follow each other as there are draws, and a place of its own in each: equal steps
            # would fall into step with labels that are periodic. A fixed seed: the sample affects the way to the
            # optimum, not the optimum.
            q = weight * o.rarity()
            total = np.cumsum(q)
            places = (np.arange(n_rows) + np.random.default_rng(0).random(n_rows)) * (total[-1] / n_rows)
            rows, counts = np.unique(np.minimum(np.searchsorted(total, places, "right"), n - 1), return_counts=True)
            sample = rows, counts * (weight[rows] / q[rows]) * (total[-1] / (n_rows * n))
        self.drawn[n_rows] = sample
        return sample

    def panels(self, point, rows, row_weight, is_sparse=False):
        """Sampled rows, some at a time, as arrays or sparse, their probabilities and their weights."""
        o = self.rows
        # a row's features, and its probabilities in float64
        n_values = o.source.pass_values // o.source.n_samples if is_sparse else o.source.n_features
        size = max(PANEL_BYTES // max(n_values * o.source.dtype.itemsize, 8 * o.n_outputs), 256)
        take = o.take_sparse if is_sparse else o.take
        for start in range(0, len(rows), size):
            panel = slice(start, start + size)
            X, offset = take(rows[panel])
            yield X, self._proba(X, offset, point), row_weight[panel]

    def _proba(self, X, offset, point):
        """Probabilities (n_rows, n_outputs), in float64, for small pieces of data; even ones where point is None."""
        o = self.rows
        if point is None:
            return np.full((len(X), o.n_outputs), 1 / o.n_classes)
        p = o.source.n_features
        coef, intercept = point[:, :p], point[:, p] if o.fit_intercept else np.zeros(len(point))
        scores = (X @ coef.T.astype(X.dtype) if isinstance(X, np.ndarray) else X.scores(coef)) + intercept
        scores = scores + offset
        if o.n_outputs == 1:
            return expit(scores)
        scores -= scores.max(axis=1, keepdims=True)
        proba = np.exp(scores, out=scores)
        proba /= proba.sum(axis=1, keepdims=True)
        return proba
