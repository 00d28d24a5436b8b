"""The study that a chapter shows: find its record, or run it.

A chapter with default parameters shows the committed record and needs no data.  A chapter with
other trials, another tier, data set or seed runs the study below ``_build/records`` and compares
the outcome with the committed record.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from mgcore.data.images import DATASETS, one_of
from mgcore.lab.protocol import Protocol
from mgcore.lab.protocol.studies import DEFAULT_TRIALS, default_dataset, study_protocol
from mgcore.lab.records.files import RecordError
from mgcore.lab.records.record import reader_folder
from mgcore.lab.records.study import Study, committed, recorded
from mgcore.lab.run.fingerprint import deviation, fingerprint_of, still_holds
from mgcore.lab.run.study import check_trials, run_study
from mgcore.lab.run.workers import choose_device
from mgcore.lab.verdict.agreement import Agreement, compare
from mgcore.lab.verdict.claims import criteria
from mgcore.lab.verdict.metrics import cell


def check_choice(
    study: str = "baseline-original",
    tier: str = "paper",
    trials: int | None = None,
    device: str = "auto",
    dataset: str = "auto",
    seed: int = 0,
) -> Protocol:
    """Return the protocol for the parameters of a chapter, without running anything.

    Parameters
    ----------
    study, tier, trials, device, dataset, seed
        As for :func:`obtain`.

    Raises
    ------
    ValueError
        If a parameter has no meaning.
    """
    if trials is not None:
        check_trials(trials)
    choose_device(device)
    if dataset == "auto":
        dataset = default_dataset(tier)
    elif not isinstance(dataset, str) or dataset not in DATASETS:
        options = one_of(("auto", *DATASETS))
        raise ValueError(f"dataset must be one of {options}, got {dataset!r}.")
    return study_protocol(study, tier, dataset, seed)


def obtain(
    study: str,
    tier: str = "paper",
    trials: int | None = None,
    device: str = "auto",
    dataset: str = "auto",
    seed: int = 0,
    *,
    progress: bool = True,
) -> Study:
    """Return a study for a chapter's parameters, from the record or by running it.

    Parameters
    ----------
    study : str
        A key of :data:`mgcore.lab.protocol.studies.STUDIES`.
    tier : {"smoke", "class", "paper"}
    trials : int, optional
        None shows all trials of the committed record, or runs the tier's default number if there
        is no record.  A number of trials is run anew, to be compared with the record; if the
        number exceeds the record's, the recorded trials are reused and the missing ones run.
    device : {"auto", "cpu", "cuda"}
    dataset : str
        ``"auto"`` or a key of :data:`mgcore.data.images.DATASETS`.
        ``"auto"`` is MNIST, but stroke digits at the smoke tier.
    seed : int
    progress : bool

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        If a parameter has no meaning.
    """
    protocol = check_choice(study, tier, trials, device, dataset, seed)
    record = committed(study, tier)
    if record is not None and record.protocol.key() != protocol.key():
        record = None
    if record and trials is None:
        return Study(study, record, record.trials(), recorded=True)
    count = trials or DEFAULT_TRIALS[tier]
    top_up = record.folder if record and count > len(record.numbers()) else None
    folder = reader_folder(study, protocol, top_up)
    run = run_study(protocol, count, device, record=folder, criteria=criteria(), progress=progress)
    return Study(study, run, run.trials(count), recorded=False)


def comparison_study(study: str, **choice: Any) -> Study:
    """Return a study that a chapter shows for comparison: the committed record, if there is one.

    Parameters
    ----------
    study : str
    **choice
        As for :func:`obtain`.  Trials are run only if the committed record has another protocol
        (another seed is another protocol), or lacks the measures that chapters show.
    """
    parameters = {name: value for name, value in choice.items() if name != "progress"}
    protocol = check_choice(study, **parameters)
    stored = recorded(study, protocol.tier)
    if stored is not None and stored.protocol.key() == protocol.key():
        # The first records of the class tier hold accuracies alone.
        if all(trial.get("measures") for trial in stored.trials):
            return stored
    return obtain(study, **choice)


def run_live(study: str, trials: int = 2, *, progress: bool = True) -> Study:
    """Run a study at the smoke tier on stroke digits, without any cache or record.

    The results are computed while the page is built, and are not stored.
    """
    protocol = study_protocol(study, "smoke", "strokes")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        record = run_study(
            protocol, trials, "cpu", record=root / "record", cache=root / "cache",
            progress=progress,
        )  # fmt: skip
        return Study(study, record, record.trials(trials), recorded=False)


def freshness(study: Study) -> str:
    """Return a sentence on whether today's code reproduces the fingerprint of the record."""
    stored = study.record.fingerprint
    if still_holds(stored, study.protocol):
        return "Current: the code still computes what it did when these results were recorded."
    if stored is None:
        return "STALE: the record has no fingerprint, so nothing ties it to the code."
    worst, where = deviation(stored, fingerprint_of(study.protocol))
    return (
        f"STALE: the code no longer computes what it did when these results were recorded "
        f"({where} differs by {worst:.1e}); run the study again before believing them."
    )


