"""Check a built site: links that lead somewhere, pictures that say what they show, no other host.

A link to another site in running text is the reader's choice and allowed; a script, style, image or
font from another host is not.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from notebooks import ROOT

LOADS = {"script", "img", "iframe", "source", "video", "audio", "embed", "object", "track"}
# <link> elements that make the browser fetch something.
FETCHED = {"stylesheet", "icon", "shortcut", "preload", "modulepreload", "prefetch", "manifest"}
FETCHED |= {"preconnect", "dns-prefetch", "apple-touch-icon", "mask-icon"}
IN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s;]+)""", re.I)
IN_SCRIPT = re.compile(r"""["'`]((?:https?:)?//[^"'`\s]+?\.(?:m?js|css|woff2?|json|wasm))["'`?#]""")


@dataclass
class Page(HTMLParser):
    """What one HTML page links to, loads, shows and defines."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    inside: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort one element's attributes into the lists."""
        have = {name: value or "" for name, value in attrs}
        self.inside = tag if tag in ("script", "style") else ""
        self.ids |= {have[name] for name in ("id", "name") if name in have}
        if tag == "a" and "href" in have:
            self.links.append(have["href"])
        elif tag == "link" and "href" in have:
            fetched = FETCHED & set(have.get("rel", "").lower().split())
            (self.loads if fetched else self.links).append(have["href"])
        elif tag in LOADS:
            self.loads += [have[name] for name in ("src", "data", "poster") if have.get(name)]
            self.loads += [part.split()[0] for part in have.get("srcset", "").split(",") if part]
        if tag == "img" or (tag == "svg" and have.get("role") == "img"):
            said = have.get("alt") or have.get("aria-label") or have.get("aria-labelledby") or ""
            decoration = have.get("role") in ("presentation", "none")
            if not said.strip() and not decoration:
                self.silent.append(have.get("src", tag)[:80])
        self.loads += IN_STYLE.findall(have.get("style", ""))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag: str) -> None:
        """Note that a script or style ends."""
        self.inside = ""

    def handle_data(self, data: str) -> None:
        """Look for addresses in scripts and styles written into the page."""
        if self.inside == "style":
            self.loads += IN_STYLE.findall(data)
        elif self.inside == "script":
            self.loads += IN_SCRIPT.findall(data)


def elsewhere(address: str) -> bool:
    """Return whether `address` names a host."""
    return bool(urlsplit(address).netloc)


def target(page: Path, address: str) -> tuple[Path, str] | None:
    """Return the file and the anchor that an internal `address` on `page` means, else None."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    file = page if not parts.path else Path(os.path.normpath(page.parent / unquote(parts.path)))
    return (file / "index.html" if file.is_dir() else file), unquote(parts.fragment)


def check(html: Path) -> list[str]:
    """Return everything wrong with the site in `html`, a sentence each; empty: nothing."""
    # _static holds the theme's own templates, no pages of this site.
    files = [f for f in sorted(html.rglob("*.html")) if "_static" not in f.relative_to(html).parts]
    if not files:
        return [f"{html} holds no page."]
    pages = {file: Page(file) for file in files}
    wrong = []
    for file, page in pages.items():
        name = file.relative_to(html)
        wrong += [f"{name}: the picture {shown} has no alt text." for shown in page.silent]
        wrong += [f"{name}: loads {it} from another host." for it in page.loads if elsewhere(it)]
        for address in dict.fromkeys(page.links + page.loads):
            found = target(file, address)
            if found is None:
                continue
            if not found[0].exists() or not found[0].is_relative_to(html):
                wrong.append(f"{name}: the link {address} leads nowhere.")
            elif found[1] and found[0] in pages and found[1] not in pages[found[0]].ids:
                wrong.append(f"{name}: the link {address} leads to no place on its page.")
    for file in sorted(html.rglob("*.css")):
        for address in IN_STYLE.findall(file.read_text("utf-8", errors="replace")):
            wrong.append(f"{file.relative_to(html)}: loads {address} from another host.")
    return wrong


def main() -> int:
    """Check the folder given, or ``_build/html``; return the exit status."""
    html = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html"
    wrong = check(html.absolute())
    print("\n".join(wrong) or f"{os.path.relpath(html)}: nothing wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
