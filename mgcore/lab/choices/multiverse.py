"""The multiverse: what the thesis leaves open, varied in a balanced design, at a reduced size.

Seven choices decide the coarse network.  They are varied in a fraction of a two-level design in
which no main effect is confounded with another or with an interaction of two (resolution IV:
sixteen runs, E = ABC, F = BCD, G = ACD; Montgomery, *Design and Analysis of Experiments*, ch. 8).
Three more concern the fine networks and are crossed in full within each, since the coarse network
is shared: 128 universes, each with its own multigrid, transfer and new network, for each seed.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.records.files import read_json
from mgcore.lab.run.pending import run_missing
from mgcore.lab.trial.phases import Images, run_phase
from mgcore.lab.trial.trial import draw_split, fresh_weights, grid_images
from mgcore.thesis.network import refine_weights
from mgcore.thesis.objective import evaluate

SEEDS = 2
SIZE: dict[str, Any] = {
    "n_coarse": 8_000, "n_fine": 1_600, "n_validation": 800, "coarse_epochs": 4,
    "fine_epochs": 3, "subset": 100,
}  # fmt: skip
_BATCH = 32
# Levels of each choice; the first is −1 in the design, the second +1.
BETWEEN: dict[str, tuple[Any, Any]] = {
    "momentum": (0.0, 0.9),
    "penalties": (1.0, 1 / 256),
    "stencils": ("flat", "meganet"),
    "pooling": (False, True),
    "padding": ("zeros", "circular"),
    "pixels": ("unit", "standardised"),
    "loss": ("mean", "sum"),
}
WITHIN: dict[str, tuple[Any, Any]] = {
    "prolongation": ("constant", "bilinear"),
    "factor": (0.25, 4.0),
    "images": ("original", "prolonged"),
}
Choices = dict[str, Any]
Row = dict[str, Any]


def design() -> list[tuple[int, ...]]:
    """Return the sixteen runs as levels ±1 of :data:`BETWEEN`'s choices.

    Columns are balanced and orthogonal, and no column is the product of two others.
    """
    runs = []
    for a, b, c, d in itertools.product((-1, 1), repeat=4):
        runs.append((a, b, c, d, a * b * c, b * c * d, a * c * d))
    return runs


def _levels(names: dict[str, tuple[Any, Any]], signs: tuple[int, ...]) -> Choices:
    return {name: pair[sign > 0] for (name, pair), sign in zip(names.items(), signs, strict=True)}


def coarse_choices() -> list[Choices]:
    """Return the choices of each run of the design, by name."""
    return [_levels(BETWEEN, signs) for signs in design()]


def fine_choices() -> list[Choices]:
    """Return every combination of the choices within a run."""
    return [_levels(WITHIN, signs) for signs in itertools.product((-1, 1), repeat=len(WITHIN))]


def protocol(between: Choices, within: Choices, seed: int, **changes: Any) -> Protocol:
    """Return one universe as a protocol.

    A loss that is summed over the minibatch is its mean with a rate 32 times as large and
    penalties a 32nd as heavy: the same gradients, the same steps.
    """
    summed = _BATCH if between["loss"] == "sum" else 1
    base = Protocol.calibrated("class", **SIZE)
    chosen = {
        "name": "multiverse", "seed": seed, "batch": _BATCH, "momentum": between["momentum"],
        "penalty_scale": between["penalties"] / summed,
        "learning_rate": base.learning_rate * summed, "stencil_scale": between["stencils"],
        "pooling": between["pooling"], "padding": between["padding"],
        "normalisation": between["pixels"], "prolongation": within["prolongation"],
        "classifier_factor": within["factor"], "fine_training": within["images"],
    }  # fmt: skip
    return base.changed(**(chosen | changes))


def run_design(run: int, seed: int, **changes: Any) -> dict[str, Any]:
    """Train one coarse network and every fine network of its eight universes.

    Returns
    -------
    dict
        ``run``, ``seed``, ``seconds``, and ``universes``: choices and, for each arm,
        ``training`` and ``validation`` accuracy after the first and last epoch in percent, the
        latter also on P R x (``prolonged``); None where training diverged.
    """
    began, between = time.perf_counter(), coarse_choices()[run]
    worlds = [protocol(between, within, seed, **changes) for within in fine_choices()]
    first = worlds[0]
    digits, chosen = draw_split(first, run)
    images = grid_images(first, digits, chosen, "coarse")
    coarse = _train(first, run, "coarse", fresh_weights(first, run, "coarse"), images)
    rows, fresh = [], {}
    for within, world in zip(fine_choices(), worlds, strict=True):
        fine = grid_images(world, digits, chosen, "fine")
        seen = grid_images(world.changed(fine_validation="prolonged"), digits, chosen, "fine")
        row: Row = {"choices": {**between, **within}}
        for arm in CONDITIONS:
            if arm == "new":
                # Its images alone matter to it: P only where they are prolonged.
                prolonged = within["images"] == "prolonged"
                key = (prolonged, prolonged and world.prolongation)
                if key not in fresh:
                    start = fresh_weights(world, run, "fine")
                    fresh[key] = _outcome(world, run, start, fine, seen)
                row[arm] = fresh[key]
            elif coarse is None:
                row[arm] = None
            else:
                start = refine_weights(
                    coarse, world.coarse_side,
                    stencils="copy" if arm == "transfer" else "galerkin",
                    prolongation=world.prolongation, scale=world.classifier_factor,
                )  # fmt: skip
                row[arm] = _outcome(world, run, start, fine, seen)
        rows.append(row)
    seconds = time.perf_counter() - began
    return {"run": run, "seed": seed, "universes": rows, "seconds": round(seconds, 1)}


def _train(world: Protocol, run: int, grid: str, start: dict, images: Images) -> Any:
    """Return the trained weights on the coarse grid, the whole progress on the fine one."""
    try:
        done = run_phase(world, run, grid, start, images, checkpoint=None)
    except FloatingPointError:
        return None
    return done.weights if grid == "coarse" else done


def _outcome(
    world: Protocol, run: int, start: dict, images: Images, seen: Images
) -> dict[str, list[float]] | None:
    done = _train(world, run, "fine", start, images)
    if done is None:
        return None
    rows = [done.history[1], done.history[-1]]
    there = evaluate(
        world.objective("fine"), done.weights, seen.validation, seen.validation_labels
    )  # fmt: skip
    return {
        "training": [row["training_accuracy"] for row in rows],
        "validation": [row["validation_accuracy"] for row in rows],
        "prolonged": [there["accuracy"]],
    }


def run_multiverse(folder: Path, workers: int | None = None) -> None:
    """Run what is missing; a file for each coarse network, of a run of the design and a seed."""
    jobs = [
        (folder / f"run-{run:02d}-seed-{seed}.json", (run, seed))
        for seed, run in itertools.product(range(SEEDS), range(len(design())))
    ]
    for one in run_missing(run_design, jobs, workers):
        print(f"run {one['run']}, seed {one['seed']}: {one['seconds']:.0f} s", flush=True)


def read_multiverse(folder: Path) -> list[Row]:
    """Return every universe of every seed that is recorded, with its run and seed."""
    rows = []
    for file in sorted(folder.glob("run-*.json")):
        content = read_json(file)
        for row in content["universes"]:
            rows.append({"run": content["run"], "seed": content["seed"], **row})
    return rows


def read_cost(folder: Path) -> dict[str, Any]:
    """Return what the recorded universes took.

    Returns
    -------
    dict
        ``core_minutes``, ``machines``, ``first`` and ``last`` date, ``networks`` that were trained.
    """
    files = [read_json(file) for file in sorted(folder.glob("run-*.json"))]
    # One coarse network; a new start for x and for P R x by either P; two starts in each universe.
    each = 1 + 3 + 2 * len(fine_choices())
    return {
        "core_minutes": sum(one["seconds"] for one in files) / 60,
        "machines": sorted({one["machine"] for one in files}),
        "first": min(one["date"] for one in files), "last": max(one["date"] for one in files),
        "networks": each * len(files),
    }  # fmt: skip
