"""L-BFGS of many problems at once: what :mod:`~..solvers.lbfgs` does for one, in arrays of all of them.

Each round of the loop is one evaluation of all problems that have not ended, of a step of its own each: of a new
direction, or a shorter one where the last did not lead down enough. Steps start from a metric that has been made for
all of them; with that an iteration takes off most of what is left, and few are needed.
"""

from dataclasses import dataclass

import numpy as np

_SUFFICIENT = 1e-4  # share of what the slope promises that a step must gain
_TRIALS = 12  # of a step, each shorter
_FAST, _SOON, _UNSEEN = 0.02, 3, 10.0  # as :meth:`_Run._ahead` has them
_EASY, _DOUBT = 6, 4.0  # steps of an easy fit; of others half squared gradients are believed so much less


@dataclass
class Ends:
    """How problems ended.

    Attributes
    ----------
    points : array (n_outputs.sum(), n_columns)
    objective, suboptimality : array (n_problems,)
        The latter is an estimate.
    held_out : array (n_problems, 2)
        As the objectives tell it, at the points.
    converged : array (n_problems,) bool
    n_iter : array (n_problems,) intp
    """

    points: np.ndarray
    objective: np.ndarray
    suboptimality: np.ndarray
    held_out: np.ndarray
    converged: np.ndarray
    n_iter: np.ndarray


def minimise(evaluate, problems, points, metric, allowed, *, max_iter, noise, n_pairs, pair=None, may_go_ahead=True):
    """Minimise all objectives.

    Parameters
    ----------
    evaluate : callable (problems, points) -> objective, grad, held_out
    problems : Problems
    points : array (n_outputs.sum(), n_columns) float64
        Where to start.
    metric : StackedMetric
    allowed : callable (places, problems, points) -> array (n_places,)
        What the objectives of some problems, at these places among all, may be above their minima.
    max_iter : int
    noise : float
        Relative rounding error of objectives.
    n_pairs : int
        Steps that are kept.
    pair : tuple of array, or None
        Steps, and the changes of the gradients that they would make, that are known beforehand.
    may_go_ahead : bool
        Whether a problem may end with a step whose end is not evaluated, where the steps before tell what it does.

    Returns
    -------
    Ends
    """
    run = _Run(evaluate, problems, points, metric, allowed, max_iter, noise, n_pairs, may_go_ahead)
    if pair is not None:
        run.know(*pair)
    run.begin()
    while len(run.problems):
        run.advance()
    return run.ends


def step(evaluate, problems, points, metric, pair, most):
    """Points one Newton step on, as the metric and a pair know the Hessian: of one evaluation, and not looked at.

    Problems that are promised to gain more than ``most`` (n_problems,) stay where they are.
    """
    run = _Run(evaluate, problems, points, metric, None, 1, 0.0, 1, False)
    run.know(*pair)
    _, grad, _ = evaluate(problems, points)
    direction = -run.times_inverse(grad)
    is_near = -problems.dot(grad, direction) / 2 <= most
    return np.where(problems.by_output(is_near)[:, None], points + direction, points)


