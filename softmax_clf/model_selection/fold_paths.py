"""Fits of some folds for one C after the other, in lockstep, each from where it was."""

from dataclasses import replace
from functools import partial

import numpy as np

from ..columns import Columns, suits_columns
from ..kernels.threads import Pieces
from ..objective import StackedObjectives
from ..penalty import ElasticNet
from ..pooled import PooledSource, curvature_class
from ..solvers.lbfgs import Memory
from ..solvers.newton import newton, relay
from ..solvers.proximal import proximal_newton
from ..solvers.stopping import allowed_suboptimality
from ..solvers.subspace import Rows, n_slots, search
from ..solvers.working_set import sparse_relay
from .fold_metrics import FoldMetrics, FoldRows
from .lockstep import Lockstep
from .memory import N_PAIRS, searched_bytes

_HANDED_ON = 10  # of the pairs of L-BFGS, to the next C


class FoldPaths:
    """The paths of some folds along C, with one l1_ratio.

    Parameters
    ----------
    data : TrainingData
    weights : list of array (n_samples,) float64
        One a fold; they are taken out of the list.
    scale : array (n_folds, n_features), or None
        Standard deviations of the features.
    l1_ratio : float
    settings : FitSettings
    unit : float
        Of the features, where ``scale`` stands for that.
    kinds : list of dict
        What :meth:`~..penalty.ElasticNet.from_C` takes besides strengths, for each fold.
    score_watch : ScoreWatch, or None
        Of the rows that the folds hold out.
    """

    def __init__(self, data, weights, scale, *, l1_ratio, settings, unit, kinds, score_watch=None):
        self.l1_ratio, self.settings, self.unit, self.score_watch = l1_ratio, settings, unit, score_watch
        self.kinds = kinds
        source, self.n_folds = data.source, len(weights)
        options = {"fit_intercept": settings.fit_intercept, "n_threads": settings.n_threads}
        options["offset"] = None if data.offset is None else np.ascontiguousarray(data.offset, source.dtype)
        y = data.y if data.y.ndim == 1 else np.ascontiguousarray(data.y, source.dtype)
        self.stack = StackedObjectives(source, y, data.n_classes, sample_weight=weights, scale=scale, **options)
        n_effective = [source.n_effective(w) for w in weights] if isinstance(source, PooledSource) else None
        self.rows = FoldRows.from_data(data, y, weights, scale, **options)
        if n_effective is not None:  # its rows are kinds of rows
            self.rows = replace(self.rows, n_effective=min(n_effective))
        self.n_passes = self.difficulty = 0  # the most passes that a C took; and that as the metrics of a C know it
        nets = self._elastic_nets(1.0)
        self.metrics = self._metrics(nets[0].is_smooth)
        self.columns = None
        if all(suits_columns(source, self.stack.n_outputs, net) for net in nets):
            folds = zip(self.rows.folds, self.stack.absent, strict=True)
            self.columns = [Columns(rows, absent) for rows, absent in folds]
        self.noise = 4 * np.finfo(source.dtype).eps
        shape = self.n_folds, self.stack.n_outputs, source.n_features + int(settings.fit_intercept)
        self.trail = [(np.nan, list(np.zeros(shape)))]  # log(C) and points, of the last two C
        size = shape[1] * shape[2]
        self.memories = [Memory(N_PAIRS, Pieces(size, 1)) for _ in range(self.n_folds)]
        self.ends = [None] * self.n_folds  # the last point of each and the gradient there

    def _elastic_nets(self, C):
        """The penalties of the folds at one C."""
        parts = zip(self.stack.sw_sum.tolist(), self.kinds, strict=True)
        return [ElasticNet.from_C(C, self.l1_ratio, total, self.unit, **kind) for total, kind in parts]

    def _metrics(self, is_smooth):
        kind = curvature_class(self.stack.source, is_smooth)
        return FoldMetrics.of_kind(kind, self.rows, self.stack.elastic_nets, self.stack.absent, lambda: self.difficulty)

    def minimise_at(self, C, start=None, to_tol=True):
        """Minimise for the next C, which should be larger than the last.

        Parameters
        ----------
        C : float
        start : array (n_folds, n_outputs, n_columns), or None
            Points to start from, where they are known better than by the last C.
        to_tol : bool
            Whether to go on to ``tol``, or until the loss of the rows held out is known well enough.

        Returns
        -------
        list of Solution, one a fold
        """
        stack, before, self.C = self.stack, self.stack.elastic_nets, C
        stack.set_penalties(self._elastic_nets(float(C)))
        if self.l1_ratio and stack.elastic_nets[0].is_smooth:  # no penalty
            self.metrics = self._metrics(is_smooth=True)
        if not self._goes_by_columns():
            self._change_penalties(before)
        self.difficulty = self.n_passes
        self.metrics.begin(stack.elastic_nets)
        start = self._start(np.log(C)) if start is None else start
        if stack.elastic_nets[0].bounds is not None:
            start = np.stack([net.put_within(s.copy()) for net, s in zip(stack.elastic_nets, start, strict=True)])
            start[stack.absent] = 0.0
        self.ends_early = not to_tol
        if self.ends_early:
            self.score_watch.begin()
        solvers = {m: self._solver(m, start[m]) for m in range(self.n_folds)}
        n_passes = stack.n_passes
        # a look at the rows that a fold holds out takes those of other folds into account, as far as they are
        n_threads = self.settings.n_threads if self._goes_by_columns() and not self.ends_early else 1
        solutions = Lockstep(stack, solvers, self.metrics.move_to, n_threads).run()
        self.ends = [None if s.grad is None else (s.point, s.grad) for s in solutions]
        taken = (stack.n_passes - n_passes) / self.n_folds
        self.n_passes = max(self.n_passes, round(taken))  # few, with a dear metric, do not make the next C easy
        self.trail = [self.trail[-1], (np.log(C), [solution.point for solution in solutions])]
        if self.settings.verbose > 1:
            ratio = f"l1_ratio={self.l1_ratio:.4g}, " if self.l1_ratio else ""
            print(f"{ratio}C={C:.4g}: {taken:.1f} passes a fold, {self.metrics.n_made} metrics in all")
        return solutions

    def _goes_by_columns(self):
        """Whether at this C working sets suit all folds."""
        return self.columns is not None and not np.isinf(self.C)

    def _change_penalties(self, before):
        """Let the pairs of each fold, and the gradient where it is, be those with the penalties of now."""
        p, points = self.stack.source.n_features, self.trail[-1][1]
        for m, (old, new) in enumerate(zip(before, self.stack.elastic_nets, strict=True)):
            change = new.by_feature(new.l2_reg_strength - old.l2_reg_strength)
            self.memories[m].hand_on(_HANDED_ON, change, points[m].shape, p)
            if self.ends[m] is not None:
                point, grad = self.ends[m]
                grad[:, :p] += change * point[:, :p]

    def _start(self, log_C):
        """On, along the line through the last two solutions in log(C): 15 % fewer passes than from the last."""
        (log_C_before, points_before), (last_log_C, last_points) = self.trail[0], self.trail[-1]
        gap = last_log_C - log_C_before
        if not (gap > 0 and np.isfinite(log_C)):
            return last_points
        share = min((log_C - last_log_C) / gap, 1.0)
        return [
            last if self._goes_ahead(m) else last + share * (last - before)
            for m, (before, last) in enumerate(zip(points_before, last_points, strict=True))
        ]

    def _goes_ahead(self, m):
        """Whether the solver of a fold goes on along that line by itself, as working sets do."""
        return self.columns is not None and not self.columns[m].has_given_up

    # ------------------------------------------------------------------------------------------------ one fold's solver

    def _solver(self, m, start):
        """The solver of one fold."""
        make_metric = self.metrics.maker(m)
        common = {
            "target": self._target(m),
            "max_iter": self.settings.max_iter,
            "noise": self.noise,
            "report": partial(self._report, m),
        }
        curvature = self.metrics.curvatures[m]
        elastic_net = self.stack.elastic_nets[m]
        if self._goes_by_columns() and not self.columns[m].has_given_up:
            options = self.columns[m].take_penalty(elastic_net) | common | {"with_grad": False}
            return sparse_relay(start, partial(self._by_models, m, common), columns=self.columns[m], **options)
        if not elastic_net.is_smooth:
            return self._by_models(m, common, start)
        if curvature.is_exact:
            return newton(start, curvature.small, **common)
        rows = self._searched_rows(m)
        if self.metrics.is_hard[m] and rows is not None:  # at the last C, and a larger one is no easier
            return search(start, rows=rows, **common)
        common |= {"memory": self.memories[m], "before": self.ends[m], "rows": rows}
        return relay(start, curvature, make_metric, **common)

    def _by_models(self, m, common, start, solution=None):
        """The solver of one fold by models of all features."""
        common = common | {"nonsmooth": self.stack.nonsmooth(m), "settle": partial(self.stack.with_least_penalty, m)}
        common |= {"exact": self.metrics.curvatures[m].is_exact, "solution": solution}
        return proximal_newton(start, self.metrics.maker(m), memory=N_PAIRS, **common)

    def _report(self, m, solution):
        """Take note of where the solver of one fold is; whether that is far enough."""
        self.metrics.move_to(m, solution.point, solution.objective)
        if not self.ends_early:
            return False
        coef, intercept = self.stack.split([m], solution.point[None])
        return self.score_watch.look(m, solution, self.stack.null_objective[m], coef[0], intercept[0])

    def _searched_rows(self, m):
        """What the solver of one fold may know of its rows, if there is memory for it."""
        stack, source = self.stack, self.stack.source
        if source.is_wide_and_sparse or isinstance(source, PooledSource):  # as in a fit of one
            return None
        row_bytes = source.n_samples * stack.n_outputs * source.dtype.itemsize
        n = n_slots(searched_bytes(self.n_folds), row_bytes, self.trail[-1][1][m].nbytes)
        if n is None:
            return None
        make_metric, curvature = self.metrics.maker_of_all_rows(m), self.metrics.curvatures[m]
        costs = curvature.passes_of_all_rows, curvature.plan.search_passes
        return Rows(partial(stack.row_search, m), n, partial(stack.penalty_product, m), make_metric, *costs)

    def _target(self, m):
        """What a fold's objective may be above its minimum, as a function of the point: the rule of the classifier."""

        def target(point, penalty=None):
            null_objective = self.stack.null_objective[m]
            penalty = self.stack.penalty(m, point) if penalty is None else penalty
            allowed = allowed_suboptimality(self.settings.tol, null_objective, penalty, self.noise)
            return allowed - self.stack.blur(m, point)

        return target

    # ------------------------------------------------------------------------------------------------ what was found

    def coefficients(self, solutions):
        """Coefficients (n_folds, n_outputs, n_features) and intercepts (n_folds, n_outputs), none of them infinite."""
        return self.stack.split(np.arange(self.n_folds), np.stack([s.point for s in solutions]))

    def points_at(self, paths):
        """The points of coefficients (n_folds, n_outputs, n_columns) as they are kept."""
        points, p = paths.astype(np.float64), self.stack.source.n_features
        if self.stack.unscale is not None:
            unscale = self.stack.unscale[:, None]
            points[..., :p] = np.divide(points[..., :p], unscale, where=unscale > 0, out=np.zeros_like(points[..., :p]))
        points[self.stack.absent] = 0.0
        return points

    def dev_ratio(self, solutions):
        """The share of the null model's deviance that each fold's solution explains."""
        known = [self.stack.penalty(m, s.point) if s.penalty is None else s.penalty for m, s in enumerate(solutions)]
        loss = np.array([s.objective for s in solutions]) - known
        return 1 - loss / self.stack.null_objective

    def put_coefficients(self, m, solution, out):
        """Write what a fold has found into zeros (n_outputs, n_features): where known, only what is not zero."""
        used, unscale = solution.nonzero, self.stack.unscale
        if used is None:
            out[:] = self.stack.split([m], solution.point[None])[0][0]
        else:
            out[used] = solution.point[used] if unscale is None else solution.point[used] * unscale[m, used[1]]

    def held_out_scores(self, solutions):
        """Minus the mean loss and the accuracy of rows held out, means over folds."""
        parts = zip(self.score_watch.held_out, *self.coefficients(solutions), strict=True)
        return np.nanmean([held_out.scores(*point) for held_out, *point in parts], axis=0)
