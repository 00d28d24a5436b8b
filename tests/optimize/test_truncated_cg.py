"""The subproblem over a ball: against Newton's step, Cauchy's point and dense linear algebra."""

import math
from fractions import Fraction

import pytest
import torch

from mgcore.optimize.truncated_cg import (
    NotFiniteError,
    Subproblem,
    _boundary,
    lowest_curvature,
    steihaug,
)


def model(b, g, p):
    return float(g @ p + 0.5 * p @ b @ p)


def random_case(seed, definite):
    rng = torch.Generator().manual_seed(seed)
    n = int(torch.randint(2, 15, (1,), generator=rng))
    a = torch.randn(n, n, generator=rng, dtype=torch.float64)
    b = a @ a.T + 0.1 * torch.eye(n, dtype=torch.float64) if definite else (a + a.T) / 2
    g = torch.randn(n, generator=rng, dtype=torch.float64)
    return b, g, float(10 ** (2 * torch.rand(1, generator=rng) - 1))


def test_a_large_radius_gives_the_newton_step():
    for seed in range(20):
        b, g, _ = random_case(seed, definite=True)
        step = steihaug(lambda d, b=b: b @ d, g, 1e6, tolerance=1e-12, max_iterations=200)
        assert not step.hits_boundary and not step.negative_curvature
        torch.testing.assert_close(step.p, -torch.linalg.solve(b, g), rtol=1e-8, atol=1e-8)
        assert step.predicted_reduction == pytest.approx(-model(b, g, step.p), rel=1e-10)


def test_a_small_radius_gives_steepest_descent():
    b, g, _ = random_case(1, definite=True)
    step = steihaug(lambda d: b @ d, g, 1e-8)
    torch.testing.assert_close(step.p, -1e-8 * g / g.norm(), rtol=1e-6, atol=0)
    assert step.hits_boundary and step.iterations == 1


@pytest.mark.parametrize("definite", [True, False])
def test_every_step_beats_cauchys_and_stays_inside(definite):
    curved = 0
    for seed in range(100):
        b, g, radius = random_case(seed, definite)
        step = steihaug(lambda d, b=b: b @ d, g, radius)
        gbg, norm = float(g @ b @ g), float(g.norm())
        share = 1.0 if gbg <= 0 else min(norm**3 / (radius * gbg), 1.0)
        cauchy = -share * radius * g / norm
        assert model(b, g, step.p) <= model(b, g, cauchy) + 1e-10
        assert float(step.p.norm()) <= radius * (1 + 1e-10)
        if step.hits_boundary:
            assert float(step.p.norm()) == pytest.approx(radius, rel=1e-9)
        assert step.predicted_reduction == pytest.approx(-model(b, g, step.p), rel=1e-8)
        curved += step.negative_curvature
    assert (curved == 0) if definite else (curved > 30)


def test_iterates_grow_and_the_cap_holds():
    b, g, _ = random_case(3, definite=True)
    sizes = [
        float(steihaug(lambda d: b @ d, g, 1e6, tolerance=0.0, max_iterations=k).p.norm())
        for k in range(1, len(g) + 1)
    ]
    assert sizes == sorted(sizes)
    assert steihaug(lambda d: b @ d, g, 1e6, tolerance=0.0, max_iterations=2).iterations == 2


def test_a_preconditioner_changes_the_norm_and_not_the_minimiser():
    b, g, radius = random_case(4, definite=True)
    m = torch.diag(torch.linspace(1, 9, len(g), dtype=torch.float64))
    root, inverse = m.sqrt(), torch.linalg.inv(m)
    solve = steihaug(lambda d: b @ d, g, 1e6, tolerance=1e-13, max_iterations=300,
                     preconditioner=lambda r: inverse @ r)  # fmt: skip
    torch.testing.assert_close(solve.p, -torch.linalg.solve(b, g), rtol=1e-8, atol=1e-8)
    # The same as the plain method in the variables √M p.
    scaled = torch.linalg.inv(root)
    plain = steihaug(lambda d: scaled @ b @ scaled @ d, scaled @ g, radius)
    mine = steihaug(lambda d: b @ d, g, radius, preconditioner=lambda r: inverse @ r)
    torch.testing.assert_close(mine.p, scaled @ plain.p, rtol=1e-9, atol=1e-12)
    assert mine.hits_boundary == plain.hits_boundary and mine.iterations == plain.iterations


