"""Can a network's features be used for other classes, with few labels?

    python examples/replace_last_layer.py

A network learns the digits 0 to 4, wherever they lie in a frame. Its last layer is then replaced by a softmax
regression on its hidden units, fitted on images of 5 to 9, which the network has never seen. The same on the pixels
shows what the features are worth. The network is scikit-learn's, so that this runs anywhere; with torch, let
`hidden_units` return what the layers before the last make of X.
"""

import argparse
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier

N_LABELS = (5, 10, 20, 50, 100)  # of each class
N_DRAWS = 10


def main(args):
    digits = load_digits()
    old, rng = digits.target < 5, np.random.default_rng(0)
    X_old, y_old = in_a_frame(digits.images[old], 10, rng), np.tile(digits.target[old], 10)
    network = MLPClassifier((256,), batch_size=128, max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 20 epochs are enough here
        network.fit(X_old, y_old)
    print(f"the network: {network.score(X_old, y_old):.1%} right on the digits 0 to 4 that it was trained on")

    X, y = in_a_frame(digits.images[~old], 1, rng), digits.target[~old]
    X_pool, X_test, y_pool, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
    inputs = {"pixels": lambda X: X, "hidden units of the network": lambda X: hidden_units(network, X)}
    accuracy = {name: np.empty((len(N_LABELS), N_DRAWS)) for name in inputs}
    for i, n_labels in enumerate(N_LABELS):
        for draw in range(N_DRAWS):
            few = np.concatenate(
                [rng.choice(np.flatnonzero(y_pool == k), n_labels, replace=False) for k in range(5, 10)]
            )
            for name, features in inputs.items():
                clf = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier(0.1))
                clf.fit(features(X_pool[few]), y_pool[few])
                accuracy[name][i, draw] = clf.score(features(X_test), y_test)

    figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for (name, values), color, marker in zip(accuracy.items(), ("#E69F00", "#0072B2"), "so", strict=True):
        low, middle, high = np.percentile(100 * values, [10, 50, 90], axis=1)
        ax.plot(N_LABELS, middle, color=color, marker=marker, label=name)
        ax.fill_between(N_LABELS, low, high, color=color, alpha=0.2, linewidth=0)
        print(f"{name}: " + ", ".join(f"{m:.1f} % from {n}" for n, m in zip(N_LABELS, middle, strict=True)))
    ax.set_xscale("log")
    ax.set_xticks(N_LABELS, [str(n) for n in N_LABELS])
    ax.minorticks_off()
    ax.set(xlabel="labelled images of each new class", ylabel="test accuracy in %")
    ax.set_title("A new last layer for 5 to 9, shifted in a frame")
    ax.legend(title=f"median and 10 to 90 % of {N_DRAWS} draws", loc="lower right")
    figure.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


def in_a_frame(images, n_copies, rng):
    """Rows of 12 x 12 pixels from 0 to 1, with the 8 x 8 images somewhere in them, n_copies times."""
    frames = np.zeros((n_copies * len(images), 12, 12))
    for frame, image, (row, column) in zip(
        frames, np.tile(images, (n_copies, 1, 1)), rng.integers(0, 5, (len(frames), 2)), strict=True
    ):
        frame[row : row + 8, column : column + 8] = image / 16
    return frames.reshape(len(frames), -1)


def hidden_units(network, X):
    """What the last layer sees: the layers before it, rectified."""
    for weights, bias in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
        X = np.maximum(X @ weights + bias, 0)
    return X


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="last_layer.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
