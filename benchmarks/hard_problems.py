"""Families of hard problems: features of rare values, heavy tails, near collinearity, huge offsets, tiny classes.

Each family is a function that returns X and y, and row weights where it has some; `FAMILIES` has them by name. Two
thirds of them are for development; the others are `held_out`: no constant is ever fitted to those. Generated, or made
from data that come with scikit-learn; those of CIFAR-10 and of embeddings of its images need the user's path.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import numpy as np

import problems


@dataclasses.dataclass
class Family:
    """A function that makes the data, and the values of C at which its minimum is asked for."""

    name: str
    make: Callable
    Cs: tuple
    held_out: bool
    needs: tuple  # the options that say where its data are

    def available(self, options):
        return all(getattr(options, option) for option in self.needs)

    def load(self, options):
        X, y, *weight = self.make(options)
        return problems.Problem(self.name, X, y, Cs=self.Cs, sample_weight=weight[0] if weight else None)


FAMILIES = {}


def family(*Cs, held_out=False, needs=()):
    """Enter a function as a family under its own name."""

    def enter(make):
        name = make.__name__.replace("_", "-")
        FAMILIES[name] = Family(name, make, Cs, held_out, needs)
        return make

    return enter


def add_arguments(parser):
    parser.add_argument("--cifar10", metavar="PATH", help="CIFAR-10 in an official layout (else its families rest)")
    parser.add_argument("--embeddings", metavar="DIR", help="train.npy of CIFAR-10 (else its families rest)")


# ------------------------------------------------------------------------------------------------ building blocks


def standardised(X):
    """Columns of mean zero and deviation one; constant ones are left out."""
    X = X[:, X.std(axis=0) > 1e-12 * np.abs(X).max(axis=0)]
    return (X - X.mean(axis=0)) / X.std(axis=0)


def mixture(rng, n_samples, n_features, n_classes, spread=0.5):
    """Rows about one centre a class."""
    centres = rng.standard_normal((n_classes, n_features))
    y = rng.integers(n_classes, size=n_samples)
    return spread * centres[y] + rng.standard_normal((n_samples, n_features)), y


def drawn(rng, scores):
    """A label for each row, from the softmax of its scores."""
    return (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)


def projections(rng, X, n_features):
    """Random directions of standardised columns, each of deviation one."""
    X = standardised(np.asarray(X, np.float64))
    return standardised(X @ rng.standard_normal((X.shape[1], n_features)))


def random_relu(rng, X, n_features):
    Z = projections(rng, X, n_features)
    return standardised(np.maximum(Z - rng.uniform(0, 3.2, n_features), 0))


def random_fourier(rng, X, n_features, bandwidth):
    return standardised(np.cos(projections(rng, X, n_features) / bandwidth + rng.uniform(0, 2 * np.pi, n_features)))


def random_binary(rng, X, n_features):
    return standardised((projections(rng, X, n_features) > rng.uniform(-2.5, 2.5, n_features)).astype(np.float64))


def zipf_levels(rng, n_samples, n_levels, exponent=1.3):
    """Categories as they occur: few that are frequent and a long tail."""
    law = np.arange(1, n_levels + 1) ** -exponent
    return rng.choice(n_levels, size=n_samples, p=law / law.sum())


def one_hot(levels, n_levels):
    return (levels[:, None] == np.arange(n_levels)).astype(np.float64)


def bundled(name):
    import sklearn.datasets

    return getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)


def polynomial(name, degree):
    from sklearn.preprocessing import PolynomialFeatures

    X, y = bundled(name)
    return standardised(PolynomialFeatures(degree, include_bias=False).fit_transform(standardised(X))), y


@functools.lru_cache(1)
def _cifar10(path):
    from softmax_clf.datasets import load_cifar10

    data = load_cifar10(path)
    return data.X_train, data.y_train


def cifar10(options, n_samples):
    X, y = _cifar10(options.cifar10)
    return X[:n_samples], y[:n_samples]


def embeddings(options, n_samples):
    X = np.load(pathlib.Path(options.embeddings, "train.npy"), mmap_mode="r")[:n_samples]
    return standardised(X.astype(np.float64)).astype(np.float32), _cifar10(options.cifar10)[1][:n_samples]


def documents(rng, n_documents, n_words, n_classes):
    """Texts of Zipf's words, each often followed by the same next one, some of them preferred by the class."""
    law = 1 / np.arange(1, n_words + 1)
    law /= law.sum()
    successor = rng.permutation(n_words)
    preferred = rng.integers(n_words // 50, n_words, (n_classes, 60))
    y = rng.integers(n_classes, size=n_documents)
    texts = []
    for label in y:
        length = rng.integers(20, 120)
        words = rng.choice(n_words, size=length, p=law)
        own = rng.random(length) < 0.06
        words[own] = rng.choice(preferred[label], size=own.sum())
        for i in np.flatnonzero(rng.random(length - 1) < 0.3):
            words[i + 1] = successor[words[i]]
        texts.append(" ".join(f"w{word}" for word in words))
    return texts, y


# -------------------------------------------------------------------------------- random features of images


@family(1e3)
def relu_digits(options):
    X, y = bundled("digits")
    return random_relu(np.random.default_rng(0), X, 600), y


@family(1.0)
def fourier_digits(options):
    X, y = bundled("digits")
    return random_fourier(np.random.default_rng(1), X, 600, 1.5), y


@family(1e-3, 1e3, held_out=True)
def binary_digits(options):
    X, y = bundled("digits")
    return random_binary(np.random.default_rng(2), X, 500), y


@family(1.0, 1e4, needs=("cifar10",))
def relu_cifar_300(options):
    X, y = cifar10(options, 8_000)
    return random_relu(np.random.default_rng(3), X, 300), y


@family(1.0, 100.0, needs=("cifar10",))
def relu_cifar_1000(options):
    X, y = cifar10(options, 12_000)
    return random_relu(np.random.default_rng(4), X, 1000), y


@family(1.0, 1e3, held_out=True, needs=("cifar10",))
def fourier_cifar(options):
    X, y = cifar10(options, 6_000)
    return random_fourier(np.random.default_rng(5), X, 500, 1.0), y


@family(1e-3, 100.0, needs=("cifar10",))
def binary_cifar(options):
    X, y = cifar10(options, 6_000)
    return random_binary(np.random.default_rng(6), X, 400), y


@family(1e3, needs=("cifar10", "embeddings"))
def embeddings_2000(options):
    return embeddings(options, 2_000)


@family(1.0, 100.0, held_out=True, needs=("cifar10", "embeddings"))
def embeddings_10000(options):
    return embeddings(options, 10_000)


@family(1.0, needs=("cifar10", "embeddings"))
def embeddings_50000(options):
    return embeddings(options, 50_000)


@family(1.0, 100.0, 1e4)
def rare_features(options):
    """Many ReLU features that are active in few rows."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((8, 40))
    y = rng.integers(0, 8, 5000)
    Z = (centres[y] * 0.5 + rng.standard_normal((5000, 40))) @ rng.standard_normal((40, 300)) / 40**0.5
    return standardised(np.maximum(Z - rng.uniform(0, 3.2, 300), 0)), y


@family(1.0, 1e3)
def saturated_tanh(options):
    """Hidden units that are +1 or -1 in nearly all rows."""
    rng = np.random.default_rng(7)
    X, y = mixture(rng, 4_000, 30, 6)
    Z = projections(rng, X, 250)
    return standardised(np.tanh(8 * (Z - rng.uniform(-3, 3, 250)))), y


# ----------------------------------------------------------------------------------- categories, interactions, words


@family(1e-3, 1.0, 1e3, np.inf)
def one_hot_zipf(options):
    """Categorical columns, standardised: a level that three rows have is 45 deviations there."""
    rng = np.random.default_rng(8)
    columns = [one_hot(zipf_levels(rng, 6_000, 60), 60) for _ in range(8)]
    X = np.hstack(columns)
    return standardised(X), drawn(rng, X @ rng.standard_normal((480, 4)))


@family(1.0, 1e3, held_out=True)
def one_hot_interactions(options):
    """Two categories, their pairs, and a number within each of the levels; as they come."""
    rng = np.random.default_rng(9)
    a, b, number = zipf_levels(rng, 5_000, 20), zipf_levels(rng, 5_000, 15), rng.lognormal(size=5_000)
    pairs = one_hot(a * 15 + b, 300)
    X = np.hstack([one_hot(a, 20), one_hot(b, 15), number[:, None], one_hot(a, 20) * number[:, None], pairs])
    X = X[:, X.any(axis=0)]
    return X, drawn(rng, standardised(X) @ rng.standard_normal((X.shape[1], 3)) / 3)


@family(1e4)
def rare_events(options):
    """Two classes, one of them in a hundredth of the rows, and flags that few rows have."""
    rng = np.random.default_rng(10)
    flags = (rng.random((15_000, 120)) < 10 ** rng.uniform(-3.5, -0.5, 120)).astype(np.float64)
    X = np.hstack([flags, rng.standard_normal((15_000, 10))])
    scores = standardised(X) @ rng.standard_normal(130) / 3
    return X, (scores + rng.logistic(size=15_000) > np.quantile(scores, 0.99) + 2).astype(np.int64)


@family(100.0, held_out=True)
def binary_interactions(options):
    """Two classes, products of flags, standardised."""
    rng = np.random.default_rng(11)
    flags = (rng.random((6_000, 25)) < rng.uniform(0.02, 0.5, 25)).astype(np.float64)
    first, second = np.triu_indices(25, 1)
    X = np.hstack([flags, flags[:, first] * flags[:, second]])
    X = X[:, X.any(axis=0)]
    scores = standardised(X) @ rng.standard_normal(X.shape[1]) / 4
    return standardised(X), (scores + rng.logistic(size=6_000) > 0).astype(np.int64)


@family(1.0)
def bigram_counts(options):
    from sklearn.feature_extraction.text import CountVectorizer

    texts, y = documents(np.random.default_rng(12), 1_500, 5_000, 8)
    return CountVectorizer(ngram_range=(1, 2), dtype=np.float64).fit_transform(texts), y


@family(100.0, held_out=True)
def bigram_tfidf(options):
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, y = documents(np.random.default_rng(13), 1_200, 4_000, 6)
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts), y


@family(1e3)
def words_of_few(options):
    """More rows than words: CSR that is not solved in the space of its rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, y = documents(np.random.default_rng(14), 5_000, 1_500, 5)
    return TfidfVectorizer(min_df=3, norm=None).fit_transform(texts), y


# ---------------------------------------------------------------------------------------------- polynomial terms


@family(1e3)
def iris_cubic(options):
    return polynomial("iris", 3)


@family(np.inf, held_out=True)
def iris_quadratic(options):
    return polynomial("iris", 2)


@family(1e4)
def wine_cubic(options):
    return polynomial("wine", 3)


@family(1.0, held_out=True)
def wine_quadratic(options):
    return polynomial("wine", 2)


@family(1.0, 1e3)
def cancer_quadratic(options):
    return polynomial("breast_cancer", 2)


@family(1.0, held_out=True)
def cancer_cubic(options):
    return polynomial("breast_cancer", 3)


# ------------------------------------------------------------------------------------- tails, scales, collinearity


@family(1e3)
def quantised(options):
    """Numbers cut to a few levels, the highest of which few rows have."""
    rng = np.random.default_rng(15)
    X, y = mixture(rng, 5_000, 120, 5, 0.25)
    return standardised(np.floor(np.exp(X * rng.uniform(0.2, 1.0, 120)) * rng.uniform(0.2, 1.0, 120))), y


@family(1.0, 1e3)
def log_normal(options):
    rng = np.random.default_rng(16)
    X, y = mixture(rng, 5_000, 100, 5, 0.3)
    return standardised(np.exp(X * rng.uniform(0.5, 2.5, 100))), y


@family(1.0, 1e4, held_out=True)
def cauchy(options):
    """Columns whose largest value is most of their variance."""
    rng = np.random.default_rng(17)
    X, y = mixture(rng, 4_000, 80, 4, 0.5)
    return standardised(X + rng.standard_cauchy((4_000, 80)) * rng.uniform(0.01, 0.3, 80)), y


@family(1.0, 1e3)
def nearly_equal(options):
    """Columns in pairs that differ by 1e-8 of their deviation."""
    rng = np.random.default_rng(18)
    X, y = mixture(rng, 2_500, 200, 5, 0.25)
    return np.hstack([X, X + 1e-8 * rng.standard_normal(X.shape)]), y


@family(100.0)
def shifted(options):
    """Means of 1e8 beside deviations of 1."""
    X, y = mixture(np.random.default_rng(19), 3_000, 60, 4, 0.3)
    return X + 1e8, y


@family(1.0, held_out=True)
def units(options):
    """Columns in units that differ by eight orders of magnitude."""
    rng = np.random.default_rng(20)
    X, y = mixture(rng, 4_000, 60, 5, 0.3)
    return X * 10 ** rng.uniform(-4, 4, 60), y


# --------------------------------------------------------------------------------------------- shapes and labels


@family(1e3)
def square(options):
    X, y = mixture(np.random.default_rng(21), 500, 500, 5, 0.1)
    return X, y


@family(1.0, np.inf, held_out=True)
def wide(options):
    X, y = mixture(np.random.default_rng(22), 300, 1_500, 4, 0.1)
    return X, y


@family(1e3)
def tiny_classes(options):
    """Eight classes, of which six have five rows among 20,000."""
    rng = np.random.default_rng(23)
    y = rng.integers(2, size=20_000)
    for k in range(2, 8):
        y[rng.choice(20_000, 5, replace=False)] = k
    return 0.5 * rng.standard_normal((8, 60))[y] + rng.standard_normal((20_000, 60)), y


@family(1e-3, np.inf)
def label_noise(options):
    """Well separated classes, a third of whose labels mean nothing."""
    rng = np.random.default_rng(24)
    X, y = mixture(rng, 5_000, 100, 6, 1.0)
    noisy = rng.random(5_000) < 0.35
    y[noisy] = rng.integers(6, size=noisy.sum())
    return X, y


@family(1e4, np.inf, held_out=True)
def separable(options):
    X, y = mixture(np.random.default_rng(25), 3_000, 60, 5, 1.5)
    return X, y


@family(1.0, held_out=True)
def many_classes(options):
    rng = np.random.default_rng(26)
    X, y = mixture(rng, 4_000, 60, 80, 0.6)
    return random_relu(rng, X, 100), y


@family(1.0, 1e3)
def weighted(options):
    """Row weights over six orders of magnitude."""
    rng = np.random.default_rng(27)
    X, y = mixture(rng, 4_000, 80, 5, 0.3)
    return random_relu(rng, X, 100), y, rng.lognormal(sigma=2.5, size=4_000)
