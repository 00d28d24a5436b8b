"""The benchmark of Newton's methods: what it compares, on a case too small to time."""

import sys
import time
from pathlib import Path

import pytest
import torch

from mgcore.lab.cost import newton
from mgcore.lab.cost.newton import (
    ProductCost,
    Race,
    count_passes,
    product_costs,
    product_forms,
    race,
    race_problem,
    read,
    run_until,
    write,
)  # fmt: skip
from mgcore.lab.protocol.studies import study_protocol
from mgcore.lab.records.files import RecordError
from mgcore.lab.trial.trial import draw_split, fresh_weights, grid_images
from mgcore.thesis.classifier import features
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

    monkeypatch.setattr(newton, "seconds", clock)
    assert {cost.gradients for cost in product_costs(budget=0.0, batch=2)} == {2.5}


@pytest.mark.parametrize("pooling", [True, False])
def test_what_is_compared_is_the_same_product(pooling):
    draw = torch.Generator().manual_seed(1)
    weights = initial_weights(8, pooling, draw)
    images = torch.rand(4, 1, 8, 8, generator=draw, dtype=torch.float64)
    products = product_forms(Objective(8, pooling), weights, images, torch.tensor([0, 3, 9, 3]))
    d = torch.randn(sum(w.numel() for w in weights.values()), generator=draw, dtype=torch.float64)
    full = [products[name](d) for name in FULL]
    assert full[0].norm() > 1e-3
    for other in full[1:]:
        torch.testing.assert_close(other, full[0], rtol=1e-10, atol=1e-12)
    gauss = products["Gauss–Newton, pass kept"](d)
    assert (gauss - full[0]).norm() > 1e-3 * gauss.norm() > 0  # it is another matrix


def test_what_is_kept_names_its_machine_and_date_and_cannot_be_altered(tmp_path):
    file = tmp_path / "bench" / "newton.json"
    write(file, [ProductCost("pooling", "full", 1.5)], [Race("ours", 0.1, 3, 20, 8, 0.5)])
    kept = read(file)
    assert kept["products"] == [{"network": "pooling", "form": "full", "gradients": 1.5}]
    assert kept["race"] == [
        {"method": "ours", "seconds": 0.1, "steps": 3, "passes": 20, "digits": 8, "drop": 0.5}
    ]
    assert "cores" in kept["machine"] and len(kept["date"]) == 10
    file.write_text(file.read_text(encoding="utf-8").replace("1.5", "1.4"), encoding="utf-8")
    with pytest.raises(RecordError, match="truncated or altered"):
        read(file)


def test_the_recorded_product_keeps_to_two_gradients_with_pooling():
    costs = {(row["network"], row["form"]): row["gradients"] for row in read(RECORDED)["products"]}
    assert costs["pooling", FULL[0]] <= 2.0
    assert all(costs[network, FULL[0]] < costs[network, FULL[2]] for network, _ in costs)


def test_the_race_has_the_scale_of_the_experiment():
    """Features of images that are almost black are a hundredth of these."""
    problem, start = race_problem(64)
    protocol = study_protocol("classifier-pooled", "class", "strokes").changed(
        n_coarse=32, n_fine=64, n_validation=32
    )
    trained_on = grid_images(protocol, *draw_split(protocol, 0), "fine").training
    pixels = trained_on.std(dim=(1, 2, 3))
    assert 0.5 < pixels.mean() < 1.1  # standardised, then smoothed
    weights = {k: w.float() for k, w in fresh_weights(protocol, 0, "fine").items()}
    expected = features(protocol.objective("fine"), weights, trained_on)
    assert problem.objective == protocol.objective("fine")
    assert problem.features.norm(dim=1).mean() == pytest.approx(
        float(expected.norm(dim=1).mean()), rel=0.1
    )  # other digits of the same kind
    assert all(torch.equal(w, fresh_weights(protocol, 0, "fine")[k]) for k, w in start.items())


def test_all_methods_reach_the_loss_in_about_as_many_steps():
    pytest.importorskip("torchmin", reason="pytorch-minimize is not installed")
    races = race(count=40, drop=0.95, repeats=1)
    assert [one.method.split(",")[0] for one in races] == ["pytorch-minimize", "ours", "ours"]
    steps = [one.steps for one in races]
    assert min(steps) >= 1 and max(steps) - min(steps) <= 2 and all(r.seconds > 0 for r in races)
    # Two passes a gradient and two a product, and one to judge the step.
    assert all(one.passes >= 5 * one.steps for one in races)


class Problem:
    """A loss of 5, 4, 3, … seen at the points 0, 1, 2, …, and a look at it that takes a while."""

    features = torch.ones(4, 3)

    def value(self, x):
        time.sleep(0.05)
        self.features @ torch.ones(3, 1)
        return 5.0 - float(x)


def test_all_are_judged_by_one_function_whose_time_does_not_count():
    def method(reached):
        for k in range(9):
            reached(torch.tensor(float(k)))

    took, steps = run_until("it", method, Problem(), 2.0)
    assert steps == 4 and took < 0.05
    with pytest.raises(FloatingPointError, match="it stopped after 9 steps above the loss -7"):
        run_until("it", method, Problem(), -7.0)


def test_passes_are_products_with_the_features_without_the_judges():
    w = torch.ones(3, 2, requires_grad=True)

    def method(reached):
        for k in range(9):
            with torch.enable_grad():
                (g,) = torch.autograd.grad(
                    (Problem.features @ w).square().sum(), w, create_graph=True
                )  # two
            torch.autograd.grad(g, w, torch.ones_like(g))  # two
            torch.ones(2, 3) @ torch.ones(3, 5)  # none: other matrices
            reached(torch.tensor(float(k)))

    assert count_passes("it", method, Problem(), 2.0) == 4 * 4


def test_without_the_rival_the_complaint_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmin", None)
    with pytest.raises(ValueError, match="pytorch-minimize is not installed. Install it with"):
        race(count=2)
