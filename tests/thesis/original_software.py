"""Quantities that the thesis's own software computed, repeated by mgcore.

``meganet.json`` holds numbers of XtractOpen/Meganet.m, commit 08d4364 (2019-01-19), computed in GNU
Octave; nothing else of the package is here.  :func:`differences` repeats each of them.  ``python
tests/thesis/original_software.py`` writes the differences into the record that the errata page
shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.data.images import normalise
from mgcore.grids import pool, pool_adjoint, prolong, restrict
from mgcore.kernels import coarsen_kernel, galerkin_map
from mgcore.lab.records.files import write_json
from mgcore.lab.run.workers import here_and_now
from mgcore.optimize.block_newton import (
    Block,
    NewtonIteration,
    _conjugate_gradients,
    original_newton,
)
from mgcore.optimize.truncated_cg import steihaug
from mgcore.thesis.curvature import flatten, unflatten
from mgcore.thesis.hessian_products import Linearised
from mgcore.thesis.network import STENCILS, Weights, convolve, forward
from mgcore.thesis.objective import Objective
from mgcore.thesis.regularization import (
    smoothness,
    smoothness_gradient,
    tikhonov,
    tikhonov_gradient,
)
from mgcore.thesis.sgd import learning_rate, look_ahead, sgd_update

NAMES = ("conv1.weight", "conv2.weight", "classifier.weight", "classifier.bias")
ALPHA = dict(zip(NAMES, (2**-3, 2**-3, 2**-5, 2**-5), strict=True))
LABELS = torch.tensor([2, 0, 1, 1, 0])
SHIFT = 1e-3  # of the package's Gauss–Newton Hessian, on the logits
PADDING = {"periodic": "circular", "zero": "zeros"}
RECORD = Path(__file__).parents[2] / "book" / "records" / "agreement" / "original_software.json"
SIDES = {"unpooled": (6, 4), "pooled": (4, 4)}  # of the maps that the classifier reads


class Difference(NamedTuple):
    """How far a quantity of mgcore is from the original software's.

    Attributes
    ----------
    quantity : str
    largest : float
        Largest absolute difference divided by the largest absolute entry.
    bound : float
        Largest difference that counts as agreement.
    """

    quantity: str
    largest: float
    bound: float = 1e-12


@cache
def numbers() -> dict[str, Any]:
    """Return the contents of ``meganet.json``."""
    return json.loads((Path(__file__).parent / "meganet.json").read_text())


def array(values: Any) -> Tensor:
    """Return nested lists as a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def waves(
    shape: tuple[int, ...], start: float, amplitude: float = 1.0, offset: float = 0.0
) -> Tensor:
    """Return an input of the file: c + a sin((k + s)²) at the row-major position k."""
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return (offset + amplitude * torch.sin((k + start) ** 2)).view(shape)


def start_weights(name: str) -> dict[str, Tensor]:
    """Return the parameters of the network ``"pooled"`` or ``"unpooled"``."""
    rows, columns = SIDES[name]
    return {
        "conv1.weight": waves((3, 1, 3, 3), 5000, 0.5),
        "conv2.weight": waves((4, 3, 3, 3), 6000, 0.3),
        "classifier.weight": waves((3, 4 * rows * columns), 7000, 0.2),
        "classifier.bias": waves((3,), 8000, 0.1),
    }


def images_of(name: str) -> Tensor:
    """Return the five images of a network."""
    return waves((5, 1, 8, 8) if name == "pooled" else (5, 1, 6, 4), 4000, 0.5, 0.5)


def objective(weights: Weights, images: Tensor, labels: Tensor, pooling: bool) -> Tensor:
    """Return the package's objective: mean cross-entropy, and Tikhonov penalties on all weights."""
    loss = F.cross_entropy(forward(weights, images, pooling, "circular"), labels)
    return loss + sum(tikhonov(w, ALPHA[name]) for name, w in weights.items())


def gradient(
    weights: Weights, images: Tensor, labels: Tensor, pooling: bool
) -> tuple[float, dict[str, Tensor]]:
    """Return value and gradient of :func:`objective`."""
    leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
    value = objective(leaves, images, labels, pooling)
    parts = torch.autograd.grad(value, list(leaves.values()))
    return float(value.detach()), dict(zip(leaves, parts, strict=True))


