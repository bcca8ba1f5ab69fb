"""A fit in one table: how it ended, what each class looks for, and how well each is recognised."""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..labels import places
from ..validation import targets_among
from ._linear import check_columns, check_feature_names, last_step, n_columns, take_apart

_CLASSES_SHOWN = 40  # as text; a data frame has all of them
_HEADINGS = ("class", "rows", "precision", "recall", "intercept", "largest coefficients")


@dataclass
class Report:
    """What :func:`report` makes: text by ``print``, a table in notebooks, data frames by :meth:`to_frame`.

    Attributes
    ----------
    summary : list of str
        How the fit ended, what it found, and how many of the rows that were given are classified correctly.
    classes : ndarray of shape (n_classes,)
    feature_names : ndarray of shape (n_features,) of str
    coef : ndarray of shape (n_outputs, n_features)
        n_outputs is n_classes, or 1 for two classes, whose row speaks for the second.
    intercept : ndarray of shape (n_outputs,)
    n_samples : ndarray of shape (n_classes,), or None
        Rows of each class in the data that were given.
    precision, recall : ndarray of shape (n_classes,), or None
        NaN where no row is predicted to be of the class, or is of it.
    n_coefficients : int
        How many coefficients of a class are listed.
    """

    summary: list
    classes: np.ndarray
    feature_names: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    n_samples: np.ndarray | None
    precision: np.ndarray | None
    recall: np.ndarray | None
    n_coefficients: int

    def __str__(self) -> str:
        columns = list(zip(*self._rows(), strict=True))
        widths = [max(map(len, column)) for column in columns]
        lines = []
        for row in zip(*columns, strict=True):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
            lines.append("  ".join([*cells, row[-1]]).rstrip())
        return "\n".join([*self.summary, "", *lines, *self._others()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heading, *rows = self._rows()
        body = [_html_row(heading, "th"), *(_html_row(row, "td") for row in rows)]
        paragraphs = [f"<div>{escape(line)}</div>" for line in self.summary]
        others = [f"<div>{escape(line)}</div>" for line in self._others()]
        return "\n".join([*paragraphs, "<table>", *body, "</table>", *others])

    def to_frame(self, kind: str = "classes") -> Any:
        """The numbers as a :class:`pandas.DataFrame`.

        Parameters
        ----------
        kind : {'classes', 'coefficients'}, default='classes'
            A row for each class, with its intercept and, where data were given, its rows, precision and recall. Or a
            row for each feature, with a column for each class; for two classes one column, of the second.

        Returns
        -------
        DataFrame
        """
        if kind not in ("classes", "coefficients"):
            raise ValueError(f"Expected kind 'classes' or 'coefficients', got {kind!r}. Remedy: choose one of these.")
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "Report.to_frame expects pandas, which is not installed. Remedy: pip install pandas."
            ) from error
        if kind == "coefficients":
            return pd.DataFrame(self.coef.T, index=self.feature_names, columns=self.classes[-len(self.coef) :])
        intercept = self.intercept if len(self.intercept) > 1 else np.append(np.nan, self.intercept)
        known = {"rows": self.n_samples, "precision": self.precision, "recall": self.recall, "intercept": intercept}
        columns = {name: values for name, values in known.items() if values is not None}
        return pd.DataFrame(columns, index=pd.Index(self.classes, name="class"))

    def _rows(self):
        """The table as lists of str, the headings first, without columns of which nothing is known."""
        names = list(map(str, self.classes))
        rows = [list(_HEADINGS)]
        for k in range(min(len(names), _CLASSES_SHOWN)):
            data = ["", "", ""] if self.n_samples is None else self._data_of(k)
            rows.append([names[k], *data, *self._coefficients_of(k, names)])
        kept = [0, 4, 5] if self.n_samples is None else range(6)
        return [[row[i] for i in kept] for row in rows]

    def _data_of(self, k):
        shares = ("-" if np.isnan(share) else f"{share:.3f}" for share in (self.precision[k], self.recall[k]))
        return [str(self.n_samples[k]), *shares]

    def _coefficients_of(self, k, names):
        """Intercept and largest coefficients of a class."""
        if len(self.coef) == 1:
            if k == 0:
                return ["", f"those of {names[1]}, with the other sign"]
            k = 0
        row = self.coef[k]
        order = np.argsort(-np.abs(row), kind="stable")[: self.n_coefficients]
        terms = [f"{self.feature_names[j]} {row[j]:+.3g}" for j in order if row[j]]
        return [f"{self.intercept[k]:.3g}", ", ".join(terms) or "all zero"]

    def _others(self):
        n_others = len(self.classes) - _CLASSES_SHOWN
        return [f"... and {n_others} more classes: see to_frame()"] if n_others > 0 else []


def report(clf: Any, feature_names: Any = None, X: Any = None, y: Any = None, *, n_coefficients: int = 5) -> Report:
    """Tell in one table how a fit ended and what it found, class by class.

    Parameters
    ----------
    clf : fitted linear classifier, or pipeline or search that ends with one
    feature_names : array-like of n_features str, default=None
        None for the names of the data frame or those that the pipeline's steps give.
    X : array-like of shape (n_samples, n_inputs), default=None
        Rows, as given to ``clf.predict``, for precision and recall: best some that were not fitted.
    y : array-like of shape (n_samples,), default=None
        Their labels.
    n_coefficients : int, default=5
        How many coefficients are listed of each class, the largest by magnitude. They are per unit of a feature: of
        features in different units they compare only after a scaler.

    Returns
    -------
    Report

    Raises
    ------
    TypeError
        If the classifier is not linear.
    ValueError
        If only one of X and y is given, or X has another number of columns than in fit, or y other labels.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.inspection import report
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = SoftmaxRegressionClassifier().fit(X, y)
    >>> print(report(clf, X=X, y=y, n_coefficients=2))
    SoftmaxRegressionClassifier: 3 classes, 4 features, C=1
    Converged after ... iterations. The objective is 0.1..., above its minimum by at most ...
    Of 150 rows 97.3 % are classified correctly.
    <BLANKLINE>
    class  rows  precision  recall  intercept  largest coefficients
    0        50      1.000   1.000       9.85  petal length (cm) -2.52, petal width (cm) -1.08
    1        50      0.979   0.940       2.23  petal width (cm) -0.944, sepal length (cm) +0.535
    2        50      0.942   0.980      -12.1  petal length (cm) +2.72, petal width (cm) +2.02
    """
    if not (isinstance(n_coefficients, int | np.integer) and n_coefficients > 0):
        raise ValueError(
            f"Expected n_coefficients to be a positive integer, got {n_coefficients!r}. Remedy: give at least 1."
        )
    linear, fitted = take_apart(clf), last_step(clf)
    names = check_feature_names(feature_names, linear.feature_names)
    summary = [_what(fitted, linear), _how_it_ended(fitted)]
    n_samples = precision = recall = None
    if X is not None or y is not None:
        n_samples, precision, recall, accuracy = _correct(clf, linear.classes, X, y)
        summary.append(f"Of {n_samples.sum():,} rows {accuracy:.1%} are classified correctly.".replace("%", " %"))
    coef, intercept = linear.coef, linear.intercept
    return Report(summary, linear.classes, names, coef, intercept, n_samples, precision, recall, int(n_coefficients))


def _what(fitted, linear):
    """The classifier, its size and what it was given or chose."""
    parts = [f"{len(linear.classes)} classes", f"{linear.coef.shape[1]} features"]
    zeros = np.mean(linear.coef == 0)
    for name in ("C", "l1_ratio"):
        chosen = np.ravel(getattr(fitted, f"{name}_", []))
        if len(chosen):
            parts.append(f"{name}={chosen[0]:.4g} chosen" if np.ptp(chosen) == 0 else f"{name} by class")
        elif isinstance(getattr(fitted, name, None), int | float):
            parts.append(f"{name}={getattr(fitted, name):.4g}")
    parts = [part for part in parts if part not in ("l1_ratio=0", "l1_ratio=0 chosen")]
    if hasattr(fitted, "best_score_"):
        parts.append(f"score in cross-validation {fitted.best_score_:.4g}")
    if zeros:
        parts.append(f"{zeros:.1%} of the coefficients zero".replace("%", " %"))
    return f"{type(fitted).__name__}: {', '.join(parts)}"


def _how_it_ended(fitted):
    """One or two sentences on iterations and on what the objective lacks to its minimum, as far as these are known."""
    if not hasattr(fitted, "n_iter_"):
        return "How it was fitted is not known: coefficients were set by hand."
    n_iter = int(np.max(fitted.n_iter_))
    iterations = f"{n_iter} iteration{'s' * (n_iter != 1)}"
    curve = getattr(fitted, "validation_loss_curve_", None)
    if not hasattr(fitted, "converged_"):
        ended = f"Ended after {iterations}."
    elif fitted.converged_:
        ended = f"Converged after {iterations}."
    elif curve is not None:
        ended = f"Stopped early, after {iterations}: validation rows had their least loss, {np.min(curve):.4g}, after "
        ended += f"{int(np.argmin(curve))}."
    else:
        ended = f"NOT converged: ended after {iterations}, before tol={fitted.tol:.4g} was reached."
    if not hasattr(fitted, "suboptimality_"):
        return ended
    kind = "at most" if fitted.suboptimality_is_bound_ else "an estimated"
    above = f"The objective is {fitted.objective_:.6g}, above its minimum by {kind} {fitted.suboptimality_:.2g}."
    return f"{ended} {above}"


def _correct(clf, classes, X, y):
    """Rows, precision and recall of each class, and the accuracy."""
    if X is None or y is None:
        given, missing = ("y", "X") if X is None else ("X", "y")
        raise ValueError(f"Expected X and y, or neither, got {given} only. Remedy: pass {missing} too.")
    n_columns(X)
    check_columns(clf, X)
    predicted = places(np.asarray(clf.predict(X)), classes)
    target = targets_among(classes, y, len(predicted))
    if target.ndim > 1:
        raise ValueError(
            "Expected labels as y, for precision and recall, got target probabilities. Remedy: pass the label of each "
            "row."
        )
    hits = np.bincount(target[target == predicted], minlength=len(classes))
    n_samples = np.bincount(target, minlength=len(classes))
    n_predicted = np.bincount(predicted, minlength=len(classes))
    with np.errstate(invalid="ignore"):
        return n_samples, hits / n_predicted, hits / n_samples, hits.sum() / len(target)


def _html_row(cells, tag):
    """A row of a table: words to the left, numbers to the right."""
    last = len(cells) - 1
    sides = ["left" if i in (0, last) else "right" for i in range(len(cells))]
    inner = "".join(
        f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{inner}</tr>"
