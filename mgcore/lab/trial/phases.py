"""One training run inside a trial (a phase), with a checkpoint after every epoch.

A phase starts from weights, passes over its images for some epochs and is measured after each.  Its
checkpoint lies in a cache outside the record, under a key made of everything that determines the
result: a kill costs one epoch, and a coarse network trained for one study serves every other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.checkpoints import PhaseState, load, save
from mgcore.lab.records.schema import EpochRow
from mgcore.thesis.objective import Objective, evaluate
from mgcore.thesis.sgd import learning_rate, train_epoch

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Images:
    """Training and validation images of one grid, prepared, on the device."""

    training: Tensor  # (count, 1, n, n)
    training_labels: Tensor  # (count,)
    validation: Tensor  # (count, 1, n, n)
    validation_labels: Tensor  # (count,)


def stream(seed: int, trial: int, *purpose: str | int) -> torch.Generator:
    """Return the generator of one purpose in one trial, a function of its arguments alone."""
    text = json.dumps([seed, trial, *purpose])
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


# Passes once over the images in the given order, changes the weights in place, and returns what the
# row of the epoch records in addition to accuracy and loss.
Method = Callable[[Protocol, Objective, Images, PhaseState, Tensor], EpochRow]


def sgd(
    protocol: Protocol, objective: Objective, images: Images, state: PhaseState, order: Tensor
) -> EpochRow:
    """Run an epoch of stochastic gradient descent, the method of the baseline."""
    train_epoch(
        objective, state.weights, state.velocity, images.training, images.training_labels, order,
        rate=learning_rate(state.epoch + 1, protocol.learning_rate, protocol.rate_decay),
        batch=protocol.batch, momentum=protocol.momentum, nesterov=protocol.nesterov,
        rule=protocol.momentum_rule,
    )  # fmt: skip
    return {}


def run_phase(
    protocol: Protocol,
    trial: int,
    grid: str,
    start: dict[str, Tensor],
    images: Images,
    *,
    checkpoint: Path | None,
    tick: Tick = lambda work: None,
    method: Method | None = None,
    epochs: int | None = None,
) -> PhaseState:
    """Train one network on one grid, resuming from `checkpoint` where there is one.

    Parameters
    ----------
    protocol : Protocol
    trial : int
    grid : {"coarse", "fine"}
        The order of the images is drawn for the grid, so that all conditions see the same order.
    start : dict of Tensor
        Initial weights of any floating dtype; not changed.
    images : Images
    checkpoint : Path or None
        Replaced after every epoch; None saves nothing.
    tick : callable
        Called with the number of image-steps done since the last call.
    method : callable, optional
        What an epoch does; :func:`sgd` by default.
    epochs : int, optional
        The protocol's number for the grid by default.

    Returns
    -------
    PhaseState
        The state after the last epoch, with measurements after every epoch from 0.
    """
    objective = protocol.objective(grid)
    if epochs is None:
        epochs = protocol.coarse_epochs if grid == "coarse" else protocol.fine_epochs
    device = images.training.device
    state = load(checkpoint, device)
    if state is None:
        dtype = getattr(torch, protocol.dtype)
        weights = {name: w.to(device, dtype, copy=True) for name, w in start.items()}
        state = PhaseState(0, weights, {name: torch.zeros_like(w) for name, w in weights.items()})
        _measure(protocol, objective, images, state, epochs)
    else:
        state.seconds_before = sum(state.seconds.values())
        tick(state.epoch * len(images.training))
        if grid == "coarse" and state.epoch >= epochs:
            state.seconds_before = 0.0  # spent by another study, which has counted it
    while state.epoch < epochs:
        began = time.perf_counter()
        order = torch.randperm(
            len(images.training), generator=stream(protocol.seed, trial, grid, state.epoch + 1)
        )
        extra = (method or sgd)(protocol, objective, images, state, order.to(device))
        state.epoch += 1
        state.seconds["training"] += time.perf_counter() - began
        _measure(protocol, objective, images, state, epochs)
        state.history[-1] |= extra
        save(checkpoint, state)
        tick(len(images.training))
    return state


def measured_images(protocol: Protocol, epoch: int, epochs: int) -> tuple[str, int | None]:
    """Return the name and the number of the images on which an epoch is measured.

    They are all images (None) after epochs 0, 1 and the last of `epochs`; else half of the subset
    from the training images and half from the validation images.
    """
    measure_all = epoch in (0, 1, epochs)
    return ("all", None) if measure_all else ("subset", protocol.subset // 2)


def _measure(
    protocol: Protocol, objective: Objective, images: Images, state: PhaseState, epochs: int
) -> None:
    """Append the measurements of this epoch to the history."""
    began = time.perf_counter()
    kind, count = measured_images(protocol, state.epoch, epochs)
    row: EpochRow = {"epoch": state.epoch, "images": kind}
    for name in ("training", "validation"):
        x, y = getattr(images, name)[:count], getattr(images, f"{name}_labels")[:count]
        measured = evaluate(objective, state.weights, x, y)
        row |= cast(EpochRow, {f"{name}_{metric}": v for metric, v in measured.items()})
    state.history.append(row)
    state.seconds["evaluation"] += time.perf_counter() - began
