"""Figures of accuracy against compute draw every way, with its interval."""

import math

import numpy as np
import pytest

from mgcore.lab.figures import across_scales as figures_pareto
from mgcore.lab.figures.across_scales import LOOKS, factors_plot, means, pareto_plot
from mgcore.lab.scales.speedups import Factor
from mgcore.lab.scales.strategies import WAYS


def results(lost=()):
    found = []
    for seed in range(3):
        points = []
        for k, way in enumerate(WAYS):
            for b in (100, 200, 400):
                reached = None if (seed, way, b) in lost else 70 + k + 5 * math.log2(b / 100) + seed
                points.append({"way": way, "budget": b, "accuracy": reached,
                               "flops": 1e9 * b, "seconds": 0.1 * b})  # fmt: skip
        found.append({"points": points})
    return found


def test_means_have_the_interval_over_seeds_and_none_where_one_diverged():
    mean, half = means(results(), "copied", "accuracy")
    np.testing.assert_allclose(mean, [72, 77, 82])
    assert (half > 2).all() and (half < 3).all()  # Student's t for three values one apart
    mean, half = means(results({(1, "copied", 200)}), "copied", "accuracy")
    assert np.isnan(mean[1]) and np.isnan(half[1]) and np.isfinite(mean[[0, 2]]).all()


def test_every_way_has_a_look_of_its_own():
    assert list(LOOKS) == list(WAYS)
    assert len({(look.marker) for look in LOOKS.values()}) == len(WAYS)
    assert len({look.colour for look in LOOKS.values()}) == len(WAYS)


def test_error_falls_against_arithmetic_and_time_and_the_target_is_marked():
    figure = pareto_plot(results(), "Title", 80.0)
    for ax, factor in zip(figure.axes, (1e-3, 0.1), strict=True):
        drawn = [line for line in ax.lines if line.get_marker() in "o^vsP<>"]
        assert len(drawn) == len(WAYS)
        np.testing.assert_allclose(drawn[0].get_xdata(), np.array([100, 200, 400]) * factor)
        np.testing.assert_allclose(drawn[1].get_ydata(), [28, 23, 18])
        assert any(list(line.get_ydata()) == [20.0, 20.0] for line in ax.lines)
        assert ax.get_xlabel().startswith("training, ")


def test_a_factor_that_was_not_reached_is_said():
    some = [Factor("copied", "fine only", 2.0, 1.5, 2.7, 3, 3),
            Factor("joint", "fine only", *(math.nan,) * 3, 1, 3)]  # fmt: skip
    figure = factors_plot({"network": some}, "Title")
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == ["reached by 1 of 3"]
    marks = [line for line in ax.lines if line.get_marker() == "^"]
    assert [float(line.get_xdata()[0]) for line in marks] == [2.0]


@pytest.mark.parametrize(("value", "said"), [(2.0, "2"), (0.25, "1/4"), (1.0, "1")])
def test_factors_are_spelled_as_one_says_them(value, said):
    assert figures_pareto._spell(value, 0) == said
