"""Coordinate descent for a quadratic and an L1 penalty."""

import numpy as np

from .jit import jit

_SUM = {"contract", "reassoc", "nsz", "arcp"}
_MOST_STEPS, _LEFT = 20, 1e-4  # of a column alone, and the share of its move that is left to the next round


@jit(fastmath=_SUM)
def sweep(
    gram, between, ridge, threshold, lower, upper, bounded, grad, start, low, low_image,
    point_out, image_out, low_out, everywhere,
):  # fmt: skip
    """Minimise by one coordinate after the other, once around, with d = point - start,

        sum(grad * d) + 1/2 d' (between (x) gram + diag(ridge) + low Q low') d + sum(threshold * |point|).

    Parameters
    ----------
    gram : (n_columns, n_columns) float                     # IN symmetric
    between : (n_rows, n_rows) float64                      # IN symmetric
    ridge : (n_rows, n_columns) float64, >= 0               # IN
    threshold : (n_rows, n_columns) float64, >= 0           # IN inf for what stays zero
    lower, upper : (n_rows, n_columns) float64              # IN bounds of the point, anything unless it is ``bounded``
    bounded : bool                                          # IN
    grad, start : (n_rows, n_columns) float64               # IN
    low, low_image : (n_rows, n_columns, n_low) float64     # IN low, and low Q
    point_out : (n_rows, n_columns) float64                 # IN, OUT
    image_out : (n_rows, n_columns) float64                 # IN, OUT d gram
    low_out : (n_low,) float64                              # IN, OUT low' d
    everywhere : bool                                       # IN or only where the point is not zero, or may be anything

    Returns
    -------
    float, by how much it has become smaller
    """
    decrease = 0.0
    for k in range(len(point_out)):
        for j in range(len(gram)):
            old = point_out[k, j]
            if not everywhere and old == 0.0 and threshold[k, j] > 0.0:
                continue
            curvature = between[k, k] * gram[j, j] + ridge[k, j]
            slope = grad[k, j] + ridge[k, j] * (old - start[k, j])
            for other in range(len(between)):
                slope += between[k, other] * image_out[other, j]
            for a in range(len(low_out)):
                curvature += low[k, j, a] * low_image[k, j, a]
                slope += low_image[k, j, a] * low_out[a]
            if not curvature > 0.0:  # of a feature or a class that no row has
                continue
            best = old - slope / curvature
            new = max(abs(best) - threshold[k, j] / curvature, 0.0)
            if best < 0.0:
                new = -new
            if bounded:
                new = min(max(new, lower[k, j]), upper[k, j])
            change = new - old
            if change != 0.0:
                decrease -= change * (slope + curvature * change / 2) + threshold[k, j] * (abs(new) - abs(old))
                point_out[k, j] = new
                for i in range(len(gram)):
                    image_out[k, i] += change * gram[j, i]
                for a in range(len(low_out)):
                    low_out[a] += change * low[k, j, a]
    return decrease


