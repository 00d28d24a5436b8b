"""The trust-region subproblem, solved by truncated conjugate gradients.

Nocedal & Wright, *Numerical Optimization*, 2nd edition, Algorithm 7.2 (thesis §3.2.1, (3.7)).  The
solver needs a Hessian product, a gradient and a radius; it does not evaluate the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


class Step(NamedTuple):
    """Solution of a subproblem.

    Attributes
    ----------
    p : Tensor, shape (n,)
        The step.
    hits_boundary : bool
        Whether ‖p‖ = Δ.
    iterations : int
        Hessian products computed for this step.
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


class NotFiniteError(ValueError):
    """A Hessian product or a residual is infinite or not a number.

    Attributes
    ----------
    iterations : int
        Hessian products computed before the error, the faulty one included.
    """

    def __init__(self, message: str, iterations: int) -> None:
        super().__init__(message)
        self.iterations = iterations


class _Segment(NamedTuple):
    """One line segment of the path of conjugate gradients, from z to z + α d.

    ‖z‖², ⟨z, d⟩, ‖d‖² and `ahead` = ‖z + α d‖² are in the norm of M.  `reduction` is m(0) − m(z),
    `slope` and `curvature` are those of m at z along d.
    """

    z: Tensor
    d: Tensor
    zz: float
    zd: float
    dd: float
    ahead: float
    slope: float
    curvature: float
    reduction: float

    def leaves(self, radius: float) -> bool:
        """Return whether the path leaves the ball on this segment."""
        return self.zz < radius**2 and not self.ahead < radius**2

    def boundary_step(self, radius: float, iterations: int) -> Step:
        """Return the step to the point where the path leaves the ball."""
        tau = _boundary(self.zz, self.zd, self.dd, radius, self.slope, self.curvature)
        reduction = self.reduction - (tau * self.slope + 0.5 * tau**2 * self.curvature)
        return Step(self.z + tau * self.d, True, iterations, reduction, self.curvature <= 0)


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
        Δ > 0.  ``math.inf`` gives a truncated Newton step without a trust region, which ends
        before the first direction d with dᵀ B d ≤ 0.
    tolerance : float, optional
        The iteration stops when ‖r‖ is at most `tolerance`.  The default,
        min(½, √‖g‖) ‖g‖, makes the outer iteration converge superlinearly.
    max_iterations : int, optional
        Largest number of Hessian products; n by default.
    preconditioner : callable, optional
        r ↦ M⁻¹ r, M symmetric positive definite.  The radius then bounds ‖p‖ in the norm of M,
        and the tolerance bounds the residual in the norm of M⁻¹.

    Returns
    -------
    Step

    Raises
    ------
    ValueError
        If the radius is not positive, `max_iterations` is negative, the gradient is not a finite
        vector, or the preconditioner is not positive.
    NotFiniteError
        If a Hessian product or a residual is not finite; a ValueError.

    Examples
    --------
    The Newton step (−½, −1) is longer than the radius, so the step ends on the boundary:

    >>> step = steihaug(lambda d: torch.tensor([2.0, 1.0]) * d, torch.ones(2), radius=0.5)
    >>> round(float(step.p.norm()), 6), step.hits_boundary
    (0.5, True)
    """
    return _solve(hvp, gradient, radius, tolerance, max_iterations, preconditioner, None)


class Subproblem:
    """One quadratic model whose trust region may shrink.

    The path of conjugate gradients does not depend on the radius; the radius decides only where
    the path ends.  After the first solution, smaller radii therefore cost no Hessian product.

    Parameters
    ----------
    hvp, gradient, tolerance, max_iterations, preconditioner
        As for :func:`steihaug`.
    """

    def __init__(
        self,
        hvp: Product,
        gradient: Tensor,
        *,
        tolerance: float | None = None,
        max_iterations: int | None = None,
        preconditioner: Product | None = None,
    ) -> None:
        self._arguments = hvp, gradient
        self._options = tolerance, max_iterations, preconditioner
        self._segments: list[_Segment] = []
        self._end: Step | NotFiniteError | None = None

    def solve(self, radius: float) -> Step:
        """Return the step for a radius.

        Parameters
        ----------
        radius : float
            Any Δ > 0 in the first call; afterwards that Δ times a power of ¼.

        Returns
        -------
        Step
            Equal to the result of :func:`steihaug`; `iterations` is 0 after the first call.

        Raises
        ------
        ValueError, NotFiniteError
            As :func:`steihaug`.
        """
        if self._end is None:
            try:
                hvp, gradient = self._arguments
                tolerance, iterations, preconditioner = self._options
                self._end = _solve(
                    hvp, gradient, radius, tolerance, iterations, preconditioner, self._segments
                )
            except NotFiniteError as error:
                self._end = error
                raise
            return self._end
        for segment in self._segments:
            if segment.leaves(radius):
                return segment.boundary_step(radius, 0)
        if isinstance(self._end, NotFiniteError):
            raise NotFiniteError(str(self._end), 0)
        return self._end._replace(iterations=0)


def _solve(
    hvp: Product,
    gradient: Tensor,
    radius: float,
    tolerance: float | None,
    max_iterations: int | None,
    preconditioner: Product | None,
    segments: list[_Segment] | None,
) -> Step:
    """Run conjugate gradients; append to `segments` where the path leaves Δ/4, Δ/16, and so on."""
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius!r}.")
    if max_iterations is not None and max_iterations < 0:
        raise ValueError(f"max_iterations must be 0 or more, got {max_iterations!r}.")
    if gradient.ndim != 1:
        raise ValueError(
            f"gradient must be a vector, got a tensor of shape {tuple(gradient.shape)}."
        )
    if not bool(torch.isfinite(gradient).all()):
        raise ValueError("gradient has entries that are not finite. Check the function at x.")
    precondition = preconditioner or torch.Tensor.clone
    z, r = torch.zeros_like(gradient), gradient.clone()
    y = precondition(r)
    d = -y
    ry = _square(r, y, preconditioner, 0)
    size = math.sqrt(ry)
    tolerance = min(0.5, math.sqrt(size)) * size if tolerance is None else tolerance
    limit = len(gradient) if max_iterations is None else max_iterations
    reduction, zz, zd, dd = 0.0, 0.0, 0.0, ry  # of m, and of ‖z‖², ⟨z, d⟩, ‖d‖² in the norm of M
    for iteration in range(limit):
        if math.sqrt(ry) <= tolerance:
            return Step(z, False, iteration, reduction, False)
        product = hvp(d)
        # One transfer for both: on a GPU each waits for everything before it.
        curvature, slope = torch.stack([d @ product, r @ d]).tolist()
        if not math.isfinite(curvature):
            raise NotFiniteError(
                f"hvp returned a product B d with dᵀBd = {curvature}. Check the Hessian product, "
                "or use a smaller radius.",
                iteration + 1,
            )
        alpha = ry / curvature if curvature > 0 else math.inf
        ahead = zz + 2 * alpha * zd + alpha * alpha * dd
        segment = _Segment(z, d, zz, zd, dd, ahead, slope, curvature, reduction)
        if segments is not None and math.isfinite(radius) and _is_needed(segment, radius):
            segments.append(segment)
        if not ahead < radius**2:  # also where alpha is, or overflows to, infinity
            if math.isinf(radius):
                return Step(z, False, iteration + 1, reduction, curvature <= 0)
            return segment.boundary_step(radius, iteration + 1)
        z = z + alpha * d
        reduction -= alpha * slope + 0.5 * alpha**2 * curvature
        r = r + alpha * product
        y = precondition(r)
        ry, before = _square(r, y, preconditioner, iteration + 1), ry
        beta = ry / before
        # Products with M are not available, hence recurrences (Conn, Gould & Toint, §7.5.1).
        zz, zd, dd = ahead, beta * (zd + alpha * dd), ry + beta**2 * dd
        d = beta * d - y
    return Step(z, False, limit, reduction, False)


def _is_needed(segment: _Segment, radius: float) -> bool:
    """Return whether the path leaves a ball of radius Δ/4ᵏ, k ≥ 1, on this segment."""
    radius *= 0.25
    while radius**2 > segment.ahead:
        radius *= 0.25
    return radius**2 > segment.zz


def _square(r: Tensor, y: Tensor, preconditioner: Product | None, iterations: int) -> float:
    """Return rᵀ M⁻¹ r, which has to be finite and not negative."""
    value = float(r @ y)
    if 0 <= value < math.inf:
        return value
    if preconditioner is not None:
        raise ValueError(
            f"preconditioner must be symmetric positive definite, got rᵀM⁻¹r = {value:.3g}."
        )
    raise NotFiniteError(
        f"The squared norm of the residual is {value:.3g} in {r.dtype}. Rescale the function, or "
        "use a wider floating-point type.",
        iterations,
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


PROBES = 10  # Hessian products that a search for negative curvature may take


class LowestCurvature(NamedTuple):
    """Result of a search for negative curvature.

    Attributes
    ----------
    direction : Tensor, shape (n,)
        A unit vector d.
    curvature : float
        dᵀ B d where it is negative beyond rounding, else 0.
    iterations : int
        Hessian products computed.
    """

    direction: Tensor
    curvature: float
    iterations: int


def lowest_curvature(hvp: Product, like: Tensor, products: int = PROBES) -> LowestCurvature:
    """Search for a direction d with dᵀ B d < 0, by Lanczos' method.

    Parameters
    ----------
    hvp : callable
        d ↦ B d for d of shape (n,); B symmetric.
    like : Tensor, shape (n,)
        Gives size, type and device.
    products : int
        Largest number of Hessian products, at least 1.

    Returns
    -------
    LowestCurvature

    Raises
    ------
    NotFiniteError
        If a product is not finite.

    Notes
    -----
    The search ends at the first Ritz value below −√ε times the largest one in absolute value, ε the
    machine precision of `like`.  Fewer than n products may miss negative curvature.  The start is a
    random vector of a fixed seed, so results are reproducible.
    """
    draw = torch.Generator().manual_seed(0)
    v = torch.randn(like.shape, generator=draw, dtype=torch.float64).to(like)
    basis: list[Tensor] = [v / v.norm()]
    projected = torch.zeros(products, products, dtype=torch.float64)  # tridiagonal: Vᵀ B V
    threshold = math.sqrt(torch.finfo(like.dtype).eps)
    for k in range(products):
        w = hvp(basis[k])
        if not bool(torch.isfinite(w).all()):
            raise NotFiniteError("hvp returned a product that is not finite.", k + 1)
        projected[k, k] = float(basis[k] @ w)
        values, vectors = torch.linalg.eigh(projected[: k + 1, : k + 1])
        largest = float(values.abs().max())
        if float(values[0]) < -threshold * largest:
            direction = torch.stack(basis, dim=1) @ vectors[:, 0].to(like)
            return LowestCurvature(direction / direction.norm(), float(values[0]), k + 1)
        for _ in range(2):  # twice: rounding spoils one orthogonalisation
            for u in basis:
                w = w - (u @ w) * u
        length = float(w.norm())
        if k + 1 == products or length <= threshold * largest:  # the space is invariant
            break
        projected[k, k + 1] = projected[k + 1, k] = length
        basis.append(w / length)
    return LowestCurvature(basis[0], 0.0, k + 1)
