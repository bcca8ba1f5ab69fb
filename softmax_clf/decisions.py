"""Decisions where errors cost differently: the class of the least expected cost."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import cross_val_predict
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .validation import checked_weight, places_among

# Offsets that are tried for each class, in nats, and how often classes take turns.
_OFFSETS, _ROUNDS = np.linspace(-4.0, 4.0, 81), 5


def expected_cost(clf, X, cost_matrix):
    """What each decision is expected to cost, by the probabilities of a classifier.

    Parameters
    ----------
    clf : fitted classifier with ``predict_proba``
    X : array-like of shape (n_samples, n_inputs)
        As given to ``clf.predict_proba``.
    cost_matrix : array-like of shape (n_classes, n_classes)
        The element (k, j) is the cost of deciding for ``classes_[j]`` where ``classes_[k]`` is right: true classes in
        rows, as in :func:`sklearn.metrics.confusion_matrix`. A gain is a negative cost.

    Returns
    -------
    costs : ndarray of shape (n_samples, n_classes)
        Of deciding for each class; the least is the best decision as far as probabilities mean what they say.

    Raises
    ------
    TypeError
        If the classifier has no probabilities.
    ValueError
        If costs are of another shape or not finite.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.inspection import expected_cost
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SoftmaxRegressionClassifier().fit(X, y)
    >>> expected_cost(clf, X[:1], [[0, 1, 1], [5, 0, 1], [5, 1, 0]]).round(2)
    array([[0.09, 0.98, 1.  ]])
    """
    check_is_fitted(clf)
    costs = _checked_costs(cost_matrix, len(clf.classes_))
    return _proba(clf, X) @ costs


class CostSensitiveClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """A classifier that decides for the class of the least expected cost.

    With two classes and costs of errors only this is a threshold of the probability, as of
    :class:`sklearn.model_selection.FixedThresholdClassifier`, and with ``offsets='tuned'`` one that is tuned, as of
    :class:`sklearn.model_selection.TunedThresholdClassifierCV`. This one takes any number of classes.

    Parameters
    ----------
    estimator : classifier with ``predict_proba``
        Fitted as a clone; a fitted one stays as it is in a :class:`sklearn.frozen.FrozenEstimator`.
    cost_matrix : array-like (n_classes, n_classes), default=None
        As in :func:`expected_cost`; None is one for every error.
    offsets : None, 'tuned' or array-like (n_classes,), default=None
        Added to the logarithms of the probabilities before costs are expected by them: thresholds by class. 'tuned'
        takes those with the least mean cost of out-of-fold decisions, in turns, one class after the other, from -4 to 4
        nats: for probabilities that are not what they say, or labels that are as frequent elsewhere as here.
    cv : int, splitter or iterable of (train, test), default=None
        Of out-of-fold probabilities for tuning: None is 5 stratified folds. An estimator that has ``oof_proba_`` once
        it is fitted, as :class:`~softmax_clf.SoftmaxRegressionClassifierCV` with ``store_oof_proba=True``, needs none.

    Attributes
    ----------
    estimator_ : classifier
        Fitted on all rows.
    classes_ : ndarray (n_classes,)
    cost_matrix_ : ndarray (n_classes, n_classes)
    offsets_ : ndarray (n_classes,)
    mean_cost_ : float
        Only with ``offsets='tuned'``: of the out-of-fold decisions by which they were tuned.
    n_features_in_, feature_names_in_
        Where `estimator_` has them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.decisions import CostSensitiveClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> costs = [[0, 1, 1], [1, 0, 20], [1, 1, 0]]  # not to take a versicolor for a virginica
    >>> clf = CostSensitiveClassifier(SoftmaxRegressionClassifier(), costs).fit(X, y)
    >>> int((clf.predict(X[50:100]) == 2).sum()), int((clf.estimator_.predict(X[50:100]) == 2).sum())
    (0, 3)
    """

    estimator_: Any
    classes_: np.ndarray

    def __init__(
        self, estimator: Any, cost_matrix: ArrayLike | None = None, *, offsets: Any = None, cv: Any = None
    ) -> None:
        self.estimator = estimator
        self.cost_matrix = cost_matrix
        self.offsets = offsets
        self.cv = cv

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> "CostSensitiveClassifier":
        """Fit the classifier, and tune offsets where they are to be.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : array-like (n_samples,)
        sample_weight : array-like (n_samples,), default=None
            Passed on to the classifier, and what a row's cost counts when offsets are tuned.

        Returns
        -------
        self
        """
        is_tuned = isinstance(self.offsets, str)
        if is_tuned and self.offsets != "tuned":
            raise ValueError(
                f"Expected offsets to be None, 'tuned' or an array, got {self.offsets!r}. Remedy: pass one of these."
            )
        params = {} if sample_weight is None else {"sample_weight": sample_weight}
        estimator = clone(self.estimator).fit(X, y, **params)
        classes = np.asarray(estimator.classes_)
        costs = _checked_costs(self.cost_matrix, len(classes))
        fitted = {"estimator_": estimator, "classes_": classes, "cost_matrix_": costs}
        if is_tuned:
            y, proba = column_or_1d(y), getattr(estimator, "oof_proba_", None)
            if proba is None:
                proba = cross_val_predict(
                    self.estimator, X, y, cv=self.cv, method="predict_proba", params=params or None
                )
            labels = places_among(y, classes)
            weight = checked_weight(sample_weight, labels)
            known = np.isfinite(proba).all(axis=1)
            weight = np.where(known, 1.0 if weight is None else weight, 0.0)
            fitted["offsets_"], fitted["mean_cost_"] = _tuned_offsets(np.nan_to_num(proba), labels, weight, costs)
        else:
            fitted["offsets_"] = _checked_offsets(self.offsets, len(classes))
        self.__dict__.pop("mean_cost_", None)
        self.__dict__.update(fitted)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(estimator, name):
                setattr(self, name, getattr(estimator, name))
        return self

    def predict(self, X: Any) -> Any:
        """The class of the least expected cost, the first of equal ones.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples,) of the dtype of ``classes_``
        """
        decided = self.expected_cost(X).argmin(axis=1)
        return self.classes_[decided]

    def expected_cost(self, X: Any) -> np.ndarray:
        """What deciding for each class is expected to cost, by the probabilities times ``exp(offsets_)``, of sum one.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples, n_classes)
        """
        check_is_fitted(self, "estimator_")
        proba = np.asarray(_proba(self.estimator_, X), np.float64) * np.exp(self.offsets_)
        return proba / proba.sum(axis=1, keepdims=True) @ self.cost_matrix_

    @available_if(lambda self: hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes, as the classifier has them.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples, n_classes)
        """
        check_is_fitted(self, "estimator_")
        return self.estimator_.predict_proba(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = getattr(self.estimator, "__sklearn_tags__", None)
        if inner is not None:
            tags.input_tags.sparse = inner().input_tags.sparse
        return tags


def _proba(clf, X):
    if not hasattr(clf, "predict_proba"):
        raise TypeError(
            f"Expected a classifier with predict_proba, but {type(clf).__name__} has none. Remedy: fit one that has, "
            "such as SoftmaxRegressionClassifier, or calibrate this one by CalibratedClassifierCV."
        )
    return clf.predict_proba(X)


def _checked_costs(cost_matrix, n_classes):
    if cost_matrix is None:
        return 1.0 - np.eye(n_classes)
    costs = np.asarray(cost_matrix)
    if costs.shape != (n_classes, n_classes):
        raise ValueError(
            f"Expected cost_matrix of shape {(n_classes, n_classes)}, a row for each true class and a column for each "
            f"decision in the order of classes_, got shape {costs.shape}. Remedy: give a cost for every pair."
        )
    if costs.dtype.kind not in "biuf" or not np.isfinite(costs).all():
        raise ValueError(
            "Expected cost_matrix to hold finite numbers, got others among them. Remedy: give decisions that are never "
            "to be taken a large cost."
        )
    return costs.astype(np.float64)


def _checked_offsets(offsets, n_classes):
    if offsets is None:
        return np.zeros(n_classes)
    values = np.asarray(offsets, np.float64)
    if values.shape != (n_classes,) or not np.isfinite(values).all():
        raise ValueError(
            f"Expected offsets to be None, 'tuned' or {n_classes} finite numbers, one a class, got {offsets!r}. "
            "Remedy: give a number for each of classes_."
        )
    return values


def _tuned_offsets(proba, labels, weight, costs):
    """Offsets of the least mean cost, class after class; and that cost.

    Of values that cost the same, the middle one of a run of them, that which is nearest to zero: it is far from where
    decisions change.
    """
    offsets, total, best = np.zeros(len(costs)), weight.sum(), np.inf
    by_class = weight[:, None] * costs[labels]  # what each decision would cost

    def cost(expected):
        return by_class[np.arange(len(labels)), expected.argmin(axis=1)].sum() / total

    for _ in range(_ROUNDS):
        before = best
        for k in range(len(costs)):
            others = (np.delete(proba, k, axis=1) * np.exp(np.delete(offsets, k))) @ np.delete(costs, k, axis=0)
            own = proba[:, [k]] * costs[k]
            found = np.array([cost(others + np.exp(b) * own) for b in _OFFSETS])
            offsets[k], best = _middle_of_best(found)
        if not best < before:
            break
    return offsets, float(best)


def _middle_of_best(found):
    """The offset in the middle of the run of least costs that is nearest to zero, and that cost."""
    least = found.min()
    good = np.flatnonzero(found <= least + 1e-12 * abs(least))
    runs = np.split(good, np.flatnonzero(np.diff(good) > 1) + 1)
    run = min(runs, key=lambda run: np.abs(_OFFSETS[run]).min())
    return float(_OFFSETS[run[len(run) // 2]]), least
