"""Networks of torchvision's, of the book's and of nobody's, refined and coarsened.

The oracle for convolutions is torch's own pooling and interpolation; for dense layers, constant
features, whose logits must not change.
"""

import logging
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore import ThesisCNN, coarsen, refine
from mgcore.data import _torchvision_mnist
from mgcore.resnet import ResNet
from mgcore.transfer import coarsen_stencil, refine_classifier, refine_stencil


def torchvision(name):
    """Return one of torchvision's networks, which import also beside torch's CPU build."""
    _torchvision_mnist()
    import torchvision.models as models

    return getattr(models, name)(weights=None, num_classes=5)


def plain():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 3),
    )  # fmt: skip


def film():
    return nn.Sequential(
        nn.Conv3d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv3d(3, 2, 3, padding=1),
        nn.Flatten(), nn.Linear(2 * 4 * 6 * 6, 3),
    )  # fmt: skip


def sound():
    return nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(3 * 16, 4))


NETWORKS = {
    "ResNet-18": (partial(torchvision, "resnet18"), (3, 32, 32)),
    "MobileNet": (partial(torchvision, "mobilenet_v2"), (3, 32, 32)),
    "nn.Sequential": (plain, (1, 8, 8)),
    "Conv3d": (film, (1, 4, 6, 6)),
    "Conv1d": (sound, (2, 16)),
    "ThesisCNN": (partial(ThesisCNN, 8), (1, 8, 8)),
    "ThesisCNN, pooled": (partial(ThesisCNN, 8, True, padding="circular"), (1, 8, 8)),
    "the book's ResNet": (partial(ResNet, 8, width=3, depth=2), (1, 8, 8)),
}
EVERY = pytest.mark.parametrize("name", NETWORKS)
QUIET = pytest.mark.filterwarnings("ignore:copied, since")


def circumstances(model):
    """What must survive: keys, dtypes, devices, gradients wanted, modes."""
    state = [(key, t.dtype, t.device, t.ndim) for key, t in model.state_dict().items()]
    wanted = [(key, p.requires_grad, p.is_contiguous()) for key, p in model.named_parameters()]
    return state, wanted, [(key, m.training) for key, m in model.named_modules()], type(model)


@QUIET
@EVERY
@pytest.mark.parametrize("stencils", ["galerkin", "copy"])
@pytest.mark.parametrize("act", [refine, coarsen])
def test_everything_but_sizes_is_kept(act, stencils, name):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model = make().double() if name == "nn.Sequential" else make()
    next(model.parameters()).requires_grad_(False)
    list(model.children())[-1].eval()
    before = {key: t.clone() for key, t in model.state_dict().items()}
    random = torch.get_rng_state()
    new = act(model, shape, stencils=stencils)
    assert torch.equal(random, torch.get_rng_state())
    assert circumstances(new) == circumstances(model)
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())
    shared = {t.data_ptr() for t in model.state_dict().values()}
    assert not shared & {t.data_ptr() for t in new.state_dict().values()}
    factor = 2 if act is refine else 0.5
    there = (shape[0], *(int(factor * n) for n in shape[1:]))
    x = torch.rand(2, *there, dtype=next(model.parameters()).dtype)
    assert new.eval()(x).shape == model.eval()(torch.rand(2, *shape, dtype=x.dtype)).shape
    for module in new.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features)
    if hasattr(model, "resolution"):
        assert new.resolution == there[-1]


MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def responses(coarse, fine, groups, rng, kind):
    """Return K x and R K P x for random x, without the edge, by torch's own R and P."""
    d = coarse.ndim - 2
    x = torch.randn(2, coarse.shape[1] * groups, *[8] * d, generator=rng).to(coarse)
    how = {"mode": MODES[d], "align_corners": False} if kind == "bilinear" else {"mode": "nearest"}
    finer = F.interpolate(x, scale_factor=2, **how)
    inside = (..., *[slice(2, -2)] * d)
    small = CONVOLVE[d](x, coarse, padding=1, groups=groups)
    large = POOL[d](CONVOLVE[d](finer, fine, padding=1, groups=groups), 2)
    return small[inside], large[inside]


@QUIET
@EVERY
@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_restricted_responses_are_the_coarse_ones(name, kind, rng):
    """For an input P x, of the first layer and every other that was refined (3.5)."""
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    model, said = make(), []
    fine = refine(model, shape, prolongation=kind, report=said.append)
    coarse = coarsen(model, shape, prolongation=kind)
    modules = dict(model.named_modules())
    refined = [row.name for row in said[0].rows if row.done == "refined"]
    assert refined and ("conv1.weight" in refined or name != "ThesisCNN")
    for key in refined:
        groups = modules[key.removesuffix(".weight")].groups
        for small, large in ((model, fine), (coarse, model)):
            pair = (small.get_parameter(key).detach(), large.get_parameter(key).detach())
            expected, found = responses(*pair, groups, rng, kind)
            assert (found - expected).abs().max() < 1e-5 * max(1, float(pair[1].abs().max()))
    shapes = {key: p.shape for key, p in model.named_parameters()}
    wide = [key for key, s in shapes.items() if len(s) > 2 and set(s[2:]) == {3}]
    assert refined == wide  # and no 3x3 stencil was forgotten


