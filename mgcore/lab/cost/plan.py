"""What a study will cost on this machine: time, memory and disk, predicted from two seconds.

A trial is a count of pieces of work (:class:`mgcore.lab.cost.prices.Piece`), images times what is done
to them.  Most follow from the protocol.  Of Newton's methods the number of products depends on the
data; what is assumed of it is what the book's records show.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mgcore.data.images import DATASETS
from mgcore.lab.cost.prices import Piece, Prices
from mgcore.lab.protocol import CONDITIONS, Protocol
from mgcore.lab.trial.figure_arrays import SIDE, SURFACE_IMAGES
from mgcore.lab.trial.measures import DIRECTIONS, LOSS_IMAGES
from mgcore.lab.trial.newton import MEMORY_BATCH, VALUE
from mgcore.lab.trial.trial import COARSE_FIELDS
from mgcore.thesis.network import CLASSES, WIDTHS, map_side

# Hessian products an outer iteration, as recorded at the paper tier.
CLASSIFIER_PRODUCTS = 3.5  # of the classifier alone, by trust regions
PACKAGE_PRODUCTS = 10.0  # of the package's method, which seldom stops before its limit
MINIBATCH_PRODUCTS = 1.6  # of both on a minibatch: the boundary and the tolerance are near
VALUES = 1.5  # function values of a line search
LOSSES = 34  # a direction: two signs of doubling and bisection, and a second difference

Work = Counter[Piece]


@dataclass(frozen=True)
class Cost:
    """Predicted cost: wall-clock seconds, memory of all processes at their peak, disk."""

    seconds: float
    memory_gib: float
    disk_mb: float


def trial_work(protocol: Protocol, coarse: bool = True) -> Work:
    """Return the pieces of work in one trial.

    Parameters
    ----------
    protocol : Protocol
    coarse : bool
        Whether the coarse network is trained; it is not where another study has trained it.

    Returns
    -------
    Counter
        Images by :class:`mgcore.lab.cost.prices.Piece`.
    """
    work: Work = Counter()
    n, half = protocol.resolution, protocol.resolution // 2

    def add(what: str, images: float, side: int = n) -> None:
        work[Piece(what, side, protocol.pooling, protocol.dtype)] += images

    validation, count, arms = protocol.n_validation, protocol.n_fine, len(CONDITIONS)
    add("prepare", protocol.n_coarse + count + 2 * validation)
    if coarse:
        add("step", _whole(protocol, protocol.n_coarse) * protocol.coarse_epochs, half)
        add("forward", _measured(protocol, protocol.n_coarse, protocol.coarse_epochs), half)
    for _ in CONDITIONS:
        if protocol.newton_method:
            epochs = protocol.classifier_epochs
            textbook = protocol.newton == "steihaug"
            products = CLASSIFIER_PRODUCTS if textbook else PACKAGE_PRODUCTS
            add("features", count)
            passes = 2 * (1 + products) + (1 if textbook else VALUES)
            add("pass", count * epochs * passes)
            add("forward", _measured(protocol, count, epochs))
        add("forward", _measured(protocol, count, protocol.fine_epochs))
        _retraining(protocol, add)
    # Measures: loss surfaces on a line, and validation images prepared the other way.
    add("forward", 2 * DIRECTIONS * LOSSES * LOSS_IMAGES[protocol.tier])
    add("forward", DIRECTIONS * LOSSES * LOSS_IMAGES[protocol.tier], half)
    add("forward", arms * validation)
    add("prepare", arms * validation)
    return work


def _retraining(protocol: Protocol, add) -> None:
    """Add one arm's retraining."""
    count, epochs = protocol.n_fine, protocol.fine_epochs
    if protocol.retraining != "joint":
        add("step", _whole(protocol, count) * epochs)
    elif protocol.newton == "steihaug":
        images = _whole(protocol, count) * epochs
        if protocol.newton_epoch == "work":  # as many minibatches as the work of SGD pays for
            images *= 1 / (1 + VALUE + protocol.product_cost * MINIBATCH_PRODUCTS)
        add("local", images)
        add("value", images)
        add("product", images * MINIBATCH_PRODUCTS)
    else:
        add("step", count * epochs)  # the gradient on all images
        add("forward", count * epochs * (1 + VALUES))
        add("features", count * epochs)
        add("pass", count * epochs * 2 * (1 + PACKAGE_PRODUCTS))
        add("product", MEMORY_BATCH * epochs * PACKAGE_PRODUCTS)