def test_it_stops_at_the_tolerance_and_by_default_at_the_superlinear_one():
    b, g, _ = random_case(5, definite=True)
    norm = float(g.norm())
    for tolerance in (0.3 * norm, 1e-3 * norm, None):
        step = steihaug(lambda d: b @ d, g, 1e6, tolerance=tolerance)
        target = min(0.5, math.sqrt(norm)) * norm if tolerance is None else tolerance
        assert float((g + b @ step.p).norm()) <= target
        if step.iterations > 1:  # and not before
            less = steihaug(lambda d: b @ d, g, 1e6, tolerance=0.0,
                            max_iterations=step.iterations - 1)  # fmt: skip
            assert float((g + b @ less.p).norm()) > target


def test_no_gradient_is_no_step():
    step = steihaug(lambda d: d, torch.zeros(3), 1.0)
    assert step.iterations == 0 and not step.p.any() and step.predicted_reduction == 0


def test_negative_curvature_takes_the_lower_of_the_two_boundary_points():
    """Along d the model is lower on one side; both are tried here by hand."""
    seen = 0
    for seed in range(60):
        b, g, _ = random_case(seed, definite=False)
        b += 3 * torch.eye(len(g), dtype=torch.float64)  # few directions of negative curvature
        radius, directions = 9.0, []

        def hvp(d, b=b, directions=directions):
            directions.append(d)
            return b @ d

        step = steihaug(hvp, g, radius)
        if not step.negative_curvature or step.iterations == 1:
            continue
        seen += 1
        z = steihaug(lambda d, b=b: b @ d, g, radius, max_iterations=step.iterations - 1).p
        d = directions[-1]
        zd, dd, room = float(z @ d), float(d @ d), radius**2 - float(z @ z)
        root = math.sqrt(zd**2 + dd * room)
        ends = [z + (-zd + sign * root) / dd * d for sign in (1, -1)]
        assert model(b, g, step.p) == pytest.approx(min(model(b, g, e) for e in ends), rel=1e-9)
    assert seen > 10


@pytest.mark.parametrize("curvature", [1e-200, 1e-310, 0.0])
def test_next_to_no_curvature_leads_to_the_boundary(curvature):
    """Where the way to the minimiser, or its square, is larger than any number."""
    g = torch.tensor([3.0, -4.0], dtype=torch.float64)
    step = steihaug(lambda d: curvature * d, g, 2.0)
    assert step.hits_boundary and step.negative_curvature == (curvature == 0)
    torch.testing.assert_close(step.p, -2 * g / 5)
    assert step.predicted_reduction == pytest.approx(10.0)
    assert not steihaug(lambda d: curvature * d, g, math.inf).p.any()


def test_without_a_radius_it_ends_before_the_first_direction_of_no_curvature():
    none = steihaug(lambda d: -d, torch.ones(2), math.inf)
    assert none.negative_curvature and not none.hits_boundary and none.iterations == 1
    assert not none.p.any() and none.predicted_reduction == 0
    b = torch.diag(torch.tensor([4.0, 2.0, -1.0], dtype=torch.float64))
    g = torch.tensor([1.0, 1.0, 0.1], dtype=torch.float64)
    step = steihaug(lambda d: b @ d, g, math.inf, tolerance=0.0)
    before = steihaug(lambda d: b @ d, g, math.inf, tolerance=0.0,
                      max_iterations=step.iterations - 1)  # fmt: skip
    assert step.negative_curvature and not before.negative_curvature
    assert torch.equal(step.p, before.p) and bool(step.p.any())
    assert step.predicted_reduction == before.predicted_reduction
    assert step.predicted_reduction == pytest.approx(-model(b, g, step.p), rel=1e-12)


