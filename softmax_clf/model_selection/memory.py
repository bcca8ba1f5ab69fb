"""What folds take while they are fitted, and so how many are fitted at a time."""

import itertools
import mmap

import numpy as np

_STACK_BYTES = 1 << 28  # what the problems that are solved at a time may take, beside X
_HUGE_BYTES = 1 << 22  # from which on NumPy asks for huge pages
N_PAIRS = 20  # steps and gradient changes that L-BFGS keeps for a problem


def fold_bytes(n_outputs, n_columns, n_samples, itemsize, sparse=False):
    """What one fold takes beside X while it is solved, without its metric."""
    # pairs, and what they are renewed by; points, gradients, steps, and the passes' own copies
    points = ((3 + 2) * (N_PAIRS + 1) + 16) * n_outputs * n_columns * 8
    # a fold's weights, those of the passes, sampled rows with theirs; what passes over sparse rows keep of each row is
    # padded by a third
    rows = n_samples * (8 + itemsize + 2 * 8 + (4 * n_outputs * itemsize // 3 if sparse else 0))
    return points + rows


def turns_of_folds(n_folds, *sizes, sparse=False):
    """Slices of the folds, as many at a time as may be stacked; parameters as of :func:`fold_bytes`."""
    most = max(_STACK_BYTES // fold_bytes(*sizes, sparse=sparse), 1)
    n_turns = -(-n_folds // most)
    bounds = [n_folds * t // n_turns for t in range(n_turns + 1)]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def untouched_zeros(shape, dtype):
    """Zeros of which only those pages take memory, and time, that are written to.

    Those of large arrays of NumPy's are of 2 MB each: few coefficients, here and there, touch all of them.
    """
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if n_bytes < _HUGE_BYTES or not hasattr(mmap, "MAP_PRIVATE"):
        return np.zeros(shape, dtype)
    # a view of memory, so that nobody takes it for that of a file
    memory = memoryview(mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    return np.frombuffer(memory, dtype).reshape(shape)


def searched_bytes(n_folds):
    """What the solver of each of so many folds may take for what it knows of its rows."""
    return _STACK_BYTES // n_folds
