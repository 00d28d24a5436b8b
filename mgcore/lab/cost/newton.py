"""Cost of Newton's methods: Hessian products in gradients, and a comparison of trust regions.

Everything runs in one thread. Compared methods take turns and are judged by the same function.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mgcore.data.images import load_digits, normalise, prepare
from mgcore.lab.cost.rates import BATCH, Row, seconds, write_measured
from mgcore.lab.protocol.studies import study_protocol
from mgcore.lab.records.files import read_json
from mgcore.lab.run.workers import settle_process
from mgcore.lab.trial.trial import fresh_weights
from mgcore.optimize.trust_region import LocalModel, trust_region
from mgcore.thesis.classifier import ClassifierProblem, features
from mgcore.thesis.curvature import flatten, local_model, unflatten
from mgcore.thesis.network import CLASSIFIER, initial_weights
from mgcore.thesis.objective import Objective

DIGITS = 300  # of the comparison of trust regions
DROP = 0.01


@dataclass(frozen=True)
class ProductCost:
    """Time of a Hessian product at 28×28, in gradients of the same minibatch."""

    network: str
    form: str
    gradients: float


@dataclass(frozen=True)
class Race:
    """Time and work of a method to reach a given loss on the classifier phase.

    Attributes
    ----------
    method : str
    seconds : float
        Median over repetitions, without the evaluations that test whether the loss is reached.
    steps : int
        Outer iterations.
    passes : int
        Matrix products with the cached features or their transpose, which take most of the time.
    digits : int
        Images of the problem.
    drop : float
        The loss to be reached, as a share of the loss at the start.
    """

    method: str
    seconds: float
    steps: int
    passes: int
    digits: int = DIGITS
    drop: float = DROP


def product_costs(budget: float = 2.0, batch: int = BATCH) -> list[ProductCost]:
    """Measure each form of the Hessian product, with a gradient before and after it.

    Parameters
    ----------
    budget : float
        Seconds for each measurement.
    batch : int
        Images in the minibatch.
    """
    settle_process()
    costs = []
    for pooling in (True, False):
        draw = torch.Generator().manual_seed(0)
        objective = Objective(28, pooling)
        weights = {k: w.float() for k, w in initial_weights(28, pooling, draw).items()}
        images = torch.rand(batch, 1, 28, 28, generator=draw)
        labels = torch.arange(batch) % 10
        leaves = {k: w.clone().requires_grad_() for k, w in weights.items()}

        def gradient(
            objective: Objective = objective, leaves: dict[str, Tensor] = leaves,
            images: Tensor = images, labels: Tensor = labels,
        ) -> object:  # fmt: skip
            return objective.gradient(leaves, images, labels)

        for form, product in product_forms(objective, weights, images, labels).items():
            d = torch.randn(sum(w.numel() for w in weights.values()), generator=draw)
            before = seconds(gradient, budget)
            spent = seconds(partial(product, d), budget)
            ratio = 2 * spent / (before + seconds(gradient, budget))
            costs.append(ProductCost("pooling" if pooling else "no pooling", form, ratio))
    return costs


def product_forms(
    objective: Objective, weights: dict[str, Tensor], images: Tensor, labels: Tensor
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return d ↦ H d of one minibatch by each compared form, under the form's name."""
    leaves = {k: w.clone().requires_grad_() for k, w in weights.items()}
    variables = list(leaves.values())
    slope = torch.func.grad(lambda w: objective.loss(w, images, labels))
    graph = torch.autograd.grad(
        objective.loss(leaves, images, labels), variables, create_graph=True
    )

    def by_graph(d: Tensor) -> Tensor:
        parts = list(unflatten(d, weights).values())
        product = torch.autograd.grad(graph, variables, grad_outputs=parts, retain_graph=True)
        return torch.cat([part.reshape(-1) for part in product])

    def by_jvp(d: Tensor) -> Tensor:
        return flatten(torch.func.jvp(slope, (weights,), (unflatten(d, weights),))[1])

    gauss_newton = local_model(objective, weights, images, labels, "gauss-newton")
    return {
        "full Hessian, pass kept": local_model(objective, weights, images, labels).hvp,
        "Gauss–Newton, pass kept": gauss_newton.hvp,
        "full Hessian, autograd's graph kept": by_graph,
        "full Hessian, jvp of the gradient": by_jvp,
    }


class Reached(Exception):
    """Raised when the loss has been reached."""


Reporter = Callable[[Tensor], None]
Method = Callable[[Reporter], Any]


def race_problem(count: int, seed: int = 0) -> tuple[ClassifierProblem, dict[str, Tensor]]:
    """Return the classifier phase of ``classifier-pooled`` on stroke digits, and its weights.

    Images, penalties and weights are prepared as the study prepares them, in float64.
    """
    protocol = study_protocol("classifier-pooled", "class", "strokes", seed)
    digits = load_digits("strokes", count, protocol.resolution)
    pixels = normalise(digits.images, protocol.normalisation, torch.float64)
    images = prepare(pixels, protocol.fine_training, protocol.prolongation)
    start = fresh_weights(protocol, 0, "fine")
    objective = protocol.objective("fine")
    cached = features(objective, start, images)
    return ClassifierProblem(objective, cached, digits.labels), start


