"""Find what each weight of a network does by running one forward pass.

Operations are observed where PyTorch dispatches them, below modules and functions alike: a
convolution is found whether a module or a function runs it, and the input of a dense layer is
recognised as flattened maps however they were flattened (``nn.Flatten``, ``torch.flatten``,
``view``, a transpose before it).  A pass at a resolution that the dense layers do not fit yet is
continued with zeros of the right shape.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
import math
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from mgcore.refinement.layouts import (
    REGROUPING,
    TRANSPOSING,
    Axis,
    Factor,
    Layout,
    argument,
    axis_size,
    has_grid,
    layout_of_maps,
    result_layout,
    transposed_axes,
)
from mgcore.refinement.scaling import (
    FOURIER,
    NORMALIZING,
    SOFTMAX,
    STEADY,
    SUMMING,
    UNSCALABLE,
    reduced_cells,
    result_factor,
)

Network = TypeVar("Network", bound=nn.Module)
aten = torch.ops.aten
# Operations whose result holds the numbers of a weight, perhaps transposed or in another dtype.
ALIASING = TRANSPOSING | {aten.detach, aten.alias, aten._to_copy, aten.clone}
BATCH = 2  # inputs of a traced pass; one could not be told from an axis of size 1
# Operations that take no more than the shape, dtype and device of a tensor.
CREATING = {
    aten.new_zeros, aten.new_ones, aten.new_full, aten.new_empty, aten.zeros_like, aten.ones_like,
    aten.full_like, aten.empty_like,
}  # fmt: skip
# Recurrences in one operation, with the place of the argument batch_first (none: the first axis is
# that of the steps).  On other devices they are a product for each step.
RECURRENCES: dict[str, int | None] = {"mkldnn_rnn_layer": None, "_cudnn_rnn": 10, "miopen_rnn": 8}
WRITING = {aten.fill_, aten.zero_, aten.copy_}  # into the cells of a slice
HOOKS = ("_forward_pre_hooks", "_forward_hooks")


@dataclass(frozen=True)
class Use:
    """One convolution, matrix product or addition with a weight.

    Attributes
    ----------
    weight : str
        Name of the parameter or buffer; empty where the weight is computed.
    module : str
        The module whose forward runs.
    kind : {"convolution", "transposed convolution", "dense", "position table"}
        A position table holds a number for each cell of a grid, and is added to maps or tokens.
    shape : tuple of int
        Shape of the weight.
    axis : int
        The axis of the weight that a dense layer sums over: 1 for ``nn.Linear``, 0 for ``x @ w``.
    reads : Axis or None
        The factors of the index that is summed over; for a convolution the cells that it writes,
        one factor for each axis of the grid; for a position table the cells that it is added to.
        None where they are not known.
    count : int
        How many numbers the dense layer, or `axis` of the position table, receives; the weight was
        made for ``shape[axis]``.
    stride, dilation, groups
        Of a convolution.
    layout : Layout
        Of a position table: for each axis the factors that it runs over, with a factor of kind
        "token" for class tokens before or behind the cells; empty where it holds no grid.
    computed_from : str
        What a computed weight is computed from, and the last operation.
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
    computed_from: str = ""
    layout: Layout = ()

    @property
    def fits(self) -> bool:
        """Whether the weight has the size of its input."""
        if self.kind == "position table":
            sizes = [axis_size(axis) for axis in self.layout]
            return all(n in (0, m) for n, m in zip(sizes, self.shape, strict=True))
        return self.kind != "dense" or self.count == self.shape[self.axis]


@dataclass(frozen=True)
class Scaled:
    """The factor by which an activation depends on the number of cells, and its first cause."""

    factor: float
    operation: str
    module: str


@dataclass(frozen=True)
class Event:
    """Something in a forward pass that must be the same at two resolutions.

    Attributes
    ----------
    kind : {"scale", "view"}
        A sum over cells that reaches an operation which sees the factor, or a view that may put
        cells on the batch axis.
    value : float
        The factor; 0 for a view.
    operation, module : str
        Where the sum or the view stands.
    """

    kind: str
    value: float
    operation: str
    module: str


