"""The figure of the front page: a digit from smoothed to sharp, and the answers of two networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mgcore.lab.choices.sharpness import CONDITIONS
from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS
from mgcore.lab.protocol import CONDITION_NAMES

NAMES = {name: CONDITION_NAMES[name] for name in CONDITIONS}  # of the two networks
WIDE = 0.2  # of an image, as a part of the way from smoothed to sharp


class Answered(NamedTuple):
    """A digit at one sharpness and the classes that networks give it."""

    t: float
    image: np.ndarray  # (n, n) in [0, 1]
    label: int
    answers: Mapping[str, int]  # by condition


@style.styled
def sharpness_sweep(
    steps: Sequence[float] | np.ndarray,
    accuracy: Mapping[str, np.ndarray],
    strip: Sequence[Answered],
) -> Figure:
    """Draw a digit at some values of t, and accuracy against t: a thin line a trial, and the mean.

    To see: which network still classifies the digit where it is sharp, and where accuracy falls.

    Parameters
    ----------
    steps : sequence of float
        Values of t, increasing.
    accuracy : mapping of str to ndarray, shape (trials, steps)
        In percent, by condition.
    strip : sequence of Answered
        Digits that are drawn above their t.
    """
    figure = style.card(4.6, "From smoothed to sharp: what two networks answer")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.25))
    for shown in strip:
        _digit(top, shown)
    top.set_ylim(0, 1)
    top.spines[:].set_visible(False)
    top.tick_params(left=False, labelleft=False, bottom=False, labelbottom=False)
    ends = {name: float(values[:, -1].mean()) for name, values in accuracy.items()}
    for name, values in accuracy.items():
        colour = LOOKS[name].colour
        below.plot(steps, values.T, color=colour, linewidth=0.7, alpha=0.4)
        below.plot(
            steps, values.mean(axis=0), color=colour, linewidth=2.6, linestyle=LOOKS[name].line
        )
        lowest = ends[name] == min(ends.values())  # its label stands below the falling curve
        below.annotate(
            f"{NAMES[name]} {ends[name]:.1f} %", (steps[-1], ends[name]), (0, -7 if lowest else 6),
            textcoords="offset points", ha="right", va="top" if lowest else "bottom",
            color=colour, fontweight="bold",
        )  # fmt: skip
    least = min(values.min() for values in accuracy.values())
    below.set(ylabel="accuracy in %", xlabel="t, from smoothed (0) to sharp (1)")
    below.set(xlim=(steps[0] - WIDE / 2, steps[-1] + WIDE / 2), ylim=(least - 10, 104))
    below.grid(axis="y")
    return figure


def _digit(ax: Axes, shown: Answered) -> None:
    """Draw one image with the answers below it."""
    place = ax.inset_axes((shown.t - WIDE / 2, 0.36, WIDE, 0.64), transform=ax.transData)
    place.imshow(shown.image, cmap="gray", vmin=0, vmax=1)
    style.bare(place)
    for row, (name, answer) in enumerate(shown.answers.items()):
        sign = "✓" if answer == shown.label else "✗"
        ax.text(
            shown.t, 0.22 - 0.17 * row, f"{NAMES[name]}: {answer} {sign}", ha="center",
            va="center", fontsize=9, color=LOOKS[name].colour, fontweight="bold",
        )  # fmt: skip
