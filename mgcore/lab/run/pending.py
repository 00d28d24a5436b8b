"""Run pending jobs, each of which writes its result file atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from mgcore.lab.records.files import write_json
from mgcore.lab.run.workers import here_and_now, run_parallel


def run_missing(
    work: Callable[..., dict[str, Any]],
    jobs: Iterable[tuple[Path, tuple[Any, ...]]],
    workers: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Run the jobs whose result files do not exist, and write each file when its job is done.

    The function is a generator: nothing runs before the first result is requested.

    Parameters
    ----------
    work : callable
        Returns the content of a job's file from the job's arguments.
    jobs : iterable of (Path, tuple)
        File and arguments; missing folders are made.
    workers : int, optional
        As in :func:`mgcore.lab.run.workers.run_parallel`.

    Yields
    ------
    dict
        The content written, in the order in which jobs finish: the result, the version of torch,
        the machine and the date.
    """
    pending = ((work, file, arguments) for file, arguments in jobs if not file.exists())
    for result, file in run_parallel(_work, pending, workers):
        content = result | {"torch": torch.__version__} | here_and_now()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, content)
        yield content


def _work(
    work: Callable[..., dict[str, Any]], file: Path, arguments: tuple[Any, ...]
) -> tuple[dict[str, Any], Path]:
    return work(*arguments), file
