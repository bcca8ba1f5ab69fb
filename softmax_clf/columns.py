"""The objective by columns of X, for the solver of sparse coefficients: a step of one reads its own column only.

See docs/method.md.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .kernels.active import curvatures, divergence, kernels, row_states, sparse_gradient
from .kernels.threads import run_tasks
from .sources.arrays import ArraySource
from .sources.sparse import CsrSource

_TASK_FLOPS = 2e6
_MAX_STATE = 1 << 26  # bytes of an array of rows by classes
_N_STATES = 12  # of which there are so many
# What working sets take, in nanoseconds of one thread: a row and a coordinate in a sweep; a row and a class in a step,
# and a step; a row and a coordinate in a fit, until a path has shown what it is.
_SWEPT, _STEPPED, _STEP, _FORESEEN = 0.5, 45.0, 1e5, 100.0
# What models of all features take: a fit, and a class; a byte of X and a class; a feature and a coefficient in use, as
# if there were so many features more; and a share of that on a path.
_FIT, _OUTPUT, _READ, _MODELLED, _BESIDES, _ON_PATH = 2.7e6, 1.3e6, 0.5, 310.0, 100, 0.5


def suits_columns(source, n_outputs, elastic_net):
    """Whether columns are what to go by, at first: where few features may be in use.

    Where they outnumber rows, or are sparse, that is to the end; where rows abound, as long as it pays, see
    :meth:`Columns.is_dear`.
    """
    bounds = elastic_net.bounds
    if elastic_net.is_smooth or not (elastic_net.l1_reg_strength or elastic_net.l2_reg_strength):
        return False
    if bounds is not None and not (bounds[0].max() <= 0 <= bounds[1].min()):
        return False
    if not (isinstance(source, ArraySource) or (isinstance(source, CsrSource) and source.X.dtype == source.dtype)):
        return False
    if 8 * source.n_samples * n_outputs > _MAX_STATE:
        return False
    if source.n_features > source.n_samples or source.is_wide_and_sparse:
        return True
    # the columns that are kept, and the states of the rows, take a quarter of X, or 100 MB
    n_bytes = 8 * source.n_samples * (source.n_features + _N_STATES * n_outputs)
    is_plain = bounds is None and elastic_net.is_free is None and not elastic_net.is_grouped
    return is_plain and isinstance(source, ArraySource) and n_bytes <= max(source.nbytes / 4, 1e8)


@dataclass
class Gradient:
    """Derivatives (n_outputs, n_features), and the largest size of each feature's (n_features,), or their norm."""

    values: np.ndarray
    steepest: np.ndarray


