"""Networks and circumstances in which `refine` would be wrong in silence, or end in a raw error."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.utils import prune

from mgcore import coarsen, grids, kernels, operators, refine
from mgcore.kernels import refine_kernel
from mgcore.thesis import regularization


class Net(nn.Module):
    """A 3×3 convolution to four maps, and what a test does with them."""

    def __init__(self, behind, *layers, shape=(4, 1, 3)):
        super().__init__()
        self.conv = nn.Conv2d(shape[1], shape[0], shape[2], padding=1)
        self.layers = nn.ModuleList(layers)
        self.behind = behind

    def forward(self, x):
        return self.behind(self.conv(x).relu(), *self.layers)


def attend(x, head):
    """Average the cells with weights from a softmax over them."""
    share = x.mean(1, keepdim=True).flatten(2).softmax(-1)
    return head((x.flatten(2) * share).sum(-1))


SUMS = {
    "sum": lambda x, head: head(x.sum((2, 3))),
    "sum of flattened maps": lambda x, head: head(x.flatten(2).sum(-1)),
    "sum of rows": lambda x, head: head(x.mean(3).sum(2)),
    "sum, then a sigmoid": lambda x, head: head(x.sum((2, 3)).sigmoid()),
    "norm": lambda x, head: head(x.norm(dim=(2, 3))),
    "cosine": lambda x, head: F.normalize(x.flatten(1))[:, :4] @ head.weight.T,
    "renorm": lambda x, head: head(torch.renorm(x, 2, 0, 1.0).mean((2, 3))),
    "prod": lambda x, head: head(x.prod(-1).mean(-1)),
    "logsumexp": lambda x, head: head(x.logsumexp((2, 3))),
    "log_softmax": lambda x, head: head(x.flatten(2).log_softmax(-1).mean(-1)),
    "einsum": lambda x, head: head(torch.einsum("bchw->bc", x)),
    "einsum of two": lambda x, head: head(torch.einsum("bchw,bdhw->bcd", x, x).mean(1)),
    "gram matrix": lambda x, head: head((x.flatten(2) @ x.flatten(2).mT).mean(1)),
    "softmax without a sum": lambda x, head: head(
        (x * x.flatten(2).softmax(-1).view(x.shape)).mean((2, 3))
    ),
    "divided by a fixed number": lambda x, head: head(x.sum((2, 3)) / 96),
    "returned": lambda x, head: x.sum((2, 3)),
    "Fourier transform": lambda x, head: head(torch.fft.rfft2(x)[..., 0, 0].real),
    "pooling that does not divide": lambda x, head: head(
        F.avg_pool2d(x, x.shape[2:], divisor_override=1).flatten(1)
    ),
    "mean times the number of cells": lambda x, head: head(x.mean((2, 3)) * x[0, 0].numel()),
    "p-norm pooling": lambda x, head: head(F.lp_pool2d(x, 2, x.shape[2:]).flatten(1)),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("change", [refine, coarsen])
def test_what_grows_with_the_number_of_cells_is_refused(name, change):
    with pytest.raises(ValueError, match=r"adds up the cells of a grid.*→.*Use a mean"):
        change(Net(SUMS[name], nn.Linear(4, 2)), (1, 8, 12))


def scattered(x, head):
    """Add the cells of each map into one number by their index."""
    index = torch.zeros(x[0, 0].numel(), dtype=torch.int64)
    return head(torch.zeros(*x.shape[:2], 1).index_add(2, index, x.flatten(2))[..., 0])


def rotated(x, head, tokens):
    """Leave class tokens aside and put them back, as networks with rotary positions do."""
    x = torch.cat([torch.zeros(len(x), tokens, 4), x.flatten(2).mT], 1)
    heads = x.view(len(x), -1, 2, 2).transpose(1, 2)
    heads = torch.cat([heads[:, :, :tokens], 2 * heads[:, :, tokens:]], 2)
    return head(heads[:, :, tokens:].transpose(1, 2).flatten(2).mean(1))


UNKNOWN = {
    "product with ones": lambda x, head: head(
        (x.flatten(2) @ torch.ones(x[0, 0].numel(), 1))[..., 0]
    ),
    "tensordot": lambda x, head: head(torch.tensordot(x, torch.ones(x.shape[2:]), dims=2)),
    "index_add": scattered,
    "histogram": lambda x, head: head(torch.stack([torch.histc(m, 4, -1, 1) for m in x[:, 0]])),
    "distances": lambda x, head: head(torch.cdist(x.flatten(2), 2 * x.flatten(2)).mean(1)),
    "kernel as large as the map": lambda x, head: head(
        F.conv2d(x, torch.ones(4, 1, *x.shape[2:]), groups=4).flatten(1)
    ),
    "crop": lambda x, head: head(x[..., :3, :5].mean((2, 3))),
    "crop along one axis": lambda x, head: head(x[..., :5].mean((2, 3))),
    "crop as long as the class tokens": lambda x, head: (
        rotated(x, head, 3) + head(x[..., :3, :].mean((2, 3)))
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("change", [refine, coarsen])
def test_an_operation_that_may_add_up_cells_is_refused_by_name(name, change):
    with pytest.raises(ValueError, match=r"in the forward pass takes \d+ → \d+ numbers and gives"):
        change(Net(UNKNOWN[name], nn.Linear(4, 2)), (1, 8, 12))


def written(x):
    x = x.clone()
    x[..., :2] = 0
    return x


@pytest.mark.parametrize(
    "pad",
    [
        lambda x: torch.cat([x[..., -2:], x, x[..., :2]], -1),
        lambda x: torch.cat([x[..., :2].flip(-1), x], -1),
        lambda x: torch.cat([x[..., -2:], x[..., :-2]], -1),
        written,
    ],
    ids=["periodic", "mirror", "roll", "zeros at a border"],
)
def test_borders_that_a_network_makes_by_itself_lose_no_cell(pad):
    model = Net(lambda x, head: head(pad(x).mean((2, 3))), nn.Linear(4, 2))
    assert torch.equal(refine(model, (1, 8, 12)).conv.weight, refine_kernel(model.conv.weight))
    two = Net(lambda x, head: head(torch.cat([x[..., :2], x[..., -2:]], -1).mean((2, 3))),
              nn.Linear(4, 2))  # fmt: skip
    with pytest.raises(ValueError, match=r"^slice in the forward pass takes 12 → 24 numbers"):
        refine(two, (1, 8, 12))


class Frames(nn.Module):
    """A recurrence over the frames of a film, cell by cell."""

    def __init__(self, kind):
        super().__init__()
        self.conv, self.rnn = nn.Conv3d(1, 4, 3, padding=1), kind(4, 3, batch_first=True)

    def forward(self, x):
        maps = self.conv(x).permute(0, 3, 4, 2, 1)
        steps = maps.reshape(-1, *maps.shape[3:])
        return self.rnn(steps)[0][:, -1].view(len(x), -1, 3).mean(1)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrence_over_frames_is_accepted_where_space_alone_changes(kind):
    _, report = refine(Frames(kind), (1, 5, 6, 6), axes=(1, 2), return_report=True)
    assert report["conv.weight"].done == "refined"


class Recurrence(nn.Module):
    """A recurrence along the cells of maps, or along their channels."""

    def __init__(self, kind, cells):
        super().__init__()
        self.conv, self.cells = nn.Conv2d(1, 4, 3, padding=1), cells
        self.rnn, self.head = kind(4 if cells else 1, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        maps = self.conv(x)
        steps = maps.flatten(2).mT if self.cells else maps.mean((2, 3))[..., None]
        return self.head(self.rnn(steps)[0].mean(1))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_recurrence_along_the_cells_is_refused_by_name(kind, device):
    with torch.device(device):
        model, other = Recurrence(kind, True), Recurrence(kind, False)
    times = r"^rnn\.weight_.h_l0 is used 96 times at \(1, 8, 12\) and 24 times at \(1, 4, 6\)\."
    with pytest.raises(ValueError, match=times):
        refine(model, (1, 4, 6))
    _, report = refine(other, (1, 4, 6), return_report=True)
    assert report["conv.weight"].done == "refined" and report["rnn.weight_hh_l0"].done == "kept"


@pytest.mark.parametrize("name", sorted((SUMS | UNKNOWN).keys() - {"kernel as large as the map"}))
def test_a_change_of_the_sums_is_accepted_with_a_warning(name):
    """On request; the warning stands at the caller's line, and the kernels change as ever."""
    model = Net((SUMS | UNKNOWN)[name], nn.Linear(4, 2))
    sentence = r"^\S+ in the forward pass (adds up|takes) .*Train the network again\.$"
    with pytest.warns(UserWarning, match=sentence) as warned:
        fine = refine(model, (1, 8, 12), sums="warn")
    assert {one.filename for one in warned} == {__file__}
    assert torch.equal(fine.conv.weight, refine_kernel(model.conv.weight.detach()))
    assert fine(torch.rand(2, 1, 16, 24)).isfinite().all()


