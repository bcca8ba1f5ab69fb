"""What a pass costs on a Dask cluster of this machine, and whether fits outlive their workers.

python benchmarks/cluster.py            # overhead of a pass by chunks
python benchmarks/cluster.py --workers  # one worker of a thread against two, 400,000 x 512
python benchmarks/cluster.py --kill 50  # so many fits, in each of which a worker is killed at a random moment
python benchmarks/cluster.py --delay 5  # passes of 2 to 16 workers whose tasks wait so many milliseconds, and the model
"""

import argparse
import os
import platform
import signal
import sys
import threading
import time

sys.path.pop(0)  # where there is a sparse.py that Dask would take for the package of that name
import dask.array as da
import distributed
import numpy as np

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.pooled import sums_of_collection
from softmax_clf.sums import Shard


def seconds_a_pass(total, n_outputs, n_features, repeats):
    """The median of some passes, after one that compiles and lays out workspaces."""
    args = np.ones(n_outputs), np.zeros((n_outputs, n_features), np.float32), np.zeros(n_outputs, np.float32)
    total("loss_gradient", *args)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        total("loss_gradient", *args)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def measure(n_workers, n_samples, n_features, n_classes, n_chunks, repeats):
    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        size = -(-n_samples // n_chunks)
        X = da.random.default_rng(0).random((n_samples, n_features), chunks=(size, n_features), dtype=np.float32)
        y = da.random.default_rng(1).integers(0, n_classes, n_samples, chunks=size)
        total, classes, _ = sums_of_collection(X, y, None, None)
        return seconds_a_pass(total, len(classes), n_features, repeats)


def pids(client):
    """The processes of two workers, once there are two: one may have been killed a moment ago."""
    while True:
        client.wait_for_workers(2, timeout=20)
        found = [pid for pid in client.run(os.getpid, on_error="ignore").values() if isinstance(pid, int)]
        if len(found) == 2:
            return found
        time.sleep(0.1)


def kill(n_fits):
    """Fits of the same rows, a worker of two killed in each: how many have the bits of a fit without."""
    rng, same, seconds, whole = np.random.default_rng(0), 0, [], None
    X = rng.normal(size=(20_000, 64)).astype(np.float32)
    y = (X @ rng.normal(size=(64, 30)) + 3 * rng.gumbel(size=(20_000, 30))).argmax(axis=1)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}

    def fit():
        start = time.perf_counter()
        args = da.from_array(X, chunks=(2_500, 64)), da.from_array(y, chunks=2_500)
        coef = SoftmaxRegressionClassifier(C=0.1, tol=1e-8).fit(*args).coef_
        return coef, time.perf_counter() - start

    while len(seconds) < n_fits:
        with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
            if whole is None:
                fit()
                wanted, whole = fit()
                print(
                    f"20,000 x 64, 30 classes, 8 chunks, 2 workers: a fit takes {whole:.2f} s undisturbed", flush=True
                )
            try:
                while len(seconds) < n_fits:
                    timer = threading.Timer(
                        rng.uniform(0.0, whole), os.kill, (pids(client)[rng.integers(2)], signal.SIGKILL)
                    )
                    timer.start()
                    coef, taken = fit()
                    timer.join()
                    same += np.array_equal(coef, wanted)
                    seconds.append(taken)
                    print(f"{len(seconds)} fits, {same} of them equal", flush=True)
            except TimeoutError:  # Dask has not begun the worker again: another cluster
                continue
    print(f"{n_fits} fits with a worker killed: {same} equal to the bit, {np.median(seconds):.2f} s each")


class Waiting(Shard):
    """A shard that takes a time that is known, in the place of one that calculates."""

    seconds = 0.0

    def loss_gradient(self, *args):
        time.sleep(self.seconds)
        return super().loss_gradient(*args)


def delay(milliseconds):
    """Passes of many workers beside the model of docs/scaling.md: tasks by worker times the delay, and the overhead."""
    from softmax_clf.sources.dask import Cluster, Sums
    from softmax_clf.sums import combine

    n_chunks, Waiting.seconds = 32, milliseconds / 1e3
    print(f"{n_chunks} chunks, each of which takes {milliseconds:g} ms beside its work")
    for n_workers in (2, 4, 8, 16):
        options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": ":0"}
        with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
            there, taken = Cluster(client), {}
            for seconds in (0.0, Waiting.seconds):
                shards = client.map(_waiting, range(n_chunks), seconds=seconds, pure=False)
                distributed.wait(shards)
                taken[seconds] = seconds_a_pass(Sums(there, shards, combine), 3, 16, 15)
        model = taken[0.0] + Waiting.seconds * n_chunks / n_workers
        print(f"{n_workers:2} workers: {1e3 * taken[Waiting.seconds]:.0f} ms a pass, model {1e3 * model:.0f}", end="")
        print(f" (overhead {1e3 * taken[0.0]:.0f})")


def _waiting(number, seconds):
    rng = np.random.default_rng(number)
    shard = Waiting(rng.normal(size=(20, 16)).astype(np.float32), np.arange(20) % 3, np.arange(3))
    shard.seconds = seconds
    return shard


def main(args):
    if args.kill:
        kill(args.kill)
        return
    if args.delay:
        delay(args.delay)
        return
    print(f"{platform.machine()}, dask {distributed.__version__}, NumPy {np.__version__}")
    if args.workers:
        one, two = (measure(n, 400_000, 512, 10, 8, 9) for n in (1, 2))
        print("400,000 x 512, float32, 10 classes, 8 chunks")
        print(f"{one:.3f} s a pass by one worker, {two:.3f} s by two: {one / two:.2f} times as fast")
        return
    for n_chunks in (2, 8, 32):
        print(f"{n_chunks:3} chunks of 20 rows: {1e3 * measure(2, 20 * n_chunks, 16, 3, n_chunks, 20):.1f} ms a pass")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", action="store_true", help="one worker against two")
    parser.add_argument("--kill", type=int, metavar="N", help="fits with a worker killed")
    parser.add_argument("--delay", type=float, metavar="MS", help="milliseconds that tasks wait")
    main(parser.parse_args())
