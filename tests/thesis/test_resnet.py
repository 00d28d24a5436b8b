"""The residual network: forward Euler written out by hand, known flows, and its limit in depth."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.signal import correlate2d

from mgcore.thesis.resnet import ResNet, depth_of, forward, layer, propagate, refine_depth

SIGMA = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}


def make(rng, resolution=5, width=2, depth=3, **options):
    """Return a float64 network with weights of the test's own generator, none of them zero."""
    net = ResNet(resolution, width, depth, **options).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return net


def state(net):
    return {name: tensor.detach() for name, tensor in net.state_dict().items()}


def random(shape, rng):
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def correlate(x, stencils, padding):
    """Return the sum over the channels of x, (width, n, n), by scipy: no code of ours."""
    how = {"mode": "same", "boundary": {"zeros": "fill", "circular": "wrap"}[padding]}
    return np.stack(
        [sum(correlate2d(c, k, **how) for c, k in zip(x, out, strict=True)) for out in stencils]
    )


def euler(weights, image, depth, h, activation, padding):
    """Write (2.9) out for one image: the states and the logits, by numpy and scipy."""
    w = {name: tensor.numpy() for name, tensor in weights.items()}
    states = [correlate(image, w["open.weight"], padding)]
    for j in range(depth):
        f = SIGMA[activation](correlate(states[-1], w[f"layers.{j}.first.weight"], padding))
        if f"layers.{j}.second.weight" in w:
            f = correlate(f, w[f"layers.{j}.second.weight"], padding)
        states.append(states[-1] + h * f)
    return states, w["classifier.weight"] @ states[-1].ravel() + w["classifier.bias"]


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_states_and_logits_are_those_of_forward_euler(activation, padding, second, rng):
    h, how = 0.3, {"activation": activation, "padding": padding}
    net = make(rng, h=h, second=second, **how)
    weights, images = state(net), random((4, 1, 5, 5), rng)
    opened = correlate(images[1].numpy(), weights["open.weight"].numpy(), padding)
    states = propagate(weights, torch.from_numpy(opened)[None], h, **how)
    expected, logits = euler(weights, images[1].numpy(), 3, h, activation, padding)
    assert len(states) == 4
    for mine, theirs in zip(states, expected, strict=True):
        assert np.abs(mine[0].numpy() - theirs).max() < 1e-12
    assert np.abs(forward(weights, images, h, **how)[1].numpy() - logits).max() < 1e-12
    assert (net(images) - forward(weights, images, h, **how)).abs().max() < 1e-12


def test_default_step_is_the_original_resnet(rng):
    """(2.8): x_{j+1} = x_j + F(θ_j, x_j)."""
    weights, x = state(make(rng)), random((2, 2, 5, 5), rng)
    states = propagate(weights, x)
    for j in range(3):
        f = layer(
            states[j], *(weights[f"layers.{j}.{part}.weight"] for part in ("first", "second"))
        )
        assert torch.equal(states[j + 1], states[j] + f)
        assert f.abs().max() > 0.1


def test_without_a_step_every_layer_is_the_identity(rng):
    net = make(rng, h=0.0)
    x, images = random((2, 2, 5, 5), rng), random((2, 1, 5, 5), rng)
    assert all(torch.equal(s, x) for s in propagate(state(net), x, 0.0))
    expected = net.classifier(net.open(images).flatten(1))
    assert (net(images) - expected).abs().max() < 1e-12


def test_resolution_follows_the_classifier():
    assert ResNet(5, width=3).resolution == 5


def test_layers_driven_to_zero_add_nothing(rng):
    """What the thesis gives as the reason for (2.8): more layers cannot make it worse."""
    weights, x = state(make(rng)), random((2, 2, 5, 5), rng)
    for j in range(3):
        weights[f"layers.{j}.second.weight"].zero_()
    assert torch.equal(propagate(weights, x)[-1], x)


def test_a_known_flow_step_by_step(rng):
    """σ(x) = max(x, 0), K₁ = 1, K₂ = −2 in every cell: x_N = (1 − 2h)^N x₀ for x₀ > 0."""
    centre = torch.zeros(1, 1, 3, 3).double()
    centre[..., 1, 1] = 1
    weights = {"layers.0.first.weight": centre, "layers.0.second.weight": -2 * centre}
    x = random((1, 1, 4, 4), rng).abs() + 0.1
    states = propagate(refine_depth(weights, 7), x, 0.125, "relu")
    for number, found in enumerate(states):
        assert (found - 0.75**number * x).abs().max() < 1e-14


def test_relu_without_a_second_operator_only_adds(rng):
    states = propagate(state(make(rng, second=False)), random((2, 2, 5, 5), rng), 0.5, "relu")
    for before, after in pairwise(states):
        assert (after >= before).all() and (after > before).any()


