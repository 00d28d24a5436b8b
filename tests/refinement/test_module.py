"""Networks of torchvision's, of the book's and of nobody's, refined and coarsened.

The oracle for convolutions is torch's own pooling and interpolation; for dense layers, constant
features, whose logits must not change.
"""

import copy
import logging
import warnings
from functools import lru_cache, partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mgcore import ThesisCNN, coarsen, refine
from mgcore.data.published import import_torchvision
from mgcore.kernels import coarsen_kernel, refine_kernel
from mgcore.thesis.resnet import ResNet


def torchvision(name):
    """Return one of torchvision's networks, which import also beside torch's CPU build."""
    models = import_torchvision("torchvision.models")
    return getattr(models, name)(weights=None, num_classes=5)


def plain():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 4 * 6, 3),
    )  # fmt: skip


def film():
    return nn.Sequential(
        nn.Conv3d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv3d(3, 2, 3, padding=1),
        nn.Flatten(), nn.Linear(2 * 4 * 6 * 6, 3),
    )  # fmt: skip


def sound():
    return nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(3 * 16, 4))


NETWORKS = {
    "ResNet-18": (partial(torchvision, "resnet18"), (3, 64, 128)),
    "MobileNet": (partial(torchvision, "mobilenet_v2"), (3, 128, 64)),
    "nn.Sequential": (plain, (1, 8, 12)),
    "Conv3d": (film, (1, 4, 6, 6)),
    "Conv1d": (sound, (2, 16)),
    "ThesisCNN": (partial(ThesisCNN, 8), (1, 8, 8)),
    "ThesisCNN, pooled": (partial(ThesisCNN, 8, True, padding="circular"), (1, 8, 8)),
    "the book's ResNet": (partial(ResNet, 8, width=3, depth=2), (1, 8, 8)),
}
EVERY = pytest.mark.parametrize("name", NETWORKS)


def circumstances(model):
    """What must survive: keys, dtypes, devices, gradients wanted, modes."""
    state = [(key, t.dtype, t.device, t.ndim) for key, t in model.state_dict().items()]
    wanted = [(key, p.requires_grad, p.is_contiguous()) for key, p in model.named_parameters()]
    return state, wanted, [(key, m.training) for key, m in model.named_modules()], type(model)


@lru_cache
def case(name, stencils, kind):
    """Return a network, the shape it takes, it refined and coarsened, and the first report."""
    make, shape = NETWORKS[name]
    torch.manual_seed(1)
    model, said = make(), []
    model = model.double() if name == "nn.Sequential" else model
    next(model.parameters()).requires_grad_(False)
    list(model.children())[-1].eval()
    before = {key: t.clone() for key, t in model.state_dict().items()}
    random = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "less than half")
        how = {"stencils": stencils, "prolongation": kind, "report": said.append}
        fine, coarse = refine(model, shape, **how), coarsen(model, shape, **how)
    assert torch.equal(random, torch.get_rng_state())  # the caller's random numbers are untouched
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())
    return model, shape, fine, coarse, said[0]


