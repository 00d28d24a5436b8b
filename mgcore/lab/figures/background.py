"""Figures of the chapter on networks (thesis §2.1–2.2).

Curves have the colours and lines of :mod:`mgcore.lab.figures.style`, which here do not stand for
the initialisations of a fine network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from mgcore.lab.figures import style
from mgcore.lab.figures.style import SERIES


def _line(number: int, **changes: Any) -> dict[str, Any]:
    """Return colour and dashes of the curve of this number."""
    look = SERIES[number]
    return {"color": look.colour, "linestyle": look.line, "linewidth": 1.8} | changes


def _picture(ax: Axes, values: np.ndarray, signed: bool, title: str = "") -> None:
    """Show one map, large values dark: on white paper, or on grey for 0 where values have signs."""
    high = max(float(np.abs(values).max()), 1e-12)
    ax.imshow(values, cmap="gray_r", vmin=-high if signed else 0.0, vmax=high)
    style.bare(ax)
    ax.set_title(title, fontsize=9)


@style.styled
def digits_on_grids(images: Mapping[int, np.ndarray]) -> Figure:
    """Draw the same digits on several grids, a column for each digit and a row for each grid.

    To see: the digit stays, its cells shrink.

    Parameters
    ----------
    images : mapping of int to ndarray, shape (count, n, n)
        Under n, the cells along a side.
    """
    count = len(next(iter(images.values())))
    height = 0.75 + len(images) * (style.width() - 0.9) / count
    figure = style.card(height, "The same digits, sampled at the cell centres of three grids")
    axes = figure.subplots(len(images), count, squeeze=False)
    for row, (n, pictures) in zip(axes, images.items(), strict=True):
        for ax, picture in zip(row, pictures, strict=True):
            _picture(ax, picture, signed=False)
        row[0].set_ylabel(f"{n} × {n}")
    return figure


@style.styled
def responses(rows: Mapping[str, Mapping[str, np.ndarray]], title: str, note: str) -> Figure:
    """Draw pictures in rows and columns, each in its own grey scale.

    Parameters
    ----------
    rows : mapping of str to mapping of str to ndarray, shape (m, n)
        Names of rows, in them titles of pictures.  Large values are dark; 0 is grey where a
        picture has negative values, and white otherwise.
    title, note : str
    """
    drawn = style.lines_of_pictures({name: list(row.items()) for name, row in rows.items()})
    across = max(len(row) for _, row in drawn)
    room = 0.35 if any(rows) else 0.0
    each = (style.width() - room) / across
    lines = 1 + max(name.count("\n") for row in rows.values() for name in row)
    figure = style.card(0.75 + len(drawn) * (0.95 * each + 0.05 + 0.14 * lines), title)
    axes = figure.subplots(len(drawn), across, squeeze=False)
    for line, (name, row) in zip(axes, drawn, strict=True):
        for ax in line[len(row) :]:
            ax.set_visible(False)
        for ax, (heading, values) in zip(line, row, strict=False):
            _picture(ax, values, bool(values.min() < 0), heading)
        line[0].set_ylabel(name)
    style.note(figure, note)
    return figure


@style.styled
def losses() -> Figure:
    """Draw the error and the cross-entropy of one example of two classes against its margin.

    To see: the error is constant almost everywhere, so its gradient is zero; the cross-entropy
    decreases everywhere, and equals log 2 where the error jumps.
    """
    figure = style.card(2.9, "Two measures of a mistake")
    ax = figure.subplots()
    margin = np.linspace(-4, 4, 321)
    for number, (x, y, name) in enumerate((
        (margin[margin > 0], 0 * margin[margin > 0], "error: 1 if wrong, else 0"),
        (margin, np.log1p(np.exp(-margin)), "cross-entropy: log(1 + exp(−margin))"),
    )):  # fmt: skip
        ax.plot(x, y, **_line(number), label=name)
    ax.plot(margin[margin < 0], 1 + 0 * margin[margin < 0], **_line(0))
    ax.plot(0, np.log(2), marker="o", color=SERIES[1].colour, markersize=6)
    ax.annotate("log 2", (0, np.log(2)), (0.25, 0.85), fontsize=9)
    ax.set(xlabel="margin: logit of the right class minus logit of the other", ylabel="loss")
    ax.grid(axis="y")
    ax.legend(loc="upper right")
    return figure


@style.styled
def descents(paths: Mapping[int, np.ndarray], epochs: Mapping[str, np.ndarray]) -> Figure:
    """Draw what single steps and whole epochs of gradient descent do to the objective.

    To see: the smaller the minibatch, the rougher the way down; momentum goes further with the
    same learning rates.

    Parameters
    ----------
    paths : mapping of int to ndarray, shape (steps + 1,)
        Objective on all training images before each step, under the size of the minibatch.
    epochs : mapping of str to ndarray, shape (epochs + 1,)
        Objective after whole epochs, under the name of the method.
    """
    figure = style.card(3.4, "Stochastic gradient descent on one small problem")
    axes = figure.subplots(1, 2, sharey=True)
    for number, (batch, path) in enumerate(paths.items()):
        last = number == len(paths) - 1  # the full gradient: wide and below, for others to leave
        wide = {"linewidth": 5, "color": "#bcbcb6", "linestyle": "-", "zorder": 1}
        look = wide if last else {}
        name = f"all {batch} at once" if last else f"minibatch of {batch}"
        axes[0].plot(path, **_line(number, **look), label=name)
    for number, (name, values) in enumerate(epochs.items()):
        axes[1].plot(values, **_line(2 + number), marker=SERIES[2 + number].marker, markersize=4,
                     label=name)  # fmt: skip
    axes[0].set(xlabel="step", ylabel="objective on all training images")
    axes[1].set(xlabel="epoch", title="the thesis's schedule, minibatch of 32")
    axes[0].set_title("constant learning rate")
    axes[1].xaxis.get_major_locator().set_params(integer=True)
    for ax in axes:
        ax.grid(axis="y")
        ax.legend()
    return figure


@style.styled
def overfitting(
    few: Mapping[str, np.ndarray], count: int, gaps: Mapping[str, np.ndarray], sizes: Sequence[int]
) -> Figure:
    """Draw training and validation apart: over the steps of one run, and by how many images.

    To see: with few images the training loss keeps falling while the validation loss rises; the
    gap between the errors closes as images are added, from both sides.

    Parameters
    ----------
    few : mapping of str to ndarray, shape (points, 2)
        Step and loss, under "training" and "validation", of a run with `count` images.
    count : int
    gaps : mapping of str to ndarray, shape (sizes,)
        Error in percent at the end of training, under the same names.
    sizes : sequence of int
        Training images of each run.
    """
    figure = style.card(3.5, "The same classifier, trained on few and on many digits")
    left, right = figure.subplots(1, 2)
    for number, name in enumerate(few):
        look = {"marker": SERIES[number].marker, "markersize": 5}
        left.plot(*np.asarray(few[name]).T, **_line(number), label=name)
        right.plot(sizes, gaps[name], **_line(number), **look, label=name)
    right.fill_between(sizes, *gaps.values(), color=style.GRID, zorder=0, label="gap")
    left.set(
        xlabel="step", ylabel="cross-entropy", title=f"{count} training images", ylim=(0, None)
    )
    right.set(xscale="log", xlabel="training images", ylabel="error in %", ylim=(-1.5, None))
    right.set_title("after equally many steps")
    right.xaxis.set_major_locator(FixedLocator(list(sizes)[:: 2 if len(sizes) > 6 else 1]))
    right.xaxis.set_minor_locator(NullLocator())
    right.xaxis.set_major_formatter(style.PLAIN)
    for ax in (left, right):
        ax.grid(axis="y")
        ax.legend()
    return figure


@style.styled
def operators(convolution: np.ndarray, dense: np.ndarray) -> Figure:
    """Draw the matrices of a convolution and of a dense layer on the same small grid.

    To see: the convolution's few numbers, repeated along diagonals; none of the dense ones repeat.

    Parameters
    ----------
    convolution, dense : ndarray, shape (n², n²)
    """
    figure = style.card(4.05, "The inputs of each output cell: the matrix, row by row")
    axes = figure.subplots(1, 2)
    side = round(len(convolution) ** 0.5)
    for ax, matrix, name in zip(axes, (convolution, dense), ("convolution", "dense"), strict=True):
        numbers = len(np.unique(matrix[matrix != 0]))
        limit = np.abs(matrix).max()
        ax.imshow(np.where(matrix, matrix, np.nan), cmap="PuOr", vmin=-limit, vmax=limit)
        lines = np.arange(side, len(matrix), side) - 0.5
        ax.set_xticks(lines, minor=True)
        ax.set_yticks(lines, minor=True)
        ax.grid(which="minor")
        ax.tick_params(which="both", length=0)
        ax.set(xticks=[], yticks=[], xlabel="cell of the input", ylabel="cell of the output")
        ax.set_title(f"{name}: {np.count_nonzero(matrix)} entries, {numbers} different")
        ax.spines[:].set_visible(True)
    style.note(figure, f"A grid of {side} × {side} cells, in rows; lines part the rows of the "
               "grid.  Blank: 0, purple: positive,\norange: negative, darker: larger.")  # fmt: skip
    return figure


@style.styled
def depths(curves: Mapping[str, Mapping[int, np.ndarray]]) -> Figure:
    """Draw the training loss of networks of several depths, a panel for each architecture.

    Parameters
    ----------
    curves : mapping of str to mapping of int to ndarray, shape (epochs + 1,)
        Loss before training and after each epoch, under the number of layers.
    """
    figure = style.card(3.2, "Does depth help?  Loss on the training images")
    for number, (name, losses) in enumerate(curves.items()):
        ax = figure.add_subplot(
            1, len(curves), 1 + number, sharey=figure.axes[0] if number else None
        )
        for place, (depth, loss) in enumerate(losses.items()):
            layers = f"{depth} layer{'s' * (depth != 1)}"
            ax.plot(loss, **_line(place), marker=SERIES[place].marker, markersize=5, label=layers)
        ax.set(xlabel="epoch", title=name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(axis="y")
        ax.legend()
    figure.axes[0].set(ylabel="cross-entropy", ylim=(0, None))
    return figure
