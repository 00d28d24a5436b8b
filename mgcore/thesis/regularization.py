"""The two penalties of thesis §3.2.1, with their gradients in closed form.

The training loop adds the closed forms to the gradient of the loss: differentiating the penalties
through the graph would cost several passes over a classifier of half a million weights per step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mgcore.grids import cached_constant


def tikhonov(theta: Tensor, alpha: float) -> Tensor:
    """Return ½ α ‖θ‖², the Tikhonov penalty with B = I (thesis §3.2.1), a scalar."""
    return 0.5 * alpha * theta.square().sum()


def tikhonov_gradient(theta: Tensor, alpha: float) -> Tensor:
    """Return α θ, the gradient of :func:`tikhonov`, of the shape of `theta`."""
    return alpha * theta


def smoothness(maps: Tensor, alpha: float, h: float = 1.0) -> Tensor:
    """Return ½ α ‖∇ W‖² with forward differences divided by h (thesis §3.2.1).

    No term crosses the boundary and no cell volume is multiplied in, as in the thesis's
    software; the ordering is (row, column) here, so that a spatially constant W costs nothing.

    Parameters
    ----------
    maps : Tensor, shape (..., m, n)
        The classifier's weights, a map for each class and channel.
    alpha : float
        The weight α of the penalty.
    h : float
        Width of a cell.  1 makes the penalty of a function independent of the grid.

    Returns
    -------
    Tensor, scalar
    """
    down = maps[..., 1:, :] - maps[..., :-1, :]
    across = maps[..., :, 1:] - maps[..., :, :-1]
    return 0.5 * alpha / h**2 * (down.square().sum() + across.square().sum())


def smoothness_gradient(maps: Tensor, alpha: float, h: float = 1.0) -> Tensor:
    """Return α GᵀG W / h², the gradient of :func:`smoothness`, of the shape of `maps`.

    GᵀG is the five-point Laplacian with reflecting boundaries; along each axis it is one small
    matrix, which the DCT diagonalises with eigenvalues 4 sin²(πk/2n).
    """
    rows, columns = maps.shape[-2:]
    down = alpha / h**2 * _second_difference(rows, maps.dtype, maps.device)
    across = alpha / h**2 * _second_difference(columns, maps.dtype, maps.device)
    flat = maps.reshape(-1, rows, columns)
    # The second product is added in place, which saves a temporary of the classifier's size.
    return (flat @ across).baddbmm_(down.expand(len(flat), -1, -1), flat).view(maps.shape)


def add_smoothness_gradient(gradient: Tensor, maps: Tensor, alpha: float, h: float = 1.0) -> None:
    """Add :func:`smoothness_gradient` to `gradient`, in place and up to rounding the same.

    It saves a temporary of the classifier's size.  `gradient` is contiguous and has the entries of
    `maps` in any shape.
    """
    rows, columns = maps.shape[-2:]
    down = alpha / h**2 * _second_difference(rows, maps.dtype, maps.device)
    across = alpha / h**2 * _second_difference(columns, maps.dtype, maps.device)
    flat = maps.reshape(-1, rows, columns)
    gradient.view(-1, columns).addmm_(flat.view(-1, columns), across)
    gradient.view(-1, rows, columns).baddbmm_(down.expand(len(flat), -1, -1), flat)


@cached_constant
def _second_difference(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return GᵀG of one axis, (size, size): 2 on the diagonal but 1 at both ends, −1 beside it."""
    # Cached under torch.inference_mode(), the matrix would break a later backward pass.
    with torch.inference_mode(False):
        g = torch.eye(size, dtype=dtype, device=device).diff(dim=0)  # (size − 1, size)
        return g.T @ g
