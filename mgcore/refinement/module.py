"""Any network at another resolution (beyond the thesis, which has one network and the factor 2).

Convolution kernels change by the Galerkin condition, by least squares where no kernel satisfies it,
or are copied; dense layers that read flattened maps are prolonged or restricted, tables of
positions resampled, all other weights kept.  The role of a weight is
found by running the network (:mod:`mgcore.refinement.tracing`); a :class:`Report` lists the
changes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, cast, overload

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from mgcore.grids import check_prolongation
from mgcore.refinement.report import Report
from mgcore.refinement.rules import apply, decide, measured
from mgcore.refinement.tracing import Network, copy_model

KERNEL_RULES = ("galerkin", "copy")
POOR = 0.5  # residual of a fit above which a warning is given
BATCH = 64  # images at a time when statistics are estimated from a tensor

logger = logging.getLogger(__name__)


@overload
def refine(
    model: Network,
    input_shape: Sequence[int],
    *,
    to: int | Sequence[int] | None = None,
    into: nn.Module | None = None,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: int | Sequence[int] | None = None,
    sums: str = "raise",
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: Literal[False] = False,
) -> Network: ...


@overload
def refine(
    model: Network,
    input_shape: Sequence[int],
    *,
    to: int | Sequence[int] | None = None,
    into: nn.Module | None = None,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: int | Sequence[int] | None = None,
    sums: str = "raise",
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: Literal[True],
) -> tuple[Network, Report]: ...


def refine(
    model: Network,
    input_shape: Sequence[int],
    *,
    to: int | Sequence[int] | None = None,
    into: nn.Module | None = None,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: int | Sequence[int] | None = None,
    sums: str = "raise",
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: bool = False,
) -> Network | tuple[Network, Report]:
    """Return the network for larger images: of twice the resolution, or of any other.

    Parameters
    ----------
    model : Module
        Any network that takes one tensor (batch, channels, *grid); it is left as it is.
    input_shape : sequence of int
        (channels, rows, columns) of what `model` takes; one to three grid axes.
    to : int or sequence of int, optional
        (rows, columns) of the new inputs, each at least as many as in `input_shape`; twice as many
        by default.  An int is the size of a single grid axis.
    into : Module, optional
        A network of the same class that is made for the new inputs, for models that take one size
        only.  Its numbers are not used.  The result is a copy of it with the weights of `model`.
    stencils : {"galerkin", "copy"}
        Whether convolution kernels change by the Galerkin condition, and by least squares where no
        kernel of their width satisfies it, or all are copied.
    prolongation : {"bilinear", "constant"}
        P of the Galerkin condition, of the weights of dense layers and of tables of positions.
    axes : int or sequence of int, optional
        Which grid axes become twice as fine, counted from 0; all by default.  Of a film (channels,
        time, rows, columns), ``axes=(1, 2)`` refines space and ``axes=(0,)`` time.  Not with `to`.
    sums : {"raise", "warn"}
        What to do if the network adds up the cells of a grid where they become more or fewer, so
        that its result changes with their number, or leaves cells out.  Attention with a bias
        behind the softmax does the former.
    statistics : Tensor (count, channels, *grid) or iterable of batches, optional
        Inputs at the new resolution, on which the running statistics of batch and instance
        normalisation are estimated anew; by default they are kept.  A batch is a tensor, or a
        tuple that begins with one.
    report : callable, optional
        Called with the :class:`mgcore.refinement.report.Report` of what was done; ``print`` shows
        it.  If it cannot write (``UnicodeError``, ``OSError``), a warning is given and the network
        is returned; every other error of `report` is raised.
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
        Names the convolutions that were copied although their grid changes, those of which a fit
        reproduces less than half of the response, and the weights that left the range of their
        dtype.  Another warning is given where `report` cannot write, and with ``sums="warn"`` one
        that names an operation that adds up cells.

    Raises
    ------
    TypeError
        If `model` is no module whose operations can be observed, or has complex weights; if `into`
        is no module; or if a batch of `statistics` is neither a tensor nor begins with one.
    ValueError
        If an argument is out of its range, or the network does not run at one of the two
        resolutions, holds a weight for which there is no rule, adds up the cells of a grid
        (with ``sums="raise"``), or returns a map that keeps its size; the sentence names the layer.

    Notes
    -----
    A 3×3 kernel of stride 1, grouped or depthwise or not, is refined exactly by the factors 2 to 9:
    R K P x equals the response of the coarse kernel to x, away from the boundary (thesis (3.5)).
    With stride s the kernel is refined in the same way, so that the same holds before cells are
    left out; for the factor 2 the cells that remain lie (s − 1)/4 of a coarse cell apart on the
    two grids, and no kernel three cells wide can avoid that: R S K P is four cells wide for
    bilinear P and a singular map of K for constant P.

    Kernels of other widths, dilated and transposed kernels, kernels with stride = width, and all
    kernels at ratios that are no integer are fitted.  The new kernel has the same response to
    constants and the smallest squared difference between R K P and the old kernel, over all the
    ways in which the cells of the two grids meet.  Kernels whose response is below a tenth of the
    largest are left out of the fit, as their weights would grow too much (of a kernel five cells
    wide, by the factor 2: by 12 along each axis).  The report gives the residual; kernels of which
    a fit would reproduce less than a tenth, as most dilated ones, are copied.  With `into`, a
    kernel with stride = width may also become wider with its patch; its response to a prolonged
    image is then the same (PI-resize).

    A dense layer behind flattened maps is prolonged and divided by the growth in the number of
    cells (thesis §3.1.3, with the factor that keeps the logits).  A table of positions that is
    added to maps or tokens is prolonged; class tokens keep theirs.  Behind global or adaptive
    pooling grids do not change, and the weights there are kept.

    The network runs once at each resolution, on zeros and without its hooks.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(),
    ...                     nn.Linear(4 * 14 * 14, 10))
    >>> refine(net, (1, 14, 14))[-1]
    Linear(in_features=3136, out_features=10, bias=True)
    >>> refine(net, (1, 14, 14), to=(18, 20))[-1]
    Linear(in_features=1440, out_features=10, bias=True)
    """
    result, done = _change_resolution(
        model, input_shape, True, to, into, stencils, prolongation, axes, sums, statistics
    )
    _hand_over(done, report)
    return (result, done) if return_report else result


@overload
def coarsen(
    model: Network,
    input_shape: Sequence[int],
    *,
    to: int | Sequence[int] | None = None,
    into: nn.Module | None = None,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: int | Sequence[int] | None = None,
    sums: str = "raise",
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: Literal[False] = False,
) -> Network: ...


@overload
def coarsen(
    model: Network,
    input_shape: Sequence[int],
    *,
    to: int | Sequence[int] | None = None,
    into: nn.Module | None = None,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: int | Sequence[int] | None = None,
    sums: str = "raise",
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: Literal[True],
) -> tuple[Network, Report]: ...


def coarsen(
    model: Network,
    input_shape: Sequence[int],
    *,
    to: int | Sequence[int] | None = None,
    into: nn.Module | None = None,
    stencils: str = "galerkin",
    prolongation: str = "bilinear",
    axes: int | Sequence[int] | None = None,
    sums: str = "raise",
    statistics: Tensor | Iterable | None = None,
    report: Callable[[Report], object] | None = None,
    return_report: bool = False,
) -> Network | tuple[Network, Report]:
    """Return the network for smaller images: of half the resolution, or of any other.

    Parameters
    ----------
    model : Module
        Any network that takes one tensor (batch, channels, *grid); it is left as it is.
    input_shape : sequence of int
        (channels, rows, columns) of what `model` takes; one to three grid axes.  Axes that are to
        be halved must be even.
    to : int or sequence of int, optional
        (rows, columns) of the new inputs, each at most as many as in `input_shape`; half as many by
        default.  An int is the size of a single grid axis.
    into : Module, optional
        A network of the same class that is made for the new inputs, as for :func:`refine`.
    stencils : {"galerkin", "copy"}
        Whether convolution kernels change by the Galerkin condition or all are copied.
    prolongation : {"bilinear", "constant"}
        P of the Galerkin condition.
    axes : int or sequence of int, optional
        Which grid axes become half as fine, counted from 0; all by default.  Not with `to`.
    sums, statistics, report, return_report
        As for :func:`refine`.

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
        As :func:`refine`.

    Raises
    ------
    TypeError, ValueError
        As :func:`refine`; ValueError also if a grid axis that is to be halved is odd.

    See Also
    --------
    refine : The reverse.

    Notes
    -----
    Kernels become those of R K P, or, where R K P is wider than they are, those that come closest
    to it.  Dense layers are restricted and multiplied by the quotient of the numbers of cells.  By
    the factor 2, kernels three cells wide become what they were before :func:`refine`.

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
        model, input_shape, False, to, into, stencils, prolongation, axes, sums, statistics
    )
    _hand_over(done, report)
    return (result, done) if return_report else result


