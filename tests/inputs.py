"""Random data of every kind that a fit takes, and what is to come of them. tests/test_inputs.py runs it."""

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import LogisticRegression

import reference
from softmax_clf import SoftmaxRegressionClassifier

FLOATS = {np.float64: (-310, 300), np.float32: (-44, 37), np.float16: (-7, 4)}  # powers of ten that they hold
INTEGERS = [np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16, bool]
EXPECTED = [  # warnings
    (ConvergenceWarning, ""),
    (DataConversionWarning, ""),  # target probabilities of one class alone
    (UserWarning, "The best C"),
    (UserWarning, "The least populated class"),
    (UserWarning, "Scores are not finite"),  # without a row that alone has a class, or a feature, and without a penalty
]
LABELS = {
    "integers": lambda y: y,
    "negative": lambda y: 7 * y - 10,
    "floats": lambda y: y / 1.0,
    "strings": lambda y: np.array(["ant", "bee", "cat", "dog", "eel"])[y],
    "objects": lambda y: np.array(["ant", "bee", "cat", "dog", "eel"], object)[y],
    "list": lambda y: y.tolist(),
    "series": lambda y: pd.Series(y, index=np.arange(len(y))[::-1]),
    "targets": lambda y: np.eye(y.max() + 1)[y],
}


class Rows:
    """Rows that can be had in slices only."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        return self.X[rows]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def strided(X):
    out = np.zeros((2 * X.shape[0], 3 * X.shape[1]), X.dtype)
    out[::2, ::3] = X
    return out[::2, ::3]


def memory_map(X):
    """Of a file that is gone as soon as it is mapped."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        np.save(Path(folder) / "X.npy", X)
        return np.load(Path(folder) / "X.npy", mmap_mode="r")


def duplicated(X):
    """CSR with its entries in two halves, which are to be added, in no order."""
    X = sparse.coo_array(X)
    half = np.where(np.isfinite(X.data), X.data / 2, 0.0)
    order = np.random.default_rng(0).permutation(2 * X.nnz)
    data, row, col = (np.concatenate(pair)[order] for pair in ((half, X.data - half), (X.row, X.row), (X.col, X.col)))
    by_row = np.argsort(row, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=X.shape[0]))])
    return sparse.csr_array((data[by_row], col[by_row], indptr), shape=X.shape)


def long_indices(X):
    X = sparse.csr_array(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


DENSE = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": strided,
    "backwards": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only,
    "list": lambda X: X.tolist(),
    "frame": pd.DataFrame,
    "stream": Rows,
    "memory map": memory_map,
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
}
SPARSE = {"csr": sparse.csr_array, "csc": sparse.csc_matrix, "coo": sparse.coo_array, "int64": long_indices}


