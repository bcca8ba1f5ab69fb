"""What the pictures share: matplotlib only when drawing, axes, colours that colour-blind people can tell apart."""

import numpy as np

# Red speaks for a class and blue against it; white is nothing.
DIVERGING = "RdBu_r"
# M. Okabe and K. Ito, Color Universal Design (2008); black is kept for lines. Beyond seven classes the colours repeat,
# so markers and labels change with the class too.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


def color(k):
    return PALETTE[k % len(PALETTE)]


def marker(k):
    return MARKERS[k % len(MARKERS)]


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


def many_axes(display, ax, n_panels, panel_size, n_cols=5):
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
            figsize=(panel_size[0] * n_cols + 0.8, panel_size[1] * n_rows),
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


def color_bar(display, axes, limit, label):
    """A bar of the diverging colours from -limit to limit, beside axes whose images may be transparent."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colors = ScalarMappable(Normalize(-limit, limit), DIVERGING)
    display.figure_.colorbar(colors, ax=list(axes), label=label, shrink=0.8)


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
        spine.set_color("0.8")
