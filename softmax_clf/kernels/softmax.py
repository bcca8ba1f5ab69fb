"""Softmax, cross-entropy and what they need, for a block of scores that lies in cache.

Scores of a block are stored by class, ``scores[k, i]`` for class k and row i, so that every loop runs over
rows side by side in vector lanes, for any number of classes, and the maximum and the sum over classes
take no horizontal instruction.
"""

from functools import lru_cache

import numpy as np

from .elementary import EXACT, exp, log1p_float64
from .jit import jit_part

RAW, PROBA, LOG_PROBA = 0, 1, 2  # kinds of predictions


def optional(*arrays, dtype):
    """Arrays that may be None, or of no elements, and their dimensions, as kernels take them.

    What there is not is an array, too: so one compiled kernel does with and without.
    """
    return tuple(array if array is not None and len(array) else np.empty((0,) * n, dtype) for array, n in arrays)


# What a plain sum may be rearranged by, so that it is taken in vector lanes.
_SUM = {"contract", "reassoc", "nsz"}


@jit_part(fastmath=EXACT)
def shift_scores(scores, first, n_scores, n_rows, intercept, row_max_out):
    """Add the intercepts to the scores of one problem and find each row's largest.

    Parameters
    ----------
    scores : (n_padded_classes, n_padded_rows)  # IN / OUT
    first, n_scores, n_rows : intp              # IN the problem's first row of scores and its size
    intercept : (n_padded_classes,)             # IN
    row_max_out : (n_padded_rows,)              # OUT
    """
    for k in range(first, first + n_scores):
        b = intercept[k]
        if k == first:
            for i in range(n_rows):
                scores[k, i] += b
                row_max_out[i] = scores[k, i]
        else:
            for i in range(n_rows):
                z = scores[k, i] + b
                scores[k, i] = z
                largest = row_max_out[i]
                # "not <=" lets a NaN through to the loss, where it is seen
                row_max_out[i] = largest if z <= largest else z


@jit_part(fastmath=EXACT)
def exponentiate(scores, first, n_scores, n_rows, row_max, n_largest, rest_out):
    """Replace scores by exp(score - row_max), and sum them over the classes, less the one of the largest score.

    That is what the loss of a row that is fitted well is made of: beside the one it would be rounded away.

    Parameters
    ----------
    scores, first, n_scores, n_rows, row_max : as in :func:`shift_scores`
    n_largest : (n_padded_rows,)                # workspace
    rest_out : (n_padded_rows,)                 # OUT the sum less one
    """
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    for i in range(n_rows):
        n_largest[i], rest_out[i] = zero, zero
    for k in range(first, first + n_scores):
        for i in range(n_rows):
            below = scores[k, i] - row_max[i]
            e = exp(below)
            scores[k, i] = e
            n_largest[i] += one if below == zero else zero
            rest_out[i] += zero if below == zero else e
    for i in range(n_rows):
        rest_out[i] += n_largest[i] - one


@jit_part(fastmath=EXACT)
def scale_rows(scores, first, n_scores, n_rows, scale):
    """Multiply each row's values by ``scale[i]``. Shapes as :func:`shift_scores`."""
    for k in range(first, first + n_scores):
        for i in range(n_rows):
            scores[k, i] *= scale[i]


@jit_part(fastmath=_SUM)
def weighted_loss(rest, picked, row_weight, n_rows):
    loss = 0.0
    for i in range(n_rows):
        loss += row_weight[i] * (log1p_float64(np.float64(rest[i])) - picked[i])
    return loss


@jit_part(fastmath=_SUM)
def _add_row_sums(scores, first, n_scores, n_rows, sums_out):
    for k in range(first, first + n_scores):
        total = 0.0
        for i in range(n_rows):
            total += scores[k, i]
        sums_out[k] += total


