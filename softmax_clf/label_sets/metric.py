"""Approximate Hessians of many problems, that have one Gram matrix of the rows in common."""

from types import SimpleNamespace

import numpy as np
from scipy.linalg import blas
from scipy.special import expit, softmax

from ..kernels.threads import run_tasks
from ..metrics.factors import GramFactor
from ..metrics.grams import GramSums
from ..metrics.kinds import NO_CLAIM

_PANEL_ROWS = 4096
_MAX_FEATURES = 4096  # with more of them, the diagonal stands for the matrix
_CHUNK_BYTES = 1 << 20  # scores of these rows that are worked on at a time


class SharedGram:
    """The covariance of the rows, or their second moments without an intercept, and inverses of it plus any ridge.

    Ridges are rounded to powers of two, so that few factors serve all problems.

    Parameters
    ----------
    source : Source
    rows : array of intp
        Those that stand for all, increasing.
    unscale : array (n_features,), or None
        What features are multiplied by.
    fit_intercept : bool
    n_threads : int

    Attributes
    ----------
    center : array (n_features,)
        The mean, zero without an intercept.
    is_raised : bool
        Whether a factor has lost digits, so that half a squared gradient says nothing.
    """

    def __init__(self, source, rows, unscale, *, fit_intercept, n_threads):
        self.n_threads, self.dtype, self.is_raised, self.factors = n_threads, source.dtype, False, {}
        p = source.n_features
        self.is_diagonal = source.is_wide_and_sparse or p > _MAX_FEATURES
        self.center = np.zeros(p)
        if self.is_diagonal:
            mean, variance = source.moments(None, n_threads)
            factor = 1.0 if unscale is None else unscale
            if fit_intercept:
                self.center = mean * factor
            else:
                variance = variance + mean**2
            self.variance = np.maximum(variance, 1e-12 * max(variance.max(), np.finfo(float).tiny)) * factor**2
            self.variance[self.variance == 0] = 1.0  # of features that are left out
            return
        sums = GramSums(SimpleNamespace(source=source, fit_intercept=fit_intercept, n_threads=n_threads), p, 1)
        for start in range(0, len(rows), _PANEL_ROWS):
            panel = rows[start : start + _PANEL_ROWS]
            X = source.take(panel)
            X = X if unscale is None else X * unscale.astype(X.dtype)
            sums.add(X, np.full((len(X), 1), 1 / len(rows)))
        self.gram, center, self.floor = sums.centred(0)
        if center is not None:
            self.center = center

    def solve(self, ridges, rows):
        """Each row (n_rows, n_features) times the inverse of the matrix plus a ridge of its own (n_rows,)."""
        if self.is_diagonal:
            return rows / (self.variance + ridges[:, None])
        with np.errstate(divide="ignore"):
            exponents = np.round(np.log2(ridges))
        out = np.empty_like(rows)
        for exponent in np.unique(exponents):
            alike = exponents == exponent
            out[alike] = self._factor(float(exponent))._solve(rows[alike])
        return out

    def times(self, rows):
        """Each row (n_rows, n_features) times the matrix."""
        if self.is_diagonal:
            return rows * self.variance
        # BLAS reads arrays by columns: the lower triangle here is the upper one there
        return blas.dsymm(1.0, self.gram.T.astype(np.float64, copy=False), rows.T).T

    def _factor(self, exponent):
        if exponent not in self.factors:
            options = self.dtype, 1 << 30, self.n_threads, self.floor
            with np.errstate(over="raise", invalid="raise"):
                factor = GramFactor(self.gram.copy(), 2.0**exponent, None, 1.0, *options)
            self.is_raised = self.is_raised or factor.is_raised
            self.factors[exponent] = factor
        return self.factors[exponent]

    def effective_dim(self, ridge):
        """Directions in which the rows outweigh a ridge."""
        if self.is_diagonal:
            return float((self.variance / (self.variance + ridge)).sum())
        return self._factor(float(np.round(np.log2(ridge))) if ridge > 0 else -np.inf).effective_dim


