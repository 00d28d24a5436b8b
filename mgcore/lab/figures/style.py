"""The style of every figure of the book: size, background, colours and markers.

Nothing here reads or changes pyplot's state.  A figure is a value, independent of the settings of
the notebook, and is shown as the last expression of a cell.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter
from PIL import Image

from mgcore.lab.protocol import CONDITION_NAMES
from mgcore.lab.verdict.agreement import interval

WIDTH = 7.0  # inches: the text width of the site
LEVELS = [5 * round(level / 5) for level in range(256)]
DPI = 150  # sharp where a page shows the 7 inches on 770 pixels of a dense screen
SHOWN = 110  # pixels an inch on the page

CARD = "#fdfdfb"  # opaque, so that a figure reads alike on light and dark pages
INK = "#222222"
MUTED = "#595959"  # 7:1 on the card
GRID = "#dededa"


@dataclass(frozen=True)
class Look:
    """Colour, marker, line and label of one network; no two networks differ in colour alone."""

    colour: str
    marker: str
    line: str | tuple[float, tuple[float, ...]]
    label: str


# The colours are at least 4:1 on the card and far apart for every kind of colour vision (a test
# measures both).
LOOKS = {
    "coarse": Look("#757575", "s", ":", "coarse network"),
    "new": Look("#0077bb", "o", "--", CONDITION_NAMES["new"]),
    "transfer": Look("#cc5500", "^", (0, (6, 1.5, 1, 1.5)), CONDITION_NAMES["transfer"]),
    "multigrid": Look("#5b0f4f", "v", "-", CONDITION_NAMES["multigrid"]),
}

# The same looks for curves that belong to no network.
SERIES = [LOOKS[name] for name in ("new", "transfer", "multigrid", "coarse")]
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")  # tick labels without exponents

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
    """A figure that Jupyter shows without pyplot, with the same bytes at every call."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width, height = (round(SHOWN * inches) for inches in self.get_size_inches())
        return png(self), {"width": width, "height": height}


def png(figure: Figure) -> bytes:
    """Return the figure as a small PNG, without the version that matplotlib would add."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI, metadata={"Software": None})
    # 52 levels a channel: the file is a fifth smaller, no level moves by more than 2 of 255, and
    # greys stay grey.  A palette of 256 colours turned one band of a scale grey, its neighbour not.
    picture = Image.open(raw).convert("RGB").point(LEVELS * 3)
    packed = io.BytesIO()
    picture.save(packed, format="png", optimize=True)
    return packed.getvalue()


F = TypeVar("F", bound=Callable[..., Figure])


def styled(function: F) -> F:
    """Decorate a function that draws a figure, so that it uses this style and no other settings."""

    @wraps(function)
    def draw(*arguments: Any, **options: Any) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
            figure = function(*arguments, **options)
            # Matplotlib makes ticks at the first drawing, with the settings of that moment.
            figure.draw_without_rendering()
        return figure

    return draw  # type: ignore[return-value]


def card(
    height: float, title: str, layout: Literal["constrained", "tight"] = "constrained"
) -> Card:
    """Return an empty figure, as wide as the page's text, with its title."""
    figure = Card(figsize=(WIDTH, height), dpi=DPI, layout=layout, facecolor=CARD)
    figure.suptitle(title, x=0.012, ha="left")
    # Notebooks crop figures to their content; this rectangle protects the padding.
    figure.add_artist(Rectangle((0, 0), 1, 1, transform=figure.transFigure, color=CARD, zorder=-9))
    return figure


def note(figure: Figure, text: str) -> None:
    """Write one or two lines on how to read the figure below the axes."""
    figure.supxlabel(text, x=0.012, ha="left", fontsize=9, color=MUTED)


def bare(axes: Axes) -> None:
    """Remove ticks and spines from axes that show a picture."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def handle(**look: Any) -> Line2D:
    """Return a legend entry that looks like a line or marker of these properties."""
    return Line2D([], [], **look)


def record_handles(names: Iterable[str]) -> list[Line2D]:
    """Return legend entries of records that share axes: the first filled, the others hollow."""
    look = {"color": MUTED, "marker": "o", "linestyle": "-", "markersize": 6}
    return [
        handle(**look, markerfacecolor=CARD if number else MUTED, label=name)
        for number, name in enumerate(names)
    ]


def draw_intervals(
    axes: Axes, row: float, name: str, samples: Sequence[Iterable[float]], spread: float = 0.25
) -> None:
    """Draw means with 95 % intervals of one network beside each other, a sample for each record.

    Parameters
    ----------
    axes : Axes
    row : float
        Vertical place of the network.
    name : str
        A key of :data:`LOOKS`.
    samples : sequence of iterables of float
        One value a trial; the first sample has a filled marker, the others hollow ones.
    spread : float
        Largest vertical distance of a sample from the row.
    """
    look = LOOKS[name]
    lanes = np.linspace(spread, -spread, len(samples)) if len(samples) > 1 else [0.0]
    for number, (lane, values) in enumerate(zip(lanes, samples, strict=True)):
        mean, half = interval(values)
        axes.errorbar(
            mean, row + lane, xerr=half, color=look.colour, marker=look.marker, markersize=6,
            markerfacecolor=CARD if number else look.colour, capsize=3, elinewidth=1.4,
        )  # fmt: skip


def network_handle(name: str) -> Line2D:
    """Return the legend entry of a network."""
    look = LOOKS[name]
    return handle(
        color=look.colour, marker=look.marker, linestyle=look.line, label=look.label,
        linewidth=1.8, markersize=5.5,
    )  # fmt: skip
