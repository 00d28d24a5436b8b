"""CG-Steihaug: a trust region solved by truncated conjugate gradients (thesis §3.2.1, (3.7)).

Nocedal & Wright, Numerical Optimization, 2nd edition: Algorithm 7.2 for the subproblem and
Algorithm 4.1 for the loop around it.  The two know each other by a seam only: the subproblem
sees a Hessian product, a gradient and a radius; the loop sees a step and what it promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


class Step(NamedTuple):
    """The outcome of a subproblem.

    Attributes
    ----------
    p : Tensor, shape (n,)
        The step.
    hits_boundary : bool
        Whether ‖p‖ = Δ.
    iterations : int
        Hessian products taken.
    predicted_reduction : float
        m(0) − m(p), which is never negative.
    negative_curvature : bool
        Whether a direction d with dᵀ B d ≤ 0 ended the iteration.
    """

    p: Tensor
    hits_boundary: bool
    iterations: int
    predicted_reduction: float
    negative_curvature: bool


def steihaug(
    hvp: Product,
    gradient: Tensor,
    radius: float,
    *,
    tolerance: float | None = None,
    max_iterations: int | None = None,
    preconditioner: Product | None = None,
) -> Step:
    """Minimise m(p) = gᵀp + ½ pᵀBp approximately over ‖p‖ ≤ Δ (Algorithm 7.2).

    Parameters
    ----------
    hvp : callable
        d ↦ B d for d of shape (n,); B symmetric, not necessarily definite.
    gradient : Tensor, shape (n,)
    radius : float
        Δ > 0; ``math.inf`` asks for a plain truncated Newton step.
    tolerance : float, optional
        Stop when ‖r‖ falls below it; min(½, √‖g‖) ‖g‖ by default, which makes the outer
        iteration converge superlinearly.
    max_iterations : int, optional
        Hessian products at most; n by default.
    preconditioner : callable, optional
        r ↦ M⁻¹ r, M symmetric positive definite.  The radius then bounds ‖p‖ in the norm of M,
        and the tolerance the residual in the norm of M⁻¹.

    Returns
    -------
    Step

    Raises
    ------
    ValueError
        If the radius is not positive, or the gradient not a finite vector.
    """
    if not radius > 0:
        raise ValueError(f"radius={radius!r}; accepted: a positive number.")
    if gradient.ndim != 1 or not bool(torch.isfinite(gradient).all()):
        raise ValueError(
            f"gradient has shape {tuple(gradient.shape)} or is not finite; accepted: a finite "
            "vector."
        )
    precondition = preconditioner or torch.Tensor.clone
    z, r = torch.zeros_like(gradient), gradient.clone()
    y = precondition(r)
    d = -y
    ry = float(r @ y)
    size = math.sqrt(ry)
    tolerance = min(0.5, math.sqrt(size)) * size if tolerance is None else tolerance
    limit = len(gradient) if max_iterations is None else max_iterations
    reduction, zz, zd, dd = 0.0, 0.0, 0.0, ry  # of m, and of ‖z‖², ⟨z, d⟩, ‖d‖² in the norm of M
    for iteration in range(limit):
        if math.sqrt(ry) <= tolerance:
            return Step(z, False, iteration, reduction, False)
        product = hvp(d)
        curvature, slope = float(d @ product), float(r @ d)
        if curvature > 0:
            alpha = ry / curvature
            ahead = zz + 2 * alpha * zd + alpha**2 * dd
        if curvature <= 0 or ahead >= radius**2:
            tau = _boundary(zz, zd, dd, radius, slope, curvature)
            reduction -= tau * slope + 0.5 * tau**2 * curvature
            return Step(z + tau * d, True, iteration + 1, reduction, curvature <= 0)
        z = z + alpha * d
        reduction -= alpha * slope + 0.5 * alpha**2 * curvature
        r = r + alpha * product
        y = precondition(r)
        ry, before = float(r @ y), ry
        beta = ry / before
        # Products with M are not to be had, hence recurrences (Conn, Gould & Toint, §7.5.1).
        zz, zd, dd = ahead, beta * (zd + alpha * dd), ry + beta**2 * dd
        d = beta * d - y
    return Step(z, False, limit, reduction, False)


def _boundary(
    zz: float, zd: float, dd: float, radius: float, slope: float, curvature: float
) -> float:
    """Return τ with ‖z + τ d‖ = Δ: of the two, the one with the lower model.

    On positive curvature that is the positive root, since d descends.
    """
    if math.isinf(radius):
        raise ValueError("radius=inf with negative curvature; accepted: a finite radius there.")
    # Of the two formulas for a root, each takes the one that does not cancel.
    q = -(zd + math.copysign(math.sqrt(max(zd**2 + dd * (radius**2 - zz), 0.0)), zd))
    roots = [q / dd] if q == 0 else [q / dd, (zz - radius**2) / q]
    if curvature > 0:
        return max(roots)
    return min(roots, key=lambda tau: tau * slope + 0.5 * tau**2 * curvature)


class Local(NamedTuple):
    """A function at a point: its value, its gradient and its Hessian product there."""

    value: float
    gradient: Tensor
    hvp: Product


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


def trust_region(
    local: Callable[[Tensor, int], Local],
    value: Callable[[Tensor, int], float],
    x: Tensor,
    *,
    radius: float = 1.0,
    max_radius: float = 1000.0,
    eta: float = 0.15,
    gtol: float = 1e-4,
    max_steps: int = 1000,
    max_products: int | None = None,
    cg_iterations: int | None = None,
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
        Stop when ‖g‖ falls below it.
    max_steps, max_products : int
        Outer iterations and Hessian products at most.
    cg_iterations : int, optional
        Hessian products a subproblem may take.
    watch : callable
        Called after each outer iteration with its number, the point and its value.

    Returns
    -------
    Outcome

    Raises
    ------
    ValueError
        If `eta`, or a radius, is out of range.
    """
    if not 0 <= eta < 0.25:
        raise ValueError(f"eta={eta!r}; accepted: 0 up to, not including, ¼.")
    if not 0 < radius <= max_radius:
        raise ValueError(f"radius={radius!r}; accepted: positive, at most {max_radius=}.")
    products = boundary = negative = 0
    for step in range(max_steps):
        here = local(x, step)
        if float(here.gradient.norm()) < gtol:
            return Outcome(x, here.value, step, products, radius, True, boundary, negative)
        if max_products is not None and products >= max_products:
            return Outcome(x, here.value, step, products, radius, False, boundary, negative)
        s = steihaug(here.hvp, here.gradient, radius, max_iterations=cg_iterations)
        products += s.iterations
        boundary += s.hits_boundary
        negative += s.negative_curvature
        there = value(x + s.p, step)
        ratio = (here.value - there) / s.predicted_reduction if s.predicted_reduction > 0 else 0.0
        if not ratio >= 0.25:  # also where the value there is not a number
            radius = 0.25 * radius
        elif ratio > 0.75 and s.hits_boundary:
            radius = min(2 * radius, max_radius)
        if ratio > eta:
            x = x + s.p
        watch(step, x, there if ratio > eta else here.value)
    final = local(x, max_steps)
    converged = float(final.gradient.norm()) < gtol
    return Outcome(x, final.value, max_steps, products, radius, converged, boundary, negative)
