"""The loss in a subspace of directions whose scores are known: its value, gradient and Hessian, without reading X.

With Z the raw scores of the rows at a point and S_q those of a direction d_q, the scores at ``point + sum_q t_q d_q``
are ``Z + sum_q t_q S_q``, and the loss is a function of the few numbers t.
"""

from functools import lru_cache

import numpy as np

from .elementary import EXACT, exp
from .jit import jit, jit_part
from .softmax import _SUM, BLOCK_LOSS, normalise, shift_scores
from .threads import run_tasks

_BLOCK_ROWS = 128
_TASK_FLOPS = 1e6
_MAX_TASKS = 64


@jit_part(fastmath=EXACT)
def _move(scores, steps, slots, t, row, n_rows, out):
    """``scores + sum_q t[q] * steps[slots[q]]`` of the rows row:row + n_rows, in float64."""
    for k in range(scores.shape[0]):
        known, z = scores[k, row : row + n_rows], out[k]
        for i in range(n_rows):
            z[i] = known[i]
        for q in range(t.shape[0]):
            step = steps[slots[q], k, row : row + n_rows]
            for i in range(n_rows):
                z[i] += t[q] * step[i]


@jit_part(fastmath=_SUM)
def _product(a, b, n_rows):
    total = 0.0
    for i in range(n_rows):
        total += a[i] * b[i]
    return total


@jit_part(fastmath=EXACT)
def _curvatures(z, n_rows, zeros, work):
    """Replace scores by probabilities; where two classes share one score, by their product."""
    n_scores = z.shape[0]
    if n_scores > 1:
        shift_scores(z, 0, n_scores, n_rows, zeros, work[0])
        normalise(z, 0, n_scores, n_rows, work[0], work[1], work[2])
    else:
        for i in range(n_rows):
            e = exp(-abs(z[0, i]))
            z[0, i] = e / ((1.0 + e) * (1.0 + e))


@jit_part(fastmath=EXACT)
def _changes(proba, step, row, n_rows, row_weight, mean, out):
    """The change of the gradient by row that a step makes: ``weight * p_k * (s_k - sum_j p_j s_j)``."""
    n_scores = proba.shape[0]
    mean[:n_rows] = 0.0
    if n_scores > 1:
        for k in range(n_scores):
            p, s = proba[k], step[k, row : row + n_rows]
            for i in range(n_rows):
                mean[i] += p[i] * s[i]
    for k in range(n_scores):
        p, s, change = proba[k], step[k, row : row + n_rows], out[k]
        for i in range(n_rows):
            change[i] = row_weight[i] * p[i] * (s[i] - mean[i])


@lru_cache
def _along_kernel(block_loss):
    @jit
    def along(
        scores, steps, slots, t, y, weight, weighting, start, stop,
        z, proba, changes, work, by_score, loss_out, grad_out, hess_out,
    ):  # fmt: skip
        """Value, gradient and Hessian by t of the loss of the rows start:stop.

        scores : (n_scores, n_samples)                      # IN at the point
        steps : (n_slots, n_scores, n_samples)              # IN of directions
        slots : (n_steps,) intp                             # IN which of them
        t : (n_steps,) float64                              # IN
        y, weight, weighting : as in the losses             # IN
        z, proba : (n_scores, block_rows), changes : (n_steps, n_scores, block_rows), work : (6, block_rows),
        by_score : (2, n_scores), the first row of it zero  # workspace
        loss_out : (1,), grad_out : (n_steps,), hess_out : (n_steps, n_steps)  # OUT float64, lower triangle
        """
        n_scores, n_steps = scores.shape[0], t.shape[0]
        zeros, ignored = by_score[0], by_score[1]
        loss_out[:] = 0.0
        grad_out[:] = 0.0
        hess_out[:] = 0.0
        for row in range(start, stop, _BLOCK_ROWS):
            n_rows = min(_BLOCK_ROWS, stop - row)
            row_weight = work[4]
            for i in range(n_rows):
                row_weight[i] = 1.0 if weight.shape[0] == 0 else weight[weighting, row + i]
            _move(scores, steps, slots, t, row, n_rows, z)
            for k in range(n_scores):
                for i in range(n_rows):
                    proba[k, i] = z[k, i]
            _curvatures(proba, n_rows, zeros, work)
            loss_out[0] += block_loss(z, 0, n_scores, row, n_rows, zeros, y, row_weight, work, ignored)
            for q in range(n_steps):
                _changes(proba, steps[slots[q]], row, n_rows, row_weight, work[5], changes[q])
                for k in range(n_scores):
                    grad_out[q] += _product(z[k], steps[slots[q], k, row : row + n_rows], n_rows)
                for r in range(q + 1):
                    for k in range(n_scores):
                        step = steps[slots[r], k, row : row + n_rows]
                        hess_out[q, r] += _product(changes[q, k], step, n_rows)

    return along


