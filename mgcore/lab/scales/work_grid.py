"""Accuracy against compute: what each way of :mod:`mgcore.lab.scales.strategies` reaches for its work.

A file for each network and seed; :mod:`mgcore.lab.scales.speedups` reads how much less work one way needs
than another.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mgcore.lab.records.files import read_json
from mgcore.lab.run.pending import run_missing
from mgcore.lab.scales.strategies import EVERY, FAIR, NETWORKS, WAYS, Data, data, reached, spend

SEEDS = 5
BUDGETS = (625, 1_250, 2_500, 5_000, 10_000)  # images of the fine grid
FAIR_BUDGETS = (1_250, 5_000)
# Every way has the rate on the fine grid that suits it best in a pilot, on digits of its own.
RATES, PILOT_SEED, PILOT_BUDGETS = (0.03, 0.01, 0.003, 0.001, 0.0003), 1_000, (625, 2_500)


def pilot(
    network: str, images: Data | None = None, budgets: tuple[int, ...] = PILOT_BUDGETS
) -> dict[str, dict[str, float]]:
    """Return the accuracy in percent of each way by learning rate, the mean over some budgets.

    One budget would choose among rates by chance where it does not tell them apart.  A run that
    diverged counts as 0.
    """
    images, found = images or data(PILOT_SEED), {}
    for name, way in EVERY.items():
        found[name] = {}
        for rate in RATES:
            runs = [
                spend(way, NETWORKS[network], budget, images, PILOT_SEED, rate)[0]
                for budget in budgets
            ]
            found[name][str(rate)] = fmean(reached(model, images) or 0.0 for model in runs)
    return found


def best_rates(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the rate of the highest accuracy of each way; the larger of two that are equal."""
    return {
        name: max(map(float, of), key=lambda rate, of=of: (of[str(rate)], rate))
        for name, of in found.items()
    }


def run_one(
    network: str, seed: int, rates: dict[str, float], budgets: tuple[int, ...] = BUDGETS,
    fair_budgets: tuple[int, ...] = FAIR_BUDGETS, images: Data | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Spend every budget in every way, from one start and on one draw of images.

    Returns
    -------
    dict
        ``network``, ``seed``, ``seconds``, and ``points``: for each way and budget ``accuracy`` on
        the validation images in percent, None where training diverged; ``work`` in images of the
        fine grid; ``flops``; ``seconds``; ``steps``; ``rate``.
    """
    began, images = time.perf_counter(), images or data(seed)
    points = []
    every = [(*pair, budget) for pair in WAYS.items() for budget in budgets]
    every += [(*pair, budget) for pair in FAIR.items() for budget in fair_budgets]
    for name, way, budget in every:
        model, spent = spend(way, NETWORKS[network], budget, images, seed, rates[name])
        share = [np.prod(one.shape[1:]) / np.prod(images.training.shape[2:]) for one in spent]
        points.append({
            "way": name, "budget": budget, "rate": rates[name],
            "accuracy": reached(model, images),
            "work": float(sum(one.work * s for one, s in zip(spent, share, strict=True))),
            "flops": sum(one.flops for one in spent),
            "seconds": round(sum(one.seconds for one in spent), 3),
            "steps": sum(one.steps for one in spent),
        })  # fmt: skip
    seconds = round(time.perf_counter() - began, 1)
    return {"network": network, "seed": seed, "points": points, "seconds": seconds}


def jobs(folder: Path, seeds: int = SEEDS) -> Iterator[tuple[Path, tuple[Any, ...]]]:
    """Yield the file of each network and seed, and what :func:`run_one` is given for it."""
    for seed, network in itertools.product(range(seeds), NETWORKS):
        yield folder / f"{network}-{seed}.json", (network, seed, read_rates(folder, network))


def run_pareto(folder: Path, workers: int | None = None, seeds: int = SEEDS) -> None:
    """Run what is missing; the pilots come first, ``rates-NETWORK.json``."""
    pilots = [(folder / f"rates-{network}.json", (network,)) for network in NETWORKS]
    for one in run_missing(_pilot, pilots, workers):
        print(f"{one['network']}: {best_rates(one['accuracy'])}", flush=True)
    for one in run_missing(run_one, jobs(folder, seeds), workers):
        print(f"{one['network']}, seed {one['seed']}: {one['seconds']:.0f} s", flush=True)


def _pilot(network: str) -> dict[str, Any]:
    return {"network": network, "accuracy": pilot(network)}


def read_rates(folder: Path, network: str) -> dict[str, float]:
    """Return the learning rate of each way that the pilot chose."""
    return best_rates(read_json(folder / f"rates-{network}.json")["accuracy"])


def read_pareto(folder: Path, network: str) -> list[dict[str, Any]]:
    """Return the results of one network, a seed each.

    Raises
    ------
    RecordError
        If a file is truncated or altered.
    """
    return [read_json(file) for file in sorted(folder.glob(f"{network}-*.json"))]
