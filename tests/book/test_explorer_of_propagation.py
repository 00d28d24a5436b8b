"""The propagation explorer in a real browser: maps and numbers are those that were recorded."""

import itertools
import json

import numpy as np
import propagation_data
import pytest
import torch
from explorer_pages import BOOK, shown

from mgcore.analysis.propagation import correlations
from mgcore.lab.figures.style import LOOKS
from mgcore.lab.pages.propagation_explorer import LAYERS, STUDIES, read_propagation, unpack
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.records.record import Record
from mgcore.lab.verdict.agreement import SAME_TRIAL, same_seeds

try:
    from axe_playwright_python.sync_playwright import Axe
except ImportError:
    Axe = None

NAME = "propagation_explorer"
PARTS = {"explorers.css", "explorers.js", "propagation_data.js", "propagation_explorer.js"}
FOLDER = BOOK / "records" / "propagation"
PRINTED = {"rel": 0.0051}  # three digits are printed
LEVEL = 0.51 / propagation_data.LEVELS + 0.51 / 255  # rounded twice, to levels and to greys
IMAGES = {name.split("-")[1]: name for name in STUDIES}
PIXELS = """(selector) => [...document.querySelectorAll(selector)].map((c) => {
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [c.width, c.height];
    const g = copy.getContext("2d", { willReadFrequently: true });
    g.drawImage(c, 0, 0);
    const { data } = g.getImageData(0, 0, c.width, c.height);
    const grey = [...data].filter((_, i) => i % 4 === 0);
    const plain = [...data].every((v, i) => v === (i % 4 === 3 ? 255 : data[i - i % 4]));
    return plain ? grey : null;
})"""


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict]:
    return {images: read_propagation(FOLDER)[name] for images, name in IMAGES.items()}


def state(page) -> dict:
    return json.loads(page.evaluate("() => JSON.stringify(window.propagationExplorer.state())"))


def choose(page, images: str) -> None:
    page.select_option("[name=images]", images)
    page.wait_for_function(f"window.propagationExplorer.state().images === '{images}'")


def slide(page, epoch: int) -> None:
    page.locator("[name=epoch]").fill(str(epoch))


def pictures(page, arm: str, layer: int) -> np.ndarray:
    """Return what four canvases show, (4, side, side) from 0 to 1."""
    found = np.array(page.evaluate(PIXELS, f"[data-maps={arm}-{layer}] canvas"), float)
    side = round(found.shape[1] ** 0.5)
    return found.reshape(-1, side, side) / 255


@pytest.mark.parametrize("images", IMAGES)
def test_the_canvases_show_the_recorded_maps(visit, recorded, images: str) -> None:
    page = visit(NAME)
    choose(page, images)
    levels, largest = unpack(recorded[images]["maps"])
    epochs = levels.shape[1]
    for digit, epoch in itertools.product(range(2), range(epochs)):
        page.select_option("[name=digit]", str(digit))
        slide(page, epoch)
        for (a, arm), layer in itertools.product(enumerate(CONDITIONS), range(len(LAYERS))):
            wanted = levels[a, epoch, digit, layer] / 255
            assert np.abs(pictures(page, arm, layer) - wanted).max() <= LEVEL
            notes = page.locator(f"[data-maps={arm}-{layer}] p").all_inner_texts()
            numbers = recorded[images]["channels"][LAYERS[layer]]
            for note, channel, most in zip(
                notes, numbers, largest[a, epoch, digit, layer], strict=True
            ):
                said, _, value = note.partition(":")
                assert said == f"ch. {channel}"
                assert shown(value.strip()) == pytest.approx(most, **PRINTED)
    x, _ = unpack(recorded[images]["images"])
    (seen,) = page.evaluate(PIXELS, "[data-input]")
    assert np.abs(np.array(seen) / 255 - x[1].ravel() / 255).max() <= LEVEL


def test_one_white_for_the_layer_shows_the_amplification(visit, recorded) -> None:
    page = visit(NAME)
    page.select_option("[name=white]", "layer")
    levels, largest = unpack(recorded["prolonged"]["maps"])
    for layer in range(len(LAYERS)):
        most = largest[:, :, 0, layer].max()
        said = page.inner_text(f"[data-white='{layer}']").partition("white is ")[2].split(",")[0]
        assert shown(said) == pytest.approx(most, **PRINTED)
        brightest = {}
        for a, arm in enumerate(CONDITIONS):
            seen = pictures(page, arm, layer)
            wanted = levels[a, 0, 0, layer] / 255 * largest[a, 0, 0, layer][:, None, None] / most
            assert np.abs(seen - wanted).max() <= LEVEL
            brightest[arm] = seen.max()
        assert brightest["multigrid"] > 2 * max(brightest["new"], brightest["transfer"])
    page.select_option("[name=white]", "own")
    for arm in CONDITIONS:
        assert np.all(np.isin(pictures(page, arm, 0).max(axis=(1, 2)), (0, 1)))


