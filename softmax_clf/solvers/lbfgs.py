"""L-BFGS in a refreshed metric."""

import itertools

import numpy as np
from scipy.linalg.lapack import dtrtrs

from .line_search import MAX_BACKTRACKS, accepts, shortened
from .stopping import Solution, staleness, suboptimality


class _Memory:
    """The last steps s and gradient changes y, and the product of the inverse Hessian that they imply with a vector.

    The compact form of the two-loop recursion (R. H. Byrd, J. Nocedal and R. B. Schnabel, Representations of
    quasi-Newton matrices, Mathematical Programming 63, 1994, theorem 2.2): products with all pairs at once.
    """

    def __init__(self, capacity, pieces):
        size = pieces.slices[-1].stop
        self.pieces, self.capacity = pieces, capacity
        # with a slot to spare, for a pair that may be refused
        self.steps, self.changes = np.empty((capacity + 1, size)), np.empty((capacity + 1, size))
        self.products = np.zeros((capacity + 1, capacity + 1))  # [a, b] = steps[a] @ changes[b]
        self.order = []  # slots in use, oldest first

    def add(self, direction, step, grad, previous_grad, natural, previous_natural):
        """Keep s = step * direction and y = grad - previous_grad, unless rounding hides the curvature between them.

        Returns
        -------
        scale : float or None
            By how much the metric is too stiff along y; None if that is not known, or the pair not kept.
        """
        slot = min(set(range(len(self.order) + 1)) - set(self.order))
        used = max([slot, *self.order]) + 1

        def fill(piece):
            s, y = self.steps[slot, piece], self.changes[slot, piece]
            np.multiply(direction[piece], step, out=s)
            np.subtract(grad[piece], previous_grad[piece], out=y)
            with np.errstate(over="ignore", invalid="ignore"):  # such a pair is not kept
                both = np.abs(s) @ np.abs(y), y @ (natural[piece] - previous_natural[piece])
                return np.concatenate([self.steps[:used, piece] @ y, self.changes[:used, piece] @ s, both])

        sums = self.pieces.sum(fill)
        curvature, (terms, y_natural) = sums[slot], sums[2 * used :]
        if not (curvature > max(1e-14 * terms, 1e-280) and np.isfinite(curvature)):  # nor so small that it hides
            return None
        self.products[:used, slot], self.products[slot, :used] = sums[:used], sums[used : 2 * used]
        self.order = [*self.order, slot][-self.capacity :]
        return curvature / y_natural if y_natural > 1e-30 * curvature else None

    def inverse_hessp(self, vector, solve, scale):
        """Apply the inverse Hessian that starts from ``scale * solve`` to ``vector``; there must be a pair."""
        order, pieces = self.order, self.pieces
        used = max(order) + 1
        steps, changes = self.steps[:used], self.changes[:used]
        products = self.products[np.ix_(order, order)]
        alpha, beta = np.zeros(used), np.zeros(used)
        along = pieces.sum(lambda q: steps[:, q] @ vector[q])
        alpha[order] = dtrtrs(products, along[order])[0]
        rest = np.empty_like(vector)
        pieces.each(lambda q: np.subtract(vector[q], alpha @ changes[:, q], out=rest[q]))
        result = solve(rest)

        def scaled(piece):
            result[piece] *= scale
            return changes[:, piece] @ result[piece]

        rest = products.diagonal() * alpha[order] - pieces.sum(scaled)[order]
        beta[order] = dtrtrs(products, rest, trans=1)[0]
        pieces.each(lambda q: np.add(result[q], beta @ steps[:, q], out=result[q]))
        return result


