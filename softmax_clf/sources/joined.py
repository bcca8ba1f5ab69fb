"""The rows of two sources as one."""

import numpy as np
from scipy.sparse import csr_array, issparse, vstack

from .arrays import ArraySource
from .sparse import CsrSource
from .stream import StreamSource


def joined(first, second):
    """A source of the rows of two, of the kind of the first; a stream where either is one.

    Of arrays and of CSR it is a copy.
    """
    parts = first.X, second.X
    for source in (first, second):
        if isinstance(source, StreamSource):
            return StreamSource(ChainedSlices(first, second), verbose=source.verbose)
    if issparse(first.X):
        return CsrSource(vstack([part if issparse(part) else csr_array(part) for part in parts], format="csr"))
    return ArraySource(np.concatenate([part.toarray() if issparse(part) else part for part in parts]))


class ChainedSlices:
    """Rows of one source after those of another, as an object with ``shape``, ``dtype`` and slices of rows."""

    def __init__(self, first, second):
        self.parts, self.n_first = (first.X, second.X), first.n_samples
        self.shape = first.n_samples + second.n_samples, first.n_features
        self.dtype = np.result_type(first.X.dtype, second.X.dtype)

    def __getitem__(self, rows):
        start, stop, _ = rows.indices(self.shape[0])
        first = self.parts[0][min(start, self.n_first) : min(stop, self.n_first)]
        second = self.parts[1][max(start - self.n_first, 0) : max(stop - self.n_first, 0)]
        dense = [part.toarray() if issparse(part) else np.asarray(part) for part in (first, second) if part.shape[0]]
        return dense[0] if len(dense) == 1 else np.concatenate(dense)
