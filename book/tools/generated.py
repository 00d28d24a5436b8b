"""Parts of pages that are written when the site is laid out, so that nobody types them.

A page asks for one by a line of its own, ``<!-- generated: status -->``; everything around it is
written by hand.  Here is who writes which.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from drawn import Drawn

ASKED = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.M)
PARTS = {
    "front-explorer": "front:explorer",
    "front-why": "front:why",
    "front-cards": "front:cards",
    "explorers": "play:cards",
    "house": "house:figure",
    "gallery": "gallery:cards",
    "functions": "gallery:functions",
    "chapters": "status:chapters",
    "records": "status:records",
    "lesson-times": "lessons:times",
    "build-minutes": "lessons:build_minutes",
    "exercises": "lessons:exercises",
    "lab-plan": "lessons:lab_plan",
    "refined-kernels": "lessons:refined_kernels",
    "lecture-plan": "lecture:plan",
    "primer-figure": "primer:figure",
    "primer-quantiles": "primer:quantiles",
    "binder": "binder:sizes",
    "rates": "speed:rates",
    "busy": "speed:busy",
    "gpu": "speed:gpu",
    "predictions": "speed:predictions",
    "faults": "speed:faults",
    "citation": "citation:texts",
}


@dataclass(frozen=True)
class Book:
    """What is laid out, for the parts that speak of it.

    Attributes
    ----------
    source : Path
        The folder that Sphinx will read.
    edition : str
    chapters : dict of Path to notebook
        As they are in this edition.
    shown : tuple of Drawn
        Every figure of the chapters.
    """

    source: Path
    edition: str
    chapters: dict[Path, nbformat.NotebookNode]
    shown: tuple[Drawn, ...]


def fill(book: Book) -> None:
    """Write every part that a page of `book.source` asks for, in place.

    Raises
    ------
    SystemExit
        Where a page asks for a part that nobody writes.
    """
    for page in sorted((book.source / "book").glob("**/*.md")):
        text = page.read_text("utf-8")
        if not ASKED.search(text):
            continue

        def part(asked: re.Match[str], page: Path = page) -> str:
            return _writer(asked[1], page)(book)

        page.write_text(ASKED.sub(part, text), encoding="utf-8")


def _writer(name: str, page: Path) -> Callable[[Book], str]:
    if name not in PARTS:
        raise SystemExit(
            f"{page.name} asks for a part {name!r}, which nothing generates. "
            f"Parts are {', '.join(sorted(PARTS))}."
        )
    module, _, function = PARTS[name].partition(":")
    return getattr(importlib.import_module(module), function)


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in MyST with a header row; cells may hold links and formulas."""
    lines = [f":::{{list-table}} {caption}".rstrip(), ":header-rows: 1", ":class: generated", ""]
    for row in (columns, *rows):
        for place, content in enumerate(row):
            lines.append(f"{'*' if place == 0 else ' '} - {' '.join(str(content).split())}")
    return "\n".join([*lines, ":::"])


def spans(lengths: Sequence[Sequence[int]]) -> list[list[str]]:
    """Return from which to which minute each step lasts, for each column of lengths."""
    begins, rows = [0] * len(lengths[0]), []
    for step in lengths:
        row = []
        for place, length in enumerate(step):
            row.append(f"{begins[place]} to {begins[place] + length}" if length else "–")
            begins[place] += length
        rows.append(row)
    return rows


def title(notebook: nbformat.NotebookNode) -> str:
    """Return the title of a chapter."""
    return notebook.cells[0].source.splitlines()[0].lstrip("# ").strip()
