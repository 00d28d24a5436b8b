"""Screening of candidates for the choices that the thesis leaves open.

Both calibrations enumerate a grid of choices and train single phases of a study, of which only the
training accuracies are used.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from mgcore.data.images import Digits
from mgcore.lab.protocol import Protocol
from mgcore.lab.trial.phases import run_phase
from mgcore.lab.trial.trial import grid_images

Candidate = dict[str, Any]  # the value of each choice, by its name
DIVERGED = [10.0, 10.0]  # accuracies in percent of a network that diverges: those of guessing


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[Candidate]:
    """Return every combination of the values of some choices; the last choice varies fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def training_accuracies(
    protocol: Protocol, trial: int, grid: str, start: dict[str, Tensor], digits: Digits, split: Any
) -> tuple[list[float], dict[str, Tensor]]:
    """Train one phase as a study does.

    Returns
    -------
    (accuracies, weights)
        Training accuracy in percent after the first and the last epoch; the trained weights.

    Raises
    ------
    FloatingPointError
        If training diverges.
    """
    images = grid_images(protocol, digits, split, grid)
    # Every phase evaluates its validation images; a single one keeps that cheap.
    images = replace(
        images, validation=images.validation[:1], validation_labels=images.validation_labels[:1]
    )
    done = run_phase(protocol, trial, grid, start, images, checkpoint=None)
    return [done.history[epoch]["training_accuracy"] for epoch in (1, -1)], done.weights
