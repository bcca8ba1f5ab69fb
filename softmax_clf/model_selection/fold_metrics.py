"""Metrics for folds in lockstep: where rows abound, one serves all of them.

Folds see nearly the same rows, so that their Hessians differ as those of samples do, by about d/m with d directions in
which m rows outweigh the penalty. Rows that are fitted well carry no curvature and do not count. The metric that they
share is that of the mean of their objectives, at the mean of their points. On embeddings (50,000 x 512) metrics of each
fold's own took a quarter more time. Each C begins with the last metric of the C before: where it begins is too far from
where it ends for a new one to be worth its cost.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np

from ..metrics.kinds import AmongClasses
from ..metrics.quadratic import QuadraticCurvature
from ..penalty import ElasticNet
from ..rows import LabelledRows

_SHARED_NOISE = 0.2  # relative difference of two folds' Hessians up to which they share a metric
_MOST_STIFF = 10  # times that a metric of all rows may be too stiff where the next C takes it over


@dataclass(frozen=True)
class FoldRows:
    """The rows of some folds, which differ in weight and scale, and of the mean of their objectives.

    Attributes
    ----------
    folds : list of LabelledRows
    mean : LabelledRows
    n_effective : float
        Rows that each fold has at least, counting those that weigh little as fewer.
    """

    folds: list
    mean: LabelledRows
    n_effective: float

    @classmethod
    def from_data(cls, data, y, weights, scale, **options):
        """The rows of training data by folds.

        Parameters
        ----------
        data : TrainingData
        y : array
            Its labels or target probabilities, these of the dtype of the source, so that they are held once.
        weights : list of array (n_samples,) float64
            One a fold. They are taken out of the list, so that those of each fold are held once.
        scale : array (n_folds, n_features), or None
            Standard deviations of the features.
        **options : dict
            As in :class:`~..rows.LabelledRows`.
        """
        rows = data.source, y, data.n_classes
        mean_weight = sum(weight / weight.sum() for weight in weights)
        mean_scale = None if scale is None else _mean_of_finite(scale)
        mean = LabelledRows(*rows, sample_weight=mean_weight, scale=mean_scale, **options)
        options["passes"] = mean.passes  # metrics are made one after the other
        folds, n_effective = [], np.inf
        while weights:
            scale_of_fold = None if scale is None else scale[len(folds)]
            fold = LabelledRows(*rows, sample_weight=weights.pop(0), scale=scale_of_fold, **options)
            n_effective = min(n_effective, data.source.n_samples**2 / (fold.weight @ fold.weight))
            folds.append(fold)
        return cls(folds, mean, n_effective)


def _mean_of_finite(scale):
    """Means over folds (n_folds, n_features), inf for features that are to have no coefficients in any of them."""
    finite = np.isfinite(scale)
    counts = finite.sum(axis=0)
    return np.where(counts > 0, np.where(finite, scale, 0.0).sum(axis=0) / np.maximum(counts, 1), np.inf)


class FoldMetrics:
    """Makes the metrics of folds, one C after the other.

    Parameters
    ----------
    mean : Curvature
        Of the mean of the folds' objectives.
    curvatures : list of Curvature
        Of each fold.
    absent : array (n_folds, n_outputs) bool
    n_effective : float
        Rows that a fold has.

    Attributes
    ----------
    is_hard : array (n_folds,) bool
        Folds that were searched in subspaces.
    is_shared : bool
        Whether one metric serves all folds, at the C that was begun last.
    n_made : int
        Metrics made for that C.
    """

    def __init__(self, mean, curvatures, absent, n_effective):
        self.mean, self.curvatures, self.absent, self.n_effective = mean, curvatures, absent, n_effective
        self.is_hard = np.zeros(len(curvatures), bool)
        self.points = {}  # where each fold is: not where its line search tries, which may be far out
        self.loss = np.ones(len(curvatures))  # there, in units of the null model's objective
        self.last_shared, self.newest_call, self.n_made = None, -1, 0
        self.of_all_rows = [None] * len(curvatures)  # of each fold the last one, and the strength of the penalty in it

    @classmethod
    def of_kind(cls, kind, rows, elastic_nets, absent, passes_so_far):
        """Those of a kind of curvature.

        Parameters
        ----------
        kind : type
            :class:`~..metrics.curvature.Curvature`, or that of an L1 penalty,
            :class:`~..metrics.quadratic.QuadraticCurvature`.
        rows : FoldRows
        elastic_nets : list of ElasticNet
        absent : array (n_folds, n_outputs) bool
        passes_so_far : callable () -> int
            How many passes a fit may take, as known from the C before.
        """
        # a model with an L1 penalty has all outputs: the threshold of those that are held is infinite
        held = [None] * len(absent) if issubclass(kind, QuadraticCurvature) else absent
        parts = zip(rows.folds, elastic_nets, held, strict=True)
        curvatures = [kind(fold, net, passes_so_far, absent=outputs) for fold, net, outputs in parts]
        mean = kind(rows.mean, ElasticNet(), passes_so_far, n_problems=len(rows.folds))
        return cls(mean, curvatures, absent, rows.n_effective)

    def begin(self, elastic_nets):
        """Take the penalties of the folds for the next C."""
        self.newest_call, self.n_made = -1, 0
        l2 = float(np.mean([net.l2_reg_strength for net in elastic_nets]))
        mean = replace(elastic_nets[0], l2_reg_strength=l2, l1_reg_strength=0.0, bounds=None)
        self.mean.foresee(mean)
        self.mean.set_penalty(mean)
        for curvature, elastic_net in zip(self.curvatures, elastic_nets, strict=True):
            curvature.set_penalty(elastic_net)
        d = self.mean.effective_dim or self.mean.rows.n_columns
        exclusive = self.mean.is_exact or self.mean.is_partial
        self.is_shared = not exclusive and d <= _SHARED_NOISE * self.loss.mean() * self.n_effective

    def move_to(self, m, point, objective):
        """A fold is at a point, the start or one that its line search has accepted."""
        self.points[m] = point
        loss = objective / self.curvatures[m].rows.null_objective
        self.loss[m] = min(loss, 1.0) if np.isfinite(loss) else 1.0

    def maker(self, m):
        """A function from a point, and the gradient there where a solver gives it, to a metric for one fold."""
        curvature, absent = self.curvatures[m], self.absent[m]
        calls = itertools.count()

        def make(point, *grad):
            call = next(calls)
            is_lost = call > 0 and not point.any()  # then it asks for the metric at the origin
            if self.is_shared and not is_lost and not absent.any():
                self.points[m] = point
                return self._shared(call, *grad)
            self.n_made += 1
            metric = curvature.metric(point, *grad)
            return metric.with_matrix(AmongClasses(metric.matrix, ~absent)) if absent.any() and not grad else metric

        return make

    def maker_of_all_rows(self, m):
        """A function from a point to a metric for one fold that leaves out no row, for a fold that is hard.

        It is the fold's own: rows of high leverage are in some folds and not in others. It takes as long as a hundred
        passes, and so serves the next C, too, for which it is too stiff by what the penalty has become weaker at most.
        """
        curvature, absent = self.curvatures[m], self.absent[m]
        calls = itertools.count()

        def make(point):
            strength = curvature.elastic_net.l2_reg_strength
            if next(calls) == 0 and self.of_all_rows[m] is not None:
                last, strength_there = self.of_all_rows[m]
                if strength_there <= _MOST_STIFF * strength:
                    there = last.objective_there * max(strength_there / strength, 1.0)
                    return replace(last, objective_there=there, is_handed_on=True)
            self.n_made += 1
            self.is_hard[m], self.of_all_rows[m] = True, None  # the memory of the last is the new one's
            metric = replace(
                curvature.metric_of_all_rows(point),
                objective_there=float(self.loss[m]) * curvature.rows.null_objective,
            )
            if absent.any():
                metric = metric.with_matrix(AmongClasses(metric.matrix, ~absent))
            self.of_all_rows[m] = metric, strength
            return metric

        return make

    def _shared(self, call, *grad):
        """The metric of the folds that ask for one for the so many-th time at this C: made for the first of them."""
        if call <= self.newest_call:
            return self.last_shared
        self.newest_call = call
        if call == 0 and self.last_shared is not None:
            self.last_shared = replace(self.last_shared, is_handed_on=True)
            return self.last_shared
        self.n_made += 1
        self.last_shared = None  # its memory is the new one's
        metric = self.mean.metric(np.mean(list(self.points.values()), axis=0), *grad)
        there = float(self.loss.max()) * self.mean.rows.null_objective
        self.last_shared = replace(metric, objective_there=there)
        return self.last_shared
