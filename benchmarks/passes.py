"""The cost of one pass (loss and gradient over all rows), against NumPy and against what the machine can do.

    python benchmarks/passes.py
    python benchmarks/passes.py --shapes 50000x512x10 200000x64x2
    python benchmarks/passes.py --avx2 --shapes 50000x3072x10 50000x512x10 20000x768x100 50000x512x2

Interleaved with ours: NumPy's two products with the softmax between them; the rate of a large float32 product; the rate
of reading X. The roofline is the longer of reading X once at that rate and doing the operations of the two products at
the other. Then `predict_proba`, beside scikit-learn's, and the tiles alone, on data in cache.

With ``--avx2`` all of it, NumPy's products too, as on a processor that has AVX2 and not AVX-512.
"""

import argparse
import concurrent.futures
import itertools
import os
import re
import statistics
import subprocess
import sys
import time

import measure
import numpy as np

from problems import powerlaw

SHAPES = ("50000x3072x10", "50000x512x10", "200000x64x10", "50000x768x100", "10000x1024x1000", "50000x512x2")
LARGE = 3072  # rows and columns of the large product
AVX2 = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe,+popcnt",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def our_pass(X, y, n_classes, point=None):
    """A function that evaluates the package's objective once, at zero or at a point, the way its fit does."""
    from softmax_clf.kernels.threads import blas_on_one_thread, effective_n_threads
    from softmax_clf.objective import SoftmaxObjective
    from softmax_clf.sources.arrays import ArraySource

    objective = SoftmaxObjective(
        ArraySource(X),
        y.astype(np.intp),
        n_classes,
        sample_weight=None,
        l2_reg_strength=1 / len(X),
        fit_intercept=True,
        n_threads=effective_n_threads(),
    )
    if point is None:
        point = np.zeros((objective.n_outputs, objective.n_columns))

    def evaluate():
        with blas_on_one_thread():
            return objective.evaluate(point)

    return evaluate


def numpy_pass(X, y, n_classes, point):
    """The same in NumPy, as one would write it with care: X's dtype throughout, nothing allocated, all in place."""
    coef, intercept = point[:, :-1].astype(X.dtype), point[:, -1].astype(X.dtype)
    n_samples, rows = len(X), np.arange(len(X))
    scores, grad = np.empty((n_samples, len(coef)), X.dtype), np.empty_like(coef)

    def penalised(loss):
        np.matmul(scores.T, X, out=grad)
        grad_all = np.column_stack([grad + coef, scores.sum(axis=0)]) / n_samples
        return (loss + 0.5 * np.vdot(coef, coef)) / n_samples, grad_all

    def two_classes():
        np.matmul(X, coef.T, out=scores)
        scores[:] += intercept
        z = scores[:, 0]
        loss = np.logaddexp(0, z).sum() - z[y == 1].sum()
        np.negative(z, out=z)
        np.exp(z, out=z)
        z += 1
        np.reciprocal(z, out=z)
        z -= y
        return penalised(loss)

    def evaluate():
        np.matmul(X, coef.T, out=scores)
        scores[:] += intercept
        scores[:] -= scores.max(axis=1, keepdims=True)
        chosen = scores[rows, y].sum()
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        scores[:] /= total
        scores[rows, y] -= 1
        return penalised(np.log(total).sum() - chosen)

    return two_classes if n_classes == 2 else evaluate


def read(X):
    """Read X once, on all cores."""
    flat = X.reshape(-1)
    bounds = np.linspace(0, len(flat), measure.cores() + 1).astype(int)
    parts = [flat[start:stop] for start, stop in itertools.pairwise(bounds)]
    pool = concurrent.futures.ThreadPoolExecutor(len(parts))
    return lambda: list(pool.map(lambda part: np.dot(part, part), parts))


def check(ours, numpys):
    """Both must compute the same, or the times mean nothing."""
    (objective, grad), (expected, expected_grad) = ours(), numpys()
    assert abs(objective - expected) < 1e-4 * abs(expected), (objective, expected)
    assert np.abs(grad - expected_grad).max() < 1e-3 * np.abs(expected_grad).max()


def measure_pass(shape, n_rounds):
    n_samples, n_features, n_classes = shape
    X, y = powerlaw(*shape)
    n_outputs = 1 if n_classes == 2 else n_classes
    point = 0.01 * np.random.default_rng(0).standard_normal((n_outputs, n_features + 1))
    ours, numpys = our_pass(X, y, n_classes, point), numpy_pass(X, y, n_classes, point)
    check(ours, numpys)
    large = np.random.default_rng(0).standard_normal((LARGE, LARGE), np.float32)
    product = np.empty_like(large)
    n_threads = measure.fastest_threads(numpys, at_least=0.05)
    times = measure.interleave(
        {
            "ours": (ours, None),
            "numpy": (numpys, n_threads),
            "product": (lambda: np.matmul(large, large, out=product), measure.cores()),
            "read": (read(X), 1),
        },
        n_rounds,
        at_least=0.05,
    )
    seconds = {name: statistics.median(values) for name, values in times.items()}
    operations = 4 * n_samples * n_features * n_outputs
    rate = 2 * LARGE**3 / seconds["product"]
    return {
        "shape": shape,
        "seconds": times,
        "median": seconds,
        "numpy_threads": n_threads,
        "rate": operations / seconds["ours"],
        "product_rate": rate,
        "read_rate": X.nbytes / seconds["read"],
        "operations_seconds": operations / rate,
        # The best that any pass can do: it reads X at least once, and no product is done faster than a large one.
        "roofline_seconds": max(operations / rate, seconds["read"]),
        "binds": "operations" if operations / rate > seconds["read"] else "reading",
    }


