"""From an objective to its minimum: which metrics and which solver suit it, and when it is to end."""

from functools import cache

import numpy as np

from .columns import Columns, suits_columns
from .dual import DualBound
from .kernels.threads import Pieces, on_one_blas_thread
from .objective import SoftmaxObjective
from .pooled import PooledObjective, PooledSource, curvature_class
from .row_space import RowSpaceCurvature, RowSpaceObjective, suits_row_space
from .solvers.lbfgs import Memory, n_pairs, run
from .solvers.newton import newton, relay
from .solvers.proximal import proximal_newton
from .solvers.stopping import allowed_suboptimality
from .solvers.subspace import Rows, n_slots
from .solvers.ways import Plain
from .solvers.working_set import sparse_relay

_PAIRS_BYTES = 3 << 26  # of the solver's memory, where it is kept short: all of it is read in each iteration


def make_objective(data, elastic_net, start, *, fit_intercept, scale, n_threads):
    """The objective of all rows, in the coordinates that suit it.

    Parameters
    ----------
    data : TrainingData
    elastic_net : ElasticNet
    start : array (n_outputs, n_columns)
        Coefficients and intercepts to start from.
    fit_intercept, scale, n_threads
        As in :class:`~.rows.LabelledRows`.

    Returns
    -------
    objective : SoftmaxObjective or RowSpaceObjective
    start : array
        As a point of it.
    """
    options = {
        "sample_weight": data.weight,
        "fit_intercept": fit_intercept,
        "n_threads": n_threads,
        "offset": data.offset,
        "scale": scale,
    }
    if isinstance(data.source, PooledSource):
        return PooledObjective(data.source, data.y, data.n_classes, elastic_net=elastic_net, **options), start
    objective: RowSpaceObjective | SoftmaxObjective
    is_even = elastic_net.is_smooth and elastic_net.is_free is None
    if is_even and suits_row_space(data.source, start):
        options["l2_reg_strength"] = elastic_net.l2_reg_strength
        objective = RowSpaceObjective(data.source, data.y, data.n_classes, **options)
    else:
        options["elastic_net"] = elastic_net
        objective = SoftmaxObjective(data.source, data.y, data.n_classes, **options)
    return objective, objective.start_point(start)


def choose_solver(start, curvature, make_metric, *, columns_options, l1_options, lbfgs_options, **common):
    """The solver of one problem: its kind follows from the penalty and from what a Hessian costs.

    Parameters
    ----------
    start : array
    curvature : callable () -> Curvature
        Made where it is needed.
    make_metric : callable
        From a point, and with an L1 penalty or bounds the gradient there, to a metric.
    columns_options : dict or None
        What :func:`~.solvers.working_set.working_set` takes besides; None where it does not suit. It needs no metric.
    l1_options : dict or None
        What :func:`~.solvers.proximal.proximal_newton` takes besides; None without an L1 penalty and bounds.
    lbfgs_options : callable () -> dict
        What :func:`~.solvers.lbfgs.lbfgs` takes besides: its memory is made where it is needed.
    **common : dict
        What all take.

    Returns
    -------
    generator
    """

    def by_models(point, solution=None):
        options = {"exact": curvature().is_exact, "solution": solution, **l1_options, **common}
        return proximal_newton(point, make_metric, **options)

    if columns_options is not None:
        return sparse_relay(start, by_models, **columns_options, **common)
    if l1_options is not None:
        return by_models(start)
    if curvature().is_exact:
        return newton(start, curvature().small, **common)
    return relay(start, curvature(), make_metric, **lbfgs_options(), **common)


def stopping_rule(tol, null_objective, penalty, blur, noise):
    """What F may be above its minimum where a fit ends, as a function of the point, and of the penalty if known.

    Parameters
    ----------
    tol, null_objective, noise : float
        As in :func:`~.solvers.stopping.allowed_suboptimality`.
    penalty, blur : callable point -> float
        The second part of F, and what the rounding of its scores may hide.
    """

    def target(point, known_penalty=None):
        known_penalty = penalty(point) if known_penalty is None else known_penalty
        return allowed_suboptimality(tol, null_objective, known_penalty, noise) - blur(point)

    return target


def curvature_of(objective):
    """What makes the metrics of an objective."""
    if isinstance(objective, RowSpaceObjective):
        return RowSpaceCurvature(objective)
    return curvature_class(objective.source, objective.elastic_net.is_smooth).from_objective(objective)


