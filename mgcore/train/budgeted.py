"""Training one network on one grid until a budget of images is spent.

A scheme defines the loss of one step: on images of the grid, on images of coarser grids as well
(joint training), or on few fine and many coarse images (the multilevel gradient).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mgcore.train.multilevel import Hierarchy, Loss, joint_loss, multilevel_loss

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
SGD: Optimizer = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
KINDS = ("fine", "joint", "multilevel")


@dataclass(frozen=True)
class Level:
    """Training data of one grid, and the budget of training on it.

    Attributes
    ----------
    images : Tensor, shape (count, channels, *grid)
    labels : Tensor, shape (count, ...)
    budget : int
        Number of images of this grid that training may use; an image on the next coarser grid
        costs 2⁻ᵈ.

    See Also
    --------
    BatchLevel : For a ``DataLoader`` or any other iterable of batches.
    """

    images: Tensor
    labels: Tensor
    budget: int

    def __post_init__(self) -> None:
        _check_budget(self.budget)
        if len(self.images) != len(self.labels) or not len(self.images):
            raise ValueError(
                f"There must be one label for each of at least one image, got {len(self.labels)} "
                f"labels for {len(self.images)} images."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (channels, *grid) of an image."""
        return tuple(self.images.shape[1:])

    def draw(self, generator: torch.Generator) -> Draw:
        """Return a function that draws a number of images in random order."""
        return Draw(self, generator)


