"""Losses of problems that have labels of their own, over the same rows: see :mod:`softmax_clf.label_sets`."""

import numpy as np

from .elementary import EXACT, exp, log1p_float64
from .jit import jit_part
from .softmax import exponentiate, scale_rows, shift_scores, weighted_loss

#: What a row is to a problem, beside the labels 0, 1, ... of those that it is fitted to. A row that is held out has its
#: label k as HELD_OUT - k.
MISSING, HELD_OUT = -1, -2
N_SUMS = 3  # of each problem: the loss of its rows, that of rows held out, and the weight of those predicted well
LARGEST_LOSS = 15.942385152878742, 36.04365338911715  # of a row held out, by the precision: minus the log of its eps

_SUM = {"contract", "reassoc", "nsz"}


@jit_part(fastmath=EXACT)
def _logistic(scores, first, n_rows, intercept, labels, row, rest_out, picked_out, margin_out):
    """As :func:`.softmax.logistic_loss`, of residuals that are not weighted yet."""
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    b = intercept[first]
    for i in range(n_rows):
        z, label = scores[first, i] + b, labels[row + i]
        positive = (label == 1) | (label == HELD_OUT - 1)
        margin = z if positive else -z
        e = exp(-margin if margin >= zero else margin)
        rest_out[i] = e
        picked_out[i] = zero if margin >= zero else margin
        margin_out[i] = margin
        other = (e if margin >= zero else one) / (one + e)
        scores[first, i] = -other if positive else other


@jit_part(fastmath=EXACT)
def _softmax(scores, first, n_scores, n_rows, intercept, labels, row, rest_out, picked_out, margin_out, n_largest):
    """As :func:`.softmax.cross_entropy`, of residuals that are not weighted yet."""
    row_max, one = margin_out, scores.dtype.type(1)
    shift_scores(scores, first, n_scores, n_rows, intercept, row_max)
    for i in range(n_rows):
        label = np.intp(labels[row + i])
        k = label if label >= 0 else (HELD_OUT - label if label <= HELD_OUT else 0)
        picked_out[i] = scores[first + k, i] - row_max[i]
    exponentiate(scores, first, n_scores, n_rows, row_max, n_largest, rest_out)
    for i in range(n_rows):
        label = np.intp(labels[row + i])
        if label >= 0:
            scores[first + label, i] = (scores[first + label, i] - one) - rest_out[i]
    for i in range(n_rows):
        n_largest[i] = one / (one + rest_out[i])
        margin_out[i] = one if picked_out[i] == 0 else -one
    scale_rows(scores, first, n_scores, n_rows, n_largest)


@jit_part(fastmath=_SUM)
def _held_out_loss(rest, picked, row_weight, n_rows):
    """As `weighted_loss`, where no probability is closer to zero than the last digit of its precision."""
    loss, most = 0.0, LARGEST_LOSS[0] if rest.itemsize == 4 else LARGEST_LOSS[1]
    for i in range(n_rows):
        of_row = log1p_float64(np.float64(rest[i])) - picked[i]
        loss += row_weight[i] * (of_row if of_row <= most else most)
    return loss


@jit_part(fastmath=_SUM)
def _add_residuals(scores, first, n_scores, n_rows, row_weight, sums_out):
    """Weigh the residuals of one problem, and add them up by class."""
    for k in range(first, first + n_scores):
        total = 0.0
        for i in range(n_rows):
            weighted = row_weight[i] * scores[k, i]
            scores[k, i] = weighted
            total += weighted
        sums_out[k] += total


@jit_part
def _fitted(labels, row, n_rows, of_row_out):
    """One for each row that a problem is fitted to, zero for others; and the least of the labels."""
    zero, one, least = of_row_out.dtype.type(0), of_row_out.dtype.type(1), np.intp(0)
    for i in range(n_rows):
        label = np.intp(labels[row + i])
        of_row_out[i] = one if label >= 0 else zero
        least = least if least <= label else label
    return least


@jit_part
def _times_class_weight(of_row, labels, row, n_rows, class_weight, first):
    if class_weight.shape[0] > 0:
        for i in range(n_rows):
            label = np.intp(labels[row + i])
            of_row[i] *= class_weight[first + (label if label >= 0 else 0)]


@jit_part
def _times_row_weight(of_row, row, n_rows, row_weight, which):
    if row_weight.shape[0] > 0:
        weight = row_weight[which if row_weight.shape[0] > 1 else 0]
        for i in range(n_rows):
            of_row[i] *= weight[row + i]


@jit_part(fastmath=EXACT)
def label_set_losses(
    scores, n_scores, row, n_rows, intercept, y, offset, weight, weighting, work, loss_out, grad_intercept_out
):
    """Add the losses of a block's rows; turn its scores into ``grad_pointwise`` of each problem.

    In the place of :func:`.softmax.losses` in kernels.

    scores : (n_padded_classes, n_padded_rows)          # IN X @ coef.T / OUT grad_pointwise
    row, n_rows : intp                                  # IN the block is rows row:row + n_rows
    intercept : (n_padded_classes,)                     # IN
    y : tuple                                           # IN of
        labels : (n_problems, n_samples) of integers        as MISSING and HELD_OUT have it
        row_weight : (1 or n_problems, n_samples)           weights of the rows, or (0, 0)
        class_weight : (n_outputs + n_problems,)            weights of the classes of each problem, from
                                                            firsts[m] + m on, or (0,)
        firsts : (n_problems + 1,) intp                     the first row of scores of each problem, and the end;
                                                            a problem of two classes has one
    weighting : (n_problems,) intp                      # IN row of labels, and of row_weight, that a problem uses
    n_scores, offset, weight : not used
    work : (5, n_padded_rows)                           # workspace
    loss_out : (N_SUMS * n_problems,) float64           # OUT
    grad_intercept_out : (n_padded_classes,) float64    # OUT
    """
    labels, row_weight, class_weight, firsts = y
    rest, picked, margin, n_largest, of_row = work[0], work[1], work[2], work[3], work[4]
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    for m in range(firsts.shape[0] - 1):
        known, first, n_outputs = labels[weighting[m]], firsts[m], firsts[m + 1] - firsts[m]
        least = _fitted(known, row, n_rows, of_row)
        _times_class_weight(of_row, known, row, n_rows, class_weight, first + m)
        _times_row_weight(of_row, row, n_rows, row_weight, weighting[m])
        if n_outputs == 1:
            _logistic(scores, first, n_rows, intercept, known, row, rest, picked, margin)
        else:
            _softmax(scores, first, n_outputs, n_rows, intercept, known, row, rest, picked, margin, n_largest)
        loss_out[N_SUMS * m] += weighted_loss(rest, picked, of_row, n_rows)
        _add_residuals(scores, first, n_outputs, n_rows, of_row, grad_intercept_out)
        if least <= HELD_OUT:
            for i in range(n_rows):
                of_row[i] = one if known[row + i] <= HELD_OUT else zero
            _times_row_weight(of_row, row, n_rows, row_weight, weighting[m])
            loss_out[N_SUMS * m + 1] += _held_out_loss(rest, picked, of_row, n_rows)
            for i in range(n_rows):
                loss_out[N_SUMS * m + 2] += of_row[i] if margin[i] > zero else zero
