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


@pytest.fixture(scope="module")
def desktop(browser):
    """The page on a wide screen that the tests of a file load anew, one after another."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield page
    page.close()


@pytest.fixture
def visit(browser, address, desktop):
    """Return a function that opens an explorer; at the end nothing may have gone wrong in it.

    Another screen than the wide one is a page of its own.
    """
    wrong, contexts = [], []
    ours, unchanged = (f"{address}/", "data:"), 304
    complaints = {
        "pageerror": lambda error: wrong.append(str(error)),
        "console": lambda m: m.type in ("error", "warning") and wrong.append(m.text),
        "request": lambda r: r.url.startswith(ours) or wrong.append(f"asks for {r.url}"),
        "requestfailed": lambda request: wrong.append(f"failed: {request.url}"),
        "response": lambda r: r.ok or r.status == unchanged or wrong.append(f"{r.status}: {r.url}"),
    }

    def open_page(name: str, **screen):
        page = desktop
        if screen:
            contexts.append(browser.new_context(**{"viewport": desktop.viewport_size} | screen))
            page = contexts[-1].new_page()
        for event, complain in complaints.items():
            page.on(event, complain)
        page.goto(f"{address}/book/{name}.html")
        page.wait_for_selector("section.xp[data-ready]")
        return page

    yield open_page
    for event, complain in complaints.items():
        desktop.remove_listener(event, complain)
    for context in contexts:
        context.close()
    assert wrong == []


def shown(text: str) -> float:
    """Read a number as the page prints it."""
    return float(text.replace("−", "-").removesuffix("%"))
