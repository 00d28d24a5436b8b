"""Labelled images of a study: where they come from, how they are split and prepared (§3, §4.1).

Published data sets such as MNIST come from :mod:`mgcore.data.published`, stroke digits from
:mod:`mgcore.data.strokes`.  A study uses the data set that it names, and no other: where the data
set is not available, an error says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mgcore.data.published import PUBLISHED, Published
from mgcore.data.strokes import stroke_digits
from mgcore.grids import prolong, restrict

NORMALISATIONS = ("unit", "standardised")
PREPARATIONS = ("original", "prolonged")


@dataclass(frozen=True)
class Digits:
    """A pool of labelled images from which trials draw.

    Attributes
    ----------
    name : str
    stored : Tensor, shape (count, n, n)
        Pixels as the source has them: bytes, or floating point in [0, 1].  Bytes take a quarter of
        the memory; use :attr:`images` or :meth:`select`, which give floating point in [0, 1].
    labels : Tensor of int64, shape (count,)
    sha256 : str
        Of the source files, or of the generated images rounded to eight bits.

    Raises
    ------
    ValueError
        If pixels are neither bytes nor floating point in [0, 1].
    """

    name: str
    stored: Tensor
    labels: Tensor
    sha256: str

    def __post_init__(self) -> None:
        """Refuse images of another scale, with which training would silently differ."""
        if self.stored.dtype == torch.uint8 or not self.stored.numel():
            return
        if not self.stored.is_floating_point():
            raise ValueError(
                f"images must be bytes or floating point in [0, 1], got {self.stored.dtype}."
            )
        least, most = (float(bound) for bound in self.stored.aminmax())
        if not (least >= 0 and most <= 1):  # also if one of them is not a number
            raise ValueError(
                f"images must be in [0, 1], got values from {least:g} to {most:g}. Divide them by "
                "the largest possible value."
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.stored)

    @property
    def images(self) -> Tensor:
        """All images, floating point in [0, 1], shape (count, n, n).

        Stored bytes become a new float32 tensor at each use.
        """
        return _as_floats(self.stored, torch.float32)

    def select(self, index: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return some images in [0, 1], divided in the precision of `dtype`.

        Parameters
        ----------
        index : Tensor of int64, shape (chosen,)
        dtype : torch.dtype

        Returns
        -------
        Tensor, shape (chosen, n, n)
        """
        return _as_floats(self.stored[index], dtype).to(dtype)


def _as_floats(stored: Tensor, dtype: torch.dtype) -> Tensor:
    return stored.to(dtype) / 255 if stored.dtype == torch.uint8 else stored


@dataclass(frozen=True)
class DataSet:
    """Where the images of a data set come from.

    Attributes
    ----------
    read : callable
        From the number of images, the resolution and the folder of data (or None) to at least so
        many images as in :attr:`Digits.stored`, their labels and the SHA-256 that stands for them.
    resolution : int, optional
        Pixels along a side; None for any.
    count : int, optional
        How many images there are; None for any number.
    """

    read: Callable[[int, int, str | None], tuple[Tensor, Tensor, str]]
    resolution: int | None = None
    count: int | None = None


def _strokes(count: int, resolution: int, root: str | None) -> tuple[Tensor, Tensor, str]:
    images, labels = stroke_digits(count, resolution)
    rounded = (images * 255).round().to(torch.uint8)
    return images, labels, hashlib.sha256(rounded.numpy().tobytes()).hexdigest()


def _reader(source: Published) -> Callable[[int, int, str | None], tuple[Tensor, Tensor, str]]:
    """Return how a published data set is read: whole, whatever number of images is asked for."""
    return lambda count, resolution, root: source.read(root)


# Every data set that a study can name.
DATASETS: dict[str, DataSet] = {
    name: DataSet(_reader(source), source.resolution, source.count)
    for name, source in PUBLISHED.items()
} | {"strokes": DataSet(_strokes)}


