"""The rules: what is done with a weight when its grid is refined or coarsened.

They depend on what the weight does in a forward pass at both resolutions
(:mod:`mgcore.refinement.tracing`), layer by layer and axis by axis, so that a film can be refined
in space alone.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from mgcore.grids import prolong, restrict
from mgcore.kernels import KERNEL_WIDTH, coarsen_kernel, refine_kernel
from mgcore.refinement.layouts import Axis, Factor, Layout, axis_size
from mgcore.refinement.report import WeightReport, describe, size_change
from mgcore.refinement.resampling import (
    KernelMap,
    expected_residual,
    kernel_map,
    map_kernels,
    patch_map,
    resample,
    response_residual,
)
from mgcore.refinement.tracing import Output, Use, trace_both, weight_hook

# Rows of a table of relative positions behind those of a window: from the class token, to it, and
# between class tokens.
CLASS_OFFSETS = 3
HOPELESS = 0.95  # residual of a fit for white noise above which kernels are copied: √(1 - 0.1)


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
    sizes : tuple of int
        The new numbers of cells along `axes` of a dense layer.
    maps : tuple of KernelMap
        Of a convolution, one for each of `axes`; empty where the Galerkin map of three cells and
        the factor 2 is used.
    layouts : tuple of Layout
        Of a position table, old and new.
    """

    done: str
    note: str = ""
    axes: tuple[int, ...] = ()
    reads: Axis = ()
    axis: int = 1
    sizes: tuple[int, ...] = ()
    maps: tuple[KernelMap, ...] = ()
    layouts: tuple[Layout, Layout] = ((), ())

    def same_as(self, other: Change) -> bool:
        """Return whether two uses of one weight ask for the same change."""
        a, b = ((c.done, c.axes, c.sizes, c.layouts) for c in (self, other))
        return a == b


