"""SoftmaxRegressionClassifier as scikit-learn's users meet it."""

import importlib.util
import inspect
import pickle
import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import problems
import reference
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path, validation

IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
CANCER = CANCER / CANCER.std(axis=0)

FITTED = ["coef_", "intercept_", "classes_", "n_features_in_", "n_iter_", "converged_", "objective_", "suboptimality_"]
METHODS = ["decision_function", "predict_proba", "predict_log_proba"]


@parametrize_with_checks(
    [
        SoftmaxRegressionClassifier(),
        SoftmaxRegressionClassifier(C=100),
        SoftmaxRegressionClassifier(standardize=True),
        SoftmaxRegressionClassifier(class_weight="balanced"),
        SoftmaxRegressionClassifierCV([0.1, 1.0, 10.0], cv=3),
        SoftmaxRegressionClassifierCV([1.0], cv=3, l1_ratios=[0.5], standardize=True, class_weight="balanced"),
    ]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def tight(**params):
    return SoftmaxRegressionClassifier(tol=1e-12, **params)


# --- parameters and attributes ----------------------------------------------------------------------------------


def test_parameters_are_those_of_the_contract():
    """A parameter is there when it works; its default is then this one."""
    contract = {
        "C": 1.0,
        "l1_ratio": 0.0,
        "penalty_factor": None,
        "coef_bounds": None,
        "l1_group": None,
        "fit_intercept": True,
        "standardize": False,
        "class_weight": None,
        "tol": 1e-6,
        "max_iter": 1000,
        "warm_start": False,
        "early_stopping": False,
        "validation_fraction": 0.1,
        "n_iter_no_change": 5,
        "n_jobs": None,
        "random_state": None,
        "verbose": 0,
    }
    params = inspect.signature(SoftmaxRegressionClassifier).parameters
    found = {name: param.default for name, param in params.items()}
    assert found.items() <= contract.items()
    assert list(found) == [name for name in contract if name in found]
    assert {"C", "fit_intercept", "class_weight", "tol", "max_iter", "warm_start", "n_jobs", "verbose"} <= found.keys()
    assert [name for name, param in params.items() if param.kind is not param.KEYWORD_ONLY] == ["C"]
    assert SoftmaxRegressionClassifier().get_params() == found


def test_positional_arguments_of_fit():
    params = inspect.signature(SoftmaxRegressionClassifier.fit).parameters
    positional = [name for name, param in params.items() if param.kind is not param.KEYWORD_ONLY]
    assert positional == ["self", "X", "y", "sample_weight"]
    assert {"coef_init", "intercept_init"} <= params.keys()


def test_fitted_attributes():
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    assert clf.coef_.shape == (3, 4)
    assert clf.intercept_.shape == (3,)
    assert_array_equal(clf.classes_, [0, 1, 2])
    assert clf.n_features_in_ == 4
    assert not hasattr(clf, "feature_names_in_")
    assert np.max(clf.n_iter_) >= 1
    assert clf.converged_ is True
    assert isinstance(clf.objective_, float)
    assert isinstance(clf.suboptimality_, float)
    assert is_classifier(clf)


def test_two_classes_have_one_vector():
    clf = tight().fit(CANCER, BENIGN)
    peer = LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(CANCER, BENIGN)
    assert clf.coef_.shape == (1, 30)
    assert clf.intercept_.shape == (1,)
    assert clf.decision_function(CANCER).shape == (569,)
    assert clf.predict_proba(CANCER).shape == (569, 2)
    assert_allclose(clf.coef_, peer.coef_, rtol=1e-4, atol=1e-6)
    assert_allclose(clf.intercept_, peer.intercept_, rtol=1e-4)
    assert_array_equal(clf.predict(CANCER), peer.classes_[(clf.decision_function(CANCER) > 0).astype(int)])


def test_without_intercept():
    for X, y, n_vectors in ((IRIS, SPECIES, 3), (CANCER, BENIGN, 1)):
        clf = SoftmaxRegressionClassifier(fit_intercept=False).fit(X, y)
        assert_array_equal(clf.intercept_, np.zeros(n_vectors))


def test_intercepts_sum_to_zero():
    """One number may be added to all of them; the choice is the one that LogisticRegression makes."""
    clf = tight().fit(IRIS, SPECIES)
    assert abs(clf.intercept_.sum()) <= 1e-8 * np.abs(clf.intercept_).max()
    assert np.abs(clf.coef_.sum(axis=0)).max() <= 1e-8 * np.abs(clf.coef_).max()


def test_objective_is_the_objective():
    sample_weight = np.linspace(0.1, 3, 150)
    clf = SoftmaxRegressionClassifier(C=0.3, class_weight="balanced").fit(IRIS[:, :2], SPECIES, sample_weight)
    weights = reference.row_weights(SPECIES, sample_weight, "balanced")
    objective = reference.Objective(IRIS[:, :2], reference.one_hot(SPECIES), C=0.3, sample_weight=weights)
    assert clf.objective_ == pytest.approx(objective.loss(clf.coef_, clf.intercept_), rel=1e-13)


def test_clone_and_pickle():
    clf = SoftmaxRegressionClassifier(C=3.0, tol=1e-8).fit(IRIS, SPECIES)
    assert not hasattr(clone(clf), "coef_")
    assert clone(clf).get_params() == clf.get_params()
    restored = pickle.loads(pickle.dumps(clf))
    for name in FITTED:
        assert_array_equal(getattr(restored, name), getattr(clf, name))
    assert_array_equal(restored.predict_proba(IRIS), clf.predict_proba(IRIS))
    assert_array_equal(restored.fit(IRIS, SPECIES).coef_, clf.coef_)


def test_a_fit_is_repeatable():
    first = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    coef = first.coef_.copy()
    assert_array_equal(first.fit(IRIS, SPECIES).coef_, coef)
    assert_array_equal(SoftmaxRegressionClassifier().fit(IRIS, SPECIES).coef_, coef)


# --- predictions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER, BENIGN)], ids=["three-classes", "two-classes"])
def test_predictions_agree_with_each_other(X, y):
    clf = SoftmaxRegressionClassifier().fit(X, y)
    scores = clf.decision_function(X)
    assert_allclose(scores, (X @ clf.coef_.T + clf.intercept_).squeeze(), rtol=1e-10, atol=1e-12)
    if scores.ndim == 1:
        scores = np.column_stack([np.zeros(len(X)), scores])
    proba = clf.predict_proba(X)
    assert_allclose(proba, reference.softmax(scores), rtol=1e-12, atol=1e-300)
    assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-14)
    assert_allclose(clf.predict_log_proba(X), reference.log_softmax(scores), rtol=1e-12, atol=1e-14)
    assert_array_equal(clf.predict(X), clf.classes_[np.argmax(scores, axis=1)])
    assert clf.score(X, y) == accuracy_score(y, clf.predict(X))
    loss = clf.sample_loss(X, y)
    assert loss.shape == y.shape
    assert_allclose(loss, -reference.log_softmax(scores)[np.arange(len(y)), y], rtol=1e-12, atol=1e-14)
    assert loss.mean() == pytest.approx(log_loss(y, proba), rel=1e-12)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 17, 64, 149])
def test_any_number_of_rows(n_rows):
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    for method in METHODS:
        whole = getattr(clf, method)(IRIS)
        assert_allclose(getattr(clf, method)(IRIS[-n_rows:]), whole[-n_rows:], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["predict", *METHODS])
