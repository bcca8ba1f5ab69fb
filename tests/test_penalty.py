"""What the penalty counts: factors by feature, by the conditions of the optimum and by an oracle."""

import itertools
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import PredefinedSplit
from test_proximal import CONTAINERS

import reference
from softmax_clf import C_max, SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.penalty import ElasticNet
from softmax_clf.solvers.proximal import shift_of_least_penalty
from softmax_clf.sources.sparse import CsrSource


def data(n_samples, n_features, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features)) + 0.6 * rng.standard_normal((n_samples, 1))
    X += rng.standard_normal(n_features)
    y = np.argmax(1.5 * X[:, :n_classes] + rng.gumbel(size=(n_samples, n_classes)), axis=1)
    y[:n_classes] = np.arange(n_classes)
    return X.astype(np.float32).astype(np.float64), y


def factors(n_features, seed=1):
    """Of every kind; the first features, which tell the classes, have one of each."""
    factor = np.random.default_rng(seed).choice([0.3, 1.0, 4.0, np.inf], n_features, p=[0.3, 0.3, 0.3, 0.1])
    factor[:4] = 2.0, 0.0, np.inf, 0.5
    return factor


def fit(X, y, *args, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rounding may hide the last digit
        return SoftmaxRegressionClassifier(*args, **params).fit(X, y)


def compared_to_fits(X, y, fold, atol, l1_ratio, **common):
    """A path, and the folds of a choice of C, held to fits of their own: the choice that was made."""
    Cs = [0.05, 0.3, 1.0]
    path = softmax_regression_path(X, y, Cs=Cs, l1_ratio=l1_ratio, **common)
    cv = SoftmaxRegressionClassifierCV(Cs, cv=PredefinedSplit(fold), l1_ratios=[l1_ratio], score_tol=0, **common)
    cv.fit(X, y)
    for c, C in enumerate(Cs):
        clf = fit(X, y, C, l1_ratio=l1_ratio, **common)
        np.testing.assert_allclose(path.coefs[c], clf.coef_, atol=atol)
        clf = fit(X[fold == 1], y[fold == 1], C, l1_ratio=l1_ratio, **common)
        np.testing.assert_allclose(cv.coefs_paths_[0, 0, c, :, :-1], clf.coef_, atol=atol)
    return cv


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [0.01, 1.0, np.inf])
def test_l2_factors_against_newton(n_classes, C):
    X, y = data(120, 7, n_classes)
    factor = factors(7)
    clf = fit(X, y, C, penalty_factor=factor, tol=1e-13)
    finite = np.isfinite(factor)
    objective = reference.Objective(X[:, finite], reference.one_hot(y), C, factor=factor[finite])
    coef, intercept, loss = reference.minimise(objective)
    np.testing.assert_allclose(clf.coef_[:, finite], coef, atol=2e-5)
    np.testing.assert_allclose(clf.intercept_, intercept, atol=2e-5)
    assert not clf.coef_[:, ~finite].any()
    assert clf.objective_ == pytest.approx(loss, abs=1e-9)


# (n_samples, n_features): Newton's method, L-BFGS or a proximal method, working sets
SHAPES = [(150, 8), (700, 60), (60, 150)]
CASES = [
    (container, shape, n_classes, l1_ratio)
    for q, (shape, n_classes, l1_ratio) in enumerate(itertools.product(SHAPES, [2, 4], [0.0, 0.5, 1.0]))
    for container in (sorted(CONTAINERS)[q % 4], "CSR")[: 1 + (shape == SHAPES[2])]
]


