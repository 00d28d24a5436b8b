"""Loss surfaces along two random directions (thesis §4.2; Li et al. 2018, arXiv:1712.09913).

A direction is drawn at random and each of its filters is scaled to the norm of the network's own,
so that a step of 1 changes every filter by as much as it measures.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mgcore.objective import Objective, evaluate

Weights = Mapping[str, Tensor]


def filter_normalised_direction(weights: Weights, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw a direction whose filters are as long as those of `weights` (Li et al. 2018, §4).

    Parameters
    ----------
    weights : mapping of Tensor
        Axis 0 of a tensor with two or more axes counts filters (the rows of a dense layer).
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    dict of Tensor
        Of the shapes of `weights`; zero for biases and other one-axis tensors.
    """
    direction = {}
    for name, w in weights.items():
        draw = torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w)
        if w.ndim < 2:
            direction[name] = torch.zeros_like(w)
            continue
        axes = tuple(range(1, w.ndim))
        length, own = (t.square().sum(axes, keepdim=True).sqrt() for t in (draw, w))
        direction[name] = draw * (own / length)
    return direction


def surface(
    objective: Objective,
    weights: Weights,
    directions: tuple[Weights, Weights],
    steps: Tensor,
    images: Tensor,
    labels: Tensor,
) -> Tensor:
    """Evaluate the objective on a plane through `weights`.

    Parameters
    ----------
    objective : Objective
    weights : mapping of Tensor
        The centre.
    directions : pair of mappings of Tensor
        From :func:`filter_normalised_direction`.
    steps : Tensor, shape (k,)
        Multiples of the directions along each side.
    images : Tensor, shape (count, 1, n, n)
    labels : Tensor, shape (count,)

    Returns
    -------
    Tensor, shape (k, k), float64
        Entry (i, j) is J(weights + steps[i] · first + steps[j] · second).
    """
    first, second = directions
    values = torch.empty((len(steps), len(steps)), dtype=torch.float64)
    for i, a in enumerate(steps.tolist()):
        for j, b in enumerate(steps.tolist()):
            moved = {k: w + a * first[k] + b * second[k] for k, w in weights.items()}
            values[i, j] = evaluate(objective, moved, images, labels)["objective"]
    return values
