"""An optimizer that goes on after the image size has changed."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mgcore.refinement.tracing import copy_model

AnyOptimizer = TypeVar("AnyOptimizer", bound=torch.optim.Optimizer)
VELOCITY = "momentum_buffer"  # of torch.optim: what moves a weight, up to the learning rate


def transfer_optimizer(
    optimizer: AnyOptimizer,
    model: nn.Module,
    result: nn.Module,
    change: Callable[[nn.Module], nn.Module],
) -> AnyOptimizer:
    """Return an optimizer of a refined or coarsened network that goes on where another stopped.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Of parameters of `model`; it is left as it is.
    model, result : Module
        The network before and after.
    change : callable
        From `model` to `result`: the call of :func:`mgcore.refine` or :func:`mgcore.coarsen`.

    Returns
    -------
    torch.optim.Optimizer
        Of the same class, with the same groups and settings, of the parameters of `result`.

    Raises
    ------
    ValueError
        If `optimizer` holds a parameter that `model` does not, or `result` and `model` are not the
        same network at two sizes.

    Notes
    -----
    A weight whose numbers did not change keeps its state.  Of a weight that changed, the momentum
    of SGD changes by the same linear map as the weight, since it is a step of the weight.  The
    second moments of Adam and others have no such map: there the state of the weight starts anew.
    A learning-rate schedule holds its optimizer; make it anew.

    An average of weights needs no rule: ``refine`` takes a ``torch.optim.swa_utils.AveragedModel``
    like any other network.

    Examples
    --------
    >>> from mgcore import refine
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 8 * 8, 3))
    >>> descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    >>> net(torch.rand(4, 1, 8, 8)).sum().backward()
    >>> descent.step()
    >>> fine = refine(net, (1, 8, 8))
    >>> fine_descent = transfer_optimizer(descent, net, fine, lambda net: refine(net, (1, 8, 8)))
    >>> fine_descent.state[fine[2].weight]["momentum_buffer"].shape
    torch.Size([3, 512])
    """
    names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
    new = dict(result.named_parameters())
    if set(names.values()) != set(new):
        raise ValueError(
            "model and result hold weights of other names. Give the network before and after one "
            "change of size."
        )
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        if parameter not in names:
            raise ValueError(
                f"optimizer holds a parameter of shape {tuple(parameter.shape)} that is none of "
                "model. Give the network whose parameters it was made with."
            )
    velocities = _changed_velocities(optimizer, model, change)
    other = copy.copy(optimizer)
    other.param_groups = [
        {**group, "params": [new[names[p]] for p in group["params"]]}
        for group in optimizer.param_groups
    ]
    other.state = defaultdict(dict)
    for parameter, state in optimizer.state.items():
        name = names[parameter]
        if parameter.shape == new[name].shape and torch.equal(parameter, new[name]):
            other.state[new[name]] = copy.deepcopy(state)
        elif _is_velocity(state):
            other.state[new[name]] = {VELOCITY: velocities[name]}
    return other


def _is_velocity(state: dict[str, Any]) -> bool:
    """Return whether the state of a parameter is its momentum and nothing else."""
    held = {name for name, value in state.items() if isinstance(value, Tensor)}
    return held == {VELOCITY}


def _changed_velocities(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    change: Callable[[nn.Module], nn.Module],
) -> dict[str, Tensor]:
    """Return the momentum of every weight, changed as the weight, by name."""
    if not any(_is_velocity(state) for state in optimizer.state.values()):
        return {}
    moving = copy_model(model)  # its weights are the momentum
    with torch.no_grad():
        pairs = zip(model.parameters(), moving.parameters(), strict=True)
        for parameter, velocity in pairs:
            state = optimizer.state.get(parameter, {})
            velocity.copy_(state[VELOCITY]) if _is_velocity(state) else velocity.zero_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # given when the weights were changed
        changed = change(moving)
    return {name: weight.detach().clone() for name, weight in changed.named_parameters()}
