"""Weighted Gram matrices of rows as they come."""

from typing import Any

import numpy as np

from ..kernels.gram import add_weighted_grams, add_weighted_sparse_grams
from .factors import GramFactor, GramRoots
from .plan import MAX_FLOAT64

ORIGIN_ROWS = 128  # of a panel, whose mean is close to that of all
# Share of its variance that a feature has at least where the objective is curved. Where all rows that are not sure of
# their class have it alike, the objective would seem flat along it, and a step would overflow.
LEAST_SHARE = 1e-30


class GramSums:
    """Weighted Gram matrices of rows as they come, several of them over the same rows.

    With an intercept they are about the means of the rows. Those of each panel are taken about a point among them, and
    what lies between these points is put right in the end: a mean may be as far out as it likes, and no few rows have
    to stand for all.

    Parameters
    ----------
    rows : LabelledRows
    n_features, n_blocks : int
    """

    def __init__(self, rows, n_features, n_blocks):
        self.rows, self.n_rows, p = rows, 0, n_features
        # small ones in float64, for the sake of ill-conditioned data
        dtype = np.float32 if rows.source.dtype == np.float32 and p > MAX_FLOAT64 else np.float64
        # filled, not np.zeros: pages that threads read before they write cost them 10 us each, on a virtual machine
        self.grams: list[Any] = [np.full((p, p), 0.0, dtype) for _ in range(n_blocks)]
        self.masses = np.full(n_blocks, np.finfo(np.float64).tiny)
        self.variance = np.zeros(p)  # of a few rows of each panel
        self.panels = []  # of each its origin, sums (n_blocks, n_features) about it, and masses

    @np.errstate(over="raise", invalid="raise")
    def add(self, X, row_weight):
        """Add a panel of rows, an array or sparse ones, with weights (n_rows, n_blocks)."""
        self.n_rows += len(X)
        mass, sums = row_weight.sum(axis=0), np.zeros((len(self.grams), len(self.variance)))
        if isinstance(X, np.ndarray):
            origin = self._origin(X, row_weight).astype(X.dtype)
            add_weighted_grams(X, row_weight, origin, self.grams, sums, self.rows.n_threads)
        else:
            origin = X.origin
            self.variance = np.maximum(self.variance, X.variance(self.rows.fit_intercept))
            add_weighted_sparse_grams(X.added, row_weight, self.grams, sums, self.rows.n_threads)
        self.masses += mass
        self.panels.append((origin, sums, mass))

    def _origin(self, X, row_weight):
        """A point so close to the weighted means that what is left is subtracted without cancellation; or zero."""
        X = X[:: -(-len(X) // ORIGIN_ROWS)].astype(np.float64, copy=False)
        if not self.rows.fit_intercept:
            self.variance = np.maximum(self.variance, np.square(X).mean(axis=0))
            return np.zeros(X.shape[1])
        self.variance = np.maximum(self.variance, X.var(axis=0))
        weight = row_weight[:: -(-len(row_weight) // ORIGIN_ROWS)].sum(axis=1)
        peak = weight.max(initial=0.0)
        weight = weight / peak if peak > 0 else np.ones(len(weight))
        return weight @ X / weight.sum()

    @np.errstate(over="raise", invalid="raise")  # whoever asks for it says what to do about features that large
    def centred(self, k):
        """The k-th matrix, lower triangle, about the mean of its rows, which is used up; that mean; and a floor."""
        gram, center = self.grams[k], None
        self.grams[k] = None  # or all of them would be kept beside their factors
        if self.rows.fit_intercept:
            mass = np.array([masses[k] for _, _, masses in self.panels])[:, None]
            offset = np.stack([sums[k] for _, sums, _ in self.panels]) / np.maximum(mass, np.finfo(np.float64).tiny)
            means = np.stack([origin for origin, _, _ in self.panels]) + offset
            center = means[0] + (mass * (means - means[0])).sum(axis=0) / self.masses[k]
            left, right = np.sqrt(mass) * offset, np.sqrt(mass) * (means - center)
            left, right = np.concatenate([-left, right]), np.concatenate([left, right])
            for start in range(0, len(gram), 256):  # in bands, to make no other matrix of this size
                band = slice(start, min(start + 256, len(gram)))
                gram[band, : band.stop] += left[:, band].T @ right[:, : band.stop]
        # A feature that is zero in all sampled rows, or does not vary among those with curvature but for rounding, has
        # no curvature here, and its step would be huge. It gets that of a feature of usual size in one row.
        diagonal, alike = gram.diagonal(), LEAST_SHARE * self.masses[k] * self.variance
        least = max(float(diagonal.mean()), float(alike.mean())) / self.n_rows
        if center is not None:
            rounding = 1e-3 * np.finfo(self.rows.source.dtype).eps * center
            alike = np.maximum(alike, self.masses[k] * np.square(rounding))
        return gram, center, (diagonal <= alike) * least

    def factor(self, ridge):
        """The inverse of the one matrix plus a ridge; it is used up."""
        gram, center, empty = self.centred(0)
        o = self.rows
        return GramFactor(gram, ridge, center, self.masses[0], o.source.dtype, o.n_outputs, o.n_threads, empty)

    def roots(self, ridge):
        """The inverse of each matrix plus a ridge, in halves; they are used up."""

        def make(k):
            gram, center, empty = self.centred(k)
            return gram, center, self.masses[k], empty

        o = self.rows
        return GramRoots(make, len(self.grams), ridge, o.source.dtype, o.n_threads)
