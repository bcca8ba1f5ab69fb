"""Stopping where the loss on validation rows no longer shrinks, and keeping the best."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array, csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import reference
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.sources.stream import StreamSource
from softmax_clf.training_data import rows_held_out

DIGITS, DIGIT = load_digits(return_X_y=True)
(TRAIN, HELD_OUT) = (
    np.sort(rows) for rows in next(StratifiedShuffleSplit(1, test_size=0.1, random_state=0).split(DIGITS, DIGIT))
)
X_VAL, Y_VAL = DIGITS[HELD_OUT], DIGIT[HELD_OUT]


def stopping(C=1.0, **params):
    return SoftmaxRegressionClassifier(C, early_stopping=True, **{"random_state": 0, **params})


def fit_on_parts(clf, X=DIGITS, y=DIGIT):
    return clf.fit(X[TRAIN], y[TRAIN], X_val=X[HELD_OUT], y_val=y[HELD_OUT])


SPLITS_AT_RANDOM = "which rows are held out depends on their number and order"


@parametrize_with_checks(
    [stopping()],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": SPLITS_AT_RANDOM,
        "check_sample_weight_equivalence_on_sparse_data": SPLITS_AT_RANDOM,
    },
)
def test_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_iter_no_change", [1, 3, 5])
@pytest.mark.parametrize("C", [0.001, 1.0, np.inf])
def test_stops_and_keeps_the_best(C, n_iter_no_change):
    """No warning: that it stopped is what was asked for."""
    clf = fit_on_parts(stopping(C, n_iter_no_change=n_iter_no_change))
    curve = np.array(clf.validation_loss_curve_)
    best = curve.argmin()
    assert len(curve) == len(clf.loss_curve_) == clf.n_iter_ + 1
    assert clf.n_iter_ == best + n_iter_no_change
    assert clf.converged_ is False
    assert clf.objective_ == clf.loss_curve_[best] > clf.loss_curve_[-1]
    assert clf.suboptimality_ > clf.objective_ - clf.loss_curve_[-1]
    assert clf.sample_loss(X_VAL, Y_VAL).mean() == pytest.approx(curve[best], rel=1e-12)
    objective = reference.Objective(DIGITS[TRAIN], reference.one_hot(DIGIT[TRAIN]), C)
    assert objective.loss(clf.coef_, clf.intercept_) == pytest.approx(clf.objective_, rel=1e-9)
    assert curve[best] <= SoftmaxRegressionClassifier(C, tol=1e-3).fit(
        DIGITS[TRAIN], DIGIT[TRAIN]
    ).sample_loss(X_VAL, Y_VAL).mean()  # fmt: skip


def test_a_fit_that_gets_better_to_the_end_is_the_ordinary_one():
    """Watched on the rows that are fitted, without a penalty: no step makes the loss larger."""
    X, y = StandardScaler().fit_transform(DIGITS[:, 10:16]), DIGIT % 2
    clf, plain = stopping(np.inf).fit(X, y, X_val=X, y_val=y), SoftmaxRegressionClassifier(np.inf)
    plain.fit(X, y)
    assert clf.converged_ is True
    assert clf.suboptimality_ == plain.suboptimality_
    assert_array_equal(clf.coef_, plain.coef_)
    assert_allclose(clf.validation_loss_curve_, clf.loss_curve_, rtol=1e-12)


def test_without_early_stopping_there_is_no_curve():
    clf = stopping().fit(DIGITS, DIGIT)
    assert hasattr(clf, "validation_loss_curve_")
    clf.set_params(early_stopping=False, tol=1e-3).fit(DIGITS, DIGIT)
    assert not hasattr(clf, "validation_loss_curve_")


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_rows_held_out_are_left_out(standardize, fit_intercept):
    """By class, as StratifiedShuffleSplit draws them; the fit is that of the others, until the metrics differ."""
    clf = stopping(standardize=standardize, fit_intercept=fit_intercept)
    held_out = clone(clf).fit(DIGITS, DIGIT)
    given = fit_on_parts(clf)
    assert_allclose(held_out.validation_loss_curve_[:4], given.validation_loss_curve_[:4], rtol=1e-6)
    assert_allclose(held_out.loss_curve_[:4], given.loss_curve_[:4], rtol=1e-6)


def test_rows_held_out_affect_nothing_but_the_choice():
    X = DIGITS.copy()
    X[HELD_OUT] = 7.0
    curves = [stopping(n_iter_no_change=1000, tol=1e-3).fit(data, DIGIT).loss_curve_ for data in (DIGITS, X)]
    assert_array_equal(*curves)


class Rows:
    """The least that a stream has to be."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self.X[rows]


