"""What users pass, checked and made into what fits and predictions are made of."""

import operator
from contextlib import contextmanager

import numpy as np
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import assert_all_finite, column_or_1d, validate_data

from .fitted import coefficients, count
from .kernels.threads import effective_n_threads
from .labels import check_labels_present, naming_missing, places, weights_by_label
from .refusals import check_shapes, explaining_refusals
from .sklearn_private import check_sample_weight
from .sources.arrays import DTYPES, ArraySource, as_numpy, check_finite
from .sources.sparse import CsrSource
from .sources.stream import StreamSource, is_stream

_LARGE = 1_000_000  # values of X from which on they are checked on all threads

# ---------------------------------------------------------------------------------------------------------------------
# Rows


def as_source(estimator, X, *, reset, ensure_finite=True):
    """X as a source of rows.

    Parameters
    ----------
    estimator : estimator whose features X has
    X : array-like (n_samples, n_features)
    reset : bool
        Whether the features of the estimator are to be those of X, or to be compared with them.
    ensure_finite : bool
        Whether to look for NaN and infinity in large float X, too.
    """
    if not reset and _is_as_fitted(estimator, X):
        return ArraySource(X)
    X = as_numpy(X, "X")
    if is_stream(X) and 0 not in X.shape:
        _check_sizes(X)
        source = StreamSource(X, verbose=estimator.verbose)
        validate_data(estimator, X, skip_check_array=True, reset=reset)
        return source
    # scikit-learn's check for NaN runs on one thread, and copies half of float16: ours is for what is large
    is_float = isinstance(X, np.ndarray) and X.dtype in (np.float32, np.float64)
    large = (is_float and X.size > _LARGE) or getattr(X, "dtype", None) == np.float16
    options = {"accept_sparse": "csr", "order": None, "ensure_all_finite": not large, "reset": reset}
    check_shapes(X)
    with explaining_refusals(X):
        X = validate_data(estimator, X, dtype=[np.float64, np.float32] if issparse(X) else list(DTYPES), **options)
    if issparse(X):  # so are frames of sparse columns, of any number
        return CsrSource(X if X.dtype in (np.float32, np.float64) else X.astype(np.float64))
    assumed = get_config()["assume_finite"]  # but float16, which is fitted as if there were no NaN
    if large and ((ensure_finite and not (is_float and assumed)) or not (is_float or assumed)):
        check_finite(X, n_threads=effective_n_threads(estimator.n_jobs))
    return ArraySource(X)


def set_features(estimator, empty):
    """Let the features of an estimator be those of an empty array or frame."""
    validate_data(estimator, empty, skip_check_array=True, reset=True)


def check_features(estimator, empty):
    """Compare the features of an empty array or frame with those of an estimator."""
    validate_data(estimator, empty, skip_check_array=True, reset=False)


