"""Training the classifier alone, with the convolutions fixed: a convex problem (thesis §4.4).

The features of all images are computed once.  The remaining problem is multinomial logistic
regression with a quadratic penalty; its gradient and Hessian products are matrix products with the
features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.optimize.trust_region import LocalModel
from mgcore.thesis.curvature import check_labels
from mgcore.thesis.hessian_products import softmax_hessian
from mgcore.thesis.network import CLASSES, CLASSIFIER, WIDTHS, Weights, feature_maps, map_side
from mgcore.thesis.objective import Objective
from mgcore.thesis.regularization import smoothness, smoothness_gradient

BIAS = "classifier.bias"


def features(objective: Objective, weights: Weights, images: Tensor, batch: int = 50) -> Tensor:
    """Return the features of each image, the inputs of the classifier.

    Parameters
    ----------
    objective : Objective
    weights : mapping of Tensor
    images : Tensor, shape (count, 1, n, n)
    batch : int
        Number of images that are processed at a time.

    Returns
    -------
    Tensor, shape (count, 64 · side²)
        For 10,000 images at 28×28 in float32 this takes 2 GB, a quarter of it with pooling.
    """
    length = weights[CLASSIFIER].shape[1]
    found = images.new_empty((len(images), length))
    with torch.no_grad():
        for some, row in zip(images.split(batch), found.split(batch), strict=True):
            maps = feature_maps(weights, some, objective.pooling, objective.padding)
            row.copy_(maps[-1].flatten(1))
    return found


class ClassifierProblem:
    """The objective as a function of the classifier alone.

    Parameters
    ----------
    objective : Objective
        Its smoothness penalty is used; the Tikhonov penalty on the kernels is a constant here.
    features : Tensor, shape (count, 64 · side²)
        From :func:`features`.
    labels : Tensor, shape (count,)
    bias : bool
        Whether the classifier has a bias.
    tikhonov : float
        α of an additional ½ α ‖w‖² on the weights and the bias, which makes the problem strictly
        convex; the thesis has none.

    Raises
    ------
    ValueError
        If there is not one label for each of at least one image, or the number of features is not
        that of the objective's network.

    Notes
    -----
    A point is a vector: the weights (10, 64 · side²) row by row, then the bias.
    """

    def __init__(
        self,
        objective: Objective,
        features: Tensor,
        labels: Tensor,
        bias: bool = True,
        tikhonov: float = 0.0,
    ) -> None:
        check_labels(labels, len(features))
        self.side = map_side(objective.resolution, objective.pooling)
        if features.shape[1] != WIDTHS[1] * self.side**2:
            raise ValueError(
                f"features must have {WIDTHS[1] * self.side**2} numbers for each image, "
                f"{WIDTHS[1]} maps of {self.side}×{self.side}, got {features.shape[1]}."
            )
        self.objective, self.features, self.labels = objective, features, labels
        self.bias, self.tikhonov = bias, tikhonov

    def pack(self, weights: Weights) -> Tensor:
        """Return the classifier of `weights` as a vector."""
        parts = [weights[CLASSIFIER].reshape(-1)] + ([weights[BIAS]] if self.bias else [])
        return torch.cat(parts)

    def unpack(self, x: Tensor) -> dict[str, Tensor]:
        """Return a vector as a classifier's weight and, if there is one, its bias."""
        w, b = self._split(x)
        return {CLASSIFIER: w} | ({BIAS: b} if b is not None else {})

    def value(self, x: Tensor) -> float:
        """Return the objective at `x`, summed in float64, without the penalty on the kernels."""
        return self._value(self._logits(x), x)

    def local(self, x: Tensor) -> LocalModel:
        """Return value, gradient and Hessian product at `x`.

        A product costs two passes over the features, as the gradient does.
        """
        logits = self._logits(x)
        probabilities = logits.softmax(dim=1)
        residual = (probabilities - F.one_hot(self.labels, logits.shape[1])) / len(logits)
        gradient = self._pull(residual) + self._penalty_gradient(x)

        def hvp(d: Tensor) -> Tensor:
            curved = softmax_hessian(probabilities, self._logits(d))
            return self._pull(curved) + self._penalty_gradient(d)

        return LocalModel(self._value(logits, x), gradient, hvp)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        count = CLASSES * self.features.shape[1]
        return x[:count].view(CLASSES, -1), x[count:] if self.bias else None

    def _logits(self, x: Tensor) -> Tensor:
        w, b = self._split(x)
        logits = self.features @ w.T
        return logits if b is None else logits + b

    def _pull(self, residual: Tensor) -> Tensor:
        parts = [(residual.T @ self.features).reshape(-1)]
        return torch.cat([*parts, residual.sum(dim=0)] if self.bias else parts)

    def _maps(self, x: Tensor) -> Tensor:
        return self._split(x)[0].unflatten(1, (-1, self.side, self.side))

    def _value(self, logits: Tensor, x: Tensor) -> float:
        loss = float(F.cross_entropy(logits.double(), self.labels))
        x = x.double()
        penalty = smoothness(self._maps(x), self.objective.alpha_w, self.objective.h)
        return loss + float(penalty + 0.5 * self.tikhonov * x @ x)

    def _penalty_gradient(self, x: Tensor) -> Tensor:
        result = self.tikhonov * x
        if self.objective.alpha_w:
            rough = smoothness_gradient(self._maps(x), self.objective.alpha_w, self.objective.h)
            result[: rough.numel()] += rough.reshape(-1)
        return result
