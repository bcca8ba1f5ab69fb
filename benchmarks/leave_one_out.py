"""The choice of C by leave-one-out, `cv="loo"`, beside one by five folds, at the same values of C.

    python benchmarks/leave_one_out.py
    python benchmarks/leave_one_out.py --problem powerlaw-10000x256x10 --exact

With `--exact` every row is left out by its exact step, too, in float64: scores are compared with those by a sample.
"""

import argparse
import statistics
import time

import measure
import numpy as np

import problems
from softmax_clf import SoftmaxRegressionClassifierCV


def clocked(model, X, y):
    measure.quiet()
    start = time.perf_counter()
    model.fit(X, y)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", default="powerlaw-50000x512x10")
    parser.add_argument("--values", type=int, default=20, help="of C, from 1e-4 to 1e4")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--exact", action="store_true", help="leave out every row exactly, too: minutes or hours")
    parser.add_argument("--name", default="leave_one_out", help="of the report")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR", help="where the report goes")
    problems.add_arguments(parser)
    options = parser.parse_args()
    problem = problems.load(options.problem, options)
    X, y, Cs = problem.X, problem.y, np.logspace(-4, 4, options.values)
    models = {"cv=5": SoftmaxRegressionClassifierCV(Cs, cv=5), "cv='loo'": SoftmaxRegressionClassifierCV(Cs, cv="loo")}
    times: dict = {name: [] for name in models}
    for turn in range(options.rounds + 1):
        for name, model in models.items():
            seconds = clocked(model, X, y)
            measure.note(f"{name}: {seconds:.2f} s")
            if turn:  # kernels are compiled, or loaded from their cache
                times[name].append(seconds)
    seconds = {name: statistics.median(all_times) for name, all_times in times.items()}
    if options.exact:
        name = "cv='loo', score_tol=0"
        models[name] = SoftmaxRegressionClassifierCV(Cs, cv="loo", score_tol=0)
        seconds[name] = clocked(models[name], X, y)
        measure.note(f"{name}: {seconds[name]:.2f} s")
    rows = []
    for name, model in models.items():
        error = model.score_errors_[:, 0].max()
        shown = [f"{seconds[name] / seconds['cv=5']:.2f} x", f"{model.C_:.4g}", f"{model.best_score_:.6f}"]
        rows.append([name, measure.duration(seconds[name]), *shown, f"{error:.1e}"])
    n, p, n_classes = problem.shape
    text = (
        f"{options.values} values of C from 1e-4 to 1e4, {n:,} x {p} float32, {n_classes} classes, generated; the fit "
        "of the chosen C to all rows included.\n\n"
        + measure.markdown_table(["", "time", "of five folds", "C", "best score", "largest `score_errors_`"], rows)
    )
    if options.exact:
        sampled, exact = (model.scores_[0, 0] for model in list(models.values())[1:])
        stated = np.maximum(models["cv='loo'"].score_errors_[0, 0], np.finfo(float).tiny)
        text += (
            f"\nScores by the sample are off by at most {np.abs(sampled - exact).max():.1e}, and by "
            f"{np.sqrt(np.mean(np.square((sampled - exact) / stated))):.2f} of their stated errors, as the root of the "
            "mean of the squares.\n"
        )
    data = {"seconds": times, "scores": {name: model.scores_.tolist() for name, model in models.items()}}
    data["errors"] = models["cv='loo'"].score_errors_.tolist()
    measure.save(options.out, options.name, "The choice of C by leave-one-out", text, data)


if __name__ == "__main__":
    main()
