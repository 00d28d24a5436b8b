"""Refine or coarsen any network: the same network for images of twice or half the resolution.

Convolution kernels change by the Galerkin condition or are copied.  Dense layers that read
flattened maps are prolonged or restricted.  Every other weight stays as it is.  One forward pass
shows what each weight does (:mod:`mgcore.refinement.tracing`), and a :class:`Report` lists what was
done with it.  The thesis refines one network; this goes beyond it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import update_bn

from mgcore.grids import check_prolongation
from mgcore.refinement.report import Report
from mgcore.refinement.rules import apply, decide, growth
from mgcore.refinement.tracing import copy_module

STENCILS = ("galerkin", "copy")
BATCH = 64  # images at a time when statistics are estimated from a tensor

logger = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)


@overload
def refine(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = ...,
    prolongation: str = ...,
    axes: Sequence[int] | None = ...,
    statistics: Tensor | Iterable | None = ...,
    report: Callable[[Report], object] | None = ...,
    return_report: Literal[False] = ...,
) -> Network: ...


@overload
def refine(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = ...,
    prolongation: str = ...,
    axes: Sequence[int] | None = ...,
    statistics: Tensor | Iterable | None = ...,
    report: Callable[[Report], object] | None = ...,
    return_report: Literal[True],
) -> tuple[Network, Report]: ...


def refine(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: Sequence[int] | None = None,
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: bool = False,
) -> Network | tuple[Network, Report]:
    """Return the network for images of twice the resolution.

    Parameters
    ----------
    model : Module
        Any network that takes one tensor (batch, channels, *grid); it is left as it is.
    input_shape : sequence of int
        (channels, rows, columns) of what `model` takes; one to three grid axes.
    stencils : {"galerkin", "copy"}
        Convolutions that are three cells wide by the inverse of the Galerkin map, or all as they
        are.
    prolongation : {"bilinear", "constant"}
        P, of the Galerkin condition and of the weights of dense layers.
    axes : sequence of int, optional
        Which grid axes become finer, counted from 0; all by default.  Of a film (channels, time,
        rows, columns), ``axes=(1, 2)`` refines space and ``axes=(0,)`` time.
    statistics : Tensor (count, channels, *grid) or iterable of batches, optional
        Inputs at the new resolution, on which the running statistics of batch normalisation are
        estimated anew; without them they are kept.
    report : callable, optional
        Called with the :class:`~mgcore.refinement.report.Report`; ``print`` shows it.
    return_report : bool
        Whether to return the report too.

    Returns
    -------
    Module, or (Module, Report) with `return_report`
        A new one: same class, state-dict keys, dtypes, devices, ``requires_grad`` and modes.

    Warns
    -----
    UserWarning
        Names the convolutions that the Galerkin condition cannot refine and that were copied.

    Raises
    ------
    ValueError
        If the network does not run at one of the two resolutions, or holds a weight for which
        there is no rule; the sentence names it.

    Notes
    -----
    A 3×3 stencil of stride 1, grouped or depthwise or not, is refined exactly: R K P x is what the
    coarse one gives for x, away from the edge (thesis (3.5)).  With stride s the stencil is refined
    in the same way, so that the same holds before cells are left out; those that remain lie
    (s − 1)/4 of a coarse cell apart on the two grids, and no stencil three cells wide can mend
    that: R S K P is four cells wide for bilinear P and a singular map of K for constant P.
    Widths other than 1 and 3 have no inverse map (7 becomes 5), and with dilation the map changes
    the gaps; both are copied.  A dense layer behind flattened maps is prolonged and divided by 2ᵈ
    (thesis §3.1.3, with the factor that keeps the logits).  Behind global or adaptive pooling
    grids do not change, and weights there stay.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(),
    ...                     nn.Linear(4 * 14 * 14, 10))
    >>> refine(net, (1, 14, 14))[-1]
    Linear(in_features=3136, out_features=10, bias=True)
    """
    with torch.inference_mode(False):  # its tensors could not be trained
        result, done = _operate(
            model, input_shape, True, stencils, prolongation, axes, statistics, report
        )
    return (result, done) if return_report else result


@overload
def coarsen(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = ...,
    prolongation: str = ...,
    axes: Sequence[int] | None = ...,
    statistics: Tensor | Iterable | None = ...,
    report: Callable[[Report], object] | None = ...,
    return_report: Literal[False] = ...,
) -> Network: ...


@overload
def coarsen(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = ...,
    prolongation: str = ...,
    axes: Sequence[int] | None = ...,
    statistics: Tensor | Iterable | None = ...,
    report: Callable[[Report], object] | None = ...,
    return_report: Literal[True],
) -> tuple[Network, Report]: ...


def coarsen(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: Sequence[int] | None = None,
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: bool = False,
) -> Network | tuple[Network, Report]:
    """Return the network for images of half the resolution.

    Parameters, result and errors are those of :func:`refine`, whose changes to convolutions this
    undoes: stencils become those of R K P, dense layers are restricted, times 2ᵈ.  The grid axes of
    `input_shape` must be even.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1, bias=False))
    >>> _ = net[0].weight.data.copy_(torch.tensor([-2.0, 0.0, 2.0]))
    >>> coarsen(net, (1, 8))[0].weight
    Parameter containing:
    tensor([[[-1.,  0.,  1.]]], requires_grad=True)
    """
    with torch.inference_mode(False):
        result, done = _operate(
            model, input_shape, False, stencils, prolongation, axes, statistics, report
        )
    return (result, done) if return_report else result


def _operate(model, input_shape, refining, stencils, prolongation, axes, statistics, report):
    here, there = _shapes(model, input_shape, refining, axes)
    if stencils not in STENCILS:
        raise ValueError(f"stencils={stencils!r}: it must be 'galerkin' or 'copy'.")
    check_prolongation(prolongation, "prolongation")
    plan = decide(model, here, there, stencils)
    result = copy_module(model)
    weights = dict(result.named_parameters())
    rows = []
    for row, change in plan.values():
        if change.axes:
            old = weights[row.name].data
            try:
                weights[row.name].data = apply(change, old, prolongation)
            except OverflowError as error:
                raise ValueError(
                    f"{row.name} {error} when it is refined. Convert the model to float32 first."
                ) from error
            row = replace(row, growth=growth(change, old, weights[row.name].data))
            _tell_owners(result, weights[row.name])
        rows.append(row)
    done = Report(here, there, tuple(rows), _estimate(result, there, statistics))
    logger.info("%s", done)
    copied = [row.name for row in done.rows if row.done == "copied"]
    if copied and stencils == "galerkin":
        warnings.warn(
            f"copied, since the Galerkin condition does not reach them: {', '.join(copied)}.",
            stacklevel=3,
        )
    if report is not None:
        try:
            report(done)
        except UnicodeEncodeError as error:  # of a terminal that knows ASCII alone
            warnings.warn(f"the report could not be shown: {error}.", stacklevel=3)
    return result, done


def _tell_owners(model: nn.Module, weight: nn.Parameter) -> None:
    """Bring the sizes that ``nn.Linear`` keeps beside its weight up to date."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.weight is weight:
            module.out_features, module.in_features = weight.shape


