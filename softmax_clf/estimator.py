"""SoftmaxRegressionClassifier: validation, labels and fitted attributes around the objective and the solver."""

import warnings
from contextlib import contextmanager
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix, issparse
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from .curvature import Curvature
from .kernels.dense import LOG_PROBA, PROBA, RAW
from .kernels.threads import blas_on_one_thread, effective_n_threads
from .objective import SoftmaxObjective
from .online import update
from .solvers.lbfgs import lbfgs
from .solvers.metric import EXACT
from .solvers.stopping import allowed_suboptimality
from .sources.arrays import DTYPES, ArraySource, check_finite
from .sources.sparse import CsrSource
from .sources.stream import StreamSource, is_stream

_PAIRS_BYTES = 1 << 28  # of the solver's memory, where it is kept short: all of it is read in each iteration


class SoftmaxRegressionClassifier(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression, the softmax layer of a network, fitted to its optimum.

    Minimises, over W (n_classes, n_features) and b (n_classes,),

        F(W, b) = 1/S sum_i s_i CE(y_i, softmax(W x_i + b + offset_i)) + 1/(2 C S) ||W||_F^2,    S = sum_i s_i,

    with s_i = sample_weight_i * class_weight[y_i]. This is the objective of
    :class:`sklearn.linear_model.LogisticRegression` divided by C S: the same C has the same minimiser. For two classes
    there is one vector and F is the logistic loss, as there.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty; ``np.inf`` for none. The intercept is never penalised.
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
        Whether to start from the coefficients of the last fit. Classes that only one of the fits knows start at zero.
    n_jobs : int, default=None
        Threads. None: the cores that this process may use, or the share that joblib leaves it; 1 is serial; -1 all
        cores. Results do not depend on it, to the bit.
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
    converged_ : bool
    objective_ : float
        F at the solution.
    suboptimality_ : float
        What ``objective_`` is above the minimum at most, by the estimate that the stopping rule used.
    loss_curve_ : list of float
        F at the start and after each iteration.

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
        "fit_intercept": ["boolean"],
        "standardize": ["boolean"],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        C=1.0,
        *,
        fit_intercept=True,
        standardize=False,
        class_weight=None,
        tol=1e-6,
        max_iter=1000,
        warm_start=False,
        n_jobs=None,
        verbose=0,
    ):
        self.C = C
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, offset=None, coef_init=None, intercept_init=None):
        """Fit to the minimum of the objective.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            float32 and float64 are used as they are, in any memory order, without a copy. So are uint8, int8, int16 and
            float16, calculated with as float32. Anything else is converted to float64. Finite. Sparse X in CSR format
            is used as it is, other formats are converted to it. A memory map, or any object with ``shape``, ``dtype``
            and row slices such as a dataset of h5py or zarr, is read in slices of some 64 MB, as often as there are
            passes.
        y : array-like (n_samples,), or (n_samples, n_classes)
            Labels of any dtype, of at least two classes. Or target probabilities: non-negative rows with sum one, whose
            classes are ``arange(n_classes)``.
        sample_weight : array-like (n_samples,), default=None
            Non-negative weights of the rows.
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, in the order of the sorted classes.
        coef_init, intercept_init : array-like shaped as `coef_`, `intercept_`, default=None
            Where to start; None starts at zero, or with `warm_start` at the last solution.

        Returns
        -------
        self
        """
        with self._unchanged_by_failure():
            return self._fit(X, y, sample_weight, offset, coef_init, intercept_init)

    @contextmanager
    def _unchanged_by_failure(self):
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_")}
        try:
            yield
        except BaseException:
            # validation has set n_features_in_ already: a fit that fails must leave nothing behind
            for name in [name for name in vars(self) if name.endswith("_")]:
                delattr(self, name)
            vars(self).update(fitted)
            raise

    def _fit(self, X, y, sample_weight, offset, coef_init, intercept_init):
        previous = self if self.warm_start and hasattr(self, "coef_") else None
        known_features = previous.n_features_in_ if previous is not None else None
        source = self._source(X, reset=True)
        classes, y_index = self._targets(y, source.n_samples)
        n_classes = len(classes)
        weight = self._weights(classes, y_index, sample_weight)
        weight_sum = float(source.n_samples) if weight is None else float(weight.sum())
        if known_features is not None and known_features != source.n_features:
            raise ValueError(
                f"Expected X with the {known_features} features of the previous fit, since warm_start=True, got "
                f"{source.n_features}. Remedy: set warm_start=False."
            )
        start = self._start(classes, source.n_features, previous, coef_init, intercept_init)
        n_threads = effective_n_threads(self.n_jobs)
        scale = self._scale(source, weight, n_threads) if self.standardize else None
        if scale is not None:
            start[:, : source.n_features] *= np.where(np.isfinite(scale), scale, 0.0)

        objective = SoftmaxObjective(
            source,
            y_index,
            n_classes,
            sample_weight=weight,
            l2_reg_strength=0.0 if np.isinf(self.C) else 1.0 / (self.C * weight_sum),
            fit_intercept=self.fit_intercept,
            n_threads=n_threads,
            offset=_checked_offset(offset, source.n_samples, n_classes),
            scale=scale,
        )
        if not objective.null_objective > 0:
            raise ValueError(
                "Expected at least 2 classes with a positive total weight, got fewer. Remedy: leave a positive "
                "sample_weight or class_weight to rows of two classes."
            )
        with blas_on_one_thread(), _overflow_named(source.dtype):
            solution = self._minimise(objective, start)

        coef, intercept = objective.split(solution.point)
        self.classes_ = classes
        self.coef_ = coef.astype(source.dtype)
        self.intercept_ = intercept.astype(source.dtype)
        self.n_iter_ = solution.n_iter
        self.converged_ = solution.converged
        self.objective_ = float(solution.objective)
        self.suboptimality_ = float(solution.suboptimality)
        self.loss_curve_ = solution.loss_curve
        for name in ("_stream", "n_samples_seen_"):  # what partial_fit has left
            vars(self).pop(name, None)
        if not solution.converged:
            warnings.warn(self._not_converged(solution, objective.null_objective), ConvergenceWarning, stacklevel=4)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Take in one batch of a stream, so that one pass over it comes close to a fit on all of it.

        The loss of the batch and a quadratic memory of the batches before are minimised together: the online Laplace
        approximation [1]_ [2]_, whose matrix is one Kronecker product [3]_. No learning rate, no order that rows must
        have: a stream may be sorted by class.

        The memory is a float64 matrix (n_features, n_features); a call makes some four more of that size, and factors
        one, so that it takes little longer for a hundred rows than for one. With more than 4096 features the memory is
        the diagonal, (n_classes, n_features), which says less where features are correlated.

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
        equally likely. `warm_start` makes no difference.

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
        with self._unchanged_by_failure():
            return self._partial_fit(X, y, classes, sample_weight)

    def _partial_fit(self, X, y, classes, sample_weight):
        stream, strength = getattr(self, "_stream", None), (self.C, self.fit_intercept)
        if stream is not None and self._strength != strength:
            raise ValueError(
                "Expected C and fit_intercept as in the first call of partial_fit, {} and {}, got {} and {}. Remedy: "
                "begin a stream with sklearn.base.clone of this estimator.".format(*self._strength, *strength)
            )
        if self.standardize:
            raise ValueError(
                "Expected standardize=False for partial_fit, which would need the standard deviations of rows still to "
                "come, got standardize=True. Remedy: transform batches by a StandardScaler."
            )
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"Expected class_weight to be None or a dict for partial_fit, got {self.class_weight!r}, which needs "
                "the frequencies of the classes in the whole stream. Remedy: pass weights by class, from "
                "compute_class_weight of a sample of it."
            )
        source = self._source(X, reset=not hasattr(self, "classes_"))
        n_columns = np.shape(y)[1] if np.ndim(y) == 2 else 1
        if classes is None and not hasattr(self, "classes_") and n_columns > 1:
            classes = np.arange(n_columns)
        _check_partial_fit_first_call(self, classes)
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"Expected classes to name at least 2 classes, got one class: {self.classes_[0]!r}. Remedy: name all "
                "the classes of the stream."
            )
        known, y_index = self._targets(y, source.n_samples, self.classes_)
        if not np.array_equal(known, self.classes_):
            raise ValueError(
                f"Expected target probabilities with a column for each of the classes {self.classes_!r}, which for "
                f"them are arange(n_classes), got {n_columns} columns. Remedy: pass labels, or begin with "
                "classes=None."
            )
        weight = self._weights(self.classes_, y_index, sample_weight)
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
        with blas_on_one_thread(), _overflow_named(source.dtype):
            stream, solution = update(
                stream, objective, weight_sum, self.C, tol=self.tol, max_iter=self.max_iter, report=self._report
            )
        coef, intercept = objective.split(solution.point)
        self.coef_ = coef.astype(source.dtype)
        self.intercept_ = intercept.astype(source.dtype)
        self.n_iter_ = solution.n_iter
        self.converged_ = solution.converged
        self.n_samples_seen_ = stream.n_samples
        for name in ("objective_", "suboptimality_", "loss_curve_"):  # of a fit before
            vars(self).pop(name, None)
        self._stream, self._strength = stream, strength
        if not solution.converged:
            null_objective = weight_sum * np.log(n_classes)
            warnings.warn(self._not_converged(solution, null_objective), ConvergenceWarning, stacklevel=4)
        return self

    def _source(self, X, reset):
        """X, checked, as a source of rows."""
        if issparse(X):
            dtype = [np.float64, np.float32]
            return CsrSource(validate_data(self, X, accept_sparse="csr", dtype=dtype, order=None, reset=reset))
        if is_stream(X) and 0 not in X.shape:
            validate_data(self, X, skip_check_array=True, reset=reset)
            return StreamSource(X, verbose=self.verbose)
        # scikit-learn's check for NaN runs on one thread, and copies half of float16: ours is for what is large
        is_float = isinstance(X, np.ndarray) and X.dtype in (np.float32, np.float64)
        large = (is_float and X.size > 1e6) or getattr(X, "dtype", None) == np.float16
        X = validate_data(self, X, dtype=list(DTYPES), order=None, ensure_all_finite=not large, reset=reset)
        if large:
            check_finite(X, n_threads=effective_n_threads(self.n_jobs))
        return ArraySource(X)

    def _targets(self, y, n_samples, classes=None):
        """The classes, and labels as indices of them (n_samples,) or target probabilities (n_samples, n_classes).

        Classes that are not given are those of the labels.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None. Remedy: pass "
                "the labels of the rows."
            )
        shape = y.shape if hasattr(y, "shape") else np.asarray(y).shape
        soft = len(shape) == 2 and shape[1] > 1
        if soft:
            y = check_array(y, dtype=[np.float64, np.float32], input_name="y")
        else:
            y = column_or_1d(y, warn=True)
            assert_all_finite(y, input_name="y")
        if len(y) != n_samples:
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: expected y with a label for each of the "
                f"{n_samples} rows of X, got {len(y)}. Remedy: pass one label a row."
            )
        if soft:
            sums = y.sum(axis=1, dtype=np.float64)
            bad = np.flatnonzero((y.min(axis=1) < 0) | (np.abs(sums - 1) > 1e-3))
            if len(bad):
                raise ValueError(
                    "Expected a 2-d y to hold target probabilities, non-negative rows with sum one, but row "
                    f"{bad[0]} is {y[bad[0]]!r}. Remedy: pass labels as a 1-d y, or divide each row by its sum."
                )
            return np.arange(y.shape[1]), y / sums[:, None].astype(y.dtype)
        if classes is not None:
            return classes, _places(y, classes)
        check_classification_targets(y)
        classes, y_index = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"Expected y to hold at least 2 classes, but it holds one class: {classes[0]!r}. Remedy: fit on rows "
                "of all the classes that are to be told apart."
            )
        return classes, y_index.astype(np.intp, copy=False)

    def _scale(self, source, weight, n_threads):
        """Standard deviations of the features; of those that do not vary, inf if there is an intercept, else 1."""
        mean, variance = source.moments(weight, n_threads)
        n = source.n_samples if weight is None else weight.sum()
        eps = np.finfo(np.float64).eps
        constant = variance <= n * eps * variance + (n * mean * eps) ** 2  # as StandardScaler has it
        return np.where(constant, np.inf if self.fit_intercept else 1.0, np.sqrt(variance))

    def _weights(self, classes, y_index, sample_weight):
        """s, or None where all weigh the same."""
        if sample_weight is None and self.class_weight is None:
            return None
        weight = _check_sample_weight(sample_weight, y_index, dtype=np.float64, copy=True, ensure_non_negative=True)
        if self.class_weight is not None:
            if y_index.ndim > 1:
                raise ValueError(
                    "Expected class_weight=None for target probabilities, whose rows belong to no one class, got "
                    f"{self.class_weight!r}. Remedy: pass labels, or weigh rows by sample_weight."
                )
            by_class = compute_class_weight(
                self.class_weight, classes=classes, y=classes[y_index], sample_weight=weight
            )  # fmt: skip
            if (by_class < 0).any():
                raise ValueError(
                    f"Expected non-negative weights in class_weight, got {self.class_weight!r}. Remedy: give a class "
                    "that is not to count the weight 0."
                )
            weight *= by_class[y_index]
        if not weight.sum() > 0:
            raise ValueError(
                "Expected weights with a positive sum, but sample_weight times class_weight is zero for every row. "
                "Remedy: give some rows a positive weight."
            )
        return weight

    def _start(self, classes, n_features, previous, coef_init, intercept_init):
        """The point that the solver starts from."""
        n_classes = len(classes)
        n_outputs = 1 if n_classes == 2 else n_classes
        point = np.zeros((n_outputs, n_features + int(self.fit_intercept)))
        if previous is not None:
            by_class = _one_row_a_class(np.column_stack([previous._coef(), previous.intercept_]))
            rows = np.zeros((n_classes, n_features + 1))
            _, new, old = np.intersect1d(classes, previous.classes_, return_indices=True)
            rows[new] = by_class[old]
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
            value = np.asarray(value, dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(
                    f"Expected {name} to be a finite array of shape {shape}, for {n_classes} classes and {n_features} "
                    f"features, got shape {value.shape}. Remedy: give values as coef_ and intercept_ have them."
                )
            point[place] = value
        if n_outputs > 1:
            point -= point.mean(axis=0)  # the same probabilities, a smaller penalty
        return point

    def _minimise(self, objective, start):
        """Let the solver name points and tell it the objective there, until it has ended."""

        def target(point):
            return allowed_suboptimality(self.tol, objective.null_objective, objective.penalty(point), noise)

        noise = 4 * np.finfo(objective.source.dtype).eps
        curvature = Curvature(objective)
        solver = lbfgs(
            start,
            curvature.metric,
            target=target,
            max_iter=self.max_iter,
            noise=noise,
            exact=curvature.plan.kind == EXACT,
            memory=min(max(_PAIRS_BYTES // (16 * start.size), 5), 20),
            report=self._report,
        )
        point = next(solver)
        while True:
            value, grad = objective.evaluate(point)
            if objective.n_passes == 1 and not (np.isfinite(value) and np.isfinite(grad).all()):
                raise ValueError(
                    f"Expected finite scores X @ coef.T, but they overflow {objective.source.dtype} at the start. "
                    "Remedy: scale X down, pass it as float64, or start from smaller coefficients."
                )
            try:
                point = solver.send((value, grad))
            except StopIteration as end:
                solution = end.value
                break
        if self.verbose:
            print(
                f"{'converged' if solution.converged else 'not converged'} after {solution.n_iter} iterations and "
                f"{objective.n_passes} passes: objective {solution.objective:.8g}, above the minimum by at most "
                f"{solution.suboptimality:.1e}"
            )
        return solution

    def _report(self, iteration, value, suboptimality):
        if self.verbose > 1:
            print(f"iteration {iteration}: objective {value:.8g}, above the minimum by at most {suboptimality:.1e}")

    def _not_converged(self, solution, null_objective):
        relative = solution.suboptimality / null_objective
        if solution.n_iter == self.max_iter:
            remedy = "Raise max_iter, or tol if that is close enough."
        else:
            remedy = f"Pass X as float64 for more digits, or set tol={2 * relative:.0e}."
        return (
            f"The fit stopped before tol={self.tol:g} was reached, because {solution.reason}. The objective is above "
            f"its minimum by at most {solution.suboptimality:.2e}, which is {relative:.1e} of the null model's. "
            f"{remedy}"
        )

    def _predict(self, X, kind, offset):
        coef = self._coef()
        source = self._source(X, reset=False)
        if len(coef) == 1:
            kind = RAW  # of two classes, probabilities are taken from the score
        offset = _checked_offset(offset, source.n_samples, len(self.classes_), source.dtype)
        # one row is not worth asking how many cores there are
        n_threads = effective_n_threads(self.n_jobs) if source.n_samples * coef.size > 1e6 else 1
        passes = source.passes(1, len(coef), n_threads)
        parts = [
            passes.predict(part, coef, self.intercept_, kind, None if offset is None else offset[rows])
            for part, rows in source.parts()
        ]
        out = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if not np.isfinite(out).all():
            row = int(np.isfinite(out).all(axis=1).argmin())
            raise ValueError(
                f"Expected finite scores X @ coef_.T, but they overflow {out.dtype}, first in row {row}. Remedy: scale "
                "X down, or pass it as float64."
            )
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
        return raw_prediction[:, 0] if raw_prediction.shape[1] == 1 else raw_prediction

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
        raw_prediction = self.decision_function(X, offset)
        best = (raw_prediction > 0).astype(np.intp) if raw_prediction.ndim == 1 else raw_prediction.argmax(axis=1)
        return self.classes_[best]

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
        if proba.shape[1] > 1:
            return proba
        return np.concatenate([expit(-proba), expit(proba)], axis=1)

    def predict_log_proba(self, X, offset=None):
        """Logarithms of the probabilities, taken from the scores: finite where a probability is zero.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.

        Returns
        -------
        ndarray (n_samples, n_classes), float32 for float32 X, else float64
        """
        log_proba = self._predict(X, LOG_PROBA, offset)
        if log_proba.shape[1] > 1:
            return log_proba
        return np.concatenate([log_expit(-log_proba), log_expit(log_proba)], axis=1)

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
        log_proba = self.predict_log_proba(X, offset)
        if np.ndim(y) == 2 and np.shape(y)[1] > 1:
            classes, target = self._targets(y, len(log_proba))
            if len(classes) != len(self.classes_):
                raise ValueError(
                    f"Expected y with a column for each of the {len(self.classes_)} classes, got {len(classes)} "
                    "columns. Remedy: give columns in the order of classes_."
                )
            return -(target.astype(log_proba.dtype) * log_proba).sum(axis=1)
        y = column_or_1d(y)
        check_consistent_length(log_proba, y)
        return -log_proba[np.arange(len(y)), _places(y, self.classes_)]

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
        check_is_fitted(self)
        return self.coef_.toarray() if issparse(self.coef_) else self.coef_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _places(y, classes):
    """Labels as indices of the sorted classes."""
    place = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    unknown = classes[place] != y
    if unknown.any():
        raise ValueError(
            f"Expected labels of the classes {classes!r}, got also {np.unique(y[unknown])[:5]!r}. Remedy: leave out "
            "those rows, or fit with all the classes."
        )
    return place


@contextmanager
def _overflow_named(dtype):
    try:
        yield
    except FloatingPointError as error:
        raise ValueError(
            f"Expected X of a size that can be squared in {dtype}, but {error}. Remedy: scale X down, or pass it as "
            "float64."
        ) from error


def _one_row_a_class(rows):
    """Coefficients of all classes, for two classes too, where one vector stands for the difference of both."""
    return np.concatenate([-rows / 2, rows / 2]) if len(rows) == 1 else rows


def _checked_offset(offset, n_samples, n_classes, dtype=np.float64):
    """What is added to the scores, (n_samples, n_outputs), or None."""
    if offset is None:
        return None
    offset = check_array(offset, dtype=dtype, ensure_2d=False, input_name="offset")
    if offset.shape != (n_samples, n_classes):
        raise ValueError(
            f"Expected offset of shape {(n_samples, n_classes)}, a number for each row and class, got {offset.shape}. "
            "Remedy: give a column for every class, in the order of classes_."
        )
    return np.ascontiguousarray(offset[:, 1:] - offset[:, :1] if n_classes == 2 else offset)
