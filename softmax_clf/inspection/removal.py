"""What each row does to a fit: what is said of it, and of others, without it."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..fitted import coefficients
from ..kernels.threads import effective_n_threads
from ..leave_one_out import Rows, as_target, log_probabilities
from ..prediction import SoftmaxClassifier
from ..training_data import standard_deviations
from ..validation import as_source, checked_weight, row_weights, targets_among
from ._linear import last_step

# A row whose scores move by less is left after one step: on the digits, standardised, at C = 0.3, 1.0606 and 10, its
# loss was then off by at most 1.5 % where it is more than 0.01, and by 0.0032, against many steps with tol=1e-6.
_NEAR = 0.5
_NOT_THERE = 1e-3  # in units of the null model's objective: coefficients that are no optimum of these rows


class LeaveOneOut(NamedTuple):
    """What :func:`leave_one_out` returns, to be unpacked or taken by name."""

    log_proba: np.ndarray  # (n_samples, n_classes)
    leverage: np.ndarray  # (n_samples,)
    n_steps: np.ndarray  # (n_samples,)
    vouched: np.ndarray  # (n_samples,) bool


def leverage(clf, X, y, *, sample_weight=None):
    """How much each row decides of the fit: its share in the effective number of parameters.

    Of row i the trace of s_i A_i K_i, with s_i its weight, A_i = diag(p_i) - p_i p_i' the curvature of its loss by its
    scores, and K_i what the inverse of the Hessian of the objective leaves of these. For two classes A_i is p_i (1 -
    p_i). As in least squares a row of a leverage near its largest, one less than the number of classes, is fitted
    whatever its label is.

    Parameters
    ----------
    clf, X, y, sample_weight
        As in :func:`leave_one_out`.

    Returns
    -------
    leverage : ndarray of shape (n_samples,)
        The sum is the effective number of parameters.

    Raises
    ------
    TypeError
        If the classifier is none of these.
    ValueError
        If it has an L1 penalty, is not the optimum for these rows, or its Hessian takes more than 1 GB.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.inspection import leverage
    >>> X, y = load_iris(return_X_y=True)
    >>> float(leverage(SoftmaxRegressionClassifier().fit(X, y), X, y).sum())
    5.8...
    """
    optimum, _ = _optimum(clf, X, y, sample_weight)
    return optimum.removals()[2]


def leave_one_out(clf, X, y, *, sample_weight=None, max_refined=100, max_steps=8, tol=1e-3):
    """What a fit without each row says of it, without fits: approximate leave-one-out [1]_.

    One Newton step from the optimum of all rows, without the row, with one factorisation of the Hessian for all of
    them. Rows whose scores this moves far take further steps, with the exact gradient and curvature of the other rows.

    Parameters
    ----------
    clf : fitted SoftmaxRegressionClassifier or SoftmaxRegressionClassifierCV
        With an L2 penalty or none; alone, at the end of a pipeline, or in a search. Steps before it in a pipeline are
        not fitted anew without a row, nor are standard deviations or 'balanced' weights.
    X : array-like of shape (n_samples, n_inputs)
        The rows that it was fitted on, as given to ``clf.fit``.
    y : array-like of shape (n_samples,), or (n_samples, n_classes)
        Their labels or target probabilities.
    sample_weight : array-like of shape (n_samples,), default=None
        As given to ``clf.fit``. A row is left out with all its weight.
    max_refined : int, default=100
        The most rows that take more than one step, those that move the furthest. Each costs some ten passes over X a
        step.
    max_steps : int, default=8
        The most steps.
    tol : float, default=1e-3
        A row needs no further step after one that has changed the logarithms of its probabilities by less.

    Returns
    -------
    A named tuple, ``LeaveOneOut``, of

    log_proba : ndarray of shape (n_samples, n_classes)
        Logarithms of the probabilities of each row by the fit without it.
    leverage : ndarray of shape (n_samples,)
        As of :func:`leverage`.
    n_steps : ndarray of shape (n_samples,)
        Steps taken.
    vouched : ndarray of shape (n_samples,) of bool
        Whether the row has moved little by one step (no score by more than 0.5 against another), or by its last one no
        more than `tol`. It is False for others, and for a row that is the only one of its class, which a fit without it
        would not know.

    Raises
    ------
    TypeError, ValueError
        As of :func:`leverage`.

    References
    ----------
    .. [1] K. Rad and A. Maleki, A scalable estimate of the out-of-sample prediction error via approximate leave-one-out
       cross-validation, Journal of the Royal Statistical Society B 82, 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.inspection import leave_one_out
    >>> X, y = load_iris(return_X_y=True)
    >>> found = leave_one_out(SoftmaxRegressionClassifier().fit(X, y), X, y)
    >>> found.log_proba.shape, bool(found.vouched.all())
    ((150, 3), True)
    """
    for name, value, kind, least in (
        ("max_refined", max_refined, Integral, 0),
        ("max_steps", max_steps, Integral, 1),
        ("tol", tol, Real, 0),
    ):
        if not isinstance(value, kind) or not value >= least:
            what = "an integer" if kind is Integral else "a number"
            raise ValueError(
                f"Expected {name} to be {what} of at least {least}, got {value!r}. Remedy: give such a one."
            )
    optimum, is_alone = _optimum(clf, X, y, sample_weight)
    pull, moves, found = optimum.removals()
    scores, n_steps = optimum.scores + moves, np.ones(len(pull), np.intp)
    distance = np.abs(moves[:, 0]) if moves.shape[1] == 1 else np.ptp(moves, axis=1)
    vouched = distance <= _NEAR
    far = np.flatnonzero(~vouched & ~is_alone)
    far = far[np.argsort(-distance[far], kind="stable")][: max_refined if max_steps > 1 else 0]
    if len(far):
        scores[far], change, n_steps[far] = optimum.without(far, pull[far], max_steps, tol)
        vouched[far] = change <= tol
    return LeaveOneOut(log_probabilities(scores), found, n_steps, vouched & ~is_alone)


def influence(clf, X, y, X_test, y_test, *, sample_weight=None):
    """What each training row does to the loss on other rows.

    Without row i the loss of test row t would be larger by the element (i, t): a positive one is of a row that helps.
    The fit without it is taken to be one Newton step away, as of :func:`leave_one_out`, the loss there is exact.

    Parameters
    ----------
    clf, X, y, sample_weight
        As in :func:`leave_one_out`.
    X_test : array-like of shape (n_test, n_inputs)
    y_test : array-like of shape (n_test,), or (n_test, n_classes)
        Labels that are among those of y, or target probabilities.

    Returns
    -------
    influence : ndarray of shape (n_samples, n_test)
        Natural logarithm; the mean over test rows tells what a row does to their mean loss.

    Raises
    ------
    TypeError, ValueError
        As of :func:`leverage`, and for labels that the classifier does not know.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.inspection import influence
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SoftmaxRegressionClassifier().fit(X[::2], y[::2])
    >>> influence(clf, X[::2], y[::2], X[1::2], y[1::2]).shape
    (75, 75)
    """
    optimum, _ = _optimum(clf, X, y, sample_weight)
    pull, *_ = optimum.removals()
    before, linear = _parts(clf)
    source = as_source(linear, _features(before, X_test), reset=False)
    labels = targets_among(np.asarray(linear.classes_), y_test, source.n_samples)
    target = as_target(labels, len(linear.classes_), both=True)
    found = np.empty((len(pull), source.n_samples))
    for place, Z in optimum.blocks_of(source, optimum.n_outputs**2 * optimum.n_columns):
        at = Z @ optimum.point.T
        loss = -(target[place] * log_probabilities(at)).sum(axis=1)
        response = optimum.responses(Z).reshape(-1, optimum.inverse.shape[0])
        for rows, own in optimum.blocks(response.size // optimum.n_columns + optimum.inverse.shape[0]):
            by_row = (pull[rows, :, None] * own[:, None]).reshape(len(own), -1)
            moved = at + (by_row @ response.T).reshape(len(own), *at.shape)
            found[rows, place] = -(target[place] * log_probabilities(moved)).sum(axis=2) - loss
    return found


def _parts(clf):
    """The steps before the classifier, None for none, and itself."""
    linear = last_step(clf)
    if not isinstance(linear, SoftmaxClassifier):
        raise TypeError(
            f"Expected a SoftmaxRegressionClassifier, alone or at the end of a pipeline, got {type(linear).__name__}, "
            "of whose objective nothing is known. Remedy: fit a SoftmaxRegressionClassifier of the same C."
        )
    check_is_fitted(linear)
    clf = getattr(clf, "best_estimator_", clf)
    return (clf[:-1] if isinstance(clf, Pipeline) and len(clf) > 1 else None), linear


def _features(before, X):
    return X if before is None else before.transform(X)


def _optimum(clf, X, y, sample_weight):
    """The optimum that a classifier is of some rows, and which of these are the only ones of their class."""
    before, linear = _parts(clf)
    if linear._l1_share():
        raise ValueError(
            f"Expected an L2 penalty or none, got l1_ratio={linear._l1_share():g}, where which coefficients are zero "
            "may change with a row. Remedy: fit with l1_ratio=0."
        )
    if linear.penalty_factor is not None:
        raise ValueError(
            "Expected penalty_factor=None, got factors, by which this does not count the penalty. Remedy: fit to the "
            "features divided by their roots."
        )
    if linear.coef_bounds is not None:
        raise ValueError(
            "Expected coef_bounds=None, got bounds, which coefficients may reach or leave with a row. Remedy: fit "
            "without them."
        )
    classes = np.asarray(linear.classes_)
    source = as_source(linear, _features(before, X), reset=False)
    coef, intercept = coefficients(linear, source.n_features)
    labels = targets_among(classes, y, source.n_samples)
    weight, _ = row_weights(linear.class_weight, classes, labels, checked_weight(sample_weight, labels))
    n_threads, scale = effective_n_threads(linear.n_jobs), None
    if linear.standardize:
        scale = standard_deviations(source, weight, linear.fit_intercept, n_threads)
    options = {"fit_intercept": linear.fit_intercept, "n_threads": n_threads}
    rows = Rows(source, labels, len(classes), weight, scale, **options)
    optimum = rows.optimum(coef, intercept, float(linear.C_ if hasattr(linear, "C_") else linear.C))
    _check_there(linear, optimum, as_target(labels, len(classes), both=True))
    counts = rows.weight > 0
    is_alone = np.zeros(len(counts), bool)
    if labels.ndim == 1:
        is_alone = (np.bincount(labels[counts], minlength=len(classes))[labels] == 1) & counts
    return optimum, is_alone


def _check_there(linear, optimum, target):
    """Whether the coefficients are the optimum for these rows."""
    frequency = optimum.weight @ target / optimum.weight.sum()
    present = frequency[frequency > 0]
    null = -(present @ np.log(present)) if linear.fit_intercept else np.log(len(frequency))
    missing = optimum.decrement / optimum.weight.sum()
    if not missing <= _NOT_THERE * null:
        raise ValueError(
            f"Expected coefficients at the optimum for these rows, but their objective could be less by {missing:.2g}, "
            f"{missing / max(null, np.finfo(float).tiny):.2g} times that of the null model. Remedy: pass the X, y and "
            "sample_weight of the fit; without an offset, early stopping, partial_fit and refit=False; and with a tol "
            "of 1e-4 at the most."
        )
