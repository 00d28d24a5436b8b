"""Tables for notebooks, as HTML and as plain text, and the intervals that stand in them."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol.printed_tables import Pairs
from mgcore.lab.records.schema import Trial
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.metrics import at_epoch, trials_of

DECIMALS = {"accuracy": 1, "loss": 3, "objective": 2}
PROSE, FOLD = 32, 60  # characters a line
_CAPTIONS = {"accuracy": "Accuracy in %", "loss": "Loss", "objective": "Objective"}


def _folded(text: str) -> list[str]:
    """Return the lines of a cell, long ones broken."""
    return [part for line in text.split("\n") for part in textwrap.wrap(line, FOLD) or [""]]


@dataclass(frozen=True)
class Link:
    """Text of a cell that leads to another page of the site; elsewhere it is the text alone."""

    text: str
    page: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, repr=False)
class Table:
    """A small table: HTML with real header cells in a page, aligned text anywhere else.

    The first column names the rows.  A line break in a cell or heading starts a new line in it.
    Where a cell has more to say than `PROSE` characters a line, its column is prose: left-aligned,
    and broken as the width of the page asks; as text its lines are broken at `FOLD`.

    Parameters
    ----------
    columns : sequence of str
        Headings, the one over the row names first.
    rows : sequence of sequences
        Strings, or anything that ``str`` turns into what is to be read.
    caption : str
        What the table says, so that it can be read alone.
    anchors : sequence of str
        Of the rows, for links to them; none by default.

    Raises
    ------
    ValueError
        If a row has another number of cells than there are columns, or anchors are not as many as
        rows.

    Examples
    --------
    >>> Table(("arm", "accuracy"), [("new", "96.4 ± 0.2"), ("transfer", 99.4)], "In %.")
    In %.
    arm       accuracy
    --------  ----------
    new       96.4 ± 0.2
    transfer  99.4
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    anchors: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse ragged rows."""
        if self.anchors and len(self.anchors) != len(self.rows):
            raise ValueError(
                f"anchors are {len(self.anchors)}; accepted: one for each of {len(self.rows)} rows."
            )
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"rows has one of {len(row)} cells; accepted: {len(self.columns)}, one for "
                    "each column."
                )

    def __repr__(self) -> str:
        grid = [[_folded(str(cell)) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(len(line) for row in grid for line in row[c]) for c in range(len(grid[0]))]

        def lines(row: list[list[str]]) -> list[str]:
            return [
                "  ".join(part.ljust(w) for part, w in zip(parts, widths, strict=True)).rstrip()
                for parts in zip_longest(*row, fillvalue="")
            ]

        rule = ["  ".join("-" * width for width in widths)]
        body = [lines(row) for row in grid[1:]]
        # Rows of several lines need air between them to be told apart.
        apart = [""] if any(len(row) > 1 for row in body) else []
        text = [self.caption] if self.caption else []
        text += lines(grid[0]) + rule
        for number, row in enumerate(body):
            text += (apart if number else []) + row
        return "\n".join(text)

    def _repr_html_(self) -> str:
        prose = [
            any(len(line) > PROSE for row in self.rows for line in str(row[c]).split("\n"))
            for c in range(len(self.columns))
        ]
        says = [' class="prose"' * is_prose for is_prose in prose]

        def cell(tag: str, content: Any, rest: str = "") -> str:
            text = html.escape(str(content)).replace(chr(10), "<br>")
            if isinstance(content, Link):
                text = f'<a href="{html.escape(content.page)}">{text}</a>'
            return f"<{tag}{rest}>{text}</{tag}>"

        head = "".join(  # an empty cell heads nothing
            cell("th", heading, ' scope="col"') if heading else "<td></td>"
            for heading in self.columns
        )
        places = [f' id="{html.escape(name)}"' for name in self.anchors] or [""] * len(self.rows)
        body = "\n".join(
            f"<tr{place}>"
            + cell("th", row[0], f' scope="row"{says[0]} style="text-align: left"')
            + "".join(cell("td", one, how) for one, how in zip(row[1:], says[1:], strict=True))
            + "</tr>"
            for place, row in zip(places, self.rows, strict=True)
        )
        caption = cell("caption", self.caption) if self.caption else ""
        # "dataframe" is the class that the site's theme gives colours to, light and dark.
        return (
            '<table class="dataframe" style="text-align: center; '
            f'font-variant-numeric: tabular-nums">\n{caption}\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        )


def results_table(
    trials: Sequence[Trial],
    thesis: Mapping[str, Pairs] | None = None,
    metric: str = "accuracy",
    caption: str = "",
) -> Table:
    """Return means, intervals and standard deviations of a study, and the thesis's numbers.

    Parameters
    ----------
    trials : sequence of trials
        As :meth:`mgcore.lab.records.record.Record.trials` returns them.
    thesis : mapping, optional
        Such as :data:`mgcore.lab.protocol.printed_tables.TABLE_4_1`; its pairs stand at epoch 1 and at the last.
    metric : {"accuracy", "loss", "objective"}
    caption : str
        Put before the sentence that says how to read a cell.

    Returns
    -------
    Table
        A row for each arm; training and validation before retraining (epoch 0), after epoch 1 and
        after the last, each measured on all images.

    Raises
    ------
    ValueError
        For an unknown metric, or no trials.
    """
    if metric not in DECIMALS:
        options = ", ".join(repr(name) for name in DECIMALS)
        raise ValueError(f"metric={metric!r}; accepted: {options}.")
    if not trials:
        raise ValueError("trials is empty; accepted: at least one trial.")
    arms = [arm for arm in CONDITIONS if arm in trials[0]["metrics"]]
    last = trials[0]["metrics"][arms[0]][-1]["epoch"]
    epochs = sorted({0, 1, last})
    places = [(images, epoch) for images in ("training", "validation") for epoch in epochs]
    rows = []
    for arm in arms:
        row = [arm]
        for images, epoch in places:
            lines = [_measured(at_epoch(trials, arm, epoch, f"{images}_{metric}"), metric)]
            pair = (thesis or {}).get(arm, {}).get(images)
            if pair and epoch:
                # The thesis's second number is of its last epoch, whichever ours is.
                lines.append(f"thesis {pair[epoch == last and last > 1]:.{DECIMALS[metric]}f}")
            row.append("\n".join(lines))
        rows.append(row)
    how = f"{_CAPTIONS[metric]}: mean of {trials_of(len(trials))}"
    how += (
        " ± half-width of its 95 % interval, standard deviation (sd) below."
        if len(trials) > 1
        else ": no interval, no standard deviation."
    )
    if thesis:
        how += " The thesis's numbers are means of 20 trials after epochs 1 and 10."
    columns = ["start", *(f"{images}\nepoch {epoch}" for images, epoch in places)]
    return Table(columns, rows, f"{caption} {how}".strip())


def seconds_table(trials: Sequence[Trial], caption: str = "") -> Table:
    """Return the seconds that each training run took, by what they were spent on."""
    phases = [name for name in trials[0]["circumstances"]["seconds"] if name != "whole"]
    rows = []
    for phase in phases:
        spent = [trial["circumstances"]["seconds"][phase] for trial in trials]
        rows.append([phase, *(f"{np.mean([s[k] for s in spent]):.1f}" for k in _SPENT)])
    how = f"Seconds, mean of {trials_of(len(trials))}."
    return Table(["run", *_SPENT], rows, f"{caption} {how}".strip())


_SPENT = ("training", "evaluation")


def _measured(values: list[float], metric: str) -> str:
    mean, half = interval(values)
    places = DECIMALS[metric]
    if half is None:
        return f"{mean:.{places}f}"
    return f"{mean:.{places}f} ± {half:.{places}f}\nsd {np.std(values, ddof=1):.{places}f}"
