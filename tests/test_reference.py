"""The oracle is checked against differences of its own loss, identities and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import problems
import reference
from reference import Objective


def random_objective(n_classes, C=0.7, fit_intercept=True, soft=False, offset=False):
    rng = np.random.default_rng(0)
    n_samples, n_features = 12, 3
    y = np.arange(n_samples) % n_classes
    return Objective(
        rng.standard_normal((n_samples, n_features)),
        rng.dirichlet(np.ones(n_classes), size=n_samples) if soft else reference.one_hot(y),
        C=C,
        sample_weight=rng.exponential(size=n_samples),
        fit_intercept=fit_intercept,
        offset=rng.standard_normal((n_samples, n_classes)) if offset else None,
    )


def random_point(objective):
    rng = np.random.default_rng(1)
    coef = rng.standard_normal((objective.n_vectors, objective.X.shape[1]))
    return coef, rng.standard_normal(objective.n_vectors) * objective.fit_intercept


def central_differences(function, unknowns, step):
    """Derivatives of `function` by each unknown, along a new last axis."""
    directions = step * np.eye(unknowns.size).reshape(-1, *unknowns.shape)
    columns = [(function(unknowns + d) - function(unknowns - d)) / (2 * step) for d in directions]
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_derivatives(n_classes, fit_intercept, soft, offset):
    objective = random_objective(n_classes, fit_intercept=fit_intercept, soft=soft, offset=offset)
    coef, intercept = random_point(objective)
    unknowns = objective.pack(coef, intercept)

    expected = central_differences(lambda u: objective.loss(*objective.unpack(u)), unknowns, step=1e-5)
    grad = objective.grad(coef, intercept)
    np.testing.assert_allclose(grad.ravel(), expected, rtol=1e-7, atol=1e-9)

    expected = central_differences(lambda u: objective.grad(*objective.unpack(u)).ravel(), unknowns, step=1e-5)
    np.testing.assert_allclose(objective.hess(coef, intercept), expected, rtol=1e-7, atol=1e-9)


def test_loss_term_by_term():
    """The formula written out for one row and three classes."""
    objective = Objective(np.array([[2.0]]), np.array([[0.0, 1.0, 0.0]]), C=4.0, sample_weight=np.array([3.0]))
    coef, intercept = np.array([[1.0], [0.5], [-1.0]]), np.array([0.0, 1.0, 0.0])
    cross_entropy = -np.log(np.exp(2.0) / (np.exp(2.0) + np.exp(2.0) + np.exp(-2.0)))
    penalty = (1 + 0.25 + 1) / 2 / (4.0 * 3.0)
    assert objective.loss(coef, intercept) == pytest.approx(cross_entropy + penalty, rel=1e-15)


def test_softmax_of_extreme_scores():
    scores = np.array([[1e4, 0.0, -1e4], [-1e300, 0.0, 1.0]])
    np.testing.assert_array_equal(reference.softmax(scores)[0], [1, 0, 0])
    np.testing.assert_array_equal(reference.log_softmax(scores)[0], [0, -1e4, -2e4])
    assert reference.sample_loss(scores, reference.one_hot([1, 0], [0, 1, 2]))[1] == 1e300


def test_one_vector_is_the_logistic_loss():
    objective = random_objective(2, C=np.inf)
    (w,), (b,) = random_point(objective)
    margin = (2 * objective.target[:, 1] - 1) * (objective.X @ w + b)
    expected = objective.weight @ np.log1p(np.exp(-margin))
    assert objective.loss([w], [b]) == pytest.approx(expected, rel=1e-14)


def test_soft_target_is_a_row_for_each_class_with_its_probability_as_weight():
    soft = random_objective(3, soft=True)
    n_samples, n_classes = soft.target.shape
    hard = Objective(
        np.repeat(soft.X, n_classes, axis=0),
        np.tile(np.eye(n_classes), (n_samples, 1)),
        C=soft.C,
        sample_weight=(soft.sample_weight[:, None] * soft.target).ravel(),
    )
    point = random_point(soft)
    assert soft.loss(*point) == pytest.approx(hard.loss(*point), rel=1e-14)
    np.testing.assert_allclose(soft.grad(*point), hard.grad(*point), rtol=1e-12)
    np.testing.assert_allclose(soft.hess(*point), hard.hess(*point), rtol=1e-11, atol=1e-15)


def test_offset_linear_in_X_moves_the_unpenalised_optimum():
    plain = random_objective(3, C=np.inf, soft=True)
    shift = np.random.default_rng(2).standard_normal((3, plain.X.shape[1]))
    shift -= shift.mean(axis=0)
    moved = Objective(plain.X, plain.target, plain.C, plain.sample_weight, offset=plain.X @ shift.T)
    coef, intercept, loss = reference.minimise(plain)
    moved_coef, moved_intercept, moved_loss = reference.minimise(moved)
    np.testing.assert_allclose(moved_coef, coef - shift, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(moved_intercept, intercept, rtol=1e-8, atol=1e-10)
    assert moved_loss == pytest.approx(loss, rel=1e-13)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_null_loss_is_the_minimum_without_features(n_classes, fit_intercept):
    objective = random_objective(n_classes, fit_intercept=fit_intercept, soft=True)
    without_features = Objective(objective.X[:, :0], objective.target, 1.0, objective.sample_weight, fit_intercept)
    if fit_intercept:
        *_, loss = reference.minimise(without_features)
    else:
        loss = without_features.loss(np.zeros((without_features.n_vectors, 0)), 0.0)
    assert objective.null_loss() == pytest.approx(loss, rel=1e-13)


def test_suboptimality_bound_holds():
    objective = random_objective(3)
    coef, intercept, best = reference.minimise(objective)
    # The intercept has to be optimal for the coefficients, so it is minimised with their scores as an offset.
    coef = coef + 0.1 * random_point(objective)[0]
    scores = Objective(objective.X[:, :0], objective.target, 1.0, objective.sample_weight, offset=objective.X @ coef.T)
    _, intercept, _ = reference.minimise(scores)
    gap = objective.loss(coef, intercept) - best
    assert 0 < gap <= objective.suboptimality_bound(coef, intercept)


def test_stacked_problems_are_the_problems_one_by_one():
    objective = random_objective(3)
    rng = np.random.default_rng(3)
    coef, intercept = rng.standard_normal((6, 3)), rng.standard_normal(6)
    sample_weight = np.stack([objective.sample_weight, np.where(rng.uniform(size=12) < 0.5, 0.0, 1.0)])
    loss, grad = reference.stacked_loss_grad(
        coef, intercept, objective.X, objective.target, sample_weight, C=np.array([0.7, 5.0])
    )
    assert loss[0] == objective.loss(coef[:3], intercept[:3])
    np.testing.assert_array_equal(grad[:3], objective.grad(coef[:3], intercept[:3]))
    # A zero weight is an absent row.
    kept = sample_weight[1] > 0
    rest = Objective(objective.X[kept], objective.target[kept], C=5.0)
    assert loss[1] == pytest.approx(rest.loss(coef[3:], intercept[3:]), rel=1e-14)
    np.testing.assert_allclose(grad[3:], rest.grad(coef[3:], intercept[3:]), rtol=1e-12)


@pytest.mark.parametrize("class_weight", [None, {0: 2.0, 2: 0.25}, "balanced"])
def test_row_weights_are_scikit_learns(class_weight):
    problem = problems.load("iris")
    y = np.where(np.arange(150) < 40, 0, problem.y)[10:]  # unbalanced
    X, sample_weight = problem.X[10:], problem.sample_weight[10:]
    weights = reference.row_weights(y, sample_weight, class_weight)
    coef, intercept, _ = reference.minimise(Objective(X, reference.one_hot(y), sample_weight=weights))
    clf = LogisticRegression(class_weight=class_weight, solver="newton-cholesky", tol=1e-12)
    clf.fit(X, y, sample_weight)
    np.testing.assert_allclose(coef, clf.coef_, rtol=1e-8)
    np.testing.assert_allclose(intercept, clf.intercept_, rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "C", "weighted", "fit_intercept"),
    [
        (name, C, weighted, fit_intercept)
        for name in problems.NAMES
        for C in (1e-3, 1.0, 1e3)
        for weighted in (False, True)
        for fit_intercept in (False, True)
        if name not in problems.LARGE or (C == 1.0 and weighted != fit_intercept)
    ],
)
def test_minimum_is_scikit_learns(name, C, weighted, fit_intercept):
    objective = problems.objective(name, C, weighted, fit_intercept)
    coef, intercept, loss, null_loss = problems.reference_optimum(name, C, weighted, fit_intercept)
    peer = problems.sklearn_optimum(name, C, weighted, fit_intercept)
    assert abs(loss - peer.loss) <= 1e-14 * null_loss
    assert objective.suboptimality_bound(coef, intercept) <= 1e-14 * null_loss
    assert np.linalg.norm(coef - peer.coef) <= 1e-6 * np.linalg.norm(coef)


def test_problems_are_exact_in_float32():
    for name in (*problems.NAMES, "separable"):
        problem = problems.load(name)
        np.testing.assert_array_equal(problem.X.astype(np.float32), problem.X)
        np.testing.assert_array_equal(problem.sample_weight.astype(np.float32), problem.sample_weight)


def test_problems_are_as_hard_as_they_claim():
    scales = problems.load("badly_scaled").X.std(axis=0)
    assert scales.min() < 1e-2
    assert scales.max() > 1e3
    X, _, _ = problems.load("wide")
    assert X.shape[1] > len(X)
    counts = np.bincount(problems.load("many_classes").y)
    assert len(counts) == 30
    assert counts.max() > 20 * counts.min() > 0
