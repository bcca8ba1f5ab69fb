"""Sparse rows with far more features than rows: the same objective and optimum, in fewer coordinates."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from ways import ways

import reference
from softmax_clf import SoftmaxRegressionClassifier, fitting
from softmax_clf.row_space import RowSpaceCurvature, RowSpaceObjective, suits_row_space
from softmax_clf.sources.sparse import CsrSource

N_FEATURES = 5000


def documents(seed=0, n_samples=120, n_classes=4, dtype=np.float64, index=np.int32):
    """Rows of a few words each: some words are in most rows, most words in one or none."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples) % n_classes
    law = 1 / np.arange(1, N_FEATURES + 1)
    picked = [rng.choice(N_FEATURES, 30, p=(law + np.roll(law, 9 * k)) / (2 * law.sum())) for k in y]
    shape = n_samples, N_FEATURES
    X = sp.csr_array((np.ones(30 * n_samples), (np.repeat(np.arange(n_samples), 30), np.concatenate(picked))), shape)
    X = sp.csr_array(X.astype(dtype))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X, y


@pytest.fixture
def in_row_space(monkeypatch):
    """Whether each fit was."""
    seen = []

    def asked(source, start):
        seen.append(suits_row_space(source, start))
        return seen[-1]

    monkeypatch.setattr(fitting, "suits_row_space", asked)
    return seen


def objective_of(X, y, n_classes, **params):
    given = {"sample_weight": None, "l2_reg_strength": 0.1, "fit_intercept": True, "n_threads": 1, **params}
    return RowSpaceObjective(CsrSource(X), y, n_classes, **given)


@pytest.mark.parametrize(
    ("dtype", "index", "n_classes", "weighted", "soft", "shifted"),
    ways(
        dtype=[np.float32, np.float64],
        index=[np.int32, np.int64],
        n_classes=[2, 3],
        weighted=[False, True],
        soft=[False, True],
        shifted=[False, True],
    ),
)
@settings(max_examples=5)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_samples=st.integers(5, 150),
    scaled=st.booleans(),
    fit_intercept=st.booleans(),
)
def test_steps_and_gradients_are_those_of_all_features(
    seed, n_samples, n_classes, dtype, index, weighted, soft, shifted, scaled, fit_intercept
):
    rng = np.random.default_rng(seed)
    X, y = documents(seed, n_samples, min(n_classes, n_samples), dtype, index)
    target = rng.dirichlet(np.ones(n_classes), n_samples) if soft else reference.one_hot(y, np.arange(n_classes))
    weight = rng.integers(0, 3, n_samples) + 1.0 * (np.arange(n_samples) == 0) if weighted else None
    offset = rng.standard_normal((n_samples, n_classes)) if shifted else None
    scale = rng.uniform(0.5, 2, N_FEATURES) if scaled else np.ones(N_FEATURES)
    n_outputs = 1 if n_classes == 2 else n_classes
    outputs = offset if offset is None or n_outputs > 1 else offset[:, 1:] - offset[:, :1]
    total = n_samples if weight is None else weight.sum()
    o = objective_of(
        X, target if soft else y, n_classes, sample_weight=weight, l2_reg_strength=1 / (3.0 * total),
        fit_intercept=fit_intercept, offset=outputs, scale=scale if scaled else None,
    )  # fmt: skip
    expected = reference.Objective(X.toarray() / scale, target, 3.0, weight, fit_intercept, offset)

    def vector(point):
        coef, intercept = o.split(point)
        return expected.pack(coef * scale, intercept)

    # from the origin, a step of the metric; and from there another
    point = o.start_point(np.zeros((n_outputs, N_FEATURES + fit_intercept)))
    tolerance = {"rtol": 0, "atol": 1e-3 if dtype == np.float32 else 1e-9}
    curvature = RowSpaceCurvature(o)
    for _ in range(2):
        value, grad = o.evaluate(point)
        loss, expected_grad = (
            expected.loss(*expected.unpack(vector(point))),
            expected.grad(*expected.unpack(vector(point))),
        )
        assert_allclose(value, loss, **tolerance)
        step = curvature.metric(point).solve(grad)
        moved = vector(point - step) - vector(point)
        # the product of a step with a gradient, its own or another
        assert_allclose(step @ grad, -np.vdot(moved, expected_grad), **tolerance)
        _, other = o.evaluate(point - step)
        expected_other = expected.grad(*expected.unpack(vector(point - step)))
        assert_allclose(step @ other, -np.vdot(moved, expected_other), **tolerance)
        assert step @ grad > 0
        penalty = expected.l2_reg_strength / 2 * np.square(vector(point)[:, :N_FEATURES]).sum()
        assert_allclose(o.penalty(point), penalty, **tolerance)
        point = point - step


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("standardize", [False, True], ids=["raw", "standardized"])
@pytest.mark.parametrize("fit_intercept", [True, False], ids=["intercept", "none"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_optimum_is_that_of_dense_rows(n_classes, fit_intercept, standardize, weighted, in_row_space):
    X, y = documents(n_classes=n_classes)
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float) if weighted else None
    params = {"fit_intercept": fit_intercept, "standardize": standardize, "tol": 1e-10, "C": 0.3}
    clf = SoftmaxRegressionClassifier(**params).fit(X, y, weight)
    assert in_row_space == [True]
    assert clf.converged_
    used = np.flatnonzero(np.bincount(X.indices, minlength=N_FEATURES))
    assert (np.delete(clf.coef_, used, axis=1) == 0).all()
    if not standardize:
        expected = SoftmaxRegressionClassifier(**params).fit(X.toarray()[:, used], y, weight)
    else:  # of sparse features, means stay; a constant one is none
        std = np.sqrt(np.average((X.toarray()[:, used] - np.average(X.toarray()[:, used], 0, weight)) ** 2, 0, weight))
        scaled = np.divide(X.toarray()[:, used], std, where=std > 0, out=np.zeros((len(y), len(used))))
        expected = SoftmaxRegressionClassifier(**params | {"standardize": False}).fit(scaled, y, weight)
        expected.coef_ = np.divide(expected.coef_, std, where=std > 0, out=np.zeros_like(expected.coef_))
    assert_allclose(clf.objective_, expected.objective_, rtol=1e-8)
    assert_allclose(clf.coef_[:, used], expected.coef_, rtol=0, atol=1e-3 * np.abs(expected.coef_).max())


def short_documents(n_classes=2):
    """Rows of three words, of length one."""
    rng = np.random.default_rng(103)
    n, law = 300, 1 / np.arange(1, N_FEATURES + 1)
    y = np.arange(n) % n_classes
    picked = [rng.choice(N_FEATURES, 3, p=(law + np.roll(law, 9 * k)) / (2 * law.sum())) for k in y]
    indices = np.concatenate(picked)
    X = sp.csr_array((np.full(3 * n, 3**-0.5), (np.repeat(np.arange(n), 3), indices)), (n, N_FEATURES))
    return sp.csr_array(X), np.where(rng.random(n) < 0.05, rng.integers(0, n_classes, n), y)


@pytest.mark.parametrize("make", [lambda: documents(n_samples=300), short_documents], ids=["long", "short"])
@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3, 1e4, np.inf])
def test_the_estimate_is_not_below_what_is_left(C, make):
    X, y = make()
    best = SoftmaxRegressionClassifier(C, tol=1e-12 if C < np.inf else 1e-9).fit(X, y).objective_
    for tol in (1e-2, 1e-3, 1e-4, 1e-6):
        clf = SoftmaxRegressionClassifier(C, tol=tol).fit(X, y)
        assert clf.objective_ - best <= clf.suboptimality_ * (1 + 1e-6) + 1e-12


