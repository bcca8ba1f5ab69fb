"""What a user meets who gives the wrong thing: the place of it, and the remedy."""

import numba
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_iris

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.datasets import open_parquet
from softmax_clf.features import PatchKMeans
from softmax_clf.kernels.compiling import announcing_compilation

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
        (X[:, 0], Y, r"got 1D array of shape \(150,\)\. Reshape your data"),
        (["good film"] * 150, Y, r"got texts.*the first 'good film'\. Remedy: .*TfidfVectorizer"),
        (pd.Series(["good film"] * 150), Y, r"got texts.*Remedy: .*TfidfVectorizer"),
        (np.array([["red"]] * 150), Y, "column 0 holds 'red' in row 0"),
        (FRAME.assign(day=pd.Timestamp("2020-01-01")), Y, r"column 'day' holds dates\. Remedy"),
        (X + 1j, Y, r"^Complex data not supported: [^\n]*Remedy: [^\n]*$"),
        (FRAME, "species", r"got the text 'species'\. Remedy: pass the column"),
        (X, None, r"requires y to be passed, but the target y is None\. Remedy"),
    ],
)
@pytest.mark.parametrize("kind", [SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV])
def test_rows_that_cannot_be_fitted(kind, rows, labels, message):
    with pytest.raises(ValueError, match=message) as caught:
        kind().fit(rows, labels)
    assert "HistGradientBoosting" not in str(caught.value)


@pytest.mark.parametrize(("scoring", "remedy"), [("f1", "'f1_macro' or 'f1_micro'"), ("roc_auc", "'roc_auc_ovr'")])
def test_scorers_of_two_classes(scoring, remedy):
    """They are refused before anything is fitted, where there are more; of two classes they are taken."""
    with pytest.raises(ValueError, match=rf"got '{scoring}' for 3\. Remedy: choose {remedy}"):
        SoftmaxRegressionClassifierCV([1.0], scoring=scoring).fit(X, Y)
    assert SoftmaxRegressionClassifierCV([1.0], scoring=scoring).fit(X, Y == 1).score(X, Y == 1) > 0.5
    SoftmaxRegressionClassifierCV([1.0], scoring=scoring + ("_macro" if scoring == "f1" else "_ovr")).fit(X, Y)


def test_parameters_of_the_path_are_its_own():
    with pytest.raises(ValueError, match=r"^The 'Cs' parameter of softmax_regression_path must be.*Got -1 instead"):
        softmax_regression_path(X, Y, Cs=-1)


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


def test_memory_maps_that_have_to_be_converted_say_so(tmp_path, capsys):
    """With verbose: that rows are copied, and which dtypes are not."""
    for dtype, told in ((np.int64, "X is a memory map of int64"), (np.float32, "")):
        np.save(tmp_path / "rows.npy", X.astype(dtype))
        rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
        SoftmaxRegressionClassifier(verbose=1).fit(rows, Y)
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("X is")]
        assert [line[: len(told)] for line in lines] == [told] * bool(told)
        assert not told or "float64, float32" in lines[0]
        SoftmaxRegressionClassifier().fit(rows, Y)
        assert "memory map" not in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_large_rows_name_the_column_too(dtype):
    rows = with_value(np.tile(X, (2000, 1)), 7, 2, np.nan).astype(dtype)
    with pytest.raises(ValueError, match=r"contains NaN in row 7 and column 2\."):
        SoftmaxRegressionClassifier().fit(rows, np.tile(Y, 2000))


def test_the_class_that_is_smaller_than_cv_is_named():
    keep, names = np.r_[0:3, 50:150], np.array(["rose", "tulip", "lily"])
    with pytest.warns(
        UserWarning, match=r"in y, 'rose', has only 3 members.*n_splits=5.*Remedy: set cv to at most 3"
    ) as told:
        SoftmaxRegressionClassifierCV([1.0]).fit(X[keep], names[Y[keep]])
    assert sum("least populated" in str(warning.message) for warning in told) == 1
    assert told[0].filename == __file__


def test_images_that_are_no_numbers():
    images = np.zeros((4, 8, 8))
    images[2, 1, 3] = np.nan
    with pytest.raises(ValueError, match=r"contains NaN in image 2, at \(1, 3\)") as caught:
        PatchKMeans(3, patch_size=3).fit(images)
    assert "HistGradientBoosting" not in str(caught.value)
    with pytest.raises(ValueError, match="Expected pixels as numbers, got an array of text"):
        PatchKMeans(3, patch_size=3).fit(np.zeros((4, 8, 8)).astype(str))


def test_files_that_are_not_there(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(FileNotFoundError, match="there is none at .*Remedy"):
        open_parquet(tmp_path / "none.parquet")


def test_frames_without_trouble_are_fitted():
    assert SoftmaxRegressionClassifier().fit(pd.DataFrame(X), Y).converged_


def test_compilations_are_told(capsys):
    """On stderr, once, with verbose only; what has been compiled is not told of."""
    function = numba.njit(lambda x: x + 1)
    with announcing_compilation(verbose=0):
        function(1.0)
    assert capsys.readouterr().err == ""
    with announcing_compilation(verbose=1):
        function(1)
        function(np.float32(1))
        function(1.0)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("compiling kernels")
    assert second.startswith("compiled 2 of them in ")
    with announcing_compilation(verbose=1):
        function(1)
    assert capsys.readouterr().err == ""
