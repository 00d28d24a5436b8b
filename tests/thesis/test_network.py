"""The thesis's network, its start and its refinement, against torch's modules and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mgcore import ThesisCNN, prolong
from mgcore.kernels import refine_classifier, refine_kernel
from mgcore.thesis.network import (
    feature_maps,
    forward,
    forward_flops,
    initial_weights,
    refine_weights,
    step_flops,
)

BOTH = pytest.mark.parametrize("pooling", [False, True])
PADDINGS = pytest.mark.parametrize("padding", ["zeros", "circular"])


def by_modules(net: ThesisCNN, pooling: bool, padding: str) -> nn.Sequential:
    """The network as a chain of torch's own modules with the same weights."""
    chain = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, padding_mode=padding, bias=False), nn.ReLU(),
        nn.AvgPool2d(2) if pooling else nn.Identity(),
        nn.Conv2d(32, 64, 3, padding=1, padding_mode=padding, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(net.classifier.in_features, 10),
    ).double()  # fmt: skip
    for mine, theirs in zip(net.parameters(), chain.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    return chain


@pytest.mark.parametrize(("resolution", "pooling", "count"), [
    (28, False, 520_490), (28, True, 144_170), (14, False, 144_170), (14, True, 50_090),
])  # fmt: skip
def test_parameter_counts(resolution, pooling, count):
    """18,720 stencil weights, 640 a cell of the maps and ten biases."""
    net = ThesisCNN(resolution, pooling)
    assert sum(p.numel() for p in net.parameters()) == count
    assert sum(net.state_dict()[f"conv{k}.weight"].numel() for k in (1, 2)) == 18_720
    without = ThesisCNN(resolution, pooling, classifier_bias=False)
    assert sum(p.numel() for p in without.parameters()) == count - 10


@BOTH
@PADDINGS
def test_logits_are_those_of_torchs_modules(pooling, padding, rng):
    net = ThesisCNN(8, pooling, padding=padding).double()
    images = torch.randn(3, 1, 8, 8, generator=rng, dtype=torch.float64)
    reference = by_modules(net, pooling, padding)(images)
    assert (net(images) - reference).abs().max() < 1e-12
    weights = dict(net.named_parameters())
    assert torch.equal(forward(weights, images, pooling, padding), net(images))
    bias = weights.pop("classifier.bias")
    without = forward(weights, images, pooling, padding)
    assert (without + bias - reference).abs().max() < 1e-12


@BOTH
def test_hooks_on_the_modules_see_the_forward_pass(pooling, rng):
    net = ThesisCNN(8, pooling)
    images, seen = torch.randn(2, 1, 8, 8, generator=rng), {}
    for name, module in net.named_children():
        module.register_forward_hook(lambda m, x, out, name=name: seen.setdefault(name, out))
    logits = net(images)
    maps = feature_maps(dict(net.named_parameters()), images, pooling)
    assert list(seen) == ["conv1", "conv2", "classifier"]
    assert torch.equal(seen["conv1"].relu(), maps[0])
    assert torch.equal(seen["conv2"].relu(), maps[-1])
    assert torch.equal(seen["classifier"], logits)


@BOTH
@pytest.mark.parametrize("resolution", [8, 12])
def test_resolution_follows_the_classifier(resolution, pooling):
    assert ThesisCNN(resolution, pooling).resolution == resolution


@PADDINGS
def test_feature_maps_are_those_along_the_chain(padding, rng):
    net = ThesisCNN(8, True, padding=padding).double()
    images = torch.randn(2, 1, 8, 8, generator=rng, dtype=torch.float64)
    chain = by_modules(net, True, padding)
    seen = feature_maps(dict(net.named_parameters()), images, True, padding)
    for maps, depth in zip(seen, (2, 3, 5), strict=True):
        assert (maps - chain[:depth](images)).abs().max() < 1e-12
    assert [tuple(maps.shape) for maps in seen] == [(2, 32, 8, 8), (2, 32, 4, 4), (2, 64, 4, 4)]
    assert len(feature_maps(dict(net.named_parameters()), images, False, padding)) == 2


@BOTH
@pytest.mark.parametrize(("scale", "deviations"), [
    ("flat", (0.1, 0.1)),
    ("meganet", (math.sqrt(2 / 288), math.sqrt(2 / 18_432))),  # .0833 and .0104
    ("he", (math.sqrt(2 / 9), math.sqrt(2 / 288))),
])  # fmt: skip
def test_stencils_start_with_the_stated_deviation(pooling, scale, deviations):
    draws = [initial_weights(8, pooling, torch.Generator().manual_seed(k), stencil_scale=scale)
             for k in range(20)]  # fmt: skip
    for layer, deviation in zip(("conv1", "conv2"), deviations, strict=True):
        sample = torch.stack([w[f"{layer}.weight"] for w in draws])
        within = 4 / math.sqrt(2 * sample.numel())  # four standard errors
        assert sample.std().item() == pytest.approx(deviation, rel=within)
        assert abs(sample.mean().item()) < 4 * deviation / math.sqrt(sample.numel())


@BOTH
def test_start_fits_the_network_and_depends_on_the_generator_alone(pooling):
    one, same, other = (initial_weights(12, pooling, torch.Generator().manual_seed(k))
                        for k in (1, 1, 2))  # fmt: skip
    torch.manual_seed(0)
    ThesisCNN(12, pooling).double().load_state_dict(one)
    assert all(w.dtype == torch.float64 for w in one.values())
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not any(torch.equal(one[k], other[k]) for k in one if k != "classifier.bias")
    assert one["classifier.bias"].abs().max() == 0
    without = initial_weights(12, pooling, torch.Generator().manual_seed(1), classifier_bias=False)
    assert "classifier.bias" not in without
    assert all(torch.equal(without[k], one[k]) for k in without)


def test_classifier_starts_clipped_then_smoothed():
    """Undoing the damping leads back to normal draws of deviation 0.1, clipped to 0.2."""
    weights = initial_weights(14, False, torch.Generator().manual_seed(3), dct_cutoff=3.0)
    maps = weights["classifier.weight"].reshape(640, 14, 14)
    k = np.arange(14)
    coefficients = dctn(maps.numpy(), axes=(-2, -1), norm="ortho")
    coefficients *= 1 + (k[:, None] ** 2 + k**2) / 9
    rough = dctn(coefficients, axes=(-2, -1), norm="ortho", type=3)  # the inverse
    assert np.abs(rough).max() == pytest.approx(0.2, abs=1e-12)
    clipped = np.mean(np.abs(rough) > 0.2 - 1e-9)
    assert clipped == pytest.approx(math.erfc(math.sqrt(2)), abs=0.002)  # beyond two deviations
    inside = rough[np.abs(rough) < 0.1]  # within one: their variance is .2911 of the whole
    assert inside.std() == pytest.approx(0.1 * math.sqrt(0.29112), rel=0.01)


@pytest.mark.parametrize("prolongation", ["bilinear", "constant"])
def test_refined_weights_are_refined_part_by_part(prolongation):
    weights = initial_weights(8, False, torch.Generator().manual_seed(4))
    weights["classifier.bias"] += torch.arange(10)
    before = {k: w.clone() for k, w in weights.items()}
    galerkin, copied = (refine_weights(weights, 8, stencils=s, prolongation=prolongation)
                        for s in ("galerkin", "copy"))  # fmt: skip
    for name in ("conv1.weight", "conv2.weight"):
        assert torch.equal(galerkin[name], refine_kernel(weights[name], prolongation))
        assert torch.equal(copied[name], weights[name])
    classifier = refine_classifier(weights["classifier.weight"], (8, 8), prolongation)
    for fine in (galerkin, copied):
        assert torch.equal(fine["classifier.weight"], classifier)
        assert torch.equal(fine["classifier.bias"], weights["classifier.bias"])
        ThesisCNN(16).double().load_state_dict(fine)
        fine["classifier.bias"].zero_()
        fine["conv1.weight"].zero_()
    assert all(torch.equal(weights[k], before[k]) for k in weights)  # the coarse network is kept
    scaled = refine_weights(weights, 8, prolongation=prolongation, scale=4.0)
    assert torch.allclose(scaled["classifier.weight"], 16 * classifier, rtol=1e-14)


def test_a_linear_network_keeps_its_logits_on_prolonged_images(rng):
    """Galerkin stencils, constant P, zero padding: exact where no ReLU bites (3.4), (3.5)."""
    weights = initial_weights(8, False, torch.Generator().manual_seed(5))
    for name in ("conv1.weight", "conv2.weight"):
        weights[name] = torch.zeros_like(weights[name])
        weights[name][:, :, 1, 1] = torch.rand(weights[name].shape[:2], generator=rng).double()
    images = torch.rand(3, 1, 8, 8, generator=rng, dtype=torch.float64)
    fine = refine_weights(weights, 8, prolongation="constant")
    coarse_logits = forward(weights, images, False)
    fine_logits = forward(fine, prolong(images, "constant"), False)
    assert (fine_logits - coarse_logits).abs().max() < 1e-12 * coarse_logits.abs().max()


@BOTH
@pytest.mark.parametrize("resolution", [8, 12])
def test_flops_are_those_that_torch_counts(resolution, pooling):
    """But for the pooling, three additions a cell that we make a matrix product for speed."""
    net = ThesisCNN(resolution, pooling)
    images = torch.zeros(5, 1, resolution, resolution)
    half = resolution // 2
    product = 5 * 32 * half * 2 * (2 * resolution) * half if pooling else 0
    with FlopCounterMode(display=False) as counter:
        logits = net(images)
    assert counter.get_total_flops() - product == 5 * forward_flops(resolution, pooling)
    with FlopCounterMode(display=False) as counter:
        net(images).sum().backward()
    assert counter.get_total_flops() - 2 * product == 5 * step_flops(resolution, pooling)
    assert logits.shape == (5, 10)


def test_flops_of_the_thesis_by_hand():
    """28 x 28: 451,584 + 28,901,376 + 1,003,520; pooling quarters all but the first."""
    assert forward_flops(28, False) == 451_584 + 28_901_376 + 1_003_520
    assert forward_flops(28, True) == 451_584 + (28_901_376 + 1_003_520) // 4


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ThesisCNN(27, pooling=True),
         "resolution must be an even integer of at least 4 with pooling=True, got 27."),
        (lambda: ThesisCNN(3),
         "resolution must be an integer of at least 4 with pooling=False, got 3."),
        (lambda: ThesisCNN(28.0),
         "resolution must be an integer of at least 4 with pooling=False, got 28.0."),
        (lambda: ThesisCNN("28"),
         "resolution must be an integer of at least 4 with pooling=False, got '28'."),
        (lambda: ThesisCNN(padding="reflect"),
         "padding must be 'zeros' or 'circular', got 'reflect'."),
        (lambda: initial_weights(8, False, torch.Generator(), stencil_scale="xavier"),
         "stencil_scale must be one of 'flat', 'meganet', 'he', got 'xavier'."),
        (lambda: refine_weights({}, 7, stencils="scaled"),
         "stencils must be 'galerkin' or 'copy', got 'scaled'."),
        (lambda: refine_weights(initial_weights(8, False, torch.Generator()), 7),
         "weight must have a multiple of the 49 cells of shape=(7, 7) as its width, one block for "
         "each channel, got 4096."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert sentence in str(raised.value)
