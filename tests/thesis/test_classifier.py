"""The classifier alone: the whole network's objective with the stencils fixed, and convex."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from mgcore.optimize.trust_region import steihaug, trust_region
from mgcore.thesis.classifier import BIAS, ClassifierProblem, features
from mgcore.thesis.network import CLASSIFIER, STENCILS, ThesisCNN, initial_weights
from mgcore.thesis.objective import Objective
from mgcore.thesis.regularization import tikhonov as tikhonov_penalty

CASES = pytest.mark.parametrize(
    ("pooling", "padding", "bias"),
    [(False, "zeros", True), (False, "circular", False), (True, "zeros", False),
     (True, "circular", True)],
)  # fmt: skip
PENALTIES = {"alpha_theta": 0.3, "alpha_w": 0.2, "h": 0.5}


def given(pooling=True, padding="zeros", bias=True, count=12, seed=6, **penalties):
    """An objective on 4×4 images, weights, images and labels."""
    draw = torch.Generator().manual_seed(seed)
    objective = Objective(4, pooling, padding, **penalties)
    weights = initial_weights(4, pooling, draw, stencil_scale="he", classifier_bias=bias)
    if bias:
        weights[BIAS] = torch.randn(10, generator=draw, dtype=torch.float64)
    images = torch.randn(count, 1, 4, 4, generator=draw, dtype=torch.float64)
    return objective, weights, images, torch.randint(10, (count,), generator=draw)


def problem(objective, weights, images, labels, tikhonov=0.0):
    seen = features(objective, weights, images)
    return ClassifierProblem(objective, seen, labels, BIAS in weights, tikhonov)


def normal(like, seed):
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


@CASES
@pytest.mark.parametrize("batch", [1, 5, 50])
def test_features_are_what_the_networks_classifier_reads(pooling, padding, bias, batch):
    objective, weights, images, _ = given(pooling, padding, bias)
    seen = features(objective, weights, images, batch=batch)
    net = ThesisCNN(4, pooling, padding=padding, classifier_bias=bias).double()
    net.load_state_dict(weights)
    read = []
    net.classifier.register_forward_hook(lambda module, inputs, output: read.append(inputs))
    net.classifier(torch.zeros(1, seen.shape[1], dtype=torch.float64))
    logits = net(images)
    torch.testing.assert_close(net.classifier(seen), logits, rtol=1e-12, atol=1e-12)
    assert seen.shape == (12, 64 * (4 if pooling else 16)) and not seen.requires_grad


@CASES
@pytest.mark.parametrize("tikhonov", [0.0, 0.7])
def test_value_gradient_and_product_are_the_whole_networks(pooling, padding, bias, tikhonov):
    objective, weights, images, labels = given(pooling, padding, bias, **PENALTIES)
    mine = problem(objective, weights, images, labels, tikhonov)
    names = [CLASSIFIER, BIAS] if bias else [CLASSIFIER]
    fixed = {name: weights[name] for name in STENCILS}
    constant = sum(tikhonov_penalty(w, 0.3) for w in fixed.values())

    def whole(*parts):
        moved = fixed | dict(zip(names, parts, strict=True))
        value = objective.loss(moved, images, labels) + objective.penalty(moved) - constant
        return value + sum(tikhonov_penalty(part, tikhonov) for part in parts)

    parts = [weights[name].clone().requires_grad_() for name in names]
    x = mine.pack(weights)
    here = mine.local(x)
    assert here.value == mine.value(x) == pytest.approx(whole(*parts).item(), rel=1e-13)
    gradient = torch.autograd.grad(whole(*parts), parts, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in gradient])
    torch.testing.assert_close(here.gradient, flat.detach(), rtol=1e-11, atol=1e-14)
    d = normal(x, 1)
    product = torch.autograd.grad(flat @ d, parts)
    expected = torch.cat([part.reshape(-1) for part in product])
    torch.testing.assert_close(here.hvp(d), expected, rtol=1e-10, atol=1e-13)
    moved = x + 0.1 * d
    there = [part.detach() for part in mine.unpack(moved).values()]
    assert mine.value(moved) == pytest.approx(float(whole(*there)), rel=1e-13)


@CASES
def test_vectors_and_weights_go_back_and_forth(pooling, padding, bias):
    objective, weights, images, labels = given(pooling, padding, bias)
    mine = problem(objective, weights, images, labels)
    back = mine.unpack(mine.pack(weights))
    assert list(back) == ([CLASSIFIER, BIAS] if bias else [CLASSIFIER])
    assert all(torch.equal(back[name], weights[name]) for name in back)


@pytest.mark.parametrize("seed", range(12))
def test_the_problem_is_convex(seed):
    """No direction of negative curvature is met, from small images to all but sure answers."""
    scale = (0.1, 1.0, 5.0)[seed % 3]
    objective, weights, images, labels = given(seed % 2 == 0, bias=seed % 4 < 2, seed=seed)
    mine = problem(objective, weights, scale * images, labels)
    x = mine.pack(weights)
    for size in (0.01, 0.1, 0.3):
        here = mine.local(x + size * normal(x, seed))
        step = steihaug(here.hvp, here.gradient, 10.0, tolerance=0.0, max_iterations=15)
        assert not step.negative_curvature and step.iterations > 0
        for again in range(3):
            d = normal(x, 100 * seed + again)
            assert float(d @ here.hvp(d)) > 0
    outcome = trust_region(
        lambda y, _: mine.local(y), lambda y, _: mine.value(y), x, maxiter=15, gtol=1e-8
    )
    assert outcome.negative_curvature_steps == 0 and outcome.nhev > 0


def test_answers_that_are_quite_sure_leave_no_curvature_and_no_noise():
    """Wrong ones too: then there is a gradient and a Hessian of exactly nothing."""
    objective, weights, images, labels = given()
    mine = problem(objective, {k: w.float() for k, w in weights.items()}, images.float(), labels)
    x = 1e4 * normal(mine.pack(weights).float(), 1)
    here = mine.local(x)
    step = steihaug(here.hvp, here.gradient, 2.0)
    assert float(step.p.norm()) == pytest.approx(2.0) and step.iterations == 1
    torch.testing.assert_close(step.p, -2 * here.gradient / here.gradient.norm())
    assert float(step.p @ here.hvp(step.p)) == 0.0


@pytest.mark.parametrize("bias", [False, True])
def test_the_minimum_is_that_of_scipys_lbfgs(bias):
    """With ½ · 10⁻³ ‖w‖² the minimiser is one point, and both methods stop at its value."""
    objective, weights, images, labels = given(bias=bias, count=40, alpha_w=2.0**-5)
    mine = problem(objective, weights, images, labels, tikhonov=1e-3)
    x = mine.pack(weights)
    outcome = trust_region(
        lambda y, _: mine.local(y), lambda y, _: mine.value(y), x, gtol=1e-9, maxiter=200
    )

    def both(y):
        here = mine.local(torch.from_numpy(y))
        return here.value, here.gradient.numpy()

    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": 0.0, "gtol": 1e-9, "maxcor": 30}
    scipys = minimize(both, x.numpy(), jac=True, method="L-BFGS-B", options=options)
    assert outcome.success and outcome.negative_curvature_steps == 0
    assert outcome.fun == pytest.approx(scipys.fun, rel=1e-10)
    assert outcome.fun < 0.9 * mine.value(x)
    np.testing.assert_allclose(outcome.x.numpy(), scipys.x, atol=1e-5)


def test_in_float32_the_value_is_summed_in_float64():
    objective, weights, images, labels = given(count=40, alpha_w=0.2)
    single = {name: w.float() for name, w in weights.items()}
    mine = problem(objective, single, images.float(), labels)
    x = mine.pack(single)
    assert x.dtype == mine.features.dtype == torch.float32
    logits = (mine.features @ single[CLASSIFIER].T + single[BIAS]).double()
    exact = -logits.log_softmax(dim=1)[torch.arange(40), labels].mean()
    exact += objective.penalty({name: w.double() for name, w in single.items()})
    assert mine.value(x) == pytest.approx(float(exact), rel=1e-14)
    here = mine.local(x)
    assert here.gradient.dtype == here.hvp(x).dtype == torch.float32


def test_a_missing_label_is_one_sentence():
    objective, weights, images, labels = given()
    with pytest.raises(ValueError) as raised:
        problem(objective, weights, images, labels[:-1])
    assert str(raised.value) == (
        "There must be one label for each of at least one image, got 11 labels for 12 images."
    )
    with pytest.raises(ValueError, match="got 0 labels for 0 images"):
        ClassifierProblem(objective, torch.ones(0, 64 * 4), labels[:0])


def test_features_of_another_network_are_one_sentence():
    objective, _, _, labels = given()
    with pytest.raises(ValueError) as raised:
        ClassifierProblem(objective, torch.ones(12, 384), labels)
    side = objective.resolution // 2 if objective.pooling else objective.resolution
    assert str(raised.value) == (
        f"features must have {64 * side**2} numbers for each image, 64 maps of {side}×{side}, "
        "got 384."
    )
