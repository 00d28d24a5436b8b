"""Any ratio of the grids: the fitted kernels, dense layers and tables of positions.

The oracle assembles R, K and P as dense matrices on periodic grids.  P and R are means over
subcells so small that both grids are unions of them.
"""

import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore import coarsen, refine
from mgcore.data.published import import_torchvision
from mgcore.grids import prolong, restrict
from mgcore.kernels import galerkin_map, refine_kernel
from mgcore.refinement.resampling import (
    _solve,
    expected_residual,
    kernel_map,
    map_kernels,
    patch_map,
    resampling_matrix,
    response_residual,
)

PERIODS = 8  # of the pattern in which the cells of the two grids meet


def cells(count, size, shift):
    """Return a matrix (cells, subcells) with the subcells of each cell of a periodic grid."""
    members = torch.eye(count, dtype=torch.float64).repeat_interleave(size, 1)
    return torch.roll(members, shift, 1)


def interpolant(count, size, kind):
    """Return a matrix (subcells, cells): the values at the middles of subcells."""
    if kind == "constant":
        return cells(count, size, 0).T
    eye = torch.eye(count, dtype=torch.float64)
    middles = torch.arange(count * size, dtype=torch.float64) + 0.5
    where = middles / size - 0.5  # in cells, from the first centre
    left = where.floor().long()
    part = (where - left)[:, None]
    return (1 - part) * eye[left % count] + part * eye[(left + 1) % count]


