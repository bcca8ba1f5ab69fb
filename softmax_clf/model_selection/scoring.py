"""Scores of rows that a fold holds out, or of any others."""

import difflib
import inspect
from functools import cache

import numpy as np
from sklearn import config_context
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from ..rows import cross_entropy
from ..sklearn_private import check_method_params, routing_enabled, safe_indexing
from ..sources.stream import StreamSource
from ..validation import checked_weight, targets_among


def is_log_loss(scoring):
    """Whether scores are minus the mean cross-entropy."""
    return scoring in (None, "neg_log_loss")


def name_of(scoring):
    """What the scores are called."""
    if scoring is None or isinstance(scoring, str):
        return scoring or "neg_log_loss"
    return getattr(scoring, "__name__", None) or "score"


def scorer_of(scoring):
    """The scorer of scikit-learn, or the callable that it is."""
    if scoring is None:
        scorer = get_scorer("neg_log_loss")
        return scorer.set_score_request(sample_weight=True) if routing_enabled() else scorer
    if isinstance(scoring, str) and scoring not in get_scorer_names():
        close = difflib.get_close_matches(scoring, get_scorer_names(), n=3)
        meant = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ValueError(
            f"Expected scoring to be the name of a scorer of scikit-learn, got {scoring!r}. {meant}"
            "Remedy: choose one of sklearn.metrics.get_scorer_names(), or give a callable."
        )
    return get_scorer(scoring)


def score_on_rows(scoring, X, y, classes, params):
    """A function of a classifier: its score on rows whose labels may lack some of the classes.

    Parameters
    ----------
    scoring : str, callable or None
    X : array-like (n_rows, n_features)
    y : array (n_rows,)
    classes : array (n_classes,)
    params : dict
        For the scorer.
    """
    if is_log_loss(scoring):
        return _negative_log_loss(X, y, classes, params.get("sample_weight"))
    scorer = _for_labels(scorer_of(scoring), classes)
    return lambda clf: scorer(clf, X, y, **params)


def _negative_log_loss(X, y, classes, weight):
    @cache
    def target_and_weight(n_samples):
        target = targets_among(classes, y, n_samples)
        if weight is not None and not np.any(weight):
            raise ValueError(
                "Expected rows to score that have a positive total weight, in every fold, but those that are "
                "held out or given weigh nothing. Remedy: leave out rows of weight zero."
            )
        return target, checked_weight(weight, target)

    def score(clf):
        log_proba = clf.predict_log_proba(X)
        target, target_weight = target_and_weight(len(log_proba))
        eps = np.finfo(log_proba.dtype).eps  # as in sklearn.metrics.log_loss
        log_proba = np.clip(log_proba, np.log(eps), np.log1p(-eps))
        return -np.average(cross_entropy(log_proba, target).astype(np.float64), weights=target_weight)

    return score


def _for_labels(scorer, classes):
    """A scorer for rows whose labels may lack some of the classes, as LogisticRegressionCV has it for folds."""
    if not hasattr(scorer, "_score_func"):
        return scorer
    accepted = inspect.signature(scorer._score_func).parameters
    if "labels" not in accepted or "labels" in scorer._kwargs:
        return scorer
    fixed = {"labels": classes, **scorer._kwargs}
    if len(classes) == 2 and "pos_label" in accepted:
        fixed.setdefault("pos_label", classes[1])
    return make_scorer(
        scorer._score_func,
        response_method=scorer._response_method,
        greater_is_better=scorer._sign == 1,
        **fixed,
    )


def take_rows(source, rows):
    """Some rows of a source, to be predicted; in any order, and several times."""
    if not isinstance(source, StreamSource):
        return safe_indexing(source.X, rows)
    increasing, place = np.unique(rows, return_inverse=True)  # a stream is read in increasing order
    return source.take(increasing)[place]


def score_cells(scores_out, cells, scoring, data, labels, tests, score_params, classifier_of):
    """Write the scores of some cells, with one fold's copy of its rows at a time.

    Parameters
    ----------
    scores_out : array (n_folds, n_l1_ratios, n_Cs)
    cells : array (n_folds, n_l1_ratios, n_Cs) bool
        Which to write.
    scoring : str, callable or None
    data : TrainingData
    labels : array (n_samples,)
    tests : list of array of int
        Rows that each fold holds out.
    score_params : dict
        For the scorer, of all rows.
    classifier_of : callable (f, r, c) -> classifier
        The fitted classifier of a cell.
    """
    with config_context(assume_finite=True):  # the rows have been looked at once
        for f in np.flatnonzero(cells.any(axis=(1, 2))):
            params = check_method_params(data.source.X, params=score_params, indices=tests[f])
            score = score_on_rows(scoring, take_rows(data.source, tests[f]), labels[tests[f]], data.classes, params)
            for r, c in np.argwhere(cells[f]):
                scores_out[f, r, c] = score(classifier_of(f, r, c))
            del score
