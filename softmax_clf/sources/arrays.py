"""Rows that lie in memory, in one dense array."""

from typing import Any

import numpy as np

from ..kernels.dense import DensePass
from ..kernels.threads import run_tasks

NARROW = (np.uint8, np.int8, np.int16, np.float16)  # read as they are, calculated with as float32
DTYPES = (np.float64, np.float32, *NARROW)

_HOST = 1, 3, 11  # kinds of devices of DLPack whose memory is the processor's: its own, and that pinned for others
_SMALL = 1 << 24  # bytes: rather copied once than converted at every pass
_FEW = 100  # rows to begin with; but what is said of all rows must hold for all, but for their rounding
_CALL_ROWS = 4096  # at most these are looked at at a time
CANCELLED = 1e-6  # a variance that is so small a part of a mean square is a difference without digits
_MOST_MOVES = 3  # of a point to the mean: but for rounding one will do, and what is no number yet may never be
_SLICE_BYTES = 1 << 26  # at most, of rows that are summed as one
# Of a copy in float32, at most; how large values of it may be, whose squares are to be numbers; and how far they may be
# moved, as a share of what rows differ by.
_ROUNDED_BYTES, _LARGEST, _MOST_MOVED = 1 << 27, 1e15, 1e-5


def mean_and_variance(sums, shift, total):
    """Mean and variance of each feature, float64, from sums about a point that is moved near to the mean.

    Parameters
    ----------
    sums : callable shift -> (first, second)
        Weighted sums over all rows of x - shift and of its squares.
    shift : array (n_features,)
        Where to begin.
    total : float
        Of the weights.
    """
    n_moves = 0
    while True:
        first, second = sums(shift)
        offset = first / total
        variance = np.maximum(second / total - offset**2, 0.0)
        # the point may be so far off that there is cancellation: but by now the mean of all is known
        is_far = (variance < CANCELLED * offset**2) & (np.abs(offset) > 1e-8 * np.abs(shift))
        if n_moves == _MOST_MOVES or not is_far.any():
            return shift + offset, variance
        shift, n_moves = shift + offset, n_moves + 1


def of_moderate_size(weight):
    """Weights (n_samples,), not all zero, times a power of two: the largest is about one, and no sum is too small."""
    return np.ldexp(weight, -np.frexp(weight.max())[1])


