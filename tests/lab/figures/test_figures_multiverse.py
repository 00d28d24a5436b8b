"""Figures of the multiverse draw every universe once, by what was chosen."""

import numpy as np
import pytest

from mgcore.lab.choices.main_effects import Effect
from mgcore.lab.choices.multiverse import (
    BETWEEN,
    WITHIN,
    by_universe,
    coarse_choices,
    distance_of,
    fine_choices,
    gap_of,
)
from mgcore.lab.figures import multiverse as figures_multiverse
from mgcore.lab.figures.multiverse import NAMES


def rows():
    """Two seeds of all universes; with P R x the gap is larger by 30, a seed adds one."""
    found = []
    for seed in range(2):
        for run, between in enumerate(coarse_choices()):
            for within in fine_choices():
                gap = 1 + run + seed + 30 * (within["images"] == "prolonged")
                arm = {"training": [80.0, 99.0], "validation": [70.0, 99.0 - gap]}
                arms = {name: arm for name in ("new", "transfer", "multigrid")}
                found.append({"run": run, "seed": seed, "choices": between | within, **arms})
    return found


def sample_figures():
    """Return a maker of each figure."""
    effects = [Effect("momentum", (0.0, 0.9), 5.0, 1.0, 32)]
    return {
        "curve": lambda: figures_multiverse.specification_curve(rows(), {False: 36.3, True: 11.8}),
        "effects": lambda: figures_multiverse.effects_plot({"points": effects, "others": effects}),
        "distances": lambda: figures_multiverse.distances(rows(), nearest=2),
    }


def test_a_universe_has_a_number_from_each_seed_or_is_counted_as_lost():
    some = rows()
    universes, lost = by_universe(some)
    assert len(universes) == 128 and lost == 0
    assert all(b - a == pytest.approx(1) for _, (a, b) in universes)
    some[5] = some[5] | {"multigrid": None}
    universes, lost = by_universe(some, gap_of)
    assert (len(universes), lost) == (127, 1)
    some[9] = some[9] | {"new": None}  # has a gap, no distance
    assert by_universe(some, gap_of)[1] == 1 and by_universe(some, distance_of)[1] == 2


def test_the_curve_rises_and_the_barcode_below_it_says_why():
    figure = figures_multiverse.specification_curve(rows(), {False: 36.3, True: 11.8})
    curve, grid = figure.axes
    marks = np.concatenate([line.get_xydata() for line in curve.lines if line.get_marker() in "o^"])
    order = marks[np.argsort(marks[:, 0])]
    assert len(order) == 128 and (np.diff(order[:, 1]) >= 0).all()
    light = np.asarray(grid.images[0].get_array())
    assert light.shape == (10, 128)
    images = light[list(BETWEEN | WITHIN).index("images")]
    assert images[:64].all() and not images[64:].any()  # images as they are have the smaller gaps
    assert (light.sum(axis=1) == 64).all()
    lines = [line.get_ydata()[0] for line in curve.lines if line.get_linestyle() in ("-", "--")]
    assert {36.3, 11.8} <= {float(value) for value in lines}


def test_every_choice_has_words_for_its_levels():
    assert list(NAMES) == list(BETWEEN | WITHIN)
    assert all(len({first, second}) == 2 for _, first, second in NAMES.values())


def test_an_effect_is_filled_where_its_interval_leaves_out_zero():
    effects = [Effect("momentum", (0.0, 0.9), 5.0, 1.0, 32),
               Effect("images", ("original", "prolonged"), 1.0, 2.0, 32)]  # fmt: skip
    figure = figures_multiverse.effects_plot({"points": effects, "others": effects})
    assert len(figure.axes) == 2
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in marks] == [5.0, 1.0]
    assert len({line.get_markerfacecolor() for line in marks}) == 2


def test_distances_mark_the_nearest_of_each_row():
    figure = figures_multiverse.distances(rows(), nearest=2)
    (ax,) = figure.axes
    rings = [line.get_xdata() for line in ax.lines if line.get_fillstyle() == "none"]
    others = [line.get_xdata() for line in ax.lines if line.get_fillstyle() == "full"]
    assert [len(r) for r in rings] == [2] * 4 and [len(o) for o in others] == [32] * 4
    for near, all_of in zip(rings, others, strict=True):
        assert max(near) <= sorted(all_of)[1]