@jit_part(fastmath=EXACT)
def cross_entropy(scores, first, n_scores, row, n_rows, intercept, y, row_weight, work, grad_intercept_out):
    """Loss of one problem's rows; turn its scores into ``grad_pointwise = weight * (proba - target)``.

    Loss and probabilities are taken from the scores less their maximum, so that neither overflows. With r the sum of
    the exponentials e_k but for the largest, which is one, the loss is log(1 + r) - (z_y - max), and proba - 1 of the
    label is ((e_y - 1) - r) / (1 + r): neither is lost where r is small.

    Parameters
    ----------
    scores : (n_padded_classes, n_padded_rows)  # IN X @ coef.T / OUT grad_pointwise
    first, n_scores : intp                      # IN the problem's first row of scores and its size
    row, n_rows : intp                          # IN the block is rows row:row + n_rows of the data
    intercept : (n_padded_classes,)             # IN
    y : (n_samples,) intp                       # IN labels, each in range(n_scores); two classes: 0 or 1
    row_weight : (n_padded_rows,)               # IN weights of the block's rows
    work : (4, n_padded_rows)                   # workspace
    grad_intercept_out : (n_padded_classes,) float64  # OUT added to

    Returns
    -------
    loss : float64
    """
    row_max, rest, picked, n_largest = work[0], work[1], work[2], work[3]
    one = scores.dtype.type(1)
    shift_scores(scores, first, n_scores, n_rows, intercept, row_max)
    for i in range(n_rows):
        picked[i] = scores[first + y[row + i], i] - row_max[i]
    exponentiate(scores, first, n_scores, n_rows, row_max, n_largest, rest)
    loss = weighted_loss(rest, picked, row_weight, n_rows)
    for i in range(n_rows):
        k = first + y[row + i]
        scores[k, i] = (scores[k, i] - one) - rest[i]
    for i in range(n_rows):
        rest[i] = row_weight[i] / (one + rest[i])
    scale_rows(scores, first, n_scores, n_rows, rest)
    _add_row_sums(scores, first, n_scores, n_rows, grad_intercept_out)
    return loss


@jit_part(fastmath=EXACT)
def logistic_loss(scores, first, n_scores, row, n_rows, intercept, y, row_weight, work, grad_intercept_out):
    """As :func:`cross_entropy` for two classes that share one score z, the softmax of (0, z).

    With the margin a = z for class 1 and -z for class 0: the loss is log(1 + exp(-a)), and the residual the
    probability of the other class, 1 / (1 + exp(a)), taken without the cancellation of 1 - proba.
    """
    rest, picked = work[1], work[2]
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    for i in range(n_rows):
        z = scores[first, i] + intercept[first]
        positive = y[row + i] == 1
        margin = z if positive else -z
        e = exp(-margin if margin >= zero else margin)
        rest[i] = e
        picked[i] = zero if margin >= zero else margin
        other = (e if margin >= zero else one) / (one + e)
        scores[first, i] = row_weight[i] * (-other if positive else other)
    _add_row_sums(scores, first, 1, n_rows, grad_intercept_out)
    return weighted_loss(rest, picked, row_weight, n_rows)


@jit_part(fastmath=EXACT)
def soft_cross_entropy(scores, first, n_scores, row, n_rows, intercept, y, row_weight, work, grad_intercept_out):
    """As :func:`cross_entropy` for target probabilities: ``y`` is (n_samples, n_scores), its rows sum to one."""
    row_max, rest, picked, n_largest = work[0], work[1], work[2], work[3]
    shift_scores(scores, first, n_scores, n_rows, intercept, row_max)
    picked[:n_rows] = scores.dtype.type(0)
    for k in range(n_scores):
        for i in range(n_rows):
            picked[i] += y[row + i, k] * (scores[first + k, i] - row_max[i])
    exponentiate(scores, first, n_scores, n_rows, row_max, n_largest, rest)
    loss = weighted_loss(rest, picked, row_weight, n_rows)
    for k in range(n_scores):
        for i in range(n_rows):
            target = y[row + i, k]
            scores[first + k, i] = (scores[first + k, i] - target) - target * rest[i]
    for i in range(n_rows):
        rest[i] = row_weight[i] / (scores.dtype.type(1) + rest[i])
    scale_rows(scores, first, n_scores, n_rows, rest)
    _add_row_sums(scores, first, n_scores, n_rows, grad_intercept_out)
    return loss


