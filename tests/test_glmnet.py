"""Coefficients beside those of R's glmnet, kept in tests/glmnet.json: R is not needed here.

`python tests/test_glmnet.py` makes that file anew, by Rscript with the package glmnet, and
tests/glmnet_vignette.npz, the data of its vignette's section on multinomial models, MultinomialExample.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from softmax_clf import SoftmaxRegressionClassifier, softmax_regression_path

KEPT = pathlib.Path(__file__).with_name("glmnet.json")
VIGNETTE = pathlib.Path(__file__).with_name("glmnet_vignette.npz")
LAMBDAS = [0.1, 0.03, 0.01]
FACTOR = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 1.0, 1.5, 1.0])

# As R is to be called, and as the classifier is.
CASES = {
    "multinomial": ("", {"standardize": True}),
    "not standardised": ("standardize = FALSE", {}),
    "alpha": ("alpha = 0.4", {"standardize": True, "l1_ratio": 0.4}),
    "grouped": ('type.multinomial = "grouped"', {"standardize": True, "l1_group": "class"}),
    "grouped, alpha": (
        'type.multinomial = "grouped", alpha = 0.4',
        {"standardize": True, "l1_group": "class", "l1_ratio": 0.4},
    ),
    # glmnet scales factors to a sum of as many as there are features: ours are that already
    "factors": ("penalty.factor = factors", {"standardize": True, "penalty_factor": FACTOR}),
    "exclude": (
        "exclude = 2",
        {"standardize": True, "penalty_factor": np.where(np.arange(8) == 1, np.inf, 1.0)},
    ),
    "bounds": ("lower.limits = -0.1, upper.limits = 0.3", {"coef_bounds": (-0.1, 0.3), "standardize": True}),
    "non-negative": ("lower.limits = 0", {"coef_bounds": (0, None), "standardize": True}),
    "vignette": ("", {"standardize": True}),
    "vignette, grouped": ('type.multinomial = "grouped"', {"standardize": True, "l1_group": "class"}),
}

SCRIPT = """
suppressMessages(library(glmnet))
X <- as.matrix(read.csv("X.csv", header = FALSE)); y <- factor(scan("y.csv", quiet = TRUE))
factors <- scan("factors.csv", quiet = TRUE)
fit <- glmnet(X, y, family = "multinomial", lambda = c(%s), thresh = 1e-15, maxit = 1e8%s)
for (k in 1:3) for (q in seq_along(fit$lambda))
  cat(formatC(c(as.vector(fit$beta[[k]][, q]), fit$a0[k, q]), digits = 12), "\\n")
"""


def data(name):
    """Those of the vignette, or a stream of random numbers that NumPy has promised not to change."""
    if name.startswith("vignette"):
        with np.load(VIGNETTE) as arrays:
            return arrays["X"], arrays["y"]
    rng = np.random.RandomState(7)
    X = rng.standard_normal((120, 8)) + 0.7 * rng.standard_normal((120, 1))
    X *= np.array([1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 0.2, 1.0])
    scores = X[:, :3] * [1.5, -0.7, 2.0] + 0.5 * X[:, 3:6] - np.log(-np.log(rng.uniform(size=(120, 3))))
    return np.round(X, 6), scores.argmax(axis=1)


def of_glmnet(name):
    """Coefficients (n_lambdas, 3, n_features), and intercepts after them, by R."""
    X, y = data(name)
    arguments = CASES[name][0]
    with tempfile.TemporaryDirectory() as folder:
        for part, values in (("X", X), ("y", y), ("factors", FACTOR)):
            np.savetxt(pathlib.Path(folder, f"{part}.csv"), values, "%.17g", delimiter=",")
        script = SCRIPT % (", ".join(map(str, LAMBDAS)), f", {arguments}" if arguments else "")
        pathlib.Path(folder, "fit.R").write_text(script)
        out = subprocess.run(["Rscript", "fit.R"], cwd=folder, check=True, capture_output=True, text=True).stdout
    rows = np.array([line.split() for line in out.splitlines()], float).reshape(3, len(LAMBDAS), -1)
    return rows.transpose(1, 0, 2)


@pytest.mark.parametrize("name", sorted(CASES))
def test_coefficients_of_glmnet(name):
    """By a classifier for each lambda, and by one path."""
    X, y = data(name)
    expected = np.array(json.loads(KEPT.read_text())[name])
    coef, intercept = expected[:, :, :-1], expected[:, :, -1]
    params = {"l1_ratio": 1.0, "tol": 1e-13} | CASES[name][1]
    Cs = [1 / (lam * len(y)) for lam in LAMBDAS]
    path = softmax_regression_path(X, y, Cs=Cs, **params)
    for q, C in enumerate(Cs):
        clf = SoftmaxRegressionClassifier(C, **params).fit(X, y)
        for ours, ours_intercept in ((clf.coef_, clf.intercept_), (path.coefs[q], path.intercepts[q])):
            np.testing.assert_array_equal(ours != 0, coef[q] != 0)
            shift = 0.0
            if "penalty_factor" in params and not FACTOR.all() and name == "factors":
                # what no penalty counts may be shifted for all classes together
                shift = np.where(FACTOR == 0, (ours - coef[q]).mean(axis=0), 0.0)
            np.testing.assert_allclose(ours - shift, coef[q], atol=1e-4)
            centred = intercept[q] - intercept[q].mean()
            np.testing.assert_allclose(ours_intercept - ours_intercept.mean(), centred, atol=1e-4)


def keep_vignette():
    """Take the data of the vignette from the package."""
    with tempfile.TemporaryDirectory() as folder:
        script = """library(glmnet); data(MultinomialExample)
        writeBin(as.vector(MultinomialExample$x), "X"); writeBin(as.integer(MultinomialExample$y), "y")"""
        pathlib.Path(folder, "data.R").write_text(script)
        subprocess.run(["Rscript", "data.R"], cwd=folder, check=True, capture_output=True)
        y = np.fromfile(pathlib.Path(folder, "y"), np.int32)
        X = np.fromfile(pathlib.Path(folder, "X")).reshape(-1, len(y)).T
    np.savez_compressed(VIGNETTE, X=np.ascontiguousarray(X), y=y.astype(np.int8))


if __name__ == "__main__":
    keep_vignette()
    kept = {name: np.round(of_glmnet(name), 8).tolist() for name in CASES}
    KEPT.write_text(
        "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in kept.items()) + "\n}\n"
    )
    print(KEPT, file=sys.stderr)
