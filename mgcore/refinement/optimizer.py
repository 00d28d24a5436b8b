"""An optimizer that goes on after the image size has changed."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
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
        From `model` to `result`: the call of :func:`mgcore.refine` or :func:`mgcore.coarsen`,
        without `report`, `return_report` and `statistics`.  It is called on copies of `model`.

    Returns
    -------
    torch.optim.Optimizer
        Of the same class, with the same groups and settings, of the parameters of `result`.

    Raises
    ------
    TypeError
        If `change` does not return a network.
    ValueError
        If `optimizer` holds a parameter that `model` does not, keeps parameters elsewhere than in
        its groups (LBFGS), or `change` does not lead from `model` to networks of the sizes of
        `result`.

    Notes
    -----
    A weight that does not change keeps its state.  Of a weight that changes, the momentum of SGD
    changes by the same linear map as the weight, since it is a step of the weight.  The state of
    other optimizers, such as the second moments of Adam, has no such map: there the state of the
    weight starts anew.
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
    for attribute, value in vars(optimizer).items():
        if attribute != "param_groups" and isinstance(value, list) and _holds(value, names):
            raise ValueError(
                f"{type(optimizer).__name__} keeps parameters in {attribute}, and cannot be "
                "transferred. Make a new one for result."
            )
    other = copy.copy(optimizer)
    # Copied by hand: an optimizer's own copy leaves out its hooks and attributes of subclasses.
    other.__dict__ = {**vars(optimizer), "defaults": copy.deepcopy(optimizer.defaults)}
    other.param_groups = [
        {
            name: [new[names[p]] for p in value] if name == "params" else copy.deepcopy(value)
            for name, value in group.items()
        }
        for group in optimizer.param_groups
    ]
    other.state = defaultdict(dict)
    if not optimizer.state:
        return other
    changed, velocities = _changes(optimizer, model, new, change)
    for parameter, state in optimizer.state.items():
        name = names[parameter]
        if name not in changed:
            other.state[new[name]] = copy.deepcopy(state)
        elif isinstance(optimizer, torch.optim.SGD) and state.get(VELOCITY) is not None:
            other.state[new[name]] = {VELOCITY: velocities[name]}
    return other


def _holds(values: list[Any], names: dict[Tensor, str]) -> bool:
    """Return whether a list holds parameters."""
    return any(isinstance(value, Tensor) and value in names for value in values)


def _changes(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    new: Mapping[str, Tensor],
    change: Callable[[nn.Module], nn.Module],
) -> tuple[set[str], dict[str, Tensor]]:
    """Return the names of the weights that change, and the momentum of every weight, changed.

    The map of a weight is linear and does not depend on its numbers, so it is applied to others.
    """

    def applied(numbers: Callable[[nn.Parameter], Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        probe = copy_model(model)
        with torch.no_grad():
            for parameter, its in zip(model.parameters(), probe.parameters(), strict=True):
                its.copy_(numbers(parameter))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # given when the weights were changed
            result = change(probe)
        if not isinstance(result, nn.Module):
            raise TypeError(f"change returns a {type(result).__name__}, not a network.")
        old, after = dict(probe.named_parameters()), dict(result.named_parameters())
        for name, weight in new.items():
            if name not in after or after[name].shape != weight.shape:
                raise ValueError(
                    f"change does not give {name} the shape {tuple(weight.shape)} that it has in "
                    "result. Pass the call that made result."
                )
        return {name: (old[name].detach(), after[name].detach()) for name in new}

    def velocity(parameter: nn.Parameter) -> Tensor:
        found = optimizer.state.get(parameter, {}).get(VELOCITY)
        return torch.zeros_like(parameter) if found is None else found

    generator = torch.Generator().manual_seed(0)
    random = applied(lambda p: torch.rand(p.shape, generator=generator).to(p) + 1)
    changed = {n for n, (a, b) in random.items() if a.shape != b.shape or not torch.equal(a, b)}
    if not isinstance(optimizer, torch.optim.SGD):
        return changed, {}
    return changed, {name: after.clone() for name, (_, after) in applied(velocity).items()}
