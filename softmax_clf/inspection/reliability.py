"""Do probabilities mean what they say? Of what is predicted with 80 %, 80 % should come true."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_array, column_or_1d

from ._drawing import color, marker, one_axes
from ._linear import check_class_names, n_columns

_KINDS = ("top_label", "per_class")


def expected_calibration_error(y, proba, *, classes=None, n_bins=10, kind="top_label"):
    """Mean gap between how probable predictions are said to be and how often they come true.

    Predictions are put into bins of equal width by their probability p; with o the outcomes, 0 or 1,

        ECE = sum over bins B of |B| / n_samples * |mean of o in B - mean of p in B|.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels.
    proba : array-like of shape (n_samples, n_classes)
        Predicted probabilities.
    classes : array-like of shape (n_classes,), default=None
        Labels in the order of the columns, as ``classes_``; None for the sorted labels in y.
    n_bins : int, default=10
        Bins (0, 1/n_bins], (1/n_bins, 2/n_bins] ...; zero belongs to the first.
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
    _, curves = _curves(y, proba, classes, n_bins, kind)
    errors = np.array([_error(*curve) for curve in curves])
    return float(errors[0]) if kind == "top_label" else errors


def _curves(y, proba, classes, n_bins, kind):
    """Classes, and for each curve its bins that are not empty: mean p, share that came true, number of predictions."""
    if kind not in _KINDS:
        raise ValueError(f"Expected kind 'top_label' or 'per_class', got {kind!r}. Remedy: choose one of these.")
    if not isinstance(n_bins, Integral) or n_bins < 1:
        raise ValueError(f"Expected n_bins, an integer of at least 1, got {n_bins!r}. Remedy: 10 is usual.")
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
    if kind == "top_label":
        best = proba.argmax(axis=1)
        return classes, [_bins(proba[np.arange(len(y)), best], classes[best] == y, n_bins)]
    return classes, [_bins(proba[:, k], classes[k] == y, n_bins) for k in range(n_classes)]


def _bins(predicted, came_true, n_bins):
    place = np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], predicted)
    count = np.bincount(place, minlength=n_bins)
    used = count > 0
    sums = [np.bincount(place, weights=values, minlength=n_bins)[used] for values in (predicted, came_true)]
    return sums[0] / count[used], sums[1] / count[used], count[used]


def _error(mean_predicted, share_true, count):
    return np.sum(count * np.abs(share_true - mean_predicted)) / count.sum()


class ReliabilityDisplay:
    """How often predictions come true, against how probable they are said to be; the diagonal is perfect.

    Below the diagonal a classifier is overconfident, above it underconfident. The area of a marker grows with the
    share of predictions in its bin.

    Parameters
    ----------
    curves : list of tuple (mean_predicted, share_true, count)
        Arrays over the bins that are not empty: one curve for the top label, or one for each class.
    names : list of str
        What to call the curves.

    Attributes
    ----------
    errors : ndarray of shape (n_curves,)
        Expected calibration error of each curve.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    expected_calibration_error : The same as a number.
    """

    def __init__(self, curves, names):
        self.curves = curves
        self.names = names
        self.errors = np.array([_error(*curve) for curve in curves])

    @classmethod
    def from_estimator(cls, clf, X, y, *, n_bins=10, kind="top_label", name=None, class_names=None, ax=None, **options):
        """Let a classifier predict the probabilities, and draw how reliable they are.

        Parameters
        ----------
        clf : any fitted classifier with predict_proba
        X : array-like of shape (n_samples, n_inputs)
            Not the samples that it was fitted on, which it knows too well.
        y : array-like of shape (n_samples,)
            Labels.
        n_bins : int, default=10
            Bins of equal width, from 0 to 1.
        kind : {'top_label', 'per_class'}, default='top_label'
            Whether to draw one curve for the predicted class, or one for each class.
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
        kept = {"n_bins": n_bins, "kind": kind, "name": name, "class_names": class_names}
        return cls.from_predictions(y, clf.predict_proba(X), classes=clf.classes_, ax=ax, **kept, **options)

    @classmethod
    def from_predictions(
        cls, y, proba, *, classes=None, n_bins=10, kind="top_label", name=None, class_names=None, ax=None, **options
    ):
        """Draw how reliable predicted probabilities are.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
        proba : array-like of shape (n_samples, n_classes)
        classes : array-like of shape (n_classes,), default=None
            Labels in the order of the columns; None for the sorted labels in y.
        n_bins, kind, name, class_names, ax, **options : see :meth:`from_estimator`

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        ValueError
            As in :func:`expected_calibration_error`.
        """
        classes, curves = _curves(y, proba, classes, n_bins, kind)
        names = ["predictions" if name is None else name]
        if kind == "per_class":
            names = check_class_names(class_names, classes)
        return cls(curves, names).plot(ax, **options)

    def plot(self, ax=None, *, legend=True):
        """Draw the curves; on axes that have some already, in further colours.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        legend : bool, default=True

        Returns
        -------
        self
        """
        aspect = "equal" if ax is None else "auto"  # in a row of axes a fixed shape would leave no room for the legend
        ax = one_axes(self, ax, figsize=(7.0, 4.6))
        n_before = sum(line.get_gid() == "reliability" for line in ax.lines)
        if n_before == 0:
            ax.plot([0, 1], [0, 1], color="0.4", linestyle=":", label="perfectly calibrated")
        for k, (curve, name, error) in enumerate(zip(self.curves, self.names, self.errors, strict=True), n_before):
            mean_predicted, share_true, count = curve
            ax.plot(mean_predicted, share_true, color=color(k), linewidth=1.3, gid="reliability")
            area = 8 + 150 * count / count.sum()
            ax.scatter(
                *(mean_predicted, share_true),
                s=area,
                color=color(k),
                marker=marker(k),
                edgecolors="black",
                linewidths=0.4,
                zorder=3,
                label=f"{name} (ECE {error:.3f})",
            )
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect=aspect)
        ax.set(xlabel="predicted probability", ylabel="share that came true")
        if legend:
            # A curve or two leave room for it inside.
            place = {"loc": "best"} if len(self.curves) == 1 else {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
            legend = ax.legend(**place, frameon=False)
            for handle in legend.legend_handles[1:]:
                handle.set_sizes([30])
        return self
