"""Editions, before Sphinx and after: a student's copy holds no solution anywhere."""

import functools
import re
from pathlib import Path

import editions
import notebooks
import pytest
from nbformat import v4
from notebooks import ROOT

CHAPTERS = notebooks.chapters()
STUDENT = ROOT / "_build" / "student" / "_build" / "html"
INSTRUCTOR = ROOT / "_build" / "instructor" / "_build" / "html"


def built(html: Path) -> Path:
    if not (html / "index.html").exists():
        pytest.skip(f"{html.relative_to(ROOT)} has not been built; `make editions` builds it")
    return html


@functools.cache
def text_of(path: Path, solved: bool) -> str:
    """Return the text of a chapter's solutions, or of all the rest of it."""
    cells = notebooks.read(ROOT / path).cells
    return "\n".join(cell.source for cell in cells if editions.is_solution(cell) == solved)


@functools.cache
def solutions(path: Path) -> list[str]:
    """Return the lines that stand in a chapter's solutions, and nowhere outside of solutions."""
    outside = "\n".join(text_of(each, solved=False) for each in CHAPTERS)
    lines = (line.strip() for line in text_of(path, solved=True).splitlines())
    telling = [line for line in lines if len(line) > 30 and not line.startswith(("`", ":"))]
    return [line for line in telling if line not in outside]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_student_gets_the_exercises_and_no_solution(path: Path) -> None:
    whole = notebooks.read(ROOT / path)
    cut = editions.cut(whole, "student")
    assert editions.exercises(cut) == editions.exercises(whole) != {}
    left = "\n".join(cell.source for cell in cut.cells)
    assert solutions(path) and not [line for line in solutions(path) if line in left]
    assert "solution" not in re.findall(r"\{(\w+)-start\}", left)
    assert len(whole.cells) > len(cut.cells)  # the chapter itself is not changed


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_book_is_the_chapter(path: Path) -> None:
    whole = notebooks.read(ROOT / path)
    assert editions.cut(whole, "book") == whole


def example():
    """Return a chapter with one exercise whose solution took two seconds."""
    tag = {"tags": ["solution"]}
    stamps = {"start_time": "2026-01-01T10:00:00", "end_time": "2026-01-01T10:00:02"}
    return v4.new_notebook(cells=[
        v4.new_markdown_cell("```{exercise} Add\n:label: ex-add\n\nAdd.\n```"),
        v4.new_markdown_cell(
            "```{solution-start} ex-add\n:label: sol-add\n:class: dropdown\n```", metadata=tag),
        v4.new_code_cell("print(1 + 1)", metadata=tag | {"papermill": stamps}),
        v4.new_markdown_cell("```{solution-end}\n```", metadata=tag),
    ])  # fmt: skip


def test_an_instructor_gets_open_solutions_minutes_mistakes_and_seconds() -> None:
    cells = editions.cut(example(), "instructor", {"ex-add": "Adding twice."}, {"ex-add": 5}).cells
    assert ":class: dropdown" not in cells[1].source
    assert cells[2].source == "print(1 + 1)"
    assert [cell.source for cell in cells[3:6]] == [
        "**In class.** Allow 5 minutes, by our estimate.",
        "**Expect this mistake.** Adding twice.",
        "**Measured.** The cells of this solution took 2.0 s.",
    ]
    assert "{solution-end}" in cells[6].source


def test_no_seconds_are_told_that_nobody_measured() -> None:
    chapter = example()
    del chapter.cells[2].metadata["papermill"]
    text = "\n".join(cell.source for cell in editions.cut(chapter, "instructor").cells)
    assert "Measured" not in text and "mistake" not in text


def test_an_unknown_edition_gets_one_sentence() -> None:
    with pytest.raises(
        SystemExit, match="^edition must be one of book, student, instructor, got 'x'.$"
    ):
        editions.check("x")


def test_the_book_has_at_least_forty_exercises() -> None:
    assert sum(len(editions.of_chapter(path)) for path in CHAPTERS) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_nothing_built_for_students_holds_a_solution(path: Path) -> None:
    html = built(STUDENT)
    files = [f for f in html.rglob("*") if f.suffix in (".html", ".js", ".ipynb", ".md", ".txt")]
    found = []
    for file in files:
        if "_static" in file.relative_to(html).parts:
            continue
        text = file.read_text("utf-8", errors="replace")
        found += [f"{file.name}: {line}" for line in solutions(path) if line in text]
        assert "{solution-start}" not in text, file
    assert not found
    assert (html / "_sources" / path).exists(), "the notebook cannot be downloaded"


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_what_is_built_for_instructors_has_every_solution_open(path: Path) -> None:
    page = (built(INSTRUCTOR) / path.with_suffix(".html")).read_text("utf-8")
    assert page.count("Expect this mistake.") == len(editions.of_chapter(path))
    assert 'class="solution dropdown' not in page


def test_students_do_not_see_what_is_kept_back_from_them() -> None:
    page = "A\n<!-- not for students -->\nB\n<!-- end -->\nC\n"
    assert editions.cut_page(page, "student") == "A\nC\n"
    assert editions.cut_page(page, "book") == editions.cut_page(page, "instructor") == "A\nB\nC\n"
    asked = page.replace("not for", "for")
    assert editions.cut_page(asked, "student") == "A\nB\nC\n"
    assert editions.cut_page(asked, "book") == editions.cut_page(asked, "instructor") == "A\nC\n"
    answer = page.replace("not for students", "for instructors")
    assert editions.cut_page(answer, "student") == editions.cut_page(answer, "book") == "A\nC\n"
    assert editions.cut_page(answer, "instructor") == "A\nB\nC\n"
    front = (ROOT / "book" / "index.md").read_text("utf-8")
    said = editions.cut_page(front, "student")
    assert "What the thesis asked" in said and "What we found" not in said
    assert "prolonged-multigrid-on-original" in front
    assert "prolonged-multigrid-on-original" not in said and "What happens when" in said
    assert "What happens when" not in editions.cut_page(front, "book")


def test_an_edition_is_named_on_its_pages() -> None:
    config = (ROOT / "_config.yml").read_text("utf-8")
    assert editions.name_site(config, "book") == config
    for edition in ("student", "instructor"):
        assert f'title: "{edition.capitalize()} edition: ' in editions.name_site(config, edition)
