"""The objective over any source of rows: its value and its gradient. See docs/method.md."""

from typing import Any

import numpy as np
from scipy.special import expit

from .kernels.search import RowSearch
from .penalty import ElasticNet
from .rows import ABSENT, LabelledRows, weight_by_class

_BLOCK_ROWS = 1 << 14  # worked on at a time, where an array of all of them is not needed


class SoftmaxObjective(LabelledRows):
    """Penalised mean cross-entropy of a softmax of linear scores.

        F(W, b) = 1/S sum_i s_i CE(y_i, softmax(W x_i + b + o_i))
                  + l2_reg_strength/2 ||W D||_F^2 + l1_reg_strength ||W D||_1,    S = sum_i s_i

    with D = diag(scale), the identity unless features are standardised or the penalty has factors. A point is an array
    (n_outputs, n_columns): W D, with b as last column where ``fit_intercept``. For two classes there is one output, the
    score z of the second, and the softmax is that of (0, z).

    Parameters
    ----------
    source, y, n_classes, sample_weight, fit_intercept, n_threads, offset, scale
        As in :class:`~.rows.LabelledRows`; sample_weight is s, offset o.
    l2_reg_strength, l1_reg_strength : float
        Of the penalty, an :class:`~.penalty.ElasticNet`.
    elastic_net : ElasticNet, or None
        It, in place of the strengths.

    Attributes
    ----------
    elastic_net : ElasticNet
    n_passes, n_products : int
        Calls so far of :meth:`evaluate` and of :meth:`hessian_product`.
    row_state : array (n_outputs, n_samples), or None
        The rows at the point of :meth:`curve`: probabilities by class, or for two classes the score of the second.
    curvature : float
        Along the last direction of :meth:`hessian_product`, and of its length: in float32 more exact than the inner
        product of the direction and the result.
    """

    def __init__(
        self,
        source,
        y,
        n_classes,
        *,
        sample_weight,
        l2_reg_strength=0.0,
        l1_reg_strength=0.0,
        elastic_net=None,
        **options,
    ):
        super().__init__(source, y, n_classes, sample_weight=sample_weight, **options)
        self.elastic_net = elastic_net or ElasticNet(l2_reg_strength, l1_reg_strength)
        empty = np.empty((0, 0), source.dtype)
        self.pass_weight = empty if self.weight is None else self.weight.astype(source.dtype)[None]
        self.weighting = np.zeros(1, np.intp)
        self.row_state: Any = None
        self.curvature_weight: Any = None
        self.curvature: Any = None
        self.n_passes: float = 0
        self.n_products = 0

    @property
    def l2_reg_strength(self):
        return self.elastic_net.l2_reg_strength

    @property
    def l1_reg_strength(self):
        return self.elastic_net.l1_reg_strength

    def start_point(self, start):
        """The point of coefficients (n_outputs, n_columns): themselves."""
        return start

    def penalty(self, point):
        """The second part of F at a point."""
        p = self.source.n_features

        def squares(columns):
            penalised = point[:, columns.start : min(columns.stop, p)]
            return float(np.vdot(penalised, penalised))

        return self.elastic_net.value(point[:, :p], self.pieces.sum(squares))

    def blur(self, point):
        """What rounding errors of the scores at a point may hide of F - F*."""
        return _blur(point[:, self.source.n_features :], self.source.dtype)

    def intercepts(self, array):
        """The intercepts (n_outputs,) of a point, or a gradient by them; empty without any."""
        return array[:, self.source.n_features :].ravel()

    def by_output(self, array):
        """The coefficients of a point, or a gradient by them: a list of arrays (n_outputs, ..)."""
        return [array[:, : self.source.n_features]]

    def at_intercepts(self, intercepts):
        """The point of no coefficients, and of intercepts (n_outputs,) if there are any."""
        point = np.zeros((self.n_outputs, self.n_columns))
        point[:, self.source.n_features :].T[:] = intercepts
        return point

    def square(self, parts):
        """The squared norm of a gradient by coefficients, as :meth:`by_output` has it."""
        return float(np.vdot(parts[0], parts[0]))

    def as_gradient(self, parts, strength):
        """Coefficients times a number, both as :meth:`by_output` has them, as what a gradient by them is."""
        return [strength * parts[0]]

    def mean_of_rows(self, even):
        """The means of the features, a list of arrays as :meth:`by_output` has them, and the sum of their mean squares.

        ``even`` is the gradient by coefficients where all probabilities are even.
        """
        mean, variance = self.moments()
        return [mean], float(np.sum(mean**2 + variance))

    def with_least_penalty(self, point):
        """As :meth:`~.penalty.ElasticNet.with_least_penalty`."""
        return self.elastic_net.with_least_penalty(point, self.source.n_features)

    def nonsmooth(self):
        """As :meth:`~.penalty.ElasticNet.nonsmooth`."""
        return self.elastic_net.nonsmooth((self.n_outputs, self.n_columns), self.source.n_features)

    def evaluate(self, point):
        """F without the L1 penalty, and its gradient, at a point: one pass over the rows.

        Returns
        -------
        objective : float
        grad : array (n_outputs, n_columns) float64
        """
        self.n_passes += 1
        coef, intercept = self.split(point)
        loss, grad_coef, grad_intercept = self.passes.loss_gradient(
            self.source.parts(), coef, intercept, self.y, self.pass_weight, self.weighting, self.offset
        )
        squares, grad = self._penalised(point, grad_coef, grad_intercept)
        return loss[0] / self.source.n_samples + squares / 2, grad

    def row_search(self, n_slots):
        """Searches in subspaces of ``n_slots`` directions."""
        shape = self.n_outputs, self.source.dtype
        return RowSearch(n_slots, self.y, self.pass_weight, 0, *shape, self.n_threads)

    def raw_scores(self, point, out, is_direction=False):
        """Scores of the rows, with their offsets unless at a direction, to ``out`` (n_outputs, n_samples): half a pass.

        Parameters
        ----------
        point : array (n_outputs, n_columns)
        """
        self.n_passes += 0.5
        parts, offset = self.source.parts(), None if is_direction else self.offset
        self.passes.raw_scores(parts, *self.split(point), self.weighting, out[None], offset)

    def evaluate_at(self, point, scores):
        """As :meth:`evaluate`, of a point whose scores (n_outputs, n_samples) are known: half a pass."""
        self.n_passes += 0.5
        loss, *grad = self.passes.loss_gradient_of_scores(
            self.source.parts(), scores[None], self.y, self.pass_weight, self.weighting
        )
        squares, grad = self._penalised(point, *grad)
        return loss[0] / self.source.n_samples + squares / 2, grad

    def penalty_product(self, a, b):
        """The bilinear form of the L2 penalty: with itself, twice the penalty of a point."""
        p = self.source.n_features
        if self.elastic_net.is_free is not None:
            return float(np.vdot(a[:, :p] * self.elastic_net.l2_by_feature, b[:, :p]))
        columns = (slice(piece.start, min(piece.stop, p)) for piece in self.pieces.slices)
        return self.l2_reg_strength * sum(float(np.vdot(a[:, piece], b[:, piece])) for piece in columns)

    def curve(self, point, row_factor=None):
        """Let Hessian products be those at a point, from now on: half a pass over the rows.

        Parameters
        ----------
        point : array (n_outputs, n_columns)
        row_factor : array (n_samples,), or None
            As :meth:`set_row_factor` takes it.
        """
        if self.row_state is None:
            self.row_state = np.empty((self.n_outputs, self.source.n_samples), self.source.dtype)
        parts, (coef, intercept) = self.source.parts(), self.split(point)
        self.passes.row_state(parts, coef, intercept, self.weighting, self.row_state[None], self.offset)
        self.set_row_factor(row_factor)

    def set_row_factor(self, row_factor):
        """Multiply the curvature of each row by a factor (n_samples,), non-negative, or let it be exact (None)."""
        if row_factor is None:
            self.curvature_weight = self.pass_weight
        else:
            weight = row_factor if self.weight is None else self.weight * row_factor
            self.curvature_weight = weight.astype(self.source.dtype)[None]

    def hessian_product(self, direction, offset=None):
        """The Hessian of F, without the L1 penalty, at the point of :meth:`curve`, times a direction.

        Parameters
        ----------
        direction : array (n_outputs, n_columns)
        offset : array (n_samples, n_outputs) of dtype, or None
            Added to the scores of the direction, for what else changes along it.

        Returns
        -------
        array (n_outputs, n_columns) float64
        """
        self.n_products += 1
        coef, intercept = self.split(direction)
        curvature, product_coef, product_intercept = self.passes.hessian_product(
            self.source.parts(), coef, intercept, self.row_state[None], self.curvature_weight, self.weighting, offset
        )
        squares, product = self._penalised(direction, product_coef, product_intercept)
        self.curvature = curvature[0] / self.source.n_samples + squares
        return product

    def proba_blocks(self):
        """Rows, some at a time: the slice, probabilities (n_classes, n) in float64 at the point of :meth:`curve`."""
        n = self.source.n_samples
        for start in range(0, n, _BLOCK_ROWS):
            rows = slice(start, min(start + _BLOCK_ROWS, n))
            state = self.row_state[:, rows].astype(np.float64)
            proba = np.concatenate([expit(-state), expit(state)]) if self.n_outputs == 1 else state
            yield rows, proba, 1 / n if self.weight is None else self.weight[rows] / n

    def intercept_step(self, grad):
        """The intercepts' step at the point of :meth:`curve` for a gradient (n_outputs, 1): Newton's, of them alone."""
        between = np.zeros((self.n_classes, self.n_classes))
        for _, proba, weight in self.proba_blocks():
            between -= (proba * weight) @ proba.T
        np.fill_diagonal(between, 0.0)
        np.fill_diagonal(between, -between.sum(axis=1))
        if self.n_outputs == 1:
            return -grad / between[1, 1]
        step = -np.linalg.lstsq(between + between.trace() / len(between) ** 2, grad, rcond=1e-14)[0]
        return step - step.mean(axis=0)

    def _penalised(self, point, grad_coef, grad_intercept):
        """Make a gradient of sums over the rows; and the squares of the coefficients, times the penalty's strength."""
        n, p = self.source.n_samples, self.source.n_features
        grad, strength = np.empty_like(point), self.elastic_net.l2_by_feature

        def assemble(columns):
            columns = slice(columns.start, min(columns.stop, p))
            unscale = 1.0 if self.unscale is None else self.unscale[columns]
            piece = np.multiply(grad_coef[:, columns], unscale / n, out=grad[:, columns])
            pull = (strength[columns] if np.ndim(strength) else strength) * point[:, columns]
            piece += pull
            return float(np.vdot(pull, point[:, columns]))

        squares = self.pieces.sum(assemble)
        if self.fit_intercept:
            grad[:, -1] = grad_intercept / n
        return squares, grad


