"""Loss surfaces: directions, planes of the objective itself, curvature and doubling radius."""

import math

import pytest
import torch

from mgcore.analysis.landscape import (
    directional_curvature,
    doubling_radius,
    filter_normalised_direction,
    surface,
)
from mgcore.thesis.curvature import flatten, local_model
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import Objective, evaluate


def state(seed=1):
    weights = initial_weights(8, True, torch.Generator().manual_seed(seed))
    weights["classifier.bias"] += 1.0
    return weights


def pair(weights, seed=2):
    draw = torch.Generator().manual_seed(seed)
    return tuple(filter_normalised_direction(weights, draw) for _ in range(2))


def of(objective, images, labels, part="objective"):
    """Return the objective, or its loss, as a function of the weights."""
    return lambda weights: evaluate(objective, weights, images, labels)[part]


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
    values = surface(of(objective, images, labels), weights, (first, second), steps)
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
    values = surface(of(objective, images, labels), weights, (d, e), steps)

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


@pytest.fixture
def along():
    """Return a maker of losses that depend on the step alone, and the list of the steps asked."""
    weights = {"w": torch.zeros(3, dtype=torch.float64), "b": torch.zeros(1, dtype=torch.float64)}
    direction = {"w": torch.tensor([1.0, 0.0, 0.0]).double(), "b": torch.zeros(1).double()}
    asked = []

    def prepare(loss):
        def value(moved):
            assert not moved["b"].any() and not moved["w"][1:].any()
            asked.append(float(moved["w"][0]))
            return loss(asked[-1])

        return value, weights, direction

    return prepare, asked


def test_curvature_of_a_quadratic_is_exact(along):
    prepare, asked = along
    for a, b in ((3.0, -2.0), (-0.5, 7.0), (0.0, 1.0)):
        given = prepare(lambda t, a=a, b=b: 1 + b * t + 0.5 * a * t**2)
        assert directional_curvature(*given) == pytest.approx(a, abs=1e-12)
        assert directional_curvature(*given, step=2.0) == pytest.approx(a, abs=1e-14)
    assert asked[:3] == [0.05, 0.0, -0.05]
    given = prepare(lambda t: t**4)  # the error of central differences: t⁴ gives 2 step²
    assert directional_curvature(*given, step=0.5) == pytest.approx(0.5)


def test_curvature_is_the_losss_without_its_penalties(rng):
    weights, (d, _) = state(), pair(state())
    images = torch.rand(6, 1, 8, 8, generator=rng, dtype=torch.float64)
    given = weights, images, torch.arange(6)
    product = local_model(Objective(8, True), *given).hvp(flatten(d))
    exact = float(flatten(d) @ product)
    penalised = Objective(8, True, alpha_theta=0.3, alpha_w=0.2)
    loss = of(penalised, images, torch.arange(6), "loss")
    found = directional_curvature(loss, weights, d, step=1e-4)
    assert found == pytest.approx(exact, rel=1e-5) and abs(exact) > 1e-3


@pytest.mark.parametrize(
    "loss, radius",
    [
        (lambda t: 1 + 4 * t**2, 0.5),
        (lambda t: 3 + 3 * t**2, 1.0),
        (lambda t: 0.2 * math.exp(abs(t)), math.log(2)),
        (lambda t: 1 + max(t, -9 * t), 1 / 3),  # 1 ahead, 1/9 behind
        (lambda t: math.nan if abs(t) > 5 else 1.0, 5.0),  # what is no number has doubled
        (lambda t: 1 + (abs(t) / 200) ** 8, 200.0),  # between the last two that are tried
        (lambda t: 1 + (abs(t) / 0.005) ** 8, 0.005),  # and the first two
    ],
)
def test_the_doubling_radius_is_found_to_a_percent(along, loss, radius):
    prepare, asked = along
    found = doubling_radius(*prepare(loss))
    assert radius <= found * (1 + 1e-9) and found <= 1.01 * radius * (1 + 1e-9)
    assert len(asked) < 60 and max(map(abs, asked)) <= 256


def test_the_doubling_radius_stays_within_reach(along):
    prepare, asked = along
    assert doubling_radius(*prepare(lambda t: 1.0)) == 256.0
    assert doubling_radius(*prepare(lambda t: 1 + 1e9 * abs(t))) == 2.0**-8
    assert doubling_radius(*prepare(lambda t: 1 + 1e9 * max(t, 0))) == 1.0  # the mean of the two
    asked.clear()
    given = prepare(lambda t: 1 + t**2 / 100)
    assert doubling_radius(*given, reach=(0.5, 3.0)) == 3.0
    assert max(map(abs, asked)) <= 3.0 and min(abs(t) for t in asked if t) == 0.5
    assert doubling_radius(*given, reach=(0.3, 30.0)) == pytest.approx(10.0, rel=0.01)


@pytest.mark.parametrize("reach", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (1.0, math.inf)])
def test_a_reach_that_is_no_range_is_one_sentence(along, reach):
    with pytest.raises(ValueError) as raised:
        doubling_radius(*along[0](lambda t: 1.0), reach=reach)
    assert str(raised.value) == (
        f"reach must be two positive numbers, the smaller first, got {reach!r}."
    )


@pytest.mark.parametrize("step", [0.0, -0.1, math.nan])
def test_a_step_of_no_length_is_one_sentence(along, step):
    with pytest.raises(ValueError) as raised:
        directional_curvature(*along[0](lambda t: 1.0), step=step)
    assert str(raised.value) == f"step must be positive and finite, got {step!r}."


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_network_without_a_loss_has_no_doubling_radius(along, loss):
    with pytest.raises(ValueError) as raised:
        doubling_radius(*along[0](lambda t: loss))
    assert str(raised.value) == "The loss at the centre is not finite. Check the weights."


def test_the_doubling_radius_of_a_network(rng):
    """Where its answers are right and sure, the loss doubles on both sides."""
    weights = state()
    weights["classifier.weight"] *= 20
    d, _ = pair(weights)
    objective = Objective(8, True, alpha_theta=0.3)
    images = torch.rand(6, 1, 8, 8, generator=rng, dtype=torch.float64)
    labels = objective.logits(weights, images).argmax(dim=1)

    def loss(t):
        moved = {k: w + t * d[k] for k, w in weights.items()}
        return evaluate(objective, moved, images, labels)["loss"]

    limit, ends = 2 * loss(0), []
    for sign in (1, -1):  # by small steps
        ends.append(next(t for k in range(300) if loss(sign * (t := 2.0**-8 * 1.02**k)) >= limit))
    assert 0.1 < ends[1] < 0.5 * ends[0] < 1
    found = doubling_radius(of(objective, images, labels, "loss"), weights, d)
    assert found == pytest.approx(math.sqrt(ends[0] * ends[1]), rel=0.025)