@QUIET
@EVERY
@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_coarsening_undoes_refining(name, kind):
    make, shape = NETWORKS[name]
    model = make()
    fine = refine(model, shape, prolongation=kind)
    back = coarsen(fine, (shape[0], *(2 * n for n in shape[1:])), prolongation=kind)
    for key, p in model.named_parameters():
        if kind == "constant" or "conv" in key or p.ndim != 2:  # R P = I for constant P alone
            assert torch.allclose(back.get_parameter(key), p, atol=1e-5), key


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


@EVERY
@QUIET
@pytest.mark.parametrize("act", [refine, coarsen])
def test_constant_features_give_equal_logits(act, name, rng):
    """÷ 2ᵈ and × 2ᵈ: a sum over 2ᵈ times as many cells must not change."""
    make, shape = NETWORKS[name]
    model = make()
    new = act(model, shape)
    for (key, module), other in zip(model.named_modules(), new.modules(), strict=True):
        if isinstance(module, nn.Linear):
            channels = {"": 1}.get(key, None) or module.in_features
            values = torch.rand(3, channels, generator=rng)
            ratio = other.in_features / module.in_features
            cells = {"nn.Sequential": 16, "Conv3d": 144, "Conv1d": 16, "the book's ResNet": 64,
                     "ThesisCNN": 64, "ThesisCNN, pooled": 16}.get(name, 1)  # fmt: skip
            values = values[:, : module.in_features // cells]
            here = values.repeat_interleave(cells, 1)
            there = values.repeat_interleave(int(cells * ratio), 1)
            assert torch.allclose(module(here), other(there), atol=1e-5)
            assert (ratio == 1) == (name in ("ResNet-18", "MobileNet"))


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
        ({"kernel_size": 5, "padding": 2}, "copied", "only width 3 has an inverse Galerkin map"),
        ({"kernel_size": 7, "padding": 3, "stride": 2}, "copied",
         "only width 3 has an inverse Galerkin map"),
        ({"dilation": 2, "padding": 2}, "copied",
         "the Galerkin map does not keep the gaps of a dilation"),
        ({"stride": 2}, "refined",
         "exact before cells are left out; those kept lie 1/4 coarse cell apart"),
        ({"padding": 0}, "refined", "neither grid is twice the other: their cells do not line up"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:copied, since")
def test_each_kind_of_convolution_is_handled_and_said(options, done, note):
    model, said = single(**options), []
    fine = refine(model, (4, 16, 16), report=said.append)
    row = said[0]["0.weight"]
    assert (row.done, row.note) == (done, note)
    old, new = model[0].weight.detach(), fine[0].weight.detach()
    assert torch.equal(new, refine_stencil(old) if done == "refined" else old)
    assert (row.growth is None) == (done != "refined")
    if done == "refined":
        assert row.growth == pytest.approx(float(new.norm() / old.norm()), rel=1e-5)
    copied = []
    refine(model, (4, 16, 16), stencils="copy", report=copied.append)
    assert copied[0]["0.weight"].done == ("kept" if done == "kept" else "copied")


def test_narrow_axes_of_a_stencil_stay():
    """1×3: the Galerkin map is a product over the axes, and an axis without neighbours has none."""
    model = single(kernel_size=(1, 3), padding=(0, 1))
    fine = refine(model, (4, 8, 8))
    assert torch.equal(fine[0].weight, refine_stencil(model[0].weight.detach(), ndim=1))
    model = single(kernel_size=(3, 1), padding=(1, 0))
    turned = refine_stencil(model[0].weight.detach().transpose(2, 3), ndim=1).transpose(2, 3)
    assert torch.equal(refine(model, (4, 8, 8))[0].weight, turned)


def test_a_transposed_convolution_is_copied_and_named():
    model = nn.Sequential(nn.ConvTranspose2d(2, 2, 2, stride=2))
    said = []
    with pytest.warns(UserWarning, match=r"copied, since .*: 0\.weight\."):
        fine = refine(model, (2, 4, 4), report=said.append)
    assert torch.equal(fine[0].weight, model[0].weight)
    assert said[0]["0.weight"].note == "no Galerkin map for transposed convolutions"


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


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2), None])
def test_a_film_is_refined_in_time_in_space_or_in_both(axes, rng):
    model = film().double()
    said = []
    fine = refine(model, (1, 4, 6, 6), axes=axes, report=said.append)
    chosen = (0, 1, 2) if axes is None else axes
    there = tuple(n * (2 if k in chosen else 1) for k, n in enumerate((4, 6, 6)))
    assert said[0].after == (1, *there)
    assert fine(torch.rand(2, 1, *there, dtype=torch.float64)).shape == (2, 3)
    old, new = model[0].weight.detach(), fine[0].weight.detach()
    for axis in (0, 1, 2):
        if axis in chosen:  # undone axis by axis, by the map in one dimension
            new = coarsen_stencil(new.movedim(2 + axis, -1), ndim=1).movedim(-1, 2 + axis)
    assert torch.allclose(new, old, atol=1e-12)
    head = fine[4].weight.detach().reshape(3, 2, *there).sum((2, 3, 4))
    expected = model[4].weight.detach().reshape(3, 2, 4, 6, 6).sum((2, 3, 4))
    assert torch.allclose(head, expected, atol=1e-12)  # columns of the clamped P sum to 2
    back = coarsen(fine, (1, *there), axes=axes)
    assert torch.allclose(back[0].weight, model[0].weight, atol=1e-12)


