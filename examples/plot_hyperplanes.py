"""What do scores mean in the space of the features?

    python examples/plot_hyperplanes.py

A score is the signed distance to a hyperplane, times the length of its normal. Two classes meet where their scores are
equal: the black lines. Where a score is zero there is a dashed line, and an arrow to the side on which it grows; of a
class that lies between others there may be no such place in sight. A weaker penalty makes longer normals, and so
probabilities that change over a shorter way.
"""

import argparse

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.inspection import HyperplaneDisplay, boundary_distances, signed_distances


def main(args):
    iris = load_iris()
    X, y = iris.data[:, 2:], iris.target  # of the petals
    names = {"class_names": iris.target_names, "feature_names": iris.feature_names[2:]}
    figure, axes = plt.subplots(3, 1, figsize=(7, 9), layout="constrained")
    for ax, C in zip(axes, (0.01, 1.0, 100.0), strict=True):
        clf = SoftmaxRegressionClassifier(C).fit(X, y)
        HyperplaneDisplay.from_estimator(clf, X, y, **names, ax=ax, legend=ax is axes[-1])
        ax.set_title(f"C = {C:g}: {clf.score(X, y):.1%} right")
    figure.savefig(args.out, dpi=100)

    # The last classifier, in numbers, for a flower near a boundary.
    row = X[[77]]
    print(f"A flower of petal length {row[0, 0]} cm and width {row[0, 1]} cm, C = {C:g}:")
    to_hyperplanes, between = signed_distances(clf, row)[0], boundary_distances(clf, row)[0]
    for k, name in enumerate(iris.target_names):
        print(f"  {to_hyperplanes[k]:6.2f} cm from where the score of {name} is zero")
    winner = clf.predict(row)[0]
    for k, name in enumerate(iris.target_names):
        if k != winner:
            print(f"  {between[winner, k]:6.2f} cm from where {iris.target_names[winner]} would turn into {name}")
    print(f"written to {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="hyperplanes.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
