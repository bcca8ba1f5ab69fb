"""How a fit went: the objective by iteration, and how far it was above the minimum."""

import numpy as np

from ._drawing import color, fit_labels, legend_below, one_axes
from ._linear import last_step

_KINDS = ("suboptimality", "loss")


class ConvergenceDisplay:
    """The objective after each iteration, or how far it was above the minimum.

    The minimum is not known, but estimated: a fit ends with its ``objective_`` some ``suboptimality_`` above it. So
    ``loss_curve_ - (objective_ - suboptimality_)`` is what each iteration was above the minimum by that estimate, a
    straight line on the logarithmic scale where a solver converges linearly, and its last value is ``suboptimality_``,
    unless the fit was stopped early.

    Parameters
    ----------
    loss_curve : array-like of shape (n_iter + 1,)
        Objective at the start and after each iteration.
    lower_bound : float, default=None
        Of the objective; None where it is not known.
    name : str, default=None
        What to call the curve.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    """

    def __init__(self, loss_curve, lower_bound=None, name=None):
        self.loss_curve = np.asarray(loss_curve, dtype=float)
        self.lower_bound = lower_bound
        self.name = name

    @classmethod
    def from_estimator(cls, clf, *, name=None, ax=None, **options):
        """Draw how a fitted classifier converged.

        Parameters
        ----------
        clf : fitted estimator with ``loss_curve_``, or pipeline or search that ends with one
        name : str, default=None
            What to call the curve; None for the name of the estimator's type.
        ax : see :meth:`plot`
        **options : see :meth:`plot`

        Returns
        -------
        display : ConvergenceDisplay

        Raises
        ------
        TypeError
            If the estimator kept no ``loss_curve_``.
        """
        clf = last_step(clf)
        if not hasattr(clf, "loss_curve_"):
            raise TypeError(
                f"Expected a fitted estimator with loss_curve_, but {type(clf).__name__} has none. Remedy: fit it "
                "first, or give a SoftmaxRegressionClassifier."
            )
        known = hasattr(clf, "objective_") and hasattr(clf, "suboptimality_")
        lower_bound = clf.objective_ - clf.suboptimality_ if known else None
        return cls(clf.loss_curve_, lower_bound, type(clf).__name__ if name is None else name).plot(ax, **options)

    def plot(self, ax=None, *, kind=None):
        """Draw the curve; on axes that have some already, in a further colour.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        kind : {'suboptimality', 'loss'}, default=None
            None for the first where a bound is known.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the suboptimality is asked for and not known.
        """
        if kind is None:
            kind = "loss" if self.lower_bound is None else "suboptimality"
        if kind not in _KINDS:
            raise ValueError(f"Expected kind 'suboptimality' or 'loss', got {kind!r}. Remedy: choose one of these.")
        if kind == "suboptimality" and self.lower_bound is None:
            raise ValueError(
                "Expected a lower bound of the objective for kind='suboptimality', got None. Remedy: use kind='loss', "
                "or an estimator with objective_ and suboptimality_."
            )
        ax = one_axes(self, ax, figsize=(5.6, 4.0))
        own = color(sum(line.get_gid() == "convergence" for line in ax.lines))
        iterations = np.arange(len(self.loss_curve))
        values = self.loss_curve if kind == "loss" else self.loss_curve - self.lower_bound
        marks = "o" if len(values) <= 100 else None
        ax.plot(iterations, values, color=own, marker=marks, markersize=3, label=self.name, gid="convergence")
        ax.set_xlabel("iteration")
        if kind == "loss":
            ax.set_ylabel("objective")
        else:
            ax.set_yscale("log")
            ax.set_ylabel("objective above the minimum, estimated")
        fit_labels(ax)
        if self.name:
            legend_below(ax)
        return self
