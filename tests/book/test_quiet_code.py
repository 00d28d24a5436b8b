"""Folded code: below what it shows or at the end of its page, and never lost."""

from types import SimpleNamespace

import opening
from docutils import nodes
from docutils.utils import new_document
from nbformat import v4
from notebooks import ROOT
from quiet_code import QuietCode


def cell(code: str, shows: str = "", mode: str = "input", tag: str = "hide-input"):
    """Return a code cell as myst-nb hands it over."""
    source = nodes.container("", nodes.literal_block(code, code), nb_element="cell_code_source")
    made = nodes.container("", source, nb_element="cell_code", classes=["cell", f"tag_{tag}"])
    if mode:
        made["hide_mode"] = mode
    if shows:
        shown = nodes.raw("", shows, format="html")
        made += nodes.container("", shown, nb_element="cell_code_output")
    return made


def changed(*content: nodes.Node, title: str = "Part", docname: str = "book/x", builder="html"):
    """Return the text of a page after the extension: raw HTML and code, in order."""
    document = new_document("page")
    part = nodes.section("", nodes.title(title, title), *content, ids=["part"])
    document += nodes.section("", nodes.title("Page", "Page"), part, ids=["page"])
    app = SimpleNamespace(builder=SimpleNamespace(name=builder))
    document.settings.env = SimpleNamespace(app=app, docname=docname)
    QuietCode(document).run()
    return document.astext()


def test_code_follows_its_output_in_the_line_that_names_the_function() -> None:
    line = nodes.container("", nodes.paragraph("", "Drawn by f."), classes=["made-by"])
    text = changed(cell("draw()", "<table>"), line, nodes.paragraph("", "After"))
    words = ("<table>", "Drawn by", '<details class="cell-code">', "draw()", "</det", "After")
    places = [text.index(word) for word in words]
    assert places == sorted(places) and len(line.children) == 4


def test_cells_without_output_are_gathered_at_the_end_with_their_place() -> None:
    parameters = cell("tier = 2", mode="", tag="parameters")
    content = cell("a = 1"), parameters, cell("b", mode="", tag="")
    text = changed(*content, nodes.paragraph("", "Last words"))
    page_code = text.partition("Last words")[2]
    assert "Code of this page (2 cells without output)" in page_code
    assert "a = 1" in page_code and "tier = 2" in page_code and 'href="#part">Part<' in page_code
    assert text.index("\nb\n") < text.index("Last words")  # code that is meant to be read
    assert "Code of" not in changed(cell("a = 1"), builder="singlehtml")


def test_a_long_output_opens_under_the_caption_of_its_table() -> None:
    text = changed(cell("t", "<caption>All <b>costs</b>.</caption>", mode="input+output"))
    assert '<details class="cell-more"><summary>All costs.</summary>' in text


def test_exercises_open_on_demand_but_not_in_a_lab() -> None:
    question = nodes.paragraph("", "Why?")
    assert 'part-fold"><summary>Show the ex' in changed(question.deepcopy(), title="Exercises")
    assert "part-fold" not in changed(question, title="Exercises", docname="book/lab")


def test_a_correction_of_the_thesis_opens_on_demand_outside_the_list_of_errata() -> None:
    def box():
        title = nodes.title("", "Erratum: a sign")
        return nodes.admonition("", title, nodes.paragraph("", "Minus"), classes=["erratum"])

    assert 'erratum-fold"><summary>Erratum: a sign</summary>' in changed(box())
    assert "fold" not in changed(box(), docname="book/errata")


def test_records_that_are_current_become_one_mark_and_stale_ones_stay() -> None:
    current = "a: Current: the code still computes what it did when these results were recorded.\n"
    made = v4.new_notebook(cells=[
        v4.new_code_cell("x", outputs=[v4.new_output("stream", text=current * 2)]),
        v4.new_code_cell("y", outputs=[v4.new_output("stream", text=f"{current}b: STALE: no.\n")]),
    ])  # fmt: skip
    assert opening.take_freshness(made) == 3
    assert [len(c.outputs) for c in made.cells] == [0, 1]
    assert made.cells[1].outputs[0].text == "b: STALE: no.\n"
    assert "[✓ 3 records current](status.md)" in opening.chip(3) and not opening.chip(0)


def test_the_switch_opens_all_code_and_is_remembered(browser, address) -> None:
    page = browser.new_page()
    script = (ROOT / "book" / "_static" / "book.js").read_text("utf-8")
    fold = '<details class="{0}"><summary>S</summary><p id="{0}">x</p></details>'
    body = "".join(fold.format(kind) for kind in ("cell-code", "page-code", "part-fold"))
    html = f'<div class="article-header-buttons"></div><main>{body}</main><script>{script}</script>'
    page.route("**/page*", lambda route: route.fulfill(body=html, content_type="text/html"))
    is_open = "[...document.querySelectorAll('details')].map((fold) => fold.open)"
    page.goto(f"{address}/page")
    assert page.evaluate(is_open) == [False] * 3
    page.get_by_role("button", name="Show code").press("Enter")
    assert page.evaluate(is_open) == [True, True, False]
    page.goto(f"{address}/page?again#part-fold")
    assert page.evaluate(is_open) == [True] * 3
    page.get_by_role("button", name="Show code", pressed=True).click()
    assert page.evaluate(is_open) == [False, False, True]
    page.close()
