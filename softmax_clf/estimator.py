"""SoftmaxRegressionClassifier: validation, labels and fitted attributes around the objective and the solver."""

import operator
import warnings
from contextlib import contextmanager
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix, issparse
from scipy.special import expit
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_array
from sklearn.utils._array_api import get_namespace
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from .callbacks import CallbackSupportMixin, Task
from .columns import Columns, suits_columns
from .fitted import check_values, coefficients, count
from .kernels.softmax import LOG_PROBA, PROBA, RAW
from .kernels.threads import Pieces, effective_n_threads, on_one_blas_thread
from .labels import check_labels_present, missing_named, places, weights_by_label
from .metrics.curvature import Curvature
from .metrics.quadratic import QuadraticCurvature
from .objective import MeanCrossEntropy, SoftmaxObjective, StackedObjectives, cross_entropy, log_proba_of_two
from .online import update
from .row_space import RowSpaceCurvature, RowSpaceObjective, suits_row_space
from .solvers.lbfgs import Memory, n_pairs, run
from .solvers.newton import newton, relay
from .solvers.proximal import proximal_newton
from .solvers.stopping import BestIterate, allowed_suboptimality
from .solvers.subspace import Rows, n_slots
from .solvers.working_set import working_set
from .sources.arrays import DTYPES, ArraySource, as_numpy, check_finite, is_foreign
from .sources.sparse import CsrSource
from .sources.stream import StreamSource, is_stream

_LARGE = 1_000_000  # values of X from which on they are checked on all threads
_FEW_VALUES, _FEW_ROWS = 1 << 14, 8  # more coefficients are looked at, for so few rows, only where scores are odd
_TINY = 2.0**-30  # float32 values whose squares, weighted, begin to underflow
_PAIRS_BYTES = 3 << 26  # of the solver's memory, where it is kept short: all of it is read in each iteration


def _has_partial_fit(estimator):
    """Where not, scikit-learn raises AttributeError from this one, so that ``hasattr`` tells."""
    if estimator.l1_ratio:
        raise AttributeError(
            "Expected l1_ratio=0 for partial_fit, whose quadratic memory knows no L1 penalty, got "
            f"{estimator.l1_ratio}. Remedy: set l1_ratio=0, or fit on all the rows."
        )
    if estimator.standardize:
        raise AttributeError(
            "Expected standardize=False for partial_fit, which would need the standard deviations of rows still to "
            "come, got standardize=True. Remedy: transform batches by a StandardScaler."
        )
    if isinstance(estimator.class_weight, str):
        raise AttributeError(
            f"Expected class_weight to be None or a dict for partial_fit, got {estimator.class_weight!r}, which needs "
            "the frequencies of the classes in the whole stream. Remedy: pass weights by class, from "
            "compute_class_weight of a sample of it."
        )
    return True


class SoftmaxRegressionClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression, the softmax layer of a network, fitted to its optimum.

    Minimises, over W (n_classes, n_features) and b (n_classes,),

        F(W, b) = 1/S sum_i s_i CE(y_i, softmax(W x_i + b + offset_i))
                  + 1/(C S) [(1 - l1_ratio)/2 ||W||_F^2 + l1_ratio ||W||_1],    S = sum_i s_i,

    with s_i = sample_weight_i * class_weight[y_i]. This is the objective of
    :class:`sklearn.linear_model.LogisticRegression` divided by C S: the same C has the same minimiser. For two classes
    there is one vector and F is the logistic loss, as there.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty; ``np.inf`` for none. The intercept is never penalised.
    l1_ratio : float, default=0.0
        Share of the L1 penalty, from 0 (L2 only), as is None, to 1 (L1 only). With one, coefficients of features that
        help little are zero, exactly: `sparsify` then saves memory.
    fit_intercept : bool, default=True
        Whether to fit b; otherwise it is zero.
    standardize : bool, default=False
        Whether to penalise the coefficients of the features divided by their standard deviations, the weighted ones
        where rows have weights. The features themselves are left as they are, and `coef_` is for them. Predictions are
        those of a :class:`~sklearn.preprocessing.StandardScaler` before this classifier, one ``with_mean=False``
        without an intercept or for sparse X: with an intercept, means make no difference.
    class_weight : dict or 'balanced', default=None
        Weights of classes, by label; 'balanced' for weights in inverse proportion to their frequencies.
    tol : float, default=1e-6
        The fit ends when F is within ``tol * F(null model)`` of its minimum, by the solver's estimate. The null model
        knows only the class frequencies. So `tol` means the same on any data and in any units.
    max_iter : int, default=1000
        The most iterations.
    warm_start : bool, default=False
        Whether to start from the coefficients of the last fit, or those set by hand. Classes that only one of the fits
        knows start at zero.
    early_stopping : bool, default=False
        Whether to stop where the loss on validation rows, which are not fitted, has not become smaller for
        `n_iter_no_change` iterations, and to keep the coefficients where it was the least. The rows are `X_val` of
        :meth:`fit`, or a random `validation_fraction` of X. This fit gets to its optimum by few and long steps, so
        there are few coefficients to keep one of: a smaller C, chosen by :class:`SoftmaxRegressionClassifierCV`, does
        more against overfitting.
    validation_fraction : float, default=0.1
        Share of the rows held out for `early_stopping`, by class where each has rows enough. They weigh nothing in the
        objective. Not used with `X_val`.
    n_iter_no_change : int, default=5
        Iterations without a smaller loss on the validation rows that `early_stopping` waits.
    n_jobs : int, default=None
        Threads. None: the cores that this process may use, or the share that joblib leaves it, or as many as
        ``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS`` say, which Dask, Ray and Spark set for their workers: the least of
        these; 1 is serial; -1 all cores, whatever these say. Results do not depend on it, to the bit.
    random_state : int, RandomState instance or None, default=None
        Chooses the rows held out for `early_stopping`.
    verbose : int, default=0
        1 to print how the fit ended, 2 or more for every iteration.

    Attributes
    ----------
    coef_ : ndarray (n_classes, n_features), or (1, n_features) for two classes
        float32 for float32 X, else float64.
    intercept_ : ndarray (n_classes,) or (1,)
    classes_ : ndarray (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.
    n_iter_ : int
        Iterations done.
    converged_ : bool
        Whether the coefficients are the optimum, by `tol`. Those of a fit that was stopped early are not.
    objective_ : float
        F at the solution.
    suboptimality_ : float
        How far ``objective_`` is above the minimum at the most, as the stopping rule had it: a bound or an estimate.
    suboptimality_is_bound_ : bool
        Whether `suboptimality_` is a bound that holds, but for rounding errors, or an estimate. It is a bound for small
        problems with an L2 penalty, but for one so weak that rounding errors are more than `tol` over its strength.
        With an L1 penalty it is one, the duality gap, where features outnumber rows or are sparse and thousands.
    loss_curve_ : list of float
        F at the start and after each iteration.
    validation_loss_curve_ : list of float
        Only with `early_stopping`: the mean cross-entropy of the validation rows, weighted like those of X, at the
        start and after each iteration. The coefficients are those of its least value.

    Notes
    -----
    Callbacks of :mod:`sklearn.callback` (scikit-learn 1.9 and later), given by ``set_callbacks``, are told of the fit
    and of each iteration. A fit that one of them stops keeps the coefficients that it has.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> SoftmaxRegressionClassifier().fit(X, y).score(X, y)
    0.97...
    """

    _parameter_constraints: ClassVar[dict] = {
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "fit_intercept": ["boolean"],
        "standardize": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        C=1.0,
        *,
        l1_ratio=0.0,
        fit_intercept=True,
        standardize=False,
        class_weight=None,
        tol=1e-6,
        max_iter=1000,
        warm_start=False,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=5,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        offset=None,
        X_val=None,
        y_val=None,
        coef_init=None,
        intercept_init=None,
    ):
        """Fit to the minimum of the objective.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            float32 and float64 are used as they are, in any memory order, without a copy. So are uint8, int8, int16 and
            float16, calculated with as float32. Anything else is converted to float64. Finite. Sparse X in CSR format
            is used as it is, beside a transposed copy, and with far more features than rows another one; other formats
            are converted to it. A memory map, or any object with ``shape``, ``dtype`` and row slices such as a dataset
            of h5py or zarr, is read in slices of some 64 MB, as often as there are passes.
        y : array-like (n_samples,), or (n_samples, n_classes)
            Labels of any dtype, of at least two classes. Or target probabilities: non-negative rows with sum one, whose
            classes are ``arange(n_classes)``.
        sample_weight : array-like (n_samples,), default=None
            Non-negative weights of the rows.
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, in the order of the sorted classes.
        X_val : array-like (n_val, n_features), default=None
            Validation rows for `early_stopping`, of any kind that X may be of. None holds out rows of X, in a copy; of
            a memory map or an object with row slices they are read anew in each iteration.
        y_val : array-like (n_val,), or (n_val, n_classes), default=None
            Their labels, all of them among those of y, or target probabilities.
        coef_init, intercept_init : array-like shaped as `coef_`, `intercept_`, default=None
            Where to start; None starts at zero, or with `warm_start` at the last solution.

        Returns
        -------
        self
        """
        with all_or_nothing(self), np.errstate(under="ignore"):
            return self._fit(X, y, sample_weight, offset, X_val, y_val, coef_init, intercept_init)

    def _fit(self, X, y, sample_weight, offset, X_val, y_val, coef_init, intercept_init):
        task = Task.of_fit(self, self.max_iter, X, y, sample_weight=sample_weight, offset=offset)
        previous = self if self.warm_start and hasattr(self, "coef_") else None
        known_features = None if previous is None else getattr(previous, "n_features_in_", None)
        C, l1_ratio = float(self.C), float(self.l1_ratio or 0.0)  # not of a dtype that cannot hold products with them
        self._check_validation(X_val, y_val, offset)
        source = self._source(X, reset=True)
        classes, y_index = self._targets(y, source.n_samples)
        n_classes = len(classes)
        offset = _checked_offset(offset, source.n_samples, n_classes)
        row_weight = checked_weight(sample_weight, y_index)
        held_out = self._held_out(y_index, row_weight) if self.early_stopping and X_val is None else None
        weight, by_class = self._weights(classes, y_index, row_weight, held_out)
        weight_sum = float(source.n_samples) if weight is None else float(weight.sum())
        if known_features is not None and known_features != source.n_features:
            raise ValueError(
                f"Expected X with the {known_features} features of the previous fit, since warm_start=True, got "
                f"{source.n_features}. Remedy: set warm_start=False."
            )
        start = self._start(classes, source.n_features, previous, coef_init, intercept_init)
        n_threads = effective_n_threads(self.n_jobs)
        scale, unit = None, 1.0
        if self.standardize:
            scale = self._scale(source, weight, n_threads)
        else:
            if small := unit_of(source, weight):  # the same objective in other units
                scale, unit = np.full(source.n_features, small), small
            scale = self._without_constants(source, weight, scale)
        strength = penalty_strength(C, weight_sum, unit)
        if scale is not None:
            start[:, : source.n_features] *= np.where(np.isfinite(scale), scale, 0.0)

        l1_reg_strength = l1_ratio * strength / unit
        common = {
            "sample_weight": weight,
            "l2_reg_strength": (1 - l1_ratio) * strength / unit**2,
            "fit_intercept": self.fit_intercept,
            "n_threads": n_threads,
            "offset": offset,
            "scale": scale,
        }
        if not l1_reg_strength and suits_row_space(source, start):
            objective = RowSpaceObjective(source, y_index, n_classes, **common)
        else:
            objective = SoftmaxObjective(source, y_index, n_classes, l1_reg_strength=l1_reg_strength, **common)
        start = objective.start_point(start)  # in row space, where coefficients would take more memory
        if not objective.null_objective > 0:
            raise ValueError(
                "Expected at least 2 classes with a positive total weight, got fewer. Remedy: leave a positive "
                "sample_weight or class_weight to rows of two classes."
            )
        validation = None
        if self.early_stopping:
            rows = self._validation_rows(source, classes, y_index, row_weight, by_class, offset, held_out, X_val, y_val)
            validation = MeanCrossEntropy(*rows, n_outputs=objective.n_outputs, n_threads=n_threads)
        watch = _Watch(self, objective, classes, task, validation)
        with overflow_named(source.dtype):
            solution = self._minimise(objective, start, watch)

        n_iter, interrupted = solution.n_iter, not (solution.converged or solution.stopped)
        vars(self).pop("validation_loss_curve_", None)  # of an earlier fit
        if watch.best is not None:
            self.validation_loss_curve_ = watch.best.loss_curve
            solution = watch.best.of(solution)
        vars(self).update(watch.coefficients(solution.point))
        self.n_iter_ = n_iter
        self.converged_ = solution.converged
        self.objective_ = float(solution.objective)
        self.suboptimality_ = float(solution.suboptimality) + objective.blur(solution.point)
        self.suboptimality_is_bound_ = solution.is_bound
        self.loss_curve_ = solution.loss_curve
        for name in ("_stream_", "n_samples_seen_"):  # what partial_fit has left
            vars(self).pop(name, None)
        task.end(dict)
        if interrupted:
            told = self._not_converged(solution, objective.null_objective, source.dtype)
            warnings.warn(told, ConvergenceWarning, stacklevel=4)
        return self

    @available_if(_has_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Take in one batch of a stream, so that one pass over it comes close to a fit on all of it.

        The loss of the batch and a quadratic memory of the batches before are minimised together: the online Laplace
        approximation [1]_ [2]_, whose matrix is one Kronecker product [3]_. No learning rate, no order that rows must
        have: a stream may be sorted by class.

        The memory is a float64 matrix (n_features, n_features); a call makes some four more of that size, and factors
        one, so that it takes little longer for a hundred rows than for one. With more than 4096 features the memory is
        the diagonal, (n_classes, n_features), which says less where features are correlated. Pickles hold the memory,
        so that a stream can go on after them.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            A batch, of any kind that :meth:`fit` takes.
        y : array-like (n_samples,), or (n_samples, n_classes)
            Labels, not of all classes necessarily, or target probabilities.
        classes : array-like (n_classes,), default=None
            All the classes of the stream; to be given in the first call. For target probabilities they are
            ``arange(n_classes)``.
        sample_weight : array-like (n_samples,), default=None
            Non-negative weights of the rows.

        Returns
        -------
        self

        Notes
        -----
        It sets `coef_`, `intercept_`, `classes_`, `n_features_in_`, `n_iter_` and `converged_`, the last two for this
        call, and ``n_samples_seen_``, the rows of all calls.

        `C` has the meaning that it has for a fit on all the rows: the penalty is counted once. `C` and `fit_intercept`
        are to stay what they were in the first call. `tol` is relative to the batch's loss where all classes are
        equally likely. `warm_start` and `early_stopping` make no difference. With an L1 penalty, ``standardize=True``
        or ``class_weight='balanced'`` there is no ``partial_fit``.

        :meth:`fit` forgets the stream, and leaves no memory of its rows: after it, a stream of the same classes and
        features begins anew.

        References
        ----------
        .. [1] D. J. Spiegelhalter and S. L. Lauritzen, Sequential updating of conditional probabilities on directed
           graphical structures, Networks 20, 1990.
        .. [2] M. Opper, A Bayesian approach to on-line learning, in: On-Line Learning in Neural Networks, 1998.
        .. [3] H. Ritter, A. Botev and D. Barber, Online structured Laplace approximations for overcoming catastrophic
           forgetting, NeurIPS 2018.
        """
        with all_or_nothing(self), np.errstate(under="ignore"):
            return self._partial_fit(X, y, classes, sample_weight)

    def _partial_fit(self, X, y, classes, sample_weight):
        C = float(self.C)
        stream, strength = getattr(self, "_stream_", None), (C, self.fit_intercept)
        if stream is not None and self._strength_ != strength:
            raise ValueError(
                "Expected C and fit_intercept as in the first call of partial_fit, {} and {}, got {} and {}. Remedy: "
                "begin a stream with sklearn.base.clone of this estimator.".format(*self._strength_, *strength)
            )
        penalty_strength(C, 1.0)
        source = self._source(X, reset=not hasattr(self, "n_features_in_"))
        y = as_numpy(y, "y")
        n_columns = np.shape(y)[1] if np.ndim(y) == 2 else 1
        if classes is None and not hasattr(self, "classes_") and n_columns > 1:
            classes = np.arange(n_columns)
        classes = self._classes_of_stream(classes)
        n_classes = len(classes)
        if hasattr(self, "coef_"):
            coefficients(self, source.n_features, classes=classes)
        n_columns_before = source.n_features + int(self.fit_intercept)
        if stream is not None and stream.point.shape != (1 if n_classes == 2 else n_classes, n_columns_before):
            raise ValueError(
                f"Expected the {n_classes} classes and {source.n_features} features of the stream that partial_fit has "
                f"begun, whose coefficients and intercepts are {stream.point.shape}. Remedy: begin a stream with "
                "sklearn.base.clone of this estimator."
            )
        known, y_index = self._targets(y, source.n_samples, classes)
        if y_index.ndim > 1 and not np.array_equal(known, classes):
            raise ValueError(
                f"Expected target probabilities with a column for each of the classes {classes!r}, which for "
                f"them are arange(n_classes), got {n_columns} columns. Remedy: pass labels, or begin with "
                "classes=None."
            )
        weight, _ = self._weights(classes, y_index, checked_weight(sample_weight, y_index))
        objective = SoftmaxObjective(
            source,
            y_index,
            n_classes,
            sample_weight=weight,
            l2_reg_strength=0.0,
            fit_intercept=self.fit_intercept,
            n_threads=effective_n_threads(self.n_jobs),
        )
        weight_sum = float(source.n_samples) if weight is None else float(weight.sum())
        watch = _Watch(self, objective, classes, task=None, validation=None)
        with overflow_named(source.dtype):
            stream, solution = update(
                *(stream, objective, weight_sum, C),
                tol=float(self.tol),
                max_iter=self.max_iter,
                report=watch.report,
                check_start=check_start,
            )
        vars(self).update(watch.coefficients(solution.point))
        self.n_iter_ = solution.n_iter
        self.converged_ = solution.converged
        self.n_samples_seen_ = stream.n_samples
        for name in (
            "objective_",
            "suboptimality_",
            "suboptimality_is_bound_",
            "loss_curve_",
            "validation_loss_curve_",
        ):  # of a fit before
            vars(self).pop(name, None)
        self._stream_, self._strength_ = stream, strength
        if not solution.converged:
            null_objective = weight_sum * np.log(n_classes)
            told = self._not_converged(solution, null_objective, source.dtype)
            warnings.warn(told, ConvergenceWarning, stacklevel=4)
        return self

    def _classes_of_stream(self, classes):
        """The classes of partial_fit, sorted: those given, the first time, or those known."""
        known = np.asarray(self.classes_) if hasattr(self, "classes_") else None
        if classes is None and known is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit, got None. Remedy: name all the classes of "
                "the stream."
            )
        if known is not None:
            count(known)
        if classes is None:
            return known
        classes = column_or_1d(as_numpy(classes, "classes"))
        check_labels_present(classes, "classes")
        classes = unique_labels(classes)
        if len(classes) < 2:
            raise ValueError(
                f"Expected classes to name at least 2 classes, got {classes.tolist()}. Remedy: name all the "
                "classes of the stream."
            )
        if known is not None and (len(known) != len(classes) or (places(classes, known) < 0).any()):
            raise ValueError(
                f"Expected classes as in the first call of partial_fit, {known.tolist()}, got {classes.tolist()}. "
                "Remedy: leave classes out, or begin a stream with sklearn.base.clone of this estimator."
            )
        return classes if known is None else known

    def _source(self, X, reset, ensure_finite=True):
        """X, checked, as a source of rows; large float X for NaN and infinity only with ``ensure_finite``."""
        if not reset and self._is_as_fitted(X):
            return ArraySource(X)
        X = as_numpy(X, "X")
        if is_stream(X) and 0 not in X.shape:
            _check_sizes(X)
            source = StreamSource(X, verbose=self.verbose)
            validate_data(self, X, skip_check_array=True, reset=reset)
            return source
        # scikit-learn's check for NaN runs on one thread, and copies half of float16: ours is for what is large
        is_float = isinstance(X, np.ndarray) and X.dtype in (np.float32, np.float64)
        large = (is_float and X.size > _LARGE) or getattr(X, "dtype", None) == np.float16
        options = {"accept_sparse": "csr", "order": None, "ensure_all_finite": not large, "reset": reset}
        X = validate_data(self, X, dtype=[np.float64, np.float32] if issparse(X) else list(DTYPES), **options)
        if issparse(X):  # so are frames of sparse columns, of any number
            return CsrSource(X if X.dtype in (np.float32, np.float64) else X.astype(np.float64))
        assumed = get_config()["assume_finite"]  # but float16, which is fitted as if there were no NaN
        if large and ((ensure_finite and not (is_float and assumed)) or not (is_float or assumed)):
            check_finite(X, n_threads=effective_n_threads(self.n_jobs))
        return ArraySource(X)

    def _is_as_fitted(self, X):
        """Whether X is an array that scikit-learn's checks would pass on as it is: they take longer than a few rows."""
        return (
            type(X) is np.ndarray
            and X.dtype in (np.float32, np.float64)
            and X.ndim == 2
            and 0 < X.size <= _LARGE
            and X.shape[1] == getattr(self, "n_features_in_", X.shape[1])
            and not hasattr(self, "feature_names_in_")
            and bool(np.isfinite(X).all())
        )

    def _targets(self, y, n_samples, classes=None):
        """The classes, and labels as indices of them (n_samples,) or target probabilities (n_samples, n_classes).

        Classes that are not given are those of the labels.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None. Remedy: pass "
                "the labels of the rows."
            )
        y = as_numpy(y, "y")
        shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
        soft = len(shape) == 2 and shape[1] > 1
        # labels that scikit-learn's checks would pass on as they are: these take a quarter of a fit to small data
        plain = type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biu"
        if soft:
            y = np.asarray(y) if hasattr(y, "iloc") else y  # of sparse columns, too
            y = check_array(y, dtype=[np.float64, np.float32], input_name="y")
        elif not plain:
            y = column_or_1d(y, warn=True)
            if y.dtype.kind != "O":
                check_labels_present(y)
            with missing_named(y):  # to look at objects takes long
                assert_all_finite(y, input_name="y")
        if len(y) != n_samples:
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: expected y with a label for each of the "
                f"{n_samples} rows of X, got {len(y)}. Remedy: pass one label a row."
            )
        if soft:
            sums = y.sum(axis=1, dtype=np.float64)
            bad = np.flatnonzero(~((y.min(axis=1) >= 0) & (np.abs(sums - 1) <= 1e-3)))  # NaN, too
            if len(bad):
                remedy = "pass labels as a 1-d y, or divide each row by its sum"
                if np.isin(y, (0, 1)).all():
                    remedy = (
                        "where rows may have several labels, or none, fit a classifier for each label, as "
                        "sklearn.multioutput.MultiOutputClassifier does; else pass labels as a 1-d y"
                    )
                raise ValueError(
                    "Expected a 2-d y to hold target probabilities, non-negative rows with sum one, but row "
                    f"{bad[0]} is {y[bad[0]]!r}. Remedy: {remedy}."
                )
            return np.arange(y.shape[1]), y / sums[:, None].astype(y.dtype)
        if classes is not None:
            return classes, _places(y, classes)
        with missing_named(y):
            if not plain:
                check_classification_targets(y)
            classes, y_index = np.unique(y, return_inverse=True)
            check_labels_present(classes, "the classes")
        if plain and 2 * len(classes) > n_samples:
            check_classification_targets(y)  # it warns of so many
        if len(classes) < 2:
            raise ValueError(
                f"Expected y to hold at least 2 classes, but it holds one class: {classes.tolist()[0]!r}. Remedy: fit "
                "on rows of all the classes that are to be told apart."
            )
        return classes, y_index.astype(np.intp, copy=False)

    def _scale(self, source, weight, n_threads):
        """Standard deviations of the features; of those that do not vary, inf if there is an intercept, else 1."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean, variance = source.moments(weight, n_threads)
        if not np.isfinite(variance).all():
            source.check_finite(n_threads)
            raise ValueError(
                "Expected X of a size that can be squared, but its variances overflow. Remedy: scale X down."
            )
        # Squares are those of differences from the mean, of which rounding leaves little, however many rows there are.
        constant = variance <= np.square(4 * np.finfo(np.float64).eps * mean)
        return np.where(constant, np.inf if self.fit_intercept else 1.0, np.sqrt(variance))

    def _without_constants(self, source, weight, scale):
        """The scale (n_features,), or None for ones, but inf for features that do not vary beside an intercept.

        It does all that they can, without a penalty; rounding would have them share.
        """
        constants = source.constants(weight) if self.fit_intercept else ()
        if not len(constants):
            return scale
        scale = np.ones(source.n_features) if scale is None else scale.copy()
        scale[constants] = np.inf
        return scale

    def _check_validation(self, X_val, y_val, offset):
        """Whether validation rows fit together with the rest."""
        if (X_val is None) != (y_val is None):
            given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
            raise ValueError(f"Expected X_val and y_val, or neither, got {given} only. Remedy: pass {missing} too.")
        if X_val is not None and not self.early_stopping:
            raise ValueError(
                "Expected early_stopping=True where X_val and y_val are given, got False. Remedy: set it, or leave "
                "them out."
            )
        if X_val is not None and offset is not None:
            raise ValueError(
                "Expected no offset with X_val, whose rows would lack theirs, got both. Remedy: leave X_val out, so "
                "that rows of X are held out with their offsets."
            )

    def _held_out(self, y_index, row_weight):
        """Rows held out for early stopping, increasing; none without weight, nor all of a class."""
        rows = np.arange(len(y_index)) if row_weight is None else np.flatnonzero(row_weight)
        y = y_index[rows]
        train, held_out = next(holdout(y, self.validation_fraction, self.random_state).split(y, y))
        if y.ndim == 1:
            held_out = held_out[np.isin(y[held_out], y[train])]
        if not len(held_out):
            raise ValueError(
                f"Expected rows to hold out for early_stopping, but of {len(rows)} rows none can be spared. Remedy: "
                "give X_val and y_val, or a larger validation_fraction."
            )
        return np.sort(rows[held_out])

    def _validation_rows(self, source, classes, y_index, row_weight, by_class, offset, held_out, X_val, y_val):
        """What :class:`MeanCrossEntropy` takes: rows, labels, weights and offsets of those that are watched."""
        if held_out is None:
            source = self._source(X_val, reset=False)
            target, weight = self._targets_among(classes, y_val, source.n_samples), None
        else:
            source, target = source.select(held_out), y_index[held_out]
            weight, offset = (None if a is None else a[held_out] for a in (row_weight, offset))
        if by_class is not None:
            by_row = by_class[target] if target.ndim == 1 else target @ by_class
            weight = by_row if weight is None else weight * by_row
        if weight is not None and not weight.sum() > 0:
            raise ValueError(
                "Expected validation rows with a positive total weight, but class_weight is zero for all of them. "
                "Remedy: give rows of other classes."
            )
        return source, target, weight, offset

    def _weights(self, classes, y_index, row_weight, held_out=None):
        """s, or None where all weigh the same, zero where held out; and the weights of the classes, or None."""
        if row_weight is None and held_out is None and self.class_weight is None:
            return None, None
        weight, by_class = np.ones(len(y_index)) if row_weight is None else row_weight.copy(), None
        if held_out is not None:
            weight[held_out] = 0.0
        if self.class_weight is not None:
            if y_index.ndim > 1:
                raise ValueError(
                    "Expected class_weight=None for target probabilities, whose rows belong to no one class, got "
                    f"{self.class_weight!r}. Remedy: pass labels, or weigh rows by sample_weight."
                )
            by_class = weights_of_classes(self.class_weight, classes, y_index, weight)
            if (by_class < 0).any():
                raise ValueError(
                    f"Expected non-negative weights in class_weight, got {self.class_weight!r}. Remedy: give a class "
                    "that is not to count the weight 0."
                )
            with np.errstate(over="ignore"):
                weight *= by_class[y_index]
        if not weight.any():
            raise ValueError(
                "Expected weights with a positive sum, but sample_weight times class_weight is zero for every row. "
                "Remedy: give some rows a positive weight."
            )
        check_sum(weight, "sample_weight times class_weight")
        return weight, by_class

    def _start(self, classes, n_features, previous, coef_init, intercept_init):
        """The point that the solver starts from."""
        n_classes = len(classes)
        n_outputs = 1 if n_classes == 2 else n_classes
        point = np.zeros((n_outputs, n_features + int(self.fit_intercept)))
        if previous is not None:
            known = np.asarray(getattr(previous, "classes_", classes))
            coef, intercept = coefficients(previous, n_features, classes=known)
            intercept = np.where(np.isneginf(intercept), 0.0, intercept)  # of a class that no row had
            by_class = _one_row_a_class(np.column_stack([coef, intercept]))
            rows = np.zeros((n_classes, n_features + 1))
            place = places(classes, known)
            rows[place >= 0] = by_class[place[place >= 0]]
            if n_classes == 2:
                rows = rows[1:] - rows[:1]
            point[:] = rows[:, : point.shape[1]]
        if intercept_init is not None and not self.fit_intercept:
            raise ValueError(
                "Expected intercept_init=None, since fit_intercept=False, but got values. Remedy: set "
                "fit_intercept=True or leave intercept_init out."
            )
        for name, value, place, shape in (
            ("coef_init", coef_init, np.s_[:, :n_features], (n_outputs, n_features)),
            ("intercept_init", intercept_init, np.s_[:, n_features], (n_outputs,)),
        ):
            if value is None:
                continue
            value = np.asarray(as_numpy(value, name), dtype=np.float64)
            holds = "" if np.isfinite(value).all() else " with values that are not finite"
            if value.shape != shape or holds:
                raise ValueError(
                    f"Expected {name} to be a finite array of shape {shape}, for {n_classes} classes and {n_features} "
                    f"features, got shape {value.shape}{holds}. Remedy: give values as coef_ and intercept_ have them."
                )
            point[place] = value
        if n_outputs > 1 and not self.l1_ratio:
            point -= point.mean(axis=0)  # the same probabilities, a smaller penalty
        return point

    @on_one_blas_thread
    def _minimise(self, objective, start, watch):
        """Let the solver name points and tell it the objective there, until it has ended."""

        def target(point, penalty=None):
            penalty = objective.penalty(point) if penalty is None else penalty
            allowed = allowed_suboptimality(tol, objective.null_objective, penalty, noise)
            return allowed - objective.blur(point)

        tol, noise = float(self.tol), 4 * np.finfo(objective.source.dtype).eps
        by_columns = bool(objective.l1_reg_strength) and suits_columns(objective.source, objective.n_outputs)
        if by_columns:
            curvature = None
        elif objective.l1_reg_strength:
            curvature = QuadraticCurvature(objective)
        else:
            curvature = (RowSpaceCurvature if isinstance(objective, RowSpaceObjective) else Curvature)(objective)
        common = {
            "target": target,
            "max_iter": self.max_iter,
            "noise": noise,
            "report": watch.report,
        }
        if by_columns:
            columns = Columns(objective)
            solver = working_set(start, columns, **columns.penalties(), **common)
        elif objective.l1_reg_strength:
            common |= {"threshold": objective.threshold(), "settle": objective.settled, "exact": curvature.is_exact}
            solver = proximal_newton(start, curvature.metric, memory=n_pairs(start.size, _PAIRS_BYTES), **common)
        elif curvature.is_exact:
            solver = newton(start, curvature.small, **common)
        else:
            memory = Memory(n_pairs(start.size, _PAIRS_BYTES), Pieces(start.size, objective.n_threads))
            rows = rows_of(objective, curvature, start)
            solver = relay(start, curvature, curvature.metric, memory=memory, rows=rows, **common)

        def evaluate(point):
            if objective.n_passes:
                watch.begin()
            value, grad = objective.evaluate(point)
            if objective.n_passes == 1:
                check_start(objective, value, grad)
            return value, grad

        solution = run(solver, evaluate, _Told(objective, watch))
        if not solution.is_bound:
            solution.prove(objective.gradient_bound(solution.grad), target)
        watch.end()
        if self.verbose:
            how = "converged" if solution.converged else "stopped" if solution.stopped else "not converged"
            print(
                f"{how} after {solution.n_iter} iterations and {objective.n_passes:g} passes: objective "
                f"{solution.objective:.8g}, above the minimum by an estimated {solution.suboptimality:.1e}"
            )
        return solution

    def _not_converged(self, solution, null_objective, dtype):
        relative = solution.suboptimality / null_objective
        if solution.n_iter == self.max_iter:
            remedy = "Raise max_iter, or tol if that is close enough."
        else:
            more_digits = "" if dtype == np.float64 else "pass X as float64 for more digits, or "
            remedy = f"{more_digits}set tol={max(2 * relative, np.finfo(dtype).eps):.0e}."
            remedy = remedy[0].upper() + remedy[1:]
        return (
            f"The fit stopped before tol={self.tol:g} was reached, because {solution.reason}. The objective is above "
            f"its minimum by an estimated {solution.suboptimality:.2e}, which is {relative:.1e} of the null model's. "
            f"{remedy}"
        )

    def _predict(self, X, kind, offset):
        if not (hasattr(self, "coef_") and hasattr(self, "classes_")):  # what follows takes as long as ten rows
            check_is_fitted(self, ("coef_", "classes_"))
        source = self._source(X, reset=False, ensure_finite=False)  # its scores are looked at: that takes half the time
        looked_at = np.size(self.coef_) <= _FEW_VALUES or source.n_samples > _FEW_ROWS
        coef, intercept = coefficients(self, source.n_features, values=looked_at)
        if len(coef) == 1:
            kind = RAW  # of two classes, probabilities are taken from the score
        offset = _checked_offset(offset, source.n_samples, len(self.classes_), source.dtype)
        # one row is not worth asking how many cores there are
        n_threads = effective_n_threads(self.n_jobs) if source.n_samples * coef.size > 1e6 else 1
        passes = source.passes(1, len(coef), n_threads)
        absent = np.isneginf(intercept)  # a class that no training row had, as in coefs_paths_ of the CV class
        intercept = np.where(absent, StackedObjectives.ABSENT, intercept) if absent.any() else intercept
        out = np.empty((source.n_samples, len(coef)), source.dtype)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # where X has fewer digits than they
            passes.predict(source.parts(), coef, intercept, kind, out, offset)
        finite = np.isfinite(out).all()  # NaN or infinity in a row of X make all of its scores so
        if not looked_at and not (finite and (kind != PROBA or out.min() > 2 * np.finfo(out.dtype).tiny)):
            check_values(coef, intercept)  # where one is minus infinity, a probability is the least there is
        if not finite:
            source.check_finite(n_threads)
            _check_offset_finite(offset)
            row = int(np.isfinite(out).all(axis=1).argmin())
            raise ValueError(
                f"Expected finite scores X @ coef_.T, but they overflow {out.dtype}, first in row {row}. Remedy: scale "
                f"X down{_or_as_float64(out.dtype)}."
            )
        out[:, absent] = 0.0 if kind == PROBA else -np.inf
        return out

    def decision_function(self, X, offset=None):
        """Scores X @ coef_.T + intercept_ + offset.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        ndarray (n_samples, n_classes); (n_samples,) for two classes, the score of ``classes_[1]``
        """
        raw_prediction = self._predict(X, RAW, offset)
        return _as_came(raw_prediction[:, 0] if raw_prediction.shape[1] == 1 else raw_prediction, X)

    def predict(self, X, offset=None):
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
        raw_prediction = self._predict(X, RAW, offset)
        best = (
            raw_prediction.argmax(axis=1) if raw_prediction.shape[1] > 1 else (raw_prediction[:, 0] > 0).astype(np.intp)
        )
        return _as_came(np.asarray(self.classes_)[best], X)

    def predict_proba(self, X, offset=None):
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
        proba = self._predict(X, PROBA, offset)
        if proba.shape[1] == 1:
            with np.errstate(under="ignore"):
                proba = np.concatenate([expit(-proba), expit(proba)], axis=1)
        return _as_came(proba, X)

    def predict_log_proba(self, X, offset=None):
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
        log_proba = self._log_proba(X, offset)
        log_proba[log_proba >= -np.finfo(log_proba.dtype).eps / 2] = 0.0
        return _as_came(log_proba, X)

    def _log_proba(self, X, offset=None):
        """Logarithms of the probabilities, exact near zero."""
        log_proba = self._predict(X, LOG_PROBA, offset)
        if log_proba.shape[1] > 1:
            return log_proba
        with np.errstate(under="ignore"):
            return log_proba_of_two(log_proba)

    def score(self, X, y, sample_weight=None, offset=None):
        """Accuracy: the share of the rows whose class is predicted.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : array-like (n_samples,)
        sample_weight : array-like (n_samples,), default=None
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        float
        """
        y, sample_weight = as_numpy(y, "y"), as_numpy(sample_weight, "sample_weight")
        predicted = self.predict(as_numpy(X, "X"), offset)
        with comparable(y, self.classes_):
            return accuracy_score(y, predicted, sample_weight=sample_weight)

    def sample_loss(self, X, y, offset=None):
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
        target = self._targets_among(np.asarray(self.classes_), y, len(log_proba))
        with np.errstate(under="ignore"):
            return _as_came(cross_entropy(log_proba, target), X)

    def _targets_among(self, classes, y, n_samples):
        """Labels as indices of classes that are known, or target probabilities of as many classes."""
        y = as_numpy(y, "y")
        if np.ndim(y) == 2 and np.shape(y)[1] > 1:
            columns, target = self._targets(y, n_samples)
            if len(columns) != len(classes):
                raise ValueError(
                    f"Expected y with a column for each of the {len(classes)} classes, got {len(columns)} columns. "
                    "Remedy: give columns in the order of classes_."
                )
            return target
        y = column_or_1d(y)
        if len(y) != n_samples:
            raise ValueError(
                f"Found input variables with inconsistent numbers of samples: expected a label for each of {n_samples} "
                f"rows, got {len(y)}. Remedy: pass one label a row."
            )
        return _places(y, classes)

    def sparsify(self):
        """Make `coef_` a sparse matrix, which saves memory where most of it is zero.

        Predictions stay what they are. Another fit makes it dense again.

        Returns
        -------
        self
        """
        self.coef_ = csr_matrix(self._coef())
        return self

    def densify(self):
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
    def penalty(self):
        """'l1', where the penalty is L1 only: by this name :class:`~sklearn.feature_selection.SelectFromModel` knows
        that features are left out whose coefficients are zero, and no others.
        """
        if not np.isclose(self._l1_share(), 1.0):
            raise AttributeError("Only an L1 penalty is told of as penalty. Remedy: see C and l1_ratio.")
        return "l1"

    def _l1_share(self):
        return self.l1_ratio or 0.0

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _as_came(values, X):
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


