"""Callbacks of scikit-learn: told of the fit and of each iteration, and obeyed where they stop it."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.model_selection import memory
from softmax_clf.objective import SoftmaxObjective

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks since 1.9")

X, Y = load_digits(return_X_y=True)


class Recorder:
    """Writes down what it is told, and stops the tasks of a name after so many of them."""

    def __init__(self, stop=None, after=0):
        self.stop, self.left = stop, after
        self.begun, self.ended, self.estimators, self.metadata, self.open = [], [], [], [], 0

    def setup(self, estimator, context):
        self.begun.append("setup")

    def teardown(self, estimator, context):
        self.ended.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)
        self.open += 1

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.ended.append(context.task_name)
        self.estimators.append(fitted_estimator)
        self.metadata.append((X, y, metadata))
        self.open -= 1
        if context.task_name == self.stop:
            self.left -= 1
            return self.left == 0
        return None


class Propagated(Recorder):
    """Goes with a fit into the fits within it."""

    max_propagation_depth = None


class Failing(Recorder):
    def on_fit_task_end(self, estimator, context):
        raise RuntimeError("this callback fails")


def test_a_fit_and_its_iterations_are_tasks():
    recorder = Recorder()
    weight = np.ones(len(Y))
    clf = SoftmaxRegressionClassifier(0.01).set_callbacks(recorder).fit(X, Y, weight)
    assert recorder.begun == ["setup", "fit"] + ["iteration"] * clf.n_iter_
    assert recorder.ended == ["iteration"] * clf.n_iter_ + ["fit", "teardown"]
    assert recorder.open == 0
    for given_X, given_y, metadata in recorder.metadata:
        assert given_X is X
        assert given_y is Y
        assert metadata == {"sample_weight": weight}
    for iteration, fitted in enumerate(recorder.estimators[:-1], start=1):
        loss = fitted.sample_loss(X, Y).mean() + (fitted.coef_**2).sum() / (2 * 0.01 * len(Y))
        assert loss == pytest.approx(clf.loss_curve_[iteration], rel=1e-10)
    for fitted in recorder.estimators[-2:]:
        assert_array_equal(fitted.coef_, clf.coef_)


def test_callbacks_change_nothing():
    plain = SoftmaxRegressionClassifier(0.01).fit(X, Y)
    clf = SoftmaxRegressionClassifier(0.01).set_callbacks(Recorder()).fit(X, Y)
    assert_array_equal(clf.coef_, plain.coef_)
    fitted = {name for name in vars(plain) if name not in plain.get_params()}
    assert {name for name in vars(clf) if name not in clf.get_params()} == fitted | {"_skl_callbacks"}


@pytest.mark.parametrize("after", [1, 3])
def test_a_stop_is_obeyed(after):
    """Without a warning, and with the coefficients that there are."""
    recorder = Recorder("iteration", after)
    clf = SoftmaxRegressionClassifier(0.01).set_callbacks(recorder).fit(X, Y)
    plain = SoftmaxRegressionClassifier(0.01).fit(X, Y)
    assert clf.n_iter_ == after
    assert clf.converged_ is False
    assert clf.loss_curve_ == plain.loss_curve_[: after + 1]
    assert clf.objective_ == clf.loss_curve_[-1]
    assert recorder.ended == ["iteration"] * after + ["fit", "teardown"]


def test_a_stop_at_the_optimum_leaves_it_converged():
    n_iter = SoftmaxRegressionClassifier(0.01).fit(X, Y).n_iter_
    clf = SoftmaxRegressionClassifier(0.01).set_callbacks(Recorder("iteration", n_iter)).fit(X, Y)
    assert clf.converged_ is True


def test_a_stop_keeps_the_best_on_validation_rows():
    clf = SoftmaxRegressionClassifier(0.001, early_stopping=True, random_state=0)
    curve = clone(clf).fit(X, Y).validation_loss_curve_
    assert np.argmin(curve) == 1
    clf.set_callbacks(Recorder("iteration", 3)).fit(X, Y)
    assert clf.validation_loss_curve_ == curve[:4]
    assert clf.objective_ == clf.loss_curve_[1]


def test_a_line_search_that_finds_nothing_ends_its_task(monkeypatch):
    evaluate, recorder = SoftmaxObjective.evaluate, Recorder()

    def ever_higher(objective, point):
        value, grad = evaluate(objective, point)
        return value + max(objective.n_passes - 4, 0), grad

    monkeypatch.setattr(SoftmaxObjective, "evaluate", ever_higher)
    monkeypatch.setattr("softmax_clf.fitting.rows_of", lambda *args: None)  # or searches would go on from there
    monkeypatch.setattr("softmax_clf.metrics.plan.MOST_LAST", 0)
    wide = np.hstack([X, X**2])  # no whole Hessian either
    with pytest.warns(UserWarning, match="rounding errors"):
        SoftmaxRegressionClassifier(0.01).set_callbacks(recorder).fit(wide, Y)
    assert recorder.open == 0


def test_no_iteration_at_all():
    recorder = Recorder()
    with pytest.warns(UserWarning, match="max_iter"):
        SoftmaxRegressionClassifier(max_iter=0).set_callbacks(recorder).fit(X, Y)
    assert recorder.ended == ["fit", "teardown"]


def test_a_callback_that_fails_leaves_the_estimator_as_it_was():
    clf = SoftmaxRegressionClassifier(0.01).fit(X, Y)
    before = dict(vars(clf))
    with pytest.raises(RuntimeError, match="this callback fails"):
        clf.set_callbacks(Failing()).fit(X[:, :9], Y)
    assert {name: value for name, value in vars(clf).items() if name != "_skl_callbacks"} == before


def test_choosing_C_is_a_path_and_a_refit():
    recorder, Cs = Propagated(), [1.0, 0.001, 0.01]
    clf = SoftmaxRegressionClassifierCV(Cs, cv=2).set_callbacks(recorder).fit(X, Y)
    path = ["C=0.001", "C=0.01", "C=1", "path"]
    assert recorder.ended == [*path, *["iteration"] * clf.n_iter_, "fit", "fit", "teardown"]
    assert recorder.open == 0
    plain = SoftmaxRegressionClassifierCV(Cs, cv=2).fit(X, Y)
    assert_array_equal(clf.coef_, plain.coef_)
    assert_array_equal(clf.scores_, plain.scores_)
    assert_array_equal(recorder.estimators[-1].coef_, clf.coef_)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("in_turns", [False, True])
def test_a_stop_leaves_out_larger_C(in_turns, refit, monkeypatch):
    if in_turns:
        monkeypatch.setattr(memory, "_STACK_BYTES", 1)
    Cs = [1.0, 0.001, 0.01, 0.1]
    stopped = SoftmaxRegressionClassifierCV(Cs, cv=2, refit=refit).set_callbacks(Recorder("C=0.01", 1)).fit(X, Y)
    fewer = SoftmaxRegressionClassifierCV([0.001, 0.01], cv=2, refit=refit).fit(X, Y)
    assert_array_equal(stopped.Cs_, [0.001, 0.01])
    assert_array_equal(stopped.scores_, fewer.scores_)
    assert_array_equal(stopped.coefs_paths_, fewer.coefs_paths_)
    assert_array_equal(stopped.coef_, fewer.coef_)
    assert stopped.C_ == fewer.C_


def test_a_stop_leaves_out_larger_C_of_every_l1_ratio():
    clf = SoftmaxRegressionClassifierCV([0.001, 0.01, 0.1], cv=2, l1_ratios=[1.0, 0.5])
    clf.set_callbacks(Recorder("C=0.01", 1)).fit(X, Y)
    assert list(clf.Cs_) == [0.001, 0.01]
    assert clf.scores_.shape == (2, 2, 2)


def test_a_stop_with_an_l1_penalty():
    recorder = Recorder("iteration", 4)
    clf = SoftmaxRegressionClassifier(0.01, l1_ratio=1.0).set_callbacks(recorder).fit(X, Y)
    assert clf.n_iter_ == 4
    loss = clf.sample_loss(X, Y).mean() + np.abs(clf.coef_).sum() / (0.01 * len(Y))
    assert loss == pytest.approx(clf.objective_, rel=1e-10)


def test_a_stop_of_the_refit():
    clf = SoftmaxRegressionClassifierCV([1.0, 0.1], cv=2).set_callbacks(Propagated("iteration", 1)).fit(X, Y)
    assert clf.n_iter_ == 1
    assert clf.converged_ is False


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_progress_bars(n_jobs, capsys):
    pytest.importorskip("rich")
    for estimator in (
        SoftmaxRegressionClassifier(0.01),
        SoftmaxRegressionClassifierCV([0.001, 0.01], cv=2),
        GridSearchCV(
            make_pipeline(StandardScaler(), SoftmaxRegressionClassifier()),
            {"softmaxregressionclassifier__C": [0.001, 0.01]},
            cv=2,
            n_jobs=n_jobs,
        ),
    ):
        estimator.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, Y)
        shown = capsys.readouterr().out
        assert "SoftmaxRegressionClassifier" in shown
        assert "100%" in shown or "10…" in shown or "1…" in shown  # columns are cut where the terminal is narrow


def test_scores_by_iteration():
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    clf = SoftmaxRegressionClassifier(0.01).set_callbacks(monitor).fit(X, Y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    assert len(rows) == clf.n_iter_
    assert rows[-1]["neg_log_loss"] == pytest.approx(-clf.sample_loss(X, Y).mean())


def test_not_a_callback():
    with pytest.raises(TypeError, match="callbacks"):
        SoftmaxRegressionClassifier().set_callbacks(print)
