"""Many callers at once: the serial answer to the bit, and no memory that is not given back.

`pytest -m slow tests/test_load.py` takes the load that docs/limits.md speaks of.
"""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from programs import ROOT, rounds, run_program

PRELUDE = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from softmax_clf import SoftmaxRegressionClassifier
rng = np.random.default_rng(0)
X = rng.standard_normal((4000, 64)).astype(np.float32)
y = (X[:, :10] + rng.gumbel(size=(4000, 10))).argmax(axis=1)

def resident():
    # of this process, in bytes; anything where there is no /proc
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1
"""


@rounds(2000)
def test_32_threads_predict(n_rounds):
    """Each of so many calls has the bits of a serial one, for 1 to 512 rows; memory grows by less than 5 %."""
    code = """
    clf = SoftmaxRegressionClassifier(n_jobs=1).fit(X, y)
    sizes = np.unique(np.r_[np.arange(1, 513, 13), 512])
    expected = {n: clf.predict_proba(X[n : 2 * n]) for n in sizes}
    clf.set_params(n_jobs=None)

    def call(seed, n_calls):
        choose = np.random.default_rng(seed)
        for n in choose.choice(sizes, n_calls):
            if not np.array_equal(clf.predict_proba(X[n : 2 * n]), expected[n]):
                return False
        return True

    with ThreadPoolExecutor(32) as pool:
        right = all(pool.map(lambda seed: call(seed, 20), range(32)))  # all threads are there
        before = resident()
        right &= all(pool.map(lambda seed: call(seed, int(sys.argv[1])), range(32)))
        print(right, resident() / before)
    """
    (line,) = run_program(code, n_rounds, prelude=PRELUDE, limit=60 + 3 * n_rounds)
    right, growth = line.split()
    assert right == "True"
    assert float(growth) < 1.05
    print(line)


@rounds(10)
def test_eight_fits_at_once(n_rounds):
    code = """
    expected = SoftmaxRegressionClassifier(n_jobs=1).fit(X, y).coef_
    def fit(_):
        return np.array_equal(SoftmaxRegressionClassifier(n_jobs=4).fit(X, y).coef_, expected)
    with ThreadPoolExecutor(8) as pool:
        print(all(pool.map(fit, range(8 * int(sys.argv[1])))))
    """
    assert run_program(code, n_rounds, prelude=PRELUDE, limit=600) == ["True"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_a_search_of_64_fits(backend):
    code = """
    import warnings, joblib
    from sklearn.model_selection import GridSearchCV
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads
    def search(n_jobs):
        grid = {"C": np.logspace(-4, 3, 16)}
        found = GridSearchCV(SoftmaxRegressionClassifier(), grid, cv=4, n_jobs=n_jobs).fit(X, y)
        return found.cv_results_["mean_test_score"], found.best_estimator_.coef_
    expected = search(1)
    with joblib.parallel_config(backend=sys.argv[1]):
        found = search(4)
    print(*(np.array_equal(a, b) for a, b in zip(found, expected)))
    """
    assert run_program(code, backend, prelude=PRELUDE, limit=600) == ["True True"]


@rounds(2000)
def test_asyncio(n_rounds):
    """As of a server of coroutines, that asks in its executor's threads."""
    code = """
    import asyncio
    clf = SoftmaxRegressionClassifier().fit(X, y)
    expected = [clf.predict_proba(X[n : n + 8]) for n in range(100)]
    async def ask(n):
        return np.array_equal(await asyncio.to_thread(clf.predict_proba, X[n % 100 : n % 100 + 8]), expected[n % 100])
    async def serve():
        return all(await asyncio.gather(*(ask(n) for n in range(int(sys.argv[1])))))
    print(asyncio.run(serve()))
    """
    assert run_program(code, n_rounds, prelude=PRELUDE, limit=300) == ["True"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no server that forks")
@pytest.mark.parametrize("workers", [["--threads", "8"], ["--worker-class", "gevent"]], ids=["threads", "gevent"])
def test_a_server_that_forks(tmp_path, workers):
    """4 workers, forked after the model was fitted, answer 10,000 requests of this machine with its own bits."""
    pytest.importorskip("gunicorn")
    specification = importlib.util.spec_from_file_location("serve", ROOT / "examples" / "serve.py")
    serve = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(serve)
    expected = [serve.CLF.predict_proba(serve.X[n : n + 4]).tolist() for n in range(50)]

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "4", *workers]
    command += ["--bind", f"127.0.0.1:{port}", "--chdir", str(Path(serve.__file__).parent), "serve:app"]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                serve.ask(port, serve.X[:1].tolist())
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)

        def ask(n):
            return serve.ask(port, serve.X[n % 50 : n % 50 + 4].tolist()) == expected[n % 50]

        with ThreadPoolExecutor(16) as pool:
            assert sum(pool.map(ask, range(10_000))) == 10_000
    finally:
        server.terminate()
        server.wait(60)
    complaints = [line for line in (tmp_path / "log").read_text().splitlines() if "rror" in line or "WARN" in line]
    assert complaints == []
