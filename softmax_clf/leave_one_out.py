"""Where the optimum of a fit moves without each of its rows, without refits.

With J(W) = S F(W) = sum_i s_i l_i(W z_i) + 1/2 sum_kj r_j W_kj^2, z_i the row i with a one for the intercept, r the
strength of the penalty by column, and at the optimum H the Hessian of J, p_i the probabilities, g_i = p_i - t_i the
gradient of l_i by the scores and A_i = diag(p_i) - p_i p_i' its Hessian, one Newton step on J less the row i is

    step_i = (H - s_i A_i x z_i z_i')^-1 (s_i g_i x z_i) = H^-1 (r_i x z_i),    r_i = (1 - s_i A_i K_i)^-1 s_i g_i,

by the Woodbury identity, with K_i = (1 x z_i') H^-1 (1 x z_i), so that the row's scores move by K_i r_i: approximate
leave-one-out (K. Rad and A. Maleki, A scalable estimate of the out-of-sample prediction error via approximate
leave-one-out cross-validation, JRSS B 82, 2020). One factorisation serves all rows. Where a row moves far, the
curvature of the others changes on the way: there Newton's method goes on, with their exact gradients and curvatures.
"""

from functools import partial

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.special import log_expit, log_softmax

from .kernels.threads import on_one_blas_thread, run_tasks
from .rows import ABSENT

HESSIAN_BYTES = 1 << 30  # what the Hessian may take
_BLOCK_BYTES = 1 << 23  # of rows in float64, with what is made of them
_TOGETHER_BYTES = 1 << 27  # probabilities of all rows, for the removed ones that are solved together
_CG_STEPS, _CG_SHARE = 30, 1e-3  # of a Newton step's system; the preconditioned residual that is left
_HALVINGS = 8  # of steps that do not lower the objective


class NoInverse(ValueError):
    """A Hessian is singular."""


class Rows:
    """Rows that are to be removed from fits to them.

    Parameters
    ----------
    source : Source of n_samples rows
    labels : array (n_samples,) intp, or (n_samples, n_classes)
        Labels in range(n_classes); or target probabilities.
    n_classes : int
    weight : array (n_samples,), or None
        s.
    scale : array (n_features,), or None
        Standard deviations of the features where these are standardised, inf for those that do not vary.
    fit_intercept : bool
    n_threads : int
    offset : array (n_samples, n_outputs), or None
        Added to the scores.

    Raises
    ------
    ValueError
        Where the Hessian is too large.
    """

    def __init__(self, source, labels, n_classes, weight, scale, *, fit_intercept, n_threads, offset=None):
        self.source, self.labels, self.n_classes = source, labels, n_classes
        self.weight = np.ones(source.n_samples) if weight is None else weight
        self.options = {"fit_intercept": fit_intercept, "n_threads": n_threads, "offset": offset}
        self.target = as_target(labels, n_classes)
        self.squares = np.ones(source.n_features)
        if scale is not None:
            self.squares = np.where(np.isfinite(scale), scale, 1.0) ** 2  # those that do not vary have no coefficients
        _check_size(self.target.shape[1], source.n_features + int(fit_intercept))

    def optimum(self, coef, intercept, C):
        """The :class:`Optimum` that some coefficients are."""
        strength = self.squares / C
        return Optimum(self.source, self.target, self.weight, coef, intercept, strength, **self.options)

    def log_proba_without(self, coef, intercept, C):
        """Logarithms of the probabilities (n_samples, n_classes) of each row without it, by one step."""
        optimum = self.optimum(coef, intercept, C)
        return log_probabilities(optimum.scores + optimum.removals()[1])


