"""Open an explorer in a real browser, on a page of its own, so that no built site is needed.

``conftest.py`` hands the fixtures to every test.
"""

import functools
import http.server
import shutil
import threading

import pytest
from notebooks import ROOT

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
BOOK = ROOT / "book"
PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<title>Page</title></head><body><main><h1>Page</h1><h2>Section</h2>{fragment}</main></body></html>
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serve one page an explorer, laid out as the site is, on this machine alone."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(BOOK / "_static", site / "_static")
    (site / "book").mkdir()
    for fragment in BOOK.glob("*_explorer.html"):
        page = PAGE.format(fragment=fragment.read_text("utf-8"))
        (site / "book" / fragment.name).write_text(page, encoding="utf-8")
    handler = functools.partial(_Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    if sync_playwright is None:
        pytest.skip("playwright is not installed, so nothing drives the explorers")
    if CHROMIUM is None:
        pytest.skip("no chromium is on the path, so the explorers run in no browser")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


@pytest.fixture
def visit(browser, address):
    """Return a function that opens an explorer; at the end nothing may have gone wrong in it."""
    wrong, contexts = [], []

    def open_page(name: str, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        ours = (f"{address}/", "data:")
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
        page.on("request", lambda r: r.url.startswith(ours) or wrong.append(f"asks for {r.url}"))
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
        current = (304,)  # what is kept is as it was
        page.on(
            "response",
            lambda r: r.ok or r.status in current or wrong.append(f"{r.status}: {r.url}"),
        )
        page.goto(f"{address}/book/{name}.html")
        page.wait_for_selector("section.xp[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def shown(text: str) -> float:
    """Read a number as the page prints it."""
    return float(text.replace("−", "-").removesuffix("%"))
