"""How much less work one way of training needs than another, and which ways nothing beats."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from mgcore.lab.verdict.agreement import interval


def curve(results: list[dict[str, Any]], way: str, what: str = "accuracy") -> np.ndarray:
    """Return (seeds, budgets): NaN where training diverged."""
    return np.array([
        [math.nan if point[what] is None else point[what]
         for point in one["points"] if point["way"] == way]
        for one in results
    ])  # fmt: skip


def work_to_reach(budgets: np.ndarray, accuracies: np.ndarray, target: float) -> float:
    """Return the budget at which an accuracy is reached, between measured ones; NaN if never.

    Parameters
    ----------
    budgets : array, increasing
    accuracies : array
        Of a run of each budget.
    target : float

    Notes
    -----
    The first budget that reaches the target, and the line in log budget from the one before.
    """
    reached = np.flatnonzero(accuracies >= target)
    if not len(reached):
        return math.nan
    last = int(reached[0])
    if last == 0 or not accuracies[last - 1] < target:
        return float(budgets[last])
    low, high = accuracies[last - 1], accuracies[last]
    part = (target - low) / (high - low)
    return float(np.exp(np.interp(part, [0, 1], np.log(budgets[last - 1 : last + 1]))))


class Factor(NamedTuple):
    """How many times less work a way needs than another, for an accuracy.

    Attributes
    ----------
    way, against : str
    mean, low, high : float
        Geometric mean over the seeds and its 95 % interval, by pairs of one seed.
    reached : int
        Seeds in which both reached it; the others do not count.
    seeds : int
    """

    way: str
    against: str
    mean: float
    low: float
    high: float
    reached: int
    seeds: int


def factor(results: list[dict[str, Any]], way: str, against: str, target: float) -> Factor:
    """Compare two ways by the work to reach an accuracy, in percent."""
    logs = []
    for one in results:
        other, mine = (
            work_to_reach(curve([one], name, "budget")[0], curve([one], name)[0], target)
            for name in (against, way)
        )
        logs.append(math.log(other / mine))
    known = [value for value in logs if math.isfinite(value)]
    if len(known) < 2:
        return Factor(way, against, *(math.nan,) * 3, len(known), len(logs))
    mean, half = interval(known)
    low, middle, high = (math.exp(mean + s * half) for s in (-1, 0, 1))
    return Factor(way, against, middle, low, high, len(known), len(logs))


def front(points: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """Return the ways of which some point no other way's point beats in both work and accuracy.

    Parameters
    ----------
    points : mapping of str to (work, accuracy)
        Mean work and mean accuracy of each budget.
    """
    found = []
    for way, (work, reached) in points.items():
        others = [(w, a) for name, pair in points.items() if name != way
                  for w, a in zip(*pair, strict=True)]  # fmt: skip
        if any(
            not any(w <= mine and a >= best and (w, a) != (mine, best) for w, a in others)
            for mine, best in zip(work, reached, strict=True) if math.isfinite(best)
        ):  # fmt: skip
            found.append(way)
    return found
