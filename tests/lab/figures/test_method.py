"""The method's figures draw what they are given: places, counts, curves and paths as data."""

from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from drawing import all_drawn, texts

from mgcore.lab.figures import method
from mgcore.lab.figures.method import LayerOutput, Subproblem
from mgcore.lab.verdict.metrics import roughness

OMEGA = np.linspace(0, np.pi, 9)
UNPOOLED = [
    LayerOutput("", 1, 12),
    LayerOutput("conv\n288", 3, 12),
    LayerOutput("classifier\n4,330", 10, 1),
]
POOLED = [
    LayerOutput("", 1, 12),
    LayerOutput("conv", 3, 12),
    LayerOutput("mean", 3, 6),
    LayerOutput("classifier", 10, 1),
]


def make_data():
    rng = np.random.default_rng(5)
    rows = np.zeros((6, 6))
    rows[0], rows[-1, 2] = 2.0, 1e-14  # the last is rounding
    return {
        "coarse": np.array([1.0, 3.0, 2.0]),
        "prolonged": {"bilinear P": np.arange(6.0), "constant P": np.repeat([1.0, 3.0, 2.0], 2)},
        "pictures": {"x": rng.random((8, 8)), "R x": rng.random((4, 4))},
        "rows": {"clamped": rows, "periodic": np.zeros((6, 6))},
        "curves": {
            "left": {"R": (OMEGA, np.cos(OMEGA / 2))},
            "response": {
                "copied": (OMEGA, np.ones(9)),
                "refined, bilinear": (OMEGA, 1 + OMEGA),
                "refined, constant": (OMEGA, 1 + OMEGA / 2),
                "on the coarse grid": (OMEGA[:5], np.ones(5)),
            },
        },
        "parts": {
            part: {"the part": rng.normal(size=(8, 8)), "copied": rng.normal(size=(8, 8))}
            for part in ("P R x", "x − P R x")
        },
        "sheets": {"random": rng.normal(size=(2, 3, 5, 5)), "smooth": np.ones((2, 3, 5, 5))},
        "cases": [
            Subproblem("inside", np.eye(2), np.array([-1.0, 0.0]), 2.0,
                       np.array([[0.0, 0], [1, 0]])),
            Subproblem("saddle", np.diag([1.0, -1.0]), np.array([-1.0, -0.1]), 1.5,
                 np.array([[0.0, 0], [1, 0.1], [1.1, 1.0198]])),
        ],
    }  # fmt: skip


@cache
def sample_figures():
    """Return a maker of each figure."""
    data = make_data()
    return {
        "grids": lambda: method.grids(data["coarse"], data["prolonged"], data["pictures"]),
        "rows": lambda: method.row_differences(data["rows"]),
        "frequencies": lambda: method.frequencies(data["curves"]),
        "responses": lambda: method.responses(data["parts"]),
        "sheets": lambda: method.weight_sheets(data["sheets"]),
        "architectures": lambda: method.architectures({"unpooled": UNPOOLED, "pooled": POOLED}),
        "trust": lambda: method.trust_regions(data["cases"]),
    }


@pytest.fixture(scope="module")
def data():
    return make_data()


@pytest.fixture(scope="module")
def drawn():
    return all_drawn(sample_figures())


def axes(figure):
    return figure.findobj(mpl.axes.Axes)


def images(figure):
    return [image.get_array() for ax in axes(figure) for image in ax.images]


def test_grid_centres_are_cell_centred(drawn):
    plan = axes(drawn["grids"])[0]
    fine, coarse = ({tuple(xy) for line in plan.lines if line.get_marker() == mark
                     for xy in line.get_xydata()} for mark in "os")  # fmt: skip
    assert coarse == {(i + 0.5, j + 0.5) for i in range(4) for j in range(4)}
    assert fine == {((i + 0.5) / 2, (j + 0.5) / 2) for i in range(8) for j in range(8)}


def test_values_on_a_line_are_at_their_centres(drawn, data):
    line = axes(drawn["grids"])[1]
    shown = {one.get_label(): one for one in line.lines}
    np.testing.assert_allclose(shown["coarse"].get_xydata().T, [[0.5, 1.5, 2.5], [1, 3, 2]])
    for name, values in data["prolonged"].items():
        np.testing.assert_allclose(shown[name].get_xdata(), (np.arange(6) + 0.5) / 2)
        np.testing.assert_array_equal(shown[name].get_ydata(), values)
    markers = [one.get_marker() for one in shown.values()]
    assert len(set(markers)) == 3


def test_pictures_of_one_figure_share_a_grey_scale(drawn, data):
    shown = [image for ax in axes(drawn["grids"]) for image in ax.images]
    assert len({image.get_clim() for image in shown}) == 1
    for image, wanted in zip(shown, data["pictures"].values(), strict=True):
        np.testing.assert_array_equal(image.get_array(), wanted)