def test_soft_targets_offsets_and_float32(in_row_space):
    X, y = documents(dtype=np.float32)
    rng = np.random.default_rng(0)
    target, offset = 0.9 * reference.one_hot(y) + 0.025, rng.standard_normal((len(y), 4))
    clf = SoftmaxRegressionClassifier(tol=1e-7).fit(X, target, offset=offset)
    assert in_row_space == [True]
    assert clf.coef_.dtype == np.float32
    expected = SoftmaxRegressionClassifier(tol=1e-10).fit(X.toarray().astype(np.float64), target, offset=offset)
    assert_allclose(clf.objective_, expected.objective_, rtol=2e-6)
    assert_allclose(clf.coef_, expected.coef_, rtol=0, atol=1e-3 * np.abs(expected.coef_).max())


def test_threads_give_the_same_bits():
    X, y = documents(n_samples=400)
    one, four = (SoftmaxRegressionClassifier(n_jobs=n).fit(X, y) for n in (1, 4))
    assert_array_equal(one.coef_, four.coef_)
    assert_array_equal(one.loss_curve_, four.loss_curve_)


def test_a_start_anywhere_takes_all_features(in_row_space):
    X, y = documents()
    clf = SoftmaxRegressionClassifier(tol=1e-9, warm_start=True).fit(X, y)
    first = clf.coef_
    clf.fit(X, y)
    assert in_row_space == [True, False]
    assert_allclose(clf.coef_, first, rtol=0, atol=1e-4 * np.abs(first).max())
    begun = SoftmaxRegressionClassifier(tol=1e-9).fit(X, y, intercept_init=[1.0, 2.0, 3.0, 4.0])
    assert in_row_space == [True, False, True]
    assert_allclose(begun.coef_, first, rtol=0, atol=1e-4 * np.abs(first).max())