@jit_part(fastmath=EXACT)
def soft_logistic_loss(scores, first, n_scores, row, n_rows, intercept, y, row_weight, work, grad_intercept_out):
    """As :func:`logistic_loss` for target probabilities of class 1: ``y`` is (n_samples, 1)."""
    rest, picked = work[1], work[2]
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    for i in range(n_rows):
        z, t = scores[first, i] + intercept[first], y[row + i, 0]
        above = z >= zero
        e = exp(-z if above else z)
        rest[i] = e
        picked[i] = t * z - (z if above else zero)
        proba, other = (one if above else e) / (one + e), (e if above else one) / (one + e)
        scores[first, i] = row_weight[i] * ((one - t) * proba - t * other)
    _add_row_sums(scores, first, 1, n_rows, grad_intercept_out)
    return weighted_loss(rest, picked, row_weight, n_rows)


@jit_part
def add_offset(scores, first, n_scores, row, n_rows, offset):
    """Add ``offset`` (n_samples, n_scores) to one problem's scores."""
    for k in range(n_scores):
        for i in range(n_rows):
            scores[first + k, i] += offset[row + i, k]


@jit_part(fastmath=_SUM)
def _spread(scores, first, n_scores, row, n_rows, proba, mean, row_weight, grad_intercept_out):
    curvature = 0.0
    for k in range(n_scores):
        total, p = 0.0, proba[k, row : row + n_rows]
        for i in range(n_rows):
            apart = scores[first + k, i] - mean[i]
            pointwise = row_weight[i] * p[i] * apart
            scores[first + k, i] = pointwise
            total += pointwise
            curvature += np.float64(pointwise) * np.float64(apart)
        grad_intercept_out[first + k] += total
    return curvature


@jit_part(fastmath=EXACT)
def softmax_curvature(scores, first, n_scores, row, n_rows, intercept, proba, row_weight, work, grad_intercept_out):
    """Curvature along a direction; turn its scores q into the change of the gradient that it makes.

    That is ``weight * p_k * (q_k - mean)``, with mean = sum_j p_j q_j, and the curvature is the weighted variance,
    sum_k p_k (q_k - mean)^2. Scores are taken less that of the class of the largest probability, so that the mean has
    its digits also in a row that is sure of this class, where it is what little the others add.

    Parameters
    ----------
    scores : (n_padded_classes, n_padded_rows)  # IN X @ direction.T / OUT change of grad_pointwise
    intercept : (n_padded_classes,)             # IN of the direction
    proba : (n_scores, n_samples)               # IN probabilities at the point
    others : as in :func:`cross_entropy`

    Returns
    -------
    curvature : float64
    """
    top, origin, mean = work[0], work[1], work[2]
    zero = scores.dtype.type(0)
    top[:n_rows], origin[:n_rows], mean[:n_rows] = -1.0, zero, zero
    for k in range(n_scores):
        b, p = intercept[first + k], proba[k, row : row + n_rows]
        for i in range(n_rows):
            # all is read before anything is written, or this loop would take twice as long
            q, here, largest, before = scores[first + k, i] + b, p[i], top[i], origin[i]
            scores[first + k, i] = q
            top[i] = largest if here <= largest else here
            origin[i] = before if here <= largest else q
    for k in range(n_scores):
        p = proba[k, row : row + n_rows]
        for i in range(n_rows):
            apart = scores[first + k, i] - origin[i]
            scores[first + k, i] = apart
            mean[i] += p[i] * apart
    return _spread(scores, first, n_scores, row, n_rows, proba, mean, row_weight, grad_intercept_out)


