"""The elastic net: zeros that are exact, the optimum by its conditions, and the classifier around it."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from ways import ways

import problems
import reference
import softmax_clf.fitting
import softmax_clf.metrics.quadratic
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.kernels.lasso import GramBlock
from softmax_clf.solvers.nonsmooth import SeparableL1, violation
from softmax_clf.solvers.proximal import QuadraticMetric, _Model, _Pairs, shift_of_least_penalty

CS = np.logspace(-2, 1, 4)


@parametrize_with_checks(
    [
        SoftmaxRegressionClassifier(l1_ratio=0.5),
        SoftmaxRegressionClassifierCV([0.1, 1.0], cv=2, l1_ratios=[0.0, 0.5]),
    ]
)
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


def small(n_classes=3, n_samples=150, n_features=8, seed=0):
    """Correlated features, most of them of no use."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features)) @ (np.eye(n_features) + 0.3) + rng.standard_normal(n_features)
    coef = 1.5 * rng.standard_normal((n_classes, n_features)) * (np.arange(n_features) < 3)
    y = np.argmax(X @ coef.T + rng.gumbel(size=(n_samples, n_classes)), axis=1)
    y[:n_classes] = np.arange(n_classes)
    return X.astype(np.float32).astype(np.float64), y


class Slices:
    """Rows that can only be read in slices."""

    def __init__(self, X):
        self.X, self.shape, self.dtype, self.ndim = X, X.shape, X.dtype, 2

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        return self.X[rows]


CONTAINERS = {"C": np.ascontiguousarray, "F": np.asfortranarray, "CSR": csr_array, "slices": Slices}


