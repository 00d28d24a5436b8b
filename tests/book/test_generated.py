"""Parts of pages that are generated: figures and their code, status, gallery, front page."""

import base64
import dataclasses
import io
import re
import shutil
from pathlib import Path

import drawn
import front
import gallery
import generated
import lessons
import notebooks
import pytest
import sharpness_data
import status
import yaml
from nbformat import v4
from notebooks import ROOT
from opening import read_times
from PIL import Image

from mgcore.lab.figures import background


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> generated.Book:
    """Return the committed chapters as if they were laid out."""
    source = tmp_path_factory.mktemp("source")
    (source / "book").mkdir()
    shutil.copy(ROOT / "_toc.yml", source)
    chapters = {path: notebooks.read(ROOT / path) for path in notebooks.chapters()}
    shown = tuple(f for path, chapter in chapters.items() for f in drawn.find(chapter, path))
    return generated.Book(source, "book", chapters, shown)


def png() -> str:
    raw = io.BytesIO()
    Image.new("RGB", (80, 40), "white").save(raw, "png")
    return base64.b64encode(raw.getvalue()).decode()


def page(**mystnb):
    shown = v4.new_output("display_data", {"image/png": png()})
    return v4.new_notebook(cells=[
        v4.new_markdown_cell("# Page\n\n## A section"),
        v4.new_code_cell("from mgcore.lab.figures import background as figures"),
        v4.new_code_cell("figures.losses()", outputs=[shown], metadata={"mystnb": mystnb}),
    ])  # fmt: skip


def test_a_figure_knows_its_function_its_words_and_its_place() -> None:
    about = {"figure": {"name": "fig-a", "caption": "C"}, "image": {"alt": "Alt."}}
    (figure,) = drawn.find(page(**about), Path("book/my_page.ipynb"))
    assert (figure.anchor, figure.caption, figure.alt) == ("fig-a", "C", "Alt.")
    assert [drawn.name_of(f) for f in figure.functions] == ["background.losses"]
    (bare,) = drawn.find(page(), Path("book/my_page.ipynb"))
    assert (bare.anchor, bare.caption) == ("figure-my-page-1", "A section")


def test_a_figure_without_a_label_gets_one_and_every_figure_a_link_to_its_code() -> None:
    path = Path("book/page.ipynb")
    cells = drawn.link(page(), drawn.find(page(), path)).cells
    assert [cell.source for cell in cells[2:]] == [
        "(figure-page-1)=", "figures.losses()",
        "```{container} made-by\n"
        "Drawn by {ref}`background.losses <drawn-background-losses>`.\n```",
    ]  # fmt: skip


def test_the_gallery_shows_every_figure_of_the_book(book) -> None:
    overview = gallery.cards(book)
    pages = sorted((book.source / "book").glob("gallery_*.md"))
    text = "\n".join(page.read_text("utf-8") for page in pages)
    pictures = sum(
        any("image/png" in o.get("data", {}) for o in cell.get("outputs", []))
        for chapter in book.chapters.values() for cell in chapter.cells
    )  # fmt: skip
    assert text.count("{grid-item-card}") == pictures == len(book.shown) > 40
    assert len(list((book.source / "book" / "gallery").glob("*.png"))) == pictures
    for figure in book.shown:
        assert f"<{figure.anchor}>" in text and len(figure.alt) > 10
    assert overview.count("{grid-item-card}") == len(pages)
    contents = notebooks.pages(book.source)
    assert all(f"book/{page.stem}" in contents for page in pages)


def test_the_code_of_a_figure_is_the_functions(book) -> None:
    text = gallery.functions(book)
    assert "(drawn-background-losses)=" in text
    assert f"def {background.losses.__name__}(" in text
    assert "`mgcore/lab/figures/background.py`, line" in text
    named = {drawn.name_of(f) for figure in book.shown for f in figure.functions}
    assert text.count(")=\n## `") == len(named) > 20


def test_the_status_of_chapters_is_what_was_measured(book) -> None:
    text = status.chapters(book)
    for path in book.chapters:
        assert f"]({path.name})" in text
    times = read_times()
    assert f"{times['baseline']['seconds']:.0f} s" in text
    assert "baseline-original" in text


