"""Many random small problems: how many say that they have converged and have not, or are further off than they say.

    python certificates.py --problems 20000 --name certificates

Up to 300 x 30, 2 to 6 classes, C from 1e-3 to 3e6 and without a penalty; weights, CSR, float32, target probabilities,
offsets; columns that differ by little, powers, categories, heavy tails. Gaps are against the lowest F that is found by
Newton's method in whitened columns, from the solution and from zero, with C raised from a small one; F of coefficients
in extended precision. It knows nothing of softmax_clf.
"""

import argparse
import collections
import dataclasses
import pathlib
import time
import warnings

import measure
import numpy as np
import scipy.linalg
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from softmax_clf import SoftmaxRegressionClassifier

ROUNDING = 1e-12  # of the null objective: what gaps are not known to
CLAIM, BOUND, ESTIMATE = "said to have converged, gap above tol", "gap above a bound", "gap above an estimate"
WORDS = (CLAIM, BOUND, ESTIMATE, "not converged", "certified")
EXPLAINED = """`certified`: what the fit says is a bound. Gaps and what is said are shares of the null objective. A gap
is above the lowest objective found by any means, in extended precision. All that stand out:"""


@dataclasses.dataclass
class Small:
    """A problem: rows, targets (n, n_classes), labels or None, weights or None, offsets or None, and parameters."""

    family: str
    X: np.ndarray
    target: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    dtype: type
    sparse: bool
    params: dict

    def fit(self):
        X = self.X.astype(self.dtype)
        X = scipy.sparse.csr_array(X) if self.sparse else X
        y = self.target if self.y is None else self.y
        clf = SoftmaxRegressionClassifier(n_jobs=1, **self.params)
        return clf.fit(X, y, sample_weight=self.weight, offset=self.offset)

    def describe(self):
        n, p = self.X.shape
        parts = [f"{self.family} {n}x{p}", f"{self.target.shape[1]} classes", f"C={self.params['C']:.3g}"]
        parts += [np.dtype(self.dtype).name, "CSR"] if self.sparse else [np.dtype(self.dtype).name]
        parts += ["soft"] * (self.y is None) + ["weights"] * (self.weight is not None)
        parts += ["offset"] * (self.offset is not None) + ["no intercept"] * (not self.params["fit_intercept"])
        return ", ".join(parts)


# ------------------------------------------------------------------------------------------------------- problems


def gaussian(rng, n, p):
    return rng.standard_normal((n, p)) * 10.0 ** rng.uniform(-2, 2)


def scaled(rng, n, p):
    return rng.standard_normal((n, p)) * 10.0 ** rng.uniform(-3, 3, p)


