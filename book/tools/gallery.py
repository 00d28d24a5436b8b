"""The gallery of figures, and the page that shows the code of the functions that drew them."""

from __future__ import annotations

import inspect
import io
from pathlib import Path

import yaml
from docutils.nodes import make_id
from drawn import Drawn, label_of, name_of
from generated import Book, title
from notebooks import ROOT
from PIL import Image

PAGE = "book/gallery"  # in the contents
WIDTH = 400  # pixels of a thumbnail; a card is about 250 wide
COLOURS = 48


def thumbnail(png: bytes, file: Path) -> None:
    """Write a small copy of a figure."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    small = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.LANCZOS)
    file.parent.mkdir(parents=True, exist_ok=True)
    # The colours that cover the most, so that a small marker keeps its own.
    cover, plain = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    packed = small.quantize(COLOURS, method=cover, dither=plain)
    packed.save(file, format="png", optimize=True)


def cards(book: Book) -> str:
    """Write a page of figures for each chapter, and return a card that leads to each of them."""
    parts, pages = ["::::{grid} 1 2 2 2", ":gutter: 3", ""], []
    for path, chapter in book.chapters.items():
        figures = [figure for figure in book.shown if figure.chapter == path.stem]
        if not figures:
            continue
        page = f"gallery_{path.stem}"
        pages.append(page)
        text = [f"# Figures of: {title(chapter)}", "", ":::::{grid} 1 2 2 2", ":gutter: 3", ""]
        text += [_card(book, figure) for figure in figures] + [":::::", ""]
        (book.source / "book" / f"{page}.md").write_text("\n".join(text), encoding="utf-8")
        parts += [
            f":::{{grid-item-card}} {title(chapter)}",
            f":link: {page}",
            ":link-type: doc",
            ":class-card: figure-card",
            "",
            f"```{{image}} gallery/{figures[0].anchor}.png",
            f":alt: First of its figures: {figures[0].alt}",
            f":width: {WIDTH}px",
            f":target: {page}.html",
            "```",
            f"Figures: {len(figures)}",
            ":::",
        ]
    _add_to_contents(book.source / "_toc.yml", pages)
    return "\n".join([*parts, "::::"])


def _add_to_contents(file: Path, pages: list[str]) -> None:
    """Put the pages under the gallery's own in the contents of what is laid out."""
    contents = yaml.safe_load(file.read_text("utf-8"))
    for part in contents["parts"]:
        for entry in part["chapters"]:
            if entry["file"] == PAGE:
                entry["sections"] = [{"file": f"book/{page}"} for page in pages]
    file.write_text(yaml.safe_dump(contents, sort_keys=False), encoding="utf-8")


def _card(book: Book, figure: Drawn) -> str:
    file = book.source / "book" / "gallery" / f"{figure.anchor}.png"
    thumbnail(figure.png, file)
    made_by = ", ".join(f"{{ref}}`{f.__name__} <{label_of(f)}>`" for f in figure.functions)
    links = f"{{ref}}`In its chapter <{figure.anchor}>`" + f" · code: {made_by}" * bool(made_by)
    lines = [
        "::::{grid-item-card}", ":class-card: figure-card", "",
        f":::{{image}} gallery/{file.name}", f":alt: {figure.alt}", f":width: {WIDTH}px",
        f":target: {figure.chapter}.html#{make_id(figure.anchor)}", ":::",
        "", figure.caption, "", links, "::::",
    ]  # fmt: skip
    return "\n".join(lines)


def functions(book: Book) -> str:
    """Return the code of every function that draws a figure shown, under a label of its own."""
    used: dict[str, list[Drawn]] = {}
    known = {}
    for figure in book.shown:
        for function in figure.functions:
            known[name_of(function)] = function
            used.setdefault(name_of(function), []).append(figure)
    parts = []
    for name, function in sorted(known.items()):
        file = Path(inspect.getsourcefile(function)).relative_to(ROOT).as_posix()
        lines, first = inspect.getsourcelines(function)
        places = ", ".join(
            f"{{ref}}`{figure.chapter.replace('_', ' ')} <{figure.anchor}>`"
            for figure in used[name]
        )
        parts.append(
            f"({label_of(function)})=\n## `{name}`\n\n"
            f"`{file}`, line {first}. Shown in: {places}.\n\n"
            f"```python\n{''.join(lines).rstrip()}\n```"
        )
    return "\n\n".join(parts)
