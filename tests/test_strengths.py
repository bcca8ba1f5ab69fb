"""The penalty at which all coefficients are zero."""

import numpy as np
import pytest
from scipy.sparse import csr_array

import problems
from softmax_clf import C_max, SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.model_selection import grid

WEIGHT = np.linspace(0.5, 2.0, 150)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"l1_ratio": 0.3},
        {"standardize": True},
        {"sample_weight": WEIGHT, "class_weight": "balanced"},
        {"offset": np.sin(np.arange(450)).reshape(150, 3)},
        {"offset": np.sin(np.arange(450)).reshape(150, 3), "fit_intercept": False},
        {"two": True, "offset": np.cos(np.arange(300)).reshape(150, 2)},
        {"sparse": True, "two": True},
    ],
    ids=lambda options: ", ".join(options),
)
def test_coefficients_leave_zero_there(options):
    problem = problems.load("iris")
    X, y = problem.X, problem.y
    fit = {name: options[name] for name in ("sample_weight", "offset") if name in options}
    params = {name: value for name, value in options.items() if name not in (*fit, "two", "sparse")}
    X = csr_array(X) if "sparse" in options else X
    y = np.minimum(y, 1) if "two" in options else y
    C = C_max(X, y, **{name: value for name, value in options.items() if name not in ("two", "sparse")})
    params = {"l1_ratio": 1.0, "tol": 1e-11} | params
    within, beyond = (SoftmaxRegressionClassifier(q * C, **params).fit(X, y, **fit) for q in (0.999, 1.01))
    assert not within.coef_.any()
    assert beyond.coef_.any()


def test_units():
    problem = problems.load("iris")
    C = C_max(problem.X, problem.y)
    assert C_max(problem.X * 1e3, problem.y) == pytest.approx(C / 1e3)
    assert C_max(problem.X, problem.y, l1_ratio=0.5) == pytest.approx(C / 2)
    assert C_max((problem.X * 2.0**-60).astype(np.float32), problem.y) == pytest.approx(C * 2.0**60, rel=1e-6)


def test_features_that_say_nothing():
    assert C_max(np.ones((4, 2)), [0, 1, 0, 1]) == np.inf


def test_an_l2_penalty_leaves_nothing_at_zero():
    with pytest.raises(ValueError, match=r"positive l1_ratio.*Remedy"):
        C_max(np.eye(4), [0, 1, 0, 1], l1_ratio=0.0)


def test_an_integer_counts_from_there():
    problem = problems.load("iris")
    X, y = problem.X, problem.y
    C = C_max(X, y)
    Cs, coefs, _, _ = softmax_regression_path(X, y, Cs=4, l1_ratio=1.0, tol=1e-4)
    np.testing.assert_allclose(Cs, C * np.geomspace(1, 1e3, 4))
    assert not coefs[0].any()
    assert coefs[1].any()
    clf = SoftmaxRegressionClassifierCV(3, cv=2, l1_ratios=[1.0, 0.5], tol=1e-3).fit(X, y)
    np.testing.assert_allclose(clf.Cs_[[0, -1]], [C / 2, C * 1e3])
    plain = SoftmaxRegressionClassifierCV(3, cv=2, l1_ratios=[0.0, 0.5], tol=1e-3).fit(X, y)
    np.testing.assert_allclose(plain.Cs_, [1e-4, 1.0, 1e4])


@pytest.mark.parametrize(("name", "value"), [("_EXPLAINED", 0.6), ("_GROWTH", 0.2)])
def test_a_path_ends_where_nothing_more_is_explained(name, value, monkeypatch):
    """And one whose values are given does not."""
    problem = problems.load("iris")
    X, y = problem.X, problem.y
    whole = softmax_regression_path(X, y, Cs=8, l1_ratio=1.0, tol=1e-4)[0]
    monkeypatch.setattr(grid, name, value)
    Cs, coefs, intercepts, n_iters = softmax_regression_path(X, y, Cs=8, l1_ratio=1.0, tol=1e-4)
    assert 5 <= len(Cs) < 8
    np.testing.assert_array_equal(Cs, whole[: len(Cs)])
    assert len(coefs) == len(intercepts) == len(n_iters) == len(Cs)
    assert len(softmax_regression_path(X, y, Cs=whole, l1_ratio=1.0, tol=1e-4)[0]) == 8
    clf = SoftmaxRegressionClassifierCV(8, cv=2, l1_ratios=[1.0], tol=1e-4).fit(X, y)
    assert clf.scores_.shape == clf.dev_ratio_.shape == (2, 1, len(clf.Cs_))
    assert 5 <= len(clf.Cs_) < 8


def test_deviance_explained():
    problem = problems.load("iris")
    X, y = problem.X, problem.y
    cv = [(np.arange(150), np.arange(150))]
    clf = SoftmaxRegressionClassifierCV([0.01, 0.1, 1.0], cv=cv, l1_ratios=[0.0, 0.7]).fit(X, y)
    # the rows that are scored are those that are fitted, and all classes are as frequent
    np.testing.assert_allclose(clf.dev_ratio_, 1 + clf.scores_ / np.log(3), atol=1e-12)