@pytest.mark.filterwarnings("ignore:convolution in the forward pass takes")
def test_a_kernel_as_large_as_the_map_has_no_rule():
    model = Net(UNKNOWN["kernel as large as the map"], nn.Linear(4, 2))
    with pytest.raises(
        ValueError, match=r"^the forward pass computes a kernel as large as its map"
    ):
        refine(model, (1, 8, 12), sums="warn")


def test_sums_of_several_places_are_counted():
    model = Net(
        lambda x, head: head(x.sum((2, 3)).exp() + x.norm(dim=(2, 3)).exp()), nn.Linear(4, 2)
    )
    with pytest.warns(UserWarning, match=r"The same holds for 1 other operation\. Train"):
        refine(model, (1, 8, 12), sums="warn")
    with pytest.raises(ValueError, match=r"^sums must be 'raise' or 'warn', got 'ignore'\.$"):
        refine(model, (1, 8, 12), sums="ignore")


@pytest.mark.filterwarnings("error")
def test_a_network_without_sums_is_changed_without_a_warning():
    refine(Net(lambda x, head: head(x.mean((2, 3))), nn.Linear(4, 2)), (1, 8, 12), sums="warn")


MEANS = {
    "all class tokens": lambda x, head: rotated(x, head, 3),
    "no class token": lambda x, head: rotated(x, head, 0),
    "mean": lambda x, head: head(x.mean((2, 3))),
    "attention pooling": attend,
    "sum over the number of cells": lambda x, head: head(x.sum((2, 3)) / (x.shape[2] * x.shape[3])),
    "masked mean": lambda x, head: head((x * (x > 0)).sum((2, 3)) / torch.ones_like(x).sum((2, 3))),
    "sum, then a layer norm": lambda x, head: head(F.layer_norm(x.sum((2, 3)), (4,))),
    "sum over channels": lambda x, head: head((x + x.sum(1, keepdim=True)).mean((2, 3))),
    "sum behind adaptive pooling": lambda x, head: head(F.adaptive_avg_pool2d(x, 2).sum((2, 3))),
    "rms": lambda x, head: head(x.pow(2).mean((2, 3)).sqrt()),
    "standard deviation": lambda x, head: head(x.std((2, 3))),
    "median": lambda x, head: head(x.flatten(2).median(-1).values),
    "largest three": lambda x, head: head(x.flatten(2).topk(3).values.mean(-1)),
    "Fourier transform and back": lambda x, head: head(
        torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[2:]).mean((2, 3))
    ),
    "mean mode": lambda x, head: head(torch.fft.rfft2(x, norm="forward")[..., 0, 0].real),
    "one cell": lambda x, head: head(x[:, :, -1, -1]),
    "scaled": lambda x, head: head((x / 255 * 2 + x).mean((2, 3))),
    "attention": lambda x, head: head(
        F.scaled_dot_product_attention(*[x.flatten(2).mT[:, None]] * 3)[:, 0]
    ).mean(1),
}


