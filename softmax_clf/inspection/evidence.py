"""How much each feature adds to each score."""

import numpy as np
from sklearn.utils.validation import check_array

from ._drawing import DIVERGING, bare, check_image_shape, color_bar, many_axes, to_images
from ._linear import check_columns, check_feature_names, choose, take_apart


def contributions(clf, X, *, carry_back=False):
    """w_kj x_ij: what feature j of sample i adds to the score of class k.

    Parameters
    ----------
    clf : fitted linear classifier, or pipeline that ends with one
    X : array-like of shape (n_samples, n_inputs)
        As given to ``clf.predict``.
    carry_back : bool, default=False
        In a pipeline, whether the features are its inputs instead of what the classifier sees. False answers relative
        to what a scaler makes zero, usually the mean; True relative to an input of zero, and needs affine steps.

    Returns
    -------
    contributions : ndarray of shape (n_samples, n_classes, n_features), (n_samples, n_features) for two classes
        Its sum over features, plus the intercept, is ``clf.decision_function(X)``.

    Raises
    ------
    TypeError
        If the classifier is not linear.
    ValueError
        If X has another number of columns than in fit, or ``carry_back=True`` and a step is not affine.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.inspection import contributions
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SoftmaxRegressionClassifier().fit(X, y)
    >>> contributions(clf, X[:2]).shape
    (2, 3, 4)
    """
    added = _added(clf, take_apart(clf, carry_back=carry_back), X)
    return added[:, 0] if added.shape[1] == 1 else added


def _added(clf, linear, X):
    """Contributions (n_samples, n_outputs, n_features)."""
    check_columns(clf, X)
    features = X if linear.before is None else linear.before.transform(X)
    features = check_array(features, dtype=[np.float64, np.float32], input_name="X")
    return features[:, None, :] * linear.coef


class ContributionDisplay:
    """What speaks for and against the classes in one sample: bars for named features, heat maps for images.

    Parameters
    ----------
    contributions : ndarray of shape (n_outputs, n_features)
        n_outputs is n_classes, or 1 for two classes.
    intercept : ndarray of shape (n_outputs,)
    feature_names : array-like of n_features str
    names : list of n_outputs str
    image_shape : tuple (H, W, C), default=None
        Draws heat maps, of the sum over channels.
    channels_first : bool, default=False

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, one for each class drawn
    figure_ : matplotlib Figure
    """

    def __init__(self, contributions, intercept, feature_names, names, *, image_shape=None, channels_first=False):
        self.contributions = contributions
        self.intercept = intercept
        self.feature_names = feature_names
        self.names = names
        self.image_shape = image_shape
        self.channels_first = channels_first

    @classmethod
    def from_estimator(
        cls,
        clf,
        X,
        *,
        image_shape=None,
        channels_first=False,
        carry_back=None,
        feature_names=None,
        class_names=None,
        ax=None,
        **options,
    ):
        """Compute the contributions for one sample and draw them.

        Parameters
        ----------
        clf : fitted linear classifier or pipeline
        X : array-like of shape (1, n_inputs)
            One sample, as in ``X[[i]]`` or ``frame.iloc[[i]]``.
        image_shape : tuple (H, W) or (H, W, C), default=None
            Shape of the image whose pixels are the features; None for bars.
        channels_first : bool, default=False
            Whether pixels are stored plane by plane.
        carry_back : bool, default=None
            As in :func:`contributions`; None is True with ``image_shape`` where the classifier sees something else
            than pixels, as after PCA.
        feature_names : array-like of n_features str, default=None
            None for the names of the data frame or those that the pipeline's steps give.
        class_names : list of n_classes str, default=None
            In the order of ``classes_``; None for the labels.
        ax : see :meth:`plot`
        **options : see :meth:`plot`

        Returns
        -------
        display : ContributionDisplay

        Raises
        ------
        TypeError
            If the classifier is not linear.
        ValueError
            If X is not one sample as in fit, or a shape or a number of names does not fit.
        """
        linear = take_apart(clf, carry_back=bool(carry_back))
        if carry_back is None and image_shape is not None and np.prod(image_shape) != linear.coef.shape[1]:
            linear = take_apart(clf, carry_back=True)
        n_features = linear.coef.shape[1]
        shape = None if image_shape is None else check_image_shape(image_shape, n_features)
        added = _added(clf, linear, X)
        if len(added) != 1:
            raise ValueError(f"Expected one sample, X of shape (1, n_inputs), got {len(added)}. Remedy: give X[[i]].")
        names = check_feature_names(feature_names, linear.feature_names)
        outputs = linear.output_names(class_names)
        display = cls(added[0], linear.intercept, names, outputs, image_shape=shape, channels_first=channels_first)
        return display.plot(ax, **options)

    def plot(self, ax=None, *, classes=None, max_features=10):
        """Draw one panel a class, all with the same scale.

        Parameters
        ----------
        ax : Axes or array-like of Axes, default=None
            One is divided into panels; None makes a figure.
        classes : list of str, default=None
            Names of the classes to draw, as the panels have them; None for all.
        max_features : int, default=10
            Bars: the features of the largest contributions are shown, the others summed up.

        Returns
        -------
        self
        """
        chosen = choose(self.names, classes)
        panel_size = (2.6, 0.7 + 0.27 * (max_features + 2)) if self.image_shape is None else (1.9, 2.2)
        axes = many_axes(self, ax, len(chosen), panel_size)
        added = self.contributions[chosen]
        (self._bars if self.image_shape is None else self._heat_maps)(axes, added, self.intercept[chosen], max_features)
        for panel, k in zip(axes, chosen, strict=True):
            score = self.contributions[k].sum() + self.intercept[k]
            panel.set_title(f"{self.names[k]}: score {score:.2f}", fontsize="medium")
        return self

    def _bars(self, axes, added, intercept, max_features):
        # The same features in the same order for all classes, so that bars can be compared along a line.
        order = np.argsort(-np.abs(added).max(axis=0), kind="stable")
        shown, others = order[:max_features], order[max_features:]
        labels, bars = ["intercept", *self.feature_names[shown]], np.column_stack([intercept, added[:, shown]])
        if len(others):
            labels.append(f"{len(others)} others")
            bars = np.column_stack([bars, added[:, others].sum(axis=1)])
        low, high = min(bars.min(), 0), max(bars.max(), 0)
        margin = 0.05 * ((high - low) or 1.0)
        for panel, widths in zip(axes, bars, strict=True):
            panel.barh(labels, widths, color=np.where(widths > 0, "#B2182B", "#2166AC"))  # the ends of the heat maps
            panel.axvline(0, color="black", linewidth=0.8)
            panel.set_xlim(low - margin, high + margin)
            panel.invert_yaxis()
            panel.set_xlabel("adds to the score")
            panel.spines[["top", "right"]].set_visible(False)
            if panel is not axes[0] and panel.get_subplotspec() and not panel.get_subplotspec().is_first_col():
                panel.set_yticklabels([])

    def _heat_maps(self, axes, added, intercept, max_features):
        maps = to_images(added, self.image_shape, self.channels_first).sum(axis=3)
        limit = np.abs(maps).max() or 1.0
        for panel, heat in zip(axes, maps, strict=True):
            panel.imshow(heat, cmap=DIVERGING, vmin=-limit, vmax=limit)
            bare(panel)
        color_bar(self, axes, limit, "adds to the score")
