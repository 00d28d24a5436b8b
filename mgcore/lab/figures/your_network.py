"""Figure of accuracy before and after a trained network is retrained at another image size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from mgcore.lab.figures import style
from mgcore.lab.figures.style import Look
from mgcore.lab.scales.size_change import EPOCHS, METHODS, heading, mean_accuracy, method_label

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
    rows = -(-len(names) // 2)
    figure = style.card(0.7 + 1.75 * rows, title)
    axes = figure.subplots(rows, 2, sharex=True, squeeze=False).ravel()
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
        ax.set(title=heading(name), xlim=(0, 101), ylim=(len(METHODS) - 0.5, -0.5))
        ax.set_yticks(range(len(METHODS)), [method_label(method, name) for method in METHODS])
        ax.grid(axis="x")
        ax.tick_params(axis="x", labelbottom=True)
    style.note(
        figure,
        "Accuracy on held-out images in %, mean over the seeds and 95 % interval. Hollow: before\n"
        f"retraining; filled: after {EPOCHS[-1]} epochs; dotted: the old network at the old size.",
    )
    return figure
