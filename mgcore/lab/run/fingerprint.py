"""A tiny run that tells whether the code still computes what it did when a record was made.

It passes, in float64 and in about two seconds, through every path that a record depends on.
Refactoring leaves its values alone; changing the mathematics does not.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import lru_cache

import torch

from mgcore.data.images import Digits, load_digits
from mgcore.lab.protocol import Protocol, check_grid
from mgcore.lab.run.workers import one_thread
from mgcore.lab.trial.trial import run_trial

TOLERANCE = 1e-8
# Ten steps of conjugate gradients on this nearly singular system make 10⁻⁶ of a difference in the
# last digit, and processors differ in that digit.  A thousandth of a difference counts.
UNSETTLED = ("package/transfer/1/", "package/transfer/norm/")

_SMALL = {
    "n_coarse": 24, "n_fine": 16, "n_validation": 12, "coarse_epochs": 2, "fine_epochs": 2,
    "batch": 8, "subset": 8, "resolution": 12, "dtype": "float64", "dataset": "strokes",
    "tier": "smoke", "learning_rate": 0.02,
}  # fmt: skip

# Together they take every value of every choice that decides a number.
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

# For records whose momentum is the original package's, besides.
_PACKAGE_MOMENTUM: dict[str, dict[str, object]] = {
    "package-momentum": {"momentum_rule": "package", "momentum": 0.9, "nesterov": True},
    "package-plain": {"momentum_rule": "package", "momentum": 0.9, "nesterov": False},
}

# For records of Newton's methods, besides: the paths of the one that the record used.
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
    """Return images that need no data: waves whose direction tells the class, in eight bits."""
    k = torch.arange(count, dtype=torch.float64)[:, None, None]
    x = ((torch.arange(size, dtype=torch.float64) + 0.5) / size)[None, None, :]
    angle = math.pi * (k % 10) / 10
    wave = torch.sin(9 * (torch.cos(angle) * x + torch.sin(angle) * x.mT) + 0.7 * k)
    images = (127.5 * (1 + wave)).round().to(torch.uint8)
    return Digits("patterns", images, k.flatten().long() % 10, "")


def fingerprint(dataset: str, newton: str = "", rule: str = "torch") -> Values:
    """Run the canary and return its values.

    Parameters
    ----------
    dataset : str
        Of the record: values that depend on the stroke digits are left out for other data.
    newton : {"", "steihaug", "meganet"}
        The Newton method to pass through too: of the records that used one.
    rule : {"torch", "package"}
        What momentum means; of the record.

    Returns
    -------
    dict of float
        Losses, objectives and weight norms by the name of the path that they passed through.
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
    protocol = Protocol(**(_SMALL | _PATHS[path]))
    kept: dict = {}
    with one_thread():
        result = run_trial(protocol, 1, digits=_patterns(60, protocol.resolution), keep=kept)
    values: Values = {}
    for arm, history in result["metrics"].items():
        for row in (history[0], history[-1]):
            for metric in ("training_loss", "validation_loss", "training_objective"):
                values[f"{path}/{arm}/{row['epoch']}/{metric}"] = row[metric]
        for key, weight in kept["phases"][arm].weights.items():
            values[f"{path}/{arm}/norm/{key}"] = float(weight.norm())
    return values


def deviation(then: Values, now: Values) -> tuple[float, str]:
    """Return the largest relative difference and the name of the value it is in.

    A value that only one of them has, or that is no number, counts as infinitely different; of one
    that rounding moves (:data:`UNSETTLED`), a thousandth of the difference counts.
    """
    worst, where = 0.0, ""
    for name in {**then, **now}:
        both = name in then and name in now
        if not (both and math.isfinite(then[name]) and math.isfinite(now[name])):
            return math.inf, name
        difference = abs(now[name] - then[name]) / max(abs(then[name]), 1e-3)
        difference /= 1000 if name.startswith(UNSETTLED) else 1
        if difference > worst:
            worst, where = difference, name
    return worst, where


def fingerprint_of(protocol: Protocol, grid: str = "fine") -> Values:
    """Return the canary of a protocol's records; on the coarse grid no Newton method is used."""
    check_grid(grid)
    newton = protocol.newton_method if grid == "fine" else ""
    return fingerprint(protocol.dataset, newton, protocol.momentum_rule)


def still_holds(then: Values | None, protocol: Protocol) -> bool:
    """Return whether the code behaves as it did when the canary's values were stored."""
    return then is not None and deviation(then, fingerprint_of(protocol))[0] <= TOLERANCE


def digest(values: Values) -> str:
    """Return a short name of the code's behaviour, for the keys of checkpoints."""
    rounded = {name: f"{value:.5e}" for name, value in values.items()}
    return hashlib.sha256(json.dumps(rounded, sort_keys=True).encode()).hexdigest()[:16]
