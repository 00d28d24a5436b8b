"""The grid of tasks, strategies, budgets and seeds: its pilot, its runner and its reader."""

from dataclasses import replace

import numpy as np
import pytest

from mgcore.lab.records.files import RecordError
from mgcore.lab.scales import work_grid
from mgcore.lab.scales.speedups import curve
from mgcore.lab.scales.strategies import (
    BATCH_STRATEGIES,
    FILM_STRATEGIES,
    GALERKIN_VARIANTS,
    LARGER_BATCH,
    STRATEGIES,
)
from mgcore.lab.scales.tasks import TASKS, draw_digits, draw_films
from mgcore.lab.scales.work_grid import (
    best_rates,
    pilot,
    read_rates,
    read_results,
    run_seed,
    run_work_grid,
)


@pytest.fixture(scope="module")
def small():
    """Each task at a reduced size, with its data."""
    images, films = draw_digits(0, 64, 32, "strokes"), draw_films(0, 48, 24)
    plan = ((STRATEGIES, (40, 80)), (GALERKIN_VARIANTS, (96,)))
    return {
        "pooled": (replace(TASKS["pooled"], plan=plan, pilot_budgets=(40, 96)), images),
        "film": (
            replace(TASKS["film"], plan=((FILM_STRATEGIES, (32,)),), pilot_budgets=(16, 32)),
            films,
        ),
    }


@pytest.mark.parametrize("name", ["pooled", "film"])
def test_the_pilot_tries_every_rate_with_every_strategy(name, small):
    task, data = small[name]
    accuracies = pilot(replace(task, rates=(0.01, 1e30)), data)
    assert set(accuracies) == set(task.strategies)
    assert all(set(by_rate) == {"0.01", "1e+30"} for by_rate in accuracies.values())
    # Training diverges, or ends in a network that guesses.
    assert all((by_rate["1e+30"] or 0) < 30 for by_rate in accuracies.values())
    if name == "pooled":
        assert best_rates(accuracies)["fine only"] == 0.01


def test_the_best_rate_is_the_most_accurate_and_of_equal_ones_the_largest():
    assert best_rates({"a": {"0.01": 50.0, "0.03": 50.0, "0.1": 40.0}}) == {"a": 0.03}


def test_a_rate_that_diverges_is_not_the_best_even_if_all_scores_are_negative():
    scores = {"a": {"0.01": -9.0, "0.1": -20.0, "1.0": None}, "b": {"0.01": None, "0.1": None}}
    assert best_rates(scores) == {"a": 0.01, "b": 0.01}


def test_a_pilot_with_one_diverged_budget_has_no_score(monkeypatch):
    task = replace(TASKS["unet"], rates=(0.1,), pilot_budgets=(8, 16))
    for scores, expected in (([4.0, None], None), ([-4.0, -2.0], -3.0)):
        found = iter(scores * len(task.strategies))
        monkeypatch.setattr(work_grid, "train_with_budget", lambda *_: (None, []))
        monkeypatch.setattr(work_grid, "validation_score", lambda *_, found=found: next(found))
        assert pilot(task, data=((),))["copied"] == {"0.1": expected}


@pytest.mark.parametrize("name", ["pooled", "film"])
def test_a_seed_has_a_point_for_each_strategy_and_budget(name, small):
    task, data = small[name]
    rates = dict.fromkeys(task.strategies, 0.02)
    points, again = (run_seed(name, task, 0, rates, data)["points"] for _ in range(2))
    assert [(p["way"], p["budget"]) for p in points] == [
        (strategy, budget)
        for strategies, budgets in task.plan
        for strategy in strategies
        for budget in budgets
    ]
    assert all(0 <= p["accuracy"] <= 100 and p["flops"] > 0 and p["steps"] for p in points)
    for p, q in zip(points, again, strict=True):
        assert p | {"seconds": 0} == q | {"seconds": 0}


def test_a_network_that_diverged_has_no_accuracy(small):
    task, images = small["pooled"]
    rates = dict.fromkeys(task.strategies, 1e30)
    result = run_seed("pooled", replace(task, plan=((STRATEGIES, (96,)),)), 0, rates, images)
    assert [p["accuracy"] for p in result["points"]] == [None] * len(STRATEGIES)
    assert np.isnan(curve([result], "copied")).all()


def test_only_absent_files_are_computed_and_damage_is_found(tmp_path, monkeypatch):
    computed = []

    def run_seeds(pooled, film):
        counts = {"pooled": pooled, "film": film}
        some = {name: replace(TASKS[name], seeds=count) for name, count in counts.items()}
        monkeypatch.setattr(work_grid, "TASKS", some)
        run_work_grid(tmp_path, workers=1)

    def run(name, task, seed, rates):
        computed.append((name, seed))
        return {"network": name, "seed": seed, "points": [], "seconds": 1.0, "rates": rates}

    monkeypatch.setattr(work_grid, "run_seed", run)
    monkeypatch.setattr(work_grid, "pilot", lambda task: {"copied": {"0.01": 9.0, "0.1": 8.0}})
    run_seeds(1, 1)
    run_seeds(2, 1)
    assert computed == [("pooled", 0), ("film", 0), ("pooled", 1)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "film-0.json", "pooled-0.json", "pooled-1.json",
        "rates-film.json", "rates-pooled.json",
    ]  # fmt: skip
    assert [one["seed"] for one in read_results(tmp_path, "pooled")] == [0, 1]
    assert read_rates(tmp_path, "film") == {"copied": 0.01}
    assert all(one["rates"] == {"copied": 0.01} for one in read_results(tmp_path, "film"))
    file = tmp_path / "pooled-0.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 5'))
    with pytest.raises(RecordError):
        read_results(tmp_path, "pooled")


def test_a_larger_coarse_batch_has_a_quarter_of_the_steps_and_four_times_the_rate(monkeypatch):
    task = replace(TASKS["pooled-decay"], plan=((STRATEGIES | BATCH_STRATEGIES, (1_280,)),))
    data, rates, train = draw_digits(0, 256, 32, "strokes"), [], work_grid.train

    def spy(model, *rest, optimizer, **options):
        rates.append(optimizer(model.parameters()).param_groups[0]["lr"])
        return train(model, *rest, optimizer=optimizer, **options)

    monkeypatch.setattr(work_grid, "train", spy)
    costs = {}
    for name in ("copied", LARGER_BATCH):
        _, costs[name] = work_grid.train_with_budget(
            task.strategies[name], task, 1_280, data, 0, 0.01
        )
    (coarse, fine), (coarse_larger, fine_larger) = costs["copied"], costs[LARGER_BATCH]
    assert coarse.images == coarse_larger.images == (1_024,)
    assert (coarse.steps, coarse_larger.steps) == (32, 8)
    assert fine.steps == fine_larger.steps
    assert rates == pytest.approx([0.01, 0.008, 0.04, 0.008])
