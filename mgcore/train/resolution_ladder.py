"""Training across resolutions, each with its own budget (thesis §4.1 and chapter 5; beyond).

The grids form a ladder, from coarse to fine or from fine to coarse.  The loss of a step on a grid
is defined by a :class:`mgcore.train.budgeted.Scheme`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from mgcore.refinement.module import coarsen, refine
from mgcore.train.budgeted import SGD, BatchLevel, Level, Optimizer, Scheme, Spent, train
from mgcore.train.multilevel import Loss


def coarse_to_fine(
    model: nn.Module,
    levels: Sequence[Level | BatchLevel],
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    scheme: Scheme = Scheme(),  # noqa: B008 (frozen)
    optimizer: Optimizer = SGD,
    loss: Loss = F.cross_entropy,
    generator: torch.Generator | None = None,
) -> tuple[nn.Module, list[Spent]]:
    """Train on the coarsest grid, transfer the weights to the next finer grid, and so on.

    Parameters
    ----------
    model : Module
        A network for the images of ``levels[0]``.  It is not changed.
    levels : sequence of Level or BatchLevel
        From the coarsest to the finest; each grid has twice the cells of the previous grid along
        every axis.
    stencils, prolongation
        How weights are transferred, as in :func:`mgcore.refine`.
    scheme : Scheme
        The loss of a step.  With ``"multilevel"`` and ``"joint"``, training on a grid also uses
        the coarser grids of `levels`: the full multiscale training of Ahamed, Zakariaei, Haber and
        Eliasof (TMLR 2026).
    optimizer : callable
        From parameters to a ``torch.optim.Optimizer``, which is created anew on every grid,
        because its state has the shapes of one grid.  SGD with learning rate 0.01 and momentum 0.9
        by default.
    loss : callable
        From outputs and labels to their mean loss.
    generator : torch.Generator, optional
        Draws the order of the images; a generator of seed 0 by default.

    Returns
    -------
    model : Module
        The trained network on the finest grid.
    spent : list of Spent
        The cost of training on each grid.

    Raises
    ------
    TypeError
        If `optimizer` is an optimizer and not a callable that makes one.
    ValueError
        If the grids do not double, the network cannot be refined or has no parameter that requires
        a gradient, or a budget is too small for one step.
    """
    how = {"stencils": stencils, "prolongation": prolongation}
    rest = {"scheme": scheme, "optimizer": optimizer, "loss": loss}
    return _ladder(model, levels, True, how, rest, generator)


def fine_to_coarse(
    model: nn.Module, levels: Sequence[Level | BatchLevel], *, stencils: str = "galerkin",
    prolongation: str = "bilinear", optimizer: Optimizer = SGD, loss: Loss = F.cross_entropy,
    generator: torch.Generator | None = None,
) -> tuple[nn.Module, list[Spent]]:  # fmt: skip
    """Train on the finest grid first and transfer the weights to ever coarser grids.

    Parameters
    ----------
    model : Module
        A network for the images of ``levels[0]``.  It is not changed.
    levels : sequence of Level or BatchLevel
        From the finest to the coarsest; each grid has half the cells of the previous grid along
        every axis.
    stencils, prolongation
        How weights are transferred, as in :func:`mgcore.coarsen`.
    optimizer, loss, generator
        As for :func:`coarse_to_fine`.

    Returns
    -------
    model : Module
        The trained network on the coarsest grid.
    spent : list of Spent
        The cost of training on each grid.

    Raises
    ------
    TypeError
        As :func:`coarse_to_fine`.
    ValueError
        If the grids do not halve, the network cannot be coarsened or has no parameter that requires
        a gradient, or a budget is too small for one step.
    """
    how = {"stencils": stencils, "prolongation": prolongation}
    rest = {"optimizer": optimizer, "loss": loss}
    return _ladder(model, levels, False, how, rest, generator)


def _ladder(
    model: nn.Module,
    levels: Sequence[Level | BatchLevel],
    up: bool,
    how: dict[str, Any],
    rest: dict[str, Any],
    generator: torch.Generator | None,
) -> tuple[nn.Module, list[Spent]]:
    shapes = [level.shape for level in levels]
    for a, b in pairwise(shapes):
        small, large = (a, b) if up else (b, a)
        if large != (small[0], *(2 * n for n in small[1:])):
            raise ValueError(
                f"Each level must be {'twice' if up else 'half'} as fine as the level before, got "
                f"images of {a} and then {b}."
            )
    if not levels:
        raise ValueError("levels must hold at least one level, got none.")
    generator = generator or torch.Generator().manual_seed(0)
    model, spent = copy.deepcopy(model), []
    for k, level in enumerate(levels):
        if k:
            model = (refine if up else coarsen)(model, shapes[k - 1], **how)
        spent.append(train(model, level, generator, below=k if up else 0, **rest))
    return model, spent
