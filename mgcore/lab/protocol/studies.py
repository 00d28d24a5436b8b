"""The named studies of the book: which protocol each experiment chapter runs."""

from __future__ import annotations

from typing import Any

from mgcore.lab.protocol.presets import MEDIUM, STRONG
from mgcore.lab.protocol.protocol import Protocol

# The optimizer tables are run on the images on which Table 4.1 comes out as the thesis has it.
_CLASSIFIER = {"retraining": "classifier", "fine_training": "prolonged"}
_JOINT = {"retraining": "joint", "fine_training": "prolonged"}
_PACKAGE = {"newton": "meganet"}
_POOLED = {"pooling": True}

STUDIES: dict[str, dict[str, Any]] = {
    "baseline-original": {},
    "baseline-prolonged": {"fine_training": "prolonged"},
    "pooling-original": _POOLED,
    "pooling-prolonged": {**_POOLED, "fine_training": "prolonged"},
    "classifier-unpooled": _CLASSIFIER,
    "classifier-pooled": {**_CLASSIFIER, **_POOLED},
    "classifier-package": {**_CLASSIFIER, **_POOLED, **_PACKAGE},
    "joint-pooled": {**_JOINT, **_POOLED},
    "joint-unpooled": _JOINT,
    "joint-package": {**_JOINT, **_POOLED, **_PACKAGE},
    "joint-literal": {**_JOINT, **_POOLED, "newton_epoch": "pass"},
    "strong-original": STRONG,
    "strong-prolonged": {**STRONG, "fine_training": "prolonged"},
    "medium-original": MEDIUM,
    "no-smoothness": {"alpha_fine": 0.0, "alpha_coarse": 0.0},
    "no-dct": {"dct_cutoff": 1e6},
    "printed-baseline": {"name": "printed"},
    "printed-pooling": {**_POOLED, "name": "printed"},
}

# What each experiment chapter runs, in the order of the book: a coarse network is trained for the
# first study that needs it and serves those after it.
CHAPTERS: dict[str, tuple[str, ...]] = {
    "baseline": ("baseline-original", "baseline-prolonged", "strong-original", "strong-prolonged"),
    "pooling": ("pooling-original", "pooling-prolonged"),
    "optimizers": (
        "classifier-unpooled", "classifier-pooled", "classifier-package", "joint-pooled",
        "joint-unpooled", "joint-package", "joint-literal",
    ),
}  # fmt: skip
CHAPTERS["further"] = tuple(s for s in STUDIES if s not in sum(CHAPTERS.values(), ()))
# Of each study, where nobody names a number.
DEFAULT_TRIALS = {"smoke": 2, "class": 3, "paper": 20}


def study_protocol(
    study: str, tier: str = "paper", dataset: str = "mnist", seed: int = 0
) -> Protocol:
    """Return the protocol of a named study.

    Parameters
    ----------
    study : str
        A key of :data:`STUDIES`.
    tier : {"smoke", "class", "paper"}
        The smoke tier is for stroke digits alone.
    dataset : {"mnist", "strokes"}
    seed : int

    Raises
    ------
    ValueError
        For anything else, in one sentence.
    """
    if not isinstance(study, str) or study not in STUDIES:
        options = ", ".join(repr(name) for name in STUDIES)
        raise ValueError(f"study={study!r}; accepted: {options}.")
    changes = STUDIES[study]
    named = Protocol.printed if changes.get("name") == "printed" else Protocol.calibrated
    return named(tier, dataset=dataset, seed=seed, **changes)