def figures_work(protocol: Protocol) -> Work:
    """Return the pieces of work in the arrays of the figures, which trial 0 makes."""
    points = SIDE[protocol.tier] ** 2 * SURFACE_IMAGES[protocol.tier]
    n, about = protocol.resolution, (protocol.pooling, protocol.dtype)
    return Counter({
        Piece("forward", n, *about): 2 * points, Piece("forward", n // 2, *about): points
    })  # fmt: skip


def _whole(protocol: Protocol, count: int) -> int:
    """Return the images of an epoch's minibatches."""
    return count // protocol.batch * protocol.batch


def _measured(protocol: Protocol, count: int, epochs: int) -> int:
    """Return the images on which a network is measured from epoch 0 to the last."""
    all_of = len({0, 1, epochs})
    subset = 2 * min(protocol.subset // 2, count, protocol.n_validation)
    return all_of * (count + protocol.n_validation) + (epochs + 1 - all_of) * subset


def pieces(protocols: Iterable[Protocol]) -> set[Piece]:
    """Return the pieces whose prices are needed."""
    return {piece for p in protocols for piece in trial_work(p) | figures_work(p)}


def predict(
    studies: Iterable[tuple[Protocol, int]], prices: Prices, trained: set[tuple[str, int]]
) -> Cost:
    """Predict the cost of studies, one after another.

    Parameters
    ----------
    studies : iterable of (Protocol, int)
        And the number of trials of each.
    prices : Prices
    trained : set of (str, int)
        Coarse networks that are there already, by the key of what decides them and the trial.
        Those of the studies are added.

    Returns
    -------
    Cost
    """
    seconds = memory = disk = 0.0
    for protocol, trials in studies:
        key = protocol.key(*COARSE_FIELDS)
        processes = min(prices.processes, trials)
        new = [n for n in range(trials) if (key, n) not in trained]
        trained |= {(key, n) for n in new}

        def price(work: Work) -> float:
            return sum(prices.seconds[piece] * images for piece, images in work.items())

        both = price(trial_work(protocol)), price(trial_work(protocol, coarse=False))
        seconds += 2 * prices.startup + price(figures_work(protocol))
        # Whole rounds of trials, the longer ones first.
        rounds, fresh = math.ceil(trials / processes), math.ceil(len(new) / processes)
        seconds += fresh * both[0] + (rounds - fresh) * both[1]
        memory = max(memory, processes * _memory(protocol))
        disk += _disk(protocol, trials, len(new))
    return Cost(seconds, memory, disk)


def _memory(protocol: Protocol) -> float:
    """Return the peak of one process in GiB: torch itself, images, features, networks."""
    size = 8 if protocol.dtype == "float64" else 4
    pixels = protocol.resolution**2
    pool = pixels * (DATASETS[protocol.dataset].count or 0)
    fine = (protocol.n_fine + protocol.n_validation) * pixels * size
    coarse = (protocol.n_coarse + protocol.n_validation) * pixels // 4 * size
    weights = _weights(protocol, protocol.resolution) * size
    total = pool + coarse + 3 * fine + 12 * weights
    if protocol.newton_method:
        side = map_side(protocol.resolution, protocol.pooling)
        total += protocol.n_fine * WIDTHS[1] * side**2 * size
    return 0.45 + total / 2**30


def _weights(protocol: Protocol, resolution: int) -> int:
    first, second = WIDTHS
    side = map_side(resolution, protocol.pooling)
    return 9 * first * (1 + second) + CLASSES * (second * side**2 + 1)


def _disk(protocol: Protocol, trials: int, coarse: int) -> float:
    """Return the record and the checkpoints of coarse networks, which stay, in MB."""
    size = 8 if protocol.dtype == "float64" else 4
    networks = 2 * size * coarse * _weights(protocol, protocol.resolution // 2) / 1e6
    return 0.6 + 0.025 * trials + networks
