"""Maps between copying kernels and the Galerkin map."""

import pytest
import torch
from torch import nn

from mgcore.kernels import refine_kernel
from mgcore.lab.scales.kernel_maps import (
    clipped_galerkin,
    galerkin_growth,
    geometric,
    map_kernels,
    operator_orders,
    partial_galerkin,
    with_warmup,
)
from mgcore.operators import rediscretise, to_operators
from mgcore.train.budgeted import SGD


@pytest.fixture
def kernels(rng):
    return torch.randn(4, 2, 3, 3, generator=rng, dtype=torch.float64)


def test_partial_maps_run_from_copying_to_the_galerkin_map(kernels):
    torch.testing.assert_close(partial_galerkin(0.0)(kernels), kernels)
    torch.testing.assert_close(partial_galerkin(1.0)(kernels), refine_kernel(kernels))
    half = partial_galerkin(0.5)
    torch.testing.assert_close(half(half(kernels)), refine_kernel(kernels))


def test_smoothing_by_a_half_before_the_galerkin_map_is_copying(kernels):
    smooth = partial_galerkin(-1.0)(kernels)  # order p damped by 2^-p
    torch.testing.assert_close(refine_kernel(smooth), kernels)


def test_clipping_limits_the_factor_of_every_operator(kernels):
    torch.testing.assert_close(clipped_galerkin(16.0)(kernels), refine_kernel(kernels))
    torch.testing.assert_close(clipped_galerkin(1.0)(kernels), kernels)
    both = kernels, clipped_galerkin(4.0)(kernels)
    before, after = (to_operators(s, 1.0, 2, "galerkin") for s in both)
    expected = (2.0 ** operator_orders()).clamp(max=4.0).expand_as(before)
    torch.testing.assert_close(after / before, expected)


def test_geometric_keeps_the_thesiss_operators(kernels):
    torch.testing.assert_close(to_operators(geometric(kernels), 0.5), to_operators(kernels, 1.0))
    assert not torch.allclose(geometric(kernels), refine_kernel(kernels))
    torch.testing.assert_close(geometric(kernels), rediscretise(kernels, 1.0, 0.5))


def test_only_kernels_three_cells_wide_are_mapped():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 1, 5))
    before = {k: w.clone() for k, w in model.state_dict().items()}
    map_kernels(model, lambda w: 2 * w)
    for name, w in model.state_dict().items():
        torch.testing.assert_close(w, before[name] * (2 if name == "0.weight" else 1))


def test_growth_is_the_gain_of_the_squared_coefficients(kernels):
    model = nn.Sequential(nn.Conv2d(2, 4, 3).double())
    with torch.no_grad():
        model[0].weight.copy_(kernels)
    both = refine_kernel(kernels), kernels
    gain = [to_operators(s, 1.0, 2, "galerkin").square().sum() for s in both]
    torch.testing.assert_close(galerkin_growth(model), (gain[0] - gain[1]) / 2)
    galerkin_growth(model).backward()
    assert model[0].weight.grad.abs().max() > 0


def test_the_learning_rate_rises_linearly_and_stays():
    (w,) = model = [nn.Parameter(torch.ones(1))]
    descent = with_warmup(lambda p: torch.optim.SGD(p, lr=1.0), 4)(model)
    rates = []
    for _ in range(6):
        before = w.item()
        w.grad = torch.ones(1)
        descent.step()
        rates.append(before - w.item())
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    assert SGD([w]).param_groups[0]["lr"] == 0.01