@dataclass(frozen=True)
class Sizes:
    """How much an operation takes and gives that is not known to keep values.

    Numbers; of a slice, cells along its axis.
    """

    taken: int
    given: int
    operation: str
    module: str


@dataclass(frozen=True)
class Output:
    """One tensor that a network returns.

    Attributes
    ----------
    shape : tuple of int
    layout : Layout or None
    place : str
        The last operation that gave a map a size of its own, with its module; may be empty.
    """

    shape: tuple[int, ...]
    layout: Layout | None
    place: str


@dataclass
class Trace:
    """What one forward pass shows.

    Attributes
    ----------
    uses : list of Use
        In the order of the calls.
    outputs : list of Output
    events : list of Event
    sizes : list of Sizes
    other_uses : dict
        The name of a weight to the last operation, neither a convolution nor a matrix product,
        that used it.
    """

    uses: list[Use] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    sizes: list[Sizes] = field(default_factory=list)
    other_uses: dict[str, str] = field(default_factory=dict)


class ForwardError(RuntimeError):
    """A forward pass failed at `place`: parameters of the operation, else the module."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place


def copy_model(model: Network) -> Network:
    """Return a deep copy of `model`, also where it keeps results of an earlier forward pass.

    ``copy.deepcopy`` refuses tensors that belong to a graph, such as the weight that
    ``torch.nn.utils.weight_norm`` and ``prune`` compute and store.  Their numbers are copied
    without the graph.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in [*vars(module).values(), *module._buffers.values()]:
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)


def weight_hook(module: nn.Module) -> str:
    """Return the torch utility that computes a weight of `module` in a hook, or an empty string."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            return "weight_norm (undo it with torch.nn.utils.remove_weight_norm)"
        if isinstance(hook, SpectralNorm):
            return "spectral_norm (undo it with torch.nn.utils.remove_spectral_norm)"
        if isinstance(hook, BasePruningMethod):
            return "prune (make it permanent with torch.nn.utils.prune.remove)"
    return ""


@contextlib.contextmanager
def _quiet(model: nn.Module, device: str) -> Iterator[None]:
    """Run `model` in eval mode, without gradients, hooks, autocast or compilation; then restore.

    A compiled forward that runs once under a dispatch mode would never be compiled again, in any
    instance of its class.
    """
    modes = {module: module.training for module in model.modules()}
    hooks = {m: [getattr(m, name) for name in HOOKS] for m in model.modules()}
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        if torch.amp.is_autocast_available(device):
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.no_grad())
        try:
            for module in model.modules():
                for name in HOOKS:
                    setattr(module, name, OrderedDict())
            model.eval()
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
                for name, registered in zip(HOOKS, hooks[module], strict=True):
                    setattr(module, name, registered)


def trace(model: nn.Module, input_shape: Sequence[int]) -> Trace:
    """Run `model` once, in eval mode and without gradients, and return what its weights do.

    Parameters
    ----------
    model : Module
        Left as it was; its hooks do not run.
    input_shape : sequence of int
        (channels, *grid): one input without its batch axis.  Two such inputs of zeros are sent.

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
    x = torch.zeros(BATCH, *input_shape, dtype=example.dtype, device=example.device)
    tracer = Tracer(itertools.chain(model.named_parameters(), model.named_buffers()))
    try:
        with _quiet(model, x.device.type):
            for name, module in model.named_modules():
                module.register_forward_pre_hook(lambda *_, name=name: tracer.enter(name))
                module.register_forward_hook(lambda *_: tracer.leave())
            with tracer:
                tracer.start(x)
                result = model(x)
    except Exception as error:  # any error that a user's forward may raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        place = " and ".join(tracer.last) or tracer.module or type(model).__name__
        raise ForwardError(place, lines[0]) from error
    tracer.finish(result)
    return tracer.found


