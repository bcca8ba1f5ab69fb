"""SoftmaxRegressionClassifierCV: parameters, the order of a search, and fitted attributes."""

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import check_is_fitted

from ..callbacks import Task
from ..estimator import SoftmaxRegressionClassifier, all_or_nothing
from ..kernels.compiling import announcing_compilation
from ..parameters import OF_EACH_FIT
from ..pooled import PooledSource, is_elsewhere
from ..prediction import SoftmaxClassifier
from ..rows import ABSENT
from ..sklearn_private import Interval, StrOptions, fit_context, raise_for_params, routing_enabled
from ..sources.arrays import RowSlices, as_numpy, is_lazy
from ..sources.sparse import CsrSource
from ..training_data import TrainingData
from ..validation import check_own_validation, naming_incomparable
from .choice import Choice, best_of_folds, check_scores_finite, mean_over_folds, results_by_name, warn_of_edge
from .elsewhere import LabelsHere, check_elsewhere, log_loss_elsewhere, score_elsewhere
from .grid import checked_Cs, checked_l1_ratios, from_largest_C, may_end_early
from .grid_fits import EarlyEnd, GridFits
from .left_out import MEASURES, LeftOut
from .out_of_fold import out_of_fold_proba
from .scoring import (
    check_scoring,
    is_log_loss,
    name_of,
    offset_by_class,
    score_cells,
    score_on_rows,
    scorer_of,
    take_rows,
)
from .settings import FitSettings
from .splits import is_leave_one_out, rows_of_folds


