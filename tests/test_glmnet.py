"""Coefficients beside those of R's glmnet, kept in tests/glmnet.json: R is not needed here.

`python tests/test_glmnet.py` makes that file anew, by Rscript with the package glmnet.
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
}

SCRIPT = """
suppressMessages(library(glmnet))
X <- as.matrix(read.csv("X.csv", header = FALSE)); y <- factor(scan("y.csv", quiet = TRUE))
factors <- scan("factors.csv", quiet = TRUE)
fit <- glmnet(X, y, family = "multinomial", lambda = c(%s), thresh = 1e-15, maxit = 1e8%s)
for (k in 1:3) for (q in seq_along(fit$lambda))
  cat(formatC(c(as.vector(fit$beta[[k]][, q]), fit$a0[k, q]), digits = 12), "\\n")
"""


def data():
    """A stream of random numbers that NumPy has promised not to change."""
    rng = np.random.RandomState(7)
    X = rng.standard_normal((120, 8)) + 0.7 * rng.standard_normal((120, 1))
    X *= np.array([1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 0.2, 1.0])
    scores = X[:, :3] * [1.5, -0.7, 2.0] + 0.5 * X[:, 3:6] - np.log(-np.log(rng.uniform(size=(120, 3))))
    return np.round(X, 6), scores.argmax(axis=1)


def of_glmnet(arguments):
    """Coefficients (n_lambdas, 3, 8) and intercepts (n_lambdas, 3) by R."""
    X, y = data()
    with tempfile.TemporaryDirectory() as folder:
        for name, values in (("X", X), ("y", y), ("factors", FACTOR)):
            np.savetxt(pathlib.Path(folder, f"{name}.csv"), values, "%.6f", delimiter=",")
        script = SCRIPT % (", ".join(map(str, LAMBDAS)), f", {arguments}" if arguments else "")
        pathlib.Path(folder, "fit.R").write_text(script)
        out = subprocess.run(["Rscript", "fit.R"], cwd=folder, check=True, capture_output=True, text=True).stdout
    rows = np.array([line.split() for line in out.splitlines()], float).reshape(3, len(LAMBDAS), 9)
    return rows.transpose(1, 0, 2)


@pytest.mark.parametrize("name", sorted(CASES))
def test_coefficients_of_glmnet(name):
    """By a classifier for each lambda, and by one path."""
    X, y = data()
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


if __name__ == "__main__":
    kept = {name: np.round(of_glmnet(arguments), 8).tolist() for name, (arguments, _) in CASES.items()}
    KEPT.write_text(
        "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in kept.items()) + "\n}\n"
    )
    print(KEPT, file=sys.stderr)
