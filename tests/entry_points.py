"""Random data for what else takes data: choices of C, paths, many targets, streams. tests/test_inputs.py runs it."""

import sys
from types import SimpleNamespace

import inputs
import numpy as np
import pandas as pd
from hypothesis import strategies as st
from inputs import check_predictions, check_proba, compare, refusal
from sklearn.model_selection import StratifiedKFold

from softmax_clf import (
    MultiOutputSoftmaxClassifier,
    SoftmaxRegressionClassifier,
    SoftmaxRegressionClassifierCV,
    softmax_regression_path,
)

CS = [1e-6, 1e-2, 1.0, 1e2, 1e6, np.inf]
LABELS_OF_TARGETS = {  # NaN or None where there is none
    "floats": lambda Y: Y,
    "objects": lambda Y: np.array([[None if np.isnan(label) else f"class {label:g}" for label in row] for row in Y]),
    "list": lambda Y: Y.tolist(),
    "frame": lambda Y: pd.DataFrame(Y, index=np.arange(len(Y))[::-1]),
}


def some_Cs(draw):
    return sorted(draw(st.lists(st.sampled_from(CS), min_size=1, max_size=3, unique=True)))


@st.composite
def path_cases(draw, is_plain=False):
    case = draw(inputs.cases(is_plain))
    return *case[:-1], {**case[-1], "C": some_Cs(draw)}


def check_path(case):
    """A path: each C as a fit of its own."""
    given, parameters = inputs.given_to(case), dict(case[-1])
    Cs, found = parameters.pop("C"), []
    rows = {"sample_weight": given.weight, "Cs": Cs}
    error = refusal(
        SimpleNamespace(), lambda: found.append(softmax_regression_path(given.X, given.y, **rows, **parameters))
    )
    if error is not None:
        assert not given.valid or not given.moderate, f"refused: {error}"
        return "refused"
    assert given.valid or given.fault is None, f"accepted in spite of {given.fault}"
    if not given.valid:
        return "one class"
    (path,) = found
    np.testing.assert_array_equal(path.Cs, Cs)
    assert np.isfinite(path.coefs).all()
    assert not np.isnan(path.intercepts).any()  # a class without weight has minus infinity
    assert (path.n_iters >= 0).all()
    if not given.moderate or parameters["standardize"]:
        return "fitted"
    for C, coef, intercept in zip(Cs, path.coefs, path.intercepts, strict=True):
        clf = SimpleNamespace(coef_=coef, intercept_=intercept, classes_=classes_of(given), converged_=None)
        compare(clf, given.plain, given.places, given.mass, {**parameters, "C": C}, given.dtype)
    return "compared"


def classes_of(given):
    """Target probabilities have a class for each column, labels one for each that there is."""
    return np.arange(given.y.shape[1]) if np.ndim(given.y) == 2 else np.unique(given.places)


@st.composite
def choice_cases(draw, is_plain=False):
    case = draw(inputs.cases(is_plain))
    parameters = {name: value for name, value in case[-1].items() if name not in ("C", "l1_ratio")}
    parameters |= {
        "Cs": some_Cs(draw),
        "l1_ratios": draw(st.sampled_from([[0.0], [0.0], [0.5], [0.0, 1.0]])),
        "cv": draw(st.sampled_from([2, 2, 3, 3, "holdout", "loo"])),
        "scoring": draw(st.sampled_from([None, None, "accuracy"])),
        "refit": draw(st.sampled_from([True, True, False])),
        "selection": draw(st.sampled_from(["best", "best", "1se"])),
        "score_tol": draw(st.sampled_from([0.1, 0.0])),
        "random_state": 0,
    }
    if parameters["cv"] == "loo":
        parameters["l1_ratios"] = [0.0]
    if parameters["selection"] == "1se":
        parameters["refit"] = True
        parameters["cv"] = parameters["cv"] if isinstance(parameters["cv"], int) else 2
    return *case[:-1], {**parameters, "C": parameters["Cs"]}


