"""What each weight of a network does in one forward pass, found by running it.

Operations are watched where PyTorch dispatches them, below modules and functions alike: a
convolution is seen whether a module or a bare function runs it, and a dense layer's input is known
as maps whatever flattened them (``nn.Flatten``, ``torch.flatten``, ``view``, a transpose before).
A pass at a resolution that the dense layers do not fit yet is carried through as well.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from mgcore.refinement.layouts import TURNING, Axis, Factor, Layout, follow, maps, order

aten = torch.ops.aten
VIEWING = TURNING | {aten.detach, aten.alias}
# Reductions whose result grows with the number of cells that they reduce.
ACCUMULATING = {
    aten.sum, aten.nansum, aten.prod, aten.logsumexp, aten.norm, aten.linalg_vector_norm,
    aten.cumsum, aten.cumprod,
}  # fmt: skip
# Hooks that compute a layer's weight before it is used; every other hook is the user's.
COMPUTING_HOOKS = (WeightNorm, SpectralNorm, BasePruningMethod)
COMPUTED = (
    "Make it a plain parameter first (torch.nn.utils.parametrize.remove_parametrizations, "
    "torch.nn.utils.remove_weight_norm or torch.nn.utils.prune.remove)."
)


@dataclass(frozen=True)
class Use:
    """One convolution or matrix product with a weight.

    Attributes
    ----------
    weight : str
        Name of the parameter; empty where the weight is computed from others.
    module : str
        The module entered last.
    kind : {"convolution", "transposed convolution", "dense"}
    shape : tuple of int
        Of the weight.
    axis : int
        The axis of the weight that a dense layer sums over: 1 for ``nn.Linear``, 0 for ``x @ w``.
    reads : Axis or None
        The factors of the index that is summed over; for a convolution the cells that it writes,
        one factor an axis of the grid.  None where they are not known.
    count : int
        Numbers that a dense layer finds before it; its weight was made for ``shape[axis]``.
    stride, dilation, groups
        Of a convolution.
    """

    weight: str
    module: str
    kind: str
    shape: tuple[int, ...]
    reads: Axis | None
    axis: int = 1
    count: int = 0
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    @property
    def fits(self) -> bool:
        """Whether the weight is made for what it meets."""
        return self.kind != "dense" or self.count == self.shape[self.axis]


class ForwardError(RuntimeError):
    """A forward pass failed at `place`: parameters of the operation, else the module entered."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place


@dataclass(frozen=True)
class Reduction:
    """One operation whose result grows with the number of cells that it reduces.

    Attributes
    ----------
    module : str
        The module entered last.
    operation : str
        Its name in PyTorch.
    count : int
        Numbers that are reduced to one.
    """

    module: str
    operation: str
    count: int


@dataclass(frozen=True)
class Trace:
    """What one forward pass did.

    Attributes
    ----------
    uses : list of Use
        Every convolution and matrix product with a weight, in the order of the calls.
    reductions : list of Reduction
        Every reduction of :data:`ACCUMULATING`, in the order of the calls.
    touched : frozenset of str
        Parameters that took part in any operation.
    outputs : list of (tuple of int, Layout or None)
        The shape of each tensor that the model returned, and what its axes run over.
    """

    uses: list[Use]
    reductions: list[Reduction]
    touched: frozenset[str]
    outputs: list[tuple[tuple[int, ...], Layout | None]]


def trace(model: nn.Module, input_shape: Sequence[int]) -> Trace:
    """Run `model` once, in eval mode and without gradients, and return what its weights did.

    A compiled model is run as the module that it was made from.

    Parameters
    ----------
    model : Module
        Left as it was.
    input_shape : sequence of int
        (channels, *grid): one input without its batch axis.  Two such inputs are sent, all zeros.

    Returns
    -------
    Trace

    Raises
    ------
    ForwardError
        If the model does not run at this shape for another reason than that a dense layer is too
        small or too large.
    """
    example = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    x = torch.zeros(2, *input_shape, dtype=example.dtype, device=example.device)
    training = {module: module.training for module in model.modules()}
    named = [*model.named_buffers(), *model.named_parameters()]
    tracer = _Tracer({tensor: name for name, tensor in named})
    inner = getattr(model, "_orig_mod", model)
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: tracer.enter(name))
        for name, module in model.named_modules()
    ]
    try:
        model.eval()
        eager = torch.compiler.set_stance("force_eager")  # a frame seen here is never compiled
        casts = x.device.type in ("cpu", "cuda", "mps", "xpu")
        plain = torch.autocast(x.device.type, enabled=False) if casts else nullcontext()
        with eager, plain, torch.no_grad(), tracer:
            tracer.layouts[x] = maps(x.shape)
            tracer.derived[x] = True
            result = inner(x)
            returned = [y for y in tree_leaves(result) if isinstance(y, Tensor)]
            outputs = [(tuple(y.shape), tracer.layouts.get(y)) for y in returned]
    except Exception as error:  # whatever a stranger's forward may raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        place = " and ".join(tracer.last) or tracer.module or type(model).__name__
        raise ForwardError(place, lines[0]) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in training.items():
            module.training = flag
    return Trace(tracer.uses, tracer.reductions, frozenset(tracer.touched), outputs)


