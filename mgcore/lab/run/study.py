"""Run the missing trials of a study, and only those (thesis §4.1).

The caller of :func:`run_study` locks trials, hands them to workers and writes the results.  Two
callers on one record share the work; a kill costs at most the epoch that was being trained.
"""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from mgcore import __version__
from mgcore.lab.protocol import Protocol
from mgcore.lab.records.checkpoints import default_cache
from mgcore.lab.records.files import RecordError
from mgcore.lab.records.record import Record, reader_folder
from mgcore.lab.records.schema import Trial
from mgcore.lab.run import cluster
from mgcore.lab.run.fingerprint import TOLERANCE, deviation, digest, fingerprint_of
from mgcore.lab.run.locks import TrialLocks
from mgcore.lab.run.progress import ProgressFile, StudyProgress, show_progress
from mgcore.lab.run.workers import choose_device, cores, run_parallel, use_tf32
from mgcore.lab.trial.figure_arrays import collect
from mgcore.lab.trial.measures import measure
from mgcore.lab.trial.trial import run_trial
from mgcore.lab.trial.vectorized import run_vectorized
from mgcore.thesis.lowerings import LOWERING, check_lowering

VERSIONS = ("torch", "numpy", "scipy")


def check_trials(trials: Any) -> int:
    """Return `trials` if it is an integer of at least 1, and raise ValueError otherwise."""
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ValueError(f"trials must be a positive integer, got {trials!r}.")
    return trials


def run_study(
    protocol: Protocol,
    trials: int,
    device: str = "auto",
    *,
    record: Path | str | None = None,
    workers: int | None = None,
    cache: Path | str | None = None,
    progress: bool = True,
    criteria: Mapping[str, str] | None = None,
    scheduler: str | None = None,
    vectorized: bool | None = None,
    lowering: str = LOWERING,
    tf32: bool = False,
) -> Record:
    """Run the missing trials of a study until its record has `trials` of them.

    Parameters
    ----------
    protocol : Protocol
    trials : int
        Trials 0 … trials − 1 will be in the record; it may already hold more.
    device : {"auto", "cpu", "cuda"}
        ``"auto"`` takes a GPU if torch finds one.
    record : path, optional
        Folder of the record; by default one below ``_build/records``.
    workers : int, optional
        Processes on a CPU; by default one per core.
    cache : path, optional
        Folder of checkpoints and locks; :func:`default_cache` by default.
    progress : bool
        Whether standard error shows progress: a bar, or lines if it is not a terminal.
    criteria : mapping of str, optional
        Fingerprints of the claims, which a new record stores.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers run the trials.
    vectorized : bool, optional
        Whether trials are trained together along one axis; by default only on a GPU.
    lowering : str
        How vectorized convolutions are computed, one of
        :data:`mgcore.thesis.lowerings.LOWERINGS`.
    tf32 : bool
        Whether a GPU may multiply in TF32.

    Returns
    -------
    Record

    Raises
    ------
    ValueError
        If an argument is out of range, or arguments do not go together.
    RecordError
        If the record belongs to another protocol, was made by code that behaves differently, or
        cannot be written.
    """
    check_trials(trials)
    device = choose_device(device)
    together = device == "cuda" if vectorized is None else vectorized
    if scheduler is not None and (together or device == "cuda"):
        raise ValueError(
            f"scheduler={scheduler!r} cannot be combined with vectorized={together} on {device!r}. "
            "Use device='cpu' and vectorized=False."
        )
    if together:
        check_lowering(lowering, device)
    use_tf32(tf32)
    folder = Path(record) if record is not None else reader_folder("study", protocol)
    study_record = Record.create(folder, protocol, criteria)
    code = _same_code(study_record)
    cache = Path(cache) if cache is not None else default_cache()
    locks = TrialLocks(cache / "claims", folder)
    workers = 1 if device == "cuda" else min(workers or cores(), trials)
    if together:  # rounding differs, so the checkpoints need names of their own
        code = {grid: f"{name}/{lowering}{'/tf32' * tf32}" for grid, name in code.items()}

    def results(client: Any) -> Iterator[tuple[Trial, Any, list[str]]]:
        rest = device, None if client else cache, code
        jobs = _lock_jobs(_missing(study_record, trials), study_record, locks, protocol, *rest)
        if client:
            return cluster.run_on(client, run_one, jobs)
        if together:
            return run_vectorized(
                run_one, jobs,
                lambda number: ProgressFile(locks.progress_file(number), "all"),
                protocol,
                device=device, cache=cache, code=code, lowering=lowering,
            )  # fmt: skip
        return run_parallel(run_one, jobs, workers)

    with locks, nullcontext() if scheduler is None else cluster.connected(scheduler) as client:
        if client:
            cluster.check_workers(client, protocol, code)
        state = StudyProgress(protocol, study_record, trials, locks)
        with show_progress(state, progress), _interrupted_at(state):
            while _missing(study_record, trials):
                ran = False
                for trial, arrays, scratch in results(client):
                    if arrays is not None:
                        study_record.write_arrays(arrays)
                    study_record.add(trial)
                    cluster.forget(client, scratch) if client else cluster.remove(scratch)
                    locks.release(trial["trial"])
                    ran = True
                if not ran:  # other processes are running all missing trials
                    locks.wait()
    return study_record


