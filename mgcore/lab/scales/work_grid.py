"""Accuracy against work on one grid of tasks, strategies, budgets and seeds.

A pilot on a seed of its own chooses each strategy's learning rate, ``rates-TASK.json``; a file
``TASK-SEED.json`` then holds a point for every strategy and budget.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NotRequired, TypedDict, cast

import torch
from torch import Tensor, nn

from mgcore.lab.records.files import read_json
from mgcore.lab.run.pending import run_missing
from mgcore.lab.scales.kernel_maps import (
    galerkin_growth,
    map_kernels,
    with_linear_rate,
    with_warmup,
)
from mgcore.lab.scales.strategies import BATCH, Strategy
from mgcore.lab.scales.tasks import TASKS, Data, Task
from mgcore.lab.trial.phases import stream
from mgcore.refinement.module import refine
from mgcore.train.budgeted import Level, Optimizer, Scheme, Spent, train

PILOT_SEED = 1_000
MOMENTUM = 0.9


class Point(TypedDict):
    """The outcome of one strategy with one budget; keys as in the records."""

    way: str  # the strategy's name
    budget: int  # inputs of the fine grid
    rate: float  # learning rate on the fine grid
    accuracy: float | None  # score of validation inputs, in percent; None where training diverged
    work: NotRequired[float]  # of the budget, what was used; the first records of films lack it
    flops: float
    seconds: float
    steps: int


class Result(TypedDict):
    """All points of a task with one seed; keys as in the records."""

    network: str  # the task's name
    seed: int
    points: list[Point]
    seconds: float
    torch: NotRequired[str]
    machine: NotRequired[str]
    date: NotRequired[str]


def train_with_budget(
    strategy: Strategy, task: Task, budget: int, data: Data, seed: int, rate: float | None = None
) -> tuple[nn.Module, list[Spent]]:
    """Train a network by one strategy until a budget is used up.

    Parameters
    ----------
    strategy : Strategy
    task : Task
    budget : int
        In inputs of the fine grid.
    data : Data
    seed : int
        Of the initial weights and of the order of inputs.
    rate : float, optional
        Learning rate on the fine grid; by default that of the coarse grid.

    Returns
    -------
    model : Module
        On the fine grid.
    spent : list of Spent
        For each grid, the coarse one first.
    """
    rate = task.coarse_rate if rate is None else rate
    if rate is None:
        raise ValueError("This task has no learning rate of its own. Pass one as rate.")
    coarse_rate = rate if task.coarse_rate is None else task.coarse_rate
    coarse_rate *= strategy.coarse_batch / BATCH
    order = stream(seed, budget, task.order)
    descent = partial(torch.optim.SGD, momentum=MOMENTUM, nesterov=True)
    axes, side = strategy.coarse_axes, data.training.shape[-1]
    coarse = int(budget * strategy.coarse_share)
    halved = coarse and data.training.ndim - 3 in axes  # whether the last axis is coarse first
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = task.network(side // 2 if halved else side)
    spent = []
    if coarse:
        inputs = task.coarsen(data.training, axes)
        maps = data.labels.ndim > 1
        labels = task.coarsen(data.labels, axes) if maps else data.labels
        level = Level(inputs, labels, round(coarse / 0.5 ** len(axes)))
        loss: Callable[..., Tensor] = task.loss
        if strategy.penalty:
            loss = partial(_penalised, loss=loss, model=model, weight=strategy.penalty)
        coarse_optimizer: Optimizer = partial(descent, lr=coarse_rate)
        if task.decay:
            steps = max(1, level.budget // strategy.coarse_batch)
            coarse_optimizer = with_linear_rate(coarse_optimizer, 1, 1 - coarse / budget, steps)
        spent.append(
            train(
                model, level, order, scheme=Scheme(batches=(strategy.coarse_batch,)),
                optimizer=coarse_optimizer, loss=loss,
            )
        )  # fmt: skip
        model = refine(
            model, inputs.shape[1:], stencils=strategy.stencils,
            prolongation=strategy.prolongation, axes=axes,
        )  # fmt: skip
        if strategy.kernel_map:
            map_kernels(model, strategy.kernel_map)
    optimizer: Optimizer = partial(descent, lr=rate)
    if strategy.warmup:
        optimizer = with_warmup(optimizer, strategy.warmup)
    if task.decay:
        steps = int((budget - coarse) / strategy.scheme.step_work(data.training.ndim - 2))
        optimizer = with_linear_rate(optimizer, 1 - coarse / budget, 0, max(1, steps))
    level = Level(data.training, data.labels, budget - coarse)
    grids = max(1, len(strategy.scheme.batches) - 1)
    spent.append(
        train(
            model, level, order, scheme=strategy.scheme, below=grids, optimizer=optimizer,
            loss=task.loss,
        )
    )  # fmt: skip
    return model, spent


def _penalised(
    outputs: Tensor, labels: Tensor, loss: Callable[..., Tensor], model: nn.Module, weight: float
) -> Tensor:
    return loss(outputs, labels) + weight * galerkin_growth(model)


def validation_score(model: nn.Module, task: Task, data: Data) -> float | None:
    """Return the score on validation inputs in percent, None if a weight is not finite."""
    if not all(torch.isfinite(w).all() for w in model.parameters()):
        return None
    return task.score(model, data.validation, data.validation_labels)


def pilot(task: Task, data: Data | None = None) -> dict[str, dict[str, float | None]]:
    """Return the mean score in percent over the pilot's budgets, by strategy and learning rate.

    It is None where training diverges with one of the budgets: a diverged network has no score, and
    a score may be negative.
    """
    data = data or task.draw(PILOT_SEED)
    scores: dict[str, dict[str, float | None]] = {}
    for name, strategy in task.strategies.items():
        scores[name] = {}
        for rate in task.rates:
            found = []
            for budget in task.pilot_budgets:
                model, _ = train_with_budget(strategy, task, budget, data, PILOT_SEED, rate)
                found.append(validation_score(model, task, data))
            finite = [score for score in found if score is not None]
            scores[name][str(rate)] = fmean(finite) if len(finite) == len(found) else None
    return scores


def best_rates(scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Return the learning rate with which each strategy has the highest score.

    Of equal ones it is the largest; where training diverges at every rate, the smallest.
    """
    best = {}
    for name, by_rate in scores.items():
        finite = [(value, float(rate)) for rate, value in by_rate.items() if value is not None]
        best[name] = max(finite)[1] if finite else min(map(float, by_rate))
    return best


