"""The worked examples that textbooks and lecture notes give, to the digits that they print."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from softmax_clf import SoftmaxRegressionClassifier


@pytest.fixture
def identity_clf():
    """A classifier of three classes whose scores are the three features."""
    clf = SoftmaxRegressionClassifier().fit(np.eye(3), [0, 1, 2])
    clf.coef_ = np.eye(3)
    clf.intercept_ = np.zeros(3)
    return clf


def test_probabilities_of_3_1_minus_3(identity_clf):
    proba = identity_clf.predict_proba([[3.0, 1.0, -3.0]])
    assert_allclose(proba, [[0.88, 0.12, 0.00]], rtol=0, atol=0.005)
    assert proba.sum() == pytest.approx(1.0, rel=1e-15)
    assert identity_clf.predict([[3.0, 1.0, -3.0]]) == [0]


def test_cat_car_frog(identity_clf):
    """Scores of the image of a cat: 3.2 cat, 5.1 car, -1.7 frog."""
    identity_clf.classes_ = np.array(["cat", "car", "frog"])
    scores = [[3.2, 5.1, -1.7]]
    assert_allclose(identity_clf.decision_function(scores), scores, rtol=1e-15)
    assert_allclose(identity_clf.predict_proba(scores), [[0.13, 0.87, 0.00]], rtol=0, atol=0.005)
    assert identity_clf.predict(scores).tolist() == ["car"]


def test_loss_of_the_first_class(identity_clf):
    assert identity_clf.sample_loss([[3.2, 5.1, -1.7]], [0]) == pytest.approx([2.04], abs=0.005)


def test_loss_is_minus_the_logarithm_of_the_probability_of_the_class(identity_clf):
    scores = np.log([[0.6, 0.3, 0.1]] * 3)
    loss = identity_clf.sample_loss(scores, [0, 1, 2])
    assert loss.shape == (3,)
    assert_allclose(loss, [-np.log(0.6), -np.log(0.3), -np.log(0.1)], rtol=1e-14)
    assert_allclose(loss, [0.51, 1.20, 2.30], rtol=0, atol=0.005)


def test_linear_scores_with_weights_and_bias():
    """Lecture notes of cs231n: W x + b of an image of four pixels, the softmax of its scores, its cross-entropy."""
    clf = SoftmaxRegressionClassifier().fit(np.eye(4), [0, 1, 2, 2])
    clf.coef_ = np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0.0, -0.45, -0.2, 0.03]])
    clf.intercept_ = np.array([0.0, 0.2, -0.3])
    image = [[-15.0, 22.0, -44.0, 56.0]]
    assert_allclose(clf.decision_function(image), [[-2.85, 0.86, 0.28]], rtol=1e-12)
    assert_allclose(clf.predict_proba(image), [[0.016, 0.631, 0.353]], rtol=0, atol=0.001)
    assert clf.sample_loss(image, [2]) == pytest.approx([1.04], abs=0.005)


def test_two_classes_are_the_logistic_function():
    clf = SoftmaxRegressionClassifier().fit([[-1.0], [1.0]], [0, 1])
    clf.coef_, clf.intercept_ = np.array([[2.0]]), np.array([-1.0])
    X = [[0.5], [1.5], [-0.5]]
    assert_allclose(clf.decision_function(X), [0.0, 2.0, -2.0], rtol=1e-15, atol=1e-15)
    assert_allclose(clf.predict_proba(X)[:, 1], [0.5, 0.880797, 0.119203], rtol=0, atol=5e-7)
    assert_allclose(clf.sample_loss(X, [1, 1, 1]), [np.log(2), 0.126928, 2.126928], rtol=0, atol=5e-7)


def test_shifting_the_scores_changes_nothing(identity_clf):
    """Scores (123, 456, 789) overflow a naive softmax."""
    assert_allclose(identity_clf.predict_proba([[123.0, 456.0, 789.0]]), [[0.0, 0.0, 1.0]], rtol=0, atol=1e-100)
    assert_allclose(identity_clf.sample_loss([[1e3, 0.0, 0.0]], [1]), [1e3], rtol=1e-15)
    shifted = identity_clf.predict_proba([[1003.0, 1001.0, 997.0]])
    assert_allclose(shifted, identity_clf.predict_proba([[3.0, 1.0, -3.0]]), rtol=1e-13)


def test_uniform_scores_lose_the_logarithm_of_the_number_of_classes():
    """The check that every first run of training starts with: loss log(10) = 2.303 for ten classes."""
    clf = SoftmaxRegressionClassifier().fit(np.eye(10), np.arange(10))
    clf.coef_, clf.intercept_ = np.zeros((10, 10)), np.zeros(10)
    assert_allclose(clf.sample_loss(np.eye(10), np.arange(10)), np.full(10, 2.302585092994046), rtol=1e-15)
