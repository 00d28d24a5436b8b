"""Retraining by Newton's methods: the epochs of each method and their work (thesis §4.4).

**The classifier alone**, on features of all fine images that are computed once: an epoch is one
outer iteration on all images, for both methods.

**Network and classifier** by the textbook's CG-Steihaug: each outer iteration has its own
minibatch, in the order in which SGD draws them, and an epoch ends when the work of an epoch of SGD
is spent, or all images have been used.  By the package's method an epoch is one outer iteration on
all images.

Work is counted in gradients of one image through the whole network: a Hessian product counts
``protocol.product_cost``, a function evaluation a third, and an operation on cached features its
share of floating-point operations.

A gradient or Hessian product that is not finite refuses the step and shrinks the trust region; the
run goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.checkpoints import PhaseState
from mgcore.lab.records.schema import EpochRow
from mgcore.lab.trial.phases import Images, Method
from mgcore.optimize.block_newton import Block, DampedStep, block_newton_step
from mgcore.optimize.trust_region import LocalModel, trust_region_step
from mgcore.thesis.classifier import BIAS, ClassifierProblem, features
from mgcore.thesis.curvature import flatten, local_model, objective_value, unflatten
from mgcore.thesis.network import CLASSES, STENCILS, WIDTHS, map_side, step_flops
from mgcore.thesis.objective import Objective

VALUE = 1 / 3  # work of a function evaluation, in gradients
MEMORY_BATCH = 10  # images that the package holds at a time, its default
CHUNK = 50  # images per pass where the gradient over all images is summed
LEAST_RADIUS = 1e-30  # so that a long row of refused steps does not shrink the radius to zero


class _Step(NamedTuple):
    """One outer iteration: the new point and radius, and what the row of an epoch counts."""

    x: Tensor
    radius: float
    products: int
    accepted: bool
    boundary: bool
    negative: bool


class _NotFinite(ArithmeticError):
    """A Hessian product has an entry that is not finite."""


def _trust_region_step(
    here: LocalModel, value: Callable[[Tensor], float], x: Tensor, radius: float, cg_iterations: int
) -> _Step:
    """Take one trust-region step; refuse it and quarter the radius if the model is not finite."""
    products = 0

    def hvp(d: Tensor) -> Tensor:
        nonlocal products
        products += 1
        product = here.hvp(d)
        if not product.isfinite().all():
            raise _NotFinite
        return product

    try:
        if not here.gradient.isfinite().all():
            raise _NotFinite
        taken = trust_region_step(
            here._replace(hvp=hvp), value, x, radius, cg_iterations=cg_iterations
        )
    except _NotFinite:
        return _Step(x, max(0.25 * radius, LEAST_RADIUS), products, False, False, False)
    step = taken.step
    return _Step(
        taken.x, max(taken.radius, LEAST_RADIUS), step.iterations, taken.accepted,
        step.hits_boundary, step.negative_curvature,
    )  # fmt: skip


def classifier_method(protocol: Protocol) -> Method:
    """Return the method that trains the classifier with the network held fixed."""
    problems: list[ClassifierProblem] = []  # made once per condition: the features stay the same

    def epoch(
        protocol: Protocol, objective: Objective, images: Images, state: PhaseState, order: Tensor
    ) -> EpochRow:
        if state.method_state.get("ended"):
            return _spend(state, 0.0, 0) | _counts(False, False, False)
        if not problems:
            inputs = features(objective, state.weights, images.training)
            problems.append(
                ClassifierProblem(objective, inputs, images.training_labels, BIAS in state.weights)
            )
        # Counted once: computing the features again after an interruption is not the method's work.
        work = VALUE * len(images.training) if state.epoch == 0 else 0.0
        problem = problems[0]
        x = problem.pack(state.weights)
        here = problem.local(x)
        if protocol.newton == "steihaug":
            radius = state.method_state.get("radius", protocol.trust_radius)
            step = _trust_region_step(here, problem.value, x, radius, protocol.cg_iterations)
            x, products, values = step.x, step.products, 1
            state.method_state["radius"] = step.radius
            counts = _counts(step.accepted, step.boundary, step.negative)
        elif protocol.newton == "meganet":
            block = Block(here.gradient, here.hvp)
            damped = block_newton_step(
                [block], here.value, lambda s: problem.value(x + s[0]),
                state.method_state.get("share", 1.0),
            )  # fmt: skip
            x = x + damped.steps[0]
            products, values = damped.nhev, damped.nfev
            counts = _damped(state, damped)
        else:
            raise NotImplementedError(f"newton={protocol.newton!r} has no epoch here.")
        state.weights |= {name: w.clone() for name, w in problem.unpack(x).items()}
        work += _cached_work(protocol, len(images.training), 1 + products, values)
        return _spend(state, work, products) | counts

    return epoch


def joint_method(protocol: Protocol) -> Method:
    """Return the method that trains network and classifier together."""
    return {"steihaug": _minibatch_epoch, "meganet": _package_epoch}[protocol.newton]


def _minibatch_epoch(
    protocol: Protocol, objective: Objective, images: Images, state: PhaseState, order: Tensor
) -> EpochRow:
    """Take trust-region steps on successive minibatches until the epoch's work is spent."""
    batches = order[: len(order) // protocol.batch * protocol.batch].split(protocol.batch)
    budget = (state.epoch + 1) * len(images.training) - state.method_state.get("work", 0.0)
    radius = state.method_state.get("radius", protocol.trust_radius)
    work, products, steps, boundary, negative, accepted = 0.0, 0, 0, 0, 0, 0
    for chosen in batches:
        if protocol.newton_epoch == "work" and work >= budget:
            break
        x, y = images.training[chosen], images.training_labels[chosen]
        here = local_model(objective, state.weights, x, y, protocol.hessian)

        def value(point: Tensor, x: Tensor = x, y: Tensor = y) -> float:
            return objective_value(objective, unflatten(point, state.weights), x, y)

        step = _trust_region_step(
            here, value, flatten(state.weights), radius, protocol.cg_iterations
        )
        radius = step.radius
        for name, w in unflatten(step.x, state.weights).items():
            state.weights[name].copy_(w)
        steps += 1
        products += step.products
        boundary += step.boundary
        negative += step.negative
        accepted += step.accepted
        work += len(x) * (1 + VALUE + protocol.product_cost * step.products)
    state.method_state["radius"] = radius
    return _spend(state, work, products) | _counts(accepted, boundary, negative) | {"steps": steps}


def _package_epoch(
    protocol: Protocol, objective: Objective, images: Images, state: PhaseState, order: Tensor
) -> EpochRow:
    """Take one damped block Gauss–Newton step on all images.

    As in the package, the kernels' block of the Hessian comes from a single batch, of as many
    images as the package holds in memory at a time.
    """
    if state.method_state.get("ended"):
        return _spend(state, 0.0, 0) | _counts(False, False, False)
    count = len(images.training)
    gradient, loss = _whole_gradient(objective, state.weights, images)
    inputs = features(objective, state.weights, images.training)
    problem = ClassifierProblem(objective, inputs, images.training_labels, BIAS in state.weights)
    x = problem.pack(state.weights)
    at_classifier = problem.local(x)

    few = order[:MEMORY_BATCH]
    there = local_model(
        objective, state.weights, images.training[few], images.training_labels[few], "gauss-newton"
    )
    kernels = {name: state.weights[name] for name in STENCILS}

    def kernel_product(d: Tensor) -> Tensor:
        padded = {name: torch.zeros_like(w) for name, w in state.weights.items()}
        product = there.hvp(flatten(padded | unflatten(d, kernels)))
        moved = unflatten(product, state.weights)
        return flatten({name: moved[name] for name in STENCILS})

    def moved(steps: list[Tensor]) -> dict[str, Tensor]:
        network = unflatten(flatten(kernels) + steps[0], kernels)
        return dict(state.weights) | network | problem.unpack(x + steps[1])

    def value(steps: list[Tensor]) -> float:
        weights = moved(steps)
        return sum(
            objective_value(objective, weights, some, labels) * len(some) / count
            for some, labels in _pieces(images)
        )

    blocks = [
        Block(flatten({name: gradient[name] for name in STENCILS}), kernel_product),
        Block(at_classifier.gradient, at_classifier.hvp),
    ]
    damped = block_newton_step(blocks, loss, value, state.method_state.get("share", 1.0))
    state.weights |= {name: w.clone() for name, w in moved(damped.steps).items()}
    work = count * (1 + VALUE * (1 + damped.nfev))
    work += len(few) * (1 + protocol.product_cost * damped.nhev)
    work += _cached_work(protocol, count, 1 + damped.nhev, 0)
    return _spend(state, work, damped.nhev) | _damped(state, damped)


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
    passes = 2 * gradients + values  # number of passes over the features
    side = map_side(protocol.resolution, protocol.pooling)
    flops = 2 * WIDTHS[1] * side**2 * CLASSES * passes
    return count * flops / step_flops(protocol.resolution, protocol.pooling)


def _spend(state: PhaseState, work: float, products: int) -> EpochRow:
    state.method_state["work"] = state.method_state.get("work", 0.0) + work
    row: EpochRow = {"work": round(state.method_state["work"], 1), "products": products}
    if "radius" in state.method_state:
        row["radius"] = state.method_state["radius"]
    return row


def _damped(state: PhaseState, damped: DampedStep) -> EpochRow:
    """Store where the next line search begins, and whether the method has ended."""
    state.method_state["share"] = damped.share
    if not damped.accepted:
        state.method_state["ended"] = 1.0
    return _counts(damped.accepted, False, False)


def _counts(accepted: int | bool, boundary: int | bool, negative: int | bool) -> EpochRow:
    return {"accepted": int(accepted), "boundary": int(boundary), "negative": int(negative)}
