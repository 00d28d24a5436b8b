"""The explorers in one place: every challenge sets its explorer up, and every page is linked."""

import base64
import re
from pathlib import Path

import play
import pytest
from drawn import Drawn
from generated import Book
from test_generated import png


def test_the_page_presents_every_explorer_with_three_challenges(tmp_path: Path) -> None:
    shown = tuple(
        Drawn(one.chapter, one.figure, "C", "Alt.", (), base64.b64decode(png()))
        for one in play.EXPLORERS
    )
    text = play.cards(Book(tmp_path, "book", {}, shown))
    for one in play.EXPLORERS:
        links = re.findall(rf'"play_{one.name}\.html#try-(\d)"', text)
        assert links == ["1", "2", "3"] and one.sentence in text


def test_a_stage_holds_its_explorer_and_students_predict_first(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    play.write_stages(tmp_path, "student")
    pages = {one: (tmp_path / "book" / f"play_{one.name}.html") for one in play.EXPLORERS}
    assert all("<h1>" in page.read_text("utf-8") for page in pages.values())
    text = pages[play.EXPLORERS[0]].read_text("utf-8")
    assert all(f'id="try-{number}"' in text for number in (1, 2, 3))
    assert "data-predict-first" in text and 'href="play.html"' in text


@pytest.mark.parametrize("name", [one.name for one in play.EXPLORERS])
def test_every_challenge_sets_its_explorer_up(visit, name: str) -> None:
    page = visit(f"{name}_explorer")
    buttons = page.locator("[data-try] > button")
    assert buttons.count() == 3
    states = []
    for number in range(3):
        buttons.nth(number).evaluate("(button) => button.click()")
        values = "[...document.querySelectorAll('.xp :is(select, input)')].map((e) => e.value)"
        pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map((e) => e.innerText)"
        states.append((tuple(page.evaluate(values)), tuple(page.evaluate(pressed))))
        for part in page.locator("[data-try]").nth(number).get_attribute("data-try").split("; "):
            field, value = part.split("=")
            if field != "press" and value != "last":
                assert page.locator(f"[name={field}]").input_value() == value
    assert len(set(states)) == 3


def test_an_address_sets_a_challenge_up(visit) -> None:
    page = visit("two_grid_explorer")
    page.evaluate("location.hash = '#try-1'")
    page.wait_for_selector(".xp-chosen")
    steps = page.locator("[data-history] th").all_inner_texts()
    assert len(steps) == 3 and page.locator("[name=k]").input_value() == "24"
