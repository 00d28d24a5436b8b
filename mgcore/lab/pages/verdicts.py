"""The claims of a chapter, decided by the studies that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mgcore.lab.pages.tables import Table
from mgcore.lab.records.files import NotRecordedError
from mgcore.lab.records.study import Study, committed
from mgcore.lab.verdict.claims import Claim, UndefinedQuotientError, Verdict, decide
from mgcore.lab.verdict.metrics import trials_of

Studies = Mapping[str, Study]


def decide_claims(
    claims: Sequence[Claim], studies: Studies, others: Mapping[str, Study] | None = None
) -> dict[str, dict[str, Verdict]]:
    """Decide claims by the trials of studies.

    Parameters
    ----------
    claims : sequence of Claim
        Claims that name none of the studies are left out.
    studies : mapping of str to Study
        Studies by the heading of their column.
    others : mapping of str to Study, optional
        By name, the studies that a claim compares with.

    Returns
    -------
    dict
        Verdicts by claim and heading.  A pair has no entry if the claim does not name the study,
        or if the claim is a quotient and the study has a value that is not positive.
    """
    found: dict[str, dict[str, Verdict]] = {}
    for claim in claims:
        for heading, study in studies.items():
            if study.name not in claim.studies:
                continue
            against = (others or {}).get(claim.against.get(study.name, ""))
            try:
                compared = against.trials if against else None
                verdict = decide(claim, study.name, study.trials, compared)
            except (NotRecordedError, UndefinedQuotientError):
                continue
            found.setdefault(claim.id, {})[heading] = verdict
    return found


def claims_table(
    claims: Sequence[Claim], studies: Studies, others: Mapping[str, Study] | None = None
) -> Table:
    """Return a row for each claim: statement, criterion, the thesis's number, ours with a verdict.

    If a study repeats another table of the thesis than the claim's source, its cell also has the
    number of that table.
    """
    found = decide_claims(claims, studies, others)
    rows = []
    for claim in claims:
        if claim.id not in found:
            continue
        cells = [_cell(found[claim.id].get(heading)) for heading in studies]
        least = f"× {claim.least:g}" if claim.ratio else f"{claim.least:+g}" if claim.least else "0"
        rows.append(
            [f"{claim.text} (§{claim.section})", f"above {least}", _thesis(claim), *cells]
        )  # fmt: skip
    counts = ", ".join(f"{name}: {trials_of(len(s.trials))}" for name, s in studies.items())
    return Table(
        ["statement", "reproduced\nif", "thesis", *studies], rows,
        "The thesis's statements as differences in points, or as ratios (×), ours with the 95 % "
        f"interval, and the verdict ({counts}). Reproduced: the whole interval lies above the "
        "limit; not reproduced: all of it below; reversed: below zero (a ratio: below one) too; "
        "undecided: the interval contains the limit.",
    )  # fmt: skip


def _cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return "–"
    return "\n".join(part for part in (str(verdict), verdict.word, verdict.own_thesis) if part)


def _thesis(claim: Claim) -> str:
    if claim.thesis is None:
        return f"no number\n({claim.source})"
    return f"{claim.thesis:+.1f}\n({claim.source})"


def criteria_fixed_before(
    claims: Sequence[Claim], study: str, criteria: Mapping[str, str]
) -> tuple[int, int]:
    """Return how many criteria of a study were fixed before its first trial, and how many it has.

    Parameters
    ----------
    claims : sequence of Claim
    study : str
    criteria : mapping of str to str
        Fingerprints by claim that the study's record stored when it was begun.
    """
    own = [claim for claim in claims if study in claim.studies]
    return sum(criteria.get(claim.id) == claim.fingerprint for claim in own), len(own)


def criteria_sentence(claims: Sequence[Claim], study: Study) -> str:
    """Return a sentence with the two numbers of :func:`criteria_fixed_before`."""
    before, count = criteria_fixed_before(claims, study.name, study.record.criteria)
    return f"{study.name}: {before} of {count} criteria stood before its record was begun."


def criteria_table(claims: Sequence[Claim], caption: str = "") -> Table:
    """Return for each committed record that decides claims how many criteria preceded it."""
    rows = []
    for name in sorted({name for claim in claims for name in claim.studies}):
        tier = next(claim.tier for claim in claims if name in claim.studies)
        if record := committed(name, tier):
            before, count = criteria_fixed_before(claims, name, record.criteria)
            rows.append([name, tier, len(record.numbers()), count, before])
    columns = [
        "study",
        "tier",
        "trials",
        "claims put to it",
        "criteria that stood\nbefore it was begun",
    ]
    return Table(columns, rows, caption)