@st.composite
def cases(draw, is_plain=False):
    """X as a plain array, the container to put it in, y as places, weights, parameters of the estimator.

    Where ``is_plain`` rows are float64 in C order or CSR: other tests compile what these need.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, p, n_classes = draw(st.integers(2, 40)), draw(st.integers(1, 12)), draw(st.integers(2, 5))
    X, exponent = rng.standard_normal((n, p)), 0.0
    if is_plain or draw(st.booleans()):
        dtype = np.float64 if is_plain else draw(st.sampled_from(sorted(FLOATS, key=str)))
        low, high = FLOATS[dtype]
        if draw(st.booleans()):
            exponent = draw(st.floats(low, high))
        if draw(st.integers(0, 4)) == 0:  # each column of a size of its own
            exponent = np.clip(exponent + draw(st.floats(0, 20)) * rng.standard_normal(p), low, high)
        if np.ndim(exponent) == 0 and exponent == 0 and dtype != np.float16 and draw(st.booleans()):
            X += 10.0 ** draw(st.floats(0, 12 if dtype == np.float64 else 5))
        with np.errstate(all="ignore"):
            X = (X * 10.0**exponent).astype(dtype)
            X = np.clip(X, np.finfo(dtype).min / 2, np.finfo(dtype).max / 2)
    else:
        dtype = draw(st.sampled_from(INTEGERS))
        X = (
            (X > 0)
            if dtype is bool
            else (X * 10.0 ** draw(st.floats(0, 2))).clip(0 if dtype().dtype.kind == "u" else -128, 127).astype(dtype)
        )
    if draw(st.integers(0, 3)) == 0:
        X[:, rng.integers(p)] = X[0, 0]  # constant
    if p > 1 and draw(st.integers(0, 3)) == 0:
        X[:, 0] = X[:, -1]
    if draw(st.integers(0, 5)) == 0:
        X[rng.integers(n, size=n)] = X[0]  # rows that are repeated
    if draw(st.booleans()):
        container = "C" if is_plain else draw(st.sampled_from(sorted(DENSE)))
    else:
        X = np.where(rng.random(X.shape) < draw(st.sampled_from([0.1, 0.5, 1.0])), X, 0).astype(X.dtype)
        kinds = ["csr"] if is_plain else sorted(SPARSE) + (["duplicates"] if X.dtype == np.float64 else [])
        container = draw(st.sampled_from(kinds if X.dtype != np.float16 else ["C"]))
    y = rng.integers(n_classes, size=n)
    if draw(st.booleans()):  # features that tell of the class
        with np.errstate(all="ignore"):
            order = np.argsort(X.astype(float)[:, 0] / (abs(X[:, 0].astype(float)).max() + 1e-320))
        y[order] = np.arange(n) * n_classes // n
    weight = draw(st.sampled_from([None, "random", "zeros", "class", "large", "small"]))
    weights = {
        "random": rng.uniform(0.1, 3, n),
        "zeros": rng.integers(0, 3, n) * 1.0,
        "class": (y != y[0]) * 1.0,
        "large": rng.uniform(0.1, 1, n) * 1e300,
        "small": rng.uniform(0.1, 1, n) * 1e-290,
    }
    fault = draw(st.sampled_from([None] * 15 + ["nan", "infinity", "short", "negative weight"]))
    parameters = {
        "C": draw(st.sampled_from([1e-6, 1e-2, 1.0, 1.0, 1e2, 1e6, np.inf])),
        "fit_intercept": draw(st.sampled_from([True, True, False])),
        "standardize": draw(st.sampled_from([False, False, True])),
        "l1_ratio": draw(st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0])),
        "class_weight": draw(st.sampled_from([None, None, "balanced"])),
        "n_jobs": draw(st.sampled_from([1, 2])),
    }
    labels = draw(st.sampled_from(sorted(LABELS)))
    if labels == "targets":
        parameters["class_weight"] = None  # rows that belong to no one class
    return X, container, y, labels, weights.get(weight), fault, parameters


def magnitudes(X):
    X = abs(X[np.isfinite(X) & (X != 0)])
    return (X.min(), X.max()) if X.size else (1.0, 1.0)


class Given(NamedTuple):
    """A case as it is given to an estimator, and what is known of it."""

    X: Any  # in its container
    y: Any  # labels, or target probabilities
    weight: np.ndarray | None
    plain: np.ndarray  # X in float64, without faults
    places: np.ndarray  # y as places of the classes
    mass: np.ndarray  # the weights, ones without any
    fault: str | None
    valid: bool  # no fault, and two classes of a weight, or there is nothing to fit
    moderate: bool  # squares, of rows and weights and coefficients, are numbers
    dtype: np.dtype


def given_to(case):
    """The `Given` of a case."""
    X, container, y, labels, weight, fault, parameters = case
    plain = X.astype(np.float64)
    if fault in ("nan", "infinity") and X.dtype.kind == "f":
        X = X.copy()
        X.flat[X.size // 2] = np.nan if fault == "nan" else np.inf
    elif fault == "negative weight" and weight is not None:
        weight = weight - weight.max()
    else:
        fault = "short" if fault == "short" else None
    mass = np.ones(len(y)) if weight is None else weight
    valid = fault is None and np.unique(y[mass > 0]).size >= 2
    low, high = magnitudes(plain)
    moderate = 1e-100 < low and high < 1e100 and (weight is None or weight.max() < 1e200)
    with np.errstate(over="ignore", invalid="ignore"):
        moderate &= bool(np.min(parameters["C"]) * mass.sum() * np.float64(low) ** 2 > 1e-300)
    if X.dtype == np.float32:  # whose coefficients, as large as the values are small, are to be float32 too
        moderate &= low > 1e-36
    y_held = LABELS[labels](y[1:] if fault == "short" else y)
    return Given(held(X, container), y_held, weight, plain, y, mass, fault, valid, moderate, X.dtype)


def held(X, container):
    """X in a container."""
    return {**SPARSE, **DENSE, "duplicates": duplicated}[container](X)


def refusal(estimator, fit):
    """The error that a call ends with, which leaves nothing behind; None where there is none."""
    before = vars(estimator).copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for category, message in EXPECTED:
            warnings.filterwarnings("ignore", message, category)
        try:
            fit()
            return None
        except ValueError as raised:
            error = raised
    assert str(error), "an error without a word"
    assert vars(estimator).keys() == before.keys(), "an error left something behind"
    assert all(vars(estimator)[name] is value for name, value in before.items()), "an error changed something"
    return error


def check(case):
    """Fit one case; AssertionError where what comes of it is neither right nor scikit-learn's kind of error."""
    parameters, given = case[-1], given_to(case)
    clf = SoftmaxRegressionClassifier(**parameters)
    error = refusal(clf, lambda: clf.fit(given.X, given.y, given.weight))
    if error is not None:
        assert not given.valid or not given.moderate, f"refused: {error}"
        return "refused"
    assert given.valid or given.fault is None, f"accepted in spite of {given.fault}"
    if not given.valid:
        return "one class"  # of a weight: targets, or classes that are known by rows without one
    check_predictions(clf, given.X)
    assert np.isfinite(clf.objective_), "objective"
    assert clf.objective_ <= clf.loss_curve_[0] * (1 + 1e-6), "worse than where it started"
    if given.moderate and not parameters["standardize"]:
        compare(clf, given.plain, given.places, given.mass, parameters, given.dtype)
        return "compared"
    return "fitted"


