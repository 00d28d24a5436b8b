"""Sphinx extension: keep folded code out of the reader's way, and every line of it reachable.

A notebook cell tagged ``hide-input`` shows its output only. Its code opens below the output, from a
link in the line that names the function which drew a figure. Cells without any output are gathered
at the end of the page under "Code of this page". Exercises and the quiz open on demand, and so do
corrections of the thesis outside the list of errata. Everything is a ``<details>`` element, so that
the keyboard and a browser without scripts open it too.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

TAGS = re.compile(r"<[^>]+>")
CAPTION = re.compile(r"<caption[^>]*>(.*?)</caption>", re.S)
# Sections that open on demand, by their titles, and what their fold says.
FOLDED = {"Exercises": "Show the exercises", "Check yourself": "Show the questions"}
OPEN = {"book/lab"}  # a session, whose content is its exercises
ERRATA = "book/errata"  # the page whose content they are


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def _fold(kind: str, summary: str, content: list[nodes.Node]) -> list[nodes.Node]:
    """Return `content` between the tags of a ``<details>`` element."""
    opened = f'<details class="{kind}"><summary>{summary}</summary>\n'
    return [_html(opened), *content, _html("</details>\n")]


def _heading(node: nodes.Node) -> tuple[str, str]:
    """Return the title and the label of the section that holds `node`."""
    while node is not None and not isinstance(node, nodes.section):
        node = node.parent
    return (node[0].astext(), node["ids"][0]) if node is not None else ("", "")


def _shows(output: nodes.Node) -> bool:
    """Return whether a reader sees something of a cell's output."""
    return bool(output.astext().strip() or list(output.findall(nodes.image)))


def _caption(output: nodes.Node) -> str:
    """Return the caption of the table that an output shows, else a word for it."""
    for raw in output.findall(nodes.raw):
        if found := CAPTION.search(raw.astext()):
            return " ".join(TAGS.sub("", found[1]).split())
    return "Output"


class QuietCode(SphinxPostTransform):
    """Move folded code below what it shows, or to the end of its page."""

    default_priority = 198  # before myst-nb puts its bars around folded code
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Change the page in place."""
        silent: list[nodes.Node] = []
        for cell in list(self.document.findall(nodes.container)):
            mode = cell.get("hide_mode") or ""
            parameters = "tag_parameters" in cell["classes"]
            if cell.get("nb_element") == "cell_code" and ("input" in mode or parameters):
                silent += self.quiet(cell, "output" in mode)
        if silent and self.app.builder.name != "singlehtml":  # which is printed
            count = sum(isinstance(node, nodes.container) for node in silent)
            summary = f"Code of this page ({count} cell{'s' * (count != 1)} without output)"
            end = next(self.document.findall(nodes.section), self.document)
            end += _fold("page-code", summary, silent)
        for section in list(self.document.findall(nodes.section)):
            summary = FOLDED.get(section[0].astext())
            if summary and self.env.docname not in OPEN:
                section[1:] = _fold("part-fold", summary, section.children[1:])
        if self.env.docname != ERRATA:
            for box in list(self.document.findall(nodes.admonition)):
                if "erratum" in box["classes"]:
                    summary = escape(box[0].astext())
                    box.parent.replace(box, _fold("erratum-fold", summary, box.children[1:]))

    def quiet(self, cell: nodes.container, long: bool) -> list[nodes.Node]:
        """Rearrange one cell, or remove it and return what goes to the end of the page.

        Parameters
        ----------
        cell
            Its first child is its code; its last its output, where it has one.
        long
            Fold the output too.
        """
        code, output = cell[0], cell[-1]
        title, label = _heading(cell)
        cell.attributes.pop("hide_mode", None)  # nothing is left to be hidden
        if output is code or not _shows(output):
            cell.parent.remove(cell)
            place = f'<p class="code-place"><a href="#{label}">{escape(title)}</a></p>\n'
            return [_html(place), code]
        # The listing says of what it is the code to those who cannot see where it stands.
        aside = f'Code<span class="visually-hidden"> of the output above, {escape(title)}</span>'
        folded = _fold("cell-code", aside, [code])
        cell.remove(code)
        if long:
            cell[:] = _fold("cell-more", escape(_caption(output)), [output])
        after = cell.next_node(descend=False, siblings=True)
        if isinstance(after, nodes.container) and "made-by" in after["classes"]:
            after += folded
        else:
            cell += nodes.container("", *folded, classes=["made-by"])
        return []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_post_transform(QuietCode)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
