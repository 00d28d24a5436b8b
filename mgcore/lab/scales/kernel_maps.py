"""Maps of kernels to a finer grid that lie between copying and the Galerkin condition.

With bilinear P the Galerkin map multiplies the coefficient of an operator of order p by 2ᵖ
(:func:`mgcore.operators.rediscretise`), so high-frequency kernels grow by a factor of up to 16.
The maps below limit this growth; a penalty and a warm-up of the learning rate limit its effect
during training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import reduce

import torch
from torch import Tensor, nn

from mgcore.operators import OPERATORS, from_operators, rediscretise, to_operators
from mgcore.train.budgeted import Optimizer

KernelMap = Callable[[Tensor], Tensor]


def operator_orders() -> Tensor:
    """Return the total order p of each of the nine operators of a 3×3 kernel, float64."""
    return torch.tensor([sum(o.orders) for o in OPERATORS[2]], dtype=torch.float64)


def partial_galerkin(exponent: float) -> KernelMap:
    """Return the map that multiplies the coefficient of order p by 2^(exponent · p).

    Exponent 0 copies and exponent 1 is the Galerkin map.  Smoothing a kernel before the Galerkin
    map belongs to this family: damping order p by sᵖ leaves the factor (2 s)ᵖ, and s = ½ copies.
    """
    return lambda kernels: rediscretise(kernels, 1.0, 0.5**exponent, basis="galerkin")


def clipped_galerkin(largest: float) -> KernelMap:
    """Return the Galerkin map with its factors 2ᵖ limited to `largest`."""

    def kernel_map(kernels: Tensor) -> Tensor:
        factors = (2.0 ** operator_orders()).clamp(max=largest).to(kernels)
        beta = to_operators(kernels, 1.0, 2, "galerkin")
        return from_operators(beta * factors, 1.0, 2, "galerkin")

    return kernel_map


def geometric(kernels: Tensor) -> Tensor:
    """Discretise the operators of thesis (2.13) on the finer grid, as geometric multigrid does."""
    return rediscretise(kernels, 1.0, 0.5, basis="thesis")


def _kernels(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            yield module.weight


def map_kernels(model: nn.Module, kernel_map: KernelMap) -> None:
    """Replace every 3×3 kernel of a network by its image under a map, in place."""
    with torch.no_grad():
        for weight in _kernels(model):
            weight.copy_(kernel_map(weight))


def galerkin_growth(model: nn.Module) -> Tensor:
    """Return Σ (4ᵖ − 1) β²/2, half of what the Galerkin map adds to all squared coefficients."""
    growth = 4.0 ** operator_orders() - 1
    parts = [
        0.5 * (growth.to(w) * to_operators(w, 1.0, 2, "galerkin").square()).sum()
        for w in _kernels(model)
    ]
    return reduce(torch.add, parts)


def with_linear_rate(optimizer: Optimizer, start: float, end: float, steps: int) -> Optimizer:
    """Return an optimizer whose learning rate changes linearly over its first `steps` steps.

    Parameters
    ----------
    optimizer : callable
        From parameters to a ``torch.optim.Optimizer``.
    start, end : float
        Factors of the learning rate, between 0 and 1; `start` is positive.
    steps : int
        After these, the factor stays at `end`.
    """

    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        made = optimizer(parameters)
        schedule = torch.optim.lr_scheduler.LinearLR(made, start, end, steps)
        made.register_step_post_hook(lambda *_: schedule.step())
        return made

    return make


def with_warmup(optimizer: Optimizer, steps: int) -> Optimizer:
    """Return an optimizer whose learning rate rises linearly over its first `steps` steps."""
    return with_linear_rate(optimizer, 1 / steps, 1.0, steps - 1)
