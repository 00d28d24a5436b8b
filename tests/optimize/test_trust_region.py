"""The trust-region loop against scipy's, and one step of it by its rules."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, rosen, rosen_der, rosen_hess_prod

from mgcore.optimize.truncated_cg import PROBES
from mgcore.optimize.trust_region import LocalModel, steihaug, trust_region, trust_region_step


@pytest.mark.parametrize(
    "start, iterations",
    [((-1.2, 1.0), 30), ((2.0, 2.0), 26), (tuple(np.linspace(-1, 1, 10)), 81)],
)
def test_rosenbrock_takes_scipys_steps(start, iterations):
    mine, theirs = [], []

    def local(x, _):
        x = x.numpy()
        return LocalModel(
            rosen(x), torch.from_numpy(rosen_der(x)),
            lambda d: torch.from_numpy(rosen_hess_prod(x, d.numpy())),
        )  # fmt: skip

    outcome = trust_region(
        local, lambda x, _: rosen(x.numpy()), torch.tensor(start, dtype=torch.float64), gtol=1e-8,
        callback=lambda step, x, value: mine.append(x.numpy()),
    )  # fmt: skip
    scipys = minimize(
        rosen, np.array(start), jac=rosen_der, hessp=rosen_hess_prod, method="trust-ncg",
        options={"gtol": 1e-8}, callback=lambda x: theirs.append(x.copy()),
    )  # fmt: skip
    assert outcome.success and outcome.nit == scipys.nit == iterations
    # In ten dimensions rounding grows a hundredfold every dozen steps along the valley.
    np.testing.assert_allclose(mine[:40], theirs[:40], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(mine[-1], theirs[-1], rtol=1e-8)


def test_a_minibatch_is_fixed_within_an_iteration_and_new_in_the_next():
    asked = []

    def local(x, k):
        asked.append(("local", k))
        return LocalModel(float(x @ x), 2 * x, lambda d: 2 * d)

    def value(x, k):
        asked.append(("value", k))
        return float(x @ x)

    trust_region(local, value, torch.full((3,), 5.0, dtype=torch.float64), gtol=1e-9, maxiter=50)
    for kind in ("local", "value"):
        numbers = [k for name, k in asked if name == kind]
        assert numbers == list(range(len(numbers)))


def test_a_step_into_nothing_shrinks_the_region():
    outcome = trust_region(
        lambda x, _: LocalModel(float(x @ x), 2 * x, lambda d: 2 * d), lambda x, _: math.nan,
        torch.ones(2, dtype=torch.float64), maxiter=3,
    )  # fmt: skip
    assert outcome.radius == pytest.approx(0.25**3)
    torch.testing.assert_close(outcome.x, torch.ones(2, dtype=torch.float64))


def quadratic(x, factor=1.0):
    """The model of ½ factor ‖x‖² at x."""
    return LocalModel(0.5 * factor * float(x @ x), factor * x, lambda d: factor * d)


X = torch.tensor([3.0, 4.0], dtype=torch.float64)  # ‖X‖ = 5


@pytest.mark.parametrize(
    "ratio, inside, radius, accepted",
    [  # the rules of Algorithm 4.1, from radius 2 with Δ̂ = 3
        (1.0, False, 3.0, True),  # doubled, but not beyond Δ̂
        (0.76, False, 3.0, True),
        (1.0, True, 20.0, True),  # good, but the boundary was not in the way
        (0.74, False, 2.0, True),
        (0.26, False, 2.0, True),
        (0.24, False, 0.5, True),
        (0.24, True, 5.0, True),
        (0.16, False, 0.5, True),
        (0.15, False, 0.5, False),  # taken only above η
        (-1.0, False, 0.5, False),
        (math.nan, False, 0.5, False),
        (-math.inf, False, 0.5, False),
    ],
)
def test_the_radius_follows_the_ratio(ratio, inside, radius, accepted):
    here, old = quadratic(X), 20.0 if inside else 2.0
    plain = trust_region_step(here, lambda y: 0.5 * float(y @ y), X, old, max_radius=1000.0)
    promised = plain.step.predicted_reduction
    taken = trust_region_step(
        here, lambda y: here.value - ratio * promised, X, old, max_radius=20.0 if inside else 3.0
    )
    assert taken.step.hits_boundary != inside
    assert taken.radius == radius and taken.accepted == accepted
    if accepted:
        assert torch.equal(taken.x, X + taken.step.p)
        assert taken.value == here.value - ratio * promised
    else:  # as it was
        assert taken.x is X and taken.value == here.value


def test_it_doubles_where_there_is_room():
    taken = trust_region_step(quadratic(X), lambda y: 0.5 * float(y @ y), X, 2.0)
    assert taken.radius == 4.0 and taken.accepted
    torch.testing.assert_close(taken.x, 0.6 * X)  # two of the five units towards the minimum


def test_eta_and_the_cap_on_products_are_passed_on():
    here = quadratic(X)
    promised = trust_region_step(here, lambda y: 0.0, X, 2.0).step.predicted_reduction
    for eta, accepted in ((0.1, True), (0.2, False)):
        taken = trust_region_step(here, lambda y: here.value - 0.15 * promised, X, 2.0, eta=eta)
        assert taken.accepted == accepted
    b = torch.diag(torch.logspace(-2, 2, 7, dtype=torch.float64))
    x = 1 / b.diagonal()
    bowl = LocalModel(0.5 * float(x @ b @ x), b @ x, lambda d: b @ d)
    few, many = (
        trust_region_step(bowl, lambda y: 0.5 * float(y @ b @ y), x, 999.0, cg_iterations=cap).step
        for cap in (2, None)
    )
    assert few.iterations == 2 < many.iterations and not few.hits_boundary


def test_no_gradient_moves_nothing():
    here = LocalModel(1.0, torch.zeros(2), lambda d: d)
    taken = trust_region_step(here, lambda y: 1.0, torch.ones(2), 1.0)
    assert not taken.accepted and taken.step.iterations == 0


def test_the_loop_is_repeated_steps_and_counts_what_they_report():
    def local(x, _):
        x = x.numpy()
        return LocalModel(
            rosen(x), torch.from_numpy(rosen_der(x)),
            lambda d: torch.from_numpy(rosen_hess_prod(x, d.numpy())),
        )  # fmt: skip

    start = torch.from_numpy(np.linspace(-1, 1, 10))
    seen = []
    options = {"max_radius": 0.4, "eta": 0.1, "cg_iterations": 6}
    outcome = trust_region(
        local, lambda x, _: rosen(x.numpy()), start, radius=0.3, maxiter=25, gtol=1e-12,
        callback=lambda step, x, value: seen.append((step, x.clone(), value)), **options,
    )  # fmt: skip
    x, radius, taken = start, 0.3, []
    for step in range(25):
        one = trust_region_step(local(x, step), lambda y: rosen(y.numpy()), x, radius, **options)
        x, radius = one.x, one.radius
        taken.append(one)
        assert seen[step][0] == step and torch.equal(seen[step][1], x)
        assert seen[step][2] == one.value == rosen(x.numpy())
    assert torch.equal(outcome.x, x) and outcome.radius == radius and outcome.nit == 25
    assert outcome.nhev == sum(one.step.iterations for one in taken)
    assert outcome.boundary_steps == sum(one.step.hits_boundary for one in taken)
    assert outcome.negative_curvature_steps == sum(one.step.negative_curvature for one in taken)
    assert outcome.boundary_steps > outcome.negative_curvature_steps > 0  # both kinds were met
    assert not all(one.accepted for one in taken)
    assert not outcome.success and outcome.fun == rosen(x.numpy())


def test_it_stops_when_the_products_are_spent():
    b = torch.diag(torch.linspace(1, 99, 20, dtype=torch.float64))
    start = torch.ones(20, dtype=torch.float64)

    def local(x, _):
        return LocalModel(0.5 * float(x @ b @ x), b @ x, lambda d: b @ d)

    outcome = trust_region(
        local, lambda x, _: 0.5 * float(x @ b @ x), start, max_nhev=7, cg_iterations=3,
        gtol=1e-12,
    )  # fmt: skip
    assert outcome.nhev == 7 and not outcome.success  # 3, 3 and 1

    def first(**limits):
        return trust_region(
            local, lambda x, _: 0.5 * float(x @ b @ x), 1 / b.diagonal(), radius=99.0, gtol=1e-12,
            **limits,
        ).nhev  # fmt: skip

    assert first(max_nhev=1) == 1 < first(maxiter=1)  # the first subproblem is cut as well


def test_without_a_cap_a_subproblem_takes_as_many_products_as_there_are_unknowns():
    """A tolerance of next to nothing, which rounding never reaches."""
    b = torch.diag(torch.logspace(-6, 6, 9, dtype=torch.float64))
    x = torch.ones(9, dtype=torch.float64)
    here = LocalModel(0.5 * float(x @ b @ x), b @ x, lambda d: b @ d)
    assert steihaug(here.hvp, here.gradient, 1e9, tolerance=0.0).iterations == 9
    step = trust_region_step(here, lambda y: 0.5 * float(y @ b @ y), x, 999.0).step
    assert step.iterations <= 9


def stumps(x, k):
    """Rosenbrock's function so high up that its last digits are lost."""
    x = x.numpy()
    return LocalModel(
        rosen(x) + 1e6, torch.from_numpy(rosen_der(x)),
        lambda d: torch.from_numpy(rosen_hess_prod(x, d.numpy())),
    )  # fmt: skip


