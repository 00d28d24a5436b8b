"""Figures of a trained network at another image size: methods, and maps of its kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mgcore.lab.figures import style
from mgcore.lab.figures.style import Look
from mgcore.lab.scales.fitted_map import DATA, EXPONENTS, FITTED, Sweep
from mgcore.lab.scales.size_change import CHANGES, EPOCHS, METHODS, mean_accuracy, method_label
from mgcore.lab.verdict.agreement import interval

LOOKS = {
    "copied": style.LOOKS["transfer"],
    "galerkin": style.LOOKS["multigrid"],
    "resized": Look(style.INK, "s", "-", ""),
    "classifier": Look(style.MUTED, "P", "-", ""),
    "random": style.LOOKS["new"],
}


@style.styled
def size_change_plot(results: Mapping[str, Sequence[Mapping[str, Any]]], title: str) -> Figure:
    """Draw the held-out accuracy of each method before and after retraining, a panel for a change.

    To see: which marks lie close to the line of the old network before retraining, and after it.

    Parameters
    ----------
    results : mapping of str to sequence
        From :func:`mgcore.lab.scales.size_change.read_size_changes`.
    title : str
    """
    names = [name for name, seeds in results.items() if seeds]
    across = 1 if style.on_phone() else 2
    rows = -(-len(names) // across)
    figure = style.card(0.7 + 1.75 * rows, title)
    axes = figure.subplots(rows, across, sharex=True, squeeze=False).ravel()
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(axes, names, strict=False):
        seeds = results[name]
        for row, method in enumerate(METHODS):
            look = LOOKS[method]
            ends = [mean_accuracy(seeds, method, k) for k in (0, len(EPOCHS) - 1)]
            ax.plot([mean for mean, _ in ends], [row, row], color=look.colour, linewidth=1.6)
            for (mean, half), face in zip(ends, (style.CARD, look.colour), strict=True):
                ax.errorbar(
                    mean, row, xerr=half, color=look.colour, marker=look.marker, markersize=6,
                    markerfacecolor=face, capsize=2.5, elinewidth=1,
                )  # fmt: skip
        old, _ = mean_accuracy(seeds)
        ax.axvline(old, color=style.MUTED, linestyle=":", linewidth=1.2)
        ax.set(title=CHANGES[name].heading, xlim=(0, 101), ylim=(len(METHODS) - 0.5, -0.5))
        ax.set_yticks(range(len(METHODS)), [method_label(method, name) for method in METHODS])
        ax.grid(axis="x")
        ax.tick_params(axis="x", labelbottom=True)
    style.note(
        figure,
        "Accuracy on held-out images in %, mean over the seeds and 95 % interval. Hollow: before\n"
        f"retraining; filled: after {EPOCHS[-1]} epochs; dotted: the old network at the old size.",
    )
    return figure


@style.styled
def fitted_map_plot(sweeps: Sequence[tuple[str, str, Sweep]], title: str) -> Figure:
    """Draw the accuracy before retraining against the exponent t, a panel for each data set.

    To see: at which t each curve is highest, and how far the fitted map lies above it.

    Parameters
    ----------
    sweeps : sequence of (str, str, Sweep)
        From :func:`mgcore.lab.scales.fitted_map.read_sweeps`.
    title : str
    """
    figure = style.card(3.3, title)
    panels = dict(zip(DATA, figure.subplots(1, len(DATA), sharey=True), strict=True))
    looks = {
        "original": Look(style.INK, "o", "-", ""),
        "smoothed": Look(style.MUTED, "s", "--", ""),
    }
    edge = EXPONENTS[-1] + 0.2
    for name, kind, sweep in sweeps:
        ax, look = panels[name], looks[kind]
        pairs = [interval(values) for values in zip(*sweep.accuracies[FITTED:], strict=True)]
        mean, half = np.array(pairs, dtype=float).T
        ax.plot(EXPONENTS, mean, color=look.colour, linestyle=look.line, label=f"{kind} images")
        ax.fill_between(EXPONENTS, mean - half, mean + half, color=look.colour, alpha=0.15, lw=0)
        ax.plot(
            sweep.best, mean[EXPONENTS.index(sweep.best)], look.marker, color=look.colour,
            markersize=7, markerfacecolor=style.CARD,
        )  # fmt: skip
        free, width = interval(sweep.fitted)
        beside = -0.06 if kind == "original" else 0.06
        ax.errorbar(
            edge + beside, free, yerr=width, color=look.colour, marker=look.marker, capsize=2.5
        )
    for name, ax in panels.items():
        for exponent, arm in ((0, "transfer"), (1, "multigrid")):
            ax.axvline(exponent, color=style.LOOKS[arm].colour, linewidth=1, linestyle=":")
        ax.set(title=DATA[name].heading, xlabel="exponent t", xlim=(-0.6, edge + 0.15))
        ax.set_xticks([0, 0.5, 1, edge], ["0\ncopied", "0.5", "1\nGalerkin", "fitted\nmap"])
        ax.set_ylim(bottom=0)
    first, *_, last = panels.values()
    first.set_ylabel("held-out accuracy, %")
    last.legend(loc="upper left")
    style.note(
        figure,
        "Before retraining, mean and 95 % interval over the judging networks. Hollow:\n"
        "exponent chosen on other networks. Right: the fitted map, limited by symmetry alone.",
    )
    return figure
