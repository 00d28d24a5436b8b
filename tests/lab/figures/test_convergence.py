"""Figures of convergence draw what they are given, legibly, always alike."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from mgcore.lab.figures import convergence as figures_convergence
from mgcore.lab.figures import style
from mgcore.multigrid.poisson import centres, mode

THREE = {name: np.linspace(0.9, low, 6) for name, low in (("a", 0.1), ("b", 0.3), ("c", 0.5))}
WALL = (mode(1, 16), {"odd": mode(1, 32), "clamped": mode(2, 32)}, {"d": np.ones(9)} | THREE)


def all_figures():
    n = (16, 32, 64)
    return {
        "wall": figures_convergence.wall(*WALL),
        "factors": figures_convergence.factors(THREE, THREE, THREE),
        "cost": figures_convergence.cost(n, {k: v[:3] for k, v in THREE.items()}, "Title"),
        "accuracy": figures_convergence.accuracy(
            n,
            {"exact": np.array([4e-4, 1e-4, 2.5e-5]), "nested": np.array([5e-4, 1.2e-4, 3e-5])},
            {"nested": np.array([[0, 1], [1e-2, 1e-3]]), "zero": np.array([[0, 1], [1, 0.1]])},
            1e-4,
        ),
    }


@pytest.fixture(scope="module")
def drawn():
    return all_figures()


def marked(ax):
    """The curves of a panel: what has a mark, in the order of drawing."""
    return [line for line in ax.lines if line.get_marker() not in ("", "None", None)]


# --- what is drawn --------------------------------------------------------------------------------


def test_wall_draws_histories_relative_to_their_start():
    histories = {"fast": np.array([8.0, 4, 2]), "slow": np.array([3.0, 3, 6])}
    figure = figures_convergence.wall(mode(1, 16), {"odd": mode(1, 32)}, histories)
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
    ax = figures_convergence.cost((8, 16, 32), units, "t").axes[0]
    np.testing.assert_array_equal(marked(ax)[0].get_xdata(), [8, 16])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["8", "16", "32"]
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_accuracy_shows_the_slope_of_h_squared_and_the_floor(drawn):
    left, right = drawn["accuracy"].axes
    guide = next(line for line in left.lines if line.get_label() == "slope of h²")
    np.testing.assert_allclose(guide.get_ydata()[0] / guide.get_ydata()[1:], [4, 16])
    floor = next(line for line in right.lines if line.get_label() == "error of the discretisation")
    assert set(floor.get_ydata()) == {1e-4}


# --- style ----------------------------------------------------------------------------------------


def test_same_data_same_bytes_whatever_the_settings(drawn):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        again = figures_convergence.wall(*WALL)
    assert style.png(again) == style.png(drawn["wall"])


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
