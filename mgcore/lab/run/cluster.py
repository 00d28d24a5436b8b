"""Run trials on other machines: a Dask cluster behind joblib, checked before work begins.

Workers return results and the caller writes them, as on one machine.  Checkpoints lie in each
worker's own cache (``MGCORE_CACHE``): a trial that moves to another worker continues from its last
epoch if the two workers share the cache, and starts again if they do not.
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
    """Connect to the scheduler at an address such as ``tcp://host:8786``.

    Raises
    ------
    ValueError
        If Dask is not installed, or no scheduler answers at the address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            f"scheduler={scheduler!r} needs Dask, which is not installed. Install it with "
            "pip install -e '.[cluster]'."
        ) from None
    reasons = []
    try:
        client = Client(scheduler, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reasons = str(error).splitlines() or [type(error).__name__]
    if reasons:
        # The failed client closes itself when it is collected.  If that happened while the next
        # client is starting, both would wait for one lock for ever, so it is collected here.
        gc.collect()
        raise ValueError(
            f"scheduler={scheduler!r} does not answer ({reasons[0]}). Give the address that dask "
            "scheduler prints, such as tcp://host:8786."
        )
    try:
        yield client
    finally:
        client.close(timeout=2)


def check_workers(client: Any, protocol: Protocol, code: Mapping[str, str]) -> None:
    """Check that every worker can run the trials of a study.

    Parameters
    ----------
    client : distributed.Client
    protocol : Protocol
    code : mapping of str
        The digests of the fingerprint on this machine.

    Raises
    ------
    ValueError
        If there is no worker, or one has several threads, no data, or code that behaves
        differently; the message names the worker.
    """
    address = client.scheduler.address
    threads = client.ncores()
    if not threads:
        raise ValueError(
            f"scheduler={address!r} has no workers. Start one with dask worker {address} "
            "--nthreads 1."
        )
    for worker, count in threads.items():
        if count != 1:
            raise ValueError(
                f"scheduler={address!r}: the worker {worker} has {count} threads, and thread "
                "counts change the last digits. Start workers with --nthreads 1 --nworkers N."
            )
    try:
        found = client.run(_inspect, protocol, on_error="return")
    except Exception as error:  # Dask documents no common base of its errors
        raise ValueError(
            f"scheduler={address!r}: its workers do not answer ({type(error).__name__}). Install "
            "mgcore where the workers run."
        ) from None
    for worker, answer in found.items():
        if isinstance(answer, Exception):
            raise ValueError(f"scheduler={address!r}: the worker {worker} cannot work: {answer}")
        if answer != dict(code):
            raise ValueError(
                f"scheduler={address!r}: the worker {worker} has code that computes something "
                "else. Install the same versions of mgcore and torch there as here."
            )


def _inspect(protocol: Protocol) -> dict[str, str]:
    """Return the digests of the fingerprint on this worker, after loading its data."""
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

    If a worker dies, another one takes over its trial.

    Raises
    ------
    ValueError
        If a trial has ended every worker that tried it.
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
                "workers before it died of one trial. Start workers with more memory."
            ) from None


def _settled(function: Callable[..., Any], *arguments: Any) -> Any:
    settle_process()
    torch.set_num_threads(1)  # set for each thread of a worker
    return function(*arguments)


def forget(client: Any, files: list[str]) -> None:
    """Remove checkpoints that are no longer needed from every worker's cache."""
    client.run(remove, files, on_error="ignore")  # a worker may be dying


def remove(files: list[str]) -> None:
    """Remove files, if they exist."""
    for file in files:
        Path(file).unlink(missing_ok=True)
