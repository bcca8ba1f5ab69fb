"""One fit in a process of its own: its time, and the peak memory it adds to what held the data. Prints JSON.

python benchmarks/one_fit.py powerlaw-50000x512x10 --peer sklearn-lbfgs
"""

import argparse
import ctypes
import dataclasses
import gc
import json
import statistics
import time

import measure
import peers
from passes import our_pass

import problems


def status(field):
    """A field of /proc/self/status, in bytes."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def reset_peak():
    """Begin the peak (VmHWM) anew. `ru_maxrss` cannot be, and starts at the size of the process that forked us."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem")
    parser.add_argument("--peer", default="ours", choices=peers.PEERS)
    parser.add_argument("--C", type=float, default=1.0)
    problems.add_arguments(parser)
    options = parser.parse_args()

    problem = problems.load(options.problem, options)
    peer = peers.PEERS[options.peer]
    # A peer's peak is reached within its first iterations; ours builds its metric on the way.
    setting = 1e-4 if peer.name == "ours" else peer.probe
    few = dataclasses.replace(problem, X=problem.X[:1000], y=problem.y[:1000])
    with peer.limit(None if peer.name == "ours" else measure.cores()):
        peer.fit(few, options.C, setting)  # libraries loaded, kernels compiled: not the fit's memory
        reset_peak()
        held, start = status("VmRSS"), time.perf_counter()
        passes, _, _ = peer.fit(problem, options.C, setting)
        seconds = time.perf_counter() - start
    answer = {
        "seconds": seconds,
        "passes": passes,
        "data_bytes": problem.X.nbytes,
        "held_bytes": held,
        "added_bytes": status("VmHWM") - held,
    }
    if peer.name == "ours":
        evaluate = our_pass(problem.X, problem.codes, len(problem.classes))
        answer["pass_seconds"] = statistics.median(measure.seconds(evaluate, at_least=0.02) for _ in range(5))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
