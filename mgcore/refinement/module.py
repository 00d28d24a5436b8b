"""Any network at twice, or half, the resolution (beyond the thesis, which has one network).

Convolution kernels change by the Galerkin condition or are copied, dense layers that read
flattened maps are prolonged or restricted, all other weights are kept.  The role of a weight is
found by running the network (:mod:`mgcore.refinement.tracing`); a :class:`Report` lists the
changes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, overload

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from mgcore.grids import check_prolongation
from mgcore.refinement.report import Report
from mgcore.refinement.rules import apply, decide, growth
from mgcore.refinement.tracing import Network, copy_model

KERNEL_RULES = ("galerkin", "copy")
BATCH = 64  # images at a time when statistics are estimated from a tensor

logger = logging.getLogger(__name__)


@overload
def refine(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: Sequence[int] | None = None,
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: Literal[False] = False,
) -> Network: ...


@overload
def refine(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: Sequence[int] | None = None,
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
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
        Whether convolution kernels that are three cells wide are mapped by the inverse of the
        Galerkin map, or all kernels are copied.
    prolongation : {"bilinear", "constant"}
        P of the Galerkin condition, and of the weights of dense layers.
    axes : sequence of int, optional
        Which grid axes become finer, counted from 0; all by default.  Of a film (channels, time,
        rows, columns), ``axes=(1, 2)`` refines space and ``axes=(0,)`` time.
    statistics : Tensor (count, channels, *grid) or iterable of batches, optional
        Inputs at the new resolution, on which the running statistics of batch and instance
        normalisation are estimated anew; by default they are kept.  A batch is a tensor, or a
        tuple that begins with one.
    report : callable, optional
        Called with the :class:`mgcore.refinement.report.Report` of what was done; ``print`` shows
        it.  If it raises, a warning is given and the network is returned.
    return_report : bool
        Whether to return the report beside the network.

    Returns
    -------
    Module
        A new one: same class, state-dict keys, dtypes, devices, memory formats,
        ``requires_grad`` and modes.
    Report
        With ``return_report=True``.

    Warns
    -----
    UserWarning
        Names the convolutions that the Galerkin condition cannot refine and that were copied, and
        the weights that left the range of their dtype.

    Raises
    ------
    TypeError
        If `model` is no module whose operations can be observed, or has complex weights.
    ValueError
        If the network does not run at one of the two resolutions, holds a weight for which there
        is no rule, adds up the cells of a grid, or returns a map that keeps its size; the sentence
        names the layer.

    Notes
    -----
    A 3×3 kernel of stride 1, grouped or depthwise or not, is refined exactly: R K P x equals the
    response of the coarse kernel to x, away from the boundary (thesis (3.5)).  With stride s the
    kernel is refined in the same way, so that the same holds before cells are left out; the cells
    that remain lie (s − 1)/4 of a coarse cell apart on the two grids, and no kernel three cells
    wide can avoid that: R S K P is four cells wide for bilinear P and a singular map of K for
    constant P. Other widths are copied, as no other width above 1 has an inverse map for both
    prolongations (7 becomes 5), and so are dilated kernels, whose gaps the map changes. A dense
    layer behind flattened maps is prolonged and divided by 2ᵈ (thesis §3.1.3, with the factor that
    keeps the logits). Behind global or adaptive pooling grids do not change, and the weights there
    are kept.

    The network runs once at each resolution, on zeros and without its hooks.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(),
    ...                     nn.Linear(4 * 14 * 14, 10))
    >>> refine(net, (1, 14, 14))[-1]
    Linear(in_features=3136, out_features=10, bias=True)
    """
    result, done = _change_resolution(
        model, input_shape, True, stencils, prolongation, axes, statistics
    )
    if report is not None:
        try:
            report(done)
        except Exception as error:  # a terminal without →, a full disk: the network is not lost
            warnings.warn(
                f"report raised {type(error).__name__}: {error}. The network is returned all the "
                "same; Report.ascii() is the table without special signs.",
                stacklevel=2,
            )
    return (result, done) if return_report else result


@overload
def coarsen(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: Sequence[int] | None = None,
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: Literal[False] = False,
) -> Network: ...


