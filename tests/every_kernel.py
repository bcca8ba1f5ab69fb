"""Every line of the kernels, run by little data and held to tests/reference.py or to dense matrices.

tests/test_kernel_coverage.py calls `in_plain_python` where nothing is compiled: a kernel takes a microsecond there for
what it does in a nanosecond. Much of it are tests of other files, of small sizes.
"""

import warnings
from functools import partial
from unittest.mock import patch

import numba
import numpy as np
import pytest
import test_bounds
import test_gram
import test_groups
import test_hessian_products
import test_kernels
import test_multi_output
import test_plain_python
import test_proximal
import test_sources
import test_subspace
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from test_penalty import data, fit

import reference
from softmax_clf.columns import Columns
from softmax_clf.kernels import csr, dense, elementary, softmax, tiles
from softmax_clf.kernels.gram import inverse_factor
from softmax_clf.kernels.jit import jit
from softmax_clf.kernels.lasso import GramBlock
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.rows import LabelledRows
from softmax_clf.solvers.nonsmooth import GroupedL1, SeparableL1

CONTAINERS = test_hessian_products.CONTAINERS


def in_plain_python():
    """All kernels; what emits instructions does it in NumPy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test_plain_python.fits()
        test_plain_python.more_fits()
    every_processor()
    passes()
    stacked_problems()
    sparse_rows()
    grams()
    blocks()
    columns()
    intercepts()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole_fits()


def compiled():
    """What emits instructions, each in the smallest kernel that it is a part of."""
    for dtype in (np.float32, np.float64):
        test_plain_python.test_score_tile(dtype, 3, 37)
        test_plain_python.test_gather(dtype, np.int32)
        for by_row, whole in ((False, True), (True, False)):
            test_plain_python.test_gradient_tile(dtype, 3, by_row, whole)
    for X_dtype in (np.uint8, np.int16, np.float16, np.float32):
        test_plain_python.test_transpose_square(X_dtype, np.float32)
    for order in ("C", "F", "every-other-column"):
        test_sources.test_blocks_are_converted_exactly(np.float16, order)
    test_sources.test_blocks_are_converted_exactly(np.uint8, "C")
    for function, exact, dtype in (
        (elementary.exp, np.exp, np.float32),
        (elementary.exp, np.exp, np.float64),
        (elementary.log_float64, np.log, np.float64),
        (elementary.log1p_float64, np.log1p, np.float64),
    ):
        test_kernels.test_elementary_functions(function, exact, *((-1, 0) if exact is np.exp else (1, 2)), dtype)
    for tile_classes in (1, 5):  # with and without what fetches rows ahead
        test_kernels.check_pass(20, 40, 2 * tile_classes, 1)
    tile_beside_bytes()
    refused()


def tile_beside_bytes():
    """A tile that fetches rows of single bytes, a part of each: where parts are no whole number of bytes."""
    rng = np.random.default_rng(0)
    X, coef, source = rng.standard_normal((2, 16)), rng.standard_normal((4, 16)), np.zeros((9, 16), np.uint8)

    @jit
    def kernel(X, coef, source, scores_out):
        tiles.score_tile(X, 0, len(X), coef, 0, scores_out, 0, source, 4, 2, 4, 2)

    scores = np.empty((4, 16))
    kernel(X, coef, source, scores)
    np.testing.assert_allclose(scores[:, :2], coef @ X.T)


def refused():
    """Sizes that are not literals are no tile, and rows with gaps no array that could be cleared."""
    x, n, places = np.zeros((16, 16)), 2, np.arange(16)

    @jit
    def score(x, n):
        tiles.score_tile(x, 0, n, x, 0, x, 0, x, 0, n, n, n)

    @jit
    def gradient(x, n):
        tiles.gradient_tile(x, 0, n, 0, x, 0, x, x, 0, n, n, True, n, True)

    @jit
    def gather(x, n):
        csr._gather(x[0], places, 0, n, x, 0, x[1], n, n)

    @jit
    def clear(x, n):
        elementary.clear(x[:, ::n])

    for kernel in (score, gradient, gather, clear):
        with pytest.raises(numba.TypingError):
            kernel(x, n)


def every_processor():
    """Bytes of a vector, number of registers, and the exponential, by what the processor is said to have."""
    for feature, size in (("avx512vl", (64, 32)), ("avx2", (32, 16)), ("neon", (16, 32)), ("sse2", (16, 16))):
        is_arm64 = feature == "neon"
        triple = "aarch64-unknown-linux-gnu" if is_arm64 else "x86_64-unknown-linux-gnu"
        with (
            patch.object(tiles, "processor_features", lambda feature=feature: {feature}),
            patch.object(tiles.llvmlite.binding, "get_process_triple", lambda triple=triple: triple),
        ):
            assert tiles._vector_registers() == size
    x = np.array(-0.3)[()]
    for is_fused in (False, True):
        with patch.object(elementary, "IS_FUSED", is_fused):
            np.testing.assert_allclose(elementary.exp(x), np.exp(x), rtol=1e-15)


def passes():
    """Loss, gradient, products, scores, searches: rows of all kinds, hard and soft targets, offsets, weights."""
    ways = [("C", np.float64), ("F", np.float64), ("F", np.float32), ("F", np.int8), ("F", np.float16)]
    ways += [("every-other-column", np.float16), ("backwards", np.float64), ("CSR, int32", np.float64)]
    ways += [("deviations", np.float64)]
    for n_classes in (2, 3):
        for container, dtype in ways:
            for soft in (False, True):
                one_pass(container, dtype, n_classes, soft)
        for container in ("C", "CSR, int64"):
            test_subspace.test_the_gradient_of_known_scores_is_that_of_the_point(container, n_classes)
        test_subspace.test_value_gradient_and_hessian_along_directions(np.float64, n_classes, "labels", True)
        test_subspace.test_value_gradient_and_hessian_along_directions(np.float64, n_classes, "soft targets", False)


def one_pass(container, dtype, n_classes, soft):
    rng = np.random.default_rng(0)
    n, p, n_outputs = 37, 19, 1 if n_classes == 2 else n_classes
    X = (8 * rng.standard_normal((n, p))).astype(dtype)
    y = rng.dirichlet(np.ones(n_classes), n) if soft else rng.integers(n_classes, size=n)
    weight, offset = rng.uniform(0.5, 2, n), rng.standard_normal((n, n_outputs))
    source = CONTAINERS[container](X)
    params = {"sample_weight": weight, "l2_reg_strength": 0.0, "fit_intercept": True, "n_threads": 1, "offset": offset}
    objective = SoftmaxObjective(source, y, n_classes, **params)
    target = y if soft else reference.one_hot(y, range(n_classes))
    by_class = np.hstack([np.zeros((n, 1)), offset]) if n_classes == 2 else offset
    oracle = reference.Objective(X.astype(np.float64), target, np.inf, weight, True, by_class)
    point, direction = 0.1 * rng.standard_normal((2, n_outputs, p + 1))
    tolerance = {"rtol": 1e-11, "atol": 1e-11} if source.dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-4}
    loss, grad = objective.evaluate(point)
    np.testing.assert_allclose(loss, oracle.loss(*oracle.unpack(point)), **tolerance)
    np.testing.assert_allclose(grad, oracle.grad(*oracle.unpack(point)), **tolerance)
    objective.curve(point)
    expected, _ = oracle.hess_product(*oracle.unpack(point), direction)
    np.testing.assert_allclose(objective.hessian_product(direction), expected, **tolerance)
    values = X.astype(np.float64)
    mean, variance = source.moments(weight, 1)
    expected = np.average(values, axis=0, weights=weight)
    np.testing.assert_allclose(mean, expected, **tolerance)
    np.testing.assert_allclose(variance, np.average((values - expected) ** 2, axis=0, weights=weight), **tolerance)


def stacked_problems():
    """Of weights of their own, of labels of their own; tiles of many classes, and rows that are copied first."""
    for n_problems in (1, 3):
        for test in (test_kernels.test_stacked_problems, test_hessian_products.test_stacked_problems):
            test(130, 1400, 3, True, n_problems, np.float32)  # blocks of 48 rows, some of which weigh nothing
    for n, p, n_classes in ((20, 1024, 10), (20, 5, 70), (20, 40, 1 + tiles.TILE_CLASSES[0])):
        test_kernels.check_pass(n, p, n_classes, 1)
    test_kernels.check_proba(20, 1024, 10)
    with patch.object(dense, "_GROUP_FLOPS", 1e3):
        test_kernels.check_pass(200, 6, 3, 1)
    for make in (CONTAINERS["C"], CONTAINERS["CSR, int32"]):
        test_multi_output.test_pass_tells_of_rows_held_out(make)
    test_sources.test_single_rows_and_columns((20, 1))
    rng = np.random.default_rng(0)
    X, coef = rng.standard_normal((31, 31)), rng.standard_normal((7, 31))
    found = dense.DensePass(np.float64, 31, 31, 1, 7, 1).gram_product(X, coef)
    np.testing.assert_allclose(found, coef @ X.T @ X, atol=1e-10)


def sparse_rows():
    """Wide ones, whose coefficients are transposed; scores that are known; few rows, which need few coefficients."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 6000)) * (rng.random((20, 6000)) < 0.02)
    source, y, none, first = CONTAINERS["CSR, int32"](X), np.arange(20) % 3, np.empty((0, 0)), np.zeros(1, np.intp)
    coef, intercept = rng.standard_normal((3, 6000)), rng.standard_normal(3)
    oracle = reference.Objective(X, reference.one_hot(y), np.inf)
    expected, scores = 20 * oracle.grad(coef, intercept), oracle.raw_prediction(coef, intercept)
    passes, close = source.passes(1, 3, 1), {"rtol": 1e-11, "atol": 1e-11}
    for _, grad, grad_intercept in (
        passes.loss_gradient(source.parts(), coef, intercept, y, none, first),
        source.passes(1, 3, 1).loss_gradient_of_scores(source.parts(), scores.T[None].copy(), y, none, first),
    ):
        np.testing.assert_allclose(grad, expected[:, :-1], **close)
        np.testing.assert_allclose(grad_intercept, expected[:, -1], **close)
    few, out = CONTAINERS["CSR, int32"](X[:3]), np.empty((3, 3))
    few.passes(1, 3, 1).predict(few.parts(), coef, intercept, softmax.RAW, out)
    np.testing.assert_allclose(out, scores[:3], **close)
    matrix, out = rng.standard_normal((6000, passes.n_padded)), np.empty((20, passes.n_padded))
    passes.combine(source, matrix, out)
    np.testing.assert_allclose(out, X @ matrix, **close)
    weight = rng.random((20, 3))
    np.testing.assert_allclose(passes.weighted_squares(source, weight), weight.T @ X**2, **close)


