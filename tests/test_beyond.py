"""What the chapters on open choices and on training across scales say, held against their records."""

from itertools import product

import numpy as np
import pytest
from notebooks import ROOT
from test_numbers import glued

from mgcore.lab import film, pareto
from mgcore.lab.agreement import interval

ACROSS = ROOT / "book" / "records" / "across"
NETWORKS = tuple(pareto.NETWORKS)


def results(network):
    return pareto.read_pareto(ACROSS, network)


def target(found):
    """The accuracy of the fine grid alone at the second largest budget, as the chapter states it."""
    return round(float(pareto.curve(found, "fine only")[:, -2].mean()), 1)


def difference(network, way, other, budget):
    """Mean and half-width of the interval of one way less another, by pairs."""
    pairs = [
        {p["way"]: p["accuracy"] for p in one["points"] if p["budget"] == budget}
        for one in results(network)
    ]
    return interval([pair[way] - pair[other] for pair in pairs])


def test_there_are_five_seeds_of_everything():
    for network in NETWORKS:
        assert [one["seed"] for one in results(network)] == list(range(pareto.SEEDS))
        rates = pareto.read_rates(ACROSS, network)
        for one in results(network):
            assert {p["way"]: p["rate"] for p in one["points"]} == rates
    assert len(film.read_films(ACROSS)) == film.SEEDS >= 5


def test_the_residual_network_gains_by_small_images_first():
    found = results("resnet")
    for way in ("copied", "multilevel, copied"):
        assert pareto.factor(found, way, "fine only", target(found)).low > 1, way
    alone, copied = (pareto.curve(found, way).mean(axis=0) for way in ("fine only", "copied"))
    assert (copied > alone).all()


@pytest.mark.parametrize("network", ["thesis", "pooled"])
def test_for_the_thesiss_network_the_fine_grid_alone_is_as_good(network):
    found = results(network)
    factor = pareto.factor(found, "copied", "fine only", target(found))
    assert factor.low < 1 < factor.high


@pytest.mark.parametrize("network", NETWORKS)
def test_the_bilinear_galerkin_map_is_behind_and_never_reaches_the_accuracy(network):
    found = results(network)
    ways = ("copied", "Galerkin, bilinear")
    copied, galerkin = (pareto.curve(found, way).mean(axis=0) for way in ways)
    assert (galerkin < copied).all()
    for way in ("Galerkin, bilinear", "multilevel, Galerkin"):
        assert pareto.factor(found, way, "fine only", target(found)).reached == 0


def test_what_beats_copying_does_so_without_pooling_at_the_smaller_budget_alone():
    better = {
        (way, network, budget)
        for way, network, budget in product(pareto.FAIR, NETWORKS, pareto.FAIR_BUDGETS)
        if np.subtract(*difference(network, way, "copied", budget)) > 0
    }
    assert better and {pair[1:] for pair in better} == {("thesis", pareto.FAIR_BUDGETS[0])}
    said = glued(ROOT / "book" / "across_scales.ipynb")
    assert all(way in said["fair-list"] for way, _, _ in better)
    for way, network in product(("roughness penalised", "learning rate warmed"), NETWORKS):
        assert difference(network, way, "copied", pareto.FAIR_BUDGETS[1])[0] < 0


def test_going_less_far_costs_less():
    for network in NETWORKS:
        steps = ("a quarter of the way", "half of the way", "Galerkin, bilinear")
        costs = [difference(network, way, "copied", pareto.FAIR_BUDGETS[1])[0] for way in steps]
        assert costs[0] > -0.5 and costs[2] < min(costs[:2])
