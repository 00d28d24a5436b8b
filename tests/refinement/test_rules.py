"""What becomes of each kind of layer, and which are refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore import refine
from mgcore.kernels import refine_classifier, refine_kernel


def single(**options):
    return nn.Sequential(nn.Conv2d(4, 4, **({"kernel_size": 3, "padding": 1} | options)))


@pytest.mark.parametrize(
    ("options", "done", "note"),
    [
        ({}, "refined", ""),
        ({"groups": 4}, "refined", ""),
        ({"groups": 2, "padding_mode": "circular"}, "refined", ""),
        ({"padding": "same"}, "refined", ""),
        ({"kernel_size": 1, "padding": 0}, "kept", "reads no neighbours"),
        ({"kernel_size": 5, "padding": 2}, "fitted", ""),
        ({"kernel_size": 7, "padding": 3, "stride": 2}, "fitted",
         "fitted before cells are left out; those kept lie 1/4 coarse cell apart"),
        ({"kernel_size": 2, "padding": 0, "stride": 2}, "fitted", ""),
        ({"dilation": 2, "padding": 2}, "copied",
         "no kernel of this width reproduces a tenth of the response"),
        ({"stride": 2}, "refined",
         "exact before cells are left out; those kept lie 1/4 coarse cell apart"),
        ({"padding": 0}, "refined", "neither grid is twice the other: their cells do not line up"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:less than half", "ignore:copied, since")
def test_each_kind_of_convolution_is_handled_and_said(options, done, note):
    model, said = single(**options), []
    fine = refine(model, (4, 16, 16), report=said.append)
    row = said[0]["0.weight"]
    assert (row.done, row.note) == (done, note)
    old, new = model[0].weight.detach(), fine[0].weight.detach()
    if done == "refined":
        assert torch.equal(new, refine_kernel(old)) and row.residual == 0
    elif done in ("kept", "copied"):
        assert torch.equal(new, old) and row.growth is row.residual is None
    else:
        assert 0 < row.residual < 1 and torch.allclose(new.sum((2, 3)), old.sum((2, 3)), atol=1e-5)
    if done in ("refined", "fitted"):
        assert row.growth == pytest.approx(float(new.norm() / old.norm()), rel=1e-5)
    copied = []
    refine(model, (4, 16, 16), stencils="copy", report=copied.append)
    assert copied[0]["0.weight"].done == ("kept" if done == "kept" else "copied")


def test_narrow_axes_of_a_stencil_stay():
    """1×3: the Galerkin map is a product over the axes, and an axis without neighbours has none."""
    model = single(kernel_size=(1, 3), padding=(0, 1))
    fine = refine(model, (4, 8, 8))
    assert torch.equal(fine[0].weight, refine_kernel(model[0].weight.detach(), ndim=1))
    model = single(kernel_size=(3, 1), padding=(1, 0))
    turned = refine_kernel(model[0].weight.detach().transpose(2, 3), ndim=1).transpose(2, 3)
    assert torch.equal(refine(model, (4, 8, 8))[0].weight, turned)


def test_a_poor_fit_is_warned_of():
    """Of what a transposed convolution writes into a cell, the fine one can keep the mean alone."""
    model = nn.Sequential(nn.ConvTranspose2d(2, 2, 2, stride=2))
    sentence = r"less than half of the response is reproduced by the kernels of 0\.weight\. "
    with pytest.warns(UserWarning, match=sentence):
        fine = refine(model, (2, 4, 4))
    mean = model[0].weight.mean((2, 3), keepdim=True).expand_as(model[0].weight)
    assert torch.allclose(fine[0].weight, mean, atol=1e-6)


@pytest.mark.parametrize("slope", [(1.0, 0.0), (0.0, 1.0), (0.5, -2.0)])
def test_stride_two_shifts_by_a_quarter_of_a_coarse_cell(slope, rng):
    """On linear images the restricted response is the coarse one, a quarter of a cell further."""
    model = single(stride=2).double()
    fine = refine(model, (4, 16, 16))
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    x = (slope[0] * rows + slope[1] * columns).double().expand(1, 4, 16, 16)
    finer = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    inside = (..., slice(2, -2), slice(2, -2))
    difference = (F.avg_pool2d(fine(finer), 2) - model(x))[inside]
    expected = sum(slope) / 4 * model[0].weight.sum((1, 2, 3))
    assert (difference - expected[:, None, None]).abs().max() < 1e-12


def test_no_stencil_three_cells_wide_satisfies_the_galerkin_condition_with_stride_two():
    """R S K P is singular in K for constant P, and four cells wide for bilinear P."""
    for kind, width in (("constant", 3), ("bilinear", 4)):
        columns = []
        for place in range(3):
            stencil = torch.zeros(1, 1, 3)
            stencil[0, 0, place] = 1
            impulses = torch.eye(16)[:, None]
            how = {"mode": "nearest"} if kind == "constant" else {"mode": "linear"}
            fine = F.conv1d(F.interpolate(impulses, scale_factor=2, **how), stencil, None, 2, 1)
            columns.append(F.avg_pool1d(fine, 2)[:, 0, 4])  # what output 4 reads of each input
        matrix = torch.stack(columns, 1)
        used = matrix.abs().sum(1) > 0
        assert int(used.sum()) == width
        if kind == "constant":
            assert torch.linalg.matrix_rank(matrix[used]) == 2


class Flattened(nn.Module):
    """Maps that reach a dense layer in one of the ways that people write."""

    WAYS = {
        "torch.flatten": lambda x: torch.flatten(x, 1),
        "view": lambda x: x.view(x.size(0), -1),
        "reshape": lambda x: x.reshape(len(x), -1),
        "two steps": lambda x: x.flatten(2).flatten(1),
        "dropout behind": lambda x: F.dropout(x.flatten(1), 0.5),
        "activation behind": lambda x: F.relu(x.flatten(1)),
        "channels last": lambda x: x.permute(0, 2, 3, 1).flatten(1),
        "columns first": lambda x: x.transpose(2, 3).reshape(len(x), -1),
        "pooled": lambda x: F.max_pool2d(x, 3, 1, 1).flatten(1),
    }  # fmt: skip

    def __init__(self, way, product="linear"):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 1)
        self.head = nn.Linear(3 * 4 * 6, 5)
        if product == "x @ w":
            self.head = nn.Module()
            self.head.weight = nn.Parameter(torch.randn(3 * 4 * 6, 5))
        self.way, self.product = self.WAYS[way], product

    def features(self, x):
        return self.way(self.conv(x))

    def forward(self, x):
        y = self.features(x)
        if self.product == "x @ w":
            return y @ self.head.weight
        return self.head(y) if self.product == "linear" else F.linear(y, self.head.weight)


@pytest.mark.parametrize("way", Flattened.WAYS)
@pytest.mark.parametrize("product", ["linear", "F.linear", "x @ w"])
def test_dense_layers_are_found_whatever_flattens(way, product, rng):
    """The fine weight equals the prolonged one, put in the order in which the maps arrive."""
    model = Flattened(way, product).double()
    fine = refine(model, (1, 4, 6))
    places = torch.arange(3 * 8 * 12, dtype=torch.float64).reshape(1, 3, 8, 12)
    order = fine.way(places)[0].long()
    small = model.way(torch.arange(72, dtype=torch.float64).reshape(1, 3, 4, 6))[0].long()
    if way in ("dropout behind", "pooled"):
        order, small = torch.arange(288), torch.arange(72)
    turn = (lambda w: w.T) if product == "x @ w" else (lambda w: w)
    standard = torch.empty(5, 72, dtype=torch.float64)
    standard[:, small] = turn(model.head.weight.detach())
    expected = refine_classifier(standard, (4, 6))[:, order]
    assert torch.allclose(turn(fine.head.weight), expected, rtol=0, atol=1e-15)


def test_half_precision_is_computed_in_double():
    model = single().half()
    fine = refine(model, (4, 8, 8))
    assert fine[0].weight.dtype == torch.float16
    exact = refine_kernel(model[0].weight.detach().double())
    assert torch.equal(fine[0].weight, exact.half())


class Head(nn.Module):
    """Maps of four channels behind a convolution, and whatever a test puts behind them."""

    def __init__(self, behind, head, **options):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, **({"kernel_size": 3, "padding": 1} | options))
        self.behind, self.head = behind, head

    def forward(self, x):
        return self.head(self.behind(self.conv(x)))


@pytest.mark.parametrize(
    ("model", "shape", "sentence"),
    [
        (lambda: Head(lambda x: x.view(-1, 256), nn.Linear(256, 3)), (1, 8, 8),
         "head.weight: the forward pass reshapes to a fixed size, as x.view(-1, 256) does, and "
         "would mix images. Take the sizes from the input, as x.flatten(1) does."),
        (lambda: nn.Sequential(nn.Conv2d(1, 8, 1), nn.Flatten(0), nn.Unflatten(0, (-1, 512)),
                               nn.Linear(512, 3)), (1, 8, 8),
         "3.weight: the forward pass reshapes to a fixed size, as x.view(-1, 512) does, and would "
         "mix images. Take the sizes from the input, as x.flatten(1) does."),
        (lambda: Head(lambda x: torch.cat([x.flatten(1), x.flatten(1)], 1), nn.Linear(512, 3)),
         (1, 8, 8),
         "head.weight reads 512 numbers, and 2048 at the new resolution, but how they are made "
         "from maps cannot be followed. Flatten the maps directly before it; the order of their "
         "axes is free."),
    ],
)  # fmt: skip
def test_dense_layers_without_a_rule_are_refused_by_name(model, shape, sentence):
    with pytest.raises(ValueError) as raised:
        refine(model(), shape)
    assert str(raised.value) == sentence


def test_attention_does_not_pass_for_maps():
    """Scores of as many tokens as channels look like the tokens; they are no grid."""

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 16, 3, padding=1), nn.Linear(16, 3)

        def forward(self, x):
            tokens = self.conv(x).flatten(2).transpose(1, 2)  # (batch, 16, 16) for 4 x 4 cells
            weights = torch.bmm(tokens, tokens.transpose(1, 2)).softmax(-1)
            return self.head(torch.bmm(weights, tokens)).mean(1)

    model = Attention()
    fine = refine(model, (1, 4, 4))
    assert torch.equal(fine.head.weight, model.head.weight)
    assert fine(torch.rand(2, 1, 8, 8)).shape == (2, 3)
