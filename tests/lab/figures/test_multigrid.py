"""Figures of the multigrid chapter show the values that they are given."""

from functools import cache

import numpy as np
import pytest
from drawing import all_drawn

from mgcore.lab.figures import multigrid
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


THREE = {name: np.linspace(0.9, low, 6) for name, low in (("a", 0.1), ("b", 0.3), ("c", 0.5))}
BOUNDARY = (mode(1, 16), {"odd": mode(1, 32), "clamped": mode(2, 32)}, {"d": np.ones(9)} | THREE)


@cache
def sample_figures():
    """Return a maker of each figure."""
    n = (16, 32, 64)
    return {
        "grid": lambda: multigrid.grid_functions("Title", PANELS, 2, "a note", ["3. other"]),
        "spectra": lambda: multigrid.spectra("Title", {"e": BEFORE, "f": AFTER}, "a note"),
        "damping": lambda: multigrid.damping(THREE, THREE),
        "boundary": lambda: multigrid.boundary_prolongation(*BOUNDARY),
        "factors": lambda: multigrid.convergence_factors(THREE, THREE, THREE),
        "cost": lambda: multigrid.work_to_accuracy(
            n, {k: v[:3] for k, v in THREE.items()}, "Title"
        ),
        "accuracy": lambda: multigrid.nested_iteration_error(
            n,
            {"exact": np.array([4e-4, 1e-4, 2.5e-5]), "nested": np.array([5e-4, 1.2e-4, 3e-5])},
            {"nested": np.array([[0, 1], [1e-2, 1e-3]]), "zero": np.array([[0, 1], [1, 0.1]])},
            1e-4,
        ),
    }


@pytest.fixture(scope="module")
def drawn():
    return all_drawn(sample_figures())


def marked(ax):
    """The curves of a panel: what has a mark, in the order of drawing."""
    return [line for line in ax.lines if line.get_marker() not in ("", "None", None)]


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
    assert not multigrid.grid_functions("t", one).legends
    five = {"a": {str(i): mode(1, 8) for i in range(5)}}
    with pytest.raises(ValueError, match=r"^panels must have at most 4 labels, got 5\.$"):
        multigrid.grid_functions("t", five)


def test_spectra_are_amplitudes_and_shade_the_rough_half(errors):
    figure = multigrid.spectra("t", errors)
    (heights,) = marked(figure.axes[1])
    expected = np.zeros(32)
    expected[[2, 29]] = 0.5, 0.25
    np.testing.assert_allclose(heights.get_ydata(), expected, atol=1e-14)
    (shade,) = figure.axes[1].patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == (16.5, 32.5)


def test_damping_draws_theory_as_lines_and_measurement_as_marks():
    theory = {"a": np.linspace(1, 0, 8)}
    figure = multigrid.damping(theory, {"a": theory["a"] + 0.1})
    line, marks = (drawn for drawn in figure.axes[0].lines if len(drawn.get_xdata()) == 8)
    assert line.get_marker() == "" and marks.get_linestyle() == "None"
    np.testing.assert_array_equal(line.get_ydata(), theory["a"])
    np.testing.assert_array_equal(marks.get_ydata(), theory["a"] + 0.1)


def test_the_boundary_figure_draws_histories_relative_to_their_start():
    histories = {"fast": np.array([8.0, 4, 2]), "slow": np.array([3.0, 3, 6])}
    figure = multigrid.boundary_prolongation(mode(1, 16), {"odd": mode(1, 32)}, histories)
    fast, slow = (line.get_ydata() for line in marked(figure.axes[1]))
    np.testing.assert_array_equal(fast, [1, 0.5, 0.25])
    np.testing.assert_array_equal(slow, [1, 1, 2])
    near = marked(figure.axes[0])
    np.testing.assert_allclose(near[0].get_xdata(), centres(32)[:6])
    np.testing.assert_allclose(near[1].get_ydata(), mode(1, 16)[:3])


def test_factors_put_half_beside_what_stalls(drawn):
    left, right = drawn["factors"].axes
    half = marked(right)[-1]
    np.testing.assert_allclose(half.get_xdata(), [2, 3, 4, 5, 6, 7])
    np.testing.assert_allclose(half.get_ydata()[:3], [0.5, 0.75, 0.875])
    np.testing.assert_allclose(marked(left)[0].get_xdata(), [1, 2, 3, 4, 5, 6])


def test_cost_may_leave_out_the_largest_grids():
    units = {"slow": np.array([1.0, 4.0]), "fast": np.array([2.0, 2.0, 2.0])}
    ax = multigrid.work_to_accuracy((8, 16, 32), units, "t").axes[0]
    np.testing.assert_array_equal(marked(ax)[0].get_xdata(), [8, 16])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["8", "16", "32"]
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_accuracy_shows_the_slope_of_h_squared_and_the_floor(drawn):
    left, right = drawn["accuracy"].axes
    guide = next(line for line in left.lines if line.get_label() == "slope of h²")
    np.testing.assert_allclose(guide.get_ydata()[0] / guide.get_ydata()[1:], [4, 16])
    floor = next(line for line in right.lines if line.get_label() == "error of the discretisation")
    assert set(floor.get_ydata()) == {1e-4}
