"""Restriction and prolongation between a grid and the one twice as coarse (thesis §3.1.1, §3.1.4).

Grids are cell-centred: a value lies at the centre of its pixel, so that a coarse cell is the union
of 2ᵈ fine cells and no coarse value coincides with a fine one.  Both operators act on the last
``ndim`` axes and broadcast over all axes before them: an image, a minibatch, or the weights of a
classifier arranged as maps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")

PROLONGATIONS = ("bilinear", "constant")
BOUNDARIES = ("clamp", "periodic", "odd")


def cached_constant(make: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """Return a function that makes a constant tensor once and returns it again.

    It is made outside ``torch.inference_mode``, wherever the first call is: a tensor made there
    could be saved by no later backward pass.
    """

    @lru_cache
    @wraps(make)
    def cached(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return make(*args, **kwargs)

    return cached  # type: ignore[return-value]  # lru_cache forgets the signature


def check_prolongation(kind: str, argument: str = "kind") -> None:
    """Raise ValueError unless `kind` is one of the two prolongations of the thesis's software."""
    if kind not in PROLONGATIONS:
        names = " or ".join(repr(name) for name in PROLONGATIONS)
        raise ValueError(f"{argument} must be {names}, got {kind!r}.")


def check_ndim(x: Tensor, ndim: int) -> None:
    """Raise unless `x` is a floating-point tensor with at least `ndim` axes, 1 to 3."""
    if ndim not in (1, 2, 3):
        raise ValueError(f"ndim must be 1, 2 or 3, got {ndim!r}.")
    if not isinstance(x, Tensor) or not x.is_floating_point():
        found = f"{x.dtype} tensor" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a floating-point torch tensor, got a {found}.")
    if x.ndim < ndim:
        raise ValueError(f"x must have at least ndim={ndim} axes, got shape {tuple(x.shape)}.")


