"""coef_ is the same to the bit whatever runs the fit: any number of threads, in other threads, in other processes."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import joblib
import numpy as np
import pytest

import softmax_clf
from softmax_clf import SoftmaxRegressionClassifier

CASES = ["float64", "float32", "two-classes", "one-block"]
ANEW = ["float32", "two-classes"]  # compiled once more by a process of its own

# From Python 3.12 on, forking a process that has threads warns: doing that is what is tested here.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")


@lru_cache
def data(case):
    """Enough rows for many blocks, but for 'one-block'."""
    rng = np.random.default_rng(0)
    n_samples, n_features, n_classes = (50 if case == "one-block" else 12_345), 37, (2 if case == "two-classes" else 7)
    X = rng.standard_normal((n_samples, n_features)) * np.logspace(-1, 1, n_features)
    y = np.argmax(X[:, :n_classes] + rng.gumbel(size=(n_samples, n_classes)), axis=1)
    return X.astype(np.float32 if case == "float32" else np.float64), y


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:16]


def fitted_bits(case, n_jobs=None):
    """A digest of each thing that a fit and a prediction compute, as text."""
    X, y = data(case)
    clf = SoftmaxRegressionClassifier(n_jobs=n_jobs).fit(X, y)
    computed = {
        "coef_": clf.coef_,
        "intercept_": clf.intercept_,
        "loss_curve_": np.array(clf.loss_curve_),
        "scores": clf.decision_function(X),
        "proba": clf.predict_proba(X),
        "sample_loss": clf.sample_loss(X, y),
    }
    return " ".join(f"{name}={digest(array)}" for name, array in computed.items())


@lru_cache
def serial_bits(case):
    return fitted_bits(case, n_jobs=1)


def test_the_bits_show_a_difference():
    """What the other tests compare is not constant."""
    assert len({serial_bits(case) for case in CASES}) == len(CASES)
    X, y = data("float64")
    clf = SoftmaxRegressionClassifier(n_jobs=1).fit(X[::-1], y[::-1])
    assert digest(clf.coef_) not in serial_bits("float64")  # another order of summation


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n_jobs", [2, 3, 7, -1, None])
def test_number_of_threads(case, n_jobs):
    assert fitted_bits(case, n_jobs) == serial_bits(case)


@pytest.mark.parametrize("case", CASES)
def test_again(case):
    assert fitted_bits(case, n_jobs=1) == serial_bits(case)


@pytest.mark.parametrize("n_jobs", [1, 2, 7])
def test_in_python_threads(n_jobs):
    """Four fits at once, in threads that are not ours."""
    jobs = [case for case in CASES for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: fitted_bits(case, n_jobs), jobs))
    assert found == [serial_bits(case) for case in jobs]


def test_compiled_anew_or_loaded_from_the_cache(tmp_path):
    """A process that compiles the kernels gets the bits of one that finds them on disk."""
    folders = [str(Path(__file__).parent), str(Path(softmax_clf.__file__).parents[1])]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(folders)}
    program = "import test_threads_and_forks as t; print(*map(t.serial_bits, t.ANEW), sep=chr(10))"
    run = [sys.executable, "-c", program]
    anew = subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert any(tmp_path.rglob("*.*")), "nothing has been kept: both runs would compile"
    loaded = subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert anew == loaded
    assert anew == [serial_bits(case) for case in ANEW]


def _send_bits(connection, case, n_jobs):
    connection.send(fitted_bits(case, n_jobs))


@needs_fork
@forks
@pytest.mark.parametrize("n_jobs", [1, 2, 7])
def test_in_a_forked_child(n_jobs):
    """The parent has run its pool before; a child that hangs fails the test rather than the run."""
    expected = fitted_bits("float64", n_jobs)
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=_send_bits, args=(sender, "float64", n_jobs))
    child.start()
    sender.close()
    try:
        assert receiver.poll(120), "the forked child has neither answered nor died"
        assert receiver.recv() == expected
        child.join(120)
        assert child.exitcode == 0
    finally:
        child.kill()
        child.join()
    assert fitted_bits("float64", n_jobs) == expected == serial_bits("float64")  # the parent's pool still works


@forks
@pytest.mark.parametrize("n_jobs", [None, 1, 3])
@pytest.mark.parametrize("backend", ["loky", "threading", pytest.param("multiprocessing", marks=needs_fork)])
def test_in_joblib_workers(backend, n_jobs):
    serial = [serial_bits(case) for case in CASES]  # the parent has run its kernels before
    with joblib.parallel_config(backend=backend):
        found = joblib.Parallel(n_jobs=2, timeout=None if backend == "threading" else 300)(
            joblib.delayed(fitted_bits)(case, n_jobs) for case in CASES
        )
    assert found == serial


@forks
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_in_a_multiprocessing_pool(method):
    fitted_bits("float64", n_jobs=2)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.map_async(fitted_bits, CASES).get(timeout=300)
    assert found == [serial_bits(case) for case in CASES]
