"""What the thesis's software ran under the name CG-Steihaug: a damped block Gauss–Newton method.

The package's ``newton`` with ``steihaugPCG`` has no trust region by default: each block of
variables gets a Gauss–Newton direction by a few conjugate gradient steps, the joint step is
capped, and a line search by Armijo's rule decides how far to go.  Nobody can know whether the
thesis's tables show this or the textbook's method (:mod:`mgcore.steihaug`), so both are here.

In its main lines: in the package one run of conjugate gradients spans both blocks, its line search
begins at the length it ended with before, and the stencils' block comes from its own, smaller
minibatch.  Those three are not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mgcore.truncated_cg import Product, steihaug

TOLERANCE = 0.1  # of conjugate gradients, relative to the gradient's norm
ITERATIONS = 10  # of conjugate gradients, at most
TRIES = 10  # of the line search, each half as far as the one before, at most
LARGEST = 1.0  # entry of a step, in absolute value
ARMIJO = 1e-4  # share of the promised decrease that a step must bring


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
    products : list of int
        Hessian products taken in each block.
    values : int
        Function values taken by the line search.
    accepted : bool
    """

    steps: list[Tensor]
    value: float
    products: list[int]
    values: int
    accepted: bool


def block_newton_step(
    blocks: Sequence[Block], here: float, value: Callable[[list[Tensor]], float]
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

    Returns
    -------
    Damped
    """
    steps, products = [], []
    for block in blocks:
        size = float(block.gradient.norm())
        inner = steihaug(
            block.hvp, block.gradient, math.inf, tolerance=TOLERANCE * size,
            max_iterations=ITERATIONS,
        )  # fmt: skip
        # Without any curvature there is no Newton step: the package then goes down the gradient.
        lost = size > 0 and not inner.p.any()
        steps.append(-block.gradient / size if lost else inner.p)
        products.append(inner.iterations)
    largest = max(float(step.abs().max()) for step in steps)
    if largest > LARGEST:
        steps = [step * (LARGEST / largest) for step in steps]
    slope = sum(float(b.gradient @ s) for b, s in zip(blocks, steps, strict=True))
    share = 1.0
    for tried in range(1, TRIES + 1):
        scaled = [share * step for step in steps]
        there = value(scaled)
        if there < here + ARMIJO * share * slope:
            return Damped(scaled, there, products, tried, True)
        share /= 2
    return Damped([torch.zeros_like(step) for step in steps], here, products, TRIES, False)
