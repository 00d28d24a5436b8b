"""The canary: the same after a change of form, another after a change of mathematics."""

import importlib
import math
from pathlib import Path

import pytest
import torch

from mgcore.lab import Record
from mgcore.lab.canary import TOLERANCE, canary, deviation, digest, still_holds
from mgcore.lab.protocol import ARMS

ROOT = Path(__file__).parents[2]
COMMITTED = sorted(file.parent for file in (ROOT / "book" / "records").glob("*/canary.json"))


@pytest.fixture
def forget():
    """Compute the canary anew, within the test and after it."""
    canary.cache_clear()
    yield
    canary.cache_clear()


def test_repeated_runs_are_equal_whatever_was_drawn_before(forget):
    torch.manual_seed(1)
    first = canary("strokes")
    canary.cache_clear()
    torch.manual_seed(2)
    torch.set_default_dtype(torch.float64)
    try:
        assert canary("strokes") == first
    finally:
        torch.set_default_dtype(torch.float32)


def test_every_arm_of_every_variant_has_values():
    values = canary("strokes")
    names = {tuple(name.split("/")[:2]) for name in values}
    for variant in ("plain", "pooled", "prolonged"):
        assert {(variant, arm) for arm in ("coarse", *ARMS)} <= names
    assert all(math.isfinite(value) for value in values.values())
    mnist = canary("mnist")
    assert {n: v for n, v in values.items() if not n.startswith("strokes/")} == mnist


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_committed_records_were_made_by_code_that_computes_the_same(folder):
    record = Record(folder)
    worst, where = deviation(record.canary, canary(record.protocol.dataset))
    assert worst <= TOLERANCE, f"{folder.name} is stale: {where} differs by {worst:.1e}"


# Where a result passes, and what would change it a little there.
FAULTS = [
    ("mgcore.objective", "smoothness_gradient"),
    ("mgcore.objective", "tikhonov_gradient"),
    ("mgcore.objective", "smoothness"),
    ("mgcore.objective", "tikhonov"),
    ("mgcore.networks", "refine_stencil"),
    ("mgcore.networks", "refine_classifier"),
    ("mgcore.networks", "smooth_by_dct"),
    ("mgcore.lab.phases", "learning_rate"),
    ("mgcore.lab.study", "restrict"),
    ("mgcore.lab.study", "normalise"),
    ("mgcore.data", "prolong"),
    ("mgcore.lab.canary", "load_digits"),
]


@pytest.mark.parametrize(("module", "name"), FAULTS)
def test_a_change_of_a_millionth_anywhere_makes_it_stale(module, name, forget, monkeypatch):
    then = canary("strokes")
    canary.cache_clear()
    place = importlib.import_module(module)
    real = getattr(place, name)

    def changed(*arguments, **options):
        result = real(*arguments, **options)
        if name == "load_digits":
            return type(result)(result.name, result.images * (1 + 1e-6), result.labels, "")
        return result * (1 + 1e-6)

    monkeypatch.setattr(place, name, changed)
    assert not still_holds(then, "strokes")


def test_a_sign_makes_it_stale(forget, monkeypatch):
    from mgcore import objective

    then = canary("mnist")
    assert still_holds(then, "mnist") and not still_holds(None, "mnist")
    canary.cache_clear()
    real = objective.tikhonov_gradient
    monkeypatch.setattr(objective, "tikhonov_gradient", lambda *a: -real(*a))
    assert not still_holds(then, "mnist")


def test_another_split_makes_it_stale(forget, monkeypatch):
    from mgcore.lab import study

    then = canary("mnist")
    canary.cache_clear()
    real = study.split
    monkeypatch.setattr(study, "split", lambda *a: [part.flip(0) for part in real(*a)])
    assert not still_holds(then, "mnist")


@pytest.mark.parametrize(
    ("then", "now", "worst", "where"),
    [
        ({"a": 1.0}, {"a": 1.0}, 0.0, ""),
        ({"a": 2.0, "b": 1.0}, {"a": 2.0, "b": 1.5}, 0.5, "b"),
        ({"a": -2.0, "b": 4.0}, {"a": -1.0, "b": 5.0}, 0.5, "a"),
        ({"a": 0.0}, {"a": 1e-6}, 1e-3, "a"),  # near zero differences count per thousandth
        ({"a": 1.0}, {"a": 1.0, "b": 1.0}, math.inf, "b"),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0}, math.inf, "b"),
        ({"a": math.nan}, {"a": 1.0}, math.inf, "a"),
    ],
)
def test_deviation_is_the_largest_relative_difference(then, now, worst, where):
    size, name = deviation(then, now)
    assert size == pytest.approx(worst, rel=1e-12) and name == where


def test_a_value_that_is_no_number_now_is_a_deviation():
    """Wherever it stands: no comparison of a larger one with nan may forget it."""
    then = {"a": 1.0, "b": 1.0, "c": 1.0}
    for name in then:
        assert deviation(then, then | {name: math.nan}) == (math.inf, name)


def test_the_digest_ignores_rounding_and_order():
    values = {"a": 1.2345678, "b": 2.0}
    assert digest(values) == digest({"b": 2.0 + 1e-12, "a": 1.2345678})
    assert digest(values) != digest(values | {"a": 1.2346})
    assert len(digest(values)) == 16
