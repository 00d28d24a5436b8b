"""Figures of error against work, and of the speedups of training strategies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from mgcore.lab.figures import style
from mgcore.lab.figures.style import Look
from mgcore.lab.scales.speedups import Results, Speedup, mean_curve
from mgcore.lab.scales.strategies import STRATEGIES

# Strategies differ in marker and line as well as in colour.
LOOKS = dict(
    zip(
        STRATEGIES,
        (
            Look("#222222", "o", "-", "fine only"),
            Look("#cc5500", "^", "--", "copied (progressive resizing)"),
            Look("#5b0f4f", "v", "-", "Galerkin, bilinear P"),
            Look("#a0428f", "s", ":", "Galerkin, constant P"),
            Look("#0077bb", "P", "-.", "both grids jointly"),
            Look("#8a6d00", "<", "--", "multilevel gradient, copied"),
            Look("#00705c", ">", "-", "multilevel gradient, Galerkin"),
        ),
        strict=True,
    )
)


@style.styled
def pareto_plot(results: Results, title: str, target: float | None = None) -> Figure:
    """Draw the validation error against floating-point operations and seconds of one core.

    Parameters
    ----------
    results : sequence
        From :func:`mgcore.lab.scales.work_grid.read_results`.
    title : str
    target : float, optional
        Accuracy in percent, marked by a line.
    """
    figure = style.card(5.2, title)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, quantity, scale, unit in zip(
        axes, ("flops", "seconds"), (1e-12, 1.0), ("TFLOP", "seconds of one core"), strict=True
    ):
        for strategy, look in LOOKS.items():
            x, _ = mean_curve(results, strategy, quantity)
            y, half = mean_curve(results, strategy)
            ax.errorbar(
                scale * x, 100 - y, yerr=half, color=look.colour, marker=look.marker,
                linestyle=look.line, markersize=5, linewidth=1.4, elinewidth=0.9, capsize=2,
                label=look.label,
            )  # fmt: skip
        if target is not None:
            ax.axhline(100 - target, color=style.MUTED, linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlabel=f"training, {unit}")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(which="both", linewidth=0.5)
    lowest, highest = axes[0].get_ylim()
    ticks = [t for t in (0.5, 1, 2, 3, 5, 10, 20, 30, 50, 90) if lowest <= t <= highest]
    axes[0].yaxis.set_major_locator(FixedLocator(ticks))
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[0].yaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("misclassified validation images, %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


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
                    ha="center", fontsize=8, color=style.MUTED,
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
    axes[0].set_yticks(range(len(strategies)), [LOOKS[name].label for name in strategies])
    axes[0].set_ylim(len(strategies) - 0.5, -0.5)
    return figure


def _as_fraction(value: float, _: int) -> str:
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
