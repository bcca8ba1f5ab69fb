"""Iterations of a fit, reported to the user and to callbacks, and the loss on rows that are not fitted."""

from typing import Any

import numpy as np

from .messages import check_start, or_as_float64
from .solvers.stopping import BestIterate


class Watch:
    """Reports each iteration of a fit to the user and to callbacks, and keeps the loss on validation rows.

    Parameters
    ----------
    clf : SoftmaxRegressionClassifier
    objective : SoftmaxObjective
    classes : array (n_classes,)
    task : Task
        The fit.
    validation : MeanCrossEntropy, or None
    """

    def __init__(self, clf, objective, classes, task, validation):
        self.verbose, self.objective, self.classes = clf.verbose, objective, classes
        self.task, self.iteration = task, None
        self.validation = validation
        self.best: Any = None if validation is None else BestIterate(clf.n_iter_no_change)

    def coefficients(self, point):
        """Fitted attributes of a point."""
        dtype = self.objective.source.dtype
        with np.errstate(over="ignore"):
            coef, intercept = (part.astype(dtype) for part in self.objective.split(point))
        if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise ValueError(
                f"Expected X of a size whose coefficients {dtype} can hold, but they overflow. Remedy: scale X "
                f"up{or_as_float64(dtype)}."
            )
        return {"classes_": self.classes, "coef_": coef, "intercept_": intercept}

    def watched(self):
        """The objective, as a solver asks for it."""
        return WatchedObjective(self)

    def begin(self):
        """Begin an iteration, unless one is under way."""
        if self.iteration is None:
            self.iteration = self.task.subtask("iteration")

    def end(self):
        """End an iteration that is under way and has come to nothing, as no further point is asked for."""
        if self.iteration is not None:
            self.iteration.end()

    def report(self, solution):
        """Report an iteration that the solver has done, or its start; whether it is to stop."""
        text, stop = "", False
        if self.validation is not None:
            loss = self.validation.evaluate(*self.objective.split(solution.point))
            if not np.isfinite(loss):
                dtype = self.validation.source.dtype
                self.validation.source.check_finite(self.objective.n_threads)
                raise ValueError(
                    f"Expected finite scores X_val @ coef_.T, but they overflow {dtype}. Remedy: scale X and X_val "
                    f"down{or_as_float64(dtype, 'them')}."
                )
            text, stop = f", validation loss {loss:.8g}", self.best.add(solution, loss)
        if self.verbose > 1:
            print(
                f"iteration {solution.n_iter}: objective {solution.objective:.8g}, above the minimum by an estimated "
                f"{solution.suboptimality:.1e}{text}"
            )
        if self.iteration is None and solution.n_iter and self.task is not None:  # of a solver that asks for nothing
            self.begin()
        if self.iteration is not None:
            stop |= self.iteration.end(lambda: self.coefficients(solution.point))
            self.iteration = None
        return stop


class WatchedObjective:
    """An objective that tells its watch of iterations: each point but the first at which it is asked for begins one.

    Parameters
    ----------
    watch : Watch
    """

    def __init__(self, watch):
        self.watch, self.objective = watch, watch.objective

    def evaluate(self, point):
        is_first = not self.objective.n_passes
        if not is_first:
            self.watch.begin()
        value, grad = self.objective.evaluate(point)
        if is_first:
            check_start(self.objective, value, grad)
        return value, grad

    def raw_scores(self, point, out, is_direction):
        self.objective.raw_scores(point, out, is_direction)

    def evaluate_at(self, point, scores):
        self.watch.begin()
        return self.objective.evaluate_at(point, scores)

    def arrived(self):
        self.watch.begin()
        self.objective.n_passes += 1

    def curve(self, point):
        self.objective.curve(point)

    def hessian_product(self, direction):
        return self.objective.hessian_product(direction)