class Tracer(TorchDispatchMode):
    """Follow layouts from operation to operation, and record every use of a weight.

    A dispatch mode, as torch's own FlopCounterMode is.

    Parameters
    ----------
    named : iterable of (str, Tensor)
        The weights.
    """

    def __init__(self, named: Iterator[tuple[str, Tensor]] | Sequence = ()) -> None:
        super().__init__()
        self.found = Trace()
        self.last: tuple[str, ...] = ()  # weights of the operation that runs
        self.layouts = WeakTensorKeyDictionary()
        self.names = WeakTensorKeyDictionary()  # weights and views: (name, is transposed)
        self.computed = WeakTensorKeyDictionary()  # from weights alone: (their names, operation)
        self.places = WeakTensorKeyDictionary()  # activations: see Output.place
        self.scaled = WeakTensorKeyDictionary()  # activations whose factor is not 1
        self.tokens = WeakTensorKeyDictionary()  # cells beside class tokens: (axis, its factors)
        self.prefixes: set[int] = set()  # numbers of class tokens that were put before cells
        self.cuts = WeakTensorKeyDictionary()  # slices of maps: their place in found.sizes
        self.constants = WeakTensorKeyDictionary()  # made from the sizes of activations alone
        self.grid_axes = 0
        self.modules: list[str] = []
        for name, weight in named:
            self.names[weight] = (name, False)

    @property
    def module(self) -> str:
        """Name of the module whose forward runs."""
        return self.modules[-1] if self.modules else ""

    def enter(self, name: str) -> None:
        """Note that the forward of a module begins."""
        self.modules.append(name.split(".parametrizations")[0])  # the layer that has them

    def leave(self) -> None:
        """Note that it ends."""
        self.modules.pop()

    def start(self, x: Tensor) -> None:
        """Note the input of the network, (batch, channels, *grid)."""
        self.layouts[x] = layout_of_maps(x.shape)
        self.places[x] = ""
        self.grid_axes = x.ndim - 2

    def finish(self, result: Any) -> None:
        """Note what the network returns."""
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                place = self.places.get(tensor, "")
                layout = self.layouts.get(tensor)
                self.found.outputs.append(Output(tuple(tensor.shape), layout, place))
                cause = self.scaled.get(tensor)
                if cause and cause.factor > 1:  # a softmax over cells may be returned
                    self._note_scale(cause)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self.last = tuple(self.names[x][0] for x in tensors if x in self.names)
        packet = func.overloadpacket
        scaled = {id(x): self.scaled[x] for x in tensors if x in self.scaled}
        if packet in (aten.mm, aten.addmm):
            out = self._product(func, args, kwargs)
        elif packet in (aten.add, aten.add_) and not self._note_table(args):
            out = args[0].clone() if args[0] in self.places else args[1].clone()
        else:
            out = func(*args, **kwargs)
            if packet is aten.convolution:
                self._note_convolution(args, out)
            elif packet.__name__ in RECURRENCES:
                batch_first = RECURRENCES[packet.__name__]
                axis = 1 if batch_first is not None and args[batch_first] else 0
                self._note_recurrence(args[0].shape[axis], tensors)
            else:
                self._follow_weights(packet, args, tensors, out)
        if packet is aten.cat:
            self._note_tokens(args[0], args[1] if len(args) > 1 else 0, out)
        activations = [x for x in tensors if x in self.places]
        known = [x for x in activations if x in self.layouts]
        for tensor in tree_leaves(out):
            if not isinstance(tensor, Tensor) or not activations:
                continue
            if tensor not in self.layouts and known:
                layouts = [self.layouts[x] for x in known]
                layout = result_layout(func, args, kwargs, known, layouts, tensor)
                if layout is not None:
                    self.layouts[tensor] = layout
                elif packet in REGROUPING and self._mixes_images(known[0], layouts[0], tensor):
                    event = Event("view", 0.0, packet.__name__, self.module)
                    self.found.events.append(event)
            place = next((self.places[x] for x in activations if self.places[x]), "")
            self.places[tensor] = self._place(packet, activations[0], tensor) or place
        if activations:
            self._follow_scale(func, args, kwargs, scaled, out)
            if packet in CREATING or all(x in self.constants for x in activations):
                for tensor in tree_leaves(out):
                    if isinstance(tensor, Tensor):
                        self.constants[tensor] = True
            else:
                self._note_sizes(packet, args, activations, out)
        self.last = ()
        return out

    @staticmethod
    def _mixes_images(x: Tensor, layout: Layout, out: Tensor) -> bool:
        """Return whether a view of maps that cannot be followed may put cells on the batch axis.

        A view that cuts maps into windows, image by image, leaves the batch axis as it is.
        """
        apart = all(factor.kind == "batch" for factor in layout[0])
        return has_grid(layout) and not (apart and out.ndim and out.shape[0] == x.shape[0])

    def _place(self, packet: Any, x: Tensor, out: Tensor) -> str:
        """Return where a map gets a size that need not follow from the input's, if it does."""
        name = packet.__name__
        resized = "upsample" in name or "adaptive" in name or name.startswith("grid_sampler")
        written = packet in REGROUPING and out.ndim == 2 + self.grid_axes != x.ndim
        return f"{self.module or 'forward'} ({name.strip('_')})" if resized or written else ""

    def _follow_weights(self, packet: Any, args: Sequence, tensors: list[Tensor], out: Any) -> None:
        """Note what becomes of weights that an operation receives."""
        if packet in ALIASING and args[0] in self.names:
            name, flipped = self.names[args[0]]
            if args[0].ndim == 2 or packet not in TRANSPOSING:
                turned = packet in TRANSPOSING and transposed_axes(packet, args) == [1, 0]
                self.names[out] = (name, flipped != turned)
                return
        operation = packet.__name__.strip("_")
        for name in self.last:
            self.found.other_uses[name] = operation
        if any(x in self.places for x in tensors):
            return
        names = set(self.last)
        for x in tensors:
            names |= self.computed[x][0] if x in self.computed else set()
        for tensor in tree_leaves(out):
            if names and isinstance(tensor, Tensor) and tensor not in self.names:
                self.computed[tensor] = (frozenset(names), operation)

    def _computed_from(self, weight: Tensor) -> str:
        names, operation = self.computed.get(weight, (frozenset(), ""))
        return f"{' and '.join(sorted(names))} by {operation}" if names else ""

    def _note_sizes(
        self, packet: Any, args: Sequence, activations: Sequence[Tensor], out: Any
    ) -> None:
        """Note the sizes of an operation that might reduce a grid by adding up its cells."""
        name = packet.__name__
        known = name.rstrip("_") in STEADY | SUMMING | SOFTMAX | UNSCALABLE
        weighted = name in ("convolution", "mm", "addmm") and (
            args[1 if name == "convolution" else -1] in self.names
            or args[1 if name == "convolution" else -1] in self.computed
        )
        given = sum(x.numel() for x in tree_leaves(out) if isinstance(x, Tensor))
        taken = sum(x.numel() for x in activations)
        if packet is aten.slice:  # only one axis becomes shorter, while others may grow
            axis, start = args[1], args[2] if len(args) > 2 else None
            taken, given = args[0].shape[axis], out.shape[axis]
            layout = self.layouts.get(args[0])
            cut = layout is not None and has_grid((layout[axis],))  # cells of maps are left out
            # Nothing, one cell such as a token, or all the tokens that were put before the cells.
            known = given < 2 or (given in self.prefixes and not start and not cut)
        if packet in WRITING or packet is aten.cat:
            self._forgive_cuts(packet, args, activations, out)
        if not (known or weighted):
            if packet is aten.slice:
                self.cuts[out] = len(self.found.sizes)
            self.found.sizes.append(Sizes(taken, given, name.strip("_"), self.module))
        if packet is aten.flip and args[0] in self.cuts:
            self.cuts[out] = self.cuts[args[0]]

    def _forgive_cuts(
        self, packet: Any, args: Sequence, activations: Sequence[Tensor], out: Tensor
    ) -> None:
        """Forget slices that lose no cell: cells are written there, or put beside all others.

        This is how a network pads its maps by itself.
        """
        dim = args[1] if packet is aten.cat and len(args) > 1 else 0
        for x in args[:1] if packet in WRITING else activations:
            place = self.cuts.get(x)
            if place is None:
                continue
            cut = self.found.sizes[place]
            if packet in WRITING or out.shape[dim] >= cut.taken:
                self.found.sizes[place] = replace(cut, taken=0)

    def _note_scale(self, cause: Scaled) -> None:
        event = Event("scale", cause.factor, cause.operation, cause.module)
        self.found.events.append(event)

    def _follow_scale(
        self, func: Any, args: Sequence, kwargs: Mapping, scaled: Mapping[int, Scaled], out: Any
    ) -> None:
        """Note the factor of an operation's result; an event where its arguments' matters."""
        name = func.overloadpacket.__name__
        name = name if name.startswith("__") else name.rstrip("_")
        cause = next(iter(scaled.values()), None)
        count, order = 1, 2.0
        if name in SUMMING | SOFTMAX | UNSCALABLE:
            summed = args[-2] if name in ("bmm", "baddbmm") else args[0]
            if summed in self.places:
                count = reduced_cells(func, name, args, kwargs, self.layouts.get(summed))
            order = float(argument(func, "ord", args, kwargs) or 0) or 2.0
        if name in UNSCALABLE and count > 1:
            self._note_scale(Scaled(count, name.strip("_"), self.module))
        number = any(isinstance(x, int | float) for x in args[:2])  # it may follow from a size
        starts = count > 1 or name in FOURIER or (name in ("mul", "div") and number)
        starts = starts or (name.startswith("avg_pool") and len(args) > 6)
        if cause is None and (not starts or name in UNSCALABLE):
            return
        if not isinstance(out, Tensor) and name in NORMALIZING:
            out = out[0]
        factors = {key: value.factor for key, value in scaled.items()}
        factor = result_factor(name, args, factors, count, order)
        if factor is None:
            for value in {id(v): v for v in scaled.values()}.values():
                self._note_scale(value)
            factor = 1 / count if name in SOFTMAX else None
        for tensor in tree_leaves(out):
            if not isinstance(tensor, Tensor):
                continue
            if factor is None or math.isclose(factor, 1.0):
                self.scaled.pop(tensor, None)  # an in-place operation returns its argument
            else:
                self.scaled[tensor] = (
                    Scaled(factor, cause.operation, cause.module)
                    if cause
                    else Scaled(factor, name.strip("_"), self.module)
                )

    def _note_convolution(self, args: Sequence, out: Tensor) -> None:
        self.layouts[out] = layout_of_maps(out.shape)  # whatever was known of its input
        _, weight, _, stride, _, dilation, transposed, _, groups = args
        self.found.uses.append(
            Use(
                self.names.get(weight, ("", False))[0],
                self.module,
                "transposed convolution" if transposed else "convolution",
                tuple(weight.shape),
                tuple(Factor("grid", size) for size in out.shape[2:]),
                stride=tuple(stride),
                dilation=tuple(dilation),
                groups=groups,
                computed_from=self._computed_from(weight),
            )
        )

    def _note_recurrence(self, steps: int, tensors: Sequence[Tensor]) -> None:
        """Note a use of the matrices for each step of a recurrence."""
        for matrix in [w for w in tensors if w in self.names and w.ndim == 2] * steps:
            name, shape = self.names[matrix][0], tuple(matrix.shape)
            self.found.uses.append(Use(name, self.module, "dense", shape, None, count=shape[1]))

    def _note_tokens(self, parts: Sequence[Tensor], dim: int, out: Tensor) -> None:
        """Note where class tokens are put before or behind the cells of a grid."""
        dim %= out.ndim
        layouts = [self.layouts.get(part) for part in parts]
        places = [
            k for k, layout in enumerate(layouts) if layout and has_grid(layout[dim : dim + 1])
        ]
        if len(places) != 1:
            return
        (place,) = places
        before, behind = (
            sum(part.shape[dim] for part in some) for some in (parts[:place], parts[place + 1 :])
        )
        factors = [*layouts[place][dim]]
        if before:
            factors.insert(0, Factor("token", before))
            self.prefixes.add(before)
        if behind:
            factors.append(Factor("token", behind))
        self.tokens[out] = (dim, tuple(factors))

    def _note_table(self, args: Sequence) -> bool:
        """Note an addition of a weight to the cells of a grid; return whether the sizes fit."""
        tensors = [x for x in args[:2] if isinstance(x, Tensor)]
        weight = next((x for x in tensors if x in self.names), None)
        x = next((x for x in tensors if x in self.places), None)
        if weight is None or x is None or x.ndim < weight.ndim or self.names[weight][1]:
            return True
        layout = list(self.layouts.get(x) or ((),) * x.ndim)
        if x in self.tokens:
            axis, factors = self.tokens[x]
            layout[axis] = factors
        axes = tuple(
            axis if size > 1 and has_grid((axis,)) else ()
            for axis, size in zip(layout[x.ndim - weight.ndim :], weight.shape, strict=True)
        )
        if not any(axes):
            return True
        first = next(k for k, axis in enumerate(axes) if axis)
        use = Use(
            self.names[weight][0], self.module, "position table", tuple(weight.shape),
            tuple(f for axis in axes for f in axis if f.kind == "grid"), first,
            axis_size(axes[first]), layout=axes,
        )  # fmt: skip
        self.found.uses.append(use)
        return use.fits

    def _product(self, func: Any, args: Sequence, kwargs: Mapping) -> Tensor:
        """Note x @ W.T; where the two do not fit, return zeros of the right shape."""
        x, matrix = args[-2:]
        fits = x.shape[1] == matrix.shape[0]
        name, flipped = self.names.get(matrix, ("", True))
        layout = self.layouts.get(x)
        reads = layout[1] if layout else None
        shape = tuple(matrix.T.shape if flipped else matrix.shape)
        self.found.uses.append(
            Use(
                name, self.module, "dense", shape, reads, int(flipped), x.shape[1],
                computed_from=self._computed_from(matrix),
            )
        )  # fmt: skip
        out = func(*args, **kwargs) if fits else x.new_zeros(x.shape[0], matrix.shape[1])
        if layout:
            self.layouts[out] = (layout[0], (Factor("channel", out.shape[1]),))
        return out


