"""A figure that compares methods of retraining by their error and the work that they need."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from mgcore.lab.figures import style
from mgcore.lab.figures.style import LOOKS
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.study import Study
from mgcore.lab.verdict.metrics import trials_of

# Methods of retraining, in the order of their lanes; conditions own the colours.
METHODS = {
    "SGD": "SGD",
    "classifier": "classifier by CG, then SGD",
    "joint": "CG-Steihaug for both",
    "package": "the package's method for both",
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
    """Draw the error at the end of retraining, a dot for each trial, by condition and method.

    To see: which method ends with the lowest error, and how much work it spent.

    Parameters
    ----------
    studies : mapping
        By a key of :data:`METHODS`.
    title : str
    """
    group = len(studies) + 0.7
    figure = style.card(1.35 + 0.2 * len(CONDITIONS) * group, title)
    axes = figure.subplots(1, 2, sharey=True)
    lanes: dict[float, str] = {}
    for ax, metric in zip(axes, ("training", "validation"), strict=True):
        for place, condition in enumerate(CONDITIONS):
            look = LOOKS[condition]
            for lane, (method, study) in enumerate(studies.items()):
                y = -(place * group + lane)
                work, values = accuracy_by_work(study, condition, metric)
                lanes[y] = f"{METHODS[method]} ({work[-1]:.0f})"
                errors = np.maximum(100 - values[:, -1], FLOOR)
                ax.plot(errors, np.full(len(errors), y), marker=look.marker, linestyle="none",
                        color=look.colour, markersize=5, alpha=0.5, markeredgewidth=0)  # fmt: skip
                ax.plot(errors.mean(), y, marker="|", color=look.colour, markersize=13,
                        markeredgewidth=2.2)  # fmt: skip
            if ax is axes[1]:
                ax.annotate(look.label, (1.02, -(place * group + (len(studies) - 1) / 2)),
                            xycoords=ax.get_yaxis_transform(), rotation=-90, va="center",
                            color=look.colour, fontweight="bold")  # fmt: skip
        ax.set(xscale="log", xlabel=f"{metric} error in %")
        low, high = ax.get_xlim()
        ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1, 2, 3, 5, 10, 20, 30, 50) if low < t < high]
        ticks = ticks[:: 1 + len(ticks) // 8]
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: "0" if value <= FLOOR else f"{value:g}")
        )
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(axis="x")
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(list(lanes), list(lanes.values()))
    counts = sorted({len(study.trials) for study in studies.values()})
    number = (
        f"{', '.join(map(str, counts[:-1]))} or {counts[-1]} trials"
        if len(counts) > 1
        else trials_of(counts[0])
    )
    style.note(figure, f"A dot is one trial ({number}), a bar the mean.\nIn brackets: work in "
               "epochs of SGD since coarse training.")  # fmt: skip
    return figure
