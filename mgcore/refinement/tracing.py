"""What each weight of a network does in one forward pass, found by running it.

Operations are watched where PyTorch dispatches them, below modules and functions alike: a
convolution is seen whether a module or a bare function runs it, and a dense layer's input is known
as maps whatever flattened them (``nn.Flatten``, ``torch.flatten``, ``view``, a transpose before).
A pass at a resolution that the dense layers do not fit yet is carried through as well.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from mgcore.refinement.layouts import TURNING, Axis, Factor, follow, maps, order

aten = torch.ops.aten
VIEWING = TURNING | {aten.detach, aten.alias}


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


def trace(model: nn.Module, input_shape: Sequence[int]) -> list[Use]:
    """Run `model` once, in eval mode and without gradients, and return what its weights did.

    Parameters
    ----------
    model : Module
        Left as it was.
    input_shape : sequence of int
        (channels, *grid): one input without its batch axis.  Two such inputs are sent, all zeros.

    Returns
    -------
    list of Use
        In the order of the calls.

    Raises
    ------
    ForwardError
        If the model does not run at this shape for another reason than that a dense layer is too
        small or too large.
    """
    example = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    x = torch.zeros(2, *input_shape, dtype=example.dtype, device=example.device)
    training = {module: module.training for module in model.modules()}
    tracer = _Tracer({p: name for name, p in model.named_parameters()})
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: tracer.enter(name))
        for name, module in model.named_modules()
    ]
    try:
        model.eval()
        with torch.no_grad(), tracer:
            tracer.layouts[x] = maps(x.shape)
            model(x)
    except Exception as error:  # whatever a stranger's forward may raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        place = " and ".join(tracer.last) or tracer.module or type(model).__name__
        raise ForwardError(place, lines[0]) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in training.items():
            module.training = flag
    return tracer.uses


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
        self.module = ""

    def enter(self, name: str) -> None:
        self.module = name.split(".parametrizations")[0]  # the layer that has them

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self.last = tuple(self.names[x][0] for x in tensors if x in self.names)
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
        self.last = ()
        return out

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


def trace_both(
    model: nn.Module, here: tuple[int, ...], there: tuple[int, ...]
) -> list[tuple[Use, Use]]:
    """Run a copy of `model` at the shape it is made for and at another; pair what weights did.

    Parameters
    ----------
    model : Module
    here, there : tuple of int
        (channels, *grid).

    Raises
    ------
    ValueError
        If the model is not made for the first shape, cannot run at the second, or takes another
        path there.
    """
    scratch = copy.deepcopy(model)
    try:
        before = trace(scratch, here)
    except ForwardError as error:
        raise ValueError(
            f"input_shape={here}: the model does not run there ({error}); accepted: the shape "
            "that the given model takes."
        ) from error
    for use in before:
        if not use.fits:
            raise ValueError(
                f"input_shape={here}: {use.weight or use.module} reads {use.shape[use.axis]} "
                f"numbers and finds {use.count}; accepted: the shape that the given model takes."
            )
    try:
        after = trace(scratch, there)
    except ForwardError as error:
        raise ValueError(
            f"model does not run at {there} because of {error.place} ({error}); accepted: a model "
            "whose sizes follow from the input's, but for dense layers."
        ) from error
    if [(u.weight, u.kind) for u in before] != [(u.weight, u.kind) for u in after]:
        raise ValueError(
            f"model runs through other layers at {there} than at {here}; accepted: a forward whose "
            "path does not depend on the resolution."
        )
    pairs = zip(before, after, strict=True)
    return [(use, other) for use, other in pairs if use.weight or not other.fits or use.stride]
