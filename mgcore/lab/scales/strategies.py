"""Ways of training on two grids, and what it is to spend a budget in one of them.

Beyond the thesis, which compares starts at equal epochs on the fine grid and does not charge for
the coarse ones.  Here every way gets the same budget, coarse images included, in images of the fine
grid: one on the grid of half the resolution costs a quarter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.data.images import load_digits, normalise, split
from mgcore.grids import restrict
from mgcore.lab.scales.kernel_maps import (
    Carry,
    change_stencils,
    clipped,
    geometric,
    part_way,
    roughness,
    warmed,
)
from mgcore.lab.trial.phases import stream
from mgcore.refinement.module import refine
from mgcore.thesis.network import ThesisCNN
from mgcore.thesis.resnet import ResNet
from mgcore.train.budgeted import Level, Scheme, Spent, train

TRAINING, VALIDATION = 5_000, 2_000
FINE = 28
# Composer's default halves the size for the first half of the steps: of the work, a fifth.
SMALL = 0.5 * 0.25 / (0.5 * 0.25 + 0.5)
RATE, MOMENTUM, BATCH = 0.01, 0.9, 32
MULTILEVEL = (8, 32)  # fine and coarse images of a step

Network = Callable[[int], nn.Module]
NETWORKS: dict[str, Network] = {
    "thesis": partial(ThesisCNN, pooling=False),
    "pooled": partial(ThesisCNN, pooling=True),
    "resnet": partial(ResNet, width=12, depth=3, h=0.5),
}


@dataclass(frozen=True)
class Way:
    """One way to spend a budget: what :func:`mgcore.train.resolution_ladder.coarse_to_fine` does, step by step.

    Attributes
    ----------
    small : float
        Share of the work that is spent on the coarse grid first; 0 starts on the fine one.
    stencils, prolongation : str
        How weights are carried up, as in :func:`mgcore.refinement.module.refine`.
    scheme : Scheme
        What a step on the fine grid sees.
    carry : callable, optional
        What becomes of each 3×3 stencil that was copied, see :mod:`mgcore.lab.scales.kernel_maps`.
    penalty : float
        Weight of :func:`mgcore.lab.scales.kernel_maps.roughness` on the coarse grid.
    warm : int
        Steps on the fine grid over which the learning rate rises.
    """

    small: float = SMALL
    stencils: str = "galerkin"
    prolongation: str = "bilinear"
    scheme: Scheme = Scheme(batches=(BATCH,))
    carry: Carry | None = None
    penalty: float = 0.0
    warm: int = 0


WAYS: dict[str, Way] = {
    "fine only": Way(small=0.0),
    "copied": Way(stencils="copy"),
    "Galerkin, bilinear": Way(),
    "Galerkin, constant": Way(prolongation="constant"),
    "joint": Way(small=0.0, scheme=Scheme("joint", (BATCH,))),
    "multilevel, copied": Way(
        stencils="copy", scheme=Scheme("multilevel", MULTILEVEL, stencils="copy")
    ),
    "multilevel, Galerkin": Way(scheme=Scheme("multilevel", MULTILEVEL)),
}
# What might make the Galerkin transfer work, at fewer budgets.
FAIR: dict[str, Way] = {
    "a quarter of the way": Way(stencils="copy", carry=part_way(0.25)),
    "half of the way": Way(stencils="copy", carry=part_way(0.5)),
    "clipped at 4": Way(stencils="copy", carry=clipped(4.0)),
    "geometric": Way(stencils="copy", carry=geometric),
    "roughness penalised": Way(penalty=1e-3),
    "learning rate warmed": Way(warm=50),
}
EVERY = WAYS | FAIR


class Data(NamedTuple):
    """Images of one trial on both grids; those of the coarse one are means of 2×2 cells."""

    training: Tensor  # (count, 1, n, n)
    labels: Tensor
    validation: Tensor
    validation_labels: Tensor


def data(seed: int, training: int = TRAINING, validation: int = VALIDATION,
         dataset: str = "mnist") -> Data:  # fmt: skip
    """Draw the images of a trial, standardised over all pixels of the training images."""
    sizes = (training, validation)
    digits = load_digits(dataset, sum(sizes), FINE)
    fine, held = split(len(digits), sizes, stream(seed, 0, "pareto"))
    pixels = normalise(digits.images, "unit")
    mean, spread = pixels[fine].mean(), pixels[fine].std()
    x, held_x = ((pixels[index] - mean) / spread for index in (fine, held))
    return Data(x, digits.labels[fine], held_x, digits.labels[held])


def spend(
    way: Way, network: Network, budget: int, images: Data, seed: int, rate: float = RATE
) -> tuple[nn.Module, list[Spent]]:
    """Train a network in one way until the budget is spent.

    Parameters
    ----------
    way : Way
    network : callable
        From pixels along a side to a network.
    budget : int
        In images of the fine grid.
    images : Data
    seed : int
        Of the start and of the order of the images.
    rate : float
        Learning rate on the fine grid; on the coarse one it is :data:`RATE` for every way.

    Returns
    -------
    model : Module
        On the fine grid.
    spent : list of Spent
        On each grid that was trained on.
    """
    side = images.training.shape[-1]
    order = stream(seed, budget, "order")
    descent = partial(torch.optim.SGD, momentum=MOMENTUM, nesterov=True)
    coarse = int(budget * way.small)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network(side // 2 if coarse else side)
    spent = []
    if coarse:
        small, below = Level(restrict(images.training), images.labels, 4 * coarse), model

        def loss(outputs: Tensor, labels: Tensor) -> Tensor:
            rough = way.penalty * roughness(below) if way.penalty else 0.0
            return F.cross_entropy(outputs, labels) + rough

        spent.append(train(below, small, order, optimizer=partial(descent, lr=RATE), loss=loss))
        shape, how = small.images.shape[1:], {"prolongation": way.prolongation}
        model = refine(below, shape, stencils=way.stencils, **how)
        if way.carry:
            change_stencils(model, way.carry)
    optimizer = partial(descent, lr=rate)
    if way.warm:
        optimizer = warmed(optimizer, way.warm)
    fine = Level(images.training, images.labels, budget - coarse)
    spent.append(train(model, fine, order, scheme=way.scheme, below=1, optimizer=optimizer))
    return model, spent


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, batch: int = 100) -> float:
    """Return the percentage of images that are named rightly."""
    with torch.no_grad():
        said = torch.cat([model(some).argmax(1) for some in images.split(batch)])
    return 100 * float((said == labels).double().mean())


def reached(model: nn.Module, images: Data) -> float | None:
    """Return the accuracy on validation images, None where weights are no longer finite."""
    if not all(torch.isfinite(w).all() for w in model.parameters()):
        return None
    return accuracy(model, images.validation, images.validation_labels)
