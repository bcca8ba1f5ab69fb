"""Histograms of oriented gradients, by scikit-image."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from ..kernels.threads import effective_n_threads, run_tasks
from ._images import ImageTransformer, Progress, as_float32, batches


class HOG(ImageTransformer):
    """Histograms of oriented gradients of each image, computed by :func:`skimage.feature.hog`.

    Needs scikit-image. The options and the order of the features are those of scikit-image.

    Parameters
    ----------
    orientations : int, default=9
        Number of bins of gradient direction, over 180 degrees.
    pixels_per_cell : tuple (int, int), default=(8, 8)
        Height and width of a cell, in pixels.
    cells_per_block : tuple (int, int), default=(3, 3)
        Height and width of the blocks within which histograms are normalised, in cells.
    block_norm : {'L1', 'L1-sqrt', 'L2', 'L2-Hys'}, default='L2-Hys'
        How a block is normalised.
    transform_sqrt : bool, default=False
        Whether to take the square root of the pixels first; they must not be negative then.
    image_shape : tuple (H, W) or (H, W, C), default=None
        Shape of an image; needed where X comes as rows.
    channels_first : bool, default=False
        Whether pixels come plane by plane: rows laid out as (C, H, W), arrays as (n_samples, C, H, W).
    n_jobs : int, default=None
        Number of threads; None uses the cores that this process may use, or fewer where ``NUMBA_NUM_THREADS`` or
        ``OMP_NUM_THREADS`` say so; 1 is serial, -1 all cores.
    verbose : int, default=0
        Whether to print progress.

    Attributes
    ----------
    image_shape_ : tuple (H, W, C)
        Shape of an image.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names, if X was a data frame when fitted.

    References
    ----------
    N. Dalal and B. Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005.
    """

    def __init__(
        self,
        orientations=9,
        *,
        pixels_per_cell=(8, 8),
        cells_per_block=(3, 3),
        block_norm="L2-Hys",
        transform_sqrt=False,
        image_shape=None,
        channels_first=False,
        n_jobs=None,
        verbose=0,
    ):
        self.orientations = orientations
        self.pixels_per_cell = pixels_per_cell
        self.cells_per_block = cells_per_block
        self.block_norm = block_norm
        self.transform_sqrt = transform_sqrt
        self.image_shape = image_shape
        self.channels_first = channels_first
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X, y=None):
        """Remember the shape of an image.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W, C), (n_samples, H, W) or (n_samples, H*W*C)
            Images, or rows of pixels.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If scikit-image is not installed.
        ValueError
            If a parameter is out of range, or an image is smaller than a block.
        """
        _skimage_hog()
        check_scalar(self.orientations, "orientations", Integral, min_val=1)
        for name in ("pixels_per_cell", "cells_per_block"):
            sizes = getattr(self, name)
            if np.shape(sizes) != (2,) or not all(isinstance(size, Integral) and size > 0 for size in sizes):
                raise ValueError(
                    f"Expected {name} to be two positive integers, got {sizes!r}. Remedy: give height and width."
                )
        images = self._read_images(X)
        if min(self._n_blocks(images.shape[1:])) < 1:
            raise ValueError(
                f"Expected blocks that fit, but a block of cells_per_block={self.cells_per_block} cells of "
                f"pixels_per_cell={self.pixels_per_cell} pixels does not fit images of {images.shape[1:3]} pixels. "
                "Remedy: make cells or blocks smaller."
            )
        return self._set_fitted(X, images)

    def transform(self, X):
        """Compute the histograms.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in fit, in any of the forms that fit takes.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out), float32
            In the order (block row, block column, cell row, cell column, orientation).

        Raises
        ------
        ImportError
            If scikit-image is not installed.
        ValueError
            If the images have another shape than in fit.
        """
        hog = _skimage_hog()
        images = self._check_images(X)
        features = np.empty((len(images), len(self.get_feature_names_out())), np.float32)
        n_threads = effective_n_threads(self.n_jobs)
        progress = Progress("HOG: images", len(images), self.verbose)

        for rows in batches(len(images), self.n_features_in_, largest=1024):
            batch = as_float32(images[rows])
            features_out = features[rows]

            def describe(i, slot, batch=batch, features_out=features_out):
                features_out[i] = hog(
                    batch[i],
                    orientations=self.orientations,
                    pixels_per_cell=self.pixels_per_cell,
                    cells_per_block=self.cells_per_block,
                    block_norm=self.block_norm,
                    transform_sqrt=self.transform_sqrt,
                    channel_axis=-1,
                )

            run_tasks(describe, len(batch), n_threads)
            progress(rows.stop)
        return features

    def _n_blocks(self, shape):
        return tuple(
            size // cell - block + 1
            for size, cell, block in zip(shape, self.pixels_per_cell, self.cells_per_block, strict=False)
        )

    def get_feature_names_out(self, input_features=None):
        """Names ``hog_<block row>_<block column>_<cell row>_<cell column>_<orientation>``.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        names : ndarray of shape (n_features_out,), object
        """
        check_is_fitted(self)
        shape = (*self._n_blocks(self.image_shape_), *self.cells_per_block, self.orientations)
        return np.array(["_".join(("hog", *map(str, index))) for index in np.ndindex(*shape)], dtype=object)


def _skimage_hog():
    try:
        from skimage.feature import hog
    except ImportError as error:
        raise ImportError(
            "HOG expects scikit-image, which is not installed. Remedy: pip install scikit-image."
        ) from error
    return hog
