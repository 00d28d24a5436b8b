"""Running a study: what is missing of it and only that, whatever happened before (thesis §4.1).

The caller of :func:`run_study` claims trials, hands them to workers and writes what they return.
Two callers on one record share the work; a kill costs at most the epoch that was being trained.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from mgcore.lab.canary import TOLERANCE, canary, deviation, digest
from mgcore.lab.claiming import Claims
from mgcore.lab.execute import choose_device, cores, run_parallel
from mgcore.lab.files import RecordError
from mgcore.lab.keepsakes import collect
from mgcore.lab.measures import measure
from mgcore.lab.protocol import Protocol
from mgcore.lab.record import Record, reader_folder
from mgcore.lab.study import image_steps, run_trial

VERSIONS = ("mgcore", "torch", "numpy", "scipy")


def check_trials(trials: Any) -> int:
    """Return `trials` if it is an integer of at least 1, and raise ValueError otherwise."""
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ValueError(f"trials={trials!r}; accepted: a whole number of at least 1.")
    return trials


def default_cache() -> Path:
    """Return the folder of checkpoints: ``MGCORE_CACHE``, else below the user's cache."""
    named = os.environ.get("MGCORE_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mgcore" / "trials"


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
) -> Record:
    """Bring the record of a study to `trials` trials, running only those that are missing.

    Parameters
    ----------
    protocol : Protocol
    trials : int
        Trials 0 … trials − 1 will be in the record; more may be there already.
    device : {"auto", "cpu", "cuda"}
        ``"auto"`` takes a GPU where torch finds one.
    record : path, optional
        Folder of the record; by default one below ``_build/records``.
    workers : int, optional
        Processes on a CPU; as many as cores by default.
    cache : path, optional
        Folder of checkpoints and claims; :func:`default_cache` by default.
    progress : bool
        Whether a bar on standard error counts image-steps.
    criteria : mapping of str, optional
        Fingerprints of the claims under which a new record is begun.

    Returns
    -------
    Record

    Raises
    ------
    ValueError
        If an argument is not accepted.
    RecordError
        If the record belongs to another protocol, was made by code that computes something else,
        or cannot be written.
    """
    check_trials(trials)
    device = choose_device(device)
    folder = Path(record) if record is not None else reader_folder("study", protocol)
    kept = Record.create(folder, protocol, criteria)
    code = _same_code(kept)
    cache = Path(cache) if cache is not None else default_cache()
    claims = Claims(cache / "claims", folder)
    workers = 1 if device == "cuda" else min(workers or cores(), trials)
    with _bar(protocol, kept, trials, claims, progress) as bar:
        while missing := _missing(kept, trials, bar):
            ran = False
            jobs = _claim(missing, kept, claims, protocol, device, cache, code)
            for trial, arrays, scratch in run_parallel(_work, jobs, workers):
                if arrays is not None:
                    kept.write_arrays(arrays)
                kept.add(trial)
                for file in scratch:
                    Path(file).unlink(missing_ok=True)
                claims.release(trial["trial"])
                ran = True
            if not ran:  # all that is missing is being run by somebody else
                claims.wait()
    return kept


def _same_code(record: Record) -> dict[str, str]:
    """Store the canary with a new record, or hold it against an old one; return its digests.

    Coarse networks are trained alike for all studies, and are known by what that alone computes.
    """
    dataset = record.protocol.dataset
    now = canary(dataset, record.protocol.newton_method)
    then = record.canary  # read last: another process may have begun the record meanwhile
    if then is None:
        if record.numbers():
            raise RecordError(
                f"record: {record.folder} has trials but no canary.json; accepted: a complete "
                "record, or an empty folder."
            )
        record.canary = now
    else:
        worst, where = deviation(then, now)
        if worst > TOLERANCE:
            raise RecordError(
                f"record: {record.folder} was made by code that computes something else ({where} "
                f"differs by {worst:.1e}); accepted: that code, or another folder."
            )
    return {"coarse": digest(canary(dataset)), "fine": digest(now)}


def _missing(record: Record, trials: int, bar: tqdm | None = None) -> list[int]:
    """Return the numbers that have no whole trial file, setting damaged ones aside."""
    there = set(record.numbers())
    for number in sorted(there & set(range(trials))):
        try:
            record.trial(number)
        except RecordError as error:
            aside = record.set_aside(number)
            tqdm.write(f"{error} It is now {aside.name} and runs again.", file=sys.stderr)
            there.discard(number)
    return [number for number in range(trials) if number not in there]


def _claim(
    missing: list[int], record: Record, claims: Claims, protocol: Protocol, *rest: Any
) -> Iterator[tuple[Any, ...]]:
    """Yield the jobs that nobody else has, claiming each when it is drawn."""
    for number in missing:
        if not claims.take(number):
            continue
        if number in record.numbers():  # finished elsewhere since we looked
            claims.release(number)
            continue
        figures = number == 0 and not record.has_arrays()
        yield protocol, number, figures, str(claims.progress_file(number)), *rest


def _work(
    protocol: Protocol, number: int, figures: bool, progress: str, device: str, cache: Path,
    code: dict[str, str],
) -> tuple[dict[str, Any], dict[str, np.ndarray] | None, list[str]]:  # fmt: skip
    """Run one trial in a worker; return it, its arrays, and the checkpoints no longer needed."""
    done = 0.0

    def tick(work: float) -> None:
        nonlocal done
        done += work
        Path(progress).write_text(str(int(done)))

    kept: dict[str, Any] = {}
    result = run_trial(
        protocol, number, device=device, cache=cache, code=code, tick=tick, keep=kept
    )
    trial = {
        "trial": number,
        "metrics": result["metrics"],
        "measures": measure(protocol, number, kept),
        "circumstances": {
            "seconds": result["seconds"],
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "machine": f"{platform.system()} {platform.machine()}",
            "versions": {"python": platform.python_version()} | {v: version(v) for v in VERSIONS},
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "data": {"dataset": protocol.dataset, "sha256": result["data_sha256"]},
        },
    }
    return trial, collect(protocol, kept) if figures else None, result["scratch"]


@contextmanager
def _bar(
    protocol: Protocol, record: Record, trials: int, claims: Claims, progress: bool
) -> Iterator[tqdm]:
    """Show image-steps done, read twice a second from what the workers write."""
    each = image_steps(protocol)
    finished = threading.Event()
    bar = tqdm(
        total=trials * each, unit=" images", unit_scale=True, disable=not progress, leave=False,
        desc="trials",
    )  # fmt: skip

    def follow() -> None:
        while not finished.wait(0.5):
            whole = len([n for n in record.numbers() if n < trials])
            bar.n = min(whole * each + claims.under_way(), trials * each)
            bar.set_description(f"{whole} of {trials} trials")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield bar
    finally:
        finished.set()
        thread.join()
        bar.close()
        claims.release_all()