def test_it_ends_where_no_step_moves_the_point():
    start = torch.tensor([-1.2, 1.0], dtype=torch.float64)
    seen = []
    high = trust_region(
        stumps, lambda x, _: rosen(x.numpy()) + 1e6, start, gtol=0.0,
        callback=lambda step, x, value: seen.append(step),
    )  # fmt: skip
    assert not high.success and high.nit == len(seen) < 200
    assert rosen(high.x.numpy()) < 1e-6  # as far as the digits go
    nowhere = trust_region(lambda x, _: quadratic(x), lambda x, _: math.nan, X)
    assert not nowhere.success and torch.equal(nowhere.x, X) and 20 < nowhere.nit < 60
    without = trust_region(lambda x, _: quadratic(x), lambda x, _: 0.0, X, cg_iterations=0)
    assert not without.success and without.nit == 1 and without.nhev == 0


def test_no_gradient_at_all_is_convergence_whatever_the_tolerance():
    exact = trust_region(
        lambda x, _: quadratic(x), lambda x, _: 0.5 * float(x @ x), X, radius=9.0, gtol=0.0
    )
    assert exact.success and exact.nit == 1 and not exact.x.any()


@pytest.mark.parametrize("most", [0, 1, 4])
def test_it_asks_for_as_many_minibatches_as_it_takes_steps(most):
    factors, asked = [1.0, 2.0, 3.0, 4.0], set()

    def local(x, k):
        asked.add(k)
        return quadratic(x, factors[k])

    outcome = trust_region(
        local, lambda x, k: 0.5 * factors[k] * float(x @ x), 9 * X, maxiter=most, gtol=1e-12
    )
    assert asked == set(range(max(most, 1))) and outcome.nit == most and not outcome.success
    assert outcome.fun == quadratic(outcome.x, factors[max(most - 1, 0)]).value


