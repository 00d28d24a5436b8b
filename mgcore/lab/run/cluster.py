"""Trials on other machines: a Dask cluster behind joblib, asked first whether it can do the work.

Workers return and the caller writes, as on one machine.  Checkpoints lie in each worker's own
cache (``MGCORE_CACHE``), so a trial that moves to another worker goes on from its last epoch where
the two share one, and begins anew where they do not.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed, parallel_config

from mgcore.lab.protocol import Protocol
from mgcore.lab.run.fingerprint import digest, fingerprint_of
from mgcore.lab.run.workers import settle_process
from mgcore.lab.trial.trial import draw_split

WAIT = 10  # seconds for the scheduler to answer


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """Be a client of the scheduler at an address such as ``tcp://host:8786``.

    Raises
    ------
    ValueError
        If Dask is not installed, the address is none, nobody answers there, or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            f"scheduler={scheduler!r}, but Dask is not installed; accepted: after pip install "
            "-e .[cluster]."
        ) from None
    said = []
    try:
        client = Client(scheduler, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        said = str(error).splitlines() or [type(error).__name__]
    if said:
        # What is left of that client closes itself when it is collected.  Were that while the next
        # one is being started, both would wait for one lock for ever; so it is done here.
        gc.collect()
        raise ValueError(
            f"scheduler={scheduler!r} does not answer ({said[0]}); accepted: the address that "
            "dask scheduler prints, such as tcp://host:8786."
        )
    try:
        yield client
    finally:
        client.close(timeout=2)


def check_workers(client: Any, protocol: Protocol, code: Mapping[str, str]) -> None:
    """Ask every worker whether it can run the trials of a study.

    Parameters
    ----------
    client : distributed.Client
    protocol : Protocol
    code : mapping of str
        The digests of the canary here.

    Raises
    ------
    ValueError
        If there is no worker, or one has several threads, no data, or code that computes
        something else; the sentence names it.
    """
    address = client.scheduler.address
    threads = client.ncores()
    if not threads:
        raise ValueError(
            f"scheduler={address!r} has no workers; accepted: at least one, as by dask worker "
            f"{address} --nthreads 1."
        )
    for worker, count in threads.items():
        if count != 1:
            raise ValueError(
                f"scheduler={address!r}: the worker {worker} has {count} threads; accepted: one "
                "each (--nthreads 1 --nworkers N), since thread counts change the last digits."
            )
    try:
        found = client.run(_inspect, protocol, on_error="return")
    except Exception as error:  # what Dask raises is in no module of its own
        raise ValueError(
            f"scheduler={address!r}: its workers do not answer ({type(error).__name__}); accepted: "
            "workers with mgcore installed."
        ) from None
    for worker, said in found.items():
        if isinstance(said, Exception):
            raise ValueError(f"scheduler={address!r}: the worker {worker} cannot work: {said}")
        if said != dict(code):
            raise ValueError(
                f"scheduler={address!r}: the worker {worker} has code that computes something "
                "else; accepted: the mgcore and torch that are here."
            )


def _inspect(protocol: Protocol) -> dict[str, str]:
    """Return the digests of the canary on this worker, once its data are seen to be there."""
    settle_process()
    draw_split(protocol, 0)
    return {
        "coarse": digest(fingerprint_of(protocol, "coarse")),
        "fine": digest(fingerprint_of(protocol)),
    }


def run_on(
    client: Any, function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]
) -> Iterator[Any]:
    """Yield ``function(*job)`` for every job from the workers of a cluster, as they finish.

    A worker that dies costs its trial's current epoch or its trial; another one takes it over.

    Raises
    ------
    ValueError
        If a trial has taken down every worker that tried it.
    """
    from distributed.scheduler import KilledWorker

    with parallel_config(backend="dask", client=client):
        pool = Parallel(
            n_jobs=-1, pre_dispatch="n_jobs", batch_size=1, return_as="generator_unordered"
        )
        try:
            yield from pool(delayed(_settled)(function, *job) for job in jobs)
        except KilledWorker as error:
            raise ValueError(
                f"scheduler={client.scheduler.address!r}: {error.last_worker.address} and the "
                "workers before it died of one trial; accepted: workers with memory for it."
            ) from None


def _settled(function: Callable[..., Any], *arguments: Any) -> Any:
    settle_process()
    torch.set_num_threads(1)  # of this thread of the worker, which may not be the one that settled
    return function(*arguments)


def forget(client: Any, files: list[str]) -> None:
    """Remove checkpoints that are no longer needed from every worker's cache."""
    client.run(remove, files, on_error="ignore")  # of a worker that is dying


def remove(files: list[str]) -> None:
    """Remove files that may be gone already."""
    for file in files:
        Path(file).unlink(missing_ok=True)