def test_few_rows_are_not_checked_for_longer_than_they_take(monkeypatch, method, dtype):
    """An array like that of the fit, finite, goes past scikit-learn's checks, which take twice as long as one row."""
    clf = SoftmaxRegressionClassifier().fit(IRIS.astype(dtype), SPECIES)
    X = IRIS[50:53].astype(dtype)
    expected = getattr(clf, method)(np.ma.masked_array(X))
    monkeypatch.setattr(validation, "validate_data", None)
    for made in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        assert_array_equal(getattr(clf, method)(made), expected)


@pytest.mark.parametrize("X", [np.zeros((1, 3)), np.zeros((0, 4))], ids=lambda X: f"{X.dtype}{X.shape}")
def test_errors_of_predictions_are_those_of_scikit_learn(X):
    ours, theirs = (clf.fit(IRIS, SPECIES) for clf in (SoftmaxRegressionClassifier(), LogisticRegression(tol=1e-2)))
    with pytest.raises(ValueError) as expected:  # noqa: PT011
        theirs.predict_proba(X)
    with pytest.raises(type(expected.value)) as found:
        ours.predict_proba(X)
    assert str(found.value).replace(type(ours).__name__, type(theirs).__name__) == str(expected.value)


@pytest.mark.parametrize(
    ("X", "begins"),
    [(np.zeros(4), "Expected 2D array"), (np.zeros((1, 4), complex), "Complex data not supported")],
    ids=["1d", "complex"],
)
def test_errors_of_predictions_do_not_print_the_rows(X, begins):
    """They begin as scikit-learn's, which hold all of X: what there is of it and the remedy are enough."""
    for clf in (SoftmaxRegressionClassifier(), LogisticRegression(tol=1e-2)):
        with pytest.raises(ValueError, match=f"^{begins}") as found:
            clf.fit(IRIS, SPECIES).predict_proba(X)
        assert ("\n" in str(found.value)) == isinstance(clf, LogisticRegression)


@pytest.mark.parametrize("method", ["predict", "decision_function", "predict_proba", "predict_log_proba"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("y", [SPECIES, SPECIES > 0], ids=["three", "two"])
def test_what_is_not_finite_in_large_X_is_seen_by_its_scores(method, dtype, bad, y):
    clf = SoftmaxRegressionClassifier().fit(IRIS, y)
    clf.coef_[:, 2] = 0.0
    clf.coef_[0, 1] = 0.0
    for feature in range(4):
        X = np.resize(IRIS, (300_000, 4)).astype(dtype)
        X[200_077, feature] = bad
        with pytest.raises(ValueError, match="NaN in row 200077" if np.isnan(bad) else "infinity in row 200077"):
            getattr(clf, method)(X)


def test_names_of_features_are_missed():
    clf = SoftmaxRegressionClassifier().fit(pd.DataFrame(IRIS, columns=list("abcd")), SPECIES)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        clf.predict_proba(IRIS[:1])


def test_logarithms_of_vanishing_probabilities():
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    clf.coef_ = clf.coef_ * 1e4
    clf.intercept_ = clf.intercept_ * 1e4
    assert clf.predict_proba(IRIS).min() < 1e-300
    assert np.isfinite(clf.predict_log_proba(IRIS)).all()
    assert clf.predict_log_proba(IRIS).min() < -1e4
    assert np.isfinite(clf.sample_loss(IRIS, (SPECIES + 1) % 3)).all()


# --- labels -----------------------------------------------------------------------------------------------------

LABELS = {
    "text": np.array(["setosa", "versicolor", "virginica"]),
    "objects": np.array(["setosa", "versicolor", "virginica"], dtype=object),
    "negative": np.array([-7, -1, 3]),
    "int8": np.array([-128, 0, 127], dtype=np.int8),
    "uint64": np.array([1, 2**40, 2**63], dtype=np.uint64),
    "whole-floats": np.array([-1.0, 0.0, 2.0]),
    "float32": np.array([1.0, 2.0, 3.0], dtype=np.float32),
    "two-booleans": np.array([False, True]),
    "two-texts": np.array(["no", "yes"]),
    "two-negative": np.array([-1, 1]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_of_any_dtype(labels):
    codes = np.minimum(SPECIES, len(labels) - 1)
    y = labels[codes]
    clf = SoftmaxRegressionClassifier().fit(IRIS, y)
    assert_array_equal(clf.classes_, labels)
    assert clf.classes_.dtype == labels.dtype
    plain = SoftmaxRegressionClassifier().fit(IRIS, codes)
    assert_array_equal(clf.coef_, plain.coef_)
    assert_array_equal(clf.predict(IRIS), labels[plain.predict(IRIS)])
    assert clf.predict(IRIS).dtype == labels.dtype
    assert_array_equal(clf.sample_loss(IRIS, y), plain.sample_loss(IRIS, codes))
    assert clf.score(IRIS, y) > 0.9


@pytest.mark.parametrize("container", [list, tuple, pd.Series, pd.Categorical], ids=lambda kind: kind.__name__)
def test_labels_in_any_container(container):
    y = LABELS["objects"][SPECIES]
    clf = SoftmaxRegressionClassifier().fit(IRIS, container(y))
    assert_array_equal(clf.coef_, SoftmaxRegressionClassifier().fit(IRIS, SPECIES).coef_)
    assert clf.score(IRIS, container(y)) > 0.9
    assert clf.sample_loss(IRIS, container(y)).shape == (150,)


def test_labels_as_a_column():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES[:, None])
    assert clf.score(IRIS, SPECIES) > 0.9


def test_labels_of_a_few_rows_of_many_classes_in_sample_loss():
    """A batch need not show every class."""
    clf = SoftmaxRegressionClassifier().fit(IRIS, LABELS["text"][SPECIES])
    whole = clf.sample_loss(IRIS, LABELS["text"][SPECIES])
    assert_allclose(clf.sample_loss(IRIS[:2], ["setosa", "setosa"]), whole[:2], rtol=1e-13, atol=1e-14)


# --- weights ----------------------------------------------------------------------------------------------------


@given(counts=st.lists(st.integers(0, 3), min_size=40, max_size=40))
def test_weight_is_repetition(counts):
    counts = np.array(counts)
    counts[:3] = np.maximum(counts[:3], 1)  # every class is there
    X, y = IRIS[[0, 50, 100, *range(4, 150, 4)]], SPECIES[[0, 50, 100, *range(4, 150, 4)]]
    weighted = tight().fit(X, y, sample_weight=counts)
    repeated = tight().fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-11)
    assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=1e-4 * np.abs(repeated.coef_).max())


def test_rows_without_weight_are_absent():
    """Whatever they hold, as long as it is finite."""
    present = np.arange(150) % 3 > 0
    X = np.where(present[:, None], IRIS, 1e6)
    clf = tight().fit(X, SPECIES, sample_weight=present)
    rest = tight().fit(IRIS[present], SPECIES[present])
    assert_allclose(clf.coef_, rest.coef_, rtol=0, atol=1e-5 * np.abs(rest.coef_).max())
    assert clf.objective_ == pytest.approx(rest.objective_, rel=1e-11)


def test_class_without_weight_is_known_but_not_predicted():
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES, sample_weight=SPECIES != 2)
    assert_array_equal(clf.classes_, [0, 1, 2])
    assert np.isfinite(clf.coef_).all()
    assert np.isfinite(clf.intercept_).all()
    assert 2 not in clf.predict(IRIS[SPECIES != 2])


