"""Products of the Hessian and a direction: against the oracle, differences of gradients and each other."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_csr import sparse
from test_kernels import SHAPES, problems, whole
from test_row_space import N_FEATURES, documents
from test_sources import ORDERS, read_only, values
from ways import ways

import reference
from softmax_clf.kernels.dense import DensePass
from softmax_clf.objective import SoftmaxObjective, StackedObjectives
from softmax_clf.penalty import ElasticNet
from softmax_clf.row_space import RowSpaceObjective
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.deviations import DeviationsSource
from softmax_clf.sources.sparse import CsrSource
from softmax_clf.sources.stream import StreamSource

CONTAINERS = {
    **{order: lambda X, order=order: ArraySource(read_only(ORDERS[order](X))) for order in ORDERS},
    "stream": lambda X: StreamSource(Rows(X)),
    "CSR, int32": lambda X: csr(X, np.int32),
    "CSR, int64": lambda X: csr(X, np.int64),
    "deviations": lambda X: deviations(X),
}


class Rows:
    """Rows that can be had in slices only."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        return self.X[rows]


def csr(X, index):
    X = sp.csr_array(X if X.dtype == np.float64 else X.astype(np.float32))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return CsrSource(X)


def deviations(X):
    """Rows as what they differ by from their first one."""
    dtype = X.dtype if X.dtype == np.float64 else np.float32
    usual = X[0].astype(dtype)
    return DeviationsSource(X, usual, CsrSource(sp.csr_array(X.astype(dtype) - usual)))


def one_problem(dtype, n, p, n_classes, seed=0, **given):
    """An objective over random rows, a point of it, and two directions."""
    rng = np.random.default_rng(seed)
    X, y, coef, intercept, *_ = problems(rng, n, p, n_classes, 1, dtype)
    params = {"sample_weight": None, "l2_reg_strength": 0.1, "fit_intercept": True, "n_threads": 1, **given}
    objective = SoftmaxObjective(ArraySource(X), y, n_classes, **params)
    point = np.concatenate([coef[0], intercept[0][:, None]], axis=1)
    return objective, point, rng.standard_normal((2, *point.shape))


# --- one product ------------------------------------------------------------------------------------------------


# Rows are read as for a loss, which tests/test_sources.py tries with every dtype and order.
CHOICES = {"n_classes": [2, 3], "weighted": [False, True], "shifted": [False, True]}
CONTAINED = [(np.float64, "F"), (np.float16, "every-other-column"), (np.uint8, "stream"), (np.float32, "CSR, int64")]


