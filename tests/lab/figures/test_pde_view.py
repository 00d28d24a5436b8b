"""The PDE chapter's figures draw what they are given, at its places, and say what it is."""

from functools import cache

import numpy as np
import pytest

from mgcore.lab.figures import pde_view, style
from mgcore.operators import OPERATORS

RNG = np.random.default_rng(5)
TAYLOR = {"Euler": [1, 1], "RK4": [1, 1, 1 / 2, 1 / 6, 1 / 24]}


def texts(figure):
    """Return every text of a figure, those of its subfigures included."""
    found = []

    def visit(artist):
        if hasattr(artist, "get_text"):
            found.append(artist.get_text())
        for child in artist.get_children():
            visit(child)

    visit(figure)
    return [text for text in found if text]


def axes_of(figure):
    return [*figure.axes, *(ax for part in figure.subfigs for ax in axes_of(part) if ax)]


@cache
def sample_figures():
    """Return a maker of each figure, of the same small data at every call."""
    rng = np.random.default_rng(7)
    exact, h = rng.normal(size=(50, 3, 2)), 0.5 ** np.arange(4)
    paths = {"4 layers": rng.normal(size=(5, 3, 2)), "8 layers": rng.normal(size=(9, 3, 2))}
    turns = {"Euler": rng.normal(size=(9, 2)), "RK4": rng.normal(size=(9, 2))}
    nine = rng.normal(size=(9, 3, 3)), rng.normal(size=(9, 8, 8))
    beta = {name: rng.normal(size=9) for name in ("coarse one", "copied one", "refined one")}
    kernels = {"one": rng.normal(size=(3, 3)), "two": rng.normal(size=(3, 3))}
    shot = ("above", rng.normal(size=(6, 6)), "below")
    strips = {"top": [shot] * 3, "bottom": [shot]}
    return {
        "flow_paths": lambda: pde_view.flow_paths(exact, paths),
        "stability": lambda: pde_view.stability(
            turns, {"Euler": (h, h**2)}, TAYLOR, {"mode": -0.5 + 0.1j}
        ),
        "orders": lambda: pde_view.orders(h, {"a": h**2}, "Errors", {"a": 2}),
        "nine_operators": lambda: pde_view.nine_operators(*nine),
        "kernel_operators": lambda: pde_view.kernel_operators(kernels, [beta, beta]),
        "filmstrip": lambda: pde_view.filmstrip(strips, "Pictures", "How to read it.", True),
    }


def test_paths_end_where_the_data_do_and_panels_share_a_square():
    exact, path = RNG.normal(size=(50, 2, 2)), RNG.normal(size=(5, 2, 2))
    figure = pde_view.flow_paths(exact, {"4 layers": path})
    (ax,) = figure.axes
    drawn = [line.get_xydata() for line in ax.lines]
    for point in range(2):
        assert any(np.array_equal(line, exact[:, point]) for line in drawn)
        assert any(np.array_equal(line, path[:, point]) for line in drawn)
    assert ax.get_xlim() == ax.get_ylim() and ax.get_title() == "4 layers"
    assert np.abs([exact.max(), path.max()]).max() < ax.get_xlim()[1]


def test_stability_regions_are_the_polynomials():
    """Euler's disc around -1; RK4 reaches to -2.785 and to √8 on the axes."""
    mode = -2.08 + 0j
    figure = pde_view.stability({"Euler": np.eye(2)}, {"Euler": (np.arange(3), np.ones(3))},
                                   TAYLOR, {"a decay": mode})  # fmt: skip
    right = figure.axes[2]
    lines = [c for c in right.collections if c.get_facecolor().size == 0 or not c.get_fill()]
    euler, rk4 = (np.concatenate([p.vertices for p in c.get_paths()]) for c in lines)
    assert np.abs(np.hypot(euler[:, 0] + 1, euler[:, 1]) - 1).max() < 0.01
    z = rk4[:, 0] + 1j * rk4[:, 1]
    assert np.abs(np.abs(np.polyval(TAYLOR["RK4"][::-1], z)) - 1).max() < 0.01
    assert rk4[:, 0].min() == pytest.approx(-2.785, abs=0.02)
    marked = [line.get_xydata()[0] for line in right.lines if line.get_label() == "a decay"]
    assert np.array_equal(marked, [[mode.real, mode.imag]])


