"""The records of torchvision's and timm's networks: today's code gives the same counts."""

import pytest
import torch
import zoo
from torch import nn

from mgcore.data.published import import_torchvision
from mgcore.lab.pages.zoo import (
    LIBRARIES,
    RATIOS,
    Result,
    read_zoo,
    refusals_table,
    zoo_counts,
    zoo_table,
)

CHECKED = ("squeezenet1_0", "shufflenet_v2_x0_5")  # small, quick, with fitted layers and without


@pytest.mark.filterwarnings("ignore:less than half")
@pytest.mark.parametrize("name", CHECKED)
def test_the_record_is_what_the_code_does(name):
    recorded = {(r.name, r.after[-1]): r for r in read_zoo()}
    (entry,) = [entry for entry in zoo.entries() if entry.name == name]
    for ratio in RATIOS:
        result = zoo.result_of(entry, ratio)
        assert recorded[name, result.after[-1]] == result and not result.refusal


@pytest.mark.filterwarnings("ignore")  # timm's own and those of poor fits
def test_the_record_of_timm_is_what_the_code_does():
    import_torchvision("torchvision.models")  # which timm imports
    timm = pytest.importorskip(
        "timm", reason="timm is not installed; `pip install timm` lets this test run."
    )
    recorded = {(r.name, r.after[-1]): r for r in read_zoo("timm")}
    for name, module in (("regnetx_002", "regnet"), ("vit_tiny_patch16_224", "vision_transformer")):
        for ratio in RATIOS:
            result = zoo.result_of(zoo.Entry(name, module, timm, 224), ratio)
            assert recorded[name, result.after[-1]] == result and not result.refusal


def test_every_network_of_torchvision_is_recorded():
    listed = {(entry.name, entry.kind) for entry in zoo.entries()}
    assert listed == {(r.name, r.kind) for r in read_zoo()}


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_network_has_both_ratios_and_every_refusal_is_a_sentence(library):
    results = read_zoo(library)
    assert 2 * len({(r.name, r.kind) for r in results}) == len(results)
    for result in results:
        assert bool(result.refusal) != bool(result.counts)
        assert not result.refusal or result.refusal.endswith(".")


def test_families_are_summed():
    results = [
        Result("net1_0", "classification", [3, 4, 4], [3, 8, 8], counts={"refined": 2, "kept": 1}),
        Result("net2_0", "classification", [3, 4, 4], [3, 8, 8], counts={"refined": 3, "fitted": 1},
               residuals=[0.25, 0.5]),
        Result("net2_0", "classification", [3, 7, 7], [3, 9, 9], refusal="No."),
    ]  # fmt: skip
    (row,) = zoo_table(results).rows
    assert list(row) == ["net", "2", "5", "1", "", "25%", "", "", "", "", "1"]
    assert zoo_counts(results) == {
        "networks": 2, "results": 3, "refused": 1, "warned": 0, "into": 0, "refined": 5,
        "fitted": 1, "copied": 0,
    }  # fmt: skip


def test_a_family_of_timm_is_its_module():
    assert Result("mobilenetv2_035", "efficientnet", [3, 4, 4], [3, 8, 8]).family == "efficientnet"


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_refusal_and_warning_has_a_row_with_its_sentence(library):
    results = read_zoo(library)
    rows, counts = refusals_table(results).rows, zoo_counts(results)
    marked = [r for r in results if r.refusal or r.warning]
    assert [row[-1] for row in rows] == [r.refusal or r.warning for r in marked]
    assert [row[3] for row in rows].count("refused") == counts["refused"]
    assert [row[3] for row in rows].count("accepted") == counts["warned"]


def test_a_sum_over_cells_is_accepted_on_request_and_recorded_with_its_warning(monkeypatch):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x):
            return self.conv(x).sum((2, 3))

    monkeypatch.setattr(zoo, "build", lambda entry: Sum())
    monkeypatch.setattr(zoo, "made_for", lambda entry, side: None)
    result = zoo.result_of(zoo.Entry("sum", "classification", torch, 8), (2, 1))
    assert result.warning.startswith("sum in the forward pass adds up") and not result.refusal
    assert result.counts == {"refined": 1}
