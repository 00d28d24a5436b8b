"""A deck of slides for each chapter, cut from its notebook: pictures on slides, prose in the notes.

Each section becomes a column of slides.  What can be looked at stands on them: figures, tables,
what a cell prints in answer to code that readers see, definitions, formulas set apart, lists.  The
rest is said, with these rules:

Speaker notes
    A paragraph is a note of the slide that it follows in its section.  It goes to the next slide if
    it stands first in its section, refers to that slide's figure or formula, or ends within a
    sentence, as before a formula or behind a colon.  Its TeX is written as plain text there.
Printed lines
    What a hidden cell (``hide-input``) prints is a note.  Such lines mostly report on records,
    as whether they are fresh, and nobody in the room sees the code that they answer.
Tables
    One of more than `TABLE_ROWS` rows, or of more than `TABLE_TEXT` characters in them, is not
    shown: its caption and the number of its rows are.  The tables of results have a row for each
    start and are shown whole.
Explorers
    A slide names the page of the site that has it.  It is no link, since a deck may be copied away
    from the site, and there is more than one edition of it.
Quiz
    Each question of the chapter is a slide at the end; what is right, and why, is in its notes.
"""

from __future__ import annotations

import copy
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import editions
import nbformat
import notebooks
import teaching
from spoken import escaped, without_tex

CODE_LINES = 14  # of a cell that is shown with its code
TABLE_ROWS, TABLE_TEXT = 8, 650  # rows and characters of a table that fits at a size to be read
NOTES = '<aside class="notes">'
# Blocks of a chapter's text that belong on a slide; everything else is said.
FENCED = re.compile(r"^(`{3,}|:{3,})\{([\w:-]+)\}.*?^\1[ \t]*$", re.M | re.S)
SHOWN = {"math", "prf:definition", "prf:proposition", "prf:algorithm", "admonition", "list-table"}
ITEM = r"(?:-|\d+\.) .*(?:\n  .*)*\n?"
BULLETS = re.compile(rf"(?:{ITEM})+")
DEFINITIONS = re.compile(r"(?:[^\n:].*\n: .*(?:\n  .*)*\n?)+")
PIPES = re.compile(r"(?:\|.*\n?)+")
ROLES = re.compile(
    r"\{(term|ref|prf:ref|numref|eq|cite|cite:\w+|doc|download|code)\}`([^`<]*)(<[^`>]*>)?`"
)
# What is said for a role that only gives a number or a name of its page.
SPOKEN = {
    "ref": "the exercise", "prf:ref": "the statement", "numref": "the figure",
    "eq": "the formula", "cite": "", "cite:t": "the literature", "cite:p": "",
}  # fmt: skip
LINKS = re.compile(r"\[([^\]]+)\]\((?:[^)]+)\)")
NAMES = re.compile(r"^:(?:label|name): *(\S+)", re.M)
REFERENCES = re.compile(r"\{(?:ref|prf:ref|numref|eq)\}`(?:[^`<]*<)?([^`<>]+)>?`")
ABLE, NEEDED = "After this chapter you can", "You need"
WILL_BE_ABLE = "What you will be able to do"
TARGET = re.compile(r"\([\w-]+\)=")
LEFT_OUT = ("Exercises", "Where the numbers come from")


@dataclass
class Item:
    """What stands on one slide, and what is said to it."""

    heading: str
    shown: nbformat.NotebookNode | str
    said: list[str] = field(default_factory=list)