def trace_both(
    model: nn.Module,
    old_shape: tuple[int, ...],
    new_shape: tuple[int, ...],
    into: nn.Module | None = None,
    sums: str = "raise",
) -> tuple[Trace, Trace]:
    """Run a copy of `model` at the shape it is made for and at another.

    Parameters
    ----------
    model : Module
    old_shape, new_shape : tuple of int
        (channels, *grid).
    into : Module, optional
        The network that runs at the second shape, where `model` cannot.
    sums : {"raise", "warn"}
        What to do if the model sums over cells that become more or fewer.

    Returns
    -------
    tuple of Trace
        The passes at the two shapes; their uses correspond one to one.

    Raises
    ------
    ValueError
        If the model is not made for the first shape, cannot run at the second, takes another
        path there, or sums over cells that become more or fewer.
    """
    scratch = copy_model(model)
    try:
        before = trace(scratch, old_shape)
    except ForwardError as error:
        raise ValueError(
            f"model does not run at input_shape={old_shape} because of {error.place} ({error}). "
            f"{_advice(model)}"
        ) from error
    for use in before.uses:
        if not use.fits:
            raise ValueError(
                f"{use.weight or use.module} is made for {use.shape[use.axis]} numbers, but "
                f"input_shape={old_shape} gives {use.count}. Give the shape of the inputs that "
                "model takes now."
            )
    try:
        after = trace(scratch if into is None else copy_model(into), new_shape)
    except ForwardError as error:
        if into is not None:
            raise ValueError(
                f"into does not run at {new_shape} because of {error.place} ({error}). Give a "
                "network that is made for inputs of this shape."
            ) from error
        raise ValueError(
            f"model does not run at {new_shape} because of {error.place} ({error}). Let all sizes "
            "in its forward pass follow from the input's; dense layers may be fixed. Or give a "
            "network of the same class that is made for the new size as into."
        ) from error
    if [(u.weight, u.kind) for u in before.uses] != [(u.weight, u.kind) for u in after.uses]:
        raise ValueError(_other_layers(before, after, old_shape, new_shape))
    _check_sums(before, after, sums)
    return before, after


