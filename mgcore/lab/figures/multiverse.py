"""Figures of the multiverse: the specification curve, main effects, distances to the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mgcore.lab.choices.main_effects import Effect, Row, distance_of, gap_of
from mgcore.lab.choices.multiverse import BETWEEN, WITHIN
from mgcore.lab.figures import style

# What each choice is called in figures, with its two levels.
NAMES: dict[str, tuple[str, str, str]] = {
    "momentum": ("momentum", "none", "0.9"),
    "penalties": ("penalties", "as printed", "1/256 of it"),
    "stencils": ("first stencils", "0.1 each", "by layer"),
    "pooling": ("pooling", "no", "yes"),
    "padding": ("padding", "zeros", "circular"),
    "pixels": ("pixels", "0 to 1", "standardised"),
    "loss": ("batch loss", "mean", "sum"),
    "prolongation": ("P", "constant", "bilinear"),
    "factor": ("classifier times", "1/4", "4"),
    "images": ("fine images", "x", "P R x"),
}
LOOKS = {False: ("#0077bb", "o", "no pooling"), True: ("#cc5500", "^", "pooling")}
Universe = tuple[Mapping[str, Any], list[float]]


def by_universe(rows: Sequence[Row], number: Any = gap_of) -> tuple[list[Universe], int]:
    """Return choices and one number a seed of every universe that has all, and how many do not."""
    found: dict[tuple, list[float | None]] = defaultdict(list)
    choices = {}
    for row in rows:
        key = tuple(row["choices"].values())
        found[key].append(number(row))
        choices[key] = row["choices"]
    whole = [(choices[key], some) for key, some in found.items() if None not in some]
    return whole, len(found) - len(whole)


@style.styled
def specification_curve(rows: Sequence[Row], printed: Mapping[bool, float]) -> Figure:
    """Draw the gap of every universe in order, and below it which choices made it.

    Parameters
    ----------
    rows : sequence
        From :func:`mgcore.lab.choices.multiverse.read_multiverse`.
    printed : mapping
        The thesis's gap in points without (False) and with pooling (True).
    """
    universes, lost = by_universe(rows)
    universes.sort(key=lambda one: fmean(one[1]))
    figure = style.card(6.6, f"The gap of multigrid in {len(universes)} universes, in order")
    curve, grid = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.15))
    for pooling, (colour, marker, label) in LOOKS.items():
        places = [k for k, (chosen, _) in enumerate(universes) if chosen["pooling"] is pooling]
        some = [universes[k][1] for k in places]
        curve.vlines(places, [min(s) for s in some], [max(s) for s in some], colour, linewidth=1)
        curve.plot(places, [fmean(s) for s in some], marker, color=colour, markersize=3.5,
                   linestyle="none", label=label)  # fmt: skip
        curve.axhline(printed[pooling], color="black", linewidth=1,
                      linestyle="--" if pooling else "-", zorder=1)  # fmt: skip
        curve.annotate(
            f"thesis, {label}", (0, printed[pooling]), xytext=(2, 3), textcoords="offset points"
        )
    curve.axhline(0, color=style.GRID, zorder=0)
    curve.set_ylabel("training − validation,\npoints")
    curve.legend(loc="lower right")
    second = np.array([
        [chosen[name] == pair[1] for chosen, _ in universes]
        for name, pair in (BETWEEN | WITHIN).items()
    ])  # fmt: skip
    grid.imshow(~second, aspect="auto", cmap="gray", vmin=-0.25, vmax=1.12, interpolation="none")
    names = [f"{name}: {a} | {b}" for name, a, b in (NAMES[key] for key in BETWEEN | WITHIN)]
    grid.set_yticks(range(len(names)), names)
    for line in range(1, len(names)):
        grid.axhline(line - 0.5, color=style.CARD, linewidth=2.5)
    grid.tick_params(axis="y", length=0)
    grid.spines[:].set_visible(False)
    grid.set_xlabel("universe, from the smallest gap to the largest")
    missing = f"\n{lost} universes that diverged with a seed are left out." if lost else ""
    style.note(
        figure, "Above: mean and range of the seeds. Below: light is a choice's first level, dark "
        f"its second.{missing}",
    )  # fmt: skip
    return figure


@style.styled
def effects_plot(effects: Mapping[str, Sequence[Effect]]) -> Figure:
    """Draw main effects with 95 % intervals, a panel for each number that is explained.

    Parameters
    ----------
    effects : mapping
        By the number's name and unit, as an axis would say it.
    """
    figure = style.card(4.4, "What each choice does: its second level against its first")
    axes = np.atleast_1d(figure.subplots(1, len(effects), sharey=True))
    for ax, (what, some) in zip(axes, effects.items(), strict=True):
        for place, effect in enumerate(some):
            clear = abs(effect.estimate) > effect.half
            ax.errorbar(
                effect.estimate, place, xerr=effect.half, color=style.INK, marker="o",
                markerfacecolor=style.INK if clear else style.CARD, markersize=5.5, capsize=3,
                elinewidth=1.4,
            )  # fmt: skip
        ax.axvline(0, color=style.MUTED, linewidth=0.8)
        ax.grid(axis="x")
        ax.set_xlabel(what)
    names = [NAMES[effect.choice] for effect in next(iter(effects.values()))]
    axes[0].set_yticks(range(len(names)), [f"{name}: {b}\nagainst {a}" for name, a, b in names])
    axes[0].invert_yaxis()
    style.note(figure, "Bars: 95 % interval. Filled where it leaves out zero.")
    return figure


@style.styled
def distances(rows: Sequence[Row], nearest: int = 1) -> Figure:
    """Draw how far each universe is from the table of its network, by images trained on.

    Parameters
    ----------
    rows : sequence
        From :func:`mgcore.lab.choices.multiverse.read_multiverse`.
    nearest : int
        How many of the nearest are marked.
    """
    universes, lost = by_universe(rows, distance_of)
    figure = style.card(3.3, "How far each universe is from the thesis's table")
    lanes = [(pooling, images) for pooling in (False, True) for images in WITHIN["images"]]
    ax: Axes = figure.subplots()
    for place, (pooling, images) in enumerate(lanes):
        colour, marker, _ = LOOKS[pooling]
        some = sorted(
            fmean(values) for chosen, values in universes
            if (chosen["pooling"], chosen["images"]) == (pooling, images)
        )  # fmt: skip
        wave = 0.28 * np.sin(2.4 * np.arange(len(some)))  # side by side, always in the same way
        ax.plot(some, place + wave, marker, color=colour, markersize=4, alpha=0.8)
        ax.plot(
            some[:nearest], place + wave[:nearest], "o", color="black", fillstyle="none",
            markersize=11, markeredgewidth=1.3,
        )  # fmt: skip
    labels = [
        f"Table {'4.2' if pooling else '4.1'},\ntrained on {NAMES['images'][1 + k % 2]}"
        for k, (pooling, _) in enumerate(lanes)
    ]
    ax.set_yticks(range(len(lanes)), labels)
    ax.invert_yaxis()
    ax.grid(axis="x")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("root mean square distance over the twelve cells, points")
    missing = f"\n{lost} universes in which a network diverged are left out." if lost else ""
    style.note(figure, f"A mark: the mean of the seeds. Ring: the nearest of a row.{missing}")
    return figure
