"""Decks cut from chapters: what is shown, what is said, and that they open without a network."""

import re

import notebooks
import pytest
import slides
import spoken
import teaching
from browsing import launch, listen, serve
from nbformat import v4
from notebooks import ROOT

OUTPUT = ROOT / "_build" / "slides"
CHAPTERS = notebooks.chapters()
# What is on each slide, and how large; tables, figures and code may not leave it.
MEASURE = """async () => {
  const all = [], size = (element) => parseFloat(getComputedStyle(element).fontSize);
  for (const slide of Reveal.getSlides()) {
    const {h, v} = Reveal.getIndices(slide);
    Reveal.slide(h, v || 0);
    await new Promise((done) => setTimeout(done, 20));
    const boxes = [...slide.querySelectorAll("table, pre, img")];
    all.push({
      place: [h, v || 0],
      height: slide.scrollHeight,
      width: Math.max(0, ...boxes.map((box) => Math.max(box.scrollWidth, box.offsetWidth))),
      cells: [...slide.querySelectorAll("td, th")].map(size),
      captions: [...slide.querySelectorAll("caption, .caption-text")].map(size),
    });
  }
  return all;
}"""


def stream(text: str):
    return v4.new_output("stream", name="stdout", text=text)


def table(rows: int, text: str = "1"):
    page = f"<table><caption>Of &lt;{rows}&gt;.</caption><thead><tr><th>x</th></tr></thead><tbody>"
    page += f"<tr><td>{text}</td></tr>" * rows + "</tbody></table>"
    return v4.new_output("execute_result", {"text/html": page}, execution_count=1)


