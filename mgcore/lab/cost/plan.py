"""Predicted cost of the book's chapters on this machine: time, memory and disk.

Every operation of a trial (:mod:`mgcore.lab.trial.work`) is timed for a moment, on all cores at
once because processes that run side by side share caches and memory. The prediction is the sum of
images times seconds an image.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from mgcore.data.images import DATASETS
from mgcore.lab.cost.rates import seconds_per_image, write_measured
from mgcore.lab.protocol import TIERS, Protocol
from mgcore.lab.protocol.studies import CHAPTERS, DEFAULT_TRIALS, default_dataset, study_protocol
from mgcore.lab.records.files import read_json
from mgcore.lab.run.study import run_study
from mgcore.lab.run.workers import cores, everywhere
from mgcore.lab.trial.trial import COARSE_FIELDS
from mgcore.lab.trial.work import Piece, Work, figures_work, trial_work
from mgcore.thesis.network import CLASSES, WIDTHS, map_side

BUDGET = 2.0  # seconds, for all prices together
HOUR = 3600.0
BUSY = 0.5  # load per process above which other work slows the measurement


class Prices(NamedTuple):
    """Measured time of each operation.

    Attributes
    ----------
    seconds : dict
        For one image, by operation.
    startup : float
        Seconds until all processes ran.
    processes : int
        How many processes measured at once.
    """

    seconds: dict[Piece, float]
    startup: float
    processes: int

    def total(self, work: Work) -> float:
        """Return the seconds that one process needs for `work`."""
        return sum(self.seconds[piece] * images for piece, images in work.items())


@dataclass(frozen=True)
class Cost:
    """Predicted cost: wall-clock seconds, peak memory of all processes, disk."""

    seconds: float
    memory_gib: float
    disk_mb: float


@dataclass(frozen=True)
class PlanRow:
    """The cost of a chapter, or of one of its studies, at a tier."""

    tier: str
    chapter: str
    study: str | None  # None for the whole chapter
    trials: int
    cost: Cost


def pieces(protocols: Iterable[Protocol]) -> set[Piece]:
    """Return the operations of which the studies consist."""
    return {piece for p in protocols for piece in trial_work(p) | figures_work(p)}


def measure_prices(
    wanted: Iterable[Piece], processes: int | None = None, budget: float = BUDGET
) -> Prices:
    """Measure prices in one process per core, all at once.

    Parameters
    ----------
    wanted : iterable of Piece
    processes : int, optional
    budget : float
        Seconds of measuring; every operation runs at least four times.
    """
    ordered, processes = sorted(set(wanted)), processes or cores()
    began = time.monotonic()
    results = everywhere(_measure, ordered, budget, processes=processes)
    startup = max(start - began for _, start in results)
    seconds = {piece: fmean(prices[i] for prices, _ in results) for i, piece in enumerate(ordered)}
    return Prices(seconds, max(startup, 0.0), processes)


def _measure(wanted: list[Piece], budget: float) -> tuple[list[float], float]:
    """Return the prices in this process, and when it began."""
    began = time.monotonic()
    return [seconds_per_image(piece, budget / len(wanted)) for piece in wanted], began


def prices_for(tiers: tuple[str, ...], dataset: str | None = None) -> Prices:
    """Measure the operations of all studies of the book at some tiers."""
    studies = [study for chapter in CHAPTERS.values() for study in chapter]
    return measure_prices(pieces(_protocol(s, tier, dataset) for s in studies for tier in tiers))


def _protocol(study: str, tier: str, dataset: str | None, seed: int = 0) -> Protocol:
    return study_protocol(study, tier, dataset or default_dataset(tier), seed)


def predict(
    studies: Iterable[tuple[Protocol, int]], prices: Prices, trained: set[tuple[str, int]]
) -> Cost:
    """Predict the cost of studies that run one after another.

    Parameters
    ----------
    studies : iterable of (Protocol, int)
        Each with its number of trials.
    prices : Prices
    trained : set of (str, int)
        Coarse networks that are already trained, by the key of their protocol and the trial. The
        coarse networks of the studies are added.
    """
    seconds = memory = disk = 0.0
    for protocol, trials in studies:
        key = protocol.key(*COARSE_FIELDS)
        processes = min(prices.processes, trials)
        new = {(key, n) for n in range(trials)} - trained
        trained |= new
        # Trials run in rounds of one per process; those that train a coarse network come first.
        rounds, longer = math.ceil(trials / processes), math.ceil(len(new) / processes)
        seconds += 2 * prices.startup + prices.total(figures_work(protocol))
        seconds += longer * prices.total(trial_work(protocol))
        seconds += (rounds - longer) * prices.total(trial_work(protocol, coarse=False))
        memory = max(memory, processes * _memory(protocol))
        disk += _disk(protocol, trials, len(new))
    return Cost(seconds, memory, disk)


def _memory(protocol: Protocol) -> float:
    """Return the peak of one process in GiB: torch itself, images, features, networks."""
    size = 8 if protocol.dtype == "float64" else 4
    pixels = protocol.resolution**2
    pool = pixels * (DATASETS[protocol.dataset].count or 0)
    fine = (protocol.n_fine + protocol.n_validation) * pixels * size
    coarse = (protocol.n_coarse + protocol.n_validation) * pixels // 4 * size
    total = pool + coarse + 3 * fine + 12 * size * _weights(protocol, protocol.resolution)
    if protocol.newton_method:
        side = map_side(protocol.resolution, protocol.pooling)
        total += protocol.n_fine * WIDTHS[1] * side**2 * size
    return 0.45 + total / 2**30


def _weights(protocol: Protocol, resolution: int) -> int:
    first, second = WIDTHS
    side = map_side(resolution, protocol.pooling)
    return 9 * first * (1 + second) + CLASSES * (second * side**2 + 1)


def _disk(protocol: Protocol, trials: int, coarse: int) -> float:
    """Return the size of the record and of the coarse networks' checkpoints, in MB."""
    size = 8 if protocol.dtype == "float64" else 4
    networks = 2 * size * coarse * _weights(protocol, protocol.resolution // 2) / 1e6
    return 0.6 + 0.025 * trials + networks


def plan_book(
    tiers: tuple[str, ...] = TIERS,
    trials: int | None = None,
    dataset: str | None = None,
    seed: int = 0,
    prices: Prices | None = None,
) -> list[PlanRow]:
    """Predict the cost of every chapter and study.

    Parameters
    ----------
    tiers : tuple of str
    trials : int, optional
        Trials of each study; the tier's usual number by default.
    dataset : {"mnist", "strokes"}, optional
        MNIST by default, but stroke digits at the smoke tier.
    seed : int
    prices : Prices, optional
        Measured by default.

    Returns
    -------
    list of PlanRow
        Each chapter's row precedes those of its studies. Chapters run one after another, so a
        coarse network that one chapter trained serves the following chapters.
    """
    prices = prices or prices_for(tiers, dataset)
    rows = []
    for tier in tiers:
        count, trained = trials or DEFAULT_TRIALS[tier], set[tuple[str, int]]()
        for chapter, studies in CHAPTERS.items():
            costs = [
                predict([(_protocol(study, tier, dataset, seed), count)], prices, trained)
                for study in studies
            ]
            total = Cost(
                sum(cost.seconds for cost in costs), max(cost.memory_gib for cost in costs),
                sum(cost.disk_mb for cost in costs),
            )  # fmt: skip
            for study, cost in zip((None, *studies), (total, *costs), strict=True):
                rows.append(PlanRow(tier, chapter, study, count, cost))
    return rows


def fits_an_hour(rows: list[PlanRow]) -> str:
    """Return one sentence: which tiers, or else which of their chapters, take at most an hour."""
    clauses = []
    for tier in dict.fromkeys(row.tier for row in rows):
        chapters = {r.chapter: r.cost.seconds for r in rows if r.tier == tier and r.study is None}
        total = sum(chapters.values())
        short = [name for name, seconds in chapters.items() if seconds <= HOUR]
        if total <= HOUR:
            clauses.append(f"{tier} fits an hour ({spell(total)})")
        else:
            some = f"; of its chapters {', '.join(short)} would, each by itself" if short else ""
            clauses.append(f"{tier} does not ({spell(total)}{some})")
    return "; ".join(clauses) + "."


def busy(processes: int, load: float) -> str:
    """Return a warning if other work ran while prices were measured, else an empty string.

    Parameters
    ----------
    processes : int
        Processes on which the studies would run.
    load : float
        Mean number of runnable processes in the minute before (:func:`os.getloadavg`).

    Examples
    --------
    >>> busy(2, load=0.3)
    ''
    >>> busy(2, load=2.4)
    'Other work ran meanwhile (load 2.4 on 2 processes): on an idle machine it goes faster.'
    """
    if load <= BUSY * processes:
        return ""
    return (
        f"Other work ran meanwhile (load {load:.1f} on {processes} processes): on an idle machine "
        "it goes faster."
    )


def spell(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours.

    Examples
    --------
    >>> spell(42), spell(600), spell(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def check(
    chapters: list[str],
    tier: str,
    trials: int | None = None,
    dataset: str | None = None,
    run: Callable[..., object] = run_study,
) -> Mapping[str, tuple[float, float]]:
    """Run the studies of chapters; return predicted and actual seconds of each chapter.

    Records and checkpoints are written to a temporary folder, so nothing is there beforehand.

    Parameters
    ----------
    chapters : list of str
        Keys of :data:`mgcore.lab.protocol.studies.CHAPTERS`.
    tier : {"smoke", "class", "paper"}
    trials : int, optional
    dataset : {"mnist", "strokes"}, optional
    run : callable
        As :func:`mgcore.lab.run.study.run_study`.
    """
    count, trained = trials or DEFAULT_TRIALS[tier], set[tuple[str, int]]()
    studies = {c: [(_protocol(s, tier, dataset), count) for s in CHAPTERS[c]] for c in chapters}
    prices = measure_prices(pieces(p for some in studies.values() for p, _ in some))
    outcome = {}
    with tempfile.TemporaryDirectory() as folder:
        for chapter, some in studies.items():
            predicted = predict(some, prices, trained).seconds
            began = time.perf_counter()
            for study, (protocol, _) in zip(CHAPTERS[chapter], some, strict=True):
                run(  # the progress names the folder of the record
                    protocol, count, "cpu", record=Path(folder, chapter, study),
                    cache=Path(folder, "cache"),
                )  # fmt: skip
            outcome[chapter] = predicted, time.perf_counter() - began
    return outcome


def write_check(
    file: Path, outcome: Mapping[str, tuple[float, float]], tier: str, trials: int | None = None
) -> None:
    """Write the result of :func:`check` with its machine and date."""
    content = {"chapters": outcome, "tier": tier, "trials": trials or DEFAULT_TRIALS[tier]}
    write_measured(file, content)


def read_check(file: Path) -> tuple[dict[str, tuple[float, float]], dict[str, Any]]:
    """Return predicted and actual seconds by chapter, and when and where they were measured.

    Raises
    ------
    RecordError
        If the file is missing, truncated or altered.
    """
    content = read_json(file)
    return {chapter: tuple(pair) for chapter, pair in content.pop("chapters").items()}, content
