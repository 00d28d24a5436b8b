"""CG-Steihaug: a trust-region method with truncated conjugate gradients (thesis §3.2.1, (3.7)).

The loop is Algorithm 4.1 of Nocedal & Wright, *Numerical Optimization*, 2nd edition.  It calls the
subproblem solver of :mod:`mgcore.optimize.truncated_cg` only through ``solve(radius)``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mgcore.optimize.truncated_cg import (
    PROBES,
    LowestCurvature,
    NotFiniteError,
    Product,
    Step,
    Subproblem,
    lowest_curvature,
    steihaug,
)

__all__ = [
    "IterationResult",
    "LocalModel",
    "OptimizeResult",
    "Step",
    "steihaug",
    "trust_region",
    "trust_region_step",
]

MAX_RADIUS = 1000.0  # Δ̂, scipy's default
UNBOUNDED_STEPS = 10  # of length Δ̂ without positive curvature, one after the other

MESSAGES = {
    0: "The norm of the gradient is at most gtol, and no negative curvature was found.",
    1: "The maximum number of iterations or of Hessian products was reached.",
    2: "No step lowers the function: the steps became too short to change x.",
    3: "The function appears to be unbounded below.",
    4: "The function, its gradient or a Hessian product is not finite.",
    5: "The norm of the gradient is at most gtol, but x is no minimum: the curvature is negative.",
    99: "`callback` raised `StopIteration`.",  # the number and the words of scipy
}


class LocalModel(NamedTuple):
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


class IterationResult(NamedTuple):
    """Result of one outer iteration.

    Attributes
    ----------
    x : Tensor, shape (n,)
        The point after the iteration; the old point if the step was rejected.
    value : float
        The function at `x`, on the data of the iteration.
    radius : float
        Δ for the next iteration.
    accepted : bool
        Whether the step was taken.
    step : Step
        The solution of the subproblem.
    finite : bool
        False if a Hessian product was not finite; `step` is then zero.
    """

    x: Tensor
    value: float
    radius: float
    accepted: bool
    step: Step
    finite: bool = True


@dataclass(frozen=True)
class OptimizeResult:
    """Result of a minimisation, with the names of ``scipy.optimize.OptimizeResult``.

    As there, ``result["x"]`` is ``result.x``, and ``dict(result)`` holds all fields.

    Attributes
    ----------
    x : Tensor
        The last point.
    fun : float
        The function at `x`.
    jac : Tensor
        The gradient at `x`.
    nit : int
        Outer iterations.
    nfev, njev, nhev : int
        Evaluations of the function, of its gradient, and Hessian products.
    success : bool
        Whether `status` is 0.
    status : int
        0 converged; 1 limit reached; 2 steps too short to change x; 3 function unbounded below;
        4 a value that is not finite; 5 gradient zero but no minimum; 99 stopped by the callback.
    message : str
        `status` in words.
    radius : float
        Δ at the end.
    boundary_steps, negative_curvature_steps : int
        Steps that ended on the boundary, and steps that ended by negative curvature.
    """

    x: Tensor
    fun: float
    jac: Tensor
    nit: int
    nfev: int
    njev: int
    nhev: int
    success: bool
    status: int
    message: str
    radius: float
    boundary_steps: int
    negative_curvature_steps: int

    def keys(self) -> Iterator[str]:
        """Return the names of the fields."""
        return (field.name for field in fields(self))

    def __getitem__(self, key: str) -> Any:
        """Return a field by its name."""
        if key not in self.keys():
            raise KeyError(f"{key!r} is no field of the result. It has {', '.join(self.keys())}.")
        return getattr(self, key)


def trust_region_step(
    here: LocalModel,
    value: Callable[[Tensor], float],
    x: Tensor,
    radius: float,
    *,
    max_radius: float = MAX_RADIUS,
    eta: float = 0.15,
    cg_iterations: int | None = None,
    preconditioner: Product | None = None,
) -> IterationResult:
    """Take one outer iteration of Algorithm 4.1 from `x`.

    Parameters
    ----------
    here : LocalModel
        The function at `x`.
    value : callable
        x ↦ the function, on the same data.
    x : Tensor, shape (n,)
    radius, max_radius : float
        Δ and Δ̂.
    eta : float
        The step is taken if the ratio of actual to predicted reduction exceeds `eta`.
    cg_iterations : int, optional
        Largest number of Hessian products of the subproblem; n by default.
    preconditioner : callable, optional
        As for :func:`steihaug`: Δ then bounds the step in the norm of M.

    Returns
    -------
    IterationResult
        If a Hessian product is not finite, the step is rejected and the radius shrinks.

    Raises
    ------
    ValueError
        If a radius is out of range, `cg_iterations` is no integer of 0 or more, the gradient is not
        a finite vector, or the preconditioner is not positive.
    """
    check_radii(radius, max_radius)
    _check_limit("cg_iterations", cg_iterations)

    def solve(radius: float) -> Step:
        return steihaug(
            here.hvp, here.gradient, radius,
            max_iterations=cg_iterations, preconditioner=preconditioner,
        )  # fmt: skip

    return _iterate(here.value, value, x, radius, max_radius, eta, solve)


def _iterate(
    here: float,
    value: Callable[[Tensor], float],
    x: Tensor,
    radius: float,
    max_radius: float,
    eta: float,
    solve: Callable[[float], Step],
) -> IterationResult:
    try:
        s = solve(radius)
    except NotFiniteError as error:
        nothing = Step(torch.zeros_like(x), False, error.iterations, 0.0, False)
        return IterationResult(x, here, _shrunk(radius), False, nothing, finite=False)
    moved = x + s.p
    there = value(moved)
    ratio = (here - there) / s.predicted_reduction if s.predicted_reduction > 0 else 0.0
    if not ratio >= 0.25:  # also where the value there is not a number
        radius = _shrunk(radius)
    elif ratio > 0.75 and s.hits_boundary:
        radius = min(2 * radius, max_radius)
    if ratio > eta:
        return IterationResult(moved, there, radius, True, s)
    return IterationResult(x, here, radius, False, s)


def _shrunk(radius: float) -> float:
    return max(0.25 * radius, sys.float_info.min)  # a radius of 0 would end the run with an error


def check_radii(
    radius: float, max_radius: float, names: tuple[str, str] = ("radius", "max_radius")
) -> None:
    """Raise ValueError unless 0 < Δ₀ ≤ Δ̂ < ∞; `names` are those of the caller's arguments."""
    # From an infinite radius a rejected step leads nowhere: a quarter of it is infinite too.
    if not 0 < max_radius < math.inf:
        raise ValueError(f"{names[1]} must be positive and finite, got {max_radius!r}.")
    if not 0 < radius <= max_radius:
        raise ValueError(
            f"{names[0]} must be positive and at most {names[1]}={max_radius!r}, got {radius!r}."
        )