class SoftmaxRegressionClassifierCV(SoftmaxClassifier):
    """:class:`SoftmaxRegressionClassifier` that chooses C and l1_ratio by cross-validation.

    All folds share each pass over X. Each cell of the table, an l1_ratio and a C on a fold, is a fit of its own to its
    own optimum: what is shared is the work.

    Parameters
    ----------
    Cs : int or array-like, default=10
        The values of C; for an integer, as many from 1e-4 to 1e4 in equal ratios. ``np.inf`` is no penalty. Where all
        `l1_ratios` are positive, an integer counts from where all coefficients are zero, the :func:`C_max` of the least
        of them, to 1000 times that of the largest, or 100 times where features outnumber rows; with one l1_ratio it
        ends before that where the deviance explained, `dev_ratio_`, is more than 0.999 in all folds or hardly grows.
    cv : int, splitter, iterable of (train, test), 'holdout' or 'loo', default=None
        None is 5 stratified folds, an integer that many. 'holdout' is one fold: a random `validation_fraction` of the
        rows is held out, by class where each has rows enough. A row that ``train`` names twice counts twice. 'loo'
        holds out every row by itself, approximately: each C is fitted to all rows, and one Newton step without a row
        tells what it would be without it (:func:`~softmax_clf.inspection.leave_one_out`). There is one "fold" then, of
        all rows, no L1 penalty, and the score is 'neg_log_loss' or 'accuracy'. The Hessian has to fit into 1 GB. Where
        it would take long to make and invert it for each C, the mean log-loss is estimated: the steps are taken with a
        rough Hessian for all rows, which is corrected by the exact steps of a random sample of 8 to 64 of them. Those
        estimates are free of bias, and `score_errors_` has their standard errors, see `score_tol`. A few rows that lose
        far more than the others by being left out, as on separable data at a large C, may be missing in the sample:
        its error is then too small. ``score_tol=0`` leaves out every row exactly, and so does the score 'accuracy'.
    scoring : str or callable, default=None
        Any scorer of scikit-learn, the greater the better. None is 'neg_log_loss': minus the mean cross-entropy of
        the rows held out.
    l1_ratios : array-like, default=(0.0,)
        The values of l1_ratio, each from 0 (L2 penalty only) to 1 (L1 penalty only); None is 0 only.
    refit : bool, default=True
        Whether to fit the chosen C and l1_ratio on all rows. Otherwise, as in
        :class:`sklearn.linear_model.LogisticRegressionCV`, the coefficients and values of C and l1_ratio that are the
        best for each fold are averaged.
    selection : 'best' or '1se', default='best'
        'best' takes the C and l1_ratio of the best mean score, the smaller C where equal, and of equal ones the
        l1_ratio that comes first; '1se' takes the same l1_ratio, and the smallest C whose mean score with it is within
        one standard error of the best (L. Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).
    score_tol : float, default=0.1
        How exactly cells are solved that are not to be chosen: until the mean loss (cross-entropy) of the rows held out
        is estimated to be off by at most so many standard errors of its mean over all folds, or to `tol`, if that comes
        first. Those chosen, the next C on both sides, and all that could be chosen instead are solved to `tol`, and so
        are all while scores still rise from C to C. Beside a refit, large problems in float64 are solved in float32 for
        this, from a copy, where their features suit that. 0 solves every cell to `tol`, as X is. With ``cv='loo'`` all
        cells are solved to `tol`; where scores are estimated from a sample, rows are added to it until the scores that
        may be the best are known to as many standard errors of the mean, or there are 64. 0 has no sample.
    validation_fraction : float, default=0.1
        Used with ``cv='holdout'`` only.
    penalty_factor, coef_bounds, l1_group, fit_intercept, standardize, class_weight, tol, max_iter
        As in :class:`SoftmaxRegressionClassifier`, for each fit: standard deviations and 'balanced' weights are those
        of its training rows. For `tol` see `score_tol`.
    n_jobs : int, default=None
        Threads, as in :class:`SoftmaxRegressionClassifier`.
    random_state : int, RandomState instance or None, default=None
        Used with ``cv='holdout'`` only.
    store_oof_proba : bool, default=False
        Whether to keep the probabilities of the rows held out, as `oof_proba_`.
    verbose : int, default=0
        1 to print what was chosen and by which score, 2 or more for every C and how the last fit ended.

    Attributes
    ----------
    C_, l1_ratio_ : float
        The chosen ones.
    Cs_ : ndarray (n_Cs,)
        The values of C, as they were given. Without the largest, where a callback has stopped before them.
    l1_ratios_ : ndarray (n_l1_ratios,)
    scores_ : ndarray (n_folds, n_l1_ratios, n_Cs)
    best_score_ : float
        Mean over folds of the scores of the chosen C and l1_ratio; with ``refit=False`` the best mean.
    cv_results_ : dict of arrays (n_l1_ratios * n_Cs,)
        The scores under the names that they have in :class:`sklearn.model_selection.GridSearchCV`, such as
        ``param_C``, ``mean_test_score`` and ``rank_test_score``, for a data frame. There are no times: folds and values
        of C are fitted together.
    score_errors_ : ndarray (n_folds, n_l1_ratios, n_Cs)
        What the mean loss of the rows held out may be off by in cells that were left before `tol`, an estimate; zero in
        the others. Other scores are off by about as many of their own standard errors as that loss is of its. With
        ``cv='loo'`` the standard error of a score that was estimated from a sample of the rows; all C have the same
        sample, so that differences are known better.
    coefs_paths_ : ndarray (n_folds, n_l1_ratios, n_Cs, n_outputs, n_features + fit_intercept)
        Coefficients of every cell, as exact as `score_tol` says, the intercept last. A class that the training rows of
        a fold lack has zeros, and as intercept minus infinity. n_outputs is 1 for two classes.
    oof_proba_ : ndarray (n_samples, n_classes)
        Only with `store_oof_proba`: probabilities of each row by the fold that holds it out, at the chosen C and
        l1_ratio, or with ``refit=False`` at those that are the best for this fold. They are what its cell of
        `coefs_paths_` predicts, and :func:`sklearn.model_selection.cross_val_predict` at the same `cv` and `tol`, but
        where a fold has two of more classes: that would fit a model with one vector. Means where several folds hold a
        row out, NaN where none does. A class that the fold's training rows lack has zero. With `X_val` rows of X come
        first, NaN all of them.
    dev_ratio_ : ndarray (n_folds, n_l1_ratios, n_Cs)
        The share of the deviance of the null model that each cell explains, in its training rows.
    coef_, intercept_, classes_, n_features_in_, feature_names_in_
        As in the classifier.
    n_iter_, converged_, objective_, suboptimality_, suboptimality_is_bound_, loss_curve_
        As in the classifier, of the fit on all rows. With ``refit=False`` the first two only: the most iterations of a
        cell, and whether all have converged.

    Notes
    -----
    Beside X there are: the numbers of the rows that ``cv`` gives for each fold; for each fold that is solved at a time,
    about 120 arrays of the size of the coefficients in float64, twice as many where some l1_ratio is not zero, and
    4 of length n_samples (for sparse X, 4/3 n_classes more), in all at most 256 MB or one fold's, whichever is more
    (more folds than that are taken in turns); rows that these hold out, at most 32 MB or 1000 of each fold, whichever
    is more; a copy of one fold's held-out rows while they are scored; and ``coefs_paths_``. Not in the bound: metrics,
    one for all these folds or one for each, of up to 100 MB or a quarter of X each, whichever is more, two of them for
    a while where a new one replaces one for all folds; and the transpose of sparse X.

    Callbacks of :mod:`sklearn.callback` (scikit-learn 1.9 and later), given by ``set_callbacks``, are told of each C,
    from the smallest on, and of the fit on all rows. One that stops the former leaves out larger values of C.

    A row held out whose class is absent from the training rows has a probability of zero, which counts as
    -log(2.2e-16) = 36.04, for float32 X -log(1.2e-7) = 15.94: probabilities closer to zero or one than the last digit
    of their precision are taken to be as close as that, as in :func:`sklearn.metrics.log_loss`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> SoftmaxRegressionClassifierCV().fit(X, y).predict(X[:2])
    array([0, 0])
    """

    # as in LogisticRegressionCV: what `score` passes on is the scorer's affair
    __metadata_request__score = {"sample_weight": "$UNUSED$"}

    _parameter_constraints = {
        "Cs": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "cv": ["cv_object", StrOptions({"holdout", "loo"})],
        "scoring": [str, callable, None],
        "l1_ratios": ["array-like", None],
        "refit": ["boolean"],
        "selection": [StrOptions({"best", "1se"})],
        "score_tol": [Interval(Real, 0, None, closed="left")],
        "store_oof_proba": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        **OF_EACH_FIT,
    }

    def __init__(
        self,
        Cs=10,
        *,
        cv=None,
        scoring=None,
        l1_ratios=(0.0,),
        refit=True,
        selection="best",
        score_tol=0.1,
        validation_fraction=0.1,
        penalty_factor=None,
        coef_bounds=None,
        l1_group=None,
        fit_intercept=True,
        standardize=False,
        class_weight=None,
        tol=1e-6,
        max_iter=1000,
        n_jobs=None,
        random_state=None,
        store_oof_proba=False,
        verbose=0,
    ):
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.l1_ratios = l1_ratios
        self.refit = refit
        self.selection = selection
        self.score_tol = score_tol
        self.validation_fraction = validation_fraction
        self.penalty_factor = penalty_factor
        self.coef_bounds = coef_bounds
        self.l1_group = l1_group
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.store_oof_proba = store_oof_proba
        self.verbose = verbose

    @property
    def partial_fit(self):
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit, since folds are made of all the rows. Remedy: choose C by fit, "
            "and stream with SoftmaxRegressionClassifier(C)."
        )

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, offset=None, X_val=None, y_val=None, **params):
        """Fit every C on every fold, choose, and fit the chosen C on all rows.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            As in :meth:`SoftmaxRegressionClassifier.fit`. The features of a Dask collection stay in its workers; its
            labels come here, for the splitter, which is shown rows without features. All cells are solved to `tol`
            there. It takes a `cv` that uses rows in at most 256 different ways, as integers do, and 'holdout', but not
            'loo'; 'neg_log_loss' and 'accuracy'; no `X_val` and no `store_oof_proba`.
        y : array-like (n_samples,), or (n_samples, n_classes)
            Labels, or target probabilities. For the splitter rows of these are of their most probable class; they are
            scored by the cross-entropy, by the 'accuracy', which is the mean target probability of the predicted
            classes, or by a callable.
        sample_weight : array-like (n_samples,), default=None
            Non-negative weights of the rows, in fitting and in scoring.
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores of the rows, in fitting and in scoring, in the order of the sorted classes.
        X_val : array-like (n_val, n_features), default=None
            Rows to choose by, in the place of folds: every C is fitted to X and scored on these, and the chosen one is
            fitted to both together. Both are copied into one, but for streams. ``cv`` is to be None.
        y_val : array-like (n_val,), or (n_val, n_classes), default=None
            Their labels, all of them among those of y, or target probabilities.
        **params : dict
            ``groups`` for the splitter, as in :class:`sklearn.model_selection.GridSearchCV`; with metadata routing
            anything for the splitter and the scorer.

        Returns
        -------
        self
        """
        raise_for_params(params, self, "fit", allow=["groups"])
        with all_or_nothing(self), np.errstate(under="ignore"), announcing_compilation(self.verbose):
            return self._fit_cv(X, y, sample_weight, offset, X_val, y_val, params)

    def _fit_cv(self, X, y, sample_weight, offset, X_val, y_val, params):
        self._check_selection()
        Cs, l1_ratios = checked_Cs(self.Cs), checked_l1_ratios(self.l1_ratios)
        scorer_of(self.scoring)  # or it says that there is none of this name
        task = Task.of_fit(self, 1 + self.refit, X, y, sample_weight=sample_weight, offset=offset)
        check_own_validation(X_val, y_val, cv=self.cv, sample_weight=sample_weight, offset=offset, **params)
        if is_elsewhere(X):
            check_elsewhere(self, X, X_val, offset)
            data: Any = LabelsHere.of(self, X, y, sample_weight, offset)
        else:
            data = TrainingData.from_arguments(self, X, y, sample_weight, offset)
        n_train = data.source.n_samples
        if X_val is not None:
            data = data.with_rows(self, X_val, y_val)
        check_scoring(self.scoring, data.y, len(data.classes))
        split_params, score_params = self._routed(sample_weight, data, params)
        if X_val is not None:
            folds = [(np.arange(n_train), np.arange(n_train, data.source.n_samples))]
        else:
            options = {"validation_fraction": self.validation_fraction, "random_state": self.random_state}
            folds = rows_of_folds(self.cv, data, split_params, **options)
        if isinstance(data, LabelsHere):
            data, folds = data.by_folds(folds)
        Cs = from_largest_C(self, data, l1_ratios, Cs)
        if self.selection == "1se" and len(folds) < 2:
            raise ValueError(
                "Expected at least 2 folds with selection='1se', for the standard error of the scores, got 1. Remedy: "
                "set cv to an integer, or selection='best'."
            )
        trains, tests = zip(*folds, strict=True)
        left_out = self._left_out(data, l1_ratios, score_params) if is_leave_one_out(self.cv) else None
        early_end = None
        if left_out is None and self.score_tol > 0 and not isinstance(data.source, PooledSource):
            n_measures = 1 if is_log_loss(self.scoring) else 2
            early_end = EarlyEnd(tests, float(self.score_tol), n_measures, bool(self.refit))
        fits = GridFits(data, trains, l1_ratios, Cs, FitSettings.from_estimator(self), early_end)
        fits.fit(task, may_end_early(self, l1_ratios))
        scores, chosen = self._scores_and_choice(fits, tests, score_params, left_out)

        fitted = self._what_was_tried(fits, scores, chosen)
        if self.store_oof_proba:
            fitted["oof_proba_"] = self._oof_proba(fits, scores, chosen, tests, left_out)
        if self.verbose:
            self._print_choice(fitted, scores, len(folds))
        fitted |= self._refitted(fits, chosen, task) if self.refit else self._averaged(fits, scores)
        of_a_fit = ("objective_", "suboptimality_", "suboptimality_is_bound_", "loss_curve_", "oof_proba_")
        for name in of_a_fit:  # an earlier one
            vars(self).pop(name, None)
        vars(self).update(fitted)
        task.end(dict)
        if not fits.converged.all():
            warnings.warn(fits.convergence_message(), ConvergenceWarning, stacklevel=4)
        if len(fits.Cs) == len(Cs):  # no callback has stopped before the largest
            warn_of_edge(mean_over_folds(scores), Cs)
        return self

    def _check_selection(self):
        if self.selection == "1se" and not self.refit:
            raise ValueError(
                "Expected refit=True with selection='1se', got refit=False, which averages what is the best for each "
                "fold. Remedy: leave refit=True, or set selection='best'."
            )

    def _scores_and_choice(self, fits, tests, score_params, left_out):
        """Scores (n_folds, n_l1_ratios, n_Cs), and the indices of the chosen l1_ratio and C.

        What is chosen was solved to ``tol``, and so was all that could be chosen instead.
        """
        choice = Choice(self.refit, self.selection, self.score_tol, is_log_loss(self.scoring))
        scores = np.empty(fits.n_iters.shape)

        def write_scores(cells):
            if isinstance(fits.data.source, PooledSource):
                score_elsewhere(scores, cells, self.scoring, fits.data, tests, fits)
                return
            parts = fits.data, tests, score_params
            score_cells(scores, cells, self.scoring, *parts, lambda *cell: self._classifier_of_cell(fits, *cell))

        if left_out is None:
            write_scores(np.ones(scores.shape, bool))
        else:
            cells = [(*fits.coefficients(0, 0, c, np.float64), float(C)) for c, C in enumerate(fits.Cs)]
            scores[0, 0], fits.errors[0, 0] = left_out.scores(cells)
        check_scores_finite(scores, fits.l1_ratios, fits.Cs)
        while True:
            chosen = choice.best(scores, fits.Cs)
            changed = fits.solve_to_tol(choice.needed(scores, chosen, fits))
            if not changed.any():
                return scores, chosen
            write_scores(changed)

    def _what_was_tried(self, fits, scores, chosen):
        """Fitted attributes that tell of all cells, and which is chosen."""
        return {
            "classes_": fits.data.classes,
            "Cs_": fits.Cs,
            "l1_ratios_": fits.l1_ratios,
            "l1_ratio_": float(fits.l1_ratios[chosen[0]]),
            "C_": float(fits.Cs[chosen[1]]),
            "scores_": scores,
            "best_score_": float(mean_over_folds(scores)[chosen]),
            "score_errors_": fits.errors,
            "coefs_paths_": fits.paths,
            "dev_ratio_": fits.dev_ratio,
        }

    def _oof_proba(self, fits, scores, chosen, tests, left_out):
        if left_out is not None:
            return left_out.proba(*fits.coefficients(0, *chosen, np.float64), float(fits.Cs[chosen[1]]))
        data = fits.data
        cells = [chosen] * len(tests) if self.refit else best_of_folds(scores)
        offset = offset_by_class(data.offset, data.n_classes)

        def proba(f, rows):
            clf = self._classifier_of_cell(fits, f, *cells[f], finite=False)
            return clf.predict_proba(take_rows(data.source, rows), None if offset is None else offset[rows])

        return out_of_fold_proba(proba, tests, data.source.n_samples, data.n_classes)

    def _print_choice(self, fitted, scores, n_folds):
        ratio = f" and l1_ratio={fitted['l1_ratio_']:.4g}" if len(fitted["l1_ratios_"]) > 1 else ""
        where = f"rows held out in {n_folds} folds"
        if is_leave_one_out(self.cv):
            where = "rows left out one at a time"
        print(
            f"chose C={fitted['C_']:.4g}{ratio} among {scores[0].size} tried: mean {name_of(self.scoring)} "
            f"{fitted['best_score_']:.6g} of {where}"
        )

    def _refitted(self, fits, chosen, task):
        """Fitted attributes of the chosen C and l1_ratio on all rows."""
        coef, intercept = fits.mean_over_folds(fits.points_for_all_rows(*chosen))
        intercept = np.where(np.isneginf(intercept), 0.0, intercept)  # of a class that no fold knows
        data = fits.data
        if isinstance(data.source, CsrSource):
            data.source.forget_columns()  # the refit makes a transpose of its own
        final = self._classifier(float(fits.Cs[chosen[1]]), float(fits.l1_ratios[chosen[0]]))
        final.set_params(verbose=max(self.verbose - 1, 0))
        start = {"coef_init": coef, "intercept_init": intercept if self.fit_intercept else None}
        offset = offset_by_class(data.offset, data.n_classes)
        rows = (data.labels, data.sample_weight) if not isinstance(data.source, PooledSource) else (None,)
        with task.fit_of("refit", final):
            final.fit(data.source.X, *rows, offset=offset, **start)
        own = ("n_features_in_", "feature_names_in_")
        return {name: value for name, value in vars(final).items() if name.endswith("_") and name not in own}

    def _averaged(self, fits, scores):
        """Fitted attributes that are means over folds, each at its own best C and l1_ratio."""
        best = best_of_folds(scores)
        coef, intercept = fits.mean_over_folds([fits.paths[f, r, c] for f, (r, c) in enumerate(best)])
        return {
            "C_": float(np.mean([fits.Cs[c] for _, c in best])),
            "l1_ratio_": float(np.mean([fits.l1_ratios[r] for r, _ in best])),
            "coef_": coef.astype(fits.paths.dtype),
            "intercept_": intercept.astype(fits.paths.dtype),
            "n_iter_": int(fits.n_iters.max()),
            "converged_": bool(fits.converged.all()),
        }

    @property
    def cv_results_(self):
        check_is_fitted(self, "scores_")
        return results_by_name(self.scores_, self.l1_ratios_, self.Cs_)

    def _l1_share(self):
        return self.l1_ratio_ if hasattr(self, "l1_ratio_") else checked_l1_ratios(self.l1_ratios).min()

    def _classifier(self, C, l1_ratio):
        names = OF_EACH_FIT.keys() - {"l1_group", "verbose"}
        group = self.l1_group if l1_ratio else None
        of_each = {name: getattr(self, name) for name in names}
        return SoftmaxRegressionClassifier(C, l1_ratio=l1_ratio, l1_group=group, **of_each)

    def _classifier_of_cell(self, fits, f, r, c, finite=True):
        """The classifier of one cell, with scores that can be calculated with, or those of absent classes infinite."""
        clf = self._classifier(float(fits.Cs[c]), float(fits.l1_ratios[r]))
        clf.classes_, clf.n_features_in_ = fits.data.classes, fits.data.source.n_features
        clf.coef_, clf.intercept_ = fits.coefficients(f, r, c)
        if finite:
            clf.intercept_ = np.maximum(clf.intercept_, clf.intercept_.dtype.type(ABSENT))
        return clf

    def _left_out(self, data, l1_ratios, score_params):
        """What scores fits by approximate leave-one-out."""
        measure = self.scoring or "neg_log_loss"
        if measure not in MEASURES:
            raise ValueError(
                f"Expected scoring to be None, {' or '.join(map(repr, MEASURES))} with cv='loo', got {self.scoring!r}. "
                "Remedy: take one of these, or set cv to an integer."
            )
        if l1_ratios.any():
            raise ValueError(
                f"Expected l1_ratios of zero with cv='loo', got {l1_ratios.tolist()}: beside an L1 penalty, which "
                "coefficients are zero may change with a row. Remedy: set cv to an integer."
            )
        if self.coef_bounds is not None:
            raise ValueError(
                "Expected coef_bounds=None with cv='loo', whose step knows no bounds, got some. Remedy: set cv to an "
                "integer."
            )
        if self.penalty_factor is not None:
            raise ValueError(
                "Expected penalty_factor=None with cv='loo', whose step counts the penalty of all features alike, got "
                "factors. Remedy: set cv to an integer, or divide the features by the factors' roots."
            )
        options = {"fit_intercept": self.fit_intercept, "standardize": self.standardize}
        options["score_tol"] = float(self.score_tol)
        weight = score_params.get("sample_weight")
        return LeftOut(data, measure, weight, n_threads=FitSettings.from_estimator(self).n_threads, **options)

    def _routed(self, sample_weight, data, params):
        """What the splitter and the scorer are given."""
        if routing_enabled():
            routed = process_routing(self, "fit", sample_weight=sample_weight, **params)
            # 'holdout' and 'loo' are no objects that metadata could be routed to
            return {} if isinstance(self.cv, str) else routed.splitter.split, routed.scorer.score
        groups = params.get("groups")
        split_params = {} if groups is None or isinstance(self.cv, str) else {"groups": as_numpy(groups, "groups")}
        return split_params, {} if sample_weight is None else {"sample_weight": data.sample_weight}

    def score(self, X, y, *, sample_weight=None, offset=None, **score_params):
        """Score of the predictions by `scoring`; by default minus the mean cross-entropy.

        Rows may lack classes, for the default as for any score that takes ``labels``.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : array-like (n_samples,), or (n_samples, n_classes)
        sample_weight : array-like (n_samples,), default=None
        offset : array-like (n_samples, n_classes), default=None
            Added to the scores, as in fit.
        **score_params : dict
            For the scorer, by metadata routing.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        raise_for_params(score_params, self, "score")
        if is_lazy(X) and is_log_loss(self.scoring):
            return log_loss_elsewhere(self, X, y, sample_weight, offset)
        X, y = RowSlices(X) if is_lazy(X) else as_numpy(X, "X"), as_numpy(y, "y")
        y = np.asarray(y) if is_lazy(y) else y
        if sample_weight is not None:
            score_params["sample_weight"] = as_numpy(sample_weight, "sample_weight")
        if routing_enabled():
            score_params = process_routing(self, "score", **score_params).scorer.score
        check_scoring(self.scoring, y, len(self.classes_))
        with naming_incomparable(y, self.classes_):
            return score_on_rows(self.scoring, X, y, np.asarray(self.classes_), score_params, offset)(self)

    def get_metadata_routing(self):
        """Metadata routing of this object: what ``fit`` passes to the splitter, ``fit`` and ``score`` to the scorer.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        if not isinstance(self.cv, str):
            router.add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
        mapping = MethodMapping().add(caller="score", callee="score").add(caller="fit", callee="score")
        return router.add(scorer=scorer_of(self.scoring), method_mapping=mapping)
