"""What the parts of the package give each other: rows, passes over them, objectives, metrics, solvers.

Whatever has the members of a protocol can take its place; nothing needs to inherit from it. n_outputs is the number of
scores of a row: n_classes, or one for two classes, that of the second. n_columns is n_features, and one more where
there is an intercept. dtype is float32 or float64, that of the arithmetic; gradients and points are float64.
How to add a source or a metric: docs/extending.md.
"""

from collections.abc import Generator, Iterable
from typing import Any, Protocol, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
Part: TypeAlias = tuple[Any, slice]
"""Rows as a :class:`Pass` of the same source takes them, and their place among the n_samples."""


class Pass(Protocol):
    """Sums over the rows of a source, for n_problems at a time: outputs are stacked, (n_problems * n_outputs, ...).

    Made by :meth:`Source.passes` for many calls: it owns workspaces, and so serves one call at a time. What it returns
    is valid until its next call. Rows come as :meth:`Source.parts` has them, all of them, in order. No result depends
    on the number of threads, to the bit.

    ``weight`` is (n_weightings, n_samples) of dtype, or (0, 0) for ones, and ``weighting`` (n_problems,) the row of it
    that each problem has. ``offset`` is (n_samples, n_outputs) of dtype, or None.
    """

    def loss_gradient(
        self,
        parts: Iterable[Part],
        coef: Array,
        intercept: Array,
        y: Array,
        weight: Array,
        weighting: Array,
        offset: Array | None = None,
    ) -> tuple[Array, Array, Array]:
        """Weighted sums of the losses (n_problems,), and their gradients by ``coef`` and ``intercept``."""
        ...

    def loss_gradient_of_scores(
        self, parts: Iterable[Part], stored: Array, y: Array, weight: Array, weighting: Array
    ) -> tuple[Array, Array, Array]:
        """The same where scores (n_weightings, n_outputs, n_samples) are known, as :meth:`raw_scores` writes them."""
        ...

    def raw_scores(
        self,
        parts: Iterable[Part],
        coef: Array,
        intercept: Array,
        weighting: Array,
        out: Array,
        offset: Array | None = None,
    ) -> None:
        """Write scores to ``out`` (n_weightings, n_outputs, n_samples)."""
        ...

    def row_state(
        self,
        parts: Iterable[Part],
        coef: Array,
        intercept: Array,
        weighting: Array,
        out: Array,
        offset: Array | None = None,
    ) -> None:
        """Write to ``out``, as :meth:`raw_scores`, what :meth:`hessian_product` needs to know of rows at a point."""
        ...

    def hessian_product(
        self,
        parts: Iterable[Part],
        coef: Array,
        intercept: Array,
        state: Array,
        weight: Array,
        weighting: Array,
        offset: Array | None = None,
    ) -> tuple[Array, Array, Array]:
        """Curvatures along directions (n_problems,), and the Hessians' products with these, after :meth:`row_state`."""
        ...

    def predict(
        self,
        parts: Iterable[Part],
        coef: Array,
        intercept: Array,
        kind: int,
        out: Array,
        offset: Array | None = None,
    ) -> None:
        """Write scores, probabilities or their logarithms, by ``kind``, to ``out`` (n_samples, n_outputs)."""
        ...


class SparseRows(Protocol):
    """Some rows, as what they have in common and what each adds to that.

    Attributes
    ----------
    added : sparse array (n_rows, n_features) in CSR format
    origin : array (n_features,) float64
    """

    added: Any
    origin: Array

    def __len__(self) -> int: ...

    def scaled(self, factor: Array) -> "SparseRows":
        """The rows times a factor of each feature, (n_features,)."""
        ...

    def scores(self, coef: Array) -> Array:
        """Products with coefficients (n_outputs, n_features): an array (n_rows, n_outputs)."""
        ...

    def variance(self, is_centred: bool) -> Array:
        """Of each feature, float64, about its mean or about zero."""
        ...


