"""The objective of multinomial logistic regression, slow and obvious, in float64 NumPy.

Everything that the package computes fast is compared with this module, so it is written to be read, not to be
quick. `Objective` states what is minimised; `minimise` finds the minimum by Newton's method with the exact Hessian.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh


def log_softmax(raw_prediction):
    """Logarithm of the softmax of each row, finite wherever the scores are."""
    shifted = raw_prediction - raw_prediction.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(raw_prediction):
    """Class probabilities of each row of scores."""
    return np.exp(log_softmax(raw_prediction))


def one_hot(y, classes=None):
    """Labels as target probabilities (n_samples, n_classes), a column for each of the sorted `classes`."""
    classes = np.unique(y) if classes is None else np.asarray(classes)
    return (np.asarray(y)[:, None] == classes[None, :]).astype(np.float64)


def row_weights(y, sample_weight=None, class_weight=None):
    """s_i = sample_weight_i * class_weight[y_i] for 1-d labels; 'balanced' gives classes equal totals."""
    y = np.asarray(y)
    sample_weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    classes = np.unique(y)
    if class_weight is None:
        class_weight = {}
    elif isinstance(class_weight, str):
        assert class_weight == "balanced"
        totals = {k: sample_weight[y == k].sum() for k in classes}
        class_weight = {k: sample_weight.sum() / (len(classes) * totals[k]) for k in classes}
    return sample_weight * np.array([class_weight.get(label, 1.0) for label in y.tolist()])


def sample_loss(raw_prediction, target):
    """Cross-entropy of each row's target probabilities against the softmax of its scores, natural logarithm."""
    return -(target * log_softmax(raw_prediction)).sum(axis=1)


