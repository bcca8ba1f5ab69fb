"""Whole paths of sparse coefficients beside R's glmnet, at equal objectives.

Every solver fits the same sequence of penalties, from the largest at which all coefficients are zero down to a share of
it, each from where the last one was. Objectives are calculated anew from the coefficients, by NumPy, in float64;
what is shown of them is how far each run is above the least of all, at its worst penalty, relative to the null model's.
Each solver runs with several tolerances of its own: compared are the fastest that come near enough (`--equal`).
On one thread that is in seconds of the processor, which hold on a machine that others use, too.

    python benchmarks/sparse.py                                # glmnet where Rscript and its package are found
    python benchmarks/sparse.py embeddings --cifar10 PATH --embeddings DIR --tol 1e-4 --thresh 1e-8
"""

import argparse
import pathlib
import shutil
import subprocess
import tempfile
import time
import warnings

import hard_problems
import measure
import numpy as np
import scipy.sparse

import problems

# ------------------------------------------------------------------------------------------------------------- data


def drawn(rng, X, n_classes, n_informative):
    """Labels from a softmax of few of the columns."""
    coef = np.zeros((n_classes, X.shape[1]))
    used = rng.choice(X.shape[1], n_informative, replace=False)
    coef[:, used] = 1.5 * rng.standard_normal((n_classes, n_informative))
    return hard_problems.drawn(rng, X @ coef.T)


def gaussian(options):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3000))
    return X, drawn(rng, X, 5, 10), 1.0, 0.05


def correlated(rng, n_samples, n_blocks, block_size, share=0.7):
    """Columns of unit variance, in blocks whose columns have a factor in common."""
    factors = np.repeat(rng.standard_normal((n_samples, n_blocks)), block_size, axis=1)
    own = rng.standard_normal((n_samples, n_blocks * block_size))
    return np.sqrt(share) * factors + np.sqrt(1 - share) * own


def blocks(options):
    rng = np.random.default_rng(1)
    X = correlated(rng, 200, 60, 40)
    return X, drawn(rng, X, 4, 12), 0.9, 0.02


def genes(options):
    rng = np.random.default_rng(2)
    X = correlated(rng, 100, 400, 50)
    return X, drawn(rng, X, 4, 20), 1.0, 0.05


def relu(options):
    X, y = hard_problems.bundled("digits")
    rng = np.random.default_rng(3)
    X = np.vstack([X, np.roll(X, 1, axis=1)])[:3000]
    return hard_problems.random_relu(rng, X, 200), np.concatenate([y, y])[:3000], 1.0, 0.002


def digits(options):
    X, y = hard_problems.bundled("digits")
    return hard_problems.standardised(X), y, 1.0, 0.005


def embeddings(options):
    if options.embeddings and options.cifar10:
        X, y = hard_problems.embeddings(options, options.rows or 5000)
    else:
        X, y = problems.powerlaw(options.rows or 5000, 512, 10)
        X = hard_problems.standardised(X)
    return X.astype(np.float64), y, 1.0, 0.01


def text(options):
    X, y = problems.text(options.rows or 11_000, 100_000, 20, tfidf=False)
    return X, y, 1.0, 0.05


def levels(options):
    """One-hot columns of three factors, most of whose levels are rare."""
    rng = np.random.default_rng(4)
    sizes = 200, 1000, 3000
    parts = [hard_problems.zipf_levels(rng, 5000, size) for size in sizes]
    effects = [rng.standard_normal((size, 4)) for size in sizes]
    y = hard_problems.drawn(rng, sum(effect[part] for effect, part in zip(effects, parts, strict=True)))
    rows = np.arange(5000)
    columns = [
        scipy.sparse.csr_matrix((np.ones(5000), (rows, part)), (5000, s)) for part, s in zip(parts, sizes, strict=True)
    ]
    return scipy.sparse.hstack(columns).tocsr(), y, 1.0, 0.01


PROBLEMS = {f.__name__: f for f in (gaussian, blocks, genes, relu, digits, embeddings, text, levels)}


# ---------------------------------------------------------------------------------------------------------- solvers


def largest_penalty(X, target, l1_ratio, grouped):
    """The least strength of the penalty at which all coefficients are zero."""
    derivatives = X.T @ (target - target.mean(axis=0))
    sizes = np.linalg.norm(derivatives, axis=1) if grouped else np.abs(derivatives)
    return sizes.max() / (len(target) * l1_ratio)


