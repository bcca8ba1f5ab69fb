"""Data sets to fit, each small, each hard in its own way, and the best that is known for them.

Every value is exact in float32, so the same problem, with the same optimum, can be given in either precision.
What is returned is shared and read-only.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils._testing import ignore_warnings

import reference


class Problem(NamedTuple):
    """X (n_samples, n_features) float64, y (n_samples,) labels, sample_weight (n_samples,) float64."""

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray


class Optimum(NamedTuple):
    """The minimum of the objective: where, how low, and F of the null model to compare it with."""

    coef: np.ndarray
    intercept: np.ndarray
    loss: float
    null_loss: float


def _shipped(loader):
    return lambda rng: loader(return_X_y=True)


def _labels(rng, X, n_classes, coef_scale, log_prior=0.0):
    """Labels drawn from a softmax of X, so that classes overlap."""
    coef = coef_scale * rng.standard_normal((n_classes, X.shape[1])) / np.sqrt(X.shape[1])
    gumbel = -np.log(-np.log(rng.uniform(size=(len(X), n_classes))))
    return np.argmax(X @ coef.T + log_prior + gumbel, axis=1)


def _badly_scaled(rng):
    """Correlated columns with scales from 1e-3 to 1e3."""
    X = rng.standard_normal((400, 30)) @ (np.eye(30) + 0.3 * rng.standard_normal((30, 30)))
    y = _labels(rng, X, n_classes=4, coef_scale=3.0)
    return (X + rng.standard_normal(30)) * np.logspace(-3, 3, 30), y


def _wide(rng):
    """More features than rows."""
    X = rng.standard_normal((80, 300))
    return X, _labels(rng, X, n_classes=3, coef_scale=2.0)


def _many_classes(rng):
    """30 classes, the most frequent a hundred times as frequent as the rarest."""
    X = rng.standard_normal((1500, 20))
    y = _labels(rng, X, n_classes=30, coef_scale=2.0, log_prior=np.linspace(0, -np.log(100), 30))
    y[:60] = np.repeat(np.arange(30), 2)  # no class is missing
    return X, y


def _separable(rng):
    """Three clusters so far apart that without a penalty the coefficients would grow for ever."""
    y = np.arange(90) % 3
    return np.array([[0.0, 5.0], [5.0, -5.0], [-5.0, -5.0]])[y] + rng.uniform(-1, 1, size=(90, 2)), y


_MAKERS = {
    "iris": _shipped(datasets.load_iris),
    "wine": _shipped(datasets.load_wine),
    "breast_cancer": _shipped(datasets.load_breast_cancer),
    "digits": _shipped(datasets.load_digits),
    "badly_scaled": _badly_scaled,
    "wide": _wide,
    "many_classes": _many_classes,
    "separable": _separable,
}

NAMES = tuple(name for name in _MAKERS if name != "separable")
"""The problems to compare optima on; 'separable' is for what happens without a penalty."""

LARGE = {"digits", "many_classes"}
"""Those of which the oracles take a second for each optimum, so that tests try fewer of their optima."""


def _float32_exact(values):
    values = np.asarray(values, dtype=np.float32).astype(np.float64)
    values.flags.writeable = False
    return values


@lru_cache
def load(name):
    """The `Problem` of that name."""
    rng = np.random.default_rng(20260101)
    X, y = _MAKERS[name](rng)
    y = np.asarray(y)
    y.flags.writeable = False
    return Problem(_float32_exact(X), y, _float32_exact(rng.exponential(size=len(y)) + 0.05))


def objective(name, C, weighted=False, fit_intercept=True):
    """The `reference.Objective` of a problem; `weighted` uses its sample weights."""
    problem = load(name)
    return reference.Objective(
        problem.X,
        reference.one_hot(problem.y),
        C=C,
        sample_weight=problem.sample_weight if weighted else None,
        fit_intercept=fit_intercept,
    )


def optimum(name, C, weighted=False, fit_intercept=True):
    """The best that is known: the reference's minimum, or scikit-learn's where that is lower."""
    found = reference_optimum(name, C, weighted, fit_intercept), sklearn_optimum(name, C, weighted, fit_intercept)
    return min(found, key=lambda optimum: optimum.loss)


@lru_cache
def reference_optimum(name, C, weighted=False, fit_intercept=True):
    """The minimum by the reference's Newton method."""
    problem = objective(name, C, weighted, fit_intercept)
    return Optimum(*reference.minimise(problem), problem.null_loss())


@lru_cache
def sklearn_optimum(name, C, weighted=False, fit_intercept=True):
    """The minimum by scikit-learn's most accurate solver, in float64 and with the tightest tolerance it takes."""
    problem = load(name)
    clf = LogisticRegression(C=C, fit_intercept=fit_intercept, solver="newton-cholesky", tol=1e-14, max_iter=1000)
    # With this tolerance it says that it has not converged when it has reached the last digit.
    with ignore_warnings(category=ConvergenceWarning):
        clf.fit(problem.X, problem.y, sample_weight=problem.sample_weight if weighted else None)
    target = objective(name, C, weighted, fit_intercept)
    loss = target.loss(clf.coef_, clf.intercept_)
    return Optimum(clf.coef_, clf.intercept_ * np.ones(target.n_vectors), loss, target.null_loss())