class StackedObjectives:
    """Softmax objectives over the same rows and labels that differ in weights, penalty and point, one pass for all.

    Each is that of :class:`SoftmaxObjective` over all classes. A class whose rows weigh nothing in a problem has, with
    an intercept, its minimum at an intercept of minus infinity: there it is held, its row of the point being zero, so
    that the others are fitted among themselves.

    Parameters
    ----------
    source : row source of n_samples rows
    y : array (n_samples,) intp, or (n_samples, n_classes)
        Labels in range(n_classes); or target probabilities.
    n_classes : int
    sample_weight : list of array (n_samples,) float64, one a problem
        Non-negative, each with a positive sum.
    fit_intercept : bool
    n_threads : int
    offset : array (n_samples, n_outputs), or None
        Added to the scores of every problem.
    scale : array (n_problems, n_features), or None
        Standard deviations of the features; inf for one whose coefficients are to be zero.

    Attributes
    ----------
    elastic_nets : list of ElasticNet, one a problem
        Of no penalty; see :meth:`set_penalties`.
    sw_sum : array (n_problems,)
    null_objective : array (n_problems,)
        F of the null models.
    absent : array (n_problems, n_outputs) bool
        Outputs that are held at a probability of zero.
    n_passes, n_products : int
        Problems evaluated so far, and Hessian products.
    row_state : array (n_problems, n_outputs, n_samples), or None
        As that of :class:`SoftmaxObjective`, of each problem at its point of :meth:`curve`.
    curvature : array (n_problems,)
        As there, of each problem along its last direction.
    """

    def __init__(self, source, y, n_classes, *, sample_weight, fit_intercept, n_threads, offset=None, scale=None):
        self.source, self.n_threads, self.fit_intercept = source, n_threads, fit_intercept
        self.y = y if y.ndim == 1 else np.ascontiguousarray(y[:, n_classes == 2 :], source.dtype)
        self.offset = None if offset is None else np.ascontiguousarray(offset, source.dtype)
        self.unscale = None if scale is None else 1 / scale
        self.n_outputs = 1 if n_classes == 2 else n_classes
        self.sw_sum = np.array([weight.sum() for weight in sample_weight])
        n = source.n_samples
        self.pass_weight = np.empty((len(sample_weight), n), source.dtype)
        frequency = np.empty((len(sample_weight), n_classes))
        for m, weight in enumerate(sample_weight):  # one by one: no second array of that size
            self.pass_weight[m] = weight * (n / self.sw_sum[m])
            frequency[m] = weight_by_class(y, weight, n_classes) / self.sw_sum[m]
        if fit_intercept:
            entropy = np.log(frequency, where=frequency > 0, out=np.zeros_like(frequency))
            self.null_objective = -(frequency * entropy).sum(axis=1)
        else:
            self.null_objective = np.full(len(sample_weight), np.log(n_classes))
        self.absent = np.zeros((len(sample_weight), self.n_outputs), bool)
        if fit_intercept and n_classes > 2:
            self.absent |= frequency == 0
        self.elastic_nets = [ElasticNet()] * len(sample_weight)
        self.row_state: Any = None
        self.stored: Any = None
        self.passes = self.factored_weight = None
        self.curvature = np.zeros(len(sample_weight))
        self.n_passes: float = 0
        self.n_products = 0

    def set_penalties(self, elastic_nets):
        """Take the penalty of each problem, a list of ElasticNet, for what is evaluated from now on."""
        self.elastic_nets = elastic_nets

    def arrived(self, problems):
        """Count a pass for each of some problems whose solvers have gone through the rows by themselves."""
        self.n_passes += len(problems)

    def split(self, problems, points, held=ABSENT):
        """Coefficients (n_problems, n_outputs, n_features) and intercepts (n_problems, n_outputs) of points.

        Parameters
        ----------
        problems : list of int
        points : array (n_problems, n_outputs, n_columns)
        held : float
            The intercept of outputs that are held.
        """
        p = self.source.n_features
        coef = points[..., :p] if self.unscale is None else points[..., :p] * self.unscale[problems][:, None]
        intercept = points[..., p].copy() if self.fit_intercept else np.zeros(points.shape[:2])
        intercept[self.absent[problems]] = held
        return coef, intercept

    def penalty(self, problem, point):
        """The second part of F at a point of one problem."""
        return self.elastic_nets[problem].value(point[:, : self.source.n_features])

    def blur(self, problem, point):
        """As that of :class:`SoftmaxObjective`, of one problem."""
        return _blur(point[:, self.source.n_features :], self.source.dtype)

    def with_least_penalty(self, problem, point):
        """The point of one problem with the same probabilities and the least penalty."""
        return self.elastic_nets[problem].with_least_penalty(point, self.source.n_features, ~self.absent[problem])

    def nonsmooth(self, problem):
        """As :meth:`~.penalty.ElasticNet.nonsmooth`, of one problem."""
        shape = self.n_outputs, self.source.n_features + int(self.fit_intercept)
        return self.elastic_nets[problem].nonsmooth(shape, self.source.n_features, self.absent[problem])

    def evaluate(self, problems, points):
        """F without the L1 penalty, and its gradient, for some problems at a point of their own each, in one pass.

        Parameters
        ----------
        problems : list of int
        points : list of array (n_outputs, n_columns)

        Returns
        -------
        list of (objective, grad)
        """
        self.n_passes += len(problems)
        points = np.stack(points)
        loss, grad_coef, grad_intercept = self._passes_of(problems).loss_gradient(
            *self._arguments(problems, points), self.y, self.pass_weight, np.asarray(problems, np.intp), self.offset
        )
        squares, grad = self._penalised(problems, points, grad_coef, grad_intercept)
        return list(zip((loss / self.source.n_samples + squares / 2).tolist(), grad, strict=True))

    def row_search(self, problem, n_slots):
        """Searches of one problem in subspaces of ``n_slots`` directions."""
        shape = self.n_outputs, self.source.dtype
        return RowSearch(n_slots, self.y, self.pass_weight, problem, *shape, self.n_threads)

    def raw_scores(self, problems, points, outs, are_directions):
        """Scores of the rows at a point, or along a direction, of each problem: half a pass.

        Parameters
        ----------
        problems : list of int
        points : list of array (n_outputs, n_columns)
        outs : list of array (n_outputs, n_samples)
            Written to.
        are_directions : list of bool
            Whether points are directions: these have no absent classes, and no offsets.
        """
        if self.offset is not None and len(set(are_directions)) > 1:  # a pass adds offsets to all of them, or to none
            for kind in (False, True):
                alike = [q for q, is_direction in enumerate(are_directions) if is_direction == kind]
                parts = ([values[q] for q in alike] for values in (problems, points, outs, are_directions))
                self.raw_scores(*parts)
            return
        self.n_passes += 0.5 * len(problems)
        arguments = self._arguments(problems, np.stack(points))
        intercepts = arguments[-1].reshape(len(problems), -1)
        for m, is_direction, intercept in zip(problems, are_directions, intercepts, strict=True):
            if is_direction:
                intercept[self.absent[m]] = 0.0
        weighting = np.asarray(problems, np.intp)
        offset = None if are_directions[0] else self.offset
        self._passes_of(problems).raw_scores(*arguments, weighting, self._stored(), offset)
        for m, out in zip(problems, outs, strict=True):
            out[:] = self.stored[m]

    def evaluate_at(self, problems, points, scores):
        """As :meth:`evaluate`, of points whose scores, a list of (n_outputs, n_samples), are known: half a pass."""
        self.n_passes += 0.5 * len(problems)
        stored = self._stored()
        for m, known in zip(problems, scores, strict=True):
            stored[m] = known
        loss, *grads = self._passes_of(problems).loss_gradient_of_scores(
            self.source.parts(), stored, self.y, self.pass_weight, np.asarray(problems, np.intp)
        )
        squares, grads = self._penalised(problems, np.stack(points), *grads)
        return list(zip((loss / self.source.n_samples + squares / 2).tolist(), grads, strict=True))

    def _stored(self):
        if self.stored is None:
            self.stored = np.empty((len(self.sw_sum), self.n_outputs, self.source.n_samples), self.source.dtype)
        return self.stored

    def penalty_product(self, problem, a, b):
        """The bilinear form of the L2 penalty of one problem."""
        p, net = self.source.n_features, self.elastic_nets[problem]
        if net.is_free is not None:
            return float(np.vdot(a[:, :p] * net.l2_by_feature, b[:, :p]))
        return net.l2_reg_strength * float(np.vdot(a[:, :p], b[:, :p]))

    def curve(self, problems, points, row_factors=None):
        """Let Hessian products of some problems be those at points of their own, from now on: half a pass for all.

        Parameters
        ----------
        problems : list of int
        points : list of array (n_outputs, n_columns)
        row_factors : list of array (n_samples,) or None, or None
            As :meth:`set_row_factors` takes them.
        """
        if self.row_state is None:
            shape = len(self.sw_sum), self.n_outputs, self.source.n_samples
            self.row_state = np.empty(shape, self.source.dtype)
        weighting = np.asarray(problems, np.intp)
        arguments = self._arguments(problems, np.stack(points))
        self._passes_of(problems).row_state(*arguments, weighting, self.row_state, self.offset)
        self.set_row_factors(problems, row_factors)

    def set_row_factors(self, problems, row_factors):
        """Multiply the curvature of each row by factors (n_samples,), non-negative, or let it be exact (None)."""
        row_factors = [None] * len(problems) if row_factors is None else row_factors
        if self.factored_weight is None and any(factor is not None for factor in row_factors):
            self.factored_weight = self.pass_weight.copy()
        if self.factored_weight is not None:
            for m, factor in zip(problems, row_factors, strict=True):
                np.multiply(self.pass_weight[m], 1.0 if factor is None else factor, out=self.factored_weight[m])

    def hessian_products(self, problems, directions):
        """The Hessians of F, without the L1 penalty, at the points of :meth:`curve`, times a direction each.

        Parameters
        ----------
        problems : list of int
        directions : list of array (n_outputs, n_columns)
            What they have for outputs that are held makes no difference.

        Returns
        -------
        list of array (n_outputs, n_columns) float64
            Zero for outputs that are held.
        """
        self.n_products += len(problems)
        directions = np.stack(directions)
        directions[self.absent[problems]] = 0.0
        parts, coef, intercept = self._arguments(problems, directions, held=0.0)
        weight = self.pass_weight if self.factored_weight is None else self.factored_weight
        curvature, product_coef, product_intercept = self._passes_of(problems).hessian_product(
            parts, coef, intercept, self.row_state, weight, np.asarray(problems, np.intp)
        )
        squares, product = self._penalised(problems, directions, product_coef, product_intercept)
        self.curvature[problems] = curvature / self.source.n_samples + squares
        return list(product)

    def _passes_of(self, problems):
        if self.passes is None or self.passes.n_problems != len(problems):
            # made anew as problems drop out: its workspaces are small beside the rows, and so never held twice
            self.passes = None
            self.passes = self.source.passes(len(problems), self.n_outputs, self.n_threads)
        return self.passes

    def _arguments(self, problems, points, **held):
        """What all passes take: parts, and coefficients and intercepts of all outputs."""
        coef, intercept = self.split(problems, points, **held)
        return self.source.parts(), coef.reshape(-1, self.source.n_features), intercept.ravel()

    def _penalised(self, problems, points, grad_coef, grad_intercept):
        """As that of :class:`SoftmaxObjective`, for some problems."""
        n_problems, K, p = len(problems), self.n_outputs, self.source.n_features
        n, strengths = self.source.n_samples, [self.elastic_nets[m].l2_by_feature for m in problems]
        strength = np.stack([np.atleast_1d(one) for one in strengths])[:, None]
        grad = np.empty_like(points)
        by_coef, penalised = grad[..., :p], points[..., :p]
        np.multiply(grad_coef.reshape(n_problems, K, p), 1 / n, out=by_coef)
        if self.unscale is not None:
            by_coef *= self.unscale[problems][:, None]
        by_coef += strength * penalised
        if self.fit_intercept:
            grad[..., p] = grad_intercept.reshape(n_problems, K) / n
        grad[self.absent[problems]] = 0.0
        if strength.shape[-1] > 1:
            return (strength * np.square(penalised)).sum(axis=(1, 2)), grad
        return strength[:, 0, 0] * np.square(penalised).sum(axis=(1, 2)), grad


def _blur(intercept, dtype):
    """What rounding of the scores may hide, by the intercepts (n_outputs, 1) of a point.

    Columns whose means are large beside their deviations make terms of the scores that the intercepts cancel. So the
    intercepts are as large as these terms, and the scores have rounding errors of up to half a unit in the intercepts'
    last place. F rises by about the square of that over twelve.
    """
    rounding = float(np.finfo(dtype).eps) / 2 * float(np.abs(intercept).max(initial=0.0))
    return rounding * rounding / 12
