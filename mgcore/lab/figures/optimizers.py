"""Figures that compare methods of retraining by the work that they need."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS, Look
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.study import Study
from mgcore.lab.verdict.metrics import trials_of

# The look of each method of retraining.
METHODS = {
    "SGD": Look("#444444", "o", "-", "SGD"),
    "classifier": Look("#0077bb", "^", "--", "classifier by CG, then SGD"),
    "joint": Look("#cc5500", "s", (0, (6, 1.5, 1, 1.5)), "CG-Steihaug for both"),
    "package": Look("#5b0f4f", "v", ":", "the package's method for both"),
}
FLOOR = 0.01  # % of error at which a logarithmic axis shows 0


def accuracy_by_work(study: Study, arm: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the work after each epoch of both stages, and the accuracy there.

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
            value += [row[f"{metric}_accuracy"] for row in rows]  # type: ignore[literal-required]
            done = work[-1]
        works.append(work)
        values.append(value)
    return np.mean(works, axis=0), np.array(values)


@style.styled
def error_by_work(studies: Mapping[str, Study], title: str) -> Figure:
    """Draw error against work for each initialisation and each method of retraining.

    To see: which method has the lowest error at equal work.

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
                work, values = accuracy_by_work(study, arm, metric)
                errors = np.maximum(100 - values, FLOOR)
                if len(errors) > 1:
                    ax.plot(work, errors.T, color=look.colour, linewidth=0.6, alpha=0.4)
                ax.plot(
                    work, errors.mean(0), color=look.colour, linestyle=look.line,
                    marker=look.marker, markersize=4, linewidth=1.6,
                )  # fmt: skip
            ax.set(yscale="log")
            ax.yaxis.set_major_formatter(style.PLAIN)
            ax.yaxis.set_minor_formatter(NullFormatter())
            ax.grid(axis="y")
            if row == 0:
                ax.set_title(f"{LOOKS[arm].label} initialisation")
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
