"""The tasks on which training strategies are compared: digits, films, and noisy digits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.data.images import load_digits, normalise, split
from mgcore.data.strokes import stroke_digits
from mgcore.grids import restrict
from mgcore.lab.scales.strategies import (
    BATCH_STRATEGIES,
    DENOISING_STRATEGIES,
    FILM_STRATEGIES,
    GALERKIN_VARIANTS,
    STRATEGIES,
    Strategy,
)
from mgcore.lab.trial.phases import stream
from mgcore.thesis.network import ThesisCNN
from mgcore.thesis.resnet import ResNet

SEEDS = 5
TRAINING, VALIDATION, FINE_SIDE = 5_000, 2_000, 28
BUDGETS = (625, 1_250, 2_500, 5_000, 10_000)  # images of the fine grid
VARIANT_BUDGETS = (1_250, 5_000)
FILM_BUDGETS = (2_000, 4_000, 8_000)  # films of the fine grid
FRAMES, FILM_SIDE, FILM_NOISE = 8, 16, 0.25
DENOISING_SIDE, NOISE = 32, 0.5  # of noisy digits; ink is 1
DENOISING_BUDGETS = (500, 1_000, 2_000, 4_000, 8_000)  # images of the fine grid
# The motion of a film in rows and columns a frame; its place is the film's label.
DIRECTIONS = tuple(d for d in itertools.product((-1, 0, 1), repeat=2) if d != (0, 0))


class Data(NamedTuple):
    """Inputs of one seed on the fine grid, with their labels: classes, or images without noise."""

    training: Tensor  # (count, 1, *grid)
    labels: Tensor
    validation: Tensor
    validation_labels: Tensor


def draw_digits(
    seed: int, training: int = TRAINING, validation: int = VALIDATION, dataset: str = "mnist"
) -> Data:
    """Draw digits, standardised by the mean and the deviation of all training pixels."""
    sizes = (training, validation)
    digits = load_digits(dataset, sum(sizes), FINE_SIDE)
    fine, held_out = split(len(digits), sizes, stream(seed, 0, "pareto"))
    pixels = normalise(digits.images, "unit")
    mean, deviation = pixels[fine].mean(), pixels[fine].std()
    x, x_held_out = ((pixels[index] - mean) / deviation for index in (fine, held_out))
    return Data(x, digits.labels[fine], x_held_out, digits.labels[held_out])


def moving_digits(
    count: int, seed: int, frames: int = FRAMES, side: int = FILM_SIDE, noise: float = FILM_NOISE
) -> tuple[Tensor, Tensor]:
    """Draw films of stroke digits that move by one pixel a frame, with periodic boundaries.

    Parameters
    ----------
    count, seed : int
    frames, side : int
    noise : float
        Standard deviation of the noise, which hides the digit in single frames; ink is 1.

    Returns
    -------
    films : Tensor, shape (count, 1, frames, side, side), float32
    labels : Tensor, shape (count,)
        Places in :data:`DIRECTIONS`.
    """
    images, _ = stroke_digits(count, side, seed=seed)
    generator = stream(seed, 0, "films")
    labels = torch.randint(len(DIRECTIONS), (count,), generator=generator)
    starts = torch.randint(side, (count, 2), generator=generator)
    films = torch.empty(count, 1, frames, side, side)
    for film, image, label, start in zip(films, images, labels.tolist(), starts, strict=True):
        for t in range(frames):
            shift = [int(s) + t * step for s, step in zip(start, DIRECTIONS[label], strict=True)]
            film[0, t] = image.float().roll(shift, (0, 1))
    films += noise * torch.randn(films.shape, generator=generator)
    return films, labels


def draw_films(seed: int, training: int = 4_000, validation: int = 1_000) -> Data:
    """Draw standardised films; validation and training films show different digits."""
    x, y = moving_digits(training + validation, seed)
    x = (x - x[:training].mean()) / x[:training].std()
    return Data(x[:training], y[:training], x[training:], y[training:])


def film_network(side: int) -> nn.Module:  # noqa: ARG001 (a network of any grid)
    """Return two layers of 3×3×3 kernels, means over the film, and a linear classifier.

    The means make the network independent of the size of the grid and of the digit's position.
    """
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1, bias=False), nn.ReLU(),
        nn.Conv3d(8, 16, 3, padding=1, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, len(DIRECTIONS)),
    )  # fmt: skip


def coarsen_digits(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return images on the grid of half the resolution along both axes."""
    if axes != (0, 1):
        raise ValueError(f"Digits are coarsened along both axes, (0, 1); got {axes}.")
    return restrict(x)


