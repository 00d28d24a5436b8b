"""Accuracy against compute: what each way of training on two grids reaches for its work.

Beyond the thesis, which compares starts at equal epochs on the fine grid and does not charge for
the coarse ones.  Here every way gets the same budget, coarse images included, in images of the fine
grid: one on the grid of half the resolution costs a quarter.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.data import load_digits, normalise, split
from mgcore.grids import restrict
from mgcore.lab.agreement import interval
from mgcore.lab.carrying import (
    Carry,
    change_stencils,
    clipped,
    geometric,
    part_way,
    roughness,
    warmed,
)
from mgcore.lab.execute import here_and_now, run_parallel
from mgcore.lab.files import read_json, write_json
from mgcore.lab.phases import stream
from mgcore.networks import ThesisCNN
from mgcore.resnet import ResNet
from mgcore.surgery import refine
from mgcore.training import Level, Scheme, Spent, train

SEEDS = 5
BUDGETS = (625, 1_250, 2_500, 5_000, 10_000)  # images of the fine grid
TRAINING, VALIDATION = 5_000, 2_000
FINE = 28
# Composer's default halves the size for the first half of the steps: of the work, a fifth.
SMALL = 0.5 * 0.25 / (0.5 * 0.25 + 0.5)
RATE, MOMENTUM, BATCH = 0.01, 0.9, 32
# Every way has the rate on the fine grid that suits it best in a pilot, on digits of its own.
RATES, PILOT_SEED, PILOT_BUDGETS = (0.03, 0.01, 0.003, 0.001, 0.0003), 1_000, (625, 2_500)
MULTILEVEL = (8, 32)  # fine and coarse images of a step

Network = Callable[[int], nn.Module]
NETWORKS: dict[str, Network] = {
    "thesis": partial(ThesisCNN, pooling=False),
    "pooled": partial(ThesisCNN, pooling=True),
    "resnet": partial(ResNet, width=12, depth=3, h=0.5),
}


@dataclass(frozen=True)
class Way:
    """One way to spend a budget: what :func:`mgcore.scales.coarse_to_fine` does, step by step.

    Attributes
    ----------
    small : float
        Share of the work that is spent on the coarse grid first; 0 starts on the fine one.
    stencils, prolongation : str
        How weights are carried up, as in :func:`mgcore.surgery.refine`.
    scheme : Scheme
        What a step on the fine grid sees.
    carry : callable, optional
        What becomes of each 3×3 stencil that was copied, see :mod:`mgcore.lab.carrying`.
    penalty : float
        Weight of :func:`mgcore.lab.carrying.roughness` on the coarse grid.
    warm : int
        Steps on the fine grid over which the learning rate rises.
    """

    small: float = SMALL
    stencils: str = "galerkin"
    prolongation: str = "bilinear"
    scheme: Scheme = Scheme(batches=(BATCH,))
    carry: Carry | None = None
    penalty: float = 0.0
    warm: int = 0


WAYS: dict[str, Way] = {
    "fine only": Way(small=0.0),
    "copied": Way(stencils="copy"),
    "Galerkin, bilinear": Way(),
    "Galerkin, constant": Way(prolongation="constant"),
    "joint": Way(small=0.0, scheme=Scheme("joint", (BATCH,))),
    "multilevel, copied": Way(
        stencils="copy", scheme=Scheme("multilevel", MULTILEVEL, stencils="copy")
    ),
    "multilevel, Galerkin": Way(scheme=Scheme("multilevel", MULTILEVEL)),
}
# What might make the Galerkin transfer work, at fewer budgets.
FAIR: dict[str, Way] = {
    "a quarter of the way": Way(stencils="copy", carry=part_way(0.25)),
    "half of the way": Way(stencils="copy", carry=part_way(0.5)),
    "clipped at 4": Way(stencils="copy", carry=clipped(4.0)),
    "geometric": Way(stencils="copy", carry=geometric),
    "roughness penalised": Way(penalty=1e-3),
    "learning rate warmed": Way(warm=50),
}
FAIR_BUDGETS = (1_250, 5_000)
EVERY = WAYS | FAIR


class Data(NamedTuple):
    """Images of one trial on both grids; those of the coarse one are means of 2×2 cells."""

    training: Tensor  # (count, 1, n, n)
    labels: Tensor
    validation: Tensor
    validation_labels: Tensor


def data(seed: int, training: int = TRAINING, validation: int = VALIDATION,
         dataset: str = "mnist") -> Data:  # fmt: skip
    """Draw the images of a trial, standardised over all pixels of the training images."""
    sizes = (training, validation)
    digits = load_digits(dataset, sum(sizes), FINE)
    fine, held = split(len(digits.images), sizes, stream(seed, 0, "pareto"))
    pixels = normalise(digits.images, "unit")
    mean, spread = pixels[fine].mean(), pixels[fine].std()
    x, held_x = ((pixels[index] - mean) / spread for index in (fine, held))
    return Data(x, digits.labels[fine], held_x, digits.labels[held])


def spend(
    way: Way, network: Network, budget: int, images: Data, seed: int, rate: float = RATE
) -> tuple[nn.Module, list[Spent]]:
    """Train a network in one way until the budget is spent.

    Parameters
    ----------
    way : Way
    network : callable
        From pixels along a side to a network.
    budget : int
        In images of the fine grid.
    images : Data
    seed : int
        Of the start and of the order of the images.
    rate : float
        Learning rate on the fine grid; on the coarse one it is :data:`RATE` for every way.

    Returns
    -------
    model : Module
        On the fine grid.
    spent : list of Spent
        On each grid that was trained on.
    """
    side = images.training.shape[-1]
    order = stream(seed, budget, "order")
    descent = partial(torch.optim.SGD, momentum=MOMENTUM, nesterov=True)
    coarse = int(budget * way.small)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network(side // 2 if coarse else side)
    spent = []
    if coarse:
        small, below = Level(restrict(images.training), images.labels, 4 * coarse), model

        def loss(outputs: Tensor, labels: Tensor) -> Tensor:
            rough = way.penalty * roughness(below) if way.penalty else 0.0
            return F.cross_entropy(outputs, labels) + rough

        spent.append(train(below, small, order, optimizer=partial(descent, lr=RATE), loss=loss))
        shape, how = small.images.shape[1:], {"prolongation": way.prolongation}
        model = refine(below, shape, stencils=way.stencils, **how)
        if way.carry:
            change_stencils(model, way.carry)
    optimizer = partial(descent, lr=rate)
    if way.warm:
        optimizer = warmed(optimizer, way.warm)
    fine = Level(images.training, images.labels, budget - coarse)
    spent.append(train(model, fine, order, scheme=way.scheme, below=1, optimizer=optimizer))
    return model, spent


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 100) -> float:
    """Return the percentage of images that are named rightly."""
    with torch.no_grad():
        said = torch.cat([model(some).argmax(1) for some in images.split(batch)])
    return 100 * float((said == labels).double().mean())


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


def reached(model: nn.Module, images: Data) -> float | None:
    """Return the accuracy on validation images, None where weights are no longer finite."""
    if not all(torch.isfinite(w).all() for w in model.parameters()):
        return None
    return accuracy(model, images.validation, images.validation_labels)


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


def missing(folder: Path, seeds: int = SEEDS) -> Iterator[tuple[str, int, str]]:
    """Yield (network, seed, file) for what the folder does not hold yet."""
    for seed, network in itertools.product(range(seeds), NETWORKS):
        file = folder / f"{network}-{seed}.json"
        if not file.exists():
            yield network, seed, str(file)


def run_pareto(folder: Path, workers: int | None = None, seeds: int = SEEDS) -> None:
    """Run what is missing; a file for each network and seed, written when all of it is there.

    The pilots come first, ``rates-NETWORK.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pilots = [(n,) for n in NETWORKS if not (folder / f"rates-{n}.json").exists()]
    for network, found in run_parallel(_pilot, pilots, workers):
        write_json(folder / f"rates-{network}.json", {"accuracy": found} | here_and_now())
        print(f"{network}: {best_rates(found)}", flush=True)
    jobs = ((n, k, read_rates(folder, n), file) for n, k, file in missing(folder, seeds))
    for result, file in run_parallel(_work, jobs, workers):
        write_json(Path(file), result)
        print(f"{result['network']}, seed {result['seed']}: {result['seconds']:.0f} s", flush=True)


