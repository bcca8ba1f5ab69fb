"""Fits without a row, by Newton's method from the fit with it, against fits without it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import reference
import softmax_clf.leave_one_out
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.inspection import influence, leave_one_out, leverage

IRIS, SPECIES = load_iris(return_X_y=True)
RNG = np.random.default_rng(0)
WEIGHT = RNG.choice([0.0, 0.5, 1.0, 3.0], 150)


def iris(n_classes=3, every=3):
    keep = np.flatnonzero(n_classes > (SPECIES if n_classes == 3 else SPECIES - 1))
    keep = keep[(SPECIES[keep] > 0) | (n_classes == 3)][::every]  # of two classes those that overlap
    return IRIS[keep], SPECIES[keep], WEIGHT[keep]


def objective_of(X, y, C, weight=None, fit_intercept=True, scale=1.0):
    return reference.Objective(X / scale, reference.one_hot(y), C, weight, fit_intercept=fit_intercept)


def steps(objective, point):
    """One Newton step without each row, by the Hessian without it, in full: (n_samples, n_vectors, n_columns)."""
    total, found = objective.sw_sum, []
    weight = np.ones(len(objective.X)) if objective.sample_weight is None else np.asarray(objective.sample_weight)
    for i in range(len(objective.X)):
        without = weight.copy()
        without[i] = 0
        # the penalty of the sum of the losses stays what it is
        less = reference.Objective(
            objective.X, objective.target, objective.C, without, fit_intercept=objective.fit_intercept
        )
        grad = less.grad(*objective.unpack(point)) * without.sum()
        hess = less.hess(*objective.unpack(point)) * without.sum()
        step = -np.linalg.lstsq(hess, grad.ravel(), rcond=1e-12)[0]
        found.append(step.reshape(point.shape))
    assert total > 0
    return np.array(found)


def log_proba_after(objective, point, moved):
    """Of each row after its own move."""
    found = [
        reference.log_softmax(objective.raw_prediction(*objective.unpack(point + moved[i])))[i]
        for i in range(len(moved))
    ]
    return np.array(found)


@pytest.mark.parametrize("C", [0.1, 10.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_step_is_newtons(n_classes, fit_intercept, weighted, C):
    X, y, weight = iris(n_classes)
    weight = weight if weighted else None
    clf = SoftmaxRegressionClassifier(C, fit_intercept=fit_intercept, tol=1e-12).fit(X, y, weight)
    objective = objective_of(X, y, C, weight, fit_intercept)
    point = objective.pack(*reference.minimise(objective)[:2])
    found = leave_one_out(clf, X, y, sample_weight=weight, max_refined=0)
    moved = steps(objective, point)
    assert_allclose(found.log_proba, log_proba_after(objective, point, moved), rtol=1e-6, atol=1e-8)
    assert_array_equal(found.n_steps, 1)

    s = np.ones(len(y)) if weight is None else weight
    A = np.array([np.diag(p) - np.outer(p, p) for p in objective.proba(*objective.unpack(point))])
    inverse = np.linalg.pinv(objective.hess(*objective.unpack(point)) * s.sum(), rcond=1e-12)
    k = objective.n_vectors
    expected = [
        s[i] * np.trace(A[i, -k:, -k:] @ (np.kron(np.eye(k), z) @ inverse @ np.kron(np.eye(k), z).T))
        for i, z in enumerate(objective.design)
    ]
    assert_allclose(found.leverage, expected, rtol=1e-5, atol=1e-9)
    assert_allclose(leverage(clf, X, y, sample_weight=weight), found.leverage, rtol=1e-12)

    X_test, y_test = IRIS[np.isin(SPECIES, y)][1::9], SPECIES[np.isin(SPECIES, y)][1::9]
    test = objective_of(X_test, y_test, C, fit_intercept=fit_intercept)

    def losses(point):
        return reference.sample_loss(test.raw_prediction(*test.unpack(point)), test.target)

    expected = [losses(point + moved[i]) - losses(point) for i in range(len(y))]
    found = influence(clf, X, y, X_test, y_test, sample_weight=weight)
    assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("case", ["plain", "weighted", "standardize", "no_intercept", "no_penalty"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_refined_rows_are_those_of_fits_without_them(n_classes, case, monkeypatch):
    monkeypatch.setattr(softmax_clf.inspection.removal, "_NEAR", 0.0)
    X, y, weight = iris(n_classes, every=5)
    if case == "no_penalty":
        X, y, weight = iris(n_classes, every=2)
        X, y = X[:, :2], np.where(RNG.random(len(y)) < 0.2, y[::-1], y)  # that no label is certain
    weight = weight if case == "weighted" else None
    C, fit_intercept = np.inf if case == "no_penalty" else 20.0, case != "no_intercept"
    options = {"fit_intercept": fit_intercept, "standardize": case == "standardize"}
    scale = X.std(axis=0) if case == "standardize" else 1.0
    clf = SoftmaxRegressionClassifier(C, tol=1e-12, **options).fit(X, y, weight)
    found = leave_one_out(clf, X, y, sample_weight=weight, max_refined=1000, max_steps=20, tol=1e-7)
    assert (found.vouched & (found.n_steps > 1)).sum() > 5
    one_step = leave_one_out(clf, X, y, sample_weight=weight, max_refined=0)
    off = []
    for i in np.flatnonzero(found.vouched)[::3]:
        less = np.delete(np.arange(len(y)), i)
        objective = objective_of(X[less], y[less], C, None if weight is None else weight[less], fit_intercept, scale)
        coef, intercept, _ = reference.minimise(objective)
        own = reference.Objective(X[[i]] / scale, np.ones((1, n_classes)), fit_intercept=fit_intercept)
        expected = reference.log_softmax(own.raw_prediction(coef, intercept))[0]
        assert_allclose(found.log_proba[i], expected, rtol=1e-5, atol=1e-6)
        off.append(np.abs(one_step.log_proba[i] - expected).max())
    assert max(off) > 1e-3  # it makes a difference


DIGITS, NUMBERS = load_digits(return_X_y=True)
DIGITS = StandardScaler().fit_transform(DIGITS)


@pytest.mark.parametrize(("C", "expected"), [(0.3, 0.111254), (1.0, 0.099367), (1.0606, 0.0993466), (3.0, 0.106189)])
def test_published_figures(C, expected):
    """bbai's of the digits; at 1.0606 it finds the best C."""
    clf = SoftmaxRegressionClassifier(C, tol=1e-12).fit(DIGITS, NUMBERS)
    found = leave_one_out(clf, DIGITS, NUMBERS, max_refined=0)
    loss = -found.log_proba[np.arange(len(NUMBERS)), NUMBERS]
    assert loss.mean() == pytest.approx(expected, rel=1e-5)
    if C == 1.0606:
        assert loss[1264] == pytest.approx(5.368, abs=1e-3)
        assert not found.vouched[1264]
        refined = leave_one_out(clf, DIGITS, NUMBERS, max_refined=10)
        assert refined.vouched[refined.n_steps > 1].all()
        assert -refined.log_proba[1264, NUMBERS[1264]] == pytest.approx(7.055, abs=1e-3)
        few = leave_one_out(clf, DIGITS, NUMBERS, max_refined=10, max_steps=2)
        assert -few.log_proba[1264, NUMBERS[1264]] == pytest.approx(7.055, rel=0.02)


