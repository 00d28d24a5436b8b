"""The Newton method of the thesis's software: a damped block Gauss–Newton method.

The package XtractOpen/Meganet.m calls it CG-Steihaug, but by default it has no trust region
(``newton.m``, ``steihaugPCG.m``, ``Armijo.m``).  The Gauss–Newton matrix has one block for the
network and one for the classifier, without coupling.  Conjugate gradients solve approximately over
both blocks together; the step is capped; and a line search by Armijo's rule scales it.  Which of
this method and the textbook's (:mod:`mgcore.optimize.trust_region`) the thesis's tables show is
unknown, so mgcore has both.

:func:`block_newton_step` is one step, and :func:`original_newton` repeats the package's method.
With the package's Hessian, its iterates agree with the package's own to 1e-12
(``tests/thesis/test_original_software.py``).

The recorded studies (``mgcore.lab.trial.newton``) use the same step.  They differ from the package
in the functions that they pass to it, and in when they stop:

1. Their Hessian has no shift.  The package adds 10⁻³ I to the Hessian in the logits.
2. Their objective is the thesis's: a smoothness penalty on the classifier, none on its bias.
   The package's default penalises all weights by ½ α ‖w‖².
3. The network's block comes from the first ten images of the epoch's random order.  In the package
   it comes from the last minibatch held in memory.
4. They take one step in every epoch.  The package stops before a step where the norm of the
   gradient is below 10⁻³, or below 10⁻³ times the first norm.
5. They use no preconditioner.  For a classifier trained alone, the package preconditions by its
   smoothness penalty, in a way that changed between its versions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mgcore.optimize.truncated_cg import Product

TOLERANCE = 0.1  # of conjugate gradients: norm of the residual over norm of the gradient
ITERATIONS = 10  # largest number of iterations of conjugate gradients
TRIES = 10  # largest number of tries of the line search; each is half as long as the one before
LARGEST = 1.0  # largest entry of a step, in absolute value
ARMIJO = 1e-3  # share of the linear decrease along the whole step that every try must achieve
LONGER = 1.5  # factor on the start of the next line search after a success at the first try
GTOL = 1e-3  # smallest norm of the gradient, absolute and relative to the first one


class Block(NamedTuple):
    """One block of variables: its gradient, and its diagonal block of the Hessian as a product."""

    gradient: Tensor
    hvp: Product


class DampedStep(NamedTuple):
    """Result of :func:`block_newton_step`.

    Attributes
    ----------
    steps : list of Tensor
        One for each block, scaled by the line search; zeros if the line search failed.
    value : float
        The function after the step.
    nhev : int
        Hessian products of each block.
    nfev : int
        Function evaluations of the line search.
    share : float
        Share of the next capped step with which the next line search begins (the package's μ).
    accepted : bool
        False if the line search failed, which ends the method in the package.
    """

    steps: list[Tensor]
    value: float
    nhev: int
    nfev: int
    share: float
    accepted: bool


def block_newton_step(
    blocks: Sequence[Block],
    here: float,
    value: Callable[[list[Tensor]], float],
    share: float = 1.0,
) -> DampedStep:
    """Take one damped block Gauss–Newton step.

    Parameters
    ----------
    blocks : sequence of Block
        The blocks of a block-diagonal, positive semidefinite Hessian.
    here : float
        The function before the step.
    value : callable
        List of steps, one for each block ↦ the function after them.
    share : float
        Share of the step with which the line search begins: `share` of the previous result.

    Returns
    -------
    DampedStep
    """
    sizes = [len(block.gradient) for block in blocks]
    gradient = torch.cat([block.gradient for block in blocks])

    def product(d: Tensor) -> Tensor:
        parts = zip(blocks, d.split(sizes), strict=True)
        return torch.cat([block.hvp(part) for block, part in parts])

    step, products = _conjugate_gradients(product, -gradient)
    if not step.any() and gradient.any():
        step = -gradient / gradient.norm()  # no iterate is better than zero: steepest descent
    largest = float(step.abs().max())
    if largest > LARGEST:
        step = step * (LARGEST / largest)
    # The package compares with the decrease along the whole step, whatever the share that is tried.
    promised = ARMIJO * float(gradient @ step)
    for tried in range(1, TRIES + 1):
        scaled = list((share * step).split(sizes))
        there = value(scaled)
        if there < here + promised:
            onward = min(LONGER * share, 1.0) if tried == 1 else share
            return DampedStep(scaled, there, products, tried, onward, True)
        share /= 2
    still = list(torch.zeros_like(step).split(sizes))
    return DampedStep(still, here, products, TRIES, share, False)


class NewtonIteration(NamedTuple):
    """One iteration of :func:`original_newton`.

    Attributes
    ----------
    x : Tensor, shape (n,)
        The point after the iteration.
    start, value : float
        The function before and after the iteration.
    gradient_norm : float
        Norm of the gradient before the iteration.
    nhev, nfev : int
        Hessian products, and function evaluations of the line search.
    factor : float
        Share of the capped step that was taken, the package's μ.
    accepted : bool
        False if the line search failed.
    """

    x: Tensor
    start: float
    value: float
    gradient_norm: float
    nhev: int
    nfev: int
    factor: float
    accepted: bool


def original_newton(
    blocks: Callable[[Tensor], tuple[float, Sequence[Block]]],
    value: Callable[[Tensor], float],
    x: Tensor,
    iterations: int = 10,
) -> list[NewtonIteration]:
    """Minimise a function by the Newton method of the thesis's software, with its defaults.

    Parameters
    ----------
    blocks : callable
        x ↦ the function, and its blocks in the order of `x`.
    value : callable
        x ↦ the function.
    x : Tensor, shape (n,)
        Start.
    iterations : int
        Largest number of iterations.

    Returns
    -------
    list of NewtonIteration
        Fewer than `iterations` where the gradient became small or a line search failed.
    """
    found: list[NewtonIteration] = []
    share = 1.0
    for _ in range(iterations):
        start, parts = blocks(x)
        norm = float(torch.cat([part.gradient for part in parts]).norm())
        if norm < GTOL * max(1.0, found[0].gradient_norm if found else 0.0):
            break

        def value_after(steps: list[Tensor], x: Tensor = x) -> float:
            return value(x + torch.cat(steps))

        step = block_newton_step(parts, start, value_after, share)
        factor = share * 0.5 ** (step.nfev - 1)
        x, share = x + torch.cat(step.steps), step.share
        found.append(
            NewtonIteration(x, start, step.value, norm, step.nhev, step.nfev, factor, step.accepted)
        )
        if not step.accepted:
            break
    return found


def _conjugate_gradients(product: Product, b: Tensor) -> tuple[Tensor, int]:
    """Solve B x = b approximately; return the iterate of least residual and the products used."""
    x = best = torch.zeros_like(b)
    r, d = b.clone(), b.clone()
    rr = begun = least = float(r @ r)
    for iteration in range(ITERATIONS):
        if rr <= TOLERANCE**2 * begun:
            return best, iteration
        curved = product(d)
        curvature = float(d @ curved)
        if not curvature > 0:  # the package's radius is infinite: there is no boundary to go to
            return best, iteration + 1
        alpha = rr / curvature
        x, r = x + alpha * d, r - alpha * curved
        rr, before = float(r @ r), rr
        if rr < least:
            best, least = x, rr
        d = r + (rr / before) * d
    return best, ITERATIONS