@pytest.mark.parametrize("name", MEANS)
def test_what_does_not_depend_on_the_number_of_cells_is_refined(name, rng):
    """With constant maps, the simplest case, outputs are equal on both grids."""
    model = Net(MEANS[name], nn.Linear(4, 2))
    with torch.no_grad():
        model.conv.weight.zero_()
    fine = refine(model, (1, 8, 12))
    x = torch.rand(3, 1, 16, 24, generator=rng)
    assert torch.allclose(fine(x), model(x[..., ::2, ::2]), atol=1e-6)


def decoder(*layers):
    """An autoencoder whose bottleneck is dense: 8×8 → 4×4 → 16 numbers → 4×4 → 8×8."""
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*encoder, nn.Linear(64, 16), nn.Linear(16, 64), *layers)


UP = nn.ConvTranspose2d(4, 1, 2, stride=2)
FIXED = {
    "decoder": (lambda: decoder(nn.Unflatten(1, (4, 4, 4)), UP), r"5 \(view\) keeps its size"),
    "decoder without convolution": (
        lambda: decoder(nn.Unflatten(1, (1, 8, 8))), r"5 \(view\) keeps its size"),
    "interpolate(size=)": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Upsample(size=(8, 8))),
        r"1 \(upsample_nearest2d\) keeps its size"),
    "interpolate(size=), then a convolution": (
        lambda: nn.Sequential(nn.Upsample(size=(8, 8)), nn.Conv2d(1, 4, 3, padding=1)),
        r"0 \(upsample_nearest2d\) keeps its size"),
    "adaptive pooling": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(4)),
        r"1 \(adaptive_avg_pool2d\) keeps its size"),
    "view to a fixed size": (
        lambda: Net(lambda x: x.view(-1, 4, 8, 8)), "reshapes maps to a fixed size"),
    "view to a fixed size, then a dense layer": (
        lambda: Net(lambda x, h: h(x.view(-1, 2, 128)).mean(1), nn.Linear(128, 3)),
        "reshapes maps to a fixed size"),
    "images mixed": (lambda: Net(lambda x: x.view(-1, 256)), "mixes images"),
    "view to a fixed size, then back": (
        lambda: Net(lambda x: x.view(-1, 4, 4, 2, 4, 2).mean((3, 5))), "reshapes maps to a fixed"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.filterwarnings("ignore:copied, since")
def test_maps_that_keep_their_size_are_refused_by_the_layer(name):
    make, sentence = FIXED[name]
    with pytest.raises(ValueError, match=sentence):
        refine(make(), (1, 8, 8))


def masked_windows(x):
    """Cut maps into windows, with a mask whose size follows from the input, as Swin does."""
    windows = x.view(*x.shape[:2], x.shape[2] // 4, 4, x.shape[3] // 4, 4)
    mask = x.new_ones(x.shape[2:])
    mask[:4, :4] = 0
    return windows.reshape(x.shape) * mask


FOLLOWING = {
    "scale_factor": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
    ),
    "size of the input": lambda: Net(lambda x: F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:])),
    "global pooling": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1)),
    "fixed interpolation before a classifier": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.Upsample(size=(4, 4)), nn.Flatten(), nn.Linear(64, 2)
    ),
    "patches": lambda: Net(
        lambda x: x.view(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean((3, 5))
    ),
    "windows with a mask": lambda: Net(masked_windows),
    "several heads": lambda: Net(lambda x, h: h(x.mean((2, 3))).view(-1, 3, 2), nn.Linear(4, 6)),
}


