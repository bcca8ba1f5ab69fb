"""Hard problems: does a fit get to the minimum there, and how soon?

    python benchmarks/hard.py --ours --quick                       a selection of pairs of problem and C, ours alone
    python benchmarks/hard.py --ours --cifar10 PATH --embeddings DIR --minima DIR

The problems are those of hard_problems.py, the true minimum is that of minimum.py: slow, so kept in --minima.
"""

import argparse
import contextlib
import io
import math
import sys
import time
import unittest.mock
import warnings

import hard_problems
import measure
from minimum import minimum

QUICK = {
    "relu-digits": (1.0,),
    "rare-features": (1.0, 1e4),
    "one-hot-zipf": (1.0, 1e3),
    "one-hot-interactions": (1e3,),
    "bigram-tfidf": (100.0,),
    "wine-cubic": (1e4,),
    "log-normal": (1e3,),
    "nearly-equal": (1.0,),
    "shifted": (100.0,),
    "square": (1e3,),
    "iris-quadratic": (math.inf,),
    "relu-cifar-300": (1.0, 1e4),
}


def chosen(options):
    """The (problem, C) that the options ask for, each problem loaded once."""
    wanted = QUICK if options.quick else {name: f.Cs for name, f in hard_problems.FAMILIES.items()}
    for name in options.problems or wanted:
        family = hard_problems.FAMILIES[name]
        if options.only is not None and family.held_out != (options.only == "held_out"):
            continue
        if not family.available(options):
            measure.note(f"{name} left out: it needs {' and '.join('--' + need for need in family.needs)}")
            continue
        problem = family.load(options)
        for C in options.C or wanted.get(name, family.Cs):
            yield problem, C


def counted_fit(problem, C, **parameters):
    """A fit of ours, the seconds that it took, and the passes and Hessian products of its objectives."""
    from softmax_clf import SoftmaxRegressionClassifier
    from softmax_clf.objective import SoftmaxObjective

    objectives, begin = [], SoftmaxObjective.__init__

    def kept(self, *args, **kwargs):
        objectives.append(self)
        begin(self, *args, **kwargs)

    model = SoftmaxRegressionClassifier(C=C, **parameters)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        unittest.mock.patch.object(SoftmaxObjective, "__init__", kept),
    ):
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        model.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        seconds = time.perf_counter() - start
    n_passes = sum(objective.n_passes for objective in objectives)
    return model, seconds, n_passes, sum(getattr(objective, "n_products", 0) for objective in objectives)


def check(problem, C, options):
    """One row of what a fit of ours says of itself, and what is true; a failed fit is a row as well."""
    null, lowest = problem.null_objective(), minimum(problem, C, options.minima)
    try:
        model, seconds, n_passes, n_products = counted_fit(problem, C, tol=options.tol, n_jobs=options.n_jobs)
    except Exception as error:
        return {"problem": problem.name, "C": C, "flags": [repr(error)]}
    gap = (problem.objective(model.coef_, model.intercept_, C) - lowest.objective) / null
    unsure = lowest.bound / null + 1e-12  # of F*, and of the rounding in F
    stated = model.suboptimality_ / null
    flags = {
        "not converged": not model.converged_,
        "gap above tol": gap > options.tol + unsure,
        "gap above suboptimality_": gap > stated + unsure,
        "F* unsure": lowest.bound > 1e-9 * null,
    }
    return {
        "problem": problem.name,
        "C": C,
        "n_iter": model.n_iter_,
        "passes": n_passes,
        "products": n_products,
        "seconds": seconds,
        "converged": bool(model.converged_),
        "suboptimality": stated,
        "gap": gap,
        "flags": [name for name, flagged in flags.items() if flagged],
    }


COLUMNS = {  # of the table that --ours prints: width and format
    "problem": (22, ""),
    "C": (7, "g"),
    "n_iter": (6, ""),
    "passes": (6, ""),
    "products": (8, ""),
    "seconds": (8, ".3f"),
    "suboptimality": (13, ".1e"),
    "gap": (9, ".1e"),
}


def check_ours(options):
    print("  ".join(f"{name:>{width}}" for name, (width, _) in COLUMNS.items()) + "  flags")
    rows = []
    for problem, C in chosen(options):
        row = check(problem, C, options)
        cells = [
            f"{row[name]:>{width}{form}}" if name in row else " " * width for name, (width, form) in COLUMNS.items()
        ]
        print("  ".join(cells) + "  " + ", ".join(row["flags"]), flush=True)
        rows.append(row)
    done = [row for row in rows if "gap" in row]
    if not done:
        sys.exit("no problems chosen")
    effort = sorted(row["passes"] + row["products"] for row in done)
    print(
        f"{len(rows)} pairs, {sum(not row['flags'] for row in rows)} without a flag; passes and products: median "
        f"{effort[len(effort) // 2]}, at most {effort[-1]}; {sum(row['seconds'] for row in done):.1f} s"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", action="store_true", help="only fits of ours, and what they say of themselves")
    parser.add_argument("--quick", action="store_true", help="a selection of the pairs")
    parser.add_argument("--problems", nargs="+", choices=hard_problems.FAMILIES, metavar="NAME")
    parser.add_argument("--only", choices=("development", "held_out"), help="one part of the families")
    parser.add_argument("--C", type=float, nargs="+", help="instead of each problem's own values")
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--n-jobs", type=int, help="threads of --ours (all; 1 where others compute as well)")
    parser.add_argument("--minima", metavar="DIR", help="where true minima are kept once they are computed")
    hard_problems.add_arguments(parser)
    options = parser.parse_args()
    check_ours(options)


if __name__ == "__main__":
    main()
