"""Rows that are read as they are needed: memory maps, and whatever has a shape, a dtype and row slices."""

import itertools
import mmap
import sys
import threading
import time

import numpy as np

from ..kernels.threads import caller_in_this_context
from .arrays import DTYPES, NARROW, Source, check_finite, check_unmasked, slice_rows, stored_attribute

_PAGE = 4096
_NUMBERS = "biuf"  # kinds of dtype


def is_stream(X):
    """Whether X is to be read in slices: a memory map, or no array but with the shape, dtype and slices of one."""
    if isinstance(X, np.memmap):
        return X.ndim == 2 and X.dtype.kind in _NUMBERS  # any other is refused as an array of that kind would be
    if isinstance(X, np.ndarray) or hasattr(X, "iloc") or hasattr(X, "__dataframe__"):
        return False
    if hasattr(X, "__array_namespace__") or hasattr(X, "nnz"):
        return False
    if any(stored_attribute(X, name) is None for name in ("shape", "dtype", "__getitem__")):
        return False
    try:
        np.dtype(X.dtype)
        return len(X.shape) == 2
    except TypeError:
        return False


class StreamSource(Source):
    """A source of rows that reads slices of them, one ahead of the work, in a thread.

    Two slices are held at a time, half as much more where they are converted. Those of a memory map are not: they
    belong to the system, which drops them when it needs the memory.

    Parameters
    ----------
    X : object with ``shape`` (n_samples, n_features), ``dtype`` and slices of rows that NumPy can make arrays of
        Of a dtype of :data:`~.arrays.DTYPES`; slices of any other number are converted to float64.
    verbose : bool
        Whether to show on stderr how far a pass is that takes longer than a second.

    Raises
    ------
    ValueError
        Where X does not hold real numbers. From what reads rows, with their numbers, where rows are missing, cannot be
        read, have another width or, the first time, are not finite.
    """

    def __init__(self, X, *, verbose=False):
        if np.dtype(X.dtype).kind not in _NUMBERS:
            problem = "Complex data not supported: e" if np.dtype(X.dtype).kind == "c" else "E"
            raise ValueError(
                f"{problem}xpected X to hold real numbers, got a {type(X).__name__} of dtype {X.dtype}. Remedy: store "
                "it as numbers, or read and convert it first."
            )
        self.X, self.verbose = X, verbose
        self.n_samples, self.n_features = (int(size) for size in X.shape)
        kept = np.dtype(X.dtype) in DTYPES
        narrow = np.dtype(X.dtype) in NARROW
        self.stored = np.dtype(X.dtype) if kept else np.dtype(np.float64)
        if verbose and not kept and isinstance(X, np.memmap):
            print(
                f"X is a memory map of {X.dtype}, which is not calculated with as it lies: each pass copies its rows, "
                "a slice at a time, as float64. Store it as one of "
                f"{', '.join(dtype.name for dtype in map(np.dtype, DTYPES))} to have it read in place.",
                file=sys.stderr,
                flush=True,
            )
        self.dtype = np.dtype(np.float32) if narrow else self.stored
        self.pass_values = self.n_samples * self.n_features
        self.nbytes = self.pass_values * self.stored.itemsize
        self.slice_rows = slice_rows(self.n_samples, self.n_features, self.stored.itemsize)
        self.checked = np.full(-(-self.n_samples // self.slice_rows), self.stored.kind != "f")

    def parts(self):
        bounds = [*range(0, self.n_samples, self.slice_rows), self.n_samples]
        places = [slice(*pair) for pair in itertools.pairwise(bounds)]
        self._check_file()
        if len(places) == 1:
            yield self._checked(0, places[0]), places[0]
            return
        reported = time.monotonic()
        ahead = _Ahead(self._checked, 0, places[0])
        try:
            for q, rows in enumerate(places):
                X = ahead.value()
                if q + 1 < len(places):
                    ahead = _Ahead(self._checked, q + 1, places[q + 1])
                yield X, rows
                if self.verbose and time.monotonic() - reported > 1:
                    reported = time.monotonic()
                    print(f"\rrow {rows.stop} of {self.n_samples}", end="", file=sys.stderr, flush=True)
        finally:
            ahead.wait()  # when the pass is given up
        if self.verbose:
            print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)

    def take(self, rows):
        if isinstance(self.X, np.memmap):
            self._check_file()
            return np.ascontiguousarray(self.X[rows], self.dtype)
        taken = np.empty((len(rows), self.n_features), self.dtype)
        first = 0
        while first < len(rows):
            last = int(np.searchsorted(rows, rows[first] + self.slice_rows))
            place = slice(int(rows[first]), int(rows[last - 1]) + 1)
            taken[first:last] = self._read(place)[rows[first:last] - place.start]
            first = last
        return taken

    def select(self, rows):
        return StreamSource(_Selected(self, rows))

    def _checked(self, q, rows):
        """A part, found finite the first time it is read."""
        X = self._read(rows)
        if not self.checked[q]:
            check_finite(X, rows.start)
            self.checked[q] = True
        elif isinstance(self.X, np.memmap) and X.flags.c_contiguous:
            X.reshape(-1)[:: _PAGE // X.itemsize].max()  # so that the system reads them now, and here
        return X

    def _read(self, rows):
        """Rows as an array; a view where they are a memory map's."""
        place = f"rows {rows.start} to {rows.stop} of X"
        try:
            found = self.X[rows]
        except Exception as error:
            if _is_of_a_signal_handler(error):
                raise
            raise ValueError(
                f"Expected to read {place}, but {_words_of(error)}. Remedy: see that the file is open and whole and "
                "that its format's library can read it."
            ) from error
        check_unmasked(found, "X", rows.start)
        dense = getattr(found, "toarray", None) or getattr(found, "todense", None)  # of sparse rows
        try:
            X = np.asarray(found if dense is None else dense())
        except Exception as error:
            if _is_of_a_signal_handler(error):
                raise
            raise ValueError(_no_array(place, found, _words_of(error))) from error
        expected = rows.stop - rows.start, self.n_features
        if X.ndim == 0:
            raise ValueError(_no_array(place, found, "it makes none"))
        if X.shape != expected:
            raise ValueError(
                f"Expected {place} as an array of shape {expected}, got {X.shape}. Remedy: see that the file is whole "
                "and that its slices are as wide as its shape says."
            )
        return X if X.dtype == self.stored else self._converted(X, rows.start)

    def _converted(self, X, first):
        """Rows, numbered from ``first``, in the dtype that X says it has, where its slices have another."""
        try:
            return _cast(X, self.stored)
        except (TypeError, ValueError):
            row = next((i for i, values in enumerate(X) if not _has_place(values, self.stored)), None)
            if row is None:
                raise
        value = next(value for value in X[row] if not _has_place(value, self.stored))
        raise ValueError(
            f"Expected slices of X to hold numbers of dtype {self.stored}, as X says, but they have {value!r} in row "
            f"{first + row}. Remedy: leave out rows with missing values, or impute them; where slices are scaled as "
            "they are read, let X say their dtype."
        )

    def _check_file(self):
        """A file cut short behind a memory map ends the process when it is read, not the call."""
        X = self.X
        whole = X
        while isinstance(whole, np.memmap) and not isinstance(whole.base, mmap.mmap):
            whole = whole.base  # X may be a view; only the array that was mapped knows where in the file it begins
        if not isinstance(whole, np.memmap) or whole.filename is None:
            return
        begin = X.ctypes.data - whole.ctypes.data + whole.offset
        n_bytes = whole.base.size()  # by the open file: that of its name may be another one by now, or none
        across = max((self.n_features - 1) * X.strides[1], 0) + X.itemsize  # from a row's first value to its end
        ends = begin + across + np.array([0, self.n_samples - 1]) * X.strides[0]
        if ends.max() > n_bytes:
            forward = ends[0] <= n_bytes and X.strides[0] > 0
            row = (n_bytes - ends[0]) // X.strides[0] + 1 if forward else 0
            raise ValueError(
                f"Expected {self.n_samples} rows of X in {whole.filename}, but the file has been cut short: rows from "
                f"{row} on are missing. Remedy: write the file again."
            )


class _Selected:
    """Some rows of a stream, as a stream: they are read again whenever they are asked for.

    Parameters
    ----------
    source : StreamSource
    rows : array of intp, increasing
    """

    def __init__(self, source, rows):
        self.source, self.rows = source, rows
        self.shape, self.dtype = (len(rows), source.n_features), source.dtype

    def __getitem__(self, place):
        return self.source.take(self.rows[place])


def _cast(values, dtype):
    """Values as an array of some dtype; TypeError or ValueError where one has no place in it."""
    values = np.asarray(values)
    if values.dtype.kind == "c":
        raise TypeError
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is looked for by `check_finite`
        cast = values.astype(dtype)
    if dtype.kind in "iu" and not (cast == values).all():
        raise ValueError
    return cast


def _has_place(values, dtype):
    try:
        _cast(values, dtype)
    except (TypeError, ValueError):
        return False
    return True


class _Ahead:
    """A function's value, computed in a thread meanwhile; where none can be started, when it is asked for.

    Parameters
    ----------
    function : callable
    *args
        Its arguments.
    """

    def __init__(self, function, *args):
        self.work, self.outcome = (function, *args), None
        # A thread of its own each time: nothing is left behind in a forked child or when the interpreter ends, which
        # waits for it. What it is made of is looked up here, as a whole; see the imports of `kernels.threads`.
        self.thread = threading.Thread(target=caller_in_this_context(), args=(self._run,), name="softmax_clf-read")
        try:
            self.thread.start()
        except RuntimeError:  # a limit, or the interpreter is about to end
            self.thread = None

    def _run(self):
        function, *args = self.work
        try:
            self.outcome = function(*args), None
        except BaseException as error:
            self.outcome = None, error

    def wait(self):
        """Wait until the thread is through, if there is one."""
        if self.thread is not None:
            self.thread.join()

    def value(self):
        """The value, which is kept no longer, or what the function raises."""
        if self.thread is None:
            function, *args = self.work
            return function(*args)
        self.thread.join()
        (value, error), self.outcome = self.outcome, None
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # whose traceback refers to this frame


def _is_of_a_signal_handler(error):
    """Whether a signal handler raised it, as for a time limit, which says nothing about what it cut short.

    Such a function is the only one that is given the frame that calls it.
    """
    step = error.__traceback__
    while step is not None:
        caller = step.tb_frame.f_back
        values = step.tb_frame.f_locals.values() if caller is not None else ()
        if any(value is caller or (type(value) is tuple and any(part is caller for part in value)) for value in values):
            return True
        step = step.tb_next
    return False


def _words_of(error):
    return f"{type(error).__name__}: {error}"


def _no_array(place, found, problem):
    return (
        f"Expected {place} as something that NumPy can make an array of, got a {type(found).__name__}, but {problem}. "
        "Remedy: give X as an array in the host's memory, or slices of which are."
    )
