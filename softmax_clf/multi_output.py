"""Classifiers of many targets over the same rows: each target is a fit of its own, and all share the passes over X."""

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_is_fitted

from .documentation import Documented
from .estimator import SoftmaxRegressionClassifier, all_or_nothing
from .fitted import STACKED, check_values, stacked_coefficients
from .kernels.compiling import announcing_compilation
from .kernels.softmax import RAW
from .kernels.threads import effective_n_threads, on_one_blas_thread
from .label_sets.labels import LabelSets, as_columns, column_of, missing
from .label_sets.multi_fit import MultiFit, in_float32
from .label_sets.targets import Targets
from .labels import places
from .messages import naming_overflow, or_as_float64
from .model_selection.grid import checked_Cs
from .parameters import OF_EACH_FIT
from .rows import ABSENT
from .sklearn_private import Interval, StrOptions, fit_context
from .sources.arrays import as_numpy
from .sources.deviations import with_deviations
from .validation import as_source

_SHARED = ("fit_intercept", "class_weight", "tol", "max_iter", "n_jobs", "verbose")


class _MultiOutput(Documented, ClassifierMixin, BaseEstimator):
    """What both have in common: labels, weights, predictions of all targets in one pass, and views of each."""

    def _fit(self, X, y, sample_weight):
        source = with_deviations(as_source(self, X, reset=True), self.n_jobs)
        n_threads = effective_n_threads(self.n_jobs)
        try:
            sets = LabelSets.of(None if y is None else _as_read(y), source.n_samples, n_threads)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error
        weight = _checked_weights(sample_weight, source.n_samples, len(sets.classes))
        rounded = in_float32(source, self.tol)
        targets = Targets(sets, weight, self.class_weight, self.fit_intercept, rounded.dtype)
        with naming_overflow(source.dtype):
            fit = self._fit_targets(MultiFit(source, rounded, targets, self, n_threads))
        self.classes_ = sets.classes
        self.coef_stack_, self.intercept_stack_ = fit.coef, fit.intercept
        self.n_iter_, self.converged_ = fit.n_iter, fit.converged
        self.objective_, self.suboptimality_ = fit.objective, fit.suboptimality
        if not fit.converged.all():
            missed = np.flatnonzero(~fit.converged)
            warnings.warn(
                f"{len(missed)} of {len(fit.converged)} targets stopped before tol={self.tol:g} was reached, among "
                f"them {missed[:5].tolist()}. Raise max_iter, or tol if that is close enough.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    @property
    def _firsts(self):
        """The first output of each target, and the end."""
        sizes = [1 if len(classes) == 2 else len(classes) for classes in self.classes_]
        return np.concatenate([[0], np.cumsum(sizes)])

    @property
    def coef_(self) -> list:
        """Coefficients of each target: views of ``coef_stack_``, shaped as those of one classifier."""
        return np.split(self.coef_stack_, self._firsts[1:-1])

    @property
    def intercept_(self) -> list:
        """Intercepts of each target: views of ``intercept_stack_``."""
        return np.split(self.intercept_stack_, self._firsts[1:-1])

    @property
    def estimators_(self) -> list:
        """A :class:`SoftmaxRegressionClassifier` for each target, fitted: its coefficients are views."""
        check_is_fitted(self, "coef_stack_")
        found = []
        for t, (coef, intercept) in enumerate(zip(self.coef_, self.intercept_, strict=True)):
            clf = SoftmaxRegressionClassifier(self._C_of(t), **{name: getattr(self, name) for name in _SHARED})
            clf.coef_, clf.intercept_, clf.classes_ = coef, intercept, self.classes_[t]
            clf.n_features_in_, clf.n_iter_ = self.n_features_in_, int(self.n_iter_[t])
            clf.converged_, clf.objective_ = bool(self.converged_[t]), float(self.objective_[t])
            clf.suboptimality_, clf.suboptimality_is_bound_ = float(self.suboptimality_[t]), False
            if hasattr(self, "feature_names_in_"):
                clf.feature_names_in_ = self.feature_names_in_
            found.append(clf)
        return found

    def _scores(self, X):
        """Raw scores (n_samples, n_outputs) of all targets."""
        check_is_fitted(self, "coef_stack_")
        source = as_source(self, X, reset=False)
        n_outputs = int(self._firsts[-1])
        coef, intercept = stacked_coefficients(self, n_outputs)
        out = np.empty((source.n_samples, n_outputs), source.dtype)
        n_threads = effective_n_threads(self.n_jobs)
        finite_intercept = np.where(np.isneginf(intercept), ABSENT, intercept)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            passes = source.passes(1, n_outputs, n_threads)
            passes.predict(source.parts(), coef, finite_intercept, RAW, out)
        if not np.isfinite(out).all():
            check_values(coef, intercept, STACKED)
            source.check_finite(n_threads)
            raise ValueError(
                f"Expected finite scores, but they overflow {out.dtype}. Remedy: scale X "
                f"down{or_as_float64(out.dtype)}."
            )
        return out

    def _by_target(self, scores):
        """Scores (n_samples, n_outputs) as views of the columns of each target."""
        return np.split(scores, self._firsts[1:-1], axis=1)

    def _best(self, scores):
        """The place of the class of the largest score (n_samples,), of one target after the other."""
        for own in self._by_target(scores):
            yield own.argmax(axis=1) if own.shape[1] > 1 else (own[:, 0] > 0).astype(np.intp)

    def predict(self, X: Any) -> np.ndarray:
        """The class of the largest score, of each target.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        ndarray (n_samples, n_targets)
            Of a dtype that holds the labels of all targets; of objects where some are text and others are not.
        """
        scores = self._scores(X)
        kinds = {classes.dtype.kind for classes in self.classes_}
        alike = len(kinds) == 1 or kinds <= set("biuf")
        dtype = np.result_type(*{classes.dtype for classes in self.classes_}) if alike else np.dtype(object)
        out = np.empty((len(scores), len(self.classes_)), dtype)
        for t, best in enumerate(self._best(scores)):
            out[:, t] = self.classes_[t][best]
        return out

    def predict_proba(self, X: Any) -> list:
        """Probabilities of the classes of each target.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        list of ndarray (n_samples, n_classes), one a target
        """
        found = []
        with np.errstate(under="ignore"):
            for scores in self._by_target(self._scores(X)):
                if scores.shape[1] == 1:
                    found.append(np.concatenate([expit(-scores), expit(scores)], axis=1))
                else:
                    found.append(softmax(scores, axis=1))
        return found

    def score(self, X: Any, y: Any) -> float:
        """The share of the rows all of whose labels are predicted, as in MultiOutputClassifier.

        Labels that are missing do not count.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : array-like (n_samples, n_targets)

        Returns
        -------
        float
        """
        return float(self._agreement(X, y)[0].all(axis=1).mean())

    def target_scores(self, X: Any, y: Any) -> np.ndarray:
        """The accuracy of each target, of the rows that have a label in it.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : array-like (n_samples, n_targets)

        Returns
        -------
        ndarray (n_targets,)
            NaN for a target without a label.
        """
        agrees, is_known = self._agreement(X, y)
        with np.errstate(invalid="ignore"):
            return (agrees & is_known).sum(axis=0) / is_known.sum(axis=0)

    def _agreement(self, X, y):
        """Which labels are predicted, or missing; and which are there."""
        scores = self._scores(X)
        columns = as_columns(_as_read(y), len(scores))
        if columns.shape[1] != len(self.classes_):
            raise ValueError(
                f"The number of outputs of y for fit {len(self.classes_)} and score {columns.shape[1]} should be same. "
                "Remedy: pass a column for each target."
            )
        agrees, is_known = np.empty((2, len(scores), len(self.classes_)), bool)
        for t, best in enumerate(self._best(scores)):
            values = column_of(columns, t)
            is_missing = missing(values)
            label = np.full(len(values), -1)
            label[~is_missing] = places(values[~is_missing], self.classes_[t])
            agrees[:, t], is_known[:, t] = is_missing | (label == best), ~is_missing
        return agrees, is_known

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.single_output, tags.target_tags.multi_output = False, True
        return tags


class MultiOutputSoftmaxClassifier(_MultiOutput):
    """:class:`SoftmaxRegressionClassifier` for many targets over the same rows, all in the same passes over X.

    Each target has labels, classes, row weights and, where it is to, a C of its own, and ends at the optimum that a
    classifier of its own would end at: what is shared is the work. Rows without a label in a target are not in its fit.
    The interface is that of :class:`sklearn.multioutput.MultiOutputClassifier`.

    Parameters
    ----------
    C : float or array-like (n_targets,), default=1.0
        Inverse strength of the penalty, of all targets or of each.
    fit_intercept, class_weight, tol, max_iter, n_jobs
        As in :class:`SoftmaxRegressionClassifier`, for each target; ``class_weight='balanced'`` by its own frequencies.
    verbose : int, default=0
        1 to print how the fits ended.

    Attributes
    ----------
    classes_ : list of ndarray (n_classes,)
        Of each target, sorted.
    estimators_ : list of SoftmaxRegressionClassifier
        One a target, made when asked for: their coefficients are views.
    coef_, intercept_ : list of ndarray
        Of each target, as a classifier of its own has them: views.
    coef_stack_ : ndarray (n_outputs, n_features)
    intercept_stack_ : ndarray (n_outputs,)
        Those of all targets one upon the other; a target of two classes has one output.
    n_iter_ : ndarray (n_targets,)
    converged_ : ndarray (n_targets,) of bool
    objective_, suboptimality_ : ndarray (n_targets,)
        As in the classifier, both estimates: a target may end with a step that is not looked at, where the steps before
        tell what it does. The objective is then foreseen, too, and may be off by some times the second.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    Where rows are many, a sample of them is fitted first. Dense rows in float64 are read in float32, as a copy of 128
    MB at most, where ``tol`` is 1e-6 or more and that tells their values apart. Beside X there are the labels, in a
    byte each; row weights, if there are any; and 36 arrays of the size of the coefficients in float64, of as many
    targets at a time as 512 MB hold, the others following in turns. A target that has labels in fewer than a sixteenth
    of the rows, or only where some feature hardly varies, and one that is hard, is fitted alone, to its own rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import MultiOutputSoftmaxClassifier
    >>> X, species = load_iris(return_X_y=True)
    >>> y = np.column_stack([species, X[:, 0] > 5.8, np.where(species == 2, np.nan, species)])
    >>> clf = MultiOutputSoftmaxClassifier().fit(X, y)
    >>> [len(classes) for classes in clf.classes_]
    [3, 2, 2]
    >>> clf.predict(X[:2])
    array([[0., 0., 0.],
           [0., 0., 0.]])
    """

    coef_stack_: np.ndarray
    intercept_stack_: np.ndarray
    classes_: list

    _parameter_constraints: ClassVar[dict] = {
        "C": [Interval(Real, 0, None, closed="right"), "array-like"],
        **{name: OF_EACH_FIT[name] for name in _SHARED},
    }

    def __init__(
        self,
        C: Any = 1.0,
        *,
        fit_intercept: bool = True,
        class_weight: dict | str | None = None,
        tol: float = 1e-6,
        max_iter: int = 1000,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> "MultiOutputSoftmaxClassifier":
        """Fit all targets.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            As in :meth:`SoftmaxRegressionClassifier.fit`, but no Dask collection.
        y : array-like (n_samples, n_targets)
            Labels of any dtype, of at least two classes a target; NaN, None or NA where a row is not in its fit.
        sample_weight : array-like (n_samples,) or (n_samples, n_targets), default=None
            Non-negative weights of the rows, in all targets or in each.

        Returns
        -------
        self
        """
        with all_or_nothing(self), np.errstate(under="ignore"), announcing_compilation(self.verbose):
            return self._fit(X, y, sample_weight)

    @on_one_blas_thread
    def _fit_targets(self, fit):
        C = np.asarray(self.C, dtype=np.float64)
        n_targets = len(fit.targets)
        if C.shape not in ((), (n_targets,)) or not (C > 0).all():
            raise ValueError(
                f"Expected C to be a positive number, or one for each of {n_targets} targets, got {self.C!r}. Remedy: "
                "give an array of that length."
            )
        fit.to(np.broadcast_to(C, n_targets))
        return fit

    def _C_of(self, t):
        return float(self.C if np.ndim(self.C) == 0 else np.asarray(self.C)[t])


class MultiOutputSoftmaxClassifierCV(_MultiOutput):
    """:class:`MultiOutputSoftmaxClassifier` that chooses C for each target by cross-validation.

    All targets and all their folds share each pass over X, for one C after the other.

    Parameters
    ----------
    Cs : int or array-like, default=10
        The values of C; for an integer, as many from 1e-4 to 1e4 in equal ratios.
    cv : int, splitter or iterable of (train, test), default=None
        How the rows that have a label in a target are split, for each target by itself: None is 5 stratified folds, an
        integer that many. An iterable names these rows by their places among all.
    scoring : {'neg_log_loss', 'accuracy'}, default='neg_log_loss'
        Of the rows held out: minus the mean cross-entropy, or the share that is predicted.
    fit_intercept, class_weight, tol, max_iter, n_jobs
        As in :class:`SoftmaxRegressionClassifier`, for each fit.
    verbose : int, default=0
        1 to print how the fits ended.

    Attributes
    ----------
    C_ : ndarray (n_targets,)
        The chosen ones: of the best mean score, the smallest where equal.
    Cs_ : ndarray (n_Cs,)
    scores_ : ndarray (n_targets, n_folds, n_Cs)
        Those of a target that is split into fewer folds than others end with NaN.
    best_score_ : ndarray (n_targets,)
    classes_, estimators_, coef_, intercept_, coef_stack_, intercept_stack_, n_features_in_, feature_names_in_
        As in :class:`MultiOutputSoftmaxClassifier`.
    n_iter_, converged_, objective_, suboptimality_
        As there, of the fits to all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import MultiOutputSoftmaxClassifierCV
    >>> X, species = load_iris(return_X_y=True)
    >>> y = np.column_stack([species, X[:, 0] > 5.8])
    >>> MultiOutputSoftmaxClassifierCV(Cs=[0.1, 1.0, 10.0]).fit(X[:, 1:], y).C_.shape
    (2,)
    """

    coef_stack_: np.ndarray
    intercept_stack_: np.ndarray
    classes_: list

    _parameter_constraints: ClassVar[dict] = {
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "cv": ["cv_object"],
        "scoring": [StrOptions({"neg_log_loss", "accuracy"})],
        **{name: OF_EACH_FIT[name] for name in _SHARED},
    }

    def __init__(
        self,
        Cs: Any = 10,
        *,
        cv: Any = None,
        scoring: str = "neg_log_loss",
        fit_intercept: bool = True,
        class_weight: dict | str | None = None,
        tol: float = 1e-6,
        max_iter: int = 1000,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> "MultiOutputSoftmaxClassifierCV":
        """Fit every C on every fold of every target, choose for each target, and fit what is chosen on all its rows.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`MultiOutputSoftmaxClassifier.fit`; weights count in scores, too.

        Returns
        -------
        self
        """
        with all_or_nothing(self), np.errstate(under="ignore"), announcing_compilation(self.verbose):
            return self._fit(X, y, sample_weight)

    @on_one_blas_thread
    def _fit_targets(self, fit):
        Cs = checked_Cs(self.Cs)
        chosen = fit.choose(Cs, self.cv, self.scoring)
        fit.to(chosen.C)
        self.Cs_, self.C_, self.scores_, self.best_score_ = Cs, chosen.C, chosen.scores, chosen.best_score
        return fit

    def _C_of(self, t):
        return float(self.C_[t])


def _as_read(y):
    """Labels as :class:`LabelSets` reads them: arrays of other libraries as those of NumPy."""
    is_read = hasattr(y, "iloc") or hasattr(y, "nnz") or isinstance(y, list | tuple | np.ma.MaskedArray)
    return y if is_read else as_numpy(y, "y")


def _checked_weights(sample_weight, n_samples, n_targets):
    """Weights (n_samples,) or (n_samples, n_targets), float64, or None."""
    if sample_weight is None:
        return None
    weight = check_array(
        as_numpy(sample_weight, "sample_weight"), dtype=np.float64, ensure_2d=False, input_name="sample_weight"
    )
    if weight.shape not in ((n_samples,), (n_samples, n_targets)):
        raise ValueError(
            f"Expected sample_weight of shape ({n_samples},) or {(n_samples, n_targets)}, a number for each row, and "
            f"each target or none of them, got {weight.shape}. Remedy: pass weights as y has labels."
        )
    if (weight < 0).any():
        raise ValueError("Negative values in data passed to sample_weight. Remedy: weights are zero or positive.")
    return weight
