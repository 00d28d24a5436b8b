"""Train the networks of many trials together along one axis, as a GPU needs it.

After every epoch each network's checkpoint is written where
:func:`mgcore.lab.trial.trial.run_trial` looks for it, in the same form.  The trials then run one by
one as usual: each finds its networks trained, measures and records them.  The work of Newton's
methods depends on the data, so for them only the coarse networks are trained together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.records.checkpoints import PhaseState, load, save
from mgcore.lab.records.schema import EpochRow
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
    """The training of one network: its trial, initial weights, checkpoint and progress callback."""

    trial: int
    place: int  # position of the trial's images on the axis of trials
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
    """Yield ``function(*job)`` for every job, after training the networks of many jobs together.

    Parameters
    ----------
    function : callable
        Runs a trial; the second entry of a job is its number.
    jobs : iterable of tuples
        As many are drawn at a time as fit into the device's memory.
    ticks : callable
        From a trial's number to the callback for its image-steps.
    protocol : Protocol
    device, cache, code
        As for :func:`mgcore.lab.trial.trial.run_trial`.
    lowering : {"grouped", "unfold"}
        See :mod:`mgcore.thesis.ensemble`.
    """
    jobs = iter(jobs)
    while group := list(islice(jobs, room(protocol, device))):
        trial_ticks = {job[1]: ticks(job[1]) for job in group}
        advance(protocol, trial_ticks, device=device, cache=cache, code=code, lowering=lowering)
        for job in group:
            yield function(*job)


def room(protocol: Protocol, device: str) -> int:
    """Return how many trials fit into the memory of the device; on a CPU, all."""
    if device != "cuda":
        return 1 << 30
    free, _ = torch.cuda.mem_get_info()
    return max(1, int(0.8 * free / trial_bytes(protocol)))


def trial_bytes(protocol: Protocol, batch: int = 50) -> int:
    """Estimate the bytes of one trial's images and of a training step of its fine networks."""
    pixels = protocol.resolution**2
    cells = protocol.coarse_side**2 * 4  # of the fine feature maps before the classifier
    images = (protocol.n_coarse + protocol.n_validation) * pixels // 4
    images += (protocol.n_fine + protocol.n_validation) * pixels
    first, second = WIDTHS
    # Patches of both layers, maps before and after each ReLU, and the gradients of all.
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
        For every trial, the callback for the image-steps done.
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
        for condition in CONDITIONS:
            begin = refined_start(protocol, t, condition, trained.weights)
            runs.append(Run(t, i, begin, file(t, condition, "fine"), tick))
    _train(protocol, "fine", runs, images("fine"), protocol.fine_epochs, lowering)


def _stacked(each: list[Images]) -> Images:
    names = ("training", "training_labels", "validation", "validation_labels")
    return Images(*(torch.stack([getattr(one, name) for one in each]) for name in names))


def _train(
    protocol: Protocol, grid: str, runs: list[Run], images: Images, epochs: int, lowering: str
) -> list[PhaseState]:
    """Train every network to its last epoch; after a kill, those with fewer epochs go first."""
    objective, device = protocol.objective(grid), images.training.device
    count = images.training.shape[1]
    states: list[PhaseState] = []
    for run in runs:
        state = load(run.checkpoint, device)
        if state is None:
            dtype = getattr(torch, protocol.dtype)
            weights = {name: w.to(device, dtype, copy=True) for name, w in run.start.items()}
            state = PhaseState(
                -1, weights, {name: torch.zeros_like(w) for name, w in weights.items()}
            )
        else:
            run.tick(state.epoch * count)
        states.append(state)
    while (least := min(state.epoch for state in states)) < epochs:
        chosen = [i for i, state in enumerate(states) if state.epoch == least]
        group = [runs[i] for i in chosen]
        group_states = [states[i] for i in chosen]
        _epoch(protocol, objective, grid, group, group_states, images, epochs, lowering)
        if least >= 0:
            for run, state in zip(group, group_states, strict=True):
                save(run.checkpoint, state)
                run.tick(count)
    return states


def _epoch(
    protocol: Protocol, objective: Objective, grid: str, runs: list[Run], states: list[PhaseState],
    images: Images, epochs: int, lowering: str,
) -> None:  # fmt: skip
    """Train networks from one common epoch to the next, and measure them; epoch −1 is before 0."""
    began, device = time.perf_counter(), images.training.device
    epoch = states[0].epoch + 1
    weights = stack([state.weights for state in states])
    velocity = stack([state.velocity for state in states])
    dataset_index = torch.tensor([run.place for run in runs], device=device)
    if epoch:
        count = images.training.shape[1]
        order = torch.zeros(images.training.shape[:2], dtype=torch.int64)
        for run in runs:
            draw = stream(protocol.seed, run.trial, grid, epoch)
            order[run.place] = torch.randperm(count, generator=draw)
        train_ensemble_epoch(
            objective, weights, velocity, images.training, images.training_labels,
            order.to(device), dataset_index, rate=learning_rate(
                epoch, protocol.learning_rate, protocol.rate_decay
            ), batch=protocol.batch, momentum=protocol.momentum, nesterov=protocol.nesterov,
            rule=protocol.momentum_rule, lowering=lowering,
        )  # fmt: skip
    trained = time.perf_counter()
    kind, some = measured_images(protocol, epoch, epochs)
    rows: list[EpochRow] = [{"epoch": epoch, "images": kind} for _ in runs]
    for name in ("training", "validation"):
        x, y = getattr(images, name)[:, :some], getattr(images, f"{name}_labels")[:, :some]
        measured = evaluate_ensemble(objective, weights, x, y, dataset_index, lowering=lowering)
        for row, one in zip(rows, measured, strict=True):
            row |= cast(EpochRow, {f"{name}_{metric}": v for metric, v in one.items()})
    shares = {"training": trained - began, "evaluation": time.perf_counter() - trained}
    for i, (state, row) in enumerate(zip(states, rows, strict=True)):
        state.epoch, state.weights, state.velocity = (
            epoch,
            unstack(weights)[i],
            unstack(velocity)[i],
        )
        state.history.append(row)
        for what, seconds in shares.items():  # divided equally among the networks
            state.seconds[what] += seconds / len(states)
