"""Fits of many problems in the same passes: to a sample of the rows first, then to all."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..sources.arrays import ArraySource
from .metric import SharedGram, along_points, at_null_models, at_points
from .objective import LabelSetObjectives
from .solver import minimise, step

_SHARE = 16  # of the rows are worked on first, where these are many for the columns that there are
_ROWS_A_COLUMN, _MOST_SAMPLED = 10, 1 << 15
_NEXT, _MOST_VALUES = 4, 1 << 26  # times as many rows come next, if their values are no more
_SAMPLED_ACCURACY = 0.05  # of what a sample's minimum is off by, to which it is sought
_SAMPLED_STEPS = 12
_LEAST_OF_CLASS = 30  # rows of a class that a sample must have to be worth a start
_GRAM_ROWS, _GRAM_PASSES = 10, 1.0  # rows a column at least, or as many as so many passes take, that the matrix is of
_ROUGHLY_CURVED, _CURVED = 1024, 4096  # rows by which curvatures are found for a step in the sample, and for all rows
_PAIRS, _STEPS = 8, 25  # of L-BFGS; steps after which a problem is better fitted alone


@dataclass(frozen=True)
class Options:
    """What all fits have in common, as in :class:`~..estimator.SoftmaxRegressionClassifier`."""

    fit_intercept: bool
    tol: float
    max_iter: int
    n_threads: int


class Together:
    """Fits of problems over the same rows.

    Parameters
    ----------
    source : Source
    labels : array (n_labelings, n_samples) of integers
        As :mod:`~..kernels.label_sets` has them.
    row_weight : array (1 or n_labelings, n_samples) of the dtype of the source, or None
    unscale : array (n_features,), or None
        What features are multiplied by: zero for those whose coefficients are to be zero.
    n_outputs : int
        Of all problems together.
    options : Options
    """

    def __init__(self, source, labels, row_weight, unscale, n_outputs, options):
        self.options, self.noise = options, 4 * np.finfo(source.dtype).eps
        common = {"fit_intercept": options.fit_intercept, "n_threads": options.n_threads}
        self.objectives = LabelSetObjectives(source, labels, row_weight, unscale=unscale, **common)
        n, p, rng = source.n_samples, source.n_features, np.random.default_rng(0)

        def some(size):
            return np.arange(n) if n <= size else np.sort(rng.choice(n, size, replace=False))

        def sampled(size):
            rows = some(size)
            of_rows, weight = labels, row_weight
            if len(rows) < n:
                of_rows = np.take(labels, rows, axis=1)
                weight = None if weight is None else np.take(weight, rows, axis=1)
            source_of_rows = ArraySource(source.take(rows))
            return LabelSetObjectives(source_of_rows, of_rows, weight, unscale=unscale, **common)

        least = _ROWS_A_COLUMN * (p + 1)
        size = min(max(n // _SHARE, least), _MOST_SAMPLED)
        self.sample: Any = None if source.is_wide_and_sparse else sampled(size)
        self.starts_with_sample = self.sample is not None and n >= _NEXT * size
        self.next_sample: Any = None
        if self.starts_with_sample and n >= _NEXT**2 * size and _NEXT * size * p <= _MOST_VALUES:
            self.next_sample = sampled(_NEXT * size)
        in_passes = _GRAM_PASSES * 4 * n * n_outputs / p
        self.gram = SharedGram(source, some(int(max(_GRAM_ROWS * p, in_passes))), unscale, **common)

    def minimise(self, problems, start=None, watches=False):
        """The minima of problems.

        Parameters
        ----------
        problems : Problems
        start : array (n_outputs.sum(), n_columns), or None
            Where they may be near; None for nowhere.
        watches : bool
            Whether rows held out have to be told of at the very points.

        Returns
        -------
        Ends
        """
        o = self.options
        metric, pair = at_null_models(self.gram, problems, o.fit_intercept), None
        if start is None:
            start = self._null_models(problems)
            if self.starts_with_sample:
                self._go_to_minima_of_sample(problems, start, metric)
        if self.sample is not None:
            metric, ratio = at_points(self.gram, problems, start, self.sample, _CURVED, o.fit_intercept)
            pair = along_points(metric, start, ratio)
        options = {"max_iter": min(o.max_iter, _STEPS), "noise": self.noise, "n_pairs": _PAIRS}
        # of few rows metrics are rough, and what they say of the next step may be far too little; a pass costs little
        options["may_go_ahead"] = self.starts_with_sample and not watches
        return minimise(self.objectives.evaluate, problems, start, metric, self._allowed, pair=pair, **options)

    def _null_models(self, problems):
        """Points without coefficients, of the intercepts that are the best then."""
        points = np.zeros((int(problems.firsts[-1]), self.objectives.n_columns))
        if not self.options.fit_intercept:
            return points
        for m, shares in enumerate(problems.frequency):
            if len(shares) == 2:
                points[problems.firsts[m], -1] = np.log(shares[1] / shares[0])
                continue
            present = shares > 0
            logs = np.log(shares, where=present, out=np.zeros(len(shares)))
            points[problems.firsts[m] : problems.firsts[m + 1], -1] = np.where(
                present, logs - logs[present].mean(), 0.0
            )
        return points

    def _go_to_minima_of_sample(self, problems, points, metric):
        """Replace points by the minima of what a sample of the rows knows, where this has rows of all classes.

        From there a step for more of the rows: the more of them, the fewer passes over all are left.
        """
        sample, known, excess = self.sample, np.zeros(len(problems), bool), []
        for m, shares in enumerate(problems.frequency):
            counts = class_totals(sample.labels[problems.label_rows[m]], len(shares))
            known[m] = (counts[shares > 0] >= _LEAST_OF_CLASS).all()
            if known[m]:
                excess.append(self._directions(metric, m) / (2 * counts.sum()))
        if not known.any():
            return
        some, outputs, off = problems.select(known), problems.by_output(known), np.array(excess)
        ends = minimise(
            sample.evaluate,
            of_sample(sample, some),
            points[outputs],
            metric.select(known),
            lambda places, problems, points: _SAMPLED_ACCURACY * off[places],
            max_iter=_SAMPLED_STEPS,
            noise=self.noise,
            n_pairs=_PAIRS,
        )
        points[outputs] = ends.points
        if self.next_sample is not None:
            rows = _ROUGHLY_CURVED
            metric, ratio = at_points(self.gram, some, ends.points, sample, rows, self.options.fit_intercept)
            pair = along_points(metric, ends.points, ratio)
            next_problems = of_sample(self.next_sample, some)
            points[outputs] = step(self.next_sample.evaluate, next_problems, ends.points, metric, pair, 4 * off)

    def _directions(self, metric, m):
        """Directions in which the data outweigh the penalty of a problem: what the loss of a fit to few rows is off by.

        That is their number over twice that of the rows.
        """
        ridge, n_outputs = float(metric.ridges[metric.problems.firsts[m]]), metric.problems.n_outputs[m]
        return self.gram.effective_dim(ridge) * max(n_outputs - 1, 1)

    def _allowed(self, places, problems, points):
        """As :func:`~..solvers.stopping.allowed_suboptimality`, less what rounding of the scores may hide."""
        p, tol = self.objectives.source.n_features, self.options.tol
        coef = points[:, :p]
        penalty = problems.l2_reg_strength / 2 * problems.dot(coef, coef)
        bound = tol * problems.null_objective
        least = np.maximum((1e6 * tol) ** 2 * penalty, 10 * self.noise * problems.null_objective)
        allowed = np.where(penalty > 0, np.minimum(bound, least), bound)
        if self.options.fit_intercept:
            rounding = self.noise / 8 * np.maximum.reduceat(np.abs(points[:, p]), problems.firsts[:-1])
            allowed -= rounding**2 / 12
        return allowed


def class_totals(labels, n_classes, weight=None):
    """Rows (n_classes,) of each class among labels (n_samples,), or their weights."""
    if n_classes <= 4:
        found = [labels == k for k in range(n_classes)]
        return np.array([np.count_nonzero(f) if weight is None else weight @ f for f in found], np.float64)
    fitted = labels >= 0
    return np.bincount(labels[fitted], None if weight is None else weight[fitted], n_classes).astype(np.float64)


def of_sample(objectives, problems):
    """The same problems, of fewer rows."""
    return replace(problems, weight_sum=np.array([weight_sum(objectives, problems, m) for m in range(len(problems))]))


def weight_sum(objectives, problems, m):
    """Weight of the rows that a problem is fitted to, in the units of the passes' weights."""
    row, n_classes = problems.label_rows[m], len(problems.frequency[m])
    weight = objectives.row_weight
    if weight is not None:
        weight = weight[row if len(weight) > 1 else 0].astype(np.float64)
    totals = class_totals(objectives.labels[row], n_classes, weight)
    if problems.class_weight is not None:
        first = problems.firsts[m] + m
        totals = totals * problems.class_weight[first : first + n_classes]
    return float(totals.sum())