@dataclass
class Column:
    """A section of a chapter: its heading, its slides, and what is to be said with the next one."""

    heading: str
    items: list[Item] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    next_heading: str = ""
    refers: set[str] = field(default_factory=set)  # to what the last paragraph refers

    def show(self, shown: nbformat.NotebookNode | str, names: Sequence[str] = ()) -> None:
        """Add a slide, with what waits for it."""
        if self.items and self.items[-1].said and self.refers & set(names):
            self.waiting.insert(0, self.items[-1].said.pop())
        self.items.append(Item(self.next_heading or self.heading, shown, self.waiting))
        self.waiting, self.next_heading, self.refers = [], "", set()

    def say(self, text: str, raw: str = "") -> None:
        """Add a paragraph to the notes of the last slide, or keep it for the next."""
        self.refers = set(REFERENCES.findall(raw))
        ended = text.rstrip("*_)`\"'").endswith((".", "!", "?"))
        waits = not self.items or self.waiting or not ended
        (self.waiting if waits else self.items[-1].said).append(text)

    def say_printed(self, line: str) -> None:
        """Add what a hidden cell prints to the notes of the slide before it, if there is one."""
        if self.items and not self.waiting:
            self.items[-1].said.append(line)
        else:
            self.waiting.append(line)
            self.printed.append(line)
        self.refers = set()

    def close(self) -> bool:
        """Leave nothing waiting; return whether anything of the section is shown."""
        if not self.items:  # a section of prose shows its first paragraph
            prose = [text for text in self.waiting if text not in self.printed]
            if not prose:
                return False
            self.waiting.remove(prose[0])
            self.items.append(Item(self.heading, prose[0]))
        self.items[-1].said += self.waiting
        self.waiting = []
        return True


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
    if block[2] == "list-table":
        header = re.search(r"^:header-rows: *(\d+)", text, re.M)
        rows = len(re.findall(r"^\* - ", text, re.M)) - int(header[1] if header else 0)
        caption = text.partition("\n")[0].partition("}")[2].strip()
        inside = text[text.find("* - ") :]
        return plain(text if fits(rows, inside) else too_long(caption, rows))
    if not block[2].startswith("prf:"):
        return plain(text)
    first, _, rest = text.partition("\n")
    title = first.partition("}")[2].strip()
    inside = rest.rsplit(block[1], 1)[0].strip()
    kind = block[2].removeprefix("prf:").capitalize()
    return plain(f"**{kind}{f' ({title})' * bool(title)}.**\n\n{inside}")


def fits(rows: int, text: str) -> bool:
    """Return whether a table of so many rows and this text can be read on a slide."""
    return rows <= TABLE_ROWS and len(text) <= TABLE_TEXT


def too_long(caption: str, rows: int) -> str:
    """Return what stands on a slide for a table of many rows."""
    return f"{caption}\n\nThe table has {rows} rows: see the chapter.".strip()


def columns(notebook: nbformat.NotebookNode, name: str = "") -> tuple[str, list[Column]]:
    """Return a chapter's title and its sections, without exercises and solutions.

    The first column has the chapter's opening: its question, and what follows before a heading.
    """
    title, made = "", [Column("")]
    for cell in editions.cut(notebook, "student").cells:
        if cell.cell_type == "code":
            split_cell(cell, made[-1])
            continue
        for part in re.split(r"^(?=#{1,3} )", cell.source, flags=re.M):
            heading, text = "", part
            if found := re.match(r"(#{1,3}) (.*)\n?", part):
                heading, text = found[2].strip(), part[found.end() :]
                if found[1] == "#":
                    title = made[-1].heading = heading
                else:
                    made.append(Column(plain(heading)))
            split_text(text, made[-1], name, opening=len(made) == 1)
    kept = [c for c in made if c.heading not in LEFT_OUT and c.close()]
    return title, kept


def split_cell(cell: nbformat.NotebookNode, column: Column) -> None:
    """Show what a code cell shows; say what it prints if its code is hidden."""
    cell = copy.deepcopy(cell)
    if "hide-input" in cell.metadata.get("tags", []):
        for output in cell.outputs:
            if output.get("name") == "stdout":
                for line in filter(None, map(str.strip, output["text"].splitlines())):
                    column.say_printed(escaped(line))
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stdout"]
    if not visible(cell):
        return
    for output in cell.outputs:
        page = output.get("data", {}).get("text/html", "")
        body = page.rpartition("<tbody>")[2]
        rows = body.count("<tr")
        if not fits(rows, html.unescape(re.sub(r"<.*?>", "", body))):
            caption = re.search(r"<caption>(.*?)</caption>", page, re.S)
            shown = html.unescape(caption[1]) if caption else ""
            column.show(too_long(escaped(shown), rows))
            return
    figure = cell.metadata.get("mystnb", {}).get("figure", {})
    column.show(cell, [figure.get("name", "")])


