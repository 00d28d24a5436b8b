"""The explorers in a real browser: their arithmetic is mgcore's, and what they show is theirs."""

import base64
import json
import re
from pathlib import Path

import explorer_data
import numpy as np
import pytest
import torch
from explorer_pages import shown
from notebooks import ROOT

from mgcore.grids import prolong, restrict
from mgcore.kernels import refine_kernel
from mgcore.lab.choices.gap_spectra import response
from mgcore.multigrid.cycles import build_levels, coarse_correction, two_grid, work
from mgcore.multigrid.poisson import amplitudes, jacobi, mode
from mgcore.operators import OPERATORS, to_operators

BOOK = ROOT / "book"
SCRIPTS = {
    "kernel_explorer": {"explorers.js", "explorer_data.js", "kernel_explorer.js"},
    "two_grid_explorer": {"explorers.js", "two_grid_explorer.js"},
}
SIZES = (14, 28, 56)


def state(page, script: str = "", argument: object = None) -> dict:
    """Return what the explorer on the page has computed, after `script` has run there."""
    api = "(window.kernelExplorer || window.twoGridExplorer)"
    return json.loads(
        page.evaluate(f"(x) => {{ {script}; return JSON.stringify({api}.state()); }}", argument)
    )


def same(found, wanted) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=0, atol=1e-6)


# ---- Kernel explorer ----

KERNELS = np.random.default_rng(3).normal(size=(50, 9))
TYPE = """document.querySelectorAll("input[type=number]").forEach((input, i) => {
    input.value = String(x[i]);
    input.dispatchEvent(new Event("input", { bubbles: true }));
})"""


def pictures(content: str) -> list[dict[int, torch.Tensor]]:
    """Return the digits in the text of explorer_data.js, each by size."""
    text = content.splitlines()[1].removeprefix("window.explorerData = ").removesuffix(";")
    found = []
    for digit in json.loads(text)["digits"]:
        raw = {n: base64.b64decode(digit["pixels"][str(n)]) for n in SIZES}
        found.append({n: torch.tensor(list(raw[n])).double().view(n, n) / 255 for n in SIZES})
    return found


