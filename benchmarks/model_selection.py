"""The choice of C: SoftmaxRegressionClassifierCV beside GridSearchCV over our own classifier and LogisticRegressionCV.

    python benchmarks/model_selection.py --cifar10 PATH --embeddings DIR
    python benchmarks/model_selection.py --parts defaults --name choice-of-C --cifar10 PATH --embeddings DIR

The part `defaults` is for what a user types: both with default settings, and LogisticRegressionCV with so many
iterations, too, that its scores agree with ours.
"""

import argparse
import contextlib
import io
import re
import statistics
import time
import warnings

import measure
import numpy as np
from hard_problems import FAMILIES

import problems

CS = np.logspace(-4, 4, 10)
N_FOLDS = 5
TOL = 1e-7  # of ours, alone and in GridSearchCV: so that scores at the largest C agree to 1e-4
PEER_TOL = 1e-6  # of LogisticRegressionCV, at most: with float32 data there is not much below
PROBE_CS = np.logspace(-6, 5, 45)  # those of the evaluation of DINOv2 (Oquab et al., 2023, appendix B)
PROBE_SHAPE = "powerlaw-50000x768x100"
N_PROBED = 3  # of them, by scikit-learn
DEFAULTS = ("relu-cifar-300", "one-hot-zipf", "digits", "embeddings")
DEFAULT_ROWS = 10_000  # of these problems at most
AGREED = 1e-3  # mean scores that differ by no more are equal


def patch_features(options):
    """CIFAR-10, 8,000 x 300: patch features of 75 centroids, standardised."""
    if options.cifar10 is None:
        return problems.load("powerlaw-8000x300x10")
    from softmax_clf.datasets import load_cifar10
    from softmax_clf.features import PatchKMeans

    data = load_cifar10(options.cifar10)
    encoder = PatchKMeans(75, image_shape=data.image_shape, channels_first=True, random_state=0)
    X = encoder.fit_transform(data.X_train[:8000])
    X -= X.mean(axis=0)
    X /= X.std(axis=0)
    return problems.Problem("cifar-features", X, data.y_train[:8000], X[:100], data.y_train[:100])


def clocked(function):
    """Seconds and the result of one call."""
    measure.quiet()
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = function()
    return time.perf_counter() - start, result


