"""Decide whether a reader's own run agrees with the record.

**The same seeds.**  A trial with the record's seed is the record's trial up to rounding, so the two
are compared trial by trial.  Training amplifies rounding by an amount that differs between
conditions: the tolerance of each cell is calibrated from runs of the same trials on several code
paths of a processor (``book/records/agreement/rounding.json``, made by
``book/tools/code_paths.py``).  A study for which this was not measured has a tolerance of
:data:`SAME_TRIAL` in every cell, and its verdict says so.  A difference beyond the tolerance does
not decide by itself; the comparison of means then does.

**Other seeds.**  A trial is another draw from the same distribution, and the two means are compared
by a t interval for their difference.

Each comparison is made at a level of 5 % for the whole table (Bonferroni).  With the record's seeds
a run on another processor is said not to agree only if both comparisons reject it, so a false alarm
has a probability of at most 5 % where the differences are normal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.files import NotRecordedError, read_json
from mgcore.lab.records.record import Record, records_folder
from mgcore.lab.records.schema import Trial
from mgcore.lab.verdict.metrics import cell

FAMILY = 0.05  # probability of a false alarm over all cells of a table
# Percentage points by which an accuracy of the same trial may always differ between processors: an
# image near a decision boundary changes sides.
SAME_TRIAL = 1.0
# With fewer recorded trials the standard deviation is known too badly: the t quantile for a whole
# table is 153 at two trials and 5.9 at five, and a run of another study passes.
LEAST_RECORDED = 5
ROUNDING_FILE = Path("agreement") / "rounding.json"  # in the folder of records


@lru_cache
def _quantile(probability: float, degrees: int) -> float:
    """Return a quantile of Student's t distribution; each costs SciPy a tenth of a millisecond."""
    return float(student.ppf(probability, degrees))


