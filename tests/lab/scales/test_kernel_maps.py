"""Families between copying stencils and the Galerkin map."""

import pytest
import torch
from torch import nn

from mgcore.kernels import refine_kernel
from mgcore.lab.scales.kernel_maps import (
    change_stencils,
    clipped,
    geometric,
    orders,
    part_way,
    roughness,
    warmed,
)
from mgcore.operators import rediscretise, to_operators
from mgcore.train.budgeted import SGD


@pytest.fixture
def stencils(rng):
    return torch.randn(4, 2, 3, 3, generator=rng, dtype=torch.float64)


def test_the_family_begins_with_copies_and_ends_with_the_galerkin_map(stencils):
    torch.testing.assert_close(part_way(0.0)(stencils), stencils)
    torch.testing.assert_close(part_way(1.0)(stencils), refine_kernel(stencils))
    half = part_way(0.5)
    torch.testing.assert_close(half(half(stencils)), refine_kernel(stencils))


def test_smoothing_by_a_half_before_the_galerkin_map_is_copying(stencils):
    smooth = part_way(-1.0)(stencils)  # order p damped by 2^-p
    torch.testing.assert_close(refine_kernel(smooth), stencils)


def test_clipping_multiplies_no_operator_by_more(stencils):
    torch.testing.assert_close(clipped(16.0)(stencils), refine_kernel(stencils))
    torch.testing.assert_close(clipped(1.0)(stencils), stencils)
    both = stencils, clipped(4.0)(stencils)
    before, after = (to_operators(s, 1.0, 2, "galerkin") for s in both)
    expected = (2.0 ** orders()).clamp(max=4.0).expand_as(before)
    torch.testing.assert_close(after / before, expected)


def test_geometric_keeps_the_thesiss_operators(stencils):
    torch.testing.assert_close(to_operators(geometric(stencils), 0.5), to_operators(stencils, 1.0))
    assert not torch.allclose(geometric(stencils), refine_kernel(stencils))
    torch.testing.assert_close(geometric(stencils), rediscretise(stencils, 1.0, 0.5))


def test_only_stencils_three_cells_wide_are_changed():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 1, 5))
    before = {k: w.clone() for k, w in model.state_dict().items()}
    change_stencils(model, lambda w: 2 * w)
    for name, w in model.state_dict().items():
        torch.testing.assert_close(w, before[name] * (2 if name == "0.weight" else 1))


def test_roughness_is_what_the_coefficients_will_gain(stencils):
    model = nn.Sequential(nn.Conv2d(2, 4, 3).double())
    with torch.no_grad():
        model[0].weight.copy_(stencils)
    both = refine_kernel(stencils), stencils
    gain = [to_operators(s, 1.0, 2, "galerkin").square().sum() for s in both]
    torch.testing.assert_close(roughness(model), (gain[0] - gain[1]) / 2)
    roughness(model).backward()
    assert model[0].weight.grad.abs().max() > 0


def test_a_warmed_learning_rate_rises_in_a_line_and_stays():
    (w,) = model = [nn.Parameter(torch.ones(1))]
    descent = warmed(lambda p: torch.optim.SGD(p, lr=1.0), 4)(model)
    rates = []
    for _ in range(6):
        before = w.item()
        w.grad = torch.ones(1)
        descent.step()
        rates.append(before - w.item())
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    assert SGD([w]).param_groups[0]["lr"] == 0.01
