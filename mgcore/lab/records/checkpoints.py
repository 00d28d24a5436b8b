"""Save and load the state of a training run, outside the record.

A checkpoint is an uncompressed ``.npz`` of weights and velocities, with the rest as JSON and a
SHA-256 over all of it.  No pickle is written or read.  A damaged checkpoint counts as none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tempfile
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
from mgcore.lab.records.schema import EpochRow

# The errors of reading a file that is no archive of arrays, or was altered: the zip format has a
# flag for encryption and a number for the compression, and either may have been altered.
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, RuntimeError,
    OverflowError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip


def default_cache() -> Path:
    """Return the folder of checkpoints: ``MGCORE_CACHE``, else one in the user's cache.

    The user's cache is the platform's: ``~/.cache/mgcore/trials`` on Linux.  Without a home folder
    (no ``HOME`` and a user id without an account) it is a folder for temporary files.
    """
    if named := os.environ.get("MGCORE_CACHE"):
        return Path(named)
    import platformdirs  # here: a machine with a GPU may have torch alone

    try:
        cache = platformdirs.user_cache_path("mgcore", appauthor=False)
        found = cache.is_absolute()  # older versions of platformdirs leave the "~" as it is
    except RuntimeError:  # newer ones raise without a home folder
        found = False
    if not found:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        cache = Path(tempfile.gettempdir()) / f"mgcore-{user}"
    return cache / "trials"


@dataclass
class PhaseState:
    """The state of one network's training after an epoch: the content of a checkpoint.

    Attributes
    ----------
    epoch : int
        Epochs done.
    weights, velocity : dict of Tensor
    history : list of EpochRow
        The measurements after each epoch, from epoch 0.
    method_state : dict of float
        What a Newton method carries from epoch to epoch: radius, work.
    seconds : dict of float
        Spent in ``"training"`` and ``"evaluation"``.
    seconds_before : float
        Spent before the state was loaded from its checkpoint; not saved.
    """

    epoch: int
    weights: dict[str, Tensor]
    velocity: dict[str, Tensor]
    history: list[EpochRow] = field(default_factory=list)
    method_state: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "evaluation": 0.0})
    seconds_before: float = 0.0


def save(path: Path | None, state: PhaseState) -> None:
    """Replace the checkpoint atomically: after a full disk or a kill the old one is still whole."""
    if path is None:
        return
    arrays: dict[str, Any] = {f"weights/{k}": v.cpu().numpy() for k, v in state.weights.items()}
    arrays |= {f"velocity/{k}": v.cpu().numpy() for k, v in state.velocity.items()}
    about = {"epoch": state.epoch, "history": state.history, "seconds": state.seconds}
    about["state"] = state.method_state
    arrays["about"] = np.array(json.dumps(about))
    arrays["sha256"] = np.array(_digest(arrays))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable("cache", path, error) from None
    write_atomically(path, buffer.getvalue(), "cache")


def load(path: Path | None, device: torch.device | str) -> PhaseState | None:
    """Return the state saved at `path`, or None if there is none or the file is damaged.

    A damaged checkpoint only costs time: the phase is computed again.  A checkpoint from before
    the SHA-256 was introduced is checked by the checksums of its zip members alone.
    """
    if path is None or not path.exists():
        return None
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if "sha256" in arrays and str(arrays.pop("sha256")) != _digest(arrays):
            return None
        about = json.loads(str(arrays.pop("about")))
        tensors: dict[str, Any] = {"weights": {}, "velocity": {}}
        for name, array in arrays.items():
            kind, _, key = name.partition("/")
            tensors[kind][key] = torch.from_numpy(array).to(device)
        return PhaseState(
            about["epoch"], **tensors, history=about["history"], seconds=about["seconds"],
            method_state=about.get("state", {}),
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
