"""What a gradient says of how far F is above its minimum, it is at the most."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits
from test_certificates import ROUNDING, random_problem, start_of

import reference
from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.dual import DualBound
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.penalty import ElasticNet
from softmax_clf.row_space import RowSpaceObjective
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource


def bounds_of(objective, point):
    """By the coefficients alone, by a mixture, and the least that Hessian products tell."""
    value, grad = objective.evaluate(point)
    plain, thorough = DualBound(objective, False), DualBound(objective, True)
    least = plain.by_coefficients(grad)
    return least, plain(point, value, grad, least), thorough(point, value, grad, least)


def without_offset(objective):
    """Zeros are an offset, too."""
    if not objective.offset.any():
        objective.offset = None
    return objective


def newton_step(exact, point):
    grad, hess = exact.grad(*exact.unpack(point)), exact.hess(*exact.unpack(point))
    return -np.linalg.lstsq(hess, grad.ravel(), rcond=1e-13)[0].reshape(point.shape)


def test_the_bound_holds():
    """At random points and on the way to the minimum; and it is not much more than there is."""
    rng, gains, excess = np.random.default_rng(0), [], []
    for _ in range(300):
        objective, exact = random_problem(rng)
        objective = without_offset(objective)
        *_, best = reference.minimise(exact)
        for size in (0.03, 0.3, 3.0):
            point = start_of(rng, objective, size)
            for _ in range(4):
                gap = exact.loss(*exact.unpack(point)) - best
                least, plain, thorough = bounds_of(objective, point)
                assert gap <= thorough * (1 + 1e-9) + ROUNDING
                assert thorough <= plain
                if 1e-9 < gap and least < 1e-2 and plain < np.inf and exact.fit_intercept:
                    gains.append(plain / thorough)
                    excess.append(thorough / gap)
                point = point + rng.uniform(0.3, 1.0) * newton_step(exact, point)
    assert len(gains) > 100
    assert np.median(gains) > 3
    assert np.median(excess) < 3


def test_it_holds_for_what_float32_makes_of_the_gradient():
    """At the point where the rounded gradient has vanished."""
    rng = np.random.default_rng(1)
    for seed in range(20):
        X = (rng.standard_normal((400, 5)) + rng.choice([0.0, 30.0])).astype(np.float32)
        y = rng.integers(3, size=400)
        exact = reference.Objective(X.astype(np.float64), reference.one_hot(y), 10.0 ** rng.uniform(0, 4))
        options = {"sample_weight": None, "l2_reg_strength": exact.l2_reg_strength, "fit_intercept": True}
        objective = SoftmaxObjective(ArraySource(X), y, 3, **options, n_threads=1)
        coef, intercept, best = reference.minimise(exact)
        point = exact.pack(coef, intercept)
        for _ in range(5):
            step = -np.linalg.lstsq(exact.hess(*exact.unpack(point)), objective.evaluate(point)[1].ravel(), rcond=None)[
                0
            ]
            point = point + step.reshape(point.shape)
        gap = exact.loss(*exact.unpack(point)) - best
        assert gap <= bounds_of(objective, point)[1] + ROUNDING, seed


@pytest.mark.parametrize("n_classes", [2, 4])
def test_in_coordinates_of_the_rows_it_is_the_same(n_classes):
    rng = np.random.default_rng(2)
    X = sp.hstack([rng.standard_normal((60, 3)), sp.random(60, 3997, 0.02, "csr", np.float64, rng)], "csr")
    options = {"sample_weight": rng.exponential(size=60), "l2_reg_strength": 0.01, "fit_intercept": True}
    y = rng.integers(n_classes, size=60)
    rows = RowSpaceObjective(CsrSource(X), y, n_classes, **options, n_threads=1)
    plain = SoftmaxObjective(CsrSource(X), y, n_classes, **options, n_threads=1)
    there = rows.start_point(np.zeros((rows.n_outputs, 4001)))
    for _ in range(8):
        value, grad = rows.evaluate(there)
        coef, intercept = rows.split(there)
        here = np.hstack([coef, intercept[:, None]])
        np.testing.assert_allclose(bounds_of(rows, there), bounds_of(plain, here), rtol=1e-7, atol=1e-12)
        there = there - 0.5 * _as_point(rows, grad)


def _as_point(rows, grad):
    """A gradient in coordinates of the rows as a step."""
    step = np.empty_like(grad)
    by_head, half_grad, half_products = rows.parts(grad)
    to_head, scores, by_row = rows.parts(step)
    to_head[:], scores[:], by_row[:] = by_head, 2 * half_products, 2 * half_grad
    return step


def test_there_is_none_without_a_penalty_of_all_features():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((50, 4)), rng.integers(3, size=50)
    options = {"sample_weight": None, "fit_intercept": True, "n_threads": 1}
    for net in (
        ElasticNet(),
        ElasticNet(0.1, 0.1),
        ElasticNet(0.1, root=np.array([1.0, 0.0, 1.0, 1.0])),
        ElasticNet(0.1, bounds=(np.zeros((3, 4)), np.ones((3, 4)))),
    ):
        objective = SoftmaxObjective(ArraySource(X), y, 3, elastic_net=net, **options)
        assert bounds_of(objective, np.zeros((3, 5))) == (np.inf, np.inf, np.inf)
    offset = rng.standard_normal((50, 3))
    objective = SoftmaxObjective(ArraySource(X), y, 3, elastic_net=ElasticNet(0.1), offset=offset, **options)
    assert bounds_of(objective, np.zeros((3, 5)))[1:] == (np.inf, np.inf)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_fit_with_a_strong_penalty_is_ended_by_it(fit_intercept):
    X, y = load_digits(return_X_y=True)
    X = np.tanh(X @ np.random.default_rng(4).standard_normal((64, 300)) / 30)
    exact = reference.Objective(X, reference.one_hot(y), 1e-2, fit_intercept=fit_intercept)
    for tol in (1e-2, 1e-5):
        model = SoftmaxRegressionClassifier(C=1e-2, fit_intercept=fit_intercept, tol=tol).fit(X, y)
        gap = exact.loss(model.coef_, model.intercept_) - exact.loss(*best_of(X, y, fit_intercept))
        assert model.suboptimality_is_bound_
        assert gap <= model.suboptimality_ <= tol * exact.null_loss()


def best_of(X, y, fit_intercept):
    model = SoftmaxRegressionClassifier(C=1e-2, fit_intercept=fit_intercept, tol=1e-9).fit(X, y)
    return model.coef_, model.intercept_
