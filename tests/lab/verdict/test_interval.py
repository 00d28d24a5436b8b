"""Student t intervals, against scipy."""

import numpy as np
import pytest
from scipy import stats

from mgcore.lab.verdict.agreement import interval


def test_interval_agrees_with_scipy():
    values = [96.4, 97.1, 95.9, 96.6, 96.2]
    mean, half = interval(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-12)


def test_interval_of_one_value_is_none():
    assert interval([3.5]) == (3.5, None)


def test_interval_narrows_with_confidence_and_covers():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        mean, half = interval(rng.normal(size=3))
        hits += abs(mean) <= half
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)
    assert interval([1, 2, 3], 0.5)[1] < interval([1, 2, 3])[1]


@pytest.mark.parametrize("values, level", [([], 0.95), ([1, 2], 1.0), ([1, 2], 0.0)])
def test_interval_refuses(values, level):
    with pytest.raises(ValueError, match="values|level"):
        interval(values, level)