def check_predictions(clf, X):
    """Probabilities are probabilities, and nothing is NaN."""
    proba = clf.predict_proba(X)
    found = [proba, clf.predict_log_proba(X), clf.decision_function(X), clf.coef_, clf.intercept_]
    check_proba(proba, clf.coef_.dtype)
    assert not any(np.isnan(array).any() for array in found), "NaN"
    assert clf.predict(X).shape == (len(proba),)


def check_proba(proba, dtype):
    assert np.isfinite(proba).all(), "probabilities"
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=0, atol=1e-12 if dtype == np.float64 else 1e-5)
    assert proba.min() >= 0


def compare(clf, X, y, mass, parameters, dtype, share=2e-6):
    """The objective is no higher than that of scikit-learn's best solver at its tightest, by a share of the null's."""
    classes = np.unique(y)
    if len(clf.classes_) != len(classes):
        return  # target probabilities of a class that no row has
    total = (
        reference.row_weights(y, mass, parameters["class_weight"])
        if (np.bincount(y, mass)[classes] > 0).all()
        else None
    )
    if total is None:
        return  # a class without weight has no balanced one
    C, l1_ratio = parameters["C"], parameters["l1_ratio"]
    target = reference.one_hot(y, classes)
    objective = reference.Objective(X, target, C, total, parameters["fit_intercept"], l1_ratio=l1_ratio)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = objective.loss(clf.coef_, clf.intercept_)
        best = np.inf
        solvers = ["saga"] if l1_ratio else ["newton-cholesky", "lbfgs"]
        for solver in solvers:
            peer = LogisticRegression(
                C=C,
                l1_ratio=l1_ratio,
                fit_intercept=parameters["fit_intercept"],
                solver=solver,
                tol=1e-10,
                max_iter=300,
            )
            try:
                peer.fit(X, y, total)
            except (ValueError, np.linalg.LinAlgError, FloatingPointError):
                continue
            there = objective.loss(peer.coef_, peer.intercept_ * np.ones(objective.n_vectors))
            best = min(best, there if np.isfinite(there) else np.inf)
        # what a sum of that size is known to, in the precision of the data
        rounding = np.abs(clf.coef_) @ np.abs(X).max(axis=0) + np.abs(clf.intercept_)
        eps = np.finfo(np.float64 if dtype in (np.float64, np.int32, np.int64, np.uint16) else np.float32).eps
        allowed = share * objective.null_loss() + 8 * eps * rounding.max()
    assert ours <= best + allowed, f"{ours} where scikit-learn has {best}, allowed {allowed}, {clf.converged_=}"


def run(n_cases, first_seed=0, make=cases, check=check, is_plain=False):
    """Check so many cases; print how many came to what."""
    outcomes = {}

    @seed(first_seed)
    @settings(
        max_examples=n_cases, database=None, derandomize=False, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(make(is_plain))
    def test(case):
        outcome = check(case)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    test()
    print(sum(outcomes.values()), *(f"{name.replace(' ', '-')}={n}" for name, n in sorted(outcomes.items())))


if __name__ == "__main__":
    run(*map(int, sys.argv[1:]))
