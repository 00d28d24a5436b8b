"""The record of the torchvision networks: today's code gives the same counts."""

import pytest
import zoo

from mgcore.lab.pages.zoo import RATIOS, Result, read_zoo, zoo_table

CHECKED = ("squeezenet1_0", "shufflenet_v2_x0_5")  # small, quick, with fitted layers and without


@pytest.mark.filterwarnings("ignore:less than half")
@pytest.mark.parametrize("name", CHECKED)
def test_the_record_is_what_the_code_does(name):
    recorded = {(r.name, r.after[-1]): r for r in read_zoo()}
    (entry,) = [entry for entry in zoo.entries() if entry.name == name]
    for ratio in RATIOS:
        result = zoo.result_of(entry, ratio)
        assert recorded[name, result.after[-1]] == result and not result.refusal


def test_families_are_summed():
    results = [
        Result("net1_0", "classification", [3, 4, 4], [3, 8, 8], counts={"refined": 2, "kept": 1}),
        Result("net2_0", "classification", [3, 4, 4], [3, 8, 8], counts={"refined": 3, "fitted": 1},
               residuals=[0.25, 0.5]),
        Result("net2_0", "classification", [3, 7, 7], [3, 9, 9], refusal="No."),
    ]  # fmt: skip
    (row,) = zoo_table(results).rows
    assert list(row) == ["net", "2", "5", "1", "", "25%", "", "", "", "", "1"]
