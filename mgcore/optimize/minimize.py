"""Minimisation of a torch function by CG-Steihaug, with the interface of ``scipy.optimize``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mgcore.optimize.truncated_cg import Product
from mgcore.optimize.trust_region import (
    MAX_RADIUS,
    LocalModel,
    OptimizeResult,
    check_radii,
    trust_region,
)

ITERATIONS = 200  # for each variable where maxiter is None, scipy's default


def minimize_trust_region(
    fun: Callable[[Tensor], Any],
    x0: Tensor | ArrayLike,
    *,
    jac: Callable[[Tensor], Any] | bool | None = None,
    hessp: Callable[[Tensor, Tensor], Any] | None = None,
    callback: Callable[[Tensor], object] | None = None,
    gtol: float = 1e-4,
    maxiter: int | None = 1000,
    max_nhev: int | None = None,
    initial_trust_radius: float = 1.0,
    max_trust_radius: float = MAX_RADIUS,
    eta: float = 0.15,
    cg_iterations: int | None = None,
    preconditioner: Product | None = None,
) -> OptimizeResult:
    """Minimise a function by a trust-region method with truncated conjugate gradients.

    Parameters
    ----------
    fun : callable
        x ↦ the function's value, a tensor of one element or a number.  Unless `jac` is given,
        torch differentiates it, so it must be computed from `x` by torch.
    x0 : Tensor or array_like
        Start, of any shape, real.  `fun`, `jac` and `hessp` get tensors of its shape, type and
        device; integers become float64.
    jac : callable, or True, optional
        x ↦ the gradient, of the shape of x or flat.  True means that `fun` returns the pair
        (value, gradient).
    hessp : callable, optional
        (x, p) ↦ the Hessian at x times p, of the shape of x or flat.  By default torch
        differentiates the gradient.
    callback : callable, optional
        Called with a copy of x after each iteration.  Raising ``StopIteration`` ends the run.
    gtol : float
        The iteration stops when the norm of the gradient is at most `gtol` and no negative
        curvature is found.
    maxiter : int or None
        Largest number of iterations; None means 200 for each variable, as in scipy.
    max_nhev : int, optional
        Largest number of Hessian products; no limit by default.
    initial_trust_radius, max_trust_radius : float
        Δ₀ and Δ̂.
    eta : float
        A step is taken if the ratio of actual to predicted reduction exceeds `eta`, 0 ≤ η < ¼.
    cg_iterations : int, optional
        Largest number of Hessian products of one subproblem; the number of variables by default.
    preconditioner : callable, optional
        r ↦ M⁻¹ r on flat vectors, as for :func:`mgcore.optimize.steihaug`.

    Returns
    -------
    OptimizeResult
        With the fields x, fun, jac, nit, nfev, njev, nhev, success, status and message of
        ``scipy.optimize.minimize``.

    Raises
    ------
    TypeError
        If `x0`, the function or a derivative is complex.
    ValueError
        If an option is out of range, `fun` does not return one number (or with ``jac=True`` a
        pair), a derivative does not have as many numbers as x, or a derivative is neither given nor
        available by automatic differentiation.

    See Also
    --------
    mgcore.optimize.trust_region.trust_region : The loop, for functions that change with the data.

    References
    ----------
    Nocedal & Wright, *Numerical Optimization*, 2nd edition, Algorithms 4.1 and 7.2.

    Examples
    --------
    >>> result = minimize_trust_region(lambda x: ((x - 3) ** 2).sum() + x.prod(), [0.0, 1.0])
    >>> result.success, [round(float(v), 4) for v in result.x]
    (True, [2.0, 2.0])
    """
    check_radii(
        initial_trust_radius, max_trust_radius, ("initial_trust_radius", "max_trust_radius")
    )
    # Under torch.inference_mode() nothing could be differentiated.
    with torch.inference_mode(False), torch.enable_grad():
        start = _real(torch.as_tensor(x0), "x0").detach().clone()
        if not start.is_floating_point():
            start = start.double()
        problem = _Problem(fun, jac, hessp, start.shape)
        result = trust_region(
            lambda x, _: problem.local(x),
            lambda x, _: problem.value(x),
            start.reshape(-1),
            radius=initial_trust_radius, max_radius=max_trust_radius, eta=eta, gtol=gtol,
            maxiter=ITERATIONS * start.numel() if maxiter is None else maxiter,
            max_nhev=max_nhev, cg_iterations=cg_iterations,
            preconditioner=preconditioner, fixed=True,
            callback=callback and (lambda _, x, __: callback(x.view(start.shape).clone())),
        )  # fmt: skip
    return replace(
        result,
        x=result.x.view(start.shape), jac=result.jac.view(start.shape),
        nfev=problem.nfev, njev=problem.njev,
    )  # fmt: skip


class _Problem:
    """The user's functions on flat vectors, with counts of their calls."""

    def __init__(
        self,
        fun: Callable[[Tensor], Any],
        jac: Callable[[Tensor], Any] | bool | None,
        hessp: Callable[[Tensor, Tensor], Any] | None,
        shape: torch.Size,
    ) -> None:
        self.fun, self.jac, self.hessp, self.shape = fun, jac or None, hessp, shape
        self.nfev = self.njev = 0
        self._last: tuple[Tensor, Any] | None = None  # the latest point and fun there

    def value(self, x: Tensor) -> float:
        with torch.no_grad():
            found = self._call(x)
        return _number(_pair(found)[0] if self.jac is True else found)

    def local(self, x: Tensor) -> LocalModel:
        variable = x.detach().requires_grad_()
        self.njev += 1
        if self.jac is None:
            found = self._call(variable)
            value = _number(found)
            if not (isinstance(found, Tensor) and found.requires_grad):
                raise ValueError(
                    "fun returned a value that torch cannot differentiate. Compute it from x with "
                    "torch, or pass jac and hessp."
                )
            # Its own graph is needed only where torch differentiates once more.
            (gradient,) = torch.autograd.grad(
                found.reshape(()), variable, create_graph=self.hessp is None, materialize_grads=True
            )
        elif self.jac is True:
            found, gradient = _pair(self._call(variable if self.hessp is None else x))
            value = _number(found)
        else:
            value = (
                self.value(x)
                if self._last is None or self._last[0] is not x
                else _number(self._last[1])
            )
            gradient = self.jac((variable if self.hessp is None else x).view(self.shape))
        source = "fun" if self.jac is True else "jac"
        gradient = _like(gradient, x, f"The gradient from {source}")
        return LocalModel(value, gradient.detach(), self._product(x, variable, gradient))

    def _product(self, x: Tensor, variable: Tensor, gradient: Tensor) -> Product:
        hessp = self.hessp
        if hessp is not None:
            shape = self.shape
            return lambda d: _like(
                hessp(x.view(shape), d.view(shape)), x, "The product from hessp"
            ).detach()
        if not gradient.requires_grad:
            if self.jac is not None:
                raise ValueError(
                    "jac returned a gradient that torch cannot differentiate. Pass hessp."
                )
            return torch.zeros_like  # a linear function

        def product(d: Tensor) -> Tensor:
            return torch.autograd.grad(
                gradient, variable, d, retain_graph=True, materialize_grads=True
            )[0]

        return product

    def _call(self, x: Tensor) -> Any:
        self.nfev += 1
        found = self.fun(x.view(self.shape))
        self._last = x, found
        return found


