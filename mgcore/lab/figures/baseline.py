"""Figures of the chapter on the baseline (thesis §4.2), which other experiment chapters use too.

Curves take trials; pictures of weights, loss surfaces and feature maps take the arrays of a record
(:meth:`mgcore.lab.records.record.Record.trials` and ``arrays``).
Titles and notes explain how to read a figure and state no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
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
# A number of the thesis in a history: a short tick in the colour of its condition.
TICK: dict[str, Any] = {
    "marker": "_", "markersize": 15, "markeredgewidth": 2.4, "linestyle": "none", "zorder": 6,
    "alpha": 0.9,
}  # fmt: skip
FLOOR = 0.005  # % of error at which a logarithmic axis shows 0; one of 10,000 images is above


@style.styled
def error_by_epoch(
    records: Mapping[str, Sequence[Trial]],
    thesis: Mapping[str, Pairs] | None = TABLE_4_1,
    title: str = "Validation error during retraining",
) -> Figure:
    """Draw the validation error of retraining by epoch, a panel for each record (Fig. 4.1).

    To see: which condition ends with the lowest error, and when its error no longer falls.

    Parameters
    ----------
    records : mapping of str to trials
        Panels by name; for instance two preparations of the training images.
        More than :data:`LINES` trials are drawn as their range alone.
    thesis : mapping, optional
        Table 4.1 or 4.2, drawn as ticks at the first and the last epoch.
    title : str
    """
    figure = style.card(3.9, title)
    axes = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
    ends = [
        _histories(ax, trials, thesis) for ax, trials in zip(axes, records.values(), strict=True)
    ]
    least = min(least for least, _ in ends)
    _error_axis(axes[0], least)
    for ax, (name, trials), (_, last) in zip(axes, records.items(), ends, strict=True):
        ax.set_title(f"{name} ({trials_of(len(trials))})")
        ax.set_xlabel("epoch of retraining")
        _label_ends(ax, last)
    axes[0].set_ylabel("error on validation images in %")
    single = "thin lines" if min(map(len, records.values())) <= LINES else "shade"
    text = f"Thick line: mean; {single}: trials; bar: 95 % interval of the mean."
    if thesis:
        text += "  Short tick: thesis."
    style.note(figure, text)
    return figure


def _error_axis(ax: Axes, least: float) -> None:
    """Label a logarithmic axis of errors in % down to `least`, with a place for no error at all."""
    reaches_floor = least <= FLOOR
    low = 0.7 * max(least, FLOOR)
    ax.set_ylim(low, 130)
    ticks = [0.01, 0.03, 0.1, 0.3, 1, 2, 3, 5, 10, 20, 30, 50, 100]
    ticks = [FLOOR] * reaches_floor + [tick for tick in ticks if tick > low]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "0" if value <= FLOOR else f"{value:g}")
    )
    ax.yaxis.set_minor_formatter(NullFormatter())


def _histories(
    ax: Axes, trials: Sequence[Trial], thesis: Mapping[str, Pairs] | None
) -> tuple[float, dict[str, float]]:
    """Draw one panel; return its least error, and the mean error of each condition at the end."""
    metrics = trials[0]["metrics"]
    least, last = 100.0, {}
    ax.set_yscale("log")
    for place, condition in enumerate(name for name in CONDITIONS if name in metrics):
        look = LOOKS[condition]
        epochs = np.array([row["epoch"] for row in metrics[condition]])
        whole = np.array([row["images"] == "all" for row in metrics[condition]])
        errors = np.array([
            [100 - value for value in at_epoch(trials, condition, epoch, "validation_accuracy")]
            for epoch in epochs
        ])  # fmt: skip
        least = min(least, float(errors.min()))
        if len(trials) > 1:
            drawn = np.maximum(errors, FLOOR)
            if len(trials) <= LINES:
                ax.plot(epochs, drawn, color=look.colour, linewidth=0.6, alpha=0.5)
            else:
                ax.fill_between(epochs, drawn.min(1), drawn.max(1), color=look.colour, alpha=0.15,
                                linewidth=0)  # fmt: skip
            mean, half = np.array([interval(row) for row in errors[whole]], dtype=float).T
            low, high = np.maximum([mean - half, mean + half], FLOOR / 2)
            # Side by side, so that wide bars do not hide each other.
            ax.vlines(epochs[whole] + 0.12 * (place - 1), low, high, color=look.colour,
                      linewidth=1.5)  # fmt: skip
        mean = np.maximum(errors.mean(1), FLOOR)
        ax.plot(epochs, mean, color=look.colour, linestyle=look.line, linewidth=2, zorder=4)
        ax.plot(epochs[whole], mean[whole], color=look.colour, marker=look.marker, markersize=5.5,
                linestyle="none", zorder=4)  # fmt: skip
        last[condition] = float(mean[-1])
        if thesis and condition in thesis:
            printed = 100 - np.array(thesis[condition]["validation"])
            least = min(least, float(printed.min()))
            ax.plot([1, epochs[-1]], printed, **TICK, color=look.colour)
    end = metrics[CONDITIONS[0] if CONDITIONS[0] in metrics else next(iter(metrics))][-1]["epoch"]
    ax.set_xlim(-0.04 * end, 1.04 * end)
    ax.xaxis.set_major_locator(
        FixedLocator([0, 1, *range(2, end + 1, 2)] if end > 4 else range(end + 1))
    )
    ax.grid(axis="y")
    return least, last


def _label_ends(ax: Axes, last: Mapping[str, float]) -> None:
    """Write each condition and its last error beside the end of its line, without overlap."""
    low, high = np.log(ax.get_ylim())
    apart = 0.15 if style.on_phone() else 0.075  # of the axis; axes are lower on a phone
    heights: list[float] = []
    for name, value in sorted(last.items(), key=lambda item: item[1]):
        at = (np.log(value) - low) / (high - low)
        at = max(at, heights[-1] + apart) if heights else at
        heights.append(at)
        look = LOOKS[name]
        ax.annotate(
            f"{look.label}\n{value:.2g} %", (1.01, at), xycoords="axes fraction", va="center",
            color=look.colour, fontsize=9, fontweight="bold", linespacing=0.95,
        )  # fmt: skip


@style.styled
def accuracies(
    records: Mapping[str, Sequence[Trial]], thesis: Mapping[str, Pairs] | None = TABLE_4_1
) -> Figure:
    """Draw Table 4.1 as bars from validation to training accuracy on one axis.

    To see: the gap of each condition, the length of its bar, and whether the thesis's bar has the
    same length and place. Arguments as for :func:`error_by_epoch`.
    """
    counts = sorted({len(trials) for trials in records.values()})
    number = f"{' and '.join(map(str, counts))} trials" if len(counts) > 1 else trials_of(counts[0])
    bar = ", whiskers: 95 % interval" if counts[-1] > 1 else " (no interval)"
    metrics = next(iter(records.values()))[0]["metrics"]
    conditions = [name for name in CONDITIONS if name in metrics]
    epochs = (1, metrics[conditions[0]][-1]["epoch"])
    lanes = [*records, *["thesis"] * bool(thesis)]
    group = len(lanes) + 0.6
    height = 1.5 + 0.155 * 2 * len(conditions) * group
    figure = style.card(height, f"Validation and training accuracy: mean of {number}{bar}")
    ax = figure.subplots()
    rows: list[tuple[float, str]] = []
    for half, epoch in enumerate(epochs):
        top = -half * (len(conditions) * group + 1.4)
        ax.text(0, top + 0.75, f"after epoch {epoch}", transform=ax.get_yaxis_transform(),
                fontweight="bold", va="center")  # fmt: skip
        for place, condition in enumerate(conditions):
            look = LOOKS[condition]
            for lane, name in enumerate(lanes):
                y = top - place * group - lane
                rows.append((y, f"{look.label}, {name}" if lane == 0 else name))
                if name in records:
                    _dumbbell(ax, y, condition, records[name], epoch)
                elif thesis:
                    pair = [
                        thesis[condition][images][half] for images in ("validation", "training")
                    ]
                    ax.plot(pair, [y, y], color=style.INK, linewidth=1.2, zorder=2)
                    ax.plot(pair, [y, y], **THESIS)
    ax.set_yticks([y for y, _ in rows], [text for _, text in rows])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(min(y for y, _ in rows) - 0.7, 1.3)
    left, right = ax.get_xlim()
    # An interval may pass 100 %, no accuracy can.
    ax.set_xlim(max(left, 0), min(right, 100.6))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    ax.set_xlabel("accuracy in %")
    ax.grid(axis="x")
    dot: dict[str, Any] = {
        "color": style.MUTED, "marker": "o", "linestyle": "none", "markersize": 6,
    }  # fmt: skip
    handles = [
        style.handle(**dot | {"markerfacecolor": style.CARD}, label="validation"),
        style.handle(**dot, label="training"),
        style.handle(color=style.MUTED, linewidth=3, alpha=0.5, label="gap"),
    ]
    handles += [style.handle(**THESIS)] * bool(thesis)
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _dumbbell(ax: Axes, y: float, condition: str, trials: Sequence[Trial], epoch: int) -> None:
    """Draw one bar from validation accuracy (hollow) to training accuracy (filled)."""
    look, ends = LOOKS[condition], []
    for images, face in (("validation", style.CARD), ("training", look.colour)):
        mean, half = interval(at_epoch(trials, condition, epoch, f"{images}_accuracy"))
        ends.append(mean)
        ax.errorbar(
            mean, y, xerr=half, color=look.colour, marker=look.marker, markersize=6, capsize=3,
            markerfacecolor=face, elinewidth=1.4, zorder=4,
        )  # fmt: skip
    ax.plot(ends, [y, y], color=look.colour, linewidth=3, alpha=0.35, zorder=1)


@style.styled
def classifier_blocks(arrays: Arrays) -> Figure:
    """Draw the roughness of the coarse classifier's weight maps, a dot for each map (Fig. 4.2).

    To see: whether neighbouring weights are similar, as prolongation requires. Three of the maps
    and white noise show what a roughness looks like.
    """
    blocks, classes = np.asarray(arrays["blocks"], float), arrays["blocks_of"][:, 0]
    side = blocks.shape[-1]
    measured, noise = roughness(blocks), white_noise_roughness(side)
    title = f"Roughness of {len(blocks)} weight maps ({side}×{side}) of the coarse classifier"
    figure = style.card(3.9, title)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.75, 1))[0]
    ax = left.subplots()
    for label in range(10):
        values = measured[classes == label]
        ax.plot(values, np.full(len(values), label), marker="o", linestyle="none", markersize=5.5,
                color=style.INK, alpha=0.45, markeredgewidth=0)  # fmt: skip
    ax.axvline(noise, color=style.MUTED, linewidth=1.2, linestyle="--")
    ax.annotate("white noise ", (noise, 9.55), ha="right", color=style.MUTED, fontsize=9)
    mean = measured.mean()
    ax.axvline(mean, color=style.INK, linewidth=1.2)
    ax.annotate(f" mean {mean:.2f}", (mean, 9.55), fontsize=9)
    ax.set(xlim=(0, 1.08 * max(noise, measured.max())), ylim=(-0.6, 10.2), yticks=range(10),
           xlabel="roughness ‖∇W‖/‖W‖ of a map", ylabel="class")  # fmt: skip
    ax.grid(axis="x")
    order = np.argsort(measured)
    random = np.random.default_rng(0).normal(0, blocks.std(), (side, side))
    examples = {
        "smoothest": blocks[order[0]], "median": blocks[order[len(order) // 2]],
        "roughest": blocks[order[-1]], "white noise": random,
    }  # fmt: skip
    panels = right.subplots(2, 2)
    for panel, (name, values) in zip(panels.flat, examples.items(), strict=True):
        panel.imshow(values, cmap="RdBu_r", norm=CenteredNorm(0, np.abs(values).max()))
        style.bare(panel)
        panel.set_title(f"{name}\n{roughness(values):.2f}", fontsize=9)
    for part in (left, right):
        part.set_facecolor("none")
    style.note(figure, "A constant map has roughness 0.  Maps: red above and blue below 0, each "
               "in its own scale.")  # fmt: skip
    return figure


LEVELS = (2, 5, 10)  # multiples of the centre at which loss_surfaces draws contours


def circles(steps: np.ndarray, values: np.ndarray, radii: Iterable[float]) -> np.ndarray:
    """Return a surface on circles around its centre, as multiples of the value at the centre.

    Parameters
    ----------
    steps : ndarray, shape (k,)
    values : ndarray, shape (k, k)
        Positive; interpolated linearly in their logarithm.
    radii : iterable of float
        In the unit of `steps`.

    Returns
    -------
    ndarray, shape (number of radii, 360)
    """
    surface = RegularGridInterpolator((steps, steps), np.log(values))
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    centre = surface([[0.0, 0.0]])[0]
    return np.exp(np.stack([surface(radius * circle) for radius in radii]) - centre)


def rise(steps: np.ndarray, values: np.ndarray, radius: float = 0.5) -> tuple[float, float]:
    """Return a surface's value at the centre, and its mean on a circle as a multiple of that.

    Parameters are those of :func:`circles`, with one `radius`.
    """
    surface = RegularGridInterpolator((steps, steps), np.log(values))
    centre = float(np.exp(surface([[0.0, 0.0]])[0]))
    return centre, float(circles(steps, values, [radius]).mean())


@style.styled
def loss_surfaces(arrays: Arrays) -> Figure:
    """Draw the objective around the coarse minimum and around two initialisations (Fig. 4.3).

    To see: how fast the objective rises with the distance from each network. Maps above, with one
    scale of colours for the objective as a multiple of its value at the centre; below each map its
    radial profile.
    """
    steps = np.asarray(arrays["surface_steps"], float)
    headings = {
        "coarse": "coarse network,\ntrained",
        "transfer": "fine network,\ncopied",
        "multigrid": "fine network,\nGalerkin",
    }
    found = {name: rise(steps, arrays[f"surface/{name}"]) for name in headings}
    ratios = {
        name: np.asarray(arrays[f"surface/{name}"], float) / found[name][0] for name in headings
    }
    everything = np.concatenate([values.ravel() for values in ratios.values()])
    lowest, highest = float(everything.min()), float(everything.max())
    norm = LogNorm(lowest, highest)
    phone = style.on_phone()  # a network is a row there, and a column elsewhere
    title = "The objective in a plane through each of three networks"
    figure = style.card(8.6 if phone else 6.0, title)
    if phone:
        axes = figure.subplots(3, 2, sharex="col", sharey="col").T
    else:
        axes = figure.subplots(2, 3, sharex="row", sharey="row", height_ratios=(1.15, 1))
    radii = np.linspace(0, steps[-1], 41)
    for ax, profile, (name, values) in zip(*axes, ratios.items(), strict=True):
        look = LOOKS[name]
        _contours(ax, steps, values, norm)
        ax.set_title(headings[name])
        on_circles = circles(steps, arrays[f"surface/{name}"], radii)
        profile.fill_between(radii, on_circles.min(1), on_circles.max(1), color=look.colour,
                             alpha=0.2, linewidth=0)  # fmt: skip
        profile.plot(radii, on_circles.mean(1), color=look.colour, linestyle=look.line, linewidth=2)
        centre, factor = found[name]
        profile.plot(0.5, factor, color=look.colour, marker=look.marker, markersize=6)
        where = "centre" if phone else "at the centre"
        profile.set_title(f"{where}: {centre:.3g}\n½ away: × {factor:.3g}")
        profile.set(xlabel="distance from the centre", yscale="log", xlim=(0, steps[-1]))
        profile.grid(axis="y")
    axes[0, 0].set_ylabel("step along direction 2")
    axes[1, 0].set_ylabel("multiple of the centre")
    place: dict[str, Any] = {"pad": 0.015, "shrink": 0.8}
    if phone:
        place = {"location": "bottom", "pad": 0.02}
        for ax in axes[:, :-1].flat:
            ax.set_xlabel("")
        axes[0, 1].set_ylabel("step along direction 2")
        axes[0, 0].set_ylabel("")
        axes[1, 1].set_ylabel("multiple of the centre")
        axes[1, 0].set_ylabel("")
    bar = figure.colorbar(
        ScalarMappable(norm, "cividis"), ax=axes[0], label="multiple of the centre", aspect=18,
        **place,
    )  # fmt: skip
    for axis in (bar.ax.xaxis if phone else bar.ax.yaxis, axes[1, 0].yaxis):
        few = FixedLocator([1, 3, 10, 30, 100, 1000]) if axis is bar.ax.xaxis else None
        axis.set_major_locator(few or LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(style.PLAIN)
        axis.set_minor_formatter(NullFormatter())
    style.note(
        figure,
        "Cross: the network itself. Both directions are random, filters as long as the network's.\n"
        f"{'Beside' if phone else 'Below'} each map: mean (line) and range (band) over circles; "
        "marker: at distance ½.",
    )
    return figure


def _contours(ax: Axes, steps: np.ndarray, ratios: np.ndarray, norm: LogNorm) -> None:
    """Draw one map of multiples of the centre, with a labelled line at each of LEVELS."""
    # Between recorded points the logarithm is linear, as on the circles. Entry (i, j) belongs to
    # steps[i] of direction 1 and steps[j] of direction 2.
    low, high = norm.vmin, norm.vmax
    assert low is not None and high is not None
    log, ends = np.log(ratios).T, np.log([low, high * (1 + 1e-9)])
    ax.contourf(
        steps, steps, log, levels=np.linspace(float(ends[0]), float(ends[1]), 25), cmap="cividis"
    )
    levels = [np.log(level) for level in LEVELS if level < ratios.max()]
    if levels:
        # White on a black line is seen on every colour of the map.
        lines = ax.contour(steps, steps, log, levels=levels, colors="white", linewidths=1.1)
        outline = [Stroke(linewidth=2.6, foreground="black"), Normal()]
        lines.set_path_effects(outline)
        labels = ax.clabel(
            lines, fmt=lambda level: f"×{np.exp(level):.3g}", fontsize=9, colors="white"
        )
        for label in labels:
            label.set_path_effects(outline)
    ax.plot(0, 0, marker="P", color="white", markeredgecolor="black", markersize=9, zorder=5)
    ax.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1), xlabel="step along direction 1")


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
    below = len(digits) if style.on_phone() else 1  # halves below each other
    height = 0.96 * style.width() / (across / below + 0.4)  # of a map and the number below it
    figure = style.card(1.35 + 3 * below * height + 0.3 * (below - 1), title)
    halves = figure.subfigures(below, len(digits) // below, squeeze=False, wspace=0.03).ravel()
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
        "background),\nwhite its largest value, given below it.  Channels of the copied "
        "and the Galerkin network correspond.",
    )
    return figure


def _map(ax: Axes, values: np.ndarray) -> None:
    """Show one map in its own grey scale, from 0: what a network sees after ReLU."""
    seen = np.asarray(values, float)
    low, high = min(float(seen.min()), 0.0), float(seen.max())
    ax.imshow(seen, cmap="gray", vmin=low, vmax=high if high > low else low + 1)
    style.bare(ax)
    ax.set_xlabel(f"{high:.2g}" if high > low else "all 0", fontsize=9, labelpad=2)
