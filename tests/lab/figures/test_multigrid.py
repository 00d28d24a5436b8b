"""Figures of errors before and after a step draw what they are given, legibly, always alike."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from mgcore.lab.figures import multigrid as figures_multigrid
from mgcore.lab.figures import style
from mgcore.multigrid.poisson import centres, mode


@pytest.fixture
def errors():
    return {"first": mode(1, 32), "second": 0.5 * mode(3, 32) - 0.25 * mode(30, 32)}


BEFORE, AFTER = mode(3, 32), 0.1 * mode(3, 32)
PANELS = {
    "1. first": {"before": BEFORE},
    "2. second": {"before": BEFORE, "after": AFTER},
    "3. other": {"coarse": 5 * mode(2, 16)},
}


def all_figures():
    three = {name: np.linspace(0.9, low, 6) for name, low in (("a", 0.1), ("b", 0.3), ("c", 0.5))}
    return {
        "grid": figures_multigrid.grid_functions("Title", PANELS, 2, "a note", ["3. other"]),
        "spectra": figures_multigrid.spectra("Title", {"e": BEFORE, "f": AFTER}, "a note"),
        "damping": figures_multigrid.damping(three, three),
    }


@pytest.fixture(scope="module")
def drawn():
    return all_figures()


def marked(ax):
    """The curves of a panel: what has a mark, in the order of drawing."""
    return [line for line in ax.lines if line.get_marker() not in ("", "None", None)]


# --- what is drawn --------------------------------------------------------------------------------


def test_functions_stand_at_their_cell_centres(drawn):
    first, second, other = (ax for ax in drawn["grid"].axes if ax.get_visible())
    (line,) = marked(first)
    np.testing.assert_array_equal(line.get_xdata(), centres(32))
    np.testing.assert_array_equal(line.get_ydata(), mode(3, 32))
    np.testing.assert_array_equal(marked(second)[1].get_ydata(), 0.1 * mode(3, 32))
    np.testing.assert_array_equal(marked(other)[0].get_xdata(), centres(16))
    assert marked(other)[0].get_markersize() > line.get_markersize()
    assert [ax.get_title() for ax in (first, second, other)] == [
        "1. first",
        "2. second",
        "3. other",
    ]


def test_scales_are_shared_but_for_another_quantity(drawn):
    first, second, other = (ax for ax in drawn["grid"].axes if ax.get_visible())
    assert first.get_ylim() == second.get_ylim()
    assert other.get_ylim()[1] > 4.9 > first.get_ylim()[1]


def test_a_label_looks_alike_in_all_panels_and_stands_in_the_legend_once(drawn):
    first, second, other = (ax for ax in drawn["grid"].axes if ax.get_visible())
    assert marked(first)[0].get_color() == marked(second)[0].get_color()
    looks = {(line.get_color(), line.get_marker()) for line in (*marked(second), *marked(other))}
    assert len(looks) == 3
    legend = [text.get_text() for text in drawn["grid"].legends[0].get_texts()]
    assert legend == ["before", "after", "coarse"]


def test_one_label_needs_no_legend_and_five_are_too_many():
    one = {"a": {"e": mode(1, 8)}, "b": {"e": mode(1, 4)}}
    assert not figures_multigrid.grid_functions("t", one).legends
    five = {"a": {str(i): mode(1, 8) for i in range(5)}}
    with pytest.raises(ValueError, match=r"^panels has 5 labels; accepted: at most 4\.$"):
        figures_multigrid.grid_functions("t", five)


def test_spectra_are_amplitudes_and_shade_the_rough_half(errors):
    figure = figures_multigrid.spectra("t", errors)
    (heights,) = marked(figure.axes[1])
    expected = np.zeros(32)
    expected[[2, 29]] = 0.5, 0.25
    np.testing.assert_allclose(heights.get_ydata(), expected, atol=1e-14)
    (shade,) = figure.axes[1].patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (16.5, 32.5)


def test_damping_draws_theory_as_lines_and_measurement_as_marks():
    theory = {"a": np.linspace(1, 0, 8)}
    figure = figures_multigrid.damping(theory, {"a": theory["a"] + 0.1})
    line, marks = (drawn for drawn in figure.axes[0].lines if len(drawn.get_xdata()) == 8)
    assert line.get_marker() == "" and marks.get_linestyle() == "None"
    np.testing.assert_array_equal(line.get_ydata(), theory["a"])
    np.testing.assert_array_equal(marks.get_ydata(), theory["a"] + 0.1)


# --- style ----------------------------------------------------------------------------------------


def test_same_data_same_bytes_whatever_the_settings(drawn):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        again = figures_multigrid.grid_functions("Title", PANELS, 2, "a note", ["3. other"])
    assert style.png(again) == style.png(drawn["grid"])


def test_figures_are_light_opaque_legible_and_whole(drawn):
    for name, figure in drawn.items():
        data = style.png(figure)
        assert len(data) < 120_000, name
        assert min(Image.open(io.BytesIO(data)).convert("RGBA").getpixel((2, 2))) >= 250, name
        shown = [t for t in figure.findobj(mpl.text.Text) if t.get_text().strip()]
        assert min(text.get_fontsize() for text in shown) >= 9, name
        assert figure.get_suptitle(), name
        width, height = figure.get_size_inches()
        assert width == style.WIDTH
        box = figure.get_tightbbox().extents
        np.testing.assert_allclose(box, [0, 0, width, height], atol=0.01, err_msg=name)
