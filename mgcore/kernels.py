"""Transfer of a network's weights between grids (thesis §3.1.2 and §3.1.3).

A convolution kernel changes by the Galerkin condition K²ʰ = R Kʰ P (3.5), which is linear in the
kernel: one small matrix M maps fine kernels to coarse ones, and its inverse maps them back.  The
weights of a linear classifier are functions on the grid, and are prolonged or restricted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from mgcore.grids import cached_constant, check_ndim, check_prolongation, prolong, restrict

KERNEL_WIDTH = 3  # cells along one axis; galerkin_map gives the reason


@cached_constant
def _galerkin_factor(prolongation: str) -> Tensor:
    """M in one dimension, (3, 3), read off R K P on a periodic grid.

    Column j is the coarse kernel of the fine kernel that is 1 at place j.  Eight coarse cells are
    enough that the three diagonals of the product do not overlap through periodicity.
    """
    cells = 8
    unit = torch.eye(cells, dtype=torch.float64)
    p = prolong(unit, prolongation, ndim=1, boundary="periodic").T  # (2 cells, cells)
    columns = []
    for place in range(KERNEL_WIDTH):
        # Correlation: a weight at offset o reads the neighbour o cells to the right.
        k_p = torch.roll(p, shifts=-(place - 1), dims=0)
        coarse = restrict(k_p.T, ndim=1).T  # R K P, (cells, cells)
        columns.append(coarse[cells // 2, cells // 2 - 1 : cells // 2 + 2])
    return torch.stack(columns, dim=1)


@cached_constant
def _transfer_matrix(prolongation: str, ndim: int, refining: bool) -> Tensor:
    """Return the Kronecker power of M₁ or of its inverse, (3ᵈ, 3ᵈ).

    R and P are products over the axes, and so is every kernel that is 1 at one place.
    """
    factor = _galerkin_factor(prolongation)
    if refining:
        factor = torch.linalg.inv(factor)
    matrix = factor
    for _ in range(ndim - 1):
        matrix = torch.kron(matrix, factor)
    return matrix


def galerkin_map(prolongation: str = "bilinear", ndim: int = 2) -> Tensor:
    """Return the matrix M of the Galerkin condition on kernels: coarse = M @ fine (thesis (3.5)).

    Restriction is the mean over 2ᵈ cells.  Away from a boundary, R K P of a kernel three cells
    wide is again a kernel three cells wide, and M has an inverse, for both prolongations.  No other
    width above 1 has both properties: 7 becomes 5; 5 becomes 3 with constant P; with bilinear P
    width 5 has an inverse map, whose outer weights grow by a factor of 8 along each axis.

    Parameters
    ----------
    prolongation : {"bilinear", "constant"}
        P of :func:`mgcore.grids.prolong`.
    ndim : int
        Dimension d of the grid, 1 to 3.

    Returns
    -------
    Tensor, shape (3ᵈ, 3ᵈ), float64
        Acts on kernels flattened in row-major order.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> galerkin_map("constant", ndim=1).tolist()
    [[0.5, 0.0, 0.0], [0.5, 1.0, 0.5], [0.0, 0.0, 0.5]]
    """
    check_prolongation(prolongation, "prolongation")
    check_ndim(torch.empty((1, 1, 1)), ndim)
    return _transfer_matrix(prolongation, ndim, False).clone()


def coarsen_kernel(stencil: Tensor, prolongation: str = "bilinear", ndim: int = 2) -> Tensor:
    """Return the kernel of R K P: from the fine grid to the coarse one (thesis (3.5)).

    Parameters
    ----------
    stencil : Tensor, shape (..., 3, ..., 3)
        Kernels in the last `ndim` axes, acting by correlation as ``conv2d`` does.
    prolongation : {"bilinear", "constant"}
    ndim : int
        1 to 3.

    Returns
    -------
    Tensor
        Of the same shape, dtype and device; differentiable.

    Raises
    ------
    TypeError
        If `stencil` is not a floating-point tensor.
    ValueError
        If the kernels are not three cells wide.
    """
    return _apply(stencil, prolongation, ndim, refining=False)


def refine_kernel(stencil: Tensor, prolongation: str = "bilinear", ndim: int = 2) -> Tensor:
    """Return the fine kernel whose Galerkin coarsening is `stencil`: M⁻¹ (thesis §3.1.2).

    The inverse of :func:`coarsen_kernel`, with the same parameters, result and errors.

    Examples
    --------
    The derivative of a function has the same value on cells of half the width:

    >>> refine_kernel(torch.tensor([-1.0, 0.0, 1.0]), ndim=1)
    tensor([-2.,  0.,  2.])
    """
    return _apply(stencil, prolongation, ndim, refining=True)


def _apply(stencil: Tensor, prolongation: str, ndim: int, refining: bool) -> Tensor:
    check_prolongation(prolongation, "prolongation")
    if not isinstance(stencil, Tensor) or not stencil.is_floating_point():
        found = f"{stencil.dtype} tensor" if isinstance(stencil, Tensor) else type(stencil).__name__
        raise TypeError(f"stencil must be a floating-point torch tensor, got a {found}.")
    check_ndim(stencil, ndim)
    grid = tuple(stencil.shape[stencil.ndim - ndim :])
    if any(size != KERNEL_WIDTH for size in grid):
        raise ValueError(
            f"stencil must have last axes {(KERNEL_WIDTH,) * ndim}, got {grid}: only kernels three "
            "cells wide keep their width under the Galerkin condition for both prolongations."
        )
    matrix = _transfer_matrix(prolongation, ndim, refining).to(stencil.device)
    flat = stencil.double().flatten(stencil.ndim - ndim)  # (..., 3ᵈ)
    return (flat @ matrix.T).reshape(stencil.shape).to(stencil.dtype)


def refine_classifier(
    weight: Tensor,
    shape: tuple[int, ...],
    prolongation: str = "bilinear",
    scale: float | None = None,
) -> Tensor:
    """Transfer the weights of a linear classifier to maps twice as fine (thesis §3.1.3).

    The logits are sums over pixels.  A sum over 2ᵈ times as many pixels of the same feature is 2ᵈ
    times as large, so that the prolonged weights times 2⁻ᵈ keep the logits.  The thesis prints the
    inverse factor; for images it is ``scale=4``.

    Parameters
    ----------
    weight : Tensor, shape (classes, channels · m₁ ··· m_d)
        Row-major over (channel, grid), as ``torch.flatten`` leaves feature maps.
    shape : tuple of int
        (m₁, ..., m_d), the size of the maps that `weight` reads: the coarse ones.
    prolongation : {"bilinear", "constant"}
    scale : float, optional
        Factor on the prolonged weights; 2⁻ᵈ (¼ for images) by default.

    Returns
    -------
    Tensor, shape (classes, channels · 2 m₁ ··· 2 m_d)

    Raises
    ------
    ValueError
        If the width of `weight` is no multiple of the cells of `shape`.

    Examples
    --------
    >>> refine_classifier(torch.ones(1, 2), shape=(1, 2))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500, 0.2500, 0.2500, 0.2500, 0.2500]])
    """
    maps = _as_maps(weight, shape)
    scale = 0.5 ** len(shape) if scale is None else scale
    return (scale * prolong(maps, prolongation, ndim=len(shape))).flatten(1)


def coarsen_classifier(
    weight: Tensor, shape: tuple[int, ...], scale: float | None = None
) -> Tensor:
    """Transfer the weights of a linear classifier to maps half as fine (thesis §3.1.3).

    Parameters
    ----------
    weight : Tensor, shape (classes, channels · m₁ ··· m_d)
    shape : tuple of int
        (m₁, ..., m_d), the size of the maps that `weight` reads: the fine ones, all even.
    scale : float, optional
        Factor on the restricted weights; 2ᵈ (4 for images) by default, which is the
        inverse of the factor of :func:`refine_classifier`.  With it the coarse weights are those
        of the composition "constant prolongation, then the fine classifier".

    Returns
    -------
    Tensor, shape (classes, channels · m₁/2 ··· m_d/2)

    Raises
    ------
    ValueError
        If the width of `weight` does not fit `shape`, or a grid axis is odd.
    """
    maps = _as_maps(weight, shape)
    scale = 2.0 ** len(shape) if scale is None else scale
    return (scale * restrict(maps, ndim=len(shape))).flatten(1)


def _as_maps(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """View the rows of a classifier as maps, (classes, channels, m₁, ..., m_d)."""
    shape = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if len(shape) not in (1, 2, 3) or any(int(m) != m or m < 1 for m in shape):
        raise ValueError(f"shape must be one to three positive integers, got {shape}.")
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        found = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"weight must be a tensor (classes, channels · cells), got {found}.")
    cells = math.prod(shape)
    if weight.shape[1] % cells:
        raise ValueError(
            f"weight must have a multiple of the {cells} cells of shape={shape} as its width, one "
            f"block for each channel, got {weight.shape[1]}."
        )
    return weight.reshape(weight.shape[0], -1, *shape)