def _pilot(network: str) -> tuple[str, dict[str, dict[str, float]]]:
    return network, pilot(network)


def _work(network: str, seed: int, rates: dict[str, float], file: str
          ) -> tuple[dict[str, Any], str]:  # fmt: skip
    return run_one(network, seed, rates) | {"torch": torch.__version__} | here_and_now(), file


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


def curve(results: list[dict[str, Any]], way: str, what: str = "accuracy") -> np.ndarray:
    """Return (seeds, budgets): NaN where training diverged."""
    return np.array([
        [math.nan if point[what] is None else point[what]
         for point in one["points"] if point["way"] == way]
        for one in results
    ])  # fmt: skip


def work_to_reach(budgets: np.ndarray, accuracies: np.ndarray, target: float) -> float:
    """Return the budget at which an accuracy is reached, between measured ones; NaN if never.

    Parameters
    ----------
    budgets : array, increasing
    accuracies : array
        Of a run of each budget.
    target : float

    Notes
    -----
    The first budget that reaches the target, and the line in log budget from the one before.
    """
    reached = np.flatnonzero(accuracies >= target)
    if not len(reached):
        return math.nan
    last = int(reached[0])
    if last == 0 or not accuracies[last - 1] < target:
        return float(budgets[last])
    low, high = accuracies[last - 1], accuracies[last]
    part = (target - low) / (high - low)
    return float(np.exp(np.interp(part, [0, 1], np.log(budgets[last - 1 : last + 1]))))


