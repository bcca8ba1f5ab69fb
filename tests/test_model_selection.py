"""The classifier inside scikit-learn's searches, ensembles and inspections, and inside joblib's workers."""

import tempfile
import threading

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_selection import RFE, SelectFromModel, SequentialFeatureSelector
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import problems
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.kernels.threads import effective_n_threads

CS = [0.01, 0.1, 1.0]


def peer(C=1.0):
    return LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000)


@pytest.fixture
def wine():
    problem = problems.load("wine")
    return problem.X, problem.y


@pytest.fixture
def cancer():
    problem = problems.load("breast_cancer")
    return problem.X, problem.y


def standardised(clf):
    return make_pipeline(StandardScaler(), clf)


def test_grid_search(wine):
    grid = {"C": CS, "class_weight": [None, "balanced"], "fit_intercept": [True, False]}
    search = GridSearchCV(SoftmaxRegressionClassifier(tol=1e-9), grid, scoring="neg_log_loss", cv=3).fit(*wine)
    expected = GridSearchCV(peer(), grid, scoring="neg_log_loss", cv=3).fit(*wine)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"], rtol=1e-3
    )
    assert search.best_params_ == expected.best_params_


def test_halving_grid_search(wine):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    search = HalvingGridSearchCV(SoftmaxRegressionClassifier(), {"C": CS}, cv=2, min_resources=60, random_state=0).fit(
        *wine
    )
    assert search.n_iterations_ >= 1
    assert search.score(*wine) > 0.9


def test_search_over_the_one_that_searches(wine):
    search = GridSearchCV(SoftmaxRegressionClassifierCV(CS, cv=2), {"standardize": [False, True]}, cv=2).fit(*wine)
    assert search.best_estimator_.C_ in CS
    assert search.score(*wine) > -0.2  # minus the cross-entropy, as LogisticRegressionCV scores by `scoring`


def test_pipeline_with_caching(wine, tmp_path):
    steps = {"softmaxregressionclassifier__C": CS}
    plain = GridSearchCV(standardised(SoftmaxRegressionClassifier()), steps, cv=3).fit(*wine)
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier(), memory=joblib.Memory(tmp_path, verbose=0))
    for _ in range(2):
        cached = GridSearchCV(pipeline, steps, cv=3).fit(*wine)
        np.testing.assert_array_equal(cached.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])


@pytest.mark.parametrize("method", ["temperature", "sigmoid", "isotonic"])
@pytest.mark.parametrize("data", ["wine", "cancer"])
def test_calibration(data, method, request):
    X, y = request.getfixturevalue(data)
    if method == "temperature" and sklearn.__version__ < "1.8":
        pytest.skip("scikit-learn calibrates by a temperature since 1.8")
    scaled = StandardScaler().fit_transform(X)
    clf = CalibratedClassifierCV(SoftmaxRegressionClassifier(100.0), method=method, cv=3).fit(scaled, y)
    assert log_loss(y, clf.predict_proba(scaled)) < 0.2


def test_stacking_and_voting(wine):
    X, y = StandardScaler().fit_transform(wine[0]), wine[1]
    members = [("a", SoftmaxRegressionClassifier(0.1)), ("b", SoftmaxRegressionClassifierCV(CS, cv=2))]
    stack = StackingClassifier(members, final_estimator=SoftmaxRegressionClassifier(), cv=3).fit(X, y)
    assert stack.score(X, y) > 0.95
    assert VotingClassifier(members, voting="soft").fit(X, y).score(X, y) > 0.95
    assert BaggingClassifier(SoftmaxRegressionClassifier(), 3, random_state=0).fit(X, y).score(X, y) > 0.95


def test_one_against_the_others(wine):
    X, y = StandardScaler().fit_transform(wine[0]), wine[1]
    for wrap in (OneVsRestClassifier, OneVsOneClassifier):
        clf, expected = wrap(SoftmaxRegressionClassifier(tol=1e-9)).fit(X, y), wrap(peer()).fit(X, y)
        np.testing.assert_allclose(clf.decision_function(X), expected.decision_function(X), rtol=1e-3, atol=1e-3)


def test_several_outputs(wine):
    X, y = wine
    clf = MultiOutputClassifier(SoftmaxRegressionClassifier()).fit(X, np.column_stack([y, y == 1]))
    assert clf.predict(X).shape == (len(y), 2)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_cross_val_predict(wine, method):
    found = cross_val_predict(SoftmaxRegressionClassifier(tol=1e-10), *wine, cv=3, method=method)
    expected = cross_val_predict(peer(), *wine, cv=3, method=method)
    if method == "predict":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


def test_curves(wine):
    clf = SoftmaxRegressionClassifier()
    _, train, test = learning_curve(clf, *wine, cv=3, train_sizes=[0.5, 1.0], shuffle=True, random_state=0)
    assert train.shape == test.shape == (2, 3)
    train, test = validation_curve(clf, *wine, param_name="C", param_range=CS, cv=3)
    assert (np.diff(train.mean(axis=1)) >= 0).all()
    result = cross_validate(clf, *wine, cv=3, return_estimator=True)
    assert [estimator.converged_ for estimator in result["estimator"]] == [True] * 3


