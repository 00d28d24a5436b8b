"""Training several networks of one shape at once, along a leading axis, for GPUs (thesis §4.1).

The step is that of :mod:`mgcore.thesis.sgd` on the objective of
:mod:`mgcore.thesis.objective`; only the derivative of the loss is taken for all networks together.
A convolution whose kernels differ between networks can be computed in two ways, which give the same
numbers up to rounding:
``"grouped"``, what ``torch.func.vmap`` makes of it, one convolution with a group for each network;
and ``"unfold"``, patches laid out as columns and one batched matrix product.  Which is faster
depends on the device: ``mgcore bench vectorized`` measures both.  On a GPU neither has
been measured yet.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.grids import pool
from mgcore.thesis.network import CLASSIFIER, Weights
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import look_ahead, sgd_update

LOWERINGS = ("grouped", "unfold")
LOWERING = "unfold"


def stack(networks: Sequence[Weights]) -> dict[str, Tensor]:
    """Return the weights of networks along a new leading axis, copies."""
    return {name: torch.stack([one[name] for one in networks]) for name in networks[0]}


def unstack(weights: Weights) -> list[dict[str, Tensor]]:
    """Return the weights of each network, views of `weights`."""
    count = len(next(iter(weights.values())))
    return [{name: w[i] for name, w in weights.items()} for i in range(count)]


def ensemble_logits(
    objective: Objective, weights: Weights, images: Tensor, lowering: str = LOWERING
) -> Tensor:
    """Return the logits of each network on images of its own.

    Parameters
    ----------
    objective : Objective
    weights : mapping of Tensor, shapes (networks, …)
    images : Tensor, shape (networks, batch, 1, n, n)
    lowering : {"grouped", "unfold"}

    Returns
    -------
    Tensor, shape (networks, batch, 10)

    Raises
    ------
    ValueError
        For an unknown `lowering`.
    """
    if lowering not in LOWERINGS:
        raise ValueError(f"lowering must be 'grouped' or 'unfold', got {lowering!r}.")
    if lowering == "grouped":
        _prepare(objective, weights, images)
        return torch.func.vmap(objective.logits)(dict(weights), images)
    x = F.relu(_convolve(images, weights["conv1.weight"], objective.padding))
    if objective.pooling:
        x = pool(x)
    x = F.relu(_convolve(x, weights["conv2.weight"], objective.padding))
    logits = x.flatten(2) @ weights[CLASSIFIER].mT  # (networks, batch, 10)
    bias = weights.get("classifier.bias")
    return logits if bias is None else logits + bias[:, None]


def _convolve(x: Tensor, stencils: Tensor, padding: str) -> Tensor:
    """Correlate (networks, batch, in, n, n) with (networks, out, in, 3, 3) as matrix products."""
    networks, batch, channels, rows, columns = x.shape
    x = x.flatten(0, 1)
    if padding == "circular":
        x = F.pad(x, (1, 1, 1, 1), mode="circular")
    patches = F.unfold(x, 3, padding=0 if padding == "circular" else 1)  # (·, in · 9, n · n)
    patches = patches.view(networks, batch, channels * 9, rows * columns)
    seen = stencils.flatten(2).unsqueeze(1) @ patches  # (networks, batch, out, n · n)
    return seen.unflatten(-1, (rows, columns))


def _prepare(objective: Objective, weights: Weights, images: Tensor) -> None:
    """Run one image outside of vmap, so that no constant is created and cached inside of vmap."""
    with torch.no_grad():
        objective.logits({name: w[0] for name, w in weights.items()}, images[0, :1])


def ensemble_gradient(
    objective: Objective,
    weights: Weights,
    images: Tensor,
    labels: Tensor,
    lowering: str = LOWERING,
) -> dict[str, Tensor]:
    """Return the gradient of every network's objective on a minibatch of its own.

    Parameters
    ----------
    objective : Objective
    weights : mapping of Tensor, shapes (networks, …)
        Not changed.
    images : Tensor, shape (networks, batch, 1, n, n)
    labels : Tensor, shape (networks, batch)
    lowering : {"grouped", "unfold"}

    Returns
    -------
    dict of Tensor, of the shapes of `weights`
    """
    if lowering == "grouped":
        _prepare(objective, weights, images)
        slope = torch.func.vmap(torch.func.grad(objective.loss))
        gradient = slope(dict(weights), images, labels)
    else:
        leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
        logits = ensemble_logits(objective, leaves, images, lowering)
        # A loss depends on the weights of its network alone, so that of the sum is each one's.
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        parts = torch.autograd.grad(loss / labels.shape[1], list(leaves.values()))
        gradient = dict(zip(leaves, parts, strict=True))
    with torch.no_grad():
        objective.add_penalty_gradient(gradient, weights)
    return gradient


def train_ensemble_epoch(
    objective: Objective,
    weights: Weights,
    velocity: Weights,
    images: Tensor,
    labels: Tensor,
    order: Tensor,
    of: Tensor,
    *,
    rate: float,
    batch: int = 32,
    momentum: float = 0.0,
    nesterov: bool = False,
    rule: str = "torch",
    lowering: str = LOWERING,
) -> None:
    """Train every network for one epoch, all at once and in place.

    Parameters
    ----------
    weights, velocity : mapping of Tensor, shapes (networks, …)
        Changed in place.
    images : Tensor, shape (sets, count, 1, n, n)
    labels : Tensor, shape (sets, count)
    order : Tensor of int64, shape (sets, count)
        The permutation of each set of images; as for :func:`mgcore.thesis.sgd.train_epoch`.
    of : Tensor of int64, shape (networks,)
        Index of the set of images for each network; the conditions of a trial share one set.
    rate, batch, momentum, nesterov, rule
        As for :func:`mgcore.thesis.sgd.train_epoch`.
    lowering : {"grouped", "unfold"}

    Raises
    ------
    FloatingPointError
        If the weights of a network are no longer finite at the end.
    """
    count = order.shape[1]
    if batch > count:
        raise ValueError(f"batch must be at most the {count} images, got {batch}.")
    row = of[:, None]
    for chosen in order[:, : count // batch * batch].split(batch, dim=1):
        mine = chosen[of]  # (networks, batch)
        with torch.no_grad():
            look_ahead(weights, velocity, momentum, nesterov, rule)
        gradient = ensemble_gradient(
            objective, weights, images[row, mine], labels[row, mine], lowering
        )
        with torch.no_grad():
            sgd_update(weights, velocity, gradient, rate, momentum, nesterov, rule)
    for name, w in weights.items():
        if not torch.isfinite(w).all():
            raise FloatingPointError(f"training diverged: {name} is no longer finite.")


@torch.no_grad()
def evaluate_ensemble(
    objective: Objective,
    weights: Weights,
    images: Tensor,
    labels: Tensor,
    of: Tensor,
    batch: int = 50,
    lowering: str = LOWERING,
) -> list[dict[str, float]]:
    """Return for every network what :func:`mgcore.thesis.objective.evaluate` returns for one.

    Parameters
    ----------
    weights : mapping of Tensor, shapes (networks, …)
    images : Tensor, shape (sets, count, 1, n, n)
    labels : Tensor, shape (sets, count)
    of : Tensor of int64, shape (networks,)
        Index of the set of images for each network.
    batch : int
        Number of images of each network that are processed at a time.
    lowering : {"grouped", "unfold"}
    """
    right = torch.zeros(len(of), dtype=torch.int64, device=images.device)
    loss = torch.zeros(len(of), dtype=torch.float64, device=images.device)
    for some, truth in zip(images.split(batch, 1), labels.split(batch, 1), strict=True):
        logits = ensemble_logits(objective, weights, some[of], lowering).double()
        truth = truth[of]
        right += (logits.argmax(dim=-1) == truth).sum(dim=1)
        each = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
        loss += each.view(truth.shape).sum(dim=1)
    count, rows = labels.shape[1], []
    for one, hits, total in zip(unstack(weights), right.tolist(), loss.tolist(), strict=True):
        penalty = float(objective.penalty({name: w.double() for name, w in one.items()}))
        mean = total / count
        rows.append({"accuracy": 100 * hits / count, "loss": mean, "objective": mean + penalty})
    return rows