@pytest.mark.parametrize("zd", [1e8, -1e8])
def test_the_boundary_is_met_to_the_last_digits_where_a_root_cancels(zd):
    """z almost on the boundary, and d almost along it or against it: one root is tiny."""
    radius, dd = 1e8, 1.0
    zz = radius**2 * (1 - 1e-15)
    tau = _boundary(zz, zd, dd, radius, slope=-1.0, curvature=1.0)
    # The exact positive root of τ² dd + 2 τ zd + zz − Δ² = 0, in rational arithmetic.
    a, half, c = Fraction(dd), Fraction(zd), Fraction(zz) - Fraction(radius) ** 2
    root = Fraction(math.isqrt(int((half**2 - a * c) * 10**60)), 10**30)
    exact = (-half + root) / a
    assert tau == pytest.approx(float(exact), rel=1e-12) and tau > 0


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: steihaug(lambda d: d, torch.ones(2), 0.0), "radius must be positive, got 0.0"),
        (
            lambda: steihaug(lambda d: d, torch.ones(2), math.nan),
            "radius must be positive, got nan",
        ),
        (
            lambda: steihaug(lambda d: d, torch.ones(2, 2), 1.0),
            r"vector, got a tensor of shape \(2, 2\)",
        ),
        (lambda: steihaug(lambda d: d, torch.tensor([math.nan]), 1.0), "gradient has entries"),
        (
            lambda: steihaug(lambda d: d, torch.ones(2), 1.0, max_iterations=-1),
            "max_iterations must be 0 or more, got -1",
        ),
        (lambda: steihaug(lambda d: d * math.nan, torch.ones(2), 1.0), "hvp returned a product"),
        (lambda: steihaug(lambda d: d * math.inf, torch.ones(2), 1.0), "hvp returned a product"),
        (lambda: steihaug(lambda d: d * -math.inf, torch.ones(2), 1.0), "hvp returned a product"),
        (lambda: steihaug(lambda d: d, torch.full((2,), 1e20), 1.0), "inf in torch.float32"),
        (
            lambda: steihaug(lambda d: d, torch.ones(2), 1.0, preconditioner=lambda r: -r),
            "positive definite, got .* = -2",
        ),
        (
            lambda: steihaug(
                lambda d: d, torch.ones(2), 1.0, preconditioner=lambda r: r * math.nan
            ),
            "positive definite, got .* = nan",
        ),
        (
            lambda: steihaug(
                lambda d: torch.tensor([1.0, 3.0]) * d,
                torch.ones(2),
                9.0,
                tolerance=0.0,
                preconditioner=lambda r: r if r[0] == 1 else -r,
            ),
            "positive definite, got .* = -0.5",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, word):
    with pytest.raises(ValueError, match=word) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("definite", [True, False])
def test_a_smaller_radius_is_solved_exactly_and_without_products(definite):
    for seed in range(30):
        b, g, radius = random_case(seed, definite)
        asked = []

        def hvp(d, b=b, asked=asked):
            asked.append(d)
            return b @ d

        model_of = Subproblem(hvp, g)
        for k in range(8):
            step = model_of.solve(4 * radius * 0.25**k)
            fresh = steihaug(lambda d, b=b: b @ d, g, 4 * radius * 0.25**k)
            assert torch.equal(step.p, fresh.p)
            assert step[1] == fresh[1] and step[3:] == fresh[3:]
            if k == 0:
                assert step.iterations == fresh.iterations == len(asked)
            else:
                assert step.iterations == 0
        assert len(asked) == steihaug(lambda d, b=b: b @ d, g, 4 * radius).iterations


def test_a_smaller_radius_may_end_before_the_product_that_is_not_finite():
    b = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    calls = []

    def hvp(d):
        calls.append(1)
        return b * d if len(calls) < 3 else d * math.nan

    model_of = Subproblem(hvp, torch.ones(3, dtype=torch.float64), tolerance=0.0)
    with pytest.raises(NotFiniteError) as raised:
        model_of.solve(16.0)
    assert raised.value.iterations == 3
    with pytest.raises(NotFiniteError) as raised:
        model_of.solve(4.0)  # the whole path so far is shorter
    assert raised.value.iterations == 0 and len(calls) == 3
    step = model_of.solve(0.25)
    fresh = steihaug(lambda d: b * d, torch.ones(3, dtype=torch.float64), 0.25, tolerance=0.0)
    assert torch.equal(step.p, fresh.p) and step.hits_boundary


@pytest.mark.parametrize("lowest", [-1e-3, -5.0])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_negative_curvature_is_found(n, lowest):
    b = torch.linspace(1, 3, n, dtype=torch.float64)
    b[n // 2] = lowest
    found = lowest_curvature(lambda d: b * d, b, products=n)
    assert found.curvature < 0 and found.iterations <= n
    assert float(found.direction @ (b * found.direction)) == pytest.approx(found.curvature)
    assert float(found.direction.norm()) == pytest.approx(1)
    for definite in (b.abs(), torch.zeros_like(b)):
        none = lowest_curvature(lambda d, b=definite: b * d, b, products=n)
        assert none.curvature == 0