def rows_of(objective, curvature, start):
    """What a solver may know of the rows of an objective, if there is memory for it: a quarter of X, or 100 MB.

    Nothing of wide sparse ones: their metric is a diagonal for the most part, with which searches creep as well.
    """
    source = objective.source
    if source.is_wide_and_sparse:
        return None
    row_bytes = source.n_samples * objective.n_outputs * source.dtype.itemsize
    n = n_slots(max(source.nbytes / 4, 1e8), row_bytes, start.nbytes)
    return (
        None
        if n is None
        else Rows(
            objective.row_search,
            n,
            objective.penalty_product,
            curvature.metric_of_all_rows,
            curvature.passes_of_all_rows,
        )
    )


class _Told:
    """An objective at points whose scores are known, that tells a watch of iterations."""

    def __init__(self, objective, watch):
        self.objective, self.watch = objective, watch

    def raw_scores(self, point, out, is_direction):
        self.objective.raw_scores(point, out, is_direction)

    def evaluate_at(self, point, scores):
        self.watch.begin()
        return self.objective.evaluate_at(point, scores)

    def arrived(self):
        self.watch.begin()
        self.objective.n_passes += 1


def unit_of(source, weight):
    """A power of two as large as the largest value, where they are so small in float32 that metrics would underflow.

    Rows that weigh nothing do not count.
    """
    if source.dtype != np.float32:
        return None
    peak = source.peak(weight, _TINY)
    # one whose inverse is finite, too
    return max(2.0 ** np.floor(np.log2(peak)), 2.0**-126) if 0 < peak < _TINY else None