def coarsen_films(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return films with half the cells along some of the axes (frames, rows, columns)."""
    # One axis after the other: other orders of summation round differently from the record.
    for axis in axes:
        x = restrict(x.movedim(2 + axis, -1), 1).movedim(-1, 2 + axis)
    return x.contiguous()


def draw_noisy_digits(seed: int, training: int = 2_000, validation: int = 500) -> Data:
    """Draw stroke digits with white noise; the labels are the digits without it."""
    digits, _ = stroke_digits(training + validation, DENOISING_SIDE, seed=seed)
    clean = digits[:, None]
    noisy = clean + NOISE * torch.randn(clean.shape, generator=stream(seed, 0, "noise"))
    return Data(noisy[:training], clean[:training], noisy[training:], clean[training:])


class UNet(nn.Module):
    """Two resolutions with a skip connection, as Ronneberger et al. (2015) have more of them."""

    def __init__(self, side: int, width: int = 8) -> None:  # noqa: ARG002 (a network of any grid)
        super().__init__()
        self.down = nn.Conv2d(1, width, 3, padding=1)
        self.inside = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.up = nn.Conv2d(3 * width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the size of `x`, shape (count, 1, rows, columns)."""
        fine = F.relu(self.down(x))
        coarse = F.relu(self.inside(F.avg_pool2d(fine, 2)))
        both = torch.cat([fine, F.interpolate(coarse, scale_factor=2.0)], 1)
        return self.out(F.relu(self.up(both)))


class ResidualFilter(nn.Module):
    """Residual layers of one resolution between two convolutions."""

    def __init__(self, side: int, width: int = 8, depth: int = 3) -> None:  # noqa: ARG002
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the size of `x`, shape (count, 1, rows, columns)."""
        maps = F.relu(self.first(x))
        for layer in self.layers:
            maps = maps + F.relu(layer(maps))
        return self.last(maps)


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor, batch: int = 100) -> float:
    """Return the percentage of inputs that are classified correctly."""
    with torch.no_grad():
        classes = torch.cat([model(some).argmax(1) for some in inputs.split(batch)])
    return 100 * float((classes == labels).double().mean())


def noise_removed(model: nn.Module, noisy: Tensor, clean: Tensor, batch: int = 100) -> float:
    """Return by how many percent the mean squared distance from the clean images decreases."""
    with torch.no_grad():
        outputs = torch.cat([model(some) for some in noisy.split(batch)])
    return 100 * (1 - float(F.mse_loss(outputs, clean) / F.mse_loss(noisy, clean)))


@dataclass(frozen=True)
class Task:
    """A network, its data, and the strategies and budgets that are compared on it.

    Attributes
    ----------
    draw : callable
        From a seed to :class:`Data`.
    network : callable
        From the cells along the last grid axis to an untrained network.
    plan : tuple of (strategies by name, budgets)
        Budgets in inputs of the fine grid.
    rates : tuple of float
        Learning rates on the fine grid among which the pilot chooses for each strategy.
    pilot_budgets : tuple of int
    coarse_rate : float or None
        Learning rate on the coarse grid, the same for every strategy; None for that of the fine
        grid.
    decay : bool
        Whether every strategy's learning rate falls linearly to 0 over its whole budget, the work
        on the coarse grid included.  Otherwise it is constant on each grid.
    seeds : int
    coarsen : callable
        From inputs and the axes that become coarse to inputs on the coarse grid.
    order : str
        Name of the random stream of the order of inputs.
    loss : callable
        From outputs and labels to their mean loss.
    score : callable
        From a network, inputs and labels to what is compared, in percent; 100 is best.
    """

    draw: Callable[[int], Data]
    network: Callable[[int], nn.Module]
    plan: tuple[tuple[Mapping[str, Strategy], tuple[int, ...]], ...] = (
        (STRATEGIES, BUDGETS),
        (GALERKIN_VARIANTS, VARIANT_BUDGETS),
    )
    rates: tuple[float, ...] = (0.03, 0.01, 0.003, 0.001, 0.0003)
    pilot_budgets: tuple[int, ...] = (625, 2_500)
    coarse_rate: float | None = 0.01
    decay: bool = False
    seeds: int = SEEDS
    coarsen: Callable[[Tensor, tuple[int, ...]], Tensor] = coarsen_digits
    order: str = "order"
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    score: Callable[[nn.Module, Tensor, Tensor], float] = accuracy

    @property
    def strategies(self) -> dict[str, Strategy]:
        """All strategies of the plan, by name."""
        return {name: one for strategies, _ in self.plan for name, one in strategies.items()}


IMAGE_TASKS: dict[str, Task] = {
    "thesis": Task(draw_digits, partial(ThesisCNN, pooling=False)),
    "pooled": Task(draw_digits, partial(ThesisCNN, pooling=True)),
    "resnet": Task(draw_digits, partial(ResNet, width=12, depth=3, h=0.5)),
}
# In IMAGE_TASKS, a strategy that starts on the coarse grid has two learning rates and the fine grid
# alone has one.  Here every strategy has the same schedule.
EQUAL_SCHEDULES: dict[str, Task] = {
    f"{name}-decay": replace(
        task,
        plan=(
            (
                {name: STRATEGIES[name] for name in (
                    "fine only", "copied", "Galerkin, bilinear", "multilevel, copied",
                )},
                (1_250, 2_500, 5_000, 10_000, 20_000),
            ),
        ),
        rates=(1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001),
        pilot_budgets=(2_500, 10_000), coarse_rate=None, decay=True, seeds=10,
    )
    for name, task in IMAGE_TASKS.items()
}  # fmt: skip
# Beside the strategies of EQUAL_SCHEDULES, on the same seeds.
BATCH_TASKS: dict[str, Task] = {
    f"{name}-batch": replace(task, plan=((BATCH_STRATEGIES, task.plan[0][1]),))
    for name, task in zip(IMAGE_TASKS, EQUAL_SCHEDULES.values(), strict=True)
}
DENOISING_TASKS: dict[str, Task] = {
    name: Task(
        draw_noisy_digits, network,
        ((DENOISING_STRATEGIES, DENOISING_BUDGETS),),
        rates=(1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001), pilot_budgets=(1_000, 4_000),
        coarse_rate=None, decay=True, order="denoising order", loss=F.mse_loss, score=noise_removed,
    )
    for name, network in (("unet", UNet), ("filter", ResidualFilter))
}  # fmt: skip
TASKS: dict[str, Task] = IMAGE_TASKS | EQUAL_SCHEDULES | BATCH_TASKS | DENOISING_TASKS | {
    "film": Task(
        draw_films, film_network, ((FILM_STRATEGIES, FILM_BUDGETS),),
        # Larger rates than for images, because means over the film make gradients small.
        rates=(0.1, 0.03, 0.01), pilot_budgets=(4_000,), coarse_rate=0.1,
        coarsen=coarsen_films, order="film order",
    )
}  # fmt: skip
