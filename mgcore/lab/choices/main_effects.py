"""Main effects of the multiverse's choices on a quantity of each universe, with intervals.

Effects of choices between coarse networks are estimated jointly by least squares from one mean for
each coarse network; effects of choices within are mean differences inside a coarse network.  The
unit of replication is the coarse network, because its eight universes share it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    by_network: dict[tuple[int, int], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if quantity(outcome) is not None:
            by_network[outcome["run"], outcome["seed"]].append(outcome)
    return [*_between(by_network, quantity), *_within(by_network, quantity)]


def _between(by_network: Mapping[Any, list[Outcome]], quantity: Quantity) -> list[Effect]:
    chosen = [outcomes[0]["choices"] for outcomes in by_network.values()]
    signs = [[1 if c[n] == pair[1] else -1 for n, pair in BETWEEN.items()] for c in chosen]
    x = np.column_stack([np.ones(len(chosen)), np.array(signs)])
    free = len(chosen) - x.shape[1]
    if free < 1 or np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError(
            f"Main effects need more than {x.shape[1]} coarse networks and both levels of every "
            f"choice, got {len(chosen)} networks. Run the rest of the multiverse first."
        )
    means = np.array(
        [np.mean([quantity(outcome) for outcome in outcomes]) for outcomes in by_network.values()]
    )
    beta, *_ = np.linalg.lstsq(x, means, rcond=None)
    variance = float(np.square(means - x @ beta).sum()) / free
    error = np.sqrt(variance * np.diag(np.linalg.inv(x.T @ x)))
    half = student.ppf(0.975, free) * error
    return [
        Effect(name, pair, 2 * float(beta[k]), 2 * float(half[k]), len(chosen))
        for k, (name, pair) in enumerate(BETWEEN.items(), 1)
    ]


def _within(by_network: Mapping[Any, list[Outcome]], quantity: Quantity) -> list[Effect]:
    effects = []
    for name, pair in WITHIN.items():
        differences = []
        for outcomes in by_network.values():
            sides: tuple[dict, dict] = ({}, {})
            for outcome in outcomes:
                rest = tuple(outcome["choices"][other] for other in WITHIN if other != name)
                sides[outcome["choices"][name] == pair[1]][rest] = quantity(outcome)
            both = sides[0].keys() & sides[1].keys()
            if both:
                differences.append(np.mean([sides[1][k] - sides[0][k] for k in both]))
        estimate, half = interval(differences)
        effects.append(
            Effect(name, pair, estimate, np.inf if half is None else half, len(differences))
        )
    return effects