class _Watch:
    """Told of each iteration of a fit: tells it to the user, to callbacks, and keeps the loss on validation rows.

    Parameters
    ----------
    clf : SoftmaxRegressionClassifier
    objective : SoftmaxObjective
    classes : array (n_classes,)
    task : Task
        The fit.
    validation : MeanCrossEntropy, or None
    """

    def __init__(self, clf, objective, classes, task, validation):
        self.verbose, self.objective, self.classes = clf.verbose, objective, classes
        self.task, self.iteration = task, None
        self.validation = validation
        self.best = None if validation is None else BestIterate(clf.n_iter_no_change)

    def coefficients(self, point):
        """Fitted attributes of a point."""
        dtype = self.objective.source.dtype
        coef, intercept = (part.astype(dtype) for part in self.objective.split(point))
        return {"classes_": self.classes, "coef_": coef, "intercept_": intercept}

    def begin(self):
        """An iteration is under way."""
        if self.iteration is None:
            self.iteration = self.task.subtask("iteration")

    def end(self):
        """No further point is asked for: an iteration that is under way has come to nothing."""
        if self.iteration is not None:
            self.iteration.end()

    def report(self, solution):
        """The solver has done an iteration, or is at its start; whether it is to stop."""
        told, stop = "", False
        if self.validation is not None:
            loss = self.validation.evaluate(*self.objective.split(solution.point))
            if not np.isfinite(loss):
                dtype = self.validation.source.dtype
                self.validation.source.check_finite(self.objective.n_threads)
                raise ValueError(
                    f"Expected finite scores X_val @ coef_.T, but they overflow {dtype}. Remedy: scale X and X_val "
                    f"down{_or_as_float64(dtype, 'them')}."
                )
            told, stop = f", validation loss {loss:.8g}", self.best.add(solution, loss)
        if self.verbose > 1:
            print(
                f"iteration {solution.n_iter}: objective {solution.objective:.8g}, above the minimum by an estimated "
                f"{solution.suboptimality:.1e}{told}"
            )
        if self.iteration is not None:
            stop |= self.iteration.end(lambda: self.coefficients(solution.point))
            self.iteration = None
        return stop


