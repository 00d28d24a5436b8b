"""Convergence order of the error of transferred features on ever finer grids (thesis §3.1.2).

Stroke digits are functions that can be sampled at every resolution (:mod:`mgcore.data.strokes`), so
a convolution and its transferred version can be compared on the same function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor

from mgcore.grids import restrict
from mgcore.kernels import refine_kernel

HELD = ("weights", "operators")


def transfer_errors(
    stencils: Tensor, images: Sequence[Tensor], transfer: str = "bilinear", held: str = "weights"
) -> list[float]:
    """Measure how much transferred features differ from the coarse ones, for each pair of grids.

    The error is ‖R K_f x_f − K_c x_c‖ / ‖K_c x_c‖ over all images and stencils, without the cells
    at the edge; x_f and x_c are the same functions on both grids.

    Parameters
    ----------
    stencils : Tensor, shape (maps, 3, 3), float64
    images : sequence of Tensor, each of shape (count, n, n)
        The same functions with n doubling, float64.
    transfer : {"bilinear", "constant", "copy"}
        K_f by the Galerkin condition with that prolongation, or K_f = K_c.
    held : {"weights", "operators"}
        What is kept fixed for all pairs: the weights of K_c, as if a network were trained on each
        coarse grid; or the operator, K_c being transferred from the first grid by the same
        transfer.

    Returns
    -------
    list of float
        One for each pair of grids, the coarsest first.

    Raises
    ------
    ValueError
        If the grids do not double, or a name is unknown.
    """
    if transfer not in ("bilinear", "constant", "copy"):
        raise ValueError(f"transfer must be 'bilinear', 'constant' or 'copy', got {transfer!r}.")
    if held not in HELD:
        raise ValueError(f"held must be 'weights' or 'operators', got {held!r}.")
    sizes = [x.shape[-1] for x in images]
    if any(b != 2 * a for a, b in pairwise(sizes)) or len(sizes) < 2:
        raise ValueError(f"images must be on two or more grids of doubling size, got {sizes}.")
    coarse, errors = stencils, []
    for x_c, x_f in pairwise(images):
        fine = coarse if transfer == "copy" else refine_kernel(coarse, transfer)
        expected = _inside(_features(x_c, coarse))
        found = _inside(restrict(_features(x_f, fine)))
        errors.append(float((found - expected).norm() / expected.norm()))
        if held == "operators":
            coarse = fine
    return errors


def convergence_orders(errors: Sequence[float]) -> list[float]:
    """Return the order p between successive errors, which fall like hᵖ while h is halved.

    Examples
    --------
    >>> convergence_orders([1.0, 0.25, 0.125])
    [2.0, 1.0]
    """
    return [math.log2(a / b) for a, b in pairwise(errors)]


def _features(images: Tensor, stencils: Tensor) -> Tensor:
    return F.conv2d(images[:, None], stencils[:, None], padding=1)  # (count, maps, n, n)


def _inside(maps: Tensor) -> Tensor:
    return maps[..., 1:-1, 1:-1]
