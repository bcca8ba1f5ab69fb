"""F* of a problem, slow and sure: Newton's method in float64 NumPy, in whitened columns, with a certificate.

`minimum` is what gaps of hard problems are measured from. It knows nothing of softmax_clf. Columns are centred and
replaced by their left singular vectors, so that neither scale nor collinearity matters; the penalty becomes a matrix.
Rows that are sure of a wrong class get more curvature than they have, until steps succeed without, and C is raised
to its value from a small one. Ends when the bound on F - F* is below 1e-11 of the null objective, or at what rounding
permits:

- with a penalty, the duality gap: probabilities p at a point W with gradient G are feasible in the dual, which lies
  C S ||G||^2 / 2 below F (the intercepts being optimal). This holds wherever W is, rounding aside;
- or twice Newton's decrement, where no score moves by more than 0.1 in the step;
- without a penalty, C is raised to 1e9, or 1e12. The minimum as a function of the penalty's strength has ||W||^2 / 2
  for its derivative, and that grows no faster than the square of a logarithm as the penalty vanishes: twice the penalty
  that is left bounds what it has cost. No loss is further from its infimum than from zero.
"""

import dataclasses
import hashlib
import pathlib

import measure
import numpy as np
import scipy.linalg
import scipy.sparse

ENOUGH = 1e-11  # of the null objective
DENSE_HESSIAN = 600  # unknowns up to which the Hessian is factored
STEPS = 300


@dataclasses.dataclass
class Minimum:
    """The lowest F found, how far above F* it can be, and the coefficients there as scikit-learn has them."""

    objective: float
    bound: float
    coef: np.ndarray
    intercept: np.ndarray


def minimum(problem, C, cache=None):
    """The `Minimum` of a problem at C, from the folder ``cache`` where it is there and was made of the same data."""
    file = pathlib.Path(cache, f"{problem.name}-C{C:g}-{_digest(problem)}.npz") if cache else None
    if file and file.exists():
        kept = np.load(file)
        return Minimum(float(kept["objective"]), float(kept["bound"]), kept["coef"], kept["intercept"])
    with measure.blas_threads(1):  # two contended cores make it a hundred times as slow
        found = _minimise(problem, C)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **vars(found))
    return found


def _digest(problem):
    X = problem.X.tocsr() if problem.sparse else problem.X
    parts = [X.data, X.indices, X.indptr] if problem.sparse else [X]
    digest = hashlib.sha256()
    for part in (*parts, problem.codes, *([] if problem.sample_weight is None else [problem.sample_weight])):
        digest.update(np.ascontiguousarray(part).view(np.uint8))
    return digest.hexdigest()[:12]


# ---------------------------------------------------------------------------------------------------- whitening


def _whitened(X):
    """Columns Z with Z' Z / n = 1 that span those of X, centred, and T: coefficients on X are W T'."""
    n, p = X.shape
    if scipy.sparse.issparse(X) and n < p:
        products = (X @ X.T).toarray().astype(np.float64)
        products -= products.mean(axis=0)
        products -= products.mean(axis=1, keepdims=True)
        squares, U = np.linalg.eigh(products)
        kept = squares > 1e-13 * squares[-1]
        U, squares = U[:, kept], squares[kept]
        return U * n**0.5, (X.T @ U) / squares * n**0.5
    X = X.toarray() if scipy.sparse.issparse(X) else X
    X = X.astype(np.float64)
    X = X - X.mean(axis=0)
    X -= X.mean(axis=0)  # what rounding left of large means
    scale = X.std(axis=0)
    if n > p and (scale > 0).all():  # units first: singular vectors are as exact as the largest value permits
        U, s, V = scipy.linalg.svd(X / scale, full_matrices=False)
        if s[-1] > 1e-11 * s[0]:
            return U * n**0.5, V.T / s / scale[:, None] * n**0.5
    U, s, V = scipy.linalg.svd(X, full_matrices=False)
    kept = s > 1e-12 * s[0]
    return U[:, kept] * n**0.5, V[kept].T / s[kept] * n**0.5


# ------------------------------------------------------------------------------------------------- Newton's steps


