"""The small arrays of trial 0 in a record, from which figures are drawn without the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mgcore.analysis.landscape import filter_normalised_direction, surface
from mgcore.lab.protocol import Protocol
from mgcore.lab.trial.phases import stream
from mgcore.lab.trial.trial import KeptTrial
from mgcore.thesis.network import CLASSIFIER, Weights, feature_maps
from mgcore.thesis.objective import Objective, evaluate

BLOCKS = 100  # weight maps of the coarse classifier (Fig. 4.2)
SHOWN = 2  # validation images that are propagated (Fig. 4.4)
CHANNELS = 6  # of each layer, drawn at random
SIDE = {"smoke": 5, "class": 11, "paper": 21}  # points along a side of a loss surface
SURFACE_IMAGES = {"smoke": 32, "class": 200, "paper": 500}
REACH = 1.0  # in filter norms


def collect(protocol: Protocol, kept: KeptTrial) -> dict[str, np.ndarray]:
    """Return the arrays of the figures from a trial's networks and images.

    Parameters
    ----------
    protocol : Protocol
    kept : KeptTrial
        From the result of :func:`mgcore.lab.trial.trial.run_trial`.

    Returns
    -------
    dict of ndarray
        ``stencils/<network>/<layer>`` (out, in, 3, 3); ``blocks`` (100, m, m) with ``blocks_of``
        (100, 2) their class and channel; ``digits/…``; ``maps/<condition>/<layer>``
        (images, channels, n, n) with ``channels/<layer>``; ``surface/<network>`` (k, k) with
        ``surface_steps`` (k,).
    """
    phases, starts = kept.phases, kept.starts
    arrays: dict[str, np.ndarray] = {}
    networks = {name: state.weights for name, state in phases.items()}
    for name, weights in networks.items():
        for layer in ("conv1", "conv2"):
            arrays[f"stencils/{name}/{layer}"] = weights[f"{layer}.weight"].float().cpu().numpy()

    draw = stream(protocol.seed, 0, "figures")
    side = protocol.coarse_side
    blocks = networks["coarse"][CLASSIFIER].unflatten(1, (-1, side, side)).flatten(0, 1)
    chosen = torch.randperm(len(blocks), generator=draw)[:BLOCKS]
    channels = len(blocks) // 10
    arrays["blocks"] = blocks[chosen].float().cpu().numpy()
    arrays["blocks_of"] = torch.stack([chosen // channels, chosen % channels], dim=1).numpy()

    arrays |= _propagate(protocol, kept, networks, draw)
    arrays |= _surfaces(protocol, kept, {k: starts[k] for k in starts if k != "new"})
    return arrays


def _propagate(
    protocol: Protocol, kept: KeptTrial, networks: dict[str, Any], draw: torch.Generator
) -> dict[str, np.ndarray]:
    """Return the feature maps of two validation images of different digits in the fine networks."""
    images = kept.fine_images
    labels = images.validation_labels.cpu()
    other = int((labels != labels[0]).nonzero()[0])
    pick = torch.tensor([0, other][:SHOWN])
    x = images.validation[pick]
    arrays = {
        "digits/images": x[:, 0].float().cpu().numpy(),
        "digits/labels": labels[pick].numpy(),
        "digits/indices": kept.indices[2][pick].numpy(),
    }
    layers = ("conv1", "pooled", "conv2") if protocol.pooling else ("conv1", "conv2")
    order = {layer: torch.randperm(64 if layer == "conv2" else 32, generator=draw)[:CHANNELS]
             for layer in layers}  # fmt: skip
    arrays |= {f"channels/{layer}": index.numpy() for layer, index in order.items()}
    for condition in ("new", "transfer", "multigrid"):
        with torch.no_grad():
            maps = feature_maps(networks[condition], x, protocol.pooling, protocol.padding)
        for layer, features in zip(layers, maps, strict=True):
            arrays[f"maps/{condition}/{layer}"] = features[:, order[layer]].half().cpu().numpy()
    return arrays


def _surfaces(protocol: Protocol, kept: KeptTrial, starts: dict[str, Any]) -> dict[str, np.ndarray]:
    """Evaluate the objective around the coarse minimum and around the fine initial weights."""
    count = SURFACE_IMAGES[protocol.tier]
    steps = torch.linspace(-REACH, REACH, SIDE[protocol.tier])
    arrays = {"surface_steps": steps.numpy()}
    centres = {"coarse": kept.phases["coarse"].weights} | starts
    for name, weights in centres.items():
        grid = "coarse" if name == "coarse" else "fine"
        images = kept.images(grid)
        weights = {k: w.to(images.training) for k, w in weights.items()}
        draw = stream(protocol.seed, 0, "directions", grid)  # the same for both fine networks
        first = filter_normalised_direction(weights, draw)
        pair = first, filter_normalised_direction(weights, draw)
        objective = protocol.objective(grid)
        x, y = images.training[:count], images.training_labels[:count]

        def value(
            moved: Weights, objective: Objective = objective, x: Tensor = x, y: Tensor = y
        ) -> float:
            return evaluate(objective, moved, x, y)["objective"]

        values = surface(value, weights, pair, steps)
        arrays[f"surface/{name}"] = values.numpy()
    return arrays
