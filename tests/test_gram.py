"""Weighted Gram matrices, their inverses, and the metrics and the memory that are made of them."""

import numpy as np
import pytest
from scipy.sparse import csr_array

import softmax_clf.metrics.factors
from softmax_clf.kernels.gram import add_weighted_grams, add_weighted_sparse_grams, inverse_factor, weighted_grams
from softmax_clf.kernels.threads import Pieces, blas_on_one_thread
from softmax_clf.metrics.curvature import Curvature
from softmax_clf.metrics.factors import GramFactor, GramRoots, LowRankFactor
from softmax_clf.metrics.kinds import BlocksMetric
from softmax_clf.metrics.plan import BLOCKS, EXACT, KRONECKER, MetricPlan
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.solvers.lbfgs import Memory, lbfgs, run
from softmax_clf.solvers.questions import Naturals
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource


@pytest.fixture(autouse=True)
def _blas():
    with blas_on_one_thread():
        yield


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 128), (31, 129), (500, 300), (40, 321), (9_000, 130)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_gram(shape, dtype):
    rng = np.random.default_rng(0)
    X, weight, origin = rng.standard_normal(shape), rng.random((shape[0], 2)), rng.standard_normal(shape[1])
    X, origin = X.astype(dtype), origin.astype(dtype)
    found = []
    for n_threads in (1, 3):
        grams, sums = [np.full((shape[1],) * 2, 0.5) for _ in range(2)], np.full((2, shape[1]), 0.25)
        add_weighted_grams(X, weight, origin, grams, sums, n_threads)
        found.append((np.tril(grams), sums))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    centred = X.astype(np.float64) - origin
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    expected = [np.tril(0.5 + centred.T @ (w[:, None] * centred)) for w in weight.T]
    np.testing.assert_allclose(found[0][0], expected, rtol=rtol, atol=rtol * shape[0])
    np.testing.assert_allclose(found[0][1], 0.25 + weight.T @ centred, rtol=rtol, atol=rtol * shape[0])


