"""The work of one trial: its training phases, and the images that each operation processes.

Progress, floating-point operations and predicted seconds are all computed from this model. Most
counts follow from the protocol. The number of Hessian products depends on the data; it is assumed
to be what the book's records show.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.trial.figure_arrays import SIDE, SURFACE_IMAGES
from mgcore.lab.trial.measures import DIRECTIONS, LOSS_IMAGES
from mgcore.lab.trial.newton import MEMORY_BATCH, VALUE
from mgcore.lab.trial.phases import measured_images
from mgcore.thesis.network import forward_flops, step_flops

# Hessian products an outer iteration, as recorded at the paper tier.
CLASSIFIER_PRODUCTS = 3.5  # trust region on the classifier
PACKAGE_PRODUCTS = 10.0  # the original software's method: it usually reaches its limit
MINIBATCH_PRODUCTS = 1.6  # trust region on a minibatch
LINE_SEARCH_VALUES = 1.5  # function values of a line search
RADIUS_LOSSES = 34  # losses a direction: two signs of doubling and bisection, second difference


class Piece(NamedTuple):
    """One operation of one network, counted in images.

    Attributes
    ----------
    operation : str
        ``"step"`` of SGD; ``"forward"`` pass of an evaluation; ``"prepare"``: normalise an image
        and smooth it; ``"local"`` model of the objective, its ``"value"`` and Hessian
        ``"product"`` on a minibatch; ``"features"`` of the classifier; ``"pass"`` over them.
    resolution : int
        Pixels along a side.
    pooling : bool
    dtype : str
    """

    operation: str
    resolution: int
    pooling: bool
    dtype: str


Work = Counter[Piece]  # images by operation; float where a number of products is assumed


@dataclass(frozen=True)
class Phase:
    """One training run of a trial: passes of one method over the images of one grid."""

    grid: Literal["coarse", "fine"]
    method: Literal["sgd", "classifier", "joint"]
    images: int
    epochs: int


def phases(protocol: Protocol, conditions: tuple[str, ...] = CONDITIONS) -> list[Phase]:
    """Return the training runs of one trial, in the order in which they run."""
    runs = []
    if set(conditions) != {"new"}:
        runs.append(Phase("coarse", "sgd", protocol.n_coarse, protocol.coarse_epochs))
    for _ in conditions:
        if protocol.newton_method:
            runs.append(Phase("fine", "classifier", protocol.n_fine, protocol.classifier_epochs))
        method: Literal["joint", "sgd"] = "joint" if protocol.retraining == "joint" else "sgd"
        runs.append(Phase("fine", method, protocol.n_fine, protocol.fine_epochs))
    return runs


def image_steps(protocol: Protocol, conditions: tuple[str, ...] = CONDITIONS) -> int:
    """Return the training images of one trial, each counted once an epoch: the unit of progress."""
    return sum(phase.images * phase.epochs for phase in phases(protocol, conditions))


def trial_work(protocol: Protocol, coarse: bool = True) -> Work:
    """Return the images that each operation processes in one trial.

    Parameters
    ----------
    protocol : Protocol
    coarse : bool
        False if another study has already trained the coarse network.
    """
    work: Work = Counter()
    for phase in phases(protocol):
        if coarse or phase.grid == "fine":
            work.update(phase_work(protocol, phase))
    count = len(CONDITIONS) * protocol.n_validation  # validation images, the other preparation
    losses = DIRECTIONS * RADIUS_LOSSES * LOSS_IMAGES[protocol.tier]  # of one network
    prepared = protocol.n_coarse + protocol.n_fine + 2 * protocol.n_validation
    work[_piece(protocol, "prepare", "fine")] += prepared + count
    work[_piece(protocol, "forward", "fine")] += 2 * losses + count
    work[_piece(protocol, "forward", "coarse")] += losses
    return work


def phase_work(protocol: Protocol, phase: Phase) -> Work:
    """Return the images that each operation processes in one phase, with its evaluations."""
    count, epochs = phase.images, phase.epochs
    minibatches = count // protocol.batch * protocol.batch * epochs
    textbook = {"steihaug": True, "meganet": False}[protocol.newton]  # another one: KeyError
    forward = _evaluated(protocol, count, epochs)
    images: dict[str, float]
    if phase.method == "sgd":
        images = {"step": minibatches}
    elif phase.method == "classifier":
        products = CLASSIFIER_PRODUCTS if textbook else PACKAGE_PRODUCTS
        passes = 2 * (1 + products) + (1 if textbook else LINE_SEARCH_VALUES)
        images = {"features": count, "pass": count * epochs * passes}
    elif textbook:
        cost = 1 + VALUE + protocol.product_cost * MINIBATCH_PRODUCTS
        # An epoch ends when the work of an epoch of SGD is spent, or the images are.
        used = minibatches / cost if protocol.newton_epoch == "work" else minibatches
        images = {"local": used, "value": used, "product": used * MINIBATCH_PRODUCTS}
    else:
        forward += count * epochs * (1 + LINE_SEARCH_VALUES)
        images = {
            "step": count * epochs,  # the gradient on all images
            "features": count * epochs,
            "pass": count * epochs * 2 * (1 + PACKAGE_PRODUCTS),
            "product": MEMORY_BATCH * epochs * PACKAGE_PRODUCTS,
        }
    images["forward"] = forward
    return Counter({_piece(protocol, name, phase.grid): n for name, n in images.items()})


def figures_work(protocol: Protocol) -> Work:
    """Return the work for the figures' arrays, which only trial 0 makes."""
    points = SIDE[protocol.tier] ** 2 * SURFACE_IMAGES[protocol.tier]
    fine, coarse = (_piece(protocol, "forward", grid) for grid in ("fine", "coarse"))
    return Counter({fine: 2 * points, coarse: points})


def flops(work: Work) -> float:
    """Return the floating-point operations of SGD steps and forward passes.

    Convolutions and classifier count, a multiplication and an addition as two. The other
    operations are left out.
    """
    count = {"step": step_flops, "forward": forward_flops}
    return sum(
        images * count[piece.operation](piece.resolution, piece.pooling)
        for piece, images in work.items() if piece.operation in count
    )  # fmt: skip


def _piece(protocol: Protocol, operation: str, grid: str) -> Piece:
    side = protocol.resolution // 2 if grid == "coarse" else protocol.resolution
    return Piece(operation, side, protocol.pooling, protocol.dtype)


def _evaluated(protocol: Protocol, count: int, epochs: int) -> float:
    """Return the images on which a network is evaluated from epoch 0 to the last."""
    total = 0
    for epoch in range(epochs + 1):
        limit = measured_images(protocol, epoch, epochs)[1]
        for images in (count, protocol.n_validation):
            total += images if limit is None else min(limit, images)
    return total
