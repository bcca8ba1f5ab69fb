"""Pictures that can be read: nothing cut off, nothing on top of another, colours that all eyes tell apart."""

import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from softmax_clf.inspection import (
    ContributionDisplay,
    ConvergenceDisplay,
    HyperplaneDisplay,
    RegularizationPathDisplay,
    ReliabilityDisplay,
    ScoreMapDisplay,
    TemplateDisplay,
    _labels,
)
from softmax_clf.inspection._drawing import DASHES, MARKERS, PALETTE, color, dashes, diverging, letters_color, marker
from softmax_clf.inspection.reliability import _seem_fitted, _wilson

plt.switch_backend("Agg")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _close_figures():
    with plt.rc_context():
        yield
    plt.close("all")


def hyperplanes(n_classes, ax=None):
    """Two features, with the classes around the origin in two rings."""
    angle = 2 * np.pi * np.arange(n_classes) / n_classes
    radius = np.where(np.arange(n_classes) % 2, 3.0, 1.7)
    centers = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    X = np.repeat(centers, 3, axis=0) + 0.3 * np.random.default_rng(0).normal(size=(3 * n_classes, 2))
    clf = LogisticRegression()
    clf.classes_, clf.coef_, clf.n_features_in_ = np.arange(n_classes), centers, 2
    clf.intercept_ = -(radius**2) / 2
    names = [f"class {k}" for k in range(n_classes)]
    return HyperplaneDisplay.from_estimator(
        clf, X, np.repeat(np.arange(n_classes), 3), class_names=names, grid_resolution=100, ax=ax
    )


CURVE = np.linspace(0.05, 0.95, 10), np.linspace(0.1, 0.8, 10), np.arange(10) ** 3 + 1
DISPLAYS = {
    "hyperplanes of 3": lambda ax: hyperplanes(3, ax),
    "hyperplanes of 20": lambda ax: hyperplanes(20, ax),
    "templates": lambda ax: TemplateDisplay(RNG.normal(size=(10, 4, 4, 1)), list("abcdefghij")).plot(ax),
    "templates in colour": lambda ax: TemplateDisplay(RNG.normal(size=(4, 4, 4, 3)), ["automobile"] * 4).plot(ax),
    "contributions": lambda ax: ContributionDisplay(
        *(RNG.normal(size=(3, 5)), RNG.normal(size=3), np.array(["petal width (cm)"] * 5), ["a", "b", "virginica"]),
        values=np.ones(5),
        sample_name="row 77",
    ).plot(ax),
    "contributions of pixels": lambda ax: ContributionDisplay(
        RNG.normal(size=(4, 16)), np.zeros(4), None, ["a"] * 4, image_shape=(4, 4, 1)
    ).plot(ax),
    "score maps": lambda ax: ScoreMapDisplay(
        RNG.normal(size=(4, 4, 3)), ["airplane", "cat", "dog"], RNG.uniform(size=(8, 8, 3)), (1, 6, 6, 1)
    ).plot(ax),
    "reliability": lambda ax: ReliabilityDisplay([CURVE], ["SoftmaxRegressionClassifier"], seem_fitted=True).plot(ax),
    "reliability of classes": lambda ax: ReliabilityDisplay([CURVE] * 4, ["horse"] * 4, "per_class").plot(ax),
    "scores": lambda ax: RegularizationPathDisplay(
        np.logspace(-3, 3, 7), np.ones((3, 7, 2, 2)), ["a", "b"], ["x"], scores=RNG.normal(size=(3, 7)), C=1.0
    ).plot(ax),
    "norms": lambda ax: RegularizationPathDisplay(
        np.logspace(-3, 3, 7), RNG.normal(size=(3, 7, 20, 2)), [f"class {k}" for k in range(20)], ["x"]
    ).plot(ax),
    "convergence": lambda ax: ConvergenceDisplay(2.0 ** -np.arange(9.0), 0.0, "SoftmaxRegressionClassifier").plot(ax),
}


