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

# What a change most often breaks, in two minutes of CPU time: the kernels against plain NumPy, the optimum, the
# estimator's answers to what users give it, and the house's own rules.
QUICK = (
    "architecture",
    "kernels",
    "reference",
    "textbook",
    "refusals",
    "rows",
    "early_stopping",
    "inspection",
    "pictures",
    "examples",
)


# Files that take most, the longest first: where processes share the work, none is to begin one of them near the end.
LONG = (
    *("estimator", "convergence", "path", "dask", "multi_output", "sources", "hessian_products", "jit", "stream"),
    *("threads", "threads_and_forks", "proximal", "subspace", "kernel_coverage", "working_set", "row_space"),
)


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):  # xdist would begin with the files of most tests
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    if worker:
        places = {f"test_{name}": place for place, name in enumerate(LONG)}
        items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help=f"only the tests of {', '.join(QUICK)}")


def pytest_ignore_collect(collection_path, config):
    """With --quick the files of the others are not even imported."""
    name = collection_path.name
    if config.getoption("--quick") and name.startswith("test_") and name[5:-3] not in QUICK:
        return True
    return None


# No deadline: the first call of a kernel compiles it. Derandomised: a failure on one machine is a failure on all.
settings.register_profile("softmax_clf", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("softmax_clf")
