"""What the pictures share: matplotlib only when drawing, axes, colours that all eyes can tell apart."""

import textwrap

import numpy as np

# M. Okabe and K. Ito, Color Universal Design (2008), without yellow and black; then colours found by search for the
# largest difference from each other, also to eyes that lack a kind of cone, neither nearly white nor nearly black.
# tests/test_pictures.py measures them.
PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
    *("#992222", "#774466", "#99CCAA", "#6688FF", "#BBBBCC", "#33DD66", "#3333FF"),
    *("#BB3300", "#776666", "#BB2299", "#00BB66", "#886644", "#883344", "#BB5588"),
)
MARKERS = (
    *("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "d", "H", "8"),
    *((3, 1, 0), (4, 1, 0), (6, 1, 0), (3, 1, 180), (4, 1, 45), (5, 1, 180)),
)
DASHES = ((5, 2), (1.5, 1.5), (8, 2, 1.5, 2), (3, 1), (8, 2, 1.5, 2, 1.5, 2), (10, 3), (2, 4))
LETTER = 0.6  # width of a letter, in its size
_SMALLEST = 4.0  # points
AGAINST, FOR = "#2166AC", "#B2182B"  # the classes: blue and red, told apart by all eyes


def color(k):
    return PALETTE[k % len(PALETTE)]


def marker(k):
    return MARKERS[(k + k // len(PALETTE)) % len(MARKERS)]  # beyond the colours, others go together


def dashes(k):
    return (0, DASHES[(k + k // len(PALETTE)) % len(DASHES)])


def ink():
    """The colour of lines and letters in the style that is in use: black, or white on dark paper."""
    import matplotlib

    return matplotlib.rcParams["text.color"]


def mixed(share, first, second):
    """Colours (..., 3) with a share (..., 1) of the first, the rest of the second."""
    from matplotlib.colors import to_rgb

    first, second = (np.array(to_rgb(c)) if isinstance(c, str | tuple) else c for c in (first, second))
    return share * first + (1 - share) * second


def letters_color(own):
    """A colour for letters: with as much of the ink as leaves all of PALETTE legible, a contrast of 4.5 (WCAG 2)."""
    return tuple(mixed(0.6, own, ink()))


def faint(ax, share=0.35):
    """A colour between paper and ink, for what is to stand back."""
    return tuple(mixed(share, ink(), ax.get_facecolor()[:3]))


def diverging(ax):
    """Colours from AGAINST over the paper's, which is nothing, to FOR."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    paper = ax.get_facecolor()[:3]
    if np.dot(paper, [0.299, 0.587, 0.114]) > 0.5:  # luma, Rec. ITU-R BT.601
        return matplotlib.colormaps["RdBu_r"]
    return LinearSegmentedColormap.from_list("on dark", ["#A6D5FF", "#3D8FD9", paper, "#E0524A", "#FFC1B0"])


def halo(ax, width=2.0):
    """An effect that keeps letters legible on lines: an edge in the colour of the paper."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground=ax.get_facecolor())]


def points_of(size):
    """Points of a size of letters by its name."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(size=size).get_size_in_points()


def short(name, length=24):
    """A name that fits above a panel."""
    return name if len(name) <= length else name[: length - 1] + "…"


def room_of(ax):
    """Width and height, in inches, of the part of the figure that is for some axes and what is written around them."""
    spec, size = ax.get_subplotspec(), ax.figure.bbox.size / ax.figure.dpi
    if spec is None:
        return ax.get_position().size * size
    grid = spec.get_gridspec()
    shape = len(spec.colspan) / grid.ncols, len(spec.rowspan) / grid.nrows
    outer = getattr(grid, "_subplot_spec", None)  # of axes that were divided
    if outer is not None:
        shape = np.multiply(shape, outer.get_position(ax.figure).size)
    return np.multiply(shape, size)


def fitted(words, room, size, n_lines=2):
    """Words in lines, and the size of the letters, not above size, that make no line wider than the room in inches."""
    wanted = points_of(size)
    for letters in np.arange(wanted, _SMALLEST, -0.5):
        n_letters = max(int(room * 72 / (LETTER * letters)), 1)
        lines = [
            line
            for part in words.split("\n")
            for line in textwrap.wrap(part, n_letters, break_long_words=False) or [""]
        ]
        if len(lines) <= max(n_lines, words.count("\n") + 1) and max(map(len, lines)) <= n_letters:
            break
    return "\n".join(lines), letters


def fit_labels(ax, usual=(4.0, 3.0)):
    """Labels of the axes and numbers along them that have room; returns what share of their size letters have.

    That is one where there is the usual room, in inches.
    """
    width, height = room_of(ax)
    letters = np.clip(min(width / usual[0], height / usual[1]), 0.5, 1.0)
    ax.tick_params(labelsize=points_of("medium") * letters)
    for axis, length in ((ax.xaxis, 0.72 * width), (ax.yaxis, 0.42 * height)):
        text, size = fitted(axis.get_label_text(), length, "medium")
        axis.set_label_text(text, fontsize=size)
    return letters


def titles(axes, words, size="medium", chosen=()):
    """Titles of panels, with letters of one size that is not too wide for any; of those chosen in bold."""
    texts, letters = zip(
        *(fitted(w, 0.93 * room_of(ax)[0], size) for ax, w in zip(axes, words, strict=True)), strict=True
    )
    for i, (ax, text) in enumerate(zip(axes, texts, strict=True)):
        ax.set_title(text, fontsize=min(letters), weight="bold" if i in chosen else "normal")


def legend_below(ax, handles=None):
    """A legend under the labels of the axes, where it hides nothing, in as many columns as there is room for."""
    from matplotlib.transforms import ScaledTranslation

    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    if not handles:
        return
    width, height = room_of(ax) * 72 * (0.86, 0.4)
    for letters in np.arange(points_of("small"), _SMALLEST, -0.5):
        labels = [textwrap.fill(handle.get_label(), max(int(width / letters / LETTER - 7), 8)) for handle in handles]
        wide = (max(len(line) for label in labels for line in label.split("\n")) * LETTER + 4.5) * letters
        columns = max(1, min(len(labels), int(width / wide)))
        if sum(label.count("\n") + 1.4 for label in labels) / columns * letters <= height:
            break
    lines = ax.get_xlabel().count("\n") + 1
    under = ax.xaxis.label.get_size() * 1.3 * lines + points_of("medium") * 1.2 + 9
    ax.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=ax.transAxes + ScaledTranslation(0, -under / 72, ax.figure.dpi_scale_trans),
        borderaxespad=0,
        fontsize=letters,
        frameon=False,
        ncols=columns,
        alignment="left",
    )


def pyplot(display):
    """matplotlib.pyplot, imported when something is drawn."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot expects matplotlib, which is not installed. Remedy: pip install matplotlib."
        ) from error
    return plt


def one_axes(display, ax, **figure_options):
    """Axes to draw on, a new figure's where ax is None; leaves ``ax_`` and ``figure_`` on the display."""
    plt = pyplot(display)
    if ax is None:
        _, ax = plt.subplots(layout="constrained", **figure_options)
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def many_axes(display, ax, n_panels, panel_size, n_cols=5, beside=1.0):
    """Axes for some panels: a new figure's, cells within one axes, or those given; as one_axes otherwise.

    Parameters
    ----------
    display : display
    ax : Axes, array-like of n_panels Axes, or None
    n_panels : int
    panel_size : tuple of float
        Width and height of a panel in inches, in a new figure.
    n_cols : int
        Most panels side by side.
    beside : float
        Width in inches of what stands beside them, in a new figure.

    Returns
    -------
    ndarray of n_panels Axes
    """
    plt = pyplot(display)
    n_cols = min(n_cols, n_panels)
    n_rows = -(-n_panels // n_cols)
    if ax is None:
        figure, axes = plt.subplots(
            *(n_rows, n_cols),
            figsize=(panel_size[0] * n_cols + beside, panel_size[1] * n_rows),
            layout="constrained",
            squeeze=False,
        )
        axes = axes.ravel()
        for unused in axes[n_panels:]:
            unused.set_axis_off()
        axes = axes[:n_panels]
    elif hasattr(ax, "figure"):
        figure = ax.figure
        ax.set_axis_off()
        cells = ax.get_subplotspec().subgridspec(n_rows, n_cols)
        axes = np.array([figure.add_subplot(cells[i // n_cols, i % n_cols]) for i in range(n_panels)])
    else:
        axes = np.asarray(ax, dtype=object).ravel()
        if len(axes) != n_panels:
            raise ValueError(
                f"Expected ax to be one Axes or {n_panels} of them, one for each panel, got {len(axes)}. Remedy: leave "
                "ax out, or make as many with plt.subplots."
            )
        figure = axes[0].figure
    display.ax_, display.figure_ = axes, figure
    return axes


def color_bar(display, axes, limit, label, *, extend="neither", colors=None):
    """A bar of colours from -limit to limit beside axes; diverging ones where no others are given."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colors = ScalarMappable(Normalize(-limit, limit), diverging(axes[0]) if colors is None else colors)
    bar = display.figure_.colorbar(colors, ax=list(axes), shrink=0.8, extend=extend)
    rows = {panel.get_position().y0.round(6) for panel in axes}
    text, letters = fitted(label, 0.75 * len(rows) * room_of(axes[0])[1], "small")
    bar.set_label(text, fontsize=letters)
    bar.ax.tick_params(labelsize=letters)


def check_image_shape(image_shape, n_features):
    """(H, W, C) for image_shape (H, W), (H, W, 1) or (H, W, 3) of that many pixels."""
    shape = tuple(int(size) for size in np.atleast_1d(image_shape))
    if len(shape) not in (2, 3) or min(shape) < 1 or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ValueError(
            f"Expected image_shape (H, W) for grey images or (H, W, 3) for colour, got {image_shape!r}. Remedy: give "
            "height, width and channels in this order, with channels_first=True if that is how pixels are stored."
        )
    if np.prod(shape) != n_features:
        raise ValueError(
            f"Expected image_shape with {n_features} pixels, one for each coefficient, but {image_shape!r} makes "
            f"{np.prod(shape)}. Remedy: give the shape of the images that the classifier, or the first step of its "
            "pipeline, was fitted on."
        )
    return (*shape, 1)[:3]


def to_images(rows, shape, channels_first):
    """Rows of H*W*C numbers as (n, H, W, C)."""
    height, width, channels = shape
    if channels_first:
        return rows.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    return rows.reshape(-1, height, width, channels)


def bare(ax):
    """Take away ticks, which are no more than pixel numbers."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(faint(ax))
