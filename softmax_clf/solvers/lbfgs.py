"""L-BFGS in a refreshed metric."""

import numpy as np
from scipy.linalg import solve_triangular

from .stopping import Solution

_SUFFICIENT_DECREASE = 1e-4  # of the line search (Nocedal and Wright, Numerical Optimization, 2006, section 3.1)
_CURVATURE = 0.9
_MAX_BACKTRACKS = 25


class _Memory:
    """The last steps s and gradient changes y, and the product of the inverse Hessian that they imply with a vector.

    The compact form of the two-loop recursion (R. H. Byrd, J. Nocedal and R. B. Schnabel, Representations of
    quasi-Newton matrices, Mathematical Programming 63, 1994, theorem 2.2): four products with all pairs at once.
    """

    def __init__(self, size, capacity):
        self.steps, self.changes = np.empty((capacity, size)), np.empty((capacity, size))
        self.products = np.zeros((capacity, capacity))  # [a, b] = steps[a] @ changes[b]
        self.order = []  # slots in use, oldest first

    def add(self, step, change):
        if len(self.order) == len(self.steps):
            self.order.append(self.order.pop(0))
        else:
            self.order.append(len(self.order))
        slot, used = self.order[-1], len(self.order)
        self.steps[slot], self.changes[slot] = step, change
        self.products[slot, :used] = self.changes[:used] @ step
        self.products[:used, slot] = self.steps[:used] @ change

    def inverse_hessp(self, vector, solve, scale):
        """Apply the inverse Hessian that starts from ``scale * solve`` to ``vector``; there must be a pair."""
        used, order = len(self.order), self.order
        steps, changes = self.steps[:used], self.changes[:used]
        products = self.products[np.ix_(order, order)]
        alpha = np.empty(used)
        alpha[order] = solve_triangular(products, (steps @ vector)[order], check_finite=False)
        result = scale * solve(vector - alpha @ changes)
        diagonal = np.empty(used)
        diagonal[order] = products.diagonal()
        rest = diagonal * alpha - changes @ result
        beta = np.empty(used)
        beta[order] = solve_triangular(products, rest[order], trans=1, check_finite=False)
        return result + beta @ steps