class Columns:
    """The objective of sparse coefficients, with the state of its rows at a point.

    Parameters
    ----------
    labelled : LabelledRows
    absent : array (n_outputs,) bool, or None
        Outputs that are held.

    Attributes
    ----------
    weight : array (n_samples,) float64
        Of sum one.
    target : array (n_outputs, n_samples) float64
    present : array of intp
        Outputs that are not held: arrays of outputs have these only.
    strength : float
        Of the L1 penalty.
    is_grouped : bool
        Whether the L1 penalty is of norms.
    last, before : Ended, or None
        Where the last fit has ended, and the one before.
    work, foreseen : float
        What the fit has taken, and what one takes for each row and coordinate, in nanoseconds.
    n_steps : int
        Those of the last fit of a path.
    has_another_way : bool
        Whether there is one.
    has_given_up : bool
        Whether the last fit has left the rest to another way.
    """

    def __init__(self, labelled, absent=None):
        self.labelled = o = labelled
        source, n = o.source, o.source.n_samples
        self.n_features, self.n_threads = source.n_features, o.n_threads
        self.present = np.arange(o.n_outputs) if absent is None else np.flatnonzero(~absent)
        self.fit_intercept = o.fit_intercept
        self.weight = np.full(n, 1.0 / n) if o.weight is None else o.weight / n
        if o.y.ndim == 1:
            classes = self.present + (o.n_classes == 2)
            self.target = (o.y == classes[:, None]).astype(np.float64)
        else:
            self.target = np.ascontiguousarray(o.y.T[self.present], np.float64)
            if o.n_outputs > 1:  # rows that weigh nothing may be of outputs that are held alone
                sums = self.target.sum(axis=0)
                self.target /= np.where(sums > 0, sums, 1.0)
        self.offset = None if o.offset is None else np.ascontiguousarray(o.offset.T[self.present], np.float64)
        self.sparse = isinstance(source, CsrSource)
        self.add_scores_kernel, self.prepare_kernel, self.descend_kernel = kernels(self.sparse, False)
        self.factor = o.unscale
        if self.sparse:
            c = source.columns
            factor = np.ones(self.n_features) if o.unscale is None else o.unscale
            self.columns: tuple = (c.data, c.indices, c.indptr, factor)
        else:
            self.place = np.full(self.n_features, -1, np.intp)  # of columns that are kept, centred
            self.kept, self.n_kept, self.center = np.empty((0, n)), 0, np.zeros(self.n_features)
            self.columns = (self.kept,)
        n_outputs = len(self.present)
        self.proba, self.residual = np.empty((2, n_outputs, n))
        self.loss, self.spare = np.empty(n), np.empty((2, n))
        self.scores: Any = None
        self.value, self.last, self.before = np.inf, None, None
        self.strength, self.is_grouped = 0.0, False
        self.work, self.foreseen, self.n_steps, self.has_given_up = 0.0, _FORESEEN, 0, False
        self.has_another_way = not self.sparse and self.n_features <= n

    def is_dear(self, n_coordinates, is_new=False):
        """Whether a fit had better go on in another way, by what it has taken and what a new set will take."""
        if not self.has_another_way:
            return False
        source, n_outputs = self.labelled.source, self.labelled.n_outputs
        n_read = source.n_samples * source.n_features * source.dtype.itemsize
        models = _FIT + (_OUTPUT + _READ * n_read) * n_outputs
        models += _MODELLED * (self.n_features + _BESIDES) * n_coordinates
        foreseen = self.foreseen * n_coordinates * len(self.weight) if is_new else 0.0
        return self.work + foreseen > (models if self.last is None else _ON_PATH * models)

    def learn(self, n_coordinates, n_steps):
        """Foresee of the next fit of a path what this one has taken."""
        self.n_steps = n_steps
        self.foreseen = self.work / (max(n_coordinates, 1) * len(self.weight))

    def take_penalty(self, elastic_net):
        """Take in a penalty, for the fits from now on.

        Returns
        -------
        dict
            Strengths of the L1 and of the L2 penalty by feature, and bounds by coordinate.
        """
        self.strength, self.is_grouped = elastic_net.l1_reg_strength, elastic_net.is_grouped
        self.descend_kernel = kernels(self.sparse, self.is_grouped)[-1]
        threshold, ridge = np.empty((2, self.n_features))
        threshold[:], ridge[:] = elastic_net.l1_by_feature, elastic_net.l2_by_feature
        if self.factor is not None:
            threshold[self.factor == 0] = np.inf  # of features that are to have no coefficients
        bounds = elastic_net.bounds
        if bounds is not None:
            bounds = tuple(side[self.present] for side in bounds)
        return {"threshold": threshold, "ridge": ridge, "bounds": bounds}

    def use(self, features):
        """Places of features' columns."""
        if self.sparse:
            return features
        places = self.place[features]
        if (places < 0).any():
            new = np.unique(features[places < 0])
            columns = self.labelled.source.X[:, new].T.astype(np.float64, order="C")
            if self.factor is not None:
                columns *= self.factor[new, None]
            if self.fit_intercept:  # which then hardly depends on the coefficients
                self.center[new] = columns @ self.weight
                columns -= self.center[new, None]
            if self.n_kept + len(new) > len(self.kept):
                kept = np.empty((max(self.n_kept + len(new), 2 * len(self.kept)), columns.shape[1]))
                kept[: self.n_kept] = self.kept[: self.n_kept]
                self.kept = kept
            self.place[new] = self.n_kept + np.arange(len(new))
            self.kept[self.n_kept : self.n_kept + len(new)] = columns
            self.n_kept += len(new)
            self.columns = (self.kept,)
            places = self.place[features]
        return places

    def move_to(self, scores):
        """The rows at these scores; the mean loss."""
        self.scores = scores
        self.value = row_states(scores, self.target, self.weight, self.proba, self.residual, self.loss, self.spare)
        return self.value

    def begin(self, classes, features, coef, intercept):
        """The rows at a point, of which coefficients are given that are not zero."""
        scores = np.zeros_like(self.proba)
        if len(features):
            places = self.use(features)
            self.add_scores_kernel(self.columns, places, classes, coef, scores)
            if not self.sparse:
                scores += np.bincount(classes, coef * self.center[features], len(scores))[:, None]
        scores += intercept[:, None]
        if self.offset is not None:
            scores += self.offset
        return self.move_to(scores)

    def unbalanced(self):
        """What intercepts that are not at their best add to the duality gap, by a careful estimate."""
        return float(np.abs(self.residual.sum(axis=1)).sum()) * (1 + float(np.abs(self.scores).max()))

    def balance(self, enough=0.0):
        """Take the intercepts to where they are best, or to where so much is left of :meth:`unbalanced`; their step."""
        step = np.zeros(len(self.present))
        if not self.fit_intercept:
            return step
        enough /= 1 + float(np.abs(self.scores).max())
        for _ in range(10):
            slope = self.residual.sum(axis=1)
            if np.abs(slope).max() <= 1e-14 or np.abs(slope).sum() <= enough:
                break
            by_weight = self.proba * self.weight
            hess = np.diag(by_weight.sum(axis=1)) - by_weight @ self.proba.T
            if len(hess) > 1:
                hess += hess.trace() / len(hess) ** 2  # a shift of all makes no difference
            try:
                more = -np.linalg.solve(hess, slope)
            except np.linalg.LinAlgError:  # rows are sure of their classes
                break
            value, scores = self.value, self.scores
            if not self.move_to(scores + more[:, None]) <= value + 4e-16 * abs(value):
                self.move_to(scores)
                break
            step += more
        return step

    def gradient(self):
        """The gradient of the mean loss by the coefficients, a :class:`Gradient`."""
        source, p, n_outputs = self.labelled.source, self.n_features, len(self.present)
        # of sparse columns one after the other, as they are made
        grad, steepest = np.empty((p, n_outputs)).T if self.sparse else np.empty((n_outputs, p)), np.empty(p)
        stored = source.X.nnz if self.sparse else source.X.size
        n_tasks = int(min(max(stored * len(grad) / _TASK_FLOPS, 1), 64, p))
        if self.sparse:  # as many stored values a task
            bounds = np.searchsorted(self.columns[2], np.linspace(0, stored, n_tasks + 1))
            bounds[0], bounds[-1] = 0, p
        else:
            bounds = np.arange(n_tasks + 1) * p // n_tasks

        by_row = np.ascontiguousarray(self.residual.T) if self.sparse else None

        def task(q, slot):
            some = slice(bounds[q], bounds[q + 1])
            if self.sparse:
                sparse_gradient(self.columns, by_row, some.start, some.stop, self.is_grouped, grad.T, steepest)
                return
            np.matmul(self.residual, source.X[:, some].astype(np.float64, copy=False), out=grad[:, some])
            if self.factor is not None:
                grad[:, some] *= self.factor[some]
            # while it lies in cache
            if self.is_grouped:
                np.sqrt(np.square(grad[:, some]).sum(axis=0), out=steepest[some])
            else:
                np.maximum(grad[:, some].max(axis=0), -grad[:, some].min(axis=0), out=steepest[some])

        run_tasks(task, n_tasks, self.n_threads)
        return Gradient(grad, steepest)

    def divergence(self, share):
        """An upper bound on the weighted sum over the rows of the divergence of a dual point from the probabilities.

        The point lies a ``share`` of the way from the probabilities to the targets.
        """
        return divergence(share, self.target, self.proba, self.weight, self.loss, self.spare[0]) if share > 0 else 0.0

    def model(self, classes, features):
        """The quadratic model of the loss among some coordinates."""
        return Model(self, classes, features)


