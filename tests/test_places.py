"""No result depends on where in memory its arrays lie: not from fit to fit, nor from process to process."""

import pytest
from programs import run_program

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
