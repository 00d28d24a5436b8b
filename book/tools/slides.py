"""A deck of slides for each chapter, cut from its notebook: pictures on slides, prose in the notes.

Each section becomes a column of slides: what can be looked at (figures, tables, printed results,
definitions, formulas set apart, lists) stands on them, and the text around it is what the speaker
reads.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field

import editions
import nbformat
import notebooks

CODE_LINES = 14  # of a cell that is shown with its code
# Blocks of a chapter's text that belong on a slide; everything else is said.
FENCED = re.compile(r"^(`{3,}|:{3,})\{([\w:-]+)\}.*?^\1[ \t]*$", re.M | re.S)
SHOWN = {"math", "prf:definition", "prf:proposition", "prf:algorithm", "admonition", "list-table"}
BULLETS = re.compile(r"(?:^- .*(?:\n  .*)*\n?)+", re.M)
ROLES = re.compile(
    r"\{(term|ref|prf:ref|numref|eq|cite|cite:\w+|doc|code)\}`([^`<]*)(<[^`>]*>)?`"
)
# What is said for a role that only gives a number or a name of its page.
SPOKEN = {
    "ref": "the exercise", "prf:ref": "the statement", "numref": "the figure",
    "eq": "the formula", "cite": "", "cite:t": "the literature", "cite:p": "",
}  # fmt: skip
LINKS = re.compile(r"\[([^\]]+)\]\((?:[^)]+)\)")
OF_THE_PAGE = ("After this chapter you can", "You need")

@dataclass
class Column:
    """A section of a chapter: its heading, what is shown, and what is said."""

    heading: str
    shown: list[nbformat.NotebookNode | str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def plain(text: str) -> str:
    """Return text without the roles and links that lead out of a deck."""

    def said(role: re.Match[str]) -> str:
        if role[3] is None and role[1] in SPOKEN:
            return SPOKEN[role[1]]
        return role[2].strip()

    return LINKS.sub(lambda link: link[1], ROLES.sub(said, text))


def on_slide(block: re.Match[str]) -> str:
    """Return a block of a chapter as it stands on a slide.

    What sphinx-proof makes of a statement is a section, which reveal.js would take for a slide.
    """
    text = re.sub(r"^:(?:label|nonumber):.*\n", "", block[0], flags=re.M)
    if not block[2].startswith("prf:"):
        return plain(text)
    first, _, rest = text.partition("\n")
    title = first.partition("}")[2].strip()
    inside = rest.rsplit(block[1], 1)[0].strip()
    kind = block[2].removeprefix("prf:").capitalize()
    return plain(f"**{kind}{f' ({title})' * bool(title)}.**\n\n{inside}")


def columns(notebook: nbformat.NotebookNode) -> tuple[str, list[Column]]:
    """Return a chapter's title and its sections, without exercises and solutions."""
    title, made = "", [Column("")]
    for cell in editions.cut(notebook, "student").cells:
        if cell.cell_type == "code":
            if visible(cell):
                made[-1].shown.append(cell)
            continue
        for part in re.split(r"^(?=#{1,3} )", cell.source, flags=re.M):
            heading, text = "", part
            if found := re.match(r"(#{1,3}) (.*)\n?", part):
                heading, text = found[2].strip(), part[found.end() :]
                if found[1] == "#":
                    title = heading
                else:
                    made.append(Column(plain(heading)))
            split_text(text, made[-1])
    kept = [c for c in made if c.heading not in ("Exercises", "Where the numbers come from")]
    return title, kept


def split_text(text: str, column: Column) -> None:
    """Put the blocks of a text that are looked at on slides, and the rest into the notes."""
    at = 0
    for block in FENCED.finditer(text):
        say(text[at : block.start()], column)
        at = block.end()
        if block[2] in SHOWN:
            column.shown.append(on_slide(block))
    say(text[at:], column)


def say(text: str, column: Column) -> None:
    """Show the lists of a text, and say the rest, but what is about the page only."""
    for paragraph in re.split(r"\n\s*\n", text):
        bare = plain(paragraph).strip()
        if not bare or bare.lstrip("*").startswith(OF_THE_PAGE):
            continue
        if BULLETS.fullmatch(bare + "\n"):
            column.shown.append(bare)
        else:
            column.said.append(bare)


def visible(cell: nbformat.NotebookNode) -> bool:
    """Return whether a cell shows a figure, a table or a few printed lines."""
    return any(
        {"image/png", "text/html"} & set(output.get("data", {})) or output.get("name") == "stdout"
        for output in cell.outputs
    )


def deck(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """Return a chapter as a notebook of slides."""
    title, found = columns(notebook)
    made = nbformat.v4.new_notebook(metadata=notebook.metadata)
    opening = found[0]
    question = opening.said[:1] or [""]
    put(made, name, f"# {title}\n\n{question[0]}\n\n{notes(opening.said[1:])}")
    hidden = [copy.deepcopy(cell) for cell in notebook.cells if cell.cell_type == "code"]
    for cell in hidden:  # what is glued in them may be pasted on any slide
        cell.outputs = [o for o in cell.outputs if "scrapbook" in o.get("metadata", {})]
        cell.metadata["tags"] = ["remove-cell"]
    made.cells += [cell for cell in hidden if cell.outputs]
    for column in found:
        heading = column.heading or "What you will be able to do"
        shown = column.shown or column.said[:1]
        said = column.said if column.shown else column.said[1:]
        for number, item in enumerate(shown):
            level = "##" if number == 0 else "###"
            put(made, name, f"{level} {heading}")
            if isinstance(item, str):
                put(made, name, item)
            else:
                made.cells.append(slide(item))
            if number == 0 and said:
                put(made, name, notes(said))
    return made


def put(made: nbformat.NotebookNode, name: str, text: str) -> None:
    """Append a markdown cell."""
    made.cells.append(notebooks.markdown(text, f"slide-{name}-{len(made.cells)}"))


def notes(said: list[str]) -> str:
    """Return what the speaker says, as notes."""
    text = "\n\n".join(said)
    return f"``````{{revealjs-notes}}\n{text}\n``````" if text else ""


def slide(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a code cell as it stands on a slide: its code only if that is short and shown."""
    made = copy.deepcopy(cell)
    tags = set(made.metadata.get("tags", []))
    lines = made.source.count("\n") + 1
    drawn = any("image/png" in output.get("data", {}) for output in made.outputs)
    hide = drawn or lines > CODE_LINES or tags & {"hide-input", "hide-cell", "remove-input"}
    made.metadata["tags"] = ["remove-input"] if hide else []
    made.outputs = [o for o in made.outputs if "scrapbook" not in o.get("metadata", {})]
    made.id = f"{made.id[:58]}-slide"
    # A name stands once in a deck; here nothing refers to figures by number.
    figure = made.metadata.get("mystnb", {}).get("figure", {})
    figure.pop("name", None)
    if "caption" in figure:
        figure["caption"] = plain(figure["caption"])
    return made
