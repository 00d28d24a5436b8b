"""The figure of the front page: accuracy after retraining, on training and validation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS, MUTED, THESIS
from mgcore.lab.verdict.agreement import interval

# Filled and hollow markers distinguish records in other figures, so training images get a stroke.
DOT: dict[str, Any] = {"marker": "o", "markersize": 7, "linestyle": "none", "clip_on": False}
SEEN: dict[str, Any] = {
    "marker": "|", "markersize": 13, "markeredgewidth": 2.2, "linestyle": "none", "clip_on": False,
}  # fmt: skip


class AccuracyRow(NamedTuple):
    """One line of the figure: accuracies in % of one network, a value a trial."""

    label: str
    training: Sequence[float]
    validation: Sequence[float]
    printed: bool = False  # numbers of the thesis, which have no trials


@style.styled
def accuracy_bars(starts: Mapping[str, Sequence[AccuracyRow]]) -> Figure:
    """Draw training and validation accuracy as the two ends of a bar, whose length is the gap.

    To see: the lengths of the bars for each initialisation, and which of them vanish.

    Parameters
    ----------
    starts : mapping of str to sequence of AccuracyRow
        A panel for each initialisation; every panel has the same rows, the first on top.

    Raises
    ------
    ValueError
        If the panels have different rows.
    """
    labels = [[row.label for row in rows] for rows in starts.values()]
    if any(one != labels[0] for one in labels):
        raise ValueError(f"Every panel must have the same rows, got {labels}.")
    figure = style.card(0.47 * len(labels[0]) + 1.4, "After retraining, in % of digits read right")
    axes = figure.subplots(1, len(starts), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (start, rows) in zip(axes, starts.items(), strict=True):
        for place, row in enumerate(rows):
            _bar(ax, place, row, LOOKS[start].colour)
        ax.set(title=f"{LOOKS[start].label} start", xlabel="accuracy in %")
        ax.set(yticks=range(len(rows)), yticklabels=labels[0], ylim=(len(rows) - 0.5, -0.75))
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
    left, right = axes[0].get_xlim()
    axes[0].set_xlim(max(0, left - 4), min(102, right + 3))
    dot = style.handle(color=MUTED, **DOT)
    handles: dict[str, Any] = {
        "training images": (dot, style.handle(color=MUTED, **SEEN)),
        "validation images": dot,
        "thesis": style.handle(**THESIS),
        "95 % interval": style.handle(color=MUTED, marker="|", markersize=6),
    }
    figure.legend(  # type: ignore[call-overload]  # "outside lower center" is missing there
        list(handles.values()), list(handles), loc="outside lower center", ncols=4
    )
    return figure


def _bar(ax: Axes, place: int, row: AccuracyRow, colour: str) -> None:
    """Draw one row: two markers, the bar between them, and its length in points."""
    ends = []
    for values, seen in ((row.training, True), (row.validation, False)):
        mean, half = interval(values)
        ends.append(mean)
        if seen:
            ax.plot(mean, place, color="black" if row.printed else colour, zorder=5, **SEEN)
        if row.printed:
            ax.plot(mean, place, clip_on=False, **THESIS)
            continue
        ax.plot(mean, place, color=colour, zorder=5, **DOT)
        if half is not None:
            ax.errorbar(mean, place, xerr=half, color=colour, capsize=3, elinewidth=1.2, zorder=4)
    ax.plot(ends, [place, place], color=MUTED if row.printed else colour, linewidth=3, alpha=0.5)
    ax.annotate(
        f"gap {ends[0] - ends[1]:.1f}", (min(ends), place), (0, 8), textcoords="offset points",
        ha="left", va="bottom", fontsize=9, color=style.INK,
    )  # fmt: skip