class Optimum:
    """The optimum of a fit and what the rows have to do with it.

    Parameters
    ----------
    source : Source of n_samples rows
    target : array (n_samples, n_outputs)
        Target probabilities, of the second class where there are two.
    weight : array (n_samples,)
        s, not divided by their sum.
    coef, intercept : arrays (n_outputs, n_features), (n_outputs,)
    strength : array (n_features,)
        Of the L2 penalty by column, of the sum of the losses: 1/C, times squares of scales.
    fit_intercept : bool
    n_threads : int
    offset : array (n_samples, n_outputs), or None
        Added to the scores.

    Attributes
    ----------
    scores : array (n_samples, n_outputs)
    decrement : float
        What J is above its minimum by one Newton step, which has been taken.

    Raises
    ------
    ValueError
        Where the Hessian has no inverse.
    """

    def __init__(self, source, target, weight, coef, intercept, strength, *, fit_intercept, n_threads, offset=None):
        self.source, self.target, self.weight, self.n_threads = source, target, weight, n_threads
        self.fit_intercept, self.offset = fit_intercept, offset
        self.n_outputs, self.n_columns = target.shape[1], source.n_features + int(fit_intercept)
        self.strength = np.append(strength, [0.0] * fit_intercept)
        self.origin = np.zeros(source.n_features)
        if fit_intercept:  # which takes up what the features are shifted by: rounding is less where they are centred
            self.origin = self._mean()
        self.point = self._point(coef, intercept)
        self._solve()

    def _point(self, coef, intercept):
        point = np.zeros((self.n_outputs, self.n_columns))
        point[:, : self.source.n_features] = coef
        if self.fit_intercept:
            point[:, -1] = np.maximum(intercept, ABSENT) + coef @ self.origin
        return point

    # -----------------------------------------------------------------------------------------------------------------
    # Rows

    def blocks(self, n_numbers=0):
        """Slices of rows and these, as columns of a point; see :meth:`blocks_of`."""
        return self.blocks_of(self.source, n_numbers)

    def blocks_of(self, source, n_numbers=0):
        """Slices of rows of any source, and these.

        Parameters
        ----------
        source : Source
        n_numbers : int
            float64 numbers that are made of a row at a time.
        """
        step = max(int(_BLOCK_BYTES / 8 / (self.n_columns + n_numbers)), 16)
        for X, place in source.parts():
            for start in range(place.start, place.stop, step):
                rows = slice(start, min(start + step, place.stop))
                yield rows, self._columns(source.rows_of(X, place, rows))

    def take(self, rows):
        """Some rows."""
        order, place = np.unique(rows, return_inverse=True)  # a stream is read in increasing order
        return self._columns(self.source.take(order)[place])

    def _columns(self, X):
        Z = np.ones((len(X), self.n_columns))
        np.subtract(X, self.origin, out=Z[:, : self.source.n_features])
        return Z

    def _mean(self):
        total = np.zeros(self.source.n_features)
        for rows, Z in self.blocks():
            total += self.weight[rows] @ Z[:, : self.source.n_features]
        return total / self.weight.sum()

    # -----------------------------------------------------------------------------------------------------------------
    # The Hessian

    @on_one_blas_thread
    def _solve(self):
        """Make the inverse of the Hessian, and take the Newton step that is missing to the optimum."""
        k, d = self.n_outputs, self.n_columns
        hess = np.zeros((k, d, k, d))
        grad = self.strength * self.point
        pairs = [(a, b) for a in range(k) for b in range(a + 1)]
        for rows, Z in self.blocks(2 * k):
            proba, weight = probabilities(self._scores(rows, Z)), self.weight[rows, None]
            grad += (weight * (proba - self.target[rows])).T @ Z

            def add(t, slot, Z=Z, proba=proba, weight=weight):
                a, b = pairs[t]
                pointwise = proba[:, a] * (_others(proba, a) if a == b else -proba[:, b])
                hess[a, :, b] += (Z * (weight[:, 0] * pointwise)[:, None]).T @ Z

            run_tasks(add, len(pairs), self.n_threads)
        for a, b in pairs:
            hess[b, :, a] = hess[a, :, b].T
        for a in range(k):
            hess[a, np.arange(d), a, np.arange(d)] += self.strength
        self._hold_what_changes_nothing(hess)
        self.inverse = _inverse(hess.reshape(k * d, k * d))
        step = (self.inverse @ grad.ravel()).reshape(k, d)
        self.decrement = float(np.vdot(step, grad)) / 2
        self.point -= step
        self.scores = np.concatenate([self._scores(rows, Z) for rows, Z in self.blocks()])

    def _scores(self, rows, Z):
        return Z @ self.point.T if self.offset is None else Z @ self.point.T + self.offset[rows]

    def _hold_what_changes_nothing(self, hess):
        """Curvature for sums over classes of columns without a penalty, and for classes that no row may be of.

        No gradient has anything along them.
        """
        k = self.n_outputs
        if k > 1:
            for j in np.flatnonzero(self.strength == 0):
                hess[:, j, :, j] += np.trace(hess[:, j, :, j]) / k**2
        diagonal = np.einsum("ajaj->aj", hess)
        diagonal[diagonal == 0] = 1.0

    @on_one_blas_thread
    def quadratics(self, Z):
        """K_i of some rows in the columns of a point, (n, n_outputs, n_outputs)."""
        k, d = self.n_outputs, self.n_columns
        inverse, found = self.inverse.reshape(k, d, k, d), np.empty((k, k, len(Z)))
        pairs = [(a, b) for a in range(k) for b in range(a + 1)]

        def take(t, slot):
            a, b = pairs[t]
            found[a, b] = found[b, a] = np.einsum("ij,ij->i", Z @ inverse[a, :, b], Z)

        run_tasks(take, len(pairs), self.n_threads)
        return np.ascontiguousarray(found.transpose(2, 0, 1))

    @on_one_blas_thread
    def responses(self, Z):
        """H^-1 (1 x z) of some rows, (n, n_outputs, n_outputs, n_columns)."""
        return _responses(Z, self.inverse, self.n_outputs)

    # -----------------------------------------------------------------------------------------------------------------
    # Without a row

    def removals(self):
        """One Newton step without each row.

        Returns
        -------
        pull : array (n_samples, n_outputs)
            r_i, by which H^-1 is to be multiplied for the step.
        moves : array (n_samples, n_outputs)
            Of the row's own scores.
        leverage : array (n_samples,)
            The traces of s_i A_i K_i, which add up to the effective number of parameters.
        """
        k = self.n_outputs
        (pull, moves), leverage = np.empty((2, *self.scores.shape)), np.empty(len(self.scores))
        for rows, Z in self.blocks(self.n_columns + 4 * k**2):
            proba, weight, quadratics = probabilities(self.scores[rows]), self.weight[rows, None], self.quadratics(Z)
            reduced = weight[:, :, None] * curvatures(proba) @ quadratics
            right = weight * (proba - self.target[rows])
            pull[rows] = np.linalg.solve(np.eye(k) - reduced, right[:, :, None])[:, :, 0]
            moves[rows] = np.einsum("iab,ib->ia", quadratics, pull[rows])
            leverage[rows] = np.trace(reduced, axis1=1, axis2=2)
        return pull, moves, leverage

    @on_one_blas_thread
    def without(self, rows, pull, max_steps, tol):
        """Go on with Newton's method where one step is not enough.

        Parameters
        ----------
        rows : array of intp
        pull : array (n_rows, n_outputs)
            r_i of these rows.
        max_steps : int
            In all.
        tol : float
            Where a step changes the logarithms of the row's probabilities by less, it was the last.

        Returns
        -------
        scores : array (n_rows, n_outputs)
            Of each row by the fit without it.
        changes : array (n_rows,)
            Of logarithms of probabilities by the last step.
        n_steps : array (n_rows,) intp
        """
        size = 8 * self.n_outputs * max(len(self.weight), 3 * self.n_outputs * self.n_columns)
        n_together = max(_TOGETHER_BYTES // size, 1)
        parts = [slice(start, start + n_together) for start in range(0, len(rows), n_together)]
        found = [_Without(self, rows[part], pull[part]).solved(max_steps, tol) for part in parts]
        return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))