@pytest.mark.parametrize("name", FOLLOWING)
def test_maps_that_follow_and_outputs_that_are_no_maps_are_accepted(name):
    fine = refine(FOLLOWING[name](), (1, 8, 12))
    assert len(fine(torch.rand(3, 1, 16, 24))) == 3


def constants():
    """Fill every cache of constants, in whatever mode this is called."""
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    kernel = torch.rand(3, 3, dtype=torch.float64)
    grids.pool(x), refine_kernel(kernel), kernels.galerkin_map(), kernels.coarsen_kernel(kernel)
    operators.from_operators(operators.to_operators(kernel))
    regularization.smoothness_gradient(x, 1.0)


def test_constants_made_in_inference_mode_serve_a_later_backward_pass():
    caches = (grids._mean_of_pairs, kernels._transfer_matrix, kernels._galerkin_factor,
              operators._unit_basis, regularization._second_difference)  # fmt: skip
    for cache in caches:
        cache.cache_clear()
    with torch.inference_mode():
        constants()
    x = torch.rand(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    kernel = torch.rand(3, 3, dtype=torch.float64, requires_grad=True)
    beta = operators.to_operators(kernel)
    for y in (grids.pool(x), refine_kernel(kernel), operators.from_operators(beta),
              regularization.smoothness_gradient(x, 1.0)):  # fmt: skip
        y.square().sum().backward()
    assert not kernels.galerkin_map().is_inference()


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 96, 2)
    )


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("inside", [True, False])
def test_inference_mode_changes_nothing(mode, inside):
    expected = refine(small(), (1, 8, 12))
    model = small()
    with mode():
        model = small() if inside else model
        fine, report = refine(model, (1, 8, 12), return_report=True)
    assert [row.done for row in report.rows] == ["refined", "prolonged"]
    for a, b in zip(fine.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b) and a.requires_grad and not a.is_inference()
    fine(torch.rand(2, 1, 16, 24)).sum().backward()


