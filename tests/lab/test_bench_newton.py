"""The benchmark of Newton's methods: what it compares, on a case too small to time."""

import json

from mgcore.lab.bench_newton import ProductCost, product_costs, write
from mgcore.lab.bench_race import Race


def test_every_form_of_a_product_is_measured_on_both_networks():
    costs = product_costs(budget=0.0, batch=2)
    assert {cost.network for cost in costs} == {"pooling", "no pooling"}
    assert len({(cost.network, cost.form) for cost in costs}) == len(costs) == 8
    assert all(0 < cost.gradients < 1000 for cost in costs)


def test_what_is_kept_names_its_machine_and_date(tmp_path):
    file = tmp_path / "bench" / "newton.json"
    write(file, [ProductCost("pooling", "full", 1.5)], [Race("ours", 0.1, 3, 20)])
    kept = json.loads(file.read_text())
    assert kept["products"] == [{"network": "pooling", "form": "full", "gradients": 1.5}]
    assert kept["race"][0]["steps"] == 3 and kept["race"][0]["passes"] == 20
    assert "cores" in kept["machine"] and len(kept["date"]) == 10
