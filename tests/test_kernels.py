"""Kernels against the reference and against long double: any shape, stacked problems, any number of threads."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from scipy import sparse

import reference
from softmax_clf.kernels import tiles
from softmax_clf.kernels.dense import DensePass
from softmax_clf.kernels.elementary import exp, log1p_float64, log_float64
from softmax_clf.kernels.jit import processor_features
from softmax_clf.kernels.softmax import LOG_PROBA, PROBA, RAW
from softmax_clf.kernels.tiles import VECTOR_BYTES, aligned_empty
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource


def apply(function, x, out):
    @numba.njit
    def loop(x, out):
        for i in range(len(x)):
            out[i] = function(x[i])

    loop(x, out)


@pytest.mark.parametrize(
    ("function", "exact", "low", "high", "dtype"),
    [
        (exp, np.exp, -700.0, 0.0, np.float64),
        (exp, np.exp, -1e-3, 0.0, np.float64),
        (exp, np.exp, -80.0, 0.0, np.float32),
        (log_float64, np.log, 1.0, 1000.0, np.float64),
        (log_float64, np.log, 1.0, 1.001, np.float64),
        (log1p_float64, np.log1p, 0.0, 1e-12, np.float64),
        (log1p_float64, np.log1p, 0.0, 100.0, np.float64),
    ],
)
def test_elementary_functions(function, exact, low, high, dtype):
    """Within 1 ulp over a million points, 3 for log1p."""
    x = np.random.default_rng(0).uniform(low, high, 1_000_000).astype(dtype)
    out = np.empty_like(x)
    apply(function, x, out)
    expected = exact(x.astype(np.longdouble))
    error = np.abs(out - expected) / np.spacing(np.abs(expected).astype(dtype))
    assert error.max() <= (3.0 if function is log1p_float64 else 1.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exp_at_its_ends(dtype):
    x = np.array([0.0, -0.0, -1e4, np.nan], dtype)
    out = np.empty_like(x)
    apply(exp, x, out)
    np.testing.assert_array_equal(out[:2], 1.0)
    # not zero, and no number with which arithmetic is slow, nor are probabilities and their products with weights
    assert 1e3 * np.finfo(dtype).tiny < out[2] < 1e-34
    assert np.isnan(out[3])


def problems(rng, n, p, n_classes, n_problems, dtype):
    n_scores = 1 if n_classes == 2 else n_classes
    X = rng.standard_normal((n, p)).astype(dtype)
    y = rng.integers(0, n_classes, n)
    coef = rng.standard_normal((n_problems, n_scores, p)) / np.sqrt(p)
    intercept = rng.standard_normal((n_problems, n_scores))
    weight = rng.integers(0, 3, (2, n)).astype(dtype)
    weighting = rng.integers(0, 2, n_problems)
    return X, y, coef, intercept, weight, weighting


def whole(X):
    """X in one part."""
    return [(X, slice(0, len(X)))]


SHAPES = [(1, 1, 2), (7, 3, 3), (50, 17, 2), (130, 33, 5), (300, 64, 7), (257, 100, 13), (2000, 129, 10)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_problems", [1, 3])
@pytest.mark.parametrize("folds", [False, True], ids=["here and there", "in folds"])
@pytest.mark.parametrize(("n", "p", "n_classes"), SHAPES)
def test_stacked_problems(n, p, n_classes, folds, n_problems, dtype):
    """Each of the problems has the loss and gradient that it has alone, in plain NumPy."""
    X, y, coef, intercept, weight, weighting = problems(np.random.default_rng(n), n, p, n_classes, n_problems, dtype)
    if folds:  # blocks of rows that weigh nothing for one, and some for none
        weight[0, : 3 * n // 5] = 0.0
        weight[1, 2 * n // 5 :] = 0.0
    passes = DensePass(dtype, n, p, n_problems, coef.shape[1], 2)
    loss, grad, grad_intercept = passes.loss_gradient(
        whole(X), coef.reshape(-1, p), intercept.ravel(), y, weight, weighting
    )
    grad, grad_intercept = grad.reshape(coef.shape), grad_intercept.reshape(intercept.shape)
    rtol = 1e-11 if dtype == np.float64 else 2e-5
    for m in range(n_problems):
        s = weight[weighting[m]].astype(np.float64)
        if s.sum() == 0:
            assert loss[m] == 0
            continue
        target = reference.one_hot(y, range(n_classes))
        objective = reference.Objective(X.astype(np.float64), target, C=np.inf, sample_weight=s)
        assert loss[m] == pytest.approx(objective.loss(coef[m], intercept[m]) * s.sum(), rel=rtol)
        expected = objective.grad(coef[m], intercept[m]) * s.sum()
        atol = rtol * s.sum()
        np.testing.assert_allclose(grad[m], expected[:, :-1], rtol=rtol, atol=atol)
        np.testing.assert_allclose(grad_intercept[m], expected[:, -1], rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "p", "n_classes"), [(n, p, k) for n, p, k in SHAPES if k > 2])
def test_predictions(n, p, n_classes, dtype):
    X, _, coef, intercept, *_ = problems(np.random.default_rng(n), n, p, n_classes, 1, dtype)
    passes = DensePass(dtype, n, p, 1, n_classes, 2)
    raw, proba, log_proba = np.empty((3, n, n_classes), dtype)
    for kind, out in ((RAW, raw), (PROBA, proba), (LOG_PROBA, log_proba)):
        passes.predict(whole(X), coef[0], intercept[0], kind, out)
    expected = X.astype(np.float64) @ coef[0].T + intercept[0]
    atol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(raw, expected, atol=atol)
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(log_proba, expected, atol=atol)
    np.testing.assert_allclose(proba, np.exp(expected), atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gram_product(dtype):
    rng = np.random.default_rng(0)
    X, coef = rng.standard_normal((301, 301)).astype(dtype), rng.standard_normal((7, 301))
    found = DensePass(dtype, 301, 301, 1, 7, 2).gram_product(X, coef)
    expected = coef @ X.astype(np.float64).T @ X
    np.testing.assert_allclose(found, expected, atol=(1e-10 if dtype == np.float64 else 1e-2))


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_bits_do_not_depend_on_threads(n_threads):
    X, y, coef, intercept, *_ = problems(np.random.default_rng(0), 20_000, 70, 10, 1, np.float32)
    nothing, first = np.empty((0, 0), np.float32), np.zeros(1, np.intp)
    one, several = (
        DensePass(np.float32, len(X), 70, 1, 10, n).loss_gradient(whole(X), coef[0], intercept[0], y, nothing, first)
        for n in (1, n_threads)
    )
    for a, b in zip(one, several, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [ArraySource, lambda X: CsrSource(sparse.csr_array(X))])
def test_a_point_that_float32_cannot_hold_has_a_loss_that_is_no_number(make):
    """So that a line search takes a shorter step; it was a warning, from a cast."""
    X, y, coef, intercept, *_ = problems(np.random.default_rng(0), 30, 4, 3, 1, np.float32)
    source, none, first = make(X), np.empty((0, 0), np.float32), np.zeros(1, np.intp)
    for at in ((1e300 * coef[0], intercept[0]), (coef[0], 1e300 * intercept[0])):
        loss, *_ = source.passes(1, 3, 1).loss_gradient(source.parts(), *at, y, none, first)
        assert not np.isfinite(loss).any()


@pytest.mark.parametrize("n_classes", [3, 30, 70])
@pytest.mark.parametrize("p", [40, 128, 1024])
def test_bits_do_not_depend_on_where_rows_lie(n_classes, p):
    """Rows that begin amid a cache line are read there or, for many classes, copied to where one begins."""
    X, y, coef, intercept, *_ = problems(np.random.default_rng(0), 300, p, n_classes, 1, np.float32)
    none, weighting = np.empty((0, 0), np.float32), np.zeros(1, np.intp)
    results = []
    for offset in (0, 1):
        memory = aligned_empty((X.size + offset,), X.dtype)
        placed = memory[offset:].reshape(X.shape)
        placed[:] = X
        assert placed.ctypes.data % VECTOR_BYTES == offset * X.itemsize
        passes = DensePass(X.dtype, len(X), p, 1, n_classes, 2)
        results.append(passes.loss_gradient(whole(placed), coef[0], intercept[0], y, none, weighting))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_classes", [2, 10])
def test_bits_do_not_depend_on_parts(n_classes):
    """Slices that come one by one, or several at once, or in memory of another order, add up to the same bits."""
    X, y, coef, intercept, weight, _ = problems(np.random.default_rng(0), 20_000, 70, n_classes, 1, np.float32)
    offset = np.random.default_rng(1).standard_normal((len(X), len(coef[0]))).astype(np.float32)
    slice_rows = 6_667
    results = []
    for n_slices, order in ((1, "C"), (2, "C"), (3, "C"), (1, "F"), (3, "F")):
        cuts = [*range(0, len(X), n_slices * slice_rows), len(X)]
        parts = [(np.asarray(X[a:b], order=order), slice(a, b)) for a, b in itertools.pairwise(cuts)]
        passes = DensePass(np.float32, slice_rows, 70, 1, len(coef[0]), 2)
        sums = passes.loss_gradient(parts, coef[0], intercept[0], y, weight, np.ones(1, np.intp), offset)
        out = np.empty_like(offset)
        passes.predict(parts, coef[0], intercept[0], RAW, out, offset)
        moments = passes.moments(parts, np.zeros(70), weight[1].astype(np.float64))
        results.append([*(np.array(a) for a in sums), out, *moments])
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(results[0][3], X @ coef[0].T + intercept[0] + offset, atol=1e-4)


@pytest.mark.parametrize("tile_classes", tiles.TILE_CLASSES)
def test_tiles_fit_into_registers(tile_classes):
    """Accumulators, one operand for each of the shorter side, and one of the longer at a time."""
    for other in (tiles.tile_rows(tile_classes), tiles.tile_vectors(tile_classes)):
        assert other * tile_classes + min(other, tile_classes) + 1 <= tiles._N_REGISTERS
    assert tiles.VECTOR_BYTES // 8 % tiles.tile_rows(tile_classes) == 0


# Tiles of 5, 3, 2 and 1 classes; rows in place, and 4 KiB apart, which are copied; all vectors of a strip, and fewer.
NARROW = """
import numpy as np, reference
from test_kernels import check_pass, check_proba
from softmax_clf.kernels.tiles import VECTOR_BYTES, TILE_CLASSES, tile_rows, tile_vectors
assert VECTOR_BYTES == 32
assert [(tile_rows(k), tile_vectors(k)) for k in TILE_CLASSES] == [(2, 2), (2, 2), (4, 4), (4, 4), (4, 8)]
for n, p, n_classes in [(70, 1024, 10), (300, 77, 10), (133, 141, 3), (50, 85, 2)]:
    check_pass(n, p, n_classes, 1)
