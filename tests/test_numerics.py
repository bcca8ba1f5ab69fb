"""Sums against 50 digits; the exponential and whole fits as each kind of processor computes them."""

import itertools
import json
import platform
import re

import numba
import numpy as np
import pytest
from programs import run_program
from scipy import sparse

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.kernels import tiles
from softmax_clf.kernels.jit import processor_features
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource

# ---------------------------------------------------------------------------------------------------------------------
# 50 digits


def exact_sums(mp, X, y, weight, strength, point, direction):
    """F, its gradient, its Hessian times a direction, and the probabilities, by the formulas, in mpmath's numbers."""
    X, weight, point, direction = (
        [[mp.mpf(float(v)) for v in row] for row in a] for a in (X, [weight], point, direction)
    )
    (weight,) = weight
    n_outputs, n_columns = len(point), len(point[0])
    total = mp.fsum(weight)
    penalised = range(n_columns - 1)
    loss = strength / 2 * mp.fsum(point[k][j] ** 2 for k in range(n_outputs) for j in penalised)
    grad = [
        [strength * point[k][j] if j in penalised else mp.mpf(0) for j in range(n_columns)] for k in range(n_outputs)
    ]
    product = [
        [strength * direction[k][j] if j in penalised else mp.mpf(0) for j in range(n_columns)]
        for k in range(n_outputs)
    ]
    probas = []
    for x, label, w in zip(X, y, weight, strict=True):
        z = [*x, mp.mpf(1)]
        first = [mp.mpf(0)] if n_outputs == 1 else []  # two classes: the scores are zero and z
        scores = first + [mp.fsum(a * b for a, b in zip(row, z, strict=True)) for row in point]
        moved = first + [mp.fsum(a * b for a, b in zip(row, z, strict=True)) for row in direction]
        exponentials = [mp.exp(score) for score in scores]
        proba = [e / mp.fsum(exponentials) for e in exponentials]
        probas.append(proba)
        loss += w / total * (mp.log(mp.fsum(exponentials)) - scores[label])
        mean = mp.fsum(p * q for p, q in zip(proba, moved, strict=True))
        for k in range(n_outputs):
            c = k + len(first)
            for j in range(n_columns):
                grad[k][j] += w / total * (proba[c] - (c == label)) * z[j]
                product[k][j] += w / total * proba[c] * (moved[c] - mean) * z[j]
    return loss, grad, product, probas


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("size", [1e-6, 1.0, 30.0])
@pytest.mark.parametrize("container", ["dense", "CSR"])
def test_against_50_digits(n_classes, size, container):
    """Loss, gradient, products, probabilities; also where rows are sure of a class."""
    mp = pytest.importorskip("mpmath")
    rng = np.random.default_rng(n_classes)
    n, p, n_outputs = 9, 4, 1 if n_classes == 2 else n_classes
    X, y = rng.standard_normal((n, p)), np.arange(n) % n_classes
    weight, strength = rng.uniform(0.1, 2, n), 0.37
    point, direction = size * rng.standard_normal((n_outputs, p + 1)), rng.standard_normal((n_outputs, p + 1))
    if n_outputs > 1:
        point -= point.mean(axis=0)  # as all points of a fit: what all classes have in common changes no probability
    source = ArraySource(X) if container == "dense" else CsrSource(sparse.csr_array(X))
    scaled = weight * (n / weight.sum())
    objective = SoftmaxObjective(
        source, y, n_classes, sample_weight=scaled, l2_reg_strength=strength, fit_intercept=True, n_threads=1
    )
    with mp.workdps(50):
        loss, grad, product, proba = exact_sums(mp, X, y, scaled, strength, point, direction)
    grad, product, proba = (np.array(a, float) for a in (grad, product, proba))

    found_loss, found_grad = objective.evaluate(point)[:2]
    # absolute for what cancels: a few roundings of numbers as large as the largest summand
    largest = 1 + size * np.abs(X).max() * 5
    assert abs(found_loss - float(loss)) <= 1e-15 * largest
    np.testing.assert_allclose(found_grad, grad, rtol=0, atol=2e-15 * largest)
    objective.curve(point)
    np.testing.assert_allclose(objective.hessian_product(direction), product, rtol=0, atol=2e-15 * largest)
    clf = SoftmaxRegressionClassifier()
    clf.classes_, clf.coef_, clf.intercept_ = np.arange(n_classes), point[:, :-1].copy(), point[:, -1].copy()
    found = clf.predict_proba(X if container == "dense" else sparse.csr_array(X))
    # each to its own digits: of exp(z - max) those that the score, as large as it is, leaves
    np.testing.assert_allclose(found, proba, rtol=1e-15 * largest, atol=1e-300)


