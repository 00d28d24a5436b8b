"""Claims of the thesis, each decided by records and its criterion.

A measured claim compares two cells trial by trial: the conditions of a trial share their data and
their coarse network, and trials of equal number in two studies share their images.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mgcore.lab.protocol.printed_tables import printed
from mgcore.lab.records.files import NotRecordedError
from mgcore.lab.records.record import records_folder
from mgcore.lab.records.schema import Trial
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.metrics import CELL_NAMES, cell, is_cell

AGAINST = "against:"  # before a side: it is a cell of the other study
KINDS = ("numerical", "qualitative", "mathematical")


class UndefinedQuotientError(ValueError):
    """A quotient of numbers that are not positive, as tiny networks may have."""


@dataclass(frozen=True)
class Claim:
    """One claim; the fields are those of book/claims.yml.

    Attributes
    ----------
    sides : pair of str
        Cells; ``"against:"`` before one takes it from the study in `against`.
    ratio : bool
        Whether the sides are compared by their quotient, not their difference.
    against : mapping
        For a study the one that it is compared with, where a side asks for it.
    thesis : float or None
        The thesis's difference, by the tables that `source` names; None where it gives no number.
        For one study among several see :meth:`thesis_for`.
    kind : str
        ``"numerical"``, ``"qualitative"`` or ``"mathematical"``.
    check : str
        Id of the check in :mod:`mgcore.lab.verdict.checks` or :mod:`mgcore.lab.verdict.readings`
        that decides the claim instead of cells.  Such a claim has no studies and no sides.
    tier : str
        Of the records that decide it.
    fingerprint : str
        Hash of the entry; a new record stores the fingerprints of all claims.
    """

    id: str
    section: str
    text: str
    studies: tuple[str, ...]
    thesis: float | None
    source: str
    sides: tuple[str, ...]
    ratio: bool
    least: float
    against: Mapping[str, str]
    kind: str = "numerical"
    check: str = ""
    tier: str = "paper"
    fingerprint: str = ""

    def thesis_for(self, study: str) -> float | None:
        """Return the thesis's difference by the tables that a study, and its other, repeat.

        None where the claim is no difference, or the thesis does not print both sides.
        """
        if self.ratio or self.thesis is None:
            return None
        found = [
            printed(self.against.get(study, "") if side.startswith(AGAINST) else study,
                    side.removeprefix(AGAINST))
            for side in self.sides
        ]  # fmt: skip
        known = [value for value in found if value is not None]
        return known[0] - known[1] if len(known) == 2 else None


@dataclass(frozen=True)
class Verdict:
    """The decision on a claim by the trials of one study.

    Attributes
    ----------
    estimate, low, high : float
        Mean difference, or geometric mean of quotients, and its 95 % interval.
    trials : int
    word : str
        ``"reproduced"``, ``"not reproduced"``, ``"reversed"`` or ``"undecided"``.
    """

    claim: Claim
    study: str
    estimate: float
    low: float
    high: float
    trials: int
    word: str

    @property
    def own_thesis(self) -> str:
        """The thesis's number for the study, where it is another than the claim's, else empty."""
        own = self.claim.thesis_for(self.study)
        if own is None or f"{own:+.1f}" == f"{self.claim.thesis:+.1f}":
            return ""
        return f"thesis {own:+.1f}"

    @property
    def size(self) -> str:
        """Whether the interval contains the thesis's number.

        ``"agrees"``, or whether ours is ``"larger"`` or ``"smaller"``; empty where the thesis
        prints no number for the claim, or one trial has no interval.  The thesis gives no
        uncertainty of its number, so it counts as exact.
        """
        own = self.claim.thesis_for(self.study)
        if own is None or math.isinf(self.high):
            return ""
        if own < self.low:
            return "larger"
        return "smaller" if own > self.high else "agrees"

    def __str__(self) -> str:
        if math.isinf(self.high):  # of one trial
            shown = f"× {self.estimate:.2f}" if self.claim.ratio else f"{self.estimate:+.1f}"
            return f"{shown}, no interval"
        if self.claim.ratio:
            return f"× {self.estimate:.2f} ({self.low:.2f} to {self.high:.2f})"
        half = (self.high - self.low) / 2
        digits = 1 if max(abs(self.estimate), half) >= 1 else 2
        return f"{self.estimate:+.{digits}f} ± {half:.{digits}f}"


def read_claims(file: Path | None = None) -> list[Claim]:
    """Return the claims of a file; of the book's ``claims.yml``, beside the records, by default.

    Raises
    ------
    ValueError
        If an entry lacks a field or names a cell that no table has.
    """
    file = file or _book_file()
    return [_claim(entry, file) for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]


def _book_file() -> Path:
    return records_folder().parent / "claims.yml"


def _claim(entry: dict[str, Any], file: Path) -> Claim:
    name, ratio = entry.get("id", "?"), "ratio" in entry
    try:
        value, source = entry["thesis"].get("value"), entry["thesis"]["source"]
        kind = entry.get("kind", "qualitative" if value is None else "numerical")
        if kind not in KINDS:
            options = ", ".join(repr(one) for one in KINDS)
            raise ValueError(f"claim {name!r}: kind must be one of {options}, got {kind!r}.")
        if "check" in entry:
            return Claim(
                entry["id"], entry["section"], entry["text"], (), value, source, (), False, 0.0,
                {}, kind, entry["check"], fingerprint=_fingerprint(entry),
            )  # fmt: skip
        claim = Claim(
            id=entry["id"], section=entry["section"], text=entry["text"],
            studies=tuple(entry["studies"]), source=source, thesis=value, kind=kind,
            tier=entry.get("tier", "paper"),
            sides=tuple(entry["ratio" if ratio else "difference"]), ratio=ratio,
            least=float(entry["least"]), against=entry.get("against", {}),
            fingerprint=_fingerprint(entry),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError(f"claim {name!r} of {file} lacks the field {error}. Add it.") from None
    if len(claim.sides) != 2 or (ratio and claim.least <= 0):
        raise ValueError(
            f"claim {name!r} has sides={claim.sides} and least={claim.least}. A claim needs two "
            "cells, and a quotient a positive least."
        )
    for side in claim.sides:
        if not is_cell(side.removeprefix(AGAINST)):
            raise ValueError(f"claim {name!r} names the unknown cell {side!r}. Use {CELL_NAMES}.")
        missing = set(claim.studies) - set(claim.against)
        if side.startswith(AGAINST) and missing:
            raise ValueError(
                f"claim {name!r} compares {sorted(missing)[0]!r} with no study. Name one in its "
                "field against."
            )
    return claim


def _fingerprint(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:12]


def criteria(file: Path | None = None) -> dict[str, str]:
    """Return the fingerprint of every claim by its id, which a new record stores.

    Parameters
    ----------
    file : Path, optional
        By default the book's claims, or none if there is no book.
    """
    if file is None and not _book_file().exists():
        return {}
    return {claim.id: claim.fingerprint for claim in read_claims(file)}


def decide(
    claim: Claim, study: str, trials: list[Trial], others: list[Trial] | None = None
) -> Verdict:
    """Decide a claim by the trials of a study.

    Parameters
    ----------
    claim : Claim
    study : str
    trials : list of dict
    others : list of dict, optional
        Trials of the study that the claim compares this one with; those of equal number are used.

    Raises
    ------
    NotRecordedError
        If a trial lacks a number, or the other study has no trial of equal number.
    RecordError
        If a trial is damaged.
    UndefinedQuotientError
        If a side of a quotient is not positive.
    """
    if any(side.startswith(AGAINST) for side in claim.sides):
        numbered = {trial["trial"]: trial for trial in others or []}
        pairs = [(t, numbered[t["trial"]]) for t in trials if t["trial"] in numbered]
    else:
        pairs = [(t, t) for t in trials]
    if not pairs:
        raise NotRecordedError(
            f"claim {claim.id!r} finds no trials of equal number. Run the same trials of "
            "both studies."
        )
    first, second = (
        [cell(pair[side.startswith(AGAINST)], side.removeprefix(AGAINST)) for pair in pairs]
        for side in claim.sides
    )
    least, zero = claim.least, 0.0
    if claim.ratio:
        if min(first + second) <= 0:
            raise UndefinedQuotientError(
                f"claim {claim.id!r} has {min(first + second):.3g} on a side of a quotient, which "
                "needs positive numbers."
            )
        first, second = ([math.log(value) for value in values] for values in (first, second))
        least = math.log(least)
    estimate, width = interval([a - b for a, b in zip(first, second, strict=True)])
    half = float("inf") if width is None else width  # one trial has no interval
    low, high = estimate - half, estimate + half
    if low > least:
        word = "reproduced"
    elif high < min(least, zero):
        word = "reversed"
    elif high < least:
        word = "not reproduced"
    else:
        word = "undecided"
    if claim.ratio:
        estimate, low = math.exp(estimate), math.exp(low)
        high = math.exp(high) if high < 700 else math.inf
    return Verdict(claim, study, estimate, low, high, len(pairs), word)