@pytest.mark.parametrize("images", IMAGES)
def test_the_numbers_are_the_runs(visit, recorded, images: str) -> None:
    page = visit(NAME)
    choose(page, images)
    content = recorded[images]
    protocol = Record(BOOK / "records" / IMAGES[images]).protocol
    for epoch in range(protocol.fine_epochs + 1):
        slide(page, epoch)
        some = content["metrics"]["new"][epoch]["images"] == "subset"
        counts = [protocol.subset // 2] * 2 if some else [protocol.n_fine, protocol.n_validation]
        caption = page.inner_text("#px-numbers")
        assert "{:,} training and {:,} validation images".format(*counts) in caption
        assert f"trial {content['trial']} of the record {content['study']} " in caption
        for a, (arm, row) in enumerate(
            zip(CONDITIONS, page.locator("[data-numbers] tr").all(), strict=True)
        ):
            assert row.locator("th").inner_text() == LOOKS[arm].label
            cells = row.locator("td").all_inner_texts()
            metrics = content["metrics"][arm][epoch]
            answer, sure = content["answers"][a][epoch][0]
            assert cells[2].split()[0] == str(answer)
            wanted = [metrics["training_accuracy"], metrics["validation_accuracy"], 100 * sure]
            wanted += [100 * share for share in content["changed"][a][epoch][0]]
            cells[2] = cells[2].partition("(")[2].rstrip(")")
            found = [shown(text.replace(" %", "")) for text in cells]
            assert found == pytest.approx(wanted, **PRINTED)


def test_the_run_is_the_recorded_trial(recorded) -> None:
    for images, name in IMAGES.items():
        record = Record(BOOK / "records" / name)
        trial, content = record.trial(0), recorded[images]
        assert content["protocol"] == record.protocol.key()
        fine = {"trial": 0, "metrics": content["metrics"]}
        outcome = same_seeds([fine], [trial])
        assert outcome.agrees and SAME_TRIAL == 1.0
        # Its maps after the last epoch are those of the record's figures, up to what rounding on
        # another machine becomes in an epoch with a large loss: before retraining they are not.
        arrays = record.arrays()
        levels, largest = unpack(content["maps"])
        maps = levels / 255 * largest[..., None, None]
        for (a, arm), (k, layer) in itertools.product(enumerate(CONDITIONS), enumerate(LAYERS)):
            wanted = arrays[f"maps/{arm}/{layer}"][:, : maps.shape[4]].astype(float)
            begun, ended = (np.linalg.norm(maps[a, e, :, k] - wanted) for e in (0, -1))
            assert ended < begun / 5, (name, arm, layer)


def test_the_slider_by_keyboard_alone(visit) -> None:
    page = visit(NAME)
    page.locator("[name=white]").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "epoch"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before = pictures(page, "new", 1)
    assert page.get_attribute("[name=epoch]", "aria-valuetext").startswith("not yet begun")
    page.keyboard.press("ArrowRight")
    assert state(page)["epoch"] == 1
    assert page.get_attribute("[name=epoch]", "aria-valuetext") == "after epoch 1 of 3"
    assert np.abs(pictures(page, "new", 1) - before).max() > 0.2
    said = page.get_attribute("[data-maps=new-1] canvas", "aria-label")
    assert said.startswith("random initialisation, layer 2, channel ") and "after epoch 1" in said
    page.keyboard.press("End")
    assert state(page)["epoch"] == 3
    # What is announced follows when the reader has stopped.
    page.get_by_role("status").filter(has_text="After epoch 3 of 3").wait_for()
    page.keyboard.press("Home")
    assert np.array_equal(pictures(page, "new", 1), before)


def test_a_study_that_does_not_arrive_is_said_and_the_shown_one_stays(visit) -> None:
    page = visit(NAME)
    other = "**/propagation_data_original.js"
    page.route(other, lambda route: route.fulfill(status=200, body="", content_type="text/plain"))
    before = state(page)
    page.select_option("[name=images]", "original")
    page.get_by_role("status").filter(has_text="could not be loaded").wait_for()
    assert page.input_value("[name=images]") == before["images"] == "prolonged"
    slide(page, 1)
    assert state(page)["record"] == before["record"] and state(page)["epoch"] == 1
    page.unroute(other)
    choose(page, "original")


def test_a_narrow_screen(visit) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = visit(NAME, **phone)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for control in page.locator("section :is(select, input)").all():
        box = control.bounding_box()
        assert box["height"] >= 44 and box["width"] >= 44
    for canvas in page.locator("section canvas").all():
        box = canvas.bounding_box()
        assert box["width"] == pytest.approx(box["height"], abs=1) and box["width"] > 40


def test_every_control_and_picture_has_a_name(visit, recorded) -> None:
    page = visit(NAME)
    for control in page.locator("section :is(button, select, input)").all():
        assert control.evaluate("c => c.ariaLabel || c.innerText || c.labels[0]?.innerText").strip()
    labels = [c.get_attribute("aria-label") for c in page.locator("section canvas").all()]
    assert len(set(labels)) == len(labels) == 1 + len(CONDITIONS) * len(LAYERS) * 4
    options = page.locator("[name=digit] option").all_inner_texts()
    assert options == [f"a {label}" for label in recorded["prolonged"]["labels"]]
    assert page.get_by_role("status").count() == 1
    assert page.locator("section li").count() == 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_wrong(visit, theme: str) -> None:
    if Axe is None:
        pytest.skip("axe-playwright-python is not installed, so nothing judges the explorer")
    page = visit(NAME)
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    found = Axe().run(page, context={"include": [["section.xp"]]}).response["violations"]
    assert [one["id"] for one in found] == []


def test_the_page_asks_for_one_study_and_no_host(visit) -> None:
    fragment = BOOK / f"{NAME}.html"
    loaded = {part.split('"')[0] for part in fragment.read_text("utf-8").split("../_static/")[1:]}
    assert loaded == PARTS
    files = [fragment, *(BOOK / "_static" / part for part in PARTS)]
    files += [propagation_data.target(images) for images in IMAGES]
    for file in files:
        assert "://" not in file.read_text("utf-8")
    page = visit(NAME)
    count = "performance.getEntriesByType('resource').filter((r) => /original/.test(r.name)).length"
    assert page.evaluate(count) == 0
    choose(page, "original")
    assert page.evaluate(count) == 1


def test_committed_data_is_what_the_tool_writes() -> None:
    for images, content in propagation_data.contents().items():
        assert propagation_data.target(images).read_text("utf-8") == content, "run the tool again"


def test_a_map_is_read_back_from_its_differences() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (4, 5, 5))
    text = propagation_data.along(levels)
    found = np.array([int(digit, 32) for digit in text]).reshape(4, 5, 5).cumsum(axis=0) % 32
    assert np.array_equal(found, np.rint(levels / 255 * 31))