def texts(figure):
    """What is written, with its place in pixels, once the figure is drawn."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    hidden = {
        label
        for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis))
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not (axis.axes.axison and axis.get_view_interval().min() <= tick.get_loc() <= axis.get_view_interval().max())
    }
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text() and text not in hidden]
    return {text: text.get_window_extent(renderer) for text in found}


@pytest.mark.parametrize("size", [None, (8.0, 6.0), (4.0, 3.0)], ids=str)
@pytest.mark.parametrize("name", DISPLAYS)
def test_nothing_is_cut_off(name, size):
    """In figures of their own and in those of a given size; colour bars and legends too."""
    ax = None if size is None else plt.subplots(figsize=size, layout="constrained")[1]
    figure = DISPLAYS[name](ax).figure_
    for text, place in texts(figure).items():
        inside = figure.bbox.padded(1.5)
        assert inside.x0 <= place.x0 <= place.x1 <= inside.x1, text.get_text()
        assert inside.y0 <= place.y0 <= place.y1 <= inside.y1, text.get_text()


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_counts_of_two_curves_are_kept_apart(style):
    """Those of one lay on those of the other, in the dark in a blue that was hardly to be seen."""
    plt.style.use(style)
    display = ReliabilityDisplay([CURVE], ["before"]).plot()
    mean_predicted, share_true, count = CURVE
    ReliabilityDisplay([(mean_predicted, share_true + 0.01, count)], ["after"]).plot(display.ax_)
    drawn = texts(display.figure_)
    places = {text: place for text, place in drawn.items() if text.get_text().isdigit()}
    assert len(places) > 10
    for a, b in itertools.combinations(places, 2):
        assert not places[a].overlaps(places[b]), (a, b)
    paper = np.array(to_rgb(display.ax_.get_facecolor()))
    for text in places:
        assert np.abs(np.array(to_rgb(text.get_color())) - paper).mean() > 0.35


def test_labels_in_one_line_are_not_read_as_one():
    """932 beside 1225 was 1225932: there is a letter's room between them, or the next place is taken."""
    figure, ax = plt.subplots()
    labels = _labels.label_artist(ax, 10)
    first, second = labels.text("1225"), labels.text("932")
    labels.add(first, lambda width, height, point: [(200, 200, 0)])
    apart = first.get_window_extent().width  # between the middles: half a letter is free between the texts
    labels.add(second, lambda width, height, point: [(200 + apart, 200, 0), (200, 250, 0)])
    figure.draw_without_rendering()
    assert second.get_position() == (200, 250)


@pytest.mark.parametrize("dpi", [70, 200])
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_names_of_20_classes(style, dpi):
    """Each class has its name in its region and on its line, none over another, at any resolution and in any style."""
    plt.style.use(style)
    plt.rcParams["figure.dpi"] = dpi
    display = hyperplanes(20)
    figure, ax = display.figure_, display.ax_
    drawn = texts(figure)
    names = [text for text in drawn if text.get_text().startswith("class ")]
    assert sorted(text.get_text() for text in names) == sorted(2 * display.class_names)
    boxes = []
    for text in names:
        place, turned = text.get_position(), text.get_rotation()
        text.set_rotation(0)
        extent = text.get_window_extent()
        boxes.append(_labels.box(*place, turned, extent.width, extent.height))
        assert _labels.within(ax.get_window_extent(), boxes[-1])
    assert not any(itertools.starmap(_labels.overlap, itertools.combinations(boxes, 2)))


def test_turned_boxes_overlap_or_not():
    """A square of side 2, and one that stands on its corner beside it: sqrt(2) and 1 apart they touch."""
    square = _labels.box(0, 0, 0, 2, 2)
    assert_allclose(square, [[-1, -1], [1, -1], [1, 1], [-1, 1]])
    assert_allclose(_labels.box(0, 0, 90, 4, 2)[0], [1, -2])
    touch = 1 + np.sqrt(2)
    assert _labels.overlap(square, _labels.box(touch - 0.01, 0, 45, 2, 2))
    assert not _labels.overlap(square, _labels.box(touch + 0.01, 0, 45, 2, 2))


