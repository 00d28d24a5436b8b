"""Statements that the thesis reads off a figure, decided from the figure's arrays.

The thesis judges the figures of one trial by eye.  Here the arrays of the same figures, from our
first trial, are measured; a statement that one figure cannot decide is "not decidable".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mgcore.lab.records.record import Record, records_folder
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.checks import Finding
from mgcore.lab.verdict.metrics import roughness, white_noise_roughness

SMOOTH = 0.5  # a weight map below this share of the roughness of white noise counts as smooth
Arrays = dict[str, np.ndarray]


def _arrays(study: str) -> Arrays:
    return Record(records_folder() / f"{study}-paper").arrays()


def classifier_smooth(arrays: Arrays | None = None) -> Finding:
    """Compare the roughness of a hundred coarse weight maps with white noise (Fig. 4.2).

    Reproduced if the 95 % interval of the mean over maps lies below half of the roughness of white
    noise, not reproduced if above, else not decidable.
    """
    blocks = (arrays or _arrays("baseline-original"))["blocks"]
    noise = white_noise_roughness(blocks.shape[-1])
    mean, half = interval(roughness(blocks) / noise)
    assert half is not None  # a record keeps a hundred maps
    return Finding(
        _word_below(mean, half, SMOOTH),
        f"roughness of {len(blocks)} weight maps after training: {mean:.2f} ± {half:.2f} of "
        f"white noise's, smooth below {SMOOTH:g}",
    )


def _word_below(mean: float, half: float, most: float) -> str:
    if mean + half < most:
        return "reproduced"
    return "not reproduced" if mean - half > most else "not decidable"


def concave_share(surface: np.ndarray) -> float:
    """Return the share of interior points of a surface where it is concave along a grid line.

    A second difference below −10⁻⁶ of the surface's range counts; one such point proves that the
    function is not convex.

    Parameters
    ----------
    surface : ndarray, shape (k, k)
    """
    least = -1e-6 * float(np.ptp(surface))
    bent = [np.diff(surface, 2, axis=axis) < least for axis in (0, 1)]
    return float((bent[0][:, 1:-1] | bent[1][1:-1, :]).mean())


def starts_non_convex(arrays: Arrays | None = None) -> Finding:
    """Decide whether the loss is concave somewhere around both initial networks (Fig. 4.3)."""
    arrays = arrays or _arrays("baseline-original")
    shares = {name: concave_share(arrays[f"surface/{name}"]) for name in ("transfer", "multigrid")}
    word = "reproduced" if min(shares.values()) > 0 else "not reproduced"
    found = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return Finding(word, f"points of the surface where it is concave along a grid line: {found}")


def coarse_not_highly_convex(arrays: Arrays | None = None) -> Finding:
    """Measure the surface around the coarse minimum; the thesis does not define "highly"."""
    surface = (arrays or _arrays("baseline-original"))["surface/coarse"]
    return Finding(
        "not decidable",
        f"the thesis sets no measure for highly; concave along a grid line at "
        f"{concave_share(surface):.0%} of the points around the coarse minimum",
    )


def descent(surface: np.ndarray) -> float:
    """Return the largest decrease of a surface, relative to its value at the centre."""
    centre = float(surface[surface.shape[0] // 2, surface.shape[1] // 2])
    return (centre - float(surface.min())) / centre


def transfer_clearer_descent(arrays: Arrays | None = None) -> Finding:
    """Measure the largest descent in the plane of Fig. 4.3, from both initial networks.

    Not decidable: one plane of one trial is a single draw of two directions in half a million
    dimensions.
    """
    arrays = arrays or _arrays("baseline-original")
    found = ", ".join(
        f"{name} {descent(arrays[f'surface/{name}']):.0%}" for name in ("transfer", "multigrid")
    )
    return Finding(
        "not decidable",
        f"largest fall of the loss within the plane of one trial: {found}; another pair of "
        "directions is another plane",
    )


READINGS: dict[str, Callable[[], Finding]] = {
    "classifier-smooth": classifier_smooth,
    "starts-non-convex": starts_non_convex,
    "coarse-not-highly-convex": coarse_not_highly_convex,
    "transfer-clearer-descent": transfer_clearer_descent,
}
