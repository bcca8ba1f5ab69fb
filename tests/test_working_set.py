"""Sparse coefficients by working sets: the optimum by its conditions, and a gap that holds."""

import itertools
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import PredefinedSplit
from test_penalty import fit

import problems
import reference
import softmax_clf.fitting
import softmax_clf.model_selection.fold_paths
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.columns import Columns, suits_columns
from softmax_clf.solvers import working_set

CONTAINERS = {"C": np.ascontiguousarray, "F": np.asfortranarray, "CSR": csr_array}


def wide(n_classes=3, n_samples=60, n_features=150, seed=0):
    """More features than rows, in correlated blocks; some values are zero, some means are not."""
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.standard_normal((n_samples, n_features // 5)), 5, axis=1)
    X = 0.7 * X + 0.7 * rng.standard_normal((n_samples, n_features)) + (np.arange(n_features) % 3)
    X *= rng.uniform(size=X.shape) < 0.8
    y = np.argmax(X[:, :n_classes] + 0.5 * rng.gumbel(size=(n_samples, n_classes)), axis=1)
    y[:n_classes] = np.arange(n_classes)
    return X.astype(np.float32).astype(np.float64), y


VARIANTS = ["plain", "weighted", "offset", "soft", "float32", "no intercept"]


def of_variant(variant, y, n_classes):
    """Weights, offsets, target probabilities, and the dtype of X."""
    rng = np.random.default_rng(1)
    weight = rng.exponential(size=len(y)) * (rng.uniform(size=len(y)) < 0.9) if variant == "weighted" else None
    offset = rng.standard_normal((len(y), n_classes)) if variant == "offset" else None
    target = reference.one_hot(y)
    if variant == "soft":
        target = 0.9 * target + 0.1 / n_classes
    dtype = np.float32 if variant == "float32" else np.float64
    return weight, offset, target, dtype


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("container", "l1_ratio"), [("C", 1.0), ("CSR", 0.9), ("F", 0.1), ("CSR", 1.0)])
def test_conditions_of_the_optimum(n_classes, l1_ratio, container, variant):
    X, y = wide(n_classes)
    weight, offset, target, dtype = of_variant(variant, y, n_classes)
    with_intercept = variant != "no intercept"
    rows = CONTAINERS[container](X.astype(dtype))
    common = {"l1_ratio": l1_ratio, "fit_intercept": with_intercept}
    for C in (0.3, 10.0):
        fits = [
            SoftmaxRegressionClassifier(C, tol=tol, **common).fit(
                rows, target if variant == "soft" else y, weight, offset=offset
            )
            for tol in (1e-3, 1e-6 if dtype == np.float32 else 1e-9)
        ]
        for clf in fits:
            assert clf.converged_
            assert clf.suboptimality_is_bound_
            assert clf.objective_ - fits[-1].objective_ <= clf.suboptimality_ + 1e-12
        clf = fits[-1]
        objective = reference.Objective(
            X, target, C, np.ones(len(y)) if weight is None else weight, with_intercept, offset, l1_ratio
        )
        subgradient = objective.subgradient(clf.coef_, clf.intercept_)
        # by the gap, with the curvature of an L2 penalty; or without one, by its share of the L1 penalty
        allowed = np.sqrt(2 * clf.suboptimality_ * objective.l2_reg_strength)
        allowed += (1e-3 if dtype == np.float64 else 0.02) * objective.l1_reg_strength
        assert np.abs(subgradient).max() <= allowed
        assert clf.objective_ == pytest.approx(objective.loss(clf.coef_, clf.intercept_), abs=1e-6)


def test_a_path_is_its_fits():
    """Each from where the last one was, by the strong rule; zeros and all."""
    X, y = wide()
    Cs, coefs, intercepts, _ = softmax_regression_path(X, y, Cs=np.geomspace(0.05, 5, 12), l1_ratio=1.0, tol=1e-9)
    n_used = [np.count_nonzero(coef) for coef in coefs]
    assert n_used[0] < 10 < 40 < n_used[-1]
    for c in (3, 11):
        clf = SoftmaxRegressionClassifier(Cs[c], l1_ratio=1.0, tol=1e-9).fit(X, y)
        np.testing.assert_array_equal(coefs[c] != 0, clf.coef_ != 0)
        np.testing.assert_allclose(coefs[c], clf.coef_, atol=1e-4)
        np.testing.assert_allclose(intercepts[c], clf.intercept_, atol=1e-4)


@pytest.mark.parametrize("container", ["C", "CSR"])
def test_the_bits_do_not_depend_on_threads(container):
    X, y = wide(n_samples=200, n_features=3000)
    one, two = (
        SoftmaxRegressionClassifier(0.5, l1_ratio=1.0, tol=1e-4, n_jobs=n).fit(CONTAINERS[container](X), y)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_array_equal(one.intercept_, two.intercept_)


def test_folds_that_lack_a_class():
    X, y = wide(4, n_features=80)
    fold = np.where(y == 3, 0, np.arange(len(y)) % 2)
    clf = SoftmaxRegressionClassifierCV([0.3, 3.0], cv=PredefinedSplit(fold), l1_ratios=[1.0], refit=False, tol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        clf.fit(X, y)
    for c, C in enumerate(clf.Cs_):
        train = fold != 0
        cold = SoftmaxRegressionClassifier(C, l1_ratio=1.0, tol=1e-8).fit(X[train], y[train])
        np.testing.assert_allclose(clf.coefs_paths_[0, 0, c, :3, :-1], cold.coef_, atol=1e-4)
        assert not clf.coefs_paths_[0, 0, c, 3, :-1].any()


def test_standardised_features():
    X, y = wide()
    X = np.hstack([X * np.logspace(-2, 2, X.shape[1]), np.ones((len(X), 1))])
    scale = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    clf = SoftmaxRegressionClassifier(2.0, l1_ratio=1.0, standardize=True, tol=1e-9).fit(X, y)
    by_hand = SoftmaxRegressionClassifier(2.0, l1_ratio=1.0, tol=1e-9).fit((X - X.mean(axis=0)) / scale, y)
    np.testing.assert_allclose(clf.coef_ * scale, by_hand.coef_, atol=1e-4)
    sparse = SoftmaxRegressionClassifier(2.0, l1_ratio=1.0, standardize=True, tol=1e-9).fit(csr_array(X), y)
    np.testing.assert_allclose(sparse.coef_, clf.coef_, atol=1e-4)


def test_means_of_sparse_columns_cost_no_iterations():
    """The intercept of a class goes along with each coefficient: else it undoes what a column in all rows gains."""
    X, y = wide()
    X[:, 7] = 1.0
    near, far = (fit(csr_array(X + mean), y, 10.0, l1_ratio=1.0, tol=1e-6) for mean in (1.0, 30.0))
    assert far.n_iter_ <= near.n_iter_ + 5
    np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-4)
    assert not far.coef_[:, 7].any()


def test_the_penalty_of_coefficients_whose_squares_are_no_numbers():
    """On the way of a search; without an L2 penalty it was zero times infinity."""
    fit = SimpleNamespace(ridges=np.zeros(2), thresholds=np.ones(2), columns=SimpleNamespace(is_grouped=False))
    assert working_set._Fit._penalty(fit, np.array([1e200, -1.0])) == 1e200


def test_squares_that_overflow():
    X, y = wide()
    with pytest.raises(ValueError, match="squares of the data overflow float64"):
        SoftmaxRegressionClassifier(l1_ratio=1.0, fit_intercept=False).fit(1e287 * X, y)


def test_a_penalty_that_is_next_to_none():
    """Ratios to it overflowed. A model of the smallest losses that are told from zero is right about every row."""
    X, y = wide()
    clf = fit(csr_array(1e4 * X), y, 1e306, l1_ratio=1.0, max_iter=30)
    assert clf.score(csr_array(1e4 * X), y) == 1.0
    assert clf.suboptimality_ <= clf.objective_ * (1 + 1e-12)


@pytest.mark.parametrize("parameters", [{}, {"coef_bounds": (0.0, np.inf)}, {"l1_group": "class"}])
@pytest.mark.parametrize("l1_ratio", [1e-3, 0.5, 0.999])
def test_an_l2_penalty_that_is_next_to_none(l1_ratio, parameters):
    """What may be gained without an L1 penalty is squares over its strength, and no number: another bound holds."""
    X, y = wide()
    clf = fit(csr_array(X), y, 1e306, l1_ratio=l1_ratio, max_iter=30, **parameters)
    assert clf.suboptimality_ <= clf.objective_ * (1 + 1e-12)
    assert np.isfinite(clf.coef_).all()


def test_thresholds_that_are_next_to_none():
    """Many derivatives that exceed them, of which the steepest are to be chosen: ratios overflowed."""
    X, y = wide()
    clf = fit(csr_array(1e10 * X), y, 1e306, l1_ratio=1.0, max_iter=30)
    assert clf.score(csr_array(1e10 * X), y) == 1.0
    assert np.isfinite(clf.coef_).all()


def test_digits_that_rounding_hides():
    """A gap of nothing cannot be had: it ends, and says so."""
    X, y = wide()
    with pytest.warns(ConvergenceWarning, match="rounding"):
        clf = SoftmaxRegressionClassifier(1.0, l1_ratio=1.0, tol=1e-18).fit(X, y)
    assert clf.suboptimality_ < 1e-12


# ---------------------------------------------------------------------------------------------------------------------
# Rows that abound: working sets at first, and models of all features where these are cheaper


def tall(n_classes=3, n_samples=400, n_features=40, seed=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, 4)) @ rng.standard_normal((4, n_features))
    X = X + rng.standard_normal((n_samples, n_features)) + np.arange(n_features) % 2
    y = np.argmax(X[:, :n_classes] + rng.gumbel(size=(n_samples, n_classes)), axis=1)
    y[:n_classes] = np.arange(n_classes)
    return X.astype(np.float32).astype(np.float64), y


WAYS = ["working sets", "handed on at once", "handed on later", "models"]


@pytest.fixture
def go(monkeypatch):
    """Let fits take a way."""

    def choose(way):
        calls = itertools.count()
        dear = {
            "working sets": lambda *args, **kwargs: False,
            "handed on at once": lambda *args, **kwargs: True,
            "handed on later": lambda *args, **kwargs: next(calls) >= 2,
        }
        suits = suits_columns if way in dear else lambda *args: False
        monkeypatch.setattr(Columns, "is_dear", dear.get(way))
        for module in (softmax_clf.fitting, softmax_clf.model_selection.fold_paths):
            monkeypatch.setattr(module, "suits_columns", suits)

    return choose


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("container", "C", "l1_ratio"), [("C", 10.0, 1.0), ("F", 0.1, 0.9), ("C", 0.3, 0.1)])
def test_all_ways_lead_to_one_minimum(go, n_classes, C, l1_ratio, container, variant):
    X, y = tall(n_classes)
    weight, offset, target, dtype = of_variant(variant, y, n_classes)
    rows, with_intercept = CONTAINERS[container](X.astype(dtype)), variant != "no intercept"
    objective = reference.Objective(
        X, target, C, np.ones(len(y)) if weight is None else weight, with_intercept, offset, l1_ratio
    )
    fits = {}
    for way in WAYS:
        go(way)
        clf = SoftmaxRegressionClassifier(C, l1_ratio=l1_ratio, fit_intercept=with_intercept, tol=1e-6)
        fits[way] = clf.fit(rows, target if variant == "soft" else y, weight, offset=offset)
        assert clf.converged_
        assert clf.objective_ == pytest.approx(objective.loss(clf.coef_, clf.intercept_), abs=1e-6)
    assert fits["working sets"].suboptimality_is_bound_
    assert fits["handed on later"].n_iter_ > 1
    least = min(clf.objective_ for clf in fits.values())
    for clf in fits.values():
        assert clf.objective_ - least <= clf.suboptimality_ + (1e-9 if dtype == np.float64 else 1e-8)


