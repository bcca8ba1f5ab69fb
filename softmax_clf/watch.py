"""Iterations of a fit, told to the user and to callbacks, and the loss on rows that are not fitted."""

from typing import Any

import numpy as np

from .messages import or_as_float64
from .solvers.stopping import BestIterate


class Watch:
    """Told of each iteration of a fit: tells it to the user, to callbacks, and keeps the loss on validation rows.

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
        coef, intercept = (part.astype(dtype) for part in self.objective.split(point))
        return {"classes_": self.classes, "coef_": coef, "intercept_": intercept}

    def begin(self):
        """An iteration is under way."""
        if self.iteration is None:
            self.iteration = self.task.subtask("iteration")

    def end(self):
        """No further point is asked for: an iteration that is under way has come to nothing."""
        if self.iteration is not None:
            self.iteration.end()

    def report(self, solution):
        """The solver has done an iteration, or is at its start; whether it is to stop."""
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
        if self.iteration is not None:
            stop |= self.iteration.end(lambda: self.coefficients(solution.point))
            self.iteration = None
        return stop
