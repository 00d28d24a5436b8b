"""What is measured of the networks of a trial beyond accuracy and loss, in every trial.

The thesis judges loss surfaces and propagated images by eye, from one trial.  These numbers make
its statements decidable: how far the weights may move before the loss doubles, how much of an image
is left in a feature map, and what the networks make of images that have been to the coarse grid.
"""

from __future__ import annotations

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
from mgcore.lab.trial.phases import stream
from mgcore.thesis.network import Weights, feature_maps
from mgcore.thesis.objective import evaluate

DIRECTIONS = 4
# Images that a loss is measured on, and that are propagated.
LOSS_IMAGES = {"smoke": 32, "class": 200, "paper": 200}
PROPAGATED = {"smoke": 16, "class": 100, "paper": 100}

Measures = dict[str, dict[str, Any]]


def measure(protocol: Protocol, trial: int, kept: dict[str, Any]) -> Measures:
    """Return the measures of one trial.

    Parameters
    ----------
    protocol : Protocol
    trial : int
    kept : dict
        As filled by :func:`mgcore.lab.trial.trial.run_trial`.

    Returns
    -------
    dict
        ``landscape``: of the trained coarse network and of every start on the fine grid, over
        :data:`DIRECTIONS` random directions: ``radius`` at which the loss doubles and
        ``curvature``, in multiples of the filter-normalised direction; its ``length``; ``loss`` at
        the centre.
        ``survival``: of each arm after its last epoch, for each layer.
        ``preparation``: accuracy of each arm in percent on the validation images as they are
        (``original``) and as P R x (``prolonged``).
    """
    arms = [arm for arm in CONDITIONS if arm in kept["phases"]]
    fine, digits = kept["fine_images"], kept["digits"]
    measures: Measures = {"landscape": {}, "survival": {}, "preparation": {}}
    centres = {arm: kept["starts"][arm] for arm in arms if arm != "new"}
    if "coarse" in kept["phases"]:
        centres["coarse"] = kept["phases"]["coarse"].weights
    for name, weights in centres.items():
        measures["landscape"][name] = _landscape(protocol, trial, name, weights, kept)

    index = kept["chosen"][2]
    dtype = fine.validation.dtype
    pixels = normalise(digits.select(index, dtype), protocol.normalisation, dtype)
    for arm in arms:
        weights = kept["phases"][arm].weights
        some = fine.validation[: PROPAGATED[protocol.tier]]
        with torch.no_grad():
            maps = feature_maps(weights, some, protocol.pooling, protocol.padding)
        layers = ("conv1", "pooled", "conv2") if protocol.pooling else ("conv1", "conv2")
        measures["survival"][arm] = {
            layer: survival(some, seen)._asdict() for layer, seen in zip(layers, maps, strict=True)
        }
        # One of the two is what the network was validated on, and has its last measurement.
        last = kept["phases"][arm].history[-1]["validation_accuracy"]
        measures["preparation"][arm] = {
            how: last
            if how == protocol.fine_validation
            else _accuracy(protocol, weights, prepare(pixels, how, protocol.prolongation), kept)
            for how in ("original", "prolonged")
        }
    return measures


def _accuracy(
    protocol: Protocol, weights: dict[str, Tensor], images: Tensor, kept: dict[str, Any]
) -> float:
    fine = kept["fine_images"]
    images = images.to(fine.validation)
    measured = evaluate(protocol.objective("fine"), weights, images, fine.validation_labels)
    return measured["accuracy"]


def _landscape(
    protocol: Protocol, trial: int, name: str, weights: dict[str, Tensor], kept: dict[str, Any]
) -> dict[str, Any]:
    grid = "coarse" if name == "coarse" else "fine"
    images = kept[f"{grid}_images"]
    count = LOSS_IMAGES[protocol.tier]
    x, y = images.training[:count], images.training_labels[:count]
    weights = {key: w.to(x) for key, w in weights.items()}
    objective = protocol.objective(grid)

    def loss(moved: Weights) -> float:
        return evaluate(objective, moved, x, y)["loss"]

    found: dict[str, Any] = {"radius": [], "curvature": []}
    draw = stream(protocol.seed, trial, "measures", grid)  # the same for both fine starts
    for _ in range(DIRECTIONS):
        direction = filter_normalised_direction(weights, draw)
        found["radius"].append(doubling_radius(loss, weights, direction))
        found["curvature"].append(directional_curvature(loss, weights, direction))
    # A direction is as long as the filters together, whichever was drawn.
    found["length"] = float(sum(d.double().square().sum() for d in direction.values()).sqrt())
    found["loss"] = evaluate(objective, weights, x, y)["loss"]
    return found
