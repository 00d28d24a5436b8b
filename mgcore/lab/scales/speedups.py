"""How much less work one training strategy needs than another, and which ones are on the front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from mgcore.lab.scales.work_grid import Point, Result
from mgcore.lab.verdict.agreement import interval

Results = Sequence[Result]


def _points(result: Result, strategy: str) -> list[Point]:
    return [point for point in result["points"] if point["way"] == strategy]


def curve(results: Results, strategy: str, quantity: str = "accuracy") -> np.ndarray:
    """Return a quantity of every point of a strategy, by seed and budget.

    Parameters
    ----------
    results : sequence of Result
    strategy : str
    quantity : str
        A key of :class:`mgcore.lab.scales.work_grid.Point`.

    Returns
    -------
    ndarray, shape (seeds, budgets)
        NaN where training diverged.
    """
    return np.array(
        [[dict(point)[quantity] for point in _points(one, strategy)] for one in results],
        dtype=float,
    )


def mean_curve(
    results: Results, strategy: str, quantity: str = "accuracy"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over the seeds and the half-width of its 95 % interval, for each budget.

    Both are NaN where training diverged with a seed; the half-width is NaN for a single seed.
    """
    pairs = [
        interval(column) if np.isfinite(column).all() else (math.nan, None)
        for column in curve(results, strategy, quantity).T
    ]
    mean, half = np.array(pairs, dtype=float).T
    return mean, half


def target_accuracy(results: Results) -> float:
    """Return the mean accuracy of the fine grid alone at its second largest budget, to 0.1 %."""
    return round(float(curve(results, "fine only")[:, -2].mean()), 1)


def work_to_reach(budgets: np.ndarray, accuracies: np.ndarray, target: float) -> float:
    """Return the budget at which an accuracy is first reached, NaN if it never is.

    Parameters
    ----------
    budgets : ndarray, shape (m,), increasing
    accuracies : ndarray, shape (m,)
        In percent, of one training run for each budget.
    target : float
        In percent.

    Notes
    -----
    Between two budgets, accuracy is interpolated linearly in the logarithm of the budget.
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


class Speedup(NamedTuple):
    """The factor by which a strategy needs less work than another for the same accuracy.

    Attributes
    ----------
    strategy, reference : str
    mean, low, high : float
        Geometric mean over the seeds and its interval, from ratios within each seed.
    reached : int
        Seeds with which both strategies reach the accuracy; the others do not count.
    seeds : int
    """

    strategy: str
    reference: str
    mean: float
    low: float
    high: float
    reached: int
    seeds: int


def speedup(
    results: Results, strategy: str, reference: str, target: float, level: float = 0.95
) -> Speedup:
    """Compare two strategies by the work that they need for an accuracy in percent.

    Parameters
    ----------
    results : sequence of Result
    strategy, reference : str
    target : float
        In percent.
    level : float
        Confidence of the interval.  For the intervals of m comparisons to hold together with 95 %,
        pass 1 − 0.05 / m (Bonferroni).
    """
    logs = []
    for one in results:
        reference_work, work = (
            work_to_reach(curve([one], name, "budget")[0], curve([one], name)[0], target)
            for name in (reference, strategy)
        )
        logs.append(math.log(reference_work / work))
    finite = [value for value in logs if math.isfinite(value)]
    if len(finite) < 2:
        return Speedup(strategy, reference, *(math.nan,) * 3, len(finite), len(logs))
    mean, half = interval(finite, level)
    assert half is not None  # there are two values or more
    low, middle, high = (math.exp(mean + s * half) for s in (-1, 0, 1))
    return Speedup(strategy, reference, middle, low, high, len(finite), len(logs))


class Comparison(NamedTuple):
    """A strategy beside the fine grid alone, over all seeds and budgets.

    Attributes
    ----------
    speedup : Speedup
        Against the fine grid alone.
    rate : float
        The learning rate that the pilot chose.
    reached : int
        Seeds with which this strategy reaches the accuracy.
    ahead, diverged, runs : int
        How many of its runs are more accurate than the fine grid alone, and how many diverged.
    """

    speedup: Speedup
    rate: float
    reached: int
    ahead: int
    diverged: int
    runs: int


def compare_with_fine_only(results: Results, rates: Mapping[str, float]) -> dict[str, Comparison]:
    """Compare every strategy of a task with the fine grid alone, by name.

    The accuracy is that of :func:`target_accuracy`.  The intervals of all strategies hold together
    with 95 % (Bonferroni).

    Parameters
    ----------
    results : sequence of Result
    rates : mapping of str to float
        From :func:`mgcore.lab.scales.work_grid.read_rates`.
    """
    strategies = [name for name in rates if name != "fine only"]
    level = 1 - 0.05 / len(strategies)
    target, alone = target_accuracy(results), curve(results, "fine only")
    compared = {}
    for strategy in strategies:
        accuracies = curve(results, strategy)
        compared[strategy] = Comparison(
            speedup(results, strategy, "fine only", target, level),
            rates[strategy],
            int((accuracies >= target).any(axis=1).sum()),
            int((accuracies > alone).sum()),
            int(np.isnan(accuracies).sum()),
            accuracies.size,
        )
    return compared


def joined(results: Results, more: Results) -> list[Result]:
    """Return results with the points of other strategies, which were run with the same seeds.

    Raises
    ------
    ValueError
        If the seeds differ.
    """
    seeds = [[one["seed"] for one in some] for some in (results, more)]
    if seeds[0] != seeds[1]:
        raise ValueError(f"The results have other seeds: {seeds[0]} and {seeds[1]}.")
    return [
        cast(Result, {**one, "points": [*one["points"], *other["points"]]})
        for one, other in zip(results, more, strict=True)
    ]


def accuracy_difference(
    results: Results, strategy: str, reference: str, budget: int
) -> tuple[float, float | None] | None:
    """Return by how much a strategy is more accurate at a budget, paired by seed.

    Returns
    -------
    (mean, half) : (float, float or None) or None
        In points, with the half-width of the 95 % interval; None if training diverged.
    """
    pairs = [
        {p["way"]: p["accuracy"] for p in one["points"] if p["budget"] == budget} for one in results
    ]
    differences = []
    for pair in pairs:
        accuracy, other = pair[strategy], pair[reference]
        if accuracy is None or other is None:
            return None
        differences.append(accuracy - other)
    return interval(differences)


def pareto_front(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """Return the strategies with a point that no other strategy's point dominates.

    Parameters
    ----------
    curves : mapping of str to (work, accuracy)
        Mean work and mean accuracy at each budget.
    """
    front = []
    for name, (work, accuracies) in curves.items():
        others = [
            point
            for other, pair in curves.items()
            if other != name
            for point in zip(*pair, strict=True)
        ]
        if any(
            math.isfinite(a)
            and not any(w2 <= w and a2 >= a and (w2, a2) != (w, a) for w2, a2 in others)
            for w, a in zip(work, accuracies, strict=True)
        ):
            front.append(name)
    return front


def strategies_on_front(results: Results, strategies: Iterable[str]) -> list[str]:
    """Return the strategies whose mean points are on the front of accuracy against flops."""
    return pareto_front({
        name: (mean_curve(results, name, "flops")[0], mean_curve(results, name)[0])
        for name in strategies
    })  # fmt: skip
