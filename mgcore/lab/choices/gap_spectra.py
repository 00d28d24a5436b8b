"""Spectra that explain the generalization gap, and distances to the thesis's tables.

The hypothesis: if fine training images are P R x, training never shows the network the high
frequencies that P R removes.  Their effect in the first layer is the power of original images at
these frequencies times the response of the kernels there.
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
    """Means over rings of frequencies with the same maximum of both directions.

    Attributes
    ----------
    frequency : ndarray, shape (m,)
        Relative to the Nyquist frequency of the grid; that of the coarse grid is ½.
    values : ndarray, shape (m,)
    """

    frequency: np.ndarray
    values: np.ndarray


def _rings(n: int) -> np.ndarray:
    """Return the ring, 0 to n/2, of each of the n × n frequencies of the transform."""
    k = np.abs(np.fft.fftfreq(n, 1 / n)).round().astype(int)
    return np.maximum(k[:, None], k[None, :])


def power(images: np.ndarray, kernels: np.ndarray | None = None) -> Spectrum:
    """Return the share of the power of images, or of the response of kernels to them, in each ring.

    Parameters
    ----------
    images : ndarray, shape (count, n, n)
    kernels : ndarray, shape (..., 3, 3), optional
    """
    n = images.shape[-1]
    energy = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=0)
    if kernels is not None:
        energy = energy * response(kernels, n)
    rings = np.bincount(_rings(n).ravel(), weights=energy.ravel())
    return Spectrum(np.arange(len(rings)) / (n / 2), rings / rings.sum())


def response(kernels: np.ndarray, n: int) -> np.ndarray:
    """Return the mean squared response |k̂|² of 3×3 kernels at the n × n frequencies.

    Parameters
    ----------
    kernels : ndarray, shape (..., 3, 3)
    """
    flat = np.asarray(kernels, dtype=np.float64).reshape(-1, 3, 3)
    return (np.abs(np.fft.fft2(flat, s=(n, n))) ** 2).mean(axis=0)


def gain(kernels: np.ndarray, n: int) -> Spectrum:
    """Return the root mean square response of kernels on each ring, 1 on the two lowest rings."""
    rings = _rings(n).ravel()
    squares = np.bincount(rings, weights=response(kernels, n).ravel()) / np.bincount(rings)
    slow = squares[:2].mean()
    return Spectrum(np.arange(len(squares)) / (n / 2), np.sqrt(squares / slow))


def output_power(kernels: np.ndarray, images: np.ndarray) -> float:
    """Return the mean square response of a layer of kernels to images, over cells and kernels.

    Parameters
    ----------
    kernels : ndarray, shape (..., 3, 3)
    images : ndarray, shape (count, n, n)
        Taken as periodic.
    """
    n = images.shape[-1]
    squares = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=0)
    return float((response(kernels, n) * squares).sum()) / n**4  # Parseval


def unseen(kernels: np.ndarray, images: np.ndarray, seen: np.ndarray) -> float:
    """Return the power ratio: that of K (x − P R x) over that of K P R x for a layer K of kernels.

    Parameters
    ----------
    kernels : ndarray, shape (..., 3, 3)
    images, seen : ndarray, shape (count, n, n)
        x and P R x.
    """
    return output_power(kernels, images - seen) / output_power(kernels, seen)


Cells = dict[str, tuple[float, float]]  # (ours, thesis's) in percent, by the cell's name


def beside(trials: Sequence[Trial], table: Mapping[str, Pairs] | Mapping[str, Stages]) -> Cells:
    """Return the mean of trials and the thesis's value for every cell of one of its tables.

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


def accuracies_beside(
    accuracies: Mapping[str, Mapping[str, Sequence[float]]], table: Mapping[str, Pairs]
) -> Cells:
    """Return given accuracies and the thesis's for the cells of its table that are given.

    Parameters
    ----------
    accuracies : mapping
        Percentages after the first and the last epoch, by condition and by ``"training"`` or
        ``"validation"``.
    table : mapping
        TABLE_4_1 or TABLE_4_2.
    """
    return {
        f"{condition}.{epoch}.{part}": (parts[part][place], printed[place])
        for condition, parts in accuracies.items()
        for part, printed in table[condition].items()
        if part in parts
        for place, epoch in enumerate(("1", "last"))
    }


def training_cells(cells: Cells) -> Cells:
    """Return the cells that are training accuracies."""
    return {name: pair for name, pair in cells.items() if name.endswith(".training")}


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
    all_trials, n = distance(beside(trials, table)), len(trials)
    if n == 1:
        return all_trials, None
    without = [distance(beside([*trials[:i], *trials[i + 1 :]], table)) for i in range(n)]
    return all_trials, interval([n * all_trials - (n - 1) * one for one in without])[1]
