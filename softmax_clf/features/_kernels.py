"""The jitted loops of PatchKMeans: what surrounds its matrix products, over one block of patches each.

BLAS computes the products (100 GFLOP/s a core where 118 are possible); everything else is done here in one
pass while a block is in cache. One row at a time, cut by slices of its own: numba tests each index that is a sum
for being negative, and such a loop is not vectorised.
"""

import math

import numpy as np

from ..kernels.jit import jit

# Sums may be reordered, so that they run in vector lanes; nothing here tests for nan or infinity.
_FAST = {"contract", "reassoc", "nsz", "arcp"}
# Centroids compared at a time: four vectors of the widest kind, whose comparisons overlap.
N_LANES = 64


@jit(fastmath=_FAST)
def normalize_patches(pixels, width, channels, rows, cols, patch_size, contrast_eps, patches_out):
    """Cut patches out of one image, subtract each one's mean, divide by sqrt(variance + contrast_eps)."""
    # pixels        IN  (H * W * C,) float32, one image
    # rows, cols    IN  (n_patches,) intp, upper left corner of each patch
    # patches_out   OUT (n_patches, patch_size * patch_size * channels) float32
    run = patch_size * channels
    size = patch_size * run
    for i in range(rows.shape[0]):
        patch = patches_out[i]
        for u in range(patch_size):
            start = ((rows[i] + u) * width + cols[i]) * channels
            line = pixels[start : start + run]
            line_out = patch[u * run : (u + 1) * run]
            for j in range(run):
                line_out[j] = line[j]
        total = np.float32(0)
        for j in range(size):
            total += patch[j]
        mean = total / np.float32(size)
        total = np.float32(0)
        for j in range(size):
            deviation = patch[j] - mean
            total += deviation * deviation
        # Coates' code divides by size - 1; a patch of a single pixel has no variance.
        scale = np.float32(1) / math.sqrt(total / np.float32(max(size - 1, 1)) + contrast_eps)
        for j in range(size):
            patch[j] = (patch[j] - mean) * scale


@jit(fastmath=_FAST)
def pool_triangles(products, mean_product, offset, quadrants, distance, pooled_out):
    """Add each patch's activations max(0, mean distance - distance) to its quadrant's sums."""
    # products      IN  (n_patches, d + k) float32, patches @ [whitening | whitening @ centroids.T]
    # mean_product  IN  (d,) float32, patch mean @ whitening
    # offset        IN  (k,) float32, |c|^2 + 2 * patch mean @ whitening @ c
    # quadrants     IN  (n_patches,) intp, 0 to 3
    # distance      --  (k,) float32, workspace
    # pooled_out    OUT (4, k) float32, added to
    d = mean_product.shape[0]
    k = offset.shape[0]
    for i in range(products.shape[0]):
        projected = products[i][:d]
        cross = products[i][d:]
        sqnorm = np.float32(0)
        for j in range(d):
            whitened = projected[j] - mean_product[j]
            sqnorm += whitened * whitened
        for j in range(k):
            # Rounding can leave a little below zero where a patch is a centroid.
            distance[j] = math.sqrt(max(sqnorm + offset[j] - np.float32(2) * cross[j], np.float32(0)))
        # In a loop that stores nothing. A loop that stores is compiled twice, in lanes and one by one, and which of the
        # two runs is up to how near in memory its arrays lie: a sum would have other bits by where they happen to be.
        total = np.float32(0)
        for j in range(k):
            total += distance[j]
        mean = total / np.float32(k)
        pooled = pooled_out[quadrants[i]]
        for j in range(k):
            pooled[j] += max(mean - distance[j], np.float32(0))


@jit(fastmath=_FAST)
def nearest_centroids(products, half_sqnorm, lane_gap, lane_start, labels_out, gap_out):
    """Find the centroid nearest to each patch; gap is half the squared distance less half of |patch|^2."""
    # products      IN  (n_patches, k) float32, patches @ centroids.T
    # half_sqnorm   IN  (k,) float32, |c|^2 / 2
    # lane_gap      --  (N_LANES,) float32, workspace
    # lane_start    --  (N_LANES,) int32, workspace
    # labels_out    OUT (n_patches,) int32
    # gap_out       OUT (n_patches,) float32
    k = half_sqnorm.shape[0]
    whole = k - k % N_LANES
    for i in range(products.shape[0]):
        product = products[i]
        # LLVM does not vectorise a search for the place of a minimum: each lane searches every N_LANES-th centroid.
        for lane in range(N_LANES):
            lane_gap[lane] = np.float32(np.inf)
            lane_start[lane] = 0
        for start in range(0, whole, N_LANES):
            product_part = product[start : start + N_LANES]
            half_part = half_sqnorm[start : start + N_LANES]
            for lane in range(N_LANES):
                gap = half_part[lane] - product_part[lane]
                nearer = gap < lane_gap[lane]
                lane_gap[lane] = gap if nearer else lane_gap[lane]
                lane_start[lane] = np.int32(start) if nearer else lane_start[lane]
        smallest = np.float32(np.inf)
        place = 0
        for lane in range(N_LANES):
            if lane_gap[lane] < smallest:
                smallest = lane_gap[lane]
                place = lane_start[lane] + lane
        for j in range(whole, k):
            gap = half_sqnorm[j] - product[j]
            if gap < smallest:
                smallest = gap
                place = j
        labels_out[i] = place
        gap_out[i] = smallest


@jit(fastmath=_FAST)
def sum_by_label(patches, labels, sums_out, counts_out):
    """Add each patch to the sum of its label."""
    # patches       IN  (n_patches, d) float32
    # labels        IN  (n_patches,) int32
    # sums_out      OUT (k, d) float64, added to
    # counts_out    OUT (k,) intp, added to
    for i in range(patches.shape[0]):
        patch = patches[i]
        total = sums_out[labels[i]]
        for j in range(patches.shape[1]):
            total[j] += patch[j]
        counts_out[labels[i]] += 1
