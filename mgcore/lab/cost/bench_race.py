"""Our trust region beside pytorch-minimize's, to the same loss on the classifier phase.

All take their turns in one call, in one thread, and are judged by the same function.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mgcore.data.images import load_digits
from mgcore.lab.run.workers import settle_process
from mgcore.optimize.trust_region import LocalModel, trust_region
from mgcore.thesis.classifier import ClassifierProblem, features
from mgcore.thesis.network import CLASSIFIER, initial_weights
from mgcore.thesis.objective import Objective


@dataclass(frozen=True)
class Race:
    """How long a method took to reach a loss on the classifier phase, and what it did.

    Attributes
    ----------
    method : str
    seconds : float
        Median over repetitions; looking whether the loss is reached is not in it.
    steps : int
        Outer iterations.
    passes : int
        Matrix products with the cached features, forwards or back, in which the time goes.
    """

    method: str
    seconds: float
    steps: int
    passes: int


class Reached(Exception):
    """Raised when the loss has been reached."""


def race(count: int = 300, drop: float = 0.7, seed: int = 0, repeats: int = 3) -> list[Race]:
    """Train a classifier on cached features to the same loss by three means, in float64.

    Parameters
    ----------
    count : int
        Stroke digits at 28×28, of which the pooled network's features are cached.
    drop : float
        The loss to be reached, as a share of the loss at the start.
    seed : int
    repeats : int
        How often the methods run, one after the other in each round.

    Returns
    -------
    list of Race
        pytorch-minimize's ``trust-ncg``; ours with the same closure, differentiated twice by
        autograd; ours with the closed form of :class:`mgcore.thesis.classifier.ClassifierProblem`.

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
    images = digits.images[:, None].double()
    objective = Objective(28, True, alpha_w=1e-4)
    start = initial_weights(28, True, torch.Generator().manual_seed(seed))
    problem = ClassifierProblem(objective, features(objective, start, images), digits.labels)
    x0 = torch.zeros_like(problem.pack(start))
    target = drop * problem.value(x0)
    still = {k: torch.zeros_like(w) for k, w in start.items() if k.startswith("conv")}

    def closure(x: Tensor) -> Tensor:
        loss = F.cross_entropy(problem.features @ x[:-10].view(10, -1).T + x[-10:], problem.labels)
        return loss + objective.penalty({**still, CLASSIFIER: x[:-10].view(10, -1)})

    def by_autograd(x: Tensor) -> LocalModel:
        x = x.detach().requires_grad_()
        value = closure(x)
        (g,) = torch.autograd.grad(value, x, create_graph=True)
        return LocalModel(
            float(value.detach()),
            g.detach(),
            lambda d: torch.autograd.grad(g, x, d, retain_graph=True)[0],
        )

    def theirs(reached: Reporter) -> None:
        minimize(
            closure, x0, method="trust-ncg", options={"gtol": 1e-12},
            callback=lambda x: reached(x.detach().flatten()),
        )  # fmt: skip

    def ours(local: Callable[[Tensor], LocalModel], value: Callable[[Tensor], float]) -> Method:
        return lambda reached: trust_region(
            lambda x, _: local(x), lambda x, _: value(x), x0, gtol=1e-12,
            callback=lambda step, x, value: reached(x),
        )  # fmt: skip

    methods = {
        "pytorch-minimize, trust-ncg": theirs,
        "ours, the same closure": ours(by_autograd, lambda x: float(closure(x))),
        "ours, closed form": ours(problem.local, problem.value),
    }
    counted = {name: _passes(name, method, problem, target) for name, method in methods.items()}
    spent: dict[str, list[float]] = {name: [] for name in methods}
    steps = {}
    for _ in range(repeats):
        for name, method in methods.items():
            took, steps[name] = _reach(name, method, problem, target)
            spent[name].append(took)
    return [Race(name, median(spent[name]), steps[name], counted[name]) for name in methods]


Reporter = Callable[[Tensor], None]
Method = Callable[[Reporter], Any]


def _reach(
    name: str, method: Method, problem: ClassifierProblem, target: float
) -> tuple[float, int]:
    """Return seconds and steps of a method until the loss at its point is at most `target`.

    All are judged by the same function, and the judge's time is taken off.
    """
    steps, aside = 0, 0.0

    def reached(x: Tensor) -> None:
        nonlocal steps, aside
        began = time.perf_counter()
        steps += 1
        value = problem.value(x)
        aside += time.perf_counter() - began
        if value <= target:
            raise Reached

    began = time.perf_counter()
    try:
        method(reached)
    except Reached:
        return time.perf_counter() - began - aside, steps
    raise FloatingPointError(f"{name} stopped after {steps} steps above the loss {target:.3g}.")


class _Products(TorchDispatchMode):
    """Counts matrix products in which a matrix of so many entries takes part."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.entries, self.count = entries, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in ("aten::mm", "aten::addmm"):
            self.count += any(isinstance(a, Tensor) and a.numel() == self.entries for a in args)
        return func(*args, **(kwargs or {}))


def _passes(name: str, method: Method, problem: ClassifierProblem, target: float) -> int:
    with _Products(problem.features.numel()) as products:
        _, steps = _reach(name, method, problem, target)
    return products.count - steps  # the judge takes one a step