@dataclass(frozen=True)
class BatchLevel:
    """Training data of one grid as an iterable of batches, and the budget of training on it.

    Attributes
    ----------
    batches : iterable of (images, labels)
        For instance a ``torch.utils.data.DataLoader``, which also decides the order.  It is
        iterated anew whenever it is exhausted.  A step takes as many images as its scheme asks for,
        at most the rest of one batch.
    budget : int
        As for :class:`Level`.
    """

    batches: Iterable[Sequence[Tensor]]
    budget: int

    def __post_init__(self) -> None:
        _check_budget(self.budget)
        if iter(self.batches) is self.batches:
            raise ValueError(
                "batches can be iterated only once. Pass an iterable that starts anew each time, "
                "such as a DataLoader or a list."
            )

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Return (channels, *grid) of an image."""
        return tuple(next(self._passes())[0].shape[1:])

    def draw(self, generator: torch.Generator) -> Callable[[int], tuple[Tensor, Tensor]]:
        """Return a function that takes at most a number of images from the batches, in order."""
        passes = self._passes()
        images = labels = torch.empty(0)

        def take(count: int) -> tuple[Tensor, Tensor]:
            nonlocal images, labels
            if not len(images):
                images, labels = next(passes)
            taken = images[:count], labels[:count]
            images, labels = images[count:], labels[count:]
            return taken

        return take

    def _passes(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            found = 0
            for images, labels in self.batches:
                found += len(images)
                if len(images):
                    yield images, labels
            if not found:
                raise ValueError("batches has no images. Pass at least one batch of images.")


def _check_budget(budget: int) -> None:
    if not isinstance(budget, int) or budget < 0:
        raise ValueError(f"budget must be a number of images, 0 or more, got {budget!r}.")


@dataclass(frozen=True)
class Scheme:
    """The loss of one training step.

    Attributes
    ----------
    kind : {"fine", "joint", "multilevel"}
        The loss on the grid itself; on all grids, :func:`mgcore.train.multilevel.joint_loss`; or
        the telescoping sum, :func:`mgcore.train.multilevel.multilevel_loss`.
    batches : tuple of int
        Images in a step.  ``"fine"`` and ``"joint"`` take one number; ``"multilevel"`` takes one
        for each grid, the finest first, as (8, 32, 128).
    depth : int
        Number of coarser grids of ``"joint"``.
    stencils, prolongation
        How weights go to coarser grids, as in :func:`mgcore.refinement.module.coarsen`.
    """

    kind: str = "fine"
    batches: tuple[int, ...] = (32,)
    depth: int = 1
    stencils: str = "galerkin"
    prolongation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"kind must be one of {', '.join(map(repr, KINDS))}, got {self.kind!r}."
            )
        many = self.kind == "multilevel"
        if (not many and len(self.batches) != 1) or not self.batches or min(self.batches) < 1:
            need = "one positive number for each grid" if many else "one positive number"
            raise ValueError(f"batches of kind={self.kind!r} must be {need}, got {self.batches}.")

    def step_work(self, axes: int) -> float:
        """Return the work of a full step on grids with `axes` axes, in images of the finest."""
        counts = _counts(self.kind, list(self.batches), self._coarser())
        return sum(n * 0.5 ** (level * axes) for level, n in enumerate(counts))

    def grids(
        self, model: nn.Module, shape: tuple[int, ...], below: int | None = None
    ) -> Hierarchy:
        """Return the grids of a step, with at most `below` coarser ones (None: no limit)."""
        if below is not None and (not isinstance(below, int) or below < 0):
            raise ValueError(
                f"below must be a number of coarser grids, 0 or more, or None, got {below!r}."
            )
        how = {"stencils": self.stencils, "prolongation": self.prolongation}
        depth = self._coarser()
        return Hierarchy(model, shape, depth if below is None else min(depth, below), **how)

    def _coarser(self) -> int:
        """Return the number of coarser grids that a step asks for."""
        return {"fine": 0, "joint": self.depth, "multilevel": len(self.batches) - 1}[self.kind]


@dataclass(frozen=True)
class Spent:
    """Cost of training on one grid.

    Attributes
    ----------
    shape : tuple of int
        Shape of an input, (channels, *grid).
    steps : int
        Steps of the optimizer.
    images : tuple of int
        Images that were passed forward and backward, for each grid, the finest first.
    work : float
        The same in images of the finest grid, by the number of cells.
    flops : float
        The same in floating-point operations, as torch counts them.
    seconds : float
    """

    shape: tuple[int, ...]
    steps: int
    images: tuple[int, ...]
    work: float
    flops: float
    seconds: float


class Draw:
    """Draw images without replacement, in a random order that is new in every pass."""

    def __init__(self, level: Level, generator: torch.Generator) -> None:
        self.level, self.generator = level, generator
        self.left = torch.empty(0, dtype=torch.int64)

    def __call__(self, count: int) -> tuple[Tensor, Tensor]:
        """Return at most `count` images and their labels; fewer at the end of a pass."""
        if not len(self.left):
            self.left = torch.randperm(len(self.level.images), generator=self.generator)
        chosen, self.left = self.left[:count], self.left[count:]
        return self.level.images[chosen], self.level.labels[chosen]


def check_trainable(model: nn.Module, optimizer: Optimizer) -> None:
    """Raise unless `optimizer` can be called and `model` has a parameter to train."""
    if not callable(optimizer):
        raise TypeError(
            "optimizer must be a callable that makes an optimizer from parameters, got a "
            f"{type(optimizer).__name__}. Pass for instance partial(torch.optim.Adam, lr=1e-3)."
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "model has no parameter that requires a gradient, so there is nothing to train. Pass a "
            "model with parameters, and set requires_grad where they are to be trained."
        )


def to_device(batch: tuple[Tensor, Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images and labels on the device of a network, as tensors that training may keep."""
    images, labels = (x.clone() if x.is_inference() else x for x in batch)
    return images.to(device), labels.to(device)


