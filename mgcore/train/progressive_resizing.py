"""Progressive resizing: training on small images first, with unchanged weights.

The schedule is that of MosaicML's Composer (``composer.algorithms.ProgressiveResizing``), after an
idea of fast.ai.  Networks with dense layers on flattened maps take images of one size only; for
them ``mgcore.coarse_to_fine(..., stencils="copy")`` is the closest equivalent.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.train.budgeted import (
    SGD,
    BatchLevel,
    Level,
    Optimizer,
    Spent,
    check_trainable,
    image_flops,
    to_device,
    training_mode,
)
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

    With Composer's defaults, half of the steps are at half the size, then the size grows linearly,
    and the last fifth is at full size.  Sizes are rounded to multiples of `size_increment`, at
    least one and at most `full`.

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
            "initial_scale, delay_fraction and finetune_fraction must be in [0, 1], and the two "
            f"fractions add up to 1 at most, got {initial_scale}, {delay} and {tune}."
        )
    if not (steps >= 0 and full >= 1 and size_increment >= 1):
        raise ValueError(
            "steps must be 0 or more, and full and size_increment at least 1, got "
            f"steps={steps}, full={full}, size_increment={size_increment}."
        )
    sizes = []
    for step in range(steps):
        elapsed = step / steps
        ramp = 1 - tune - delay
        risen = 0.0 if elapsed < delay else min((elapsed - delay) / ramp, 1.0) if ramp else 1.0
        scale = initial_scale + (1 - initial_scale) * risen
        rounded = max(round(full * scale / size_increment), 1) * size_increment
        sizes.append(min(full, rounded))
    return sizes


def progressive_resizing(
    model: nn.Module,
    level: Level | BatchLevel,
    *,
    batch: int = 32,
    mode: str = "nearest",
    optimizer: Optimizer = SGD,
    loss: Loss = F.cross_entropy,
    generator: torch.Generator | None = None,
    **schedule: Any,
) -> tuple[nn.Module, Spent]:
    """Train a copy of a network on images of growing size, with the same weights for every size.

    Parameters
    ----------
    model : Module
        A network that takes images of any size, with global pooling before its dense layers.  It is
        not changed; the copy is trained in training mode.
    level : Level or BatchLevel
        Images at full size, rows and columns; its budget counts images of that size.
    batch : int
    mode : {"nearest", "bilinear"}
        How images shrink.  Composer's documentation says bilinear; its code uses nearest.
    optimizer, loss, generator
        As for :func:`mgcore.coarse_to_fine`.
    **schedule
        Of :func:`composer_sizes`.

    Returns
    -------
    model : Module
    spent : Spent
        `images` are given for each size, the largest first.  The schedule is the longest that
        the budget allows.

    Raises
    ------
    TypeError
        If `optimizer` is an optimizer and not a callable that makes one.
    ValueError
        If the network does not take images of some size or has no parameter that requires a
        gradient, or the budget is too small for a step.
    """
    channels, *grid = level.shape
    size = grid[-1]
    if len(grid) != 2 or grid[0] != size:
        raise ValueError(
            f"level must have square images, (channels, n, n), got images of {level.shape}."
        )
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode must be 'nearest' or 'bilinear', got {mode!r}.")
    began = time.perf_counter()
    check_trainable(model, optimizer)
    generator = generator or torch.Generator().manual_seed(0)
    model, draw = copy.deepcopy(model), level.draw(generator)
    seen: Counter[int] = Counter()
    sizes = _affordable(level.budget / batch, size, schedule)
    if level.budget and not sizes:
        raise ValueError(
            f"budget={level.budget} is too small for one step of {batch} images. Raise the budget, "
            "or use smaller batches."
        )
    # Counted first: whatever fails in counting, no training is lost by it.
    each = {n: _flops(model, channels, n) for n in sorted(set(sizes))}
    descent, place = optimizer(model.parameters()), next(model.parameters()).device
    how = {"align_corners": False} if mode == "bilinear" else {}
    with training_mode(model):
        for n in sizes:
            images, labels = to_device(draw(batch), place)
            if n < size:
                images = F.interpolate(images, (n, n), mode=mode, **how)
            evaluations = 0

            def closure(images: Tensor = images, labels: Tensor = labels) -> Tensor:
                nonlocal evaluations
                evaluations += 1
                descent.zero_grad()
                value = loss(model(images), labels)
                value.backward()
                return value

            # The stub of torch asks for a float; the closures of torch return a tensor.
            descent.step(closure)  # type: ignore[arg-type]
            seen[n] += evaluations * len(images)
    seconds = time.perf_counter() - began
    counts = dict(sorted(seen.items(), reverse=True))
    work = sum(count * (n / size) ** 2 for n, count in counts.items())
    flops = sum(count * each[n] for n, count in counts.items())
    shape = (channels, size, size)
    return model, Spent(shape, len(sizes), tuple(counts.values()), work, flops, seconds)


def _flops(model: nn.Module, channels: int, n: int) -> float:
    try:
        return image_flops(model, (channels, n, n))
    except RuntimeError as error:
        raise ValueError(
            f"model does not take images of {n}×{n} ({str(error).splitlines()[0]}). Use a network "
            "that takes images of any size, with global pooling before its dense layers."
        ) from error


def _affordable(budget: float, full: int, schedule: dict[str, Any]) -> list[int]:
    """Return the longest schedule whose steps cost at most `budget` steps at full size."""

    def cost(steps: int) -> float:
        counts = Counter(composer_sizes(steps, full, **schedule))
        return sum(count * (n / full) ** 2 for n, count in counts.items())

    # Sizes never fall within a schedule, so one more step costs at least the smallest size more.
    smallest = (composer_sizes(1, full, **schedule)[0] / full) ** 2
    least, most = 0, int(budget / smallest) + 1
    while least < most:
        middle = (least + most + 1) // 2
        if cost(middle) <= budget + 1e-9:
            least = middle
        else:
            most = middle - 1
    return composer_sizes(least, full, **schedule)
