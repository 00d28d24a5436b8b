"""The model problem and relaxation, against closed forms, loops and Taylor's order."""

import numpy as np
import pytest
import torch

from mgcore.grids import prolong, restrict
from mgcore.multigrid.poisson import (
    amplitudes,
    centres,
    gauss_seidel,
    jacobi,
    mode,
    poisson_matrix,
    prolongation_matrix,
    restriction_matrix,
    smooth_problem,
)


@pytest.fixture
def numbers():
    return np.random.default_rng(20190506)


def assembled(n: int, ndim: int) -> np.ndarray:
    """−Δ with ghost cells of minus the value inside, entry by entry."""
    a = np.zeros((n**ndim, n**ndim))
    for row, cell in enumerate(np.ndindex(*[n] * ndim)):
        for axis in range(ndim):
            for step in (-1, 1):
                a[row, row] += n * n
                there = list(cell)
                there[axis] += step
                if 0 <= there[axis] < n:
                    a[row, np.ravel_multi_index(there, [n] * ndim)] -= n * n
                else:
                    a[row, row] += n * n  # minus minus the value itself
    return a


# --- the equation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "ndim"), [(2, 1), (7, 1), (2, 2), (5, 2)])
def test_matrix_entry_by_entry(n, ndim):
    assert np.array_equal(poisson_matrix(n, ndim).toarray(), assembled(n, ndim))


@pytest.mark.parametrize("n", [2, 8, 15])
def test_modes_are_eigenvectors_walls_included(n):
    a = poisson_matrix(n)
    for k in range(1, n + 1):
        value = 4 * n**2 * np.sin(k * np.pi / (2 * n)) ** 2
        assert np.abs(a @ mode(k, n) - value * mode(k, n)).max() < 1e-11 * n**2


def test_products_of_modes_are_eigenvectors_on_the_square():
    n, k, l = 6, 2, 5
    wave = np.outer(mode(k, n), mode(l, n)).ravel()
    value = 4 * n**2 * sum(np.sin(j * np.pi / (2 * n)) ** 2 for j in (k, l))
    assert np.abs(poisson_matrix(n, 2) @ wave - value * wave).max() < 1e-10


def order(error: dict[int, float]) -> float:
    return float(-np.polyfit(np.log(list(error)), np.log(list(error.values())), 1)[0])


def test_line_is_second_order():
    error = {}
    for n in (32, 64, 128, 256):
        x = centres(n)
        u = x * (1 - x) * np.exp(x)
        f = x * (3 + x) * np.exp(x)  # −u″
        error[n] = np.abs(np.linalg.solve(poisson_matrix(n).toarray(), f) - u).max()
    assert order(error) == pytest.approx(2, abs=0.02)


def test_square_is_second_order_for_the_published_problem_with_the_right_sign():
    from scipy.sparse.linalg import spsolve

    right, wrong = {}, {}
    for n in (16, 32, 64):
        u, f = smooth_problem(n)
        found = spsolve(poisson_matrix(n, 2).tocsc(), f)
        right[n] = np.sqrt(np.mean((found - u) ** 2))
        wrong[n] = np.sqrt(np.mean((-found - u) ** 2)) / np.sqrt(np.mean(u**2))
    assert order(right) == pytest.approx(2, abs=0.02)
    assert min(wrong.values()) > 1.99  # converges, to −u


def test_published_problem_is_minus_the_laplacian_of_its_solution():
    """By the product of polynomials, not by the formula that is tested."""
    px, py = np.polynomial.Polynomial([0, 0, 1, 0, -1]), np.polynomial.Polynomial([0, 0, -1, 0, 1])
    n = 5
    x, y = np.meshgrid(centres(n), centres(n), indexing="ij")
    u, f = smooth_problem(n)
    assert np.abs(u - (px(x) * py(y)).ravel()).max() < 1e-15
    minus = -(px.deriv(2)(x) * py(y) + px(x) * py.deriv(2)(y)).ravel()
    assert np.abs(f - minus).max() < 1e-14


