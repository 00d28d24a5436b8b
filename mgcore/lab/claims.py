"""Claims of the thesis, decided by a record with the criterion written beside each.

A claim is a difference between two cells of a table, taken trial by trial, since the arms of a
trial share their data and their coarse network.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mgcore.lab.agreement import interval

Trial = dict[str, Any]
CELL = re.compile(r"(coarse|new|transfer|multigrid)\.(0|1|last)\.(training|validation|gap)")


@dataclass(frozen=True)
class Claim:
    """One claim; the fields are those of book/claims.yml."""

    id: str
    section: str
    text: str
    studies: tuple[str, ...]
    thesis: float
    table: str
    difference: tuple[str, str]
    least: float


@dataclass(frozen=True)
class Verdict:
    """What a record says of a claim: the mean difference, its 95 % half-width, the word."""

    claim: Claim
    study: str
    estimate: float
    half_width: float
    trials: int
    word: str


def read_claims(file: Path) -> list[Claim]:
    """Return the claims of a file.

    Raises
    ------
    ValueError
        If an entry lacks a field or names a cell that no table has.
    """
    claims = []
    for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
        name = entry.get("id", "?")
        try:
            claim = Claim(
                id=entry["id"], section=entry["section"], text=entry["text"],
                studies=tuple(entry["studies"]), thesis=float(entry["thesis"]["value"]),
                table=entry["thesis"]["table"], difference=tuple(entry["difference"]),
                least=float(entry["least"]),
            )  # fmt: skip
        except (KeyError, TypeError) as error:
            raise ValueError(f"claim {name!r} of {file} lacks {error}; accepted: all.") from None
        for cell in claim.difference:
            if not CELL.fullmatch(cell):
                raise ValueError(
                    f"claim {name!r} names the cell {cell!r}; accepted: arm.epoch.metric, as in "
                    "'multigrid.last.training'."
                )
        claims.append(claim)
    return claims


def criteria_hash(file: Path) -> str:
    """Return the SHA-256 of the claims file, which a record made under it keeps."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def cell(trial: Trial, name: str) -> float:
    """Return one accuracy, or gap of accuracies, of a trial: ``"multigrid.last.gap"``, say."""
    arm, epoch, metric = name.split(".")
    row = trial["metrics"][arm][-1 if epoch == "last" else int(epoch)]
    if metric == "gap":
        return row["training_accuracy"] - row["validation_accuracy"]
    return row[f"{metric}_accuracy"]


def decide(claim: Claim, study: str, trials: list[Trial]) -> Verdict:
    """Put a claim to the trials of a study."""
    first, second = claim.difference
    estimate, width = interval([cell(t, first) - cell(t, second) for t in trials])
    half = float("inf") if width is None else width  # one trial decides nothing
    low, high = estimate - half, estimate + half
    if low > claim.least:
        word = "reproduced"
    elif high < min(claim.least, 0.0):
        word = "reversed"
    elif high < claim.least:
        word = "not reproduced"
    else:
        word = "undecided"
    return Verdict(claim, study, estimate, half, len(trials), word)