def lbfgs(point, make_metric, *, target, max_iter, noise, report, pieces, memory=20, exact=False):
    """Minimise a smooth convex function; a generator that yields points and is sent (objective, gradient).

    1. Step: the L-BFGS direction, its initial matrix being the metric scaled to the last step.
    2. Line search from step one: accepted on sufficient decrease, or, where rounding hides that, on a slope that has
       shrunk while the objective stands (W. W. Hager and H. Zhang, SIAM Journal on Optimization 16, 2005, section 2).
    3. Every so often the metric is made anew at the current point; steps and gradient changes, being facts about
       the function, are kept.
    4. Stop when the estimate of F - F* is at most ``target(point)``.

    Parameters
    ----------
    point : array float64
        Of any shape.
    make_metric : callable point -> metric
        With ``solve(grad)``, the step whose image under the metric is the gradient, ``slack``, how many times too
        small half the squared gradient in it may be as an estimate of F - F*, and ``patience``, the iterations before
        it is made anew.
    target : callable point -> float
        What F - F* must be at most.
    max_iter : int
    noise : float
        Relative rounding error of the objective.
    report : callable Solution -> bool
        Told of the start and of each iteration; whether to stop there.
    pieces : Pieces
        Of ``point.size`` numbers: slices that are worked on side by side.
    memory : int
        Pairs kept.
    exact : bool
        The metric is the Hessian: it is made anew at each point, its step is Newton's, and no pairs are kept.

    Returns
    -------
    Solution
    """
    shape, memory = point.shape, 0 if exact else memory
    pairs, made_at = _Memory(memory, pieces), 0
    objective, grad = yield point
    objective_there = objective  # where the metric was made
    metric = make_metric(point)
    gap = next_refresh = metric.patience
    solution, at_origin = Solution(point), False
    natural, scale = metric.solve(grad), 1.0  # natural: the gradient as a step of the metric

    def solve(vector):
        return metric.solve(vector.reshape(shape)).ravel()

    def moved(point, step, direction):
        result, point, direction = np.empty(shape), point.ravel(), direction.ravel()
        flat = result.ravel()
        pieces.each(lambda q: np.add(point[q], step * direction[q], out=flat[q]))
        return result

    def dot(a, b):
        a, b = a.ravel(), b.ravel()
        return float(pieces.sum(lambda q: a[q] @ b[q]))

    for iteration in itertools.count():
        direction = -natural if not pairs.order else -pairs.inverse_hessp(grad.ravel(), solve, scale).reshape(shape)
        slope = dot(grad, direction)
        rounding, square = noise * abs(objective), dot(grad, natural)
        descends = slope < 0 or not grad.any()
        if descends:
            decrement = metric.slack * max(square, -slope) / 2
        else:  # either rounding errors are all that is left, or they have made the metric indefinite
            decrement = rounding if max(abs(slope), abs(square)) <= rounding else np.inf
        decrement *= staleness(objective_there, objective)
        estimate = suboptimality(decrement, solution.loss_curve[made_at:], objective)
        if solution.is_final(point, objective, estimate, target, max_iter, report):
            return solution

        # line search
        step = 1.0
        for _ in range(MAX_BACKTRACKS if descends else 0):
            new_objective, new_grad = yield (trial := moved(point, step, direction))
            new_slope = dot(new_grad, direction)  # not finite, if any of the gradient is not
            if accepts(step, objective, slope, new_objective, new_slope, rounding):
                break
            step = shortened(step, objective, slope, new_objective, new_slope)
        else:
            if at_origin or max(abs(slope), abs(square)) <= 10 * rounding:
                solution.reason = "rounding errors hide any further decrease of the objective"
                return solution
            # Far out the Hessian all but vanishes, and its steps lead nowhere or up. At the origin it is largest.
            metric, made_at, at_origin = make_metric(np.zeros_like(point)), iteration, True
            objective_there = max(solution.loss_curve[0], objective)
            pairs, natural, scale = _Memory(memory, pieces), metric.solve(grad), 1.0
            next_refresh = iteration + 1 + metric.patience
            continue

        at_origin = False
        previous_grad, previous_natural = grad, natural
        point, objective, grad = trial, new_objective, new_grad
        if exact:
            metric, objective_there = make_metric(point), objective
        elif iteration + 1 >= next_refresh:
            metric = None  # the old one's memory is the new one's
            metric, made_at, objective_there = make_metric(point), iteration + 1, objective
            previous_natural = metric.solve(previous_grad)
            gap = max(gap * 3 // 2, metric.patience)
            next_refresh += gap
        natural = metric.solve(grad)
        if not exact:
            vectors = (array.ravel() for array in (grad, previous_grad, natural, previous_natural))
            scale = pairs.add(direction.ravel(), step, *vectors) or scale
