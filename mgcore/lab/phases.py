"""One training run inside a trial, with a checkpoint after every epoch.

A phase starts from weights, passes over its images for some epochs and is measured on the way.
Its checkpoint lies in a cache outside the record under a key made of everything that decides it,
so a kill costs one epoch, and a coarse network trained for one study serves every other.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mgcore.lab.files import unwritable, write_atomically
from mgcore.lab.protocol import Protocol
from mgcore.objective import Objective, evaluate
from mgcore.sgd import learning_rate, train_epoch

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Images:
    """Training and validation images of one grid, prepared, on the device."""

    training: Tensor  # (count, 1, n, n)
    training_labels: Tensor  # (count,)
    validation: Tensor  # (count, 1, n, n)
    validation_labels: Tensor  # (count,)


@dataclass
class Progress:
    """Where a phase stands: what a checkpoint holds."""

    epoch: int
    weights: dict[str, Tensor]
    velocity: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, float] = field(default_factory=dict)  # of a Newton method: radius, work
    seconds: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "evaluation": 0.0})


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
    now = _load(checkpoint, device)
    if now is None:
        dtype = getattr(torch, protocol.dtype)
        weights = {name: w.to(device, dtype, copy=True) for name, w in start.items()}
        now = Progress(0, weights, {name: torch.zeros_like(w) for name, w in weights.items()})
        _measure(protocol, objective, images, now, epochs)
    else:
        tick(now.epoch * len(images.training))
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
        _save(checkpoint, now)
        tick(len(images.training))
    return now


def _measure(
    protocol: Protocol, objective: Objective, images: Images, now: Progress, epochs: int
) -> None:
    """Append the measurements of this epoch to the history."""
    began = time.perf_counter()
    everything = now.epoch in (0, 1, epochs)
    count = None if everything else protocol.subset // 2
    row: dict[str, Any] = {"epoch": now.epoch, "images": "all" if everything else "subset"}
    for name in ("training", "validation"):
        x, y = getattr(images, name)[:count], getattr(images, f"{name}_labels")[:count]
        measured = evaluate(objective, now.weights, x, y)
        row |= {f"{name}_{metric}": value for metric, value in measured.items()}
    now.history.append(row)
    now.seconds["evaluation"] += time.perf_counter() - began


def _save(path: Path | None, now: Progress) -> None:
    """Replace the checkpoint atomically; a full disk or a kill leaves the one before."""
    if path is None:
        return
    arrays = {f"weights/{k}": v.cpu().numpy() for k, v in now.weights.items()}
    arrays |= {f"velocity/{k}": v.cpu().numpy() for k, v in now.velocity.items()}
    about = {"epoch": now.epoch, "history": now.history, "seconds": now.seconds}
    about["state"] = now.state
    arrays["about"] = np.array(json.dumps(about))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable("cache", path, error) from None
    write_atomically(path, buffer.getvalue(), "cache")


def _load(path: Path | None, device: torch.device) -> Progress | None:
    """Return the checkpoint, or None where there is none or it cannot be read whole.

    A damaged checkpoint costs time and nothing else: zip members carry a checksum, and the phase
    is computed again.
    """
    if path is None or not path.exists():
        return None
    try:
        with open(path, "rb") as whole, np.load(whole, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            states: dict[str, dict[str, Tensor]] = {"weights": {}, "velocity": {}}
            for name in file.files:
                kind, _, key = name.partition("/")
                if key:
                    states[kind][key] = torch.from_numpy(file[name]).to(device)
        return Progress(
            about["epoch"], history=about["history"], seconds=about["seconds"],
            state=about.get("state", {}), **states,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