def test_what_the_explorer_asks_is_in_the_data(recorded) -> None:
    """Its three questions have the answers that they lead to."""
    new, transfer, multigrid = (CONDITIONS.index(arm) for arm in ("new", "transfer", "multigrid"))
    moved = {images: np.array(content["changed"]) for images, content in recorded.items()}
    numbers = lambda row: [row[metric] for metric in propagation_data.METRICS]  # noqa: E731
    accuracy = {
        images: np.array([[numbers(row) for row in content["metrics"][arm]] for arm in CONDITIONS])
        for images, content in recorded.items()
    }
    # One: in layer 2 the copied digit is a stroke, the Galerkin digit dots, and far larger.
    levels, largest = unpack(recorded["prolonged"]["maps"])
    x, _ = unpack(recorded["prolonged"]["images"])
    x = torch.from_numpy(x.astype(float))[:, None]
    for digit in range(2):
        alike = [
            correlations(x[digit : digit + 1], torch.from_numpy(m[None].astype(float))).max()
            for m in levels[:, 0, digit, 1]
        ]
        assert alike[transfer] > 0.8 > 0.7 > alike[multigrid]
        most = largest[:, 0, digit, 1].max(axis=-1)
        assert most[multigrid] > 5 * max(most[new], most[transfer])
    # Two: with prolonged images the new network's maps change, the others' hardly.
    last = moved["prolonged"][:, -1]  # digit, layer
    assert last[new].min() > 0.5 and last[[transfer, multigrid]].max() < 0.15
    training, validation = np.moveaxis(accuracy["prolonged"][multigrid], 1, 0)
    assert training[-1] - training[0] > 10 and validation[-1] < 60
    # Three: original images change the Galerkin maps in the first epoch, and little afterwards.
    first, end = moved["original"][multigrid, 1], moved["original"][multigrid, -1]
    assert first.min() > 0.5 and np.abs(end - first).max() < 0.05
    assert accuracy["original"][multigrid, 1, 1] - accuracy["original"][multigrid, 0, 1] > 30
