"""Where multigrid's generalization gap comes from: what P R takes out of images, by frequency.

The lead: if fine training images are P R x, training never shows the network the waves that P R
takes out.  What they are worth in a first layer is the power that images have there times what the
stencils make of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from mgcore.lab.protocol.printed_tables import Pairs, Stages
from mgcore.lab.records.schema import Trial
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.metrics import cell


@dataclass(frozen=True)
class Spectrum:
    """Means over the rings of equal frequency, the larger of the two directions counting.

    Attributes
    ----------
    frequency : ndarray, shape (m,)
        In half waves a pixel: 1 is the fastest wave of the grid, ½ the fastest of the coarse one.
    values : ndarray, shape (m,)
    """

    frequency: np.ndarray
    values: np.ndarray


def _rings(n: int) -> np.ndarray:
    """Return for each of the n × n frequencies of the transform its ring, 0 to n/2."""
    k = np.abs(np.fft.fftfreq(n, 1 / n)).round().astype(int)
    return np.maximum(k[:, None], k[None, :])


def power(images: np.ndarray) -> Spectrum:
    """Return how much of the power of images lies in each ring; the values add up to 1.

    Parameters
    ----------
    images : ndarray, shape (count, n, n)
    """
    n = images.shape[-1]
    energy = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=0)
    rings = np.bincount(_rings(n).ravel(), weights=energy.ravel())
    return Spectrum(np.arange(len(rings)) / (n / 2), rings / rings.sum())


def response(stencils: np.ndarray, n: int) -> np.ndarray:
    """Return |k̂|² of 3×3 stencils, mean over them, at the n × n frequencies.

    Parameters
    ----------
    stencils : ndarray, shape (..., 3, 3)
    """
    flat = np.asarray(stencils, dtype=np.float64).reshape(-1, 3, 3)
    return (np.abs(np.fft.fft2(flat, s=(n, n))) ** 2).mean(axis=0)


def gain(stencils: np.ndarray, n: int) -> Spectrum:
    """Return the root mean square response of stencils on each ring, 1 on the slowest waves."""
    rings = _rings(n).ravel()
    squares = np.bincount(rings, weights=response(stencils, n).ravel()) / np.bincount(rings)
    slow = squares[:2].mean()
    return Spectrum(np.arange(len(squares)) / (n / 2), np.sqrt(squares / slow))


def unseen(stencils: np.ndarray, images: np.ndarray, seen: np.ndarray) -> float:
    """Return the power of K (x − P R x) over that of K P R x, K a layer of these stencils.

    Parameters
    ----------
    stencils : ndarray, shape (..., 3, 3)
    images, seen : ndarray, shape (count, n, n)
        x and P R x.  Walls are left out: images count as periodic.
    """
    h = response(stencils, images.shape[-1])

    def passed(x: np.ndarray) -> float:
        return float((h * (np.abs(np.fft.fft2(x)) ** 2).mean(axis=0)).sum())

    return passed(images - seen) / passed(seen)


Cells = dict[str, tuple[float, float]]


def beside(trials: Sequence[Trial], table: Mapping[str, Pairs] | Mapping[str, Stages]) -> Cells:
    """Return (ours, thesis) for every cell of one of its tables, by the cell's name.

    Parameters
    ----------
    trials : sequence of dict
    table : mapping
        TABLE_4_1, TABLE_4_2 (epochs 1 and last) or TABLE_4_3, TABLE_4_4 (two stages).
    """
    printed: dict[str, float] = {}
    for arm, parts in table.items():
        for part, values in parts.items():
            if part in ("training", "validation"):
                names = [f"{arm}.1.{part}", f"{arm}.last.{part}"]
            else:
                run = f"{arm}_classifier" if part == "classifier" else arm
                ends = ("1.training", "1.validation", "last.validation")
                names = [f"{run}.{end}" for end in ends]
            printed |= dict(zip(names, values, strict=True))
    return {
        name: (fmean(cell(trial, name) for trial in trials), value)
        for name, value in printed.items()
    }


def distance(cells: Cells) -> float:
    """Return the root mean square difference between ours and the thesis's, in points."""
    return fmean((ours - theirs) ** 2 for ours, theirs in cells.values()) ** 0.5


def distance_interval(
    trials: Sequence[Trial], table: Mapping[str, Pairs] | Mapping[str, Stages]
) -> tuple[float, float | None]:
    """Return the distance of trials to a table, and the half-width of its 95 % interval.

    By the jackknife: the interval of Tukey's pseudo-values n D − (n − 1) D₋ᵢ, where D₋ᵢ is the
    distance without trial i (Efron & Tibshirani, An Introduction to the Bootstrap, ch. 11).

    Parameters
    ----------
    trials, table
        As for :func:`beside`.

    Returns
    -------
    (distance, half) : (float, float or None)
        In points; None for one trial.
    """
    whole, n = distance(beside(trials, table)), len(trials)
    if n == 1:
        return whole, None
    without = [distance(beside([*trials[:i], *trials[i + 1 :]], table)) for i in range(n)]
    return whole, interval([n * whole - (n - 1) * one for one in without])[1]
