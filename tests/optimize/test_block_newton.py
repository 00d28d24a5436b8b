"""The damped block method: each block's Newton step, the cap, and the line search by its rule."""

import math

import pytest
import torch
from scipy.sparse.linalg import cg

from mgcore.optimize.block_newton import (
    ARMIJO,
    ITERATIONS,
    LARGEST,
    TOLERANCE,
    TRIES,
    Block,
    _conjugate_gradients,
    block_newton_step,
    original_newton,
)


def bowl(seed, n=6, spread=30.0):
    """A positive definite matrix with eigenvalues from 1 to `spread`, and a minimiser."""
    draw = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, n, generator=draw, dtype=torch.float64))
    b = q @ torch.diag(torch.linspace(1, spread, n, dtype=torch.float64)) @ q.T
    return b, 0.4 * torch.randn(n, generator=draw, dtype=torch.float64).clamp(-1, 1)


def value_of(*bowls):
    """The sum of quadratics over the blocks as a function of their steps from zero."""
    return lambda steps: (
        5.0
        + sum(0.5 * float((s - x) @ b @ (s - x)) for (b, x), s in zip(bowls, steps, strict=True))
    )


def block(b, x):
    return Block(-b @ x, lambda d: b @ d)


def at_zero(*bowls):
    return value_of(*bowls)([torch.zeros_like(x) for _, x in bowls])


@pytest.mark.parametrize("seed", range(6))
def test_on_a_quadratic_it_is_newtons_step_to_the_tolerance(seed):
    b, x = bowl(seed)
    step = block_newton_step([block(b, x)], at_zero((b, x)), value_of((b, x)))
    residual = b @ (step.steps[0] - x)
    assert float(residual.norm()) <= TOLERANCE * float((b @ x).norm())
    assert step.accepted and step.nfev == 1 and step.share == 1.0
    assert step.value == value_of((b, x))(step.steps) < at_zero((b, x))
    assert 1 <= step.nhev <= 6


@pytest.mark.parametrize("seed", range(4))
def test_conjugate_gradients_are_scipys(seed):
    """On a definite matrix, until the tolerance: the same iterate after as many products."""
    b, x = bowl(seed, n=30)
    calls = []
    found, products = _conjugate_gradients(lambda d: (calls.append(1), b @ d)[1], b @ x)
    theirs, _ = cg(b.numpy(), (b @ x).numpy(), rtol=TOLERANCE, maxiter=ITERATIONS)
    assert products == len(calls) <= ITERATIONS
    torch.testing.assert_close(found, torch.from_numpy(theirs), rtol=1e-9, atol=1e-12)


def test_of_all_iterates_that_of_the_least_residual_counts():
    """Residuals of conjugate gradients may rise on the way."""
    b = torch.diag(torch.logspace(0, 3, 40, dtype=torch.float64))
    right = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, products = _conjugate_gradients(lambda d: b @ d, right)
    assert products == ITERATIONS
    residuals = []
    for k in range(ITERATIONS + 1):
        x, _ = cg(b.numpy(), right.numpy(), rtol=0, maxiter=k)
        residuals.append(float((right - b @ torch.from_numpy(x)).norm()))
    assert residuals.index(min(residuals)) == 9
    assert float((right - b @ found).norm()) == pytest.approx(min(residuals), rel=1e-9)


def test_one_curvature_is_one_product_and_exact():
    b, x = 3.0 * torch.eye(4, dtype=torch.float64), torch.tensor([0.5, -1.0, 0.0, 0.25]).double()
    step = block_newton_step([block(b, x)], at_zero((b, x)), value_of((b, x)))
    torch.testing.assert_close(step.steps[0], x)
    assert step.nhev == 1 and step.value == pytest.approx(5.0)


def test_products_are_capped():
    b, x = bowl(1, n=40, spread=1e3)
    x = torch.linalg.solve(b, 0.01 * torch.ones(40, dtype=torch.float64))  # needs all eigenvectors
    step = block_newton_step([block(b, x)], at_zero((b, x)), value_of((b, x)))
    assert step.nhev == ITERATIONS == 10
    assert float((b @ (step.steps[0] - x)).norm()) > TOLERANCE * float((b @ x).norm())


def test_one_run_of_conjugate_gradients_spans_the_blocks():
    """As on the one block that holds both, with nothing between them."""
    first, second = bowl(2), bowl(3, n=9, spread=4.0)
    both = block_newton_step(
        [block(*first), block(*second)], at_zero(first, second), value_of(first, second)
    )
    whole = torch.block_diag(first[0], second[0]), torch.cat([first[1], second[1]])
    one = block_newton_step([block(*whole)], at_zero(whole), value_of(whole))
    torch.testing.assert_close(torch.cat(both.steps), one.steps[0], rtol=1e-10, atol=1e-13)
    assert [len(s) for s in both.steps] == [6, 9] and both.nhev == one.nhev
    pairs = zip((first, second), both.steps, strict=True)
    residual = torch.cat([b @ (s - x) for (b, x), s in pairs])
    start = torch.cat([b @ x for b, x in (first, second)])
    assert float(residual.norm()) <= TOLERANCE * float(start.norm())