def _hand_over(done: Report, report: Callable[[Report], object] | None) -> None:
    """Call `report`; where it cannot write, warn, so that the network is not lost."""
    if report is None:
        return
    try:
        report(done)
    except (UnicodeError, OSError) as error:  # a terminal without →, a full disk, a closed pipe
        warnings.warn(
            f"report raised {type(error).__name__}: {error}. The network is returned all the "
            "same; Report.ascii() is the table without special signs.",
            stacklevel=3,
        )


def _change_resolution(
    model: Network,
    input_shape: Sequence[int],
    refining: bool,
    to: int | Sequence[int] | None,
    into: nn.Module | None,
    stencils: str,
    prolongation: str,
    axes: int | Sequence[int] | None,
    sums: str,
    statistics: Tensor | Iterable | None,
) -> tuple[Network, Report]:
    _check_model(model)
    old_shape, new_shape = _shapes(input_shape, refining, to, axes)
    if stencils not in KERNEL_RULES:
        raise ValueError(f"stencils must be 'galerkin' or 'copy', got {stencils!r}.")
    check_prolongation(prolongation, "prolongation")
    if sums not in ("raise", "warn"):
        raise ValueError(f"sums must be 'raise' or 'warn', got {sums!r}.")
    if into is not None:
        _check_into(model, into)
    # Weights made in inference mode could never be trained, nor can operations be observed there.
    with torch.inference_mode(False):
        plan = decide(model, old_shape, new_shape, stencils, prolongation, into, sums)
        result = copy_model(model if into is None else cast(Network, into))
        weights: dict[str, Tensor] = dict(result.named_parameters()) | dict(result.named_buffers())
        if into is not None:
            _take_weights(model, result, weights)
        rows, overflown = [], []
        for row, change in plan.values():
            if change.axes:
                old = weights[row.name].data
                new = weights[row.name].data = apply(change, old, prolongation)
                growth, residual = measured(change, old, new)
                row = replace(row, growth=growth, residual=residual)
                _update_sizes(result, weights[row.name])
                if not new.is_meta and old.isfinite().all() and not new.isfinite().all():
                    overflown.append(f"{row.name} ({str(new.dtype).removeprefix('torch.')})")
            rows.append(row)
        if into is not None:
            _check_result(weights, into)
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
    poor = [row.name for row in rows if (row.residual or 0) > POOR]
    if poor:
        warnings.warn(
            f"less than half of the response is reproduced by the kernels of {', '.join(poor)}. "
            "The report gives the residuals; stencils='copy' copies all kernels.",
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


def _check_into(model: nn.Module, into: nn.Module) -> None:
    """Raise unless two networks hold weights of the same names, dtypes and devices."""
    if not isinstance(into, nn.Module):
        raise TypeError(f"into must be a torch.nn.Module, got a {type(into).__name__}.")
    ours, theirs = (dict(net.named_parameters()) for net in (model, into))
    if ours.keys() != theirs.keys():
        raise ValueError(
            f"{min(ours.keys() ^ theirs.keys())} is a weight of one of model and into, not of "
            "both. Give a network of the same class as into."
        )
    for name, weight in ours.items():
        kinds = [f"{w.dtype} on {w.device}" for w in (weight, theirs[name])]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"{name} is {kinds[0]} in model and {kinds[1]} in into. Move into to the dtype and "
                "the device of model."
            )


