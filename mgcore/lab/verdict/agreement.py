"""Does a reader's own run agree with the record?  Like with like, as statistics.

With the same seeds a trial is the same trial up to rounding, and is compared one by one.  With
other seeds it is a draw from the same distribution, and the two means are compared by a t interval
for their difference, so that an honest run raises a false alarm in one case of twenty over the
whole table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.record import Record
from mgcore.lab.records.schema import Trial

FAMILY = 0.05  # chance of a false alarm over all cells of a table
# Percentage points by which the same trial may differ between machines: rounding is amplified
# over thousands of steps, and an image near a decision boundary changes sides.
SAME_TRIAL = 1.0
# With fewer recorded trials their spread is known too badly: the t quantile that a whole table asks
# for is 153 at two trials and 5.9 at five, and a run that does something else passes.
LEAST_RECORDED = 5

Cell = tuple[str, int, str]  # arm, place in the history, metric


def interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float | None]:
    """Return the mean and the half-width of its Student t interval.

    Parameters
    ----------
    values : iterable of float
        One value a trial.
    level : float
        Confidence, between 0 and 1.

    Returns
    -------
    (mean, half) : (float, float or None)
        None for the half-width where there is one value only: one trial has no interval.

    Raises
    ------
    ValueError
        If there is no value, or `level` is not between 0 and 1.

    Examples
    --------
    >>> mean, half = interval([1.0, 2.0, 3.0])
    >>> print(f"{mean:.1f} ± {half:.2f}")
    2.0 ± 2.48
    """
    x = np.fromiter(values, dtype=np.float64)
    if len(x) == 0:
        raise ValueError("values is empty; accepted: at least one value.")
    if not 0 < level < 1:
        raise ValueError(f"level={level!r}; accepted: a number between 0 and 1.")
    if len(x) == 1:
        return float(x[0]), None
    quantile = student.ppf((1 + level) / 2, len(x) - 1)
    return float(x.mean()), float(quantile * x.std(ddof=1) / np.sqrt(len(x)))


@dataclass(frozen=True)
class Agreement:
    """The outcome of a comparison: whether it holds, how it was made, and a sentence."""

    agrees: bool | None
    method: str
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def cells(trials: list[Trial]) -> list[Cell]:
    """Return the cells of an accuracy table: every fine arm after the first and last epoch."""
    arms = [name for name in trials[0]["metrics"] if name != "coarse"]
    metrics = ("training_accuracy", "validation_accuracy")
    return [(arm, place, metric) for arm in arms for place in (1, -1) for metric in metrics]


def values(trials: list[Trial], cell: Cell) -> list[float]:
    """Return one cell of every trial.

    Raises
    ------
    ValueError
        If a trial has no number for it.
    """
    arm, place, metric = cell
    try:
        return [float(trial["metrics"][arm][place][metric]) for trial in trials]
    except (KeyError, IndexError, ValueError):
        raise ValueError(
            f"record: a trial has no {metric} of {arm!r} at place {place}; accepted: trials with "
            "the networks and epochs of their protocol."
        ) from None


def compare(mine: Record, record: Record) -> Agreement:
    """Compare two records of one study.

    Parameters
    ----------
    mine, record : Record
        The reader's own and the one it is held against.

    Returns
    -------
    Agreement
        ``agrees`` is None where the two cannot be compared: different protocols.
    """
    differing = _differing(mine.protocol, record.protocol)
    if set(differing) - {"seed"}:
        return Agreement(
            None,
            "none",
            f"Not comparable: {', '.join(differing)} differ from the record's, and results are "
            "compared only with a record of the same tier, data and choices.",
        )
    ours, theirs = mine.trials(), record.trials()
    if not ours or not theirs:
        return Agreement(None, "none", "Not comparable: one of the two records has no trial.")
    if not differing:
        return same_seeds(ours, theirs)
    return compare_means(ours, theirs)


def _differing(a: Protocol, b: Protocol) -> list[str]:
    mine, theirs = a.to_json(), b.to_json()
    return [name for name in mine if name != "name" and mine[name] != theirs[name]]


def same_seeds(ours: list[Trial], theirs: list[Trial]) -> Agreement:
    """Compare the trials that both lists have, one by one: all metrics, else accuracies.

    On the machine of the record they are identical; rounding elsewhere may move an accuracy by
    :data:`SAME_TRIAL` points.
    """
    recorded = {trial["trial"]: trial for trial in theirs}
    pairs = [(trial, recorded[trial["trial"]]) for trial in ours if trial["trial"] in recorded]
    if not pairs:
        return Agreement(None, "none", "Not comparable: no trial is in both records.")
    if all(a["metrics"] == b["metrics"] for a, b in pairs):
        sentence = f"Agrees: {len(pairs)} trials with the record's seeds, every metric identical."
        return Agreement(True, "same seeds", sentence)
    worst, where = max(
        (abs(values([a], cell)[0] - values([b], cell)[0]), cell)
        for a, b in pairs
        for cell in cells(ours)
    )
    agrees = worst <= SAME_TRIAL
    return Agreement(
        agrees,
        "same seeds",
        f"{'Agrees' if agrees else 'Does not agree'}: {len(pairs)} trials with the record's seeds "
        f"differ by at most {worst:.2f} points ({where[0]}, {where[2].replace('_', ' ')}), "
        f"{'within' if agrees else 'beyond'} the {SAME_TRIAL:g} that rounding may cause.",
    )


def judge(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much means differ, cell by cell, and by how much they may.

    Parameters
    ----------
    ours, theirs : ndarray, shape (n, cells) and (m, cells)
        A row for each trial; m at least 2.

    Returns
    -------
    (differences, margins) : ndarray, shape (cells,)
    """
    n, m = len(ours), len(theirs)
    quantile = float(student.ppf(1 - FAMILY / theirs.shape[1] / 2, m - 1))
    margins = quantile * theirs.std(axis=0, ddof=1) * math.sqrt(1 / n + 1 / m)
    return ours.mean(axis=0) - theirs.mean(axis=0), margins


