"""How good is the last layer of a network, and what does it look at?

    python examples/linear_probe_torch.py                     # digits: half a minute
    python examples/linear_probe_torch.py --cifar10 PATH      # 10,000 images of CIFAR-10: minutes

A small ResNet is trained for some epochs, as far as time allows. Its features are taken by hooks, after and before the
global average pooling, and probed: `SoftmaxRegressionClassifierCV` finds the best last layer there is for them. That
one replaces the network's, as a linear layer, and as a 1 x 1 convolution, which scores every position of the feature
map: the class activation map. Drawn are images that the old layer got wrong and the new one gets right.
"""

import argparse
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from softmax_clf import SoftmaxRegressionClassifierCV
from softmax_clf.datasets import load_cifar10
from softmax_clf.inspection import ScoreMapDisplay, score_map
from softmax_clf.interop import to_torch

try:
    import torch
    from torch import nn
except ImportError:
    raise SystemExit("Expected torch, which is not installed. Remedy: pip install torch") from None

N_SHOWN = 4
BATCH = 64


class Block(nn.Module):
    """Two convolutions, and a way around them."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.around = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(n_out) for _ in range(3))

    def forward(self, x):
        hidden = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(self.norms[1](self.second(hidden)) + self.norms[2](self.around(x)))


class ResNet(nn.Module):
    """Blocks, the global average, and the last layer, named as in torchvision."""

    def __init__(self, n_channels, widths, n_classes):
        super().__init__()
        sizes = [n_channels, *widths]
        strides = [1] + [2] * (len(widths) - 1)
        self.blocks = nn.Sequential(*map(Block, sizes[:-1], widths, strides))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], n_classes)

    def forward(self, x):
        return self.fc(self.avgpool(self.blocks(x)).flatten(1))


def train(network, images, y, n_epochs):
    """Some epochs of SGD with momentum and a learning rate that falls to zero."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=n_epochs * (len(y) // BATCH))
    network.train()
    for _ in range(n_epochs):
        for rows in torch.randperm(len(y))[: len(y) // BATCH * BATCH].reshape(-1, BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def outputs(network, images, *modules):
    """What modules of the network put out for images, one array each, taken by hooks as the images go through."""
    parts = [[] for _ in modules]
    hooks = [
        module.register_forward_hook(lambda _, __, out, part=part: part.append(out.numpy()))
        for module, part in zip(modules, parts, strict=True)
    ]
    with torch.no_grad():
        for batch in images.split(1000):
            network(batch)
    for hook in hooks:
        hook.remove()
    return [np.concatenate(part) for part in parts]


def load(args):
    """Images (n, channels, height, width) in float32, labels, names of the classes, widths, epochs."""
    if args.cifar10:
        data = load_cifar10(args.cifar10)
        images = np.concatenate([data.X_train[:10_000], data.X_test[:2000]])
        y = np.concatenate([data.y_train[:10_000], data.y_test[:2000]])
        images = images.reshape(-1, 3, 32, 32).astype(np.float32) / 255
        return images, y, data.target_names, (32, 64, 128), 4
    data = load_digits()
    return data.images[:, None].astype(np.float32) / 16, data.target, [str(k) for k in range(10)], (16, 32), 2


def main(args):
    torch.manual_seed(0)
    images, y, names, widths, n_epochs = load(args)
    X_train, X_test, y_train, y_test = train_test_split(images, y, test_size=1 / 6, stratify=y, random_state=0)
    X_train, X_test = torch.from_numpy(X_train), torch.from_numpy(X_test)
    network = ResNet(images.shape[1], widths, len(names))
    start = time.perf_counter()
    train(network, X_train, torch.from_numpy(y_train), n_epochs)
    print(f"the network: {n_epochs} epochs on {len(y_train)} images in {time.perf_counter() - start:.1f} s")

    # Features, after the pooling and before.
    features = outputs(network, X_train, network.avgpool)[0][:, :, 0, 0]
    maps, scores_before = outputs(network, X_test, network.blocks, network.fc)
    maps = maps.transpose(0, 2, 3, 1)  # channels last

    start = time.perf_counter()
    probe = SoftmaxRegressionClassifierCV(np.logspace(-3, 3, 13), standardize=True).fit(features, y_train)
    print(
        f"the probe: C={probe.C_:.3g} of 13 values on 5 folds, and the fit, in {time.perf_counter() - start:.1f} s; "
        f"converged: {probe.converged_}"
    )

    network.fc = to_torch(probe)
    (scores,) = outputs(network, X_test, network.fc)
    before, after = scores_before.argmax(axis=1) == y_test, scores.argmax(axis=1) == y_test
    print(
        f"right of {len(y_test)} test images: {before.mean():.2%} by the layer as trained, {after.mean():.2%} replaced"
    )

    # The same weights as a 1 x 1 convolution, at every position. The mean of its scores are those of the layer.
    convolution = nn.Conv2d(features.shape[1], len(names), 1)
    convolution.load_state_dict({"weight": network.fc.weight[:, :, None, None], "bias": network.fc.bias})
    with torch.no_grad():
        at_each = convolution(torch.from_numpy(maps).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    for what, found, expected in (
        ("score_map is what the convolution puts out", at_each, score_map(probe, maps)),
        ("its mean is what the layer puts out", at_each.mean(axis=(1, 2)), scores),
    ):
        difference = np.abs(found - expected).max() / np.abs(expected).max()
        print(f"{what}, to {difference:.0e} of the largest score")
        assert difference < 1e-5

    chosen = np.concatenate([np.flatnonzero(~before & after), np.flatnonzero(after)])[:N_SHOWN]
    figure, axes = plt.subplots(N_SHOWN, 3, figsize=(6.8, 2.3 * N_SHOWN), layout="constrained")
    for i, row in zip(chosen, axes, strict=True):
        image = X_test[i].numpy().transpose(1, 2, 0)
        image = image if args.cifar10 else 1 - image[:, :, 0]  # digits as ink on paper
        was = scores_before[i].argmax()
        other = was if was != y_test[i] else np.argsort(scores[i])[-2]
        options = {"image": image, "class_names": names, "classes": [names[y_test[i]], names[other]]}
        ScoreMapDisplay.from_estimator(probe, maps[i], ax=row, **options)
        row[0].set_title(f"a {names[y_test[i]]}; was: {names[was]}", fontsize="medium")
    figure.suptitle("Scores of the true class and of another at each position:\nred for, blue against")
    figure.savefig(args.out, dpi=100)
    print(f"written to {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", metavar="PATH", help="folder or .tar.gz of CIFAR-10, of either official layout")
    parser.add_argument("--out", default="linear_probe_torch.png", help="the picture (default: %(default)s)")
    main(parser.parse_args())
