"""Online second-order softmax regression: a stream of batches, each seen once, and a quadratic memory of the past.

After t batches the loss of all their rows is remembered as the quadratic 1/2 (w - w_t)' H_t (w - w_t) around the
solution w_t. A batch moves w_t to the minimum of its own loss plus that memory, and adds its curvature there:

    w_t = argmin_w  sum_i s_i CE(y_i, softmax(w z_i))  +  1/2 (w - w_{t-1})' H_{t-1} (w - w_{t-1}),    z_i = (x_i, 1)
    H_t = H_{t-1} + curvature of the batch at w_t,                          w_0 = 0, H_0 the penalty 1/C, counted once

In Bayes' terms w_t is the mode and H_t the precision of a Gaussian posterior that is the next batch's prior, the online
Laplace approximation (D. J. Spiegelhalter and S. L. Lauritzen, Sequential updating of conditional probabilities on
directed graphical structures, Networks 20, 1990; M. Opper, A Bayesian approach to on-line learning, in: On-Line
Learning in Neural Networks, 1998). H_t is kept as one Kronecker product B (x) A (H. Ritter, A. Botev and D. Barber,
Online structured Laplace approximations for overcoming catastrophic forgetting, NeurIPS 2018), the one of the solver's
metric. Were the loss quadratic, this would be recursive least squares, and the order of the rows would not matter. See
docs/method.md.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import blas
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, logsumexp, softmax

from .kernels.gram import add_weighted_grams
from .kernels.softmax import RAW
from .kernels.threads import Pieces, on_one_blas_thread
from .metrics.factors import GramFactor
from .metrics.kinds import DiagonalMetric, KroneckerMetric, laplacian
from .metrics.plan import MAX_FLOAT64
from .metrics.scheduled import ScheduledMetric, patience
from .solvers.lbfgs import Memory, lbfgs, n_pairs, run

_MAX_SQUARE_FEATURES = 4096  # with more of them, only the diagonal of H is remembered
_PANEL_BYTES = 1 << 24  # of rows that are worked on at a time
_PAIRS_BYTES = 3 << 25  # of the solver's memory, where it is kept short
# As the solution moves on, the curvature that earlier rows had holds it back more than their loss would: so much of it
# is remembered. And rows that seem certain will be less so: the least caution. Both by measurement, in 100 batches of
# patch features and of frozen embeddings.
_SHARE, _LEAST_CAUTION = 0.7, 0.15


class _RowCurvature:
    """Curvature of a batch's rows in their scores: s_i S_i for row i,

        S_i = (1 - caution) share (diag(p_i) - p_i p_i') + caution (I - 11'/K) / K,

    the second matrix being what the first is where all classes are equally likely.

    Parameters
    ----------
    objective : SoftmaxObjective
        Of the batch.
    weight_sum : float
        The sum of s_i.
    point : array (n_outputs, n_columns)
    caution, share : float, from 0 to 1

    Attributes
    ----------
    diagonal : array (n_samples, n_outputs)
        Of s_i S_i.
    total : array (n_outputs, n_outputs)
        The sum of s_i S_i.
    """

    def __init__(self, objective, weight_sum, point, caution, share=1.0):
        o, n = objective, objective.source.n_samples
        coef, intercept = o.split(point)
        scores = np.empty((n, o.n_outputs), o.source.dtype)
        o.passes.predict(o.source.parts(), coef, intercept, RAW, scores)
        scores = scores.astype(np.float64)
        proba = expit(scores) if o.n_outputs == 1 else softmax(scores, axis=1)
        weight = np.full((n, 1), weight_sum / n) if o.weight is None else o.weight[:, None] * (weight_sum / n)
        weighted = weight * proba
        even = evenly_likely(o.n_outputs)
        self.diagonal = share * (1 - caution) * weighted * (1 - proba) + caution * weight * even.diagonal()
        if o.n_outputs == 1:
            self.total = self.diagonal.sum(axis=0, keepdims=True)
        else:
            self.total = share * (1 - caution) * laplacian(weighted.T @ proba) + caution * weight_sum * even


def evenly_likely(n_outputs):
    """Curvature in its scores of a row whose classes are equally likely."""
    K = n_outputs
    return np.full((1, 1), 0.25) if K == 1 else (np.eye(K) - 1 / K) / K


@dataclass(frozen=True)
class KroneckerMemory:
    """H = B (x) A + the penalty. It is never changed: :meth:`plus` makes another.

    Attributes
    ----------
    penalty : array (n_columns,)
        1/C, and zero for the intercept, the last column where there is one.
    between : array (n_outputs, n_outputs)
        sum_i s_i S_i; B is this with trace one.
    gram : array (n_features, n_features) float64
        sum_i s_i t_i (x_i - center)(x_i - center)', t_i the trace of S_i; the lower triangle. With ``center`` and
        ``mass`` it is A.
    center : array (n_features,)
        Mean of the rows with weights s_i t_i; zero without an intercept.
    mass : float
        sum_i s_i t_i
    """

    penalty: np.ndarray
    between: np.ndarray
    gram: np.ndarray
    center: np.ndarray
    mass: float

    @classmethod
    def start(cls, objective, penalty, n_rows):
        """A memory of no data but ``n_rows`` rows at about the mean of a batch, whose classes are equally likely."""
        source, weight = objective.source, objective.weight
        rows = np.arange(source.n_samples) if weight is None else np.flatnonzero(weight)
        first = source.take(rows[:1000])
        center = first.mean(axis=0, dtype=np.float64) if objective.fit_intercept else np.zeros(source.n_features)
        gram = np.zeros((source.n_features, source.n_features))
        between = n_rows * evenly_likely(objective.n_outputs)
        return cls(penalty, between, gram, center, float(np.trace(between)))

    def plus(self, objective, curvature):
        """A memory of these rows and those of a batch.

        Parameters
        ----------
        objective : SoftmaxObjective
            Of the batch.
        curvature : _RowCurvature
        """
        source, row_weight = objective.source, curvature.diagonal.sum(axis=1)
        gram, center, mass = self.gram.copy(), self.center, self.mass
        size = max(_PANEL_BYTES // (source.n_features * source.dtype.itemsize), 1)
        for start in range(0, source.n_samples, size):
            rows = np.arange(start, min(start + size, source.n_samples))
            X, weight = source.take(rows), row_weight[rows]
            total = weight.sum()
            if objective.fit_intercept and total > 0:
                # each about its own mean; what lies between the means is one more row
                mean = weight @ X / total
                X = np.vstack([X - mean.astype(X.dtype), (mean - center).astype(X.dtype)])
                weight = np.append(weight, mass * total / (mass + total))
                center = center + (mean - center) * (total / (mass + total))
            mass += total
            origin, sums = np.zeros(X.shape[1], X.dtype), np.zeros((1, X.shape[1]))  # which are not needed
            add_weighted_grams(X, weight[:, None], origin, [gram], sums, objective.n_threads)
        return replace(self, between=self.between + curvature.total, gram=gram, center=center, mass=float(mass))

    def times(self, factor):
        """A memory of the same rows with so many times the weight; the penalty stays what it is."""
        gram, between = self.gram * factor, self.between * factor
        return replace(self, gram=gram, between=between, mass=self.mass * factor)

    def merged(self, other):
        """A memory of these rows and those of another of the same penalty, which is counted once."""
        mass = self.mass + other.mass
        share = self.mass * other.mass / mass if mass > 0 else 0.0
        apart = other.center - self.center
        gram = self.gram + other.gram + share * np.tril(np.outer(apart, apart))
        center = self.center + apart * (other.mass / mass if mass > 0 else 0.0)
        return replace(self, between=self.between + other.between, gram=gram, center=center, mass=mass)

    def with_classes(self, places, n_classes, weight_sum):
        """A memory of the same rows for more classes; see :func:`with_classes`."""
        between, gram, mass = self.between, self.gram, self.mass
        if len(between) == 1:  # the difference of two rows of coefficients
            between = between * np.array([[1.0, -1.0], [-1.0, 1.0]])
        unseen = 1 - len(places) / n_classes
        wider = unseen * weight_sum * evenly_likely(n_classes)
        wider[np.ix_(places, places)] += (1 - unseen) * between
        trace = float(np.trace(wider))
        ratio = trace / mass if mass > 0 else 1.0
        return replace(self, between=wider, gram=gram * ratio, mass=trace)

    def hessp(self, step):
        """The product of H with a step (n_outputs, n_columns)."""
        n_features, trace = len(self.center), np.trace(self.between)
        coef, result = step[:, :n_features], np.zeros_like(step)
        if trace > 0:
            # BLAS reads arrays by columns: the lower triangle here is the upper one there
            result[:, :n_features] = blas.dsymm(1.0, self.gram.T, coef.T).T
            if step.shape[1] > n_features:
                moved = self.mass * (step[:, n_features] + coef @ self.center)
                result[:, :n_features] += np.outer(moved, self.center)
                result[:, n_features] = moved
            result = self.between @ result / trace
        return result + self.penalty * step

    def passes(self, objective):
        """What making a metric takes, in passes over the batch: a few products of squares of features."""
        return 1 + objective.source.n_features**2 / (2 * objective.source.n_samples * objective.n_outputs)

    def metric(self, objective):
        """H as the solver's metric, which takes this memory's arrays for its own."""
        trace = np.trace(self.between)
        center = self.center if objective.fit_intercept else None
        # large ones in less precision for speed: a metric need not be exact, as the memory must
        dtype = objective.source.dtype
        gram = self.gram if len(self.gram) <= MAX_FLOAT64 else self.gram.astype(dtype, copy=False)

        def factored(ridge):
            return GramFactor(gram, ridge, center, self.mass, dtype, objective.n_outputs, objective.n_threads)

        return KroneckerMetric(factored, self.between / trace, self.penalty[0])


@dataclass(frozen=True)
class DiagonalMemory:
    """The diagonal of H, for features too many for more. It is never changed: :meth:`plus` makes another.

    Attributes
    ----------
    penalty : array (n_columns,)
        As in :class:`KroneckerMemory`.
    diagonal : array (n_outputs, n_columns)
        sum_i s_i S_ikk (x_i, 1)^2, element by element.
    """

    penalty: np.ndarray
    diagonal: np.ndarray

    @classmethod
    def start(cls, objective, penalty, n_rows):
        diagonal = np.zeros((objective.n_outputs, objective.n_columns))
        if objective.fit_intercept:
            diagonal[:, -1] = n_rows * evenly_likely(objective.n_outputs).diagonal()
        return cls(penalty, diagonal)

    def plus(self, objective, curvature):
        diagonal, p = self.diagonal.copy(), objective.source.n_features
        if objective.source.is_wide_and_sparse:
            diagonal[:, :p] += objective.passes.weighted_squares(objective.source, curvature.diagonal)
            diagonal[:, p:] += curvature.diagonal.sum(axis=0)[:, None]
            return replace(self, diagonal=diagonal)
        for k, weight in enumerate(np.ascontiguousarray(curvature.diagonal.T)):  # strided: one more kernel to compile
            total = weight.sum()
            if total > 0:
                mean, variance = objective.source.moments(weight, objective.n_threads)
                diagonal[k, :p] += total * (mean**2 + variance)
                diagonal[k, p:] += total
        return replace(self, diagonal=diagonal)

    def times(self, factor):
        return replace(self, diagonal=self.diagonal * factor)

    def merged(self, other):
        return replace(self, diagonal=self.diagonal + other.diagonal)

    def with_classes(self, places, n_classes, weight_sum):
        known = np.repeat(self.diagonal, 2, axis=0) if len(self.diagonal) == 1 else self.diagonal
        diagonal = np.repeat(known.mean(axis=0, keepdims=True), n_classes, axis=0)
        diagonal[places] = known
        return replace(self, diagonal=diagonal)

    def hessp(self, step):
        return (self.diagonal + self.penalty) * step

    def passes(self, objective):
        return 1.0

    def metric(self, objective):
        diagonal = self.diagonal + self.penalty
        diagonal[diagonal == 0] = np.inf  # a feature that no row has, without a penalty: it stays where it is
        return DiagonalMetric(diagonal, objective.pieces)


@dataclass(frozen=True)
class Stream:
    """What is known of the batches so far. It is never changed: :func:`update` makes another.

    Attributes
    ----------
    point : array (n_outputs, n_columns)
        The solution w_t.
    memory : KroneckerMemory or DiagonalMemory
        H_t.
    class_totals : array (n_classes,)
        Weights s_i of the rows of each class.
    n_samples : int
    n_effective : float
        Rows as they count with their weights.
    """

    point: np.ndarray
    memory: KroneckerMemory | DiagonalMemory
    class_totals: np.ndarray
    n_samples: int
    n_effective: float


@on_one_blas_thread
def update(stream, objective, weight_sum, C, *, tol, max_iter, report, check_start, forget=0.0):
    """Take in a batch.

    Parameters
    ----------
    stream : Stream, or None for the first batch
    objective : SoftmaxObjective
        Of the batch, without a penalty.
    weight_sum : float
        The sum of s_i.
    C : float
        Of the penalty, for the first batch.
    tol : float
        The solver ends within ``tol * weight_sum * log(n_classes)`` of the minimum.
    max_iter, report
        As in :func:`~.solvers.lbfgs.lbfgs`.
    check_start : callable
        Called with the objective, its value and its gradient where the batch begins, to raise what is to be raised.
    forget : float
        Share of what the rows before weigh that is forgotten first.

    Returns
    -------
    stream : Stream
    solution : Solution
    """
    totals = weight_sum * objective.frequency
    if stream is None:
        stream = _first(objective, totals, C)
    # w_t balances the rows before and the penalty: with fewer rows the penalty is left over
    left_over = forget * stream.memory.penalty * stream.point
    if forget:
        stream = _without_share(stream, forget)
    before, memory = stream.point, stream.memory
    # While fewer rows than features have been seen, the solution is far from where it will be, and its curvature says
    # little. Rows are counted by their effective number (L. Kish, Survey Sampling, 1965, section 8.2), which does not
    # depend on the unit of the weights.
    n = objective.source.n_samples
    n_effective = stream.n_effective + (n if objective.weight is None else n**2 / np.square(objective.weight).sum())
    trust = n_effective / (n_effective + objective.source.n_features)
    caution = max(_caution(stream.class_totals, totals, objective.source.n_samples), _LEAST_CAUTION * trust)

    def make_metric(point):
        # at a point that has not seen the batch its rows can seem certain, but will not be: halfway to being uncertain
        curvature = _RowCurvature(objective, weight_sum, point, 0.5)
        with np.errstate(over="raise", invalid="raise"):
            metric = memory.plus(objective, curvature).metric(objective)
        passes = memory.passes(objective)
        return ScheduledMetric(metric, patience(passes), passes)

    solver = lbfgs(
        before,
        make_metric,
        target=lambda point: tol * weight_sum * np.log(objective.n_classes),
        max_iter=max_iter,
        noise=4 * np.finfo(objective.source.dtype).eps,
        report=report,
        memory=Memory(n_pairs(before.size, _PAIRS_BYTES), Pieces(before.size, objective.n_threads)),
    )

    def evaluate(point):
        loss, grad = objective.evaluate(point)
        if objective.n_passes == 1:
            check_start(objective, loss, grad)
        step = point - before
        pull = memory.hessp(step)
        value = weight_sum * loss + np.vdot(step, pull) / 2 + np.vdot(left_over, step)
        return value, weight_sum * grad + pull + left_over

    solution = run(solver, evaluate)
    curvature = _RowCurvature(objective, weight_sum, solution.point, caution, _SHARE * trust)
    memory = memory.plus(objective, curvature)
    n_samples = stream.n_samples + objective.source.n_samples
    return Stream(solution.point, memory, stream.class_totals + totals, n_samples, n_effective), solution


def _without_share(stream, forget):
    left = 1 - forget
    totals, n_effective = stream.class_totals * left, stream.n_effective * left
    return replace(stream, memory=stream.memory.times(left), class_totals=totals, n_effective=n_effective)


def with_classes(stream, places, n_classes, n_features):
    """A stream that goes on with more classes than there have been.

    Of a class that no row had, the rows before say that it is unlikely: it begins where it would be as likely at their
    center as a class of one row among them, with the coefficients' mean. How their curvature would have been nobody
    knows; it is taken as :func:`update` takes that of a batch that lacks as many of the classes.

    Parameters
    ----------
    stream : Stream
    places : array (n_before,) intp
        Of the classes before, among all.
    n_classes, n_features : int
    """
    point, total = stream.point, float(stream.class_totals.sum())
    if len(point) == 1:
        point = np.concatenate([-point, point]) / 2
    rows = np.repeat(point.mean(axis=0, keepdims=True), n_classes, axis=0)
    rows[places] = point
    if rows.shape[1] > n_features:
        unseen = np.setdiff1d(np.arange(n_classes), places)
        center = getattr(stream.memory, "center", np.zeros(n_features))
        likely = logsumexp(point[:, :n_features] @ center + point[:, n_features])
        rows[unseen, n_features] = likely - np.log1p(stream.n_effective) - rows[unseen, :n_features] @ center
    totals = np.zeros(n_classes)
    totals[places] = stream.class_totals
    memory = stream.memory.with_classes(places, n_classes, total)
    return replace(stream, point=rows - rows.mean(axis=0), memory=memory, class_totals=totals)


@on_one_blas_thread
def merged(stream, other):
    """What two streams of the same classes and features, with the same penalty, know together.

    The minimum of the sum of both quadratics, in which the penalty is counted once, by conjugate gradients; and the sum
    of both memories, as one.
    """
    penalty, shape = stream.memory.penalty, stream.point.shape

    def hessp(step):
        step = step.reshape(shape)
        return (stream.memory.hessp(step) + other.memory.hessp(step) - penalty * step).ravel()

    right = stream.memory.hessp(stream.point) + other.memory.hessp(other.point)
    start = (stream.point + other.point) / 2
    operator = LinearOperator((start.size, start.size), matvec=hessp, dtype=np.float64)
    point, _ = cg(operator, right.ravel(), x0=start.ravel(), rtol=1e-8, maxiter=10 * start.size)
    return Stream(
        point.reshape(shape),
        stream.memory.merged(other.memory),
        stream.class_totals + other.class_totals,
        stream.n_samples + other.n_samples,
        stream.n_effective + other.n_effective,
    )


def _first(objective, totals, C):
    """The stream before its first batch."""
    p = objective.source.n_features
    penalty = np.zeros(objective.n_columns)
    penalty[:p] = 0.0 if np.isinf(C) else 1 / C
    # without a row of some class, nothing else would bound the intercept: one row, of the weight of others
    n_present = objective.source.n_samples if objective.weight is None else np.count_nonzero(objective.weight)
    n_rows = totals.sum() / n_present if objective.fit_intercept and (totals == 0).any() else 0.0
    memory = KroneckerMemory if p <= _MAX_SQUARE_FEATURES else DiagonalMemory
    point = np.zeros((objective.n_outputs, objective.n_columns))
    return Stream(point, memory.start(objective, penalty, n_rows), np.zeros_like(totals), 0, 0.0)


def _caution(before, batch, n_rows):
    """How far the curvature of a batch is to be that of rows whose classes are equally likely.

    In a stream that is sorted by class, rows look certain because the others have not come yet: of no curvature, and
    soon forgotten. So the more of the classes are still to come, and the more the classes of the batch differ from
    those before, the less the probabilities are believed.

    Parameters
    ----------
    before, batch : array (n_classes,)
        Weights of the rows of each class.
    n_rows : int
        Rows of the batch.
    """
    unseen = np.mean(before + batch == 0)
    changed = 0.0
    if before.any():
        expected = before / before.sum()
        distance = np.abs(batch / batch.sum() - expected).sum() / 2
        # the mean of the distance in as many random rows (normal approximation): twice that is no chance
        by_chance = np.sqrt(expected * (1 - expected) * 2 / (np.pi * n_rows)).sum() / 2
        changed = distance if distance > 2 * by_chance else 0.0
    return max(unseen, changed)
