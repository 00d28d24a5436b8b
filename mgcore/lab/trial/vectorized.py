"""Train the networks of many trials together along one axis, as a GPU needs it.

Each network's checkpoint is written where :func:`mgcore.lab.trial.trial.run_trial` looks for it, in
the same form.  The trials then run one by one as usual: each finds its networks trained, measures
and records them.  All images lie on the device once, and trials draw from them by position.

Newton's methods run trial by trial, after the coarse networks have been trained together.  On a GPU
the classifier's Hessian product reads the cached features of its trial twice, 4 GB for 10,000
images without pooling: one trial alone is bound by memory, and a trial axis would save nothing.  A
conjugate-gradient iteration therefore only avoids waiting for the host more often than its
decisions need (:mod:`mgcore.optimize.truncated_cg`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from mgcore.data.images import DATASETS, Digits, normalise, prepare
from mgcore.grids import restrict
from mgcore.lab.protocol import CONDITIONS, Protocol, check_grid
from mgcore.lab.records.checkpoints import PhaseState, load, save
from mgcore.lab.records.schema import EpochRow
from mgcore.lab.trial.phases import Tick, measured_images, stream
from mgcore.lab.trial.trial import (
    checkpoint_file,
    draw_split,
    fresh_weights,
    refined_start,
)
from mgcore.thesis.ensemble import EnsembleTrainer, evaluate_ensemble, stack, unstack
from mgcore.thesis.lowerings import LOWERING
from mgcore.thesis.network import CLASSES, WIDTHS
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import learning_rate

CHECKPOINT_SECONDS = {"cpu": 0.0, "cuda": 30.0}  # between two checkpoints, at least
EVALUATED = {"cpu": 50, "cuda": 100}  # images of each network that are evaluated at a time
PREPARED = 10_000  # images that are prepared at a time


@dataclass(frozen=True)
class Run:
    """The training of one network: its trial, initial weights, checkpoint and progress callback."""

    trial: int
    place: int  # position of the trial on the axis of trials
    start: dict[str, Tensor]
    checkpoint: Path | None
    tick: Tick


@dataclass(frozen=True)
class ImagePool:
    """All images of one grid on the device, and the positions of each trial's images in them."""

    images: dict[str, Tensor]  # "training" and "validation", (count, 1, n, n)
    positions: dict[str, Tensor]  # the same names, (trials, images of a trial)
    labels: Tensor  # (count,)


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
    lowering : str
        One of :data:`mgcore.thesis.lowerings.LOWERINGS`.

    Raises
    ------
    ValueError
        If the device's memory does not hold a single trial, or the lowering cannot be used.
    """

    def train(group: Sequence[tuple[Any, ...]]) -> None:
        trial_ticks = {job[1]: ticks(job[1]) for job in group}
        advance(protocol, trial_ticks, device=device, cache=cache, code=code, lowering=lowering)

    for group, _ in in_groups(jobs, room(protocol, device), train):
        for job in group:
            yield function(*job)


Item = TypeVar("Item")
Result = TypeVar("Result")


def in_groups(
    items: Iterable[Item], size: int, work: Callable[[Sequence[Item]], Result]
) -> Iterator[tuple[Sequence[Item], Result]]:
    """Yield groups of items, and the result of `work` on each.

    Where a group does not fit into the device's memory, half of it is tried.

    Parameters
    ----------
    items : iterable
        Drawn only when a group begins.
    size : int
        Largest number of items of the first group.
    work : callable

    Raises
    ------
    ValueError
        If the memory does not hold one item.
    """
    items = iter(items)
    while group := list(islice(items, size)):
        while group:
            part, full = group[:size], False
            try:
                result = work(part)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                full = True
            if not full:
                yield part, result
                group = group[len(part) :]
                continue
            torch.cuda.empty_cache()  # here, where the error keeps no tensor alive
            if len(part) == 1:
                raise ValueError(
                    "The GPU's memory does not hold one trial of this study. Free memory on the "
                    "GPU, or choose device='cpu'; finished trials and checkpoints are kept."
                )
            size = len(part) // 2
            print(
                f"mgcore: the GPU's memory does not hold {len(part)} trials at once; {size} are "
                "trained together.",
                file=sys.stderr, flush=True,
            )  # fmt: skip


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that the device's memory is full."""
    text = str(error).lower()
    full = "out of memory" in text or "alloc_failed" in text
    return isinstance(error, torch.OutOfMemoryError) or full


