"""Measurements of the networks of every trial beyond accuracy and loss.

The thesis judges loss surfaces and propagated images by eye, from one trial.  These numbers make
its statements decidable: how far the weights may move before the loss doubles, how well a feature
map correlates with its image, and how accurately the networks classify smoothed images P R x.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from mgcore.analysis.landscape import (
    directional_curvature,
    doubling_radius,
    filter_normalised_direction,
)
from mgcore.analysis.propagation import survival
from mgcore.data.images import normalise, prepare
from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.records.schema import Measures
from mgcore.lab.trial.phases import stream
from mgcore.lab.trial.trial import KeptTrial
from mgcore.thesis.network import Weights, feature_maps
from mgcore.thesis.objective import evaluate

DIRECTIONS = 4
# Numbers of images on which a loss is measured, and of images that are propagated.
LOSS_IMAGES = {"smoke": 32, "class": 200, "paper": 200}
PROPAGATED = {"smoke": 16, "class": 100, "paper": 100}


def measure(protocol: Protocol, trial: int, kept: KeptTrial) -> Measures:
    """Return the measures of one trial.

    Parameters
    ----------
    protocol : Protocol
    trial : int
    kept : KeptTrial
        From the result of :func:`mgcore.lab.trial.trial.run_trial`.

    Returns
    -------
    Measures
        ``landscape``: for the trained coarse network and the initial fine networks, over
        :data:`DIRECTIONS` random directions: the ``radius`` at which the loss doubles and the
        ``curvature``, in multiples of the filter-normalised direction; its ``length``; the ``loss``
        at the centre.
        ``survival``: for each condition after its last epoch, by layer.
        ``preparation``: validation accuracy of each condition in percent on original images
        (``original``) and on smoothed images P R x (``prolonged``).
    """
    conditions = [condition for condition in CONDITIONS if condition in kept.phases]
    fine, digits = kept.fine_images, kept.digits
    measures: Measures = {"landscape": {}, "survival": {}, "preparation": {}}
    centres = {c: kept.starts[c] for c in conditions if c != "new"}
    if "coarse" in kept.phases:
        centres["coarse"] = kept.phases["coarse"].weights
    for name, weights in centres.items():
        measures["landscape"][name] = _landscape(protocol, trial, name, weights, kept)

    index = kept.indices[2]
    dtype = fine.validation.dtype
    pixels = normalise(digits.select(index, dtype), protocol.normalisation, dtype)
    for condition in conditions:
        weights = kept.phases[condition].weights
        images = fine.validation[: PROPAGATED[protocol.tier]]
        with torch.no_grad():
            maps = feature_maps(weights, images, protocol.pooling, protocol.padding)
        layers = ("conv1", "pooled", "conv2") if protocol.pooling else ("conv1", "conv2")
        measures["survival"][condition] = {
            layer: survival(images, features)._asdict()
            for layer, features in zip(layers, maps, strict=True)
        }
        # For one of the two preparations the last epoch has measured it already.
        last = kept.phases[condition].history[-1]["validation_accuracy"]
        measures["preparation"][condition] = {
            how: last
            if how == protocol.fine_validation
            else _accuracy(protocol, weights, prepare(pixels, how, protocol.prolongation), kept)
            for how in ("original", "prolonged")
        }
    return measures


def _accuracy(
    protocol: Protocol, weights: dict[str, Tensor], images: Tensor, kept: KeptTrial
) -> float:
    fine = kept.fine_images
    images = images.to(fine.validation)
    measured = evaluate(protocol.objective("fine"), weights, images, fine.validation_labels)
    return measured["accuracy"]


def _landscape(
    protocol: Protocol, trial: int, name: str, weights: dict[str, Tensor], kept: KeptTrial
) -> dict[str, Any]:
    grid = "coarse" if name == "coarse" else "fine"
    images = kept.images(grid)
    count = LOSS_IMAGES[protocol.tier]
    x, y = images.training[:count], images.training_labels[:count]
    weights = {key: w.to(x) for key, w in weights.items()}
    objective = protocol.objective(grid)

    def loss(moved: Weights) -> float:
        return evaluate(objective, moved, x, y)["loss"]

    measured: dict[str, Any] = {"radius": [], "curvature": []}
    draw = stream(protocol.seed, trial, "measures", grid)  # the same for both fine networks
    for _ in range(DIRECTIONS):
        direction = filter_normalised_direction(weights, draw)
        measured["radius"].append(doubling_radius(loss, weights, direction))
        measured["curvature"].append(directional_curvature(loss, weights, direction))
    # Every direction has the same length, that of all filters together.
    squares = [d.double().square().sum() for d in direction.values()]
    measured["length"] = float(reduce(torch.add, squares).sqrt())
    measured["loss"] = evaluate(objective, weights, x, y)["loss"]
    return measured
