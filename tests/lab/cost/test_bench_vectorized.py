"""Rates in lockstep: every way is measured on a case too small to time; TF32 is off afterwards."""

import torch

from mgcore.lab.cost.bench_vectorized import vectorised_rates
from mgcore.thesis.ensemble import LOWERINGS


def test_every_way_is_measured():
    found = vectorised_rates("cpu", networks=2, steps=1, repeats=1, sides=(8,), batch=4)
    ways = [(one.how, one.pooling) for one in found]
    assert sorted(ways) == sorted(
        (how, pooling) for how in (*LOWERINGS, "one after another") for pooling in (False, True)
    )
    assert all(one.flops > 0 and not one.tf32 for one in found)
    assert not torch.backends.cuda.matmul.allow_tf32