def block_products(weights: Weights, name: str, shift: float) -> list[Any]:
    """Return the products with the two diagonal blocks of the package's Hessian, flat vectors."""
    passed = Linearised(
        Objective(8, name == "pooled", "circular"), weights, images_of(name), LABELS
    )
    names = {"network": STENCILS, "classifier": NAMES[2:]}

    def block(part: str) -> Any:
        own = {key: weights[key] for key in names[part]}

        def product(d: Tensor) -> Tensor:
            direction = unflatten(d, own)
            padded = {key: torch.zeros_like(w) for key, w in weights.items()} | direction
            result = passed.product(padded, "gauss-newton", shift)
            return flatten({k: result[k] + ALPHA[k] * direction[k] for k in own})

        return product

    return [block(part) for part in names]


def newton_blocks(name: str, x: Tensor) -> tuple[float, list[Block]]:
    """Return the package's objective at a flat vector of weights, and its two Newton blocks."""
    weights = unflatten(x, start_weights(name))
    value, slope = gradient(weights, images_of(name), LABELS, name == "pooled")
    products = block_products(weights, name, SHIFT)
    slopes = [flatten({key: slope[key] for key in part}) for part in (STENCILS, NAMES[2:])]
    return value, [Block(g, p) for g, p in zip(slopes, products, strict=True)]


def newton_iterations(name: str) -> list[NewtonIteration]:
    """Return two iterations of the package's Newton method on a network."""
    like, images = start_weights(name), images_of(name)

    def value(x: Tensor) -> float:
        return float(objective(unflatten(x, like), images, LABELS, name == "pooled"))

    return original_newton(lambda x: newton_blocks(name, x), value, flatten(like), iterations=2)


def _inner_solution(name: str, x: Tensor) -> tuple[float, float]:
    """Return the relative residual of conjugate gradients at x, and their step's largest entry."""
    _, blocks = newton_blocks(name, x)
    sizes = [len(block.gradient) for block in blocks]
    right = -torch.cat([block.gradient for block in blocks])

    def product(d: Tensor) -> Tensor:
        return torch.cat([b.hvp(part) for b, part in zip(blocks, d.split(sizes), strict=True)])

    step, _ = _conjugate_gradients(product, right)
    return float((right - product(step)).norm() / right.norm()), float(step.abs().max())


def differences() -> dict[str, list[Difference]]:
    """Return every repeated quantity with its largest difference, by part of the software."""
    return {
        "convolution, pooling, pixels": [*_layers()],
        "network, objective, Gauss–Newton products": [*_networks()],
        "penalties": [*_penalties()],
        "R, P and the map of kernels": [*_transfer()],
        "SGD with momentum": [*_sgd()],
        "CG-Steihaug": [*_steihaug()],
        "block Newton method": [*_newton()],
    }


def _compare(quantity: str, found: Any, expected: Any, bound: float = 1e-12) -> Difference:
    found, expected = torch.as_tensor(found, dtype=torch.float64), array(expected)
    if found.shape != expected.shape:
        raise ValueError(f"{quantity} has shape {tuple(found.shape)}, not {tuple(expected.shape)}.")
    size = float(expected.abs().max()) or 1.0
    return Difference(quantity, float((found - expected).abs().max()) / size, bound)


def _layers() -> Iterator[Difference]:
    kernels, images = waves((3, 2, 3, 3), 1000), waves((2, 2, 8, 6), 2000)
    cotangent = waves((2, 3, 8, 6), 3000)
    for kind, padding in PADDING.items():
        recorded = numbers()["convolution"][kind]
        leaves = images.clone().requires_grad_(), kernels.clone().requires_grad_()
        output = convolve(*leaves, padding)
        back, slope = torch.autograd.grad(output, leaves, cotangent)
        yield _compare(f"convolution, {kind} padding", output.detach(), recorded["output"])
        yield _compare(f"its transpose, {kind} padding", back, recorded["transpose_product"])
        yield _compare(f"its kernel gradient, {kind} padding", slope, recorded["stencil_gradient"])
    pooled = pool(waves((2, 1, 4, 4), 19000))
    yield _compare("pooling", pooled, numbers()["pooling"]["output"])
    yield _compare(
        "its transpose", pool_adjoint(pooled), numbers()["pooling"]["transpose_of_output"]
    )
    images = waves((3, 1, 4, 3), 18000, 0.5, 0.5)
    images[2] = waves((3, 1, 4, 3), 18000, 1 / 32, 0.5)[2]
    found = normalise(images[:, 0], "standardised", torch.float64)
    # The package divides by N − 1 in the deviation; ours divides by N.  The third image, almost
    # constant, meets the floor 1/√N of both; the second one meets the floor of ours alone.
    found[0] *= math.sqrt(11 / 12)
    recorded = array(numbers()["standardise"]["output"])
    yield _compare("standardised image, × √(1 − 1/N)", found[0], recorded[0].tolist())
    yield _compare("standardised image at the floor", found[2], recorded[2].tolist())


