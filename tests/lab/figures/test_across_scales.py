"""Figures of accuracy against work draw every strategy."""

import math

import numpy as np
import pytest

from mgcore.lab.figures import across_scales as figures_across
from mgcore.lab.figures import style
from mgcore.lab.figures.across_scales import LOOKS, relative_error_plot, speedups_plot
from mgcore.lab.scales.speedups import Speedup
from mgcore.lab.scales.strategies import STRATEGIES


def results():
    found = []
    for seed in range(3):
        points = []
        for k, strategy in enumerate(STRATEGIES):
            for b in (100, 200, 400):
                reached = 70 + k + 5 * math.log2(b / 100) + seed
                points.append({"way": strategy, "budget": b, "accuracy": reached,
                               "flops": 1e9 * b, "seconds": 0.1 * b})  # fmt: skip
        found.append({"points": points})
    return found


def sample_figures():
    """Return a maker of each figure."""
    some = [Speedup("copied", "fine only", 2.0, 1.5, 2.7, 3, 3)]
    return {
        "errors": lambda: relative_error_plot(results(), "Title"),
        "speedups": lambda: speedups_plot({"network": some}, "Title"),
    }


def test_strategies_differ_in_marker_and_conditions_own_their_colours():
    assert list(LOOKS) == list(STRATEGIES)
    assert len({look.marker for look in LOOKS.values()}) == len(STRATEGIES)
    for condition, label in (("transfer", "copied"), ("multigrid", "Galerkin, bilinear")):
        own = style.LOOKS[condition].colour
        assert [k.label.startswith(label) for k in LOOKS.values() if k.colour == own] == [True]


def test_errors_are_drawn_relative_to_the_fine_grid_alone():
    (ax,) = relative_error_plot(results(), "Title").axes
    drawn = [line for line in ax.lines if line.get_marker() in tuple("^vsP<>")]
    assert len(drawn) == len(STRATEGIES) - 1
    np.testing.assert_allclose(drawn[0].get_xdata(), np.array([100, 200, 400]) * 1e-3)
    ratios = [[(29 - 5 * k - seed) / (30 - 5 * k - seed) for k in range(3)] for seed in range(3)]
    np.testing.assert_allclose(drawn[0].get_ydata(), np.exp(np.log(ratios).mean(axis=0)))
    labels = {text.get_text() for text in ax.texts}
    assert labels == {look.label for look in LOOKS.values()}


def test_an_error_that_is_many_times_as_large_has_no_mark():
    found = results()
    for one in found:
        (point,) = [p for p in one["points"] if (p["way"], p["budget"]) == ("copied", 200)]
        point["accuracy"] = -1e9
    (ax,) = relative_error_plot(found, "Title").axes
    (drawn,) = [line for line in ax.lines if line.get_marker() == LOOKS["copied"].marker]
    assert np.isfinite(drawn.get_ydata()).tolist() == [True, False, True]
    assert ax.get_ylim()[1] < figures_across.MOST


def test_an_accuracy_that_was_not_reached_is_annotated():
    some = [Speedup("copied", "fine only", 2.0, 1.5, 2.7, 3, 3),
            Speedup("joint", "fine only", *(math.nan,) * 3, 1, 3)]  # fmt: skip
    figure = speedups_plot({"network": some}, "Title")
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == ["reached by 1 of 3"]
    marks = [line for line in ax.lines if line.get_marker() == "^"]
    assert [float(line.get_xdata()[0]) for line in marks] == [2.0]


@pytest.mark.parametrize(("value", "label"), [(2.0, "2"), (0.25, "1/4"), (1.0, "1")])
def test_speedups_are_labelled_as_fractions(value, label):
    assert figures_across._as_fraction(value, 0) == label