def run_seed(
    name: str, task: Task, seed: int, rates: dict[str, float], data: Data | None = None
) -> Result:
    """Train by every strategy of a task with each of its budgets, from the same initial weights."""
    began, data, points = time.perf_counter(), data or task.draw(seed), list[Point]()
    cells = math.prod(data.training.shape[2:])
    for strategies, budgets in task.plan:
        for (way, strategy), budget in itertools.product(strategies.items(), budgets):
            model, spent = train_with_budget(strategy, task, budget, data, seed, rates[way])
            points.append({
                "way": way, "budget": budget, "rate": rates[way],
                "accuracy": validation_score(model, task, data),
                "work": float(sum(one.work * (math.prod(one.shape[1:]) / cells) for one in spent)),
                "flops": sum(one.flops for one in spent),
                "seconds": round(sum(one.seconds for one in spent), 3),
                "steps": sum(one.steps for one in spent),
            })  # fmt: skip
    seconds = round(time.perf_counter() - began, 1)
    return {"network": name, "seed": seed, "points": points, "seconds": seconds}


# Jobs name their task, so that a worker process needs no copy of it.
def _pilot_job(name: str) -> dict[str, Any]:
    return {"network": name, "accuracy": pilot(TASKS[name])}


def _seed_job(name: str, seed: int, rates: dict[str, float]) -> dict[str, Any]:
    return dict(run_seed(name, TASKS[name], seed, rates))


def run_work_grid(folder: Path, workers: int | None = None) -> None:
    """Run the pilots and seeds of every task whose files are absent from a folder."""
    pilots = [(folder / f"rates-{name}.json", (name,)) for name in TASKS]
    for one in run_missing(_pilot_job, pilots, workers):
        print(f"{one['network']}: {best_rates(one['accuracy'])}", flush=True)
    jobs = (
        (folder / f"{name}-{seed}.json", (name, seed, read_rates(folder, name)))
        for seed, name in itertools.product(range(max(t.seeds for t in TASKS.values())), TASKS)
        if seed < TASKS[name].seeds
    )
    for one in run_missing(_seed_job, jobs, workers):
        print(f"{one['network']}, seed {one['seed']}: {one['seconds']:.0f} s", flush=True)


def read_rates(folder: Path, name: str) -> dict[str, float]:
    """Return the learning rate of each strategy that the pilot of a task chose."""
    return best_rates(read_json(folder / f"rates-{name}.json")["accuracy"])


def read_results(folder: Path, name: str) -> list[Result]:
    """Return the recorded results of one task, one for each seed.

    Raises
    ------
    RecordError
        If a file is truncated or altered.
    """
    return [cast(Result, read_json(file)) for file in sorted(folder.glob(f"{name}-[0-9]*.json"))]
