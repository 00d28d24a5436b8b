"""Tables of evidence for experiment chapters: claims, measures, cost, provenance, optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from mgcore.lab.agreement import interval
from mgcore.lab.cells import cell
from mgcore.lab.chapters import Study, committed, numbers, provenance
from mgcore.lab.claims import Claim, Verdict, decide
from mgcore.lab.protocol import ARMS
from mgcore.lab.tables import Table, Trial, results_table, trials_of
from mgcore.lab.thesis import Pairs, Stages
from mgcore.networks import step_flops

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
            except ValueError:  # a quotient of what is not positive, as in tiny networks
                continue
            found.setdefault(claim.id, {})[heading] = verdict
    return found


def claims_table(
    claims: Sequence[Claim], studies: Studies, others: Mapping[str, Study] | None = None
) -> Table:
    """Return a row for each claim: the thesis's statement and number, ours, and the verdict."""
    found = verdicts(claims, studies, others)
    rows = []
    for claim in claims:
        if claim.id not in found:
            continue
        cells = []
        for heading in studies:
            verdict = found[claim.id].get(heading)
            cells.append(f"{verdict}\n{verdict.word}" if verdict else "–")
        rows.append([f"{claim.text} (§{claim.section})", _thesis(claim), *cells])
    counts = ", ".join(f"{name}: {trials_of(len(s.trials))}" for name, s in studies.items())
    return Table(
        ["statement", "thesis", *studies], rows,
        "The thesis's statements as differences in points, or as ratios (×), ours with the 95 % "
        f"interval, and the verdict ({counts}).",
    )  # fmt: skip


def _thesis(claim: Claim) -> str:
    if claim.thesis is None:
        return f"by eye\n({claim.source})"
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
        A key of :data:`mgcore.lab.studies.STUDIES`.
    tier : {"smoke", "class", "paper"}
    thesis : mapping
        Such as :data:`mgcore.lab.thesis.TABLE_4_1`.
    caption : str

    Returns
    -------
    (table, said) : Table or str, dict of str
        The table, and the numbers of :func:`mgcore.lab.chapters.numbers` as text, with one decimal;
        where the study is not recorded at the tier, a sentence and no numbers.
    """
    record = committed(study, tier)
    if record is None:
        return f"{study}: not recorded at the {tier} tier.", {}
    shown = Study(study, record, record.trials(), recorded=True)
    said = {name: f"{value:.1f}" for name, value in numbers(shown).items()}
    return results_table(shown.trials, thesis, caption=caption), said


def landscape_table(studies: Studies, caption: str = "") -> Table:
    """Return how far weights may move around each network before the loss doubles.

    Geometric means over directions and trials with 95 % intervals over trials.
    """
    rows = []
    for heading, study in studies.items():
        for network in ("coarse", "transfer", "multigrid"):
            cells = [
                _spread([cell(t, f"landscape.{network}.{what}") for t in study.trials], digits)
                for what, digits in (("radius", 2), ("reach", 1), ("curvature", 2), ("loss", 2))
            ]
            rows.append([f"{heading}\n{network}", *cells])
    return Table(
        ["network", "radius\n× filters", "radius\nabsolute", "curvature\n× filters", "loss\nthere"],
        rows,
        f"{caption} Radius at which the loss doubles along random filter-normalised directions, in "
        "multiples of the filters and in absolute units; curvature of the loss along them; loss at "
        "the network itself. Mean over trials ± half-width of the 95 % interval.".strip(),
    )  # fmt: skip


def survival_table(studies: Studies, caption: str = "") -> Table:
    """Return how much of an image is left in the maps after the second convolution."""
    rows = []
    for heading, study in studies.items():
        for arm in ARMS:
            cells = [
                _spread([cell(t, f"survival.{arm}.conv2.{what}") for t in study.trials], 3)
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
        for arm in ARMS:
            cells = [
                _spread([cell(t, f"preparation.{arm}.{how}") for t in study.trials], 1)
                for how in ("original", "prolonged")
            ]
            rows.append([f"{heading}\n{arm}", *cells])
    return Table(
        ["trained on", "validated on\nimages as they are", "validated on\nP R x"], rows,
        f"{caption} Validation accuracy in % after the last epoch. Mean over trials ± half-width "
        "of the 95 % interval.".strip(),
    )  # fmt: skip


def optimizer_table(
    trials: Sequence[Trial], thesis: Mapping[str, Stages] | None = None, caption: str = ""
) -> Table:
    """Return the six columns of Tables 4.3 and 4.4, ours above the thesis's.

    "Initial" is after the first epoch of a stage, "after" is after its last, as in the tables
    before.
    """
    rows = []
    for arm in ARMS:
        row = [arm]
        for stage, run in (("classifier", f"{arm}_classifier"), ("network", arm)):
            names = ("1.training", "1.validation", "last.validation")
            for column, name in enumerate(names):
                text = _spread([cell(t, f"{run}.{name}") for t in trials], 1)
                if thesis:
                    text += f"\nthesis {thesis[arm][stage][column]:.1f}"
                row.append(text)
        rows.append(row)
    heads = ("training\nepoch 1", "val.\nepoch 1", "val.\nlast")
    stages = ("classifier", "network")
    columns = ["start", *(f"{stage},\n{head}" for stage in stages for head in heads)]
    how = f"Accuracy in %: {trials_of(len(trials))}, so there is no interval."
    if len(trials) > 1:
        how = f"Accuracy in %: mean of {len(trials)} trials ± half-width of its 95 % interval."
    return Table(columns, rows, f"{caption} {how}".strip())


def work_table(studies: Studies, caption: str = "") -> Table:
    """Return what each stage of each study cost: work, products, operations, time of one core.

    Operations follow from the work: so many gradients, each three forward passes less what the
    first layer saves (:func:`mgcore.networks.step_flops`).  Hours are for the thesis's 20 trials.
    """
    rows = []
    for heading, study in studies.items():
        for arm in ARMS:
            for run in (f"{arm}_classifier", arm):
                if run not in study.trials[0]["metrics"]:
                    continue
                last = [t["metrics"][run][-1] for t in study.trials]
                epochs = study.protocol.n_fine
                work = fmean(row.get("work", row["epoch"] * epochs) for row in last) / epochs
                each = step_flops(study.protocol.resolution, study.protocol.pooling)
                steps = [sum(r.get("products", 0) for r in t["metrics"][run]) for t in study.trials]
                spent = [t["circumstances"]["seconds"][run]["training"] for t in study.trials]
                rows.append(
                    [f"{heading}\n{run.replace('_', ', ')}", f"{work:.1f}",
                     f"{fmean(steps):.0f}" if any(steps) else "–",
                     f"{work * epochs * each / 1e12:.2f}", f"{fmean(spent) / 60:.1f}",
                     f"{20 * fmean(spent) / 3600:.2f}"]
                )  # fmt: skip
    return Table(
        ["study, stage", "work\n(epochs of SGD)", "Hessian\nproducts", "TFLOP",
         "minutes of\none core", "core-hours,\n20 trials"],
        rows, caption,
    )  # fmt: skip


def provenance_table(studies: Sequence[Study]) -> Table:
    """Return where the numbers of a page come from, a column for each study."""
    boxes = [provenance(study) for study in studies]
    return Table(
        ["", *(box["study"] for box in boxes)],
        [[key, *(box[key] for box in boxes)] for key in boxes[0] if key != "study"],
        "Provenance, written by the code that made the page.",
    )


def _spread(values: list[float], digits: int) -> str:
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")