class Model:
    """The quadratic model of the mean loss around the point, among coordinates that are given class by class.

    Attributes
    ----------
    grad, curvature : array (n_coordinates,)
    """

    def __init__(self, columns, classes, features):
        self.columns, self.classes, self.features = columns, classes, features
        self.places = columns.use(features)
        n_outputs, n = columns.proba.shape
        self.ends = np.searchsorted(classes, np.arange(n_outputs + 1))
        size = len(classes)
        self.by_weight, self.spread = np.empty((2, n_outputs, n))
        self.mass = np.zeros(n_outputs)
        self.grad, self.curvature, self.sums = np.empty((3, size))
        self.nearby, self.four = np.empty((size, 3)), np.empty((2, 4))
        self.moved, self.mean, self.work = np.empty((n_outputs, n)), np.empty(n), np.empty((2, n))
        self.n_groups = size // n_outputs if columns.is_grouped else 0
        self.by_group = np.empty((n_outputs, n if self.n_groups else 0)), np.empty((2, n_outputs))
        self.shift = np.empty(n_outputs)
        self.trail = np.empty((6, size)), np.empty((6, n_outputs)), np.empty((n_outputs + 1, n))
        self.small = np.empty((5, 5)), np.empty(5)

    def update(self):
        """Make it anew at the point where the rows are."""
        c = self.columns
        curvatures(c.proba, c.weight, self.by_weight, self.spread)
        if c.fit_intercept:
            self.spread.sum(axis=1, out=self.mass)
        size = len(self.classes)
        n_tasks = int(min(max(4 * size * c.proba.shape[1] / _TASK_FLOPS, 1), 64))
        bounds = np.arange(n_tasks + 1) * size // n_tasks
        bounds -= (bounds - self.ends[np.searchsorted(self.ends, bounds, "right") - 1]) % 4  # whole fours

        def task(q, slot):
            args = c.columns, self.places, self.classes, c.residual, self.spread
            c.prepare_kernel(*args, bounds[q], bounds[q + 1], self.grad, self.curvature, self.sums, self.nearby)

        run_tasks(task, n_tasks, c.n_threads)
        if not np.isfinite(self.curvature).all():
            raise FloatingPointError(f"squares of the data overflow {self.curvature.dtype}")

    def descend(self, coef, threshold, ridge, damping, low, high, accuracy, enough):
        """Minimise from the coefficients, with penalties, roughly.

        Returns
        -------
        coef : array (n_coordinates,)
        shift : array (n_outputs,)
            Steps of the intercepts, of columns that are not centred.
        gained : float
        """
        c, goal, gained = self.columns, coef.copy(), np.zeros(1)
        c.work += _STEP + _STEPPED * c.proba.size
        hold = damping * self.curvature
        self.moved[:], self.mean[:], self.shift[:] = 0.0, 0.0, 0.0
        max_sweeps = int(max(2e7 / (10 * len(coef) * c.proba.shape[1] + 1), 12))
        for _ in range(max(200 // max_sweeps, 1)):
            ended, n_sweeps = c.descend_kernel(
                c.columns, self.places, self.ends, self.curvature, self.sums, self.nearby,
                threshold, ridge, hold, coef, low, high, c.residual, self.spread, self.by_weight, c.proba, self.mass,
                accuracy, enough, max_sweeps, self.n_groups, goal, self.shift, self.moved, self.mean, self.work,
                *self.by_group, self.four, *self.trail, *self.small, gained,
            )  # fmt: skip
            c.work += _SWEPT * n_sweeps * len(coef) * len(c.weight)
            if ended:
                break
        return goal, gained[0]
