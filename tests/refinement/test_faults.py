"""Networks that were once changed wrongly in silence: each is now right or refused."""

import io
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from mgcore import coarsen, grids, kernels, operators, refine
from mgcore.refinement.report import Report


def conv(*widths):
    """Return 3×3 convolutions with a ReLU after each."""
    layers = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class Then(nn.Module):
    """A convolution, and whatever a test puts behind it."""

    def __init__(self, behind, head=None):
        super().__init__()
        self.conv, self.behind, self.head = conv(1, 4), behind, head or nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.behind(self.conv(x)))


def refusal(model, shape=(1, 8, 8), **options) -> str:
    with pytest.raises(ValueError) as raised:
        refine(model, shape, **options)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith(".")
    return sentence


@pytest.mark.parametrize(
    ("behind", "operation"),
    [
        (lambda x: x.sum((2, 3)), "sum"),
        (lambda x: x.flatten(2).sum(-1), "sum"),
        (lambda x: x.logsumexp((2, 3)), "logsumexp"),
        (lambda x: torch.linalg.vector_norm(x, dim=(2, 3)), "linalg_vector_norm"),
        (lambda x: x.flatten(2).prod(-1), "prod"),
        (lambda x: x.permute(0, 2, 3, 1).flatten(1, 2).sum(1), "sum"),
        (lambda x: torch.nn.functional.softmax(x, 1).sum((2, 3)), "sum"),
    ],
)
def test_reductions_that_grow_with_the_grid_are_refused(behind, operation):
    sentence = refusal(Then(behind))
    assert f"by {operation}, and" in sentence and "Use a mean over the grid" in sentence


def test_means_over_the_grid_and_sums_over_channels_are_no_such_reductions():
    for behind in (lambda x: x.mean((2, 3)), lambda x: x.amax((2, 3))):
        assert isinstance(refine(Then(behind), (1, 8, 8)), Then)
    model = nn.Sequential(conv(1, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    refine(model, (1, 8, 8))
    normalised = Then(lambda x: F.normalize(x, dim=1).mean((2, 3)))
    refine(normalised, (1, 8, 8))


class Decoder(nn.Module):
    """A dense layer that writes a map of a fixed size."""

    def __init__(self):
        super().__init__()
        self.encode, self.dense = conv(1, 2), nn.Linear(2 * 64, 2 * 16)
        self.decode = nn.ConvTranspose2d(2, 1, 2, stride=2)

    def forward(self, x):
        return self.decode(self.dense(self.encode(x).flatten(1)).view(-1, 2, 4, 4))


def test_an_output_map_that_does_not_follow_is_refused_by_name():
    assert refusal(Decoder()).startswith(
        "output 0 is a map of 8×8 cells and keeps that size at (1, 16, 16) "
        "(decode.weight is the first to write it)."
    )
    fixed = nn.Sequential(conv(1, 2), nn.Upsample(size=(8, 8)), nn.Conv2d(2, 1, 3, padding=1))
    assert "output 0 is a map of 8×8 cells" in refusal(fixed)


def test_maps_that_follow_and_single_cells_are_no_such_output():
    autoencoder = nn.Sequential(
        conv(1, 2), nn.AvgPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(2, 1, 3, padding=1)
    )
    assert refine(autoencoder, (1, 8, 8))(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)
    refine(nn.Sequential(conv(1, 2), nn.AdaptiveAvgPool2d(1)), (1, 8, 8))


def test_a_view_to_a_fixed_size_cannot_mix_images():
    assert "would mix images" in refusal(Then(lambda x: x.view(-1, 4, 8, 8).mean((2, 3))))


def test_inference_mode_changes_nothing_about_the_result():
    model = nn.Sequential(conv(1, 2), nn.Flatten(), nn.Linear(2 * 64, 3))
    expected = refine(model, (1, 8, 8))
    with torch.inference_mode():
        fine, report = refine(model, (1, 8, 8), return_report=True)
    assert [row.done for row in report.rows] == ["refined", "prolonged"]
    for one, other in zip(fine.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other) and not one.is_inference()
    fine(torch.rand(2, 1, 16, 16)).sum().backward()  # it can be trained


def test_constants_cached_in_inference_mode_serve_a_backward_pass():
    for function in (
        lambda k: kernels.refine_kernel(k), lambda k: kernels.coarsen_kernel(k),
        lambda k: operators.to_operators(k), lambda k: operators.from_operators(k.flatten()),
        lambda k: grids.prolong(k.repeat(2, 2)), lambda k: grids.restrict(k.repeat(2, 2)),
    ):  # fmt: skip
        for module in (kernels, operators, grids):
            for item in vars(module).values():
                if hasattr(item, "cache_clear"):
                    item.cache_clear()
        with torch.inference_mode():
            function(torch.rand(3, 3, dtype=torch.float64))
        k = torch.rand(3, 3, dtype=torch.float64, requires_grad=True)
        function(k).square().sum().backward()
        assert k.grad is not None


def normed():
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2))


@pytest.mark.parametrize("empty", [[], torch.zeros(0, 1, 16, 16), iter(())])
def test_statistics_of_nothing_are_refused(empty):
    assert refusal(normed(), statistics=empty).startswith("statistics holds no input")


def test_statistics_of_the_old_size_are_refused_whatever_holds_them():
    for batches in ([torch.zeros(4, 1, 8, 8)], iter([(torch.zeros(4, 1, 8, 8), None)])):
        assert "holds a batch of shape (4, 1, 8, 8)" in refusal(normed(), statistics=batches)


