"""Files of Parquet and Arrow as rows: what is read is what was written, in slices of any size, and fits alike."""

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.datasets import open_parquet, parquet
from softmax_clf.sources.stream import is_stream

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

N, P = 500, 6
RNG = np.random.default_rng(0)
LABELS = np.arange(N) % 3
VALUES = (RNG.normal(size=(N, P)) + np.eye(3, P)[LABELS]).astype(np.float32)


def fixed_size(values):
    return pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])


def lists(values, kind=pa.ListArray):
    return kind.from_arrays(np.arange(len(values) + 1) * values.shape[1], values.ravel())


def tensors(values):
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(values.dtype), (2, values.shape[1] // 2))
    return pa.ExtensionArray.from_storage(kind, fixed_size(values))


COLUMNS = {
    "fixed size": lambda values: {"e": fixed_size(values)},
    "lists": lambda values: {"e": lists(values)},
    "large lists": lambda values: {"e": lists(values, pa.LargeListArray)},
    "tensors": lambda values: {"e": tensors(values)},
    "columns": lambda values: {f"c{j}": values[:, j] for j in range(values.shape[1])},
    "both": lambda values: {"first": values[:, 0], "rest": fixed_size(np.ascontiguousarray(values[:, 1:]))},
}


def write_parquet(table, path):
    pq.write_table(table, path, row_group_size=90)


def write_ipc(table, path, compression=None):
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=90)


def write_compressed_ipc(table, path):
    write_ipc(table, path, "zstd")


def write_ipc_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=90)


every_writer = pytest.mark.parametrize("write", [write_parquet, write_ipc, write_compressed_ipc, write_ipc_stream])


def written(tmp_path, columns, write=write_parquet):
    path = str(tmp_path / "file")
    write(pa.table({"label": LABELS[: len(next(iter(columns.values())))], **columns}), path)
    return path


@pytest.fixture
def small_batches(monkeypatch):
    """Batches that end within row groups."""
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 40 * P * 4)


@every_writer
@pytest.mark.parametrize("kind", COLUMNS)
def test_rows_are_what_was_written(kind, write, tmp_path, small_batches):
    rows = open_parquet(written(tmp_path, COLUMNS[kind](VALUES), write))
    assert is_stream(rows)
    assert rows.shape == (N, P)
    assert rows.dtype == np.float32
    assert len(rows) == N
    # on from the last, backwards, within a batch, across row groups, to the end, none
    for place in ((0, 7), (7, 140), (130, 300), (20, 30), (0, N), (N - 1, N), (95, 96), (96, 500), (3, 3)):
        assert_array_equal(rows[slice(*place)], VALUES[slice(*place)])


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, np.uint8, np.int8, np.int16, np.int32, np.uint64]
)
def test_numbers_of_any_kind(dtype, tmp_path):
    values = (10 * np.abs(VALUES)).astype(dtype)
    rows = open_parquet(written(tmp_path, {"e": fixed_size(values)}))
    assert rows.dtype == dtype
    assert_array_equal(rows[:], values)


def test_columns_are_taken_in_the_order_asked_for(tmp_path):
    path = written(tmp_path, {"a": VALUES[:, 0], "b": VALUES[:, 1].astype(np.float64), "text": LABELS.astype(str)})
    assert open_parquet(path).shape == (N, 2)  # neither labels nor text
    assert_array_equal(open_parquet(path, ["b", "a"])[:9], VALUES[:9, [1, 0]])
    assert_array_equal(open_parquet(path, "a")[:9], VALUES[:9, :1])
    assert open_parquet(path, ["a", "b"]).dtype == np.float64
    assert_array_equal(open_parquet(path, "label")[:], LABELS[:, None])


