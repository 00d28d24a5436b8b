"""Decks cut from chapters: what is shown, what is said, and that they open without a network."""

import notebooks
import pytest
import slides
from browsing import launch, listen, serve
from nbformat import v4
from notebooks import ROOT

OUTPUT = ROOT / "_build" / "slides"
CHAPTERS = notebooks.chapters()


def stream(text: str):
    return v4.new_output("stream", name="stdout", text=text)


def chapter():
    """Return a chapter with one of everything."""
    figure = v4.new_output("display_data", {"image/png": "aaaa", "text/plain": "<Figure>"})
    return v4.new_notebook(cells=[
        v4.new_markdown_cell(
            "# A title\n\n**The question.** Why?\n\n**After this chapter you can**\n\n- do it"
            "\n\n**You need** time."
        ),
        v4.new_markdown_cell(
            "## First\n\nSpoken, see {term}`words <word>` and {eq}`eq-x` in [there](there.ipynb)."
            "\n\n````{prf:definition} Big\n:label: def-x\n\n"
            "```{math}\n:label: eq-x\na = b\n```\n````\n\nAnd this."
        ),
        v4.new_code_cell("draw()", outputs=[figure]),
        v4.new_code_cell("print(1)", outputs=[stream("1\n")]),
        v4.new_code_cell("\n".join(["x = 1"] * 40), outputs=[stream("1\n")]),
        v4.new_code_cell("silent = 1"),
        v4.new_markdown_cell("## Exercises\n\n```{exercise} E\n:label: ex-e\n\nDo.\n```"),
        v4.new_code_cell("answer()", metadata={"tags": ["solution"]}, outputs=[stream("42\n")]),
    ])  # fmt: skip


def test_looked_at_things_are_shown_and_prose_is_said() -> None:
    title, (opening, first) = slides.columns(chapter())
    assert title == "A title"
    assert opening.said == ["**The question.** Why?"] and opening.shown == ["- do it"]
    assert first.heading == "First"
    assert first.said == ["Spoken, see words and the formula in there.", "And this."]
    kinds = [item if isinstance(item, str) else item.source.splitlines()[0] for item in first.shown]
    assert kinds[0].startswith("**Definition (Big).**") and ":label:" not in kinds[0]
    assert kinds[1:] == ["draw()", "print(1)", "x = 1"]


def test_a_caption_leads_nowhere() -> None:
    cell = v4.new_code_cell("draw()", metadata={"mystnb": {"figure": {
        "name": "fig-x", "caption": "As {prf:ref}`alg-x` says, see {eq}`eq-x`."}}})  # fmt: skip
    shown = slides.slide(cell).metadata["mystnb"]["figure"]
    assert shown == {"caption": "As the statement says, see the formula."}


def test_a_deck_has_a_slide_for_each_thing_and_notes() -> None:
    cells = slides.deck(chapter(), "page").cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert (text.count("\n## First"), text.count("\n### First")) == (1, 3)
    assert "revealjs-notes" in text and "Spoken" in text and "You need" not in text
    code = {cell.source.splitlines()[0]: cell.metadata["tags"] for cell in cells
            if cell.cell_type == "code"}  # fmt: skip
    assert code == {"draw()": ["remove-input"], "print(1)": [], "x = 1": ["remove-input"]}
    assert len({cell.id for cell in cells}) == len(cells)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_makes_a_deck_without_its_solutions(path) -> None:
    notebook = notebooks.read(ROOT / path)
    made = slides.deck(notebook, path.stem)
    text = "\n".join(cell.source for cell in made.cells)
    assert text.startswith("# ") and text.count("\n## ") >= 3
    assert text.count("revealjs-notes") >= 3
    assert "{solution-start}" not in text and "{exercise}" not in text


@pytest.mark.slow
def test_the_decks_open_offline() -> None:
    if not (OUTPUT / "index.html").exists():
        pytest.skip("no slides have been built; `make slides` builds them")
    with serve(OUTPUT) as address, launch() as browser:
        for path in CHAPTERS:
            wrong: list[str] = []
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            listen(page, address, wrong)
            page.goto(f"{address}/{path.stem}.html", wait_until="networkidle")
            page.wait_for_function("window.Reveal && Reveal.isReady()")
            assert page.evaluate("Reveal.getTotalSlides()") >= 5
            assert page.evaluate("Reveal.hasPlugin('notes')")
            notes = page.locator("aside.notes").evaluate_all("l => l.map((n) => n.textContent)")
            assert len(notes) >= 3 and all(note.strip() for note in notes)
            nested = page.locator(".slides > section > section section").count()
            assert nested == 0, "a section inside a slide lies over all others"
            assert wrong == []
            page.close()
