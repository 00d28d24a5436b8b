"""Films: the direction in which a digit moves, by three-dimensional stencils carried across grids.

Beyond the thesis, which names video as what its method might serve.  A film has three axes, and may
be coarse in space, in time, or in both; the Galerkin map of a 3×3×3 stencil is the product of three
of one axis (:func:`mgcore.kernels.refine_kernel`).
"""

from __future__ import annotations

import itertools
import time
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from mgcore.data.strokes import stroke_digits
from mgcore.grids import restrict
from mgcore.lab.records.files import read_json
from mgcore.lab.run.pending import run_missing
from mgcore.lab.scales.strategies import MOMENTUM, Data, reached
from mgcore.lab.scales.work_grid import PILOT_SEED, best_rates, read_rates
from mgcore.lab.trial.phases import stream
from mgcore.refinement.module import refine
from mgcore.train.budgeted import Level, Spent, train

SEEDS = 5
BUDGETS = (2_000, 4_000, 8_000)  # films of the fine grid
PILOT_BUDGETS = (4_000,)
FRAMES, SIDE = 8, 16
DIRECTIONS = tuple(d for d in itertools.product((-1, 0, 1), repeat=2) if d != (0, 0))
NOISE = 0.25
# Larger than those of images: global pooling makes gradients small.
RATES, RATE = (0.1, 0.03, 0.01), 0.1
# Which axes of (frames, rows, columns) are coarse first.
COARSE: dict[str, tuple[int, ...]] = {"space": (1, 2), "time": (0,), "both": (0, 1, 2)}
WAYS: dict[str, tuple[str, str]] = {"fine only": ("", "")} | {
    f"{where}, {how}": (where, how) for where in COARSE for how in ("copy", "galerkin")
}


def films(count: int, seed: int, frames: int = FRAMES, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Draw films of stroke digits that move by one pixel a frame.

    The picture is a torus: what leaves it on one side comes back on the other.  Noise of standard
    deviation :data:`NOISE`, in units of the ink, hides single frames.

    Parameters
    ----------
    count, seed : int
    frames, side : int

    Returns
    -------
    films : Tensor, shape (count, 1, frames, side, side), float32
    labels : Tensor, shape (count,)
        Places in :data:`DIRECTIONS`, of rows and columns a frame.
    """
    images, _ = stroke_digits(count, side, seed=seed)
    draw = stream(seed, 0, "films")
    labels = torch.randint(len(DIRECTIONS), (count,), generator=draw)
    starts = torch.randint(side, (count, 2), generator=draw)
    made = torch.empty(count, 1, frames, side, side)
    for film, image, label, start in zip(made, images, labels.tolist(), starts, strict=True):
        for t in range(frames):
            shift = [int(s) + t * step for s, step in zip(start, DIRECTIONS[label], strict=True)]
            film[0, t] = image.float().roll(shift, (0, 1))
    made += NOISE * torch.randn(made.shape, generator=draw)
    return made, labels


def data(seed: int, training: int = 4_000, validation: int = 1_000) -> Data:
    """Draw the films of a trial, standardised; no validation film shares a digit with training."""
    x, y = films(training + validation, seed)
    x = (x - x[:training].mean()) / x[:training].std()
    return Data(x[:training], y[:training], x[training:], y[training:])


def network() -> nn.Module:
    """Return 1 → 8 → 16 channels by 3×3×3 stencils, their means over a film, a linear classifier.

    A direction is seen wherever the digit is, so the means over all cells are what decides; behind
    them nothing knows the grid.
    """
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1, bias=False), nn.ReLU(),
        nn.Conv3d(8, 16, 3, padding=1, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, len(DIRECTIONS)),
    )  # fmt: skip


def coarser(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return films on a grid with half the cells along some of (frames, rows, columns)."""
    for axis in axes:
        x = restrict(x.movedim(2 + axis, -1), 1).movedim(-1, 2 + axis)
    return x.contiguous()


def spend(
    way: str, budget: int, films: Data, seed: int, rate: float = RATE
) -> tuple[nn.Module, list[Spent]]:
    """Train in one way until the budget, in films of the fine grid, is spent.

    Half of the steps see coarse films first, and `rate` is that on the fine grid, as in
    :mod:`mgcore.lab.scales.strategies`.
    """
    where, how = WAYS[way]
    order = stream(seed, budget, "film order")
    descent = partial(torch.optim.SGD, momentum=MOMENTUM, nesterov=True)
    go = partial(train, generator=order)
    axes = COARSE.get(where, ())
    cost = 0.5 ** len(axes)
    first = int(budget * 0.5 * cost / (0.5 * cost + 0.5)) if axes else 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network()
    spent = []
    if axes:
        small = Level(coarser(films.training, axes), films.labels, round(first / cost))
        spent.append(go(model, small, optimizer=partial(descent, lr=RATE)))
        model = refine(model, small.images.shape[1:], stencils=how, axes=axes)
    fine = Level(films.training, films.labels, budget - first)
    spent.append(go(model, fine, optimizer=partial(descent, lr=rate)))
    return model, spent


def pilot(
    films: Data | None = None, budgets: tuple[int, ...] = PILOT_BUDGETS
) -> dict[str, dict[str, float]]:
    """Return the accuracy in percent of each way by rate, as :func:`mgcore.lab.scales.work_grid.pilot`."""
    films = films or data(PILOT_SEED)
    return {
        way: {
            str(rate): fmean(
                reached(spend(way, budget, films, PILOT_SEED, rate)[0], films) or 0.0
                for budget in budgets
            )
            for rate in RATES
        }
        for way in WAYS
    }


def run_one(
    seed: int, rates: dict[str, float], budgets: tuple[int, ...] = BUDGETS,
    films: Data | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Spend every budget in every way; points are those of :func:`mgcore.lab.scales.work_grid.run_one`."""
    began, films, points = time.perf_counter(), films or data(seed), []
    for way, budget in itertools.product(WAYS, budgets):
        model, spent = spend(way, budget, films, seed, rates[way])
        points.append({
            "way": way, "budget": budget, "rate": rates[way], "accuracy": reached(model, films),
            "flops": sum(one.flops for one in spent),
            "seconds": round(sum(one.seconds for one in spent), 3),
            "steps": sum(one.steps for one in spent),
        })  # fmt: skip
    seconds = round(time.perf_counter() - began, 1)
    return {"network": "film", "seed": seed, "points": points, "seconds": seconds}


def run_films(folder: Path, workers: int | None = None, seeds: int = SEEDS) -> None:
    """Run what is missing; the pilot, ``rates-film.json``, comes before the seeds."""
    for one in run_missing(_pilot, [(folder / "rates-film.json", ())], 1):
        print(f"films: {best_rates(one['accuracy'])}", flush=True)
    rates = read_rates(folder, "film")
    jobs = [(folder / f"film-{seed}.json", (seed, rates)) for seed in range(seeds)]
    for one in run_missing(run_one, jobs, workers):
        print(f"films, seed {one['seed']}: {one['seconds']:.0f} s", flush=True)


def _pilot() -> dict[str, Any]:
    return {"network": "film", "accuracy": pilot()}


def read_films(folder: Path) -> list[dict[str, Any]]:
    """Return the results, a seed each."""
    return [read_json(file) for file in sorted(folder.glob("film-*.json"))]
