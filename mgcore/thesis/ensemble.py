"""Training several networks of one shape at once, along a leading axis, for GPUs (thesis §4.1).

The step is that of :mod:`mgcore.thesis.sgd` on the objective of
:mod:`mgcore.thesis.objective`; only the derivative of the loss is taken for all networks together.
:mod:`mgcore.thesis.lowerings` lists how a convolution whose kernels differ between networks is
computed.

A step of the smaller networks launches about forty kernels of a few microseconds each.  On a GPU
the step is therefore captured once as a CUDA graph, and replayed: images are gathered by positions
that lie on the device, and nothing is sent to the host before the end of an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mgcore.grids import pool
from mgcore.thesis.lowerings import (
    LOWERING,
    check_lowering,
    matrices,
    pool_channels_last,
    shifted,
    unfolded,
)
from mgcore.thesis.network import CLASSIFIER, Weights
from mgcore.thesis.objective import Objective
from mgcore.thesis.sgd import look_ahead, sgd_update

WARM_UP = 3  # steps before a capture: libraries allocate and kernels are compiled in them

Step = Callable[[], None]


def stack(networks: Sequence[Weights]) -> dict[str, Tensor]:
    """Return the weights of networks along a new leading axis, copies."""
    return {name: torch.stack([one[name] for one in networks]) for name in networks[0]}


def unstack(weights: Weights) -> list[dict[str, Tensor]]:
    """Return the weights of each network, views of `weights`."""
    count = len(next(iter(weights.values())))
    return [{name: w[i] for name, w in weights.items()} for i in range(count)]


def ensemble_logits(
    objective: Objective, weights: Weights, images: Tensor, lowering: str = LOWERING
) -> Tensor:
    """Return the logits of each network on images of its own.

    Parameters
    ----------
    objective : Objective
    weights : mapping of Tensor, shapes (networks, …)
    images : Tensor, shape (networks, batch, 1, n, n)
    lowering : str
        One of :data:`mgcore.thesis.lowerings.LOWERINGS`.

    Returns
    -------
    Tensor, shape (networks, batch, 10)

    Raises
    ------
    ValueError
        For an unknown `lowering`, or one that the device cannot run.
    """
    check_lowering(lowering, images.device)
    if lowering == "grouped":
        _prepare(objective, weights, images)
        return torch.func.vmap(objective.logits)(dict(weights), images)
    padding, classifier = objective.padding, weights[CLASSIFIER]
    # The first layer has one channel, so that its patches are small by any lowering.
    x = F.relu(unfolded(images, weights["conv1.weight"], padding))  # (networks, batch, 32, n, n)
    if lowering == "unfold":
        if objective.pooling:
            x = pool(x)
        x = F.relu(unfolded(x, weights["conv2.weight"], padding))
    else:
        x = x.permute(0, 1, 3, 4, 2)  # channels last
        if objective.pooling:
            x = pool_channels_last(x)
        x = _second_layer(x, matrices(weights["conv2.weight"]), padding, lowering)
        maps = classifier.unflatten(-1, (x.shape[-1], *x.shape[2:4]))
        classifier = maps.permute(0, 1, 3, 4, 2).flatten(2)  # smaller than the maps of a minibatch
    # In this order the gradient of the classifier has the layout of its weights.
    logits = (classifier @ x.flatten(2).mT).mT  # (networks, batch, 10)
    bias = weights.get("classifier.bias")
    return logits if bias is None else logits + bias[:, None]


def _second_layer(x: Tensor, places: Tensor, padding: str, lowering: str) -> Tensor:
    """Apply the second convolution and its ReLU in channels-last layout."""
    if lowering == "shifted":
        return F.relu(shifted(x, places, padding))
    from mgcore.thesis.triton_convolution import convolve_relu  # loads Triton, where it is needed

    plain = "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"
    precision = "tf32x3" if lowering == "triton-x3" else plain
    return convolve_relu(x, places, padding, precision)


def _prepare(objective: Objective, weights: Weights, images: Tensor) -> None:
    """Run one image outside of vmap, so that no constant is created and cached inside of vmap."""
    with torch.no_grad():
        objective.logits({name: w[0] for name, w in weights.items()}, images[0, :1])


def ensemble_gradient(
    objective: Objective,
    weights: Weights,
    images: Tensor,
    labels: Tensor,
    lowering: str = LOWERING,
    in_place: bool = False,
) -> dict[str, Tensor]:
    """Return the gradient of every network's objective on a minibatch of its own.

    Parameters
    ----------
    objective : Objective
    weights : mapping of Tensor, shapes (networks, …)
        Not changed.
    images : Tensor, shape (networks, batch, 1, n, n)
    labels : Tensor, shape (networks, batch)
    lowering : str
        One of :data:`mgcore.thesis.lowerings.LOWERINGS`.
    in_place : bool
        As for :meth:`Objective.add_penalty_gradient`.

    Returns
    -------
    dict of Tensor, of the shapes of `weights`
    """
    if lowering == "grouped":
        _prepare(objective, weights, images)
        slope = torch.func.vmap(torch.func.grad(objective.loss))
        gradient = slope(dict(weights), images, labels)
    else:
        leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
        logits = ensemble_logits(objective, leaves, images, lowering)
        # A loss depends on the weights of its network alone, so that of the sum is each one's.
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        parts = torch.autograd.grad(loss / labels.shape[1], list(leaves.values()))
        gradient = dict(zip(leaves, parts, strict=True))
    with torch.no_grad():
        objective.add_penalty_gradient(gradient, weights, in_place)
    return gradient


class EnsembleTrainer:
    """Epochs of SGD of several networks, in place.

    Parameters
    ----------
    objective : Objective
    weights, velocity : mapping of Tensor, shapes (networks, …)
        Changed in place by every epoch.
    images : Tensor, shape (count, 1, n, n)
        All images from which the networks draw.
    labels : Tensor, shape (count,)
    batch, momentum, nesterov, rule
        As for :func:`mgcore.thesis.sgd.train_epoch`.
    lowering : str
        One of :data:`mgcore.thesis.lowerings.LOWERINGS`.
    resident : bool, optional
        Whether the step reads the learning rate from the device too, and adds the penalties in
        place, by default on a GPU.  The result is the same up to rounding.
    capture : callable, optional
        From a step to a function that repeats it; by default :func:`captured` for a resident step
        on a GPU, else None: the step itself is called.
    """

    def __init__(
        self,
        objective: Objective,
        weights: Weights,
        velocity: Weights,
        images: Tensor,
        labels: Tensor,
        *,
        batch: int = 32,
        momentum: float = 0.0,
        nesterov: bool = False,
        rule: str = "torch",
        lowering: str = LOWERING,
        resident: bool | None = None,
        capture: Callable[[Step], Step] | None = None,
    ) -> None:
        check_lowering(lowering, images.device)
        self.objective, self.weights, self.velocity = objective, weights, velocity
        self.images, self.labels, self.batch, self.lowering = images, labels, batch, lowering
        self._momentum, self._nesterov, self._rule = momentum, nesterov, rule
        on_gpu = images.device.type == "cuda"
        self._resident = on_gpu if resident is None else resident
        # vmap's grouped convolutions create constants, which a capture does not allow.
        capturable = on_gpu and self._resident and lowering != "grouped"
        self._capture = captured if capture is None and capturable else capture
        self._repeated: Step | None = None
        self._order = torch.empty(0, 0, dtype=torch.int64, device=images.device)
        self._lanes = torch.arange(batch, device=images.device)
        self._position = torch.zeros((), dtype=torch.int64, device=images.device)
        first = next(iter(weights.values()))
        self._rate = torch.zeros((), dtype=first.dtype, device=first.device)

    def step(self, rate: float) -> None:
        """Take one step on the next minibatch, without any transfer to the host.

        Parameters
        ----------
        rate : float
            The learning rate; a resident step takes that of the epoch from the device.
        """
        mine = self._order.index_select(1, self._position + self._lanes)  # (networks, batch)
        self._position += self.batch
        momentum = self._momentum, self._nesterov, self._rule
        with torch.no_grad():
            look_ahead(self.weights, self.velocity, *momentum)
        gradient = ensemble_gradient(
            self.objective, self.weights, self.images[mine], self.labels[mine], self.lowering,
            in_place=self._resident,
        )  # fmt: skip
        with torch.no_grad():
            at = self._rate if self._resident else rate
            sgd_update(self.weights, self.velocity, gradient, at, *momentum)

    def epoch(self, order: Tensor, rate: float) -> None:
        """Train every network for one epoch.

        Parameters
        ----------
        order : Tensor of int64, shape (networks, images of the epoch)
            For each network, positions in `images` in the order in which they are drawn.  A last,
            smaller minibatch is dropped.
        rate : float

        Raises
        ------
        ValueError
            If there are fewer images than a minibatch has.
        FloatingPointError
            If the weights of a network are no longer finite at the end.
        """
        count = order.shape[1]
        if self.batch > count:
            raise ValueError(f"batch must be at most the {count} images, got {self.batch}.")
        if self._order.shape != order.shape:  # a captured step reads the tensor of its capture
            self._order, self._repeated = torch.empty_like(order), None
        self._order.copy_(order)
        self._position.zero_()
        self._rate.fill_(rate)
        step, left = partial(self.step, rate), count // self.batch
        if self._capture is not None and self._repeated is None and left > WARM_UP:
            with _side_stream(self.images.device):
                for _ in range(WARM_UP):
                    step()
            self._repeated, left = self._capture(step), left - WARM_UP
        for _ in range(left):
            (self._repeated or step)()
        for name, w in self.weights.items():
            if not torch.isfinite(w).all():
                raise FloatingPointError(f"training diverged: {name} is no longer finite.")


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """Run on another stream than the default one, as torch asks for before a capture."""
    if device.type != "cuda":
        yield
        return
    current, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        yield
    current.wait_stream(side)


def repeat_itself(step: Step) -> Step:
    """Return the step: the `capture` of a trainer that calls every step from the host."""
    return step


def captured(step: Step) -> Step:
    """Return a function that replays a step as one CUDA graph.  The step itself does not run."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # the graph allocates a step's memory once more
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


