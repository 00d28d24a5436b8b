"""The benchmark of Newton's methods: what it compares, on a case too small to time."""

from pathlib import Path

import pytest
import torch

from mgcore.lab.cost import bench_newton
from mgcore.lab.cost.bench_newton import ProductCost, forms, product_costs, read, write
from mgcore.lab.cost.bench_race import Race
from mgcore.lab.records.files import RecordError
from mgcore.thesis.network import initial_weights
from mgcore.thesis.objective import Objective

RECORDED = Path(__file__).resolve().parents[3] / "book" / "records" / "bench" / "newton.json"
FULL = ("full Hessian, pass kept", "full Hessian, autograd's graph kept",
        "full Hessian, jvp of the gradient")  # fmt: skip


def test_every_form_of_a_product_is_measured_on_both_networks():
    costs = product_costs(budget=0.0, batch=2)
    assert {cost.network for cost in costs} == {"pooling", "no pooling"}
    assert len({(cost.network, cost.form) for cost in costs}) == len(costs) == 8


def test_a_cost_is_the_time_of_a_product_over_that_of_a_gradient(monkeypatch):
    def clock(function, budget):
        return 2.0 if isinstance(function(), dict) else 5.0  # a gradient is a dict of tensors

    monkeypatch.setattr(bench_newton, "seconds", clock)
    assert {cost.gradients for cost in product_costs(budget=0.0, batch=2)} == {2.5}


@pytest.mark.parametrize("pooling", [True, False])
def test_what_is_compared_is_the_same_product(pooling):
    draw = torch.Generator().manual_seed(1)
    weights = initial_weights(8, pooling, draw)
    images = torch.rand(4, 1, 8, 8, generator=draw, dtype=torch.float64)
    products = forms(Objective(8, pooling), weights, images, torch.tensor([0, 3, 9, 3]))
    d = torch.randn(sum(w.numel() for w in weights.values()), generator=draw, dtype=torch.float64)
    full = [products[name](d) for name in FULL]
    assert full[0].norm() > 1e-3
    for other in full[1:]:
        torch.testing.assert_close(other, full[0], rtol=1e-10, atol=1e-12)
    gauss = products["Gauss–Newton, pass kept"](d)
    assert (gauss - full[0]).norm() > 1e-3 * gauss.norm() > 0  # it is another matrix


def test_what_is_kept_names_its_machine_and_date_and_cannot_be_altered(tmp_path):
    file = tmp_path / "bench" / "newton.json"
    write(file, [ProductCost("pooling", "full", 1.5)], [Race("ours", 0.1, 3, 20)])
    kept = read(file)
    assert kept["products"] == [{"network": "pooling", "form": "full", "gradients": 1.5}]
    assert kept["race"] == [{"method": "ours", "seconds": 0.1, "steps": 3, "passes": 20}]
    assert "cores" in kept["machine"] and len(kept["date"]) == 10
    file.write_text(file.read_text(encoding="utf-8").replace("1.5", "1.4"), encoding="utf-8")
    with pytest.raises(RecordError, match="truncated or altered"):
        read(file)


def test_the_recorded_product_keeps_to_two_gradients_with_pooling():
    costs = {(row["network"], row["form"]): row["gradients"] for row in read(RECORDED)["products"]}
    assert costs["pooling", FULL[0]] <= 2.0
    assert all(costs[network, FULL[0]] < costs[network, FULL[2]] for network, _ in costs)
