"""What the pieces of a trial cost on this machine: measured in two seconds, on all cores at once.

A price is seconds for one image.  Processes that run side by side share caches and memory, so the
prices are taken while every core is at work, as it will be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from statistics import fmean, median
from typing import NamedTuple

import torch

from mgcore.data.images import Digits, normalise, prepare
from mgcore.lab.protocol import Protocol
from mgcore.lab.run.workers import cores, everywhere, settle_process
from mgcore.thesis.classifier import ClassifierProblem, features
from mgcore.thesis.curvature import local_model, objective_value
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import evaluate
from mgcore.thesis.sgd import train_epoch

BUDGET = 2.0  # seconds, for all prices together


class Piece(NamedTuple):
    """A piece of work whose price is asked: what is done to an image, and by which network.

    Attributes
    ----------
    what : str
        ``"step"`` of SGD, ``"forward"`` in an evaluation, ``"prepare"``; ``"local"`` model of the
        objective, its ``"value"`` and Hessian ``"product"`` on a minibatch; ``"features"`` of the
        classifier, and a ``"pass"`` over them.
    resolution : int
        Pixels along a side.
    pooling : bool
    dtype : str
    """

    what: str
    resolution: int
    pooling: bool
    dtype: str


class Prices(NamedTuple):
    """Prices, and how they were come by.

    Attributes
    ----------
    seconds : dict
        Of a piece, for one image.
    startup : float
        Seconds until the processes were at work.
    processes : int
    """

    seconds: dict[Piece, float]
    startup: float
    processes: int


def measure_prices(
    pieces: Iterable[Piece], processes: int | None = None, budget: float = BUDGET
) -> Prices:
    """Measure prices in as many processes as there are cores, all at once.

    Parameters
    ----------
    pieces : iterable of Piece
    processes : int, optional
    budget : float
        Seconds of measuring; a piece is done three times at least.
    """
    wanted, processes = sorted(set(pieces)), processes or cores()
    began = time.monotonic()
    found = everywhere(_measure, wanted, budget, processes=processes)
    startup = max(start - began for _, start in found)
    seconds = {piece: fmean(prices[i] for prices, _ in found) for i, piece in enumerate(wanted)}
    return Prices(seconds, max(startup, 0.0), processes)


def _measure(pieces: list[Piece], budget: float) -> tuple[list[float], float]:
    """Return the prices in this process, and when it began."""
    began = time.monotonic()
    return [price(piece, budget / len(pieces)) for piece in pieces], began


def price(piece: Piece, budget: float) -> float:
    """Return the seconds that a piece of work takes for one image, a median."""
    settle_process()
    work, images = _work(piece)
    work()
    times: list[float] = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times) / images


def _work(piece: Piece) -> tuple[Callable[[], object], int]:
    """Return a piece of work as a function, and the images that it is done to."""
    what, n, pooling, dtype = piece
    protocol = Protocol(dataset="strokes", resolution=2 * n, pooling=pooling, dtype=dtype)
    objective, batch = protocol.objective("coarse"), protocol.batch
    draw = torch.Generator().manual_seed(0)
    kind = getattr(torch, dtype)
    count = {"step": 8 * batch, "forward": 200, "prepare": 500, "features": 50, "pass": 250}
    images = torch.rand(count.get(what, batch), 1, n, n, generator=draw, dtype=kind)
    labels = torch.arange(len(images)) % 10
    weights = {k: w.to(kind) for k, w in initial_weights(n, pooling, draw).items()}
    if what == "step":
        velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
        order = torch.randperm(len(images), generator=draw)
        return lambda: train_epoch(
            objective, weights, velocity, images, labels, order, rate=1e-4, batch=batch,
            momentum=0.9, nesterov=True,
        ), len(images)  # fmt: skip
    if what == "forward":
        return lambda: evaluate(objective, weights, images, labels), len(images)
    if what == "prepare":
        digits = Digits("random", (255 * images[:, 0]).to(torch.uint8), labels, "")
        index = torch.arange(len(images))
        return lambda: prepare(
            normalise(digits.select(index, kind), "standardised", kind), "prolonged"
        ), len(images)
    if what == "features":
        return lambda: features(objective, weights, images), len(images)
    if what == "pass":
        seen = torch.rand(len(images), weights["classifier.weight"].shape[1], dtype=kind)
        problem = ClassifierProblem(objective, seen, labels)
        x = problem.pack(weights)
        local = problem.local(x)
        return lambda: local.hvp(x), 2 * len(images)  # a product passes twice over the features
    if what == "local":
        return lambda: local_model(objective, weights, images, labels), batch
    if what == "value":
        return lambda: objective_value(objective, weights, images, labels), batch
    model = local_model(objective, weights, images, labels)
    return lambda: model.hvp(model.gradient), batch
