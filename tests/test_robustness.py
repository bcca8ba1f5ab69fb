"""Bad input gets a clear error, and an estimator that is already fitted keeps what it has."""

import contextlib
import io
import pickle
import sys

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from softmax_clf import MultiOutputSoftmaxClassifier, SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV

IRIS, SPECIES = load_iris(return_X_y=True)

# Other data than the estimator was fitted on: another width, other labels, so that any trace would show.
X = IRIS[:, :3]
Y = np.array(["a", "b", "c", "d"])[np.arange(150) % 4]


def with_value(array, value, index=(5, 1)):
    changed = np.array(array, dtype=np.result_type(array, type(value)))
    changed[index] = value
    return changed


def state(clf):
    """Every attribute that is not a parameter, as bytes."""
    return {name: pickle.dumps(value) for name, value in vars(clf).items() if name not in clf.get_params()}


@pytest.fixture
def fitted():
    return SoftmaxRegressionClassifier().fit(IRIS, SPECIES)


def bad(match, X=X, y=Y, error=ValueError, id=None, **fit_params):  # noqa: A002 - as pytest.param calls it
    return pytest.param(X, y, fit_params, error, match, id=id)


BAD_FITS = [
    bad("NaN", with_value(X, np.nan), id="nan"),
    bad("NaN", with_value(X.astype(np.float32), np.nan), id="nan-float32"),
    bad("infinity", with_value(X, np.inf), id="inf"),
    bad("infinity", with_value(X, -np.inf), id="minus-inf"),
    bad("infinity", with_value(X.astype(np.float32), np.inf), id="inf-float32"),
    bad("infinity", with_value(X, np.inf, (149, 2)), id="inf-in-the-last-place"),
    bad("0 sample", X[:0], Y[:0], id="no-rows"),
    bad("0 feature", X[:, :0], id="no-columns"),
    bad("1D array|1d array", X[:, 0], id="one-dimension"),
    bad("dim 3", X[None], Y[:1], id="three-dimensions"),
    bad("[Cc]omplex", X.astype(complex), id="complex"),
    bad("convert|numeric|dtype", np.full((150, 3), "x", dtype=object), id="text"),
    bad("class", y=np.zeros(150), id="one-class"),
    bad("class", X[:1], Y[:1], id="one-row"),
    bad("NaN", y=with_value(np.arange(150.0) % 3, np.nan, 7), id="y-nan"),
    bad("continuous|label type", y=X[:, 0] + 0.25, id="y-continuous"),
    bad("inconsistent|149", y=Y[:-1], id="y-too-short"),
    bad("sum one", y=2 * np.eye(3)[np.arange(150) % 3], id="y-no-probabilities"),
    bad("sum one", y=np.eye(3)[np.arange(150) % 3] - 0.5, id="y-negative-probabilities"),
    bad("y|None", y=None, id="y-none"),
    bad("sample_weight", sample_weight=np.ones(149), id="weights-too-short"),
    bad("1D|dim", sample_weight=np.ones((150, 2)), id="weights-two-dimensions"),
    bad("[Nn]egative|sample_weight", sample_weight=with_value(np.ones(150), -1.0, 3), id="weights-negative"),
    bad("zero|positive", sample_weight=np.zeros(150), id="weights-all-zero"),
    bad("NaN", sample_weight=with_value(np.ones(150), np.nan, 3), id="weights-nan"),
    bad("infinity", sample_weight=with_value(np.ones(150), np.inf, 3), id="weights-inf"),
    bad(r"coef_init.*\(4, 3\)", coef_init=np.zeros((3, 3)), id="coef-init-other-classes"),
    bad(r"coef_init.*\(4, 3\)", coef_init=np.zeros((4, 4)), id="coef-init-other-width"),
    bad("coef_init", coef_init=np.full((4, 3), np.nan), id="coef-init-nan"),
    bad(r"intercept_init.*\(4,\)", intercept_init=np.zeros(3), id="intercept-init-other-classes"),
    bad("intercept_init", intercept_init=np.full(4, np.inf), id="intercept-init-inf"),
]


@pytest.mark.parametrize(("X", "y", "fit_params", "error", "match"), BAD_FITS)
def test_bad_fit(fitted, X, y, fit_params, error, match):
    with pytest.raises(error, match=match):
        SoftmaxRegressionClassifier().fit(X, y, **fit_params)
    before = state(fitted)
    with pytest.raises(error, match=match):
        fitted.fit(X, y, **fit_params)
    assert state(fitted) == before
    assert fitted.score(IRIS, SPECIES) > 0.95


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("C", 0),
        ("C", -1.0),
        ("C", np.nan),
        ("C", "1"),
        ("C", None),
        ("tol", -1e-6),
        ("tol", np.nan),
        ("tol", None),
        ("max_iter", -1),
        ("max_iter", 10.5),
        ("fit_intercept", "yes"),
        ("class_weight", "unbalanced"),
        ("class_weight", [1.0, 2.0]),
        ("warm_start", "no"),
        ("n_jobs", 1.5),
        ("n_jobs", "all"),
        ("verbose", "loud"),
    ],
)
def test_bad_parameter(fitted, name, value):
    with pytest.raises((ValueError, TypeError), match=f"'{name}' parameter"):
        SoftmaxRegressionClassifier(**{name: value}).fit(IRIS, SPECIES)
    before = state(fitted)
    fitted.set_params(**{name: value})
    with pytest.raises((ValueError, TypeError), match=f"'{name}' parameter"):
        fitted.fit(X, Y)
    assert state(fitted) == before