@pytest.mark.parametrize("container", [list, pd.Series, np.float32, np.int64], ids=lambda kind: kind.__name__)
def test_weights_in_any_container(container):
    counts = np.arange(150) % 3 + 1
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES, sample_weight=container(counts))
    expected = SoftmaxRegressionClassifier().fit(IRIS, SPECIES, sample_weight=counts.astype(np.float64))
    assert_array_equal(clf.coef_, expected.coef_)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "class_weight", [{0: 1.0, 1: 5.0, 2: 0.2}, {1: 4.0}, "balanced"], ids=["dict", "part", "balanced"]
)
def test_class_weight(class_weight, weighted):
    X, y = IRIS[20:, :2], SPECIES[20:]
    sample_weight = np.linspace(0.5, 2, 130) if weighted else None
    clf = tight(class_weight=class_weight).fit(X, y, sample_weight)
    as_sample_weight = tight().fit(X, y, reference.row_weights(y, sample_weight, class_weight))
    peer = LogisticRegression(class_weight=class_weight, solver="newton-cholesky", tol=1e-12).fit(X, y, sample_weight)
    assert_allclose(clf.coef_, as_sample_weight.coef_, rtol=1e-6)
    assert_allclose(clf.coef_, peer.coef_, rtol=1e-4)
    assert_allclose(clf.intercept_, peer.intercept_, rtol=1e-4)


def test_class_weight_of_text_labels():
    labels = LABELS["text"]
    named = SoftmaxRegressionClassifier(class_weight={"versicolor": 9.0}).fit(IRIS, labels[SPECIES])
    coded = SoftmaxRegressionClassifier(class_weight={1: 9.0}).fit(IRIS, SPECIES)
    assert_array_equal(named.coef_, coded.coef_)
    assert not np.array_equal(coded.coef_, SoftmaxRegressionClassifier().fit(IRIS, SPECIES).coef_)


def test_balanced_weights_of_a_class_without_weight():
    """It is as if its rows were not there."""
    present = SPECIES != 2
    weight = np.where(SPECIES == 0, 3.0, 1.0) * present
    clf = tight(class_weight="balanced").fit(IRIS, SPECIES, weight)
    by_hand = tight().fit(IRIS, SPECIES, present * 2.0)
    assert_allclose(clf.loss_curve_, by_hand.loss_curve_, rtol=1e-10)


# --- where to start ---------------------------------------------------------------------------------------------


def iterations(clf):
    return int(np.max(clf.n_iter_))


@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER, BENIGN)], ids=["three-classes", "two-classes"])
def test_warm_start(X, y):
    clf = SoftmaxRegressionClassifier(warm_start=True, tol=1e-8).fit(X, y)
    cold, objective = iterations(clf), clf.objective_
    assert cold > 2
    clf.fit(X, y)
    assert iterations(clf) <= 1
    assert clf.objective_ <= objective * (1 + 1e-15)  # as it is rounded
    # A neighbouring problem is nearer from here than from zero.
    neighbour = clone(clf).set_params(C=1.2).fit(X, y)
    clf.set_params(C=1.2).fit(X, y)
    assert iterations(clf) < iterations(neighbour)
    assert clf.objective_ == pytest.approx(neighbour.objective_, rel=1e-7)


def test_without_warm_start_the_past_does_not_matter():
    clf = SoftmaxRegressionClassifier().fit(IRIS, (SPECIES + 1) % 3)
    assert_array_equal(clf.fit(IRIS, SPECIES).coef_, SoftmaxRegressionClassifier().fit(IRIS, SPECIES).coef_)


DIGITS, DIGIT = load_digits(return_X_y=True)


def test_a_warm_start_at_a_neighbouring_C_saves_iterations():
    """And from the solution of other rows it leads to the optimum of these all the same."""
    cold = SoftmaxRegressionClassifier(1.2).fit(DIGITS, DIGIT)
    clf = SoftmaxRegressionClassifier(1.0, warm_start=True).fit(DIGITS, DIGIT)
    clf.set_params(C=1.2).fit(DIGITS, DIGIT)
    assert clf.n_iter_ < 0.75 * cold.n_iter_
    assert clf.objective_ == pytest.approx(cold.objective_, rel=1e-4)
    for rows in (DIGITS[::-1], DIGITS):
        clf.fit(rows, DIGIT)
    assert clf.objective_ == pytest.approx(cold.objective_, rel=1e-4)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(range(9), range(10), id="one-more"),
        pytest.param(range(10), range(2, 9), id="three-fewer"),
        pytest.param(range(8), range(2, 10), id="two-for-two"),
        pytest.param([3, 5], [1, 3, 5], id="from-two"),
        pytest.param([1, 3, 5], [3, 5], id="to-two"),
    ],
)
def test_warm_start_keeps_the_classes_that_both_know(before, after):
    was, now = np.isin(DIGIT, before), np.isin(DIGIT, after)
    cold = SoftmaxRegressionClassifier(C=0.01).fit(DIGITS[now], DIGIT[now])
    clf = SoftmaxRegressionClassifier(C=0.01, warm_start=True).fit(DIGITS[was], DIGIT[was])
    clf.fit(DIGITS[now], DIGIT[now])
    assert_array_equal(clf.classes_, cold.classes_)
    assert clf.coef_.shape == cold.coef_.shape
    assert clf.objective_ == pytest.approx(cold.objective_, abs=1e-6 * np.log(len(after)))
    assert clf.loss_curve_[0] < 0.9 * cold.loss_curve_[0]  # it starts with what it knew


def test_warm_start_with_other_labels_starts_anew():
    clf = SoftmaxRegressionClassifier(warm_start=True).fit(IRIS, SPECIES)
    clf.fit(IRIS, LABELS["text"][SPECIES])
    assert_array_equal(clf.coef_, SoftmaxRegressionClassifier().fit(IRIS, LABELS["text"][SPECIES]).coef_)


@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER, BENIGN)], ids=["three-classes", "two-classes"])
@pytest.mark.parametrize("container", [np.asarray, np.asfortranarray, np.float32, np.ndarray.tolist])
def test_initial_coefficients(X, y, container):
    best = tight().fit(X, y)
    clf = SoftmaxRegressionClassifier()
    clf.fit(X, y, coef_init=container(best.coef_), intercept_init=container(best.intercept_))
    assert iterations(clf) <= 1
    assert clf.objective_ == pytest.approx(best.objective_, rel=1e-6)
    assert clf.loss_curve_[0] < 1.001 * best.objective_


def test_initial_coefficients_alone():
    best = tight(fit_intercept=False).fit(IRIS, SPECIES)
    clf = SoftmaxRegressionClassifier(fit_intercept=False).fit(IRIS, SPECIES, coef_init=best.coef_)
    assert iterations(clf) <= 1
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES, coef_init=best.coef_)
    assert clf.loss_curve_[0] < 0.5


def test_a_start_far_off_reaches_the_same_minimum():
    rng = np.random.default_rng(0)
    start = {"coef_init": 30 * rng.standard_normal((3, 4)), "intercept_init": 30 * rng.standard_normal(3)}
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES, **start)
    best = reference.minimise(reference.Objective(IRIS, reference.one_hot(SPECIES)))[2]
    assert clf.objective_ - best <= clf.tol * np.log(3)


def test_an_intercept_to_start_from_needs_an_intercept():
    with pytest.raises(ValueError, match="intercept_init"):
        SoftmaxRegressionClassifier(fit_intercept=False).fit(IRIS, SPECIES, intercept_init=np.ones(3))


# --- how it ends ------------------------------------------------------------------------------------------------


