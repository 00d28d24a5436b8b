"""The trust-region method against scipy's, dense linear algebra and its own definition."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, rosen, rosen_der, rosen_hess_prod

from mgcore.steihaug import Local, steihaug, trust_region


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


@pytest.mark.parametrize(
    "start, iterations",
    [((-1.2, 1.0), 30), ((2.0, 2.0), 26), (tuple(np.linspace(-1, 1, 10)), 81)],
)
def test_rosenbrock_takes_scipys_steps(start, iterations):
    mine, theirs = [], []

    def local(x, _):
        x = x.numpy()
        return Local(
            rosen(x), torch.from_numpy(rosen_der(x)),
            lambda d: torch.from_numpy(rosen_hess_prod(x, d.numpy())),
        )  # fmt: skip

    outcome = trust_region(
        local, lambda x, _: rosen(x.numpy()), torch.tensor(start, dtype=torch.float64), gtol=1e-8,
        watch=lambda step, x, value: mine.append(x.numpy()),
    )  # fmt: skip
    scipys = minimize(
        rosen, np.array(start), jac=rosen_der, hessp=rosen_hess_prod, method="trust-ncg",
        options={"gtol": 1e-8}, callback=lambda x: theirs.append(x.copy()),
    )  # fmt: skip
    assert outcome.converged and outcome.steps == scipys.nit == iterations
    # In ten dimensions rounding grows a hundredfold every dozen steps along the valley.
    np.testing.assert_allclose(mine[:40], theirs[:40], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(mine[-1], theirs[-1], rtol=1e-8)


def test_a_minibatch_is_fixed_within_an_iteration_and_new_in_the_next():
    asked = []

    def local(x, k):
        asked.append(("local", k))
        return Local(float(x @ x), 2 * x, lambda d: 2 * d)

    def value(x, k):
        asked.append(("value", k))
        return float(x @ x)

    trust_region(local, value, torch.full((3,), 5.0, dtype=torch.float64), gtol=1e-9, max_steps=50)
    for kind in ("local", "value"):
        numbers = [k for name, k in asked if name == kind]
        assert numbers == list(range(len(numbers)))


def test_a_step_into_nothing_shrinks_the_region():
    outcome = trust_region(
        lambda x, _: Local(float(x @ x), 2 * x, lambda d: 2 * d), lambda x, _: math.nan,
        torch.ones(2, dtype=torch.float64), max_steps=3,
    )  # fmt: skip
    assert outcome.radius == pytest.approx(0.25**3)
    torch.testing.assert_close(outcome.x, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: steihaug(lambda d: d, torch.ones(2), 0.0), "radius=0.0"),
        (lambda: steihaug(lambda d: d, torch.ones(2, 2), 1.0), "gradient has shape"),
        (lambda: steihaug(lambda d: d, torch.tensor([math.nan]), 1.0), "finite"),
        (lambda: steihaug(lambda d: -d, torch.ones(2), math.inf), "radius=inf"),
        (lambda: trust_region(None, None, torch.ones(1), eta=0.5), "eta=0.5"),
        (lambda: trust_region(None, None, torch.ones(1), radius=-1.0), "radius=-1.0"),
    ],
)
def test_bad_input_is_one_sentence(call, word):
    with pytest.raises(ValueError, match=word):
        call()
