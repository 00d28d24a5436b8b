"""Progressive resizing as practitioners use it: small images first, the weights as they are.

The schedule is that of MosaicML's Composer (``composer.algorithms.ProgressiveResizing``), after an
idea of fast.ai.  For networks whose dense layers read flattened maps, which take images of one size
only, ``mgcore.train.resolution_ladder.coarse_to_fine(..., stencils="copy")`` is what comes nearest.
"""

from __future__ import annotations

import copy
import time
from collections import Counter

import torch
import torch.nn.functional as F
from torch import nn

from mgcore.train.budgeted import SGD, Draw, Level, Optimizer, Spent, image_flops
from mgcore.train.multilevel import Loss


def composer_sizes(
    steps: int,
    full: int,
    *,
    initial_scale: float = 0.5,
    delay_fraction: float = 0.5,
    finetune_fraction: float = 0.2,
    size_increment: int = 4,
) -> list[int]:
    """Return the pixels along a side in every step of progressive resizing.

    With the defaults, which are Composer's: half of the steps at half the size, then a linear ramp,
    and the last fifth at full size; sizes are rounded to multiples of `size_increment`.

    Parameters
    ----------
    steps : int
    full : int
        Pixels along a side of the images.
    initial_scale, delay_fraction, finetune_fraction : float
        In [0, 1]; the two fractions add up to 1 at most.
    size_increment : int

    Examples
    --------
    >>> composer_sizes(10, 32)
    [16, 16, 16, 16, 16, 16, 20, 28, 32, 32]
    """
    delay, tune = delay_fraction, finetune_fraction
    if not (0 <= initial_scale <= 1 and 0 <= delay and 0 <= tune and delay + tune <= 1):
        raise ValueError(
            f"initial_scale={initial_scale}, delay_fraction={delay}, finetune_fraction={tune}; "
            "accepted: numbers in [0, 1], the fractions of sum 1 at most."
        )
    sizes = []
    for step in range(steps):
        elapsed = step / steps
        ramp = 1 - tune - delay
        risen = 0.0 if elapsed < delay else min((elapsed - delay) / ramp, 1.0) if ramp else 1.0
        scale = initial_scale + (1 - initial_scale) * risen
        sizes.append(min(full, round(full * scale / size_increment) * size_increment))
    return sizes


def progressive_resizing(
    model: nn.Module,
    level: Level,
    *,
    batch: int = 32,
    mode: str = "nearest",
    optimizer: Optimizer = SGD,
    loss: Loss = F.cross_entropy,
    generator: torch.Generator | None = None,
    **schedule: float,
) -> tuple[nn.Module, Spent]:
    """Train one network on images that grow, its weights the same for every size.

    Parameters
    ----------
    model : Module
        One that takes images of any size, as behind global pooling; it is left as it is.
    level : Level
        Images at full size, rows and columns; its budget is in images of that size.
    batch : int
    mode : {"nearest", "bilinear"}
        How images shrink.  Composer's documentation says bilinear, its code takes the nearest.
    optimizer, loss, generator
        As in :func:`coarse_to_fine`.
    **schedule
        Of :func:`composer_sizes`.

    Returns
    -------
    model : Module
    spent : Spent
        Its images by size, from the largest; no step is begun that would exceed the budget.

    Raises
    ------
    ValueError
        If the network does not take the smallest images.
    """
    size = level.images.shape[-1]
    if level.images.ndim != 4 or level.images.shape[-2] != size:
        raise ValueError(
            f"level has images of {tuple(level.images.shape[1:])}; accepted: square ones, "
            "(channels, n, n)."
        )
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode={mode!r}; accepted: 'nearest' or 'bilinear'.")
    began = time.perf_counter()
    generator = generator or torch.Generator().manual_seed(0)
    model, draw, seen = copy.deepcopy(model), Draw(level, generator), Counter()
    descent = optimizer(model.parameters())
    sizes = _affordable(level.budget / batch, size, schedule)
    for n in sizes:
        images, labels = draw(batch)
        if n < size:
            how = {"align_corners": False} if mode == "bilinear" else {}
            images = F.interpolate(images, (n, n), mode=mode, **how)
        try:
            outputs = model(images)
        except RuntimeError as error:
            raise ValueError(
                f"model does not take images of {n}×{n} ({str(error).splitlines()[0]}); accepted: "
                "one that takes any size, as behind global pooling."
            ) from error
        descent.zero_grad()
        loss(outputs, labels).backward()
        descent.step()
        seen[n] += len(images)
    seconds = time.perf_counter() - began
    counts = dict(sorted(seen.items(), reverse=True))
    work = sum(count * (n / size) ** 2 for n, count in counts.items())
    channels = level.images.shape[1]
    flops = sum(count * image_flops(model, (channels, n, n)) for n, count in counts.items())
    shape = (channels, size, size)
    return model, Spent(shape, len(sizes), tuple(counts.values()), work, flops, seconds)


def _affordable(budget: float, full: int, schedule: dict[str, float]) -> list[int]:
    """Return the longest schedule whose steps cost at most `budget` steps at full size."""
    steps = int(budget)
    while (
        sum((n / full) ** 2 for n in composer_sizes(steps + 1, full, **schedule)) <= budget + 1e-9
    ):
        steps += 1
    return composer_sizes(steps, full, **schedule)