def ours(X, y, strengths, l1_ratio, tol, n_jobs, grouped):
    from softmax_clf import softmax_regression_path

    Cs = 1 / (strengths * X.shape[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start, worked = time.perf_counter(), time.process_time()
        options = {"l1_ratio": l1_ratio, "l1_group": "class" if grouped else None}
        _, coefs, intercepts, _ = softmax_regression_path(X, y, Cs=Cs, tol=tol, n_jobs=n_jobs, **options)
        seconds = time.perf_counter() - start, time.process_time() - worked
        return seconds, coefs, intercepts


GLMNET = """
suppressMessages(library(glmnet))
folder <- commandArgs(TRUE)[1]
read <- function(name, what, n) readBin(file.path(folder, name), what, n)
sizes <- read("sizes", "integer", 5)
n <- sizes[1]; p <- sizes[2]; n_strengths <- sizes[3]; nnz <- sizes[4]
y <- factor(read("y", "integer", n))
strengths <- read("strengths", "double", n_strengths)
options <- read("options", "double", 2)
if (nnz > 0) {
  X <- new("dgCMatrix", i = read("indices", "integer", nnz), p = read("indptr", "integer", p + 1),
           x = read("data", "double", nnz), Dim = c(n, p))
} else X <- matrix(read("X", "double", n * p), n, p)
kind <- if (sizes[5] == 1) "grouped" else "ungrouped"
seconds <- summary(system.time(fit <- glmnet(X, y, family = "multinomial", alpha = options[1], lambda = strengths,
  standardize = FALSE, thresh = options[2], type.multinomial = kind, maxit = 1e7)))[c("elapsed", "user", "system")]
out <- file(file.path(folder, "out"), "wb")
writeBin(seconds, out)
writeBin(length(fit$lambda), out)
for (beta in fit$beta) {
  writeBin(length(beta@x), out); writeBin(beta@i, out); writeBin(beta@p, out); writeBin(beta@x, out)
}
writeBin(as.vector(fit$a0), out)
close(out)
"""


def glmnet(X, y, strengths, l1_ratio, thresh, grouped=False):
    """Seconds of the fit alone, by the clock and of the processor, coefficients and intercepts.

    There are fewer penalties where it has given up on some.
    """
    n, p = X.shape
    n_classes = len(np.unique(y))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)

        def write(name, values, dtype):
            np.asarray(values, dtype).tofile(folder / name)

        sparse = scipy.sparse.csc_matrix(X) if scipy.sparse.issparse(X) else None
        write("sizes", [n, p, len(strengths), 0 if sparse is None else sparse.nnz, grouped], np.int32)
        write("y", y, np.int32)
        write("strengths", strengths, np.float64)
        write("options", [l1_ratio, thresh], np.float64)
        if sparse is None:
            write("X", np.asarray(X, np.float64).T, np.float64)
        else:
            write("indices", sparse.indices, np.int32)
            write("indptr", sparse.indptr, np.int32)
            write("data", sparse.data, np.float64)
        (folder / "fit.R").write_text(GLMNET)
        subprocess.run(["Rscript", folder / "fit.R", folder], check=True)
        with open(folder / "out", "rb") as out:
            elapsed, user, system = np.fromfile(out, np.float64, 3)
            n_fitted = int(np.fromfile(out, np.int32, 1)[0])
            coefs = []
            for _ in range(n_classes):
                nnz = int(np.fromfile(out, np.int32, 1)[0])
                indices, indptr = np.fromfile(out, np.int32, nnz), np.fromfile(out, np.int32, n_fitted + 1)
                data = np.fromfile(out, np.float64, nnz)
                coefs.append(scipy.sparse.csc_matrix((data, indices, indptr), (p, n_fitted)))
            intercepts = np.fromfile(out, np.float64).reshape(n_fitted, n_classes)
    by_penalty = [scipy.sparse.vstack([coef[:, [q]].T for coef in coefs]).tocsr() for q in range(n_fitted)]
    return (elapsed, user + system), by_penalty, intercepts


def versions_of_glmnet():
    """Those of R and of its package, in a line; empty where they are not."""
    if not shutil.which("Rscript"):
        return ""
    program = 'cat(R.version.string, ", glmnet ", as.character(packageVersion("glmnet")), sep = "")'
    return subprocess.run(["Rscript", "-e", program], check=True, capture_output=True, text=True).stdout


def objective(X, target, coef, intercept, strength, l1_ratio, grouped):
    """F of the classifier's docstring; with norms of the features' coefficients where they are grouped."""
    coef = scipy.sparse.csr_matrix(coef)
    scores = np.asarray((X @ coef.T).todense() if scipy.sparse.issparse(X) else (coef @ X.T).T) + intercept
    highest = scores.max(axis=1)
    loss = highest + np.log(np.exp(scores - highest[:, None]).sum(axis=1)) - (scores * target).sum(axis=1)
    values = coef.data.astype(np.float64)
    squares = np.bincount(coef.indices, np.square(values), coef.shape[1])
    l1 = np.sqrt(squares).sum() if grouped else np.abs(values).sum()
    return loss.mean() + strength * ((1 - l1_ratio) / 2 * squares.sum() + l1_ratio * l1)


def saga(X, y, strength, l1_ratio, is_near):
    """CPU seconds of scikit-learn's saga, from zero, with as few epochs as are enough, to a factor of two."""
    from sklearn.linear_model import LogisticRegression

    n_epochs = 8
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {"l1_ratio": l1_ratio, "penalty": "elasticnet", "max_iter": n_epochs, "tol": 0.0}
            clf = LogisticRegression(C=1 / (strength * X.shape[0]), solver="saga", random_state=0, **options)
            worked = time.process_time()
            clf.fit(X, y)
            worked = time.process_time() - worked
        if is_near(clf.coef_, clf.intercept_):
            return worked
        if worked > MOST_SAGA:
            return np.inf
        n_epochs *= 2


MOST_SAGA = 15.0  # seconds, after which no more epochs are tried


# ---------------------------------------------------------------------------------------------------------- reports


class Problem:
    """One data set with its penalties. Parameters as of :func:`compare`."""

    def __init__(self, name, options):
        self.name = name
        self.X, self.y, self.l1_ratio, least = PROBLEMS[name](options)
        self.l1_ratio, self.grouped = options.l1_ratio or self.l1_ratio, options.grouped
        self.target = (self.y[:, None] == np.unique(self.y)).astype(np.float64)
        largest = largest_penalty(self.X, self.target, self.l1_ratio, self.grouped)
        self.strengths = largest * np.geomspace(1, options.down_to or least, options.penalties)
        self.null = -self.target.mean(axis=0) @ np.log(self.target.mean(axis=0))

    def objective(self, q, coef, intercept):
        args = self.strengths[q], self.l1_ratio, self.grouped
        return objective(self.X, self.target, coef, intercept, *args)

    def runs(self, options):
        """What each solver found, by its name, its tolerance and its threads."""
        args, runs = (self.X, self.y), {}
        for n_jobs in options.jobs:
            for tol in options.tol:
                ours(*args, self.strengths[:5], self.l1_ratio, tol, n_jobs, self.grouped)  # compiles, or loads
                runs["ours", tol, n_jobs] = ours(*args, self.strengths, self.l1_ratio, tol, n_jobs, self.grouped)
        if shutil.which("Rscript") and not options.alone:
            for thresh in options.thresh:
                runs["glmnet", thresh, 1] = glmnet(*args, self.strengths, self.l1_ratio, thresh, self.grouped)
        for who, (seconds, _, _) in runs.items():
            measure.note(f"{self.name}: {who}: {seconds[1]:.3g} s of the processor")
        return runs


def compare(name, options):
    """All runs on one problem, and a line of the fastest of each solver that is near enough to the best."""
    problem = Problem(name, options)
    runs = problem.runs(options)
    n_fitted = min(len(coefs) for _, coefs, _ in runs.values())
    values = {
        who: np.array([problem.objective(q, coefs[q], intercepts[q]) for q in range(n_fitted)])
        for who, (_, coefs, intercepts) in runs.items()
    }
    best = np.min(list(values.values()), axis=0)
    shape, rows, near = "x".join(map(str, problem.X.shape)), [], {}
    for who, (seconds, coefs, _) in runs.items():
        above = (values[who] - best).max() / problem.null
        active = int(np.count_nonzero(np.asarray(abs(scipy.sparse.csr_matrix(coefs[n_fitted - 1])).sum(axis=0))))
        solver, tol, n_jobs = who
        rows.append(
            [name, shape, problem.l1_ratio, solver, f"{tol:g}", n_jobs, f"{seconds[0]:.3g}", f"{seconds[1]:.3g}"]
            + [f"{above:.1e}", n_fitted, active]
        )
        if above <= options.equal:
            near.setdefault((solver, n_jobs), []).append((seconds[1] if n_jobs == 1 else seconds[0], tol, seconds))
    best_of = {key: min(found) for key, found in near.items()}
    line = [name, shape, problem.l1_ratio]
    peer = best_of.get(("glmnet", 1))
    line.append("none" if peer is None else f"{peer[2][1]:.3g} s at {peer[1]:g}")
    for n_jobs in options.jobs:
        found = best_of.get(("ours", n_jobs))
        line.append("none" if found is None else f"{found[0]:.3g} s at {found[1]:g}")
        which = 1 if n_jobs == 1 else 0  # of the processor on one thread, by the clock on more
        line.append("-" if found is None or peer is None else f"{peer[2][which] / found[2][which]:.2g}")
    if options.saga:
        line.append(beside_saga(problem, best, options))
    return rows, line


def beside_saga(problem, best, options):
    """How many times as fast single fits are as saga's, from zero to 1e-4 of the null objective; the median."""
    ratios = []
    for q in np.linspace(0, len(best) - 1, options.saga + 1).astype(int)[1:]:

        def is_near(coef, intercept, q=q):
            return problem.objective(q, coef, intercept) - best[q] <= 1e-4 * problem.null

        args = problem.X, problem.y, problem.strengths[q : q + 1], problem.l1_ratio
        (_, worked), coefs, intercepts = ours(*args, 1e-4, 1, problem.grouped)
        if not is_near(coefs[0], intercepts[0]):
            return "none"
        peer = saga(problem.X, problem.y, problem.strengths[q], problem.l1_ratio, is_near)
        ratios.append((peer if np.isfinite(peer) else MOST_SAGA) / worked)
        measure.note(f"{problem.name}: saga {peer:.3g} s, ours {worked:.3g} s")
    return f"{np.median(ratios):.2g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=["gaussian", "blocks", "genes"], choices=[*PROBLEMS, []])
    parser.add_argument("--penalties", type=int, default=50)
    parser.add_argument("--down-to", type=float, help="the least penalty, as a share of the largest")
    parser.add_argument("--l1-ratio", type=float)
    parser.add_argument("--grouped", action="store_true", help="features are in for all classes or for none")
    parser.add_argument("--tol", type=float, nargs="+", default=[1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
    parser.add_argument(
        "--thresh", type=float, nargs="+", default=[1e-5, 1e-6, 1e-7, 1e-8, 1e-9], help="glmnet's own tolerance"
    )
    parser.add_argument("--equal", type=float, default=1e-6, help="objectives this near the best count as equal")
    parser.add_argument("--saga", type=int, default=0, help="single fits beside saga, at so many of the penalties")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--alone", action="store_true", help="without glmnet")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--cifar10", metavar="PATH")
    parser.add_argument("--embeddings", metavar="DIR")
    parser.add_argument("--out", metavar="DIR", help="where to write the report")
    parser.add_argument("--name", default="sparse", help="of the report")
    options = parser.parse_args()
    header = ["data", "shape", "l1_ratio", "solver", "tolerance", "threads", "s", "CPU s", "above the best"]
    header += ["penalties", "active features"]
    titles = ["data", "shape", "l1_ratio", "glmnet, CPU s"]
    for n_jobs in options.jobs:
        titles += [f"ours on {n_jobs}, {'CPU s' if n_jobs == 1 else 's'}", "times as fast"]
    titles += ["times as fast as saga"] if options.saga else []
    pairs = [compare(name, options) for name in options.problems]
    rows, lines = [row for rows, _ in pairs for row in rows], [line for _, line in pairs]
    tables = measure.markdown_table(titles, lines), measure.markdown_table(header, rows)
    table = "\n".join([versions_of_glmnet() + "\n", *tables])
    if options.out:
        data = [dict(zip(header, row, strict=True)) for row in rows]
        measure.save(options.out, options.name, "Sparse coefficients", table, data)
    else:
        print(table)


if __name__ == "__main__":
    main()