class _Without:
    """Fits without one row each, of a few rows, solved together.

    Parameters
    ----------
    optimum : Optimum
    rows, pull
        As in :meth:`Optimum.without`.
    """

    def __init__(self, optimum, rows, pull):
        self.optimum, self.rows = optimum, rows
        self.Z = optimum.take(rows)
        k = optimum.n_outputs
        self.response = optimum.responses(self.Z)
        proba = probabilities(optimum.scores[rows])
        reduced = optimum.weight[rows, None, None] * curvatures(proba)
        self.update = np.linalg.solve(np.eye(k) - reduced @ optimum.quadratics(self.Z), reduced)
        self.step = np.einsum("ia,iabj->ibj", pull, self.response)

    def solved(self, max_steps, tol):
        """Scores, last changes and numbers of steps, as :meth:`Optimum.without` has them."""
        n_rows = len(self.rows)
        start, objective = np.zeros_like(self.step), self._objective(np.zeros_like(self.step))
        moved, objective = self._shortened(start, self.step, objective)
        changes, n_steps = np.full(n_rows, np.inf), np.ones(n_rows, np.intp)
        for _ in range(1, max_steps):
            going = changes > tol
            if not going.any():
                break
            before = self._log_proba(moved)
            step = self._newton_step(moved)
            step[~going] = 0.0
            moved, objective = self._shortened(moved, step, objective)
            n_steps += going
            change = np.abs(self._log_proba(moved) - before)
            changes = np.where(going, change.max(axis=1), changes)
        return self._scores(moved), changes, n_steps

    def _scores(self, moved):
        return self.optimum.scores[self.rows] + np.einsum("iaj,ij->ia", moved, self.Z)

    def _log_proba(self, moved):
        return log_probabilities(self._scores(moved))

    def _shortened(self, start, step, objective):
        """From a start by a step, halved where it would raise the objective; and the objective there."""
        step = step.copy()
        for _ in range(_HALVINGS):
            there = self._objective(start + step)
            worse = ~(there <= objective + 1e-9 * np.abs(objective))
            if not worse.any():
                break
            step[worse] /= 2
        return start + step, there

    def _moved_blocks(self, moved):
        """For each block of rows: Z, weights (n, n_rows) without those removed, and scores (n, n_rows, n_outputs)."""
        optimum = self.optimum
        k, d = optimum.n_outputs, optimum.n_columns
        for rows, Z in optimum.blocks(3 * k * len(self.rows)):
            weight = np.repeat(optimum.weight[rows, None], len(self.rows), axis=1)
            own = np.flatnonzero((self.rows >= rows.start) & (self.rows < rows.stop))
            weight[self.rows[own] - rows.start, own] = 0.0
            scores = (Z @ moved.reshape(-1, d).T).reshape(len(Z), len(self.rows), k)
            yield rows, Z, weight, scores

    def _objective(self, moved):
        """J without each row, less its value at the optimum by row, so that small differences have their digits."""
        optimum = self.optimum
        point = optimum.point + moved
        total = (optimum.strength * (point**2 - optimum.point**2)).sum(axis=(1, 2)) / 2
        for rows, _, weight, scores in self._moved_blocks(moved):
            at = optimum.scores[rows, None]
            target = optimum.target[rows, None]
            total += (weight * (_losses(at + scores, target) - _losses(at, target))).sum(axis=0)
        return total

    def _newton_step(self, moved):
        """Minus the inverse of the Hessian without each row times the gradient, there."""
        optimum = self.optimum
        grad = optimum.strength * (optimum.point + moved)
        probas = np.empty((len(optimum.weight), len(self.rows), optimum.n_outputs))
        for rows, Z, weight, scores in self._moved_blocks(moved):
            proba = probas[rows] = probabilities(optimum.scores[rows, None] + scores)
            grad += self._by_point(weight[:, :, None] * (proba - optimum.target[rows, None]), Z)
        return -conjugate_gradients(partial(self._product, probas), self._precondition, grad)

    def _by_point(self, by_row, Z):
        return (by_row.reshape(len(Z), -1).T @ Z).reshape(len(self.rows), self.optimum.n_outputs, -1)

    def _product(self, probas, direction):
        """The Hessians at some probabilities times a direction each."""
        out = self.optimum.strength * direction
        for rows, Z, weight, scores in self._moved_blocks(direction):
            proba = probas[rows]
            pointwise = proba * (scores - (proba * scores).sum(axis=2, keepdims=True))
            if proba.shape[2] == 1:
                pointwise = proba * (1 - proba) * scores
            out += self._by_point(weight[:, :, None] * pointwise, Z)
        return self._held(out, direction)

    def _held(self, out, direction):
        """Curvature for the sums over classes of columns without a penalty, which nothing depends on."""
        free = self.optimum.strength == 0
        if self.optimum.n_outputs > 1 and free.any():
            sums = direction[:, :, free].sum(axis=1, keepdims=True)
            out[:, :, free] += sums * self.optimum.weight.sum() / self.optimum.n_outputs**2
        return out

    def _precondition(self, grad):
        """The inverse of the Hessian at the optimum, without each row, times a gradient each."""
        size = self.optimum.n_outputs * self.optimum.n_columns
        out = (grad.reshape(-1, size) @ self.optimum.inverse).reshape(grad.shape)
        scores = np.einsum("iaj,ij->ia", out, self.Z)
        return out + np.einsum("ia,iabj->ibj", np.einsum("iab,ib->ia", self.update, scores), self.response)


