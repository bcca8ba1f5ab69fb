"""The linear probe of the DINOv2 evaluation in one call: 45 values of C on a hold-out, then a fit on everything.

    python examples/linear_probe.py                                         # digits
    python examples/linear_probe.py --features train.npy --labels y.npy     # features of your own
    python examples/linear_probe.py --features train.npz --test test.npz    # arrays named X and y in each

Features of any dtype, float16 and uint8 among them, are taken as they are.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from softmax_clf import SoftmaxRegressionClassifierCV
from softmax_clf.inspection import RegularizationPathDisplay


def load(features, labels):
    """X and y from one .npz file, or from two .npy files."""
    if features.endswith(".npz"):
        with np.load(features) as arrays:
            if "X" not in arrays or "y" not in arrays:
                raise SystemExit(f"Expected arrays X and y in {features}, found {arrays.files}: rename them.")
            return arrays["X"], arrays["y"]
    if not labels:
        raise SystemExit(f"Expected labels for {features}: give them as a .npy file too.")
    return np.load(features), np.load(labels).ravel()


def main(args):
    if args.features:
        X_train, y_train = load(args.features, args.labels)
        X_test, y_test = load(args.test, args.test_labels) if args.test else (None, None)
    else:
        digits = load_digits()
        X = np.float32(digits.data) / 16
        X_train, X_test, y_train, y_test = train_test_split(
            X, digits.target, test_size=0.25, stratify=digits.target, random_state=0
        )
    print(f"{X_train.shape[0]} rows of {X_train.shape[1]} features, {len(np.unique(y_train))} classes")

    clf = SoftmaxRegressionClassifierCV(
        10 ** np.linspace(-6, 5, 45),
        cv="holdout",
        validation_fraction=0.1,
        scoring=args.scoring,
        n_jobs=args.n_jobs,
        random_state=0,
    )
    start = time.perf_counter()
    clf.fit(X_train, y_train)
    scores = clf.scores_[0, 0]
    print(f"45 values of C and the final fit: {time.perf_counter() - start:.1f} s")
    n_best = np.count_nonzero(scores == scores.max())
    least = f", the least of {n_best} with that score" if n_best > 1 else ""
    print(f"best C {clf.C_:.3g}, {args.scoring} {scores.max():.4f} on the rows held out{least}")
    if X_test is not None:
        print(f"accuracy on the test rows: {np.mean(clf.predict(X_test) == y_test):.2%}")

    display = RegularizationPathDisplay.from_estimator(clf)
    display.ax_.set_title("10 % of the rows held out")
    display.figure_.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", help=".npy file of features, or .npz file with X and y (default: the digits)")
    parser.add_argument("--labels", help=".npy file of labels")
    parser.add_argument("--test", help="features to test on, as --features")
    parser.add_argument("--test-labels", help="their labels, as --labels")
    parser.add_argument("--scoring", default="accuracy", help="any scorer of scikit-learn (default: %(default)s)")
    parser.add_argument("--n-jobs", type=int, help="threads (default: the cores that there are)")
    parser.add_argument("--out", default="linear_probe.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