def can_be_chosen(given, cv):
    """Whether each fold has two classes of a weight to be fitted to, and a weight to be scored by."""
    if isinstance(cv, str):  # not to be known from here
        return False
    if np.bincount(given.places).max() < cv:
        return False
    for train, test in StratifiedKFold(cv).split(given.plain, given.places):
        if np.unique(given.places[train][given.mass[train] > 0]).size < 2 or not given.mass[test].any():
            return False
    return True


def check_choice(case):
    """A choice of C: the scores are numbers, and what is chosen is as a fit of its own."""
    parameters, given = dict(case[-1]), inputs.given_to(case)
    Cs = parameters.pop("C")
    clf = SoftmaxRegressionClassifierCV(**parameters)
    error = refusal(clf, lambda: clf.fit(given.X, given.y, given.weight))
    if error is not None:
        suits = given.valid and can_be_chosen(given, clf.cv)
        assert not suits or not given.moderate, f"refused: {error}"
        return "refused"
    assert given.valid or given.fault is None, f"accepted in spite of {given.fault}"
    if not given.valid:
        return "one class"
    check_predictions(clf, given.X)
    assert clf.cv == "loo" or not np.isnan(clf.scores_).any(), "scores"
    assert np.isfinite(clf.best_score_), "the best score"
    assert not np.isnan(clf.score_errors_).any(), "errors of scores"
    if not clf.refit:
        return "fitted"
    assert clf.C_ in Cs
    if not given.moderate or clf.standardize:
        return "fitted"
    chosen = {**parameters, "C": clf.C_, "l1_ratio": clf.l1_ratio_}
    compare(clf, given.plain, given.places, given.mass, chosen, given.dtype)
    return "compared"


def with_squares(given):
    """What is moderate are features whose squares are numbers in their precision."""
    most = 1e18 if given.dtype == np.float32 else 1e100
    return given._replace(moderate=given.moderate and np.abs(given.plain).max() < most)


@st.composite
def target_cases(draw, is_plain=False):
    case = draw(inputs.cases(is_plain))
    n, n_targets = len(case[0]), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    Y = np.column_stack([case[2], *rng.integers(draw(st.integers(2, 4)), size=(n_targets - 1, n))]).astype(float)
    Y[rng.random(Y.shape) < draw(st.sampled_from([0.0, 0.0, 0.3, 0.8]))] = np.nan
    own_weights = draw(st.booleans())
    parameters = {name: case[-1][name] for name in ("fit_intercept", "class_weight", "n_jobs")}
    parameters["C"] = draw(st.sampled_from(CS)) if draw(st.booleans()) else rng.choice(CS, n_targets)
    labels = draw(st.sampled_from(sorted(LABELS_OF_TARGETS)))
    return (*case[:-1], parameters), Y, labels, own_weights


def check_targets(case):
    """Many targets: each as a fit of its own to the rows that have a label."""
    case, Y, labels, own_weights = case
    given, parameters = inputs.given_to(case), case[-1]
    weight = given.weight
    if own_weights and weight is not None:
        weight = np.column_stack([np.roll(weight, t) for t in range(Y.shape[1])])
    y = LABELS_OF_TARGETS[labels](Y[1:] if given.fault == "short" else Y)
    clf = MultiOutputSoftmaxClassifier(**parameters)
    error = refusal(clf, lambda: clf.fit(given.X, y, weight))
    mass = np.ones(Y.shape) if weight is None else np.broadcast_to(weight.T, Y.T.shape).T
    known = ~np.isnan(Y)
    n_weighted = [np.unique(Y[known[:, t] & (mass[:, t] > 0), t]).size for t in range(Y.shape[1])]
    valid = given.fault is None and min(n_weighted) >= 2
    given = with_squares(given)
    if error is not None:
        assert not valid or not given.moderate, f"refused: {error}"
        return "refused"
    assert valid or given.fault is None, f"accepted in spite of {given.fault}"
    if not valid:
        return "one class"
    assert clf.predict(given.X).shape == Y.shape
    for t, (proba, own) in enumerate(zip(clf.predict_proba(given.X), clf.estimators_, strict=True)):
        check_proba(proba, own.coef_.dtype)
        assert np.isfinite(own.coef_).all()
        assert np.isfinite(own.objective_)
        if given.moderate:
            C, rows = own.C, known[:, t]
            places = np.unique(Y[rows, t], return_inverse=True)[1]
            problem = {"l1_ratio": 0.0, **parameters, "C": C}
            compare(own, given.plain[rows], places, mass[rows, t], problem, given.dtype)
    return "compared" if given.moderate else "fitted"