@pytest.mark.parametrize(("container", "shape", "n_classes", "l1_ratio"), CASES)
def test_conditions_of_the_optimum(container, shape, n_classes, l1_ratio):
    X, y = data(*shape, n_classes)
    factor = factors(shape[1])
    finite = np.isfinite(factor)
    for C, dtype in ((0.05, np.float64), (3.0, np.float32)):
        tol = 1e-11 if dtype == np.float64 else 1e-6
        clf = fit(CONTAINERS[container](X.astype(dtype)), y, C, l1_ratio=l1_ratio, penalty_factor=factor, tol=tol)
        assert not clf.coef_[:, ~finite].any()
        args = reference.one_hot(y), C, None, True, None, l1_ratio, factor[finite]
        objective = reference.Objective(X[:, finite], *args)
        subgradient = objective.subgradient(clf.coef_[:, finite], clf.intercept_)
        assert np.abs(subgradient).max() <= (2e-6 if dtype == np.float64 else 2e-3)
        assert clf.objective_ == pytest.approx(objective.loss(clf.coef_[:, finite], clf.intercept_), abs=1e-6)
        assert not clf.suboptimality_is_bound_  # with a feature that no penalty counts


def test_features_that_all_count_keep_the_bound():
    X, y = data(60, 150)
    factor = np.where(factors(150) == 0, 1.0, factors(150))
    for l1_ratio in (0.5, 1.0):
        fits = [fit(X, y, 1.0, l1_ratio=l1_ratio, penalty_factor=factor, tol=tol) for tol in (1e-2, 1e-4, 1e-10)]
        for clf in fits:
            assert clf.suboptimality_is_bound_
            assert clf.objective_ - fits[-1].objective_ <= clf.suboptimality_ + 1e-12


@pytest.mark.parametrize("l1_ratio", [0.0, 0.4, 1.0])
def test_a_factor_is_a_scale_of_the_feature(l1_ratio):
    """But with both penalties, where no scale does it."""
    X, y = data(150, 8)
    factor = np.linspace(0.25, 4.0, 8)
    scale = {0.0: np.sqrt(factor), 1.0: factor, 0.4: factor}[l1_ratio]
    clf = fit(X, y, 0.3, l1_ratio=l1_ratio, penalty_factor=factor, tol=1e-13)
    scaled = fit(X / scale, y, 0.3, l1_ratio=l1_ratio, tol=1e-13)
    is_same = np.allclose(clf.coef_, scaled.coef_ / scale, atol=1e-5)
    assert is_same == (l1_ratio != 0.4)


def test_with_standardisation_and_a_warm_start():
    X, y = data(150, 8)
    X *= np.logspace(-2, 2, 8)
    factor = factors(8)
    clf = SoftmaxRegressionClassifier(0.1, l1_ratio=0.5, penalty_factor=factor, standardize=True, tol=1e-12)
    clf.fit(X, y)
    by_hand = fit((X - X.mean(axis=0)) / X.std(axis=0), y, 0.1, l1_ratio=0.5, penalty_factor=factor, tol=1e-12)
    np.testing.assert_allclose(clf.coef_ * X.std(axis=0), by_hand.coef_, atol=1e-5)
    before = clf.coef_.copy()
    clf.set_params(warm_start=True).fit(X, y)
    assert clf.n_iter_ <= 1
    np.testing.assert_allclose(clf.coef_ * X.std(axis=0), before * X.std(axis=0), atol=1e-5)


def test_sparse_rows_with_more_features_than_rows_count():
    """In coordinates of the rows where all features count, by all coefficients where one does not."""
    rng = np.random.default_rng(0)
    X, y = csr_array(rng.uniform(size=(80, 5000)) * (rng.uniform(size=(80, 5000)) < 0.003)), np.arange(80) % 3
    factor = rng.choice([0.3, 1.0, 4.0], 5000)
    assert CsrSource(X).is_wide_and_sparse
    for some in (factor, np.where(np.arange(5000) < 2, 0.0, factor)):
        clf = fit(X, y, 10.0, penalty_factor=some, tol=1e-9)
        objective = reference.Objective(X.toarray(), reference.one_hot(y), 10.0, factor=some)
        assert np.abs(objective.grad(clf.coef_, clf.intercept_)).max() < 1e-5


