"""What survives of an image: correlations by hand, and networks that keep or lose everything."""

import numpy as np
import pytest
import torch

from mgcore.analysis.propagation import SHIFT, correlations, survival
from mgcore.grids import restrict
from mgcore.thesis.network import feature_maps


@pytest.fixture
def images(rng):
    return torch.rand(3, 1, 8, 8, generator=rng, dtype=torch.float64)


def stencils(row, column, value=1.0):
    """Weights of a network that passes the image on, moved twice by (row, column)."""
    weights = {"conv1.weight": torch.zeros(32, 1, 3, 3), "conv2.weight": torch.zeros(64, 32, 3, 3)}
    weights["conv1.weight"][:, 0, 1 + row, 1 + column] = value
    for channel in range(64):
        weights["conv2.weight"][channel, channel % 32, 1 + row, 1 + column] = value
    return {name: w.double() for name, w in weights.items()}


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_it_is_the_best_of_numpys_correlations_over_cyclic_shifts(images, rng, shift):
    maps = torch.randn(3, 5, 8, 8, generator=rng, dtype=torch.float64)
    found = correlations(images, maps, shift)
    assert found.shape == (3, 5)
    for k in range(3):
        for channel in range(5):
            each = [
                np.corrcoef(
                    np.roll(images[k, 0].numpy(), (i, j), (0, 1)).ravel(),
                    maps[k, channel].numpy().ravel(),
                )[0, 1]
                for i in range(-shift, shift + 1)
                for j in range(-shift, shift + 1)
            ]
            assert float(found[k, channel]) == pytest.approx(max(map(abs, each)), rel=1e-12)


def test_an_identity_network_keeps_everything(images):
    for maps in feature_maps(stencils(0, 0), images, pooling=False):
        assert tuple(survival(images, maps)) == pytest.approx((1, 1, 0), abs=1e-12)
        assert tuple(survival(images, maps, shift=0)) == pytest.approx((1, 1, 0), abs=1e-12)


def test_with_pooling_the_restricted_image_is_what_survives(images):
    for maps in feature_maps(stencils(0, 0), images, pooling=True)[1:]:
        assert maps.shape[-1] == 4
        assert tuple(survival(images, maps)) == pytest.approx((1, 1, 0), abs=1e-12)
    coarse = restrict(restrict(images))  # two grids down as well
    assert tuple(survival(images, coarse)) == pytest.approx((1, 1, 0), abs=1e-12)


@pytest.mark.parametrize("row", [-1, 0, 1])
@pytest.mark.parametrize("column", [-1, 1])
def test_two_stencils_may_move_an_image_by_two_cells(images, row, column):
    assert SHIFT == 2
    first, second = feature_maps(stencils(row, column), images, False, padding="circular")
    for maps in (first, second):
        assert survival(images, maps).mean == pytest.approx(1, abs=1e-12)
    assert survival(images, second, shift=1).mean < 0.9


def test_scale_offset_and_sign_do_not_matter(images):
    found = correlations(images, torch.cat([images, -images, 3 * images - 7, 1e-9 * images], dim=1))
    torch.testing.assert_close(found, torch.ones_like(found))


def test_constant_maps_are_silent_and_count_as_nothing(images):
    maps = torch.cat([images, torch.zeros_like(images), 0.3 * torch.ones_like(images)], dim=1)
    maps[0, 1] = images[0, 0]
    found = survival(images, maps)
    assert found.mean == pytest.approx(4 / 9) and found.best == pytest.approx(1)
    assert found.silent == pytest.approx(5 / 9)
    blank = survival(images, torch.ones_like(images).float())
    assert tuple(blank) == (0, 0, 1)


def test_a_constant_whose_mean_is_rounded_is_silent():
    """The mean of 196 times 0.3 is not 0.3: what is left is rounding, not a picture."""
    images = torch.rand(2, 1, 14, 14, dtype=torch.float64)
    flat = torch.full((2, 3, 14, 14), 0.3, dtype=torch.float64)
    assert float((flat - flat.mean(dim=(-2, -1), keepdim=True)).norm()) > 0
    assert tuple(survival(images, flat)) == (0, 0, 1)


def test_a_blank_image_makes_no_map_silent(images, rng):
    maps = torch.randn(3, 4, 8, 8, generator=rng, dtype=torch.float64)
    images[1] = 0.5
    found = survival(images, maps)
    assert found.silent == 0 and found.best > 0
    assert float(correlations(images, maps)[1].abs().max()) == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_maps_that_are_not_finite_are_one_sentence(images, value):
    maps = torch.ones_like(images)
    maps[0, 0, 0, 0] = value
    with pytest.raises(ValueError) as raised:
        survival(images, maps)
    assert str(raised.value) == "maps has values that are not finite. Check the network."


def test_best_is_over_channels_and_mean_over_all(images, rng):
    maps = torch.randn(3, 4, 8, 8, generator=rng, dtype=torch.float64)
    found, table = survival(images, maps), correlations(images, maps).numpy()
    assert found.mean == pytest.approx(table.mean()) and found.silent == 0
    assert found.best == pytest.approx(table.max(axis=1).mean())
    assert found.mean < found.best < 1


def test_single_precision_is_computed_in_double(images):
    found = correlations(images.float(), images.float() * 2 + 1)
    assert found.dtype == torch.float64 and float(found.min()) > 1 - 1e-12


@pytest.mark.parametrize("size", [3, 16, 5])
def test_maps_of_another_size_are_one_sentence(images, size):
    with pytest.raises(ValueError) as raised:
        correlations(images, torch.zeros(3, 2, size, size))
    assert str(raised.value) == (
        f"maps must have n, n/2, n/4, … cells along a side for images of n = 8, got {size}."
    )
