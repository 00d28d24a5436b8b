"""How the book is cited, written from CITATION.cff."""

from __future__ import annotations

import yaml
from generated import Book
from notebooks import ROOT


def texts(book: Book) -> str:
    """Return the citation of the book as a sentence and as BibTeX."""
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    authors = ", ".join(_name(author) for author in about["authors"])
    version = about["version"]
    return (
        f"> {authors}. *{about['title']}*. Version {version}. Code, records and text.\n\n"
        f"```bibtex\n@software{{mgcore,\n  author  = {{{{{authors}}}}},\n"
        f"  title   = {{{about['title']}}},\n  version = {{{version}}},\n}}\n```"
    )


def _name(author: dict[str, str]) -> str:
    return author.get("name") or f"{author['given-names']} {author['family-names']}"
