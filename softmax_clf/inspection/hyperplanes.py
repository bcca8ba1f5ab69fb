"""Scores as distances to hyperplanes, and the hyperplanes in two dimensions."""

import numpy as np
from sklearn.utils.validation import check_array, column_or_1d

from ._drawing import color, marker, one_axes
from ._linear import check_class_names, check_columns, check_feature_names, take_apart


def signed_distances(clf, X, *, carry_back=False):
    """Distance of each sample to the hyperplane where a class's score is zero, score_k / ||w_k||.

    Positive on the side where the normal w_k points, that is where the score is positive. For two classes this
    hyperplane is the decision boundary. For more it is not: the largest score wins, whatever its sign, and boundaries
    lie where two scores are equal, see :func:`boundary_distances`.

    Parameters
    ----------
    clf : fitted linear classifier, or pipeline that ends with one
    X : array-like of shape (n_samples, n_inputs)
        As given to ``clf.predict``.
    carry_back : bool, default=False
        In a pipeline, whether distances are measured between inputs (affine steps only) instead of between what the
        classifier sees: after a StandardScaler, in pixels or centimetres instead of in standard deviations.

    Returns
    -------
    distances : ndarray of shape (n_samples, n_classes), (n_samples,) for two classes
        Euclidean, in the units of the features. Not finite for a class whose weights are all zero: it has no
        hyperplane.

    Raises
    ------
    TypeError
        If the classifier is not linear.
    ValueError
        If X has another number of columns than in fit, or ``carry_back=True`` and a step is not affine.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, 2006, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from softmax_clf.inspection import signed_distances
    >>> clf = LogisticRegression().fit([[0.0, 0.0], [0.0, 1.0]], [0, 1])
    >>> clf.coef_, clf.intercept_ = np.array([[3.0, 4.0]]), np.array([-5.0])
    >>> signed_distances(clf, [[3.0, 4.0], [1.0, 0.5]])
    array([4., 0.])
    """
    linear = take_apart(clf, carry_back=carry_back)
    norms = np.linalg.norm(linear.coef, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = _scores(clf, linear, X) / norms
    return distances[:, 0] if len(norms) == 1 else distances


def boundary_distances(clf, X, *, carry_back=False):
    """Distance of each sample to the boundary between classes i and j, (z_i - z_j) / ||w_i - w_j||.

    Positive where i has the larger score. How far a sample of predicted class i may move in any direction and stay
    there is the smallest of its distances [i, j] over the other classes j.

    Parameters
    ----------
    clf : fitted linear classifier, or pipeline that ends with one
        The classes must compete by their scores, as with a softmax; for two classes one row of weights will do.
    X : array-like of shape (n_samples, n_inputs)
        As given to ``clf.predict``.
    carry_back : bool, default=False
        As in :func:`signed_distances`.

    Returns
    -------
    distances : ndarray of shape (n_samples, n_classes, n_classes)
        Antisymmetric, with a diagonal of zeros. Euclidean, in the units of the features. Not finite where two classes
        have the same weights: no boundary lies between them.

    Raises
    ------
    TypeError
        If the classifier is not linear.
    ValueError
        If X has another number of columns than in fit, or ``carry_back=True`` and a step is not affine.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning, 2006, section 4.1.2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from softmax_clf.inspection import boundary_distances
    >>> clf = LogisticRegression().fit([[0.0, 0.0], [0.0, 1.0]], [0, 1])
    >>> clf.coef_, clf.intercept_ = np.array([[3.0, 4.0]]), np.array([-5.0])
    >>> boundary_distances(clf, [[3.0, 4.0]])
    array([[[ 0., -4.],
            [ 4.,  0.]]])
    """
    linear = take_apart(clf, carry_back=carry_back)
    scores, coef = _scores(clf, linear, X), linear.coef
    if len(coef) == 1:  # any two rows with this difference will do
        scores, coef = np.column_stack([np.zeros(len(scores)), scores]), np.vstack([np.zeros_like(coef), coef])
    n_classes = len(coef)
    distances = np.empty((len(scores), n_classes, n_classes), scores.dtype)
    # A class at a time: the differences of all pairs of weights may be much more than all the distances.
    for i in range(n_classes):
        with np.errstate(divide="ignore", invalid="ignore"):
            distances[:, i] = (scores[:, [i]] - scores) / np.linalg.norm(coef[i] - coef, axis=1)
        distances[:, i, i] = 0.0
    return distances


def _scores(clf, linear, X):
    """Scores (n_samples, n_outputs)."""
    check_columns(clf, X)
    return clf.decision_function(X).reshape(-1, len(linear.coef))


class HyperplaneDisplay:
    """A classifier of two features: regions, boundaries, each class's hyperplane and its normal.

    The regions have the colour of the predicted class, the paler the less probable it is. Solid lines are the
    boundaries between regions; a dashed line is where the score of a class is zero, with an arrow along the normal w_k,
    to where the score grows. For two classes both lines are one.

    Parameters
    ----------
    proba : ndarray of shape (n_rows, n_cols, n_classes)
        Probabilities on a grid; the first row is the lowest.
    extent : tuple (left, right, bottom, top)
        The first and the last points of the grid.
    coef : ndarray of shape (n_outputs, 2)
    intercept : ndarray of shape (n_outputs,)
    feature_names : list of 2 str
    class_names : list of n_classes str
    X : ndarray of shape (n_samples, 2)
    y : ndarray of shape (n_samples,), default=None
        Index of the class of each sample.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, proba, extent, coef, intercept, feature_names, class_names, X, y=None):
        self.proba = proba
        self.extent = extent
        self.coef = coef
        self.intercept = intercept
        self.feature_names = feature_names
        self.class_names = class_names
        self.X = X
        self.y = y

    @classmethod
    def from_estimator(
        cls,
        clf,
        X,
        y=None,
        *,
        grid_resolution=300,
        margin=0.1,
        class_names=None,
        feature_names=None,
        ax=None,
        **options,
    ):
        """Evaluate a classifier around some samples and draw it.

        Parameters
        ----------
        clf : fitted linear classifier of two features, or pipeline of affine steps that starts from two
        X : array-like of shape (n_samples, 2)
            Samples to draw; they decide what part of the plane is shown.
        y : array-like of shape (n_samples,), default=None
            Their labels.
        grid_resolution : int, default=300
            Points along each axis.
        margin : float, default=0.1
            Shown around the samples, as a share of their range.
        class_names : list of n_classes str, default=None
            In the order of ``classes_``; None for the labels.
        feature_names : list of 2 str, default=None
            None for the names of the data frame.
        ax : see :meth:`plot`
        **options : see :meth:`plot`

        Returns
        -------
        display : HyperplaneDisplay

        Raises
        ------
        TypeError
            If the classifier is not linear.
        ValueError
            If there are not two features, a step is not affine, or y holds a label that was not in fit.
        """
        linear = take_apart(clf, carry_back=True)
        if linear.coef.shape[1] != 2:
            raise ValueError(
                f"Expected a classifier of 2 features, got one of {linear.coef.shape[1]}. Remedy: fit it on two "
                "columns, or on two components of PCA made beforehand."
            )
        check_columns(clf, X)
        names = check_feature_names(feature_names, linear.feature_names)
        points = check_array(X, dtype=np.float64, input_name="X")
        low, high = points.min(axis=0), points.max(axis=0)
        around = margin * np.where(high > low, high - low, 1.0)
        (left, bottom), (right, top) = low - around, high + around
        grid = np.meshgrid(np.linspace(left, right, grid_resolution), np.linspace(bottom, top, grid_resolution))
        grid = np.column_stack([axis.ravel() for axis in grid])
        if hasattr(X, "columns"):
            grid = type(X)(dict(zip(X.columns, grid.T, strict=True)))
        proba = clf.predict_proba(grid).reshape(grid_resolution, grid_resolution, -1)
        display = cls(
            proba,
            (left, right, bottom, top),
            linear.coef,
            linear.intercept,
            list(names),
            check_class_names(class_names, linear.classes),
            points,
            None if y is None else _class_indices(linear.classes, y, len(points)),
        )
        return display.plot(ax, **options)

    def plot(self, ax=None, *, hyperplanes=True, aspect="equal", legend=True):
        """Draw regions, boundaries, hyperplanes, normals and samples.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        hyperplanes : bool, default=True
            Whether to draw where each score is zero, and the normals: arrows to where it grows.
        aspect : {'equal', 'auto'}, default='equal'
            Only with 'equal' do normals look perpendicular, and are distances the same in all directions.
        legend : bool, default=True

        Returns
        -------
        self
        """
        left, right, bottom, top = self.extent
        height = 4.2 * (top - bottom) / (right - left) if aspect == "equal" else 4.2
        ax = one_axes(self, ax, figsize=(6.8, np.clip(height, 1.8, 8) + 0.8))  # beside it, labels and the legend
        n_classes = len(self.class_names)

        winner = self.proba.argmax(axis=2)
        # From 1 / n_classes, where nothing is known, to 1; a little colour is left so that regions stay regions.
        certainty = (self.proba.max(axis=2) * n_classes - 1) / (n_classes - 1)
        strength = (0.08 + 0.52 * certainty)[:, :, None]
        colors = np.array([_rgb(color(k)) for k in range(n_classes)])
        ax.imshow(1 - strength + strength * colors[winner], extent=self.extent, origin="lower", aspect=aspect, zorder=0)

        x, y = np.linspace(left, right, self.proba.shape[1]), np.linspace(bottom, top, self.proba.shape[0])
        for k in range(n_classes if n_classes > 2 else 1):
            lead = self.proba[:, :, k] - np.delete(self.proba, k, axis=2).max(axis=2)
            if lead.min() < 0 < lead.max():
                ax.contour(x, y, lead, levels=[0], colors="black", linewidths=1.2, linestyles="solid", zorder=1)
        ax.plot([], [], color="black", linewidth=1.2, label="boundary")
        if hyperplanes:
            self._draw_hyperplanes(ax)
        for k in range(n_classes) if self.y is not None else ():
            ax.scatter(
                *self.X[self.y == k].T,
                color=color(k),
                marker=marker(k),
                edgecolors="black",
                linewidths=0.5,
                s=22,
                label=self.class_names[k],
                zorder=3,
            )
        if self.y is None:
            ax.scatter(*self.X.T, color="black", s=8, zorder=3)

        ax.set(xlim=(left, right), ylim=(bottom, top), xlabel=self.feature_names[0], ylabel=self.feature_names[1])
        if legend and ax.get_legend_handles_labels()[0]:
            ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        return self

    def _draw_hyperplanes(self, ax):
        left, right, bottom, top = self.extent
        center, size = np.array([left + right, bottom + top]) / 2, min(right - left, top - bottom)
        for k, (normal, offset) in enumerate(zip(self.coef, self.intercept, strict=True)):
            own = "black" if len(self.coef) == 1 else color(k)
            name = self.class_names[1] if len(self.coef) == 1 else self.class_names[k]
            corners = np.array([[left, bottom], [left, top], [right, bottom], [right, top]]) @ normal + offset
            if corners.min() >= 0 or corners.max() <= 0:  # out of sight, or no hyperplane at all
                ax.plot([], [], linestyle="none", label=f"score of {name} = 0: outside")
                continue
            norm = np.linalg.norm(normal)
            normal = normal / norm
            foot = center - (center @ normal + offset / norm) * normal  # of the perpendicular from the centre
            ax.axline(
                foot,
                foot + np.array([-normal[1], normal[0]]),
                color=own,
                linestyle="--",
                linewidth=1.6,
                label=f"score of {name} = 0",
                zorder=2,
            )
            if left <= foot[0] <= right and bottom <= foot[1] <= top:
                arrow = {"arrowstyle": "-|>", "color": own, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
                ax.annotate("", foot + 0.13 * size * normal, foot, arrowprops=arrow, zorder=4)


def _rgb(hexadecimal):
    return [int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def _class_indices(classes, y, n_samples):
    y = column_or_1d(y)
    if len(y) != n_samples:
        raise ValueError(
            f"Expected y with {n_samples} labels, one for each row of X, got {len(y)}. Remedy: give both of the "
            "same rows."
        )
    indices = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unknown = np.unique(y[classes[indices] != y])
    if len(unknown):
        raise ValueError(
            f"Expected labels of the classes {classes!r}, got also {unknown[:5]!r}. Remedy: leave out those rows."
        )
    return indices
