"""How fast multigrid is: figures of convergence, cost and accuracy (thesis §2.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from mgcore.lab.figures import style
from mgcore.lab.figures.multigrid import PLAIN, Curves, line
from mgcore.multigrid.poisson import centres


@style.styled
def wall(coarse: np.ndarray, fine: Curves, histories: Curves) -> Figure:
    """Draw what P does beside a wall, and what becomes of the V-cycle.

    To see: only the odd reflection leads to 0 at the wall; with the other the cycle slows down or
    diverges.

    Parameters
    ----------
    coarse : ndarray, shape (m,)
        A function on the coarse grid that vanishes at the wall x = 0.
    fine : mapping of str to ndarray, shape (2 m,)
        Its prolongations, by name.
    histories : mapping of str to ndarray
        Norms of the error after 0, 1, 2, ... cycles, up to four of them.
    """
    figure = style.card(3.9, "At a wall, P must know that the function is zero there")
    left, right = figure.subplots(1, 2)
    shown = 3  # coarse cells
    left.axvline(0, color=style.INK, linewidth=3)
    left.axhline(0, color=style.MUTED, linewidth=0.8)
    for place, (name, values) in enumerate(fine.items(), start=1):
        x = centres(len(values))[: 2 * shown]
        left.plot(x, values[: 2 * shown], **line(place, markersize=6), label=name)
    look = line(0, linestyle="none", markersize=8, markerfacecolor="none", markeredgewidth=1.5)
    left.plot(centres(len(coarse))[:shown], coarse[:shown], **look, label="coarse values")
    left.set(xlabel="x (the wall is at 0)", ylabel="value", title="prolonging a function")
    left.set_xlim(-0.006, None)
    left.legend(loc="upper left", bbox_to_anchor=(0.02, 1))
    for place, (name, values) in enumerate(histories.items()):
        every = max(1, len(values) // 8)
        right.plot(values / values[0], **line(place, markevery=every), label=name)
    right.set(yscale="log", xlabel="V(1,1)-cycles", ylabel="norm of the error, first = 1")
    right.set_title("solving Poisson's equation")
    right.grid(axis="y")
    handles, _ = right.get_legend_handles_labels()
    figure.legend(
        handles=handles, loc="outside lower right", ncols=2, title="P, coarse operator (right)"
    )
    return figure


@style.styled
def factors(predicted: Curves, measured: Curves, stalls: Curves) -> Figure:
    """Draw two-grid factors over the sweeps, and V-cycle factors over the number of grids.

    To see: sweeping more pays with linear P, and not with constant P and the Galerkin condition,
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
        left.plot(sweeps, values, **line(place, marker=""))
        left.plot(sweeps, measured[name], **line(place, linestyle="none", markersize=6))
        grids = np.arange(2, len(stalls[name]) + 2)
        right.plot(grids, stalls[name], **line(place, markersize=6), label=name)
    half = line(0, linewidth=1.2, markersize=3)
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
    ax.xaxis.set_major_formatter(PLAIN)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y")


@style.styled
def cost(n: Sequence[int], units: Curves, title: str) -> Figure:
    """Draw the work to a fixed accuracy over the fineness of the grid.

    To see: relaxation alone costs four times as much with every halving of h; multigrid does not.

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
        ax.plot(n[: len(values)], values, **line(place, markersize=6), label=name)
    _doubling(ax, n)
    ax.set_ylabel("work in sweeps of the finest grid")
    ax.yaxis.set_major_formatter(PLAIN)
    ax.legend(loc="center right")
    return figure


@style.styled
def accuracy(n: Sequence[int], errors: Curves, starts: Curves, floor: float) -> Figure:
    """Draw the error of solutions over the grid, and what a good first guess is worth.

    To see: one pass of nested iteration is as accurate as solving exactly; from zero the same
    cycles must first earn what the coarse grid gives.

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
        left.plot(n, values, **line(place, **look), label=name)
    guide = 0.4 * values[0] * (n[0] / np.array(n)) ** 2
    left.plot(n, guide, **line(0, marker=""), label="slope of h²")
    _doubling(left, n)
    left.set(ylabel="error (root mean square)", title="every grid")
    for place, (name, (units, values)) in enumerate(starts.items(), start=2):
        right.plot(units, values, **line(place, markersize=6), label=name)
    right.axhline(floor, color=style.INK, linewidth=1, label="error of the discretisation")
    right.set(yscale="log", xlabel="work in sweeps of the finest grid", title=f"n = {n[-1]}")
    right.grid(axis="y")
    left.legend(loc="lower left")
    right.legend(loc="upper right")
    return figure