@jit
def _combine(scores, steps, slots, t, start, stop, slot):
    """Add ``sum_q t[q] * steps[slots[q]]`` of the rows start:stop to their scores, and keep it in ``steps[slot]``.

    The last of the steps are the scores along the point, which it is added to as well.
    """
    own = steps.shape[0] - 1
    for k in range(scores.shape[0]):
        for row in range(start, stop, _BLOCK_ROWS):
            for i in range(row, min(row + _BLOCK_ROWS, stop)):
                total = 0.0
                for q in range(t.shape[0]):
                    total += t[q] * steps[slots[q], k, i]
                steps[slot, k, i] = total
                scores[k, i] += steps[slot, k, i]
                steps[own, k, i] += steps[slot, k, i]


class RowSearch:
    """Scores of the rows at a point and along directions, and the loss in the subspace of these.

    Parameters
    ----------
    n_slots : int
        Directions, the last of which is the point.
    y : array (n_samples,) intp, or (n_samples, n_scores) of dtype
    weight : array (n_weightings, n_samples), or (0, 0) for none
        As in the passes.
    weighting : int
        Row of ``weight``.
    n_scores : int
    dtype : float32 or float64
    n_threads : int

    Attributes
    ----------
    scores : array (n_scores, n_samples)
        Raw scores at the point, to be set.
    steps : array (n_slots, n_scores, n_samples)
        Those of directions, to be set.
    """

    def __init__(self, n_slots, y, weight, weighting, n_scores, dtype, n_threads):
        self.y, self.weight, self.weighting, self.n_threads = y, weight, weighting, n_threads
        self.scores = np.empty((n_scores, len(y)), dtype)
        self.steps = np.empty((n_slots, n_scores, len(y)), dtype)
        self.kernel = _along_kernel(BLOCK_LOSS[n_scores == 1, y.ndim])
        flops = 2 * n_scores * (n_slots**2 + 10 * n_slots + 40)
        n_tasks = int(min(max(len(y) * flops / _TASK_FLOPS, 1), _MAX_TASKS))
        size = -(-len(y) // (n_tasks * _BLOCK_ROWS)) * _BLOCK_ROWS
        self.bounds = [*range(0, len(y), size), len(y)]  # by the data alone, not the threads

    def along(self, slots, t):
        """The mean loss of the rows at ``t``, its gradient and its Hessian by t.

        Parameters
        ----------
        slots : array (n_steps,) intp
            Of the directions.
        t : array (n_steps,) float64

        Returns
        -------
        loss : float
        grad : array (n_steps,)
        hess : array (n_steps, n_steps)
        """
        n_tasks, n_steps, n_scores = len(self.bounds) - 1, len(t), len(self.scores)
        loss, grad, hess = np.empty((n_tasks, 1)), np.empty((n_tasks, n_steps)), np.empty((n_tasks, n_steps, n_steps))
        workspaces = {}

        def task(q, slot):
            if slot not in workspaces:
                by_class = np.zeros((2, n_scores, _BLOCK_ROWS))
                workspaces[slot] = (
                    *by_class,
                    np.empty((n_steps, n_scores, _BLOCK_ROWS)),
                    np.zeros((6, _BLOCK_ROWS)),
                    np.zeros((2, n_scores)),
                )
            self.kernel(
                self.scores, self.steps, slots, t, self.y, self.weight, self.weighting, *self.bounds[q : q + 2],
                *workspaces[slot], loss[q], grad[q], hess[q],
            )  # fmt: skip

        run_tasks(task, n_tasks, self.n_threads)
        total, n = hess.sum(axis=0), len(self.y)
        return float(loss.sum()) / n, grad.sum(axis=0) / n, (total + np.tril(total, -1).T) / n

    def combine(self, slots, t, slot):
        """Go to ``t``, and keep the scores of the way there in a slot."""

        def task(q, _):
            _combine(self.scores, self.steps, slots, t, *self.bounds[q : q + 2], slot)

        run_tasks(task, len(self.bounds) - 1, self.n_threads)
