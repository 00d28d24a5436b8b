"""The fingerprint of the code's behaviour: whether it still computes what a record holds.

A tiny run in float64 passes through every path that a record depends on, in about two seconds.
Refactoring leaves its values unchanged; a change of the mathematics does not.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import lru_cache
from typing import Any

import torch

from mgcore.data.images import Digits, load_digits
from mgcore.lab.protocol import Protocol, check_grid
from mgcore.lab.run.workers import one_thread
from mgcore.lab.trial.trial import run_trial

TOLERANCE = 1e-8
# Ten steps of conjugate gradients on this nearly singular system amplify a difference in the last
# digit to 10⁻⁶, and processors differ in that digit.  A thousandth of the difference counts.
UNSETTLED = ("package/transfer/1/", "package/transfer/norm/")

_SMALL = {
    "n_coarse": 24, "n_fine": 16, "n_validation": 12, "coarse_epochs": 2, "fine_epochs": 2,
    "batch": 8, "subset": 8, "resolution": 12, "dtype": "float64", "dataset": "strokes",
    "tier": "smoke", "learning_rate": 0.02,
}  # fmt: skip

# Together these protocols take every value of every choice that changes a number.
_VARIANTS: dict[str, dict[str, object]] = {
    "plain": {"momentum": 0.9, "nesterov": True, "stencil_scale": "flat"},
    "pooled": {
        "pooling": True, "prolongation": "constant", "normalisation": "standardised",
        "padding": "circular", "momentum": 0.0, "stencil_scale": "meganet",
        "fine_training": "prolonged", "classifier_factor": 4.0, "classifier_bias": False,
    },
    "prolonged": {
        "fine_training": "prolonged", "fine_validation": "prolonged", "nesterov": False,
        "momentum": 0.5, "stencil_scale": "he", "smoothness_h": 0.5, "seed": 7,
    },
}  # fmt: skip

_SHORT = {"classifier_epochs": 2, "fine_epochs": 1, "coarse_epochs": 1, "cg_iterations": 3}

# Additional paths for records whose momentum is the original package's.
_PACKAGE_MOMENTUM: dict[str, dict[str, object]] = {
    "package-momentum": {"momentum_rule": "package", "momentum": 0.9, "nesterov": True},
    "package-plain": {"momentum_rule": "package", "momentum": 0.9, "nesterov": False},
}

# Additional paths for records of Newton's methods: those of the method that the record used.
_NEWTON: dict[str, dict[str, dict[str, object]]] = {
    "": {},
    "steihaug": {
        "classifier": {"retraining": "classifier", "pooling": True},
        "steihaug": {"retraining": "joint", "trust_radius": 0.5},
        "gauss-newton": {"retraining": "joint", "hessian": "gauss-newton", "newton_epoch": "pass"},
    },
    "meganet": {
        "package": {"retraining": "joint", "newton": "meganet", "classifier_bias": False},
        "package-classifier": {"retraining": "classifier", "newton": "meganet", "pooling": True},
    },
}
_PATHS = (
    _VARIANTS
    | _PACKAGE_MOMENTUM
    | {path: _SHORT | changes for some in _NEWTON.values() for path, changes in some.items()}
)

Values = dict[str, float]


def _patterns(count: int, size: int) -> Digits:
    """Return images that need no data: plane waves, whose direction is the class."""
    k = torch.arange(count, dtype=torch.float64)[:, None, None]
    x = ((torch.arange(size, dtype=torch.float64) + 0.5) / size)[None, None, :]
    angle = math.pi * (k % 10) / 10
    wave = torch.sin(9 * (torch.cos(angle) * x + torch.sin(angle) * x.mT) + 0.7 * k)
    images = (127.5 * (1 + wave)).round().to(torch.uint8)
    return Digits("patterns", images, k.flatten().long() % 10, "")


def fingerprint(dataset: str, newton: str = "", rule: str = "torch") -> Values:
    """Compute the fingerprint and return its values.

    Parameters
    ----------
    dataset : str
        The record's data set; values that depend on the stroke digits are left out for the others.
    newton : {"", "steihaug", "meganet"}
        The record's Newton method, whose paths are added.
    rule : {"torch", "package"}
        The record's momentum rule.

    Returns
    -------
    dict of float
        Losses, objectives and weight norms, named by path, network and epoch.
    """
    names = [*_VARIANTS, *_NEWTON[newton]]
    names += _PACKAGE_MOMENTUM if rule == "package" else []
    names += ["strokes"] if dataset == "strokes" else []
    return {name: value for path in names for name, value in passage(path).items()}


@lru_cache
def passage(path: str) -> Values:
    """Run one path of the fingerprint, once in a process, and return its values."""
    if path == "strokes":
        images = load_digits("strokes", 20, 16).images.double()
        return {"strokes/mean": float(images.mean()), "strokes/norm": float(images.norm())}
    changes: dict[str, Any] = _SMALL | _PATHS[path]
    protocol = Protocol(**changes)
    with one_thread():
        result = run_trial(protocol, 1, digits=_patterns(60, protocol.resolution))
    values: Values = {}
    for network, history in result["metrics"].items():
        for row in (history[0], history[-1]):
            for metric in ("training_loss", "validation_loss", "training_objective"):
                values[f"{path}/{network}/{row['epoch']}/{metric}"] = row[metric]
        for key, weight in result["kept"].phases[network].weights.items():
            values[f"{path}/{network}/norm/{key}"] = float(weight.norm())
    return values


def deviation(recorded: Values, current: Values) -> tuple[float, str]:
    """Return the largest relative difference and the name of the value it is in.

    A value that only one fingerprint has, or that is not finite, counts as infinitely different;
    of a value that rounding changes (:data:`UNSETTLED`), a thousandth of the difference counts.
    """
    worst, where = 0.0, ""
    for name in {**recorded, **current}:
        both = name in recorded and name in current
        if not (both and math.isfinite(recorded[name]) and math.isfinite(current[name])):
            return math.inf, name
        difference = abs(current[name] - recorded[name]) / max(abs(recorded[name]), 1e-3)
        difference /= 1000 if name.startswith(UNSETTLED) else 1
        if difference > worst:
            worst, where = difference, name
    return worst, where


def fingerprint_of(protocol: Protocol, grid: str = "fine") -> Values:
    """Return the fingerprint for a protocol; the coarse grid uses no Newton method."""
    check_grid(grid)
    newton = protocol.newton_method if grid == "fine" else ""
    return fingerprint(protocol.dataset, newton, protocol.momentum_rule)


def still_holds(recorded: Values | None, protocol: Protocol) -> bool:
    """Return whether the code still has the recorded fingerprint."""
    return recorded is not None and deviation(recorded, fingerprint_of(protocol))[0] <= TOLERANCE


def digest(values: Values) -> str:
    """Return a short hash of the fingerprint, for the keys of checkpoints."""
    rounded = {name: f"{value:.5e}" for name, value in values.items()}
    return hashlib.sha256(json.dumps(rounded, sort_keys=True).encode()).hexdigest()[:16]
