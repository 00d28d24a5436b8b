"""The penalties, against loops over cells, autograd and the cosine transform."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from mgcore.thesis.regularization import (
    _second_difference,
    smoothness,
    smoothness_gradient,
    tikhonov,
    tikhonov_gradient,
)


def random(shape, rng):
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def test_tikhonov_is_half_alpha_times_the_sum_of_squares(rng):
    theta = random((3, 2, 3, 3), rng)
    by_hand = 0.5 * 0.7 * sum(float(t) ** 2 for t in theta.flatten())
    assert tikhonov(theta, 0.7).item() == pytest.approx(by_hand, rel=1e-12)
    assert torch.equal(tikhonov_gradient(theta, 0.7), 0.7 * theta)


@pytest.mark.parametrize("h", [1.0, 0.5, 1 / 28])
def test_smoothness_is_the_sum_over_neighbouring_cells(h, rng):
    maps = random((2, 3, 4, 5), rng)
    total = 0.0
    for image in maps.flatten(0, 1).numpy():
        for r in range(4):
            for c in range(5):
                if r < 3:
                    total += ((image[r + 1, c] - image[r, c]) / h) ** 2
                if c < 4:
                    total += ((image[r, c + 1] - image[r, c]) / h) ** 2
    assert smoothness(maps, 0.3, h).item() == pytest.approx(0.15 * total, rel=1e-12)


@pytest.mark.parametrize("h", [1.0, 0.5])
def test_closed_gradients_are_those_of_autograd(h, rng):
    maps = random((2, 3, 4, 6), rng).requires_grad_()
    for value, closed in (
        (smoothness(maps, 0.3, h), smoothness_gradient(maps, 0.3, h)),
        (tikhonov(maps, 0.3), tikhonov_gradient(maps, 0.3)),
    ):
        (gradient,) = torch.autograd.grad(value, maps)
        assert (gradient - closed).abs().max() < 1e-12
    assert torch.autograd.gradcheck(lambda w: smoothness(w, 0.3, h), maps)
    assert torch.autograd.gradgradcheck(lambda w: smoothness(w, 0.3, h), maps)


def test_cosines_are_eigenvectors_of_the_smoothness_gradient(rng):
    """The DCT-II diagonalises G'G with eigenvalues 4 sin^2(pi k / 2n) along each axis."""
    m, n, alpha, h = 6, 9, 0.7, 0.5
    maps = random((2, m, n), rng)
    lam = [4 * np.sin(np.pi * np.arange(size) / (2 * size)) ** 2 for size in (m, n)]
    coefficients = dctn(maps.numpy(), axes=(1, 2), norm="ortho")
    coefficients *= alpha / h**2 * (lam[0][:, None] + lam[1])
    expected = idctn(coefficients, axes=(1, 2), norm="ortho")
    assert np.abs(smoothness_gradient(maps, alpha, h).numpy() - expected).max() < 1e-12


def test_a_constant_map_costs_nothing_and_a_ramp_what_its_slope_says():
    assert smoothness(torch.full((2, 5, 5), 3.0).double(), 1.0).item() == 0
    assert smoothness_gradient(torch.full((2, 5, 5), 3.0).double(), 1.0).abs().max() == 0
    ramp = torch.arange(4).double().expand(6, 4)  # slope 1 across, 0 down
    assert smoothness(ramp, 2.0).item() == 6 * 3
    assert smoothness(ramp.T, 2.0).item() == 6 * 3


def test_a_function_costs_about_the_same_on_both_grids_with_unit_h():
    costs = []
    for n in (32, 64, 128):
        at = (torch.arange(n).double() + 0.5) / n
        costs.append(smoothness(torch.sin(2 * at[:, None]) * at**2, 1.0).item())
    assert abs(costs[1] / costs[0] - 1) < 0.03 and abs(costs[2] / costs[1] - 1) < 0.015


def test_leading_axes_are_only_summed_over(rng):
    maps = random((3, 2, 4, 4), rng)
    assert smoothness(maps, 1.0).item() == pytest.approx(
        sum(smoothness(part, 1.0).item() for part in maps), rel=1e-13
    )
    parts = torch.stack([smoothness_gradient(part, 1.0) for part in maps])
    assert (smoothness_gradient(maps, 1.0) - parts).abs().max() < 1e-13


def test_a_constant_cached_in_inference_mode_serves_a_later_backward_pass():
    maps = torch.ones(1, 1, 5, 11, dtype=torch.float64)
    _second_difference.cache_clear()
    with torch.inference_mode():
        smoothness_gradient(maps, 0.3)
    maps.requires_grad_()
    smoothness_gradient(maps, 0.3).square().sum().backward()
    assert maps.grad is not None
