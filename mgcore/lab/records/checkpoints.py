"""Where a training run stands: kept outside the record, and read back whole or not at all.

A checkpoint is an uncompressed ``.npz`` of weights and velocities, with the rest as JSON and a
SHA-256 over all of it.  No pickle is written or read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mgcore.lab.records.files import unwritable, write_atomically

# What reading a file may raise that is no checkpoint, or was altered: zip has a flag for
# encryption and a number for the compression, and either may be what was altered.
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, RuntimeError,
    OverflowError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def default_cache() -> Path:
    """Return the folder of checkpoints: ``MGCORE_CACHE``, else below the user's cache."""
    named = os.environ.get("MGCORE_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mgcore" / "trials"


@dataclass
class Progress:
    """Where a phase stands: what a checkpoint holds."""

    epoch: int
    weights: dict[str, Tensor]
    velocity: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, float] = field(default_factory=dict)  # of a Newton method: radius, work
    seconds: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "evaluation": 0.0})
    earlier: float = 0.0  # seconds spent on it before it was loaded; not kept


def save(path: Path | None, now: Progress) -> None:
    """Replace the checkpoint atomically; a full disk or a kill leaves the one before."""
    if path is None:
        return
    arrays = {f"weights/{k}": v.cpu().numpy() for k, v in now.weights.items()}
    arrays |= {f"velocity/{k}": v.cpu().numpy() for k, v in now.velocity.items()}
    about = {"epoch": now.epoch, "history": now.history, "seconds": now.seconds}
    about["state"] = now.state
    arrays["about"] = np.array(json.dumps(about))
    arrays["sha256"] = np.array(_digest(arrays))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable("cache", path, error) from None
    write_atomically(path, buffer.getvalue(), "cache")


def load(path: Path | None, device: torch.device | str) -> Progress | None:
    """Return the checkpoint, or None where there is none or it cannot be read whole.

    A damaged checkpoint costs time and nothing else: the phase is computed again.  One written
    before there was a SHA-256 is held by the checksums of its zip members alone.
    """
    if path is None or not path.exists():
        return None
    try:
        with open(path, "rb") as whole, np.load(whole, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if "sha256" in arrays and str(arrays.pop("sha256")) != _digest(arrays):
            return None
        about = json.loads(str(arrays.pop("about")))
        states: dict[str, dict[str, Tensor]] = {"weights": {}, "velocity": {}}
        for name, array in arrays.items():
            kind, _, key = name.partition("/")
            states[kind][key] = torch.from_numpy(array).to(device)
        return Progress(
            about["epoch"], history=about["history"], seconds=about["seconds"],
            state=about.get("state", {}), **states,
        )  # fmt: skip
    except DAMAGE:
        return None


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
