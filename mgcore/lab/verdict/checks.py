"""The mathematical statements of the thesis, each decided by computing.

A check returns a :class:`Finding`: a word, and one line with the numbers that led to it.  The word
follows from the numbers by the rule in the check's docstring.  Here are the two on the classifier
and its penalty; the others come from :mod:`mgcore.lab.verdict.checks_background` and
:mod:`mgcore.lab.verdict.checks_transfer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mgcore.kernels import refine_classifier
from mgcore.lab.verdict.checks_background import (
    Finding,
    bias_terms,
    four_times_cheaper,
    operator_limit,
    relaxation_smooths,
    size,
    weights_count,
)
from mgcore.lab.verdict.checks_transfer import (
    COARSE,
    coarse_stencil_size,
    discontinuous_images,
    galerkin_exact,
    geometric_or_algebraic,
    prolongation_restriction,
    relative,
    seeded,
)
from mgcore.thesis.network import initial_weights
from mgcore.thesis.regularization import smoothness

__all__ = ["CHECKS", "Finding"]


def _factor_word(printed: float, right: float) -> str:
    """Judge a printed factor: equal within 2 %, on the other side of 1, or of another size."""
    if abs(right / printed - 1) < 0.02:
        return "reproduced"
    return "reversed" if math.log(printed) * math.log(right) < 0 else "corrected"


def classifier_factor() -> Finding:
    """By what factor classifier weights change from coarse to fine; 4 is printed (thesis §3.1.3).

    The factor that keeps the logits best, by least squares, on features that are constant over
    each map and on smooth ones, sampled at the centres of both grids.  Reproduced if it is 4 within
    2 %; reversed if it lies on the other side of 1; corrected otherwise.
    """
    generator = torch.Generator().manual_seed(0)
    w = initial_weights(COARSE, False, generator)["classifier.weight"]
    prolonged = refine_classifier(w, (COARSE, COARSE), scale=1.0)
    images, channels = 8, w.shape[1] // COARSE**2
    draw = seeded(1)
    level, tilt, phase = (draw(images, channels, 1, 1) for _ in range(3))
    best, off, times = {}, {}, {}
    for name, amount in (("constant", 0.0), ("smooth", 0.5)):
        z, fine = (
            _features(n, level, amount * tilt, phase).flatten(1) @ weight.T
            for n, weight in ((COARSE, w), (2 * COARSE, prolonged))
        )
        best[name] = float((z * fine).sum() / fine.square().sum())
        off[name] = relative(best[name] * fine, z)
        times[name] = 4.0 / best[name]
    words = {_factor_word(4.0, factor) for factor in best.values()}
    word = words.pop() if len(words) == 1 else "not reproduced"
    if max(off.values()) > 0.05:  # then no factor keeps the logits
        word = "not reproduced"
    return Finding(
        word,
        f"the factor that keeps the logits is {best['constant']:.4f} for constant features (they "
        f"then differ by {size(off['constant'])} of their size) and {best['smooth']:.4f} for "
        f"smooth ones ({size(off['smooth'])}): divide by 4; with × 4 the logits are "
        f"{times['constant']:.1f} times as large",
    )


def _features(n: int, level: Tensor, tilt: Tensor, phase: Tensor) -> Tensor:
    """Sample one smooth function for each image and channel at the n×n cell centres."""
    centre = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return level + tilt * torch.cos(3 * centre[:, None] + 2 * centre + phase)


def penalty_factor() -> Finding:
    """Whether the smoothness penalty asks for α_coarse = 4 α_fine (thesis §3.2.1).

    A smooth classifier is carried to the fine grid; the ratio of its penalties, fine over coarse,
    is the α_coarse/α_fine that treats both alike, for differences divided by h = 1 and h = 1/n.
    The word is that of :func:`classifier_factor`'s rule if both ratios agree on it, else "not
    decidable".
    """
    zero = torch.zeros(10, 1, 1, 1, dtype=torch.float64)
    draw = seeded(2)
    tilt, phase = draw(10, 1, 1, 1), draw(10, 1, 1, 1)
    coarse = _features(COARSE, zero, tilt, phase)  # (10, 1, 14, 14)

    def ratios(scale: float | None) -> list[float]:
        flat = refine_classifier(coarse.flatten(1), (COARSE, COARSE), scale=scale)
        fine = flat.view(10, 1, 2 * COARSE, 2 * COARSE)
        return [
            float(smoothness(fine, 1.0, h / 2) / smoothness(coarse, 1.0, h))
            if physical
            else float(smoothness(fine, 1.0) / smoothness(coarse, 1.0))
            for h, physical in ((1.0, False), (1 / COARSE, True))
        ]

    plain, physical = ratios(None)
    words = {_factor_word(4.0, ratio) for ratio in (plain, physical)}
    values = ratios(1.0)
    return Finding(
        words.pop() if len(words) == 1 else "not decidable",
        f"the same classifier asks for α_coarse = {plain:.3f} α_fine with h = 1 and "
        f"{physical:.2f} α_fine with h = 1/n; weights left unscaled, as function values, for "
        f"{values[0]:.2f} and {values[1]:.2f}",
    )


CHECKS: dict[str, Callable[[], Finding]] = {
    "operator-limit": operator_limit,
    "relaxation-smooths": relaxation_smooths,
    "four-times-cheaper": four_times_cheaper,
    "coarse-stencil-size": coarse_stencil_size,
    "geometric-or-algebraic": geometric_or_algebraic,
    "prolongation-restriction": prolongation_restriction,
    "galerkin-exact": galerkin_exact,
    "classifier-factor": classifier_factor,
    "penalty-factor": penalty_factor,
    "weights-count": weights_count,
    "discontinuous-images": discontinuous_images,
    "bias-terms": bias_terms,
}
