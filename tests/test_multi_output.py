"""Many targets in the same passes: each ends at the optimum of a fit of its own."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from softmax_clf import (
    MultiOutputSoftmaxClassifier,
    MultiOutputSoftmaxClassifierCV,
    SoftmaxRegressionClassifier,
    SoftmaxRegressionClassifierCV,
)
from softmax_clf.kernels.label_sets import HELD_OUT, MISSING
from softmax_clf.label_sets import multi_fit
from softmax_clf.label_sets.labels import LabelSets
from softmax_clf.label_sets.metric import SharedGram, at_points
from softmax_clf.label_sets.objective import LabelSetObjectives
from softmax_clf.label_sets.targets import Targets
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource

rng = np.random.default_rng(0)
N, P = 2400, 5  # enough rows for samples to be fitted first
X = (rng.normal(size=(N, P)) * [1, 1, 3, 0.5, 1] + [0, 2, 0, 0, -1]).astype(np.float32)


def drawn(n_classes, seed, noise=1.0):
    rng = np.random.default_rng(seed)
    scores = X @ rng.normal(size=(P, n_classes)) + noise * rng.gumbel(size=(N, n_classes))
    return scores.argmax(axis=1)


def with_missing(labels, share, seed):
    labels = labels.astype(float)
    labels[np.random.default_rng(seed).random(N) < share] = np.nan
    return labels


Y = np.column_stack(
    [
        drawn(2, 1),
        with_missing(drawn(2, 2), 0.4, 0),
        drawn(3, 3),
        with_missing(drawn(5, 4, 3.0), 0.2, 1),
        drawn(2, 5) * 4,
    ]
)
FEW = with_missing(drawn(3, 6), 0.97, 2)[:, None]


def objective(clf, X, y, weight=None, C=1.0):
    """F by plain NumPy, of labels that are not missing."""
    known = ~np.isnan(y)
    weight = np.ones(len(y)) if weight is None else weight
    weight = weight[known]
    X = X.toarray() if sparse.issparse(X) else np.asarray(X)
    coef, intercept = clf.coef_.astype(np.float64), clf.intercept_.astype(np.float64)
    scores = X[known].astype(np.float64) @ coef.T + intercept
    if len(coef) == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    place = np.searchsorted(clf.classes_, y[known])
    loss = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(scores)), place]
    return weight @ loss / weight.sum() + (coef**2).sum() / (2 * C * weight.sum())


def excess(model, X, Y, weight=None, C=1.0):
    """How far each target is above the objective of a fit of its own, in float64: for all dtypes the same kernels."""
    found = []
    rows = (X.toarray() if sparse.issparse(X) else np.asarray(X)).astype(np.float64)
    for t, clf in enumerate(model.estimators_):
        known = ~np.isnan(Y[:, t])
        c = C if np.ndim(C) == 0 else C[t]
        w = None if weight is None else weight if weight.ndim == 1 else weight[:, t]
        own = SoftmaxRegressionClassifier(c, tol=1e-9, fit_intercept=model.fit_intercept)
        own.fit(rows[known], Y[known, t], None if w is None else w[known])
        np.testing.assert_array_equal(own.classes_, clf.classes_)
        found.append(objective(clf, rows, Y[:, t], w, c) - objective(own, rows, Y[:, t], w, c))
    return np.array(found)


CONTAINERS = {
    "float32": X,
    "float64": X.astype(np.float64),
    "Fortran": np.asfortranarray(X.astype(np.float64)),
    "float16": X.astype(np.float16),
    "csr": sparse.csr_array(np.where(np.abs(X) > 0.5, X, 0)),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_each_target_ends_at_its_own_optimum(kind):
    data = CONTAINERS[kind]
    model = MultiOutputSoftmaxClassifier().fit(data, Y)
    assert model.converged_.all()
    assert [len(classes) for classes in model.classes_] == [2, 2, 3, 5, 2]
    assert excess(model, data, Y).max() < 1e-6


@pytest.mark.parametrize(
    ("data", "tol", "dtype"),
    [(X, 1e-6, np.float32), (X, 1e-8, np.float64), (X.astype(np.float64) + 1e6, 1e-6, np.float64)],
    ids=["", "a tol that float32 has no digits for", "values that float32 does not tell apart"],
)
def test_float64_is_read_in_float32_where_that_tells_as_much(data, tol, dtype, monkeypatch):
    data, read = data.astype(np.float64), []
    together = multi_fit.Together

    def spy(source, *args):
        read.append(source.dtype)
        return together(source, *args)

    monkeypatch.setattr(multi_fit, "Together", spy)
    model = MultiOutputSoftmaxClassifier(tol=tol).fit(data, Y)
    assert read == [dtype]
    assert model.coef_stack_.dtype == np.float64
    assert (excess(model, data, Y) <= np.maximum(model.suboptimality_, 1e-9)).all()


def test_memory_map_is_read_in_slices(tmp_path):
    stored = np.memmap(tmp_path / "X", np.float32, "w+", shape=X.shape)
    stored[:] = X
    model = MultiOutputSoftmaxClassifier().fit(stored, Y)
    assert excess(model, X, Y).max() < 1e-6


def test_weights_of_each_target_and_strengths():
    weight, C = np.random.default_rng(1).exponential(size=Y.shape), np.array([0.01, 100.0, 1.0, 0.1, 3.0])
    model = MultiOutputSoftmaxClassifier(C).fit(X, Y, weight)
    assert excess(model, X, Y, weight, C).max() < 1e-6
    assert model.estimators_[1].C == 100.0
    shared = MultiOutputSoftmaxClassifier().fit(X, Y, weight[:, 0])
    assert excess(shared, X, Y, weight[:, 0]).max() < 1e-6


def test_unit_of_weights_makes_no_difference():
    weight = np.random.default_rng(1).exponential(size=N)
    a = MultiOutputSoftmaxClassifier(tol=1e-8).fit(X, Y, weight)
    b = MultiOutputSoftmaxClassifier(1e-30, tol=1e-8).fit(X, Y, weight * 1e30)
    np.testing.assert_allclose(a.coef_stack_, b.coef_stack_, atol=1e-3)


def test_weight_is_a_repetition():
    counts = np.random.default_rng(2).integers(0, 3, N)
    weighted = MultiOutputSoftmaxClassifier(tol=1e-9).fit(X.astype(float), Y, counts)
    repeated = MultiOutputSoftmaxClassifier(tol=1e-9).fit(
        np.repeat(X, counts, axis=0).astype(float), np.repeat(Y, counts, 0)
    )
    np.testing.assert_allclose(weighted.coef_stack_, repeated.coef_stack_, atol=2e-3)


def test_target_of_few_labels_is_fitted_to_these():
    both = np.column_stack([Y, FEW])
    model = MultiOutputSoftmaxClassifier().fit(X, both)
    assert excess(model, X, both).max() < 1e-6


@pytest.mark.parametrize("rest", [0.0, 0.02])
def test_labels_may_be_known_where_a_feature_hardly_varies(rest):
    rng = np.random.default_rng(0)
    of_group = rng.normal(size=(20_000, 6)) @ rng.normal(size=(6, 12))
    group = of_group[:, 0] > 0
    rows = np.column_stack([of_group[:, 1:], group + rest * rng.normal(size=len(group))]).astype(np.float32)
    labels = (rows @ rng.normal(size=(12, 3)) / 3 + rng.logistic(size=(len(rows), 3)) > 0).astype(float)
    labels[group, 1:] = np.nan
    model = MultiOutputSoftmaxClassifier().fit(rows, labels)
    assert (excess(model, rows, labels) <= np.maximum(model.suboptimality_, 1e-7)).all()


def test_rare_values_are_not_missed_by_chance(monkeypatch):
    """Of few rows with a label some lack a value that is rare: such targets are not fitted one by one for that."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([X, rng.random((N, 30)) < 0.003]).astype(np.float32)
    labels = np.column_stack([with_missing(drawn(2, seed), 0.8, seed) for seed in range(10)])
    alone = []
    monkeypatch.setattr(multi_fit.MultiFit, "_alone", lambda self, t, C: alone.append(t))
    MultiOutputSoftmaxClassifier().fit(rows, labels)
    assert not alone


