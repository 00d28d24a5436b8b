"""The named studies, and the studies that each experiment chapter runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mgcore.lab.protocol.presets import MEDIUM, STRONG

if TYPE_CHECKING:
    from mgcore.lab.protocol.protocol import Protocol

# The studies of optimizers train on smoothed images, with which Table 4.1 is reproduced.
_CLASSIFIER = {"retraining": "classifier", "fine_training": "prolonged"}
_JOINT = {"retraining": "joint", "fine_training": "prolonged"}
_PACKAGE = {"newton": "meganet"}
_POOLED = {"pooling": True}

# The changes that each study makes to the calibrated protocol, or to the one that it names.
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

# The studies of each experiment chapter, in the order of the book.  A coarse network is trained for
# the first study that needs it; later studies use it again.
CHAPTERS: dict[str, tuple[str, ...]] = {
    "baseline": ("baseline-original", "baseline-prolonged", "strong-original", "strong-prolonged"),
    "pooling": ("pooling-original", "pooling-prolonged"),
    "optimizers": (
        "classifier-unpooled", "classifier-pooled", "classifier-package", "joint-pooled",
        "joint-unpooled", "joint-package", "joint-literal",
    ),
}  # fmt: skip
CHAPTERS["further"] = tuple(s for s in STUDIES if s not in sum(CHAPTERS.values(), ()))
# What of the thesis a study repeats, by the first word of the study's name ("printed-" apart).
_REPEATS = {
    "baseline": "Table 4.1, Figures 4.1-4.4",
    "pooling": "Table 4.2, Figures 4.5-4.6",
    "classifier": "Table 4.3",
    "joint": "Table 4.4",
    "strong": "Table 4.1",
    "medium": "Table 4.1",
    "no": "Section 3.2.1 (ablation)",
}
# Trials of each study if no number is given.
DEFAULT_TRIALS = {"smoke": 2, "class": 3, "paper": 20}


def default_dataset(tier: str) -> str:
    """Return the data set of a tier if none is given: stroke digits for "smoke", else MNIST."""
    return "strokes" if tier == "smoke" else "mnist"


def study_protocol(
    study: str, tier: str = "paper", dataset: str = "mnist", seed: int = 0
) -> Protocol:
    """Return the protocol of a named study.

    Parameters
    ----------
    study : str
        A key of :data:`STUDIES`.
    tier : {"smoke", "class", "paper"}
        Only stroke digits have the resolution of the smoke tier.
    dataset : str
        A key of :data:`mgcore.data.images.DATASETS`.
    seed : int

    Raises
    ------
    ValueError
        If a value is not accepted.
    """
    if not isinstance(study, str) or study not in STUDIES:
        options = ", ".join(map(repr, STUDIES))
        raise ValueError(f"study must be one of {options}, got {study!r}.")
    changes = STUDIES[study]
    from mgcore.lab.protocol.protocol import Protocol  # loads torch, which naming a study does not

    named = Protocol.printed if changes.get("name") == "printed" else Protocol.calibrated
    return named(tier, dataset=dataset, seed=seed, **changes)


def describe(study: str) -> tuple[str, str, str]:
    """Return what of the thesis a study repeats, its network and its images, each in a few words.

    A study whose name begins with a word that the thesis has no table for is beyond the thesis.

    Examples
    --------
    >>> describe("pooling-original")
    ('Table 4.2, Figures 4.5-4.6', 'pooling', 'original')
    """
    changes = STUDIES[study]
    network = "pooling" if changes.get("pooling") else "no pooling"
    images = "smoothed" if changes.get("fine_training") == "prolonged" else "original"
    first = study.removeprefix("printed-").partition("-")[0]
    return _REPEATS.get(first, "beyond the thesis"), network, images