def _networks() -> Iterator[Difference]:
    for name in SIDES:
        recorded, weights, images = numbers()["network"][name], start_weights(name), images_of(name)
        pooling = name == "pooled"
        logits = forward(weights, images, pooling, "circular")
        yield _compare(f"parameters, {name}", flatten(weights), recorded["parameters"], 0.0)
        yield _compare(f"logits, {name}", logits, recorded["logits"])
        loss = F.cross_entropy(logits, LABELS)
        yield _compare(f"cross-entropy, {name}", loss, recorded["cross_entropy"])
        for part, names in (("penalty_theta", STENCILS), ("penalty_w", NAMES[2:])):
            penalty = sum(tikhonov(weights[key], ALPHA[key]) for key in names)
            yield _compare(f"{part}, {name}", penalty, recorded[part])
        errors = (logits.argmax(dim=1) != LABELS).sum()
        yield _compare(f"misclassified images, {name}", errors, recorded["errors"], 0.0)
        value, slope = gradient(weights, images, LABELS, pooling)
        yield _compare(f"objective, {name}", value, recorded["objective"])
        yield _compare(f"gradient, {name}", flatten(slope), recorded["gradient"])
        sizes = [135, len(flatten(weights)) - 135]
        direction = array(recorded["direction"]).split(sizes)
        for key, shift in (("", SHIFT), ("_no_shift", 0.0)):
            products = block_products(weights, name, shift)
            found = torch.cat([p(d) for p, d in zip(products, direction, strict=True)])
            words = f"with the shift {shift:g}" if shift else "without the shift"
            yield _compare(
                f"Gauss–Newton product {words}, {name}", found,
                recorded[f"gauss_newton_product{key}"],
            )  # fmt: skip


def _penalties() -> Iterator[Difference]:
    recorded = numbers()["penalties"]
    theta, maps = waves((2, 1, 3, 3), 13000), waves((2, 2, 4, 3), 14000)
    yield _compare("Tikhonov penalty", tikhonov(theta, 2**-3), recorded["tikhonov"]["value"])
    slope = tikhonov_gradient(theta, 2**-3)
    yield _compare("its gradient", slope, recorded["tikhonov"]["gradient"])
    columns, rows = maps.mT.unsqueeze(-1), maps.unsqueeze(-2)  # differences along one axis only
    for case in recorded["smoothness"]:
        down, across = case["h"]
        words = f"h = ({down:.3g}, {across:.3g})"
        if down == across:
            value, slope = smoothness(maps, 2**-5, down), smoothness_gradient(maps, 2**-5, down)
        else:
            value = smoothness(columns, 2**-5, down) + smoothness(rows, 2**-5, across)
            slope = smoothness_gradient(columns, 2**-5, down).squeeze(-1).mT
            slope = slope + smoothness_gradient(rows, 2**-5, across).squeeze(-2)
        yield _compare(f"smoothness penalty, {words}", value, case["value"])
        yield _compare(f"its gradient, {words}", slope, case["gradient"])
        yield _compare(
            f"eigenvalues of its operator, {words}", _eigenvalues(4, 3, down, across),
            case["eigenvalues"],
        )  # fmt: skip


def _eigenvalues(rows: int, columns: int, down: float, across: float) -> Tensor:
    """Return the eigenvalues of the smoothness operator on the cosines, vertical one first."""
    found = []
    for size, h in ((rows, down), (columns, across)):
        k = torch.arange(size, dtype=torch.float64)
        waves = torch.cos(math.pi * k[:, None] * (k + 0.5) / size)  # (frequency, cell)
        image = smoothness_gradient(waves.unsqueeze(-1), 1.0, h).squeeze(-1)
        found.append((waves * image).sum(1) / waves.square().sum(1))
    return found[0][:, None] + found[1]


