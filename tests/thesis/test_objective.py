"""The objective and its gradient, against autograd and the definition (thesis (2.3))."""

import math

import pytest
import torch

from mgcore.thesis.network import ThesisCNN, initial_weights
from mgcore.thesis.objective import Objective, evaluate


def problem(pooling=False, bias=True, count=7, **choices):
    """A small objective with weights that require gradients, images and labels, in float64."""
    draw = torch.Generator().manual_seed(11)
    objective = Objective(8, pooling, **choices)
    weights = initial_weights(8, pooling, draw, stencil_scale="he", classifier_bias=bias)
    weights = {name: w.requires_grad_() for name, w in weights.items()}
    images = torch.rand(count, 1, 8, 8, generator=draw, dtype=torch.float64)
    return objective, weights, images, torch.randint(10, (count,), generator=draw)


def by_hand(objective, weights, images, labels):
    """Mean cross-entropy and the two penalties from their definitions, through the module."""
    bias = "classifier.bias" in weights
    net = ThesisCNN(8, objective.pooling, padding=objective.padding, classifier_bias=bias).double()
    logits = torch.func.functional_call(net, dict(weights), (images,))
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    loss = -sum(p[k, label].log() for k, label in enumerate(labels)) / len(labels)
    theta = torch.cat([weights[f"conv{k}.weight"].flatten() for k in (1, 2)])
    side = 4 if objective.pooling else 8
    w = weights["classifier.weight"].reshape(10, 64, side, side)
    rough = (w[:, :, 1:] - w[:, :, :-1]).pow(2).sum() + (w[..., 1:] - w[..., :-1]).pow(2).sum()
    penalty = objective.alpha_theta / 2 * theta.dot(theta)
    return loss, penalty + objective.alpha_w / 2 * rough / objective.h**2


CASES = pytest.mark.parametrize(
    "choices",
    [
        {},
        {"alpha_theta": 0.125, "alpha_w": 2.0**-5},
        {"pooling": True, "padding": "circular", "alpha_theta": 0.3, "alpha_w": 0.2, "h": 0.5},
        {"bias": False, "alpha_theta": 0.125},
        {"pooling": True, "alpha_w": 0.125},
    ],
)


@CASES
def test_value_is_loss_and_penalties(choices):
    objective, weights, images, labels = problem(**choices)
    loss, penalty = by_hand(objective, weights, images, labels)
    assert objective.loss(weights, images, labels).item() == pytest.approx(loss.item(), rel=1e-12)
    assert objective.penalty(weights).item() == pytest.approx(penalty.item(), rel=1e-12)


@CASES
def test_gradient_is_that_of_autograd(choices):
    objective, weights, images, labels = problem(**choices)
    reference = torch.autograd.grad(
        sum(by_hand(objective, weights, images, labels)), list(weights.values())
    )
    gradient = objective.gradient(weights, images, labels)
    assert list(gradient) == list(weights)
    for (name, mine), theirs in zip(gradient.items(), reference, strict=True):
        assert (mine - theirs).abs().max() < 1e-12, name
        assert not mine.requires_grad


@pytest.mark.parametrize("pooling", [False, True])
def test_gradcheck(pooling):
    """Finite differences in a few directions, of the loss as a function of the stencils."""
    objective, weights, images, labels = problem(pooling, count=2, alpha_theta=0.1, alpha_w=0.1)
    stencil = weights["conv1.weight"]
    fixed = {k: w.detach() for k, w in weights.items()}

    def value(w):
        return objective.loss(fixed | {"conv1.weight": w}, images, labels)

    assert torch.autograd.gradcheck(value, stencil, fast_mode=True)
    assert torch.autograd.gradgradcheck(value, stencil, fast_mode=True)


def test_penalty_gradient_is_added_in_full_whatever_the_batch():
    objective, weights, images, labels = problem(alpha_theta=0.125, alpha_w=0.25)
    plain = Objective(8)
    for some in (slice(0, 2), slice(0, 7)):
        with_penalty = objective.gradient(weights, images[some], labels[some])
        without = plain.gradient(weights, images[some], labels[some])
        difference = with_penalty["conv2.weight"] - without["conv2.weight"]
        assert (difference - 0.125 * weights["conv2.weight"]).abs().max() < 1e-13
        assert torch.equal(with_penalty["classifier.bias"], without["classifier.bias"])


@pytest.mark.parametrize("batch", [1, 3, 7, 50])
def test_evaluation_does_not_depend_on_the_batch(batch):
    objective, weights, images, labels = problem(alpha_theta=0.125, alpha_w=0.25)
    loss, penalty = by_hand(objective, weights, images, labels)
    measured = evaluate(objective, weights, images, labels, batch=batch)
    assert measured["loss"] == pytest.approx(loss.item(), rel=1e-12)
    assert measured["objective"] == pytest.approx((loss + penalty).item(), rel=1e-12)
    right = objective.logits(weights, images).argmax(1) == labels
    assert measured["accuracy"] == pytest.approx(100 * right.double().mean().item(), rel=1e-14)


def test_accuracy_is_a_percentage_of_right_answers():
    objective, weights, images, _ = problem()
    best = objective.logits(weights, images).argmax(1)
    assert evaluate(objective, weights, images, best)["accuracy"] == 100.0
    assert evaluate(objective, weights, images, (best + 1) % 10)["accuracy"] == 0.0
    one_wrong = torch.cat([best[:-1], (best[-1:] + 1) % 10])
    assert evaluate(objective, weights, images, one_wrong)["accuracy"] == 100 * 6 / 7


def test_zero_weights_lose_the_logarithm_of_ten():
    objective, weights, images, labels = problem(alpha_theta=0.125, alpha_w=0.25)
    nothing = {name: torch.zeros_like(w) for name, w in weights.items()}
    measured = evaluate(objective, nothing, images, labels)
    assert measured["loss"] == measured["objective"] == pytest.approx(math.log(10), rel=1e-14)