def test_colors_for_all_eyes():
    """Differences in CAM02-UCS, where 1 is just seen; each simulated eye lacks a kind of cone altogether."""
    colorspacious = pytest.importorskip("colorspacious")
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE])
    assert len(rgb) == 20
    pairs = tuple(np.triu_indices(20, 1))
    for kind, least in ((None, 10), ("deuteranomaly", 10), ("protanomaly", 10), ("tritanomaly", 6.5)):
        seen = rgb
        if kind is not None:
            eye = {"name": "sRGB1+CVD", "cvd_type": kind, "severity": 100}
            seen = np.clip(colorspacious.cspace_convert(rgb, eye, "sRGB1"), 0, 1)
        seen = colorspacious.cspace_convert(seen, "sRGB1", "CAM02-UCS")
        assert np.linalg.norm(seen[pairs[0]] - seen[pairs[1]], axis=1).min() > least, kind
    lightness = colorspacious.cspace_convert(rgb, "sRGB1", "CAM02-UCS")[:, 0]
    assert 30 < lightness.min()  # on black paper
    assert lightness.max() < 85  # on white


def test_classes_look_different():
    """Markers of 20 classes differ; dashes do where a class follows another; beyond 20 no pair repeats."""
    assert len(set(MARKERS)) == 20
    assert len({(color(k), marker(k)) for k in range(60)}) == 60
    assert len({dashes(k) for k in range(7)}) == len(DASHES)


@pytest.mark.parametrize(("style", "paper"), [("default", 1.0), ("dark_background", 0.0)])
def test_zero_has_the_color_of_the_paper(style, paper):
    plt.style.use(style)
    colors = diverging(plt.subplots()[1])
    assert_allclose(colors(0.5)[:3], paper, atol=0.04)
    low, high = np.array(colors(0.1)), np.array(colors(0.9))
    assert low[2] > low[0] + 0.3  # blue
    assert high[0] > high[2] + 0.3  # red


def luminance(color):
    """Relative luminance of a colour, by WCAG 2."""
    c = np.array(to_rgb(color))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize(("style", "paper"), [("default", "white"), ("dark_background", "black")])
def test_letters_in_the_color_of_a_class_are_legible(style, paper):
    """The contrast that WCAG 2 asks of text."""
    plt.style.use(style)
    for own in PALETTE:
        low, high = sorted([luminance(letters_color(own)), luminance(paper)])
        assert (high + 0.05) / (low + 0.05) >= 4.5


# --------------------------------------------------------------------------------------- what they say, by hand