def read_only(X, folder):
    X = X.copy()
    X.flags.writeable = False
    return X


def memmap(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


CONTAINERS = {
    "C": lambda X, folder: X,
    "F": lambda X, folder: np.asfortranarray(X),
    "read-only": read_only,
    "list": lambda X, folder: X.tolist(),
    "uint8": lambda X, folder: X.astype(np.uint8),
    "float16": lambda X, folder: X.astype(np.float16),
    "float32": lambda X, folder: X.astype(np.float32),
    "int64": lambda X, folder: X.astype(np.int64),
    "CSR": lambda X, folder: csr_array(X),
    "COO": lambda X, folder: coo_array(X),
    "memmap": memmap,
    "stream": lambda X, folder: Rows(X),
    "uint8 stream": lambda X, folder: Rows(X.astype(np.uint8)),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container, tmp_path, monkeypatch):
    """Of the rows that are fitted, and of those that are watched; streams in several slices."""
    monkeypatch.setitem(StreamSource.__init__.__kwdefaults__, "budget", 2 * 100 * 64 * 8)
    clf, make = stopping(0.01, max_iter=4), CONTAINERS[container]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected, expected_given = clone(clf).fit(DIGITS, DIGIT), fit_on_parts(clone(clf))
        held_out = clone(clf).fit(make(DIGITS, tmp_path), DIGIT)
        given = clone(clf).fit(DIGITS[TRAIN], DIGIT[TRAIN], X_val=make(X_VAL, tmp_path), y_val=Y_VAL)
    rtol = 1e-3  # float32, or a metric of another kind
    assert_allclose(held_out.validation_loss_curve_, expected.validation_loss_curve_, rtol=0.2)
    assert_allclose(
        held_out.sample_loss(X_VAL, Y_VAL).mean(dtype=np.float64), min(held_out.validation_loss_curve_), rtol=rtol
    )
    assert_allclose(given.validation_loss_curve_, expected_given.validation_loss_curve_, rtol=rtol)
    assert_array_equal(given.coef_, expected_given.coef_)


@pytest.mark.parametrize("class_weight", [None, "balanced", {3: 5.0}])
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_rows_weigh_as_in_the_objective(weighted, class_weight):
    """'balanced' weights are those of the rows that are fitted."""
    keep = (DIGIT > 3) | (np.arange(len(DIGIT)) % 3 == 0)
    X, y = DIGITS[keep], DIGIT[keep]
    sample_weight = np.random.default_rng(0).uniform(0.1, 2, len(y)) if weighted else None
    train, held_out = next(StratifiedShuffleSplit(1, test_size=0.1, random_state=0).split(X, y))
    clf = stopping(0.01, class_weight=class_weight).fit(X, y, sample_weight)
    every = np.ones(len(y)) if sample_weight is None else sample_weight
    by_row = reference.row_weights(y[train], every[train], class_weight) / every[train]
    by_class = np.array([by_row[y[train] == k].mean() for k in range(10)])
    weight = every[held_out] * by_class[y[held_out]]
    loss = np.average(clf.sample_loss(X[held_out], y[held_out]), weights=weight)
    assert min(clf.validation_loss_curve_) == pytest.approx(loss, rel=1e-10)
    given = stopping(0.01, class_weight=class_weight).fit(X[train], y[train], X_val=X[held_out], y_val=y[held_out])
    loss = given.sample_loss(X[held_out], y[held_out])
    if not weighted:
        assert min(given.validation_loss_curve_) == pytest.approx(np.average(loss, weights=weight), rel=1e-10)


def test_a_weight_on_rows_held_out_is_no_weight_in_the_fit():
    sample_weight = np.ones(len(DIGIT))
    sample_weight[HELD_OUT] = 50.0
    clf, plain = (stopping(0.01).fit(DIGITS, DIGIT, weight) for weight in (sample_weight, None))
    assert_allclose(clf.loss_curve_, plain.loss_curve_, rtol=1e-10)
    assert_allclose(clf.validation_loss_curve_, plain.validation_loss_curve_, rtol=1e-10)


def test_rows_without_weight_are_not_held_out():
    weight = np.zeros(len(DIGIT))
    weight[TRAIN] = 1.0
    X = DIGITS.copy()
    X[HELD_OUT] = 7.0
    a, b = (stopping(0.01).fit(data, DIGIT, weight) for data in (DIGITS, X))
    assert_array_equal(a.validation_loss_curve_, b.validation_loss_curve_)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_no_class_is_held_out_altogether(class_weight):
    y = DIGIT.copy()
    y[5] = 10
    for seed in range(30):
        clf = stopping(0.01, validation_fraction=0.5, random_state=seed, class_weight=class_weight)
        assert 5 not in rows_held_out(y, None, 0.5, seed)
        clf.fit(DIGITS[:100], y[:100])
        assert np.isfinite(clf.validation_loss_curve_).all()


def test_two_classes():
    y = DIGIT % 2
    clf = stopping().fit(DIGITS[TRAIN], y[TRAIN], X_val=X_VAL, y_val=y[HELD_OUT])
    assert clf.coef_.shape == (1, 64)
    assert clf.validation_loss_curve_[0] == pytest.approx(np.log(2))
    assert min(clf.validation_loss_curve_) == pytest.approx(clf.sample_loss(X_VAL, y[HELD_OUT]).mean(), rel=1e-12)
    held_out = stopping().fit(DIGITS, y)
    assert held_out.n_iter_ == np.argmin(held_out.validation_loss_curve_) + 5


@pytest.mark.parametrize("n_classes", [2, 10])
def test_target_probabilities(n_classes):
    """Hard ones are labels; soft ones have the mean loss."""
    y = DIGIT % n_classes
    soft = 0.9 * reference.one_hot(y) + 0.1 / n_classes
    labels = stopping(0.1).fit(DIGITS[TRAIN], y[TRAIN], X_val=X_VAL, y_val=y[HELD_OUT])
    hard = stopping(0.1).fit(DIGITS[TRAIN], y[TRAIN], X_val=X_VAL, y_val=reference.one_hot(y[HELD_OUT]))
    assert_allclose(hard.validation_loss_curve_, labels.validation_loss_curve_, rtol=1e-12)
    clf = stopping(0.1).fit(DIGITS[TRAIN], soft[TRAIN], X_val=X_VAL, y_val=soft[HELD_OUT])
    assert min(clf.validation_loss_curve_) == pytest.approx(clf.sample_loss(X_VAL, soft[HELD_OUT]).mean(), rel=1e-12)
    held_out = stopping(0.1).fit(DIGITS, soft)
    assert held_out.validation_loss_curve_[0] == pytest.approx(np.log(n_classes))


@pytest.mark.parametrize("n_classes", [2, 10])
def test_offsets_of_rows_held_out(n_classes):
    offset = np.random.default_rng(0).standard_normal((len(DIGIT), n_classes))
    y = DIGIT % n_classes
    clf = stopping(0.1).fit(DIGITS, y, offset=offset)
    held_out = next(StratifiedShuffleSplit(1, test_size=0.1, random_state=0).split(DIGITS, y))[1]
    loss = clf.sample_loss(DIGITS[held_out], y[held_out], offset=offset[held_out]).mean()
    assert min(clf.validation_loss_curve_) == pytest.approx(loss, rel=1e-10)


def test_labels_of_any_dtype():
    names = np.array([f"digit {k}" for k in range(10)], dtype=object)
    coded, named = fit_on_parts(stopping(0.01)), fit_on_parts(stopping(0.01), y=names[DIGIT])
    assert_array_equal(named.coef_, coded.coef_)
    assert_array_equal(named.validation_loss_curve_, coded.validation_loss_curve_)


def test_validation_rows_may_lack_classes():
    few = Y_VAL < 3
    clf = stopping(0.01).fit(DIGITS[TRAIN], DIGIT[TRAIN], X_val=X_VAL[few], y_val=Y_VAL[few])
    assert min(clf.validation_loss_curve_) == pytest.approx(clf.sample_loss(X_VAL[few], Y_VAL[few]).mean(), rel=1e-12)


def test_random_state():
    a, b, other = (stopping(0.01, random_state=seed).fit(DIGITS, DIGIT) for seed in (3, 3, 4))
    assert_array_equal(a.coef_, b.coef_)
    assert a.validation_loss_curve_ != other.validation_loss_curve_


def test_the_bits_do_not_depend_on_threads():
    one, two = (stopping(n_jobs=n).fit(DIGITS, DIGIT) for n in (1, 2))
    assert one.validation_loss_curve_ == two.validation_loss_curve_
    assert_array_equal(one.coef_, two.coef_)


def test_float32():
    clf = stopping().fit(DIGITS.astype(np.float32), DIGIT)
    assert clf.coef_.dtype == np.float32
    assert clf.n_iter_ == np.argmin(clf.validation_loss_curve_) + 5
    assert pickle.loads(pickle.dumps(clf)).validation_loss_curve_ == clf.validation_loss_curve_


def test_warm_start():
    clf = stopping(0.01, warm_start=True).fit(DIGITS, DIGIT)
    best = min(clf.validation_loss_curve_)
    clf.fit(DIGITS, DIGIT)
    assert clf.validation_loss_curve_[0] == pytest.approx(best, rel=1e-9)


def test_max_iter_still_warns():
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        clf = stopping(max_iter=2).fit(DIGITS, DIGIT)
    assert clf.n_iter_ == 2
    assert clf.converged_ is False


def test_verbose_tells_the_loss(capsys):
    stopping(1.0, verbose=2).fit(DIGITS, DIGIT)
    lines = capsys.readouterr().out.splitlines()
    assert "validation loss" in lines[0]
    assert lines[-1].startswith("stopped after")


def test_in_a_pipeline_and_a_search():
    with config_context(enable_metadata_routing=True):
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("clf", stopping(0.1).set_fit_request(X_val=True, y_val=True))],
            transform_input=["X_val"],
        )
        pipeline.fit(DIGITS[TRAIN], DIGIT[TRAIN], X_val=X_VAL, y_val=Y_VAL)
    loss = pipeline[-1].sample_loss(pipeline[:-1].transform(X_VAL), Y_VAL).mean()
    assert min(pipeline[-1].validation_loss_curve_) == pytest.approx(loss, rel=1e-12)
    search = GridSearchCV(stopping(), {"C": [1e-3, 1.0], "n_iter_no_change": [1, 5]}, cv=2).fit(DIGITS, DIGIT)
    assert search.score(DIGITS, DIGIT) > 0.9


