"""Figures of accuracy against compute, and of how much less of it a way of training needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from mgcore.lab.figures import style
from mgcore.lab.figures.style import Look
from mgcore.lab.scales.speedups import Factor, curve
from mgcore.lab.scales.strategies import WAYS
from mgcore.lab.verdict.agreement import interval

# Colours go together with a marker and a line of their own.
LOOKS = dict(
    zip(
        WAYS,
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
Results = Sequence[Mapping[str, Any]]


def means(results: Results, way: str, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and half-width of the 95 % interval for each budget, NaN where one diverged."""
    pairs = [
        interval(column) if np.isfinite(column).all() else (math.nan, math.nan)
        for column in curve(results, way, what).T
    ]
    return tuple(
        np.array([math.nan if v is None else v for v in each]) for each in zip(*pairs, strict=True)
    )


@style.styled
def pareto_plot(results: Results, title: str, target: float | None = None) -> Figure:
    """Draw the error against compute: floating-point operations, and seconds of one core.

    Parameters
    ----------
    results : sequence
        From :func:`mgcore.lab.scales.work_grid.read_pareto`.
    title : str
    target : float, optional
        Accuracy in percent that is marked.
    """
    figure = style.card(5.2, title)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, what, scale, unit in zip(
        axes, ("flops", "seconds"), (1e-12, 1.0), ("TFLOP", "seconds of one core"), strict=True
    ):
        for way, look in LOOKS.items():
            x, _ = means(results, way, what)
            y, half = means(results, way, "accuracy")
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
    axes[0].set_ylabel("validation images named wrongly, %")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


@style.styled
def factors_plot(factors: Mapping[str, Sequence[Factor]], title: str) -> Figure:
    """Draw how many times less work each way needs for an accuracy, with 95 % intervals.

    Parameters
    ----------
    factors : mapping
        By the name of a panel, ways in the same order.
    title : str
    """
    figure = style.card(3.2, title)
    axes = np.atleast_1d(figure.subplots(1, len(factors), sharey=True))
    for ax, (name, some) in zip(axes, factors.items(), strict=True):
        for place, one in enumerate(some):
            look = LOOKS[one.way]
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
        ax.set_xlim(0.1, 10)  # an interval over few seeds may be wider than that
        ax.xaxis.set_major_locator(FixedLocator([0.25, 1, 4]))
        ax.xaxis.set_major_formatter(FuncFormatter(_spell))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(axis="x")
    ways = [one.way for one in next(iter(factors.values()))]
    axes[0].set_yticks(range(len(ways)), [LOOKS[way].label for way in ways])
    axes[0].set_ylim(len(ways) - 0.5, -0.5)
    return figure


def _spell(value: float, _: int) -> str:
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
