"""Multigrid on the model problem: two-grid, V-cycle, nested iteration (thesis §2.4).

Relaxation leaves a smooth error.  A grid with half as many cells along each axis represents a
smooth error well, at a lower cost, and there the error is more oscillatory.  The equation of the
error, A e = r, is therefore solved on the coarse grid, and its solution is prolonged and added.
The two-grid method solves it exactly, the V-cycle solves it by the same method again, and nested
iteration starts on the coarsest grid so that every
grid starts from a good approximation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, eigs, splu

from mgcore.multigrid.poisson import jacobi, poisson_matrix, prolongation_matrix, restriction_matrix

COARSE_OPERATORS = ("galerkin", "rediscretised")

Relaxation = Callable[[sp.sparray, np.ndarray, np.ndarray, int], np.ndarray]


@dataclass(frozen=True, eq=False)
class GridLevel:
    """One grid: its operator, and the transfers between it and the next coarser one.

    `r` and `p` are None on the coarsest one, whose equations are solved exactly.
    """

    n: int
    ndim: int
    a: sp.csr_array
    r: sp.csr_array | None = None
    p: sp.csr_array | None = None

    @cached_property
    def _factors(self):
        return splu(self.a.tocsc())

    def solve(self, f: np.ndarray) -> np.ndarray:
        """Return A⁻¹ f, exactly (up to rounding)."""
        return self._factors.solve(f)


def build_levels(
    n: int,
    ndim: int = 1,
    prolongation: str = "bilinear",
    boundary: str = "odd",
    coarse: str = "galerkin",
    coarsest: int = 4,
) -> list[GridLevel]:
    """Return the grids n, n/2, ..., `coarsest` with their operators, the finest first.

    Parameters
    ----------
    n : int
        Cells along an axis of the finest grid; `coarsest` times a power of two.
    prolongation : {"bilinear", "constant"}
    boundary : {"odd", "clamp"}
        Values of P beyond the boundary (:func:`mgcore.multigrid.poisson.prolongation_matrix`).
    coarse : {"galerkin", "rediscretised"}
        A²ʰ = R Aʰ P (the Galerkin condition, thesis (3.5)), or Poisson's equation discretised
        anew on the coarse grid.
    coarsest : int
        Cells along an axis of the last grid; n/2 gives the two grids of :func:`two_grid`.

    Examples
    --------
    >>> [level.n for level in build_levels(32)]
    [32, 16, 8, 4]
    """
    if coarse not in COARSE_OPERATORS:
        names = " or ".join(repr(name) for name in COARSE_OPERATORS)
        raise ValueError(f"coarse must be {names}, got {coarse!r}.")
    if coarsest < 2 or n % coarsest or int(n // coarsest).bit_count() != 1:
        raise ValueError(
            "coarsest must be at least 2, and n a power of two times coarsest, got "
            f"n={n!r}, coarsest={coarsest!r}."
        )
    levels, a = [], poisson_matrix(n, ndim)
    while n > coarsest:
        r = restriction_matrix(n, ndim)
        p = prolongation_matrix(n, ndim, prolongation, boundary)
        levels.append(GridLevel(n, ndim, a, r, p))
        n //= 2
        a = (r @ a @ p).tocsr() if coarse == "galerkin" else poisson_matrix(n, ndim)
    return [*levels, GridLevel(n, ndim, a)]


def coarse_correction(
    levels: Sequence[GridLevel],
    u: np.ndarray,
    f: np.ndarray,
    solve: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return u + P e, e the solution of A²ʰ e = R (f − A u) on the coarse grid.

    Parameters
    ----------
    levels : sequence of GridLevel
    u, f : ndarray, shape (nᵈ,) or (nᵈ, k)
        The approximation and the right-hand side on the fine grid.
    solve : callable, optional
        Maps the coarse right-hand side to a solution; exactly by default.
    """
    fine, coarse = levels[0], levels[1]
    residual = fine.r @ (f - fine.a @ u)
    return u + fine.p @ (solve or coarse.solve)(residual)