@contextmanager
def _interrupted_at(state: StudyProgress) -> Iterator[None]:
    """Give an interruption the progress of the study as its message."""
    try:
        yield
    except KeyboardInterrupt:
        state.update()
        raise KeyboardInterrupt(state.summary) from None


def _same_code(record: Record) -> dict[str, str]:
    """Store the fingerprint in a new record, or compare it with an old one; return its digests.

    Coarse networks are shared by all studies, so their digest leaves out Newton's methods.
    """
    current = fingerprint_of(record.protocol)
    recorded = record.fingerprint  # read last: another process may have begun the record meanwhile
    if recorded is None:
        if record.numbers():
            raise RecordError(
                f"record: {record.folder} has trials but no canary.json. Restore the record, or "
                "use an empty folder."
            )
        record.fingerprint = current
    else:
        worst, where = deviation(recorded, current)
        if worst > TOLERANCE:
            raise RecordError(
                f"record: {record.folder} was made by code that computes something else ({where} "
                f"differs by {worst:.1e}). Use that code or another folder."
            )
    return {"coarse": digest(fingerprint_of(record.protocol, "coarse")), "fine": digest(current)}


def _missing(record: Record, trials: int) -> list[int]:
    """Return the numbers of the trials to run, after renaming damaged files.

    Trial 0 also counts as missing if the arrays of the figures are missing.
    """
    present = set(record.numbers())
    checks: list[tuple[Any, Callable[[Any], object]]] = [
        (number, record.trial) for number in sorted(present & set(range(trials)))
    ]
    checks += [(None, lambda _: record.arrays())] if record.has_arrays() else []
    for number, read in checks:
        try:
            read(number)
        except RecordError as error:
            aside = record.set_aside(number)
            tqdm.write(
                f"{error} It was renamed to {aside.name}; its trial runs again.", file=sys.stderr
            )
            present.discard(number or 0)
    return [n for n in range(trials) if n not in present or (n == 0 and not record.has_arrays())]


def _lock_jobs(
    missing: list[int], record: Record, locks: TrialLocks, protocol: Protocol, *rest: Any
) -> Iterator[tuple[Any, ...]]:
    """Yield the jobs that no other process has, locking each when it is drawn."""
    for number in missing:
        if not locks.take(number):
            continue
        figures = number == 0 and not record.has_arrays()
        if number in record.numbers() and not figures:  # finished by another process meanwhile
            locks.release(number)
            continue
        yield protocol, number, figures, str(locks.progress_file(number)), *rest


def _version(package: str) -> str:
    """Return a package's version; "not installed" if it is only on the import path."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def run_one(
    protocol: Protocol, number: int, figures: bool, progress: str, device: str,
    cache: Path | None, code: dict[str, str],
) -> tuple[Trial, dict[str, np.ndarray] | None, list[str]]:  # fmt: skip
    """Run one trial in a worker; return it, its arrays, and the checkpoints no longer needed."""
    tick = ProgressFile(Path(progress))
    result = run_trial(
        protocol, number, device=device, cache=cache or default_cache(), code=code, tick=tick,
        begin=tick.begin,
    )  # fmt: skip
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    tf32 = " in TF32" if device == "cuda" and torch.backends.cuda.matmul.allow_tf32 else ""
    trial: Trial = {
        "trial": number,
        "metrics": result["metrics"],
        "measures": measure(protocol, number, result["kept"]),
        "circumstances": {
            "seconds": result["seconds"],
            "device": name + tf32,
            "threads": torch.get_num_threads(),
            "machine": f"{platform.system()} {platform.machine()}",
            "versions": {"python": platform.python_version(), "mgcore": __version__}
            | {package: _version(package) for package in VERSIONS},
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "data": {"dataset": protocol.dataset, "sha256": result["data_sha256"]},
        },
    }
    return trial, collect(protocol, result["kept"]) if figures else None, result["scratch"]