def slice_rows(n_samples, n_features, itemsize):
    """Rows of a slice: as many in each, up to one, wherever they are read from. See :mod:`~..kernels.dense`."""
    most = max(_SLICE_BYTES // (max(n_features, 1) * itemsize), 1)
    return -(-n_samples // -(-n_samples // most))


class Source:
    """What is the same for rows of any kind that are read in parts."""

    X: Any
    n_samples: int
    n_features: int
    slice_rows: int
    dtype: np.dtype
    nbytes: int  # of X as it is stored
    pass_values: int  # of a dense array that a pass takes as long over
    gram_products: float | None = None  # of two values of a row, that a Gram matrix of all rows takes; None if dense
    is_wide_and_sparse = False  # whether a dense array of its features by its features is out of the question

    def passes(self, n_problems, n_scores, n_threads):
        """What passes over the parts: loss and gradient, predictions. See :class:`~..kernels.dense.DensePass`."""
        return DensePass(self.dtype, self.slice_rows, self.n_features, n_problems, n_scores, n_threads)

    def parts(self):
        """Rows as an array, and their place as a slice, for one part of whole slices after another."""
        raise NotImplementedError

    def rows_of(self, part, place, rows):
        """Rows of one of :meth:`parts` and its place, a slice within that, as an array."""
        return part[rows.start - place.start : rows.stop - place.start]

    def take(self, rows):
        """Some rows, as a C-contiguous array of dtype.

        Parameters
        ----------
        rows : array of intp, increasing
        """
        raise NotImplementedError

    def take_sparse(self, rows):
        """Some rows as :class:`~..contracts.SparseRows`, where ``gram_products`` is not None."""
        raise NotImplementedError

    def select(self, rows):
        """Some rows, as a source of rows.

        Parameters
        ----------
        rows : array of intp, increasing
        """
        return type(self)(self.X[rows])

    def check_finite(self, n_threads):
        """Raise ValueError, naming the row, where X holds a NaN or an infinity, unless that is found in reading."""

    def first(self, weight):
        """The first rows that weigh something, (n_rows, n_features) of dtype."""
        rows = np.arange(min(self.n_samples, _FEW)) if weight is None else np.flatnonzero(weight)[:_FEW]
        return self.take(rows)

    def moments(self, weight, n_threads):
        """Mean and variance of each feature, float64, rows weighted by ``weight`` (n_samples,) or all alike (None)."""
        # a value near each mean: what is left is squared without cancellation
        shift, total = self.first(weight).mean(axis=0, dtype=np.float64), self.n_samples
        if weight is not None:
            weight = of_moderate_size(weight)
            total = weight.sum()
        return mean_and_variance(
            lambda shift: self.passes(1, 1, n_threads).moments(self.parts(), shift, weight), shift, total
        )

    def peak(self, weight, enough):
        """The largest size of a value in rows that weigh something; where the first have ``enough``, theirs."""
        peak = float(np.abs(self.first(weight)).max(initial=0.0))
        if peak >= enough:
            return peak
        step = max((1 << 20) // max(self.n_features, 1), 1)
        for X, place in self.parts():
            for start in range(0, len(X), step):
                rows = X[start : start + step]
                if weight is not None:
                    rows = rows[weight[place][start : start + step] > 0]
                peak = max(peak, float(rows.max(initial=0)), -float(rows.min(initial=0)))
        return peak

    def constants(self, weight):
        """Features of one value, other than zero, in all rows that weigh something, as increasing indices.

        Those that look so in two rows, and then in the first ones, are compared in all: as a rule there are none.
        """
        rows = np.array([0, self.n_samples - 1]) if weight is None else np.flatnonzero(weight)[[0, -1]]
        value, last = self.take(rows)
        found = np.flatnonzero((value == last) & (value != 0))
        if len(found):
            found = found[(self.first(weight)[:, found] == value[found]).all(axis=0)]
        if not len(found):
            return found
        for X, place in self.parts():
            for start in range(0, len(X), _CALL_ROWS):
                values = X[start : start + _CALL_ROWS, found]
                if weight is not None:
                    values = values[weight[place][start : start + _CALL_ROWS] > 0]
                found = found[(values == value[found]).all(axis=0)]
                if not len(found):
                    return found
        return found


class ArraySource(Source):
    """A dense array as a source of rows.

    What a source must answer, whatever it reads from: its sizes and the dtype of its arithmetic, its rows in parts,
    some of its rows, and the passes that suit them. The objective asks for nothing else.

    Parameters
    ----------
    X : ndarray (n_samples, n_features)
        Of one of DTYPES, in any memory order, finite. It is not copied, unless it is small and its rows do not lie side
        by side.

    Attributes
    ----------
    dtype : float32 or float64
        Of the arithmetic, of coefficients and of probabilities.
    slice_rows : int
        Rows of a slice, of which parts are made.
    """

    def __init__(self, X):
        self.dtype = X.dtype if X.dtype in (np.float64, np.float32) else np.dtype(np.float32)
        self.X = np.ascontiguousarray(X) if X.dtype == self.dtype and X.nbytes <= _SMALL else X
        self.n_samples, self.n_features = X.shape
        self.slice_rows = slice_rows(*X.shape, X.itemsize)
        self.nbytes, self.pass_values = X.size * X.itemsize, X.size

    def parts(self):
        yield self.X, slice(0, self.n_samples)

    def take(self, rows):
        if len(rows) and (np.diff(rows) == 1).all():  # not a copy, where it can be helped
            rows = slice(rows[0], rows[-1] + 1)
        return np.ascontiguousarray(self.X[rows], self.dtype)

    def check_finite(self, n_threads):
        check_finite(self.X, n_threads=n_threads)

    def in_float32(self, weight):
        """A copy in float32, over which passes take little more than half as long, for values that it tells apart.

        None where X is not of float64, where the copy would take much memory, or where rounding moves the values of a
        feature by more than 1e-5 of what rows differ by, as for times in nanoseconds; some rows stand for all in this.

        Parameters
        ----------
        weight : array (n_samples,) float64, or None
        """
        if self.dtype != np.float64 or self.X.size * 4 > _ROUNDED_BYTES or self.peak(None, _LARGEST) >= _LARGEST:
            return None
        rows = np.arange(self.n_samples) if weight is None else np.flatnonzero(weight)
        values = self.take(np.sort(np.random.default_rng(0).choice(rows, min(_FEW, len(rows)), replace=False)))
        size, apart = np.abs(values).max(axis=0), np.abs(values - np.roll(values, 1, axis=0))
        varies = apart.any(axis=0)
        moved = np.median(np.abs(values - values.astype(np.float32)), axis=0)[varies]
        # of two values a feature may have one in most rows
        apart = np.nanmedian(np.where(apart > 0, apart, np.nan)[:, varies], axis=0)
        if (moved > _MOST_MOVED * apart).any() or ((size > 0) & (size < 1 / _LARGEST)).any():
            return None
        return ArraySource(np.ascontiguousarray(self.X, np.float32))


def as_numpy(values, name):
    """Values of any kind; a masked array, or an array of another library, as a NumPy array of the same dtype.

    Without a copy, where that library allows it. None is moved to another device.

    Parameters
    ----------
    values : object
    name : str
        What they are called.

    Raises
    ------
    ValueError
        Where values are masked, naming the row, where they are on another device, or where NumPy cannot read them.
    """
    if type(values) is np.ndarray:
        return values
    check_unmasked(values, name)
    if isinstance(values, np.ma.MaskedArray):
        return values.data
    if not is_foreign(values):
        return values
    kind, errors = type(values).__name__, (TypeError, ValueError, RuntimeError, BufferError)
    try:
        device = values.__dlpack_device__()[0] if hasattr(values, "__dlpack_device__") else _HOST[0]
        if device in _HOST:
            return np.asarray(values) if hasattr(values, "__array__") else np.from_dlpack(values)
    except errors as error:
        raise ValueError(
            f"Expected {name} to be an array that NumPy can read, got a {kind}: {error}. Remedy: pass a NumPy array, "
            "such as a tensor's .detach().cpu().numpy()."
        ) from error
    raise ValueError(
        f"Expected {name} in the memory of the processor, got a {kind} on another device. Remedy: copy it, by .cpu() "
        "of a tensor, for instance."
    )


def is_lazy(values):
    """Whether values are a Dask collection."""
    return hasattr(type(values), "__dask_graph__")


class RowSlices:
    """A lazy array as an object with row slices and no more: what it predicts is an array of NumPy.

    Parameters
    ----------
    X : dask.array.Array (n_samples, n_features)
    """

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        return self.X[rows]


def is_foreign(values):
    """Whether values are an array that knows dtypes of its own, or the protocols that libraries of arrays share."""
    if isinstance(values, np.ndarray | np.generic) or hasattr(values, "iloc"):
        return False
    if hasattr(values, "__dlpack__") or hasattr(values, "__array_namespace__"):
        return True
    dtype = stored_attribute(values, "dtype")
    return hasattr(values, "__array__") and dtype is not None and not isinstance(dtype, np.dtype)


def stored_attribute(values, name):
    """An attribute of what may read it from a file, or None; ValueError where the file is closed."""
    try:
        return getattr(values, name, None)
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"Expected a {type(values).__name__} that tells its {name}, but {type(error).__name__}: {error}. Remedy: "
            "see that its file is open, and leave it open until the call returns."
        ) from error


def check_finite(X, first=0, n_threads=1):
    """Raise ValueError, naming the row, where X holds a NaN or an infinity; its rows are numbered from ``first``."""
    step = max((1 << 20) // max(X.shape[1], 1), 1)

    def check(t, slot):
        rows = X[t * step : (t + 1) * step]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(rows.sum(dtype=np.float32 if rows.dtype == np.float16 else None)):
                return  # no more can be wrong; but sums may overflow
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise not_finite(rows[bad[0]], first + t * step + bad[0])

    run_tasks(check, -(-len(X) // step), n_threads)


def not_finite(values, row, columns=None):
    """The error for a row of such values, those of all columns or of some."""
    is_nan = np.isnan(values)
    kind, bad = ("NaN", is_nan) if is_nan.any() else ("infinity", np.isinf(values))
    column = int(bad.argmax()) if columns is None else int(columns[bad.argmax()])
    return ValueError(
        f"Expected finite values, but input X contains {kind} in row {row} and column {column}. Remedy: leave out such "
        "rows, or impute their values."
    )


def check_unmasked(values, name, first=0):
    """Raise ValueError, naming the row, where values are masked: as arrays they have a number there all the same."""
    mask = getattr(values, "mask", False)
    if callable(mask) or not np.any(mask):  # a data frame's is a method
        return
    row = first + int(np.argwhere(mask)[0][0])
    raise ValueError(
        f"Expected a value in every place, but {name} is masked in row {row}. Remedy: leave out such rows, or impute "
        "their values."
    )
