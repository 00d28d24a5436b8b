"""The benchmark of Newton's methods: what it compares, on a case too small to time."""

import json
import sys

import pytest

from mgcore.lab.bench_newton import ProductCost, Race, product_costs, race, write


def test_every_form_of_a_product_is_measured_on_both_networks():
    costs = product_costs(budget=0.0, batch=2)
    assert {cost.network for cost in costs} == {"pooling", "no pooling"}
    assert len({(cost.network, cost.form) for cost in costs}) == len(costs) == 8
    assert all(0 < cost.gradients < 1000 for cost in costs)


def test_all_methods_reach_the_loss_in_about_as_many_steps():
    pytest.importorskip("torchmin", reason="pytorch-minimize is not installed")
    races = race(count=40, drop=0.95)
    assert [one.method.split(",")[0] for one in races] == ["pytorch-minimize", "ours", "ours"]
    steps = [one.steps for one in races]
    assert min(steps) >= 1 and max(steps) - min(steps) <= 2


def test_without_the_rival_the_complaint_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmin", None)
    with pytest.raises(ValueError, match=r"pytorch-minimize is not installed; accepted: pip"):
        race(count=2)


def test_what_is_kept_names_its_machine_and_date(tmp_path):
    file = tmp_path / "bench" / "newton.json"
    write(file, [ProductCost("pooling", "full", 1.5)], [Race("ours", 0.1, 3)])
    kept = json.loads(file.read_text())
    assert kept["products"] == [{"network": "pooling", "form": "full", "gradients": 1.5}]
    assert kept["race"][0]["steps"] == 3
    assert "cores" in kept["machine"] and len(kept["date"]) == 10
