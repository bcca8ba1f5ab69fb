"""A linear classifier slid over a feature map, as a 1 x 1 convolution: where in an image the evidence lies."""

import numpy as np
from sklearn.utils.validation import check_array

from ._drawing import bare, color_bar, diverging, faint, ink, many_axes, short, titles
from ._linear import choose, take_apart, with_names


def score_map(clf, maps, *, response_method="decision_function"):
    """Scores of the classes, or their probabilities, at every position of feature maps.

    A classifier of globally averaged features, slid over the map before the average. Scores being affine, their mean
    over positions is the score of the averaged features (class activation maps), so the map says where in the image
    that score comes from. The mean of the probabilities has no such meaning.

    Parameters
    ----------
    clf : fitted linear classifier, or pipeline that ends with one
        Fitted on pooled features (n_samples, n_features).
    maps : array-like of shape (n_samples, H, W, n_features)
        Features before pooling.
    response_method : {'decision_function', 'predict_proba'}, default='decision_function'

    Returns
    -------
    scores : ndarray of shape (n_samples, H, W, n_classes)
        (n_samples, H, W) for the scores of two classes: those of ``classes_[1]``.

    Raises
    ------
    TypeError
        If the classifier is not linear.
    ValueError
        If maps have another shape.

    References
    ----------
    B. Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.inspection import score_map
    >>> maps = np.random.default_rng(0).normal(size=(30, 4, 4, 5))
    >>> clf = SoftmaxRegressionClassifier().fit(maps.mean(axis=(1, 2)), np.arange(30) % 3)
    >>> scores = score_map(clf, maps)
    >>> scores.shape
    (30, 4, 4, 3)
    >>> bool(np.allclose(scores.mean(axis=(1, 2)), clf.decision_function(maps.mean(axis=(1, 2)))))
    True
    """
    take_apart(clf)  # refuses what is not linear
    if response_method not in ("decision_function", "predict_proba"):
        raise ValueError(
            f"Expected response_method 'decision_function' or 'predict_proba', got {response_method!r}. Remedy: choose "
            "one of these."
        )
    maps = check_array(maps, allow_nd=True, ensure_2d=False, dtype=[np.float64, np.float32], input_name="maps")
    expected = getattr(clf, "n_features_in_", maps.shape[-1])
    if maps.ndim != 4 or maps.shape[3] != expected:
        raise ValueError(
            f"Expected maps of shape (n_samples, H, W, {expected}), got {maps.shape}. Remedy: give maps[None] for a "
            "single map; move channels to the end; and leave a pooling step out of the pipeline, as in "
            "score_map(pipeline[1:], maps)."
        )
    response = getattr(clf, response_method)(with_names(clf, maps.reshape(-1, expected)))
    return response.reshape(*maps.shape[:3], *response.shape[1:])


