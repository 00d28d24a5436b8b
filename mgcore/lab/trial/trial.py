"""One trial: a coarse network, and fine networks from three initialisations (thesis §4.1).

A coarse network is trained.  Three fine networks start from random weights (``"new"``), from the
coarse kernels copied (``"transfer"``) and from the coarse kernels refined by the Galerkin condition
(``"multigrid"``), the last two with the coarse classifier prolonged; each is retrained on other,
fine images.  Here and in :mod:`mgcore.lab.run` networks are dictionaries of weights trained by our
own SGD, for speed and for the trial axis of a GPU; public functions elsewhere take modules.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from mgcore.data.images import Digits, load_digits, normalise, one_of, prepare, split
from mgcore.grids import restrict
from mgcore.lab.protocol import CONDITIONS, Protocol, check_grid
from mgcore.lab.records.checkpoints import PhaseState
from mgcore.lab.records.schema import EpochRow, Trial
from mgcore.lab.trial.newton import classifier_method, joint_method
from mgcore.lab.trial.phases import Images, Method, Tick, run_phase, sgd, stream
from mgcore.thesis.network import initial_weights, refine_weights

# The fields that determine the coarse network and the initial weights of every condition.
COARSE_FIELDS = (
    "dataset", "seed", "resolution", "pooling", "n_coarse", "n_fine", "n_validation",
    "coarse_epochs", "normalisation", "padding", "classifier_bias", "stencil_scale",
    "classifier_scale", "classifier_clip", "dct_cutoff", "learning_rate", "rate_decay", "batch",
    "momentum", "nesterov", "momentum_rule", "alpha_theta", "alpha_coarse", "penalty_scale",
    "smoothness_h", "subset", "dtype",
)  # fmt: skip


@dataclass
class KeptTrial:
    """What a trial leaves behind besides metrics, for measures and figures.

    Attributes
    ----------
    digits : Digits
        The pool of images.
    indices : list of Tensor
        The pool's indices for coarse training, fine training and validation.
    fine_images : Images
    coarse_images : Images or None
        None if no coarse network was trained.
    starts : dict of dict of Tensor
        The initial weights of each condition.
    phases : dict of PhaseState
        The trained networks: ``"coarse"``, each condition, and ``"new_classifier"`` and so on.
    """

    digits: Digits
    indices: list[Tensor]
    fine_images: Images
    coarse_images: Images | None = None
    starts: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    phases: dict[str, PhaseState] = field(default_factory=dict)

    def images(self, grid: str) -> Images:
        """Return the images of a grid, ``"coarse"`` or ``"fine"``."""
        images = self.coarse_images if grid == "coarse" else self.fine_images
        if images is None:
            raise ValueError("This trial trained no coarse network, so it has no coarse images.")
        return images


class TrialResult(TypedDict):
    """The result of :func:`run_trial`.

    ``metrics`` has the measurements by epoch of ``"coarse"``, of each condition, and of
    ``"new_classifier"`` and so on where the classifier is trained first.  ``seconds`` has the time
    of training and evaluation of each, and of the ``"whole"``, including the time before an
    interruption but not the time of a coarse network that was trained before.  ``data_sha256`` is
    the hash of the pool, ``scratch`` names the checkpoints that no other study uses, and ``kept``
    holds networks and images.
    """

    metrics: dict[str, list[EpochRow]]
    seconds: dict[str, Any]
    data_sha256: str
    scratch: list[str]
    kept: KeptTrial


def run_trial(
    protocol: Protocol,
    trial: int,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    code: Mapping[str, str] | None = None,
    conditions: tuple[str, ...] = CONDITIONS,
    digits: Digits | None = None,
    tick: Tick = lambda work: None,
    begin: Callable[[str], None] = lambda name: None,
) -> TrialResult:
    """Run trial number `trial`, a function of (protocol, seed, trial) alone.

    Parameters
    ----------
    protocol : Protocol
    trial : int
        From 0.
    device : str
        ``"cpu"`` or ``"cuda"``.
    cache : Path, optional
        Folder for checkpoints; None saves none.
    code : mapping of str, optional
        For ``"coarse"`` and ``"fine"``, the digest of the fingerprint in the keys of checkpoints.
    conditions : tuple of str
        Some of ``"new"``, ``"transfer"``, ``"multigrid"``.  The coarse network is trained only for
        the last two.
    digits : Digits, optional
        The pool of images; by default the protocol's data set.
    tick : callable
        Called with the number of image-steps done since the last call.
    begin : callable
        Called with the name of each network when its training begins.

    Returns
    -------
    TrialResult
    """
    began = time.perf_counter()
    digits, indices = draw_split(protocol, trial, digits)

    phases: dict[str, PhaseState] = {}
    coarse_images = None
    scratch: list[str] = []

    def phase(
        name: str, grid: str, start: dict[str, Tensor], images: Images,
        method: Method = sgd, epochs: int | None = None,
    ) -> None:  # fmt: skip
        begin(name)
        file = cache and checkpoint_file(cache, protocol, trial, name, grid, device, code, digits)
        phases[name] = run_phase(
            protocol, trial, grid, start, images,
            checkpoint=file, tick=tick, method=method, epochs=epochs,
        )  # fmt: skip
        if file and grid == "fine":  # coarse networks serve other studies too
            scratch.append(str(file))

    if set(conditions) != {"new"}:
        coarse_images = grid_images(protocol, digits, indices, "coarse", device)
        phase("coarse", "coarse", fresh_weights(protocol, trial, "coarse"), coarse_images)
    images = grid_images(protocol, digits, indices, "fine", device)
    starts = {}
    for condition in conditions:
        coarse = phases["coarse"].weights if condition != "new" else {}
        starts[condition] = refined_start(protocol, trial, condition, coarse)
        origin = starts[condition]
        second: Method = sgd
        if protocol.newton_method:  # the classifier first, with the network held fixed
            first = f"{condition}_classifier"
            phase(
                first, "fine", origin, images, classifier_method(protocol),
                protocol.classifier_epochs,
            )  # fmt: skip
            origin = phases[first].weights
        if protocol.retraining == "joint":
            second = joint_method(protocol)
        phase(condition, "fine", origin, images, second)
    return {
        "metrics": {name: state.history for name, state in phases.items()},
        "seconds": {name: state.seconds for name, state in phases.items()}
        | {
            "whole": time.perf_counter()
            - began
            + sum(state.seconds_before for state in phases.values())
        },
        "data_sha256": digits.sha256,
        "scratch": scratch,
        "kept": KeptTrial(digits, indices, images, coarse_images, starts, phases),
    }


def checkpoint_file(
    cache: Path, protocol: Protocol, trial: int, name: str, grid: str, device: str,
    code: Mapping[str, str] | None, digits: Digits,
) -> Path:  # fmt: skip
    """Return the file of one network's checkpoint, named by all that determines its content."""
    check_grid(grid)
    fields = COARSE_FIELDS if grid == "coarse" else ()
    behaviour = (code or {}).get(grid, "")
    key = f"{protocol.key(*fields)}/{trial}/{name}/{device}/{torch.get_num_threads()}"
    key = hashlib.sha256(f"{key}/{behaviour}/{digits.sha256}".encode()).hexdigest()[:24]
    return cache / f"{grid}-{key}.npz"


