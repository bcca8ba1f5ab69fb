"""A fit in one table."""

import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.inspection import report

IRIS = load_iris(as_frame=True)
NAMES = np.asarray(IRIS.target_names)[IRIS.target]


@pytest.fixture(scope="module")
def clf():
    return SoftmaxRegressionClassifier().fit(IRIS.data, NAMES)


def table_of(text):
    """Lines of the table, split at its columns."""
    return [line.split() for line in text.split("\n\n")[1].splitlines()]


def test_numbers_are_those_of_the_fit_and_of_scikit_learn(clf):
    told = report(clf, X=IRIS.data, y=NAMES)
    precision, recall, _, n_samples = precision_recall_fscore_support(NAMES, clf.predict(IRIS.data))
    frame = told.to_frame()
    assert_array_equal(frame.index, clf.classes_)
    assert_allclose(frame.precision, precision)
    assert_allclose(frame.recall, recall)
    assert_array_equal(frame.rows, n_samples)
    assert_array_equal(frame.intercept, clf.intercept_)
    coefficients = told.to_frame("coefficients")
    assert_array_equal(coefficients, clf.coef_.T)
    assert_array_equal(coefficients.index, IRIS.feature_names)


def test_text_has_how_it_ended_and_the_largest_coefficients(clf):
    text = str(report(clf, X=IRIS.data, y=NAMES, n_coefficients=1))
    assert f"Converged after {clf.n_iter_} iterations" in text
    assert f"by {'at most' if clf.suboptimality_is_bound_ else 'an estimated'} {clf.suboptimality_:.2g}" in text
    assert f"Of 150 rows {100 * clf.score(IRIS.data, NAMES):.1f} % are classified correctly" in text
    for k, line in enumerate(text.splitlines()[-3:]):
        j = np.abs(clf.coef_[k]).argmax()
        assert line.endswith(f"{IRIS.feature_names[j]} {clf.coef_[k, j]:+.3g}")
        assert line.startswith(clf.classes_[k])


def test_without_data_there_are_no_columns_of_data(clf):
    told = report(clf)
    assert table_of(str(told))[0] == ["class", "intercept", "largest", "coefficients"]
    assert list(told.to_frame().columns) == ["intercept"]
    assert "classified correctly" not in str(told)


def test_two_classes_have_one_row_of_coefficients():
    keep = NAMES != "setosa"
    clf = SoftmaxRegressionClassifier().fit(IRIS.data[keep], NAMES[keep])
    told = report(clf, X=IRIS.data[keep], y=NAMES[keep])
    first, second = str(told).splitlines()[-2:]
    assert first.endswith("those of virginica, with the other sign")
    assert second.startswith("virginica")
    assert "petal width (cm) +" in second
    assert list(told.to_frame("coefficients").columns) == ["virginica"]
    assert np.isnan(told.to_frame().intercept["versicolor"])


def test_choice_of_C_and_zeros_are_told():
    clf = SoftmaxRegressionClassifierCV([0.01, 0.1], l1_ratios=[1.0], cv=3).fit(IRIS.data, NAMES)
    text = str(report(clf))
    assert f"C={clf.C_:.4g} chosen, l1_ratio=1 chosen, score in cross-validation {clf.best_score_:.4g}" in text
    assert f"{100 * np.mean(clf.coef_ == 0):.1f} % of the coefficients zero" in text
    assert str(report(clf.sparsify())) == text


def test_pipelines_and_searches_give_names_and_predictions():
    X, y = IRIS.data, NAMES
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier()).fit(X, y)
    text = str(report(pipeline, X=X, y=y))
    assert "petal length (cm)" in text
    assert f"{100 * pipeline.score(X, y):.1f} %" in text
    search = GridSearchCV(pipeline, {"softmaxregressionclassifier__C": [1.0]}, cv=2).fit(X, y)
    assert str(report(search, X=X, y=y)) == text