def test_no_threads_at_all():
    with pytest.raises(ValueError, match="n_jobs"):
        SoftmaxRegressionClassifier(n_jobs=0).fit(IRIS, SPECIES)


def test_class_weight_of_an_unknown_class(fitted):
    before = state(fitted)
    fitted.set_params(class_weight={"a": 1.0, "e": 2.0})
    with pytest.raises(ValueError, match="e"):
        fitted.fit(X, Y)
    assert state(fitted) == before


def test_class_weights_that_leave_nothing(fitted):
    before = state(fitted)
    fitted.set_params(class_weight=dict.fromkeys("abcd", 0.0))
    with pytest.raises(ValueError, match=r"zero|positive"):
        fitted.fit(X, Y)
    assert state(fitted) == before


METHODS = ["predict", "predict_proba", "predict_log_proba", "decision_function"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("bad_X", "match"),
    [
        (IRIS[:, :3], "3 features.*4 features"),
        (np.hstack([IRIS, IRIS]), "8 features.*4 features"),
        (with_value(IRIS, np.nan), "NaN"),
        (with_value(IRIS.astype(np.float32), np.inf), "infinity"),
        (IRIS[:0], "0 sample"),
        (IRIS[0], "1D array|1d array"),
    ],
    ids=["narrow", "wide", "nan", "inf", "no-rows", "one-dimension"],
)
def test_bad_prediction(fitted, method, bad_X, match):
    before = state(fitted)
    with pytest.raises(ValueError, match=match):
        getattr(fitted, method)(bad_X)
    assert state(fitted) == before


@pytest.mark.parametrize("method", METHODS)
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="SoftmaxRegressionClassifier"):
        getattr(SoftmaxRegressionClassifier(), method)(IRIS)


@pytest.mark.parametrize(
    ("bad_X", "bad_y", "match"),
    [
        (IRIS, np.where(SPECIES == 2, 7, SPECIES), "7"),
        (IRIS, SPECIES.astype(str), "label|class"),
        (IRIS, SPECIES[:-1], "149|inconsistent"),
        (IRIS[:, :2], SPECIES, "2 features.*4 features"),
        (with_value(IRIS, np.nan), SPECIES, "NaN"),
        (IRIS, with_value(SPECIES.astype(float), np.nan, 0), "NaN|nan"),
    ],
    ids=["unknown-label", "text-labels", "short", "narrow", "nan", "nan-label"],
)
def test_bad_sample_loss(fitted, bad_X, bad_y, match):
    with pytest.raises(ValueError, match=match):
        fitted.sample_loss(bad_X, bad_y)


def test_sample_loss_not_fitted():
    with pytest.raises(NotFittedError, match="SoftmaxRegressionClassifier"):
        SoftmaxRegressionClassifier().sample_loss(IRIS, SPECIES)


@pytest.mark.parametrize("method", METHODS)
def test_scores_that_overflow(fitted, method):
    """Finite X times finite coefficients is not always finite."""
    fitted.coef_ = fitted.coef_ * 1e200
    with pytest.raises(ValueError, match=r"row|overflow|finite"):
        getattr(fitted, method)(with_value(IRIS, 1e200))


@pytest.mark.parametrize(
    ("dtype", "scale", "C"),
    [
        (np.float64, 1e200, 1.0),
        (np.float64, 1e100, 1e-200),
        (np.float64, 1e-100, 1e200),
        (np.float64, 1e-200, 1.0),
        (np.float32, 1e30, 1e-60),
        (np.float32, 1e-30, 1e60),
    ],
)
def test_features_of_extreme_size(fitted, dtype, scale, C):
    """Squares overflow or vanish: a fit that is right, or an error that says why; never NaN, never a guess."""
    X = (IRIS * scale).astype(dtype)
    before = state(fitted)
    try:
        fitted.set_params(C=C).fit(X, SPECIES)
    except ValueError as error:
        assert "X" in str(error)  # noqa: PT017 - one outcome of two
        assert state(fitted) == before
    else:
        assert np.isfinite(fitted.coef_).all()
        assert np.isfinite(fitted.objective_)
        assert np.isfinite(fitted.predict_proba(X)).all()