def race(count: int = DIGITS, drop: float = DROP, seed: int = 0, repeats: int = 3) -> list[Race]:
    """Train a classifier on cached features to the same loss by three methods, in float64.

    Parameters
    ----------
    count : int
        Stroke digits at 28×28.
    drop : float
        The loss to be reached, as a share of the loss at the start.
    seed : int
    repeats : int
        Rounds, in each of which every method runs once.

    Returns
    -------
    list of Race
        pytorch-minimize's ``trust-ncg``; our trust region with the same closure, differentiated
        twice by autograd; our trust region with the closed form of
        :class:`mgcore.thesis.classifier.ClassifierProblem`.

    Raises
    ------
    ValueError
        If pytorch-minimize is not installed.
    """
    try:
        from torchmin import minimize
    except ImportError:
        raise ValueError(
            "pytorch-minimize is not installed. Install it with `pip install -e .[test]`."
        ) from None
    settle_process()
    problem, start = race_problem(count, seed)
    x0 = torch.zeros_like(problem.pack(start))
    target = drop * problem.value(x0)
    # The study's objective less the kernels' penalty, which is constant here.
    zeros = {k: torch.zeros_like(w) for k, w in start.items() if k.startswith("conv")}

    def closure(x: Tensor) -> Tensor:
        w = x[:-10].view(10, -1)
        loss = F.cross_entropy(problem.features @ w.T + x[-10:], problem.labels)
        return loss + problem.objective.penalty({**zeros, CLASSIFIER: w})

    def by_autograd(x: Tensor) -> LocalModel:
        x = x.detach().requires_grad_()
        value = closure(x)
        (g,) = torch.autograd.grad(value, x, create_graph=True)
        return LocalModel(
            float(value.detach()),
            g.detach(),
            lambda d: torch.autograd.grad(g, x, d, retain_graph=True)[0],
        )

    def theirs(report: Reporter) -> None:
        minimize(
            closure, x0, method="trust-ncg", options={"gtol": 1e-12},
            callback=lambda x: report(x.detach().flatten()),
        )  # fmt: skip

    def ours(local: Callable[[Tensor], LocalModel], value: Callable[[Tensor], float]) -> Method:
        return lambda report: trust_region(
            lambda x, _: local(x), lambda x, _: value(x), x0, gtol=1e-12,
            callback=lambda step, x, value: report(x),
        )  # fmt: skip

    methods = {
        "pytorch-minimize, trust-ncg": theirs,
        "ours, the same closure": ours(by_autograd, lambda x: float(closure(x))),
        "ours, closed form": ours(problem.local, problem.value),
    }
    passes = {name: count_passes(name, run, problem, target) for name, run in methods.items()}
    rounds = [
        {name: run_until(name, run, problem, target) for name, run in methods.items()}
        for _ in range(repeats)
    ]
    return [
        Race(
            name, median(one[name][0] for one in rounds), rounds[-1][name][1], passes[name],
            count, drop,
        )
        for name in methods
    ]  # fmt: skip


def run_until(
    name: str, method: Method, problem: ClassifierProblem, target: float
) -> tuple[float, int]:
    """Return seconds and steps of a method until the loss at its point is at most `target`.

    The time of testing whether the loss is reached is subtracted.
    """
    steps, testing = 0, 0.0

    def report(x: Tensor) -> None:
        nonlocal steps, testing
        began = time.perf_counter()
        steps += 1
        value = problem.value(x)
        testing += time.perf_counter() - began
        if value <= target:
            raise Reached

    began = time.perf_counter()
    try:
        method(report)
    except Reached:
        return time.perf_counter() - began - testing, steps
    raise FloatingPointError(f"{name} stopped after {steps} steps above the loss {target:.3g}.")


class _ProductCounter(TorchDispatchMode):
    """Counts matrix products in which a matrix of so many entries takes part."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.entries, self.count = entries, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in ("aten::mm", "aten::addmm"):
            self.count += any(isinstance(a, Tensor) and a.numel() == self.entries for a in args)
        return func(*args, **(kwargs or {}))


def count_passes(name: str, method: Method, problem: ClassifierProblem, target: float) -> int:
    """Return the matrix products with the features that a method needs to reach `target`."""
    with _ProductCounter(problem.features.numel()) as products:
        _, steps = run_until(name, method, problem, target)
    return products.count - steps  # each test of the loss takes one


def newton_rows(budget: float = 1.0, count: int = DIGITS) -> list[Row]:
    """Measure Hessian products, and the time of a step beside pytorch-minimize's."""
    settle_process()
    rows = [
        Row("Newton", f"Hessian product, {cost.network}, {cost.form}", cost.gradients, "gradients")
        for cost in product_costs(budget)
    ]
    races = race(count)
    reference = races[0].seconds / races[0].steps
    for one in races:
        step = one.seconds / one.steps
        rows.append(Row("Newton", f"Steihaug step, {one.method}", 1000 * step, "ms",
                        reference / step, "pytorch-minimize"))  # fmt: skip
    return rows


def write(file: Path, costs: list[ProductCost], races: list[Race]) -> None:
    """Write the measurements with their machine and date."""
    content = {"products": [asdict(c) for c in costs], "race": [asdict(r) for r in races]}
    write_measured(file, content)


def read(file: Path) -> dict[str, Any]:
    """Return ``products``, ``race``, ``machine`` and ``date`` as :func:`write` wrote them.

    Raises
    ------
    RecordError
        If the file is missing, truncated or altered.
    """
    return read_json(file)
