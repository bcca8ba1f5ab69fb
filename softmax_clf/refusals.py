"""Rows that cannot be fitted: which of them, in which column, and what helps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.sparse import issparse

from .sources.arrays import stored_attribute


def check_shapes(X: Any, y: Any = None) -> None:
    """Raise ValueError for samples that are no rows, and where X and y have changed places.

    Parameters
    ----------
    X, y : array-like, as given to fit
    """
    shape = stored_attribute(X, "shape")
    if not isinstance(shape, tuple):
        return
    if len(shape) > 2:
        raise ValueError(
            f"Found array with dim {len(shape)}: expected X of shape (n_samples, n_features), got {shape}. Remedy: put "
            "softmax_clf.features.Flatten() before the classifier in a pipeline, or give X.reshape(len(X), -1)."
        )
    if len(shape) == 1 and len(getattr(y, "shape", ())) == 2 and y.shape[1] > 1:
        raise ValueError(
            f"Expected X of shape (n_samples, n_features), and y with a label for each row, got shapes {shape} and "
            f"{y.shape}: they seem to have changed places. Remedy: fit(X, y). Reshape your data only if X has a single "
            "feature."
        )
    if len(shape) == 1:
        raise _texts(X) or ValueError(
            f"Expected 2D array, X of shape (n_samples, n_features), got 1D array of shape {shape}. Reshape your data: "
            "np.reshape(X, (-1, 1)) if X has a single feature, np.reshape(X, (1, -1)) if it is a single sample."
        )


@contextmanager
def explaining_refusals(X: Any) -> Iterator[None]:
    """Say which value of X is the trouble, where scikit-learn's checks refuse it."""
    try:
        yield
    except (ValueError, np.exceptions.DTypePromotionError) as error:
        if "contains NaN" in str(error) or "contains infinity" in str(error):
            raise _not_finite(X, str(error)) from None
        if "Complex data not supported" in str(error):
            raise ValueError(
                "Complex data not supported: expected real numbers in X. Remedy: give real and imaginary parts as "
                "columns of their own."
            ) from None
        raise _texts(X) or _not_numeric(X) or error from None


def _columns(X):
    """Names of columns with their values, of a frame or an array."""
    if hasattr(X, "columns") and hasattr(X, "__getitem__"):
        return [(f"column {name!r}", X[name]) for name in X.columns]
    if hasattr(X, "shape") or isinstance(X, list | tuple):
        X = np.asarray(X)
        return [(f"column {j}", X[:, j]) for j in range(X.shape[1])] if X.ndim == 2 else []
    return []


def _not_finite(X, message):
    """The error for values that are missing or infinite; with the message given where nobody can find out which."""
    if issparse(X):
        X = X.tocoo()
        places = [(f"column {X.col[i]}", X.row[i], X.data[i]) for i in np.flatnonzero(~np.isfinite(X.data))[:1]]
    else:
        places = []
        for name, values in _columns(X):
            try:
                values = np.asarray(values, dtype=np.float64)
            except (TypeError, ValueError):
                continue
            bad = np.flatnonzero(~np.isfinite(values))
            places += [(name, bad[0], values[bad[0]])] if len(bad) else []
    if not places:
        return ValueError(message.split("\n")[0])
    name, row, value = min(places, key=lambda place: place[1])
    kind = "NaN" if np.isnan(value) else "infinity"
    return ValueError(
        f"Expected finite values, but input X contains {kind} in row {row} and {name}. Remedy: leave out such rows, or "
        "put sklearn.impute.SimpleImputer() before the classifier in a pipeline."
    )


def _texts(X):
    """The error for texts in the place of rows, None if these are none."""
    shape = stored_attribute(X, "shape")
    is_flat = len(shape) == 1 if isinstance(shape, tuple) else isinstance(X, list | tuple)
    first = next(iter(X), None) if is_flat else None
    if not isinstance(first, str):
        return None
    return ValueError(
        f"Expected rows of numbers in X, got texts, which could not be converted to float, the first {_short(first)}. "
        "Remedy: put sklearn.feature_extraction.text.TfidfVectorizer() before the classifier in a pipeline."
    )


def _short(text):
    """A text as it is written in code, its beginning where it is long."""
    text = str(text)  # not a string of NumPy, whose repr says so
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _not_numeric(X):
    """The error for a column of text or dates, None if there is none."""
    for name, values in _columns(X):
        kind = np.asarray(values).dtype.kind
        if kind in "mM":
            return ValueError(
                f"Expected numbers in X, but {name} holds {'dates' if kind == 'M' else 'lengths of time'}. Remedy: "
                "make numbers of what is to count, such as the month or the days, or leave the column out."
            )
        if kind not in "OUST":
            continue
        for row, value in enumerate(values):
            try:
                float(value)
            except (TypeError, ValueError):
                value = _short(value) if isinstance(value, str) else repr(value)
                return ValueError(
                    f"Expected numbers in X, but {name} holds {value} in row {row}: could not convert it to float. "
                    "Remedy: encode the column, as sklearn.preprocessing.OneHotEncoder does within a "
                    "ColumnTransformer, or leave it out."
                )
    return None
