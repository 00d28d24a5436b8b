"""The front page's picture in a real browser: answers and accuracies are those recorded."""

import json
import re

import front
import numpy as np
import pytest
import sharpness_data
from explorer_pages import BOOK, PAGE

from mgcore.lab.choices.sharpness import BETWEEN, CONDITIONS, STEPS, read_sharpness, unpack
from mgcore.lab.figures.front import NAMES
from mgcore.lab.figures.style import LOOKS
from mgcore.lab.records.record import Record
from mgcore.lab.verdict.metrics import cell

try:
    from axe_playwright_python.sync_playwright import Axe
except ImportError:
    Axe = None

NAME = "sharpness_explorer"
PARTS = {"explorers.css", "explorers.js", "sharpness_data.js", "sharpness_explorer.js"}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
LEVEL = 0.51 / sharpness_data.LEVELS + 0.51 / 255  # rounded twice: to levels and to greys
PIXELS = """(selector) => {
    const canvas = document.createElement("canvas"), shown = document.querySelector(selector);
    [canvas.width, canvas.height] = [shown.width, shown.height];
    const g = canvas.getContext("2d", { willReadFrequently: true });
    g.drawImage(shown, 0, 0);
    const { data } = g.getImageData(0, 0, canvas.width, canvas.height);
    return [...data].filter((_, i) => i % 4 === 0);
}"""


@pytest.fixture(scope="module")
def sweep():
    return read_sharpness(sharpness_data.RECORD)


def state(page) -> dict:
    return json.loads(page.evaluate("() => JSON.stringify(window.sharpnessExplorer.state())"))


def card(page, name: str) -> tuple[int, str]:
    """Return the class on a card, and whether the card calls it right or wrong."""
    inside = page.locator(f"[data-card={name}]")
    verdict = inside.locator("[data-verdict]").inner_text()
    return int(inside.locator("[data-class]").inner_text()), verdict


def test_every_step_of_every_digit_is_the_record(visit, sweep) -> None:
    page = visit(NAME)
    probabilities = unpack(sweep.answers["probabilities"]) / 1000
    smoothed, original = sharpness_data.ends(sweep)
    for digit in range(10):
        page.click(f"[data-pick='{digit}']")
        for step in range(0, len(BETWEEN), 5):
            page.locator("[name=step]").fill(str(step))
            t, found = BETWEEN[step], state(page)
            assert found["digit"] == digit and found["t"] == t
            seen = np.array(page.evaluate(PIXELS, "[data-digit]")) / 255
            wanted = np.clip(smoothed[digit] + t * (original[digit] - smoothed[digit]), 0, 1)
            assert np.abs(seen - wanted.ravel()).max() <= LEVEL
            for c, name in enumerate(CONDITIONS):
                likely = probabilities[c, STEPS.index(t), digit]
                assert found["answers"][c]["probabilities"] == pytest.approx(likely)
                guess = int(likely.argmax())
                assert card(page, name) == (guess, "✓ right" if guess == digit else "✗ wrong")
                bars = page.locator(f"[data-card={name}] rect")
                tall = [float(bar.get_attribute("height")) for bar in bars.all()]
                assert len(tall) == 10 and int(np.argmax(tall)) == guess
                mean = sweep.at(name, t).mean()
                assert found["accuracy"][name] == pytest.approx(mean, abs=0.01)
                label = f"{NAMES[name]} {found['accuracy'][name]:.1f} %"
                assert label in page.locator("[data-chart]").text_content()


def test_the_sweep_is_of_the_recorded_networks(sweep) -> None:
    """Its ends are the record's, up to rounding, which changes less than another seed does."""
    trials = Record(BOOK / "records" / sweep.study).trials()
    for name in CONDITIONS:
        cells = {1: f"{name}.last.validation"}
        if all("measures" in trial for trial in trials):  # older trials have none
            cells[0] = f"preparation.{name}.prolonged"
        for t, what in cells.items():
            values = [cell(trial, what) for trial in trials]
            wanted = [values[number] for number in sweep.trials]
            assert sweep.at(name, t) == pytest.approx(wanted, abs=np.std(values))


def test_the_slider_by_keyboard_changes_cards_and_chart(visit, sweep) -> None:
    page = visit(NAME)
    digit, answers = state(page)["digit"], unpack(sweep.answers["probabilities"]).argmax(axis=-1)
    steps = sharpness_data.between(sweep)
    right = {n: (answers[c][steps] == np.arange(10)).tolist() for c, n in enumerate(CONDITIONS)}
    assert digit == front.opening_digit(right)  # as in the static figure
    page.locator("[name=step]").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before, moved = card(page, "multigrid"), []
    page.keyboard.press("Home")
    assert state(page)["step"] == 0 and page.inner_text("[data-value]") == "0 %"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        moved.append(float(page.locator(".sh-here").get_attribute("x1")))
    assert state(page)["step"] == 3 and moved == sorted(set(moved))
    page.keyboard.press("Home")
    assert card(page, "multigrid")[1] == "✓ right" and before[1] == "✗ wrong"
    page.get_by_role("status").filter(has_text="smoothed: copied answers").wait_for()


