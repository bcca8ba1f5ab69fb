"""Under NUMBA_DISABLE_JIT=1 kernels run in plain Python, and do the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.kernels import convert, csr, tiles
from softmax_clf.kernels.jit import jit

ROOT = Path(__file__).resolve().parents[1]
DTYPES = [np.float32, np.float64]


def whole_numbers(rng, shape, dtype):
    """Numbers whose sums and products are exact in any order."""
    return rng.integers(-8, 9, shape).astype(dtype)


def assert_same(kernel, plain, inputs, out):
    """A kernel and its twin write the same, to places that are given and to no others."""
    here, there = out.copy(), out.copy()
    kernel(*inputs, here)
    plain(*inputs, there)
    assert not np.array_equal(here, out)
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("K", "n_features"), [(3, 3), (3, 8), (3, 37), (5, 37)])
def test_score_tile(dtype, K, n_features):
    rng = np.random.default_rng(0)
    R = tiles.tile_rows(K)

    @jit
    def kernel(X, row, n_rows, coef, k, i, scores_out):
        tiles.score_tile(X, row, n_rows, coef, k, scores_out, i, X, 0, R, K, 2)

    def plain(X, row, n_rows, coef, k, i, scores_out):
        tiles.score_tile.plain(X, row, n_rows, coef, k, scores_out, i, X, 0, R, K, 2)

    X = whole_numbers(rng, (12, n_features), dtype)
    coef = np.zeros((2 + K, 64), dtype)
    coef[:, :n_features] = whole_numbers(rng, (2 + K, n_features), dtype)
    for i, n_rows in ((0, 8), (4, 8), (4, 5)):  # the last one: rows that are not there are the last one again
        assert_same(kernel, plain, (X, 2, n_rows, coef, 2, i), whole_numbers(rng, (3 + K, 16), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("K", "by_row", "whole"), [(3, False, False), (3, False, True), (3, True, False), (3, True, True), (5, False, True)]
)
def test_gradient_tile(dtype, K, by_row, whole):
    rng = np.random.default_rng(0)
    V = tiles.tile_vectors(K) if whole else 1

    @jit
    def kernel(X, row, n_rows, j, pointwise, k, grad_out):
        tiles.gradient_tile(X, row, n_rows, j, pointwise, k, grad_out, X, 0, K, V, whole, 2, by_row)

    def plain(X, row, n_rows, j, pointwise, k, grad_out):
        tiles.gradient_tile.plain(X, row, n_rows, j, pointwise, k, grad_out, X, 0, K, V, whole, 2, by_row)

    width = tiles.VECTOR_BYTES // np.dtype(dtype).itemsize
    X = whole_numbers(rng, (12, 1 + (V * width if whole else 1)), dtype)
    pointwise = whole_numbers(rng, (16, 3 + K) if by_row else (3 + K, 16), dtype)
    for grad_dtype in {np.float64, dtype}:
        grad = whole_numbers(rng, (3 + K, 2 + V * width), grad_dtype)
        assert_same(kernel, plain, (X, 2, 9, 1, pointwise, 2), grad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_gather(dtype, index_dtype):
    rng = np.random.default_rng(0)

    @jit
    def kernel(data, indices, start, stop, matrix, k, out):
        csr._gather(data, indices, start, stop, matrix, k, out, 4, 2)

    def plain(data, indices, start, stop, matrix, k, out):
        csr._gather.plain(data, indices, start, stop, matrix, k, out, 4, 2)

    data, indices = whole_numbers(rng, 20, dtype), rng.integers(0, 9, 20).astype(index_dtype)
    matrix = whole_numbers(rng, (9, 24), dtype)
    for out_dtype in {np.float64, dtype}:
        assert_same(kernel, plain, (data, indices, 3, 17, matrix, 8), whole_numbers(rng, 24, out_dtype))


@pytest.mark.parametrize(
    ("X_dtype", "dtype"),
    [*((X_dtype, dtype) for X_dtype in (np.uint8, np.int16) for dtype in DTYPES), *zip(DTYPES, DTYPES, strict=True)]
    + [(np.float16, np.float32)],
)
def test_transpose_square(X_dtype, dtype):
    rng = np.random.default_rng(0)

    @jit
    def kernel(X, j, row, i, ahead, rows_out):
        convert._transpose_square(X, j, row, rows_out, i, ahead)

    def plain(X, j, row, i, ahead, rows_out):
        convert._transpose_square.plain(X, j, row, rows_out, i, ahead)

    X = rng.integers(0, 99, (20, 20)).astype(X_dtype)
    X = X.view(np.uint16) if X_dtype == np.float16 else X
    assert_same(kernel, plain, (X, 2, 1, 3, 0), whole_numbers(rng, (20, 20), dtype))


def fits():
    """Results of every kind of kernel: for rows in place or not, sparse ones, soft labels, L1 and a choice of C."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 19))
    y = (X[:, :3] + 0.5 * rng.standard_normal((60, 3))).argmax(axis=1)
    soft, weight = rng.dirichlet(np.ones(3), 60), rng.uniform(0.5, 2, 60)
    columns, positive = np.asfortranarray(X.astype(np.float16)), sparse.csr_array(X * (X > 0))
    problems = [(X, y), (X.astype(np.float32), y == 1), (columns, y), (X[:, ::2], y), ((20 * X).astype(np.int8), y)]
    problems += [(X, soft), (positive, y), (rng.standard_normal((40, 300)), np.arange(40) % 8)]
    results = []
    for X_, y_ in problems:
        clf = SoftmaxRegressionClassifier(tol=1e-8).fit(X_, y_, weight[: X_.shape[0]])
        results.append([clf.objective_, *clf.predict_log_proba(X_)[0], *clf.predict_proba(X_)[0]])
    clf = SoftmaxRegressionClassifier(l1_ratio=0.5, standardize=True).fit(X, y)
    results.append([clf.objective_, *clf.predict_proba(X)[0]])
    clf = SoftmaxRegressionClassifierCV(Cs=[0.1, 1.0], cv=2).fit(X, y)
    results.append([clf.C_, *clf.decision_function(X)[0]])
    return [[float(value) for value in values] for values in results]


def more_fits():
    """What `fits` leaves out of the kernels: for their coverage."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((90, 11))
    y = (X[:, :3] + rng.gumbel(size=(90, 3))).argmax(axis=1)
    offset = rng.standard_normal((90, 3))
    SoftmaxRegressionClassifier(max_iter=3).fit(X, y, offset=offset).predict_proba(X, offset=offset)
    clf = SoftmaxRegressionClassifier()
    for rows in (slice(45), slice(45, 90)):
        clf.partial_fit(X[rows], y[rows], classes=range(3))


def test_fits():
    code = """
import json, warnings
import numpy as np
from test_plain_python import fits
from softmax_clf.kernels import dense
with warnings.catch_warnings(), np.errstate(all="raise"):
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The best C")
    print(json.dumps([type(dense._add_groups).__name__, fits()]))
"""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    kind, plain = json.loads(done.stdout)
    assert kind == "function"
    for here, there in zip(fits(), plain, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-5)
