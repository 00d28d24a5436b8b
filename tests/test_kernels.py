"""The Galerkin map and the classifier, against closed forms and R K P as dense matrices."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mgcore.grids import prolong, restrict
from mgcore.kernels import (
    coarsen_classifier,
    coarsen_kernel,
    galerkin_map,
    refine_classifier,
    refine_kernel,
)

KINDS = ("bilinear", "constant")
M1 = {
    "bilinear": [[0.5, 0.125, 0], [0.5, 0.75, 0.5], [0, 0.125, 0.5]],
    "constant": [[0.5, 0, 0], [0.5, 1, 0.5], [0, 0, 0.5]],
}
M1_INVERSE = {
    "bilinear": [[2.5, -0.5, 0.5], [-2, 2, -2], [0.5, -0.5, 2.5]],
    "constant": [[2, 0, 0], [-1, 1, -1], [0, 0, 2]],
}


def random(shape, rng):
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def conv_matrix(stencil: np.ndarray, n: int, periodic: bool) -> np.ndarray:
    """Correlation with a 3x3 stencil on an n x n grid as a matrix, entry by entry."""
    matrix = np.zeros((n * n, n * n))
    for r in range(n):
        for c in range(n):
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    if periodic or (0 <= r + i < n and 0 <= c + j < n):
                        column = (r + i) % n * n + (c + j) % n
                        matrix[r * n + c, column] += stencil[i + 1, j + 1]
    return matrix


def prolongation_matrix(kind: str, n: int, periodic: bool) -> np.ndarray:
    """P from n to 2n cells in one dimension, from its weights."""
    matrix = np.zeros((2 * n, n))
    for k in range(n):
        for side in (0, 1):
            if kind == "constant":
                matrix[2 * k + side, k] += 1
                continue
            neighbour = k + (-1, 1)[side]
            neighbour = neighbour % n if periodic else min(max(neighbour, 0), n - 1)
            matrix[2 * k + side, k] += 0.75
            matrix[2 * k + side, neighbour] += 0.25
    return matrix


def coarse_operator(stencil: np.ndarray, kind: str, n: int, periodic: bool) -> np.ndarray:
    """R K P on an n x n coarse grid."""
    p = prolongation_matrix(kind, n, periodic)
    r = np.kron(np.eye(n), [[0.5, 0.5]])
    k = conv_matrix(stencil, 2 * n, periodic)
    return np.kron(r, r) @ k @ np.kron(p, p)


@pytest.mark.parametrize("kind", KINDS)
def test_map_and_inverse_in_closed_form(kind):
    assert np.abs(galerkin_map(kind, 1).numpy() - M1[kind]).max() < 1e-15
    assert galerkin_map(kind).dtype == torch.float64
    inverse = refine_kernel(torch.eye(3).double(), kind, ndim=1).T.numpy()
    assert np.abs(inverse - M1_INVERSE[kind]).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_more_dimensions_are_kronecker_powers(kind):
    one = np.array(M1[kind])
    assert np.abs(galerkin_map(kind, 2).numpy() - np.kron(one, one)).max() < 1e-12
    cube = np.kron(np.kron(one, one), one)
    assert np.abs(galerkin_map(kind, 3).numpy() - cube).max() < 1e-12
    inverse = np.array(M1_INVERSE[kind])
    refined = refine_kernel(torch.eye(9).double().reshape(9, 3, 3), kind).reshape(9, 9).T
    assert np.abs(refined.numpy() - np.kron(inverse, inverse)).max() < 1e-12


@pytest.mark.parametrize(
    ("kind", "vector", "value"),
    [
        ("bilinear", [1, 4, 1], 1.0),
        ("bilinear", [-1, 0, 1], 0.5),
        ("bilinear", [1, -2, 1], 0.25),
        ("constant", [0, 1, 0], 1.0),
        ("constant", [-1, 0, 1], 0.5),
        ("constant", [1, -2, 1], 0.5),
    ],
)
def test_eigenpairs(kind, vector, value):
    x = torch.tensor(vector).double()
    assert (galerkin_map(kind, 1) @ x - value * x).abs().max() < 1e-12
    assert (coarsen_kernel(x, kind, 1) - value * x).abs().max() < 1e-12
    assert (refine_kernel(x, kind, 1) - x / value).abs().max() < 1e-12


@pytest.mark.parametrize(("kind", "condition", "growth"), [
    ("bilinear", 26.85, 8.5), ("constant", 10.15, 3.67),
])  # fmt: skip
def test_condition_and_growth_of_random_stencils(kind, condition, growth):
    m = galerkin_map(kind).numpy()
    assert np.linalg.cond(m) == pytest.approx(condition, abs=0.005)
    rms = np.linalg.norm(np.linalg.inv(m)) / 3  # of iid entries: the Frobenius norm over sqrt(9)
    assert rms == pytest.approx(growth, abs=0.05)


def test_the_thesis_basis_is_not_diagonal():
    mass = torch.tensor([1.0, 2.0, 1.0]).double() / 4
    assert coarsen_kernel(mass, ndim=1).tolist() == [3 / 16, 10 / 16, 3 / 16]
    assert torch.allclose(refine_kernel(mass, ndim=1), torch.tensor([0.5, 0, 0.5]).double())


@pytest.mark.parametrize("kind", KINDS)
def test_coarse_operator_is_the_coarse_stencil_on_a_periodic_grid(kind, rng):
    stencil = random((3, 3), rng)
    coarse = coarsen_kernel(stencil, kind).numpy()
    rkp = coarse_operator(stencil.numpy(), kind, 8, periodic=True)
    assert np.abs(rkp - conv_matrix(coarse, 8, periodic=True)).max() < 1e-12


@pytest.mark.parametrize(("kind", "differing"), [("bilinear", 52), ("constant", 0)])
def test_zero_padding_leaves_the_edge_rows_inexact_only_for_bilinear(kind, differing, rng):
    """52 of 196 rows, those at the edge of 14 x 14, where P clamps; none with constant P."""
    stencil = random((3, 3), rng)
    coarse = coarsen_kernel(stencil, kind).numpy()
    rkp = coarse_operator(stencil.numpy(), kind, 14, periodic=False)
    rows = np.abs(rkp - conv_matrix(coarse, 14, periodic=False)).max(axis=1) > 1e-12
    assert rows.sum() == differing
    assert not rows.reshape(14, 14)[1:-1, 1:-1].any()


@pytest.mark.parametrize("kind", KINDS)
def test_stencils_act_by_correlation_as_conv2d(kind, rng):
    """R conv(P x) = conv_coarse(x) away from the edge."""
    stencil, x = random((3, 3), rng), random((1, 1, 10, 10), rng)
    fine = restrict(F.conv2d(prolong(x, kind), stencil[None, None], padding=1))
    coarse = F.conv2d(x, coarsen_kernel(stencil, kind)[None, None], padding=1)
    assert (fine - coarse)[..., 1:-1, 1:-1].abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_refining_inverts_coarsening(kind, ndim, rng):
    stencils = random((4, 2, *[3] * ndim), rng)
    there = refine_kernel(stencils, kind, ndim)
    assert (coarsen_kernel(there, kind, ndim) - stencils).abs().max() < 1e-12
    assert (refine_kernel(coarsen_kernel(stencils, kind, ndim), kind, ndim)
            - stencils).abs().max() < 1e-12  # fmt: skip
    assert (refine_kernel(stencils[1, 1], kind, ndim) - there[1, 1]).abs().max() < 1e-12


def test_stencils_keep_dtype_and_are_differentiable(rng):
    x = random((2, 3, 3), rng).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: refine_kernel(t), x)
    assert coarsen_kernel(x.float()).dtype == torch.float32
    changed = galerkin_map("constant", 1)
    changed[:] = 0  # what a caller does to its copy is the caller's
    assert galerkin_map("constant", 1).tolist() == M1["constant"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 4, 2)])
def test_constant_features_give_equal_logits(kind, shape, rng):
    channels, d = 3, len(shape)
    weight = random((5, channels * math.prod(shape)), rng)
    level = random((channels,), rng)
    coarse = level.repeat_interleave(math.prod(shape))
    fine = level.repeat_interleave(math.prod(shape) * 2**d)
    assert (refine_classifier(weight, shape, kind) @ fine - weight @ coarse).abs().max() < 1e-12


def test_constant_prolongation_is_exact_for_all_features(rng):
    """W x = W_fine P x and W R f = W_fine f, both with constant P and 1/4."""
    weight, x, f = random((5, 2 * 12), rng), random((2, 3, 4), rng), random((2, 6, 8), rng)
    fine = refine_classifier(weight, (3, 4), "constant")
    px = prolong(x, "constant").flatten()
    assert (fine @ px - weight @ x.flatten()).abs().max() < 1e-12
    assert (fine @ f.flatten() - weight @ restrict(f).flatten()).abs().max() < 1e-12
    bilinear = refine_classifier(weight, (3, 4), "bilinear")
    assert (bilinear @ f.flatten() - weight @ restrict(f).flatten()).abs().max() > 1e-3


def test_smooth_features_change_bilinear_logits_little():
    at = {n: (torch.arange(n).double() + 0.5) / n for n in (14, 28)}
    x, f = (torch.cos(2 * at[n][:, None]) + at[n] ** 2 for n in (14, 28))
    weight = (torch.sin(3 * at[14][:, None]) * at[14] + 1).reshape(1, -1)
    coarse, fine = weight @ x.flatten(), refine_classifier(weight, (14, 14)) @ f.flatten()
    assert 1e-5 < ((fine - coarse) / coarse).abs().item() < 5e-3


def test_classifier_blocks_are_prolonged_channel_by_channel(rng):
    weight = random((2, 3 * 20), rng)
    fine = refine_classifier(weight, (4, 5), "bilinear", scale=1.0).reshape(2, 3, 8, 10)
    for k in range(2):
        for c in range(3):
            block = weight[k, 20 * c : 20 * (c + 1)].reshape(1, 1, 4, 5)
            expected = F.interpolate(block, scale_factor=2, mode="bilinear", align_corners=False)
            assert (fine[k, c] - expected[0, 0]).abs().max() < 1e-15


def test_the_factor_of_the_thesis_is_one_argument_away(rng):
    weight = random((2, 9), rng)
    default, printed = (refine_classifier(weight, (3, 3), scale=s) for s in (None, 4.0))
    assert torch.allclose(printed, 16 * default, rtol=1e-14)


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 4, 2)])
def test_coarsening_undoes_refining_and_composes_with_constant_prolongation(shape, rng):
    d = len(shape)
    weight = random((5, 2 * math.prod(shape)), rng)
    x = random((2, *(m // 2 for m in shape)), rng)
    coarse = coarsen_classifier(weight, shape)
    composed = weight @ prolong(x, "constant", d).flatten()
    assert (coarse @ x.flatten() - composed).abs().max() < 1e-12
    fine = refine_classifier(weight, shape, "constant")
    back = coarsen_classifier(fine, tuple(2 * m for m in shape))
    assert (back - weight).abs().max() < 1e-12
    assert torch.allclose(coarsen_classifier(weight, shape, scale=1.0) * 2**d, coarse)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: refine_kernel(torch.zeros(8, 5, 5)), ValueError,
         "stencil must have last axes (3, 3), got (5, 5): only kernels three cells wide keep their "
         "width under the Galerkin condition for both prolongations."),
        (lambda: coarsen_kernel(torch.zeros(3, 1)), ValueError,
         "stencil must have last axes (3, 3), got (3, 1): only kernels three cells wide keep their "
         "width under the Galerkin condition for both prolongations."),
        (lambda: coarsen_kernel(torch.zeros(3, 3, dtype=torch.int64)), TypeError,
         "stencil must be a floating-point torch tensor, got a torch.int64 tensor."),
        (lambda: refine_kernel(np.zeros((3, 3))), TypeError,
         "stencil must be a floating-point torch tensor, got a ndarray."),
        (lambda: refine_kernel(torch.zeros(3, 3), "linear"), ValueError,
         "prolongation must be 'bilinear' or 'constant', got 'linear'."),
        (lambda: galerkin_map("linear"), ValueError,
         "prolongation must be 'bilinear' or 'constant', got 'linear'."),
        (lambda: galerkin_map(ndim=4), ValueError,
         "ndim must be 1, 2 or 3, got 4."),
        (lambda: refine_classifier(torch.zeros(10, 100), (14, 14)), ValueError,
         "weight must have a multiple of the 196 cells of shape=(14, 14) as its width, one block "
         "for each channel, got 100."),
        (lambda: coarsen_classifier(torch.zeros(10, 100), (14, 14)), ValueError,
         "weight must have a multiple of the 196 cells of shape=(14, 14) as its width, one block "
         "for each channel, got 100."),
        (lambda: coarsen_classifier(torch.zeros(10, 98), (7, 14)), ValueError,
         "x must have grid axes of even size, two fine cells to a coarse one, got (7, 14)."),
        (lambda: refine_classifier(torch.zeros(196), (14, 14)), ValueError,
         "weight must be a tensor (classes, channels · cells), got (196,)."),
        (lambda: refine_classifier(torch.zeros(10, 4), (2, 0)), ValueError,
         "shape must be one to three positive integers, got (2, 0)."),
        (lambda: refine_classifier(torch.zeros(10, 4), (2, 2), "cubic"), ValueError,
         "kind must be 'bilinear' or 'constant', got 'cubic'."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, error, sentence):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == sentence
