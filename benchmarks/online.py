"""One pass over a stream in batches: partial_fit of ours and of SGDClassifier, beside our fit on all rows.

    python benchmarks/online.py                                    generated image-like data
    python benchmarks/online.py --cifar10 PATH --embeddings DIR --cache DIR

The stream is the training rows, standardised, in batches of equal size: in the order of the data, and sorted by class.
"""

import argparse
import time

import measure
import numpy as np
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier

import problems
from softmax_clf import SoftmaxRegressionClassifier


def standardised(problem):
    """Rows to fit and to score in float32, by the moments of the rows to fit; what does not vary is zero."""
    mean, scale = problem.X.mean(axis=0, dtype=np.float64), problem.X.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 1e-6 * np.abs(mean), scale, np.inf)
    return [((X - mean) / scale).astype(np.float32) for X in (problem.X, problem.X_test)]


def alpha(C, n_samples):
    """The penalty of SGDClassifier that is C's: its loss is a mean over rows."""
    return 1 / (C * n_samples)


def stream(clf, X, y, n_batches):
    """Seconds of one pass."""
    classes = np.unique(y)
    batches = [(X[rows], y[rows]) for rows in np.array_split(np.arange(len(y)), n_batches)]
    clf.partial_fit(X[:2], y[:2], classes=classes)  # compiles, and is forgotten
    clf = clone(clf)
    measure.quiet()
    start = time.perf_counter()
    for X_batch, y_batch in batches:
        clf.partial_fit(X_batch, y_batch, classes=classes)
    return clf, time.perf_counter() - start


def run(problem, C, n_batches):
    """Test accuracies and seconds on one problem, as plain data."""
    X, X_test = standardised(problem)
    y, n_samples = problem.y, len(problem.y)
    orders = {"in order": np.arange(n_samples), "sorted by class": np.argsort(y, kind="stable")}
    measure.note(f"{problem.name}, C={C:g}: fit")
    full = SoftmaxRegressionClassifier(C=C)
    full.fit(X[:2000], y[:2000])  # compiles
    seconds = measure.seconds(lambda: full.fit(X, y))
    records = [{"solver": "fit on all rows", "accuracy": full.score(X_test, problem.y_test), "seconds": seconds}]
    for order, rows in orders.items():
        for name, clf in {
            "partial_fit": SoftmaxRegressionClassifier(C=C),
            "SGDClassifier": SGDClassifier(loss="log_loss", alpha=alpha(C, n_samples), random_state=0),
        }.items():
            measure.note(f"{problem.name}, C={C:g}: {name}, {order}")
            clf, seconds = stream(clf, X[rows], y[rows], n_batches)
            accuracy = clf.score(X_test, problem.y_test)
            records.append({"solver": f"{name}, {order}", "accuracy": accuracy, "seconds": seconds})
    return {"problem": problem.name, "shape": problem.shape, "C": C, "n_batches": n_batches, "records": records}


def table(result):
    full = result["records"][0]["accuracy"]
    rows = [
        [r["solver"], f"{r['accuracy']:.2%}", f"{100 * (r['accuracy'] - full):+.2f}", measure.duration(r["seconds"])]
        for r in result["records"]
    ]
    n_samples, n_features, n_classes = result["shape"]
    return (
        f"\n## {result['problem']}, C = {result['C']:g}\n\n{n_samples:,} x {n_features:,}, {n_classes} classes; "
        f"{result['n_batches']} batches\n\n"
        + measure.markdown_table(["", "test accuracy", "points to the fit", "time"], rows)
    )


TEXT = """\
Each row is seen once, in float32 and standardised. SGDClassifier has `loss="log_loss"`, the penalty that belongs to C
and its default learning rate. Times are of one run each.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["cifar-features", "embeddings"], metavar="NAME")
    parser.add_argument("--C", type=float, nargs="+", default=[1.0])
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR", help="where the report goes")
    problems.add_arguments(parser)
    options = parser.parse_args()

    results = []
    for name in options.problems:
        problem = problems.load(name, options)
        for C in options.C:
            results.append(run(problem, C, options.batches))
            text = TEXT + "".join(map(table, results))
            save = (options.out, "online", "One pass over a stream", text, results)
            measure.save(*save, echo=False)
    measure.save(*save)


if __name__ == "__main__":
    main()
