"""Stochastic gradient descent as the thesis runs it (thesis (2.4)–(2.5), §3.2.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mgcore.thesis.network import Weights
from mgcore.thesis.objective import Objective

MOMENTUM_RULES = ("torch", "package")


def learning_rate(epoch: int, base: float = 0.003, decay: float = 0.5) -> float:
    """Return α_e = base / √(decay · e) for epochs e = 1, 2, … (thesis §3.2.1).

    Examples
    --------
    >>> round(learning_rate(2), 6)
    0.003
    """
    if epoch < 1:
        raise ValueError(f"epoch must be 1 or more, got {epoch}.")
    return base / math.sqrt(decay * epoch)


def sgd_update(
    weights: Weights,
    velocity: Weights,
    gradient: Weights,
    rate: float | Tensor,
    momentum: float,
    nesterov: bool,
    rule: str = "torch",
) -> None:
    """Move `weights` one step along `gradient`, in place.

    A rate on the device, a scalar Tensor, gives the same step up to rounding; a captured step of
    :mod:`mgcore.thesis.ensemble` reads it there.

    With the rule ``"torch"``, as ``torch.optim.SGD`` does: v ← μ v + g, then
    w ← w − α (g + μ v) with Nesterov's momentum or w ← w − α v without.

    With the rule ``"package"``, as the thesis's software does: the velocity is the step itself,
    v ← μ v + α g and w ← w − v, so that a change of the learning rate α leaves past steps as they
    were.  With Nesterov's momentum :func:`look_ahead` has already subtracted μ v from the weights,
    and only α g is left to subtract.

    Every operation is elementwise, so a leading axis of networks needs nothing more.
    """
    for name, w in weights.items():
        g, v = gradient[name], velocity[name]
        if momentum and rule == "package":
            _add_scaled(v.mul_(momentum), g, rate)
            if nesterov:
                _subtract_scaled(w, g, rate)
            else:
                w.sub_(v)
            continue
        if momentum:
            v.mul_(momentum).add_(g)
            g = g.add_(v, alpha=momentum) if nesterov else v
        _subtract_scaled(w, g, rate)


def _add_scaled(x: Tensor, g: Tensor, rate: float | Tensor) -> None:
    x.addcmul_(g, rate) if isinstance(rate, Tensor) else x.add_(g, alpha=rate)


def _subtract_scaled(x: Tensor, g: Tensor, rate: float | Tensor) -> None:
    x.addcmul_(g, rate, value=-1) if isinstance(rate, Tensor) else x.sub_(g, alpha=rate)


def look_ahead(
    weights: Weights,
    velocity: Weights,
    momentum: float,
    nesterov: bool,
    rule: str = "torch",
) -> None:
    """Move `weights`, in place, to the point at which the next gradient is evaluated.

    That is w − μ v for Nesterov's momentum by the rule ``"package"``.  By the rule ``"torch"`` the
    stored weights are that point already, and nothing changes.
    """
    if momentum and nesterov and rule == "package":
        for name, w in weights.items():
            w.sub_(velocity[name], alpha=momentum)


def train_epoch(
    objective: Objective,
    weights: Weights,
    velocity: Weights,
    images: Tensor,
    labels: Tensor,
    order: Tensor,
    *,
    rate: float,
    batch: int = 32,
    momentum: float = 0.0,
    nesterov: bool = False,
    rule: str = "torch",
) -> None:
    """Train for one epoch, in place.

    Parameters
    ----------
    weights, velocity : mapping of Tensor
        Changed in place; equal keys and shapes.
    images : Tensor, shape (count, 1, n, n)
    labels : Tensor, shape (count,)
    order : Tensor of int64, shape (count,)
        The permutation in which images are drawn: sampling without replacement (§3.2.1).
    rate : float
        Learning rate of this epoch.
    batch : int
        Images in a minibatch.  A last, smaller minibatch is dropped, as in the thesis's software.
    momentum : float
        μ, 0 for none.
    nesterov : bool
        Whether the momentum is Nesterov's.
    rule : {"torch", "package"}
        As for :func:`sgd_update`.

    Raises
    ------
    FloatingPointError
        If the weights are no longer finite at the end.
    """
    if batch > len(order):
        raise ValueError(f"batch must be at most the {len(order)} images, got {batch}.")
    leaves = {name: w.requires_grad_() for name, w in weights.items()}
    for chosen in order[: len(order) // batch * batch].split(batch):
        with torch.no_grad():
            look_ahead(leaves, velocity, momentum, nesterov, rule)
        gradient = objective.gradient(leaves, images[chosen], labels[chosen])
        with torch.no_grad():
            sgd_update(leaves, velocity, gradient, rate, momentum, nesterov, rule)
    for name, w in leaves.items():
        w.requires_grad_(False)
        if not torch.isfinite(w).all():
            raise FloatingPointError(f"training diverged: {name} is no longer finite.")
