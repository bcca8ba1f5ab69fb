"""What a pass costs on a Dask cluster of this machine: overhead by chunks, and two workers against one.

python benchmarks/cluster.py            # overhead of a pass
python benchmarks/cluster.py --workers  # one worker of a thread against two, 400,000 x 512
"""

import argparse
import platform
import sys
import time

sys.path.pop(0)  # where there is a sparse.py that Dask would take for the package of that name
import dask.array as da
import distributed
import numpy as np

from softmax_clf.pooled import sums_of_collection


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


def main(args):
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
    main(parser.parse_args())
