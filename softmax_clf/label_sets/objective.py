"""The objectives of problems that have labels of their own, one pass over the rows for all."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..rows import ABSENT


@dataclass(frozen=True)
class Problems:
    """What some problems are, apart from the rows: their outputs, stacked, and what rows and coefficients weigh.

    Attributes
    ----------
    label_rows : array (n_problems,) intp
        Row of the labels that is each problem's.
    frequency : list of array (n_classes,), one a problem
        Shares of the classes, by the weight of the rows that it is fitted to.
    weight_sum : array (n_problems,)
        Of these rows, in the units of the passes' weights.
    l2_reg_strength : array (n_problems,)
        Beside the mean loss.
    null_objective : array (n_problems,)
        Mean loss of the null model.
    class_weight : array (n_outputs.sum() + n_problems,), or None
        From ``firsts[m] + m`` on those of problem m.
    """

    label_rows: np.ndarray
    frequency: list
    weight_sum: np.ndarray
    l2_reg_strength: np.ndarray
    null_objective: np.ndarray
    class_weight: Any = None

    @cached_property
    def n_outputs(self):
        """Outputs (n_problems,) of each: one for two classes, else the number of classes."""
        sizes = np.array([len(shares) for shares in self.frequency], np.intp)
        return np.where(sizes == 2, 1, sizes)

    @cached_property
    def firsts(self):
        """The first output of each problem, and the end, (n_problems + 1,)."""
        return np.concatenate([[0], np.cumsum(self.n_outputs)]).astype(np.intp)

    @cached_property
    def held(self):
        """Outputs, of more than two classes, of classes that no row has: they are held at a probability of zero."""
        shares = [f[1:] + 1 if len(f) == 2 else f for f in self.frequency]
        return np.concatenate(shares) == 0 if len(shares) else np.empty(0, bool)

    def __len__(self):
        return len(self.label_rows)

    def outputs(self, problems):
        """Outputs of some problems, increasing indices."""
        chosen = np.zeros(len(self), bool)
        chosen[problems] = True
        return np.flatnonzero(np.repeat(chosen, self.n_outputs))

    def select(self, kept):
        """Some of them, a mask."""
        class_weight = self.class_weight
        if class_weight is not None:
            class_weight = class_weight[np.repeat(kept, self.n_outputs + 1)]
        frequency = [shares for shares, is_kept in zip(self.frequency, kept, strict=True) if is_kept]
        return Problems(
            self.label_rows[kept],
            frequency,
            self.weight_sum[kept],
            self.l2_reg_strength[kept],
            self.null_objective[kept],
            class_weight,
        )

    def by_output(self, values):
        """Values (n_problems,) for each output."""
        return np.repeat(values, self.n_outputs)

    def sums(self, by_output):
        """Sums (..., n_problems) over the outputs (..., n_outputs.sum()) of each problem."""
        if len(self.firsts) - 1 == self.firsts[-1]:
            return by_output
        return np.add.reduceat(by_output, self.firsts[:-1], axis=-1)

    def dot(self, a, b):
        """Inner products (n_problems,) of points."""
        return self.sums(np.einsum("sj,sj->s", a, b))

    def centred(self, points):
        """Points less the means over the outputs, that are not held, of each problem of more than two classes."""
        if self.n_outputs.max() == 1:
            return points
        counts = self.sums((~self.held).astype(np.float64))
        means = np.add.reduceat(points, self.firsts[:-1], axis=0) / counts[:, None]
        means[self.n_outputs == 1] = 0.0
        centred = points - np.repeat(means, self.n_outputs, axis=0)
        centred[self.held] = 0.0
        return centred


class LabelSetObjectives:
    """Softmax objectives over the same rows that differ in labels, classes, weights, penalty and point.

    Each is that of :class:`~..objective.SoftmaxObjective`; a point is an array (n_outputs.sum(), n_columns), those of
    the problems one upon the other.

    Parameters
    ----------
    source : Source of n_samples rows
    labels : array (n_labelings, n_samples) of integers
        As :mod:`~..kernels.label_sets` has them.
    row_weight : array (1 or n_labelings, n_samples) of the dtype of the source, or None
    fit_intercept : bool
    n_threads : int
    unscale : array (n_features,), or None
        What features are multiplied by: zero for those whose coefficients are to be zero.

    Attributes
    ----------
    n_passes : float
        Passes over the rows so far, of all outputs that were asked for at a time.
    """

    def __init__(self, source, labels, row_weight, *, fit_intercept, n_threads, unscale=None):
        self.source, self.labels, self.row_weight = source, labels, row_weight
        self.fit_intercept, self.n_threads, self.unscale = fit_intercept, n_threads, unscale
        self.n_columns = source.n_features + int(fit_intercept)
        self.passes, self.n_passes = None, 0

    def split(self, problems, points):
        """Coefficients (n_outputs.sum(), n_features), in the units of X, and intercepts of points."""
        p = self.source.n_features
        coef = points[:, :p] if self.unscale is None else points[:, :p] * self.unscale
        intercept = points[:, p].copy() if self.fit_intercept else np.zeros(len(points))
        intercept[problems.held] = ABSENT
        return coef, intercept

    def evaluate(self, problems, points):
        """Each objective and its gradient, and what is known of the rows held out.

        Parameters
        ----------
        problems : Problems
        points : array (n_outputs.sum(), n_columns)

        Returns
        -------
        objective : array (n_problems,)
        grad : array (n_outputs.sum(), n_columns)
        held_out : array (n_problems, 2)
            Sums of the losses, and of the weights of those whose class is predicted.
        """
        self.n_passes += 1
        n_outputs = int(problems.firsts[-1])
        if self.passes is None or self.passes.n_outputs != n_outputs:
            self.passes = None  # before another is made
            self.passes = self.source.passes(n_outputs, 1, self.n_threads)
        class_weight = None if problems.class_weight is None else problems.class_weight.astype(self.source.dtype)
        label_sets = self.labels, self.row_weight, class_weight, problems.firsts
        coef, intercept = self.split(problems, points)
        sums, grad_coef, grad_intercept = self.passes.label_set_gradient(
            self.source.parts(), coef, intercept, label_sets, problems.label_rows
        )
        p, inverse = self.source.n_features, 1 / problems.by_output(problems.weight_sum)
        grad = np.empty_like(points)
        np.multiply(grad_coef, inverse[:, None], out=grad[:, :p])
        if self.unscale is not None:
            grad[:, :p] *= self.unscale
        pull = problems.by_output(problems.l2_reg_strength)[:, None] * points[:, :p]
        grad[:, :p] += pull
        if self.fit_intercept:
            grad[:, p] = grad_intercept * inverse
        grad[problems.held] = 0.0
        objective = sums[:, 0] / problems.weight_sum + problems.dot(pull, points[:, :p]) / 2
        return objective, grad, sums[:, 1:]
