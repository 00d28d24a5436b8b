"""Training across resolutions, each with a stated budget (thesis §4.1 and its chapter 5; beyond).

A ladder of grids is climbed or descended with any network; what a step of training sees on each
rung is a :class:`mgcore.train.budgeted.Scheme`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from mgcore.refinement.module import coarsen, refine
from mgcore.train.budgeted import SGD, Level, Optimizer, Scheme, Spent, train
from mgcore.train.multilevel import Loss


def coarse_to_fine(
    model: nn.Module,
    levels: Sequence[Level],
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    scheme: Scheme = Scheme(),  # noqa: B008 (frozen)
    optimizer: Optimizer = SGD,
    loss: Loss = F.cross_entropy,
    generator: torch.Generator | None = None,
) -> tuple[nn.Module, list[Spent]]:
    """Train on the coarsest grid, carry the weights to the next, train on, up to the finest.

    Parameters
    ----------
    model : Module
        Takes the images of ``levels[0]``; it is left as it is.
    levels : sequence of Level
        From the coarsest to the finest; each grid has twice the cells of the one before along
        every axis.
    stencils, prolongation
        How weights are carried, as in :func:`mgcore.refinement.module.refine`.
    scheme : Scheme
        What a step sees.  With ``"multilevel"`` and ``"joint"`` a rung uses the grids of the rungs
        below it: the full multiscale training of Ahamed, Zakariaei, Haber and Eliasof (TMLR 2026),
        whose hot start is this ladder.
    optimizer : callable
        From parameters to an optimizer, made anew on every rung: momentum does not fit another
        grid.  SGD with learning rate 0.01 and momentum 0.9 by default.
    loss : callable
        From outputs and labels to their mean loss.
    generator : torch.Generator, optional
        Of the order of the images; one of seed 0 by default.

    Returns
    -------
    model : Module
        On the finest grid.
    spent : list of Spent
        What each rung took.

    Raises
    ------
    ValueError
        If the grids do not double, or the network cannot be refined.
    """
    how = {"stencils": stencils, "prolongation": prolongation}
    rest = {"scheme": scheme, "optimizer": optimizer, "loss": loss}
    return _ladder(model, levels, True, how, rest, generator)


def fine_to_coarse(
    model: nn.Module, levels: Sequence[Level], *, stencils: str = "galerkin",
    prolongation: str = "bilinear", optimizer: Optimizer = SGD, loss: Loss = F.cross_entropy,
    generator: torch.Generator | None = None,
) -> tuple[nn.Module, list[Spent]]:  # fmt: skip
    """Train on the finest grid first and carry the weights down, to a network that is cheap to use.

    Parameters and result are those of :func:`coarse_to_fine`; `levels` run from the finest to the
    coarsest, each with half the cells of the one before along every axis.
    """
    how = {"stencils": stencils, "prolongation": prolongation}
    rest = {"optimizer": optimizer, "loss": loss}
    return _ladder(model, levels, False, how, rest, generator)


def _ladder(model, levels, up, how, rest, generator):
    shapes = [tuple(level.images.shape[1:]) for level in levels]
    for a, b in pairwise(shapes):
        small, large = (a, b) if up else (b, a)
        if large != (small[0], *(2 * n for n in small[1:])):
            raise ValueError(
                f"levels have images of {a} and then {b}; accepted: grids "
                f"{'twice' if up else 'half'} as fine from level to level."
            )
    if not levels:
        raise ValueError("levels is empty; accepted: at least one level.")
    generator = generator or torch.Generator().manual_seed(0)
    model, spent = copy.deepcopy(model), []
    for k, level in enumerate(levels):
        if k:
            model = (refine if up else coarsen)(model, shapes[k - 1], **how)
        spent.append(train(model, level, generator, below=k if up else 0, **rest))
    return model, spent
