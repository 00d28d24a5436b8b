"""How much less work one way needs than another, read between budgets and by pairs."""

import math

import numpy as np
import pytest

from mgcore.lab.scales.speedups import factor, front, work_to_reach


def test_work_to_reach_is_read_between_budgets():
    budgets, reached = np.array([1.0, 4.0, 16.0]), np.array([50.0, 80.0, 90.0])
    assert work_to_reach(budgets, reached, 65.0) == pytest.approx(2.0)
    assert work_to_reach(budgets, reached, 40.0) == 1.0
    assert work_to_reach(budgets, reached, 90.0) == pytest.approx(16.0)
    assert math.isnan(work_to_reach(budgets, reached, 91.0))
    broken = np.array([math.nan, 80.0, 90.0])
    assert work_to_reach(budgets, broken, 70.0) == 4.0


def results(speed, noise=(0.0, 0.1, -0.1, 0.05)):
    """Runs of two ways; the second needs `speed` times less work for the same accuracy."""
    found = []
    for shift in noise:
        points = []
        for way, gain in (("fine only", 1.0), ("copied", speed)):
            points += [
                {"way": way, "budget": b, "accuracy": 60 + 10 * math.log2(gain * b) + shift}
                for b in (1, 2, 4, 8)
            ]
        found.append({"points": points})
    return found


def test_a_factor_is_found_by_pairs_with_its_interval():
    found = factor(results(2.0), "copied", "fine only", 80.0)
    assert found.mean == pytest.approx(2.0, rel=1e-6) and found.reached == found.seeds == 4
    assert found.low <= found.mean <= found.high
    none = factor(results(2.0), "copied", "fine only", 99.0)
    assert math.isnan(none.mean) and none.reached == 0


def test_the_front_holds_what_nothing_beats():
    points = {
        "cheap": (np.array([1.0, 2.0]), np.array([50.0, 60.0])),
        "good": (np.array([1.5, 4.0]), np.array([49.0, 90.0])),
        "beaten": (np.array([2.0, 5.0]), np.array([55.0, 89.0])),
        "diverged": (np.array([0.5]), np.array([math.nan])),
    }
    assert front(points) == ["cheap", "good"]