@pytest.mark.parametrize("is_handed_on", [False, True])
def test_the_bits_of_folds_do_not_depend_on_threads(monkeypatch, is_handed_on):
    monkeypatch.setattr(Columns, "is_dear", lambda self, n, is_new=False: is_handed_on and not is_new)
    X, y = tall()
    one, two = (
        SoftmaxRegressionClassifierCV([0.1, 1.0, 10.0], cv=4, l1_ratios=[1.0], refit=False, tol=1e-5, n_jobs=n).fit(
            X, y
        )
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one.coefs_paths_, two.coefs_paths_)


def test_iterations_go_on_where_a_fit_is_handed_on(go):
    """No iteration is told of twice, nor are there more than are allowed."""
    X, y = tall()
    go("handed on later")
    clf = SoftmaxRegressionClassifier(10.0, l1_ratio=1.0, tol=1e-9).fit(X, y)
    assert len(clf.loss_curve_) == clf.n_iter_ + 1
    assert (np.diff(clf.loss_curve_) < 1e-12).all()
    go("handed on later")
    with pytest.warns(ConvergenceWarning):
        few = SoftmaxRegressionClassifier(10.0, l1_ratio=1.0, tol=1e-9, max_iter=3).fit(X, y)
    assert few.n_iter_ == 3
    np.testing.assert_array_equal(few.loss_curve_, clf.loss_curve_[:4])


