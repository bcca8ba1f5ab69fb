"""The two transformers that only rearrange or average pixels."""

from itertools import product
from math import prod

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..documentation import Documented
from ..sklearn_private import check_column_names, check_feature_names_in
from ._images import ImageTransformer, batches, check_numeric


class Flatten(Documented, TransformerMixin, BaseEstimator):
    """Make each sample one row of float32 features, in the order in which its values lie.

    Attributes
    ----------
    sample_shape_ : tuple of int
        Shape of one sample.
    n_features_in_ : int
        Number of values in one sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names, if X was a data frame when fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_clf.features import Flatten
    >>> Flatten().fit_transform(np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    array([[0., 1., 2., 3.],
           [4., 5., 6., 7.]], dtype=float32)
    """

    def fit(self, X, y=None):
        """Remember the shape of a sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Two or more dimensions.
        y : ignored

        Returns
        -------
        self
        """
        rows = check_numeric(self, X)
        check_column_names(self, X, reset=True)
        self.sample_shape_ = rows.shape[1:]
        self.n_features_in_ = prod(self.sample_shape_)
        return self

    def transform(self, X):
        """Return X as rows; a view of it where X is float32 and contiguous.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Samples of the shape seen in fit.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features), float32

        Raises
        ------
        ValueError
            If the samples have another shape than in fit.
        """
        check_is_fitted(self)
        check_column_names(self, X, reset=False)
        X = check_numeric(self, X, dtype=np.float32)
        if X.shape[1:] != self.sample_shape_:
            raise ValueError(
                f"X has {prod(X.shape[1:])} features, but Flatten is expecting {self.n_features_in_} features as "
                f"input: samples of shape {self.sample_shape_}, and got {X.shape[1:]}. Remedy: give samples of that "
                "shape."
            )
        return X.reshape(len(X), -1)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns: those of the input where it has columns, else ``pixel_<index>_<index>...``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input's columns.

        Returns
        -------
        names : ndarray of shape (n_features,), object
        """
        check_is_fitted(self)
        if len(self.sample_shape_) == 1 or input_features is not None:
            return check_feature_names_in(self, input_features)
        indices = product(*map(range, self.sample_shape_))
        return np.array(["_".join(("pixel", *map(str, index))) for index in indices], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class GlobalAveragePooling(ImageTransformer):
    """Average each channel of an image, or of a feature map, over all positions.

    The layer between the last feature map of a convolutional network and its linear classifier.

    Parameters
    ----------
    image_shape : tuple (H, W) or (H, W, C), default=None
        Shape of an image; needed where X comes as rows.
    channels_first : bool, default=False
        Whether pixels come plane by plane: rows laid out as (C, H, W), arrays as (n_samples, C, H, W).

    Attributes
    ----------
    image_shape_ : tuple (H, W, C)
        Shape of an image.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (n_features,)
        Column names, if X was a data frame when fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_clf.features import GlobalAveragePooling
    >>> maps = np.arange(8).reshape(1, 2, 2, 2)
    >>> GlobalAveragePooling().fit_transform(maps)
    array([[3., 4.]], dtype=float32)
    """

    def __init__(self, *, image_shape=None, channels_first=False):
        self.image_shape = image_shape
        self.channels_first = channels_first

    def fit(self, X, y=None):
        """Remember the shape of an image.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W, C), (n_samples, H, W) or (n_samples, H*W*C)
            Images, maps, or rows of either.
        y : ignored

        Returns
        -------
        self
        """
        return self._set_fitted(X, self._read_images(X))

    def transform(self, X):
        """Average over positions, with sums in float64.

        Parameters
        ----------
        X : array-like
            Images of the shape seen in fit, in any of the forms that fit takes.

        Returns
        -------
        means : ndarray of shape (n_samples, C), float32

        Raises
        ------
        ValueError
            If the images have another shape than in fit.
        """
        images = self._check_images(X)
        means = np.empty((len(images), self.image_shape_[2]), np.float32)
        for rows in batches(len(images), self.n_features_in_):
            means[rows] = images[rows].mean(axis=(1, 2), dtype=np.float64)
        return means

    def get_feature_names_out(self, input_features=None):
        """Names of the columns: ``channel_0``, ``channel_1``, ...

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        names : ndarray of shape (C,), object
        """
        check_is_fitted(self)
        return np.array([f"channel_{c}" for c in range(self.image_shape_[2])], dtype=object)
