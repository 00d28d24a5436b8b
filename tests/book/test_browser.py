"""Every page of the built site in Chromium: offline, typeset, searchable, light, accessible.

One load a page serves all questions.  Colours are asked for in both themes and both widths; the
other rules of axe-core, which no colour changes, at one width in each theme.  Before the colours,
parts that nobody looks at are removed, for axe-core goes through all of a page every time.
"""

import pytest
from browsing import launch, listen, serve
from notebooks import ROOT
from weights import weigh

try:
    from axe_playwright_python.sync_playwright import Axe
except ImportError:
    Axe = None

HTML = ROOT / "_build" / "html"
# Whatever was built, so that a new chapter is visited too.
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("book/*.html")) + [
    "search.html",
    "genindex.html",
]
WIDTHS, THEMES = (1280, 390), ("light", "dark")
COLOURS = ["color-contrast", "link-in-text-block"]
# Ends when the keyboard can reach every output that scrolls, or after 5 s: axe-core then complains.
# Captions that are narrower than their table, or below its header: their first words.
CAPTIONS = """() => [...document.querySelectorAll("div.cell_output table caption")].filter((e) => {
    const box = e.getBoundingClientRect(), header = e.parentElement.querySelector("thead");
    if (!box.width || !header) return false;  // folded away
    const table = header.getBoundingClientRect();
    return box.width < Math.min(250, table.width - 2) || box.bottom > table.top + 1;
}).map((e) => e.textContent.slice(0, 60))"""
REACHABLE = """async () => {
    const late = () => [...document.querySelectorAll("div.output.text_html")]
        .some((e) => e.scrollWidth > e.clientWidth && e.tabIndex !== 0);
    for (let k = 0; k < 50 && late(); k++) await new Promise((done) => setTimeout(done, 100));
}"""
SETTLED = """() => Promise.race([
    Promise.all(document.getAnimations().map((a) => a.finished.catch(() => 0))).then(() => 0),
    new Promise((done) => setTimeout(done, 1000)),  // some never end
])"""
PATIENCE = 300_000  # ms: a long chapter's formulas take a minute on a machine that is busy
LIMIT = 350  # kB that a page may ask for beyond the theme and MathJax; figures keep all colours
# Rules of axe-core that the theme breaks, with the elements and the reason. Ours: none.
THEME_BREAKS: dict[str, tuple[str, str]] = {}

# Elements of one ancestry of tags, classes and styles have the same colours, so one of each kind
# is looked at: on a long chapter that is a few hundred elements instead of ten thousand.
REPRESENTATIVES = """() => {
    const seen = new Map(), kind = (e) => e.nodeName + "." + e.getAttribute("class") +
        (e.getAttribute("style") || "");
    const path = (e) => (e ? path(e.parentElement) + ">" + kind(e) : "");
    for (const e of document.querySelectorAll("body *")) {
        if (e.closest("mjx-assistive-mml, script, style")) continue;
        const speaks = [...e.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
        const where = e.closest("mjx-container");
        if (where || speaks) {
            const one = where || e, key = path(one);
            if (!seen.has(key)) seen.set(key, one);
        }
    }
    for (const e of seen.values()) e.setAttribute("data-looked-at", "");
    return seen.size;
}"""
# Most elements of a page are parts of formulas and words of code.
CUT_DOWN = """() => {
    for (const e of document.querySelectorAll(
        "mjx-container:not([data-looked-at]) > *, mjx-assistive-mml, pre span"
    )) {
        if (!e.matches("[data-looked-at]") && !e.querySelector("[data-looked-at]")) e.remove();
    }
}"""
SHOW_ALL = """async () => {
    for (const picture of document.images) picture.loading = "eager";
    await Promise.all([...document.images].map((picture) => picture.decode().catch(() => {})));
}"""
# Figures that a phone does not get as they are drawn for one, with letters of 11 pixels or more.
NOT_NARROW = """async () => {
    const figures = document.querySelectorAll("main figure img:not([src$='.svg'])");
    const shown = [...figures].filter((i) => i.clientWidth);
    await Promise.all(shown.map((picture) => picture.decode().catch(() => {})));
    return shown.filter((i) => !i.currentSrc.includes("-narrow.") || i.clientWidth < 342)
        .map((i) => `${i.clientWidth} pixels: ${i.currentSrc}`);
}"""
BROKEN = "[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)"
FORMULAS = """() => ({
    asked: document.querySelectorAll(".math").length,
    set: document.querySelectorAll(".math mjx-container").length,
    wrong: [...document.querySelectorAll("mjx-merror, [data-mjx-error]")].map((e) => e.textContent),
})"""


@pytest.fixture(scope="module")
def address():
    with serve(HTML) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with launch() as found:
        yield found


