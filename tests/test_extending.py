"""The examples of docs/extending.md, word for word, of a source, a metric and a kernel, do what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import softmax_clf.training_data
from softmax_clf import SoftmaxRegressionClassifier, contracts
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.sources.arrays import ArraySource

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"


def example(name):
    """What the page's example of a name defines."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if re.search(rf"^(class|def) {name}\b", block, re.MULTILINE))
    found = {"__name__": "an_example"}
    exec(compile(block, str(PAGE), "exec"), found)
    return found[name]


def categories(n, n_columns=4, n_levels=5, n_classes=3):
    """Rows of one-hot columns, the groups of these, and labels."""
    rng = np.random.default_rng(0)
    levels = rng.integers(n_levels, size=(n, n_columns))
    X = (levels[:, :, None] == np.arange(n_levels)).reshape(n, -1)
    y = (X @ rng.standard_normal((X.shape[1], n_classes)) + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    return X, np.arange(X.shape[1]).reshape(n_columns, n_levels), y


def objective_of(source, y):
    options = {"sample_weight": None, "l2_reg_strength": 1e-3, "fit_intercept": True, "n_threads": 1}
    return SoftmaxObjective(source, y, int(y.max()) + 1, **options)


def test_a_source_has_what_the_contract_says():
    BitSource = example("BitSource")
    X, _, _ = categories(50)
    source, expected = BitSource(np.packbits(X, axis=1), X.shape[1]), ArraySource(X.astype(np.float32))
    for name in contracts.Source.__annotations__:
        assert hasattr(source, name), name
    rows = np.array([3, 4, 30])
    assert_array_equal(source.take(rows), X[rows])
    assert_array_equal(source.select(rows).take(np.arange(3)), X[rows])
    assert source.take(rows).dtype == source.dtype
    assert source.peak(None, 0.5) == 1.0
    assert len(source.constants(None)) == 0
    for found, known in zip(source.moments(None, 1), expected.moments(None, 1), strict=True):
        assert_allclose(found, known, rtol=1e-12)


def test_passes_over_a_source_have_the_bits_of_an_array(monkeypatch):
    """Also in several parts, of whole slices."""
    BitSource = example("BitSource")
    X, _, y = categories(50)
    source, array = BitSource(np.packbits(X, axis=1), X.shape[1]), ArraySource(X.astype(np.uint8))
    source.slice_rows = array.slice_rows = 16
    assert len(list(source.parts())) == 4
    point = np.random.default_rng(1).standard_normal((3, X.shape[1] + 1))
    results = [objective_of(some, y).evaluate(point) for some in (source, array)]
    assert results[0][0] == results[1][0]
    assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize(("n", "n_columns"), [(200, 4), (2000, 70)])
def test_fits_of_a_source(monkeypatch, n, n_columns):
    """Of few coefficients, by Newton's method, and of more."""
    BitSource = example("BitSource")
    X, _, y = categories(n, n_columns)
    expected = SoftmaxRegressionClassifier(C=0.01).fit(X.astype(np.float32), y)
    n_features = X.shape[1]
    monkeypatch.setattr(softmax_clf.training_data, "as_source", lambda clf, X, reset: BitSource(X, n_features))
    clf = SoftmaxRegressionClassifier(C=0.01).fit(np.packbits(X, axis=1), y)
    assert clf.converged_
    assert clf.objective_ == pytest.approx(expected.objective_, abs=2e-6)
    assert_allclose(clf.coef_, expected.coef_, atol=1e-2)


def test_a_metric_of_the_page():
    """It keeps its contract, and L-BFGS in it finds the minimum."""
    GroupsCurvature = example("GroupsCurvature")
    X, groups, y = categories(400)
    X = X.astype(np.float64)
    objective = objective_of(ArraySource(X), y)
    curvature = GroupsCurvature(objective, objective.elastic_net, list(groups), n_rows=200)
    start = np.zeros((3, X.shape[1] + 1))
    made = curvature.metric(start)
    assert made.slack > 0
    grads = np.random.default_rng(1).standard_normal((6, *start.shape))
    grads -= grads.mean(axis=1, keepdims=True)
    steps = made.solve_all(grads)
    assert_allclose(steps[0] + 2 * steps[1], made.solve(grads[0] + 2 * grads[1]), rtol=1e-9, atol=1e-9)
    assert_allclose(steps.mean(axis=1), 0.0, atol=1e-9)
    squares = grads.reshape(6, -1) @ steps.reshape(6, -1).T
    assert_allclose(squares, squares.T, rtol=1e-9, atol=1e-9)
    assert np.linalg.eigvalsh(squares)[0] > 0

    def make_curvature(objective, elastic_net):
        return GroupsCurvature(objective, elastic_net, list(groups), n_rows=200)

    solution = example("minimum")(ArraySource(X), y, make_curvature, 1e-3, tol=1e-9)
    assert solution.converged
    best = SoftmaxRegressionClassifier(C=1 / (1e-3 * len(X)), tol=1e-10).fit(X, y).objective_
    assert 0 <= solution.objective - best + 1e-12 <= 1e-8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_of_the_page(dtype):
    largest = example("largest")
    X = np.random.default_rng(0).standard_normal((1000, 7)).astype(dtype)
    X.flags.writeable = False
    for n_threads in (1, 2, 3):
        assert_array_equal(largest(X, n_threads), np.abs(X).max(axis=0))
    assert_array_equal(largest(X[:1, :1], 2), np.abs(X[:1, 0]))
