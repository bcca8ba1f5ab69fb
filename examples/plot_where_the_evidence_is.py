"""Where in an image is the evidence for a class?

    python examples/plot_where_the_evidence_is.py                    # digits
    python examples/plot_where_the_evidence_is.py --cifar10 PATH     # 10,000 images of CIFAR-10

A linear classifier of features that are averaged over all positions of an image can be applied before the average,
at each position: its scores there average to the score of the image (class activation maps). Where the colours pale,
there is little evidence; a position is the middle of a patch, so that there is none along the edges.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.datasets import load_cifar10
from softmax_clf.features import PatchKMeans
from softmax_clf.inspection import ScoreMapDisplay, score_map

N_SHOWN = 4


def main(args):
    if args.cifar10:
        data = load_cifar10(args.cifar10)
        images = np.float32(data.X_train[:10_000]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / 255
        y, C = data.y_train[:10_000], 1e-2
        patches = PatchKMeans(200, patch_size=6, contrast_eps=10 / 255**2, n_patches=100_000, random_state=0, verbose=1)
    else:
        data = load_digits()
        images, y, C = np.float32(data.images) / 16, data.target, 1.0
        patches = PatchKMeans(100, patch_size=3, contrast_eps=1 / 16**2, random_state=0)
    names = [str(name) for name in data.target_names]
    train, test = images[N_SHOWN:], images[:N_SHOWN]
    shown = test if args.cifar10 else 1 - test  # digits as ink on paper: the colours stand out on white

    # PatchKMeans sums activations over each quarter of the image; all four together make the average.
    quarters = patches.fit_transform(train).reshape(len(train), 4, -1)
    n_positions = np.prod([size - patches.patch_size + 1 for size in images.shape[1:3]])
    pooled = quarters.sum(axis=1) / n_positions
    clf = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier(C)).fit(pooled, y[N_SHOWN:])
    print(f"{clf.score(pooled, y[N_SHOWN:]):.1%} of the training images right")

    maps = activations(patches, test)
    scores = clf.decision_function(maps.mean(axis=(1, 2)))
    margin = (patches.patch_size - 1) / 2  # positions are those of the middle of a patch
    height, width = test.shape[1:3]
    extent = (margin - 0.5, width - margin - 0.5, height - margin - 0.5, margin - 0.5)
    figure, axes = plt.subplots(N_SHOWN, 4, figsize=(8.5, 2.4 * N_SHOWN), layout="constrained")
    limit = np.abs(score_map(clf, maps)).max()  # one scale for all rows
    for i, row in enumerate(axes):
        best = [names[k] for k in np.argsort(-scores[i])[:3]]
        options = {"image": shown[i], "extent": extent, "class_names": names, "classes": best}
        ScoreMapDisplay.from_estimator(clf, maps[i], ax=row, limit=limit, colorbar=False, **options)
        row[0].set_title(f"label: {names[y[i]]}", fontsize="medium")
    colors = ScalarMappable(Normalize(-limit, limit), axes[0, 1].images[0].get_cmap())
    figure.colorbar(colors, ax=axes, label="score at a position (nats): red for the class, blue against", shrink=0.5)
    figure.suptitle("Scores of the three best classes at each position, on one scale, with outlines of the image")
    figure.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


def activations(patches, images):
    """What PatchKMeans sums up: (n, H, W, n_centroids), for each position its patch's triangle activations."""
    size = patches.patch_size
    windows = sliding_window_view(images.reshape(-1, *patches.image_shape_), (size, size), axis=(1, 2))
    windows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)  # (row, column, channel)
    windows = windows - windows.mean(axis=-1, keepdims=True)
    windows /= np.sqrt(windows.var(axis=-1, ddof=1, keepdims=True) + patches.contrast_eps)
    whitened = (windows - patches.patch_mean_) @ patches.whitening_
    distance = np.linalg.norm(whitened[..., None, :] - patches.centroids_, axis=-1)
    return np.maximum(distance.mean(axis=-1, keepdims=True) - distance, 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", metavar="PATH", help="folder or .tar.gz of CIFAR-10, of either official layout")
    parser.add_argument("--out", default="evidence.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
