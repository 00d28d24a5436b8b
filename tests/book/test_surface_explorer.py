"""The surface explorer in a real browser: it shows the records, and turns in every way it says."""

import json
import shutil

import numpy as np
import pytest
import surface_data
from explorer_pages import BOOK, shown
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import spearmanr

from mgcore.lab.figures.baseline import LEVELS, circles, rise
from mgcore.lab.records.record import Record
from mgcore.lab.verdict.metrics import cell

NAME = "surface_explorer"
PARTS = {
    "explorers.css",
    "explorers.js",
    "surface_data.js",
    "surface_view.js",
    "surface_explorer.js",
}
CLOSE = {"rel": 1e-4}  # five digits travel with the page
PRINTED = {"rel": 0.0051}  # three digits are printed
SIDES = ("first", "second")
LABELS = {"coarse": "coarse", "transfer": "copied", "multigrid": "Galerkin"}
COPY = """const copy = (c) => {
    const other = document.createElement("canvas");
    [other.width, other.height] = [c.width, c.height];
    const g = other.getContext("2d", { willReadFrequently: true });
    g.drawImage(c, 0, 0);
    return g;
};"""
# The topmost of three drawn pixels in columns of a canvas; null: there are none.
TOPS = (
    f"([side, xs]) => {{ {COPY}"
    + """
    const c = document.querySelector(`[data-surface=${side}]`), g = copy(c);
    return xs.map((x) => {
        const { data } = g.getImageData(Math.round(x), 0, 1, c.height);
        const full = (y) => data[4 * y + 3] > 200;
        for (let y = 0; y + 2 < c.height; y++) if (full(y) && full(y + 1) && full(y + 2)) return y;
        return null;
    });
}"""
)
# Red, green, blue of the pixels where places [x, y, z] of the box are drawn.
PIXELS = (
    f"([side, places]) => {{ {COPY}"
    + """
    const c = document.querySelector(`[data-surface=${side}]`), g = copy(c);
    const { turn, tilt } = window.surfaceExplorer.state();
    const { project } = window.surfaceView.camera(c.clientWidth, { turn: +turn, tilt: +tilt });
    return places.map((place) => {
        const [x, y] = project(...place).map(Math.round);
        return [x, y, ...g.getImageData(x, y, 1, 1).data];
    });
}"""
)


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return {name: Record(BOOK / "records" / name) for name in surface_data.RECORDS}


def state(page) -> dict:
    return json.loads(page.evaluate("() => JSON.stringify(window.surfaceExplorer.state())"))


def turnable(visit, **screen):
    """Open the explorer and show the surfaces to turn, which come second."""
    page = visit(NAME, **screen)
    page.click("[data-view=surfaces]")
    return page


def choose(page, record: str = "", pair: tuple[str, str] = ("transfer", "multigrid")) -> dict:
    """Choose a record, two networks, and return what the explorer then has computed."""
    if record:
        network, images, _ = record.split("-")
        page.select_option("[name=network]", network)
        page.select_option("[name=images]", images)
    for side, network in zip(SIDES, pair, strict=True):
        page.select_option(f"[name={side}]", network)
    return state(page)


def slide(page, name: str, value: float) -> None:
    page.locator(f"[name={name}]").fill(str(value))


def numbers(text: str) -> list[float]:
    """Return every number in a sentence as it is printed, in order."""
    words = text.replace("±", " ").replace("○", " ").replace("(", " ").replace(")", " ").split()
    found = []
    for word in words:
        try:
            found.append(shown(word.rstrip(".,:")))
        except ValueError:
            continue
    return found