def conjugate_gradients(product, precondition, right, *, share=_CG_SHARE, n_steps=_CG_STEPS, start=None):
    """Solutions of several systems, by the preconditioned method of conjugate gradients.

    ``share`` is what may be left of the residuals of zero, in the norm of the preconditioner; ``start`` may be
    solutions of similar systems, that are gone along as far as leads down.
    """
    found, residual = np.zeros_like(right), right.copy()
    direction = z = precondition(residual)
    square = first = np.einsum("iaj,iaj->i", residual, z)
    if start is not None:
        there = product(start)
        length = _ratio(np.einsum("iaj,iaj->i", start, right), np.einsum("iaj,iaj->i", start, there))[:, None, None]
        found += length * start
        residual -= length * there
        direction = z = precondition(residual)
        square = np.einsum("iaj,iaj->i", residual, z)
    for _ in range(n_steps):
        going = square > share**2 * first
        if not going.any():
            break
        there = product(direction)
        length = _ratio(square * going, np.einsum("iaj,iaj->i", direction, there))[:, None, None]
        found += length * direction
        residual -= length * there
        z = precondition(residual)
        before, square = square, np.einsum("iaj,iaj->i", residual, z)
        direction = z + _ratio(square, before)[:, None, None] * direction
    return found


def _ratio(a, b):
    return np.divide(a, b, where=b > 0, out=np.zeros_like(a))


