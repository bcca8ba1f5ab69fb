"""From pixels to classes: features, the best C, test accuracy, templates, and the time against LogisticRegression.

python examples/quickstart.py                   # the digits that ship with scikit-learn: seconds for us
python examples/quickstart.py --cifar10 PATH    # CIFAR-10 in either official layout: minutes
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier
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
        Cs, cv = [0.001, 0.01, 0.1, 1.0], StratifiedShuffleSplit(1, test_size=0.2, random_state=0)
        peers, repeats = [LogisticRegression(max_iter=100)], 1  # to converge it would take thousands of iterations
    else:
        data = load_digits()
        pixels_train, pixels_test, y_train, y_test = train_test_split(
            np.float32(data.data) / 16, data.target, test_size=0.25, stratify=data.target, random_state=0
        )
        patches = PatchKMeans(100, patch_size=3, contrast_eps=1 / 16**2, random_state=0)
        patches.set_params(image_shape=data.images.shape[1:])
        Cs, cv = [0.001, 0.01, 0.1, 1.0, 10.0], 3
        peers, repeats = [LogisticRegression(tol=tol, max_iter=10_000) for tol in (1e-4, 1e-6)], 3
    say(f"{len(y_train)} images to learn from, {len(y_test)} to test on, {pixels_train.shape[1]} pixels each")

    # Features: how much each quarter of an image resembles typical patches. They are learned without labels, so the
    # search for C can come after them, instead of learning them anew for every fold.
    extractor = make_pipeline(patches, StandardScaler())
    features_train = extractor.fit_transform(pixels_train)
    say(f"{features_train.shape[1]} features of patches")

    rows, models = [], {}
    for name, X_train in (("pixels", pixels_train), ("patches", features_train)):
        search = GridSearchCV(SoftmaxRegressionClassifier(), {"C": Cs}, cv=cv, verbose=3 if args.cifar10 else 0)
        best = models[name] = search.fit(X_train, y_train).best_estimator_
        say(f"{name}: the best C is {best.C:g}")

        for classifier in (best, *(clone(peer).set_params(C=best.C) for peer in peers)):
            say(f"{name}: fitting {classifier}" + (f", {repeats} times" if repeats > 1 else ""))
            seconds = fastest(lambda: classifier.fit(X_train, y_train), repeats)  # noqa: B023
            from_pixels = classifier if name == "pixels" else make_pipeline(extractor, classifier)
            accuracy = from_pixels.score(pixels_test, y_test)
            rows.append((name, classifier, seconds, objective(classifier, X_train, y_train), accuracy))

    print_table(rows)

    # What each class looks for in the pixels. A stronger penalty than is best for accuracy makes smoother templates.
    smooth = clone(models["pixels"]).set_params(C=models["pixels"].C / 100).fit(pixels_train, y_train)
    layout = {"image_shape": patches.image_shape, "channels_first": patches.channels_first}
    display = TemplateDisplay.from_estimator(smooth, class_names=data.target_names, **layout)
    display.figure_.suptitle(f"Templates of the classes at C = {smooth.C:g}, a hundredth of the best")
    display.figure_.savefig(args.out, dpi=120)
    say(f"templates written to {args.out}")


def say(message):
    print(f"[{time.perf_counter() - START:5.1f} s] {message}", flush=True)


def fastest(fit, repeats):
    """Seconds of the fastest of some fits, whether or not they converge: the table says how far they came."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def objective(classifier, X, y):
    """What both classifiers minimise: mean cross-entropy + |coef|^2 / (2 C n_samples)."""
    penalty = np.sum(np.square(classifier.coef_, dtype=np.float64)) / (2 * classifier.C * len(X))
    return log_loss(y, classifier.predict_proba(X)) + penalty


def print_table(rows):
    heads = ("features", "C", "fitted by", "tol", "seconds", "iterations", "objective", "test accuracy")
    print("\n{:8} {:>7}  {:27} {:>5} {:>8} {:>10} {:>10} {:>13}".format(*heads))
    for name, model, seconds, value, accuracy in rows:
        fit = f"{name:8} {model.C:7g}  {type(model).__name__:27} {model.tol:5.0e}"
        print(f"{fit} {seconds:8.2f} {np.max(model.n_iter_):10} {value:10.6f} {accuracy:13.2%}")
    print("\nSame data and C, seconds of the fastest fit. The objective is what both minimise: the lower, the nearer")
    print("to the solution. tol means two things: what our objective may be above its minimum, relative to that of the")
    print("class frequencies alone, and the largest element of LogisticRegression's gradient.\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", metavar="PATH", help="folder or .tar.gz of CIFAR-10, of either official layout")
    parser.add_argument("--out", default="quickstart.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
