"""Editions of the book, cut from the notebooks by cell tag before Sphinx sees them.

``book`` is what readers get: solutions folded away below each exercise.  ``student`` has none, nor
anything from which one could be dug out: what is cut is in no page, no search index and no
download.  ``instructor`` shows solutions open, with what they print, the mistakes to expect and the
seconds that each took when the page was made.
"""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Mapping

import nbformat
import notebooks

EDITIONS = ("book", "student", "instructor")
SOLUTION = "solution"
BEGINS = re.compile(r"\{solution-start\} (\S+)")
FOLDED = "\n:class: dropdown"
# Parts of a page of text that students are not to see, such as the result on the front page, parts
# that only students see, such as a question, and parts for instructors alone, such as its answer.
KEPT_BACK = re.compile(r"^<!-- not for students -->\n(.*?)^<!-- end -->\n", re.M | re.S)
FOR_STUDENTS = re.compile(r"^<!-- for students -->\n(.*?)^<!-- end -->\n", re.M | re.S)
FOR_INSTRUCTORS = re.compile(r"^<!-- for instructors -->\n(.*?)^<!-- end -->\n", re.M | re.S)


def check(edition: str) -> str:
    """Return `edition`.

    Raises
    ------
    SystemExit
        Where it is none.
    """
    if edition not in EDITIONS:
        raise SystemExit(f"edition must be one of {', '.join(EDITIONS)}, got {edition!r}.")
    return edition


def is_solution(cell: nbformat.NotebookNode) -> bool:
    """Return whether a cell is part of a solution."""
    return SOLUTION in cell.metadata.get("tags", [])


def cut(
    notebook: nbformat.NotebookNode,
    edition: str,
    mistakes: Mapping[str, str] | None = None,
    minutes: Mapping[str, int] | None = None,
) -> nbformat.NotebookNode:
    """Return a copy of a chapter as an edition has it.

    Parameters
    ----------
    notebook
        Executed, with papermill's metadata if the instructor is to see how long cells took.
    edition
        One of `EDITIONS`.
    mistakes
        For the instructor: what goes wrong in an exercise, by its label.
    minutes
        For the instructor: how long a class should be given for it, by its label.
    """
    made = copy.deepcopy(notebook)
    if check(edition) == "student":
        made.cells = [cell for cell in made.cells if not is_solution(cell)]
    elif edition == "instructor":
        made.cells = _with_remarks(made.cells, mistakes or {}, minutes or {})
    return made


def cut_page(text: str, edition: str) -> str:
    """Return a page of text as an edition has it."""
    student = check(edition) == "student"
    text = FOR_INSTRUCTORS.sub(r"\1" if edition == "instructor" else "", text)
    text = KEPT_BACK.sub("" if student else r"\1", text)
    return FOR_STUDENTS.sub(r"\1" if student else "", text)


def name_site(config: str, edition: str) -> str:
    """Return the site's configuration with the edition in its title, which stands on every page."""
    if check(edition) == "book":
        return config
    return re.sub(r'^title: "', f'title: "{edition.capitalize()} edition: ', config, flags=re.M)


def _with_remarks(
    cells: list[nbformat.NotebookNode], mistakes: Mapping[str, str], minutes: Mapping[str, int]
) -> list[nbformat.NotebookNode]:
    """Unfold the solutions, and put minutes, mistakes and seconds before the end of each."""
    made: list[nbformat.NotebookNode] = []
    label, seconds = "", 0.0
    for cell in cells:
        if is_solution(cell):
            if begun := BEGINS.search(cell.source):
                label, seconds = begun[1], 0.0
                cell.source = cell.source.replace(FOLDED, "", 1)
            if cell.cell_type == "code":
                seconds += took(cell)
            if "{solution-end}" in cell.source:
                for number, text in enumerate(_remarks(label, seconds, mistakes, minutes)):
                    made.append(notebooks.markdown(text, f"remark-{number}-{label}"))
        made.append(cell)
    return made


def _remarks(
    label: str, seconds: float, mistakes: Mapping[str, str], minutes: Mapping[str, int]
) -> list[str]:
    """Return the paragraphs about one exercise."""
    found = []
    if label in minutes:
        found.append(f"**In class.** Allow {minutes[label]} minutes, by our estimate.")
    if label in mistakes:
        found.append(f"**Expect this mistake.** {mistakes[label].strip()}")
    if seconds >= 0.05:
        found.append(f"**Measured.** The cells of this solution took {seconds:.1f} s.")
    return found


def took(cell: nbformat.NotebookNode) -> float:
    """Return the seconds between papermill's two stamps on a cell; 0 where it left none."""
    stamps = cell.metadata.get("papermill", {})
    ends = [stamps.get(name) for name in ("start_time", "end_time")]
    if not all(ends):
        return 0.0
    begun, ended = (datetime.datetime.fromisoformat(stamp) for stamp in ends)
    return (ended - begun).total_seconds()


def exercises(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Return the titles of a chapter's exercises by label."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.findall(r"\{exercise\}(.*)\n:label: (\S+)", text)
    return {label: title.strip() for title, label in found}


def of_chapter(path: str) -> dict[str, str]:
    """Return `exercises` of a committed chapter."""
    return exercises(notebooks.read(notebooks.ROOT / path))
