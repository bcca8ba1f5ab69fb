"""CIFAR-10 from pixels to test accuracy, with the time that each step takes; and how fast patches are encoded.

python benchmarks/accuracy.py --cifar10 PATH
"""

import argparse
import statistics
import time

import measure
import numpy as np
from sklearn.base import clone

N_HELD_OUT = 5000  # training images, to choose C
N_ENCODED = 64  # images in the comparison with NumPy


def recipes(image_shape):
    """{name: (extractor of features or None, values of C, whether features are standardised, preprocessing)}"""
    from softmax_clf.features import HOG, PatchKMeans

    layout = {"image_shape": image_shape, "channels_first": True}
    cells = {"pixels_per_cell": (4, 4), "cells_per_block": (2, 2)}
    standardized = "features standardised"
    return {
        "raw pixels": (None, np.logspace(-9, -5, 9), False, "none: uint8 from 0 to 255"),
        "HOG": (
            HOG(**cells, **layout),
            np.logspace(-4, 0, 9),
            True,
            f"cells of 4 x 4, blocks of 2 x 2; {standardized}",
        ),
        **{
            f"PatchKMeans({arguments})": (
                # more than the usual 0.1: the fine detail of images that have been JPEGs is noise
                PatchKMeans(k, mirror=mirror, whitening_eps=0.5, random_state=0, **layout),
                np.logspace(-4, 0, 9),
                True,
                f"patches of 6 x 6, whitening_eps=0.5; {standardized}",
            )
            for arguments, k, mirror in (
                ("400", 400, False),
                ("400, mirror=True", 400, True),
                ("1600, mirror=True", 1600, True),
            )
        },
    }


def measure_accuracy(data, extractor, Cs, standardize):
    """Seconds of each step, the chosen C, and how many of the test images are right."""
    from softmax_clf import SoftmaxRegressionClassifierCV

    clock = time.perf_counter
    classifier = SoftmaxRegressionClassifierCV(
        Cs,
        cv="holdout",
        validation_fraction=N_HELD_OUT / len(data.y_train),
        scoring="accuracy",
        standardize=standardize,
        random_state=0,
    )
    measure.quiet()
    start = clock()
    X = data.X_train if extractor is None else extractor.fit_transform(data.X_train)
    extracted = clock()
    clone(classifier).set_params(Cs=Cs[:2]).fit(X[:N_HELD_OUT], data.y_train[:N_HELD_OUT])  # compiles
    measure.quiet()
    compiled = clock()
    classifier.fit(X, data.y_train)
    fitted = clock()
    X_test = data.X_test if extractor is None else extractor.transform(data.X_test)
    right = classifier.predict(X_test) == data.y_test
    end = clock()
    return {
        "shape": X.shape,
        "Cs": Cs.tolist(),
        "held_out_accuracy": classifier.scores_[0, 0].tolist(),
        "C": classifier.C_,
        "n_iter": classifier.n_iter_,
        "suboptimality": classifier.suboptimality_,
        "test_accuracy": float(right.mean()),
        "seconds": {"features": extracted - start, "choice and fit": fitted - compiled, "test images": end - fitted},
    }