def test_a_thin_line_a_trial_and_the_number_of_trials_in_words(visit, sweep) -> None:
    page = visit(NAME)
    count = len(sweep.trials)
    for name in CONDITIONS:
        assert page.locator(f"polyline.sh-trial.sh-line-{name}").count() == count
        assert page.locator(f"polyline.sh-mean.sh-line-{name}").count() == 1
    said = page.inner_text("[data-source]")
    assert ("one trial" if count == 1 else f"{count} trials") in said
    protocol = sharpness_data.protocol_of(sweep)
    assert f"record {sweep.study}:" in said
    assert ("headline" in said) == (not sweep.study.endswith("-paper"))
    for number in (protocol.n_coarse, protocol.n_fine, protocol.n_validation):
        assert f" {number:,} " in said


@pytest.fixture
def lay_out(browser, address):
    """Return a function that opens a page with some text, laid out where the explorers are."""
    contexts = []

    def open_page(fragment: str, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        body = PAGE.format(fragment=fragment)
        page.route("**/laid_out.html", lambda r: r.fulfill(body=body, content_type="text/html"))
        page.goto(f"{address}/book/laid_out.html")
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_students_predict_before_the_slider_appears(lay_out, visit) -> None:
    assert not visit(NAME).locator("[data-ask]").is_visible()
    text = (BOOK / f"{NAME}.html").read_text("utf-8")
    page = lay_out(text.replace(front.BEGIN, f"{front.BEGIN} data-predict-first"))
    page.wait_for_selector("section.xp[data-ready]")
    assert page.locator("[data-ask]").is_visible()
    assert not page.locator("[name=step]").is_visible()
    assert state(page)["step"] == 0
    page.click("[data-predict=both]")
    assert page.locator("[name=step]").is_visible() and state(page)["predicted"] == "both"
    assert page.evaluate("document.activeElement.name") == "step"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible(visit, theme: str) -> None:
    if Axe is None:
        pytest.skip("axe-playwright-python is not installed, so nothing judges the page")
    page = visit(NAME)
    page.evaluate(
        "(t) => { document.documentElement.dataset.theme = t;"
        " if (t === 'dark') document.body.style = '--pst-color-text-base: #ced6dd;"
        " --pst-color-text-muted: #9ca4af; --pst-color-background: #121212'; }",
        theme,
    )
    assert Axe().run(page, context={"include": [["section.xp"]]}).response["violations"] == []


def test_touch_on_a_narrow_screen(visit) -> None:
    page = visit(NAME, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for control in page.locator("section :is(button, input)").all():
        if control.is_visible():
            box = control.bounding_box()
            assert box["height"] >= 44 and box["width"] >= 44
    page.tap("[data-pick='7']")
    assert state(page)["digit"] == 7
    box = page.locator("[name=step]").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert state(page)["step"] == pytest.approx(len(BETWEEN) // 2, abs=1)
    sizes = (
        "[...document.querySelectorAll('.sh svg text')].map((e) => getComputedStyle(e).fontSize)"
    )
    assert min(float(s.removesuffix("px")) for s in page.evaluate(sizes)) >= 11
    wide = "(e) => e.viewBox.baseVal.width / e.clientWidth"  # so that a pixel is a pixel
    found = [drawing.evaluate(wide) for drawing in page.locator(".sh svg").all()]
    assert found == pytest.approx([1, 1, 1], abs=0.02)


@pytest.mark.parametrize(
    ("script", "media", "shown"),
    [(True, "screen", ".sh"), (True, "print", ".sh-static"), (False, "screen", ".sh-static"),
     (False, "print", ".sh-static")],
)  # fmt: skip
def test_without_script_and_in_print_it_stands_still(lay_out, script, media, shown) -> None:
    style = '<link rel="stylesheet" href="../_static/book.css">'
    still = f'<img class="sh-static" alt="A" src="{DOT}">'
    fragment = style + (BOOK / f"{NAME}.html").read_text("utf-8") + still
    page = lay_out(fragment, java_script_enabled=script)
    page.emulate_media(media=media)
    for part in (".sh", ".sh-static"):
        assert (page.locator(part).bounding_box() is not None) == (part == shown)


def test_colours_are_those_of_the_figures() -> None:
    style = (BOOK / "_static" / "explorers.css").read_text("utf-8")
    light = re.search(r"^\.xp \{(.*?)\}", style, re.M | re.S)[1]
    for name in ("coarse", *CONDITIONS):
        assert f"--xp-{name}: {LOOKS[name].colour};" in light


def test_the_picture_is_small_and_asks_no_host() -> None:
    fragment = BOOK / f"{NAME}.html"
    loaded = {part.split('"')[0] for part in fragment.read_text("utf-8").split("../_static/")[1:]}
    assert loaded == PARTS
    assert sharpness_data.TARGET.stat().st_size < 45_000
    folder = sharpness_data.RECORD
    assert sum(file.stat().st_size for file in folder.iterdir()) < 45_000
    for part in PARTS:
        assert "://" not in (BOOK / "_static" / part).read_text("utf-8")


def test_committed_data_is_what_the_tool_writes() -> None:
    assert sharpness_data.TARGET.read_text("utf-8") == sharpness_data.content(), (
        "run the tool again"
    )
