"""Minimisation of a torch function by CG-Steihaug, with the interface of ``scipy.optimize``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mgcore.optimize.truncated_cg import Product
from mgcore.optimize.trust_region import MAX_RADIUS, LocalModel, OptimizeResult, trust_region


def minimize_trust_region(
    fun: Callable[[Tensor], Any],
    x0: Tensor | Sequence[float],
    *,
    jac: Callable[[Tensor], Any] | bool | None = None,
    hessp: Callable[[Tensor, Tensor], Any] | None = None,
    callback: Callable[[Tensor], object] | None = None,
    gtol: float = 1e-4,
    maxiter: int = 1000,
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
    x0 : Tensor, or a sequence of numbers
        Start, of any shape.  `fun`, `jac` and `hessp` get tensors of its shape, type and device;
        integers become float64.
    jac : callable, or True, optional
        x ↦ the gradient.  True means that `fun` returns the pair (value, gradient).
    hessp : callable, optional
        (x, p) ↦ the Hessian at x times p.  By default torch differentiates the gradient.
    callback : callable, optional
        Called with x after each iteration.  Raising ``StopIteration`` ends the run.
    gtol : float
        The iteration stops when the norm of the gradient is at most `gtol` and no negative
        curvature is found.
    maxiter, max_nhev : int
        Largest numbers of iterations and of Hessian products.
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
    ValueError
        If an option is out of range, `fun` does not return one number, or a derivative is neither
        given nor available by automatic differentiation.

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
    # Under torch.inference_mode() nothing could be differentiated.
    with torch.inference_mode(False), torch.enable_grad():
        start = torch.as_tensor(x0).detach().clone()
        if not start.is_floating_point():
            start = start.double()
        problem = _Problem(fun, jac, hessp, start.shape)
        result = trust_region(
            lambda x, _: problem.local(x),
            lambda x, _: problem.value(x),
            start.reshape(-1),
            radius=initial_trust_radius, max_radius=max_trust_radius, eta=eta, gtol=gtol,
            maxiter=maxiter, max_nhev=max_nhev, cg_iterations=cg_iterations,
            preconditioner=preconditioner, fixed=True,
            callback=callback and (lambda _, x, __: callback(x.view(start.shape))),
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
        return _number(found[0] if self.jac is True else found)

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
            pair = self._call(variable if self.hessp is None else x)
            value, gradient = _number(pair[0]), pair[1]
        else:
            value = (
                self.value(x)
                if self._last is None or self._last[0] is not x
                else _number(self._last[1])
            )
            gradient = self.jac((variable if self.hessp is None else x).view(self.shape))
        gradient = torch.as_tensor(gradient).to(x).reshape(-1)
        if len(gradient) != len(x):
            raise ValueError(
                f"jac must return {len(x)} numbers, as many as x has, got {len(gradient)}."
            )
        return LocalModel(value, gradient.detach(), self._product(x, variable, gradient))

    def _product(self, x: Tensor, variable: Tensor, gradient: Tensor) -> Product:
        hessp = self.hessp
        if hessp is not None:
            shape = self.shape
            return lambda d: (
                torch.as_tensor(hessp(x.view(shape), d.view(shape))).to(x).detach().reshape(-1)
            )
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


def _number(value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"fun must return one number, got a tensor of shape {tuple(value.shape)}.")
    return float(value.detach() if isinstance(value, Tensor) else value)
