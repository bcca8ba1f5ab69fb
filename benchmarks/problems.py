"""The data of the benchmarks, by name, and the objective by which every solver is judged."""

import argparse
import dataclasses
import pathlib
import re

import numpy as np
import scipy.sparse

BLOCK_ROWS = 8192  # rows converted to float64, or generated, at a time


@dataclasses.dataclass
class Problem:
    """Rows to fit, rows to score if any, and the values of C at which a solver is asked for the minimum."""

    name: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    Cs: tuple = (1.0,)
    sample_weight: np.ndarray | None = None

    def __post_init__(self):
        self.classes, self.codes = np.unique(self.y, return_inverse=True)

    @property
    def shape(self):
        return (*self.X.shape, len(self.classes))

    @property
    def sparse(self):
        return scipy.sparse.issparse(self.X)

    @property
    def small(self):
        """Small enough for Newton's method and for fits of milliseconds."""
        return self.X.size * len(self.classes) < 1e7

    def objective(self, coef, intercept, C):
        """F of the classifier's docstring in float64, whatever X is; NumPy only, so that it judges without us."""
        coef = np.asarray(coef, np.float64)
        intercept = np.asarray(intercept, np.float64)
        total = 0.0
        weight = np.ones(len(self.codes)) if self.sample_weight is None else self.sample_weight
        for start in range(0, self.X.shape[0], BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            scores = self.X[rows].astype(np.float64) @ coef.T + intercept
            if scores.shape[1] == 1:  # two classes: one vector of coefficients, the other class scores zero
                scores = np.hstack([np.zeros_like(scores), scores])
            chosen = np.take_along_axis(scores, self.codes[rows, None], axis=1)[:, 0]
            highest = scores.max(axis=1)
            total += weight[rows] @ (highest - chosen + np.log(np.exp(scores - highest[:, None]).sum(axis=1)))
        return (total + np.sum(coef**2) / (2 * C)) / weight.sum()

    def null_objective(self):
        """F of the best model without coefficients: the entropy of the class frequencies."""
        share = np.bincount(self.codes, self.sample_weight)
        share = share / share.sum()
        return -np.sum(share * np.log(share))

    def accuracy(self, coef, intercept):
        correct = 0
        for start in range(0, self.X_test.shape[0], BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            scores = self.X_test[rows] @ np.asarray(coef, np.result_type(self.X_test.dtype, np.float32)).T + intercept
            chosen = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(int)
            correct += np.sum(self.classes[chosen] == self.y_test[rows])
        return float(correct / self.X_test.shape[0])


# ------------------------------------------------------------------------------------------------- generated data


def powerlaw(n_samples, n_features, n_classes, seed=0, dtype=np.float32):
    """Features as image features and embeddings are: correlated, of unequal scale, the spectrum a power law.

    x = z S Q with z normal, S = diag(1/j) scaled to features of unit variance on average, and Q a random rotation;
    labels are drawn from a softmax of z. Made in blocks of rows with one generator each, so that memory stays at X and
    the first rows do not depend on how many follow.
    """
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    scale = 1 / np.arange(1, n_features + 1)
    scale *= np.sqrt(n_features / np.sum(scale**2))
    mixing = (scale[:, None] * rotation).astype(dtype)
    n_informative = min(n_features, 64)
    teacher = rng.standard_normal((n_informative, n_classes)).astype(dtype) * np.sqrt(8 / n_informative, dtype=dtype)
    X, y = np.empty((n_samples, n_features), dtype), np.empty(n_samples, np.int64)
    for start in range(0, n_samples, BLOCK_ROWS):
        rng = np.random.default_rng((seed, start))
        z = rng.standard_normal((BLOCK_ROWS, n_features), dtype)
        scores = z[:, :n_informative] @ teacher + rng.gumbel(size=(BLOCK_ROWS, n_classes))
        stop = min(start + BLOCK_ROWS, n_samples)
        X[start:stop] = (z @ mixing)[: stop - start]
        y[start:stop] = scores[: stop - start].argmax(axis=1)
    return X, y


def text(n_samples, n_features, n_classes, tfidf, seed=0):
    """Documents as counts of words, or as TF-IDF: words by Zipf's law, and a few that the class is about.

    Those are one word in seventeen, from 500 of middling frequency that each class prefers. float64, as scikit-learn's
    vectorisers give it; some 110 distinct words a document.
    """
    rng = np.random.default_rng(seed)
    law = 1 / np.arange(1, n_features + 1)
    law /= law.sum()
    cumulated = np.cumsum(law)
    y = rng.integers(n_classes, size=n_samples)
    n_words = rng.poisson(130, n_samples) + 1
    n_own = n_words // 16
    rows = [np.repeat(np.arange(n_samples), n_words)]
    words = [np.searchsorted(cumulated, rng.random(n_words.sum()))]
    for k in range(n_classes):
        preferred = rng.choice(np.arange(n_features // 1000, n_features // 10), size=500, replace=False)
        documents = np.flatnonzero(y == k)
        rows.append(np.repeat(documents, n_own[documents]))
        words.append(rng.choice(preferred, size=n_own[documents].sum()))
    rows, words = np.concatenate(rows), np.minimum(np.concatenate(words), n_features - 1)
    X = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, words)), shape=(n_samples, n_features))
    if tfidf:
        from sklearn.feature_extraction.text import TfidfTransformer

        X = TfidfTransformer(sublinear_tf=True).fit_transform(X)
    return X, y


def _text(name, options):
    n_samples = 11_000
    X, y = text(n_samples + 2000, 100_000, 20, name.endswith("tfidf"))
    return Problem(name, X[:n_samples], y[:n_samples], X[n_samples:], y[n_samples:])


def _generated(name, shape, Cs):
    n_samples, n_features, n_classes = shape
    X, y = powerlaw(n_samples + min(10_000, n_samples), n_features, n_classes)
    return Problem(name, X[:n_samples], y[:n_samples], X[n_samples:], y[n_samples:], Cs)


# ---------------------------------------------------------------------------------------------------- real data


def _sklearn(name, options):
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    return Problem(name, X, y, X_test, y_test, (1e-3, 1.0, 1e3))


def _cifar10(options):
    from softmax_clf.datasets import load_cifar10

    return load_cifar10(options.cifar10)


def _cifar_pixels(name, options):
    Cs = (1e-3, 1.0)
    if options.cifar10 is None:
        return _generated(f"{name} (generated)", (50_000, 3072, 10), Cs)
    data = _cifar10(options)
    if name.endswith("uint8"):
        return Problem(name, np.array(data.X_train), data.y_train, np.array(data.X_test), data.y_test, Cs)
    X, X_test = data.X_train.astype(np.float32), data.X_test.astype(np.float32)
    if name.endswith("01"):
        X /= 255
        X_test /= 255
    return Problem(name, X, data.y_train, X_test, data.y_test, Cs)


def _cifar_features(name, options):
    Cs = (1e-3, 1.0)
    if options.cifar10 is None:
        return _generated(f"{name} (generated)", (50_000, 1600, 10), Cs)
    data = _cifar10(options)
    X, X_test = _patch_features(data, options)
    if not name.endswith("raw"):
        mean, scale = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
        for part in (X, X_test):
            part -= mean.astype(np.float32)
            part /= np.maximum(scale, 1e-12).astype(np.float32)
    return Problem(name, X, data.y_train, X_test, data.y_test, Cs)


def _patch_features(data, options):
    """k-means patch features, 4 quadrants x 400 centroids; minutes of work, so kept in --cache where one is given."""
    from softmax_clf.features import PatchKMeans

    folder = pathlib.Path(options.cache) if options.cache else None
    files = [folder / f"cifar-features-{part}.npy" for part in ("train", "test")] if folder else []
    if files and all(file.exists() for file in files):
        return [np.load(file) for file in files]
    encoder = PatchKMeans(n_centroids=400, image_shape=data.image_shape, channels_first=True, random_state=0)
    parts = [
        np.asarray(part, np.float32) for part in (encoder.fit_transform(data.X_train), encoder.transform(data.X_test))
    ]
    for file, part in zip(files, parts, strict=False):
        folder.mkdir(parents=True, exist_ok=True)
        np.save(file, part)
    return parts


def _embeddings(name, options):
    Cs = (1.0, 100.0)
    if options.embeddings is None:
        return _generated(f"{name} (generated)", (50_000, 512, 10), Cs)
    if options.cifar10 is None:
        raise SystemExit("--embeddings needs --cifar10 as well: the labels stand there")
    data = _cifar10(options)
    folder = pathlib.Path(options.embeddings)
    X, X_test = (np.load(folder / f"{part}.npy").astype(np.float32) for part in ("train", "test"))
    return Problem(name, X, data.y_train, X_test, data.y_test, Cs)


LOADERS = {
    "iris": _sklearn,
    "wine": _sklearn,
    "breast_cancer": _sklearn,
    "digits": _sklearn,
    "cifar-pixels": _cifar_pixels,
    "cifar-pixels-01": _cifar_pixels,
    "cifar-pixels-uint8": _cifar_pixels,
    "cifar-features": _cifar_features,
    "cifar-features-raw": _cifar_features,
    "embeddings": _embeddings,
    "text-counts": _text,
    "text-tfidf": _text,
    "powerlaw-100": lambda name, options: _generated(name, (50_000, 512, 100), (1.0,)),
}


def add_arguments(parser):
    parser.add_argument("--cifar10", metavar="PATH", help="CIFAR-10 in an official layout (else generated data)")
    parser.add_argument("--embeddings", metavar="DIR", help="train.npy and test.npy of CIFAR-10 (else generated data)")
    parser.add_argument("--cache", metavar="DIR", help="where computed image features are kept")
    parser.add_argument("--rows", type=int, help="use only so many training rows: to try things out")


def load(name, options=None):
    """A problem of `LOADERS`, or generated data of any shape: 'powerlaw-50000x512x10'."""
    options = options or argparse.Namespace(cifar10=None, embeddings=None, cache=None, rows=None)
    if shape := re.fullmatch(r"powerlaw-(\d+)x(\d+)x(\d+)", name):
        return _generated(name, tuple(map(int, shape.groups())), (1.0,))
    if name not in LOADERS:
        raise SystemExit(f"unknown problem {name!r}; there are {', '.join(LOADERS)} and powerlaw-ROWSxFEATURESxCLASSES")
    problem = LOADERS[name](name, options)
    if options.rows and options.rows < problem.X.shape[0]:
        X, y = problem.X[: options.rows].copy(), problem.y[: options.rows]
        problem = dataclasses.replace(problem, name=f"{problem.name}, {options.rows} rows", X=X, y=y)
    return problem
