"""Numbers that the thesis's own software computed (``meganet.json``), repeated by mgcore."""

import pytest
import torch
from original_software import RECORD, array, differences, numbers, waves

from mgcore.data.images import normalise
from mgcore.lab.records.files import read_json

PARTS = differences()
DIFFERENCES = [difference for part in PARTS.values() for difference in part]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda d: d.quantity)
def test_a_quantity_agrees_with_the_original_softwares(difference):
    assert difference.largest <= difference.bound


def test_every_part_of_the_file_is_repeated():
    """But for `relu`, the derivative at 0, which is 1 in the package and 0 in mgcore."""
    assert {*numbers()} - {"about", "relu"} == {
        "convolution", "pooling", "standardise", "network", "penalties", "transfer", "sgd",
        "newton", "steihaug",
    }  # fmt: skip
    assert numbers()["relu"] == {"x": [-1, 0, 1], "derivative": [0, 1, 1]}
    assert len({d.quantity for d in DIFFERENCES}) == len(DIFFERENCES)


def test_the_errata_page_shows_these_quantities():
    recorded = read_json(RECORD)["parts"]
    expected = {part: [(d.quantity, d.bound) for d in found] for part, found in PARTS.items()}
    listed = {
        part: [(d["quantity"], d["bound"]) for d in found] for part, found in recorded.items()
    }
    assert listed == expected
    assert all(d["largest"] <= d["bound"] for found in recorded.values() for d in found)


def test_standardised_images_differ_in_the_deviation():
    """The package divides by N − 1, ours by N: at most √(12/11) apart for 12 pixels."""
    images = waves((3, 1, 4, 3), 18000, 0.5, 0.5)
    ours = normalise(images[:, 0], "standardised", torch.float64)[:2]
    ratios = (array(numbers()["standardise"]["output"])[:2] / ours).flatten(1)
    assert ratios.std(dim=1).max() < 1e-12
    first, second = ratios.mean(dim=1).tolist()
    assert first == pytest.approx((11 / 12) ** 0.5) and first < second < 1  # at the floor of ours


def test_the_packages_boundary_steps_are_not_repeated():
    """It takes the negative root, and may climb: here the model rises by .183."""
    run = numbers()["steihaug"][4]
    assert run["not_from_the_package"]["model_value_of_step"] == pytest.approx(0.1832, abs=1e-4)
    assert run["not_from_the_package"]["model_value_of_positive_root_step"] < 0
