"""Hessian products of the thesis's network, in closed form (thesis (3.7)).

The results of a forward and a backward pass at fixed weights are kept.  Each product is a forward
and a backward pass of directional derivatives (Pearlmutter, *Neural Computation* 6, 1994).
Autograd's second derivative of a convolution gives the same numbers with more and slower
convolutions; here the two terms of each product rule are one convolution, over stacked channels or
stacked images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight

from mgcore.grids import pool, pool_adjoint
from mgcore.thesis.network import CLASSIFIER, STENCILS, Weights, convolve
from mgcore.thesis.objective import Objective

BIAS = "classifier.bias"


class Linearised:
    """The mean cross-entropy of a minibatch at fixed weights, with its Hessian products.

    Parameters
    ----------
    objective : Objective
        Its penalties are not included.
    weights : mapping of Tensor
        State of a :class:`mgcore.ThesisCNN`; not changed.
    images : Tensor, shape (batch, 1, n, n)
    labels : Tensor, shape (batch,)

    Attributes
    ----------
    logits : Tensor, shape (batch, 10)
    gradient : dict of Tensor
        Gradient of the mean cross-entropy, in the order of `weights`.
    """

    def __init__(
        self, objective: Objective, weights: Weights, images: Tensor, labels: Tensor
    ) -> None:
        self.padding, self.pooling = objective.padding, objective.pooling
        self.weights = {name: w.detach() for name, w in weights.items()}
        self.images = images
        first, second = (self.weights[name] for name in STENCILS)
        with torch.no_grad():
            z = convolve(images, first, self.padding)  # (batch, 32, n, n)
            self.on1 = (z > 0).to(z.dtype)
            self.seen = self._pooled(z.relu_())  # what the second convolution reads
            z = convolve(self.seen, second, self.padding)  # (batch, 64, m, m)
            self.on2 = (z > 0).to(z.dtype)
            self.features = z.relu_().flatten(1)
            self.logits = self._classify(self.features, self.weights)
            self.probabilities = self.logits.softmax(dim=1)
            truth = F.one_hot(labels, self.logits.shape[1])
            self.residual = (self.probabilities - truth) / len(labels)
            self.back = self._to_maps(self.residual @ self.weights[CLASSIFIER])
            self.gradient = self._stencils(self.seen, self.back, _adjoint(second), self.back)
            self.gradient[CLASSIFIER] = self.residual.T @ self.features
            self.gradient[BIAS] = self.residual.sum(dim=0)
        self.gradient = {name: self.gradient[name] for name in weights}

    def product(self, d: Weights, hessian: str, logit_shift: float = 0.0) -> dict[str, Tensor]:
        """Return the Hessian times a direction.

        Parameters
        ----------
        d : mapping of Tensor
            The direction, of the names and shapes of the weights.
        hessian : {"full", "gauss-newton"}
        logit_shift : float
            Shift s of the Hessian in the logits of one image, diag p − p pᵀ + s I.  The thesis's
            software uses 10⁻³, the thesis none.

        Returns
        -------
        dict of Tensor
        """
        full = hessian == "full"
        first, second = (d[name] for name in STENCILS)
        old, head = self.weights[STENCILS[1]], self.weights[CLASSIFIER]
        with torch.no_grad():
            moved = self._pooled(convolve(self.images, first, self.padding).mul_(self.on1))
            both = torch.cat([moved, self.seen], 1), torch.cat([old, second], 1)
            features = convolve(*both, self.padding).mul_(self.on2).flatten(1)
            logits = features @ head.T + self._classify(self.features, d)
            curved = softmax_hessian(self.probabilities, logits)
            if logit_shift:
                curved += logit_shift / len(logits) * logits
            back = curved @ head
            dense = curved.T @ self.features
            if full:
                back += self.residual @ d[CLASSIFIER]
                dense += self.residual.T @ features
            back = self._to_maps(back)
            if full:
                result = self._stencils(
                    torch.cat([moved, self.seen]), torch.cat([self.back, back]),
                    torch.cat([_adjoint(old), _adjoint(second)], 1),
                    torch.cat([back, self.back], 1),
                )  # fmt: skip
            else:
                result = self._stencils(self.seen, back, _adjoint(old), back)
            result[CLASSIFIER] = dense
            result[BIAS] = curved.sum(dim=0)
        return {name: result[name] for name in d}

    def _classify(self, features: Tensor, weights: Weights) -> Tensor:
        return features @ weights[CLASSIFIER].T + weights.get(BIAS, 0.0)

    def _pooled(self, maps: Tensor) -> Tensor:
        return pool(maps) if self.pooling else maps

    def _to_maps(self, flat: Tensor) -> Tensor:
        """Take derivatives in the features back through the second activation."""
        return flat.view_as(self.on2).mul_(self.on2)

    def _stencils(
        self, seen: Tensor, back: Tensor, adjoint: Tensor, stacked: Tensor
    ) -> dict[str, Tensor]:
        """Return the derivatives with respect to both layers' kernels."""
        below = convolve(stacked, adjoint, self.padding)
        if self.pooling:
            below = pool_adjoint(below)
        below.mul_(self.on1)
        found = (self.images, below), (seen, back)
        return {
            name: self._in_stencils(x, g, self.weights[name].shape)
            for name, (x, g) in zip(STENCILS, found, strict=True)
        }

    def _in_stencils(self, x: Tensor, back: Tensor, shape: torch.Size) -> Tensor:
        if self.padding == "circular":
            return conv2d_weight(F.pad(x, (1, 1, 1, 1), mode="circular"), shape, back)
        return conv2d_weight(x, shape, back, padding=1)


def _adjoint(stencils: Tensor) -> Tensor:
    """Return the kernels of the transposed convolution: in and out swapped, turned by 180°."""
    return stencils.flip(2, 3).transpose(0, 1)


def softmax_hessian(probabilities: Tensor, direction: Tensor) -> Tensor:
    """Return (diag p − p pᵀ) d / batch, row by row: the mean cross-entropy's Hessian in logits.

    Parameters
    ----------
    probabilities, direction : Tensor, shape (batch, classes)
    """
    # Adding a constant to all logits changes nothing.  Shifting the likeliest class to zero keeps
    # the tiny entries of the others; otherwise rounding would make the form indefinite.
    likeliest = probabilities.argmax(dim=1, keepdim=True)
    shifted = direction - direction.gather(1, likeliest)
    mean = (probabilities * shifted).sum(dim=1, keepdim=True)
    return probabilities * (shifted - mean) / len(probabilities)
