"""The objective over sparse rows that have far more features than there are rows, in coordinates of the rows.

Text, for instance. But for the features that many rows have, the head, most are rare. Their coefficients start at zero
and every gradient is a sum of rows; so, with a metric that is one number for all of them, is every step. (The minimum
is one on any way to it: B. Scholkopf, R. Herbrich and A. Smola, A generalized representer theorem, COLT 2001, section
4.) With X the rows without their head, what is kept of a class's

    coefficients W = A'X     are A and the scores Z = X W' = X X'A
    gradient     g = G'X     are G and the products V = X g' = X X'G

which takes two numbers a row, not one a feature. The product of a step with a gradient is <Z, G> and also <A, V>, hence
the plain product of (Z, A) and (G/2, V/2), and the solver, given these, need know nothing of rows. A pass has the same
number of products with X as another one: X'G and X (X'G), where that has X W' and X'G. See docs/method.md.
"""

import numpy as np

from .kernels.threads import Pieces
from .metrics.curvature import Curvature
from .metrics.kinds import Metric
from .metrics.plan import HEAD, MetricPlan
from .metrics.small import LEAST_MASS
from .objective import SoftmaxObjective

_CERTAIN = 40.0  # an intercept beside which the probabilities of the others are rounding errors
_SHORTER = 2  # times: so much shorter must points be for the sake of a metric that is worse


def suits_row_space(source, start):
    """Whether coordinates of the rows suit a fit of these rows from ``start`` (n_outputs, n_columns)."""
    if not source.is_wide_and_sparse or _SHORTER * (len(source.head) + 2 * source.n_samples) > source.n_features:
        return False
    n_started = np.count_nonzero(start[:, source.head]) + np.count_nonzero(start[:, source.n_features :])
    return np.count_nonzero(start) == n_started


