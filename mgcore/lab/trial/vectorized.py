"""Trials of a study, and their arms, advanced together along one axis: what a GPU runs.

Every network is checkpointed after every epoch where :func:`mgcore.lab.trial.trial.run_trial` looks for
it, in the same form.  A trial is then run as ever: it finds its networks trained, and measures and
records them.  What depends on the data in its length, Newton's methods, is not advanced together:
there the coarse networks are, and the rest runs trial by trial.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.records.checkpoints import Progress, load, save
from mgcore.lab.trial.phases import Images, Tick, measured_images, stream
from mgcore.lab.trial.trial import (
    checkpoint_file,
    draw_split,
    fresh_weights,
    grid_images,
    refined_start,
)
from mgcore.thesis.ensemble import LOWERING, evaluate_ensemble, stack, train_ensemble_epoch, unstack
from mgcore.thesis.network import CLASSES, WIDTHS
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import learning_rate


@dataclass(frozen=True)
class Run:
    """One network's training: whose it is, where it begins and where it is kept."""

    trial: int
    place: int  # of the trial's images among those of all
    start: dict[str, Tensor]
    checkpoint: Path
    tick: Tick


def run_vectorized(
    function: Callable[..., Any],
    jobs: Iterable[tuple[Any, ...]],
    ticks: Callable[[int], Tick],
    protocol: Protocol,
    *,
    device: str,
    cache: Path,
    code: Mapping[str, str],
    lowering: str = LOWERING,
) -> Iterator[Any]:
    """Yield ``function(*job)`` for every job, after the networks of many were trained together.

    Parameters
    ----------
    function : callable
        Runs a trial; the second entry of a job is its number.
    jobs : iterable of tuples
        As many are drawn at a time as the device has room for.
    ticks : callable
        Number of a trial ↦ what is told the image-steps done in it.
    protocol : Protocol
    device, cache, code
        As for :func:`mgcore.lab.trial.trial.run_trial`.
    lowering : {"grouped", "unfold"}
        See :mod:`mgcore.thesis.ensemble`.
    """
    jobs = iter(jobs)
    while group := list(islice(jobs, room(protocol, device))):
        told = {job[1]: ticks(job[1]) for job in group}
        advance(protocol, told, device=device, cache=cache, code=code, lowering=lowering)
        for job in group:
            yield function(*job)


def room(protocol: Protocol, device: str) -> int:
    """Return how many trials fit into the memory of the device; on a CPU, all."""
    if device != "cuda":
        return 1 << 30
    free, _ = torch.cuda.mem_get_info()
    return max(1, int(0.8 * free / trial_bytes(protocol)))


def trial_bytes(protocol: Protocol, batch: int = 50) -> int:
    """Estimate the memory of one trial's images and of a step of its arms on the fine grid."""
    pixels = protocol.resolution**2
    cells = protocol.coarse_side**2 * 4  # of the fine maps that the classifier reads
    images = (protocol.n_coarse + protocol.n_validation) * pixels // 4
    images += (protocol.n_fine + protocol.n_validation) * pixels
    first, second = WIDTHS
    # Patches of both layers and their gradients; maps before and after each ReLU, and theirs.
    step = 2 * batch * (9 * pixels + 9 * first * cells + 2 * first * pixels + 2 * second * cells)
    weights = 6 * CLASSES * second * cells
    return (8 if protocol.dtype == "float64" else 4) * (
        2 * images + len(CONDITIONS) * (step + weights)
    )


def advance(
    protocol: Protocol,
    ticks: Mapping[int, Tick],
    *,
    device: str,
    cache: Path,
    code: Mapping[str, str] | None = None,
    lowering: str = LOWERING,
) -> None:
    """Train the networks of trials together, from their checkpoints to their last epochs.

    Parameters
    ----------
    protocol : Protocol
    ticks : mapping of int to callable
        For every trial, what is told the image-steps done.
    device, cache, code
        As for :func:`mgcore.lab.trial.trial.run_trial`.
    lowering : {"grouped", "unfold"}
    """
    digits, _ = draw_split(protocol, 0)
    splits = {trial: draw_split(protocol, trial, digits)[1] for trial in ticks}

    def file(trial: int, name: str, grid: str) -> Path:
        return checkpoint_file(cache, protocol, trial, name, grid, device, code, digits)

    def images(grid: str) -> Images:
        return _stacked([grid_images(protocol, digits, s, grid, device) for s in splits.values()])

    runs = [
        Run(t, i, fresh_weights(protocol, t, "coarse"), file(t, "coarse", "coarse"), tick)
        for i, (t, tick) in enumerate(ticks.items())
    ]
    coarse = _train(protocol, "coarse", runs, images("coarse"), protocol.coarse_epochs, lowering)
    if protocol.newton_method:
        return
    runs = []
    for i, ((t, tick), trained) in enumerate(zip(ticks.items(), coarse, strict=True)):
        for arm in CONDITIONS:
            begin = refined_start(protocol, t, arm, trained.weights)
            runs.append(Run(t, i, begin, file(t, arm, "fine"), tick))
    _train(protocol, "fine", runs, images("fine"), protocol.fine_epochs, lowering)


