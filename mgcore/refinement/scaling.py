"""How the values of an activation scale with the number of grid cells behind it.

A mean over a grid keeps its value when the grid is refined; a sum over it grows 2ᵈ times, and a
softmax over it shrinks as much.  The factors multiply along a forward pass, so that a softmax
followed by a weighted sum (attention) cancels.  An operation that is not homogeneous sees the
change, and the network would compute something else at the new resolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mgcore.refinement.layouts import Axis, Layout, reduced_axes

SUMMING = {"sum", "nansum", "cumsum", "linalg_vector_norm", "bmm", "baddbmm"}
SOFTMAX = {"_softmax", "_safe_softmax"}
# A reduction over cells whose result no factor relates to that on another grid.
UNSCALABLE = {"prod", "cumprod", "logsumexp", "logcumsumexp", "_log_softmax", "renorm"}
# Operations that take cells together, or some cells out, and give about the same on a finer grid of
# the same maps.
STEADY = {
    "mean", "amax", "amin", "max", "min", "aminmax", "std", "var", "std_mean", "var_mean", "median",
    "nanmedian", "kthvalue", "mode", "topk", "any", "all", "select", "index", "index_select",
    "gather", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d_with_indices",
    "max_pool3d_with_indices", "grid_sampler_2d", "grid_sampler_3d", "upsample_nearest1d",
    "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_bicubic2d", "upsample_trilinear3d",
}  # fmt: skip
FOURIER = {"_fft_r2c", "_fft_c2c", "_fft_c2r"}
POWERS = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}
# f(c x) = c f(x) for c > 0, in every activation among the arguments at once.
HOMOGENEOUS = {
    "relu", "leaky_relu", "abs", "neg", "clamp_min", "clone", "_to_copy", "detach", "alias",
    "view", "_unsafe_view", "_reshape_alias", "reshape", "unsqueeze", "squeeze", "expand", "repeat",
    "t", "transpose", "permute", "select", "slice", "split", "split_with_sizes", "unbind", "cat",
    "stack", "index", "add", "sub", "mean", "amax", "amin", "std", "maximum", "minimum",
    "native_dropout", "dropout", "constant_pad_nd", "max_pool2d_with_indices", "avg_pool1d",
    "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d", "upsample_nearest2d", "upsample_bilinear2d", "view_as_real",
    "view_as_complex", "real", "imag", "_conj",
}  # fmt: skip
NORMALIZING = {"native_layer_norm", "native_group_norm"}  # f(c x) = f(x)


def cells(axes: Sequence[Axis]) -> int:
    """Return how many grid cells a reduction over `axes` adds up."""
    return math.prod(factor.size for axis in axes for factor in axis if factor.kind == "grid")


def reduced_cells(
    func: Any, name: str, args: Sequence, kwargs: Mapping[str, Any], layout: Layout | None
) -> int:
    """Return how many cells each number of a reduction's result stands for.

    Where the layout is not known, every number that is added up counts; numbers that do not depend
    on the resolution cancel when two resolutions are compared.
    """
    if name in ("bmm", "baddbmm"):
        x, removed = args[-2], [2]
    else:
        x, removed = args[0], reduced_axes(func, args, kwargs)
        if name == "renorm":  # its norms are over all other axes
            removed = [axis for axis in range(x.ndim) if axis not in removed]
    if layout is None:
        return math.prod(x.shape[axis] for axis in removed)
    return cells([layout[axis] for axis in removed])


def result_factor(
    name: str, args: Sequence, factors: Mapping[int, float], count: int, order: float
) -> float | None:
    """Return the factor on an operation's result, or None if there is none.

    Parameters
    ----------
    name : str
        Of the operation, without the underscore of its in-place form.
    args : sequence
    factors : mapping
        By the ``id`` of the activations among `args`, those that are not 1.
    count : int
        Cells that a reduction takes together, as :func:`reduced_cells` counts them.
    order : float
        p of a p-norm.
    """
    here = [factors.get(id(x), 1.0) for x in _tensors(args)]
    first = here[0] if here else 1.0
    if name in ("bmm", "baddbmm"):
        return count * factors.get(id(args[-2]), 1.0) * factors.get(id(args[-1]), 1.0)
    if name == "linalg_vector_norm":
        return first * (count ** (1 / order) if order else count)
    if name in SUMMING:
        return first * count
    if name in SOFTMAX and first == 1.0:
        return 1 / count
    if name in FOURIER:
        return first * _fourier_factor(name, args)
    if name in ("avg_pool2d", "avg_pool3d") and len(args) > 6 and args[6]:  # divisor_override
        return first * math.prod(args[1]) / args[6]
    if name in ("mul", "div"):
        x, y = args[:2]
        second = factors.get(id(y), 1.0) if isinstance(y, Tensor) else abs(float(y)) or 1.0
        if not isinstance(x, Tensor):
            return None
        first = factors.get(id(x), 1.0)
        return first * second if name == "mul" else first / second
    if name == "pow" and isinstance(args[1], int | float):
        return first ** args[1]
    if name in POWERS:
        return first ** POWERS[name]
    if name in NORMALIZING:
        return 1.0
    if name in HOMOGENEOUS and len(set(here)) <= 1:
        return first
    return None


def _fourier_factor(name: str, args: Sequence) -> float:
    """Return the factor of a Fourier transform: that of the sum, over that of its normalisation.

    A mode keeps its coefficient if the forward transform divides by the number of cells, and the
    inverse adds up as many modes on every grid.
    """
    x, dims, normalisation, last = args[:4]
    sizes = [x.shape[dim] for dim in dims]
    if name == "_fft_c2r":
        sizes[-1] = last
    count = math.prod(sizes)
    inverse = name == "_fft_c2r" or (name == "_fft_c2c" and not last)
    return (1 if inverse else count) / (1, math.sqrt(count), count)[normalisation]


def _tensors(args: Sequence) -> list[Tensor]:
    found: list[Tensor] = []
    for x in args:
        if isinstance(x, Tensor):
            found.append(x)
        elif isinstance(x, list | tuple):
            found += _tensors(x)
    return found
