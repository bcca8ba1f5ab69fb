"""Decisions by expected costs: by hand, and as scikit-learn's thresholds of two classes."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_iris, make_classification
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import confusion_matrix, make_scorer
from sklearn.model_selection import FixedThresholdClassifier, StratifiedKFold, TunedThresholdClassifierCV
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import softmax_clf.decisions
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.decisions import CostSensitiveClassifier
from softmax_clf.inspection import expected_cost

X, Y = load_iris(return_X_y=True)
COSTS = np.array([[0.0, 1.0, 2.0], [5.0, 0.0, 20.0], [1.0, 3.0, -1.0]])


def not_to_pass(estimator):
    reason = "decisions that are not those of the largest probability are what this is for"
    return {"check_classifiers_train": reason} if estimator.offsets == "tuned" else {}


@parametrize_with_checks(
    [
        CostSensitiveClassifier(SoftmaxRegressionClassifier()),
        CostSensitiveClassifier(SoftmaxRegressionClassifier(), offsets="tuned", cv=2),
    ],
    expected_failed_checks=not_to_pass,
)
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def mean_cost(y, predicted, costs=COSTS):
    return (confusion_matrix(y, predicted, labels=range(len(costs))) * costs).sum() / len(y)


def test_expected_cost_by_hand():
    clf = SoftmaxRegressionClassifier().fit(X, Y)
    proba = clf.predict_proba(X)
    found = expected_cost(clf, X, COSTS.tolist())
    for i, j in itertools.product((0, 70, 120), range(3)):
        assert found[i, j] == pytest.approx(sum(proba[i, k] * COSTS[k, j] for k in range(3)))
    decided = CostSensitiveClassifier(clf, COSTS).fit(X, Y)
    assert_allclose(decided.expected_cost(X), found)
    assert_array_equal(decided.predict(X), found.argmin(axis=1))
    assert mean_cost(Y, decided.predict(X)) < mean_cost(Y, clf.predict(X))
    assert_array_equal(CostSensitiveClassifier(clf).fit(X, Y).predict(X), clf.predict(X))


def test_two_classes_are_a_threshold():
    A, y = load_breast_cancer(return_X_y=True)
    names = np.array(["bad", "good"])[y]
    clf = SoftmaxRegressionClassifier(1e-3).fit(A, names)
    costs = [[0, 9], [1, 0]]  # a bad one taken for good costs nine times as much
    decided = CostSensitiveClassifier(FrozenEstimator(clf), costs).fit(A, names)
    threshold = FixedThresholdClassifier(FrozenEstimator(clf), threshold=0.9, pos_label="good").fit(A, names)
    assert_array_equal(decided.predict(A), threshold.predict(A))
    assert (decided.predict(A) != clf.predict(A)).any()
    inside = FixedThresholdClassifier(decided, threshold=0.9, pos_label="good").fit(A, names)
    assert_array_equal(inside.predict(A), threshold.predict(A))


def test_tuned_offsets_do_what_a_tuned_threshold_does():
    A, y = make_classification(400, n_features=5, flip_y=0.2, weights=[0.8], random_state=0)
    costs, cv = np.array([[0.0, 1.0], [4.0, 0.0]]), StratifiedKFold(5)
    wrong = SoftmaxRegressionClassifier(class_weight={0: 5.0, 1: 1.0})  # its probabilities are not what they say
    scorer = make_scorer(mean_cost, greater_is_better=False, costs=costs)
    threshold = TunedThresholdClassifierCV(wrong, scoring=scorer, cv=cv, thresholds=400).fit(A, y)
    untuned = CostSensitiveClassifier(wrong, costs).fit(A, y)
    tuned = CostSensitiveClassifier(wrong, costs, offsets="tuned", cv=cv).fit(A, y)
    cost = {name: mean_cost(y, clf.predict(A), costs) for name, clf in (("no", untuned), ("yes", tuned))}
    assert cost["yes"] < 0.9 * cost["no"]
    assert cost["yes"] <= 1.05 * mean_cost(y, threshold.predict(A), costs)
    assert tuned.mean_cost_ <= -threshold.best_score_ * 1.05


def test_tuned_offsets_are_the_best_of_their_turn():
    rng = np.random.default_rng(0)
    proba, labels, weight = rng.dirichlet([0.5] * 3, 80), rng.integers(0, 3, 80), rng.random(80)
    offsets, cost = softmax_clf.decisions._tuned_offsets(proba, labels, weight, COSTS)

    def of(offsets):
        decided = ((proba * np.exp(offsets)) @ COSTS).argmin(axis=1)
        return np.average(COSTS[labels, decided], weights=weight)

    assert cost == pytest.approx(of(offsets))
    assert cost < of(np.zeros(3))
    for k, b in itertools.product(range(3), np.linspace(-4, 4, 81)):
        other = offsets.copy()
        other[k] = b
        assert of(other) >= cost - 1e-12


@pytest.mark.parametrize("weighted", [False, True])
def test_tuned_by_the_out_of_fold_probabilities_that_are_there(weighted, monkeypatch):
    weight = np.random.default_rng(0).choice([0.0, 1.0, 2.0], 150) if weighted else None
    cv = StratifiedKFold(3)
    expected = CostSensitiveClassifier(SoftmaxRegressionClassifier(1.0, tol=1e-10), COSTS, offsets="tuned", cv=cv)
    expected.fit(X, Y, weight)
    monkeypatch.setattr(softmax_clf.decisions, "cross_val_predict", None)  # which is not to be needed
    choice = SoftmaxRegressionClassifierCV([1.0], cv=cv, store_oof_proba=True, tol=1e-10)
    found = CostSensitiveClassifier(choice, COSTS, offsets="tuned").fit(X, Y, weight)
    assert_allclose(found.offsets_, expected.offsets_)
    assert found.mean_cost_ == pytest.approx(expected.mean_cost_)
    assert_array_equal(found.predict(csr_array(X)), expected.predict(X))


def test_given_offsets_are_thresholds_by_class():
    clf = SoftmaxRegressionClassifier().fit(X, Y)
    decided = CostSensitiveClassifier(FrozenEstimator(clf), offsets=[0.0, -1.0, 1.0]).fit(X, Y)
    assert_array_equal(decided.predict(X), (clf.predict_log_proba(X) + [0.0, -1.0, 1.0]).argmax(axis=1))
    assert not hasattr(decided, "mean_cost_")


def test_what_is_wrong_is_said():
    clf = SoftmaxRegressionClassifier().fit(X, Y)
    for costs in ([[0, 1], [1, 0]], np.ones(3), 2.0, np.ones((2, 3))):
        with pytest.raises(ValueError, match=r"shape \(3, 3\).*Remedy"):
            expected_cost(clf, X, costs)
        with pytest.raises(ValueError, match=r"shape \(3, 3\).*Remedy"):
            CostSensitiveClassifier(clf, costs).fit(X, Y)
    with pytest.raises(ValueError, match=r"finite numbers.*Remedy"):
        expected_cost(clf, X, np.full((3, 3), np.nan))
    with pytest.raises(TypeError, match=r"LinearSVC has none.*Remedy"):
        expected_cost(LinearSVC().fit(X, Y), X, COSTS)
    with pytest.raises(ValueError, match=r"'tuned' or an array, got 'best'.*Remedy"):
        CostSensitiveClassifier(clf, offsets="best").fit(X, Y)
    for offsets in ([1.0, 2.0], [0.0, 0.0, np.inf]):
        with pytest.raises(ValueError, match=r"3 finite numbers.*Remedy"):
            CostSensitiveClassifier(clf, offsets=offsets).fit(X, Y)
