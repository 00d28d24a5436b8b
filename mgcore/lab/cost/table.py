"""The table of this machine's rates, measured in one run, as the book shows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import torch

from mgcore.lab.cost.newton import newton_rows
from mgcore.lab.cost.rates import Row, rate_rows, surface_rows, write_measured
from mgcore.lab.cost.whole_study import plain_rows, study_rows
from mgcore.lab.records.files import read_json

PARTS: dict[str, Callable[[], list[Row]]] = {
    "rates": rate_rows, "study": study_rows, "plain": plain_rows, "newton": newton_rows,
    "surfaces": surface_rows,
}  # fmt: skip


def bench(
    parts: tuple[str, ...] = tuple(PARTS),
    repeats: int = 1,
    progress: Callable[[str], None] = lambda part: None,
) -> list[Row]:
    """Measure parts of the table, and return the medians over several runs.

    Parameters
    ----------
    parts : tuple of str
        Keys of :data:`PARTS`.
    repeats : int
        Runs, each of all parts.
    progress : callable, optional
        Called with the name of each part before the part is measured.

    Raises
    ------
    ValueError
        If a part is unknown.
    """
    for part in parts:
        if part not in PARTS:
            options = ", ".join(repr(name) for name in PARTS)
            raise ValueError(f"part must be one of {options}, got {part!r}.")
    runs = []
    for _ in range(repeats):
        rows: list[Row] = []
        for part in parts:
            progress(part)
            rows += PARTS[part]()
        runs.append(rows)
    return [_median(rows) for rows in zip(*runs, strict=True)]


def _median(rows: tuple[Row, ...]) -> Row:
    """Return the medians of one row over several runs."""
    ratios = [row.ratio for row in rows if row.ratio is not None]
    value = median(row.value for row in rows)
    return replace(rows[0], value=value, ratio=median(ratios) if ratios else None)


def show(rows: list[Row]) -> str:
    """Return the table as text."""
    lines = []
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:6.2f} of {row.to}"
        lines.append(f"{row.name:<58}{row.value:>9.4g} {row.unit:<10}{ratio}".rstrip())
    return "\n".join(lines)


def write(file: Path, rows: list[Row], repeats: int) -> None:
    """Write the table with its machine, its date and the machine's load."""
    content = {
        "rows": [asdict(row) for row in rows],
        "runs": repeats,
        "torch": torch.__version__.split("+")[0],
    }
    if hasattr(os, "getloadavg"):  # not on Windows
        content["load"] = round(os.getloadavg()[1], 1)
    write_measured(file, content)


def read(file: Path) -> tuple[list[Row], dict[str, str | int | float]]:
    """Return the rows that :func:`write` wrote, and when and where they were measured.

    Raises
    ------
    RecordError
        If the file is missing, truncated or altered.
    """
    content = read_json(file)
    rows = [Row(**row) for row in content.pop("rows")]
    return rows, content
