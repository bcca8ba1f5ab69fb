"""What a pass costs on a Dask cluster of processes on this machine, and whether fits outlive their workers.

python benchmarks/cluster.py passes  # overhead by chunks; one worker of a thread against two, 400,000 x 512
python benchmarks/cluster.py deaths  # 50 fits, in each of which a worker is killed at a random moment
python benchmarks/cluster.py delays  # passes of 2 to 16 workers whose tasks wait, and the model of docs/scaling.md
"""

# ruff: noqa: E402

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [path for path in sys.path if os.path.abspath(path) != HERE]  # its sparse.py is not the package of that name
import dask.array as da
import distributed
import numpy as np
import threadpoolctl

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.pooled import Chunks
from softmax_clf.sources.dask import Cluster, Sums
from softmax_clf.sums import Shard, combine

sys.path.insert(0, HERE)
import measure

sys.path.remove(HERE)

SHAPE, CHUNKS = (400_000, 512, 10), 8


def cluster_of(n_workers):
    return distributed.LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=":0")


# ---------------------------------------------------------------------------------------------------------------------
# Passes


def seconds_a_pass(total, n_outputs, n_features, repeats):
    """The median of some passes, after one that compiles and lays out workspaces."""
    weights = np.ones((1, n_outputs)), np.zeros(1, np.intp)
    args = *weights, np.zeros((n_outputs, n_features), np.float32), np.zeros(n_outputs, np.float32)
    total("loss_gradient", *args)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        total("loss_gradient", *args)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def pass_of(n_workers, n_samples, n_features, n_classes, n_chunks, repeats):
    """Seconds that a pass takes on a cluster of its own."""
    with cluster_of(n_workers) as cluster, distributed.Client(cluster):
        size = -(-n_samples // n_chunks)
        X = da.random.default_rng(0).random((n_samples, n_features), chunks=(size, n_features), dtype=np.float32)
        y = da.random.default_rng(1).integers(0, n_classes, n_samples, chunks=size)
        chunks = Chunks(X)
        labels = chunks.cut(y, "y")
        classes = chunks.classes(labels)
        return seconds_a_pass(chunks.sums(labels, classes, n_jobs=None), len(classes), n_features, repeats)


def multiply(n_products):
    """The products of a pass, by one thread: seconds for so many chunks."""
    n, p, K = SHAPE
    X, W = np.ones((n // CHUNKS, p), np.float32), np.ones((p, K), np.float32)
    with threadpoolctl.threadpool_limits(1):
        X.T @ (X @ W)
        yield_to_others.wait()
        start = time.perf_counter()
        for _ in range(n_products):
            X.T @ (X @ W)
        return time.perf_counter() - start


def prepare(barrier):
    global yield_to_others
    yield_to_others = barrier


def products_of(n_processes, repeats=5):
    """Seconds that the products of a pass take in NumPy, shared by some processes that begin together."""
    context, taken = multiprocessing.get_context("spawn"), []
    with context.Pool(n_processes, prepare, (context.Barrier(n_processes),)) as pool:
        for _ in range(repeats):
            taken.append(max(pool.map(multiply, [CHUNKS // n_processes] * n_processes, chunksize=1)))
    return float(np.median(taken))


def passes():
    by_chunks = {n: pass_of(2, 20 * n, 16, 3, n, 20) for n in (2, 8, 32)}
    measure.note(f"overhead {by_chunks}")
    by_workers = {n: pass_of(n, *SHAPE, CHUNKS, 9) for n in (1, 2)}
    measure.note(f"passes {by_workers}")
    products = {n: products_of(n) for n in (1, 2)}
    n_samples, n_features, n_classes = SHAPE
    text = "\n## Overhead of a pass\n\nTwo workers of a thread; chunks of 20 rows.\n\n" + measure.markdown_table(
        ["chunks", "a pass"], [[n, measure.duration(seconds)] for n, seconds in by_chunks.items()]
    )
    text += (
        f"\n## Two workers and one\n\n{n_samples:,} x {n_features}, float32, {n_classes} classes, {CHUNKS} chunks; a "
        "thread each. Below, its two matrix products by NumPy in processes, which is as much as this machine gives.\n\n"
    )
    rows = []
    for name, seconds in (("a pass", by_workers), ("its products in NumPy", products)):
        rows.append([name, *map(measure.duration, seconds.values()), f"{seconds[1] / seconds[2]:.2f}"])
    text += measure.markdown_table(["", "one", "two", "times as fast"], rows)
    return "Passes on a cluster", text, {"chunks": by_chunks, "workers": by_workers, "products": products}


# ---------------------------------------------------------------------------------------------------------------------
# Deaths


def pids(client):
    """The processes of two workers, once there are two: one may have been killed a moment ago."""
    while True:
        client.wait_for_workers(2, timeout=20)
        found = [pid for pid in client.run(os.getpid, on_error="ignore").values() if isinstance(pid, int)]
        if len(found) == 2:
            return found
        time.sleep(0.1)


def deaths(n_fits=50):
    """Fits of the same rows, a worker of two killed in each: how many have the bits of a fit without."""
    rng, same, struck, seconds, whole = np.random.default_rng(0), 0, 0, [], None
    X = rng.normal(size=(20_000, 64)).astype(np.float32)
    y = (X @ rng.normal(size=(64, 30)) + 3 * rng.gumbel(size=(20_000, 30))).argmax(axis=1)

    def fit():
        start = time.perf_counter()
        args = da.from_array(X, chunks=(2_500, 64)), da.from_array(y, chunks=2_500)
        coef = SoftmaxRegressionClassifier(C=0.1, tol=1e-8).fit(*args).coef_
        return coef, time.perf_counter() - start

    def strike(pid, fit_has_ended):
        nonlocal struck
        is_amid = not fit_has_ended.is_set()
        with contextlib.suppress(ProcessLookupError):  # its nanny has begun another
            os.kill(pid, signal.SIGKILL)
            struck += is_amid

    while len(seconds) < n_fits:
        with cluster_of(2) as cluster, distributed.Client(cluster) as client:
            if whole is None:
                fit()
                wanted, whole = fit()
            try:
                while len(seconds) < n_fits:
                    has_ended = threading.Event()
                    timer = threading.Timer(rng.uniform(0.0, whole), strike, (pids(client)[rng.integers(2)], has_ended))
                    timer.start()
                    coef, taken = fit()
                    has_ended.set()
                    timer.join()
                    same += np.array_equal(coef, wanted)
                    seconds.append(taken)
                    measure.note(f"{len(seconds)} fits, {same} of them equal")
            except TimeoutError:  # Dask has not begun the worker again: another cluster
                continue
    text = (
        "\n20,000 x 64, 30 classes, 8 chunks, two workers of a thread. One is killed at a random moment of the "
        f"time that a fit takes undisturbed, {measure.duration(whole)}.\n\n"
        + measure.markdown_table(
            ["fits", "a worker was killed before the end", "equal to the bit", "median time"],
            [[n_fits, struck, same, measure.duration(float(np.median(seconds)))]],
        )
    )
    return "Fits that outlive their workers", text, {"seconds": seconds, "undisturbed": whole, "equal": int(same)}


# ---------------------------------------------------------------------------------------------------------------------
# Delays


class Waiting(Shard):
    """A shard that takes a time that is known, in the place of one that calculates."""

    seconds = 0.0

    def loss_gradient(self, *args):
        time.sleep(self.seconds)
        return super().loss_gradient(*args)


def waiting(number, seconds):
    rng = np.random.default_rng(number)
    shard = Waiting(rng.normal(size=(20, 16)).astype(np.float32), np.arange(20) % 3, np.arange(3))
    shard.seconds = seconds
    return shard


def delays(n_chunks=32, wait=0.2):
    """Passes of many workers beside the model: the tasks of a worker times the delay, and the overhead."""
    records = []
    for n_workers in (2, 4, 8, 16):
        with cluster_of(n_workers) as cluster, distributed.Client(cluster) as client:
            taken = {}
            for seconds in (0.0, wait):
                shards = client.map(waiting, range(n_chunks), seconds=seconds, pure=False)
                distributed.wait(shards)
                taken[seconds] = seconds_a_pass(Sums(Cluster(client), shards, combine), 3, 16, 5)
        records.append([n_workers, taken[0.0], taken[wait], taken[0.0] + wait * n_chunks / n_workers])
        measure.note(records[-1])
    rows = [[n, *map(measure.duration, seconds)] for n, *seconds in records]
    text = f"\n{n_chunks} chunks, each of which waits {measure.duration(wait)} in the place of calculating.\n\n"
    text += measure.markdown_table(["workers", "overhead", "a pass", "by the model"], rows)
    return "Passes whose tasks wait", text, records


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"passes": passes, "deaths": deaths, "delays": delays}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR", help="where the report goes")
    options = parser.parse_args()
    title, text, data = parts[options.part]()
    dask = f"Dask {distributed.__version__}\n"
    measure.save(options.out, f"cluster-{options.part}", title, dask + text, data)