def _other_layers(
    before: Trace, after: Trace, old_shape: tuple[int, ...], new_shape: tuple[int, ...]
) -> str:
    """Return the sentence on a model that takes another path at another resolution."""
    old, new = (Counter(use.weight for use in trace.uses) for trace in (before, after))
    counts = [(name, old[name], new[name]) for name in old | new if old[name] != new[name]]
    name, times, later = max(counts, key=lambda each: abs(each[2] - each[1]), default=("", 0, 0))
    if name and times > 1 and later > 1:
        return (
            f"{name} is used {later} times at {new_shape} and {times} times at {old_shape}. A "
            "recurrence along the cells of a grid, or a loop whose length follows from their "
            "number, has no rule. Use a layer that is called equally often."
        )
    return (
        f"model uses other layers at {new_shape} than at {old_shape}. Its forward pass must not "
        "depend on the resolution."
    )


def _advice(model: nn.Module) -> str:
    """Return what may help a model that does not run on one input."""
    try:
        inspect.signature(model.forward).bind(None)
    except (TypeError, ValueError):
        wrap = "Wrap it in a module whose forward takes that tensor alone."
        return f"It is called with one tensor (batch, channels, *grid). {wrap}"
    return "Give the shape of one input that it takes, (channels, *grid)."


def _check_sums(before: Trace, after: Trace, sums: str) -> None:
    """Raise ValueError at the first sum over cells that become more or fewer, or warn of all."""
    found = [*_different_events(before.events, after.events)]
    found += _different_sizes(before.sizes, after.sizes)
    if not found:
        return
    place, sentence, advice = found[0]
    if sums == "raise":
        raise ValueError(
            f"{place} {sentence} {advice}; refine and coarsen accept the change with sums='warn'."
        )
    others = len({place for place, _, _ in found} - {place})
    more = f" The same holds for {others} other operation{'s' * (others > 1)}." if others else ""
    # From here to the caller: trace_both, decide, _change_resolution, refine or coarsen.
    warnings.warn(f"{place} {sentence}{more} Train the network again.", stacklevel=6)


