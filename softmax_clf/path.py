"""The regularisation path: coefficients for many values of C."""

import warnings
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .callbacks import Task
from .model_selection.classifier import SoftmaxRegressionClassifierCV
from .model_selection.grid import checked_Cs, checked_l1_ratios, from_largest_C, may_end_early
from .model_selection.grid_fits import GridFits
from .model_selection.settings import FitSettings
from .training_data import TrainingData


class SoftmaxPath(NamedTuple):
    """What :func:`softmax_regression_path` returns, to be unpacked or taken by name."""

    Cs: np.ndarray  # (n_Cs,)
    coefs: np.ndarray  # (n_Cs, n_outputs, n_features)
    intercepts: np.ndarray  # (n_Cs, n_outputs)
    n_iters: np.ndarray  # (n_Cs,)


def softmax_regression_path(
    X,
    y,
    *,
    Cs=10,
    l1_ratio=0.0,
    sample_weight=None,
    offset=None,
    penalty_factor=None,
    coef_bounds=None,
    l1_group=None,
    fit_intercept=True,
    standardize=False,
    class_weight=None,
    tol=1e-6,
    max_iter=1000,
    n_jobs=None,
    verbose=0,
):
    """Coefficients of :class:`SoftmaxRegressionClassifier` for many values of C, each from where the last one was.

    Parameters
    ----------
    X : array-like (n_samples, n_features)
    y : array-like (n_samples,), or (n_samples, n_classes)
        Labels, or target probabilities.
    Cs : int or array-like, default=10
        The values of C; for an integer, as many from 1e-4 to 1e4 in equal ratios; beside an L1 penalty from
        :func:`C_max` to 1000 times that, or 100 times where features outnumber rows, or to where the deviance
        explained hardly grows.
    sample_weight : array-like (n_samples,), default=None
    offset : array-like (n_samples, n_classes), default=None
        Added to the scores.
    l1_ratio, penalty_factor, coef_bounds, l1_group
        As in :class:`SoftmaxRegressionClassifier`.
    fit_intercept, standardize, class_weight, tol, max_iter, n_jobs, verbose
        As in :class:`SoftmaxRegressionClassifier`.

    Returns
    -------
    A named tuple, ``SoftmaxPath``, of

    Cs : ndarray (n_Cs,)
        As they were given, or those that an integer stands for.
    coefs : ndarray (n_Cs, n_classes, n_features), or (n_Cs, 1, n_features) for two classes
    intercepts : ndarray (n_Cs, n_classes) or (n_Cs, 1)
    n_iters : ndarray (n_Cs,)

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import softmax_regression_path
    >>> Cs, coefs, intercepts, n_iters = softmax_regression_path(*load_iris(return_X_y=True), Cs=[0.1, 1.0])
    >>> coefs.shape
    (2, 3, 4)
    """
    estimator = SoftmaxRegressionClassifierCV(
        Cs,
        l1_ratios=[l1_ratio],
        penalty_factor=penalty_factor,
        coef_bounds=coef_bounds,
        l1_group=l1_group,
        fit_intercept=fit_intercept,
        standardize=standardize,
        class_weight=class_weight,
        tol=tol,
        max_iter=max_iter,
        n_jobs=n_jobs,
        verbose=verbose,
    )
    try:
        estimator._validate_params()
    except ValueError as error:  # which names an estimator that the caller has not made
        raise type(error)(str(error).replace(type(estimator).__name__, "softmax_regression_path")) from None
    if not (l1_ratio is None or (isinstance(l1_ratio, Real) and 0 <= float(l1_ratio) <= 1)):
        raise ValueError(
            f"Expected l1_ratio to be a number from 0 to 1, got {l1_ratio!r}. Remedy: give one, such as 0.5; "
            "SoftmaxRegressionClassifierCV tries several."
        )
    values, l1_ratios = checked_Cs(Cs), checked_l1_ratios([l1_ratio])
    data = TrainingData.from_arguments(estimator, X, y, sample_weight, offset)
    values = from_largest_C(estimator, data, l1_ratios, values)
    all_rows = np.arange(data.source.n_samples)
    with np.errstate(under="ignore"):
        fits = GridFits(data, [all_rows], l1_ratios, values, FitSettings.from_estimator(estimator))
        fits.fit(Task(estimator), may_end_early(estimator, l1_ratios))
    if not fits.converged.all():
        warnings.warn(fits.convergence_message(), ConvergenceWarning, stacklevel=2)
    p = data.source.n_features
    paths = fits.paths[0, 0]
    intercepts = paths[:, :, p] if fit_intercept else np.zeros(paths.shape[:2], paths.dtype)
    return SoftmaxPath(fits.Cs, paths[:, :, :p], intercepts, fits.n_iters[0, 0])
