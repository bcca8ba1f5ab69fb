"""Tells when kernels are compiled: the first fit of a kind of data seems to hang otherwise."""

import sys
import time
from contextlib import contextmanager

from numba.core import event


class _Compilations(event.Listener):
    """Notes seen, and says so when the first begins."""

    def __init__(self):
        self.n_kernels, self.start, self.end = 0, None, None

    def on_start(self, event):
        if self.start is None:
            self.start = time.perf_counter()
            print("compiling kernels for this kind of data, which takes seconds ...", file=sys.stderr, flush=True)

    def on_end(self, event):
        self.n_kernels += 1
        self.end = time.perf_counter()


@contextmanager
def announcing_compilation(verbose):
    """Tell on stderr of kernels that are compiled meanwhile, in any thread; of none that are loaded from disk."""
    if not verbose:
        yield
        return
    seen = _Compilations()
    with event.install_listener("numba:compile", seen):
        yield
    if seen.end is not None:
        took = seen.end - seen.start
        print(
            f"compiled {seen.n_kernels} of them in {took:.1f} s; later fits find them",
            file=sys.stderr,
            flush=True,
        )