@pytest.mark.parametrize("kind", ["csr", "fortran", "memmap", "float32", "uint8", "read-only"])
def test_of_data_where_they_lie(kind, tmp_path):
    X, y, weight = iris()
    if kind == "uint8":
        X = np.round(10 * X)
    expected = SoftmaxRegressionClassifier(tol=1e-12).fit(X, y, weight)
    expected = [
        leave_one_out(expected, X, y, sample_weight=weight),
        influence(expected, X, y, X[:5], y[:5], sample_weight=weight),
    ]
    if kind == "memmap":
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    elif kind == "read-only":
        X.flags.writeable = False
    else:
        make = {"csr": csr_array, "fortran": np.asfortranarray, "float32": np.float32, "uint8": np.uint8}[kind]
        X = make(X)
    clf = SoftmaxRegressionClassifier(tol=1e-6 if kind in ("float32", "uint8") else 1e-12).fit(X, y, weight)
    found = leave_one_out(clf, X, y, sample_weight=weight)
    assert_allclose(found.log_proba, expected[0].log_proba, rtol=0.01, atol=1e-4)
    assert_allclose(found.leverage, expected[0].leverage, rtol=0.03, atol=1e-6)
    effect = influence(clf, X, y, X[:5], y[:5], sample_weight=weight)
    assert_allclose(effect, expected[1], rtol=0.02, atol=1e-5)


