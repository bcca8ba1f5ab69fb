"""Quadratic models of an objective around a point, for the solver of an L1 penalty: products, not inverses."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..kernels.lasso import GramBlock
from ..solvers.proximal import QuadraticMetric
from .curvature import Curvature
from .grams import GramSums
from .kinds import BlocksMetric, ExactMetric, KroneckerMetric, laplacian
from .plan import BLOCKS
from .sample import PANEL_BYTES
from .small import LEAST_MASS

_MAX_FEATURES = 2500  # with more of them, a model knows those that matter: its Gram matrix takes 50 MB of float64
_LEAST_FEATURES = 250  # that it knows then
# Times the slack of the metric in L-BFGS. L-BFGS estimates F - F* twice, by the metric alone and by the metric with its
# pairs, and takes the larger estimate. This solver has one estimate, and needs more slack. Measured on digits.
_SLACK = 2
# Rows for a model. In directions that a sample leaves out there is nothing but the L1 penalty to hold a step back:
# digits (1,797 x 64) took 74 passes with 1000 rows, 47 with all.
_LEAST_ROWS, _ROWS_PER_FEATURE = 4000, 10


class QuadraticCurvature(Curvature):
    """Makes the metrics of :func:`~..solvers.proximal.proximal_newton`: as those of L-BFGS, but Gram matrices are kept.

    Parameters
    ----------
    rows : LabelledRows
    *args, **kwargs
        As in :class:`~.curvature.Curvature`, the penalty having an L1 part, or bounds.
    """

    takes_sparse_rows = False

    def __init__(self, rows, *args, **kwargs):
        self.is_partial = rows.source.n_features > _MAX_FEATURES
        self.columns: Any = None
        super().__init__(rows, *args, **kwargs)

    def _plan(self, **options):
        # blocks of their own know nothing of what couples the classes, which coefficients in use all at once show
        plan = super()._plan(**{"in_common": True, **options})
        return replace(plan, n_rows=max(plan.n_rows, self._enough_rows(self.rows.n_columns)))

    def _enough_rows(self, n_columns):
        return min(self._n_rows(), max(_LEAST_ROWS, _ROWS_PER_FEATURE * n_columns))

    def _n_rows(self):
        return self.rows.source.n_samples

    def _is_by_blocks(self):
        """Whether a model has a Gram matrix for each output."""
        return self.plan.kind == BLOCKS and not self.is_partial and not self.elastic_net.is_grouped

    def metric(self, point, grad):  # type: ignore[override]
        """The metric at a point (n_outputs, n_columns), about features that matter at a gradient.

        Raises
        ------
        FloatingPointError
            Where squares of the data overflow.
        """
        if self.is_partial:
            self.columns = self._columns(point, grad)
        return super().metric(point)

    def _columns(self, point, grad):
        """Features to work on: those with coefficients, and as many again that are to get some, or the nearest to it.

        Where these are too many, those that are the furthest from their optimality conditions. Those that no penalty
        counts are always among them.
        """
        o = self.rows
        p, strength = o.source.n_features, self.elastic_net.l1_by_feature
        used, is_free = point[:, :p].any(axis=0), self.elastic_net.is_free
        if is_free is not None:
            used = used | is_free
        n_used = np.count_nonzero(used)
        strength = np.where(strength > 0, strength, 1.0)
        nonsmooth = self.elastic_net.nonsmooth(point.shape, p)
        excess = nonsmooth.violation(point, grad)[:, :p].max(axis=0) / strength
        key = np.where(used, 1 + excess, nonsmooth.sizes(grad)[:p] / strength)
        if 2 * n_used <= _MAX_FEATURES:
            key[used] = np.inf
        if is_free is not None:
            key[is_free] = np.inf
        n_columns = min(max(2 * n_used, _LEAST_FEATURES), _MAX_FEATURES)
        return np.sort(np.argsort(-key, kind="stable")[:n_columns])

    def _from_sample(self, point, rows, row_weight):
        o = self.rows
        if self.is_partial:
            rows, row_weight = self.sample.draw(self._enough_rows(len(self.columns)))
            panels, size = self._partial_panels(point, rows, row_weight), len(self.columns)
        else:
            panels, size = self.sample.panels(point, rows, row_weight), o.source.n_features
        as_blocks = self._is_by_blocks()
        n_blocks = o.n_outputs if as_blocks else 1
        sums, between = GramSums(o, size, n_blocks), np.zeros((o.n_outputs, o.n_outputs))
        for X, proba, weight in panels:
            weighted = proba * weight[:, None]
            between += weighted.T @ proba
            curvature = weighted * (1 - proba)
            sums.add(X, curvature if as_blocks else curvature.sum(axis=1, keepdims=True))
        return self._of_grams(sums, between)

    def _of_grams(self, sums, between):
        """The model of Gram matrices, which are used up, and of the classes' (n_outputs, n_outputs); None far out."""
        o, n_blocks, size = self.rows, len(sums.grams), len(sums.variance)
        as_blocks = self._is_by_blocks()
        if not sums.masses.max() > LEAST_MASS:
            return None
        between = laplacian(between) if o.n_outputs > 1 else np.full((1, 1), sums.masses[0])
        blocks, centers, ridge = [], [], self.elastic_net.l2_by_feature
        if self.columns is not None and np.ndim(ridge):
            ridge = ridge[self.columns]
        for k in range(n_blocks):
            outputs, one = (slice(k, k + 1), np.ones((1, 1))) if as_blocks else (slice(None), between / sums.masses[0])
            gram, center, floor = sums.centred(k)
            gram = self._whole(gram, floor, sums.masses[k])
            blocks.append(GramBlock(outputs, gram, one, ridge, size))
            centers.append(center)
        center = np.stack(centers) if o.fit_intercept else None
        slack = _SLACK * (BlocksMetric.slack if as_blocks else KroneckerMetric.slack)
        strength = self.elastic_net.l2_reg_strength
        return QuadraticMetric(blocks, slack, o.source.n_features, center, self.columns, l2_reg_strength=strength)

    def _partial_panels(self, point, rows, row_weight):
        """As :meth:`~.sample.RowSample.panels`, of the features that matter."""
        o = self.rows
        if not o.source.is_wide_and_sparse:
            for X, proba, weight in self.sample.panels(point, rows, row_weight):
                yield np.take(X, self.columns, axis=1), proba, weight
            return
        proba = o.proba(point)
        size = max(PANEL_BYTES // (8 * max(len(self.columns), o.n_outputs)), 256)
        for start in range(0, len(rows), size):
            panel = slice(start, start + size)
            X = o.source.take_columns(rows[panel], self.columns)
            if o.unscale is not None:
                X *= o.unscale[self.columns].astype(X.dtype)
            yield X, proba[rows[panel]].astype(np.float64), row_weight[panel]

    def _whole(self, gram, floor, mass):
        """All of a matrix whose lower triangle is given, with a column for the intercept."""
        size = len(gram)
        whole = np.zeros((size + self.rows.fit_intercept,) * 2, gram.dtype)
        for start in range(0, size, 256):  # in bands, to make no other matrix of this size
            band = slice(start, min(start + 256, size))
            whole[band, : band.stop] = gram[band, : band.stop]
            whole[: band.stop, band] = gram[band, : band.stop].T
            inner = gram[band, band]
            whole[band, band] = np.tril(inner) + np.tril(inner, -1).T
        whole[range(size), range(size)] += floor
        if self.rows.fit_intercept:
            whole[size, size] = mass
        return whole

    def _exact(self, point):
        exact = self.small.hess(self.small.log_proba(point), definite=False)
        if exact is None:
            return None
        hess, center = exact
        block = GramBlock(slice(None), hess, np.ones((1, 1)), 0.0, len(hess))
        slack, p = _SLACK * ExactMetric.slack, self.rows.source.n_features
        return QuadraticMetric([block], slack, p, center, flat=True)
