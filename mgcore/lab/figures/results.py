"""Every figure of the book, as a function of data: curves here, pictures in a file of their own.

Each takes trials (:meth:`mgcore.lab.records.record.Record.trials`) or the arrays of a record
(:meth:`mgcore.lab.records.record.Record.arrays`) and returns a figure that Jupyter shows where it is the
last expression of a cell; titles and notes say how to read it, and claim nothing about the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from mgcore.lab.figures import style
from mgcore.lab.figures.pictures import classifier_blocks, loss_surfaces, propagation
from mgcore.lab.figures.style import LOOKS, THESIS
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol.printed_tables import TABLE_4_1, Pairs
from mgcore.lab.records.schema import Trial
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.metrics import at_epoch, roughness, trials_of

__all__ = [
    "accuracy_table_plot",
    "classifier_blocks",
    "convergence",
    "loss_surfaces",
    "propagation",
    "roughness",
]

LINES = 10  # trials, at most, that are told apart by lines of their own
FLOOR = 0.005  # % of error: where a logarithmic axis puts 0; one image in 10,000 is above it


@style.styled
def convergence(
    records: Mapping[str, Sequence[Trial]],
    thesis: Mapping[str, Pairs] | None = TABLE_4_1,
    title: str = "Error before, during and after retraining",
) -> Figure:
    """Draw the error by epoch, of coarse training and then of retraining (Fig. 4.1).

    To see: how low each start of the fine network begins and ends on training images, and that the
    same lines on validation images need not be in the same order.

    Parameters
    ----------
    records : mapping of str to trials
        A column for each, under its name; for instance two preparations of the training images.
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
    """Draw one panel, the coarse network left and the arms right; return the least error in it."""
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
        marker = {"color": look.colour, "marker": look.marker, "linestyle": "none", "zorder": 4}
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
def accuracy_table_plot(
    records: Mapping[str, Sequence[Trial]], thesis: Mapping[str, Pairs] | None = TABLE_4_1
) -> Figure:
    """Draw each cell of Table 4.1: means with 95 % intervals against the thesis's diamonds.

    To see: which cells the diamond falls into, and how far apart training and validation are.
    Arguments as for :func:`convergence`; a marker for each record, filled, then hollow.
    """
    counts = sorted({len(trials) for trials in records.values()})
    of = " and ".join(str(count) for count in counts) if len(counts) > 1 else ""
    of = f"{of} trials" if of else trials_of(counts[0])
    bar = ", bars: 95 % interval" if counts[-1] > 1 else " (no interval)"
    figure = style.card(4.5, f"Accuracy after retraining: mean of {of}{bar}")
    axes = figure.subplots(2, 2, sharex="col", sharey=True)
    metrics = next(iter(records.values()))[0]["metrics"]
    arms = [arm for arm in reversed(CONDITIONS) if arm in metrics]
    epochs = (1, metrics[arms[0]][-1]["epoch"])
    lanes = np.linspace(0.25, -0.25, len(records)) if len(records) > 1 else [0.0]
    for (row, column), ax in np.ndenumerate(axes):
        images, epoch = ("training", "validation")[column], epochs[row]
        for place, arm in enumerate(arms):
            look = LOOKS[arm]
            for number, (lane, trials) in enumerate(zip(lanes, records.values(), strict=True)):
                mean, half = interval(at_epoch(trials, arm, epoch, f"{images}_accuracy"))
                ax.errorbar(
                    mean, place + lane, xerr=half, color=look.colour, marker=look.marker,
                    markersize=6, markerfacecolor=style.CARD if number else look.colour,
                    capsize=3, elinewidth=1.4,
                )  # fmt: skip
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
    dot = {"color": style.MUTED, "marker": "o", "linestyle": "-", "markersize": 6}
    handles = [
        style.handle(**dot, markerfacecolor=style.CARD if number else style.MUTED, label=name)
        for number, name in enumerate(records)
    ]
    figure.legend(
        handles=handles + [style.handle(**THESIS)] * bool(thesis), loc="outside lower center",
        ncols=len(handles) + 1,
    )  # fmt: skip
    return figure
