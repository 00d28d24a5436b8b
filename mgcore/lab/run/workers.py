"""Run independent jobs in parallel: one process per core, one thread each.

For networks as small as these, two threads on one trial are no faster than two processes on two
trials, and far slower on a shared machine.  So whole trials run in parallel, and nothing else.
"""

from __future__ import annotations

import ctypes
import datetime
import os
import platform
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

DEVICES = ("auto", "cpu", "cuda")


def choose_device(device: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ValueError
        If the name is unknown, or there is no CUDA device.
    """
    if device not in DEVICES:
        options = ", ".join(repr(name) for name in DEVICES)
        raise ValueError(f"device must be one of {options}, got {device!r}.")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ValueError("device='cuda', but torch finds no CUDA device. Use 'cpu' or 'auto'.")
    return "cuda" if available and device != "cpu" else "cpu"


def use_tf32(allowed: bool) -> None:
    """Allow or forbid TF32 (10 bits of mantissa) on a GPU; torch allows it in convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def here_and_now() -> dict[str, str]:
    """Return the machine and the date, for a file of measurements."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread within; small jobs are slower on several, far slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache
def settle_process() -> None:
    """Make this process a worker: one thread, no denormal numbers, freed memory kept.

    When the softmax saturates, gradients fall below 10⁻³⁸, and a processor is many times slower on
    such denormal numbers; flushing them to zero changes no significant sum.

    The C library returns large blocks to the system at once and requests them again, page by page,
    a step later.  Keeping them makes an unpooled step at 28×28 a third faster.  This is set for
    glibc only.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    _keep_memory()


@contextmanager
def settled_within() -> Iterator[None]:
    """Compute with a worker's settings in the caller's process, and restore them afterwards."""
    flushed = float(torch.tensor(1e-310, dtype=torch.float64) * 1) == 0
    with one_thread():
        torch.set_flush_denormal(True)
        _keep_memory()
        try:
            yield
        finally:
            torch.set_flush_denormal(flushed)


@lru_cache
def _keep_memory() -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "gnu_get_libc_version"):
            trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # names of malloc.h
            libc.mallopt(mmap_threshold, 32 << 20)  # the largest that is accepted
            libc.mallopt(trim_threshold, 1 << 30)
            libc.mallopt(top_pad, 64 << 20)


@lru_cache
def _leave_with(caller: int) -> None:
    """End this worker soon after its caller has died.

    A caller that is killed cannot end its workers itself.
    """

    def watch() -> None:
        while os.getppid() == caller:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == caller:  # not in the caller itself
        threading.Thread(target=watch, daemon=True).start()


def _settled(caller: int, function: Callable[..., Any], *arguments: Any) -> Any:
    if os.getpid() == caller:  # with one worker, the caller runs the job itself
        with settled_within():
            return function(*arguments)
    settle_process()
    _leave_with(caller)
    return function(*arguments)


def everywhere(
    function: Callable[..., Any], *arguments: Any, processes: int | None = None
) -> list[Any]:
    """Return the results of ``function(*arguments)`` in several processes that run at once.

    Each process calls the function when all have started, or after a minute.

    Parameters
    ----------
    function : callable
        Importable by name.
    processes : int, optional
        By default one per core.
    """
    processes = processes or cores()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(folder, number, processes, function, arguments) for number in range(processes)]
        return list(run_parallel(_with_the_others, jobs, processes))


def _with_the_others(
    folder: str, number: int, processes: int, function: Callable[..., Any], arguments: tuple
) -> Any:
    (Path(folder) / str(number)).touch()
    limit = time.monotonic() + 60
    while len(list(Path(folder).iterdir())) < processes and time.monotonic() < limit:
        time.sleep(0.005)
    return function(*arguments)


def run_parallel(
    function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], workers: int | None = None
) -> Iterator[Any]:
    """Yield ``function(*job)`` for every job, in the order in which they finish.

    Parameters
    ----------
    function : callable
        Importable by name, because other processes run it.
    jobs : iterable of tuples
        A job is drawn only when a worker is free, so a generator can lock it then.
    workers : int, optional
        Processes; by default one per core.

    Yields
    ------
    object
        A result.  The exception of a job that fails is raised here.
    """
    # Imported here: a machine with a GPU, where trials run together, may have torch alone.
    from joblib import Parallel, delayed, parallel_config

    # Joblib replaces a worker that has grown, as one that keeps freed memory does; no job is lost.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
    workers = workers or cores()
    with parallel_config(backend="loky", inner_max_num_threads=1):
        pool = Parallel(
            n_jobs=workers, pre_dispatch="n_jobs", batch_size=1, return_as="generator_unordered"
        )
        yield from pool(delayed(_settled)(os.getpid(), function, *job) for job in jobs)
