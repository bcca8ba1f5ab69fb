"""Arrays most of whose values are those of all rows: passes over what differs, the same results."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from test_hessian_products import deviations

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.metrics.curvature import Curvature
from softmax_clf.metrics.plan import BLOCKS, KRONECKER
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.penalty import ElasticNet
from softmax_clf.sources import arrays
from softmax_clf.sources import deviations as module
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.deviations import DeviationsSource, with_deviations
from softmax_clf.sources.sparse import CsrSource


def levels(n_samples=3000, n_features=60, n_classes=3, seed=0):
    """One-hot columns of five features, levels of them being rare, and labels that depend on them."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, n_features // 5 + 1)
    places = [rng.choice(len(share), n_samples, p=share / share.sum()) + q * len(share) for q in range(5)]
    X = np.zeros((n_samples, n_features))
    X[np.arange(n_samples)[:, None], np.transpose(places)] = 1.0
    scores = X @ rng.standard_normal((n_features, n_classes)) + rng.gumbel(size=(n_samples, n_classes))
    return X, scores.argmax(axis=1)


LEVELS, LABELS = levels()
STANDARDISED = (LEVELS - LEVELS.mean(axis=0)) / np.maximum(LEVELS.std(axis=0), 1e-3)
EVERYWHERE = pytest.mark.parametrize("X", [LEVELS, STANDARDISED, 50 - 3 * LEVELS], ids=["0/1", "standardised", "50/47"])


@pytest.fixture
def small(monkeypatch):
    """Let arrays of any size be looked at."""
    monkeypatch.setattr(module, "_LEAST_VALUES", 1)


def as_array(monkeypatch):
    monkeypatch.setattr(module, "_LEAST_VALUES", np.inf)


@EVERYWHERE
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8, np.int16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_differs(small, monkeypatch, X, dtype, order):
    monkeypatch.setattr(module, "_BLOCK_VALUES", 5000)
    monkeypatch.setattr(module, "_BYTES_A_DEVIATION", 5)
    X = np.asarray(X * (dtype in (np.uint8, np.int16)) if X is STANDARDISED else X).astype(dtype, order=order)
    source = with_deviations(ArraySource(X), 2)
    assert isinstance(source, DeviationsSource)
    assert source.dtype == (np.float64 if dtype == np.float64 else np.float32)
    exact = X.astype(source.dtype)
    assert_array_equal(source.deviations.X.toarray(), exact - source.usual)
    assert source.deviations.X.nnz == np.count_nonzero(exact != source.usual)
    rows = np.array([0, 3, 2999])
    assert_array_equal(source.take(rows), exact[rows])
    assert_array_equal(source.select(rows).take(np.arange(3)), exact[rows])
    for n_threads in (1, 3):
        other = module._deviations(X, source.usual.astype(dtype), source.dtype, X.size, n_threads).X
        assert_array_equal(other.toarray(), source.deviations.X.toarray())


def test_what_stays_as_it_is(small):
    rng = np.random.default_rng(0)
    dense, half = rng.standard_normal((300, 20)), LEVELS * (np.arange(60) < 30) + rng.random((3000, 60)).round()
    huge = np.where(LEVELS > 0, 1e308, -1e308)  # whose difference is no number
    late = np.zeros((3000, 20))
    late[np.arange(3000) % 93 > 0] = rng.standard_normal(20)  # which the rows that are looked at do not have
    late[1:, ::2] += rng.random((2999, 10)) * (np.arange(1, 3000) % 93 > 0)[:, None]
    for X in (dense, half, huge, late):
        source = ArraySource(X)
        assert with_deviations(source, 1) is source
    for source in (CsrSource(sp.csr_array(LEVELS)), deviations(LEVELS)):
        assert with_deviations(source, 1) is source


def test_without_memory_for_what_differs_arrays_stay_as_they_are(small, monkeypatch):
    source = ArraySource(LEVELS)
    monkeypatch.setattr(module, "csr_array", lambda *args, **kwargs: np.empty(1 << 50))
    with pytest.raises(MemoryError):
        module._deviations(LEVELS, np.zeros(60), np.float64, LEVELS.size, 1)
    assert with_deviations(source, 1) is source


def test_small_arrays_stay_as_they_are():
    source = ArraySource(LEVELS[:1000])
    assert with_deviations(source, 1) is source
    assert isinstance(with_deviations(ArraySource(np.tile(LEVELS, (1, 3))), 1), DeviationsSource)


