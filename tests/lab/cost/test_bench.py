"""Counts of operations, and rates made of them on cases too small to time."""

import pytest
import torch

from mgcore.lab.cost import bench
from mgcore.lab.cost.bench import (
    seconds,
    sgemm_rate,
    step_rate,
    surface_rate,
    training_rate,
    trial_flops,
)
from mgcore.lab.protocol import Protocol
from mgcore.thesis.network import forward_flops, step_flops


def test_the_operations_of_table_4_1_are_what_hand_arithmetic_says():
    flops = trial_flops(Protocol.printed())
    # One image forward at 28×28: 784 cells × 9 × (32 + 32·64) products, and 50,176 × 10.
    image = 2 * (784 * 9 * (32 + 32 * 64) + 50_176 * 10)
    step = 3 * image - 2 * 784 * 9 * 32
    assert flops["fine", "training"] == 3 * 9_984 * 10 * step  # 312 whole minibatches an epoch
    assert flops["fine", "evaluation"] == 3 * (3 * 20_000 + 8 * 2_000) * image
    assert flops["coarse", "training"] == pytest.approx(40_000 * 20 * step / 4)


def test_a_time_is_a_median_after_a_first_call_that_does_not_count():
    calls = []
    assert 0 <= seconds(lambda: calls.append(1), 0.0) < 1
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("rate", "flops"),
    [
        (lambda: sgemm_rate(0.0), 2 * 1024**3),
        (lambda: step_rate(8, True, budget=0.0), 32 * step_flops(8, True)),
        (lambda: training_rate(8, False, budget=0.0), 8 * 32 * step_flops(8, False)),
        (lambda: surface_rate(8, True, 0.0), 4 * 200 * forward_flops(8, True)),
    ],
)
def test_a_rate_is_operations_over_seconds(rate, flops, monkeypatch):
    """Each does its work, once here, and counts it; the clock is set to four seconds."""
    done = []

    def four(work, budget):
        work()
        done.append(budget)
        return 4.0

    monkeypatch.setattr(bench, "seconds", four)
    assert rate() == flops / 4 and done == [0.0]
    assert torch.is_grad_enabled()
