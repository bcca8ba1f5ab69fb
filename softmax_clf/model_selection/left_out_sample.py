"""Mean losses by approximate leave-one-out where rows are too many for the exact leverage of each.

With H_i the Hessian without row i, z_i its features and g_i the gradient of its loss by its scores, its scores move by
K_i g_i, K_i = (1 x z_i') H_i^-1 (1 x z_i), when it is left out: see :mod:`~..leave_one_out`. K_i of all rows takes the
Hessian, its inverse, and a product of these for each row. Here it is found

- roughly for all rows, with B (x) A + the penalty in the place of H_i: A the sum of z z', B the mean of diag(p) - p p'.
  The eigenvectors of A serve all values of C;
- exactly for a few rows, by the method of conjugate gradients with H_i, preconditioned by the same matrix.

The mean of the first is corrected by the mean difference of the two over the sample, in which rows are the more likely
the more they lose by being left out, each weighted by the inverse of its probability: an estimate whose bias is but
what the solutions lack, and whose standard error is known where few rows do not make up most of it (W. G. Cochran,
Sampling Techniques, 1977, section 9A.3). All values of C have the same sample, so that the differences of their scores
are better known than the scores.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..kernels.threads import on_one_blas_thread, run_tasks
from ..leave_one_out import conjugate_gradients, curvatures, log_probabilities, probabilities
from ..rows import ABSENT, cross_entropy

_MANY = 2e11  # multiplications of the exact way, some seconds, from which on rows are sampled
_TOGETHER, _MOST_SAMPLED = 8, 64  # rows that are solved together; and the most of a C
_EVEN = 0.1  # of the sample is drawn from all rows alike, so that none is weighted without bound
_RIVAL = 3.0  # standard errors by which scores may differ from the best for more rows to be drawn
_RESIDUAL, _CG_STEPS = 0.05, 40  # in the metric: its square is what the moves are off by
_BETWEEN_ROWS = 8192  # that B is the mean of
_BLOCK_BYTES = 1 << 22  # of rows, in the dtype of passes
_SHIFT = 1e-9  # of the largest eigenvalue of B: along the shift of all classes there is no gradient


def is_worth_it(n_samples, n_outputs, n_columns, n_Cs):
    """Whether the exact way would take long, and a sample much less."""
    pairs, size = n_outputs * (n_outputs + 1), n_outputs * n_columns
    exact = n_Cs * (2.0 * n_samples * n_columns**2 * pairs + 2 * size**3)
    passes = 12.0 * _TOGETHER * n_Cs * 4 * n_samples * size
    return exact > _MANY and exact > 3 * (passes + 25.0 * n_columns**3)


@dataclass
class _Point:
    """An optimum, in the columns of the metric, and what the metric is there."""

    coef: Any  # in the units of X, as passes take them
    intercept: Any
    point: Any
    strength: Any
    vectors: Any = None  # of B
    inverse: Any = None  # of the metric's eigenvalues, (n_outputs, n_columns)
    rough: float = np.nan  # the mean of the losses
    spread: float = np.nan  # their standard error
    differences: list = field(default_factory=list)  # exact less rough, of the rows sampled so far, by probability


class SampledLeftOut:
    """Mean losses of rows by the fits without them, and their standard errors.

    Parameters
    ----------
    rows : Rows
    y : array (n_samples,) intp, or (n_samples, n_classes)
        Labels or target probabilities.
    weight : array (n_samples,), or None
        Of rows, in the mean.
    score_tol : float
        Standard errors of the mean loss that the estimate may be off by, in values of C that may be chosen.
    """

    def __init__(self, rows, y, weight, score_tol):
        self.rows, self.source, self.y, self.score_tol = rows, rows.source, y, score_tol
        self.fit_intercept, self.offset = rows.options["fit_intercept"], rows.options["offset"]
        self.n_threads, self.n_outputs = rows.options["n_threads"], rows.target.shape[1]
        n, p = self.source.n_samples, self.source.n_features
        self.share = np.full(n, 1 / n) if weight is None else weight / weight.sum()
        self.fit_weight = rows.weight
        self.unit = 1 / np.sqrt(rows.squares)
        self.n_columns = p + int(self.fit_intercept)
        self.mean = np.zeros(p)
        if self.fit_intercept:
            self.mean = self.source.moments(self.fit_weight, self.n_threads)[0]
        self.rng = np.random.default_rng(0)

    @on_one_blas_thread
    def scores(self, cells):
        """Minus the mean losses.

        Parameters
        ----------
        cells : list of (coef, intercept, C)

        Returns
        -------
        scores, errors : arrays (n_cells,)
            The second are standard errors of the first, which are NaN where a fit is no optimum of its own.
        """
        self.points = [self._point(*cell) for cell in cells]
        self._make_metrics(self.points)
        points = [point if point.inverse is not None else None for point in self.points]
        known = [point for point in points if point is not None]
        if known:
            self._rough_losses(known)
            self._correct(known)
        found = [(np.nan, 0.0) if point is None else (-_corrected(point), _error(point)) for point in points]
        return tuple(np.array(found).T)

    def _point(self, coef, intercept, C):
        intercept = np.maximum(intercept, ABSENT)
        point = np.zeros((self.n_outputs, self.n_columns))
        point[:, : self.source.n_features] = coef / self.unit
        if self.fit_intercept:
            point[:, -1] = intercept + coef @ self.mean
        strength = np.full(self.n_columns, 1 / C)
        strength[self.source.n_features :] = 0.0
        return _Point(coef, intercept, point, strength)

    # -----------------------------------------------------------------------------------------------------------------
    # Rows

    def _columns(self, X):
        """Rows in the columns of the metric: shifted by their mean and scaled, so that the penalty is even."""
        Z = np.ones((len(X), self.n_columns), self.source.dtype)
        np.subtract(X, self.mean, out=Z[:, : self.source.n_features], casting="same_kind")
        Z[:, : self.source.n_features] *= self.unit
        return Z

    def _each_block(self, task, n_numbers=0):
        """Call ``task(rows, Z)`` for blocks of rows, slices, in threads; the sum of what it returns."""
        step = max(_BLOCK_BYTES // (self.source.dtype.itemsize * (self.n_columns + n_numbers)), 64)
        total = 0.0
        for X, place in self.source.parts():
            starts = range(place.start, place.stop, step)
            found: list = [None] * len(starts)

            def work(t, slot, X=X, place=place, starts=starts, found=found):
                rows = slice(starts[t], min(starts[t] + step, place.stop))
                found[t] = task(rows, self._columns(self.source.rows_of(X, place, rows)))

            run_tasks(work, len(starts), self.n_threads)
            for one in found:  # in their order, whatever the number of threads
                total = total + one
        return total

    def _taken(self, rows):
        """Some rows, increasing, in float64, with what there is of them."""
        Z = self._columns(self.source.take(rows)).astype(np.float64)
        return Z, (0.0 if self.offset is None else self.offset[rows])

    # -----------------------------------------------------------------------------------------------------------------
    # All rows, roughly

    def _make_metrics(self, points):
        """The eigenvalues of A for all points, and those of B for each."""

        def gram(rows, Z):
            Z = Z * np.sqrt(self.fit_weight[rows, None]).astype(Z.dtype)
            return (Z.T @ Z).astype(np.float64)

        values, self.vectors = np.linalg.eigh(self._each_block(gram))
        some = np.flatnonzero(self.fit_weight)
        some = some[:: -(-len(some) // _BETWEEN_ROWS)]
        Z, offset = self._taken(some)
        weight = self.fit_weight[some] / self.fit_weight[some].sum()
        least = len(values) * np.finfo(np.float64).eps * values[-1]
        free = self.vectors[-1] ** 2 > 0.5 if self.fit_intercept else np.zeros(len(values), bool)
        for point in points:
            if point.strength[0] == 0 and values[0] < 1e3 * least:
                continue
            proba = probabilities(Z @ point.point.T + offset)
            between, point.vectors = np.linalg.eigh(np.einsum("i,iab->ab", weight, curvatures(proba)))
            between = np.maximum(between, max(_SHIFT * between[-1], np.finfo(np.float64).tiny))
            ridge = np.where(free, 0.0, point.strength[0])
            point.inverse = 1 / (between[:, None] * np.maximum(values, least) + ridge)
            if self.n_outputs > 1:
                point.inverse[0] = 0.0  # the shift

    def _rough_losses(self, points):
        """The mean losses by the metric, and the probabilities by which rows are sampled."""
        first = self._losses_of(np.arange(0, self.source.n_samples, -(-self.source.n_samples // _BETWEEN_ROWS)), points)
        scale = np.maximum((first[1] - first[0]).mean(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        lost = np.zeros(self.source.n_samples)

        def add(rows, Z):
            train, without = self._losses(Z, self._offset(rows), rows, points)
            lost[rows] = (np.maximum(without - train, 0.0) / scale).mean(axis=0)
            share = self.share[rows]
            return np.stack([without @ share, np.square(without) @ np.square(share)])

        mean, squares = self._each_block(add, self.n_columns + 8 * self.n_outputs)
        together = self.share @ self.share
        for point, m, s in zip(points, mean, squares, strict=True):
            point.rough, point.spread = m, np.sqrt(max(s - together * m**2, 0.0))
        chance = lost * self.share
        even = np.where(self.share > 0, 1.0, 0.0)
        chance = chance / chance.sum() if chance.sum() > 0 else even / even.sum()
        self.chance = (1 - _EVEN) * chance + _EVEN * even / even.sum()

    def _offset(self, rows):
        return 0.0 if self.offset is None else self.offset[rows]

    def _losses_of(self, rows, points):
        Z, offset = self._taken(rows)
        return self._losses(Z, offset, rows, points)

    def _losses(self, Z, offset, rows, points):
        """Losses (n_points, n) of some rows by the fits, and, roughly, by those without them."""
        weight, target = self.fit_weight[rows, None], self.rows.target[rows]
        squares = np.square(Z @ self.vectors.astype(Z.dtype))
        found = np.empty((2, len(points), len(Z)))
        for c, point in enumerate(points):
            scores = (Z @ point.point.T.astype(Z.dtype)).astype(np.float64) + offset
            spread = squares @ point.inverse.T.astype(Z.dtype)
            pull = weight * (probabilities(scores) - target)
            moves = (spread * (pull @ point.vectors)) @ point.vectors.T
            found[0, c], found[1, c] = self._loss(scores, rows), self._loss(scores + moves, rows)
        return found

    def _loss(self, scores, rows):
        eps = np.finfo(self.source.dtype).eps  # as for folds
        return cross_entropy(np.clip(log_probabilities(scores), np.log(eps), np.log1p(-eps)), self.y[rows])

    # -----------------------------------------------------------------------------------------------------------------
    # Some rows, exactly

    def _correct(self, points):
        """Sample rows, for all points at first, then for those that may be the best."""
        going = points
        state = np.empty((1, self.n_outputs, self.source.n_samples), self.source.dtype)
        for _ in range(_MOST_SAMPLED // _TOGETHER):
            rows = np.sort(self.rng.choice(len(self.chance), _TOGETHER, p=self.chance))
            steps = None
            for point in sorted(going, key=lambda one: -one.strength[0]):
                steps = self._sample(point, rows, state, steps)
            going = self._undecided(points)
            if not going:
                break

    def _undecided(self, points):
        """Points that have had all samples so far, may be the best, and are not known well enough."""
        n = max(len(point.differences) for point in points)
        points = [point for point in points if len(point.differences) == n]
        best = min(points, key=_corrected)
        rivals = []
        for point in points:
            apart = np.array(point.differences) - np.array(best.differences)
            error = apart.std(ddof=1) / np.sqrt(n)
            if point is best or _corrected(point) - _corrected(best) <= _RIVAL * error:
                rivals.append(point)
        is_known = all(_error(point) <= self.score_tol * point.spread for point in rivals)
        return [] if is_known else rivals

    def _sample(self, point, rows, state, start):
        """Take in how far the exact losses of some rows are from the rough ones; solutions, to start the next from."""
        passes = self.source.passes(1, self.n_outputs, self.n_threads)
        offset = None if self.offset is None else np.ascontiguousarray(self.offset, self.source.dtype)
        first = np.zeros(1, np.intp)
        passes.row_state(self.source.parts(), point.coef, point.intercept, first, state, offset)
        Z, offset = self._taken(rows)
        scores = Z @ point.point.T + offset
        proba, weight = probabilities(scores), self.fit_weight[rows, None]
        right = (weight * (proba - self.rows.target[rows]))[:, :, None] * Z[:, None]
        own = weight[:, :, None] * curvatures(proba)
        passes = self.source.passes(len(rows), self.n_outputs, self.n_threads)

        def product(steps):
            of_row = np.einsum("iab,ibj,ij->ia", own, steps, Z, optimize=True)
            return self._product(passes, state, point, steps) - of_row[:, :, None] * Z[:, None]

        limits = {"share": _RESIDUAL, "n_steps": _CG_STEPS}
        steps = conjugate_gradients(product, partial(self._by_metric, point), right, start=start, **limits)
        exact = self._loss(scores + np.einsum("iaj,ij->ia", steps, Z), rows)
        rough = self._losses(Z, offset, rows, [point])[1, 0]
        point.differences.extend(((exact - rough) * self.share[rows] / self.chance[rows]).tolist())
        return steps

    def _product(self, passes, state, point, steps):
        """The Hessian times steps (n, n_outputs, n_columns)."""
        p, shape = self.source.n_features, (-1, self.source.n_features)
        coef = (steps[..., :p] * self.unit).reshape(shape)
        intercept = steps[..., -1].ravel() - coef @ self.mean if self.fit_intercept else 0.0
        weight = self.fit_weight[None].astype(self.source.dtype)
        every = np.zeros(len(steps), np.intp)
        _, of_coef, of_intercept = passes.hessian_product(self.source.parts(), coef, intercept, state, weight, every)
        out = point.strength * steps
        out[..., :p] += ((of_coef - of_intercept[:, None] * self.mean) * self.unit).reshape(*steps.shape[:2], p)
        if self.fit_intercept:
            out[..., -1] += of_intercept.reshape(steps.shape[:2])
        return out

    def _by_metric(self, point, grads):
        inner = point.vectors.T @ (grads @ self.vectors)
        return (point.vectors @ (inner * point.inverse)) @ self.vectors.T


def _corrected(point):
    return point.rough + np.mean(point.differences)


def _error(point):
    return np.std(point.differences, ddof=1) / np.sqrt(len(point.differences))
