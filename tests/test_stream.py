"""Rows that are read in slices: memory maps, h5py, zarr, and streams that go wrong."""

import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.sources import arrays
from softmax_clf.sources.arrays import DTYPES, ArraySource
from softmax_clf.sources.stream import StreamSource, is_stream
from stored import in_h5py, in_zarr, mapped

DIGITS, DIGIT = load_digits(return_X_y=True)


class Rows:
    """The least that a stream has to be."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype
        self.slices = []

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        self.slices.append((rows.start, rows.stop))
        return self.X[rows]


CONTAINERS = {
    "memmap": mapped,
    "Fortran memmap": lambda folder, X: mapped(folder, X, "F"),
    "least": lambda folder, X: Rows(X),
    "h5py": in_h5py,
    "zarr": in_zarr,
}


@pytest.fixture
def small_slices(monkeypatch):
    """Slices of at most 100 rows of 64 float64 features."""
    monkeypatch.setattr(arrays, "_SLICE_BYTES", 100 * 64 * 8)


# Where narrow columns are read, tests/test_sources.py compiles the same for other dtypes.
COMPILED_ELSEWHERE = [("Fortran memmap", np.int16), ("Fortran memmap", np.float16)]


@pytest.mark.parametrize(
    ("container", "dtype"),
    [
        pytest.param(container, dtype, marks=pytest.mark.slow if (container, dtype) in COMPILED_ELSEWHERE else ())
        for dtype in [*DTYPES, np.int32]
        for container in CONTAINERS
    ],
)
def test_containers_give_the_same_bits(tmp_path, small_slices, container, dtype):
    """joblib hands large arrays to its workers as memory maps: a fit must not notice."""
    if container in ("h5py", "zarr") and dtype not in (np.float32, np.uint8):
        pytest.skip("what they do with a dtype is theirs")
    X = CONTAINERS[container](tmp_path, DIGITS.astype(dtype))
    assert is_stream(X)
    clf = SoftmaxRegressionClassifier(C=1e-2, tol=1e-8).fit(X, DIGIT)
    expected = SoftmaxRegressionClassifier(C=1e-2, tol=1e-8).fit(DIGITS.astype(dtype), DIGIT)
    assert clf.coef_.dtype == expected.coef_.dtype
    for name in ("coef_", "intercept_", "n_iter_", "suboptimality_"):
        assert_array_equal(getattr(clf, name), getattr(expected, name))
    for method in ("predict_proba", "decision_function", "predict_log_proba"):
        assert_array_equal(getattr(clf, method)(X), getattr(clf, method)(DIGITS.astype(dtype)))
    assert clf.score(X, DIGIT) > 0.9


def test_weights_offsets_targets_and_standardize(small_slices):
    rng = np.random.default_rng(0)
    weight, offset = rng.exponential(size=len(DIGIT)), rng.standard_normal((len(DIGIT), 10))
    target = rng.dirichlet(np.ones(10), len(DIGIT))
    params = {"C": 1e-2, "tol": 1e-10, "standardize": True}
    clf = SoftmaxRegressionClassifier(**params).fit(Rows(DIGITS), target, weight, offset=offset)
    expected = SoftmaxRegressionClassifier(**params).fit(DIGITS, target, weight, offset=offset)
    assert_allclose(clf.coef_, expected.coef_, rtol=0, atol=1e-5 * np.abs(expected.coef_).max())
    assert_allclose(clf.predict_proba(Rows(DIGITS), offset), expected.predict_proba(DIGITS, offset), rtol=0, atol=1e-6)


def test_slices_are_small_and_do_not_change_the_sums(small_slices):
    X = Rows(DIGITS.astype(np.float32))
    source = StreamSource(X)
    objective = SoftmaxObjective(
        source, DIGIT, 10, sample_weight=None, l2_reg_strength=0.1, fit_intercept=True, n_threads=1
    )
    dense = SoftmaxObjective(
        ArraySource(X.X), DIGIT, 10, sample_weight=None, l2_reg_strength=0.1, fit_intercept=True, n_threads=1
    )
    point = np.random.default_rng(0).standard_normal((10, 65)) / 10
    (loss, grad), (expected_loss, expected) = objective.evaluate(point), dense.evaluate(point)
    assert loss == expected_loss
    assert_array_equal(grad, expected)
    assert X.slices == [(start, min(start + 200, 1797)) for start in range(0, 1797, 200)]
    X.slices.clear()
    assert_array_equal(source.take(np.array([3, 5, 104, 1700])), X.X[[3, 5, 104, 1700]])
    assert all(stop - start <= 200 for start, stop in X.slices)


class Bad(Rows):
    """A stream whose rows 700:800, or one of them, are not what they should be."""

    def __init__(self, X, fault):
        super().__init__(X)
        self.fault = fault

    def __getitem__(self, rows):
        X = super().__getitem__(rows)
        if not rows.start <= 700 < rows.stop:
            return X
        if self.fault == "short":
            return X[:3]
        if self.fault == "narrow":
            return X[:, :-1]
        if self.fault == "unreadable":
            raise OSError("disk on fire")
        X = X.copy()
        X[700 - rows.start, 5] = self.fault
        return X


@pytest.mark.parametrize("fault", [np.nan, np.inf, "short", "narrow", "unreadable"])
def test_bad_streams_are_named_and_change_nothing(small_slices, fault):
    clf = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS, DIGIT)
    before = dict(vars(clf))
    with pytest.raises(ValueError, match=r"row 700|rows 700 to 800"):
        clf.fit(Bad(DIGITS, fault), DIGIT)
    assert vars(clf) == before
    with pytest.raises(ValueError, match=r"row 700|rows 700 to 800"):
        clf.predict(Bad(DIGITS, fault))


class Slices(Rows):
    """A stream that makes something of its slices."""

    def __init__(self, X, make, dtype=None):
        super().__init__(X)
        self.make, self.dtype = make, np.dtype(dtype or X.dtype)

    def __getitem__(self, rows):
        return self.make(super().__getitem__(rows), rows)


def _masked(X, rows):
    """As netCDF4 does, with its fill value in the masked places."""
    mask = np.zeros(X.shape, bool)
    if rows.start <= 700 < rows.stop:
        mask[700 - rows.start, 5] = True
    return np.ma.array(np.where(mask, 9.97e36, X), mask=mask)


def _with(value):
    def make(X, rows):
        X = X.astype(object)
        if rows.start <= 700 < rows.stop:
            X[700 - rows.start, 5] = value
        return X

    return make


@pytest.mark.parametrize("slice_bytes", [100 * 64 * 8, 1 << 26])
@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (_masked, np.float64),
        (_masked, np.float32),
        (lambda X, rows: np.ma.array(X.astype(int), mask=_masked(X, rows).mask), np.uint8),
        (_with(None), np.float64),
        (_with(np.nan), np.float64),
        (_with(pd.NA), np.float32),
        (_with(pd.NaT), np.float64),
        (_with(np.nan), np.int16),
        (_with(None), np.uint8),
    ],
)
def test_missing_values_are_named_however_they_are_marked(monkeypatch, slice_bytes, make, dtype):
    monkeypatch.setattr(arrays, "_SLICE_BYTES", slice_bytes)
    clf = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS, DIGIT)
    for call in (clf.predict, lambda X: clf.fit(X, DIGIT), lambda X: clf.partial_fit(X, DIGIT)):
        with pytest.raises(ValueError, match=r"row 700.*Remedy"):
            call(Slices(DIGITS, make, dtype))


def test_masked_arrays_in_memory_are_named_too():
    masked = _masked(DIGITS, slice(0, len(DIGITS)))
    clf = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS, DIGIT)
    for call in (clf.predict, lambda X: clf.fit(X, DIGIT)):
        with pytest.raises(ValueError, match=r"masked in row 700.*Remedy"):
            call(masked)
    whole = SoftmaxRegressionClassifier(C=1e-2).fit(np.ma.array(DIGITS), DIGIT)  # with nothing masked
    assert_array_equal(whole.coef_, clf.coef_)
    streamed = SoftmaxRegressionClassifier(C=1e-2).fit(Slices(DIGITS, lambda X, rows: np.ma.array(X)), DIGIT)
    assert_array_equal(streamed.coef_, clf.coef_)


def test_slices_of_another_dtype_than_is_said():
    """netCDF4 says how values are stored, and scales them as they are read."""
    with pytest.raises(ValueError, match=r"int16.*0\.5.*row 0.*Remedy"):
        SoftmaxRegressionClassifier().fit(Slices(DIGITS + 0.5, lambda X, rows: X, np.int16), DIGIT)
    X = DIGITS.astype(int)
    X[3, 4] = 300
    with pytest.raises(ValueError, match=r"uint8.*300.*row 3.*Remedy"):
        SoftmaxRegressionClassifier().fit(Slices(X, lambda X, rows: X, np.uint8), DIGIT)
    clf = SoftmaxRegressionClassifier(C=1e-2).fit(Slices(DIGITS, lambda X, rows: X, np.uint8), DIGIT)
    expected = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS.astype(np.uint8), DIGIT)
    assert_array_equal(clf.coef_, expected.coef_)


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_sparse_slices(small_slices, make):
    """As a backed AnnData has them."""
    X = Slices(DIGITS, lambda X, rows: make(X))
    clf = SoftmaxRegressionClassifier(C=1e-2).fit(X, DIGIT)
    expected = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS, DIGIT)
    assert_array_equal(clf.coef_, expected.coef_)
    assert_array_equal(clf.predict_proba(X), expected.predict_proba(DIGITS))


class OnDevice:
    """As cupy's arrays, which NumPy is not to take from the device unasked."""

    shape = (100, 64)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")