def test_names_of_ones_own_replace_others(clf):
    assert "d +" in str(report(clf, feature_names=list("abcd"))) or "c -" in str(report(clf, list("abcd")))
    with pytest.raises(ValueError, match="Expected feature_names with one name for each of 4 features, got 2"):
        report(clf, feature_names=["a", "b"])


def test_fits_that_ended_otherwise_say_so(clf):
    with pytest.warns(ConvergenceWarning):
        short = SoftmaxRegressionClassifier(max_iter=1, tol=1e-9).fit(IRIS.data, NAMES)
    assert "NOT converged: ended after 1 iteration, before tol=1e-09" in str(report(short))
    early = SoftmaxRegressionClassifier(C=1e6, early_stopping=True, n_iter_no_change=1, random_state=0)
    early.fit(IRIS.data, NAMES)
    least = int(np.argmin(early.validation_loss_curve_))
    assert early.converged_ or f"after {least}." in str(report(early))
    stream = SoftmaxRegressionClassifier().partial_fit(IRIS.data, NAMES, classes=clf.classes_)
    assert "Converged after" in str(report(stream))
    by_hand = SoftmaxRegressionClassifier()
    by_hand.coef_, by_hand.intercept_, by_hand.classes_ = clf.coef_, clf.intercept_, clf.classes_
    assert "set by hand" in str(report(by_hand))


def test_other_linear_classifiers_are_told_as_far_as_they_tell():
    text = str(report(LogisticRegression(max_iter=1000).fit(IRIS.data, NAMES)))
    assert text.startswith("LogisticRegression: 3 classes, 4 features, C=1")
    assert "Ended after" in text


def test_a_class_that_nobody_predicts_has_no_precision(clf):
    keep = NAMES == "setosa"
    told = report(clf, X=IRIS.data[keep], y=NAMES[keep])
    assert_array_equal(told.precision, [1, np.nan, np.nan])
    assert table_of(str(told))[2][1:4] == ["0", "-", "-"]


def test_html_is_well_formed_and_escaped(clf):
    html = report(clf, feature_names=["<script>", "b&", "c", "d"])._repr_html_()
    assert "<script>" not in html
    opened = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    parser = Parser()
    parser.feed(html)
    assert not opened
    assert html.count("<tr>") == 4


def test_many_classes_are_cut_as_text_and_whole_as_a_frame():
    clf = SoftmaxRegressionClassifier()
    clf.coef_, clf.intercept_, clf.classes_ = np.ones((60, 2)), np.zeros(60), np.arange(60)
    told = report(clf)
    assert str(told).endswith("... and 20 more classes: see to_frame()")
    assert len(told.to_frame()) == 60


def test_what_does_not_fit_is_refused(clf):
    with pytest.raises(ValueError, match="Expected X and y, or neither, got X only"):
        report(clf, X=IRIS.data)
    with pytest.raises(ValueError, match="Expected X and y, or neither, got y only"):
        report(clf, y=NAMES)
    with pytest.raises(ValueError, match="got also"):
        report(clf, X=IRIS.data, y=np.where(NAMES == "setosa", "rose", NAMES))
    with pytest.raises(ValueError, match="Expected labels as y"):
        report(clf, X=IRIS.data, y=np.eye(3)[IRIS.target])
    with pytest.raises(ValueError, match="Expected X with the 4 features"):
        report(clf, X=IRIS.data.to_numpy()[:, :2], y=NAMES)
    with pytest.raises(ValueError, match="positive integer"):
        report(clf, n_coefficients=0)
    with pytest.raises(ValueError, match="'classes' or 'coefficients'"):
        report(clf).to_frame("rows")


def test_pandas_is_not_needed_but_for_frames(clf):
    program = """
import sys
sys.modules["pandas"] = None
from sklearn.datasets import load_iris
from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.inspection import report
told = report(SoftmaxRegressionClassifier().fit(*load_iris(return_X_y=True)))
assert "x2" in str(told) and "x2" in told._repr_html_()
try:
    told.to_frame()
except ImportError as error:
    assert "pip install pandas" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert isinstance(report(clf).to_frame(), pd.DataFrame)
