"""Lay out what Sphinx reads: the tree of the book, chapters executed and cut, pages completed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import drawn
import editions
import generated
import notebooks
import teaching
import worksheet
from notebooks import ROOT
from opening import open_chapter

COPIED = {".md", ".html", ".bib", ".yml", ".css", ".js", ".py"}
COPIED |= {".png", ".jpg", ".svg", ".gif", ".webp"}
NOT_COPIED = {"tools", "records", "teaching", "__pycache__"}


def gather(executed: Path, source: Path, edition: str = "book") -> None:
    """Lay out in `source` what Sphinx reads for an edition.

    Parameters
    ----------
    executed
        Folder of the executed notebooks.
    source
        Made anew.
    edition
        One of :data:`editions.EDITIONS`.

    Raises
    ------
    SystemExit
        Where a chapter has not been executed, or a page asks for a part that nothing generates.
    """
    editions.check(edition)
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(ROOT / name, source / name)
    for file in sorted(ROOT.glob("book/**/*")):
        inside = file.relative_to(ROOT)
        if file.suffix in COPIED and file.is_file() and not NOT_COPIED & set(inside.parts):
            (source / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, source / inside)
    config = source / "_config.yml"
    config.write_text(editions.name_site(config.read_text("utf-8"), edition), encoding="utf-8")
    for page in (source / "book").glob("**/*.md"):
        page.write_text(editions.cut_page(page.read_text("utf-8"), edition), encoding="utf-8")
    chapters, shown = {}, []
    for path in notebooks.chapters():
        if not (executed / path).exists():
            raise SystemExit(f"{path} has not been executed into {os.path.relpath(executed)}.")
        told = teaching.read(path.stem)
        remarks = dict(told.mistakes), dict(told.minutes)
        chapter = editions.cut(notebooks.read(executed / path), edition, *remarks)
        figures = drawn.find(notebooks.strip(chapter), path)
        teaching.add_quiz(open_chapter(chapter, path.stem), path.stem)
        notebooks.write(drawn.link(chapter, figures), source / path)
        chapters[path] = chapter
        shown += figures
    if any(path.stem == worksheet.CHAPTER for path in chapters):
        worksheet.write(source / "book")
    generated.fill(generated.Book(source, edition, chapters, tuple(shown)))