def test_normals_point_to_the_positive_side():
    """3 x + 4 y = 5: an arrow from the line, along (3, 4)."""
    clf = LogisticRegression()
    clf.classes_, clf.n_features_in_ = np.arange(2), 2
    clf.coef_, clf.intercept_ = np.array([[3.0, 4.0]]), np.array([-5.0])
    display = HyperplaneDisplay.from_estimator(clf, np.array([[-3.0, -3.0], [3.0, 3.0]]))
    display.figure_.draw_without_rendering()
    (arrow,) = display.ax_.patches
    foot, head = display.ax_.transData.inverted().transform(np.array(arrow._posA_posB))
    assert_allclose(foot @ [3, 4], 5, atol=1e-6)
    assert_allclose((head - foot) / np.linalg.norm(head - foot), [0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("legend", [False, True])
def test_a_picture_says_which_lines_are_not_in_it(legend):
    """Of its own classes, with a legend or without: of three pictures with one legend it spoke of the last."""
    clf = LogisticRegression()
    clf.classes_, clf.n_features_in_ = np.arange(3), 2
    clf.coef_, clf.intercept_ = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([0.0, 50.0, -50.0])
    X = np.array([[-3.0, -3.0], [3.0, 3.0]])
    display = HyperplaneDisplay.from_estimator(clf, X, class_names=["a", "b", "c"], legend=legend)
    assert display.ax_.get_xlabel().splitlines()[1:] == ["score 0 not in sight: b, c"]
    assert "sight" not in display.plot(hyperplanes=False).ax_.get_xlabel()


def test_wilson_interval():
    """None of ten: from 0 to z^2 / (n + z^2)."""
    z2 = 1.959964**2
    low, high = _wilson(np.array([0.0, 0.5, 1.0]), np.array([10, 100, 10]))
    assert_allclose([low[0], high[0]], [0, z2 / (10 + z2)])
    assert_allclose([low[2], high[2]], [10 / (10 + z2), 1])
    assert_allclose(low[1] + high[1], 1)
    assert_allclose(high[1] - 0.5, 0.0962, atol=1e-4)  # as R's binom::binom.wilson(50, 100) says


def test_rows_that_were_fitted_are_noted():
    X, y = RNG.normal(size=(400, 5)), RNG.integers(0, 3, 400)
    clf = LogisticRegression(C=0.1, tol=1e-8).fit(X[:200], y[:200])
    assert _seem_fitted(y[:200], clf.predict_proba(X[:200]), clf.classes_)
    assert not _seem_fitted(y[200:], clf.predict_proba(X[200:]), clf.classes_)
    for rows, noted in ((slice(200), True), (slice(200, None), False)):
        display = ReliabilityDisplay.from_estimator(clf, X[rows], y[rows])
        written = [text.get_text() for text in display.ax_.get_legend().get_texts()]
        assert any("fitted" in words for words in written) == noted


def test_counts_and_intervals_of_reliability():
    display = ReliabilityDisplay([(np.array([0.2, 0.8]), np.array([0.0, 0.5]), np.array([10, 100]))], ["name"]).plot()
    written = {text.get_text() for text in texts(display.figure_)}
    assert {"10", "100"} <= written
    (bars,) = display.ax_.containers
    segments = bars[2][0].get_segments()
    assert_allclose(segments[0][:, 1], np.ravel(_wilson(0.0, 10)), atol=1e-9)
    assert "10" not in {text.get_text() for text in texts(display.plot(counts=False).figure_)}


def test_bins_of_one_size_are_told_once():
    """The same number stood at each of their points, one over the other; numbers are never smaller than 6 points."""
    middle = np.linspace(0.9, 0.99, 10)
    display = ReliabilityDisplay([(middle, middle, np.array([124] * 4 + [125] * 6))], ["name"]).plot()
    written = {text.get_text() for text in texts(display.figure_)}
    assert not written & {"124", "125"}
    assert "124 or 125 predictions each point" in " ".join(" ".join(written).split())
    display = ReliabilityDisplay([(middle, middle, np.arange(124, 134))], ["name"]).plot()
    numbers = [text for text in texts(display.figure_) if text.get_text().isdigit()]
    assert numbers
    assert min(text.get_fontsize() for text in numbers) >= 6


def test_the_best_its_equals_and_1se_are_marked():
    """Means 0, 2, 3, 3 with standard errors of 1 at the third: 2 is within one of the best."""
    scores = [[-1.0, 1.0, 2.0, 2.5], [1.0, 3.0, 4.0, 3.5]]
    display = RegularizationPathDisplay(
        [0.1, 1.0, 10.0, 100.0], np.ones((2, 4, 3, 1)), list("abc"), ["x"], scores=scores, C=10.0
    ).plot()
    lines = {line.get_label(): line for line in display.ax_.lines}
    assert_allclose(lines["best mean, 2 equal: C = 10, 100"].get_xydata(), [[10, 3], [100, 3]])
    assert lines["smallest C within 1 standard error (1se): 1"].get_xdata()[0] == 1
    assert lines["chosen: C = 10"].get_xdata()[0] == 10


def test_templates_say_what_is_beyond_their_scale():
    templates = np.zeros((1, 10, 10, 1))
    templates[0, 0, 0, 0], templates[0, 0, 1, 0] = 9.0, 1.0
    display = TemplateDisplay(templates, ["a"]).plot(limit=1.0)
    assert "1.0% beyond, up to 9" in display.figure_.axes[-1].get_ylabel().replace("\n", " ")
    assert "beyond" not in TemplateDisplay(templates, ["a"]).plot(limit=9.0).figure_.axes[-1].get_ylabel()


def test_contributions_say_which_row_class_and_values():
    added = np.array([[1.0, -2.0], [0.5, 0.25]])
    display = ContributionDisplay(
        *(added, np.zeros(2), np.array(["width", "length"]), ["cat", "dog"]), values=[3.0, 4.5], sample_name="row 7"
    ).plot()
    assert [panel.get_title() for panel in display.ax_] == ["cat\nscore -1.00", "dog\nscore 0.75, predicted"]
    assert [text.get_text() for text in display.ax_[0].get_yticklabels()] == ["intercept", "length = 4.5", "width = 3"]
    assert [text.get_text() for text in display.ax_[0].texts] == ["+0.00", "-2.00", "+1.00"]
    assert "row 7" in display.ax_[0].get_xlabel()


def test_contributions_of_pixels_add_up_to_the_score():
    """What a panel shows, the sum of its pixels and the intercept above them, is the score above them."""
    intercept = np.array([0.5, -3.0, 12.25])
    display = ContributionDisplay(
        RNG.normal(size=(3, 16)), intercept, None, ["a", "b", "c"], image_shape=(4, 4, 1)
    ).plot()
    for panel, added in zip(display.ax_, intercept, strict=True):
        score, told = (float(re.search(f"{name} ([-+.0-9]+)", panel.get_title())[1]) for name in ("score", "intercept"))
        assert told == added
        assert score == pytest.approx(panel.images[0].get_array().sum() + added, abs=0.005)


@pytest.mark.parametrize("n_panels", [1, 3])
def test_bars_have_most_of_their_figure(n_panels):
    """Of one class they had half of its width: labels took the other."""
    names = np.array(["petal length (cm)"] * 3)
    display = ContributionDisplay(np.ones((n_panels, 3)), np.ones(n_panels), names, ["a"] * n_panels, values=np.ones(3))
    figure = display.plot().figure_
    figure.draw_without_rendering()
    assert sum(panel.get_window_extent().width for panel in display.ax_) > 0.55 * figure.bbox.width


@pytest.mark.parametrize("size", [None, (8.0, 6.0), (4.0, 3.0)], ids=str)
@pytest.mark.parametrize("n_panels", [1, 3])
def test_numbers_beside_bars_stay_within_their_panel(n_panels, size):
    """They lay across its edge where labels on the left took most of the width, as of two classes."""
    added = np.array([[14.64, -2.65, -14.4]] * n_panels)
    names = np.array(["petal length (cm)"] * 3)
    display = ContributionDisplay(added, np.full(n_panels, -14.4), names, ["2 against 1"] * n_panels, values=np.ones(3))
    display.plot(None if size is None else plt.subplots(figsize=size, layout="constrained")[1])
    drawn = texts(display.figure_)
    for panel in display.ax_:
        frame = panel.get_window_extent()
        numbers = [drawn[text] for text in panel.texts]
        assert len(numbers) == 4
        assert all(frame.x0 <= place.x0 and place.x1 <= frame.x1 for place in numbers)


def test_points_of_reliability_are_explained():
    """Once for all curves of some axes; without numbers only what is drawn."""
    display = ReliabilityDisplay([CURVE], ["before"]).plot(counts=False)
    told = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert "each point: 95 % interval" in told
    display = ReliabilityDisplay([CURVE], ["before"]).plot()
    ReliabilityDisplay([CURVE], ["after"]).plot(display.ax_)
    told = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert told.count("each point: 95 % interval, number of predictions") == 1
    display = ReliabilityDisplay([CURVE] * 3, list("abc"), "per_class").plot()
    assert "95 % interval, number of predictions" in display.figure_.get_supxlabel()


def test_coefficients_that_are_all_zero_are_no_points_of_a_logarithmic_axis():
    """Lines fell straight down to where there is no zero."""
    coefs = np.array([0.0, 0.0, 1.0, 2.0])[:, None, None] * [[[1.0], [2.0]]]
    display = RegularizationPathDisplay.from_path(np.logspace(-2, 1, 4), coefs)
    for k, line in enumerate(display.ax_.lines):
        assert_allclose(line.get_ydata(), np.array([np.nan, np.nan, 1.0, 2.0]) * (k + 1))
