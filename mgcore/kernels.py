"""Moving the weights of a network between grids (thesis §3.1.2 and §3.1.3).

A stencil changes by the Galerkin condition K²ʰ = R Kʰ P (3.5), which is linear in the stencil:
one small matrix M maps fine stencils to coarse ones, and its inverse maps them back.  The weights
of a linear classifier are functions on the grid themselves, and are prolonged or restricted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor

from mgcore.grids import check_ndim, check_prolongation, prolong, restrict

WIDTH = 3  # cells of a stencil along one axis; see galerkin_map for why no other


@lru_cache
@torch.inference_mode(False)
def _galerkin_factor(prolongation: str) -> Tensor:
    """M in one dimension, (3, 3), read off R K P on a periodic grid.

    Column j is the coarse stencil of the fine stencil that is 1 at place j.  On eight coarse
    cells the three diagonals of the product do not meet around the circle.
    """
    cells = 8
    unit = torch.eye(cells, dtype=torch.float64)
    p = prolong(unit, prolongation, ndim=1, boundary="periodic").T  # (2 cells, cells)
    columns = []
    for place in range(WIDTH):
        # Correlation: a weight at offset o reads the neighbour o cells to the right.
        k_p = torch.roll(p, shifts=-(place - 1), dims=0)
        coarse = restrict(k_p.T, ndim=1).T  # R K P, (cells, cells)
        columns.append(coarse[cells // 2, cells // 2 - 1 : cells // 2 + 2])
    return torch.stack(columns, dim=1)


@lru_cache
@torch.inference_mode(False)
def _transfer_matrix(prolongation: str, ndim: int, refining: bool) -> Tensor:
    """Return the Kronecker power of M₁ or of its inverse, (3ᵈ, 3ᵈ).

    R and P are products over the axes, and so is every stencil that is 1 at one place.
    """
    factor = _galerkin_factor(prolongation)
    if refining:
        factor = torch.linalg.inv(factor)
    matrix = factor
    for _ in range(ndim - 1):
        matrix = torch.kron(matrix, factor)
    return matrix


def galerkin_map(prolongation: str = "bilinear", ndim: int = 2) -> Tensor:
    """Return the matrix M of the Galerkin condition on stencils: coarse = M @ fine (thesis (3.5)).

    Restriction is the mean over 2ᵈ cells.  Away from a boundary R K P of a stencil three cells
    wide is again a stencil three cells wide, for both prolongations; wider stencils shrink or
    keep their width by accident (7 becomes 5), so that only width 3 has an inverse map for both.

    Parameters
    ----------
    prolongation : {"bilinear", "constant"}
        P of :func:`mgcore.grids.prolong`.
    ndim : int
        Dimension d of the grid, 1 to 3.

    Returns
    -------
    Tensor, shape (3ᵈ, 3ᵈ), float64
        Acts on stencils flattened in row-major order.

    Examples
    --------
    >>> galerkin_map("constant", ndim=1).tolist()
    [[0.5, 0.0, 0.0], [0.5, 1.0, 0.5], [0.0, 0.0, 0.5]]
    """
    check_prolongation(prolongation, "prolongation")
    check_ndim(torch.empty((1, 1, 1)), ndim)
    return _transfer_matrix(prolongation, ndim, False).clone()


def coarsen_kernel(stencil: Tensor, prolongation: str = "bilinear", ndim: int = 2) -> Tensor:
    """Return the stencil of R K P: from the fine grid to the coarse one (thesis (3.5)).

    Parameters
    ----------
    stencil : Tensor, shape (..., 3, ..., 3)
        Stencils in the last `ndim` axes, acting by correlation as ``conv2d`` does.
    prolongation : {"bilinear", "constant"}
    ndim : int
        1 to 3.

    Returns
    -------
    Tensor
        Of the same shape, dtype and device; differentiable.

    Raises
    ------
    ValueError
        If the stencils are not three cells wide.
    """
    return _apply(stencil, prolongation, ndim, refining=False)


def refine_kernel(stencil: Tensor, prolongation: str = "bilinear", ndim: int = 2) -> Tensor:
    """Return the fine stencil whose Galerkin coarsening is `stencil`: M⁻¹ (thesis §3.1.2).

    Parameters, result and errors are those of :func:`coarsen_kernel`, which this inverts.

    Examples
    --------
    The derivative of a function keeps its value where cells are half as wide:

    >>> refine_kernel(torch.tensor([-1.0, 0.0, 1.0]), ndim=1)
    tensor([-2.,  0.,  2.])
    """
    return _apply(stencil, prolongation, ndim, refining=True)


def _apply(stencil: Tensor, prolongation: str, ndim: int, refining: bool) -> Tensor:
    check_prolongation(prolongation, "prolongation")
    if not isinstance(stencil, Tensor) or not stencil.is_floating_point():
        found = f"{stencil.dtype} tensor" if isinstance(stencil, Tensor) else type(stencil).__name__
        raise TypeError(f"stencil is a {found}; accepted: a floating-point torch tensor.")
    check_ndim(stencil, ndim)
    grid = tuple(stencil.shape[stencil.ndim - ndim :])
    if any(size != WIDTH for size in grid):
        raise ValueError(
            f"stencil has last axes {grid}; accepted: {(WIDTH,) * ndim}, because only stencils "
            "three cells wide keep their width under the Galerkin condition for both prolongations."
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
    """Carry the weights of a linear classifier to maps twice as fine (thesis §3.1.3).

    The logits are plain sums over pixels.  A sum over 2ᵈ times as many pixels of the same feature
    is 2ᵈ times as large, so the weights that keep the logits are the prolonged ones times 2⁻ᵈ.
    The thesis prints the inverse factor, 4; it is one argument away.

    Parameters
    ----------
    weight : Tensor, shape (classes, channels · m₁ ··· m_d)
        Row-major over (channel, grid), as ``torch.flatten`` leaves feature maps.
    shape : tuple of int
        (m₁, ..., m_d), the maps which `weight` reads: the coarse ones.
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
    """Carry the weights of a linear classifier to maps half as fine (thesis §3.1.3).

    Parameters
    ----------
    weight : Tensor, shape (classes, channels · m₁ ··· m_d)
    shape : tuple of int
        (m₁, ..., m_d), the maps which `weight` reads: here the fine ones, even along each axis.
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
        raise ValueError(f"shape={shape} is not a grid; accepted: one to three positive integers.")
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        found = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise ValueError(f"weight is {found}; accepted: a tensor (classes, channels · cells).")
    cells = math.prod(shape)
    if weight.shape[1] % cells:
        raise ValueError(
            f"weight has width {weight.shape[1]}; accepted: a multiple of the {cells} cells of "
            f"shape={shape}, one block a channel."
        )
    return weight.reshape(weight.shape[0], -1, *shape)
