"""What F is above its minimum at the most, by a point of the dual that the gradient gives."""

from math import sqrt
from typing import Any

import numpy as np
from scipy.special import xlogy

_EPS, _TINY = np.finfo(np.float64).eps, np.finfo(np.float64).tiny


class DualBound:
    """An upper bound on F - F* from a point, F and its gradient there, where all coefficients have an L2 penalty.

    Probabilities q_i of each row whose mean by class is that of the targets y are a point of the dual: F is nowhere
    below mean_i H(q_i) - ||G||^2 / (2 l2), with H the entropy and G = mean_i (q_i - y_i) x_i'. (S. Shalev-Shwartz and
    T. Zhang, Accelerated proximal stochastic dual coordinate ascent, Mathematical Programming 155, 2016.) The
    probabilities p_i of the point are such but for their means, which differ by the gradient by the intercepts. So

        q_i = (1 - theta) p_i + theta u,

    with u the same for all rows and theta the least for which there is one. Entropy being concave, F is then above its
    minimum by no more than

        ||(1 - theta) g + theta (G_u + l2 W)||^2 / (2 l2) + theta mean_i KL(u, p_i),

    where g is the gradient by the coefficients W, and G_u is G for q_i = u, which is linear in u. The second term is
    linear in theta, and so in the gradient by the intercepts, where the first is quadratic. Where it is what matters,
    p_i gives way to p_i + (diag(p_i) - p_i p_i') delta, with delta the step that Newton's method would take of the
    intercepts: its g and means are known by a Hessian product, and its divergence from p_i is at most delta' H delta.

    Rounding errors of the sums over rows are counted as the unit roundoff of X's dtype.

    Parameters
    ----------
    objective : SoftmaxObjective or RowSpaceObjective
    with_products : bool
        Whether there is room for Hessian products.
    """

    def __init__(self, objective, with_products):
        net = objective.elastic_net
        self.objective, self.with_products, self.strength = objective, with_products, net.l2_reg_strength
        self.exists = bool(self.strength) and net.is_smooth and net.is_free is None
        self.roundoff = float(np.finfo(objective.source.dtype).eps) / 2
        #: G for even probabilities; means of the features; what rounding may hide of a gradient's norm
        self.even: Any = None
        self.mean: Any = None
        self.rounding: Any = None

    def begin(self, point, grad):
        """Take note of the gradient at the point that a fit begins at, which saves a pass if that is zero."""
        if not point.any():
            self.even = self.objective.by_output(grad)

    def by_coefficients(self, grad):
        """The bound for a point whose intercepts are the best ones, if rounding errors are left out: no pass."""
        return self._of_square(self.objective.by_output(grad)) if self.exists else np.inf

    def _of_square(self, parts, rounding=0.0):
        norm = sqrt(max(self.objective.square(parts), 0.0)) + rounding  # of floats, which overflow without a word
        return norm * norm / (2 * self.strength)

    def __call__(self, point, value, grad, enough):
        """The bound; infinite where there is none.

        The first one takes a pass or two, and any for which products are needed another one and a half.

        Parameters
        ----------
        point, grad : array
        value : float
            F at the point.
        enough : float
            A bound that is as low need not be made lower.
        """
        o, off = self.objective, self.objective.intercepts(grad)
        if not self.exists or (o.offset is not None and off.any()):
            return np.inf
        if self.mean is None:
            self._pass_over_rows()
        if not len(off):
            return self._of_square(o.by_output(grad), self.rounding)
        bound = self._by_mixture(point, value, grad)
        if bound > enough >= self.by_coefficients(grad) and self.with_products:
            bound = min(bound, self._by_product(point, value, grad))
        return bound

    def _by_product(self, point, value, grad):
        """The bound by a mixture of u and of probabilities whose means are all but right: a pass and a half."""
        o = self.objective
        o.curve(point)
        with np.errstate(divide="ignore"):  # rows that are sure have no curvature
            tilt = o.intercept_step(o.intercepts(grad)[:, None]).ravel()
        apart = np.abs(tilt[0]) if len(tilt) == 1 else np.ptp(tilt)
        if not apart <= 1:  # some probabilities were negative
            return np.inf
        product = o.hessian_product(o.at_intercepts(tilt))
        return self._by_mixture(point, value, grad + product, float(tilt @ o.intercepts(product)))

    def _pass_over_rows(self):
        """Find what tells the gradients of points without coefficients, whatever their intercepts are."""
        o = self.objective
        if self.even is None:
            self.even = o.by_output(o.evaluate(o.at_intercepts(0.0))[1])
        self.mean, square = o.mean_of_rows(self.even)
        self.rounding = self.roundoff * float(np.sqrt(o.n_outputs * square))

    def _by_mixture(self, point, value, grad, divergence=0.0):
        """The bound by a mixture of u and of probabilities of a gradient, which diverge from those of the point."""
        o, off = self.objective, self.objective.intercepts(grad)
        coef, intercepts = o.by_output(point), o.intercepts(point)
        theta, u = _mixed(o.frequency, off)
        change = (u - 1 / o.n_classes)[-len(off) :]
        constant = [e + np.multiply.outer(change, m) for e, m in zip(self.even, self.mean, strict=True)]
        products = sum(float(np.vdot(c, w)) for c, w in zip(constant, coef, strict=True))
        products += float((u - o.frequency)[-len(off) :] @ intercepts)
        apart = value - o.penalty(point) + float(xlogy(u, u).sum()) - products
        pulls = o.as_gradient(coef, self.strength)
        mixed = [(1 - theta) * g + theta * (c + w) for g, c, w in zip(o.by_output(grad), constant, pulls, strict=True)]
        apart = (1 - theta) * divergence + theta * max(apart, 0.0)
        return self._of_square(mixed, self.rounding) + apart + self.roundoff * (1 + float(np.abs(intercepts).max()))


def _mixed(frequency, off):
    """The least theta, and u (n_classes,), for which the mean of q by class is right.

    Parameters
    ----------
    frequency : array (n_classes,)
        Means of the targets.
    off : array (n_outputs,)
        By how much those of the probabilities are above them.
    """
    off = np.append(-off, off) if len(off) == 1 else off - off.mean()
    mean = np.maximum(frequency + off, np.maximum(off, _TINY))
    theta = max(float((off / mean).max()), _EPS)
    u = np.maximum(mean - off / theta, 0.0)
    return theta, u / u.sum()
