"""Open an explorer in a real browser, on a page of its own, so that no built site is needed.

``conftest.py`` hands the fixtures to every test.
"""

import shutil

import pytest
from browsing import launch, listen, serve
from notebooks import ROOT

BOOK = ROOT / "book"
PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<title>Page</title></head><body><main><h1>Page</h1><h2>Section</h2>{fragment}</main></body></html>
"""
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Serve one page an explorer, laid out as the site is, on this machine alone."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(BOOK / "_static", site / "_static")
    (site / "book").mkdir()
    for fragment in BOOK.glob("*_explorer.html"):
        page = PAGE.format(fragment=fragment.read_text("utf-8"))
        (site / "book" / fragment.name).write_text(page, encoding="utf-8")
    with serve(site) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with launch() as found:
        yield found


@pytest.fixture(scope="module")
def desktop(browser, address):
    """The page on a wide screen that the tests of a file load anew, and what goes wrong in it."""
    page, wrong = browser.new_page(viewport=WIDE), []
    listen(page, address, wrong)
    yield page, wrong
    page.close()


@pytest.fixture
def visit(browser, address, desktop):
    """Return a function that opens an explorer; at the end nothing may have gone wrong in it.

    Another screen than the wide one is a page of its own.
    """
    contexts, (wide, wrong) = [], desktop
    wrong.clear()

    def open_page(name: str, **screen):
        page = wide
        if screen:
            contexts.append(browser.new_context(**{"viewport": WIDE} | screen))
            page = contexts[-1].new_page()
            listen(page, address, wrong)
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
