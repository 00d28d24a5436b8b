"""Local Fourier analysis of relaxation and of the two-grid method for Poisson's equation.

On an infinite grid, every operator of the method multiplies a wave exp(iθ·x/h) by a number, its
symbol, or mixes it with its aliases on the coarse grid.  The wave that decays most slowly gives the
convergence factor that fine grids approach, without solving any equation (Trottenberg, Oosterlee &
Schüller, *Multigrid*, ch. 4).  Effects of the boundary are not included.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from mgcore.grids import check_prolongation
from mgcore.multigrid.cycles import COARSE_OPERATORS

OMEGA = {1: 2 / 3, 2: 4 / 5}  # damping that makes Jacobi's smoothing factor least


def _symbol(theta: np.ndarray) -> np.ndarray:
    """Return h² times the symbol of −Δₕ at frequencies of shape (..., d)."""
    return (4 * np.sin(theta / 2) ** 2).sum(-1)


def relaxation_symbol(
    theta: np.ndarray, relaxation: str = "jacobi", omega: float | None = None
) -> np.ndarray:
    """Return the factor by which one sweep multiplies a wave.

    Parameters
    ----------
    theta : ndarray, shape (..., d)
        Frequencies along each of d = 1 or 2 axes, in radians a cell.
    relaxation : {"jacobi", "gauss-seidel"}
    omega : float, optional
        Jacobi's damping; ⅔ in one dimension and ⅘ in two by default.

    Returns
    -------
    ndarray, shape (...)
        Real for Jacobi, complex for Gauss–Seidel, which also shifts waves.

    Examples
    --------
    >>> relaxation_symbol(np.array([[0.0], [np.pi / 2], [np.pi]])).round(3)
    array([ 1.   ,  0.333, -0.333])
    """
    theta = np.asarray(theta, dtype=np.float64)
    d = _check_ndim(theta.shape[-1] if theta.ndim else 0)
    if relaxation == "jacobi":
        omega = OMEGA[d] if omega is None else omega
        return 1 - omega * _symbol(theta) / (2 * d)
    if relaxation == "gauss-seidel":
        ahead = np.exp(1j * theta).sum(-1)
        return ahead / (2 * d - ahead.conj())
    raise ValueError(f"relaxation must be 'jacobi' or 'gauss-seidel', got {relaxation!r}.")


def smoothing_factor(
    ndim: int = 1, relaxation: str = "jacobi", omega: float | None = None, samples: int = 256
) -> float:
    """Return the largest factor of a sweep on oscillatory waves, which a coarse grid cannot hold.

    Parameters
    ----------
    ndim : int
        1 or 2.
    relaxation, omega
        As in :func:`relaxation_symbol`.
    samples : int
        Frequencies along each axis, even; the worst of them is returned.

    Examples
    --------
    >>> [round(smoothing_factor(ndim), 3) for ndim in (1, 2)]
    [0.333, 0.6]
    >>> [round(smoothing_factor(ndim, "gauss-seidel"), 3) for ndim in (1, 2)]
    [0.447, 0.5]
    """
    axis = -np.pi + 2 * np.pi * np.arange(4 * (samples // 4)) / (4 * (samples // 4))
    theta = np.array(list(product(axis, repeat=_check_ndim(ndim))))
    rough = np.abs(theta).max(-1) >= np.pi / 2 - 1e-12  # oscillatory along at least one axis
    return float(np.abs(relaxation_symbol(theta[rough], relaxation, omega)).max())


def two_grid_symbol(
    theta: np.ndarray,
    sweeps: int = 1,
    omega: float | None = None,
    prolongation: str = "bilinear",
    coarse: str = "galerkin",
) -> np.ndarray:
    """Return the matrix of a two-grid step on the 2ᵈ waves that are aliases on the coarse grid.

    Damped Jacobi, restriction by the mean, exact coarse solve: (I − P (A²ʰ)⁻¹ R A) Sᵛ.

    Parameters
    ----------
    theta : ndarray, shape (..., d)
        The smooth wave of each group, |θ| ≤ π/2, not 0: there the coarse operator is singular.
    sweeps : int
        ν, before and after the correction together.
    omega : float, optional
    prolongation : {"bilinear", "constant"}
    coarse : {"galerkin", "rediscretised"}

    Returns
    -------
    ndarray, shape (..., 2ᵈ, 2ᵈ)

    Examples
    --------
    With constant P half of a smooth wave is left, however smooth it is; with bilinear P nothing:

    >>> theta = np.array([1e-3])
    >>> for kind in ("constant", "bilinear"):
    ...     print(abs(two_grid_symbol(theta, 0, prolongation=kind)[0, 0].round(3)))
    0.5
    0.0
    """
    theta = np.asarray(theta, dtype=np.float64)
    d = _check_ndim(theta.shape[-1] if theta.ndim else 0)
    check_prolongation(prolongation, "prolongation")
    if coarse not in COARSE_OPERATORS:
        names = " or ".join(repr(name) for name in COARSE_OPERATORS)
        raise ValueError(f"coarse must be {names}, got {coarse!r}.")
    shifts = np.pi * np.array(list(product((0, 1), repeat=d)))  # (2ᵈ, d)
    waves = theta[..., None, :] + shifts  # (..., 2ᵈ, d)
    # A wave that is oscillatory along an axis changes sign between coarse cells, in R and in P;
    # the two signs cancel in every product below.
    mean = np.cos(waves / 2).prod(-1)
    interpolate = mean**3 if prolongation == "bilinear" else mean
    fine = _symbol(waves)  # all symbols here are times h²
    relax = relaxation_symbol(waves, omega=omega)
    if coarse == "galerkin":
        operator = (mean * fine * interpolate).sum(-1)
    else:
        operator = _symbol(2 * theta) / 4
    corrected = interpolate[..., :, None] * (mean * fine)[..., None, :]
    correction = np.eye(2**d) - corrected / operator[..., None, None]
    return correction * relax[..., None, :] ** sweeps


def two_grid_factor(
    sweeps: int = 1,
    ndim: int = 1,
    omega: float | None = None,
    prolongation: str = "bilinear",
    coarse: str = "galerkin",
    samples: int = 64,
) -> float:
    """Return the two-grid convergence factor that local Fourier analysis predicts.

    Parameters
    ----------
    sweeps : int
        ν, before and after the correction together.
    ndim : int
        1 or 2.
    omega, prolongation, coarse
        As in :func:`two_grid_symbol`.
    samples : int
        Frequencies along each axis; the worst of them is returned.

    Returns
    -------
    float
        The largest spectral radius of :func:`two_grid_symbol` over the smooth waves.

    Examples
    --------
    >>> [round(two_grid_factor(sweeps), 3) for sweeps in (1, 2, 3, 4)]
    [0.333, 0.111, 0.079, 0.062]
    """
    # Quadratically denser towards 0, where the supremum often lies; all symbols here are even.
    axis = np.pi / 2 * (np.arange(1, samples + 1) / samples) ** 2
    theta = np.array(list(product(axis, repeat=_check_ndim(ndim))))
    matrices = two_grid_symbol(theta, sweeps, omega, prolongation, coarse)
    return float(np.abs(np.linalg.eigvals(matrices)).max())


def _check_ndim(ndim: int) -> int:
    if ndim not in OMEGA:
        raise ValueError(f"ndim must be 1 or 2, got {ndim!r}.")
    return ndim
