"""What is done to the built site: lighter pictures and scripts, and names that the theme lacks.

Sphinx and its theme are left as they are; only their output is changed, and every change says so
where the theme no longer has what is changed.
"""

from __future__ import annotations

import html as markup
import io
import re
from collections.abc import Callable
from pathlib import Path

from notebooks import ROOT
from PIL import Image

IMAGE = re.compile(r"<img\b[^>]*>")
# A figure, and the link to its file that Sphinx puts around some.
FILE = re.compile(r'((?:src|href)="[^"]*?_images/([^"/]+))\.png"')
LAZY = '<img loading="lazy"'
SIDEBAR = '<div id="pst-primary-sidebar" '
# The arrow in the contents that unfolds the pages below one; the theme gives it no name.
OPENER, BELOW = '<summary><span class="toctree-toggle"', "Pages below this one"
# An entry of the references stands in a list; its own role is no longer allowed on what it is.
REFERENCE, ENTRY = 'role="doc-biblioentry"', 'role="listitem"'
MATHJAX = re.compile(r'<script[^>]*src="[^"]*/mathjax/[^"]*"[^>]*></script>\n?')
PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
SENTENCES = 60  # characters at least of a paragraph that describes a page
DESCRIPTION = 160  # characters that search engines show
ICON = re.compile(
    r"""(?:"([\w-]+)"|\b([a-z]\w*)):\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?"""
)
ICONS_ADDED_BY_SCRIPTS = {"xmark"}
# Comments on lines of their own, in scripts and style sheets; a notice of a licence stays.
COMMENT = re.compile(r"^[ \t]*/\*(?:(?!\*/).)*\*/[ \t]*\n", re.M | re.S)
NOTICE = re.compile(r"Apache|CC0|MIT|licen[cs]e", re.I)


def polish(html: Path) -> None:
    """Improve the site in `html`, in place.

    Raises
    ------
    SystemExit
        Where the theme has changed so that nothing is found to improve.
    """
    smaller = {file.stem for file in (html / "_images").glob("*.png") if lighten(file)}
    pages = [file for file in html.rglob("*.html") if "_static" not in file.relative_to(html).parts]
    used: set[str] = set(ICONS_ADDED_BY_SCRIPTS)
    named = 0
    for page in pages:
        text = page.read_text("utf-8")
        used |= set(re.findall(r"\bfa-([a-z0-9-]+)", text))
        named += SIDEBAR in text
        text = text.replace(SIDEBAR, SIDEBAR + 'role="complementary" aria-label="Book" ')
        text = text.replace(OPENER, OPENER.replace(">", f' aria-label="{BELOW}">', 1))
        text = text.replace(REFERENCE, ENTRY)
        text = FILE.sub(_file(smaller), IMAGE.sub(_patient, text))
        if 'class="math' not in text:  # Sphinx keeps it where a formula was cut from a page
            text = MATHJAX.sub("", text)
        text = text.replace("</title>", "</title>" + description(text), 1)
        page.write_text(text, encoding="utf-8")
    if pages and not named:
        raise SystemExit(f"polish: no page has {SIDEBAR!r}; the theme has changed.")
    keep_icons(html / "_static" / "scripts" / "fontawesome.js", used)
    for file in (html / "_static").glob("*.*"):
        if file.suffix in (".js", ".css") and (ROOT / "book" / "_static" / file.name).exists():
            short = shorten(file.read_text("utf-8"), file.suffix == ".css")
            file.write_text(short, encoding="utf-8")


def shorten(text: str, style: bool = False) -> str:
    """Return a script or style sheet of ours without comments and indentation.

    Of a style sheet (`style`), spaces that separate nothing go too.

    Readers download these; the repository keeps the text that people read.
    """
    text = COMMENT.sub(lambda comment: comment[0] if NOTICE.search(comment[0]) else "", text)
    if any(line.count("`") % 2 for line in text.splitlines()):
        return text  # a template goes over several lines, and its spaces count
    text = re.sub(r"^[ \t]+", "", text, flags=re.M)
    return re.sub(r"(?<=[;:{},])\s+|\s+(?=[{}])", "", text) if style else text


def description(text: str) -> str:
    """Return the meta element with the first paragraph of a page, shortened, or with its title.

    Paragraphs with formulas, parts of sentences and the opening line of a chapter do not count.
    """
    found = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
    chosen = markup.unescape(" ".join(found[1].split())) if found else ""
    article = text.partition("<article")[2]
    article = re.sub(
        r'<div class="opening .*?</div>|<figcaption.*?</figcaption>', "", article, flags=re.DOTALL
    )
    for paragraph in PARAGRAPH.findall(article):
        words = " ".join(markup.unescape(re.sub(r"<[^>]+>", "", paragraph)).split())
        if len(words) >= SENTENCES and words[0].isupper() and "\\(" not in words:
            chosen = words
            break
    if len(chosen) > DESCRIPTION:
        chosen = chosen[:DESCRIPTION].rsplit(" ", 1)[0] + " …"
    return f'<meta name="description" content="{markup.escape(chosen)}">'


def lighten(file: Path) -> bool:
    """Replace a PNG by a lossless WebP, if that is smaller; say whether it was."""
    picture = Image.open(file).convert("RGB")
    packed = io.BytesIO()
    picture.save(packed, "webp", lossless=True, quality=100, method=4)  # effort, not loss
    if len(packed.getvalue()) >= file.stat().st_size:
        return False
    file.with_suffix(".webp").write_bytes(packed.getvalue())
    file.unlink()
    return True


def _file(smaller: set[str]) -> Callable[[re.Match[str]], str]:
    """Return what gives a figure the name of its smaller file."""

    def rename(match: re.Match[str]) -> str:
        return f'{match[1]}.webp"' if match[2] in smaller else match[0]

    return rename


def _patient(image: re.Match[str]) -> str:
    """Let an image wait until the reader comes near it."""
    return image[0] if " loading=" in image[0] else image[0].replace("<img", LAZY, 1)


def keep_icons(script: Path, used: set[str]) -> None:
    """Take the icons that no page uses out of the theme's script of icons.

    Raises
    ------
    SystemExit
        Where the script holds no icon in the form expected.
    """
    if not script.exists():
        return
    text = script.read_text("utf-8")
    kept: set[str] = set()

    def choose(match: re.Match[str]) -> str:
        names = {match[1] or match[2], *re.findall(r'"([\w-]+)"', match[3])}
        if names & used:
            kept.update(names)
            return match[0]
        return ""

    # What is left may end in a comma, which an object in JavaScript may.
    text, found = ICON.subn(choose, text)
    if not found or not kept:
        raise SystemExit(f"polish: {script.name} holds no icon as expected; the theme has changed.")
    script.write_text(text, encoding="utf-8")
    script.with_name(script.name + ".map").unlink(missing_ok=True)
