"""Running a study: what is missing of it and only that, whatever happened before (thesis §4.1).

The caller of :func:`run_study` claims trials, hands them to workers and writes what they return.
Two callers on one record share the work; a kill costs at most the epoch that was being trained.
"""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from mgcore.lab.protocol import Protocol
from mgcore.lab.records.checkpoints import default_cache
from mgcore.lab.records.files import RecordError
from mgcore.lab.records.record import Record, reader_folder
from mgcore.lab.run import cluster
from mgcore.lab.run.fingerprint import TOLERANCE, deviation, digest, fingerprint_of
from mgcore.lab.run.locks import Claims
from mgcore.lab.run.progress import Ticker, Watch, follow
from mgcore.lab.run.workers import choose_device, cores, run_parallel, use_tf32
from mgcore.lab.trial.figure_arrays import collect
from mgcore.lab.trial.measures import measure
from mgcore.lab.trial.trial import run_trial
from mgcore.lab.trial.vectorized import run_vectorized
from mgcore.thesis.ensemble import LOWERING

VERSIONS = ("mgcore", "torch", "numpy", "scipy")


def check_trials(trials: Any) -> int:
    """Return `trials` if it is an integer of at least 1, and raise ValueError otherwise."""
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ValueError(f"trials={trials!r}; accepted: a whole number of at least 1.")
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
    lockstep: bool | None = None,
    lowering: str = LOWERING,
    tf32: bool = False,
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
        Whether standard error shows how far the study is: a bar, or lines if it is no terminal.
    criteria : mapping of str, optional
        Fingerprints of the claims under which a new record is begun.
    scheduler : str, optional
        Address of a Dask scheduler whose workers run the trials, such as ``tcp://host:8786``.
    lockstep : bool, optional
        Whether trials are advanced together along one axis; by default on a GPU alone.
    lowering : {"grouped", "unfold"}
        How convolutions are computed in lockstep; see :mod:`mgcore.thesis.ensemble`.
    tf32 : bool
        Whether a GPU may multiply in TF32.

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
    together = device == "cuda" if lockstep is None else lockstep
    if scheduler is not None and (together or device == "cuda"):
        raise ValueError(
            f"scheduler={scheduler!r} with lockstep={together} on {device!r}; accepted: "
            "device='cpu' without it."
        )
    use_tf32(tf32)
    folder = Path(record) if record is not None else reader_folder("study", protocol)
    kept = Record.create(folder, protocol, criteria)
    code = _same_code(kept)
    cache = Path(cache) if cache is not None else default_cache()
    claims = Claims(cache / "claims", folder)
    workers = 1 if device == "cuda" else min(workers or cores(), trials)
    if together:  # what they are called must tell them from others: rounding differs
        code = {grid: f"{name}/{lowering}{'/tf32' * tf32}" for grid, name in code.items()}

    def results(client: Any) -> Iterator[tuple[dict[str, Any], Any, list[str]]]:
        rest = device, None if client else cache, code
        jobs = _claim(_missing(kept, trials), kept, claims, protocol, *rest)
        if client:
            return cluster.run_on(client, run_one, jobs)
        if together:
            return run_vectorized(
                run_one, jobs, lambda number: Ticker(claims.progress_file(number), "all"), protocol,
                device=device, cache=cache, code=code, lowering=lowering,
            )  # fmt: skip
        return run_parallel(run_one, jobs, workers)

    with claims, nullcontext() if scheduler is None else cluster.connected(scheduler) as client:
        if client:
            cluster.check_workers(client, protocol, code)
        watch = Watch(protocol, kept, trials, claims)
        with follow(watch, progress), _said_where(watch):
            while _missing(kept, trials):
                ran = False
                for trial, arrays, scratch in results(client):
                    if arrays is not None:
                        kept.write_arrays(arrays)
                    kept.add(trial)
                    cluster.forget(client, scratch) if client else cluster.remove(scratch)
                    claims.release(trial["trial"])
                    ran = True
                if not ran:  # all that is missing is being run by somebody else
                    claims.wait()
    return kept


@contextmanager
def _said_where(watch: Watch) -> Iterator[None]:
    """Let an interruption say how far the study is."""
    try:
        yield
    except KeyboardInterrupt:
        watch.look()
        raise KeyboardInterrupt(watch.stand) from None


def _same_code(record: Record) -> dict[str, str]:
    """Store the canary with a new record, or hold it against an old one; return its digests.

    Coarse networks are trained alike for all studies, and are known by what that alone computes.
    """
    now = fingerprint_of(record.protocol)
    then = record.fingerprint  # read last: another process may have begun the record meanwhile
    if then is None:
        if record.numbers():
            raise RecordError(
                f"record: {record.folder} has trials but no canary.json; accepted: a complete "
                "record, or an empty folder."
            )
        record.fingerprint = now
    else:
        worst, where = deviation(then, now)
        if worst > TOLERANCE:
            raise RecordError(
                f"record: {record.folder} was made by code that computes something else ({where} "
                f"differs by {worst:.1e}); accepted: that code, or another folder."
            )
    return {"coarse": digest(fingerprint_of(record.protocol, "coarse")), "fine": digest(now)}


def _missing(record: Record, trials: int) -> list[int]:
    """Return the numbers that have no whole trial file, setting damaged ones aside.

    Trial 0 is missing, too, where the arrays of the figures are.
    """
    there = set(record.numbers())
    checks = [(number, record.trial) for number in sorted(there & set(range(trials)))]
    checks += [(None, lambda _: record.arrays())] if record.has_arrays() else []
    for number, read in checks:
        try:
            read(number)
        except RecordError as error:
            aside = record.set_aside(number)
            tqdm.write(f"{error} It is now {aside.name} and runs again.", file=sys.stderr)
            there.discard(number or 0)
    return [n for n in range(trials) if n not in there or (n == 0 and not record.has_arrays())]


def _claim(
    missing: list[int], record: Record, claims: Claims, protocol: Protocol, *rest: Any
) -> Iterator[tuple[Any, ...]]:
    """Yield the jobs that nobody else has, claiming each when it is drawn."""
    for number in missing:
        if not claims.take(number):
            continue
        figures = number == 0 and not record.has_arrays()
        if number in record.numbers() and not figures:  # finished elsewhere since we looked
            claims.release(number)
            continue
        yield protocol, number, figures, str(claims.progress_file(number)), *rest


def run_one(
    protocol: Protocol, number: int, figures: bool, progress: str, device: str,
    cache: Path | None, code: dict[str, str],
) -> tuple[dict[str, Any], dict[str, np.ndarray] | None, list[str]]:  # fmt: skip
    """Run one trial in a worker; return it, its arrays, and the checkpoints no longer needed."""
    tick, kept = Ticker(Path(progress)), {}
    result = run_trial(
        protocol, number, device=device, cache=cache or default_cache(), code=code, tick=tick,
        begin=tick.begin, keep=kept,
    )  # fmt: skip
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    tf32 = " in TF32" if device == "cuda" and torch.backends.cuda.matmul.allow_tf32 else ""
    trial = {
        "trial": number,
        "metrics": result["metrics"],
        "measures": measure(protocol, number, kept),
        "circumstances": {
            "seconds": result["seconds"],
            "device": name + tf32,
            "threads": torch.get_num_threads(),
            "machine": f"{platform.system()} {platform.machine()}",
            "versions": {"python": platform.python_version()} | {v: version(v) for v in VERSIONS},
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "data": {"dataset": protocol.dataset, "sha256": result["data_sha256"]},
        },
    }
    return trial, collect(protocol, kept) if figures else None, result["scratch"]
