"""Other ways to carry stencils to a finer grid than copying them or the Galerkin condition.

With bilinear P the Galerkin map multiplies the coefficient of an operator of order p by 2ᵖ
(:func:`mgcore.operators.rediscretise`), by up to sixteen: rough stencils blow up.  Here are families
between the two, the operators of the thesis on the finer grid, and what may be done in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from mgcore.operators import OPERATORS, from_operators, rediscretise, to_operators
from mgcore.train.budgeted import Optimizer

Carry = Callable[[Tensor], Tensor]


def orders() -> Tensor:
    """Return the total order p of each of the nine operators, float64."""
    return torch.tensor([sum(o.orders) for o in OPERATORS[2]], dtype=torch.float64)


def part_way(share: float) -> Carry:
    """Multiply the coefficient of order p by 2^(share · p): 0 copies, 1 is the Galerkin map.

    Smoothing before the Galerkin map is in this family: damping order p by sᵖ first leaves
    (2 s)ᵖ, and s = ½ is copying.
    """
    return lambda stencils: rediscretise(stencils, 1.0, 0.5**share, basis="galerkin")


def clipped(most: float) -> Carry:
    """Take the Galerkin map with no operator multiplied by more than `most`."""

    def carry(stencils: Tensor) -> Tensor:
        factors = (2.0 ** orders()).clamp(max=most).to(stencils)
        beta = to_operators(stencils, 1.0, 2, "galerkin")
        return from_operators(beta * factors, 1.0, 2, "galerkin")

    return carry


def geometric(stencils: Tensor) -> Tensor:
    """Discretise the operators of thesis (2.13) on the finer grid: geometric multigrid."""
    return rediscretise(stencils, 1.0, 0.5, basis="thesis")


def _convolutions(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            yield module.weight


def change_stencils(model: nn.Module, carry: Carry) -> None:
    """Replace every 3×3 stencil of a network, in place."""
    with torch.no_grad():
        for weight in _convolutions(model):
            weight.copy_(carry(weight))


def roughness(model: nn.Module) -> Tensor:
    """Return Σ (4ᵖ − 1) β²/2 over all stencils: how their squares will grow by the Galerkin map."""
    growth = 4.0 ** orders() - 1
    return sum(
        0.5 * (growth.to(w) * to_operators(w, 1.0, 2, "galerkin").square()).sum()
        for w in _convolutions(model)
    )


def warmed(optimizer: Optimizer, steps: int) -> Optimizer:
    """Let the learning rate of an optimizer rise in a line over its first steps."""

    def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        made = optimizer(parameters)
        schedule = torch.optim.lr_scheduler.LinearLR(made, 1 / steps, 1.0, steps - 1)
        made.register_step_post_hook(lambda *_: schedule.step())
        return made

    return make