@contextmanager
def training_mode(model: nn.Module) -> Iterator[None]:
    """Put a network in training mode, with gradients, and restore each module's mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.train()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def train(
    model: nn.Module,
    level: Level | BatchLevel,
    generator: torch.Generator | None = None,
    *,
    scheme: Scheme = Scheme(),  # noqa: B008 (frozen)
    below: int | None = None,
    optimizer: Optimizer = SGD,
    loss: Loss = F.cross_entropy,
) -> Spent:
    """Train a network on one grid, in place, until its budget is spent.

    Parameters
    ----------
    model : Module
        Trained in training mode: batch normalisation and dropout are active whatever the mode
        before, which is restored afterwards.
    level : Level or BatchLevel
        Each batch is moved to the device of `model`.
    generator : torch.Generator, optional
        Draws the order of the images of a :class:`Level`; a generator of seed 0 by default.  A
        :class:`BatchLevel` has an order of its own and does not use it.
    scheme : Scheme
    below : int, optional
        Largest number of coarser grids that the scheme may use; by default as many as the scheme
        asks for.  With 0, every scheme trains on the grid of `level` alone.
    optimizer : callable
        From parameters to a ``torch.optim.Optimizer``, such as
        ``partial(torch.optim.Adam, lr=1e-3)``.
    loss : callable
        From outputs and labels to their mean loss.

    Returns
    -------
    Spent

    Raises
    ------
    TypeError
        If `optimizer` is an optimizer and not a callable that makes one.
    ValueError
        If the budget is positive and too small for one step, `below` is negative, no parameter of
        `model` requires a gradient, or the scheme needs a coarser grid to which `model` cannot be
        coarsened.

    Notes
    -----
    ``"fine"`` spends its budget exactly, with a smaller last batch; the other schemes stop before
    the step that would exceed it.  An optimizer that evaluates the loss several times in a step, as
    ``torch.optim.LBFGS``, pays for each evaluation, and its last step may exceed the budget.
    """
    began = time.perf_counter()
    check_trainable(model, optimizer)
    grids = scheme.grids(model, level.shape, below)
    generator = generator or torch.Generator().manual_seed(0)
    # Counted first: whatever fails in counting, no training is lost by it.
    each = [image_flops(m, s) for m, s in zip(grids.models, grids.shapes, strict=True)]
    draw, steps, work, seen = level.draw(generator), 0, 0.0, [0] * (1 + grids.depth)
    place = next(model.parameters()).device
    descent = optimizer(model.parameters())
    batches = scheme.batches[: 1 + grids.depth] if scheme.kind == "multilevel" else scheme.batches
    with training_mode(model):
        while work < level.budget:
            if scheme.kind == "fine":
                batches = (min(scheme.batches[0], level.budget - int(work)),)
            drawn = [to_device(draw(count), place) for count in batches]
            counts = _counts(scheme.kind, [len(y) for _, y in drawn], grids.depth)
            cost = sum(n * grids.cells(k) for k, n in enumerate(counts))
            if work + cost > level.budget:
                if not steps:
                    raise ValueError(
                        f"budget={level.budget} is too small: one step costs {cost:g} images. "
                        "Raise the budget, or use smaller batches."
                    )
                break
            evaluations = 0

            def closure(drawn: list[tuple[Tensor, Tensor]] = drawn) -> Tensor:
                nonlocal evaluations
                evaluations += 1
                descent.zero_grad()
                if scheme.kind == "multilevel":
                    value = multilevel_loss(grids, drawn, loss)
                else:
                    value = joint_loss(grids, *drawn[0], None, loss)
                value.backward()
                return value

            # The stub of torch asks for a float; the closures of torch return a tensor.
            descent.step(closure)  # type: ignore[arg-type]
            steps, work = steps + 1, work + evaluations * cost
            seen = [a + evaluations * b for a, b in zip(seen, counts, strict=True)]
    seconds = time.perf_counter() - began
    flops = sum(n * f for n, f in zip(seen, each, strict=True))
    return Spent(grids.shapes[0], steps, tuple(seen), work, flops, seconds)


def _counts(kind: str, batches: list[int], depth: int) -> list[int]:
    """Return the number of images that a step passes through each grid."""
    if kind != "multilevel":
        return batches * (1 + depth)
    pairs = [0, *batches[:-1]]  # each batch but the coarsest grid's visits the next grid as well
    return [own + pair for own, pair in zip(batches, pairs, strict=True)]


def image_flops(model: nn.Module, shape: Sequence[int]) -> float:
    """Return the floating-point operations of one image, forward and backward, as torch counts."""
    scratch = copy.deepcopy(model).eval()
    example = next(scratch.parameters())
    x = torch.zeros(2, *shape, dtype=example.dtype, device=example.device)
    with (
        FlopCounterMode(display=False) as counter,
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        scratch(x).sum().backward()
    return counter.get_total_flops() / 2
