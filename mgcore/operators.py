"""Convolution kernels as differential operators: the change of basis of thesis §2.3.

A kernel three cells wide is a linear combination of three finite differences, of orders 0, 1 and
2, and in two dimensions of their nine products.  The coefficients β give the differential operator
that the kernel approximates on a grid of mesh size h; (2.10) is its limit for h → 0.

Conventions.  Kernels act by correlation, as ``torch.nn.functional.conv2d`` does, so that
``[-1, 0, 1]`` is a derivative to the right; under true convolution β of odd order change sign.
The first axis of a kernel (down the rows) is u and the second (along the columns) is v.  The
coefficient of ∂² belongs to ``[1, -2, 1] / h²``, so that it is the β₃ of (2.10) with the printed
sign.  The thesis prints ``[-1, 2, 1] / h²``, a misprint of ``[-1, 2, -1] / h²``; with that stencil
its β of every second derivative is minus ours (β₃ in one dimension; β₅, β₆, β₇ and β₈ in two).
"""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from mgcore.grids import cached_constant

KERNEL_WIDTH = 3  # cells along one axis, and operators along one axis


class Operator(NamedTuple):
    """A differential operator: its symbol, and its order along each axis."""

    name: str
    orders: tuple[int, ...]


# By dimension; in two in the order of the thesis's β₁ … β₉, u before v.
OPERATORS: dict[int, tuple[Operator, ...]] = {
    1: (Operator("1", (0,)), Operator("∂u", (1,)), Operator("∂u²", (2,))),
    2: (
        Operator("1", (0, 0)),
        Operator("∂u", (1, 0)),
        Operator("∂v", (0, 1)),
        Operator("∂u∂v", (1, 1)),
        Operator("∂u²", (2, 0)),
        Operator("∂v²", (0, 2)),
        Operator("∂u²∂v", (2, 1)),
        Operator("∂u∂v²", (1, 2)),
        Operator("∂u²∂v²", (2, 2)),
    ),
}

# The kernel of the operator 1 in each basis.  Those of the derivatives are the same in all bases:
# [-1, 0, 1]/2h and [1, -2, 1]/h².  The Galerkin map is diagonal in "galerkin" for bilinear P and in
# "nodal" for constant P; in "nodal" β are also the moments of the kernel, the coefficients of its
# Taylor expansion up to order 2.
IDENTITY_KERNELS: dict[str, tuple[float, float, float]] = {
    "thesis": (1 / 4, 2 / 4, 1 / 4),
    "galerkin": (1 / 6, 4 / 6, 1 / 6),
    "nodal": (0.0, 1.0, 0.0),
}


def to_operators(stencil: Tensor, h: float = 1.0, ndim: int = 2, basis: str = "thesis") -> Tensor:
    """Return the coefficients β of a kernel's differential operators (thesis §2.3).

    In one dimension and the thesis's basis, β₁ = θ₁ + θ₂ + θ₃, β₂ = h (θ₃ − θ₁) and
    β₃ = h² (θ₁ − θ₂ + θ₃)/4.

    Parameters
    ----------
    stencil : Tensor, shape (..., 3) or (..., 3, 3)
        Acting by correlation, in the last `ndim` axes: u, then v.
    h : float
        Mesh size, in the unit of length in which derivatives are taken.
    ndim : int
        1 or 2.
    basis : {"thesis", "galerkin", "nodal"}
        Whether the kernel of the operator 1 is [1, 2, 1]/4, [1, 4, 1]/6 or [0, 1, 0].

    Returns
    -------
    Tensor, shape (..., 3) or (..., 9)
        In the order of ``OPERATORS[ndim]``; the unit of an operator of order p is lengthᵖ.  Of
        the dtype and device of `stencil`; differentiable.

    Raises
    ------
    TypeError
        If `stencil` is not a floating-point tensor.
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> to_operators(torch.tensor([-1.0, 0.0, 1.0]), h=0.5, ndim=1)
    tensor([0., 1., 0.])
    >>> to_operators(torch.tensor([0.0, 1.0, 0.0]), h=2.0, ndim=1)
    tensor([ 1.,  0., -1.])
    """
    _check_choice(h, ndim, basis)
    _check_tensor("stencil", stencil, (KERNEL_WIDTH,) * ndim)
    flat = stencil.double().flatten(stencil.ndim - ndim)  # (..., 3ᵈ)
    inverse = _unit_basis(basis, ndim, True).to(stencil.device)
    lengths = _powers(h, ndim).to(stencil.device)
    return (flat @ inverse.T * lengths).to(stencil.dtype)


