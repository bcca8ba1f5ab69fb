"""What a user meets who gives the wrong thing: the place of it, and the remedy."""

import numba
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_iris

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.kernels.compiling import compilation_told

X, Y = load_iris(return_X_y=True)
FRAME = load_iris(as_frame=True).data


def with_value(rows, row, column, value):
    rows = rows.copy()
    rows[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (with_value(X, 7, 2, np.nan), Y, r"contains NaN in row 7 and column 2\. Remedy: .*SimpleImputer"),
        (with_value(X, 9, 1, -np.inf), Y, r"contains infinity in row 9 and column 1\."),
        (FRAME.replace(7.7, np.nan), Y, r"contains NaN in row 117 and column 'sepal length \(cm\)'"),
        (csr_array(with_value(X, 3, 0, np.nan)), Y, "contains NaN in row 3 and column 0"),
        (FRAME.assign(colour="red"), Y, r"column 'colour' holds 'red' in row 0.*Remedy: .*OneHotEncoder"),
        (with_value(X.astype(object), 2, 3, "?"), Y, r"column 3 holds '\?' in row 2"),
        (np.zeros((150, 8, 8)), Y, r"got \(150, 8, 8\)\. Remedy: .*Flatten"),
        (Y, X, r"shapes \(150,\) and \(150, 4\): they seem to have changed places\. Remedy: fit\(X, y\)"),
        (X, None, r"requires y to be passed, but the target y is None\. Remedy"),
    ],
)
@pytest.mark.parametrize("kind", [SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV])
def test_rows_that_cannot_be_fitted(kind, rows, labels, message):
    with pytest.raises(ValueError, match=message) as caught:
        kind().fit(rows, labels)
    assert "HistGradientBoosting" not in str(caught.value)


def test_weights_by_the_name_of_another_parameter():
    with pytest.raises(ValueError, match=r"got 'balanced'\. Remedy: set class_weight='balanced'"):
        SoftmaxRegressionClassifier().fit(X, Y, sample_weight="balanced")


def test_score_of_soft_labels():
    """The mean target probability of the predicted class: the accuracy, where targets are one-hot."""
    clf = SoftmaxRegressionClassifier().fit(X, np.eye(3)[Y])
    weight = np.arange(150.0)
    assert clf.score(X, np.eye(3)[Y]) == pytest.approx(clf.score(X, Y))
    assert clf.score(X, np.eye(3)[Y], weight) == pytest.approx(clf.score(X, Y, weight))
    soft = np.tile([0.5, 0.3, 0.2], (150, 1))
    assert clf.score(X, soft) == pytest.approx(np.array([0.5, 0.3, 0.2])[clf.predict(X)].mean())
    with pytest.raises(ValueError, match="a column for each of the 3 classes"):
        clf.score(X, soft[:, :2] / 0.8)


def test_early_stopping_on_a_handful_of_rows_is_told():
    with pytest.warns(UserWarning, match=r"watches 5 rows only.*Remedy: raise validation_fraction"):
        SoftmaxRegressionClassifier(early_stopping=True, random_state=0).fit(X[::3], Y[::3])


def test_frames_without_trouble_are_fitted():
    assert SoftmaxRegressionClassifier().fit(pd.DataFrame(X), Y).converged_


def test_compilations_are_told(capsys):
    """On stderr, once, with verbose only; what has been compiled is not told of."""
    function = numba.njit(lambda x: x + 1)
    with compilation_told(verbose=0):
        function(1.0)
    assert capsys.readouterr().err == ""
    with compilation_told(verbose=1):
        function(1)
        function(np.float32(1))
        function(1.0)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("compiling kernels")
    assert second.startswith("compiled 2 of them in ")
    with compilation_told(verbose=1):
        function(1)
    assert capsys.readouterr().err == ""
