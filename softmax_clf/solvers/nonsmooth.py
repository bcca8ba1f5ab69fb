"""The part of an objective that has no derivative: L1 penalties, by coefficient or by feature, and bounds."""

import numpy as np


def l1_norm(point, threshold):
    """The sum of ``threshold * |point|``; where the point is zero, so is that, be the threshold infinite."""
    return float(np.multiply(threshold, np.abs(point), where=point != 0, out=np.zeros_like(point)).sum())


def violation(point, grad, threshold):
    """How far each element is from its optimality condition: the least subgradient's size (n_outputs, n_columns)."""
    toward = np.abs(grad + np.copysign(threshold, point))
    return np.where(point != 0, toward, np.maximum(np.abs(grad) - threshold, 0.0))


def violation_within(point, grad, threshold, low, high):
    """As :func:`violation`, where elements are to lie from ``low`` to ``high``: those at an end may go one way only."""
    up = -(grad + np.where(point >= 0, threshold, -threshold))
    down = grad - np.where(point <= 0, threshold, -threshold)
    up, down = np.where(point < high, up, 0.0), np.where(point > low, down, 0.0)
    return np.maximum(np.maximum(up, down), 0.0)


class SeparableL1:
    """sum(threshold * |point|), for points within bounds.

    Parameters
    ----------
    threshold : array (n_outputs, n_columns)
        Zero for what it does not count, inf for what is zero and stays so.
    low, high : array (n_outputs, n_columns), or None
        None for no bounds.

    Attributes
    ----------
    strength : float
        The least that is positive: infinite if none is.
    """

    def __init__(self, threshold, low=None, high=None):
        self.threshold, self.low, self.high = threshold, low, high
        self.strength = _least(threshold)

    def value(self, point):
        return l1_norm(point, self.threshold)

    def slope(self, point, direction):
        """Derivative along a direction, on coming to the point."""
        rate = np.where(point != 0, np.sign(point) * direction, -np.abs(direction))
        return float(np.multiply(self.threshold, rate, where=direction != 0, out=np.zeros_like(rate)).sum())

    def violation(self, point, grad):
        """How far each element is from its optimality condition, (n_outputs, n_columns)."""
        if self.low is None:
            return violation(point, grad, self.threshold)
        return violation_within(point, grad, self.threshold, self.low, self.high)

    def sizes(self, grad):
        """Of derivatives (n_outputs, n_columns), by column."""
        return np.abs(grad).max(axis=0)

    def on(self, metric):
        """The same in the columns of a metric."""
        return _SeparableOn(*(None if a is None else metric.gathered(a) for a in self._parts()), metric)

    def _parts(self):
        return self.threshold, self.low, self.high


class _SeparableOn:
    def __init__(self, threshold, low, high, metric):
        self.threshold = metric.laid_out(threshold)
        self.bounds = None if low is None else (metric.laid_out(low), metric.laid_out(high))

    def value(self, inner):
        return l1_norm(inner, self.threshold)

    def sweep(self, blocks, damping, *arrays):
        """A round of coordinate descent; by how much the model has become smaller."""
        return sum(block.sweep(damping, self.threshold, self.bounds, *arrays) for block in blocks)

    def put_within(self, inner):
        """Put right what rounding has moved out of the bounds; whether all is within them."""
        if self.bounds is None:
            return True
        within = np.clip(inner, *self.bounds)
        is_near = np.abs(within - inner).max(initial=0.0) <= 1e-12 * np.abs(within).max(initial=0.0)
        inner[:] = within
        return bool(is_near)


class GroupedL1:
    """sum over the columns of ``threshold`` times the norm of a point's column: all of it is zero, or nothing.

    Parameters
    ----------
    threshold : array (n_columns,)
        Zero for what it does not count.
    held : array (n_outputs,) bool
        Rows of a point that are zero and stay so.

    Attributes
    ----------
    strength : float
        As that of :class:`SeparableL1`.
    """

    def __init__(self, threshold, held):
        self.threshold, self.held, self.strength = threshold, held, _least(threshold)

    def value(self, point):
        return float(self.threshold @ np.linalg.norm(point, axis=0))

    def slope(self, point, direction):
        """Derivative along a direction, on coming to the point."""
        norm, length = np.linalg.norm(point, axis=0), np.linalg.norm(direction, axis=0)
        along = (point * direction).sum(axis=0)
        return float(self.threshold @ np.where(norm > 0, along / np.where(norm > 0, norm, 1.0), -length))

    def violation(self, point, grad):
        """How far the column of each element is from its optimality condition, (n_outputs, n_columns)."""
        norm = np.linalg.norm(point, axis=0)
        pull = point * (self.threshold / np.where(norm > 0, norm, 1.0))
        at_zero = np.maximum(self.sizes(grad) - self.threshold, 0.0)
        by_column = np.where(norm > 0, np.linalg.norm(grad + pull, axis=0), at_zero)
        return np.broadcast_to(by_column, point.shape)

    def sizes(self, grad):
        """Of derivatives (n_outputs, n_columns), by column."""
        return np.linalg.norm(grad, axis=0)

    def on(self, metric):
        """The same in the columns of a metric."""
        return _GroupedOn(metric.gathered(self.threshold[None])[0], self.held)


class _GroupedOn:
    def __init__(self, threshold, held):
        self.threshold, self.held = threshold, held

    def _by_column(self, inner):
        n_columns = len(self.threshold)
        return inner.reshape(inner.shape[0] * inner.shape[1] // n_columns, n_columns, *inner.shape[2:])

    def value(self, inner):
        return float(self.threshold @ np.linalg.norm(self._by_column(inner), axis=0))

    def sweep(self, blocks, damping, grad, start, low, low_image, point, image, low_out, everywhere):
        """A round over the columns; by how much the model has become smaller."""
        (block,) = blocks
        arrays = (self._by_column(a) for a in (grad, start, low, low_image, point, image))
        return block.sweep_columns(damping, self.threshold, self.held, *arrays, low_out, everywhere)

    def put_within(self, inner):
        return True


def _least(threshold):
    return float(threshold[np.isfinite(threshold) & (threshold > 0)].min(initial=np.inf))
