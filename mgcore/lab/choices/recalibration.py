"""The second calibration, for both readings of thesis (3.3).

The first calibration (:mod:`mgcore.lab.choices.calibration`) trained every candidate on the
original images and compared the random initialisation first.  The second one also varies the
preparation of the fine images, adds the momentum of the original software, and compares every
training accuracy of Tables 4.1 and 4.2.

The rule was fixed before any result was known, except those of a pilot with one seed (momentum 0.9,
flat kernels, unit pixels, P R x, penalties times 1/16 and 1/256):

1. Screen, pooled network, trial 0: the random initialisation of all 72 candidates; the
   :data:`FIRST` with the least root mean square distance to the two training accuracies of
   Table 4.2 are kept.
2. Screen, the same network and trial: the copied and the Galerkin initialisation of these; the
   :data:`SECOND` nearest by all six training accuracies of Table 4.2 are kept.
3. Full size, both networks, :data:`TRIALS` trials, one trial of all candidates after the other:
   the least distance to the twelve training accuracies of Tables 4.1 and 4.2 wins.  After every
   trial but the last, a candidate that is farther behind the nearest than :data:`BEHIND` allows is
   not continued: all candidates train on the same images from the same random weights, and means
   of two trials differ from means of many by a few tenths of a point.

No validation accuracy enters.  A network that diverges counts as 10 % in each of its cells.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mgcore.lab.choices.gap_spectra import (
    Cells,
    accuracies_beside,
    beside,
    distance,
    training_cells,
)
from mgcore.lab.choices.screening import DIVERGED, Candidate, combinations, training_accuracies
from mgcore.lab.protocol import Protocol
from mgcore.lab.protocol.printed_tables import TABLE_4_1, TABLE_4_2
from mgcore.lab.records.checkpoints import default_cache
from mgcore.lab.records.files import read_json
from mgcore.lab.records.schema import Trial
from mgcore.lab.run.cluster import remove
from mgcore.lab.run.fingerprint import digest, fingerprint_of
from mgcore.lab.run.pending import run_missing
from mgcore.lab.run.study import run_one
from mgcore.lab.trial.trial import draw_split, fresh_weights, refined_start

GRID: dict[str, tuple[Any, ...]] = {
    "fine_training": ("original", "prolonged"),
    "momentum": ("none", "torch", "package"),
    "stencil_scale": ("flat", "meganet"),
    "normalisation": ("unit", "standardised"),
    "penalty_scale": (1.0, 1 / 16, 1 / 256),
}
FIRST = 20
SECOND = 8
TRIALS = 5
BEHIND = (2.0, 1.0, 1.0, 1.0)  # points, after the first trial, the second, ...


def candidates() -> list[Candidate]:
    """Return every combination of the grid."""
    return combinations(GRID)


def label(candidate: Candidate) -> str:
    """Return the name of a candidate, used for its files."""
    penalties = round(1 / candidate["penalty_scale"])
    words = [candidate[name] for name in GRID if name != "penalty_scale"]
    return "-".join([*words, f"penalties-{penalties}"])


def protocol(candidate: Candidate, pooling: bool, **changes: Any) -> Protocol:
    """Return the protocol of a candidate on one network."""
    momentum = candidate["momentum"]
    chosen = {**candidate, "momentum": 0.0 if momentum == "none" else 0.9}
    if momentum == "package":
        chosen["momentum_rule"] = "package"
    return Protocol.printed(**{**chosen, "pooling": pooling, **changes})


def screen(candidate: Candidate, conditions: tuple[str, ...]) -> dict[str, Any]:
    """Train some conditions of trial 0 of a candidate on the pooled network.

    Returns
    -------
    dict
        ``cells``: training accuracy in percent after the first and the last epoch.  ``seconds``.
    """
    began = time.perf_counter()
    chosen = protocol(candidate, True, subset=2)
    digits, split = draw_split(chosen, 0)
    cells: dict[str, list[float]] = dict.fromkeys(conditions, DIVERGED)
    try:
        coarse: dict = {}
        if set(conditions) != {"new"}:
            start = fresh_weights(chosen, 0, "coarse")
            _, coarse = training_accuracies(chosen, 0, "coarse", start, digits, split)
        for condition in conditions:
            start = refined_start(chosen, 0, condition, coarse)
            with suppress(FloatingPointError):
                cells[condition], _ = training_accuracies(chosen, 0, "fine", start, digits, split)
    except FloatingPointError:
        pass  # the coarse network diverged, so every condition counts as diverged
    return {
        "candidate": candidate, "cells": cells, "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def full_size(candidate: Candidate, pooling: bool, trial: int) -> dict[str, Any]:
    """Run one whole trial of a candidate, as a study would; return what its file holds.

    Returns
    -------
    dict
        ``candidate``, ``pooling``, and ``trial``: as in a record.
    """
    chosen = protocol(candidate, pooling)
    code = {grid: digest(fingerprint_of(chosen, grid)) for grid in ("coarse", "fine")}
    cache = default_cache()
    progress = cache / f"{label(candidate)}-{pooling}-{trial}.progress"
    done, _, scratch = run_one(chosen, trial, False, str(progress), "cpu", cache, code)
    remove([str(progress), *scratch])
    return {"candidate": candidate, "pooling": pooling, "trial": done}


def _screened(folder: Path, stage: str) -> dict[str, dict[str, Any]]:
    return {f.stem: read_json(f) for f in sorted((folder / stage).glob("*.json"))}


def _nearest_first(
    found: Iterable[tuple[float, Candidate]],
) -> list[tuple[float, Candidate]]:
    return sorted(found, key=lambda pair: pair[0])


def _pooled_distance(cells: dict[str, list[float]]) -> float:
    accuracies = {condition: {"training": values} for condition, values in cells.items()}
    return distance(accuracies_beside(accuracies, TABLE_4_2))


def first_stage(folder: Path) -> list[tuple[float, Candidate]]:
    """Return the distances of the first screen and its candidates, nearest first."""
    random = _screened(folder, "random").values()
    return _nearest_first((_pooled_distance(one["cells"]), one["candidate"]) for one in random)


def second_stage(folder: Path) -> list[tuple[float, Candidate]]:
    """Return the distances over six cells and the candidates of the second screen."""
    random = _screened(folder, "random")
    return _nearest_first(
        (_pooled_distance(one["cells"] | random[name]["cells"]), one["candidate"])
        for name, one in _screened(folder, "refined").items()
    )


def _full_folder(folder: Path, candidate: Candidate, pooling: bool) -> Path:
    return folder / "full" / f"{label(candidate)}-{'pooled' if pooling else 'unpooled'}"


def trials_of(folder: Path, candidate: Candidate, pooling: bool) -> list[Trial]:
    """Return the whole trials of a candidate on one network."""
    files = sorted(_full_folder(folder, candidate, pooling).glob("trial-*.json"))
    return [read_json(file)["trial"] for file in files]


def twelve_cells(folder: Path, candidate: Candidate) -> float | None:
    """Return the distance to the twelve training cells; None unless both networks have trials."""
    cells: Cells = {}
    for pooling, table in ((False, TABLE_4_1), (True, TABLE_4_2)):
        trials = trials_of(folder, candidate, pooling)
        if not trials:
            return None
        training = training_cells(beside(trials, table))
        cells |= {f"pooling={pooling}.{name}": pair for name, pair in training.items()}
    return distance(cells)


def third_stage(folder: Path, trials: int = 1) -> list[tuple[float, Candidate]]:
    """Return the distances over twelve cells and the candidates run at full size, nearest first.

    Candidates with fewer than `trials` trials on a network are left out.
    """
    found = []
    for _, candidate in second_stage(folder)[:SECOND]:
        counts = [len(trials_of(folder, candidate, pooling)) for pooling in (False, True)]
        far = twelve_cells(folder, candidate)
        if far is not None and min(counts) >= trials:
            found.append((far, candidate))
    return _nearest_first(found)


def still_near(standing: list[tuple[float, Candidate]], trials: int) -> list[Candidate]:
    """Return the candidates that are continued after some trials, nearest first."""
    nearest = standing[0][0]
    return [candidate for far, candidate in standing if far <= nearest + BEHIND[trials - 1]]


def recalibrate(folder: Path, workers: int | None = None) -> Iterator[str]:
    """Run the jobs whose files are absent, and yield a line for each that finishes.

    The lines give the stage and the time, and no accuracy.
    """

    def run(function: Any, jobs: list[tuple[Path, tuple[Any, ...]]]) -> Iterator[str]:
        began = time.perf_counter()
        for number, _ in enumerate(run_missing(function, jobs, workers), 1):
            minutes = (time.perf_counter() - began) / 60
            yield f"{function.__name__}: {number} of at most {len(jobs)}, {minutes:.0f} min"

    yield from run(
        screen, [(folder / "random" / f"{label(c)}.json", (c, ("new",))) for c in candidates()]
    )
    first = [candidate for _, candidate in first_stage(folder)[:FIRST]]
    refined = ("transfer", "multigrid")
    yield from run(screen, [(folder / "refined" / f"{label(c)}.json", (c, refined)) for c in first])
    second = [candidate for _, candidate in second_stage(folder)[:SECOND]]
    for trial in range(TRIALS):
        continued = second
        if trial:
            continued = still_near(third_stage(folder, trial), trial)
        jobs = [
            (_full_folder(folder, c, pooling) / f"trial-{trial:03d}.json", (c, pooling, trial))
            for pooling in (True, False)
            for c in continued
        ]
        yield from run(full_size, jobs)
