"""Loss surfaces and curvature along random directions (thesis §4.2).

The method is that of Li et al. (2018, arXiv:1712.09913).
A direction is drawn at random, and each of its filters is scaled to the norm of the network's own
filter, so that a step of 1 changes every filter by its own norm.  Refined filters have larger norms
than copied ones, so a step of 1 is longer around them too.  Networks are therefore compared both in
multiples of the direction and in absolute units.

The functions take the function to examine as a callable of the weights, so they apply to any loss
and any network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
Function = Callable[[Parameters], float]


def filter_normalised_direction(
    weights: Parameters, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw a direction whose filters have the norms of those of `weights` (Li et al. 2018, §4).

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
    value: Function,
    weights: Parameters,
    directions: tuple[Parameters, Parameters],
    steps: Tensor,
) -> Tensor:
    """Evaluate a function of the weights on a plane through `weights`.

    Parameters
    ----------
    value : callable
        Weights ↦ the function, a number.
    weights : mapping of Tensor
        The centre.
    directions : pair of mappings of Tensor
        For instance from :func:`filter_normalised_direction`.
    steps : Tensor, shape (k,)
        Multiples of the directions along each side.

    Returns
    -------
    Tensor, shape (k, k), float64
        Entry (i, j) is value(weights + steps[i] · first + steps[j] · second).

    Examples
    --------
    >>> one = {"w": torch.ones(1)}
    >>> surface(lambda w: float(w["w"] ** 2), one, (one, one), torch.tensor([0.0, 1.0]))
    tensor([[1., 4.],
            [4., 9.]], dtype=torch.float64)
    """
    first, second = directions
    values = torch.empty((len(steps), len(steps)), dtype=torch.float64)
    for i, a in enumerate(steps.tolist()):
        for j, b in enumerate(steps.tolist()):
            moved = {k: w + a * first[k] + b * second[k] for k, w in weights.items()}
            values[i, j] = value(moved)
    return values


def directional_curvature(
    loss: Function, weights: Parameters, direction: Parameters, step: float = 0.05
) -> float:
    """Return a function's second derivative along `direction`, by central differences.

    Parameters
    ----------
    loss : callable
        Weights ↦ the loss, a number.
    weights, direction : mapping of Tensor
    step : float
        Step of the differences, in multiples of the direction.  The default is large enough for
        networks in float32.

    Returns
    -------
    float
        Loss per squared multiple of the direction.  Divide by the direction's squared length to
        get the curvature in absolute units.

    Raises
    ------
    ValueError
        If `step` is not positive.
    """
    if not 0 < step < math.inf:
        raise ValueError(f"step must be positive and finite, got {step!r}.")
    ahead, here, behind = (_along(loss, weights, direction, t) for t in (step, 0.0, -step))
    return (ahead - 2 * here + behind) / step**2


def doubling_radius(
    loss: Function,
    weights: Parameters,
    direction: Parameters,
    reach: tuple[float, float] = (2.0**-8, 2.0**8),
) -> float:
    """Return the distance along ± `direction` at which a positive loss has doubled.

    The first t of reach[0] · 2ᵏ at which the loss is at least twice the loss at the centre ends a
    bracket, which is bisected in log t to one percent.  The result is the geometric mean over both
    signs.

    Parameters
    ----------
    loss : callable
        Weights ↦ the loss, a number.
    weights, direction : mapping of Tensor
    reach : pair of float
        Smallest and largest multiple of the direction that is tried.

    Returns
    -------
    float
        In multiples of the direction; times its length, in absolute units.  A loss that has
        doubled at reach[0] already, or not yet at reach[1], counts as doubling there.

    Raises
    ------
    ValueError
        If `reach` is not a range of positive numbers, or the loss at the centre is not finite.
    """
    least, most = reach
    if not 0 < least <= most < math.inf:
        raise ValueError(f"reach must be two positive numbers, the smaller first, got {reach!r}.")
    limit = 2 * _along(loss, weights, direction, 0.0)
    if not math.isfinite(limit):
        raise ValueError("The loss at the centre is not finite. Check the weights.")

    def doubled(t: float) -> bool:
        return not _along(loss, weights, direction, t) < limit

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


def _along(function: Function, weights: Parameters, direction: Parameters, t: float) -> float:
    return function({k: w + t * direction[k] for k, w in weights.items()})
