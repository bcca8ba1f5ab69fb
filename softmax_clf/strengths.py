"""How strong a penalty makes sense: where all coefficients become zero."""

import numpy as np

from .callbacks import Task
from .estimator import SoftmaxRegressionClassifier
from .fitting import make_objective, minimise
from .kernels.threads import effective_n_threads
from .messages import naming_overflow
from .objective import SoftmaxObjective
from .penalty import ElasticNet
from .training_data import TrainingData, bounds_of_point, feature_scale, unit_of
from .validation import checked_bounds, checked_factor
from .watch import Watch

_MAX_STEPS = 50  # of the intercepts, to where they are best beside offsets
_NULL_TOL = 1e-10  # of the coefficients that no penalty counts, where all others are zero


def C_max(
    X,
    y,
    *,
    l1_ratio=1.0,
    sample_weight=None,
    offset=None,
    penalty_factor=None,
    coef_bounds=None,
    l1_group=None,
    fit_intercept=True,
    standardize=False,
    class_weight=None,
    n_jobs=None,
):
    """The largest C at which :class:`SoftmaxRegressionClassifier` has coefficients of zero only.

    A closed form: with the residuals y - p of the model without coefficients, whose intercepts are the best beside the
    offsets, it is ``l1_ratio / max |sum_i s_i (y_i - p_i) x_i / f|``, f being the penalty's factors. Features of a
    factor of zero, which no penalty counts, have their best coefficients in that model. With ``l1_group='class'`` sizes
    are norms over the classes; with `coef_bounds` only ways count on which a coefficient may go.

    Parameters
    ----------
    X : array-like (n_samples, n_features)
    y : array-like (n_samples,), or (n_samples, n_classes)
    l1_ratio : float, default=1.0
        Positive: an L2 penalty alone leaves nothing at zero.
    sample_weight, offset
        As in :meth:`SoftmaxRegressionClassifier.fit`.
    penalty_factor, coef_bounds, l1_group, fit_intercept, standardize, class_weight, n_jobs
        As in :class:`SoftmaxRegressionClassifier`.

    Returns
    -------
    float
        ``inf`` where no feature says anything.

    Notes
    -----
    The strength of the penalty that R's glmnet calls lambda is ``1 / (C S)`` with S the sum of the weights, and its
    alpha is `l1_ratio`: its largest lambda is ``1 / (C_max S)``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import C_max, SoftmaxRegressionClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> C = C_max(X, y)
    >>> [bool(SoftmaxRegressionClassifier(q * C, l1_ratio=1.0).fit(X, y).coef_.any()) for q in (1.0, 1.1)]
    [False, True]
    """
    options = {"fit_intercept": fit_intercept, "standardize": standardize, "class_weight": class_weight}
    options |= {"penalty_factor": penalty_factor, "coef_bounds": coef_bounds, "l1_group": l1_group}
    clf = SoftmaxRegressionClassifier(l1_ratio=l1_ratio, n_jobs=n_jobs, **options)
    clf._validate_params()
    if not l1_ratio:
        raise ValueError(
            f"Expected a positive l1_ratio, got {l1_ratio!r}, with which coefficients are zero at no C. Remedy: name "
            "the values of C."
        )
    data = TrainingData.from_arguments(clf, X, y, sample_weight, offset)
    bounds = checked_bounds(coef_bounds, data.n_outputs, data.source.n_features)
    if not _may_be_zero(bounds):
        raise ValueError(
            "Expected coef_bounds with zero between them, got others, with which coefficients are zero at no C. "
            "Remedy: name the values of C."
        )
    return largest_C(clf, data) * float(l1_ratio)


def _may_be_zero(bounds):
    return bounds is None or bool((bounds[0] <= 0).all() and (bounds[1] >= 0).all())


