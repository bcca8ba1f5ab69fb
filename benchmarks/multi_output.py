"""Many targets over the same rows: all in the same passes, beside one fit after another of ours and of scikit-learn.

    python benchmarks/multi_output.py
    python benchmarks/multi_output.py --rows 20000 --targets 200 --out /tmp/try

Rows are Gaussian, float32. Each target has two classes, by a random direction of its own with logistic noise of about
the same size; C is one. Of the fits one after another a part is timed, and what all would take is that times their
number. How far each target's coefficients are above the optimum is measured in float64, against a fit of its own to
tol=1e-10, for as many targets as are fitted one after another.
"""

import argparse
import time

import measure
import numpy as np
from sklearn.linear_model import LogisticRegression

from softmax_clf import MultiOutputSoftmaxClassifier, SoftmaxRegressionClassifier

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


def one_after_another(make, X, y):
    """Fits to each column of y, and seconds of each."""
    fits, seconds = [], []
    for t in range(y.shape[1]):
        labels = np.ascontiguousarray(y[:, t])
        start = time.perf_counter()
        fits.append(make().fit(X, labels))
        seconds.append(time.perf_counter() - start)
    return fits, np.array(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=200)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--ours", type=int, default=40, help="targets that are fitted one after another")
    parser.add_argument("--theirs", type=int, default=5, help="targets that scikit-learn fits")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR", help="where the report goes")
    options = parser.parse_args()
    X, y = generated(options.rows, options.features, options.targets)

    measure.note("compiling")
    MultiOutputSoftmaxClassifier().fit(X[: options.rows // 5], y[: options.rows // 5])
    SoftmaxRegressionClassifier().fit(X, y[:, 0])
    together, apart = [], []
    for _ in range(options.rounds):
        measure.note("all targets together")
        measure.quiet()
        start = time.perf_counter()
        model = MultiOutputSoftmaxClassifier().fit(X, y)
        together.append(time.perf_counter() - start)
        measure.note("ours, one after another")
        measure.quiet()
        fits, seconds = one_after_another(SoftmaxRegressionClassifier, X, y[:, : options.ours])
        apart.append(seconds.mean())
    measure.note("scikit-learn, one after another")
    measure.quiet()
    _, theirs = one_after_another(LogisticRegression, X, y[:, : options.theirs])
    measure.note("how exact they are")
    X, fits = X.astype(np.float64), model.estimators_[: options.ours]
    exact, _ = one_after_another(lambda: SoftmaxRegressionClassifier(tol=1e-10), X, y[:, : options.ours])
    above = np.array(
        [objective(a, X, y[:, t]) - objective(b, X, y[:, t]) for t, (a, b) in enumerate(zip(fits, exact, strict=True))]
    )

    best, all_apart, all_theirs = min(together), min(apart) * options.targets, theirs.mean() * options.targets
    rows = [
        ["MultiOutputSoftmaxClassifier", options.targets, measure.duration(best), ""],
        ["SoftmaxRegressionClassifier, one after another", options.ours, measure.duration(all_apart), all_apart / best],
        [
            "MultiOutputClassifier(LogisticRegression())",
            options.theirs,
            measure.duration(all_theirs),
            all_theirs / best,
        ],
    ]
    rows = [[*row[:3], f"{row[3]:.1f}" if row[3] else ""] for row in rows]
    text = (
        f"{options.targets:,} targets of 2 classes over {options.rows:,} x {options.features} float32, C = 1. The last "
        "two are what all targets would take, by the mean of the targets that were timed.\n\n"
        + measure.markdown_table(["", "targets timed", "all targets", "times as long"], rows)
        + f"\nAbove the optimum, in the objective, {options.ours} targets looked at: at most {above.max():.1e}, the "
        f"median {np.median(above):.1e}. {model.converged_.sum()} of {options.targets} targets converged, in at most "
        f"{model.n_iter_.max()} iterations.\n"
    )
    data = {
        "together": together,
        "one_after_another": apart,
        "scikit_learn": theirs.tolist(),
        "above": above.tolist(),
        "options": vars(options) | {"out": str(options.out)},
    }
    measure.save(options.out, "multi_output", "Many targets over the same rows", text, data)


if __name__ == "__main__":
    main()
