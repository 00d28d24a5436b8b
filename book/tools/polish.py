"""What is done to the built site: lighter pictures and scripts, and names that the theme lacks.

Sphinx and its theme are left as they are; only their output is changed, and every change says so
where the theme no longer has what is changed.
"""

from __future__ import annotations

import base64
import hashlib
import html as markup
import io
import re
from collections.abc import Callable
from pathlib import Path

import notebooks
from notebooks import ROOT
from PIL import Image

IMAGE = re.compile(r"<img\b[^>]*>")
# A figure, and the link to its file that Sphinx puts around some.
FILE = re.compile(r'((?:src|href)="[^"]*?_images/([^"/]+))\.png"')
PHONE = "screen and (max-width: 600px)"  # where a figure is shown as it is drawn for a phone
LAZY = '<img loading="lazy"'
SIDEBAR = '<div id="pst-primary-sidebar" '
# The arrow in the contents that unfolds the pages below one; the theme gives it no name.
OPENER, BELOW = '<summary><span class="toctree-toggle"', "Pages below this one"
# An entry of the references stands in a list; its own role is no longer allowed on what it is.
REFERENCE, ENTRY = 'role="doc-biblioentry"', 'role="listitem"'
MATHJAX = re.compile(r'<script[^>]*src="[^"]*/mathjax/[^"]*"[^>]*></script>\n?')
# Scripts for which a page would wait before it shows anything.
WAITED_FOR = re.compile(r'<script(?![^>]*\b(?:defer|async)\b)(?=[^>]*\bsrc="([^"?]*/)?([^"?/]+))')
AT_ONCE = {"documentation_options.js"}  # a script inside the page needs it
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


def polish(html: Path, source: Path | None = None) -> None:
    """Improve the site in `html`, in place.

    Parameters
    ----------
    html : Path
    source : Path, optional
        What the site was built from; figures of its notebooks are shown narrow on phones.

    Raises
    ------
    SystemExit
        Where the theme has changed so that nothing is found to improve.
    """
    narrow = write_narrow(source, html / "_images") if source else {}
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
        text = FILE.sub(_file(smaller), IMAGE.sub(_patient(narrow), text))
        if 'class="math' not in text:  # Sphinx keeps it where a formula was cut from a page
            text = MATHJAX.sub("", text)
        if page.name != "search.html":  # whose own script runs while it is read
            text = WAITED_FOR.sub(_deferred, text)
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


def write_narrow(source: Path, images: Path) -> dict[str, tuple[int, int]]:
    """Write what figures look like on a phone beside their files, as ``NAME-narrow.webp``.

    Returns
    -------
    dict
        Width and height in pixels of the narrow picture, by the name of the figure's file.
    """
    sizes = {}
    for file in sorted(source.glob("book/*.ipynb")):
        for output in (o for cell in notebooks.read(file).cells for o in cell.get("outputs", [])):
            wide = output.get("data", {}).get("image/png")
            drawn = output.get("metadata", {}).get("image/png", {}).get("narrow")
            if not wide or not drawn:
                continue
            # MyST-NB names a picture by the hash of its bytes.
            name = hashlib.sha256(base64.b64decode(wide)).hexdigest()
            if (images / f"{name}.png").exists():
                picture = base64.b64decode(drawn)
                (images / f"{name}-narrow.webp").write_bytes(picture)
                sizes[name] = Image.open(io.BytesIO(picture)).size
    return sizes


def _patient(narrow: dict[str, tuple[int, int]]) -> Callable[[re.Match[str]], str]:
    """Return what lets an image wait until the reader comes near it, narrow on a phone."""

    def change(match: re.Match[str]) -> str:
        image = match[0] if " loading=" in match[0] else match[0].replace("<img", LAZY, 1)
        found = re.search(r'src="([^"]*?_images/([^"/]+))\.png"', image)
        if not found or found[2] not in narrow:
            return image
        width, height = narrow[found[2]]
        return (
            f'<picture><source media="{PHONE}" srcset="{found[1]}-narrow.webp" '
            f'width="{width}" height="{height}">{image}</picture>'
        )

    return change


def _deferred(script: re.Match[str]) -> str:
    """Let a script run when the page is read, in the order of all such scripts."""
    return script[0] if script[2] in AT_ONCE else f"{script[0]} defer"


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