def split_text(text: str, column: Column, name: str = "", opening: bool = False) -> None:
    """Put the blocks of a text that are looked at on slides, and the rest into the notes."""
    at = 0
    for block in FENCED.finditer(text):
        say(text[at : block.start()], column, opening)
        at = block.end()
        if block[2] in SHOWN:
            column.show(on_slide(block), NAMES.findall(block[0]))
        elif block[2] == "raw" and "explorer" in block[0]:
            column.show(f"Open the explorer on the chapter's page: `book/{name}.html`.")
    say(text[at:], column, opening)


def say(text: str, column: Column, opening: bool = False) -> None:
    """Show the lists of a text, and say the rest, but what is about the page only."""
    defined = False  # definitions that follow one another are one list
    for paragraph in re.split(r"\n\s*\n", text):
        bare = plain(paragraph).strip()
        if not bare or TARGET.fullmatch(bare) or bare.lstrip("*").startswith(NEEDED):
            continue
        if bare.lstrip("*").startswith(ABLE):
            column.next_heading = WILL_BE_ABLE
            continue
        if DEFINITIONS.fullmatch(bare):
            if defined:
                column.items[-1].shown += f"\n\n{bare}"
            else:
                column.show(bare)
            defined = True
            continue
        defined = False
        if BULLETS.fullmatch(bare):
            column.show(bare)
        elif PIPES.fullmatch(bare):
            rows = bare.count("\n") - 1
            column.show(bare if fits(rows, bare) else too_long("", rows))
        elif opening and not column.items:
            column.show(bare)
        else:
            column.say(bare, paragraph)


def visible(cell: nbformat.NotebookNode) -> bool:
    """Return whether a cell shows a figure, a table or a few printed lines."""
    return any(
        {"image/png", "text/html"} & set(output.get("data", {})) or output.get("name") == "stdout"
        for output in cell.outputs
    )


def deck(
    notebook: nbformat.NotebookNode, name: str, quiz: Sequence[teaching.Question] = ()
) -> nbformat.NotebookNode:
    """Return a chapter as a notebook of slides, with its quiz at the end."""
    title, found = columns(notebook, name)
    made = nbformat.v4.new_notebook(metadata=notebook.metadata)
    first = Item(title, "")
    if found and found[0].heading == title and isinstance(found[0].items[0].shown, str):
        first = found[0].items.pop(0)
    put(made, name, f"# {title}\n\n{first.shown}\n\n{notes(first.said)}")
    hidden = [copy.deepcopy(cell) for cell in notebook.cells if cell.cell_type == "code"]
    for cell in hidden:  # what is glued in them may be pasted on any slide
        cell.outputs = [o for o in cell.outputs if "scrapbook" in o.get("metadata", {})]
        cell.metadata["tags"] = ["remove-cell"]
    made.cells += [cell for cell in hidden if cell.outputs]
    asked = Column("Check yourself", [asking(question) for question in quiz])
    for column in [*found, asked]:
        for number, item in enumerate(column.items):
            put(made, name, f"{'##' if number == 0 else '###'} {item.heading}")
            if isinstance(item.shown, str):
                put(made, name, item.shown)
            else:
                made.cells.append(slide(item.shown))
            if item.said:
                put(made, name, notes(item.said))
    return made


def asking(question: teaching.Question) -> Item:
    """Return a question of the quiz with its options; its notes say which is right, and why."""
    letters = "ABCDEFGHIJ"
    options, right, others = [], [], []
    for letter, option in zip(letters, question.options, strict=False):
        text = " ".join(plain(option.text).split())
        options.append(f"- **{letter}** {text}")
        if option.right:
            right.append(f"{letter} is right. {plain(option.why)}")
        else:
            others.append(f"{letter} is not. {plain(option.why)}")
    shown = f"{plain(question.text)}\n\n" + "\n".join(options)
    return Item("Check yourself", shown, right + others)


def put(made: nbformat.NotebookNode, name: str, text: str) -> None:
    """Append a markdown cell."""
    made.cells.append(notebooks.markdown(text, f"slide-{name}-{len(made.cells)}"))


def notes(said: list[str]) -> str:
    """Return what the speaker says, as notes.

    They are written as reveal.js has them: the directive for notes keeps no paragraphs apart.
    """
    if not said:
        return ""
    text = "\n\n".join(map(without_tex, said))
    opens, closes = (f"```{{raw}} html\n{tag}\n```" for tag in (NOTES, "</aside>"))
    return f"{opens}\n\n{text}\n\n{closes}"


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
