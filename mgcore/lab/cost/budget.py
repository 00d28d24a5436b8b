"""The cost of the book's chapters at every tier: predicted, and beside what then happens."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgcore.lab.cost.plan import Cost, pieces, predict
from mgcore.lab.cost.prices import Prices, measure_prices
from mgcore.lab.protocol import TIERS, Protocol
from mgcore.lab.protocol.studies import (
    CHAPTERS,
    DEFAULT_TRIALS,
    default_dataset,
    study_protocol,
)
from mgcore.lab.records.files import read_json, write_json
from mgcore.lab.run.study import run_study
from mgcore.lab.run.workers import here_and_now

HOUR = 3600.0
BUSY = 0.5  # load a process above which others are at work


@dataclass(frozen=True)
class Row:
    """The cost of a chapter, or of one of its studies, at a tier."""

    tier: str
    chapter: str
    study: str | None  # None for the whole chapter
    trials: int
    cost: Cost


def _protocol(study: str, tier: str, dataset: str | None, seed: int = 0) -> Protocol:
    return study_protocol(study, tier, dataset or default_dataset(tier), seed)


def prices_for(tiers: tuple[str, ...], dataset: str | None = None) -> Prices:
    """Measure what the studies of some tiers are made of."""
    studies = [study for chapter in CHAPTERS.values() for study in chapter]
    return measure_prices(pieces(_protocol(s, tier, dataset) for s in studies for tier in tiers))


def plan_book(
    tiers: tuple[str, ...] = TIERS,
    trials: int | None = None,
    dataset: str | None = None,
    seed: int = 0,
    prices: Prices | None = None,
) -> list[Row]:
    """Predict the cost of every chapter and study.

    Parameters
    ----------
    tiers : tuple of str
    trials : int, optional
        Of each study; the tier's usual number by default.
    dataset : {"mnist", "strokes"}, optional
        MNIST, but stroke digits at the smoke tier.
    seed : int
    prices : Prices, optional
        Measured if not given.

    Returns
    -------
    list of Row
        A chapter's own row stands before those of its studies.  Chapters follow one another: a
        coarse network trained for one serves those after it.
    """
    prices = prices or prices_for(tiers, dataset)
    rows = []
    for tier in tiers:
        count, trained = trials or DEFAULT_TRIALS[tier], set()
        for chapter, studies in CHAPTERS.items():
            each = [
                Row(tier, chapter, study, count, predict(
                    [(_protocol(study, tier, dataset, seed), count)], prices, trained
                ))
                for study in studies
            ]  # fmt: skip
            total = Cost(
                sum(row.cost.seconds for row in each), max(row.cost.memory_gib for row in each),
                sum(row.cost.disk_mb for row in each),
            )  # fmt: skip
            rows += [Row(tier, chapter, None, count, total), *each]
    return rows


def fits_an_hour(rows: list[Row]) -> str:
    """Say of each tier whether all chapters together fit into an hour, else which of them do."""
    said = []
    for tier in dict.fromkeys(row.tier for row in rows):
        chapters = {r.chapter: r.cost.seconds for r in rows if r.tier == tier and r.study is None}
        total = sum(chapters.values())
        short = [name for name, seconds in chapters.items() if seconds <= HOUR]
        if total <= HOUR:
            said.append(f"{tier} fits an hour ({spell(total)})")
        else:
            some = f"; of its chapters {', '.join(short)} would, each by itself" if short else ""
            said.append(f"{tier} does not ({spell(total)}{some})")
    return "; ".join(said) + "."


def busy(processes: int, load: float) -> str:
    """Return a warning where other work ran while prices were measured, else nothing.

    Parameters
    ----------
    processes : int
        As many as the studies would run on.
    load : float
        Mean number of processes that wanted to run in the minute before, as of os.getloadavg.

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
    """Return a duration in the unit that suits it.

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
    """Run the studies of chapters afresh, and return predicted and actual seconds of each chapter.

    Records and checkpoints go to a temporary folder, so that nothing is there beforehand.

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
    count, trained = trials or DEFAULT_TRIALS[tier], set()
    studies = {c: [(_protocol(s, tier, dataset), count) for s in CHAPTERS[c]] for c in chapters}
    prices = measure_prices(pieces(p for some in studies.values() for p, _ in some))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for chapter, some in studies.items():
            predicted = predict(some, prices, trained).seconds
            began = time.perf_counter()
            for number, (protocol, _) in enumerate(some):
                run(
                    protocol, count, "cpu", record=Path(folder, chapter, str(number)),
                    cache=Path(folder, "cache"),
                )  # fmt: skip
            found[chapter] = predicted, time.perf_counter() - began
    return found


def write_check(
    file: Path, found: Mapping[str, tuple[float, float]], tier: str, trials: int | None = None
) -> None:
    """Keep what :func:`check` found with its machine and date, for the page."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"chapters": found, "tier": tier, "trials": trials or DEFAULT_TRIALS[tier]}
    write_json(file, content | here_and_now())


def read_check(file: Path) -> tuple[dict[str, tuple[float, float]], dict[str, Any]]:
    """Return predicted and actual seconds by chapter, and when and where they were measured.

    Raises
    ------
    RecordError
        If the file is missing, truncated or altered.
    """
    content = read_json(file)
    return {chapter: tuple(pair) for chapter, pair in content.pop("chapters").items()}, content