def judge(page, rules: list[str], run: bool, include: str | None = None) -> list[str]:
    """Run axe-core with `rules`, or without them, and return what it complains of, a line each."""
    some = {"runOnly": rules} if run else {"rules": {rule: {"enabled": False} for rule in rules}}
    options = {"preload": False, "resultTypes": ["violations"], **some}
    context = {"include": [[include]]} if include else None
    found = Axe().run(page, context=context, options=options).response["violations"]
    wrong = []
    for violation in found:
        selector, _ = THEME_BREAKS.get(violation["id"], (None, None))
        for node in violation["nodes"]:
            inside = selector and page.locator(node["target"][0]).first.evaluate(
                "(e, s) => !!e.closest(s)", selector
            )
            if not inside:
                wrong.append(f"{violation['id']} ({violation['impact']}): {node['html'][:200]}")
    return wrong


def settle(page) -> None:
    """Wait until MathJax, where a page has formulas, is done; its script comes last."""
    page.wait_for_function(
        "!document.querySelector('.math') || (window.MathJax?.startup?.promise && true)"
    )
    page.evaluate("window.MathJax?.startup?.promise")


class Visit:
    """A page in one of two themes and at one of two widths, and what axe-core complains of."""

    def __init__(self, page) -> None:
        self.page, self.width, self.complaints = page, WIDTHS[0], []

    def turn(self, theme: str, width: int) -> None:
        """Show the page in that theme and at that width, at which nothing may stick out."""
        self.page.emulate_media(color_scheme=theme)
        self.page.wait_for_function(
            "theme => document.documentElement.dataset.theme === theme", arg=theme
        )
        if width != self.width:
            self.page.set_viewport_size({"width": width, "height": 900})
            # The theme looks for what scrolls 300 ms later, or when the machine has time for it.
            self.page.wait_for_timeout(400)
            self.page.evaluate(REACHABLE)
        self.page.evaluate(SETTLED)  # colours change over a moment
        self.where, self.width = f"{theme}, {width} px: ", width
        assert self.page.evaluate("document.documentElement.scrollWidth") <= width, self.where
        assert self.page.evaluate(CAPTIONS) == [], self.where

    def judge(self, *arguments) -> None:
        self.complaints += [self.where + found for found in judge(self.page, *arguments)]


@pytest.mark.parametrize("name", PAGES)
class TestPage:
    def test_page(self, browser, address, name: str) -> None:
        if Axe is None:
            pytest.skip("axe-playwright-python is not installed, so nothing judges the pages")
        wrong: list[str] = []
        context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900})
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        listen(page, address, wrong)
        page.goto(f"{address}/{name}", wait_until="networkidle")
        settle(page)
        formulas = page.evaluate(FORMULAS)
        assert formulas["wrong"] == [] and formulas["set"] >= formulas["asked"]
        page.evaluate(SHOW_ALL)
        assert page.evaluate(BROKEN) == []
        page.evaluate(REPRESENTATIVES)
        (light, dark), (wide, narrow), visit = THEMES, WIDTHS, Visit(page)
        visit.turn(light, wide)
        visit.judge(COLOURS, False)
        visit.turn(dark, wide)
        visit.turn(light, narrow)
        assert page.evaluate(NOT_NARROW) == []
        visit.turn(dark, narrow)
        visit.judge(COLOURS, False)
        page.evaluate(CUT_DOWN)
        for theme, width in ((dark, narrow), (light, narrow), (light, wide), (dark, wide)):
            visit.turn(theme, width)
            visit.judge(COLOURS, True, "[data-looked-at]")
        context.close()
        assert wrong + visit.complaints == []


class TestSite:
    def test_search_finds_what_a_page_says(self, browser, address) -> None:
        wrong: list[str] = []
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        listen(page, address, wrong)
        page.goto(f"{address}/book/index.html", wait_until="networkidle")
        # The theme listens for the shortcut from some time after the network is idle.
        for _ in range(20):
            page.keyboard.press("Control+k")
            page.wait_for_timeout(1000)
            if page.locator("#pst-search-dialog[open] input").count():
                break
        page.wait_for_selector("#pst-search-dialog[open] input", timeout=10_000)
        page.keyboard.type("Galerkin")
        page.keyboard.press("Enter")
        page.wait_for_selector("ul.search li a")
        found = page.locator("ul.search li a").evaluate_all("l => l.map((a) => a.href)")
        assert any("book/method.html" in link for link in found)
        assert wrong == []

    @pytest.mark.parametrize("name", PAGES)
    def test_a_page_is_light(self, name: str) -> None:
        sizes = weigh(HTML, HTML / name)
        kilobytes, most = sum(sizes.values()) / 1000, list(sizes.items())[:3]
        assert kilobytes <= LIMIT, f"{name} weighs {kilobytes:.0f} kB; heaviest: {most}"