def restrict(x: Tensor, ndim: int = 2) -> Tensor:
    """Average blocks of 2ᵈ cells: the restriction R to the coarse grid (thesis §3.1.4).

    Parameters
    ----------
    x : Tensor, shape (..., 2 m₁, ..., 2 m_d)
        Values at the cell centres of the fine grid; d is `ndim`.
    ndim : int
        How many of the last axes are grid axes, 1 to 3.

    Returns
    -------
    Tensor, shape (..., m₁, ..., m_d)

    Raises
    ------
    TypeError
        If `x` is not a floating-point tensor.
    ValueError
        If a grid axis is odd or empty.

    Examples
    --------
    >>> restrict(torch.tensor([1.0, 3.0, 5.0, 7.0]), ndim=1)
    tensor([2., 6.])
    """
    check_ndim(x, ndim)
    grid = x.shape[x.ndim - ndim :]
    if any(size % 2 or size == 0 for size in grid):
        raise ValueError(
            "x must have grid axes of even size, two fine cells to a coarse one, got "
            f"{tuple(grid)}."
        )
    halves = [part for size in grid for part in (size // 2, 2)]
    blocks = x.reshape(*x.shape[: x.ndim - ndim], *halves)  # (..., m₁, 2, ..., m_d, 2)
    return blocks.mean(dim=tuple(range(-2 * ndim + 1, 0, 2)))


def pool(x: Tensor) -> Tensor:
    """Average blocks of 2×2 cells, as :func:`restrict` does, by one matrix product.

    For use in training steps: on a CPU, ``torch.nn.functional.avg_pool2d`` and its derivative take
    a quarter of the time of a pooled network's step, this function a twentieth.  A value that is
    not finite affects its whole pair of rows; with :func:`restrict` it affects its block only.

    Parameters
    ----------
    x : Tensor, shape (..., 2 m, 2 n)

    Returns
    -------
    Tensor, shape (..., m, n)
    """
    rows, columns = x.shape[-2:]
    pairs = x.reshape(*x.shape[:-2], rows // 2, 2 * columns)  # two rows one behind the other
    return pairs @ _mean_of_pairs(columns, x.dtype, x.device)


def pool_adjoint(x: Tensor) -> Tensor:
    """Give each of a value's 2×2 cells a quarter of it: the transpose of :func:`pool`.

    Parameters
    ----------
    x : Tensor, shape (..., m, n)

    Returns
    -------
    Tensor, shape (..., 2 m, 2 n)
    """
    rows, columns = x.shape[-2:]
    pairs = x @ _mean_of_pairs(2 * columns, x.dtype, x.device).T
    return pairs.reshape(*x.shape[:-2], 2 * rows, 2 * columns)


@cached_constant
def _mean_of_pairs(columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix from two rows, one behind the other, to their 2×2 means.

    Its shape is (2·columns, columns/2).
    """
    row = torch.eye(columns // 2, dtype=dtype, device=device).repeat_interleave(2, dim=0) / 4
    return row.repeat(2, 1)


def prolong(x: Tensor, kind: str = "bilinear", ndim: int = 2, boundary: str = "clamp") -> Tensor:
    """Interpolate to the grid twice as fine: the prolongation P (thesis §3.1.4).

    ``"bilinear"`` is the thesis's "weighted averaging": along each axis a fine value is ¾ of the
    coarse cell that contains it and ¼ of that cell's neighbour on the same side, the cell-centred
    weights [1 3 3 1]/4.  ``"constant"`` copies a coarse value to its 2ᵈ cells, P = 2ᵈ Rᵀ; of the
    two prolongations, only this one has R P = I.

    Parameters
    ----------
    x : Tensor, shape (..., m₁, ..., m_d)
        Values at the cell centres of the coarse grid; d is `ndim`.
    kind : {"bilinear", "constant"}
        The interpolation; ``"bilinear"`` is linear for ``ndim=1`` and trilinear for ``ndim=3``.
    ndim : int
        How many of the last axes are grid axes, 1 to 3.
    boundary : {"clamp", "periodic", "odd"}
        The value of the ghost cell beyond the boundary, for ``"bilinear"``: that of the boundary
        cell (as in ``torch.nn.functional.interpolate``), that of the opposite boundary cell, or
        minus that of the boundary cell (a function that vanishes at the boundary, Dirichlet).

    Returns
    -------
    Tensor, shape (..., 2 m₁, ..., 2 m_d)

    Raises
    ------
    TypeError
        If `x` is not a floating-point tensor.
    ValueError
        If an argument is out of its range, or a grid axis is empty.

    Examples
    --------
    >>> prolong(torch.tensor([0.0, 4.0]), ndim=1)
    tensor([0., 1., 3., 4.])
    >>> prolong(torch.tensor([0.0, 4.0]), "constant", ndim=1)
    tensor([0., 0., 4., 4.])
    """
    check_ndim(x, ndim)
    check_prolongation(kind)
    if boundary not in BOUNDARIES:
        names = ", ".join(repr(name) for name in BOUNDARIES)
        raise ValueError(f"boundary must be one of {names}, got {boundary!r}.")
    for axis in range(x.ndim - ndim, x.ndim):
        x = _double(x, axis, kind, boundary)
    return x


def _double(x: Tensor, axis: int, kind: str, boundary: str) -> Tensor:
    """Prolong along one axis; P in d dimensions is the product over the axes."""
    size = x.shape[axis]
    if size == 0:
        raise ValueError(f"x must have grid axes of at least one cell, got {tuple(x.shape)}.")
    if kind == "constant":
        left = right = x
    else:
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, size - 1, 1)
        before, after = {
            "clamp": (first, last),
            "periodic": (last, first),
            "odd": (-first, -last),
        }[boundary]
        lower = torch.cat([before, x.narrow(axis, 0, size - 1)], dim=axis)  # left neighbours
        upper = torch.cat([x.narrow(axis, 1, size - 1), after], dim=axis)  # right neighbours
        left, right = 0.75 * x + 0.25 * lower, 0.75 * x + 0.25 * upper
    return torch.stack([left, right], dim=axis + 1).flatten(axis, axis + 1)