def flow(weights, x, depth, h, activation):
    """Return the solution of dx/dt = F(θ(t), x) at N h, θ constant over each layer, by scipy."""
    for j in range(depth):
        first, second = (
            weights[f"layers.{j}.{part}.weight"].numpy() for part in ("first", "second")
        )

        def slope(_, y, first=first, second=second, shape=x.shape):
            f = SIGMA[activation](correlate(y.reshape(shape), first, "zeros"))
            return correlate(f, second, "zeros").ravel()

        solved = solve_ivp(slope, (0, h), x.ravel(), method="DOP853", rtol=1e-11, atol=1e-12)
        x = solved.y[:, -1].reshape(x.shape)
    return x


def test_refining_in_depth_converges_with_order_one_to_the_flow(rng):
    net = make(rng, resolution=4, depth=2)
    weights, x, h = state(net), random((2, 4, 4), rng), 0.5
    exact = flow(weights, x.numpy(), 2, h, "tanh")
    errors = []
    for factor in (32, 64, 128):
        last = propagate(refine_depth(weights, factor), x[None], h / factor)[-1][0]
        errors.append(np.abs(last.numpy() - exact).max())
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert orders == pytest.approx([1, 1], abs=0.02)
    assert errors[-1] < 0.02 * np.abs(exact - x.numpy()).max()


def test_refining_repeats_layers_in_their_order_and_copies(rng):
    weights = state(make(rng, depth=2))
    fine = refine_depth(weights, 3)
    assert (depth_of(weights), depth_of(fine)) == (2, 6)
    for j in range(6):
        for part in ("first", "second"):
            name = f"layers.{j}.{part}.weight"
            assert torch.equal(fine[name], weights[f"layers.{j // 3}.{part}.weight"])
    for name in ("open.weight", "classifier.weight", "classifier.bias"):
        assert torch.equal(fine[name], weights[name])
    fine["layers.0.first.weight"].zero_()
    assert weights["layers.0.first.weight"].any() and fine["layers.1.first.weight"].any()
    assert set(refine_depth(state(make(rng, second=False)))) == {
        "open.weight", "classifier.weight", "classifier.bias",
        *(f"layers.{j}.first.weight" for j in range(6)),
    }  # fmt: skip


def test_a_deeper_module_takes_the_refined_weights(rng):
    coarse, images = make(rng, h=0.4), random((3, 1, 5, 5), rng)
    fine = ResNet(5, 2, 6, h=0.2).double()
    fine.load_state_dict(refine_depth(state(coarse)))
    expected = forward(refine_depth(state(coarse)), images, 0.2)
    assert (fine(images) - expected).abs().max() < 1e-12
    assert (fine(images) - coarse(images)).abs().max() > 1e-3


def test_gradients_reach_every_weight_and_are_right(rng):
    net = make(rng, resolution=3, depth=2, h=0.5)
    names, tensors = zip(*net.named_parameters(), strict=True)
    images = random((1, 1, 3, 3), rng)

    def logits(*weights):
        return forward(dict(zip(names, weights, strict=True)), images, 0.5)

    assert torch.autograd.gradcheck(logits, tensors)
    parts = torch.autograd.grad(logits(*tensors).square().sum(), tensors)
    assert all(part.any() for part in parts)


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize(("resolution", "width", "depth"), [(14, 4, 3), (28, 8, 5), (3, 1, 1)])
def test_parameters_are_counted(resolution, width, depth, second):
    net = ResNet(resolution, width, depth, second=second)
    stencils = 9 * width + depth * (1 + second) * 9 * width**2
    classifier = 10 * (width * resolution**2 + 1)
    assert sum(p.numel() for p in net.parameters()) == stencils + classifier


def test_the_start_neither_swells_nor_shrinks_and_favours_no_class():
    torch.manual_seed(3)
    net = ResNet(16, width=16, depth=2, padding="circular")
    x = torch.randn(8, 16, 16, 16)
    with torch.no_grad():
        ratio = net.layers[0]["first"](x).std() / x.std()
    assert ratio == pytest.approx(1, abs=0.1)
    assert not net(torch.randn(2, 1, 16, 16)).any()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ResNet(0), "resolution must be a positive integer, got 0."),
        (lambda: ResNet(14, width=2.5), "width must be a positive integer, got 2.5."),
        (lambda: ResNet(14, depth=0), "depth must be a positive integer, got 0."),
        (lambda: ResNet(14, h=-1.0), "h must be finite and 0 or more, got -1.0."),
        (lambda: ResNet(14, activation="sine"),
         "activation must be 'tanh' or 'relu', got 'sine'."),
        (lambda: ResNet(14, padding="odd"), "padding must be 'zeros' or 'circular', got 'odd'."),
        (lambda: propagate({}, torch.zeros(1, 1, 3, 3), math.inf),
         "h must be finite and 0 or more, got inf."),
        (lambda: layer(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), activation="sine"),
         "activation must be 'tanh' or 'relu', got 'sine'."),
        (lambda: layer(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), padding="odd"),
         "padding must be 'zeros' or 'circular', got 'odd'."),
        (lambda: refine_depth({}, 0), "factor must be a positive integer, got 0."),
        (lambda: refine_depth({}, 1.5), "factor must be a positive integer, got 1.5."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == sentence
