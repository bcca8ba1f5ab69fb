"""Whole paths of sparse coefficients beside R's glmnet, at equal objectives.

Every solver fits the same sequence of penalties, from the largest at which all coefficients are zero down to a share of
it, each from where the last one was. Objectives are calculated anew from the coefficients, by NumPy alone, in float64;
what is shown of them is how far glmnet's and ours are above the smaller of both, relative to the null model's.

    python benchmarks/sparse.py gaussian blocks genes          # glmnet where Rscript and its package are found
    python benchmarks/sparse.py embeddings --cifar10 PATH --embeddings DIR --penalties 20
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
        start = time.perf_counter()
        options = {"l1_ratio": l1_ratio, "l1_group": "class" if grouped else None}
        _, coefs, intercepts, _ = softmax_regression_path(X, y, Cs=Cs, tol=tol, n_jobs=n_jobs, **options)
        return time.perf_counter() - start, coefs, intercepts


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
seconds <- system.time(fit <- glmnet(X, y, family = "multinomial", alpha = options[1], lambda = strengths,
  standardize = FALSE, thresh = options[2], type.multinomial = kind, maxit = 1e7))[["elapsed"]]
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
    """Seconds of the fit alone, coefficients and intercepts; fewer penalties where it has given up on some."""
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
            seconds = float(np.fromfile(out, np.float64, 1)[0])
            n_fitted = int(np.fromfile(out, np.int32, 1)[0])
            coefs = []
            for _ in range(n_classes):
                nnz = int(np.fromfile(out, np.int32, 1)[0])
                indices, indptr = np.fromfile(out, np.int32, nnz), np.fromfile(out, np.int32, n_fitted + 1)
                data = np.fromfile(out, np.float64, nnz)
                coefs.append(scipy.sparse.csc_matrix((data, indices, indptr), (p, n_fitted)))
            intercepts = np.fromfile(out, np.float64).reshape(n_fitted, n_classes)
    by_penalty = [scipy.sparse.vstack([coef[:, [q]].T for coef in coefs]).tocsr() for q in range(n_fitted)]
    return seconds, by_penalty, intercepts


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


# ---------------------------------------------------------------------------------------------------------- reports


def compare(name, options):
    X, y, l1_ratio, least = PROBLEMS[name](options)
    l1_ratio = options.l1_ratio or l1_ratio
    target = (y[:, None] == np.unique(y)).astype(np.float64)
    grouped = options.grouped
    strengths = largest_penalty(X, target, l1_ratio, grouped) * np.geomspace(
        1, options.down_to or least, options.penalties
    )
    null = -target.mean(axis=0) @ np.log(target.mean(axis=0))
    runs = {}
    for n_jobs in options.jobs:
        for tol in options.tol:
            ours(X, y, strengths[:2], l1_ratio, tol, n_jobs, grouped)  # compiles
            runs[f"ours, {tol:g}, {n_jobs} threads"] = ours(X, y, strengths, l1_ratio, tol, n_jobs, grouped)
            measure.note(f"{name}: ours at {tol:g} on {n_jobs}: {runs[f'ours, {tol:g}, {n_jobs} threads'][0]:.3g} s")
    if shutil.which("Rscript") and not options.alone:
        for thresh in options.thresh:
            runs[f"glmnet, {thresh:g}"] = glmnet(X, y, strengths, l1_ratio, thresh, grouped)
            measure.note(f"{name}: glmnet at {thresh:g}: {runs[f'glmnet, {thresh:g}'][0]:.3g} s")
    n_fitted = min(len(coefs) for _, coefs, _ in runs.values())
    values = {
        who: np.array(
            [objective(X, target, coefs[q], intercepts[q], strengths[q], l1_ratio, grouped) for q in range(n_fitted)]
        )
        for who, (_, coefs, intercepts) in runs.items()
    }
    best = np.min(list(values.values()), axis=0)
    rows = []
    for who, (seconds, coefs, _) in runs.items():
        above = (values[who] - best).max() / null
        active = np.count_nonzero(np.asarray(abs(scipy.sparse.csr_matrix(coefs[n_fitted - 1])).sum(axis=0)))
        rows.append(
            [name, "x".join(map(str, X.shape)), l1_ratio, who, f"{seconds:.3g}", f"{above:.1e}", n_fitted, active]
        )
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=["gaussian", "blocks", "genes"], choices=[*PROBLEMS, []])
    parser.add_argument("--penalties", type=int, default=50)
    parser.add_argument("--down-to", type=float, help="the least penalty, as a share of the largest")
    parser.add_argument("--l1-ratio", type=float)
    parser.add_argument("--grouped", action="store_true", help="features are in for all classes or for none")
    parser.add_argument("--tol", type=float, nargs="+", default=[1e-6])
    parser.add_argument("--thresh", type=float, nargs="+", default=[1e-7], help="glmnet's own tolerance")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--alone", action="store_true", help="without glmnet")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--cifar10", metavar="PATH")
    parser.add_argument("--embeddings", metavar="DIR")
    parser.add_argument("--out", metavar="DIR", help="where to write the report")
    options = parser.parse_args()
    header = ["data", "shape", "l1_ratio", "solver", "seconds", "above the best", "penalties", "active features"]
    rows = [row for name in options.problems for row in compare(name, options)]
    table = measure.markdown_table(header, rows)
    if options.out:
        measure.save(
            options.out, "sparse", "Sparse coefficients", table, [dict(zip(header, row, strict=True)) for row in rows]
        )
    else:
        print(table)


if __name__ == "__main__":
    main()
