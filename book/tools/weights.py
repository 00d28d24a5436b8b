"""How much each page asks for beyond the theme and MathJax: its own text, pictures and scripts."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from check_site import Page, target
from notebooks import ROOT

TEXT = {".html", ".css", ".js", ".svg"}


def size(file: Path) -> int:
    """Return the bytes that a server sends of a file; text is sent gzipped."""
    content = file.read_bytes()
    return len(gzip.compress(content, 6)) if file.suffix in TEXT else len(content)


def ours(html: Path, file: Path) -> bool:
    """Return whether a file of the site comes from this book, not from a theme or an extension."""
    inside = file.relative_to(html)
    if inside.parts[0] != "_static":
        return True
    return (ROOT / "book" / inside).exists()


def weigh(html: Path, page: Path) -> dict[str, int]:
    """Return the bytes of a page and of everything ours that it loads, by file, heaviest first.

    Pictures that are only loaded when a reader comes near them count like all others.  Figures are
    loaded either all wide or all narrow, and the heavier of both counts.
    """
    files = {page}
    for address in Page(page).loads:
        found = target(page, address.partition("?")[0])
        if found and found[0].exists() and ours(html, found[0]):
            files.add(found[0])
    narrow = {file for file in files if file.stem.endswith("-narrow")}
    names = {file.stem.removesuffix("-narrow") for file in narrow}
    wide = {file for file in files if file.stem in names}
    files -= min(wide, narrow, key=lambda some: sum(map(size, some)))
    sizes = {file.relative_to(html).as_posix(): size(file) for file in files}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def theirs(html: Path, page: Path) -> int:
    """Return the bytes of what a page loads of the theme's, without what MathJax loads later."""
    files = set()
    for address in Page(page).loads:
        found = target(page, address.partition("?")[0])
        if found and found[0].is_file() and not ours(html, found[0]):
            files.add(found[0])
    return sum(map(size, files))


def main() -> int:
    """Print a line for each page of the folder given, or of ``_build/html``."""
    html = (Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html").absolute()
    for page in sorted(html.glob("book/*.html")):
        sizes = weigh(html, page)
        print(
            f"{page.stem:16} {sum(sizes.values()) / 1000:6.0f} kB ours, "
            f"{theirs(html, page) / 1000:6.0f} kB theirs; {len(sizes) - 1} files"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
