"""Pictures of what networks hold and see: classifier weights, loss surfaces, feature maps.

Each takes the arrays of a record (:meth:`mgcore.lab.records.record.Record.arrays`).  Chapters import them
from :mod:`mgcore.lab.figures.results`.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.interpolate import RegularGridInterpolator

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.verdict.metrics import roughness, white_noise_roughness

Arrays = Mapping[str, np.ndarray]

_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


@style.styled
def classifier_blocks(arrays: Arrays) -> Figure:
    """Draw weight maps of the coarse classifier, a row for each class (Fig. 4.2).

    To see: whether neighbouring weights resemble each other, as prolongation needs; the last row is
    what weights without any such order would look like.
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
    """Draw the objective around the coarse minimum and around two starts (Fig. 4.3).

    To see: how high each start lies and how steeply the objective rises from it (colour, the same
    scale in all panels), and the shape of the valley (lines, each panel its own levels).
    """
    steps = np.asarray(arrays["surface_steps"], float)
    headings = {
        "coarse": "coarse network,\ntrained",
        "transfer": "fine network,\ntransfer start",
        "multigrid": "fine network,\nmultigrid start",
    }
    surfaces = {name: arrays[f"surface/{name}"] for name in headings}
    figure = style.card(3.65, "The objective in a plane through each of three networks")
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    everything = np.concatenate([values.ravel() for values in surfaces.values()])
    norm = LogNorm(everything.min(), everything.max())
    levels = np.geomspace(norm.vmin, norm.vmax * (1 + 1e-9), 33)
    for ax, (name, values) in zip(axes, surfaces.items(), strict=True):
        # Entry (i, j) belongs to steps[i] of direction 1 and steps[j] of direction 2.
        ax.contourf(steps, steps, values.T, levels=levels, norm=norm, cmap="cividis")
        # Levels equally many grid points apart follow the shape, however steep the surface is.
        own = _round_levels(np.quantile(values, [0.08, 0.35, 0.7]))
        # Light lines on the dark colours and dark ones on the light.
        tones = ["white" if norm(level) < 0.55 else "black" for level in own]
        lines = ax.contour(steps, steps, values.T, levels=own, colors=tones, linewidths=0.9)
        ax.clabel(lines, fmt=_PLAIN, fontsize=9)
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
    bar.ax.yaxis.set_major_formatter(_PLAIN)
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    style.note(
        figure,
        "Cross: the network itself.  Both directions are random, with every filter as long as the "
        "network's own.\n×: mean at distance ½ over the value at the centre.",
    )
    return figure


@style.styled
def propagation(arrays: Arrays, channel: int = 0) -> Figure:
    """Draw what one channel of each layer sees of two validation images (Fig. 4.4).

    To see: in which networks the digit can still be recognised after the second convolution.

    Parameters
    ----------
    arrays : mapping of ndarray
    channel : int
        Which of the channels kept in the record, from 0.
    """
    kept = len(arrays["channels/conv1"])
    if not 0 <= channel < kept:
        raise ValueError(f"channel={channel!r}; accepted: 0 to {kept - 1}.")
    # Three headings side by side need a shorter word.
    layers = {"conv1": "convolution 1", "conv2": "convolution 2"}
    if "channels/pooled" in arrays:
        layers = {"conv1": "conv. 1", "pooled": "pooling", "conv2": "conv. 2"}
    digits = arrays["digits/images"]
    across = len(digits) * (len(layers) + 1)
    title = "Two validation images on their way through the three fine networks"
    figure = style.card(1.35 + 3 * 0.96 * style.WIDTH / (across + 0.4), title)
    for half, digit in enumerate(figure.subfigures(1, len(digits), wspace=0.03)):
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