def room(protocol: Protocol, device: str) -> int:
    """Return how many trials fit into the memory of the device; on a CPU, all."""
    if device != "cuda":
        return 1 << 30
    free, _ = torch.cuda.mem_get_info()
    return max(1, int((0.8 * free - pool_bytes(protocol)) / trial_bytes(protocol)))


def _itemsize(protocol: Protocol) -> int:
    return 8 if protocol.dtype == "float64" else 4


def pool_bytes(protocol: Protocol) -> int:
    """Estimate the bytes of the prepared images of both grids, which all trials share."""
    count = DATASETS[protocol.dataset].count
    count = count or protocol.n_coarse + protocol.n_fine + protocol.n_validation
    return _itemsize(protocol) * 3 * count * protocol.resolution**2


def trial_bytes(protocol: Protocol, batch: int = 50) -> int:
    """Estimate the bytes of a training step of one trial's fine networks."""
    pixels = protocol.resolution**2
    cells = protocol.coarse_side**2 * 4  # of the fine feature maps before the classifier
    first, second = WIDTHS
    # Patches of both layers, maps before and after each ReLU, and the gradients of all.
    step = 2 * batch * (9 * pixels + 9 * first * cells + 2 * first * pixels + 2 * second * cells)
    weights = 6 * CLASSES * second * cells
    return _itemsize(protocol) * len(CONDITIONS) * (step + weights)


def advance(
    protocol: Protocol,
    ticks: Mapping[int, Tick],
    *,
    device: str,
    cache: Path | None,
    code: Mapping[str, str] | None = None,
    lowering: str = LOWERING,
    coarse: Mapping[int, PhaseState] | None = None,
) -> dict[int, dict[str, PhaseState]]:
    """Train the networks of trials together, from their checkpoints to their last epochs.

    Parameters
    ----------
    protocol : Protocol
    ticks : mapping of int to callable
        For every trial, the callback for the image-steps done.
    device, cache, code
        As for :func:`mgcore.lab.trial.trial.run_trial`.
    lowering : str
        One of :data:`mgcore.thesis.lowerings.LOWERINGS`.
    coarse : mapping of int to PhaseState, optional
        The trained coarse network of every trial, from another study with the same coarse networks.

    Returns
    -------
    dict of dict of PhaseState
        By trial and network; for a study of Newton's methods only the coarse networks.
    """
    digits, _ = draw_split(protocol, 0)
    splits = [draw_split(protocol, trial, digits)[1] for trial in ticks]

    def file(trial: int, name: str, grid: str) -> Path | None:
        return cache and checkpoint_file(cache, protocol, trial, name, grid, device, code, digits)

    def train(grid: str, runs: list[Run], epochs: int) -> list[PhaseState]:
        pool = pooled_images(protocol, digits, splits, grid, device)
        return _train(protocol, grid, runs, pool, epochs, lowering)

    states: dict[int, dict[str, PhaseState]]
    if coarse is None:
        runs = [
            Run(t, i, fresh_weights(protocol, t, "coarse"), file(t, "coarse", "coarse"), tick)
            for i, (t, tick) in enumerate(ticks.items())
        ]
        trained = train("coarse", runs, protocol.coarse_epochs)
        states = {t: {"coarse": state} for t, state in zip(ticks, trained, strict=True)}
    else:
        states = {t: {"coarse": coarse[t]} for t in ticks}
    if protocol.newton_method:
        return states
    names = [(t, i, condition) for i, t in enumerate(ticks) for condition in CONDITIONS]
    runs = []
    for t, i, condition in names:
        begin = refined_start(protocol, t, condition, states[t]["coarse"].weights)
        runs.append(Run(t, i, begin, file(t, condition, "fine"), ticks[t]))
    trained = train("fine", runs, protocol.fine_epochs)
    for (t, _, condition), state in zip(names, trained, strict=True):
        states[t][condition] = state
    return states


def pooled_images(
    protocol: Protocol, digits: Digits, splits: Sequence[Sequence[Tensor]], grid: str, device: str
) -> ImagePool:
    """Return all images of one grid on the device, prepared as by ``grid_images``.

    Parameters
    ----------
    protocol : Protocol
    digits : Digits
        The pool.
    splits : sequence of (Tensor, Tensor, Tensor)
        For each trial, its indices for coarse training, fine training and validation.
    grid : {"coarse", "fine"}
    device : {"cpu", "cuda"}
    """
    check_grid(grid)
    dtype = getattr(torch, protocol.dtype)
    here = replace(digits, stored=digits.stored.to(device))

    def all_images(preparation: str) -> Tensor:
        parts = []
        for index in torch.arange(len(here), device=device).split(PREPARED):
            x = normalise(here.select(index, dtype), protocol.normalisation, dtype)
            x = restrict(x) if grid == "coarse" else prepare(x, preparation, protocol.prolongation)
            parts.append(x)
        return torch.cat(parts)

    preparations = {"training": protocol.fine_training, "validation": protocol.fine_validation}
    made = {how: all_images(how) for how in dict.fromkeys(preparations.values())}
    positions = {"training": 0 if grid == "coarse" else 1, "validation": 2}  # in a split
    return ImagePool(
        {name: made[how] for name, how in preparations.items()},
        {n: torch.stack([s[i] for s in splits]).to(device) for n, i in positions.items()},
        digits.labels.to(device),
    )


