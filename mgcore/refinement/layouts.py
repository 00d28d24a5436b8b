"""How the axes of a tensor unfold: which index of images, channels and grids each runs over.

Flattening maps makes one axis of several indices; a view, a transpose or a sum regroups them.
What an operation leaves known is decided from its name, its arguments and its result's shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

aten = torch.ops.aten
TURNING = {aten.t, aten.transpose, aten.permute}
REGROUPING = {
    aten.view, aten._unsafe_view, aten._reshape_alias, aten.reshape, aten.unsqueeze, aten.squeeze
}  # fmt: skip
REDUCING = {aten.mean, aten.sum, aten.amax}
MIXING = {aten.bmm, aten.baddbmm}  # attention: no index of a result is one of its arguments'


@dataclass(frozen=True)
class Factor:
    """One index that an axis of a tensor runs over; flattening makes an axis of several."""

    kind: str  # "batch", "channel" or "grid"
    size: int


Axis = tuple[Factor, ...]  # slowest first
Layout = tuple[Axis, ...]


def maps(shape: Sequence[int]) -> Layout:
    """Return the layout of maps, (batch, channels, *grid)."""
    kinds = ["batch", "channel"] + ["grid"] * (len(shape) - 2)
    return tuple((Factor(kind, size),) for kind, size in zip(kinds, shape, strict=True))


def follow(
    packet, args: Sequence, inputs: Sequence[Tensor], layouts: Sequence[Layout], out: Tensor
) -> Layout | None:
    """Return the layout of an operation's result, or None where it is not known.

    Parameters
    ----------
    packet : torch operator, without its overload
    args : sequence
        Its arguments.
    inputs : sequence of Tensor
        Those of them whose layout is known, at least one.
    layouts : sequence of Layout
        Theirs.
    out : Tensor
    """
    layout, shape = layouts[0], tuple(out.shape)
    if packet in MIXING:
        return None
    if packet in REGROUPING:
        return regroup(layout, shape)
    if packet in TURNING:
        return tuple(layout[axis] for axis in order(packet, args))
    if packet in REDUCING and out.ndim < len(layout):
        gone = {axis % len(layout) for axis in args[1]}
        return tuple(axis for place, axis in enumerate(layout) if place not in gone)
    for tensor, known in zip(inputs, layouts, strict=True):
        if tuple(tensor.shape) == shape:
            return known  # elementwise
    if all(len(axis) == 1 for axis in layout) and out.ndim == len(layout):
        kinds = [axis[0].kind for axis in layout]  # pooling, padding, a convolution, cat
        return tuple((Factor(kind, size),) for kind, size in zip(kinds, shape, strict=True))
    return None


def order(packet, args: Sequence) -> list[int]:
    """Return which axis of its argument each axis of a transposed tensor is."""
    axes = list(range(args[0].ndim))
    if packet is aten.permute:
        return [axis % len(axes) for axis in args[1]]
    a, b = args[1:3] if packet is aten.transpose else (0, -1)
    axes[a], axes[b] = axes[b], axes[a]
    return axes


def regroup(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """Return the layout after a view: factors in the same order, cut into other axes.

    Channels may be split (as a channel shuffle does) and the batch too, a grid axis not.
    """
    rest = [factor for axis in layout for factor in axis]
    axes: list[Axis] = []
    for size in shape:
        axis: list[Factor] = []
        while size > 1:
            if not rest:
                return None
            head = rest.pop(0)
            if size % head.size == 0:
                axis.append(head)
                size //= head.size
            elif head.kind != "grid" and head.size % size == 0:
                axis.append(Factor(head.kind, size))
                rest.insert(0, Factor(head.kind, head.size // size))
                size = 1
            else:
                return None
        axes.append(tuple(axis))
    if math.prod(factor.size for factor in rest) != 1 or not axes:
        return None
    return (*axes[:-1], (*axes[-1], *rest))
