"""Speedups from curves of accuracy against work, paired by seed."""

import math

import numpy as np
import pytest

from mgcore.lab.pages.across_scales import comparison_with_fine_only_table
from mgcore.lab.scales.speedups import (
    accuracy_difference,
    compare_with_fine_only,
    joined,
    mean_curve,
    pareto_front,
    speedup,
    target_accuracy,
    work_to_reach,
)


def test_work_to_reach_is_interpolated_between_budgets():
    budgets, reached = np.array([1.0, 4.0, 16.0]), np.array([50.0, 80.0, 90.0])
    assert work_to_reach(budgets, reached, 65.0) == pytest.approx(2.0)
    assert work_to_reach(budgets, reached, 40.0) == 1.0
    assert work_to_reach(budgets, reached, 90.0) == pytest.approx(16.0)
    assert math.isnan(work_to_reach(budgets, reached, 91.0))
    broken = np.array([math.nan, 80.0, 90.0])
    assert work_to_reach(budgets, broken, 70.0) == 4.0


def results(speed, noise=(0.0, 0.1, -0.1, 0.05)):
    """Results of two strategies; the second needs `speed` times less work for the same accuracy."""
    found = []
    for shift in noise:
        points = []
        for strategy, gain in (("fine only", 1.0), ("copied", speed)):
            points += [
                {"way": strategy, "budget": b, "accuracy": 60 + 10 * math.log2(gain * b) + shift}
                for b in (1, 2, 4, 8)
            ]
        found.append({"points": points})
    return found


def test_a_speedup_is_paired_by_seed_and_has_an_interval():
    found = speedup(results(2.0), "copied", "fine only", 80.0)
    assert found.mean == pytest.approx(2.0, rel=1e-6) and found.reached == found.seeds == 4
    assert found.low <= found.mean <= found.high
    none = speedup(results(2.0), "copied", "fine only", 99.0)
    assert math.isnan(none.mean) and none.reached == 0


def test_a_higher_level_has_a_wider_interval_around_the_same_mean():
    unequal = results(2.0)
    for seed, one in enumerate(unequal):
        for point in one["points"][4:]:
            point["accuracy"] += 0.5 * seed
    plain, wide = (speedup(unequal, "copied", "fine only", 80.0, level) for level in (0.95, 0.99))
    assert wide.mean == plain.mean and wide.low < plain.low < plain.high < wide.high


def test_a_strategy_beside_the_fine_grid_alone():
    """With four seeds, half as much work, and one seed of which the smallest budget diverged."""
    found = results(2.0)
    found[0]["points"][4]["accuracy"] = None
    rates = {"fine only": 0.1, "copied": 0.3}
    compared = compare_with_fine_only(found, rates)
    (one,) = compared.values()
    assert one.speedup == speedup(found, "copied", "fine only", target_accuracy(found), 0.95)
    assert one.rate == 0.3 and (one.ahead, one.diverged, one.runs) == (15, 1, 16)
    (row,) = comparison_with_fine_only_table({"network": compared}, "Caption.").rows
    assert row[:3] == ["network", "copied", "0.3"] and row[3].startswith("2.00\n(")
    assert row[4:] == ["4 of 4", "4", "15 of 16", "1 of 16"]
    for seed, result in enumerate(found):
        result["points"] += [{**point, "way": "again"} for point in result["points"][:4]]
        result["points"][5]["accuracy"] += seed / 2
    one = compare_with_fine_only(found, rates)["copied"]
    two = compare_with_fine_only(found, {**rates, "again": 0.3})["copied"].speedup
    assert two.low < one.speedup.low and two.mean == one.speedup.mean


def test_a_strategy_reaches_an_accuracy_whether_or_not_the_fine_grid_does():
    found = results(2.0)
    for point in found[0]["points"][:4]:
        point["accuracy"] = 10.0
    one = compare_with_fine_only(found, {"fine only": 0.1, "copied": 0.3})["copied"]
    assert (one.reached, one.speedup.reached, one.speedup.seeds) == (4, 3, 4)


def test_the_difference_of_accuracies_is_paired_by_seed():
    mean, half = accuracy_difference(results(2.0), "copied", "fine only", 4)
    assert mean == pytest.approx(10.0) and half == pytest.approx(0, abs=1e-9)
    diverged = results(2.0)
    diverged[1]["points"][2]["accuracy"] = None
    assert accuracy_difference(diverged, "copied", "fine only", 4) is None


def test_the_target_is_the_mean_at_the_second_largest_budget():
    assert target_accuracy(results(2.0, (0.0, 0.2))) == 80.1


def test_mean_curves_have_the_interval_over_seeds_and_none_where_one_diverged():
    some = results(2.0, (0.0, 1.0, 2.0))
    mean, half = mean_curve(some, "copied")
    np.testing.assert_allclose(mean, [71, 81, 91, 101])
    assert (half > 2).all() and (half < 3).all()  # Student's t for three values one apart
    some[1]["points"][5]["accuracy"] = None
    mean, half = mean_curve(some, "copied")
    assert np.isnan(mean[1]) and np.isnan(half[1]) and np.isfinite(mean[[0, 2, 3]]).all()


def test_points_on_the_front_are_not_dominated():
    points = {
        "cheap": (np.array([1.0, 2.0]), np.array([50.0, 60.0])),
        "good": (np.array([1.5, 4.0]), np.array([49.0, 90.0])),
        "beaten": (np.array([2.0, 5.0]), np.array([55.0, 89.0])),
        "diverged": (np.array([0.5]), np.array([math.nan])),
    }
    assert pareto_front(points) == ["cheap", "good"]


def test_strategies_that_were_run_apart_are_joined_by_seed():
    of = [one | {"seed": seed} for seed, one in enumerate(results(2.0))]
    more = [
        {"seed": one["seed"], "points": [p | {"way": "joint"} for p in one["points"][4:]]}
        for one in of
    ]
    both = joined(of, more)
    assert [p["way"] for p in both[1]["points"]][3::4] == ["fine only", "copied", "joint"]
    assert len(of[1]["points"]) == 8  # left as they are
    assert speedup(both, "joint", "copied", 80.0).mean == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"other seeds: \[0, 1, 2, 3\] and \[1, 2, 3\]"):
        joined(of, more[1:])