def test_the_status_of_records_counts_their_trials_and_asks_the_canary(book, monkeypatch) -> None:
    text = status.records(book)
    folders = [p.parent for p in status.RECORDS.glob("*/protocol.json")]
    filled = [folder for folder in folders if list(folder.glob("trial-*.json"))]
    assert text.count("\n* - `") == len(filled) > 5
    assert "stale" not in text
    monkeypatch.setattr("mgcore.lab.run.fingerprint.TOLERANCE", -1.0)
    assert status.records(book).count("**stale**") == len(filled)


def test_no_record_claim_or_erratum_is_lost_from_the_pages(book) -> None:
    shown = set(notebooks.pages())
    assert {f"book/{page}" for page in ("appendix", "claims", "errata", "status")} <= shown
    text = (ROOT / "book" / "appendix.md").read_text("utf-8")
    listed = {record.folder for found in status._studies().values() for record in found}
    for folder in (f for f in status.RECORDS.iterdir() if f.is_dir()):
        assert folder in listed or f"`{folder.name}`" in text, folder.name
    outputs = status._text_of(book.chapters[Path("book/claims.ipynb")])
    for claim in yaml.safe_load((ROOT / "book" / "claims.yml").read_text("utf-8")):
        assert claim["id"] in outputs, claim["id"]
    errata = book.chapters[Path("book/errata.ipynb")].cells
    numbers = re.findall(r"\{admonition\} (\d+)\.", "\n".join(cell.source for cell in errata))
    assert list(map(int, numbers)) == list(range(1, len(numbers) + 1)) and len(numbers) > 20


def test_the_front_figure_says_in_words_what_it_draws(book) -> None:
    text = front.explorer(book)
    assert (
        "data-predict-first" not in text
        and (book.source / "book" / front.FILE).stat().st_size > 5000
    )
    sweep = sharpness_data.read_sharpness(sharpness_data.RECORD)
    for name, word in (("transfer", "copied"), ("multigrid", "Galerkin")):
        ends = [sweep.at(name, t).mean() for t in (0, 1)]
        assert f"{word} {ends[0]:.1f} % on smoothed and {ends[1]:.1f} % on sharp digits" in text
    assert f"mean of {len(sweep.trials)} trials" in text


def test_students_predict_before_they_see_the_front_figure(book) -> None:
    text = front.explorer(dataclasses.replace(book, edition="student"))
    assert "data-predict-first" in text and front.FILE not in text


@pytest.mark.parametrize(
    ("copied", "galerkin", "digit"),
    [([[True] * 3] * 2, [[False, True, True], [False, True, False]], 2),
     ([[True] * 3] * 2, [[True] * 3] * 2, 0)],
)  # fmt: skip
def test_the_front_page_opens_with_a_digit_that_parts_the_networks(copied, galerkin, digit) -> None:
    assert front.opening_digit({"transfer": copied, "multigrid": galerkin}) == digit


def test_the_front_page_leads_to_chapters_by_their_figures(book) -> None:
    text = front.cards(book)
    assert text.count("{grid-item-card}") == len(front.CARDS) == 4
    for anchor, *_ in front.CARDS:
        assert (book.source / "book" / "gallery" / f"{anchor}.png").exists()
    assert re.search(r"\{button-ref\} gap\n.*Why\? \d+ minutes", front.why(book), re.S)


def test_the_exercises_are_counted(book) -> None:
    text = lessons.exercises(book)
    cells = [cell for path in book.chapters for cell in notebooks.read(ROOT / path).cells]
    count = sum(len(re.findall(r"^:label: ex-", cell.source, re.M)) for cell in cells)
    assert f"There are {count} exercises" in text


def test_a_page_may_only_ask_for_what_is_written(tmp_path) -> None:
    (tmp_path / "book").mkdir()
    asking = tmp_path / "book" / "page.md"
    asking.write_text("# P\n\n<!-- generated: weather -->\n")
    with pytest.raises(
        SystemExit, match="^page.md asks for a part 'weather', which nothing generates"
    ):
        generated.fill(generated.Book(tmp_path, "book", {}, ()))


def test_a_table_may_hold_backquotes_in_its_caption() -> None:
    assert generated.table("A `b`", ["x"], [["y\nz"]]) == (
        ":::{list-table} A `b`\n:header-rows: 1\n:class: generated\n\n* - x\n* - y z\n:::"
    )
