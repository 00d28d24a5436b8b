"""The model problem of multigrid: Poisson's equation on cells, and relaxation (thesis §2.4).

−Δu = f on the unit interval or square, with u = 0 on the boundary and one unknown at the centre of
each of nᵈ cells: the grids on which :mod:`mgcore.grids` restricts and prolongs images.  No value is
stored on the boundary.  The ghost cell beyond it holds minus the value of the cell inside, so that
their mean on the boundary is zero; the prolongation must use the same odd reflection.

Functions on a grid are flat float64 arrays in row-major order, operators are sparse matrices, so
that formulas read as they are printed: ``f - a @ u`` is the residual.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np
import scipy.fft
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import splu

from mgcore.grids import prolong, restrict


def check_cells(n: int, ndim: int) -> None:
    """Raise ValueError unless `n` cells along each of `ndim` axes make a grid of this module."""
    if ndim not in (1, 2):
        raise ValueError(f"ndim must be 1 or 2, got {ndim!r}.")
    if not isinstance(n, Integral) or n < 2:
        raise ValueError(f"n must be an integer of at least 2, the cells along an axis, got {n!r}.")


def centres(n: int) -> np.ndarray:
    """Return the cell centres (i − ½) h of n cells of width h = 1/n on [0, 1], shape (n,).

    Examples
    --------
    >>> centres(4)
    array([0.125, 0.375, 0.625, 0.875])
    """
    check_cells(n, 1)
    return (np.arange(n) + 0.5) / n


def poisson_matrix(n: int, ndim: int = 1) -> sp.csr_array:
    """Return A of (2.11) for −Δ with u = 0 on the boundary, second order at cell centres.

    Parameters
    ----------
    n : int
        Cells along each of the `ndim` axes, 1 or 2; the cell width is h = 1/n.

    Returns
    -------
    csr_array, shape (nᵈ, nᵈ)
        Symmetric positive definite.  Its rows are [−1, 2, −1]/h² along each axis; next to the
        boundary the ghost cell is minus the cell itself, which makes the diagonal 3/h².

    Examples
    --------
    >>> (poisson_matrix(4) / 16).toarray()
    array([[ 3., -1.,  0.,  0.],
           [-1.,  2., -1.,  0.],
           [ 0., -1.,  2., -1.],
           [ 0.,  0., -1.,  3.]])
    """
    check_cells(n, ndim)
    diagonal = np.full(n, 2.0)
    diagonal[[0, -1]] += 1.0
    off = np.full(n - 1, -1.0)
    line = sp.diags_array([off, diagonal, off], offsets=[-1, 0, 1], format="csr") * float(n * n)
    if ndim == 1:
        return line
    same = sp.eye_array(n)
    return (sp.kron(line, same) + sp.kron(same, line)).tocsr()


def smooth_problem(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the solution and the right-hand side of a test problem at the n² cell centres.

    u = (x² − x⁴)(y⁴ − y²), which is 0 on the boundary, and
    f = −Δu = 2 [(1 − 6x²) y² (1 − y²) + (1 − 6y²) x² (1 − x²)]  (Briggs, Henson & McCormick,
    *A Multigrid Tutorial*, ch. 4; its sign is easily lost).

    Returns
    -------
    u, f : ndarray, shape (n²,)
    """
    check_cells(n, 2)
    x, y = np.meshgrid(centres(n), centres(n), indexing="ij")
    x2, y2 = (x**2).ravel(), (y**2).ravel()
    u = -x2 * (1 - x2) * y2 * (1 - y2)
    f = 2 * ((1 - 6 * x2) * y2 * (1 - y2) + (1 - 6 * y2) * x2 * (1 - x2))
    return u, f


def restriction_matrix(n: int, ndim: int = 1) -> sp.csr_array:
    """Return R, the mean over 2ᵈ cells, from n to n/2 cells along each axis (thesis §3.1.4).

    Returns
    -------
    csr_array, shape ((n/2)ᵈ, nᵈ)

    Raises
    ------
    ValueError
        If `n` is odd.

    Examples
    --------
    >>> restriction_matrix(4).toarray()
    array([[0.5, 0.5, 0. , 0. ],
           [0. , 0. , 0.5, 0.5]])
    """
    check_cells(n, ndim)
    return _power(restrict(torch.eye(n, dtype=torch.float64), ndim=1).T, ndim)


