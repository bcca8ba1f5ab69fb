"""Newton's steps by conjugate gradients: what they find, what they claim, and fits that are checked by them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.kernels.threads import Pieces
from softmax_clf.metrics.kinds import DiagonalMetric
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.solvers import ways
from softmax_clf.solvers.conjugate import newton_step
from softmax_clf.solvers.lbfgs import Memory


def quadratic(seed, shape=(3, 7)):
    """A positive definite matrix, a gradient, and the inverse of the matrix's diagonal."""
    rng = np.random.default_rng(seed)
    size = np.prod(shape)
    root = rng.standard_normal((size, size)) * rng.lognormal(size=size)
    hess = root @ root.T / size + 0.1 * np.eye(size)
    return hess, rng.standard_normal(shape), 1 / hess.diagonal().reshape(shape)


def solved(hess, grad, inverse, most_products=1000):
    generator = newton_step(grad, inverse, most_products)
    answer = None
    while True:
        try:
            direction = generator.send(answer).direction
        except StopIteration as end:
            return end.value
        answer = (hess @ direction.ravel()).reshape(direction.shape)


@pytest.mark.parametrize("seed", range(5))
def test_the_step_is_newtons(seed):
    hess, grad, inverse = quadratic(seed)
    found = solved(hess, grad, lambda vector: inverse * vector)
    assert found.is_solved
    assert_allclose(found.residual.ravel(), grad.ravel() + hess @ found.step.ravel(), atol=1e-8 * np.abs(grad).max())
    # what the quadratic model loses along it, and what it would lose at the most
    lost = -(grad.ravel() @ found.step.ravel() + found.step.ravel() @ hess @ found.step.ravel() / 2)
    most = grad.ravel() @ np.linalg.solve(hess, grad.ravel()) / 2
    assert found.promised == pytest.approx(lost, rel=1e-6)
    assert lost <= most * (1 + 1e-9)
    assert most <= found.above(0.0)
    assert most - lost <= found.above_after(lost, found.square, 0.0)


def test_a_step_that_is_not_found_says_so():
    hess, grad, inverse = quadratic(0, shape=(4, 20))
    found = solved(hess, grad, lambda vector: inverse * vector, most_products=2)
    assert found.n_products == 2
    assert not found.is_solved


def test_surprises_make_claims_larger():
    found = solved(*quadratic(1)[:2], lambda vector: vector)
    assert found.above(0.2) > found.above(0.1) > found.above(0.0)
    less, more, square = 0.7 * found.promised, 1.3 * found.promised, found.square
    assert found.above_after(less, square, 0.0) > found.above_after(found.promised, square, 0.0)
    assert found.above_after(more, square, 0.1) > found.above_after(more, square, 0.0)
    assert found.above_after(more, 2 * square, 0.0) > found.above_after(more, square, 0.0)


def test_a_memory_is_an_inverse():
    """Symmetric, positive definite, exact on what the pairs have shown, and the same as in a direction."""
    hess, _, inverse = quadratic(2, shape=(1, 21))
    shape, rng = inverse.shape, np.random.default_rng(0)
    metric = DiagonalMetric(1 / inverse, Pieces(shape[1], 1))
    memory = Memory(5, Pieces(inverse.size, 1))
    grad = rng.standard_normal(shape)
    memory.begin(grad, metric.solve(grad))
    for _ in range(4):
        step = rng.standard_normal(shape)
        grad = grad + (hess @ step.ravel()).reshape(shape)
        memory.add(step, 1.0, grad, metric.solve(grad))

    def times(vector):
        vector = vector.reshape(shape)
        return memory.solve(vector, metric.solve(vector)).ravel()

    matrix = np.stack([times(unit) for unit in np.eye(inverse.size)])
    assert_allclose(matrix, matrix.T, atol=1e-9 * np.abs(matrix).max())
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert_allclose(times(hess @ step.ravel()), step.ravel(), rtol=1e-6, atol=1e-9)
    assert_allclose(-times(grad), memory.direction(1.0), rtol=1e-9)


def relu(n_samples=600, n_latent=10, n_features=150, n_classes=6):
    """Random ReLU features: metrics are dear beside passes, and there is something to do."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n_samples, n_latent))
    X = np.maximum(latent @ rng.standard_normal((n_latent, n_features)) / np.sqrt(n_latent), 0)
    scores = latent @ rng.standard_normal((n_latent, n_classes)) + rng.standard_normal((n_samples, n_classes))
    return X, scores.argmax(axis=1)


@pytest.fixture
def objectives(monkeypatch):
    """The objectives of the fits that are made, which count products."""
    made, begin = [], SoftmaxObjective.__init__

    def kept(self, *args, **kwargs):
        made.append(self)
        begin(self, *args, **kwargs)

    monkeypatch.setattr(SoftmaxObjective, "__init__", kept)
    return made


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("C", [1.0, 100.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fit_that_is_checked_by_them_tells_the_truth(dtype, C, tol, objectives):
    X, y = relu()
    X = X.astype(dtype)
    exact = SoftmaxRegressionClassifier(C=C, tol=1e-10).fit(X, y)
    objectives.clear()
    clf = SoftmaxRegressionClassifier(C=C, tol=tol).fit(X, y)
    assert clf.converged_
    gap = clf.objective_ - exact.objective_
    assert gap <= clf.suboptimality_ + 1e-6 * exact.objective_ * (dtype == np.float32)
    assert clf.suboptimality_ <= tol * np.log(6) * (1 + 1e-9)
    if tol < 1e-2:
        assert objectives[0].n_products > 0


def test_threads_do_not_matter(objectives):
    X, y = relu()
    fits = [SoftmaxRegressionClassifier(C=1.0, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2)]
    assert all(objective.n_products for objective in objectives)
    assert_array_equal(fits[0].coef_, fits[1].coef_)


def test_where_products_do_not_find_the_step_the_fit_goes_on(objectives, monkeypatch):
    X, y = relu()
    exact = SoftmaxRegressionClassifier(tol=1e-10).fit(X, y)
    monkeypatch.setattr(ways, "_MOST_PRODUCTS", 1)
    objectives.clear()
    clf = SoftmaxRegressionClassifier().fit(X, y)
    assert objectives[0].n_products == 1
    assert clf.converged_
    assert clf.objective_ - exact.objective_ <= clf.suboptimality_
