"""The objective of training: J = mean cross-entropy + R(θ) + R(w) (thesis (2.3), §3.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.thesis.network import CLASSIFIER, STENCILS, Weights, forward, map_side
from mgcore.thesis.regularization import (
    add_smoothness_gradient,
    smoothness,
    smoothness_gradient,
    tikhonov,
    tikhonov_gradient,
)


@dataclass(frozen=True)
class Objective:
    """The objective of one network on one grid.

    Parameters
    ----------
    resolution : int
        Pixels along a side of the images.
    pooling : bool
    padding : {"zeros", "circular"}
    alpha_theta : float
        Weight of the Tikhonov penalty on the kernels.
    alpha_w : float
        Weight of the smoothness penalty on the classifier; its bias is not penalised.
    h : float
        Width of a cell in the smoothness penalty.
    """

    resolution: int
    pooling: bool = False
    padding: str = "zeros"
    alpha_theta: float = 0.0
    alpha_w: float = 0.0
    h: float = 1.0

    def logits(self, weights: Weights, images: Tensor) -> Tensor:
        """Return (batch, 10) for images (batch, 1, n, n)."""
        return forward(weights, images, self.pooling, self.padding)

    def loss(self, weights: Weights, images: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of a minibatch, a scalar."""
        return F.cross_entropy(self.logits(weights, images), labels)

    def penalty(self, weights: Weights) -> Tensor:
        """Return R(θ) + R(w), a scalar."""
        stencils = sum(tikhonov(weights[name], self.alpha_theta) for name in STENCILS)
        return stencils + smoothness(self._maps(weights), self.alpha_w, self.h)

    def add_penalty_gradient(
        self, gradient: dict[str, Tensor], weights: Weights, in_place: bool = False
    ) -> None:
        """Add the gradient of :meth:`penalty` to `gradient`, in full whatever the minibatch.

        The thesis's software does the same.  The closed forms are in
        :mod:`mgcore.thesis.regularization`.  With `in_place` no temporary of the classifier's size
        is made; sums are rounded in another order.
        """
        if self.alpha_theta:
            for name in STENCILS:
                gradient[name] += tikhonov_gradient(weights[name], self.alpha_theta)
        if self.alpha_w and in_place:
            gradient[CLASSIFIER] = gradient[CLASSIFIER].contiguous()
            add_smoothness_gradient(gradient[CLASSIFIER], self._maps(weights), self.alpha_w, self.h)
        elif self.alpha_w:
            rough = smoothness_gradient(self._maps(weights), self.alpha_w, self.h)
            gradient[CLASSIFIER] += rough.reshape(weights[CLASSIFIER].shape)

    def gradient(self, weights: Weights, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the gradient of J on a minibatch; `weights` must require gradients."""
        loss = self.loss(weights, images, labels)
        parts = torch.autograd.grad(loss, list(weights.values()))
        gradient = dict(zip(weights, parts, strict=True))
        with torch.no_grad():
            self.add_penalty_gradient(gradient, weights)
        return gradient

    def _maps(self, weights: Weights) -> Tensor:
        """View the classifier as maps, (..., classes, channels, rows, columns)."""
        side = map_side(self.resolution, self.pooling)
        return weights[CLASSIFIER].unflatten(-1, (-1, side, side))


@torch.no_grad()
def evaluate(
    objective: Objective, weights: Weights, images: Tensor, labels: Tensor, batch: int = 50
) -> dict[str, float]:
    """Return accuracy in percent, mean loss, and objective over all of `images`.

    Parameters
    ----------
    images : Tensor, shape (count, 1, n, n)
    labels : Tensor, shape (count,)
    batch : int
        Number of images that are processed at a time.  With 50, the maps of an unpooled network
        stay in cache.

    Returns
    -------
    dict
        ``accuracy``, ``loss`` and ``objective``.  The sums are kept in float64.
    """
    right, loss = 0, 0.0
    for some, truth in zip(images.split(batch), labels.split(batch), strict=True):
        logits = objective.logits(weights, some).double()
        right += int((logits.argmax(dim=1) == truth).sum())
        loss += float(F.cross_entropy(logits, truth, reduction="sum"))
    loss /= len(labels)
    penalty = float(objective.penalty({name: w.double() for name, w in weights.items()}))
    return {"accuracy": 100 * right / len(labels), "loss": loss, "objective": loss + penalty}
