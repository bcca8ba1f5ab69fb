"""Kernels called on copies of their arrays that lie elsewhere in memory, near each other or far: the same bits.

A loop that stores is compiled twice, in lanes and one by one; which of the two runs is up to how near its arrays lie.
Whoever calls `watch` before kernels are imported has every call of one repeated at other places; `dependent` names the
kernels whose results differed. tests/test_places.py runs it.
"""

import contextlib
import ctypes

import numba
import numpy as np
from numba.core.registry import CPUDispatcher

try:
    from numpy.lib.array_utils import byte_bounds
except ImportError:  # numpy 1
    from numpy import byte_bounds

_ALIGNMENT = 16  # of what malloc returns
_MOST_BYTES = 1 << 22  # of calls that are repeated
_MOST_CALLS = 3  # of the same shapes
_GAPS = (0, 16, 64, 128, 4096)
dependent: set = set()
_n_calls: dict = {}


def n_calls():
    """Count the kernels that were repeated, and the shapes of their arrays."""
    return len({name for name, _ in _n_calls}), len(_n_calls)


@contextlib.contextmanager
def watch():
    """Repeat the calls of kernels that are made meanwhile, by `numba.njit`."""
    make = numba.njit

    def njit(*args, **options):
        decorate = make(*args, **options)

        def decorated(function):
            dispatcher = decorate(function)
            if not options.get("no_cpython_wrapper"):
                dispatcher.__class__ = _Placed
            return dispatcher

        return decorated

    numba.njit = njit
    try:
        yield
    finally:
        numba.njit = make


class _Placed(CPUDispatcher):
    """A kernel that is first called on copies."""

    def __call__(self, *args):
        call = super().__call__
        arrays = list(_arrays(args))
        name = f"{self.py_func.__module__}.{self.py_func.__name__}"
        key = name, tuple((array.shape, array.strides, array.dtype.str) for array in arrays)
        _n_calls[key] = _n_calls.get(key, 0) + 1
        spans = _spans(arrays)
        if _n_calls[key] <= _MOST_CALLS and sum(high - low for low, high in spans) <= _MOST_BYTES:
            results = {_called_at(places, call, args, spans) for places in _layouts(spans)}
            if len(results) > 1:
                dependent.add(name)
        return call(*args)


def _arrays(args):
    for value in args:
        if isinstance(value, tuple):
            yield from _arrays(value)
        elif isinstance(value, np.ndarray) and value.size:
            yield value


def _spans(arrays):
    """Pieces of memory, (first byte, byte after the last), of arrays that overlap: they are moved together."""
    spans = []
    for low, high in sorted(byte_bounds(array) for array in arrays):
        if spans and low < spans[-1][1]:
            low, before = spans.pop()
            high = max(high, before)
        spans.append((low, high))
    return spans


def _layouts(spans):
    """Places of the pieces in an arena: one after the other, in various orders and with various gaps."""
    rng = np.random.default_rng(len(spans))
    orders = [range(len(spans)), range(len(spans))[::-1], *(rng.permutation(len(spans)) for _ in range(3))]
    for order in orders:
        for gap in _GAPS:
            end, places = 4096, [0] * len(spans)
            for i in order:
                low, high = spans[i]
                places[i] = end + gap + (low - end - gap) % _ALIGNMENT
                end = places[i] + high - low
            yield places


def _called_at(places, call, args, spans):
    """What memory holds when the kernel was called on copies at these places, and what it returned."""
    sizes = [high - low for low, high in spans]
    end = max(map(sum, zip(places, sizes, strict=True)), default=0)
    memory = np.zeros(end + 4096, np.uint8)
    arena = memory[-memory.ctypes.data % 4096 :]
    for (low, _), place, size in zip(spans, places, sizes, strict=True):
        ctypes.memmove(arena.ctypes.data + place, low, size)

    def moved(value):
        if isinstance(value, tuple):
            return tuple(map(moved, value))
        if not isinstance(value, np.ndarray) or not value.size:
            return value
        begin, _ = byte_bounds(value)
        i = next(i for i, (low, high) in enumerate(spans) if low <= begin < high)
        offset = places[i] + value.ctypes.data - spans[i][0]
        copy = np.ndarray(value.shape, value.dtype, arena, offset, value.strides)
        copy.flags.writeable = value.flags.writeable
        return copy

    value = call(*map(moved, args))
    parts = [arena[place : place + size].tobytes() for place, size in zip(places, sizes, strict=True)]
    return b"".join(parts), repr(value)