def convolution(kernel, count, stride, dilation, shift):
    """Return a convolution as a dense matrix; output i reads from `shift` cells before stride·i."""
    rows = torch.zeros(count // stride, count, dtype=torch.float64)
    for i in range(count // stride):
        for j, weight in enumerate(kernel):
            rows[i, (i * stride - shift + j * dilation) % count] += weight
    return rows


def assembled(width, ratio, kind, stride, dilation, transposed):
    """Return R K P and K on whole grids, a column for each place of the kernel."""
    p, q = ratio.numerator, ratio.denominator
    size_in, size_out = (stride, 1) if transposed else (1, stride)
    fine, coarse = PERIODS * p * stride, PERIODS * q * stride  # cells of the smaller kind
    half = ((width - 1) * dilation + 1 - stride) % 2  # outputs lie between cells
    shift = ((width - 1) * dilation + 1 - stride + half) // 2
    sub = 2 * q, 2 * p  # subcells of a fine and of a coarse cell
    restriction = (
        cells(coarse // size_out, sub[1] * size_out, -half * sub[1] // 2)
        @ cells(fine // size_out, sub[0] * size_out, -half * sub[0] // 2).T
    ) / (sub[1] * size_out)
    prolongation = (
        cells(fine // size_in, sub[0] * size_in, 0)
        @ interpolant(coarse // size_in, sub[1] * size_in, kind)
    ) / (sub[0] * size_in)
    columns = []
    for kernel in torch.eye(width, dtype=torch.float64):
        large, small = (convolution(kernel, n, stride, dilation, shift) for n in (fine, coarse))
        if transposed:
            large, small = large.T, small.T
        columns.append(((restriction @ large @ prolongation).flatten(), small.flatten()))
    return [torch.stack(side, 1) for side in zip(*columns, strict=True)]


CASES = [
    # width, ratio, kind, stride, dilation, transposed
    (3, "9/7", "bilinear", 1, 1, False),
    (3, "3", "bilinear", 1, 1, False),
    (3, "5/2", "constant", 1, 1, False),
    (5, "9/7", "bilinear", 1, 1, False),
    (7, "9/7", "constant", 1, 1, False),
    (2, "3/2", "bilinear", 1, 1, False),
    (4, "9/7", "bilinear", 1, 1, False),
    (3, "2", "bilinear", 1, 2, False),
    (3, "3/2", "constant", 1, 3, False),
    (2, "2", "bilinear", 2, 1, False),
    (4, "3/2", "bilinear", 4, 1, False),
    (4, "3", "constant", 4, 1, False),
    (2, "3", "bilinear", 2, 1, True),
    (4, "3/2", "bilinear", 2, 1, True),
    (4, "9/7", "constant", 2, 1, True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("refining", [True, False])
def test_kernels_are_the_least_squares_solution_of_the_assembled_condition(case, refining):
    """By its optimality conditions: equal sums, and a gradient that is constant over the places."""
    width, ratio, kind, stride, dilation, transposed = case
    ratio = Fraction(ratio)
    fine, coarse = assembled(width, ratio, kind, stride, dilation, transposed)
    new, old = (fine, coarse) if refining else (coarse, fine)
    found = kernel_map(width, ratio if refining else 1 / ratio, kind, stride, dilation, transposed)
    assert (found.matrix.sum(0) - 1).abs().max() < 1e-12
    gradient = new.T @ (new @ found.matrix - old) / PERIODS
    assert (gradient - gradient.mean(0)).abs().max() < 1e-12
    weights = torch.eye(width, dtype=torch.float64)[:, None]
    residual = response_residual(weights, weights @ found.matrix.T, (2,), (found,))
    expected = float((new @ found.matrix - old).norm() / old.norm())
    assert expected_residual((found,)) == pytest.approx(expected, abs=1e-7)
    assert residual == pytest.approx(expected, abs=1e-12)
    assert found.exact == (expected < 1e-12)


@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_factor_two_is_the_thesis(kind, rng):
    """P, R and the Galerkin map are those of `mgcore.grids` and `mgcore.kernels`."""
    x = torch.rand(9, 8, generator=rng, dtype=torch.float64)
    assert torch.allclose(x @ resampling_matrix(8, 16, kind).T, prolong(x, kind, 1), atol=1e-15)
    assert torch.allclose(x @ resampling_matrix(8, 4).T, restrict(x, 1), atol=1e-15)
    down = kernel_map(3, Fraction(1, 2), kind)
    up = kernel_map(3, Fraction(2), kind)
    assert torch.allclose(down.matrix, galerkin_map(kind, 1), atol=1e-14) and down.exact
    assert torch.allclose(up.matrix @ down.matrix, torch.eye(3).double(), atol=1e-13) and up.exact


def test_weights_do_not_grow_without_bound():
    """Five cells and the factor 2 have an inverse map, by which white noise grows 12 times."""
    assert kernel_map(5, Fraction(2)).matrix.norm() < 3
    assert not kernel_map(5, Fraction(2)).exact and kernel_map(5, Fraction(1, 2)).exact


@pytest.mark.parametrize("rounding", [0.0, 1e-17, -3e-16])
def test_weights_do_not_depend_on_the_rounding_of_a_response_that_is_zero(rounding):
    """Processors differ in it: an inverse of 1e-17 once gave weights of 1e+29."""
    new = torch.tensor([[0.5, 0.5 + rounding], [0.5, 0.5]], dtype=torch.float64)
    old = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(_solve(new, old), torch.full_like(new, 0.5))


@pytest.mark.parametrize(("old", "new"), [(7, 9), (9, 7), (12, 26), (5, 12), (3, 1)])
@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_resampling_keeps_constants_and_mass(old, new, kind):
    matrix = resampling_matrix(old, new, kind)
    assert (matrix.sum(1) - 1).abs().max() < 1e-14
    assert (matrix.sum(0) - new / old).abs().max() < 1e-14


def test_residuals_in_two_dimensions_are_those_of_the_product(rng):
    weight = torch.randn(3, 2, 3, 5, generator=rng, dtype=torch.float64)
    maps = kernel_map(3, Fraction(3, 2)), kernel_map(5, Fraction(9, 7))
    new = map_kernels(weight, (2, 3), [m.matrix for m in maps])
    residual = response_residual(weight, new, (2, 3), maps)
    sides = [
        assembled(width, ratio, "bilinear", 1, 1, False)
        for width, ratio in ((3, Fraction(3, 2)), (5, Fraction(9, 7)))
    ]
    found, wanted = (
        torch.einsum("oixy,ax,by->oiab", kernels, sides[0][k], sides[1][k])
        for k, kernels in ((0, new), (1, weight))
    )
    assert residual == pytest.approx(float((found - wanted).norm() / wanted.norm()), abs=1e-12)


def resize_matrix(old, new):
    """Return the matrix of torch's bilinear interpolation of (old, old) patches."""
    units = torch.eye(old * old, dtype=torch.float64).reshape(-1, 1, old, old)
    resized = F.interpolate(units, (new, new), mode="bilinear", align_corners=False)
    return resized.reshape(old * old, new * new).T


@pytest.mark.parametrize(("old", "new"), [(4, 8), (3, 6), (8, 32)])
def test_growing_patches_are_resized_by_the_pseudo_inverse(old, new, rng):
    """The published formula of PI-resize: pinv(Bᵀ) k, with B the resize of a patch."""
    weight = torch.randn(5, 3, old, old, generator=rng, dtype=torch.float64)
    grown = map_kernels(weight, (2, 3), [patch_map(old, new).matrix] * 2)
    resize = resize_matrix(old, new)
    expected = torch.linalg.pinv(resize.T) @ weight.flatten(2).mT
    assert (grown.flatten(2).mT - expected).abs().max() < 1e-12 and patch_map(old, new).exact
    back = map_kernels(grown, (2, 3), [patch_map(new, old).matrix] * 2)
    assert (back - weight).abs().max() < 1e-12


def test_growing_patches_are_those_of_timm(rng):
    import_torchvision("torchvision.models")
    timm = pytest.importorskip(
        "timm.layers.patch_embed", reason="timm, whose function is compared with, is not installed"
    )
    weight = torch.randn(8, 3, 16, 16, generator=rng)
    expected = timm.resample_patch_embed(weight, [32, 32], "bilinear")
    grown = map_kernels(weight, (2, 3), [patch_map(16, 32).matrix] * 2)
    assert (grown - expected).abs().max() < 1e-5  # timm computes in single precision


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 2, stride=2), nn.Flatten(), nn.Linear(6 * 4 * 6, 3),
    ).eval()  # fmt: skip


@pytest.mark.filterwarnings("ignore:less than half")
def test_a_network_changes_to_any_size():
    """Images that are constant keep their logits, apart from the boundary: by the sums."""
    model = small()
    fine, report = refine(model, (1, 8, 12), to=(10, 18), return_report=True)
    assert [row.done for row in report.rows] == ["fitted", "fitted", "prolonged"]
    assert report["5.weight"].grid == "4×6 → 5×9"
    assert all(0 < report[f"{k}.weight"].residual < 1 for k in (0, 3))
    assert "residual" in str(report) and fine(torch.rand(2, 1, 10, 18)).shape == (2, 3)
    for k in (0, 3):
        sums = [net[k].weight.sum((2, 3)) for net in (model, fine)]
        assert torch.allclose(*sums, atol=1e-5)
    features = torch.rand(2, 6, 1, 1)
    heads = [
        net[5](features.expand(2, 6, *grid).flatten(1))
        for net, grid in ((model, (4, 6)), (fine, (5, 9)))
    ]
    assert torch.allclose(*heads, atol=1e-5)
    coarse = coarsen(model, (1, 8, 12), to=(6, 8))
    assert coarse(torch.rand(2, 1, 6, 8)).shape == (2, 3)


def test_twice_the_size_is_the_default_to_the_last_bit():
    a, b = (refine(small()[:3], (1, 8, 12), to=to) for to in (None, (16, 24)))
    assert all(map(torch.equal, a.parameters(), b.parameters()))
    assert torch.equal(a[0].weight, refine_kernel(small()[0].weight.detach()))


def test_a_network_without_padding_changes_its_size():
    """PyTorch's own example for MNIST, with fewer channels: 12×12 maps become 26×26."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6 * 144, 5),
    )  # fmt: skip
    fine, report = refine(model, (1, 28, 28), return_report=True)
    assert report["6.weight"].grid == "12×12 → 26×26"
    assert torch.allclose(fine[6].weight.sum(1), model[6].weight.sum(1), atol=1e-5)


class Tokens(nn.Module):
    """A transformer in small: patches, class token, positions, mean over the tokens."""

    def __init__(self, grid, patch=4, checked=True, classes=1):
        super().__init__()
        torch.manual_seed(0)
        self.size, self.checked = [n * patch for n in grid], checked
        self.embed = nn.Conv2d(1, 5, patch, stride=patch)
        self.token = nn.Parameter(torch.randn(1, classes, 5))
        self.position = nn.Parameter(torch.randn(1, classes + grid[0] * grid[1], 5))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        if self.checked and list(x.shape[2:]) != self.size:
            raise AssertionError("wrong size")
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.head((x + self.position).tanh()).mean(1)


@pytest.mark.filterwarnings("ignore:less than half")
def test_tables_of_positions_are_resampled_and_class_tokens_keep_theirs():
    """(2, 8) to (4, 4) too, where the number of tokens is the same."""
    model = Tokens((2, 8), checked=False)
    wide, report = refine(model, (1, 8, 32), to=(16, 32), return_report=True)
    assert (report["position"].done, report["position"].grid) == ("resampled", "2×8 → 4×8")
    square = coarsen(wide, (1, 16, 32), to=(16, 16))
    maps = [net.position[0, 1:].T.reshape(5, *grid).detach()
            for net, grid in ((model, (2, 8)), (wide, (4, 8)), (square, (4, 4)))]  # fmt: skip
    assert torch.allclose(maps[1], prolong(maps[0].mT, ndim=1).mT, atol=1e-6)
    assert torch.allclose(maps[2], restrict(maps[1], ndim=1), atol=1e-6)
    for net in (wide, square):
        assert torch.equal(net.position[0, 0], model.position[0, 0])
    assert square(torch.rand(2, 1, 16, 16)).shape == (2, 3)


class Positions(nn.Module):
    """Adds a number to each cell: learned, or computed for one size."""

    def __init__(self, grid, learned):
        super().__init__()
        table = torch.arange(float(2 * grid[0] * grid[1])).reshape(2, *grid)
        if learned:
            self.position = nn.Parameter(table)
        else:
            self.register_buffer("position", table)

    def forward(self, x):
        return x + self.position


def test_tables_that_are_added_to_maps_are_resampled():
    model = Positions((4, 6), learned=True)
    fine = refine(model, (2, 4, 6))
    assert torch.allclose(fine.position, prolong(model.position.detach()), atol=1e-5)


def test_tables_that_are_computed_belong_to_their_size():
    model, made = (Positions(grid, learned=False) for grid in ((4, 6), (8, 12)))
    with pytest.raises(ValueError, match=r"^position is a buffer with a number for each cell.*\.$"):
        refine(model, (2, 4, 6))
    assert torch.equal(refine(model, (2, 4, 6), into=made).position, made.position)


@pytest.mark.filterwarnings("ignore:copied, since")
def test_a_network_made_for_the_new_size_takes_the_weights():
    """Growing patches leave the tokens as they are: equal outputs for a prolonged image."""
    model, x = Tokens((3, 4)), torch.rand(2, 1, 12, 16)
    with pytest.raises(ValueError, match=r"wrong size.*made for the new size as into\.$"):
        refine(model, (1, 12, 16))
    grown, report = refine(
        model, (1, 12, 16), into=Tokens((3, 4), patch=8), prolongation="constant",
        return_report=True,
    )  # fmt: skip
    assert torch.allclose(grown(x.repeat_interleave(2, 2).repeat_interleave(2, 3)), model(x))
    assert report["embed.weight"].residual == 0 and report["position"].done == "kept"
    model.embed.weight.requires_grad_(False)
    model.head.eval()
    more = refine(model, (1, 12, 16), to=(16, 20), into=Tokens((4, 5)))
    assert [p.requires_grad for p in more.parameters()] == [True, True, False, True, True, True]
    assert more.training and not more.head.training
    assert more(torch.rand(2, 1, 16, 20)).shape == (2, 3)
    sentences = [
        (Tokens((6, 8), classes=2), "is added to tokens that are made in another way"),
        (small(), "is a weight of one of model and into, not of both"),
        (Tokens((3, 4)), "into does not run at"),
        (Tokens((6, 8)).double(), "is torch.float32 on cpu in model and torch.float64 on cpu in"),
    ]
    for into, sentence in sentences:
        with pytest.raises(ValueError, match=sentence):
            refine(model, (1, 12, 16), into=into)


class Window(nn.Module):
    """Attention's biases by the offset between the cells of a window."""

    def __init__(self, side):
        super().__init__()
        self.table = nn.Parameter(torch.arange(float((2 * side - 1) ** 2))[:, None])
        steps = torch.arange(side)
        offsets = steps[:, None] - steps + side - 1
        rows, columns = offsets[:, None, :, None], offsets[None, :, None, :]
        self.register_buffer("index", (rows * (2 * side - 1) + columns).flatten())

    def forward(self, x):
        return x.mean((1, 2, 3)) + self.table[self.index].mean()


class Strided(nn.Module):
    """A number for each cell behind two convolutions with stride, as LeViT has them."""

    def __init__(self, side):
        super().__init__()
        self.side, self.biases = side, nn.Parameter(torch.rand(2, math.ceil(side / 4) ** 2))

    def forward(self, x):
        if x.shape[-1] != self.side:
            raise ValueError("takes one size")
        return x.mean((1, 2, 3)) + self.biases.mean()


@pytest.mark.parametrize(("old", "new"), [(14, 28), (14, 18), (12, 24)])
def test_the_last_cell_behind_strides_may_be_a_part_of_one(old, new):
    model = Strided(old)
    fine, report = refine(
        model, (1, old, old), to=(new, new), into=Strided(new), return_report=True
    )
    sides = [math.ceil(n / 4) for n in (old, new)]
    down = resampling_matrix(*sides).float()
    expected = down @ model.biases.detach().view(2, sides[0], sides[0]) @ down.T
    assert torch.allclose(fine.biases, expected.flatten(1), atol=1e-6)
    assert report["biases"].done == "resampled"


class WindowWithToken(nn.Module):
    """Biases by offset, with three behind them for a class token, as in BEiT."""

    def __init__(self, side):
        super().__init__()
        self.side, self.biases = side, nn.Parameter(torch.zeros((2 * side - 1) ** 2 + 3, 2))

    def forward(self, x):
        if x.shape[-1] != self.side:
            raise ValueError("takes one size")
        return x.mean((2, 3)) + self.biases.mean()


def test_biases_of_a_class_token_stay_behind_those_of_the_window():
    model = WindowWithToken(4)
    with torch.no_grad():
        model.biases[:49], model.biases[49:] = 5.0, torch.arange(6.0).view(3, 2)
    fine, report = refine(model, (2, 4, 4), into=WindowWithToken(8), return_report=True)
    assert (report["biases"].done, report["biases"].grid) == ("resampled", "7×7 → 15×15")
    assert fine.biases.shape == (228, 2) and (fine.biases[:225] == 5).all()
    assert torch.equal(fine.biases[225:], model.biases[49:])


def test_biases_by_offset_follow_the_window():
    model = Window(3)
    fine, report = refine(model, (1, 3, 3), to=(4, 4), into=Window(4), return_report=True)
    assert (report["table"].done, report["table"].grid) == ("resampled", "5×5 → 7×7")
    table = model.table.detach().reshape(5, 5).double()
    matrix = resampling_matrix(5, 7)
    assert torch.allclose(fine.table.reshape(7, 7).double(), matrix @ table @ matrix.T, atol=1e-5)
    assert len(fine.index) == 4**4


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (refine, {"to": (16,)}, "to must be 2 positive integers, as many as input_shape has grid "
         "axes, got (16,)."),
        (refine, {"to": 16}, "to must be 2 positive integers, as many as input_shape has grid "
         "axes, got 16."),
        (refine, {"to": (16, 10)}, "to must not be smaller than the grid (8, 12) along any axis, "
         "got (16, 10). Use coarsen for the axes that become smaller."),
        (coarsen, {"to": (4, 13)}, "to must not be larger than the grid (8, 12) along any axis, "
         "got (4, 13). Use refine for the axes that become larger."),
        (refine, {"to": (8, 12)}, "to is the grid (8, 12) of input_shape. Give another size."),
        (refine, {"to": (9, 12), "axes": (0,)}, "to and axes are both given. Leave out axes, and "
         "repeat in to the sizes that stay."),
    ],
)  # fmt: skip
def test_sizes_without_a_meaning_are_refused(change, options, sentence):
    with pytest.raises(ValueError) as raised:
        change(small(), (1, 8, 12), **options)
    assert str(raised.value) == sentence
