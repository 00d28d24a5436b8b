r"""Stroke digits: handwritten-like digits as continuous functions on the unit square.

A digit is a set of pen strokes :math:`\gamma`: splines through a few control points, which are
jittered, warped smoothly, slanted, turned, scaled and shifted at random. The ink at :math:`x` is

.. math::

    f(x) = 1 - \exp\Bigl(-c \int_\gamma \tfrac{1}{\sqrt{2\pi}\,\sigma}
           e^{-|x - y|^2 / 2\sigma^2}\, ds(y)\Bigr),

the limit of :math:`1 - \prod_k (1 - \varphi_k(x))` for ever finer dabs :math:`\varphi_k` of a
Gaussian pen of width :math:`\sigma`. It is smooth everywhere, also where strokes meet or cross
(the distance to a stroke is not), so that sampling at the cell centres of two grids agrees to
second order, :math:`R f_{h/2} = f_h + O(h^2)`. The same image exists at every resolution, which
MNIST, the data of the thesis (§4.1), cannot give.
"""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Integral

import numpy as np
import torch

__all__ = ["stroke_digits"]

# The handwritings: a digit, and the points that its strokes run through, "x,y" in hundredths of a
# box of height 1, y downwards, strokes divided by "/". Equal points are one point when they are
# moved at random, so strokes that meet stay together; a stroke that ends where it began is closed.
# A corner is where one stroke ends and the next begins.
_GLYPHS = (
    (0, "55,0 28,14 18,50 27,85 50,100 74,84 82,50 75,16 55,0"),
    (0, "66,8 42,3 24,25 19,60 34,94 60,97 80,70 80,30 62,2 46,12"),
    (1, "52,0 50,50 49,100"),
    (1, "30,24 54,0 / 54,0 53,50 52,100"),
    (2, "20,25 30,6 54,0 76,13 74,36 52,66 18,98 / 18,98 50,96 86,97"),
    (2, "22,20 36,3 60,2 75,18 69,42 48,72 26,96 12,90 20,77 44,86 66,98 88,92"),
    (3, "20,13 46,0 73,13 68,36 42,47 / 42,47 72,56 80,76 62,96 38,100 16,88"),
    (3, "20,3 48,2 76,3 / 76,3 44,40 / 44,40 72,50 79,74 60,96 36,100 16,90"),
    (4, "24,2 19,30 18,56 / 18,56 50,55 86,52 / 74,4 70,50 66,100"),
    (4, "64,0 40,34 14,66 / 14,66 50,65 90,65 / 64,0 64,50 63,100"),
    (5, "78,2 32,2 / 32,2 26,43 / 26,43 54,36 78,54 76,82 50,100 18,91"),
    (5, "80,3 55,2 34,10 28,32 50,46 74,62 74,86 50,100 20,94"),
    (6, "66,0 42,20 25,50 25,82 48,100 74,86 73,62 50,50 27,68"),
    (6, "50,0 30,32 22,68 34,95 60,98 78,78 66,60 42,66 26,84"),
    (7, "16,5 48,3 82,5 / 82,5 58,48 42,100"),
    (7, "16,5 48,3 82,5 / 82,5 60,46 46,100 / 34,50 78,47"),
    (8, "73,13 50,0 27,13 30,32 53,48 77,68 74,90 50,100 25,90 23,68 47,48 70,31 73,13"),
    (9, "76,22 56,0 28,12 25,38 46,50 70,40 76,22 / 76,22 74,60 66,100"),
    (9, "76,22 56,0 28,12 25,38 46,50 70,40 76,22 / 76,22 76,56 62,92 40,100 24,90"),
)

_SEGMENTS = 96  # pieces of all strokes of a digit together, as a rule shorter than 2 sigma
_POINTS = 14  # control points of the longest handwriting, rounded up
_MODES = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1)]  # of the warp, cosines
_DRAWS = 56  # random numbers per image: a multiple of 4, what one step of Philox yields

# Amplitudes, as lengths on the unit square unless said otherwise. Each random number is uniform
# in [-1, 1], so that no image is extreme. Chosen so that a linear classifier errs on about one
# image in ten while a person does not.
_HEIGHT, _HEIGHT_SPREAD = 0.57, 0.10
_ASPECT_SPREAD = 0.20  # logarithm of width over height
_SLANT_MEAN, _SLANT_SPREAD = 0.12, 0.35  # tangent of the angle
_TURN_SPREAD = 0.15  # radians
_SHIFT_SPREAD = 0.07
_JITTER = 0.055  # of a control point, in the glyph's box
_WARP = 0.085  # of the first mode, in the glyph's box; falls with the wave number
_PEN, _PEN_SPREAD = 0.027, 0.006  # sigma; strokes are about 3.3 sigma wide at half their ink
_INK, _INK_SPREAD = 2.75, 1.0  # c: peak ink 1 - exp(-c), between 0.83 and 0.98