def test_instance_normalisation_with_statistics_is_named():
    model = nn.Sequential(normed(), nn.InstanceNorm2d(2, track_running_stats=True))
    _, report = refine(model, (1, 8, 8), statistics=torch.rand(4, 1, 16, 16), return_report=True)
    assert "1 layers are estimated anew; those of 1 instance norm" in str(report)


def test_a_compiled_model_and_others_of_its_class_still_compile():
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    model = nn.Sequential(conv(1, 2), nn.Flatten(), nn.Linear(2 * 64, 3))
    compiled = torch.compile(model, backend=count)
    x = torch.rand(2, 1, 8, 8)
    refine(compiled, (1, 8, 8))
    compiled(x)
    other = torch.compile(nn.Sequential(conv(1, 3), nn.Flatten(), nn.Linear(192, 3)), backend=count)
    other(x)
    assert len(graphs) >= 2


def test_memory_format_stays():
    model = conv(4, 4).to(memory_format=torch.channels_last)
    weight = refine(model, (4, 8, 8))[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(weight, refine(conv_like(model), (4, 8, 8))[0].weight)


def conv_like(model):
    other = conv(4, 4)
    other.load_state_dict(model.state_dict())
    return other


def test_half_precision_that_overflows_is_refused():
    model = conv(1, 1).half()
    model[0].weight.data = 2000 * torch.tensor([[[[0.0, 0, 0], [-1, 2, -1], [0, 0, 0]]]]).half()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(9):
            with pytest.raises(ValueError, match="0.weight leaves the range of float16"):
                while True:
                    model = refine(model, (1, 8, 8))
            return


def test_the_users_hooks_are_not_called():
    model, seen = conv(1, 2), []
    model[0].register_forward_hook(lambda *_: seen.append("after"))
    model[0].register_forward_pre_hook(lambda *_: seen.append("before"))
    fine = refine(model, (1, 8, 8))
    assert not seen
    fine(torch.zeros(1, 1, 16, 16))
    assert seen == ["before", "after"]  # and they are still there


def old_weight_norm():
    model = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(1, 2, 3, padding=1)))
    model(torch.rand(1, 1, 8, 8)).sum().backward()
    return model


def pruned():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1))
    prune.l1_unstructured(model[0], "weight", 0.5)
    model(torch.rand(1, 1, 8, 8)).sum().backward()
    return model


class Standardised(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w, self.bias, padding=1)


@pytest.mark.parametrize(
    "make",
    [
        old_weight_norm, pruned, lambda: Standardised(1, 2, 3),
        lambda: parametrizations.weight_norm(nn.Conv2d(1, 2, 3, padding=1)),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_weights_that_are_computed_are_refused_with_what_to_do(make):
    sentence = refusal(make())
    assert "computed" in sentence or "computes" in sentence
    assert "Make it a plain parameter first" in sentence


def test_a_fixed_kernel_in_a_buffer_is_kept_and_named():
    class Blur(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)
            self.register_buffer("kernel", torch.ones(1, 1, 3, 3) / 9)

        def forward(self, x):
            return F.conv2d(self.conv(x), self.kernel, padding=1, stride=2)

    fine, report = refine(Blur(), (1, 8, 8), return_report=True)
    assert [row.done for row in report.rows] == ["refined", "kept"]
    assert "a fixed kernel" in report["kernel"].note
    assert torch.equal(fine.kernel, torch.ones(1, 1, 3, 3) / 9)


def test_autocast_does_not_hide_the_weights():
    model = conv(1, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fine = refine(model, (1, 8, 8))
    assert torch.equal(fine[0].weight, refine(model, (1, 8, 8))[0].weight)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_traced_is_named():
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)))
    assert "TorchScript" in refusal(scripted)
    assert "0.weight is complex" in refusal(nn.Sequential(nn.Conv2d(1, 2, 3).to(torch.cfloat)))
    two = nn.Bilinear(4, 4, 2)
    assert "wrap a model of several inputs" in refusal(two)


def test_meta_tensors_give_a_plan():
    with torch.device("meta"):
        model = nn.Sequential(conv(1, 2), nn.Flatten(), nn.Linear(128, 3))
    fine, report = refine(model, (1, 8, 8), return_report=True)
    assert fine[2].weight.shape == (3, 512) and report.rows[0].growth is None


def test_attention_is_not_said_to_be_unused():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 8, 3, padding=1)
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)

        def forward(self, x):
            return self.block(self.conv(x).flatten(2).transpose(1, 2)).mean(1)

    _, report = refine(Tokens(), (1, 4, 4), return_report=True)
    notes = [row.note for row in report.rows if "attn" in row.name]
    assert notes and all("not used" not in note for note in notes)


def test_a_terminal_that_knows_ascii_alone_does_not_lose_the_network():
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with pytest.warns(UserWarning, match="the report could not be shown"):
        fine = refine(conv(1, 2), (1, 8, 8), report=lambda r: terminal.write(str(r)))
    assert isinstance(fine, nn.Sequential)


def test_rows_and_columns_may_differ_in_number():
    model = nn.Sequential(conv(1, 2), nn.Flatten(), nn.Linear(2 * 4 * 10, 3))
    fine, report = refine(model, (1, 4, 10), return_report=True)
    assert isinstance(report, Report) and fine[2].in_features == 2 * 8 * 20
    back = coarsen(fine, (1, 8, 20), prolongation="bilinear")
    assert back[2].in_features == 80
