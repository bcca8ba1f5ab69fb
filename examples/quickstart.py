"""From pixels to classes: features, the best C, test accuracy and templates; on request the time of LogisticRegression.

python examples/quickstart.py                   # the digits that ship with scikit-learn: seconds
python examples/quickstart.py --compare         # the same, and LogisticRegression on the same data and C
python examples/quickstart.py --cifar10 PATH    # CIFAR-10 in either official layout: minutes
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedShuffleSplit, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.datasets import load_cifar10
from softmax_clf.features import PatchKMeans
from softmax_clf.inspection import TemplateDisplay

START = time.perf_counter()


def main(args):
    # Images: rows of pixels from 0 to 1. Contrast below contrast_eps (a variance) counts as noise.
    if args.cifar10:
        data = load_cifar10(args.cifar10)
        pixels_train, pixels_test = (np.float32(X) / 255 for X in (data.X_train, data.X_test))
        y_train, y_test = data.y_train, data.y_test
        patches = PatchKMeans(400, patch_size=6, contrast_eps=10 / 255**2, random_state=0, verbose=1)
        patches.set_params(image_shape=data.image_shape, channels_first=True)
        cv = StratifiedShuffleSplit(1, test_size=0.2, random_state=0)
        choose = SoftmaxRegressionClassifierCV(np.logspace(-4, 1, 6), cv=cv, scoring="accuracy", verbose=2)
        peers, repeats = [LogisticRegression(max_iter=100)], 1  # to converge it would take thousands of iterations
    else:
        data = load_digits()
        pixels_train, pixels_test, y_train, y_test = train_test_split(
            np.float32(data.data) / 16, data.target, test_size=0.25, stratify=data.target, random_state=0
        )
        patches = PatchKMeans(100, patch_size=3, contrast_eps=1 / 16**2, random_state=0)
        patches.set_params(image_shape=data.images.shape[1:])
        choose = SoftmaxRegressionClassifierCV(np.logspace(-4, 4, 9), scoring="accuracy", selection="1se", verbose=1)
        peers, repeats = [LogisticRegression(tol=tol, max_iter=10_000) for tol in (1e-4, 1e-6)], 3
    say(f"{len(y_train)} images to learn from, {len(y_test)} to test on, {pixels_train.shape[1]} pixels each")

    # Features: how much each quarter of an image resembles typical patches. They are learned without labels, so the
    # search for C can come after them, instead of learning them anew for every fold.
    extractor = make_pipeline(patches, StandardScaler())
    features_train = extractor.fit_transform(pixels_train)
    say(f"{features_train.shape[1]} features of patches")

    chosen, accuracy = {}, {}
    for name, X_train in (("pixels", pixels_train), ("patches", features_train)):
        C = choose.fit(X_train, y_train).C_
        chosen[name] = SoftmaxRegressionClassifier(C).fit(X_train, y_train)
        from_pixels = chosen[name] if name == "pixels" else make_pipeline(extractor, chosen[name])
        accuracy[name] = from_pixels.score(pixels_test, y_test)
        say(f"{name}: C = {C:g}, {accuracy[name]:.2%} of the test images right")

    # What each class looks for in the pixels: the weights of the model whose accuracy stands above them.
    layout = {"image_shape": patches.image_shape, "channels_first": patches.channels_first}
    display = TemplateDisplay.from_estimator(chosen["pixels"], class_names=data.target_names, **layout)
    told = f"C = {chosen['pixels'].C:g}, {accuracy['pixels']:.1%} of the test images right"
    display.figure_.suptitle(f"What each class looks for in the pixels: {told}")
    display.figure_.savefig(args.out, dpi=120)
    say(f"templates written to {args.out}")

    if args.compare:
        compare(chosen, {"pixels": pixels_train, "patches": features_train}, y_train, peers, repeats)


def compare(chosen, features, y, peers, repeats):
    """Print how long the fits take, ours and those of peers, each at the faster of one thread and all."""
    rows = []
    for name, ours in chosen.items():
        for classifier in (ours, *(peer.set_params(C=ours.C) for peer in peers)):
            say(f"{name}: fitting {classifier}, {repeats} times with one thread and with all")
            seconds = min(fastest(classifier, features[name], y, repeats, n_threads) for n_threads in (1, None))
            value = objective(classifier, features[name], y)
            rows.append((name, classifier, seconds, np.max(classifier.n_iter_), value))
    print_table(rows)


def say(message):
    print(f"[{time.perf_counter() - START:5.1f} s] {message}", flush=True)


def fastest(classifier, X, y, repeats, n_threads):
    """Seconds of the fastest of some fits, whether or not they converge: the table says how far they came."""
    seconds = []
    if isinstance(classifier, SoftmaxRegressionClassifier):
        classifier.set_params(n_jobs=n_threads)
    for _ in range(repeats):
        start = time.perf_counter()
        with warnings.catch_warnings(), threadpool_limits(n_threads):
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(X, y)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def objective(classifier, X, y):
    """What both classifiers minimise: mean cross-entropy + |coef|^2 / (2 C n_samples)."""
    penalty = np.sum(np.square(classifier.coef_, dtype=np.float64)) / (2 * classifier.C * len(X))
    return log_loss(y, classifier.predict_proba(X)) + penalty


def print_table(rows):
    heads = ("features", "C", "fitted by", "tol", "seconds", "iterations", "objective")
    print("\n{:8} {:>7}  {:27} {:>5} {:>8} {:>10} {:>10}".format(*heads))
    for name, model, seconds, n_iter, value in rows:
        fit = f"{name:8} {model.C:7g}  {type(model).__name__:27} {model.tol:5.0e}"
        print(f"{fit} {seconds:8.2f} {n_iter:10} {value:10.6f}")
    print("\nSame data and C, seconds of the fastest fit. The objective is what both minimise: the lower, the nearer")
    print("to the solution. tol means two things: what our objective may be above its minimum, relative to that of the")
    print("class frequencies alone, and the largest element of LogisticRegression's gradient.\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", metavar="PATH", help="folder or .tar.gz of CIFAR-10, of either official layout")
    parser.add_argument("--compare", action="store_true", help="fit LogisticRegression, too: a minute or more")
    parser.add_argument("--out", default="quickstart.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
