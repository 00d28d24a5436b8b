"""Value, gradient and Hessian products of the objective at one point (thesis (3.7)).

Conjugate gradients ask for many products at the same weights, so the graph of the gradient is built
once and kept; each product is one more pass through it.  Where that graph would not fit, every
product differentiates the gradient afresh, a chunk of images at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.objective import Objective
from mgcore.steihaug import Local
from mgcore.truncated_cg import Product

Weights = Mapping[str, Tensor]

HESSIANS = ("full", "gauss-newton")
MEMORY = 3 * 2**30  # bytes that a kept graph may take


def flatten(weights: Weights) -> Tensor:
    """Return all weights as one vector, in the order of the mapping."""
    return torch.cat([w.reshape(-1) for w in weights.values()])


def unflatten(vector: Tensor, like: Weights) -> dict[str, Tensor]:
    """Return a vector as weights of the names and shapes of `like`, views of it."""
    parts = vector.split([w.numel() for w in like.values()])
    return {name: part.view(w.shape) for (name, w), part in zip(like.items(), parts, strict=True)}


def graph_bytes(objective: Objective, count: int, itemsize: int = 4) -> int:
    """Estimate the memory of a kept gradient graph over `count` images.

    Two maps of each layer before and after its ReLU, once for the loss and once for its gradient.
    """
    side = objective.resolution // 2 if objective.pooling else objective.resolution
    cells = 32 * objective.resolution**2 * 2 + (32 + 64 * 2) * side**2
    return 2 * cells * count * itemsize


def local_model(
    objective: Objective,
    weights: Weights,
    images: Tensor,
    labels: Tensor,
    hessian: str = "full",
    memory: int = MEMORY,
) -> Local:
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
        Bytes that the kept graph may take by :func:`graph_bytes`; beyond it the product goes
        through the images in chunks and keeps nothing.

    Returns
    -------
    Local
        Vectors are laid out as by :func:`flatten`.  The value is summed in float64.

    Raises
    ------
    ValueError
        For an unknown `hessian`.
    """
    if hessian not in HESSIANS:
        raise ValueError(f"hessian={hessian!r}; accepted: 'full' or 'gauss-newton'.")
    leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
    itemsize = next(iter(leaves.values())).element_size()
    chunk = max(1, memory // graph_bytes(objective, 1, itemsize))
    if chunk >= len(images):
        kept = _kept_full if hessian == "full" else _kept_gauss_newton
        loss, gradient, product = kept(objective, leaves, images, labels)
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
    return Local(loss + _penalty(objective, leaves), flatten(whole), hvp)


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


def _kept_full(
    objective: Objective, leaves: Weights, images: Tensor, labels: Tensor
) -> tuple[float, Tensor, Product]:
    variables = list(leaves.values())
    logits = objective.logits(leaves, images)
    graph = torch.autograd.grad(F.cross_entropy(logits, labels), variables, create_graph=True)

    def product(parts: Weights) -> Tensor:
        # H is symmetric, so Hd is the gradient of ⟨g, d⟩ with d held fixed.
        once_more = torch.autograd.grad(
            graph, variables, grad_outputs=list(parts.values()), retain_graph=True
        )
        return torch.cat([part.reshape(-1) for part in once_more])

    gradient = torch.cat([g.detach().reshape(-1) for g in graph])
    return _cross_entropy(logits, labels), gradient, product


def _kept_gauss_newton(
    objective: Objective, leaves: Weights, images: Tensor, labels: Tensor
) -> tuple[float, Tensor, Product]:
    variables = list(leaves.values())
    logits = objective.logits(leaves, images)  # (batch, 10)
    probabilities = logits.detach().softmax(dim=1)
    # Jᵀu as a function of u: differentiating it in the direction d gives J d.
    dummy = torch.zeros_like(logits, requires_grad=True)
    pulled = torch.autograd.grad(logits, variables, dummy, create_graph=True)

    def product(parts: Weights) -> Tensor:
        (pushed,) = torch.autograd.grad(
            pulled, dummy, grad_outputs=list(parts.values()), retain_graph=True
        )
        curved = softmax_hessian(probabilities, pushed)
        back = torch.autograd.grad(logits, variables, curved, retain_graph=True)
        return torch.cat([part.reshape(-1) for part in back])

    residual = probabilities - F.one_hot(labels, logits.shape[1])
    gradient = torch.autograd.grad(logits, variables, residual / len(labels), retain_graph=True)
    return _cross_entropy(logits, labels), torch.cat([g.reshape(-1) for g in gradient]), product


def softmax_hessian(probabilities: Tensor, direction: Tensor) -> Tensor:
    """Return (diag p − p pᵀ) d / batch, row by row: the mean cross-entropy's Hessian in logits.

    Parameters
    ----------
    probabilities, direction : Tensor, shape (batch, classes)
    """
    # A shift of all logits changes nothing.  That of the likeliest class to zero keeps the other,
    # tiny entries where a row is all but sure; rounding would else make the form indefinite.
    likeliest = probabilities.argmax(dim=1, keepdim=True)
    shifted = direction - direction.gather(1, likeliest)
    mean = (probabilities * shifted).sum(dim=1, keepdim=True)
    return probabilities * (shifted - mean) / len(probabilities)


def _chunked(
    objective: Objective, leaves: Weights, images: Tensor, labels: Tensor, hessian: str, chunk: int
) -> tuple[float, Tensor, Product]:
    """Sum over chunks, each weighed by its share of the images; products keep no graph."""
    pieces = list(zip(images.split(chunk), labels.split(chunk), strict=True))
    shares = [len(y) / len(labels) for _, y in pieces]
    variables = list(leaves.values())
    fixed = {name: w.detach() for name, w in leaves.items()}
    loss, gradient = 0.0, torch.zeros_like(flatten(fixed))
    for (x, y), share in zip(pieces, shares, strict=True):
        logits = objective.logits(leaves, x)
        parts = torch.autograd.grad(F.cross_entropy(logits, y), variables)
        gradient += share * torch.cat([part.reshape(-1) for part in parts])
        loss += share * _cross_entropy(logits, y)

    def full(x: Tensor, y: Tensor, parts: Weights) -> Tensor:
        slope = torch.func.grad(lambda w: F.cross_entropy(objective.logits(w, x), y))
        return flatten(torch.func.jvp(slope, (fixed,), (dict(parts),))[1])

    def gauss_newton(x: Tensor, y: Tensor, parts: Weights) -> Tensor:
        logits, pushed = torch.func.jvp(lambda w: objective.logits(w, x), (fixed,), (dict(parts),))
        curved = softmax_hessian(logits.softmax(dim=1), pushed)
        back = torch.autograd.grad(objective.logits(leaves, x), variables, curved)
        return torch.cat([part.reshape(-1) for part in back])

    one = full if hessian == "full" else gauss_newton

    def product(parts: Weights) -> Tensor:
        result = torch.zeros_like(gradient)
        for (x, y), share in zip(pieces, shares, strict=True):
            result += share * one(x, y, parts)
        return result

    return loss, gradient, product
