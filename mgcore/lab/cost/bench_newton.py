"""Measured cost of a Hessian product, in gradients; both in one call, in turn, in one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mgcore.lab.cost.bench import seconds
from mgcore.lab.cost.bench_race import Race
from mgcore.lab.records.files import read_json, write_json
from mgcore.lab.run.workers import here_and_now, settle_process
from mgcore.thesis.curvature import flatten, local_model, unflatten
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import Objective


@dataclass(frozen=True)
class ProductCost:
    """What a Hessian product costs at 28×28, in gradients of the same minibatch."""

    network: str
    form: str
    gradients: float


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

    def gradient() -> float:
        return seconds(lambda: objective.gradient(leaves, images, labels), budget)

    found = []
    for form, product in forms(objective, weights, images, labels).items():
        d = torch.randn(sum(w.numel() for w in weights.values()), generator=draw)
        before = gradient()
        spent = seconds(lambda p=product, d=d: p(d), budget)
        network = "pooling" if pooling else "no pooling"
        found.append(ProductCost(network, form, 2 * spent / (before + gradient())))
    return found


def forms(
    objective: Objective, weights: dict[str, Tensor], images: Tensor, labels: Tensor
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the Hessian products that are compared, of one minibatch, by name."""
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

    return {
        "full Hessian, pass kept": local_model(objective, weights, images, labels).hvp,
        "Gauss–Newton, pass kept": local_model(
            objective, weights, images, labels, "gauss-newton"
        ).hvp,
        "full Hessian, autograd's graph kept": by_graph,
        "full Hessian, jvp of the gradient": by_jvp,
    }


def write(file: Path, costs: list[ProductCost], races: list[Race]) -> None:
    """Keep measurements with their machine and date, for the page that shows them."""
    content = {
        "products": [asdict(cost) for cost in costs],
        "race": [asdict(one) for one in races],
    } | here_and_now()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, content)


def read(file: Path) -> dict[str, Any]:
    """Return what :func:`write` kept: ``products``, ``race``, ``machine`` and ``date``.

    Raises
    ------
    RecordError
        If the file is missing, truncated or altered.
    """
    return read_json(file)