class RowSpaceObjective:
    """:class:`~.objective.SoftmaxObjective` in coordinates of the rows.

    A point is an array of one dimension: the head's coefficients and the intercepts (n_outputs, n_head_columns), then Z
    and A (n_samples, n_outputs) of the other features. A gradient has G/2 and V/2 in the place of Z and of A.

    Parameters
    ----------
    source : CsrSource
    y, n_classes, sample_weight, l2_reg_strength, fit_intercept, n_threads, offset, scale
        As there.
    """

    l1_reg_strength = 0.0  # whose solver takes steps by coefficients, as that of bounds does

    def __init__(
        self, source, y, n_classes, *, sample_weight, l2_reg_strength, fit_intercept, n_threads, offset=None, scale=None
    ):
        self.source, self.n_threads, self.l2_reg_strength = source, n_threads, l2_reg_strength
        self.unscale = None if scale is None else 1 / scale
        head, self.tail = source.split(self.unscale)
        #: over the head's features alone: at a point, the scores of the others are an offset to it
        self.of_head = SoftmaxObjective(
            head,
            y,
            n_classes,
            sample_weight=sample_weight,
            l2_reg_strength=l2_reg_strength,
            fit_intercept=fit_intercept,
            n_threads=n_threads,
            offset=offset,
        )
        self.offset, self.elastic_net = self.of_head.offset, self.of_head.elastic_net
        self.n_classes, self.frequency = n_classes, self.of_head.frequency
        self.n_outputs, self.null_objective = self.of_head.n_outputs, self.of_head.null_objective
        self.head_shape = self.n_outputs, self.of_head.n_columns
        self.pieces = Pieces(source.n_samples, n_threads, self.n_outputs)
        self.passes = self.tail.passes(1, self.n_outputs, n_threads)
        n_padded = self.passes.n_padded
        # of the passes: A or G, X X' times it, and X' times it in between
        self.rows_in, self.rows_out = (np.zeros((source.n_samples, n_padded), source.dtype) for _ in range(2))
        self.features = np.empty((self.tail.n_features, n_padded), source.dtype)
        self.curvature = None

    @property
    def n_passes(self):
        return self.of_head.n_passes

    @property
    def n_products(self):
        return self.of_head.n_products

    @property
    def row_state(self):
        return self.of_head.row_state

    def parts(self, point):
        """The three parts of a point or of a gradient."""
        size, n = self.n_outputs * self.of_head.n_columns, self.source.n_samples
        by_row = point[size:].reshape(2, n, self.n_outputs)
        return point[:size].reshape(self.head_shape), by_row[0], by_row[1]

    def start_point(self, start):
        """The point of coefficients (n_outputs, n_columns) that are zero but for the head's."""
        point = np.zeros(self.n_outputs * (self.of_head.n_columns + 2 * self.source.n_samples))
        by_head = self.parts(point)[0]
        by_head[:, : len(self.source.head)] = start[:, self.source.head]
        by_head[:, len(self.source.head) :] = start[:, self.source.n_features :]
        return point

    def split(self, point):
        """Coefficients (n_outputs, n_features) and intercepts (n_outputs,) of a point."""
        by_head, _, by_row = self.parts(point)
        coef = np.empty((self.n_outputs, self.source.n_features))
        coef[:, self.source.head], intercept = self.of_head.split(by_head)
        self.rows_in[:, : self.n_outputs] = by_row
        self.passes.combine(self.tail.columns, self.rows_in, self.features)
        coef[:, self.source.tail] = self.features[:, : self.n_outputs].T
        if self.unscale is not None:
            coef *= self.unscale
        return coef, intercept

    def penalty(self, point):
        """The second part of F at a point."""
        by_head, scores, by_row = self.parts(point)
        squares = self.pieces.sum(lambda rows: float(np.vdot(scores[rows], by_row[rows])))
        return self.of_head.penalty(by_head) + self.l2_reg_strength / 2 * squares

    def blur(self, point):
        """As that of :class:`~.objective.SoftmaxObjective`."""
        return self.of_head.blur(self.parts(point)[0])

    def intercepts(self, array):
        """As :meth:`~.objective.SoftmaxObjective.intercepts`."""
        return self.of_head.intercepts(self.parts(array)[0])

    def by_output(self, array):
        """As :meth:`~.objective.SoftmaxObjective.by_output`."""
        by_head, first, second = self.parts(array)
        return [*self.of_head.by_output(by_head), first.T, second.T]

    def at_intercepts(self, intercepts):
        """As :meth:`~.objective.SoftmaxObjective.at_intercepts`."""
        point = np.zeros(self.n_outputs * (self.of_head.n_columns + 2 * self.source.n_samples))
        self.parts(point)[0][:] = self.of_head.at_intercepts(intercepts)
        return point

    def square(self, parts):
        """As :meth:`~.objective.SoftmaxObjective.square`."""
        by_head, half_grad, half_products = parts
        return self.of_head.square([by_head]) + 4 * float(np.vdot(half_grad, half_products))

    def as_gradient(self, parts, strength):
        """As :meth:`~.objective.SoftmaxObjective.as_gradient`."""
        by_head, scores, by_row = parts
        return [strength * by_head, strength / 2 * by_row, strength / 2 * scores]

    def mean_of_rows(self, even):
        """As :meth:`~.objective.SoftmaxObjective.mean_of_rows`: a pass; of rare features, squares of the means."""
        certain = np.zeros(self.n_outputs)
        certain[0] = _CERTAIN
        of_first = self.by_output(self.evaluate(self.at_intercepts(certain))[1])
        mean = [(c[0] - e[0]) / (1 - 1 / self.n_classes) for c, e in zip(of_first, even, strict=True)]
        square = self.of_head.mean_of_rows(even)[1] if len(mean[0]) else 0.0
        return mean, square + 4 * float(mean[1] @ mean[2])

    def intercept_step(self, grad):
        """As :meth:`~.objective.SoftmaxObjective.intercept_step`."""
        return self.of_head.intercept_step(grad)

    def place_head(self, point):
        """Return the head's part of a point, and let the scores of the others there be its objective's offset."""
        by_head, scores, _ = self.parts(point)
        scores = scores.astype(self.source.dtype, copy=False)
        self.of_head.offset = scores if self.offset is None else scores + self.offset
        return by_head

    def evaluate(self, point):
        """F and its gradient at a point: one pass over the rows.

        Returns
        -------
        objective : float
        grad : array, as the point
        """
        objective, grad_of_head = self.of_head.evaluate(self.place_head(point))
        squares, grad = self._with_tail(point, grad_of_head)
        if self.n_passes == 1 and np.isfinite(objective) and not np.isfinite(self.parts(grad)[2]).all():
            raise FloatingPointError(f"products of its rows overflow {self.source.dtype}")
        return objective + squares / 2, grad

    def curve(self, point, row_factor=None):
        """As :meth:`~.objective.SoftmaxObjective.curve`."""
        self.of_head.curve(self.place_head(point), row_factor)

    def set_row_factor(self, row_factor):
        """As :meth:`~.objective.SoftmaxObjective.set_row_factor`."""
        self.of_head.set_row_factor(row_factor)

    def hessian_product(self, direction):
        """The change of the gradient along a direction, an array as a point: in these coordinates as a gradient is."""
        by_head, scores, _ = self.parts(direction)
        product_of_head = self.of_head.hessian_product(by_head, scores.astype(self.source.dtype, copy=False))
        squares, product = self._with_tail(direction, product_of_head)
        self.curvature = self.of_head.curvature + squares
        return product

    def _with_tail(self, point, grad_of_head):
        """Make a gradient of that of the head and of what its pass has left; and the squares, times the strength."""
        _, scores, by_row = self.parts(point)
        grad = np.empty_like(point)
        head_part, half_grad, half_products = self.parts(grad)
        head_part[:] = grad_of_head
        K, n, pointwise = self.n_outputs, self.source.n_samples, self.of_head.passes.pointwise

        def assemble(rows):
            pull = self.l2_reg_strength * by_row[rows]
            self.rows_in[rows, :K] = piece = pointwise[rows, :K] / n + pull
            np.multiply(piece, 0.5, out=half_grad[rows])
            return float(np.vdot(pull, scores[rows]))

        squares = self.pieces.sum(assemble)
        self.passes.combine(self.tail.columns, self.rows_in, self.features)
        self.passes.combine(self.tail, self.features, self.rows_out)
        self.pieces.each(lambda rows: np.multiply(self.rows_out[rows, :K], 0.5, out=half_products[rows]))
        return squares, grad


