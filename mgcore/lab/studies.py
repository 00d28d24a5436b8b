"""The named studies of the book: which protocol each experiment chapter runs."""

from __future__ import annotations

from typing import Any

from mgcore.lab.protocol import Protocol

# The calibration cannot tell its nearest candidates apart, so the second is run beside the first.
_SECOND = {
    "penalty_scale": 1 / 256, "momentum": 0.0, "stencil_scale": "flat",
    "normalisation": "standardised",
}  # fmt: skip

STUDIES: dict[str, dict[str, Any]] = {
    "baseline-original": {},
    "baseline-prolonged": {"fine_training": "prolonged"},
    "second-original": _SECOND,
    "second-prolonged": {**_SECOND, "fine_training": "prolonged"},
    "pooling-original": {"pooling": True},
    "pooling-prolonged": {"pooling": True, "fine_training": "prolonged"},
}


def study_protocol(
    study: str, tier: str = "paper", dataset: str = "mnist", seed: int = 0, protocol: str = ""
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
    protocol : {"", "calibrated", "printed"}
        Calibrated where empty.

    Raises
    ------
    ValueError
        For anything else, in one sentence.
    """
    if study not in STUDIES:
        options = ", ".join(repr(name) for name in STUDIES)
        raise ValueError(f"study={study!r}; accepted: {options}.")
    named = {"": Protocol.calibrated, "calibrated": Protocol.calibrated}
    named["printed"] = Protocol.printed
    if protocol not in named:
        raise ValueError(f"protocol={protocol!r}; accepted: 'calibrated' or 'printed'.")
    return named[protocol](tier, dataset=dataset, seed=seed, **STUDIES[study])
