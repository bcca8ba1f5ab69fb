"""What a fit says that it is above the minimum, it is at the most; and small problems get there."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import reference
import softmax_clf.metrics.curvature
from certificate import certified
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.metrics.curvature import Curvature
from softmax_clf.metrics.plan import KRONECKER, MetricPlan
from softmax_clf.metrics.small import SmallObjective
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.sources.arrays import ArraySource

ROUNDING = 1e-13


def random_problem(rng, n=None, p=None):
    """A small one of any kind: rows, targets or labels, and what the objective takes."""
    n, p, K = n or int(rng.integers(6, 14)), p or int(rng.integers(1, 4)), int(rng.integers(2, 5))
    X = rng.standard_normal((n, p)) * 10.0 ** rng.uniform(-1, 1, p)
    y = np.append(np.arange(K), rng.integers(K, size=n - K))
    target, soft = reference.one_hot(y), rng.random() < 0.3
    if soft:
        target = rng.dirichlet(np.full(K, 0.5), n)
    weight = rng.exponential(size=n) + 1e-3 if rng.random() < 0.4 else None
    if weight is not None and rng.random() < 0.5:
        weight[K:][rng.random(n - K) < 0.3] = 0.0
    # Weights of one and offsets of zero in the place of none, which would be kernels of their own.
    weight = np.ones(n) if weight is None else weight
    offset = rng.standard_normal((n, K)) if rng.random() < 0.2 else np.zeros((n, K))
    fit_intercept = bool(rng.random() < 0.7)
    exact = reference.Objective(
        X, target, 10.0 ** rng.uniform(-2, 2), weight, fit_intercept=fit_intercept, offset=offset
    )
    by_output = offset[:, 1:] - offset[:, :1] if K == 2 else offset
    objective = SoftmaxObjective(
        ArraySource(X),
        target if soft else y,
        K,
        sample_weight=weight,
        l2_reg_strength=exact.l2_reg_strength,
        fit_intercept=fit_intercept,
        n_threads=1,
        offset=by_output,
    )
    return objective, exact


def start_of(rng, objective, size):
    point = size * rng.standard_normal((objective.n_outputs, objective.n_columns))
    return point - point.mean(axis=0) if len(point) > 1 else point


def test_the_bound_holds():
    """At random points and where Newton's steps from there lead, whole and not, with exact curvature and more."""
    rng, tight = np.random.default_rng(0), []
    for _ in range(400):
        objective, exact = random_problem(rng)
        *_, best = reference.minimise(exact)
        small = SmallObjective(objective, objective.l2_reg_strength)
        for size in (0.03, 0.3, 3.0):
            point, theta = start_of(rng, objective, size), float(rng.choice([0.0, 0.1, 1.0]))
            for _ in range(3):
                here = small.at(point, theta)
                assert here.objective == pytest.approx(exact.loss(*exact.unpack(point)), rel=1e-12)
                length = float(rng.choice([0.0, 0.3, 1.0, 1.0, 1.7]))
                bound, holds = here.bound(length, 1e-3)
                point = point + length * here.step
                gap = exact.loss(*exact.unpack(point)) - best
                if here.reach > 1e6:  # of no line search: there is no way back but for rounding
                    break
                assert holds
                assert gap <= bound * (1 + 1e-9) + ROUNDING
                assert here.along(length)[0] == pytest.approx(gap + best, rel=1e-11)
                if here.reach < 0.5 and length == theta == 0.0:
                    tight.append(bound / max(gap, 1e-13))
    assert np.median(tight) < 1.5
    assert len(tight) > 40


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_certificate_from_hessian_products_holds(dtype):
    rng, certain = np.random.default_rng(1), 0
    slack = 1e-6 if dtype == np.float32 else ROUNDING
    for _ in range(75):
        objective, exact = random_problem(rng, n=40)
        *_, best = reference.minimise(exact)
        if dtype == np.float32:
            X, offset = objective.source.X.astype(dtype), objective.offset
            objective = SoftmaxObjective(
                ArraySource(X),
                exact.target,
                objective.n_classes,
                sample_weight=exact.sample_weight,
                l2_reg_strength=exact.l2_reg_strength,
                fit_intercept=exact.fit_intercept,
                n_threads=1,
                offset=offset,
            )
        small = SmallObjective(objective, objective.l2_reg_strength)
        point = start_of(rng, objective, 0.3)
        for _ in range(3):
            gap = exact.loss(*exact.unpack(point)) - best
            value, holds = certified(objective, point, objective.evaluate(point)[1], small.metric(point), 1e-2, 5)
            certain += holds
            assert not holds or gap <= value * (1 + 1e-6) + slack
            here = small.at(point, 1.0)
            point = point + 0.8 * here.step
    assert certain > 75


