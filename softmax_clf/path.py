"""Choosing C and l1_ratio: regularisation paths, and the classifier that picks them by cross-validation.

Every fold is a row of weights over the same rows, zero where it holds out, so that one pass over X serves all folds.
They walk down the strengths of the penalty together, from the strongest, each from where it was. Measured against
everything at once from zero, on embeddings (10,000 x 512, 10 classes, 10 values of C, 5 folds): 857 instead of 1,214
passes times problems, in memory for one C at a time. Where rows abound one metric, of the mean of the folds'
objectives, serves all of them; on embeddings (50,000 x 512) metrics of each fold's own took a quarter more time.
Each l1_ratio is a walk of its own.
"""

import difflib
import inspect
import itertools
import warnings
from collections import defaultdict
from dataclasses import replace
from functools import cache, partial
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    LeaveOneGroupOut,
    LeavePGroupsOut,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted

from .callbacks import Task
from .columns import Columns, suits_columns
from .estimator import SoftmaxRegressionClassifier, all_or_nothing
from .held_out import HeldOut, Watch
from .kernels.compiling import compilation_told
from .kernels.threads import Pieces, effective_n_threads, on_one_blas_thread
from .left_out import MEASURES, LeftOut
from .messages import check_start, overflow_named
from .metrics.curvature import Curvature
from .metrics.kinds import AmongClasses
from .metrics.quadratic import QuadraticCurvature
from .objective import StackedObjectives
from .out_of_fold import out_of_fold_proba
from .penalty import ElasticNet, penalty_strength
from .prediction import SoftmaxClassifier
from .rows import ABSENT, LabelledRows, cross_entropy
from .sklearn_private import (
    Interval,
    StrOptions,
    check_method_params,
    fit_context,
    raise_for_params,
    routing_enabled,
    safe_indexing,
)
from .solvers.lbfgs import Memory
from .solvers.newton import newton, relay
from .solvers.proximal import l1_norm, proximal_newton
from .solvers.questions import Arrived, AtScores, Naturals, Scores
from .solvers.stopping import allowed_suboptimality
from .solvers.subspace import Rows, n_slots, search
from .solvers.working_set import working_set
from .sources.arrays import RowSlices, as_numpy, is_lazy
from .sources.sparse import CsrSource
from .sources.stream import StreamSource
from .strengths import largest_C
from .training_data import TrainingData, standard_deviations, unit_of, without_constants
from .validation import checked_weight, comparable, holdout, targets_among

_STACK_BYTES = 1 << 28  # what the problems that are solved at a time may take, beside X
_SHARED_NOISE = 0.2  # relative difference of two folds' Hessians up to which they share a metric
_PAIRS = 20  # steps and gradient changes that L-BFGS keeps for a problem
_HANDED_ON = 10  # of them, to the next C
# As in glmnet a path ends where the deviance explained is this, or grows by no more than this share, after so many C.
_EXPLAINED, _GROWTH, _LEAST_CS = 0.999, 1e-5, 5
_WIDE_RANGE, _RANGE = 1e2, 1e3  # of an integer Cs beside an L1 penalty, where features outnumber rows or not
_WATCHED_BYTES = 1 << 25  # what rows that are held out may take while the folds of a turn are solved, see `HeldOut`


# ---------------------------------------------------------------------------------------------------------------------
# The walk


class _Metrics:
    """Metrics for folds in lockstep, at one C: where rows abound, one serves all folds.

    Folds see nearly the same rows, so that their Hessians differ as those of samples do, by about d/m with d directions
    in which m rows outweigh the penalty. Rows that are fitted well carry no curvature and do not count. The metric that
    they share is that of the mean of their objectives, at the mean of their points. Each C begins with the last metric
    of the C before: where it begins is too far from where it ends for a new one to be worth its cost.

    Parameters
    ----------
    mean : Curvature
        Of the mean of the folds' objectives.
    curvatures : list of Curvature
        Of each fold.
    absent : array (n_folds, n_outputs) bool
    n_rows : float
        Rows that a fold has.
    """

    def __init__(self, mean, curvatures, absent, n_rows):
        self.mean, self.curvatures, self.absent, self.n_rows = mean, curvatures, absent, n_rows
        self.last = None
        self.is_hard = np.zeros(len(curvatures), bool)  # folds that were searched in subspaces
        self.points = {}  # where each fold is: not where its line search tries, which may be far out
        self.loss = np.ones(len(curvatures))  # there, in units of the null model's objective

    def begin(self, elastic_nets):
        """Take the penalties of the folds for the next C."""
        self.newest, self.n_made = -1, 0
        mean = ElasticNet(float(np.mean([net.l2_reg_strength for net in elastic_nets])))
        self.mean.foresee(mean)
        self.mean.set_penalty(mean)
        for curvature, elastic_net in zip(self.curvatures, elastic_nets, strict=True):
            curvature.set_penalty(elastic_net)
        d = self.mean.effective_dim or self.mean.rows.n_columns
        exclusive = self.mean.is_exact or self.mean.is_partial
        self.shared = not exclusive and d <= _SHARED_NOISE * self.loss.mean() * self.n_rows

    def move(self, m, point, objective):
        """A fold is at a point, the start or one that its line search has accepted."""
        self.points[m] = point
        loss = objective / self.curvatures[m].rows.null_objective
        self.loss[m] = min(loss, 1.0) if np.isfinite(loss) else 1.0

    def of(self, m):
        """A function from a point, and the gradient there where a solver gives it, to a metric for one fold."""
        curvature, absent = self.curvatures[m], self.absent[m]
        calls = itertools.count()

        def make(point, *grad):
            call = next(calls)
            is_lost = call > 0 and not point.any()  # then it asks for the metric at the origin
            if self.shared and not is_lost and not absent.any():
                self.points[m] = point
                return self._shared(call, *grad)
            self.n_made += 1
            metric = curvature.metric(point, *grad)
            return metric.with_matrix(AmongClasses(metric.matrix, ~absent)) if absent.any() and not grad else metric

        return make

    def of_all_rows(self, m):
        """A function from a point to a metric for one fold that leaves out no row, for a fold that is hard.

        It is the fold's own: rows of high leverage are in some folds and not in others.
        """
        curvature, absent = self.curvatures[m], self.absent[m]

        def make(point):
            self.n_made += 1
            self.is_hard[m] = True
            metric = curvature.metric_of_all_rows(point)
            return metric.with_matrix(AmongClasses(metric.matrix, ~absent)) if absent.any() else metric

        return make

    def _shared(self, call, *grad):
        if call > self.newest:
            self.newest = call
            if call > 0 or self.last is None:
                self.n_made += 1
                self.last = None  # its memory is the new one's
                metric = self.mean.metric(np.mean(list(self.points.values()), axis=0), *grad)
                there = float(self.loss.max()) * self.mean.rows.null_objective
                self.last = replace(metric, objective_there=there)
            else:
                self.last = replace(self.last, is_handed_on=True)
        return self.last