@lru_cache(maxsize=1)
def load_digits(dataset: str, count: int, resolution: int = 28, root: str | None = None) -> Digits:
    """Return a pool of at least `count` labelled images.

    Parameters
    ----------
    dataset : str
        A key of :data:`DATASETS`.
    count : int
        How many a trial needs; MNIST's training set has 60,000.
    resolution : int
        Pixels along a side: 28 for MNIST, any even number for stroke digits.
    root : str, optional
        The folder of published data, as for :func:`mgcore.data.published.data_folder`.

    Raises
    ------
    ValueError
        If the data set is unknown, too small, altered, or does not exist at this resolution.
    FileNotFoundError
        If a published data set is neither found nor can be downloaded.
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset must be one of {one_of(DATASETS)}, got {dataset!r}.")
    source = DATASETS[dataset]
    if source.resolution not in (None, resolution):
        raise ValueError(
            f"resolution must be {source.resolution} with dataset={dataset!r}, got {resolution}."
        )
    with torch.inference_mode(False):  # kept for later calls, which may train
        images, labels, sha256 = source.read(count, resolution, root)
    if count > len(images):
        raise ValueError(
            f"count must be at most {len(images)} with dataset={dataset!r}, got {count}."
        )
    return Digits(dataset, images, labels, sha256)


def one_of(names: Iterable[str]) -> str:
    """Return names as an error message lists them."""
    return ", ".join(repr(name) for name in names)


def split(count: int, sizes: tuple[int, ...], generator: torch.Generator) -> list[Tensor]:
    """Draw disjoint index sets of the given sizes out of `count` images (thesis §4.1).

    Raises
    ------
    ValueError
        If the sizes are not positive or add up to more than `count`.
    """
    if any(size < 1 for size in sizes) or sum(sizes) > count:
        raise ValueError(
            f"sizes must be positive and add up to at most the {count} images, got {sizes}."
        )
    return list(torch.randperm(count, generator=generator)[: sum(sizes)].split(list(sizes)))


def normalise(images: Tensor, normalisation: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale pixels as the network sees them.

    Parameters
    ----------
    images : Tensor, shape (count, n, n)
        Floating point in [0, 1].
    normalisation : {"unit", "standardised"}
        Leave pixels in [0, 1], or replace each image x by (x − mean)/max(deviation, 1/√N), where N
        is the number of pixels.
    dtype : torch.dtype

    Returns
    -------
    Tensor, shape (count, 1, n, n)

    Raises
    ------
    ValueError
        If images are not floating point, or the normalisation is unknown.
    """
    if normalisation not in NORMALISATIONS:
        raise ValueError(
            f"normalisation must be one of {one_of(NORMALISATIONS)}, got {normalisation!r}."
        )
    if not images.is_floating_point():
        raise ValueError(
            f"images must be floating point in [0, 1], got {images.dtype}. Divide bytes by 255."
        )
    x = images.to(dtype).unsqueeze(1)  # (count, 1, n, n)
    if normalisation == "standardised":
        pixels = x.shape[-1] * x.shape[-2]
        mean = x.mean(dim=(-2, -1), keepdim=True)
        deviation = x.std(dim=(-2, -1), keepdim=True, correction=0).clamp_min(pixels**-0.5)
        x = (x - mean) / deviation
    return x


def prepare(images: Tensor, preparation: str, prolongation: str = "bilinear") -> Tensor:
    """Return the original fine images, or the smoothed images P R x.

    Thesis (3.3) writes both x²ʰ = R xʰ and xʰ = P x²ʰ.  Real images satisfy only one of them:
    P R x lacks what the coarse grid cannot represent.

    Parameters
    ----------
    images : Tensor, shape (..., n, n)
    preparation : {"original", "prolonged"}
        The original images, or P R x.
    prolongation : {"bilinear", "constant"}
        P.

    Raises
    ------
    ValueError
        If the preparation or the prolongation is unknown, or n is odd.
    """
    if preparation == "prolonged":
        return prolong(restrict(images), prolongation)
    if preparation != "original":
        raise ValueError(f"preparation must be one of {one_of(PREPARATIONS)}, got {preparation!r}.")
    return images