def test_a_certificate_in_few_products():
    """Of a fit that has ended, preconditioned by the metric that such a fit has: three times the gap at most."""
    X, y = load_digits(return_X_y=True)
    clf = SoftmaxRegressionClassifier(C=0.01, tol=1e-5).fit(X, y)
    best = SoftmaxRegressionClassifier(C=0.01, tol=1e-11).fit(X, y).objective_
    params = {"sample_weight": None, "l2_reg_strength": 100 / len(y), "fit_intercept": True, "n_threads": 1}
    objective = SoftmaxObjective(ArraySource(X), y, 10, **params)
    point = np.hstack([clf.coef_, clf.intercept_[:, None]])
    value, holds = certified(
        objective,
        point,
        objective.evaluate(point)[1],
        Curvature.from_objective(objective).metric_of_all_rows(point),
        1e-5 * np.log(10),
        12,
    )
    assert holds
    assert clf.objective_ - best <= value <= 3 * (clf.objective_ - best)
    assert objective.n_products <= 13


def fitted(X, y, **params):
    fit_params = {name: params.pop(name) for name in ("sample_weight", "offset") if name in params}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return SoftmaxRegressionClassifier(**params).fit(X, y, **fit_params)


def test_a_plateau_between_two_scales():
    """Newton's decrement is right there, and says nothing: a step moves scores by one and more."""
    X = np.array([[1000000, 1000009], [0, 1], [0, 7], [0, 2], [1000000, 999998], [0, 4]], float)
    clf = SoftmaxRegressionClassifier().fit(X, [0, 1, 0, 1, 0, 1])
    assert clf.converged_
    assert clf.suboptimality_is_bound_
    assert clf.objective_ == pytest.approx(0.153197, abs=2e-6)


def twins(rng, n, p, size):
    """Columns that differ by little."""
    z = rng.integers(2, size=(n, p)) * size
    return np.hstack([z, z + rng.integers(-9, 10, size=z.shape)]).astype(float)


def powers(rng, n, p, size):
    """Of one variable, from size to size ** p."""
    return size * rng.uniform(-1, 1, (n, 1)) ** np.arange(1, p + 1) * size ** np.arange(p)


def rare(rng, n, p, size):
    """Levels that few rows have, standardised."""
    X = (np.minimum(rng.zipf(1.5, size=n), p)[:, None] == np.arange(1, p + 1)) * 1.0
    X = X[:, X.any(axis=0)]
    return (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-3)


@pytest.mark.parametrize("make", [twins, powers, rare])
@pytest.mark.parametrize("C", [1.0, 1e4, np.inf])
def test_hard_small_problems(make, C):
    """They converge, and what they say is so: by a fit to all digits, or by the reference where that gets there."""
    rng = np.random.default_rng(0)
    for i in range(6):
        n, K = int(rng.integers(20, 120)), int(rng.integers(2, 5))
        X = make(rng, n, int(rng.integers(2, 8)), [1e3, 3.0, 1.0][(twins, powers, rare).index(make)])
        y = np.append(np.arange(K), rng.integers(K, size=n - K))
        clf = fitted(sp.csr_array(X) if i % 3 == 2 else X, y, C=C)
        assert clf.converged_
        assert clf.suboptimality_is_bound_ or np.isinf(C)
        exact = reference.Objective(X, reference.one_hot(y), C)
        loss = exact.loss(clf.coef_, clf.intercept_)
        best = fitted(X, y, C=C, tol=1e-10)
        best = min(best.objective_, loss)
        try:
            best = min(best, reference.minimise(exact)[-1])
        except RuntimeError:
            pass
        assert loss - best <= clf.suboptimality_ * (1 + 1e-6) + 1e-12
        assert clf.suboptimality_ <= 1e-6 * exact.null_loss()


