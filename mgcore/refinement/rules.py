"""The rules for the weights of a network whose grid is refined or coarsened.

The rule for a weight follows from what the weight does in a forward pass at both resolutions
(:mod:`mgcore.refinement.tracing`).  It is decided for each layer and each axis of the grid, so that
a film can be refined in space alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mgcore.grids import prolong, restrict
from mgcore.kernels import WIDTH, coarsen_kernel, refine_kernel
from mgcore.refinement.layouts import Axis
from mgcore.refinement.report import Row, change_of, describe
from mgcore.refinement.tracing import COMPUTED, Use, check_outputs, trace_both


@dataclass(frozen=True)
class Change:
    """The decision on one weight.

    Attributes
    ----------
    done : str
        As in :class:`mgcore.refinement.report.Row`.
    note : str
        Why, and what holds.
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
    model: nn.Module, here: tuple[int, ...], there: tuple[int, ...], stencils: str
) -> dict[str, tuple[Row, Change]]:
    """Decide what becomes of each weight of a network when its inputs change from one shape.

    Parameters
    ----------
    model : Module
    here, there : tuple of int
        Shapes of an input now and then, (channels, *grid); each axis stays, doubles or is halved.
    stencils : {"galerkin", "copy"}

    Returns
    -------
    dict
        By name, in the order in which an input meets the weights: what to say and what to do.

    Raises
    ------
    ValueError
        As :func:`mgcore.refinement.tracing.trace_both`, :func:`of_dense` and
        :func:`mgcore.refinement.tracing.check_outputs`, or if a weight that must change is no
        parameter or is used on grids that change differently.
    """
    refining = math.prod(there) > math.prod(here)
    plan: dict[str, tuple[Row, Change]] = {}
    pairs, before, after = trace_both(model, here, there)
    buffers = {name for name, _ in model.named_buffers()}
    for use, other in pairs:
        if use.kind == "dense":
            change = of_dense(use, other, refining)
        else:
            change = of_convolution(use, other, stencils, refining)
        name = use.weight or f"{use.module} (computed)"
        if name in buffers:
            if use.kind == "dense" and change.axes:
                raise ValueError(
                    f"{name} is a buffer that reads flattened maps. Register it as a parameter, "
                    "so that it can be prolonged."
                )
            change = Change("kept", "a buffer: a fixed kernel is the same on every grid")
        row = Row(name, describe(use), change_of(use.reads, other.reads), change.done, None,
                  change.note)  # fmt: skip
        if plan.setdefault(name, (row, change))[1].axes != change.axes:
            raise ValueError(
                f"{name} is used on grids that change differently. A weight may be shared only "
                "between layers on equal grids."
            )
        if change.axes and not use.weight:
            raise ValueError(
                f"{use.module or 'model'} computes its weight of shape {use.shape} from other "
                f"tensors. {COMPUTED}"
            )
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and name not in plan:
            used = "used by an operation without a rule, such as attention"
            note = used if name in before.touched else "not used in the forward pass"
            row = Row(name, "", "", "kept", None, note)
            plan[name] = (row, Change("kept"))
    check_outputs(before, after, there)
    return plan


def of_convolution(use: Use, other: Use, stencils: str, refining: bool) -> Change:
    """Decide what becomes of a convolution.

    Parameters
    ----------
    use, other : Use
        The same call at the given and at the new resolution.
    stencils : {"galerkin", "copy"}
    refining : bool
    """
    pairs = [(a.size, b.size) for a, b in zip(use.reads, other.reads, strict=True)]
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
    if any(use.shape[2 + k] != WIDTH for k in wide):
        return Change("copied", "only width 3 has an inverse Galerkin map")
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
    """Decide what becomes of a dense layer, which may read flattened maps.

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
        grid = any(factor.kind == "grid" for factor in reads or ())
        return Change("kept", "its grid does not change" if grid else "reads no grid")
    name = use.weight or f"the weight of {use.module}"
    if reads is None or new is None:
        raise ValueError(
            f"{name} reads {use.count} numbers, and {other.count} at the new resolution, by a way "
            "that cannot be followed. A dense layer must read flattened maps."
        )
    rest = [[f for f in axis if f.kind != "grid"] for axis in (reads, new)]
    if rest[0] != rest[1] or len(reads) != len(new):
        raise ValueError(
            f"{name}: the forward pass reshapes to a fixed size, as x.view(-1, {use.count}) does, "
            "and would mix images. Take sizes from the input, as x.flatten(1) does."
        )
    moving = tuple(k for k, (a, b) in enumerate(zip(reads, new, strict=True)) if a != b)
    for k in moving:
        small, large = sorted((reads[k].size, new[k].size))
        if large != 2 * small or (large == new[k].size) != refining:
            times = "twice" if refining else "half"
            raise ValueError(
                f"{name} reads maps of {change_of(reads, new)} cells, and not of exactly {times} "
                "as many. Pad every layer by half its width, and use even grids."
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
        Of the dtype and device of `weight`; of another shape for a dense layer.
    """
    d = len(change.axes)
    last = tuple(range(-d, 0))
    if change.done in ("refined", "coarsened"):
        act = refine_kernel if change.done == "refined" else coarsen_kernel
        moved = weight.movedim(change.axes, last)  # (..., 3, ..., 3)
        new = act(moved, prolongation, d).movedim(last, change.axes)
        finite = weight.is_meta or bool(new.isfinite().all() or not weight.isfinite().all())
        if not finite:
            raise OverflowError(f"leaves the range of {str(weight.dtype).removeprefix('torch.')}")
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


def growth(change: Change, old: Tensor, new: Tensor) -> float | None:
    """Return how much longer a convolution's weight has become; None for other weights or zeros."""
    if change.done not in ("refined", "coarsened") or old.is_meta:
        return None
    before = float(old.double().norm())
    return float(new.double().norm()) / before if before else math.nan


def _memory_format(weight: Tensor) -> torch.memory_format:
    """Return the memory format of a weight: channels last where it is so and only so."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    last = formats.get(weight.ndim)
    if last and weight.is_contiguous(memory_format=last) and not weight.is_contiguous():
        return last
    return torch.contiguous_format
