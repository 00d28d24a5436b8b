"""The generalization gap in seconds: two initialisations of one small network on stroke digits.

The study of :mod:`mgcore.lab.choices.sharpness` needs hours.  Here the same trial runs on 16×16
stroke digits with a few hundred images, so that a reader sees the gap appear and can change what
causes it, for example ``DEMONSTRATION.changed(fine_training="original")``.
"""

from __future__ import annotations

from typing import NamedTuple

from mgcore.data.images import Digits
from mgcore.lab.choices.sharpness import CONDITIONS, accuracy_by_sharpness
from mgcore.lab.protocol import Protocol
from mgcore.lab.run.workers import settled_within
from mgcore.lab.trial.trial import run_trial

# From 8×8 to 16×16 cells, in float64, so that every machine shows the same rounded accuracies.
# Batches are smaller and rates larger than in the thesis, since 4 epochs have few steps here; at
# twice the learning rate the Galerkin initialisation does not train on original images.
DEMONSTRATION = Protocol.calibrated("smoke", dataset="strokes").changed(
    name="demonstration", n_coarse=400, n_fine=300, n_validation=400, coarse_epochs=4,
    fine_epochs=4, batch=10, learning_rate=0.005, momentum=0.9, normalisation="unit",
    fine_training="prolonged",
)  # fmt: skip


class Accuracies(NamedTuple):
    """Accuracies of one trained fine network, in percent.

    Attributes
    ----------
    training : float
        On its training images.
    smoothed, original : float
        On the same validation images as P R x and as x.
    """

    training: float
    smoothed: float
    original: float


def demonstrate_gap(
    trial: int = 0, protocol: Protocol = DEMONSTRATION, digits: Digits | None = None
) -> dict[str, Accuracies]:
    """Train the copied and the Galerkin initialisation and measure both on both preparations.

    Parameters
    ----------
    trial : int
        Another number draws other images and other weights.
    protocol : Protocol
        By default fine training images are smoothed, P R x.
    digits : Digits, optional
        The pool of images; by default the protocol's data set.

    Returns
    -------
    dict of Accuracies
        By condition: ``"transfer"`` (copied) and ``"multigrid"`` (Galerkin).
    """
    with settled_within():
        result = run_trial(protocol, trial, conditions=CONDITIONS, digits=digits)
        validated = accuracy_by_sharpness(protocol, result["kept"], (0.0, 1.0))
    return {
        condition: Accuracies(result["metrics"][condition][-1]["training_accuracy"], *values)
        for condition, values in validated.items()
    }