def test_coefficients_that_float32_cannot_hold():
    """What it costs to round them is part of what is said."""
    rng = np.random.default_rng(0)
    z = (rng.integers(2, size=200) * 1e5).astype(np.float32)
    X = np.stack([z, z + rng.integers(-9, 10, size=200).astype(np.float32)], axis=1)
    y = (X[:, 1] - X[:, 0] + 3 * rng.standard_normal(200) > 0).astype(int)
    clf = fitted(X, y, C=np.inf)
    exact = reference.Objective(X.astype(float), reference.one_hot(y), np.inf)
    gap = exact.loss(clf.coef_.astype(float), clf.intercept_.astype(float))
    gap -= fitted(X.astype(float), y, C=np.inf, tol=1e-10).objective_
    assert clf.converged_ == (clf.suboptimality_ <= 1e-6 * exact.null_loss())
    assert gap <= clf.suboptimality_ * (1 + 1e-3) + 1e-12


@pytest.mark.parametrize("seed", [3, 4, 12])
def test_differences_of_columns_that_squares_of_them_hide(seed):
    """A millionth of them: a factored Hessian does not see it, and with that alone fits ended up to 1e-4 too high."""
    rng = np.random.default_rng(seed)
    z = rng.integers(2, size=(27, 4)) * 2e6
    X, y = np.hstack([z, z + rng.standard_normal((27, 4))]), np.append(np.arange(6), rng.integers(6, size=21))
    clf = fitted(X, y, C=np.inf, fit_intercept=False)
    same = np.hstack([z / 2e6, X[:, 4:] - z])  # the span of these columns, seen from near by
    best = fitted(same, y, C=np.inf, fit_intercept=False, tol=1e-10).objective_
    assert clf.converged_
    assert clf.n_iter_ < 40
    assert clf.objective_ - best <= clf.suboptimality_ + ROUNDING


def test_what_cannot_be_any_nearer_has_converged():
    """With a penalty that is next to nothing a share of it is asked for, but no less than F is known to."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((147, 1)) + 1e7
    clf = fitted(X, rng.dirichlet(np.full(6, 0.5), 147), C=2e5, fit_intercept=False)
    assert clf.converged_


@pytest.mark.parametrize("seed", [1, 14, 51])
def test_coefficients_beyond_float32_are_not_the_answer(seed):
    """Separable rows and equal columns: coefficients grow until float32 loses more by them than each step gains."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((9, 8)).astype(np.float32)
    X[:, 0], X[rng.integers(9, size=9)] = X[:, -1], X[0]
    y = np.append(np.arange(4), rng.integers(4, size=5))
    params = {"C": np.inf, "standardize": True}
    clf, exact = fitted(X, y, **params), fitted(X.astype(np.float64), y, **params)
    assert clf.objective_ <= min(clf.loss_curve_)
    assert clf.objective_ - exact.objective_ <= 1e-5


