"""Scores as distances to hyperplanes, and the hyperplanes in two dimensions."""

import numpy as np
from scipy.spatial import cKDTree
from sklearn.utils.validation import check_array, column_or_1d

from ._drawing import (
    color,
    dashes,
    fit_labels,
    halo,
    ink,
    legend_below,
    letters_color,
    marker,
    mixed,
    one_axes,
    points_of,
)
from ._labels import label_artist
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
    X, carry_back
        As in :func:`signed_distances`.

    Returns
    -------
    distances : ndarray of shape (n_samples, n_classes, n_classes)
        Antisymmetric, with a diagonal of zeros. Euclidean, in the units of the features. Not finite where two classes
        have the same weights: no boundary lies between them.

    Raises
    ------
    TypeError, ValueError
        As of :func:`signed_distances`.

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

    The regions have the colour of the predicted class, the paler the less probable it is, and its name. Solid lines
    are the boundaries between regions; a dashed line is where the score of a class is zero, with the name of the class
    and an arrow along the normal w_k, to where the score grows; below stand the classes whose line is not in sight. For
    two classes both lines are one. Up to 20 classes have colours of their own. Names are placed when the picture is
    drawn: smaller ones where there is little room.

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
            Whether to say below what the lines are.

        Returns
        -------
        self
        """
        left, right, bottom, top = self.extent
        height = 5.4 * (top - bottom) / (right - left) if aspect == "equal" else 4.2
        ax = one_axes(self, ax, figsize=(6.4, np.clip(height, 1.8, 8) + 1.2))  # with the labels and the legend
        n_classes = len(self.class_names)

        winner = self.proba.argmax(axis=2)
        # From 1 / n_classes, where nothing is known, to 1; a little colour is left so that regions stay regions.
        certainty = (self.proba.max(axis=2) * n_classes - 1) / (n_classes - 1)
        strength = (0.1 + 0.5 * certainty)[:, :, None]
        colors = np.array([mixed(1.0, color(k), "white") for k in range(n_classes)])
        regions = np.clip(mixed(strength, colors[winner], ax.get_facecolor()[:3]), 0, 1)
        ax.imshow(regions, extent=self.extent, origin="lower", aspect=aspect, zorder=0)

        x, y = np.linspace(left, right, self.proba.shape[1]), np.linspace(bottom, top, self.proba.shape[0])
        for k in range(n_classes if n_classes > 2 else 1):
            lead = self.proba[:, :, k] - np.delete(self.proba, k, axis=2).max(axis=2)
            if lead.min() < 0 < lead.max():
                ax.contour(x, y, lead, levels=[0], colors=[ink()], linewidths=1.2, linestyles="solid", zorder=1)
        for k in range(n_classes) if self.y is not None else ():
            ax.scatter(
                *self.X[self.y == k].T,
                color=color(k),
                marker=marker(k),
                edgecolors=ink(),
                linewidths=0.5,
                s=22,
                zorder=3,
            )
        if self.y is None:
            ax.scatter(*self.X.T, color=ink(), s=8, zorder=3)

        along, up = self.feature_names
        note = self._out_of_sight() if hyperplanes else ""
        ax.set(xlim=(left, right), ylim=(bottom, top), xlabel=f"{along}\n{note}" if note else along, ylabel=up)
        fit_labels(ax)
        labels = label_artist(ax, points_of("medium"))
        for k, name in enumerate(self.class_names):
            self._name_region(ax, labels, k, name, winner == k)
        if hyperplanes:
            self._draw_hyperplanes(ax, labels)
        if legend:
            self._explain(ax, hyperplanes)
        return self

    def _name_region(self, ax, labels, k, name, mask):
        """The name of a class in its region, far from boundaries and samples, or at its samples if it has none."""
        own = self.X[self.y == k] if self.y is not None else self.X[:0]
        if not mask.any() and not len(own):
            return
        text = labels.text(name, weight="bold")
        x, y = (np.linspace(*self.extent[2 * i : 2 * i + 2], mask.shape[1 - i]) for i in (0, 1))

        def candidates(width, height, point):
            if mask.any():
                # a coarser grid of the cells of the region, the freest first
                step = max(1, min(mask.shape) // 40)
                rows, columns = np.nonzero(mask[::step, ::step])
                cells = ax.transData.transform(np.column_stack([x[::step][columns], y[::step][rows]]))
                rows, columns = np.nonzero(~mask[::step, ::step])
                others = [np.column_stack([x[::step][columns], y[::step][rows]]), self.X]
                edges = [np.column_stack([x, np.full_like(x, end)]) for end in (y[0], y[-1])]
                edges += [np.column_stack([np.full_like(y, end), y]) for end in (x[0], x[-1])]
                others = ax.transData.transform(np.concatenate([*others, *edges]))
                room = cKDTree(others / (width, height)).query(cells / (width, height))[0]
                yield from ((*cells[i], 0.0) for i in np.argsort(-room))
            else:
                middle = ax.transData.transform(np.median(own, axis=0))
                for dx, dy in ((0, 1.2), (0, -1.2), (0.7, 0), (-0.7, 0), (0, 2.4), (0, -2.4)):
                    yield (*(middle + (dx * width, dy * height)), 0.0)

        labels.add(text, candidates)

    def _is_in_sight(self):
        """Of each output, whether its score is zero anywhere in the picture."""
        corners = np.array([[x, y] for x in self.extent[:2] for y in self.extent[2:]]) @ self.coef.T + self.intercept
        return (corners.min(axis=0) < 0) & (corners.max(axis=0) > 0)

    def _out_of_sight(self):
        """Which classes have no line in the picture, in words; empty where all have."""
        names = self.class_names[1:] if len(self.coef) == 1 else self.class_names
        names = [name for name, there in zip(names, self._is_in_sight(), strict=True) if not there]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"score 0 not in sight: {', '.join(names[:3])}{more}" if names else ""

    def _draw_hyperplanes(self, ax, labels):
        """The lines that are in sight, with their names."""
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.transforms import IdentityTransform

        left, right, bottom, top = self.extent
        center, two = np.array([left + right, bottom + top]) / 2, len(self.coef) == 1
        for k in np.flatnonzero(self._is_in_sight()):
            normal, offset, name = self.coef[k], self.intercept[k], self.class_names[k]
            own, style = (ink(), "solid") if two else (color(k), dashes(k))
            norm = np.linalg.norm(normal)
            normal = normal / norm
            foot = center - (center @ normal + offset / norm) * normal  # of the perpendicular from the centre
            along = np.array([-normal[1], normal[0]])
            line = {"color": own, "linestyle": style, "linewidth": 1.6, "zorder": 2, "path_effects": halo(ax, 2.6)}
            ax.axline(foot, foot + along, **line)
            text = labels.text("" if two else name, color=letters_color(own))
            head = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.6}
            arrow = FancyArrowPatch((0, 0), (1, 1), color=own, zorder=4, **head)
            arrow.set(transform=IdentityTransform(), in_layout=False)
            ax.add_patch(arrow)
            labels.add(text, _along(ax, foot, along), (arrow, _beside(ax, normal)))

    def _explain(self, ax, hyperplanes):
        from matplotlib.lines import Line2D

        boundary, zero = "boundary between classes", "is 0, grows along the arrow"
        if hyperplanes and len(self.coef) == 1:  # one line for both
            boundary += f": score of {self.class_names[1]} {zero}"
        handles = [Line2D([], [], color=ink(), linewidth=1.2, label=boundary)]
        if hyperplanes and len(self.coef) > 1:
            style = {"color": ink(), "linestyle": dashes(0), "linewidth": 1.6}
            handles.append(Line2D([], [], **style, label=f"score of a class {zero}"))
        legend_below(ax, handles)


def _along(ax, foot, along):
    """Candidates for the name of a line: on it, those where it leaves the axes first."""

    def candidates(width, height, point):
        start, to = ax.transData.transform([foot, foot + along])
        direction = (to - start) / np.linalg.norm(to - start)
        frame = ax.get_window_extent()
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.sort([(frame.min - start) / direction, (frame.max - start) / direction], axis=0)
        low, high = np.nanmax(at[0]), np.nanmin(at[1])
        degrees = (np.degrees(np.arctan2(*direction[::-1])) + 90) % 180 - 90  # upright
        for step in np.arange(0.02, 0.5, 0.02):
            for share in (1 - step, step):
                yield (*(start + (low + share * (high - low)) * direction), degrees)

    return candidates


def _beside(ax, normal):
    """The ends of an arrow along a normal, at the end of a name that stands on its line."""

    def ends(place, width, point):
        origin, tip = ax.transData.transform([[0.0, 0.0], normal])
        direction = (tip - origin) / np.linalg.norm(tip - origin)
        angle = np.radians(place[2])
        middle = ax.get_window_extent()
        along = np.array([np.cos(angle), np.sin(angle)])
        inwards = np.sign(([middle.x0, middle.y0] + np.array([middle.width, middle.height]) / 2 - place[:2]) @ along)
        foot = np.array(place[:2]) + (inwards or 1.0) * (width / 2 + 5 * point) * along
        return foot, foot + 16 * point * direction

    return ends


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