def grams():
    """Gram matrices and their factors, also of what is far from being positive."""
    with test_gram.blas_on_one_thread():
        test_gram.test_weighted_gram((31, 129), np.float64)
        test_gram.test_weighted_gram_of_sparse_rows((300, 5), 0.3, np.float64, np.int64)
        test_gram.test_weighted_grams_of_many_ways((31, 129), 1)
        test_gram.test_inverse_factor_of_what_is_singular_empty_or_not_finite()
        test_gram.test_roots(257, 2)
        test_gram.test_factors_of_many_gradients(5)
        factor, is_raised = inverse_factor(np.array([[4.0, 0.0], [400.0, 4.0]]), 0.0)
        assert is_raised
        assert not factor[1, 0]  # the diagonal is what is left


def blocks():
    """Coordinate descent in a quadratic model of all coefficients, one by one, and column by column."""
    test_proximal.test_a_model_is_minimised()
    rng = np.random.default_rng(0)
    K, p = 3, 5
    root, low = rng.standard_normal((20, p)), rng.standard_normal((K, p, 2))
    root[:, 4] = low[:, 4] = 0.0  # of a feature that no row has
    gram, between, held = root.T @ root, np.eye(K) - 0.5 / K, np.array([False, True, False])
    grad, start = 10 * rng.standard_normal((K, p)), rng.standard_normal((K, p))
    start[held] = start[:, 2] = 0.0
    hess = np.kron(between, gram) + low.reshape(K * p, 2) @ low.reshape(K * p, 2).T
    point, image, low_out, threshold = start.copy(), np.zeros((K, p)), np.zeros(2), np.full((K, p), 5.0)
    threshold[:, 1] = 20.0
    block = GramBlock(slice(None), gram, between, 0.0, p)
    for n in range(300):
        block.sweep(0.0, threshold, None, grad, start, low, low, point, image, low_out, n % 3 == 0)
    slope = grad + (hess @ (point - start).ravel()).reshape(K, p)
    assert SeparableL1(threshold).violation(point, slope)[:, :4].max() <= 1e-6
    assert 0 < np.count_nonzero(point[:, :4] == 0) < 8
    penalty = GroupedL1(np.array([3.0, 3.0, 20.0, 60.0, 3.0]), held)
    for block, low_of in (
        (GramBlock(slice(None), gram, between, 0.0, p), low),
        (GramBlock(slice(None), hess, np.ones((1, 1)), 0.0, K * p), low[..., :0]),
    ):
        point, image, low_out = start.copy(), np.zeros((K, p)), np.zeros(low_of.shape[2])
        for n in range(300):
            inputs = 0.0, penalty.threshold, held, grad, start, low_of, low_of
            block.sweep_columns(*inputs, point, image, low_out, n % 3 == 0)
        slope = grad + (hess @ (point - start).ravel()).reshape(K, p)
        slope[held] = 0.0
        assert not point[held].any()
        assert point.any(axis=0).tolist() == [True, True, False, False, True]
        assert penalty.violation(point, slope)[:, :4].max() <= 1e-4


