"""Figures that compare studies: generalization gaps, and optimizers by epoch and by work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS, THESIS, Look
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol.printed_tables import Pairs
from mgcore.lab.records.schema import Trial
from mgcore.lab.records.study import Study
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.metrics import cell, trials_of

Trials = Sequence[Trial]

# Methods of retraining, drawn alike wherever they are compared.
METHODS = {
    "SGD": Look("#444444", "o", "-", "SGD"),
    "classifier": Look("#0077bb", "^", "--", "classifier by CG, then SGD"),
    "joint": Look("#cc5500", "s", (0, (6, 1.5, 1, 1.5)), "CG-Steihaug for both"),
    "package": Look("#5b0f4f", "v", ":", "the package's method for both"),
}
FLOOR = 0.01  # % of error where a logarithmic axis puts 0


@style.styled
def gap_plot(panels: Mapping[str, tuple[Mapping[str, Trials], Mapping[str, Pairs]]]) -> Figure:
    """Draw training minus validation accuracy after the last epoch, network beside network.

    To see: which start has a gap, in which network, and where the thesis's diamond lies.

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
        lanes = np.linspace(0.22, -0.22, len(records)) if len(records) > 1 else [0.0]
        for place, arm in enumerate(reversed(CONDITIONS)):
            look = LOOKS[arm]
            for number, (lane, trials) in enumerate(zip(lanes, records.values(), strict=True)):
                mean, half = interval([cell(t, f"{arm}.last.gap") for t in trials])
                ax.errorbar(
                    mean, place + lane, xerr=half, color=look.colour, marker=look.marker,
                    markersize=6, markerfacecolor=style.CARD if number else look.colour,
                    capsize=3, elinewidth=1.4,
                )  # fmt: skip
            ax.plot(thesis[arm]["training"][1] - thesis[arm]["validation"][1], place, **THESIS)
        counts = sorted({len(trials) for trials in records.values()})
        ax.set_title(f"{heading} ({' and '.join(map(str, counts))} trials)")
        ax.set(
            yticks=range(len(CONDITIONS)), yticklabels=list(reversed(CONDITIONS)), xlabel="points"
        )
        ax.set_ylim(-0.5, len(CONDITIONS) - 0.5)
        ax.axvline(0, color=style.MUTED, linewidth=0.8)
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    dot = {"color": style.MUTED, "marker": "o", "linestyle": "-", "markersize": 6}
    handles = [
        style.handle(**dot, markerfacecolor=style.CARD if number else style.MUTED, label=name)
        for number, name in enumerate(names)
    ]
    figure.legend(handles=[*handles, style.handle(**THESIS)], loc="outside lower center", ncols=3)
    return figure


def by_work(study: Study, arm: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the work after each epoch of both stages, and what was measured there.

    Parameters
    ----------
    study : Study
    arm : str
    metric : {"training", "validation"}

    Returns
    -------
    work : ndarray, shape (points,)
        Mean over trials since the end of coarse training, in epochs of SGD.
    values : ndarray, shape (trials, points)
        Accuracy in percent.
    """
    size = study.protocol.n_fine
    works, values = [], []
    for trial in study.trials:
        runs = trial["metrics"]
        stages = [runs[run] for run in (f"{arm}_classifier", arm) if run in runs]
        done, work, value = 0.0, [], []
        for rows in stages:
            # Rows of SGD carry no work: an epoch is one gradient of each image.
            work += [done + row.get("work", row["epoch"] * size) / size for row in rows]
            work[-len(rows)] = done
            value += [row[f"{metric}_accuracy"] for row in rows]
            done = work[-1]
        works.append(work)
        values.append(value)
    return np.mean(works, axis=0), np.array(values)


@style.styled
def optimizers_by_work(studies: Mapping[str, Study], title: str) -> Figure:
    """Draw error against work for each start and each method of retraining.

    To see: which method's line is lowest where all have spent the same work.

    Parameters
    ----------
    studies : mapping
        By a key of :data:`METHODS`.
    title : str
    """
    figure = style.card(4.9, title)
    axes = figure.subplots(2, len(CONDITIONS), sharex=True, sharey="row")
    for row, metric in enumerate(("training", "validation")):
        for column, arm in enumerate(CONDITIONS):
            ax = axes[row, column]
            for method, study in studies.items():
                look = METHODS[method]
                work, values = by_work(study, arm, metric)
                errors = np.maximum(100 - values, FLOOR)
                if len(errors) > 1:
                    ax.plot(work, errors.T, color=look.colour, linewidth=0.6, alpha=0.4)
                ax.plot(
                    work, errors.mean(0), color=look.colour, linestyle=look.line,
                    marker=look.marker, markersize=4, linewidth=1.6,
                )  # fmt: skip
            ax.set(yscale="log")
            ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.grid(axis="y")
            if row == 0:
                ax.set_title(f"{LOOKS[arm].label} start")
            else:
                ax.set_xlabel("work in epochs of SGD")
            if column == 0:
                ax.set_ylabel(f"{metric} error in %")
    handles = [
        style.handle(
            color=METHODS[m].colour, marker=METHODS[m].marker, linestyle=METHODS[m].line,
            linewidth=1.6, markersize=4.5, label=f"{METHODS[m].label} ({trials_of(len(s.trials))})",
        )
        for m, s in studies.items()
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
