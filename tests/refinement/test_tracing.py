"""What the weights of a network do, as seen by running it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from mgcore import ThesisCNN, coarsen, refine
from mgcore.refinement.layouts import Factor
from mgcore.refinement.tracing import trace


def grid(*sizes):
    return tuple(Factor("grid", n) for n in sizes)


class Functional(nn.Module):
    """No module runs: three parameters and torch's functions."""

    def __init__(self):
        super().__init__()
        self.k = nn.Parameter(torch.randn(3, 1, 3, 3))
        self.w = nn.Parameter(torch.randn(3 * 16, 5))
        self.v = nn.Parameter(torch.randn(2, 5))

    def forward(self, x):
        return F.conv2d(x, self.k, padding=1).flatten(1) @ self.w @ self.v.T


def test_functions_are_seen_as_modules_are():
    first, second, third = trace(Functional(), (1, 4, 4)).uses
    assert (first.weight, first.kind, first.reads) == ("k", "convolution", grid(4, 4))
    assert (second.weight, second.axis, second.count) == ("w", 0, 48)
    assert second.reads == (Factor("channel", 3), *grid(4, 4))
    assert (third.weight, third.axis, third.reads) == ("v", 1, (Factor("channel", 5),))


def test_a_weight_that_is_transposed_twice_sums_over_its_first_axis():
    model = nn.Module()
    model.w = nn.Parameter(torch.randn(16, 5))
    model.forward = lambda x: F.linear(x.flatten(1), model.w.T)
    (use,) = trace(model, (1, 4, 4)).uses
    assert (use.weight, use.axis, use.shape) == ("w", 0, (16, 5))


def test_dense_layers_that_do_not_fit_are_passed():
    used = trace(ThesisCNN(8), (1, 16, 16)).uses
    assert [u.fits for u in used] == [True, True, False]
    assert used[2].count == 64 * 256 and used[2].shape == (10, 64 * 64)


def test_a_pass_changes_nothing():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    model[1].eval()
    before = {key: t.clone() for key, t in model.state_dict().items()}
    random = torch.get_rng_state()
    trace(model, (1, 8, 8))
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert [m.training for m in model.modules()] == [True, True, False, True]
    assert all(not m._forward_pre_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


class Choosy(nn.Module):
    """Takes another path at another resolution."""

    def __init__(self):
        super().__init__()
        self.small, self.large = (nn.Conv2d(1, 1, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return (self.small if x.shape[-1] < 8 else self.large)(x)


class Strict(nn.Module):
    """Asks for its size in Python, outside any operation."""

    def forward(self, x):
        assert x.shape[-1] == 4, "four columns please"
        return x


def shared():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.AdaptiveAvgPool2d(4))
    return model.append(model[0])


@pytest.mark.parametrize(
    ("make", "shape", "sentence"),
    [
        (lambda: ThesisCNN(8), (1, 14, 14),
         "classifier.weight is made for 4096 numbers, but input_shape=(1, 14, 14) gives 12544."),
        (lambda: ThesisCNN(8), (3, 8, 8),
         "model does not run at input_shape=(3, 8, 8) because of conv1.weight (Given groups=1,"),
        (lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.LayerNorm([2, 4, 4])), (1, 4, 4),
         "model does not run at (1, 8, 8) because of 1.weight and 1.bias ("),
        (Strict, (1, 4, 4),
         "model does not run at (1, 8, 8) because of Strict (four columns please). Let all sizes"),
        (Choosy, (1, 4, 4), "model uses other layers at (1, 8, 8) than at (1, 4, 4)."),
        (shared, (1, 8, 8), "0.weight is used on grids that change differently."),
        (lambda: nn.Sequential(weight_norm(nn.Conv2d(1, 2, 3, padding=1))), (1, 4, 4),
         "0 computes the weight of its convolution, of shape (2, 1, 3, 3), from "
         "0.parametrizations.weight.original0 and 0.parametrizations.weight.original1 by "
         "weight_norm_interface. Remove the parametrization of weight first,"),
        (lambda: nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(16, 3))), (1, 4, 4),
         "1 computes the weight of its dense layer, of shape (3, 16), from"),
        (lambda: nn.Sequential(nn.LazyConv2d(2, 3)), (1, 4, 4), "0.weight has no size yet."),
        (lambda: nn.Conv2d(1, 1, 3), 28,
         "input_shape must be (channels, *grid) of one input that model takes, positive integers "
         "with one to three grid axes, got 28."),
        (lambda: nn.Conv2d(1, 1, 3), (1, 0, 4), "input_shape must be (channels, *grid)"),
        (lambda: nn.Conv2d(1, 1, 3), (1, 4.0, 4), "input_shape must be (channels, *grid)"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_one_sentence(make, shape, sentence):
    with pytest.raises(ValueError) as raised:
        refine(make(), shape)
    said = str(raised.value)
    assert said.startswith(sentence) and said.endswith(".") and "\n" not in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"stencils": "scaled"}, "stencils must be 'galerkin' or 'copy', got 'scaled'."),
        ({"prolongation": "cubic"},
         "prolongation must be 'bilinear' or 'constant', got 'cubic'."),
        ({"axes": (2,)}, "axes must be some of the grid axes 0 to 1, got (2,)."),
        ({"axes": ()}, "axes must be some of the grid axes 0 to 1, got ()."),
        ({"statistics": torch.zeros(3, 1, 4, 4)},
         "statistics holds inputs of shape (3, 1, 4, 4), but the new resolution needs (count, 1, "
         "8, 8)."),
        ({"statistics": [torch.rand(3, 1, 8, 8), torch.zeros(3, 1, 4, 4)]},
         "statistics holds inputs of shape (3, 1, 4, 4), but the new resolution needs (count, 1, "
         "8, 8)."),
        ({"statistics": []},
         "statistics holds no batch. Give at least one batch of inputs at the new resolution; an "
         "iterator can be used once only."),
        ({"statistics": torch.zeros(0, 1, 8, 8)}, "statistics holds no batch. Give at least one "
         "batch of inputs at the new resolution; an iterator can be used once only."),
    ],
)  # fmt: skip
def test_bad_arguments_get_one_sentence(options, sentence):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2))
    with pytest.raises(ValueError) as raised:
        refine(model, (1, 4, 4), **options)
    assert str(raised.value) == sentence


def test_odd_grids_cannot_be_halved_and_a_function_is_no_model():
    with pytest.raises(ValueError, match=r"^input_shape must have even grid axes.*\(1, 5, 4\)\.$"):
        coarsen(nn.Conv2d(1, 1, 3, padding=1), (1, 5, 4))
    with pytest.raises(TypeError, match=r"^model must be a torch.nn.Module, got a function\.$"):
        refine(lambda x: x, (1, 4, 4))
