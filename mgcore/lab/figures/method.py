"""Figures of the chapter on the method (thesis §3).

The two grids, their effect on waves and kernels, the two networks, the smoothed initial weights
and the trust region.  Every number drawn is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from mgcore.lab.figures import style
from mgcore.lab.figures.style import INK, LOOKS, MUTED
from mgcore.lab.verdict.metrics import roughness

# A treatment of kernels has the look of the network that uses it.
COPIED, REFINED, COARSE = LOOKS["transfer"], LOOKS["multigrid"], LOOKS["coarse"]
_LINES: dict[str, dict[str, Any]] = {  # by a word in the label of a curve
    "copied": {"color": COPIED.colour, "linestyle": COPIED.line},
    "bilinear": {"color": REFINED.colour, "linestyle": REFINED.line},
    "constant": {"color": LOOKS["new"].colour, "linestyle": LOOKS["new"].line},
    "coarse": {"color": COARSE.colour, "linestyle": COARSE.line, "linewidth": 2.6},
}
ROUNDING = 1e-12  # of float64, in stencils whose entries are about 1
Pictures = Mapping[str, np.ndarray]


class LayerOutput(NamedTuple):
    """The output of a layer: the label of the operation that made it, and its shape."""

    made_by: str
    channels: int
    side: int


class Subproblem(NamedTuple):
    """A subproblem (3.7) in two dimensions: m(p) = gᵀp + ½ pᵀBp in a disc, and a path in it."""

    title: str
    b: np.ndarray  # (2, 2), symmetric
    g: np.ndarray  # (2,)
    radius: float
    path: np.ndarray  # (steps + 1, 2), from 0 to the step that is taken


@style.styled
def grids(coarse: np.ndarray, prolonged: Pictures, pictures: Pictures) -> Figure:
    """Draw the two cell-centred grids, P along a line, and R and P on an image (§3.1.1).

    Parameters
    ----------
    coarse : ndarray, shape (m,)
        Values on a line of m coarse cells.
    prolonged : mapping of str to ndarray, shape (2 m,)
        The same values on fine cells, by the name of each of the two prolongations.
    pictures : mapping of str to ndarray
        Images on either grid, in one grey scale.
    """
    figure = style.card(5.0, "Two cell-centred grids, and the transfers between them")
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 0.72))[:, 0]
    plan, line = top.subplots(1, 2, width_ratios=(0.75, 1))
    edges = np.arange(5)
    for width, at in ((0.5, np.arange(9) / 2), (2.0, edges)):
        for lines in (plan.vlines, plan.hlines):
            lines(at, 0, 4, color=MUTED, linewidth=width)
    fine, centre = np.arange(0.25, 4, 0.5), np.arange(0.5, 4)
    plan.plot(*np.meshgrid(fine, fine), "o", color=REFINED.colour, markersize=3.5)
    plan.plot(*np.meshgrid(centre, centre), "s", color=COPIED.colour, markersize=7)
    plan.set_aspect("equal")
    style.bare(plan)
    plan.set_xlabel("dots: fine values (h); squares: coarse (2h)")
    m = len(coarse)
    line.stairs(coarse, np.arange(m + 1), color=MUTED, linewidth=0.8)
    line.plot(np.arange(m) + 0.5, coarse, "s", color=COPIED.colour, markersize=8, label="coarse")
    for (name, values), (mark, size) in zip(prolonged.items(), (("o", 5), ("x", 6)), strict=True):
        line.plot(np.arange(0.25, m, 0.5), values, mark, color=REFINED.colour, markersize=size,
                  fillstyle="none", label=name)  # fmt: skip
    line.set(xlabel="coarse cells", ylabel="value", xticks=np.arange(m + 1))
    line.legend(loc="best")
    limit = max(np.abs(image).max() for image in pictures.values())
    axes = bottom.subplots(1, len(pictures), squeeze=False)[0]
    for ax, (name, image) in zip(axes, pictures.items(), strict=True):
        ax.imshow(image, cmap="RdGy", vmin=-limit, vmax=limit)
        ax.set_title(name)
        style.bare(ax)
    return figure


@style.styled
def row_differences(maps: Pictures) -> Figure:
    """Draw the distance of each row of R K P from that of the coarse kernel (§3.1.2).

    Differences up to ``ROUNDING`` count as none.
    """
    figure = style.card(2.9, "Rows of R K P that are not the coarse kernel")
    limit = max([np.max(rows) for rows in maps.values()] + [ROUNDING])
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    for ax, (name, rows) in zip(axes, maps.items(), strict=True):
        differing = np.asarray(rows) > ROUNDING
        ax.imshow(np.where(differing, rows, np.nan), cmap="viridis_r", vmin=0, vmax=limit)
        ax.set_title(f"{name}\n{differing.sum()} of {differing.size} rows")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
    style.note(figure, "A square is a coarse cell; coloured: its row differs, the darker the more.")
    return figure


@style.styled
def frequencies(panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> Figure:
    """Draw functions of the frequency ω in [0, π] radians per fine cell, a panel for each group.

    Parameters
    ----------
    panels : mapping of str to mapping of str to (omega, values)
        Title, then label, then a curve; the labels of a panel are its legend.
    """
    figure = style.card(4.1, "Response to a wave on the two grids")
    ticks = {0: "0", np.pi / 2: "π/2", np.pi: "π"}
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        for label, (omega, values) in curves.items():
            look = next((look for word, look in _LINES.items() if word in label), {"color": INK})
            ax.plot(omega, values, label=label, **({"linewidth": 1.8} | look))
        ax.axvspan(np.pi / 2, np.pi, color=style.GRID, zorder=-2, linewidth=0)
        ax.set_xticks(list(ticks), list(ticks.values()))
        ax.set(title=title, xlim=(0, np.pi), ylim=(0, None), xlabel="ω, radians per fine cell")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    style.note(figure, "Shaded: frequencies above the Nyquist frequency of the coarse grid.\n"
               "Responses: root mean square over many kernels, relative to ω = 0.")  # fmt: skip
    return figure


@style.styled
def responses(rows: Mapping[str, Pictures]) -> Figure:
    """Draw parts of an image and the responses of kernels to them, in one colour scale.

    Parameters
    ----------
    rows : mapping of str to mapping of str to ndarray
        A row for each part; in it the part and the responses, named by column.
    """
    columns = list(next(iter(rows.values())))
    figure = style.card(0.7 + 2.1 * len(rows), "One kernel, two parts of one image")
    everything = np.concatenate([np.ravel(im) for row in rows.values() for im in row.values()])
    limit = np.quantile(np.abs(everything), 0.995)  # a few large values would pale all others
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for row, (part, pictures) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(row, pictures.values(), strict=True):
            shown = ax.imshow(image, cmap="RdBu_r", norm=CenteredNorm(0, limit))
            ax.set_xlabel(f"rms {np.sqrt(np.square(image).mean()):.2f}")
            style.bare(ax)
        row[0].set_ylabel(part)
    for ax, name in zip(axes[0], columns, strict=True):
        ax.set_title(name)
    figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02, aspect=30, extend="both")
    return figure


@style.styled
def weight_sheets(sheets: Pictures) -> Figure:
    """Draw blocks of classifier weights before and after smoothing (Fig. 3.1).

    Parameters
    ----------
    sheets : mapping of str to ndarray, shape (2, columns, m, m)
        Two rows of blocks; each sheet has its own colour scale, told beside it.
    """
    figure = style.card(4.2, "Figure 3.1: random classifier weights, and the same ones smoothed")
    axes = figure.subplots(len(sheets), 1, squeeze=False)[:, 0]
    for ax, (name, blocks) in zip(axes, sheets.items(), strict=True):
        padded = np.pad(blocks, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
        sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in padded])
        limit = np.abs(blocks).max()
        shown = ax.imshow(sheet, cmap="RdBu_r", norm=CenteredNorm(0, limit))
        style.bare(ax)
        side, place = ("center", "bottom") if style.on_phone() else ("left", "right")
        ax.set_title(f"{name}: roughness ‖∇W‖/‖W‖ = {roughness(blocks).mean():.2f}", loc=side)
        figure.colorbar(
            shown, ax=ax, label="weight", pad=0.015, shrink=0.85, location=place,
        )  # fmt: skip
    return figure


@style.styled
def architectures(networks: Mapping[str, Sequence[LayerOutput]]) -> Figure:
    """Draw networks as the sequence of their layers' outputs, with shapes (§3.2).

    The width of a square is that of the maps; more sheets stand for more channels.
    """
    longest = max(len(stages) for stages in networks.values())
    largest = max(stage.side for stages in networks.values() for stage in stages)
    phone = style.on_phone()  # layers follow one another downwards there
    height = 0.64 * (2.1 * (longest - 1) + 1.3) + 0.6 if phone else 1.55 * len(networks)
    figure = style.card(height + 0.4, "The layers of the two networks")
    grid_of_axes = (1, len(networks)) if phone else (len(networks), 1)
    axes = figure.add_gridspec(*grid_of_axes).subplots(squeeze=False).ravel()

    def at(along: float, across: float) -> tuple[float, float]:
        return (across, -along) if phone else (along, across)

    beside = {"ha": "left", "va": "center"}
    for ax, (name, stages) in zip(axes, networks.items(), strict=True):
        places = np.linspace(0, 2.1 * (longest - 1), len(stages))
        for place, stage in zip(places, stages, strict=True):
            size = max(0.85 * stage.side / largest, 0.1)
            for sheet in range(min(stage.channels, 4) if stage.side > 1 else 1, 0, -1):
                shift = 0.05 * (sheet - 1) - size / 2
                corner = (shift, shift - float(place)) if phone else (float(place) + shift, shift)
                ax.add_patch(Rectangle(corner, size, size, facecolor=style.CARD, edgecolor=INK))
            grid = f"{stage.channels} × {stage.side}×{stage.side}"
            shape = grid if stage.side > 1 else f"{stage.channels}"
            below = {"ha": "center", "va": "top"}
            ax.text(*at(place, 0.75 if phone else -0.58), shape, **(beside if phone else below))
        for left, right, stage in zip(places, places[1:], stages[1:], strict=False):
            ends = at(left + 0.66, 0), at(right - (0.65 if phone else 0.5), 0)
            arrow = FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=12, color=MUTED)
            ax.add_patch(arrow)
            above = {"ha": "center", "va": "bottom"}
            ax.text(*at((left + right) / 2 + 0.08, 0.15 if phone else 0.1), stage.made_by,
                    fontsize=9, **(beside if phone else above))  # fmt: skip
        (left, top), (right, bottom) = at(-0.6, -0.6), at(places[-1] + 0.5, 2.0)
        low, high = sorted((top, bottom)) if phone else (-0.8, 0.75)
        ax.set(xlim=(left, right), ylim=(low, high), aspect="equal")
        ax.set_title(name, loc="left")
        style.bare(ax)
    style.note(figure, "On the arrows: what is done, and how many weights it has.")
    return figure


@style.styled
def trust_regions(cases: Sequence[Subproblem]) -> Figure:
    """Draw the model's contours, the trust region and the path of conjugate gradients ((3.7))."""
    figure = style.card(3.3, "CG-Steihaug in two dimensions")
    for ax, case in zip(figure.subplots(1, len(cases), squeeze=False)[0], cases, strict=True):
        _trust_region(ax, case)
    handles = [
        style.handle(color=MUTED, linewidth=0.8, label="model m, darker is lower"),
        style.handle(color=INK, linestyle="--", label="trust region"),
        style.handle(color=REFINED.colour, marker="o", label="CG path from 0"),
        style.handle(color=COPIED.colour, marker="*", markersize=13, linestyle="none",
                     label="step taken"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _trust_region(ax: Axes, case: Subproblem) -> None:
    """Draw one case; the window is a little wider than the disc and the path."""
    reach = 1.2 * max(case.radius, float(np.abs(case.path).max()))
    x, y = np.meshgrid(*[np.linspace(-reach, reach, 121)] * 2)
    p = np.stack([x, y], axis=-1)
    model = p @ case.g + 0.5 * np.einsum("...i,ij,...j", p, case.b, p)
    ax.contourf(x, y, model, levels=14, cmap=mpl.colormaps["Greys_r"], alpha=0.35)
    ax.contour(x, y, model, levels=14, colors=MUTED, linewidths=0.6, linestyles="solid")
    ax.add_patch(Circle((0, 0), case.radius, fill=False, linestyle="--", edgecolor=INK))
    ax.plot(*case.path.T, color=REFINED.colour, marker="o", markersize=5, linewidth=1.8)
    ax.plot(*case.path[-1], "*", color=COPIED.colour, markersize=13)
    ax.set(title=case.title, aspect="equal", xlabel="p₁", ylabel="p₂")
