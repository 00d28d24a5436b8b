"""Tables for notebooks: HTML with header cells on a page, aligned text elsewhere."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from mgcore.lab.verdict.agreement import interval

PROSE, FOLD = 32, 60  # characters a line


def mean_with_interval(values: Iterable[float], digits: int) -> str:
    """Return a mean over trials ± the half-width of its 95 % interval, as text.

    One trial has no interval, so that its value stands alone.

    Examples
    --------
    >>> mean_with_interval([1.0, 2.0, 3.0], 1), mean_with_interval([4.0], 2)
    ('2.0 ± 2.5', '4.00')
    """
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


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
                f"anchors must be one for each of {len(self.rows)} rows, got {len(self.anchors)}."
            )
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"a row must have {len(self.columns)} cells, one for each column, "
                    f"got {len(row)}."
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