class _Tracer(TorchDispatchMode):
    """Follow layouts from operation to operation, and note every use of a weight.

    A dispatch mode, as torch's own FlopCounterMode is.
    """

    def __init__(self, names: Mapping[Tensor, str]) -> None:
        super().__init__()
        self.uses: list[Use] = []
        self.last: tuple[str, ...] = ()  # parameters of the operation that runs
        self.layouts = WeakTensorKeyDictionary()
        self.names = WeakTensorKeyDictionary()  # parameters and their views: (name, is transposed)
        for parameter, name in names.items():
            self.names[parameter] = (name, False)
        self.derived = WeakTensorKeyDictionary()  # everything computed from the input
        self.reductions: list[Reduction] = []
        self.touched: set[str] = set()
        self.module = ""

    def enter(self, name: str) -> None:
        self.module = name.split(".parametrizations")[0]  # the layer that has them

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self.last = tuple(self.names[x][0] for x in tensors if x in self.names)
        self.touched.update(self.last)
        packet = func.overloadpacket
        if packet in (aten.mm, aten.addmm):
            out = self._product(func, args, kwargs or {})
        else:
            out = func(*args, **(kwargs or {}))
            if packet is aten.convolution:
                self._note_convolution(args, out)
            elif packet in VIEWING and args[0] in self.names and args[0].ndim == 2:
                name, flipped = self.names[args[0]]
                turned = packet in TURNING and order(packet, args) == [1, 0]
                self.names[out] = (name, flipped != turned)
        inputs = [x for x in tensors if x in self.layouts]
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor not in self.layouts and inputs:
                layout = follow(packet, args, inputs, [self.layouts[x] for x in inputs], tensor)
                if layout is not None:
                    self.layouts[tensor] = layout
        if any(x in self.derived for x in tensors):
            for tensor in tree_leaves(out):
                if isinstance(tensor, Tensor):
                    self.derived[tensor] = True
            if packet in ACCUMULATING:
                self._note_reduction(packet, args, out)
        self.last = ()
        return out

    def _note_reduction(self, packet, args: Sequence, out: Tensor) -> None:
        x = args[0]
        if packet in (aten.cumsum, aten.cumprod):
            count = x.shape[args[1]] if x.ndim else 1
        else:
            count = x.numel() // max(out.numel(), 1)
        self.reductions.append(Reduction(self.module, str(packet).partition(".")[2], count))

    def _note_convolution(self, args: Sequence, out: Tensor) -> None:
        self.layouts[out] = maps(out.shape)  # whatever was known of its input
        _, weight, _, stride, _, dilation, transposed, _, groups = args
        self.uses.append(
            Use(
                self.names.get(weight, ("", False))[0],
                self.module,
                "transposed convolution" if transposed else "convolution",
                tuple(weight.shape),
                tuple(Factor("grid", size) for size in out.shape[2:]),
                stride=tuple(stride),
                dilation=tuple(dilation),
                groups=groups,
            )
        )

    def _product(self, func, args: Sequence, kwargs: Mapping) -> Tensor:
        """Note x @ W.T; where the two do not fit, go on with zeros of the right shape."""
        x, matrix = args[-2:]
        fits = x.shape[1] == matrix.shape[0]
        name, flipped = self.names.get(matrix, ("", True))
        layout = self.layouts.get(x)
        reads = layout[1] if layout else None
        shape = tuple(matrix.T.shape if flipped else matrix.shape)
        self.uses.append(Use(name, self.module, "dense", shape, reads, int(flipped), x.shape[1]))
        out = func(*args, **kwargs) if fits else x.new_zeros(x.shape[0], matrix.shape[1])
        if layout:
            self.layouts[out] = (layout[0], (Factor("channel", out.shape[1]),))
        return out