@overload
def coarsen(
    model: Network,
    input_shape: Sequence[int],
    *,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: Sequence[int] | None = None,
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
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

    Parameters, results and errors are those of :func:`refine`, whose changes to convolutions it
    undoes: kernels become those of R K P; dense layers are restricted and multiplied by 2ᵈ.  The
    grid axes of `input_shape` must be even.

    Examples
    --------
    >>> import torch
    >>> net = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1, bias=False))
    >>> _ = net[0].weight.data.copy_(torch.tensor([-2.0, 0.0, 2.0]))
    >>> coarsen(net, (1, 8))[0].weight
    Parameter containing:
    tensor([[[-1.,  0.,  1.]]], requires_grad=True)
    """
    result, done = _change_resolution(
        model, input_shape, False, stencils, prolongation, axes, statistics
    )
    if report is not None:
        try:
            report(done)
        except Exception as error:  # a terminal without →, a full disk: the network is not lost
            warnings.warn(
                f"report raised {type(error).__name__}: {error}. The network is returned all the "
                "same; Report.ascii() is the table without special signs.",
                stacklevel=2,
            )
    return (result, done) if return_report else result


def _change_resolution(
    model: Network,
    input_shape: Sequence[int],
    refining: bool,
    stencils: str,
    prolongation: str,
    axes: Sequence[int] | None,
    statistics: Tensor | Iterable | None,
) -> tuple[Network, Report]:
    _check_model(model)
    old_shape, new_shape = _shapes(input_shape, refining, axes)
    if stencils not in KERNEL_RULES:
        raise ValueError(f"stencils must be 'galerkin' or 'copy', got {stencils!r}.")
    check_prolongation(prolongation, "prolongation")
    # Weights made in inference mode could never be trained, nor can operations be observed there.
    with torch.inference_mode(False):
        plan = decide(model, old_shape, new_shape, stencils)
        result = copy_model(model)
        weights: dict[str, Tensor] = dict(result.named_parameters()) | dict(result.named_buffers())
        rows, overflown = [], []
        for row, change in plan.values():
            if change.axes:
                old = weights[row.name].data
                new = weights[row.name].data = apply(change, old, prolongation)
                row = replace(row, growth=growth(change, old, new))
                _update_sizes(result, weights[row.name])
                if not new.is_meta and old.isfinite().all() and not new.isfinite().all():
                    overflown.append(f"{row.name} ({str(new.dtype).removeprefix('torch.')})")
            rows.append(row)
        done = Report(
            old_shape, new_shape, tuple(rows), _estimate_statistics(result, new_shape, statistics)
        )
    logger.info("%s", done)
    copied = [row.name for row in rows if row.done == "copied"]
    if copied and stencils == "galerkin":
        warnings.warn(
            f"copied, since the Galerkin condition does not reach them: {', '.join(copied)}.",
            stacklevel=3,
        )
    if overflown:
        warnings.warn(
            f"{', '.join(overflown)} left the range of the dtype and hold infinities. Convert the "
            "model to float32 first.",
            stacklevel=3,
        )
    return result, done


def _update_sizes(model: nn.Module, weight: Tensor) -> None:
    """Update the sizes that ``nn.Linear`` stores beside its weight."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.weight is weight:
            module.out_features, module.in_features = weight.shape


def _estimate_statistics(
    model: nn.Module, shape: tuple[int, ...], inputs: Tensor | Iterable | None
) -> str:
    """Estimate the running statistics of normalisation layers from `inputs`; say what was done.

    Every batch has equal weight, as in ``torch.optim.swa_utils.update_bn``, which neither counts
    batches nor includes instance normalisation.
    """
    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m.running_mean is not None]
    layers = f"{len(norms)} layer" + ("s" if len(norms) != 1 else "")
    if not norms:
        return "none"
    if inputs is None:
        return f"kept in {layers}"
    momenta = [norm.momentum for norm in norms]
    modes = {module: module.training for module in model.modules()}
    example = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    count = 0
    try:
        model.train()
        for norm in norms:
            norm.reset_running_stats()
        with torch.no_grad():
            for count, batch in enumerate(_batches(inputs, shape), 1):
                for norm in norms:
                    norm.momentum = 1 / count
                model(batch.to(example))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    if not count:
        raise ValueError(
            "statistics holds no batch. Give at least one batch of inputs at the new resolution; "
            "an iterator can be used once only."
        )
    return f"estimated anew in {layers}, from {count} batch" + ("es" if count > 1 else "")


def _batches(inputs: Tensor | Iterable, shape: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield batches of inputs of the given shape."""
    batches = inputs.split(BATCH) if isinstance(inputs, Tensor) and inputs.ndim else inputs
    expected = f"(count, {', '.join(map(str, shape))})"
    for batch in batches:
        images = batch[0] if isinstance(batch, list | tuple) and batch else batch
        if not isinstance(images, Tensor):
            raise TypeError(
                f"statistics yields a {type(batch).__name__}. Each batch must be a tensor, or a "
                "tuple that begins with one."
            )
        if tuple(images.shape[1:]) != shape:
            raise ValueError(
                f"statistics holds inputs of shape {tuple(images.shape)}, but the new resolution "
                f"needs {expected}."
            )
        if len(images):
            yield images


def _check_model(model: nn.Module) -> None:
    """Raise unless `model` is a module whose operations can be observed, with real weights."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got a {type(model).__name__}.")
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                f"{name or 'model'} is a TorchScript module, whose operations cannot be observed. "
                "Give the module from which it was scripted."
            )
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise ValueError(
                f"{name} has no size yet. Run model on one input first, which gives lazy layers "
                "their sizes."
            )
        if parameter.is_complex():
            raise TypeError(
                f"{name} is complex ({parameter.dtype}), and only real weights can change. Store "
                "real and imaginary parts in two layers."
            )


def _shapes(
    input_shape: Sequence[int], refining: bool, axes: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Check the arguments and return the two input shapes."""
    old = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    if not 2 <= len(old) <= 4 or any(not isinstance(n, int) or n < 1 for n in old):
        raise ValueError(
            "input_shape must be (channels, *grid) of one input that model takes, positive "
            f"integers with one to three grid axes, got {input_shape!r}."
        )
    d = len(old) - 1
    chosen = set(range(d) if axes is None else axes)
    if not chosen or not chosen <= set(range(d)):
        raise ValueError(f"axes must be some of the grid axes 0 to {d - 1}, got {axes!r}.")
    if not refining and any(old[1 + axis] % 2 for axis in chosen):
        raise ValueError(
            f"input_shape must have even grid axes, which can be halved, got {input_shape!r}."
        )
    grid = [
        (2 * n if refining else n // 2) if axis in chosen else n for axis, n in enumerate(old[1:])
    ]
    return old, (old[0], *grid)