# ---------------------------------------------------------------------------------------------------------------------
# Processors

AVX2 = "+sse4.2,+popcnt,+avx,+avx2,+bmi,+bmi2,+fma,+f16c"
TARGETS = {
    "generic": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "AVX2": {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": AVX2},
    "AVX-512": {
        "NUMBA_CPU_NAME": "x86-64-v4",
        "NUMBA_CPU_FEATURES": AVX2 + ",+avx512f,+avx512vl,+avx512bw,+avx512dq,+avx512cd",
    },
}
NEEDED = {"generic": {"sse2"}, "AVX2": {"avx2", "fma"}, "AVX-512": {"avx512f", "avx512vl"}}
HERE = [target for target, needed in NEEDED.items() if needed <= processor_features()]


def test_tiles_are_vectors():
    """What runs here are multiply-adds of whole vectors of this processor, of AVX-512, AVX2, NEON or SSE."""

    @numba.njit
    def kernel(X, coef, scores_out):
        tiles.score_tile(X, 0, len(X), coef, 0, scores_out, 0, X, 0, 2, 4, 0)

    X = np.random.default_rng(0).standard_normal((2, 64)).astype(np.float32)
    coef, scores = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32), np.empty((4, 16), np.float32)
    kernel(X, coef, scores)
    np.testing.assert_allclose(scores[:, :2], coef @ X.T, rtol=1e-5, atol=1e-5)
    (code,) = kernel.inspect_asm().values()
    if platform.machine() in ("aarch64", "arm64"):
        expected = r"fmla\s+v\d+\.4s"
    else:
        expected = {64: r"vfmadd\w+ps.*zmm", 32: r"vfmadd\w+ps.*ymm", 16: r"mulps.*xmm"}[tiles.VECTOR_BYTES]
    assert len(re.findall(expected, code)) >= 8, "an accumulator for each row and class"


@pytest.mark.parametrize("target", [pytest.param(target, marks=pytest.mark.slow) for target in HERE])
def test_exponential_on_each_processor(target):
    """Within 1 ulp over 10 million points, and in vectors: of loops LLVM makes 32 bytes, with AVX-512 as well."""
    code = """
    import sys, numba, numpy as np
    from softmax_clf.kernels.elementary import exp

    @numba.njit
    def apply(x, out):
        for i in range(len(x)):
            out[i] = exp(x[i])

    for low, dtype in ((-700.0, np.float64), (-80.0, np.float32)):
        worst = 0.0
        for seed in range(20):  # half of them near zero
            x = np.random.default_rng(seed).uniform(low if seed % 2 else -1.0, 0.0, 500_000).astype(dtype)
            out = np.empty_like(x)
            apply(x, out)
            exact = np.exp(x.astype(np.longdouble))
            worst = max(worst, float((abs(out - exact) / np.spacing(exact.astype(dtype))).max()))
        print(worst)
    code = "".join(apply.inspect_asm().values())
    print(*(kind for kind in ("xmm", "ymm", "zmm") if kind in code))
    """
    double, single, registers = run_program(code, limit=300, **TARGETS[target])
    assert float(double) <= 1.0
    assert float(single) <= 1.0
    assert ("ymm" in registers or "zmm" in registers) == (target != "generic")
    print(target, double, single)