@pytest.mark.filterwarnings("ignore:2 of 6 fits stopped")  # rounding hides what they lack
def test_a_start_that_leads_nowhere_is_left():
    """Where features are far from zero, of little spread, rounding hides the way back from the mean of the folds."""
    rng = np.random.default_rng(1)
    X, y, weight = 2.3e11 + rng.standard_normal((31, 3)), rng.integers(4, size=31), rng.integers(0, 3, 31) * 1.0
    options = {"l1_ratios": [0.5], "cv": 2, "selection": "1se", "score_tol": 0.0}
    clf = SoftmaxRegressionClassifierCV([1e-6, 1.0, 100.0], **options).fit(X, y, weight)
    assert clf.objective_ <= np.log(4) * (1 + 1e-6)


@pytest.mark.parametrize("size", [1e299, 1e-290])
def test_weights_of_any_size_choose_C(size):
    weight = np.random.default_rng(0).uniform(0.1, 1, len(X))
    options = {"Cs": np.array([1e-2, 1.0]) / size, "cv": 3, "tol": 1e-9, "score_tol": 0.0}
    usual = SoftmaxRegressionClassifierCV(**{**options, "Cs": [1e-2, 1.0]}).fit(X, Y, weight)
    clf = SoftmaxRegressionClassifierCV(**options).fit(X, Y, size * weight)
    np.testing.assert_allclose(clf.scores_, usual.scores_, rtol=1e-6)
    assert SoftmaxRegressionClassifierCV(**{**options, "score_tol": 0.1}).fit(X, Y, size * weight).C_ == clf.C_


def test_sums_that_overflow_are_named():
    """What would be no number is an error that says what to do."""
    weight = np.full(len(IRIS), 1e299)
    with pytest.raises(ValueError, match="scale them down"):
        SoftmaxRegressionClassifier().partial_fit(1e10 * IRIS, SPECIES, sample_weight=weight)
    with pytest.raises(ValueError, match="as float64"):
        MultiOutputSoftmaxClassifier().fit((1e20 * IRIS).astype(np.float32), np.column_stack([SPECIES, SPECIES > 0]))


class Interrupt(io.TextIOBase):
    """A stream that behaves as if Ctrl-C were pressed at the moment of the n-th line."""

    def __init__(self, n_writes):
        self.n_writes = n_writes

    def write(self, text):
        self.n_writes -= 1
        if self.n_writes < 0:
            raise KeyboardInterrupt
        return len(text)


@pytest.mark.parametrize("n_writes", [0, 3])
def test_interrupted_fit_keeps_the_state(fitted, n_writes):
    before = state(fitted)
    fitted.set_params(verbose=2, tol=1e-12)
    stream = Interrupt(n_writes)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), pytest.raises(KeyboardInterrupt):
        fitted.fit(X, Y)
    assert state(fitted) == before
    fitted.set_params(verbose=0, tol=1e-6)
    assert fitted.fit(IRIS, SPECIES).score(IRIS, SPECIES) > 0.95
    assert sys.stdout is not stream


def test_a_good_fit_does_change_the_state(fitted):
    """What is compared above is not constant."""
    before = state(fitted)
    after = state(fitted.fit(X, Y))
    changed = {name for name in after if after[name] != before.get(name)}
    assert {"coef_", "intercept_", "classes_", "n_features_in_", "objective_", "loss_curve_"} <= changed


def test_input_is_left_as_it_is():
    rng = np.random.default_rng(0)
    X, y, sample_weight = IRIS.copy(), SPECIES.copy(), rng.uniform(size=150)
    coef_init, intercept_init = rng.standard_normal((3, 4)), rng.standard_normal(3)
    arrays = X, y, sample_weight, coef_init, intercept_init
    before = [array.copy() for array in arrays]
    clf = SoftmaxRegressionClassifier(class_weight="balanced")
    clf.fit(X, y, sample_weight, coef_init=coef_init, intercept_init=intercept_init)
    clf.predict_proba(X)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert not np.shares_memory(array, clf.coef_)
        assert not np.shares_memory(array, clf.intercept_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_what_offsets_have_in_common_takes_no_digits(n_classes, dtype):
    """It changes no probability: as part of the scores it would hide X, of a fit that says to have converged."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)).astype(dtype), np.arange(60) % n_classes
    offset = rng.integers(-2, 3, (60, n_classes)) * 1.0
    shifted = offset + np.where(y, 1e15, -1e15)[:, None]  # where whole numbers are exact
    usual = SoftmaxRegressionClassifier().fit(X, y, offset=offset)
    clf = SoftmaxRegressionClassifier().fit(X, y, offset=shifted)
    np.testing.assert_array_equal(clf.coef_, usual.coef_)
    proba = clf.predict_proba(X, offset=shifted)
    np.testing.assert_array_equal(proba, usual.predict_proba(X, offset=offset))
    assert np.isfinite(SoftmaxRegressionClassifier().fit(X, y, offset=np.full((60, n_classes), 1e300)).objective_)
