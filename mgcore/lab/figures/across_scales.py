"""Figures of error at equal work, and of the speedups of training strategies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from mgcore.lab.figures import style
from mgcore.lab.figures.style import Look
from mgcore.lab.scales.speedups import Results, Speedup, curve, mean_curve
from mgcore.lab.scales.strategies import STRATEGIES
from mgcore.lab.verdict.agreement import interval

MOST = 30.0  # times the error of the fine grid alone that a figure shows
# Two strategies are the conditions of the other chapters and have their colours; the others are
# grey and differ in marker and line.
LOOKS = dict(
    zip(
        STRATEGIES,
        (
            Look("#222222", "o", "-", "fine only"),
            Look(style.LOOKS["transfer"].colour, "^", "-", "copied (progressive resizing)"),
            Look(style.LOOKS["multigrid"].colour, "v", "-", "Galerkin, bilinear P"),
            Look("#666666", "s", ":", "Galerkin, constant P"),
            Look("#666666", "P", "-.", "both grids jointly"),
            Look("#666666", "<", "--", "multilevel gradient, copied"),
            Look("#666666", ">", (0, (1, 1)), "multilevel gradient, Galerkin"),
        ),
        strict=True,
    )
)


def relative_errors(results: Results, strategy: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how the error of a strategy compares with that of the fine grid alone.

    Returns
    -------
    mean : ndarray, shape (budgets,)
        Geometric mean over the seeds of the ratio of the errors at equal work.
    low, high : ndarray
        Ends of its 95 % interval. NaN where training diverged with a seed.
    """
    logs = np.log((100 - curve(results, strategy)) / (100 - curve(results, "fine only")))
    pairs = [
        interval(column) if np.isfinite(column).all() else (math.nan, None) for column in logs.T
    ]
    mean, half = np.array(pairs, dtype=float).T
    return np.exp(mean), np.exp(mean - half), np.exp(mean + half)


@style.styled
def relative_error_plot(results: Results, title: str) -> Figure:
    """Draw the error of each strategy relative to the fine grid alone, at equal work.

    To see: which strategies lie below the line at 1, and at which budgets.  A strategy has no mark
    where training diverged with a seed, or where its error is more than :data:`MOST` times as
    large.

    Parameters
    ----------
    results : sequence
        From :func:`mgcore.lab.scales.work_grid.read_results`, with all strategies or some.
    title : str
    """
    figure = style.card(3.9, title)
    ax = figure.subplots()
    work, _ = mean_curve(results, "fine only", "flops")
    work = 1e-12 * work
    ends: list[tuple[float, str]] = []
    compared = {point["way"] for point in results[0]["points"]} - {"fine only"}
    for strategy, look in LOOKS.items():
        if strategy not in compared:
            continue
        found = np.array(relative_errors(results, strategy))
        mean, low, high = np.where(found[0] > MOST, math.nan, found)
        coloured = look.colour != "#666666"
        if coloured:
            ax.fill_between(work, low, high, color=look.colour, alpha=0.15, linewidth=0)
        ax.plot(
            work, mean, color=look.colour, marker=look.marker, linestyle=look.line, markersize=6,
            linewidth=2.2 if coloured else 1.2, zorder=4 if coloured else 3,
        )  # fmt: skip
        finite = np.flatnonzero(np.isfinite(mean))
        if len(finite):
            ends.append((float(mean[finite[-1]]), strategy))
    ax.axhline(1, color=style.INK, linewidth=1)
    ax.set(xscale="log", yscale="log", xlabel="training, TFLOP",
           ylabel="error / error of fine only")  # fmt: skip
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(style.PLAIN)
    ax.xaxis.set_minor_formatter(NullFormatter())
    lowest, highest = ax.get_ylim()
    ticks: tuple[float, ...] = (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20)
    if highest < 2 * lowest:
        ticks = (0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2)
    ax.yaxis.set_major_locator(FixedLocator([t for t in ticks if lowest <= t <= highest]))
    ax.yaxis.set_major_formatter(style.PLAIN)
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(axis="y")
    if style.on_phone():  # there is no room beside the axes
        figure.legend(
            handles=[
                style.handle(
                    color=look.colour, marker=look.marker if name in compared else "",
                    linestyle=look.line, label=look.label,
                )
                for name, look in LOOKS.items()
                if name == "fine only" or any(name == drawn for _, drawn in ends)
            ],
            loc="outside lower center",
        )  # fmt: skip
    else:
        _label_ends(ax, [*ends, (1.0, "fine only")])
    style.note(figure, "Mean of the ratio over the seeds at equal work; shade: 95 % interval.\n"
               "Below 1 a strategy is better than the fine grid alone.")  # fmt: skip
    return figure


def _label_ends(ax: Axes, ends: Sequence[tuple[float, str]]) -> None:
    """Write each strategy beside the end of its line, without overlap."""
    lowest, highest = map(math.log, ax.get_ylim())
    previous = -1.0
    for value, strategy in sorted(ends):
        previous = max((math.log(value) - lowest) / (highest - lowest), previous + 0.06)
        ax.annotate(LOOKS[strategy].label, (1.02, previous), xycoords="axes fraction", va="center",
                    color=LOOKS[strategy].colour, fontsize=9)  # fmt: skip


@style.styled
def speedups_plot(speedups: Mapping[str, Sequence[Speedup]], title: str) -> Figure:
    """Draw the speedup of each strategy for an accuracy, with its 95 % interval.

    Parameters
    ----------
    speedups : mapping of str to sequence of Speedup
        By the name of a panel; the same strategies in each, in the same order.
    title : str
    """
    figure = style.card(3.2, title)
    axes = np.atleast_1d(figure.subplots(1, len(speedups), sharey=True))
    for ax, (name, panel) in zip(axes, speedups.items(), strict=True):
        for place, one in enumerate(panel):
            look = LOOKS[one.strategy]
            if math.isnan(one.mean):
                ax.annotate(
                    f"reached by {one.reached} of {one.seeds}", (1, place), va="center",
                    ha="center", fontsize=style.SMALLEST, color=style.MUTED,
                )  # fmt: skip
                continue
            ax.errorbar(
                one.mean, place, xerr=[[one.mean - one.low], [one.high - one.mean]],
                color=look.colour, marker=look.marker, markersize=6, capsize=3, elinewidth=1.4,
            )  # fmt: skip
        ax.axvline(1, color=style.MUTED, linewidth=0.8)
        ax.set_xscale("log")
        ax.set(title=name, xlabel="times less work")
        ax.set_xlim(0.1, 10)  # intervals over few seeds may be wider
        ax.xaxis.set_major_locator(FixedLocator([0.25, 1, 4]))
        ax.xaxis.set_major_formatter(FuncFormatter(_as_fraction))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(axis="x")
    strategies = [one.strategy for one in next(iter(speedups.values()))]
    labels = [LOOKS[name].label for name in strategies]
    if style.on_phone():
        labels = [fill(label, 20) for label in labels]
    axes[0].set_yticks(range(len(strategies)), labels)
    axes[0].set_ylim(len(strategies) - 0.5, -0.5)
    return figure


def _as_fraction(value: float, _: int) -> str:
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