@jit_part(fastmath=_SUM)
def _weighted_product(a, b, n_rows):
    total = 0.0
    for i in range(n_rows):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@jit_part(fastmath=EXACT)
def logistic_curvature(scores, first, n_scores, row, n_rows, intercept, raw, row_weight, work, grad_intercept_out):
    """As :func:`softmax_curvature` for two classes that share one score, ``raw`` (1, n_samples) at the point.

    With e = exp(-abs(z)), the product of their probabilities is e / (1 + e)^2, without a difference to one.
    """
    along, known = work[0], raw[0, row : row + n_rows]
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    for i in range(n_rows):
        z, q = known[i], scores[first, i] + intercept[first]
        e = exp(-z if z >= zero else z)
        along[i] = q
        scores[first, i] = row_weight[i] * (e / ((one + e) * (one + e))) * q
    _add_row_sums(scores, first, 1, n_rows, grad_intercept_out)
    return _weighted_product(scores[first], along, n_rows)


BLOCK_LOSS = {  # by whether two classes share one score, and by the dimensions of y
    (False, 1): cross_entropy,
    (False, 2): soft_cross_entropy,
    (True, 1): logistic_loss,
    (True, 2): soft_logistic_loss,
}
BLOCK_CURVATURE = {False: softmax_curvature, True: logistic_curvature}  # by whether two classes share one score


@lru_cache
def losses(block_loss):
    """Losses of all stacked problems, by one of BLOCK_LOSS; or their curvatures, by one of BLOCK_CURVATURE.

    In the place of the targets ``y`` is then the state of the rows at the points, (n_weightings, n_scores, n_samples),
    as :func:`row_states` writes it.
    """
    is_curvature = block_loss in BLOCK_CURVATURE.values()

    @jit_part
    def block_losses(
        scores, n_scores, row, n_rows, intercept, y, offset, weight, weighting, work, loss_out, grad_intercept_out
    ):
        """Add the losses of a block's rows; turn its scores into ``grad_pointwise`` of each problem.

        scores : (n_padded_classes, n_padded_rows)          # IN X @ coef.T / OUT grad_pointwise
        n_scores, row, n_rows : intp                        # IN of a problem; the block is rows row:row + n_rows
        intercept : (n_padded_classes,)                     # IN
        y : (n_samples,) intp or (n_samples, n_scores)      # IN
        offset : (n_samples, n_scores), or (0, 0)           # IN
        weight : (n_weightings, n_samples), or (0, 0)       # IN
        weighting : (n_problems,) intp                      # IN row of weight that a problem uses
        work : (5, n_padded_rows)                           # workspace
        loss_out : (n_problems,) float64                    # OUT
        grad_intercept_out : (n_padded_classes,) float64    # OUT
        """
        row_weight = work[4]
        for m in range(weighting.shape[0]):
            if weight.shape[0] == 0:
                for i in range(n_rows):
                    row_weight[i] = 1.0
            else:
                total = row_weight.dtype.type(0)
                for i in range(n_rows):
                    row_weight[i] = weight[weighting[m], row + i]
                    total += row_weight[i]
                if total == 0:  # a fold that holds out all of these rows; there may be no scores of them
                    scores[m * n_scores : (m + 1) * n_scores, :n_rows] = 0.0
                    continue
            if offset.shape[0] > 0:
                add_offset(scores, m * n_scores, n_scores, row, n_rows, offset)
            # decided when it is compiled: y is of all problems, the state has an array for each
            known = y[weighting[m]] if is_curvature else y
            loss_out[m] += block_loss(
                scores, m * n_scores, n_scores, row, n_rows, intercept, known, row_weight, work, grad_intercept_out
            )

    return block_losses