def cross_validation(problem, n_rounds, max_iter, peer_tol):
    """Ten values of C on five folds: times, mean scores and choices."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV

    X, y = problem.X, problem.y
    splits = list(StratifiedKFold(N_FOLDS).split(X, y))
    ours = SoftmaxRegressionClassifierCV(CS, cv=splits, tol=TOL)
    grid = GridSearchCV(SoftmaxRegressionClassifier(tol=TOL), {"C": CS}, cv=splits, scoring="neg_log_loss")
    ours.fit(X, y)  # kernels compiled or loaded from their cache
    times = {"ours": [], "grid": []}
    for _ in range(n_rounds):
        for name, model in (("ours", ours), ("grid", grid)):
            seconds, _ = clocked(lambda model=model: model.fit(X, y))
            times[name].append(seconds)
    measure.note(f"{problem.name}: {times}")

    # LogisticRegressionCV on the first fold, in one process on one BLAS thread: `n_jobs` of those are its fastest
    # setting, and all folds take as many times as long as there are rounds of processes, if these are undisturbed.
    peer = LogisticRegressionCV(
        Cs=CS,
        cv=splits[:1],
        scoring="neg_log_loss",
        tol=peer_tol,
        max_iter=max_iter,
        refit=False,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )
    with measure.blas_threads(1):
        peer_X = X if peer_tol >= PEER_TOL else X.astype(np.float64)  # float32 has not the digits
        seconds, peer = clocked(lambda: peer.fit(peer_X, y))
    n_rounds_of_folds = N_FOLDS / min(measure.cores(), N_FOLDS)
    ours_scores, grid_scores = ours.scores_[:, 0], grid.cv_results_["mean_test_score"]
    return {
        "problem": problem.name,
        "shape": problem.shape,
        "seconds": times,
        "peer_seconds_a_fold": seconds,
        "peer_seconds": seconds * n_rounds_of_folds,
        "peer_tol": peer_tol,
        "peer_max_iter": max_iter,
        "peer_n_iter": np.asarray(peer.n_iter_).ravel().tolist(),
        "mean_scores": ours_scores.mean(axis=0).tolist(),
        "grid_difference": float(np.abs(ours_scores.mean(axis=0) - grid_scores).max()),
        "peer_difference": np.abs(ours_scores[0] - np.asarray(peer.scores_).ravel()).tolist(),
        "C": [float(ours.C_), float(grid.best_params_["C"])],
        "first_fold_C": [float(CS[ours_scores[0].argmax()]), float(CS[np.asarray(peer.scores_).ravel().argmax()])],
    }


def linear_probe(max_iter):
    """45 values of C on a tenth held out, then a fit on all rows; and scikit-learn at some of the values."""
    from sklearn.linear_model import LogisticRegression

    from softmax_clf import SoftmaxRegressionClassifierCV

    problem = problems.load(PROBE_SHAPE)
    X, y = problem.X, problem.y
    model = SoftmaxRegressionClassifierCV(PROBE_CS, cv="holdout", scoring="accuracy", random_state=0)
    model.fit(X[:5000], y[:5000])  # kernels compiled or loaded from their cache
    seconds, model = clocked(lambda: model.fit(X, y))
    measure.note(f"{problem.name}: {seconds:.1f} s")
    train = np.random.default_rng(0).permutation(len(y))[: 9 * len(y) // 10]
    X_train, y_train = X[train], y[train]
    parts = []
    for C in PROBE_CS[np.linspace(0, len(PROBE_CS) - 1, N_PROBED).astype(int)]:
        peer = LogisticRegression(C=C, tol=1e-6, max_iter=max_iter)
        with measure.blas_threads(measure.cores()):
            peer_seconds, peer = clocked(lambda peer=peer: peer.fit(X_train, y_train))
        parts.append({"C": float(C), "seconds": peer_seconds, "n_iter": int(peer.n_iter_.max())})
        measure.note(f"{parts[-1]}")
    return {
        "shape": problem.shape,
        "seconds": seconds,
        "C": float(model.C_),
        "peer": parts,
        "peer_max_iter": max_iter,
        "peer_seconds": len(PROBE_CS) * statistics.mean(part["seconds"] for part in parts),
    }


def passes_a_fold(model, X, y):
    """Fits the model; how many passes its cells took, over the folds, by what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        model.set_params(verbose=2).fit(X, y)
    model.set_params(verbose=0)
    return sum(float(passes) for passes in re.findall(r"C=\S+: ([0-9.]+) passes a fold", printed.getvalue()))


