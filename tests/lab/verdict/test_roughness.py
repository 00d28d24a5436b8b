"""Roughness of weight maps, against known maps and white noise."""

import math

import numpy as np
import pytest

from mgcore.lab.verdict.metrics import roughness, white_noise_roughness


def test_roughness_of_known_maps():
    chessboard = np.indices((8, 8)).sum(0) % 2 * 2.0 - 1
    stripes = np.tile([1.0, -1.0], (8, 4))
    maps = np.stack([np.ones((8, 8)), np.zeros((8, 8)), stripes, chessboard])
    expected = [0, 0, math.sqrt(4 * 7 / 8), math.sqrt(8 * 7 / 8)]
    np.testing.assert_allclose(roughness(maps), expected, atol=1e-12)


def test_roughness_ignores_scale():
    w = np.random.default_rng(0).normal(size=(5, 7, 7))
    np.testing.assert_allclose(roughness(-3 * w), roughness(w), rtol=1e-12)


@pytest.mark.parametrize("side", [5, 14])
def test_roughness_of_white_noise(side):
    noise = np.random.default_rng(1).normal(size=(4000, side, side))
    assert np.sqrt((roughness(noise) ** 2).mean()) == pytest.approx(
        white_noise_roughness(side), rel=5e-3
    )
    assert white_noise_roughness(side) == pytest.approx(math.sqrt(4 * (1 - 1 / side)))
