"""What is fitted to each target: its rows, their weights and its penalty, checked."""

import numpy as np

from ..kernels.label_sets import HELD_OUT, MISSING
from ..labels import weights_by_label
from ..penalty import penalty_strength
from ..rows import null_loss
from .fits import class_totals
from .objective import Problems


class Targets:
    """Targets of a fit.

    Parameters
    ----------
    sets : LabelSets
    sample_weight : array (n_samples,) or (n_samples, n_targets), or None
        Non-negative and finite.
    class_weight : dict, 'balanced' or None
    fit_intercept : bool
    dtype : float32 or float64
        Of passes.

    Attributes
    ----------
    row_weight : array (1 or n_targets, n_samples) of dtype, or None
        Of the rows, the largest of a target, or of all, being one.
    """

    def __init__(self, sets, sample_weight, class_weight, fit_intercept, dtype):
        self.sets, self.class_weight, self.fit_intercept = sets, class_weight, fit_intercept
        self.row_weight, self.largest = None, np.ones(1)
        if sample_weight is not None:
            weight = sample_weight[None] if sample_weight.ndim == 1 else sample_weight.T
            self.largest = np.maximum(weight.max(axis=1), np.finfo(np.float64).tiny)
            self.row_weight = np.ascontiguousarray(weight / self.largest[:, None], dtype)
        self.n_fitted = np.array([self._n_fitted(t) for t in range(len(self))])

    def __len__(self):
        return len(self.sets.classes)

    def _n_fitted(self, t):
        labels = self.sets.labels[t]
        fitted = labels >= 0
        return np.count_nonzero(fitted if self.row_weight is None else fitted & (self.weight(t) > 0))

    def weight(self, t):
        """Weights (n_samples,) of the rows in one target, or None."""
        return None if self.row_weight is None else self.row_weight[t if len(self.row_weight) > 1 else 0]

    def own_weight(self, t, rows):
        """Weights of some rows in one target, as they were given, or None."""
        if self.row_weight is None:
            return None
        return self.weight(t)[rows].astype(np.float64) * self.largest[t if len(self.largest) > 1 else 0]

    def weights(self, some):
        """The weights of some targets, a slice, as passes take them."""
        return self.row_weight if self.row_weight is None or len(self.row_weight) == 1 else self.row_weight[some]

    def of_rows(self, some, rows):
        """What some rows weigh in some targets, a slice, (n_some, n_rows): zero where they have no label."""
        weight = (np.take(self.sets.labels[some], rows, axis=1) >= 0).astype(np.float64)
        return weight if self.row_weight is None else weight * np.take(self.weights(some), rows, axis=1)

    def problems(self, places, C, labels, unit):
        """The problems that some targets, or folds of them, are.

        Parameters
        ----------
        places : sequence of int
            The target that each is of.
        C : array (n_problems,)
        labels : array (n_problems, n_samples)
        unit : float
            Of the features.
        """
        rows = [self._of_rows(t, labels[m]) for m, t in enumerate(places)]
        frequency, sums, class_weights = zip(*rows, strict=True)
        largest = self.largest if len(self.largest) > 1 else np.repeat(self.largest, len(self))
        strengths = [
            penalty_strength(float(c), float(s * largest[t]), unit) / unit**2
            for c, s, t in zip(C, sums, places, strict=True)
        ]
        null = [null_loss(f, self.fit_intercept) for f in frequency]
        by_class = None
        if self.class_weight is not None:
            # one place is left over for targets of more than two classes, which have as many outputs
            padded = [w if len(w) == 2 else np.append(w, 0.0) for w in class_weights]
            by_class = np.concatenate(padded)
        label_rows = np.arange(len(places), dtype=np.intp)
        return Problems(label_rows, list(frequency), np.array(sums), np.array(strengths), np.array(null), by_class)

    def _of_rows(self, t, labels):
        """Shares of the classes among rows that are fitted, their weight, and the weights of the classes."""
        classes = self.sets.classes[t]
        weight = self.weight(t)
        totals = class_totals(labels, len(classes), None if weight is None else weight.astype(np.float64))
        by_class = np.ones(len(classes))
        if isinstance(self.class_weight, str):
            present = totals > 0
            by_class = np.divide(
                totals.sum() / max(present.sum(), 1), totals, where=present, out=np.zeros(len(classes))
            )
        elif self.class_weight is not None:
            by_class = weights_by_label(self.class_weight, classes)
            if not (np.isfinite(by_class) & (by_class >= 0)).all():
                raise ValueError(
                    f"Expected finite, non-negative weights in class_weight, got {self.class_weight!r}. Remedy: give a "
                    "class that is not to count the weight 0."
                )
        with np.errstate(over="ignore"):
            weighted = totals * by_class
            total = float(weighted.sum() * self.largest[t if len(self.largest) > 1 else 0])
        present = np.flatnonzero(weighted > 0)
        if len(present) < 2:
            raise ValueError(
                f"Expected rows of at least 2 classes with a positive weight in every target, and in every fold of it, "
                f"but target {t} has {classes[present].tolist()}. Remedy: leave out its column, or give such rows a "
                "weight."
            )
        if not np.isfinite(total):
            raise ValueError(
                "Expected sample_weight times class_weight to have a sum that float64 can hold, got "
                f"{total} for target {t}. Remedy: multiply the weights by a constant, and C by its inverse."
            )
        return weighted / weighted.sum(), float(weighted.sum()), by_class

    def fold(self, t, train, test):
        """Labels (n_samples,) of a fold of one target: of rows in neither part there is none."""
        labels = self.sets.labels[t]
        found = np.full(len(labels), MISSING, labels.dtype)
        found[test] = HELD_OUT - labels[test]
        found[train] = labels[train]
        return found
