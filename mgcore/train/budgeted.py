"""Training one network on one grid until a stated budget of images is spent.

A scheme says what a step of stochastic gradient descent sees: images of the grid, of coarser ones
too (joint training), or few fine and many coarse ones (the multilevel gradient).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mgcore.train.multilevel import Hierarchy, Loss, joint_loss, multilevel_loss

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
SGD: Optimizer = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
KINDS = ("fine", "joint", "multilevel")


@dataclass(frozen=True)
class Level:
    """A rung of the ladder.

    Attributes
    ----------
    images : Tensor, shape (count, channels, *grid)
    labels : Tensor, shape (count, ...)
    budget : int
        Images of this grid that training may pay for; one on the next coarser grid costs 2⁻ᵈ.
    """

    images: Tensor
    labels: Tensor
    budget: int

    def __post_init__(self) -> None:
        if not isinstance(self.budget, int) or self.budget < 0:
            raise ValueError(f"budget={self.budget!r}; accepted: a number of images, 0 or more.")
        if len(self.images) != len(self.labels) or not len(self.images):
            raise ValueError(
                f"labels are {len(self.labels)} of {len(self.images)} images; accepted: one for "
                "each image, at least one."
            )


@dataclass(frozen=True)
class Scheme:
    """What one step of training sees.

    Attributes
    ----------
    kind : {"fine", "joint", "multilevel"}
        The grid itself; all grids with :func:`mgcore.train.multilevel.joint_loss`; or the telescoping
        sum :func:`mgcore.train.multilevel.multilevel_loss`.
    batches : tuple of int
        Images a step, the finest grid's first.  ``"fine"`` takes one number; ``"joint"`` one too,
        with `depth` coarser grids; ``"multilevel"`` one a grid, as (8, 32, 128).
    depth : int
        Coarser grids of ``"joint"``.
    stencils, prolongation
        How the grids of a step are linked, as in :func:`mgcore.refinement.module.coarsen`.
    """

    kind: str = "fine"
    batches: tuple[int, ...] = (32,)
    depth: int = 1
    stencils: str = "galerkin"
    prolongation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r}; accepted: {', '.join(map(repr, KINDS))}.")
        many = self.kind == "multilevel"
        if (not many and len(self.batches) != 1) or not self.batches or min(self.batches) < 1:
            need = "one positive number a grid" if many else "one positive number"
            raise ValueError(f"batches={self.batches} of kind={self.kind!r}; accepted: {need}.")

    def grids(self, model: nn.Module, shape: tuple[int, ...], below: int) -> Hierarchy:
        """Link the grids of a step; `below` says how many coarser ones there may be."""
        depth = {"fine": 0, "joint": self.depth, "multilevel": len(self.batches) - 1}[self.kind]
        how = {"stencils": self.stencils, "prolongation": self.prolongation}
        return Hierarchy(model, shape, min(depth, below), **how)


@dataclass(frozen=True)
class Spent:
    """What training on one rung took.

    Attributes
    ----------
    shape : tuple of int
        Of an input.
    steps : int
    images : tuple of int
        Images that went forward and backward, by grid, the rung's own first.
    work : float
        The same in images of the rung's own grid, by the number of cells; at most the budget.
    flops : float
        The same in floating-point operations, as torch counts them.
    seconds : float
    """

    shape: tuple[int, ...]
    steps: int
    images: tuple[int, ...]
    work: float
    flops: float
    seconds: float


class Draw:
    """Draw images without replacement, in an order that is drawn anew for every pass."""

    def __init__(self, level: Level, generator: torch.Generator) -> None:
        self.level, self.generator = level, generator
        self.left = torch.empty(0, dtype=torch.int64)

    def __call__(self, count: int) -> tuple[Tensor, Tensor]:
        """Return at most `count` images and their labels; fewer at the end of a pass."""
        if not len(self.left):
            self.left = torch.randperm(len(self.level.images), generator=self.generator)
        chosen, self.left = self.left[:count], self.left[count:]
        return self.level.images[chosen], self.level.labels[chosen]


def train(
    model: nn.Module,
    level: Level,
    generator: torch.Generator,
    *,
    scheme: Scheme = Scheme(),  # noqa: B008 (frozen)
    below: int = 0,
    optimizer: Optimizer = SGD,
    loss: Loss = F.cross_entropy,
) -> Spent:
    """Train a network on one grid, in place, until its budget is spent.

    Parameters
    ----------
    model : Module
    level : Level
    generator : torch.Generator
        Of the order of the images.
    scheme : Scheme
    below : int
        Coarser grids that the scheme may use.
    optimizer : callable
        From parameters to a ``torch.optim.Optimizer``.
    loss : callable
        From outputs and labels to their mean loss.

    Notes
    -----
    ``"fine"`` spends its budget to the image, by a smaller last batch; the others stop before the
    step that would exceed it.
    """
    began = time.perf_counter()
    grids = scheme.grids(model, tuple(level.images.shape[1:]), below)
    draw, steps, work, seen = Draw(level, generator), 0, 0.0, [0] * (1 + grids.depth)
    descent = optimizer(model.parameters())
    batches = scheme.batches[: 1 + grids.depth] if scheme.kind == "multilevel" else scheme.batches
    while work < level.budget:
        if scheme.kind == "fine":
            batches = (min(scheme.batches[0], level.budget - int(work)),)
        drawn = [draw(count) for count in batches]
        counts = _counts(scheme.kind, [len(y) for _, y in drawn], grids.depth)
        cost = sum(n * grids.cells(k) for k, n in enumerate(counts))
        if work + cost > level.budget:
            break
        if scheme.kind == "multilevel":
            value = multilevel_loss(grids, drawn, loss)
        else:
            value = joint_loss(grids, *drawn[0], None, loss)
        descent.zero_grad()
        value.backward()
        descent.step()
        steps, work = steps + 1, work + cost
        seen = [a + b for a, b in zip(seen, counts, strict=True)]
    seconds = time.perf_counter() - began
    each = [image_flops(m, s) for m, s in zip(grids.models, grids.shapes, strict=True)]
    flops = sum(n * f for n, f in zip(seen, each, strict=True))
    return Spent(grids.shapes[0], steps, tuple(seen), work, flops, seconds)


def _counts(kind: str, batches: list[int], depth: int) -> list[int]:
    """Return how many images a step sends through each grid."""
    if kind != "multilevel":
        return batches * (1 + depth)
    pairs = [0, *batches[:-1]]  # each batch but the coarsest grid's visits the next grid as well
    return [own + pair for own, pair in zip(batches, pairs, strict=True)]


def image_flops(model: nn.Module, shape: Sequence[int]) -> float:
    """Return the floating-point operations of one image forward and backward, as torch counts."""
    scratch = copy.deepcopy(model).eval()
    example = next(scratch.parameters())
    x = torch.zeros(2, *shape, dtype=example.dtype, device=example.device)
    with FlopCounterMode(display=False) as counter:
        scratch(x).sum().backward()
    return counter.get_total_flops() / 2
