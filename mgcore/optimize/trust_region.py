"""CG-Steihaug: trust regions solved by truncated conjugate gradients (thesis §3.2.1, (3.7)).

The loop of Nocedal & Wright, Numerical Optimization, 2nd edition, Algorithm 4.1, around the
subproblem of :mod:`mgcore.optimize.truncated_cg`.  The two know each other by a seam only: the loop sees a
step and what it promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mgcore.optimize.truncated_cg import Product, Step, steihaug

__all__ = ["Local", "Outcome", "Step", "Taken", "steihaug", "trust_region", "trust_region_step"]

MAX_RADIUS = 1000.0  # Δ̂, scipy's default


class Local(NamedTuple):
    """A function at a point: its value, its gradient and its Hessian product there.

    Attributes
    ----------
    value : float
    gradient : Tensor, shape (n,)
    hvp : callable
        d ↦ H d for d of shape (n,).
    """

    value: float
    gradient: Tensor
    hvp: Product


class Taken(NamedTuple):
    """The outcome of one outer iteration.

    Attributes
    ----------
    x : Tensor, shape (n,)
        The point after it; the same as before where the step was refused.
    value : float
        The function there, on the data of the iteration.
    radius : float
        Δ for the next.
    accepted : bool
    step : Step
        What the subproblem returned.
    """

    x: Tensor
    value: float
    radius: float
    accepted: bool
    step: Step


@dataclass(frozen=True)
class Outcome:
    """Where a trust-region iteration ended.

    Attributes
    ----------
    x : Tensor, shape (n,)
    value : float
    steps : int
        Outer iterations.
    products : int
        Hessian products over all of them.
    radius : float
    converged : bool
        Whether the gradient's norm fell below `gtol`.
    boundary_steps, negative_curvature : int
        How many steps ended on the boundary, and how many of them by negative curvature.
    """

    x: Tensor
    value: float
    steps: int
    products: int
    radius: float
    converged: bool
    boundary_steps: int
    negative_curvature: int


def trust_region_step(
    here: Local,
    value: Callable[[Tensor], float],
    x: Tensor,
    radius: float,
    *,
    max_radius: float = MAX_RADIUS,
    eta: float = 0.15,
    cg_iterations: int | None = None,
    preconditioner: Product | None = None,
) -> Taken:
    """Take one outer iteration of Algorithm 4.1 from `x`.

    Parameters
    ----------
    here : Local
        The function at `x`.
    value : callable
        x ↦ the function, on the same data.
    x : Tensor, shape (n,)
    radius, max_radius : float
        Δ and Δ̂.
    eta : float
        The step is taken if actual over predicted reduction exceeds it.
    cg_iterations : int, optional
        Hessian products the subproblem may take.
    preconditioner : callable, optional
        As for :func:`steihaug`: Δ then bounds the step in the norm of M.

    Returns
    -------
    Taken

    Raises
    ------
    ValueError
        If a radius is out of range, or the subproblem refuses its gradient or a product.
    """
    _check_radii(radius, max_radius)
    s = steihaug(
        here.hvp, here.gradient, radius,
        max_iterations=cg_iterations, preconditioner=preconditioner,
    )  # fmt: skip
    there = value(x + s.p)
    ratio = (here.value - there) / s.predicted_reduction if s.predicted_reduction > 0 else 0.0
    if not ratio >= 0.25:  # also where the value there is not a number
        radius = 0.25 * radius
    elif ratio > 0.75 and s.hits_boundary:
        radius = min(2 * radius, max_radius)
    if ratio > eta:
        return Taken(x + s.p, there, radius, True, s)
    return Taken(x, here.value, radius, False, s)


def _check_radii(radius: float, max_radius: float) -> None:
    # From an infinite radius a refused step leads nowhere: a quarter of it is infinite too.
    if not 0 < max_radius < math.inf:
        raise ValueError(f"max_radius={max_radius!r}; accepted: a positive, finite number.")
    if not 0 < radius <= max_radius:
        raise ValueError(f"radius={radius!r}; accepted: positive, at most {max_radius=}.")


def trust_region(
    local: Callable[[Tensor, int], Local],
    value: Callable[[Tensor, int], float],
    x: Tensor,
    *,
    radius: float = 1.0,
    max_radius: float = MAX_RADIUS,
    eta: float = 0.15,
    gtol: float = 1e-4,
    max_steps: int = 1000,
    max_products: int | None = None,
    cg_iterations: int | None = None,
    preconditioner: Product | None = None,
    watch: Callable[[int, Tensor, float], None] = lambda step, x, value: None,
) -> Outcome:
    """Minimise a function by trust regions (Algorithm 4.1), each solved by :func:`steihaug`.

    Parameters
    ----------
    local : callable
        (x, k) ↦ :class:`Local` for outer iteration k = 0, 1, …  The number lets a function
        that is a sum over data take one fixed minibatch for each trust-region solve.
    value : callable
        (x, k) ↦ the function at x, on the data of iteration k: what a step is judged by.
    x : Tensor, shape (n,)
        Start.
    radius, max_radius : float
        Δ₀ and Δ̂.
    eta : float
        A step is taken if actual over predicted reduction exceeds it, 0 ≤ η < ¼.
    gtol : float
        Stop when ‖g‖ is not above it.
    max_steps, max_products : int
        Outer iterations and Hessian products at most.
    cg_iterations : int, optional
        Hessian products a subproblem may take.
    preconditioner : callable, optional
        As for :func:`steihaug`; the same for every iteration.
    watch : callable
        Called after each outer iteration with its number, the point and its value.

    Returns
    -------
    Outcome
        Not converged also where a refused step is too short to move x: no smaller one would.

    Raises
    ------
    ValueError
        If `eta`, or a radius, is out of range.
    """
    if not 0 <= eta < 0.25:
        raise ValueError(f"eta={eta!r}; accepted: 0 up to, not including, ¼.")
    _check_radii(radius, max_radius)
    products = boundary = negative = 0
    for step in range(max_steps):
        here = local(x, step)
        if float(here.gradient.norm()) <= gtol:
            return Outcome(x, here.value, step, products, radius, True, boundary, negative)
        if max_products is not None and products >= max_products:
            return Outcome(x, here.value, step, products, radius, False, boundary, negative)
        left = math.inf if max_products is None else max_products - products
        cap = min(len(x) if cg_iterations is None else cg_iterations, left)
        taken = trust_region_step(
            here, lambda y, k=step: value(y, k), x, radius, max_radius=max_radius, eta=eta,
            cg_iterations=cap, preconditioner=preconditioner,
        )  # fmt: skip
        stuck = not taken.accepted and torch.equal(x + taken.step.p, x)
        x, radius = taken.x, taken.radius
        products += taken.step.iterations
        boundary += taken.step.hits_boundary
        negative += taken.step.negative_curvature
        watch(step, x, taken.value)
        if stuck:
            return Outcome(x, here.value, step + 1, products, radius, False, boundary, negative)
    final = local(x, max(max_steps - 1, 0))  # on the last data: there may be none after them
    converged = float(final.gradient.norm()) <= gtol
    return Outcome(x, final.value, max_steps, products, radius, converged, boundary, negative)