def rows_of(objective, curvature, start):
    """What a solver may know of the rows of an objective, if there is memory for it: a quarter of X, or 100 MB.

    Nothing of wide sparse ones: their metric is a diagonal for the most part, with which searches creep as well.
    """
    n = _slots_of_rows(objective, start)
    return (
        None
        if n is None
        else Rows(
            objective.row_search,
            n,
            objective.penalty_product,
            curvature.metric_of_all_rows,
            curvature.passes_of_all_rows,
            curvature.plan.search_passes,
        )
    )


def _slots_of_rows(objective, start):
    """How many directions of rows a solver may keep; None where that is too few."""
    source = objective.source
    if source.is_wide_and_sparse or objective.row_search is None:
        return None
    row_bytes = source.n_samples * objective.n_outputs * source.dtype.itemsize
    return n_slots(max(source.nbytes / 4, 1e8), row_bytes, start.nbytes)


def plain_of(objective, curvature):
    """The way on with a diagonal; None for wide sparse rows, whose metrics are diagonals for the most part."""
    if objective.source.is_wide_and_sparse:
        return None
    plain = Plain(
        curvature.diagonal,
        curvature.metric_of_all_rows,
        curvature.metric_in_common,
        curvature.next_passes,
        curvature.check_passes,
        curvature.passes_in_common,
        curvature.plan.iteration_passes,
    )
    curvature.leave_out(lambda: plain.n_iter)
    return plain


@on_one_blas_thread
def minimise(objective, start, watch, *, tol, max_iter, verbose, origin=None):
    """Let the solver name points and tell it the objective there, until it has ended.

    Parameters
    ----------
    objective : SoftmaxObjective or RowSpaceObjective
    start : array
    watch : Watch
        Of this objective.
    tol, max_iter, verbose
        As in the classifier.
    origin : array, default=None
        Where a start has led nowhere, above the null model, what is left of the iterations begins here: where features
        are far from zero, of little spread, rounding may hide the way back from a start that is far off.

    Returns
    -------
    Solution
    """
    solution = _minimise(objective, start, watch, tol, max_iter, verbose)
    is_lost = not (solution.converged or solution.stopped) and solution.objective > objective.null_objective
    left = max_iter - solution.n_iter
    if is_lost and left > 0 and origin is not None and not np.array_equal(start, origin):
        solution = _minimise(objective, origin, watch, tol, left, verbose)
    return solution


def _minimise(objective, start, watch, tol, max_iter, verbose):
    noise, columns_options, l1_options = 4 * np.finfo(objective.source.dtype).eps, None, None
    target = stopping_rule(tol, objective.null_objective, objective.penalty, objective.blur, noise)
    most_pairs = n_pairs(start.size, _PAIRS_BYTES)
    has_room = objective.source.is_wide_and_sparse or _slots_of_rows(objective, start) is not None
    bound = DualBound(objective, with_products=has_room)
    if suits_columns(objective.source, objective.n_outputs, objective.elastic_net):
        columns = Columns(objective)
        columns_options = {"columns": columns, **columns.take_penalty(objective.elastic_net)}
    if not objective.elastic_net.is_smooth:
        l1_options = {"memory": most_pairs, "nonsmooth": objective.nonsmooth(), "settle": objective.with_least_penalty}

    @cache
    def curvature():
        return curvature_of(objective)

    def make_metric(*at):
        return curvature().metric(*at)

    def lbfgs_options():
        rows = rows_of(objective, curvature(), start)
        # with validation rows the way matters too: that of a metric is the straighter one
        plain = plain_of(objective, curvature()) if watch.validation is None else None
        n = most_pairs if plain is None else max(most_pairs, n_pairs(start.size, objective.source.nbytes // 2, most=40))
        memory = Memory(n, Pieces(start.size, objective.n_threads))
        return {"memory": memory, "rows": rows, "plain": plain, "bound": bound}

    solver = choose_solver(
        start,
        curvature,
        make_metric,
        columns_options=columns_options,
        l1_options=l1_options,
        lbfgs_options=lbfgs_options,
        target=target,
        max_iter=max_iter,
        noise=noise,
        report=watch.report,
    )
    watched = watch.watched()
    solution = run(solver, watched.evaluate, watched)
    if not solution.is_bound:
        enough = max(solution.suboptimality, target(solution.point) if solution.converged else 0.0)
        if bound.by_coefficients(solution.grad) <= enough:
            solution.prove(bound(solution.point, solution.objective, solution.grad, enough), enough)
    watch.end()
    if verbose:
        how = "converged" if solution.converged else "stopped" if solution.stopped else "not converged"
        by = "at most" if solution.is_bound else "an estimated"
        print(
            f"{how} after {solution.n_iter} iterations and {objective.n_passes:g} passes: objective "
            f"{solution.objective:.8g}, above the minimum by {by} {solution.suboptimality:.1e}"
        )
    return solution