def measure_predict(n_samples, n_rounds):
    """predict_proba on many rows and on one, 512 features and 10 classes, beside scikit-learn's."""
    from sklearn.linear_model import LogisticRegression

    from softmax_clf import SoftmaxRegressionClassifier

    X, y = powerlaw(n_samples, 512, 10)
    ours = SoftmaxRegressionClassifier(tol=1e-2).fit(X[:5000], y[:5000])
    peer = LogisticRegression(tol=1).fit(X[:5000], y[:5000])
    peer.coef_, peer.intercept_ = ours.coef_, ours.intercept_
    assert np.allclose(ours.predict_proba(X[:5000]), peer.predict_proba(X[:5000]), atol=1e-5)
    results = []
    for rows in (n_samples, 1):
        n_threads = measure.fastest_threads(lambda: peer.predict_proba(X[:rows]), at_least=0.02)  # noqa: B023
        functions = {
            "ours": (lambda: ours.predict_proba(X[:rows]), None),  # noqa: B023
            "sklearn": (lambda: peer.predict_proba(X[:rows]), n_threads),  # noqa: B023
        }
        times = measure.interleave(functions, n_rounds, at_least=0.02)
        median = {name: statistics.median(values) for name, values in times.items()}
        results.append({"rows": rows, "seconds": times, "median": median, "sklearn_threads": n_threads})
    return results