class _Walk:
    """Fits of every row of weights for one C after the other, all rows in lockstep.

    Parameters
    ----------
    source : row source of n_samples rows
    y : array (n_samples,) intp
    n_classes : int
    sample_weight : list of array (n_samples,) float64
        One a fold; they are taken out of the list.
    scale : array (n_folds, n_features), or None
        Standard deviations of the features.
    l1_ratio, fit_intercept, tol, max_iter, verbose
        As in the classifier.
    n_threads : int
    unit : float
        Of the features, where ``scale`` stands for that.
    watch : Watch, or None
        Of the rows that the folds hold out.
    """

    def __init__(
        self,
        source,
        y,
        n_classes,
        sample_weight,
        scale,
        *,
        l1_ratio,
        fit_intercept,
        tol,
        max_iter,
        n_threads,
        verbose,
        unit,
        watch=None,
    ):
        self.l1_ratio, self.watch = l1_ratio, watch
        self.tol, self.max_iter, self.verbose, self.unit = tol, max_iter, verbose, unit
        common = {"fit_intercept": fit_intercept, "n_threads": n_threads}
        self.stack = StackedObjectives(source, y, n_classes, sample_weight=sample_weight, scale=scale, **common)
        self.n_folds = len(sample_weight)
        mean_weight = sum(weight / total for weight, total in zip(sample_weight, self.stack.sw_sum, strict=True))
        mean = LabelledRows(
            source,
            y,
            n_classes,
            sample_weight=mean_weight,
            scale=None if scale is None else _mean_of_finite(scale),
            **common,
        )
        folds, n_rows = [], np.inf
        for m in range(self.n_folds):
            rows = LabelledRows(
                source,
                y,
                n_classes,
                sample_weight=sample_weight[m],
                scale=None if scale is None else scale[m],
                passes=mean.passes,  # metrics are made one after the other
                **common,
            )
            sample_weight[m] = None  # used up: rows of each fold are held once
            folds.append(rows)
            n_rows = min(n_rows, source.n_samples**2 / (rows.weight @ rows.weight))
        self.mean, self.folds, self.n_rows = mean, folds, n_rows
        self.n_passes = self.difficulty = 0  # the most passes that a C took; and that as the metrics of a C know it
        self.metrics = self._metrics(QuadraticCurvature if l1_ratio else Curvature)
        self.columns = None
        if l1_ratio and suits_columns(source, self.stack.n_outputs):
            self.columns = [Columns(rows, absent) for rows, absent in zip(folds, self.stack.absent, strict=True)]
        self.noise = 4 * np.finfo(source.dtype).eps
        shape = self.n_folds, self.stack.n_outputs, source.n_features + int(fit_intercept)
        self.trail = [(np.nan, np.zeros(shape))]  # log(C) and points, of the last two C
        size = shape[1] * shape[2]
        self.memories = [Memory(_PAIRS, Pieces(size, 1)) for _ in range(self.n_folds)]
        self.before = [None] * self.n_folds  # the last point of each and the gradient there

    def _metrics(self, kind):
        def passes_so_far():
            return self.difficulty

        nets, absent = self.stack.elastic_nets, self.stack.absent
        # a model with an L1 penalty has all outputs: the threshold of those that are held is infinite
        held = [None] * len(absent) if kind is QuadraticCurvature else absent
        curvatures = [kind(rows, nets[m], passes_so_far, absent=held[m]) for m, rows in enumerate(self.folds)]
        mean = kind(self.mean, ElasticNet(), passes_so_far, n_problems=self.n_folds)
        return _Metrics(mean, curvatures, absent, self.n_rows)

    def to(self, C, start=None, exactly=True):
        """Minimise for the next C, which should be larger than the last.

        Parameters
        ----------
        C : float
        start : array (n_folds, n_outputs, n_columns), or None
            Points to start from, where they are known better than by the last C.
        exactly : bool
            Whether to go on to ``tol``, or until the loss of the rows held out is known well enough.

        Returns
        -------
        list of Solution, one a fold
        """
        stack = self.stack
        before = stack.elastic_nets  # which the memories and the gradients are for
        stack.elastic_nets = [ElasticNet.of(float(C), self.l1_ratio, s, self.unit) for s in stack.sw_sum.tolist()]
        if self.l1_ratio and np.isinf(C):  # no penalty
            self.metrics = self._metrics(Curvature)
        p, points = stack.source.n_features, self.trail[-1][1]
        by_columns = self.columns and any(net.l1_reg_strength for net in stack.elastic_nets)
        changes = [] if by_columns else list(zip(before, stack.elastic_nets, strict=True))
        for m, (old, new) in enumerate(changes):
            change = new.l2_reg_strength - old.l2_reg_strength
            self.memories[m].hand_on(_HANDED_ON, change, points[m].shape, p)
            if self.before[m] is not None:
                point, grad = self.before[m]
                grad[:, :p] += change * point[:, :p]
        self.difficulty = self.n_passes
        self.metrics.begin(stack.elastic_nets)
        start = self._start(np.log(C)) if start is None else start
        self.is_watching = not exactly
        if self.is_watching:
            self.watch.begin()
        solvers = {m: self._solver(m, start[m]) for m in range(self.n_folds)}
        n_passes = stack.n_passes
        solutions = _lockstep(stack, solvers, self.metrics.move)
        self.before = [None if s.grad is None else (s.point, s.grad) for s in solutions]
        taken = (stack.n_passes - n_passes) / self.n_folds
        self.n_passes = max(self.n_passes, round(taken))  # few, with a dear metric, do not make the next C easy
        self.trail = [self.trail[-1], (np.log(C), np.stack([solution.point for solution in solutions]))]
        if self.verbose > 1:
            ratio = f"l1_ratio={self.l1_ratio:.4g}, " if self.l1_ratio else ""
            print(f"{ratio}C={C:.4g}: {taken:.1f} passes a fold, {self.metrics.n_made} metrics in all")
        return solutions

    def dev_ratio(self, solutions):
        """The share of the null model's deviance that each fold's solution explains."""
        loss = [s.objective - self.stack.penalty(m, s.point) for m, s in enumerate(solutions)]
        return 1 - np.array(loss) / self.stack.null_objective

    def _solver(self, m, start):
        """The solver of one fold."""
        make_metric = self.metrics.of(m)
        common = {
            "target": self._target(m),
            "max_iter": self.max_iter,
            "noise": self.noise,
            "report": partial(self._report, m),
        }
        curvature = self.metrics.curvatures[m]
        elastic_net = self.stack.elastic_nets[m]
        if elastic_net.l1_reg_strength and self.columns:
            return working_set(start, self.columns[m], **self.columns[m].take_penalty(elastic_net), **common)
        if elastic_net.l1_reg_strength:
            common |= {"threshold": self.stack.threshold(m), "settle": partial(self.stack.settled, m)}
            common["exact"] = curvature.is_exact
            return proximal_newton(start, make_metric, memory=_PAIRS, **common)
        if curvature.is_exact:
            return newton(start, curvature.small, **common)
        rows = self._rows(m)
        if self.metrics.is_hard[m] and rows is not None:  # at the last C, and a larger one is no easier
            return search(start, rows=rows, **common)
        common |= {"memory": self.memories[m], "before": self.before[m], "rows": rows}
        return relay(start, curvature, make_metric, **common)

    def _report(self, m, solution):
        """Take note of where the solver of one fold is; whether that is far enough."""
        self.metrics.move(m, solution.point, solution.objective)
        if not self.is_watching:
            return False
        coef, intercept = self.stack.split([m], solution.point[None])
        return self.watch.is_enough(m, solution, self.stack.null_objective[m], coef[0], intercept[0])

    def scores(self, solutions):
        """Minus the mean loss and the accuracy of rows held out, means over folds."""
        coef, intercept = self.stack.split(np.arange(self.n_folds), np.stack([s.point for s in solutions]))
        parts = zip(self.watch.held_out, coef, intercept, strict=True)
        return np.nanmean([held_out.scores(*point) for held_out, *point in parts], axis=0)

    def points_of(self, paths):
        """The points of coefficients (n_folds, n_outputs, n_columns) as they are kept."""
        points, p = paths.astype(np.float64), self.stack.source.n_features
        if self.stack.unscale is not None:
            unscale = self.stack.unscale[:, None]
            points[..., :p] = np.divide(points[..., :p], unscale, where=unscale > 0, out=np.zeros_like(points[..., :p]))
        points[self.stack.absent] = 0.0
        return points

    def _rows(self, m):
        """What the solver of one fold may know of its rows, if there is memory for it."""
        stack, source = self.stack, self.stack.source
        if source.is_wide_and_sparse:  # as in a fit of one
            return None
        row_bytes = source.n_samples * stack.n_outputs * source.dtype.itemsize
        n = n_slots(_STACK_BYTES // self.n_folds, row_bytes, self.trail[-1][1][m].nbytes)
        if n is None:
            return None
        make_metric, curvature = self.metrics.of_all_rows(m), self.metrics.curvatures[m]
        costs = curvature.passes_of_all_rows, curvature.plan.search_passes
        return Rows(partial(stack.row_search, m), n, partial(stack.penalty_product, m), make_metric, *costs)

    def _target(self, m):
        """What a fold's objective may be above its minimum, as a function of the point: the rule of the classifier."""

        def target(point, penalty=None):
            null_objective = self.stack.null_objective[m]
            penalty = self.stack.penalty(m, point) if penalty is None else penalty
            return allowed_suboptimality(self.tol, null_objective, penalty, self.noise) - self.stack.blur(m, point)

        return target

    def _start(self, log_C):
        """On, along the line through the last two solutions in log(C): 15 % fewer passes than from the last."""
        (before_log_C, before), (last_log_C, last) = self.trail[0], self.trail[-1]
        gap = last_log_C - before_log_C
        if self.columns or not (gap > 0 and np.isfinite(log_C)):
            return last
        return last + min((log_C - last_log_C) / gap, 1.0) * (last - before)


def _mean_of_finite(scale):
    """Means over folds (n_folds, n_features), inf for features that are to have no coefficients in any of them."""
    finite = np.isfinite(scale)
    counts = finite.sum(axis=0)
    return np.where(counts > 0, np.where(finite, scale, 0.0).sum(axis=0) / np.maximum(counts, 1), np.inf)


def _lockstep(stack, solvers, begin):
    """Run solvers, one a problem: each round answers what those that have not ended ask for, alike in one pass.

    Parameters
    ----------
    stack : StackedObjectives
    solvers : dict of problem to generator
    begin : callable (problem, point, objective)
        Told of where each problem starts, of all before any solver is.

    Returns
    -------
    list of Solution, in the order of the problems
    """
    solutions, asked, begun = {}, {}, False

    def tell(m, answer):
        try:
            asked[m] = solvers[m].send(answer)
        except StopIteration as end:
            solutions[m] = end.value
            if solutions[m].grad is not None:
                solutions[m].grad = solutions[m].grad.copy()  # no view, which would keep those of the others

    for m in solvers:
        tell(m, None)
    while asked:
        by_metric = defaultdict(list)
        for m, question in asked.items():
            if isinstance(question, Naturals):
                by_metric[id(question.metric)].append(m)
        if by_metric:
            for problems in by_metric.values():
                questions = [asked.pop(m) for m in problems]
                grads = itertools.chain.from_iterable(question.grads for question in questions)
                steps = questions[0].metric.solve_all(np.stack(list(grads)))
                ends = itertools.accumulate(len(question.grads) for question in questions)
                parts = [steps[start:end] for start, end in itertools.pairwise([0, *ends])]
                del questions, steps  # or they and their metric would be kept beside the next
                for m in problems:
                    tell(m, parts.pop(0))
            continue
        if going := [m for m, question in asked.items() if isinstance(question, Arrived)]:
            stack.n_passes += len(going)
            for m in going:
                del asked[m]
                tell(m, None)
            continue
        if going := sorted(m for m, question in asked.items() if isinstance(question, Scores)):
            questions = [asked.pop(m) for m in going]
            outs, are_directions = [q.out for q in questions], [q.is_direction for q in questions]
            stack.raw_scores(going, [q.point for q in questions], outs, are_directions)
            for m in going:
                tell(m, None)
            continue
        if going := sorted(m for m, question in asked.items() if isinstance(question, AtScores)):
            questions = [asked.pop(m) for m in going]
            results = stack.evaluate_at(going, [q.point for q in questions], [q.scores for q in questions])
            for m, result in zip(going, results, strict=True):
                tell(m, result)
            continue
        going = sorted(asked)
        points = [asked.pop(m) for m in going]
        results = stack.evaluate(going, points)
        if not begun:
            begun = True
            for m, point, (objective, grad) in zip(going, points, results, strict=True):
                if stack.n_passes == len(going):
                    check_start(stack, objective, grad)
                l1 = l1_norm(point, stack.threshold(m)) if stack.elastic_nets[m].l1_reg_strength else 0.0
                begin(m, point, objective + l1)
        for m, result in zip(going, results, strict=True):
            tell(m, result)
    return [solutions[m] for m in sorted(solutions)]


def _fold_bytes(n_outputs, n_columns, n_samples, itemsize, sparse=False):
    """What one fold takes beside X while it is solved, without its metric."""
    # pairs, and what they are renewed by; points, gradients, steps, and the passes' own copies
    points = ((3 + 2) * (_PAIRS + 1) + 16) * n_outputs * n_columns * 8
    # a fold's weights, those of the passes, sampled rows with theirs; what passes over sparse rows keep of each row is
    # padded by a third
    rows = n_samples * (8 + itemsize + 2 * 8 + (4 * n_outputs * itemsize // 3 if sparse else 0))
    return points + rows


def _turns(n_folds, *sizes, sparse=False):
    """Slices of the folds, as many at a time as may be stacked; parameters as of :func:`_fold_bytes`."""
    size = max(_STACK_BYTES // _fold_bytes(*sizes, sparse=sparse), 1)
    n_turns = -(-n_folds // size)
    bounds = [n_folds * t // n_turns for t in range(n_turns + 1)]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def _as_Cs(Cs):
    """The values of C, as an array."""
    if isinstance(Cs, Integral):
        return np.logspace(-4, 4, int(Cs))  # which :func:`_from_C_max` replaces beside an L1 penalty
    values = np.asarray(Cs, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not (values > 0).all():
        raise ValueError(
            f"Expected Cs to be an integer or a 1-d array of positive numbers, got {Cs!r}. Remedy: give an array, "
            "such as np.logspace(-4, 4, 10)."
        )
    return values


def _explains_no_more(dev_ratio):
    """Whether a path of fits (n_folds, n_Cs) is at its end, in every fold."""
    if dev_ratio.shape[1] < _LEAST_CS:
        return False
    before, last = dev_ratio[:, -2], dev_ratio[:, -1]
    return bool(((last > _EXPLAINED) | (last - before < _GROWTH * last)).all())


def _from_C_max(estimator, rows, l1_ratios, Cs):
    """The values of C; for an integer and L1 penalties as many from where all coefficients are zero."""
    if not isinstance(estimator.Cs, Integral) or not l1_ratios.all():
        return Cs
    largest = largest_C(estimator, rows.data)
    if not np.isfinite(largest):
        return Cs
    span = _WIDE_RANGE if rows.source.n_features > rows.source.n_samples else _RANGE
    return np.geomspace(l1_ratios.min() * largest, span * l1_ratios.max() * largest, len(Cs))


def _as_l1_ratios(l1_ratios):
    """The values of l1_ratio, as an array; None stands for no L1 penalty."""
    values = np.array([0.0] if l1_ratios is None else [r or 0.0 for r in l1_ratios], dtype=np.float64)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"Expected l1_ratios to be a 1-d array of numbers from 0 to 1, got {l1_ratios!r}. Remedy: give an array, "
            "such as [0, 0.5, 1]."
        )
    return values


# ---------------------------------------------------------------------------------------------------------------------
# The estimator


class SoftmaxRegressionClassifierCV(SoftmaxClassifier):
    """:class:`SoftmaxRegressionClassifier` that chooses C and l1_ratio by cross-validation.

    All folds share each pass over X. Each cell of the table, an l1_ratio and a C on a fold, is a fit of its own to its
    own optimum: what is shared is the work.

    Parameters
    ----------
    Cs : int or array-like, default=10
        The values of C; for an integer, as many from 1e-4 to 1e4 in equal ratios. ``np.inf`` is no penalty. Where all
        `l1_ratios` are positive, an integer counts from where all coefficients are zero, the :func:`C_max` of the least
        of them, to 1000 times that of the largest, or 100 times where features outnumber rows; with one l1_ratio it
        ends before that where the deviance explained, `dev_ratio_`, is more than 0.999 in all folds or hardly grows.
    cv : int, splitter, iterable of (train, test), 'holdout' or 'loo', default=None
        None is 5 stratified folds, an integer that many. 'holdout' is one fold: a random `validation_fraction` of the
        rows is held out, by class where each has rows enough. A row that ``train`` names twice counts twice. 'loo'
        holds out every row by itself, approximately: each C is fitted to all rows, and one Newton step without a row
        tells what it would be without it (:func:`~softmax_clf.inspection.leave_one_out`). There is one "fold" then, of
        all rows, no L1 penalty, and the score is 'neg_log_loss' or 'accuracy'. The Hessian has to fit into 1 GB, and is
        made and inverted for each C, which many features times classes make slow.
    scoring : str or callable, default=None
        Any scorer of scikit-learn, the greater the better. None is 'neg_log_loss': minus the mean cross-entropy of
        the rows held out.
    l1_ratios : array-like, default=(0.0,)
        The values of l1_ratio, each from 0 (L2 penalty only) to 1 (L1 penalty only); None is 0 only.
    refit : bool, default=True
        Whether to fit the chosen C and l1_ratio on all rows. Otherwise, as in
        :class:`sklearn.linear_model.LogisticRegressionCV`, the coefficients and values of C and l1_ratio that are the
        best for each fold are averaged.
    selection : 'best' or '1se', default='best'
        'best' takes the C and l1_ratio of the best mean score, the smaller C where equal, and of equal ones the
        l1_ratio that comes first; '1se' takes the same l1_ratio, and the smallest C whose mean score with it is within
        one standard error of the best (L. Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).
    score_tol : float, default=0.1
        How exactly cells are solved that are not to be chosen: until the mean loss (cross-entropy) of the rows held out
        is estimated to be off by at most so many standard errors of its mean over all folds, or to `tol`, if that comes
        first. Those chosen, the next C on both sides, and all that could be chosen instead are solved to `tol`, and so
        are all while scores still rise from C to C. 0 solves every cell to `tol`.
    validation_fraction : float, default=0.1
        Used with ``cv='holdout'`` only.
    fit_intercept, standardize, class_weight, tol, max_iter
        As in :class:`SoftmaxRegressionClassifier`, for each fit: standard deviations and 'balanced' weights are those
        of its training rows. For `tol` see `score_tol`.
    n_jobs : int, default=None
        Threads, as in :class:`SoftmaxRegressionClassifier`.
    random_state : int, RandomState instance or None, default=None
        Used with ``cv='holdout'`` only.
    store_oof_proba : bool, default=False
        Whether to keep the probabilities of the rows held out, as `oof_proba_`.
    verbose : int, default=0
        1 to print what was chosen and by which score, 2 or more for every C and how the last fit ended.

    Attributes
    ----------
    C_, l1_ratio_ : float
        The chosen ones.
    Cs_ : ndarray (n_Cs,)
        The values of C, as they were given. Without the largest, where a callback has stopped before them.
    l1_ratios_ : ndarray (n_l1_ratios,)
    scores_ : ndarray (n_folds, n_l1_ratios, n_Cs)
    best_score_ : float
        Mean over folds of the scores of the chosen C and l1_ratio; with ``refit=False`` the best mean.
    cv_results_ : dict of arrays (n_l1_ratios * n_Cs,)
        The scores under the names that they have in :class:`sklearn.model_selection.GridSearchCV`, such as
        ``param_C``, ``mean_test_score`` and ``rank_test_score``, for a data frame. There are no times: folds and values
        of C are fitted together.
    score_errors_ : ndarray (n_folds, n_l1_ratios, n_Cs)
        What the mean loss of the rows held out may be off by in cells that were left before `tol`, an estimate; zero in
        the others. Other scores are off by about as many of their own standard errors as that loss is of its.
    coefs_paths_ : ndarray (n_folds, n_l1_ratios, n_Cs, n_outputs, n_features + fit_intercept)
        Coefficients of every cell, as exact as `score_tol` says, the intercept last. A class that the training rows of
        a fold lack has zeros, and as intercept minus infinity. n_outputs is 1 for two classes.
    oof_proba_ : ndarray (n_samples, n_classes)
        Only with `store_oof_proba`: probabilities of each row by the fold that holds it out, at the chosen C and
        l1_ratio, or with ``refit=False`` at those that are the best for this fold. They are what its cell of
        `coefs_paths_` predicts, and :func:`sklearn.model_selection.cross_val_predict` at the same `cv` and `tol`, but
        where a fold has two of more classes: that would fit a model with one vector. Means where several folds hold a
        row out, NaN where none does. A class that the fold's training rows lack has zero.
    dev_ratio_ : ndarray (n_folds, n_l1_ratios, n_Cs)
        The share of the deviance of the null model that each cell explains, in its training rows.
    coef_, intercept_, classes_, n_features_in_, feature_names_in_
        As in the classifier.
    n_iter_, converged_, objective_, suboptimality_, suboptimality_is_bound_, loss_curve_
        As in the classifier, of the fit on all rows. With ``refit=False`` the first two only: the most iterations of a
        cell, and whether all have converged.

    Notes
    -----
    Beside X there are: the numbers of the rows that ``cv`` gives for each fold; for each fold that is solved at a time,
    about 120 arrays of the size of the coefficients in float64, twice as many where some l1_ratio is not zero, and
    4 of length n_samples (for sparse X, 4/3 n_classes more), in all at most 256 MB or one fold's, whichever is more
    (more folds than that are taken in turns); rows that these hold out, at most 32 MB or 1000 of each fold, whichever
    is more; a copy of one fold's held-out rows while they are scored; and ``coefs_paths_``. Not in the bound: metrics,
    one for all these folds or one for each, of up to 100 MB or a quarter of X each, whichever is more, two of them for
    a while where a new one replaces one for all folds; and the transpose of sparse X.

    Callbacks of :mod:`sklearn.callback` (scikit-learn 1.9 and later), given by ``set_callbacks``, are told of each C,
    from the smallest on, and of the fit on all rows. One that stops the former leaves out larger values of C.

    A row held out whose class is absent from the training rows has a probability of zero, which counts as
    -log(2.2e-16) = 36.04, for float32 X -log(1.2e-7) = 15.94: probabilities closer to zero or one than the last digit
    of their precision are taken to be as close as that, as in :func:`sklearn.metrics.log_loss`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> SoftmaxRegressionClassifierCV().fit(X, y).predict(X[:2])
    array([0, 0])
    """

    # as in LogisticRegressionCV: what `score` passes on is the scorer's affair
    __metadata_request__score = {"sample_weight": "$UNUSED$"}

    _parameter_constraints = {
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "cv": ["cv_object", StrOptions({"holdout", "loo"})],
        "scoring": [str, callable, None],
        "l1_ratios": ["array-like", None],
        "refit": ["boolean"],
        "selection": [StrOptions({"best", "1se"})],
        "score_tol": [Interval(Real, 0, None, closed="left")],
        "store_oof_proba": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        **{
            name: SoftmaxRegressionClassifier._parameter_constraints[name]
            for name in ("fit_intercept", "standardize", "class_weight", "tol", "max_iter", "n_jobs", "verbose")
        },
    }

    def __init__(
        self,
        Cs=10,
        *,
        cv=None,
        scoring=None,
        l1_ratios=(0.0,),
        refit=True,
        selection="best",
        score_tol=0.1,
        validation_fraction=0.1,
        fit_intercept=True,
        standardize=False,
        class_weight=None,
        tol=1e-6,
        max_iter=1000,
        n_jobs=None,
        random_state=None,
        store_oof_proba=False,
        verbose=0,
    ):
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.l1_ratios = l1_ratios
        self.refit = refit
        self.selection = selection
        self.score_tol = score_tol
        self.validation_fraction = validation_fraction
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.store_oof_proba = store_oof_proba
        self.verbose = verbose

    @property
    def partial_fit(self):
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit, since folds are made of all the rows. Remedy: choose C by fit, "
            "and stream with SoftmaxRegressionClassifier(C)."
        )

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, **params):
        """Fit every C on every fold, choose, and fit the chosen C on all rows.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            As in :meth:`SoftmaxRegressionClassifier.fit`.
        y : array-like (n_samples,)
        sample_weight : array-like (n_samples,), default=None
            Non-negative weights of the rows, in fitting and in scoring.
        **params : dict
            ``groups`` for the splitter, as in :class:`sklearn.model_selection.GridSearchCV`; with metadata routing
            anything for the splitter and the scorer.

        Returns
        -------
        self
        """
        raise_for_params(params, self, "fit", allow=["groups"])
        with all_or_nothing(self), np.errstate(under="ignore"), compilation_told(self.verbose):
            return self._fit_cv(X, y, sample_weight, params)

    def _fit_cv(self, X, y, sample_weight, params):
        if self.selection == "1se" and not self.refit:
            raise ValueError(
                "Expected refit=True with selection='1se', got refit=False, which averages what is the best for each "
                "fold. Remedy: leave refit=True, or set selection='best'."
            )
        Cs, l1_ratios = _as_Cs(self.Cs), _as_l1_ratios(self.l1_ratios)
        self._get_scorer()  # or it says that there is none of this name
        task = Task.of_fit(self, 1 + self.refit, X, y, sample_weight=sample_weight)
        rows = _Rows(self, X, y, sample_weight)
        Cs = _from_C_max(self, rows, l1_ratios, Cs)
        split_params, score_params = self._routed(sample_weight, rows, params)
        folds = self._folds(rows, split_params)
        if self.selection == "1se" and len(folds) < 2:
            raise ValueError(
                "Expected at least 2 folds with selection='1se', for the standard error of the scores, got 1. Remedy: "
                "set cv to an integer, or selection='best'."
            )

        trains, tests = zip(*folds, strict=True)
        left_out = self._left_out(rows, l1_ratios, score_params) if self._is_loo() else None
        walked = _Walked(self, rows, trains, l1_ratios, Cs, task, None if left_out else tests)
        n_tried, Cs = len(Cs), walked.Cs
        scores = np.empty((len(folds), len(l1_ratios), len(Cs)))
        score = partial(self._score_cells, scores, rows, walked, tests, score_params)
        if left_out:
            scores[0, 0] = [left_out.score(*walked.cell(0, 0, c), C) for c, C in enumerate(Cs)]
        else:
            score(np.ones(scores.shape, bool))
        _check_finite(scores, l1_ratios, Cs)
        while True:  # until what is chosen was solved to tol, and what could be chosen instead
            mean_scores = _means(scores)
            chosen = self._chosen(scores, mean_scores, Cs)
            changed = walked.go_on(self._needed(scores, mean_scores, chosen, walked))
            if not changed.any():
                break
            score(changed)

        fitted = {
            "classes_": rows.classes,
            "Cs_": Cs,
            "l1_ratios_": l1_ratios,
            "l1_ratio_": float(l1_ratios[chosen[0]]),
            "C_": float(Cs[chosen[1]]),
            "scores_": scores,
            "best_score_": float(mean_scores[chosen]),
            "score_errors_": walked.errors,
            "coefs_paths_": walked.paths,
            "dev_ratio_": walked.dev_ratio,
        }
        if self.store_oof_proba and left_out:
            fitted["oof_proba_"] = left_out.proba(*walked.cell(0, *chosen), fitted["C_"])
        elif self.store_oof_proba:
            cells = [chosen] * len(folds) if self.refit else _best_of_folds(scores)
            classifiers = (walked.classifier(f, *cell, finite=False) for f, cell in enumerate(cells))
            fitted["oof_proba_"] = out_of_fold_proba(classifiers, tests, rows.held_out, len(rows.y), len(rows.classes))
        if self.verbose:
            ratio = f" and l1_ratio={fitted['l1_ratio_']:.4g}" if len(l1_ratios) > 1 else ""
            of = "rows left out one at a time" if left_out else f"rows held out in {len(folds)} folds"
            print(
                f"chose C={fitted['C_']:.4g}{ratio} among {mean_scores.size} tried: mean {self._score_name()} "
                f"{mean_scores[chosen]:.6g} of {of}"
            )
        if self.refit:
            coef, intercept = walked.mean_over_folds(walked.as_on_all_rows(*chosen))
            intercept = np.where(np.isneginf(intercept), 0.0, intercept)  # of a class that no fold knows
            vars(rows.source).pop("columns", None)  # the transpose of sparse X, of which the refit makes its own
            final = self._classifier(fitted["C_"], fitted["l1_ratio_"]).set_params(verbose=max(self.verbose - 1, 0))
            with task.fit_of("refit", final):
                final.fit(
                    rows.X,
                    rows.y,
                    sample_weight,
                    coef_init=coef,
                    intercept_init=intercept if self.fit_intercept else None,
                )
            own = ("n_features_in_", "feature_names_in_")
            fitted |= {name: value for name, value in vars(final).items() if name.endswith("_") and name not in own}
        else:
            best = _best_of_folds(scores)
            coef, intercept = walked.mean_over_folds([walked.paths[f, r, c] for f, (r, c) in enumerate(best)])
            fitted |= {
                "C_": float(np.mean([Cs[c] for _, c in best])),
                "l1_ratio_": float(np.mean([l1_ratios[r] for r, _ in best])),
                "coef_": coef.astype(walked.paths.dtype),
                "intercept_": intercept.astype(walked.paths.dtype),
                "n_iter_": int(walked.n_iters.max()),
                "converged_": bool(walked.converged.all()),
            }
        of_a_fit = ("objective_", "suboptimality_", "suboptimality_is_bound_", "loss_curve_", "oof_proba_")
        for name in of_a_fit:  # an earlier one
            vars(self).pop(name, None)
        vars(self).update(fitted)
        task.end(dict)
        if not walked.converged.all():
            warnings.warn(walked.not_converged(), ConvergenceWarning, stacklevel=4)
        if len(Cs) == n_tried:  # no callback has stopped before the largest
            _warn_of_edge(mean_scores, Cs)
        return self

    def _scale(self, source, weight, n_threads):
        return standard_deviations(source, weight, self.fit_intercept, n_threads)

    def _without_constants(self, source, weight, scale):
        return without_constants(source, weight, self.fit_intercept, scale)

    @property
    def cv_results_(self):
        check_is_fitted(self, "scores_")
        ratios, Cs = (grid.ravel() for grid in np.meshgrid(self.l1_ratios_, self.Cs_, indexing="ij"))
        cells = self.scores_.reshape(len(self.scores_), -1)
        mean = cells.mean(axis=0)
        results = {"param_C": Cs, "param_l1_ratio": ratios}
        results["params"] = [{"C": C, "l1_ratio": r} for C, r in zip(Cs.tolist(), ratios.tolist(), strict=True)]
        results |= {f"split{f}_test_score": scores for f, scores in enumerate(cells)}
        worst_last = np.where(np.isfinite(mean), -mean, np.inf)
        rank = rankdata(worst_last, method="min").astype(np.int32)
        return results | {"mean_test_score": mean, "std_test_score": cells.std(axis=0), "rank_test_score": rank}

    def _score_name(self):
        if self.scoring is None or isinstance(self.scoring, str):
            return self.scoring or "neg_log_loss"
        return getattr(self.scoring, "__name__", None) or "score"

    def _l1_share(self):
        return self.l1_ratio_ if hasattr(self, "l1_ratio_") else _as_l1_ratios(self.l1_ratios).min()

    def _classifier(self, C, l1_ratio):
        names = ("fit_intercept", "standardize", "class_weight", "tol", "max_iter", "n_jobs")
        return SoftmaxRegressionClassifier(C, l1_ratio=l1_ratio, **{name: getattr(self, name) for name in names})

    def _is_loo(self):
        return isinstance(self.cv, str) and self.cv == "loo"

    def _left_out(self, rows, l1_ratios, score_params):
        """What scores fits by approximate leave-one-out."""
        measure = self.scoring or "neg_log_loss"
        if measure not in MEASURES:
            raise ValueError(
                f"Expected scoring to be None, {' or '.join(map(repr, MEASURES))} with cv='loo', got {self.scoring!r}. "
                "Remedy: take one of these, or set cv to an integer."
            )
        if l1_ratios.any():
            raise ValueError(
                f"Expected l1_ratios of zero with cv='loo', got {l1_ratios.tolist()}: beside an L1 penalty, which "
                "coefficients are zero may change with a row. Remedy: set cv to an integer."
            )
        options = {"fit_intercept": self.fit_intercept, "standardize": self.standardize}
        weight = score_params.get("sample_weight")
        return LeftOut(rows.data, measure, weight, n_threads=effective_n_threads(self.n_jobs), **options)

    def _folds(self, rows, split_params):
        """Training and test rows of each fold, as indices."""
        if self._is_loo():
            return [(np.arange(len(rows.y)), np.arange(len(rows.y)))]
        if isinstance(self.cv, str):
            cv = holdout(rows.y_index, self.validation_fraction, self.random_state)
        else:
            cv = check_cv(self.cv, rows.y, classifier=True)
            self._check_classes(cv, rows)
        if split_params.get("groups") is None and _needs_groups(cv):
            raise ValueError(
                f"Expected groups for cv={cv!r}, which splits by them, got none. Remedy: pass fit(X, y, groups=...), a "
                "label of its group for each row."
            )
        folds = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class in y has only")  # it does not name the class
            split = list(cv.split(rows.X, rows.y, **split_params))
        for f, fold in enumerate(split):
            train, test = (np.asarray(part) for part in fold)
            train, test = (np.flatnonzero(part) if part.dtype == bool else part for part in (train, test))
            for name, part in (("training", train), ("test", test)):
                if not len(part):
                    raise ValueError(
                        f"Expected rows in every fold, but fold {f} has no {name} rows. Remedy: change cv."
                    )
                if not (-len(rows.y) <= part.min() and part.max() < len(rows.y)):
                    raise ValueError(
                        f"Expected cv to give places of the {len(rows.y)} rows, but fold {f} has {name} rows from "
                        f"{part.min()} to {part.max()}. Remedy: make cv for these rows."
                    )
            folds.append((train % len(rows.y), test % len(rows.y)))  # places may be counted from the end
        if not folds:
            raise ValueError(
                f"Expected at least one fold, but cv={self.cv!r} gives none. Remedy: set cv to an integer."
            )
        return folds

    def _check_classes(self, cv, rows):
        """Name the class that is smaller than a number of stratified folds."""
        if not isinstance(cv, StratifiedKFold):
            return
        counts = np.bincount(rows.y_index, minlength=len(rows.classes))
        if counts.max() < cv.n_splits:
            raise ValueError(
                f"Expected a class with a row for each of {cv.n_splits} folds, but the largest, "
                f"{rows.classes[counts.argmax() :][:1].tolist()[0]!r}, has {counts.max()}. Remedy: set cv to at most "
                f"{counts.max()}, or give more rows."
            )
        if counts.min() < cv.n_splits:
            least = counts.argmin()
            warnings.warn(
                f"The least populated class in y, {rows.classes[least:][:1].tolist()[0]!r}, has only {counts[least]} "
                f"members, which is less than n_splits={cv.n_splits}: some folds hold out none of it. Remedy: set cv "
                f"to at most {max(counts[least], 2)}, or give more rows of it.",
                stacklevel=6,
            )

    def _chosen(self, scores, mean_scores, Cs):
        """Indices of the chosen l1_ratio and C."""
        least = mean_scores.max()
        good_ratios, good_Cs = np.nonzero(mean_scores >= least)
        r = int(good_ratios[np.argmin(Cs[good_Cs])])
        if self.selection == "1se":
            least = self._least(scores, mean_scores, r)
        good = np.flatnonzero(mean_scores[r] >= least)
        return r, int(good[np.argmin(Cs[good])])

    def _least(self, scores, mean_scores, r):
        """The best mean score with an l1_ratio, less its standard error."""
        best = int(np.argmax(mean_scores[r]))
        return mean_scores[r, best] - scores[:, r, best].std(ddof=1) / np.sqrt(len(scores))

    def _routed(self, sample_weight, rows, params):
        """What the splitter and the scorer are given."""
        if routing_enabled():
            routed = process_routing(self, "fit", sample_weight=sample_weight, **params)
            # 'holdout' and 'loo' are no objects that metadata could be routed to
            return {} if isinstance(self.cv, str) else routed.splitter.split, routed.scorer.score
        groups = params.get("groups")
        split_params = {} if groups is None or isinstance(self.cv, str) else {"groups": as_numpy(groups, "groups")}
        return split_params, {} if sample_weight is None else {"sample_weight": rows.sample_weight}

    def _get_scorer(self):
        if self.scoring is not None:
            if isinstance(self.scoring, str) and self.scoring not in get_scorer_names():
                close = difflib.get_close_matches(self.scoring, get_scorer_names(), n=3)
                meant = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
                raise ValueError(
                    f"Expected scoring to be the name of a scorer of scikit-learn, got {self.scoring!r}. {meant}"
                    "Remedy: choose one of sklearn.metrics.get_scorer_names(), or give a callable."
                )
            return get_scorer(self.scoring)
        scorer = get_scorer("neg_log_loss")
        return scorer.set_score_request(sample_weight=True) if routing_enabled() else scorer

    def _needed(self, scores, mean_scores, chosen, walked):
        """Cells to be solved to ``tol``: those chosen, the next C on both sides, and what could be chosen instead.

        Parameters
        ----------
        scores : array (n_folds, n_l1_ratios, n_Cs)
        mean_scores : array (n_l1_ratios, n_Cs)
        chosen : tuple of int
            Indices of the l1_ratio and the C.
        walked : _Walked

        Returns
        -------
        array (n_folds, n_l1_ratios, n_Cs) bool
        """
        needed, place = np.zeros(scores.shape, bool), np.argsort(np.argsort(walked.Cs, kind="stable"))
        unsure = self._unsure(scores, walked)

        def add(folds, r, c):
            needed[folds, r, np.abs(place - place[c]) <= 1] = True

        if not self.refit:
            for f, (r, c) in enumerate(_best_of_folds(scores)):
                add(f, r, c)
                needed[f] |= scores[f] + unsure >= scores[f, r, c]
            return needed
        add(slice(None), *chosen)
        needed |= mean_scores + unsure >= mean_scores.max()
        if self.selection == "1se":
            r, best = chosen[0], int(np.argmax(mean_scores[chosen[0]]))
            add(slice(None), r, best)
            needed[:, r] |= np.abs(mean_scores[r] - self._least(scores, mean_scores, r)) <= unsure[r]
        return needed

    def _unsure(self, scores, walked):
        """What mean scores (n_l1_ratios, n_Cs) of cells that were left before ``tol`` may be off by."""
        if self._is_log_loss():
            return walked.errors.mean(axis=0)
        if len(scores) == 1:
            return np.zeros(scores.shape[1:])
        with np.errstate(invalid="ignore"):
            error = self.score_tol * scores.std(axis=0, ddof=1) / np.sqrt(len(scores))
        return np.where(walked.exact.all(axis=0) | ~np.isfinite(error), 0.0, error)

    def _is_log_loss(self):
        return self.scoring in (None, "neg_log_loss")

    def _score_cells(self, scores, rows, walked, tests, score_params, cells):
        """Write scores of some cells, (n_folds, n_l1_ratios, n_Cs) bool, with one fold's copy of its rows at a time."""
        with config_context(assume_finite=True):  # the rows have been looked at once
            for f in np.flatnonzero(cells.any(axis=(1, 2))):
                params = check_method_params(rows.X, params=score_params, indices=tests[f])
                score = self._score_on(rows.held_out(tests[f]), rows.y[tests[f]], rows.classes, params)
                for r, c in np.argwhere(cells[f]):
                    scores[f, r, c] = score(walked.classifier(f, r, c))
                del score

    def _score_on(self, X, y, classes, params):
        """A function of a classifier, its score on rows whose labels may lack some of the classes."""
        scorer = self._get_scorer()
        if self._is_log_loss():

            @cache
            def target_and_weight(n_samples):
                target = targets_among(classes, y, n_samples)
                weight = params.get("sample_weight")
                if weight is not None and not np.any(weight):
                    raise ValueError(
                        "Expected rows to score that have a positive total weight, in every fold, but those that are "
                        "held out or given weigh nothing. Remedy: leave out rows of weight zero."
                    )
                return target, checked_weight(weight, target)

            def negative_log_loss(clf):
                log_proba = clf.predict_log_proba(X)
                target, weight = target_and_weight(len(log_proba))
                eps = np.finfo(log_proba.dtype).eps  # as in sklearn.metrics.log_loss
                log_proba = np.clip(log_proba, np.log(eps), np.log1p(-eps))
                return -np.average(cross_entropy(log_proba, target).astype(np.float64), weights=weight)

            return negative_log_loss
        if hasattr(scorer, "_score_func"):
            accepted = inspect.signature(scorer._score_func).parameters
            if "labels" in accepted and "labels" not in scorer._kwargs:
                # as LogisticRegressionCV does it for folds
                fixed = {"labels": classes, **scorer._kwargs}
                if len(classes) == 2 and "pos_label" in accepted:
                    fixed.setdefault("pos_label", classes[1])
                scorer = make_scorer(
                    scorer._score_func,
                    response_method=scorer._response_method,
                    greater_is_better=scorer._sign == 1,
                    **fixed,
                )
        return lambda clf: scorer(clf, X, y, **params)

    def score(self, X, y, *, sample_weight=None, **score_params):
        """Score of the predictions by `scoring`; by default minus the mean cross-entropy.

        Rows may lack classes, for the default as for any score that takes ``labels``.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : array-like (n_samples,)
        sample_weight : array-like (n_samples,), default=None
        **score_params : dict
            For the scorer, by metadata routing.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        raise_for_params(score_params, self, "score")
        X, y = RowSlices(X) if is_lazy(X) else as_numpy(X, "X"), as_numpy(y, "y")
        y = np.asarray(y) if is_lazy(y) else y
        if sample_weight is not None:
            score_params["sample_weight"] = as_numpy(sample_weight, "sample_weight")
        if routing_enabled():
            score_params = process_routing(self, "score", **score_params).scorer.score
        with comparable(y, self.classes_):
            return self._score_on(X, y, np.asarray(self.classes_), score_params)(self)

    def get_metadata_routing(self):
        """Metadata routing of this object: what ``fit`` passes to the splitter, ``fit`` and ``score`` to the scorer.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        if not isinstance(self.cv, str):
            router.add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
        mapping = MethodMapping().add(caller="score", callee="score").add(caller="fit", callee="score")
        return router.add(scorer=self._get_scorer(), method_mapping=mapping)


class _Rows:
    """Validated data and weights of an estimator's fit.

    Parameters
    ----------
    estimator : SoftmaxRegressionClassifierCV
    X, y, sample_weight
        As given to fit.
    """

    def __init__(self, estimator, X, y, sample_weight):
        self.data = data = TrainingData.of(estimator, X, y, sample_weight)
        self.source, self.X = data.source, data.source.X
        self.classes, self.y_index = data.classes, data.y
        if self.y_index.ndim > 1:
            raise ValueError(
                "Expected y to hold labels, a 1-d array, to choose C by, got target probabilities, a 2-d array. "
                "Remedy: take GridSearchCV with a scoring for such targets."
            )
        self.y = self.classes[self.y_index]
        self.sample_weight, self.sw_sum = data.sample_weight, data.weight_sum

    def held_out(self, test):
        """Some rows, to predict."""
        if not isinstance(self.source, StreamSource):
            return safe_indexing(self.X, test)
        rows, place = np.unique(test, return_inverse=True)  # a stream is read in increasing order
        return self.source.take(rows)[place]

    def weight(self, train, fold):
        """s for the training rows, zero for others."""
        return self.data.fold_weight(train, fold)


class _Walked:
    """Fits of every l1_ratio and C on every fold.

    Parameters
    ----------
    estimator : SoftmaxRegressionClassifierCV
    rows : _Rows
    trains : list of array of int
        Training rows of each fold.
    l1_ratios : array (n_l1_ratios,)
    Cs : array (n_Cs,)
    task : Task
        What the fits are part of. Each l1_ratio and C of each turn is a task within it: where callbacks stop, larger C
        are left out.
    tests : list of array of int, or None
        Rows that each fold holds out: cells that are not likely to be chosen are solved as exactly as their scores
        need. None: all to ``tol``.

    Attributes
    ----------
    Cs : array (n_Cs,)
        Without those left out.
    paths : array (n_folds, n_l1_ratios, n_Cs, n_outputs, n_features + fit_intercept)
    n_iters, converged, dev_ratio : array (n_folds, n_l1_ratios, n_Cs)
    exact : array (n_folds, n_l1_ratios, n_Cs) bool
        Cells that were not left before ``tol``.
    errors : array (n_folds, n_l1_ratios, n_Cs)
        What the mean loss of the rows held out may be off by where they were, else zero.
    """

    @on_one_blas_thread
    def __init__(self, estimator, rows, trains, l1_ratios, Cs, task, tests=None):
        self.estimator, self.rows, self.l1_ratios, self.trains, self.tests = estimator, rows, l1_ratios, trains, tests
        source = rows.source
        self.n_outputs = 1 if len(rows.classes) == 2 else len(rows.classes)
        n_columns = source.n_features + int(estimator.fit_intercept)
        shape = len(trains), len(l1_ratios), len(Cs)
        self.paths = np.empty((*shape, self.n_outputs, n_columns), source.dtype)
        self.n_iters, self.dev_ratio, self.errors = np.empty(shape, np.intp), np.empty(shape), np.zeros(shape)
        self.converged, self.exact = np.empty((2, *shape), bool)
        self.sw_sum = np.empty(len(trains))  # of each fold's training rows
        # the proximal solver keeps products with its pairs too
        sizes = self.n_outputs, n_columns * (2 if l1_ratios.any() else 1), source.n_samples, source.dtype.itemsize
        self.turns = _turns(len(trains), *sizes, sparse=isinstance(source, CsrSource))
        self.Cs, order = Cs, np.argsort(Cs, kind="stable")
        may_end = isinstance(estimator.Cs, Integral) and len(l1_ratios) == 1 and l1_ratios[0] > 0
        task = task.subtask("path", len(self.turns) * len(l1_ratios) * len(Cs))
        self.unit = None if estimator.standardize else unit_of(source, rows.sample_weight)
        with overflow_named(source.dtype):
            for turn, r in itertools.product(self.turns, range(len(l1_ratios))):
                walk = self._walk(turn, r)
                self.sw_sum[turn] = walk.stack.sw_sum
                scores_so_far = []
                for q, c in enumerate(order):
                    step = task.subtask(f"C={Cs[c]:.4g}")
                    solutions = walk.to(Cs[c], exactly=walk.watch is None or self._may_be_chosen(scores_so_far))
                    self._take(walk, turn, r, c, solutions)
                    if walk.watch is not None:
                        scores_so_far.append(walk.scores(solutions))
                    if step.end() or (may_end and _explains_no_more(self.dev_ratio[turn, r, order[: q + 1]])):
                        order = order[: q + 1]
                        break
                del walk, solutions  # before the next turn's are made
        task.end()
        if len(order) < len(Cs):
            kept = np.sort(order)
            self.Cs = Cs[kept]
            for name in ("paths", "n_iters", "converged", "dev_ratio", "exact", "errors"):
                setattr(self, name, getattr(self, name)[:, :, kept])

    def _may_be_chosen(self, scores_so_far):
        """Whether the next C is likely to be chosen, or to stand beside the one that is: while scores rise it is.

        Parameters
        ----------
        scores_so_far : list of (minus the mean loss, accuracy)
            Of rows held out, for each C so far.
        """
        n_measures = 1 if self.estimator._is_log_loss() else 2
        best = np.argmax(np.array(scores_so_far).reshape(-1, 2)[::-1, :n_measures], axis=0) if scores_so_far else 0
        return bool(np.any(best == 0))

    def _walk(self, turn, r):
        """A walk of the folds of a turn, with one l1_ratio."""
        estimator, source, unit = self.estimator, self.rows.source, self.unit
        weight = [self.rows.weight(self.trains[f], f) for f in range(turn.start, turn.stop)]
        penalty_strength(float(self.Cs.min()), float(min(map(np.sum, weight))), unit or 1.0)
        n_threads, watch, scale = effective_n_threads(estimator.n_jobs), None, None
        if estimator.standardize:
            scale = np.stack([estimator._scale(source, w, n_threads) for w in weight])
        else:
            if unit is not None:
                scale = np.full((len(weight), source.n_features), unit)
            by_fold = [
                estimator._without_constants(source, w, None if scale is None else scale[m])
                for m, w in enumerate(weight)
            ]
            if any(fold is not None for fold in by_fold):
                ones = np.ones(source.n_features)
                scale = np.stack([ones if fold is None else fold for fold in by_fold])
        if self.tests is not None and estimator.score_tol > 0:
            watch = Watch(
                [self._held_out(f, w, len(weight)) for f, w in enumerate(weight, turn.start)],
                len(self.trains),
                float(estimator.score_tol),
            )
        return _Walk(
            source,
            self.rows.y_index,
            len(self.rows.classes),
            weight,
            scale,
            l1_ratio=float(self.l1_ratios[r]),
            fit_intercept=estimator.fit_intercept,
            tol=float(estimator.tol),
            max_iter=estimator.max_iter,
            n_threads=n_threads,
            verbose=estimator.verbose,
            unit=unit or 1.0,
            watch=watch,
        )

    def _held_out(self, f, weight, n_together):
        rows = self.rows
        is_known = np.bincount(rows.y_index, weight, len(rows.classes)) > 0
        n_bytes = _WATCHED_BYTES // n_together
        return HeldOut(rows.source, rows.y_index, self.n_outputs, self.tests[f], rows.sample_weight, is_known, n_bytes)

    def _take(self, walk, turn, r, c, solutions):
        """Keep what a walk has found for one C."""
        p = self.rows.source.n_features
        folds = range(turn.stop - turn.start)
        coef, intercept = walk.stack.split(np.array(folds), np.stack([s.point for s in solutions]))
        self.paths[turn, r, c, :, :p] = coef
        if self.estimator.fit_intercept:
            self.paths[turn, r, c, :, -1] = np.where(walk.stack.absent, -np.inf, intercept)
        self.n_iters[turn, r, c] = [s.n_iter for s in solutions]
        self.converged[turn, r, c] = [s.converged or s.stopped for s in solutions]
        self.dev_ratio[turn, r, c] = walk.dev_ratio(solutions)
        self.exact[turn, r, c] = [not s.stopped for s in solutions]
        self.errors[turn, r, c] = [walk.watch.errors[m] if s.stopped else 0.0 for m, s in enumerate(solutions)]

    @on_one_blas_thread
    def go_on(self, needed):
        """Solve cells to ``tol``, each from where it was left.

        Parameters
        ----------
        needed : array (n_folds, n_l1_ratios, n_Cs) bool

        Returns
        -------
        array (n_folds, n_l1_ratios, n_Cs) bool
            Cells that have changed.
        """
        changed = np.zeros_like(needed)
        with overflow_named(self.rows.source.dtype):
            for turn, r in itertools.product(self.turns, range(len(self.l1_ratios))):
                unsolved = (needed & ~self.exact)[turn, r].any(axis=0)
                if not unsolved.any():
                    continue
                walk = self._walk(turn, r)
                for c in np.argsort(self.Cs, kind="stable"):
                    if unsolved[c]:
                        before = self.n_iters[turn, r, c].copy()
                        self._take(walk, turn, r, c, walk.to(self.Cs[c], walk.points_of(self.paths[turn, r, c])))
                        self.n_iters[turn, r, c] += before
                        changed[turn, r, c] = True
        return changed

    def classifier(self, f, r, c, finite=True):
        """The classifier of one cell, with scores that can be calculated with, or those of absent classes infinite."""
        clf = self.estimator._classifier(float(self.Cs[c]), float(self.l1_ratios[r]))
        clf.classes_, clf.n_features_in_ = self.rows.classes, self.rows.X.shape[1]
        clf.coef_, clf.intercept_ = self._split(self.paths[f, r, c])
        if finite:
            clf.intercept_ = np.maximum(clf.intercept_, clf.intercept_.dtype.type(ABSENT))
        return clf

    def cell(self, f, r, c):
        """Coefficients and intercepts of one cell, in float64."""
        return self._split(self.paths[f, r, c].astype(np.float64))

    def as_on_all_rows(self, r, c):
        """Points of each fold where their penalty is as strong, beside the mean loss, as that of all rows at one C.

        These rows being more, that is at a larger C: from there to the next the paths are taken to be straight in
        log(C). On embeddings (50,000 x 512, 5 folds) the fit on all rows took 13 instead of 20 iterations from there.
        """
        larger = np.flatnonzero(self.Cs > self.Cs[c])
        if not len(larger):
            return self.paths[:, r, c]
        after = larger[self.Cs[larger].argmin()]
        gap = np.log(self.Cs[after] / self.Cs[c])
        share = np.clip(np.log(self.rows.sw_sum / self.sw_sum) / gap, 0.0, 1.0)[:, None, None]
        points, ends = self.paths[:, r, c], self.paths[:, r, after]
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(points), points + share * (ends - points), points)

    def mean_over_folds(self, points):
        """Means over folds of the coefficients at a point each; of intercepts, over folds with the class."""
        points = np.stack(points).astype(np.float64)
        known = np.isfinite(points[..., -1:])
        counts = known.sum(axis=0)
        mean = np.where(known, points, 0.0).sum(axis=0) / np.maximum(counts, 1)
        coef, intercept = self._split(mean)
        return coef, np.where(counts[:, 0] > 0, intercept, -np.inf)

    def _split(self, point):
        p = self.rows.X.shape[1]
        return point[:, :p], point[:, p] if self.estimator.fit_intercept else np.zeros(len(point), point.dtype)

    def not_converged(self):
        """What to warn of."""
        missed = ~self.converged
        values = ", ".join(f"{C:.4g}" for C in self.Cs[missed.any(axis=(0, 1))][:5])
        advice = "Raise max_iter (or tol, if that is close enough)"
        if self.n_iters[missed].max() < self.estimator.max_iter:  # rounding, against which iterations do not help
            advice = "Raise tol, if that is close enough"
        if self.rows.source.dtype != np.float64:
            advice += ", leave out the largest values of C, or pass X as float64"
        else:
            advice += ", or leave out the largest values of C"
        return (
            f"{missed.sum()} of {missed.size} fits stopped before tol={self.estimator.tol:g} was reached, after at "
            f"most {self.n_iters[missed].max()} iterations, among them at C = {values}. {advice}."
        )


def _means(scores):
    """Mean scores over folds, -inf where one is not finite."""
    finite = np.isfinite(scores).all(axis=0)
    return np.where(finite, np.where(np.isfinite(scores), scores, 0.0).mean(axis=0), -np.inf)


def _best_of_folds(scores):
    """Indices of the l1_ratio and the C with the best score, of each fold."""
    finite = np.where(np.isfinite(scores), scores, -np.inf).reshape(len(scores), -1)
    return [np.unravel_index(place, scores.shape[1:]) for place in finite.argmax(axis=1)]


def _check_finite(scores, l1_ratios, Cs):
    """Name the cells whose scores over folds are not all finite."""
    finite = np.isfinite(scores).all(axis=0)
    if not finite.any():
        raise ValueError(
            "Expected finite scores, but every C has a fold with a score that is not. Remedy: take another "
            "scoring, or a cv whose test rows have all classes."
        )
    if not finite.all():
        where = f"C in {Cs[~finite.all(axis=0)].tolist()}"
        if len(l1_ratios) > 1:
            where += f" with l1_ratio in {l1_ratios[~finite.all(axis=1)].tolist()}"
        warnings.warn(f"Scores are not finite for {where}; these are not chosen.", UserWarning, stacklevel=5)


def _needs_groups(cv):
    """Whether a splitter cannot do without groups."""
    return isinstance(cv, GroupKFold | GroupShuffleSplit | LeaveOneGroupOut | LeavePGroupsOut | StratifiedGroupKFold)


def _warn_of_edge(mean_scores, Cs):
    """Where the best C is the last that was tried at an end, better ones may lie beyond."""
    finite = Cs[np.isfinite(Cs)]
    best = Cs[np.nonzero(mean_scores >= mean_scores.max())[1]].min()
    if len(Cs) < 2 or not np.isfinite(best) or not finite.min() < finite.max():
        return
    if best == finite.max() and len(finite) == len(Cs):
        which, ends = "largest", (best / 10, best * 1000)
    elif best == finite.min():
        which, ends = "smallest", (best / 1000, best * 10)
    else:
        return
    low, high = np.log10(ends)
    warnings.warn(
        f"The best C, {best:.4g}, is the {which} of those tried: a better one may lie beyond. Remedy: try "
        f"Cs=np.logspace({low:.3g}, {high:.3g}, 9).",
        UserWarning,
        stacklevel=5,
    )


class SoftmaxPath(NamedTuple):
    """What :func:`softmax_regression_path` returns, to be unpacked or taken by name."""

    Cs: np.ndarray  # (n_Cs,)
    coefs: np.ndarray  # (n_Cs, n_outputs, n_features)
    intercepts: np.ndarray  # (n_Cs, n_outputs)
    n_iters: np.ndarray  # (n_Cs,)


def softmax_regression_path(
    X,
    y,
    *,
    Cs=10,
    l1_ratio=0.0,
    sample_weight=None,
    fit_intercept=True,
    standardize=False,
    class_weight=None,
    tol=1e-6,
    max_iter=1000,
    n_jobs=None,
    verbose=0,
):
    """Coefficients of :class:`SoftmaxRegressionClassifier` for many values of C, each from where the last one was.

    Parameters
    ----------
    X : array-like (n_samples, n_features)
    y : array-like (n_samples,)
    Cs : int or array-like, default=10
        The values of C; for an integer, as many from 1e-4 to 1e4 in equal ratios; beside an L1 penalty from
        :func:`C_max` to 1000 times that, or 100 times where features outnumber rows, or to where the deviance
        explained hardly grows.
    sample_weight : array-like (n_samples,), default=None
    l1_ratio, fit_intercept, standardize, class_weight, tol, max_iter, n_jobs, verbose
        As in :class:`SoftmaxRegressionClassifier`.

    Returns
    -------
    A named tuple, ``SoftmaxPath``, of

    Cs : ndarray (n_Cs,)
        As they were given, or those that an integer stands for.
    coefs : ndarray (n_Cs, n_classes, n_features), or (n_Cs, 1, n_features) for two classes
    intercepts : ndarray (n_Cs, n_classes) or (n_Cs, 1)
    n_iters : ndarray (n_Cs,)

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import softmax_regression_path
    >>> Cs, coefs, intercepts, n_iters = softmax_regression_path(*load_iris(return_X_y=True), Cs=[0.1, 1.0])
    >>> coefs.shape
    (2, 3, 4)
    """
    estimator = SoftmaxRegressionClassifierCV(
        Cs,
        l1_ratios=[l1_ratio],
        fit_intercept=fit_intercept,
        standardize=standardize,
        class_weight=class_weight,
        tol=tol,
        max_iter=max_iter,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    estimator._validate_params()
    Cs, l1_ratios = _as_Cs(Cs), _as_l1_ratios([l1_ratio])
    rows = _Rows(estimator, X, y, sample_weight)
    Cs = _from_C_max(estimator, rows, l1_ratios, Cs)
    with np.errstate(under="ignore"):
        walked = _Walked(estimator, rows, [np.arange(len(rows.y))], l1_ratios, Cs, Task(estimator))
    if not walked.converged.all():
        warnings.warn(walked.not_converged(), ConvergenceWarning, stacklevel=2)
    p = rows.X.shape[1]
    paths = walked.paths[0, 0]
    intercepts = paths[:, :, p] if fit_intercept else np.zeros(paths.shape[:2], paths.dtype)
    return SoftmaxPath(walked.Cs, paths[:, :, :p], intercepts, walked.n_iters[0, 0])
