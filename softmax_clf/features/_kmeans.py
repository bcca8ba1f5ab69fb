"""Lloyd's k-means for many centroids, with bits that do not depend on the number of threads."""

import numpy as np

from ..kernels.threads import run_tasks
from ._kernels import N_LANES, nearest_centroids, sum_by_label

_BLOCK = 1024  # patches whose products with all centroids are held at a time, per thread
_N_PARTS = 16  # partial sums of centroids, added in this order whatever the number of threads
_MIN_DECREASE = 1e-4  # of the inertia, relative, below which another iteration is not worth its time


def lloyd(patches, centroids, *, max_iter, n_threads, progress):
    """Minimise the summed squared distance from each patch to its nearest centroid.

    The caller pins BLAS to one thread.

    Parameters
    ----------
    patches : ndarray of shape (n_patches, d), float32
        C-contiguous.
    centroids : ndarray of shape (k, d), float32
        Where to start; not changed.
    max_iter : int
        Most iterations; it stops before once the inertia falls by less than 0.01 % in one.
    n_threads : int
        Width of the pool.
    progress : callable
        Called after each iteration with the number of iterations and a note.

    Returns
    -------
    centroids : ndarray of shape (k, d), float32
    inertia : float
        Sum of squared distances, to the centroids of the last iteration but one.
    n_iter : int
    """
    n_patches = len(patches)
    labels = np.empty(n_patches, np.int32)
    gap = np.empty(n_patches, np.float32)
    products = np.empty((n_threads, _BLOCK, len(centroids)), np.float32)
    lane_gap = np.empty((n_threads, N_LANES), np.float32)
    lane_start = np.empty((n_threads, N_LANES), np.int32)
    edges = np.linspace(0, n_patches, _N_PARTS + 1).astype(int)
    sums = np.empty((_N_PARTS, *centroids.shape))
    counts = np.empty((_N_PARTS, len(centroids)), np.intp)
    sqnorm = np.einsum("ij,ij->i", patches, patches)
    inertia = np.inf

    for n_iter in range(1, max_iter + 1):
        half_sqnorm = 0.5 * np.einsum("ij,ij->i", centroids, centroids)

        def assign(block, slot, centroids=centroids, half_sqnorm=half_sqnorm):
            rows = slice(block * _BLOCK, min((block + 1) * _BLOCK, n_patches))
            out = products[slot, : rows.stop - rows.start]
            np.dot(patches[rows], centroids.T, out=out)
            nearest_centroids(out, half_sqnorm, lane_gap[slot], lane_start[slot], labels[rows], gap[rows])

        def add_up(part, slot):
            rows = slice(edges[part], edges[part + 1])
            sums[part] = 0
            counts[part] = 0
            sum_by_label(patches[rows], labels[rows], sums[part], counts[part])

        run_tasks(assign, -(-n_patches // _BLOCK), n_threads)
        run_tasks(add_up, _N_PARTS, n_threads)

        size = counts.sum(axis=0)
        means = sums.sum(axis=0) / np.maximum(size, 1)[:, None]
        sqdistance = sqnorm + 2 * gap
        empty = np.flatnonzero(size == 0)
        if len(empty):  # Start again from the patches that are worst represented, as scikit-learn does.
            means[empty] = patches[np.argsort(sqdistance, kind="stable")[-len(empty) :]]
        centroids = means.astype(np.float32)

        before, inertia = inertia, float(sqdistance.sum(dtype=np.float64))
        progress(n_iter, f" iterations, inertia {inertia / n_patches:.5g} a patch")
        if not len(empty) and before - inertia <= _MIN_DECREASE * inertia:
            break
    return centroids, inertia, n_iter