class ScoreMapDisplay:
    """The scores of the classes at every position of a feature map, beside the image and with its outlines.

    Colours are scores and nothing else: the image has a panel of its own, the first, and lends the others its outlines,
    lines at half its range of brightness. Around the map, where there are no scores, it is grey. Scores are in nats:
    the probability of a class over that of another is the exponential of the difference of their scores.

    Parameters
    ----------
    scores : ndarray of shape (H, W, n_outputs)
        n_outputs is n_classes, or 1 for two classes.
    names : list of n_outputs str
    image : ndarray of shape (height, width) or (height, width, 3), default=None
        What the map was made of; of any size.
    extent : tuple (left, right, bottom, top), default=None
        Where the map lies on the image, in pixels as imshow counts them; None for all of the image.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, one for each class drawn, before them one for the image if there is one
    figure_ : matplotlib Figure

    See Also
    --------
    score_map : The numbers.
    """

    def __init__(self, scores, names, image=None, extent=None):
        self.scores = scores
        self.names = names
        self.image = image
        self.extent = extent

    @classmethod
    def from_estimator(cls, clf, feature_map, *, image=None, extent=None, class_names=None, ax=None, **options):
        """Compute the scores at every position of one map and draw them.

        Parameters
        ----------
        clf : fitted linear classifier, or pipeline that ends with one
        feature_map : array-like of shape (H, W, n_features)
        image : array-like of shape (height, width) or (height, width, 3), default=None
            What the map was made of.
        extent : tuple (left, right, bottom, top), default=None
            Where the map lies on the image, in pixels as imshow counts them. None for all of the image, as from a
            network that pads; patches of p pixels without padding leave a margin of (p - 1) / 2.
        class_names : list of n_classes str, default=None
            In the order of ``classes_``; None for the labels.
        ax : see :meth:`plot`
        **options : see :meth:`plot`

        Returns
        -------
        display : ScoreMapDisplay

        Raises
        ------
        TypeError
            If the classifier is not linear.
        ValueError
            If the map or the image has another shape.
        """
        feature_map = np.asarray(feature_map)
        if feature_map.ndim != 3:
            raise ValueError(
                f"Expected one feature_map of shape (H, W, n_features), got {feature_map.shape}. Remedy: give maps[i]."
            )
        if image is not None:
            image = np.asarray(image)
            if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
                raise ValueError(
                    f"Expected an image of shape (height, width) or (height, width, 3), got {image.shape}. Remedy: "
                    "reshape a row of pixels, and move channels to the end."
                )
        linear = take_apart(clf)
        scores = score_map(clf, feature_map[None])[0].reshape(*feature_map.shape[:2], -1)
        return cls(scores, linear.output_names(class_names), image, extent).plot(ax, **options)

    def plot(self, ax=None, *, classes=None, limit=None, n_cols=5, colorbar=True):
        """Draw one panel a class, all with the same scale.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One is divided into panels; None makes a figure.
        classes : list of str, default=None
            Names of the classes to draw; None for all.
        limit : float, default=None
            The score at the ends of the colour scale; None for the largest absolute value. Give one to compare
            displays.
        n_cols : int, default=5
            Most panels side by side.
        colorbar : bool, default=True
            Whether to draw the scale.

        Returns
        -------
        self
        """
        chosen = choose(self.names, classes)
        axes = many_axes(self, ax, len(chosen) + (self.image is not None), (1.9, 2.4), n_cols)
        limit = limit or np.abs(self.scores[:, :, chosen]).max() or 1.0
        height, width = self.scores.shape[:2] if self.image is None else self.image.shape[:2]
        whole = (-0.5, width - 0.5, height - 0.5, -0.5)
        if self.image is not None:
            axes[0].imshow(self.image, cmap="gray", extent=whole)
            bare(axes[0])
        for panel, k in zip(axes[-len(chosen) :], chosen, strict=True):
            heat = self.scores[:, :, k]
            panel.imshow(heat, cmap=diverging(panel), vmin=-limit, vmax=limit, extent=self.extent or whole)
            panel.set_facecolor(faint(panel, 0.15))  # around the map, where there is no score
            if self.image is not None:
                _outlines(panel, self.image)
            panel.set(xlim=whole[:2], ylim=whole[2:])
            bare(panel)
        words = [f"{short(self.names[k])}\nmean {self.scores[:, :, k].mean():.2f}" for k in chosen]
        titles(axes, words if self.image is None else ["image", *words])
        if colorbar:
            extend = "both" if np.abs(self.scores[:, :, chosen]).max() > limit else "neither"
            color_bar(self, axes, limit, "score at a position\n(nats)", extend=extend)
        return self


def _outlines(ax, image):
    """Lines at half the range of an image's brightness."""
    image = np.asarray(image, dtype=np.float64)
    grey = image if image.ndim == 2 else image @ [0.299, 0.587, 0.114]  # luma, Rec. ITU-R BT.601
    if np.ptp(grey):
        ax.contour(grey, levels=[(grey.min() + grey.max()) / 2], colors=[ink()], linewidths=0.8, alpha=0.7)
