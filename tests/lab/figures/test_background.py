"""Figures of the chapter on networks show the values that they are given."""

import math
from functools import cache

import numpy as np
import pytest
from drawing import all_drawn, texts

from mgcore.lab.figures import background

RNG = np.random.default_rng(4)
DENSE = RNG.normal(size=(9, 9))  # drawn once: a figure is made twice of the same data
DIGITS = {n: RNG.random((3, n, n)) for n in (6, 12)}
MAPS = {"one": {"ink": RNG.random((5, 5)), "slope": RNG.normal(size=(5, 5))},
        "two": {"ink": np.zeros((5, 5))}}  # fmt: skip
PATHS = {1: np.linspace(2, 1, 9), 8: np.linspace(2, 0.5, 9), 64: np.linspace(2, 0.4, 9)}
EPOCHS = {"momentum 0": np.linspace(2, 1, 4), "momentum 0.9": np.linspace(2, 0.5, 4)}
FEW = {"training": np.array([(0, 2.0), (10, 0.5)]), "validation": np.array([(0, 2.0), (10, 1.5)])}
SIZES = [32, 64, 128]
GAPS = {"training": np.array([0.0, 2.0, 10.0]), "validation": np.array([60.0, 40.0, 20.0])}
STENCIL = np.diag([2.0] * 9) + np.diag([-1.0] * 8, k=1)
CURVES = {"chain": {1: np.array([2.3, 1.0]), 4: np.array([2.3, 1.5])},
          "residual": {1: np.array([2.3, 0.9]), 4: np.array([2.3, 0.2])}}  # fmt: skip


@cache
def sample_figures():
    """Return a maker of each figure."""
    return {
        "digits": lambda: background.digits_on_grids(DIGITS),
        "responses": lambda: background.responses(MAPS, "title", "one line\nand another"),
        "losses": lambda: background.losses(),
        "descents": lambda: background.descents(PATHS, EPOCHS),
        "overfitting": lambda: background.overfitting(FEW, 64, GAPS, SIZES),
        "operators": lambda: background.operators(STENCIL, DENSE),
        "depths": lambda: background.depths(CURVES),
    }


@pytest.fixture(scope="module")
def drawn():
    return all_drawn(sample_figures())


def labelled(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_every_digit_is_on_every_grid(drawn):
    axes = drawn["digits"].axes
    assert [ax.get_ylabel() for ax in axes[::3]] == ["6 × 6", "12 × 12"]
    for ax, image in zip(axes, [*DIGITS[6], *DIGITS[12]], strict=True):
        assert np.array_equal(ax.images[0].get_array(), image)
        assert ax.images[0].get_clim() == (0, image.max())  # 0 is paper


def test_zero_is_grey_where_there_are_signs_and_paper_elsewhere(drawn):
    ink, slope, empty, absent = drawn["responses"].axes
    assert not absent.get_visible()
    high = np.abs(MAPS["one"]["slope"]).max()
    assert slope.images[0].get_clim() == (-high, high)
    assert ink.images[0].get_clim() == (0, MAPS["one"]["ink"].max())
    assert slope.get_title() == "slope" and empty.get_ylabel() == "two"
    dark, light = (np.mean(ink.images[0].cmap(value)[:3]) for value in (1.0, 0.0))
    assert dark == 0 and light == 1


def test_error_jumps_where_the_cross_entropy_is_log_2(drawn):
    (ax,) = drawn["losses"].axes
    falling = next(line for name, line in labelled(ax).items() if name.startswith("cross-entropy"))
    x, y = falling.get_data()
    assert y[np.argmin(np.abs(x))] == pytest.approx(math.log(2))
    assert (np.diff(y) < 0).all() and y[0] == pytest.approx(math.log1p(math.exp(4)))
    flat = [line for line in ax.lines if line is not falling and len(line.get_xdata()) > 1]
    assert len(flat) == 2
    for line in flat:
        wrong = line.get_xdata()[0] < 0
        assert ((line.get_xdata() < 0) == wrong).all() and (line.get_ydata() == wrong).all()


def test_paths_are_drawn_under_their_names(drawn):
    left, right = drawn["descents"].axes
    lines = labelled(left)
    assert list(lines) == ["minibatch of 1", "minibatch of 8", "all 64 at once"]
    for line, path in zip(lines.values(), PATHS.values(), strict=True):
        assert np.array_equal(line.get_ydata(), path)
    assert min(lines.values(), key=lambda line: line.get_zorder()) is lines["all 64 at once"]
    assert {name: list(line.get_ydata()) for name, line in labelled(right).items()} == {
        name: list(values) for name, values in EPOCHS.items()
    }


def test_gap_lies_between_the_two_errors(drawn):
    left, right = drawn["overfitting"].axes
    assert np.array_equal(labelled(left)["validation"].get_xydata(), FEW["validation"])
    band = right.collections[0].get_paths()[0].vertices
    for size, low, high in zip(SIZES, *GAPS.values(), strict=True):
        at = band[np.isclose(band[:, 0], size), 1]
        assert (at.min(), at.max()) == (low, high)
    ticks = [label.get_text() for label in right.get_xticklabels()]
    assert ticks == ["32", "64", "128"]
    assert "64 training images" in texts(drawn["overfitting"])


def test_many_sizes_label_every_other_tick():
    sizes = [2**k for k in range(5, 13)]
    values = {name: np.linspace(0, 60, 8) for name in GAPS}
    right = background.overfitting(FEW, 64, values, sizes).axes[1]
    assert [t.get_text() for t in right.get_xticklabels()] == ["32", "128", "512", "2048"]


def test_matrices_leave_zeros_blank_and_count_what_they_hold(drawn):
    convolution, dense = drawn["operators"].axes
    assert convolution.get_title() == "convolution: 17 entries, 2 different"
    assert dense.get_title() == "dense: 81 entries, 81 different"
    shown = convolution.images[0].get_array()
    assert np.ma.getmaskarray(shown)[STENCIL == 0].all()
    assert np.array_equal(np.asarray(shown)[STENCIL != 0], STENCIL[STENCIL != 0])
    assert any("3 × 3 cells" in text for text in texts(drawn["operators"]))


def test_depths_share_their_scale_and_are_named(drawn):
    left, right = drawn["depths"].axes
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[0] == 0
    assert (left.get_title(), right.get_title()) == ("chain", "residual")
    assert list(labelled(left)) == ["1 layer", "4 layers"]
    assert np.array_equal(labelled(right)["4 layers"].get_ydata(), CURVES["residual"][4])


def test_curves_of_a_panel_differ_in_more_than_colour(drawn):
    for name in ("losses", "descents", "overfitting", "depths"):
        for ax in drawn[name].axes:
            lines = labelled(ax).values()
            # A dash pattern of one's own has no public name.
            looks = {(str(line._dash_pattern), line.get_marker()) for line in lines}
            assert len(looks) == len(lines), name
