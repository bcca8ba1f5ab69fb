"""What a bug report needs: ``python -m softmax_clf`` prints the machine, the versions, the kernel cache and a fit.

The fit is held to NumPy alone; the exit status is 1 where they differ.
"""

import contextlib
import importlib.metadata
import os
import platform
import sys
import time

import numpy as np
import threadpoolctl
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_digits

import softmax_clf

from .kernels.jit import cache_state
from .kernels.threads import effective_n_threads
from .kernels.tiles import VECTOR_BYTES

PACKAGES = ("numpy", "scipy", "scikit-learn", "numba", "llvmlite", "joblib", "threadpoolctl")
SETTINGS = ("NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "LOKY_")
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}  # of the objective, in units of the null model's, and of predictions
# The squared gradient is at most twice the largest curvature, here 8, times what the objective is above its minimum.
GRADIENT_TOLERANCE = 2 * 8 * 1e-6


def main():
    """Print the report, and return the exit status."""
    print("\n".join(machine()))
    print("\n".join(kernel_cache("before the fits")))
    is_right = True
    for dtype in TOLERANCE:
        line, is_fit_right = checked_fit(dtype)
        print(line)
        is_right &= is_fit_right
    print("\n".join(kernel_cache("after them")))
    print("all is well" if is_right else "A fit is WRONG: please report this, with all that is printed here.")
    return int(not is_right)


def machine():
    """Lines on versions, the processor and threads."""
    yield f"softmax_clf {softmax_clf.__version__} from {os.path.dirname(softmax_clf.__file__)}"
    yield f"Python {platform.python_version()}, {platform.platform()}"
    yield ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield f"processor: {_processor()}, vectors of {8 * VECTOR_BYTES} bits"
    yield f"threads: {effective_n_threads()}, of {os.cpu_count()} processors"
    settings = {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)}
    yield "settings: " + (", ".join(f"{name}={value}" for name, value in settings.items()) or "none")
    for library in threadpoolctl.threadpool_info():
        kind = library.get("architecture") or library.get("threading_layer") or ""
        name, version = library["internal_api"], library["version"] or ""
        yield " ".join(filter(None, ["library:", name, version, kind, f"with {library['num_threads']} threads"]))


def kernel_cache(when):
    """A line on the kernel cache, and one on what was wrong with it, if anything was."""
    state = cache_state()
    access = "writable" if state["writable"] else "NOT writable: every process compiles anew. Set NUMBA_CACHE_DIR"
    yield (
        f"kernel cache {when}: {state['files']} kernels, {state['bytes'] / 1e6:.1f} MB in {state['folder']}, {access}; "
        f"{state['loads']} loaded, {state['misses']} compiled, {state['faults']} faults"
    )
    if state["last_fault"]:
        yield f"last fault: {state['last_fault']}"


def checked_fit(dtype):
    """A line on a fit to the digits, and whether it is what NumPy finds it to be."""
    X, y = load_digits(return_X_y=True)
    X, n = (X / 16).astype(dtype), len(y)
    clf = softmax_clf.SoftmaxRegressionClassifier(tol=1e-6)
    start = time.perf_counter()
    clf.fit(X, y)
    seconds = time.perf_counter() - start

    coef, rows = clf.coef_.astype(np.float64), X.astype(np.float64)
    scores = rows @ coef.T + clf.intercept_
    objective = -log_softmax(scores, axis=1)[np.arange(n), y].mean() + np.sum(coef**2) / (2 * clf.C * n)
    null = np.log(len(clf.classes_))
    gradient = (softmax(scores, axis=1) - np.eye(len(clf.classes_))[y]).T @ np.column_stack([rows, np.ones(n)]) / n
    gradient[:, :-1] += coef / (clf.C * n)
    found = {
        "objective": (abs(clf.objective_ - objective) / null, TOLERANCE[dtype]),
        "predictions": (np.abs(clf.predict_proba(X) - softmax(scores, axis=1)).max(), TOLERANCE[dtype]),
        "squared gradient": (np.sum(gradient**2) / null, GRADIENT_TOLERANCE),
    }
    wrong = [name for name, (difference, tolerance) in found.items() if not difference <= tolerance]
    differences = ", ".join(f"{name} {difference:.0e}" for name, (difference, _) in found.items())
    how = "right" if not wrong and clf.converged_ else f"WRONG in {', '.join(wrong) or 'not having converged'}"
    line = (
        f"a fit in {np.dtype(dtype).name} to {n} digits: {how}, in {clf.n_iter_} iterations and {seconds:.2f} s; off "
        f"NumPy, relative to the null model: {differences}"
    )
    return line, how == "right"


def _version(package):
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return "not found"


def _processor():
    """Its name, as Linux tells it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
