"""Predicted cost, against a count of operations made another way."""

import pytest

from mgcore.lab import plan
from mgcore.lab.bench import trial_flops
from mgcore.lab.protocol import Protocol


def test_the_operations_of_table_4_1_are_what_hand_arithmetic_says():
    flops = trial_flops(Protocol.printed())
    # One image forward at 28×28: 784 cells × 9 × (32 + 32·64) products, and 50,176 × 10.
    image = 2 * (784 * 9 * (32 + 32 * 64) + 50_176 * 10)
    step = 3 * image - 2 * 784 * 9 * 32
    assert flops["fine", "training"] == 3 * 9_984 * 10 * step  # 312 whole minibatches an epoch
    assert flops["fine", "evaluation"] == 3 * (3 * 20_000 + 8 * 2_000) * image
    assert flops["coarse", "training"] == pytest.approx(40_000 * 20 * step / 4)


def test_time_grows_with_trials_and_shrinks_with_workers(monkeypatch):
    monkeypatch.setattr(plan, "step_rate", lambda *_, **__: 1e9)
    monkeypatch.setattr(plan, "_rates", {})
    protocol = Protocol.printed()
    one, four, two = (plan.predict(protocol, *a) for a in ((1, 1), (4, 1), (4, 2)))
    assert four.seconds == pytest.approx(4 * one.seconds)
    assert two.seconds == pytest.approx(2 * one.seconds)
    assert four.tflop == pytest.approx(4 * one.tflop)
    total = sum(trial_flops(protocol).values())
    assert one.seconds == pytest.approx(plan.OVERHEAD * total / 1e9)