def test_autocast_changes_nothing():
    model = small()
    expected = refine(model, (1, 8, 12))
    with torch.autocast("cpu", torch.bfloat16):
        fine = refine(model, (1, 8, 12))
    assert all(map(torch.equal, fine.parameters(), expected.parameters()))


def normed(**options):
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.InstanceNorm2d(2, **options))


def test_instance_normalisation_is_estimated_too(rng):
    model = normed(track_running_stats=True, momentum=0.3)
    images = torch.rand(100, 1, 16, 24, generator=rng)
    fine, report = refine(model, (1, 8, 12), statistics=images, return_report=True)
    with torch.no_grad():
        batches = [fine[0](b).mean((0, 2, 3)) for b in images.split(64)]
    assert torch.allclose(fine[1].running_mean, torch.stack(batches).mean(0), atol=1e-5)
    assert fine[1].momentum == 0.3
    assert report.statistics == "estimated anew in 1 layer, from 2 batches"
    _, report = refine(model, (1, 8, 12), return_report=True)
    assert report.statistics == "kept in 1 layer"


def test_statistics_that_hold_nothing_are_refused():
    model = normed(track_running_stats=True)
    used_up = iter([torch.rand(2, 1, 16, 24)])
    assert next(used_up) is not None
    with pytest.raises(ValueError, match="statistics holds no batch"):
        refine(model, (1, 8, 12), statistics=used_up)
    with pytest.raises(TypeError, match="statistics yields a dict"):
        refine(model, (1, 8, 12), statistics=[{"images": torch.rand(2, 1, 16, 24)}])