def test_convergence_warning_names_the_gap_and_the_remedy():
    clf = SoftmaxRegressionClassifier(max_iter=2, tol=1e-10)
    with pytest.warns(ConvergenceWarning, match="max_iter") as caught:
        clf.fit(DIGITS, DIGIT)
    (message,) = (str(warning.message) for warning in caught)
    assert "estimated" in message
    assert "at most" not in message
    assert clf.converged_ is False
    assert iterations(clf) == 2
    null_loss = problems.objective("digits", 1.0).null_loss()
    assert clf.suboptimality_ > clf.tol * null_loss
    # The number is there in some form: absolute or relative, to at least two digits.
    shown = {f"{value:.1e}" for value in (clf.suboptimality_, clf.suboptimality_ / null_loss)}
    words = [word.strip("(),.;:") for word in message.split()]
    numbers = []
    for word in words:
        try:
            numbers.append(f"{float(word):.1e}")
        except ValueError:
            continue
    assert shown & set(numbers), message


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float64_is_advised_where_it_is_not_there_already(dtype):
    clf = SoftmaxRegressionClassifier(C=np.inf, tol=0.0)
    with pytest.warns(ConvergenceWarning, match="rounding errors") as caught:
        clf.fit(DIGITS[:, 20:30].astype(dtype), DIGIT)
    (message,) = (str(warning.message) for warning in caught)
    assert ("float64" in message) == (dtype == np.float32)
    assert re.search(r"[.] (Pass X as float64 for more digits, or set|Set) tol=\S+[.]$", message), message


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_overflow_names_a_dtype_that_would_help(dtype):
    clf = SoftmaxRegressionClassifier().fit(IRIS.astype(dtype), SPECIES)
    clf.coef_ *= 10
    huge = np.full((3, 4), np.finfo(dtype).max / 4, dtype) * np.array([[1], [0.9], [0.8]], dtype)
    start = 10 * np.ones((3, 4)) * [[1], [0], [-1]]
    stopped = SoftmaxRegressionClassifier(early_stopping=True)
    for call in (
        lambda: clf.predict(huge),
        lambda: SoftmaxRegressionClassifier().fit(huge, [0, 1, 2], coef_init=start),
        lambda: stopped.fit(IRIS.astype(dtype), SPECIES, X_val=huge, y_val=[0, 1, 2], coef_init=start),
    ):
        with pytest.raises(ValueError, match=r"overflow .*Remedy") as caught:
            call()
        assert ("as float64." in str(caught.value)) == (dtype == np.float32)


def test_more_iterations_get_closer():
    losses = []
    for max_iter in (1, 3, 10):
        with pytest.warns(ConvergenceWarning, match="max_iter"):
            losses.append(SoftmaxRegressionClassifier(max_iter=max_iter, tol=1e-14).fit(DIGITS, DIGIT).objective_)
    assert losses[0] > losses[1] > losses[2]


def test_verbose(capfd):
    SoftmaxRegressionClassifier(verbose=0).fit(IRIS, SPECIES)
    assert capfd.readouterr() == ("", "")
    clf = SoftmaxRegressionClassifier(verbose=1).fit(IRIS, SPECIES)
    out, _ = capfd.readouterr()
    assert out.strip()
    assert_array_equal(clf.coef_, SoftmaxRegressionClassifier().fit(IRIS, SPECIES).coef_)
    kinds = set()
    for data, labels in ((IRIS, SPECIES), (DIGITS, DIGIT)):  # an end by a bound, and one by an estimate
        clf = SoftmaxRegressionClassifier(verbose=2).fit(data, labels)
        *more, last = capfd.readouterr().out.splitlines()
        assert len(more) >= iterations(clf)
        assert all("estimated" in line and "at most" not in line for line in more)
        is_bound = clf.suboptimality_is_bound_
        assert ("at most" in last, "estimated" in last) == (is_bound, not is_bound)
        kinds.add(is_bound)
    assert kinds == {False, True}


