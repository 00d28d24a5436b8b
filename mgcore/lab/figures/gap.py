"""The figure of the gap's mechanism: what images hold, what stencils make of it, what is unseen."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mgcore.lab.choices.gap_spectra import Spectrum
from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS


@style.styled
def mechanism(
    images: Mapping[str, Spectrum], gains: Mapping[str, Spectrum], shares: Mapping[str, float]
) -> Figure:
    """Draw the power of images, the gain of stencils, and the share that training never shows.

    Parameters
    ----------
    images : mapping of str to Spectrum
        ``"x"`` and ``"P R x"``.
    gains, shares : mapping
        By network, a key of :data:`mgcore.lab.figures.style.LOOKS`.
    """
    figure = style.card(3.6, "What P R takes out of images, and what a first layer makes of it")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1.15, 1))
    for (name, spectrum), look in zip(images.items(), ("-", "--"), strict=True):
        left.semilogy(  # without the mean, which standardised images do not have
            spectrum.frequency[1:], spectrum.values[1:], look, color=style.INK, linewidth=1.8,
            label=name,
        )  # fmt: skip
    left.set(title="power of images", xlabel="frequency", ylabel="share of the power")
    left.legend(loc="lower left")
    for name, spectrum in gains.items():
        look = LOOKS[name]
        middle.plot(
            spectrum.frequency, spectrum.values, color=look.colour, linestyle=look.line,
            linewidth=1.8, label=look.label,
        )  # fmt: skip
    middle.set(title="gain of the first layer", xlabel="frequency", ylabel="1 on slow waves")
    middle.set_ylim(bottom=0)
    middle.legend(loc="upper left")
    for ax in (left, middle):
        _beyond(ax)
    for place, (name, share) in enumerate(shares.items()):
        look = LOOKS[name]
        right.barh(place, 100 * share, color=look.colour, height=0.55)
        right.annotate(
            f"{100 * share:.0f} %", (100 * share, place), xytext=(4, 0),
            textcoords="offset points", va="center",
        )  # fmt: skip
    right.set(yticks=range(len(shares)), yticklabels=[LOOKS[name].label for name in shares])
    right.set(title="unseen in training", xlabel="% of what is seen")
    right.margins(x=0.3)
    right.invert_yaxis()
    style.note(
        figure, "Frequency in half waves a pixel, the larger of both directions. Shaded: waves "
        "that the coarse grid\ncannot hold. Unseen: power of the response to x − P R x, over that "
        "to P R x.",
    )  # fmt: skip
    return figure


def _beyond(ax: Axes) -> None:
    ax.axvspan(0.5, 1, color=style.GRID, zorder=-2, linewidth=0)
    ax.set_xlim(0, 1)