@pytest.mark.parametrize("way", WAYS)
def test_a_path_is_its_fits_whatever_the_way(go, way):
    X, y = tall()
    Cs = np.geomspace(0.01, 5, 8)
    go("models")
    cold = [SoftmaxRegressionClassifier(C, l1_ratio=1.0, tol=1e-9).fit(X, y).coef_ for C in Cs]
    go(way)
    _, coefs, _, _ = softmax_regression_path(X, y, Cs=Cs, l1_ratio=1.0, tol=1e-9)
    np.testing.assert_allclose(coefs, cold, atol=1e-4)


def test_what_is_dear():
    """Few coefficients among rows that hardly outnumber features are for working sets; many among many are not."""
    clf = {}
    for name, (n_samples, n_features, C) in {"few": (300, 200, 0.02), "many": (20_000, 20, 10.0)}.items():
        X, y = tall(n_samples=n_samples, n_features=n_features)
        clf[name] = SoftmaxRegressionClassifier(C, l1_ratio=1.0, tol=1e-4).fit(X, y)
    assert clf["few"].suboptimality_is_bound_
    assert not clf["many"].suboptimality_is_bound_


# ---------------------------------------------------------------------------------------------------------------------
# glmnet 4.1 of R, family = "multinomial", standardize = FALSE, thresh = 1e-16: alpha, lambda, intercepts of mean zero,
# and (class, feature): coefficient
GLMNET = [
    (
        1.0,
        0.05,
        [0.058822, -0.105699, 0.046877],
        {
            (0, 36): -0.658111,
            (0, 44): -0.94516,
            (0, 46): 0.266573,
            (0, 53): 0.539003,
            (0, 54): 0.749656,
            (1, 10): -0.619409,
            (1, 29): 0.160255,
            (1, 50): -1.014153,
            (2, 37): -0.861411,
            (2, 45): -0.168131,
        },
    ),
    (
        0.6,
        0.1,
        [0.258169, -0.292601, 0.034432],
        {
            (0, 3): 0.070681,
            (0, 35): -0.09689,
            (0, 36): -0.373707,
            (0, 44): -0.493091,
            (0, 46): 0.228007,
            (0, 53): 0.188983,
            (0, 54): 0.226393,
            (1, 10): -0.247483,
            (1, 18): -0.001972,
            (1, 29): 0.07852,
            (1, 44): 0.114181,
            (1, 50): -0.31664,
            (2, 37): -0.35,
            (2, 45): -0.127518,
        },
    ),
]


@pytest.mark.parametrize(("alpha", "strength", "intercept", "nonzero"), GLMNET)
def test_coefficients_are_those_of_glmnet(alpha, strength, intercept, nonzero):
    problem = problems.load("digits")
    X, y = problem.X[:60] / 16, problem.y[:60] % 3
    clf = SoftmaxRegressionClassifier(1 / (strength * len(y)), l1_ratio=alpha, tol=1e-10).fit(X, y)
    expected = np.zeros((3, 64))
    for place, value in nonzero.items():
        expected[place] = value
    np.testing.assert_array_equal(clf.coef_ != 0, expected != 0)
    np.testing.assert_allclose(clf.coef_, expected, atol=1e-4)
    np.testing.assert_allclose(clf.intercept_, intercept, atol=1e-4)
