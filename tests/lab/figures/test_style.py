"""Every figure of the book has one style: size, background, legible text, the same bytes."""

import base64
import importlib
import inspect
import io
import itertools
import pkgutil
from pathlib import Path

import matplotlib as mpl
import notebooks
import numpy as np
import pytest
from drawing import drawn_once
from notebooks import ROOT
from PIL import Image

from mgcore.lab import figures
from mgcore.lab.figures import style

MODULES = tuple(
    importlib.import_module(file.stem)
    for file in sorted(Path(__file__).parent.glob("test_*.py"))
    if file.stem != Path(__file__).stem
)
MAKERS = {
    f"{module.__name__.removeprefix('test_')}.{name}": make
    for module in MODULES
    for name, make in module.sample_figures().items()
}
MACHADO = {  # simulated colour vision, on linear RGB (Machado et al. 2009, severity 1)
    "usual": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_figures_are_opaque_legible_and_whole(name):
    figure = drawn_once(MAKERS[name])
    width, height = figure.get_size_inches()
    assert width == style.WIDTH and figure.get_suptitle()
    assert mpl.colors.to_rgba(figure.get_facecolor()) == mpl.colors.to_rgba(style.CARD)
    sizes = [t.get_fontsize() for t in figure.findobj(mpl.text.Text) if t.get_text().strip()]
    assert min(sizes) >= (7.5 if name.startswith("pde_view") else 9)  # numbers inside kernels
    figure.draw_without_rendering()  # a page shows the layout of the second drawing
    # The background is among the artists, so the box is the figure or larger.
    box = figure.get_tightbbox().extents
    np.testing.assert_allclose(box, [0, 0, width, height], atol=0.01)


@pytest.mark.parametrize("name", MAKERS)
def test_figures_are_legible_and_whole_on_a_phone(name):
    figure = drawn_once(MAKERS[name]).narrow()
    width, height = figure.get_size_inches()
    sizes = [t.get_fontsize() for t in figure.findobj(mpl.text.Text) if t.get_text().strip()]
    pixels = 342 / style.NARROW  # an inch, where a page is 390 pixels wide
    assert width == style.NARROW and min(sizes) >= style.SMALLEST
    assert style.SMALLEST * pixels / 72 >= 11
    figure.draw_without_rendering()
    box = figure.get_tightbbox().extents
    np.testing.assert_allclose(box, [0, 0, width, height], atol=0.01)
    assert not style.on_phone()


def test_panels_of_a_row_are_stacked_on_a_phone():
    figure = drawn_once(MAKERS["background.descents"])
    for drawn, columns in ((figure, 2), (figure.narrow(), 1)):
        assert len({round(ax.get_position().x0, 3) for ax in drawn.axes}) == columns
    shown = figure._repr_png_()[1]
    picture = Image.open(io.BytesIO(base64.b64decode(shown["narrow"])))
    assert picture.width == style.NARROW * style.NARROW_DPI
    with pytest.raises(ValueError, match="decorated function"):
        style.card(2, "drawn by hand").narrow()


@pytest.mark.parametrize("path", notebooks.chapters(), ids=str)
def test_figures_of_the_chapters_are_opaque_and_light(path):
    """These are the files that a reader loads."""
    cells = notebooks.read(ROOT / path).cells
    shown = [o.get("data", {}) for cell in cells for o in cell.get("outputs", [])]
    for data in (base64.b64decode(one["image/png"]) for one in shown if "image/png" in one):
        picture = Image.open(io.BytesIO(data))
        # The largest has sixteen loss surfaces; on the site it is a WebP of half the size.
        assert picture.width == style.WIDTH * style.DPI and len(data) < 165_000
        assert min(picture.convert("RGBA").getpixel((2, 2))) >= 250


@pytest.mark.parametrize("name", ["background.losses", "pde_view.orders"])
def test_settings_of_the_caller_change_nothing(name):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        again = MAKERS[name]()
    assert style.png(again) == style.png(MAKERS[name]())


def test_every_figure_is_drawn_in_this_style():
    """The decorator keeps the caller's settings out, so each function that draws has it."""
    for found in pkgutil.iter_modules(figures.__path__, "mgcore.lab.figures."):
        module = importlib.import_module(found.name)
        if module is style:  # it makes the frame that the decorator puts around a figure
            continue
        for name, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                draws = inspect.signature(function).return_annotation in ("Figure", "Card")
                assert hasattr(function, "__wrapped__") or not draws or name[0] == "_", name


def test_settings_of_the_caller_are_left_alone():
    with mpl.rc_context({"font.size": 17}):
        MAKERS["background.losses"]()
        assert mpl.rcParams["font.size"] == 17


def test_notebooks_show_a_figure_by_itself():
    data, size = drawn_once(MAKERS["background.losses"])._repr_png_()
    assert data.startswith(b"\x89PNG") and size["width"] == 770


def linear(colour):
    c = np.array(mpl.colors.to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(colour):
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def lab(rgb):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722],
                       [0.0193, 0.1192, 0.9505]])  # fmt: skip
    x = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_colours_stand_out_and_apart():
    card = luminance(style.CARD) + 0.05
    for look in style.LOOKS.values():
        assert card / (luminance(look.colour) + 0.05) >= 4
    assert card / (luminance(style.MUTED) + 0.05) >= 4.5
    for vision, matrix in MACHADO.items():
        seen = {name: lab(matrix @ linear(look.colour)) for name, look in style.LOOKS.items()}
        for a, b in itertools.combinations(seen, 2):
            assert np.linalg.norm(seen[a] - seen[b]) >= 25, (vision, a, b)


def test_never_colour_alone():
    assert len({look.marker for look in style.LOOKS.values()}) == len(style.LOOKS)
    assert len({look.line for look in style.LOOKS.values()}) == len(style.LOOKS)
