"""Do probabilities mean what they say? Of what is predicted with 80 %, 80 % should come true."""

from numbers import Integral

import numpy as np
from scipy.stats import chi2
from sklearn.utils.validation import check_array, column_or_1d

from ._drawing import (
    color,
    faint,
    fit_labels,
    fitted,
    ink,
    legend_below,
    letters_color,
    many_axes,
    marker,
    one_axes,
    points_of,
    short,
    titles,
)
from ._labels import label_artist
from ._linear import check_class_names, n_columns

_KINDS = ("top_label", "per_class")
_NOTE = "these look like the rows that were fitted: no test"
_STRATEGIES = ("uniform", "quantile")
_INTERVAL = "each point: 95 % interval"
_SMALLEST = 6.0  # points, of numbers beside points


def expected_calibration_error(y, proba, *, classes=None, n_bins=10, strategy="uniform", kind="top_label"):
    """Mean gap between how probable predictions are said to be and how often they come true.

    Predictions are put into bins by their probability p; with o the outcomes, 0 or 1, ::

        ECE = sum over bins B of |B| / n_samples * |mean of o in B - mean of p in B|.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels.
    proba : array-like of shape (n_samples, n_classes)
        Predicted probabilities.
    classes : array-like of shape (n_classes,), default=None
        Labels in the order of the columns, as ``classes_``; None for the sorted labels in y.
    n_bins : int or 'cube_root', default=10
        How many; 'cube_root' is that of the number of samples, rounded up, as in scikit-learn.
    strategy : {'uniform', 'quantile'}, default='uniform'
        Bins of equal width, (0, 1/n_bins], (1/n_bins, 2/n_bins] ..., zero belonging to the first; or of about as many
        predictions each, fewer bins where many predictions are equal.
    kind : {'top_label', 'per_class'}, default='top_label'
        The probability of the predicted class, come true if it is the label; or that of each class by itself, whose
        mean over classes is known as the classwise or static calibration error.

    Returns
    -------
    error : float, or ndarray of shape (n_classes,) for 'per_class'

    Raises
    ------
    ValueError
        If shapes do not fit, proba holds no probabilities, or y holds a label that is not in classes.

    References
    ----------
    C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017 (top label).
    M. Kull et al., Beyond temperature scaling, NeurIPS 2019 (per class).

    Examples
    --------
    >>> from softmax_clf.inspection import expected_calibration_error
    >>> proba = [[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25]]
    >>> expected_calibration_error([0, 0, 0, 1], proba)
    0.0
    >>> expected_calibration_error([0, 0, 1, 1], proba)
    0.25
    """
    _, curves = _curves(y, proba, classes, n_bins, strategy, kind)
    errors = np.array([_error(*curve) for curve in curves])
    return float(errors[0]) if kind == "top_label" else errors


def _curves(y, proba, classes, n_bins, strategy, kind):
    """Classes, and for each curve its bins that are not empty: mean p, share that came true, number of predictions."""
    if kind not in _KINDS:
        raise ValueError(f"Expected kind 'top_label' or 'per_class', got {kind!r}. Remedy: choose one of these.")
    if strategy not in _STRATEGIES:
        raise ValueError(f"Expected strategy 'uniform' or 'quantile', got {strategy!r}. Remedy: choose one of these.")
    if n_bins != "cube_root" and (not isinstance(n_bins, Integral) or n_bins < 1):
        raise ValueError(
            f"Expected n_bins, an integer of at least 1 or 'cube_root', got {n_bins!r}. Remedy: 10 is usual."
        )
    y = column_or_1d(y)
    n_classes = n_columns(proba)
    proba = check_array(proba, dtype=np.float64, input_name="proba")
    if len(y) != len(proba):
        raise ValueError(
            f"Expected a row of proba for each of the {len(y)} labels in y, got {len(proba)}. Remedy: give both of the "
            "same samples."
        )
    if proba.min() < 0 or np.abs(proba.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError(
            "Expected rows of proba that are non-negative and sum to one, got others. Remedy: give what predict_proba "
            "returns, not scores."
        )
    classes = np.unique(y) if classes is None else np.asarray(classes)
    if len(classes) != n_classes:
        raise ValueError(
            f"Expected classes with one label for each of the {n_classes} columns of proba, got {len(classes)}. "
            "Remedy: give classes=clf.classes_."
        )
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"Expected labels among {classes!r}, got also {unknown[:5]!r}. Remedy: leave out those rows.")
    n_bins = int(np.ceil(len(y) ** (1 / 3))) if n_bins == "cube_root" else n_bins
    if kind == "top_label":
        best = proba.argmax(axis=1)
        return classes, [_bins(proba[np.arange(len(y)), best], classes[best] == y, n_bins, strategy)]
    return classes, [_bins(proba[:, k], classes[k] == y, n_bins, strategy) for k in range(n_classes)]


def _bins(predicted, came_true, n_bins, strategy):
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    place = np.searchsorted(np.quantile(predicted, edges) if strategy == "quantile" else edges, predicted)
    count = np.bincount(place, minlength=n_bins)
    used = count > 0
    sums = [np.bincount(place, weights=values, minlength=n_bins)[used] for values in (predicted, came_true)]
    return sums[0] / count[used], sums[1] / count[used], count[used]


