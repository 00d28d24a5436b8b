"""The report on a refined network."""

import pytest
from torch import nn

from mgcore import refine
from mgcore.refinement.layouts import Factor
from mgcore.refinement.report import Report, WeightReport, describe, size_change, sizes
from mgcore.refinement.tracing import trace


def test_a_report_is_a_table_with_a_line_for_each_weight():
    rows = (
        WeightReport("0.weight", "3×3 convolution", "8×8 → 16×16", "refined", 2.5),
        WeightReport("head.weight", "dense 64 → 3", "8×8 → 16×16", "prolonged", None, "a note"),
    )
    report = Report((1, 8, 8), (1, 16, 16), rows, "none")
    assert str(report).splitlines() == [
        "inputs (1, 8, 8) → (1, 16, 16): 1 refined, 1 prolonged",
        "weight       layer            grid         done       grows",
        "0.weight     3×3 convolution  8×8 → 16×16  refined    ×2.50",
        "head.weight  dense 64 → 3     8×8 → 16×16  prolonged         a note",
        "running statistics: none",
    ]
    assert report.ascii().isascii() and "8x8 -> 16x16  refined" in report.ascii()
    assert report["head.weight"] is rows[1]
    with pytest.raises(KeyError):
        report["nothing"]


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), "3×3 convolution"),
        (nn.Conv2d(4, 4, (1, 3), stride=2), "1×3 convolution, stride 2"),
        (nn.Conv2d(4, 8, 3, dilation=2, groups=2), "3×3 convolution, dilation 2, 2 groups"),
        (nn.Conv2d(4, 8, 3, groups=4), "3×3 convolution, depthwise"),
        (nn.ConvTranspose2d(4, 2, 2, stride=2), "2×2 transposed convolution, stride 2"),
        (nn.Linear(8, 3), "dense 8 → 3"),
    ],
)
def test_layers_are_described(layer, words):
    assert describe(trace(layer, (4, 8, 8)).uses[0]) == words


def test_a_networks_without_weights_is_said_to_have_none():
    said = []
    refine(nn.Sequential(nn.MaxPool2d(2)), (1, 4, 4), report=said.append)
    assert str(said[0]).splitlines()[0] == "inputs (1, 4, 4) → (1, 8, 8): no weights"


def test_grids_are_written_once_where_they_stay():
    seven, eight = (tuple(Factor("grid", n) for n in (m, m)) for m in (7, 8))
    channels = (Factor("channel", 3),)
    assert sizes(channels + seven) == "7×7" and sizes(None) == ""
    assert size_change(channels + seven, channels + eight) == "7×7 → 8×8"
    assert size_change(seven, seven) == "7×7"