def twins(rng, n, p):
    """Columns that differ by little."""
    z = rng.standard_normal((n, (p + 1) // 2)) if rng.random() < 0.5 else rng.integers(2, size=(n, (p + 1) // 2))
    z = z * 10.0 ** rng.uniform(0, 6)
    d = rng.standard_normal(z.shape) * 10.0 ** rng.uniform(-2, 1)
    return np.hstack([z, z + np.round(d) if rng.random() < 0.5 else z + d])[:, : max(p, 2)]


def powers(rng, n, p):
    x = rng.uniform(-1, 1, (n, 1)) * 10.0 ** rng.uniform(-0.3, 0.7)
    return x ** np.arange(1, min(p, 12) + 1)


def categories(rng, n, p):
    levels = np.minimum(rng.zipf(1.5, size=n), p) - 1
    X = (levels[:, None] == np.arange(p)).astype(float)
    if rng.random() < 0.5:
        X = np.hstack([X, (rng.integers(3, size=n)[:, None] == np.arange(3)).astype(float)])
    if rng.random() < 0.5 and X.std(axis=0).any():
        X = X[:, X.std(axis=0) > 0]
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    return X


def tails(rng, n, p):
    return rng.standard_cauchy((n, p)) if rng.random() < 0.5 else np.exp(rng.standard_normal((n, p)) * 2)


def counts(rng, n, p):
    return rng.poisson(10.0 ** rng.uniform(-2, 1, p), (n, p)).astype(float)


def shifted(rng, n, p):
    return rng.standard_normal((n, p)) + 10.0 ** rng.uniform(0, 7)


FAMILIES = (gaussian, scaled, twins, twins, powers, categories, tails, counts, shifted)


def problem(seed):
    """The problem of a seed."""
    rng = np.random.default_rng(seed)
    n, p, K = int(np.exp(rng.uniform(np.log(6), np.log(300)))), int(rng.integers(1, 31)), int(rng.integers(2, 7))
    n = max(n, 2 * K)
    family = FAMILIES[rng.integers(len(FAMILIES))]
    X = family(rng, n, p)
    dtype = np.float32 if rng.random() < 0.25 else np.float64
    if dtype == np.float32:
        X = X.astype(np.float32).astype(np.float64)
    deviation = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    truth = Z @ rng.standard_normal((X.shape[1], K)) * 10.0 ** rng.uniform(-1, 1) / np.sqrt(X.shape[1])
    y = (truth + rng.gumbel(size=truth.shape) * (rng.random() < 0.8)).argmax(axis=1)
    y[:K] = np.arange(K)
    target, labels = np.eye(K)[y], y
    if rng.random() < 0.15:
        target, labels = rng.dirichlet(np.full(K, 0.5), n), None
        target /= target.sum(axis=1, keepdims=True)
        if dtype == np.float32:
            target = target.astype(np.float32).astype(np.float64)
    weight = rng.exponential(size=n) * (rng.random(n) < 0.9) if rng.random() < 0.3 else None
    if weight is not None:
        weight[:K] = 1.0
    offset = rng.standard_normal((n, K)) * 10.0 ** rng.uniform(-1, 1) if rng.random() < 0.1 else None
    if offset is not None and dtype == np.float32:
        offset = offset.astype(np.float32).astype(np.float64)
    C = np.inf if rng.random() < 0.1 else 10.0 ** rng.uniform(-3, 6.5)
    params = {"C": float(C), "fit_intercept": bool(rng.random() < 0.8)}
    return Small(family.__name__, X, target, labels, weight, offset, dtype, bool(rng.random() < 0.2), params)


# ------------------------------------------------------------------------------------------------------- the truth


class Truth:
    """F of a problem, and Newton's method in whitened columns."""

    def __init__(self, problem):
        X = problem.X
        n, self.K = len(X), problem.target.shape[1]
        self.X, self.target, self.offset = X, problem.target, 0.0 if problem.offset is None else problem.offset
        weight = np.ones(n) if problem.weight is None else problem.weight
        self.total, self.weight = weight.sum(), weight / weight.sum()
        C, self.fit_intercept = problem.params["C"], problem.params["fit_intercept"]
        self.strength = 0.0 if np.isinf(C) else 1 / (C * self.total)
        if self.fit_intercept:
            prior = self.weight @ self.target
            self.null = -float(np.sum(prior[prior > 0] * np.log(prior[prior > 0])))
        else:
            self.null = float(np.log(self.K))
        self.mean = self.weight @ X if self.fit_intercept else np.zeros(X.shape[1])
        X = X - self.mean
        scale = np.sqrt(self.weight @ X**2)
        scale[scale == 0] = 1.0
        kept = self.weight > 0
        U, s, V = scipy.linalg.svd(X[kept] / scale, full_matrices=False)
        some = s > 1e-13 * s[0]
        T = V[some].T / s[some] / scale[:, None]
        Z = np.zeros((n, int(some.sum())))
        Z[kept] = U[:, some]
        self.Z = np.hstack([Z, np.ones((n, 1))]) if self.fit_intercept else Z
        self.half = 2.0 if self.K == 2 else 1.0  # two vectors for one: each has half of it
        self.T = np.hstack([T, np.zeros((len(T), 1))]) if self.fit_intercept else T
        self.back = scale[:, None] * V[some].T * s[some]
        self.penalty = self.half * self.T.T @ self.T

    def F(self, coef, intercept):
        """Of coefficients as scikit-learn has them, in extended precision."""
        coef, intercept = (np.asarray(a, np.longdouble) for a in (coef, intercept))
        scores = self.X.astype(np.longdouble) @ coef.T + intercept
        if len(coef) == 1:
            scores = np.hstack([np.zeros_like(scores), scores])
        return float(self._loss(scores + self.offset) + self.strength / 2 * np.sum(coef**2))

    def _loss(self, scores):
        top = scores.max(axis=1, keepdims=True)
        log_proba = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
        return -(self.weight @ (self.target * log_proba).sum(axis=1))

    def minimum(self, coef, intercept):
        """The lowest F found, from zero and from a solution; of coefficients of the columns as they are."""
        stages = [self.strength] if self.strength else [1e-12 / self.total]
        while stages[0] < 1.0:
            stages.insert(0, stages[0] * 5)
        W = np.zeros((self.K, self.Z.shape[1]))
        for i, strength in enumerate(stages):
            W = self._descend(W, strength, 25 if i + 1 < len(stages) else 200)
        nearer = self._descend(self._whitened(coef, intercept), self.strength, 25)
        return min(self.F(coef, intercept), self._F_there(W), self._F_there(nearer))

    def _whitened(self, coef, intercept):
        coef, intercept = (np.asarray(a, np.longdouble) for a in (coef, intercept))
        if self.fit_intercept:
            coef = np.hstack([coef @ self.back, (intercept + coef @ self.mean)[:, None]])
        else:
            coef = coef @ self.back
        return (np.vstack([-coef / 2, coef / 2]) if self.K == 2 else coef).astype(np.float64)

    def _F_there(self, W):
        coef = W.astype(np.longdouble) @ self.T.T
        intercept = -coef @ self.mean + (W[:, -1] if self.fit_intercept else 0.0)
        if self.K == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        return self.F(coef, intercept)

    def _descend(self, W, strength, n_steps):
        K, q = W.shape
        base = self.Z @ W.T + self.offset

        def value(scores, W):
            return float(self._loss(scores)) + self.half * strength / 2 * float(np.sum((W @ self.T.T) ** 2))

        F, ridge = value(base, W), 0.0
        for _ in range(n_steps):
            proba = np.exp(base - base.max(axis=1, keepdims=True))
            proba /= proba.sum(axis=1, keepdims=True)
            grad = ((proba - self.target) * self.weight[:, None]).T @ self.Z
            grad += self.half * strength * (W @ self.T.T) @ self.T
            one = ((proba * self.weight[:, None])[:, :, None] * self.Z[:, None, :]).reshape(len(self.Z), -1)
            other = (proba[:, :, None] * self.Z[:, None, :]).reshape(len(self.Z), -1)
            H = -(one.T @ other)
            blocks = H.reshape(K, q, K, q)
            own = np.arange(K)
            blocks[own, :, own, :] = 0.0
            blocks[own, :, own, :] = -blocks.sum(axis=2)
            blocks[own, :, own, :] += strength * self.penalty
            diagonal = H.diagonal().copy()
            blocks += (np.eye(q) * (diagonal.mean() + 1e-300) / K)[None, :, None, :]
            try:
                factor = scipy.linalg.cho_factor(H + np.diag((ridge + 1e-15) * (diagonal + 1e-300)))
            except np.linalg.LinAlgError:
                ridge = max(10 * ridge, 1e-12)
                continue
            step = -scipy.linalg.cho_solve(factor, grad.ravel()).reshape(K, q)
            moved, slope, length = self.Z @ step.T, float(np.vdot(grad, step)), 1.0
            if not -slope > 1e-17 * max(abs(F), 1e-3 * self.null):
                break
            while length > 1e-12 and not value(base + length * moved, W + length * step) <= F + 1e-4 * length * slope:
                length /= 2
            new = value(base + length * moved, W + length * step)
            if not new <= F:
                break
            done = F - new <= 1e-17 * self.null
            W, base, F = W + length * step, base + length * moved, new
            ridge = 0.0 if length > 0.5 else ridge
            if done:
                break
        return W


# ------------------------------------------------------------------------------------------------------- the count


def judge(problem):
    """What was found of a problem: a set of words, the gap, what was said of it, and the fit; gaps over the null F."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf = problem.fit()
    truth = Truth(problem)
    F = truth.F(clf.coef_, clf.intercept_)
    gap = (F - truth.minimum(clf.coef_, clf.intercept_)) / truth.null
    said, found = clf.suboptimality_ / truth.null, set()
    unsure = ROUNDING if problem.dtype == np.float64 else 4e-7
    if not clf.converged_:
        found.add("not converged")
    elif gap > clf.tol + unsure:
        found.add(CLAIM)
    if gap > said * (1 + 1e-6) + unsure:
        found.add(BOUND if clf.suboptimality_is_bound_ else ESTIMATE)
    if clf.suboptimality_is_bound_:
        found.add("certified")
    return found, gap, said, clf


def tell(seeds, minutes):
    """Try the problems of some seeds: what was found of how many, iterations, and a line for each that stands out."""
    counted, iterations, lines, end = collections.Counter(), [], [], time.monotonic() + 60 * minutes
    for seed in seeds:
        if time.monotonic() > end:
            break
        tried = problem(seed)
        found, gap, said, clf = judge(tried)
        counted.update(found)
        iterations.append(clf.n_iter_)
        if found - {"certified"}:
            what = "; ".join(sorted(found - {"certified"}))
            lines.append(
                f"{seed}: {tried.describe()}: {what}: gap {gap:.1e}, said {said:.1e}, {clf.n_iter_} iterations"
            )
            print(lines[-1], flush=True)
    return counted, iterations, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first problem, the others following")
    parser.add_argument("--minutes", type=float, default=np.inf, help="after which no further problem is begun")
    parser.add_argument("--out", type=pathlib.Path, default=measure.RESULTS)
    parser.add_argument("--name", help="write a report of this name")
    options = parser.parse_args()
    with measure.blas_threads(1):
        counted, iterations, lines = tell(range(options.seed, options.seed + options.problems), options.minutes)
    spread = f"iterations: median {np.median(iterations):g}, most {max(iterations)}"
    told = f"{len(iterations)} problems, from seed {options.seed} on; {spread}"
    rows = [[str(counted[what]), what] for what in WORDS]
    print(told, *(f"{count:>6} {what}" for count, what in rows), sep="\n")
    if options.name:
        text = f"{told}.\n\n{measure.markdown_table(['problems', 'that'], rows)}\n\n{EXPLAINED}\n\n"
        text += "".join(f"- {line}\n" for line in lines)
        data = {"problems": len(iterations), "seed": options.seed, "counted": dict(counted), "lines": lines}
        measure.save(options.out, options.name, "Certificates", text, data)


if __name__ == "__main__":
    main()