def test_ones_are_none_to_the_bit():
    X, y = data(150, 8)
    for l1_ratio in (0.0, 0.5):
        a = fit(X, y, l1_ratio=l1_ratio)
        b = fit(X, y, l1_ratio=l1_ratio, penalty_factor=np.ones(8))
        np.testing.assert_array_equal(a.coef_, b.coef_)


@pytest.mark.parametrize(("shape", "l1_ratio"), [((150, 8), 0.0), ((150, 8), 0.5), ((60, 150), 1.0), ((700, 60), 0.0)])
def test_paths_and_folds_are_their_fits(shape, l1_ratio):
    X, y = data(*shape)
    factor = factors(shape[1])
    common = {"penalty_factor": factor, "tol": 1e-11, "standardize": True}
    cv = compared_to_fits(X, y, np.arange(len(y)) % 2, 2e-4, l1_ratio, **common)
    assert not cv.coef_[:, np.isinf(factor)].any()


@pytest.mark.parametrize("with_free", [False, True])
@pytest.mark.parametrize("make", [np.asarray, csr_array])
def test_where_the_penalised_coefficients_leave_zero(make, with_free):
    X, y = data(150, 8)
    factor = factors(8) if with_free else np.maximum(factors(8), 0.1)
    C = C_max(make(X), y, l1_ratio=0.5, penalty_factor=factor, standardize=True)
    for share, found in ((0.999, False), (1.01, True)):
        clf = fit(make(X), y, share * C, l1_ratio=0.5, penalty_factor=factor, standardize=True, tol=1e-12)
        assert clf.coef_[:, factor > 0].any() == found
        assert clf.coef_[:, factor == 0].any() == with_free
    path = softmax_regression_path(make(X), y, Cs=5, l1_ratio=0.5, penalty_factor=factor, standardize=True)
    assert path.Cs[0] == pytest.approx(0.5 * C / 0.5)


def test_no_leaving_out_with_factors():
    X, y = data(30, 8)
    with pytest.raises(ValueError, match="penalty_factor=None with cv='loo'"):
        SoftmaxRegressionClassifierCV(cv="loo", penalty_factor=np.ones(8)).fit(X, y)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (np.ones(3), "each of 8 features, got shape"),
        (np.ones((3, 8)), "each of 8 features, got shape"),
        ([1.0] * 7 + [-1.0], "got -1 for feature 7"),
        ([1.0] * 7 + [np.nan], "got nan for feature 7"),
        ([1.0] * 7 + [1e-300], "got 1e-300 for feature 7"),
    ],
)
def test_factors_that_are_none(factor, message):
    X, y = data(30, 8)
    with pytest.raises(ValueError, match=message):
        SoftmaxRegressionClassifier(penalty_factor=factor).fit(X, y)


def test_partial_fit_says_why_not():
    X, y = data(30, 8)
    with pytest.raises(AttributeError) as raised:
        SoftmaxRegressionClassifier(penalty_factor=np.ones(8)).partial_fit(X, y)
    assert "penalty_factor=None for partial_fit" in str(raised.value.__cause__)


def test_the_least_shift_by_column():
    """As one by one, with strengths of their own."""
    values = np.random.default_rng(0).standard_normal((4, 6))
    values[:, 2] = [0, 0, 1, -1]
    l1, l2 = np.array([0.0, 1.0, 0.5, 2.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.3])
    together = shift_of_least_penalty(values, l1, l2)
    one_by_one = [shift_of_least_penalty(values[:, [j]], l1[j], l2[j])[0] for j in range(6)]
    np.testing.assert_array_equal(together, one_by_one)


def test_values_of_the_penalty():
    coef, factor = np.array([[1.0, -2.0, 3.0], [0.5, 1.0, -1.0]]), np.array([0.0, 4.0, 0.25])
    net = ElasticNet.from_C(2.0, 0.25, 10.0, factor=factor)
    expected = (0.75 / 2 * (factor * coef**2).sum() + 0.25 * (factor * np.abs(coef)).sum()) / 20.0
    assert net.value(coef * np.where(factor > 0, np.sqrt(factor), 1.0)) == pytest.approx(expected)
