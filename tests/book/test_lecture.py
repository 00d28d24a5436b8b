"""The lecture: minutes that add up, figures and pages that exist, speech on each slide."""

import re
from fractions import Fraction

import lecture
import notebooks
import play
import pytest
import slides
from docutils.nodes import make_id
from notebooks import ROOT
from quoted import glued

from mgcore.lab.records.record import Record

FIRST, SLIDES = lecture.read()
SOURCES = {
    page.removeprefix("book/"): (
        "\n".join(cell.source for cell in notebooks.read(ROOT / f"{page}.ipynb").cells)
        if (ROOT / f"{page}.ipynb").exists()
        else (ROOT / f"{page}.md").read_text("utf-8")
    )
    for page in notebooks.pages()
}


def test_every_slide_shows_something_and_is_spoken() -> None:
    assert FIRST.startswith("# ") and 20 <= len(SLIDES) <= 30
    for slide in SLIDES:
        assert slide.figure or slide.shown, slide.title
        assert len(slide.speech.split()) >= 20, slide.title
        assert slide.minutes[0] >= max(1, slide.minutes[1])


def test_a_prediction_comes_before_each_main_figure() -> None:
    place = {slide.figure: number for number, slide in enumerate(SLIDES) if slide.figure}
    for figure in ("fig-method-waves", "fig-baseline-intervals", "fig-gap-lead"):
        asked = SLIDES[place[figure] - 1]
        assert "?" in asked.title + asked.shown and not asked.figure, figure


def test_every_link_leads_to_a_page_and_a_place_of_the_site() -> None:
    text = lecture.FILE.read_text("utf-8")
    links = re.findall(r"\(site:([\w-]+)\.html(?:#([\w-]+))?\)", text)
    assert len(links) == text.count("(site:") >= 4
    large = {
        f"play_{explorer.name}": len(play.CHALLENGE.findall(explorer.fragment()))
        for explorer in play.EXPLORERS
    }
    for page, anchor in links:
        source = SOURCES["play" if page in large else page]
        headings = {make_id(found) for found in re.findall(r"^#+ (.*)$", source, re.M)}
        labels = {make_id(found) for found in re.findall(r"\((\S+)\)=|:label: (\S+)", source)
                  for found in found if found}  # fmt: skip
        challenges = {f"try-{number}" for number in range(1, large.get(page, 0) + 1)}
        assert not anchor or anchor in headings | labels | challenges, f"{page}#{anchor}"


def test_every_number_that_is_pasted_is_glued_in_its_chapter() -> None:
    pasted = re.findall(
        r"\{glue:text\}`([\w.]+)::([^`:]+)(:[^`]+)?`", lecture.FILE.read_text("utf-8")
    )
    assert pasted
    for chapter, key, form in pasted:
        assert key in glued(ROOT / "book" / chapter), f"{chapter}::{key}"
        # Without a format, MyST-NB takes the key for one.
        assert form, f"{chapter}::{key} needs a format; write {key}:s for text."


def test_the_slider_starts_with_a_smoothed_digit() -> None:
    (number,) = re.findall(r"play_sharpness\.html#try-(\d+)", lecture.FILE.read_text("utf-8"))
    fragment = (ROOT / "book" / "sharpness_explorer.html").read_text("utf-8")
    setup = re.findall(r'data-try="([^"]*)"', fragment)[int(number) - 1]
    assert "step=0" in setup.split("; ")


def test_the_penalties_on_the_slide_are_those_of_the_runs() -> None:
    scales = [
        Record(ROOT / "book" / "records" / f"{study}-paper").protocol.penalty_scale
        for study in ("baseline-prolonged", "baseline-original", "pooling-prolonged",
                      "strong-prolonged")
    ]  # fmt: skip
    (slide,) = (slide for slide in SLIDES if slide.title == "When is the gap large?")
    rows = [row.split("|")[2].strip() for row in slide.shown.splitlines()[2:]]
    assert [
        1 if row.startswith("as printed") else Fraction(row.split()[0]) for row in rows
    ] == scales


def test_the_deck_has_every_slide_its_picture_and_its_notes(tmp_path) -> None:
    lecture.write(ROOT, tmp_path, "## Last")
    text = (tmp_path / "index.md").read_text("utf-8")
    assert text.count("\n## ") == len(SLIDES) + 1 and text.count(slides.NOTES) == len(SLIDES)
    assert text.count('class="long"') == sum(not slide.minutes[1] for slide in SLIDES)
    pictures = re.findall(r"\{image\} (lecture/\S+)\n:alt: \S", text)
    assert len(pictures) == sum(bool(slide.figure) for slide in SLIDES)
    assert all((tmp_path / picture).read_bytes()[:4] == b"\x89PNG" for picture in pictures)
    assert all(slide.shown.splitlines()[0] in text for slide in SLIDES
               if slide.shown and "site:" not in slide.shown)  # fmt: skip
    assert "(site:" not in text and "figure: " not in text and "minutes: " not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [("## A\nminutes: 1 / 1\nX\n", "its speech"), ("## A\nX\n> So.\n", "minutes: LONG"),
     ("## A\nminutes: 1 / 1\nX\n> So.\n", r"add up to \(1, 1\)")],
)  # fmt: skip
def test_a_slide_that_cannot_be_given_is_one_sentence(tmp_path, text, said) -> None:
    (tmp_path / "lecture.md").write_text(f"# T\n\n{text}", encoding="utf-8")
    with pytest.raises(SystemExit, match=said):
        lecture.read(tmp_path / "lecture.md")