@pytest.mark.parametrize(("make", "match"), [(OnDevice, "Implicit conversion"), (object, "makes none")])
def test_slices_that_are_no_arrays_are_not_a_damaged_file(small_slices, make, match):
    with pytest.raises(ValueError, match=rf"NumPy can make an array of.*{match}.*Remedy") as caught:
        SoftmaxRegressionClassifier().fit(Slices(DIGITS, lambda X, rows: make()), DIGIT)
    assert "file" not in str(caught.value)


def test_a_closed_file(tmp_path):
    X = in_h5py(tmp_path, DIGITS)
    clf = SoftmaxRegressionClassifier(C=1e-2).fit(X, DIGIT)
    X.file.close()
    unread = in_h5py(tmp_path, DIGITS)
    unread.file.close()
    for call in (clf.predict, lambda X: clf.fit(X, DIGIT), lambda X: clf.partial_fit(X, DIGIT)):
        with pytest.raises(ValueError, match=r"Expected to read rows.*Remedy: see that the file is open"):
            call(X)
        with pytest.raises(ValueError, match=r"Expected a Dataset that.*Remedy: see that its file is open"):
            call(unread)


class _Limit(Exception):
    """As a task queue's."""


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="signals of POSIX")
@pytest.mark.parametrize("slice_bytes", [100 * 64 * 8, 1 << 26])
@pytest.mark.parametrize("kind", [_Limit, TimeoutError, ValueError])
@pytest.mark.parametrize("handler", ["named", "starred", "indirect"])
def test_a_time_limit_is_no_fault_of_the_file(monkeypatch, slice_bytes, kind, handler):
    """What a signal handler raises while rows are read comes out as it is."""
    monkeypatch.setattr(arrays, "_SLICE_BYTES", slice_bytes)
    error = kind("time is up")

    def named(signum, frame):
        raise error

    def starred(*_):
        raise error

    def indirect(signum, frame):
        starred()

    def read(X, rows):
        signal.raise_signal(signal.SIGALRM)
        for _ in range(10):
            pass
        return X

    before = signal.signal(signal.SIGALRM, {"named": named, "starred": starred, "indirect": indirect}[handler])
    try:
        with pytest.raises(kind, match="^time is up$"):
            SoftmaxRegressionClassifier().fit(Slices(DIGITS, read), DIGIT)
        clf = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS, DIGIT)
        with pytest.raises(kind, match="^time is up$"):
            clf.predict(Slices(DIGITS, read))
    finally:
        signal.signal(signal.SIGALRM, before)