def answers():
    """Fits of each kind to close tolerances, as numbers that do not depend on where rounding ends them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 43)) * np.logspace(-2, 2, 43)
    y = (X[:, :4] / X[:, :4].std(axis=0) + rng.gumbel(size=(1500, 4))).argmax(axis=1)
    thin = sparse.csr_array(np.where(rng.random(X.shape) < 0.2, X, 0.0))
    wide = sparse.random_array((60, 5000), density=0.01, rng=rng, format="csr")
    fits = [(X, y, {}), (X, y == 1, {}), (thin, y, {}), (np.asfortranarray(X), y, {"standardize": True})]
    fits += [(X, y, {"l1_ratio": 0.5, "C": 0.01}), (wide, y[:60], {})]
    found = []
    for X_, y_, parameters in fits:
        clf = SoftmaxRegressionClassifier(tol=1e-14, max_iter=300, **parameters).fit(X_, y_)
        found.append(clf.predict_proba(X_)[:50].ravel().tolist())
    clf = SoftmaxRegressionClassifierCV(Cs=[0.01, 1.0], cv=3, tol=1e-12).fit(X, y)
    found.append([clf.C_, *clf.predict_proba(X)[:50].ravel()])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(HERE, 2)))
def test_a_cache_of_another_processor(tmp_path, first, second):
    """What one has written the other does not run; both find the same answer to 1e-6, and each finds its own again."""
    code = """
    import json, warnings
    from softmax_clf.kernels.jit import cache_state
    from test_numerics import answers
    warnings.simplefilter("ignore")
    found, state = answers(), cache_state()
    print(json.dumps([found, state["loads"], state["misses"], state["faults"]]))
    """
    runs = []
    for target in (first, second, first, second):
        (line,) = run_program(code, limit=300, NUMBA_CACHE_DIR=str(tmp_path), **TARGETS[target])
        runs.append(json.loads(line))
    for found, *_ in runs[1:]:
        for one, other in zip(found, runs[0][0], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    assert [(loads == 0, misses == 0, faults) for _, loads, misses, faults in runs] == [
        (True, False, 0),
        (True, False, 0),
        (False, True, 0),
        (False, True, 0),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Threads


class Rows:
    """Rows that can be had in slices only."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        return self.X[rows]


def _bits(kind, n_jobs):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6000, 23)).astype(np.float32)
    y = (X[:, :5] + rng.gumbel(size=(6000, 5))).argmax(axis=1)
    parameters = {"n_jobs": n_jobs, "max_iter": 8}
    if kind == "CSR":
        X = sparse.csr_array(np.where(X > 0.8, X, 0))
    elif kind == "wide CSR":
        X = sparse.random_array((600, 20_000), density=0.01, rng=rng, format="csr")
        y = y[:600]
    elif kind == "stream":
        X = Rows(X)
    elif kind == "columns":
        X = np.asfortranarray(X.astype(np.float16))
    elif kind == "L1":
        parameters["l1_ratio"] = 0.5
    if kind == "choice of C":
        clf = SoftmaxRegressionClassifierCV(Cs=3, cv=3, n_jobs=n_jobs, max_iter=8).fit(X, y)
    elif kind == "partial_fit":
        clf = SoftmaxRegressionClassifier(**parameters)
        for rows in np.split(np.arange(6000), 3):
            clf.partial_fit(X[rows], y[rows], classes=np.arange(5))
    else:
        clf = SoftmaxRegressionClassifier(**parameters).fit(X, y)
    return b"".join(a.tobytes() for a in (clf.coef_, clf.intercept_, clf.predict_proba(X)))


KINDS = ["dense", "columns", "CSR", "wide CSR", "stream", "L1", "choice of C", "partial_fit"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_bits_for_any_number_of_threads(kind):
    one = _bits(kind, 1)
    for n_jobs in (2, 3, 8, 16):
        assert _bits(kind, n_jobs) == one
