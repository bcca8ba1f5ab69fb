"""Metrics: approximate Hessians of the objective that L-BFGS starts from, and which of them to take.

With p_i the probabilities of row i, the Hessian of F is

    H = sum_i s_i/S (diag(p_i) - p_i p_i') (x) x_i x_i'  +  l2_reg_strength I

(the intercept is one more column of x, unpenalised). Each metric keeps part of it:

exact       all of it, an array of (n_outputs * n_columns)^2
blocks      the blocks on the diagonal, one a class: sum_i s_i/S p_ik (1 - p_ik) x_i x_i'
kronecker   one block for all, B (x) A: A = sum_i s_i/S t_i x_i x_i' with t_i = 1 - ||p_i||^2, and B the mean of
            (diag(p_i) - p_i p_i') of trace one. At W = 0 it is exact (D. Bohning, Multinomial logistic regression
            algorithm, Annals of the Institute of Statistical Mathematics 44, 1992), later what survives averaging

Multinomial scores can be shifted by the same vector for all classes without changing F's first part, so the
steps of every metric are centred over the classes.
"""

from dataclasses import dataclass

import numpy as np

from ..kernels.gram import inverse_factor

EXACT, BLOCKS, KRONECKER = "exact", "blocks", "kronecker"

# Seconds that a multiply-add takes, relative to one of a pass
_GRAM, _FACTOR = 0.9, 2.0


def _solve_factored(factor, center, mass, grad):
    """Apply the inverse of one block to rows of gradients; in the shifted columns (x - center, 1) it is block diagonal."""
    if center is None:
        return (grad @ factor.T) @ factor
    grad_coef, grad_intercept = grad[:, :-1], grad[:, -1:]
    coef = ((grad_coef - grad_intercept * center) @ factor.T) @ factor
    return np.concatenate([coef, grad_intercept / mass - coef @ center[:, None]], axis=1)


@dataclass
class Block:
    """A weighted Gram matrix: sum_i w_i (x_i - center)(x_i - center)', and the mass sum_i w_i.

    ``center`` is the weighted mean of the rows where there is an intercept, else None.
    """

    gram: np.ndarray
    center: np.ndarray | None
    mass: float

    def factor(self, l2_reg_strength):
        return inverse_factor(self.gram, l2_reg_strength)


def _centred(step):
    return step - step.mean(axis=0) if len(step) > 1 else step


class KroneckerMetric:
    """B (x) A + l2_reg_strength I, by one factor of A: B's eigenvalues share their geometric mean in the penalty.

    Parameters
    ----------
    block : Block
        Of row weights s_i/S t_i.
    between : array (n_outputs, n_outputs) float64
        B.
    l2_reg_strength : float
    """

    def __init__(self, block, between, l2_reg_strength):
        values, self.vectors = np.linalg.eigh(between)
        # along the shift of all classes B is zero, and no gradient lies there
        values = np.maximum(values, 1e-3 * values[-1])
        typical = np.exp(np.log(values[min(1, len(values) - 1) :]).mean())
        self.values = values[:, None]
        self.factor = block.factor(l2_reg_strength / typical)
        self.center, self.mass = block.center, block.mass

    def solve(self, grad):
        """Step (n_outputs, n_columns) whose image under the metric is ``grad``."""
        if len(grad) == 1:
            return _solve_factored(self.factor, self.center, self.mass, grad) / self.values
        step = _solve_factored(self.factor, self.center, self.mass, self.vectors.T @ grad) / self.values
        return _centred(self.vectors @ step)


class BlocksMetric:
    """One block a class.

    Parameters
    ----------
    blocks : list of Block
        Of row weights s_i/S p_ik (1 - p_ik).
    l2_reg_strength : float
    """

    def __init__(self, blocks, l2_reg_strength):
        self.blocks = [(block.factor(l2_reg_strength), block.center, block.mass) for block in blocks]

    def solve(self, grad):
        """Step (n_outputs, n_columns) whose image under the metric is ``grad``."""
        return _centred(np.concatenate([_solve_factored(*b, grad[k : k + 1]) for k, b in enumerate(self.blocks)]))


class ExactMetric:
    """The whole Hessian.

    Parameters
    ----------
    hess : array (n_outputs * n_columns, n_outputs * n_columns) float64
        With the penalty, and with the shift of all classes made definite.
    """

    def __init__(self, hess):
        self.factor = inverse_factor(hess, 0.0)

    def solve(self, grad):
        """Step (n_outputs, n_columns) whose image under the metric is ``grad``."""
        return _centred((self.factor.T @ (self.factor @ grad.ravel())).reshape(grad.shape))


@dataclass(frozen=True)
class MetricPlan:
    """Which metric serves a shape best, from how many rows, and what it costs.

    Attributes
    ----------
    kind : 'exact', 'blocks' or 'kronecker'
    n_rows : int
        Rows sampled.
    passes : float
        Cost of making one, in passes over all rows.
    """

    kind: str
    n_rows: int
    passes: float


def plan_metric(n_samples, n_columns, n_outputs):
    """Choose the metric by what a whole fit costs with it.

    The counts of passes are typical ones, measured on pixels, patch features and embeddings; they order the kinds, no more.
    """
    one_pass = 2e5 + 2.0 * n_samples * n_columns * n_outputs  # multiply-adds, and what each iteration costs besides
    rows = min(n_samples, max(5 * n_columns, 2000))

    def gram(n_rows, size, count=1):
        return count * (_GRAM * n_rows * size**2 / 2 + _FACTOR * size**3 / 3 * 2)

    size = n_columns * n_outputs
    costs = {
        EXACT: (7, 7, n_samples, gram(n_samples, size)),
        BLOCKS: (13, 3, rows, gram(rows, n_columns, n_outputs)),
        KRONECKER: (22, 3, rows, gram(rows, n_columns)),
    }
    if size > 1000:
        del costs[EXACT]
    if n_outputs == 1:
        del costs[BLOCKS]  # is the Kronecker metric, which is the Hessian

    def whole_fit(kind):
        n_passes, n_metrics, _, cost = costs[kind]
        return n_passes * one_pass + n_metrics * cost

    kind = min(costs, key=whole_fit)
    _, _, n_rows, cost = costs[kind]
    return MetricPlan(kind, n_rows, cost / one_pass)
