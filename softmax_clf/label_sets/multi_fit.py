"""The fits of all targets: in turns, or alone; and the choice of C for each."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv

from ..estimator import SoftmaxRegressionClassifier
from ..kernels.label_sets import HELD_OUT
from ..kernels.threads import on_one_blas_thread
from ..model_selection.classifier import SoftmaxRegressionClassifierCV
from ..model_selection.grid_fits import ROUNDED_TOL
from ..rows import cross_entropy
from ..sources.arrays import ArraySource
from ..sources.stream import StreamSource
from ..training_data import feature_scale, unit_of
from .fits import Options, Together

_FEW = 16  # a target with a label in less than one row of so many is fitted to these alone
_LESS, _LOOKED_AT = 5.0, 4096  # times less that a feature may vary among a target's rows; rows by which that is known
_TARGETS = 1024  # that are looked at together
_TURN_BYTES, _ARRAYS = 1 << 29, 36  # what outputs of a turn may take beside X; arrays of the size of their coefficients


def in_float32(source, tol):
    """The rows in float32, where passes over them tell as much as is asked for, else as they are."""
    rounded = source.in_float32(None) if isinstance(source, ArraySource) and tol >= ROUNDED_TOL else None
    return source if rounded is None else rounded


@on_one_blas_thread
def vary_less(source, targets, fit_intercept):
    """Targets (n_targets,) among whose rows some feature varies less than among all rows, by far and beyond chance.

    For these the covariance of all rows is no metric: along that feature gradients are small, and what is left is not.
    """
    n = source.n_samples
    rows = np.sort(np.random.default_rng(0).choice(n, min(_LOOKED_AT, n), replace=False))
    X = source.take(rows).astype(np.float64)
    if fit_intercept:
        X -= X.mean(axis=0)
    square = np.square(X)
    every, fourth = square.mean(axis=0), np.square(square).mean(axis=0)
    varies = every > 0
    X, square, every, fourth = X[:, varies], square[:, varies], every[varies], fourth[varies]
    found = np.zeros(len(targets), bool)
    for start in range(0, len(targets), _TARGETS):
        some = slice(start, start + _TARGETS)
        weight = targets.of_rows(some, rows)
        total = np.maximum(weight.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        own = weight @ square / total
        if fit_intercept:
            own -= np.square(weight @ X / total)
        # three standard errors of a variance by so many rows, of which some weigh more than others
        n_rows = total**2 / np.maximum(np.square(weight).sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        error = 3 * np.sqrt(fourth / every**2 / np.maximum(n_rows, 1.0))
        found[some] = ((own * _LESS < every) & (error < 1 - 1 / _LESS)).any(axis=1)
    return found


@dataclass
class Choice:
    """What was chosen for each target; as the attributes of the classifier."""

    C: np.ndarray
    scores: np.ndarray
    best_score: np.ndarray


class MultiFit:
    """Fits of all targets of a classifier.

    Parameters
    ----------
    source : Source
    rounded : Source
        What passes of all targets read: the same rows, or these in float32.
    targets : Targets
    estimator : classifier
        Whose ``fit_intercept``, ``class_weight``, ``tol``, ``max_iter``, ``n_jobs`` and ``verbose`` they have.
    n_threads : int

    Attributes
    ----------
    coef, intercept : arrays (n_outputs, n_features), (n_outputs,) of the dtype of the source
    n_iter, converged, objective, suboptimality : arrays (n_targets,)
    """

    def __init__(self, source, rounded, targets, estimator, n_threads):
        self.source, self.rounded, self.targets, self.estimator = source, rounded, targets, estimator
        self.options = Options(estimator.fit_intercept, float(estimator.tol), estimator.max_iter, n_threads)
        self.n_outputs = targets.sets.n_outputs
        self.firsts = np.concatenate([[0], np.cumsum(self.n_outputs)])
        self.is_alone = targets.n_fitted * _FEW < source.n_samples
        is_of_all = targets.row_weight is None and targets.n_fitted.min() == source.n_samples
        if not is_of_all and not rounded.is_wide_and_sparse:
            self.is_alone |= vary_less(rounded, targets, estimator.fit_intercept)
        unit = unit_of(source, None)
        options = {"fit_intercept": estimator.fit_intercept, "n_threads": n_threads}
        scale = feature_scale(source, None, standardize=False, unit=unit, **options)
        self.unit, self.unscale = unit or 1.0, None if scale is None else 1 / scale
        n, shape = len(targets), (int(self.firsts[-1]), source.n_features)
        self.coef, self.intercept = np.zeros(shape, source.dtype), np.zeros(shape[0], source.dtype)
        self.n_iter, self.converged = np.zeros(n, np.intp), np.zeros(n, bool)
        self.objective, self.suboptimality = np.full((2, n), np.inf)

    def to(self, C):
        """Fit each target with its C (n_targets,)."""
        for turn in self._turns(~self.is_alone):
            labels = self.targets.sets.labels[turn]
            problems = self.targets.problems(turn, C[turn], labels, self.unit)
            ends = self._together(turn, labels).minimise(problems)
            self._take(turn, problems, ends)
        for t in np.flatnonzero(~self.converged).tolist():
            self._alone(t, float(C[t]))
        if self.estimator.verbose:
            most = self.n_iter.max()
            print(f"{self.converged.sum()} of {len(C)} targets converged, after at most {most} iterations")

    def _turns(self, chosen, n_folds=1):
        """Indices of targets, as many at a time as memory allows."""
        n, q = self.source.n_samples, self.source.n_features + 1
        n_bytes = _ARRAYS * 8 * q + (3 * n * self.source.dtype.itemsize if hasattr(self.source, "indptr") else 0)
        size = np.cumsum(self.n_outputs[chosen] * n_bytes * n_folds)
        places = np.flatnonzero(chosen)
        turn_of = (size - 1) // _TURN_BYTES
        return [places[turn_of == turn] for turn in np.unique(turn_of)]

    def _together(self, turn, labels, label_targets=None):
        weights = self.targets.row_weight
        if weights is not None and len(weights) > 1:
            weights = weights[turn if label_targets is None else label_targets]
        n_outputs = int(self.n_outputs[turn if label_targets is None else label_targets].sum())
        return Together(self.rounded, labels, weights, self.unscale, n_outputs, self.options)

    def _take(self, turn, problems, ends):
        p = self.source.n_features
        coef = ends.points[:, :p] if self.unscale is None else ends.points[:, :p] * self.unscale
        outputs = np.concatenate([np.arange(self.firsts[t], self.firsts[t + 1]) for t in turn])
        self.coef[outputs] = coef
        if self.options.fit_intercept:
            self.intercept[outputs] = np.where(problems.held, -np.inf, ends.points[:, p])
        self.n_iter[turn], self.converged[turn] = ends.n_iter, ends.converged
        self.objective[turn], self.suboptimality[turn] = ends.objective, ends.suboptimality

    # -----------------------------------------------------------------------------------------------------------------
    # Alone

    def _alone(self, t, C):
        """Fit one target by itself, to the rows that have a label in it, from where it has come to."""
        own = slice(self.firsts[t], self.firsts[t + 1])
        start = {}
        if np.isfinite(self.objective[t]) and np.isfinite(self.intercept[own]).all():
            start = {"coef_init": self.coef[own]}
            if self.options.fit_intercept:
                start["intercept_init"] = self.intercept[own]
        clf = self._fitted_alone(t, np.flatnonzero(self.targets.sets.labels[t] >= 0), C, start)
        self.coef[own], self.intercept[own] = clf.coef_, clf.intercept_
        self.n_iter[t] += clf.n_iter_
        self.converged[t] = clf.converged_
        self.objective[t], self.suboptimality[t] = clf.objective_, clf.suboptimality_

    def _fitted_alone(self, t, rows, C, start):
        names = ("fit_intercept", "class_weight", "tol", "max_iter", "n_jobs")
        clf = SoftmaxRegressionClassifier(C, **{name: getattr(self.estimator, name) for name in names})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told of all targets at the end
            return clf.fit(self._rows(rows), self._labels(t, rows), self.targets.own_weight(t, rows), **start)

    def _rows(self, rows):
        """Some rows of X, increasing indices."""
        if len(rows) == self.source.n_samples:
            return self.source.X
        return self.source.take(rows) if isinstance(self.source, StreamSource) else self.source.X[rows]

    def _labels(self, t, rows):
        return self.targets.sets.classes[t][self.targets.sets.labels[t, rows]]

    # -----------------------------------------------------------------------------------------------------------------
    # The choice of C

    def choose(self, Cs, cv, scoring):
        """Choose a C for each target.

        Parameters
        ----------
        Cs : array (n_Cs,)
        cv : int, splitter, iterable or None
        scoring : str
            'neg_log_loss' or 'accuracy'.

        Returns
        -------
        Choice
        """
        cv = cv if cv is None or isinstance(cv, int) or hasattr(cv, "split") else list(cv)
        folds = [self._folds(t, cv) for t in range(len(self.targets))]
        n_folds = max(map(len, folds))
        scores = np.full((len(folds), n_folds, len(Cs)), np.nan)
        for turn in self._turns(~self.is_alone, n_folds):
            self._walk(turn, folds, Cs, scoring, scores)
        for t in np.flatnonzero(self.is_alone).tolist():
            scores[t, : len(folds[t])] = self._scores_alone(t, folds[t], Cs, scoring)
        mean = np.nanmean(scores, axis=1)
        best = mean.max(axis=1)
        C = np.array([Cs[row >= most].min() for row, most in zip(mean, best, strict=True)])
        return Choice(C, scores, best)

    def _folds(self, t, cv):
        """Training and test rows of each fold of one target, as indices among all."""
        labels = self.targets.sets.labels[t]
        rows = np.flatnonzero(labels >= 0)
        y, is_given = labels[rows], isinstance(cv, list)
        folds = []
        try:
            for train, test in cv if is_given else check_cv(cv, y, classifier=True).split(np.empty((len(y), 0)), y):
                train, test = (np.asarray(part) for part in (train, test))
                train, test = (np.flatnonzero(part) if part.dtype == bool else part for part in (train, test))
                if is_given:
                    folds.append((train[labels[train] >= 0], test[labels[test] >= 0]))
                else:
                    folds.append((rows[train], rows[test]))
        except ValueError as error:
            raise ValueError(f"{error} (in target {t})") from error
        for f, (train, test) in enumerate(folds):
            if not len(test) or len(np.unique(labels[train])) < 2:
                raise ValueError(
                    f"Expected rows to score, and training rows of at least 2 classes, in every fold, but fold {f} of "
                    f"target {t} has {len(test)} rows to score and training rows of "
                    f"{len(np.unique(labels[train]))} classes. Remedy: take fewer folds, or a cv that stratifies."
                )
        return folds

    def _walk(self, turn, folds, Cs, scoring, scores_out):
        """Scores of all folds of some targets, from the smallest C on, each from where the one before has led."""
        cells = [(t, f) for t in turn.tolist() for f in range(len(folds[t]))]
        of = np.array([t for t, _ in cells])
        labels = np.stack([self.targets.fold(t, *folds[t][f]) for t, f in cells])
        together, start = self._together(turn, labels, of), None
        weights = np.array([self._held_out_weight(t, row) for t, row in zip(of, labels, strict=True)])
        for c in np.argsort(Cs, kind="stable"):
            problems = self.targets.problems(of, np.full(len(of), Cs[c]), labels, self.unit)
            ends = together.minimise(problems, start, watches=True)
            start = ends.points
            found = -ends.held_out[:, 0] / weights if scoring == "neg_log_loss" else ends.held_out[:, 1] / weights
            for m in np.flatnonzero(~ends.converged).tolist():
                t, f = cells[m]
                train, test = folds[t][f]
                found[m] = self._score_alone(t, train, test, Cs[c], scoring)
            for (t, f), score in zip(cells, found, strict=True):
                scores_out[t, f, c] = score

    def _held_out_weight(self, t, labels):
        held_out, weight = labels <= HELD_OUT, self.targets.weight(t)
        total = np.count_nonzero(held_out) if weight is None else float(weight[held_out].sum(dtype=np.float64))
        if not total > 0:
            raise ValueError(
                f"Expected rows to score that have a positive total weight, in every fold, but target {t} has a fold "
                "without. Remedy: leave out rows of weight zero."
            )
        return total

    def _score_alone(self, t, train, test, C, scoring):
        """The score of one fold of a target that is fitted by itself."""
        train, test = np.sort(train), np.sort(test)
        clf = self._fitted_alone(t, train, float(C), {})
        log_proba = clf.predict_log_proba(self._rows(test))
        classes, labels = clf.classes_, self._labels(t, test)
        place = np.searchsorted(classes, labels)
        known = (place < len(classes)) & (classes[np.minimum(place, len(classes) - 1)] == labels)
        weight = self.targets.own_weight(t, test)
        if scoring == "accuracy":
            return np.average(known & (log_proba.argmax(axis=1) == place), weights=weight)
        eps = np.finfo(log_proba.dtype).eps
        loss = np.full(len(test), -np.log(eps), np.float64)
        rows = np.clip(log_proba[known], np.log(eps), np.log1p(-eps))
        loss[known] = cross_entropy(rows, place[known])
        return -np.average(loss, weights=weight)

    def _scores_alone(self, t, folds, Cs, scoring):
        """Scores (n_folds, n_Cs) of a target of few rows."""
        rows = np.flatnonzero(self.targets.sets.labels[t] >= 0)
        pairs = [tuple(np.searchsorted(rows, part) for part in fold) for fold in folds]
        names = ("fit_intercept", "class_weight", "tol", "max_iter", "n_jobs")
        options = {name: getattr(self.estimator, name) for name in names}
        clf = SoftmaxRegressionClassifierCV(Cs, cv=pairs, scoring=scoring, refit=False, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the best C at an end, and ConvergenceWarning
            clf.fit(self._rows(rows), self._labels(t, rows), self.targets.own_weight(t, rows))
        return clf.scores_[:, 0]
