"""What the teaching page says of the chapters: how long each takes, which exercises it has."""

from __future__ import annotations

import editions
import teaching
from generated import Book, table, title
from opening import read_times, reading_minutes


def times(book: Book) -> str:
    """Return a row for each chapter: minutes to read, seconds to run, exercises, questions."""
    measured, rows = read_times(), []
    for path, chapter in book.chapters.items():
        took = measured.get(path.stem)
        rows.append([
            f"[{title(chapter)}]({path.name})",
            str(reading_minutes(chapter)),
            f"{took['seconds']:.0f}" if took else "not measured",
            str(len(editions.exercises(chapter))),
            str(len(teaching.read(path.stem).quiz)),
        ])  # fmt: skip
    machines = sorted({str(one["machine"]) for one in measured.values()})
    caption = f"What a chapter takes. Seconds were measured on {', '.join(machines) or 'none'}."
    heads = ["chapter", "minutes to read", "seconds to run", "exercises", "quiz questions"]
    return table(caption, heads, rows)


def exercises(book: Book) -> str:
    """Return the exercises of the book, chapter by chapter, and how many there are."""
    found = {path: editions.exercises(chapter) for path, chapter in book.chapters.items()}
    count = sum(map(len, found.values()))
    lines = [f"There are {count} exercises, each with a solution that the tests run:\n"]
    for path, of in found.items():
        links = "; ".join(f"{{ref}}`{name} <{label}>`" for label, name in of.items())
        if links:
            lines.append(f"- [{title(book.chapters[path])}]({path.name}): {links}.")
    return "\n".join(lines)
