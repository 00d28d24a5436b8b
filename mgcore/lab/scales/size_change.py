"""A trained network at another image size: its accuracy before and after a few epochs.

Five methods are compared: two transfers of the kernels, and three that a practitioner would try
first: to resize the images instead of the network, to retrain the classifier and the normalisation
alone (Touvron et al., "Fixing the train-test resolution discrepancy", 2019), and to start again
from random weights.  A pilot on a seed of its own chooses each method's learning rate,
``rates-CHANGE.json``; a file ``CHANGE-SEED.json`` then holds the accuracies of one seed.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mgcore.data.images import load_digits, normalise, split
from mgcore.data.strokes import stroke_digits
from mgcore.lab.records.files import read_json
from mgcore.lab.run.pending import run_missing
from mgcore.lab.scales.tasks import accuracy
from mgcore.lab.scales.work_grid import PILOT_SEED, best_rates
from mgcore.lab.trial.phases import stream
from mgcore.lab.verdict.agreement import interval
from mgcore.refinement.module import refine
from mgcore.refinement.resampling import resample
from mgcore.train.budgeted import Level, train

TRAINING, VALIDATION = 1_000, 1_000
OLD_EPOCHS, OLD_RATE = 30, 0.003
EPOCHS = (0, 1, 3)  # of retraining, after which the accuracy is measured
RATES = (0.01, 0.003, 0.001, 0.0003, 0.0001)
SEEDS = 5
_DATA = {"strokes": "stroke digits", "mnist": "MNIST"}
_LABELS = {
    "copied": "copied kernels", "resized": "images resized",
    "classifier": "classifier only", "random": "random weights",
}  # fmt: skip
METHODS = ("copied", "galerkin", "resized", "classifier", "random")


@dataclass(frozen=True)
class Change:
    """A data set and two image sizes.

    Attributes
    ----------
    dataset : str
        Stroke digits are drawn at both sizes; the smaller images of other data are restrictions.
    old, new : int
        Pixels along a side; published digits have 28.
    """

    dataset: str
    old: int
    new: int

    @property
    def name(self) -> str:
        """Name in files."""
        return f"{self.dataset}-{self.old}-{self.new}"

    @property
    def heading(self) -> str:
        """The data and the two sizes, in words."""
        return f"{_DATA[self.dataset]}, {self.old} → {self.new}"


CHANGES = {
    change.name: change
    for change in (
        Change("strokes", 28, 56), Change("strokes", 28, 42),
        Change("mnist", 14, 28), Change("mnist", 20, 28),
    )
}  # fmt: skip


class Images(NamedTuple):
    """Images of one seed at both sizes, standardised, with their labels."""

    old: Tensor  # (count, 1, old, old)
    new: Tensor  # (count, 1, new, new)
    labels: Tensor
    old_held_out: Tensor
    new_held_out: Tensor
    held_out_labels: Tensor


def draw(
    change: Change, seed: int, training: int = TRAINING, validation: int = VALIDATION
) -> Images:
    """Draw the training images and the held-out images of one seed.

    Both sizes are standardised by the mean and the deviation of the training pixels at the new
    size.
    """
    if change.dataset == "strokes":
        count = training + validation
        (old, labels), (new, _) = (
            stroke_digits(count, side, seed=seed) for side in (change.old, change.new)
        )
        old, new = old[:, None], new[:, None]
    else:
        digits = load_digits(change.dataset, training + validation, change.new)
        order = split(len(digits), (training, validation), stream(seed, 0, "size change"))
        places = torch.cat([torch.as_tensor(part) for part in order])
        new, labels = normalise(digits.images, "unit")[places], digits.labels[places]
        old = resample(new, (2, 3), (change.old, change.old), "bilinear")
    mean, deviation = new[:training].mean(), new[:training].std()
    old, new = (old - mean) / deviation, (new - mean) / deviation
    return Images(
        old[:training], new[:training], labels[:training],
        old[training:], new[training:], labels[training:],
    )  # fmt: skip


def network(seed: int) -> nn.Module:
    """Return three layers of 3×3 kernels with batch normalisation, and means before the classifier.

    The network takes images of any size.
    """
    widths = (1, 16, 32, 32)
    layers: list[nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for k, (a, b) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
            layers += [nn.AvgPool2d(2)] if k < 2 else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def fit(
    model: nn.Module, images: Tensor, labels: Tensor, epochs: int, order: torch.Generator,
    descent: torch.optim.Optimizer,
) -> None:  # fmt: skip
    """Train a network in place for a number of epochs, with an optimizer that keeps its state."""
    if epochs:
        level = Level(images, labels, epochs * len(images))
        train(model, level, order, optimizer=lambda _: descent)


def old_network(images: Images, seed: int) -> nn.Module:
    """Return a network that was trained at the old size."""
    model = network(seed)
    descent = torch.optim.Adam(model.parameters(), OLD_RATE)
    fit(model, images.old, images.labels, OLD_EPOCHS, stream(seed, 0, "old size"), descent)
    return model.eval()


def start(
    method: str, old: nn.Module, images: Images, seed: int
) -> tuple[nn.Module, Tensor, Tensor, Iterable[nn.Parameter]]:
    """Return the network that a method retrains.

    Returns
    -------
    model : Module
        In evaluation mode.  The statistics of batch normalisation are those of the training images
        that follow.
    training, held_out : Tensor
        Its inputs.
    parameters : iterable of Parameter
        Those that are retrained.
    """
    if method == "random":
        fresh = network(seed + 1)
        return fresh.eval(), images.new, images.new_held_out, fresh.parameters()
    if method == "resized":
        side = images.old.shape[-1]
        training, held_out = (
            resample(x, (2, 3), (side, side), "bilinear") for x in (images.new, images.new_held_out)
        )
        same = copy.deepcopy(old)
        return same, training, held_out, same.parameters()
    model = refine(
        old, images.old.shape[1:], to=images.new.shape[2:],
        stencils="galerkin" if method == "galerkin" else "copy", statistics=images.new,
    )  # fmt: skip
    parameters: Iterable[nn.Parameter] = model.parameters()
    if method == "classifier":
        parameters = [
            weight
            for layer in model.modules()
            if isinstance(layer, (nn.BatchNorm2d, nn.Linear))
            for weight in layer.parameters()
        ]
    return model.eval(), images.new, images.new_held_out, parameters


def accuracies(
    method: str, old: nn.Module, images: Images, seed: int, rate: float
) -> list[float | None]:
    """Return the held-out accuracy in percent after each number of :data:`EPOCHS`.

    None stands for training that diverged.
    """
    model, training, held_out, parameters = start(method, old, images, seed)
    order, descent = stream(seed, 0, "new size"), torch.optim.Adam(parameters, rate)
    values: list[float | None] = []
    for before, epochs in itertools.pairwise((0, *EPOCHS)):
        fit(model, training, images.labels, epochs - before, order, descent)
        finite = all(torch.isfinite(weight).all() for weight in model.parameters())
        values.append(accuracy(model, held_out, images.held_out_labels) if finite else None)
    return values


def pilot(
    change: Change, images: Images | None = None, rates: tuple[float, ...] = RATES
) -> dict[str, dict[str, float]]:
    """Return the mean accuracy after retraining, by method and learning rate; 0 for divergence."""
    images = images or draw(change, PILOT_SEED)
    old = old_network(images, PILOT_SEED)

    def mean(method: str, rate: float) -> float:
        after = accuracies(method, old, images, PILOT_SEED, rate)[1:]
        return sum(value or 0.0 for value in after) / len(after)

    return {method: {str(rate): mean(method, rate) for rate in rates} for method in METHODS}


def run_seed(
    change: Change, seed: int, rates: dict[str, float], images: Images | None = None
) -> dict[str, Any]:
    """Train a network at the old size and bring it to the new size by every method."""
    images = images or draw(change, seed)
    old = old_network(images, seed)
    return {
        "change": change.name, "seed": seed,
        "old": accuracy(old, images.old_held_out, images.held_out_labels),
        "rates": rates,
        "accuracy": {m: accuracies(m, old, images, seed, rates[m]) for m in METHODS},
    }  # fmt: skip


# Jobs name their change, so that a worker process needs no copy of it.
def _pilot_job(name: str) -> dict[str, Any]:
    return {"change": name, "accuracy": pilot(CHANGES[name])}


def _seed_job(name: str, seed: int, rates: dict[str, float]) -> dict[str, Any]:
    return run_seed(CHANGES[name], seed, rates)


def read_rates(folder: Path, name: str) -> dict[str, float]:
    """Return the learning rate of each method that the pilot of a change chose."""
    return best_rates(read_json(folder / f"rates-{name}.json")["accuracy"])


def run_size_changes(folder: Path, workers: int | None = None, seeds: int = SEEDS) -> None:
    """Run the pilot and the seeds of every change whose files are absent from a folder."""
    for name in CHANGES:
        for one in run_missing(_pilot_job, [(folder / f"rates-{name}.json", (name,))], workers):
            print(f"{name}: {best_rates(one['accuracy'])}", flush=True)
        rates = read_rates(folder, name)
        jobs = ((folder / f"{name}-{k}.json", (name, k, rates)) for k in range(seeds))
        for one in run_missing(_seed_job, jobs, workers):
            print(f"{name}, seed {one['seed']}: {one['accuracy']}", flush=True)


def read_size_changes(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the recorded seeds of each change, in the order of :data:`CHANGES`.

    Raises
    ------
    RecordError
        If a file is truncated or altered.
    """
    return {
        name: [read_json(file) for file in sorted(folder.glob(f"{name}-*.json"))]
        for name in CHANGES
    }


def method_label(method: str, name: str) -> str:
    """Return the label of a method; 3×3 kernels are refined exactly by whole factors alone."""
    if method == "galerkin":
        change = CHANGES[name]
        return "least squares" if change.new % change.old else "Galerkin kernels"
    return _LABELS[method]


def accuracies_of(seeds: Sequence[Mapping[str, Any]], method: str, stage: int) -> list[float]:
    """Return the accuracy in percent of each seed; training that diverged counts as chance."""
    values = [seed["accuracy"][method][stage] for seed in seeds]
    return [10.0 if value is None else value for value in values]


def mean_accuracy(
    seeds: Sequence[Mapping[str, Any]], method: str = "", stage: int = 0
) -> tuple[float, float | None]:
    """Return the mean over the seeds and the half-width of its 95 % interval, in percent.

    Parameters
    ----------
    seeds : sequence
        Of one change.
    method : str
        Of :data:`METHODS`; by default the network at its old size.
    stage : int
        Place in :data:`EPOCHS`.
    """
    if not method:
        return interval([seed["old"] for seed in seeds])
    return interval(accuracies_of(seeds, method, stage))