class Source(Protocol):
    """Where rows come from, and the passes that suit them.

    Its values are finite: whoever made it has looked at them, or it looks as it reads them for the first time.

    Attributes
    ----------
    X : object
        The rows as they were given.
    dtype : float32 or float64
        Of the arithmetic, whatever X is stored as.
    nbytes : int
        Of X as it is stored.
    pass_values : int
        The number of values of a dense array over which a pass takes as long.
    gram_products : float or None
        Of two values of a row, how many make a Gram matrix of all rows, where these are sparse; None where they are not
        and there is no :meth:`take_sparse`.
    is_wide_and_sparse : bool
        Whether an array (n_features, n_features) is out of the question; then it is a :class:`SparseSource`.
    """

    X: Any
    n_samples: int
    n_features: int
    dtype: Any
    nbytes: int
    pass_values: int
    gram_products: float | None
    is_wide_and_sparse: bool

    def passes(self, n_problems: int, n_scores: int, n_threads: int) -> Any:
        """A :class:`Pass` for so many problems of ``n_scores`` outputs each."""
        ...

    def parts(self) -> Iterable[Part]:
        """All rows in order, anew at each call; it may raise ValueError for values that are not finite."""
        ...

    def take(self, rows: Array) -> Array:
        """Some rows, increasing indices, as a C-contiguous array (n_rows, n_features) of dtype."""
        ...

    def take_sparse(self, rows: Array) -> SparseRows:
        """Some rows, increasing indices."""
        ...

    def select(self, rows: Array) -> "Source":
        """Some rows, increasing indices, as a source."""
        ...

    def check_finite(self, n_threads: int) -> None:
        """Raise ValueError, naming the row, where a value is not finite."""
        ...

    def moments(self, weight: Array | None, n_threads: int) -> tuple[Array, Array]:
        """Means and variances of the features, float64, rows weighted by ``weight`` (n_samples,)."""
        ...

    def peak(self, weight: Array | None, enough: float) -> float:
        """The largest absolute value in rows of positive weight.

        Where that is at least ``enough``, it may be the largest of some of these rows, as long as it is enough.
        """
        ...

    def constants(self, weight: Array | None) -> Array:
        """Features of one value, other than zero, in all rows that weigh something, as increasing indices."""
        ...


class SparseSource(Source, Protocol):
    """What a source gives besides whose features are too many for arrays (n_features, n_features).

    Its passes have ``weighted_squares(source, row_weight)`` too, sums of x_ij^2 (n_outputs, n_features), and
    ``combine(X, matrix, out)``, X or its transpose times a matrix.

    Attributes
    ----------
    head, tail : array of intp
        The features that many rows have, at least one, and the others; increasing.
    columns : object
        The transpose, for ``combine``.
    """

    head: Array
    tail: Array
    columns: Any

    def split(self, factor: Array | None) -> tuple["SparseSource", "SparseSource"]:
        """Head and tail apart, each feature times its ``factor`` (n_features,)."""
        ...

    def take_head(self, rows: Array) -> Array:
        """As :meth:`Source.take`, of the head alone."""
        ...

    def take_columns(self, rows: Array, columns: Array) -> Array:
        """As :meth:`Source.take`, of some features."""
        ...


class Objective(Protocol):
    """What a fit minimises, of points that solvers know as arrays of some shape and no more.

    Attributes
    ----------
    n_passes : float
        Passes over the rows so far; half ones count as such.
    null_objective : float
        F of the null model, the unit of ``tol``.
    """

    n_passes: float
    null_objective: float

    def start_point(self, start: Array) -> Array:
        """The point of coefficients and intercepts (n_outputs, n_columns)."""
        ...

    def split(self, point: Array) -> tuple[Array, Array]:
        """Coefficients (n_outputs, n_features), in the units of X, and intercepts (n_outputs,) of a point."""
        ...

    def evaluate(self, point: Array) -> tuple[float, Array]:
        """F without an L1 penalty, and its gradient, an array of its own: one pass over the rows."""
        ...

    def penalty(self, point: Array) -> float:
        """The part of F that is no loss."""
        ...

    def blur(self, point: Array) -> float:
        """What rounding errors of the scores may hide of F - F*."""
        ...


class ScoredObjective(Objective, Protocol):
    """An objective whose scores may be known to the solver: see :mod:`~.solvers.subspace`."""

    def raw_scores(self, point: Array, out: Array, is_direction: bool) -> None:
        """Write the scores of a point, or along a direction, to ``out`` (n_outputs, n_samples): half a pass."""
        ...

    def evaluate_at(self, point: Array, scores: Array) -> tuple[float, Array]:
        """As :meth:`Objective.evaluate`, of a point of known scores: half a pass."""
        ...


class Metric(Protocol):
    """A symmetric positive definite matrix in the place of the Hessian, of which solvers need the inverse.

    Steps and gradients have the shape of a point. The steps of one metric are a linear function of the gradients, the
    same for as long as it lives: solvers add them up.

    Attributes
    ----------
    slack : float
        How many times too small half the squared gradient in it may be as an estimate of F - F*.
    """

    slack: float

    def solve(self, grad: Array) -> Array:
        """The step whose image under the metric is ``grad``; where classes can be shifted, of mean zero over them."""
        ...

    def solve_all(self, grads: Array) -> Array:
        """Steps for several gradients, (n, *shape of a point)."""
        ...


class MetricMaker(Protocol):
    """Makes the metrics of an objective, with the time at which each is to be made anew."""

    def metric(self, point: Array) -> Any:
        """A :class:`~.metrics.scheduled.ScheduledMetric` at a point; FloatingPointError where squares overflow."""
        ...


Solver: TypeAlias = Generator[Any, Any, Any]
"""A generator that minimises.

It yields a point, an array, and is sent (objective, gradient) there; or a question of :mod:`~.solvers.questions` and is
sent its answer. First of all it yields the point where it starts. It returns a :class:`~.solvers.stopping.Solution`. It
may be left waiting for as long as others need that share a pass with it, and closed at any time.
"""
