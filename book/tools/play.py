"""The explorers in one place: a page that presents them, and a large page for each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import front
import gallery
from generated import Book
from notebooks import ROOT

CHALLENGE = re.compile(r'<li data-try="[^"]*">(.*?)</li>', re.S)


@dataclass(frozen=True)
class Explorer:
    """One explorer: its fragment ``book/NAME_explorer.html``, and what the page says of it.

    Attributes
    ----------
    name, title, sentence : str
    chapter : str
        Where the explorer stands among its explanation.
    figure : str
        The label of a figure whose thumbnail is its picture.
    """

    name: str
    title: str
    sentence: str
    chapter: str
    figure: str

    def fragment(self) -> str:
        """Return the markup of the explorer."""
        return (ROOT / "book" / f"{self.name}_explorer.html").read_text("utf-8")


EXPLORERS = (
    Explorer("sharpness", "One digit, smoothed to sharp",
             "Make a digit sharper and see which of two networks still recognises it.",
             "gap", "fig-gap-mechanism"),
    Explorer("kernel", "A kernel on finer grids",
             "Choose a kernel and compare its copy with its Galerkin refinement on three grids.",
             "method", "fig-method-parts"),
    Explorer("two_grid", "Two grids, one error",
             "Take the steps of a two-grid cycle one by one and see which modes they remove.",
             "multigrid", "fig-multigrid-steps"),
    Explorer("propagation", "A digit inside three networks",
             "Follow a digit through the layers, from the transfer to the end of retraining.",
             "baseline", "fig-baseline-propagation"),
    Explorer("surface", "Loss surfaces",
             "Compare two loss surfaces side by side and change how their steps are measured.",
             "pooling", "fig-pooling-surfaces"),
)  # fmt: skip


def cards(book: Book) -> str:
    """Return a card for each explorer: a picture, one sentence and its challenges as links."""
    figures = {figure.anchor: figure for figure in book.shown}
    lines = ["::::{grid} 1 2 2 2", ":gutter: 3", ":class-container: play doors", ""]
    for one in EXPLORERS:
        figure, page = figures[one.figure], f"play_{one.name}.html"
        file = book.source / "book" / "gallery" / f"{figure.anchor}.png"
        gallery.thumbnail(figure.png, file)
        challenges = "".join(
            f'<li><a href="{page}#try-{number}">{text}</a></li>'
            for number, text in enumerate(CHALLENGE.findall(one.fragment()), 1)
        )
        lines += [
            ":::{grid-item-card}", f":img-top: gallery/{file.name}", f":img-alt: {figure.alt}",
            ":class-card: figure-card", "",
            f'<p class="play-title"><a href="{page}">{escape(one.title)}</a></p>',
            f"<p>{escape(one.sentence)}</p>",
            f"<details><summary>Three challenges</summary><ol>{challenges}</ol></details>", "",
            f"Explained in {{doc}}`{one.chapter}`.", ":::",
        ]  # fmt: skip
    return "\n".join([*lines, "::::"])


def write_stages(html: Path, edition: str = "book") -> None:
    """Write a page for each explorer that a projector can show whole, into a built site.

    Its pictures stand on the left and its controls on the right.
    """
    for one in EXPLORERS:
        head, *challenges = one.fragment().split("<li data-try")
        # The places that the links to challenges name.
        marked = [f'<li id="try-{n}" data-try{rest}' for n, rest in enumerate(challenges, 1)]
        fragment = "".join([head, *marked])
        if edition == "student":
            fragment = fragment.replace(front.BEGIN, f"{front.BEGIN} data-predict-first")
        (html / "book" / f"play_{one.name}.html").write_text(
            f"""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(one.title)}</title>
<link rel="icon" href="../_static/favicon.svg">
<link rel="stylesheet" href="../_static/stage.css">
<script src="../_static/stage.js"></script>
</head>
<body class="stage">
<header>
<nav aria-label="Book"><a href="play.html">All explorers</a>
<a href="{one.chapter}.html">Explained in the book</a></nav>
<h1>{escape(one.title)}</h1>
<button type="button" data-stage="theme">Light or dark</button>
<button type="button" data-stage="full">Full screen</button>
</header>
<main>
{fragment}</main>
</body>
</html>
""",
            encoding="utf-8",
        )
