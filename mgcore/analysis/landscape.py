"""Loss surfaces along two random directions (thesis §4.2; Li et al. 2018, arXiv:1712.09913).

A direction is drawn at random and each of its filters is scaled to the norm of the network's own,
so that a step of 1 changes every filter by as much as it measures.  Refined filters are several
times longer than copied ones, so steps of 1 are longer around them too: what is compared between
networks is therefore given in multiples of the direction and in absolute units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mgcore.thesis.objective import Objective, evaluate

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


def curvature(
    objective: Objective,
    weights: Weights,
    direction: Weights,
    images: Tensor,
    labels: Tensor,
    step: float = 0.05,
) -> float:
    """Return the loss's second derivative along `direction` at `weights`, by central differences.

    Parameters
    ----------
    objective : Objective
        Its loss is used, without penalties.
    weights, direction : mapping of Tensor
    images : Tensor, shape (count, 1, n, n)
    labels : Tensor, shape (count,)
    step : float
        Of the differences, in multiples of the direction.  Large enough for float32 networks.

    Returns
    -------
    float
        In loss per squared multiple of the direction; divide by the direction's squared length
        for the curvature in absolute units.

    Raises
    ------
    ValueError
        If `step` is not positive.
    """
    if not 0 < step < math.inf:
        raise ValueError(f"step={step!r}; accepted: a positive, finite number.")
    ahead, here, behind = (
        _loss(objective, weights, direction, t, images, labels) for t in (step, 0.0, -step)
    )
    return (ahead - 2 * here + behind) / step**2


def doubling_radius(
    objective: Objective,
    weights: Weights,
    direction: Weights,
    images: Tensor,
    labels: Tensor,
    reach: tuple[float, float] = (2.0**-8, 2.0**8),
) -> float:
    """Return how far one may go along ± `direction` before the loss has doubled.

    The first t of reach[0] · 2ᵏ at which the loss is at least twice that of the centre ends a
    bracket, which is bisected in log t to one percent; the result is the geometric mean over both
    signs.

    Parameters
    ----------
    objective : Objective
        Its loss is used, without penalties.
    weights, direction : mapping of Tensor
    images : Tensor, shape (count, 1, n, n)
    labels : Tensor, shape (count,)
    reach : pair of float
        Smallest and largest multiple of the direction that is tried.

    Returns
    -------
    float
        In multiples of the direction; times its length it is in absolute units.  A loss that has
        doubled at reach[0] already, or not yet at reach[1], counts as doubling there.

    Raises
    ------
    ValueError
        If `reach` is no range of positive numbers, or the loss at the centre is not finite.
    """
    least, most = reach
    if not 0 < least <= most < math.inf:
        raise ValueError(f"reach={reach!r}; accepted: two positive numbers, the smaller first.")
    limit = 2 * _loss(objective, weights, direction, 0.0, images, labels)
    if not math.isfinite(limit):
        raise ValueError("weights have a loss that is not finite; accepted: a finite loss.")

    def doubled(t: float) -> bool:
        return not _loss(objective, weights, direction, t, images, labels) < limit

    radii = []
    for sign in (1.0, -1.0):
        low = high = least
        while high < most and not doubled(sign * high):
            low, high = high, min(2 * high, most)
        while high / low > 1.01:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if doubled(sign * middle) else (middle, high)
        radii.append(high)
    return math.sqrt(radii[0] * radii[1])


def _loss(
    objective: Objective,
    weights: Weights,
    direction: Weights,
    t: float,
    images: Tensor,
    labels: Tensor,
) -> float:
    moved = {k: w + t * direction[k] for k, w in weights.items()}
    return evaluate(objective, moved, images, labels)["loss"]
