"""Convolutions of several networks at once, each network with kernels of its own.

Every lowering computes the same sums and differs from the others by rounding.  They differ in what
they write to memory.  For 60 networks, 32 images and the second layer at 28×28 a step of training
multiplies for 167 GFLOP, and its input and output have 0.19 and 0.39 GB in float32:

``"grouped"``
    ``torch.func.vmap``: one convolution with a group for each network.  No patches, but cuDNN's
    grouped kernels are slow for many groups.
``"unfold"``
    Patches as columns and one batched product.  The patches, 1.7 GB, are written and read again in
    the forward pass, and once more in the backward pass.
``"shifted"``
    Nine batched products, one for each place of the kernel, on shifted views of the padded images
    in channels-last layout.  No patches, but the output is read and written nine times, and the
    padding costs a share 1 − (n/(n + 2))² of the operations: 13 % at 28×28, 23 % at 14×14.
``"triton"``
    The same nine products in one kernel that keeps the sum in registers
    (:mod:`mgcore.thesis.triton_convolution`): input and output move once.  CUDA only; needs Triton.
``"triton-x3"``
    As ``"triton"``, each product from three products in TF32, which restores float32's accuracy.

On a GPU none of them has been measured yet; ``mgcore gpu-day`` measures all of them.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

LOWERINGS = ("grouped", "unfold", "shifted", "triton", "triton-x3")
LOWERING = "unfold"


def check_lowering(lowering: str, device: torch.device | str) -> None:
    """Raise unless convolutions can be computed by `lowering` on a device.

    Raises
    ------
    ValueError
        If the lowering is unknown, or is Triton's and there is no Triton or no CUDA device.
    """
    if lowering not in LOWERINGS:
        names = ", ".join(map(repr, LOWERINGS))
        raise ValueError(f"lowering must be one of {names}, got {lowering!r}.")
    if not lowering.startswith("triton"):
        return
    if importlib.util.find_spec("triton") is None:
        raise ValueError(
            f"lowering={lowering!r} needs Triton, which is not installed. torch installs it on "
            "Linux with CUDA; choose lowering='unfold' elsewhere."
        )
    if torch.device(device).type != "cuda" and not os.environ.get("TRITON_INTERPRET"):
        raise ValueError(
            f"lowering={lowering!r} needs a CUDA device, got {str(device)!r}. Choose "
            "lowering='unfold'."
        )


def unfolded(x: Tensor, kernels: Tensor, padding: str) -> Tensor:
    """Correlate by patches, laid out as columns, and one batched product.

    Parameters
    ----------
    x : Tensor, shape (networks, batch, in, n, n)
    kernels : Tensor, shape (networks, out, in, 3, 3)
    padding : {"zeros", "circular"}

    Returns
    -------
    Tensor, shape (networks, batch, out, n, n)
    """
    networks, batch, channels, rows, columns = x.shape
    x = x.flatten(0, 1)
    if padding == "circular":
        x = F.pad(x, (1, 1, 1, 1), mode="circular")
    patches = F.unfold(x, 3, padding=0 if padding == "circular" else 1)  # (·, in · 9, n · n)
    patches = patches.view(networks, batch, channels * 9, rows * columns)
    seen = kernels.flatten(2).unsqueeze(1) @ patches  # (networks, batch, out, n · n)
    return seen.unflatten(-1, (rows, columns))


def matrices(kernels: Tensor) -> Tensor:
    """Return kernels (networks, out, in, 3, 3) as matrices by place, (networks, 9, in, out)."""
    return kernels.permute(0, 3, 4, 2, 1).flatten(1, 2)


def circular_border(x: Tensor) -> Tensor:
    """Add the opposite row and column at each side of maps (networks, batch, n, n, channels)."""
    x = torch.cat([x[:, :, -1:], x, x[:, :, :1]], dim=2)
    return torch.cat([x[:, :, :, -1:], x, x[:, :, :, :1]], dim=3)


def shifted(x: Tensor, places: Tensor, padding: str) -> Tensor:
    """Correlate by nine batched products on shifted views, in channels-last layout.

    Parameters
    ----------
    x : Tensor, shape (networks, batch, n, n, in)
    places : Tensor, shape (networks, 9, in, out)
        From :func:`matrices`.
    padding : {"zeros", "circular"}

    Returns
    -------
    Tensor, shape (networks, batch, n, n, out)
    """
    networks, batch, rows, columns, channels = x.shape
    x = circular_border(x) if padding == "circular" else F.pad(x, (0, 0, 1, 1, 1, 1))
    # On the flattened padded grid a shift of the image is an offset, so that no view is copied.
    flat = x.reshape(networks, batch * (rows + 2) * (columns + 2), channels)
    seen = cast(Tensor, _ShiftedProducts.apply(flat, places, columns + 2))
    seen = seen.unflatten(1, (batch, rows + 2, columns + 2))
    return seen[:, :, :rows, :columns]  # beyond, a row meets the next one


class _ShiftedProducts(torch.autograd.Function):
    """y[q] = Σ x[q + offset of place] · kernel of place; zero where an offset leaves the array."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, width: int) -> Tensor:
        ctx.save_for_backward(x, places)
        ctx.width = width
        y = x.new_zeros(*x.shape[:2], places.shape[-1])
        inside = y[:, : _reach(x, width)]
        for place, offset in enumerate(_offsets(width)):
            inside.baddbmm_(x.narrow(1, offset, inside.shape[1]), places[:, place])
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, places = ctx.saved_tensors
        slope = slopes[0][:, : _reach(x, ctx.width)]
        of_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        of_places = torch.empty_like(places)
        for place, offset in enumerate(_offsets(ctx.width)):
            window = slice(offset, offset + slope.shape[1])
            torch.bmm(x[:, window].mT, slope, out=of_places[:, place])
            if of_x is not None:
                of_x[:, window].baddbmm_(slope, places[:, place].mT)
        return of_x, of_places, None


def _offsets(width: int) -> list[int]:
    """Return the offsets of the nine places of a kernel on a flattened grid of that width."""
    return [row * width + column for row in range(3) for column in range(3)]


def _reach(x: Tensor, width: int) -> int:
    """Return for how many points every offset stays inside the array."""
    return x.shape[1] - _offsets(width)[-1]


def pool_channels_last(x: Tensor) -> Tensor:
    """Average blocks of 2×2 cells of maps (…, rows, columns, channels)."""
    rows, columns = x.shape[-3:-1]
    x = x.unflatten(-3, (rows // 2, 2)).unflatten(
        -2, (columns // 2, 2)
    )  # (…, ·, 2, ·, 2, channels)
    return x.mean(dim=(-4, -2))