class StackedMetric:
    """B_m (x) A_m + the penalty for each problem m: A_m the shared matrix about a center of the problem's own.

    Parameters
    ----------
    gram : SharedGram
    problems : Problems
    between : list of array (n_outputs, n_outputs), one a problem
        B_m, the mean over its rows of diag(p_i) - p_i p_i'; for two classes a number.
    centers : array (n_problems, n_features), or None without an intercept
        Means of the rows as they are curved.
    """

    def __init__(self, gram, problems, between, centers):
        self.gram, self.problems, self.between, self.centers = gram, problems, between, centers
        values, self.groups = np.empty(int(problems.firsts[-1])), []
        for n_outputs in np.unique(problems.n_outputs):
            members = np.flatnonzero(problems.n_outputs == n_outputs)
            outputs = problems.firsts[members][:, None] + np.arange(n_outputs)
            matrices = np.stack([between[m] for m in members])
            if n_outputs == 1:
                values[outputs[:, 0]] = matrices.ravel()
                continue
            eigenvalues, vectors = np.linalg.eigh(matrices)
            # along the shift of all classes, and for classes that are held, there is no gradient
            values[outputs] = np.maximum(eigenvalues, 1e-9 * eigenvalues[:, -1:])
            self.groups.append((outputs, vectors))
        self.values = np.maximum(values, np.finfo(float).tiny)
        self.ridges = problems.by_output(problems.l2_reg_strength) / self._mean_values()

    def _mean_values(self):
        """For each output the mean of its problem's eigenvalues, but for that of the shift."""
        total = self.problems.sums(self.values)
        return self.problems.by_output(total / np.maximum(self.problems.n_outputs - 1, 1))

    def select(self, kept):
        """That of some problems, a mask."""
        between = [b for b, is_kept in zip(self.between, kept, strict=True) if is_kept]
        centers = None if self.centers is None else self.centers[kept]
        return StackedMetric(self.gram, self.problems.select(kept), between, centers)

    def solve(self, grads):
        """Steps (n_outputs.sum(), n_columns) of gradients."""
        rows = grads.copy() if self.groups else grads
        for outputs, vectors in self.groups:
            rows[outputs] = vectors.transpose(0, 2, 1) @ grads[outputs]
        steps = np.empty_like(grads)
        if self.centers is None:
            steps[:] = self.gram.solve(self.ridges, rows) / self.values[:, None]
        else:
            centers = np.repeat(self.centers, self.problems.n_outputs, axis=0)
            by_coef = self.gram.solve(self.ridges, rows[:, :-1] - rows[:, -1:] * centers) / self.values[:, None]
            steps[:, :-1] = by_coef
            steps[:, -1] = rows[:, -1] / self.values - np.einsum("sj,sj->s", by_coef, centers)
        if self.groups:
            mixed = steps.copy()
            for outputs, vectors in self.groups:
                steps[outputs] = vectors @ mixed[outputs]
        return self.problems.centred(steps)

    def times(self, steps):
        """The metric times steps that leave the scores at the centers what they are: for these gradients are zero."""
        coef = steps[:, : len(self.gram.center)]
        moved = self.gram.times(coef)
        mixed = moved.copy()
        binary = self.problems.by_output(self.problems.n_outputs == 1)
        mixed[binary] *= self.values[binary, None]
        for outputs, _ in self.groups:
            members = np.searchsorted(self.problems.firsts, outputs[:, 0])
            mixed[outputs] = np.stack([self.between[m] for m in members]) @ moved[outputs]
        out = np.zeros_like(steps)
        out[:, : len(self.gram.center)] = mixed + self.problems.by_output(self.problems.l2_reg_strength)[:, None] * coef
        return out

    @property
    def slack(self):
        """How many times too small half a squared gradient may be as an estimate."""
        return NO_CLAIM if self.gram.is_raised else 5.0


