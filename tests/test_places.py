"""No result depends on where in memory its arrays lie: not from fit to fit, nor from process to process."""

import numpy as np
import pytest
from programs import run_program
from scipy.sparse import csr_array

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.kernels.jit import processor_features

PRELUDE = """
import warnings
import places
warnings.simplefilter("ignore")
with places.watch():
    import numpy as np
    {0}
    print(*sorted(places.dependent))
    print(*places.n_calls())
"""
PATCHES = """
    from softmax_clf.features import PatchKMeans
    images = np.random.default_rng(0).integers(0, 256, (3, 11, 9, 3), dtype=np.uint8)
    for n_centroids in (5, 20):  # fewer than the lanes of a loop
        PatchKMeans(n_centroids, patch_size=4, random_state=0).fit_transform(images)
"""
KERNELS = """
    import every_kernel
    every_kernel.test_plain_python.fits()
    every_kernel.test_plain_python.more_fits()
    for name in "passes stacked_problems sparse_rows grams blocks columns intercepts whole_fits".split():
        getattr(every_kernel, name)()
"""
# What would be found: a sum in a loop that stores.
CONTROL = """
    from softmax_clf.kernels.jit import jit

    @jit(fastmath={"contract", "reassoc", "nsz"})
    def kernel(x, y_out):
        total = np.float32(0)
        for j in range(x.shape[0]):
            y_out[j] = 3 * x[j]
            total += y_out[j]
        return total

    for n in range(4, 60):
        kernel(np.random.default_rng(0).standard_normal(n).astype(np.float32), np.empty(n, np.float32))
"""


def dependent(what, **variables):
    found, counts = run_program(PRELUDE.format(what.strip()), limit=900, **variables)
    return found.split(), [int(count) for count in counts.split()]


def test_features_of_patches():
    found, (n_kernels, n_shapes) = dependent(PATCHES)
    assert not found
    assert n_kernels == 4
    assert n_shapes >= 7


@pytest.mark.slow
def test_every_kernel():
    found, (n_kernels, n_shapes) = dependent(KERNELS)
    print(n_kernels, n_shapes)
    assert not found
    assert n_kernels >= 20


@pytest.mark.skipif(not {"avx2", "neon"} & processor_features(), reason="takes sums of so few numbers one by one")
def test_a_sum_in_a_loop_that_stores_is_found():
    assert dependent(CONTROL)[0] == ["__main__.kernel"]


def at(array, offset):
    """A copy in the same memory order, so many bytes behind the beginning of a cache line."""
    order = "F" if array.flags.f_contiguous else "C"
    memory = np.empty(array.nbytes + 128, np.uint8)
    begin = -memory.ctypes.data % 64 + offset
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape, order=order)
    copy[...] = array
    return copy


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("order", ["C", "F", "CSR"])
def test_fits_of_rows_anywhere(order, l1_ratio, dtype):
    """Whatever part of a cache line, or of a number's place in one, is theirs: kernels and BLAS give the same bits."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((230, 13)).astype(dtype)
    y, weight = (X[:, :3] + rng.gumbel(size=(230, 3))).argmax(axis=1), rng.uniform(0.5, 2, 230)
    rows = csr_array(np.where(X > 0, X, 0)) if order == "CSR" else np.asarray(X, order=order)
    found = set()
    for offset in (0, X.itemsize, 16, 32, 48, 64 - X.itemsize):
        if order == "CSR":
            placed = csr_array((at(rows.data, offset), at(rows.indices, 4), at(rows.indptr, 12)), shape=rows.shape)
        else:
            placed = at(rows, offset)
        clf = SoftmaxRegressionClassifier(l1_ratio=l1_ratio).fit(placed, at(y, offset // 8 * 8), at(weight, 8))
        found.add((clf.coef_.tobytes(), clf.intercept_.tobytes(), clf.predict_proba(placed).tobytes()))
    assert len(found) == 1