@contextmanager
def all_or_nothing(estimator):
    """Leave the fitted attributes of an estimator as they were, where a fit fails."""
    fitted = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
    try:
        yield
    except BaseException:
        for name in [name for name in vars(estimator) if name.endswith("_")]:
            delattr(estimator, name)  # validation sets n_features_in_ early
        vars(estimator).update(fitted)
        raise


def holdout(y, validation_fraction, random_state):
    """A splitter that holds out a random share of the rows once, by class where each has rows enough."""
    counts = np.unique(y, return_counts=True)[1] if y.ndim == 1 else np.zeros(1)
    validation_fraction = float(validation_fraction)
    n_test = int(np.ceil(validation_fraction * len(y)))
    stratify = counts.min() > 1 and min(n_test, len(y) - n_test) >= len(counts)
    kind = StratifiedShuffleSplit if stratify else ShuffleSplit
    return kind(1, test_size=validation_fraction, random_state=random_state)


def weights_of_classes(class_weight, classes, y_index, weight):
    """Weights of classes for rows that weigh something; 'balanced' is zero for a class that none of them has."""
    if not isinstance(class_weight, str):
        by_class = weights_by_label(class_weight, classes)
        bad = np.flatnonzero(~np.isfinite(by_class))
        if len(bad):
            raise ValueError(
                f"Expected finite weights in class_weight, got {by_class[bad[0]]} for class "
                f"{classes[bad[0] : bad[0] + 1].tolist()[0]!r}. Remedy: give every class a number."
            )
        return by_class
    sums = np.bincount(y_index, weight, len(classes))
    present = sums > 0
    return np.divide(sums.sum() / max(present.sum(), 1), sums, where=present, out=np.zeros(len(classes)))


