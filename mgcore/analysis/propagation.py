"""Correlation of feature maps with the image (thesis §4.2, Figs 2.1, 4.4, 4.6).

The thesis judges by eye whether a digit can be recognised in a feature map.  Here the largest
correlation between map and image over small shifts measures it, for any network.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mgcore.grids import restrict

SHIFT = 2  # cells by which two 3×3 kernels can move an image


class Survival(NamedTuple):
    """Correlation of images with the feature maps of one layer.

    Attributes
    ----------
    mean : float
        Mean over images and channels of the largest absolute correlation; a constant map counts
        as 0.
    best : float
        Mean over images of the largest correlation among all channels.
    silent : float
        Share of constant maps.
    """

    mean: float
    best: float
    silent: float


def correlations(images: Tensor, maps: Tensor, shift: int = SHIFT) -> Tensor:
    """Return the largest absolute correlation of each map with its image over small shifts.

    Parameters
    ----------
    images : Tensor, shape (batch, 1, n, n)
        Restricted as often as it takes to the size of the maps.
    maps : Tensor, shape (batch, channels, m, m)
        n/m a power of two.
    shift : int
        Cells by which the image is moved, cyclically, at most, along both axes.

    Returns
    -------
    Tensor, shape (batch, channels)
        Pearson's correlation over cells, 0 to 1; 0 where a map is constant.

    Raises
    ------
    ValueError
        If the maps are not finite, or not of the size of the image or a half, a quarter, … of it.
    """
    if not bool(torch.isfinite(maps).all()):
        raise ValueError("maps has values that are not finite. Check the network.")
    wanted, given = maps.shape[-1], images.shape[-1]
    while images.shape[-1] > wanted and images.shape[-1] % 2 == 0:
        images = restrict(images)
    if images.shape[-2:] != maps.shape[-2:]:
        raise ValueError(
            f"maps must have n, n/2, n/4, … cells along a side for images of n = {given}, "
            f"got {wanted}."
        )
    moves = range(-shift, shift + 1)
    moved = [images.roll((i, j), (-2, -1)) for i in moves for j in moves]
    shifted = _standardise(torch.cat(moved, dim=1))  # (batch, shifts, m²)
    product = _standardise(maps) @ shifted.mT  # (batch, channels, shifts)
    return product.abs().amax(dim=-1)


def survival(images: Tensor, maps: Tensor, shift: int = SHIFT) -> Survival:
    """Return :class:`Survival` of `images` in `maps`; arguments as for :func:`correlations`."""
    found = correlations(images, maps, shift)
    silent = (_standardise(maps) == 0).all(dim=-1)  # whatever the image, which may be blank
    return Survival(
        float(found.mean()), float(found.amax(dim=1).mean()), float(silent.double().mean())
    )


def _standardise(x: Tensor) -> Tensor:
    """Flatten maps, take away their mean and scale them to length 1; constant maps become 0."""
    flat = x.double().flatten(2)
    flat = flat - flat.mean(dim=-1, keepdim=True)
    length = flat.norm(dim=-1, keepdim=True)
    tiny = 1e-6 * x.double().flatten(2).abs().amax(dim=-1, keepdim=True)
    return torch.where(length > tiny, flat / length.clamp_min(1e-300), torch.zeros_like(flat))
