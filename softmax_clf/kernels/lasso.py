"""Coordinate descent for a quadratic and an L1 penalty."""

import numpy as np

from .jit import jit


@jit(fastmath={"contract", "reassoc", "nsz", "arcp"})
def sweep(gram, between, ridge, threshold, grad, start, low, low_image, point_out, image_out, low_out, everywhere):
    """Minimise by one coordinate after the other, once around, with d = point - start,

        sum(grad * d) + 1/2 d' (between (x) gram + diag(ridge) + low Q low') d + sum(threshold * |point|).

    Parameters
    ----------
    gram : (n_columns, n_columns) float                     # IN symmetric
    between : (n_rows, n_rows) float64                      # IN symmetric
    ridge : (n_rows, n_columns) float64, >= 0               # IN
    threshold : (n_rows, n_columns) float64, >= 0           # IN inf for what stays zero
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
            change = new - old
            if change != 0.0:
                decrease -= change * (slope + curvature * change / 2) + threshold[k, j] * (abs(new) - abs(old))
                point_out[k, j] = new
                for i in range(len(gram)):
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

    def sweep(self, damping, threshold, grad, start, low, low_image, point_out, image_out, low_out, everywhere):
        """One round of :func:`sweep`, arrays being those of all outputs; ``damping`` raises the diagonal by a share."""
        k, ridge = self.outputs, self.penalty + damping * self.diagonal
        inputs = threshold[k], grad[k], start[k], low[k], low_image[k]
        return sweep(self.gram, self.between, ridge, *inputs, point_out[k], image_out[k], low_out, everywhere)
