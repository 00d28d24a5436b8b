"""The subproblem of CG-Steihaug: a quadratic over a ball, by truncated conjugate gradients.

Nocedal & Wright, Numerical Optimization, 2nd edition, Algorithm 7.2 (thesis §3.2.1, (3.7)).  It
sees a Hessian product, a gradient and a radius, and nothing of the function behind them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
        Δ > 0; ``math.inf`` asks for a plain truncated Newton step, which ends before the first
        direction d with dᵀ B d ≤ 0.
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
        If the radius is not positive, the cap negative, the gradient not a finite vector, a
        product not finite or the preconditioner not positive.
    """
    if not radius > 0:
        raise ValueError(f"radius={radius!r}; accepted: a positive number.")
    if max_iterations is not None and max_iterations < 0:
        raise ValueError(f"max_iterations={max_iterations!r}; accepted: 0 or more.")
    if gradient.ndim != 1:
        raise ValueError(f"gradient has shape {tuple(gradient.shape)}; accepted: a vector.")
    if not bool(torch.isfinite(gradient).all()):
        raise ValueError("gradient has entries that are not finite; accepted: finite numbers.")
    precondition = preconditioner or torch.Tensor.clone
    z, r = torch.zeros_like(gradient), gradient.clone()
    y = precondition(r)
    d = -y
    ry = _square(r, y, preconditioner)
    size = math.sqrt(ry)
    tolerance = min(0.5, math.sqrt(size)) * size if tolerance is None else tolerance
    limit = len(gradient) if max_iterations is None else max_iterations
    reduction, zz, zd, dd = 0.0, 0.0, 0.0, ry  # of m, and of ‖z‖², ⟨z, d⟩, ‖d‖² in the norm of M
    for iteration in range(limit):
        if math.sqrt(ry) <= tolerance:
            return Step(z, False, iteration, reduction, False)
        product = hvp(d)
        curvature, slope = float(d @ product), float(r @ d)
        if not math.isfinite(curvature):
            raise ValueError(
                f"hvp returns B d with dᵀBd = {curvature}; accepted: a finite product."
            )
        alpha = ry / curvature if curvature > 0 else math.inf
        ahead = zz + 2 * alpha * zd + alpha * alpha * dd
        if not ahead < radius**2:  # also where alpha is, or overflows to, infinity
            if math.isinf(radius):
                return Step(z, False, iteration + 1, reduction, curvature <= 0)
            tau = _boundary(zz, zd, dd, radius, slope, curvature)
            reduction -= tau * slope + 0.5 * tau**2 * curvature
            return Step(z + tau * d, True, iteration + 1, reduction, curvature <= 0)
        z = z + alpha * d
        reduction -= alpha * slope + 0.5 * alpha**2 * curvature
        r = r + alpha * product
        y = precondition(r)
        ry, before = _square(r, y, preconditioner), ry
        beta = ry / before
        # Products with M are not to be had, hence recurrences (Conn, Gould & Toint, §7.5.1).
        zz, zd, dd = ahead, beta * (zd + alpha * dd), ry + beta**2 * dd
        d = beta * d - y
    return Step(z, False, limit, reduction, False)


def _square(r: Tensor, y: Tensor, preconditioner: Product | None) -> float:
    """Return rᵀ M⁻¹ r, which has to be a number that is not negative."""
    value = float(r @ y)
    if 0 <= value < math.inf:
        return value
    if preconditioner is not None:
        raise ValueError(
            f"preconditioner gives rᵀM⁻¹r = {value:.3g}; accepted: M symmetric positive definite."
        )
    raise ValueError(
        f"gradient leads to a residual whose square is {value:.3g} in {r.dtype}; accepted: one "
        "that the type can hold."
    )


def _boundary(
    zz: float, zd: float, dd: float, radius: float, slope: float, curvature: float
) -> float:
    """Return τ with ‖z + τ d‖ = Δ: of the two, the one with the lower model.

    On positive curvature that is the positive root, since d descends.
    """
    # Of the two formulas for a root, each takes the one that does not cancel.
    q = -(zd + math.copysign(math.sqrt(max(zd**2 + dd * (radius**2 - zz), 0.0)), zd))
    roots = [q / dd] if q == 0 else [q / dd, (zz - radius**2) / q]
    if curvature > 0:
        return max(roots)
    return min(roots, key=lambda tau: tau * slope + 0.5 * tau**2 * curvature)
