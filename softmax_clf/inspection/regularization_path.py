"""What the penalty does: scores of the rows held out, and sizes of the coefficients, from one C to the next."""

from numbers import Integral

import numpy as np

from ._drawing import color, faint, fit_labels, halo, ink, legend_below, marker, one_axes
from ._linear import check_class_names, check_feature_names, choose, last_step, take_apart

_KINDS = ("scores", "classes", "features")


class RegularizationPathDisplay:
    """Scores of the rows held out, or norms of the coefficients, against C at the chosen l1_ratio; the C is marked.

    Lines are means over folds, with a band of one standard error to each side where there are several. With scores, the
    best mean has a ring, as have others that equal it; a line across is one standard error below it, and what
    ``selection='1se'`` chooses, the smallest C that is not below that line, has a line of its own. Cs may come in any
    order; no penalty, ``np.inf``, is drawn a decade beyond the others.

    Parameters
    ----------
    Cs : array-like of shape (n_Cs,)
    coefs : array-like of shape (n_folds, n_Cs, n_outputs, n_features)
        n_outputs is n_classes, or 1 for two classes.
    class_names : list of n_outputs str
    feature_names : list of n_features str
    scores : array-like of shape (n_folds, n_Cs), default=None
    score_name : str, default='score'
    C : float, default=None
        The chosen one.

    Attributes
    ----------
    class_norms : ndarray of shape (n_folds, n_Cs, n_outputs)
        Euclidean norm of the coefficients of each class.
    feature_norms : ndarray of shape (n_folds, n_Cs, n_features)
        Euclidean norm of the coefficients of each feature; for two classes the absolute value.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, Cs, coefs, class_names, feature_names, *, scores=None, score_name="score", C=None):
        order = np.argsort(Cs, kind="stable")
        coefs = np.asarray(coefs)[:, order]
        self.Cs = np.asarray(Cs, dtype=float)[order]
        self.class_norms = np.linalg.norm(coefs, axis=3)
        self.feature_norms = np.linalg.norm(coefs, axis=2)
        self.class_names = class_names
        self.feature_names = feature_names
        self.scores = None if scores is None else np.asarray(scores, dtype=float)[:, order]
        self.score_name = score_name
        self.C = C

    @classmethod
    def from_estimator(cls, clf, *, class_names=None, feature_names=None, ax=None, **options):
        """Draw how C was chosen.

        Parameters
        ----------
        clf : fitted SoftmaxRegressionClassifierCV, or pipeline or search that ends with one
        class_names : list of n_classes str, default=None
            In the order of ``classes_``; None for the labels.
        feature_names : list of n_features str, default=None
            None for the names of the data frame or those that the pipeline's steps give.
        ax : see :meth:`plot`
        **options : see :meth:`plot`

        Returns
        -------
        display : RegularizationPathDisplay

        Raises
        ------
        TypeError
            If the classifier has not chosen C among several.
        ValueError
            If a number of names does not fit.
        """
        chooser = last_step(clf)
        missing = [name for name in ("Cs_", "C_", "scores_", "coefs_paths_") if not hasattr(chooser, name)]
        if missing:
            raise TypeError(
                "Expected a fitted SoftmaxRegressionClassifierCV, or a pipeline that ends with one, but "
                f"{type(chooser).__name__} lacks {', '.join(missing)}. Remedy: fit it first; for the coefficients "
                "alone, give what softmax_regression_path returns to from_path."
            )
        if np.ndim(chooser.scores_) != 3 or np.ndim(chooser.C_) != 0:  # LogisticRegressionCV can have others
            raise TypeError(
                "Expected scores_ of shape (n_folds, n_l1_ratios, n_Cs) and a single C_, as those of a "
                f"SoftmaxRegressionClassifierCV, but {type(chooser).__name__} has others. Remedy: let that choose C."
            )
        # the chosen one, or the nearest to the mean of what is the best for each fold
        r = np.abs(np.subtract(chooser.l1_ratios_, chooser.l1_ratio_)).argmin()
        linear = take_apart(clf)
        n_features = linear.coef.shape[1]
        scoring = chooser.scoring or "neg_log_loss"
        display = cls(
            chooser.Cs_,
            chooser.coefs_paths_[:, r, :, :, :n_features],  # without the intercepts
            linear.output_names(class_names),
            check_feature_names(feature_names, linear.feature_names),
            scores=chooser.scores_[:, r],
            score_name=scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score"),
            C=chooser.C_,
        )
        return display.plot(ax, **options)

    @classmethod
    def from_path(cls, Cs, coefs, *, class_names=None, feature_names=None, ax=None, **options):
        """Draw the coefficients that :func:`softmax_clf.softmax_regression_path` returns.

        Parameters
        ----------
        Cs : array-like of shape (n_Cs,)
        coefs : array-like of shape (n_Cs, n_classes, n_features), or (n_Cs, 1, n_features) for two classes
        class_names : list of n_classes str, default=None
            None for their numbers.
        feature_names : list of n_features str, default=None
            None for x0, x1, ...
        ax : see :meth:`plot`
        **options : see :meth:`plot`

        Returns
        -------
        display : RegularizationPathDisplay

        Raises
        ------
        ValueError
            If shapes or numbers of names do not fit.
        """
        if np.ndim(coefs) != 3 or np.shape(Cs) != np.shape(coefs)[:1]:
            raise ValueError(
                "Expected Cs of shape (n_Cs,) and coefs of shape (n_Cs, n_classes, n_features), got "
                f"{np.shape(Cs)} and {np.shape(coefs)}. Remedy: give the first two things that "
                "softmax_regression_path returns."
            )
        _, n_outputs, n_features = np.shape(coefs)
        names = check_class_names(class_names, range(max(n_outputs, 2)))
        display = cls(
            Cs,
            np.asarray(coefs)[None],
            names if n_outputs > 1 else [f"{names[1]} against {names[0]}"],
            check_feature_names(feature_names, [f"x{j}" for j in range(n_features)]),
        )
        return display.plot(ax, **options)

    def plot(self, ax=None, *, kind=None, features=7):
        """Draw curves over C, on a logarithmic scale.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        kind : {'scores', 'classes', 'features'}, default=None
            What to draw: scores, the norm of each class's coefficients, or that of each feature's. None for scores
            where there are some, else for classes.
        features : int or list of str, default=7
            With ``kind='features'``: how many, those with the largest norms at the chosen C or else at the largest C;
            or which, by name. Norms compare importance only between features of one scale.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If scores are asked for where there are none, or features that there are not.
        """
        if kind is None:
            kind = "classes" if self.scores is None else "scores"
        if kind not in _KINDS:
            raise ValueError(
                f"Expected kind 'scores', 'classes' or 'features', got {kind!r}. Remedy: choose one of these."
            )
        if kind == "scores" and self.scores is None:
            raise ValueError(
                "Expected scores for kind='scores', got none. Remedy: use kind='classes' or 'features', or "
                "from_estimator with a SoftmaxRegressionClassifierCV."
            )
        if kind == "scores":
            values, names = self.scores[:, :, None], ["rows held out"]
        elif kind == "classes":
            values, names = self.class_norms, self.class_names
        else:
            count = isinstance(features, Integral)
            chosen = self._largest(features) if count else choose(list(self.feature_names), features, "features")
            values, names = self.feature_norms[:, :, chosen], [self.feature_names[j] for j in chosen]

        ax = one_axes(self, ax, figsize=(6.4, 4.4))
        Cs = self._on_axis(self.Cs)
        middle = values.mean(axis=0)
        n_folds = len(values)
        if kind != "scores":
            middle = np.where(middle > 0, middle, np.nan)  # coefficients that are all zero have no place on this axis
        for k, name in enumerate(names):
            name = f"mean of {n_folds} folds" if kind == "scores" and n_folds > 1 else name
            ax.plot(Cs, middle[:, k], color=color(k), marker=marker(k), markersize=4, linewidth=1.3, label=name)
            if n_folds > 1:
                error = values[:, :, k].std(axis=0, ddof=1) / np.sqrt(n_folds)
                band = {"label": "± 1 standard error"} if k == len(names) - 1 else {}
                low, high = middle[:, k] - error, middle[:, k] + error
                ax.fill_between(Cs, low, high, color=color(k), alpha=0.35, linewidth=0, **band)
        if kind == "scores":
            self._mark_best(ax, Cs, middle[:, 0])
        if self.C is not None:
            label = f"chosen: C = {self.C:.3g}"
            ax.axvline(self._on_axis(self.C), color=ink(), linestyle="--", linewidth=1, label=label)
        if np.isinf(self.Cs[-1]):
            place = {"rotation": 90, "ha": "right", "va": "bottom", "transform": ax.get_xaxis_transform()}
            ax.text(Cs[-1], 0.02, "no penalty", fontsize="small", path_effects=halo(ax), **place)
        ax.set(xscale="log", xlabel="C, inverse strength of the penalty")
        if kind == "scores":
            ax.set_ylabel(f"{self.score_name}, held out")
        else:
            ax.set(yscale="log", ylabel=f"norm of the coefficients of a {'class' if kind == 'classes' else 'feature'}")
        fit_labels(ax)
        legend_below(ax)
        return self

    def _mark_best(self, ax, Cs, mean):
        """Rings for the best mean score and its equals, and lines for what is within a standard error of it."""
        finite = np.where(np.isfinite(mean), mean, -np.inf)
        best = np.flatnonzero(finite >= finite.max())
        what = "best mean" if len(self.scores) > 1 else "best score"
        tied = f"{what}: C = {self.Cs[best[0]]:.3g}"
        if len(best) > 1:
            tied = f"{what}, {len(best)} equal: C = " + ", ".join(f"{C:.3g}" for C in self.Cs[best[:4]])
            tied += ", ..." if len(best) > 4 else ""
        ring = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "markeredgecolor": ink()}
        ax.plot(Cs[best], mean[best], linestyle="none", label=tied, **ring)
        if len(self.scores) > 1:
            # what selection='1se' goes by
            least = mean[best[0]] - self.scores[:, best[0]].std(ddof=1) / np.sqrt(len(self.scores))
            first = np.flatnonzero(finite >= least)[0]
            ax.axhline(least, color=faint(ax, 0.6), linestyle=":", linewidth=1.2)
            label = f"smallest C within 1 standard error (1se): {self.Cs[first]:.3g}"
            ax.axvline(Cs[first], color=faint(ax, 0.6), linestyle=":", linewidth=1.2, label=label)

    def _largest(self, n_features):
        """Features of the largest norms, at the chosen C or the largest."""
        if n_features < 1:
            raise ValueError(f"Expected 1 or more features, got {n_features}. Remedy: say how many, or which.")
        at = -1 if self.C is None else np.argmin(np.abs(self._on_axis(self.Cs) - self._on_axis(self.C)))
        return np.argsort(-self.feature_norms[:, at].mean(axis=0), kind="stable")[:n_features]

    def _on_axis(self, C):
        """C, with infinity a decade beyond the largest number."""
        finite = self.Cs[np.isfinite(self.Cs)]
        return np.where(np.isinf(C), 10 * finite.max(initial=0.1), C)