@pytest.mark.parametrize(("shape", "density"), [((7, 1), 1.0), ((300, 5), 0.3), ((9_000, 130), 0.05), ((20, 400), 0.0)])
@pytest.mark.parametrize(("dtype", "index"), [(np.float32, np.int32), (np.float64, np.int64)])
def test_weighted_gram_of_sparse_rows(shape, density, dtype, index):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal(shape) * (rng.random(shape) < density), rng.random((shape[0], 2))
    rows = csr_array(X.astype(dtype))
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    found = []
    for n_threads in (1, 3):
        grams, sums = [np.full((shape[1],) * 2, 0.5) for _ in range(2)], np.full((2, shape[1]), 0.25)
        add_weighted_sparse_grams(CsrSource(rows), weight, grams, sums, n_threads)
        found.append((np.tril(grams), sums))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    X, close = rows.toarray().astype(np.float64), {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(found[0][0], [np.tril(0.5 + X.T @ (w[:, None] * X)) for w in weight.T], **close)
    np.testing.assert_allclose(found[0][1], 0.25 + weight.T @ X, **close)


@pytest.mark.parametrize(("shape", "n_ways"), [((40, 5), 30), ((300, 128), 30), ((31, 129), 1), ((500, 200), 7)])
def test_weighted_grams_of_many_ways(shape, n_ways):
    rng = np.random.default_rng(0)
    X, weight = rng.standard_normal(shape), rng.random((shape[0], n_ways))
    one, other = (weighted_grams(X, weight, n_threads) for n_threads in (1, 3))
    np.testing.assert_array_equal(one, other)
    expected = np.einsum("ij,iw,ik->wjk", X, weight, X, optimize=True)
    np.testing.assert_allclose(one, expected, rtol=1e-12, atol=1e-12 * shape[0])


@pytest.mark.parametrize("size", [1, 5, 64, 65, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_factor(size, dtype):
    rng = np.random.default_rng(size)
    rows = rng.standard_normal((2 * size, size)) * np.logspace(-2, 2, size)
    gram = (rows.T @ rows).astype(dtype)
    lower = np.tril(gram) + np.triu(np.full_like(gram, np.nan), 1)  # which is not read
    ridge = 0.1 * gram.diagonal().astype(np.float64)
    factor, is_raised = inverse_factor(lower, ridge)
    assert not is_raised
    assert not np.triu(factor, 1).any()
    scale = np.sqrt(gram.diagonal().astype(np.float64) + ridge)
    product = (factor * scale).T @ (factor * scale)
    expected = np.linalg.inv((gram.astype(np.float64) + np.diag(ridge)) / scale / scale[:, None])
    np.testing.assert_allclose(product, expected, rtol=0, atol=(2e-3 if dtype == np.float32 else 1e-9))


def test_inverse_factor_of_what_is_singular_empty_or_not_finite():
    singular, is_raised = inverse_factor(np.ones((70, 70)), 0.0)
    assert not is_raised
    assert np.isfinite(singular).all()
    gram = np.ones((3, 3))
    gram[1] = gram[:, 1] = 0.0
    factor, _ = inverse_factor(gram, 0.0)
    assert not factor[1].any()
    assert not factor[:, 1].any()
    # LAPACK fails at the last row: the diagonal is raised, by some power of ten of rounding, and the rest is as it was
    indefinite = np.full((80, 80), 1.0)
    indefinite[np.diag_indices(80)] += 1.0
    indefinite[79, :79] = indefinite[:79, 79] = 1.6
    scale = np.sqrt(indefinite.diagonal())
    correlation = indefinite / scale / scale[:, None]
    least = -np.linalg.eigvalsh(correlation)[0]
    assert least > 0.01
    factor, is_raised = inverse_factor(indefinite.copy(), 0.0)
    assert is_raised
    factor *= scale
    raised = np.linalg.inv(factor.T @ factor)
    rise = raised.diagonal() - 1
    np.testing.assert_allclose(rise, rise[0], rtol=1e-6)
    assert least < rise[0] < 20 * least
    np.testing.assert_allclose(raised - np.diag(rise), correlation, atol=1e-8)
    with pytest.raises(FloatingPointError, match="squares of the data overflow"):
        inverse_factor(np.diag([1.0, np.inf]), 0.0)
    with pytest.raises(FloatingPointError, match="products of the data overflow"):
        inverse_factor(np.array([[1.0, 0.0], [np.inf, 1.0]]), 0.0)


def solved(gram, ridge, center, mass, grad):
    """The step for a gradient, in the columns (x - center, 1)."""
    p = len(gram)
    to_columns, matrix = np.eye(p + 1), np.zeros((p + 1, p + 1))
    to_columns[p, :p] = center
    matrix[:p, :p], matrix[p, p] = gram + ridge * np.eye(p), mass
    return np.linalg.solve(to_columns.T @ matrix @ to_columns, grad.T).T


@pytest.mark.parametrize("p", [3, 200, 257, 300])
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_roots(p, n):
    rng = np.random.default_rng(p)
    K, ridge = 4, 0.3
    rows = [rng.standard_normal((2 * p, p)) / np.sqrt(p) for _ in range(K)]
    grams, centers, masses = [r.T @ r for r in rows], rng.standard_normal((K, p)), rng.random(K) + 0.5
    grads = rng.standard_normal((n, K, p + 1))
    found = []
    for n_threads in (1, 2):
        roots = GramRoots(lambda k: (grams[k].copy(), centers[k], masses[k], 0.0), K, ridge, np.float32, n_threads)
        found.append(roots.steps(roots.whiten(grads)))
    np.testing.assert_array_equal(*found)
    for k in range(K):
        expected = solved(grams[k], ridge, centers[k], masses[k], grads[:, k])
        np.testing.assert_allclose(found[0][:, k], expected, rtol=0, atol=2e-5 * np.abs(expected).max())
        eigenvalues = np.linalg.eigvalsh(grams[k])
        assert roots.effective_dim >= (eigenvalues / (eigenvalues + ridge)).sum() * (1 - 1e-5)


@pytest.mark.parametrize("p", [5, 300])
def test_factors_of_many_gradients(p):
    rng = np.random.default_rng(p)
    rows, center, K = rng.standard_normal((2 * p, p)), rng.standard_normal(p), 3
    factor = GramFactor(rows.T @ rows, 0.2, center, 1.5, np.float64, K, 2)
    few = rng.standard_normal((p // 2, p))
    low_rank = LowRankFactor(few.copy(), 0.2, center, 1.5, K, 2)
    grad = rng.standard_normal((4 * K, p + 1))
    for inverse, gram in ((factor, rows.T @ rows), (low_rank, few.T @ few)):
        expected = solved(gram, 0.2, center, 1.5, grad)
        np.testing.assert_allclose(inverse.solve(grad), expected, rtol=0, atol=1e-8 * np.abs(expected).max())
        np.testing.assert_allclose(inverse.solve(grad[:K]), expected[:K], rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("n_rows", [5, 64, 150])
def test_products_of_float32_rows_are_added_up_in_float64(n_rows, monkeypatch):
    rng = np.random.default_rng(0)
    rows, found = rng.standard_normal((n_rows, 9000), np.float32), []
    make = softmax_clf.metrics.factors.inverse_factor

    def recorded(outer, ridge):
        found.append(outer.copy())
        return make(outer, ridge)

    monkeypatch.setattr(softmax_clf.metrics.factors, "inverse_factor", recorded)
    expected = rows.astype(np.float64) @ rows.T.astype(np.float64)
    LowRankFactor(rows, 0.2, None, 1.5, 3, 2)
    np.testing.assert_allclose(np.tril(found[0]), np.tril(expected), rtol=0, atol=1e-10)


def test_a_memory_of_no_pairs_keeps_none():
    rng, memory = np.random.default_rng(0), Memory(0, Pieces(4, 1))
    memory.begin(*np.zeros((2, 4)))
    for _ in range(3):
        step = rng.standard_normal(4)
        memory.add(step, 1.0, memory.grad + step, memory.natural + step)
        assert memory.order == []
    pairs = Memory(3, Pieces(4, 1))
    pairs.begin(*np.zeros((2, 4)))
    pairs.add(step, 1.0, step, step)
    assert len(pairs.order) == 1
    pairs.hand_on(0, 0.0, (1, 4), 4)
    assert pairs.order == []


def an_objective(rng, n=600, p=20, K=4, l2_reg_strength=1e-3):
    X, y = rng.standard_normal((n, p)), rng.integers(K, size=n)
    params = {"sample_weight": None, "l2_reg_strength": l2_reg_strength, "fit_intercept": True, "n_threads": 1}
    return SoftmaxObjective(ArraySource(X), y, K, **params)


@pytest.mark.parametrize("kind", [BLOCKS, EXACT, KRONECKER])
def test_solving_for_several_gradients(kind, monkeypatch):
    rng = np.random.default_rng(0)
    objective = an_objective(rng)
    curvature = Curvature.from_objective(objective)
    curvature.plan = MetricPlan(kind, 600, 1.0)
    monkeypatch.setattr(curvature, "_plan", lambda *_: curvature.plan)
    metric = curvature.metric(rng.standard_normal((4, 21)))
    grads = rng.standard_normal((3, 4, 21))
    grads -= grads.mean(axis=1, keepdims=True)
    steps = metric.solve_all(grads)
    np.testing.assert_allclose(steps, [metric.solve(grad) for grad in grads], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(steps.sum(axis=1), 0.0, atol=1e-10)
    gram = np.tensordot(steps, grads, axes=([1, 2], [1, 2]))
    np.testing.assert_allclose(gram, gram.T, rtol=1e-8, atol=1e-10)
    assert (np.linalg.eigvalsh(gram) > 0).all()


def test_correlations_bring_blocks_closer_to_the_hessian():
    """Of classes that are confused in pairs, which blocks alone know nothing of."""
    rng = np.random.default_rng(0)
    X, K = rng.standard_normal((2000, 6)), 6
    pair = rng.integers(3, size=2000)
    y = 2 * pair + rng.integers(2, size=2000)
    X[np.arange(2000), pair] += 6.0
    params = {"sample_weight": None, "l2_reg_strength": 1e-3, "fit_intercept": False, "n_threads": 1}
    objective = SoftmaxObjective(ArraySource(X), y, K, **params)
    curvature = Curvature.from_objective(objective)
    curvature.plan = MetricPlan(BLOCKS, 2000, 1.0)
    point = np.zeros((K, 6))
    for k in range(K):
        point[k, k // 2] = 2.0
    metric = curvature._make(point)
    hess, _ = curvature.small.hess(curvature.small.log_proba(point))
    basis = np.eye(K * 6).reshape(-1, K, 6)
    basis -= basis.mean(axis=1, keepdims=True)

    def spread(metric):
        """Between the largest and the least curvature in the metric."""
        inverse = metric.solve_all(basis).reshape(K * 6, -1)
        values = np.sort(np.linalg.eigvals(inverse @ hess).real)
        values = values[values > 1e-6]
        return values[-1] / values[0]

    alone = BlocksMetric(metric.roots, np.eye(K))
    assert spread(metric) < 0.7 * spread(alone)


def quadratic(rng, size=12):
    rows = rng.standard_normal((2 * size, size))
    return rows.T @ rows / size + 0.1 * np.eye(size)


class Diagonal:
    def __init__(self, diagonal):
        self.diagonal = diagonal

    def solve_all(self, grads):
        return grads / self.diagonal


def renewed(memory, metric, *grads):
    """What :meth:`Memory.renew` returns, the steps being solved for."""
    asking = memory.renew(metric, *grads)
    question = next(asking)
    assert isinstance(question, Naturals)
    with pytest.raises(StopIteration) as end:
        asking.send(metric.solve_all(np.stack(question.grads)))
    return end.value.value


def inverse_bfgs(inverse, steps, changes):
    """The inverse of a matrix updated by pairs, by the formula (J. Nocedal and S. Wright, 2006, (6.17))."""
    for s, y in zip(steps, changes, strict=True):
        rho = 1 / (s @ y)
        left = np.eye(len(s)) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    return inverse


def filled(rng, hess, metric, n_pairs, capacity):
    """A memory of random steps on a quadratic function, those kept, and the gradient where they end."""
    memory, size = Memory(capacity, Pieces(len(hess), 1)), len(hess)
    steps = rng.standard_normal((n_pairs, size))
    grad = rng.standard_normal(size)
    memory.begin(grad, metric.solve_all(grad))
    for s in steps:
        grad = grad + hess @ s
        assert memory.add(s, 1.0, grad, metric.solve_all(grad)) is not None
    return memory, steps[-capacity:], grad


def test_memory_is_the_update_of_bfgs():
    rng = np.random.default_rng(0)
    hess, metric = quadratic(rng), Diagonal(rng.random(12) + 0.5)
    memory, steps, grad = filled(rng, hess, metric, 9, 6)
    inverse = inverse_bfgs(0.7 * np.diag(1 / metric.diagonal), steps, steps @ hess)
    np.testing.assert_allclose(memory.direction(0.7), -inverse @ grad, rtol=1e-9)
    vector = rng.standard_normal(12)
    memory.begin(vector, metric.solve_all(vector))
    np.testing.assert_allclose(memory.direction(0.7), -inverse @ vector, rtol=1e-9)


@pytest.mark.filterwarnings("error")
def test_memory_goes_on_where_a_pair_is_refused():
    """One without curvature, and one that is not finite: the gradient has moved all the same."""
    rng = np.random.default_rng(4)
    hess, metric = quadratic(rng), Diagonal(np.ones(12))
    memory, steps, grad = filled(rng, hess, metric, 7, 4)
    bent = np.full(12, 1e300)
    for step, after in ((steps[0], grad - steps[0]), (bent, bent), (bent, grad)):
        assert memory.add(step, 1.0, after, after) is None
    inverse = inverse_bfgs(np.eye(12), steps, steps @ hess)
    np.testing.assert_allclose(memory.direction(1.0), -inverse @ grad, rtol=1e-9)
    s = rng.standard_normal(12)
    grad = grad + hess @ s
    assert memory.add(s, 1.0, grad, metric.solve_all(grad)) is not None
    steps = np.vstack([steps[1:], s])
    inverse = inverse_bfgs(np.eye(12), steps, steps @ hess)
    np.testing.assert_allclose(memory.direction(1.0), -inverse @ grad, rtol=1e-9)


def test_memory_in_another_metric():
    rng = np.random.default_rng(1)
    hess, vector = quadratic(rng), rng.standard_normal(12)
    memory, steps, _ = filled(rng, hess, Diagonal(np.ones(12)), 5, 8)
    metric = Diagonal(rng.random(12) + 0.5)
    scale, (natural,) = renewed(memory, metric, vector)
    y = hess @ steps[-1]
    assert scale == pytest.approx((steps[-1] @ y) / (y @ (y / metric.diagonal)))
    np.testing.assert_allclose(natural, vector / metric.diagonal)
    expected = inverse_bfgs(scale * np.diag(1 / metric.diagonal), steps, steps @ hess) @ vector
    memory.begin(vector, natural)
    np.testing.assert_allclose(memory.direction(scale), -expected, rtol=1e-9)


def test_memory_for_another_penalty():
    rng = np.random.default_rng(2)
    hess, metric, vector = quadratic(rng), Diagonal(np.ones(12)), rng.standard_normal(12)
    memory, steps, _ = filled(rng, hess, metric, 7, 8)
    memory.hand_on(4, -0.05, (3, 4), 3)
    penalised = np.tile([True, True, True, False], 3)
    other = hess - 0.05 * np.diag(penalised)
    scale, (natural,) = renewed(memory, metric, vector)
    expected = inverse_bfgs(scale * np.eye(12), steps[-4:], steps[-4:] @ other) @ vector
    memory.begin(vector, natural)
    np.testing.assert_allclose(memory.direction(scale), -expected, rtol=1e-9)
    memory.hand_on(4, 0.0, (3, 4), 3)
    assert len(memory.order) == 4
    memory.hand_on(4, -1e9, (3, 4), 3)  # no function is as concave as that
    assert not memory.order
    assert renewed(memory, metric, vector)[0] == 1.0


def test_memory_that_is_empty_can_be_handed_on():
    memory = Memory(3, Pieces(6, 1))
    memory.vectors[:] = memory.changes[:] = np.inf  # as what was never written may be
    memory.hand_on(2, 1.0, (2, 3), 2)
    assert not memory.order


class Hessian:
    """The exact metric of a quadratic function."""

    slack, patience, passes, objective_there, is_handed_on = 1.0, 5, 1.0, -np.inf, False

    def __init__(self, hess):
        self.hess = hess

    def solve(self, grad):
        return np.linalg.solve(self.hess, grad)

    def solve_all(self, grads):
        return np.linalg.solve(self.hess, grads.T).T


def steps_of(hess, metric, memory, **options):
    """The points that the solver asks for on the way down from ones, and how it ended."""
    points = []

    def evaluate(point):
        points.append(point)
        return 1.0 + point @ hess @ point / 2, hess @ point

    common = {"target": lambda point: 1e-9, "max_iter": 50, "noise": 1e-16, "report": lambda *record: None}
    return points, run(lbfgs(np.ones(len(hess)), lambda point: metric, memory=memory, **common, **options), evaluate)


def test_another_point_whose_gradient_is_known():
    """It is a pair: in two dimensions, of which the metric knows one, the first step ends the fit."""
    hess = np.diag([1.0, 100.0])
    metric = Hessian(np.eye(2))
    other = np.array([1.0, 3.0])
    n_points = []
    for before in (None, (other, hess @ other)):
        points, solution = steps_of(hess, metric, Memory(5, Pieces(2, 1)), before=before)
        assert solution.converged
        np.testing.assert_allclose(solution.grad, hess @ solution.point)
        n_points.append(len(points))
    assert n_points[1] < n_points[0]


def test_what_overflows_in_a_thread_of_the_pool_is_raised():
    rng = np.random.default_rng(0)
    grams = [np.full((300, 300), 1e300) for _ in range(4)]
    for gram in grams:
        gram[np.diag_indices(300)] = 1e308 * 1.7

    def make(k):
        return grams[k] * 10.0, rng.standard_normal(300), 1.0, 0.0

    with pytest.raises(FloatingPointError):
        GramRoots(make, 4, 0.1, np.float32, 2)
