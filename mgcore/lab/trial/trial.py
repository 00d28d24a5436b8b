"""What one trial does, and the study that runs many (thesis §4.1).

A coarse network is trained; three fine networks start from fresh weights ("new"), from its stencils
as they are ("transfer") and from its stencils refined by the Galerkin condition ("multigrid"), both
with its classifier prolonged; each is retrained on other, fine images.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mgcore.data.images import Digits, load_digits, normalise, one_of, prepare, split
from mgcore.grids import restrict
from mgcore.lab.protocol import CONDITIONS, Protocol, check_grid
from mgcore.lab.trial.newton import classifier_method, joint_method
from mgcore.lab.trial.phases import Images, Method, Progress, Tick, run_phase, sgd, stream
from mgcore.thesis.network import initial_weights, refine_weights

# The fields that decide the coarse network and the start of every arm.
COARSE_FIELDS = (
    "dataset", "seed", "resolution", "pooling", "n_coarse", "n_fine", "n_validation",
    "coarse_epochs", "normalisation", "padding", "classifier_bias", "stencil_scale",
    "classifier_scale", "classifier_clip", "dct_cutoff", "learning_rate", "rate_decay", "batch",
    "momentum", "nesterov", "momentum_rule", "alpha_theta", "alpha_coarse", "penalty_scale",
    "smoothness_h", "subset", "dtype",
)  # fmt: skip


def run_trial(
    protocol: Protocol,
    trial: int,
    *,
    device: str = "cpu",
    cache: Path | None = None,
    code: Mapping[str, str] | None = None,
    arms: tuple[str, ...] = CONDITIONS,
    digits: Digits | None = None,
    tick: Tick = lambda work: None,
    begin: Callable[[str], None] = lambda name: None,
    keep: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run trial number `trial`, a function of (protocol, seed, trial) alone.

    Parameters
    ----------
    protocol : Protocol
    trial : int
        From 0.
    device : str
        ``"cpu"`` or ``"cuda"``.
    cache : Path, optional
        Folder for checkpoints; None keeps nothing.
    code : mapping of str, optional
        For ``"coarse"`` and ``"fine"`` what stands for the behaviour of the code (the canary's
        digest) in the keys of checkpoints.
    arms : tuple of str
        Which of ``"new"``, ``"transfer"``, ``"multigrid"``.  The coarse network is trained only
        if one of the latter two needs it.
    digits : Digits, optional
        The pool to draw from, instead of the protocol's data set.
    tick : callable
        Called with the number of image-steps done since the last call.
    begin : callable
        Called with the name of each network when its training begins.
    keep : dict, optional
        Is given the networks and images of the trial, for figures.

    Returns
    -------
    dict
        ``metrics``: for ``"coarse"`` and each arm the measurements by epoch; where the classifier
        is trained first, for that too, as ``"new_classifier"`` and so on.
        ``seconds``: of training and evaluation of each, and of the whole, what was done before an
        interruption included; a coarse network that was there already is not.
        ``data_sha256``: of the pool.  ``scratch``: checkpoints that no other study uses.
    """
    began = time.perf_counter()
    digits, chosen = draw_split(protocol, trial, digits)

    phases: dict[str, Progress] = {}
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

    if set(arms) != {"new"}:
        images = grid_images(protocol, digits, chosen, "coarse", device)
        phase("coarse", "coarse", fresh_weights(protocol, trial, "coarse"), images)
        if keep is not None:
            keep["coarse_images"] = images
    images = grid_images(protocol, digits, chosen, "fine", device)
    starts = {}
    for arm in arms:
        coarse = phases["coarse"].weights if arm != "new" else {}
        starts[arm] = refined_start(protocol, trial, arm, coarse)
        origin, second = starts[arm], sgd
        if protocol.newton_method:  # the classifier first, with the network held fixed
            first = f"{arm}_classifier"
            phase(
                first, "fine", origin, images, classifier_method(protocol),
                protocol.classifier_epochs,
            )  # fmt: skip
            origin = phases[first].weights
        if protocol.retraining == "joint":
            second = joint_method(protocol)
        phase(arm, "fine", origin, images, second)
    if keep is not None:
        keep |= {"digits": digits, "chosen": chosen, "fine_images": images}
        keep |= {"starts": starts, "phases": phases}
    return {
        "metrics": {name: progress.history for name, progress in phases.items()},
        "seconds": {name: progress.seconds for name, progress in phases.items()}
        | {"whole": time.perf_counter() - began + sum(p.earlier for p in phases.values())},
        "data_sha256": digits.sha256,
        "scratch": scratch,
    }


def checkpoint_file(
    cache: Path, protocol: Protocol, trial: int, name: str, grid: str, device: str,
    code: Mapping[str, str] | None, digits: Digits,
) -> Path:  # fmt: skip
    """Return where the checkpoint of one network of a trial lies: named by all that decides it."""
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
    """Return the random weights with which a trial begins on a grid, in float64."""
    return initial_weights(
        protocol.objective(grid).resolution, protocol.pooling,
        stream(protocol.seed, trial, "weights", grid),
        stencil_scale=protocol.stencil_scale, classifier_scale=protocol.classifier_scale,
        classifier_clip=protocol.classifier_clip, dct_cutoff=protocol.dct_cutoff,
        classifier_bias=protocol.classifier_bias,
    )  # fmt: skip


def refined_start(
    protocol: Protocol, trial: int, arm: str, coarse: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return where an arm begins: "new" from fresh weights, the others from the coarse network."""
    if arm not in CONDITIONS:
        raise ValueError(f"arm must be one of {one_of(CONDITIONS)}, got {arm!r}.")
    if arm == "new":
        return fresh_weights(protocol, trial, "fine")
    return refine_weights(
        coarse, protocol.coarse_side, stencils="copy" if arm == "transfer" else "galerkin",
        prolongation=protocol.prolongation, scale=protocol.classifier_factor,
    )  # fmt: skip


def grid_images(
    protocol: Protocol, digits: Digits, chosen: list[Tensor], grid: str, device: str = "cpu"
) -> Images:
    """Return the prepared images of one grid: R x on the coarse one (thesis (3.3)).

    Pixels are normalised on the fine grid, so that x²ʰ = R xʰ holds for what networks see.
    """
    check_grid(grid)
    coarse, fine, validation = chosen
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


def metric_hash(trials: list[dict[str, Any]]) -> str:
    """Return the SHA-256 over the metric fields of trials, in the order of their numbers.

    Equal for the same protocol and seed on the same machine at one thread each, however the study
    was interrupted and whoever ran which trial.
    """
    ordered = sorted(trials, key=lambda trial: trial["trial"])
    text = json.dumps([[trial["trial"], trial["metrics"]] for trial in ordered], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