def checked_weight(sample_weight, y_index):
    """Weights of rows, float64, or None."""
    if sample_weight is None:
        return None
    sample_weight = as_numpy(sample_weight, "sample_weight")
    weight = _check_sample_weight(sample_weight, y_index, dtype=np.float64, ensure_non_negative=True)
    if weight.any():
        check_sum(weight, "sample_weight")
    return weight


def check_sum(weight, name):
    """Raise ValueError where weights, not all of them zero, cannot be divided by their sum."""
    with np.errstate(over="ignore"):
        total = weight.sum()
        mean_inverse = len(weight) / total if total else np.inf
    if not (np.isfinite(total) and np.isfinite(mean_inverse)):
        if not np.isfinite(weight).all():
            row = int(np.isfinite(weight).argmin())
            raise ValueError(f"Expected finite {name}, got {weight[row]} in row {row}. Remedy: give finite weights.")
        raise ValueError(
            f"Expected {name} to have a sum that float64 can hold and divide by, got {total}. Remedy: multiply the "
            "weights by a constant, and C by its inverse."
        )


def penalty_strength(C, weight_sum, unit=1.0):
    """1/(C S), zero without a penalty, where the penalty of coefficients in some unit is a number."""
    if np.isinf(C):
        return 0.0
    product = C * weight_sum
    if not product * unit**2 > np.finfo(np.float64).tiny:
        raise ValueError(
            f"Expected C times the sum of the weights to be large enough to divide by, got C={C:g} and a sum of "
            f"{weight_sum:g}. Remedy: raise C."
        )
    return 1.0 / product


