"""Print the whole book into one PDF with Chromium: every chapter in order, formulas typeset."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import guard
from build_site import COMMAND, complaints
from layout import gather
from notebooks import ROOT

FOLDER, FILE = ROOT / "_build" / "pdf", ROOT / "_build" / "book.pdf"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FOOTER = '<span style="font-size: 8px; margin: 0 auto" class="pageNumber"></span>'
# Everything that a printed page cannot do is left out; folded cells stay folded.
STYLE = """
@page { margin: 18mm 16mm; }
.bd-header, .bd-header-article, .bd-sidebar-primary, .bd-sidebar-secondary, .bd-footer,
.prev-next-footer, .search-button, .copybtn, .headerlink, .skip-link { display: none !important; }
.bd-main, .bd-content, .bd-article-container { max-width: 100% !important; padding: 0 !important; }
body { font-size: 10pt; }
h1 { break-before: page; }
figure, table, .admonition, .math { break-inside: avoid; }
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing about requests."""


def single_page() -> Path:
    """Build the book as one HTML page and return it.

    Raises
    ------
    SystemExit
        Where Sphinx warns or fails.
    """
    source = FOLDER / "source"
    gather(ROOT / "_build" / "executed", source)
    command = [*COMMAND, str(source), "--all"]
    command += ["--builder", "custom", "--custom-builder", "singlehtml", "--keep-going"]
    command += ["--path-output", str(FOLDER)]
    environment = os.environ | {"NO_COLOR": "1", "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", errors="replace"
    )
    pages = list((FOLDER / "_build" / "singlehtml").glob("**/*.html"))
    if done.returncode or not pages:
        said = (done.stdout + done.stderr).splitlines(keepends=True)
        raise SystemExit(f"The book was not built:\n{complaints(said, source)}")
    return max(pages, key=lambda page: page.stat().st_size)


def render(page: Path, chromium: str) -> None:
    """Print `page` into the PDF."""
    from playwright.sync_api import sync_playwright

    root = FOLDER / "_build" / "singlehtml"
    handler = functools.partial(_Quiet, directory=root)
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(color_scheme="light")
        tab.set_default_timeout(600_000)
        address = f"http://127.0.0.1:{server.server_port}/{page.relative_to(root).as_posix()}"
        tab.goto(address, wait_until="networkidle")
        tab.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")
        tab.add_style_tag(content=STYLE)
        tab.pdf(
            path=FILE, format="A4", print_background=True, outline=True, tagged=True,
            display_header_footer=True, header_template="<span></span>",
            footer_template=FOOTER,
        )  # fmt: skip
        browser.close()
        server.shutdown()


def main() -> int:
    """Print the book; say what is missing where it cannot be printed."""
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        print(f"No PDF: it needs Chromium on the path ({', '.join(NAMES)}).", file=sys.stderr)
        return 1
    render(single_page(), chromium)
    print(f"The book is at {os.path.relpath(FILE)} ({FILE.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(guard.until_stopped(main))