def test_convergence_in_the_last_step_is_noticed():
    outcome = trust_region(
        lambda x, _: quadratic(x), lambda x, _: 0.5 * float(x @ x), X, radius=9.0, maxiter=1
    )
    assert outcome.success and outcome.nit == 1


def test_a_preconditioner_reaches_the_subproblem():
    b = torch.diag(torch.logspace(0, 4, 12, dtype=torch.float64))
    start = torch.ones(12, dtype=torch.float64)

    def local(x, _):
        return LocalModel(0.5 * float(x @ b @ x), b @ x, lambda d: b @ d)

    plain, helped = (
        trust_region(
            local,
            lambda x, _: 0.5 * float(x @ b @ x),
            start,
            radius=900.0,
            gtol=1e-9,
            preconditioner=m,
        )  # fmt: skip
        for m in (None, lambda r: r / b.diagonal())
    )
    assert plain.success and helped.success
    assert helped.nit == 1 and plain.nhev > 40  # M = B solves it in one step of one product
    assert helped.nhev == 1 + PROBES  # and the search for negative curvature at the end


@pytest.mark.parametrize(
    "call, word",
    [
        (
            lambda: trust_region(None, None, torch.ones(1), eta=0.5),
            "eta must be .* below 0.25, got 0.5",
        ),
        (
            lambda: trust_region(None, None, torch.ones(1), radius=-1.0),
            "radius must be positive .* got -1.0",
        ),
        (
            lambda: trust_region(None, None, torch.ones(1), radius=2.0, max_radius=1.0),
            "max_radius=1.0, got 2.0",
        ),
        (
            lambda: trust_region(None, None, torch.ones(1), max_radius=math.inf),
            "max_radius must be positive and finite, got inf",
        ),
        (lambda: trust_region_step(quadratic(X), None, X, 2000.0), "got 2000.0"),
        (lambda: trust_region_step(quadratic(X), None, X, math.inf), "got inf"),
    ],
)
def test_bad_input_is_one_sentence(call, word):
    with pytest.raises(ValueError, match=word) as raised:
        call()
    assert "\n" not in str(raised.value)
