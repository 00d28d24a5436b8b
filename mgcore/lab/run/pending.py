"""Results in files of their own, each written when it is whole: what is missing is run."""

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
    """Run the jobs whose files are not there, and write each file as soon as its job is done.

    Nothing happens before the first result is asked for.

    Parameters
    ----------
    work : callable
        From a job's arguments to what its file is to hold.
    jobs : iterable of (Path, tuple)
        File and arguments; folders are made where there are none.
    workers : int, optional
        As in :func:`mgcore.lab.run.workers.run_parallel`.

    Yields
    ------
    dict
        What was written: the result, the version of torch, machine and date; as jobs finish.
    """
    absent = ((work, file, arguments) for file, arguments in jobs if not file.exists())
    for result, file in run_parallel(_work, absent, workers):
        content = result | {"torch": torch.__version__} | here_and_now()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, content)
        yield content


def _work(
    work: Callable[..., dict[str, Any]], file: Path, arguments: tuple[Any, ...]
) -> tuple[dict[str, Any], Path]:
    return work(*arguments), file
