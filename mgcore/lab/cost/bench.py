"""Measured rates of this machine: the model's arithmetic beside a plain matrix product.

A rate is floating-point operations of the model a second: convolutions and classifier, training
and evaluation, a multiplication and an addition counting two.  Everything is in one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from mgcore.analysis.landscape import filter_normalised_direction, surface
from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.thesis.network import forward_flops, initial_weights, step_flops
from mgcore.thesis.objective import Objective, evaluate
from mgcore.thesis.sgd import train_epoch


def seconds(function: Callable[[], object], budget: float) -> float:
    """Return the median time of a call, over about `budget` seconds."""
    function()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return median(times)


def sgemm_rate(budget: float = 1.0) -> float:
    """Return the rate of a 1024×1024 float32 matrix product in one thread, in FLOP/s."""
    a = torch.rand(1024, 1024)
    return 2 * 1024**3 / seconds(lambda: a @ a, budget)


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

    return batch * step_flops(resolution, pooling) / seconds(step, budget)


def training_rate(resolution: int, pooling: bool, batch: int = 32, budget: float = 1.0) -> float:
    """Return the rate of training as a study does it, in FLOP/s.

    Beside the bare step: gathering the minibatch, both penalties, momentum.
    """
    draw = torch.Generator().manual_seed(0)
    objective = Objective(resolution, pooling, alpha_theta=1e-4, alpha_w=1e-4)
    weights = {k: w.float() for k, w in initial_weights(resolution, pooling, draw).items()}
    velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
    images, labels = torch.rand(8 * batch, 1, resolution, resolution), torch.arange(8 * batch) % 10
    order = torch.randperm(8 * batch, generator=draw)

    def some() -> None:
        train_epoch(
            objective, weights, velocity, images, labels, order, rate=1e-4, batch=batch,
            momentum=0.9, nesterov=True,
        )  # fmt: skip

    return 8 * batch * step_flops(resolution, pooling) / seconds(some, budget)


def surface_rate(resolution: int, pooling: bool, budget: float = 1.0) -> float:
    """Return the rate of loss surfaces, in FLOP/s: points of a plane, 200 images each."""
    draw = torch.Generator().manual_seed(0)
    objective = Objective(resolution, pooling, alpha_theta=1e-4, alpha_w=1e-4)
    weights = {k: w.float() for k, w in initial_weights(resolution, pooling, draw).items()}
    pair = tuple(filter_normalised_direction(weights, draw) for _ in range(2))
    images, labels = torch.rand(200, 1, resolution, resolution), torch.arange(200) % 10
    steps = torch.linspace(-1, 1, 2)
    flops = len(steps) ** 2 * len(images) * forward_flops(resolution, pooling)

    def plane() -> Tensor:
        return surface(
            lambda moved: evaluate(objective, moved, images, labels)["objective"],
            weights, pair, steps,
        )  # fmt: skip

    return flops / seconds(plane, budget)


def trial_flops(
    protocol: Protocol, arms: tuple[str, ...] = CONDITIONS
) -> dict[tuple[str, str], float]:
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
