"""The multiverse: the choices that the thesis leaves open, varied in a balanced design.

Seven choices determine the coarse network.  They are varied in a fractional two-level design in
which no main effect is confounded with another or with an interaction of two (resolution IV:
sixteen runs, E = ABC, F = BCD, G = ACD; Montgomery, *Design and Analysis of Experiments*, ch. 8).
Three more choices concern only the fine networks and are fully crossed within each run, because
they share its coarse network.  That makes 128 universes, each with a fine network for every
condition, for each seed.  The training is of a reduced size.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np
from torch import Tensor

from mgcore.lab.choices.gap_spectra import accuracies_beside, distance
from mgcore.lab.choices.screening import combinations
from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.protocol.printed_tables import TABLE_4_1, TABLE_4_2, Pairs
from mgcore.lab.records.checkpoints import PhaseState
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
Choices = dict[str, Any]  # the level of each choice, by its name


class Accuracies(TypedDict):
    """Accuracies of a fine network in percent, after the first and the last epoch."""

    training: list[float]
    validation: list[float]
    prolonged: list[float]  # on validation images P R x, after the last epoch only


class Outcome(TypedDict):
    """One universe with one seed; a condition is None where training diverged."""

    run: int
    seed: int
    choices: Choices
    new: Accuracies | None
    transfer: Accuracies | None
    multigrid: Accuracies | None


Quantity = Callable[[Outcome], float | None]


def design() -> list[tuple[int, ...]]:
    """Return the levels −1 or +1 of the choices :data:`BETWEEN` in each of the sixteen runs.

    Columns are balanced and orthogonal, and no column is the product of two others.
    """
    return [
        (a, b, c, d, a * b * c, b * c * d, a * c * d)
        for a, b, c, d in itertools.product((-1, 1), repeat=4)
    ]


def coarse_choices() -> list[Choices]:
    """Return the choices of each run of the design, by name."""
    return [
        {name: pair[sign > 0] for (name, pair), sign in zip(BETWEEN.items(), signs, strict=True)}
        for signs in design()
    ]


def fine_choices() -> list[Choices]:
    """Return every combination of the choices within a run."""
    return combinations(WITHIN)


def protocol(between: Choices, within: Choices, seed: int, **changes: Any) -> Protocol:
    """Return the protocol of one universe.

    Steps on a loss summed over a minibatch of 32 equal steps on its mean with 32 times the learning
    rate and 1/32 of the penalties.
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
        ``run``, ``seed``, ``seconds``, and ``universes``: the choices of each and, for each
        condition, :class:`Accuracies` or None where training diverged.
    """
    began, between = time.perf_counter(), coarse_choices()[run]
    worlds = [protocol(between, within, seed, **changes) for within in fine_choices()]
    first = worlds[0]
    digits, chosen = draw_split(first, run)
    images = grid_images(first, digits, chosen, "coarse")
    trained = _train(first, run, "coarse", fresh_weights(first, run, "coarse"), images)
    coarse = trained.weights if trained else None
    universes: list[dict[str, Any]] = []
    random: dict[Any, Accuracies | None] = {}
    for within, world in zip(fine_choices(), worlds, strict=True):
        fine = grid_images(world, digits, chosen, "fine")
        smoothed = grid_images(world.changed(fine_validation="prolonged"), digits, chosen, "fine")
        universe: dict[str, Any] = {"choices": {**between, **within}}
        for condition in CONDITIONS:
            if condition == "new":
                # Only the images change the random initialisation: P matters if they are P R x.
                prolonged = within["images"] == "prolonged"
                key = (prolonged, prolonged and world.prolongation)
                if key not in random:
                    start = fresh_weights(world, run, "fine")
                    random[key] = _accuracies(world, run, start, fine, smoothed)
                universe[condition] = random[key]
            elif coarse is None:
                universe[condition] = None
            else:
                start = refine_weights(
                    coarse, world.coarse_side,
                    stencils="copy" if condition == "transfer" else "galerkin",
                    prolongation=world.prolongation, scale=world.classifier_factor,
                )  # fmt: skip
                universe[condition] = _accuracies(world, run, start, fine, smoothed)
        universes.append(universe)
    seconds = time.perf_counter() - began
    return {"run": run, "seed": seed, "universes": universes, "seconds": round(seconds, 1)}


def _train(
    world: Protocol, run: int, grid: str, start: dict[str, Tensor], images: Images
) -> PhaseState | None:
    try:
        return run_phase(world, run, grid, start, images, checkpoint=None)
    except FloatingPointError:
        return None


def _accuracies(
    world: Protocol, run: int, start: dict[str, Tensor], images: Images, smoothed: Images
) -> Accuracies | None:
    done = _train(world, run, "fine", start, images)
    if done is None:
        return None
    rows = [done.history[1], done.history[-1]]
    on_smoothed = evaluate(
        world.objective("fine"), done.weights, smoothed.validation, smoothed.validation_labels
    )
    return {
        "training": [row["training_accuracy"] for row in rows],
        "validation": [row["validation_accuracy"] for row in rows],
        "prolonged": [on_smoothed["accuracy"]],
    }


def run_multiverse(folder: Path, workers: int | None = None) -> None:
    """Run the design's runs with each seed whose files are absent from a folder."""
    jobs = [
        (folder / f"run-{run:02d}-seed-{seed}.json", (run, seed))
        for seed, run in itertools.product(range(SEEDS), range(len(design())))
    ]
    for one in run_missing(run_design, jobs, workers):
        print(f"run {one['run']}, seed {one['seed']}: {one['seconds']:.0f} s", flush=True)