def encode_with_numpy(model, images, n_at_a_time):
    """PatchKMeans.transform in straightforward NumPy, float32 throughout; images (n, H, W, C)."""
    size, features = model.patch_size, []
    for start in range(0, len(images), n_at_a_time):
        batch = images[start : start + n_at_a_time].astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(batch, (size, size), axis=(1, 2))
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)
        patches = patches - patches.mean(axis=-1, keepdims=True)
        patches = patches / np.sqrt(patches.var(axis=-1, ddof=1, keepdims=True) + np.float32(model.contrast_eps))
        whitened = (patches - model.patch_mean_) @ model.whitening_
        cross = whitened @ model.centroids_.T
        sqdistance = (whitened**2).sum(axis=-1, keepdims=True) - 2 * cross + (model.centroids_**2).sum(axis=-1)
        distance = np.sqrt(np.maximum(sqdistance, 0))
        activation = np.maximum(distance.mean(axis=-1, keepdims=True) - distance, 0)
        r, c = (n - n // 2 for n in activation.shape[1:3])
        quarters = [activation[:, :r, :c], activation[:, :r, c:], activation[:, r:, :c], activation[:, r:, c:]]
        features.append(np.hstack([quarter.sum(axis=(1, 2)) for quarter in quarters]))
    return np.vstack(features)


def measure_encoding(data, n_centroids, n_rounds):
    """Seconds of encoding some images: ours, and NumPy's all at once and as few at a time as is best for its caches."""
    from softmax_clf.features import PatchKMeans

    rows = data.X_train[:N_ENCODED]
    model = PatchKMeans(n_centroids, image_shape=data.image_shape, channels_first=True, n_patches=20_000, max_iter=3)
    model.set_params(random_state=0).fit(data.X_train[:1000])
    height, width, channels = data.image_shape
    images = np.ascontiguousarray(rows.reshape(-1, channels, height, width).transpose(0, 2, 3, 1))
    assert np.allclose(model.transform(rows), encode_with_numpy(model, images, 1), rtol=1e-3, atol=1e-2)

    tried = {
        (n_at_a_time, n_threads): (lambda n=n_at_a_time: encode_with_numpy(model, images, n), n_threads)
        for n_at_a_time in (N_ENCODED, 16, 4, 1)
        for n_threads in sorted({1, measure.cores()})
    }
    times = measure.interleave(tried, 2)
    at_once, few = (
        min((choice for choice in tried if (choice[0] == N_ENCODED) == whole), key=lambda choice: min(times[choice]))
        for whole in (True, False)
    )
    functions = {"ours": (lambda: model.transform(rows), None), "at once": tried[at_once], "few": tried[few]}
    times = measure.interleave(functions, n_rounds)
    return {
        "n_centroids": n_centroids,
        "seconds": times,
        "median": {name: statistics.median(values) for name, values in times.items()},
        "images at a time, BLAS threads": {"at once": at_once, "few": few},
    }


def report(accuracies, encodings):
    header = ["features", "preprocessing", "how many", "C", "held out", "test accuracy"]
    header += ["features", "choice of C and fit", "10,000 test images", "in all"]
    rows = []
    for name, r in accuracies.items():
        seconds = r["seconds"]
        rows.append(
            [
                name,
                r["preprocessing"],
                f"{r['shape'][1]:,}",
                f"{r['C']:.2g}",
                f"{max(r['held_out_accuracy']):.1%}",
                f"**{r['test_accuracy']:.2%}**",
                *(f"{value:.1f} s" if value >= 0.05 else "" for value in seconds.values()),
                f"{sum(seconds.values()):.1f} s",
            ]
        )
    text = (
        f"CIFAR-10 (a JPEG copy). {N_HELD_OUT:,} training images are held out to choose C, then the classifier is "
        "fitted to all 50,000. Wall times of one run, from pixels in memory to predicted classes: features are learned "
        "and computed; C is chosen and the classifier fitted; the features of the test images are computed and their "
        "classes predicted; compilation is left out. The images held out take part in the clustering of patches, which "
        "knows no labels.\n\n" + measure.markdown_table(header, rows)
    )
    header = ["centroids", "ours", "NumPy, all at once", "NumPy / ours", "NumPy, few at a time", "NumPy / ours"]
    rows = []
    for r in encodings:
        row = [r["n_centroids"], measure.duration(r["median"]["ours"] / N_ENCODED)]
        for name in ("at once", "few"):
            n_at_a_time, n_threads = r["images at a time, BLAS threads"][name]
            time_per_image = measure.duration(r["median"][name] / N_ENCODED)
            row += [
                f"{time_per_image} ({n_at_a_time} images, BLAS threads: {n_threads})",
                f"{r['median'][name] / r['median']['ours']:.1f} x",
            ]
        rows.append(row)
    return (
        f"{text}\n`PatchKMeans.transform` of {N_ENCODED} images, time per image, against straightforward NumPy in "
        "float32, checked to give the same features: all images in one array, or the number at a time that fits its "
        "caches best; BLAS threads as is faster. Medians of interleaved runs.\n\n"
        + measure.markdown_table(header, rows)
    )


def main():
    from softmax_clf.datasets import load_cifar10

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", metavar="PATH", required=True, help="folder or .tar.gz of an official layout")
    parser.add_argument("--features", nargs="+", help="only these, by their names in the report: to try things out")
    parser.add_argument("--rounds", type=int, default=9, help="of the comparison with NumPy")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR")
    options = parser.parse_args()

    data = load_cifar10(options.cifar10)
    encodings = []
    for n_centroids in (400, 1600):
        measure.note(f"encoding by {n_centroids} centroids")
        encodings.append(measure_encoding(data, n_centroids, options.rounds))
    accuracies = {}
    for name, (*recipe, preprocessing) in recipes(data.image_shape).items():
        if options.features is None or name in options.features:
            measure.note(name)
            accuracies[name] = {"preprocessing": preprocessing, **measure_accuracy(data, *recipe)}
            measure.note(str(accuracies[name]))
    text = report(accuracies, encodings)
    measure.save(
        options.out,
        "accuracy",
        "CIFAR-10 from pixels to accuracy",
        text,
        {"accuracy": accuracies, "encoding": encodings},
    )


if __name__ == "__main__":
    main()
