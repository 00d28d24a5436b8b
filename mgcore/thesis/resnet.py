"""The residual network of thesis (2.8)–(2.9): each layer adds a step of forward Euler.

x₀ = L x, then x_{j+1} = x_j + h F(θ_j, x_j) with the layer F(θ, x) = K₂ σ(K₁ x) of (2.6), and a
linear classifier on the cells of x_N.  L, K₁ and K₂ are convolutions by 3×3 stencils; biases in
the layers are zero, as in the thesis's experiments (§3.2).  :func:`forward` is a function of a
dictionary of weights, for many networks at once; :class:`ResNet` is the same as a module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.thesis.network import CLASSES, CLASSIFIER, PADDINGS, Padding, Weights

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": F.relu}
OPENING = "open.weight"


def layer(
    x: Tensor,
    first: Tensor,
    second: Tensor | None = None,
    activation: str = "tanh",
    padding: str = "zeros",
) -> Tensor:
    """Return F(θ, x) = K₂ σ(K₁ x), one layer without bias (thesis (2.6)).

    Parameters
    ----------
    x : Tensor, shape (batch, width, n, n)
    first : Tensor, shape (inner, width, 3, 3)
        Stencils of K₁.
    second : Tensor, shape (width, inner, 3, 3), optional
        Stencils of K₂; without them K₂ is the identity, as in the thesis's experiments (§3.2).
    activation : {"tanh", "relu"}
    padding : {"zeros", "circular"}

    Returns
    -------
    Tensor, shape (batch, width, n, n); without K₂ (batch, inner, n, n)
    """
    _check("activation", activation, ACTIVATIONS)
    inner = ACTIVATIONS[activation](_convolve(x, first, padding))  # (batch, inner, n, n)
    return inner if second is None else _convolve(inner, second, padding)


def _convolve(x: Tensor, stencils: Tensor, padding: str) -> Tensor:
    _check("padding", padding, PADDINGS)
    beyond = {"zeros": "constant", "circular": "circular"}[padding]
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode=beyond), stencils)


def _check(argument: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{argument} must be {' or '.join(map(repr, known))}, got {value!r}.")


def depth_of(weights: Weights) -> int:
    """Return N, the number of layers whose stencils are in `weights`."""
    return sum(name.startswith("layers.") and name.endswith(".first.weight") for name in weights)


def propagate(
    weights: Weights, x: Tensor, h: float = 1.0, activation: str = "tanh", padding: str = "zeros"
) -> list[Tensor]:
    """Return the states x₀, …, x_N of the residual network (thesis (2.9)).

    Parameters
    ----------
    weights : mapping
        State of a :class:`ResNet`; the stencils of every K₂ may be absent.
    x : Tensor, shape (batch, width, n, n)
        x₀ = L x, what the opening convolution returns.
    h : float
        Step size in the artificial time, 0 or more; 1 is the original ResNet (2.8).
    activation : {"tanh", "relu"}
    padding : {"zeros", "circular"}

    Returns
    -------
    list of Tensor, N + 1 of the shape of `x`

    Raises
    ------
    ValueError
        If h is negative or not finite, or the activation or the padding is unknown.

    Examples
    --------
    One cell, σ(x) = max(x, 0) and K₂ = −1: explicit Euler for x' = −x, a factor 1 − h a step.

    >>> stencil = torch.zeros(1, 1, 3, 3)
    >>> stencil[..., 1, 1] = 1
    >>> weights = {"layers.0.first.weight": stencil, "layers.0.second.weight": -stencil}
    >>> [float(state) for state in propagate(weights, torch.ones(1, 1, 1, 1), 0.25, "relu")]
    [1.0, 0.75]
    """
    _check_step(h)
    states = [x]
    for j in range(depth_of(weights)):
        first = weights[f"layers.{j}.first.weight"]
        second = weights.get(f"layers.{j}.second.weight")
        states.append(states[-1] + h * layer(states[-1], first, second, activation, padding))
    return states


def _check_step(h: float) -> None:
    if not (math.isfinite(h) and h >= 0):
        raise ValueError(f"h must be finite and 0 or more, got {h!r}.")


def _check_size(argument: str, value: int) -> None:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{argument} must be a positive integer, got {value!r}.")


def forward(weights: Weights, images: Tensor, h: float = 1.0, **how: str) -> Tensor:
    """Return the logits (batch, 10) for images (batch, 1, n, n); the rest as in `propagate`."""
    x = _convolve(images, weights[OPENING], how.get("padding", "zeros"))
    last = propagate(weights, x, h, **how)[-1]  # (batch, width, n, n)
    return last.flatten(1) @ weights[CLASSIFIER].T + weights.get("classifier.bias", 0.0)


def refine_depth(weights: Weights, factor: int = 2) -> dict[str, Tensor]:
    """Replace each layer by `factor` equal layers: the same weights in time, on a finer time grid.

    The weights are read as a function θ(t) that is constant over each layer (thesis §2.3).  Run
    with step size h / `factor` the deeper network ends at the same time N h, and for ever larger
    factors its states tend to the flow of dx/dt = F(θ(t), x), the error falling like 1 / `factor`.

    Parameters
    ----------
    weights : mapping
        State of a :class:`ResNet`.
    factor : int
        1 or more.

    Returns
    -------
    dict of Tensor
        Copies; opening and classifier as they were.

    Raises
    ------
    ValueError
        If the factor is not a positive integer.

    Examples
    --------
    >>> weights = {f"layers.{j}.first.weight": torch.full((1, 1, 3, 3), j) for j in (0, 1)}
    >>> [int(w[0, 0, 0, 0]) for w in refine_depth(weights).values()]
    [0, 0, 1, 1]
    >>> deeper = ResNet(6, width=2, depth=8, h=0.5)
    >>> deeper.load_state_dict(refine_depth(ResNet(6, width=2, depth=4).state_dict()))
    <All keys matched successfully>
    """
    _check_size("factor", factor)
    fine = {name: w.clone() for name, w in weights.items() if not name.startswith("layers.")}
    for j in range(factor * depth_of(weights)):
        for part in ("first.weight", "second.weight"):
            coarse = weights.get(f"layers.{j // factor}.{part}")
            if coarse is not None:
                fine[f"layers.{j}.{part}"] = coarse.clone()
    return fine


class ResNet(nn.Module):
    """A residual network for digits: 1 → width channels, `depth` layers (2.9), a classifier.

    Stencils start normal with variance 1 / (numbers that a cell reads), from torch's generator, so
    that K₁ keeps the size of its input; the classifier starts at zero.

    Parameters
    ----------
    resolution : int
        Pixels along a side of the input.
    width, depth : int
        Channels of every state; layers, N.
    h : float
        Step size, 0 or more; N h is the time at the end.
    activation : {"tanh", "relu"}
    padding : {"zeros", "circular"}
    second : bool
        Whether K₂ is a convolution of its own; otherwise it is the identity.

    Raises
    ------
    ValueError
        If a size is not a positive integer, h is negative, or a name is unknown.

    Examples
    --------
    >>> net = ResNet(14, width=4, depth=3, h=0.5)
    >>> net(torch.zeros(2, 1, 14, 14)).shape
    torch.Size([2, 10])
    >>> sum(p.numel() for p in net.parameters())  # 9·4 + 3·2·9·4² + 10·(4·14² + 1)
    8750
    """

    def __init__(
        self,
        resolution: int,
        width: int = 8,
        depth: int = 4,
        *,
        h: float = 1.0,
        activation: str = "tanh",
        padding: str = "zeros",
        second: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("resolution", resolution), ("width", width), ("depth", depth)):
            _check_size(name, value)
        _check("activation", activation, ACTIVATIONS)
        _check("padding", padding, PADDINGS)
        _check_step(h)
        self.width, self.depth = width, depth
        self.h, self.activation, self.padding, self.second = h, activation, padding, bool(second)

        def convolution(channels: int) -> nn.Conv2d:
            mode = cast(Padding, padding)
            made = nn.Conv2d(channels, width, 3, padding=1, padding_mode=mode, bias=False)
            nn.init.normal_(made.weight, std=1 / math.sqrt(9 * channels))
            return made

        parts = ("first", "second") if second else ("first",)
        self.open = convolution(1)
        self.layers = nn.ModuleList(
            nn.ModuleDict({part: convolution(width) for part in parts}) for _ in range(depth)
        )
        self.classifier = nn.Linear(width * resolution**2, CLASSES)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @property
    def resolution(self) -> int:
        """Pixels along a side of the input, computed from the width of the classifier."""
        return math.isqrt(self.classifier.in_features // self.width)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, 10) for images (batch, 1, n, n)."""
        x = self.open(images)
        for parts in self.layers:
            assert isinstance(parts, nn.ModuleDict)
            f = ACTIVATIONS[self.activation](parts["first"](x))
            x = x + self.h * (parts["second"](f) if self.second else f)
        return self.classifier(x.flatten(1))
