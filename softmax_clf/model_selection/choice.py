"""Which C and l1_ratio are chosen by the scores, and which cells have to be exact for that."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata


def mean_over_folds(scores):
    """Mean scores over folds, -inf where one is not finite."""
    finite = np.isfinite(scores).all(axis=0)
    return np.where(finite, np.where(np.isfinite(scores), scores, 0.0).mean(axis=0), -np.inf)


def best_of_folds(scores):
    """Indices of the l1_ratio and the C with the best score, of each fold."""
    finite = np.where(np.isfinite(scores), scores, -np.inf).reshape(len(scores), -1)
    return [np.unravel_index(place, scores.shape[1:]) for place in finite.argmax(axis=1)]


@dataclass(frozen=True)
class Choice:
    """How a cell is chosen.

    Parameters
    ----------
    refit : bool
        Whether one cell is chosen by the means over folds, or each fold chooses its own.
    selection : 'best' or '1se'
        As in the classifier.
    score_tol : float
        As there.
    is_log_loss : bool
        Whether the scores are minus the mean cross-entropy.
    """

    refit: bool
    selection: str
    score_tol: float
    is_log_loss: bool

    def best(self, scores, Cs):
        """Indices of the chosen l1_ratio and C.

        Parameters
        ----------
        scores : array (n_folds, n_l1_ratios, n_Cs)
        Cs : array (n_Cs,)
        """
        mean_scores = mean_over_folds(scores)
        least = mean_scores.max()
        good_ratios, good_Cs = np.nonzero(mean_scores >= least)
        r = int(good_ratios[np.argmin(Cs[good_Cs])])
        if self.selection == "1se":
            least = self._within_one_error(scores, mean_scores, r)
        good = np.flatnonzero(mean_scores[r] >= least)
        return r, int(good[np.argmin(Cs[good])])

    def _within_one_error(self, scores, mean_scores, r):
        """The best mean score with an l1_ratio, less its standard error."""
        best = int(np.argmax(mean_scores[r]))
        return mean_scores[r, best] - scores[:, r, best].std(ddof=1) / np.sqrt(len(scores))

    def needed(self, scores, chosen, fits):
        """Cells to be solved to ``tol``: those chosen, the next C on both sides, and what could be chosen instead.

        Parameters
        ----------
        scores : array (n_folds, n_l1_ratios, n_Cs)
        chosen : tuple of int
            Indices of the l1_ratio and the C.
        fits : GridFits

        Returns
        -------
        array (n_folds, n_l1_ratios, n_Cs) bool
        """
        needed, place = np.zeros(scores.shape, bool), np.argsort(np.argsort(fits.Cs, kind="stable"))
        mean_scores, unsure = mean_over_folds(scores), self._unsure(scores, fits)

        def add(folds, r, c):
            needed[folds, r, np.abs(place - place[c]) <= 1] = True

        if not self.refit:
            for f, (r, c) in enumerate(best_of_folds(scores)):
                add(f, r, c)
                needed[f] |= scores[f] + unsure >= scores[f, r, c]
            return needed
        add(slice(None), *chosen)
        needed |= mean_scores + unsure >= mean_scores.max()
        if self.selection == "1se":
            r, best = chosen[0], int(np.argmax(mean_scores[chosen[0]]))
            add(slice(None), r, best)
            needed[:, r] |= np.abs(mean_scores[r] - self._within_one_error(scores, mean_scores, r)) <= unsure[r]
        return needed

    def _unsure(self, scores, fits):
        """What mean scores (n_l1_ratios, n_Cs) of cells that were left before ``tol`` may be off by."""
        if self.is_log_loss:
            return fits.errors.mean(axis=0)
        if len(scores) == 1:
            return np.zeros(scores.shape[1:])
        with np.errstate(invalid="ignore"):
            error = self.score_tol * scores.std(axis=0, ddof=1) / np.sqrt(len(scores))
        return np.where(fits.is_exact.all(axis=0) | ~np.isfinite(error), 0.0, error)


def check_scores_finite(scores, l1_ratios, Cs):
    """Name the cells whose scores over folds are not all finite."""
    finite = np.isfinite(scores).all(axis=0)
    if not finite.any():
        raise ValueError(
            "Expected finite scores, but every C has a fold with a score that is not. Remedy: take another "
            "scoring, or a cv whose test rows have all classes."
        )
    if not finite.all():
        where = f"C in {Cs[~finite.all(axis=0)].tolist()}"
        if len(l1_ratios) > 1:
            where += f" with l1_ratio in {l1_ratios[~finite.all(axis=1)].tolist()}"
        warnings.warn(f"Scores are not finite for {where}; these are not chosen.", UserWarning, stacklevel=6)


def warn_of_edge(mean_scores, Cs):
    """Where the best C is the last that was tried at an end, better ones may lie beyond."""
    finite = Cs[np.isfinite(Cs)]
    best = Cs[np.nonzero(mean_scores >= mean_scores.max())[1]].min()
    if len(Cs) < 2 or not np.isfinite(best) or not finite.min() < finite.max():
        return
    if best == finite.max() and len(finite) == len(Cs):
        which, ends = "largest", (best / 10, best * 1000)
    elif best == finite.min():
        which, ends = "smallest", (best / 1000, best * 10)
    else:
        return
    low, high = np.log10(ends)
    warnings.warn(
        f"The best C, {best:.4g}, is the {which} of those tried: a better one may lie beyond. Remedy: try "
        f"Cs=np.logspace({low:.3g}, {high:.3g}, 9).",
        UserWarning,
        stacklevel=5,
    )


def results_by_name(scores, l1_ratios, Cs):
    """Scores (n_folds, n_l1_ratios, n_Cs) under the names of :class:`sklearn.model_selection.GridSearchCV`."""
    ratios, grid = (values.ravel() for values in np.meshgrid(l1_ratios, Cs, indexing="ij"))
    cells = scores.reshape(len(scores), -1)
    mean = cells.mean(axis=0)
    results = {"param_C": grid, "param_l1_ratio": ratios}
    results["params"] = [{"C": C, "l1_ratio": r} for C, r in zip(grid.tolist(), ratios.tolist(), strict=True)]
    results |= {f"split{f}_test_score": of_fold for f, of_fold in enumerate(cells)}
    worst_last = np.where(np.isfinite(mean), -mean, np.inf)
    rank = rankdata(worst_last, method="min").astype(np.int32)
    return results | {"mean_test_score": mean, "std_test_score": cells.std(axis=0), "rank_test_score": rank}
