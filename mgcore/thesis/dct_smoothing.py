"""Damping of the high frequencies of a classifier's initial weights (thesis §3.2.1)."""

from __future__ import annotations

import torch
from scipy.fft import dctn, idctn
from torch import Tensor


def smooth_by_dct(maps: Tensor, cutoff: float) -> Tensor:
    """Damp the high cosine frequencies of weight maps (thesis §3.2.1, Fig. 3.1).

    The thesis reduces the variance "in the discrete cosine space" without saying how.  Here the
    coefficient of frequency (k, l), counted in half waves across the image, is divided by
    1 + (k² + l²)/cutoff².  The mean does not change, and a function is smoothed
    alike on every grid.

    Parameters
    ----------
    maps : Tensor, shape (..., m, n)
    cutoff : float
        Half waves across the image at which a coefficient is halved.

    Returns
    -------
    Tensor, of the shape and dtype of `maps`
    """
    k, ell = (torch.arange(size, dtype=torch.float64) for size in maps.shape[-2:])
    damping = 1 / (1 + (k[:, None] ** 2 + ell**2) / cutoff**2)
    coefficients = dctn(maps.double().numpy(), axes=(-2, -1), norm="ortho") * damping.numpy()
    return torch.from_numpy(idctn(coefficients, axes=(-2, -1), norm="ortho")).to(maps.dtype)