check_pass(130, 75, 2, 2)
check_proba(70, 1024, 10)
"""


def check_pass(n, p, n_classes, n_problems):
    """Loss and gradient are those of the reference, and the same bits on one thread and on three."""
    X, y, coef, intercept, weight, weighting = problems(
        np.random.default_rng(n), n, p, n_classes, n_problems, np.float32
    )
    one, several = (
        DensePass(np.float32, n, p, n_problems, coef.shape[1], n_threads).loss_gradient(
            whole(X), coef.reshape(-1, p), intercept.ravel(), y, weight, weighting
        )
        for n_threads in (1, 3)
    )
    for a, b in zip(one, several, strict=True):
        np.testing.assert_array_equal(a, b)
    grad = one[1].reshape(coef.shape)
    for m in range(n_problems):
        s = weight[weighting[m]].astype(np.float64)
        target = reference.one_hot(y, range(n_classes))
        objective = reference.Objective(X.astype(np.float64), target, C=np.inf, sample_weight=s)
        assert one[0][m] == pytest.approx(objective.loss(coef[m], intercept[m]) * s.sum(), rel=2e-5)
        expected = objective.grad(coef[m], intercept[m]) * s.sum()
        np.testing.assert_allclose(grad[m], expected[:, :-1], rtol=2e-5, atol=2e-5 * s.sum())


def check_proba(n, p, n_classes):
    X, _, coef, intercept, *_ = problems(np.random.default_rng(n), n, p, n_classes, 1, np.float32)
    found = np.empty((n, n_classes), np.float32)
    DensePass(np.float32, n, p, 1, n_classes, 2).predict(whole(X), coef[0], intercept[0], PROBA, found)
    expected = np.exp(X.astype(np.float64) @ coef[0].T + intercept[0])
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.skipif(not {"avx2", "fma"} <= processor_features(), reason="a processor without AVX2")
def test_vectors_of_32_bytes():
    """What a processor with AVX2 but without AVX-512 runs, on one with both."""
    here = Path(__file__).resolve().parent
    narrow = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c"}
    paths = {"PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}
    done = subprocess.run(
        [sys.executable, "-c", NARROW], env={**os.environ, **narrow, **paths}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
