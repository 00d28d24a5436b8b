"""Strategies at equal work, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mgcore.lab.pages.tables import Table
from mgcore.lab.scales.speedups import Comparison, Speedup


def speedup_text(one: Speedup, count: bool = True) -> str:
    """Return a factor with its interval, and the number of seeds where not all of them count.

    Parameters
    ----------
    one : Speedup
    count : bool
        Whether the number stands behind a factor.
    """
    if math.isnan(one.mean):
        return f"reached by {one.reached} of {one.seeds}"
    counted = count and one.reached < one.seeds
    some = f"\n({one.reached} of {one.seeds} seeds)" if counted else ""
    return f"{one.mean:.2f}\n({one.low:.2f} to {one.high:.2f}){some}"


def comparison_with_fine_only_table(
    tasks: Mapping[str, Mapping[str, Comparison]], caption: str
) -> Table:
    """Return a row for each strategy that is compared with the fine grid alone.

    Parameters
    ----------
    tasks : mapping of str to mapping of str to Comparison
        From :func:`mgcore.lab.scales.speedups.compare_with_fine_only`, by the heading of the task.
    caption : str
    """
    rows = []
    for heading, compared in tasks.items():
        for strategy, one in compared.items():
            rows.append([
                heading, strategy, f"{one.rate:g}",
                "" if math.isnan(one.speedup.mean) else speedup_text(one.speedup, count=False),
                f"{one.reached} of {one.speedup.seeds}", str(one.speedup.reached),
                f"{one.ahead} of {one.runs}", f"{one.diverged} of {one.runs}",
            ])  # fmt: skip
    return Table(
        ["network", "strategy", "rate", "times less work\nthan fine only", "reached,\nseeds",
         "seeds\nin factor", "more accurate\nthan fine only", "diverged"],
        rows, caption,
    )  # fmt: skip
