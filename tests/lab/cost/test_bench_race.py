"""The race on the classifier phase: who takes part, and what is counted."""

import sys
import time

import pytest
import torch

from mgcore.lab.cost import bench_race
from mgcore.lab.cost.bench_race import race
from mgcore.lab.protocol import Protocol
from mgcore.lab.trial.trial import draw_split, grid_images


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

    took, steps = bench_race._reach("it", method, Problem(), 2.0)
    assert steps == 4 and took < 0.05
    with pytest.raises(FloatingPointError, match="it stopped after 9 steps above the loss -7"):
        bench_race._reach("it", method, Problem(), -7.0)


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

    assert bench_race._passes("it", method, Problem(), 2.0) == 4 * 4


def test_without_the_rival_the_complaint_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmin", None)
    with pytest.raises(ValueError, match=r"pytorch-minimize is not installed; accepted: pip"):
        race(count=2)


def test_the_problem_has_the_scale_of_the_experiments(monkeypatch):
    """It was divided by 255 once more, so that the benchmark measured nearly black images."""
    seen = []

    def recorded(objective, weights, images):
        seen.append(images)
        return features(objective, weights, images)

    features = bench_race.features
    monkeypatch.setattr(bench_race, "features", recorded)
    race(count=40, drop=0.95, repeats=1)
    protocol = Protocol.printed(
        dataset="strokes", n_coarse=40, n_fine=40, n_validation=40, dtype="float64"
    )
    digits, chosen = draw_split(protocol, 0)
    studied = grid_images(protocol, digits, chosen, "fine").training
    assert 0.8 < float(seen[0].norm() / studied.norm()) < 1.25