@pytest.mark.parametrize("class_weight", ["balanced", {0.0: 3.0}])
def test_class_weight(class_weight):
    labels = Y[:, [0, 2, 3]]
    model = MultiOutputSoftmaxClassifier(class_weight=class_weight, tol=1e-8).fit(X, labels)
    for t, clf in enumerate(model.estimators_):
        known = ~np.isnan(labels[:, t])
        own = SoftmaxRegressionClassifier(class_weight=class_weight, tol=1e-9).fit(X[known], labels[known, t])
        assert clf.objective_ - own.objective_ < 1e-6
        np.testing.assert_allclose(clf.coef_, own.coef_, atol=5e-3)


def test_without_intercept():
    model = MultiOutputSoftmaxClassifier(fit_intercept=False).fit(X, Y)
    assert not model.intercept_stack_.any()
    assert excess(model, X, Y).max() < 1e-6


def test_hard_data_are_fitted_too():
    """Separable labels, hardly any penalty, features of very different units."""
    data = X.astype(np.float64) * [1e6, 1, 1e-3, 1, 1]
    labels = np.column_stack([Y[:, 0], (data[:, 1] > 3).astype(float), Y[:, 2]])
    model = MultiOutputSoftmaxClassifier(1e4).fit(data, labels)
    assert model.converged_.all()
    assert excess(model, data, labels, C=1e4).max() < 1e-6


