"""The two interactive pictures in theory chapters compute what torch and mgcore compute."""

import json
import re

import numpy as np
import pytest
import torch
from explorer_pages import BOOK, shown

from mgcore.operators import from_operators, rediscretise

PICTURES = ("sliding", "limit")


def state(page, name: str) -> dict:
    return json.loads(page.evaluate(f"() => JSON.stringify(window.{name}Explorer.state())"))


def fill(page, name: str, value: int) -> None:
    page.locator(f"[name={name}]").fill(str(value))


@pytest.mark.parametrize("kernel", ["slope", "down", "sum", "laplacian", "identity"])
def test_the_result_is_that_of_conv2d(visit, kernel: str) -> None:
    page = visit("sliding_explorer")
    page.select_option("[name=kernel]", kernel)
    found = state(page, "sliding")
    image, weights = torch.tensor(found["image"]), torch.tensor(found["kernel"])
    wanted = torch.nn.functional.conv2d(
        image.view(1, 1, 7, 7).double(), weights.view(1, 1, 3, 3).double(), padding=1
    )[0, 0]
    assert found["output"] == wanted.flatten().tolist()
    for grid, values in (("image", image), ("kernel", weights), ("output", wanted)):
        texts = page.locator(f"[data-grid={grid}] td").all_inner_texts()
        assert [shown(text) for text in texts] == values.flatten().tolist()
    for row, column in ((1, 1), (4, 4), (7, 3)):
        fill(page, "row", row)
        fill(page, "column", column)
        said = page.inner_text("[role=status]").replace("−", "-")
        terms = re.findall(r"\(?(-?\d+)\)?·(\d+)", said)
        assert len(terms) == 9 and said.startswith(f"Row {row}, column {column}: ")
        value = int(said.rpartition("= ")[2])
        assert value == sum(int(w) * int(x) for w, x in terms) == wanted[row - 1, column - 1]
        framed = page.locator("[data-grid=image] .sl-here")
        assert framed.count() == (3 - (row in (1, 7))) * (3 - (column in (1, 7)))


def test_the_kernel_moves_by_keyboard_button_and_click(visit) -> None:
    page = visit("sliding_explorer")
    page.focus("[name=column]")
    page.keyboard.press("End")
    assert state(page, "sliding")["column"] == 6
    row = state(page, "sliding")["row"]
    page.click("[data-next]")
    found = state(page, "sliding")
    assert (found["row"], found["column"]) == (row + 1, 0)  # as one reads
    page.locator("[data-grid=output] tr").nth(6).locator("td").nth(6).click()
    assert state(page, "sliding")["row"] == state(page, "sliding")["column"] == 6
    page.click("[data-next]")
    assert state(page, "sliding")["row"] == state(page, "sliding")["column"] == 0


@pytest.mark.parametrize(("operator", "order"), [("one", 0), ("slope", 1), ("second", 2)])
def test_the_two_limits_are_mgcores(visit, operator: str, order: int) -> None:
    page = visit("limit_explorer")
    page.select_option("[name=operator]", operator)
    beta = torch.eye(3, dtype=torch.float64)[order]
    first = from_operators(beta, 0.5, ndim=1)
    offs = []
    for halvings in range(7):
        fill(page, "halvings", halvings)
        found = state(page, "limit")
        h = 0.5**halvings / 2
        assert found["h"] == h
        kernels = {"copied": first, "scaled": rediscretise(first, 0.5, h, ndim=1)}
        u = np.array(found["places"])
        g = lambda x: np.sin(3 * x)  # noqa: E731
        exact = [g(u), 3 * np.cos(3 * u), -9 * g(u)][order]
        np.testing.assert_allclose(found["curves"]["exact"], exact, atol=1e-12)
        for kind, theta in kernels.items():
            np.testing.assert_allclose(found["kernels"][kind], theta, rtol=1e-12)
            curve = sum(float(w) * g(u + o * h) for w, o in zip(theta, (-1, 0, 1), strict=True))
            np.testing.assert_allclose(found["curves"][kind], curve, atol=1e-9)
            off = np.abs(curve - exact).max() / np.abs(exact).max()
            assert found["off"][kind] == pytest.approx(off, rel=1e-6)
            texts = page.locator(f"[data-weights={kind}] td").all_inner_texts()
            assert [shown(text) for text in texts] == pytest.approx(theta.tolist(), rel=0.0051)
        said = [shown(text) for text in re.findall(r"(\S+) %", page.inner_text("[role=status]"))]
        printed = [100 * found["off"][kind] for kind in ("copied", "scaled")]
        assert said == pytest.approx(printed, rel=0.0051)
        offs.append(found["off"])
    # The operator stays and converges with order 2; copied weights keep a derivative not at all.
    assert offs[-2]["scaled"] / offs[-1]["scaled"] == pytest.approx(4, rel=0.01)
    assert offs[-1]["copied"] > 0.9 or order == 0


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_fits_a_phone_and_every_part_has_a_name(visit, name: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = visit(f"{name}_explorer", **phone)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for control in page.locator("section :is(button, select, input)").all():
        assert control.bounding_box()["height"] >= 44
        assert control.evaluate("c => c.ariaLabel || c.innerText || c.labels[0]?.innerText").strip()
    for part in page.locator("section :is(svg[role=img], table)").all():
        assert part.evaluate("t => t.ariaLabel || t.caption?.innerText")
    assert page.get_by_role("status").count() == 1


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_small_and_asks_no_host(name: str) -> None:
    parts = {"explorers.css", "explorers.js", f"{name}_explorer.js"}
    fragment = BOOK / f"{name}_explorer.html"
    loaded = {part.split('"')[0] for part in fragment.read_text("utf-8").split("../_static/")[1:]}
    assert loaded == parts
    files = [fragment, *(BOOK / "_static" / part for part in parts)]
    assert sum(file.stat().st_size for file in files) < 30_000
    assert not any("://" in file.read_text("utf-8") for file in files)