def _transfer() -> Iterator[Difference]:
    recorded = numbers()["transfer"]
    for grids in recorded["grids"]:
        fine, coarse = grids["fine"], grids["coarse"]
        words = f"{fine[0]}×{fine[1]}"
        identity = torch.eye(math.prod(fine), dtype=torch.float64).view(-1, *fine)
        yield _compare(f"restriction R, {words}", restrict(identity).flatten(1).T, grids["R"])
        identity = torch.eye(math.prod(coarse), dtype=torch.float64).view(-1, *coarse)
        for kind in ("constant", "bilinear"):
            found = prolong(identity, kind).flatten(1).T
            yield _compare(f"prolongation P, {kind}, {words}", found, grids[f"P_{kind}"])
    for kind in ("constant", "bilinear"):
        yield _compare(f"the 9×9 map, {kind} P", galerkin_map(kind, 2), recorded[kind]["M"])
        found = coarsen_kernel(waves((3, 3), 16000), kind)
        yield _compare(f"coarse kernel, {kind} P", found, recorded[kind]["coarse_stencil"])


def _sgd() -> Iterator[Difference]:
    images = images_of("pooled")
    for run in numbers()["sgd"]["runs"]:
        weights = start_weights("pooled")
        velocity = {name: torch.zeros_like(w) for name, w in weights.items()}
        momentum, nesterov = run["momentum"], bool(run["nesterov"])
        words = f"momentum {momentum:g}{', Nesterov' if nesterov and momentum else ''}"
        after, values = [], []
        for epoch in (1, 2):  # the learning rate falls between them
            rate = learning_rate(epoch, base=0.1)
            for first in (0, 2):  # a last, smaller minibatch is dropped
                some = slice(first, first + 2)
                look_ahead(weights, velocity, momentum, nesterov, "package")
                _, slope = gradient(weights, images[some], LABELS[some], True)
                sgd_update(weights, velocity, slope, rate, momentum, nesterov, "package")
                after.append(flatten(weights))
            values.append(float(objective(weights, images, LABELS, True)))
        yield _compare(f"SGD, {words}: iterates", torch.stack(after), run["after"])
        yield _compare(f"SGD, {words}: objective", array(values), run["objective_after_epoch"])
    rates = array([learning_rate(epoch, base=0.1) for epoch in (1, 2)])
    yield _compare("learning rates", rates, numbers()["sgd"]["learning_rates"])


def _steihaug() -> Iterator[Difference]:
    for number, run in enumerate(numbers()["steihaug"]):
        a, b = array(run["A"]), array(run["b"])
        radius = math.inf if run["radius"] is None else run["radius"]
        step = steihaug(
            lambda d, a=a: a @ d, -b, radius, tolerance=run["tolerance"] * float(b.norm()),
            max_iterations=run["max_iterations"],
        )  # fmt: skip
        corrected = run.get("not_from_the_package")
        words = f"CG-Steihaug, run {number}" + (", with the positive root" if corrected else "")
        expected = corrected["positive_root_step"] if corrected else run["step"]
        yield _compare(f"{words}: step", step.p, expected)
        yield _compare(f"{words}: iterations", step.iterations, run["iterations"], 0.0)
        ended = step.negative_curvature, step.hits_boundary
        flags = {2: (True, True), 3: (False, True)}.get(run["flag"], (False, False))
        yield _compare(f"{words}: end", array(ended), flags, 0.0)
        if corrected:
            value = corrected["model_value_of_positive_root_step"]
            yield _compare(f"{words}: model", -step.predicted_reduction, value)


def _newton() -> Iterator[Difference]:
    for name in SIDES:
        recorded, found = numbers()["newton"][name], newton_iterations(name)
        starts = [flatten(start_weights(name)), found[0].x]
        inner = [_inner_solution(name, x) for x in starts]
        for k, iteration in enumerate(found, 1):
            yield _compare(
                f"Newton iterate {k}, {name}", iteration.x, recorded[f"after_{k}"], 1e-10
            )
        for key, values, bound in (
            ("objective", [found[0].start, *(i.value for i in found)], 1e-10),
            ("cg_iterations", [i.nhev for i in found], 0.0),
            ("line_search_tries", [i.nfev for i in found], 0.0),
            ("line_search_factor", [i.factor for i in found], 0.0),
            ("gradient_norm_ratio", [i.gradient_norm / found[0].gradient_norm for i in found],
             1e-10),
            ("cg_relative_residual", [residual for residual, _ in inner], 1e-10),
            ("first_cg_step_max", inner[0][1], 1e-10),
        ):  # fmt: skip
            words = key.replace("_", " ")
            yield _compare(f"Newton, {words}, {name}", array(values), recorded[key], bound)


def main() -> None:
    """Write the differences on this machine into :data:`RECORD`."""
    parts = {part: [d._asdict() for d in found] for part, found in differences().items()}
    write_json(RECORD, {"parts": parts, "torch": torch.__version__} | here_and_now())


if __name__ == "__main__":
    main()