def largest_C(clf, data):
    """:func:`C_max` of :class:`~.training_data.TrainingData`, for an L1 penalty alone; inf where there is none."""
    n_threads, p = effective_n_threads(clf.n_jobs), data.source.n_features
    factor, bounds = checked_factor(clf.penalty_factor, p), checked_bounds(clf.coef_bounds, data.n_outputs, p)
    if not _may_be_zero(bounds):
        return np.inf
    unit = None if clf.standardize else unit_of(data.source, data.weight)
    options = {"standardize": clf.standardize, "fit_intercept": clf.fit_intercept, "n_threads": n_threads}
    scale = feature_scale(data.source, data.weight, unit=unit, factor=factor, **options)
    objective = SoftmaxObjective(
        data.source,
        data.y,
        data.n_classes,
        sample_weight=data.weight,
        l2_reg_strength=0.0,
        fit_intercept=clf.fit_intercept,
        n_threads=n_threads,
        offset=data.offset,
        scale=scale,
    )
    strength = ElasticNet.from_C(1.0, 1.0, 1.0, factor=factor).l1_by_feature * np.ones(p)
    is_free = strength == 0
    if is_free.any():
        grad = objective.evaluate(_null_fit(clf, data, np.where(is_free, scale, np.inf), bounds))[1]
    else:
        grad = _null_gradient(objective)
    size = np.abs(grad[:, :p])
    if bounds is not None:
        size = np.where(np.where(grad[:, :p] < 0, bounds[1] > 0, bounds[0] < 0), size, 0.0)
    if clf.l1_group is not None:
        size = np.linalg.norm(size, axis=0, keepdims=True)
    steepest = float((size[:, ~is_free] / strength[~is_free]).max(initial=0.0))
    return 1 / (data.weight_sum * (unit or 1.0) * steepest) if steepest > 0 else np.inf


def _null_fit(clf, data, scale, bounds):
    """The point of the best intercepts and the best coefficients of features whose scale is finite."""
    options = {"fit_intercept": clf.fit_intercept, "n_threads": effective_n_threads(clf.n_jobs), "scale": scale}
    start = np.zeros((data.n_outputs, data.source.n_features + int(clf.fit_intercept)))
    elastic_net = ElasticNet(bounds=bounds_of_point(bounds, scale))
    objective, start = make_objective(data, elastic_net, elastic_net.put_within(start), **options)
    watch = Watch(clf, objective, data.classes, task=Task(clf), validation=None)
    with naming_overflow(data.source.dtype):
        solution = minimise(objective, start, watch, tol=_NULL_TOL, max_iter=1000, verbose=0)
    if not isinstance(objective, SoftmaxObjective):  # in coordinates of the rows
        coef, intercept = objective.split(solution.point)
        coef = coef * np.where(np.isfinite(scale), scale, 0.0)
        return np.column_stack([coef, intercept]) if clf.fit_intercept else coef
    return solution.point


def _null_gradient(objective):
    """The gradient where all coefficients are zero and intercepts are at their best."""
    o, p = objective, objective.source.n_features
    point = np.zeros((o.n_outputs, o.n_columns))
    if o.fit_intercept:
        # a class without weight has its best intercept at minus infinity: far enough
        share = np.log(np.maximum(o.frequency, 1e-30))
        point[:, p] = share[1:] - share[0] if o.n_outputs == 1 else share - share.max()
    value, grad = o.evaluate(point)
    for _ in range(_MAX_STEPS if o.offset is not None and o.fit_intercept else 0):
        if np.abs(grad[:, p]).max() <= 4 * np.finfo(o.source.dtype).eps:
            break
        o.curve(point)
        step, length = o.intercept_step(grad[:, p:]), 1.0
        while length > 1e-3:
            trial = point.copy()
            trial[:, p:] += length * step
            trial_value, trial_grad = o.evaluate(trial)
            if trial_value <= value:
                break
            length /= 2
        else:
            break
        point, value, grad = trial, trial_value, trial_grad
    return grad
