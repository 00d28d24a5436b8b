"""The student notebook of the lab: ``book/lab.ipynb`` with an empty cell for each answer.

The lab's chapter and its teaching file are the only sources.  Solutions and outputs are left out,
as in the student edition.  Each exercise under ``checks`` in ``book/teaching/lab.yml`` gets an
answer cell, with the variables that its check reads, and a cell that calls the check.  The site
offers the notebook for download; ``python book/tools/worksheet.py FOLDER`` writes it into a folder.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import editions
import guard
import nbformat
import notebooks
import teaching
from notebooks import ROOT
from slides import plain

from mgcore.lab.classroom.checks import EXERCISES
from mgcore.lab.classroom.submission import assigned

CHAPTER = "lab"
NAME = "lab_student.ipynb"  # the chapter links to it
EXERCISE = re.compile(r"```\{exercise\} (.*)\n:label: (\S+)\n(.*?)\n```", re.S)
DOWNLOAD = re.compile(r"^Work in the \{download\}.*?(?=\n\n|\Z)", re.M | re.S)
KINDS = {
    "numbers": "a number or a list of numbers",
    "word": "text in quotation marks",
    "network": "a network",
    "responses": "a function of a kernel and a frequency",
}
HOW = (
    "**How to work.** Run the cells from the top. Write each answer in place of `...`, run its "
    "cell and then the check below it: `check_1()` says in one sentence whether the answer is "
    "right, or gives a hint. Check as often as you like, and keep the names of the variables. At "
    "the end choose *Restart and run all*, save, and hand in this file."
)


def make(chapter: nbformat.NotebookNode, told: teaching.Teaching) -> nbformat.NotebookNode:
    """Return the student notebook of the lab.

    Raises
    ------
    SystemExit
        If the teaching file names other exercises under ``checks`` than the chapter and the checks.
    """
    numbers = {label: number for number, label in enumerate(told.checks, 1)}
    found = editions.exercises(chapter)
    if set(numbers) - set(found) or list(numbers.values()) != list(EXERCISES):
        raise SystemExit(
            f"checks of book/teaching/{CHAPTER}.yml must name {len(EXERCISES)} exercises of "
            f"book/{CHAPTER}.ipynb, one for each check, in their order; got {list(numbers)}."
        )
    made = nbformat.v4.new_notebook(metadata=chapter.metadata)
    given: set[str] = set()
    for cell in editions.cut(notebooks.strip(chapter), "student").cells:
        if cell.cell_type == "code":
            given |= assigned(cell.source)
            _code(made, cell.source)
            continue
        text = cell.source
        if not made.cells:
            text = DOWNLOAD.sub(HOW, text)
        elif "## Summary" in text:  # it gives answers away
            text = text[text.index("## Exercises") :]
        if not (exercise := EXERCISE.search(text)):
            _markdown(made, plain(text))
            continue
        title, label, body = exercise.groups()
        time = f"{dict(told.minutes)[label]} minutes"
        name = f"Exercise {numbers[label]}" if label in numbers else "If there is time"
        if label in numbers and label not in told.short:
            time += ", not in the short lab"
        _markdown(made, f"### {name}: {title} ({time})\n\n{plain(body).strip()}")
        if label not in numbers:
            _code(made, "")
            continue
        readers = EXERCISES[numbers[label]].readers
        asked = {name: read for name, read in readers.items() if name not in given}
        _code(made, "\n".join(f"{n} = ...  # {KINDS[r.__name__]}" for n, r in asked.items()))
        _code(made, f"check_{numbers[label]}()")
    return made


def _markdown(made: nbformat.NotebookNode, text: str) -> None:
    made.cells.append(notebooks.markdown(text, f"{CHAPTER}-student-{len(made.cells)}"))


def _code(made: nbformat.NotebookNode, source: str) -> None:
    cell = nbformat.v4.new_code_cell(source)
    cell.id = f"{CHAPTER}-student-{len(made.cells)}"
    made.cells.append(cell)


def write(folder: Path) -> Path:
    """Write the student notebook into `folder` and return its path."""
    chapter = notebooks.read(ROOT / "book" / f"{CHAPTER}.ipynb")
    notebooks.write(make(chapter, teaching.read(CHAPTER)), folder / NAME)
    return folder / NAME


def main(argv: list[str] | None = None) -> int:
    """Write the student notebook where the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "_build")
    print(f"The student notebook is at {write(parser.parse_args(argv).folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(guard.until_stopped(main))