def test_of_pipelines_searches_and_choices_of_C():
    X, y, _ = iris()
    scaled = StandardScaler().fit_transform(X)
    expected = leave_one_out(SoftmaxRegressionClassifier(0.5, tol=1e-12).fit(scaled, y), scaled, y)
    for clf in (
        make_pipeline(StandardScaler(), SoftmaxRegressionClassifier(0.5, tol=1e-10)).fit(X, y),
        make_pipeline(StandardScaler(), SoftmaxRegressionClassifierCV([0.5], cv=2, tol=1e-10)).fit(X, y),
        GridSearchCV(make_pipeline(StandardScaler(), SoftmaxRegressionClassifier(0.5, tol=1e-10)), {}, cv=2).fit(X, y),
        SoftmaxRegressionClassifier(0.5, standardize=True, tol=1e-10).fit(X, y),
    ):
        found = leave_one_out(clf, X, y)
        assert_allclose(found.log_proba, expected.log_proba, atol=1e-5)
        assert_allclose(leverage(clf, X, y), expected.leverage, rtol=1e-4)
        assert_allclose(influence(clf, X, y, X, y).diagonal(), influence(clf, X, y, X, y)[range(50), range(50)])


def test_balanced_classes_target_probabilities_and_names():
    X, y, _ = iris()
    y = np.where(y == 2, 1, y)
    names = np.array(["a", "b"])[y]
    clf = SoftmaxRegressionClassifier(class_weight="balanced").fit(X, names)
    weight = reference.row_weights(y, class_weight="balanced")
    alike = SoftmaxRegressionClassifier().fit(X, reference.one_hot(y), weight)
    found, expected = leave_one_out(clf, X, names), leave_one_out(alike, X, reference.one_hot(y), sample_weight=weight)
    assert_allclose(found.log_proba, expected.log_proba, atol=1e-5)


def test_results_do_not_depend_on_threads():
    clf = SoftmaxRegressionClassifier(n_jobs=1).fit(DIGITS[:300], NUMBERS[:300])
    one = leave_one_out(clf, DIGITS[:300], NUMBERS[:300], max_refined=5)
    many = leave_one_out(clf.set_params(n_jobs=3), DIGITS[:300], NUMBERS[:300], max_refined=5)
    assert_array_equal(one.log_proba, many.log_proba)


def test_a_row_that_is_the_only_one_of_its_class_is_not_vouched_for():
    X, y, _ = iris()
    y = y.copy()
    y[7] = 3
    found = leave_one_out(SoftmaxRegressionClassifier().fit(X, y), X, y)
    assert not found.vouched[7]
    assert np.isfinite(found.log_proba).all()


def test_what_is_wrong_is_said(monkeypatch):
    X, y, weight = iris()
    clf = SoftmaxRegressionClassifier().fit(X, y)
    with pytest.raises(ValueError, match=r"optimum for these rows.*Remedy"):
        leverage(clf, X[::2], y[::2])
    with pytest.raises(ValueError, match=r"optimum for these rows.*Remedy"):
        leave_one_out(clf, X, y, sample_weight=weight)
    with pytest.raises(ValueError, match=r"L2 penalty or none.*Remedy"):
        leverage(SoftmaxRegressionClassifier(l1_ratio=0.5).fit(X, y), X, y)
    with pytest.raises(TypeError, match=r"LogisticRegression.*Remedy"):
        leverage(LogisticRegression(max_iter=1000).fit(X, y), X, y)
    with pytest.raises(ValueError, match=r"classes.*Remedy"):
        influence(clf, X, y, X[:2], [0, 7])
    for options in ({"max_refined": -1}, {"max_steps": 0}, {"tol": -1}, {"max_refined": 2.5}):
        with pytest.raises(ValueError, match=r"Expected {}.*Remedy".format(*options)):
            leave_one_out(clf, X, y, **options)
    free = SoftmaxRegressionClassifier(np.inf, fit_intercept=False).fit(X, y)
    doubled = np.hstack([X, X])
    free.coef_, free.n_features_in_ = np.hstack([free.coef_, 0 * free.coef_]), 8
    with pytest.raises(ValueError, match=r"Hessian that has an inverse.*Remedy"):
        leverage(free, doubled, y)
    monkeypatch.setattr(softmax_clf.leave_one_out, "HESSIAN_BYTES", 1000)
    with pytest.raises(ValueError, match=r"at most 0 MB.*3 x 5 .*Remedy"):
        leverage(clf, X, y)
