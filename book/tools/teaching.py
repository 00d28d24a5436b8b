"""What a chapter's teaching file holds, ``book/teaching/CHAPTER.yml``: quiz, mistakes, minutes.

The lab's file also has ``checks``, the labels of the exercises that ``check_1()``, ``check_2()``
and so on judge, in their order, and ``short``, those that fit into the short lab.

The quiz becomes a section of the page, behind its exercises, when the site is laid out.  Numbers in
it are not typed: an option's ``value`` is an expression, computed then, that takes the place of
``{value}`` in its text::

    quiz:
      - question: How many weights has a 3×3 stencil for 32 channels in and 64 out?
        options:
          - text: "{value}"
            value: 9 * 32 * 64
            right: true
            why: Each pair of channels has nine of its own.
          - text: …
    mistakes:
      ex-background-count: Counting the bias once for each channel.
    minutes:  # for which a class should be given the exercise: an estimate, not a measurement
      ex-background-count: 10
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

import nbformat
import notebooks
import yaml
from notebooks import ROOT

FOLDER = ROOT / "book" / "teaching"
HEADING = "## Exercises"
INVITATION = (
    "Choose an answer: it opens and says whether it is right, and why. Nothing is sent anywhere."
)


class TeachingError(ValueError):
    """A teaching file is not as it should be."""


@dataclass(frozen=True)
class Option:
    """One answer that a reader can choose, its number filled in."""

    text: str
    why: str
    right: bool
    computed: bool


@dataclass(frozen=True)
class Question:
    """A question and its answers, of which exactly one is right."""

    text: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Teaching:
    """What there is to teach a chapter with."""

    quiz: tuple[Question, ...] = ()
    mistakes: tuple[tuple[str, str], ...] = ()
    minutes: tuple[tuple[str, int], ...] = ()
    checks: tuple[str, ...] = ()
    short: tuple[str, ...] = ()


@lru_cache
def _names() -> dict[str, Any]:
    """Return what an expression may name: numpy, torch, mgcore's modules, and the records."""
    import numpy as np
    import torch

    import mgcore
    from mgcore import grids, kernels, operators
    from mgcore.lab.protocol import printed_tables
    from mgcore.lab.records.record import Record
    from mgcore.lab.verdict import metrics
    from mgcore.multigrid import local_fourier
    from mgcore.thesis import network, regularization

    def record(study: str, name: str) -> float:
        """Return the mean of one number over a committed record, ``baseline-original-paper``."""
        trials = Record(ROOT / "book" / "records" / study).trials()
        return fmean(metrics.cell(trial, name) for trial in trials)

    modules = (grids, kernels, operators, local_fourier, network, regularization, printed_tables)
    short = {module.__name__.rpartition(".")[2]: module for module in modules}
    return short | {"np": np, "torch": torch, "math": math, "mgcore": mgcore, "record": record}


def compute(expression: str) -> Any:
    """Return the value of an expression in a teaching file."""
    try:
        return eval(str(expression), {"__builtins__": __builtins__} | _names())
    except Exception as error:
        raise TeachingError(
            f"value: {expression!r} cannot be computed ({type(error).__name__}: {error})."
        ) from error


def _option(entry: dict[str, Any], where: str) -> Option:
    unknown = set(entry) - {"text", "why", "right", "value", "format"}
    if unknown or not {"text", "why"} <= set(entry):
        raise TeachingError(
            f"{where}: an option has {', '.join(sorted(entry))}. It must have text and why, and "
            "may have right, value and format."
        )
    text, computed = str(entry["text"]), "value" in entry
    if computed:
        text = text.replace("{value}", format(compute(entry["value"]), entry.get("format", "")))
    return Option(text.strip(), str(entry["why"]).strip(), bool(entry.get("right")), computed)


def _anywhere(option: Option) -> str:
    """Return a key that sorts options in an order of no meaning, the same in every build."""
    return hashlib.sha256(option.text.encode()).hexdigest()


def read(chapter: str, folder: Path = FOLDER) -> Teaching:
    """Return the teaching file of a chapter; an empty one where there is none.

    Raises
    ------
    TeachingError
        Where a question has not exactly one right answer, or an entry is unknown.
    """
    file = folder / f"{chapter}.yml"
    if not file.exists():
        return Teaching()
    content = yaml.safe_load(file.read_text("utf-8")) or {}
    if unknown := set(content) - {"quiz", "mistakes", "minutes", "checks", "short"}:
        raise TeachingError(
            f"{file.name}: {sorted(unknown)}: unknown. A file has quiz, mistakes, minutes, "
            "checks and short."
        )
    minutes = content.get("minutes", {})
    for label, count in minutes.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise TeachingError(
                f"{file.name}: {label} has minutes={count!r}. Give a positive whole number."
            )
    questions = []
    for number, entry in enumerate(content.get("quiz", []), 1):
        where = f"{file.name}, question {number}"
        options = tuple(_option(option, where) for option in entry["options"])
        if sum(option.right for option in options) != 1:
            raise TeachingError(f"{where}: exactly one option must be right.")
        if len({option.text for option in options}) < len(options):
            raise TeachingError(f"{where}: two options read the same.")
        mixed = tuple(sorted(options, key=_anywhere))
        questions.append(Question(str(entry["question"]).strip(), mixed))
    return Teaching(
        tuple(questions), tuple(content.get("mistakes", {}).items()), tuple(minutes.items()),
        tuple(content.get("checks", [])), tuple(content.get("short", [])),
    )  # fmt: skip


def quiz_text(quiz: tuple[Question, ...]) -> str:
    """Return the section of a page, in MyST; details that open by click and by keyboard."""
    parts = ["## Check yourself", INVITATION]
    for number, question in enumerate(quiz, 1):
        parts.append(f"**{number}.** {question.text}")
        for option in question.options:
            verdict = "Right." if option.right else "No."
            parts.append(
                f"````{{dropdown}} {option.text}\n:class-container: quiz-option\n\n"
                f"**{verdict}** {option.why}\n````"
            )
    return "\n\n".join(parts)


def add_quiz(
    notebook: nbformat.NotebookNode, chapter: str, folder: Path = FOLDER
) -> nbformat.NotebookNode:
    """Put a chapter's quiz behind its exercises, which it may answer; return the notebook.

    A section behind the exercises, as on where the numbers come from, stays the last.
    """
    quiz = read(chapter, folder).quiz
    if not quiz:
        return notebook
    section, inside = notebooks.markdown(quiz_text(quiz), "quiz"), False
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type != "markdown":
            continue
        if inside and cell.source.startswith("## "):
            notebook.cells.insert(place, section)
            return notebook
        inside = inside or f"\n{HEADING}" in f"\n{cell.source}"
    notebook.cells.append(section)
    return notebook
