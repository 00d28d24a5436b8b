"""What each way reaches for its work: every way and budget once, what is there not again."""

import numpy as np
import pytest

from mgcore.lab.records.files import RecordError
from mgcore.lab.scales import work_grid as pareto
from mgcore.lab.scales.speedups import curve
from mgcore.lab.scales.strategies import FAIR, NETWORKS, WAYS, data
from mgcore.lab.scales.work_grid import (
    BUDGETS,
    SEEDS,
    best_rates,
    pilot,
    read_pareto,
    read_rates,
    run_one,
    run_pareto,
)


@pytest.fixture(scope="module")
def images():
    return data(0, 64, 32, "strokes")


def test_seeds_and_budgets_are_enough_for_intervals_and_curves():
    assert SEEDS >= 5 and len(BUDGETS) >= 4 and sorted(BUDGETS) == list(BUDGETS)


def test_the_pilot_gives_each_way_the_rate_that_suits_it(images, monkeypatch):
    monkeypatch.setattr(pareto, "RATES", (0.01, 1e30))
    found = pilot("pooled", images, (40, 96))
    assert set(found) == set(WAYS | FAIR) and all(of["1e+30"] < 20 for of in found.values())
    assert best_rates(found)["fine only"] == 0.01
    assert best_rates({"a": {"0.01": 50.0, "0.03": 50.0, "0.1": 40.0}}) == {"a": 0.03}


def test_one_run_has_a_point_for_each_way_and_budget(images):
    rates = dict.fromkeys(WAYS | FAIR, 0.02)
    result = run_one("pooled", 0, rates, (40, 80), (96,), images)
    assert [(p["way"], p["budget"]) for p in result["points"]] == [
        *((way, budget) for way in WAYS for budget in (40, 80)), *((way, 96) for way in FAIR)
    ]  # fmt: skip
    assert all(0 <= p["accuracy"] <= 100 for p in result["points"])
    assert all(p["flops"] > 0 and p["steps"] for p in result["points"])
    again = run_one("pooled", 0, rates, (40, 80), (96,), images)
    same = ("accuracy", "work", "flops", "steps")
    assert [[p[k] for k in same] for p in again["points"]] == [
        [p[k] for k in same] for p in result["points"]
    ]


def test_a_network_that_diverged_has_no_accuracy(images):
    rates = dict.fromkeys(WAYS | FAIR, 1e30)
    points = run_one("pooled", 0, rates, (96,), (96,), images)["points"]
    assert [p["accuracy"] for p in points] == [None] * len(WAYS | FAIR)
    assert np.isnan(curve([{"points": points}], "copied")).all()


def test_what_is_there_is_not_run_again_and_damage_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(pareto, "NETWORKS", {"pooled": NETWORKS["pooled"]})
    monkeypatch.setattr(
        pareto, "run_one",
        lambda network, seed, rates: {"network": network, "seed": seed, "points": [],
                                      "seconds": 1.0, "rates": rates},
    )  # fmt: skip
    monkeypatch.setattr(pareto, "pilot", lambda network: {"copied": {"0.01": 9.0, "0.1": 8.0}})
    run_pareto(tmp_path, workers=1, seeds=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "pooled-0.json", "pooled-1.json", "rates-pooled.json"
    ]  # fmt: skip
    assert [one["seed"] for one in read_pareto(tmp_path, "pooled")] == [0, 1]
    assert read_rates(tmp_path, "pooled") == {"copied": 0.01}
    assert all(one["rates"] == {"copied": 0.01} for one in read_pareto(tmp_path, "pooled"))
    file = tmp_path / "pooled-0.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 5'))
    with pytest.raises(RecordError):
        read_pareto(tmp_path, "pooled")