def prolongation_matrix(
    n: int, ndim: int = 1, prolongation: str = "bilinear", boundary: str = "odd"
) -> sp.csr_array:
    """Return P from n/2 to n cells along each axis (thesis §3.1.4).

    Parameters
    ----------
    n : int
        Cells along an axis of the fine grid, even.
    prolongation : {"bilinear", "constant"}
        As in :func:`mgcore.grids.prolong` (bilinear is linear in one dimension).
    boundary : {"odd", "clamp", "periodic"}
        Values of the bilinear P beyond the boundary.  ``"odd"`` is consistent with u = 0;
        ``"clamp"``, the choice of image processing, does not converge here.

    Returns
    -------
    csr_array, shape (nᵈ, (n/2)ᵈ)

    Examples
    --------
    >>> prolongation_matrix(4).toarray()
    array([[0.5 , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 0.5 ]])
    """
    check_cells(n, ndim)
    if n % 2:
        raise ValueError(f"n must be even, as a coarse cell is two fine ones, got {n!r}.")
    unit = torch.eye(n // 2, dtype=torch.float64)
    return _power(prolong(unit, prolongation, ndim=1, boundary=boundary).T, ndim)


def _power(line: torch.Tensor, ndim: int) -> sp.csr_array:
    """Return a transfer along one axis as the transfer along `ndim` axes: a Kronecker power."""
    one = sp.csr_array(line.numpy())
    return one if ndim == 1 else sp.kron(one, one).tocsr()


def jacobi(
    a: sp.sparray, u: np.ndarray, f: np.ndarray, sweeps: int = 1, omega: float = 2 / 3
) -> np.ndarray:
    """Relax by damped Jacobi: u + ω D⁻¹ (f − A u), D the diagonal of A, `sweeps` times.

    Every cell is set from the old values of its neighbours.

    Parameters
    ----------
    a : sparse array, shape (m, m)
    u, f : ndarray, shape (m,) or (m, k)
        The approximation and the right-hand side; k of them are relaxed side by side.
    sweeps : int
    omega : float
        Damping in (0, 1].  ⅔ in one dimension and ⅘ in two minimise the largest factor of the
        oscillatory modes; 1 does not damp the most oscillatory mode at all.

    Returns
    -------
    ndarray, shaped as `u`
        A new array.

    Examples
    --------
    >>> jacobi(poisson_matrix(4), np.array([1.0, -1.0, 1.0, -1.0]), np.zeros(4)).round(2)
    array([ 0.11,  0.33, -0.33, -0.11])
    """
    if not 0 < omega <= 1:
        raise ValueError(f"omega must be in (0, 1], got {omega!r}.")
    scale = (omega / a.diagonal()).reshape(-1, *[1] * (u.ndim - 1))  # one value a row of u
    for _ in _each(sweeps):
        u = u + scale * (f - a @ u)
    return u


def gauss_seidel(a: sp.sparray, u: np.ndarray, f: np.ndarray, sweeps: int = 1) -> np.ndarray:
    """Relax by Gauss–Seidel: u + L⁻¹ (f − A u), L the lower triangle of A, `sweeps` times.

    Every cell is set from the newest values of its neighbours, in the order of the array.
    Parameters are those of :func:`jacobi`; there is no damping.

    Examples
    --------
    >>> gauss_seidel(poisson_matrix(4), np.array([1.0, -1.0, 1.0, -1.0]), np.zeros(4)).round(2)
    array([-0.33,  0.33, -0.33, -0.11])
    """
    # Neither reordered nor pivoted, the factors of a triangle are the triangle itself.
    lower = splu(sp.tril(a, format="csc"), permc_spec="NATURAL", diag_pivot_thresh=0.0)
    for _ in _each(sweeps):
        u = u + lower.solve(f - a @ u)
    return u


def _each(sweeps: int) -> range:
    if not isinstance(sweeps, Integral) or sweeps < 0:
        raise ValueError(f"sweeps must be an integer of at least 0, got {sweeps!r}.")
    return range(sweeps)


def mode(k: int, n: int) -> np.ndarray:
    """Return the k-th error mode sin(kπx) at the n cell centres, k = 1, ..., n, shape (n,).

    The modes are the eigenvectors of :func:`poisson_matrix` in one dimension, with eigenvalues
    (4/h²) sin²(kπh/2).  On the grid the first half of them is smooth, the second half oscillatory.

    Examples
    --------
    >>> mode(4, 4).round(3)
    array([ 1., -1.,  1., -1.])
    """
    check_cells(n, 1)
    if not isinstance(k, Integral) or not 1 <= k <= n:
        raise ValueError(f"k must be an integer from 1 to n={n}, got {k!r}.")
    return np.sin(k * np.pi * centres(n))


def amplitudes(e: np.ndarray) -> np.ndarray:
    """Return the amplitudes of the modes of an error, e = Σ c_k sin(kπx), a sine transform.

    Parameters
    ----------
    e : ndarray, shape (n,)
        Values at the cell centres; the result c_1, ..., c_n has its shape.

    Examples
    --------
    >>> amplitudes(3 * mode(1, 8) - mode(5, 8)).round(12) + 0.0
    array([ 3.,  0.,  0.,  0., -1.,  0.,  0.,  0.])
    """
    c = scipy.fft.dst(np.asarray(e, dtype=np.float64), type=2) / len(e)
    c[-1] /= 2  # the mode that alternates is twice as long as the others
    return c
