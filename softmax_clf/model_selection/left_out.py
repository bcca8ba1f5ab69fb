"""Scores of fits by approximate leave-one-out: of every row, or of a sample where that would take long."""

import numpy as np

from ..leave_one_out import NoInverse, Rows
from ..rows import cross_entropy, share_of_target
from ..training_data import standard_deviations
from .left_out_sample import SampledLeftOut, is_worth_it

MEASURES = ("neg_log_loss", "accuracy")


class LeftOut:
    """Scores of rows by the fits without them.

    Parameters
    ----------
    data : TrainingData
    measure : str
        One of MEASURES.
    weight : array (n_samples,), or None
        Of rows, in scores.
    fit_intercept, standardize : bool
        As in the classifier.
    n_threads : int
    score_tol : float
        As in the classifier; with 0 every row is left out.
    """

    def __init__(self, data, measure, weight, *, fit_intercept, standardize, n_threads, score_tol=0.0):
        self.score_tol = score_tol
        self.data, self.measure, self.weight = data, measure, weight
        scale = standard_deviations(data.source, data.weight, fit_intercept, n_threads) if standardize else None
        options = {"fit_intercept": fit_intercept, "n_threads": n_threads}
        self.rows = Rows(data.source, data.y, data.n_classes, data.weight, scale, offset=data.offset, **options)

    def proba(self, coef, intercept, C):
        """Probabilities (n_samples, n_classes)."""
        with np.errstate(under="ignore"):
            return np.exp(self.rows.log_proba_without(coef, intercept, C)).astype(self.data.source.dtype)

    def scores(self, cells):
        """The means of the measure of some cells, a list of (coef, intercept, C), and their standard errors.

        The latter are zero where every row has been left out.
        """
        n_columns = self.data.source.n_features + int(self.rows.options["fit_intercept"])
        sizes = self.data.source.n_samples, self.data.n_outputs, n_columns, len(cells)
        if self.measure == "neg_log_loss" and self.score_tol > 0 and is_worth_it(*sizes):
            return SampledLeftOut(self.rows, self.data.y, self.weight, self.score_tol).scores(cells)
        return np.array([self.score(*cell) for cell in cells]), np.zeros(len(cells))

    def score(self, coef, intercept, C):
        """The mean of the measure, NaN where the fit is no optimum of its own."""
        try:
            log_proba = self.rows.log_proba_without(coef, intercept, C)
        except NoInverse:
            return np.nan
        if self.measure == "accuracy":
            return np.average(share_of_target(log_proba.argmax(axis=1), self.data.y), weights=self.weight)
        eps = np.finfo(self.data.source.dtype).eps  # as for folds
        return -np.average(
            cross_entropy(np.clip(log_proba, np.log(eps), np.log1p(-eps)), self.data.y), weights=self.weight
        )
