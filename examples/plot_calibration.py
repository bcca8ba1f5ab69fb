"""Do the probabilities mean what they say, and can they be mended?

    python examples/plot_calibration.py

A classifier that is hardly penalised and has few images to learn from is sure of too much. Temperature scaling divides
its scores by one number, fitted on images that were held out: predictions stay, probabilities come down to earth. One
number cannot mend each class by itself: some, which were well calibrated by chance, may come out worse.
Needs scikit-learn 1.8 or later.
"""

import argparse

import matplotlib.pyplot as plt
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.inspection import ReliabilityDisplay, expected_calibration_error


def main(args):
    digits = load_digits()
    X, y = digits.data / 16, digits.target
    X_train, X_rest, y_train, y_rest = train_test_split(X, y, train_size=150, stratify=y, random_state=0)
    X_held_out, X_test, y_held_out, y_test = train_test_split(X_rest, y_rest, train_size=300, random_state=0)

    clf = SoftmaxRegressionClassifier(C=1e5).fit(X_train, y_train)
    scaled = CalibratedClassifierCV(FrozenEstimator(clf), method="temperature").fit(X_held_out, y_held_out)

    figure, (ax, bars) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for k, (name, model) in enumerate({"before": clf, "after temperature scaling": scaled}.items()):
        proba = model.predict_proba(X_test)
        ReliabilityDisplay.from_predictions(y_test, proba, name=name, ax=ax)
        errors = expected_calibration_error(y_test, proba, kind="per_class")
        bars.bar(clf.classes_ + 0.4 * k - 0.2, errors, width=0.4, color=("#0072B2", "#E69F00")[k], label=name)
        error = expected_calibration_error(y_test, proba)
        told = f"{model.score(X_test, y_test):.1%} right, cross-entropy {log_loss(y_test, proba):.3f}"
        print(f"{name}: {told}, calibration error {error:.3f}, of the worst class {errors.max():.3f}")
    ax.set_title("The predicted class: one error")
    bars.set(title="Each class by itself: ten errors", xlabel="digit", ylabel="error of the class", xticks=clf.classes_)
    bars.legend(frameon=False)
    figure.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="calibration.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