def compare_means(ours: list[Trial], theirs: list[Trial]) -> Agreement:
    """Compare the means of two independent samples, cell by cell, at 5 % over the table.

    The record's standard deviation s stands for both, so that a single own trial can be judged:
    |difference| ≤ t · s · √(1/n + 1/m), with the t quantile of a two-sided level divided among
    the cells (Bonferroni).  A record of fewer than :data:`LEAST_RECORDED` trials can contradict a
    run but not confirm it: ``agrees`` is then None where no cell lies outside.
    """
    n, m = len(ours), len(theirs)
    if m < 2:
        return Agreement(None, "means", "Not comparable: the record has one trial, so no spread.")
    table = cells(theirs)
    mine, recorded = (
        np.array([values(trials, cell) for cell in table]).T for trials in (ours, theirs)
    )
    differences, margins = judge(mine, recorded)
    outside = [
        (cell, float(difference), float(margin))
        for cell, difference, margin in zip(table, differences, margins, strict=True)
        if not abs(difference) <= margin
    ]
    if outside:
        cell, difference, margin = max(outside, key=lambda item: abs(item[1]) / max(item[2], 1e-12))
        return Agreement(
            False,
            "means",
            f"Does not agree: {len(outside)} of {len(table)} cells lie outside; {cell[0]}, "
            f"{cell[2].replace('_', ' ')}, differs by {difference:+.1f} points where "
            f"±{margin:.1f} are allowed.",
        )
    allowed = f"from ±{margins.min():.1f} to ±{margins.max():.1f} points by cell"
    if m < LEAST_RECORDED:
        return Agreement(
            None,
            "means",
            f"Too few trials to tell: nothing contradicts the record, but with {m} recorded trials "
            f"the margins reach {allowed}; at least {LEAST_RECORDED} recorded trials, or the "
            "record's seed, would decide.",
        )
    return Agreement(
        True,
        "means",
        f"Agrees: in all {len(table)} cells of the table the means of {n} own and {m} recorded "
        f"trials differ by no more than chance explains ({FAMILY:.0%} for the whole table); a "
        f"difference below the margins, {allowed}, would go unnoticed.",
    )
