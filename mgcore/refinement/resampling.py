"""Operators between two grids of any ratio, and the kernels that they relate.

All operators are means over cells.  The restriction R is the mean over a coarse cell of the
piecewise constant function on the fine grid.  The prolongation P is the mean over a fine cell of
the piecewise linear (or constant) function through the coarse values.  For the factor 2 they are
those of :mod:`mgcore.grids`; for every ratio they keep constants and the sum over cells times their
width.  They are products over the axes, so that everything here is in one dimension.

The Galerkin condition K²ʰ = R Kʰ P asks a fine kernel for the responses of a coarse one.  Where no
kernel of the width satisfies it, the kernel with the least squared difference is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

# Kernels whose response is below this part of the largest response are left out of a fit: to
# reproduce them, weights would have to grow by more than the inverse.
CUTOFF = 0.1
ROUNDING = 1e-10  # a relative difference between responses that counts as none
CHUNK = 1 << 22  # numbers that are resampled at a time in double precision


@dataclass(frozen=True)
class KernelMap:
    """The linear map from the kernels of one grid to those of another, along one axis.

    Attributes
    ----------
    matrix : Tensor, shape (new width, old width), float64
    new, old : Tensor, shapes (k, new width) and (k, old width), float64
        Responses of the two kernels in one orthonormal basis; their difference is the residual.
    exact : bool
        Whether the responses are equal for every kernel: the Galerkin condition holds.
    """

    matrix: Tensor
    new: Tensor
    old: Tensor
    exact: bool


def _cell_means(lower: Tensor, upper: Tensor, sources: Tensor, kind: str) -> Tensor:
    """Return the means over cells of the functions that are 1 at one source cell and 0 at others.

    Parameters
    ----------
    lower, upper : Tensor, shape (cells,), float64
        Edges of the cells, in units of the source cells.
    sources : Tensor, shape (sources,), float64
        Source k covers [k, k + 1].
    kind : {"bilinear", "constant"}
        Hat functions between the centres of the sources, or indicators of the sources.

    Returns
    -------
    Tensor, shape (cells, sources)
    """

    def integral(x: Tensor) -> Tensor:  # of the function, from -infinity
        t = x[:, None] - (sources + 0.5)
        if kind == "constant":
            return t.clamp(-0.5, 0.5) + 0.5
        t = t.clamp(-1, 1)
        return torch.where(t < 0, (1 + t) ** 2 / 2, 1 - (1 - t) ** 2 / 2)

    return (integral(upper) - integral(lower)) / (upper - lower)[:, None]


@lru_cache(maxsize=64)
def resampling_matrix(old: int, new: int, kind: str = "bilinear") -> Tensor:
    """Return the operator from a grid to another on the same interval, along one axis.

    Parameters
    ----------
    old, new : int
        Numbers of cells.
    kind : {"bilinear", "constant"}
        The prolongation, where `new` is larger.  Beyond the boundary the last cell is repeated, as
        in :func:`mgcore.grids.prolong`.

    Returns
    -------
    Tensor, shape (new, old), float64
        P if `new` is larger than `old`, else R.

    Examples
    --------
    >>> resampling_matrix(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    sources = torch.arange(-1, old + 1, dtype=torch.float64)  # with a ghost cell at each end
    means = _cell_means(edges[:-1], edges[1:], sources, kind if new > old else "constant")
    matrix = means[:, 1:-1].clone()
    matrix[:, 0] += means[:, 0]
    matrix[:, -1] += means[:, -1]
    return matrix


def resample(x: Tensor, axes: tuple[int, ...], sizes: tuple[int, ...], kind: str) -> Tensor:
    """Apply P or R along axes of a tensor.

    Parameters
    ----------
    x : Tensor
    axes, sizes : tuple of int
        The axes and their new numbers of cells; the first axis of `x` is none of them.
    kind : {"bilinear", "constant"}

    Returns
    -------
    Tensor
        Of the dtype and device of `x`; computed in double precision.
    """
    shape = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = size
    result = x.new_empty(shape)
    rows = max(1, CHUNK // max(1, math.prod(shape[1:])))
    for start in range(0, len(x), rows):
        part = x[start : start + rows].double()
        for axis, size in zip(axes, sizes, strict=True):
            matrix = resampling_matrix(part.shape[axis], size, kind).to(x.device)
            part = (part.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
        result[start : start + rows] = part.to(x.dtype)
    return result


def _solve(new: Tensor, old: Tensor) -> Tensor:
    """Return the map T that minimises |new T k - old k| for every kernel k, with the sum of k kept.

    The response to constants is the sum of a kernel's weights, so that it is kept exactly.
    """
    width = new.shape[1]
    mean = torch.full((width, old.shape[1]), 1 / width, dtype=torch.float64)
    differences = torch.linalg.svd(torch.ones(1, width, dtype=torch.float64)).Vh[1:].T
    # Where differences of weights have no response, rounding leaves some 1e-17 on most processors.
    none = ROUNDING * float(new.norm())
    free = torch.linalg.pinv(new @ differences, atol=none, rtol=CUTOFF) @ (old - new @ mean)
    return mean + differences @ free


def _kernel_map(new: Tensor, old: Tensor) -> KernelMap:
    """Return the map between two kernels from their responses, a row for each equation."""
    matrix = _solve(new, old)
    exact = bool((new @ matrix - old).norm() <= ROUNDING * old.norm())
    both = torch.linalg.qr(torch.cat([new, old], 1)).R  # the same norms in fewer rows
    return KernelMap(matrix, both[:, : new.shape[1]], both[:, new.shape[1] :], exact)


@lru_cache(maxsize=256)
def kernel_map(
    width: int,
    ratio: Fraction,
    kind: str = "bilinear",
    stride: int = 1,
    dilation: int = 1,
    transposed: bool = False,
) -> KernelMap:
    """Return the map of kernels that keep their width when the grid changes, along one axis.

    Parameters
    ----------
    width : int
    ratio : Fraction
        New cells for each old cell: above 1 the grid is refined, below 1 coarsened.
    kind : {"bilinear", "constant"}
        The prolongation P.
    stride, dilation : int
        A convolution whose windows overlap is best treated with stride 1, before cells are left
        out.
    transposed : bool

    Returns
    -------
    KernelMap
        With K on the coarse grid and R K P from the fine one; whichever is new is fitted.
    """
    refining = ratio > 1
    fine, coarse = galerkin_responses(
        width, ratio if refining else 1 / ratio, kind, stride, dilation, transposed
    )
    return _kernel_map(fine, coarse) if refining else _kernel_map(coarse, fine)


def galerkin_responses(
    width: int, ratio: Fraction, kind: str, stride: int, dilation: int, transposed: bool
) -> tuple[Tensor, Tensor]:
    """Return the entries of R K P and of the coarse K, for each kernel that is 1 at one place.

    The grids are infinite.  Their cells meet in the same way after every q coarse cells, where the
    ratio is p/q in lowest terms, so that the outputs of one period are enough.

    Parameters
    ----------
    width : int
    ratio : Fraction
        Fine cells for each coarse cell, above 1.
    kind, stride, dilation, transposed
        As for :func:`kernel_map`.

    Returns
    -------
    fine, coarse : Tensor, shape (outputs · inputs, width), float64
        Column j holds R K P, or K, of the kernel that is 1 at place j.
    """
    p, q = ratio.numerator, ratio.denominator
    # Widths of input and output cells in units of the smaller of the two, and the direction in
    # which a weight at a later place reads.
    cell_in, cell_out, sign = (stride, 1, -1) if transposed else (1, stride, 1)
    # All positions are integers: a unit is 2p on the coarse grid and 2q on the fine one.  A kernel
    # of even width has its outputs between cells, half a unit away.
    half = (cell_in - cell_out + sign * (width - 1) * dilation) % 2
    count = q * max(cell_in, cell_out) // cell_out  # coarse outputs in a period
    reach = (width - 1) * dilation + 2 * (cell_in + cell_out)
    outputs = torch.arange(count) * 2 * cell_out * p + (cell_out + half) * p  # centres
    first, last = -reach * p // (q * cell_out), (count * cell_out + reach) * p // (q * cell_out)
    fine_outputs = torch.arange(first, last + 2) * 2 * cell_out * q + (cell_out + half) * q
    sources = torch.arange(-reach // cell_in - 2, (count * cell_out + reach) // cell_in + 3)

    def units(position: Tensor) -> Tensor:
        return position.double() / (2 * p)

    thin, wide = cell_out * q / (2 * p), cell_out / 2  # half a fine and half a coarse output
    restriction = _cell_means(
        (units(outputs) - wide) / (2 * thin),
        (units(outputs) + wide) / (2 * thin),
        (units(fine_outputs) - thin) / (2 * thin),
        "constant",
    )
    fine, coarse = [], []
    for place in range(width):
        offset = sign * (2 * place - (width - 1)) * dilation  # in half units
        inputs = fine_outputs + offset * q
        read = (inputs - cell_in * q) % (2 * cell_in * q) == 0  # is the centre of an input
        centre, radius = units(inputs) / cell_in, q / (2 * p)
        prolongation = _cell_means(centre - radius, centre + radius, sources.double(), kind)
        fine.append((restriction @ (prolongation * read[:, None])).flatten())
        here = outputs + offset * p
        coarse.append((here[:, None] == (2 * sources + 1) * cell_in * p).double().flatten())
    return torch.stack(fine, 1), torch.stack(coarse, 1)


@lru_cache(maxsize=64)
def patch_map(old: int, new: int, kind: str = "bilinear") -> KernelMap:
    """Return the map of kernels with stride = width that grow or shrink with their patch.

    The new kernel responds to the prolonged patch P x as the old one to x, Pᵀ k_new = k_old: by the
    pseudo-inverse of Pᵀ where patches grow (PI-resize of FlexiViT, arXiv:2212.08013), and by Pᵀ
    itself where they shrink.

    Parameters
    ----------
    old, new : int
        Widths of the kernels, equal to their strides.
    kind : {"bilinear", "constant"}

    Returns
    -------
    KernelMap
    """
    adjoint = resampling_matrix(min(old, new), max(old, new), kind).T.contiguous()
    identity = torch.eye(min(old, new), dtype=torch.float64)
    if new > old:
        return _kernel_map(adjoint, identity)
    return _kernel_map(identity, adjoint)


def map_kernels(weight: Tensor, axes: tuple[int, ...], matrices: list[Tensor]) -> Tensor:
    """Apply a matrix to the kernels of a convolution's weight, along each of the axes given.

    Computed in double precision, and differentiable; of the dtype and device of `weight`.
    """
    x = weight.double()
    for axis, matrix in zip(axes, matrices, strict=True):
        x = (x.movedim(axis, -1) @ matrix.to(x.device).T).movedim(-1, axis)
    return x.to(weight.dtype)


def expected_residual(maps: tuple[KernelMap, ...]) -> float:
    """Return the residual of :func:`response_residual` for kernels of white noise."""
    found = math.prod(float((m.new @ m.matrix).square().sum()) for m in maps)
    wanted = math.prod(float(m.old.square().sum()) for m in maps)
    common = math.prod(float(((m.new @ m.matrix) * m.old).sum()) for m in maps)
    return math.sqrt(max(0.0, (found - 2 * common + wanted) / wanted))


def response_residual(
    old: Tensor, new: Tensor, axes: tuple[int, ...], maps: tuple[KernelMap, ...]
) -> float | None:
    """Return how much of the responses of the old kernels the new ones do not reproduce.

    Parameters
    ----------
    old, new : Tensor
        Weights of a convolution.
    axes : tuple of int
        The axes along which the kernels changed.
    maps : tuple of KernelMap
        One for each axis.

    Returns
    -------
    float or None
        Norm of the difference of the responses over the norm of the old ones, all kernels
        together.  None for weights that are zero.
    """
    difference = norm = 0.0
    rows = max(1, CHUNK // (old[0].numel() * 4 ** len(axes)))
    for k in range(0, len(old), rows):
        wanted = map_kernels(old[k : k + rows].double(), axes, [m.old for m in maps])
        found = map_kernels(new[k : k + rows].double(), axes, [m.new for m in maps])
        difference += float((found - wanted).square().sum())
        norm += float(wanted.square().sum())
    return math.sqrt(difference / norm) if norm else None
