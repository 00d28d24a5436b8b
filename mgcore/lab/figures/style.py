"""One style for every figure of the book: the card it lies on, the looks of arms, of the thesis.

Nothing here is read from or written to pyplot: a figure is a value, drawn alike whatever settings
the notebook has, and shows itself where it is the last expression of a cell.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

WIDTH = 7.0  # inches: the text width of the site
DPI = 150  # sharp where a page shows the 7 inches on 770 pixels of a dense screen
SHOWN = 110  # pixels an inch on the page

CARD = "#fdfdfb"  # opaque, so that a figure reads alike on light and dark pages
INK = "#222222"
MUTED = "#595959"  # 7:1 on the card
GRID = "#dededa"


@dataclass(frozen=True)
class Look:
    """How one network is drawn: never by colour alone."""

    colour: str
    marker: str
    line: str | tuple[float, tuple[float, ...]]
    label: str


# The colours are at least 4:1 on the card and far apart for every kind of colour vision (a test
# measures both).
LOOKS = {
    "coarse": Look("#757575", "s", ":", "coarse network"),
    "new": Look("#0077bb", "o", "--", "new"),
    "transfer": Look("#cc5500", "^", (0, (6, 1.5, 1, 1.5)), "transfer"),
    "multigrid": Look("#5b0f4f", "v", "-", "multigrid"),
}

THESIS: dict[str, Any] = {
    "marker": "D", "markersize": 7.5, "markerfacecolor": "none", "markeredgecolor": "black",
    "markeredgewidth": 1.3, "linestyle": "none", "zorder": 6, "label": "thesis",
}  # fmt: skip

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "text.color": INK,
    "figure.facecolor": CARD, "figure.titlesize": 11, "figure.titleweight": "bold",
    "figure.constrained_layout.w_pad": 0.06, "figure.constrained_layout.h_pad": 0.06,
    "axes.facecolor": CARD, "axes.edgecolor": MUTED, "axes.labelcolor": INK,
    "axes.titlesize": 10, "axes.labelsize": 9.5, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.axisbelow": True, "axes.grid": False, "grid.color": GRID, "grid.linewidth": 0.8,
    "xtick.labelsize": 9, "ytick.labelsize": 9, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "legend.fontsize": 9, "legend.frameon": False, "legend.handlelength": 2.6,
    "image.interpolation": "nearest", "svg.hashsalt": "mgcore", "path.simplify": True,
}  # fmt: skip


class Card(Figure):
    """A figure that Jupyter shows by itself, without pyplot, always in the same bytes."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width, height = (round(SHOWN * inches) for inches in self.get_size_inches())
        return png(self), {"width": width, "height": height}


def png(figure: Figure) -> bytes:
    """Return the figure as a small PNG, without the version that matplotlib would add."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI, metadata={"Software": None})
    # 256 colours are enough for every figure here and make its file less than half as large.
    picture = Image.open(raw).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    picture.save(packed, format="png", optimize=True)
    return packed.getvalue()


F = TypeVar("F", bound=Callable[..., Figure])


def styled(function: F) -> F:
    """Make a function that draws a figure use this style, whatever the caller's settings."""

    @wraps(function)
    def draw(*arguments: Any, **options: Any) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_SETTINGS)
            figure = function(*arguments, **options)
            # Ticks are made when first drawn, and take the settings of that moment.
            figure.draw_without_rendering()
        return figure

    return draw  # type: ignore[return-value]


def card(height: float, title: str, layout: str = "constrained") -> Card:
    """Return an empty figure, as wide as the page's text, with its title."""
    figure = Card(figsize=(WIDTH, height), dpi=DPI, layout=layout, facecolor=CARD)
    figure.suptitle(title, x=0.012, ha="left")
    # Notebooks crop figures to what is drawn; this keeps the card's padding from being cropped.
    figure.add_artist(Rectangle((0, 0), 1, 1, transform=figure.transFigure, color=CARD, zorder=-9))
    return figure


def note(figure: Figure, text: str) -> None:
    """Write one or two lines under the axes: how to read the figure."""
    figure.supxlabel(text, x=0.012, ha="left", fontsize=9, color=MUTED)


def bare(axes: Axes) -> None:
    """Take away ticks and spines: for pictures."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def handle(**look: Any) -> Line2D:
    """Return a legend entry that looks like a line or marker of these properties."""
    return Line2D([], [], **look)


def network_handle(name: str) -> Line2D:
    """Return the legend entry of a network."""
    look = LOOKS[name]
    return handle(
        color=look.colour, marker=look.marker, linestyle=look.line, label=look.label,
        linewidth=1.8, markersize=5.5,
    )  # fmt: skip
