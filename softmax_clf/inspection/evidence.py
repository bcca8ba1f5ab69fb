"""How much each feature adds to each score."""

import numpy as np
from sklearn.utils.validation import check_array

from ._drawing import (
    AGAINST,
    FOR,
    LETTER,
    bare,
    check_image_shape,
    color_bar,
    diverging,
    fit_labels,
    ink,
    many_axes,
    points_of,
    room_of,
    short,
    titles,
    to_images,
)
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
    TypeError, ValueError
        As of :func:`signed_distances`.

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


def _values(clf, linear, X):
    """Values of the features of one sample: the inputs themselves where steps have only scaled these."""
    inputs = getattr(clf, "feature_names_in_", None)
    as_given = linear.before is None or (inputs is not None and np.array_equal(inputs, linear.feature_names))
    values = X if as_given else linear.before.transform(X)
    return check_array(values, dtype=np.float64, accept_sparse="csr", input_name="X")[0]


class ContributionDisplay:
    """What speaks for and against the classes in one sample: bars for named features, heat maps for images.

    Names of features come with the values that the sample has, in the units in which it was given where the steps of a
    pipeline keep the names. Contributions are in nats: the probability of a class over that of another is the
    exponential of the difference of their scores.

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
    values : array-like of n_features float, default=None
        Those of the sample, to be drawn beside the names.
    sample_name : str, default=None
        What to call the sample.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, one for each class drawn
    figure_ : matplotlib Figure
    """

    def __init__(
        self,
        contributions,
        intercept,
        feature_names,
        names,
        *,
        image_shape=None,
        channels_first=False,
        values=None,
        sample_name=None,
    ):
        self.contributions = contributions
        self.intercept = intercept
        self.feature_names = feature_names
        self.names = names
        self.image_shape = image_shape
        self.channels_first = channels_first
        self.values = None if values is None else np.asarray(values)
        self.sample_name = sample_name

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
        sample_name=None,
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
        sample_name : str, default=None
            What to call the sample; None for its place in the index of a data frame.
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
        if sample_name is None and hasattr(X, "index") and hasattr(X, "iloc"):
            sample_name = f"row {X.index[0]}"
        display = cls(
            added[0],
            linear.intercept,
            names,
            outputs,
            image_shape=shape,
            channels_first=channels_first,
            values=_values(clf, linear, X),
            sample_name=sample_name,
        )
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
        if self.image_shape is None:
            labels, bars = self._labelled(chosen, max_features)
            beside = max(map(len, labels)) * LETTER * points_of("medium") / 72
            axes = many_axes(self, ax, len(chosen), (2.6, 1.2 + 0.27 * len(labels)), beside=beside)
            self._bars(axes, labels, bars)
        else:
            axes = many_axes(self, ax, len(chosen), (1.9, 2.6))
            self._heat_maps(axes, self.contributions[chosen])
        scores = self.contributions.sum(axis=1) + self.intercept
        predicted = scores > 0 if len(scores) == 1 else scores == scores.max()
        names = [short(self.names[k], 24 if len(chosen) > 1 else 40) for k in chosen]
        words = [
            f"{name}\nscore {scores[k]:.2f}" + (", predicted" if predicted[k] else "")
            for name, k in zip(names, chosen, strict=True)
        ]
        if self.image_shape is not None:  # which has no pixel for it; bars have one
            words = [f"{own}\nintercept {self.intercept[k]:+.2f}" for own, k in zip(words, chosen, strict=True)]
        titles(axes, words, chosen=np.flatnonzero(predicted[chosen]))
        return self

    def _what(self):
        return "adds to the score (nats)" + (f"\nof {self.sample_name}" if self.sample_name else "")

    def _labelled(self, chosen, max_features):
        """Labels, and what each of the chosen outputs has beside them: an array (len(chosen), len(labels))."""
        added, intercept = self.contributions[chosen], self.intercept[chosen]
        # The same features in the same order for all classes, so that bars can be compared along a line.
        order = np.argsort(-np.abs(added).max(axis=0), kind="stable")
        shown, others = order[:max_features], order[max_features:]
        names = list(map(short, self.feature_names[shown]))
        if self.values is not None:
            names = [f"{name} = {value:.4g}" for name, value in zip(names, self.values[shown], strict=True)]
        labels, bars = ["intercept", *names], np.column_stack([intercept, added[:, shown]])
        if len(others):
            labels.append(f"{len(others)} others")
            bars = np.column_stack([bars, added[:, others].sum(axis=1)])
        return labels, bars

    def _bars(self, axes, labels, bars):
        numbers = [[f"{width:+.2f}" for width in widths] for widths in bars]
        longest = [max(map(len, words)) for words in (labels, np.ravel(numbers))]
        for panel, widths, words in zip(axes, bars, numbers, strict=True):
            drawn = panel.barh(range(len(labels)), widths, color=np.where(widths > 0, FOR, AGAINST))
            panel.set_yticks(range(len(labels)), labels)
            panel.axvline(0, color=ink(), linewidth=0.8)
            panel.invert_yaxis()
            panel.set_xlabel(self._what())
            letters = fit_labels(panel, (2.4, 2.0))
            beside, within = np.multiply(longest, (points_of("medium"), points_of("x-small"))) * letters * LETTER
            panel.bar_label(drawn, words, padding=2, fontsize=points_of("x-small") * letters)
            panel.set_xlim(*_with_room(bars, within + 4, _width_in_points(panel, beside + 10)))
            panel.spines[["top", "right"]].set_visible(False)
            if panel is not axes[0] and panel.get_subplotspec() and not panel.get_subplotspec().is_first_col():
                panel.set_yticklabels([])

    def _heat_maps(self, axes, added):
        maps = to_images(added, self.image_shape, self.channels_first).sum(axis=3)
        limit = np.abs(maps).max() or 1.0
        for panel, heat in zip(axes, maps, strict=True):
            panel.imshow(heat, cmap=diverging(panel), vmin=-limit, vmax=limit)
            bare(panel)
        color_bar(self, axes, limit, self._what())


def _width_in_points(ax, beside):
    """Width of some axes in a row, with labels of some width before the first of them."""
    spec = ax.get_subplotspec()
    return room_of(ax)[0] * 72 - beside / (spec.get_gridspec().ncols if spec else 1) - 10


def _with_room(bars, label, width):
    """Ends of an axis that leave room for labels beside bars, of lengths in points, where there is."""
    low, high = min(float(bars.min()), 0.0), max(float(bars.max()), 0.0)
    share = min(label / max(width, 1), 0.35)
    margin = share * ((high - low) or 1.0) / (1 - share * ((low < 0) + (high > 0)))
    return low - margin * (low < 0), high + margin * (high > 0)
