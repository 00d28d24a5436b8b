"""A map of kernels, fitted to trained networks and to images of twice the size.

Copying and the Galerkin condition belong to one family of maps, which multiply the coefficient of
an operator of order p by 2^(t p): t = 0 copies and t = 1 is the Galerkin map
(:func:`mgcore.lab.scales.kernel_maps.partial_galerkin`).  Here t, and also a linear map of 3×3
kernels with no other restriction than the symmetries of the square, are fitted to the networks of
some seeds and judged by the accuracy of networks of other seeds, before any retraining.

Two kinds of images of the new size are classified: original ones, and smoothed ones P x of the
images x of the old size, for which the Galerkin condition was made.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgcore.grids import prolong
from mgcore.lab.records.files import read_json
from mgcore.lab.run.pending import run_missing
from mgcore.lab.scales.kernel_maps import KernelMap, map_kernels, partial_galerkin
from mgcore.lab.scales.size_change import Change, Images, draw, old_network
from mgcore.lab.scales.tasks import accuracy
from mgcore.lab.trial.phases import stream
from mgcore.operators import OPERATORS, from_operators
from mgcore.refinement.module import refine

DATA = {one.dataset: one for one in (Change("strokes", 14, 28), Change("mnist", 14, 28))}
KINDS = ("original", "smoothed")
EXPONENTS = tuple(k / 8 for k in range(-4, 13))  # t, from -1/2 to 3/2
NETWORKS = 10
FITTED = 5  # networks to which the maps are fitted; the others judge them
STEPS, BATCH, RATE = 300, 100, 0.01  # of fitting the free map


def new_images(images: Images, kind: str) -> tuple[Tensor, Tensor]:
    """Return training and held-out images of the new size, original or smoothed."""
    if kind == "smoothed":
        return prolong(images.old), prolong(images.old_held_out)
    return images.new, images.new_held_out


def symmetric(matrix: Tensor) -> Tensor:
    """Return the mean of a map of 3×3 kernels over the eight symmetries of the square.

    Parameters
    ----------
    matrix : Tensor, shape (9, 9)
        From the nine entries of a kernel to those of another.
    """
    m = matrix.reshape(3, 3, 3, 3)
    turned = [m.rot90(k, (0, 1)).rot90(k, (2, 3)) for k in range(4)]
    mirrored = [one.transpose(0, 1).transpose(2, 3) for one in turned]
    return torch.stack(turned + mirrored).mean(0).reshape(9, 9)


def linear(matrix: Tensor) -> KernelMap:
    """Return the map of kernels with a matrix of shape (9, 9)."""
    return lambda kernels: (kernels.flatten(-2) @ matrix.to(kernels).T).view_as(kernels)


def transferred(old: nn.Module, images: Images, kind: str, kernel_map: KernelMap) -> nn.Module:
    """Return a network for the new size, its statistics estimated on training images."""
    mapped = copy.deepcopy(old)
    map_kernels(mapped, kernel_map)
    training, _ = new_images(images, kind)
    return refine(mapped, images.old.shape[1:], stencils="copy", statistics=training).eval()


def accuracy_of(old: nn.Module, images: Images, kind: str, kernel_map: KernelMap) -> float:
    """Return the accuracy in percent on held-out images of the new size, before any retraining."""
    model = transferred(old, images, kind, kernel_map)
    return accuracy(model, new_images(images, kind)[1], images.held_out_labels)


def run_network(change: Change, seed: int, images: Images | None = None) -> dict[str, Any]:
    """Train one network at the old size; return its accuracy at the new size for every exponent."""
    images = images or draw(change, seed)
    old = old_network(images, seed)
    return {
        "data": change.dataset, "seed": seed,
        "old": accuracy(old, images.old_held_out, images.held_out_labels),
        "accuracy": {
            kind: [accuracy_of(old, images, kind, partial_galerkin(t)) for t in EXPONENTS]
            for kind in KINDS
        },
    }  # fmt: skip


def fit_map(
    olds: Sequence[nn.Module], images: Sequence[Images], kind: str, steps: int = STEPS
) -> Tensor:
    """Fit a symmetric map of kernels to the loss of several networks on training images.

    Every kernel of every network is mapped by the same matrix.  The descent starts from copying.

    Returns
    -------
    Tensor, shape (9, 9)
    """
    fine = [refine(o, i.old.shape[1:], stencils="copy") for o, i in zip(olds, images, strict=True)]
    weights = [{k: w.detach() for k, w in one.named_parameters()} for one in fine]
    matrix = torch.eye(9, requires_grad=True)
    descent = torch.optim.Adam([matrix], RATE)
    order = stream(0, 0, "fitted map")
    for step in range(steps):
        which = step % len(fine)
        inputs, labels = new_images(images[which], kind)[0], images[which].labels
        batch = torch.randint(len(inputs), (BATCH,), generator=order)
        kernel_map = linear(symmetric(matrix))
        mapped = {
            name: kernel_map(w) if w.shape[2:] == (3, 3) else w
            for name, w in weights[which].items()
        }
        # In training mode, normalisation takes its statistics from the batch.
        outputs = torch.func.functional_call(fine[which].train(), mapped, inputs[batch])
        descent.zero_grad()
        F.cross_entropy(outputs, labels[batch]).backward()
        descent.step()
    return symmetric(matrix.detach())


def run_fit(change: Change, networks: int = NETWORKS, fitted: int = FITTED) -> dict[str, Any]:
    """Fit the free map to the first networks; return it and the accuracies of the others.

    Returns
    -------
    dict
        ``map``: nine rows for each kind of images.  ``accuracy``: of each other network in percent.
        ``difference_exponents``: from :func:`difference_exponents`, of the first seed's images.
    """
    images = [draw(change, seed) for seed in range(networks)]
    olds = [old_network(some, seed) for seed, some in enumerate(images)]
    maps = {kind: fit_map(olds[:fitted], images[:fitted], kind) for kind in KINDS}
    return {
        "data": change.dataset,
        "map": {kind: matrix.tolist() for kind, matrix in maps.items()},
        "accuracy": {
            kind: [
                accuracy_of(old, some, kind, linear(maps[kind]))
                for old, some in zip(olds[fitted:], images[fitted:], strict=True)
            ]
            for kind in KINDS
        },
        "difference_exponents": {
            kind: difference_exponents(images[0].old, new_images(images[0], kind)[0])
            for kind in KINDS
        },
    }


def difference_exponents(old: Tensor, new: Tensor) -> list[float]:
    """Return the exponents that the differences of two sizes of images ask for.

    If differences of order p, over cells and not over lengths, are smaller by 2^(s p) at the new
    size, then a map with t = s restores the responses of the kernels.  Smooth images have s = 1;
    images of which every edge stays one cell wide have s = 0.

    Parameters
    ----------
    old, new : Tensor, shape (count, 1, n, n) and (count, 1, 2 n, 2 n)

    Returns
    -------
    list of float
        s for p = 1 and p = 2, from root mean squares over all operators of that order.
    """
    kernels = from_operators(torch.eye(len(OPERATORS[2])), basis="nodal")
    found = []
    for order in (1, 2):
        chosen = [sum(operator.orders) == order for operator in OPERATORS[2]]
        sizes = [F.conv2d(x, kernels[chosen][:, None]).square().mean().sqrt() for x in (old, new)]
        found.append(math.log2(float(sizes[0] / sizes[1])) / order)
    return found


# Jobs name their data, so that a worker process needs no copy of them.
def _network_job(name: str, seed: int) -> dict[str, Any]:
    return run_network(DATA[name], seed)


def _fit_job(name: str) -> dict[str, Any]:
    return run_fit(DATA[name])


def run_fitted_maps(folder: Path, workers: int | None = None) -> None:
    """Run the networks and the fits whose files are absent from a folder."""
    jobs = [(folder / f"{n}-{k}.json", (n, k)) for n, k in product(DATA, range(NETWORKS))]
    for one in run_missing(_network_job, jobs, workers):
        print(f"{one['data']}, network {one['seed']}", flush=True)
    for one in run_missing(_fit_job, [(folder / f"fit-{n}.json", (n,)) for n in DATA], workers):
        print(f"{one['data']}, fitted map", flush=True)


class Sweep:
    """The recorded networks of one data set and one kind of images.

    Attributes
    ----------
    accuracies : list of list of float
        In percent, of each network for each of :data:`EXPONENTS`.
    fitted : list of float
        In percent, of each network that judges the fitted map.
    exponents : list of float
        From :func:`difference_exponents`.
    old : list of float
        In percent, of each judging network on images of the old size.
    """

    def __init__(
        self, networks: Sequence[Mapping[str, Any]], fit: Mapping[str, Any], kind: str
    ) -> None:
        self.accuracies = [network["accuracy"][kind] for network in networks]
        self.fitted = list(fit["accuracy"][kind])
        self.exponents = list(fit["difference_exponents"][kind])
        self.old = [network["old"] for network in networks[FITTED:]]

    @property
    def best(self) -> float:
        """The exponent with the highest mean accuracy of the networks to which it is fitted."""
        columns = zip(*self.accuracies[:FITTED], strict=True)
        means = [fmean(column) for column in columns]
        return EXPONENTS[means.index(max(means))]

    def judged(self, exponent: float) -> list[float]:
        """Return the accuracy of each judging network with an exponent, in percent."""
        return [values[EXPONENTS.index(exponent)] for values in self.accuracies[FITTED:]]


def read_sweeps(folder: Path) -> Iterator[tuple[str, str, Sweep]]:
    """Yield the data, the kind of images and their results, for data that are complete.

    Raises
    ------
    RecordError
        If a file is truncated or altered.
    """
    for name in DATA:
        files = [folder / f"{name}-{k}.json" for k in range(NETWORKS)]
        if not all(file.exists() for file in [*files, folder / f"fit-{name}.json"]):
            continue
        networks, fit = [read_json(file) for file in files], read_json(folder / f"fit-{name}.json")
        for kind in KINDS:
            yield name, kind, Sweep(networks, fit, kind)