def columns():
    """Coordinate descent by columns, from coefficients that are not zero: the conditions of the model's minimum."""
    rng = np.random.default_rng(0)
    n, p, K = 30, 6, 3
    X, y = rng.standard_normal((n, p)) + 3 * rng.standard_normal((n, 1)), np.arange(n) % K
    X[:, 5] = 0.0  # of a feature that no row has
    classes, features = np.repeat([1, 2], p), np.tile(np.arange(p), 2)  # a class has none
    coef = np.zeros((K, p))
    coef[1, :2], coef[2, 3] = 0.3, -0.5
    objective = reference.Objective(X, reference.one_hot(y), np.inf, fit_intercept=False)
    none, some = np.zeros(2 * p), slice(p, None)
    hess = objective.hess(coef, np.zeros(K))[some, some]
    for container in ("C", "CSR, int32"):
        source = CONTAINERS[container](X)
        rows = LabelledRows(source, y, K, sample_weight=None, fit_intercept=False, n_threads=1)
        for strength, (low, high) in ((0.02, (-np.inf, np.inf)), (0.0, (-0.5, 0.35))):
            by_column = Columns(rows)
            used = np.flatnonzero(coef[1:].ravel())
            by_column.begin(classes[used], features[used], coef[1:].ravel()[used], np.zeros(K))
            model = by_column.model(classes, features)
            model.update()
            np.testing.assert_allclose(model.grad, objective.grad(coef, np.zeros(K))[1:].ravel(), atol=1e-12)
            np.testing.assert_allclose(model.curvature, hess.diagonal(), atol=1e-12)
            start, descend, gains = coef[1:].ravel(), by_column.descend_kernel, []
            inputs = start, np.full(2 * p, strength), none, 0.0, np.full(2 * p, low), np.full(2 * p, high)
            for n_sweeps in (2, 5000):
                limited = partial(limit_sweeps, descend, n_sweeps)
                with patch.object(by_column, "descend_kernel", limited):
                    goal, gained = model.descend(*inputs, 0.0, 1e-18)
                gains.append(gained)
            assert 0 < gains[0] < gains[1]
            slope = model.grad + hess @ (goal - start)
            up, down = (np.where(side, strength, -strength) for side in (goal >= 0, goal > 0))
            assert np.where(goal < high, -(slope + up), 0.0).max() <= 1e-6
            assert np.where(goal > low, slope + down, 0.0).max() <= 1e-6