def at_null_models(gram, problems, fit_intercept):
    """The metric where coefficients are zero; without an intercept all classes are equally likely there."""
    between = []
    for shares in problems.frequency:
        f = shares if fit_intercept else np.full(len(shares), 1 / len(shares))
        between.append(np.full((1, 1), f[0] * f[1]) if len(f) == 2 else np.diag(f) - np.outer(f, f))
    centers = np.tile(gram.center, (len(problems), 1)) if fit_intercept else None
    return StackedMetric(gram, problems, between, centers)


def at_points(gram, problems, points, sample, n_rows, fit_intercept):
    """The metric at points, and how many times as curved problems are along these (n_problems,), by some of the rows.

    What all rows tell of the features is taken from them: of the rows at hand only how much more some are curved than
    others, which as few of them tell better than where the features are and how far they vary.

    Parameters
    ----------
    points : array (n_outputs.sum(), n_columns)
    sample : LabelSetObjectives
        Of the sampled rows, which lie in one array.
    n_rows : int
        That many of them, or all.
    """
    rows = slice(None)
    if sample.source.n_samples > n_rows:
        rows = np.arange(n_rows) * sample.source.n_samples // n_rows
    X = sample.source.X[rows]
    X = X if sample.unscale is None else X * sample.unscale.astype(X.dtype)
    coef, intercept = np.split(points, [X.shape[1]], axis=1)
    coef, intercept = coef.astype(X.dtype), intercept[:, 0] if fit_intercept else np.zeros(len(points))
    intercept = np.where(problems.held, -np.inf, intercept).astype(X.dtype)
    between: list = [None] * len(problems)
    centers = np.empty((len(problems), X.shape[1])) if fit_intercept else None
    ratio, off_center = np.ones(len(problems)), gram.center - X.mean(axis=0, dtype=np.float64)
    chunks = _alike(problems, _CHUNK_BYTES // (len(X) * X.itemsize))

    def make(c, slot):
        members = chunks[c]
        outputs = problems.outputs(members)
        along, weight = X @ coef[outputs].T, _weights(sample, problems, members, rows, X.dtype)
        curve = _two_classes if problems.n_outputs[members[0]] == 1 else _classes
        matrices, pull, ratio[members] = curve(along + intercept[outputs], along, weight, fit_intercept)
        for m, matrix in zip(members.tolist(), matrices, strict=True):
            between[m] = matrix
        if centers is not None:
            mass = np.maximum(pull.sum(axis=0), np.finfo(X.dtype).tiny)
            centers[members] = (pull.T @ X) / mass[:, None] + off_center

    run_tasks(make, len(chunks), sample.n_threads)
    return StackedMetric(gram, problems, between, centers), ratio


def _alike(problems, most):
    """Problems of as many outputs, some at a time: no more outputs than ``most``, or one problem."""
    found = []
    for n_outputs in np.unique(problems.n_outputs).tolist():
        members, size = np.flatnonzero(problems.n_outputs == n_outputs), max(most // n_outputs, 1)
        found += [members[first : first + size] for first in range(0, len(members), size)]
    return found


def along_points(metric, points, ratio):
    """What is known of the Hessian along points, as a pair of L-BFGS: steps, and changes of the gradient.

    Where features are as in a normal distribution the Hessian is a multiple of their covariance but for one direction,
    that of the coefficients (C. M. Stein, Estimation of the mean of a multivariate normal distribution, Annals of
    Statistics 9, 1981): in others rows are curved alike.
    """
    problems, p = metric.problems, len(metric.gram.center)
    steps = points.copy()
    steps[problems.held] = 0.0
    if metric.centers is not None:
        centers = np.repeat(metric.centers, problems.n_outputs, axis=0)
        steps[:, p] = -np.einsum("sj,sj->s", steps[:, :p], centers)
    changes = metric.times(steps)
    believed = problems.dot(steps, changes)
    penalty = problems.l2_reg_strength * problems.dot(steps[:, :p], steps[:, :p])
    known = ratio * (believed - penalty) + penalty
    factor = np.divide(known, believed, where=(believed > 0) & (known > 0), out=np.ones(len(problems)))
    return steps, changes * problems.by_output(factor)[:, None]


def _weights(sample, problems, members, rows, dtype):
    """What some rows of a sample weigh in some problems, (n_rows, n_members)."""
    places = problems.label_rows[members]
    labels = np.ascontiguousarray(sample.labels[places][:, rows].T)
    weight = (labels >= 0).astype(dtype)
    if sample.row_weight is not None:
        weight *= sample.row_weight[places if len(sample.row_weight) > 1 else slice(None)][:, rows].T
    if problems.class_weight is not None:
        weight *= problems.class_weight[problems.firsts[members] + members + np.maximum(labels, 0)].astype(dtype)
    return weight


def _two_classes(scores, along, weight, fit_intercept):
    """B of problems of two classes, and what is curved more along their points than if all rows were alike.

    Parameters
    ----------
    scores, along : array (n_rows, n_problems)
        With the intercepts, and without.
    weight : array (n_rows, n_problems)
    fit_intercept : bool

    Returns
    -------
    between : array (n_problems, 1, 1)
    pull : array (n_rows, n_problems)
        What each row adds to B.
    ratio : array (n_problems,)
        Of the curvature along a point to that by B and the rows' covariance.
    """
    proba = expit(scores)
    pull = weight * (proba * (1 - proba))
    mass = np.maximum(pull.sum(axis=0), np.finfo(pull.dtype).tiny)
    apart, alike = along, along
    if fit_intercept:
        apart, alike = along - np.einsum("im,im->m", pull, along) / mass, along - along.mean(axis=0)
    curvature = np.einsum("im,im->m", pull, np.square(apart)) / mass
    between = mass / np.maximum(weight.sum(axis=0), np.finfo(pull.dtype).tiny)
    return between.astype(np.float64)[:, None, None], pull, _ratio(curvature, np.square(alike).mean(axis=0))


def _classes(scores, along, weight, fit_intercept):
    """As :func:`_two_classes` for problems of more, of n_outputs each: scores are (n_rows, n_problems * n_outputs)."""
    pull = np.empty_like(weight)
    n_outputs = scores.shape[1] // weight.shape[1]
    between = np.empty((weight.shape[1], n_outputs, n_outputs))
    curvature, believed = np.empty((2, len(between)))
    for m in range(len(between)):
        own = slice(m * n_outputs, (m + 1) * n_outputs)
        proba, apart, alike = softmax(scores[:, own], axis=1), along[:, own], along[:, own]
        weighted = proba * weight[:, m, None]
        pull[:, m] = (weighted * (1 - proba)).sum(axis=1)
        total = max(float(weight[:, m].sum(dtype=np.float64)), np.finfo(np.float64).tiny)
        matrix = -(weighted.T @ proba).astype(np.float64) / total
        np.fill_diagonal(matrix, 0.0)
        np.fill_diagonal(matrix, -matrix.sum(axis=1))
        if fit_intercept:
            apart = apart - pull[:, m] @ apart / max(float(pull[:, m].sum()), np.finfo(pull.dtype).tiny)
            alike = alike - alike.mean(axis=0)
        apart = apart - (proba * apart).sum(axis=1, keepdims=True)
        curvature[m] = float((weighted * np.square(apart)).sum(dtype=np.float64)) / total
        believed[m] = float(((alike @ matrix) * alike).sum()) / len(alike)
        between[m] = matrix
    return between, pull, _ratio(curvature, believed)


def _ratio(curvature, believed):
    return np.divide(curvature, believed, where=believed > 0, out=np.ones(len(believed)), casting="same_kind")