class Factor(NamedTuple):
    """How many times less work a way needs than another, for an accuracy.

    Attributes
    ----------
    way, against : str
    mean, low, high : float
        Geometric mean over the seeds and its 95 % interval, by pairs of one seed.
    reached : int
        Seeds in which both reached it; the others do not count.
    seeds : int
    """

    way: str
    against: str
    mean: float
    low: float
    high: float
    reached: int
    seeds: int


def factor(results: list[dict[str, Any]], way: str, against: str, target: float) -> Factor:
    """Compare two ways by the work to reach an accuracy, in percent."""
    logs = []
    for one in results:
        other, mine = (
            work_to_reach(curve([one], name, "budget")[0], curve([one], name)[0], target)
            for name in (against, way)
        )
        logs.append(math.log(other / mine))
    known = [value for value in logs if math.isfinite(value)]
    if len(known) < 2:
        return Factor(way, against, *(math.nan,) * 3, len(known), len(logs))
    mean, half = interval(known)
    low, middle, high = (math.exp(mean + s * half) for s in (-1, 0, 1))
    return Factor(way, against, middle, low, high, len(known), len(logs))


def front(points: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    """Return the ways of which some point no other way's point beats in both work and accuracy.

    Parameters
    ----------
    points : mapping of str to (work, accuracy)
        Mean work and mean accuracy of each budget.
    """
    found = []
    for way, (work, reached) in points.items():
        others = [(w, a) for name, pair in points.items() if name != way
                  for w, a in zip(*pair, strict=True)]  # fmt: skip
        if any(
            not any(w <= mine and a >= best and (w, a) != (mine, best) for w, a in others)
            for mine, best in zip(work, reached, strict=True) if math.isfinite(best)
        ):  # fmt: skip
            found.append(way)
    return found
