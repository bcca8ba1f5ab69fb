"""What solvers ask for besides the objective at a point."""

from dataclasses import dataclass

import numpy as np

from ..contracts import Metric


@dataclass
class Naturals:
    """Gradients as steps of a metric."""

    metric: Metric
    grads: list

    def answer(self):
        if len(self.grads) == 1:
            return [self.metric.solve(self.grads[0])]
        return self.metric.solve_all(np.stack(self.grads))


@dataclass
class Scores:
    """Scores of the rows at a point, or along a direction, to be written to ``out`` (n_outputs, n_samples)."""

    point: np.ndarray
    out: np.ndarray
    is_direction: bool


@dataclass
class AtScores:
    """(objective, gradient) at a point of known scores."""

    point: np.ndarray
    scores: np.ndarray


@dataclass
class Arrived:
    """Nothing: a solver that knows the rows is at a point, for which it has gone through them once."""

    point: np.ndarray


@dataclass
class Curve:
    """Nothing: Hessian products are to be those at a point, from now on."""

    point: np.ndarray

    def answer(self, objective):
        objective.curve(self.point)


@dataclass
class Product:
    """The Hessian, at the point that :class:`Curve` has named, times a direction."""

    direction: np.ndarray

    def answer(self, objective):
        return objective.hessian_product(self.direction)
