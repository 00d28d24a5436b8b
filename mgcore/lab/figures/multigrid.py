"""Figures of the multigrid chapter (thesis §2.4): errors on grids, convergence, cost, accuracy.

Grid functions are drawn as markers at their cell centres, joined by lines.  Curves differ in
colour, marker and line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS
from mgcore.multigrid.poisson import amplitudes, centres

Curves = Mapping[str, np.ndarray]

# In the order of the curves: the first is the reference for the others.
_ORDER = [LOOKS[name] for name in ("coarse", "new", "transfer", "multigrid")]


def curve_style(place: int, **changes: Any) -> dict[str, Any]:
    """Return the properties of the curve at `place`, 0 to 3, with changes."""
    look = _ORDER[place]
    drawn = {"color": look.colour, "marker": look.marker, "linestyle": look.line}
    return drawn | {"linewidth": 1.6, "markersize": 4.5} | changes


def _halves(ax: Axes, n: int) -> None:
    """Shade the modes that a grid of half as many cells cannot represent."""
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
    """Draw functions on grids between two boundaries, a panel for each heading.

    To see: the effect of a step on the shape of an error.

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
    if style.on_phone():
        columns = min(columns, 2)
    if len(labels) > len(_ORDER):
        raise ValueError(f"panels must have at most {len(_ORDER)} labels, got {len(labels)}.")
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
            ax.plot(
                centres(len(values)), values, **curve_style(labels.index(label), markersize=size)
            )
        ax.set(xlim=(-0.02, 1.02), xticks=(0, 0.5, 1), title=heading)
        ax.xaxis.set_major_formatter(style.PLAIN)
    alike = [ax for heading, ax in drawn.items() if heading not in own_scale]
    low, high = zip(*(ax.get_ylim() for ax in alike), strict=True)
    for ax in alike:
        ax.set_ylim(min(low), max(high))
        ax.tick_params(labelleft=ax.get_subplotspec().colspan.start == 0)
    for ax in list(drawn.values())[-columns:]:
        ax.set_xlabel("x")
    if legend:
        handles = [
            style.handle(**curve_style(place), label=label) for place, label in enumerate(labels)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(labels))
    if note:
        style.note(figure, note)
    return figure


