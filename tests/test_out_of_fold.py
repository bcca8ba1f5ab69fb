"""Out-of-fold probabilities: what each fold's own cell says of the rows that it holds out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_iris
from sklearn.model_selection import KFold, RepeatedStratifiedKFold, StratifiedKFold, cross_val_predict

import reference
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV

X, Y = load_iris(return_X_y=True)
CS = np.logspace(-2, 2, 3)
CV = StratifiedKFold(3, shuffle=True, random_state=0)


def fitted(X=X, y=Y, cv=CV, **options):
    return SoftmaxRegressionClassifierCV(CS, cv=cv, store_oof_proba=True, **options).fit(X, y)


def by_folds(clf, X, y, cells, splits):
    """By the coefficients of each fold's cell, a sum and a count for each row, in plain NumPy."""
    sums, counts = np.zeros((len(y), len(clf.classes_))), np.zeros((len(y), 1))
    for f, (_, test) in enumerate(splits):
        point = clf.coefs_paths_[f][cells[f]]
        scores = X[test] @ point[:, :-1].T + point[:, -1]
        if scores.shape[1] == 1:
            scores = np.hstack([np.zeros_like(scores), scores])
        sums[test] += reference.softmax(scores)
        counts[test] += 1
    with np.errstate(invalid="ignore"):
        return sums / counts


@pytest.mark.parametrize("selection", ["best", "1se"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_are_those_of_cross_val_predict(n_classes, selection):
    rows = n_classes > Y
    clf = fitted(X[rows], Y[rows], tol=1e-12, selection=selection)
    one = SoftmaxRegressionClassifier(clf.C_, tol=1e-12)
    expected = cross_val_predict(one, X[rows], Y[rows], cv=CV, method="predict_proba")
    assert clf.oof_proba_.dtype == np.float64
    assert_allclose(clf.oof_proba_, expected, rtol=0, atol=1e-6)
    with pytest.raises(AssertionError):  # which the fit on all rows is not
        assert_allclose(clf.predict_proba(X[rows]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_are_those_of_the_coefficients_of_the_folds_to_the_bit(dtype, n_classes, refit):
    keep = n_classes > Y
    A, y = X[keep].astype(dtype), np.array(["a", "b", "c"])[Y[keep]]
    clf = fitted(A, y, refit=refit)
    assert clf.oof_proba_.dtype == dtype
    c = np.argmin(np.abs(CS - clf.C_))
    best = clf.scores_[:, 0].argmax(axis=1)
    one, chosen = SoftmaxRegressionClassifier().fit(A, y), [(0, c if refit else k) for k in best]
    for f, (_, test) in enumerate(CV.split(A, y)):
        point = clf.coefs_paths_[f][chosen[f]]
        one.coef_, one.intercept_ = point[:, :-1], point[:, -1]
        assert_array_equal(clf.oof_proba_[test], one.predict_proba(A[test]))
    assert_allclose(clf.oof_proba_, by_folds(clf, A, y, chosen, CV.split(A, y)), atol=1e-5)


@pytest.mark.parametrize("kind", ["csr", "fortran", "memmap", "uint8", "read-only"])
def test_of_data_where_they_lie(kind, tmp_path):
    A = np.round(10 * X).astype(np.uint8) if kind == "uint8" else X
    expected = fitted(A.astype(np.float32 if kind == "uint8" else np.float64), tol=1e-12 if kind == "csr" else 1e-6)
    if kind == "memmap":
        np.save(tmp_path / "X.npy", A)
        A = np.load(tmp_path / "X.npy", mmap_mode="r")
    elif kind == "read-only":
        A = A.copy()
        A.flags.writeable = False
    else:
        A = {"csr": csr_array, "fortran": np.asfortranarray, "uint8": np.asarray}[kind](A)
    clf = fitted(A, tol=expected.tol)
    assert clf.C_ == expected.C_
    assert_allclose(clf.oof_proba_, expected.oof_proba_, atol=2e-5)


def test_of_rows_that_several_folds_hold_out_or_none():
    cv = RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0)
    clf = fitted(cv=cv)
    c = list(CS).index(clf.C_)
    assert_allclose(clf.oof_proba_, by_folds(clf, X, Y, [(0, c)] * 6, cv.split(X, Y)), rtol=1e-12)

    test = np.arange(0, 150, 7)
    twice = np.append(test - 150, test[:3])  # from the end, and some twice
    clf = fitted(cv=[(np.delete(np.arange(150), test), twice)])
    assert np.isfinite(clf.oof_proba_[test]).all()
    assert np.isnan(np.delete(clf.oof_proba_, test, axis=0)).all()
    point = clf.coefs_paths_[0, 0, list(CS).index(clf.C_)]
    expected = reference.softmax(X[test] @ point[:, :-1].T + point[:, -1])
    assert_allclose(clf.oof_proba_[test], expected, rtol=1e-12)


def test_of_classes_that_a_fold_lacks():
    """As `cross_val_predict` has it: zero."""
    y = np.concatenate([Y[:50], [1] * 25, [2] * 25, [3] * 50])
    cv = [(np.arange(50, 150), np.arange(50)), (np.r_[0:50, 60:75, 110:150], np.r_[50:60, 75:110])]
    clf = fitted(y=y, cv=cv, tol=1e-12)
    assert_array_equal(clf.oof_proba_[:50, 0], 0)
    assert_array_equal(clf.oof_proba_[cv[1][1], 2], 0)
    assert_allclose(clf.oof_proba_[np.r_[0:60, 75:110]].sum(axis=1), 1)
    one = SoftmaxRegressionClassifier(clf.C_, tol=1e-12).fit(X[50:], y[50:])
    assert_allclose(clf.oof_proba_[:50, 1:], one.predict_proba(X[:50]), atol=1e-6)


def test_are_kept_where_asked_for():
    clf = fitted(cv=KFold(3, shuffle=True, random_state=0))
    assert not hasattr(clf.set_params(store_oof_proba=False).fit(X, Y), "oof_proba_")
    with pytest.raises(ValueError, match="store_oof_proba"):
        clf.set_params(store_oof_proba="yes").fit(X, Y)
