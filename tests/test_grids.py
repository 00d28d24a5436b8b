"""Restriction and prolongation, against torch's pooling and interpolation, and matrices."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mgcore import prolong, restrict
from mgcore.grids import pool, pool_adjoint

SHAPES = {1: (2, 3, 10), 2: (2, 3, 8, 6), 3: (2, 3, 4, 6, 8)}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
KINDS = ("bilinear", "constant")


def random(shape, rng):
    return torch.rand(shape, generator=rng, dtype=torch.float64)


def dense(operator, cells):
    """The matrix of a linear operator on vectors of `cells` values, column by column."""
    return np.stack([operator(torch.eye(cells).double()[k]).numpy() for k in range(cells)], axis=1)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_restrict_is_average_pooling(ndim, rng):
    x = random(SHAPES[ndim], rng)
    pooled = getattr(F, f"avg_pool{ndim}d")(x, 2)
    assert torch.allclose(restrict(x, ndim), pooled, rtol=0, atol=1e-15)


def test_pool_is_restrict_with_its_derivatives(rng):
    x = random((2, 3, 8, 6), rng).requires_grad_()
    assert torch.allclose(pool(x), F.avg_pool2d(x, 2), rtol=0, atol=1e-15)
    assert torch.autograd.gradcheck(pool, x[0, 0].detach().requires_grad_())
    (slope,) = torch.autograd.grad(pool(x).sum(), x)
    assert torch.equal(slope, torch.full_like(x, 0.25))
    many = torch.func.vmap(pool)(x.detach())
    assert torch.equal(many, pool(x.detach()))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_bilinear_prolongation_is_torchs_interpolation(ndim, rng):
    x = random(SHAPES[ndim], rng)
    reference = F.interpolate(x, scale_factor=2, mode=MODES[ndim], align_corners=False)
    assert (prolong(x, ndim=ndim) - reference).abs().max() <= 4.5e-16


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_constant_prolongation_copies_and_restriction_undoes_it(ndim, rng):
    x = random(SHAPES[ndim], rng)
    fine = prolong(x, "constant", ndim)
    assert torch.equal(fine, F.interpolate(x, scale_factor=2, mode="nearest"))
    assert torch.allclose(restrict(fine, ndim), x, rtol=0, atol=1e-15)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_constant_prolongation_is_the_scaled_adjoint(ndim, rng):
    """<R x, y> = <x, R' y> with R' = 2^-d P."""
    shape = SHAPES[ndim]
    x = random(shape, rng)
    y = random((*shape[:2], *(size // 2 for size in shape[2:])), rng)
    one = (restrict(x, ndim) * y).sum()
    other = (x * prolong(y, "constant", ndim)).sum() / 2**ndim
    assert one.item() == pytest.approx(other.item(), rel=1e-13)


def test_restriction_after_bilinear_prolongation_has_rows_1_6_1():
    cells = 8
    rp = dense(lambda x: restrict(prolong(x, ndim=1), 1), cells)
    rows = (np.eye(cells, k=-1) + 6 * np.eye(cells) + np.eye(cells, k=1)) / 8
    rows[0, 0] = rows[-1, -1] = 7 / 8  # clamped
    assert np.abs(rp - rows).max() < 1e-15


@pytest.mark.parametrize(
    ("boundary", "mode", "sign"),
    [("clamp", "edge", 1), ("periodic", "wrap", 1), ("odd", "edge", -1)],
)
def test_boundaries_are_values_beyond_the_edge(boundary, mode, sign, rng):
    """One ghost cell on either side by numpy.pad, then the weights 3/4 and 1/4 by hand."""
    x = random((5,), rng).numpy()
    padded = np.pad(x, 1, mode=mode)
    padded[[0, -1]] *= sign
    expected = np.empty(10)
    for k in range(5):
        expected[2 * k] = 0.75 * padded[k + 1] + 0.25 * padded[k]
        expected[2 * k + 1] = 0.75 * padded[k + 1] + 0.25 * padded[k + 2]
    fine = prolong(torch.from_numpy(x), ndim=1, boundary=boundary).numpy()
    assert np.abs(fine - expected).max() < 1e-15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("boundary", ["clamp", "periodic", "odd"])
def test_two_dimensions_are_the_kronecker_product(kind, boundary, rng):
    one = {n: dense(lambda x: prolong(x, kind, 1, boundary), n) for n in (3, 5)}
    x = random((3, 5), rng)
    expected = one[3] @ x.numpy() @ one[5].T
    assert np.abs(prolong(x, kind, 2, boundary).numpy() - expected).max() < 1e-15


def test_odd_reflection_carries_a_sine_at_second_order():
    errors = []
    for n in (16, 32, 64):
        coarse, fine = (torch.sin(torch.pi * (torch.arange(m).double() + 0.5) / m)
                        for m in (n, 2 * n))  # fmt: skip
        errors.append((prolong(coarse, ndim=1, boundary="odd") - fine).abs().max().item())
    assert 3.8 < errors[0] / errors[1] < 4.2 and 3.8 < errors[1] / errors[2] < 4.2


def test_bilinear_prolongation_reproduces_linear_functions_inside():
    n = 8

    def f(m):
        at = (torch.arange(m).double() + 0.5) / m
        return 2 - 3 * at[:, None] + 5 * at

    inside = (slice(1, -1), slice(1, -1))
    assert (prolong(f(n)) - f(2 * n))[inside].abs().max() < 1e-14


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_dtypes_and_leading_axes(kind, rng):
    x = random((2, 4, 6), rng).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: restrict(prolong(t, kind)), x)
    assert torch.autograd.gradcheck(lambda t: restrict(t), x)
    assert prolong(x.float(), kind).dtype == restrict(x.float()).dtype == torch.float32
    stacked = prolong(x, kind)
    assert all(torch.equal(stacked[k], prolong(x[k], kind)) for k in range(2))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: restrict(torch.zeros(3, 27, 28)), ValueError,
         "x must have grid axes of even size, two fine cells to a coarse one, got (27, 28)."),
        (lambda: restrict(torch.zeros(2, 0), 1), ValueError,
         "x must have grid axes of even size, two fine cells to a coarse one, got (0,)."),
        (lambda: restrict(torch.zeros(4, 4), 4), ValueError,
         "ndim must be 1, 2 or 3, got 4."),
        (lambda: restrict(torch.zeros(4)), ValueError,
         "x must have at least ndim=2 axes, got shape (4,)."),
        (lambda: restrict(torch.zeros(4, 4, dtype=torch.uint8)), TypeError,
         "x must be a floating-point torch tensor, got a torch.uint8 tensor."),
        (lambda: prolong(np.zeros((4, 4))), TypeError,
         "x must be a floating-point torch tensor, got a ndarray."),
        (lambda: prolong(torch.zeros(4, 4), "cubic"), ValueError,
         "kind must be 'bilinear' or 'constant', got 'cubic'."),
        (lambda: prolong(torch.zeros(4, 4), boundary="open"), ValueError,
         "boundary must be one of 'clamp', 'periodic', 'odd', got 'open'."),
        (lambda: prolong(torch.zeros(4, 0)), ValueError,
         "x must have grid axes of at least one cell, got (8, 0)."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, error, sentence):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == sentence


def test_the_adjoint_of_pooling_is_its_transpose(rng):
    """⟨pool x, y⟩ = ⟨x, poolᵀ y⟩, and a value is spread in equal parts over its four cells."""
    x, y = (torch.randn(2, 3, *n, generator=rng) for n in ((6, 8), (3, 4)))
    assert float((pool(x) * y).sum()) == pytest.approx(float((x * pool_adjoint(y)).sum()))
    spread = pool_adjoint(torch.ones(1, 1, 1, 1))
    assert spread.shape == (1, 1, 2, 2) and (spread == 0.25).all()
