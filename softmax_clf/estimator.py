"""SoftmaxRegressionClassifier: validation, labels and fitted attributes around the objective and the solver."""

import warnings
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

from .callbacks import Task
from .fitted import coefficients
from .fitting import make_objective, minimise
from .kernels.compiling import announcing_compilation
from .kernels.threads import effective_n_threads
from .labels import places
from .messages import check_start, naming_overflow, not_converged
from .objective import SoftmaxObjective
from .online import Stream, merged, update, with_classes
from .parameters import OF_EACH_FIT
from .penalty import ElasticNet, penalty_strength
from .pooled import is_elsewhere, pooled_data
from .prediction import SoftmaxClassifier
from .sklearn_private import Interval, fit_context
from .sources.arrays import as_numpy
from .training_data import TrainingData, bounds_of_point, feature_scale, put_within, unit_of
from .validation import (
    as_source,
    checked_bounds,
    checked_factor,
    checked_group,
    checked_weight,
    classes_of_batch,
    classes_of_stream,
    row_weights,
    start_point,
    targets,
)
from .watch import Watch

# attributes that fit sets and partial_fit does not
_OF_FIT_ALONE = ("objective_", "suboptimality_", "suboptimality_is_bound_", "loss_curve_", "validation_loss_curve_")


def _has_partial_fit(estimator):
    """True, or AttributeError that says why there is no ``partial_fit``: so ``hasattr`` knows, too."""
    if estimator.l1_ratio:
        raise AttributeError(
            "Expected l1_ratio=0 for partial_fit, whose quadratic memory knows no L1 penalty, got "
            f"{estimator.l1_ratio}. Remedy: set l1_ratio=0, or fit on all the rows."
        )
    if estimator.penalty_factor is not None:
        raise AttributeError(
            "Expected penalty_factor=None for partial_fit, whose quadratic memory counts the penalty of all features "
            "alike, got factors. Remedy: divide the features of each batch by their roots, or fit on all the rows."
        )
    if estimator.coef_bounds is not None:
        raise AttributeError(
            "Expected coef_bounds=None for partial_fit, whose quadratic memory knows no bounds, got some. Remedy: fit "
            "on all the rows."
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


class SoftmaxRegressionClassifier(SoftmaxClassifier):
    """Multinomial logistic regression, the softmax layer of a network, fitted to its optimum.

    Minimises, over W (n_classes, n_features) and b (n_classes,), ::

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
    penalty_factor : array-like (n_features,), default=None
        What the penalty of each feature's coefficients is multiplied by, L2 and L1: 0 for no penalty, ``inf`` to leave
        the feature out. None is 1 for all. They are used as they are, not scaled to any sum.
    coef_bounds : tuple (lower, upper), default=None
        Between which coefficients are to lie, those of `coef_`: each a number for all, or an array (n_features,) or
        (n_classes, n_features), (1, n_features) for two classes; None for none. ``(0, None)`` is for coefficients that
        are not negative. Of several classes, mind that adding a number to a feature's coefficients of all of them
        changes no probability.
    l1_group : 'class', default=None
        With 'class' the L1 penalty of a feature is the norm of its coefficients, the root of the sum of their squares
        over the classes, in the place of the sum of their sizes: all of them are zero, or none is. Nothing else for two
        classes. Not together with `coef_bounds`.
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
        1 to print how the fit ended, and on stderr when kernels are compiled, 2 or more for every iteration.

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
        problems with an L2 penalty, but for one so weak that rounding errors are more than `tol` over its strength;
        and for others where the penalty is so strong that the gradient tells enough, as a rule with a small `C`.
        With an L1 penalty it is one, the duality gap, of fits that end on working sets: where features outnumber rows,
        or are sparse and thousands, or few coefficients are in use. With features that no penalty counts, by
        `penalty_factor`, it is an estimate.
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

    _stream_: Stream  # the memory of partial_fit
    _strength_: tuple  # C and fit_intercept, which that is for
    _is_open_: bool  # whether it named no classes, so that others may come

    _parameter_constraints: ClassVar[dict] = {
        "C": [Interval(Real, 0, None, closed="right")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), None],
        "warm_start": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        **OF_EACH_FIT,
    }

    def __init__(
        self,
        C: float = 1.0,
        *,
        l1_ratio: float | None = 0.0,
        penalty_factor: ArrayLike | None = None,
        coef_bounds: tuple | None = None,
        l1_group: str | None = None,
        fit_intercept: bool = True,
        standardize: bool = False,
        class_weight: dict | str | None = None,
        tol: float = 1e-6,
        max_iter: int = 1000,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.penalty_factor = penalty_factor
        self.coef_bounds = coef_bounds
        self.l1_group = l1_group
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

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
        X_val: Any = None,
        y_val: Any = None,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
    ) -> "SoftmaxRegressionClassifier":
        """Fit to the minimum of the objective.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            float32 and float64 are used as they are, in any memory order, without a copy. So are uint8, int8, int16 and
            float16, calculated with as float32. Anything else is converted to float64. Finite. Where few values
            differ from what is usual in their column, as of one-hot columns, rare features and counts, standardised or
            not, these are kept beside X, in at most two fifths of its memory. Sparse X in CSR format
            is used as it is, beside a transposed copy, and with far more features than rows another one; other formats
            are converted to it. A memory map, or any object with ``shape``, ``dtype`` and row slices such as a dataset
            of h5py or zarr, is read in slices of some 64 MB, as often as there are passes; slices of a memory map that
            have to be converted are copied each time, as ``verbose=1`` says. Of a Dask array or DataFrame sums are
            taken in the workers that hold its chunks, of any number of rows, which are computed once: labels,
            `sample_weight` and `offset` may be collections, too, cut anywhere, but not target probabilities;
            `early_stopping` takes `X_val` there.
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
        with all_or_nothing(self), np.errstate(under="ignore"), announcing_compilation(self.verbose):
            return self._fit(X, y, sample_weight, offset, X_val, y_val, coef_init, intercept_init)

    def _fit(self, X, y, sample_weight, offset, X_val, y_val, coef_init, intercept_init):
        task = Task.of_fit(self, self.max_iter, X, y, sample_weight=sample_weight, offset=offset)
        previous = self if self.warm_start and hasattr(self, "coef_") else None
        known_features = None if previous is None else getattr(previous, "n_features_in_", None)
        C, l1_ratio = float(self.C), float(self.l1_ratio or 0.0)  # not of a dtype that cannot hold products with them
        early_stopping = (self.validation_fraction, self.random_state) if self.early_stopping else None
        if is_elsewhere(X):
            data: Any = pooled_data(self, X, y, sample_weight, offset, self.early_stopping, X_val, y_val)
        else:
            data = TrainingData.from_arguments(self, X, y, sample_weight, offset, early_stopping, X_val, y_val)
        source, n_threads = data.source, effective_n_threads(self.n_jobs)
        if known_features is not None and known_features != source.n_features:
            raise ValueError(
                f"Expected X with the {known_features} features of the previous fit, since warm_start=True, got "
                f"{source.n_features}. Remedy: set warm_start=False."
            )
        factor = checked_factor(self.penalty_factor, source.n_features)
        bounds = checked_bounds(self.coef_bounds, data.n_outputs, source.n_features)
        is_grouped = checked_group(self.l1_group, self.l1_ratio, bounds, data.n_outputs)
        options = {"fit_intercept": self.fit_intercept, "l1_ratio": self.l1_ratio}
        start = start_point(data.classes, source.n_features, previous, coef_init, intercept_init, **options)
        unit = None if self.standardize else unit_of(source, data.weight)
        options = {"standardize": self.standardize, "fit_intercept": self.fit_intercept, "n_threads": n_threads}
        scale = feature_scale(source, data.weight, unit=unit, factor=factor, **options)
        kind = {"factor": factor, "bounds": bounds_of_point(bounds, scale), "is_grouped": is_grouped}
        elastic_net = ElasticNet.from_C(C, l1_ratio, data.weight_sum, unit or 1.0, **kind)
        if scale is not None:
            start[:, : source.n_features] *= np.where(np.isfinite(scale), scale, 0.0)
        start = elastic_net.put_within(start)
        options = {"fit_intercept": self.fit_intercept, "n_threads": n_threads, "scale": scale}
        origin = elastic_net.put_within(np.zeros_like(start))
        objective, start = make_objective(data, elastic_net, start, **options)
        origin = objective.start_point(origin)
        if not objective.null_objective > 0:
            raise ValueError(
                "Expected at least 2 classes with a positive total weight, got fewer. Remedy: leave a positive "
                "sample_weight or class_weight to rows of two classes."
            )
        validation = None
        if data.validation is not None:
            validation = data.validation.mean_loss(objective.n_outputs, n_threads)
        watch = Watch(self, objective, data.classes, task, validation)
        options = {"tol": float(self.tol), "max_iter": self.max_iter, "verbose": self.verbose}
        with naming_overflow(source.dtype):
            solution = minimise(objective, start, watch, origin=origin, **options)

        interrupted = not (solution.converged or solution.stopped)
        self._set_fitted(objective, watch, solution, bounds)
        task.end(dict)
        if interrupted:
            message = not_converged(
                solution, objective.null_objective, source.dtype, tol=self.tol, max_iter=self.max_iter
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
        return self

    def _set_fitted(self, objective, watch, solution, bounds):
        """Set the attributes of a fit that has ended."""
        n_iter = solution.n_iter
        self.__dict__.pop("validation_loss_curve_", None)  # of an earlier fit
        if watch.best is not None:
            self.validation_loss_curve_ = watch.best.loss_curve
            solution = watch.best.in_place_of(solution)
        self.__dict__.update(watch.coefficients(solution.point))
        if bounds is not None:  # from which rounding may have led
            self.coef_ = put_within(self.coef_, bounds)
        self.n_iter_ = n_iter
        self.converged_ = solution.converged
        self.objective_ = float(solution.objective)
        self.suboptimality_ = float(solution.suboptimality) + objective.blur(solution.point)
        self.suboptimality_is_bound_ = solution.is_bound
        self.loss_curve_ = solution.loss_curve
        for name in ("_stream_", "_is_open_", "n_samples_seen_"):  # what partial_fit has left
            self.__dict__.pop(name, None)

    @available_if(_has_partial_fit)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        forget: float = 0.0,
    ) -> "SoftmaxRegressionClassifier":
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
            All the classes of the stream, to be given in the first call. Where that gives none, the classes are those
            of its labels, at least two, and later batches may have others, which are added: what is known of the rows
            before is how unlikely these are to have been of a new class. A stream that names its classes comes closer
            to a fit on all rows. For target probabilities they are ``arange(n_classes)``.
        sample_weight : array-like (n_samples,), default=None
            Non-negative weights of the rows.
        forget : float, default=0.0
            Share of what all batches before weigh that is forgotten first, from 0 to less than 1: with 0.1 in each call
            the last ten batches count for most of what is known. The penalty is not forgotten.

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
            return self._partial_fit(X, y, classes, sample_weight, forget)

    @available_if(_has_partial_fit)
    def merge_stream(self, other: "SoftmaxRegressionClassifier") -> "SoftmaxRegressionClassifier":
        """Take in what another classifier has learned from a stream of its own, by :meth:`partial_fit`.

        Both streams then count as one, as if this one had seen the batches of the other: but for what the quadratic
        memories leave out, in any order.

        Parameters
        ----------
        other : SoftmaxRegressionClassifier
            With the same `C`, `fit_intercept`, classes and features.

        Returns
        -------
        self
        """
        streams: list = [getattr(clf, "_stream_", None) for clf in (self, other)]
        if None in streams:
            raise ValueError(
                "Expected two classifiers that have a stream, got one without. Remedy: call partial_fit of both first."
            )
        if self._strength_ != other._strength_:
            raise ValueError(
                "Expected streams of the same C and fit_intercept, got {} and {}, {} and {}. Remedy: stream with the "
                "same ones.".format(*self._strength_, *other._strength_)
            )
        if not np.array_equal(self.classes_, other.classes_):
            raise ValueError(
                f"Expected streams of the same classes, got {list(self.classes_)} and {list(other.classes_)}. Remedy: "
                "name all the classes in the first call of both."
            )
        if streams[0].point.shape != streams[1].point.shape:
            raise ValueError(
                f"Expected streams of the same features, got {self.n_features_in_} and {other.n_features_in_}. Remedy: "
                "merge streams of the same features."
            )
        with all_or_nothing(self):
            stream = merged(*streams)
            coef, intercept = np.split(stream.point, [self.n_features_in_], axis=1)
            self.coef_ = coef.astype(self.coef_.dtype)
            intercept = intercept[:, 0] if self.fit_intercept else np.zeros(len(coef))
            self.intercept_ = intercept.astype(self.intercept_.dtype)
            self._stream_, self.n_samples_seen_ = stream, stream.n_samples
        return self

    def _partial_fit(self, X, y, classes, sample_weight, forget):
        if not 0 <= forget < 1:
            raise ValueError(f"Expected forget from 0 to less than 1, got {forget}. Remedy: 0 forgets nothing.")
        C = float(self.C)
        stream, strength = getattr(self, "_stream_", None), (C, self.fit_intercept)
        if stream is not None and self._strength_ != strength:
            raise ValueError(
                "Expected C and fit_intercept as in the first call of partial_fit, {} and {}, got {} and {}. Remedy: "
                "begin a stream with sklearn.base.clone of this estimator.".format(*self._strength_, *strength)
            )
        penalty_strength(C, 1.0)
        source = as_source(self, X, reset=not hasattr(self, "n_features_in_"))
        y = as_numpy(y, "y")
        classes, is_open = self._classes_of_call(classes, y)
        self._check_features_of(stream, source.n_features, classes)
        n_columns = np.shape(y)[1] if np.ndim(y) == 2 else 1
        if is_open and stream is not None and n_columns == 1:
            stream, classes = with_new_classes(stream, classes, y, source.n_features)
        n_classes = len(classes)
        known, y_index = targets(y, source.n_samples, classes, name=type(self).__name__)
        if y_index.ndim > 1 and not np.array_equal(known, classes):
            raise ValueError(
                f"Expected target probabilities with a column for each of the classes {classes!r}, which for "
                f"them are arange(n_classes), got {n_columns} columns. Remedy: pass labels, or begin with "
                "classes=None."
            )
        weight, _ = row_weights(self.class_weight, classes, y_index, checked_weight(sample_weight, y_index))
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
        watch = Watch(self, objective, classes, task=None, validation=None)
        with naming_overflow(source.dtype, sample_weight), np.errstate(over="raise", invalid="raise"):
            stream, solution = update(
                *(stream, objective, weight_sum, C),
                tol=float(self.tol),
                max_iter=self.max_iter,
                report=watch.report,
                check_start=check_start,
                forget=float(forget),
            )
        self.__dict__.update(watch.coefficients(solution.point))
        self.n_iter_ = solution.n_iter
        self.converged_ = solution.converged
        self.n_samples_seen_ = stream.n_samples
        for name in _OF_FIT_ALONE:  # of a fit before
            self.__dict__.pop(name, None)
        self._stream_, self._strength_, self._is_open_ = stream, strength, is_open
        if not solution.converged:
            null_objective = weight_sum * np.log(n_classes)
            message = not_converged(solution, null_objective, source.dtype, tol=self.tol, max_iter=self.max_iter)
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
        return self

    def _classes_of_call(self, classes, y):
        """The classes of the stream, sorted, as a call of partial_fit has them; and whether others may come."""
        n_columns = np.shape(y)[1] if np.ndim(y) == 2 else 1
        if hasattr(self, "classes_"):
            is_open = getattr(self, "_is_open_", False)
        elif classes is None and n_columns > 1:
            classes, is_open = np.arange(n_columns), False
        else:
            is_open = classes is None
            classes = classes_of_batch(y) if is_open else classes
        return classes_of_stream(self, classes), is_open

    def _check_features_of(self, stream, n_features, classes):
        """Raise ValueError where coefficients, or the stream, are of other classes or features than a batch."""
        if hasattr(self, "coef_"):
            coefficients(self, n_features, classes=classes)
        n_classes, n_columns = len(classes), n_features + int(self.fit_intercept)
        if stream is not None and stream.point.shape != (1 if n_classes == 2 else n_classes, n_columns):
            raise ValueError(
                f"Expected the {n_classes} classes and {n_features} features of the stream that partial_fit has "
                f"begun, whose coefficients and intercepts are {stream.point.shape}. Remedy: begin a stream with "
                "sklearn.base.clone of this estimator."
            )


def with_new_classes(stream, classes, y, n_features):
    """A stream and its classes, sorted, with those of the labels of a batch."""
    found = classes_of_batch(y, least=1)
    new = found[places(found, classes) < 0]
    if not len(new):
        return stream, classes
    together = unique_labels(classes, new)
    return with_classes(stream, places(classes, together), len(together), n_features), together


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