def _places(y, classes):
    """Labels as indices of the classes."""
    place = places(y, classes)
    unknown = place < 0
    if unknown.any():
        check_labels_present(np.asarray(y))
        others = list(dict.fromkeys(y[unknown].tolist()))[:5]
        raise ValueError(
            f"Expected labels of the classes {classes.tolist()}, got also {others}. Remedy: leave out those rows, or "
            "fit with all the classes."
        )
    return place


@contextmanager
def comparable(y, classes):
    """Say which labels are wrong, where scikit-learn compares those that do not compare."""
    try:
        yield
    except TypeError:
        _places(column_or_1d(y), np.asarray(classes))
        raise


def _check_sizes(X):
    """Whether X, which is to be read in slices, knows its shape."""
    for size in X.shape:
        try:
            operator.index(size)
        except TypeError:
            raise ValueError(
                f"Expected X of known shape, got a {type(X).__name__} of shape {tuple(X.shape)}. Remedy: let it find "
                "out, as X.compute_chunk_sizes() does for a dask array."
            ) from None


def _check_offset_finite(offset):
    """What scikit-learn does not look for where it is told to assume finite values."""
    if offset is not None and not np.isfinite(offset).all():
        row = int(np.isfinite(offset).all(axis=1).argmin())
        raise ValueError(
            f"Expected finite values in offset, got {offset[row]} in row {row}. Remedy: give every row and class a "
            "number."
        )


