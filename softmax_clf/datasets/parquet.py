"""Embeddings in a Parquet or an Arrow IPC file, as rows that are read when they are needed."""

import threading
from pathlib import Path

import numpy as np

__all__ = ["open_parquet"]

_BATCH_BYTES = 1 << 24  # of rows that are decoded at a time
_SHOWN = 20  # columns named in an error


def open_parquet(path, columns=None):
    """Open a file of embeddings as X for ``fit`` and the predictions, which read it in slices.

    Nothing but the rows that are worked on is held in memory. Passes read row group by row group, or record batch by
    record batch. Compressed files are decoded in every pass: for many passes, Arrow IPC files without compression are
    mapped and not copied.

    Parameters
    ----------
    path : str or path-like
        A Parquet file, or an Arrow IPC file of either format (Feather 2, the streams of Hugging Face's datasets).
    columns : str or list of str, default=None
        Those to read, in this order. Each is a column of numbers, one feature, or of lists of numbers of one length, as
        many. None for all columns of floats and of lists of numbers: those of integers are as a rule labels.

    Returns
    -------
    rows : object with ``shape``, ``dtype`` and slices of rows
        Its dtype is the one that holds the values of all columns; float32, float64, float16, uint8, int8 and int16 stay
        what they are in a fit, others become float64. It can be pickled; the file has to be there where it is loaded.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError
        If the file is of another kind or columns are not numbers. When rows are read, with the row: if a value is
        missing, or if a list is of another length than the first.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, pyarrow.parquet as pq
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.datasets import open_parquet
    >>> rng = np.random.default_rng(0)
    >>> embeddings = pa.FixedSizeListArray.from_arrays(rng.normal(size=600).astype(np.float32), 6)
    >>> table = pa.table({"embedding": embeddings, "label": np.arange(100) % 3})
    >>> pq.write_table(table, "embeddings.parquet")  # doctest: +SKIP
    >>> X = open_parquet("embeddings.parquet", columns="embedding")  # doctest: +SKIP
    >>> y = pq.read_table("embeddings.parquet", columns=["label"])["label"].to_numpy()  # doctest: +SKIP
    >>> SoftmaxRegressionClassifier().fit(X, y)  # doctest: +SKIP
    """
    return _Rows(path, columns)


