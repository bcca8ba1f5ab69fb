"""Metrics of an objective at a point, made from a sample of its rows."""

from functools import cached_property

import numpy as np
from scipy.special import expit

from .kernels.gram import GramFactor, GramRoots, LowRankFactor, add_weighted_grams
from .small import LEAST_MASS, LEAST_SHARE, SmallObjective
from .solvers.metric import (
    BLOCKS,
    EXACT,
    HEAD,
    MAX_FLOAT64,
    BlocksMetric,
    DiagonalMetric,
    HeadMetric,
    KroneckerMetric,
    MetricPlan,
    laplacian,
    patience,
    plan_metric,
)

PANEL_BYTES = 1 << 23  # of sampled rows that are worked on at a time
ORIGIN_ROWS = 128  # of a panel, whose mean is close to that of all


class Curvature:
    """Makes the solver's metrics: chooses their kind, samples rows, forms and factors their weighted Gram matrices.

    Parameters
    ----------
    objective : SoftmaxObjective
    """

    is_partial = False  # whether its metrics know some of the features only
    absent = None  # outputs (n_outputs,) bool that are held at a probability of zero

    def __init__(self, objective):
        self.objective = objective
        self.n_problems = 1  # that a metric is to serve
        self.effective_dim, self.evenness = None, 1.0
        self.samples = {}
        self.head_rows = None
        self.plan = self._plan()

    def _plan(self, of_all_rows=False):
        o = self.objective
        if o.source.is_wide_and_sparse:
            return MetricPlan(HEAD, min(o.source.n_samples, max(10 * len(o.source.head), 1000)), 3.0)
        shape = o.source.n_samples, o.n_columns, o.n_outputs, o.source.dtype.itemsize
        # the intercept is a column more
        pass_values, nbytes = (a * o.n_columns // o.source.n_features for a in (o.source.pass_values, o.source.nbytes))
        state = o.n_passes, self.effective_dim, self.evenness, self.n_problems
        return plan_metric(*shape, pass_values, nbytes, *state, of_all_rows=of_all_rows)

    @property
    def is_exact(self):
        """Whether the metric is the Hessian, so that a fit takes Newton steps."""
        return self.plan.kind == EXACT

    @cached_property
    def small(self):
        """The objective for that: its rows are held in float64."""
        return SmallObjective(self.objective, self.absent)

    def metric_of_all_rows(self, point):
        """As :meth:`metric`, but no sample: for data of which none stands for the rest."""
        return self.metric(point, of_all_rows=True)

    def passes_of_all_rows(self):
        """What :meth:`metric_of_all_rows` takes, in passes."""
        return self._plan(of_all_rows=True).passes

    def metric(self, point, of_all_rows=False):
        """The metric at a point (n_outputs, n_columns), of the kind that costs a fit least by what is known so far.

        Raises
        ------
        FloatingPointError
            Where squares of the data overflow.
        """
        if not self.is_exact:
            self.plan = self._plan(of_all_rows)
        with np.errstate(over="raise", invalid="raise"):
            metric = self._make(point)
        metric.patience = patience(self.plan.passes, self.n_problems)
        metric.passes = self.plan.passes / self.n_problems
        return metric

    def _make(self, point):
        """The metric at a point; where no row there is unsure of its class, the next that there is.

        The one at the origin leads back from far out. With offsets all rows can be sure there too: then the metric is
        that of even probabilities, at no point (None).
        """
        sample = () if self.is_exact else self._sample(self.plan.n_rows)
        for at in (point, np.zeros_like(point), None):
            metric = self._exact(at) if self.is_exact else self._from_sample(at, *sample)
            if metric is not None:
                return metric
        raise AssertionError("unreachable")

    def _exact(self, point):
        return self.small.metric(point)

    def _from_sample(self, point, rows, row_weight):
        if self.plan.kind == HEAD:
            return self._head(point, rows, row_weight)
        if self.plan.kind == BLOCKS:
            return self._blocks(point, rows, row_weight)
        return self._kronecker(self._panels(point, rows, row_weight), self.objective.source.n_features, len(rows))

    def _head(self, point, rows, row_weight):
        """A Kronecker block for the features that many rows have, the diagonal for the others; None far out."""
        o = self.objective
        n, source = o.source.n_samples, o.source
        proba = o.proba(point)
        spread = proba * (1 - proba) * (1 / n if o.weight is None else o.weight[:, None] / n)
        if self.head_rows is None:
            self.head_rows = source.take_head(rows)
            if o.unscale is not None:
                self.head_rows *= o.unscale[source.head].astype(self.head_rows.dtype)
        panel = self.head_rows, proba[rows].astype(np.float64), row_weight
        kronecker = self._kronecker([panel], len(source.head), len(rows))
        if kronecker is None:
            return None
        diagonal = np.empty((o.n_outputs, o.n_columns))
        by_feature = diagonal[:, : source.n_features]
        by_feature[:] = o.passes.weighted_squares(source, spread)
        if o.unscale is not None:
            by_feature *= o.unscale**2
        by_feature += o.l2_reg_strength
        by_feature[by_feature == 0] = np.inf  # a feature that no row has, without a penalty: it stays where it is
        if o.fit_intercept:
            diagonal[:, -1] = np.maximum(spread.sum(axis=0), np.finfo(np.float64).tiny)
        columns = np.append(source.head, source.n_features) if o.fit_intercept else source.head
        return HeadMetric(DiagonalMetric(diagonal, o.pieces), columns, kronecker)

    def _blocks(self, point, rows, row_weight):
        """A Gram matrix for each class, of row weights s_i/S p_ik (1 - p_ik); None where no row has any."""
        o = self.objective
        sums, between = GramSums(o, o.source.n_features, o.n_outputs), np.zeros((o.n_outputs,) * 2)
        for X, proba, weight in self._panels(point, rows, row_weight):
            weighted = proba * weight[:, None]
            between += weighted.T @ proba
            sums.add(X, weighted * (1 - proba))
        if not sums.masses.max() > LEAST_MASS:
            return None
        roots = sums.roots(o.l2_reg_strength)
        self.effective_dim = roots.effective_dim
        return BlocksMetric(roots, laplacian(between))

    def _kronecker(self, panels, n_features, n_rows):
        """One Gram matrix, of row weights s_i/S sum_k p_ik (1 - p_ik); of low rank where the rows are few.

        None where all rows are sure of their class: far out, where no curvature is left.
        """
        o = self.objective
        between = np.zeros((o.n_outputs, o.n_outputs))
        low_rank = n_rows < n_features
        sums = None if low_rank else GramSums(o, n_features, 1)
        kept = np.empty((n_rows, n_features), o.source.dtype) if low_rank else None
        curvature = np.empty(0)
        for X, proba, weight in panels:
            weighted = proba * weight[:, None]
            between += weighted.T @ proba
            panel = (weighted * (1 - proba)).sum(axis=1)
            if low_rank:
                kept[len(curvature) : len(curvature) + len(X)] = X
            else:
                sums.add(X, panel[:, None])
            curvature = np.append(curvature, panel)
        mass = curvature.sum()
        if not mass > LEAST_MASS:
            return None
        between = laplacian(between) if o.n_outputs > 1 else np.full((1, 1), mass)
        self.evenness = max(mass**2 / (len(curvature) * (curvature @ curvature)), 1e-3)

        def factored(ridge):
            if low_rank:
                return self._low_rank(kept, curvature, ridge)
            return sums.factor(ridge)

        metric = KroneckerMetric(factored, between / mass, o.l2_reg_strength)
        self.effective_dim = metric.factor.effective_dim
        return metric

    def _low_rank(self, rows, row_weight, ridge):
        """Of rows that are used up: they are the one copy there is, and become the factor."""
        o = self.objective
        mass = max(row_weight.sum(), np.finfo(np.float64).tiny)
        center = None
        if o.fit_intercept:
            bands = [slice(start, start + 64) for start in range(0, len(rows), 64)]  # float64 is a copy
            center = sum(row_weight[band] @ rows[band] for band in bands) / mass
            rows -= center.astype(rows.dtype)
        rows *= np.sqrt(row_weight).astype(rows.dtype)[:, None]
        trace = float(np.vdot(rows, rows))
        # A sample leaves out the small directions of the rest: their share, by measurement about 0.3 of a direction's
        # mean. All rows leave out nothing, but the inverse is a difference, with digits for directions up to so much
        # larger.
        n_present = o.source.n_samples if o.weight is None else np.count_nonzero(o.weight)
        left_out = 0.3 / len(rows) if len(rows) < n_present else 100 * np.finfo(rows.dtype).eps
        return LowRankFactor(rows, ridge + left_out * trace, center, mass, o.n_outputs, o.n_threads)

    def _sample(self, n_rows):
        """Rows that stand for all, and the weights that make their sums means over all rows."""
        o = self.objective
        if n_rows in self.samples:
            return self.samples[n_rows]
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
        self.samples[n_rows] = sample
        return sample

    def _panels(self, point, rows, row_weight):
        """Sampled rows, some at a time, their probabilities and their weights."""
        o = self.objective
        # a row's features, and its probabilities in float64
        size = max(PANEL_BYTES // max(o.source.n_features * o.source.dtype.itemsize, 8 * o.n_outputs), 256)
        for start in range(0, len(rows), size):
            panel = slice(start, start + size)
            X, offset = o.rows(rows[panel])
            yield X, self._proba(X, offset, point), row_weight[panel]

    def _proba(self, X, offset, point):
        """Probabilities (n_rows, n_outputs), in float64, for small pieces of data; even ones where point is None."""
        o = self.objective
        if point is None:
            return np.full((len(X), o.n_outputs), 1 / o.n_classes)
        p = o.source.n_features
        scores = X @ point[:, :p].T.astype(X.dtype) + (point[:, p] if o.fit_intercept else np.zeros(len(point)))
        scores = scores + offset
        if o.n_outputs == 1:
            return expit(scores)
        scores -= scores.max(axis=1, keepdims=True)
        proba = np.exp(scores, out=scores)
        proba /= proba.sum(axis=1, keepdims=True)
        return proba


class GramSums:
    """Weighted Gram matrices of rows as they come, several of them over the same rows.

    With an intercept they are about the means of the rows. Those of each panel are taken about a point among them, and
    what lies between these points is put right in the end: a mean may be as far out as it likes, and no few rows have
    to stand for all.

    Parameters
    ----------
    objective : SoftmaxObjective
    n_features, n_blocks : int
    """

    def __init__(self, objective, n_features, n_blocks):
        self.objective, self.n_rows, p = objective, 0, n_features
        # small ones in float64, for the sake of ill-conditioned data
        dtype = np.float32 if objective.source.dtype == np.float32 and p > MAX_FLOAT64 else np.float64
        # filled, not np.zeros: pages that threads read before they write cost them 10 us each, on a virtual machine
        self.grams = [np.full((p, p), 0.0, dtype) for _ in range(n_blocks)]
        self.masses = np.full(n_blocks, np.finfo(np.float64).tiny)
        self.variance = np.zeros(p)  # of a few rows of each panel
        self.panels = []  # of each its origin, sums (n_blocks, n_features) about it, and masses

    def add(self, X, row_weight):
        """Add a panel of rows (n_rows, n_features) with weights (n_rows, n_blocks)."""
        self.n_rows += len(X)
        mass, sums = row_weight.sum(axis=0), np.zeros((len(self.grams), X.shape[1]))
        origin = self._origin(X, row_weight).astype(X.dtype)
        add_weighted_grams(X, row_weight, origin, self.grams, sums, self.objective.n_threads)
        self.masses += mass
        self.panels.append((origin, sums, mass))

    def _origin(self, X, row_weight):
        """A point so close to the weighted means that what is left is subtracted without cancellation; or zero."""
        X = X[:: -(-len(X) // ORIGIN_ROWS)].astype(np.float64, copy=False)
        if not self.objective.fit_intercept:
            self.variance = np.maximum(self.variance, np.square(X).mean(axis=0))
            return np.zeros(X.shape[1])
        self.variance = np.maximum(self.variance, X.var(axis=0))
        weight = row_weight[:: -(-len(row_weight) // ORIGIN_ROWS)].sum(axis=1)
        peak = weight.max(initial=0.0)
        weight = weight / peak if peak > 0 else np.ones(len(weight))
        return weight @ X / weight.sum()

    def centred(self, k):
        """The k-th matrix, lower triangle, about the mean of its rows, which is used up; that mean; and a floor."""
        gram, center = self.grams[k], None
        self.grams[k] = None  # or all of them would be kept beside their factors
        if self.objective.fit_intercept:
            mass = np.array([masses[k] for _, _, masses in self.panels])[:, None]
            offset = np.stack([sums[k] for _, sums, _ in self.panels]) / np.maximum(mass, np.finfo(np.float64).tiny)
            means = np.stack([origin for origin, _, _ in self.panels]) + offset
            center = means[0] + (mass * (means - means[0])).sum(axis=0) / self.masses[k]
            left, right = np.sqrt(mass) * offset, np.sqrt(mass) * (means - center)
            left, right = np.concatenate([-left, right]), np.concatenate([left, right])
            for start in range(0, len(gram), 256):  # in bands, to make no other matrix of this size
                band = slice(start, min(start + 256, len(gram)))
                gram[band, : band.stop] += left[:, band].T @ right[:, : band.stop]
        # A feature that no sampled row has would never move: it is taken to be as large as others are in one row.
        # So is one that all of them have alike, or all that are not sure of their class, but for rounding.
        diagonal, alike = gram.diagonal(), LEAST_SHARE * self.masses[k] * self.variance
        least = max(float(diagonal.mean()), float(alike.mean())) / self.n_rows
        if center is not None:
            rounding = 1e-3 * np.finfo(self.objective.source.dtype).eps * center
            alike = np.maximum(alike, self.masses[k] * np.square(rounding))
        return gram, center, (diagonal <= alike) * least

    def factor(self, ridge):
        """The inverse of the one matrix plus a ridge; it is used up."""
        gram, center, empty = self.centred(0)
        o = self.objective
        return GramFactor(gram, ridge, center, self.masses[0], o.source.dtype, o.n_outputs, o.n_threads, empty)

    def roots(self, ridge):
        """The inverse of each matrix plus a ridge, in halves; they are used up."""

        def make(k):
            gram, center, empty = self.centred(k)
            return gram, center, self.masses[k], empty

        o = self.objective
        return GramRoots(make, len(self.grams), ridge, o.source.dtype, o.n_threads)