@pytest.mark.parametrize(
    ("container", "dtype", "n_classes", "weighted", "with_offset", "soft"),
    [
        *ways(
            container=["C", "CSR"],
            dtype=[np.float32, np.float64],
            n_classes=[2, 5],
            weighted=[False, True],
            with_offset=[False, True],
            soft=[False, True],
        ),
        ("F", np.float32, 3, True, True, False),
        ("slices", np.float64, 3, False, False, False),
    ],
)
@settings(max_examples=4)
@given(
    C=st.sampled_from([0.01, 0.1, 1.0, 10.0]),
    l1_ratio=st.sampled_from([0.1, 0.5, 1.0]),
    balanced=st.booleans(),
    fit_intercept=st.booleans(),
)
def test_conditions_of_the_optimum(
    n_classes, container, dtype, C, l1_ratio, weighted, balanced, fit_intercept, with_offset, soft
):
    X, y = small(n_classes)
    rng = np.random.default_rng(1)
    sample_weight = rng.exponential(size=len(y)) + 0.1 if weighted else None
    offset = rng.standard_normal((len(y), n_classes)) if with_offset else None
    target = reference.one_hot(y)
    if soft:
        target = (0.9 * target + 0.1 / n_classes).astype(dtype).astype(np.float64)
    balanced = balanced and not soft
    clf = SoftmaxRegressionClassifier(
        C,
        l1_ratio=l1_ratio,
        fit_intercept=fit_intercept,
        class_weight="balanced" if balanced else None,
        tol=1e-12 if dtype == np.float64 else 1e-7,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rounding may hide the last digit
        clf.fit(CONTAINERS[container](X.astype(dtype)), target if soft else y, sample_weight, offset=offset)
    weight = reference.row_weights(y, sample_weight, "balanced" if balanced else None)
    objective = reference.Objective(X, target, C, weight, fit_intercept, offset, l1_ratio)
    digits = 1e-4 if dtype == np.float64 else 0.05
    subgradient = objective.subgradient(clf.coef_, clf.intercept_)
    assert np.abs(subgradient).max() <= digits * max(objective.l1_reg_strength, 0.01)
    assert clf.coef_.dtype == dtype
    assert clf.objective_ == pytest.approx(objective.loss(clf.coef_, clf.intercept_), abs=1e-6)


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_standardised_features(n_classes, l1_ratio):
    X, y = small(n_classes)
    X = np.hstack([X * np.logspace(-3, 3, X.shape[1]), np.ones((len(X), 1))])
    clf = SoftmaxRegressionClassifier(0.1, l1_ratio=l1_ratio, standardize=True, tol=1e-11).fit(X, y)
    by_hand = SoftmaxRegressionClassifier(0.1, l1_ratio=l1_ratio, tol=1e-11).fit(StandardScaler().fit_transform(X), y)
    assert (clf.coef_[:, -1] == 0).all()
    np.testing.assert_array_equal(clf.coef_ == 0, by_hand.coef_ == 0)
    np.testing.assert_allclose(clf.coef_[:, :-1] * X[:, :-1].std(axis=0), by_hand.coef_[:, :-1], atol=1e-4)
    assert clf.objective_ == pytest.approx(by_hand.objective_, abs=1e-9)


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_never_worse_than_saga(name, l1_ratio, fit_intercept):
    problem = problems.load(name)
    X = StandardScaler().fit_transform(problem.X)
    for C in (0.05, 1.0):
        clf = SoftmaxRegressionClassifier(C, l1_ratio=l1_ratio, fit_intercept=fit_intercept, tol=1e-9)
        clf.fit(X, problem.y)
        peer = LogisticRegression(
            C=C, l1_ratio=l1_ratio, fit_intercept=fit_intercept, solver="saga", tol=1e-7, max_iter=2000, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer.fit(X, problem.y)
        target = reference.one_hot(problem.y)
        objective = reference.Objective(X, target, C, fit_intercept=fit_intercept, l1_ratio=l1_ratio)
        ours, theirs = (objective.loss(c.coef_, c.intercept_ * np.ones(objective.n_vectors)) for c in (clf, peer))
        assert ours <= theirs + 1e-9
        assert theirs - ours < 1e-3  # the same problem


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("name", problems.NAMES)
def test_suboptimality_is_not_too_small(name, l1_ratio):
    """On raw features, of any scale; the minimum is that of a fit to more digits."""
    problem = problems.load(name)
    for C in (0.01, 1.0):
        clf = SoftmaxRegressionClassifier(C, l1_ratio=l1_ratio).fit(problem.X, problem.y)
        assert clf.converged_
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            best = clone(clf).set_params(tol=1e-9).fit(problem.X, problem.y)
        gap = clf.objective_ - best.objective_
        assert gap <= clf.suboptimality_ + 1e-12
        assert clf.suboptimality_ <= 1e-6 * np.log(30)
        objective = reference.Objective(problem.X, reference.one_hot(problem.y), C, l1_ratio=l1_ratio)
        assert clf.objective_ == pytest.approx(objective.loss(clf.coef_, clf.intercept_), abs=1e-9)


@pytest.fixture
def by_models_alone(monkeypatch):
    """No working sets before."""
    monkeypatch.setattr(softmax_clf.fitting, "suits_columns", lambda *args: False)


@pytest.mark.usefixtures("by_models_alone")
def test_few_passes_on_raw_features():
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifier(l1_ratio=1.0).fit(problem.X, problem.y)
    assert clf.converged_
    assert clf.n_iter_ <= 80
    assert 0.3 < (clf.coef_ == 0).mean() < 0.8


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_strong_penalty_leaves_the_frequencies(n_classes, weighted):
    X, y = small(n_classes)
    weight = np.linspace(0.5, 1.5, len(y)) if weighted else None
    clf = SoftmaxRegressionClassifier(1e-4, l1_ratio=1.0, tol=1e-12).fit(X, y, weight)
    assert (clf.coef_ == 0).all()
    frequency = np.bincount(y, weight) / (len(y) if weight is None else weight.sum())
    np.testing.assert_allclose(clf.predict_proba(X[:2]), [frequency, frequency], atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_that_are_a_power_of_two_change_no_bit(dtype):
    X, y = small()
    clf = SoftmaxRegressionClassifier(0.1, l1_ratio=1.0).fit(X.astype(dtype), y)
    for unit in (2.0**10, 2.0**-40):
        scaled = SoftmaxRegressionClassifier(0.1 / unit, l1_ratio=1.0).fit((X * unit).astype(dtype), y)
        np.testing.assert_allclose(scaled.coef_ * dtype(unit), clf.coef_, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(scaled.coef_ == 0, clf.coef_ == 0)
        if dtype == np.float64:
            np.testing.assert_array_equal(scaled.coef_ * unit, clf.coef_)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["iris", "digits"])
def test_the_bits_do_not_depend_on_threads(name, l1_ratio):
    problem = problems.load(name)
    one, two = (SoftmaxRegressionClassifier(0.1, l1_ratio=l1_ratio, n_jobs=n).fit(problem.X, problem.y) for n in (1, 2))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_array_equal(one.intercept_, two.intercept_)


@pytest.mark.usefixtures("by_models_alone")
@pytest.mark.parametrize("C", [0.1, 1.0])
def test_a_shift_of_all_classes_helps_no_more(C):
    """The cross-entropy does not change with it, so that a solver may be slow to find it."""
    problem = problems.load("badly_scaled")
    clf = SoftmaxRegressionClassifier(C, l1_ratio=1.0, tol=1e-9).fit(problem.X, problem.y)
    assert clf.n_iter_ <= 25
    assert (np.count_nonzero(clf.coef_ > 0, axis=0) <= 2).all()
    assert (np.count_nonzero(clf.coef_ < 0, axis=0) <= 2).all()
    np.testing.assert_allclose(clf.intercept_.mean(), 0, atol=1e-9)


def test_no_penalty_whatever_the_ratio():
    problem = problems.load("iris")
    clf, plain = (SoftmaxRegressionClassifier(np.inf, l1_ratio=r).fit(problem.X, problem.y) for r in (1.0, 0.0))
    np.testing.assert_array_equal(clf.coef_, plain.coef_)


def wide(n_features, sparse, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, n_features)) * (rng.uniform(size=(200, n_features)) < (0.05 if sparse else 1.0))
    y = np.argmax(X[:, :3] + 0.3 * rng.gumbel(size=(200, 3)), axis=1)
    return X.astype(dtype), y


@pytest.mark.parametrize("limit", [60, 2500])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_more_features_than_a_model_knows(n_classes, sparse, limit, monkeypatch):
    """It knows those that matter, and others when they do; or, where these are too many, some of them in turn."""
    monkeypatch.setattr(softmax_clf.metrics.quadratic, "_MAX_FEATURES", limit)
    monkeypatch.setattr(softmax_clf.metrics.quadratic, "_LEAST_FEATURES", 40)
    X, y = wide(5000, sparse)
    y = np.minimum(y, n_classes - 1)
    clf = SoftmaxRegressionClassifier(0.3, l1_ratio=1.0, tol=1e-8).fit(csr_array(X) if sparse else X, y)
    assert clf.converged_
    assert clf.n_iter_ <= 100
    objective = reference.Objective(X, reference.one_hot(y), 0.3, l1_ratio=1.0)
    subgradient = objective.subgradient(clf.coef_, clf.intercept_)
    assert np.abs(subgradient).max() <= 0.05 * objective.l1_reg_strength
    assert 30 <= np.count_nonzero(clf.coef_.any(axis=0)) <= 150


def test_warm_start():
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifier(0.1, l1_ratio=0.9, warm_start=True, max_iter=1000).fit(problem.X, problem.y)
    n_iter, objective = clf.n_iter_, clf.objective_
    clf.fit(problem.X, problem.y)
    assert clf.n_iter_ < n_iter / 4
    assert clf.objective_ <= objective + 1e-12


def test_early_stopping():
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifier(100.0, l1_ratio=1.0, early_stopping=True, random_state=0, n_iter_no_change=2)
    clf.fit(problem.X, problem.y)
    assert len(clf.validation_loss_curve_) == clf.n_iter_ + 1
    assert not clf.converged_
    assert min(clf.validation_loss_curve_) < 0.5


def test_too_few_iterations():
    problem = problems.load("digits")
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        clf = SoftmaxRegressionClassifier(l1_ratio=1.0, max_iter=3).fit(problem.X, problem.y)
    assert len(clf.loss_curve_) == 4
    assert (np.diff(clf.loss_curve_) <= 0).all()


def test_sparsify():
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifier(0.01, l1_ratio=1.0).fit(problem.X, problem.y)
    proba = clf.predict_proba(problem.X)
    assert clf.sparsify().coef_.nnz < 0.5 * clf.densify().coef_.size
    np.testing.assert_allclose(clf.sparsify().predict_proba(problem.X), proba)


@pytest.mark.parametrize("l1_ratio", [-0.1, 1.1])
def test_ratios_out_of_range(l1_ratio):
    X, y = small()
    with pytest.raises(ValueError, match="l1_ratio"):
        SoftmaxRegressionClassifier(l1_ratio=l1_ratio).fit(X, y)
    with pytest.raises(ValueError, match=r"l1_ratios.*from 0 to 1.*Remedy"):
        SoftmaxRegressionClassifierCV(l1_ratios=[l1_ratio]).fit(X, y)


def test_no_stream_of_batches():
    X, y = small()
    clf = SoftmaxRegressionClassifier(l1_ratio=0.5)
    assert not hasattr(clf, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit") as raised:
        clf.partial_fit(X, y, classes=[0, 1, 2])
    assert "Expected l1_ratio=0" in str(raised.value.__cause__)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16])
def test_narrow_dtypes(dtype):
    """Digits are small integers: exact in all of them."""
    problem = problems.load("digits")
    clf = SoftmaxRegressionClassifier(0.1, l1_ratio=1.0).fit(problem.X.astype(np.float32), problem.y)
    same = SoftmaxRegressionClassifier(0.1, l1_ratio=1.0).fit(problem.X.astype(dtype), problem.y)
    assert same.coef_.dtype == np.float32
    np.testing.assert_array_equal(same.coef_, clf.coef_)


def test_a_failed_fit_leaves_the_fitted_one():
    X, y = small()
    clf = SoftmaxRegressionClassifier(l1_ratio=0.5).fit(X, y)
    coef = clf.coef_
    with pytest.raises(ValueError, match="Remedy"):
        clf.fit(np.full_like(X, 1e300) * (1 + y[:, None]), y)
    assert clf.coef_ is coef


def test_a_penalty_that_is_next_to_none_beside_small_features():
    """The norm of what minimises the objective has no bound that is a number, and zero times that is zero."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    y = X[:, 0] > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = SoftmaxRegressionClassifier(1e306, l1_ratio=0.01).fit(
            csr_array(np.where(np.abs(X) > 1, 1e-100 * X, 0)), y
        )
    assert np.isfinite(clf.coef_).all()
    assert clf.objective_ < clf.loss_curve_[0]


# ---------------------------------------------------------------------------------------------------------------------
# Choosing


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "badly_scaled"])
def test_cells_are_cold_fits(name, dtype):
    problem = problems.load(name)
    X, cv = problem.X.astype(dtype), StratifiedKFold(3)
    ratios, Cs = [1.0, 0.0, 0.4], np.append(CS, np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # without a penalty; float32
        clf = SoftmaxRegressionClassifierCV(Cs, cv=cv, l1_ratios=ratios, refit=False).fit(X, problem.y)
    n_outputs = 1 if name == "breast_cancer" else len(clf.classes_)
    assert clf.scores_.shape == (3, 3, 5)
    assert clf.coefs_paths_.shape == (3, 3, 5, n_outputs, X.shape[1] + 1)
    for f, (train, _) in enumerate(cv.split(X, problem.y)):
        for r, l1_ratio in enumerate(ratios):
            for c, C in enumerate(CS):
                cold = SoftmaxRegressionClassifier(C, l1_ratio=l1_ratio).fit(X[train], problem.y[train])
                objective = reference.Objective(
                    problem.X[train], reference.one_hot(problem.y[train]), C, l1_ratio=l1_ratio
                )
                point = clf.coefs_paths_[f, r, c]
                assert abs(objective.loss(point[:, :-1], point[:, -1]) - cold.objective_) <= 1e-5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cells_of_folds_that_share_a_metric(dtype):
    """Rows abound: digits, twice, of a few features."""
    problem = problems.load("digits")
    X, y = np.tile(problem.X[:, 16:36], (2, 1)).astype(dtype), np.tile(problem.y, 2)
    cv = StratifiedKFold(2)
    clf = SoftmaxRegressionClassifierCV(CS[:3], cv=cv, l1_ratios=[1.0], refit=False).fit(X, y)
    for f, (train, _) in enumerate(cv.split(X, y)):
        for c, C in enumerate(CS[:3]):
            cold = SoftmaxRegressionClassifier(C, l1_ratio=1.0).fit(X[train], y[train])
            objective = reference.Objective(X[train], reference.one_hot(y[train]), C, l1_ratio=1.0)
            point = clf.coefs_paths_[f, 0, c]
            assert abs(objective.loss(point[:, :-1], point[:, -1]) - cold.objective_) <= 1e-5


def test_the_best_is_chosen():
    problem = problems.load("wine")
    kwargs = {"cv": 4, "l1_ratios": [0.0, 0.5, 1.0]}
    clf = SoftmaxRegressionClassifierCV(CS, **kwargs).fit(problem.X, problem.y)
    means = clf.scores_.mean(axis=0)
    r, c = np.unravel_index(means.argmax(), means.shape)
    assert (clf.l1_ratio_, clf.C_) == (kwargs["l1_ratios"][r], CS[c])
    single = SoftmaxRegressionClassifier(clf.C_, l1_ratio=clf.l1_ratio_).fit(problem.X, problem.y)
    assert clf.objective_ == pytest.approx(single.objective_, abs=2e-6)
    one_se = SoftmaxRegressionClassifierCV(CS, selection="1se", **kwargs).fit(problem.X, problem.y)
    error = clf.scores_[:, r, c].std(ddof=1) / 2
    assert one_se.l1_ratio_ == clf.l1_ratio_
    assert one_se.C_ == CS[means[r] >= means[r, c] - error].min()


def test_without_a_refit_the_best_of_folds_are_averaged():
    problem = problems.load("iris")
    ratios = np.array([0.0, 1.0])
    clf = SoftmaxRegressionClassifierCV(CS, cv=3, l1_ratios=ratios, refit=False).fit(problem.X, problem.y)
    best = [np.unravel_index(scores.argmax(), scores.shape) for scores in clf.scores_]
    points = np.mean([clf.coefs_paths_[f, r, c] for f, (r, c) in enumerate(best)], axis=0)
    np.testing.assert_allclose(clf.coef_, points[:, :-1])
    np.testing.assert_allclose(clf.intercept_, points[:, -1])
    assert clf.C_ == pytest.approx(np.mean([CS[c] for _, c in best]))
    assert clf.l1_ratio_ == pytest.approx(np.mean([ratios[r] for r, _ in best]))


def test_a_ratio_of_zero_among_others_changes_no_bit():
    problem = problems.load("iris")
    alone = SoftmaxRegressionClassifierCV(CS, cv=3).fit(problem.X, problem.y)
    among = SoftmaxRegressionClassifierCV(CS, cv=3, l1_ratios=[0.7, 0.0], n_jobs=2).fit(problem.X, problem.y)
    np.testing.assert_array_equal(among.coefs_paths_[:, 1], alone.coefs_paths_[:, 0])


def test_a_class_that_a_fold_lacks():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 4))
    y = np.argmax(X + rng.gumbel(size=X.shape), axis=1)
    test_fold = rng.integers(3, size=120)
    test_fold[y == 2] = 1
    clf = SoftmaxRegressionClassifierCV(CS, cv=PredefinedSplit(test_fold), l1_ratios=[1.0]).fit(X, y)
    assert (clf.coefs_paths_[1, 0, :, 2, :-1] == 0).all()
    assert (clf.coefs_paths_[1, 0, :, 2, -1] == -np.inf).all()
    assert np.isfinite(clf.scores_).all()
    train = test_fold != 1
    for c, C in enumerate(CS):
        cold = SoftmaxRegressionClassifier(C, l1_ratio=1.0).fit(X[train], y[train])
        point = clf.coefs_paths_[1, 0, c][[0, 1, 3]]
        objective = reference.Objective(X[train], reference.one_hot(y[train]), C, l1_ratio=1.0)
        assert abs(objective.loss(point[:, :-1], point[:, -1]) - cold.objective_) <= 2e-6


def test_path():
    problem = problems.load("wine")
    Cs, coefs, intercepts, n_iters = softmax_regression_path(problem.X, problem.y, Cs=CS, l1_ratio=1.0)
    assert coefs.shape == (4, 3, 13)
    counts = [np.count_nonzero(coef) for coef in coefs]
    assert counts[0] < counts[-1] < coefs[0].size
    for C, coef, intercept in zip(Cs, coefs, intercepts, strict=True):
        cold = SoftmaxRegressionClassifier(C, l1_ratio=1.0).fit(problem.X, problem.y)
        objective = reference.Objective(problem.X, reference.one_hot(problem.y), C, l1_ratio=1.0)
        assert abs(objective.loss(coef, intercept) - cold.objective_) <= 2e-6


# ---------------------------------------------------------------------------------------------------------------------
# The solver's parts


@pytest.mark.parametrize("n_values", [2, 5, 6])
@pytest.mark.parametrize(("l1", "l2"), [(1.0, 0.0), (1.0, 0.3), (0.1, 1.0), (0.0, 1.0)])
def test_shift_of_least_penalty(l1, l2, n_values):
    """No other shift is better, and where zero is as good it is zero."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n_values, 40)) * (rng.uniform(size=(n_values, 40)) < 0.6)

    def penalty(shift):
        rest = values - shift
        return l1 * np.abs(rest).sum(axis=0) + l2 / 2 * np.square(rest).sum(axis=0)

    shift = shift_of_least_penalty(values, l1, l2)
    for other in [*np.linspace(-2, 2, 41), *(shift + step for step in (-1e-3, 1e-3)), *values]:
        assert (penalty(shift) <= penalty(other) + 1e-12).all()
    if l1:
        assert (shift[penalty(shift) >= penalty(0.0) - 1e-12] == 0).all()
        assert (shift == 0).any()


def test_a_model_is_minimised():
    """The optimality conditions of the quadratic with the penalty, pairs and all, by dense matrices."""
    rng = np.random.default_rng(0)
    K, p = 3, 6
    root = rng.standard_normal((20, p + 1)) * np.logspace(-1, 1, p + 1)
    gram, between = root.T @ root, np.eye(K) - 0.5 / K
    gram[-1, :-1] = gram[:-1, -1] = 0.0
    metric = QuadraticMetric([GramBlock(slice(None), gram, between, 0.1, p)], 1.0, p, np.zeros((1, p)))
    pairs = _Pairs(5)
    for _ in range(7):
        step = rng.standard_normal((K, p + 1))
        pairs.add(step, 1.5 * metric.hessp(step) + 0.2 * step)
    assert len(pairs.pairs) == 5
    point, grad = (
        rng.standard_normal((K, p + 1)) * (rng.uniform(size=(K, p + 1)) < 0.5),
        rng.standard_normal((K, p + 1)),
    )
    threshold = np.full((K, p + 1), 2.0)
    threshold[:, -1] = 0.0
    goal, decrease = _Model(metric, pairs, point, grad, SeparableL1(threshold), 0.0).minimise(1e-14)
    start = metric.of_point(point)
    low, middle = pairs.on(metric)
    low = low.reshape(K * (p + 1), -1)
    step = (goal - start).ravel()
    hess_step = metric.hessp(goal - start).ravel() + low @ (middle @ (low.T @ step))
    for s, y in pairs.pairs[-1:]:  # the secant condition, of the last pair
        image = metric.hessp(s).ravel() + low @ (middle @ (low.T @ s.ravel()))
        np.testing.assert_allclose(image, y.ravel(), atol=1e-8)
    residual = violation(goal, grad + hess_step.reshape(K, -1), threshold)
    assert residual.max() <= 1e-5
    assert (goal[:, :-1] == 0).any()
    value = grad.ravel() @ step + step @ hess_step / 2 + 2 * (np.abs(goal) - np.abs(start))[:, :-1].sum()
    assert decrease == pytest.approx(-value)


def test_what_a_metric_of_some_features_leaves_out_counts_both_ends_of_the_way():
    """A feature in use that it does not know: its coefficient may be as far above zero as the minimum's below."""
    metric = QuadraticMetric([], 1.0, 4, np.zeros((2, 2)), np.array([0, 2]))
    violation, point = np.zeros((2, 5)), np.zeros((2, 5))
    violation[:, :4], violation[:, 4] = [[9.0, 0.1, 9.0, 0.3], [9.0, 0.2, 9.0, 0.1]], 9.0
    assert metric.unknown(violation, point, 5.0) == pytest.approx(0.3 * 5.0)
    point[0] = [8.0, 1.0, 8.0, -3.0, 8.0]
    assert metric.unknown(violation, point, 5.0) == pytest.approx(0.3 * (5.0 + 4.0))
    everything = QuadraticMetric([], 1.0, 4, np.zeros((2, 4)))
    assert everything.unknown(violation, point, 5.0) == 0.0
