"""Ways of training on two grids: each spends what it is given, and is compared by pairs."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from mgcore.grids import restrict
from mgcore.lab import pareto
from mgcore.lab.carrying import part_way
from mgcore.lab.files import RecordError
from mgcore.lab.pareto import (
    BUDGETS,
    FAIR,
    NETWORKS,
    SEEDS,
    SMALL,
    WAYS,
    Way,
    accuracy,
    best_rates,
    curve,
    data,
    factor,
    front,
    missing,
    pilot,
    read_pareto,
    read_rates,
    run_one,
    run_pareto,
    spend,
    work_to_reach,
)
from mgcore.lab.phases import stream
from mgcore.scales import coarse_to_fine
from mgcore.training import Level


@pytest.fixture(scope="module")
def images():
    return data(0, 64, 32, "strokes")


def test_the_share_of_small_images_is_composers_default():
    """Half of the steps at half the size: of 1,000 steps, 500 cost a quarter."""
    assert SMALL == pytest.approx(500 / 4 / (500 / 4 + 500)) == 0.2
    assert SEEDS >= 5 and len(BUDGETS) >= 4 and sorted(BUDGETS) == list(BUDGETS)


def test_images_are_drawn_apart_and_standardised(images):
    assert images.training.shape == (64, 1, 28, 28) and images.validation.shape == (32, 1, 28, 28)
    assert float(images.training.mean()) == pytest.approx(0, abs=1e-5)
    assert float(images.training.std()) == pytest.approx(1, abs=1e-5)
    assert (data(0, 64, 32, "strokes").training == images.training).all()
    assert not (data(1, 64, 32, "strokes").training == images.training).all()


@pytest.mark.parametrize("way", WAYS | FAIR, ids=str)
def test_a_way_spends_its_budget_and_no_more(way, images):
    """Within a step of the budget, coarse images counted by their cells."""
    chosen = (WAYS | FAIR)[way]
    model, spent = spend(chosen, NETWORKS["pooled"], 96, images, 0)
    shares = [math.prod(one.shape[1:]) / 28**2 for one in spent]
    assert shares == ([1.0] if chosen.small == 0 else [0.25, 1.0])
    work = sum(one.work * share for one, share in zip(spent, shares, strict=True))
    assert 96 - 40 < work <= 96 + 1e-9
    if way == "fine only":
        assert work == 96
    assert model(images.validation).shape == (32, 10)


def test_ways_that_start_small_share_their_coarse_network(images, monkeypatch):
    """So that the ways differ in what is done with it alone."""
    seen = []
    real = pareto.refine

    def watched(model, shape, **options):
        seen.append([p.clone() for p in model.parameters()])
        assert tuple(shape) == restrict(images.training).shape[1:]
        return real(model, shape, **options)

    monkeypatch.setattr(pareto, "refine", watched)
    ends = [
        spend(WAYS[name], NETWORKS["pooled"], 40, images, 3)[0].conv1.weight
        for name in ("copied", "Galerkin, bilinear", "Galerkin, constant")
    ]
    assert all((a == b).all() for a, b in zip(seen[0], seen[1], strict=True))
    assert not (ends[0] == ends[1]).all() and not (ends[1] == ends[2]).all()


def test_a_way_is_the_ladder_of_the_numerics(images):
    """The steps of `spend` are those of `coarse_to_fine`, which has one optimizer for all rungs."""
    way, budget, seed = WAYS["Galerkin, constant"], 96, 3
    model, spent = spend(way, NETWORKS["pooled"], budget, images, seed)
    torch.manual_seed(seed)
    coarse = int(budget * way.small)
    levels = [
        Level(restrict(images.training), images.labels, 4 * coarse),
        Level(images.training, images.labels, budget - coarse),
    ]
    sgd = partial(torch.optim.SGD, lr=pareto.RATE, momentum=pareto.MOMENTUM, nesterov=True)
    other, theirs = coarse_to_fine(
        NETWORKS["pooled"](14), levels, stencils="galerkin", prolongation="constant",
        optimizer=sgd, generator=stream(seed, budget, "order"),
    )  # fmt: skip
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)
    assert [one.images for one in spent] == [one.images for one in theirs]


def test_the_pilot_gives_each_way_the_rate_that_suits_it(images, monkeypatch):
    monkeypatch.setattr(pareto, "RATES", (0.01, 1e30))
    found = pilot("pooled", images, (40, 96))
    assert set(found) == set(WAYS | FAIR) and all(of["1e+30"] < 20 for of in found.values())
    assert best_rates(found)["fine only"] == 0.01
    assert best_rates({"a": {"0.01": 50.0, "0.03": 50.0, "0.1": 40.0}}) == {"a": 0.03}


def test_a_carry_that_is_all_of_the_way_is_the_galerkin_map(images):
    """So the two code paths, by the ladder and by hand, are one."""
    ends = [
        spend(way, NETWORKS["pooled"], 96, images, 3)[0].state_dict()
        for way in (WAYS["Galerkin, bilinear"], Way(stencils="copy", carry=part_way(1.0)),
                    WAYS["copied"], Way(stencils="copy", carry=part_way(0.0)))
    ]  # fmt: skip
    for a, b in (ends[:2], ends[2:]):
        for name, w in a.items():
            torch.testing.assert_close(b[name], w, rtol=1e-3, atol=1e-4)


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


def test_accuracy_is_the_share_that_is_named_rightly(images):
    class Constant(pareto.nn.Module):
        def forward(self, x):
            return torch.eye(10)[3].expand(len(x), -1)

    expected = 100 * float((images.validation_labels == 3).double().mean())
    assert accuracy(Constant(), images.validation, images.validation_labels, 7) == expected


def test_work_to_reach_is_read_between_budgets():
    budgets, reached = np.array([1.0, 4.0, 16.0]), np.array([50.0, 80.0, 90.0])
    assert work_to_reach(budgets, reached, 65.0) == pytest.approx(2.0)
    assert work_to_reach(budgets, reached, 40.0) == 1.0
    assert work_to_reach(budgets, reached, 90.0) == pytest.approx(16.0)
    assert math.isnan(work_to_reach(budgets, reached, 91.0))
    broken = np.array([math.nan, 80.0, 90.0])
    assert work_to_reach(budgets, broken, 70.0) == 4.0


def results(speed, noise=(0.0, 0.1, -0.1, 0.05)):
    """Runs of two ways; the second needs `speed` times less work for the same accuracy."""
    found = []
    for shift in noise:
        points = []
        for way, gain in (("fine only", 1.0), ("copied", speed)):
            points += [
                {"way": way, "budget": b, "accuracy": 60 + 10 * math.log2(gain * b) + shift}
                for b in (1, 2, 4, 8)
            ]
        found.append({"points": points})
    return found


def test_a_factor_is_found_by_pairs_with_its_interval():
    found = factor(results(2.0), "copied", "fine only", 80.0)
    assert found.mean == pytest.approx(2.0, rel=1e-6) and found.reached == found.seeds == 4
    assert found.low <= found.mean <= found.high
    none = factor(results(2.0), "copied", "fine only", 99.0)
    assert math.isnan(none.mean) and none.reached == 0


def test_the_front_holds_what_nothing_beats():
    points = {
        "cheap": (np.array([1.0, 2.0]), np.array([50.0, 60.0])),
        "good": (np.array([1.5, 4.0]), np.array([49.0, 90.0])),
        "beaten": (np.array([2.0, 5.0]), np.array([55.0, 89.0])),
        "diverged": (np.array([0.5]), np.array([math.nan])),
    }
    assert front(points) == ["cheap", "good"]


def test_what_is_there_is_not_run_again_and_damage_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(pareto, "NETWORKS", {"pooled": NETWORKS["pooled"]})
    monkeypatch.setattr(
        pareto, "run_one",
        lambda network, seed, rates: {"network": network, "seed": seed, "points": [],
                                      "seconds": 1.0, "rates": rates},
    )  # fmt: skip
    monkeypatch.setattr(pareto, "pilot", lambda network: {"copied": {"0.01": 9.0, "0.1": 8.0}})
    run_pareto(tmp_path, workers=1, seeds=2)
    assert list(missing(tmp_path, 2)) == [] and len(list(missing(tmp_path, 3))) == 1
    assert [one["seed"] for one in read_pareto(tmp_path, "pooled")] == [0, 1]
    assert read_rates(tmp_path, "pooled") == {"copied": 0.01}
    assert all(one["rates"] == {"copied": 0.01} for one in read_pareto(tmp_path, "pooled"))
    file = tmp_path / "pooled-0.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 5'))
    with pytest.raises(RecordError):
        read_pareto(tmp_path, "pooled")