def tile_kernel(tile_classes, kind):
    """A kernel of nothing but tiles, ``(X, coef, scores, grad, n_times)``, and what it says of their shape."""
    import numba

    from softmax_clf.kernels.tiles import VECTOR_BYTES, gradient_tile, score_tile, tile_rows, tile_vectors

    tall, wide = tile_rows(tile_classes), tile_vectors(tile_classes)
    width = wide * (VECTOR_BYTES // 4)

    @numba.njit(nogil=True, error_model="numpy")
    def scores(X, coef, scores, grad, n_times):
        for _ in range(n_times):
            for i in range(0, X.shape[0], tall):
                score_tile(X, 0, X.shape[0], coef, 0, scores, i, X, 0, tall, tile_classes, 0)

    @numba.njit(nogil=True, error_model="numpy")
    def gradient(X, coef, scores, grad, n_times):
        for _ in range(n_times):
            for j in range(0, X.shape[1], width):
                gradient_tile(X, 0, X.shape[0], j, scores, 0, grad, X, 0, tile_classes, wide, True, 0, False)

    if kind == "scores":
        return scores, f"{tall} rows x {tile_classes} classes"
    return gradient, f"{tile_classes} classes x {wide} vectors"


def inner_loop(kernel):
    """Multiply-adds in the loop that has most, and its accesses to the stack: values that found no register."""
    (assembly,) = kernel.inspect_asm().values()
    best = 0, 0
    for block in re.split(r"\n(?=\.LBB)", assembly):
        label = block.split(":")[0]
        loop = re.match(rf"(?s).*\tj\w+\t{re.escape(label)}\b", block)
        if loop:
            best = max(best, (loop[0].count("vfmadd"), len(re.findall(r"\(%rsp", loop[0]))))
    return best


def measure_tiles(n_rounds):
    """Processor time of tiles on data in the first level of cache, in one thread, beside a large product's."""
    from softmax_clf.kernels.tiles import TILE_CLASSES, aligned_empty, aligned_zeros

    n_rows, n_features, n_times = 16, 256, 2000
    rng = np.random.default_rng(0)
    large = rng.standard_normal((LARGE // 2, LARGE // 2), np.float32)
    product = np.empty_like(large)

    def least(function, *args):
        times = []
        for _ in range(n_rounds):
            start = time.thread_time()
            function(*args)
            times.append(time.thread_time() - start)
        return min(times)

    results = []
    with measure.blas_threads(1):
        for tile_classes in TILE_CLASSES:
            X, coef = (
                aligned_empty((n_rows, n_features), np.float32),
                aligned_zeros((tile_classes, n_features), np.float32),
            )
            X[...] = rng.standard_normal(X.shape)
            scores, grad = aligned_zeros((tile_classes, n_rows), np.float32), aligned_zeros(coef.shape, np.float64)
            for kind in ("scores", "gradient"):
                kernel, shape = tile_kernel(tile_classes, kind)
                kernel(X, coef, scores, grad, 1)
                rate = 2 * n_times * X.size * tile_classes / least(kernel, X, coef, scores, grad, n_times)
                product_rate = 2 * (LARGE // 2) ** 3 / least(np.matmul, large, large, product)
                multiply_adds, on_stack = inner_loop(kernel)
                results.append(
                    {
                        "kind": kind,
                        "shape": shape,
                        "rate": rate,
                        "product_rate": product_rate,
                        "multiply_adds": multiply_adds,
                        "on_stack": on_stack,
                    }
                )
    return results


def report_tiles(tiles):
    from softmax_clf.kernels.tiles import VECTOR_BYTES

    rows = [
        [r["kind"], r["shape"], f"{r['rate'] / r['product_rate']:.0%}", r["multiply_adds"], r["on_stack"]]
        for r in tiles
    ]
    header = ["tile", "shape", "of a large product's rate", "multiply-adds in the loop", "accesses to the stack"]
    return (
        f"\nTiles alone, float32 in cache, one thread, vectors of {VECTOR_BYTES} bytes:\n\n"
        + measure.markdown_table(header, rows)
    )


def report(passes, predictions):
    rows = []
    for r in passes:
        median = r["median"]
        rows.append(
            [
                " x ".join(f"{size:,}" for size in r["shape"]),
                measure.duration(median["ours"]),
                f"{measure.duration(median['numpy'])} ({r['numpy_threads']})",
                f"{median['numpy'] / median['ours']:.2f} x",
                f"{r['rate'] / 1e9:.3g}",
                f"{r['product_rate'] / 1e9:.3g}",
                f"{r['rate'] / r['product_rate']:.0%}",
                f"{measure.duration(median['read'])} at {r['read_rate'] / 1e9:.3g} GB/s",
                measure.duration(r["operations_seconds"]),
                r["binds"],
                f"{r['roofline_seconds'] / median['ours']:.0%}",
            ]
        )
    header = [
        "rows x features x classes",
        "ours",
        "NumPy (threads)",
        "NumPy / ours",
        "GFLOP/s",
        "large product, GFLOP/s",
    ]
    header += ["of that rate", "reading X once", "operations at that rate", "binds", "of the roofline"]
    text = "One pass, float32; medians of interleaved runs, NumPy with 1 or all BLAS threads, whichever is faster.\n\n"
    text += measure.markdown_table(header, rows)
    if not predictions:
        return text
    rows = [
        [
            f"{r['rows']:,}",
            measure.duration(r["median"]["ours"]),
            f"{measure.duration(r['median']['sklearn'])} ({r['sklearn_threads']})",
            f"{r['median']['sklearn'] / r['median']['ours']:.2f} x",
        ]
        for r in predictions
    ]
    header = ["rows", "ours", "scikit-learn (threads)", "scikit-learn / ours"]
    return f"{text}\n`predict_proba`, 512 features, 10 classes, float32:\n\n{measure.markdown_table(header, rows)}"


def draw(passes):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 0.7 * len(passes) + 1.4), layout="constrained")
    y = np.arange(len(passes))
    share = {
        "ours": [r["roofline_seconds"] / r["median"]["ours"] for r in passes],
        "NumPy": [r["roofline_seconds"] / r["median"]["numpy"] for r in passes],
    }
    for (name, values), offset, style in zip(share.items(), (-0.2, 0.2), measure.STYLES, strict=False):
        ax.barh(y + offset, values, 0.38, label=name, color=style["color"])
    ax.set_yticks(y, [" x ".join(f"{size:,}" for size in r["shape"]) + f"\n({r['binds']})" for r in passes], fontsize=8)
    ax.invert_yaxis()
    ax.axvline(1, color="grey", linewidth=1)
    ax.set_xlabel("share of the roofline that one pass reaches")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="ROWSxFEATURESxCLASSES")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--predict-rows", type=int, default=100_000, help="0 leaves predict_proba out")
    parser.add_argument("--avx2", action="store_true", help="code for AVX2, on a processor that has AVX-512 as well")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR")
    options = parser.parse_args()
    if options.avx2 and "NUMBA_CPU_NAME" not in os.environ:  # all is chosen when NumPy and Numba are imported
        sys.exit(subprocess.run([sys.executable, *sys.argv], env={**os.environ, **AVX2}).returncode)

    passes = []
    for shape in options.shapes:
        measure.note(shape)
        passes.append(measure_pass(tuple(map(int, shape.split("x"))), options.rounds))
    predictions = measure_predict(options.predict_rows, options.rounds) if options.predict_rows else []
    tiles = measure_tiles(options.rounds)
    data = {"passes": passes, "predict_proba": predictions, "tiles": tiles}
    name, title = ("passes-avx2", "The cost of a pass with AVX2") if options.avx2 else ("passes", "The cost of a pass")
    measure.save(options.out, name, title, report(passes, predictions) + report_tiles(tiles), data, draw(passes))


if __name__ == "__main__":
    main()