def test_layers_behind_fixed_pooling_stay():
    """Behind adaptive pooling the grid is the same, and a stencil there has nothing to gain."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(4), nn.Conv2d(4, 4, 3, padding=1),
        nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    said = []
    fine = refine(model, (1, 8, 8), report=said.append)
    assert [row.done for row in said[0].rows] == ["refined", "kept", "kept"]
    assert {row.note for row in said[0].rows[1:]} == {"its grid does not change"}
    for k in (2, 4):
        assert torch.equal(fine[k].weight, model[k].weight)


def test_statistics_are_kept_or_estimated_anew(rng):
    model = plain()
    model[1].running_mean.fill_(7.0)
    model[1].momentum = 0.3
    model[1].eval()
    images = torch.rand(96, 1, 16, 16, generator=rng)
    said = []
    kept = refine(model, (1, 8, 8), report=said.append)
    assert torch.equal(kept[1].running_mean, model[1].running_mean)
    new = refine(model, (1, 8, 8), statistics=images, report=said.append)
    batches = new[0](images).detach().split(64)
    mean = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)  # batches count alike
    assert torch.allclose(new[1].running_mean, mean, atol=1e-5)
    assert new[1].momentum == 0.3 and circumstances(new) == circumstances(model)
    by_batches = refine(model, (1, 8, 8), statistics=[(b, None) for b in images.split(64)])
    assert torch.equal(by_batches[1].running_var, new[1].running_var)
    assert [r.statistics for r in said] == [
        "the statistics of 1 layers are kept", "the statistics of 1 layers are estimated anew",
    ]  # fmt: skip


def test_a_shared_stencil_is_refined_once():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    fine = refine(nn.Sequential(conv, nn.ReLU(), conv), (2, 8, 8))
    assert fine[0].weight is fine[2].weight
    assert torch.equal(fine[0].weight, refine_stencil(conv.weight.detach()))


def test_half_precision_is_computed_in_double():
    model = single().half()
    fine = refine(model, (4, 8, 8))
    assert fine[0].weight.dtype == torch.float16
    exact = refine_stencil(model[0].weight.detach().double())
    assert torch.equal(fine[0].weight, exact.half())


def test_what_was_done_is_said(caplog):
    model = nn.Sequential(
        nn.Conv2d(1, 2, 7, padding=3), nn.Conv2d(2, 2, 3, padding=1, stride=2), nn.Flatten(),
        nn.Linear(32, 3),
    )  # fmt: skip
    model.unused = nn.Parameter(torch.zeros(2, 2))
    said = []
    with (
        caplog.at_level(logging.INFO, "mgcore.surgery"),
        pytest.warns(UserWarning) as warned,
    ):
        refine(model, (1, 8, 8), report=said.append)
    assert [str(w.message) for w in warned] == [
        "copied, since the Galerkin condition does not reach them: 0.weight."
    ]
    assert warned[0].filename == __file__
    assert caplog.messages == [str(said[0])]
    assert said[0].rows[-1].note == "no convolution or dense layer used it"
    assert [row.name for row in said[0].rows] == ["0.weight", "1.weight", "3.weight", "unused"]


def test_names_are_importable_from_the_package():
    import mgcore
    import mgcore.surgery

    assert mgcore.refine is mgcore.surgery.refine and mgcore.coarsen is mgcore.surgery.coarsen