class RowSpaceCurvature:
    """Makes metrics as :class:`~.metrics.curvature.Curvature` does: of the head, and one number a class for the others.

    The number is the weighted mean of the features' curvatures, the weights being the curvatures themselves, so that it
    is nearer to the stiff features.

    Parameters
    ----------
    objective : RowSpaceObjective
    """

    is_exact = False  # whatever its head's is: that of the others is not

    def __init__(self, objective):
        self.objective, self.of_head = objective, Curvature.from_objective(objective.of_head)
        self.plan = MetricPlan(HEAD, 0, 0.0)

    def metric(self, point):
        """The metric at a point."""
        by_head = self.objective.place_head(point)
        metric = self.of_head.metric(by_head)
        return metric.with_matrix(RowSpaceMetric(self.objective, metric.matrix, self._stiffness(by_head)))

    def _stiffness(self, by_head):
        o, of_head = self.objective, self.objective.of_head
        for at in (by_head, None):  # as for the head: far out there may be no curvature
            proba = of_head.proba(at)
            spread = proba * (1 - proba) * (1.0 if of_head.weight is None else of_head.weight[:, None]) / len(proba)
            if spread.sum() > LEAST_MASS:
                break
        curvature = o.passes.weighted_squares(o.tail, spread)
        tiny = np.finfo(np.float64).tiny
        unit = max(curvature.max(), tiny)
        curvature /= unit  # or squares would underflow
        mean = unit * np.square(curvature).sum(axis=1) / np.maximum(curvature.sum(axis=1), tiny)
        stiffness = np.maximum(mean, 1e-6 * mean.max()) + o.l2_reg_strength  # of no class all but zero
        stiffness[stiffness == 0] = np.inf  # no values, no penalty: no step
        return stiffness


class RowSpaceMetric(Metric):
    """The metric of a :class:`RowSpaceObjective`.

    Parameters
    ----------
    objective : RowSpaceObjective
    of_head : metric of its head
    stiffness : array (n_outputs,)
        Of the other features.
    """

    slack = 30  # by measurement on text and on 200 random matrices of words, some of 3 words a row

    def __init__(self, objective, of_head, stiffness):
        self.objective, self.of_head = objective, of_head
        self.slack = max(self.slack, of_head.slack)
        self.compliance = 1 / stiffness

    def solve(self, grad):
        by_head, half_grad, half_products = self.objective.parts(grad)
        step = np.empty_like(grad)
        step_of_head, scores, by_row = self.objective.parts(step)
        step_of_head[:] = self.of_head.solve(by_head)

        def stretch(rows):
            for part, out in ((half_products, scores), (half_grad, by_row)):
                piece = np.multiply(part[rows], 2 * self.compliance, out=out[rows])
                if len(self.compliance) > 1:
                    piece -= piece.mean(axis=1, keepdims=True)

        self.objective.pieces.each(stretch)
        return step
