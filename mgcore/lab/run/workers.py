"""Who runs independent pieces of work: one process per core, one thread each.

On networks as small as these, two threads on one are no faster than two processes on two, and far
slower when the machine is shared, so whole trials run in parallel and nothing else does.
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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed, parallel_config

DEVICES = ("auto", "cpu", "cuda")


def choose_device(device: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ValueError
        If the name is unknown, or CUDA is asked for where there is none.
    """
    if device not in DEVICES:
        options = ", ".join(repr(name) for name in DEVICES)
        raise ValueError(f"device={device!r}; accepted: {options}.")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ValueError("device='cuda', but torch finds no CUDA device; accepted here: 'cpu'.")
    return "cuda" if available and device != "cpu" else "cpu"


def use_tf32(allowed: bool) -> None:
    """Let a GPU multiply with 10 bits of mantissa, or not: torch does in convolutions by itself."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def here_and_now() -> dict[str, str]:
    """Return machine and date, for a file that keeps something measured."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread within; small work is slower on more, far slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache
def settle_process() -> None:
    """Make this process a worker: one thread, no denormal numbers, freed memory kept.

    A network that is sure of its training images sends back gradients below 10⁻³⁸, on which a
    processor is many times slower than on others; as zeros they change no sum that counts.

    The C library returns blocks of this size to the system at once and takes them back, page by
    page, a step later.  Keeping them makes an unpooled step at 28×28 a third faster.  Only
    glibc is told; elsewhere nothing happens.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    _keep_memory()


@contextmanager
def settled_within() -> Iterator[None]:
    """Compute as a worker does, in a process that is somebody else's, and leave it as it was."""
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
    """End this worker soon after its caller has died: nobody waits for what it computes.

    A caller that is killed outright cannot end its workers itself.
    """

    def watch() -> None:
        while os.getppid() == caller:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == caller:  # not where the caller does the work itself
        threading.Thread(target=watch, daemon=True).start()


def _settled(caller: int, function: Callable[..., Any], *arguments: Any) -> Any:
    if os.getpid() == caller:  # one worker is the caller itself
        with settled_within():
            return function(*arguments)
    settle_process()
    _leave_with(caller)
    return function(*arguments)


def everywhere(
    function: Callable[..., Any], *arguments: Any, processes: int | None = None
) -> list[Any]:
    """Return what ``function(*arguments)`` gives in each of several processes, all at once.

    A process begins when all have started, or after a minute.

    Parameters
    ----------
    function : callable
        Importable by name.
    processes : int, optional
        As many as cores by default.
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
    """Yield ``function(*job)`` for every job, as they finish.

    Parameters
    ----------
    function : callable
        Importable by name, since other processes run it.
    jobs : iterable of tuples
        A job is drawn only when a worker is free for it, so a generator can claim it then.
    workers : int, optional
        Processes; as many as cores by default.

    Yields
    ------
    object
        Results in the order in which they finish.  If a job fails, its exception is raised here.
    """
    workers = workers or cores()
    with parallel_config(backend="loky", inner_max_num_threads=1):
        pool = Parallel(
            n_jobs=workers, pre_dispatch="n_jobs", batch_size=1, return_as="generator_unordered"
        )
        yield from pool(delayed(_settled)(os.getpid(), function, *job) for job in jobs)
