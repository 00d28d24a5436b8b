"""What the chapters on open choices and on training across scales say, against their records."""

from itertools import product

import numpy as np
import pytest
from notebooks import ROOT
from test_numbers import glued

from mgcore.lab.choices import main_effects as effects
from mgcore.lab.choices import multiverse
from mgcore.lab.choices.multiverse import by_universe, select
from mgcore.lab.scales import fitted_map, size_change, work_grid
from mgcore.lab.scales.speedups import (
    accuracy_difference,
    compare_with_fine_only,
    curve,
    joined,
    speedup,
    target_accuracy,
)
from mgcore.lab.scales.strategies import (
    FILM_AXES,
    FILM_STRATEGIES,
    GALERKIN_VARIANTS,
    LARGER_BATCH,
)
from mgcore.lab.scales.tasks import (
    DENOISING_TASKS,
    EQUAL_SCHEDULES,
    IMAGE_TASKS,
    TASKS,
    VARIANT_BUDGETS,
)

ACROSS = ROOT / "book" / "records" / "across"
NETWORKS = tuple(IMAGE_TASKS)


def results(network):
    return work_grid.read_results(ACROSS, network)


def test_every_task_has_its_seeds_with_the_rates_of_its_pilot():
    for network, task in TASKS.items():
        seeds = [one["seed"] for one in results(network)]
        assert seeds == list(range(task.seeds)), network
        rates = work_grid.read_rates(ACROSS, network)
        for one in results(network):
            assert {p["way"]: p["rate"] for p in one["points"]} == rates


def test_the_residual_network_gains_by_small_images_first():
    found = results("resnet")
    for strategy in ("copied", "multilevel, copied"):
        assert speedup(found, strategy, "fine only", target_accuracy(found)).low > 1, strategy
    alone, copied = (curve(found, strategy).mean(axis=0) for strategy in ("fine only", "copied"))
    assert (copied > alone).all()


@pytest.mark.parametrize("network", ["thesis", "pooled"])
def test_for_the_thesiss_network_the_fine_grid_alone_is_as_good_or_better(network):
    found = results(network)
    factor = speedup(found, "copied", "fine only", target_accuracy(found))
    assert factor.low < 1 and (factor.high < 1) == (network == "pooled")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_bilinear_galerkin_map_is_behind_and_never_reaches_the_accuracy(network):
    found = results(network)
    pair = ("copied", "Galerkin, bilinear")
    copied, galerkin = (curve(found, strategy).mean(axis=0) for strategy in pair)
    assert (galerkin < copied).all()
    for strategy in ("Galerkin, bilinear", "multilevel, Galerkin"):
        assert speedup(found, strategy, "fine only", target_accuracy(found)).reached == 0


def test_what_beats_copying_does_so_without_pooling_at_the_smaller_budget_alone():
    better = {
        (strategy, network, budget)
        for strategy, network, budget in product(GALERKIN_VARIANTS, NETWORKS, VARIANT_BUDGETS)
        if np.subtract(*accuracy_difference(results(network), strategy, "copied", budget)) > 0
    }
    assert better and {pair[1:] for pair in better} == {("thesis", VARIANT_BUDGETS[0])}
    numbers = glued(ROOT / "book" / "across_scales.ipynb")
    assert all(strategy in numbers["fair-list"] for strategy, _, _ in better)
    for strategy, network in product(("roughness penalised", "learning rate warmed"), NETWORKS):
        assert accuracy_difference(results(network), strategy, "copied", VARIANT_BUDGETS[1])[0] < 0


def test_going_less_far_costs_less():
    for network in NETWORKS:
        steps = ("a quarter of the way", "half of the way", "Galerkin, bilinear")
        costs = [
            accuracy_difference(results(network), strategy, "copied", VARIANT_BUDGETS[1])[0]
            for strategy in steps
        ]
        assert costs[0] > -0.5 and costs[2] < min(costs[:2])


def test_no_way_with_films_is_clearly_cheaper_and_three_axes_are_too_many():
    found = results("film")
    ends = {strategy: curve(found, strategy).mean(axis=0) for strategy in FILM_STRATEGIES}
    for strategy in FILM_STRATEGIES:
        assert not speedup(found, strategy, "fine only", target_accuracy(found)).low > 1, strategy
    assert ends["both, galerkin"][-1] < 20 < 80 < ends["time, galerkin"][-1]
    ahead = [ends[f"{where}, copy"][0] > ends["fine only"][0] for where in FILM_AXES]
    assert all(ahead)


@pytest.mark.parametrize("name", EQUAL_SCHEDULES)
def test_with_one_schedule_copied_kernels_are_ahead_and_the_others_reach_no_target(name):
    found, rates = results(name), work_grid.read_rates(ACROSS, name)
    compared = compare_with_fine_only(found, rates)
    one = compared["copied"]
    assert one.speedup.mean > 1.2 and one.ahead > one.runs / 2
    assert (one.speedup.low > 1) == (name != "resnet-decay") == (one.diverged == 0)
    for strategy in ("Galerkin, bilinear", "multilevel, copied"):
        assert compared[strategy].reached == 0