def stroke_digits(
    count: int,
    resolution: int = 28,
    *,
    seed: int = 0,
    start: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Sample images ``start`` to ``start + count - 1`` of an infinite sequence of digits.

    Image `k` of the sequence is a smooth function on the unit square that depends on
    ``(seed, k)`` alone; `resolution` says where it is sampled, at the cell centres
    :math:`((j + 1/2)/n, (i + 1/2)/n)` for row `i` and column `j`. Rows run downwards.

    Parameters
    ----------
    count : int
        Number of images, at least 0.
    resolution : int, default 28
        Cells per side of the grid, `n`, at least 4; may be odd.
    seed : int, default 0
        Which sequence, 0 to 2**64 - 1. Sequences of different seeds are independent.
    start : int, default 0
        Index of the first image, 0 to 2**64 - 1.
    dtype : torch.dtype, default torch.float32
        ``torch.float32`` or ``torch.float64``. The arithmetic is float64 in both cases.

    Returns
    -------
    images : torch.Tensor, (count, resolution, resolution)
        Ink, in [0, 1]; 0 is paper. On the CPU.
    labels : torch.Tensor, (count,), torch.int64
        The digits, 0 to 9, each with probability 1/10.

    Raises
    ------
    ValueError
        If an argument is of another type or out of its range.

    Notes
    -----
    How the sequence is cut into calls, and the machine, matter to rounding only: the random
    numbers are Philox's raw output [1]_, a function of a key (the seed) and a counter (the image).

    References
    ----------
    .. [1] J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11, 2011.

    Examples
    --------
    >>> images, labels = stroke_digits(3, resolution=14, seed=1)
    >>> images.shape, labels.shape
    (torch.Size([3, 14, 14]), torch.Size([3]))
    """
    count = _integer("count", count, 0)
    n = _integer("resolution", resolution, 4)
    seed = _integer("seed", seed, 0, bits=64)
    start = _integer("start", start, 0, bits=64)
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype!r}.")

    # Float64 numbers held per image: factors, product and exponential, geometry. Chunks of 8 MB
    # stay near the processor's cache; only one image of n > 600 takes more.
    chunk = max(1, 1_000_000 // (3 * _SEGMENTS * n + 3 * n * n + 40 * _SEGMENTS))
    with torch.device("cpu"):  # whatever the caller's default device is
        images = torch.empty(count, n, n, dtype=dtype)
        labels = torch.empty(count, dtype=torch.int64)
        for first in range(0, count, chunk):
            part = slice(first, min(first + chunk, count))
            uniform = _uniform(seed, start + first, part.stop - first)
            labels[part], pieces, sigma, ink = _draw(uniform)
            images[part] = _sample(pieces, sigma, ink, n)
    return images, labels


def _integer(name: str, value: object, least: int, bits: int | None = None) -> int:
    """`value` as an int, or a ValueError that names the argument."""
    whole = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if whole is None or whole < least or (bits and whole >= 2**bits):
        span = f"from {least} to 2**{bits} - 1" if bits else f"at least {least}"
        raise ValueError(f"{name} must be an integer {span}, got {value!r}.")
    return whole


@lru_cache(maxsize=1)
def _templates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Handwritings as arrays: the digit (T,), control points (T, C, 2), and ends of pieces.

    The ends (T, 2 K, C) are combinations of the control points; K beginnings, then K ends.
    """
    points, ends = np.zeros((len(_GLYPHS), _POINTS, 2)), []
    for xy, (_, written) in zip(points, _GLYPHS, strict=True):
        strokes = [stroke.split() for stroke in written.split("/")]
        unique = list(dict.fromkeys(p for stroke in strokes for p in stroke))
        xy[: len(unique)] = [[int(v) / 100 - 0.5 for v in p.split(",")] for p in unique]
        dense = [_spline([unique.index(p) for p in stroke]) for stroke in strokes]
        steps = [np.linalg.norm(np.diff(d @ xy, axis=0), axis=1) for d in dense]
        arcs = [np.concatenate([[0.0], np.cumsum(s)]) for s in steps]
        share = [round(_SEGMENTS * arc[-1] / sum(a[-1] for a in arcs)) for arc in arcs]
        share[0] += _SEGMENTS - sum(share)
        nodes = []  # of each stroke, about equally spaced: (pieces + 1, C)
        for d, arc, pieces in zip(dense, arcs, share, strict=True):
            at = np.interp(np.linspace(0, arc[-1], pieces + 1), arc, np.arange(len(arc)))
            nodes.append(d[np.rint(at).astype(int)])
        ends.append(np.concatenate([x[:-1] for x in nodes] + [x[1:] for x in nodes]))
    return np.array([digit for digit, _ in _GLYPHS]), points, np.stack(ends)


def _spline(order: list[int], per_span: int = 64) -> np.ndarray:
    """Catmull-Rom spline through the control points `order`, densely: weights (samples, C)."""
    closed = order[0] == order[-1]
    weight = np.eye(_POINTS)[order]
    before = weight[-2] if closed else 2 * weight[0] - weight[1]
    after = weight[1] if closed else 2 * weight[-1] - weight[-2]
    p = np.concatenate([[before], weight, [after]])
    t = np.arange(per_span) / per_span
    basis = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]
    spans = [0.5 * np.transpose(basis) @ p[k : k + 4] for k in range(len(p) - 3)]
    return np.concatenate([*spans, weight[-1:]])