@pytest.mark.parametrize("name", surface_data.RECORDS)
def test_what_is_shown_is_recorded(visit, records, name: str) -> None:
    page = visit(NAME)
    trial, arrays = records[name].trial(surface_data.TRIAL), records[name].arrays()
    length = {n: m["length"] for n, m in trial["measures"]["landscape"].items()}
    middle = len(arrays["surface_steps"]) // 2
    for pair in (("coarse", "transfer"), ("multigrid", "coarse")):
        for network, found in zip(pair, choose(page, name, pair)["pair"], strict=True):
            values = arrays[f"surface/{network}"]
            assert found["network"] == network
            assert found["values"] == pytest.approx(values.ravel(), **CLOSE)
            assert found["centre"] == pytest.approx(values[middle, middle], **CLOSE)
            assert found["length"] == pytest.approx(length[network], **CLOSE)
            for what in ("loss", "radius", "reach"):
                wanted = cell(trial, f"landscape.{network}.{what}")
                assert found[what] == pytest.approx(wanted, **CLOSE)
            assert found["places"] == pytest.approx(arrays["surface_steps"], abs=1e-6)
            ratios = np.ravel(found["heights"])  # whole surface, as multiples of its centre
            assert ratios == pytest.approx(values.ravel() / values[middle, middle], rel=2e-4)
    assert f"Trial {surface_data.TRIAL} of the record {name}:" in page.inner_text("#sx-numbers")
    rows = page.locator("[data-numbers] tr").all()
    assert len(rows) == len(surface_data.NETWORKS)
    for network, row in zip(surface_data.NETWORKS, rows, strict=True):
        assert row.locator("th").inner_text().startswith(LABELS[network])
        centre = arrays[f"surface/{network}"][middle, middle]
        wanted = [cell(trial, f"landscape.{network}.{w}") for w in ("loss", "radius", "reach")]
        printed = [shown(text) for text in row.locator("td").all_inner_texts()]
        assert printed == pytest.approx([length[network], centre, *wanted], **PRINTED)