@style.styled
def spectra(title: str, errors: Curves, note: str = "") -> Figure:
    """Draw the amplitude of each mode of errors.

    To see: which half of the modes, smooth or oscillatory (shaded), a step removes.

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
        ax.plot(k, size, **curve_style(1, linestyle="none", markersize=3))
        ax.set(title=heading, xlabel="mode k", xticks=(1, n // 2, n))
    axes[0].set_ylabel("amplitude")
    axes[0].set_ylim(0, None)
    if note:
        style.note(figure, note)
    return figure


@style.styled
def damping(theory: Curves, measured: Curves) -> Figure:
    """Draw the damping factor of a sweep for each error mode: theory as lines, measured as markers.

    To see: no method damps the smooth modes on the left; the methods differ in the damping of the
    oscillatory modes on the right.

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
        look = curve_style(place)
        ax.plot(k, values, **look | {"marker": ""})
        ax.plot(k, measured[name], **look | {"linestyle": "none"})
        handles.append(style.handle(**look, label=name))
    smooth = "smooth" if style.on_phone() else "smooth: the coarse grid has them"
    for at, word in ((n / 4, smooth), (3 * n / 4, "oscillatory")):
        ax.text(at, 1.1, word, ha="center", color=style.MUTED)
    ax.set(ylim=(0, 1.2), xlabel="mode k", ylabel="factor of one sweep")
    ax.set_xticks([1, n // 4, n // 2, 3 * n // 4, n])
    ax.grid(axis="y")
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


@style.styled
def boundary_prolongation(coarse: np.ndarray, fine: Curves, histories: Curves) -> Figure:
    """Draw P next to a boundary, and the convergence of the V-cycle with it.

    To see: only the odd reflection gives 0 at the boundary; with the other one the cycle slows
    down or diverges.

    Parameters
    ----------
    coarse : ndarray, shape (m,)
        A function on the coarse grid that vanishes at the boundary x = 0.
    fine : mapping of str to ndarray, shape (2 m,)
        Its prolongations, by name.
    histories : mapping of str to ndarray
        Norms of the error after 0, 1, 2, ... cycles, up to four of them.
    """
    figure = style.card(3.9, "At the boundary, P must use that the function is zero")
    left, right = figure.subplots(1, 2)
    shown = 3  # coarse cells
    left.axvline(0, color=style.INK, linewidth=3)
    left.axhline(0, color=style.MUTED, linewidth=0.8)
    for place, (name, values) in enumerate(fine.items(), start=1):
        x = centres(len(values))[: 2 * shown]
        left.plot(x, values[: 2 * shown], **curve_style(place, markersize=6), label=name)
    look = curve_style(
        0, linestyle="none", markersize=8, markerfacecolor="none", markeredgewidth=1.5
    )
    left.plot(centres(len(coarse))[:shown], coarse[:shown], **look, label="coarse values")
    left.set(xlabel="x (the boundary is at 0)", ylabel="value", title="prolonging a function")
    left.set_xlim(-0.006, None)
    left.legend(loc="upper left", bbox_to_anchor=(0.02, 1))
    for place, (name, values) in enumerate(histories.items()):
        every = max(1, len(values) // 8)
        right.plot(values / values[0], **curve_style(place, markevery=every), label=name)
    right.set(yscale="log", xlabel="V(1,1)-cycles", ylabel="norm of the error, first = 1")
    right.set_title("solving Poisson's equation")
    right.grid(axis="y")
    handles, _ = right.get_legend_handles_labels()
    figure.legend(
        handles=handles,
        loc="outside lower right",
        ncols=2,
        title="P and coarse operator of the cycles",
    )
    return figure


@style.styled
def convergence_factors(predicted: Curves, measured: Curves, stalls: Curves) -> Figure:
    """Draw two-grid factors over the sweeps, and V-cycle factors over the number of grids.

    To see: more sweeps help with linear P, but not with constant P and the Galerkin condition,
    which leaves half of a smooth error on each grid.

    Parameters
    ----------
    predicted, measured : mapping of str to ndarray
        Two-grid factors with 1, 2, ... sweeps, by method: local Fourier analysis, and computed.
    stalls : mapping of str to ndarray
        V-cycle factors on 2, 3, ... grids; the same names in the same order.
    """
    figure = style.card(3.9, "Convergence factors: what a step leaves of the error in the long run")
    left, right = figure.subplots(1, 2, sharey=True)
    for place, (name, values) in enumerate(predicted.items(), start=1):
        sweeps = np.arange(1, len(values) + 1)
        left.plot(sweeps, values, **curve_style(place, marker=""))
        left.plot(sweeps, measured[name], **curve_style(place, linestyle="none", markersize=6))
        grids = np.arange(2, len(stalls[name]) + 2)
        right.plot(grids, stalls[name], **curve_style(place, markersize=6), label=name)
    half = curve_style(0, linewidth=1.2, markersize=3)
    right.plot(grids, 1 - 0.5 ** (grids - 1), **half, label="1 − 2⁻ᴸ, L = grids − 1")
    left.set(xlabel="sweeps ν", ylabel="convergence factor", xticks=sweeps)
    left.set_title("two grids (line: theory, mark: measured)")
    right.set(xlabel="grids", xticks=grids, title="V(1,1)-cycle (measured)")
    left.set_ylim(0, 1)
    for ax in (left, right):
        ax.grid(axis="y")
    handles, _ = right.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _doubling(ax: Axes, n: Sequence[int]) -> None:
    """Label a logarithmic axis by the grids on it."""
    ax.set(xscale="log", yscale="log", xlabel="cells along an axis, n = 1/h")
    ax.xaxis.set_major_locator(FixedLocator(list(n)))
    ax.xaxis.set_major_formatter(style.PLAIN)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y")


@style.styled
def work_to_accuracy(n: Sequence[int], units: Curves, title: str) -> Figure:
    """Draw the work to a fixed accuracy over the number of cells.

    To see: halving h multiplies the work of relaxation alone by four, but not that of multigrid.

    Parameters
    ----------
    n : sequence of int
        Cells along an axis.
    units : mapping of str to ndarray
        Work in sweeps over the finest grid; a method may leave out the largest n.
    title : str
    """
    figure = style.card(3.4, title)
    ax = figure.subplots()
    for place, (name, values) in enumerate(units.items(), start=1):
        ax.plot(n[: len(values)], values, **curve_style(place, markersize=6), label=name)
    _doubling(ax, n)
    ax.set_ylabel("work in sweeps of the finest grid")
    ax.yaxis.set_major_formatter(style.PLAIN)
    ax.legend(loc="center right")
    return figure


@style.styled
def nested_iteration_error(
    n: Sequence[int], errors: Curves, starts: Curves, floor: float
) -> Figure:
    """Draw the error of solutions over the number of cells, and over work for two first guesses.

    To see: one pass of nested iteration is as accurate as the exact discrete solution; from zero
    the same cycles need more work.

    Parameters
    ----------
    n : sequence of int
    errors : mapping of str to ndarray
        Root mean square distances from the true solution, for each n: that of the exact discrete
        solution first.
    starts : mapping of str to ndarray, shape (2, k)
        Work units and distances on the finest grid.
    floor : float
        The distance of the exact discrete solution there.
    """
    figure = style.card(3.8, "Nested iteration: to the accuracy of the grid in one pass")
    left, right = figure.subplots(1, 2)
    for place, (name, values) in enumerate(errors.items(), start=1):
        look = {"markersize": 10, "markerfacecolor": "none"} if place == 1 else {"markersize": 5}
        left.plot(n, values, **curve_style(place, **look), label=name)
    guide = 0.4 * values[0] * (n[0] / np.array(n)) ** 2
    left.plot(n, guide, **curve_style(0, marker=""), label="slope of h²")
    _doubling(left, n)
    left.set(ylabel="error (root mean square)", title="every grid")
    for place, (name, (units, values)) in enumerate(starts.items(), start=2):
        right.plot(units, values, **curve_style(place, markersize=6), label=name)
    right.axhline(floor, color=style.INK, linewidth=1, label="error of the discretisation")
    right.set(yscale="log", xlabel="work in sweeps of the finest grid", title=f"n = {n[-1]}")
    right.grid(axis="y")
    left.legend(loc="lower left")
    right.legend(loc="upper right")
    return figure