def _lifted(log_proba, codes, theta):
    """Probabilities and factors that give rows their curvature: at theta = 0 those of the Hessian.

    A row that is wrong, p_y < 1/2, has ever less curvature the surer it is, and Newton's step takes it ever too far. At
    theta = 1 it is counted as if undecided, by the factor of the quadratic above its loss (T. S. Jaakkola and M. I.
    Jordan, 2000), which takes it to the other side and no further.
    """
    proba, rows = np.exp(log_proba), np.arange(len(codes))
    log_p = np.minimum(log_proba[rows, codes], -1e-12)
    m = np.maximum(np.log(-np.expm1(log_p)) - log_p, 0.0)
    wrong = (m > 0) & (theta > 0)
    m = np.where(wrong, m, 1.0)
    own = np.where(wrong, np.exp((1 - theta) * log_p + theta * np.log(0.5)), proba[rows, codes])
    rest = np.where(wrong, (1 - own) / -np.expm1(log_p), 1.0)
    proba *= rest[:, None]
    proba[rows, codes] = own
    return proba, np.where(wrong, (2 * np.tanh(m / 2) / m) ** theta, 1.0)


class _Newton:
    """The state of the method: W (n_classes, n_columns), the last column that of the intercepts."""

    def __init__(self, problem):
        Z, self.T = _whitened(problem.X)
        n, self.n_classes = len(Z), len(problem.classes)
        self.Z = np.hstack([Z, np.ones((n, 1))])
        weight = np.ones(n) if problem.sample_weight is None else np.asarray(problem.sample_weight, np.float64)
        self.total, self.weight, self.codes = weight.sum(), weight / weight.sum(), problem.codes
        # For two classes there is one vector, half of which each of ours has: the same penalty if twice as strong.
        factor = 2.0 if self.n_classes == 2 else 1.0
        self.penalty = np.zeros((self.Z.shape[1],) * 2)
        self.penalty[:-1, :-1] = factor * self.T.T @ self.T
        self.root = np.linalg.qr(self.T, mode="r") * factor**0.5
        self.null = problem.null_objective()
        self.W = np.zeros((self.n_classes, self.Z.shape[1]))
        self.scores = self.Z @ self.W.T

    def at(self, W, scores, strength):
        log_proba = scores - scores.max(axis=1, keepdims=True)
        log_proba -= np.log(np.exp(log_proba).sum(axis=1, keepdims=True))
        loss = -(self.weight @ log_proba[np.arange(len(log_proba)), self.codes])
        return loss, loss + strength / 2 * np.vdot(W @ self.penalty, W), log_proba

    def gradient(self, proba, strength):
        error = proba * self.weight[:, None]
        error[np.arange(len(error)), self.codes] -= self.weight
        return error.T @ self.Z + strength * self.W @ self.penalty

    def duality_gap(self, grad, strength):
        """How far F is above its minimum at the most, for optimal intercepts; inf without a penalty."""
        if strength == 0:
            return np.inf
        dual = scipy.linalg.solve_triangular(self.root, grad[:, :-1].T, trans="T")
        return np.sum(dual**2) / (2 * strength)

    def product(self, proba, curvature, strength, Q):
        """Hessian of rows with these curvatures times a direction; and the direction's scores."""
        S = self.Z @ Q.T
        pushed = curvature[:, None] * proba * (S - (proba * S).sum(axis=1, keepdims=True))
        return pushed.T @ self.Z + strength * Q @ self.penalty, S

    def hessian_solver(self, proba, curvature, strength):
        """A function that solves with the whole Hessian, or None where it has no factor."""
        K, q = self.n_classes, self.Z.shape[1]
        H = np.empty((K, q, K, q))
        for k in range(K):
            for j in range(k + 1):
                row = curvature * proba[:, k] * ((k == j) - proba[:, j])
                block = (self.Z * row[:, None]).T @ self.Z
                if k == j:
                    block += strength * self.penalty
                H[k, :, j], H[j, :, k] = block, block.T
        H = H.reshape(K * q, K * q)
        level = np.trace(H) / len(H)
        shift = np.kron(np.full((K, K), level / K), np.eye(q))  # the same added to all classes changes nothing
        for ridge in (0.0, 1e-15, 1e-13):
            try:
                factor = scipy.linalg.cho_factor(H + shift + ridge * level * np.eye(len(H)), lower=True)
            except np.linalg.LinAlgError:
                continue
            return lambda grad: scipy.linalg.cho_solve(factor, grad.ravel()).reshape(K, q)
        return None

    def blocks_solver(self, proba, curvature, strength):
        """The preconditioner: the Hessian's blocks of single classes."""
        factors = []
        for k in range(self.n_classes):
            row = curvature * proba[:, k] * (1 - proba[:, k])
            block = (self.Z * row[:, None]).T @ self.Z + strength * self.penalty
            level = np.trace(block) / len(block)
            factors.append(scipy.linalg.cho_factor(block + 1e-13 * level * np.eye(len(block)), lower=True))

        def solve(grad):
            step = np.stack([scipy.linalg.cho_solve(f, g) for f, g in zip(factors, grad, strict=True)])
            return step - step.mean(axis=0)

        return solve

    def direction(self, grad, product, solve, accuracy, n_most):
        """Newton's step by conjugate gradients, its scores, and the number of products."""
        step, scores, rest, n_products = np.zeros_like(grad), 0.0, -grad, 0
        z = solve(rest)
        q, rz = z, np.vdot(rest, z)
        enough = accuracy**2 * rz
        while n_products < n_most and rz > enough:
            image, moved = product(q)
            n_products += 1
            curved = np.vdot(q, image)
            if not curved > 0:
                break
            a = rz / curved
            step, scores, rest = step + a * q, scores + a * moved, rest - a * image
            z = solve(rest)
            before, rz = rz, np.vdot(rest, z)
            q = z + rz / before * q
        return step, scores, n_products

    def descend(self, C, enough, n_steps=STEPS):
        """Steps until F is within ``enough`` of its minimum at C, or no longer falls; the bound."""
        strength = 0.0 if np.isinf(C) else 1 / (C * self.total)
        dense = self.W.size <= DENSE_HESSIAN
        loss, F, log_proba = self.at(self.W, self.scores, strength)
        theta, solve, n_products, stalled, best = 1.0, None, 0, 0, np.inf
        for _ in range(n_steps):
            proba = np.exp(log_proba)
            grad = self.gradient(proba, strength)
            certain = best = min(best, self.duality_gap(grad, strength))
            if certain <= enough or stalled == 3:
                break
            proba, factor = _lifted(log_proba, self.codes, theta)
            curvature = self.weight * factor
            if dense:
                solve = self.hessian_solver(proba, curvature, strength)
            if solve is None or (not dense and n_products > 12):
                solve = self.blocks_solver(proba, curvature, strength)

            def product(Q, proba=proba, curvature=curvature):
                return self.product(proba, curvature, strength, Q)

            step, moved, n_products = self.direction(grad, product, solve, 1e-4 if dense else 1e-2, 200)
            if not n_products:
                break
            slope, length = np.vdot(grad, step), 1.0
            if np.abs(moved).max() < 0.1 and theta == 0:
                best = min(best, -slope)
            while True:
                W, scores = self.W + length * step, self.scores + length * moved
                new_loss, new_F, new_log_proba = self.at(W, scores, strength)
                if new_F <= F + 1e-4 * length * slope or length < 1e-9:
                    break
                length *= 0.3
            gain = F - new_F
            if gain >= 0:
                self.W, self.scores = W - W.mean(axis=0), scores
                loss, F, log_proba = new_loss, new_F, new_log_proba
            if -slope < 1e-12 * max(F, 1e-3 * self.null):  # rounding decides what a step seems to gain
                stalled += theta == 0
                theta = 0.0
            elif gain < 0 or length < 1.0:
                theta = min(1.0, 2 * theta + 0.25)
            elif gain > 0.6 * (-slope / 2):
                theta = theta / 2 if theta > 0.05 else 0.0
        self.loss, self.F = loss, F
        return best


def _minimise(problem, C):
    newton = _Newton(problem)
    null = newton.null
    last = 1e9 if np.isinf(C) else C
    start = min(last, 1e-2)
    n_stages = max(1, int(np.ceil(np.log10(last / start))))
    for stage in np.geomspace(start, last, n_stages + 1)[:-1]:
        newton.descend(stage, 1e-4 * null, 30)
    bound = newton.descend(last, ENOUGH * null)
    if np.isinf(C):
        while (bound := min(newton.loss, bound + 2 * (newton.F - newton.loss))) > 1e-10 * null and last < 1e12:
            last *= 10
            bound = newton.descend(last, ENOUGH * null)
    return _as_scikit_learn(problem, newton, C, bound)


def _as_scikit_learn(problem, newton, C, bound):
    coef, intercept = newton.W[:, :-1] @ newton.T.T, newton.W[:, -1]
    mean = np.asarray(problem.X.mean(axis=0, dtype=np.float64)).ravel()
    if len(coef) == 2:
        coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    intercept = intercept - coef @ mean
    F = newton.loss if np.isinf(C) else newton.F
    return Minimum(min(F, problem.objective(coef, intercept, C)), float(bound), coef, intercept)