def test_compiled_models_are_traced_and_every_instance_still_compiles():
    counter = CompileCounter()
    model = torch.compile(small(), backend=counter)
    fine = refine(model, (1, 8, 12))
    assert type(fine) is type(model)
    assert set(fine.state_dict()) == set(model.state_dict())
    assert fine.state_dict()["_orig_mod.3.weight"].shape == (2, 4 * 384)
    assert counter.frame_count == 0
    model(torch.rand(2, 1, 8, 12))
    assert counter.frame_count == 1
    torch.compile(Other(), backend=counter)(torch.rand(2, 1, 8, 12))
    assert counter.frame_count == 2
    refine(torch.compile(Other(), backend=counter), (1, 8, 12))
    other = torch.compile(Other(), backend=counter)
    torch._dynamo.reset()
    other(torch.rand(2, 1, 8, 12))
    assert counter.frame_count == 3


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        return self.conv(x).relu()


@pytest.mark.parametrize("change", [refine, coarsen])
def test_memory_formats_are_kept(change):
    model = nn.Sequential(*[nn.Conv2d(4, 4, 3, padding=1) for _ in range(2)])
    model[0].to(memory_format=torch.channels_last)
    new = change(model, (4, 8, 12))
    assert new[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert new[1].weight.is_contiguous()
    film = nn.Conv3d(2, 2, 3, padding=1).to(memory_format=torch.channels_last_3d)
    assert change(film, (2, 4, 4, 4)).weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_half_precision_that_overflows_is_warned_of():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)).half()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[-1.0, 0, 1], [0, 0, 0], [1, 0, -1]]) * 3e4)
    with pytest.warns(UserWarning, match=r"0\.weight \(float16\) left the range of the dtype"):
        refine(model, (1, 8, 12))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refine(model.bfloat16(), (1, 8, 12))


def test_the_users_hooks_do_not_run_and_stay():
    model, calls = small(), []
    model[0].register_forward_hook(lambda *_: calls.append("forward"))
    model[0].register_forward_pre_hook(lambda *_: calls.append("before"))
    model.register_forward_hook(
        lambda *_, **__: calls.append("keywords"), with_kwargs=True, always_call=True
    )
    fine = refine(model, (1, 8, 12))
    assert calls == []
    for net, n in ((model, 1), (fine, 2)):
        net(torch.rand(2, 1, 8 * n, 12 * n))
    assert calls == ["before", "forward", "keywords"] * 2


@pytest.mark.filterwarnings("ignore:copied, since")
def test_fixed_filters_in_buffers_are_copied_and_named():
    class Blur(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, padding=1)
            self.register_buffer("blur", torch.ones(4, 1, 3, 3) / 9)

        def forward(self, x):
            return F.conv2d(self.conv(x), self.blur, stride=2, padding=1, groups=4)

    model = Blur()
    fine, report = refine(model, (1, 8, 12), return_report=True)
    assert torch.equal(fine.blur, model.blur)
    assert (report["blur"].done, report["conv.weight"].done) == ("copied", "refined")
    assert "buffer" in report["blur"].note


class Standardised(nn.Conv2d):
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w / w.std(), self.bias, padding=1)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, mask):
        return self.conv(x) * mask


