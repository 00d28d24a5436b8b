"""Effects of the multiverse's choices on a quantity of each universe, with intervals.

Effects of choices between coarse networks are estimated jointly by least squares from one mean for
each coarse network; effects of choices within are mean differences inside a coarse network.  The
unit of replication is the coarse network, because its eight universes share it.  The seeds of a run
give the pure error, against which the model of main effects is tested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import t as student

from mgcore.lab.choices.multiverse import BETWEEN, WITHIN, Outcome, Quantity, gap_of
from mgcore.lab.verdict.agreement import interval


@dataclass(frozen=True)
class Effect:
    """The mean difference of a quantity between the second and the first level of a choice.

    Attributes
    ----------
    choice : str
    levels : (object, object)
    estimate : float
    half : float
        Half-width of the 95 % interval.
    networks : int
        Number of coarse networks that the estimate uses.
    """

    choice: str
    levels: tuple[Any, Any]
    estimate: float
    half: float
    networks: int


class LackOfFit(NamedTuple):
    """The F test of the model of main effects against the differences between seeds.

    Attributes
    ----------
    statistic : float
        Mean square of the lack of fit over that of the pure error.
    free, error_free : int
        Degrees of freedom of the two.
    p : float
        Probability of so large a statistic if the model holds.
    """

    statistic: float
    free: int
    error_free: int
    p: float


def diverged(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Return how many outcomes have no Galerkin network, at the two levels of each choice."""
    found = {}
    for name, pair in (BETWEEN | WITHIN).items():
        lost = [outcome["choices"][name] for outcome in outcomes if outcome["multigrid"] is None]
        found[name] = (lost.count(pair[0]), lost.count(pair[1]))
    return found


def main_effects(outcomes: Sequence[Outcome], quantity: Quantity = gap_of) -> list[Effect]:
    """Return the effect of every choice.

    Parameters
    ----------
    outcomes : sequence
        From :func:`mgcore.lab.choices.multiverse.read_multiverse`.
    quantity : callable
        From an outcome to the explained quantity, or None where training diverged.  A coarse
        network enters with the mean over its outcomes that have the quantity.

    Raises
    ------
    ValueError
        If too few coarse networks have the quantity to estimate the effects of BETWEEN.
    """
    by_network = _grouped(outcomes, quantity)
    return [*_between(by_network, quantity), *_within(by_network, quantity)]


def lack_of_fit(outcomes: Sequence[Outcome], quantity: Quantity = gap_of) -> LackOfFit:
    """Test whether main effects between coarse networks explain the means of the runs.

    Parameters
    ----------
    outcomes, quantity
        As for :func:`main_effects`.
    """
    by_network = _grouped(outcomes, quantity)
    x, means = _model(by_network, quantity)
    beta, *_ = np.linalg.lstsq(x, means, rcond=None)
    runs: dict[int, list[float]] = defaultdict(list)
    for (run, _), mean in zip(by_network, means, strict=True):
        runs[run].append(float(mean))
    pure = sum(float(np.square(np.array(one) - np.mean(one)).sum()) for one in runs.values())
    free, error_free = len(runs) - x.shape[1], len(means) - len(runs)
    missing = float(np.square(means - x @ beta).sum()) - pure
    statistic = (missing / free) / (pure / error_free)
    return LackOfFit(statistic, free, error_free, float(fisher.sf(statistic, free, error_free)))


def interaction(
    outcomes: Sequence[Outcome], choice: str, other: str, quantity: Quantity = gap_of
) -> tuple[Effect, Effect, Effect]:
    """Return the effect of a choice within coarse networks at each level of another one.

    Parameters
    ----------
    outcomes, quantity
        As for :func:`main_effects`.
    choice, other : str
        Two of :data:`mgcore.lab.choices.multiverse.WITHIN`.

    Returns
    -------
    (Effect, Effect, Effect)
        At the first and at the second level of `other`, and the second less the first, all of the
        networks that have both.
    """
    effects: list[list[float]] = []
    for members in _grouped(outcomes, quantity).values():
        at = [
            _differences([o for o in members if o["choices"][other] == level], choice, quantity)
            for level in WITHIN[other]
        ]
        if all(at):
            effects.append([float(np.mean(one)) for one in at])
    levels = WITHIN[choice]
    samples = [[a for a, _ in effects], [b for _, b in effects], [b - a for a, b in effects]]
    found = []
    for values in samples:
        estimate, half = interval(values)
        found.append(
            Effect(choice, levels, estimate, np.inf if half is None else half, len(effects))
        )
    return found[0], found[1], found[2]


def _grouped(
    outcomes: Sequence[Outcome], quantity: Quantity
) -> dict[tuple[int, int], list[Outcome]]:
    """Return the outcomes that have the quantity, by coarse network: its run and seed."""
    by_network: dict[tuple[int, int], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if quantity(outcome) is not None:
            by_network[outcome["run"], outcome["seed"]].append(outcome)
    return by_network


def _model(
    by_network: Mapping[Any, list[Outcome]], quantity: Quantity
) -> tuple[np.ndarray, np.ndarray]:
    """Return the model of main effects between coarse networks, and their means."""
    chosen = [outcomes[0]["choices"] for outcomes in by_network.values()]
    signs = [[1 if c[n] == pair[1] else -1 for n, pair in BETWEEN.items()] for c in chosen]
    means = np.array(
        [np.mean([quantity(outcome) for outcome in outcomes]) for outcomes in by_network.values()]
    )
    return np.column_stack([np.ones(len(chosen)), np.array(signs)]), means


def _between(by_network: Mapping[Any, list[Outcome]], quantity: Quantity) -> list[Effect]:
    x, means = _model(by_network, quantity)
    free = len(x) - x.shape[1]
    if free < 1 or np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError(
            f"Main effects need more than {x.shape[1]} coarse networks and both levels of every "
            f"choice, got {len(x)} networks. Run the rest of the multiverse first."
        )
    beta, *_ = np.linalg.lstsq(x, means, rcond=None)
    variance = float(np.square(means - x @ beta).sum()) / free
    error = np.sqrt(variance * np.diag(np.linalg.inv(x.T @ x)))
    half = student.ppf(0.975, free) * error
    return [
        Effect(name, pair, 2 * float(beta[k]), 2 * float(half[k]), len(x))
        for k, (name, pair) in enumerate(BETWEEN.items(), 1)
    ]


def _within(by_network: Mapping[Any, list[Outcome]], quantity: Quantity) -> list[Effect]:
    effects = []
    for name, pair in WITHIN.items():
        differences: list[float] = []
        for outcomes in by_network.values():
            if found := _differences(outcomes, name, quantity):
                differences.append(float(np.mean(found)))
        estimate, half = interval(differences)
        effects.append(
            Effect(name, pair, estimate, np.inf if half is None else half, len(differences))
        )
    return effects


def _differences(outcomes: Sequence[Outcome], name: str, quantity: Quantity) -> list[float]:
    """Return the quantity at the second less the first level of a choice, all others equal."""
    sides: tuple[dict, dict] = ({}, {})
    for outcome in outcomes:
        rest = tuple(outcome["choices"][other] for other in WITHIN if other != name)
        sides[outcome["choices"][name] == WITHIN[name][1]][rest] = quantity(outcome)
    return [sides[1][k] - sides[0][k] for k in sides[0].keys() & sides[1].keys()]
