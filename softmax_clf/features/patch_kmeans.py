"""Features learned from patches by k-means: Coates, Lee and Ng, AISTATS 2011."""

from functools import partial
from math import prod
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import check_is_fitted

from ..kernels.threads import effective_n_threads, on_one_blas_thread, run_tasks
from ._images import ImageTransformer, Progress, as_float32, batches
from ._kernels import normalize_patches, pool_triangles
from ._kmeans import lloyd

_BAND = 1024  # patches of an image whose distances to all centroids are held at a time, per thread
_BLOCK = 8192  # patches whitened at a time


class PatchKMeans(ImageTransformer):
    """How much the patches in each quarter of an image resemble each of the typical patches.

    Fitting draws random patches p of the images, normalises the brightness and contrast of each,

        p <- (p - mean(p)) / sqrt(var(p) + contrast_eps),

    whitens them, x = (p - m) V (D + whitening_eps)^(-1/2) V' with m the mean and V D V' the covariance of the
    normalised patches, and clusters x by k-means into centroids c_1 ... c_k.

    An image is encoded by all its overlapping patches. With ``z_j = ||x - c_j||``, the activation of a patch for
    centroid j is the "triangle" max(0, mean(z) - z_j), and the features are the sums of the activations over
    each quarter of the image: 4 * n_centroids non-negative numbers, meant to be standardised.

    Parameters
    ----------
    n_centroids : int, default=400
        Number k of centroids; the more the better, 1600 and beyond.
    patch_size : int, default=6
        Height and width of a patch, in pixels.
    image_shape : tuple (H, W) or (H, W, C), default=None
        Shape of an image; needed where X comes as rows.
    channels_first : bool, default=False
        Whether pixels come plane by plane: rows laid out as (C, H, W), arrays as (n_samples, C, H, W).
    n_patches : int, default=400_000
        Most patches to learn from; fewer if the images have fewer.
    contrast_eps : float, default=10.0
        Added to the variance of a patch, in squared pixel units: 10 suits pixels from 0 to 255, and
        10 / 255**2 pixels from 0 to 1.
    whitening_eps : float, default=0.1
        Added to the variances of the normalised patches.
    max_iter : int, default=50
        Most iterations of k-means.
    mirror : bool, default=False
        Whether to average the features of each image with those of its left-right mirror image, for objects whose
        class does not depend on the way they face. A linear classifier then scores both alike, which it would else
        have to learn from twice the rows; encoding takes twice the time. On CIFAR-10, 400 centroids and this are
        about as accurate as 1600 without.
    n_jobs : int, default=None
        Number of threads; None uses the cores that this process may use, or fewer where ``NUMBA_NUM_THREADS`` or
        ``OMP_NUM_THREADS`` say so; 1 is serial, -1 all cores. The features do not depend on it.
    random_state : int, RandomState instance or None, default=None
        Draws the patches, and the centroids to start from.
    verbose : int, default=0
        Whether to print progress.

    Attributes
    ----------
    centroids_ : ndarray of shape (n_centroids, d), float32
        Centroids of the whitened patches; d = patch_size * patch_size * C, in the order (row, column, channel).
    patch_mean_ : ndarray of shape (d,), float32
        Mean m of the normalised patches.
    whitening_ : ndarray of shape (d, d), float32
        The symmetric matrix V (D + whitening_eps)^(-1/2) V'.
    inertia_ : float
        Sum of squared distances from the patches to their nearest centroids.
    n_iter_ : int
        Iterations of k-means.
    image_shape_ : tuple (H, W, C)
        Shape of an image.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names, if X was a data frame when fitted.

    Notes
    -----
    With p normalised, W the whitening matrix and C the centroids, the squared distances are ::

        z_j^2 = |p W - m W|^2 - 2 p (W c_j) + 2 m W c_j + |c_j|^2,

    so one product of the patches of an image with the (d, d + k) matrix ``[W | W C']`` holds everything, and a
    kernel makes square roots, means, triangles and sums of it while it is in cache.

    References
    ----------
    A. Coates, H. Lee and A. Y. Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning,
    AISTATS 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_clf.features import PatchKMeans
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
    >>> PatchKMeans(n_centroids=8, random_state=0).fit_transform(images).shape
    (20, 32)
    """

    def __init__(
        self,
        n_centroids=400,
        *,
        patch_size=6,
        image_shape=None,
        channels_first=False,
        n_patches=400_000,
        contrast_eps=10.0,
        whitening_eps=0.1,
        max_iter=50,
        mirror=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_centroids = n_centroids
        self.patch_size = patch_size
        self.image_shape = image_shape
        self.channels_first = channels_first
        self.n_patches = n_patches
        self.contrast_eps = contrast_eps
        self.whitening_eps = whitening_eps
        self.max_iter = max_iter
        self.mirror = mirror
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @on_one_blas_thread
    def fit(self, X, y=None):
        """Learn the whitening and the centroids from random patches.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W, C), (n_samples, H, W) or (n_samples, H*W*C)
            Images, or rows of pixels, of any numeric dtype; a memory map is read a batch at a time.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of range, an image is smaller than a patch, or there are fewer patches than
            centroids.
        """
        for name in ("n_centroids", "patch_size", "n_patches", "max_iter"):
            check_scalar(getattr(self, name), name, Integral, min_val=1)
        check_scalar(self.contrast_eps, "contrast_eps", Real, min_val=0, include_boundaries="neither")
        check_scalar(self.whitening_eps, "whitening_eps", Real, min_val=0, include_boundaries="neither")
        images = self._read_images(X)
        height, width = images.shape[1:3]
        if min(height, width) < self.patch_size:
            raise ValueError(
                f"Expected patches that fit, but patches of {self.patch_size} x {self.patch_size} pixels do not fit "
                f"images of {height} x {width}. Remedy: make patch_size smaller."
            )
        random_state = check_random_state(self.random_state)
        patches = self._sample_patches(images, random_state)
        if len(patches) < self.n_centroids:
            raise ValueError(
                f"Expected a patch for each of n_centroids={self.n_centroids} centroids, got only {len(patches)}. "
                "Remedy: make n_centroids smaller, or give more images or a larger n_patches."
            )
        mean, whitening = _whitening(patches, self.whitening_eps)
        for start in range(0, len(patches), _BLOCK):
            block = patches[start : start + _BLOCK]
            block[:] = (block - mean) @ whitening
        # Near the mean of the patches, as in Coates' code. Of 1600 centroids that start on patches a fifth stay
        # with less than ten of 80,000, outliers; so 5 %, and the inertia is lower.
        start = 0.1 * random_state.standard_normal((self.n_centroids, patches.shape[1]))
        centroids, inertia, n_iter = lloyd(
            patches,
            start.astype(np.float32),
            max_iter=self.max_iter,
            n_threads=effective_n_threads(self.n_jobs),
            progress=Progress("PatchKMeans: k-means", self.max_iter, self.verbose),
        )
        learned = {"patch_mean_": mean, "whitening_": whitening, "centroids_": centroids}
        return self._set_fitted(X, images, **learned, inertia_=inertia, n_iter_=n_iter)

    @on_one_blas_thread
    def transform(self, X):
        """Encode images.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in fit, in any of the forms that fit takes.

        Returns
        -------
        features : ndarray of shape (n_samples, 4 * n_centroids), float32
            Quarter by quarter: upper left, upper right, lower left, lower right. The upper and the left ones are
            a patch larger where the number of patches is odd.

        Raises
        ------
        ValueError
            If the images have another shape than in fit.
        """
        images = self._check_images(X)
        _, width, channels = self.image_shape_
        n_dims, n_centroids = len(self.patch_mean_), len(self.centroids_)
        # In float64 until they are rounded once: distances near zero are small differences of large terms.
        mean, whitening, centroids = (
            fitted.astype(np.float64) for fitted in (self.patch_mean_, self.whitening_, self.centroids_)
        )
        filters = np.hstack([whitening, whitening @ centroids.T])
        mean_product, mean_cross = np.split(mean @ filters, [n_dims])
        offset = (np.einsum("ij,ij->i", centroids, centroids) + 2 * mean_cross).astype(np.float32)
        filters, mean_product = filters.astype(np.float32), mean_product.astype(np.float32)

        rows, cols = _positions(self.image_shape_, self.patch_size)
        quadrants = 2 * (2 * rows > rows[-1]) + (2 * cols > cols[-1])
        bands = [slice(start, start + _BAND) for start in range(0, len(rows), _BAND)]
        n_threads = effective_n_threads(self.n_jobs)
        band = min(_BAND, len(rows))
        patches = np.empty((n_threads, band, n_dims), np.float32)
        products = np.empty((n_threads, band, n_dims + n_centroids), np.float32)
        distance = np.empty((n_threads, n_centroids), np.float32)

        def encode(batch, pooled_out, i, slot):
            for part in bands:
                r, c = rows[part], cols[part]
                patch, product = patches[slot, : len(r)], products[slot, : len(r)]
                normalize_patches(
                    batch[i], width, channels, r, c, self.patch_size, np.float32(self.contrast_eps), patch
                )
                np.dot(patch, filters, out=product)
                pool_triangles(product, mean_product, offset, quadrants[part], distance[slot], pooled_out[i])

        # The centroids are learned without mirrored patches: with them accuracy on CIFAR-10 was no better.
        views = [images, images[:, :, ::-1]] if self.mirror else [images]
        features = np.zeros((len(images), 4, n_centroids), np.float32)
        progress = Progress("PatchKMeans: images", len(images), self.verbose)
        for chunk in batches(len(images), self.n_features_in_, largest=256):
            pooled = features[chunk]
            for view in views:
                batch = as_float32(view[chunk]).reshape(-1, self.n_features_in_)
                run_tasks(partial(encode, batch, pooled), len(batch), n_threads)
            pooled /= len(views)
            progress(chunk.stop)
        return features.reshape(len(images), -1)

    def _sample_patches(self, images, random_state):
        """Draw patches, each position of each image at most once, and normalise them: (n_patches, d) float32."""
        shape = images.shape[1:]
        _, width, channels = shape
        n_pixels = prod(shape)
        rows, cols = _positions(shape, self.patch_size)
        n_patches = min(self.n_patches, len(images) * len(rows))
        drawn = sample_without_replacement(len(images) * len(rows), n_patches, random_state=random_state)
        drawn.sort()  # so that each image is read once
        image, position = np.divmod(drawn, len(rows))
        edges = np.searchsorted(image, np.arange(len(images) + 1))

        patches = np.empty((n_patches, self.patch_size * self.patch_size * channels), np.float32)
        for chunk in batches(len(images), n_pixels):
            batch = as_float32(images[chunk]).reshape(-1, n_pixels)
            for i, pixels in enumerate(batch, chunk.start):
                own = slice(edges[i], edges[i + 1])
                normalize_patches(
                    pixels,
                    width,
                    channels,
                    rows[position[own]],
                    cols[position[own]],
                    self.patch_size,
                    np.float32(self.contrast_eps),
                    patches[own],
                )
        return patches

    def get_feature_names_out(self, input_features=None):
        """Names ``patchkmeans_<row of the quarter>_<its column>_<centroid>``.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        names : ndarray of shape (4 * n_centroids,), object
        """
        check_is_fitted(self)
        return np.array(
            [f"patchkmeans_{r}_{c}_{j}" for r in range(2) for c in range(2) for j in range(len(self.centroids_))],
            dtype=object,
        )


def _positions(image_shape, patch_size):
    """Rows and columns of the upper left corners of all patches in an image."""
    height, width, _ = image_shape
    shape = (height - patch_size + 1, width - patch_size + 1)
    rows, cols = np.indices(shape, dtype=np.intp).reshape(2, -1)
    return rows, cols


def _whitening(patches, eps):
    """Mean (d,) and ZCA matrix V (D + eps)^(-1/2) V' (d, d) of patches, float32, with sums in float64."""
    mean = patches.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(patches), _BLOCK):
        block = patches[start : start + _BLOCK] - mean
        covariance += block.T @ block
    variances, directions = np.linalg.eigh(covariance / max(len(patches) - 1, 1))
    whitening = (directions / np.sqrt(np.maximum(variances, 0) + eps)) @ directions.T
    return mean.astype(np.float32), whitening.astype(np.float32)