def _real(values: Tensor, name: str) -> Tensor:
    if values.is_complex():
        raise TypeError(
            f"{name} is complex ({values.dtype}), and only real functions of real variables can be "
            "minimised. Use real and imaginary parts as two variables."
        )
    return values


def _like(values: Any, x: Tensor, name: str) -> Tensor:
    """Return a derivative as a flat tensor of the type and device of x."""
    flat = _real(torch.as_tensor(values), name).to(x).reshape(-1)
    if len(flat) != len(x):
        raise ValueError(f"{name} must have {len(x)} numbers, as many as x has, got {len(flat)}.")
    return flat


def _pair(found: Any) -> tuple[Any, Any]:
    try:
        value, gradient = found
    except (TypeError, ValueError):
        raise ValueError(
            "With jac=True, fun must return the pair (value, gradient), got a "
            f"{type(found).__name__}. Return a pair, or leave out jac."
        ) from None
    return value, gradient


def _number(value: Any) -> float:
    if math.prod(np.shape(value)) != 1:
        kind = "a tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(
            f"fun must return one number, got {kind} of shape {tuple(np.shape(value))}."
        )
    if isinstance(value, Tensor):
        return float(_real(value.detach(), "The value of fun"))
    if np.iscomplexobj(value):
        raise TypeError(f"The value of fun is complex, got {value!r}. Return a real number.")
    return float(value)
