"""Features that are in for all classes or for none: the optimum by its conditions, and a gap that holds."""

import itertools

import numpy as np
import pytest
from sklearn.model_selection import PredefinedSplit
from test_penalty import CONTAINERS, SHAPES, compared_to_fits, data, factors, fit

import reference
from softmax_clf import C_max, SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.solvers.nonsmooth import GroupedL1


def residual(objective, coef, intercept):
    """How far features are from their conditions, and the intercepts from theirs."""
    grad, norm = objective.grad(coef, intercept), np.linalg.norm(coef, axis=0)
    by_coef, strength = grad[:, : coef.shape[1]], objective.l1_reg_strength * objective.penalised[: coef.shape[1]]
    pull = strength * coef / np.where(norm > 0, norm, 1.0)
    zeros = np.maximum(np.linalg.norm(by_coef, axis=0) - strength, 0.0)
    by_feature = np.where(norm > 0, np.linalg.norm(by_coef + pull, axis=0), zeros)
    return max(by_feature.max(), np.abs(grad[:, coef.shape[1] :]).max(initial=0.0))


CASES = [
    (container, shape, l1_ratio)
    for q, (shape, l1_ratio) in enumerate(itertools.product(SHAPES, [0.3, 1.0]))
    for container in (sorted(CONTAINERS)[q % 4], "CSR")[: 1 + (shape == SHAPES[2])]
]


@pytest.mark.parametrize("with_factors", [False, True])
@pytest.mark.parametrize(("container", "shape", "l1_ratio"), CASES)
def test_conditions_of_the_optimum(container, shape, l1_ratio, with_factors):
    X, y = data(*shape, 4)
    factor = factors(shape[1]) if with_factors else np.ones(shape[1])
    finite = np.isfinite(factor)
    for C, dtype in ((0.1, np.float64), (3.0, np.float64), (1.0, np.float32)):
        rows, tol = CONTAINERS[container](X.astype(dtype)), 1e-9 if dtype == np.float64 else 1e-6
        clf = fit(rows, y, C, l1_ratio=l1_ratio, l1_group="class", penalty_factor=factor, tol=tol)
        args = reference.one_hot(y), C, None, True, None, l1_ratio, factor[finite]
        objective = reference.Objective(X[:, finite], *args)
        coef = clf.coef_[:, finite]
        assert residual(objective, coef, clf.intercept_) <= (2e-5 if dtype == np.float64 else 2e-3)
        in_use = (clf.coef_ != 0).any(axis=0)
        np.testing.assert_array_equal(in_use, (clf.coef_ != 0).all(axis=0))
        assert not in_use[~finite].any()
        norms = objective.l1_reg_strength * (factor[finite] * np.linalg.norm(coef, axis=0)).sum()
        smooth = objective.loss(coef, clf.intercept_) - objective.l1_reg_strength * (factor[finite] * abs(coef)).sum()
        assert clf.objective_ == pytest.approx(smooth + norms, abs=1e-6)


def test_the_gap_holds():
    X, y = data(60, 150, 4)
    for l1_ratio in (0.1, 0.5, 1.0):
        fits = [fit(X, y, 3.0, l1_ratio=l1_ratio, l1_group="class", tol=tol) for tol in (1e-1, 1e-2, 1e-4, 1e-8)]
        for clf in fits:
            assert clf.suboptimality_is_bound_
            assert clf.objective_ - fits[-1].objective_ <= clf.suboptimality_ + 1e-12


def test_two_classes_have_one_coefficient():
    X, y = data(150, 8, 2)
    alone, grouped = (fit(X, y, 0.3, l1_ratio=0.7, l1_group=group) for group in (None, "class"))
    np.testing.assert_array_equal(alone.coef_, grouped.coef_)


@pytest.mark.parametrize(("shape", "l1_ratio"), [((150, 8), 0.5), ((60, 150), 1.0), ((700, 60), 1.0)])
def test_paths_and_folds_are_their_fits(shape, l1_ratio):
    X, y = data(*shape, 4)
    common = {"l1_group": "class", "tol": 1e-9, "standardize": True}
    fold = np.where(np.arange(len(y)) < 4, 1, np.arange(len(y)) % 2)  # a row of each class, of which one is rare
    cv = compared_to_fits(X, y, fold, 1e-3, l1_ratio, **common)
    in_use = cv.coef_ != 0
    np.testing.assert_array_equal(in_use.any(axis=0), in_use.all(axis=0))


def test_a_fold_without_a_class():
    X, y = data(90, 6, 4)
    fold = np.where(y == 2, 0, np.arange(90) % 2)
    cv = SoftmaxRegressionClassifierCV([0.3, 1.0], cv=PredefinedSplit(fold), l1_ratios=[1.0], l1_group="class").fit(
        X, y
    )
    assert not cv.coefs_paths_[0, 0, :, 2, :-1].any()
    assert cv.coefs_paths_[0, 0, -1, [0, 1, 3], :-1].any()


def test_where_the_features_come_in():
    X, y = data(150, 8, 4)
    C = C_max(X, y, l1_group="class", standardize=True)
    for share, found in ((0.999, False), (1.01, True)):
        clf = fit(X, y, share * C, l1_ratio=1.0, l1_group="class", standardize=True, tol=1e-12)
        assert clf.coef_.any() == found
    path = softmax_regression_path(X, y, Cs=5, l1_ratio=1.0, l1_group="class", standardize=True)
    assert path.Cs[0] == pytest.approx(C)
    assert not path.coefs[0].any()


def test_a_warm_start_and_what_it_does_not_go_with():
    X, y = data(150, 8, 4)
    clf = SoftmaxRegressionClassifier(0.3, l1_ratio=1.0, l1_group="class", warm_start=True, tol=1e-10).fit(X, y)
    before = clf.coef_
    assert clf.fit(X, y).n_iter_ <= 1
    np.testing.assert_allclose(clf.coef_, before, atol=1e-4)
    with pytest.raises(ValueError, match="positive l1_ratio with l1_group"):
        SoftmaxRegressionClassifier(l1_group="class").fit(X, y)
    with pytest.raises(ValueError, match="coef_bounds=None with l1_group"):
        SoftmaxRegressionClassifier(l1_ratio=1.0, l1_group="class", coef_bounds=(0, None)).fit(X, y)


def test_the_norms_and_their_slope():
    rng = np.random.default_rng(0)
    penalty = GroupedL1(np.array([0.5, 2.0, 1.0, 0.0]), np.zeros(3, bool))
    point, direction = rng.standard_normal((2, 3, 4))
    point[:, 1] = 0.0
    step = 1e-7
    before = penalty.value(point - step * direction)
    assert penalty.slope(point, direction) == pytest.approx((penalty.value(point) - before) / step, rel=1e-5)
