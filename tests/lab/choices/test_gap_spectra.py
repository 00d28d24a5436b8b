"""The spectra of the gap chapter, against waves of known frequency and direct convolution."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mgcore.data.images import prepare
from mgcore.lab.choices.gap_spectra import (
    beside,
    distance,
    distance_interval,
    gain,
    power,
    response,
    unseen,
)
from mgcore.lab.protocol import printed_tables as thesis
from mgcore.lab.verdict.agreement import interval

N = 28


def wave(k, ell=0):
    """A cosine of k waves down and ell across."""
    i = np.arange(N)
    return np.cos(2 * np.pi * (k * i[:, None] + ell * i[None, :]) / N)


@pytest.mark.parametrize("k, ell", [(0, 0), (1, 0), (0, 5), (3, 7), (14, 2), (14, 14)])
def test_the_power_of_a_wave_lies_in_its_ring(k, ell):
    spectrum = power(wave(k, ell)[None])
    assert spectrum.frequency[0] == 0 and spectrum.frequency[-1] == 1
    ring = max(k, ell)
    assert spectrum.values[ring] == pytest.approx(1) and spectrum.values.sum() == pytest.approx(1)


def test_p_r_takes_power_out_of_fast_rings_alone_and_never_adds_any():
    noise = torch.randn(50, N, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before, after = ((np.abs(np.fft.fft2(prepare(noise, how).numpy())) ** 2).mean()
                     for how in ("original", "prolonged"))  # fmt: skip
    assert after < 0.5 * before
    constant = torch.ones(1, N, N, dtype=torch.float64)
    assert torch.equal(prepare(constant, "prolonged"), constant)


def test_the_response_is_that_of_a_periodic_correlation(rng):
    stencil = torch.randn(1, 1, 3, 3, generator=rng, dtype=torch.float64)
    image = torch.randn(1, 1, N, N, generator=rng, dtype=torch.float64)
    there = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="circular"), stencil)
    energy = np.abs(np.fft.fft2(image[0, 0].numpy())) ** 2
    by_response = (response(stencil.numpy(), N) * energy).sum() / N**2
    assert by_response == pytest.approx(float(there.square().sum()), rel=1e-12)


def test_the_gain_of_known_stencils():
    """The mean [1 2 1]/4 is cos²(ω/2) along an axis; the identity passes all alike."""
    identity = np.zeros((1, 3, 3))
    identity[0, 1, 1] = 2.0
    assert gain(identity, N).values == pytest.approx(np.ones(15))
    mean = np.outer([1, 2, 1], [1, 2, 1])[None] / 16
    fastest = gain(mean, N)
    assert fastest.values[-1] < 1e-12 < fastest.values[7] < fastest.values[0]
    assert response(mean, N)[7, 0] == pytest.approx(math.cos(math.pi / 4) ** 4)


def test_what_is_unseen_is_the_response_to_the_difference():
    slow, fast = wave(2, 1), wave(14, 3)
    seen = np.stack([slow, slow])
    images = seen + 0.5 * fast
    identity = np.zeros((3, 3))
    identity[1, 1] = 3.0
    ratio = 0.25 * (fast**2).sum() / (slow**2).sum()
    assert unseen(identity, images, seen) == pytest.approx(ratio)
    assert unseen(identity, seen, seen) == 0
    bend = np.outer([1, -2, 1], [1, -2, 1])
    assert unseen(bend, images, seen) > 100 * ratio


def trial(shift):
    """A trial whose cells are the thesis's, moved by `shift` points."""
    metrics = {}
    for arm, parts in thesis.TABLE_4_1.items():
        rows = [{f"{k}_accuracy": v[0] + shift for k, v in parts.items()}] * 2
        metrics[arm] = [*rows, {f"{k}_accuracy": v[1] + shift for k, v in parts.items()}]
    for arm, stages in thesis.TABLE_4_3.items():
        for stage, run in (("classifier", f"{arm}_classifier"), ("network", f"{arm}_")):
            first, val, last = stages[stage]
            one = {"training_accuracy": first + shift, "validation_accuracy": val + shift}
            metrics[run] = [one, one, {"training_accuracy": 0, "validation_accuracy": last + shift}]
    return {"trial": 0, "metrics": metrics}


def test_tables_stand_beside_the_thesis_cell_by_cell():
    cells = beside([trial(1.0), trial(3.0)], thesis.TABLE_4_1)
    assert len(cells) == 12 and cells["multigrid.last.validation"] == (pytest.approx(65.6), 63.6)
    assert all(ours - theirs == pytest.approx(2.0) for ours, theirs in cells.values())
    assert distance(cells) == pytest.approx(2.0)


def test_stages_stand_beside_the_thesis_cell_by_cell():
    one = trial(0.0)
    one["metrics"] |= {arm: one["metrics"].pop(f"{arm}_") for arm in thesis.TABLE_4_3}
    cells = beside([one], thesis.TABLE_4_3)
    assert len(cells) == 18 and distance(cells) == pytest.approx(0, abs=1e-12)
    assert cells["multigrid_classifier.last.validation"][1] == 38.3
    one["metrics"]["new"][1] = {"training_accuracy": 91.1 + 6, "validation_accuracy": 89.0}
    assert distance(beside([one], thesis.TABLE_4_3)) == pytest.approx(6 / 18**0.5)


def test_the_distance_has_the_interval_of_the_jackknife():
    """Where every cell is off by the same positive shift, the distance is the mean of shifts."""
    shifts = [1.0, 2.5, 3.0, 5.5]
    value, half = distance_interval([trial(shift) for shift in shifts], thesis.TABLE_4_1)
    mean, width = interval(shifts)  # the jackknife of a mean is the t interval itself
    assert (value, half) == (pytest.approx(mean), pytest.approx(width))
    assert distance_interval([trial(1.0)], thesis.TABLE_4_1) == (pytest.approx(1.0), None)
