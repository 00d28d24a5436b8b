"""What the teaching page says of the chapters: how long each takes, which exercises it has."""

from __future__ import annotations

import editions
import teaching
from generated import Book, spans, table, title
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


def build_minutes(book: Book) -> str:
    """Return how long the commands that make the editions take."""
    seconds = sum(float(one["seconds"]) for one in read_times().values())
    return (
        f"Each command first executes the chapters that changed since the last one: for all of "
        f"them, {seconds / 60:.0f} minutes were measured, one chapter after another. Then it "
        "writes the pages, which takes some minutes more. Build the day before the class."
    )


LAB = "lab"
LENGTHS = 90, 50
OPENING = 8  # minutes of a lab before its exercises


def lab_plan(book: Book) -> str:
    """Return the minute plan of the lab: its checked exercises between opening and discussion.

    Raises
    ------
    SystemExit
        If the exercises leave no time for a discussion.
    """
    told = teaching.read(LAB)
    names = editions.of_chapter(f"book/{LAB}.ipynb")
    minutes = dict(told.minutes)
    steps = [("Open the notebook and run the cells above the exercises", "", (OPENING, OPENING))]
    for number, label in enumerate(told.checks, 1):
        short = minutes[label] * (label in told.short)
        link = f"{{ref}}`{names[label]} <{label}>`"
        steps.append((link, f"`check_{number}()`", (minutes[label], short)))
    used = [sum(step[2][place] for step in steps) for place in (0, 1)]
    left = (LENGTHS[0] - used[0], LENGTHS[1] - used[1])
    if min(left) < 1:
        raise SystemExit(f"The lab's exercises take {used} minutes of {LENGTHS}: shorten them.")
    steps.append(
        ("Compare the predictions with the last exercise; collect the notebooks", "", left)
    )
    when = spans([step[2] for step in steps])
    rows = [[*span, *step[:2]] for span, step in zip(when, steps, strict=True)]
    return table("Minute plan of the lab.", ["90 minutes", "50 minutes", "what", "check"], rows)


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


RANDOM_KERNELS = 10_000


def refined_kernels(book: Book) -> str:
    """Return the responses of some kernels at the Nyquist frequency, before and after refining."""
    import torch

    from mgcore.kernels import refine_kernel

    lines = {
        "second difference, $[1\\;{-2}\\;1]$": [1.0, -2.0, 1.0],
        "mean, $[1\\;2\\;1]/4$": [0.25, 0.5, 0.25],
        "$[1\\;4\\;1]$": [1.0, 4.0, 1.0],
        "central difference, $[-1\\;0\\;1]$": [-1.0, 0.0, 1.0],
    }
    alternating = torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)
    wave = torch.outer(alternating, alternating)
    rows = []
    for name, numbers in lines.items():
        line = torch.tensor(numbers, dtype=torch.float64)
        kernel = torch.outer(line, line)
        responses = [float((one * wave).sum()) for one in (kernel, refine_kernel(kernel))]
        rows.append([name, *(f"{round(value, 9) + 0.0:g}" for value in responses)])
    draw = torch.Generator().manual_seed(0)
    kernels = torch.randn(RANDOM_KERNELS, 1, 3, 3, dtype=torch.float64, generator=draw)
    before, after = (
        (some * wave).sum((-1, -2)).abs().flatten() for some in (kernels, refine_kernel(kernels))
    )
    larger, median = 100 * (after > before).double().mean(), (after / before).median()
    return (
        table(
            "Response at the Nyquist frequency of an image, in both directions.",
            ["the kernel in both directions", "before refining", "after refining"], rows,
        )
        + f"\n\nOf {RANDOM_KERNELS:,} kernels with normally distributed entries, {larger:.0f} % "
        f"have a larger response after refining; the median of the factor is {median:.0f}."
    )  # fmt: skip