def intercepts():
    """Where a penalty leaves no coefficient, coordinate descent has the intercepts alone to move."""
    X, y = np.random.default_rng(0).standard_normal((30, 4)), np.repeat([0, 1, 2], [20, 7, 3])
    rows = LabelledRows(CONTAINERS["C"](X), y, 3, sample_weight=None, fit_intercept=True, n_threads=1)
    by_column, none = Columns(rows), np.zeros(12)
    by_column.begin(none[:0].astype(int), none[:0].astype(int), none[:0], np.zeros(3))
    model = by_column.model(np.repeat([0, 1, 2], 4), np.tile(np.arange(4), 3))
    model.update()
    goal, gained = model.descend(none, none + 10.0, none, 0.0, none - np.inf, none + np.inf, 0.0, 1e-18)
    assert not goal.any()
    assert gained > 0
    objective = reference.Objective(X, reference.one_hot(y), np.inf)
    point = np.zeros((3, 4)), np.zeros(3)
    slope = objective.grad(*point)[:, -1] + objective.hess(*point)[4::5, 4::5] @ model.shift
    np.testing.assert_allclose(slope, 0.0, atol=1e-8)


def limit_sweeps(descend, n_sweeps, *args):
    return descend(*args[:19], n_sweeps, *args[20:])


def whole_fits():
    """Sparse coefficients, by models of all of them, and with more features than rows by columns."""
    sparse_fits(*data(40, 6, 3))
    for n_classes in (2, 3):
        X, y = data(24, 40, n_classes)
        sparse_fits(X, y)
        sparse_fits(sparse.csr_array(np.where(X > 0.5, X, 0.0)), y)


def sparse_fits(X, y):
    """Coefficients some of which are zero, by the conditions of the optimum."""
    dense, target = X.toarray() if sparse.issparse(X) else X, reference.one_hot(y)
    for l1_ratio, C in ((0.5, 2.0), (1.0, 2.0), (1.0, 0.01)):
        objective = reference.Objective(dense, target, C, l1_ratio=l1_ratio)
        clf = fit(X, y, C, l1_ratio=l1_ratio, tol=1e-9)
        assert np.abs(objective.subgradient(clf.coef_, clf.intercept_)).max() <= 1e-5
        low, high = np.array(-0.1), np.array(0.2)
        clf = fit(X, y, C, l1_ratio=l1_ratio, tol=1e-9, coef_bounds=(low, high))
        assert test_bounds.residual(objective, clf.coef_, clf.intercept_, low, high) <= 1e-5
        clf = fit(X, y, C, l1_ratio=l1_ratio, tol=1e-9, l1_group="class")
        assert test_groups.residual(objective, clf.coef_, clf.intercept_) <= 1e-5
