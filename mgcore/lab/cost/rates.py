"""Rates of this machine in one thread: matrix product, training step, loss surface, ensemble.

A rate is floating-point operations of the network per second: convolutions and classifier, a
multiplication and an addition counting two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import torch

from mgcore.analysis.landscape import filter_normalised_direction, surface
from mgcore.data.images import normalise, prepare
from mgcore.lab.protocol import Protocol
from mgcore.lab.records.files import write_json
from mgcore.lab.run.workers import everywhere, here_and_now, settle_process, use_tf32
from mgcore.lab.trial.work import Piece
from mgcore.thesis.classifier import ClassifierProblem, features
from mgcore.thesis.curvature import local_model, objective_value
from mgcore.thesis.ensemble import EnsembleTrainer, repeat_itself, stack, unstack
from mgcore.thesis.lowerings import LOWERINGS, check_lowering
from mgcore.thesis.network import forward_flops, initial_weights, step_flops
from mgcore.thesis.objective import Objective, evaluate
from mgcore.thesis.sgd import train_epoch

BATCH = 32
ONE_BY_ONE = "one after another"


@dataclass(frozen=True)
class Row:
    """One measured number of the table, its unit, and its ratio to a reference."""

    part: str
    name: str
    value: float
    unit: str
    ratio: float | None = None
    to: str = ""


def seconds(function: Callable[[], object], budget: float) -> float:
    """Return the median time of a call, measured for about `budget` seconds, at least three times.

    A first call is not measured.
    """
    function()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return median(times)


def sgemm_rate(budget: float = 1.0) -> float:
    """Return the rate of a 1024×1024 float32 matrix product, in FLOP/s."""
    a = torch.rand(1024, 1024)
    return 2 * 1024**3 / seconds(lambda: a @ a, budget)


def step_rate(resolution: int, pooling: bool, budget: float = 1.0) -> float:
    """Return the rate of a bare training step, in FLOP/s.

    The minibatch is at hand; there is no penalty, no momentum and no evaluation.
    """
    weights = initial_weights(resolution, pooling, torch.Generator().manual_seed(0))
    leaves = {name: w.float().requires_grad_() for name, w in weights.items()}
    objective = Objective(resolution, pooling)
    images = torch.rand(BATCH, 1, resolution, resolution)
    labels = torch.arange(BATCH) % 10

    def step() -> None:
        gradients = torch.autograd.grad(
            objective.loss(leaves, images, labels), list(leaves.values())
        )
        for w, gradient in zip(leaves.values(), gradients, strict=True):
            w.data.sub_(gradient, alpha=1e-3)

    return BATCH * step_flops(resolution, pooling) / seconds(step, budget)


def training_rate(resolution: int, pooling: bool, budget: float = 1.0) -> float:
    """Return the rate of training as a study does it, in FLOP/s.

    Beside the bare step it gathers the minibatch, adds both penalties and applies momentum.
    """
    piece = Piece("step", resolution, pooling, "float32")
    return step_flops(resolution, pooling) / seconds_per_image(piece, budget)


def surface_rate(resolution: int, pooling: bool, budget: float = 1.0) -> float:
    """Return the rate of a loss surface on 200 images, in FLOP/s."""
    draw = torch.Generator().manual_seed(0)
    objective = Objective(resolution, pooling, alpha_theta=1e-4, alpha_w=1e-4)
    weights = {k: w.float() for k, w in initial_weights(resolution, pooling, draw).items()}
    first = filter_normalised_direction(weights, draw)
    directions = first, filter_normalised_direction(weights, draw)
    images, labels = torch.rand(200, 1, resolution, resolution), torch.arange(200) % 10
    steps = torch.linspace(-1, 1, 2)
    operations = len(steps) ** 2 * len(images) * forward_flops(resolution, pooling)
    return operations / seconds(
        lambda: surface(
            lambda moved: evaluate(objective, moved, images, labels)["objective"],
            weights,
            directions,
            steps,
        ),
        budget,
    )


def seconds_per_image(piece: Piece, budget: float) -> float:
    """Return the median time of one operation of a trial, divided by the images it processes."""
    settle_process()
    call, images = _operation(piece)
    return seconds(call, budget) / images


def _operation(piece: Piece) -> tuple[Callable[[], object], int]:
    """Return an operation as a function, and the number of images that a call processes."""
    operation, n, pooling, dtype = piece
    protocol = Protocol(dataset="strokes", resolution=2 * n, pooling=pooling, dtype=dtype)
    objective, batch = protocol.objective("coarse"), protocol.batch
    draw = torch.Generator().manual_seed(0)
    kind = getattr(torch, dtype)
    sizes = {"step": 8 * batch, "forward": 200, "prepare": 500, "features": 50, "pass": 250}
    count = sizes.get(operation, batch)
    images = torch.rand(count, 1, n, n, generator=draw, dtype=kind)
    labels = torch.arange(count) % 10
    weights = {k: w.to(kind) for k, w in initial_weights(n, pooling, draw).items()}
    if operation == "step":
        velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
        order = torch.randperm(count, generator=draw)
        return lambda: train_epoch(
            objective, weights, velocity, images, labels, order, rate=1e-4, batch=batch,
            momentum=0.9, nesterov=True,
        ), count  # fmt: skip
    if operation == "forward":
        return lambda: evaluate(objective, weights, images, labels), count
    if operation == "prepare":
        return lambda: prepare(normalise(images[:, 0], "standardised", kind), "prolonged"), count
    if operation == "features":
        return lambda: features(objective, weights, images), count
    if operation == "pass":
        columns = weights["classifier.weight"].shape[1]
        cached = torch.rand(count, columns, dtype=kind)
        problem = ClassifierProblem(objective, cached, labels)
        x = problem.pack(weights)
        classifier = problem.local(x)
        return lambda: classifier.hvp(x), 2 * count  # a product is two passes over the features
    if operation == "local":
        return lambda: local_model(objective, weights, images, labels), count
    if operation == "value":
        return lambda: objective_value(objective, weights, images, labels), count
    model = local_model(objective, weights, images, labels)
    return lambda: model.hvp(model.gradient), count


def rate_rows(budget: float = 1.0, resolution: int = 28) -> list[Row]:
    """Measure matrix products, bare steps and training in one process per core, all at once."""
    settle_process()
    alone = sgemm_rate(budget)
    each = everywhere(_rates, budget, resolution)
    n = len(each)
    total = {name: n * fmean(one[name] for one in each) for name in each[0]}
    together = (total.pop("sgemm before") + total.pop("sgemm after")) / 2
    total = {f"SGEMM, {n} processes at once": together} | total
    return [Row("rates", "SGEMM, one thread alone", alone / 1e9, "GFLOP/s")] + [
        Row("rates", name, rate / 1e9, "GFLOP/s", rate / (n * alone), f"{n} × SGEMM alone")
        for name, rate in total.items()
    ]


def _rates(budget: float, resolution: int) -> dict[str, float]:
    """Return the rates of this process while the other processes measure theirs."""
    settle_process()
    rates = {"sgemm before": sgemm_rate(budget)}
    for side in (resolution // 2, resolution):
        for pooling in (False, True):
            network = f"{side}×{side}, {'pooling' if pooling else 'no pooling'}"
            rates[f"bare step, {network}"] = step_rate(side, pooling, budget)
            rates[f"training, {network}"] = training_rate(side, pooling, budget)
    return rates | {"sgemm after": sgemm_rate(budget)}


def surface_rows(budget: float = 1.0, resolution: int = 28) -> list[Row]:
    """Measure loss surfaces in one thread, with a matrix product before and after each."""
    settle_process()
    rows = []
    for pooling in (False, True):
        before = sgemm_rate(budget)
        rate = surface_rate(resolution, pooling, budget)
        ratio = 2 * rate / (before + sgemm_rate(budget))
        name = f"loss surface, {'pooling' if pooling else 'no pooling'}, one thread"
        rows.append(Row("surfaces", name, rate / 1e9, "GFLOP/s", ratio, "SGEMM alone"))
    return rows


class VectorizedRate(NamedTuple):
    """Rate of one method of training several networks, in FLOP/s over all networks."""

    method: str
    resolution: int
    pooling: bool
    tf32: bool
    flops: float


def lowerings_on(device: str) -> list[str]:
    """Return the lowerings that a device can run."""
    found = []
    for name in LOWERINGS:
        try:
            check_lowering(name, device)
        except ValueError:
            continue
        found.append(name)
    return found


def vectorized_rates(
    device: str = "cpu",
    networks: int = 60,
    steps: int = 20,
    repeats: int = 3,
    sides: tuple[int, ...] = (14, 28),
    batch: int = BATCH,
) -> list[VectorizedRate]:
    """Measure training of an ensemble by each lowering, and of one network after another.

    Parameters
    ----------
    device : {"cpu", "cuda"}
        On a GPU every rate is measured without and with TF32, which is off afterwards.
    networks : int
        20 trials of three conditions make 60.
    steps : int
        Steps of an epoch.
    repeats : int
        Epochs whose median is returned; one more epoch comes before them.
    sides : tuple of int
        Pixels along a side.
    batch : int
    """
    rates = []
    try:
        for tf32 in (False, True) if device == "cuda" else (False,):
            use_tf32(tf32)
            for side in sides:
                for pooling in (False, True):
                    for method in (*lowerings_on(device), ONE_BY_ONE):
                        rate = _rate(method, repeats, networks, side, pooling, device, steps, batch)
                        rates.append(VectorizedRate(method, side, pooling, tf32, rate))
    finally:
        use_tf32(False)
    return rates


def _rate(
    method: str, repeats: int, networks: int, side: int, pooling: bool, device: str, steps: int,
    batch: int,
) -> float:  # fmt: skip
    if method == ONE_BY_ONE:
        networks = min(networks, 3)  # the rate does not depend on how many follow one another
    epoch = training_epoch(method, networks, side, pooling, device, steps, batch)
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        epoch()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return networks * steps * batch * step_flops(side, pooling) / median(times[1:])


def training_epoch(
    method: str, networks: int, side: int, pooling: bool, device: str, steps: int,
    batch: int = BATCH, captured: bool = True,
) -> Callable[[], None]:  # fmt: skip
    """Return an epoch of SGD of several networks on images of noise, as a function.

    Parameters
    ----------
    method : str
        A lowering of :data:`mgcore.thesis.lowerings.LOWERINGS`, or :data:`ONE_BY_ONE`.
    networks : int
    side : int
        Pixels along a side.
    pooling : bool
    device : {"cpu", "cuda"}
    steps, batch : int
        Steps of an epoch, and images of a step for each network.
    captured : bool
        Whether a GPU replays the step as a CUDA graph.
    """
    draw = torch.Generator().manual_seed(0)
    objective = Objective(side, pooling, alpha_theta=1e-4, alpha_w=1e-4)
    one = {k: w.float().to(device) for k, w in initial_weights(side, pooling, draw).items()}
    weights = stack([one] * networks)
    velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
    count = steps * batch
    images = torch.rand(count, 1, side, side, generator=draw).to(device)
    labels = (torch.arange(count) % 10).to(device)
    order = torch.randperm(count, generator=draw).to(device)
    options: dict[str, Any] = {"batch": batch, "momentum": 0.9, "nesterov": True}
    if method != ONE_BY_ONE:
        trainer = EnsembleTrainer(
            objective, weights, velocity, images, labels, lowering=method,
            capture=None if captured else repeat_itself, **options,
        )  # fmt: skip
        return lambda: trainer.epoch(order.expand(networks, -1), 1e-4)

    def epoch() -> None:
        for w, v in zip(unstack(weights), unstack(velocity), strict=True):
            w = {name: x.clone() for name, x in w.items()}
            train_epoch(objective, w, v, images, labels, order, rate=1e-4, **options)

    return epoch


def write_measured(file: Path, content: dict[str, Any]) -> None:
    """Write measurements with their machine and date to a checksummed JSON file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, content | here_and_now())
