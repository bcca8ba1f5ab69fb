"""Which way L-BFGS goes on: with a diagonal, with a metric, with one that all is checked by; and when searches do.

With a diagonal an iteration takes a pass and hardly more, and there are many. A metric takes as long as some passes, or
as a hundred, and then few iterations, unless it is bad: where rows of high leverage become sure of the wrong class, its
steps have to be shortened. Searches in subspaces take a metric of all rows, and several passes an iteration. Which is
the fastest the data decide, and nothing tells beforehand. So what is dear is turned to when what has been done takes as
much, or a share of that, and what is left, at the pace of what has been done, takes more: then no more is lost than
that. What turns out worse than what was before is left again.

A diagonal vouches for nothing, nor does a metric that was made far from the end: as L-BFGS goes on, what is left lies
in directions in which the metric is poor. (With 20 classes what F was above its minimum by rose from 1.5 to 48 times
half the squared gradient in a Kronecker metric; in one of all rows with a block a class, made where all seemed to be
done, it was 0.7 to 2.2 times on 23 problems, and in a second one, after steps with the first, up to 3.2.) So what ends
a fit that was begun with a diagonal is such a metric, where there is room for it; or, where it takes longer, Newton's
step by products with the Hessian (:mod:`~.conjugate`). Near the minimum their steps are good ones, too.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DIAGONAL, METRIC, CHECK = "diagonal", "metric", "check"

# A metric that takes so many passes is made at once, unless passes are so short that an iteration is as long as so many
# of them, and so is one that takes as long as so many iterations. A dearer one is turned to after as much as it
# takes, searches after a share of what they take, where of what is left a pace tells too little by some factor.
_CHEAP, _SMALL, _AT_ONCE, _RENT, _TOO_LITTLE = 25, 1.1, 1.5, 0.5, 3
_RATE = 0.4  # by so much the logarithm of what is left shrinks in an iteration with a metric, or of searches
_MANY_SHORTENED = 3  # steps that make a metric a bad one
# All seems to be done where the pace leaves so many times what is allowed, for the check's steps do the rest; so much
# less at most, after one that has shown that there was more. Estimates by another metric may be so many times as much:
# they have some slack. A check is to take no more than its share either, unless what is left is as little as this.
_NEARLY, _NOT_YET, _LEAST, _DOUBTFUL, _CHECK_RENT, _SURELY = 2.5, 0.1, 0.1, 4, 0.25, 1e-2
# Without a diagonal to turn to a fit is hard, too, that after so many iterations, in which easy ones end, has so many
# before it.
_EASY, _MANY_LEFT = 30, 30
_MANY, _TRIED = 20, 8  # iterations that searches are expected to take, and before which they are not given up
_PRODUCTS, _MOST_PRODUCTS = 25, 60  # that a check by Newton's steps is expected to take, and that one may
_MOST_CHECKED = 3  # times what all has taken so far: a check may take so much


@dataclass
class Plain:
    """What L-BFGS with a diagonal knows of an objective.

    Attributes
    ----------
    make_diagonal : callable () -> ScheduledMetric
        A metric that takes next to nothing, the same at any point.
    make_check : callable point -> ScheduledMetric
        One of all rows.
    make_common : callable point -> ScheduledMetric
        One of all rows that is the same for all classes.
    metric_passes, check_passes, common_passes : callable () -> float
        What any other metric takes, and these, in passes over all rows; of the check infinite where it tells no more.
    iteration_passes : float
        What an iteration takes.
    n_iter : int
        Iterations with the diagonal so far: they do not tell that a metric had better be a dear one.
    """

    make_diagonal: Callable
    make_check: Callable
    make_common: Callable
    metric_passes: Callable
    check_passes: Callable
    common_passes: Callable
    iteration_passes: float
    n_iter: int = 0

    def begins(self):
        """Whether to begin with the diagonal: not where a metric takes no more than an iteration or two."""
        passes, each = self.metric_passes(), self.iteration_passes
        return passes > _AT_ONCE * each and (passes > _CHEAP or each > _SMALL)


class Ways:
    """The way at present, and whether it is time for another.

    Parameters
    ----------
    plain : Plain, or None
        Where there is no other way than with a metric.
    rows : Rows, or None
        Where there are no searches.
    budget : Budget
        What all has taken.
    max_iter : int

    Attributes
    ----------
    way : 'diagonal', 'metric' or 'check'
    began : int
        Iteration at which it was taken.
    n_shortened : int
        Steps that had to be, since then.
    n_checked : int
        Checks so far.
    """

    def __init__(self, plain, rows, budget, max_iter):
        self.plain, self.rows, self.budget, self.max_iter = plain, rows, budget, max_iter
        self.way, self.began, self.n_shortened = METRIC, 0, 0
        self.has_bad_metric, self.nearly, self.wait, self.n_checked = False, _NEARLY, 0.0, 0
        self.is_last = False  # whether a metric was turned to since all seemed to be done
        self.has_products = rows is not None  # and they have not failed
        self.takes_newton_steps, self.wasted = False, 0.0  # for a check; passes that have led to none
        self.waits_since = None  # iteration at which a check was put off, for a bound that seemed near
        if plain is not None and plain.begins():
            self.way = DIAGONAL

    @property
    def is_plain(self):
        return self.way == DIAGONAL

    @property
    def vouches(self):
        """Whether what the metric tells of F - F* may end a fit."""
        return self.way == CHECK or (self.way == METRIC and (self.began == 0 or not self._can_check()))

    @property
    def by_products(self):
        """Whether a check is by Newton's steps, and not by a metric: where these take less."""
        return self.has_products and self._step_passes() < self.plain.check_passes()

    def _step_passes(self):
        """What Newton's step takes: products, and a metric for them unless there is one."""
        return _PRODUCTS + (self.plain.common_passes() if self.is_plain else 0.0)

    def most_products(self):
        """Products after which a step is given up: when they have taken as long as the other check takes."""
        return int(min(max(self.plain.check_passes(), _PRODUCTS), _MOST_PRODUCTS))

    def _check_passes(self):
        return self._step_passes() if self.by_products else self.plain.check_passes()

    def _can_check(self):
        """Whether a metric that checks all takes no more than some times what all has taken so far."""
        return self.plain.check_passes() <= _MOST_CHECKED * (self.budget.spent - self.wasted)

    def take(self, way, iteration):
        """Take another way from an iteration on; whether it takes another metric."""
        self.takes_newton_steps = way == CHECK and self.by_products
        keeps_metric = self.takes_newton_steps and self.way == METRIC
        self.way, self.began, self.n_shortened = way, iteration, 0
        return not keeps_metric

    def lack_products(self, iteration, passes):
        """Go on with the metric: products that took so many passes have not led to Newton's step."""
        self.has_products, self.wasted = False, self.wasted + passes
        self.take(METRIC, iteration)

    def next(self, iteration, pace, slope, estimate, bounded):
        """The way to take after an iteration; None to go on.

        Parameters
        ----------
        iteration : int
        pace : Pace
            Since the way was taken.
        slope : float
            Of F along the iteration's direction.
        estimate, bounded : float
            Of F - F* before it, and at the most.
        """
        if self.plain is None:
            return None
        if self.is_plain:
            self.plain.n_iter += 1
            if self._is_nearly_done(iteration, pace, slope):
                if self._is_proven_sooner(iteration, pace, bounded):
                    return None
                self.is_last = not self._can_check()
                return METRIC if self.is_last else CHECK
            if self.has_bad_metric or not pace.left:
                return None
            passes, each = self.plain.metric_passes(), self.plain.iteration_passes
            return METRIC if self._pays(iteration, pace, passes, each, passes) else None
        doubtful = 1.0 if self.by_products else _DOUBTFUL
        if not self.vouches and estimate <= doubtful * self.nearly * pace.goal:
            return None if self._is_proven_sooner(iteration, pace, bounded) else CHECK
        if self.takes_newton_steps:
            return DIAGONAL if self.n_shortened else None
        if self.n_shortened >= _MANY_SHORTENED:
            self.has_bad_metric = True
            self.nearly *= _NOT_YET if self.is_last else 1.0
            return DIAGONAL
        return None

    def _is_nearly_done(self, iteration, pace, slope):
        left = max(-slope / 2, pace.above)
        if not pace.is_known or left > self.nearly * pace.goal:
            return False
        done = (iteration - self.began) * self.plain.iteration_passes
        passes = self._check_passes() if self._can_check() else self.plain.metric_passes()
        return left <= _SURELY * pace.goal or done >= _CHECK_RENT * (1 + self.n_checked) * passes

    def _is_proven_sooner(self, iteration, pace, bounded):
        """Whether a bound that falls as F does will have fallen below the goal before a check has been made.

        It is waited for no longer than the check takes.
        """
        if not bounded < np.inf or not pace.is_known:
            return False
        passes, each = self._check_passes(), self.plain.iteration_passes
        left = pace.window * max(np.log(bounded / pace.goal), 0.0) / -np.log(pace.ratio)
        if _TOO_LITTLE * left * each > passes:
            return False
        self.waits_since = iteration if self.waits_since is None else self.waits_since
        return (iteration - self.waits_since) * each <= passes

    def checked(self, estimate, goal):
        """Take note of what the check tells where it was made."""
        if estimate > goal:
            self.nearly = max(self.nearly * max(goal / estimate, _NOT_YET), _LEAST)
        self.n_checked += 1

    def _pays(self, iteration, pace, passes, iteration_passes, rent):
        """Whether what takes so many passes at first, and so many an iteration, takes less than what is left.

        What is left is to be known.
        """
        if (iteration - self.began) * self.plain.iteration_passes < rent:
            return False
        other = passes + (np.log(pace.above) - np.log(pace.goal)) / _RATE * iteration_passes
        return _TOO_LITTLE * pace.left * self.plain.iteration_passes >= other

    def is_for_searches(self, iteration, pace, left):
        """Whether searches had better go on; from a diagonal, only where a metric has been a bad one.

        Parameters
        ----------
        iteration, pace
            As for :meth:`next`.
        left : float
            Iterations that are left, by the estimates of F - F*: what counts without a diagonal.
        """
        if self.rows is None or (self.is_plain and not self.has_bad_metric):
            return False
        if self.plain is None:
            slow = iteration >= _EASY and _MANY_LEFT + self.rows.metric_passes() / 2 < left < np.inf
            return slow or self.n_shortened >= _MANY_SHORTENED
        if not pace.left:
            return False
        passes, each = self.rows.metric_passes(), self.rows.iteration_passes
        rent = _RENT * (passes + _MANY * each)
        rent = rent if self._runs_out(iteration, pace) else max(rent, self.wait)
        return self._pays(iteration, pace, passes, each, rent)

    def _runs_out(self, iteration, pace):
        """Whether there are too few iterations to go for what is left at this pace."""
        to_go = self.max_iter - iteration
        return to_go <= iteration and pace.left > to_go

    def patience(self, iteration, pace, objective):
        """How long searches may go on: a callable (n_iter, objective) -> bool, that says when to give them up.

        That is when they gain less than would have been gained at the pace before, their metric not counted.
        """
        if self.plain is None or self._runs_out(iteration, pace):
            return None
        spent = self.budget.spent + self.rows.metric_passes()

        def gives_up(n_iter, objective_there):
            others = (self.budget.spent - spent) / self.plain.iteration_passes
            return n_iter >= _TRIED and objective - objective_there < pace.fall(others)

        return gives_up

    def given_up(self, passes):
        """Searches that took so many passes have been given up."""
        self.wait, self.has_bad_metric = 2 * passes, True
