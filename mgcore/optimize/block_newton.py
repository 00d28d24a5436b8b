"""What the thesis's software ran under the name CG-Steihaug: a damped block Gauss–Newton method.

The package's ``newton`` with ``steihaugPCG`` has no trust region by default: conjugate gradients
solve, roughly, with a Gauss–Newton matrix that has one block for the network and one for the
classifier and nothing between them; the step is capped, and a line search by Armijo's rule decides
how far to go.  Nobody can know whether the thesis's tables show this or the textbook's method
(:mod:`mgcore.optimize.trust_region`), so both are here.

Followed are the defaults of XtractOpen/Meganet.m (``newton.m``, ``steihaugPCG.m``, ``Armijo.m``).
Two things are not: for a classifier trained alone the package preconditions by its smoothness
penalty, in a way that changed between its versions; and it stops before a step where the gradient's
norm is below 1e-3, or below that share of the first one's, where ours goes on to its last epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mgcore.optimize.truncated_cg import Product

TOLERANCE = 0.1  # of conjugate gradients: residual over gradient, both in the 2-norm
ITERATIONS = 10  # of conjugate gradients, at most
TRIES = 10  # of the line search, each half as far as the one before, at most
LARGEST = 1.0  # entry of a step, in absolute value
ARMIJO = 1e-3  # share of the whole step's promised decrease that any part of it must bring
LONGER = 1.5  # by what the next search begins further out where the first try did


class Block(NamedTuple):
    """One block of variables: its gradient, and the Hessian's diagonal block as a product."""

    gradient: Tensor
    hvp: Product


class Damped(NamedTuple):
    """The outcome of a step.

    Attributes
    ----------
    steps : list of Tensor
        One for each block, already scaled; zeros where the line search failed.
    value : float
        The function after the step.
    products : int
        Hessian products taken, in each block.
    values : int
        Function values taken by the line search.
    share : float
        Of the capped step, where the next line search is to begin.
    accepted : bool
        False ends the method: the package then gives up.
    """

    steps: list[Tensor]
    value: float
    products: int
    values: int
    share: float
    accepted: bool


def block_newton_step(
    blocks: Sequence[Block],
    here: float,
    value: Callable[[list[Tensor]], float],
    share: float = 1.0,
) -> Damped:
    """Take one damped step.

    Parameters
    ----------
    blocks : sequence of Block
        The blocks of a block-diagonal, positive semidefinite Hessian.
    here : float
        The function before the step.
    value : callable
        Steps, one for each block, ↦ the function after them.
    share : float
        Where the line search begins: what the step before returned as its `share`.

    Returns
    -------
    Damped
    """
    sizes = [len(block.gradient) for block in blocks]
    gradient = torch.cat([block.gradient for block in blocks])

    def product(d: Tensor) -> Tensor:
        parts = zip(blocks, d.split(sizes), strict=True)
        return torch.cat([block.hvp(part) for block, part in parts])

    step, products = _conjugate_gradients(product, -gradient)
    if not step.any() and gradient.any():
        step = -gradient / gradient.norm()  # without any curvature: down the gradient
    largest = float(step.abs().max())
    if largest > LARGEST:
        step = step * (LARGEST / largest)
    # The package compares with the slope over the whole step, however short the part tried is.
    promised = ARMIJO * float(gradient @ step)
    for tried in range(1, TRIES + 1):
        scaled = list((share * step).split(sizes))
        there = value(scaled)
        if there < here + promised:
            onward = min(LONGER * share, 1.0) if tried == 1 else share
            return Damped(scaled, there, products, tried, onward, True)
        share /= 2
    still = list(torch.zeros_like(step).split(sizes))
    return Damped(still, here, products, TRIES, share, False)


def _conjugate_gradients(product: Product, b: Tensor) -> tuple[Tensor, int]:
    """Solve B x = b roughly, from zero; return the x of least residual and the products taken."""
    x = best = torch.zeros_like(b)
    r, d = b.clone(), b.clone()
    rr = begun = least = float(r @ r)
    for iteration in range(ITERATIONS):
        if rr <= TOLERANCE**2 * begun:
            return best, iteration
        curved = product(d)
        curvature = float(d @ curved)
        if not curvature > 0:  # an infinite radius has no boundary to go to
            return best, iteration + 1
        alpha = rr / curvature
        x, r = x + alpha * d, r - alpha * curved
        rr, before = float(r @ r), rr
        if rr < least:
            best, least = x, rr
        d = r + (rr / before) * d
    return best, ITERATIONS
