"""Scores of rows that a fold holds out, or of any others."""

import difflib
import inspect
from functools import cache

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from ..prediction import SoftmaxClassifier
from ..rows import cross_entropy
from ..sklearn_private import check_method_params, parts_of_scorer, routing_enabled, safe_indexing
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


def check_scoring(scoring, y, n_classes):
    """Raise ValueError where target probabilities, or so many classes, cannot be scored so."""
    if np.ndim(y) == 2 and not (is_log_loss(scoring) or scoring == "accuracy" or callable(scoring)):
        raise ValueError(
            "Expected scoring to be None, 'neg_log_loss', 'accuracy' or a callable for target probabilities, got "
            f"{scoring!r}, which scores labels. Remedy: take one of these, or pass labels as a 1-d y."
        )
    if n_classes > 2 and isinstance(scoring, str):
        # scorers of two classes have variants that average over more
        averages = [f"{scoring}_{how}" for how in ("macro", "micro", "ovr", "ovo")]
        averages = [name for name in averages if name in get_scorer_names()]
        if averages:
            raise ValueError(
                f"Expected scoring that knows more than two classes, got {scoring!r} for {n_classes}. Remedy: choose "
                f"{' or '.join(map(repr, averages))}, which average over classes."
            )


def score_on_rows(scoring, X, y, classes, params, offset=None):
    """A function of a classifier: its score on rows whose labels may lack some of the classes.

    Parameters
    ----------
    scoring : str, callable or None
    X : array-like (n_rows, n_features)
    y : array (n_rows,), or (n_rows, n_classes)
        Labels, or target probabilities.
    classes : array (n_classes,)
    params : dict
        For the scorer.
    offset : array (n_rows, n_classes), or None
        Added to the scores of the rows.
    """
    if is_log_loss(scoring):
        return _negative_log_loss(X, y, classes, params.get("sample_weight"), offset)
    if np.ndim(y) == 2 and scoring == "accuracy":
        return lambda clf: SoftmaxClassifier.score(clf, X, y, offset=offset, **params)
    scorer = _for_labels(scorer_of(scoring), classes)
    if offset is None:
        return lambda clf: scorer(clf, X, y, **params)
    return lambda clf: scorer(AtOffset(clf, offset), X, y, **params)


class AtOffset(ClassifierMixin, BaseEstimator):
    """A fitted classifier of rows that have an offset, which scorers would not pass on.

    Parameters
    ----------
    classifier : SoftmaxClassifier
    offset : array (n_rows, n_classes)
        Of the rows that are given, all of them.
    """

    def __init__(self, classifier, offset):
        self.classifier, self.offset = classifier, offset
        self.classes_ = classifier.classes_

    def decision_function(self, X):
        return self.classifier.decision_function(X, self.offset)

    def predict(self, X):
        return self.classifier.predict(X, self.offset)

    def predict_proba(self, X):
        return self.classifier.predict_proba(X, self.offset)

    def predict_log_proba(self, X):
        return self.classifier.predict_log_proba(X, self.offset)


def _negative_log_loss(X, y, classes, weight, offset):
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
        log_proba = clf.predict_log_proba(X, offset)
        target, target_weight = target_and_weight(len(log_proba))
        eps = np.finfo(log_proba.dtype).eps  # as in sklearn.metrics.log_loss
        log_proba = np.clip(log_proba, np.log(eps), np.log1p(-eps))
        return -np.average(cross_entropy(log_proba, target).astype(np.float64), weights=target_weight)

    return score


def _for_labels(scorer, classes):
    """A scorer for rows whose labels may lack some of the classes, as LogisticRegressionCV has it for folds."""
    parts = parts_of_scorer(scorer)
    if parts is None:
        return scorer
    function, fixed, method, sign = parts
    accepted = inspect.signature(function).parameters
    if "labels" not in accepted or "labels" in fixed:
        return scorer
    fixed = {"labels": classes, **fixed}
    if len(classes) == 2 and "pos_label" in accepted:
        fixed.setdefault("pos_label", classes[1])
    return make_scorer(function, response_method=method, greater_is_better=sign == 1, **fixed)


def offset_by_class(offset, n_classes):
    """What is added to the scores, (n_rows, n_classes), from (n_rows, n_outputs) or None."""
    if offset is None or offset.shape[1] == n_classes:
        return offset
    return np.concatenate([np.zeros_like(offset), offset], axis=1)


def take_rows(source, rows):
    """Some rows of a source, to be predicted; in any order, and several times."""
    if not isinstance(source, StreamSource):
        return safe_indexing(source.X, rows)
    increasing, place = np.unique(rows, return_inverse=True)  # a stream is read in increasing order
    return source.take(increasing)[place]


def score_cells(scores_out, cells, scoring, data, tests, score_params, classifier_of):
    """Write the scores of some cells, with one fold's copy of its rows at a time.

    Parameters
    ----------
    scores_out : array (n_folds, n_l1_ratios, n_Cs)
    cells : array (n_folds, n_l1_ratios, n_Cs) bool
        Which to write.
    scoring : str, callable or None
    data : TrainingData
    tests : list of array of int
        Rows that each fold holds out.
    score_params : dict
        For the scorer, of all rows.
    classifier_of : callable (f, r, c) -> classifier
        The fitted classifier of a cell.
    """
    labels, offset = data.labels, offset_by_class(data.offset, data.n_classes)
    with config_context(assume_finite=True):  # the rows have been looked at once
        for f in np.flatnonzero(cells.any(axis=(1, 2))):
            rows = tests[f]
            params = check_method_params(data.source.X, params=score_params, indices=rows)
            rows_of_fold = take_rows(data.source, rows), labels[rows], data.classes
            score = score_on_rows(scoring, *rows_of_fold, params, None if offset is None else offset[rows])
            for r, c in np.argwhere(cells[f]):
                scores_out[f, r, c] = score(classifier_of(f, r, c))
            del score, rows_of_fold
