"""Figures of the chapter on the baseline (thesis §4.2), which other experiment chapters use too.

Curves take trials; pictures of weights, loss surfaces and feature maps take the arrays of a record
(:meth:`mgcore.lab.records.record.Record.trials` and ``arrays``).
Titles and notes explain how to read a figure and state no result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy.interpolate import RegularGridInterpolator

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS, THESIS
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol.printed_tables import TABLE_4_1, Pairs
from mgcore.lab.records.schema import Trial
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.metrics import at_epoch, roughness, trials_of, white_noise_roughness

Arrays = Mapping[str, np.ndarray]

LINES = 10  # the largest number of trials that get a line each
FLOOR = 0.005  # % of error at which a logarithmic axis shows 0; one of 10,000 images is above


@style.styled
def error_by_epoch(
    records: Mapping[str, Sequence[Trial]],
    thesis: Mapping[str, Pairs] | None = TABLE_4_1,
    title: str = "Error before, during and after retraining",
) -> Figure:
    """Draw the error by epoch, of coarse training and then of retraining (Fig. 4.1).

    To see: the first and last error of each initialisation on training images, and whether the
    order is the same on validation images.

    Parameters
    ----------
    records : mapping of str to trials
        Columns by name; for instance two preparations of the training images.
        More than :data:`LINES` trials are drawn as their range alone.
    thesis : mapping, optional
        Table 4.1 or 4.2.
    title : str
    """
    figure = style.card(6.1, title)
    axes = figure.subplots(2, len(records), sharex="col", sharey="row", squeeze=False)
    least = [100.0, 100.0]
    for column, (name, trials) in enumerate(records.items()):
        for row, images in enumerate(("training", "validation")):
            ax = axes[row, column]
            least[row] = min(least[row], _histories(ax, trials, images, thesis))
            if row == 0:
                ax.set_title(f"{name} ({trials_of(len(trials))})")
            if column == 0:
                ax.set_ylabel(f"error on {images} images in %")
    for ax, value in zip(axes[:, 0], least, strict=True):
        _error_axis(ax, value)
    thin = "thin, " if min(map(len, records.values())) <= LINES else ""
    line = {"color": LOOKS["new"].colour, "marker": "o", "linestyle": "none", "markersize": 5.5}
    handles = [style.network_handle(name) for name in LOOKS]
    handles += [
        style.handle(**line, label="measured on all images"),
        style.handle(**line, markerfacecolor=style.CARD, label="measured on a subset"),
        style.handle(color=style.MUTED, linewidth=0.8, label=f"thick: mean; {thin}shade: trials"),
        style.handle(**line | {"color": style.MUTED, "marker": "|", "markersize": 11},
                     markeredgewidth=1.5, label="bar: 95 % interval of mean"),
    ]  # fmt: skip
    if thesis:
        handles.append(style.handle(**THESIS | {"label": "thesis (dot: whose it is)"}))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, columnspacing=2.4)
    return figure


def _error_axis(ax: Axes, least: float) -> None:
    """Label a logarithmic axis of errors in % down to `least`, with a place for no error at all."""
    reaches_floor = least <= FLOOR
    low = 0.7 * max(least, FLOOR)
    ax.set_ylim(low, 250)
    ticks = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]
    ticks = [FLOOR] * reaches_floor + [tick for tick in ticks if tick > low]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "0" if value <= FLOOR else f"{value:g}")
    )
    ax.yaxis.set_minor_formatter(NullFormatter())


def _histories(
    ax: Axes, trials: Sequence[Trial], images: str, thesis: Mapping[str, Pairs] | None
) -> float:
    """Draw one panel, the coarse network left and the fine ones right; return its least error."""
    metrics = trials[0]["metrics"]
    least = 100.0
    # Both halves are equally wide, since the right one is what the study is about.
    ax.set(yscale="log", xlim=(-0.06, 2.28))
    for run, look in LOOKS.items():
        if run not in metrics:
            continue
        shift = 0.0 if run == "coarse" else 1.2
        epochs = np.array([row["epoch"] for row in metrics[run]])
        whole = np.array([row["images"] == "all" for row in metrics[run]])
        x = shift + epochs / epochs[-1]
        errors = np.array([
            [100 - value for value in at_epoch(trials, run, epoch, f"{images}_accuracy")]
            for epoch in epochs
        ])  # fmt: skip
        least = min(least, float(errors.min()))
        if len(trials) > 1:
            drawn = np.maximum(errors, FLOOR)
            if len(trials) <= LINES:
                ax.plot(x, drawn, color=look.colour, linewidth=0.6, alpha=0.5)
            ax.fill_between(x, drawn.min(1), drawn.max(1), color=look.colour, alpha=0.12,
                            linewidth=0)  # fmt: skip
            mean, half = np.array([interval(row) for row in errors[whole]], dtype=float).T
            low, high = np.maximum([mean - half, mean + half], FLOOR / 2)
            # Side by side, so that wide bars do not hide each other.
            beside = x[whole] + 0.02 * (list(LOOKS).index(run) - 2) * (run != "coarse")
            ax.vlines(beside, low, high, color=look.colour, linewidth=1.5)
        mean = np.maximum(errors.mean(1), FLOOR)
        ax.plot(x, mean, color=look.colour, linestyle=look.line, linewidth=1.8)
        marker: dict[str, Any] = {
            "color": look.colour,
            "marker": look.marker,
            "linestyle": "none",
            "zorder": 4,
        }
        ax.plot(x[~whole], mean[~whole], markersize=4, markerfacecolor=style.CARD, **marker)
        ax.plot(x[whole], mean[whole], markersize=5.5, **marker)
        if thesis and run in thesis:
            printed = 100 - np.array(thesis[run][images])
            least = min(least, float(printed.min()))
            at = shift + np.array([1 / epochs[-1], 1.0])
            ax.plot(at, printed, **THESIS)
            ax.plot(at, printed, color=look.colour, marker=".", markersize=4, linestyle="none",
                    zorder=6)  # fmt: skip
    ax.axvline(1.1, color=style.MUTED, linewidth=0.8)
    ax.grid(axis="y")
    for half, name in ((0.5, "coarse training"), (1.7, "retraining")):
        ax.text(half, 0.98, name, transform=ax.get_xaxis_transform(), ha="center", va="top",
                fontsize=9, color=style.MUTED)  # fmt: skip
    last = [metrics[run][-1]["epoch"] for run in ("coarse", "new")]
    ticks = [(shift + part, f"{part * n:g}") for shift, n in ((0, last[0]), (1.2, last[1]))
             for part in ((0, 0.5, 1) if n % 2 == 0 else (0, 1))]  # fmt: skip
    ax.set_xticks([at for at, _ in ticks], [label for _, label in ticks])
    if images == "validation":
        ax.set_xlabel("epoch")
    return least


@style.styled
def accuracies(
    records: Mapping[str, Sequence[Trial]], thesis: Mapping[str, Pairs] | None = TABLE_4_1
) -> Figure:
    """Draw each cell of Table 4.1: means with 95 % intervals against the thesis's diamonds.

    To see: which intervals contain the diamond, and the gap between training and validation.
    Arguments as for :func:`error_by_epoch`; the first record has filled markers, others hollow.
    """
    counts = sorted({len(trials) for trials in records.values()})
    number = f"{' and '.join(map(str, counts))} trials" if len(counts) > 1 else trials_of(counts[0])
    bar = ", bars: 95 % interval" if counts[-1] > 1 else " (no interval)"
    figure = style.card(4.5, f"Accuracy after retraining: mean of {number}{bar}")
    axes = figure.subplots(2, 2, sharex="col", sharey=True)
    metrics = next(iter(records.values()))[0]["metrics"]
    arms = [arm for arm in reversed(CONDITIONS) if arm in metrics]
    epochs = (1, metrics[arms[0]][-1]["epoch"])
    for (row, column), ax in np.ndenumerate(axes):
        images, epoch = ("training", "validation")[column], epochs[row]
        for place, arm in enumerate(arms):
            field = f"{images}_accuracy"
            samples = [at_epoch(trials, arm, epoch, field) for trials in records.values()]
            style.draw_intervals(ax, place, arm, samples)
            if thesis:
                ax.plot(thesis[arm][images][row], place, **THESIS)
        ax.set(yticks=range(len(arms)), yticklabels=arms, ylim=(-0.5, len(arms) - 0.5))
        ax.set_title(f"{images} images, epoch {epoch}")
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        if row == 1:
            ax.set_xlabel("accuracy in %")
    for ax in axes[0]:
        left, right = ax.get_xlim()
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        ax.set_xlim(max(left, 0), min(right, 100.6))  # an interval may pass 100 %, no accuracy can
    figure.legend(
        handles=style.record_handles(records) + [style.handle(**THESIS)] * bool(thesis),
        loc="outside lower center", ncols=len(records) + 1,
    )  # fmt: skip
    return figure


@style.styled
def classifier_blocks(arrays: Arrays) -> Figure:
    """Draw weight maps of the coarse classifier, a row for each class (Fig. 4.2).

    To see: whether neighbouring weights are similar, as prolongation requires; the last row shows
    white noise for comparison.
    """
    blocks, classes = np.asarray(arrays["blocks"], float), arrays["blocks_of"][:, 0]
    side = blocks.shape[-1]
    rows = [blocks[classes == label] for label in range(10)]
    width = max(len(row) for row in rows)
    noise = np.random.default_rng(0).normal(0, blocks.std(), (width, side, side))
    gap = 2
    sheet = np.full((11 * (side + gap) + gap, width * (side + gap) - gap), np.nan)
    tops = [label * (side + gap) for label in range(10)] + [10 * (side + gap) + 2 * gap]
    for top, row in zip(tops, [*rows, noise], strict=True):
        for place, block in enumerate(row):
            left = place * (side + gap)
            sheet[top : top + side, left : left + side] = block

    measured = roughness(blocks)
    title = f"{len(blocks)} of the coarse classifier's weight maps ({side}×{side}), by class"
    figure = style.card(1.0 + 5.5 * sheet.shape[0] / sheet.shape[1], title)
    ax = figure.subplots()
    limit = np.quantile(np.abs(blocks), 0.995)  # a few large weights would pale all others
    # Few colours: each can be found on the bar, and the file stays small.
    colours = mpl.colormaps["RdBu_r"].resampled(21)
    picture = ax.imshow(sheet, cmap=colours, norm=CenteredNorm(0, limit))
    style.bare(ax)
    labels = [f"{label}" for label in range(10)] + ["white\nnoise"]
    ax.set_yticks([top + (side - 1) / 2 for top in tops], labels)
    ax.tick_params(axis="y", length=0)
    ax.set_ylabel("class")
    figure.colorbar(picture, label="weight", extend="both", shrink=0.9, pad=0.015, aspect=28)
    style.note(
        figure,
        f"Roughness ‖∇W‖/‖W‖ of a map: {measured.mean():.2f} on average (standard deviation "
        f"{measured.std(ddof=1):.2f});\nwhite noise of this size: {white_noise_roughness(side):.2f}"
        "; a constant map: 0.",
    )
    return figure


def rise(steps: np.ndarray, values: np.ndarray, radius: float = 0.5) -> tuple[float, float]:
    """Return a surface's value at the centre, and its mean on a circle as a multiple of that.

    Parameters
    ----------
    steps : ndarray, shape (k,)
    values : ndarray, shape (k, k)
        Positive; interpolated linearly in their logarithm.
    radius : float
        Of the circle, in the unit of `steps`.
    """
    surface = RegularGridInterpolator((steps, steps), np.log(values))
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    circle = np.exp(surface(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)))
    centre = float(np.exp(surface([[0.0, 0.0]])[0]))
    return centre, float(circle.mean()) / centre


def _round_levels(levels: np.ndarray) -> np.ndarray:
    """Return levels with as few digits as keep them apart, at least two."""
    for digits in (2, 3, 4):
        short = np.unique([float(f"{level:.{digits}g}") for level in levels])
        if len(short) == len(levels):
            break
    return short


@style.styled
def loss_surfaces(arrays: Arrays) -> Figure:
    """Draw the objective around the coarse minimum and around two initialisations (Fig. 4.3).

    To see: the objective at each centre and its rise (colour, one scale for all panels), and the
    shape of the valley (lines, with levels of their own in each panel).
    """
    steps = np.asarray(arrays["surface_steps"], float)
    headings = {
        "coarse": "coarse network,\ntrained",
        "transfer": "fine network,\ncopied",
        "multigrid": "fine network,\nGalerkin",
    }
    surfaces = {name: arrays[f"surface/{name}"] for name in headings}
    figure = style.card(3.65, "The objective in a plane through each of three networks")
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    everything = np.concatenate([values.ravel() for values in surfaces.values()])
    lowest, highest = float(everything.min()), float(everything.max())
    norm = LogNorm(lowest, highest)
    levels = np.geomspace(lowest, highest * (1 + 1e-9), 33)
    for ax, (name, values) in zip(axes, surfaces.items(), strict=True):
        # Entry (i, j) belongs to steps[i] of direction 1 and steps[j] of direction 2.
        ax.contourf(steps, steps, values.T, levels=levels, norm=norm, cmap="cividis")
        # Levels equally many grid points apart follow the shape, however steep the surface is.
        own = _round_levels(np.quantile(values, [0.08, 0.35, 0.7]))
        # Light lines on the dark colours and dark ones on the light.
        tones = ["white" if norm(level) < 0.55 else "black" for level in own]
        lines = ax.contour(steps, steps, values.T, levels=own, colors=tones, linewidths=0.9)
        ax.clabel(lines, fmt=style.PLAIN, fontsize=9)
        ax.plot(0, 0, marker="P", color="white", markeredgecolor="black", markersize=9, zorder=5)
        centre, factor = rise(steps, values)
        ax.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        ax.set_title(headings[name])
        ax.set_xlabel(
            f"step along direction 1\nat the centre: {centre:.3g}\n½ away: × {factor:.3g}"
        )
    axes[0].set_ylabel("step along direction 2")
    bar = figure.colorbar(
        ScalarMappable(norm, "cividis"), ax=axes, label="objective", aspect=18, pad=0.015,
        shrink=0.62,
    )  # fmt: skip
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(style.PLAIN)
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    style.note(
        figure,
        "Cross: the network itself.  Both directions are random, with every filter as long as the "
        "network's own.\n×: mean at distance ½ over the value at the centre.",
    )
    return figure


@style.styled
def propagation(arrays: Arrays, channel: int = 0) -> Figure:
    """Draw one feature map of each layer for two validation images (Fig. 4.4).

    To see: in which networks the digit is recognisable after the second convolution.

    Parameters
    ----------
    arrays : mapping of ndarray
    channel : int
        Index among the channels stored in the record.
    """
    stored = len(arrays["channels/conv1"])
    if not 0 <= channel < stored:
        raise ValueError(f"channel must be from 0 to {stored - 1}, got {channel!r}.")
    # Three headings side by side need a shorter word.
    layers = {"conv1": "convolution 1", "conv2": "convolution 2"}
    if "channels/pooled" in arrays:
        layers = {"conv1": "conv. 1", "pooled": "pooling", "conv2": "conv. 2"}
    digits = arrays["digits/images"]
    across = len(digits) * (len(layers) + 1)
    title = "Feature maps of two validation images in the three fine networks"
    figure = style.card(1.35 + 3 * 0.96 * style.WIDTH / (across + 0.4), title)
    halves = figure.subfigures(1, len(digits), squeeze=False, wspace=0.03)[0]
    for half, digit in enumerate(halves):
        digit.set_facecolor("none")
        axes = digit.subplots(len(CONDITIONS), len(layers) + 1)
        for row, arm in enumerate(CONDITIONS):
            for ax, layer in zip(axes[row, 1:], layers, strict=True):
                _map(ax, arrays[f"maps/{arm}/{layer}"][half, channel])
                if row == 0:
                    number = arrays[f"channels/{layer}"][channel]
                    ax.set_title(f"{layers[layer]}\nchannel {number}", fontsize=9)
            axes[row, 1].set_ylabel(LOOKS[arm].label)
            style.bare(axes[row, 0])
        _map(axes[1, 0], digits[half])
        label = f"input: {arrays['digits/labels'][half]}"
        above = axes[1, 0].text(
            0.5, 1.06, label, transform=axes[1, 0].transAxes, ha="center", fontsize=9
        )
        above.set_in_layout(False)  # a title would push the rows of maps apart
    style.note(
        figure,
        "After retraining.  Each map has its own grey scale: black is 0 (of an input: its "
        "background),\nwhite its largest value, given below it.  Channels of transfer and "
        "multigrid correspond.",
    )
    return figure


def _map(ax: Axes, values: np.ndarray) -> None:
    """Show one map in its own grey scale, from 0: what a network sees after ReLU."""
    seen = np.asarray(values, float)
    low, high = min(float(seen.min()), 0.0), float(seen.max())
    ax.imshow(seen, cmap="gray", vmin=low, vmax=high if high > low else low + 1)
    style.bare(ax)
    ax.set_xlabel(f"{high:.2g}" if high > low else "all 0", fontsize=9, labelpad=2)
