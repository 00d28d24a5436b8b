"""Layouts: which indices (image, channel, grid cell) each axis of a tensor runs over.

Flattening maps merges several indices into one axis; a view, a transpose or a sum regroups them.
The layout of an operation's result follows from the operation's name, its arguments and the shape
of its result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
TRANSPOSING = {aten.t, aten.transpose, aten.permute}
REGROUPING = {
    aten.view, aten._unsafe_view, aten._reshape_alias, aten.reshape, aten.unsqueeze, aten.squeeze
}  # fmt: skip
REDUCING = {
    aten.mean, aten.sum, aten.amax, aten.amin, aten.prod, aten.logsumexp, aten.linalg_vector_norm,
    aten.std, aten.var,
}  # fmt: skip
BATCHED_PRODUCTS = {aten.bmm, aten.baddbmm}


@dataclass(frozen=True)
class Factor:
    """One index that an axis of a tensor runs over; flattening makes an axis of several."""

    kind: str  # "batch", "channel", "grid" or, beside the cells of a grid, "token"
    size: int


Axis = tuple[Factor, ...]  # slowest first
Layout = tuple[Axis, ...]


def layout_of_maps(shape: Sequence[int]) -> Layout:
    """Return the layout of maps, (batch, channels, *grid)."""
    kinds = ["batch", "channel"] + ["grid"] * (len(shape) - 2)
    return tuple((Factor(kind, size),) for kind, size in zip(kinds, shape, strict=True))


def has_grid(layout: Layout | None) -> bool:
    """Return whether an axis runs over the cells of a grid, by itself or merged with others."""
    return any(factor.kind == "grid" for axis in layout or () for factor in axis)


def axis_size(axis: Axis) -> int:
    """Return how many indices an axis has, class tokens included; 0 where nothing is known."""
    tokens = sum(factor.size for factor in axis if factor.kind == "token")
    rest = [factor.size for factor in axis if factor.kind != "token"]
    return tokens + math.prod(rest) if rest else tokens


def argument(func: Any, name: str, args: Sequence, kwargs: Mapping[str, Any]) -> Any:
    """Return an argument of a torch operator by its name, or None where it is not given."""
    for place, parameter in enumerate(func._schema.arguments):
        if parameter.name == name:
            return args[place] if place < len(args) else kwargs.get(name)
    return None


def reduced_axes(func: Any, args: Sequence, kwargs: Mapping[str, Any]) -> list[int]:
    """Return the axes that a reduction removes, counted from 0; all where it names none."""
    dim = argument(func, "dim", args, kwargs)
    every = range(args[0].ndim)
    dims = every if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return [axis % args[0].ndim for axis in dims]


def result_layout(
    func: Any,
    args: Sequence,
    kwargs: Mapping[str, Any],
    inputs: Sequence[Tensor],
    layouts: Sequence[Layout],
    out: Tensor,
) -> Layout | None:
    """Return the layout of an operation's result, or None where it cannot be followed.

    Parameters
    ----------
    func : torch operator, with its overload
    args : sequence
    kwargs : mapping
        Its arguments.
    inputs : sequence of Tensor
        The arguments whose layout is known, at least one.
    layouts : sequence of Layout
        The layouts of `inputs`.
    out : Tensor
    """
    packet = func.overloadpacket
    layout, shape = layouts[0], tuple(out.shape)
    if packet in BATCHED_PRODUCTS:
        return _product_layout(args[-2:], inputs, layouts)
    if packet in REGROUPING:
        return regroup(layout, shape)
    if packet in TRANSPOSING:
        return tuple(layout[axis] for axis in transposed_axes(packet, args))
    if packet in REDUCING and args[0] is inputs[0] and out.ndim < len(layout):
        removed = reduced_axes(func, args, kwargs)
        return tuple(axis for place, axis in enumerate(layout) if place not in removed)
    for tensor, known in zip(inputs, layouts, strict=True):
        if tuple(tensor.shape) == shape:
            return known  # elementwise
    if all(len(axis) == 1 for axis in layout) and out.ndim == len(layout):
        kinds = [axis[0].kind for axis in layout]  # pooling, padding, a convolution, cat
        return tuple((Factor(kind, size),) for kind, size in zip(kinds, shape, strict=True))
    return None


def _product_layout(
    factors: Sequence[Tensor], inputs: Sequence[Tensor], layouts: Sequence[Layout]
) -> Layout | None:
    """Return the layout of x @ y: the rows of x by the columns of y, if both are known."""
    known = [
        next((lay for t, lay in zip(inputs, layouts, strict=True) if t is x), None) for x in factors
    ]
    if known[0] is None or known[1] is None:
        return None
    return (known[0][0], known[0][1], known[1][2])


def transposed_axes(packet: Any, args: Sequence) -> list[int]:
    """Return which axis of its argument each axis of a transposed tensor is."""
    axes = list(range(args[0].ndim))
    if packet is aten.permute:
        return [axis % len(axes) for axis in args[1]]
    a, b = args[1:3] if packet is aten.transpose else (0, -1)
    if axes:
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
