"""Measured rates of this machine: the model's arithmetic beside a plain matrix product.

Everything that is compared is measured in one call, alternately, in one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from mgcore.lab.execute import settle_process
from mgcore.lab.protocol import ARMS, Protocol
from mgcore.lab.study import run_trial
from mgcore.networks import forward_flops, initial_weights, step_flops
from mgcore.objective import Objective


@dataclass(frozen=True)
class Rate:
    """Floating-point operations a second, and what they are a fraction of."""

    name: str
    gflops: float
    of_sgemm: float
    of_step: float | None = None


def _seconds(function: Callable[[], object], budget: float) -> float:
    """Return the median time of a call, over about `budget` seconds."""
    function()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return median(times)


def sgemm_rate(budget: float = 0.5) -> float:
    """Return the rate of a 1024×1024 float32 matrix product in one thread, in FLOP/s."""
    a = torch.rand(1024, 1024)
    return 2 * 1024**3 / _seconds(lambda: a @ a, budget)


def step_rate(resolution: int, pooling: bool, batch: int = 32, budget: float = 1.0) -> float:
    """Return the rate of a bare training step, in FLOP/s.

    The same network and loss, the minibatch at hand, no penalty, no momentum, no evaluation.
    """
    weights = initial_weights(resolution, pooling, torch.Generator().manual_seed(0))
    leaves = [w.float().requires_grad_() for w in weights.values()]
    named = dict(zip(weights, leaves, strict=True))
    objective = Objective(resolution, pooling)
    images = torch.rand(batch, 1, resolution, resolution)
    labels = torch.arange(batch) % 10

    def step() -> None:
        for w, g in zip(
            leaves, torch.autograd.grad(objective.loss(named, images, labels), leaves), strict=True
        ):
            w.data.sub_(g, alpha=1e-3)

    return batch * step_flops(resolution, pooling) / _seconds(step, budget)


def trial_flops(protocol: Protocol, arms: tuple[str, ...] = ARMS) -> dict[tuple[str, str], float]:
    """Return the floating-point operations of one trial by (grid, "training" or "evaluation")."""
    flops = {}
    for grid in ("coarse", "fine"):
        size = protocol.resolution // (2 if grid == "coarse" else 1)
        count = protocol.n_coarse if grid == "coarse" else protocol.n_fine
        epochs = protocol.coarse_epochs if grid == "coarse" else protocol.fine_epochs
        networks = 1 if grid == "coarse" else len(arms)
        steps = count // protocol.batch * protocol.batch * epochs
        whole = len({0, 1, epochs}) * (count + protocol.n_validation)
        between = (epochs + 1 - len({0, 1, epochs})) * protocol.subset
        flops[grid, "training"] = networks * steps * step_flops(size, protocol.pooling)
        flops[grid, "evaluation"] = (
            networks * (whole + between) * forward_flops(size, protocol.pooling)
        )
    return flops


def trial_rates(protocol: Protocol, budget: float = 2.0) -> list[Rate]:
    """Measure a whole trial on one core beside the bare step and a matrix product.

    Parameters
    ----------
    protocol : Protocol
        Should take minutes, so that start-up does not count.
    budget : float
        Seconds for each of the bare measurements, before and after the trial.

    Returns
    -------
    list of Rate
        Of the matrix product, the bare step on both grids and weighted as in the trial, and the
        trial: FLOPs of training and evaluation over all its time, data preparation included.
    """
    settle_process()
    sizes = {"coarse": protocol.resolution // 2, "fine": protocol.resolution}

    def bare() -> list[float]:
        steps = [step_rate(n, protocol.pooling, protocol.batch, budget) for n in sizes.values()]
        return [sgemm_rate(budget), *steps]

    before = bare()
    result = run_trial(protocol, 0)
    sgemm, coarse, fine = (sum(pair) / 2 for pair in zip(before, bare(), strict=True))
    flops = trial_flops(protocol)
    bare_seconds = sum(
        work / (coarse if grid == "coarse" else fine) for (grid, _), work in flops.items()
    )
    total = sum(flops.values())
    step, trial = total / bare_seconds, total / result["seconds"]["whole"]
    return [
        Rate("matrix product (SGEMM)", sgemm / 1e9, 1.0),
        Rate(f"bare step, {sizes['coarse']}×{sizes['coarse']}", coarse / 1e9, coarse / sgemm),
        Rate(f"bare step, {sizes['fine']}×{sizes['fine']}", fine / 1e9, fine / sgemm),
        Rate("bare steps, weighted as in a trial", step / 1e9, step / sgemm, 1.0),
        Rate("a whole trial", trial / 1e9, trial / sgemm, trial / step),
    ]
