"""The damping of a classifier's start, against scipy's cosine transform."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from mgcore.thesis.dct_smoothing import smooth_by_dct


def test_dct_smoothing_divides_each_frequency(rng):
    maps = torch.randn(2, 3, 6, 9, generator=rng, dtype=torch.float64)
    smooth = smooth_by_dct(maps, 2.0)
    before, after = (dctn(x.numpy(), axes=(-2, -1), norm="ortho") for x in (maps, smooth))
    k, l = np.meshgrid(np.arange(6), np.arange(9), indexing="ij")
    assert np.abs(after * (1 + (k**2 + l**2) / 4) - before).max() < 1e-12
    assert (smooth.mean((-2, -1)) - maps.mean((-2, -1))).abs().max() < 1e-14
    assert after[0, 0, 2, 0] == pytest.approx(before[0, 0, 2, 0] / 2, rel=1e-12)  # the cutoff
    for axis in (-2, -1):
        assert smooth.diff(dim=axis).norm() < 0.5 * maps.diff(dim=axis).norm()
    assert smooth_by_dct(maps.float(), 2.0).dtype == torch.float32