@pytest.mark.parametrize("shift", [1e3, 1e4, 1e5])
@pytest.mark.parametrize("C", [1.0, 100.0, np.inf])
@pytest.mark.parametrize("n", [60, 3000])
def test_means_far_from_zero_in_float32(n, C, shift):
    """Columns whose mean is a thousand deviations and more: the optimum, or what is said is no less than the gap."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((n, 5)) + shift).astype(np.float32)
    truth = (X - X.mean(axis=0, dtype=np.float64)) @ rng.standard_normal((5, 3))
    y = (truth + 2 * rng.gumbel(size=truth.shape)).argmax(axis=1)
    exact = fitted(X.astype(np.float64), y, C=C, tol=1e-9)
    for make in (np.asarray, np.asfortranarray, sp.csr_array, Slices):
        clf = fitted(make(X), y, C=C)
        objective = reference.Objective(X.astype(np.float64), reference.one_hot(y), C)
        gap = objective.loss(clf.coef_.astype(np.float64), clf.intercept_.astype(np.float64)) - exact.objective_
        assert gap <= clf.suboptimality_ * (1 + 1e-6) + 4e-7
        assert clf.converged_ == (clf.suboptimality_ <= 1e-6 * objective.null_loss())
        # eps * shift is what a score loses by the rounding of its coefficients, and a loss the square of that
        assert gap <= 1e-6 + (1e-7 * shift * np.abs(clf.coef_).sum()) ** 2
        scaled = fitted(make(X), y, C=C, standardize=True)
        assert scaled.score(X, y) >= exact.score(X, y) - 0.05


def test_what_is_a_bound():
    """Newton's fits with a penalty; others where the gradient tells enough; L1 penalties on working sets."""
    X, y = load_digits(return_X_y=True)
    assert SoftmaxRegressionClassifier().fit(X[:100, 20:30], y[:100] % 3).suboptimality_is_bound_
    strong = SoftmaxRegressionClassifier(C=1e-6, fit_intercept=False).fit(X, y)
    assert strong.suboptimality_is_bound_
    best = SoftmaxRegressionClassifier(C=1e-6, fit_intercept=False, tol=1e-12).fit(X, y).objective_
    assert strong.objective_ - best <= strong.suboptimality_ + 1e-15 * best
    assert not SoftmaxRegressionClassifier().fit(X, y).suboptimality_is_bound_
    few, labels = X[:100, 20:30], y[:100] % 3
    sparse = SoftmaxRegressionClassifier(l1_ratio=0.5).fit(few, labels)
    assert sparse.suboptimality_is_bound_
    best = SoftmaxRegressionClassifier(l1_ratio=0.5, tol=1e-12).fit(few, labels).objective_
    assert sparse.objective_ - best <= sparse.suboptimality_ + 1e-15 * best
    bounded = SoftmaxRegressionClassifier(l1_ratio=0.5, coef_bounds=(0.0, np.inf)).fit(few, labels)
    assert not bounded.suboptimality_is_bound_


def test_newton_takes_over(monkeypatch):
    """Where L-BFGS is slow: in one fit, with an iteration for each value of the loss curve."""
    monkeypatch.setattr(
        softmax_clf.metrics.curvature, "plan_metric", lambda n, *_, **__: MetricPlan(KRONECKER, n, 1.0, 2.0)
    )
    rng = np.random.default_rng(4)
    X = powers(rng, 100, 10, 4.0)
    y = np.append(np.arange(4), rng.integers(4, size=96))
    clf = SoftmaxRegressionClassifier(C=1e4).fit(X, y)
    assert clf.converged_
    assert clf.suboptimality_is_bound_
    assert clf.n_iter_ < 60
    assert len(clf.loss_curve_) == clf.n_iter_ + 1
    assert (np.diff(clf.loss_curve_) <= 1e-12).all()
    few = fitted(X, y, C=1e4, max_iter=clf.n_iter_ - 1)
    assert few.n_iter_ == clf.n_iter_ - 1
    assert not few.converged_
    assert few.suboptimality_ >= few.objective_ - clf.objective_
    assert fitted(X, y, C=1e4, max_iter=7).n_iter_ == 7