def _uniform(seed: int, start: int, count: int) -> torch.Tensor:
    """Random numbers of images `start` on, uniform in [0, 1): (count, _DRAWS), float64."""
    stream = np.random.Philox(key=seed, counter=start * (_DRAWS // 4))
    raw = stream.random_raw(count * _DRAWS) >> np.uint64(11)
    return torch.from_numpy(raw.astype(np.float64) * 2.0**-53).reshape(count, _DRAWS)


def _draw(uniform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random numbers (B, _DRAWS) to labels (B,), ends of pieces, sigma (B,) and ink c (B,).

    The ends are on the unit square, (B, 2, K, 2): beginnings, then ends; x, then y.
    """
    digits, points, ends = (torch.from_numpy(array) for array in _templates())
    labels = (10 * uniform[:, 0]).long()
    many = digits.bincount()  # handwritings of each digit; they stand in the order of the digits
    hand = (many.cumsum(0) - many)[labels] + (many[labels] * uniform[:, 1]).long()
    signed = 2 * uniform[:, 2:] - 1
    size, aspect, slant, turn, pen, ink = signed[:, :6].unbind(1)
    jitter = signed[:, 8:36].reshape(-1, _POINTS, 2)
    warp = signed[:, 36:50].reshape(-1, len(_MODES), 2)

    xy = ends[hand] @ (points[hand] + _JITTER * jitter)  # (B, 2K, 2)
    # The warp moves every point of the plane by a sum of low cosines of its place in the box.
    once = torch.cos(math.pi * (xy + 0.5))
    waves = (torch.ones_like(once), once, 2 * once * once - 1)  # cosines of 0, 1, 2 half waves
    modes = torch.stack([waves[p][..., 0] * waves[q][..., 1] for p, q in _MODES], -1)
    decay = torch.tensor([_WARP / (p * p + q * q) for p, q in _MODES], dtype=torch.float64)
    xy = xy + (modes * decay) @ warp  # (B, 2K, 2)

    # Widen, slant (the top, where y < 0, to the right), turn and scale.
    x, y = torch.exp(_ASPECT_SPREAD * aspect) * xy[..., 0].T, xy[..., 1].T  # (2K, B)
    x = x - (_SLANT_MEAN + _SLANT_SPREAD * slant) * y
    cos, sin = torch.cos(_TURN_SPREAD * turn), torch.sin(_TURN_SPREAD * turn)
    xy = (_HEIGHT + _HEIGHT_SPREAD * size) * torch.stack([cos * x - sin * y, sin * x + cos * y])
    # Shifts are from a centred box around the digit, so that it stays within the picture.
    xy = xy - 0.5 * (xy.amin(1, keepdim=True) + xy.amax(1, keepdim=True))  # (2, 2K, B)
    xy = xy.permute(2, 1, 0) + 0.5 + _SHIFT_SPREAD * signed[:, None, 6:8]  # (B, 2K, 2)
    pieces = xy.reshape(-1, 2, _SEGMENTS, 2)
    return labels, pieces, _PEN + _PEN_SPREAD * pen, _INK + _INK_SPREAD * ink


def _sample(pieces: torch.Tensor, sigma: torch.Tensor, ink: torch.Tensor, n: int) -> torch.Tensor:
    """Ink at the cell centres of an n x n grid, (B, n, n): the integral by the midpoint rule.

    A Gaussian is a product over the axes, so the sum over pieces is one matrix product an
    image, and exponentials are needed per row and per column, not per cell.
    """
    middle = pieces.mean(1)  # (B, K, 2)
    length = (pieces[:, 1] - pieces[:, 0]).norm(dim=-1)  # (B, K)
    centres = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    scaled = (centres - middle[..., None]) / (math.sqrt(2.0) * sigma)[:, None, None, None]
    factors = torch.exp(-scaled.square_())  # (B, K, 2, n)
    dose = (ink / (math.sqrt(2 * math.pi) * sigma))[:, None] * length  # (B, K)
    columns = factors[:, :, 0] * dose[..., None]  # (B, K, n)
    exposure = factors[:, :, 1].transpose(1, 2) @ columns  # (B, n, n), rows are y
    image = -torch.expm1(-exposure)
    # A cell far from every stroke holds a number that float32 has as a denormal one, which some
    # processes take for zero: it is zero in all of them.
    return image.masked_fill(image < torch.finfo(torch.float32).tiny, 0)