def test_turns_lead_to_the_same(monkeypatch):
    model = MultiOutputSoftmaxClassifier().fit(X, Y)
    monkeypatch.setattr(multi_fit, "_TURN_BYTES", 1)
    in_turns = MultiOutputSoftmaxClassifier().fit(X, Y)
    assert excess(in_turns, X, Y).max() < 1e-6
    np.testing.assert_allclose(in_turns.coef_stack_, model.coef_stack_, atol=2e-2)


def test_threads_make_no_difference():
    one, two = (MultiOutputSoftmaxClassifier(n_jobs=n).fit(X, Y) for n in (1, 2))
    np.testing.assert_array_equal(one.coef_stack_, two.coef_stack_)


def test_max_iter_warns_of_targets():
    with pytest.warns(Warning, match="of 5 targets stopped"):
        model = MultiOutputSoftmaxClassifier(max_iter=1, tol=1e-12).fit(X, Y)
    assert not model.converged_.all()


# ---------------------------------------------------------------------------------------------------------------------
# Predictions


def test_predictions_are_those_of_the_estimators():
    model = MultiOutputSoftmaxClassifier().fit(X, Y)
    predicted, proba = model.predict(X), model.predict_proba(X)
    assert predicted.shape == Y.shape
    for t, clf in enumerate(model.estimators_):
        np.testing.assert_array_equal(predicted[:, t], clf.predict(X))
        np.testing.assert_allclose(proba[t], clf.predict_proba(X), atol=1e-6)
        assert np.shares_memory(clf.coef_, model.coef_stack_)
    known = ~np.isnan(Y)
    right = (predicted == Y) | ~known
    assert model.score(X, Y) == right.all(axis=1).mean()
    np.testing.assert_allclose(
        model.target_scores(X, Y), [(right & known)[:, t].sum() / known[:, t].sum() for t in range(5)]
    )