def test_differing_rows_are_counted_and_rounding_is_not(drawn):
    found = texts(drawn["rows"])
    assert "clamped\n6 of 36 rows" in found and "periodic\n0 of 36 rows" in found
    clamped, periodic = images(drawn["rows"])
    assert np.isfinite(clamped.filled(np.nan)).sum() == 6
    assert not np.isfinite(periodic.filled(np.nan)).any()


@pytest.mark.parametrize(("size", "count"), [(0.0, 0), (1e-13, 0), (1e-11, 9)])
def test_what_rounding_leaves_is_no_difference_however_small_the_rest(size, count):
    figure = method.row_differences({"alone": np.full((3, 3), size)})
    assert f"alone\n{count} of 9 rows" in texts(figure)


def test_one_panel_is_enough():
    one = {"left": {"R": (OMEGA, OMEGA)}}
    assert len(axes(method.frequencies(one))) == 1
    sheet = np.eye(4)[None, None].repeat(2, axis=0)
    assert len(images(method.weight_sheets({"alone": sheet}))) == 1
    both = {"bilinear P": np.ones(4), "constant P": np.ones(4)}
    assert len(images(method.grids(np.ones(2), both, {"x": np.eye(4)}))) == 1


def test_curves_are_the_data_and_each_has_a_look_of_its_own(drawn, data):
    left, right = axes(drawn["frequencies"])
    assert [ax.get_title() for ax in (left, right)] == ["left", "response"]
    for ax, curves in zip((left, right), data["curves"].values(), strict=True):
        for line, (label, xy) in zip(ax.lines, curves.items(), strict=True):
            assert line.get_label() == label
            np.testing.assert_array_equal(line.get_xydata().T, xy)
    assert len({line.get_color() for line in right.lines}) == 4
    assert len({line.get_linestyle() for line in right.lines}) >= 3  # dash patterns read alike
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "π/2", "π"]


def test_responses_tell_the_rms_and_share_a_scale(drawn, data):
    shown = [image for ax in axes(drawn["responses"]) for image in ax.images]
    assert len({image.get_clim() for image in shown}) == 1
    wanted = [image for row in data["parts"].values() for image in row.values()]
    for image, expected in zip(shown, wanted, strict=True):
        np.testing.assert_array_equal(image.get_array(), expected)
        rms = np.sqrt((expected**2).mean())
        assert image.axes.get_xlabel() == f"rms {rms:.2f}"
    columns = [image.axes.get_title() for image in shown]
    assert columns == ["the part", "copied", "", ""]


def test_sheets_show_every_block_once_and_its_roughness(drawn, data):
    for sheet, (name, blocks) in zip(images(drawn["sheets"]), data["sheets"].items(), strict=True):
        cells = np.ma.filled(sheet, np.nan)
        assert cells.shape == (2 * 7, 3 * 7)
        np.testing.assert_array_equal(cells[8:13, 15:20], blocks[1, 2])
        assert np.isfinite(cells).sum() == blocks.size
        title = f"{name}: roughness ‖∇W‖/‖W‖ = {roughness(blocks).mean():.2f}"
        assert title in texts(drawn["sheets"])


def test_architectures_write_shapes_and_weights(drawn):
    found = texts(drawn["architectures"])
    for wanted in ("unpooled", "1 × 12×12", "3 × 6×6", "conv\n288", "classifier\n4,330", "10"):
        assert wanted in found
    first, second = axes(drawn["architectures"])
    for ax, stages in ((first, UNPOOLED), (second, POOLED)):
        arrows = [p for p in ax.patches if isinstance(p, mpl.patches.FancyArrowPatch)]
        assert len(arrows) == len(stages) - 1
        sheets = [p for p in ax.patches if isinstance(p, mpl.patches.Rectangle)]
        assert len(sheets) == sum(s.channels if s.side > 1 else 1 for s in stages)
    widths = {round(p.get_width(), 6) for p in second.patches
              if isinstance(p, mpl.patches.Rectangle)}  # fmt: skip
    assert widths == {0.85, 0.425, 0.1}  # 12 cells, 6 cells, logits


def test_trust_region_and_path_are_drawn_to_scale(drawn, data):
    for ax, case in zip(axes(drawn["trust"]), data["cases"], strict=True):
        (circle,) = (p for p in ax.patches if isinstance(p, mpl.patches.Circle))
        assert circle.get_radius() == case.radius and circle.center == (0, 0)
        path, star = ax.lines
        np.testing.assert_array_equal(path.get_xydata(), case.path)
        np.testing.assert_array_equal(star.get_xydata(), case.path[-1:])
        assert star.get_marker() == "*" and ax.get_title() == case.title
        assert ax.get_aspect() == 1


def test_contours_are_those_of_the_model(data):
    """Along every line the model has one value; its minimum in the disc is a step of length 1."""
    ax = axes(method.trust_regions(data["cases"][:1]))[0]
    lines = ax.collections[1]
    seen = 0
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        for x, y in path.vertices:
            model = -x + 0.5 * (x**2 + y**2)
            assert model == pytest.approx(level, abs=2e-3)
            seen += 1
    assert seen > 100
