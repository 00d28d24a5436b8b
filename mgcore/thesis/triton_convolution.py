"""Convolution of several networks as an implicit matrix product, in Triton.

For each place of the 3×3 kernel a program loads a tile of shifted pixels, multiplies it by the
matrix of that place, (pixels × in) · (in × out), and keeps the sum over the nine places in
registers.  No patches are written.  Maps are in channels-last layout, so that the channels of a
pixel are one contiguous load.

The gradient with respect to the input is the same kernel with the matrices transposed and their
places reversed; the gradient with respect to the weights is one product for each network and place,
(in × pixels) · (pixels × out).  ReLU belongs to the kernels: the forward pass applies it, and the
backward passes read the slope as zero where the output is zero.

Without Triton this module can be imported but not used.  Without a GPU the kernels run in Triton's
interpreter if ``TRITON_INTERPRET=1`` was set before the import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from mgcore.thesis.lowerings import circular_border

try:
    import triton
    import triton.language as tl
except ImportError:  # torch installs Triton on Linux with CUDA only
    triton = None


def _compiled(kernel: Callable[..., None]) -> Any:
    """Return the function as a Triton kernel; it is compiled at its first launch."""
    return kernel if triton is None else triton.jit(kernel)


class Tiling(NamedTuple):
    """Pixels of a tile, warps of a program and stages of its loop.

    The first three are those of a convolution, the others those of a weight gradient.
    """

    pixels: int = 128
    warps: int = 8
    stages: int = 2
    weight_pixels: int = 64
    weight_warps: int = 8
    weight_stages: int = 2


# By precision ("ieee", "tf32", "tf32x3"); ``mgcore gpu-day`` replaces them by the fastest.
TILINGS: dict[str, Tiling] = {}
# float64 has no matrix instruction in every version of Triton: small tiles are multiplied element
# by element.
EXACT = Tiling(16, 4, 1, 16, 4, 1)
PROGRAMS = 2048  # of a weight gradient: several for each multiprocessor of a large GPU


@_compiled
def _correlate(
    x, matrices, y, z, count,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
    PAD: tl.constexpr, RELU: tl.constexpr, MASKED: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Correlate x (networks, batch, ROWS, COLUMNS, IN) with matrices (networks, 9, IN, OUT).

    `count` is the number of output pixels of a network.  With MASKED, x counts only where z > 0.
    """
    rows: tl.constexpr = ROWS + 2 * PAD - 2
    columns: tl.constexpr = COLUMNS + 2 * PAD - 2
    network = tl.program_id(1).to(tl.int64)
    first = network * (count // (rows * columns)) * (IN * ROWS * COLUMNS)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < count
    image = pixel // (rows * columns)
    row = pixel % (rows * columns) // columns - PAD
    column = pixel % columns - PAD
    i = tl.arange(0, IN)
    o = tl.arange(0, OUT)
    total = tl.zeros((PIXELS, OUT), dtype=y.dtype.element_ty)
    for place in range(9):
        r = row + place // 3
        c = column + place % 3
        seen = inside & (r >= 0) & (r < ROWS) & (c >= 0) & (c < COLUMNS)
        at = ((image * ROWS + r) * COLUMNS + c)[:, None] * IN + i[None, :]
        pixels = tl.load(x + first + at, mask=seen[:, None], other=0.0)
        if MASKED:
            active = tl.load(z + first + at, mask=seen[:, None], other=0.0)
            pixels = tl.where(active > 0, pixels, 0.0)
        matrix = tl.load(
            matrices + (network * 9 + place) * (IN * OUT) + i[:, None] * OUT + o[None, :]
        )
        if DOT:
            total = tl.dot(pixels, matrix, total, input_precision=PRECISION)
        else:
            total += tl.sum(pixels[:, :, None] * matrix[None, :, :], axis=1)
    if RELU:
        total = tl.maximum(total, 0.0)
    to = pixel[:, None] * OUT + o[None, :]
    tl.store(y + network * count * OUT + to, total, mask=inside[:, None])


@_compiled
def _weight_gradient(
    x, slope, z, out, count, splits,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
    PAD: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Write out (splits, networks, 9, IN, OUT), each a sum over every `splits`-th tile of pixels.

    The slope counts only where the output z is positive.
    """
    rows: tl.constexpr = ROWS + 2 * PAD - 2
    columns: tl.constexpr = COLUMNS + 2 * PAD - 2
    place = tl.program_id(0)
    network = tl.program_id(1).to(tl.int64)
    split = tl.program_id(2)
    first = network * (count // (rows * columns)) * (IN * ROWS * COLUMNS)
    i = tl.arange(0, IN)
    o = tl.arange(0, OUT)
    total = tl.zeros((IN, OUT), dtype=out.dtype.element_ty)
    for begin in range(split * PIXELS, count, splits * PIXELS):
        pixel = begin + tl.arange(0, PIXELS)
        inside = pixel < count
        image = pixel // (rows * columns)
        r = pixel % (rows * columns) // columns - PAD + place // 3
        c = pixel % columns - PAD + place % 3
        seen = inside & (r >= 0) & (r < ROWS) & (c >= 0) & (c < COLUMNS)
        at = ((image * ROWS + r) * COLUMNS + c)[:, None] * IN + i[None, :]
        pixels = tl.load(x + first + at, mask=seen[:, None], other=0.0)
        to = network * count * OUT + pixel[:, None] * OUT + o[None, :]
        s = tl.load(slope + to, mask=inside[:, None], other=0.0)
        active = tl.load(z + to, mask=inside[:, None], other=0.0)
        s = tl.where(active > 0, s, 0.0)
        if DOT:
            total = tl.dot(tl.trans(pixels), s, total, input_precision=PRECISION)
        else:
            total += tl.sum(pixels[:, :, None] * s[:, None, :], axis=0)
    where = ((split * tl.num_programs(1) + network) * 9 + place) * (IN * OUT)
    tl.store(out + where + i[:, None] * OUT + o[None, :], total)


def convolve_relu(x: Tensor, places: Tensor, padding: str, precision: str) -> Tensor:
    """Return ReLU of the correlation of maps with kernels, differentiable in both.

    Parameters
    ----------
    x : Tensor, shape (networks, batch, n, n, in)
        `in`, and `out` below, are powers of two, at least 16.
    places : Tensor, shape (networks, 9, in, out)
        A matrix for each place of the 3×3 kernels, row by row.
    padding : {"zeros", "circular"}
    precision : {"ieee", "tf32", "tf32x3"}
        How float32 is multiplied.

    Returns
    -------
    Tensor, shape (networks, batch, n, n, out)
    """
    pad = 1
    if padding == "circular":
        x, pad = circular_border(x), 0
    y = _ConvolveRelu.apply(x.contiguous(), places.contiguous(), pad, precision)
    return cast(Tensor, y)


class _ConvolveRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, pad: int, precision: str) -> Tensor:
        y = correlate(x, places, pad, precision, relu=True)
        ctx.save_for_backward(x, places, y)
        ctx.pad, ctx.precision = pad, precision
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, places, y = ctx.saved_tensors
        slope, of_x = slopes[0].contiguous(), None
        if ctx.needs_input_grad[0]:
            turned = places.flip(1).mT.contiguous()  # (networks, 9, out, in)
            of_x = correlate(slope, turned, 2 - ctx.pad, ctx.precision, mask=y)
        of_places = weight_gradient(x, slope, y, ctx.pad, ctx.precision)
        return of_x, of_places, None, None


def _tiling(x: Tensor, precision: str) -> Tiling:
    return EXACT if x.dtype == torch.float64 else TILINGS.get(precision, Tiling())


def correlate(
    x: Tensor, places: Tensor, pad: int, precision: str, relu: bool = False,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Launch one convolution.

    Parameters
    ----------
    x : Tensor, shape (networks, batch, m, n, in)
    places : Tensor, shape (networks, 9, in, out)
    pad : {0, 1, 2}
        Rows and columns of zeros that are assumed around `x`.
    precision : {"ieee", "tf32", "tf32x3"}
    relu : bool
        Whether ReLU is applied to the result.
    mask : Tensor, shape of `x`, optional
        `x` counts as zero where the mask is not positive.

    Returns
    -------
    Tensor, shape (networks, batch, m + 2 pad − 2, n + 2 pad − 2, out)
    """
    networks, batch, rows, columns, channels = x.shape
    out, tiling = places.shape[-1], _tiling(x, precision)
    y = x.new_empty(networks, batch, rows + 2 * pad - 2, columns + 2 * pad - 2, out)
    count = y[0, ..., 0].numel()
    _correlate[(triton.cdiv(count, tiling.pixels), networks)](
        x, places, y, x if mask is None else mask, count,
        ROWS=rows, COLUMNS=columns, IN=channels, OUT=out, PAD=pad, RELU=relu,
        MASKED=mask is not None, DOT=x.dtype != torch.float64, PRECISION=precision,
        PIXELS=tiling.pixels, num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip
    return y


def weight_gradient(x: Tensor, slope: Tensor, y: Tensor, pad: int, precision: str) -> Tensor:
    """Launch the gradient with respect to the matrices of all places.

    Parameters
    ----------
    x, pad, precision
        As for :func:`correlate`.
    slope, y : Tensor, shape (networks, batch, ·, ·, out)
        The gradient with respect to the output, which counts where the output `y` is positive.

    Returns
    -------
    Tensor, shape (networks, 9, in, out)
    """
    networks, _, rows, columns, channels = x.shape
    out, count, tiling = slope.shape[-1], slope[0, ..., 0].numel(), _tiling(x, precision)
    tiles = triton.cdiv(count, tiling.weight_pixels)
    splits = min(tiles, triton.cdiv(PROGRAMS, 9 * networks))
    parts = x.new_empty(splits, networks, 9, channels, out)
    _weight_gradient[(9, networks, splits)](
        x, slope, y, parts, count, splits,
        ROWS=rows, COLUMNS=columns, IN=channels, OUT=out, PAD=pad,
        DOT=x.dtype != torch.float64, PRECISION=precision, PIXELS=tiling.weight_pixels,
        num_warps=tiling.weight_warps, num_stages=tiling.weight_stages,
    )  # fmt: skip
    return parts.sum(dim=0)  # in a fixed order, so that a run can be repeated