@jit(fastmath=_SUM)
def sweep_columns(
    gram, between, ridge, threshold, held, grad, start, low, low_image, point_out, image_out, low_out, everywhere, work
):
    """As :func:`sweep`, by one column after the other, with ``sum(threshold * norms of the point's columns)``.

    A column is brought near its minimum by steps along the gradient, with the penalty's proximal operator. They are as
    long as a bound on the eigenvalues of the column's own Hessian allows, by S. Gershgorin's theorem.

    Parameters
    ----------
    gram : (n_columns, n_columns) float                     # IN symmetric; of all (n_rows * n_columns) where
    between : (n_rows, n_rows) float64                      # IN symmetric; is (1, 1) and there are more rows
    ridge, grad, start : (n_rows, n_columns) float64        # IN
    threshold : (n_columns,) float64, >= 0                  # IN
    held : (n_rows,) bool                                   # IN rows that stay as they are
    low, low_image : (n_rows, n_columns, n_low) float64     # IN
    point_out, image_out, low_out, everywhere               # IN, OUT as there
    work : (n_rows + 4, n_rows) float64                     # workspace
    """
    n_rows, n_columns = point_out.shape
    whole = len(between) < n_rows
    own, slope, move = work[:n_rows], work[n_rows], work[n_rows + 1]
    next_move, pull = work[n_rows + 2], work[n_rows + 3]
    decrease = 0.0
    for j in range(n_columns):
        before = 0.0
        for k in range(n_rows):
            before += point_out[k, j] * point_out[k, j]
        if not everywhere and before == 0.0 and threshold[j] > 0.0:
            continue
        before, bound = np.sqrt(before), 0.0
        for k in range(n_rows):
            slope[k] = grad[k, j] + ridge[k, j] * (point_out[k, j] - start[k, j])
            if whole:
                slope[k] += image_out[k, j]
            else:
                for m in range(n_rows):
                    slope[k] += between[k, m] * image_out[m, j]
            for a in range(len(low_out)):
                slope[k] += low_image[k, j, a] * low_out[a]
            total = 0.0
            slope[k] = 0.0 if held[k] else slope[k]
            for m in range(n_rows):
                own[k, m] = gram[k * n_columns + j, m * n_columns + j] if whole else between[k, m] * gram[j, j]
                if m == k:
                    own[k, m] += ridge[k, j]
                for a in range(len(low_out)):
                    own[k, m] += low_image[k, j, a] * low[m, j, a]
                if held[k] or held[m]:
                    own[k, m] = 0.0
                total += abs(own[k, m])
            bound = max(bound, total)
            move[k] = 0.0
        if not bound > 0.0:
            continue
        after = before
        for _ in range(_MOST_STEPS):
            after, changed, moved = 0.0, 0.0, 0.0
            for k in range(n_rows):
                pull[k] = slope[k]
                for m in range(n_rows):
                    pull[k] += own[k, m] * move[m]
                next_move[k] = point_out[k, j] + move[k] - pull[k] / bound
                after += next_move[k] * next_move[k]
            after = np.sqrt(after)
            share = 1.0 - threshold[j] / (bound * after) if after * bound > threshold[j] else 0.0
            after *= share
            for k in range(n_rows):
                new = share * next_move[k] - point_out[k, j]
                changed += (new - move[k]) * (new - move[k])
                moved += new * new
                move[k] = new
            if not changed > _LEFT * moved:
                break
        gained = threshold[j] * (before - after)
        for k in range(n_rows):
            gained -= slope[k] * move[k]
            for m in range(n_rows):
                gained -= own[k, m] * move[k] * move[m] / 2
        if not gained > 0.0:
            continue
        decrease += gained
        for k in range(n_rows):
            change = move[k]
            if change == 0.0:
                continue
            point_out[k, j] = point_out[k, j] + change if after > 0.0 else 0.0
            if whole:
                for m in range(n_rows):
                    for i in range(n_columns):
                        image_out[m, i] += change * gram[k * n_columns + j, m * n_columns + i]
            else:
                for i in range(n_columns):
                    image_out[k, i] += change * gram[j, i]
            for a in range(len(low_out)):
                low_out[a] += change * low[k, j, a]
    return decrease


class GramBlock:
    """Part of an approximate Hessian, ``between (x) gram + l2_reg_strength I``, on the rows of some outputs.

    Parameters
    ----------
    outputs : slice
        Rows of steps that it acts on.
    gram : array (n_columns, n_columns) float
        Symmetric.
    between : array (n_outputs, n_outputs) float64
    l2_reg_strength : float, or array (penalised,)
    penalised : int
        The columns, the first ones, that the penalty counts.
    """

    def __init__(self, outputs, gram, between, l2_reg_strength, penalised):
        self.outputs, self.gram, self.between = outputs, gram, between
        self.diagonal = np.outer(between.diagonal(), gram.diagonal().astype(np.float64))
        self.penalty = np.zeros_like(self.diagonal)
        self.penalty[:, :penalised] = l2_reg_strength

    def hessp(self, step):
        """The product with a step (n_outputs, n_columns) of these outputs."""
        return self.between @ (step @ self.gram) + self.penalty * step

    def square(self, step, image, damping):
        """``step' H step`` with the damping, of rows of all outputs and their products with ``gram``."""
        step, image = step[self.outputs], image[self.outputs]
        damped = np.vdot(step, (self.penalty + damping * self.diagonal) * step)
        return float(np.vdot(step, self.between @ image) + damped)

    def sweep(self, damping, threshold, bounds, grad, start, low, low_image, point_out, image_out, low_out, everywhere):
        """One round of :func:`sweep`, arrays being those of all outputs; ``damping`` raises the diagonal by a share."""
        k, ridge = self.outputs, self.penalty + damping * self.diagonal
        lower, upper = (threshold, threshold) if bounds is None else bounds
        inputs = threshold[k], lower[k], upper[k], bounds is not None, grad[k], start[k], low[k], low_image[k]
        return sweep(self.gram, self.between, ridge, *inputs, point_out[k], image_out[k], low_out, everywhere)

    def sweep_columns(
        self, damping, threshold, held, grad, start, low, low_image, point_out, image_out, low_out, everywhere
    ):
        """One round of :func:`sweep_columns`, the block being of all outputs; arrays are (n_outputs, n_columns)."""
        ridge = (self.penalty + damping * self.diagonal).reshape(grad.shape)
        work = np.empty((len(grad) + 4, len(grad)))
        inputs = self.gram, self.between, ridge, threshold, held, grad, start, low, low_image
        return sweep_columns(*inputs, point_out, image_out, low_out, everywhere, work)