def _train(
    protocol: Protocol, grid: str, runs: list[Run], pool: ImagePool, epochs: int, lowering: str
) -> list[PhaseState]:
    """Train every network to its last epoch; after a kill, those with fewer epochs go first."""
    objective, device = protocol.objective(grid), pool.labels.device
    count = pool.positions["training"].shape[1]
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
    together: list[int] = []
    saved = time.monotonic()
    while (least := min(state.epoch for state in states)) < epochs:
        chosen = [i for i, state in enumerate(states) if state.epoch == least]
        group = [runs[i] for i in chosen]
        group_states = [states[i] for i in chosen]
        if chosen != together:
            trainer, together = _trainer(protocol, objective, group_states, pool, lowering), chosen
        _epoch(protocol, trainer, grid, group, group_states, pool, epochs)
        if least < 0:
            continue
        # Writing the networks of a large group takes longer than a GPU's epoch.
        wait = CHECKPOINT_SECONDS[device.type]
        due = least + 1 == epochs or time.monotonic() - saved >= wait
        for run, state in zip(group, group_states, strict=True):
            if due:
                save(run.checkpoint, state)
            run.tick(count)
        saved = time.monotonic() if due else saved
    return states


def _trainer(
    protocol: Protocol, objective: Objective, states: list[PhaseState], pool: ImagePool,
    lowering: str,
) -> EnsembleTrainer:  # fmt: skip
    """Return a trainer of networks, whose states become views of the trainer's weights."""
    trainer = EnsembleTrainer(
        objective, stack([state.weights for state in states]),
        stack([state.velocity for state in states]), pool.images["training"], pool.labels,
        batch=protocol.batch, momentum=protocol.momentum, nesterov=protocol.nesterov,
        rule=protocol.momentum_rule, lowering=lowering,
    )  # fmt: skip
    for state, weights, velocity in zip(
        states, unstack(trainer.weights), unstack(trainer.velocity), strict=True
    ):
        state.weights, state.velocity = weights, velocity
    return trainer


def _epoch(
    protocol: Protocol, trainer: EnsembleTrainer, grid: str, runs: list[Run],
    states: list[PhaseState], pool: ImagePool, epochs: int,
) -> None:  # fmt: skip
    """Train networks from one common epoch to the next, and measure them; epoch −1 is before 0."""
    began, device = time.perf_counter(), pool.labels.device
    epoch = states[0].epoch + 1
    dataset_index = torch.tensor([run.place for run in runs], device=device)
    if epoch:
        order = torch.zeros(pool.positions["training"].shape, dtype=torch.int64)
        for run in {run.place: run for run in runs}.values():  # the conditions share their images
            draw = stream(protocol.seed, run.trial, grid, epoch)
            order[run.place] = torch.randperm(order.shape[1], generator=draw)
        drawn = pool.positions["training"].gather(1, order.to(device))
        rate = learning_rate(epoch, protocol.learning_rate, protocol.rate_decay)
        trainer.epoch(drawn[dataset_index], rate)
    trained = time.perf_counter()
    kind, some = measured_images(protocol, epoch, epochs)
    rows: list[EpochRow] = [{"epoch": epoch, "images": kind} for _ in runs]
    for name, images in pool.images.items():
        measured = evaluate_ensemble(
            trainer.objective, trainer.weights, images, pool.labels,
            pool.positions[name][:, :some][dataset_index], batch=EVALUATED[device.type],
            lowering=trainer.lowering,
        )  # fmt: skip
        for row, one in zip(rows, measured, strict=True):
            row |= cast(EpochRow, {f"{name}_{metric}": v for metric, v in one.items()})
    shares = {"training": trained - began, "evaluation": time.perf_counter() - trained}
    for state, row in zip(states, rows, strict=True):
        state.epoch = epoch
        state.history.append(row)
        for what, seconds in shares.items():  # divided equally among the networks
            state.seconds[what] += seconds / len(states)
