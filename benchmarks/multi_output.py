"""Many targets over the same rows: all in the same passes, beside one fit after another of ours and of scikit-learn.

    python benchmarks/multi_output.py
    python benchmarks/multi_output.py --dtype float64 --name multi_output-float64
    python benchmarks/multi_output.py --rows 20000 --targets 200 --out /tmp/try

Rows are Gaussian. Each target has two classes, by a random direction of its own with logistic noise of about the same
size; C is one. Of the fits one after another a part is timed, and what all would take is that times their number;
scikit-learn has as many threads of BLAS as it is faster with. What nothing that reads all rows once for all targets can
be faster than is timed in the same run: the two matrix products of one pass, by NumPy. How far each target's
coefficients are above the optimum is measured in float64, against a fit of its own to tol=1e-10, for as many targets as
are fitted one after another.
"""

import argparse
import contextlib
import time

import measure
import numpy as np
from sklearn.linear_model import LogisticRegression

from softmax_clf import MultiOutputSoftmaxClassifier, SoftmaxRegressionClassifier
from softmax_clf.label_sets.objective import LabelSetObjectives

_CHUNK_ROWS = 10_000


def generated(n_samples, n_features, n_targets):
    """Rows (n_samples, n_features) and labels (n_samples, n_targets), integers."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, n_features), dtype=np.float32)
    directions = rng.standard_normal((n_features, n_targets), dtype=np.float32) / np.sqrt(n_features)
    y = np.empty((n_samples, n_targets), np.int64)
    for start in range(0, n_samples, _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        scores = X[rows] @ directions
        y[rows] = scores + rng.logistic(size=scores.shape) > 0
    return X, y


def objective(clf, X, y, C=1.0):
    """F in float64."""
    coef = clf.coef_[0].astype(np.float64)
    margin = (2 * (y == clf.classes_[1]) - 1) * (X @ coef + float(clf.intercept_[0]))
    return np.logaddexp(0, -margin).mean() + coef @ coef / (2 * C * len(y))


def timed(function):
    """What a function gives, and its seconds: those that pass, and those of processors."""
    measure.quiet()
    start, spent = time.perf_counter(), time.process_time()
    result = function()
    return result, (time.perf_counter() - start, time.process_time() - spent)


def one_after_another(make, X, y):
    """Fits to each column of y, and their mean seconds, as :func:`timed` has them."""
    found = []
    for t in range(y.shape[1]):
        labels = np.ascontiguousarray(y[:, t])
        found.append(timed(lambda labels=labels: make().fit(X, labels)))
    fits, seconds = zip(*found, strict=True)
    return fits, np.mean(seconds, axis=0)


@contextlib.contextmanager
def counting(n_values):
    """A list that gets the part that each evaluation is of a pass of so many scores."""
    evaluate, parts = LabelSetObjectives.evaluate, []

    def counted(self, problems, points):
        parts.append(self.source.n_samples * len(points) / n_values)
        return evaluate(self, problems, points)

    LabelSetObjectives.evaluate = counted
    try:
        yield parts
    finally:
        LabelSetObjectives.evaluate = evaluate


def products(X, n_targets):
    """Do the two matrix products of a pass over the rows, of all targets."""
    coef = np.ones((X.shape[1], n_targets), X.dtype)
    for start in range(0, len(X), _CHUNK_ROWS):
        rows = X[start : start + _CHUNK_ROWS]
        (rows @ coef).T @ rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="of the rows")
    parser.add_argument("--ours", type=int, default=40, help="targets that are fitted one after another")
    parser.add_argument("--theirs", type=int, default=5, help="targets that scikit-learn fits")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--name", default="multi_output", help="of the report")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR", help="where the report goes")
    options = parser.parse_args()
    X, y = generated(options.rows, options.features, options.targets)
    X = X.astype(options.dtype)

    measure.note("compiling")
    MultiOutputSoftmaxClassifier().fit(X[: options.rows // 5], y[: options.rows // 5])
    SoftmaxRegressionClassifier().fit(X, y[:, 0])
    rounds = []
    for _ in range(options.rounds):
        measure.note("the products of a pass")
        _, of_products = timed(lambda: products(X, options.targets))
        measure.note("all targets together")
        with counting(options.rows * options.targets) as parts:
            model, together = timed(lambda: MultiOutputSoftmaxClassifier().fit(X, y))
        measure.note("ours, one after another")
        fits, apart = one_after_another(SoftmaxRegressionClassifier, X, y[:, : options.ours])
        rounds.append([of_products, together, apart * options.targets])
    measure.note("scikit-learn, one after another")
    labels = np.ascontiguousarray(y[:, 0])
    n_threads = measure.fastest_threads(lambda: LogisticRegression().fit(X, labels))
    with measure.blas_threads(n_threads):
        _, theirs = one_after_another(LogisticRegression, X, y[:, : options.theirs])
    measure.note("how exact they are")
    X, fits = X.astype(np.float64), model.estimators_[: options.ours]
    exact, _ = one_after_another(lambda: SoftmaxRegressionClassifier(tol=1e-10), X, y[:, : options.ours])
    above = np.array(
        [objective(a, X, y[:, t]) - objective(b, X, y[:, t]) for t, (a, b) in enumerate(zip(fits, exact, strict=True))]
    )

    of_products, best, apart = np.min(rounds, axis=0)
    rows = [
        ["the two products of one pass, by NumPy", options.targets, of_products],
        ["MultiOutputSoftmaxClassifier", options.targets, best],
        ["SoftmaxRegressionClassifier, one after another", options.ours, apart],
        ["MultiOutputClassifier(LogisticRegression())", options.theirs, theirs * options.targets],
    ]
    table = [
        [name, n, *(f"{measure.duration(t)} ({t / b:.1f})" for t, b in zip(seconds, best, strict=True))]
        for name, n, seconds in rows
    ]
    text = (
        f"{options.targets:,} targets of 2 classes over {options.rows:,} x {options.features} {options.dtype}, C = 1. "
        "The last two are what all targets would take, by the mean of the targets that were timed; scikit-learn with "
        f"{n_threads} threads of BLAS. In brackets, how many times as long as all targets together.\n\n"
        + measure.markdown_table(["", "targets timed", "time", "of all processors"], table)
        + f"\nAll targets together took {sum(parts):.2f} passes, in parts of {', '.join(f'{p:.2g}' for p in parts)}.\n"
        + f"\nAbove the optimum, in the objective, {options.ours} targets looked at: at most {above.max():.1e}, the "
        f"median {np.median(above):.1e}. {model.converged_.sum()} of {options.targets} targets converged, in at most "
        f"{model.n_iter_.max()} iterations.\n"
    )
    data = {
        "rounds": {
            name: np.array(seconds).tolist()
            for name, seconds in zip(
                ("products", "together", "one_after_another"), zip(*rounds, strict=True), strict=True
            )
        },
        "scikit_learn": theirs.tolist(),
        "parts_of_passes": parts,
        "above": above.tolist(),
        "options": {name: value for name, value in vars(options).items() if name != "out"},
    }
    measure.save(options.out, options.name, "Many targets over the same rows", text, data)


if __name__ == "__main__":
    main()
