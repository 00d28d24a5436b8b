"""What every experiment chapter does before it shows anything: find its record or make one.

The defaults of a chapter show the committed record and need no data.  A reader who names trials,
a tier, a data set or a seed gets a run of their own below ``_build/records``, which is then held
against the committed record.
"""

from __future__ import annotations

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
    """Return the protocol of what a chapter is asked for; nothing is run.

    Parameters
    ----------
    study, tier, trials, device, dataset, seed
        As for :func:`obtain`.

    Raises
    ------
    ValueError
        If a parameter is not accepted.
    """
    if trials is not None:
        check_trials(trials)
    choose_device(device)
    if dataset == "auto":
        dataset = default_dataset(tier)
    elif dataset not in DATASETS:
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
        None shows what the committed record holds, and runs the tier's usual number where there
        is none.  A number is run afresh, so that it can be compared with the record; only where
        it exceeds the record's are the recorded trials taken over and topped up.
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
        If a parameter is not accepted.
    """
    protocol = check_choice(study, tier, trials, device, dataset, seed)
    record = committed(study, tier)
    same = record is not None and record.protocol.key() == protocol.key()
    if same and trials is None:
        return Study(study, record, record.trials(), recorded=True)
    count = trials or DEFAULT_TRIALS[tier]
    top_up = same and count > len(record.numbers())
    folder = reader_folder(study, protocol, record.folder if top_up else None)
    run = run_study(protocol, count, device, record=folder, criteria=criteria(), progress=progress)
    return Study(study, run, run.trials(count), recorded=False)


def beside(study: str, **choice: Any) -> Study:
    """Return a study that a chapter only compares its own with: as recorded, where it is.

    Parameters
    ----------
    study : str
    **choice
        As for :func:`obtain`; trials are run only where the committed record has another protocol,
        which another seed is too.
    """
    asked = {name: value for name, value in choice.items() if name != "progress"}
    protocol = check_choice(study, **asked)
    found = recorded(study, protocol.tier)
    if found is not None and found.protocol.key() == protocol.key():
        return found
    return obtain(study, **choice)


def run_live(study: str, trials: int = 2, *, progress: bool = True) -> Study:
    """Run a study at the smoke tier here and now, whatever was computed before.

    Nothing of it is kept, so what a page shows of it was computed when the page was made.
    """
    protocol = study_protocol(study, "smoke", "strokes")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        record = run_study(
            protocol, trials, "cpu", record=place / "record", cache=place / "cache",
            progress=progress,
        )  # fmt: skip
        return Study(study, record, record.trials(trials), recorded=False)


def freshness(study: Study) -> str:
    """Run the canary and say whether the results shown are those of today's code."""
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


def verdict(study: Study) -> Agreement:
    """Say whether the trials shown agree with the committed record."""
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
    """Return where the numbers come from: tier, trials, data, device, versions, dates, time."""
    if not study.trials:
        raise RecordError(f"record: {study.record.folder} has no trials; accepted: at least one.")
    all_of = [trial["circumstances"] for trial in study.trials]
    minutes = [one["seconds"]["whole"] / 60 for one in all_of]

    def distinct(*keys: str) -> str:
        found = []
        for one in all_of:
            for key in keys:
                one = one[key]
            found.append(str(one))
        return ", ".join(sorted(set(found)))

    versions = sorted({f"{k} {v}" for one in all_of for k, v in one["versions"].items()})
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


def numbers(study: Study) -> dict[str, float]:
    """Return the means that a page may quote, as ``"multigrid-last-validation"``, to one decimal.

    For every arm and the coarse network: epochs 0, 1 and last; training and validation accuracy
    and their gap, in percent and points.
    """
    found = {}
    for arm in study.trials[0]["metrics"]:
        for epoch in ("0", "1", "last"):
            for metric in ("training", "validation", "gap"):
                each = [cell(trial, f"{arm}.{epoch}.{metric}") for trial in study.trials]
                found[f"{arm}-{epoch}-{metric}"] = round(fmean(each), 1)
    return found