def _different_events(
    before: Sequence[Event], after: Sequence[Event]
) -> Iterator[tuple[str, str, str]]:
    """Yield the place, a sentence and advice for every sum that differs; raise at a view."""
    for old, new in itertools.zip_longest(before, after):
        if old and new and old.kind == new.kind and math.isclose(old.value, new.value):
            continue
        event = new or old
        place = f"{event.operation} in {event.module or 'the forward pass'}"
        if event.kind == "view":
            raise ValueError(
                f"{place} reshapes maps to a fixed size, which would mix images or cells at "
                "another resolution. Take all sizes from its input."
            )
        numbers = " → ".join(f"{e.value:g}" if e else "1" for e in (old, new))
        yield (
            place,
            f"adds up the cells of a grid, so that its result changes with their number "
            f"({numbers}).",
            "Use a mean over the cells",
        )


def _different_sizes(
    before: Sequence[Sizes], after: Sequence[Sizes]
) -> Iterator[tuple[str, str, str]]:
    """Yield the same for every operation that takes more numbers but gives as many."""
    for old, new in zip(before, after, strict=False):
        if old.operation == new.operation and old.taken != new.taken and old.given == new.given:
            yield (
                f"{new.operation} in {new.module or 'the forward pass'}",
                f"takes {old.taken} → {new.taken} numbers and gives {new.given} at both "
                "resolutions, and is not known to keep their values.",
                "Use a mean over the cells, or adaptive pooling",
            )
