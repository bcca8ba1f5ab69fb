"""Kernels read no byte beside their arrays: each begins or ends at a page that may not be touched.

A vector too many at the end of a row, or of the last row, is a segmentation fault there; elsewhere it reads what lies
in memory behind, and the answer is wrong on a bad day.
"""

import os

import pytest
from programs import run_program

PRELUDE = """
import ctypes, faulthandler, itertools, mmap, os, sys, warnings
import numpy as np
from scipy import sparse
from softmax_clf import SoftmaxRegressionClassifier
faulthandler.enable()
warnings.simplefilter("ignore")
libc, PAGE = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
kept = []

def fenced(array, at_end):
    '''A copy in the same memory order, between two pages that may not be touched and next to one of them.'''
    n_pages = -(-array.nbytes // PAGE)
    memory = mmap.mmap(-1, (n_pages + 2) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, n_pages + 1):
        assert libc.mprotect(ctypes.c_void_p(address + page * PAGE), PAGE, 0) == 0
    offset = PAGE + (n_pages * PAGE - array.nbytes if at_end else 0)
    flat = np.frombuffer(memory, array.dtype, array.size, offset)
    order = "C" if array.flags.c_contiguous else "F"
    copy = flat.reshape(array.shape, order=order)
    copy[...] = array
    kept.append(memory)
    return copy

def fenced_rows(X, at_end):
    if not sparse.issparse(X):
        return fenced(X, at_end)
    X.data, X.indices, X.indptr = (fenced(part, at_end) for part in (X.data, X.indices, X.indptr))
    return X

def check(X, n_classes, l1_ratio=0.0):
    '''A fit and predictions, of rows, labels, weights and coefficients that are fenced, have the bits of others.'''
    rng = np.random.default_rng(0)
    n = X.shape[0]
    y, weight = np.arange(n) % n_classes, rng.uniform(0.5, 2, n)
    make = lambda: SoftmaxRegressionClassifier(max_iter=5, n_jobs=1, l1_ratio=l1_ratio)
    usual = make().fit(X, y, weight)
    proba = usual.predict_proba(X)
    for at_end in (True, False):
        rows = fenced_rows(X.copy(), at_end)
        clf = make().fit(rows, fenced(y, at_end), fenced(weight, at_end))
        assert np.array_equal(clf.coef_, usual.coef_)
        clf.coef_, clf.intercept_ = fenced(clf.coef_, at_end), fenced(clf.intercept_, at_end)
        assert np.array_equal(clf.predict_proba(rows), proba)
        if n > 1:
            assert np.array_equal(clf.predict_proba(rows[-1:]), usual.predict_proba(X[-1:]))

def rows(n, p, dtype=np.float32, order="C"):
    X = np.random.default_rng(p).standard_normal((n, p))
    X = X if np.dtype(dtype).kind == "f" else (X * 20).clip(0, 100)
    return np.asarray(X.astype(dtype), order=order)

def thin(n, p, dtype, index):
    X = sparse.csr_array(np.where(rows(n, p, dtype) > 0.7, rows(n, p, dtype), 0))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X
"""
FEW = """
for dtype in (np.float32, np.float64):
    check(rows(37, 5, dtype), 3)
    check(rows(130, 67, dtype, "F"), 3)
    check(thin(61, 23, dtype, np.int32), 3)
print("done", flush=True)
os._exit(0)  # not through the fences
"""
MANY = """
for dtype, order, (n, p), n_classes in itertools.product(
    (np.float32, np.float64, np.float16, np.uint8, np.int8, np.int16),
    "CF",
    ((23, 1), (37, 5), (65, 19), (131, 67), (1100, 130)),
    (2, 3, 5, 9),
):
    check(rows(n, p, dtype, order), n_classes)
for dtype, index, (n, p), n_classes in itertools.product(
    (np.float32, np.float64), (np.int32, np.int64), ((23, 1), (61, 23), (300, 3000)), (2, 3, 9)
):
    check(thin(n, p, dtype, index), n_classes)
for dtype, (n, p), n_classes in itertools.product((np.float32, np.float64), ((61, 23), (40, 200)), (2, 3)):
    check(rows(n, p, dtype), n_classes, l1_ratio=0.5)
    check(thin(n, p, dtype, np.int32), n_classes, l1_ratio=0.5)
print("done", flush=True)
os._exit(0)
"""
needs_posix = pytest.mark.skipif(os.name == "nt", reason="pages are protected in another way")


@needs_posix
@pytest.mark.parametrize("program", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"])
def test_no_byte_beside_an_array_is_read(program):
    assert run_program(program, prelude=PRELUDE, limit=900) == ["done"]


@needs_posix
def test_the_fence_holds():
    """Or nothing would be shown: a read behind it ends the process."""
    code = """
    pid = os.fork()
    if not pid:
        faulthandler.disable()
        X = fenced(rows(37, 5), True)
        ctypes.c_char.from_address(X.ctypes.data + X.nbytes).value
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) < 0, flush=True)
    os._exit(0)
    """
    assert run_program(code, prelude=PRELUDE) == ["True"]
