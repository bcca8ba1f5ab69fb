"""Scores of rows held out while a solver nears the minimum: what they are off by, and when that is little enough.

Near the minimum F - F* is quadratic in the distance of the point from the minimum, and the error of a score is linear
in it. So a score that has changed by d since F was D higher is off by about d / (sqrt(1 + D / s) - 1), s being F - F*
now (docs/method.md). The loss of the rows held out is watched for all scores: it has most digits.
"""

import numpy as np
from scipy.special import log_softmax

from ..rows import cross_entropy, log_proba_of_two, share_of_target
from ..sources.sparse import SparseRows

# What is missing of F, as its solver estimates it, in units of the null model's objective: above, nothing is near.
_COARSE = 1e-2
# The loss is looked at where the estimate has fallen by so much, or after so many iterations.
_FALLEN, _WAIT = 0.5, 4
_LEAST_DECREASE = 1.0  # of F, over what is missing: since a point before that the change of the loss means something
# The estimate of the error is multiplied by this: with rare features, solvers expect to be nearer than they are.
_CAUTION = 2.0
_LEAST_ROWS = 1000  # of a fold that are looked at, whatever memory they take


class HeldOut:
    """Rows that a fold holds out, or a sample of them where they take too much memory.

    Parameters
    ----------
    data : TrainingData
        All rows.
    test : array of intp
        Rows held out; one that is named twice counts twice.
    is_known : array (n_classes,) bool
        Classes that the fold's training rows have: the loss of others is the same at any point.
    n_bytes : int
        What the rows may take.
    dtype : float32 or float64
        Of the scores that are to be known: it says how small a probability they take note of.

    Attributes
    ----------
    weight : array (n_rows,)
        Of sum one.
    n_effective : float
        Rows held out that would be as many, did all weigh the same.
    share : float
        Of these, those that are looked at.
    """

    def __init__(self, data, test, is_known, n_bytes, dtype):
        source, sample_weight, self.n_outputs = data.source, data.sample_weight, data.n_outputs
        weight = np.bincount(test, minlength=source.n_samples).astype(np.float64)
        if sample_weight is not None:
            weight *= sample_weight
        counts = is_known[data.y] if data.y.ndim == 1 else data.y[:, is_known].any(axis=1)
        rows = np.flatnonzero((weight > 0) & counts)
        n = len(rows)
        if n:
            weight /= weight[rows].max()  # whose squares are numbers
        self.n_effective = float(weight[rows].sum() ** 2 / np.square(weight[rows]).sum()) if n else 0.0
        is_sparse = source.gram_products is not None
        row_bytes = source.nbytes / source.n_samples if is_sparse else source.n_features * source.dtype.itemsize
        most = max(int(n_bytes / row_bytes), _LEAST_ROWS)
        if n > most:
            rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
        self.share = len(rows) / n if n else 0.0
        self.X = source.take_sparse(rows) if is_sparse else source.take(rows)
        self.offset = 0.0 if data.offset is None else data.offset[rows]
        self.y, self.weight = data.y[rows], weight[rows] / weight[rows].sum() if n else weight[rows]
        self.least = np.log(np.finfo(dtype).eps)  # as the scorer has it

    def losses(self, coef, intercept):
        """Cross-entropy of each row at coefficients (n_outputs, n_features) and intercepts (n_outputs,)."""
        return cross_entropy(np.maximum(self._log_proba(coef, intercept), self.least), self.y)

    def scores(self, coef, intercept):
        """Minus the mean loss, and the accuracy."""
        log_proba = self._log_proba(coef, intercept)
        losses = cross_entropy(np.maximum(log_proba, self.least), self.y)
        return -self.weight @ losses, self.weight @ share_of_target(log_proba.argmax(axis=1), self.y)

    def _log_proba(self, coef, intercept):
        with np.errstate(over="ignore", invalid="ignore"):
            scores = self.X.scores(coef) if isinstance(self.X, SparseRows) else self.X @ coef.astype(self.X.dtype).T
            raw_prediction = np.asarray(scores, np.float64) + intercept + self.offset
        return log_proba_of_two(raw_prediction) if self.n_outputs == 1 else log_softmax(raw_prediction, axis=1)


class ScoreWatch:
    """Tells when the loss of the rows held out is known well enough, of folds that are solved in lockstep.

    Parameters
    ----------
    held_out : list of HeldOut
        One a fold.
    n_folds : int
        Of which the score is the mean: these and others.
    score_tol : float
        What a loss may be off by, in standard errors of its mean over folds.
    """

    def __init__(self, held_out, n_folds, score_tol):
        self.held_out, self.n_folds, self.score_tol = held_out, n_folds, score_tol
        self.begin()

    def begin(self):
        """Watch other fits from now on."""
        n = len(self.held_out)
        self.trails: list[list] = [[] for _ in range(n)]  # objectives and losses by row
        self.estimates, self.waited = np.full(n, np.inf), np.zeros(n, np.intp)
        self.means, self.squares = np.full((2, n), np.nan)  # of the losses by row
        self.errors = np.full(n, np.inf)

    def look(self, m, solution, null_objective, coef, intercept):
        """Look at the rows that one fold holds out, where it is time to; whether its solver may end where it is.

        Parameters
        ----------
        m : int
        solution : Solution
            So far.
        null_objective : float
        coef, intercept
            Where it is, without infinite values.
        """
        if not self._count_iteration(m, solution.suboptimality, null_objective):
            return False
        held_out, trail = self.held_out[m], self.trails[m]
        losses = held_out.losses(coef, intercept)
        if not np.isfinite(losses).all():  # far out
            return False
        self.means[m], self.squares[m] = held_out.weight @ losses, held_out.weight @ losses**2
        missing = max(solution.suboptimality, np.finfo(float).tiny)
        far = [q for q, (before, _) in enumerate(trail) if before - solution.objective >= _LEAST_DECREASE * missing]
        if far:
            del trail[: far[-1]]  # no need of those before
            before, losses_before = trail[0]
            left = 1 / (np.sqrt(1 + (before - solution.objective) / missing) - 1)
            change = losses - losses_before
            mean = held_out.weight @ change
            spread = np.sqrt(held_out.weight @ (change - mean) ** 2)
            self.errors[m] = _CAUTION * left * (abs(mean) + spread * self._per_row(m, held_out.share))
        trail.append((solution.objective, losses))
        return self.errors[m] <= self.score_tol * self.standard_error(m)

    def standard_error(self, m):
        """The standard error of the mean loss over all folds, by the deviation of the rows' losses."""
        known = np.isfinite(self.means)
        variance = self.squares[known].mean() - self.means[known].mean() ** 2
        return np.sqrt(max(variance, 0.0)) * self._per_row(m)

    def _per_row(self, m, share=1.0):
        """The standard error of a mean over all rows held out, or a share of them, over the deviation of a row."""
        return 1 / np.sqrt(max(self.held_out[m].n_effective * share * self.n_folds, 1.0))

    def _count_iteration(self, m, estimate, null_objective):
        self.waited[m] += 1
        if not estimate <= _COARSE * null_objective or not len(self.held_out[m].y):
            return False
        if estimate > _FALLEN * self.estimates[m] and self.waited[m] < _WAIT:
            return False
        self.estimates[m], self.waited[m] = estimate, 0
        return True