def test_the_joint_step_is_capped_and_keeps_its_direction():
    """One factor for all blocks: the largest entry becomes 1."""
    b = torch.eye(2, dtype=torch.float64)
    far, near = torch.tensor([8.0, 2.0]).double(), torch.tensor([1.0, -4.0]).double()
    step = block_newton_step(
        [block(b, far), block(b, near)], at_zero((b, far), (b, near)),
        value_of((b, far), (b, near)),
    )  # fmt: skip
    torch.testing.assert_close(step.steps[0], far / 8)
    torch.testing.assert_close(step.steps[1], near / 8)
    assert max(float(s.abs().max()) for s in step.steps) == LARGEST == 1.0


def test_a_step_within_the_cap_is_not_stretched():
    b, x = torch.eye(2, dtype=torch.float64), torch.tensor([0.5, -0.999]).double()
    step = block_newton_step([block(b, x)], at_zero((b, x)), value_of((b, x)))
    torch.testing.assert_close(step.steps[0], x)


@pytest.mark.parametrize("begin", [1.0, 0.25])
@pytest.mark.parametrize("halvings", [0, 1, 4, TRIES - 1])
def test_the_line_search_halves_until_armijos_rule_holds(halvings, begin):
    """A value that stays a hair above what is asked until the share is small enough."""
    b, x = torch.eye(3, dtype=torch.float64), torch.tensor([0.5, -0.25, 0.125]).double()
    here, slope, shares = 2.0, -float(x @ x), []

    def value(steps):
        share = float(steps[0][0] / x[0])
        shares.append(share)
        asked = here + ARMIJO * slope  # the slope over the whole step, as in the package
        return asked + (1e-12 if len(shares) <= halvings else -1e-12)

    step = block_newton_step([block(b, x)], here, value, begin)
    assert shares == [begin * 2.0**-k for k in range(halvings + 1)]
    assert step.accepted and step.nfev == halvings + 1
    torch.testing.assert_close(step.steps[0], begin * 2.0**-halvings * x)
    assert step.value == pytest.approx(here + ARMIJO * slope)
    longer = min(1.5 * begin, 1.0)
    assert step.share == (longer if halvings == 0 else begin * 2.0**-halvings)


@pytest.mark.parametrize("nothing", [math.nan, math.inf, 2.0])
def test_a_failed_search_changes_nothing(nothing):
    first, second = bowl(4), bowl(5)
    step = block_newton_step([block(*first), block(*second)], 2.0, lambda steps: nothing)
    assert not step.accepted and step.nfev == TRIES == 10 and step.value == 2.0
    assert step.nhev > 0  # which were taken all the same
    assert [s.shape for s in step.steps] == [(6,), (6,)]
    assert not any(bool(s.any()) for s in step.steps)


def test_a_block_at_its_minimum_stays_and_the_other_moves():
    b, x = bowl(6)
    still = (b, torch.zeros(6, dtype=torch.float64))
    step = block_newton_step([block(*still), block(b, x)], at_zero(still, (b, x)),
                             value_of(still, (b, x)))  # fmt: skip
    assert not step.steps[0].any() and step.steps[1].any()


def test_without_curvature_it_goes_down_the_gradient():
    """As the package does where conjugate gradients return nothing: by −g/‖g‖."""
    g = torch.tensor([3.0, -4.0]).double()
    step = block_newton_step([Block(g, lambda d: 0.0 * d)], 5.0, lambda s: 5 + float(g @ s[0]))
    assert step.accepted and step.nhev == 1
    torch.testing.assert_close(step.steps[0], -g / 5)


def test_where_no_iterate_is_better_than_none_it_goes_down_the_gradient():
    b = torch.logspace(0, 4, 40, dtype=torch.float64)
    g = -torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = block_newton_step([Block(g, lambda d: b * d)], 0.0, lambda s: float(g @ s[0]))
    assert step.nhev == ITERATIONS
    torch.testing.assert_close(step.steps[0], -g / g.norm())


def test_at_a_minimum_it_stays():
    b, _ = bowl(8)
    nothing = torch.zeros(6, dtype=torch.float64)
    step = block_newton_step([block(b, nothing)], 5.0, value_of((b, nothing)))
    assert not step.steps[0].any() and step.nhev == 0 and not step.accepted


def test_the_whole_method_stops_at_a_small_gradient_or_a_failed_search():
    b, x = bowl(7)

    def blocks(y):
        return 0.5 * float((y - x) @ b @ (y - x)), [Block(b @ (y - x), lambda d: b @ d)]

    found = original_newton(blocks, lambda y: blocks(y)[0], torch.zeros(6, dtype=torch.float64))
    norms = [iteration.gradient_norm for iteration in found]
    last = float((b @ (found[-1].x - x)).norm())
    bound = 1e-3 * max(1, norms[0])
    assert len(found) < 10 and last < bound <= min(norms)
    assert [i.start for i in found[1:]] == [i.value for i in found[:-1]]
    failed = original_newton(blocks, lambda y: math.nan, torch.zeros(6, dtype=torch.float64))
    assert len(failed) == 1 and not failed[0].accepted and not failed[0].x.any()
