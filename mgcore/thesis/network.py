"""The thesis's network and its initial weights (thesis §2.2, §3.2).

The network has two convolutions with a ReLU after each, optionally a 2×2 mean between them, and a
linear classifier.  The forward pass is a function of a dictionary of weights (``Weights``), so one
definition serves the module, training on a CPU, and several networks along a leading axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.grids import pool
from mgcore.kernels import refine_classifier, refine_kernel
from mgcore.thesis.dct_smoothing import smooth_by_dct

WIDTHS = (32, 64)  # channels after the first and the second convolution (§3.2)
CLASSES = 10
PADDINGS = ("zeros", "circular")
Padding = Literal["zeros", "circular"]
STENCIL_SCALES = ("flat", "meganet", "he")
STENCILS = ("conv1.weight", "conv2.weight")
CLASSIFIER = "classifier.weight"

Weights = Mapping[str, Tensor]


def forward(weights: Weights, images: Tensor, pooling: bool, padding: str = "zeros") -> Tensor:
    """Return the logits of the thesis's network.

    Parameters
    ----------
    weights : mapping
        The state of a :class:`ThesisCNN`; ``"classifier.bias"`` may be absent.
    images : Tensor, shape (batch, 1, n, n)
    pooling : bool
        Whether a 2×2 mean stands between the convolutions (§3.2).
    padding : {"zeros", "circular"}

    Returns
    -------
    Tensor, shape (batch, 10)
    """
    return feature_maps(weights, images, pooling, padding)[-1].flatten(1) @ weights[
        CLASSIFIER
    ].T + weights.get("classifier.bias", 0.0)


def feature_maps(
    weights: Weights, images: Tensor, pooling: bool, padding: str = "zeros"
) -> list[Tensor]:
    """Return the feature maps: after conv 1, after pooling if there is any, and after conv 2.

    Arguments are those of :func:`forward`; the maps are (batch, channels, rows, columns).
    """
    # Without gradients, ReLU works in place: that saves a twentieth of an evaluation.
    activate = F.relu if torch.is_grad_enabled() else torch.relu_
    seen = [activate(convolve(images, weights["conv1.weight"], padding))]  # (batch, 32, n, n)
    if pooling:
        seen.append(pool(seen[-1]))  # (batch, 32, n/2, n/2)
    seen.append(activate(convolve(seen[-1], weights["conv2.weight"], padding)))  # (batch, 64, ·, ·)
    return seen


def convolve(x: Tensor, stencils: Tensor, padding: str = "zeros") -> Tensor:
    """Apply kernels (out, in, 3, 3) to maps (batch, in, m, n), keeping their size."""
    if padding == "circular":
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), stencils)
    return F.conv2d(x, stencils, padding=1)


class ThesisCNN(nn.Module):
    """The network of thesis §3.2: 1 → 32 → 64 channels by 3×3 kernels, then a linear classifier.

    Parameters
    ----------
    resolution : int
        Pixels along a side of the input: 28, or 14 for the coarse network.
    pooling : bool
        Whether a 2×2 mean stands between the two convolutions.
    padding : {"zeros", "circular"}
        Values beyond the edge of an image.
    classifier_bias : bool
        Whether the classifier has a bias.  The convolutions have none (§3.2).

    Raises
    ------
    ValueError
        If the resolution is not an integer of at least 4, or is odd with pooling, or the padding
        is unknown.

    Examples
    --------
    >>> net = ThesisCNN(28, pooling=True)
    >>> net(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    >>> sum(p.numel() for p in net.parameters())
    144170
    """

    def __init__(
        self,
        resolution: int = 28,
        pooling: bool = False,
        *,
        padding: str = "zeros",
        classifier_bias: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(resolution, int) or resolution < 4 or (pooling and resolution % 2):
            need = "an even integer of at least 4" if pooling else "an integer of at least 4"
            raise ValueError(
                f"resolution must be {need} with pooling={pooling}, got {resolution!r}."
            )
        if padding not in PADDINGS:
            raise ValueError(f"padding must be 'zeros' or 'circular', got {padding!r}.")
        self.pooling, self.padding = bool(pooling), padding
        mode = cast(Padding, padding)
        self.conv1 = nn.Conv2d(1, WIDTHS[0], 3, padding=1, padding_mode=mode, bias=False)
        self.conv2 = nn.Conv2d(*WIDTHS, 3, padding=1, padding_mode=mode, bias=False)
        side = map_side(resolution, pooling)
        self.classifier = _Classifier(WIDTHS[1] * side**2, CLASSES, bias=classifier_bias)

    @property
    def resolution(self) -> int:
        """Pixels along a side of the input, computed from the width of the classifier."""
        side = math.isqrt(self.classifier.in_features // WIDTHS[1])
        return 2 * side if self.pooling else side

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, 10) for images (batch, 1, n, n), as :func:`forward` does.

        It calls the submodules, so their hooks run.
        """
        x = F.relu(self.conv1(images))  # (batch, 32, n, n)
        if self.pooling:
            x = pool(x)  # (batch, 32, n/2, n/2)
        x = F.relu(self.conv2(x))  # (batch, 64, ·, ·)
        return self.classifier(x.flatten(1))


class _Classifier(nn.Linear):
    """A linear layer that sums in the order of :func:`forward`, for bitwise equal results."""

    def forward(self, features: Tensor) -> Tensor:
        return features @ self.weight.T + (0.0 if self.bias is None else self.bias)


def map_side(resolution: int, pooling: bool) -> int:
    """Return the cells along a side of the feature maps."""
    return resolution // 2 if pooling else resolution


def initial_weights(
    resolution: int,
    pooling: bool,
    generator: torch.Generator,
    *,
    stencil_scale: str = "flat",
    classifier_scale: float = 0.1,
    classifier_clip: float = 0.2,
    dct_cutoff: float = 2.0,
    classifier_bias: bool = True,
) -> dict[str, Tensor]:
    """Draw the random initial weights of thesis §3.2.1, in float64.

    Parameters
    ----------
    resolution, pooling, classifier_bias
        As for :class:`ThesisCNN`.
    generator : torch.Generator
        On the CPU; equal states give equal weights.
    stencil_scale : {"flat", "meganet", "he"}
        Standard deviation of the kernels: 0.1; √(2/number of weights in the layer), the
        original package's default from December 2018; or √(2/inputs of a cell).
    classifier_scale, classifier_clip : float
        The classifier's weights are normal with this deviation, clipped to ± clip (§3.2.1).
    dct_cutoff : float
        Cutoff of :func:`smooth_by_dct`, which is applied afterwards.

    Returns
    -------
    dict of Tensor, float64
    """
    if stencil_scale not in STENCIL_SCALES:
        names = ", ".join(repr(name) for name in STENCIL_SCALES)
        raise ValueError(f"stencil_scale must be one of {names}, got {stencil_scale!r}.")
    weights = {}
    for name, shape in zip(STENCILS, ((WIDTHS[0], 1, 3, 3), (*WIDTHS[::-1], 3, 3)), strict=True):
        fan = {"flat": 200, "meganet": math.prod(shape), "he": math.prod(shape[1:])}[stencil_scale]
        draw = torch.randn(shape, generator=generator, dtype=torch.float64)
        weights[name] = math.sqrt(2 / fan) * draw
    side = map_side(resolution, pooling)
    draw = torch.randn(CLASSES, WIDTHS[1], side, side, generator=generator, dtype=torch.float64)
    rough = (classifier_scale * draw).clamp(-classifier_clip, classifier_clip)
    weights[CLASSIFIER] = smooth_by_dct(rough, dct_cutoff).flatten(1)
    if classifier_bias:
        weights["classifier.bias"] = torch.zeros(CLASSES, dtype=torch.float64)
    return weights


def refine_weights(
    weights: Weights,
    side: int,
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    scale: float | None = None,
) -> dict[str, Tensor]:
    """Transfer the weights of a coarse network to the grid twice as fine (thesis §3.1, §4.1).

    Parameters
    ----------
    weights : mapping
        State of a :class:`ThesisCNN`.
    side : int
        Cells along a side of the coarse network's feature maps.
    stencils : {"galerkin", "copy"}
        Kernels refined by the Galerkin condition (the thesis's "multigrid") or copied (its
        "transfer").
    prolongation, scale
        As for :func:`mgcore.kernels.refine_classifier`; the bias stays as it is (§3.1.2).

    Returns
    -------
    dict of Tensor
    """
    if stencils not in ("galerkin", "copy"):
        raise ValueError(f"stencils must be 'galerkin' or 'copy', got {stencils!r}.")
    fine = {name: tensor.clone() for name, tensor in weights.items()}
    if stencils == "galerkin":
        fine |= {name: refine_kernel(weights[name], prolongation) for name in STENCILS}
    fine[CLASSIFIER] = refine_classifier(weights[CLASSIFIER], (side, side), prolongation, scale)
    return fine


def forward_flops(resolution: int, pooling: bool) -> int:
    """Return the floating-point operations of the logits of one image.

    Convolutions and classifier are counted, a multiplication and an addition as two operations;
    activations and pooling are not.  A training step costs three times as much, less the gradient
    with respect to the image.
    """
    side = map_side(resolution, pooling)
    first = 2 * resolution**2 * 9 * WIDTHS[0]
    second = 2 * side**2 * 9 * WIDTHS[0] * WIDTHS[1]
    return first + second + 2 * side**2 * WIDTHS[1] * CLASSES


def step_flops(resolution: int, pooling: bool) -> int:
    """Return the floating-point operations of one image in a training step."""
    return 3 * forward_flops(resolution, pooling) - 2 * resolution**2 * 9 * WIDTHS[0]
