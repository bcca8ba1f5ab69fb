"""Which digits are hard to tell apart? 45 probes of two classes each over the same pixels, in one fit.

    python examples/many_probes.py

Each pair of digits is a target of its own, a column of `y`: the rows of other digits have no label there, NaN, and are
not in its fit. A C is chosen for each by cross-validation; all targets, folds and values share the passes over X. The
picture has the share of errors on images that no fit has seen.
"""

import argparse
import itertools

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from softmax_clf import MultiOutputSoftmaxClassifierCV


def main(args):
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    pairs = list(itertools.combinations(range(10), 2))

    probes = MultiOutputSoftmaxClassifierCV(np.logspace(-5, -1, 5)).fit(X_train, labels_of_pairs(y_train, pairs))
    errors = 1 - probes.target_scores(X_test, labels_of_pairs(y_test, pairs))
    print(f"{len(pairs)} targets of 2 classes in one fit")
    for t in np.argsort(-errors)[:5]:
        print(f"{pairs[t][0]} or {pairs[t][1]}: {errors[t]:.1%} wrong, with C = {probes.C_[t]:.3g}")

    hardest = probes.estimators_[np.argmax(errors)]  # a SoftmaxRegressionClassifier, its coefficients are views
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained", width_ratios=(1.2, 1))
    table = np.full((10, 10), np.nan)
    for (a, b), error in zip(pairs, errors, strict=True):
        table[b, a] = 100 * error
    image = left.imshow(table, cmap="viridis")
    left.set(xticks=range(10), yticks=range(10), xlabel="digit", ylabel="digit")
    left.set_title("What linear probes confuse")
    figure.colorbar(image, ax=left, label="test errors in %")
    limit = np.abs(hardest.coef_).max()
    image = right.imshow(hardest.coef_.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
    right.set(xticks=[], yticks=[])
    first, second = (int(label) for label in hardest.classes_)
    right.set_title(f"The hardest: {first} where blue, {second} where red")
    figure.colorbar(image, ax=right, label="coefficient")
    figure.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


def labels_of_pairs(y, pairs):
    """Labels (n_samples, n_pairs), NaN for rows of neither digit."""
    return np.column_stack([np.where(np.isin(y, pair), y, np.nan) for pair in pairs])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="many_probes.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