def respond(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(image[None, None], kernel[None, None], padding=1)[0, 0]


@pytest.mark.parametrize("prolongation", ["bilinear", "constant"])
def test_fifty_kernels_are_mgcores(visit, prolongation: str) -> None:
    page = visit("kernel_explorer")
    page.select_option("[name=prolongation]", prolongation)
    digits = pictures(explorer_data.TARGET.read_text("utf-8"))
    for number, values in enumerate(KERNELS):
        basis = ("galerkin", "thesis", "nodal")[number % 3]
        digit, images = number % 2, ("drawn", "prolonged")[number // 2 % 2]
        for name, value in (("basis", basis), ("digit", str(digit)), ("images", images)):
            page.select_option(f"[name={name}]", value)
        found = state(page, TYPE, values.tolist())
        x = [digits[digit][n] for n in SIZES]
        if images == "prolonged":
            x[1] = prolong(x[0], prolongation)
            x[2] = prolong(x[1], prolongation)
        kernel = torch.tensor(values).view(3, 3)
        once = refine_kernel(kernel, prolongation)
        refined = [kernel, once, refine_kernel(once, prolongation)]
        for i in range(3):
            same(found["pictures"][i], x[i].flatten())
        for row, three in (("copied", [kernel] * 3), ("refined", refined)):
            y = [respond(image, k) for image, k in zip(x, three, strict=True)]
            down = [y[0], restrict(y[1]), restrict(restrict(y[2]))]
            for i, k in enumerate(three):
                same(found["kernels"][row][i], k.flatten())
                same(found["operators"][row][i], to_operators(k, h=0.5**i, basis=basis))
                same(found["responses"][row][i], y[i].flatten())
                off = torch.linalg.norm(down[i] - y[0]) / torch.linalg.norm(y[0])
                same(found["differences"][row][i], off)


def test_the_kernel_explorer_shows_what_it_computed(visit) -> None:
    page = visit("kernel_explorer")
    for values in KERNELS[:3]:
        found = state(page, TYPE, values.tolist())
        assert [float(text) for text in page.locator("input[type=number]").evaluate_all(
            "fields => fields.map((field) => field.value)"
        )] == pytest.approx(found["kernel"], abs=1e-4)  # fmt: skip
        columns = [("copied", 0), ("copied", 1), ("copied", 2), ("refined", 1), ("refined", 2)]
        rows = page.locator("[data-operators] tr").all()
        assert [row.locator("th").inner_text() for row in rows] == [o.name for o in OPERATORS[2]]
        for p, row in enumerate(rows):
            for (kind, i), text in zip(columns, row.locator("td").all_inner_texts(), strict=True):
                # At least two digits are printed.
                assert shown(text) == pytest.approx(found["operators"][kind][i][p], rel=0.05)
        for place, row, i in [
            (f"{r}-{n}", r, i) for r in found["kernels"] for i, n in enumerate(SIZES)
        ]:
            kernel, response = found["kernels"][row][i], found["responses"][row][i]
            texts = page.locator(f'[data-kernel="{place}"] td').all_inner_texts()
            close = 0.0051 * max(map(abs, kernel))  # half a unit of the third digit
            assert [shown(text) for text in texts] == pytest.approx(kernel, abs=close)
            bounds, ends = (
                page.inner_text(f'[data-range="{place}"]'),
                [min(response), max(response)],
            )
            close = 0.0051 * max(map(abs, ends))
            assert [shown(text) for text in bounds.split(" to ")] == pytest.approx(ends, abs=close)
            said = page.get_attribute(f'[data-picture="{place}"]', "aria-label")
            assert bounds in said and f"{SIZES[i]} by {SIZES[i]}" in said
            if i:
                off = shown(page.inner_text(f'[data-difference="{place}"]'))
                assert off == pytest.approx(100 * found["differences"][row][i], rel=0.0051)


def test_pictures_have_the_colours_of_their_values(visit) -> None:
    page = visit("kernel_explorer")
    page.click("[data-preset=laplacian]")
    responses = state(page)["responses"]
    largest = max(np.abs(response).max() for three in responses.values() for response in three)
    for place, row, i in [(f"{r}-{n}", r, i) for r in responses for i, n in enumerate(SIZES)]:
        pixels = page.locator(f'[data-picture="{place}"]').evaluate(
            "(c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        )
        red, green, blue, alpha = np.array(pixels, dtype=float).reshape(-1, 4).T
        values = np.array(responses[row][i]) / largest
        assert len(red) == SIZES[i] ** 2 and np.all(alpha == 255)
        for sign in (1, -1):
            side = sign * values > 0.02
            assert side.any() and np.all(sign * (red - blue)[side] > 0)
            # The stronger, the darker, but for the rounding of colours.
            light = (0.21 * red + 0.72 * green + 0.07 * blue)[side]
            assert np.all(np.diff(light[np.argsort(np.abs(values[side]))]) <= 1.5)


@pytest.mark.parametrize(("scale", "full"), [("all", 1), ("each", 6)])
def test_the_scale_of_colours_is_one_or_each_its_own(visit, scale: str, full: int) -> None:
    page = visit("kernel_explorer")
    page.select_option("[name=scale]", scale)
    found = state(page, TYPE, KERNELS[0].tolist())
    if scale == "all":
        largest = max(np.abs(r).max() for three in found["responses"].values() for r in three)
        assert shown(page.inner_text("[data-scale=high]")) == pytest.approx(largest, rel=0.0051)
    darkest = page.locator("[data-range]").evaluate_all(
        """ranges => ranges.map(({ dataset }) => {
            const c = document.querySelector(`[data-picture=${dataset.range}]`);
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            return Math.min(...d.map((_, i) => (i % 4 ? 765 : d[i] + d[i + 1] + d[i + 2])));
        })"""
    )
    # Red, green and blue add up to 150 where the scale ends in blue, and to 134 in red.
    assert sum(dark <= 150 for dark in darkest) == full


def test_the_kernel_explorer_counts_what_is_kept(visit) -> None:
    page = visit("kernel_explorer")
    state(page, TYPE, KERNELS[0].tolist())
    for prolongation, basis, kept in [("bilinear", "galerkin", "9"), ("constant", "galerkin", "")]:
        page.select_option("[name=prolongation]", prolongation)
        page.select_option("[name=basis]", basis)
        said = page.inner_text("[data-kept]")
        assert said.startswith(
            "Of the 9 operators in this kernel, copying to 56×56 keeps the β of 1 "
        )
        assert (said.split("refining that of ")[1].startswith(kept)) and ("9." in said) == bool(
            kept
        )


def test_presets_are_the_named_kernels(visit) -> None:
    page = visit("kernel_explorer")
    identity, laplacian = [0, 0, 0, 0, 1, 0, 0, 0, 0], [0, 1, 0, 1, -4, 1, 0, 1, 0]
    wanted = {"identity": identity, "mean": [1 / 9] * 9, "laplacian": laplacian}
    for name, kernel in wanted.items():
        page.click(f"[data-preset={name}]")
        same(state(page)["kernel"], kernel)
        pressed = page.locator("button[aria-pressed=true]").all()
        assert [button.get_attribute("data-preset") for button in pressed] == [name]
    for name, operator in (("sobelU", "∂u"), ("sobelV", "∂v")):
        page.click(f"[data-preset={name}]")
        beta = to_operators(torch.tensor(state(page)["kernel"]).view(3, 3))
        same(beta, [float(o.name == operator) for o in OPERATORS[2]])
    with np.load(BOOK / "records" / explorer_data.RECORD / "figures.npz") as figures:
        stencils = figures["stencils/coarse/conv1"].reshape(-1, 9)
    channels = []
    for _ in range(explorer_data.KERNELS + 1):
        page.click("[data-preset=trained]")
        channels.append(int(state(page)["name"].split("channel ")[1].split()[0]) - 1)
        same(state(page)["kernel"], stencils[channels[-1]])
    assert len(set(channels)) == explorer_data.KERNELS and channels[-1] == channels[0]
    drawn = []
    for _ in range(2):
        page.click("[data-preset=random]")
        drawn.append(state(page)["kernel"])
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("prolongation", ["bilinear", "constant"])
def test_the_galerkin_condition_shows_on_prolonged_images(visit, prolongation: str) -> None:
    page = visit("kernel_explorer")
    page.select_option("[name=images]", "prolonged")
    page.select_option("[name=prolongation]", prolongation)
    for digit in range(len(explorer_data.IMAGES)):
        page.select_option("[name=digit]", str(digit))
        assert max(state(page, TYPE, KERNELS[digit].tolist())["differences"]["refined"]) < 1e-12
        assert page.inner_text("[data-difference=refined-56]") == "0 %"
        assert shown(page.inner_text("[data-difference=copied-56]")) > 1


def test_the_kernel_explorer_by_keyboard_alone(visit) -> None:
    page = visit("kernel_explorer")
    press = page.keyboard.press
    press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Kernel, row 1, column 1"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press("Control+a")
    page.keyboard.type("-2.5")
    assert state(page)["kernel"][0] == -2.5 and state(page)["name"] == "edited"
    for _ in range(8 + 5):  # the other fields, then the fifth button
        press("Tab")
    press("Enter")
    assert state(page)["name"] == "Laplacian"
    for _ in range(3):
        press("Tab")
    press("c")
    assert state(page)["prolongation"] == "constant"
    page.get_by_role("status").filter(has_text="Laplacian; P: constant").wait_for()


def test_an_unusable_number_changes_nothing_and_is_marked(visit) -> None:
    page = visit("kernel_explorer")
    page.click("[data-preset=identity]")
    field = page.locator("input[type=number]").nth(4)
    for text in ("", "1e9"):
        field.fill(text)
        assert field.get_attribute("aria-invalid") == "true"
        assert state(page)["kernel"] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    field.blur()
    assert field.input_value() == "1" and field.get_attribute("aria-invalid") is None
    state(page, TYPE, [0] * 9)  # of a zero response nothing is a fraction
    assert page.inner_text("[data-difference=refined-28]") == "–"
    assert "NaN" not in page.inner_text("section") and "Infinity" not in page.inner_text("section")


@pytest.mark.parametrize("prolongation", ["bilinear", "constant"])
def test_parts_of_the_digit_and_frequency_responses_are_mgcores(visit, prolongation: str) -> None:
    page = visit("kernel_explorer")
    page.select_option("[name=prolongation]", prolongation)
    digits = pictures(explorer_data.TARGET.read_text("utf-8"))
    for number, values in enumerate(KERNELS[:6]):
        digit, axis = number % 2, "uv"[number // 2 % 2]
        page.select_option("[name=digit]", str(digit))
        page.select_option("[name=axis]", axis)
        found = state(page, TYPE, values.tolist())
        x, kernel = digits[digit][28], torch.tensor(values).view(3, 3)
        smooth = prolong(restrict(x), prolongation)
        kernels = {"copied": kernel, "refined": refine_kernel(kernel, prolongation)}
        rows = {"image": [x, smooth, x - smooth]}
        rows |= {name: [respond(part, k) for part in rows["image"]] for name, k in kernels.items()}
        for name, three in rows.items():
            norms = [float(torch.linalg.norm(part)) for part in three]
            same(found["shares"][name], np.divide(norms, norms[0]))
            for place, part, norm in zip(("whole", "smooth", "rest"), three, norms, strict=True):
                same(found["parts"][name][("whole", "smooth", "rest").index(place)], part.flatten())
                printed = shown(page.inner_text(f"[data-share={name}-{place}]"))
                assert printed == pytest.approx(100 * norm / norms[0], rel=0.0051)
        # |k̂| at the frequencies 2πm/n; the last is the Nyquist frequency.
        curves = {"original": (kernel, 56), "copied": (kernel, 112)}
        curves["refined"] = (kernels["refined"], 112)
        for name, (k, n) in curves.items():
            squares = response(k.numpy(), n)
            wanted = np.sqrt(squares[:, 0] if axis == "u" else squares[0])[: n // 2 + 1]
            same(found["gains"][name], wanted)
        same(found["gains"]["copied"][::2], found["gains"]["original"])
        said = page.get_attribute("[data-gains] svg", "aria-label")
        assert f"along {axis}" in said
        texts = re.findall(r"(\S+) \((?:original|copied|refined)", said)
        ends = [found["gains"][name][-1] for name in curves]
        top = max(max(curve) for curve in found["gains"].values())
        assert [shown(text) for text in texts] == pytest.approx(ends, rel=0.0051, abs=1e-9 * top)


def test_curves_are_drawn_as_they_were_computed(visit) -> None:
    page = visit("kernel_explorer")
    gains = state(page, TYPE, KERNELS[2].tolist())["gains"]
    drawn = page.locator("[data-gains] polyline").evaluate_all(
        "lines => lines.slice(3).map((line) => [...line.points].map(({ x, y }) => [x, y]))"
    )
    for curve, points in zip(gains.values(), drawn, strict=True):
        x, y = np.array(points).T
        assert len(x) == len(curve) and np.corrcoef(y, curve)[0, 1] < -0.999
    # The curve of the original ends where the frequency of the fine grid is half as high.
    (x0, *_), (x1, *_) = drawn[0][0], drawn[0][-1]
    assert (x1 - x0) / (drawn[1][-1][0] - drawn[1][0][0]) == pytest.approx(0.5, abs=0.01)


def test_a_cell_is_moved_by_mouse_touch_and_arrow_keys(visit) -> None:
    page = visit("kernel_explorer")
    page.click("[data-preset=laplacian]")
    field = page.locator("input[type=number]").nth(4)
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 30, steps=5)
    page.mouse.up()
    after = state(page)
    assert after["kernel"] == pytest.approx([0, 1, 0, 1, -3.5, 1, 0, 1, 0])
    assert after["name"] == "edited" and field.input_value() == "-3.5"
    page.mouse.move(x, y - 100)  # the button is up
    assert state(page)["kernel"] == after["kernel"]
    field.press("ArrowDown")
    field.press("Shift+ArrowUp")
    assert state(page)["kernel"][4] == pytest.approx(-2.6)
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = visit("kernel_explorer", **phone)
    page.tap("[data-preset=identity]")
    field = page.locator("input[type=number]").nth(0)
    field.scroll_into_view_if_needed()
    box, scrolled = field.bounding_box(), page.evaluate("scrollY")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, dy in [("touchStart", 0), *(("touchMove", 6 * k) for k in range(1, 6))]:
        points = [{"x": x, "y": y + dy}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)
    assert state(page)["kernel"][0] == pytest.approx(-0.5)
    assert page.evaluate("scrollY") == scrolled


def test_a_refused_value_gets_a_sentence_and_the_last_valid_one_stays(visit) -> None:
    page = visit("kernel_explorer")
    page.click("[data-preset=identity]")
    field, alert = page.locator("input[type=number]").nth(4), page.get_by_role("alert")
    assert alert.count() == 0 or alert.inner_text() == ""
    for text, what in (("1e9", "“1e9”"), ("", "An empty cell"), ("-1000001", "“-1000001”")):
        field.fill(text)
        said = alert.inner_text()
        assert said.startswith(f"{what} was refused: a cell takes a number from −1000000")
        assert said.endswith("Row 2, column 2 keeps 1.")
        assert state(page)["kernel"] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    field.blur()
    assert field.input_value() == "1" and "was refused" in alert.inner_text()
    field.focus()
    page.keyboard.type("a")  # which the browser itself drops
    assert alert.inner_text().startswith("“a” was refused")
    field.fill("2")
    assert page.locator("[data-refused]").inner_text() == "" and state(page)["kernel"][4] == 2


# ---- Two-grid explorer ----

CASES = [(p, c) for p in ("linear", "constant") for c in ("galerkin", "rediscretised")]
ZERO = np.zeros(32)


def set_out(visit, prolongation: str, coarse: str):
    """Open the explorer with these choices, and return mgcore's levels for them."""
    page = visit("two_grid_explorer")
    page.select_option("[name=prolongation]", prolongation)
    page.select_option("[name=coarse]", coarse)
    kind = "bilinear" if prolongation == "linear" else prolongation
    return page, build_levels(32, prolongation=kind, coarse=coarse, coarsest=16)


def start(page, kind: str, k: int) -> np.ndarray:
    page.select_option("[name=start]", kind)
    page.locator("[name=k]").fill(str(k))
    return np.array(state(page)["error"])


def take(page, step: str) -> dict:
    return state(page, "document.querySelector(`[data-step=${x}]`).click()", step)


def test_errors_at_the_start(visit) -> None:
    page = visit("two_grid_explorer")
    for k in (1, 7, 16, 24, 32):
        same(start(page, "mode", k), mode(k, 32))
        same(start(page, "mix", k), mode(k, 32) + (0.5 * mode(32 - k, 32) if k < 32 else 0))
    first, second = start(page, "random", 1), start(page, "random", 2)
    assert np.abs(first).max() <= 1 and np.abs(first - second).max() > 0.1
    same(start(page, "random", 1), first)


@pytest.mark.parametrize(("prolongation", "coarse"), CASES)
def test_steps_are_mgcores(visit, prolongation: str, coarse: str) -> None:
    page, levels = set_out(visit, prolongation, coarse)
    fine = levels[0]
    for kind, k in [
        ("mode", 1),
        ("mode", 3),
        ("mode", 16),
        ("mode", 29),
        ("mix", 5),
        ("random", 4),
    ]:
        e = start(page, kind, k)
        for sweeps in (0, 1):
            for _ in range(sweeps):
                e = jacobi(fine.a, e, ZERO)
                same(take(page, "sweep")["error"], e)
            found, residual = take(page, "restrict"), fine.r @ (fine.a @ e)
            same(found["spectrum"], amplitudes(e))
            same(found["means"], fine.r @ e)
            same(found["residual"], residual)
            same(found["error"], e)
            assert found["stage"] == 1 and found["solution"] is None
            same(take(page, "solve")["solution"], levels[1].solve(residual))
            e = coarse_correction(levels, e, ZERO)
            found = take(page, "correct")
            same(found["error"], e)
            assert found["stage"] == 0 and found["residual"] is None


@pytest.mark.parametrize(("prolongation", "coarse"), CASES)
def test_cycles_and_their_factors_are_mgcores(visit, prolongation: str, coarse: str) -> None:
    page, levels = set_out(visit, prolongation, coarse)
    for pre, post in [(1, 1), (0, 2), (3, 0)]:
        page.select_option("[name=pre]", str(pre))
        page.select_option("[name=post]", str(post))
        e = start(page, "random", 9)
        norms = [np.linalg.norm(e)]
        for _ in range(4):
            e = two_grid(levels, e, ZERO, pre, post)
            norms.append(np.linalg.norm(e))
            same(take(page, "cycle")["error"], e)
        history = state(page)["history"]
        same([row["norm"] for row in history], norms)
        same([row["factor"] for row in history[1:]], np.divide(norms[1:], norms[:-1]))
        texts = [r.locator("td").all_inner_texts() for r in page.locator("[data-history] tr").all()]
        assert [int(text[0]) for text in texts] == [4, 3, 2, 1, 0]  # newest first
        relative = [shown(text[1]) for text in reversed(texts)]
        assert relative == pytest.approx(np.divide(norms, norms[0]), rel=0.05)
        factors = [shown(text[2]) for text in reversed(texts[:-1])]
        assert factors == pytest.approx(np.divide(norms[1:], norms[:-1]), rel=0.0051)


def test_the_two_grid_explorer_says_what_was_chosen(visit) -> None:
    for prolongation, coarse in CASES:
        page, levels = set_out(visit, prolongation, coarse)
        said = page.inner_text("[data-operator]").partition(": away from the boundaries ")[2]
        strength = -levels[1].a.toarray()[1, 2] / 16**2
        assert said == ("" if strength == 1 else f"{strength:g} · ") + "[−1 2 −1]/(2h)²"
    for k, kind in ((3, "smooth"), (16, "smooth"), (17, "oscillatory")):
        e = start(page, "mode", k)
        # Between the boundaries a sweep multiplies a mode by a number.
        damping = (jacobi(levels[0].a, e, ZERO) / e)[10]
        said = page.inner_text(".tg-start")
        assert said.startswith(f"mode {k} of 32, {kind};")
        factor = shown(said.split("multiplies it by ")[1].split(",")[0])
        assert factor == pytest.approx(damping, rel=0.0051)
        found = take(page, "cycle")["history"][-1]
        said = page.inner_text("[role=status]").split("multiplied by ")[1].split()[0]
        assert shown(said) == pytest.approx(found["factor"], rel=0.05)
    start(page, "random", 5)
    assert page.inner_text("label[for=tg-k]") == "Which random error"
    before = take(page, "cycle")["error"]
    page.check("[name=zoom]")
    top = page.locator("[data-figure=fine] text").first.text_content()
    assert shown(top) == pytest.approx(np.abs(before).max(), rel=0.0051)


def test_drawings_show_the_error_and_its_spectrum(visit) -> None:
    page = visit("two_grid_explorer")
    for kind, k in [("mode", 3), ("mix", 6), ("random", 2)]:
        start(page, kind, k)
        found = take(page, "sweep")
        places = page.locator("[data-figure=fine] circle").evaluate_all(
            "marks => marks.map((mark) => Number(mark.getAttribute('cy')))"
        )
        bars = page.locator("[data-figure=spectrum] svg rect:not(.tg-axis)").evaluate_all(
            "bars => bars.map((bar) => Number(bar.getAttribute('height')))"
        )
        # Values on a scale of pixels, downwards for the error; pixels are rounded to a tenth.
        assert np.corrcoef(places, found["error"])[0, 1] < -0.999
        assert np.corrcoef(bars, np.abs(found["spectrum"]))[0, 1] > 0.999
        strongest = int(np.argmax(np.abs(found["spectrum"]))) + 1
        for figure in ("fine", "spectrum"):
            said = page.get_attribute(f"[data-figure={figure}] svg[role=img]", "aria-label")
            assert f"strongest mode {strongest}." in said


def test_steps_out_of_order_say_what_is_missing(visit) -> None:
    page = visit("two_grid_explorer")
    error = state(page)["error"]
    # Not `disabled`, which would take a button out of the keyboard's way and say nothing.
    for step, missing in [("solve", "Restrict"), ("correct", "Restrict"), ("correct", "Solve")]:
        if missing == "Solve":
            take(page, "restrict")
        assert page.get_attribute(f"[data-step={step}]", "aria-disabled") == "true"
        assert take(page, step)["error"] == error
        assert page.get_by_role("status").inner_text().startswith(missing)
    assert take(page, "sweep")["stage"] == 0  # the residual was the old error's
    take(page, "restrict")
    page.select_option("[name=coarse]", "rediscretised")
    assert state(page)["stage"] == 0


def test_work_and_the_race_with_jacobi_are_mgcores(visit) -> None:
    page, levels = set_out(visit, "linear", "galerkin")
    for pre, post, kind, k in [(1, 1, "random", 3), (0, 2, "mode", 5), (2, 1, "mix", 4)]:
        page.select_option("[name=pre]", str(pre))
        page.select_option("[name=post]", str(post))
        e = start(page, kind, k)
        # mgcore counts the sweeps and the residual; the coarse solve is one more here.
        one = work(levels, pre, post) + 1
        for _ in range(3):
            found = take(page, "cycle")
        assert [row["work"] for row in found["history"]] == [0, one, 2 * one, 3 * one]
        norms = [np.linalg.norm(jacobi(levels[0].a, e, ZERO, s)) for s in range(int(3 * one) + 1)]
        same(found["alone"][: len(norms)], norms)
        said = page.inner_text("[data-race]")
        printed = re.search(r"work of (\d+) sweeps the error is (\S+) of .*, (\S+) with", said)
        assert int(printed[1]) == 3 * one
        ratios = [found["history"][-1]["norm"] / norms[0], norms[-1] / norms[0]]
        assert [shown(text) for text in printed.groups()[1:]] == pytest.approx(ratios, rel=0.05)
        marks = page.locator("[data-figure=race] circle").evaluate_all(
            "marks => marks.map((mark) => ['cx', 'cy'].map((name) => +mark.getAttribute(name)))"
        )
        line = page.locator("[data-figure=race] .tg-alone").evaluate(
            "(line) => [...line.points].map(({ x, y }) => [x, y])"
        )
        # One scale for both: heights are linear in the logarithm of the norm.
        heights = [y for _, y in marks + line[: len(norms)]]
        logs = np.log([row["norm"] for row in found["history"]] + norms)
        slope, offset = np.polyfit(logs, heights, 1)
        assert slope < 0 and np.abs(np.polyval([slope, offset], logs) - heights).max() < 0.2
        assert [x for x, _ in marks] == pytest.approx([line[int(one) * c][0] for c in range(4)])
        # The same cycle step by step costs the same, and asking for a step twice costs nothing.
        start(page, kind, k)
        for step in [*["sweep"] * pre, "restrict", "restrict", "solve", "solve", "correct",
                     *["sweep"] * post]:  # fmt: skip
            found = take(page, step)
        assert found["work"] == one and take(page, "solve")["work"] == one


@pytest.mark.parametrize("zoom", [False, True])
def test_the_logarithmic_spectrum_shows_what_a_cycle_removed(visit, zoom: bool) -> None:
    page = visit("two_grid_explorer")
    page.select_option("[name=axis]", "log")
    page.set_checked("[name=zoom]", zoom)
    start(page, "random", 8)
    before = np.abs(take(page, "cycle")["spectrum"])
    after = np.abs(take(page, "cycle")["spectrum"])
    drawn = "(marks, name) => marks.map((mark) => Number(mark.getAttribute(name)))"
    figure = page.locator("[data-figure=spectrum]")
    heights = figure.locator("circle").evaluate_all(drawn, "cy")
    past = figure.locator(".tg-past").evaluate_all(drawn, "y1")
    assert len(heights) == len(past) == 32
    logs = np.log10([*after, *before])
    slope, offset = np.polyfit(logs, [*heights, *past], 1)
    assert np.abs(np.polyval([slope, offset], logs) - [*heights, *past]).max() < 0.2
    assert figure.locator(".tg-stem").evaluate_all(drawn, "y1") == past
    # The labels of the axis are on the same line.
    for label in figure.locator("text").all():
        text = label.text_content()
        if re.fullmatch("1|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", text) and label.get_attribute("text-anchor") == "end":
            digits = text[2:].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
            y = float(label.get_attribute("y")) - 4 - 8
            assert y == pytest.approx(np.polyval([slope, offset], float(digits or 0)), abs=0.2)


FAST = """const real = window.setInterval;
    window.setInterval = (work, pause) => (window.paused = pause, real(work, 5))"""


@pytest.mark.parametrize(("pre", "post"), [(1, 1), (0, 2), (0, 0)])
def test_play_takes_the_steps_of_cycles_and_stops(visit, pre: int, post: int) -> None:
    page, levels = set_out(visit, "linear", "galerkin")
    page.evaluate(FAST)
    page.select_option("[name=pre]", str(pre))
    page.select_option("[name=post]", str(post))
    e = start(page, "random", 6)
    assert not state(page)["playing"] and state(page)["place"] == -1  # nothing moves by itself
    page.click("[data-play]")
    status = page.get_by_role("status")
    status.filter(has_text="Finished").wait_for()
    found = state(page)
    assert page.evaluate("window.paused") >= 500 and not found["playing"]
    cycles = found["work"] // (work(levels, pre, post) + 1)
    for _ in range(int(cycles)):
        e = two_grid(levels, e, ZERO, pre, post)
    same(found["error"], e)
    done = np.linalg.norm(e) / found["history"][0]["norm"]
    assert done <= 1e-6 if pre + post else (cycles == 10 and done > 1e-6)
    assert found["place"] == len(found["plan"]) - 1
    steps = [row["step"] for row in found["history"][1:]]
    assert steps == (["sweep"] * pre + ["correction"] + ["sweep"] * post) * int(cycles)
    assert status.get_attribute("aria-live") is None


def test_play_is_paused_and_goes_on(visit) -> None:
    page = visit("two_grid_explorer")
    page.focus("[data-play]")
    page.keyboard.press("Enter")
    assert state(page)["playing"] and state(page)["place"] == 0
    assert page.inner_text("[data-play]") == "Pause"
    assert page.get_by_role("status").get_attribute("aria-live") == "off"
    page.keyboard.press("Enter")
    found = state(page)
    assert not found["playing"] and page.inner_text("[data-play]") == "Play cycles"
    assert page.get_by_role("status").inner_text().endswith("Paused.")
    page.keyboard.press("Enter")
    assert state(page)["place"] == found["place"] + 1
    take(page, "sweep")  # a step of the reader's own ends it
    assert not state(page)["playing"]
    page.keyboard.press("Enter")
    page.locator("[name=k]").fill("9")
    assert not state(page)["playing"] and len(state(page)["history"]) == 1


def test_with_reduced_motion_each_press_takes_one_step(visit) -> None:
    page = visit("two_grid_explorer", reduced_motion="reduce")
    assert page.inner_text("[data-play]") == "Next step"
    for place in (0, 1, 2, 3, 4, 0):
        page.click("[data-play]")
        assert state(page)["place"] == place and not state(page)["playing"]
    before = state(page)
    page.wait_for_timeout(1000)
    assert state(page) == before


def test_the_diagram_marks_the_present_step(visit) -> None:
    page = visit("two_grid_explorer")
    page.select_option("[name=pre]", "2")
    figure = page.locator("[data-figure=cycle]")
    label = lambda: figure.locator("svg").get_attribute("aria-label")  # noqa: E731
    assert "A cycle: 2 sweeps, restrict, solve, correct, 1 sweep." in label()
    assert label().endswith("before the cycle.") and figure.locator(".tg-here").count() == 0
    levels = {}
    for place, step in enumerate(["sweep", "sweep", "restrict", "solve", "correct", "sweep"]):
        assert take(page, step)["place"] == place
        assert label().endswith(f"Present step: {step}.")
        shapes = figure.locator(":is(circle, line).tg-here")
        assert shapes.count() == 1
        levels.setdefault(step, []).append(
            shapes.evaluate("(s) => s.cy?.baseVal.value ?? s.y1.baseVal.value")
        )
    assert len(set(levels["sweep"])) == 1 and levels["solve"][0] > levels["sweep"][0]
    assert take(page, "sweep")["place"] == 0  # the next cycle
    for _ in range(3):
        assert take(page, "sweep")["place"] == 1  # more sweeps than the cycle has
    take(page, "restrict")
    page.select_option("[name=pre]", "0")
    assert label().endswith("Present step: restrict.")
    assert take(page, "cycle")["place"] == 3 and take(page, "reset")["place"] == -1


def test_the_two_grid_explorer_by_keyboard_alone(visit) -> None:
    page, levels = set_out(visit, "linear", "galerkin")
    page.locator("[name=prolongation]").focus()
    for key in ("Tab", "ArrowRight", "Tab", "Enter"):  # the slider, one on; the first step
        page.keyboard.press(key)
    e = jacobi(levels[0].a, mode(4, 32), ZERO)
    same(state(page)["error"], e)
    for key in ("Tab", " ", "Tab", "Enter", "Tab", " "):
        page.keyboard.press(key)
    same(state(page)["error"], coarse_correction(levels, e, ZERO))
    assert page.evaluate("document.activeElement.dataset.step") == "correct"
    assert "multiplied by" in page.get_by_role("status").inner_text()


# ---- Both ----


@pytest.mark.parametrize("name", SCRIPTS)
def test_touch_on_a_narrow_screen(visit, name: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = visit(name, **phone)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for control in page.locator("section :is(button, select, input:not([type=checkbox]))").all():
        box = control.bounding_box()
        assert box["height"] >= 44 and box["width"] >= 44
    if name == "kernel_explorer":
        page.tap("[data-preset=laplacian]")
        assert state(page)["name"] == "Laplacian"
    else:
        page.tap("[data-step=cycle]")
        assert state(page)["history"][-1]["factor"] < 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_control_and_picture_has_a_name(visit, name: str) -> None:
    page = visit(name)
    for control in page.locator("section :is(button, select, input)").all():
        assert control.evaluate("c => c.ariaLabel || c.innerText || c.labels[0]?.innerText").strip()
    drawings = page.locator("section :is(canvas:not([aria-hidden]), [data-figure] > svg)").all()
    assert len(drawings) >= 3
    for drawing in drawings:
        assert drawing.get_attribute("role") == "img"
        assert len(drawing.get_attribute("aria-label")) > 20
    assert page.get_by_role("status").count() == 1
    assert page.locator("section li").count() == 3


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_explorer_is_small_and_asks_no_host(name: str) -> None:
    fragment = BOOK / f"{name}.html"
    parts = {BOOK / "_static" / file for file in SCRIPTS[name] | {"explorers.css"}}
    loaded = {part.split('"')[0] for part in fragment.read_text("utf-8").split("../_static/")[1:]}
    assert loaded == {part.name for part in parts}
    assert sum(Path(file).stat().st_size for file in {fragment, *parts}) < 72_000
    for file in {fragment, *parts}:
        assert "://" not in file.read_text("utf-8")


def test_committed_data_is_what_the_tool_writes() -> None:
    assert explorer_data.TARGET.read_text("utf-8") == explorer_data.content(), "run the tool again"


def test_digits_are_one_function_at_three_sizes() -> None:
    for digit in pictures(explorer_data.content()):
        means = [digit[n].mean() for n in SIZES]
        assert max(means) - min(means) < 0.02 * max(means)
        assert all(image[0].max() < 0.02 for image in digit.values())  # paper at the rim
