"""Numbers that can be checked by hand, and pictures that say what they should."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, softmax_regression_path
from softmax_clf.features import Flatten
from softmax_clf.inspection import (
    ContributionDisplay,
    ConvergenceDisplay,
    HyperplaneDisplay,
    RegularizationPathDisplay,
    ReliabilityDisplay,
    ScoreMapDisplay,
    TemplateDisplay,
    boundary_distances,
    contributions,
    expected_calibration_error,
    input_coefficients,
    score_map,
    signed_distances,
)

plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def classifier(coef, intercept, classes=None, estimator=None):
    """A fitted classifier with given coefficients."""
    coef, intercept = np.asarray(coef, dtype=float), np.asarray(intercept, dtype=float)
    n_classes = max(len(coef), 2)
    clf = SoftmaxRegressionClassifier(max_iter=1000) if estimator is None else estimator
    X = np.random.default_rng(0).normal(size=(n_classes, coef.shape[1]))
    clf.fit(X, np.arange(n_classes) if classes is None else classes)
    clf.coef_, clf.intercept_ = coef, intercept
    return clf


def three_classes():
    return classifier([[3.0, 4.0], [0.0, 1.0], [-3.0, -4.0]], [-5.0, 0.0, 5.0])


def two_classes():
    return classifier([[3.0, 4.0]], [-5.0])


IRIS = load_iris(as_frame=True)
DIGITS = load_digits()
PIXELS = DIGITS.data / 16


def iris(n_classes=3, *steps):
    """Classifier after some steps, with the data that it was fitted on."""
    keep = IRIS.target < n_classes
    X, y = IRIS.data[keep], IRIS.target[keep]
    return make_pipeline(*steps, SoftmaxRegressionClassifier()).fit(X, y), X, y


# ------------------------------------------------------------------------------------------------ contributions


def test_contributions_by_hand():
    assert_array_equal(
        contributions(three_classes(), [[1.0, 2.0]]),
        [[[3.0, 8.0], [0.0, 2.0], [-3.0, -8.0]]],
    )
    assert_array_equal(contributions(two_classes(), [[1.0, 2.0], [0.0, -1.0]]), [[3.0, 8.0], [0.0, -4.0]])


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("carry_back", [False, True])
def test_contributions_add_up_to_the_score(n_classes, carry_back):
    clf, X, _ = iris(n_classes, StandardScaler(), PCA(3))
    intercept = input_coefficients(clf)[1] if carry_back else clf[-1].intercept_
    added = contributions(clf, X, carry_back=carry_back)
    assert added.shape[-1] == (4 if carry_back else 3)
    assert_allclose(added.sum(axis=-1) + intercept, clf.decision_function(X), rtol=1e-9, atol=1e-9)


def test_contributions_refuse_frames_with_other_columns():
    clf, X, _ = iris()
    with pytest.raises(ValueError, match="feature names"):
        contributions(clf[-1], X[X.columns[::-1]])


def test_other_linear_classifiers_and_searches():
    X, y = IRIS.data.to_numpy(), IRIS.target
    for clf in (
        LinearSVC(fit_intercept=False).fit(X, y),
        GridSearchCV(LogisticRegression(max_iter=1000), {"C": [1.0]}).fit(X, y),
        make_pipeline(StandardScaler(), GridSearchCV(SoftmaxRegressionClassifier(), {"C": [1.0]})).fit(X, y),
        make_pipeline(SoftmaxRegressionClassifier()).fit(X, y),
        LogisticRegression(max_iter=1000).fit(X, y).sparsify(),
    ):
        coef, intercept = input_coefficients(clf)
        assert_allclose(contributions(clf, X, carry_back=True).sum(axis=2) + intercept, clf.decision_function(X))
        assert signed_distances(clf, X).shape == (150, 3)


# ---------------------------------------------------------------------------------------------------- templates


def test_input_coefficients_by_hand():
    """(x - 10) / 5 times 2, plus 1, is 0.4 x - 3."""
    scaler = StandardScaler().fit([[5.0], [15.0]])
    clf = make_pipeline(scaler, classifier([[2.0]], [1.0]))
    coef, intercept = input_coefficients(clf)
    assert_allclose(coef, [[0.4]])
    assert_allclose(intercept, [-3.0])


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "steps",
    [
        (),
        (StandardScaler(),),
        (StandardScaler(), PCA(3, whiten=True)),
        (PCA(4), FunctionTransformer(lambda X: 2 * X + 1)),
    ],
    ids=["none", "scaler", "scaler, PCA", "PCA, function"],
)
def test_input_coefficients_make_the_scores(n_classes, steps):
    clf, X, _ = iris(n_classes, *steps)
    coef, intercept = input_coefficients(clf)
    assert coef.shape == (3 if n_classes == 3 else 1, 4)
    scores = (X.to_numpy() @ coef.T + intercept).reshape(clf.decision_function(X).shape)
    assert_allclose(scores, clf.decision_function(X), rtol=1e-7, atol=1e-7)


def test_input_coefficients_through_images():
    images = DIGITS.images[:200].astype(np.float32)
    clf = make_pipeline(Flatten(), StandardScaler(), SoftmaxRegressionClassifier()).fit(images, DIGITS.target[:200])
    coef, intercept = input_coefficients(clf)
    assert_allclose(PIXELS[:200] * 16 @ coef.T + intercept, clf.decision_function(images), atol=1e-3)


@pytest.mark.parametrize("step", [Normalizer(), PolynomialFeatures(), FunctionTransformer(np.log1p)], ids=str)
def test_steps_that_are_not_affine_are_refused(step):
    clf, X, _ = iris(3, step)
    for use in (
        lambda: input_coefficients(clf),
        lambda: contributions(clf, X, carry_back=True),
        lambda: TemplateDisplay.from_estimator(clf, image_shape=(2, 2)),
    ):
        with pytest.raises(ValueError, match=rf"affine.*{type(step).__name__}.*Remedy"):
            use()
    assert contributions(clf, X).shape[:2] == (150, 3)


def test_templates_lie_as_the_pixels_do():
    coef = np.arange(24.0).reshape(2, 12)
    clf = classifier(np.vstack([coef, -coef]), np.zeros(4))
    display = TemplateDisplay.from_estimator(clf, image_shape=(3, 4))
    assert_array_equal(display.templates[1, :, :, 0], coef[1].reshape(3, 4))
    assert_array_equal(display.ax_[1].images[0].get_array(), coef[1].reshape(3, 4))  # upright: row 0 on top
    assert display.ax_[1].images[0].origin == "upper"
    assert display.names == ["0", "1", "2", "3"]
    assert len({panel.images[0].get_clim() for panel in display.ax_}) == 1

    display = TemplateDisplay.from_estimator(clf, image_shape=(2, 2, 3), class_names=list("abcd"))
    assert_array_equal(display.templates[0, 1, 0], coef[0, 6:9])
    assert [panel.get_title() for panel in display.ax_] == list("abcd")
    display = TemplateDisplay.from_estimator(clf, image_shape=(2, 2, 3), channels_first=True)
    assert_array_equal(display.templates[0, 1, 0], coef[0, [2, 6, 10]])
    assert display.ax_[0].images[0].get_array().max() <= 1


def test_template_of_two_classes():
    display = TemplateDisplay.from_estimator(two_classes(), image_shape=(1, 2), class_names=["cat", "dog"])
    assert display.templates.shape == (1, 1, 2, 1)
    assert display.ax_[0].get_title() == "dog against cat"


@pytest.mark.parametrize(
    ("shape", "message"), [((3, 3), "2 pixels.*makes 9"), ((1, 1, 2), r"\(H, W, 3\)"), ((0, 2), "image_shape")]
)
def test_image_shapes_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        TemplateDisplay.from_estimator(three_classes(), image_shape=shape)


# ---------------------------------------------------------------------------------------------------- distances


def test_signed_distances_by_hand():
    """(3, 4) has norm 5, so the plane 3 x + 4 y = 5 is 1 from the origin and 4 from (3, 4)."""
    X = [[0.0, 0.0], [3.0, 4.0]]
    assert_allclose(signed_distances(two_classes(), X), [-1.0, 4.0])
    assert_allclose(signed_distances(three_classes(), X), [[-1.0, 0.0, 1.0], [4.0, 4.0, -4.0]])


def test_boundary_distances_by_hand():
    """Scores at the origin are -5, 0, 5, and the weights differ by (3, 3), (6, 8) and (3, 5)."""
    distances = boundary_distances(three_classes(), [[0.0, 0.0]])
    a, b, c = 5 / np.sqrt(18), 10 / 10, 5 / np.sqrt(34)
    assert_allclose(distances, [[[0, -a, -b], [a, 0, -c], [b, c, 0]]])
    assert_allclose(boundary_distances(two_classes(), [[3.0, 4.0]]), [[[0, -4], [4, 0]]])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_distances_are_distances(n_classes):
    """A step of just the distance, along the normal, ends on the boundary."""
    clf, X, _ = iris(n_classes, StandardScaler(), PCA(3))
    X = X.iloc[:5]
    coef, intercept = input_coefficients(clf)
    score = X.to_numpy() @ coef.T + intercept
    coef, score = (np.vstack([0 * coef, coef]), np.c_[0 * score, score]) if n_classes == 2 else (coef, score)
    normal = coef[1] - coef[0]
    steps = boundary_distances(clf, X, carry_back=True)[:, 1, 0]
    there = X.to_numpy() - steps[:, None] * normal / np.linalg.norm(normal)
    gap = (there - X.to_numpy()) @ normal + score[:, 1] - score[:, 0]
    assert_allclose(gap, 0, atol=1e-9)
    if n_classes == 2:
        assert_allclose(steps, signed_distances(clf, X, carry_back=True))


def test_no_hyperplane_no_distance():
    clf = classifier([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], [0.0, 0.0, 1.0])
    assert not np.isfinite(signed_distances(clf, [[1.0, 1.0]])[0, 2])
    assert not np.isfinite(boundary_distances(clf, [[1.0, 1.0]])[0, 0, 1])


@pytest.mark.parametrize("function", [contributions, signed_distances, boundary_distances])
def test_wrong_input_is_refused(function):
    with pytest.raises(ValueError, match=r"Expected X with the 2 features .* got 3.*Remedy"):
        function(three_classes(), [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=r"n_samples, n_features.*Remedy"):
        function(three_classes(), [1.0, 2.0])
    forest = RandomForestClassifier(2).fit(IRIS.data, IRIS.target)
    with pytest.raises(TypeError, match=r"linear.*RandomForestClassifier lacks coef_.*Remedy"):
        function(forest, IRIS.data)


# --------------------------------------------------------------------------------------------------- score maps


def test_score_map_by_hand():
    maps = np.array([[[[0.0, 0.0], [1.0, 2.0]]]])
    assert_array_equal(score_map(three_classes(), maps), [[[[-5.0, 0.0, 5.0], [6.0, 2.0, -6.0]]]])
    assert_array_equal(score_map(two_classes(), maps), [[[-5.0, 6.0]]])
    assert_allclose(
        score_map(two_classes(), maps, response_method="predict_proba")[0, 0, 1],
        [1 / (1 + np.e**6), 1 / (1 + np.e**-6)],
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_score_map_averages_to_the_score_of_the_average(n_classes):
    maps = np.random.default_rng(0).normal(size=(40, 3, 5, 6))
    pooled = maps.mean(axis=(1, 2))
    clf = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier()).fit(pooled, np.arange(40) % n_classes)
    assert_allclose(score_map(clf, maps).mean(axis=(1, 2)), clf.decision_function(pooled))
    proba = score_map(clf, maps, response_method="predict_proba")
    assert proba.shape == (40, 3, 5, n_classes)
    assert_allclose(proba.sum(axis=3), 1)


def test_score_map_of_a_classifier_fitted_on_a_frame():
    clf, X, _ = iris(3, StandardScaler())
    maps = X.to_numpy()[:18].reshape(2, 3, 3, 4)
    assert_array_equal(score_map(clf, maps).reshape(18, 3), clf.decision_function(X[:18]))
    assert len(ScoreMapDisplay.from_estimator(clf, maps[0], class_names=IRIS.target_names).ax_) == 3


@pytest.mark.parametrize("shape", [(2, 3, 3, 5), (3, 3, 2), (2, 2)])
def test_score_map_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"\(n_samples, H, W, 2\), got.*Remedy"):
        score_map(three_classes(), np.zeros(shape))


def test_score_maps_are_drawn_over_the_image():
    maps = np.random.default_rng(0).normal(size=(4, 4, 2))
    display = ScoreMapDisplay.from_estimator(three_classes(), maps, image=np.zeros((8, 16)), classes=["0", "2"])
    assert len(display.ax_) == 3  # the image first
    assert [panel.images[0].get_extent() for panel in display.ax_] == [[-0.5, 15.5, 7.5, -0.5]] * 3
    assert len({panel.images[0].get_clim() for panel in display.ax_[1:]}) == 1
    assert len(ScoreMapDisplay.from_estimator(two_classes(), maps).ax_) == 1
    with pytest.raises(ValueError, match=r"maps\[i\]"):
        ScoreMapDisplay.from_estimator(three_classes(), maps[None])
    with pytest.raises(ValueError, match="image of shape"):
        ScoreMapDisplay.from_estimator(three_classes(), maps, image=np.zeros((3, 8, 8)))
    with pytest.raises(ValueError, match="Expected classes among 0, 1, 2, got 7"):
        display.plot(classes=["7"])


# -------------------------------------------------------------------------------------------------- calibration

PROBA = np.array([[0.75, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])


def test_calibration_error_by_hand():
    """Bins (0.7, 0.8] with 2 of 3 right at 0.75, (0.4, 0.5] with 1 of 1 right at 0.5: 3/4 * 1/12 + 1/4 * 1/2."""
    y = ["a", "b", "b", "a"]
    assert expected_calibration_error(y, PROBA) == pytest.approx(3 / 4 * 1 / 12 + 1 / 4 * 1 / 2)
    # class b: at 0.25 one of two, at 0.75 one of one, at 0.5 none of one; class a mirrors it
    expected = 1 / 2 * 1 / 4 + 1 / 4 * 1 / 4 + 1 / 4 * 1 / 2
    assert_allclose(expected_calibration_error(y, PROBA, kind="per_class"), [expected, expected])
    assert expected_calibration_error(y, PROBA, n_bins=1) == pytest.approx(3 / 4 - (3 * 0.75 + 0.5) / 4)


def test_calibration_takes_classes_that_are_absent():
    assert expected_calibration_error([0, 0], [[0.5, 0.25, 0.25], [1, 0, 0]], classes=[0, 1, 2]) == 0.25


@pytest.mark.parametrize(
    ("y", "proba", "options", "message"),
    [
        ([0, 1, 0], PROBA, {}, "a row of proba for each of the 3"),
        ([0, 1, 0, 2], PROBA, {}, "each of the 2 columns"),
        ([0, 1, 0, 2], PROBA, {"classes": [0, 1]}, "got also"),
        ([0, 1, 0, 1], 2 * PROBA, {}, "sum to one"),
        ([0, 1, 0, 1], PROBA[:, 0], {}, "n_samples, n_features"),
        ([0, 1, 0, 1], PROBA, {"kind": "top"}, "kind"),
        ([0, 1, 0, 1], PROBA, {"n_bins": 0}, "n_bins"),
        ([0, 1, 0, 1], PROBA, {"n_bins": 2.5}, "n_bins, an integer"),
    ],
)
def test_calibration_refuses_what_does_not_fit(y, proba, options, message):
    for function in (expected_calibration_error, ReliabilityDisplay.from_predictions):
        with pytest.raises(ValueError, match=message):
            function(y, proba, **options)


def test_reliability_of_any_classifier():
    forest = RandomForestClassifier(10, random_state=0).fit(IRIS.data[::2], IRIS.target[::2])
    X, y = IRIS.data[1::2], IRIS.target[1::2]
    display = ReliabilityDisplay.from_estimator(forest, X, y, name="forest")
    error = expected_calibration_error(y, forest.predict_proba(X))
    assert display.errors == pytest.approx([error])
    assert f"forest: error of the predicted class (ECE) {error:.3f}" in display.ax_.get_legend_handles_labels()[1]
    clf, _, _ = iris(3, StandardScaler())
    ReliabilityDisplay.from_estimator(clf, X, y, ax=display.ax_)
    assert [line.get_label() for line in display.ax_.lines].count("perfectly calibrated") == 1
    display = ReliabilityDisplay.from_estimator(clf, X, y, kind="per_class", class_names=IRIS.target_names)
    assert display.names == list(IRIS.target_names)
    with pytest.raises(TypeError, match="predict_proba"):
        ReliabilityDisplay.from_estimator(LinearSVC().fit(X, y), X, y)


# ------------------------------------------------------------------------------------- contributions, in pictures


@pytest.mark.parametrize("n_classes", [2, 3])
def test_contribution_bars(n_classes):
    clf, X, _ = iris(n_classes, StandardScaler())
    display = ContributionDisplay.from_estimator(clf, X.iloc[[7]], max_features=2)
    assert len(display.ax_) == (3 if n_classes == 3 else 1)
    labels = [label.get_text() for label in display.ax_[0].get_yticklabels()]
    assert labels[0] == "intercept"
    assert {label.split(" = ")[0] for label in labels[1:3]} < set(IRIS.feature_names)
    assert labels[3] == "2 others"
    widths = [sum(bar.get_width() for bar in panel.patches) for panel in display.ax_]
    assert_allclose(widths, clf.decision_function(X.iloc[[7]]).ravel())
    assert len({panel.get_xlim() for panel in display.ax_}) == 1


def test_contribution_heat_maps():
    clf = make_pipeline(StandardScaler(), PCA(20), SoftmaxRegressionClassifier()).fit(PIXELS, DIGITS.target)
    display = ContributionDisplay.from_estimator(clf, PIXELS[[5]], image_shape=(8, 8), classes=["5", "9"])
    heat = display.ax_[1].images[0].get_array()
    assert heat.shape == (8, 8)
    assert_allclose(heat.sum() + display.intercept[9], clf.decision_function(PIXELS[[5]])[0, 9])
    assert_allclose(heat[PIXELS[5].reshape(8, 8) == 0], 0)


def test_contribution_display_refuses_what_does_not_fit():
    clf, X, _ = iris()
    with pytest.raises(ValueError, match=r"Expected one sample.*got 150.*Remedy"):
        ContributionDisplay.from_estimator(clf, X)
    with pytest.raises(ValueError, match="each of 4 features, got 2"):
        ContributionDisplay.from_estimator(clf, X[:1], feature_names=["a", "b"])
    with pytest.raises(ValueError, match="each of 3 classes, got 2"):
        ContributionDisplay.from_estimator(clf, X[:1], class_names=["a", "b"])
    with pytest.raises(ValueError, match="one Axes or 3 of them"):
        ContributionDisplay.from_estimator(clf, X[:1], ax=plt.subplots(1, 2)[1])


# -------------------------------------------------------------------------------------------------- hyperplanes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_hyperplanes(n_classes):
    keep = IRIS.target < n_classes
    X, y = IRIS.data.loc[keep].iloc[:, [2, 3]], IRIS.target[keep]
    clf = make_pipeline(StandardScaler(), SoftmaxRegressionClassifier()).fit(X, y)
    display = HyperplaneDisplay.from_estimator(clf, X, y, class_names=IRIS.target_names[:n_classes])
    note = "\nscore 0 not in sight: versicolor" if n_classes == 3 else ""
    assert display.ax_.get_xlabel() == f"petal length (cm){note}"
    assert display.ax_.get_aspect() == 1
    assert set(IRIS.target_names[:n_classes]) <= {text.get_text() for text in display.ax_.texts}
    left, right, bottom, top = display.extent
    assert_allclose(  # the first row of the grid is the lowest
        display.proba[0, -1],
        clf.predict_proba(pd.DataFrame([[right, bottom]], columns=X.columns))[0],
    )
    HyperplaneDisplay.from_estimator(clf, X, ax=display.ax_, hyperplanes=False)


def test_hyperplanes_refuse_what_does_not_fit():
    clf, X, y = iris()
    with pytest.raises(ValueError, match=r"2 features, got one of 4.*Remedy"):
        HyperplaneDisplay.from_estimator(clf, X, y)
    X = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"3 labels.*got 2"):
        HyperplaneDisplay.from_estimator(three_classes(), X, [0, 1])
    with pytest.raises(ValueError, match="each of 2 features, got 1"):
        HyperplaneDisplay.from_estimator(three_classes(), X, feature_names=["a"])
    with pytest.raises(ValueError, match=r"got also.*5"):
        HyperplaneDisplay.from_estimator(three_classes(), X, [0, 1, 5])


# -------------------------------------------------------------------------------------------------- convergence


def test_convergence_by_hand():
    """A minimum of at least 1 leaves the objectives 3, 2 and 1.5 at most 2, 1 and 0.5 above it."""
    display = ConvergenceDisplay([3.0, 2.0, 1.5], lower_bound=1.0, name="fit").plot()
    assert_array_equal(display.ax_.lines[0].get_xydata(), [[0, 2], [1, 1], [2, 0.5]])
    assert_array_equal(display.plot(kind="loss").ax_.lines[0].get_ydata(), [3, 2, 1.5])


def test_convergence():
    clf, _, _ = iris(3, StandardScaler())
    fitted = clf[-1]
    display = ConvergenceDisplay.from_estimator(clf)
    (line,) = display.ax_.lines
    assert len(line.get_xdata()) == fitted.n_iter_ + 1
    assert_allclose(line.get_ydata()[-1], fitted.suboptimality_, atol=1e-12)
    assert display.ax_.get_yscale() == "log"
    display.plot(display.ax_)
    assert len(display.ax_.lines) == 2
    assert_array_equal(display.plot(kind="loss").ax_.lines[0].get_ydata(), fitted.loss_curve_)
    with pytest.raises(TypeError, match="loss_curve_"):
        ConvergenceDisplay.from_estimator(LogisticRegression())
    with pytest.raises(ValueError, match="kind"):
        display.plot(kind="other")
    with pytest.raises(ValueError, match="lower bound"):
        ConvergenceDisplay([1.0, 0.5]).plot(kind="suboptimality")
    assert ConvergenceDisplay([1.0, 0.5]).plot().ax_.get_ylabel() == "objective"


# ------------------------------------------------------------------------------------------ regularisation path


def curves(display):
    """Points of the curves, by what the legend calls them."""
    lines = [line for line in display.ax_.lines if line.get_marker() != "None" and line.get_linestyle() != "None"]
    return {line.get_label(): line.get_xydata() for line in lines}


def test_score_curve_by_hand():
    """Scores 0 and 2 on two folds: mean 1, standard deviation sqrt(2), standard error 1."""
    display = RegularizationPathDisplay(
        [10.0, 1.0], np.ones((2, 2, 3, 1)), list("abc"), ["x"], scores=[[0.0, 3.0], [2.0, 3.0]], score_name="r2", C=10.0
    ).plot()
    assert_array_equal(curves(display)["mean of 2 folds"], [[1, 3], [10, 1]])  # in increasing order of C
    (band,) = display.ax_.collections
    assert_allclose(np.unique(band.get_paths()[0].vertices[:, 1]), [0, 2, 3])
    assert display.ax_.lines[-1].get_xdata() == [10, 10]
    assert display.ax_.lines[-1].get_label() == "chosen: C = 10"
    assert display.ax_.get_ylabel() == "r2, held out"
    assert display.ax_.get_xscale() == "log"


def test_norms_of_coefficients_by_hand():
    """Rows (3, 4) and (0, 12) have norms 5 and 12, the columns (3, 0) and (4, 12) 3 and sqrt(160)."""
    large = np.array([[3.0, 4.0], [0.0, 12.0]])
    display = RegularizationPathDisplay.from_path([0.1, 1.0], [large / 2, large], class_names=["cat", "dog"])
    assert_allclose(curves(display)["cat"], [[0.1, 2.5], [1, 5]])
    assert_allclose(curves(display)["dog"], [[0.1, 6], [1, 12]])
    assert not display.ax_.collections  # one fold has no spread
    assert_allclose(curves(display.plot(kind="features"))["x0"][:, 1], [1.5, 3])
    assert list(curves(display.plot(kind="features", features=1))) == ["x1"]  # the largest
    assert list(curves(display.plot(kind="features", features=["x0"]))) == ["x0"]
    assert display.ax_.get_yscale() == "log"

    display = RegularizationPathDisplay.from_path([1.0, np.inf], [[[3.0, -4.0]], [[6.0, -8.0]]])
    assert_allclose(curves(display)["1 against 0"], [[1, 5], [10, 10]])  # no penalty: a decade beyond
    assert [text.get_text() for text in display.ax_.texts] == ["no penalty"]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_path_of_a_classifier_that_chose_C(n_classes):
    keep = IRIS.target < n_classes
    X, y = IRIS.data[keep], IRIS.target[keep]
    chooser = SoftmaxRegressionClassifierCV([0.01, 0.1, 1.0], cv=3, scoring="accuracy")
    clf = make_pipeline(StandardScaler(), chooser).fit(X, y)
    display = RegularizationPathDisplay.from_estimator(clf)
    assert_allclose(curves(display)["mean of 3 folds"][:, 1], clf[-1].scores_.mean(axis=(0, 1)))
    assert display.ax_.get_ylabel() == "accuracy, held out"
    assert display.C == clf[-1].C_

    display.plot(kind="classes")
    names = ["setosa", "versicolor", "virginica"] if n_classes == 3 else ["versicolor against setosa"]
    display = RegularizationPathDisplay.from_estimator(clf, class_names=IRIS.target_names[:n_classes], kind="classes")
    assert list(curves(display)) == names
    by_hand = np.linalg.norm(clf[-1].coefs_paths_[:, 0, :, :, :4], axis=3).mean(axis=0)
    assert_allclose(np.stack(list(curves(display).values()))[:, :, 1].T, by_hand)
    assert set(curves(display.plot(kind="features"))) == set(IRIS.feature_names)
    display = RegularizationPathDisplay.from_estimator(clf, feature_names=list("abcd"), kind="features", features=["c"])
    assert list(curves(display)) == ["c"]


@pytest.mark.parametrize("refit", [False, True])
def test_path_of_the_chosen_l1_ratio(refit):
    clf = SoftmaxRegressionClassifierCV([0.01, 0.1, 1.0], cv=2, l1_ratios=[0.0, 0.9], refit=refit)
    clf.fit(IRIS.data, IRIS.target)
    r = 0 if clf.l1_ratio_ < 0.4 else 1
    display = RegularizationPathDisplay.from_estimator(clf)
    assert_allclose(curves(display)["mean of 2 folds"][:, 1], clf.scores_[:, r].mean(axis=0))
    display.plot(kind="classes")
    by_hand = np.linalg.norm(clf.coefs_paths_[:, r, :, :, :4], axis=3).mean(axis=0)
    assert_allclose(np.stack(list(curves(display).values()))[:, :, 1].T, np.where(by_hand > 0, by_hand, np.nan))


def test_path_without_scores_or_intercept():
    X, y = IRIS.data.to_numpy(), IRIS.target
    Cs, coefs, *_ = softmax_regression_path(X, y, Cs=[0.1, 1.0])
    display = RegularizationPathDisplay.from_path(Cs, coefs)
    assert_allclose(display.class_norms[0], np.linalg.norm(coefs, axis=2))
    clf = SoftmaxRegressionClassifierCV([0.1, 1.0], cv="holdout", fit_intercept=False, random_state=0).fit(X, y)
    display = RegularizationPathDisplay.from_estimator(clf)
    assert not display.ax_.collections
    assert display.ax_.get_ylabel().replace("\n", " ") == "neg_log_loss, held out"
    assert display.feature_norms.shape == (1, 2, 4)


def test_path_refuses_what_does_not_fit():
    with pytest.raises(TypeError, match=r"Expected a fitted SoftmaxRegressionClassifierCV.*lacks Cs_, C_.*Remedy"):
        RegularizationPathDisplay.from_estimator(three_classes())
    other = SoftmaxRegressionClassifierCV([1.0], cv=3).fit(IRIS.data, IRIS.target)
    other.scores_ = dict.fromkeys(range(3), np.zeros((3, 1)))  # as LogisticRegressionCV's have been
    with pytest.raises(TypeError, match=r"scores_ of shape \(n_folds, n_l1_ratios, n_Cs\).*Remedy"):
        RegularizationPathDisplay.from_estimator(other)
    coefs = np.ones((2, 3, 4))
    with pytest.raises(ValueError, match=r"Expected Cs of shape.*\(3,\) and \(2, 3, 4\).*Remedy"):
        RegularizationPathDisplay.from_path([1, 2, 3], coefs)
    with pytest.raises(ValueError, match=r"\(2,\) and \(3, 4\)"):
        RegularizationPathDisplay.from_path([1, 2], coefs[0])
    with pytest.raises(ValueError, match="each of 3 classes, got 2"):
        RegularizationPathDisplay.from_path([1, 2], coefs, class_names=["a", "b"])
    with pytest.raises(ValueError, match="each of 4 features, got 2"):
        RegularizationPathDisplay.from_path([1, 2], coefs, feature_names=["a", "b"])
    display = RegularizationPathDisplay.from_path([1, 2], coefs)
    with pytest.raises(ValueError, match="kind 'scores'.*got 'other'"):
        display.plot(kind="other")
    with pytest.raises(ValueError, match="scores.*got none.*Remedy"):
        display.plot(kind="scores")
    with pytest.raises(ValueError, match="Expected features among x0, x1, x2, x3, got x7"):
        display.plot(kind="features", features=["x7"])
    with pytest.raises(ValueError, match="1 or more"):
        display.plot(kind="features", features=0)


# --------------------------------------------------------------------------------------------------- house rules


def test_displays_draw_where_they_are_told():
    figure, axes = plt.subplots(1, 4)
    clf = three_classes()
    assert RegularizationPathDisplay.from_path([1, 2], np.ones((2, 3, 4)), ax=axes[3]).ax_ is axes[3]
    assert TemplateDisplay.from_estimator(clf, image_shape=(1, 2), ax=axes[0]).figure_ is figure
    assert HyperplaneDisplay.from_estimator(clf, np.eye(2), ax=axes[1]).ax_ is axes[1]
    assert ReliabilityDisplay.from_predictions([0, 1, 0, 1], PROBA, ax=axes[2]).figure_ is figure


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        ConvergenceDisplay([1.0, 0.5]).plot()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coef_", lambda coef: coef[:, :2]),
        ("coef_", lambda coef: coef[:2]),
        ("coef_", lambda coef: np.where(coef == coef[1, 1], np.nan, coef)),
        ("coef_", lambda coef: coef.astype(complex)),
        ("intercept_", lambda intercept: intercept[:2]),
        ("intercept_", lambda intercept: intercept * np.nan),
        ("classes_", lambda classes: classes[:2]),
    ],
)
@pytest.mark.parametrize("kind", [SoftmaxRegressionClassifier, LogisticRegression])
def test_attributes_that_do_not_fit_together(kind, name, change):
    X, y = load_iris(return_X_y=True)
    clf = kind(max_iter=1000).fit(X, y)
    setattr(clf, name, change(getattr(clf, name)))
    for inspect in (lambda: signed_distances(clf, X), lambda: contributions(clf, X), lambda: input_coefficients(clf)):
        with pytest.raises(ValueError, match="coef_|intercept_"):
            inspect()
