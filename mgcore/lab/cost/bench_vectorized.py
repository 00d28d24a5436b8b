"""Measured rate of networks in lockstep: which lowering a device runs fastest, and by how much.

For the owner of a GPU; on a CPU it runs, too, and shows that nothing is gained there.
"""

from __future__ import annotations

import time
from statistics import median
from typing import NamedTuple

import torch

from mgcore.lab.run.workers import use_tf32
from mgcore.thesis.ensemble import LOWERINGS, stack, train_ensemble_epoch, unstack
from mgcore.thesis.network import initial_weights, step_flops
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import train_epoch


class Lockstep(NamedTuple):
    """The rate of one way to train several networks, in FLOP/s over all of them."""

    how: str
    resolution: int
    pooling: bool
    tf32: bool
    flops: float


def vectorised_rates(
    device: str = "cpu",
    networks: int = 60,
    steps: int = 20,
    repeats: int = 3,
    sides: tuple[int, ...] = (14, 28),
    batch: int = 32,
) -> list[Lockstep]:
    """Measure training steps of networks together, by each lowering, and one after another.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    networks : int
        20 trials of three arms make 60.
    steps : int
        Of an epoch, which is repeated; the first does not count.
    repeats : int
        Of which the median is taken.
    sides : tuple of int
        Pixels along a side.
    batch : int

    Returns
    -------
    list of Lockstep
        On a GPU with TF32 and without, which is switched off again afterwards.
    """
    found = []
    try:
        for tf32 in (False, True) if device == "cuda" else (False,):
            use_tf32(tf32)
            for side in sides:
                for pooling in (False, True):
                    made = networks, side, pooling, device, steps, batch
                    for how in (*LOWERINGS, "one after another"):
                        rate = _rate(how, repeats, *made)
                        found.append(Lockstep(how, side, pooling, tf32, rate))
    finally:
        use_tf32(False)
    return found


def _rate(
    how: str, repeats: int, networks: int, side: int, pooling: bool, device: str, steps: int,
    batch: int,
) -> float:  # fmt: skip
    draw = torch.Generator().manual_seed(0)
    objective = Objective(side, pooling, alpha_theta=1e-4, alpha_w=1e-4)
    one = {k: w.float().to(device) for k, w in initial_weights(side, pooling, draw).items()}
    weights = stack([one] * networks)
    velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
    count = steps * batch
    images = torch.rand(1, count, 1, side, side, generator=draw).to(device)
    labels = (torch.arange(count) % 10)[None].to(device)
    order = torch.randperm(count, generator=draw)[None].to(device)
    options = {"rate": 1e-4, "batch": batch, "momentum": 0.9, "nesterov": True}
    few = min(networks, 3)  # of those one after another: the rate is the same for each

    def epoch() -> None:
        if how in LOWERINGS:
            of = torch.zeros(networks, dtype=torch.int64, device=device)
            train_ensemble_epoch(
                objective, weights, velocity, images, labels, order, of, lowering=how, **options
            )
            return
        pairs = list(zip(unstack(weights), unstack(velocity), strict=True))
        for w, v in pairs[:few]:
            w = {name: x.clone() for name, x in w.items()}
            train_epoch(objective, w, v, images[0], labels[0], order[0], **options)

    done = (networks if how in LOWERINGS else few) * count * step_flops(side, pooling)
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        epoch()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return done / median(times[1:])
