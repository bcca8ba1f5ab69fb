"""What fitted classifiers have in common: predictions, losses, sparse coefficients."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix, issparse
from scipy.special import expit
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from .callbacks import CallbackSupportMixin
from .documentation import Documented
from .fitted import check_values, coefficients
from .kernels.elementary import LOWEST_FLOAT32, LOWEST_FLOAT64
from .kernels.softmax import LOG_PROBA, PROBA, RAW
from .kernels.threads import effective_n_threads
from .labels import places
from .messages import check_offset_finite, or_as_float64
from .rows import ABSENT, cross_entropy, log_proba_of_two
from .sklearn_private import get_namespace
from .sources.arrays import as_numpy, is_foreign, is_lazy
from .validation import as_source, checked_offset, checked_weight, naming_incomparable, targets_among

_FEW_VALUES, _FEW_ROWS = 1 << 14, 8  # more coefficients are looked at, for so few rows, only where scores are odd
_LEAST_PROBA = {4: 2 * np.exp(LOWEST_FLOAT32), 8: 2 * np.exp(LOWEST_FLOAT64)}  # by itemsize: twice the floor of kernels

Classifier = TypeVar("Classifier", bound="SoftmaxClassifier")


class SoftmaxClassifier(Documented, CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """A linear classifier whose probabilities are the softmax of its scores, once it is fitted.

    Attributes
    ----------
    coef_ : ndarray (n_classes, n_features), or (1, n_features) for two classes
    intercept_ : ndarray (n_classes,) or (1,)
    classes_ : ndarray (n_classes,)
    """

    # what models lack that were saved before there was any of these
    penalty_factor: Any = None
    coef_bounds: Any = None
    l1_group: Any = None

    coef_: Any  # sparse, after `sparsify`
    intercept_: np.ndarray
    classes_: np.ndarray

    def _predict(self, X, kind, offset):
        if not (hasattr(self, "coef_") and hasattr(self, "classes_")):  # what follows takes as long as ten rows
            check_is_fitted(self, ("coef_", "classes_"))
        # its scores are looked at, not its values: that takes half the time
        source = as_source(self, X, reset=False, ensure_finite=False)
        looked_at = np.size(self.coef_) <= _FEW_VALUES or source.n_samples > _FEW_ROWS
        coef, intercept = coefficients(self, source.n_features, values=looked_at)
        if len(coef) == 1:
            kind = RAW  # of two classes, probabilities are taken from the score
        offset = checked_offset(offset, source.n_samples, len(self.classes_), source.dtype, relative=kind != RAW)
        # one row is not worth asking how many cores there are
        n_threads = effective_n_threads(self.n_jobs) if source.n_samples * coef.size > 1e6 else 1
        passes = source.passes(1, len(coef), n_threads)
        absent = np.isneginf(intercept)  # a class that no training row had, as in coefs_paths_ of the CV class
        intercept = np.where(absent, ABSENT, intercept) if absent.any() else intercept
        out = np.empty((source.n_samples, len(coef)), source.dtype)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # where X has fewer digits than they
            passes.predict(source.parts(), coef, intercept, kind, out, offset)
        finite = np.isfinite(out).all()  # NaN or infinity in a row of X make all of its scores so
        if not looked_at and not (finite and (kind != PROBA or out.min() > _LEAST_PROBA[out.itemsize])):
            check_values(coef, intercept)  # where one is minus infinity, a probability is the least there is
        if not finite:
            source.check_finite(n_threads)
            check_offset_finite(offset)
            row = int(np.isfinite(out).all(axis=1).argmin())
            raise ValueError(
                f"Expected finite scores X @ coef_.T, but they overflow {out.dtype}, first in row {row}. Remedy: scale "
                f"X down{or_as_float64(out.dtype)}."
            )
        out[:, absent] = 0.0 if kind == PROBA else -np.inf
        return out

    def decision_function(self, X: Any, offset: ArrayLike | None = None) -> Any:
        """Scores ``X @ coef_.T + intercept_ + offset``.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Of a Dask collection predictions are a lazy array.
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        ndarray (n_samples, n_classes); (n_samples,) for two classes, the score of ``classes_[1]``
        """
        if is_lazy(X):
            return _lazily(self.decision_function, X, offset)
        raw_prediction = self._predict(X, RAW, offset)
        return _in_library_of(raw_prediction[:, 0] if raw_prediction.shape[1] == 1 else raw_prediction, X)

    def predict(self, X: Any, offset: ArrayLike | None = None) -> Any:
        """The class of the largest score.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        ndarray (n_samples,) of the dtype of ``classes_``
        """
        if is_lazy(X):
            return _lazily(self.predict, X, offset)
        raw_prediction = self._predict(X, RAW, offset)
        best = (
            raw_prediction.argmax(axis=1) if raw_prediction.shape[1] > 1 else (raw_prediction[:, 0] > 0).astype(np.intp)
        )
        return _in_library_of(np.asarray(self.classes_)[best], X)

    def predict_proba(self, X: Any, offset: ArrayLike | None = None) -> Any:
        """Probabilities of the classes, the softmax of the scores.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        ndarray (n_samples, n_classes), float32 for float32 X, else float64
        """
        if is_lazy(X):
            return _lazily(self.predict_proba, X, offset)
        proba = self._predict(X, PROBA, offset)
        if proba.shape[1] == 1:
            with np.errstate(under="ignore"):
                proba = np.concatenate([expit(-proba), expit(proba)], axis=1)
        return _in_library_of(proba, X)

    def predict_log_proba(self, X: Any, offset: ArrayLike | None = None) -> Any:
        """Logarithms of the probabilities, taken from the scores: finite where a probability is zero.

        Zero, as the logarithms of those that :meth:`predict_proba` gives, where these are one to all their digits;
        :meth:`sample_loss` has more.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        ndarray (n_samples, n_classes), float32 for float32 X, else float64
        """
        if is_lazy(X):
            return _lazily(self.predict_log_proba, X, offset)
        log_proba = self._log_proba(X, offset)
        log_proba[log_proba >= -np.finfo(log_proba.dtype).eps / 2] = 0.0
        return _in_library_of(log_proba, X)

    def _log_proba(self, X, offset=None):
        """Logarithms of the probabilities, exact near zero."""
        log_proba = self._predict(X, LOG_PROBA, offset)
        if log_proba.shape[1] > 1:
            return log_proba
        with np.errstate(under="ignore"):
            return log_proba_of_two(log_proba)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None) -> float:
        """Accuracy: the share of the rows whose class is predicted.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : array-like (n_samples,), or (n_samples, n_classes)
            Labels, or target probabilities: then the mean of those of the predicted classes.
        sample_weight : array-like (n_samples,), default=None
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        float
        """
        if is_lazy(X):
            return _score_of_chunks(self, X, y, sample_weight, offset)
        y, sample_weight = as_numpy(y, "y"), as_numpy(sample_weight, "sample_weight")
        predicted = self.predict(as_numpy(X, "X"), offset)
        if np.ndim(y) == 2 and np.shape(y)[1] > 1:
            classes = np.asarray(self.classes_)
            target = targets_among(classes, y, len(predicted))
            expected = target[np.arange(len(target)), places(predicted, classes)]
            return float(np.average(expected, weights=checked_weight(sample_weight, target)))
        with naming_incomparable(y, self.classes_):
            return accuracy_score(y, predicted, sample_weight=sample_weight)

    def sample_loss(self, X: Any, y: Any, offset: ArrayLike | None = None) -> Any:
        """Cross-entropy of each row, ``-log(probability of its label)``, natural logarithm.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : array-like (n_samples,), or (n_samples, n_classes)
            Labels, all of them in ``classes_``; or target probabilities, whose loss is the mean over the classes.
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        ndarray (n_samples,), float32 for float32 X, else float64
        """
        log_proba = self._log_proba(X, offset)
        target = targets_among(np.asarray(self.classes_), y, len(log_proba))
        with np.errstate(under="ignore"):
            return _in_library_of(cross_entropy(log_proba, target), X)

    def sparsify(self: Classifier) -> Classifier:
        """Make `coef_` a sparse matrix, which saves memory where most of it is zero.

        Predictions stay what they are. Another fit makes it dense again.

        Returns
        -------
        self
        """
        self.coef_ = csr_matrix(self._coef())
        return self

    def densify(self: Classifier) -> Classifier:
        """Make `coef_` a dense array again, after :meth:`sparsify`.

        Returns
        -------
        self
        """
        self.coef_ = self._coef()
        return self

    def _coef(self):
        """`coef_` as a dense array."""
        if not hasattr(self, "coef_"):  # what follows takes as long as ten rows
            check_is_fitted(self)
        return self.coef_.toarray() if issparse(self.coef_) else self.coef_

    @property
    def penalty(self) -> str:
        """'l1', where the penalty is L1 only: by this name :class:`~sklearn.feature_selection.SelectFromModel` knows
        that features are left out whose coefficients are zero, and no others.
        """
        if not np.isclose(self._l1_share(), 1.0):
            raise AttributeError(
                "Expected l1_ratio=1, which alone has the attribute penalty. Remedy: see C and l1_ratio."
            )
        return "l1"

    def _l1_share(self):
        return self.l1_ratio or 0.0

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _lazily(method, X, offset):
    """Predictions of a Dask collection, as a lazy array of known dtype."""
    from .sources import dask

    _check_no_offset(offset)
    return dask.lazily(method, X)


def _score_of_chunks(clf, X, y, sample_weight, offset):
    """The score of the rows of a Dask collection, added up where they are."""
    from .sources import dask

    _check_no_offset(offset)
    there = dask.workers()
    chunks, shapes = dask.chunks(there, X)
    lengths = [shape[0] for shape in shapes]
    numbers = list(enumerate(np.cumsum([0, *lengths[:-1]]).tolist()))
    labels = dask.cut(there, y, lengths, "y")
    weights = dask.cut(there, sample_weight, lengths, "sample_weight")
    right, total = np.sum(there.gather(dask.of_each(there, _hits, numbers, chunks, labels, weights, clf=clf)), axis=0)
    return float(right / total)


def _hits(X, y, weight, clf):
    """The weight of the rows whose class is predicted, and of all rows."""
    if not len(y):
        return np.zeros(2)
    weight = np.ones(len(y)) if weight is None else weight
    right = places(y.reshape(-1), np.asarray(clf.classes_)) == places(clf.predict(X), np.asarray(clf.classes_))
    return np.array([weight @ right, weight.sum()], np.float64)


def _check_no_offset(offset):
    if offset is not None:
        raise ValueError(
            "Expected no offset for the rows of a Dask collection, got one. Remedy: add it to decision_function(X)."
        )


def _in_library_of(values, X):
    """Predictions as an array of the library of X, where scikit-learn's ``array_api_dispatch`` asks for it.

    Text has no place in one. An array that speaks DLPack alone does not tell what its library is.
    """
    if type(X) is np.ndarray or values.dtype.kind not in "biuf":  # one row is not worth more
        return values
    if not (get_config()["array_api_dispatch"] and is_foreign(X)):
        return values
    try:
        namespace, _ = get_namespace(X)
    except TypeError:
        return values
    return namespace.asarray(values)