@EVERYWHERE
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", [BLOCKS, KRONECKER])
@pytest.mark.parametrize("scale", [None, np.linspace(0.5, 2, 60)])
def test_metrics_are_those_of_the_array(X, fit_intercept, kind, scale):
    rng, steps = np.random.default_rng(0), []
    weight, point = rng.random(3000), 0.1 * rng.standard_normal((3, 60 + fit_intercept))
    usual = np.median(X, axis=0)
    for source in (ArraySource(X), DeviationsSource(X, usual, CsrSource(sp.csr_array(X - usual)))):
        penalty = ElasticNet(1e-3, 0.0)
        options = {"sample_weight": weight, "fit_intercept": fit_intercept, "n_threads": 2, "scale": scale}
        objective = SoftmaxObjective(source, LABELS, 3, elastic_net=penalty, **options)
        curvature = Curvature.from_objective(objective)
        is_about_zero = fit_intercept or not usual.any()
        assert (curvature.gram_products is not None) == (isinstance(source, DeviationsSource) and is_about_zero)
        metric = (
            curvature._kronecker(
                curvature.sample.panels(point, *curvature.sample.draw(3000), curvature.gram_products is not None),
                60,
                3000,
            )
            if kind == KRONECKER
            else curvature._blocks(point, *curvature.sample.draw(3000))
        )
        _, grad = objective.evaluate(point)
        steps.append(metric.solve_all(grad[None])[0])
    assert_allclose(steps[1], steps[0], rtol=1e-5, atol=1e-7)  # one matrix for all classes is applied in float32


PARAMETERS = [
    {},
    {"C": 100.0, "standardize": True},
    {"fit_intercept": False},
    {"C": 0.1, "l1_ratio": 1.0},
    {"l1_ratio": 0.5, "standardize": True},
    {"class_weight": "balanced", "penalty_factor": np.linspace(0, 2, 60)},
    {"coef_bounds": (-0.2, 0.2)},
    {"C": np.inf, "early_stopping": True, "validation_fraction": 0.2, "random_state": 0},
]


@EVERYWHERE
@pytest.mark.parametrize("parameters", PARAMETERS, ids=lambda given: ", ".join(given) or "default")
def test_fits_are_those_of_the_array(small, monkeypatch, X, parameters):
    weight, made = np.random.default_rng(0).random(3000), []
    monkeypatch.setattr(DeviationsSource, "passes", lambda self, *sizes: made.append(sizes) or PASSES(self, *sizes))
    fits = []
    for _ in range(2):
        fits.append(SoftmaxRegressionClassifier(tol=1e-7, **parameters).fit(X, LABELS, weight))
        assert made
        as_array(monkeypatch)
    one, other = fits
    assert one.converged_ == other.converged_
    if "early_stopping" in parameters:  # which stops at points on the way
        assert_allclose(min(one.validation_loss_curve_), min(other.validation_loss_curve_), rtol=0.02)
        return
    assert abs(one.objective_ - other.objective_) <= 2e-7 * other.loss_curve_[0]
    assert_allclose(one.predict_proba(X[:200]), other.predict_proba(X[:200]), rtol=1e-3, atol=3e-3)


PASSES = DeviationsSource.passes


@EVERYWHERE
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_choice_of_C_is_that_of_the_array(small, monkeypatch, X, dtype):
    monkeypatch.setattr(module, "_BYTES_A_DEVIATION", 20)
    X, fits = X.astype(dtype), []
    for _ in range(2):
        cv = SoftmaxRegressionClassifierCV(Cs=[0.01, 1, 100], cv=3, store_oof_proba=True, score_tol=0.0)
        fits.append(cv.fit(X, LABELS))
        as_array(monkeypatch)
    one, other = fits
    assert one.C_ == other.C_
    assert_allclose(one.scores_, other.scores_, rtol=3e-3)
    assert_allclose(one.oof_proba_, other.oof_proba_, atol=5e-3)
    loo = [SoftmaxRegressionClassifierCV(Cs=[0.01, 1, 100], cv="loo").fit(X, LABELS)]
    monkeypatch.setattr(module, "_LEAST_VALUES", 1)
    loo.append(SoftmaxRegressionClassifierCV(Cs=[0.01, 1, 100], cv="loo").fit(X, LABELS))
    assert_allclose(loo[0].scores_, loo[1].scores_, rtol=1e-3)


@EVERYWHERE
def test_validation_rows_and_a_warm_start(small, X):
    clf = SoftmaxRegressionClassifier(early_stopping=True, tol=1e-9, n_iter_no_change=100)
    clf.fit(X[:2000], LABELS[:2000], X_val=X[2000:], y_val=LABELS[2000:])
    loss = -np.mean(clf.predict_log_proba(X[2000:])[np.arange(1000), LABELS[2000:]])
    assert_allclose(min(clf.validation_loss_curve_), loss, rtol=1e-6)
    again = SoftmaxRegressionClassifier(warm_start=True).fit(X, LABELS)
    assert again.fit(X, LABELS).n_iter_ <= 1


def test_rows_of_more_than_a_slice(small, monkeypatch):
    monkeypatch.setattr(arrays, "_SLICE_BYTES", 1 << 17)
    source = with_deviations(ArraySource(LEVELS), 1)
    passes = source.passes(1, 3, 1)
    assert ArraySource(LEVELS).slice_rows < passes.n_rows == len(LEVELS)
    fits = [SoftmaxRegressionClassifier(tol=1e-7).fit(X, LABELS).coef_ for X in (LEVELS, sp.csr_array(LEVELS))]
    assert_allclose(*fits, atol=2e-3)


def test_bits_do_not_depend_on_threads(small):
    fits = [SoftmaxRegressionClassifier(n_jobs=n).fit(STANDARDISED, LABELS).coef_ for n in (1, 2, 3)]
    assert_array_equal(fits[0], fits[1])
    assert_array_equal(fits[0], fits[2])
