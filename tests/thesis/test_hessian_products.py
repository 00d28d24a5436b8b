"""Products written out against autograd's, part by part."""

import pytest
import torch
import torch.nn.functional as F

from mgcore.thesis.curvature import flatten, unflatten
from mgcore.thesis.hessian_products import Linearised, softmax_hessian
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import Objective

CASES = pytest.mark.parametrize(
    ("pooling", "padding", "bias"),
    [(False, "zeros", True), (True, "circular", True), (True, "zeros", False)],
)


def given(pooling, padding, bias):
    draw = torch.Generator().manual_seed(1)
    weights = initial_weights(8, pooling, draw, stencil_scale="he", classifier_bias=bias)
    images = torch.rand(3, 1, 8, 8, generator=draw, dtype=torch.float64)
    return Objective(8, pooling, padding), weights, images, torch.tensor([3, 1, 4])


def directions(weights):
    draw = torch.Generator().manual_seed(2)
    return {
        k: torch.randn(w.shape, generator=draw, dtype=torch.float64) for k, w in weights.items()
    }


@CASES
def test_logits_and_gradient_are_the_networks_in_the_order_of_its_weights(pooling, padding, bias):
    objective, weights, images, labels = given(pooling, padding, bias)
    passed = Linearised(objective, weights, images, labels)
    torch.testing.assert_close(passed.logits, objective.logits(weights, images))
    slope = torch.func.grad(lambda w: F.cross_entropy(objective.logits(w, images), labels))(weights)
    assert list(passed.gradient) == list(weights)
    for name in weights:
        torch.testing.assert_close(passed.gradient[name], slope[name], rtol=1e-10, atol=1e-13)


@CASES
def test_a_full_product_is_the_gradients_derivative(pooling, padding, bias):
    objective, weights, images, labels = given(pooling, padding, bias)
    d = directions(weights)
    slope = torch.func.grad(lambda w: F.cross_entropy(objective.logits(w, images), labels))
    expected = torch.func.jvp(slope, (weights,), (d,))[1]
    found = Linearised(objective, weights, images, labels).product(d, "full")
    for name in weights:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-13)


@CASES
def test_a_gauss_newton_product_is_written_with_the_jacobian(pooling, padding, bias):
    objective, weights, images, labels = given(pooling, padding, bias)
    d = directions(weights)

    def logits(vector):
        return objective.logits(unflatten(vector, weights), images)

    x = flatten(weights)
    z, pushed = torch.func.jvp(logits, (x,), (flatten(d),))
    pull = torch.func.vjp(logits, x)[1]
    expected = pull(softmax_hessian(z.softmax(dim=1), pushed))[0]
    found = flatten(Linearised(objective, weights, images, labels).product(d, "gauss-newton"))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_a_product_leaves_what_is_kept_alone():
    objective, weights, images, labels = given(True, "zeros", True)
    passed, d = Linearised(objective, weights, images, labels), directions(weights)
    first = {kind: flatten(passed.product(d, kind)) for kind in ("full", "gauss-newton")}
    before = {name: w.clone() for name, w in weights.items()}
    for kind, value in first.items():
        assert torch.equal(flatten(passed.product(d, kind)), value)
    assert all(torch.equal(weights[name], w) for name, w in before.items())
