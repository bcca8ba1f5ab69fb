"""Which labels are wrong? Digits whose labels were flipped at random are found again.

    python examples/find_label_errors.py

A label is suspect where a fit that has not seen its image finds it unlikely. Two ways to such probabilities, neither of
which fits anything twice: out-of-fold, by the folds by which C was chosen; and leave-one-out, by Newton steps from the
fit to all images, so that it learns from all others. The loss of the fit itself, which has seen the wrong labels, is
drawn beside them. On these digits it ranks labels no worse: a linear classifier of 64 pixels with a strong penalty does
not learn 180 wrong labels by heart. But it is no measure of how sure one can be, since each label has a say in its own.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifierCV
from softmax_clf.inspection import leave_one_out

COLORS = {"out-of-fold": "#0072B2", "leave-one-out": "#E69F00", "the fit itself": "#999999"}
STYLES = {"out-of-fold": "-", "leave-one-out": "--", "the fit itself": ":"}


def flipped(y, share, random_state):
    """Labels, a share of which are others, each other one equally likely; and which they are."""
    rng = np.random.default_rng(random_state)
    wrong = np.zeros(len(y), bool)
    wrong[rng.choice(len(y), round(share * len(y)), replace=False)] = True
    return np.where(wrong, (y + rng.integers(1, 10, len(y))) % 10, y), wrong


def main(args):
    digits = load_digits()
    X, right = StandardScaler().fit_transform(digits.data), digits.target
    y, wrong = flipped(right, args.share, random_state=0)

    clf = SoftmaxRegressionClassifierCV(np.logspace(-4, 1, 11), store_oof_proba=True).fit(X, y)
    without = leave_one_out(clf, X, y)
    rows = np.arange(len(y))
    with np.errstate(divide="ignore"):
        loss = {
            "out-of-fold": -np.log(clf.oof_proba_[rows, y]),
            "leave-one-out": -without.log_proba[rows, y],
            "the fit itself": clf.sample_loss(X, y),
        }
    print(f"{wrong.sum()} of {len(y)} labels are wrong; C = {clf.C_:.3g} was chosen with them")
    print(f"leave-one-out vouches for {without.vouched.sum()} rows; {(without.n_steps > 1).sum()} took further steps")
    for name, of_row in loss.items():
        found = wrong[np.argsort(-of_row)[: wrong.sum()]].mean()
        told = f"average precision {average_precision_score(wrong, of_row):.3f}"
        print(f"{name}: {told}; of the {wrong.sum()} largest losses {found:.1%} are of wrong labels")

    figure = plt.figure(figsize=(11, 5), layout="constrained")
    left, images = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    draw_curves(left.subplots(), wrong, loss)
    suspects = np.argsort(-loss["leave-one-out"])[:15]
    best = without.log_proba.argmax(axis=1)
    draw_images(images, digits.images, suspects, y, best, wrong, loss["leave-one-out"])
    figure.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


def draw_curves(ax, wrong, loss):
    for name, of_row in loss.items():
        precision, recall, _ = precision_recall_curve(wrong, of_row)
        told = f"{name}, average precision {average_precision_score(wrong, of_row):.3f}"
        ax.plot(recall, precision, STYLES[name], color=COLORS[name], linewidth=2, label=told)
    ax.set(
        title="Wrong labels among those of the largest loss",
        xlabel="share of the wrong labels that are found",
        ylabel="share of those looked at that are wrong",
        xlim=(0.5, 1.005),
        ylim=(0.5, 1.01),
    )
    ax.legend(frameon=False, loc="lower left")
    ax.spines[["top", "right"]].set_visible(False)


def draw_images(figure, images, rows, y, best, wrong, loss):
    for ax, i in zip(figure.subplots(3, 5).flat, rows, strict=True):
        ax.imshow(images[i], cmap="gray_r")
        mark = "flipped" if wrong[i] else "not flipped"
        ax.set_title(f"label {y[i]}, a {best[i]}?\nloss {loss[i]:.1f}, {mark}", fontsize="small")
        ax.set_axis_off()
    figure.suptitle("The largest losses by leave-one-out")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.1, help="of labels to flip (default: %(default)s)")
    parser.add_argument("--out", default="label_errors.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