def from_operators(beta: Tensor, h: float = 1.0, ndim: int = 2, basis: str = "thesis") -> Tensor:
    """Return the kernel of given operators: the inverse of :func:`to_operators`.

    Parameters
    ----------
    beta : Tensor, shape (..., 3) or (..., 9)
        Coefficients in the order of ``OPERATORS[ndim]``.
    h, ndim, basis
        As for :func:`to_operators`.

    Returns
    -------
    Tensor, shape (..., 3) or (..., 3, 3)
        Of the dtype and device of `beta`; differentiable.

    Raises
    ------
    TypeError
        If `beta` is not a floating-point tensor.
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from_operators(torch.tensor([0.0, 0.0, 1.0]), h=0.5, ndim=1)
    tensor([ 4., -8.,  4.])
    """
    _check_choice(h, ndim, basis)
    _check_tensor("beta", beta, (KERNEL_WIDTH**ndim,))
    matrix = _unit_basis(basis, ndim, False).to(beta.device)
    lengths = _powers(h, ndim).to(beta.device)
    flat = (beta.double() / lengths) @ matrix.T  # (..., 3ᵈ)
    return flat.unflatten(-1, (KERNEL_WIDTH,) * ndim).to(beta.dtype)


def rediscretise(
    stencil: Tensor, h_from: float, h_to: float, ndim: int = 2, basis: str = "thesis"
) -> Tensor:
    """Return the kernel of the same operators on another grid: β stays, h changes.

    With ``basis="galerkin"`` and ``h_to = h_from / 2`` the result is that of
    :func:`mgcore.kernels.refine_kernel` with bilinear P; in the other bases it differs.

    Parameters
    ----------
    stencil : Tensor, shape (..., 3) or (..., 3, 3)
    h_from, h_to : float
        Mesh sizes of the grid of `stencil` and of the new grid; only their ratio matters.
    ndim, basis
        As for :func:`to_operators`.

    Returns
    -------
    Tensor
        Of the shape, dtype and device of `stencil`; differentiable.

    Raises
    ------
    TypeError
        If `stencil` is not a floating-point tensor.
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> rediscretise(torch.tensor([1.0, -2.0, 1.0]), 1.0, 0.5, ndim=1)
    tensor([ 4., -8.,  4.])
    """
    _check_choice(h_from, ndim, basis, "h_from")
    _check_choice(h_to, ndim, basis, "h_to")
    _check_tensor("stencil", stencil, (KERNEL_WIDTH,) * ndim)
    beta = to_operators(stencil.double(), h_from, ndim, basis)
    return from_operators(beta, h_to, ndim, basis).to(stencil.dtype)


@cached_constant
def _unit_basis(basis: str, ndim: int, inverse: bool) -> Tensor:
    """Return θ = B β on the grid of mesh size 1, or B⁻¹: (3ᵈ, 3ᵈ), float64.

    Columns of B are the operators' kernels, flattened in row-major order.  :func:`_powers` applies
    h separately, so that the condition of B does not depend on the grid.
    """
    one = torch.tensor(
        [IDENTITY_KERNELS[basis], (-0.5, 0.0, 0.5), (1.0, -2.0, 1.0)], dtype=torch.float64
    ).T
    if inverse:
        one = torch.linalg.inv(one)
    if ndim == 1:
        return one
    # Places in the flattened table of orders (u, v); the thesis lists them by total order.
    places = [KERNEL_WIDTH * u + v for u, v in (operator.orders for operator in OPERATORS[2])]
    both = torch.kron(one, one)
    return both[places] if inverse else both[:, places]


def _powers(h: float, ndim: int) -> Tensor:
    """Return hᵖ for each operator, p its total order."""
    return torch.tensor([float(h) ** sum(o.orders) for o in OPERATORS[ndim]], dtype=torch.float64)


def _check_choice(h: float, ndim: int, basis: str, argument: str = "h") -> None:
    if ndim not in OPERATORS:
        raise ValueError(f"ndim must be 1 or 2, got {ndim!r}.")
    if not isinstance(h, Real) or isinstance(h, bool) or not 0 < h < math.inf:
        raise ValueError(f"{argument} must be a positive number, got {h!r}.")
    if basis not in IDENTITY_KERNELS:
        names = ", ".join(repr(name) for name in IDENTITY_KERNELS)
        raise ValueError(f"basis must be one of {names}, got {basis!r}.")


def _check_tensor(argument: str, x: Tensor, last: tuple[int, ...]) -> None:
    """Raise unless `x` is a floating-point tensor whose last axes are `last`."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        found = f"{x.dtype} tensor" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{argument} must be a floating-point torch tensor, got a {found}.")
    if tuple(x.shape[-len(last) :]) != last:
        raise ValueError(f"{argument} must have last axes {last}, got shape {tuple(x.shape)}.")
