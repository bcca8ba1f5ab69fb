"""The choice of C by approximate leave-one-out: a fit and one Newton step without each row, for each C."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits, load_iris
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.inspection import leave_one_out

IRIS, SPECIES = (values[::3] for values in load_iris(return_X_y=True))
WEIGHT = np.random.default_rng(0).choice([0.5, 1.0, 3.0], 50)


@pytest.mark.parametrize("scoring", [None, "accuracy"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_choice_of_C_by_leave_one_out(n_classes, standardize, scoring):
    keep = SPECIES > (0 if n_classes == 2 else -1)
    X, y, weight = IRIS[keep], np.array(["a", "b", "c"])[SPECIES[keep]], WEIGHT[keep]
    Cs = np.logspace(-2, 2, 5)
    options = {"standardize": standardize, "tol": 1e-10, "class_weight": "balanced"}
    clf = SoftmaxRegressionClassifierCV(Cs, cv="loo", scoring=scoring, store_oof_proba=True, **options)
    clf.fit(X, y, weight)
    scores, proba = [], []
    for C in Cs:
        one = SoftmaxRegressionClassifier(C, **options).fit(X, y, weight)
        log_proba = leave_one_out(one, X, y, sample_weight=weight, max_refined=0).log_proba
        place = np.searchsorted(one.classes_, y)
        measure = log_proba.argmax(axis=1) == place if scoring else log_proba[np.arange(len(y)), place]
        scores.append(np.average(measure, weights=weight))
        proba.append(np.exp(log_proba))
    assert clf.scores_.shape == (1, 1, 5)
    assert_allclose(clf.scores_[0, 0], scores, rtol=1e-4)
    assert clf.C_ == Cs[np.argmax(scores)]
    assert_allclose(clf.oof_proba_, proba[np.argmax(scores)], atol=1e-4)
    assert_allclose(
        clf.coef_, SoftmaxRegressionClassifier(clf.C_, **options).fit(X, y, weight).coef_, rtol=0.01, atol=1e-3
    )


def test_the_best_C_of_the_digits():
    """bbai's."""
    X, y = load_digits(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    clf = SoftmaxRegressionClassifierCV([0.5, 0.9, 1.0606, 1.25, 2.0], cv="loo", tol=1e-10).fit(X, y)
    assert clf.C_ == 1.0606
    assert clf.best_score_ == pytest.approx(-0.0993466, rel=1e-4)


def test_choices_of_C_that_are_not_to_be():
    for options, match in (
        ({"scoring": "roc_auc_ovr"}, r"scoring to be None.*'roc_auc_ovr'.*Remedy"),
        ({"l1_ratios": [0.0, 0.5]}, r"l1_ratios of zero.*Remedy"),
        ({"selection": "1se"}, r"2 folds.*Remedy"),
    ):
        with pytest.raises(ValueError, match=match):
            SoftmaxRegressionClassifierCV([1.0], cv="loo", **options).fit(IRIS, SPECIES)


def test_a_C_without_an_optimum_is_not_chosen():
    X, y = np.hstack([IRIS, IRIS[:, :1]]), SPECIES
    with pytest.warns(UserWarning, match=r"not finite for C in \[inf\]"):
        clf = SoftmaxRegressionClassifierCV([0.1, 10.0, np.inf], cv="loo", fit_intercept=False).fit(X, y)
    assert clf.C_ == 10.0