def _stacked(each: list[Images]) -> Images:
    names = ("training", "training_labels", "validation", "validation_labels")
    return Images(*(torch.stack([getattr(one, name) for one in each]) for name in names))


def _train(
    protocol: Protocol, grid: str, runs: list[Run], images: Images, epochs: int, lowering: str
) -> list[Progress]:
    """Bring every run to its last epoch; those that lag behind after a kill go first."""
    objective, device = protocol.objective(grid), images.training.device
    count = images.training.shape[1]
    nows: list[Progress] = []
    for run in runs:
        now = load(run.checkpoint, device)
        if now is None:
            dtype = getattr(torch, protocol.dtype)
            weights = {name: w.to(device, dtype, copy=True) for name, w in run.start.items()}
            now = Progress(-1, weights, {name: torch.zeros_like(w) for name, w in weights.items()})
        else:
            run.tick(now.epoch * count)
        nows.append(now)
    while (least := min(now.epoch for now in nows)) < epochs:
        chosen = [i for i, now in enumerate(nows) if now.epoch == least]
        behind, state = [runs[i] for i in chosen], [nows[i] for i in chosen]
        _epoch(protocol, objective, grid, behind, state, images, epochs, lowering)
        if least >= 0:
            for run, now in zip(behind, state, strict=True):
                save(run.checkpoint, now)
                run.tick(count)
    return nows


def _epoch(
    protocol: Protocol, objective: Objective, grid: str, runs: list[Run], nows: list[Progress],
    images: Images, epochs: int, lowering: str,
) -> None:  # fmt: skip
    """Train networks that stand at one epoch to the next, and measure them; −1 is the start."""
    began, device = time.perf_counter(), images.training.device
    epoch = nows[0].epoch + 1
    weights = stack([now.weights for now in nows])
    velocity = stack([now.velocity for now in nows])
    of = torch.tensor([run.place for run in runs], device=device)
    if epoch:
        count = images.training.shape[1]
        order = torch.zeros(images.training.shape[:2], dtype=torch.int64)
        for run in runs:
            draw = stream(protocol.seed, run.trial, grid, epoch)
            order[run.place] = torch.randperm(count, generator=draw)
        train_ensemble_epoch(
            objective, weights, velocity, images.training, images.training_labels,
            order.to(device), of, rate=learning_rate(
                epoch, protocol.learning_rate, protocol.rate_decay
            ), batch=protocol.batch, momentum=protocol.momentum, nesterov=protocol.nesterov,
            rule=protocol.momentum_rule, lowering=lowering,
        )  # fmt: skip
    trained = time.perf_counter()
    kind, some = measured_images(protocol, epoch, epochs)
    rows: list[dict[str, Any]] = [{"epoch": epoch, "images": kind} for _ in runs]
    for name in ("training", "validation"):
        x, y = getattr(images, name)[:, :some], getattr(images, f"{name}_labels")[:, :some]
        measured = evaluate_ensemble(objective, weights, x, y, of, lowering=lowering)
        for row, one in zip(rows, measured, strict=True):
            row |= {f"{name}_{metric}": value for metric, value in one.items()}
    shares = {"training": trained - began, "evaluation": time.perf_counter() - trained}
    for i, (now, row) in enumerate(zip(nows, rows, strict=True)):
        now.epoch, now.weights, now.velocity = epoch, unstack(weights)[i], unstack(velocity)[i]
        now.history.append(row)
        for what, seconds in shares.items():  # each network's share of the time of all
            now.seconds[what] += seconds / len(nows)
