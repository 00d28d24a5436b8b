"""Numbers that the thesis's own software computed (``data/meganet.json``), repeated by ours."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mgcore.thesis.network import forward
from mgcore.thesis.regularization import tikhonov
from mgcore.thesis.sgd import learning_rate, look_ahead, sgd_update

NUMBERS = json.loads((Path(__file__).parent / "meganet.json").read_text())
NAMES = ("conv1.weight", "conv2.weight", "classifier.weight", "classifier.bias")
ALPHA = {"conv1.weight": 2**-3, "conv2.weight": 2**-3}  # of the classifier and its bias 2⁻⁵
LABELS = torch.tensor([2, 0, 1, 1, 0])


def array(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def waves(shape, start, amplitude=1.0, offset=0.0) -> torch.Tensor:
    """Return the inputs of the file: c + a sin((k + s)²) at the row-major position k."""
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return (offset + amplitude * torch.sin((k + start) ** 2)).view(shape)


def start_weights(rows: int, columns: int) -> dict[str, torch.Tensor]:
    """Return the network's parameters in the file."""
    return {
        "conv1.weight": waves((3, 1, 3, 3), 5000, 0.5),
        "conv2.weight": waves((4, 3, 3, 3), 6000, 0.3),
        "classifier.weight": waves((3, 4 * rows * columns), 7000, 0.2),
        "classifier.bias": waves((3,), 8000, 0.1),
    }


def flat(weights) -> torch.Tensor:
    return torch.cat([weights[name].flatten() for name in NAMES])


def objective(weights, images, labels, pooling) -> torch.Tensor:
    """Return mean cross-entropy and both penalties, as the file's network has them."""
    loss = F.cross_entropy(forward(weights, images, pooling, "circular"), labels)
    return loss + sum(tikhonov(w, ALPHA.get(name, 2**-5)) for name, w in weights.items())


def test_parameters_are_those_of_the_file():
    for name, (rows, columns) in {"unpooled": (6, 4), "pooled": (4, 4)}.items():
        mine = flat(start_weights(rows, columns))
        assert torch.equal(mine, array(NUMBERS["network"][name]["parameters"]))


@pytest.mark.parametrize("run", range(3))
def test_stochastic_gradients_move_as_the_original_softwares(run):
    """Two epochs of two steps; the learning rate falls between them, which torch's rule notices."""
    recorded = NUMBERS["sgd"]["runs"][run]
    images = waves((5, 1, 8, 8), 4000, 0.5, 0.5)
    weights = start_weights(4, 4)
    velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
    momentum, nesterov = recorded["momentum"], bool(recorded["nesterov"])
    after = iter(array(recorded["after"]))
    for epoch in (1, 2):
        rate = learning_rate(epoch, base=0.1)
        assert rate == pytest.approx(NUMBERS["sgd"]["learning_rates"][epoch - 1], rel=1e-15)
        for first in (0, 2):  # a last, smaller minibatch is dropped
            chosen = slice(first, first + 2)
            look_ahead(weights, velocity, momentum, nesterov, "package")
            leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
            value = objective(leaves, images[chosen], LABELS[chosen], True)
            gradient = dict(
                zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True)
            )
            sgd_update(weights, velocity, gradient, rate, momentum, nesterov, "package")
            assert (flat(weights) - next(after)).abs().max() < 1e-12
        value = float(objective(weights, images, LABELS, True))
        assert value == pytest.approx(recorded["objective_after_epoch"][epoch - 1], rel=1e-12)
