"""Value, gradient and Hessian products of the objective at one point (thesis (3.7)).

Conjugate gradients need many products at the same weights.  The intermediate results of the
gradient are therefore kept, and each product is one more pass
(:mod:`mgcore.thesis.hessian_products`).  If they do not fit into memory, every product
differentiates the gradient anew, in chunks of images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.optimize.trust_region import LocalModel
from mgcore.thesis.hessian_products import Linearised, softmax_hessian
from mgcore.thesis.network import Weights
from mgcore.thesis.objective import Objective

HESSIANS = ("full", "gauss-newton")
PartsProduct = Callable[[Weights], Tensor]  # directions by name ↦ a flat vector
MEMORY = 3 * 2**30  # largest size of the kept results, in bytes


def flatten(weights: Weights) -> Tensor:
    """Return all weights as one vector, in the order of the mapping."""
    return torch.cat([w.reshape(-1) for w in weights.values()])


def unflatten(vector: Tensor, like: Weights) -> dict[str, Tensor]:
    """Return a vector as weights of the names and shapes of `like`, views of it."""
    parts = vector.split([w.numel() for w in like.values()])
    return {name: part.view(w.shape) for (name, w), part in zip(like.items(), parts, strict=True)}


def pass_bytes(objective: Objective, count: int, itemsize: int = 4) -> int:
    """Estimate the bytes of the kept results for `count` images, and of a product.

    Kept: one map of the first layer, what the second reads, and three maps of the second.  At most
    three and ten more in a product, by measurement: stacked, and as convolutions lay them out.
    """
    side = objective.resolution // 2 if objective.pooling else objective.resolution
    kept = 32 * objective.resolution**2 + (32 + 3 * 64) * side**2
    product = 3 * 32 * objective.resolution**2 + 10 * 64 * side**2
    return (kept + product) * count * itemsize


def local_model(
    objective: Objective,
    weights: Weights,
    images: Tensor,
    labels: Tensor,
    hessian: str = "full",
    memory: int = MEMORY,
) -> LocalModel:
    """Return the objective's value and gradient on a minibatch, and its Hessian product there.

    Parameters
    ----------
    objective : Objective
    weights : mapping of Tensor
        All of them are variables; not changed.
    images : Tensor, shape (batch, 1, n, n)
    labels : Tensor, shape (batch,)
    hessian : {"full", "gauss-newton"}
        Gauss–Newton is Jᵀ H J with J the logits' Jacobian and H the cross-entropy's Hessian in
        the logits; it is never indefinite.  Penalties enter both in full.
    memory : int
        Bytes that may be kept by :func:`pass_bytes`; beyond it the product goes
        through the images in chunks and keeps nothing.

    Returns
    -------
    LocalModel
        Vectors are laid out as by :func:`flatten`.  The value is summed in float64.

    Raises
    ------
    ValueError
        For an unknown `hessian`, or where there is not one label for each of at least one image.
    """
    if hessian not in HESSIANS:
        raise ValueError(f"hessian must be 'full' or 'gauss-newton', got {hessian!r}.")
    check_labels(labels, len(images))
    leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
    itemsize = next(iter(leaves.values())).element_size()
    chunk = max(1, memory // pass_bytes(objective, 1, itemsize))
    if chunk >= len(images):
        loss, gradient, product = _kept(objective, leaves, images, labels, hessian)
    else:
        loss, gradient, product = _chunked(objective, leaves, images, labels, hessian, chunk)

    def hvp(d: Tensor) -> Tensor:
        parts = unflatten(d, leaves)
        result = unflatten(product(parts), leaves)
        # The penalties are quadratic: their Hessian product is their gradient at the direction.
        objective.add_penalty_gradient(result, parts)
        return flatten(result)

    with torch.no_grad():
        whole = unflatten(gradient, leaves)
        objective.add_penalty_gradient(whole, leaves)
    return LocalModel(loss + _penalty(objective, leaves), flatten(whole), hvp)


def check_labels(labels: Tensor, images: int) -> None:
    """Raise ValueError unless there is one label for each of at least one image.

    The mean over no image is not a number and its gradient is zero, which would count as converged.

    Raises
    ------
    ValueError
    """
    if not len(labels) == images > 0:
        raise ValueError(
            f"There must be one label for each of at least one image, got {len(labels)} labels for "
            f"{images} images."
        )


def objective_value(
    objective: Objective, weights: Weights, images: Tensor, labels: Tensor
) -> float:
    """Return the objective on a minibatch as :func:`local_model` sums it, in float64."""
    with torch.no_grad():
        loss = _cross_entropy(objective.logits(weights, images), labels)
    return loss + _penalty(objective, weights)


def _cross_entropy(logits: Tensor, labels: Tensor) -> float:
    return float(F.cross_entropy(logits.detach().double(), labels))


def _penalty(objective: Objective, weights: Weights) -> float:
    with torch.no_grad():
        return float(objective.penalty({name: w.double() for name, w in weights.items()}))


def _kept(
    objective: Objective, leaves: Weights, images: Tensor, labels: Tensor, hessian: str
) -> tuple[float, Tensor, PartsProduct]:
    passed = Linearised(objective, leaves, images, labels)

    def product(parts: Weights) -> Tensor:
        return flatten(passed.product(parts, hessian))

    return _cross_entropy(passed.logits, labels), flatten(passed.gradient), product


def _chunked(
    objective: Objective, leaves: Weights, images: Tensor, labels: Tensor, hessian: str, chunk: int
) -> tuple[float, Tensor, PartsProduct]:
    """Sum over chunks, each weighed by its share of the images; products keep no graph."""
    pieces = list(zip(images.split(chunk), labels.split(chunk), strict=True))
    shares = [len(y) / len(labels) for _, y in pieces]
    variables = list(leaves.values())
    fixed = {name: w.detach() for name, w in leaves.items()}
    loss, gradient = 0.0, torch.zeros_like(flatten(fixed))
    for (x, y), share in zip(pieces, shares, strict=True):
        with torch.enable_grad():  # the caller's mode decides no more here than in the kept form
            logits = objective.logits(leaves, x)
            parts = torch.autograd.grad(F.cross_entropy(logits, y), variables)
        gradient += share * torch.cat([part.reshape(-1) for part in parts])
        loss += share * _cross_entropy(logits, y)

    def full(x: Tensor, y: Tensor, parts: Weights) -> Tensor:
        slope = torch.func.grad(lambda w: F.cross_entropy(objective.logits(w, x), y))
        return flatten(torch.func.jvp(slope, (fixed,), (dict(parts),))[1])

    def gauss_newton(x: Tensor, y: Tensor, parts: Weights) -> Tensor:
        pair = torch.func.jvp(lambda w: objective.logits(w, x), (fixed,), (dict(parts),))
        logits, pushed = pair[0], pair[1]
        curved = softmax_hessian(logits.softmax(dim=1), pushed)
        with torch.enable_grad():
            back = torch.autograd.grad(objective.logits(leaves, x), variables, curved)
        return torch.cat([part.reshape(-1) for part in back])

    one = full if hessian == "full" else gauss_newton

    def product(parts: Weights) -> Tensor:
        result = torch.zeros_like(gradient)
        for (x, y), share in zip(pieces, shares, strict=True):
            result += share * one(x, y, parts)
        return result

    return loss, gradient, product