def _check_size(n_outputs, n_columns):
    n_bytes = 8 * (n_outputs * n_columns) ** 2
    if n_bytes > HESSIAN_BYTES:
        raise ValueError(
            f"Expected a Hessian of at most {HESSIAN_BYTES >> 20} MB, got {n_outputs} x {n_columns} coefficients: "
            f"{n_bytes >> 20} MB. Remedy: take fewer features (by PCA, for instance), or out-of-fold "
            "probabilities, store_oof_proba=True of SoftmaxRegressionClassifierCV."
        )


def as_target(labels, n_classes, both=False):
    """Target probabilities (n_samples, n_outputs), or of both of two classes."""
    target = np.eye(n_classes)[labels] if labels.ndim == 1 else np.asarray(labels, np.float64)
    return target[:, 1:] if n_classes == 2 and not both else target


def _responses(Z, inverse, n_outputs):
    by_row = np.einsum("ij,ab->iabj", Z, np.eye(n_outputs))
    return (by_row.reshape(-1, len(inverse)) @ inverse).reshape(by_row.shape)


def _inverse(hess):
    """The inverse of a Hessian, which is overwritten."""
    scale = 1 / np.sqrt(np.diagonal(hess))  # columns of any unit
    hess *= scale
    hess *= scale[:, None]
    factor, failed = dpotrf(hess.T, lower=1, clean=1, overwrite_a=1)
    if not failed and np.square(np.diagonal(factor)).min() < len(hess) * np.finfo(np.float64).eps:
        failed = 1
    if failed:
        raise NoInverse(
            "Expected a Hessian that has an inverse, but at the optimum some combination of the features has no "
            "curvature. Remedy: fit with a smaller C, or leave out features that others determine."
        )
    inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
    inverse = inverse.T  # the upper triangle, in C order
    for start in range(0, len(inverse), 256):
        rows = slice(start, start + 256)
        inverse[start:, rows] = inverse[rows, start:].T
        block = inverse[rows, rows]
        block[:] = np.tril(block) + np.tril(block, -1).T
    inverse *= scale
    inverse *= scale[:, None]
    return inverse


def probabilities(scores):
    """Probabilities (..., n_outputs) of scores; one output is that of the second class."""
    with np.errstate(under="ignore"):
        return np.exp(log_expit(scores) if scores.shape[-1] == 1 else log_softmax(scores, axis=-1))


def log_probabilities(scores):
    """Logarithms of the probabilities (..., n_classes) of scores, of two classes where there is one output."""
    if scores.shape[-1] == 1:
        return np.concatenate([log_expit(-scores), log_expit(scores)], axis=-1)
    return log_softmax(scores, axis=-1)


def _losses(scores, target):
    """Cross-entropy of each row of scores (..., n_outputs)."""
    log_proba = log_probabilities(scores)
    if scores.shape[-1] == 1:
        target = np.concatenate([1 - target, target], axis=-1)
    return -(target * np.maximum(log_proba, ABSENT)).sum(axis=-1)


def _others(proba, a):
    """One less the probability of a class, with its digits where that is near one."""
    if proba.shape[1] == 1:
        return 1 - proba[:, 0]
    return np.delete(proba, a, axis=1).sum(axis=1)


def curvatures(proba):
    """A_i = diag(p_i) - p_i p_i', (n, n_outputs, n_outputs)."""
    k = proba.shape[1]
    found = -proba[:, :, None] * proba[:, None]
    for a in range(k):
        found[:, a, a] = proba[:, a] * _others(proba, a)
    return found