@pytest.mark.parametrize("name", EQUAL_SCHEDULES)
def test_the_rate_of_a_pilot_is_not_at_the_edge_of_its_grid(name):
    rates = work_grid.read_rates(ACROSS, name)
    assert not set(rates.values()) & {min(TASKS[name].rates), max(TASKS[name].rates)}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_larger_coarse_batch_needs_no_less_work(name):
    fair = results(f"{name}-decay")
    both = joined(fair, results(f"{name}-batch"))
    found = speedup(both, LARGER_BATCH, "copied", target_accuracy(fair))
    assert found.low < 1 and found.mean < 1.1


@pytest.mark.parametrize("name", DENOISING_TASKS)
def test_noise_is_removed_better_with_copied_kernels_but_not_clearly_with_less_work(name):
    compared = compare_with_fine_only(results(name), work_grid.read_rates(ACROSS, name))
    for strategy in ("copied", "multilevel, copied"):
        one = compared[strategy]
        assert one.speedup.low < 1 < one.speedup.mean < 1.5
        assert one.ahead >= 0.8 * one.runs and not one.diverged
    for strategy in ("Galerkin, bilinear", "multilevel, Galerkin"):
        assert compared[strategy].reached == 0 == compared[strategy].ahead
    assert compared["multilevel, Galerkin"].diverged > compared["copied"].runs / 2


def test_images_resized_are_ahead_in_every_change_of_size_and_copied_ahead_of_refined():
    changes = size_change.read_size_changes(ROOT / "book" / "records" / "size-change")
    assert list(changes) == list(size_change.CHANGES)
    for name, seeds in changes.items():
        rates = size_change.read_rates(ROOT / "book" / "records" / "size-change", name)
        assert [one["seed"] for one in seeds] == list(range(size_change.SEEDS))
        assert all(one["rates"] == rates for one in seeds)
        for stage in (0, -1):
            means = {m: size_change.mean_accuracy(seeds, m, stage)[0] for m in size_change.METHODS}
            assert max(means, key=means.get) == "resized"
            assert means["copied"] > means["galerkin"]


def test_the_best_map_is_between_copying_and_galerkin_and_behind_images_resized():
    sweeps = list(fitted_map.read_sweeps(ROOT / "book" / "records" / "fitted-map"))
    assert [(name, kind) for name, kind, _ in sweeps] == [
        (name, kind) for name in fitted_map.DATA for kind in fitted_map.KINDS
    ]
    for _, _, sweep in sweeps:
        assert 0 < sweep.best < 0.5 and sweep.best < 0.5 * sweep.exponents[0]
        copied, galerkin = (np.mean(sweep.judged(t)) for t in (0.0, 1.0))
        assert galerkin < copied < np.mean(sweep.fitted) < min(sweep.old)


@pytest.fixture(scope="module")
def universes():
    return multiverse.read_multiverse(ROOT / "book" / "records" / "multiverse")


def test_every_universe_of_the_design_is_recorded_for_both_seeds(universes):
    runs, within = len(multiverse.design()), len(multiverse.fine_choices())
    assert len(universes) == runs * within * multiverse.SEEDS
    assert len({tuple(row["choices"].values()) for row in universes}) == runs * within >= 48
    for name, pair in (multiverse.BETWEEN | multiverse.WITHIN).items():
        levels = [row["choices"][name] for row in universes]
        assert [levels.count(level) for level in pair] == [len(universes) // 2] * 2


def test_without_pooling_a_gap_like_the_thesiss_occurs_on_prolonged_images_alone(universes):
    unpooled = select(by_universe(universes)[0], pooling=False)
    large = [u for u in unpooled if u.mean >= multiverse.printed_gap(pooling=False)]
    prolonged = select(unpooled, images="prolonged")
    assert large and large == select(large, images="prolonged")
    assert len(large) < len(prolonged) / 2  # necessary, not sufficient


def test_the_effects_that_the_chapter_names_are_the_largest_and_the_others_unclear(universes):
    found = {e.choice: e for e in effects.main_effects(universes)}
    order = sorted(found.values(), key=lambda e: -abs(e.estimate))
    assert [e.choice for e in order[:2]] == ["images", "prolongation"]
    assert all(e.estimate > e.half for e in order[:2])
    assert all(abs(found[c].estimate) < found[c].half for c in ("padding", "pixels", "loss"))


def test_the_largest_gaps_have_bilinear_p_and_prolonged_images(universes):
    for chosen, _ in select(by_universe(universes)[0])[-8:]:
        assert (chosen["prolongation"], chosen["images"]) == ("bilinear", "prolonged")


def test_the_printed_factor_is_farther_from_the_tables(universes):
    found = effects.main_effects(universes, multiverse.log_distance_of)
    (factor,) = (e for e in found if e.choice == "factor")
    assert factor.levels == (0.25, 4.0) and factor.estimate > factor.half


def test_what_diverged_sums_the_loss_of_standardised_images(universes):
    lost = [row["choices"] for row in universes if row["multigrid"] is None]
    assert lost and {(c["loss"], c["pixels"]) for c in lost} == {("sum", "standardised")}