@EVERY
@pytest.mark.parametrize("stencils", ["galerkin", "copy"])
@pytest.mark.parametrize("finer", [True, False])
def test_everything_but_sizes_is_kept(finer, stencils, name):
    model, shape, fine, coarse, _ = case(name, stencils, "bilinear")
    new = fine if finer else coarse
    assert circumstances(new) == circumstances(model)
    shared = {t.data_ptr() for t in model.state_dict().values()}
    assert not shared & {t.data_ptr() for t in new.state_dict().values()}
    there = (shape[0], *(2 * n if finer else n // 2 for n in shape[1:]))
    x = torch.rand(2, *there, dtype=next(model.parameters()).dtype)
    outputs = [copy.deepcopy(net).eval()(y).shape for net, y in
               ((new, x), (model, torch.rand(2, *shape, dtype=x.dtype)))]  # fmt: skip
    assert outputs[0] == outputs[1]
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
    if groups == 1:
        coarse, fine = coarse[:8], fine[:8]  # as good as all of them, and quicker
    x = torch.randn(2, coarse.shape[1] * groups, *[8] * d, generator=rng).to(coarse)
    how = {"mode": MODES[d], "align_corners": False} if kind == "bilinear" else {"mode": "nearest"}
    finer = F.interpolate(x, scale_factor=2, **how)
    inside = (..., *[slice(2, -2)] * d)
    small = CONVOLVE[d](x, coarse, padding=1, groups=groups)
    large = POOL[d](CONVOLVE[d](finer, fine, padding=1, groups=groups), 2)
    return small[inside], large[inside]


@EVERY
@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_restricted_responses_are_the_coarse_ones(name, kind, rng):
    """For an input P x, of the first layer and every other that was refined (3.5)."""
    model, _, fine, coarse, said = case(name, "galerkin", kind)
    modules = dict(model.named_modules())
    refined = [row.name for row in said.rows if row.done == "refined"]
    assert refined and ("conv1.weight" in refined or name != "ThesisCNN")
    for key in refined:
        groups = modules[key.removesuffix(".weight")].groups
        for small, large in ((model, fine), (coarse, model)):
            # The weights are float32; their rounding, not the method's, must not decide.
            old, new = (net.get_parameter(key).detach().double() for net in (small, large))
            expected, found = responses(old, new, groups, rng, kind)
            assert (found - expected).abs().max() < 1e-5 * max(1, float(new.abs().max()))
    shapes = {key: p.shape for key, p in model.named_parameters()}
    wide = [key for key, s in shapes.items() if len(s) > 2 and set(s[2:]) == {3}]
    assert refined == wide  # and no 3x3 stencil was forgotten


@pytest.mark.parametrize("name", [name for name in NETWORKS if "18" not in name])
@pytest.mark.parametrize("kind", ["bilinear", "constant"])
def test_coarsening_undoes_refining(name, kind):
    model, shape, fine, _, _ = case(name, "galerkin", kind)
    back = coarsen(fine, (shape[0], *(2 * n for n in shape[1:])), prolongation=kind)
    for key, p in model.named_parameters():
        if kind == "constant" or "conv" in key or p.ndim != 2:  # R P = I for constant P alone
            assert torch.allclose(back.get_parameter(key), p, atol=1e-5), key


@EVERY
@pytest.mark.parametrize("finer", [True, False])
def test_constant_features_give_equal_logits(finer, name, rng):
    """÷ 2ᵈ and × 2ᵈ: a sum over 2ᵈ times as many cells must not change."""
    model, _, fine, coarse, _ = case(name, "galerkin", "bilinear")
    new = fine if finer else coarse
    for module, other in zip(model.modules(), new.modules(), strict=True):
        if isinstance(module, nn.Linear):
            values = torch.rand(3, module.in_features, generator=rng).to(module.weight)
            ratio = other.in_features / module.in_features
            cells = {"nn.Sequential": 24, "Conv3d": 144, "Conv1d": 16, "the book's ResNet": 64,
                     "ThesisCNN": 64, "ThesisCNN, pooled": 16}.get(name, 1)  # fmt: skip
            values = values[:, : module.in_features // cells]
            here = values.repeat_interleave(cells, 1)
            there = values.repeat_interleave(int(cells * ratio), 1)
            assert torch.allclose(module(here), other(there), atol=1e-5)
            assert (ratio == 1) == (name in ("ResNet-18", "MobileNet"))


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
            new = coarsen_kernel(new.movedim(2 + axis, -1), ndim=1).movedim(-1, 2 + axis)
    assert torch.allclose(new, old, atol=1e-12)
    head = fine[4].weight.detach().reshape(3, 2, *there).sum((2, 3, 4))
    expected = model[4].weight.detach().reshape(3, 2, 4, 6, 6).sum((2, 3, 4))
    assert torch.allclose(head, expected, atol=1e-12)  # columns of the clamped P sum to 2
    back = coarsen(fine, (1, *there), axes=axes)
    assert torch.allclose(back[0].weight, model[0].weight, atol=1e-12)


def test_one_axis_may_be_given_by_its_number():
    plane = plain()
    for change in (refine, coarsen):
        one, listed = (change(plane, (1, 8, 12), axes=axes) for axes in (1, (1,)))
        assert torch.equal(one[0].weight, listed[0].weight)
        assert one[-1].weight.shape == listed[-1].weight.shape != plane[-1].weight.shape
        for axes in (2, -1, 0.5, [[0]], "0", ()):
            with pytest.raises(ValueError, match="axes must be some of the grid axes 0 to 1, got"):
                change(plane, (1, 8, 12), axes=axes)


@pytest.mark.parametrize("change", [refine, coarsen])
def test_an_error_of_the_callers_own_report_is_raised(change):
    def check(report):
        assert not report.rows, "the caller's own check"

    with pytest.raises(AssertionError, match="the caller's own check"):
        change(plain(), (1, 8, 12), report=check)


@pytest.mark.parametrize("change", [refine, coarsen])
@pytest.mark.parametrize("error", [OSError("disk full"), UnicodeError("no arrow")])
def test_a_report_that_cannot_be_written_is_a_warning_at_the_call(change, error):
    def broken(report):
        raise error

    with pytest.warns(UserWarning, match=f"report raised {type(error).__name__}") as warned:
        assert isinstance(change(plain(), (1, 8, 12), report=broken), nn.Sequential)
    assert warned[0].filename == __file__


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
    images = torch.rand(96, 1, 16, 24, generator=rng)
    said = []
    kept = refine(model, (1, 8, 12), report=said.append)
    assert torch.equal(kept[1].running_mean, model[1].running_mean)
    new = refine(model, (1, 8, 12), statistics=images, report=said.append)
    batches = new[0](images).detach().split(64)
    mean = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)  # batches count alike
    assert torch.allclose(new[1].running_mean, mean, atol=1e-5)
    assert new[1].momentum == 0.3 and circumstances(new) == circumstances(model)
    by_batches = refine(model, (1, 8, 12), statistics=[(b, None) for b in images.split(64)])
    assert torch.equal(by_batches[1].running_var, new[1].running_var)
    assert [r.statistics for r in said] == [
        "kept in 1 layer", "estimated anew in 1 layer, from 2 batches",
    ]  # fmt: skip


def test_a_shared_stencil_is_refined_once():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    fine = refine(nn.Sequential(conv, nn.ReLU(), conv), (2, 8, 8))
    assert fine[0].weight is fine[2].weight
    assert torch.equal(fine[0].weight, refine_kernel(conv.weight.detach()))


def test_what_was_done_is_said(caplog):
    model = nn.Sequential(
        nn.Conv2d(1, 2, 7, padding=3), nn.Conv2d(2, 2, 3, padding=1, stride=2), nn.Flatten(),
        nn.Linear(32, 3),
    )  # fmt: skip
    model.unused = nn.Parameter(torch.zeros(2, 2))
    said = []
    with (
        caplog.at_level(logging.INFO, "mgcore.refinement.module"),
        pytest.warns(UserWarning) as warned,
    ):
        refine(model, (1, 8, 8), report=said.append)
    assert [str(w.message) for w in warned] == [
        "less than half of the response is reproduced by the kernels of 0.weight. The report gives "
        "the residuals; stencils='copy' copies all kernels."
    ]
    assert warned[0].filename == __file__
    assert caplog.messages == [str(said[0])]
    assert said[0].rows[-1].note == "not used in a forward pass"
    assert [row.name for row in said[0].rows] == ["0.weight", "1.weight", "3.weight", "unused"]


def test_names_are_importable_from_the_package():
    import mgcore
    import mgcore.refinement.module

    assert (
        mgcore.refine is mgcore.refinement.module.refine
        and mgcore.coarsen is mgcore.refinement.module.coarsen
    )
