"""The schedule, the update and the loop, against torch.optim.SGD."""

import math

import pytest
import torch
import torch.nn.functional as F

from mgcore.thesis.network import ThesisCNN, initial_weights
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import learning_rate, sgd_update, train_epoch

MOMENTA = pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.0, True), (0.9, False), (0.9, True)]
)


def torch_sgd(parameters, rate, momentum, nesterov):
    """Nesterov's switch is idle without momentum here; torch refuses the pair."""
    return torch.optim.SGD(
        parameters, lr=rate, momentum=momentum, nesterov=nesterov and momentum > 0
    )


def test_learning_rate_is_the_schedule_of_the_thesis():
    for epoch in (1, 2, 10, 20):
        assert learning_rate(epoch) == pytest.approx(0.003 / math.sqrt(0.5 * epoch), rel=1e-15)
    assert learning_rate(1) == pytest.approx(0.00424264, rel=1e-6)
    assert learning_rate(4, base=1.0, decay=1.0) == 0.5
    with pytest.raises(ValueError) as raised:
        learning_rate(0)
    assert str(raised.value) == "epoch must be 1 or more, got 0."


@MOMENTA
def test_update_is_torchs(momentum, nesterov, rng):
    start = {k: torch.randn(4, 3, generator=rng, dtype=torch.float64) for k in "ab"}
    mine = {k: w.clone() for k, w in start.items()}
    theirs = [w.clone().requires_grad_() for w in start.values()]
    velocity = {k: torch.zeros_like(w) for k, w in start.items()}
    optimiser = torch_sgd(theirs, 0.1, momentum, nesterov)
    for step in range(8):
        gradient = {k: torch.randn(4, 3, generator=rng, dtype=torch.float64) for k in "ab"}
        rate = 0.1 / (1 + step)
        optimiser.param_groups[0]["lr"] = rate
        for w, g in zip(theirs, gradient.values(), strict=True):
            w.grad = g.clone()
        optimiser.step()
        sgd_update(mine, velocity, gradient, rate, momentum, nesterov)
        for w, name in zip(theirs, mine, strict=True):
            assert (mine[name] - w).abs().max() < 1e-12


@MOMENTA
@pytest.mark.parametrize("pooling", [False, True])
def test_epochs_are_those_of_a_plain_loop(momentum, nesterov, pooling):
    """Two epochs of the module under torch.optim.SGD, penalties through autograd."""
    draw = torch.Generator().manual_seed(5)
    images = torch.rand(19, 1, 8, 8, generator=draw, dtype=torch.float64)
    labels = torch.randint(10, (19,), generator=draw)
    objective = Objective(8, pooling, alpha_theta=0.125, alpha_w=0.03)
    weights = initial_weights(8, pooling, draw)
    net = ThesisCNN(8, pooling).double()
    net.load_state_dict(weights)
    velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
    optimiser = torch_sgd(net.parameters(), 1.0, momentum, nesterov)
    for epoch in (1, 2):
        order = torch.randperm(19, generator=draw)
        rate = learning_rate(epoch, 0.05)
        optimiser.param_groups[0]["lr"] = rate
        for first in (0, 5, 10):  # the last four images make no batch
            chosen = order[first : first + 5]
            optimiser.zero_grad()
            loss = F.cross_entropy(net(images[chosen]), labels[chosen])
            (loss + objective.penalty(dict(net.named_parameters()))).backward()
            optimiser.step()
        train_epoch(
            objective, weights, velocity, images, labels, order, rate=rate, batch=5,
            momentum=momentum, nesterov=nesterov,
        )  # fmt: skip
        for name, theirs in net.named_parameters():
            assert (weights[name] - theirs).abs().max() < 1e-12, name
            assert not weights[name].requires_grad


def small(count=6):
    draw = torch.Generator().manual_seed(5)
    weights = initial_weights(8, True, draw)
    velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
    images = torch.rand(count, 1, 8, 8, generator=draw, dtype=torch.float64)
    return Objective(8, True), weights, velocity, images, torch.arange(count)


def test_images_left_over_have_no_influence():
    objective, weights, velocity, images, labels = small(7)
    others = {k: w.clone() for k, w in weights.items()}
    spare = {k: v.clone() for k, v in velocity.items()}
    order = torch.arange(7)
    train_epoch(objective, weights, velocity, images, labels, order, rate=0.1, batch=3)
    images[6] = 1e6
    train_epoch(objective, others, spare, images, labels, order, rate=0.1, batch=3)
    assert all(torch.equal(weights[k], others[k]) for k in weights)


def test_divergence_and_too_large_a_batch_get_one_sentence():
    objective, weights, velocity, images, labels = small()
    order = torch.arange(6)
    with pytest.raises(ValueError) as raised:
        train_epoch(objective, weights, velocity, images, labels, order, rate=0.1, batch=7)
    assert str(raised.value) == "batch must be at most the 6 images, got 7."
    with pytest.raises(FloatingPointError) as raised:
        train_epoch(objective, weights, velocity, images, labels, order, rate=float("inf"), batch=3)
    assert str(raised.value) == "training diverged: conv1.weight is no longer finite."