@jit_part(fastmath=EXACT)
def normalise(scores, first, n_scores, n_rows, row_max, n_largest, rest):
    """Replace one problem's scores by their softmax. Shapes as :func:`exponentiate`."""
    exponentiate(scores, first, n_scores, n_rows, row_max, n_largest, rest)
    for i in range(n_rows):
        rest[i] = 1.0 / (1.0 + rest[i])
    scale_rows(scores, first, n_scores, n_rows, rest)


@jit_part(fastmath=EXACT)
def row_states(scores, row, n_rows, intercept, offset, weighting, work, out):
    """Write what curvatures need of a block's rows to ``out[weighting[m], :, row:row + n_rows]`` for each problem m.

    Probabilities by class, or the raw score where two classes share one. Other shapes as in the losses; the scores
    are used up.
    """
    n_scores = out.shape[1]
    row_max, rest, n_largest = work[0], work[1], work[2]
    for m in range(weighting.shape[0]):
        first = m * n_scores
        if offset.shape[0] > 0:
            add_offset(scores, first, n_scores, row, n_rows, offset)
        shift_scores(scores, first, n_scores, n_rows, intercept, row_max)
        if n_scores > 1:
            normalise(scores, first, n_scores, n_rows, row_max, n_largest, rest)
        for k in range(n_scores):
            rows_out = out[weighting[m], k, row : row + n_rows]
            for i in range(n_rows):
                rows_out[i] = scores[first + k, i]


@jit_part(fastmath=EXACT)
def raw_scores(scores, row, n_rows, intercept, offset, weighting, work, out):
    """Write the raw scores of a block's rows to ``out[weighting[m], :, row:row + n_rows]`` for each problem m."""
    n_scores = out.shape[1]
    for m in range(weighting.shape[0]):
        first = m * n_scores
        if offset.shape[0] > 0:
            add_offset(scores, first, n_scores, row, n_rows, offset)
        for k in range(n_scores):
            b, rows_out = intercept[first + k], out[weighting[m], k, row : row + n_rows]
            for i in range(n_rows):
                rows_out[i] = scores[first + k, i] + b


@jit_part
def read_scores(stored, weighting, row, n_rows, scores_out):
    """Read what :func:`raw_scores` has written."""
    n_scores = stored.shape[1]
    for m in range(weighting.shape[0]):
        for k in range(n_scores):
            known, out = stored[weighting[m], k, row : row + n_rows], scores_out[m * n_scores + k]
            for i in range(n_rows):
                out[i] = known[i]


@jit_part(fastmath=EXACT)
def predictions(scores, row, n_rows, intercept, offset, kind, work, out):
    """Write raw predictions, probabilities or their logarithms of a block's rows to ``out`` (n_samples, n_scores).

    Other shapes as in the losses; ``kind`` is RAW, PROBA or LOG_PROBA; the scores are used up.
    """
    n_scores = out.shape[1]
    row_max, rest, n_largest = work[0], work[1], work[2]
    if offset.shape[0] > 0:
        add_offset(scores, 0, n_scores, row, n_rows, offset)
    shift_scores(scores, 0, n_scores, n_rows, intercept, row_max)
    if kind == PROBA:
        normalise(scores, 0, n_scores, n_rows, row_max, n_largest, rest)
    if kind == LOG_PROBA:
        # z - max - log(sum of exp(z - max)): finite where the probability is zero
        for k in range(n_scores):
            for i in range(n_rows):
                scores[k, i] -= row_max[i]
                out[row + i, k] = scores[k, i]
        row_max[:n_rows] = 0.0
        exponentiate(scores, 0, n_scores, n_rows, row_max, n_largest, rest)
        for i in range(n_rows):
            log_sum = log1p_float64(np.float64(rest[i]))
            for k in range(n_scores):
                out[row + i, k] -= log_sum
    else:
        for i in range(n_rows):
            for k in range(n_scores):
                out[row + i, k] = scores[k, i]
