"""Errors on grids, before and after a step: figures of the multigrid chapter (thesis §2.4).

Functions are drawn as marks at their cell centres, joined so that the eye can follow; what is
compared is told apart by colour, marker and line at once.  How fast methods are is drawn by
:mod:`mgcore.lab.figures.convergence`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS
from mgcore.multigrid.poisson import amplitudes, centres

Curves = Mapping[str, np.ndarray]

# In the order in which curves are given: the first is what the others are compared with.
_ORDER = [LOOKS[name] for name in ("coarse", "new", "transfer", "multigrid")]
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def line(place: int, **changes: Any) -> dict[str, Any]:
    """Return what draws the curve at `place`, 0 to 3, with changes."""
    look = _ORDER[place]
    drawn = {"color": look.colour, "marker": look.marker, "linestyle": look.line}
    return drawn | {"linewidth": 1.6, "markersize": 4.5} | changes


def _halves(ax: Axes, n: int) -> None:
    """Shade the modes that a grid of half as many cells cannot show."""
    ax.axvspan(n / 2 + 0.5, n + 0.5, color=style.GRID, alpha=0.6, linewidth=0)
    ax.set_xlim(0.5, n + 0.5)


@style.styled
def grid_functions(
    title: str,
    panels: Mapping[str, Curves],
    columns: int = 3,
    note: str = "",
    own_scale: Collection[str] = (),
) -> Figure:
    """Draw functions on grids between two walls, panel by panel.

    To see: what a step does to the shape of an error, from one panel, or curve, to the next.

    Parameters
    ----------
    title, note : str
        Over and under all panels.
    panels : mapping of str to mapping of str to ndarray, shape (n,)
        Heading, then label, then the values at n cell centres.  A label looks alike in all
        panels; there are up to four.
    columns : int
        Panels beside each other.
    own_scale : collection of str
        Headings of panels that show another quantity; all others share their vertical scale.

    Raises
    ------
    ValueError
        If there are more than four labels.
    """
    labels = list(dict.fromkeys(label for curves in panels.values() for label in curves))
    if len(labels) > len(_ORDER):
        raise ValueError(f"panels has {len(labels)} labels; accepted: at most {len(_ORDER)}.")
    rows = -(-len(panels) // columns)
    legend = len(labels) > 1
    figure = style.card(0.7 + 2.1 * rows + 0.35 * legend + 0.35 * bool(note), title)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    drawn = dict(zip(panels, axes.flat, strict=False))
    for heading, curves in panels.items():
        ax = drawn[heading]
        ax.axhline(0, color=style.MUTED, linewidth=0.8)
        for wall in (0, 1):
            ax.axvline(wall, color=style.INK, linewidth=2.2)
        for label, values in curves.items():
            # Few marks are large: a coarse grid is to be recognised.
            size = 6 if len(values) <= 16 else 3.2
            ax.plot(centres(len(values)), values, **line(labels.index(label), markersize=size))
        ax.set(xlim=(-0.02, 1.02), xticks=(0, 0.5, 1), title=heading)
        ax.xaxis.set_major_formatter(PLAIN)
    alike = [ax for heading, ax in drawn.items() if heading not in own_scale]
    low, high = zip(*(ax.get_ylim() for ax in alike), strict=True)
    for ax in alike:
        ax.set_ylim(min(low), max(high))
        ax.tick_params(labelleft=ax.get_subplotspec().colspan.start == 0)
    for ax in list(drawn.values())[-columns:]:
        ax.set_xlabel("x")
    if legend:
        handles = [style.handle(**line(place), label=label) for place, label in enumerate(labels)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(labels))
    if note:
        style.note(figure, note)
    return figure


@style.styled
def spectra(title: str, errors: Curves, note: str = "") -> Figure:
    """Draw how much of each mode errors hold.

    To see: which half of the modes, smooth or rough (shaded), a step takes away.

    Parameters
    ----------
    title, note : str
    errors : mapping of str to ndarray, shape (n,)
        Heading, then the error at n cell centres.
    """
    figure = style.card(2.75 + 0.35 * bool(note), title)
    axes = figure.subplots(1, len(errors), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (heading, error) in zip(axes, errors.items(), strict=True):
        n = len(error)
        _halves(ax, n)
        size = np.abs(amplitudes(error))
        k = np.arange(1, n + 1)
        ax.vlines(k, 0, size, color=LOOKS["new"].colour, linewidth=2)
        ax.plot(k, size, **line(1, linestyle="none", markersize=3))
        ax.set(title=heading, xlabel="mode k", xticks=(1, n // 2, n))
    axes[0].set_ylabel("amplitude")
    axes[0].set_ylim(0, None)
    if note:
        style.note(figure, note)
    return figure


@style.styled
def damping(theory: Curves, measured: Curves) -> Figure:
    """Draw by how much a sweep multiplies each error mode: theory as lines, measured as marks.

    To see: every method leaves the smooth modes on the left almost as they are; how well the rough
    ones on the right are damped is what tells methods apart.

    Parameters
    ----------
    theory, measured : mapping of str to ndarray, shape (n,)
        By method; the factors of the modes 1, ..., n.
    """
    title = "What one sweep leaves of each error mode (line: theory, mark: measured)"
    figure = style.card(3.5, title)
    ax = figure.subplots()
    n = len(next(iter(theory.values())))
    _halves(ax, n)
    k = np.arange(1, n + 1)
    handles = []
    for place, (name, values) in enumerate(theory.items(), start=1):
        look = line(place)
        ax.plot(k, values, **look | {"marker": ""})
        ax.plot(k, measured[name], **look | {"linestyle": "none"})
        handles.append(style.handle(**look, label=name))
    for at, word in ((n / 4, "smooth: the coarse grid has them"), (3 * n / 4, "rough")):
        ax.text(at, 1.1, word, ha="center", color=style.MUTED)
    ax.set(ylim=(0, 1.2), xlabel="mode k", ylabel="factor of one sweep")
    ax.set_xticks([1, n // 4, n // 2, 3 * n // 4, n])
    ax.grid(axis="y")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