def interval(values: Iterable[float], level: float = 0.95) -> tuple[float, float | None]:
    """Return the mean and the half-width of its Student t interval.

    Parameters
    ----------
    values : iterable of float
        One value per trial.
    level : float
        Confidence, between 0 and 1.

    Returns
    -------
    (mean, half) : (float, float or None)
        The half-width is None for a single value: one trial has no interval.

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
        raise ValueError("values is empty. Give at least one value.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}.")
    if len(x) == 1:
        return float(x[0]), None
    quantile = _quantile((1 + level) / 2, len(x) - 1)
    return float(x.mean()), float(quantile * x.std(ddof=1) / np.sqrt(len(x)))


@dataclass(frozen=True)
class Agreement:
    """The outcome of a comparison.

    Attributes
    ----------
    agrees : bool or None
        None if the comparison cannot decide.
    method : str
        ``"same seeds"``, ``"means"`` or ``"none"``.
    sentence : str
        The verdict, in one sentence.
    """

    agrees: bool | None
    method: str
    sentence: str

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class RoundingSpread:
    """How much rounding changes the accuracies of one trial, by cell.

    Attributes
    ----------
    deviations : mapping of str to float
        Standard deviation over code paths, in percentage points, pooled over trials.
    degrees : int
        Degrees of freedom: trials × (code paths − 1).
    paths : int
        Code paths, that of the record included.
    """

    deviations: Mapping[str, float]
    degrees: int
    paths: int = 2

    def tolerance(self, name: str, comparisons: int) -> float:
        """Return how far a cell of the same trial may differ between two code paths.

        The difference of two draws has √2 times their deviation; the level :data:`FAMILY` is
        divided among the comparisons.  The tolerance is never below :data:`SAME_TRIAL`.
        """
        return max(SAME_TRIAL, self._factor(comparisons) * self.deviations.get(name, 0.0))

    def _factor(self, comparisons: int) -> float:
        """Return the tolerance in units of a cell's deviation."""
        quantile = _quantile(1 - FAMILY / comparisons / 2, self.degrees)
        return quantile * math.sqrt(2)

    def false_alarms(self, trials: int, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
        """Simulate how often rounding alone exceeds the tolerance of some cell.

        The deviations of the cells are taken as true.  Each draw estimates them anew with
        :attr:`degrees` degrees of freedom, and draws the differences of `trials` trials; all are
        normal and independent.

        Returns
        -------
        (rate, half) : float
            The share of draws with an alarm and the half-width of its 95 % interval (normal
            approximation).
        """
        rng, true = np.random.default_rng(seed), np.array(list(self.deviations.values()))
        size = draws, trials, len(true)
        estimated = true * np.sqrt(
            rng.chisquare(self.degrees, (draws, 1, len(true))) / self.degrees
        )
        tolerances = np.maximum(SAME_TRIAL, self._factor(trials * len(true)) * estimated)
        differences = math.sqrt(2) * true * rng.standard_normal(size)
        alarms = (np.abs(differences) > tolerances).any(axis=(1, 2))
        return _share(int(alarms.sum()), draws)


def _share(alarms: int, draws: int) -> tuple[float, float]:
    """Return a share and the half-width of its 95 % interval, which is positive for none, too."""
    rate = alarms / draws
    return rate, 1.96 * math.sqrt(max(rate * (1 - rate), 1 / draws) / draws)


@lru_cache
def _rounding_runs(file: Path) -> Mapping[str, Mapping[str, Mapping[str, list[float]]]]:
    return read_json(file)["protocols"]


def rounding_spread(protocol: Protocol, file: Path | None = None) -> RoundingSpread | None:
    """Return how much rounding changes the trials of a protocol, or None if it was not measured.

    Parameters
    ----------
    protocol : Protocol
    file : Path, optional
        Accuracies by protocol key, code path and cell, one value per trial; by default the
        book's file.

    Raises
    ------
    RecordError
        If the file is damaged.
    """
    try:
        runs = _rounding_runs(file or records_folder() / ROUNDING_FILE)
    except NotRecordedError:
        return None
    paths = runs.get(protocol.key())
    if paths is None:
        return None
    deviations, degrees = {}, 0
    for name in next(iter(paths.values())):
        values = np.array([accuracies[name] for accuracies in paths.values()])  # (paths, trials)
        deviations[name] = math.sqrt(values.var(axis=0, ddof=1).mean())
        degrees = values.shape[1] * (values.shape[0] - 1)
    return RoundingSpread(deviations, degrees, len(paths))


def table_cells(trials: Sequence[Trial]) -> list[str]:
    """Return the cells of an accuracy table: every fine network after the first and last epoch.

    They are names for :func:`mgcore.lab.verdict.metrics.cell`.
    """
    networks = [name for name in trials[0]["metrics"] if name != "coarse"]
    parts = ("training", "validation")
    epochs = ("1", "last")
    return [f"{name}.{epoch}.{part}" for name in networks for epoch in epochs for part in parts]


def _values(trials: Sequence[Trial], table: Sequence[str]) -> np.ndarray:
    """Return the cells of trials, shape (trials, cells)."""
    return np.array([[cell(trial, name) for name in table] for trial in trials])


def _in_words(name: str) -> str:
    """Return a cell's name as it stands in a sentence."""
    network, epoch, part = name.split(".")
    return f"{network}, {part} accuracy after the {'last' if epoch == 'last' else 'first'} epoch"


def compare(mine: Record, record: Record) -> Agreement:
    """Compare a reader's own record with the record of the same study.

    Returns
    -------
    Agreement
        ``agrees`` is None if the two cannot be compared, such as for different protocols.
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
        return same_seeds(ours, theirs, rounding_spread(record.protocol))
    return compare_means(ours, theirs)


def _differing(a: Protocol, b: Protocol) -> list[str]:
    mine, theirs = a.to_json(), b.to_json()
    return [name for name in mine if name != "name" and mine[name] != theirs[name]]


def same_seeds(
    ours: Sequence[Trial], theirs: Sequence[Trial], spread: RoundingSpread | None = None
) -> Agreement:
    """Compare trials of equal seeds one by one, and their means if single trials differ too much.

    Parameters
    ----------
    ours, theirs : sequence of Trial
        Those of equal number are compared.
    spread : RoundingSpread, optional
        Gives the tolerance of each cell; without it every tolerance is :data:`SAME_TRIAL`, and
        the sentence says that rounding was not measured.
    """
    recorded = {trial["trial"]: trial for trial in theirs}
    pairs = [(trial, recorded[trial["trial"]]) for trial in ours if trial["trial"] in recorded]
    if not pairs:
        return Agreement(None, "none", "Not comparable: no trial is in both records.")
    count = "1 trial" if len(pairs) == 1 else f"{len(pairs)} trials"
    if all(own["metrics"] == other["metrics"] for own, other in pairs):
        sentence = f"Agrees: {count} with the record's seeds, every metric identical."
        return Agreement(True, "same seeds", sentence)
    table = table_cells(ours)
    own, other = (_values(side, table) for side in zip(*pairs, strict=True))
    differences = np.abs(own - other)  # (pairs, cells)
    if not differences.any():
        sentence = f"Agrees: {count} with the record's seeds, every accuracy identical."
        return Agreement(True, "same seeds", sentence)
    if spread is None:
        tolerances = np.full(len(table), SAME_TRIAL)
    else:
        tolerances = np.array([spread.tolerance(name, differences.size) for name in table])
    ratios = differences / tolerances
    worst = int(np.where(np.isnan(ratios), np.inf, ratios).argmax())
    row, column = np.unravel_index(worst, ratios.shape)
    allowed = f"{tolerances[column]:.1f}"
    explained = (
        f"{allowed} are allowed, since the effect of rounding was not measured for this study"
        if spread is None
        else f"rounding explains up to {allowed}"
    )
    furthest = f"{differences[row, column]:.2f} points ({_in_words(table[column])}; {explained})"
    if (ratios <= 1).all():
        return Agreement(
            True,
            "same seeds",
            f"Agrees: {count} with the record's seeds {'differs' if len(pairs) == 1 else 'differ'} "
            f"from it by {'' if spread is None else 'rounding only, '}at most {furthest}.",
        )
    means = compare_means(ours, theirs)
    reason = means.sentence.partition(": ")[2]
    if means.agrees is False:
        return Agreement(
            False,
            "same seeds",
            f"Does not agree: a trial with the record's seed differs by {furthest}, and the means "
            f"differ too: {reason}",
        )
    if means.agrees is None:
        return Agreement(
            None,
            "means",
            f"Too few trials to tell: a trial with the record's seed differs by {furthest}, which "
            f"the means cannot confirm: {reason}",
        )
    return Agreement(
        True,
        "means",
        f"Agrees in the means, though a trial with the record's seed differs by {furthest}: "
        f"{reason}",
    )


def judge(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the differences of the means, cell by cell, and the margins they may not exceed.

    Parameters
    ----------
    ours, theirs : ndarray, shape (n, cells) and (m, cells)
        One row per trial; m at least 2.

    Returns
    -------
    (differences, margins) : ndarray, shape (cells,)
    """
    n, m = len(ours), len(theirs)
    quantile = _quantile(1 - FAMILY / theirs.shape[1] / 2, m - 1)
    margins = quantile * theirs.std(axis=0, ddof=1) * math.sqrt(1 / n + 1 / m)
    return ours.mean(axis=0) - theirs.mean(axis=0), margins


def compare_means(ours: Sequence[Trial], theirs: Sequence[Trial]) -> Agreement:
    """Compare the means of two samples, cell by cell, at 5 % for the whole table.

    The record's standard deviation s stands for both samples, so that a single own trial can be
    judged: |difference| ≤ t · s · √(1/n + 1/m), with the t quantile of a two-sided level divided
    among the cells (Bonferroni).  A record of fewer than :data:`LEAST_RECORDED` trials can
    contradict a run but not confirm it: ``agrees`` is then None if no cell lies outside.
    """
    n, m = len(ours), len(theirs)
    if m < 2:
        return Agreement(
            None, "means", "Too few trials to tell: the record has one trial, so no spread."
        )
    table = table_cells(theirs)
    differences, margins = judge(_values(ours, table), _values(theirs, table))
    outside = [
        (name, float(difference), float(margin))
        for name, difference, margin in zip(table, differences, margins, strict=True)
        if not abs(difference) <= margin
    ]
    if outside:
        name, difference, margin = max(outside, key=lambda item: abs(item[1]) / max(item[2], 1e-12))
        return Agreement(
            False,
            "means",
            f"Does not agree: {len(outside)} of {len(table)} cells lie outside their margin; "
            f"{_in_words(name)}, differs by {difference:+.1f} points where "
            f"±{margin:.1f} are allowed.",
        )
    allowed = f"from ±{margins.min():.1f} to ±{margins.max():.1f} points by cell"
    if m < LEAST_RECORDED:
        return Agreement(
            None,
            "means",
            f"Too few trials to tell: nothing contradicts the record, but with {m} recorded trials "
            f"the margins are {allowed}; at least {LEAST_RECORDED} recorded trials, or the "
            "record's seed, would decide.",
        )
    return Agreement(
        True,
        "means",
        f"Agrees: in all {len(table)} cells of the table the means of {n} own and {m} recorded "
        f"trials differ by no more than chance explains ({FAMILY:.0%} for the whole table); a "
        f"difference below the margins, {allowed}, would not be noticed.",
    )


def false_alarms(
    trials: list[Trial], n: int, m: int, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Simulate how often the comparison of means rejects a run of the same study.

    Both runs are drawn from one normal distribution with the means and covariances of recorded
    trials.  The cells of a table are correlated, so Bonferroni's correction is conservative.

    Parameters
    ----------
    trials : list of dict
        At least 2 recorded trials.
    n, m : int
        Numbers of trials of the run and of the record; m at least 2.
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
    """Simulate how often a run that draws from `own` is rejected by a record of `recorded`.

    Parameters
    ----------
    own, recorded : list of dict
        At least 2 trials each, which give the means and covariances of the two runs.
    n, m, draws, seed : int
        As for :func:`false_alarms`.

    Returns
    -------
    (rate, half) : float
        The share of alarms and the half-width of its 95 % interval (normal approximation).
    """
    table, rng, alarms = table_cells(recorded), np.random.default_rng(seed), 0
    ours, theirs = (_values(trials, table) for trials in (own, recorded))
    for _ in range(draws):
        differences, margins = judge(_drawn(ours, n, rng), _drawn(theirs, m, rng))
        alarms += bool((np.abs(differences) > margins).any())
    return _share(alarms, draws)


def _drawn(known: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows from the normal distribution with the mean and covariance of given rows."""
    centre = known.mean(axis=0)
    # Random combinations of the deviations have the same covariance.
    mixed = rng.standard_normal((count, len(known))) @ (known - centre)
    return centre + mixed / math.sqrt(len(known) - 1)
