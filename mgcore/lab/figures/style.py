"""The style of every figure of the book: size, background, colours and markers.

Nothing here reads or changes pyplot's state.  A figure is a value, independent of the settings of
the notebook, and is shown as the last expression of a cell.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from textwrap import fill
from typing import Any, Literal, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter
from PIL import Image

from mgcore.lab.protocol import CONDITION_NAMES
from mgcore.lab.verdict.agreement import interval

WIDTH = 7.0  # inches: the text width of the site
NARROW = 3.55  # inches: the text width of a phone; letters keep their size
LEVELS = [5 * round(level / 5) for level in range(256)]
SMALLEST = 8.3  # points: 11 pixels on a phone of 390 pixels, whose text is 342 wide
DPI = 150  # sharp where a page shows the 7 inches on 770 pixels of a dense screen
NARROW_DPI = 160  # 1.6 pixels for each of a phone's
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


# Whether figures are drawn for a phone.
_for_phone: ContextVar[bool] = ContextVar("for_phone", default=False)


def on_phone() -> bool:
    """Return whether a figure is being drawn for a phone, :data:`NARROW` inches wide."""
    return _for_phone.get()


def width() -> float:
    """Return the width in inches of the figure that is being drawn."""
    return NARROW if on_phone() else WIDTH


class Card(Figure):
    """A figure that Jupyter shows without pyplot, with the same bytes at every call.

    Drawn for a phone, panels that stand side by side are stacked.
    """

    redraw: Callable[[], Figure] | None = None  # set by :func:`styled`
    legend_rows = 0  # on a phone

    def narrow(self) -> Figure:
        """Return the figure as it is drawn for a phone."""
        if self.redraw is None:
            raise ValueError("Only a figure that a decorated function has drawn can be redrawn.")
        token = _for_phone.set(True)
        try:
            return self.redraw()
        finally:
            _for_phone.reset(token)

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        width, height = (round(SHOWN * inches) for inches in self.get_size_inches())
        shown: dict[str, Any] = {"width": width, "height": height}
        if self.redraw:  # Jupyter ignores what it does not know; the site shows it on phones
            shown["narrow"] = base64.b64encode(webp(self.narrow())).decode("ascii")
        return png(self), shown

    def subplots(self, nrows: int = 1, ncols: int = 1, **options: Any) -> Any:  # type: ignore[override]
        """Add axes as a figure does; on a phone, stack those of a single row."""
        return self._stacked(super().subplots, nrows, ncols, options)

    def subfigures(self, nrows: int = 1, ncols: int = 1, **options: Any) -> Any:  # type: ignore[override]
        """Add parts as a figure does; on a phone, stack those of a single row."""
        return self._stacked(super().subfigures, nrows, ncols, options)

    def _stacked(
        self, add: Callable[..., Any], rows: int, columns: int, options: dict[str, Any]
    ) -> Any:
        """Add panels; on a phone, stack those of a row and make the figure as high as they need."""
        if not on_phone() or rows > 1 or columns == 1:
            return add(rows, columns, **options)
        across = 1 if columns <= 3 else 2
        down = -(-columns // across)
        panel = min(self.get_size_inches()[1] - 0.7, 2.6 / across + 0.2)
        grow(self, (down - 1) * panel)
        squeeze = options.pop("squeeze", True)
        options.pop("width_ratios", None)
        panels = add(down, across, squeeze=False, **options).ravel()
        for spare in panels[columns:]:
            spare.remove()
        return panels[:columns] if squeeze else panels[None, :columns]

    def legend(self, *arguments: Any, **options: Any) -> Legend:
        """Add a legend as a figure does; on a phone, with columns that fit."""
        if on_phone() and "handles" in options:
            longest = max(len(str(one.get_label())) for one in options["handles"])
            columns = max(1, min(options.get("ncols", 1), 52 // (longest + 8)))
            self.legend_rows = -(-len(options["handles"]) // columns)
            options["ncols"] = columns
            grow(self, 0.2 * (self.legend_rows - 1))
        return super().legend(*arguments, **options)


def grow(figure: Figure, inches: float) -> None:
    """Make a figure higher."""
    wide, high = figure.get_size_inches()
    figure.set_size_inches(wide, high + inches)


def png(figure: Figure) -> bytes:
    """Return the figure as a small PNG, without the version that matplotlib would add."""
    packed = io.BytesIO()
    _picture(figure, DPI).save(packed, format="png", optimize=True)
    return packed.getvalue()


def webp(figure: Figure) -> bytes:
    """Return a figure that is drawn for a phone as a WebP, without loss."""
    packed = io.BytesIO()
    _picture(figure, NARROW_DPI).save(packed, "webp", lossless=True, quality=100, method=4)
    return packed.getvalue()


def _picture(figure: Figure, dpi: int) -> Image.Image:
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi)
    # 52 levels a channel: the file is a fifth smaller, no level moves by more than 2 of 255, and
    # greys stay grey.  A palette of 256 colours turned one band of a scale grey, its neighbour not.
    return Image.open(raw).convert("RGB").point(LEVELS * 3)


F = TypeVar("F", bound=Callable[..., Figure])
T = TypeVar("T")


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
            if on_phone():
                _wrap_labels(figure)
                figure.draw_without_rendering()
        if isinstance(figure, Card):
            figure.redraw = lambda: draw(*arguments, **options)
        return figure

    return draw  # type: ignore[return-value]


def _wrap_labels(figure: Figure) -> None:
    """Break titles and labels of axes that are longer than the place of the axes allows."""
    for ax in figure.findobj(Axes):
        spec = ax.get_subplotspec()  # type: ignore[attr-defined]
        if spec is None:
            continue
        part, box = ax.figure.bbox, ax.get_window_extent()
        wide = part.width / spec.get_gridspec().ncols
        left = part.x0 + wide * spec.colspan.start
        centre = (box.x0 + box.x1) / 2
        room = 2 * min(centre - left, left + wide * len(spec.colspan) - centre) - 8
        for text, most in ((ax.title, room), (ax.xaxis.label, room), (ax.yaxis.label, box.height)):
            seen = text.get_window_extent()
            length = seen.height if text is ax.yaxis.label else seen.width
            if length > most:
                lines = text.get_text().splitlines()
                letters = int(max(map(len, lines)) * most / length)
                wrapped = [fill(one, max(8, letters), break_long_words=False) for one in lines]
                text.set_text("\n".join(wrapped))


def card(
    height: float, title: str, layout: Literal["constrained", "tight"] = "constrained"
) -> Card:
    """Return an empty figure, as wide as the page's text, with its title."""
    if on_phone():
        title = fill(title, 34)
        height += 0.18 * title.count("\n")
    figure = Card(figsize=(width(), height), dpi=DPI, layout=layout, facecolor=CARD)
    figure.suptitle(title, x=0.012 * WIDTH / width(), ha="left")
    # Notebooks crop figures to their content; this rectangle protects the padding.
    figure.add_artist(Rectangle((0, 0), 1, 1, transform=figure.transFigure, color=CARD, zorder=-9))
    return figure


def lines_of_pictures(rows: Mapping[str, Sequence[T]]) -> list[tuple[str, Sequence[T]]]:
    """Return rows of pictures with their names; on a phone, rows of at most four.

    The rest of a longer row follows below it, without the name.
    """
    across = max(len(row) for row in rows.values())
    if on_phone():
        across = -(-across // -(-across // 4))
    return [
        ("" if start else name, row[start : start + across])
        for name, row in rows.items()
        for start in range(0, len(row), across)
    ]


def note(figure: Card, text: str) -> None:
    """Write one or two lines on how to read the figure below the axes."""
    if on_phone():
        lines = text.count("\n")
        text = fill(" ".join(text.split()), 50)
        # The layout puts a note and a legend into one place, so the note leaves lines for it.
        text += "\n" * round(1.4 * figure.legend_rows + 0.4) if figure.legend_rows else ""
        grow(figure, 0.15 * (text.count("\n") - lines))
    figure.supxlabel(text, x=0.012 * WIDTH / width(), ha="left", fontsize=9, color=MUTED)


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