def test_no_thread_to_read_ahead(small_slices, monkeypatch):
    """A container may refuse to start threads, and the interpreter does at its end: rows are read all the same."""
    expected = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS, DIGIT)

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    clf = SoftmaxRegressionClassifier(C=1e-2, n_jobs=1).fit(Rows(DIGITS), DIGIT)
    assert_array_equal(clf.coef_, expected.coef_)
    with pytest.raises(ValueError, match="row 700"):
        clf.predict(Bad(DIGITS, np.nan))


def test_no_thread_is_left_when_a_pass_is_given_up(small_slices):
    parts = StreamSource(Rows(DIGITS)).parts()
    next(parts)
    parts.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("softmax_clf-read")]


@pytest.mark.parametrize("slice_bytes", [100 * 64 * 8, 1 << 26])
def test_rows_are_read_with_the_errstate_of_the_caller(monkeypatch, slice_bytes):
    monkeypatch.setattr(arrays, "_SLICE_BYTES", slice_bytes)
    seen = []
    X = Slices(DIGITS, lambda X, rows: seen.append(np.geterr()) or X)
    with np.errstate(over="raise", divide="print"):
        expected = np.geterr()
        list(StreamSource(X).parts())
    assert seen
    assert all(found == expected for found in seen)


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be cut there")
def test_a_memory_map_of_a_file_that_was_cut_short(tmp_path):
    X = mapped(tmp_path, DIGITS)
    with open(tmp_path / "X.npy", "r+b") as file:
        file.truncate(X.offset + 1000 * 64 * 8 + 17)
    with pytest.raises(ValueError, match="rows from 1000 on"):
        SoftmaxRegressionClassifier().fit(X, DIGIT)
    for view, y, row in ((X[100:], DIGIT[100:], 900), (X[1::2, 3:], DIGIT[1::2], 500), (X[::-1], DIGIT[::-1], 0)):
        with pytest.raises(ValueError, match=f"rows from {row} on"):
            SoftmaxRegressionClassifier().fit(view, y)
    kept = SoftmaxRegressionClassifier(C=1e-2).fit(X[100:1000], DIGIT[100:1000])
    expected = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS[100:1000], DIGIT[100:1000])
    assert_array_equal(kept.coef_, expected.coef_)


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be removed there")
def test_a_memory_map_of_a_file_that_is_gone(tmp_path):
    """Its rows are there as long as the map is, whatever has taken the file's name since."""
    np.save(tmp_path / "X.npy", DIGITS)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    (tmp_path / "X.npy").unlink()
    expected = SoftmaxRegressionClassifier(C=1e-2).fit(DIGITS, DIGIT).coef_
    assert_array_equal(SoftmaxRegressionClassifier(C=1e-2).fit(X, DIGIT).coef_, expected)
    (tmp_path / "X.npy").write_bytes(b"another")
    assert_array_equal(SoftmaxRegressionClassifier(C=1e-2).fit(X, DIGIT).coef_, expected)


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be cut there")
def test_a_fortran_memory_map_of_a_file_that_was_cut_short(tmp_path):
    X = mapped(tmp_path, DIGITS, "F")
    with open(tmp_path / "X.npy", "r+b") as file:
        file.truncate(X.offset + 1797 * 63 * 8 + 1500 * 8)
    for view, y in ((X, DIGIT), (X[10:], DIGIT[10:])):
        with pytest.raises(ValueError, match=f"rows from {1500 - len(DIGIT) + len(y)} on"):
            SoftmaxRegressionClassifier().fit(view, y)
    SoftmaxRegressionClassifier(C=1e-2).fit(X[:, :63], DIGIT)