def test_thresholds(cancer):
    clf = TunedThresholdClassifierCV(SoftmaxRegressionClassifier(), cv=3).fit(*cancer)
    assert clf.score(*cancer) > 0.9
    assert FixedThresholdClassifier(SoftmaxRegressionClassifier(), threshold=0.2).fit(*cancer).score(*cancer) > 0.9


def test_permutation_importance(wine):
    clf = standardised(SoftmaxRegressionClassifier(0.01)).fit(*wine)
    expected = standardised(peer(0.01)).fit(*wine)
    found = permutation_importance(clf, *wine, scoring="neg_log_loss", random_state=0, n_repeats=3)
    expected = permutation_importance(expected, *wine, scoring="neg_log_loss", random_state=0, n_repeats=3)
    np.testing.assert_allclose(found.importances_mean, expected.importances_mean, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("data", ["wine", "cancer"])
def test_selection_by_coefficients(data, request):
    X, y = request.getfixturevalue(data)
    X = StandardScaler().fit_transform(X)
    for selector in (
        lambda clf: SelectFromModel(clf, max_features=4, threshold=-np.inf),
        lambda clf: RFE(clf, n_features_to_select=4),
    ):
        np.testing.assert_array_equal(
            selector(SoftmaxRegressionClassifier(tol=1e-9)).fit(X, y).get_support(),
            selector(peer()).fit(X, y).get_support(),
        )
    assert SelectFromModel(SoftmaxRegressionClassifierCV(CS)).fit(X, y).get_support().any()


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_selection_by_zeros(l1_ratio, wine):
    """What is left out by an L1 penalty is what is zero: the threshold of LogisticRegression, whose name is known."""
    X, y = StandardScaler().fit_transform(wine[0]), wine[1]
    params = {"l1_ratio": l1_ratio}
    if LogisticRegression().l1_ratio is None:  # before scikit-learn 1.8
        params = {"penalty": {0.0: "l2", 1.0: "l1"}.get(l1_ratio, "elasticnet")}
        params |= {"l1_ratio": l1_ratio} if params["penalty"] == "elasticnet" else {}
    same = LogisticRegression(C=0.05, **params, solver="saga", tol=1e-8, max_iter=10_000)
    expected = SelectFromModel(same).fit(X, y)
    for clf in (
        SoftmaxRegressionClassifier(0.05, l1_ratio=l1_ratio, tol=1e-9),
        SoftmaxRegressionClassifierCV([0.05], l1_ratios=[l1_ratio], cv=2, tol=1e-9),
    ):
        found = SelectFromModel(clf).fit(X, y)
        assert found.threshold_ == pytest.approx(expected.threshold_, rel=1e-2)
        np.testing.assert_array_equal(found.get_support(), expected.get_support())
        assert hasattr(clf, "penalty") == (l1_ratio == 1)
    assert 0 < expected.get_support().sum() < X.shape[1]


def test_sequential_selection(wine):
    selector = SequentialFeatureSelector(SoftmaxRegressionClassifier(), n_features_to_select=2, cv=2)
    assert selector.fit(wine[0][:, :5], wine[1]).get_support().sum() == 2


@pytest.mark.parametrize("estimator", [SoftmaxRegressionClassifier(), SoftmaxRegressionClassifierCV(CS, cv=2)])
def test_clones_fit_the_same(estimator, wine):
    a, b = estimator.fit(*wine), clone(estimator).fit(*wine)
    np.testing.assert_array_equal(a.coef_, b.coef_)


# ---------------------------------------------------------------------------------------------------------------------
# joblib


class _TellsThreads(SoftmaxRegressionClassifier):
    """Says how many threads it fits with."""

    def fit(self, X, y, **params):
        super().fit(X, y, **params)
        self.n_threads_ = effective_n_threads(self.n_jobs)
        return self


class _TellsThreadsCV(SoftmaxRegressionClassifierCV):
    def fit(self, X, y, **params):
        super().fit(X, y, **params)
        self.n_threads_ = effective_n_threads(self.n_jobs)
        return self


def _threads_started(X, y):
    before = threading.active_count()
    SoftmaxRegressionClassifier(tol=1e-2).fit(X, y)
    return threading.active_count() - before


BACKENDS = ["loky", "threading", "multiprocessing"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("estimator", [SoftmaxRegressionClassifier(0.1), SoftmaxRegressionClassifierCV(CS, cv=2)])
def test_every_backend_gives_the_same(estimator, backend, wine):
    expected = cross_val_score(estimator, *wine, cv=3, scoring="neg_log_loss")
    with joblib.parallel_config(backend=backend, n_jobs=2):
        found = cross_val_score(estimator, *wine, cv=3, scoring="neg_log_loss", n_jobs=2)
    np.testing.assert_array_equal(found, expected)


def search(X, y, n_jobs):
    grid = GridSearchCV(SoftmaxRegressionClassifier(), {"C": CS}, cv=2, scoring="neg_log_loss", n_jobs=n_jobs)
    return grid.fit(X, y).cv_results_["mean_test_score"]


def halving_search(X, y, n_jobs):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    grid = HalvingGridSearchCV(
        SoftmaxRegressionClassifier(), {"C": CS}, cv=2, min_resources=60, random_state=0, n_jobs=n_jobs
    )
    return grid.fit(X, y).cv_results_["mean_test_score"]


def cached_pipeline(X, y, n_jobs):
    with tempfile.TemporaryDirectory() as folder:
        selector = SelectFromModel(SoftmaxRegressionClassifier(0.1))
        pipeline = make_pipeline(selector, SoftmaxRegressionClassifier(), memory=joblib.Memory(folder, verbose=0))
        steps = {"softmaxregressionclassifier__C": CS}
        grid = GridSearchCV(pipeline, steps, cv=2, scoring="neg_log_loss", n_jobs=n_jobs).fit(X, y)
    return grid.cv_results_["mean_test_score"]


def temperature(X, y, n_jobs):
    method = "sigmoid" if sklearn.__version__ < "1.8" else "temperature"
    clf = CalibratedClassifierCV(SoftmaxRegressionClassifier(), method=method, cv=2, n_jobs=n_jobs)
    return clf.fit(X, y).predict_proba(X)


def stacking(X, y, n_jobs):
    members = [(str(C), SoftmaxRegressionClassifier(C)) for C in CS]
    return StackingClassifier(members, SoftmaxRegressionClassifier(), cv=2, n_jobs=n_jobs).fit(X, y).predict_proba(X)


def one_against_the_others(X, y, n_jobs):
    return OneVsRestClassifier(SoftmaxRegressionClassifier(), n_jobs=n_jobs).fit(X, y).decision_function(X)


def predictions(X, y, n_jobs):
    return cross_val_predict(SoftmaxRegressionClassifier(), X, y, cv=2, method="predict_log_proba", n_jobs=n_jobs)


def importance(X, y, n_jobs):
    clf = SoftmaxRegressionClassifier().fit(X, y)
    found = permutation_importance(clf, X, y, scoring="neg_log_loss", random_state=0, n_repeats=2, n_jobs=n_jobs)
    return found.importances


def selection(X, y, n_jobs):
    selector = SequentialFeatureSelector(SoftmaxRegressionClassifier(), n_features_to_select=1, cv=2, n_jobs=n_jobs)
    return selector.fit(X[:, :2], y).get_support()


TOOLS = [
    search,
    halving_search,
    cached_pipeline,
    temperature,
    stacking,
    one_against_the_others,
    predictions,
    importance,
    selection,
]


@pytest.mark.parametrize(
    ("tool", "backend"),
    [
        *((tool, backend) for tool in TOOLS for backend in ("loky", "threading")),
        *((tool, "multiprocessing") for tool in (search, stacking)),  # forks: the same whichever tool asks for them
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_tool_gives_the_same_with_every_backend(tool, backend, wine):
    X, y = StandardScaler().fit_transform(wine[0]), wine[1]
    with joblib.parallel_config(backend=backend, n_jobs=2):
        found = tool(X, y, 2)
    np.testing.assert_array_equal(found, tool(X, y, 1))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [_TellsThreads, _TellsThreadsCV])
def test_workers_share_the_cores(kind, backend, wine):
    """As many threads in all workers together as there are cores, and at least one in each."""
    with joblib.parallel_config(backend=backend, n_jobs=2):
        result = cross_validate(kind(), *wine, cv=StratifiedKFold(2), n_jobs=2, return_estimator=True)
    n_threads = [estimator.n_threads_ for estimator in result["estimator"]]
    assert max(n_threads) <= max(joblib.cpu_count() // 2, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_workers_within_workers_share_the_cores(backend, wine):
    """A stack within a search."""
    stack = StackingClassifier([("a", _TellsThreads()), ("b", _TellsThreads(0.1))], _TellsThreads(), cv=2, n_jobs=2)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        result = cross_validate(stack, *wine, cv=2, n_jobs=2, return_estimator=True)
    n_threads = [
        clf.n_threads_ for stack in result["estimator"] for clf in [*stack.estimators_, stack.final_estimator_]
    ]
    assert max(n_threads) <= max(joblib.cpu_count() // 2, 1)


def test_a_worker_starts_no_more_threads_than_its_share(cancer):
    """Those of BLAS and OpenMP come with the process; ours are started by the fit."""
    X, y = np.tile(cancer[0], (40, 1)), np.tile(cancer[1], 40)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        started = joblib.Parallel(n_jobs=2)(joblib.delayed(_threads_started)(X, y) for _ in range(2))
    assert max(started) <= max(joblib.cpu_count() // 2, 1)


def test_memory_mapped_by_joblib():
    """joblib hands large arrays to its processes as read-only memory maps."""
    problem = problems.load("digits")
    data = problem.X, problem.y
    expected = cross_val_score(SoftmaxRegressionClassifier(0.01), *data, cv=2, scoring="neg_log_loss")
    with joblib.parallel_config(backend="loky", max_nbytes="1K"):
        found = cross_val_score(SoftmaxRegressionClassifier(0.01), *data, cv=2, scoring="neg_log_loss", n_jobs=2)
    np.testing.assert_array_equal(found, expected)
