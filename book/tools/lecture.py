"""The lecture: one deck for 50 or 90 minutes, written in ``book/teaching/lecture.md``.

The file is Markdown.  A heading of the second level begins a slide; its title is the slide's
message.  The lines below the heading belong to it:

``minutes: 4 / 3``
    Minutes in the 90-minute and in the 50-minute lecture.  The latter leaves out slides with 0.
``figure: fig-gap-mechanism``
    A figure of a chapter by its name, shown with a link to its place.
``> text``
    What the speaker says.

Anything else stands on the slide.  A link to ``site:gap.html#anchor`` leads to a page of the
website, which lies beside the slides in ``_build``.  Numbers are glued from chapters, as on every
page.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

import notebooks
from docutils.nodes import make_id
from generated import Book, spans, table
from notebooks import ROOT
from slides import notes

FILE = ROOT / "book" / "teaching" / "lecture.md"
LENGTHS = 90, 50
SITE = "../html/book/"  # seen from _build/slides
MINUTES = re.compile(r"^minutes: (\d+) / (\d+)$", re.M)
FIGURE = re.compile(r"^figure: (\S+)$", re.M)
SPEECH = re.compile(r"(?:^> ?.*\n?)+", re.M)
LINK = re.compile(r"\[([^\]]+)\]\(site:([^)]+)\)")


@dataclass(frozen=True)
class Slide:
    """One slide of the lecture.

    Attributes
    ----------
    title : str
    minutes : tuple of int
        In the long and in the short lecture.
    figure : str
        The name of a figure, or an empty string.
    shown : str
        Text on the slide, in MyST.
    speech : str
        Paragraphs that are said.
    """

    title: str
    minutes: tuple[int, int]
    figure: str
    shown: str
    speech: str


def read(file: Path = FILE) -> tuple[str, list[Slide]]:
    """Return the lecture's first slide, in MyST, and the slides that follow.

    Raises
    ------
    SystemExit
        If a slide has no minutes or no speech, or the minutes do not add up to `LENGTHS`.
    """
    head, *parts = re.split(r"^## ", file.read_text("utf-8"), flags=re.M)
    made = []
    for part in parts:
        title, _, body = part.partition("\n")
        minutes, figure = MINUTES.search(body), FIGURE.search(body)
        speech = [re.sub(r"^> ?", "", block, flags=re.M) for block in SPEECH.findall(body)]
        if not minutes or not speech:
            raise SystemExit(
                f"{file.name}: the slide {title!r} lacks a line `minutes: LONG / SHORT` or its "
                "speech, lines that begin with `> `."
            )
        shown = SPEECH.sub("", FIGURE.sub("", MINUTES.sub("", body))).strip()
        long, short = int(minutes[1]), int(minutes[2])
        named = figure[1] if figure else ""
        made.append(Slide(title.strip(), (long, short), named, shown, "\n".join(speech).strip()))
    total = tuple(sum(slide.minutes[place] for slide in made) for place in (0, 1))
    if total != LENGTHS:
        raise SystemExit(f"{file.name}: minutes add up to {total}, and must to {LENGTHS}.")
    return head.strip(), made


def figures(executed: Path) -> dict[str, tuple[bytes, str, str]]:
    """Return the figures of the executed chapters by name: picture, alternative text, chapter."""
    found = {}
    for path in notebooks.chapters():
        for cell in notebooks.read(executed / path).cells:
            about = cell.metadata.get("mystnb", {})
            for output in cell.get("outputs", []):
                png = output.get("data", {}).get("image/png")
                if png and (name := about.get("figure", {}).get("name")):
                    found[name] = base64.b64decode(png), about["image"]["alt"], path.stem
    return found


def write(executed: Path, source: Path, last: str) -> None:
    """Write the deck as the first page of the slides, with its pictures.

    Parameters
    ----------
    executed, source
        Folders of the executed notebooks and of what Sphinx reads.
    last
        The last slide and what else the page needs.
    """
    first, slides = read()
    known = figures(executed)
    parts = [first]
    for slide in slides:
        parts.append(f"## {slide.title}")
        if not slide.minutes[1]:
            parts.append('```{raw} html\n<p class="long">90-minute lecture only</p>\n```')
        if slide.figure:
            if slide.figure not in known:
                raise SystemExit(f"{FILE.name}: no chapter has a figure {slide.figure!r}.")
            png, alt, chapter = known[slide.figure]
            picture = source / "lecture" / f"{slide.figure}.png"
            picture.parent.mkdir(exist_ok=True)
            picture.write_bytes(png)
            options = f":alt: {alt}\n:class: lecture"
            parts.append(f"```{{image}} lecture/{picture.name}\n{options}\n```")
            place = f"{chapter}.html#{make_id(slide.figure)}"
            parts.append(linked(f"[In the book: {chapter.replace('_', ' ')}](site:{place})"))
            parts.append(linked(slide.shown))
        else:  # words alone are read from the back row, too
            parts.append(f":::::{{container}} large\n{linked(slide.shown)}\n:::::")
        parts.append(notes([linked(slide.speech)]))
    parts.append(last)
    (source / "index.md").write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")


def linked(text: str) -> str:
    """Return a text with its links to the site as HTML; Sphinx knows no page there."""
    return LINK.sub(rf'<a href="{SITE}\2" target="_blank" rel="noopener">\1</a>', text)


def plan(book: Book) -> str:
    """Return the minute plan of the lecture: a row for each slide."""
    slides = read()[1]
    rows = []
    for slide, times in zip(slides, spans([slide.minutes for slide in slides]), strict=True):
        rows.append([*times, slide.title, f"{{numref}}`{slide.figure}`" if slide.figure else ""])
    caption = "Minute plan of the lecture, slide by slide."
    return table(caption, ["90 minutes", "50 minutes", "message of the slide", "figure"], rows)