def at_defaults(name, options):
    """Both with default settings on all folds; and LogisticRegressionCV on the first until its scores agree."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold

    from softmax_clf import SoftmaxRegressionClassifierCV

    problem = FAMILIES[name].load(options) if name in FAMILIES else problems.load(name, options)
    X, y = problem.X[:DEFAULT_ROWS], problem.y[:DEFAULT_ROWS]
    ours, exact = (SoftmaxRegressionClassifierCV(10, cv=5, **more) for more in ({}, {"score_tol": 0}))
    passes = [passes_a_fold(model, X, y) for model in (ours, exact)]  # kernels compiled or loaded from their cache
    times = []
    for _ in range(options.rounds):
        times.append([clocked(lambda model=model: model.fit(X, y))[0] for model in (ours, exact)])
    measure.note(f"{name}: {times} s, {passes} passes a fold, C={ours.C_:.3g}")

    settings = {"Cs": 10, "scoring": "neg_log_loss", "l1_ratios": (0.0,), "use_legacy_attributes": False}
    peer = LogisticRegressionCV(cv=5, **settings)
    seconds = {}
    for n_jobs in (None, measure.cores()):
        with measure.blas_threads(measure.cores() if n_jobs is None else 1):
            seconds[n_jobs], _ = clocked(lambda n_jobs=n_jobs: peer.set_params(n_jobs=n_jobs).fit(X, y))
    measure.note(f"{name}: LogisticRegressionCV {seconds} s, C={peer.C_:.3g}")

    first, ladder = list(StratifiedKFold(5).split(X, y))[:1], []
    longer = LogisticRegressionCV(cv=first, refit=False, tol=1e-6, **settings)
    for max_iter in options.ladder:
        with measure.blas_threads(1):
            taken, _ = clocked(lambda max_iter=max_iter: longer.set_params(max_iter=max_iter).fit(X, y))
        apart = float(np.abs(np.asarray(longer.scores_).ravel() - ours.scores_[0, 0]).max())
        # as many processes as cores take the folds in rounds, each on one thread
        ladder.append({"max_iter": max_iter, "seconds": taken * 5 / min(measure.cores(), 5), "apart": apart})
        measure.note(f"{name}: {ladder[-1]}")
        if apart <= AGREED:
            break
    best = int(ours.scores_[:, 0].mean(axis=0).argmax())
    means, exact_means, peer_means = (np.asarray(m.scores_).reshape(5, -1).mean(axis=0) for m in (ours, exact, peer))
    errors = ours.scores_[:, 0].std(axis=0, ddof=1) / np.sqrt(5)
    return {
        "problem": name,
        "shape": (*X.shape, len(np.unique(y))),
        "seconds": [row[0] for row in times],
        "seconds_exact": [row[1] for row in times],
        "passes": passes[0],
        "passes_exact": passes[1],
        "C": [float(ours.C_), float(exact.C_), float(peer.C_)],
        "off": float((np.abs(means - exact_means) / errors).max()),
        "stated": float((ours.score_errors_[:, 0].mean(axis=0) / errors).max()),
        "peer_seconds": {str(n_jobs): value for n_jobs, value in seconds.items()},
        "apart_at_the_best": float(abs(means[best] - peer_means[best])),
        "ladder": ladder,
    }


def report_defaults(results):
    rows = []
    for r in results:
        ours, exact = statistics.median(r["seconds"]), statistics.median(r["seconds_exact"])
        peer, last = min(r["peer_seconds"].values()), r["ladder"][-1]
        more = "" if last["apart"] <= AGREED else "> "
        rows.append(
            [
                f"{r['problem']}, {r['shape'][0]:,} x {r['shape'][1]}",
                measure.duration(ours),
                f"{r['passes']:.0f}",
                f"{exact / ours:.2f} x, {r['passes_exact']:.0f}",
                f"{r['off']:.3f} ({r['stated']:.3f})",
                f"{peer / ours:.1f} x",
                ", ".join(f"{C:.3g}" for C in (r["C"][0], r["C"][2])),
                f"{r['apart_at_the_best']:.1e}",
                f"{more}{last['seconds'] / ours:.0f} x ({last['max_iter']:,}, {last['apart']:.1e})",
            ]
        )
    header = [
        "data",
        "ours",
        "passes a fold",
        "all cells to `tol`: time, passes",
        "scores off by, in standard errors (stated)",
        "LogisticRegressionCV",
        "C: ours, LogisticRegressionCV",
        "mean scores apart there",
        "at equal scores (`max_iter`, apart)",
    ]
    return (
        "`SoftmaxRegressionClassifierCV(Cs=10, cv=5)` and `LogisticRegressionCV(Cs=10, cv=5, scoring='neg_log_loss')` "
        "with all else at its default, the latter with `n_jobs` processes or on all BLAS threads, whichever is faster; "
        "the fit on all rows included. Scores off by: the largest difference of a mean score from that with "
        f"`score_tol=0`. Equal scores: LogisticRegressionCV at `tol=1e-6` on the first fold, until no score there "
        f"differs from ours by more than {AGREED:g}, without the fit on all rows; its time is multiplied by the rounds "
        "that processes on one thread each would take for all folds. `>`: not yet.\n\n"
        + measure.markdown_table(header, rows)
    )


def report(results, probe, peer_tol):
    rows = []
    for r in results:
        ours, grid = (statistics.median(r["seconds"][name]) for name in ("ours", "grid"))
        cut_short = max(r["peer_n_iter"]) >= r["peer_max_iter"]
        rows.append(
            [
                f"{r['problem']}, {r['shape'][0]:,} x {r['shape'][1]}",
                measure.duration(ours),
                f"{grid / ours:.2f} x",
                f"{'> ' * cut_short}{r['peer_seconds'] / ours:,.0f} x",
                f"{r['grid_difference']:.1e}",
                f"{max(r['peer_difference']):.1e}",
                f"{r['C'][0]:.3g}, {r['C'][1]:.3g}",
                f"{r['first_fold_C'][0]:.3g}, {r['first_fold_C'][1]:.3g}",
            ]
        )
    header = [
        "data",
        "ours",
        "GridSearchCV",
        "LogisticRegressionCV",
        "scores: to grid",
        "to LogisticRegressionCV",
        "C: ours, grid",
        "C of fold 1: ours, LogisticRegressionCV",
    ]
    text = (
        f"{len(CS)} values of C from {CS[0]:g} to {CS[-1]:g}, {N_FOLDS} stratified folds, float32, tol={TOL:g}; times "
        "as multiples of ours, the fit on all rows included (LogisticRegressionCV without it). GridSearchCV is over "
        "our own classifier, its fits on all cores one after another. LogisticRegressionCV (L-BFGS, "
        f"tol={peer_tol:g}{', float64' if peer_tol < PEER_TOL else ''}) was run "
        "on the first fold, one process on one BLAS thread, and its time multiplied by the rounds that `n_jobs` "
        "processes would take for all folds; `>`: it stopped at max_iter. Scores: the largest difference for any C, of "
        "means over folds (grid) and of the first fold.\n\n" + measure.markdown_table(header, rows)
    )
    if probe:
        values = ", ".join(f"{part['seconds']:.0f} s at C={part['C']:.1g} ({part['n_iter']})" for part in probe["peer"])
        cut_short = max(part["n_iter"] for part in probe["peer"]) >= probe["peer_max_iter"]
        n, p, n_classes = probe["shape"]
        text += (
            f"\n## A linear probe: {len(PROBE_CS)} values of C, a tenth held out\n\n{n:,} x {p} float32, {n_classes} "
            f"classes, generated; the fit on all rows included: {measure.duration(probe['seconds'])}. scikit-learn's "
            f"LogisticRegression at {N_PROBED} of the values (iterations): {values}; for all, one after another, "
            f"{'more than ' * cut_short}{measure.duration(probe['peer_seconds'])} at that rate, "
            f"{'> ' * cut_short}{probe['peer_seconds'] / probe['seconds']:,.0f} x.\n"
        )
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["features", "embeddings", "probe"], metavar="PART")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-iter", type=int, default=10_000, help="of scikit-learn on the small features (10,000)")
    parser.add_argument("--large-max-iter", type=int, default=500, help="of scikit-learn on the others (500)")
    parser.add_argument(
        "--peer-tol", type=float, default=PEER_TOL, help="of LogisticRegressionCV (1e-6); a smaller one: in float64"
    )
    parser.add_argument("--name", default="model_selection", help="of the report")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR")
    parser.add_argument("--ladder", nargs="+", type=int, default=[400, 1600], help="iterations until scores agree")
    parser.add_argument("--defaults", nargs="+", default=DEFAULTS, metavar="PROBLEM", help="problems of that part")
    problems.add_arguments(parser)
    options = parser.parse_args()

    if "defaults" in options.parts:
        data = []
        for name in options.defaults:
            data.append(at_defaults(name, options))
            measure.save(options.out, options.name, "The choice of C by default", report_defaults(data), data)
        return

    results = []
    if "features" in options.parts:
        results.append(cross_validation(patch_features(options), options.rounds, options.max_iter, options.peer_tol))
    if "embeddings" in options.parts:
        problem = problems.load("embeddings", options)
        results.append(cross_validation(problem, options.rounds, options.large_max_iter, options.peer_tol))
    probe = linear_probe(options.large_max_iter) if "probe" in options.parts else None
    data = {"cross_validation": results, "linear_probe": probe}
    measure.save(options.out, options.name, "The choice of C", report(results, probe, options.peer_tol), data)


if __name__ == "__main__":
    main()