@pytest.mark.parametrize(
    ("dtype", "container", "n_classes", "weighted", "shifted"),
    [
        *ways(dtype=[np.float32, np.float64], container=["C", "CSR, int32"], **CHOICES),
        *((dtype, container, 3, False, False) for dtype, container in CONTAINED),
    ],
)
@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_samples=st.integers(2, 90),
    n_features=st.integers(1, 70),
    soft=st.booleans(),
    scaled=st.booleans(),
    factored=st.booleans(),
    fit_intercept=st.booleans(),
)
def test_products(
    seed, n_samples, n_features, n_classes, dtype, container, weighted, soft, shifted, scaled, factored, fit_intercept
):
    rng = np.random.default_rng(seed)
    X = values(rng, (n_samples, n_features), dtype)
    spread = np.abs(X.astype(np.float64)).max() + 1e-6
    y = rng.integers(n_classes, size=n_samples)
    target = rng.dirichlet(np.ones(n_classes), n_samples) if soft else reference.one_hot(y, np.arange(n_classes))
    weight = rng.exponential(size=n_samples) if weighted else None
    offset = rng.standard_normal((n_samples, n_classes)) if shifted else None
    factor = rng.integers(0, 3, n_samples) * rng.exponential(size=n_samples) if factored else None
    scale = rng.exponential(size=n_features) + 0.1 if scaled else np.ones(n_features)
    point, direction = rng.standard_normal((2, 1 if n_classes == 2 else n_classes, n_features + fit_intercept))
    for at in (point, direction):
        at[:, :n_features] *= scale / spread / np.sqrt(n_features)

    source = CONTAINERS[container](X)
    objective = SoftmaxObjective(
        source,
        target if soft else y,
        n_classes,
        sample_weight=weight,
        l2_reg_strength=0.01 / spread**2,
        fit_intercept=fit_intercept,
        n_threads=2,
        offset=offset if offset is None or n_classes > 2 else offset[:, 1:] - offset[:, :1],
        scale=scale if scaled else None,
    )
    objective.curve(point, factor)
    product = objective.hessian_product(direction)
    assert (objective.n_passes, objective.n_products) == (0, 1)
    assert product.dtype == np.float64

    total = n_samples if weight is None else weight.sum()
    oracle = reference.Objective(
        X.astype(np.float64) / scale, target, spread**2 / 0.01 / total, weight, fit_intercept, offset
    )
    at = oracle.unpack(point)
    expected, curvature = oracle.hess_product(*at, direction, factor)
    proba = oracle.proba(*at)
    state = np.log(proba[:, 1:] / proba[:, :1]) if n_classes == 2 else proba
    tolerance = 5e-5 if source.dtype == np.float32 else 1e-12
    assert_allclose(objective.row_state, state.T, rtol=tolerance, atol=tolerance)
    size = np.full(expected.shape[1], 1.0)
    size[:n_features] = spread / scale
    assert_allclose(product / size, expected / size, rtol=0, atol=tolerance)
    assert_allclose(objective.curvature, curvature, rtol=0, atol=tolerance * (1 + curvature))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_oracle_is_the_product_of_its_hessian(n_classes):
    rng = np.random.default_rng(0)
    target = rng.dirichlet(np.ones(n_classes), 50)
    oracle = reference.Objective(rng.standard_normal((50, 7)), target, 2.0, rng.exponential(size=50))
    point, direction = rng.standard_normal((2, oracle.n_vectors, 8))
    product, curvature = oracle.hess_product(*oracle.unpack(point), direction)
    expected = oracle.hess(*oracle.unpack(point)) @ direction.ravel()
    assert_allclose(product.ravel(), expected, rtol=1e-12, atol=1e-14)
    assert_allclose(curvature, expected @ direction.ravel(), rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("make", [ArraySource, lambda X: CsrSource(sp.csr_array(X))], ids=["dense", "CSR"])
def test_products_are_differences_of_gradients(make, n_classes):
    objective, point, (direction, _) = one_problem(np.float64, 300, 20, n_classes)
    objective = SoftmaxObjective(
        make(objective.source.X), objective.y, n_classes, sample_weight=None, l2_reg_strength=0.1, fit_intercept=True,
        n_threads=1,
    )  # fmt: skip
    objective.curve(point)
    step = 1e-5
    (_, after), (_, before) = (objective.evaluate(point + s * direction) for s in (step, -step))
    assert_allclose(objective.hessian_product(direction), (after - before) / (2 * step), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_symmetry_and_curvature(n_classes, dtype):
    objective, point, (a, b) = one_problem(dtype, 500, 30, n_classes)
    objective.curve(point)
    along_a, curvature = objective.hessian_product(a), objective.curvature
    along_b = objective.hessian_product(b)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    assert np.vdot(b, along_a) == pytest.approx(np.vdot(a, along_b), rel=rtol)
    assert curvature == pytest.approx(np.vdot(a, along_a), rel=rtol)


def test_factors_can_be_set_from_the_state_of_the_rows():
    objective, point, (direction, _) = one_problem(np.float64, 200, 5, 3)
    factor = np.random.default_rng(0).exponential(size=200)
    objective.curve(point, factor)
    expected = objective.hessian_product(direction)
    objective.curve(point)
    exact = objective.hessian_product(direction)
    objective.set_row_factor(factor)
    assert_array_equal(objective.hessian_product(direction), expected)
    objective.set_row_factor(None)
    assert_array_equal(objective.hessian_product(direction), exact)
    assert not np.allclose(exact, expected)


@pytest.mark.parametrize("sparse_rows", [False, True], ids=["dense", "CSR"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_that_are_sure_keep_their_digits(n_classes, sparse_rows):
    """In float32, too, where beside the largest probability of such a row the others would be rounded away."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 8)).astype(np.float32)
    y = rng.integers(n_classes, size=100)
    sure = rng.integers(n_classes, size=100)
    offset = (rng.uniform(30, 50, (100, 1)) * reference.one_hot(sure, range(n_classes))).astype(np.float32)
    offset = offset[:, 1:] - offset[:, :1] if n_classes == 2 else offset
    source = CsrSource(sp.csr_array(X)) if sparse_rows else ArraySource(X)
    objective = SoftmaxObjective(
        source, y, n_classes, sample_weight=None, l2_reg_strength=0.0, fit_intercept=True, n_threads=1, offset=offset
    )
    point, direction = rng.standard_normal((2, objective.n_outputs, 9)).astype(np.float32).astype(float)
    objective.curve(point)
    product = objective.hessian_product(direction)
    both = offset if n_classes > 2 else np.hstack([np.zeros_like(offset), offset])
    oracle = reference.Objective(X.astype(float), reference.one_hot(y, range(n_classes)), np.inf, offset=both)
    expected, curvature = oracle.hess_product(*oracle.unpack(point), direction)
    assert curvature < 1e-6
    assert objective.curvature == pytest.approx(curvature, rel=5e-5)
    assert_allclose(product, expected, rtol=0, atol=5e-5 * np.abs(expected).max())


def test_curvature_is_never_negative():
    """Not along a direction that changes no probability, where it is a difference of numbers of any size."""
    objective, point, _ = one_problem(np.float32, 500, 30, 10, l2_reg_strength=0.0)
    objective.curve(point)
    same = 1e3 * np.ones((10, 1)) * np.random.default_rng(0).standard_normal(31)
    product = objective.hessian_product(same)
    assert 0 <= objective.curvature < 1e-3
    assert_allclose(product, 0, atol=1e-3)


# --- stacked problems -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "n_problems"), [(np.float32, 3), (np.float64, 1)])
@pytest.mark.parametrize("folds", [False, True], ids=["here and there", "in folds"])
@pytest.mark.parametrize(("n", "p", "n_classes"), SHAPES[::2])
def test_stacked_problems(n, p, n_classes, folds, n_problems, dtype):
    """Each of the problems has the product that it has alone, in plain NumPy."""
    rng = np.random.default_rng(n)
    X, y, coef, intercept, weight, weighting = problems(rng, n, p, n_classes, n_problems, dtype)
    direction, direction_intercept = rng.standard_normal(coef.shape), rng.standard_normal(intercept.shape)
    weighting = np.arange(n_problems)[::-1].copy()
    weight = weight[np.arange(n_problems) % 2]
    if folds:  # blocks of rows that weigh nothing for one, and some for none
        weight[::2, : 3 * n // 5] = 0.0
        weight[1::2, 2 * n // 5 :] = 0.0
    passes = DensePass(dtype, n, p, n_problems, coef.shape[1], 2)
    state = np.full((n_problems, coef.shape[1], n), np.nan, dtype)
    passes.row_state(whole(X), coef.reshape(-1, p), intercept.ravel(), weighting, state)
    assert np.isfinite(state).all()
    curvature, product, product_intercept = passes.hessian_product(
        whole(X), direction.reshape(-1, p), direction_intercept.ravel(), state, weight, weighting
    )
    product, product_intercept = product.reshape(coef.shape), product_intercept.reshape(intercept.shape)
    rtol = 1e-11 if dtype == np.float64 else 2e-5
    for m in range(n_problems):
        s = weight[weighting[m]].astype(np.float64)
        if s.sum() == 0:
            assert curvature[m] == 0
            assert (product[m] == 0).all()
            continue
        target = reference.one_hot(y, range(n_classes))
        oracle = reference.Objective(X.astype(np.float64), target, C=np.inf, sample_weight=s)
        along = oracle.pack(direction[m], direction_intercept[m])
        expected, expected_curvature = oracle.hess_product(coef[m], intercept[m], along)
        size = s.sum() * max(np.abs(direction[m]).max(), 1) * np.sqrt(p)
        assert curvature[m] == pytest.approx(expected_curvature * s.sum(), rel=10 * rtol)
        assert_allclose(product[m], expected[:, :-1] * s.sum(), rtol=rtol, atol=rtol * size)
        assert_allclose(product_intercept[m], expected[:, -1] * s.sum(), rtol=rtol, atol=rtol * size)


@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", "none"])
@pytest.mark.parametrize("scaled", [False, True], ids=["raw", "scaled"])
@pytest.mark.parametrize("sparse_rows", [False, True], ids=["dense", "CSR"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_stacked_objectives_are_those_alone(n_classes, sparse_rows, scaled, fit_intercept):
    rng = np.random.default_rng(0)
    X = sparse(rng, (400, 30), 0.3)
    source = CsrSource(X) if sparse_rows else ArraySource(X.toarray())
    y = rng.integers(n_classes, size=400)
    weight = rng.integers(0, 3, (4, 400)).astype(float)
    scale = rng.uniform(0.5, 2, (4, 30)) if scaled else None
    factors = [None, rng.exponential(size=400), None, rng.exponential(size=400)]
    stack = StackedObjectives(
        source, y, n_classes, sample_weight=list(weight), fit_intercept=fit_intercept, n_threads=2, scale=scale
    )
    assert stack.row_state is None
    stack.elastic_nets = [ElasticNet(strength) for strength in (0.1, 0.2, 0.3, 0.4)]
    points, directions = rng.standard_normal((2, 4, stack.n_outputs, 30 + fit_intercept))
    stack.curve([0, 1, 2, 3], points)
    stack.curve([3, 1], [points[3], points[1]], [factors[3], factors[1]])
    for asked in ([2, 0, 1, 3], [1, 3], [0]):
        products = stack.hessian_products(asked, [directions[m] for m in asked])
        for m, product in zip(asked, products, strict=True):
            alone = SoftmaxObjective(
                source, y, n_classes, sample_weight=weight[m], l2_reg_strength=stack.elastic_nets[m].l2_reg_strength,
                fit_intercept=fit_intercept, n_threads=1, scale=None if scale is None else scale[m],
            )  # fmt: skip
            alone.curve(points[m], factors[m])
            assert_allclose(product, alone.hessian_product(directions[m]), rtol=1e-10, atol=1e-12)
            assert stack.curvature[m] == pytest.approx(alone.curvature, rel=1e-10)
            assert_allclose(stack.row_state[m], alone.row_state, rtol=1e-12)
    assert stack.n_products == 7
    stack.set_row_factors([1, 3], None)
    stack.curve([0], points[:1], factors[1:2])
    for m, product in zip([0, 1], stack.hessian_products([0, 1], directions[:2]), strict=True):
        alone = SoftmaxObjective(
            source, y, n_classes, sample_weight=weight[m], l2_reg_strength=stack.elastic_nets[m].l2_reg_strength,
            fit_intercept=fit_intercept, n_threads=1, scale=None if scale is None else scale[m],
        )  # fmt: skip
        alone.curve(points[m], factors[1] if m == 0 else None)
        assert_allclose(product, alone.hessian_product(directions[m]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classes_that_are_absent_have_no_part(dtype):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((90, 6)).astype(dtype), np.arange(90) % 4
    weight = [np.ones(90), (y != 2).astype(float)]
    stack = StackedObjectives(ArraySource(X), y, 4, sample_weight=weight, fit_intercept=True, n_threads=1)
    points, directions = rng.standard_normal((2, 2, 4, 7))
    points[1, 2] = 0.0
    stack.curve([0, 1], list(points))
    before = directions.copy()
    _, product = stack.hessian_products([0, 1], list(directions))
    assert_array_equal(directions, before)
    assert (product[2] == 0).all()
    kept = [0, 1, 3]
    oracle = reference.Objective(X[y != 2].astype(float), reference.one_hot(y[y != 2]), np.inf)
    expected, _ = oracle.hess_product(*oracle.unpack(points[1, kept]), directions[1, kept])
    assert_allclose(product[kept], expected, rtol=0, atol=1e-5 if dtype == np.float32 else 1e-13)


# --- bits -------------------------------------------------------------------------------------------------------


def many_rows(kind, n_classes):
    rng = np.random.default_rng(0)
    if kind == "CSR":
        X = sparse(rng, (9_000, 70), 0.5, np.float32)
        return CsrSource(X), rng
    return ArraySource(rng.standard_normal((20_000, 70)).astype(np.float32)), rng


@pytest.mark.parametrize("kind", ["dense", "CSR"])
@pytest.mark.parametrize("n_classes", [2, 10])
def test_bits_do_not_depend_on_threads(n_classes, kind):
    source, rng = many_rows(kind, n_classes)
    y, weight = rng.integers(n_classes, size=source.n_samples), rng.integers(0, 3, source.n_samples).astype(float)
    point, direction = rng.standard_normal((2, 1 if n_classes == 2 else n_classes, 71))
    results = []
    for n_threads in (1, 2, 3, 8):
        objective = SoftmaxObjective(
            source, y, n_classes, sample_weight=weight, l2_reg_strength=0.1, fit_intercept=True, n_threads=n_threads
        )
        objective.curve(point)
        results.append((objective.hessian_product(direction), objective.curvature, objective.row_state))
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            assert_array_equal(one, other)


@pytest.mark.parametrize("n_classes", [2, 10])
def test_bits_do_not_depend_on_parts(n_classes):
    rng = np.random.default_rng(0)
    X, _, coef, intercept, weight, _ = problems(rng, 20_000, 70, n_classes, 1, np.float32)
    offset = rng.standard_normal((2, len(X), len(coef[0]))).astype(np.float32)
    first, slice_rows, results = np.zeros(1, np.intp), 6_667, []
    for n_slices, order in ((1, "C"), (2, "C"), (3, "C"), (3, "F")):
        cuts = [*range(0, len(X), n_slices * slice_rows), len(X)]
        parts = [(np.asarray(X[a:b], order=order), slice(a, b)) for a, b in itertools.pairwise(cuts)]
        passes = DensePass(np.float32, slice_rows, 70, 1, len(coef[0]), 2)
        state = np.empty((1, len(coef[0]), len(X)), np.float32)
        passes.row_state(parts, coef[0], intercept[0], first, state, offset[0])
        sums = passes.hessian_product(parts, coef[0], intercept[0], state, weight, first, offset[1])
        results.append([*(np.array(a) for a in sums), state])
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            assert_array_equal(a, b)


def test_memory_maps(tmp_path):
    objective, point, (direction, _) = one_problem(np.float32, 3000, 40, 5)
    np.save(tmp_path / "X.npy", objective.source.X)
    source = StreamSource(np.load(tmp_path / "X.npy", mmap_mode="r"))
    mapped = SoftmaxObjective(
        source, objective.y, 5, sample_weight=None, l2_reg_strength=0.1, fit_intercept=True, n_threads=2
    )
    for o in (objective, mapped):
        o.curve(point)
    assert_array_equal(mapped.hessian_product(direction), objective.hessian_product(direction))


# --- row space --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "n_classes", "weighted", "shifted"),
    ways(dtype=[np.float32, np.float64], n_classes=[2, 3], weighted=[False, True], shifted=[False, True]),
)
@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_samples=st.integers(5, 150),
    scaled=st.booleans(),
    factored=st.booleans(),
    fit_intercept=st.booleans(),
)
def test_row_space(seed, n_samples, n_classes, dtype, weighted, shifted, scaled, factored, fit_intercept):
    """The inner products of a product and of steps are those of all features."""
    rng = np.random.default_rng(seed)
    X, _ = documents(seed, n_samples, dtype=dtype)
    y, n_outputs = rng.integers(n_classes, size=n_samples), 1 if n_classes == 2 else n_classes
    params = {
        "sample_weight": rng.exponential(size=n_samples) if weighted else None,
        "l2_reg_strength": 0.1,
        "fit_intercept": fit_intercept,
        "n_threads": 2,
        "offset": rng.standard_normal((n_samples, n_outputs)) if shifted else None,
        "scale": rng.uniform(0.5, 2, N_FEATURES) if scaled else None,
    }
    factor = rng.exponential(size=n_samples) if factored else None
    o = RowSpaceObjective(CsrSource(X), y, n_classes, **params)
    plain = SoftmaxObjective(CsrSource(X.astype(np.float64)), y, n_classes, **params)

    def made():
        """A point of both: any of the head, and of the others a sum of rows."""
        point = o.start_point(np.zeros((n_outputs, N_FEATURES + fit_intercept)))
        by_head, scores, by_row = o.parts(point)
        by_head[:] = rng.standard_normal(by_head.shape) / 10
        by_row[:] = rng.standard_normal(by_row.shape) / 10
        tail = o.tail.X.astype(np.float64)
        scores[:] = tail @ (tail.T @ by_row)
        coef, intercept = o.split(point)
        coef = coef if params["scale"] is None else coef * params["scale"]
        return point, np.hstack([coef, intercept[:, None]]) if fit_intercept else coef

    (point, at), (a, along_a), (b, along_b) = (made() for _ in range(3))
    o.curve(point, factor)
    plain.curve(at, factor)
    assert_allclose(o.row_state, plain.row_state, rtol=0, atol=2e-5 if dtype == np.float32 else 1e-10)
    product, expected = o.hessian_product(a), plain.hessian_product(along_a)
    size = np.abs(along_b).max() * np.abs(expected).max()
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    assert o.n_products == 1
    assert product.shape == point.shape
    assert_allclose(a @ product, np.vdot(along_a, expected), rtol=tolerance)
    assert_allclose(o.curvature, plain.curvature, rtol=tolerance)
    assert_allclose(b @ product, np.vdot(along_b, expected), rtol=tolerance, atol=tolerance * size * 100)
    assert_allclose(b @ product, a @ o.hessian_product(b), rtol=tolerance, atol=tolerance * size * 100)
    _, grad = o.evaluate(point)  # as it was
    assert_allclose(b @ grad, np.vdot(along_b, plain.evaluate(at)[1]), rtol=tolerance, atol=tolerance * 10)
