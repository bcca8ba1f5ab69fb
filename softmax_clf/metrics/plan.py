"""Which metric serves a fit best, by what the whole fit costs with it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

EXACT, BLOCKS, KRONECKER, HEAD = "exact", "blocks", "kronecker", "head"
MOST_EXACT, MOST_LAST = 1000, 3000  # coefficients up to which the Hessian may be a metric, or is the last resort
_DIFFICULT = {EXACT: 0.0, BLOCKS: 0.6, KRONECKER: 1.0}  # how the passes of a fit grow with its difficulty
_N_EXACT = 8  # Hessians that Newton's method takes
_SPARSE_PRODUCT = 50  # multiply-adds of a pass that a product of two stored values takes as long as
MAX_FLOAT64 = 1024  # features up to which Gram matrices are of float64, whatever X is of


def blocks_bytes(p, n_blocks, itemsize):
    """The most that the blocks of a metric take while they are factored, each (p, p)."""
    gram = itemsize if p > MAX_FLOAT64 else 8
    # all matrices, what is added to one of them, and a copy where one is applied in another precision
    return (n_blocks * gram + gram + (itemsize if gram != itemsize else 0)) * p**2


def sparse_products_of_array(n_samples, n_features, itemsize):
    """Products of stored values that take as long in a Gram matrix as those of all values, of an array, do."""
    return 0.5 * n_samples * n_features**2 * itemsize / 4 / _SPARSE_PRODUCT


@dataclass(frozen=True)
class MetricPlan:
    """Which metric serves a shape best, from how many rows, and what it costs.

    Attributes
    ----------
    kind : 'exact', 'blocks', 'kronecker' or 'head'
    n_rows : int
        Rows sampled. A Kronecker metric of fewer rows than columns is of low rank.
    passes : float
        Cost of making one, in passes over all rows.
    exact_passes : float
        What the whole Hessian takes, in passes; infinite where it is out of the question.
    iteration_passes : float
        What an iteration of L-BFGS takes, in passes: on small data, several.
    search_passes : float
        What one of searches in subspaces takes.
    """

    kind: str
    n_rows: int
    passes: float
    exact_passes: float = np.inf
    iteration_passes: float = 1.0
    search_passes: float = 1.0


@lru_cache(maxsize=64)  # a fit asks at each iteration, with a diagonal for the same each time
def plan_metric(
    n_samples,
    n_columns,
    n_outputs,
    itemsize,
    pass_values,
    X_bytes,
    n_passes=0,
    effective_dim=None,
    evenness=1.0,
    n_problems=1,
    of_all_rows=False,
    in_common=False,
    gram_products=None,
):
    """Choose the metric by what a whole fit costs with it.

    The better the metric, the fewer the passes. Their counts are typical of pixels, patch features and embeddings.
    They grow

    - as the sample shrinks: by 1 + 1.5 g + g^2, g being the directions in which the data outweigh the penalty over
      the rows
      that carry curvature (fitted to patch features, 25,000 x 1600, samples from 800 to all rows);
    - with the passes already done: a fit that has taken many is a hard one, for which a dearer metric pays, the more so
      where the classes' blocks differ much.

    Parameters
    ----------
    n_samples, n_columns, n_outputs : int
    itemsize : 4 or 8
        Bytes of a value in the arithmetic.
    pass_values : int
        The number of values of a dense array over which a pass takes as long.
    X_bytes : int
        Of X as it is stored, narrow or sparse. A metric takes at most a quarter of it, or 100 MB.
    n_passes : int
        Passes done so far.
    effective_dim : float or None
        Directions in which the data outweigh the penalty, as an earlier metric found them; None assumes all.
    evenness : float
        Rows that carry curvature, as a share of the rows of an earlier sample.
    n_problems : int
        Fits that share the metric.
    of_all_rows : bool
        Whether to leave out no row: a block a class, or one for all where these would take too much memory. With rows
        of high leverage, as rare features have them, no sample stands for the rest.
    in_common : bool
        Whether one matrix is to serve all classes.
    gram_products : float or None
        Products of two values that a Gram matrix of all rows takes, where rows are sparse.
    """
    d = n_columns if effective_dim is None else min(max(effective_dim, 1.0), n_columns)
    sizes = n_samples, n_columns, n_outputs, itemsize, pass_values, X_bytes, gram_products
    one_pass, exact, candidates = _candidates(sizes, d, evenness, n_problems, of_all_rows, in_common)
    difficulty = max(1.0, n_passes / 8)
    # those of several fits serve the next C too
    n_metrics = (2 if n_passes > 1 else 3) / (1 if n_problems == 1 else 2)

    def cost_of_fit(candidate):
        kind, _, passes, made = candidate
        passes *= difficulty ** _DIFFICULT[kind]
        return passes * one_pass * n_problems + (_N_EXACT if kind == EXACT else n_metrics) * made

    kind, n_rows, _, made = min(candidates, key=cost_of_fit)
    # beside its pass an iteration costs some 0.2 ms in Python; one of searches 0.5 ms, two passes, and searches
    search = 2 + (4e7 + 7e3 * n_samples * n_outputs) / one_pass
    return MetricPlan(kind, n_rows, made / one_pass, 0.5 * exact / one_pass, 1 + 9e6 / one_pass, search)


@lru_cache(maxsize=64)  # they change with the metrics only, and not with each pass
def _candidates(sizes, d, evenness, n_problems, of_all_rows, in_common):
    """The metrics that there are for a shape.

    Parameters
    ----------
    sizes : tuple
        The first six parameters of :func:`plan_metric`, and the last.
    d : float
        Its ``effective_dim``, or what is assumed.
    evenness, n_problems, of_all_rows, in_common
        As there.

    Returns
    -------
    one_pass, exact : float
        What a pass takes, and a Hessian.
    candidates : list of tuple
        Of each the kind, the rows, the passes of an easy fit with it, and what making one takes.
    """
    n, p, K, itemsize, pass_values, X_bytes, gram_products = sizes
    size, slower = p * K, itemsize / 4
    # In multiply-adds of a float32 pass, some 40 to the nanosecond and thread. What numpy does element by element, and
    # what an iteration costs in Python, weighs on small data. Measured on one thread, from 150 x 4 to 50,000 x 1600.
    one_pass = 3e6 + 2.4 * pass_values * K * slower

    def sampled(n_rows, n_blocks):
        elementwise = 4e6 + 60.0 * n_rows * p * (1 + n_blocks)
        if n_rows < p:
            return elementwise + (1.6 * n_rows**2 * p + 2 * n_rows**3) * slower
        gram = 0.5 * n_rows * p**2 * slower
        if gram_products is not None:
            elementwise, gram = 4e6 + 60.0 * n_rows / n * pass_values, _SPARSE_PRODUCT * n_rows / n * gram_products
        return elementwise + n_blocks * (2e6 + gram + 1.1 * p**3 * slower)

    options = []
    # its rows take an eighth of X, or 16 MB
    most_low_rank = max(X_bytes // (8 * p * itemsize), int(1.6e7 / (p * itemsize)), 1)
    dense = 2.5 * p**2 * itemsize <= max(X_bytes / 4, 1e8)  # a matrix and its factor take a quarter of X, or 100 MB
    counts = [max(multiple * d / evenness, 1000) for multiple in (0.25, 0.5, 1, 2, 5, 10, 20, np.inf)]
    most = min(n, most_low_rank) if dense else min(n, most_low_rank, p - 1)  # so that there is an option for any shape
    for n_rows in {int(min(n, count)) for count in counts} | {most}:
        if n_rows > most_low_rank if n_rows < p else not dense:
            continue
        g = d / (n_rows * evenness) if n_rows < n else 0.0
        options.append((KRONECKER, n_rows, 16 * (1 + 1.5 * g + g**2), sampled(n_rows, 1)))
        if K > 1 and n_rows >= p and blocks_bytes(p, K, itemsize) <= max(X_bytes / 4, 1e8):
            g *= K / 2  # the classes share the curvature
            options.append((BLOCKS, n_rows, 8 * (1 + 1.5 * g + g**2), sampled(n_rows, K)))
    exact = 2e6 + 100.0 * n * size + 2.5 * n * size**2 + size**3
    # its rows in float64, and up to three arrays of them times the classes
    if size <= MOST_EXACT and 8 * n * p * (2 if K == 1 else 1 + 3 * K) <= max(X_bytes / 4, 1e8):
        options.append((EXACT, n, 8, exact))
    # the Hessian, its factor and its blocks; the rows in float64, as they are, centred, and times a curvature
    elif not (size <= MOST_LAST and 8 * (3 * size**2 + 4 * n * p) <= max(X_bytes, 2.5e8) / n_problems):
        exact = np.inf
    if in_common:
        options = [option for option in options if option[0] != BLOCKS]
    if of_all_rows:
        options = [option for option in options if option[0] != EXACT]
        options = [option for option in options if option[1] == n] or options
        if not in_common:
            options = [option for option in options if option[0] == BLOCKS] or options
    return one_pass, exact, options
