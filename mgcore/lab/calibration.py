"""Choosing what the thesis leaves unstated, by its New arm's training accuracy alone.

The first stage runs every candidate on the pooled network, which is the cheaper one, with one
seed; the second runs the nearest on both networks with three.  Validation and the arms that start
from coarse weights play no part, so what the book reports of them is a prediction.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from mgcore.lab.execute import run_parallel
from mgcore.lab.protocol import Protocol
from mgcore.lab.study import run_trial

GRID: dict[str, tuple[Any, ...]] = {
    "penalty_scale": (1.0, 1 / 16, 1 / 256),
    "momentum": (0.9, 0.0),
    "stencil_scale": ("flat", "meganet"),
    "normalisation": ("unit", "standardised"),
}
FINALISTS = 3
SEEDS = 3
# Training accuracy of the New arm after epochs 1 and 10: thesis, Tables 4.1 and 4.2.
TARGETS = {False: (88.4, 96.4), True: (91.1, 97.0)}

# The nearest of the grid; a test holds it against the record of the calibration.
CHOSEN: dict[str, Any] = {}

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


def finalists(runs: list[Run]) -> list[dict[str, Any]]:
    """Return the candidates that the first stage keeps, nearest first."""
    first = [run for run in runs if run["pooling"] and run["trial"] == 0]
    return sorted(candidates(), key=lambda c: distance(first, c, (True,)))[:FINALISTS]


def chosen(runs: list[Run]) -> dict[str, Any]:
    """Return the nearest finalist by both networks and all seeds."""
    return min(finalists(runs), key=lambda c: distance(runs, c, (False, True)))


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
    # Longest first, so that no core idles at the end.
    work([(c, p, t) for p in (False, True) for c in finalists(runs) for t in range(SEEDS)])
    return runs


def _run(candidate: dict[str, Any], pooling: bool, trial: int) -> Run:
    """Train the New arm of one candidate; one that diverges counts as 10 % at both epochs."""
    protocol = Protocol.printed(**candidate, pooling=pooling)
    try:
        result = run_trial(protocol, trial, arms=("new",))
        history = result["metrics"]["new"]
        accuracy = [history[epoch]["training_accuracy"] for epoch in (1, -1)]
        seconds = result["seconds"]["whole"]
    except FloatingPointError:
        accuracy, seconds = [10.0, 10.0], 0.0
    return {
        "candidate": candidate, "pooling": pooling, "trial": trial,
        "training_accuracy": accuracy, "seconds": round(seconds, 1),
    }  # fmt: skip


def read_runs(path: Path) -> list[Run]:
    """Return the runs that :func:`calibrate` wrote."""
    runs: list[Run] = json.loads(path.read_text(encoding="utf-8"))
    return runs


def first_stage(runs: list[Run]) -> list[dict[str, Any]]:
    """Return a row for each candidate of the first stage, nearest first."""
    first = [run for run in runs if run["pooling"] and run["trial"] == 0]
    rows = [
        {
            "candidate": run["candidate"],
            "pooled": run["training_accuracy"],
            "distance": distance(first, run["candidate"], (True,)),
        }
        for run in first
    ]
    return sorted(rows, key=lambda row: row["distance"])


def summary(runs: list[Run]) -> list[dict[str, Any]]:
    """Return a row for each finalist, nearest first: mean accuracies and distance."""
    rows = []
    for candidate in finalists(runs):
        row: dict[str, Any] = {"candidate": candidate}
        for pooling in (False, True):
            mine = [r for r in runs if r["candidate"] == candidate and r["pooling"] == pooling]
            row["pooled" if pooling else "unpooled"] = [
                fmean(run["training_accuracy"][place] for run in mine) for place in (0, 1)
            ]
        rows.append(row | {"distance": distance(runs, candidate, (False, True))})
    return sorted(rows, key=lambda row: row["distance"])
