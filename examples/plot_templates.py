"""What does each class look for in the pixels, and what does the penalty do to it?

    python examples/plot_templates.py                    # digits
    python examples/plot_templates.py --cifar10 PATH     # the first 10,000 images of CIFAR-10

Each row of coefficients is a template: the score of a class is the inner product with its template. A strong penalty
keeps the large, common strokes; a weak one also fits what tells single images apart. A classifier of principal
components has templates too, once its coefficients are carried back to the pixels.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.datasets import load_cifar10
from softmax_clf.inspection import TemplateDisplay


def main(args):
    if args.cifar10:
        data = load_cifar10(args.cifar10)
        X, y = np.float32(data.X_train[:10_000]) / 255, data.y_train[:10_000]
        layout = {"image_shape": data.image_shape, "channels_first": True}
        strong, weak, n_components = 1e-3, 1e-1, 100
    else:
        data = load_digits()
        X, y = data.data / 16, data.target
        layout = {"image_shape": (8, 8)}
        strong, weak, n_components = 1e-2, 10.0, 20

    models = {
        f"strong penalty, C = {strong:g}": SoftmaxRegressionClassifier(strong),
        f"weak penalty, C = {weak:g}": SoftmaxRegressionClassifier(weak),
        f"{n_components} principal components, C = {weak:g}, carried back to pixels": make_pipeline(
            PCA(n_components, random_state=0), SoftmaxRegressionClassifier(weak)
        ),
    }
    figure = plt.figure(figsize=(13, 5.4), layout="constrained")
    for part, (title, model) in zip(figure.subfigures(len(models), 1), models.items(), strict=True):
        # Each row has a colour scale of its own: weak penalties make weights that are many times as large.
        axes = part.subplots(1, 10)
        TemplateDisplay.from_estimator(model.fit(X, y), class_names=data.target_names, ax=axes, **layout)
        part.suptitle(f"{title}: {model.score(X, y):.1%} of the training images right; a scale of its own")
    figure.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", metavar="PATH", help="folder or .tar.gz of CIFAR-10, of either official layout")
    parser.add_argument("--out", default="templates.png", help="where to write the picture (default: %(default)s)")
    main(parser.parse_args())