def two_grid(
    levels: Sequence[GridLevel],
    u: np.ndarray,
    f: np.ndarray,
    pre: int = 1,
    post: int = 1,
    relax: Relaxation = jacobi,
) -> np.ndarray:
    """Return u after one step of the two-grid method: relax, correct exactly, relax.

    Parameters
    ----------
    levels : sequence of GridLevel
        From :func:`build_levels`; only the first two are used.
    u, f : ndarray, shape (nᵈ,) or (nᵈ, k)
    pre, post : int
        Sweeps before and after.
    relax : callable
        ``relax(a, u, f, sweeps)``, for instance :func:`mgcore.multigrid.poisson.jacobi`, whose
        damping is ⅔ by default; ``functools.partial(jacobi, omega=4 / 5)`` changes it.

    Examples
    --------
    Ten sweeps alone leave a constant error 1 in the middle; with five corrections:

    >>> levels, e = build_levels(32, coarsest=16), np.ones(32)
    >>> for _ in range(5):
    ...     e = two_grid(levels, e, 0 * e)
    >>> bool(abs(e).max() < 1e-5)
    True
    """
    u = relax(levels[0].a, u, f, pre)
    u = coarse_correction(levels, u, f)
    return relax(levels[0].a, u, f, post)


def v_cycle(
    levels: Sequence[GridLevel],
    u: np.ndarray,
    f: np.ndarray,
    pre: int = 1,
    post: int = 1,
    relax: Relaxation = jacobi,
) -> np.ndarray:
    """Return u after one V(pre, post)-cycle: the two-grid method, its coarse solve a V-cycle.

    Parameters are those of :func:`two_grid`; all `levels` are used, the last solved exactly.
    """
    if len(levels) == 1:
        return levels[0].solve(f)

    def again(residual: np.ndarray) -> np.ndarray:
        return v_cycle(levels[1:], np.zeros_like(residual), residual, pre, post, relax)

    u = relax(levels[0].a, u, f, pre)
    u = coarse_correction(levels, u, f, again)
    return relax(levels[0].a, u, f, post)


def nested_iteration(
    levels: Sequence[GridLevel],
    f: np.ndarray,
    cycles: int = 1,
    pre: int = 1,
    post: int = 1,
    relax: Relaxation = jacobi,
) -> list[np.ndarray]:
    """Solve from the coarsest grid upwards: full multigrid, thesis §2.4's "better initial guess".

    The coarsest equations are solved exactly; then, grid by grid, the approximation is prolonged
    and improved by V-cycles.  One cycle a grid brings the Galerkin hierarchy within the accuracy
    of the discretisation, at a cost proportional to the number of cells.

    Parameters
    ----------
    f : ndarray, shape (nᵈ,)
        The right-hand side on the finest grid; the others take its restriction.
    cycles : int
        V-cycles on each grid; 0 leaves the prolonged coarse solution as it is.

    Returns
    -------
    list of ndarray
        The approximation on each level, the finest first.
    """
    sides = [f]
    for level in levels[:-1]:
        sides.append(level.r @ sides[-1])
    found = [levels[-1].solve(sides[-1])]
    for l in reversed(range(len(levels) - 1)):
        u = levels[l].p @ found[0]
        for _ in range(cycles):
            u = v_cycle(levels[l:], u, sides[l], pre, post, relax)
        found.insert(0, u)
    return found


def work(levels: Sequence[GridLevel], pre: int = 1, post: int = 1) -> float:
    """Return the cost of a V-cycle in work units: sweeps over the finest grid.

    A residual counts as a sweep; transfers and the coarsest solve, both cheaper, as nothing.

    Examples
    --------
    >>> work(build_levels(64, ndim=2, coarsest=8))
    3.9375
    """
    finest = levels[0].n ** levels[0].ndim
    return sum((pre + post + 1) * level.n**level.ndim for level in levels[:-1]) / finest


def convergence_factor(step: Callable[[np.ndarray], np.ndarray], size: int) -> float:
    """Return the factor by which a linear iteration multiplies the error in the long run.

    The spectral radius: from all eigenvalues where they are few, else by Arnoldi's method.

    Parameters
    ----------
    step : callable
        Maps errors (size,) or (size, k) to those after one step: the method with f = 0.
    size : int
        Unknowns.

    Examples
    --------
    >>> levels = build_levels(32, coarsest=16)
    >>> round(convergence_factor(lambda e: two_grid(levels, e, 0 * e), 32), 3)
    0.111
    """
    if size <= 300:
        return float(np.abs(np.linalg.eigvals(step(np.eye(size)))).max())
    operator = LinearOperator((size, size), matvec=lambda e: step(e.ravel()), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    value = eigs(operator, k=1, v0=start, return_eigenvectors=False, tol=1e-5)
    return float(np.abs(value).max())
