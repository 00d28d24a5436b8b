"""Stencils and operators, against Taylor's formula, convolutions and the Galerkin map."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mgcore.kernels import coarsen_kernel, galerkin_map, refine_kernel
from mgcore.operators import IDENTITY_KERNELS, OPERATORS, from_operators, rediscretise, to_operators

BASES = ("thesis", "galerkin", "nodal")


def random(shape, rng):
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def grid(h, ndim):
    """Return the coordinates of the cells of one stencil around the origin."""
    line = h * torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    return torch.meshgrid(*[line] * ndim, indexing="ij")


def derivative(power, order):
    """Return the value at 0 of the derivative of x**power: power! where they are equal."""
    return float(np.prod(range(1, power + 1))) if power == order else 0.0


def test_operators_are_the_theses_nine_in_its_order():
    orders = [operator.orders for operator in OPERATORS[2]]
    assert sorted(orders) == sorted(itertools.product(range(3), repeat=2))
    assert [o.name for o in OPERATORS[2]] == [
        "1", "∂u", "∂v", "∂u∂v", "∂u²", "∂v²", "∂u²∂v", "∂u∂v²", "∂u²∂v²"
    ]  # fmt: skip
    for name, orders in itertools.chain(*OPERATORS.values()):
        written = "".join(
            f"∂{axis}" + ("²" if order == 2 else "")
            for axis, order in zip("uv", orders, strict=False)
            if order
        )
        assert name == (written or "1")


def test_one_dimension_in_closed_form(rng):
    """The three formulas of the docstring, which show that each β takes all of θ."""
    theta, h = random((7, 3), rng), 0.3
    a, b, c = theta.unbind(-1)
    third = {"thesis": (a - b + c) / 4, "galerkin": (2 * a - b + 2 * c) / 6, "nodal": (a + c) / 2}
    for basis in BASES:
        expected = torch.stack([a + b + c, h * (c - a), h**2 * third[basis]], dim=-1)
        assert torch.allclose(to_operators(theta, h, 1, basis), expected, rtol=0, atol=1e-14)


def test_the_matrix_of_the_thesis_with_its_third_column_corrected(rng):
    h, theta = 0.25, random((3,), rng)
    printed = np.array([[1 / 4, -1 / (2 * h), -1 / h**2],
                        [1 / 2, 0, 2 / h**2],
                        [1 / 4, 1 / (2 * h), -1 / h**2]])  # fmt: skip
    theirs = np.linalg.solve(printed, theta.numpy())
    assert np.allclose(theirs * [1, 1, -1], to_operators(theta, h, 1).numpy(), atol=1e-13)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("ndim", [1, 2])
@pytest.mark.parametrize("h", [1.0, 1 / 28, 3])
def test_there_and_back(basis, ndim, h, rng):
    stencils = random((4, 2, *[3] * ndim), rng)
    beta = to_operators(stencils, h, ndim, basis)
    assert beta.shape == (4, 2, 3**ndim)
    assert (from_operators(beta, h, ndim, basis) - stencils).abs().max() < 1e-13
    alone = to_operators(stencils[1, 1], h, ndim, basis)
    assert torch.allclose(alone, beta[1, 1], rtol=1e-13, atol=1e-15)
    # Of the size that stencils of order one give: h**p for an operator of order p.
    lengths = torch.tensor([float(h) ** sum(o.orders) for o in OPERATORS[ndim]]).double()
    moved = random(beta.shape, rng) * lengths
    again = to_operators(from_operators(moved, h, ndim, basis), h, ndim, basis)
    assert ((again - moved) / lengths).abs().max() < 1e-13


@pytest.mark.parametrize("basis", BASES)
def test_two_dimensions_are_tensor_products_u_down_the_rows(basis):
    h = 0.5
    line = from_operators(torch.eye(3).double(), h, 1, basis)
    table = from_operators(torch.eye(9).double(), h, 2, basis)
    for place, (_, (p, q)) in enumerate(OPERATORS[2]):
        assert torch.allclose(table[place], torch.outer(line[p], line[q]), rtol=0, atol=1e-14)
    down = table[1]  # ∂u
    assert (down[2] > 0).sum() and not (down[0] > 0).any() and not down[1].any()


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("ndim", [1, 2])
def test_exact_on_polynomials_of_low_degree(basis, ndim):
    """Each operator is its derivative, without error, of powers up to its order plus one."""
    h = 0.4
    axes = grid(h, ndim)
    for place, (name, orders) in enumerate(OPERATORS[ndim]):
        stencil = from_operators(torch.eye(3**ndim).double()[place], h, ndim, basis)
        for powers in itertools.product(*(range(p + 2) for p in orders)):
            values = torch.ones_like(axes[0])
            expected = 1.0
            for x, power, order in zip(axes, powers, orders, strict=True):
                values = values * x**power
                expected *= derivative(power, order)
            assert (stencil * values).sum().item() == pytest.approx(expected, abs=1e-12), (
                name, powers)  # fmt: skip


def slope(errors, h):
    return np.polyfit(np.log(h), np.log(errors), 1)[0]


@pytest.mark.parametrize("basis", ["thesis", "galerkin"])
def test_second_order_in_one_dimension(basis):
    """β is held, h goes to 0: the error of every operator and of a mixture falls as h²."""
    steps, at = 0.1 * 0.5 ** np.arange(5), 0.3
    exact = [np.exp(at), np.exp(at), np.exp(at)]
    for beta in (*np.eye(3), np.array([0.7, -1.3, 0.4])):
        errors = []
        for h in steps:
            stencil = from_operators(torch.tensor(beta), h, 1, basis).numpy()
            errors.append(abs(stencil @ np.exp(at + h * np.array([-1, 0, 1])) - beta @ exact))
        assert slope(errors, steps) == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("basis", BASES)
def test_second_order_in_two_dimensions(basis, rng):
    """f = exp(au + bv) sin(v); ∂u^p ∂v^q of it by hand."""
    steps, a, b, u0, v0 = 0.1 * 0.5 ** np.arange(4), 0.8, -0.5, 0.2, 0.4
    beta = random((9,), rng)
    along_v = [
        np.exp(b * v0) * np.sin(v0),
        np.exp(b * v0) * (b * np.sin(v0) + np.cos(v0)),
        np.exp(b * v0) * ((b**2 - 1) * np.sin(v0) + 2 * b * np.cos(v0)),
    ]
    exact = sum(
        beta[k].item() * a**p * np.exp(a * u0) * along_v[q]
        for k, (_, (p, q)) in enumerate(OPERATORS[2])
    )
    errors = []
    for h in steps:
        u, v = (x.numpy() for x in grid(h, 2))
        f = np.exp(a * (u0 + u) + b * (v0 + v)) * np.sin(v0 + v)
        errors.append(abs((from_operators(beta, h, 2, basis).numpy() * f).sum() - exact))
    assert slope(errors, steps) == pytest.approx(2, abs=0.02)


def test_stencils_act_by_correlation_as_conv2d():
    """Of f(u, v) = 5u + 7v, with u down the rows and v along the columns."""
    h = 0.1
    u, v = torch.meshgrid(*[h * torch.arange(6.0).double()] * 2, indexing="ij")
    image = (5 * u + 7 * v)[None, None]
    for operator, value in ((1, 5.0), (2, 7.0)):
        stencil = from_operators(torch.eye(9).double()[operator], h)
        seen = F.conv2d(image, stencil[None, None])
        assert torch.allclose(seen, torch.full_like(seen, value), rtol=0, atol=1e-12)
        flipped = to_operators(stencil.flip((0, 1)), h)  # what convolution in the strict sense does
        assert flipped[operator].item() == pytest.approx(-1.0)


def test_the_galerkin_map_is_diagonal_in_the_bases_named_for_it():
    """B⁻¹ M B = diag(2⁻ᵖ) with bilinear P; with constant P ½ for each axis with a derivative."""
    for ndim in (1, 2):
        for basis, kind in (("galerkin", "bilinear"), ("nodal", "constant")):
            b = from_operators(torch.eye(3**ndim).double(), 1.0, ndim, basis).flatten(1).T
            seen = torch.linalg.solve(b, galerkin_map(kind, ndim) @ b)
            orders = [operator.orders for operator in OPERATORS[ndim]]
            if kind == "constant":
                orders = [[min(p, 1) for p in each] for each in orders]
            expected = torch.diag(torch.tensor([0.5 ** sum(each) for each in orders]).double())
            assert (seen - expected).abs().max() < 1e-13


@pytest.mark.parametrize("ndim", [1, 2])
def test_galerkin_refinement_is_rediscretisation(ndim, rng):
    stencils = random((5, *[3] * ndim), rng)
    finer = rediscretise(stencils, 2 / 14, 1 / 14, ndim, "galerkin")
    assert (finer - refine_kernel(stencils, ndim=ndim)).abs().max() < 1e-12
    coarser = rediscretise(stencils, 0.5, 1.0, ndim, "galerkin")
    assert (coarser - coarsen_kernel(stencils, ndim=ndim)).abs().max() < 1e-13
    theses = rediscretise(stencils, 2.0, 1.0, ndim, "thesis")
    assert (theses - refine_kernel(stencils, ndim=ndim)).abs().max() > 0.1


def test_what_galerkin_refinement_does_in_the_theses_basis(rng):
    """Reaction and convection stay; diffusion gains β₁ H²/16, H the coarse mesh size."""
    stencil, coarse_h = random((3,), rng), 1 / 14
    before = to_operators(stencil, coarse_h, 1)
    after = to_operators(refine_kernel(stencil, ndim=1), coarse_h / 2, 1)
    gain = before[0] * coarse_h**2 / 16 * torch.tensor([0.0, 0.0, 1.0]).double()
    assert (after - before - gain).abs().max() < 1e-14


def test_constant_prolongation_changes_diffusion_by_two(rng):
    stencil, coarse_h = random((3,), rng), 1 / 14
    before = to_operators(stencil, coarse_h, 1, "nodal")
    after = to_operators(refine_kernel(stencil, "constant", 1), coarse_h / 2, 1, "nodal")
    assert torch.allclose(after, before * torch.tensor([1, 1, 0.5]).double(), rtol=1e-12)


def test_only_the_ratio_of_mesh_sizes_matters_and_steps_compose(rng):
    stencil = random((3, 3), rng)
    for basis in BASES:
        once = rediscretise(stencil, 1.0, 0.25, basis=basis)
        assert (rediscretise(stencil, 0.4, 0.1, basis=basis) - once).abs().max() < 1e-11
        half = rediscretise(stencil, 1.0, 0.5, basis=basis)
        assert (rediscretise(half, 0.5, 0.25, basis=basis) - once).abs().max() < 1e-11


def test_dtype_is_kept_the_arithmetic_is_float64_and_gradients_flow(rng):
    stencil = random((2, 3, 3), rng)
    single = stencil.float()
    for seen, double in (
        (to_operators(single, 0.1), to_operators(single.double(), 0.1)),
        (from_operators(to_operators(single, 0.1), 0.1), single),
        (rediscretise(single, 1.0, 0.5), rediscretise(single.double(), 1.0, 0.5)),
    ):
        assert seen.dtype == torch.float32
        assert torch.allclose(seen, double.float(), rtol=1e-6, atol=1e-6)
    assert torch.equal(to_operators(single, 0.1), to_operators(single.double(), 0.1).float())
    assert torch.autograd.gradcheck(lambda t: rediscretise(t, 1.0, 0.5), stencil.requires_grad_())


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: to_operators(torch.zeros(5, 5)), ValueError,
         "stencil must have last axes (3, 3), got shape (5, 5)."),
        (lambda: to_operators(torch.zeros(3)), ValueError,
         "stencil must have last axes (3, 3), got shape (3,)."),
        (lambda: from_operators(torch.zeros(3, 3)), ValueError,
         "beta must have last axes (9,), got shape (3, 3)."),
        (lambda: rediscretise(torch.zeros(2, 4), 1, 2, ndim=1), ValueError,
         "stencil must have last axes (3,), got shape (2, 4)."),
        (lambda: to_operators(torch.zeros(3, 3, dtype=torch.int64)), TypeError,
         "stencil must be a floating-point torch tensor, got a torch.int64 tensor."),
        (lambda: from_operators([1.0, 0.0, 0.0], ndim=1), TypeError,
         "beta must be a floating-point torch tensor, got a list."),
        (lambda: to_operators(torch.zeros(3, 3, 3), ndim=3), ValueError,
         "ndim must be 1 or 2, got 3."),
        (lambda: to_operators(torch.zeros(3, 3), h=0.0), ValueError,
         "h must be a positive number, got 0.0."),
        (lambda: from_operators(torch.zeros(9), h=float("inf")), ValueError,
         "h must be a positive number, got inf."),
        (lambda: from_operators(torch.zeros(9), h="small"), ValueError,
         "h must be a positive number, got 'small'."),
        (lambda: rediscretise(torch.zeros(3, 3), 1.0, -1.0), ValueError,
         "h_to must be a positive number, got -1.0."),
        (lambda: rediscretise(torch.zeros(3, 3), float("nan"), 1.0), ValueError,
         "h_from must be a positive number, got nan."),
        (lambda: to_operators(torch.zeros(3, 3), basis="fourier"), ValueError,
         "basis must be one of 'thesis', 'galerkin', 'nodal', got 'fourier'."),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(call, error, sentence):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == sentence


def test_every_basis_keeps_constants():
    for mass in IDENTITY_KERNELS.values():
        assert sum(mass) == pytest.approx(1.0)
