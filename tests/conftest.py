"""Settings that hold for every test."""

import os

from hypothesis import settings
from threadpoolctl import threadpool_limits

worker = os.environ.get("PYTEST_XDIST_WORKER")  # "gw0", "gw1", ...
if worker and hasattr(os, "sched_setaffinity"):
    # A core for each process: with more threads than cores they wait for each other. BLAS has counted the cores by now.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker[2:]) % len(cores)]})
    threadpool_limits(1)

# No deadline: the first call of a kernel compiles it. Derandomised: a failure on one machine is a failure on all.
settings.register_profile("softmax_clf", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("softmax_clf")