def _estimate(model: nn.Module, shape: tuple[int, ...], inputs: Tensor | Iterable | None) -> str:
    """Estimate the running statistics of batch normalisation from `inputs`; say what was done."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    running = [m for m in norms if m.track_running_stats]
    batch = [m for m in running if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    others = len(running) - len(batch)
    rest = f"; those of {others} instance normalisations are kept" if others else ""
    if not running:
        return "none with running statistics"
    if inputs is None or not batch:
        return f"the statistics of {len(running)} layers are kept"
    if isinstance(inputs, Tensor):
        inputs = inputs.split(BATCH) if inputs.ndim and len(inputs) else ()
    modes = {module: module.training for module in model.modules()}
    update_bn(_checked(inputs, shape), model)
    for module, mode in modes.items():  # update_bn leaves one mode for all
        module.training = mode
    return f"the statistics of {len(batch)} layers are estimated anew{rest}"


def _checked(batches: Iterable, shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield batches of inputs, refusing those of another shape, and none at all."""
    count = 0
    for batch in batches:
        x = batch[0] if isinstance(batch, (list, tuple)) else batch
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != shape:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"statistics holds a batch of shape {got}, and the new resolution needs "
                f"(count, {', '.join(map(str, shape))}). Give inputs at the new resolution."
            )
        count += len(x)
        yield batch
    if not count:
        raise ValueError(
            "statistics holds no input, so the statistics cannot be estimated. Give at least one "
            "batch at the new resolution (a generator can be read once only), or None."
        )


def _shapes(model, input_shape, refining, axes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Check the arguments and return the two input shapes."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise ValueError("model is a TorchScript module. Give the eager module it was made from.")
    for name, parameter in model.named_parameters():
        if parameter.is_complex():
            raise ValueError(f"{name} is complex. Only real weights can be refined.")
    lazy = [name for name, p in model.named_parameters() if is_lazy(p)]
    if lazy:
        raise ValueError(
            f"model has parameters without a size ({lazy[0]}). Run it on one input first, which "
            "gives lazy layers their sizes."
        )
    here = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    if not 2 <= len(here) <= 4 or any(not isinstance(n, int) or n < 1 for n in here):
        raise ValueError(
            f"input_shape must be (channels, *grid) of one input, positive integers with one to "
            f"three grid axes, got {input_shape!r}."
        )
    d = len(here) - 1
    chosen = set(range(d) if axes is None else axes)
    if not chosen or not chosen <= set(range(d)):
        raise ValueError(f"axes must be some of the grid axes 0 to {d - 1}, got {axes!r}.")
    if not refining and any(here[1 + axis] % 2 for axis in chosen):
        raise ValueError(f"input_shape={here} has an odd grid axis, which cannot be halved.")
    grid = [
        (2 * n if refining else n // 2) if axis in chosen else n for axis, n in enumerate(here[1:])
    ]
    return here, (here[0], *grid)