def lbfgs(point, make_metric, *, target, max_iter, noise, report, memory=20, exact=False):
    """Minimise a smooth convex function; a generator that yields points and is sent (objective, gradient).

    1. Step: the L-BFGS direction, its initial matrix being the metric scaled to the last step.
    2. Line search from step one: accepted on sufficient decrease, or, where rounding hides that, on a slope that has
       shrunk while the objective stands (W. W. Hager and H. Zhang, SIAM Journal on Optimization 16, 2005, section 2).
    3. Every so often the metric is made anew at the current point; steps and gradient changes, being facts about
       the function, are kept.
    4. Stop when the estimate of F - F* is at most ``target(point)``.

    Parameters
    ----------
    point : array (n_outputs, n_columns) float64
    make_metric : callable point -> metric
        With ``solve(grad)``, the step whose image under the metric is the gradient, ``slack``, how many times too
        small half the squared gradient in it may be as an estimate of F - F*, and ``passes``, what it cost to make.
    target : callable point -> float
        What F - F* must be at most.
    max_iter : int
    noise : float
        Relative rounding error of the objective.
    report : callable Solution -> bool
        Told of the start and of each iteration; whether to stop there.
    memory : int
        Pairs kept.
    exact : bool
        The metric is the Hessian: it is made anew at each point, its step is Newton's, and no pairs are kept.

    Returns
    -------
    Solution
    """
    shape = point.shape
    pairs, made_at = _Memory(point.size, memory), 0
    objective, grad = yield point
    metric = make_metric(point)
    gap = next_refresh = _patience(metric)
    solution, at_origin = Solution(point), False
    natural, scale = metric.solve(grad), 1.0  # natural: the gradient as a step of the metric

    def solve(vector):
        return metric.solve(vector.reshape(shape)).ravel()

    for iteration in range(max_iter + 1):
        direction = -natural if not pairs.order else -pairs.inverse_hessp(grad.ravel(), solve, scale).reshape(shape)
        slope = np.vdot(grad, direction)
        decrement = metric.slack * max(np.vdot(grad, natural), -slope) / 2
        estimate = _suboptimality(decrement, solution.loss_curve[made_at:], objective)
        solution.point, solution.objective, solution.suboptimality = point, objective, estimate
        solution.n_iter = iteration
        solution.loss_curve.append(objective)
        solution.suboptimality_curve.append(estimate)
        stop = report(solution)
        if estimate <= target(point):
            solution.converged = True
            return solution
        if stop:
            solution.stopped, solution.reason = True, "it was asked to"
            return solution
        if iteration == max_iter:
            solution.reason = f"max_iter={max_iter} iterations were done"
            return solution

        # line search
        step, rounding = 1.0, noise * abs(objective)
        for _ in range(_MAX_BACKTRACKS):
            trial = point + step * direction
            new_objective, new_grad = yield trial
            if np.isfinite(new_objective) and np.isfinite(new_grad).all():
                new_slope = np.vdot(new_grad, direction)
                if new_objective <= objective + _SUFFICIENT_DECREASE * step * slope:
                    break
                if new_objective <= objective + rounding and abs(new_slope) <= _CURVATURE * abs(slope):
                    break
                parabola = -slope * step**2 / (2 * (new_objective - objective - step * slope))
                step = min(max(parabola, 0.1 * step), 0.5 * step)
            else:
                step *= 0.1
        else:
            if at_origin or -slope <= 10 * rounding:
                solution.reason = "rounding errors hide any further decrease of the objective"
                return solution
            # Far out the Hessian all but vanishes, and its steps lead nowhere. At the origin it is largest.
            metric, made_at, at_origin = make_metric(np.zeros_like(point)), iteration, True
            pairs, natural, scale = _Memory(point.size, memory), metric.solve(grad), 1.0
            next_refresh = iteration + 1 + _patience(metric)
            continue

        at_origin = False
        change = (new_grad - grad).ravel()
        taken = step * direction.ravel()
        curvature = taken @ change
        previous_grad, previous_natural = grad, natural
        point, objective, grad = trial, new_objective, new_grad
        if exact:
            metric = make_metric(point)
        elif iteration + 1 >= next_refresh:
            metric = None  # the old one's memory is the new one's
            metric, made_at = make_metric(point), iteration + 1
            previous_natural = metric.solve(previous_grad)
            gap = max(gap * 3 // 2, _patience(metric))
            next_refresh += gap
        natural = metric.solve(grad)
        if not exact and curvature > 1e-14 * np.linalg.norm(taken) * np.linalg.norm(change):
            pairs.add(taken, change)
            scale = curvature / (change @ (natural - previous_natural).ravel())
    raise AssertionError("unreachable")


def _patience(metric):
    """Iterations before the metric is made anew: twice its cost, fewer where a bad one is dearer."""
    return max(4, round(min(2 * metric.passes, 8 + metric.passes / 2)))


def _suboptimality(decrement, loss_curve, objective):
    """Estimate what F is above its minimum, rather too much than too little.

    ``decrement`` is half the squared gradient in the metric, times its slack. Where directions rule in which the
    metric is poor, progress is slow and steady: then what is left follows as a geometric series from the decrease over
    the last fifth of the iterations that this metric has seen, ``loss_curve``, and over the fifth before. The estimate
    is the larger of both; and the objective itself, whose minimum is not negative, is a bound.
    """
    estimate = decrement
    window = max(3, len(loss_curve) // 5)
    if len(loss_curve) >= 2 * window:
        recent = loss_curve[-window] - objective
        ratio = recent / max(loss_curve[-2 * window] - loss_curve[-window], np.finfo(float).tiny)
        ratio = min(max(ratio, 0.0), 0.95)
        estimate = max(estimate, 3 * recent * ratio / (1 - ratio))
    return min(estimate, objective)
