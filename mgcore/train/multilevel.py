"""One network on several grids at once, with shared weights (beyond the thesis).

The weights on a coarser grid are linear functions of those on the finest: R K P of every stencil,
or the stencil itself, and the restricted dense layers.  So a loss on any grid is a function of the
finest weights, and differentiable in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mgcore.grids import restrict
from mgcore.refinement.module import coarsen
from mgcore.refinement.rules import apply, decide

Loss = Callable[[Tensor, Tensor], Tensor]


class Hierarchy:
    """A network and what it is on coarser grids.

    Parameters
    ----------
    model : Module
        On the finest grid.  It is not copied: training it moves all grids.
    input_shape : sequence of int
        (channels, *grid) of what it takes; axes that `depth` halvings keep whole.
    depth : int
        How many coarser grids there are.
    stencils, prolongation
        As for :func:`mgcore.refinement.module.coarsen`.

    Notes
    -----
    Running statistics of batch normalisation, if any, are kept for each grid by itself.

    Examples
    --------
    >>> import torch
    >>> grids = Hierarchy(nn.Conv2d(1, 1, 3, padding=1, bias=False), (1, 8, 8), depth=1)
    >>> grids(torch.zeros(1, 1, 4, 4), level=1).shape
    torch.Size([1, 1, 4, 4])
    """

    def __init__(
        self,
        model: nn.Module,
        input_shape: Sequence[int],
        depth: int = 1,
        *,
        stencils: str = "galerkin",
        prolongation: str = "bilinear",
    ) -> None:
        if not isinstance(depth, int) or depth < 0:
            raise ValueError(f"depth={depth!r}; accepted: the number of coarser grids, 0 or more.")
        self.models, self.shapes, self.links = [model], [tuple(input_shape)], []
        self.prolongation = prolongation
        for _ in range(depth):
            here = self.shapes[-1]
            coarse = coarsen(self.models[-1], here, stencils=stencils, prolongation=prolongation)
            there = (here[0], *(n // 2 for n in here[1:]))
            plan = decide(self.models[-1], here, there, stencils)
            self.links.append({name: change for name, (_, change) in plan.items() if change.axes})
            self.models.append(coarse)
            self.shapes.append(there)

    @property
    def depth(self) -> int:
        """How many coarser grids there are."""
        return len(self.links)

    def weights(self, level: int) -> dict[str, Tensor]:
        """Return the parameters on a grid, 0 the finest, as functions of the finest ones."""
        weights: dict[str, Tensor] = dict(self.models[0].named_parameters())
        for links in self.links[:level]:
            weights = {
                name: apply(links[name], w, self.prolongation) if name in links else w
                for name, w in weights.items()
            }
        return weights

    def __call__(self, images: Tensor, level: int = 0) -> Tensor:
        """Return what the network says of images on the grid `level`."""
        if level == 0:
            return self.models[0](images)
        self.models[level].train(self.models[0].training)
        return functional_call(self.models[level], self.weights(level), (images,))

    def restricted(self, images: Tensor, level: int) -> Tensor:
        """Return images of the finest grid on the grid `level`, by means of 2ᵈ cells."""
        for _ in range(level):
            images = restrict(images, len(self.shapes[0]) - 1)
        return images

    def cells(self, level: int) -> float:
        """Return the share of the finest grid's cells that a grid has: the cost of an image."""
        return 0.5 ** (level * (len(self.shapes[0]) - 1))


def joint_loss(
    grids: Hierarchy,
    images: Tensor,
    labels: Tensor,
    shares: Sequence[float] | None = None,
    loss: Loss = F.cross_entropy,
) -> Tensor:
    """Return the weighted mean of the losses on all grids, of the same images.

    Parameters
    ----------
    grids : Hierarchy
    images : Tensor, shape (count, channels, *grid)
        On the finest grid.
    labels : Tensor
    shares : sequence of float, optional
        The weight of each grid, the finest first; equal and of sum 1 by default.
    loss : callable
        Mean over the images.

    Returns
    -------
    Tensor
        A scalar; its gradient in the finest weights comes from every grid.
    """
    shares = [1 / (1 + grids.depth)] * (1 + grids.depth) if shares is None else list(shares)
    if len(shares) != 1 + grids.depth:
        raise ValueError(f"shares={shares}; accepted: {1 + grids.depth} numbers, one for a grid.")
    terms = [
        share * loss(grids(grids.restricted(images, level), level), labels)
        for level, share in enumerate(shares)
    ]
    return sum(terms[1:], terms[0])


def multilevel_loss(
    grids: Hierarchy,
    batches: Sequence[tuple[Tensor, Tensor]],
    loss: Loss = F.cross_entropy,
) -> Tensor:
    """Return the telescoping sum whose gradient estimates the finest grid's.

    With L_l the loss on grid l, it is Σ_l [L_l(batch l) − L_{l+1}(batch l)], without a second term
    on the coarsest grid; both losses of a pair see the same images.  If every batch is drawn alike,
    all but L_0 cancels in expectation.  The pairs differ little where the weights mean the same on
    two grids, so that few fine and many coarse images suffice (multilevel Monte Carlo: Ahamed,
    Zakariaei, Haber and Eliasof, TMLR 2026).

    Parameters
    ----------
    grids : Hierarchy
    batches : sequence of (images, labels)
        One a grid, the finest grid's first; all images on the finest grid.
    loss : callable
        Mean over the images of a batch.

    Returns
    -------
    Tensor
        A scalar: no loss itself, it may be negative.

    Raises
    ------
    ValueError
        If there is not one batch a grid.
    """
    if len(batches) != 1 + grids.depth:
        raise ValueError(
            f"batches are {len(batches)}; accepted: {1 + grids.depth}, one a grid, finest first."
        )
    total = None
    for level, (images, labels) in enumerate(batches):
        term = loss(grids(grids.restricted(images, level), level), labels)
        if level < grids.depth:
            term = term - loss(grids(grids.restricted(images, level + 1), level + 1), labels)
        total = term if total is None else total + term
    return total
