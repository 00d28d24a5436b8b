"""The digits of a study: where they come from, how they are split and prepared (thesis §3, §4.1).

MNIST comes through torchvision and is checked by SHA-256; the stroke digits of
:mod:`mgcore.data.strokes` need no file.  Nothing falls back silently: what was asked for is what is
used, or a sentence says why not.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from mgcore.data.strokes import stroke_digits
from mgcore.grids import prolong, restrict

DATASETS = ("mnist", "strokes")
NORMALISATIONS = ("unit", "standardised")
PREPARATIONS = ("original", "prolonged")

# The four decompressed files, as Y. LeCun and C. Cortes published them.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True)
class Digits:
    """A pool of labelled images from which trials draw.

    Attributes
    ----------
    name : str
    images : Tensor, shape (count, n, n)
        uint8 in 0…255, or floating point in 0…1.
    labels : Tensor of int64, shape (count,)
    sha256 : str
        Of the source files, or of the generated images rounded to eight bits.
    """

    name: str
    images: Tensor
    labels: Tensor
    sha256: str


@lru_cache(maxsize=1)
def load_digits(dataset: str, count: int, resolution: int = 28, root: str | None = None) -> Digits:
    """Return a pool of at least `count` digits.

    Parameters
    ----------
    dataset : {"mnist", "strokes"}
    count : int
        How many a trial needs; MNIST's training set has 60,000.
    resolution : int
        28 for MNIST; any even number for stroke digits.
    root : str, optional
        Where MNIST lies (the folder above ``MNIST/raw``); otherwise the environment variable
        ``MGCORE_DATA``, else the user's cache, else a download into it.

    Raises
    ------
    ValueError
        If the data set is unknown, too small, or not to be had at this resolution.
    FileNotFoundError
        If MNIST is neither there nor to be downloaded, or a file was altered.
    """
    if dataset == "strokes":
        images, labels = stroke_digits(count, resolution)
        return Digits("strokes", images, labels, _sha256(images))
    if dataset != "mnist":
        raise ValueError(f"dataset={dataset!r}; accepted: 'mnist' or 'strokes'.")
    if resolution != 28:
        raise ValueError(f"resolution={resolution} with dataset='mnist'; accepted: 28.")
    images, labels = _read_mnist(root)
    if count > len(images):
        raise ValueError(f"count={count} images of dataset='mnist'; accepted: up to {len(images)}.")
    both = MNIST_SHA256["train-images-idx3-ubyte"] + MNIST_SHA256["train-labels-idx1-ubyte"]
    return Digits("mnist", images, labels, hashlib.sha256(both.encode()).hexdigest())


def _sha256(images: Tensor) -> str:
    rounded = (images * 255).round().to(torch.uint8)
    return hashlib.sha256(rounded.numpy().tobytes()).hexdigest()


def mnist_root(root: str | None = None) -> Path:
    """Return the folder in which MNIST is looked for: `root`, ``MGCORE_DATA``, the user's cache."""
    chosen = root or os.environ.get("MGCORE_DATA")
    if chosen:
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mgcore" / "data"


def _read_mnist(root: str | None) -> tuple[Tensor, Tensor]:
    folder = mnist_root(root)
    raw = folder / "MNIST" / "raw"
    given = root or os.environ.get("MGCORE_DATA")
    mnist = import_torchvision("torchvision.datasets").MNIST
    if not all((raw / name).is_file() for name in MNIST_SHA256):
        reason = "no download is tried into a folder that was named"
        if not given:
            try:
                mnist(str(folder), train=True, download=True)
                reason = ""
            except (OSError, RuntimeError) as error:
                said = str(error).splitlines() or [type(error).__name__]
                reason = f"downloading failed ({said[0]})"
        if reason:
            raise FileNotFoundError(
                f"dataset='mnist' is not in {raw} and {reason}; accepted: the four decompressed "
                "files there, or MGCORE_DATA naming the folder above MNIST/raw, or "
                "dataset='strokes', which needs no file."
            )
    for name, digest in MNIST_SHA256.items():
        if hashlib.sha256((raw / name).read_bytes()).hexdigest() != digest:
            raise FileNotFoundError(
                f"dataset='mnist': {raw / name} is truncated or altered (its SHA-256 is not that "
                "of the published file); accepted: the published file, put in its place."
            )
    data = mnist(str(folder), train=True, download=False)
    return data.data, data.targets


def import_torchvision(module: str) -> ModuleType:
    """Import a part of torchvision, also beside a CPU build of torch.

    torchvision 0.28.0 on the package index is built for CUDA; beside torch's CPU build its import
    stops because its compiled operators are absent.  Data sets and networks for classification need
    none of them: declaring the two that the import asks for is enough.  Where torchvision imports
    by itself nothing is declared.

    Parameters
    ----------
    module : str
        As ``"torchvision.datasets"`` or ``"torchvision.models"``.

    Examples
    --------
    >>> import_torchvision("torchvision.models").resnet18.__name__
    'resnet18'
    """
    try:
        return importlib.import_module(module)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", schema)
        return importlib.import_module(module)


def split(count: int, sizes: tuple[int, ...], generator: torch.Generator) -> list[Tensor]:
    """Draw disjoint index sets of the given sizes out of `count` images (thesis §4.1).

    Raises
    ------
    ValueError
        If the sizes are not positive or add up to more than `count`.
    """
    if any(size < 1 for size in sizes) or sum(sizes) > count:
        raise ValueError(f"sizes={sizes} of {count} images; accepted: at least 1 each, disjoint.")
    return list(torch.randperm(count, generator=generator)[: sum(sizes)].split(list(sizes)))


def normalise(images: Tensor, normalisation: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Bring pixels to the scale that the network sees.

    Parameters
    ----------
    images : Tensor, shape (count, n, n)
        uint8 in 0…255 or floating point in 0…1.
    normalisation : {"unit", "standardised"}
        To [0, 1], or from there each image to (x − mean)/max(deviation, 1/√N), N pixels.
    dtype : torch.dtype

    Returns
    -------
    Tensor, shape (count, 1, n, n)
    """
    if normalisation not in NORMALISATIONS:
        raise ValueError(f"normalisation={normalisation!r}; accepted: 'unit' or 'standardised'.")
    x = images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype)
    x = x.unsqueeze(1)
    if normalisation == "standardised":
        pixels = x.shape[-1] * x.shape[-2]
        mean = x.mean(dim=(-2, -1), keepdim=True)
        deviation = x.std(dim=(-2, -1), keepdim=True, correction=0).clamp_min(pixels**-0.5)
        x = (x - mean) / deviation
    return x


def prepare(images: Tensor, preparation: str, prolongation: str = "bilinear") -> Tensor:
    """Return fine images as they are, or after a visit to the coarse grid: P R x.

    Thesis (3.3) writes both x²ʰ = R xʰ and xʰ = P x²ʰ.  For real images they differ, and P R x has
    lost what the coarse grid cannot hold.

    Parameters
    ----------
    images : Tensor, shape (..., n, n)
    preparation : {"original", "prolonged"}
    prolongation : {"bilinear", "constant"}
    """
    if preparation == "prolonged":
        return prolong(restrict(images), prolongation)
    if preparation != "original":
        raise ValueError(f"preparation={preparation!r}; accepted: 'original' or 'prolonged'.")
    return images
