"""Retraining by Newton's methods: what an epoch of each does and what it costs (thesis §4.4).

**The classifier alone**, on features of all fine images that are computed once: an epoch is one
outer iteration on all of them, for both methods.

**Network and classifier**, the textbook's CG-Steihaug: each outer iteration has a minibatch of its
own, in the order in which SGD draws them, and an epoch is over when the work of an epoch of SGD is
spent, or the images are.  The package's method: an epoch is one outer iteration on all images.

Work is counted in gradients of one image through the whole network: a product counts for
``protocol.product_cost``, a function value for a third, and what is done on cached features for its
share of floating-point operations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mgcore.lab.protocol import Protocol
from mgcore.lab.trial.phases import Images, Method, Progress
from mgcore.optimize.block_newton import Block, DampedStep, block_newton_step
from mgcore.optimize.trust_region import trust_region_step
from mgcore.thesis.classifier import BIAS, ClassifierProblem, features
from mgcore.thesis.curvature import flatten, local_model, objective_value, unflatten
from mgcore.thesis.network import CLASSES, STENCILS, WIDTHS, map_side, step_flops
from mgcore.thesis.objective import Objective

VALUE = 1 / 3  # of a gradient
MEMORY_BATCH = 10  # images that the package holds at a time, its default
CHUNK = 50  # images whose gradient is taken at a time where all of them count


def classifier_method(protocol: Protocol) -> Method:
    """Return the method that trains the classifier with the network held fixed."""
    problems: list[ClassifierProblem] = []  # of one arm: the features stay the same

    def epoch(
        protocol: Protocol, objective: Objective, images: Images, now: Progress, order: Tensor
    ) -> dict[str, Any]:
        if now.state.get("ended"):
            return _spend(now, 0.0, 0) | _told(False, False, False)
        if not problems:
            seen = features(objective, now.weights, images.training)
            problems.append(
                ClassifierProblem(objective, seen, images.training_labels, BIAS in now.weights)
            )
        # Counted once: computing the features again after an interruption is no work of the method.
        work = VALUE * len(images.training) if now.epoch == 0 else 0.0
        problem = problems[0]
        x = problem.pack(now.weights)
        here = problem.local(x)
        if protocol.newton == "steihaug":
            radius = now.state.get("radius", protocol.trust_radius)
            taken = trust_region_step(
                here, problem.value, x, radius, cg_iterations=protocol.cg_iterations
            )
            x, products, values = taken.x, taken.step.iterations, 1
            now.state["radius"] = taken.radius
            told = _told(taken.accepted, taken.step.hits_boundary, taken.step.negative_curvature)
        else:
            block = Block(here.gradient, here.hvp)
            damped = block_newton_step(
                [block], here.value, lambda s: problem.value(x + s[0]), now.state.get("share", 1.0)
            )
            x = x + damped.steps[0]
            products, values = damped.nhev, damped.nfev
            told = _damped(now, damped)
        now.weights |= {name: w.clone() for name, w in problem.unpack(x).items()}
        work += _cached_work(protocol, len(images.training), 1 + products, values)
        return _spend(now, work, products) | told

    return epoch


def joint_method(protocol: Protocol) -> Method:
    """Return the method that trains network and classifier together."""
    return _minibatch_epoch if protocol.newton == "steihaug" else _package_epoch


def _minibatch_epoch(
    protocol: Protocol, objective: Objective, images: Images, now: Progress, order: Tensor
) -> dict[str, Any]:
    """Take trust-region steps on successive minibatches until the epoch's work is spent."""
    batches = order[: len(order) // protocol.batch * protocol.batch].split(protocol.batch)
    budget = (now.epoch + 1) * len(images.training) - now.state.get("work", 0.0)
    radius = now.state.get("radius", protocol.trust_radius)
    work, products, steps, boundary, negative, accepted = 0.0, 0, 0, 0, 0, 0
    for chosen in batches:
        if protocol.newton_epoch == "work" and work >= budget:
            break
        x, y = images.training[chosen], images.training_labels[chosen]
        here = local_model(objective, now.weights, x, y, protocol.hessian)

        def value(point: Tensor, x: Tensor = x, y: Tensor = y) -> float:
            return objective_value(objective, unflatten(point, now.weights), x, y)

        taken = trust_region_step(
            here, value, flatten(now.weights), radius, cg_iterations=protocol.cg_iterations
        )
        radius = taken.radius
        for name, w in unflatten(taken.x, now.weights).items():
            now.weights[name].copy_(w)
        steps += 1
        products += taken.step.iterations
        boundary += taken.step.hits_boundary
        negative += taken.step.negative_curvature
        accepted += taken.accepted
        work += len(x) * (1 + VALUE + protocol.product_cost * taken.step.iterations)
    now.state["radius"] = radius
    return _spend(now, work, products) | _told(accepted, boundary, negative) | {"steps": steps}


def _package_epoch(
    protocol: Protocol, objective: Objective, images: Images, now: Progress, order: Tensor
) -> dict[str, Any]:
    """Take one damped block Gauss–Newton step on all images.

    As in the package, the stencils' block of the Hessian comes from one batch alone, of as many
    images as it holds in memory at a time.
    """
    if now.state.get("ended"):
        return _spend(now, 0.0, 0) | _told(False, False, False)
    count = len(images.training)
    gradient, loss = _whole_gradient(objective, now.weights, images)
    seen = features(objective, now.weights, images.training)
    problem = ClassifierProblem(objective, seen, images.training_labels, BIAS in now.weights)
    x = problem.pack(now.weights)
    at_classifier = problem.local(x)

    few = order[:MEMORY_BATCH]
    there = local_model(
        objective, now.weights, images.training[few], images.training_labels[few], "gauss-newton"
    )
    stencils = {name: now.weights[name] for name in STENCILS}

    def stencil_product(d: Tensor) -> Tensor:
        padded = {name: torch.zeros_like(w) for name, w in now.weights.items()}
        product = there.hvp(flatten(padded | unflatten(d, stencils)))
        moved = unflatten(product, now.weights)
        return flatten({name: moved[name] for name in STENCILS})

    def moved(steps: list[Tensor]) -> dict[str, Tensor]:
        network = unflatten(flatten(stencils) + steps[0], stencils)
        return dict(now.weights) | network | problem.unpack(x + steps[1])

    def value(steps: list[Tensor]) -> float:
        weights = moved(steps)
        return sum(
            objective_value(objective, weights, some, labels) * len(some) / count
            for some, labels in _pieces(images)
        )

    blocks = [
        Block(flatten({name: gradient[name] for name in STENCILS}), stencil_product),
        Block(at_classifier.gradient, at_classifier.hvp),
    ]
    damped = block_newton_step(blocks, loss, value, now.state.get("share", 1.0))
    now.weights |= {name: w.clone() for name, w in moved(damped.steps).items()}
    work = count * (1 + VALUE * (1 + damped.nfev))
    work += len(few) * (1 + protocol.product_cost * damped.nhev)
    work += _cached_work(protocol, count, 1 + damped.nhev, 0)
    return _spend(now, work, damped.nhev) | _damped(now, damped)


def _pieces(images: Images) -> list[tuple[Tensor, Tensor]]:
    return list(zip(images.training.split(CHUNK), images.training_labels.split(CHUNK), strict=True))


def _whole_gradient(
    objective: Objective, weights: dict[str, Tensor], images: Images
) -> tuple[dict[str, Tensor], float]:
    """Return the gradient and the value of the objective over all training images."""
    leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    value, count = 0.0, len(images.training)
    for some, labels in _pieces(images):
        share = len(some) / count
        for name, part in objective.gradient(leaves, some, labels).items():
            total[name] += share * part
        value += share * objective_value(objective, leaves, some, labels)
    return total, value


def _cached_work(protocol: Protocol, count: int, gradients: int, values: int) -> float:
    """Return the work of gradients or products, and of values, on cached features."""
    passes = 2 * gradients + values  # over the features
    side = map_side(protocol.resolution, protocol.pooling)
    flops = 2 * WIDTHS[1] * side**2 * CLASSES * passes
    return count * flops / step_flops(protocol.resolution, protocol.pooling)


def _spend(now: Progress, work: float, products: int) -> dict[str, Any]:
    now.state["work"] = now.state.get("work", 0.0) + work
    told = {"work": round(now.state["work"], 1), "products": products}
    if "radius" in now.state:
        told["radius"] = now.state["radius"]
    return told


def _damped(now: Progress, damped: DampedStep) -> dict[str, int]:
    """Note where the next line search begins, and whether the method has given up."""
    now.state["share"] = damped.share
    if not damped.accepted:
        now.state["ended"] = 1.0
    return _told(damped.accepted, False, False)


def _told(accepted: int | bool, boundary: int | bool, negative: int | bool) -> dict[str, int]:
    return {"accepted": int(accepted), "boundary": int(boundary), "negative": int(negative)}