@every_writer
def test_a_fit_is_that_of_the_array(write, tmp_path, small_batches):
    rows = open_parquet(written(tmp_path, {"e": lists(VALUES)}, write))
    clf, expected = (SoftmaxRegressionClassifier().fit(X, LABELS) for X in (rows, VALUES))
    assert_allclose(clf.coef_, expected.coef_, atol=1e-5)
    assert_allclose(clf.predict_proba(rows), expected.predict_proba(VALUES), atol=1e-5)
    stopped = SoftmaxRegressionClassifier(early_stopping=True, random_state=0)
    assert stopped.fit(rows, LABELS).score(rows, LABELS) > 0.5


def test_cross_validation(tmp_path):
    rows = open_parquet(written(tmp_path, {"e": fixed_size(VALUES)}))
    chosen, expected = (SoftmaxRegressionClassifierCV(3, cv=2).fit(X, LABELS) for X in (rows, VALUES))
    assert_allclose(chosen.scores_, expected.scores_, atol=1e-5)
    assert chosen.C_ == expected.C_


def test_threads_and_pickles(tmp_path):
    rows = pickle.loads(pickle.dumps(open_parquet(written(tmp_path, {"e": fixed_size(VALUES)}))))
    wrong = []

    def read(seed):
        rng = np.random.default_rng(seed)
        for start in rng.integers(0, N, 30):
            if not np.array_equal(rows[start : start + 100], VALUES[start : start + 100]):
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@every_writer
def test_a_missing_value_is_named(write, tmp_path, small_batches):
    values = [list(map(float, row)) for row in VALUES]
    in_a_list = [*values[333][:5], None]
    for column in (
        pa.array([*values[:333], None, *values[334:]], pa.list_(pa.float32(), P)),
        pa.array([*values[:333], in_a_list, *values[334:]], pa.list_(pa.float32(), P)),
        pa.array([*VALUES[:333, 0], None, *VALUES[334:, 0]], pa.float32()),
    ):
        rows = open_parquet(written(tmp_path, {"e": column}, write))
        with pytest.raises(ValueError, match=r"column e has one missing in row 333\. Remedy"):
            SoftmaxRegressionClassifier().fit(rows, LABELS)
        assert_array_equal(rows[:333][:, :1], VALUES[:333, :1])  # it goes on


def test_lists_of_other_lengths_are_named(tmp_path):
    values = [list(map(float, row)) for row in VALUES]
    values[200] = values[200][:4]
    rows = open_parquet(written(tmp_path, {"e": pa.array(values, pa.list_(pa.float32()))}))
    with pytest.raises(ValueError, match="lists of 6 numbers in column e, as in the first row, got 4 in row 200"):
        SoftmaxRegressionClassifier().fit(rows, LABELS)


def test_files_that_are_refused(tmp_path):
    path = written(tmp_path, {"text": LABELS.astype(str), "e": fixed_size(VALUES)})
    for columns in ("text", ["e", "text"], ["e", "f"], []):
        with pytest.raises(
            ValueError, match=r"Expected columns of numbers.*label \(int64\), text \(string\), e \(fixed"
        ):
            open_parquet(path, columns)
    other = tmp_path / "other"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"Expected a Parquet or Arrow IPC file, got .*other, which begins with b'a,b"):
        open_parquet(other)
    short = tmp_path / "short"
    for write in (write_parquet, write_ipc):
        whole = Path(written(tmp_path, {"e": fixed_size(VALUES)}, write))
        short.write_bytes(whole.read_bytes()[:-400])
        with pytest.raises(ValueError, match=r"Expected to read .*short, but .*Remedy: see that the file is whole"):
            open_parquet(short)
    with pytest.raises(FileNotFoundError):
        open_parquet(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="Expected rows"):
        open_parquet(written(tmp_path, {"e": VALUES[:0, 0]}))
    rows = open_parquet(written(tmp_path, {"e": fixed_size(VALUES)}))
    with pytest.raises(TypeError, match="Expected a slice of rows, got a list"):
        rows[[1, 2]]
    with pytest.raises(ValueError, match="step 1, got 2"):
        rows[::2]


def test_an_absent_pyarrow_is_named(tmp_path, monkeypatch):
    path = written(tmp_path, {"e": fixed_size(VALUES)})
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        open_parquet(path)
