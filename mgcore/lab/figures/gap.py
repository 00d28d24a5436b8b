"""Figures of the generalization gap: its size in each network, its mechanism and its cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mgcore.lab.choices.gap_spectra import Spectrum
from mgcore.lab.choices.sharpness import Sweep
from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS, THESIS
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol.printed_tables import Pairs
from mgcore.lab.records.schema import Trial
from mgcore.lab.verdict.metrics import cell

Trials = Sequence[Trial]


@style.styled
def commuting_square(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Draw the Galerkin condition as a square of four images that two paths connect.

    To see: a coarse kernel gives what prolongation, the fine kernel and restriction give.

    Parameters
    ----------
    pictures : mapping of str to ndarray, shape (n, n)
        ``"coarse"`` and ``"fine"``, the image before the kernel on each grid; ``"coarse filtered"``
        and ``"fine filtered"``, the image after it.
    """
    figure = style.card(3.9, "The Galerkin condition: both paths give the same coarse image")
    axes = dict(zip(
        ("fine", "fine filtered", "coarse", "coarse filtered"), figure.subplots(2, 2).flat,
        strict=True,
    ))  # fmt: skip
    names = {
        "fine": "prolonged to the fine grid", "fine filtered": "filtered by the fine kernel",
        "coarse": "coarse image", "coarse filtered": "filtered by the coarse kernel",
    }  # fmt: skip
    if style.on_phone():
        names |= {"fine": "prolonged", "fine filtered": "filtered", "coarse filtered": "filtered"}
    for name, ax in axes.items():
        size = float(np.abs(pictures[name]).max())
        ax.imshow(pictures[name], cmap="gray", vmin=-size, vmax=size)
        style.bare(ax)
        ax.set_title(names[name], fontsize=9.5)
    arrows = [
        ("coarse", "fine", "P", (0.5, 1.22), (0.5, -0.06)),
        ("fine", "fine filtered", "K fine", (1.08, 0.5), (-0.08, 0.5)),
        ("fine filtered", "coarse filtered", "R", (0.5, -0.06), (0.5, 1.22)),
        ("coarse", "coarse filtered", "K coarse", (1.08, 0.5), (-0.08, 0.5)),
    ]
    for start, end, label, leave, reach in arrows:
        axes[end].annotate(
            "", reach, leave, xycoords="axes fraction", textcoords=axes[start].transAxes,
            arrowprops={"arrowstyle": "-|>", "color": style.INK, "linewidth": 1.6},
            annotation_clip=False,
        )  # fmt: skip
        across = leave[1] == reach[1]
        axes[start].annotate(
            label, leave, (34 if across else 9, 5 if across else (-9 if leave[1] < 0 else 7)),
            xycoords="axes fraction", textcoords="offset points", fontsize=11, fontweight="bold",
            ha="left", va="bottom" if across or leave[1] > 0 else "top", annotation_clip=False,
        )  # fmt: skip
    return figure


@style.styled
def sharpness(sweep: Sweep) -> Figure:
    """Draw accuracy against t for the images P R x + t (x − P R x).

    To see: the accuracy of which network depends on the part of an image that P R removes, and
    that it falls on both sides of the images of training, t = 0.

    Parameters
    ----------
    sweep : Sweep
        A thin line is drawn for every trial, and a thick one for the mean.
    """
    figure = style.card(3.5, "Accuracy of trained networks as the removed part is faded in and out")
    ax = figure.subplots()
    for name, values in sweep.accuracy.items():
        look, mean = LOOKS[name], values.mean(axis=0)
        ax.plot(sweep.steps, values.T, color=look.colour, linewidth=0.8, alpha=0.5)
        ax.plot(sweep.steps, mean, color=look.colour, linestyle=look.line, linewidth=2.4)
        ax.annotate(
            look.label, (sweep.steps[-1], mean[-1]), xytext=(5, 0), textcoords="offset points",
            va="center", color=look.colour, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    kind = "" if style.on_phone() else " images"
    for t, words in ((0.0, f"smoothed{kind}"), (1.0, f"original{kind}")):
        ax.axvline(t, color=style.MUTED, linewidth=0.9, linestyle=":")
        ax.annotate(
            words, (t, 0.02), xycoords=("data", "axes fraction"), xytext=(4, 0),
            textcoords="offset points", color=style.MUTED, fontsize=9,
        )  # fmt: skip
    least = min(float(values.min()) for values in sweep.accuracy.values())
    ax.set(xlabel="t", ylabel="validation accuracy in %", ylim=(max(0.0, least - 12), 101))
    ax.set_xlim(float(sweep.steps[0]), float(sweep.steps[-1]))
    ax.grid(axis="y")
    return figure


@style.styled
def mechanism(
    images: Mapping[str, Spectrum], gains: Mapping[str, Spectrum], shares: Mapping[str, float]
) -> Figure:
    """Draw the power of images, the gain of kernels, and the share that training leaves out.

    Parameters
    ----------
    images : mapping of str to Spectrum
        ``"x"`` and ``"P R x"``.
    gains, shares : mapping
        By network, a key of :data:`mgcore.lab.figures.style.LOOKS`.
    """
    figure = style.card(3.6, "What P R removes, and the response of the first layer")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.15, 1.15, 1))
    for (name, spectrum), line in zip(images.items(), ("-", "--"), strict=True):
        left.semilogy(  # without the mean, which standardised images do not have
            spectrum.frequency[1:], spectrum.values[1:], line, color=style.INK, linewidth=1.8,
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
    middle.set(
        title="gain of the first layer", xlabel="frequency", ylabel="relative to frequency 0"
    )
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
    right.set(title="power ratio in %", xlabel="removed / smoothed")
    right.margins(x=0.3)
    right.invert_yaxis()
    style.note(
        figure, "Frequency 1: the fastest wave of the fine grid, +1, −1, in either direction.\n"
        "Shaded: frequencies above the Nyquist frequency of the coarse grid.",
    )  # fmt: skip
    return figure


def _beyond(ax: Axes) -> None:
    ax.axvspan(0.5, 1, color=style.GRID, zorder=-2, linewidth=0)
    ax.set_xlim(0, 1)


@style.styled
def generalization_gaps(
    panels: Mapping[str, tuple[Mapping[str, Trials], Mapping[str, Pairs]]],
) -> Figure:
    """Draw training minus validation accuracy after the last epoch, a panel for each network.

    To see: which initialisation has a gap, in which network, and the thesis's value (diamond).

    Parameters
    ----------
    panels : mapping
        By heading: trials by the name of their images, and the thesis's table.
    """
    figure = style.card(3.1, "Generalization gap: training minus validation accuracy at the end")
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    names: list[str] = []
    for ax, (heading, (records, thesis)) in zip(axes, panels.items(), strict=True):
        names = list(records)
        for place, arm in enumerate(reversed(CONDITIONS)):
            samples = [[cell(t, f"{arm}.last.gap") for t in some] for some in records.values()]
            style.draw_intervals(ax, place, arm, samples, 0.22)
            ax.plot(thesis[arm]["training"][1] - thesis[arm]["validation"][1], place, **THESIS)
        counts = sorted({len(trials) for trials in records.values()})
        ax.set_title(f"{heading} ({' and '.join(map(str, counts))} trials)")
        ax.set(
            yticks=range(len(CONDITIONS)),
            xlabel="points",
            yticklabels=[LOOKS[arm].label for arm in reversed(CONDITIONS)],
        )
        ax.set_ylim(-0.5, len(CONDITIONS) - 0.5)
        ax.axvline(0, color=style.MUTED, linewidth=0.8)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles = [*style.record_handles(names), style.handle(**THESIS)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