@pytest.mark.parametrize("units", ["relative", "absolute"])
def test_contours_and_profiles_come_first_and_are_those_of_the_figure(
    visit, records, units: str
) -> None:
    page = visit(NAME)
    assert page.locator("[data-map=first]").is_visible()
    assert not page.locator("[data-surface=first]").is_visible()
    assert not page.locator("[name=tilt]").is_visible()
    page.click(f"[data-units={units}]")
    for name in surface_data.RECORDS[1:3]:
        choose(page, name)
        arrays, steps = records[name].arrays(), records[name].arrays()["surface_steps"]
        for percent in (100, 45):
            slide(page, "shown", percent)
            found = state(page)
            all_ratios = []
            for side, one in zip(SIDES, found["pair"], strict=True):
                values = arrays[f"surface/{one['network']}"]
                unit = one["length"] if units == "absolute" else 1
                log = RegularGridInterpolator([steps.astype(float)] * 2, np.log(values))
                centre = values[len(steps) // 2, len(steps) // 2]
                all_ratios += [np.array(one["heights"])]
                assert [level for level, _ in one["contours"]] == list(LEVELS)
                for level, segments in one["contours"]:
                    inside = np.max(one["heights"]) > level > np.min(one["heights"])
                    assert bool(segments) == inside
                    if segments:
                        points = np.clip(np.reshape(segments, (-1, 2)) / unit, -1, 1)
                        assert np.exp(log(points)) == pytest.approx(level * centre, rel=1e-3)
                rings = np.array(one["rings"])
                radii = rings[:, 0] / unit
                assert radii[-1] == pytest.approx(min(found["shown"] / unit, 1))
                wanted = circles(steps.astype(float), values, np.clip(radii, 0, 1))
                wanted = np.stack([wanted.mean(1), wanted.min(1), wanted.max(1)], axis=1)
                assert rings[:, 1:] == pytest.approx(wanted, rel=1e-3)
                if one["doubled"]:
                    reached = rise(steps.astype(float), values, min(one["doubled"] / unit, 1))
                    assert reached[1] == pytest.approx(2, rel=1e-3)
                else:
                    assert rings[:, 1].max() < 2
                said = page.get_attribute(f"[data-map={side}]", "aria-label")
                assert numbers(said)[0] == pytest.approx(np.max(one["heights"]), **PRINTED)
            low, high = min(r.min() for r in all_ratios), max(2, *(r.max() for r in all_ratios))
            assert [found["low"], found["high"]] == pytest.approx([low, high])
            ends = [shown(page.inner_text(f"[data-ramp={end}]")[1:]) for end in ("low", "high")]
            assert ends == pytest.approx([low, high], **PRINTED)
            doubled = [one["doubled"] for one in found["pair"] if one["doubled"]]
            said = page.inner_text("[data-doubled]")
            assert numbers(said) == pytest.approx(doubled, **PRINTED)
            assert said == page.get_attribute("[data-profile]", "aria-label")


def test_a_map_is_light_where_the_objective_is_high(visit) -> None:
    page = visit(NAME)
    for side in SIDES:
        light, high = [], []
        one = state(page)["pair"][SIDES.index(side)]
        x, h = np.array(one["places"]), np.array(one["heights"])
        # The median of nine pixels around the middle of a cell: lines lie over some of them.
        faces = [(i, j) for i in range(0, 20, 2) for j in range(0, 20, 2)]
        places = [[(x[i] + x[i + 1]) / 2, (x[j] + x[j + 1]) / 2] for i, j in faces]
        pixels = page.evaluate(
            f"([side, places]) => {{ {COPY}"
            """ const c = document.querySelector(`[data-map=${side}]`), g = copy(c);
            const size = Math.min(c.parentElement.clientWidth - 58, 300);
            const light = ([r, g, b]) => 0.21 * r + 0.72 * g + 0.07 * b;
            return places.map(([x, y]) => [-4, 0, 4].flatMap((dx) => [-4, 0, 4].map((dy) =>
                light(g.getImageData(Math.round(44 + (x + 1) * size / 2) + dx,
                    Math.round(6 + (1 - y) * size / 2) + dy, 1, 1).data)
            )).sort((a, b) => a - b)[4]);
            }""",
            [side, places],
        )
        for (i, j), median in zip(faces, pixels, strict=True):
            light.append(median)
            high.append(np.log(h[i : i + 2, j : j + 2]).mean())
        assert spearmanr(light, high).statistic > 0.9


def test_the_switch_between_contours_and_surfaces(visit) -> None:
    page = visit(NAME)
    page.focus("[data-view=surfaces]")
    page.keyboard.press("Enter")
    assert page.get_attribute("[data-view=surfaces]", "aria-pressed") == "true"
    assert page.get_attribute("[data-view=contours]", "aria-pressed") == "false"
    assert page.locator("[data-surface=first]").is_visible()
    assert page.locator("[name=tilt]").is_visible()
    assert not page.locator("[data-map=first]").is_visible()
    page.click("[data-view=contours]")
    assert page.locator("[data-profile]").is_visible()


@pytest.mark.parametrize("units", ["relative", "absolute"])
def test_the_mean_on_the_circle_is_that_of_the_figures(visit, records, units: str) -> None:
    page = visit(NAME)
    page.click(f"[data-units={units}]")
    for name in surface_data.RECORDS[1:3]:
        choose(page, name)
        arrays, steps = records[name].arrays(), records[name].arrays()["surface_steps"]
        for percent in (100, 60, 12):
            slide(page, "shown", percent)
            found = state(page)
            for one in found["pair"]:
                radius = found["shown"] / 2 / (one["length"] if units == "absolute" else 1)
                if radius > steps[-1]:
                    assert one["rise"] is None and one["network"] == "transfer"
                    continue
                wanted = rise(steps.astype(float), arrays[f"surface/{one['network']}"], radius)[1]
                assert one["rise"] == pytest.approx(wanted, **CLOSE)
        # The sentence says the same, once the reader has stopped.
        away = f"{'filter lengths' if units == 'relative' else 'absolute units'} away"
        page.get_by_role("status").filter(has_text=away).wait_for()
        page.wait_for_timeout(400)
        said = numbers(page.inner_text("[role=status]"))
        a, b = found["pair"]
        longer = b["length"] / a["length"]
        assert said == pytest.approx([found["shown"] / 2, a["rise"], b["rise"], longer], **PRINTED)


def test_absolute_steps_change_the_order_that_filter_lengths_show(visit, records) -> None:
    """The lesson of the page, on the record where it is plainest."""
    page = visit(NAME)
    transfer, multigrid = choose(page, "baseline-prolonged-paper")["pair"]
    assert multigrid["rise"] > transfer["rise"] and multigrid["radius"] < transfer["radius"]
    page.click("[data-units=absolute]")
    found = state(page)
    transfer, multigrid = found["pair"]
    assert multigrid["rise"] < transfer["rise"] and multigrid["reach"] > transfer["reach"]
    # At first as wide as both are recorded; then the shorter filters' surface ends before the box.
    assert 0.9 * transfer["length"] < found["shown"] <= transfer["length"]
    assert [one["places"][-1] for one in found["pair"]] == pytest.approx([found["shown"]] * 2)
    slide(page, "shown", 100)
    found = state(page)
    assert found["shown"] == pytest.approx(multigrid["length"])
    ends = [one["places"][-1] for one in found["pair"]]
    assert ends == pytest.approx([transfer["length"], multigrid["length"]])
    said = "copied initialisation nothing is recorded"
    page.get_by_role("status").filter(has_text=said).wait_for()


def test_the_marked_point_by_keyboard(visit, records) -> None:
    page = turnable(visit)
    name = surface_data.RECORDS[0]
    arrays = records[name].arrays()
    steps = arrays["surface_steps"]
    choose(page, name)
    slide(page, "turn", 0)
    page.focus("[data-surface=second]")
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(f"Shift+{key}")
    found = state(page)
    assert found["point"] == pytest.approx([0.4, 0.2]) and found["turn"] == "0"
    i, j = (int(np.argmin(np.abs(steps - p))) for p in found["point"])
    for side, one in zip(SIDES, found["pair"], strict=True):
        values = arrays[f"surface/{one['network']}"]
        centre = values[len(steps) // 2, len(steps) // 2]
        assert one["at"] == pytest.approx(values[i, j], **CLOSE)
        said = page.inner_text(f"[data-point={side}]")
        assert "interpolated" not in said
        step = [0.4, 0.2]
        absolute = [s * one["length"] for s in step]
        assert numbers(said)[:4] == pytest.approx([*step, *absolute], **PRINTED)
        wanted = [values[i, j], values[i, j] / centre, centre]
        assert numbers(said)[4:] == pytest.approx(wanted, rel=2e-4)
    # A screen reader hears the surface that has the focus.
    assert page.text_content("[data-said]") == page.inner_text("[data-point=second]")
    for _ in range(8):
        page.keyboard.press("Shift+ArrowRight")
    assert state(page)["point"] == pytest.approx([1, 0.2])  # no farther than what is recorded


def test_directions_of_the_keys_are_the_screens(visit) -> None:
    page = turnable(visit)
    page.focus("[data-surface=first]")
    for turn, moved in ((0, [1, 0]), (90, [0, -1]), (-180, [-1, 0]), (-90, [0, 1])):
        slide(page, "turn", turn)
        page.focus("[data-surface=first]")
        before = state(page)["point"]
        page.keyboard.press("Shift+ArrowRight")
        after = state(page)["point"]
        assert np.subtract(after, before) == pytest.approx(np.array(moved) * 0.1, abs=1e-6)
        places = [[*p, 0] for p in (before, after)]
        (x0, *_), (x1, *_) = page.evaluate(PIXELS, ["first", places])
        assert x1 > x0 + 5


def test_points_between_are_interpolated_and_those_beyond_are_not_there(visit, records) -> None:
    page = turnable(visit)
    name = surface_data.RECORDS[0]
    arrays = records[name].arrays()
    steps = arrays["surface_steps"].astype(float)
    choose(page, name)
    page.click("[data-units=absolute]")
    found = state(page)
    transfer, multigrid = found["pair"]
    assert found["point"] == pytest.approx([0.5 * transfer["length"], 0])
    relative = np.divide(found["point"], multigrid["length"])
    log = RegularGridInterpolator((steps, steps), np.log(arrays["surface/multigrid"]))
    assert multigrid["at"] == pytest.approx(np.exp(log([relative]))[0], **CLOSE)
    assert "interpolated" in page.inner_text("[data-point=second]")
    assert "interpolated" not in page.inner_text("[data-point=first]")
    slide(page, "shown", 100)
    page.focus("[data-surface=second]")
    slide(page, "turn", 0)
    page.focus("[data-surface=second]")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    assert state(page)["pair"][0]["at"] is None
    assert "beyond what was recorded" in page.inner_text("[data-point=first]")
    for text in page.locator("section").all_inner_texts():
        assert "NaN" not in text and "Infinity" not in text and "undefined" not in text
    page.click("[data-units=relative]")
    assert np.abs(state(page)["point"]).max() <= 1


@pytest.mark.parametrize(("height", "scale"), [("ratio", "linear"), ("objective", "log")])
def test_heights_are_drawn_on_one_scale(visit, height: str, scale: str) -> None:
    page = turnable(visit)
    page.select_option("[name=height]", height)
    page.select_option("[name=scale]", scale)
    for name, value in (("turn", 0), ("tilt", 0)):
        slide(page, name, value)
    found = state(page)
    assert found["bottom"] == (
        0 if scale == "linear" else np.min([p["heights"] for p in found["pair"]])
    )
    assert found["top"] == np.max([p["heights"] for p in found["pair"]])
    drawn, wanted = [], []
    for side, one in zip(SIDES, found["pair"], strict=True):
        silhouette = np.max(one["heights"], axis=1)  # seen from the side, along direction 2
        places = np.array(one["places"]) / found["shown"]
        away = [i for i in range(1, len(places) - 1) if abs(places[i]) > 0.55]  # from the marks
        pixels = page.evaluate(PIXELS, [side, [[places[i], 0, 0] for i in away]])
        drawn += page.evaluate(TOPS, [side, [x for x, *_ in pixels]])
        level = np.log if scale == "log" else np.asarray
        wanted += list(level(silhouette[away]))
    # One line for both canvases, downwards, to two pixels.
    slope, offset = np.polyfit(wanted, drawn, 1)
    assert slope < 0 and np.abs(np.polyval([slope, offset], wanted) - drawn).max() < 2
    for tick in found["ticks"]:
        assert found["bottom"] <= tick <= found["top"]
    assert 2 <= len(found["ticks"]) <= 9


def test_the_lighter_the_higher(visit) -> None:
    page = turnable(visit)
    page.select_option("[name=scale]", "log")
    for name, value in (("turn", 0), ("tilt", 90)):
        slide(page, name, value)
    found = state(page)
    light, high = [], []
    for side, one in zip(SIDES, found["pair"], strict=True):
        x, h = np.array(one["places"]) / found["shown"], np.array(one["heights"])
        faces = [(i, j) for i in range(20) for j in range(20) if (i + j) % 3 == 0]
        middles = [[(x[i] + x[i + 1]) / 2, (x[j] + x[j + 1]) / 2, 0.5] for i, j in faces]
        for (i, j), (*_, r, g, b, alpha) in zip(
            faces, page.evaluate(PIXELS, [side, middles]), strict=True
        ):
            assert alpha == 255
            light.append(0.21 * r + 0.72 * g + 0.07 * b)
            high.append(np.log(h[i : i + 2, j : j + 2]).mean())
    assert spearmanr(light, high).statistic > 0.95  # the marks lie over a few


def test_turning_by_keyboard_alone(visit) -> None:
    page = turnable(visit)
    page.locator("[data-units=absolute]").focus()
    page.keyboard.press("Enter")
    assert state(page)["units"] == "absolute"
    assert page.get_attribute("[data-units=absolute]", "aria-pressed") == "true"
    assert page.get_attribute("[data-units=relative]", "aria-pressed") == "false"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.surface") == "first"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before, scrolled = state(page), page.evaluate("scrollY")
    picture = page.evaluate("document.querySelector('[data-surface=second]').toDataURL()")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    after = state(page)
    assert int(after["turn"]) == int(before["turn"]) + 10
    assert int(after["tilt"]) == int(before["tilt"]) - 5
    assert page.evaluate("scrollY") == scrolled
    # Both turn, or they could not be compared.
    assert page.evaluate("document.querySelector('[data-surface=second]').toDataURL()") != picture
    for _ in range(32):
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowDown")
    assert -180 <= int(state(page)["turn"]) < 180 and state(page)["tilt"] == "90"
    page.keyboard.press("Home")
    assert (state(page)["turn"], state(page)["tilt"]) == (before["turn"], before["tilt"])
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # the slider
    assert int(state(page)["turn"]) == int(before["turn"]) + 1


def test_turning_and_pointing_with_a_mouse(visit) -> None:
    page = turnable(visit)
    canvas = page.locator("[data-surface=first]")
    canvas.scroll_into_view_if_needed()
    before, box = state(page), canvas.bounding_box()
    goal = [0.3, -0.6]
    k = np.argmin(np.abs(np.array(before["pair"][0]["places"])[:, None] - goal), axis=0)
    height = before["pair"][0]["heights"][k[0]][k[1]] / before["top"]
    ((x, y, *_),) = page.evaluate(PIXELS, ["first", [[*goal, height]]])
    page.mouse.move(box["x"] + x, box["y"] + y)
    assert state(page)["point"] == pytest.approx(goal)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 40, box["y"] + y + 20, steps=4)
    page.mouse.up()
    page.wait_for_timeout(100)
    after = state(page)
    assert int(after["turn"]) == int(before["turn"]) + 20
    assert int(after["tilt"]) == int(before["tilt"]) + 10
    assert after["point"] == pytest.approx(goal)  # a drag turns, and marks nothing


def test_touch_on_a_narrow_screen(visit) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = turnable(visit, **phone)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for control in page.locator("section :is(button, select, input):visible").all():
        box = control.bounding_box()
        assert box["height"] >= 44 and box["width"] >= 44
    page.tap("[data-units=absolute]")
    assert state(page)["units"] == "absolute"
    canvas = page.locator("[data-surface=first]")
    canvas.scroll_into_view_if_needed()
    before, box = state(page), canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.touchscreen.tap(x - 40, y)
    marked = state(page)["point"]
    assert marked != before["point"]
    touch = page.context.new_cdp_session(page)
    send = lambda kind, points: touch.send(  # noqa: E731
        "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
    )
    send("touchStart", [{"x": x, "y": y}])
    for step in range(1, 6):
        send("touchMove", [{"x": x + 12 * step, "y": y}])
    send("touchEnd", [])
    page.wait_for_timeout(100)
    after = state(page)
    assert int(after["turn"]) > int(before["turn"]) and after["point"] == marked


def test_every_control_and_surface_has_a_name(visit) -> None:
    page = turnable(visit)
    for control in page.locator("section :is(button, select, input)").all():
        assert control.evaluate("c => c.ariaLabel || c.innerText || c.labels[0]?.innerText").strip()
    for side, network in zip(SIDES, ("transfer", "multigrid"), strict=True):
        canvas = page.locator(f"[data-surface={side}]")
        said, found = canvas.get_attribute("aria-label"), state(page)["pair"][SIDES.index(side)]
        assert LABELS[network] in said
        ends = [np.min(found["heights"]), np.max(found["heights"])]
        assert numbers(said)[:2] == pytest.approx(ends, **PRINTED)
        keys = page.locator("#" + canvas.get_attribute("aria-describedby"))
        assert "arrow keys" in keys.inner_text()
    assert page.get_by_role("status").count() == 1
    assert page.locator("section li").count() == 3


def test_nothing_moves_by_itself_and_the_theme_is_followed(visit) -> None:
    page = turnable(visit, reduced_motion="reduce")
    page.wait_for_timeout(400)
    picture = "document.querySelector('[data-surface=first]').toDataURL()"
    still = page.evaluate(picture)
    page.wait_for_timeout(400)
    assert page.evaluate(picture) == still
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_timeout(200)
    assert page.evaluate(picture) != still


def test_the_explorer_is_small_and_asks_no_host() -> None:
    fragment = BOOK / f"{NAME}.html"
    loaded = {part.split('"')[0] for part in fragment.read_text("utf-8").split("../_static/")[1:]}
    assert loaded == PARTS
    files = [fragment, *(BOOK / "_static" / part for part in PARTS)]
    assert surface_data.TARGET.stat().st_size < 60_000
    assert sum(file.stat().st_size for file in files) < 104_000
    for file in files:
        assert "://" not in file.read_text("utf-8")


def test_committed_data_is_what_the_tool_writes() -> None:
    assert surface_data.TARGET.read_text("utf-8") == surface_data.content(), "run the tool again"


def test_more_trials_change_nothing(tmp_path, monkeypatch) -> None:
    for name in surface_data.RECORDS:
        folder = tmp_path / "book" / "records" / name
        folder.mkdir(parents=True)
        for file in ("protocol.json", "trial-000.json", "figures.npz", "figures.json"):
            shutil.copy(BOOK / "records" / name / file, folder)
    monkeypatch.setattr(surface_data, "ROOT", tmp_path)
    assert surface_data.content() == surface_data.TARGET.read_text("utf-8")