def decide(
    model: nn.Module,
    old_shape: tuple[int, ...],
    new_shape: tuple[int, ...],
    stencils: str,
    prolongation: str,
    into: nn.Module | None = None,
    sums: str = "raise",
) -> dict[str, tuple[WeightReport, Change]]:
    """Decide what is done with each weight of a network when the shape of its inputs changes.

    Parameters
    ----------
    model : Module
    old_shape, new_shape : tuple of int
        Shapes of an input, (channels, *grid).
    stencils : {"galerkin", "copy"}
    prolongation : {"bilinear", "constant"}
    into : Module, optional
        The network that is made for the new shape.
    sums : {"raise", "warn"}
        As in :func:`mgcore.refinement.module.refine`.

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
    before, after = trace_both(model, old_shape, new_shape, into, sums)
    buffers = {name for name, _ in model.named_buffers()}
    ratios = tuple(Fraction(b, a) for a, b in zip(old_shape[1:], new_shape[1:], strict=True))
    plan: dict[str, tuple[WeightReport, Change]] = {}
    for use, other in zip(before.uses, after.uses, strict=True):
        if not (use.weight or not other.fits or use.stride):
            continue  # a product of activations
        if use.kind == "dense":
            change = of_dense(use, other)
        elif use.kind == "position table":
            change = of_table(use, other)
            if use.weight in buffers and change.axes:
                if into is None:
                    raise ValueError(
                        f"{use.weight} is a buffer with a number for each cell, and was computed "
                        "for one size. Give a network that is made for the new size as into."
                    )
                change = Change("kept", "a buffer: that of into")
        else:
            change = of_convolution(use, other, stencils, ratios, prolongation)
            if use.weight in buffers and (change.axes or change.done == "copied"):
                change = Change("copied", "a buffer: a fixed filter, which is not trained")
        name = use.weight or f"{use.module} (computed)"
        grid = size_change(use.reads, other.reads)
        row = WeightReport(name, describe(use), grid, change.done, None, change.note)
        if not plan.setdefault(name, (row, change))[1].same_as(change):
            raise ValueError(
                f"{name} is used on grids that change differently. Share a weight only between "
                "places of equal grids."
            )
        if change.axes and not use.weight:
            raise ValueError(_computed_weight(model, use))
    made = dict(into.named_parameters()) if into is not None else {}
    for name, weight in model.named_parameters():
        if name in plan:
            continue
        shape = tuple(made[name].shape if made else weight.shape)
        if shape != weight.shape:
            change = _of_other(model, name, shape, old_shape, new_shape)
            grid = size_change(*(tuple(f for axis in lay for f in axis) for lay in change.layouts))
            layer = " × ".join(map(str, weight.shape)) + " position table"
            plan[name] = (WeightReport(name, layer, grid, change.done, None, change.note), change)
        elif weight.ndim > 1:
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


def of_convolution(
    use: Use, other: Use, stencils: str, ratios: tuple[Fraction, ...], prolongation: str
) -> Change:
    """Decide what is done with a convolution.

    Parameters
    ----------
    use, other : Use
        The same call at the given and at the new resolution.
    stencils : {"galerkin", "copy"}
    ratios : tuple of Fraction
        New cells of the input for each old cell, along each axis of the grid.
    prolongation : {"bilinear", "constant"}
    """
    pairs = [(a.size, b.size) for a, b in zip(use.reads or (), other.reads or (), strict=True)]
    if use.shape != other.shape:
        return _of_patches(use, other, prolongation)
    moving = [k for k, (a, b) in enumerate(pairs) if a != b]
    wide = [k for k in moving if use.shape[2 + k] != 1]  # where a cell reads its neighbours
    if not moving:
        return Change("kept", "its grid does not change")
    if not wide:
        return Change("kept", "reads no neighbours")
    if stencils == "copy":
        return Change("copied")
    # Behind a map of another size than the input's, the layer's own grids tell the ratio.
    ratio = [
        ratios[k] if len(ratios) == len(pairs) and ratios[k] != 1 else Fraction(b, a)
        for k, (a, b) in enumerate(pairs)
    ]
    transposed = use.kind == "transposed convolution"
    maps, shifts, standard = [], [], True
    for k in wide:
        width, stride, dilation = use.shape[2 + k], use.stride[k], use.dilation[k]
        thesis = (width, dilation) == (KERNEL_WIDTH, 1) and ratio[k] in (2, Fraction(1, 2))
        if not transposed and (stride <= (width - 1) * dilation or thesis):  # windows overlap
            shifts.append((stride - 1) * (1 - min(ratio[k], 1 / ratio[k])) / 2)
            stride = 1
        maps.append(kernel_map(width, ratio[k], prolongation, stride, dilation, transposed))
        standard &= thesis and not transposed and ratio[k] == ratio[wide[0]]
    exact = all(m.exact for m in maps)
    if not exact and expected_residual(tuple(maps)) > HOPELESS:
        return Change("copied", "no kernel of this width reproduces a tenth of the response")
    notes = []
    if max(shifts, default=0):
        notes.append(
            f"{'exact' if exact else 'fitted'} before cells are left out; those kept lie "
            f"{max(shifts)} coarse cell apart"
        )
    if any(b != a * ratio[k] for k, (a, b) in enumerate(pairs) if k in moving):
        twice = max(ratio[wide[0]], 1 / ratio[wide[0]]) == 2
        notes.append(
            (
                "neither grid is twice the other"
                if twice
                else "the grids are not in the input's ratio"
            )
            + ": their cells do not line up"
        )
    done = "fitted" if not exact else "refined" if ratio[wide[0]] > 1 else "coarsened"
    axes = tuple(2 + k for k in wide)
    return Change(done, "; ".join(notes), axes, maps=() if standard else tuple(maps))


def _of_patches(use: Use, other: Use, prolongation: str) -> Change:
    """Decide on a convolution whose kernel is larger or smaller in the network that is given."""
    d = len(use.stride)
    patches = all(
        u.shape[2:] == u.stride and set(u.dilation) == {1} and u.kind == "convolution"
        for u in (use, other)
    )
    if not use.weight and not patches:
        raise ValueError(
            f"{use.module or 'the forward pass'} computes a kernel as large as its map, of shape "
            f"{use.shape} and at the new resolution {other.shape}, which adds up the cells. Use a "
            "mean over the cells, or adaptive pooling."
        )
    if use.shape[:2] != other.shape[:2] or not patches:
        raise ValueError(
            f"{use.weight} has the shape {use.shape} in model and {other.shape} in into. Only "
            "kernels with stride = width may change their width."
        )
    moving = [k for k in range(d) if use.shape[2 + k] != other.shape[2 + k]]
    maps = tuple(patch_map(use.shape[2 + k], other.shape[2 + k], prolongation) for k in moving)
    done = "refined" if other.shape > use.shape else "coarsened"
    note = "the kernel changes with its patch"
    return Change(done, note, tuple(2 + k for k in moving), maps=maps)


def of_table(use: Use, other: Use) -> Change:
    """Decide what is done with a table that holds a number for each cell of a grid.

    Parameters
    ----------
    use, other : Use
        The same addition at the given and at the new resolution.

    Raises
    ------
    ValueError
        If the class tokens beside the cells change in number.
    """
    if use.layout == other.layout:
        return Change("kept", "its grid does not change")
    rest = [[[f for f in a if f.kind != "grid"] for a in u.layout] for u in (use, other)]
    if rest[0] != rest[1] or len(use.reads or ()) != len(other.reads or ()):
        raise ValueError(
            f"{use.weight} is added to tokens that are made in another way at the new resolution. "
            "The class tokens and the axes of the grid must be the same at both."
        )
    axes = tuple(k for k, axis in enumerate(use.layout) if axis != other.layout[k])
    return Change("resampled", "", axes, layouts=(use.layout, other.layout))


def _of_other(
    model: nn.Module,
    name: str,
    shape: tuple[int, ...],
    old_shape: tuple[int, ...],
    new_shape: tuple[int, ...],
) -> Change:
    """Decide on a weight of another size in the network that is given, by its two shapes.

    Tables of relative positions have an odd number of rows along each axis of a window, perhaps
    before those of a class token (BEiT's has three); tables of absolute positions a row for each
    patch of the input, perhaps behind class tokens.
    """
    old = tuple(model.get_parameter(name).shape)
    differ = [k for k, (a, b) in enumerate(zip(old, shape, strict=False)) if a != b]
    if len(old) == len(shape) and len(differ) == 1:
        (axis,) = differ
        rows = old[axis], shape[axis]
        grids = _window_grids(*rows) or _patch_grids(*rows, old_shape[1:], new_shape[1:])
        behind = not grids  # where the class tokens are
        grids = grids or _window_grids(*(count - CLASS_OFFSETS for count in rows))
        if not grids and all(count % 2 for count in rows):  # offsets along one axis
            grids = (rows[:1], rows[1:])
        if grids:
            layouts: list[Layout] = []
            for count, grid in zip((old[axis], shape[axis]), grids, strict=True):
                factors = [Factor("grid", size) for size in grid]
                tokens = count - math.prod(grid)
                if tokens:
                    factors.insert(len(factors) if behind else 0, Factor("token", tokens))
                layouts.append(tuple(tuple(factors) if k == axis else () for k in range(len(old))))
            return Change("resampled", "", (axis,), layouts=(layouts[0], layouts[1]))
    raise ValueError(
        f"{name} has the shape {old} in model and {shape} in into, and there is no rule for it. "
        "Give a network of the same class in which only kernels with stride = width, dense layers "
        "and tables of positions have other sizes."
    )


def _window_grids(old: int, new: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the grids of offsets between the cells of two square windows."""
    sides = [math.isqrt(max(n, 0)) for n in (old, new)]
    if all(side**2 == n and side % 2 for side, n in zip(sides, (old, new), strict=True)):
        return (sides[0], sides[0]), (sides[1], sides[1])
    return None


def _patch_grids(
    old: int, new: int, old_grid: tuple[int, ...], new_grid: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return the grids of patches of the input that two numbers of rows fit, class tokens aside.

    The last patch may be a part of one, as behind convolutions with stride and padding.
    """
    for part, d in itertools.product((False, True), (len(old_grid), len(old_grid) - 1)):
        # Of films, d is also tried for the patches of one frame.
        for patch in range(1, min(old_grid[-d:]) + 1):
            more = part * (patch - 1)
            grids = [tuple((n + more) // patch for n in grid[-d:]) for grid in (old_grid, new_grid)]
            tokens = [n - math.prod(g) for n, g in zip((old, new), grids, strict=True)]
            if tokens[0] == tokens[1] and 0 <= tokens[0] <= 2:
                return grids[0], grids[1]
    return None


def of_dense(use: Use, other: Use) -> Change:
    """Decide what is done with a dense layer, which may read flattened maps.

    Parameters
    ----------
    use, other : Use
        The same call at the given and at the new resolution.

    Raises
    ------
    ValueError
        If its input changes in another way than that the grids of maps become larger or smaller.
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
    sizes = tuple(new[k].size for k in moving)
    larger = math.prod(sizes) > math.prod(reads[k].size for k in moving)
    return Change("prolonged" if larger else "restricted", "", moving, reads, use.axis, sizes)


def apply(change: Change, weight: Tensor, prolongation: str) -> Tensor:
    """Return the new numbers of a weight, differentiably.

    Parameters
    ----------
    change : Change
        One that has axes.
    weight : Tensor
    prolongation : {"bilinear", "constant"}

    Returns
    -------
    Tensor
        Of the dtype, device and memory format of `weight`; of another shape for a dense layer and
        for a position table.
    """
    if any(change.layouts):
        return _resample_table(change, weight, prolongation)
    if change.reads:
        return _resample_dense(change, weight, prolongation)
    if change.maps:
        new = map_kernels(weight, change.axes, [m.matrix for m in change.maps])
        return new.contiguous(memory_format=_memory_format(weight))
    last = tuple(range(-len(change.axes), 0))
    act = refine_kernel if change.done == "refined" else coarsen_kernel
    moved = weight.movedim(change.axes, last)  # (..., 3, ..., 3)
    new = act(moved, prolongation, len(change.axes)).movedim(last, change.axes)
    return new.contiguous(memory_format=_memory_format(weight))


def _resample_dense(change: Change, weight: Tensor, prolongation: str) -> Tensor:
    """Prolong or restrict the rows of a dense layer, with their sums kept."""
    rows = weight.movedim(change.axis, -1)  # (outputs, inputs)
    axes = tuple(1 + k for k in change.axes)
    maps = rows.reshape(len(rows), *(f.size for f in change.reads))
    ratios = [Fraction(n, maps.shape[k]) for k, n in zip(axes, change.sizes, strict=True)]
    d, last = len(axes), tuple(range(-len(axes), 0))
    if set(ratios) == {Fraction(2)}:
        maps = (0.5**d * prolong(maps.movedim(axes, last), prolongation, d)).movedim(last, axes)
    elif set(ratios) == {Fraction(1, 2)}:
        maps = (2.0**d * restrict(maps.movedim(axes, last), d)).movedim(last, axes)
    else:
        maps = resample(maps, axes, change.sizes, prolongation) / float(math.prod(ratios))
    return maps.flatten(1).movedim(-1, change.axis).contiguous()


def _resample_table(change: Change, weight: Tensor, prolongation: str) -> Tensor:
    """Prolong or restrict a table of positions; the numbers of class tokens are kept."""
    for axis in change.axes:
        old, new = (layout[axis] for layout in change.layouts)
        if axis_size(old) == axis_size(new) == 0:
            continue
        before = old[0].size if old[0].kind == "token" else 0
        grid = tuple(f.size for f in old if f.kind == "grid")
        sizes = tuple(f.size for f in new if f.kind == "grid")
        cells = math.prod(grid)
        moved = weight.movedim(axis, -1)
        kept, maps, behind = moved.split([before, cells, moved.shape[-1] - before - cells], dim=-1)
        maps = maps.reshape(-1, *grid)
        places = [k for k, (a, b) in enumerate(zip(grid, sizes, strict=True)) if a != b]
        maps = resample(
            maps, tuple(1 + k for k in places), tuple(sizes[k] for k in places), prolongation
        )
        maps = maps.reshape(*moved.shape[:-1], -1)
        weight = torch.cat([kept, maps, behind], -1).movedim(-1, axis).contiguous()
    return weight


def _memory_format(weight: Tensor) -> torch.memory_format:
    """Return whether the kernels of a convolution lie with their channels first or last."""
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.ndim)
    if channels_last is None or weight.is_contiguous():
        return torch.contiguous_format
    last = weight.is_contiguous(memory_format=channels_last)
    return channels_last if last else torch.contiguous_format


def measured(change: Change, old: Tensor, new: Tensor) -> tuple[float | None, float | None]:
    """Return by how much a convolution's kernels grew, and the residual of their responses.

    Both as in :class:`mgcore.refinement.report.WeightReport`: None for other weights and for
    weights that are zero.
    """
    if change.done not in ("refined", "coarsened", "fitted"):
        return None, None
    if old.is_meta:
        return None, 0.0 if change.done != "fitted" else expected_residual(change.maps)
    norm = float(old.double().norm())
    if not norm:
        return None, None
    growth = float(new.double().norm()) / norm
    if change.done != "fitted":
        return growth, 0.0
    return growth, response_residual(old, new, change.axes, change.maps)
