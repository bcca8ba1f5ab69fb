"""What the image transformers share: the shapes they take, one view of them, batches and progress."""

import time
from collections.abc import Iterator
from math import prod

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ..documentation import Documented
from ..sklearn_private import check_column_names, get_feature_names

# Pixels converted to float32 at a time: 16 MB, which the caches and the smallest machine can bear.
_BATCH_PIXELS = 4 * 2**20


def check_numeric(estimator, X, **check_params):
    """Return X as a finite ndarray of two or more dimensions, without a copy where it is one already."""
    check_params.update(allow_nd=True, estimator=estimator, input_name="X")
    try:
        X = check_array(X, ensure_2d=False, **check_params)
    except ValueError as error:
        raise _unusable(X) or error from None
    return X if X.ndim > 1 else check_array(X, **check_params)  # which raises scikit-learn's own error


def _unusable(X):
    """The error for text, or for pixels that are no numbers, with the image they are in; None for other troubles."""
    dtype = getattr(X, "dtype", None)
    kind = getattr(dtype, "kind", "")
    if kind and kind in "US":
        return ValueError(
            f"Expected pixels as numbers, got an array of text, dtype {dtype}. Remedy: read the images, as "
            "matplotlib.pyplot.imread does, or convert the text by X.astype(float)."
        )
    if kind != "f" or not isinstance(X, np.ndarray) or np.isfinite(X).all():
        return None
    place = tuple(np.argwhere(~np.isfinite(X))[0].tolist())
    found = "NaN" if np.isnan(X[place]) else "infinity"
    return ValueError(
        f"Expected finite pixels, but input X contains {found} in image {place[0]}, at {place[1:]}. Remedy: leave out "
        "such images, or give these pixels a value."
    )


def batches(n_images, image_pixels, largest=None) -> Iterator[slice]:
    """Cut n_images into slices that hold at most ``_BATCH_PIXELS`` pixels (and ``largest`` images) each."""
    step = max(1, _BATCH_PIXELS // image_pixels)
    if largest is not None:
        step = min(step, largest)
    for start in range(0, n_images, step):
        yield slice(start, min(start + step, n_images))


def as_float32(images):
    """Return (n, H, W, C) images as a C-contiguous float32 array."""
    return np.ascontiguousarray(images, dtype=np.float32)


class Progress:
    """Print how far a long loop has come, every few seconds, if verbose."""

    _INTERVAL = 5.0  # seconds between two lines

    def __init__(self, what, total, verbose):
        self.what, self.total, self.verbose = what, total, verbose
        self.start = self.last = time.perf_counter()

    def __call__(self, done, note=""):
        now = time.perf_counter()
        if not self.verbose or (done < self.total and now - self.last < self._INTERVAL):
            return
        self.last = now
        spent = now - self.start
        left = spent * (self.total - done) / max(done, 1)
        print(f"[{self.what}] {done} of {self.total}{note}, {spent:.0f} s, about {left:.0f} s left", flush=True)


class ImageTransformer(Documented, TransformerMixin, BaseEstimator):
    """Base of the transformers that need to know where the rows, columns and channels of an image are.

    Subclasses have the parameters ``image_shape`` and ``channels_first`` and get the fitted attributes
    ``image_shape_`` (H, W, C), ``n_features_in_`` (H*W*C) and, for data frames, ``feature_names_in_``.
    """

    def _read_images(self, X):
        """Check X to be fitted on, and return it as a view (n, H, W, C)."""
        get_feature_names(X)  # refuses mixed ones, before long work
        X = check_numeric(self, X)
        return self._view(X, self._find_shape(X.shape))

    def _set_fitted(self, X, images, **learned):
        """Set all fitted attributes: the last thing that fit does, so that one that fails leaves them as they were."""
        check_column_names(self, X, reset=True)
        self.image_shape_ = images.shape[1:]
        self.n_features_in_ = prod(self.image_shape_)
        vars(self).update(learned)
        return self

    def _check_images(self, X):
        """Check X against what was fitted, and return it as a view (n, H, W, C)."""
        check_is_fitted(self)
        check_column_names(self, X, reset=False)
        X = check_numeric(self, X)
        if X.ndim == 2 and X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                f"as input: the pixels of images of shape {self.image_shape_}. Remedy: give images of that shape."
            )
        if X.ndim != 2 and self._array_shape(X.shape) != self.image_shape_:
            raise ValueError(
                f"{type(self).__name__} was fitted on images of shape (H, W, C) = {self.image_shape_}, "
                f"but X holds images of shape {self._array_shape(X.shape)}. Remedy: give images of that shape."
            )
        return self._view(X, self.image_shape_)

    def _find_shape(self, shape):
        """(H, W, C) of the images in an array of this shape, from ``image_shape`` where that is given."""
        if self.image_shape is None:
            if len(shape) == 2:
                raise ValueError(
                    f"Expected image_shape for rows of {shape[1]} pixels, got None. Remedy: give "
                    "image_shape=(H, W) or (H, W, C), or pass X as an array (n_samples, H, W, C)."
                )
            return self._array_shape(shape)
        expected = tuple(int(size) for size in self.image_shape)
        if len(expected) not in (2, 3) or min(expected) < 1:
            raise ValueError(
                f"Expected image_shape to be (H, W) or (H, W, C), all positive, got {self.image_shape!r}. Remedy: give "
                "the height, the width and the channels of the images."
            )
        expected = (*expected, 1)[:3]
        if len(shape) == 2 and shape[1] != prod(expected):
            raise ValueError(
                f"image_shape={self.image_shape!r} makes {prod(expected)} pixels a row, but X has {shape[1]} columns. "
                "Remedy: give the shape of the images in X."
            )
        if len(shape) != 2 and self._array_shape(shape) != expected:
            raise ValueError(
                f"image_shape={self.image_shape!r}, but X of shape {shape} holds images of shape "
                f"(H, W, C) = {self._array_shape(shape)} (channels_first={self.channels_first}). Remedy: leave "
                "image_shape out for images that are not flattened, or turn channels_first around."
            )
        return expected

    def _array_shape(self, shape):
        """(H, W, C) of the images in a 3-d or 4-d array."""
        if len(shape) not in (3, 4):
            raise ValueError(
                "Expected images (n_samples, H, W, C) or (n_samples, H, W), or rows (n_samples, H*W*C), got an array "
                f"of shape {shape}. Remedy: give X[None] for a single image."
            )
        if len(shape) == 3:
            return (*shape[1:], 1)
        return (*shape[2:], shape[1]) if self.channels_first else shape[1:]

    def _view(self, X, shape):
        height, width, channels = shape
        if self.channels_first:
            return X.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        return X.reshape(-1, height, width, channels)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
