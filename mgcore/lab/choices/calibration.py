"""The first calibration: the choices that the thesis leaves open, by its training accuracies alone.

The first stage trains every candidate on the pooled network, which is cheapest, from a random
initialisation with one seed; the second trains a shortlist of the nearest on the unpooled network
too; the third trains the nearest by both networks with three seeds.  Accuracies vary more between
seeds than between these candidates, so the fourth stage rules out those whose copied and Galerkin
initialisations train unlike the thesis's, in whole trials.  Validation accuracies play no part.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict, cast

from mgcore.lab.choices.screening import DIVERGED, Candidate, combinations, training_accuracies
from mgcore.lab.protocol import Protocol
from mgcore.lab.protocol.printed_tables import TABLE_4_1, TABLE_4_2
from mgcore.lab.records.files import read_json
from mgcore.lab.records.schema import Trial
from mgcore.lab.run.pending import run_missing
from mgcore.lab.trial.trial import draw_split, fresh_weights
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
CARRIED = ("transfer", "multigrid")  # the conditions of the fourth stage
# Training accuracy of the random initialisation after epochs 1 and 10, without and with pooling.
TARGETS = {False: TABLE_4_1["new"]["training"], True: TABLE_4_2["new"]["training"]}


class Run(TypedDict):
    """One random initialisation of one candidate, trained; keys as in the record."""

    candidate: Candidate
    pooling: bool
    trial: int
    training_accuracy: list[float]  # percent, after the first and the last epoch
    seconds: float


class Carried(TypedDict):
    """Mean training accuracies in whole trials, and their squared distance to Table 4.1."""

    transfer: list[float]
    multigrid: list[float]
    distance: float


def candidates() -> list[Candidate]:
    """Return every combination of the grid."""
    return combinations(GRID)


def distance(runs: Iterable[Run], candidate: Candidate, poolings: tuple[bool, ...]) -> float:
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
    runs: list[Run], among: list[Candidate], poolings: tuple[bool, ...], count: int
) -> list[Candidate]:
    """Return the `count` nearest candidates by the first seed on the networks in `poolings`."""
    first = [run for run in runs if run["trial"] == 0]
    return sorted(among, key=lambda c: distance(first, c, poolings))[:count]


def shortlist(runs: list[Run]) -> list[Candidate]:
    """Return the candidates that the first stage keeps, nearest first."""
    return _nearest(runs, candidates(), (True,), SHORTLIST)


def finalists(runs: list[Run]) -> list[Candidate]:
    """Return the candidates that the second stage keeps, nearest first."""
    return _nearest(runs, shortlist(runs), (False, True), FINALISTS)


def carried(trials: list[Trial]) -> Carried:
    """Return what the fourth stage compares, from whole trials of a finalist."""
    transfer, multigrid = (
        [fmean(cell(t, f"{condition}.{e}.training") for t in trials) for e in ("1", "last")]
        for condition in CARRIED
    )
    printed = [value for condition in CARRIED for value in TABLE_4_1[condition]["training"]]
    pairs = zip([*transfer, *multigrid], printed, strict=True)
    squared = sum((a - b) ** 2 for a, b in pairs)
    return {"transfer": transfer, "multigrid": multigrid, "distance": squared}


def kept(distances: dict[str, float]) -> list[str]:
    """Return the finalists that the fourth stage does not rule out, in the order given.

    A finalist is ruled out if its squared distance is more than twice that of the nearest.
    """
    return [name for name, far in distances.items() if far <= 2 * min(distances.values())]


def calibrate(path: Path, workers: int | None = None) -> list[Run]:
    """Run the calibration's missing jobs on MNIST, and return all its runs.

    Runs that `path` or a file beside it holds are not repeated; each new run is written to a file
    of its own beside `path`.
    """

    def run(stage: list[tuple[Candidate, bool, int]]) -> None:
        finished = [(one["candidate"], one["pooling"], one["trial"]) for one in read_runs(path)]
        jobs = [(_file(path, *job), job) for job in stage if job not in finished]
        for _ in run_missing(_run, jobs, workers):
            pass

    run([(c, True, 0) for c in candidates()])
    run([(c, False, 0) for c in shortlist(read_runs(path))])
    # The unpooled network takes longer and runs first, so that no core idles at the end.
    last = finalists(read_runs(path))
    run([(c, pooling, t) for pooling in (False, True) for c in last for t in range(SEEDS)])
    return read_runs(path)


def _file(path: Path, candidate: Candidate, pooling: bool, trial: int) -> Path:
    values = (f"{value:g}" if isinstance(value, float) else value for value in candidate.values())
    network = "pooled" if pooling else "unpooled"
    return path.with_name(f"run-{'-'.join(values)}-{network}-{trial}.json")


def _run(candidate: Candidate, pooling: bool, trial: int) -> dict[str, Any]:
    """Train the random initialisation of one candidate."""
    protocol = Protocol.printed(**candidate, pooling=pooling, subset=2)
    began = time.perf_counter()
    digits, split = draw_split(protocol, trial)
    start = fresh_weights(protocol, trial, "fine")
    try:
        accuracy, _ = training_accuracies(protocol, trial, "fine", start, digits, split)
    except FloatingPointError:
        accuracy = DIVERGED
    return {
        "candidate": candidate, "pooling": pooling, "trial": trial,
        "training_accuracy": accuracy, "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def read_runs(path: Path) -> list[Run]:
    """Return the runs of the calibration: those in the list `path` and in files beside it."""
    runs: list[Run] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return runs + [cast(Run, read_json(file)) for file in sorted(path.parent.glob("run-*.json"))]


def summary(runs: list[Run], stage: int) -> list[dict[str, Any]]:
    """Return a row for each candidate of stage 1, 2 or 3, nearest first.

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