def _take_weights(model: nn.Module, result: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put numbers, ``requires_grad`` and modes of `model` into a network made for another size.

    Buffers of another size, such as the indices of relative positions, belong to the resolution.
    """
    modules = dict(result.named_modules())
    for name, module in model.named_modules():
        if name in modules:
            modules[name].training = module.training
    for name, weight in model.named_parameters():
        weights[name].data = weight.detach().clone()
        weights[name].requires_grad_(weight.requires_grad)
    for name, buffer in model.named_buffers():
        if name in weights and weights[name].shape == buffer.shape:
            weights[name].data = buffer.detach().clone()


def _check_result(weights: dict[str, Tensor], into: nn.Module) -> None:
    """Raise ValueError unless the new weights have the shapes that a network was made with."""
    for name, made in into.named_parameters():
        if weights[name].shape != made.shape:
            raise ValueError(
                f"{name} becomes {tuple(weights[name].shape)}, but into has {tuple(made.shape)}. "
                "Give a network that differs from model only in the size of its inputs."
            )


def _shapes(
    input_shape: Sequence[int],
    refining: bool,
    to: int | Sequence[int] | None,
    axes: int | Sequence[int] | None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Check the arguments and return the two input shapes."""
    old = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    if not 2 <= len(old) <= 4 or any(not isinstance(n, int) or n < 1 for n in old):
        raise ValueError(
            "input_shape must be (channels, *grid) of one input that model takes, positive "
            f"integers with one to three grid axes, got {input_shape!r}."
        )
    d = len(old) - 1
    if to is not None:
        return old, (old[0], *_new_grid(old[1:], refining, to, axes))
    listed = range(d) if axes is None else axes if isinstance(axes, Iterable) else (axes,)
    chosen = tuple(listed)
    if not chosen or any(not isinstance(axis, int) or not 0 <= axis < d for axis in chosen):
        raise ValueError(f"axes must be some of the grid axes 0 to {d - 1}, got {axes!r}.")
    if not refining and any(old[1 + axis] % 2 for axis in chosen):
        raise ValueError(
            f"input_shape must have even grid axes, which can be halved, got {input_shape!r}."
        )
    grid = [
        (2 * n if refining else n // 2) if axis in chosen else n for axis, n in enumerate(old[1:])
    ]
    return old, (old[0], *grid)


def _new_grid(
    old: tuple[int, ...],
    refining: bool,
    to: int | Sequence[int],
    axes: int | Sequence[int] | None,
) -> tuple[int, ...]:
    """Check the argument `to` and return it."""
    new = tuple(to) if isinstance(to, Iterable) else (to,)
    if len(new) != len(old) or any(not isinstance(n, int) or n < 1 for n in new):
        raise ValueError(
            f"to must be {len(old)} positive integers, as many as input_shape has grid axes, got "
            f"{to!r}."
        )
    if axes is not None:
        raise ValueError(
            "to and axes are both given. Leave out axes, and repeat in to the sizes that stay."
        )
    wrong = [(a, b) for a, b in zip(old, new, strict=True) if (b < a if refining else b > a)]
    if wrong:
        other, size = ("coarsen", "smaller") if refining else ("refine", "larger")
        raise ValueError(
            f"to must not be {size} than the grid {old} along any axis, got {new}. Use {other} for "
            f"the axes that become {size}."
        )
    if new == old:
        raise ValueError(f"to is the grid {old} of input_shape. Give another size.")
    return new
