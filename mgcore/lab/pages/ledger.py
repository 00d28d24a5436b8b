"""The ledger: every claim of the thesis with its verdict, from the committed records and checks.

The claims page, the status page, the tests and the prose take every verdict from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mgcore.lab.pages.tables import Link, Table
from mgcore.lab.pages.verdicts import decide_claims
from mgcore.lab.records.study import Study, recorded
from mgcore.lab.verdict.checks import CHECKS
from mgcore.lab.verdict.claims import Claim, Verdict, read_claims
from mgcore.lab.verdict.metrics import trials_of
from mgcore.lab.verdict.readings import READINGS

WORDS = (
    "reproduced", "not reproduced", "reversed", "corrected", "not decidable", "undecided",
)  # fmt: skip
SIZES = ("agrees", "larger", "smaller")
# The study that decides if a claim names several: the one on the images that bring the results
# nearest to the thesis's tables; of the optimizers, the textbook's method with most trials.
DECIDING = (
    "baseline-prolonged", "pooling-prolonged", "classifier-unpooled", "joint-pooled",
    "no-smoothness", "no-dct",
)  # fmt: skip
# Page and heading of the evidence, by the table or figure of the thesis.
_ERRATA = ("errata", "chapter-3-between-the-grids")
_PLACES = {
    "Table 4.1": ("baseline", "table-4-1"),
    "Figure 4.2": ("baseline", "figure-4-2-the-classifier-after-coarse-training"),
    "Figure 4.3": ("baseline", "figure-4-3-loss-surfaces"),
    "Table 4.2": ("pooling", "table-4-2"),
    "Tables 4.1, 4.2": ("pooling", "the-gap-with-and-without-pooling"),
    "Figures 4.3, 4.5": ("pooling", "figure-4-5-loss-surfaces-with-pooling"),
    "Figures 4.4, 4.6": ("pooling", "figure-4-6-images-on-their-way-with-and-without-pooling"),
    "Table 4.3": ("optimizers", "table-4-3-the-classifier-by-cg-steihaug-then-both-by-sgd"),
    "Tables 4.1, 4.3": ("optimizers", "table-4-3-the-classifier-by-cg-steihaug-then-both-by-sgd"),
    "Table 4.4": ("optimizers", "table-4-4-cg-steihaug-for-both"),
    "Tables 4.2, 4.4": ("optimizers", "table-4-4-cg-steihaug-for-both"),
    **dict.fromkeys(("(3.3)", "(3.4)–(3.5)", "§3.1.2", "§3.1.3", "§3.2.1"), _ERRATA),
}
_PLACES_BY_ID = {
    "smoothness-penalty-needed": ("claims", "ablations"),
    "smooth-start-needed": ("claims", "ablations"),
    "operator-limit": ("pde_view", ""),
    "relaxation-smooths": ("multigrid", ""),
    "classifier-stage-widens-gap": (
        "optimizers",
        "table-4-3-the-classifier-by-cg-steihaug-then-both-by-sgd",
    ),
    "four-times-cheaper": ("baseline", "before-retraining-and-the-cost-of-each-condition"),
    "weights-count": ("errata", "chapters-4-and-5-counts-tables-conclusions"),
    "discontinuous-images": ("errata", "chapters-4-and-5-counts-tables-conclusions"),
    "bias-terms": ("errata", "chapters-4-and-5-counts-tables-conclusions"),
}


@dataclass(frozen=True)
class Entry:
    """One claim with its verdict.

    Attributes
    ----------
    claim : Claim
    word : str
        The verdict, one of :data:`WORDS`, of the deciding study or of the check.
    shown : str
        The evidence in a line: estimate with interval and trials, or the result of a check.
    others : dict of str to Verdict
        Verdicts of the other studies, by name.
    size : str
        One of :data:`SIZES`: whether the interval of the deciding study contains the thesis's
        number, or ours is larger or smaller; empty where there is no number or no interval.
    """

    claim: Claim
    word: str
    shown: str
    others: dict[str, Verdict]
    size: str = ""


def deciding(claim: Claim, found: dict[str, Verdict]) -> str:
    """Return the study among those found that decides a claim: by rule, else the first named."""
    for name in DECIDING:
        if name in found:
            return name
    return next(name for name in claim.studies if name in found)


def read_ledger(file: Path | None = None) -> list[Entry]:
    """Return every claim of the book with its verdict.

    Parameters
    ----------
    file : Path, optional
        The claims; the book's by default.

    Raises
    ------
    ValueError
        If a claim names a check that does not exist.
    """
    claims = read_claims(file)
    return [_checked(claim) if claim.check else _measured(claim) for claim in claims]


def _checked(claim: Claim) -> Entry:
    known = CHECKS | READINGS
    if claim.check not in known:
        options = ", ".join(repr(name) for name in known)
        raise ValueError(
            f"The check of claim {claim.id!r} must be one of {options}, got {claim.check!r}."
        )
    finding = known[claim.check]()
    return Entry(claim, finding.word, finding.shown, {})


def _measured(claim: Claim) -> Entry:
    names = {*claim.studies, *claim.against.values()}
    studies = {name: study for name in names if (study := _study(name, claim.tier))}
    mine = {name: studies[name] for name in claim.studies if name in studies}
    found = decide_claims([claim], mine, studies).get(claim.id, {})
    if not found:
        return Entry(claim, "undecided", "not recorded yet", {})
    name = deciding(claim, found)
    verdict = found.pop(name)
    shown = f"{verdict} ({name}, {trials_of(verdict.trials)})"
    return Entry(claim, verdict.word, shown, found, verdict.size)


@lru_cache
def _study(name: str, tier: str) -> Study | None:
    return recorded(name, tier)


def counts(entries: Sequence[Entry]) -> dict[str, int]:
    """Return how many claims have each of the words, in the order of :data:`WORDS`."""
    found = Counter(entry.word for entry in entries)
    return {word: found[word] for word in WORDS}


def sizes(entries: Sequence[Entry]) -> dict[str, int]:
    """Return how many claims have each of the sizes, in the order of :data:`SIZES`."""
    found = Counter(entry.size for entry in entries)
    return {size: found[size] for size in SIZES}


def criterion(claim: Claim) -> str:
    """Return the criterion of a claim in words."""
    if claim.check:
        return "by computation"
    sign = " ÷ " if claim.ratio else " − "
    sides = sign.join(side.replace("against:", "unpooled or SGD: ") for side in claim.sides)
    return f"{sides} > {claim.least:g}"


def ledger_table(entries: Sequence[Entry], caption: str = "") -> Table:
    """Return the ledger as a table: statement, the thesis's number, our result, verdict, size."""
    rows = []
    for entry in entries:
        claim = entry.claim
        thesis = claim.source if claim.thesis is None else f"{claim.thesis:+.1f}, {claim.source}"
        found = [entry.shown]
        for name, verdict in entry.others.items():
            own = f" ({verdict.own_thesis})" if verdict.own_thesis else ""
            found.append(f"{name}: {verdict}, {verdict.word}{own}")
        rows.append(
            [f"{' '.join(claim.text.split())} (§{claim.section}, {claim.kind})", thesis,
             "\n".join(" ".join(part.split()) for part in found),
             Link(entry.word, evidence_page(claim)), entry.size or "–"]
        )  # fmt: skip
    anchors = [f"claim-{entry.claim.id}" for entry in entries]
    return Table(["statement", "thesis", "found", "verdict", "size"], rows, caption, anchors)


def evidence_page(claim: Claim) -> str:
    """Return the page, from within the book's folder, on which the evidence is shown.

    Raises
    ------
    ValueError
        If no page is known for the claim or its source.
    """
    place = _PLACES_BY_ID.get(claim.id) or _PLACES.get(claim.source)
    if place is None:
        raise ValueError(
            f"The page with the evidence of claim {claim.id!r} is not known. Add its source, "
            f"{claim.source!r}, to _PLACES in mgcore/lab/pages/ledger.py, or its id to "
            "_PLACES_BY_ID."
        )
    page, heading = place
    return f"{page}.html" + (f"#{heading}" if heading else "")