def copy_module(model: nn.Module) -> nn.Module:
    """Return a deep copy of a module whose parameters are ordinary tensors.

    Raises
    ------
    ValueError
        If a tensor of the module is computed from others and cannot be copied.
    """
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        for place, module in model.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and value.grad_fn is not None:
                    full = f"{place}.{name}" if place else name
                    raise ValueError(
                        f"{full} is computed from other tensors, and a model with such a tensor "
                        f"cannot be copied. {COMPUTED}"
                    ) from error
        raise


def trace_both(
    model: nn.Module, here: tuple[int, ...], there: tuple[int, ...]
) -> tuple[list[tuple[Use, Use]], Trace, Trace]:
    """Run a copy of `model` at the shape it is made for and at another; pair what weights did.

    Parameters
    ----------
    model : Module
        Its own hooks are not called, except those that compute a weight.
    here, there : tuple of int
        (channels, *grid).

    Returns
    -------
    pairs : list of (Use, Use)
        The uses that a rule must decide.
    before, after : Trace
        Of the two passes; :func:`check_outputs` looks at what they returned.

    Raises
    ------
    ValueError
        If the model is not made for the first shape; if it cannot run at the second or takes
        another path there; or if it reduces the grid by an operation whose result grows with
        the number of cells.
    """
    scratch = copy_module(model)
    _drop_hooks(scratch)
    try:
        before = trace(scratch, here)
    except ForwardError as error:
        raise ValueError(
            f"input_shape={here}: the model does not run there ({error}). Give the shape of one "
            "input that the model takes, without the batch; wrap a model of several inputs in a "
            "module that takes one tensor."
        ) from error
    for use in before.uses:
        if not use.fits:
            raise ValueError(
                f"input_shape={here}: {use.weight or use.module} reads {use.shape[use.axis]} "
                f"numbers and finds {use.count}. Give the shape that the model takes."
            )
    try:
        after = trace(scratch, there)
    except ForwardError as error:
        raise ValueError(
            f"model does not run at {there} because of {error.place} ({error}). Sizes in its "
            "forward pass must follow from the size of the input, except in dense layers."
        ) from error
    if [(u.weight, u.kind) for u in before.uses] != [(u.weight, u.kind) for u in after.uses]:
        raise ValueError(
            f"model runs through other layers at {there} than at {here}. The path of its forward "
            "pass must not depend on the resolution."
        )
    _check_reductions(before, after)
    pairs = zip(before.uses, after.uses, strict=True)
    found = [(use, other) for use, other in pairs if use.weight or not other.fits or use.stride]
    return found, before, after


def _drop_hooks(model: nn.Module) -> None:
    """Remove the user's hooks from a scratch copy, so that tracing does not call them."""
    for module in model.modules():
        module._forward_hooks.clear()
        for key, hook in list(module._forward_pre_hooks.items()):
            if not isinstance(hook, COMPUTING_HOOKS):
                del module._forward_pre_hooks[key]


def _check_reductions(before: Trace, after: Trace) -> None:
    for one, other in zip(before.reductions, after.reductions, strict=False):
        if one.operation == other.operation and one.count != other.count:
            raise ValueError(
                f"{one.module or 'model'} reduces {one.count} numbers by {one.operation}, and "
                f"{other.count} at the new resolution, so that its result would grow with the "
                "number of cells. Use a mean over the grid instead."
            )


def check_outputs(before: Trace, after: Trace, there: tuple[int, ...]) -> None:
    """Refuse outputs that mix images, and maps whose grid does not change with the input's."""
    pairs = zip(before.outputs, after.outputs, strict=False)
    for number, ((old, layout), (new, _)) in enumerate(pairs):
        if old and new and old[0] != new[0] and old[0] == 2:
            raise ValueError(
                f"output {number} has {new[0]} rows for a batch of 2 at {there}: the forward pass "
                "reshapes to a fixed size and would mix images. Take sizes from the input, as "
                "x.flatten(1) does."
            )
        if len(old) != 1 + len(there) or old != new:
            continue
        kinds = [factor.kind for axis in layout or () for factor in axis if factor.size > 1]
        if max(old[2:]) > 1 and (layout is None or "grid" in kinds):
            writers = [
                use.weight or use.module
                for use, other in zip(before.uses, after.uses, strict=True)
                if use.kind != "dense" and use.reads == other.reads
            ]
            culprit = f" ({writers[0]} is the first to write it)" if writers else ""
            raise ValueError(
                f"output {number} is a map of {'×'.join(map(str, old[2:]))} cells and keeps that "
                f"size at {there}{culprit}. Layers that write maps must take their size from the "
                "input, as interpolate(scale_factor=2) does, not from a fixed number."
            )
