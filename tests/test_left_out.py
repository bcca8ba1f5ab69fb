"""The choice of C by approximate leave-one-out: a fit and one Newton step without each row, for each C."""

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits, load_iris
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.inspection import leave_one_out
from softmax_clf.leave_one_out import Rows
from softmax_clf.model_selection import left_out, left_out_sample
from softmax_clf.sources.arrays import ArraySource

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


# ---------------------------------------------------------------------------------------------------------------------
# Many rows: a sample of them is left out exactly


def problem(kind, n_classes, n_samples=600):
    rng = np.random.default_rng(n_classes)
    X = (rng.standard_normal((n_samples, 12)) + 2.0) / np.arange(1, 13)
    scores = X @ rng.standard_normal((12, n_classes)) + rng.gumbel(size=(n_samples, n_classes))
    y = scores.argmax(axis=1)
    if kind == "sparse":
        X = scipy.sparse.csr_matrix(np.where(np.abs(X) > 0.2, X, 0.0))
    given = {}
    if kind == "weights":
        given["sample_weight"] = rng.choice([0.0, 0.5, 1.0, 3.0], n_samples)
    if kind == "offset":
        given["offset"] = rng.standard_normal((n_samples, n_classes))
    if kind == "target probabilities":
        y = np.full((n_samples, n_classes), 0.1 / n_classes) + 0.9 * np.eye(n_classes)[y]
    return X, y, given


KINDS = [
    ("plain", {}),
    ("weights", {"standardize": True}),
    ("sparse", {"fit_intercept": False}),
    ("offset", {}),
    ("target probabilities", {}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_sample_of_rows_tells_the_loss_of_all(n_classes, kind, options, monkeypatch):
    X, y, given = problem(kind, n_classes)
    Cs = np.logspace(-3, 2, 4)
    exact = SoftmaxRegressionClassifierCV(Cs, cv="loo", score_tol=0, **options).fit(X, y, **given)
    assert not exact.score_errors_.any()
    monkeypatch.setattr(left_out, "is_worth_it", lambda *sizes: True)
    sampled = SoftmaxRegressionClassifierCV(Cs, cv="loo", **options).fit(X, y, **given)
    off = np.abs(sampled.scores_ - exact.scores_)[0, 0]
    errors = sampled.score_errors_[0, 0]
    assert (errors > 0).all()
    assert (off <= 4 * errors + 1e-5).all()
    assert sampled.C_ == exact.C_
    # far less than being left out costs at these C, and than the standard error of the mean, some 0.04
    assert (errors < 0.02).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_of_the_sample_are_left_out_exactly(n_classes, monkeypatch):
    """By the same Newton step as those of the exact way, each by its own system."""
    X, y, given = problem("weights", n_classes, 60)
    monkeypatch.setattr(left_out_sample, "_RESIDUAL", 1e-10)
    C, source = 3.0, ArraySource(X)
    clf = SoftmaxRegressionClassifier(C, tol=1e-12).fit(X, y, **given)
    rows = Rows(source, y, n_classes, given["sample_weight"], None, fit_intercept=True, n_threads=1)
    log_proba = rows.log_proba_without(clf.coef_, clf.intercept_, C)
    sample = left_out_sample.SampledLeftOut(rows, y, None, 0.1)
    sample.scores([(clf.coef_, clf.intercept_, C)])
    every, point = np.arange(len(y)), sample.points[0]
    state = np.empty((1, point.point.shape[0], len(y)))
    point.differences.clear()
    sample._sample(point, every, state, None)
    rough = sample._losses_of(every, [point])[1, 0]
    found = rough + np.array(point.differences) * sample.chance / sample.share
    assert_allclose(found, -log_proba[every, y], rtol=1e-4, atol=1e-8)


def test_the_exact_way_is_left_where_it_takes_long():
    digits, embeddings = (1797, 10, 65), (50_000, 10, 513)
    assert not left_out_sample.is_worth_it(*digits, n_Cs=20)
    assert left_out_sample.is_worth_it(*embeddings, n_Cs=20)
    assert not left_out_sample.is_worth_it(12_000, 1, 11_000, n_Cs=5)  # eigenvectors would take longer