def draw_split(
    protocol: Protocol, trial: int, digits: Digits | None = None
) -> tuple[Digits, list[Tensor]]:
    """Return the pool and the trial's indices for coarse training, fine training, validation."""
    sizes = (protocol.n_coarse, protocol.n_fine, protocol.n_validation)
    digits = digits or load_digits(protocol.dataset, sum(sizes), protocol.resolution)
    return digits, split(len(digits), sizes, stream(protocol.seed, trial, "split"))


def fresh_weights(protocol: Protocol, trial: int, grid: str) -> dict[str, Tensor]:
    """Return the random initial weights of a trial on a grid, in float64."""
    return initial_weights(
        protocol.objective(grid).resolution, protocol.pooling,
        stream(protocol.seed, trial, "weights", grid),
        stencil_scale=protocol.stencil_scale, classifier_scale=protocol.classifier_scale,
        classifier_clip=protocol.classifier_clip, dct_cutoff=protocol.dct_cutoff,
        classifier_bias=protocol.classifier_bias,
    )  # fmt: skip


def refined_start(
    protocol: Protocol, trial: int, condition: str, coarse: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the initial weights of a condition, made from the coarse network except for "new"."""
    if condition not in CONDITIONS:
        raise ValueError(f"condition must be one of {one_of(CONDITIONS)}, got {condition!r}.")
    if condition == "new":
        return fresh_weights(protocol, trial, "fine")
    return refine_weights(
        coarse, protocol.coarse_side, stencils="copy" if condition == "transfer" else "galerkin",
        prolongation=protocol.prolongation, scale=protocol.classifier_factor,
    )  # fmt: skip


def grid_images(
    protocol: Protocol, digits: Digits, indices: list[Tensor], grid: str, device: str = "cpu"
) -> Images:
    """Return the prepared images of one grid: R x on the coarse one (thesis (3.3)).

    Pixels are normalised on the fine grid, so that x²ʰ = R xʰ holds for the networks' inputs.
    """
    check_grid(grid)
    coarse, fine, validation = indices
    dtype = getattr(torch, protocol.dtype)

    def take(index: Tensor, preparation: str) -> Tensor:
        x = normalise(digits.select(index, dtype), protocol.normalisation, dtype)
        x = restrict(x) if grid == "coarse" else prepare(x, preparation, protocol.prolongation)
        return x.to(device)

    training = coarse if grid == "coarse" else fine
    return Images(
        take(training, protocol.fine_training), digits.labels[training].to(device),
        take(validation, protocol.fine_validation), digits.labels[validation].to(device),
    )  # fmt: skip


def metric_hash(trials: Sequence[Trial]) -> str:
    """Return the SHA-256 over the metric fields of trials, in the order of their numbers.

    It is equal for the same protocol and seed on the same machine with one thread, however the
    study was interrupted and whichever process ran which trial.
    """
    ordered = sorted(trials, key=lambda trial: trial["trial"])
    text = json.dumps([[trial["trial"], trial["metrics"]] for trial in ordered], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
