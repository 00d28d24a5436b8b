"""The Triton kernels: their text run over arrays here, and by Triton's interpreter where it is."""

import importlib
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mgcore.thesis.ensemble import ensemble_gradient, stack, unstack
from mgcore.thesis.lowerings import LOWERINGS, check_lowering, circular_border, matrices, shifted
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import Objective

MODULE = "mgcore.thesis.triton_convolution"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # when this process began


class Number(int):
    """An index of a program, which Triton can widen."""

    def to(self, kind):
        return self


class Pointer:
    """An address in a tensor: its entries in order, and an offset."""

    def __init__(self, entries, offset=0):
        self.entries, self.offset = entries, offset
        self.dtype = SimpleNamespace(element_ty=entries.dtype)

    def __add__(self, more):
        return Pointer(self.entries, self.offset + more)


class Language:
    """What the kernels use of ``triton.language``, over arrays; every access is checked."""

    constexpr = int64 = None
    arange, where, maximum, trans, sum = map(
        staticmethod, (np.arange, np.where, np.maximum, np.transpose, np.sum)
    )

    def __init__(self):
        self.program, self.grid = (0, 0, 0), (1, 1, 1)
        self.written = {}

    def program_id(self, axis):
        return Number(self.program[axis])

    def num_programs(self, axis):
        return self.grid[axis]

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)

    def dot(self, a, b, total, input_precision):
        return total + a @ b

    def load(self, pointer, mask=True, other=None):
        mask = np.broadcast_to(mask, pointer.offset.shape)
        assert ((pointer.offset >= 0) & (pointer.offset < len(pointer.entries)) | ~mask).all()
        return np.where(mask, pointer.entries[np.where(mask, pointer.offset, 0)], other or 0)

    def store(self, pointer, values, mask=True):
        mask = np.broadcast_to(mask, pointer.offset.shape)
        where = pointer.offset[mask]
        counts = self.written.setdefault(id(pointer.entries), np.zeros(len(pointer.entries), int))
        np.add.at(counts, where, 1)
        pointer.entries[where] = values[mask]


class Kernel:
    """A kernel that is launched as Triton launches it, one program after another."""

    def __init__(self, function, language):
        self.function, self.language = function, language

    def __getitem__(self, grid):
        def launch(*given, num_warps, num_stages, **constants):
            arrays = [g.numpy().reshape(-1) if isinstance(g, torch.Tensor) else g for g in given]
            given = [Pointer(g) if isinstance(g, np.ndarray) else g for g in arrays]
            self.language.grid, self.language.written = grid, {}
            for place in np.ndindex(*grid):
                self.language.program = place
                self.function(*given, **constants)
            (counts,) = self.language.written.values()  # one result, written once and whole
            assert (counts == 1).all()

        return launch


@pytest.fixture(params=["interpreter" if INTERPRETED else "arrays"])
def kernels(request, monkeypatch):
    """The module, whose kernels run over arrays or in Triton's interpreter."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    if request.param == "interpreter":
        module = importlib.import_module(MODULE)
    else:
        monkeypatch.setitem(sys.modules, "triton", None)  # its import fails
        module = importlib.import_module(MODULE)
        found = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: name == "triton" or found(name)
        )
        language = Language()
        module.tl = language
        module.triton = SimpleNamespace(cdiv=lambda a, b: -(-a // b))
        for name in ("_correlate", "_weight_gradient"):
            setattr(module, name, Kernel(getattr(module, name), language))
    monkeypatch.setattr(module, "EXACT", module.Tiling(32, 1, 1, 32, 1, 1))
    yield module
    sys.modules.pop(MODULE, None)


def reference(x, kernels, padding):
    """ReLU of torch's convolution, network by network; maps are channels last."""
    found = []
    for one, weights in zip(x, kernels, strict=True):
        maps = one.permute(0, 3, 1, 2)
        if padding == "circular":
            maps = F.pad(maps, (1, 1, 1, 1), mode="circular")
        found.append(F.conv2d(maps, weights, padding=int(padding == "zeros")).permute(0, 2, 3, 1))
    return F.relu(torch.stack(found))


@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_the_convolution_and_its_gradients_are_torchs(kernels, padding, dtype, close, monkeypatch):
    """Rows and columns differ in number, and tiles end within an image and beyond the last."""
    monkeypatch.setitem(kernels.TILINGS, "ieee", kernels.Tiling(32, 1, 1, 32, 1, 1))
    monkeypatch.setattr(kernels, "PROGRAMS", 36)  # two sums for each weight gradient
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 6, 16, generator=draw, dtype=dtype).requires_grad_()
    w = torch.randn(2, 32, 16, 3, 3, generator=draw, dtype=dtype).requires_grad_()
    found = kernels.convolve_relu(x, matrices(w), padding, "ieee")
    expected = reference(x, w, padding)
    slope = torch.randn(expected.shape, generator=draw, dtype=dtype)
    torch.testing.assert_close(found, expected, rtol=close, atol=10 * close)
    for mine, theirs in zip(
        torch.autograd.grad(found, (x, w), slope), torch.autograd.grad(expected, (x, w), slope),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(mine, theirs, rtol=close, atol=20 * close)


@pytest.mark.parametrize("lowering", [name for name in LOWERINGS if name.startswith("triton")])
@pytest.mark.parametrize("pooling", [False, True])
def test_a_networks_gradient_is_that_of_one_alone(kernels, lowering, pooling):
    check_lowering(lowering, "cpu")  # the interpreter's variable is set
    draw = torch.Generator().manual_seed(1)
    objective = Objective(4, pooling, alpha_theta=0.1, alpha_w=0.2)
    networks = [initial_weights(4, pooling, draw) for _ in range(2)]
    images = torch.randn(2, 3, 1, 4, 4, generator=draw, dtype=torch.float64)
    labels = torch.randint(10, (2, 3), generator=draw)
    together = ensemble_gradient(objective, stack(networks), images, labels, lowering)
    for i, one in enumerate(unstack(together)):
        leaves = {k: w.requires_grad_() for k, w in networks[i].items()}
        alone = objective.gradient(leaves, images[i], labels[i])
        for name, g in alone.items():
            torch.testing.assert_close(one[name], g, rtol=1e-12, atol=1e-13)


@pytest.mark.skipif(INTERPRETED, reason="this is that process")
@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton is not installed: torch installs it on Linux with CUDA only",
)
def test_tritons_interpreter_agrees():
    """In a process of its own: Triton decides at its first import whether it interprets."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        capture_output=True, text=True, env=environment | {"TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_nine_shifted_products_are_a_convolution(padding):
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(2, 2, 3, 4, 2, generator=draw, dtype=torch.float64).requires_grad_()
    w = torch.randn(2, 3, 2, 3, 3, generator=draw, dtype=torch.float64).requires_grad_()
    found, expected = F.relu(shifted(x, matrices(w), padding)), reference(x, w, padding)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x, w: shifted(x, matrices(w), padding), (x, w))


def test_a_circular_border_has_the_opposite_rows_and_corners():
    x = torch.arange(12.0).view(1, 1, 3, 4, 1)
    expected = F.pad(x[0].permute(0, 3, 1, 2), (1, 1, 1, 1), mode="circular")
    assert torch.equal(circular_border(x)[0].permute(0, 3, 1, 2), expected)
