"""One training run inside a trial, with a checkpoint after every epoch.

A phase starts from weights, passes over its images for some epochs and is measured on the way.
Its checkpoint lies in a cache outside the record under a key made of everything that decides it,
so a kill costs one epoch, and a coarse network trained for one study serves every other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.checkpoints import Progress, load, save
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


# Passes once over the images in the given order, changing the weights in place, and returns what
# is to be noted of the epoch beside accuracy and loss.
Method = Callable[[Protocol, Objective, Images, Progress, Tensor], dict[str, Any]]


def sgd(
    protocol: Protocol, objective: Objective, images: Images, now: Progress, order: Tensor
) -> dict[str, Any]:
    """Run an epoch of stochastic gradients: the method of the baseline."""
    train_epoch(
        objective, now.weights, now.velocity, images.training, images.training_labels, order,
        rate=learning_rate(now.epoch + 1, protocol.learning_rate, protocol.rate_decay),
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
) -> Progress:
    """Train one network on one grid, resuming from `checkpoint` where there is one.

    Parameters
    ----------
    protocol : Protocol
    trial : int
    grid : {"coarse", "fine"}
        The order of the images is drawn for the grid, so that all fine arms see the same order.
    start : dict of Tensor
        Initial weights, of any floating dtype; not changed.
    images : Images
    checkpoint : Path or None
        File that is replaced after every epoch; None keeps nothing.
    tick : callable
        Called with the number of image-steps done since the last call.
    method : callable, optional
        What an epoch does; :func:`sgd` by default.
    epochs : int, optional
        The grid's number by default.

    Returns
    -------
    Progress
        At the last epoch, with measurements at every epoch from 0.
    """
    objective = protocol.objective(grid)
    if epochs is None:
        epochs = protocol.coarse_epochs if grid == "coarse" else protocol.fine_epochs
    device = images.training.device
    now = load(checkpoint, device)
    if now is None:
        dtype = getattr(torch, protocol.dtype)
        weights = {name: w.to(device, dtype, copy=True) for name, w in start.items()}
        now = Progress(0, weights, {name: torch.zeros_like(w) for name, w in weights.items()})
        _measure(protocol, objective, images, now, epochs)
    else:
        now.earlier = sum(now.seconds.values())
        tick(now.epoch * len(images.training))
        if grid == "coarse" and now.epoch >= epochs:
            now.earlier = 0.0  # another study's, which has counted it
    while now.epoch < epochs:
        began = time.perf_counter()
        order = torch.randperm(
            len(images.training), generator=stream(protocol.seed, trial, grid, now.epoch + 1)
        )
        told = (method or sgd)(protocol, objective, images, now, order.to(device))
        now.epoch += 1
        now.seconds["training"] += time.perf_counter() - began
        _measure(protocol, objective, images, now, epochs)
        now.history[-1] |= told
        save(checkpoint, now)
        tick(len(images.training))
    return now


def measured_images(protocol: Protocol, epoch: int, epochs: int) -> tuple[str, int | None]:
    """Return how the images an epoch is measured on are named, and how many of each kind they are.

    All of them, None, at the first, the second and the last of `epochs`; else the subset's halves.
    """
    everything = epoch in (0, 1, epochs)
    return ("all", None) if everything else ("subset", protocol.subset // 2)


def _measure(
    protocol: Protocol, objective: Objective, images: Images, now: Progress, epochs: int
) -> None:
    """Append the measurements of this epoch to the history."""
    began = time.perf_counter()
    kind, count = measured_images(protocol, now.epoch, epochs)
    row: dict[str, Any] = {"epoch": now.epoch, "images": kind}
    for name in ("training", "validation"):
        x, y = getattr(images, name)[:count], getattr(images, f"{name}_labels")[:count]
        measured = evaluate(objective, now.weights, x, y)
        row |= {f"{name}_{metric}": value for metric, value in measured.items()}
    now.history.append(row)
    now.seconds["evaluation"] += time.perf_counter() - began
