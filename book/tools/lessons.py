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
        took, told = measured.get(path.stem), teaching.read(path.stem)
        rows.append([
            f"[{title(chapter)}]({path.name})",
            str(reading_minutes(chapter)),
            f"{took['seconds']:.0f}" if took else "not measured",
            str(len(editions.exercises(chapter))),
            str(sum(dict(told.minutes).values())),
            str(len(told.quiz)),
        ])  # fmt: skip
    machines = sorted({str(one["machine"]) for one in measured.values()})
    caption = f"What a chapter takes. Seconds were measured on {', '.join(machines) or 'none'}."
    caption += " Minutes are estimates: to read, from the number of words; for the exercises, ours."
    heads = [
        "chapter", "minutes to read", "seconds to run", "exercises", "minutes for them",
        "quiz questions",
    ]  # fmt: skip
    return table(caption, heads, rows)


def exercises(book: Book) -> str:
    """Return the exercises of the book, chapter by chapter, and how many there are."""
    found = {path: editions.exercises(chapter) for path, chapter in book.chapters.items()}
    count = sum(map(len, found.values()))
    lines = [
        f"There are {count} exercises, each with a solution that the tests run. The minutes that a "
        "class should be given for each are our estimate:\n"
    ]
    for path, of in found.items():
        minutes = dict(teaching.read(path.stem).minutes)
        links = "; ".join(
            f"{{ref}}`{name} <{label}>` ({minutes[label]} min)" for label, name in of.items()
        )
        if links:
            lines.append(f"- [{title(book.chapters[path])}]({path.name}): {links}.")
    return "\n".join(lines)
