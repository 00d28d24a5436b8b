"""Local Fourier analysis, against published factors and against matrices on periodic grids."""

from itertools import product

import numpy as np
import pytest
import torch

from mgcore.grids import prolong, restrict
from mgcore.multigrid.cycles import build_levels, convergence_factor, two_grid
from mgcore.multigrid.local_fourier import (
    OMEGA,
    relaxation_symbol,
    smoothing_factor,
    two_grid_factor,
    two_grid_symbol,
)
from mgcore.multigrid.poisson import gauss_seidel, jacobi, poisson_matrix

REFERENCE = {  # notes: one to four sweeps, damping 2/3 and 4/5
    (1, "bilinear", "galerkin"): (0.333, 0.111, 0.079, 0.062),
    (1, "constant", "galerkin"): (0.333, 0.556, 0.481, 0.506),
    (1, "constant", "rediscretised"): (0.577, 0.333, 0.192, 0.111),
    (2, "bilinear", "galerkin"): (0.600, 0.360, 0.216, 0.130),
    (2, "constant", "galerkin"): (0.600, 0.520, 0.503, 0.499),
}


def periodic(n: int, ndim: int, prolongation: str, coarse: str):
    """A, R, P and the coarse A on a circle or torus, dense, without the matrices under test."""

    def power(matrix):
        return matrix if ndim == 1 else np.kron(matrix, matrix)

    def laplacian(cells):
        line = cells**2 * (2 * np.eye(cells) - np.roll(np.eye(cells), 1, 0)
                           - np.roll(np.eye(cells), -1, 0))  # fmt: skip
        same = np.eye(cells)
        return line if ndim == 1 else np.kron(line, same) + np.kron(same, line)

    r = power(restrict(torch.eye(n).double(), ndim=1).numpy().T)
    p = power(prolong(torch.eye(n // 2).double(), prolongation, 1, "periodic").numpy().T)
    a = laplacian(n)
    return a, r, p, r @ a @ p if coarse == "galerkin" else laplacian(n // 2)


# --- two-grid -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", REFERENCE)
@pytest.mark.parametrize("sweeps", [1, 2, 3, 4])
def test_factors_of_the_reference_table(case, sweeps):
    """Constant P on the square has its supremum at θ → 0; the reference stops at θ = π/64."""
    ndim, prolongation, coarse = case
    expected = REFERENCE[case][sweeps - 1]
    options = {"prolongation": prolongation, "coarse": coarse}
    if case == (2, "constant", "galerkin"):
        theta = np.array(list(product(np.pi / 64 * np.arange(1, 33), repeat=2)))
        values = np.linalg.eigvals(two_grid_symbol(theta, sweeps, **options))
        assert np.abs(values).max() == pytest.approx(expected, abs=5e-4)
        limit = 0.5 * (1 + (-0.6 if sweeps == 1 else 0.2) ** sweeps)
        assert two_grid_factor(sweeps, ndim, **options) >= max(limit, expected - 5e-4) - 1e-4
        assert two_grid_factor(sweeps, ndim, **options) < expected + 0.002
    else:
        assert two_grid_factor(sweeps, ndim, **options) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("coarse", ["galerkin", "rediscretised"])
@pytest.mark.parametrize("prolongation", ["bilinear", "constant"])
@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize("sweeps", [0, 1, 3])
def test_eigenvalues_are_those_of_the_matrix_on_a_periodic_grid(sweeps, ndim, prolongation, coarse):
    n, omega = 8, 0.7
    a, r, p, coarser = periodic(n, ndim, prolongation, coarse)
    relax = np.eye(n**ndim) - omega * a / a[0, 0]
    correction = np.eye(n**ndim) - p @ np.linalg.pinv(coarser, rcond=1e-10) @ r @ a
    matrix = correction @ np.linalg.matrix_power(relax, sweeps)
    # The constant is in the kernel of A, and its group is not analysed: project the group out.
    smooth = np.arange(-n // 4, n // 4)
    theta = np.array([t for t in product(2 * np.pi * smooth / n, repeat=ndim) if any(t)])
    found = np.linalg.eigvals(two_grid_symbol(theta, sweeps, omega, prolongation, coarse)).ravel()
    signs = [np.array([1.0, -1.0] * (n // 2)), np.ones(n)]
    for group in product(signs, repeat=ndim):
        wave = group[0] if ndim == 1 else np.kron(*group)
        matrix = matrix - np.outer(matrix @ wave, wave) / n**ndim
    zeros = np.zeros(2**ndim)
    expected = np.linalg.eigvals(matrix)
    assert np.abs(np.sort(np.abs([*found, *zeros])) - np.sort(np.abs(expected))).max() < 2e-7
    powers = [np.sum(found**q) - np.sum(expected**q) for q in (1, 2, 3)]
    assert np.abs(powers).max() < 1e-9


@pytest.mark.parametrize("prolongation", ["bilinear", "constant"])
@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_exact_between_walls_when_jacobi_divides_by_the_inner_diagonal(prolongation, sweeps):
    """Sines are waves reflected at the walls, so that only Jacobi's diagonal there differs."""
    n = 32
    levels = build_levels(n, 1, prolongation, coarsest=n // 2)

    def inner(a, u, f, sweeps):
        for _ in range(sweeps):
            u = u + (2 / 3) * (f - a @ u) / (2 * n**2)
        return u

    measured = convergence_factor(lambda e: two_grid(levels, e, 0 * e, sweeps, 0, inner), n)
    theta = np.pi / n * np.arange(1, n // 2 + 1)[:, None]
    predicted = np.abs(
        np.linalg.eigvals(two_grid_symbol(theta, sweeps, prolongation=prolongation))
    ).max()
    assert measured == pytest.approx(predicted, abs=1e-7)


@pytest.mark.parametrize("sweeps", [1, 2, 3, 4])
def test_closed_forms_on_the_line(sweeps):
    """With x = sin² θ/2: |x σᵛ + (1 − x) σ'ᵛ|, ½|σᵛ + σ'ᵛ| and |σ σ'|^(ν/2)."""
    x = np.linspace(1e-8, 0.5, 2001)
    low, high = (1 - 4 / 3 * x) ** sweeps, (1 - 4 / 3 * (1 - x)) ** sweeps
    forms = {
        ("bilinear", "galerkin"): np.abs(x * low + (1 - x) * high),
        ("constant", "galerkin"): np.abs(low + high) / 2,
        ("constant", "rediscretised"): np.sqrt(np.abs(low * high)),
    }
    for (prolongation, coarse), values in forms.items():
        found = two_grid_factor(sweeps, 1, prolongation=prolongation, coarse=coarse)
        assert found == pytest.approx(values.max(), abs=1e-4)


# --- relaxation -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize(("name", "relax"), [("jacobi", jacobi), ("gauss-seidel", gauss_seidel)])
def test_symbol_is_what_a_sweep_does_far_from_walls(ndim, name, relax):
    n, theta = 64, np.array([0.9, -2.3])[:ndim]
    phase = sum(t * axis for t, axis in zip(theta, np.indices([n] * ndim), strict=True)).ravel()
    wave = np.stack([np.cos(phase), np.sin(phase)], axis=1)  # exp(iθ·x/h), as two columns
    options = {"omega": OMEGA[ndim]} if name == "jacobi" else {}
    after = relax(poisson_matrix(n, ndim), wave, np.zeros_like(wave), **options) @ [1, 1j]
    middle = np.ravel_multi_index([n // 2] * ndim, [n] * ndim)
    ratio = after[middle] / np.exp(1j * phase[middle])
    # Gauss-Seidel carries what the wall does into the grid, ever weaker.
    assert abs(ratio - relaxation_symbol(theta, name)) < (1e-12 if name == "jacobi" else 1e-4)


@pytest.mark.parametrize(
    ("ndim", "relaxation", "omega", "factor"),
    [(1, "jacobi", None, 1 / 3), (1, "jacobi", 1.0, 1), (1, "jacobi", 0.5, 1 / 2),
     (2, "jacobi", None, 3 / 5), (2, "jacobi", 1.0, 1),
     (1, "gauss-seidel", None, 1 / 5**0.5), (2, "gauss-seidel", None, 1 / 2)],
)  # fmt: skip
def test_known_smoothing_factors(ndim, relaxation, omega, factor):
    assert smoothing_factor(ndim, relaxation, omega) == pytest.approx(factor, abs=2e-4)


@pytest.mark.parametrize("ndim", [1, 2])
def test_default_damping_is_the_best(ndim):
    scanned = {omega: smoothing_factor(ndim, omega=omega) for omega in np.linspace(0.3, 1, 29)}
    best = min(scanned, key=scanned.get)
    assert best == pytest.approx(OMEGA[ndim], abs=0.025)
    assert smoothing_factor(ndim) <= min(scanned.values())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: smoothing_factor(3), "ndim must be 1 or 2, got 3."),
        (lambda: two_grid_factor(ndim=0), "ndim must be 1 or 2, got 0."),
        (lambda: relaxation_symbol(np.array(0.5)), "ndim must be 1 or 2, got 0."),
        (lambda: smoothing_factor(1, "sor"),
         "relaxation must be 'jacobi' or 'gauss-seidel', got 'sor'."),
        (lambda: two_grid_factor(prolongation="cubic"),
         "prolongation must be 'bilinear' or 'constant', got 'cubic'."),
        (lambda: two_grid_factor(coarse="geometric"),
         "coarse must be 'galerkin' or 'rediscretised', got 'geometric'."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert sentence in str(raised.value)
