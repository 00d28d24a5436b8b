"""Choosing what the thesis leaves unstated, by its training accuracies alone.

The first stage runs every candidate on the pooled network from a new start, which is cheapest,
with one seed; the second runs a shortlist of the nearest on the unpooled network too; the third
gives the nearest by both networks three seeds.  Seeds move these by more than they are apart, so
the fourth rules out those whose two carried starts train unlike the thesis's, in whole trials.
Validation accuracies play no part.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from mgcore.lab.protocol import Protocol
from mgcore.lab.protocol.printed_tables import TABLE_4_1
from mgcore.lab.run.workers import run_parallel
from mgcore.lab.trial.phases import run_phase
from mgcore.lab.trial.trial import draw_split, fresh_weights, grid_images
from mgcore.lab.verdict.metrics import cell

GRID: dict[str, tuple[Any, ...]] = {
    "penalty_scale": (1.0, 1 / 16, 1 / 256),
    "momentum": (0.9, 0.0),
    "stencil_scale": ("flat", "meganet"),
    "normalisation": ("unit", "standardised"),
}
SHORTLIST = 10
FINALISTS = 3
SEEDS = 3
CARRIED = ("transfer", "multigrid")  # the arms of the fourth stage
# Training accuracy of the New arm after epochs 1 and 10: thesis, Tables 4.1 and 4.2.
TARGETS = {False: (88.4, 96.4), True: (91.1, 97.0)}

Run = dict[str, Any]


def candidates() -> list[dict[str, Any]]:
    """Return every combination of the grid."""
    return [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]


def distance(runs: list[Run], candidate: dict[str, Any], poolings: tuple[bool, ...]) -> float:
    """Return the squared distance to the thesis, in percentage points squared.

    The sum over epochs 1 and 10 and over the networks in `poolings`, of means over seeds.
    """
    total = 0.0
    for pooling in poolings:
        mine = [r for r in runs if r["candidate"] == candidate and r["pooling"] == pooling]
        for place, target in enumerate(TARGETS[pooling]):
            total += (fmean(run["training_accuracy"][place] for run in mine) - target) ** 2
    return total


def _nearest(
    runs: list[Run], among: list[dict[str, Any]], poolings: tuple[bool, ...], count: int
) -> list[dict[str, Any]]:
    """Return the `count` nearest candidates by the first seed on the networks in `poolings`."""
    first = [run for run in runs if run["trial"] == 0]
    return sorted(among, key=lambda c: distance(first, c, poolings))[:count]


def shortlist(runs: list[Run]) -> list[dict[str, Any]]:
    """Return the candidates that the first stage keeps, nearest first."""
    return _nearest(runs, candidates(), (True,), SHORTLIST)


def finalists(runs: list[Run]) -> list[dict[str, Any]]:
    """Return the candidates that the second stage keeps, nearest first."""
    return _nearest(runs, shortlist(runs), (False, True), FINALISTS)


def carried(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the fourth stage compares, from whole trials of a finalist.

    Returns
    -------
    dict
        For ``"transfer"`` and ``"multigrid"`` the mean training accuracies after the first and
        the last epoch, and their squared ``"distance"`` to Table 4.1, in points squared.
    """
    found: dict[str, Any] = {
        arm: [fmean(cell(t, f"{arm}.{e}.training") for t in trials) for e in ("1", "last")]
        for arm in CARRIED
    }
    pairs = [zip(found[arm], TABLE_4_1[arm]["training"], strict=True) for arm in CARRIED]
    return found | {"distance": sum((a - b) ** 2 for pair in pairs for a, b in pair)}


def kept(distances: dict[str, float]) -> list[str]:
    """Return the finalists that the fourth stage does not rule out, in the order given.

    One is ruled out if it is more than twice as far, in points squared, as the nearest.
    """
    return [name for name, far in distances.items() if far <= 2 * min(distances.values())]


def calibrate(path: Path, workers: int | None = None) -> list[Run]:
    """Run what is missing of the calibration on MNIST, writing `path` after every run."""
    runs: list[Run] = json.loads(path.read_text()) if path.exists() else []

    def missing(stage: list[tuple[dict[str, Any], bool, int]]) -> Iterator[tuple[Any, ...]]:
        done = [(run["candidate"], run["pooling"], run["trial"]) for run in runs]
        return ((c, pooling, t) for c, pooling, t in stage if (c, pooling, t) not in done)

    def work(stage: list[tuple[dict[str, Any], bool, int]]) -> None:
        for run in run_parallel(_run, missing(stage), workers):
            runs.append(run)
            unfinished = path.with_suffix(".tmp")
            unfinished.write_text(json.dumps(runs, indent=1) + "\n")
            os.replace(unfinished, path)

    work([(c, True, 0) for c in candidates()])
    work([(c, False, 0) for c in shortlist(runs)])
    # Longest first, so that no core idles at the end.
    work([(c, p, t) for p in (False, True) for c in finalists(runs) for t in range(SEEDS)])
    return runs


def _run(candidate: dict[str, Any], pooling: bool, trial: int) -> Run:
    """Train the New arm of one candidate; one that diverges counts as 10 % at both epochs."""
    protocol = Protocol.printed(**candidate, pooling=pooling, subset=2)
    began = time.perf_counter()
    digits, chosen = draw_split(protocol, trial)
    images = grid_images(protocol, digits, chosen, "fine")
    # The validation images are there to be measured by every phase; one of them is cheap.
    images = replace(
        images, validation=images.validation[:1], validation_labels=images.validation_labels[:1]
    )
    start = fresh_weights(protocol, trial, "fine")
    try:
        history = run_phase(protocol, trial, "fine", start, images, checkpoint=None).history
        accuracy = [history[epoch]["training_accuracy"] for epoch in (1, -1)]
    except FloatingPointError:
        accuracy = [10.0, 10.0]
    return {
        "candidate": candidate, "pooling": pooling, "trial": trial,
        "training_accuracy": accuracy, "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def read_runs(path: Path) -> list[Run]:
    """Return the runs that :func:`calibrate` wrote."""
    runs: list[Run] = json.loads(path.read_text(encoding="utf-8"))
    return runs


def summary(runs: list[Run], stage: int) -> list[dict[str, Any]]:
    """Return a row for each candidate of a stage (1, 2 or 3), nearest first.

    ``candidate``; mean training accuracies after epochs 1 and 10, ``pooled`` and from stage 2 on
    ``unpooled``; their ``distance`` to the thesis, and the distances of ``single`` seeds.
    """
    among = {1: candidates, 2: lambda: shortlist(runs), 3: lambda: finalists(runs)}[stage]()
    counted = [run for run in runs if run["trial"] == 0 or stage == 3]
    poolings = (True,) if stage == 1 else (False, True)
    rows = []
    for candidate in among:
        row: dict[str, Any] = {"candidate": candidate}
        for pooling in poolings:
            mine = [r for r in counted if r["candidate"] == candidate and r["pooling"] == pooling]
            row["pooled" if pooling else "unpooled"] = [
                fmean(run["training_accuracy"][place] for run in mine) for place in (0, 1)
            ]
        row["distance"] = distance(counted, candidate, poolings)
        row["single"] = [
            distance([run for run in counted if run["trial"] == seed], candidate, poolings)
            for seed in range(SEEDS if stage == 3 else 1)
        ]
        rows.append(row)
    return sorted(rows, key=lambda row: row["distance"])