def test_folds_that_lack_a_class():
    """Are solved among the others."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)), np.append(np.arange(3), rng.integers(2, size=57))
    rows, test = np.r_[0, 1, 3:40], np.arange(40, 60)
    clf = SoftmaxRegressionClassifierCV(Cs=[0.1, 10.0], cv=[(rows, test), (np.arange(40), test)])
    clf.fit(X, y)
    for c, C in enumerate((0.1, 10.0)):
        two = SoftmaxRegressionClassifier(C=2 * C, tol=1e-10).fit(X[rows], y[rows])  # of two vectors each has half
        path = clf.coefs_paths_[0, 0, c]
        np.testing.assert_allclose(path[1, :3] - path[0, :3], two.coef_[0], rtol=0, atol=2e-3)
        assert not path[2, :3].any()


def far_row(rng, n, K, far):
    X = rng.standard_normal((n, 3))
    truth = X @ rng.standard_normal((3, K))
    y = (truth + rng.gumbel(size=truth.shape)).argmax(axis=1)
    X[7, 0] = far
    return X, y


@pytest.mark.parametrize("far", [1e3, 1e6, 1e9, -1e9])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_far_row_hides_nothing(far, n_classes):
    """While it becomes sure of its class, steps are tiny for all others, and so was what was said to be left."""
    X, y = far_row(np.random.default_rng(0), 80, n_classes, far)
    exact = reference.Objective(X, reference.one_hot(y), np.inf)
    *_, best = reference.minimise(exact)
    for make in (np.asarray, sp.csr_array):
        for standardize in (False, True):
            clf = fitted(make(X), y, C=np.inf, standardize=standardize)
            assert clf.converged_
            gap = exact.loss(clf.coef_, clf.intercept_) - best
            assert gap <= clf.suboptimality_ + ROUNDING
            assert clf.suboptimality_ <= 1e-6 * exact.null_loss()
    X32 = X.astype(np.float32)
    for make in (np.asarray, sp.csr_array):
        clf = fitted(make(X32), y, C=np.inf)
        exact = reference.Objective(X32.astype(float), reference.one_hot(y), np.inf)
        gap = exact.loss(clf.coef_.astype(float), clf.intercept_.astype(float)) - reference.minimise(exact)[-1]
        assert gap <= clf.suboptimality_ * (1 + 1e-6) + 1e-12  # what float32 cannot hold is part of it
        assert clf.converged_ == (clf.suboptimality_ <= 1e-6 * exact.null_loss())


def test_rows_that_are_sure_for_good():
    """One class lies apart from the others: losses of its rows vanish, those of the others do not."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    y = np.where(X[:, 0] > 0.5, 2, rng.integers(2, size=60))
    clf = fitted(X, y, C=np.inf)
    rest = y < 2
    among = reference.Objective(X[rest], reference.one_hot(y[rest]), np.inf)
    best = reference.minimise(among)[-1] * rest.mean()  # the infimum
    assert clf.converged_
    assert 0 <= clf.objective_ - best <= clf.suboptimality_ <= 1e-6 * np.log(3)


class Slices:
    """Rows that are read by slices."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        return self.X[rows]


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array, Slices], ids=["array", "CSR", "slices"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_said_holds_for_rows_of_any_kind(make, dtype):
    """For coefficients of standardised features too, for the fit of a choice of C, and at points on the way."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:400, 20:50].astype(dtype), y[:400] % 4
    unknown = 1e-12 if dtype == np.float64 else 4e-7
    std = X.std(axis=0, dtype=np.float64)
    for C in (0.01, 10.0):
        for standardize in (False, True):
            by = np.where(std > 1e-9, std, 1.0) if standardize else 1.0
            exact = reference.Objective(X / by, reference.one_hot(y), C)
            *_, best = reference.minimise(exact)
            for params in ({}, {"tol": 1e-3}, {"max_iter": 3}):
                clf = fitted(make(X), y, C=C, standardize=standardize, **params)
                gap = exact.loss(clf.coef_.astype(np.float64) * by, clf.intercept_.astype(np.float64)) - best
                assert gap <= clf.suboptimality_ * (1 + 1e-6) + unknown
                assert clf.converged_ or params.get("max_iter")
    cv = SoftmaxRegressionClassifierCV(Cs=[0.01], cv=3).fit(make(X), y)
    exact = reference.Objective(X.astype(np.float64), reference.one_hot(y), 0.01)
    gap = exact.loss(cv.coef_.astype(np.float64), cv.intercept_.astype(np.float64)) - reference.minimise(exact)[-1]
    assert gap <= cv.suboptimality_ * (1 + 1e-6) + unknown


def test_newton_needs_no_pass_for_points_it_arrives_at(monkeypatch):
    """A small problem knows its rows: it is evaluated once, where a start that is not finite is looked for."""
    asked = []
    evaluate = SoftmaxObjective.evaluate
    monkeypatch.setattr(SoftmaxObjective, "evaluate", lambda *args: asked.append(1) or evaluate(*args))
    X, y = load_digits(return_X_y=True)
    clf = SoftmaxRegressionClassifier().fit(X[:100, 20:30], y[:100] % 3)
    assert clf.converged_
    assert clf.n_iter_ > 2
    assert len(asked) == 1


@pytest.mark.parametrize("C", [1.0, 100.0])
def test_units_make_no_difference(C):
    """X * 1000 with C / 1e6 is the same problem."""
    X, y = load_digits(return_X_y=True)
    one, other = fitted(X, y, C=C), fitted(X * 1000, y, C=C / 1e6)
    assert abs(one.n_iter_ - other.n_iter_) <= 1
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X * 1000), rtol=0, atol=1e-5)