class _Run:
    """The problems that have not ended, in arrays that become shorter."""

    def __init__(self, evaluate, problems, points, metric, allowed, max_iter, noise, n_pairs, may_go_ahead):
        n = len(problems)
        self.evaluate, self.problems, self.metric, self.allowed = evaluate, problems, metric, allowed
        self.max_iter, self.noise, self.n_pairs, self.may_go_ahead = max_iter, noise, n_pairs, may_go_ahead
        self.all, self.places, self.point = problems, np.arange(n), points.copy()
        above, below = np.full((2, n), np.inf)
        self.ends = Ends(points.copy(), above, below, np.zeros((n, 2)), np.zeros(n, bool), np.zeros(n, int))
        self.pairs = []  # steps, changes of the gradient, and the inverse of their products
        self.gamma, self.length, self.n_trials = np.ones(n), np.ones(n), np.zeros(n, int)
        self.n_iter, self.decrement, self.gain = np.zeros(n, int), np.full(n, np.inf), np.full((n, 2), np.nan)

    def know(self, step, change):
        """Take in what is known of the Hessians before."""
        product = self.problems.dot(step, change)
        inverse = np.divide(1.0, product, where=product > 0, out=np.zeros_like(product))
        self.pairs = [(step, change, inverse)]

    def begin(self):
        self.objective, self.grad, self.held_out = self.evaluate(self.problems, self.point)
        self.direction, self.slope = np.empty_like(self.point), np.empty(len(self.problems))
        self._arrived(np.ones(len(self.problems), bool))

    def advance(self):
        """One evaluation of each problem."""
        problems = self.problems
        length = problems.by_output(self.length)[:, None]
        trial = self.point + length * self.direction
        objective, grad, held_out = self.evaluate(problems, trial)
        slope = problems.dot(grad, self.direction)
        rounding = self.noise * np.abs(self.objective)
        is_down = objective <= self.objective + _SUFFICIENT * self.length * self.slope
        is_level = (objective <= self.objective + rounding) & (np.abs(slope) <= 0.9 * np.abs(self.slope))
        accepted = is_down | is_level
        self._shorten(~accepted, objective)
        if accepted.any():
            of_output = problems.by_output(accepted)
            step = np.where(of_output[:, None], length * self.direction, 0.0)
            change = np.where(of_output[:, None], grad - self.grad, 0.0)
            self._remember(step, change)
            self.gain[accepted] = np.stack([self.gain[:, 1], self.objective - objective], axis=1)[accepted]
            self.point[of_output], self.grad[of_output] = trial[of_output], grad[of_output]
            self.objective[accepted], self.held_out[accepted] = objective[accepted], held_out[accepted]
            self.n_iter += accepted
        self._arrived(accepted)

    def _shorten(self, rejected, objective):
        self.n_trials = np.where(rejected, self.n_trials + 1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            excess = objective - self.objective - self.length * self.slope
            share = -self.length * self.slope / (2 * excess)
        share = np.where(np.isfinite(share), np.clip(share, 0.1, 0.5), 0.1)
        self.length = np.where(rejected, self.length * share, 1.0)

    def _remember(self, step, change):
        product = self.problems.dot(step, change)
        size = np.sqrt(self.problems.dot(step, step) * self.problems.dot(change, change))
        curved = product > 1e-12 * size
        inverse = np.divide(1.0, product, where=curved, out=np.zeros_like(product))
        self.pairs = [*self.pairs[-(self.n_pairs - 1) :], (step, change, inverse)]
        natural = self.problems.dot(change, self.metric.solve(change))
        gamma = np.divide(product, natural, where=curved & (natural > 0), out=self.gamma.copy())
        self.gamma = gamma

    def _arrived(self, accepted):
        """Take new directions where steps have ended, and let those end that are done."""
        if accepted.any():
            direction = -self.times_inverse(self.grad)
            slope = self.problems.dot(self.grad, direction)
            lost = ~(slope <= 0)  # rounding
            self.direction[self.problems.by_output(accepted)] = direction[self.problems.by_output(accepted)]
            before = self.decrement.copy()
            self.slope[accepted], self.decrement[accepted] = slope[accepted], -slope[accepted] / 2
            doubt = np.where(self.n_iter <= _EASY, 1.0, _DOUBT)
            estimate = np.maximum(doubt * self.metric.slack * self.decrement, self._by_pace())
            allowed = self.allowed(self.places, self.problems, self.point)
            done = accepted & (estimate <= allowed) & ~lost
            ahead = accepted & ~done & ~lost & self._ahead(before, allowed)
            if ahead.any():
                estimate = np.where(ahead, _UNSEEN * self.decrement**2 / before, estimate)
                self.point += np.where(self.problems.by_output(ahead)[:, None], self.direction, 0.0)
                self.objective -= np.where(ahead, self.decrement, 0.0)
                self.n_iter += ahead
                done |= ahead
        else:
            done, lost, estimate = np.zeros((2, len(accepted)), bool), False, np.full(len(accepted), np.inf)
            done, lost = done
        given_up = ~done & (lost | (self.n_trials > _TRIALS) | (self.n_iter >= self.max_iter))
        self._end(done, given_up, estimate)

    def _ahead(self, before, allowed):
        """Whether the next step is sure to end low enough: half squared gradients shrink ever faster on the way."""
        if not self.may_go_ahead:
            return np.zeros(len(before), bool)
        with np.errstate(invalid="ignore"):
            ratio = self.decrement / before
            soon = (self.n_iter >= 1) & (self.n_iter <= _SOON)
            return soon & (ratio <= _FAST) & (_UNSEEN * ratio * self.decrement <= allowed)

    def _by_pace(self):
        """What is left by the last two gains, as a geometric series, thrice; nothing where there are no two."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.clip(self.gain[:, 1] / self.gain[:, 0], 0.0, 0.95)
            left = 3 * self.gain[:, 1] * ratio / (1 - ratio)
        return np.where(np.isfinite(left), left, 0.0)

    def times_inverse(self, grad):
        """The inverse Hessians, as they are known, times gradients: the two loops of L-BFGS."""
        problems, factors = self.problems, []
        rest = grad.copy()
        for step, change, inverse in reversed(self.pairs):
            factor = problems.by_output(inverse * problems.dot(step, rest))
            rest -= factor[:, None] * change
            factors.append(factor)
        out = self.metric.solve(rest) * problems.by_output(self.gamma)[:, None]
        for (step, change, inverse), factor in zip(self.pairs, reversed(factors), strict=True):
            back = problems.by_output(inverse * problems.dot(change, out))
            out += (factor - back)[:, None] * step
        return out

    def _end(self, done, given_up, estimate):
        ended = done | given_up
        if not ended.any():
            return
        places, outputs = self.places[ended], self.problems.by_output(ended)
        self.ends.points[self.all.outputs(places)] = self.point[outputs]
        self.ends.objective[places], self.ends.held_out[places] = self.objective[ended], self.held_out[ended]
        self.ends.suboptimality[places], self.ends.converged[places] = estimate[ended], done[ended]
        self.ends.n_iter[places] = self.n_iter[ended]
        kept, kept_outputs = ~ended, ~outputs
        if not kept.any():
            self.problems = self.problems.select(kept)
            return
        self.problems, self.metric = self.problems.select(kept), self.metric.select(kept)
        for name in (
            "places",
            "objective",
            "held_out",
            "slope",
            "gamma",
            "length",
            "n_trials",
            "n_iter",
            "decrement",
            "gain",
        ):
            setattr(self, name, getattr(self, name)[kept])
        for name in ("point", "grad", "direction"):
            setattr(self, name, getattr(self, name)[kept_outputs])
        self.pairs = [(s[kept_outputs], y[kept_outputs], inverse[kept]) for s, y, inverse in self.pairs]