def test_interface_is_that_of_scikit_learn():
    labels = Y[:, [0, 2, 4]].astype(int)
    theirs = MultiOutputClassifier(LogisticRegression(tol=1e-8, max_iter=1000)).fit(X, labels)
    ours = MultiOutputSoftmaxClassifier(tol=1e-8).fit(X, labels)
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    assert (ours.predict(X) == theirs.predict(X)).mean() > 0.999
    assert abs(ours.score(X, labels) - theirs.score(X, labels)) < 2e-3
    for a, b in zip(ours.predict_proba(X), theirs.predict_proba(X), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    for a, b in zip(ours.classes_, theirs.classes_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_conventions():
    model = make_pipeline(StandardScaler(), MultiOutputSoftmaxClassifier(C=np.full(5, 2.0)))
    copy = clone(model).set_params(multioutputsoftmaxclassifier__tol=1e-4).fit(X, Y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(copy)).predict(X[:50]), copy.predict(X[:50]))


def failed(estimator):
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    return {check["check_name"] for check in found if check["status"] == "failed"}


class Unskipped(MultiOutputClassifier):
    """That of scikit-learn, which leaves itself out of the checks."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags._skip_test = False
        return tags


@pytest.mark.filterwarnings("ignore")
def test_fails_no_check_that_scikit_learns_own_passes():
    allowed = failed(Unskipped(LogisticRegression())) | {
        # predictions to 1e-7 would need a tol of 1e-14
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
        "check_class_weight_classifiers",  # of labels that are 1-d, for those that have this parameter
    }
    assert failed(MultiOutputSoftmaxClassifier()) <= allowed


# ---------------------------------------------------------------------------------------------------------------------
# Labels


def read(y):
    return LabelSets.of(y, len(y), 1)


def test_labels_of_any_kind():
    text = np.array([["b", 1], [None, 2], ["a", float("nan")]], dtype=object)
    sets = read(text)
    assert [classes.tolist() for classes in sets.classes] == [["a", "b"], [1.0, 2.0]]
    np.testing.assert_array_equal(sets.labels, [[1, MISSING, 0], [0, 1, MISSING]])
    sets = read(np.array([[True, False], [False, True]]))
    np.testing.assert_array_equal(sets.labels, [[1, 0], [0, 1]])
    sets = read(np.array([[-7, 3, 0], [9, 5, 1], [9, 4, 0]]))
    assert [classes.tolist() for classes in sets.classes] == [[-7, 9], [3, 4, 5], [0, 1]]
    np.testing.assert_array_equal(sets.labels, [[0, 1, 1], [0, 2, 1], [0, 1, 0]])
    sets = read([["x", 1], ["y", 2]])
    assert [classes.tolist() for classes in sets.classes] == [["x", "y"], [1, 2]]


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.bool_])
def test_first_rows_need_not_have_all_classes(dtype):
    late = np.zeros((3000, 4), dtype)
    late[0, 0] = late[-1, 1] = late[:2, 2] = True
    late[::3, 3] = True
    if dtype is not np.bool_:
        late[1500, 3] = 2 if dtype is np.int64 else np.nan
    sets = LabelSets.of(late, 3000, 2)
    for t, classes in enumerate(sets.classes):
        known = late[:, t] == late[:, t]
        wanted, places = np.unique(late[known, t], return_inverse=True)
        np.testing.assert_array_equal(classes, wanted)
        np.testing.assert_array_equal(sets.labels[t, known], places)
        assert (sets.labels[t, ~known] == MISSING).all()


def test_many_classes_have_larger_labels():
    labels = np.column_stack([np.arange(400) % 200, np.arange(400) % 2])
    sets = read(labels)
    assert sets.labels.dtype == np.int16
    np.testing.assert_array_equal(sets.labels, labels.T)


def test_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "a": pandas.array([1, None, 0], dtype="Int64"),
            "b": pandas.Categorical(["u", "v", None]),
            "c": [0.0, np.nan, 1.0],
        }
    )
    sets = read(frame)
    assert [classes.tolist() for classes in sets.classes] == [[0, 1], ["u", "v"], [0.0, 1.0]]
    np.testing.assert_array_equal(sets.labels, [[1, MISSING, 0], [0, 1, MISSING], [0, MISSING, 1]])


def test_text_beside_numbers():
    labels = np.empty((N, 2), object)
    labels[:, 0], labels[:, 1] = np.where(Y[:, 0] == 0, "no", "yes"), Y[:, 2].astype(int)
    predicted = MultiOutputSoftmaxClassifier().fit(X, labels).predict(X)
    assert set(predicted[:, 0]) == {"no", "yes"}
    assert set(predicted[:, 1]) == {0, 1, 2}


def changed(place, value):
    labels = Y.copy()
    labels[place] = value
    return labels


BAD = {
    "holds one class": (changed(np.s_[:, 2], 1.0), None, {}),
    "all those of target 1 are missing": (changed(np.s_[:, 1], np.nan), None, {}),
    "contains infinity": (changed(np.s_[3, 3], np.inf), None, {}),
    "continuous": (changed(np.s_[:, 0], X[:, 0]), None, {}),
    "at least two dimensions": (Y[:, 0], None, {}),
    "inconsistent numbers of samples": (Y[:-1], None, {}),
    "y is None": (None, None, {}),
    "one for each of 5 targets": (Y, None, {"C": [1.0, 2.0]}),
    "positive number": (Y, None, {"C": [1.0, 2.0, -1.0, 1.0, 1.0]}),
    "sample_weight of shape": (Y, np.ones((N, 3)), {}),
    "Negative values": (Y, -np.ones(N), {}),
    "target 0 has": (Y, np.column_stack([Y[:, 0] == 0, *np.ones((4, N))]).astype(float), {}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_named(message):
    labels, weight, params = BAD[message]
    for model in (MultiOutputSoftmaxClassifier(**params), MultiOutputSoftmaxClassifierCV(Cs=[1.0])):
        if params and isinstance(model, MultiOutputSoftmaxClassifierCV):
            continue
        with pytest.raises(ValueError, match=message):
            model.fit(X, labels, weight)
        assert not hasattr(model, "classes_")


def test_other_numbers_of_targets_are_refused():
    with pytest.raises(ValueError, match="number of outputs"):
        MultiOutputSoftmaxClassifier().fit(X, Y).score(X, Y[:, :2])


# ---------------------------------------------------------------------------------------------------------------------
# The choice of C


CS = [1e-3, 0.1, 10.0]


def test_choice_is_that_of_each_target_by_itself():
    labels = np.column_stack([Y, FEW])
    model = MultiOutputSoftmaxClassifierCV(CS, cv=3).fit(X, labels)
    for t in range(labels.shape[1]):
        known = ~np.isnan(labels[:, t])
        own = SoftmaxRegressionClassifierCV(CS, cv=3, score_tol=0).fit(X[known], labels[known, t])
        np.testing.assert_allclose(model.scores_[t], own.scores_[:, 0], atol=1e-3)
        assert model.C_[t] == own.C_
    assert excess(model, X, labels, C=model.C_).max() < 1e-6


@pytest.mark.parametrize("kind", ["csr", "float64"])
def test_choice_by_accuracy_with_weights(kind):
    weight, data = np.random.default_rng(3).exponential(size=N), CONTAINERS[kind]
    labels = Y[:, [0, 2]]
    model = MultiOutputSoftmaxClassifierCV(CS, cv=3, scoring="accuracy").fit(data, labels, weight)
    for t in range(2):
        own = SoftmaxRegressionClassifierCV(CS, cv=3, scoring="accuracy", score_tol=0).fit(data, labels[:, t], weight)
        np.testing.assert_allclose(model.scores_[t], own.scores_[:, 0], atol=3e-3)


def test_folds_that_are_given():
    half = np.arange(N) % 2 == 0
    model = MultiOutputSoftmaxClassifierCV([1.0], cv=[(np.flatnonzero(half), np.flatnonzero(~half))]).fit(X, Y)
    assert model.scores_.shape == (5, 1, 1)
    known = ~np.isnan(Y[:, 1])
    own = SoftmaxRegressionClassifier().fit(X[half & known], Y[half & known, 1])
    loss = own.sample_loss(X[~half & known], Y[~half & known, 1]).mean()
    assert abs(model.scores_[1, 0, 0] + loss) < 1e-3


def test_class_that_a_fold_lacks():
    """It has a probability of zero there, and the least that there is counts, as for one target."""
    labels = np.column_stack([Y[:, 0], Y[:, 2]])
    labels[:, 1] = np.where(np.arange(N) < 3, 7, labels[:, 1])
    folds = [(np.arange(100, N), np.arange(100)), (np.arange(N - 100), np.arange(N - 100, N))]
    model = MultiOutputSoftmaxClassifierCV([1.0], cv=folds).fit(X, labels)
    own = SoftmaxRegressionClassifierCV([1.0], cv=folds).fit(X, labels[:, 1])
    np.testing.assert_allclose(model.scores_[1], own.scores_[:, 0], atol=1e-3)


def test_folds_without_a_second_class_are_refused():
    labels = np.column_stack([Y[:, 0], np.arange(N) < 100])
    with pytest.raises(ValueError, match="training rows of at least 2 classes"):
        MultiOutputSoftmaxClassifierCV([1.0], cv=[(np.arange(100, N), np.arange(100))]).fit(X, labels)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_rows_tell_where_all_are_curved(n_classes):
    rng = np.random.default_rng(0)
    rows, n_few = rng.normal(size=(20_000, 8)) + 3, 400
    labels = rng.integers(0, n_classes, (1, len(rows))).astype(np.int8)
    targets = Targets(LabelSets([np.arange(n_classes)], labels), None, None, True, np.float64)
    problems = targets.problems([0], np.ones(1), labels, 1.0)
    options = {"fit_intercept": True, "n_threads": 1}
    gram = SharedGram(ArraySource(rows), np.arange(len(rows)), None, **options)
    point = rng.normal(size=(int(problems.firsts[-1]), 9)) * 0.2

    def curved(some):
        sample = LabelSetObjectives(ArraySource(rows[some]), labels[:, some], None, **options)
        metric, ratio = at_points(gram, problems, point, sample, n_few if len(some) < len(rows) else len(rows), True)
        return metric.centers[0], ratio[0]

    (center, ratio), errors = curved(np.arange(len(rows))), []
    for start in range(0, 8000, 2 * n_few):
        found = curved(np.arange(start, start + 2 * n_few))
        errors.append([np.sum((found[0] - center) ** 2), (found[1] - ratio) ** 2])
    by_center, by_ratio = np.mean(errors, axis=0)
    # a mean of few rows, and a variance by them, are further off
    assert by_center < 0.5 * 8 / n_few
    assert by_ratio < 0.5 * 2 / n_few * ratio**2


def test_few_rows_of_rare_features_end_at_the_optimum():
    """Beside next to no penalty the second step seemed to end there, which nobody looked at."""
    rng = np.random.default_rng(26)
    few = np.stack([rng.random(25) < 0.15, rng.choice(3, 25, p=[0.9, 0.07, 0.03])], axis=1) * 1.0
    labels, weight = rng.integers(3, size=25), rng.uniform(0.1, 3, 25)
    options = {"C": 1e6, "fit_intercept": False}
    clf = MultiOutputSoftmaxClassifier(**options).fit(few, labels[:, None], weight)
    own = SoftmaxRegressionClassifier(**options, tol=1e-10).fit(few, labels, weight)
    assert clf.objective_[0] <= own.objective_ + 2e-6
    np.testing.assert_allclose(clf.predict_proba(few)[0], own.predict_proba(few), atol=0.01)


@pytest.mark.parametrize("make", [ArraySource, lambda X: CsrSource(sparse.csr_array(X))])
def test_pass_tells_of_rows_held_out(make):
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(-4, 2, 300), rng.integers(-4, 3, 300)]).astype(np.int8)
    labels[labels == -4] = MISSING
    labels[1][rng.random(300) < 0.2] = HELD_OUT - 2
    data, coef, intercept = X[:300].astype(np.float64), rng.normal(size=(4, P)), rng.normal(size=4)
    weight, by_class = rng.exponential(size=(2, 300)), np.array([1.0, 2.0, 1.0, 0.5, 3.0, 0.0])
    source = make(data)
    sums, grad, grad_intercept = source.passes(4, 1, 1).label_set_gradient(
        source.parts(), coef, intercept, (labels, weight, by_class, np.array([0, 1, 4])), np.arange(2)
    )
    scores = data @ coef.T + intercept
    for m, own in enumerate([np.column_stack([np.zeros(300), scores[:, 0]]), scores[:, 1:]]):
        place = np.where(labels[m] >= 0, labels[m], np.maximum(HELD_OUT - labels[m], 0)).astype(int)
        fitted, held_out = labels[m] >= 0, labels[m] <= HELD_OUT
        weights = weight[m] * by_class[[0, 2][m] :][place] * fitted
        proba = np.exp(own - np.logaddexp.reduce(own, axis=1)[:, None])
        loss = -np.log(proba[np.arange(300), place])
        hits = own.argmax(axis=1) == place
        expected = [weights @ loss, weight[m] @ (loss * held_out), weight[m] @ (hits * held_out)]
        np.testing.assert_allclose(sums[m], expected)
        residual = (proba - np.eye(own.shape[1])[place]) * weights[:, None]
        residual = residual[:, 1:] if m == 0 else residual
        np.testing.assert_allclose(grad[[slice(0, 1), slice(1, 4)][m]], residual.T @ data, atol=1e-10)
        np.testing.assert_allclose(grad_intercept[[slice(0, 1), slice(1, 4)][m]], residual.sum(axis=0), atol=1e-10)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("coef_stack_", lambda coef: coef[:, :1], r"coef_stack_ of shape \(4, 6\), got \(4, 1\)"),
        ("coef_stack_", lambda coef: coef[:3], r"coef_stack_ of shape \(4, 6\), got \(3, 6\)"),
        ("coef_stack_", lambda coef: coef + 0j, "coef_stack_ to be an array of real numbers"),
        ("coef_stack_", lambda coef: coef * np.nan, "finite values in coef_stack_"),
        ("coef_stack_", lambda coef: np.full_like(coef, -np.inf), "finite values in coef_stack_"),
        ("intercept_stack_", lambda intercept: intercept[:1], r"intercept_stack_ of shape \(4,\), got \(1,\)"),
        ("intercept_stack_", lambda intercept: intercept + np.inf, "finite values in intercept_stack_"),
    ],
)
def test_stacked_attributes_that_do_not_fit_together_reach_no_kernel(name, change, message):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 6)), np.stack([np.arange(60) % 2, np.arange(60) % 3], axis=1)
    clf = MultiOutputSoftmaxClassifier().fit(X, y)
    setattr(clf, name, change(getattr(clf, name)))
    with pytest.raises(ValueError, match=message):
        clf.predict_proba(X)


@pytest.mark.parametrize("weight", [np.full(300, 1e307), np.full((300, 2), 1e307)])
def test_weights_whose_sum_overflows_are_refused(weight):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 4)), rng.integers(0, 3, (300, 2))
    with pytest.raises(ValueError, match="sum that float64 can hold, got inf for target 0"):
        MultiOutputSoftmaxClassifier().fit(X, y, sample_weight=weight)
    with pytest.raises(ValueError, match="sum that float64 can hold, got inf for target 0"):
        MultiOutputSoftmaxClassifier(class_weight={0: 1e307, 1: 1e307, 2: 1e307}).fit(X, y)
