"""What can be looked at? Four of the displays in one picture.

    python examples/gallery.py

The boundaries between classes and the hyperplane of each; where in an image the evidence for two classes lies; whether
probabilities mean what they say; and how C was chosen. The other examples take them one at a time.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from plot_where_the_evidence_is import activations
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.features import PatchKMeans
from softmax_clf.inspection import (
    HyperplaneDisplay,
    RegularizationPathDisplay,
    ReliabilityDisplay,
    ScoreMapDisplay,
)


def main(args):
    plt.rcParams["font.size"] = 9
    figure = plt.figure(figsize=(10, 8.2), layout="constrained")
    (hyperplanes, evidence), (reliability, path) = figure.subfigures(2, 2, hspace=0.05, height_ratios=(1, 1.2))

    iris = load_iris()
    X, y = iris.data[:, 2:], iris.target  # of the petals
    clf = SoftmaxRegressionClassifier().fit(X, y)
    ax = hyperplanes.subplots()
    names = {"class_names": iris.target_names, "feature_names": iris.feature_names[2:]}
    HyperplaneDisplay.from_estimator(clf, X, y, **names, ax=ax)
    ax.set_title("boundaries, and where each score is zero")

    digits = load_digits()
    pixels, y = np.float32(digits.images) / 16, digits.target
    patches = PatchKMeans(100, patch_size=3, contrast_eps=1 / 16**2, random_state=0)
    i = 3  # the image to look at
    others = np.arange(len(y)) != i
    pooled = patches.fit_transform(pixels[others]).reshape(len(y) - 1, 4, -1).sum(axis=1) / 36  # positions
    clf = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier()).fit(pooled, y[others])
    ScoreMapDisplay.from_estimator(
        clf,
        activations(patches, pixels[[i]])[0],
        image=1 - pixels[i],
        extent=(0.5, 6.5, 6.5, 0.5),
        classes=["3", "9"],
        ax=evidence.subplots(1, 3),
    )
    evidence.suptitle("where in a 3 the evidence for a 3 lies, and for a 9:\nred for, blue against", fontsize="large")

    X_train, X_test, y_train, y_test = train_test_split(digits.data / 16, y, train_size=150, stratify=y, random_state=0)
    clf = SoftmaxRegressionClassifier(C=1e5).fit(X_train, y_train)
    ax = reliability.subplots()
    ReliabilityDisplay.from_estimator(clf, X_test, y_test, name="digits, C = 1e5", ax=ax)
    ax.set_title("do probabilities come true?")

    clf = SoftmaxRegressionClassifierCV(np.logspace(-5, 3, 17)).fit(X_train, y_train)
    ax = path.subplots()
    RegularizationPathDisplay.from_estimator(clf, ax=ax)
    ax.set_title("the choice of C")

    figure.savefig(args.out, dpi=90)
    Image.open(args.out).convert("RGB").quantize(256, kmeans=1).save(args.out, optimize=True)  # a third
    print(f"written to {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="gallery.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