def column(*cells) -> slides.Column:
    """Return the one section of a chapter with these cells, texts being markdown."""
    made = [v4.new_markdown_cell("# T\n\nWhy?\n\n## Here")]
    made += [v4.new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    return slides.columns(v4.new_notebook(cells=made), "page")[1][-1]


def hidden(*outputs, source: str = "x"):
    return v4.new_code_cell(source, metadata={"tags": ["hide-input"]}, outputs=list(outputs))


def picture(name: str = ""):
    figure = v4.new_output("display_data", {"image/png": "aaaa", "text/plain": "<Figure>"})
    about = {"mystnb": {"figure": {"name": name}}} if name else {}
    return v4.new_code_cell(f"draw({name!r})", metadata=about, outputs=[figure])


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
    assert [item.shown for item in opening.items] == ["**The question.** Why?", "- do it"]
    assert [item.heading for item in opening.items] == ["A title", "What you will be able to do"]
    assert first.heading == "First"
    said = [item.said for item in first.items]
    assert said == [["Spoken, see words and the formula in there.", "And this."], [], [], []]
    shown = [item.shown for item in first.items]
    kinds = [item if isinstance(item, str) else item.source.splitlines()[0] for item in shown]
    assert kinds[0].startswith("**Definition (Big).**") and ":label:" not in kinds[0]
    assert kinds[1:] == ["draw()", "print(1)", "x = 1"]


def test_a_caption_leads_nowhere() -> None:
    cell = v4.new_code_cell("draw()", metadata={"mystnb": {"figure": {
        "name": "fig-x", "caption": "As {prf:ref}`alg-x` says, see {eq}`eq-x`."}}})  # fmt: skip
    shown = slides.slide(cell).metadata["mystnb"]["figure"]
    assert shown == {"caption": "As the statement says, see the formula."}


def test_a_paragraph_is_a_note_of_the_slide_it_stands_next_to() -> None:
    first, second, third = column(
        "Before all.", picture("fig-a"), "After it.\n\nAs {numref}`fig-b` shows.", picture("fig-b"),
        "Of the second, see {numref}`fig-a`.\n\nThe law is", "```{math}\na\n```\n\nLast.",
    ).items  # fmt: skip
    assert first.said == ["Before all.", "After it."]
    assert second.said == ["As the figure shows.", "Of the second, see the figure."]
    assert third.said == ["The law is", "Last."]


def test_a_list_of_definitions_is_shown_as_one() -> None:
    terms = "new\n: fresh, in\n  two lines;\n\nold\n: $x$."
    (shown,) = column(f"Three starts:\n\n{terms}\n\nSaid.").items
    assert (shown.shown, shown.said) == (terms, ["Three starts:", "Said."])


def test_what_a_hidden_cell_prints_is_said() -> None:
    current = hidden(stream("a*b: Current\n"))
    (shown,) = column(picture(), current).items
    assert shown.said == [r"a\*b: Current"]
    opening = v4.new_markdown_cell("# T\n\nWhy?\n\n## Only a status")
    assert slides.columns(v4.new_notebook(cells=[opening, current]))[1][1:] == []
    both = column(hidden(stream("status\n"), table(2))).items[0]
    assert both.said == ["status"]
    assert [output.output_type for output in both.shown.outputs] == ["execute_result"]
    assert column(v4.new_code_cell("print(1)", outputs=[stream("1\n")])).items[0].said == []


def test_a_table_too_long_for_a_slide_leaves_its_caption() -> None:
    rows = slides.TABLE_ROWS
    assert column(hidden(table(rows))).items[0].shown.outputs
    said = "The table has {} rows: see the chapter."
    for long in (table(rows + 1), table(2, "x" * slides.TABLE_TEXT)):
        count = long.data["text/html"].count("<tr><td>")
        shown = column(hidden(long)).items[0].shown
        assert shown == f"Of \\<{count}\\>.\n\n{said.format(count)}"
    listed = "```{{list-table}} Its caption.\n:header-rows: 1\n\n* - a\n  - b\n{}```"
    short, long = (listed.format("* - 1\n  - 2\n" * n) for n in (rows, rows + 1))
    assert column(short).items[0].shown == short
    assert column(long).items[0].shown == f"Its caption.\n\n{said.format(rows + 1)}"
    pipes = "| a |\n|---|\n" + "| 1 |\n" * (rows + 1)
    assert column(pipes).items[0].shown == said.format(rows + 1)
    assert column(pipes[:-6]).items[0].shown == pipes[:-6].strip()


def test_an_explorer_is_named() -> None:
    (shown,) = column("Choose.\n\n```{raw} html\n:file: some_explorer.html\n```").items
    assert shown.shown == "Open the explorer on the chapter's page: `book/page.html`."
    assert shown.said == ["Choose."]


def test_questions_of_the_quiz_keep_their_answers_in_the_notes() -> None:
    options = (
        teaching.Option("one", "Too few.", False, False),
        teaching.Option("$x^{2h}$", "Counted.", True, False),
    )
    made = slides.deck(chapter(), "page", [teaching.Question("How many?", options)] * 2)
    text = "\n".join(cell.source for cell in made.cells[-6:])
    assert text.count("How many?\n\n- **A** one\n- **B** $x^{2h}$\n") == 2
    shown, _, said = text.partition(slides.NOTES)
    assert "right" not in shown and "Counted" not in shown and "Too few" not in shown
    assert "B is right. Counted.\n\nA is not. Too few." in said


@pytest.mark.parametrize("tex, read", [
    (r"\mathbf K^{2h} = \mathbf R\,\mathbf K^h\,\mathbf P", "K^2h = R K^h P"),
    (r"\frac ab + \tfrac14\frac{a+b}{2 c}", "a/b + 1/4 (a+b)/(2 c)"),
    (r"\alpha_\theta\,\|\theta\|^2 \le \varepsilon", "α_θ ‖θ‖^2 ≤ ε"),
    (r"\left(x_{k+1}\right)^{-1} \in \mathbb R^n", "(x_(k+1))^-1 ∈ ℝ^n"),
    (r"\sqrt{0.5\,e} \quad \sqrt b", "√(0.5 e) √b"),
    (r"\frac{a + b}{\sqrt{0.5\,e}}", "(a + b)/√(0.5 e)"),
    (r"n\times n, \tanh(\dot x), \cos\frac\omega2, \min_p m", "n×n, tanh(ẋ), cos ω/2, min_p m"),
    (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "a = b; c = d"),
])  # fmt: skip
def test_tex_is_read_as_plain_text(tex: str, read: str) -> None:
    assert spoken.readable(tex) == read


def test_only_the_formulas_of_a_note_change() -> None:
    said = spoken.without_tex("**So** $a_{i}*b$ costs\n`$\\alpha$` and \\$5, $$\\beta < c$$.")
    assert said == r"**So** a\_i\*b costs `$\alpha$` and \$5, β \< c."


def test_a_deck_has_a_slide_for_each_thing_and_notes() -> None:
    cells = slides.deck(chapter(), "page").cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert (text.count("\n## First"), text.count("\n### First")) == (1, 3)
    assert slides.NOTES in text and "Spoken" in text and "You need" not in text
    code = {cell.source.splitlines()[0]: cell.metadata["tags"] for cell in cells
            if cell.cell_type == "code"}  # fmt: skip
    assert code == {"draw()": ["remove-input"], "print(1)": [], "x = 1": ["remove-input"]}
    assert len({cell.id for cell in cells}) == len(cells)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_makes_a_deck_without_its_solutions(path) -> None:
    notebook = notebooks.read(ROOT / path)
    quiz = teaching.read(path.stem).quiz
    made = slides.deck(notebook, path.stem, quiz)
    text = "\n".join(cell.source for cell in made.cells)
    assert text.startswith("# ") and text.count("\n## ") >= 3
    assert text.count(slides.NOTES) >= 3 and text.count("# Check yourself") == len(quiz) > 0
    said = "".join(re.findall(f"{slides.NOTES}.*?</aside>", text, re.S))
    outside = re.sub(r"`[^`]*`|\\[\W_]", "", said)  # code, and escapes of markup
    assert "$" not in outside and not re.search(r"\\[A-Za-z]", outside), "TeX in the notes"
    assert "{solution-start}" not in text and "{exercise}" not in text


@pytest.mark.slow
def test_the_decks_open_offline() -> None:
    if not (OUTPUT / "index.html").exists():
        pytest.skip("no slides have been built; `make slides` builds them")
    with serve(OUTPUT) as address, launch() as browser:
        for name in ("index", *(path.stem for path in CHAPTERS)):
            wrong: list[str] = []
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            listen(page, address, wrong)
            page.goto(f"{address}/{name}.html", wait_until="networkidle")
            page.wait_for_function("window.Reveal && Reveal.isReady()")
            assert page.evaluate("Reveal.getTotalSlides()") >= 5
            assert page.evaluate("Reveal.hasPlugin('notes')")
            notes = page.locator("aside.notes").evaluate_all("l => l.map((n) => n.textContent)")
            assert len(notes) >= 3 and all(note.strip() for note in notes)
            size, wide, high, table, caption = 26, 1120, 760, 0.8, 0.7
            for slide in page.evaluate(MEASURE):
                assert slide["height"] <= high and slide["width"] <= wide, slide
                assert all(px >= table * size - 0.1 for px in slide["cells"]), slide
                assert all(px >= caption * size - 0.1 for px in slide["captions"]), slide
            nested = page.locator(".slides > section > section section").count()
            assert nested == 0, "a section inside a slide lies over all others"
            assert wrong == []
            page.close()
