"""Rows that lie in memory, in one dense array."""

import numpy as np

_SMALL = 1 << 24  # bytes that are copied rather than converted at every pass


class ArraySource:
    """A dense array as a source of rows.

    What a source must answer, whatever it reads from: its sizes and the dtype of its arithmetic, a function summed over
    its rows, and some of its rows. The objective asks for nothing else.

    Parameters
    ----------
    X : ndarray (n_samples, n_features)
        float32 or float64, in any memory order, finite.
    """

    def __init__(self, X):
        self.X = np.ascontiguousarray(X) if X.nbytes <= _SMALL else X
        self.dtype = X.dtype
        self.n_samples, self.n_features = X.shape
        self.part_rows = self.n_samples

    def sum(self, function):
        """Add up ``function(X_part, rows)`` over the parts, in order.

        Parameters
        ----------
        function : callable
            Takes rows as an array and their place as a slice; returns a tuple of float64 arrays that may be its own
            workspaces: they are read before the next call.
        """
        return function(self.X, slice(0, self.n_samples))

    def take(self, rows):
        """Some rows, as a C-contiguous array of dtype.

        Parameters
        ----------
        rows : array of intp, increasing
        """
        if len(rows) == self.n_samples:
            return np.ascontiguousarray(self.X)
        return np.ascontiguousarray(self.X[rows])