@pytest.mark.parametrize(
    ("params", "data", "match"),
    [
        ({}, {"X_val": X_VAL}, "y_val"),
        ({}, {"y_val": Y_VAL}, "X_val"),
        ({"early_stopping": False}, {"X_val": X_VAL, "y_val": Y_VAL}, "early_stopping=True"),
        ({}, {"X_val": X_VAL, "y_val": Y_VAL, "offset": np.zeros((len(DIGIT), 10))}, "offset"),
        ({}, {"X_val": X_VAL[:, :9], "y_val": Y_VAL}, "9 features"),
        ({}, {"X_val": np.where(X_VAL == 3, np.nan, X_VAL), "y_val": Y_VAL}, "NaN"),
        ({}, {"X_val": X_VAL, "y_val": Y_VAL[1:]}, "Remedy"),
        ({}, {"X_val": X_VAL, "y_val": Y_VAL + 1}, "got also.*10.*Remedy"),
        ({}, {"X_val": X_VAL, "y_val": np.eye(3)[Y_VAL % 3]}, "10 classes.*Remedy"),
        ({"class_weight": {0: 0.0}}, {"X_val": X_VAL[:5] * 0, "y_val": np.zeros(5, int)}, "positive total.*Remedy"),
        ({"validation_fraction": 0.0}, {}, "validation_fraction"),
        ({"validation_fraction": 1.0}, {}, "validation_fraction"),
        ({"n_iter_no_change": 0}, {}, "n_iter_no_change"),
    ],
)
def test_what_does_not_fit_together_is_refused(params, data, match):
    """And leaves the fitted estimator as it was."""
    clf = stopping(0.01).fit(DIGITS, DIGIT)
    before = dict(vars(clf))
    with pytest.raises(ValueError, match=rf"(?s){match}"):
        clf.set_params(**params).fit(DIGITS, DIGIT, **data)
    assert {name: vars(clf)[name] for name in before if name.endswith("_")} == {
        name: value for name, value in before.items() if name.endswith("_")
    }


def test_no_rows_to_spare():
    with pytest.raises(ValueError, match=r"none can be spared.*Remedy"):
        stopping().fit(np.eye(3), [0, 1, 2])


def test_validation_rows_that_overflow():
    X = DIGITS.astype(np.float32)
    with pytest.raises(ValueError, match=r"X_val.*overflow.*Remedy"):
        stopping().fit(X[TRAIN], DIGIT[TRAIN], X_val=np.full((5, 64), 3e38, np.float32), y_val=np.zeros(5, int))


def test_the_one_that_chooses_C_has_none_of_it():
    """A parameter is there when it works: every cell of its table is fitted to its optimum."""
    assert "early_stopping" not in inspect.signature(SoftmaxRegressionClassifierCV).parameters