def _check_limit(name: str, limit: int | None) -> None:
    if limit is not None and not (isinstance(limit, Integral) and limit >= 0):
        raise ValueError(f"{name} must be an integer, 0 or more, got {limit!r}.")


def trust_region(
    local: Callable[[Tensor, int], LocalModel],
    value: Callable[[Tensor, int], float],
    x: Tensor,
    *,
    radius: float = 1.0,
    max_radius: float = MAX_RADIUS,
    eta: float = 0.15,
    gtol: float = 1e-4,
    maxiter: int = 1000,
    max_nhev: int | None = None,
    cg_iterations: int | None = None,
    preconditioner: Product | None = None,
    callback: Callable[[int, Tensor, float], object] | None = None,
    fixed: bool = False,
) -> OptimizeResult:
    """Minimise a function by trust regions (Algorithm 4.1), each solved by :func:`steihaug`.

    Parameters
    ----------
    local : callable
        (x, k) ↦ :class:`LocalModel` for outer iteration k = 0, 1, …  The number lets a function
        that is a sum over data use one minibatch for each trust-region solve.
    value : callable
        (x, k) ↦ the function at x, on the data of iteration k.
    x : Tensor, shape (n,)
        Start.
    radius, max_radius : float
        Δ₀ and Δ̂.
    eta : float
        A step is taken if the ratio of actual to predicted reduction exceeds `eta`, 0 ≤ η < ¼.
    gtol : float
        The iteration stops when ‖g‖ is at most `gtol` and no negative curvature is found.
    maxiter : int
        Largest number of outer iterations.
    max_nhev : int, optional
        Largest number of Hessian products; no limit by default.
    cg_iterations : int, optional
        Largest number of Hessian products of one subproblem; n by default.
    preconditioner : callable, optional
        As for :func:`steihaug`; the same for every iteration.
    callback : callable, optional
        Called after each outer iteration with its number, the point and its value.  Raising
        ``StopIteration`` ends the run.
    fixed : bool
        Whether the function is the same in every iteration.  A rejected step then costs neither a
        new gradient nor new Hessian products.

    Returns
    -------
    OptimizeResult

    Raises
    ------
    ValueError
        If `eta`, `gtol`, a radius or a limit is out of range.

    Notes
    -----
    Where the gradient vanishes, up to ten products search for negative curvature
    (:func:`mgcore.optimize.truncated_cg.lowest_curvature`).  If they find some, the point is a
    saddle or a maximum, and the next step follows that direction to the boundary.
    """
    if not 0 <= eta < 0.25:
        raise ValueError(f"eta must be at least 0 and below 0.25, got {eta!r}.")
    if not gtol >= 0:
        raise ValueError(f"gtol must be 0 or more, got {gtol!r}.")
    check_radii(radius, max_radius)
    if maxiter is None:
        raise ValueError("maxiter must be an integer, 0 or more, got None.")
    _check_limit("maxiter", maxiter)
    _check_limit("max_nhev", max_nhev)
    _check_limit("cg_iterations", cg_iterations)
    nit = nfev = njev = nhev = boundary_steps = negative_curvature_steps = unbounded = 0
    here: LocalModel | None = None  # None where x or the data are new
    solve: Callable[[float], Step] | None = None  # of the model at x

    def ended(here: LocalModel, status: int, message: str = "") -> OptimizeResult:
        return OptimizeResult(
            x, here.value, here.gradient, nit, nfev, njev, nhev, status == 0, status,
            message or MESSAGES[status], radius, boundary_steps, negative_curvature_steps,
        )  # fmt: skip

    while True:
        k = min(nit, max(maxiter - 1, 0))  # after the last iteration, on its data
        if here is None:
            here, solve = local(x, k), None
            nfev, njev = nfev + 1, njev + 1
        if here.value == -math.inf:
            return ended(here, 3)
        if not (math.isfinite(here.value) and bool(torch.isfinite(here.gradient).all())):
            return ended(here, 4)

        stationary = float(here.gradient.norm()) <= gtol
        left = math.inf if max_nhev is None else max_nhev - nhev
        new = solve is None
        if new and stationary:
            if left < 1:
                return ended(here, 0, "The norm of the gradient is at most gtol.")
            try:
                lowest = lowest_curvature(here.hvp, x, int(min(PROBES, left)))
            except NotFiniteError as error:
                nhev += error.iterations
                return ended(here, 4)
            nhev += lowest.iterations
            if not lowest.curvature < 0:
                return ended(here, 0)
            solve = _along(lowest, here.gradient)
        if nit >= maxiter:
            return ended(here, 5 if stationary else 1)
        if new and not stationary:
            if left <= 0:
                return ended(here, 1)
            cap = int(min(len(x) if cg_iterations is None else cg_iterations, left))
            solve = _solver(here, fixed, cap, preconditioner)

        old_radius, old_x = radius, x
        assert solve is not None  # made above, for every new point

        def value_here(y: Tensor, k: int = k) -> float:
            return value(y, k)

        result = _iterate(here.value, value_here, x, radius, max_radius, eta, solve)
        step, x, radius = result.step, result.x, result.radius
        nit, nfev, nhev = nit + 1, nfev + result.finite, nhev + step.iterations
        boundary_steps += step.hits_boundary
        negative_curvature_steps += step.negative_curvature
        endless = result.accepted and step.hits_boundary and step.negative_curvature
        unbounded = unbounded + 1 if endless and old_radius == max_radius else 0
        try:
            if callback is not None:
                callback(nit - 1, x, result.value)
            stopped = False
        except StopIteration:
            stopped = True

        if fixed and new and not result.finite and step.iterations <= 1:
            # A smaller radius does not help if the first product is not finite: use no curvature.
            norm = float(here.gradient.norm())
            if not math.isfinite(norm):
                return ended(here, 4)
            radius = old_radius
            solve = _along(LowestCurvature(here.gradient / norm, 0.0, 0), here.gradient)
        stuck = result.finite and not result.accepted and torch.equal(old_x + step.p, old_x)
        if result.accepted and (stopped or unbounded == UNBOUNDED_STEPS):
            here = local(x, k)
            nfev, njev = nfev + 1, njev + 1
        if stopped:
            return ended(here, 99)
        if unbounded == UNBOUNDED_STEPS:
            return ended(here, 3)
        if stuck:
            return ended(here, 5 if stationary else 2)
        if result.accepted or not fixed:
            here = None


def _solver(
    here: LocalModel, fixed: bool, cap: int, preconditioner: Product | None
) -> Callable[[float], Step]:
    if fixed:
        return Subproblem(
            here.hvp, here.gradient, max_iterations=cap, preconditioner=preconditioner
        ).solve
    return lambda radius: steihaug(
        here.hvp, here.gradient, radius, max_iterations=cap, preconditioner=preconditioner
    )


def _along(lowest: LowestCurvature, gradient: Tensor) -> Callable[[float], Step]:
    """Return steps to the boundary along a direction without positive curvature, downhill."""
    slope = float(gradient @ lowest.direction)
    direction = -lowest.direction if slope > 0 else lowest.direction

    def solve(radius: float) -> Step:
        reduction = radius * abs(slope) - 0.5 * radius**2 * lowest.curvature
        return Step(radius * direction, True, 0, reduction, True)

    return solve