def test_tolerance_zero_ends():
    """It cannot be met; the fit goes as far as the arithmetic does, or says that it has not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = SoftmaxRegressionClassifier(tol=0.0, max_iter=200).fit(IRIS, SPECIES)
    best = reference.minimise(reference.Objective(IRIS, reference.one_hot(SPECIES)))[2]
    assert clf.objective_ - best <= 1e-13


# --- containers -------------------------------------------------------------------------------------------------


def _read_only(X, tmp_path):
    X = X.copy()
    X.flags.writeable = False
    return X


def _memmap(X, tmp_path, mode="r"):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode=mode)


def _every_second_row(X, tmp_path):
    return np.repeat(X, 2, axis=0)[::2]


def _every_second_column(X, tmp_path):
    return np.repeat(X, 2, axis=1)[:, ::2]


def _slice_of_columns(X, tmp_path):
    return np.hstack([X, X])[:, : X.shape[1]]


def _backwards(X, tmp_path):
    return X[::-1].copy()[::-1]


def _unaligned(X, tmp_path):
    record = np.zeros(len(X), dtype=[("pad", "u1"), ("X", X.dtype, X.shape[1])])
    record["X"] = X
    assert not record["X"].flags.aligned
    return record["X"]


CONTAINERS = {
    "C": lambda X, tmp_path: np.ascontiguousarray(X),
    "Fortran": lambda X, tmp_path: np.asfortranarray(X),
    "read-only": _read_only,
    "memmap": _memmap,
    "memmap-Fortran": lambda X, tmp_path: _memmap(np.asfortranarray(X), tmp_path),
    "memmap-copy-on-write": lambda X, tmp_path: _memmap(X, tmp_path, "c"),
    "strided-rows": _every_second_row,
    "strided-columns": _every_second_column,
    "column-slice": _slice_of_columns,
    "negative-strides": _backwards,
    "unaligned": _unaligned,
    "big-endian": lambda X, tmp_path: X.astype(X.dtype.newbyteorder(">")),
    "list": lambda X, tmp_path: X.tolist(),
    "DataFrame": lambda X, tmp_path: pd.DataFrame(X),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_containers(container, dtype, tmp_path):
    """The same numbers in another place give the same classifier."""
    plain = DIGITS[:200].astype(dtype)
    X = container(plain, tmp_path)
    clf = tight(C=0.01) if dtype == np.float64 else SoftmaxRegressionClassifier(C=0.01)
    expected = clone(clf).fit(plain, DIGIT[:200])
    clf.fit(X, DIGIT[:200])
    rtol = 1e-6 if dtype == np.float64 else 2e-3
    scale = np.abs(expected.coef_).max()
    assert_allclose(clf.coef_, expected.coef_, rtol=0, atol=rtol * scale)
    close = {"rtol": 1e-12, "atol": 1e-13} if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-5}
    for method in METHODS:
        assert_allclose(getattr(clf, method)(X), getattr(clf, method)(plain), **close)
    assert_array_equal(clf.predict(X), clf.predict(plain))
    assert_allclose(clf.sample_loss(X, DIGIT[:200]), clf.sample_loss(plain, DIGIT[:200]), **close)


@pytest.mark.parametrize(("X", "y"), [(IRIS, SPECIES), (CANCER, BENIGN)], ids=["three-classes", "two-classes"])
def test_dtypes_are_kept(X, y):
    for dtype in (np.float32, np.float64):
        data = X.astype(dtype)
        clf = SoftmaxRegressionClassifier().fit(data, y, sample_weight=np.ones(len(y)))
        assert clf.coef_.dtype == dtype
        assert clf.intercept_.dtype == dtype
        for method in METHODS:
            assert getattr(clf, method)(data).dtype == dtype
        assert clf.sample_loss(data, y).dtype == dtype
        assert_allclose(clf.predict_proba(data).sum(axis=1), 1.0, rtol=4 * np.finfo(dtype).eps)


def test_precisions_agree():
    narrow = SoftmaxRegressionClassifier().fit(IRIS.astype(np.float32), SPECIES)
    wide = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    assert_allclose(narrow.coef_, wide.coef_, rtol=0, atol=2e-2)
    assert_allclose(narrow.predict_proba(IRIS.astype(np.float32)), wide.predict_proba(IRIS), rtol=0, atol=2e-3)
    # Each predicts from the other's kind of data, too.
    assert_allclose(narrow.predict_proba(IRIS), narrow.predict_proba(IRIS.astype(np.float32)), rtol=0, atol=1e-5)
    assert_allclose(wide.predict_proba(IRIS.astype(np.float32)), wide.predict_proba(IRIS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, bool, object])
def test_other_dtypes_are_converted(dtype):
    X = (DIGITS > 8).astype(dtype)
    clf = SoftmaxRegressionClassifier(C=0.1).fit(X, DIGIT)
    expected = SoftmaxRegressionClassifier(C=0.1).fit(X.astype(np.float64), DIGIT)
    assert_allclose(clf.coef_, expected.coef_, rtol=1e-10)
    assert_allclose(clf.predict_proba(X), expected.predict_proba(X.astype(np.float64)), rtol=1e-10)


def test_data_frames():
    frame, y = load_iris(return_X_y=True, as_frame=True)
    clf = SoftmaxRegressionClassifier().fit(frame, y)
    assert_array_equal(clf.feature_names_in_, frame.columns)
    assert_allclose(clf.predict_proba(frame), clf.predict_proba(frame.set_axis(frame.columns.to_numpy(), axis=1)))
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[frame.columns[::-1]])
    with pytest.warns(UserWarning, match="feature names"):
        clf.predict(frame.to_numpy())


# --- scores ----------------------------------------------------------------------------------------------------


def test_score_with_an_offset():
    """A model that was fitted to what the offsets leave is scored with them."""
    offset = 4.0 * np.random.default_rng(0).standard_normal((150, 3))
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES, offset=offset)
    weight = np.linspace(0.5, 2, 150)
    with_offset = accuracy_score(SPECIES, clf.predict(IRIS, offset), sample_weight=weight)
    assert clf.score(IRIS, SPECIES, weight, offset) == with_offset
    assert clf.score(IRIS, SPECIES, offset=offset) == accuracy_score(SPECIES, clf.predict(IRIS, offset))
    assert (
        clf.score(IRIS, SPECIES)
        == accuracy_score(SPECIES, clf.predict(IRIS))
        != clf.score(IRIS, SPECIES, offset=offset)
    )


@pytest.mark.parametrize("container", [np.asarray, csr_array], ids=["dense", "CSR"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_intercept_of_minus_infinity(container, dtype):
    """A probability of zero, whatever the row and its offset; the others share what is left."""
    X = container(IRIS.astype(dtype))
    clf = SoftmaxRegressionClassifier().fit(X, SPECIES)
    others = clf.predict_proba(X)[:, [0, 2]]
    offset = np.tile([0.0, 1e3, 0.0], (150, 1))
    clf.intercept_[1] = -np.inf
    for extra in (None, offset):
        assert (clf.decision_function(X, extra)[:, 1] == -np.inf).all()
        assert (clf.predict_proba(X, extra)[:, 1] == 0).all()
        assert (clf.predict_log_proba(X, extra)[:, 1] == -np.inf).all()
        assert_allclose(clf.predict_proba(X, extra)[:, [0, 2]], others / others.sum(axis=1, keepdims=True), rtol=1e-5)
        assert 1 not in clf.predict(X, extra)
        assert (np.isinf(clf.sample_loss(X, SPECIES, extra)) == (SPECIES == 1)).all()


def test_an_intercept_of_minus_infinity_for_two_classes():
    clf = SoftmaxRegressionClassifier().fit(CANCER, BENIGN)
    clf.intercept_[0] = -np.inf
    assert (clf.decision_function(CANCER) == -np.inf).all()
    assert (clf.predict(CANCER) == 0).all()
    assert_array_equal(clf.predict_proba(CANCER), np.tile([1.0, 0.0], (len(CANCER), 1)))
    assert_array_equal(clf.predict_log_proba(CANCER), np.tile([0.0, -np.inf], (len(CANCER), 1)))


def test_a_class_that_is_no_target_costs_nothing():
    """Not even where its probability is zero, whose logarithm times zero is not a number."""
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    clf.intercept_[1] = -np.inf
    loss = clf.sample_loss(IRIS, np.eye(3)[SPECIES])
    assert_allclose(loss, clf.sample_loss(IRIS, SPECIES))
    assert np.isfinite(loss[SPECIES != 1]).all()
    assert np.isposinf(loss[SPECIES == 1]).all()


# --- among scikit-learn's tools ---------------------------------------------------------------------------------


def test_pipeline_and_grid_search():
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier())
    search = GridSearchCV(pipeline, {"softmaxregressionclassifier__C": [1e-3, 0.1, 10.0]}, cv=3)
    search.fit(IRIS, SPECIES)
    peer = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8, max_iter=1000)),
        {"logisticregression__C": [1e-3, 0.1, 10.0]},
        cv=3,
    ).fit(IRIS, SPECIES)
    assert_allclose(search.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"], rtol=1e-12)
    assert search.best_params_["softmaxregressionclassifier__C"] == peer.best_params_["logisticregression__C"]
    assert search.score(IRIS, SPECIES) > 0.95


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "roc_auc_ovr"])
def test_cross_validation(scoring):
    clf, peer = tight(), LogisticRegression(solver="newton-cholesky", tol=1e-12)
    found = cross_val_score(clf, IRIS, SPECIES, scoring=scoring, cv=3)
    assert_allclose(found, cross_val_score(peer, IRIS, SPECIES, scoring=scoring, cv=3), rtol=1e-5)


def test_sample_weight_reaches_it_through_a_pipeline():
    sample_weight = np.where(SPECIES == 1, 20.0, 1.0)
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier())
    pipeline.fit(IRIS[:, :2], SPECIES, softmaxregressionclassifier__sample_weight=sample_weight)
    scaled = StandardScaler().fit_transform(IRIS[:, :2])
    expected = SoftmaxRegressionClassifier().fit(scaled, SPECIES, sample_weight)
    assert_array_equal(pipeline[-1].coef_, expected.coef_)
    assert not np.array_equal(expected.coef_, SoftmaxRegressionClassifier().fit(scaled, SPECIES).coef_)


def test_callbacks_where_scikit_learn_has_them():
    known = importlib.util.find_spec("sklearn.callback") is not None
    assert hasattr(SoftmaxRegressionClassifier(), "set_callbacks") == known


def test_metadata_requests():
    with config_context(enable_metadata_routing=True):
        clf = SoftmaxRegressionClassifier().set_fit_request(sample_weight=True, coef_init=True)
        assert clf.get_metadata_routing().fit.requests == {
            "sample_weight": True,
            "offset": None,
            "X_val": None,
            "y_val": None,
            "coef_init": True,
            "intercept_init": None,
        }


# --- attributes that anyone may have set ------------------------------------------------------------------------


def by_hand(kind, n_classes, n_features, **params):
    """A classifier with coefficients as clients of federated learning set them, without a fit."""
    rng, n_outputs = np.random.default_rng(0), 1 if n_classes == 2 else n_classes
    clf = kind(**params)
    clf.coef_, clf.intercept_ = rng.standard_normal((n_outputs, n_features)), rng.standard_normal(n_outputs)
    clf.classes_ = np.arange(n_classes)
    return clf


CONTAINERS = [np.asarray, csr_array, lambda X: csr_array(X)[:1], lambda X: np.float32(X)[:1]]


def uses(clf, X, y):
    """Everything that calculates with fitted attributes."""
    return [
        *(lambda method=method: getattr(clf, method)(X) for method in ("predict", *METHODS)),
        lambda: clf.sample_loss(X, y),
        lambda: clf.score(X, y),
        lambda: clf.partial_fit(X, y),
        *([lambda: clone_with_attributes(clf).fit(X, y)] if len(y) > 1 else []),
    ]


def clone_with_attributes(clf):
    other = clone(clf).set_params(warm_start=True)
    vars(other).update({name: value for name, value in vars(clf).items() if name.endswith("_")})
    return other


UNFIT = {
    "fewer-columns": ("coef_", lambda a: a[:, :7].copy()),
    "more-columns": ("coef_", lambda a: np.hstack([a, a])),
    "one-column": ("coef_", lambda a: a[:, :1]),
    "fewer-rows": ("coef_", lambda a: np.concatenate([a, a])[: len(a) - 1 or 2]),
    "flat": ("coef_", np.ravel),
    "number": ("coef_", lambda a: 0.5),
    "sparse-and-narrow": ("coef_", lambda a: csr_array(a[:, :7])),
    "complex": ("coef_", lambda a: a.astype(complex)),
    "objects": ("coef_", lambda a: a.astype(object)),
    "text": ("coef_", lambda a: "coefficients"),
    "nan": ("coef_", lambda a: np.where(a == a[0, 3], np.nan, a)),
    "infinity": ("coef_", lambda a: np.where(a == a[0, 3], -np.inf, a)),
    "more-than-float64-holds": ("coef_", lambda a: a.astype(np.longdouble) * np.longdouble(1e300) ** 2),
    "long-intercept": ("intercept_", lambda a: np.append(a, 0.0)),
    "intercept-of-a-column": ("intercept_", lambda a: a[:, None]),
    "nan-intercept": ("intercept_", lambda a: a * np.nan),
    "infinite-intercept": ("intercept_", lambda a: a + np.inf),
    "more-classes": ("classes_", lambda a: np.arange(len(a) + 1)),
    "one-class": ("classes_", lambda a: a[:1]),
    "classes-of-a-column": ("classes_", lambda a: a[:, None]),
}


@pytest.mark.parametrize("container", CONTAINERS, ids=["dense", "csr", "one-sparse-row", "one-row"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("case", UNFIT)
def test_attributes_that_do_not_fit_together_reach_no_kernel(case, n_classes, container):
    """Sparse kernels have read what lies in memory behind coefficients that were too narrow."""
    if case == "more-than-float64-holds" and np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("there is no longer float here")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 40)), np.arange(60) % n_classes
    clf = SoftmaxRegressionClassifier(C=0.01).fit(X, y)
    name, change = UNFIT[case]
    setattr(clf, name, change(getattr(clf, name)))
    X = container(X)
    for use in uses(clf, X, y[: X.shape[0]]):
        with pytest.raises(ValueError, match="Expected.* (coef_|intercept_|classes_)"):
            use()


@pytest.mark.parametrize("container", CONTAINERS, ids=["dense", "csr", "one-sparse-row", "one-row"])
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.astype(">f8"),
        lambda a: a.astype(">f4"),
        lambda a: a.astype(np.float32),
        lambda a: a.astype(np.longdouble),
        lambda a: a.astype(np.float16),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: a.tolist(),
        lambda a: csr_array(a) if a.ndim == 2 else a,
    ],
    ids=[
        "big-endian",
        "big-endian-float32",
        "float32",
        "longdouble",
        "float16",
        "fortran",
        "strided",
        "list",
        "sparse",
    ],
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_attributes_of_any_kind_of_real_number(n_classes, change, container):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 40)), np.arange(60) % n_classes
    clf = SoftmaxRegressionClassifier(C=0.01).fit(X, y)
    clf.coef_, clf.intercept_ = (a.astype(np.float16).astype(np.float64) for a in (clf.coef_, clf.intercept_))
    X = container(X)
    expected = [getattr(clf, method)(X) for method in METHODS]
    clf.coef_, clf.intercept_, clf.classes_ = change(clf.coef_), change(clf.intercept_), list("abcd")[:n_classes]
    for method, values in zip(METHODS, expected, strict=True):
        assert_allclose(getattr(clf, method)(X), values, rtol=1e-5, atol=1e-6)
    assert set(clf.predict(X)) <= set("abcd")


def test_coefficients_too_many_to_look_at_for_one_row():
    """Their scores are looked at instead: it is the coefficients that are named."""
    X = np.abs(np.random.default_rng(0).standard_normal((1, 400))) + 0.1
    for value in (np.nan, np.inf, -np.inf):
        for container in (np.asarray, np.float32, csr_array):
            clf = by_hand(SoftmaxRegressionClassifier, 100, 400)
            clf.coef_[7, 5] = value
            for method in ("predict", *METHODS):
                with pytest.raises(ValueError, match=f"coef_, got {value} in row 7 and column 5"):
                    getattr(clf, method)(container(X))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_attributes_set_by_hand_predict_as_those_of_logistic_regression(n_classes):
    clf, peer = (by_hand(kind, n_classes, 4) for kind in (SoftmaxRegressionClassifier, LogisticRegression))
    for X in (IRIS, csr_array(IRIS), IRIS[:1]):
        assert_array_equal(clf.predict(X), peer.predict(X))
        for method in METHODS:
            assert_allclose(getattr(clf, method)(X), getattr(peer, method)(X), rtol=1e-9)
    for X in (IRIS[:, :3], csr_array(np.hstack([IRIS, IRIS]))):
        with pytest.raises(ValueError, match="coef_ of shape"):
            clf.predict(X)


@pytest.mark.parametrize("lacking", ["n_features_in_", "classes_", "intercept_"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_attributes_set_by_hand_start_a_fit(n_classes, lacking):
    X, y = IRIS[SPECIES < n_classes], SPECIES[SPECIES < n_classes]
    params = {"fit_intercept": lacking != "intercept_", "warm_start": True, "tol": 1e-9}
    clf = by_hand(SoftmaxRegressionClassifier, n_classes, 4, **params)
    start = clf.coef_, clf.intercept_ if params["fit_intercept"] else None
    if lacking != "n_features_in_":
        delattr(clf, lacking)
    expected = clone(clf).fit(X, y, coef_init=start[0], intercept_init=start[1])
    clf.fit(X, y)
    assert clf.loss_curve_[0] == pytest.approx(expected.loss_curve_[0], rel=1e-12)
    assert_allclose(clf.coef_, expected.coef_, atol=1e-6)
    assert clf.n_features_in_ == 4


def test_two_rows_of_coefficients_for_two_classes():
    clf = by_hand(SoftmaxRegressionClassifier, 2, 4)
    clf.coef_ = np.concatenate([-clf.coef_, clf.coef_])
    with pytest.raises(ValueError, match=r"coef_\[1:\] - coef_\[:1\]"):
        clf.predict(IRIS)


# --- numbers of any type ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [np.float16(100), np.float32(100), np.longdouble(100), np.int8(100)])
def test_parameters_of_other_types_than_float(C):
    """A product with float16 has overflowed, and with it gone the penalty."""
    X, y = np.tile(IRIS, (10, 1)), np.tile(SPECIES, 10)
    assert_array_equal(
        SoftmaxRegressionClassifier(C).fit(X, y).coef_, SoftmaxRegressionClassifier(100.0).fit(X, y).coef_
    )
    streams = [SoftmaxRegressionClassifier(c).partial_fit(X, y, [0, 1, 2]).coef_ for c in (C, 100.0)]
    assert_array_equal(*streams)
    chosen = [SoftmaxRegressionClassifierCV([c], cv=2).fit(X, y).coef_ for c in (C, 100.0)]
    assert_array_equal(*chosen)


def test_shares_of_other_types_than_float():
    half, none = np.float16(0.5), None
    fits = [SoftmaxRegressionClassifier(l1_ratio=r, tol=t).fit(IRIS, SPECIES) for r, t in ((half, np.float16(1e-4)),)]
    expected = SoftmaxRegressionClassifier(l1_ratio=0.5, tol=float(np.float16(1e-4))).fit(IRIS, SPECIES)
    assert_array_equal(fits[0].coef_, expected.coef_)
    plain = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    assert_array_equal(SoftmaxRegressionClassifier(l1_ratio=none).fit(IRIS, SPECIES).coef_, plain.coef_)
    assert SoftmaxRegressionClassifierCV(2, cv=2, l1_ratios=none).fit(IRIS, SPECIES).l1_ratio_ == 0.0
    path = [softmax_regression_path(IRIS, SPECIES, Cs=[1.0], l1_ratio=r)[1] for r in (None, 0.0, half, 0.5)]
    assert_array_equal(path[0], path[1])
    assert_array_equal(path[2], path[3])
    stopped = SoftmaxRegressionClassifier(early_stopping=True, validation_fraction=half, random_state=0)
    X, y = np.tile(IRIS[:, :1], (1400, 1)), np.tile(SPECIES, 1400)  # of which half are more than float16 can count
    assert stopped.fit(X, y).score(X, y) > 0.6


def test_log_probabilities_are_those_of_the_probabilities():
    """Zero where a probability is one to all its digits; the losses of rows have more."""
    X = np.float32(np.linspace(-40, 40, 161)[:, None])
    for n_classes in (2, 3):
        clf = by_hand(SoftmaxRegressionClassifier, n_classes, 1)
        clf.coef_, clf.intercept_ = np.arange(1.0, n_classes)[:, None], np.zeros(n_classes - 1)
        if n_classes == 3:
            clf.coef_, clf.intercept_ = np.array([[0.0], [1.0], [2.0]]), np.zeros(3)
        proba, log_proba = clf.predict_proba(X), clf.predict_log_proba(X)
        assert (log_proba[proba == 1] == 0).all()
        assert ((proba == 1) & (clf.decision_function(X).reshape(161, -1).max(axis=1, keepdims=True) < 20)).any()
        assert (np.isfinite(log_proba)).all()
        seen = proba > 1e-30
        assert_allclose(log_proba[seen], np.log(proba[seen]), rtol=1, atol=6e-8)
        assert (clf.sample_loss(X, np.where(X[:, 0] > 0, n_classes - 1, 0))[X[:, 0] != 0] > 0).all()


# --- one cause is not named for another -------------------------------------------------------------------------


ENTRIES = {
    "fit": lambda **params: SoftmaxRegressionClassifier(**params).fit,
    "stream": lambda **params: partial(SoftmaxRegressionClassifier(**params).partial_fit, classes=[0, 1, 2]),
    "choice": lambda C=1.0, **params: SoftmaxRegressionClassifierCV([C, 1.0], cv=2, **params).fit,
    "path": lambda C=1.0, **params: partial(softmax_regression_path, Cs=[1.0, C], **params),
}


@pytest.mark.parametrize("assume_finite", [False, True])
@pytest.mark.parametrize("entry", ENTRIES)
def test_weights_and_strengths_are_named(entry, assume_finite):
    call, ones = ENTRIES[entry], np.ones(150)
    with config_context(assume_finite=assume_finite):
        for value in (np.inf, np.nan):
            with pytest.raises(ValueError, match=f"class_weight, got {value} for class 1"):
                call(class_weight={1: value})(IRIS, SPECIES)
        for weight in (1e308 * ones, 1e-322 * ones):
            with pytest.raises(ValueError, match="Expected sample_weight to have a sum"):
                call()(IRIS, SPECIES, sample_weight=weight)
        with pytest.raises(ValueError, match="sample_weight times class_weight"):
            call(class_weight={1: 1e200})(IRIS, SPECIES, sample_weight=1e200 * ones)
        with pytest.raises(ValueError, match="sample_weight"):
            call()(IRIS, SPECIES, sample_weight=np.where(SPECIES == 1, np.nan, 1.0))
        with pytest.raises(ValueError, match="Expected C times the sum of the weights.*C=4.9"):
            call(C=5e-324)(IRIS, SPECIES)


def test_penalties_that_are_strong_but_finite():
    for C in (1e-300, 1e-200):
        assert np.abs(SoftmaxRegressionClassifier(C).fit(IRIS, SPECIES).coef_).max() < 1e-190


@pytest.mark.parametrize(
    "container",
    [
        np.asarray,
        np.asfortranarray,
        np.float32,
        np.float16,
        csr_array,
        lambda X: csr_array(np.hstack([X, np.zeros((len(X), 5000))])),
    ],
    ids=["C", "F", "float32", "float16", "csr", "wide"],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_nobody_has_looked_at_are_named(value, container):
    """With assume_finite=True: there is no other check than that of scores, and these do not overflow."""
    bad = IRIS.copy()
    bad[7, 2] = value
    X, bad = container(IRIS), container(bad)
    clf = SoftmaxRegressionClassifier().fit(X, SPECIES)
    options = {}, {"standardize": True}, {"l1_ratio": 1.0}, {"C": np.inf}, {"fit_intercept": False}
    calls = [partial(SoftmaxRegressionClassifier(**params).fit, bad, SPECIES) for params in options]
    calls += [
        lambda: SoftmaxRegressionClassifierCV(2, cv=2).fit(bad, SPECIES),
        lambda: SoftmaxRegressionClassifier().partial_fit(bad, SPECIES, [0, 1, 2]),
        lambda: SoftmaxRegressionClassifier(early_stopping=True).fit(X, SPECIES, X_val=bad, y_val=SPECIES),
    ]
    if X.dtype != np.float16:  # whose kernels read NaN as a number: a fit is told, at the cost of a pass
        calls.append(lambda: clf.predict_proba(bad))
    with config_context(assume_finite=True):
        for call in calls:
            with pytest.raises(ValueError, match=f"{'NaN' if np.isnan(value) else 'infinity'} in row 7"):
                call()


def test_offsets_and_targets_that_nobody_has_looked_at():
    offset, target = np.zeros((150, 3)), np.full((150, 3), 1 / 3)
    offset[4, 1] = target[5, 0] = np.nan
    clf = SoftmaxRegressionClassifier().fit(IRIS, SPECIES)
    with config_context(assume_finite=True):
        for call in (lambda: clone(clf).fit(IRIS, SPECIES, offset=offset), lambda: clf.predict(IRIS, offset=offset)):
            with pytest.raises(ValueError, match="finite values in offset.*row 4"):
                call()
        with pytest.raises(ValueError, match="row 5"):
            clone(clf).fit(IRIS, target)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("container", [np.asarray, np.float32, csr_array])
def test_underflow_is_no_error(container):
    """Whatever the caller wants to hear of: a number that vanishes is what was to be calculated."""
    tiny = IRIS * 1e-20
    with np.errstate(all="raise"):
        for X, C in ((container(tiny), 1e30), (container(50 * IRIS), 1e3)):
            clf = SoftmaxRegressionClassifier(C).fit(X, SPECIES)
            two = SoftmaxRegressionClassifier(C).fit(X, SPECIES == 0)
            for method in ("predict", *METHODS):
                getattr(clf, method)(X)
                getattr(two, method)(X * X.dtype.type(10))
            two.sample_loss(X, SPECIES == 0)
            SoftmaxRegressionClassifier(C, l1_ratio=0.5).fit(X, SPECIES)
            SoftmaxRegressionClassifier().partial_fit(X, SPECIES, [0, 1, 2]).score(X, SPECIES)
            SoftmaxRegressionClassifierCV([C / 10, C], cv=2).fit(X, SPECIES).score(X, SPECIES)
            softmax_regression_path(X, SPECIES, Cs=[C / 10, C])


# --- labels that do not compare ---------------------------------------------------------------------------------

DATES = np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "M8[D]")
OTHERS = {
    "objects": np.array(["a", "b", "c"], object),
    "text": np.array(["a", "b", "c"]),
    "text-of-integers": np.array(["0", "1", "2"]),
    "integers": np.arange(3),
    "days": DATES,
    "nanoseconds": (DATES - DATES[0]).astype(np.int64).astype("M8[ns]"),
    "times": np.arange(3).astype("m8[s]"),
    "large": 2**53 + np.arange(3, dtype=np.uint64),
}
SAME = {
    "integers": [np.arange(3, dtype=np.uint64), np.arange(3.0), np.arange(3, dtype=">i2"), np.arange(3).astype(object)],
    "text": [OTHERS["objects"]],
    "objects": [OTHERS["text"]],
    "days": [DATES.astype("M8[ns]")],
    "large": [2**53 + np.arange(3, dtype=np.int64), np.array([2**53, 2**53 + 1, 2**53 + 2], object)],
}


@pytest.mark.parametrize("before", OTHERS)
def test_labels_that_do_not_compare_are_other_labels(before):
    clf = SoftmaxRegressionClassifier(C=0.1, warm_start=True).fit(IRIS, OTHERS[before][SPECIES])
    chosen = SoftmaxRegressionClassifierCV([0.1], cv=2).fit(IRIS, OTHERS[before][SPECIES])
    rated = clone(chosen).set_params(scoring="accuracy").fit(IRIS, OTHERS[before][SPECIES])
    stream = SoftmaxRegressionClassifier().partial_fit(IRIS, OTHERS[before][SPECIES], OTHERS[before])
    for after in OTHERS.keys() - {before}:
        if {before, after} == {"text", "objects"}:
            continue
        y = OTHERS[after][SPECIES]
        expected = SoftmaxRegressionClassifier(C=0.1).fit(IRIS, y)
        assert_array_equal(clone_with_attributes(clf).fit(IRIS, y).coef_, expected.coef_)
        stopping = clone(clf).set_params(early_stopping=True)
        for call in (
            partial(stream.partial_fit, IRIS, y),
            partial(clf.sample_loss, IRIS, y),
            partial(chosen.score, IRIS, y),
            partial(stopping.fit, IRIS, OTHERS[before][SPECIES], X_val=IRIS, y_val=y),
        ):
            with pytest.raises(ValueError, match="Expected labels of the classes"):
                call()
        with pytest.raises(ValueError, match="Expected classes as in the first call"):
            stream.partial_fit(IRIS, OTHERS[before][SPECIES], classes=OTHERS[after])
        if OTHERS[before].dtype.kind == "M" and OTHERS[after].dtype.kind in "iu":
            for model in (clf, rated):
                with pytest.raises(ValueError, match="Expected labels of the classes"):
                    model.score(IRIS, y)


@pytest.mark.parametrize("before", SAME)
def test_labels_of_other_types_that_mean_the_same(before):
    y = OTHERS[before][SPECIES]
    clf = SoftmaxRegressionClassifier(C=0.1, warm_start=True).fit(IRIS, y)
    for classes in SAME[before]:
        same = classes[SPECIES]
        assert_array_equal(clf.sample_loss(IRIS, same), clf.sample_loss(IRIS, y))
        SoftmaxRegressionClassifier().partial_fit(IRIS, y, OTHERS[before]).partial_fit(IRIS, same)
        if classes.dtype != object or isinstance(classes[0], str):
            assert iterations(clone_with_attributes(clf).fit(IRIS, same)) <= 1


def test_integers_that_are_one_number_as_floats():
    y = 2**53 + SPECIES.astype(np.int64)
    clf = SoftmaxRegressionClassifier(C=0.1).fit(IRIS, y)
    assert_array_equal(clf.classes_, 2**53 + np.arange(3))
    expected = SoftmaxRegressionClassifier(C=0.1).fit(IRIS, SPECIES).sample_loss(IRIS, SPECIES)
    assert_array_equal(clf.sample_loss(IRIS, y.astype(np.uint64)), expected)
    with pytest.raises(ValueError, match="Expected labels"):
        clf.sample_loss(IRIS, (y + 3).astype(np.uint64))


def test_classes_in_any_order():
    """Set by hand they may be unsorted: each label has the row that stands where it does."""
    clf = SoftmaxRegressionClassifier(C=0.1).fit(IRIS, SPECIES)
    expected = clf.sample_loss(IRIS, SPECIES)
    order = [2, 0, 1]
    clf.coef_, clf.intercept_, clf.classes_ = clf.coef_[order], clf.intercept_[order], clf.classes_[order]
    assert_allclose(clf.sample_loss(IRIS, SPECIES), expected, rtol=1e-12)
    assert iterations(clone_with_attributes(clf).fit(IRIS, SPECIES)) <= 1


@pytest.mark.parametrize(
    ("classes", "class_weight"),
    [
        (np.array(["-1", "01", "1"]), {"-1": 2.0, "01": 3.0}),
        (np.array(["-1", "01", "1"], object), {"-1": 2.0, "01": 3.0}),
        (np.array([0.25, 1.0, 2.0]) * 4, {1: 2.0, 4.0: 3.0}),
        (DATES, {DATES[0]: 2.0, DATES[1]: 3.0}),
        (2**53 + np.arange(3), {2**53: 2.0, 2**53 + 1: 3.0}),
    ],
    ids=["text", "objects", "floats", "dates", "large"],
)
def test_class_weight_by_label(classes, class_weight):
    y, weight = classes[SPECIES], np.array([2.0, 3.0, 1.0])[SPECIES]
    clf = SoftmaxRegressionClassifier(class_weight=class_weight).fit(IRIS, y)
    assert_array_equal(clf.coef_, SoftmaxRegressionClassifier().fit(IRIS, y, weight).coef_)
    chosen = SoftmaxRegressionClassifierCV([1.0], cv=2, class_weight=class_weight).fit(IRIS, y)
    assert_array_equal(chosen.coef_, SoftmaxRegressionClassifierCV([1.0], cv=2).fit(IRIS, y, weight).coef_)


def test_class_weight_names_labels_as_they_are():
    for y, class_weight in ((SPECIES, {"1": 2.0}), (SPECIES.astype(str), {1: 2.0})):
        with pytest.raises(ValueError, match="not in class_weight"):
            SoftmaxRegressionClassifier(class_weight=class_weight).fit(IRIS, y)


def test_rows_with_several_labels_are_told_where_to_go():
    several = np.eye(3)[SPECIES]
    several[::5, 0] = 1
    for y in (several, several.astype(int), several.astype(bool)):
        with pytest.raises(ValueError, match="several labels.*MultiOutputClassifier"):
            SoftmaxRegressionClassifier().fit(IRIS, y)
    with pytest.raises(ValueError, match="divide each row by its sum"):
        SoftmaxRegressionClassifier().fit(IRIS, 2 * np.eye(3)[SPECIES])
