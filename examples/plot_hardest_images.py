"""Which images are hardest, and are their labels right?

    python examples/plot_hardest_images.py                    # digits
    python examples/plot_hardest_images.py --cifar10 PATH     # 10,000 images of CIFAR-10

The cross-entropy of each image, from a classifier that has not seen it, sorts a data set by surprise. The top of the
list is where to look for wrong labels, damaged images, and what a model cannot know.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.datasets import load_cifar10
from softmax_clf.features import HOG


def main(args):
    if args.cifar10:
        data = load_cifar10(args.cifar10)
        images, y = data.X_train[:10_000].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), data.y_train[:10_000]
        X = make_pipeline(HOG(cells_per_block=(2, 2)), StandardScaler()).fit_transform(images)
        C = 1e-3
    else:
        data = load_digits()
        images, y = data.images, data.target
        X, C = data.data / 16, 1.0
    names = data.target_names

    # Each image is judged by a classifier that was fitted on the others.
    loss, predicted = np.empty(len(y)), np.empty(len(y), int)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        clf = SoftmaxRegressionClassifier(C).fit(X[train], y[train])
        loss[test] = clf.sample_loss(X[test], y[test])
        predicted[test] = clf.predict(X[test])
    hardest = np.argsort(-loss)[:20]
    print(f"mean loss {loss.mean():.3f}, {np.mean(predicted == y):.1%} right; the 20 hardest images of {len(y)} make")
    print(f"{loss[hardest].sum() / loss.sum():.1%} of the sum of losses")

    figure, axes = plt.subplots(4, 5, figsize=(9, 10.4), layout="constrained")
    for ax, i in zip(axes.flat, hardest, strict=True):
        ax.imshow(images[i], cmap="gray_r")
        ax.set_title(f"label: {names[y[i]]}\npredicted: {names[predicted[i]]}\nloss {loss[i]:.1f}", fontsize="medium")
        ax.set_axis_off()
    figure.suptitle("The hardest images: the loss is the cross-entropy of the label")
    figure.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", metavar="PATH", help="folder or .tar.gz of CIFAR-10, of either official layout")
    parser.add_argument("--out", default="hardest.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
