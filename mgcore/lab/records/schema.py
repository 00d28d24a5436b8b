"""The structure of a trial's file, and the check that a file has it.

A file's checksum shows only that it is unaltered; :func:`complaint` checks the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class EpochRow(TypedDict, total=False):
    """The measurements of one network after one epoch.

    ``epoch`` and ``images`` are always there; accuracies are in percent.  The last six fields are
    of Newton's methods: work so far, Hessian products, trust-region radius, accepted steps, steps
    that ended on the boundary, and steps that met negative curvature.
    """

    epoch: int
    images: str  # "all" or "subset": the images on which the epoch was measured
    training_accuracy: float
    training_loss: float
    training_objective: float
    validation_accuracy: float
    validation_loss: float
    validation_objective: float
    work: float
    products: int
    radius: float
    steps: int
    accepted: int
    boundary: int
    negative: int


class Circumstances(TypedDict, total=False):
    """How a trial was computed; nothing here counts as a result."""

    seconds: dict[str, Any]  # of "training" and "evaluation" by network, and of the "whole" trial
    device: str
    threads: int
    machine: str
    versions: dict[str, str]
    date: str
    data: dict[str, str]


class Measures(TypedDict):
    """Measurements beyond accuracy and loss; see :mod:`mgcore.lab.trial.measures`."""

    landscape: dict[str, dict[str, Any]]
    survival: dict[str, dict[str, dict[str, float]]]
    preparation: dict[str, dict[str, float]]


class Trial(TypedDict, total=False):
    """One trial of a study: the content of a file ``trial-000.json``.

    ``metrics`` has a list of rows, one per epoch from 0, for each network: ``"coarse"``, the
    conditions ``"new"`` (random initialisation), ``"transfer"`` (copied) and ``"multigrid"``
    (Galerkin), and ``"new_classifier"`` and so on where the classifier is trained first.
    """

    trial: int
    protocol: str
    metrics: dict[str, list[EpochRow]]
    measures: Measures
    circumstances: Circumstances


def complaint(trial: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the content of a trial's file, in a few words, or None.

    Parameters
    ----------
    trial : mapping
        The content of the file, which should be a :class:`Trial`.
    """
    metrics, circumstances = trial.get("metrics"), trial.get("circumstances")
    if not _is_mapping(metrics) or not metrics:
        return "metrics is no object of networks"
    for name, history in metrics.items():
        if not isinstance(history, list) or not history or not all(map(_is_mapping, history)):
            return f"metrics of {name!r} is no list of rows"
        for place, row in enumerate(history):
            if row.get("epoch") != place or isinstance(row["epoch"], bool):
                return f"metrics of {name!r} has no row for epoch {place}"
            if not all(_is_number(value) or isinstance(value, str) for value in row.values()):
                return f"metrics of {name!r} has no number somewhere in epoch {place}"
            rates = [row[key] for key in row if key.endswith("_accuracy")]
            if not all(_is_number(rate) and 0 <= rate <= 100 for rate in rates):
                return f"metrics of {name!r} has no accuracy in percent in epoch {place}"
    if not isinstance(circumstances, dict):
        return "circumstances is no object"
    seconds = circumstances.get("seconds")
    if not isinstance(seconds, dict) or not _is_number(seconds.get("whole")):
        return "circumstances has no seconds of the whole trial"
    measures = trial.get("measures", {})
    parts = list(measures.values()) if _is_mapping(measures) else [None]
    if not (all(map(_is_mapping, parts)) and _only_numbers(measures)):
        return "measures holds something that is no number"
    return None


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _only_numbers(nested: Any) -> bool:
    """Return whether objects and lists, however deeply nested, hold only numbers."""
    pending = [nested]
    while pending:
        value = pending.pop()
        if isinstance(value, dict | list):
            pending.extend(value.values() if isinstance(value, dict) else value)
        elif not _is_number(value):
            return False
    return True