def _is_as_fitted(estimator, X):
    """Whether X is an array that scikit-learn's checks would pass on as it is: they take longer than a few rows."""
    return (
        type(X) is np.ndarray
        and X.dtype in (np.float32, np.float64)
        and X.ndim == 2
        and 0 < X.size <= _LARGE
        and X.shape[1] == getattr(estimator, "n_features_in_", X.shape[1])
        and not hasattr(estimator, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )


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


# ---------------------------------------------------------------------------------------------------------------------
# Labels and target probabilities


def targets(y, n_samples, classes=None, *, name="classifier"):
    """The classes, and labels as indices of them (n_samples,) or target probabilities (n_samples, n_classes).

    Classes that are not given are those of the labels.
    """
    if y is None:
        raise ValueError(
            f"This {name} estimator requires y to be passed, but the target y is None. Remedy: pass "
            "the labels of the rows."
        )
    if isinstance(y, str):
        raise ValueError(
            f"Expected y with a label for each row, got the text {y!r}. Remedy: pass the column of that name, and X "
            "without it."
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
        with naming_missing(y):  # to look at objects takes long
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
        return classes, places_among(y, classes)
    with naming_missing(y):
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


def targets_among(classes, y, n_samples):
    """Labels as indices of classes that are known, or target probabilities of as many classes."""
    y = as_numpy(y, "y")
    if np.ndim(y) == 2 and np.shape(y)[1] > 1:
        columns, target = targets(y, n_samples)
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
    return places_among(y, classes)


def places_among(y, classes):
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


def classes_of_batch(y, least=2):
    """The classes of the labels of a batch, sorted."""
    y = column_or_1d(as_numpy(y, "y"), warn=False)
    check_labels_present(y)
    check_classification_targets(y)
    classes = unique_labels(y)
    if len(classes) < least:
        raise ValueError(
            f"Expected at least 2 classes in the first batch of a stream that names none, got {classes.tolist()}. "
            "Remedy: pass all the classes of the stream, or begin with more rows."
        )
    return classes


def classes_of_stream(estimator, classes):
    """The classes of partial_fit, sorted: those given, the first time, or those known."""
    known = np.asarray(estimator.classes_) if hasattr(estimator, "classes_") else None
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


@contextmanager
def naming_incomparable(y, classes):
    """Say which labels are wrong, where scikit-learn compares those that do not compare."""
    try:
        yield
    except TypeError:
        if np.ndim(y) == 1:
            places_among(column_or_1d(y), np.asarray(classes))
        raise


# ---------------------------------------------------------------------------------------------------------------------
# Weights, offsets and rows held out


def checked_weight(sample_weight, y_index):
    """Weights of rows, float64, or None."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, str):
        raise ValueError(
            f"Expected sample_weight to hold a number for each row, got {sample_weight!r}. Remedy: set class_weight="
            "'balanced' to balance classes."
        )
    sample_weight = as_numpy(sample_weight, "sample_weight")
    weight = check_sample_weight(sample_weight, y_index, dtype=np.float64, ensure_non_negative=True)
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


def row_weights(class_weight, classes, y_index, row_weight, held_out=None):
    """s, or None where all weigh the same, zero where held out; and the weights of the classes, or None."""
    if row_weight is None and held_out is None and class_weight is None:
        return None, None
    weight, by_class = np.ones(len(y_index)) if row_weight is None else row_weight.copy(), None
    if held_out is not None:
        weight[held_out] = 0.0
    if class_weight is not None:
        if y_index.ndim > 1:
            raise ValueError(
                "Expected class_weight=None for target probabilities, whose rows belong to no one class, got "
                f"{class_weight!r}. Remedy: pass labels, or weigh rows by sample_weight."
            )
        by_class = weights_of_classes(class_weight, classes, y_index, weight)
        if (by_class < 0).any():
            raise ValueError(
                f"Expected non-negative weights in class_weight, got {class_weight!r}. Remedy: give a class "
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


def checked_offset(offset, n_samples, n_classes, dtype=np.float64, relative=True):
    """What is added to the scores, (n_samples, n_outputs), or None.

    If ``relative``, less the middle one of the row: what all classes have in common changes no probability, and as a
    part of the scores would leave them fewer digits. (Less the largest, that of a class whose intercept is minus
    infinity would take those of the others.)
    """
    if offset is None:
        return None
    relative = relative or n_classes == 2
    wide = np.float64 if relative else dtype
    offset = check_array(as_numpy(offset, "offset"), dtype=wide, ensure_2d=False, input_name="offset")
    if offset.shape != (n_samples, n_classes):
        raise ValueError(
            f"Expected offset of shape {(n_samples, n_classes)}, a number for each row and class, got {offset.shape}. "
            "Remedy: give a column for every class, in the order of classes_."
        )
    if relative:
        with np.errstate(over="ignore"):  # infinite scores are told of where they are made
            if n_classes == 2:
                offset = offset[:, 1:] - offset[:, :1]
            else:
                middle = (n_classes - 1) // 2
                offset = offset - np.partition(offset, middle, axis=1)[:, middle, None]
            offset = offset.astype(dtype, copy=False)
    return np.ascontiguousarray(offset)


def check_validation(early_stopping, X_val, y_val, offset):
    """Whether validation rows fit together with the rest."""
    if (X_val is None) != (y_val is None):
        given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
        raise ValueError(f"Expected X_val and y_val, or neither, got {given} only. Remedy: pass {missing} too.")
    if X_val is not None and not early_stopping:
        raise ValueError(
            "Expected early_stopping=True where X_val and y_val are given, got False. Remedy: set it, or leave "
            "them out."
        )
    if X_val is not None and offset is not None:
        raise ValueError(
            "Expected no offset with X_val, whose rows would lack theirs, got both. Remedy: leave X_val out, so "
            "that rows of X are held out with their offsets."
        )


def check_own_validation(X_val, y_val, *, cv, **others):
    """Whether rows to choose by, in the place of folds, fit together with the rest."""
    if (X_val is None) != (y_val is None):
        given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
        raise ValueError(f"Expected X_val and y_val, or neither, got {given} only. Remedy: pass {missing} too.")
    if X_val is None:
        return
    if cv is not None:
        raise ValueError(
            f"Expected cv=None with X_val, whose rows are chosen by, got {cv!r}. Remedy: leave out one of them."
        )
    others = {name: value for name, value in others.items() if value is not None}
    if others:
        raise ValueError(
            f"Expected no {next(iter(others))} with X_val, whose rows would lack theirs, got both. Remedy: put the "
            "rows of both into one X, and name those to choose by with cv=sklearn.model_selection.PredefinedSplit."
        )


def holdout(y, validation_fraction, random_state):
    """A splitter that holds out a random share of the rows once, by class where each has rows enough."""
    counts = np.unique(y, return_counts=True)[1] if y.ndim == 1 else np.zeros(1)
    validation_fraction = float(validation_fraction)
    n_test = int(np.ceil(validation_fraction * len(y)))
    stratify = counts.min() > 1 and min(n_test, len(y) - n_test) >= len(counts)
    kind = StratifiedShuffleSplit if stratify else ShuffleSplit
    return kind(1, test_size=validation_fraction, random_state=random_state)


# ---------------------------------------------------------------------------------------------------------------------
# The penalty by feature

_LEAST_FACTOR, _MOST_FACTOR = 1e-12, 1e12  # whose roots float32 can be multiplied by


def checked_factor(penalty_factor, n_features):
    """The factors of the penalty (n_features,) float64, or None where all are one."""
    if penalty_factor is None:
        return None
    factor = np.asarray(as_numpy(penalty_factor, "penalty_factor"), dtype=np.float64)
    if factor.shape != (n_features,):
        raise ValueError(
            f"Expected penalty_factor with a number for each of {n_features} features, got shape {factor.shape}. "
            "Remedy: give an array of shape (n_features,), 1 for the features that the penalty is to count as it is."
        )
    inside = (factor >= _LEAST_FACTOR) & (factor <= _MOST_FACTOR)
    bad = np.flatnonzero(~(inside | (factor == 0) | (factor == np.inf)))
    if len(bad):
        raise ValueError(
            f"Expected penalty_factor of 0, inf, or from {_LEAST_FACTOR:g} to {_MOST_FACTOR:g}, got {factor[bad[0]]:g} "
            f"for feature {bad[0]}. Remedy: give 0 for no penalty, or inf to leave a feature out."
        )
    return None if (factor == 1).all() else factor


def checked_bounds(coef_bounds, n_outputs, n_features):
    """Least and largest coefficients, a pair of arrays (n_outputs, n_features), or None where there are none."""
    if coef_bounds is None:
        return None
    if not isinstance(coef_bounds, tuple | list) or len(coef_bounds) != 2:
        raise ValueError(
            f"Expected coef_bounds to be a pair (lower, upper), got {type(coef_bounds).__name__}. Remedy: give "
            "(0, np.inf) for coefficients that are not negative."
        )
    bounds = []
    for name, side, default in zip(("lower", "upper"), coef_bounds, (-np.inf, np.inf), strict=True):
        values = np.asarray(default if side is None else as_numpy(side, "coef_bounds"), dtype=np.float64)
        if values.shape not in ((), (n_features,), (n_outputs, n_features)):
            raise ValueError(
                f"Expected {name} coef_bounds to be a number, or of shape ({n_features},) or "
                f"({n_outputs}, {n_features}) as coef_ has it, got shape {values.shape}. Remedy: give one of these."
            )
        bounds.append(np.array(np.broadcast_to(values, (n_outputs, n_features))))
    low, high = bounds
    if not ((low <= high) & (low < np.inf) & (high > -np.inf)).all():
        raise ValueError(
            "Expected coef_bounds whose lower ones are at most the upper ones and not inf, and whose upper ones are "
            "not -inf. Remedy: give -np.inf and np.inf where there is no bound."
        )
    return None if np.isinf(low).all() and np.isinf(high).all() else (low, high)


def checked_group(l1_group, l1_ratio, bounds, n_outputs):
    """Whether the L1 penalty is of the norms of features' coefficients."""
    if l1_group is None:
        return False
    if not l1_ratio:
        raise ValueError(
            f"Expected a positive l1_ratio with l1_group={l1_group!r}, which is of the L1 penalty, got {l1_ratio!r}. "
            "Remedy: set l1_ratio=1, or l1_group=None."
        )
    if bounds is not None:
        raise ValueError(
            f"Expected coef_bounds=None with l1_group={l1_group!r}, got bounds. Remedy: leave one of both out."
        )
    return n_outputs > 1  # of two classes there is one coefficient a feature


# ---------------------------------------------------------------------------------------------------------------------
# Where a fit starts


def start_point(classes, n_features, previous, coef_init, intercept_init, *, fit_intercept, l1_ratio):
    """The point that the solver starts from."""
    n_classes = len(classes)
    n_outputs = 1 if n_classes == 2 else n_classes
    point = np.zeros((n_outputs, n_features + int(fit_intercept)))
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
    if intercept_init is not None and not fit_intercept:
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
    if n_outputs > 1 and not l1_ratio:
        point -= point.mean(axis=0)  # the same probabilities, a smaller penalty
    return point


def _one_row_a_class(rows):
    """Coefficients of all classes, for two classes too, where one vector stands for the difference of both."""
    return np.concatenate([-rows / 2, rows / 2]) if len(rows) == 1 else rows
