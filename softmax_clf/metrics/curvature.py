"""Metrics of an objective at a point, made from a sample of its rows."""

from functools import cached_property
from typing import Any

import numpy as np

from .factors import LowRankFactor
from .grams import GramSums
from .kinds import BlocksMetric, DiagonalMetric, HeadMetric, KroneckerMetric, laplacian
from .plan import BLOCKS, EXACT, HEAD, MAX_FLOAT64, MetricPlan, plan_metric, sparse_products_of_array
from .sample import RowSample
from .scheduled import ScheduledMetric, patience
from .small import LEAST_MASS, SmallObjective

_NEVER = 1 << 30  # iterations


class Curvature:
    """Makes the solver's metrics: chooses their kind, samples rows, forms and factors their weighted Gram matrices.

    Parameters
    ----------
    rows : LabelledRows
    elastic_net : ElasticNet
        The penalty, of which the first part is in the metrics; :meth:`set_penalty` changes it.
    passes_so_far : callable () -> float
        What the fits that a metric is for have taken each: a measure of how hard they are.
    n_problems : int
        Fits that a metric is to serve.
    absent : array (n_outputs,) bool, or None
        Outputs that are held at a probability of zero, for metrics that know it: see :attr:`small`.
    """

    is_partial = False  # whether its metrics know some of the features only
    takes_sparse_rows = True  # or all as arrays

    def __init__(self, rows, elastic_net, passes_so_far, n_problems=1, absent=None):
        self.rows, self.elastic_net, self.passes_so_far = rows, elastic_net, passes_so_far
        self.n_problems, self.absent = 1, absent
        self.effective_dim, self.evenness = None, 1.0
        self.sample = RowSample(rows)
        self.head_rows = None
        self.plan = self._plan()  # as for one fit: whether metrics are exact must not depend on who shares them
        self.n_problems = n_problems

    @classmethod
    def from_objective(cls, objective):
        """Makes the metrics of one objective, for a fit of its own."""
        return cls(objective, objective.elastic_net, lambda: objective.n_passes)

    def set_penalty(self, elastic_net):
        """Let metrics be those with another penalty, from now on."""
        self.elastic_net = elastic_net
        if "small" in vars(self):
            self.small.strength = elastic_net.l2_by_feature

    def leave_out(self, passes):
        """Leave passes, a callable () -> float, out of what fits have taken: they do not tell how hard these are."""
        all_passes = self.passes_so_far
        self.passes_so_far = lambda: max(all_passes() - passes(), 0)

    def foresee(self, elastic_net):
        """Expect metrics with another penalty to be as dear as it makes them.

        In more directions the data outweigh a weaker penalty. The ratio of their number to that of the other directions
        is taken to grow with the square root of C. On patch features (8,000 x 300) this foretold 31, 160 and 273
        directions where 38, 168 and 285 were found.
        """
        if self.effective_dim is None:
            return
        before, after = self.elastic_net.l2_reg_strength, elastic_net.l2_reg_strength
        d = max(self.effective_dim, 1.0)
        rest = max(self.rows.n_columns - d, 0.0)
        left = np.sqrt(after / before) if before else 0.0
        self.effective_dim = (d + rest) * d / (d + left * rest)

    def _plan(self, **options):
        o = self.rows
        if o.source.is_wide_and_sparse:
            return MetricPlan(HEAD, min(o.source.n_samples, max(10 * len(o.source.head), 1000)), 3.0)
        shape = o.source.n_samples, o.n_columns, o.n_outputs, o.source.dtype.itemsize
        # the intercept is a column more
        pass_values, nbytes = (a * o.n_columns // o.source.n_features for a in (o.source.pass_values, o.source.nbytes))
        state = self.passes_so_far(), self.effective_dim, self.evenness, self.n_problems
        return plan_metric(*shape, pass_values, nbytes, *state, gram_products=self.gram_products, **options)

    @cached_property
    def gram_products(self):
        """Those of a Gram matrix of all rows as sparse ones; None where it is made of arrays."""
        o = self.rows
        products, p = o.source.gram_products, o.source.n_features
        if not self.takes_sparse_rows or products is None or (o.source.dtype == np.float32 and p > MAX_FLOAT64):
            return None
        if not o.fit_intercept and o.source.take_sparse(np.empty(0, np.intp)).origin.any():
            return None  # sums of products about another point than zero
        return products if products < sparse_products_of_array(o.source.n_samples, p, o.source.dtype.itemsize) else None

    @property
    def is_exact(self):
        """Whether the metric is the Hessian, so that a fit takes Newton steps."""
        return self.plan.kind == EXACT

    @cached_property
    def small(self):
        """The objective for that: its rows are held in float64."""
        return SmallObjective(self.rows, self.elastic_net.l2_by_feature, self.absent)

    def metric_of_all_rows(self, point):
        """As :meth:`metric`, but no sample: for data of which none stands for the rest."""
        return self.metric(point, of_all_rows=True)

    def next_passes(self):
        """What :meth:`metric` takes next, in passes."""
        return self._plan().passes

    def passes_of_all_rows(self):
        """What :meth:`metric_of_all_rows` takes, in passes."""
        return self._plan(of_all_rows=True).passes

    def check_passes(self):
        """The same, where it knows more than others: infinite where there is no room for a block for each class."""
        plan = self._plan(of_all_rows=True)
        return plan.passes if plan.kind == BLOCKS or self.rows.n_outputs == 1 else np.inf

    def metric_in_common(self, point):
        """As :meth:`metric_of_all_rows`, but one matrix for all classes."""
        return self.metric(point, of_all_rows=True, in_common=True)

    def passes_in_common(self):
        """What that takes, in passes."""
        return self._plan(of_all_rows=True, in_common=True).passes

    def diagonal(self):
        """A metric of the variances of the features alone, with the classes' curvature where all rows are alike.

        Returns
        -------
        ScheduledMetric
            Never due.
        """
        o = self.rows
        mean, variance = o.moments()
        if not o.fit_intercept:
            variance = variance + np.square(mean)
        curvature = (1 - 1 / o.n_classes) / o.n_classes
        diagonal = np.full((o.n_outputs, o.n_columns), curvature)
        diagonal[:, : o.source.n_features] = curvature * variance + self.elastic_net.l2_by_feature
        diagonal[diagonal == 0] = np.inf  # a feature of one value, without a penalty: it stays where it is
        center = mean if o.fit_intercept and mean.any() else None
        return ScheduledMetric(DiagonalMetric(diagonal, o.pieces, center), _NEVER, 1.0)

    def metric(self, point, **options):
        """The metric at a point (n_outputs, n_columns), of the kind that costs a fit least by what is known so far.

        Returns
        -------
        ScheduledMetric

        Raises
        ------
        FloatingPointError
            Where squares of the data overflow.
        """
        if not self.is_exact:
            self.plan = self._plan(**options)
        with np.errstate(over="raise", invalid="raise"):
            metric = self._make(point)
        passes = self.plan.passes
        return ScheduledMetric(metric, patience(passes, self.n_problems), passes / self.n_problems)

    def _make(self, point):
        """Make the metric at a point, or at the origin if all rows are sure of their class at the point.

        Such rows have no curvature, so that there is nothing to make a metric of. At the origin there is, and steps of
        the metric there lead back from points that are far out. With offsets all rows can be sure of their class at the
        origin too; then the metric is made from even probabilities.
        """
        sample = () if self.is_exact else self.sample.draw(self.plan.n_rows)
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
        is_sparse = self.gram_products is not None and len(rows) >= self.rows.source.n_features
        panels = self.sample.panels(point, rows, row_weight, is_sparse)
        return self._kronecker(panels, self.rows.source.n_features, len(rows))

    def _head(self, point, rows, row_weight):
        """A Kronecker block for the features that many rows have, the diagonal for the others; None far out."""
        o = self.rows
        n, source = o.source.n_samples, o.source
        proba = o.proba(point)
        spread = proba * (1 - proba) * (1 / n if o.weight is None else o.weight[:, None] / n)
        if self.head_rows is None:
            self.head_rows = source.take_head(rows)
            if o.unscale is not None:
                self.head_rows *= o.unscale[source.head].astype(self.head_rows.dtype)
        panel = self.head_rows, proba[rows].astype(np.float64), row_weight
        kronecker = self._kronecker([panel], len(source.head), len(rows), source.head)
        if kronecker is None:
            return None
        diagonal = np.empty((o.n_outputs, o.n_columns))
        by_feature = diagonal[:, : source.n_features]
        by_feature[:] = o.passes.weighted_squares(source, spread)
        if o.unscale is not None:
            by_feature *= o.unscale**2
        by_feature += self.elastic_net.l2_by_feature
        by_feature[by_feature == 0] = np.inf  # a feature that no row has, without a penalty: it stays where it is
        if o.fit_intercept:
            diagonal[:, -1] = np.maximum(spread.sum(axis=0), np.finfo(np.float64).tiny)
        columns = np.append(source.head, source.n_features) if o.fit_intercept else source.head
        return HeadMetric(DiagonalMetric(diagonal, o.pieces), columns, kronecker)

    def _blocks(self, point, rows, row_weight):
        """A Gram matrix for each class, of row weights s_i/S p_ik (1 - p_ik); None where no row has any."""
        o = self.rows
        sums, between = GramSums(o, o.source.n_features, o.n_outputs), np.zeros((o.n_outputs,) * 2)
        for X, proba, weight in self.sample.panels(point, rows, row_weight, self.gram_products is not None):
            weighted = proba * weight[:, None]
            between += weighted.T @ proba
            sums.add(X, weighted * (1 - proba))
        if not sums.masses.max() > LEAST_MASS:
            return None
        roots = sums.roots(self.elastic_net.l2_by_feature)
        self.effective_dim = roots.effective_dim
        return BlocksMetric(roots, laplacian(between))

    def _kronecker(self, panels, n_features, n_rows, features=slice(None)):
        """One Gram matrix, of row weights s_i/S sum_k p_ik (1 - p_ik); of low rank where the rows are few.

        None where all rows are sure of their class: far out, where no curvature is left.
        """
        o = self.rows
        between = np.zeros((o.n_outputs, o.n_outputs))
        low_rank = n_rows < n_features
        sums: Any = None if low_rank else GramSums(o, n_features, 1)
        kept: Any = np.empty((n_rows, n_features), o.source.dtype) if low_rank else None
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
            ridge = self.elastic_net.by_feature(ridge, features)
            if low_rank:
                return self._low_rank(kept, curvature, ridge)
            return sums.factor(ridge)

        metric = KroneckerMetric(factored, between / mass, self.elastic_net.l2_reg_strength)
        self.effective_dim = metric.factor.effective_dim
        return metric

    def _low_rank(self, rows, row_weight, ridge):
        """Of rows that are used up: they are the one copy there is, and become the factor."""
        o = self.rows
        mass = max(row_weight.sum(), np.finfo(np.float64).tiny)
        center = None
        if o.fit_intercept:
            bands = [slice(start, start + 64) for start in range(0, len(rows), 64)]  # float64 is a copy
            center = sum(row_weight[band] @ rows[band] for band in bands) / mass
            rows -= center.astype(rows.dtype)
        rows *= np.sqrt(row_weight).astype(rows.dtype)[:, None]
        trace = float(np.vdot(rows, rows))
        # A sample has no curvature in directions that only other rows have. By measurement the mean direction of these
        # has about 0.3 of the curvature that a sampled one has. With all rows nothing is left out. But Woodbury's
        # inverse is a difference of two terms: where the curvature is more than 1 / (100 eps) times the ridge, the
        # difference has no digits.
        n_present = o.source.n_samples if o.weight is None else np.count_nonzero(o.weight)
        left_out = 0.3 / len(rows) if len(rows) < n_present else 100 * np.finfo(rows.dtype).eps
        ridge, widening = ridge + left_out * trace, None
        if np.ndim(ridge):
            ridge, widening = ridge.max(), np.sqrt(ridge / ridge.max())
            rows /= widening.astype(rows.dtype)
        return LowRankFactor(rows, ridge, center, mass, o.n_outputs, o.n_threads, widening)