def agreement_with_record(study: Study) -> Agreement:
    """Compare the trials shown with the committed record."""
    if study.recorded:
        sentence = f"{study.name}: the committed record itself, {len(study.trials)} trials."
        return Agreement(True, "record", sentence)
    record = committed(study.name, study.protocol.tier)
    if record is None:
        tier = study.protocol.tier
        sentence = f"{study.name}: not comparable, no {tier} tier of it is committed."
        return Agreement(None, "none", sentence)
    outcome = compare(study.record, record)
    return Agreement(outcome.agrees, outcome.method, f"{study.name}: {outcome.sentence}")


def provenance(study: Study) -> Mapping[str, str]:
    """Return the origin of the numbers: tier, trials, data, device, versions, dates, time."""
    if not study.trials:
        raise RecordError(f"{study.record.folder} has no trials. Run the study first.")
    circumstances = [trial["circumstances"] for trial in study.trials]
    minutes = [one["seconds"]["whole"] / 60 for one in circumstances]

    def distinct(*keys: str) -> str:
        found = []
        for one in circumstances:
            value: Any = one
            for key in keys:
                value = value[key]
            found.append(str(value))
        return ", ".join(sorted(set(found)))

    versions = sorted({f"{k} {v}" for one in circumstances for k, v in one["versions"].items()})
    return {
        "study": study.name,
        "shown": "the committed record" if study.recorded else "your own run",
        "protocol": f"{study.protocol.name}, SHA-256 {study.protocol.key()[:16]}…",
        "tier": study.protocol.tier,
        "trials": str(len(study.trials)),
        "data": f"{distinct('data', 'dataset')}, SHA-256 {distinct('data', 'sha256')[:16]}…",
        "device": f"{distinct('device')}, {distinct('threads')} thread a trial, "
        f"{distinct('machine')}",
        "software": "\n".join(versions),
        "date": distinct("date"),
        "time": f"{sum(minutes):.1f} core-minutes, {sum(minutes) / len(minutes):.1f} a trial",
    }  # fmt: skip


def mean_accuracies(study: Study) -> dict[str, float]:
    """Return mean accuracies by name, such as ``"multigrid-last-validation"``, to one decimal.

    Every training run has epochs 0, 1 and last, and for each of them training and validation
    accuracy in percent and their difference, the gap, in points.
    """
    return {
        f"{run}-{epoch}-{metric}": round(fmean(values(study, f"{run}.{epoch}.{metric}")), 1)
        for run in study.trials[0]["metrics"]
        for epoch in ("0", "1", "last")
        for metric in ("training", "validation", "gap")
    }


def values(study: Study, metric: str) -> list[float]:
    """Return one metric of every trial of a study.

    Parameters
    ----------
    study : Study
    metric : str
        A name as for :func:`mgcore.lab.verdict.metrics.cell`, such as ``"multigrid.last.gap"``.
    """
    return [cell(trial, metric) for trial in study.trials]


def paired_differences(study: Study, first: str, second: str) -> list[float]:
    """Return the first metric minus the second in every trial of a study."""
    pairs = zip(values(study, first), values(study, second), strict=True)
    return [a - b for a, b in pairs]


def geometric_mean_ratio(study: Study, other: Study, metric: str) -> float:
    """Return the geometric mean over trials of a metric in one study over that in another.

    Raises
    ------
    ValueError
        If a value is not positive.
    """
    pairs = zip(values(study, metric), values(other, metric), strict=False)
    return math.exp(fmean([math.log(a / b) for a, b in pairs]))