@dataclass(frozen=True)
class Objective:
    """The function that softmax regression minimises, for one data set.

    F(W, b) = 1/S * sum_i s_i * CE(t_i, softmax(W x_i + b + offset_i))
              + 1/(C S) * [(1 - l1_ratio)/2 ||W||_F^2 + l1_ratio ||W||_1],    S = sum_i s_i

    With two classes there is a single vector w, as in scikit-learn: the scores are (0, w x_i + b) and the penalty
    is that of the one vector. So n_vectors = 1 if n_classes = 2, otherwise n_classes.

    Parameters
    ----------
    X : (n_samples, n_features)
    target : (n_samples, n_classes), target probabilities t_i; one-hot rows for labels
    C : float, may be infinite: no penalty
    sample_weight : (n_samples,) row weights s_i, class weights included; None is all ones
    fit_intercept : bool; without, b is zero
    offset : (n_samples, n_classes), added to the scores; None is zero
    l1_ratio : float; `grad` and `hess` are those of F without the L1 penalty
    factor : (n_features,) what the penalty of each feature is multiplied by; None is ones

    Methods take `coef` (n_vectors, n_features) and `intercept` (n_vectors,). Unknowns in one vector, as for the
    gradient and the Hessian, are ordered by vector: its coefficients, then its intercept if there is one.
    """

    X: np.ndarray
    target: np.ndarray
    C: float = 1.0
    sample_weight: np.ndarray | None = None
    fit_intercept: bool = True
    offset: np.ndarray | None = None
    l1_ratio: float = 0.0
    factor: np.ndarray | None = None

    @property
    def n_vectors(self):
        n_classes = self.target.shape[1]
        return 1 if n_classes == 2 else n_classes

    @property
    def weight(self):
        """s_i / S."""
        weight = np.ones(len(self.X)) if self.sample_weight is None else np.asarray(self.sample_weight, np.float64)
        return weight / weight.sum()

    @property
    def l2_reg_strength(self):
        """(1 - l1_ratio) / (C S)."""
        return (1.0 - self.l1_ratio) / (self.C * self.sw_sum)

    @property
    def l1_reg_strength(self):
        """l1_ratio / (C S)."""
        return self.l1_ratio / (self.C * self.sw_sum)

    @property
    def sw_sum(self):
        """S."""
        return len(self.X) if self.sample_weight is None else np.sum(self.sample_weight, dtype=np.float64)

    @property
    def design(self):
        """X, with a column of ones for the intercept."""
        X = np.asarray(self.X, dtype=np.float64)
        return np.hstack([X, np.ones((len(X), 1))]) if self.fit_intercept else X

    def pack(self, coef, intercept):
        """Unknowns as a matrix (n_vectors, n_columns of the design)."""
        coef = np.asarray(coef, dtype=np.float64)
        if not self.fit_intercept:
            assert not np.any(intercept), "an intercept is given, but the objective has none"
            return coef
        return np.hstack([coef, np.asarray(intercept, dtype=np.float64).reshape(-1, 1)])

    def unpack(self, unknowns):
        if not self.fit_intercept:
            return unknowns, np.zeros(self.n_vectors)
        return unknowns[:, :-1], unknowns[:, -1]

    @property
    def penalised(self):
        """How often the penalty counts the columns of the design: the factors, 0 for the intercept's."""
        penalised = np.ones(self.X.shape[1] + self.fit_intercept)
        if self.factor is not None:
            penalised[: self.X.shape[1]] = self.factor
        penalised[self.X.shape[1] :] = 0.0
        return penalised

    def raw_prediction(self, coef, intercept):
        """Scores (n_samples, n_classes)."""
        scores = self.design @ self.pack(coef, intercept).T
        if self.n_vectors == 1:
            scores = np.hstack([np.zeros((len(self.X), 1)), scores])
        return scores if self.offset is None else scores + self.offset

    def proba(self, coef, intercept):
        """Class probabilities (n_samples, n_classes)."""
        return softmax(self.raw_prediction(coef, intercept))

    def loss(self, coef, intercept):
        """F(W, b)."""
        cross_entropy = self.weight @ sample_loss(self.raw_prediction(coef, intercept), self.target)
        coef = np.asarray(coef, np.float64)
        if self.factor is not None:
            squares, sizes = np.sum(self.factor * coef**2), np.sum(self.factor * np.abs(coef))
            return cross_entropy + self.l2_reg_strength * 0.5 * squares + self.l1_reg_strength * sizes
        return cross_entropy + self.l2_reg_strength * 0.5 * np.sum(coef**2) + self.l1_reg_strength * np.abs(coef).sum()

    def subgradient(self, coef, intercept):
        """The smallest subgradient of F, (n_vectors, n_columns of the design): zero at the minimum.

        Where a coefficient is zero, the L1 penalty's part is any number from -l1_reg_strength to l1_reg_strength.
        """
        grad = self.grad(coef, intercept)
        unknowns, strength = self.pack(coef, intercept), self.l1_reg_strength * self.penalised
        shrunk = np.sign(grad) * np.maximum(np.abs(grad) - strength, 0.0)
        return np.where(unknowns == 0, shrunk, grad + strength * np.sign(unknowns))

    def _proba_and_target(self, coef, intercept):
        proba = self.proba(coef, intercept)
        return (proba[:, 1:], self.target[:, 1:]) if self.n_vectors == 1 else (proba, self.target)

    def grad(self, coef, intercept):
        """Gradient of F, (n_vectors, n_columns of the design)."""
        proba, target = self._proba_and_target(coef, intercept)
        grad_pointwise = self.weight[:, None] * (proba - target)
        penalty = self.l2_reg_strength * self.penalised * self.pack(coef, intercept)
        return grad_pointwise.T @ self.design + penalty

    def hess(self, coef, intercept):
        """Hessian of F, (n_vectors * n_columns, n_vectors * n_columns).

        Its block for the vectors k and k2 is sum_i s_i/S p_ik ([k = k2] - p_ik2) z_i z_i', where z_i is a row of the
        design, plus the penalty's diagonal. It does not depend on the target: each target's probabilities sum to one.
        """
        proba, _ = self._proba_and_target(coef, intercept)
        Z = self.design
        n_vectors, n_columns = self.n_vectors, Z.shape[1]
        hess = np.empty((n_vectors, n_columns, n_vectors, n_columns))
        for k in range(n_vectors):
            for k2 in range(k + 1):
                pointwise = self.weight * proba[:, k] * ((k == k2) - proba[:, k2])
                hess[k, :, k2, :] = (Z * pointwise[:, None]).T @ Z
                hess[k2, :, k, :] = hess[k, :, k2, :]
            hess[k, :, k, :] += self.l2_reg_strength * np.diag(self.penalised)
        return hess.reshape(n_vectors * n_columns, n_vectors * n_columns)

    def hess_product(self, coef, intercept, direction, row_factor=None):
        """The Hessian times a direction (n_vectors, n_columns of the design), and the curvature along it.

        By pairs of classes: of row i, the scores q of the direction change the gradient by p_ik sum_j p_ij (q_ik -
        q_ij), and the curvature is the sum over the pairs of p_ij p_ik (q_ik - q_ij)^2. So both have their digits in
        rows that are sure of a class. `row_factor` (n_samples,) multiplies each row's part.
        """
        proba, weight = self.proba(coef, intercept), self.weight * (1.0 if row_factor is None else row_factor)
        scores = self.design @ direction.T
        if self.n_vectors == 1:
            scores = np.hstack([np.zeros((len(self.X), 1)), scores])
        apart = scores[:, :, None] - scores[:, None, :]
        pairs = weight[:, None, None] * proba[:, :, None] * proba[:, None, :]
        pointwise = (pairs * apart).sum(axis=2)[:, -self.n_vectors :]
        pull = self.l2_reg_strength * self.penalised * direction
        return pointwise.T @ self.design + pull, (pairs * apart**2).sum() / 2 + np.vdot(pull, direction)

    def null_loss(self):
        """F of the null model: zero coefficients and, with `fit_intercept`, the best intercept."""
        if self.offset is not None:
            raise NotImplementedError("the null model has no closed form with an offset")
        if not self.fit_intercept:
            return np.log(self.target.shape[1])
        prior = self.weight @ self.target
        prior = prior[prior > 0]
        return -(prior @ np.log(prior))

    def suboptimality_bound(self, coef, intercept):
        """Certified bound on F - F*, where the gradient by the intercept vanishes and C is finite.

        F is strongly convex in W with modulus 1 / (C S), so F - F* <= ||grad_W||^2 C S / 2.
        """
        grad = self.grad(coef, intercept)[:, : self.X.shape[1]]
        return np.sum(grad**2) / (2 * self.l2_reg_strength)