def _error(mean_predicted, share_true, count):
    return np.sum(count * np.abs(share_true - mean_predicted)) / count.sum()


def _wilson(share, count):
    """Ends of the interval that holds the true share with a confidence of 95 %.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927.
    """
    z2 = 1.959964**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return np.minimum(center - half, share), np.maximum(center + half, share)


def _seem_fitted(y, proba, classes):
    """Whether rows are likely to be those of the fit.

    There the gradient for the intercepts is zero: probabilities add up to the number of labels, for each class. On
    other rows they miss it by about the root of the sum of the squared errors, so that the sum over classes of what is
    missed is as a chi-squared one; this is as small by chance once in a thousand.
    """
    error = proba - (np.asarray(y)[:, None] == classes)
    missed, size = error.sum(axis=0) ** 2, np.square(error).sum(axis=0)
    n_free = len(classes) - 1
    score = np.sum(missed / np.where(size > 0, size, 1.0)) * n_free / len(classes)
    return bool(size.any() and chi2.cdf(score, n_free) < 1e-3)


class ReliabilityDisplay:
    """How often predictions come true, against how probable they are said to be; the diagonal is perfect.

    Below the diagonal a classifier is overconfident, above it underconfident. Each bin has the interval (Wilson's, of
    95 %) in which the share that comes true would be found on more predictions: where the diagonal runs through it,
    nothing speaks against the probabilities. The number of predictions stands beside each point, where there is room,
    or below where it is the same for all. The predicted class makes one curve, each class by itself a panel.

    Parameters
    ----------
    curves : list of tuple (mean_predicted, share_true, count)
        Arrays over the bins that are not empty: one curve for the top label, or one for each class.
    names : list of str
        What to call the curves.
    kind : {'top_label', 'per_class'}, default='top_label'
    seem_fitted : bool, default=False
        Whether to note that the rows look like those that were fitted.

    Attributes
    ----------
    errors : ndarray of shape (n_curves,)
        Expected calibration error of each curve.
    ax_ : matplotlib Axes, or ndarray of n_classes of them for 'per_class'
    figure_ : matplotlib Figure

    See Also
    --------
    expected_calibration_error : The same as a number.
    """

    def __init__(self, curves, names, kind="top_label", seem_fitted=False):
        self.curves = curves
        self.names = names
        self.kind = kind
        self.seem_fitted = seem_fitted
        self.errors = np.array([_error(*curve) for curve in curves])

    @classmethod
    def from_estimator(
        cls,
        clf,
        X,
        y,
        *,
        n_bins=10,
        strategy="uniform",
        kind="top_label",
        name=None,
        class_names=None,
        ax=None,
        **options,
    ):
        """Let a classifier predict the probabilities, and draw how reliable they are.

        Parameters
        ----------
        clf : any fitted classifier with predict_proba
        X : array-like of shape (n_samples, n_inputs)
            Not the samples that it was fitted on, which it knows too well: where they look like these, a note says so.
        y : array-like of shape (n_samples,)
            Labels.
        n_bins : int or 'cube_root', default=10
            How many bins, as in :func:`expected_calibration_error`.
        strategy : {'uniform', 'quantile'}, default='uniform'
            Bins of equal width, or of about as many predictions each.
        kind : {'top_label', 'per_class'}, default='top_label'
            Whether to draw one curve for the predicted class, or a panel for each class.
        name : str, default=None
            What to call the top label's curve; None for the name of the classifier's type.
        class_names : list of n_classes str, default=None
            In the order of ``classes_``; None for the labels.
        ax : see :meth:`plot`
        **options : see :meth:`plot`

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        TypeError
            If the classifier predicts no probabilities.
        ValueError
            As in :func:`expected_calibration_error`.
        """
        if not hasattr(clf, "predict_proba"):
            raise TypeError(
                f"Expected a classifier with predict_proba, but {type(clf).__name__} has none. Remedy: wrap it in "
                "CalibratedClassifierCV."
            )
        name = type(clf).__name__ if name is None else name
        kept = {"n_bins": n_bins, "strategy": strategy, "kind": kind, "name": name, "class_names": class_names}
        return cls.from_predictions(y, clf.predict_proba(X), classes=clf.classes_, ax=ax, **kept, **options)

    @classmethod
    def from_predictions(
        cls,
        y,
        proba,
        *,
        classes=None,
        n_bins=10,
        strategy="uniform",
        kind="top_label",
        name=None,
        class_names=None,
        ax=None,
        **options,
    ):
        """Draw how reliable predicted probabilities are.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
        proba : array-like of shape (n_samples, n_classes)
        classes : array-like of shape (n_classes,), default=None
            Labels in the order of the columns; None for the sorted labels in y.
        n_bins, strategy, kind, name, class_names, ax, **options : see :meth:`from_estimator`

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        ValueError
            As in :func:`expected_calibration_error`.
        """
        classes, curves = _curves(y, proba, classes, n_bins, strategy, kind)
        names = ["predictions" if name is None else name]
        if kind == "per_class":
            names = check_class_names(class_names, classes)
        seem_fitted = _seem_fitted(column_or_1d(y), np.asarray(proba, dtype=np.float64), classes)
        return cls(curves, names, kind, seem_fitted).plot(ax, **options)

    def plot(self, ax=None, *, counts=True, legend=True):
        """Draw the curves; on axes that have some already, in further colours.

        Parameters
        ----------
        ax : Axes or, for 'per_class', array-like of Axes, default=None
            None makes a figure; for 'per_class' one is divided into panels.
        counts : bool, default=True
            Whether to say how many predictions each point stands for.
        legend : bool, default=True

        Returns
        -------
        self
        """
        numbers = counts and not self._even_count()
        if self.kind == "top_label":
            aspect = "equal" if ax is None else "auto"  # in a row of axes a fixed shape would leave no room
            axes = [one_axes(self, ax, figsize=(5.2, 5.4))]
            label = f"{self.names[0]}: error of the predicted class (ECE) {self.errors[0]:.3f}"
            label += f", {self._even_count()} each point" if counts and self._even_count() else ""
            axes[0].set(xlabel="probability of the predicted class", ylabel="share that came true")
        else:
            aspect, label = "auto", None
            axes = many_axes(self, ax, len(self.curves), (2.2, 2.4), 5)
            both = zip(self.names, self.errors, strict=True)
            titles(axes, [f"{short(name)}\nerror of the class {error:.3f}" for name, error in both], "small")
            about = f"{_INTERVAL}, {self._even_count()}" if counts and self._even_count() else _about_points(numbers)
            note = f"\n{about}" + (f"\n{_NOTE}" if self.seem_fitted else "")
            width, height = 0.9 * self.figure_.bbox.size / self.figure_.dpi
            for words, room, write in (
                (f"probability of the class{note}", width, self.figure_.supxlabel),
                ("share of the rows that belong to it", height, self.figure_.supylabel),
            ):
                text, letters = fitted(words, room, "medium")
                write(text, fontsize=letters)
        n_before = sum(line.get_gid() == "reliability" for line in axes[0].lines)
        for panel, curve in zip(axes, self.curves, strict=True):
            if n_before == 0:
                panel.plot([0, 1], [0, 1], color=faint(panel, 0.6), linestyle=":", label="perfectly calibrated")
            self._draw(panel, curve, n_before, label, numbers)
            panel.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect=aspect)
            if self.kind == "top_label":
                notes = [_about_points(numbers)] * (n_before == 0) + [_NOTE] * self.seem_fitted
                for note in notes:
                    panel.plot([], [], linestyle="none", label=note)
            fit_labels(panel, (4.0, 3.0) if self.kind == "top_label" else (2.4, 2.4))
        if legend and self.kind == "top_label":
            legend_below(axes[0])
        return self

    def _even_count(self):
        """How many predictions there are in a bin, in words; empty where bins differ by more than one."""
        counts = np.concatenate([count for _, _, count in self.curves])
        least, most = counts.min(), counts.max()
        if most - least > 1:
            return ""
        return f"{most} predictions" if most == least else f"{least} or {most} predictions"

    def _draw(self, ax, curve, k, label, numbers):
        """A curve with the interval of each point and, where there is room, its number of predictions."""
        mean_predicted, share_true, count = curve
        low, high = _wilson(share_true, count)
        ax.plot(mean_predicted, share_true, color=color(k), linewidth=1.0, alpha=0.6, gid="reliability")
        ax.errorbar(
            *(mean_predicted, share_true),
            yerr=np.abs([share_true - low, high - share_true]),
            fmt=marker(k),
            markersize=5,
            color=color(k),
            markeredgecolor=ink(),
            markeredgewidth=0.4,
            elinewidth=1.2,
            capsize=2,
            zorder=3,
            label=label,
        )
        if numbers:
            # one for all curves of the axes, so that it keeps their numbers apart
            labels = next((artist for artist in ax.artists if artist.get_gid() == "counts"), None)
            if labels is None:
                labels = label_artist(ax, points_of("small"), _SMALLEST)
                labels.set_gid("counts")
            shade = letters_color(color(k))
            for x, share, n in zip(mean_predicted, share_true, count, strict=True):
                labels.add(labels.text(str(n), color=shade), _around(ax, x, share))


def _about_points(numbers):
    return _INTERVAL + (", number of predictions" if numbers else "")


def _around(ax, x, y):
    """Candidates for the label of a point: beside it, within its interval's width first."""

    def candidates(width, height, point):
        at = ax.transData.transform([x, y])
        for far in (1.0, 1.8, 2.6, 3.4):
            for dx, dy in ((1, -0.7), (1, 0.7), (-1, 0.7), (-1, -0.7), (1, 0), (-1, 0)):
                yield (*(at + (dx * (width / 2 + 5 * point), dy * far * (height / 2 + 2 * point))), 0.0)

    return candidates
