"""The rules: what is done with a weight when its grid is refined or coarsened.

They depend on what the weight does in a forward pass at both resolutions
(:mod:`mgcore.refinement.tracing`), layer by layer and axis by axis, so that a film can be refined
in space alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mgcore.grids import prolong, restrict
from mgcore.kernels import KERNEL_WIDTH, coarsen_kernel, refine_kernel
from mgcore.refinement.layouts import Axis
from mgcore.refinement.report import WeightReport, describe, size_change
from mgcore.refinement.tracing import Output, Use, trace_both, weight_hook


@dataclass(frozen=True)
class Change:
    """The decision on one weight.

    Attributes
    ----------
    done : str
        As in :class:`mgcore.refinement.report.WeightReport`.
    note : str
        The reason, and which property holds.
    axes : tuple of int
        The axes along which numbers change: of a convolution's weight, or of `reads`.
    reads : Axis
        How the index that a dense layer sums over unfolds.
    axis : int
        Which axis of a dense layer's weight that is.
    """

    done: str
    note: str = ""
    axes: tuple[int, ...] = ()
    reads: Axis = ()
    axis: int = 1


def decide(
    model: nn.Module, old_shape: tuple[int, ...], new_shape: tuple[int, ...], stencils: str
) -> dict[str, tuple[WeightReport, Change]]:
    """Decide what is done with each weight of a network when the shape of its inputs changes.

    Parameters
    ----------
    model : Module
    old_shape, new_shape : tuple of int
        Shapes of an input, (channels, *grid); each grid axis stays, doubles or is halved.
    stencils : {"galerkin", "copy"}

    Returns
    -------
    dict
        From the name of a weight to its report and the change, in the order in which an input
        meets the weights.

    Raises
    ------
    ValueError
        As :func:`mgcore.refinement.tracing.trace_both` and :func:`of_dense`, or if a weight that
        must change is computed, if it is used on grids that change differently, or if the network
        returns a map that keeps its size.
    """
    refining = math.prod(new_shape) > math.prod(old_shape)
    before, after = trace_both(model, old_shape, new_shape)
    buffers = {name for name, _ in model.named_buffers()}
    plan: dict[str, tuple[WeightReport, Change]] = {}
    for use, other in zip(before.uses, after.uses, strict=True):
        if not (use.weight or not other.fits or use.stride):
            continue  # a product of activations
        if use.kind == "dense":
            change = of_dense(use, other, refining)
        else:
            change = of_convolution(use, other, stencils, refining)
            if use.weight in buffers and (change.axes or change.done == "copied"):
                change = Change("copied", "a buffer: a fixed filter, which is not trained")
        name = use.weight or f"{use.module} (computed)"
        grid = size_change(use.reads, other.reads)
        row = WeightReport(name, describe(use), grid, change.done, None, change.note)
        if plan.setdefault(name, (row, change))[1].axes != change.axes:
            raise ValueError(
                f"{name} is used on grids that change differently. Share a weight only between "
                "places of equal grids."
            )
        if change.axes and not use.weight:
            raise ValueError(_computed_weight(model, use))
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and name not in plan:
            note = _other_use(before.other_uses.get(name, ""))
            plan[name] = (WeightReport(name, "", "", "kept", None, note), Change("kept"))
    if len(before.outputs) != len(after.outputs):
        raise ValueError(
            f"model returns {len(after.outputs)} tensors at {new_shape} and {len(before.outputs)} "
            f"at {old_shape}. Its forward pass must not depend on the resolution."
        )
    for old, new in zip(before.outputs, after.outputs, strict=True):
        _check_output(old, new, old_shape, new_shape)
    return plan


def _computed_weight(model: nn.Module, use: Use) -> str:
    """Return the sentence on a weight that must change but is no parameter."""
    place = use.module or "the forward pass"
    module = model.get_submodule(use.module)
    layer = "dense layer" if use.kind == "dense" else use.kind
    sentence = f"{place} computes the weight of its {layer}, of shape {use.shape}"
    sentence += f", from {use.computed_from}" if use.computed_from else ""
    hook = weight_hook(module)
    if hook:
        return f"{sentence}, with {hook}. Only weights that are parameters can change."
    parametrizations = getattr(module, "parametrizations", None)
    if isinstance(parametrizations, nn.ModuleDict):
        names = ", ".join(parametrizations)
        return (
            f"{sentence}. Remove the parametrization of {names} first, with "
            "torch.nn.utils.parametrize.remove_parametrizations."
        )
    return f"{sentence}. Replace it by a layer whose weight is a parameter."


def _other_use(operation: str) -> str:
    """Return the note on a weight that is used neither by a convolution nor by a dense layer."""
    if not operation:
        return "not used in a forward pass"
    if "attention" in operation or "transformer" in operation:
        return "used by attention"
    return f"used by {operation}, for which there is no rule"


def _check_output(
    old: Output, new: Output, old_shape: tuple[int, ...], new_shape: tuple[int, ...]
) -> None:
    """Raise ValueError if an output is a map whose size does not follow the input's, or is mixed.

    Maps are recognised by their layout, or, where a dense layer writes them, by their shape: the
    grid of the input, or for images and films one that is a power of two coarser.
    """
    if not old.shape or not new.shape:
        return
    place = old.place or "a layer"
    if old.shape[0] != new.shape[0]:
        raise ValueError(
            f"model returns {old.shape} at {old_shape} and {new.shape} at {new_shape}: {place} "
            "reshapes maps to a fixed size and mixes images. Take all sizes from its input."
        )
    d = len(old_shape) - 1
    moving = [k for k in range(d) if old_shape[1 + k] != new_shape[1 + k]]
    if len(old.shape) == 2 + d and _is_map(old, old_shape[1:]):
        stays = [k for k in moving if old.shape[2 + k] == new.shape[2 + k] > 1]
    else:  # cells in one axis, as tokens
        tokens = any(
            math.prod(f.size for f in axis) > 1 and {f.kind for f in axis} == {"grid"}
            for axis in old.layout or ()
        )
        stays = moving if tokens and old.shape == new.shape else []
    if stays:
        raise ValueError(
            f"model returns a map of shape {new.shape} at {new_shape} as at {old_shape}: {place} "
            "keeps its size. Let the size follow from the input's, as scale_factor=2 does."
        )


def _is_map(output: Output, grid: tuple[int, ...]) -> bool:
    """Return whether the last axes of an output run over a grid."""
    axes = output.layout[2:] if output.layout else ()
    if any(factor.kind == "grid" for axis in axes for factor in axis):
        return True
    sizes = output.shape[2:]
    if not output.place or sizes == grid:
        return sizes == grid
    ratios = {n / m for n, m in zip(grid, sizes, strict=True)}
    return len(grid) > 1 and len(ratios) == 1 and math.log2(ratios.pop()).is_integer()


def of_convolution(use: Use, other: Use, stencils: str, refining: bool) -> Change:
    """Decide what is done with a convolution.

    Parameters
    ----------
    use, other : Use
        The same call at the given and at the new resolution.
    stencils : {"galerkin", "copy"}
    refining : bool
    """
    writes = (use.reads or (), other.reads or ())
    pairs = [(a.size, b.size) for a, b in zip(*writes, strict=True)]
    moving = [k for k, (a, b) in enumerate(pairs) if a != b]
    wide = [k for k in moving if use.shape[2 + k] != 1]  # where a cell reads its neighbours
    if not moving:
        return Change("kept", "its grid does not change")
    if not wide:
        return Change("kept", "reads no neighbours")
    if stencils == "copy":
        return Change("copied")
    if use.kind == "transposed convolution":
        return Change("copied", "no Galerkin map for transposed convolutions")
    if any(use.dilation[k] != 1 for k in wide):
        return Change("copied", "the Galerkin map does not keep the gaps of a dilation")
    if any(use.shape[2 + k] != KERNEL_WIDTH for k in wide):
        return Change("copied", "only width 3 has an inverse map for both prolongations")
    notes = []
    stride = max(use.stride[k] for k in wide)
    if stride > 1:
        notes.append(
            f"exact before cells are left out; those kept lie {stride - 1}/4 coarse cell apart"
        )
    if any(max(pairs[k]) != 2 * min(pairs[k]) for k in moving):
        notes.append("neither grid is twice the other: their cells do not line up")
    done = "refined" if refining else "coarsened"
    return Change(done, "; ".join(notes), tuple(2 + k for k in wide))


def of_dense(use: Use, other: Use, refining: bool) -> Change:
    """Decide what is done with a dense layer, which may read flattened maps.

    Parameters
    ----------
    use, other : Use
        The same call at the given and at the new resolution.
    refining : bool

    Raises
    ------
    ValueError
        If its input changes in another way than that maps become twice or half as large.
    """
    reads, new = use.reads, other.reads
    if use.count == other.count and (reads is None or new is None or reads == new):
        if reads is None:
            return Change("kept", "its input has the same size; how it was made was not followed")
        grid = any(factor.kind == "grid" for factor in reads)
        return Change("kept", "its grid does not change" if grid else "reads no grid")
    name = use.weight or f"the weight of {use.module}"
    if reads is None or new is None:
        raise ValueError(
            f"{name} reads {use.count} numbers, and {other.count} at the new resolution, but how "
            "they are made from maps cannot be followed. Flatten the maps directly before it; the "
            "order of their axes is free."
        )
    rest = [[f for f in axis if f.kind != "grid"] for axis in (reads, new)]
    if rest[0] != rest[1] or len(reads) != len(new):
        raise ValueError(
            f"{name}: the forward pass reshapes to a fixed size, as x.view(-1, {use.count}) does, "
            "and would mix images. Take the sizes from the input, as x.flatten(1) does."
        )
    moving = tuple(k for k, (a, b) in enumerate(zip(reads, new, strict=True)) if a != b)
    for k in moving:
        small, large = sorted((reads[k].size, new[k].size))
        if large != 2 * small or (large == new[k].size) != refining:
            times = "twice" if refining else "half"
            raise ValueError(
                f"{name} reads maps of {size_change(reads, new)} cells, but must read exactly "
                f"{times} as many along each axis. Pad convolutions by half their width, and use "
                "grids that pooling divides evenly."
            )
    return Change("prolonged" if refining else "restricted", "", moving, reads, use.axis)


def apply(change: Change, weight: Tensor, prolongation: str) -> Tensor:
    """Return the new numbers of a weight.

    Parameters
    ----------
    change : Change
        One that has axes.
    weight : Tensor
    prolongation : {"bilinear", "constant"}

    Returns
    -------
    Tensor
        Of the dtype, device and memory format of `weight`; of another shape for a dense layer.
    """
    d = len(change.axes)
    last = tuple(range(-d, 0))
    if change.done in ("refined", "coarsened"):
        act = refine_kernel if change.done == "refined" else coarsen_kernel
        moved = weight.movedim(change.axes, last)  # (..., 3, ..., 3)
        new = act(moved, prolongation, d).movedim(last, change.axes)
        return new.contiguous(memory_format=_memory_format(weight))
    rows = weight.movedim(change.axis, -1)  # (outputs, inputs)
    axes = tuple(1 + k for k in change.axes)
    maps = rows.reshape(len(rows), *(f.size for f in change.reads)).movedim(axes, last)
    if change.done == "prolonged":
        maps = 0.5**d * prolong(maps, prolongation, d)
    else:
        maps = 2.0**d * restrict(maps, d)
    rows = maps.movedim(last, axes).flatten(1)
    return rows.movedim(-1, change.axis).contiguous()


def _memory_format(weight: Tensor) -> torch.memory_format:
    """Return whether the kernels of a convolution lie with their channels first or last."""
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.ndim)
    if channels_last is None or weight.is_contiguous():
        return torch.contiguous_format
    last = weight.is_contiguous(memory_format=channels_last)
    return channels_last if last else torch.contiguous_format


def growth(change: Change, old: Tensor, new: Tensor) -> float | None:
    """Return the norm of a convolution's new weight over that of the old one.

    None for other weights, for weights that are zero, and on the meta device.
    """
    if change.done not in ("refined", "coarsened") or old.is_meta:
        return None
    norm = float(old.double().norm())
    return float(new.double().norm()) / norm if norm else None
