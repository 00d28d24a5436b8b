"""Figures of the multiverse: the specification curve, main effects, distances to the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from mgcore.lab.choices.main_effects import Effect
from mgcore.lab.choices.multiverse import (
    BETWEEN,
    WITHIN,
    Outcome,
    by_universe,
    distance_of,
    select,
)
from mgcore.lab.figures import style

# What each choice is called in figures, with its two levels.
NAMES: dict[str, tuple[str, str, str]] = {
    "momentum": ("momentum", "none", "0.9"),
    "penalties": ("penalties", "as printed", "1/256 of it"),
    "stencils": ("first kernels", "0.1 each", "by layer"),
    "pooling": ("pooling", "no", "yes"),
    "padding": ("padding", "zeros", "circular"),
    "pixels": ("pixels", "0 to 1", "standardised"),
    "loss": ("batch loss", "mean", "sum"),
    "prolongation": ("P", "constant", "bilinear"),
    "factor": ("classifier times", "1/4", "4"),
    "images": ("fine images", "x", "P R x"),
}
LOOKS = {False: ("#0077bb", "o", "no pooling"), True: ("#cc5500", "^", "pooling")}


@style.styled
def specification_curve(outcomes: Sequence[Outcome], printed: Mapping[bool, float]) -> Figure:
    """Draw the gaps of all universes in increasing order, and the choices of each below.

    Parameters
    ----------
    outcomes : sequence
        From :func:`mgcore.lab.choices.multiverse.read_multiverse`.
    printed : mapping
        The thesis's gap in points without (False) and with pooling (True).
    """
    complete, lost = by_universe(outcomes)
    universes = select(complete)
    height, colon = (8.2, ":\n") if style.on_phone() else (6.6, ": ")
    figure = style.card(height, f"The gap of multigrid in {len(universes)} universes, in order")
    curve, grid = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.15))
    for pooling, (colour, marker, label) in LOOKS.items():
        places = [k for k, u in enumerate(universes) if u.choices["pooling"] is pooling]
        some = [universes[k] for k in places]
        lowest, highest = ([end(u.values) for u in some] for end in (min, max))
        curve.vlines(places, lowest, highest, colour, linewidth=1)
        curve.plot(places, [u.mean for u in some], marker, color=colour, markersize=3.5,
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
        [u.choices[name] == pair[1] for u in universes]
        for name, pair in (BETWEEN | WITHIN).items()
    ])  # fmt: skip
    grid.imshow(~second, aspect="auto", cmap="gray", vmin=-0.25, vmax=1.12, interpolation="none")
    choices = [NAMES[key] for key in BETWEEN | WITHIN]
    names = [f"{name}{colon}{a} | {b}" for name, a, b in choices]
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
    """Draw main effects with 95 % intervals, in a panel for each quantity.

    Parameters
    ----------
    effects : mapping
        By the label of the panel's axis: the quantity and its unit.
    """
    figure = style.card(4.4, "What each choice does: its second level against its first")
    axes = np.atleast_1d(figure.subplots(1, len(effects), sharey=True))
    if style.on_phone():
        style.grow(figure, 0.8 * len(effects))  # labels of two lines
    for ax, (label, panel) in zip(axes, effects.items(), strict=True):
        for place, effect in enumerate(panel):
            clear = abs(effect.estimate) > effect.half
            ax.errorbar(
                effect.estimate, place, xerr=effect.half, color=style.INK, marker="o",
                markerfacecolor=style.INK if clear else style.CARD, markersize=5.5, capsize=3,
                elinewidth=1.4,
            )  # fmt: skip
        ax.axvline(0, color=style.MUTED, linewidth=0.8)
        ax.grid(axis="x")
        ax.set_xlabel(label)
    names = [NAMES[effect.choice] for effect in next(iter(effects.values()))]
    axes[0].set_yticks(range(len(names)), [f"{name}: {b}\nagainst {a}" for name, a, b in names])
    axes[0].invert_yaxis()
    style.note(figure, "Bars: 95 % interval. Filled where it leaves out zero.")
    return figure


@style.styled
def distances(outcomes: Sequence[Outcome], nearest: int = 1) -> Figure:
    """Draw the distance of each universe to the thesis's table, by network and fine images.

    Parameters
    ----------
    outcomes : sequence
        From :func:`mgcore.lab.choices.multiverse.read_multiverse`.
    nearest : int
        Number of nearest universes that are marked in each row.
    """
    universes, lost = by_universe(outcomes, distance_of)
    figure = style.card(3.3, "How far each universe is from the thesis's table")
    lanes = [(pooling, images) for pooling in (False, True) for images in WITHIN["images"]]
    ax: Axes = figure.subplots()
    for place, (pooling, images) in enumerate(lanes):
        colour, marker, _ = LOOKS[pooling]
        some = [u.mean for u in select(universes, pooling=pooling, images=images)]
        wave = 0.28 * np.sin(2.4 * np.arange(len(some)))  # keeps marks apart, reproducibly
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
