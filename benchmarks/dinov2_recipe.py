"""The logistic regression of DINOv2's evaluation: ours in one call, scikit-learn in its loop.

python benchmarks/dinov2_recipe.py --cifar10 PATH --embeddings DIR

Oquab et al. (2023, appendix B): 45 values of C from 1e-6 to 1e5, each fitted to the training rows; the one with the
best accuracy on rows held out; a fit with it to both.
"""

import argparse
import time
import warnings

import measure
import numpy as np
from sklearn.linear_model import LogisticRegression

import problems

CS = 10 ** np.linspace(-6, 5, 45)
MAX_ITER = 1000  # of the recipe
SHARE = 0.1  # of the rows, held out


def one_call(X, y, train, val, tol):
    """The recipe, by ours."""
    from softmax_clf import SoftmaxRegressionClassifierCV

    clf = SoftmaxRegressionClassifierCV(CS, cv=[(train, val)], scoring="accuracy", tol=tol, max_iter=MAX_ITER)
    return clf.fit(X, y)


def a_loop(X, y, train, val, places, tol):
    """The recipe, by scikit-learn, at some values of C: seconds, score, iterations of each; seconds of the last fit."""
    X_train, y_train, X_val, y_val = X[train], y[train], X[val], y[val]
    seconds, scores, n_iters = [], [], []
    for place in places:
        clf = LogisticRegression(C=CS[place], tol=tol, max_iter=MAX_ITER)
        start = time.perf_counter()
        score = clf.fit(X_train, y_train).score(X_val, y_val)
        seconds.append(time.perf_counter() - start)
        scores.append(score)
        n_iters.append(int(clf.n_iter_.max()))
        measure.note(f"scikit-learn, C={CS[place]:.3g}: {score:.2%} in {seconds[-1]:.1f} s, {n_iters[-1]} iterations")
    C = CS[places[int(np.argmax(scores))]]
    start = time.perf_counter()
    clf = LogisticRegression(C=C, tol=tol, max_iter=MAX_ITER).fit(X, y)
    return seconds, scores, n_iters, time.perf_counter() - start, clf


def report(result):
    ours, peer = result["ours"], result["peer"]
    n, p, n_classes = result["shape"]
    some = peer["n_values"] < len(CS)
    cut_short = "> " * (max(peer["n_iters"]) >= MAX_ITER)
    rows = [
        ["ours, one call", measure.duration(ours["seconds"]), "1", f"{ours['C']:.3g}"],
        [
            "scikit-learn, its loop" + f", reckoned from {peer['n_values']} values" * some,
            cut_short + measure.duration(peer["seconds"]),
            f"{cut_short}{peer['seconds'] / ours['seconds']:.0f} x",
            f"{peer['C']:.3g}",
        ],
    ]
    for row, part in zip(rows, (ours, peer), strict=True):
        row += [f"{part['held_out']:.2%}", f"{part['test']:.2%}"]
    header = ["", "seconds", "to ours", "C", "accuracy on the rows held out", "on test rows"]
    return (
        f"{result['problem']}, {n:,} x {p} float32, {n_classes} classes; {len(CS)} values of C from {CS[0]:.0e} to "
        f"{CS[-1]:.0e}, {SHARE:.0%} of the rows held out, a fit on all with the best. At most {MAX_ITER} iterations a "
        f"fit; tol {result['tol']:g} of ours (relative suboptimality), {result['peer_tol']:g} of scikit-learn (largest "
        f"element of the gradient), whose fits had {', '.join(map(str, peer['n_iters']))} iterations on "
        f"{peer['threads']} BLAS threads, the faster of one and all; `>`: some ended at max_iter.\n\n"
        + measure.markdown_table(header, rows)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", default="embeddings", help="of problems.py (embeddings)")
    parser.add_argument(
        "--peer-values", type=int, default=5, help="values of C that scikit-learn is run at (5; 45: all)"
    )
    parser.add_argument("--tol", type=float, default=1e-6, help="of ours (1e-6)")
    parser.add_argument("--peer-tol", type=float, default=1e-4, help="of scikit-learn (its default, 1e-4)")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR")
    problems.add_arguments(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # fits that do not converge: the report tells

    problem = problems.load(options.problem, options)
    X, y = problem.X, problem.y
    rows = np.random.default_rng(0).permutation(len(y))
    val, train = np.split(rows, [round(SHARE * len(y))])
    one_call(X[:2000], y[:2000], np.arange(1000), np.arange(1000, 2000), options.tol)  # kernels are compiled or loaded
    measure.quiet()
    start = time.perf_counter()
    clf = one_call(X, y, train, val, options.tol)
    ours = {"seconds": time.perf_counter() - start, "C": clf.C_, "held_out": float(clf.scores_.max())}
    ours["test"] = float(np.mean(clf.predict(problem.X_test) == problem.y_test))
    measure.note(f"ours: {ours}")

    places = np.unique(np.linspace(0, len(CS) - 1, options.peer_values).round().astype(int))
    measure.quiet()
    n_threads = measure.fastest_threads(lambda: LogisticRegression(max_iter=10).fit(X, y))
    with measure.blas_threads(n_threads):
        seconds, scores, n_iters, last, clf = a_loop(X, y, train, val, places, options.peer_tol)
    peer = {"seconds": len(CS) * np.mean(seconds) + last, "C": clf.C, "held_out": max(scores), "n_iters": n_iters}
    peer |= {"n_values": len(places), "test": float(clf.score(problem.X_test, problem.y_test))}
    peer["threads"] = n_threads
    peer["each"] = [[float(CS[place]), *pair] for place, *pair in zip(places, seconds, scores, strict=True)]
    result = {"problem": problem.name, "shape": problem.shape, "tol": options.tol, "peer_tol": options.peer_tol}
    result |= {"ours": ours, "peer": peer}
    measure.save(
        options.out, "dinov2_recipe", "The evaluation of DINOv2, a logistic regression", report(result), result
    )


if __name__ == "__main__":
    main()
