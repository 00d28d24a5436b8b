"""Figures of the chapter on the PDE view: flows, orders, operators and pictures over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS, SERIES
from mgcore.operators import OPERATORS


@style.styled
def flow_paths(exact: np.ndarray, rough: Mapping[str, np.ndarray]) -> Figure:
    """Draw the paths of a few points through residual networks of different step sizes.

    To see: a network with many layers and a small step follows the flow; one with few layers and
    a large step departs from it.

    Parameters
    ----------
    exact : ndarray, shape (times, points, 2)
        The flow itself, finely sampled.
    rough : mapping of str to ndarray, shape (layers + 1, points, 2)
        Paths through networks by the title of their panel.
    """
    figure = style.card(3.1, "Two features in the layers of residual networks")
    axes = figure.subplots(1, len(rough), sharex=True, sharey=True, squeeze=False)[0]
    far = 1.08 * max(float(np.abs(path).max()) for path in (exact, *rough.values()))
    for ax, (name, path) in zip(axes, rough.items(), strict=True):
        for point in range(exact.shape[1]):
            look = SERIES[point % len(SERIES)]
            ax.plot(*exact[:, point].T, color=style.MUTED, linewidth=3.5, alpha=0.35)
            ax.plot(*path[:, point].T, color=look.colour, marker=look.marker, linewidth=1,
                    markersize=max(2.2, 5 - 0.1 * len(path)))  # fmt: skip
            ax.plot(*exact[0, point], marker="o", markersize=9, color="none",
                    markeredgecolor=style.INK)  # fmt: skip
        ax.set(title=name, xlabel="feature 1", xlim=(-far, far), ylim=(-far, far), box_aspect=1)
        ax.grid()
    axes[0].set_ylabel("feature 2")
    style.note(
        figure, "Rings: inputs.  Broad grey lines: the flow.  Markers: layers of the network."
    )
    return figure


@style.styled
def stability(
    rotation: Mapping[str, np.ndarray],
    decay: Mapping[str, tuple[np.ndarray, np.ndarray]],
    growth: Mapping[str, Sequence[float]],
    modes: Mapping[str, complex],
) -> Figure:
    """Draw two methods on a rotation and on a decay, and their regions of stability.

    To see: Euler leaves the circle; a decay becomes unstable for large steps only; the place of hλ.

    Parameters
    ----------
    rotation : mapping of str to ndarray, shape (steps + 1, 2)
    decay : mapping of str to (times, values)
    growth : mapping of str to sequences of float
        Of each method the polynomial r(hλ), by which a step multiplies a mode; constant first.
    modes : mapping of str to complex
        Values of hλ, drawn into the plane of the third panel.
    """
    figure = style.card(3.45, "Euler and Runge–Kutta on a rotation and on a decay")
    left, middle, right = figure.subplots(1, 3)
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200))
    left.plot(circle.real, circle.imag, color=style.MUTED, linewidth=3.5, alpha=0.35)
    for look, (name, path) in zip(SERIES, rotation.items(), strict=False):
        left.plot(*path.T, color=look.colour, marker=look.marker, markersize=3.5, linewidth=1,
                  label=name)  # fmt: skip
    far = 1.08 * max(float(np.abs(path).max()) for path in rotation.values())
    left.set(title="rotation", xlabel="feature 1", ylabel="feature 2")
    left.set(xlim=(-far, far), ylim=(-far, far))
    for look, (name, (times, values)) in zip(SERIES, decay.items(), strict=False):
        middle.plot(times, values, color=look.colour, marker=look.marker, linestyle=look.line,
                    markersize=3.5, linewidth=1.2, label=name)  # fmt: skip
    middle.axhline(0, color=style.MUTED, linewidth=0.8)
    middle.set(title="decay", xlabel="time t", ylabel="feature")
    _regions(right, growth, modes)
    for ax in (left, middle, right):
        ax.set_box_aspect(1)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), fontsize=8.5)
    return figure


def _regions(ax: Axes, growth: Mapping[str, Sequence[float]], modes: Mapping[str, complex]) -> None:
    """Draw where a step of each method makes no mode longer: |r(hλ)| ≤ 1."""
    x, y = np.meshgrid(np.linspace(-4.4, 2.0, 321), np.linspace(-3.2, 3.2, 321))
    for look, line, (name, taylor) in zip(SERIES, ("-", "--", ":"), growth.items(), strict=False):
        size = np.abs(np.polyval(taylor[::-1], x + 1j * y))
        ax.contourf(x, y, size, levels=[0, 1], colors=[look.colour], alpha=0.16)
        ax.contour(x, y, size, levels=[1], colors=[look.colour], linestyles=line, linewidths=1.3)
        ax.plot([], [], color=look.colour, linestyle=line, label=f"{name}: stable inside")
    for marker, (name, value) in zip("P*Xd", modes.items(), strict=False):
        ax.plot(value.real, value.imag, marker=marker, markersize=8, color=style.INK,
                markeredgecolor=style.CARD, linestyle="none", label=name)  # fmt: skip
    ax.axhline(0, color=style.MUTED, linewidth=0.8)
    ax.axvline(0, color=style.MUTED, linewidth=0.8)
    ax.set(title="stability regions", xlabel="real part of hλ", ylabel="imaginary part")


@style.styled
def orders(
    h: np.ndarray, errors: Mapping[str, np.ndarray], title: str, slopes: Mapping[str, int]
) -> Figure:
    """Draw errors over step or mesh size, on logarithmic axes.

    To see: which slope each curve has; its order.  `slopes` draws a line of the given slope below
    the curve of that name.
    """
    figure = style.card(3.5, title)
    ax = figure.subplots()
    for look, (name, error) in zip(SERIES, errors.items(), strict=False):
        ax.loglog(h, error, color=look.colour, marker=look.marker, linestyle=look.line,
                  markersize=5, label=name)  # fmt: skip
    for name, slope in slopes.items():
        guide = 0.35 * errors[name][-1] * (h / h[-1]) ** slope
        ax.loglog(h, guide, color=style.MUTED, linewidth=0.8)
        ax.annotate(f"slope {slope}", (h[len(h) // 2], guide[len(h) // 2]), xytext=(6, -11),
                    fontsize=9, textcoords="offset points", color=style.MUTED)  # fmt: skip
    ax.set(xlabel="step or mesh size h", ylabel="error")
    ticks = h[:: 2 if style.on_phone() else 1]
    ax.set_xticks(ticks, [str(Fraction(float(size)).limit_denominator(10**4)) for size in ticks])
    ax.minorticks_off()
    ax.grid()
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@style.styled
def nine_operators(stencils: np.ndarray, responses: np.ndarray) -> Figure:
    """Draw the kernels of the nine operators and their responses to an image.

    To see: derivatives along u (downwards in the table) find horizontal edges, along v vertical
    ones; the higher the order, the rougher the response.

    Parameters
    ----------
    stencils : ndarray, shape (9, 3, 3)
        In the order of ``OPERATORS[2]``.
    responses : ndarray, shape (9, n, n)
    """
    phone = style.on_phone()  # the response is below the numbers there, and beside them elsewhere
    title = "The nine operators of a 3×3 kernel, and their responses"
    figure = style.card(8.0 if phone else 5.5, title)
    table = figure.subfigures(3, 3, squeeze=False, wspace=0.03, hspace=0.03)
    for place, operator in enumerate(OPERATORS[2]):
        part = table[operator.orders]
        name = f"β{chr(0x2081 + place)}:  {operator.name}"
        if phone:
            small, large = part.subplots(2, 1)
            small.set_title(name, fontweight="bold")
        else:
            part.suptitle(name, fontsize=10, y=0.98)
            small, large = part.subplots(1, 2, width_ratios=(1, 1.35))
        _numbers(small, stencils[place], float(np.abs(stencils[place]).max()))
        _picture(large, responses[place])
    how = "u runs down, v to the right; mesh size 1.  Orange: positive; blue: negative; white: 0."
    style.note(figure, f"{how}\nEach picture is on its own scale.")
    return figure


def _picture(ax: Axes, values: np.ndarray, limit: float = 0.0, signed: bool = True) -> None:
    """Show a picture: if its sign matters, orange above 0 and blue below."""
    norm = CenteredNorm(0, limit or float(np.abs(values).max()) or 1.0) if signed else None
    ax.imshow(values, cmap="PuOr_r" if signed else "gray", norm=norm)
    style.bare(ax)


def _numbers(ax: Axes, values: np.ndarray, limit: float) -> None:
    """Show the numbers of a stencil on colours so pale that they can be read."""
    _picture(ax, values, 1.8 * limit)
    for (row, column), value in np.ndenumerate(values):
        exact = Fraction(float(value))  # of a power of ½ for the operators' stencils
        text = str(exact) if exact.denominator <= 16 else f"{value:.2f}".replace("0.", ".")
        size = style.SMALLEST if style.on_phone() else 7.5
        ax.text(column, row, text.replace("-", "−"), ha="center", va="center", fontsize=size)


@style.styled
def kernel_operators(
    kernels: Mapping[str, np.ndarray], beta: Sequence[Mapping[str, np.ndarray]]
) -> Figure:
    """Draw a kernel on each grid, and its nine coefficients β.

    To see: the operators of the kernel, and the versions in which they agree.

    Parameters
    ----------
    kernels : mapping of str to ndarray, shape (3, 3)
    beta : sequence of mappings of str to ndarray, shape (9,)
        A panel for each, with three entries: of a kernel that is coarse, copied, and refined.
    """
    phone = style.on_phone()
    figure = style.card(11 if phone else 5.6, "One trained kernel, as numbers and as operators")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 2.1))[:, 0]
    limit = max(float(np.abs(kernel).max()) for kernel in kernels.values())
    down = 2 if phone else 1
    places = above.subplots(down, -(-len(kernels) // down), squeeze=False).ravel()
    for spare in places[len(kernels) :]:
        spare.remove()
    for ax, (name, kernel) in zip(places, kernels.items(), strict=False):
        _numbers(ax, kernel, limit)
        ax.set_title(name, fontsize=9)
    down, across = (len(beta), 1) if phone else (1, len(beta))
    axes = below.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, entries in zip(axes, beta, strict=True):
        runs = zip(("coarse", "transfer", "multigrid"), entries.items(), strict=True)
        for lane, (run, (name, values)) in enumerate(runs):
            look, at = LOOKS[run], np.arange(9) + 0.24 * (lane - 1)
            ax.hlines(at, 0, values, color=look.colour, linewidth=1)
            ax.plot(values, at, color=look.colour, marker=look.marker, linestyle="none",
                    markersize=5.5, label=name)  # fmt: skip
        ax.axvline(0, color=style.MUTED, linewidth=0.8)
        ax.grid(axis="x")
        ax.set(yticks=range(9), yticklabels=[o.name for o in OPERATORS[2]], xlabel="coefficient β")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17))
    axes[0].invert_yaxis()
    return figure


@style.styled
def filmstrip(
    rows: Mapping[str, Sequence[tuple[str, np.ndarray, str]]], title: str, how: str, signed: bool
) -> Figure:
    """Draw rows of pictures: each with a heading above and a caption below.

    Parameters
    ----------
    rows : mapping of str to sequences of (heading, ndarray of shape (n, n), caption)
        Their names stand on the left.
    title, how : str
        Of the figure; how to read it, below.
    signed : bool
        Orange above 0 and blue below, rather than grey from the least value to the largest.
    """
    drawn = style.lines_of_pictures(rows)
    across = max(len(row) for _, row in drawn)
    wide = style.width() / (across + 0.4)
    figure = style.card(0.75 + len(drawn) * (wide + 0.45), title)
    axes = figure.subplots(len(drawn), across, squeeze=False)
    for line, (name, row) in zip(axes, drawn, strict=True):
        for ax in line[len(row) :]:
            ax.axis("off")
        for ax, (heading, picture, caption) in zip(line, row, strict=False):
            _picture(ax, picture, signed=signed)
            ax.set_title(heading, fontsize=9)
            ax.set_xlabel(caption, fontsize=9, labelpad=3)
        line[0].set_ylabel(name)
    style.note(figure, how)
    return figure