# --- transfers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bilinear", "constant"])
@pytest.mark.parametrize("boundary", ["odd", "clamp", "periodic"])
def test_transfers_are_those_of_images(kind, boundary, numbers):
    fine, coarse = numbers.normal(size=(8, 8)), numbers.normal(size=(4, 4))
    r, p = restriction_matrix(8, 2), prolongation_matrix(8, 2, kind, boundary)
    assert np.abs(r @ fine.ravel() - restrict(torch.from_numpy(fine)).numpy().ravel()).max() < 1e-15
    expected = prolong(torch.from_numpy(coarse), kind, boundary=boundary).numpy().ravel()
    assert np.abs(p @ coarse.ravel() - expected).max() < 1e-15
    # Shapes alone would not tell rows from columns.
    assert np.abs(r @ fine.T.ravel() - r @ fine.ravel()).max() > 0.1


@pytest.mark.parametrize(("kind", "power"), [("bilinear", 3), ("constant", 1)])
def test_transfers_of_modes_in_closed_form(kind, power):
    """A pair K, n − K looks the same on the coarse grid; with s, c the sine and cosine of Kπh/2."""
    n = 16
    r, p = restriction_matrix(n), prolongation_matrix(n, 1, kind)
    for k in range(1, n // 2 + 1):
        s, c = np.sin(k * np.pi / (2 * n)), np.cos(k * np.pi / (2 * n))
        assert np.abs(r @ mode(k, n) - c * mode(k, n // 2)).max() < 1e-13
        assert np.abs(r @ mode(n - k, n) - s * mode(k, n // 2)).max() < 1e-13
        expected = c**power * mode(k, n) + s**power * mode(n - k, n)
        assert np.abs(p @ mode(k, n // 2) - expected).max() < 1e-13


@pytest.mark.parametrize(
    ("kind", "boundary", "times", "corner"),
    [("bilinear", "odd", 1, 3), ("constant", "odd", 2, 6), ("bilinear", "clamp", 1, 5)],
)
def test_galerkin_operator_on_the_line(kind, boundary, times, corner):
    """Linear P gives Poisson's matrix again, constant P twice it; clamping spoils the wall."""
    n = 16
    coarse = restriction_matrix(n) @ poisson_matrix(n) @ prolongation_matrix(n, 1, kind, boundary)
    expected = times * poisson_matrix(n // 2).toarray()
    expected[[0, -1], [0, -1]] = corner * (n // 2) ** 2
    assert np.abs(coarse.toarray() - expected).max() < 1e-10


def test_galerkin_operator_on_the_square_is_the_sum_of_two_products():
    n = 8
    r, p, a = restriction_matrix(n), prolongation_matrix(n), poisson_matrix(n // 2).toarray()
    mass = (r @ p).toarray()
    assert np.abs(mass[1, :3] - [1 / 8, 6 / 8, 1 / 8]).max() < 1e-15
    coarse = restriction_matrix(n, 2) @ poisson_matrix(n, 2) @ prolongation_matrix(n, 2)
    assert np.abs(coarse.toarray() - np.kron(a, mass) - np.kron(mass, a)).max() < 1e-10


# --- relaxation -----------------------------------------------------------------------------------


def test_jacobi_by_a_loop(numbers):
    a, u, f = assembled(5, 1), numbers.normal(size=5), numbers.normal(size=5)
    old, new = u.copy(), np.empty(5)
    for _ in range(3):
        for i in range(5):
            rest = sum(a[i, j] * old[j] for j in range(5) if j != i)
            new[i] = 0.3 * old[i] + 0.7 * (f[i] - rest) / a[i, i]
        old = new.copy()
    before = u.copy()
    assert np.abs(jacobi(poisson_matrix(5), u, f, 3, omega=0.7) - new).max() < 1e-13
    assert np.array_equal(u, before)


def test_gauss_seidel_by_a_loop(numbers):
    a, u, f = assembled(4, 2), numbers.normal(size=16), numbers.normal(size=16)
    new = u.copy()
    for _ in range(3):
        for i in range(16):
            new[i] = (f[i] - a[i, :i] @ new[:i] - a[i, i + 1 :] @ new[i + 1 :]) / a[i, i]
    before = u.copy()
    assert np.abs(gauss_seidel(poisson_matrix(4, 2), u, f, 3) - new).max() < 1e-13
    assert np.array_equal(u, before)


@pytest.mark.parametrize("relax", [jacobi, gauss_seidel])
@pytest.mark.parametrize("ndim", [1, 2])
def test_relaxation_keeps_the_solution_and_lessens_every_error(relax, ndim, numbers):
    a = poisson_matrix(6, ndim)
    u, e = numbers.normal(size=(2, 6**ndim))
    assert np.abs(relax(a, u, a @ u, 4) - u).max() < 1e-13
    after = relax(a, u + e, a @ u) - u
    assert after @ (a @ after) < e @ (a @ e)  # in the energy, which both of them minimise in part
    assert np.array_equal(relax(a, e, u, 0), e)


@pytest.mark.parametrize("relax", [jacobi, gauss_seidel])
def test_columns_are_relaxed_side_by_side(relax, numbers):
    a, u, f = poisson_matrix(8), numbers.normal(size=(8, 3)), numbers.normal(size=(8, 3))
    columns = [relax(a, u[:, j], f[:, j], 2) for j in range(3)]
    assert np.abs(relax(a, u, f, 2) - np.stack(columns, axis=1)).max() < 1e-15


def test_jacobi_damps_a_wave_by_the_textbook_factor_away_from_walls():
    n, k, omega = 64, 40, 0.5
    after = jacobi(poisson_matrix(n), mode(k, n), np.zeros(n), 5, omega)
    factor = (1 - 2 * omega * np.sin(k * np.pi / (2 * n)) ** 2) ** 5
    assert np.abs(after - factor * mode(k, n))[5:-5].max() < 1e-14  # a sweep sees one cell further
    assert np.abs(after - factor * mode(k, n)).max() > 1e-3  # at a wall the diagonal differs


# --- modes ----------------------------------------------------------------------------------------


def test_amplitudes_are_the_coefficients_of_modes(numbers):
    e = numbers.normal(size=12)
    c = amplitudes(e)
    assert np.abs(sum(c[k - 1] * mode(k, 12) for k in range(1, 13)) - e).max() < 1e-14
    assert np.abs(amplitudes(mode(12, 12)) - np.eye(12)[-1]).max() < 1e-15


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: poisson_matrix(1),
         "n must be an integer of at least 2, the cells along an axis, got 1."),
        (lambda: poisson_matrix(8.0),
         "n must be an integer of at least 2, the cells along an axis, got 8.0."),
        (lambda: poisson_matrix(8, 3), "ndim must be 1 or 2, got 3."),
        (lambda: prolongation_matrix(7),
         "n must be even, as a coarse cell is two fine ones, got 7."),
        (lambda: prolongation_matrix(8, 1, "linear"),
         "kind must be 'bilinear' or 'constant', got 'linear'."),
        (lambda: restriction_matrix(7),
         "x must have grid axes of even size, two fine cells to a coarse one, got (7,)."),
        (lambda: mode(0, 8), "k must be an integer from 1 to n=8, got 0."),
        (lambda: mode(9, 8), "k must be an integer from 1 to n=8, got 9."),
        (lambda: jacobi(poisson_matrix(4), np.ones(4), np.ones(4), omega=1.5),
         "omega must be in (0, 1], got 1.5."),
        (lambda: jacobi(poisson_matrix(4), np.ones(4), np.ones(4), sweeps=-1),
         "sweeps must be an integer of at least 0, got -1."),
        (lambda: gauss_seidel(poisson_matrix(4), np.ones(4), np.ones(4), sweeps=1.5),
         "sweeps must be an integer of at least 0, got 1.5."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, sentence):
    with pytest.raises(ValueError) as raised:
        call()
    assert sentence in str(raised.value)
