"""Main effects of the multiverse's choices on a number of each universe, with intervals.

Choices between coarse networks are estimated from one mean for each coarse network, by least
squares with all of them at once; choices within are differences inside a coarse network.  So the
unit of replication is the coarse network, as it must be: its eight universes share it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from mgcore.lab.choices.gap_spectra import distance
from mgcore.lab.choices.multiverse import BETWEEN, WITHIN
from mgcore.lab.protocol.printed_tables import TABLE_4_1, TABLE_4_2
from mgcore.lab.verdict.agreement import interval

Row = Mapping[str, Any]
Number = Callable[[Row], float | None]


@dataclass(frozen=True)
class Effect:
    """What the second level of a choice adds to the first.

    Attributes
    ----------
    choice : str
    levels : (object, object)
    estimate : float
    half : float
        Half-width of the 95 % interval.
    networks : int
        Coarse networks that it rests on.
    """

    choice: str
    levels: tuple[Any, Any]
    estimate: float
    half: float
    networks: int


def gap_of(row: Row) -> float | None:
    """Return multigrid's training minus validation accuracy at the end; None if it diverged."""
    arm = row["multigrid"]
    return None if arm is None else arm["training"][-1] - arm["validation"][-1]


def distance_of(row: Row) -> float | None:
    """Return the root mean square distance to Table 4.1, or 4.2 with pooling, in points."""
    table = TABLE_4_2 if row["choices"]["pooling"] else TABLE_4_1
    if any(row[arm] is None for arm in table):
        return None
    pairs = {
        f"{arm}.{part}.{place}": (row[arm][part][place], value)
        for arm, parts in table.items()
        for part, values in parts.items()
        for place, value in enumerate(values)
    }
    return distance(pairs)


def diverged(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Return for each choice how many multigrid universes diverged at its two levels."""
    found = {}
    for name, pair in (BETWEEN | WITHIN).items():
        lost = [row["choices"][name] for row in rows if row["multigrid"] is None]
        found[name] = (lost.count(pair[0]), lost.count(pair[1]))
    return found


def main_effects(rows: Sequence[Row], number: Number = gap_of) -> list[Effect]:
    """Return the effect of every choice.

    Parameters
    ----------
    rows : sequence
        From :func:`mgcore.lab.choices.multiverse.read_multiverse`.
    number : callable
        Row ↦ what is explained; None where there is no number.  A coarse network counts with the
        mean over its universes that have one.

    Raises
    ------
    ValueError
        If too few coarse networks have a number for the choices between them.
    """
    by_network: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        if number(row) is not None:
            by_network[row["run"], row["seed"]].append(row)
    return [*_between(by_network, number), *_within(by_network, number)]


def _between(by_network: Mapping[Any, list[Row]], number: Number) -> list[Effect]:
    chosen = [rows[0]["choices"] for rows in by_network.values()]
    signs = [[1 if c[n] == pair[1] else -1 for n, pair in BETWEEN.items()] for c in chosen]
    x = np.column_stack([np.ones(len(chosen)), np.array(signs)])
    free = len(chosen) - x.shape[1]
    if free < 1 or np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError(
            f"rows has numbers for {len(chosen)} coarse networks; accepted: more than "
            f"{x.shape[1]}, with both levels of every choice."
        )
    means = np.array([np.mean([number(row) for row in rows]) for rows in by_network.values()])
    beta, *_ = np.linalg.lstsq(x, means, rcond=None)
    variance = float(np.square(means - x @ beta).sum()) / free
    error = np.sqrt(variance * np.diag(np.linalg.inv(x.T @ x)))
    half = student.ppf(0.975, free) * error
    return [
        Effect(name, pair, 2 * float(beta[k]), 2 * float(half[k]), len(chosen))
        for k, (name, pair) in enumerate(BETWEEN.items(), 1)
    ]


def _within(by_network: Mapping[Any, list[Row]], number: Number) -> list[Effect]:
    effects = []
    for name, pair in WITHIN.items():
        differences = []
        for rows in by_network.values():
            sides: tuple[dict, dict] = ({}, {})
            for row in rows:
                rest = tuple(row["choices"][other] for other in WITHIN if other != name)
                sides[row["choices"][name] == pair[1]][rest] = number(row)
            both = sides[0].keys() & sides[1].keys()
            if both:
                differences.append(np.mean([sides[1][k] - sides[0][k] for k in both]))
        estimate, half = interval(differences)
        effects.append(
            Effect(name, pair, estimate, np.inf if half is None else half, len(differences))
        )
    return effects