class _Rows:
    """The rows of :func:`open_parquet`.

    Attributes
    ----------
    path : Path
    columns : list of str
    shape : tuple (n_samples, n_features)
    dtype : numpy.dtype
    """

    ndim = 2

    def __init__(self, path, columns):
        self.path = Path(path).expanduser()
        self._open()
        self.columns = _chosen(self._file.schema, columns, self.path)
        n_samples = int(self._file.bounds[-1])
        if not n_samples:
            raise ValueError(f"Expected rows in {self.path}, got none. Remedy: see that it is the file you mean.")
        first = next(self._batches(0))[1].slice(0, 1)
        blocks = [_block(first.column(name), name, 0) for name in self.columns]
        self.widths = [block.shape[1] for block in blocks]
        self.dtype = np.result_type(*blocks)
        self.shape = n_samples, sum(self.widths)

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"<{self.shape[0]} rows of {self.shape[1]} {self.dtype} in {self.path}>"

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state):
        vars(self).update(state)
        self._open()

    def _open(self):
        self._file = _opened(self.path)
        self._lock = threading.Lock()  # readers of Parquet are for one thread at a time
        self._at = self._rest = None  # the batch that was read last, with its first row, and those after it

    def __getitem__(self, rows):
        if not isinstance(rows, slice):
            raise TypeError(
                f"Expected a slice of rows, got a {type(rows).__name__}. Remedy: take rows[start:stop], and of that "
                "array what you need."
            )
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"Expected a slice of step 1, got {step}. Remedy: take every row, and then some of them.")
        out = np.empty((max(stop - start, 0), self.shape[1]), self.dtype)
        with self._lock:
            try:
                self._read(start, stop, out)
            except BaseException:
                self._at = self._rest = None
                raise
        return out

    def _read(self, start, stop, out):
        """Write rows to ``out``, going on from the batch that was read last if that is the nearest way."""
        if start >= stop:
            return
        if self._at is None or start < self._at[0] or self._group(start) > self._group(self._at[0]):
            self._rest = self._batches(self._group(start))
            self._at = next(self._rest)
        while True:
            first, batch = self._at
            low, high = max(start, first), min(stop, first + batch.num_rows)
            if low < high:
                part, column = batch.slice(low - first, high - low), 0
                for name, width in zip(self.columns, self.widths, strict=True):
                    block = _block(part.column(name), name, low, width)
                    out[low - start : high - start, column : column + width] = block
                    column += width
            if first + batch.num_rows >= stop:
                return
            self._at = next(self._rest)

    def _group(self, row):
        return int(np.searchsorted(self._file.bounds, row, side="right")) - 1

    def _batches(self, group):
        """The number of the first row and the batch, for all from a group on."""
        n_rows = max(_BATCH_BYTES // (self.shape[1] * self.dtype.itemsize), 1) if hasattr(self, "shape") else 1
        for g in range(group, len(self._file.bounds) - 1):
            first = int(self._file.bounds[g])
            for batch in self._file.group(g, self.columns, n_rows):
                yield first, batch
                first += batch.num_rows


# ---------------------------------------------------------------------------------------------------------- the files


class _Parquet:
    """A Parquet file: its schema, where its row groups begin, and their rows in batches."""

    def __init__(self, path):
        import pyarrow.parquet

        self.file = pyarrow.parquet.ParquetFile(path)
        self.schema = self.file.schema_arrow
        metadata = self.file.metadata
        counts = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        self.bounds = np.cumsum([0, *counts])

    def group(self, g, columns, n_rows):
        # on the thread that asks: the others compute
        return self.file.iter_batches(n_rows, row_groups=[g], columns=columns, use_threads=False)


class _Ipc:
    """An Arrow IPC file, mapped: the same of its record batches."""

    def __init__(self, path, is_stream):
        import pyarrow

        mapped = pyarrow.memory_map(str(path))
        if is_stream:  # batches of a map hold no memory
            reader = pyarrow.ipc.open_stream(mapped)
            self.schema, batches = reader.schema, list(reader)
            self.batch = batches.__getitem__
        else:
            reader = pyarrow.ipc.open_file(mapped)
            self.schema, self.batch = reader.schema, reader.get_batch
            batches = map(self.batch, range(reader.num_record_batches))
        self.bounds = np.cumsum([0, *(batch.num_rows for batch in batches)])

    def group(self, g, columns, n_rows):
        return iter([self.batch(g).select(columns)])


def _opened(path):
    """The file, by what its first bytes say that it is."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f"Expected pyarrow to be installed, but: {error}. Remedy: pip install pyarrow.") from error
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"Expected a Parquet or Arrow IPC file, but there is none at {path}. Remedy: see that the path is right; "
            "of a data set of several files, open one at a time."
        ) from None
    try:
        if magic[:4] == b"PAR1":
            return _Parquet(path)
        if magic == b"ARROW1" or magic[:4] == b"\xff\xff\xff\xff":
            return _Ipc(path, is_stream=magic != b"ARROW1")
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(
            f"Expected to read {path}, but {type(error).__name__}: {error}. Remedy: see that the file is whole."
        ) from error
    raise ValueError(
        f"Expected a Parquet or Arrow IPC file, got {path}, which begins with {magic!r}. Remedy: write it by "
        "pyarrow.parquet.write_table or pyarrow.feather.write_feather."
    )


# --------------------------------------------------------------------------------------------------------- the columns


def _chosen(schema, columns, path):
    """Names of the columns to read, all of numbers."""
    kinds = {field.name: _kind(field.type) for field in schema}
    if columns is None:
        chosen = [name for name, kind in kinds.items() if kind in ("float", "list")]
    else:
        chosen = [columns] if isinstance(columns, str) else list(columns)
    wrong = [name for name in chosen if kinds.get(name) is None]
    if wrong or not chosen:
        present = ", ".join(f"{field.name} ({field.type})" for field in list(schema)[:_SHOWN])
        present += ", ..." if len(kinds) > _SHOWN else ""
        raise ValueError(
            f"Expected columns of numbers, or of lists of them, got {wrong or 'none'} of {path}, which has {present}. "
            "Remedy: name such columns."
        )
    return chosen


def _kind(arrow_type):
    """'float', 'integer', or 'list' of either; None for what is none of these."""
    from pyarrow import types

    arrow_type = getattr(arrow_type, "storage_type", arrow_type)  # of tensors
    if types.is_floating(arrow_type):
        return "float"
    if types.is_integer(arrow_type):
        return "integer"
    if types.is_fixed_size_list(arrow_type) or types.is_list(arrow_type) or types.is_large_list(arrow_type):
        return "list" if _kind(arrow_type.value_type) in ("float", "integer") else None
    return None


def _block(array, name, first, width=None):
    """A column's values, (n_rows, n_features); rows are numbered from ``first``, lists to be ``width`` long."""
    array = getattr(array, "storage", array)
    if array.null_count:
        _refuse_missing(name, first + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))))
    if _kind(array.type) != "list":
        return array.to_numpy(zero_copy_only=False)[:, None]
    if hasattr(array.type, "list_size"):
        lengths = np.full(len(array), array.type.list_size)
    else:
        lengths = np.diff(array.offsets.to_numpy(zero_copy_only=False))
    width = int(lengths[0]) if width is None else width
    if (lengths != width).any():
        row = int((lengths != width).argmax())
        raise ValueError(
            f"Expected lists of {width} numbers in column {name}, as in the first row, got {lengths[row]} in row "
            f"{first + row}. Remedy: leave out such rows, or write them anew."
        )
    values = array.flatten()
    if values.null_count:
        _refuse_missing(name, first + int(np.argmax(values.is_null().to_numpy(zero_copy_only=False))) // width)
    return values.to_numpy(zero_copy_only=False).reshape(len(array), width)


def _refuse_missing(name, row):
    raise ValueError(
        f"Expected a number in every place, but column {name} has one missing in row {row}. Remedy: leave out such "
        "rows, or impute their values."
    )