def check_start(objective, value, grad):
    """Raise ValueError where the scores at the start overflow, or nobody has looked at what is not finite."""
    if not (np.isfinite(value) and np.isfinite(grad).all()):
        dtype = objective.source.dtype
        objective.source.check_finite(objective.n_threads)
        _check_offset_finite(getattr(objective, "offset", None))
        raise ValueError(
            f"Expected finite scores X @ coef.T, but they overflow {dtype} at the start. Remedy: start from smaller "
            f"coefficients, or scale X down{_or_as_float64(dtype)}."
        )


def _or_as_float64(dtype, what="it"):
    """The end of a remedy, where X does not have the range and the digits of float64 yet."""
    return "" if dtype == np.float64 else f", or pass {what} as float64"


@contextmanager
def overflow_named(dtype):
    """Say what to do where squares of the data overflow."""
    try:
        yield
    except FloatingPointError as error:
        raise ValueError(
            f"Expected X of a size that can be squared in {dtype}, but {error}. Remedy: scale X "
            f"down{_or_as_float64(dtype)}."
        ) from error


def _one_row_a_class(rows):
    """Coefficients of all classes, for two classes too, where one vector stands for the difference of both."""
    return np.concatenate([-rows / 2, rows / 2]) if len(rows) == 1 else rows


def _checked_offset(offset, n_samples, n_classes, dtype=np.float64):
    """What is added to the scores, (n_samples, n_outputs), or None."""
    if offset is None:
        return None
    offset = check_array(as_numpy(offset, "offset"), dtype=dtype, ensure_2d=False, input_name="offset")
    if offset.shape != (n_samples, n_classes):
        raise ValueError(
            f"Expected offset of shape {(n_samples, n_classes)}, a number for each row and class, got {offset.shape}. "
            "Remedy: give a column for every class, in the order of classes_."
        )
    return np.ascontiguousarray(offset[:, 1:] - offset[:, :1] if n_classes == 2 else offset)