def test_guides_have_their_slopes_and_lie_below_their_curves():
    h = 0.5 ** np.arange(2, 8)
    errors = {"first": 3 * h, "fourth": 2 * h**4}
    figure = pde_view.orders(h, errors, "Errors", {"first": 1, "fourth": 4})
    (ax,) = figure.axes
    curves = [line.get_ydata() for line in ax.lines]
    assert len(curves) == 4
    for slope, error, guide in ((1, errors["first"], curves[2]), (4, errors["fourth"], curves[3])):
        assert np.polyfit(np.log(h), np.log(guide), 1)[0] == pytest.approx(slope)
        assert (guide < error).all()
    assert "1/4" in texts(figure) and "1/128" in texts(figure) and "slope 4" in texts(figure)


def test_the_table_of_operators_is_ordered_by_u_downwards_and_v_to_the_right():
    stencils, responses = RNG.normal(size=(9, 3, 3)), RNG.normal(size=(9, 8, 8))
    figure = pde_view.nine_operators(stencils, responses)
    figure.draw_without_rendering()
    places = {}
    for part in figure.subfigs:
        name = part.get_suptitle().split()[-1]
        small, large = part.axes
        k = [operator.name for operator in OPERATORS[2]].index(name)
        assert part.get_suptitle().startswith("β" + "₁₂₃₄₅₆₇₈₉"[k])
        assert np.array_equal(small.images[0].get_array(), stencils[k])
        assert np.array_equal(large.images[0].get_array(), responses[k])
        places[OPERATORS[2][k].orders] = (part.bbox.y0, part.bbox.x0)
    assert len(places) == 9
    for p in (0, 1):
        assert places[p, 0][0] > places[p + 1, 0][0]  # higher on the page
        assert places[0, p][1] < places[0, p + 1][1]


def test_stencils_of_halves_are_written_as_fractions():
    stencils = np.tile(np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 16, (9, 1, 1))
    shown = texts(pde_view.nine_operators(stencils, np.ones((9, 4, 4))))
    assert {"1/16", "1/8", "0", "−1/16", "−1/8"} <= set(shown)
    kernel = {"k": np.full((3, 3), -0.123)}
    beta = dict.fromkeys("abc", np.zeros(9))
    assert texts(pde_view.kernel_operators(kernel, [beta])).count("−.12") == 9


def test_coefficients_stand_in_the_rows_of_their_operators():
    beta = {name: RNG.normal(size=9) for name in ("at 14", "copied", "refined")}
    kernel = RNG.normal(size=(3, 3))
    figure = pde_view.kernel_operators({"k": kernel}, [beta, beta])
    _, below = figure.subfigs
    for ax in below.axes:
        labels = [label.get_text() for label in ax.get_yticklabels()]
        assert labels == [o.name for o in OPERATORS[2]] or not ax.get_subplotspec().is_first_col()
        for run, (name, values) in zip(("coarse", "transfer", "multigrid"), beta.items(),
                                       strict=True):  # fmt: skip
            (line,) = [line for line in ax.lines if line.get_label() == name]
            assert np.array_equal(line.get_xdata(), values)
            assert np.abs(line.get_ydata() - np.arange(9)).max() < 0.5
            assert (line.get_color(), line.get_marker()) == (
                style.LOOKS[run].colour, style.LOOKS[run].marker)  # fmt: skip
        low, high = ax.get_ylim()
        assert low > high  # the first operator on top


def test_pictures_of_signed_values_have_a_scale_around_zero():
    picture = np.array([[-1.0, 0.5], [0.0, 0.25]])
    figure = pde_view.filmstrip({"row": [("a", picture, "b")]}, "Title", "How.", True)
    (image,) = figure.axes[0].images
    assert (image.norm.vmin, image.norm.vmax) == (-1.0, 1.0)
    figure = pde_view.filmstrip({"row": [("a", picture, "b")]}, "Title", "How.", False)
    (image,) = figure.axes[0].images
    assert (image.norm.vmin, image.norm.vmax) == (-1.0, 0.5)
    blank = pde_view.filmstrip({"row": [("a", 0 * picture, "b")]}, "Title", "How.", True)
    assert blank.axes[0].images[0].norm.vmax > 0


def test_rows_of_a_filmstrip_may_be_of_different_lengths():
    shots = [(f"{k}", np.full((4, 4), float(k)), f"caption {k}") for k in range(3)]
    figure = pde_view.filmstrip({"long": shots, "short": shots[:1]}, "Title", "How.", True)
    drawn = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title() for ax in drawn] == ["0", "1", "2", "0"]
    assert [ax.get_xlabel() for ax in drawn][:3] == ["caption 0", "caption 1", "caption 2"]
    assert drawn[0].get_ylabel() == "long" and drawn[3].get_ylabel() == "short"
