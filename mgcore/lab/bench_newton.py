"""Measured cost of Newton's methods: a Hessian product in gradients, and a rival beside ours.

Everything that is compared is measured in one call, alternately, in one thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.classifier import ClassifierProblem, features
from mgcore.curvature import flatten, local_model, unflatten
from mgcore.data import load_digits
from mgcore.lab.bench import seconds
from mgcore.lab.execute import here_and_now, settle_process
from mgcore.lab.files import write_atomically
from mgcore.networks import CLASSIFIER, initial_weights
from mgcore.objective import Objective
from mgcore.steihaug import Local, trust_region


@dataclass(frozen=True)
class ProductCost:
    """What a Hessian product costs at 28×28, in gradients of the same minibatch."""

    network: str
    form: str
    gradients: float


@dataclass(frozen=True)
class Race:
    """How long a method took to reach a loss on the classifier phase, and what it did."""

    method: str
    seconds: float
    steps: int


def product_costs(budget: float = 2.0, batch: int = 32) -> list[ProductCost]:
    """Measure Hessian products from a kept pass, from autograd's kept graph, and with neither.

    Parameters
    ----------
    budget : float
        Seconds for each measurement.
    batch : int
        Images in the minibatch.
    """
    settle_process()
    return [cost for pooling in (True, False) for cost in _product_costs(pooling, budget, batch)]


def _product_costs(pooling: bool, budget: float, batch: int) -> list[ProductCost]:
    draw = torch.Generator().manual_seed(0)
    objective = Objective(28, pooling)
    weights = {k: w.float() for k, w in initial_weights(28, pooling, draw).items()}
    images = torch.rand(batch, 1, 28, 28, generator=draw)
    labels = torch.arange(batch) % 10
    leaves = {k: w.clone().requires_grad_() for k, w in weights.items()}
    slope = torch.func.grad(lambda w: objective.loss(w, images, labels))
    variables = list(leaves.values())
    graph = torch.autograd.grad(
        objective.loss(leaves, images, labels), variables, create_graph=True
    )  # fmt: skip

    def by_graph(d: Tensor) -> Tensor:
        parts = list(unflatten(d, weights).values())
        twice = torch.autograd.grad(graph, variables, grad_outputs=parts, retain_graph=True)
        return torch.cat([part.reshape(-1) for part in twice])

    def by_jvp(d: Tensor) -> Tensor:
        moved = torch.func.jvp(slope, (weights,), (unflatten(d, weights),))[1]
        return flatten(moved)

    forms = {
        "full Hessian, pass kept": local_model(objective, weights, images, labels).hvp,
        "Gauss–Newton, pass kept": local_model(
            objective, weights, images, labels, "gauss-newton"
        ).hvp,
        "full Hessian, autograd's graph kept": by_graph,
        "full Hessian, jvp of the gradient": by_jvp,
    }

    def gradient() -> float:
        return seconds(lambda: objective.gradient(leaves, images, labels), budget)

    found = []
    for form, product in forms.items():
        d = torch.randn(sum(w.numel() for w in weights.values()), generator=draw)
        before = gradient()
        spent = seconds(lambda p=product, d=d: p(d), budget)
        network = "pooling" if pooling else "no pooling"
        found.append(ProductCost(network, form, 2 * spent / (before + gradient())))
    return found


class Reached(Exception):
    """Raised when the loss has been reached."""


def race(count: int = 300, drop: float = 0.7, seed: int = 0) -> list[Race]:
    """Train a classifier on cached features to the same loss by three means, in float64.

    Parameters
    ----------
    count : int
        Stroke digits at 28×28, of which the pooled network's features are cached.
    drop : float
        The loss to be reached, as a share of the loss at the start.
    seed : int

    Returns
    -------
    list of Race
        pytorch-minimize's ``trust-ncg``; ours with the same closure, differentiated twice by
        autograd; ours with the closed form of :class:`mgcore.classifier.ClassifierProblem`.

    Raises
    ------
    ValueError
        If pytorch-minimize is not installed.
    """
    try:
        from torchmin import minimize
    except ImportError:
        raise ValueError(
            "pytorch-minimize is not installed; accepted: pip install -e .[test]."
        ) from None
    settle_process()
    digits = load_digits("strokes", count, 28)
    images = digits.images[:, None].double() / 255
    objective = Objective(28, True, alpha_w=1e-4)
    start = initial_weights(28, True, torch.Generator().manual_seed(seed))
    problem = ClassifierProblem(objective, features(objective, start, images), digits.labels)
    x0 = torch.zeros_like(problem.pack(start))
    target = drop * problem.value(x0)
    still = {k: torch.zeros_like(w) for k, w in start.items() if k.startswith("conv")}

    def closure(x: Tensor) -> Tensor:
        loss = F.cross_entropy(problem.features @ x[:-10].view(10, -1).T + x[-10:], problem.labels)
        return loss + objective.penalty({**still, CLASSIFIER: x[:-10].view(10, -1)})

    def by_autograd(x: Tensor, _: int) -> Local:
        x = x.detach().requires_grad_()
        value = closure(x)
        (g,) = torch.autograd.grad(value, x, create_graph=True)
        return Local(
            float(value.detach()),
            g.detach(),
            lambda d: torch.autograd.grad(g, x, d, retain_graph=True)[0],
        )

    def theirs(reached: Callable[[float], None]) -> None:
        minimize(
            closure, x0, method="trust-ncg", options={"gtol": 1e-12},
            callback=lambda x: reached(problem.value(x.detach().flatten())),
        )  # fmt: skip

    def ours(local: Callable[[Tensor, int], Local]) -> Callable[[Callable], None]:
        return lambda reached: trust_region(
            local, lambda x, _: problem.value(x), x0, gtol=1e-12,
            watch=lambda step, x, value: reached(value),
        )  # fmt: skip

    methods = {
        "pytorch-minimize, trust-ncg": theirs,
        "ours, the same closure": ours(by_autograd),
        "ours, closed form": ours(lambda x, _: problem.local(x)),
    }
    return [_timed(name, method, target) for name, method in methods.items()]


def _timed(name: str, method: Callable[[Callable], None], target: float) -> Race:
    """Run a method until the value that it reports after a step is at most `target`."""
    steps = 0

    def reached(value: float) -> None:
        nonlocal steps
        steps += 1
        if value <= target:
            raise Reached

    began = time.perf_counter()
    try:
        method(reached)
    except Reached:
        return Race(name, time.perf_counter() - began, steps)
    raise FloatingPointError(f"{name} stopped after {steps} steps above the loss {target:.3g}.")


def write(file: Path, costs: list[ProductCost], races: list[Race]) -> None:
    """Keep measurements with their machine and date, for the page that shows them."""
    content = {
        "products": [asdict(cost) for cost in costs],
        "race": [asdict(one) for one in races],
    } | here_and_now()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, (json.dumps(content, indent=1) + "\n").encode(), "json")