@torch.no_grad()
def evaluate_ensemble(
    objective: Objective,
    weights: Weights,
    images: Tensor,
    labels: Tensor,
    chosen: Tensor,
    batch: int = 50,
    lowering: str = LOWERING,
) -> list[dict[str, float]]:
    """Return for every network what :func:`mgcore.thesis.objective.evaluate` returns for one.

    Parameters
    ----------
    weights : mapping of Tensor, shapes (networks, …)
    images : Tensor, shape (count, 1, n, n)
    labels : Tensor, shape (count,)
    chosen : Tensor of int64, shape (networks, images)
        Positions in `images` of those on which each network is evaluated.
    batch : int
        Number of images of each network that are processed at a time.
    lowering : str
        One of :data:`mgcore.thesis.lowerings.LOWERINGS`.
    """
    right = torch.zeros(len(chosen), dtype=torch.int64, device=images.device)
    loss = torch.zeros(len(chosen), dtype=torch.float64, device=images.device)
    for some in chosen.split(batch, 1):
        truth = labels[some]
        logits = ensemble_logits(objective, weights, images[some], lowering).double()
        right += (logits.argmax(dim=-1) == truth).sum(dim=1)
        each = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
        loss += each.view(truth.shape).sum(dim=1)
    penalties = torch.func.vmap(objective.penalty)({k: w.double() for k, w in weights.items()})
    count, rows = chosen.shape[1], []
    for hits, total, penalty in zip(
        right.tolist(), loss.tolist(), penalties.tolist(), strict=True
    ):  # fmt: skip
        mean = total / count
        rows.append({"accuracy": 100 * hits / count, "loss": mean, "objective": mean + penalty})
    return rows
