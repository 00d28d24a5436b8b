"""Choosing what the thesis leaves unstated, a second time, on both readings of (3.3).

The first choice (:mod:`mgcore.lab.choices.calibration`) trained every candidate on the original images and
looked at the random initialisation first.  This one lets the preparation of the fine images vary
too, adds the momentum of the original software, and looks at every training accuracy of Tables 4.1
and 4.2.

The rule, fixed before any result was looked at but those of a pilot with one seed (momentum 0.9,
flat kernels, unit pixels, P R x, penalties times 1/16 and 1/256):

1. Screen, pooled network, trial 0: the random initialisation of all 72 candidates; the
   :data:`FIRST` with the least root mean square distance to the two training accuracies of
   Table 4.2 are kept.
2. Screen, the same network and trial: the copied and the Galerkin initialisation of these; the
   :data:`SECOND` nearest by all six training accuracies of Table 4.2 are kept.
3. Full size, both networks, :data:`TRIALS` trials, one trial of all candidates after the other:
   the least distance to the twelve training accuracies of Tables 4.1 and 4.2 wins.  From the
   second trial on, a candidate that is more than :data:`BEHIND` points behind the nearest is not
   continued: means of two trials differ from means of many by a few tenths of a point.

No validation accuracy enters.  A network that diverges counts as 10 % in each of its cells.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.protocol.printed_tables import TABLE_4_1, TABLE_4_2
from mgcore.lab.records.checkpoints import default_cache
from mgcore.lab.records.files import read_json
from mgcore.lab.run.cluster import remove
from mgcore.lab.run.fingerprint import digest, fingerprint_of
from mgcore.lab.run.pending import run_missing
from mgcore.lab.run.study import run_one
from mgcore.lab.trial.phases import run_phase
from mgcore.lab.trial.trial import draw_split, fresh_weights, grid_images, refined_start
from mgcore.lab.verdict.metrics import cell

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
BEHIND = 1.0

Candidate = dict[str, Any]
# For each network and condition the training accuracies after the first and the last epoch.
Cells = dict[str, list[float]]


def candidates() -> list[Candidate]:
    """Return every combination of the grid."""
    return [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]


def label(candidate: Candidate) -> str:
    """Return the name of a candidate, which its files carry."""
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


def distance(cells: Cells, pooling: bool, conditions: tuple[str, ...] = CONDITIONS) -> list[float]:
    """Return the differences to the training accuracies of Table 4.1, or 4.2 with pooling."""
    table = TABLE_4_2 if pooling else TABLE_4_1
    return [
        mine - printed
        for condition in conditions
        for mine, printed in zip(cells[condition], table[condition]["training"], strict=True)
    ]


def root_mean_square(differences: list[float]) -> float:
    """Return the root mean square of some differences."""
    return fmean(d * d for d in differences) ** 0.5


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
    cells: Cells = {}

    def accuracies(grid: str, start: dict) -> tuple[list, Any]:
        images = grid_images(chosen, digits, split, grid)
        # Every phase measures some validation images; one of them costs nothing.
        images = replace(
            images, validation=images.validation[:1], validation_labels=images.validation_labels[:1]
        )
        done = run_phase(chosen, 0, grid, start, images, checkpoint=None)
        return [done.history[epoch]["training_accuracy"] for epoch in (1, -1)], done.weights

    try:
        coarse: dict = {}
        if set(conditions) != {"new"}:
            _, coarse = accuracies("coarse", fresh_weights(chosen, 0, "coarse"))
        for condition in conditions:
            start = refined_start(chosen, 0, condition, coarse)
            try:
                cells[condition], _ = accuracies("fine", start)
            except FloatingPointError:
                cells[condition] = [10.0, 10.0]
    except FloatingPointError:  # of the coarse network
        cells = {condition: [10.0, 10.0] for condition in conditions}
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
    remove([progress, *scratch])
    return {"candidate": candidate, "pooling": pooling, "trial": done}


def _screened(folder: Path, stage: str) -> dict[str, dict[str, Any]]:
    return {f.stem: read_json(f) for f in sorted((folder / stage).glob("*.json"))}


def first_stage(folder: Path) -> list[tuple[float, Candidate]]:
    """Return the screened candidates with their distance by the random start, nearest first."""
    found = [
        (root_mean_square(distance(one["cells"], True, ("new",))), one["candidate"])
        for one in _screened(folder, "random").values()
    ]
    return sorted(found, key=lambda pair: pair[0])


def second_stage(folder: Path) -> list[tuple[float, Candidate]]:
    """Return the candidates of the second screen by all six cells, nearest first."""
    random = _screened(folder, "random")
    found = [
        (root_mean_square(distance(one["cells"] | random[name]["cells"], True)), one["candidate"])
        for name, one in _screened(folder, "refined").items()
    ]
    return sorted(found, key=lambda pair: pair[0])


def trials_of(folder: Path, candidate: Candidate, pooling: bool) -> list[dict[str, Any]]:
    """Return the whole trials of a candidate on one network."""
    place = folder / "full" / f"{label(candidate)}-{'pooled' if pooling else 'unpooled'}"
    return [read_json(file)["trial"] for file in sorted(place.glob("trial-*.json"))]


def twelve_cells(folder: Path, candidate: Candidate) -> float | None:
    """Return the distance to the twelve training cells; None unless both networks have trials."""
    differences: list[float] = []
    for pooling in (False, True):
        trials = trials_of(folder, candidate, pooling)
        if not trials:
            return None
        cells = {
            arm: [fmean(cell(t, f"{arm}.{e}.training") for t in trials) for e in ("1", "last")]
            for arm in CONDITIONS
        }
        differences += distance(cells, pooling)
    return root_mean_square(differences)


def third_stage(folder: Path) -> list[tuple[float, Candidate]]:
    """Return the candidates that were run at full size, nearest first."""
    eight = [candidate for _, candidate in second_stage(folder)[:SECOND]]
    found = [(far, c) for c in eight if (far := twelve_cells(folder, c)) is not None]
    return sorted(found, key=lambda pair: pair[0])


def recalibrate(folder: Path, workers: int | None = None) -> Iterator[str]:
    """Run what is missing of the choice, a file for each run; yield a line for each.

    Lines name what was run and how long it took, and no accuracy.
    """

    def work(function: Any, jobs: list[tuple[Path, tuple[Any, ...]]]) -> Iterator[str]:
        names = {str(arguments): file for file, arguments in jobs}
        began = time.perf_counter()
        for number, _ in enumerate(run_missing(function, jobs, workers), 1):
            minutes = (time.perf_counter() - began) / 60
            yield f"{function.__name__}: {number} of at most {len(names)}, {minutes:.0f} min"

    yield from work(
        screen, [(folder / "random" / f"{label(c)}.json", (c, ("new",))) for c in candidates()]
    )
    kept = [candidate for _, candidate in first_stage(folder)[:FIRST]]
    refined = ("transfer", "multigrid")
    yield from work(screen, [(folder / "refined" / f"{label(c)}.json", (c, refined)) for c in kept])
    eight = [candidate for _, candidate in second_stage(folder)[:SECOND]]
    for trial in range(TRIALS):
        going = eight
        if trial >= 2:
            standing = third_stage(folder)
            going = [c for far, c in standing if far <= standing[0][0] + BEHIND]
        yield from work(
            full_size,
            [
                (
                    folder / "full" / f"{label(c)}-{'pooled' if pooling else 'unpooled'}"
                    / f"trial-{trial:03d}.json",
                    (c, pooling, trial),
                )
                for pooling in (True, False)
                for c in going
            ],
        )  # fmt: skip
