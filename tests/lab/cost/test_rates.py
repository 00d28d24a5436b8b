"""Rates: the operations they count, on cases too small to time."""

import pytest
import torch

from mgcore.lab.cost import rates
from mgcore.lab.cost.rates import (
    seconds,
    sgemm_rate,
    step_rate,
    surface_rate,
    training_rate,
    vectorized_rates,
)  # fmt: skip
from mgcore.thesis.network import forward_flops, step_flops


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

    monkeypatch.setattr(rates, "seconds", four)
    assert rate() == flops / 4 and done == [0.0]
    assert torch.is_grad_enabled()


def test_every_method_of_training_an_ensemble_is_measured():
    measured = vectorized_rates("cpu", networks=2, steps=1, repeats=1, sides=(8,), batch=4)
    methods = [(one.method, one.pooling) for one in measured]
    assert sorted(methods) == sorted(
        (method, pooling)
        for method in ("grouped", "unfold", "shifted", "one after another")
        for pooling in (False, True)
    )
    assert all(one.flops > 0 and not one.tf32 for one in measured)
    assert not torch.backends.cuda.matmul.allow_tf32
