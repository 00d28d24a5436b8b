"""Tables of evidence for experiment chapters: claims, measures, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mgcore.lab.pages.chapters import numbers, provenance
from mgcore.lab.pages.tables import Table, results_table
from mgcore.lab.protocol import CONDITIONS
from mgcore.lab.protocol.printed_tables import Pairs
from mgcore.lab.records.files import NotRecordedError
from mgcore.lab.records.study import Study, recorded
from mgcore.lab.verdict.agreement import interval
from mgcore.lab.verdict.claims import Claim, UndefinedQuotientError, Verdict, decide
from mgcore.lab.verdict.metrics import cell, trials_of

Studies = Mapping[str, Study]


def verdicts(
    claims: Sequence[Claim], studies: Studies, others: Mapping[str, Study] | None = None
) -> dict[str, dict[str, Verdict]]:
    """Put claims to studies.

    Parameters
    ----------
    claims : sequence of Claim
        Those that name none of the studies are left out.
    studies : mapping of str to Study
        By the heading of their column.
    others : mapping of str to Study, optional
        By name, the studies that claims compare them with.

    Returns
    -------
    dict
        By claim and heading; a claim that is not put to a study, or whose quotient has no meaning
        there, has no entry for it.
    """
    found: dict[str, dict[str, Verdict]] = {}
    for claim in claims:
        for heading, study in studies.items():
            if study.name not in claim.studies:
                continue
            against = (others or {}).get(claim.against.get(study.name, ""))
            try:
                verdict = decide(claim, study.name, study.trials, against and against.trials)
            except (NotRecordedError, UndefinedQuotientError):
                continue
            found.setdefault(claim.id, {})[heading] = verdict
    return found


def claims_table(
    claims: Sequence[Claim], studies: Studies, others: Mapping[str, Study] | None = None
) -> Table:
    """Return a row for each claim: the statement, what it takes, the thesis's number, ours, a word.

    A study that repeats another table of the thesis than the claim's source has that table's
    number below its own.
    """
    found = verdicts(claims, studies, others)
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


def before_or_after(claims: Sequence[Claim], study: Study) -> str:
    """Say how many of the claims put to a study stood in the file when its record was begun."""
    mine = [claim for claim in claims if study.name in claim.studies]
    kept = study.record.criteria
    before = sum(kept.get(claim.id) == claim.fingerprint for claim in mine)
    return f"{study.name}: {before} of {len(mine)} criteria stood before its record was begun."


def recorded_table(
    study: str, tier: str, thesis: Mapping[str, Pairs], caption: str = ""
) -> tuple[Table | str, dict[str, str]]:
    """Return the accuracies of a study that a chapter shows beside its own, from the record alone.

    Parameters
    ----------
    study : str
        A key of :data:`mgcore.lab.protocol.studies.STUDIES`.
    tier : {"smoke", "class", "paper"}
    thesis : mapping
        Such as :data:`mgcore.lab.protocol.printed_tables.TABLE_4_1`.
    caption : str

    Returns
    -------
    (table, said) : Table or str, dict of str
        The table, and the numbers of :func:`mgcore.lab.pages.chapters.numbers` as text, with one decimal;
        where the study is not recorded at the tier, a sentence and no numbers.
    """
    shown = recorded(study, tier)
    if shown is None:
        return f"{study}: not recorded at the {tier} tier.", {}
    said = {name: f"{value:.1f}" for name, value in numbers(shown).items()}
    return results_table(shown.trials, thesis, caption=caption), said


_LANDSCAPE = {"radius": 2, "reach": 1, "curvature": 2, "rayleigh": 4, "loss": 2}  # and decimals


def landscape_table(studies: Studies, caption: str = "") -> Table:
    """Return how far weights may move around each network before the loss doubles.

    Geometric means over directions and trials with 95 % intervals over trials.
    """
    rows = []
    for heading, study in studies.items():
        for network in ("coarse", "transfer", "multigrid"):
            cells = [
                spread([cell(t, f"landscape.{network}.{what}") for t in study.trials], digits)
                for what, digits in _LANDSCAPE.items()
            ]
            rows.append([f"{heading}\n{network}", *cells])
    return Table(
        ["network", "radius\n× filters", "radius\nabsolute", "curvature\n× filters",
         "curvature\nabsolute", "loss\nthere"],
        rows,
        f"{caption} Radius at which the loss doubles along random filter-normalised directions, "
        "and curvature of the loss along them, in multiples of the filters and in absolute units; "
        "loss at the network itself, which is what doubles. Mean over trials ± half-width of the "
        "95 % interval.".strip(),
    )  # fmt: skip


def survival_table(studies: Studies, caption: str = "") -> Table:
    """Return how much of an image is left in the maps after the second convolution."""
    rows = []
    for heading, study in studies.items():
        for arm in CONDITIONS:
            cells = [
                spread([cell(t, f"survival.{arm}.conv2.{what}") for t in study.trials], 3)
                for what in ("mean", "best", "silent")
            ]
            rows.append([f"{heading}\n{arm}", *cells])
    return Table(
        ["network", "all channels", "best channel", "silent maps"], rows,
        f"{caption} Largest absolute correlation with the input over shifts, after the second "
        "convolution, mean over images: of all channels, and of the best; and the share of maps "
        "that are constant. Mean over trials ± half-width of the 95 % interval.".strip(),
    )  # fmt: skip


def preparation_table(studies: Studies, caption: str = "") -> Table:
    """Return validation accuracy on images as they are and on P R x, by training images."""
    rows = []
    for heading, study in studies.items():
        for arm in CONDITIONS:
            cells = [
                spread([cell(t, f"preparation.{arm}.{how}") for t in study.trials], 1)
                for how in ("original", "prolonged")
            ]
            rows.append([f"{heading}\n{arm}", *cells])
    return Table(
        ["trained on", "validated on\nimages as they are", "validated on\nP R x"], rows,
        f"{caption} Validation accuracy in % after the last epoch. Mean over trials ± half-width "
        "of the 95 % interval.".strip(),
    )  # fmt: skip


def provenance_table(studies: Sequence[Study]) -> Table:
    """Return where the numbers of a page come from, a column for each study."""
    boxes = [provenance(study) for study in studies]
    return Table(
        ["", *(box["study"] for box in boxes)],
        [[key, *(box[key] for box in boxes)] for key in boxes[0] if key != "study"],
        "Provenance, written by the code that made the page.",
    )


def spread(values: list[float], digits: int) -> str:
    """Return a mean over trials ± the half-width of its 95 % interval, where there is one."""
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")