def read_multiverse(folder: Path) -> list[Outcome]:
    """Return the outcome of every recorded universe with every seed."""
    contents = [read_json(file) for file in sorted(folder.glob("run-*.json"))]
    return [
        cast("Outcome", {"run": content["run"], "seed": content["seed"], **universe})
        for content in contents
        for universe in content["universes"]
    ]


def read_cost(folder: Path) -> dict[str, Any]:
    """Return the cost of the recorded universes.

    Returns
    -------
    dict
        ``core_minutes``, ``machines``, ``first`` and ``last`` date, number of trained ``networks``.
    """
    files = [read_json(file) for file in sorted(folder.glob("run-*.json"))]
    # One coarse network; three random ones, for original images and for P R x with either P; and
    # two transferred ones in each universe.
    each = 1 + 3 + 2 * len(fine_choices())
    return {
        "core_minutes": sum(one["seconds"] for one in files) / 60,
        "machines": sorted({one["machine"] for one in files}),
        "first": min(one["date"] for one in files), "last": max(one["date"] for one in files),
        "networks": each * len(files),
    }  # fmt: skip


def table_of(pooling: bool) -> dict[str, Pairs]:
    """Return the thesis's table of the network without (4.1) or with pooling (4.2)."""
    return TABLE_4_2 if pooling else TABLE_4_1


def printed_gap(pooling: bool) -> float:
    """Return the gap in points of the thesis's Galerkin initialisation after the last epoch."""
    parts = table_of(pooling)["multigrid"]
    return parts["training"][1] - parts["validation"][1]


def gap_of(outcome: Outcome, condition: str = "multigrid") -> float | None:
    """Return training less validation accuracy after the last epoch; None if training diverged."""
    accuracies = outcome[condition]  # type: ignore[literal-required]
    return accuracies and accuracies["training"][-1] - accuracies["validation"][-1]


def distance_of(outcome: Outcome) -> float | None:
    """Return the root mean square distance to the thesis's table of the network, in points."""
    table = table_of(outcome["choices"]["pooling"])
    accuracies = {
        condition: outcome[condition]  # type: ignore[literal-required]
        for condition in table
    }
    if None in accuracies.values():
        return None
    return distance(accuracies_beside(accuracies, table))


def log_distance_of(outcome: Outcome) -> float | None:
    """Return the base-2 logarithm of :func:`distance_of`."""
    value = distance_of(outcome)
    return None if value is None else float(np.log2(value))


class Universe(NamedTuple):
    """The choices of a universe, and the values of one quantity with each seed."""

    choices: Choices
    values: list[float]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.values)


def by_universe(
    outcomes: Iterable[Outcome], quantity: Quantity = gap_of
) -> tuple[list[Universe], int]:
    """Group outcomes by universe.

    Returns
    -------
    (universes, diverged)
        The universes that have the quantity with every seed, and the number of those that do not.
    """
    values: dict[tuple, list[float | None]] = defaultdict(list)
    choices = {}
    for outcome in outcomes:
        key = tuple(outcome["choices"].values())
        values[key].append(quantity(outcome))
        choices[key] = outcome["choices"]
    complete = []
    for key, seeds in values.items():
        known = [value for value in seeds if value is not None]
        if len(known) == len(seeds):
            complete.append(Universe(choices[key], known))
    return complete, len(values) - len(complete)


def select(universes: Iterable[Universe], **levels: Any) -> list[Universe]:
    """Return the universes with given levels of some choices, the smallest mean first."""
    chosen = (u for u in universes if levels.items() <= u.choices.items())
    return sorted(chosen, key=lambda universe: universe.mean)
