"""Searches in subspaces of directions: the loss there, passes of known scores, and the solver, on hard problems."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_hessian_products import CONTAINERS, one_problem
from ways import ways

import reference
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.objective import SoftmaxObjective, StackedObjectives
from softmax_clf.penalty import ElasticNet
from softmax_clf.solvers.subspace import Rows, Subspace, n_slots
from softmax_clf.sources.arrays import ArraySource


def rare_features(n=1500, p=120, n_classes=5, seed=0):
    """Random ReLU features, standardised: many are active in few rows, which have all the leverage on them."""
    rng = np.random.default_rng(seed)
    centres, y = rng.standard_normal((n_classes, 20)), rng.integers(0, n_classes, n)
    scores = (centres[y] * 0.5 + rng.standard_normal((n, 20))) @ rng.standard_normal((20, p)) / 20**0.5
    X = np.maximum(scores - rng.uniform(0, 3.0, p), 0)
    X = X[:, X.any(axis=0)]
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def searched(objective, point, directions):
    """A search around a point, along directions."""
    search = objective.row_search(len(directions) + 2)  # one to be written to, and that of the point
    objective.raw_scores(point, search.scores)
    objective.raw_scores(point, search.steps[-1], is_direction=True)
    for slot, direction in enumerate(directions, 1):
        objective.raw_scores(direction, search.steps[slot], is_direction=True)
    return search, np.arange(1, len(directions) + 1)


# --- the loss along directions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "n_classes", "kind", "weighted"),
    ways(
        dtype=[np.float32, np.float64],
        n_classes=[2, 3],
        kind=["labels", "soft targets"],
        weighted=[False, True],
    ),
)
def test_value_gradient_and_hessian_along_directions(dtype, n_classes, kind, weighted):
    rng = np.random.default_rng(n_classes)
    n, p = 700, 9  # more than one block, the last of them short
    X = rng.standard_normal((n, p)).astype(dtype)
    y = rng.integers(0, n_classes, n) if kind == "labels" else rng.dirichlet(np.ones(n_classes), n)
    weight = rng.uniform(0, 2, n) * (rng.uniform(size=n) < 0.8) if weighted else None
    offset = rng.standard_normal((n, 1 if n_classes == 2 else n_classes))
    params = {"sample_weight": weight, "l2_reg_strength": 0.0, "fit_intercept": True, "n_threads": 2, "offset": offset}
    objective = SoftmaxObjective(ArraySource(X), y, n_classes, **params)
    point, *directions = rng.standard_normal((4, objective.n_outputs, p + 1))
    search, slots = searched(objective, point, directions)
    t = np.array([0.3, -0.5, 0.2])
    value, grad, hess = search.along(slots, t)

    there = point + np.tensordot(t, directions, 1)
    true_value, true_grad = objective.evaluate(there)
    objective.curve(there)
    tolerance = {"rtol": 1e-5 if dtype == np.float32 else 1e-12, "atol": 1e-6 if dtype == np.float32 else 1e-13}
    assert_allclose(value, true_value, **tolerance)
    assert_allclose(grad, [np.vdot(true_grad, d) for d in directions], **tolerance)
    products = [objective.hessian_product(d) for d in directions]
    assert_allclose(hess, [[np.vdot(a, d) for d in directions] for a in products], **tolerance)

    search.combine(slots, t, 0)
    expected = np.empty_like(search.scores)
    objective.raw_scores(there, expected)
    assert_allclose(search.scores, expected, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=tolerance["atol"])


def test_searches_do_not_depend_on_the_number_of_threads():
    results = []
    for n_threads in (1, 2, 3, 8):
        objective, point, directions = one_problem(np.float32, 20_000, 5, 3, n_threads=n_threads)
        search, slots = searched(objective, point, directions)
        assert len(search.bounds) > 2
        value, grad, hess = search.along(slots, np.array([0.1, 0.2]))
        search.combine(slots, np.array([0.1, 0.2]), 0)
        results.append((np.float64(value), grad, hess, search.scores, search.steps[0]))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_array_equal(a, b)


def test_the_memory_decides_how_many_directions_there_are():
    assert n_slots(1e9, 100, 100) == 10
    assert n_slots(1000, 100, 100) == 4
    assert n_slots(500, 100, 100) is None


# --- passes of known scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["C", "F", "stream", "CSR, int32"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_gradient_of_known_scores_is_that_of_the_point(container, n_classes):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 12))
    source = CONTAINERS[container](X)
    weight, y = rng.uniform(0, 2, 150), rng.integers(0, n_classes, 150)
    params = {"l2_reg_strength": 0.1, "fit_intercept": True, "n_threads": 2, "scale": rng.uniform(1, 2, 12)}
    objective = SoftmaxObjective(source, y, n_classes, sample_weight=weight, **params)
    point = rng.standard_normal((objective.n_outputs, 13))
    scores = np.empty((objective.n_outputs, 150), source.dtype)
    objective.raw_scores(point, scores)
    value, grad = objective.evaluate_at(point, scores)
    expected_value, expected_grad = objective.evaluate(point)
    assert_allclose(value, expected_value, rtol=1e-12 if source.dtype == np.float64 else 1e-6)
    assert_allclose(grad, expected_grad, rtol=1e-10 if source.dtype == np.float64 else 1e-4, atol=1e-6)
    assert objective.n_passes == 2


def test_stacked_problems_have_scores_of_their_own():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 8)), rng.integers(0, 4, 200)
    weights = [rng.uniform(0, 1, 200), np.repeat([0.0, 1.0], 100), (y != 2).astype(float)]
    stack = StackedObjectives(ArraySource(X), y, 4, sample_weight=list(weights), fit_intercept=True, n_threads=2)
    stack.elastic_nets = [ElasticNet(strength) for strength in (0.1, 0.2, 0.3)]
    points = list(rng.standard_normal((3, 4, 9)))
    points[2][2] = 0.0  # a class that no row of weight has
    for problems in ([0, 1, 2], [0, 2]):
        asked, outs = [points[m] for m in problems], [np.empty((4, 200)) for _ in problems]
        stack.raw_scores(problems, asked, outs, [False] * len(problems))
        results = stack.evaluate_at(problems, asked, outs)
        for (value, grad), (true_value, true_grad) in zip(results, stack.evaluate(problems, asked), strict=True):
            assert_allclose(value, true_value, rtol=1e-12)
            assert_allclose(grad, true_grad, atol=1e-13)
        stack.raw_scores(problems, asked, outs, [True] * len(problems))
        for point, out in zip(asked, outs, strict=True):
            expected = point[:, :-1] @ X.T + point[:, -1:]
            assert_allclose(np.delete(out, 2, axis=0), np.delete(expected, 2, axis=0), atol=1e-12)


# --- searches ---------------------------------------------------------------------------------------------------


def test_a_search_ends_where_the_objective_is_least_in_the_subspace():
    objective, point, directions = one_problem(np.float64, 500, 6, 3)
    rows = Rows(objective.row_search, 5, objective.penalty_product, None, None, 1.0)
    space = Subspace(rows)
    for asked in space.scores_at(point):
        objective.raw_scores(asked.point, asked.out, asked.is_direction)
    for direction in directions:
        objective.raw_scores(direction, space.place(direction), is_direction=True)
    before, grad_before = objective.evaluate(point)
    found, gained = space.minimise(point, 0.0)
    value, grad = objective.evaluate(found)
    assert_allclose(before - gained, value, rtol=1e-10)
    for direction in directions:
        assert abs(np.vdot(grad, direction)) < 0.1 * abs(np.vdot(grad_before, direction))
    scores = np.empty_like(space.scores)
    objective.raw_scores(found, scores)
    assert_allclose(space.scores, scores, atol=1e-10)


# --- fits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [1.0, 100.0])
@pytest.mark.parametrize("as_given", ["float64", "float32", "CSR", "stream", "standardised", "weighted"])
def test_features_that_few_rows_have(C, as_given):
    X, y = rare_features()
    weight, params = None, {}
    data = X
    if as_given == "float32":
        data = X.astype(np.float32)
    elif as_given == "CSR":
        data = CONTAINERS["CSR, int32"](X).X
    elif as_given == "stream":
        data = CONTAINERS["stream"](X).X
    elif as_given == "standardised":
        data, params = 10 * X + 3, {"standardize": True}
    elif as_given == "weighted":
        weight = np.random.default_rng(0).uniform(0, 2, len(y))
    clf = SoftmaxRegressionClassifier(C=C, **params).fit(data, y, sample_weight=weight)
    assert clf.converged_
    assert clf.n_iter_ < 300
    best = SoftmaxRegressionClassifier(C=C, tol=1e-9).fit(X, y, sample_weight=weight)  # the same objective for all
    assert best.converged_
    exact = reference.Objective(X, reference.one_hot(y), C=C, sample_weight=weight)
    assert exact.suboptimality_bound(best.coef_, best.intercept_) < 1e-5 * exact.null_loss()
    assert clf.objective_ - best.objective_ <= clf.suboptimality_ <= 1.1e-6 * exact.null_loss()


def test_hard_fits_do_not_depend_on_the_number_of_threads():
    X, y = rare_features()
    one, two = (SoftmaxRegressionClassifier(C=10.0, n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2))
    assert_array_equal(one.coef_, two.coef_)
    assert one.n_iter_ == two.n_iter_


def test_folds_that_are_hard_are_fitted_in_lockstep():
    X, y = rare_features()
    cv = SoftmaxRegressionClassifierCV(Cs=[0.1, 10.0, 1000.0], cv=3).fit(X, y)
    single = SoftmaxRegressionClassifier(C=cv.C_).fit(X, y)
    assert cv.converged_
    assert_allclose(cv.objective_, single.objective_, atol=2 * single.suboptimality_ + 2 * cv.suboptimality_)


def test_little_memory_leaves_it_to_the_other_method(monkeypatch):
    monkeypatch.setattr("softmax_clf.fitting.n_slots", lambda *sizes: None)
    X, y = rare_features()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        few = SoftmaxRegressionClassifier(C=1.0).fit(X, y)
    assert few.converged_