@pytest.mark.parametrize("values", [DIGITS[:100] + 1j, np.full((100, 64), "a"), np.full((100, 64), "a", object)])
@pytest.mark.parametrize("container", ["memmap", "h5py", "least"])
def test_what_is_not_a_real_number_is_refused(tmp_path, container, values):
    if values.dtype != complex and container == "memmap":
        values = values.astype("S1")
    if values.dtype != complex and container == "h5py":
        values = values.astype(pytest.importorskip("h5py").string_dtype() if values.dtype == object else "S1")
    clf = SoftmaxRegressionClassifier()
    match = "Complex data not supported" if values.dtype == complex else "real numbers|could not convert"
    with pytest.raises(ValueError, match=match):
        clf.fit(CONTAINERS[container](tmp_path, values), DIGIT[:100])
    assert not hasattr(clf, "n_features_in_")
    with pytest.raises(ValueError, match=match):
        clf.fit(DIGITS, DIGIT).predict(CONTAINERS[container](tmp_path, values))


def test_wrong_lengths_and_widths(small_slices):
    with pytest.raises(ValueError, match=r"number of samples|numbers of samples"):
        SoftmaxRegressionClassifier().fit(Rows(DIGITS), DIGIT[:-1])
    clf = SoftmaxRegressionClassifier().fit(Rows(DIGITS[:200, :5]), DIGIT[:200])
    assert clf.n_features_in_ == 5
    with pytest.raises(ValueError, match="features"):
        clf.predict(Rows(DIGITS))


def test_progress_is_shown(small_slices, capsys, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("softmax_clf.sources.stream.time.monotonic", lambda: 2.0 * next(clock))
    SoftmaxRegressionClassifier(C=1e-2, verbose=1).fit(Rows(DIGITS), DIGIT)
    assert "row 1700 of 1797" in capsys.readouterr().err
    SoftmaxRegressionClassifier(C=1e-2).fit(Rows(DIGITS), DIGIT)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_memory_map_takes_no_anonymous_memory(tmp_path):
    """A float32 file of 240 MB, converged with 160 MB of data segment to grow by."""
    program = f"""
        import resource
        import numpy as np
        from softmax_clf import SoftmaxRegressionClassifier
        rng = np.random.default_rng(0)
        path = {str(tmp_path / "X.npy")!r}
        X = np.lib.format.open_memmap(path, "w+", np.float32, (120_000, 500))
        y = np.empty(len(X), int)
        for start in range(0, len(X), 10_000):
            rows = rng.standard_normal((10_000, 500), np.float32)
            X[start : start + 10_000] = rows
            y[start : start + 10_000] = (rows[:, :3] + rng.standard_normal((10_000, 3))).argmax(axis=1)
        del X, rows
        def anonymous():
            lines = open("/proc/self/status").read().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmData")) // 1024
        SoftmaxRegressionClassifier().fit(rng.standard_normal((3000, 500), np.float32), y[:3000])
        limit = (anonymous() + 160) << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        clf = SoftmaxRegressionClassifier().fit(np.load(path, mmap_mode="r"), y)
        print(clf.converged_)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"]