def after_a_step(make):
    """Return a network after one backward pass, with whatever it stored on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make()
    model(torch.rand(2, 1, 8, 12)).sum().backward()
    return model


def old_weight_norm():
    return nn.Sequential(nn.utils.weight_norm(nn.Conv2d(1, 2, 3, padding=1)))


def old_spectral_norm():
    return nn.Sequential(nn.utils.spectral_norm(nn.Conv2d(1, 2, 3, padding=1)))


def pruned():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1))
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: after_a_step(old_weight_norm), ValueError, "remove_weight_norm"),
        (lambda: after_a_step(old_spectral_norm), ValueError, "remove_spectral_norm"),
        (pruned, ValueError, r"prune\.remove"),
        (lambda: after_a_step(pruned), ValueError, r"prune\.remove"),
        (lambda: nn.Sequential(Standardised(1, 2, 3)), ValueError,
         r"^0 computes the weight of its convolution, of shape \(2, 1, 3, 3\), from 0\.weight by "
         r"div\. Replace it by a layer whose weight is a parameter\.$"),
        (lambda: torch.jit.script(small()), TypeError, "^model is a TorchScript module"),
        (lambda: nn.Sequential(torch.jit.script(nn.Conv2d(1, 1, 3))), TypeError,
         "^0 is a TorchScript module"),
        (TwoInputs, ValueError, "It is called with one tensor"),
        (lambda: nn.Sequential(nn.Conv2d(1, 1, 3, dtype=torch.complex64)), TypeError,
         r"^0\.weight is complex \(torch\.complex64\)"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_cannot_change_is_refused_with_the_way_out(make, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        refine(make(), (1, 8, 12))
    text = str(raised.value)
    assert "\n" not in text and text.endswith(".") and "parametrization" not in text


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_computed_weights_that_need_no_change_are_kept():
    """A graph of an earlier step hinders no copy."""

    def make():
        one = nn.utils.weight_norm(nn.Conv2d(1, 2, 1))
        return nn.Sequential(one, nn.Conv2d(2, 2, 3, padding=1))

    model = after_a_step(make)
    fine = refine(model, (1, 8, 12))
    assert torch.equal(fine[1].weight, refine_kernel(model[1].weight.detach()))
    x = torch.rand(2, 1, 8, 12)
    assert torch.equal(fine[0](x), model[0](x))


def test_a_model_on_the_meta_device_gives_a_plan():
    with torch.device("meta"):
        model = small()
    fine, report = refine(model, (1, 8, 12), return_report=True)
    assert fine[3].weight.shape == (2, 4 * 384) and fine[3].weight.is_meta
    assert [(row.done, row.growth) for row in report.rows] == [("refined", None),
                                                               ("prolonged", None)]  # fmt: skip


def test_weights_of_attention_are_never_said_to_be_unused():
    """By hand, in a module of torch's, and in an operation that fuses all of it."""

    class Fused(nn.MultiheadAttention):
        def forward(self, x):
            weights = (self.in_proj_weight, self.in_proj_bias, self.out_proj.weight,
                       self.out_proj.bias)  # fmt: skip
            return torch._native_multi_head_attention(x, x, x, 4, 2, *weights)[0]

    layers = (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), Fused(4, 2))
    # Whether torch's own module takes its fused path depends on torch's version.
    for layer, notes in zip(layers, ({"reads no grid", "used by attention"}, {"used by attention"}),
                            strict=True):  # fmt: skip
        model = Net(lambda x, layer: layer(x.flatten(2).mT).mean(1), layer)
        fine, report = refine(model, (1, 8, 12), return_report=True)
        rows = [row for row in report.rows if "proj" in row.name]
        assert [row.done for row in rows] == ["kept"] * 2
        assert {row.note for row in rows} <= notes
        assert fine.eval()(torch.rand(2, 1, 16, 24)).shape == (2, 4)


def test_weights_without_a_rule_are_said_to_be_used():
    class Bilinear(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.idle = (nn.Parameter(torch.rand(4, 4)) for _ in range(2))

        def forward(self, x):
            return torch.einsum("bc,dc->bd", x.mean((2, 3)), self.w[:, :4] * 2)

    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), Bilinear())
    _, report = refine(model, (1, 8, 12), return_report=True)
    assert report["1.w"].note.startswith("used by") and report["1.idle"].note.startswith("not used")


def test_a_report_that_cannot_be_written_does_not_lose_the_network(monkeypatch, capsys):
    def ascii_terminal(report):
        str(report).encode("ascii")

    with pytest.warns(UserWarning, match="report raised UnicodeEncodeError"):
        fine = refine(small(), (1, 8, 12), report=ascii_terminal)
    assert fine[3].in_features == 4 * 384
    _, report = refine(small(), (1, 8, 12), return_report=True, report=print)
    assert capsys.readouterr().out == f"{report}\n"
