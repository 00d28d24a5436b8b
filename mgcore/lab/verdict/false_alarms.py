"""How often the comparison of two records errs, and how much it notices: by simulation."""

from __future__ import annotations

import math

import numpy as np

from mgcore.lab.records.schema import Trial
from mgcore.lab.verdict.agreement import cells, judge, values


def false_alarms(
    trials: list[Trial], n: int, m: int, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Simulate how often an honest run is said not to agree.

    Both runs are drawn from one normal distribution, with the means and covariances of recorded
    trials; the cells of a table go together, which Bonferroni's division does not use.

    Parameters
    ----------
    trials : list of dict
        Recorded, at least 2.
    n, m : int
        Trials of the own run and of the record; m at least 2.
    draws : int
    seed : int

    Returns
    -------
    (rate, half) : float
        The share of false alarms and the half-width of its 95 % interval (normal approximation).
    """
    return detections(trials, trials, n, m, draws, seed)


def detections(
    own: list[Trial], recorded: list[Trial], n: int, m: int, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Simulate how often a run that draws from `own` is said not to agree with `recorded`.

    Parameters
    ----------
    own, recorded : list of dict
        Trials, at least 2 each, whose means and covariances the two runs are drawn with.
    n, m, draws, seed : int
        As for :func:`false_alarms`.

    Returns
    -------
    (rate, half) : float
        The share of alarms and the half-width of its 95 % interval (normal approximation).
    """
    table, rng, alarms = cells(recorded), np.random.default_rng(seed), 0
    ours, theirs = (
        np.array([values(trials, cell) for cell in table]).T for trials in (own, recorded)
    )
    for _ in range(draws):
        differences, margins = judge(_drawn(ours, n, rng), _drawn(theirs, m, rng))
        alarms += bool((np.abs(differences) > margins).any())
    rate = alarms / draws
    return rate, 1.96 * math.sqrt(max(rate * (1 - rate), 1 / draws) / draws)


def _drawn(known: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows from the normal distribution with the means and covariances of known ones."""
    centre = known.mean(axis=0)
    # Mixtures of the deviations have their covariance.
    mixed = rng.standard_normal((count, len(known))) @ (known - centre)
    return centre + mixed / math.sqrt(len(known) - 1)