@st.composite
def stream_cases(draw, is_plain=False):
    case = draw(inputs.cases(is_plain))
    parameters = {**case[-1], "l1_ratio": 0.0, "standardize": False, "class_weight": None}
    cuts = draw(st.lists(st.integers(1, len(case[0]) - 1), max_size=3, unique=True))
    names_classes, forget = draw(st.booleans()), draw(st.sampled_from([0.0, 0.0, 0.1, 0.9]))
    return (*case[:-1], parameters), sorted(cuts), names_classes, forget


def check_stream(case):
    """A stream: the first batch as a fit to it; after each one there are probabilities."""
    case, cuts, names_classes, forget = case
    X, container, y, labels, weight, fault, parameters = case
    clf, outcomes = SoftmaxRegressionClassifier(**parameters), []
    names_classes &= labels != "targets" and np.unique(y).size >= 2
    classes = np.unique(inputs.LABELS[labels](y)) if names_classes else None
    for number, rows in enumerate(np.split(np.arange(len(y)), cuts)):
        own_fault = fault if number == len(cuts) else None
        own_weight = None if weight is None else weight[rows]
        n_targets = y.max() + 1  # each batch has all of them, as columns
        own_labels = "integers" if labels == "targets" else labels
        given = inputs.given_to((X[rows], container, y[rows], own_labels, own_weight, own_fault, parameters))
        given = with_squares(given)
        if labels == "targets":
            given = given._replace(y=np.eye(n_targets)[y[rows][1:] if given.fault == "short" else y[rows]])
        arguments = {
            "classes": None if hasattr(clf, "coef_") else classes,
            "sample_weight": given.weight,
            "forget": forget,
        }
        error = refusal(clf, lambda given=given, arguments=arguments: clf.partial_fit(given.X, given.y, **arguments))
        if error is not None:
            begun = names_classes or labels == "targets" or hasattr(clf, "coef_") or np.unique(given.places).size >= 2
            suits = given.fault is None and begun and given.mass.any()
            assert not suits or not given.moderate, f"refused: {error}"
            outcomes.append("refused")
            continue
        assert given.fault is None, f"accepted in spite of {given.fault}"
        check_predictions(clf, given.X)
        outcomes.append("fitted")
        if number == 0 and given.moderate and given.valid and clf.n_iter_ < clf.max_iter:
            compare(clf, given.plain, given.places, given.mass, parameters, given.dtype, share=1e-4)
            outcomes[-1] = "compared"
    return "+".join(sorted(set(outcomes)))


KINDS = {
    "fit": (inputs.cases, inputs.check),
    "path": (path_cases, check_path),
    "choice": (choice_cases, check_choice),
    "targets": (target_cases, check_targets),
    "stream": (stream_cases, check_stream),
}


def run(kind, n_cases, first_seed=0, **options):
    """Check so many cases of a kind; print how many came to what."""
    inputs.run(n_cases, first_seed, *KINDS[kind], **options)


if __name__ == "__main__":
    run(sys.argv[1], *map(int, sys.argv[2:]))