def stacked_loss_grad(coef, intercept, X, target, sample_weight, C, fit_intercept=True):
    """F and its gradient for M problems that share X and target: other weights, other C, other points.

    Parameters
    ----------
    coef : (n_problems * n_vectors, n_features), the problems' coefficients one under the other
    intercept : (n_problems * n_vectors,)
    sample_weight : (n_problems, n_samples)
    C : (n_problems,)

    Returns
    -------
    loss : (n_problems,)
    grad : (n_problems * n_vectors, n_features + fit_intercept)
    """
    n_problems = len(C)
    losses, grads = [], []
    for m, (W, b) in enumerate(zip(np.split(coef, n_problems), np.split(intercept, n_problems), strict=True)):
        problem = Objective(X, target, C=C[m], sample_weight=sample_weight[m], fit_intercept=fit_intercept)
        losses.append(problem.loss(W, b))
        grads.append(problem.grad(W, b))
    return np.array(losses), np.vstack(grads)


def _newton_step(objective, unknowns, grad):
    """-H^-1 g, and the Newton decrement g' H^-1 g / 2."""
    hess = objective.hess(*objective.unpack(unknowns))
    n_vectors, n_columns = unknowns.shape

    # Adding the same number to every class's coefficient of an unpenalised column changes no probability. The
    # Hessian is singular along that direction and the gradient has nothing along it, so curvature may be put there
    # freely: it makes the matrix invertible, leaves the step as it is, and keeps these sums at zero.
    if n_vectors > 1:
        blocks = hess.reshape(n_vectors, n_columns, n_vectors, n_columns)
        for j in range(n_columns):
            if objective.penalised[j] == 0 or objective.l2_reg_strength == 0:
                blocks[:, j, :, j] += np.trace(blocks[:, j, :, j]) / n_vectors**2

    # Columns of any scale: unit diagonal.
    scale = 1 / np.sqrt(np.maximum(np.diag(hess), np.finfo(np.float64).tiny))
    scaled_hess, scaled_grad = hess * scale[:, None] * scale, grad.ravel() * scale
    try:
        step = -cho_solve(cho_factor(scaled_hess), scaled_grad)
    except LinAlgError:
        eigenvalues, vectors = eigh(scaled_hess)
        kept = eigenvalues > 1e-14 * eigenvalues[-1]
        step = -vectors[:, kept] @ ((vectors[:, kept].T @ scaled_grad) / eigenvalues[kept])
    return (scale * step).reshape(unknowns.shape), -0.5 * scaled_grad @ step


def minimise(objective, max_iter=200):
    """Minimise an `Objective` by damped Newton steps, to the last digits that float64 gives.

    Returns
    -------
    coef : (n_vectors, n_features)
    intercept : (n_vectors,)
    loss : float, F at the minimum
    """
    unknowns = np.zeros((objective.n_vectors, len(objective.penalised)))
    loss = objective.loss(*objective.unpack(unknowns))
    for _ in range(max_iter):
        grad = objective.grad(*objective.unpack(unknowns))
        step, decrement = _newton_step(objective, unknowns, grad)

        # Where the expected decrease is below what the loss can resolve, Newton's step is right to more digits than
        # any comparison of losses could tell: take it as it is, and that was the last one that matters.
        if decrement <= 1e-13 * max(loss, 1e-3):
            unknowns = unknowns + step
            return *objective.unpack(unknowns), objective.loss(*objective.unpack(unknowns))

        damping = 1.0
        while True:
            trial = unknowns + damping * step
            trial_loss = objective.loss(*objective.unpack(trial))
            if trial_loss <= loss - 0.1 * damping * decrement:
                break
            damping /= 2
            if damping < 1e-10:
                raise RuntimeError(f"Newton's method is stuck at F = {loss!r}, decrement {decrement:.1e}")
        unknowns, loss = trial, trial_loss
    raise RuntimeError(f"Newton's method has not converged in {max_iter} iterations: decrement {decrement:.1e}")
