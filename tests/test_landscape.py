"""Loss surfaces: directions as long as the filters, and planes of the objective itself."""

import math

import pytest
import torch

from mgcore.landscape import filter_normalised_direction, surface
from mgcore.networks import initial_weights
from mgcore.objective import Objective, evaluate


def state(seed=1):
    weights = initial_weights(8, True, torch.Generator().manual_seed(seed))
    weights["classifier.bias"] += 1.0
    return weights


def pair(weights, seed=2):
    draw = torch.Generator().manual_seed(seed)
    return tuple(filter_normalised_direction(weights, draw) for _ in range(2))


def test_every_filter_is_as_long_as_its_own_and_biases_stay():
    weights = state()
    direction, other = pair(weights)
    for name, w in weights.items():
        d = direction[name]
        assert d.shape == w.shape and d.dtype == w.dtype
        if w.ndim == 1:
            assert d.abs().max() == 0
            continue
        for mine, own in zip(d, w, strict=True):  # a filter: all inputs of one output
            assert mine.norm().item() == pytest.approx(own.norm().item(), rel=1e-12)
        cosine = (d * other[name]).sum() / (d.norm() * other[name].norm())
        assert abs(cosine) < 5 / math.sqrt(d.numel())  # two independent draws
    again, _ = pair(weights)
    assert all(torch.equal(again[k], direction[k]) for k in weights)


def test_directions_take_the_dtype_of_the_weights():
    weights = {name: w.float() for name, w in state().items()}
    direction, _ = pair(weights)
    assert all(d.dtype == torch.float32 for d in direction.values())
    exact, _ = pair(state())
    for name in ("conv1.weight", "conv2.weight"):  # the same draw, rounded
        assert torch.allclose(direction[name].double(), exact[name], rtol=1e-5)


def test_centre_is_the_objective_and_entries_are_moved_weights(rng):
    weights, objective = state(), Objective(8, True, alpha_theta=0.1, alpha_w=0.2)
    first, second = pair(weights)
    images = torch.rand(6, 1, 8, 8, generator=rng, dtype=torch.float64)
    labels = torch.arange(6)
    steps = torch.tensor([-1.0, 0.0, 0.5])
    values = surface(objective, weights, (first, second), steps, images, labels)
    assert values.shape == (3, 3) and values.dtype == torch.float64
    centre = evaluate(objective, weights, images, labels)["objective"]
    assert values[1, 1].item() == pytest.approx(centre, rel=1e-14)
    moved = {k: w - first[k] + 0.5 * second[k] for k, w in weights.items()}
    there = evaluate(objective, moved, images, labels)["objective"]
    assert values[0, 2].item() == pytest.approx(there, rel=1e-13)


def test_surface_of_a_quadratic_is_a_paraboloid():
    """Black images and no bias leave log 10 and the penalties, quadratic in the weights."""
    weights = state()
    weights.pop("classifier.bias")
    objective = Objective(8, True, alpha_theta=0.1, alpha_w=0.2)
    d, e = pair(weights)
    images, labels = torch.zeros(4, 1, 8, 8).double(), torch.arange(4)
    steps = torch.linspace(-1, 2, 4)
    values = surface(objective, weights, (d, e), steps, images, labels)

    def form(x, y):
        """The bilinear form whose square is twice the penalty."""
        total = sum(0.1 * (x[k] * y[k]).sum() for k in ("conv1.weight", "conv2.weight"))
        x, y = (z["classifier.weight"].reshape(640, 4, 4) for z in (x, y))
        for axis in (1, 2):
            total += 0.2 * (x.diff(dim=axis) * y.diff(dim=axis)).sum()
        return float(total)

    a, b = steps[:, None].double(), steps[None].double()
    expected = math.log(10) + 0.5 * form(weights, weights)
    expected += a * form(weights, d) + b * form(weights, e) + a * b * form(d, e)
    expected = expected + 0.5 * (a**2 * form(d, d) + b**2 * form(e, e))
    assert ((values - expected) / expected).abs().max() < 1e-12