def test_early_stopping(in_row_space):
    X, y = documents(n_samples=400)
    clf = SoftmaxRegressionClassifier(C=1e3, early_stopping=True, random_state=0).fit(X, y)
    assert in_row_space == [True]
    assert min(clf.validation_loss_curve_) < clf.validation_loss_curve_[-1]


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("C", [1e-2, np.inf])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_offsets_that_leave_no_row_unsure(n_classes, C, right, in_row_space):
    X, y = documents(n_classes=n_classes)
    offset = 1000.0 * np.eye(n_classes)[y if right else (y + 1) % n_classes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = SoftmaxRegressionClassifier(C).fit(X, y, offset=offset)
    assert in_row_space == [True]
    assert np.isfinite(clf.coef_).all()
    assert clf.objective_ < (1e-300 if right else 999)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_units_make_no_difference(factor, in_row_space):
    X, y = documents()
    clf = SoftmaxRegressionClassifier(100.0).fit(X, y)
    other = SoftmaxRegressionClassifier(100.0 / factor**2).fit(X * factor, y)
    assert in_row_space == [True, True]
    assert abs(other.n_iter_ - clf.n_iter_) <= 3
    assert_allclose(other.coef_ * factor, clf.coef_, rtol=0, atol=1e-2 * np.abs(clf.coef_).max())


@pytest.mark.parametrize("make", [lambda: sp.csr_array((200, N_FEATURES)), lambda: np.ones((180, 1))])
def test_what_is_a_minimum_from_the_start_has_converged(make):
    X = make()
    clf = SoftmaxRegressionClassifier().fit(X, np.arange(X.shape[0]) % 4)
    assert clf.converged_
    assert clf.suboptimality_ < 1e-10


@pytest.mark.parametrize("path", [False, True], ids=["row space", "all features"])
@pytest.mark.parametrize("C", [1e3, 1e5])
def test_rows_that_are_fitted_well_are_in_float32_too(C, path, monkeypatch):
    """Beside one, what is left of their loss would be rounded away, but not from the gradient of other classes."""
    X, y = documents(n_samples=400)
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.05, (y + 1) % 4, y)
    best = SoftmaxRegressionClassifier(C, tol=1e-12).fit(X, y).objective_
    if path:
        monkeypatch.setattr(fitting, "suits_row_space", lambda *args: False)
    clf = SoftmaxRegressionClassifier(C).fit(X.astype(np.float32), y)
    exact = reference.Objective(X.toarray(), reference.one_hot(y), C)
    assert clf.converged_
    assert exact.loss(clf.coef_.astype(float), clf.intercept_.astype(float)) - best <= 1.5e-6


def test_an_exact_metric_of_the_head_minds_the_tail(in_row_space):
    """High-cardinality categories, and some flags."""
    rng = np.random.default_rng(0)
    n, p = 500, 5000
    flags, category = rng.integers(0, 2, (n, 3)), rng.integers(0, p - 3, n)
    effect = rng.standard_normal(p)
    y = (effect[category] + flags @ [1.0, -1.0, 0.5] + rng.logistic(size=n) > 0).astype(int)
    one_hot = sp.csr_array((np.ones(n), (np.arange(n), category)), (n, p - 3))
    X = sp.csr_array(sp.hstack([flags, one_hot]))
    clf = SoftmaxRegressionClassifier(100.0).fit(X, y)
    assert in_row_space == [True]
    assert clf.converged_
    assert clf.n_iter_ <= 30  # with the offset of the first point, 33
    assert np.count_nonzero(np.bincount(X.indices) >= 0.01 * n) == 3


@pytest.mark.parametrize(("dtype", "factor"), [(np.float64, 1e200), (np.float32, 1e30)])
def test_what_overflows_is_named(dtype, factor):
    X, y = documents(dtype=dtype)
    with pytest.raises(ValueError, match="size that can be squared in float"):
        SoftmaxRegressionClassifier().fit(X * dtype(factor), y)


def test_subnormal_values():
    X, y = documents(dtype=np.float32)
    clf = SoftmaxRegressionClassifier(C=1e38).fit(X * np.float32(1e-40), y)
    assert np.isfinite(clf.coef_).all()


def test_input_is_left_as_it_is():
    X, y = documents()
    before = X.copy()
    for name in ("data", "indices", "indptr"):
        getattr(X, name).flags.writeable = False
    SoftmaxRegressionClassifier(standardize=True).fit(X, y)
    assert_array_equal(X.toarray(), before.toarray())
