"""Tables of experiments in two stages: the classifier alone, then both (Tables 4.3 and 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mgcore.lab.pages.evidence import spread
from mgcore.lab.pages.tables import Table
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol.printed_tables import Stages
from mgcore.lab.records.schema import Trial
from mgcore.lab.records.study import Study
from mgcore.lab.verdict.metrics import cell, trials_of


def optimizer_table(
    trials: Sequence[Trial], thesis: Mapping[str, Stages] | None = None, caption: str = ""
) -> Table:
    """Return the six columns of Tables 4.3 and 4.4, ours above the thesis's.

    "Initial" is after the first epoch of a stage, "after" is after its last, as in the tables
    before.
    """
    rows = []
    for arm in CONDITIONS:
        row = [arm]
        for stage, run in (("classifier", f"{arm}_classifier"), ("network", arm)):
            names = ("1.training", "1.validation", "last.validation")
            for column, name in enumerate(names):
                text = spread([cell(t, f"{run}.{name}") for t in trials], 1)
                if thesis:
                    text += f"\nthesis {thesis[arm][stage][column]:.1f}"
                row.append(text)
        rows.append(row)
    heads = ("training\nepoch 1", "val.\nepoch 1", "val.\nlast")
    stages = ("classifier", "network")
    columns = ["start", *(f"{stage},\n{head}" for stage in stages for head in heads)]
    how = f"Accuracy in %: {trials_of(len(trials))}, so there is no interval."
    if len(trials) > 1:
        how = f"Accuracy in %: mean of {len(trials)} trials ± half-width of its 95 % interval."
    return Table(columns, rows, f"{caption} {how}".strip())


def stage_table(studies: Mapping[str, Study], caption: str = "") -> Table:
    """Return what training the classifier alone does to the gap, from before it to its end."""
    rows = []
    for heading, study in studies.items():
        for arm in CONDITIONS:
            gaps = {
                epoch: [cell(t, f"{arm}_classifier.{epoch}.gap") for t in study.trials]
                for epoch in ("0", "1", "last")
            }
            ends = [
                [cell(t, f"{arm}_classifier.{epoch}.validation") for t in study.trials]
                for epoch in ("0", "last")
            ]
            cells = [*gaps.values(), _less(gaps["last"], gaps["0"]), _less(ends[1], ends[0])]
            rows.append([f"{heading}\n{arm}", *(spread(values, 1) for values in cells)])
    return Table(
        ["study, start", "gap\nbefore", "gap\nepoch 1", "gap\nlast", "gap,\nlast − before",
         "validation,\nlast − before"],
        rows,
        f"{caption} Gap: training less validation accuracy, in points, through the stage that "
        "trains the classifier alone. Mean over trials ± half-width of the 95 % interval.".strip(),
    )  # fmt: skip


def _less(first: list[float], second: list[float]) -> list[float]:
    return [a - b for a, b in zip(first, second, strict=True)]
