"""Names and numbers within a picture, placed when it is drawn: only then is it known how large anything is."""

import numpy as np

from ._drawing import LETTER, halo

_SHRINK = 0.88  # of the size of the letters, as long as some names find no place


def label_artist(ax, size, smallest=4.0):
    """An artist that places labels on ax whenever it is drawn, at any size and resolution.

    Labels stay within the axes and do not hide each other: their letters are made smaller where there are too many,
    and those that still find no place are left out. ``text`` makes a label, ``add`` takes it with its candidates.

    Parameters
    ----------
    ax : Axes
    size, smallest : float
        Of the letters, in points: where there is room, and where there is little.
    """
    from matplotlib.artist import Artist  # only when drawing

    class Labels(_Labels, Artist):
        """Drawn before its labels, which it moves."""

        zorder = 4.5

    artist = Labels(ax, size, smallest)
    artist.set_in_layout(False)
    ax.add_artist(artist)
    return artist


class _Labels:
    """What :func:`label_artist` returns, but for what makes it an artist of matplotlib."""

    def __init__(self, ax, size, smallest):
        super().__init__()
        self.panel, self.size, self.smallest, self.labels = ax, size, smallest, []

    def text(self, words, **options):
        """A text to be placed, with an edge that keeps it legible on lines."""
        from matplotlib.transforms import IdentityTransform

        ax = self.panel
        text = ax.text(0, 0, words, transform=IdentityTransform(), path_effects=halo(ax), **options)
        text.set(in_layout=False, zorder=5, ha="center", va="center", rotation_mode="anchor")
        return text

    def add(self, text, candidates, arrow=None):
        """Place a text where one of its candidates is free, the first before others.

        Parameters
        ----------
        text : Text
        candidates : callable
            Makes an iterable of (x, y, degrees), in pixels, from the width and the height of the text in pixels and
            the pixels in a point.
        arrow : tuple (FancyArrowPatch, callable), default=None
            Drawn beside the text: the callable makes its two ends from the candidate, the width of the text and the
            pixels in a point.
        """
        self.labels.append((text, candidates, arrow))

    def draw(self, renderer):
        frame, letters, best = self.panel.get_window_extent(renderer), self.size, None
        while best is None or (len(best[1]) < len(self.labels) and letters >= self.smallest):
            places = self._places(renderer, frame, letters)
            if best is None or len(places) > len(best[1]):
                best = letters, places
            letters *= _SHRINK
        for i, (text, _, arrow) in enumerate(self.labels):
            artists = (text,) if arrow is None else (text, arrow[0])
            for artist in artists:
                artist.set_visible(i in best[1])
            if i in best[1]:
                (x, y, degrees), ends = best[1][i]
                halo_there = halo(self.panel, 0.22 * best[0])
                text.set(position=(x, y), rotation=degrees, fontsize=best[0], path_effects=halo_there)
                if ends is not None:
                    arrow[0].set_positions(*ends)

    def _places(self, renderer, frame, letters):
        """Where each label finds a place, by its number, with letters of a size."""
        taken, places, point = [], {}, renderer.points_to_pixels(1.0)
        for i, (text, candidates, arrow) in enumerate(self.labels):
            text.set(position=(0, 0), rotation=0, fontsize=letters)
            extent = text.get_window_extent(renderer)
            for place in candidates(extent.width, extent.height, point):
                boxes = [box(*place, extent.width + LETTER * letters * point, extent.height)]  # as if between words
                ends = None
                if arrow is not None:
                    ends = np.array(arrow[1](place, extent.width, point))
                    along = ends[1] - ends[0]
                    turned = np.degrees(np.arctan2(*along[::-1]))
                    boxes.append(box(*ends.mean(axis=0), turned, np.linalg.norm(along), 5 * point))
                if all(within(frame, new) and not any(overlap(new, old) for old in taken) for new in boxes):
                    taken += boxes
                    places[i] = place, ends
                    break
        return places


def box(x, y, degrees, width, height):
    """Corners (4, 2) of a turned rectangle."""
    angle = np.radians(degrees)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2 * (width, height)
    return np.array([x, y]) + corners @ np.stack([along, across])


def within(frame, corners):
    """Whether corners lie in the bounding box of the axes."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    return frame.x0 <= low[0] and frame.y0 <= low[1] and high[0] <= frame.x1 and high[1] <= frame.y1


def overlap(a, b):
    """Whether two rectangles overlap: unless a side of one of them separates them."""
    for one, other in ((a, b), (b, a)):
        for side in (one[1] - one[0], one[2] - one[1]):
            own, others = one @ side, other @ side
            if own.max() <= others.min() or others.max() <= own.min():
                return False
    return True
